//! The command that `exec` runs: what becomes of it, and the signals that it gets.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::SignalsInfo;
use signal_hook::iterator::exfiltrator::WithOrigin;
use signal_hook::low_level::siginfo::{Cause, Origin};

/// What goes on to the command.
const SIGNALS: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Lets no program that this one starts look into its memory, as one of root's could otherwise: whoever is not root is kept out
/// by what `secret::process` asks for.
pub(super) fn keep_out_of_memory() {
    // Who is not root has no bounding set to take from, and none is needed there.
    let _ = remove_capability_from_bounding_set(CapabilitySet::SYS_PTRACE);
}

/// How a command ended: its exit status, as a shell would have it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct CommandEnd(pub u8);

impl CommandEnd {
    fn by(status: ExitStatus) -> Self {
        let code = match (status.code(), status.signal()) {
            (Some(code), _) => code,
            (None, Some(signal)) => 128 + signal,
            (None, None) => 1,
        };
        Self(u8::try_from(code).unwrap_or(1))
    }

    /// It could not be started.
    pub fn before_it_began(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self(127),
            _ => Self(126),
        }
    }
}

/// The signals that come to this process, from when it is made.
///
/// The command is in this process's group, so that the terminal's own signals (Ctrl-C, Ctrl-Z, hanging up) come to both, once;
/// what somebody sends to this process alone goes on to the command. Which of the two it was, the kernel says.
pub(super) struct CommandSignals {
    command: Arc<Mutex<Whom>>,
}

/// Whom signals go to.
enum Whom {
    /// Nobody yet: they wait.
    NobodyYet(Vec<Signal>),
    Running(Pid),
    /// Nobody any more.
    NobodyAnyMore,
}

impl CommandSignals {
    /// Begins to take them. Those that the caller has this process ignore, as `nohup` does, stay ignored by both.
    ///
    /// # Errors
    /// The system's own.
    pub fn take() -> io::Result<Self> {
        let ignored = ignored();
        let taken = SIGNALS
            .into_iter()
            .filter(|signal| ignored >> (signal - 1) & 1 == 0);
        let mut signals = SignalsInfo::<WithOrigin>::new(taken)?;
        let command = Arc::new(Mutex::new(Whom::NobodyYet(Vec::new())));
        let whom = command.clone();
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || signals.forever().for_each(|origin| pass_on(&origin, &whom)))?;
        Ok(Self { command })
    }

    /// Runs a command to its end.
    ///
    /// # Errors
    /// Why it could not be started.
    pub fn run(
        &self,
        command: &[OsString],
        environment: Vec<(OsString, OsString)>,
    ) -> io::Result<CommandEnd> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment);
        // Whatever comes while it begins waits until it has: then it is known who got it.
        let mut whom = self.whom();
        let child = command.spawn()?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let (Some(pid), Whom::NobodyYet(waiting)) = (pid, &*whom) {
            for signal in waiting {
                let _ = kill_process(pid, *signal);
            }
        }
        *whom = pid.map_or(Whom::NobodyAnyMore, Whom::Running);
        drop(whom);
        self.wait(child, pid).map(CommandEnd::by)
    }

    fn wait(&self, mut child: Child, pid: Option<Pid>) -> io::Result<ExitStatus> {
        if let Some(pid) = pid {
            // Its number is nobody else's until it was waited for, and no signal goes there after.
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        }
        *self.whom() = Whom::NobodyAnyMore;
        child.wait()
    }

    fn whom(&self) -> MutexGuard<'_, Whom> {
        self.command.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pass_on(origin: &Origin, whom: &Mutex<Whom>) {
    let Some(signal) = Signal::from_named_raw(origin.signal) else {
        return;
    };
    let by_the_terminal = matches!(origin.cause, Cause::Kernel);
    match &mut *whom.lock().unwrap_or_else(PoisonError::into_inner) {
        Whom::Running(_) if by_the_terminal => {} // it got its own
        Whom::Running(pid) => {
            let _ = kill_process(*pid, signal);
        }
        Whom::NobodyYet(waiting) => waiting.push(signal),
        // What is left to do can wait for nothing that somebody wants ended.
        Whom::NobodyAnyMore => std::process::exit(128 + origin.signal),
    }
}

/// The signals that this process ignores, as bits.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or_default()
}
