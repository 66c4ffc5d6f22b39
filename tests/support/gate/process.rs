//! The daemon's process. Its output is read by threads, so that no pipe fills up while a test does something else.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::files::Files;
use super::{DEADLINE, PAUSE};

/// A signal that the daemon knows, and the one that it can't.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// Reload.
    Hup,
    /// Drain and end.
    Term,
    /// Drain and end.
    Int,
    /// End at once, as in a crash.
    Kill,
}

/// The daemon ended before it listened, or never did.
#[derive(Debug)]
pub struct NotStarted {
    /// How it ended; `None` if it had to be ended.
    pub status: Option<ExitStatus>,
    /// What it wrote to standard error.
    pub logs: Vec<String>,
}

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let logs = self.logs.join("\n");
        match self.status {
            Some(status) => write!(
                f,
                "the daemon ended with {status} before it listened; its log:\n{logs}"
            ),
            None => write!(
                f,
                "the daemon did not listen within {DEADLINE:?}; its log:\n{logs}"
            ),
        }
    }
}

/// A daemon that was started, running or not.
pub(super) struct Process {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    stderr: Arc<Lines>,
    stdout: Arc<Lines>,
    /// How many lines earlier lives wrote to standard error.
    earlier: usize,
}

impl Process {
    /// Starts the daemon and waits until it listens.
    pub async fn start(files: &Files) -> Result<Self, NotStarted> {
        let (stderr, stdout) = (Arc::new(Lines::new()), Arc::new(Lines::new()));
        let (child, readers) = spawn(files, &stderr, &stdout);
        let mut process = Self {
            child,
            readers,
            stderr,
            stdout,
            earlier: 0,
        };
        process.started(files.listeners()).await?;
        Ok(process)
    }

    /// Starts it anew; what it writes is added to what it wrote.
    pub async fn start_again(&mut self, files: &Files) -> Result<(), NotStarted> {
        self.end();
        self.earlier = self.stderr.all().len();
        (self.child, self.readers) = spawn(files, &self.stderr, &self.stdout);
        self.started(files.listeners()).await
    }

    async fn started(&mut self, listeners: usize) -> Result<(), NotStarted> {
        let mut count = self.stderr.count.subscribe();
        let begun = Instant::now();
        while self.listening().len() < listeners {
            if !self.is_running() || begun.elapsed() > DEADLINE {
                return Err(self.not_started());
            }
            // The next line, or a look whether it still runs.
            let _ = timeout(PAUSE * 10, count.changed()).await;
        }
        Ok(())
    }

    fn not_started(&mut self) -> NotStarted {
        let status = self.child.try_wait().ok().flatten();
        self.end();
        NotStarted {
            status,
            logs: self.logs(),
        }
    }

    /// The addresses of the lines that say so, those of `admin` left out.
    pub fn listening(&self) -> Vec<String> {
        self.listeners()
            .into_iter()
            .filter(|(_, admin)| !admin)
            .map(|(address, _)| address)
            .collect()
    }

    /// The address of `admin`.
    pub fn admin(&self) -> Option<String> {
        self.listeners()
            .into_iter()
            .find(|(_, admin)| *admin)
            .map(|(address, _)| address)
    }

    fn listeners(&self) -> Vec<(String, bool)> {
        let lines = self.stderr.all();
        let own = lines.iter().skip(self.earlier);
        own.filter_map(|line| Some((listening(line)?, line.contains("admin"))))
            .collect()
    }

    pub fn logs(&self) -> Vec<String> {
        self.stderr.all()
    }

    pub fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    pub async fn log_until(&self, text: &str) -> Vec<String> {
        let mut count = self.stderr.count.subscribe();
        let said = || self.logs().iter().any(|line| line.contains(text));
        let met = timeout(DEADLINE, count.wait_for(|_| said())).await.is_ok();
        assert!(
            met,
            "no log line says {text:?}; they are:\n{}",
            self.logs().join("\n")
        );
        self.logs()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        let name = match signal {
            Signal::Hup => "HUP",
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Kill => "KILL",
        };
        let sent = Command::new("kill")
            .args(["-s", name, &self.pid().to_string()])
            .status();
        assert!(
            sent.expect("`kill` runs").success(),
            "there is no daemon to send {name} to"
        );
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub async fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self
                .child
                .try_wait()
                .expect("the daemon is a child of this test")
            {
                self.read_to_end();
                return status;
            }
            assert!(
                begun.elapsed() < DEADLINE,
                "the daemon still runs; its log:\n{}",
                self.logs().join("\n")
            );
            sleep(PAUSE).await;
        }
    }

    /// Ends the daemon if it still runs, and reads the rest of what it wrote.
    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.read_to_end();
    }

    fn read_to_end(&mut self) {
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
    }
}

/// A process that a test gave up on must not outlive it either.
impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn(files: &Files, stderr: &Arc<Lines>, stdout: &Arc<Lines>) -> (Child, Vec<JoinHandle<()>>) {
    let mut command = files.daemon();
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the built binary runs");
    let readers = [
        child
            .stderr
            .take()
            .map(|pipe| read(pipe, Arc::clone(stderr))),
        child
            .stdout
            .take()
            .filter(|_| !files.is_deaf())
            .map(|pipe| read(pipe, Arc::clone(stdout))),
    ];
    (child, readers.into_iter().flatten().collect())
}

fn read(pipe: impl Read + Send + 'static, lines: Arc<Lines>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            lines.add(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

/// Lines as they come, and a bell for who waits for one.
struct Lines {
    lines: Mutex<Vec<String>>,
    count: watch::Sender<usize>,
}

impl Lines {
    fn new() -> Self {
        Self {
            lines: Mutex::new(Vec::new()),
            count: watch::Sender::new(0),
        }
    }

    fn add(&self, line: String) {
        self.lock().push(line);
        self.count.send_modify(|count| *count += 1);
    }

    fn all(&self) -> Vec<String> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The address in a line that says `listening`, be it text or JSON.
fn listening(line: &str) -> Option<String> {
    if let Ok(Value::Object(event)) = serde_json::from_str(line) {
        let fields = event
            .get("fields")
            .and_then(Value::as_object)
            .unwrap_or(&event);
        let listens = fields.get("message")?.as_str()?.contains("listening");
        return fields
            .get("address")?
            .as_str()
            .filter(|_| listens)
            .map(str::to_owned);
    }
    let (before, after) = line.split_once("address=")?;
    let address = after.split_whitespace().next()?.trim_matches('"');
    before.contains("listening").then(|| address.to_owned())
}
