//! The daemon under test, as users meet it: its files, its command line, its listeners, its log and its audit file.
//!
//! A [`Gate`] starts the built binary in a directory of its own, waits until it says that it listens, and ends it when it
//! is dropped. It watches on the side: everything that a client got, every log line, every audit line and every file is
//! searched for secrets, and what reached the API for sub-tokens.

mod client;
mod files;
mod process;
mod secrets;

use std::net::SocketAddr;
use std::process::{ExitStatus, Output};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::standin::{Ear, StandInApi};
use client::Pool;
use process::Process;

pub use client::{Answer, Ask, Kept, Streaming};
pub use files::{Files, GateBuilder};
pub use process::{NotStarted, Signal};

/// A running daemon and everything that belongs to it.
pub struct Gate {
    files: Files,
    process: Process,
    pool: Pool,
    ears: Vec<Ear>,
}

impl Gate {
    /// Starts the daemon before `api`, with `policy` for its policy file and a plain configuration.
    pub async fn start(api: &StandInApi, policy: &str) -> Self {
        Self::builder(api).policy(policy).start().await
    }

    /// A gate before `api`, to be set up further.
    pub fn builder(api: &StandInApi) -> GateBuilder {
        Self::builder_to(&api.url()).watch(api)
    }

    /// A gate before any upstream.
    pub fn builder_to(upstream: &str) -> GateBuilder {
        GateBuilder::new(upstream)
    }

    /// The files and the command line.
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Where the first listener is.
    pub fn address(&self) -> SocketAddr {
        let first = self
            .process
            .listening()
            .into_iter()
            .next()
            .expect("a gate listens");
        first
            .parse()
            .unwrap_or_else(|_| panic!("the first listener has no address of IP and port: {first}"))
    }

    /// All listeners as the daemon tells them, in its order, those of `admin` left out.
    pub fn addresses(&self) -> Vec<String> {
        self.process.listening()
    }

    /// Where `admin` listens, if the line that says so has the word `admin` in it.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.process.admin()?.parse().ok()
    }

    /// The base URL of the first listener, over plain HTTP.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// A request to the first listener.
    pub fn request(&self, method: Method, target: &str) -> Ask<'_> {
        Ask::new(self, method, target)
    }

    /// A GET.
    pub fn get(&self, target: &str) -> Ask<'_> {
        self.request(Method::GET, target)
    }

    /// A POST with a JSON body.
    pub fn post(&self, target: &str, body: &Value) -> Ask<'_> {
        self.request(Method::POST, target).json(body)
    }

    /// A DELETE.
    pub fn delete(&self, target: &str) -> Ask<'_> {
        self.request(Method::DELETE, target)
    }

    /// A connection to the first listener that is kept, for one request after another.
    pub async fn keep(&self) -> Kept {
        Kept::over(self.connect().await)
            .await
            .expect("a connection that was made")
    }

    /// A connection to the first listener, for what no client library would send.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address())
            .await
            .expect("the gate accepts")
    }

    /// Sends bytes and returns all that comes until the gate closes; `connection: close` makes it do so.
    ///
    /// # Panics
    /// If it has not closed after 20 seconds.
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        let mut stream = self.connect().await;
        // A gate that refuses early may have closed already: what it said still counts.
        let _ = stream.write_all(bytes.as_ref()).await;
        let mut said = Vec::new();
        let ended = timeout(DEADLINE, stream.read_to_end(&mut said)).await;
        self.files.secrets().saw_answer("a raw answer", &said);
        assert!(
            ended.is_ok(),
            "still open after {DEADLINE:?}, having said {:?}",
            String::from_utf8_lossy(&said)
        );
        said
    }

    /// Issues a sub-token with these options of `tidegate token issue` and returns it. The name is the first argument if
    /// that is no option, and made up otherwise.
    pub async fn issue(&self, options: &[&str]) -> String {
        self.files.issue(options).await
    }

    /// Runs `tidegate` with these arguments and this gate's configuration.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        self.files.cli(arguments).await
    }

    /// The audit file's lines, or those of standard output where the audit goes there.
    ///
    /// # Panics
    /// If a line is no JSON object.
    pub fn audit(&self) -> Vec<Value> {
        let written = self.files.audit_lines();
        let lines = if written.is_empty() {
            self.process.stdout()
        } else {
            written
        };
        lines.iter().map(|line| parsed(line)).collect()
    }

    /// The audit lines, once they satisfy `enough`.
    ///
    /// # Panics
    /// If they don't within 20 seconds.
    pub async fn audit_until(&self, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let lines = self.audit();
            if enough(&lines) {
                return lines;
            }
            assert!(
                started.elapsed() < DEADLINE,
                "the audit file does not get there; it says {lines:#?}"
            );
            sleep(PAUSE).await;
        }
    }

    /// The audit lines of one request, by what its answer calls it.
    pub async fn audit_of(&self, answer: &Answer) -> Vec<Value> {
        let id = answer
            .header("tidegate-request-id")
            .expect("every answer has a request id")
            .to_owned();
        let own = |line: &Value| line["request_id"] == id.as_str();
        let mut lines = self
            .audit_until(|lines| {
                lines
                    .iter()
                    .any(|line| own(line) && line["event"] == "answer")
            })
            .await;
        lines.retain(own);
        lines
    }

    /// What the daemon wrote to standard error so far, over all its lives.
    pub fn logs(&self) -> Vec<String> {
        self.process.logs()
    }

    /// The log lines, once one of them contains `text`.
    ///
    /// # Panics
    /// If none does within 20 seconds.
    pub async fn log_until(&self, text: &str) -> Vec<String> {
        self.process.log_until(text).await
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits for the daemon to end.
    ///
    /// # Panics
    /// If it has not after 20 seconds.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        self.process.wait().await
    }

    /// Starts the daemon anew over the same files, once it has ended; it has other ports then.
    pub async fn start_again(&mut self) {
        let started = self.try_start_again().await;
        started.unwrap_or_else(|failure| panic!("{failure}"));
    }

    /// The same for a daemon that may refuse to start.
    ///
    /// # Errors
    /// How it ended, and what it said in all its lives.
    pub async fn try_start_again(&mut self) -> Result<(), NotStarted> {
        self.process.start_again(&self.files).await
    }

    /// Ends the daemon as `systemctl stop` does, and starts it anew.
    pub async fn restart(&mut self) {
        self.signal(Signal::Term);
        self.wait_exit().await;
        self.start_again().await;
    }

    /// Replaces the policy file in one step. The daemon notices by itself, or on [`Signal::Hup`].
    pub fn write_policy(&self, text: &str) {
        self.files.write("policy.yaml", text);
    }

    /// Lets the daemon drain, and checks that it ended well and that no secret went where it may not: neither in what
    /// this gate saw nor in what `api` heard.
    ///
    /// # Panics
    /// If one did, or the daemon did not end with success within 20 seconds.
    pub async fn finish(mut self, api: &StandInApi) {
        self.ears.push(api.ear());
        if self.process.is_running() {
            self.signal(Signal::Term);
            let status = self.wait_exit().await;
            assert!(
                status.success(),
                "the daemon ended with {status}; its log:\n{}",
                self.logs().join("\n")
            );
        }
        // Dropping does the rest.
    }
}

/// Ends the daemon and looks for secrets, unless the test has failed already and speaks for itself.
impl Drop for Gate {
    fn drop(&mut self) {
        self.process.end();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.logs().join("\n"));
            return;
        }
        let secrets = self.files.secrets();
        self.logs()
            .iter()
            .for_each(|line| secrets.saw_record("the log", line.as_bytes()));
        self.process
            .stdout()
            .iter()
            .for_each(|line| secrets.saw_record("standard output", line.as_bytes()));
        self.files.search();
        self.ears.iter().for_each(|ear| secrets.saw_upstream(ear));
        let found = secrets.found();
        assert!(
            found.is_empty(),
            "secrets where none may be:\n{}",
            found.join("\n")
        );
    }
}

fn parsed(line: &str) -> Value {
    let value = serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("an audit line is no JSON ({error}): {line}"));
    assert!(
        matches!(value, Value::Object(_)),
        "an audit line is no object: {line}"
    );
    value
}

/// How long anything that a test waits for may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// How long to wait before looking again at what tells no one when it changes.
const PAUSE: Duration = Duration::from_millis(10);
