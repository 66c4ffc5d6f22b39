use std::ffi::OsString;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::{Secret, no_real_token};

/// What prints the real token of an account, as a secrets' manager does.
///
/// It is run as it stands, without a shell, with nothing to read. What it prints is never told, whatever that is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenCommand {
    /// The program, found by `PATH` where it has no slash.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// How often it is run anew.
    pub every: Duration,
}

/// Why a command gave no real token.
#[derive(Debug)]
pub enum NoRealToken {
    /// It could not be run.
    Unstarted(io::Error),
    /// It ended so.
    Failed(ExitStatus),
    /// It took too long, and was ended.
    Slow,
    /// It printed more than any token has.
    TooLong,
    /// What it printed is none, for this reason.
    Unfit(&'static str),
}

impl fmt::Display for NoRealToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstarted(error) => write!(
                f,
                "`token_command` can't be run: {error}; the first item is the program, the others are its arguments, and no shell is there to take them apart"
            ),
            Self::Failed(status) => write!(
                f,
                "`token_command` failed ({status}); run it as the daemon's user to see why, as what it prints is not shown here"
            ),
            Self::Slow => write!(
                f,
                "`token_command` took longer than {} s, and was ended; it must ask nobody and wait for nobody",
                PATIENCE.as_secs()
            ),
            Self::TooLong => write!(
                f,
                "`token_command` printed more than {MOST} bytes; it must print the token and nothing else"
            ),
            Self::Unfit(why) => write!(f, "what `token_command` prints is no real token: {why}"),
        }
    }
}

impl std::error::Error for NoRealToken {}

/// How long a command may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most bytes that it may print.
const MOST: u64 = 4096;

impl TokenCommand {
    /// Runs it, and waits: in this environment, or else in the program's own.
    ///
    /// # Errors
    /// `NoToken`.
    pub fn run(&self, environment: Option<&[(OsString, OsString)]>) -> Result<Secret, NoRealToken> {
        let mut command = Command::new(&self.program);
        if let Some(environment) = environment {
            let pairs = environment.iter().map(|(name, value)| (name, value));
            command.env_clear().envs(pairs);
        }
        let mut child = command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0) // so that what it started ends with it
            .spawn()
            .map_err(NoRealToken::Unstarted)?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let stdout = child.stdout.take();
        let (done, ended) = channel();
        thread::spawn(move || {
            let printed = stdout.map(printed_to).unwrap_or_default();
            let _ = done.send((printed, ends(child))); // unless nobody waits any more
        });
        let (printed, status) = match ended.recv_timeout(PATIENCE) {
            Ok(ended) => ended,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                if let Some(group) = group {
                    let _ = kill_process_group(group, Signal::KILL); // it may have ended just now
                }
                return Err(NoRealToken::Slow);
            }
        };
        if printed.len() as u64 > MOST {
            return Err(NoRealToken::TooLong);
        }
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => return Err(NoRealToken::Failed(status)),
            Err(error) => return Err(NoRealToken::Unstarted(error)),
        }
        let text = std::str::from_utf8(&printed).map_err(|_| NoRealToken::Unfit(NO_TEXT))?;
        match no_real_token(text.trim()) {
            Some(why) => Err(NoRealToken::Unfit(why)),
            None => Ok(Secret::new(text.trim().to_owned())),
        }
    }
}

const NO_TEXT: &str = "it is no text in UTF-8";

/// All that it prints, up to one byte more than it may. The rest is not waited for: its pipe closes.
fn printed_to(stdout: ChildStdout) -> Zeroizing<Vec<u8>> {
    let most = MOST + 1;
    let mut printed = Zeroizing::new(Vec::with_capacity(
        usize::try_from(most).unwrap_or_default(),
    ));
    let _ = stdout.take(most).read_to_end(&mut printed); // what could not be read is no token
    printed
}

fn ends(mut child: Child) -> io::Result<ExitStatus> {
    child.wait()
}
