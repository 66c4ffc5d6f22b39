//! A gate's directory: configuration, policy, the real token, state and audit; and the command line over it.

use std::ffi::OsString;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::super::standin::{Ear, REAL_TOKEN, StandInApi};
use super::Gate;
use super::client::Pool;
use super::process::{NotStarted, Process};
use super::secrets::Secrets;

/// A gate that is being set up.
///
/// The configuration is the smallest that works: one listener on a free port of loopback, the upstream, the account
/// `default`, `policy.yaml`, `tidegate.db` and `audit.jsonl`, all in the gate's directory.
#[must_use = "a gate runs after `start`"]
pub struct GateBuilder {
    files: Files,
    config: Value,
    config_text: Option<String>,
    ears: Vec<Ear>,
}

impl GateBuilder {
    pub(super) fn new(upstream: &str) -> Self {
        let config = json!({
            "listen": [{ "address": "127.0.0.1:0" }],
            "upstream": { "url": upstream },
            "accounts": { "default": { "token_file": TOKEN_FILE } },
            "policy": "policy.yaml",
            "state": "tidegate.db",
            "audit": { "file": AUDIT_FILE },
        });
        let files = Files::new();
        files.write("policy.yaml", NO_POLICY);
        files.write(TOKEN_FILE, REAL_TOKEN);
        Self {
            files,
            config,
            config_text: None,
            ears: Vec::new(),
        }
    }

    /// The policy file's text.
    pub fn policy(self, text: &str) -> Self {
        self.file("policy.yaml", text)
    }

    /// Sets a member of the configuration; `path` has dots (`limits.inspected_body`). Null takes it out.
    pub fn set(mut self, path: &str, value: Value) -> Self {
        set(&mut self.config, path, value);
        self
    }

    /// The configuration file's whole text, instead of the one built here; `{upstream}` and `{dir}` in it are filled in.
    pub fn config_text(mut self, text: &str) -> Self {
        self.config_text = Some(text.to_owned());
        self
    }

    /// Puts one more file into the gate's directory, which is what relative paths in the configuration start from.
    pub fn file(self, name: &str, text: &str) -> Self {
        self.files.write(name, text);
        self
    }

    /// Sets an environment variable for the daemon and the command line.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.files
            .environment
            .push((name.to_owned(), value.to_owned()));
        self
    }

    /// What a shell does before it becomes the daemon (`umask 0`), with this as its standard input.
    pub fn before(mut self, script: &str, stdin: Option<OwnedFd>) -> Self {
        self.files.before = Some((script.to_owned(), stdin));
        self
    }

    /// The path of a file in the gate's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }

    /// Lets nobody read what the daemon writes to standard output: the pipe is closed as soon as it runs.
    pub fn deaf(mut self) -> Self {
        self.files.deaf = true;
        self
    }

    /// More arguments for `serve`.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        self.files
            .serve_arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// How many lines `listening` to wait for, with a configuration given as text; otherwise they are counted.
    pub fn listeners(mut self, count: usize) -> Self {
        self.files.listeners = Some(count);
        self
    }

    /// Checks at the end that no sub-token reached this API.
    pub fn watch(mut self, api: &StandInApi) -> Self {
        self.ears.push(api.ear());
        self
    }

    /// Starts the daemon and waits until it listens.
    ///
    /// # Panics
    /// If it does not, with its log.
    pub async fn start(self) -> Gate {
        self.try_start()
            .await
            .unwrap_or_else(|failure| panic!("{failure}"))
    }

    /// The same for a daemon that may refuse to start.
    ///
    /// # Errors
    /// How it ended, and what it said.
    pub async fn try_start(mut self) -> Result<Gate, NotStarted> {
        let ears = std::mem::take(&mut self.ears);
        let files = self.files();
        let process = Process::start(&files).await?;
        Ok(Gate {
            files,
            process,
            pool: Pool::new(),
            ears,
        })
    }

    /// Writes the files and starts nothing: for the command line alone.
    pub fn files(mut self) -> Files {
        let counted = self.config["listen"].as_array().map_or(1, Vec::len);
        self.files
            .listeners
            .get_or_insert(if self.config_text.is_some() {
                1
            } else {
                counted
            });
        self.files.write("tidegate.yaml", &self.text());
        self.files
    }

    /// JSON is YAML too.
    fn text(&self) -> String {
        let Some(text) = &self.config_text else {
            return format!("{:#}\n", self.config);
        };
        let upstream = self.config["upstream"]["url"].as_str().unwrap_or_default();
        text.replace("{upstream}", upstream)
            .replace("{dir}", &self.files.directory.path().display().to_string())
    }
}

fn set(config: &mut Value, path: &str, value: Value) {
    let (first, rest) = path
        .split_once('.')
        .map_or((path, None), |(first, rest)| (first, Some(rest)));
    if !config.is_object() {
        *config = Value::Object(Map::new());
    }
    match rest {
        Some(rest) => set(&mut config[first], rest, value),
        None if value.is_null() => drop(
            config
                .as_object_mut()
                .and_then(|members| members.remove(first)),
        ),
        None => config[first] = value,
    }
}

/// The files of a gate; they go with it.
pub struct Files {
    directory: TempDir,
    environment: Vec<(String, String)>,
    serve_arguments: Vec<String>,
    listeners: Option<usize>,
    before: Option<(String, Option<OwnedFd>)>,
    deaf: bool,
    secrets: Secrets,
    named: AtomicUsize,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: TempDir::new().expect("a temporary directory"),
            environment: Vec::new(),
            serve_arguments: Vec::new(),
            listeners: None,
            before: None,
            deaf: false,
            secrets: Secrets::new(REAL_TOKEN),
            named: AtomicUsize::new(1),
        }
    }

    /// The path of a file in the gate's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file there in one step, so that who watches it never reads a half.
    pub fn write(&self, name: &str, text: &str) {
        let (path, draft) = (self.path(name), self.path(&format!(".{name}.draft")));
        fs::write(&draft, text).expect("the gate's directory can be written");
        let own = fs::Permissions::from_mode(0o600); // the daemon reads no secret that others can
        fs::set_permissions(&draft, own).expect("the gate's directory can be written");
        fs::rename(draft, path).expect("the gate's directory can be written");
    }

    /// A file's text.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Runs `tidegate` with these arguments, and with `--config` unless they have it.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        // On a thread of its own: the command may ask the stand-in, which lives on this one.
        let run =
            tokio::task::spawn_blocking(move || command.output().expect("the built binary runs"));
        let output = run.await.expect("the command was waited for");
        self.secrets.learn(&output.stdout);
        self.secrets.learn(&output.stderr);
        output
    }

    /// Issues a sub-token; see `Gate::issue`.
    pub async fn issue(&self, options: &[&str]) -> String {
        let made = format!("token-{}", self.named.fetch_add(1, Ordering::SeqCst));
        let named = options.first().is_some_and(|first| !first.starts_with('-'));
        let name: &[&str] = if named { &[] } else { &[&made] };
        let output = self
            .cli(&[&["token", "issue"], name, options].concat())
            .await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success(),
            "`token issue {options:?}` failed: {said}"
        );
        String::from_utf8(output.stdout)
            .expect("a token is text")
            .trim()
            .to_owned()
    }

    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    pub(super) fn listeners(&self) -> usize {
        self.listeners.unwrap_or(1)
    }

    /// The daemon, to be started.
    pub(super) fn daemon(&self) -> Command {
        let mut command = match &self.before {
            None => self.command(&["serve"]),
            Some((script, stdin)) => {
                let mut shell = Command::new("sh");
                shell
                    .args(["-c", &format!("{script}; exec \"$@\""), "sh"])
                    .arg(&*BINARY);
                let stdin = stdin.as_ref().map(OwnedFd::try_clone);
                shell.stdin(stdin.map_or_else(Stdio::null, |fd| fd.expect("a descriptor").into()));
                self.program(shell, &["serve"])
            }
        };
        command.args(&self.serve_arguments);
        command
    }

    pub(super) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// The built binary with this gate's configuration, and nothing of the developer's own environment that it reads.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(Command::new(&*BINARY), arguments);
        command.stdin(Stdio::null());
        command
    }

    fn program(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.args(arguments).current_dir(self.directory.path());
        if !arguments.contains(&"--config") {
            command.arg("--config").arg(self.path("tidegate.yaml"));
        }
        for name in [
            "TIDEGATE_CONFIG",
            "RUST_LOG",
            "DIGITALOCEAN_TOKEN",
            "DIGITALOCEAN_ACCESS_TOKEN",
            "NOTIFY_SOCKET",
            "WATCHDOG_USEC",
            "LISTEN_FDS",
        ] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The audit file's whole lines; a half one is still being written.
    pub(super) fn audit_lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path(AUDIT_FILE)).unwrap_or_default();
        text.split_inclusive('\n')
            .filter_map(|line| line.strip_suffix('\n'))
            .map(str::to_owned)
            .collect()
    }

    /// Searches all files but the one that holds the real token: state, audit, whatever was written.
    pub(super) fn search(&self) {
        let files = fs::read_dir(self.directory.path())
            .into_iter()
            .flatten()
            .flatten();
        for file in files
            .map(|entry| entry.path())
            .filter(|path| path.is_file() && !path.ends_with(TOKEN_FILE))
        {
            self.search_file(&file);
        }
    }

    fn search_file(&self, file: &Path) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        self.secrets.saw_record(
            &format!("the file {name}"),
            &fs::read(file).unwrap_or_default(),
        );
    }
}

/// The built binary, or the one that is to be tried in its place.
static BINARY: LazyLock<OsString> = LazyLock::new(|| {
    let other = std::env::var_os("TIDEGATE_BINARY");
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_tidegate").into())
});
const TOKEN_FILE: &str = "do-token";
const AUDIT_FILE: &str = "audit.jsonl";

/// What is allowed where the test gives no policy.
const NO_POLICY: &str =
    "version: 1\nroles:\n  nobody:\n    allow:\n      - scopes: [account:read]\n";
