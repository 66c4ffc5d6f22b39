//! `tidegate exec`: a command with a sub-token in place of the real one, before a gate that ends with it (S16).

mod child;
pub mod elsewhere;
mod environment;
mod errand;
mod learn;
mod tls;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{REAL_TOKEN, StandInApi};

/// A run to be: in an empty directory, with an environment of its own.
pub struct Run {
    command: Command,
    place: TempDir,
}

/// What came of it.
pub struct Ran {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Run {
    /// `tidegate exec` before `api`, with these options; the real token is where most people have it.
    pub fn before(api: &StandInApi, options: &[&str]) -> Self {
        let run = Self::bare(options);
        let upstream = ["--upstream".to_owned(), api.url()];
        run.options(&upstream)
            .env("DIGITALOCEAN_ACCESS_TOKEN", REAL_TOKEN)
    }

    /// The same without upstream and token.
    pub fn bare(options: &[&str]) -> Self {
        let place = TempDir::new().unwrap();
        std::fs::create_dir(place.path().join("tmp")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let path = std::env::var_os("PATH").unwrap();
        command
            .arg("exec")
            .args(options)
            .current_dir(place.path())
            .env_clear()
            .env("PATH", path)
            .env("HOME", place.path())
            .env("TMPDIR", place.path().join("tmp"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Self { command, place }
    }

    pub fn options<S: AsRef<OsStr>>(mut self, options: &[S]) -> Self {
        self.command.args(options);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Puts a file for its owner alone into the run's directory.
    pub fn file(self, name: &str, text: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = self.place.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        self
    }

    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Gives what can be spawned, and what holds its directory.
    pub fn command(mut self, command: &[&str]) -> (Command, TempDir) {
        self.command.arg("--").args(command);
        (self.command, self.place)
    }

    /// A shell that runs this script.
    pub async fn shell(self, script: &str) -> Ran {
        self.run(&["sh", "-c", script]).await
    }

    /// Runs it to its end, and checks that it left nothing behind and told no secret.
    pub async fn run(self, command: &[&str]) -> Ran {
        let (mut command, place) = self.command(command);
        let run = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = run.await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            status: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        let left: Vec<_> = std::fs::read_dir(place.path().join("tmp"))
            .unwrap()
            .collect();
        assert!(left.is_empty(), "left on disk: {left:?}");
        let bare = REAL_TOKEN.strip_prefix("dop_v1_").unwrap();
        assert!(!ran.stderr.contains(bare), "{}", ran.stderr);
        let mut told = ran.stderr.split("tdg_v1_").skip(1);
        let is_whole = |rest: &str| rest.starts_with(|letter: char| letter.is_ascii_alphanumeric());
        assert!(!told.any(is_whole), "{}", ran.stderr);
        ran
    }
}

impl Ran {
    /// The variables that `env -0` printed.
    pub fn variables(&self) -> BTreeMap<&str, &str> {
        let all = self.stdout.split_terminator('\0');
        all.filter_map(|line| line.split_once('=')).collect()
    }
}

const LIST: &str =
    r#"curl -s -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/droplets""#;

/// S16: in an empty directory, with nothing but a token in the environment.
#[tokio::test]
async fn a_command_reads_with_a_sub_token_of_a_built_in_role_and_writes_nothing() {
    let api = StandInApi::start().await;
    let script = format!(
        r#"{LIST}; echo; curl -s -o /dev/null -w '%{{http_code}}' -X DELETE -H "Authorization: Bearer $DIGITALOCEAN_TOKEN" "$DIGITALOCEAN_API_URL/v2/droplets/12"; exit 7"#
    );
    let ran = Run::before(&api, &["--role", "read-only"])
        .shell(&script)
        .await;
    assert_eq!(ran.status, Some(7), "{}", ran.stderr);
    let (list, status) = ran.stdout.rsplit_once('\n').unwrap();
    let list: serde_json::Value = serde_json::from_str(list).unwrap();
    assert!(!list["droplets"].as_array().unwrap().is_empty());
    assert_eq!(status, "403");
    let heard = api.heard();
    assert!(heard.iter().all(|heard| heard.bearer() == Some(REAL_TOKEN)));
    assert_eq!(heard.len(), 1, "the list alone: {heard:?}");
    assert_eq!(
        ran.stderr,
        "tidegate exec: 1 call let through, 1 refused\n  DELETE /v2/droplets/12: scope, needs droplet:delete\n    this in a role would allow it:\n      allow:\n        - scopes: [droplet:delete]\n          only: { droplet: { id: 12 } }\n"
    );
}

#[tokio::test]
async fn the_summary_is_text_or_json_or_none() {
    let api = StandInApi::start().await;
    let script = format!("{LIST} > list; {LIST} -X POST > post; {LIST} -X POST > post");
    let run = |form: &'static str| Run::before(&api, &["--role", "read-only", "--summary", form]);
    let ran = run("json").shell(&script).await;
    assert_eq!(ran.stdout, "");
    let summary: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(
        (&summary["allowed"], &summary["refused"]),
        (&1.into(), &2.into())
    );
    let refusals = summary["refusals"].as_array().unwrap();
    assert_eq!(refusals.len(), 1, "one, twice: {summary}");
    assert_eq!(refusals[0]["count"], 2);
    assert_eq!(refusals[0]["endpoint"], "droplets_create");
    assert_eq!(refusals[0]["reason"], "scope");
    assert_eq!(refusals[0]["needs"], serde_json::json!(["droplet:create"]));
    assert_eq!(
        refusals[0]["suggestion"],
        "allow:\n  - scopes: [droplet:create]"
    );
    assert_eq!(run("none").shell(&script).await.stderr, "");
}

#[tokio::test]
async fn without_a_role_or_with_one_that_is_not_there_it_says_which_there_are() {
    let policy = "version: 1\nroles: { deploy: { allow: [{ scopes: [droplet:read] }] } }\n";
    let cases: [(&[&str], &str); 4] = [
        (&[], "the built-in templates have acme-dns, "),
        (
            &["--role", "read-onyl"],
            "there is no role `read-onyl`; did you mean `read-only`? ",
        ),
        (&["--policy", "policy.yaml"], "`policy.yaml` has deploy"),
        (
            &["--policy", "policy.yaml", "--role", "x"],
            "there is no role `x`; `policy.yaml` has deploy",
        ),
    ];
    for (options, expected) in cases {
        let run = Run::bare(options)
            .file("policy.yaml", policy)
            .env("DIGITALOCEAN_TOKEN", REAL_TOKEN);
        let ran = run.shell("echo ran").await;
        assert_eq!((ran.status, &*ran.stdout), (Some(2), ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn the_real_token_comes_from_a_file_the_configuration_or_a_variable() {
    type Case<'c> = (&'c [&'c str], &'c [(&'c str, &'c str)]);
    let api = StandInApi::start().await;
    let other = format!("dop_v1_{}", "0b".repeat(32));
    let policy = "version: 1\nroles: { reader: { allow: [{ scopes: [droplet:read] }] } }\n";
    let config = format!(
        "accounts: {{ default: {{ token_file: token }} }}\nupstream: {{ url: '{}' }}\npolicy: policy.yaml\nstate: state.db\naudit: stdout\n",
        api.url()
    );
    let upstream = api.url();
    let cases: [Case<'_>; 4] = [
        (
            &["--role", "reader", "--config", "tidegate.yaml"],
            &[("DIGITALOCEAN_TOKEN", &other)],
        ),
        (
            &[
                "--role",
                "read-only",
                "--upstream",
                &upstream,
                "--token-file",
                "token",
            ],
            &[("DIGITALOCEAN_TOKEN", &other)],
        ),
        (
            &["--role", "read-only", "--upstream", &upstream],
            &[("DIGITALOCEAN_TOKEN", REAL_TOKEN)],
        ),
        (
            &["--role", "read-only", "--upstream", &upstream],
            &[
                ("DIGITALOCEAN_ACCESS_TOKEN", REAL_TOKEN),
                ("DIGITALOCEAN_TOKEN", &other),
            ],
        ),
    ];
    for (options, variables) in cases {
        let mut run = Run::bare(options)
            .file("token", REAL_TOKEN)
            .file("policy.yaml", policy)
            .file("tidegate.yaml", &config);
        for (name, value) in variables {
            run = run.env(name, value);
        }
        let ran = run.shell(&format!("{LIST} -f > list")).await;
        assert_eq!(ran.status, Some(0), "{options:?}: {}", ran.stderr);
        let is_of_file = options.contains(&"--config") || options.contains(&"--token-file");
        assert_eq!(
            ran.stderr.contains("can read the real token in `"),
            is_of_file,
            "{}",
            ran.stderr
        );
        assert!(!ran.stderr.contains("0b0b"), "{}", ran.stderr);
    }
    let ran = Run::bare(&["--role", "read-only"]).shell("echo ran").await;
    assert_eq!((ran.status, &*ran.stdout), (Some(1), ""));
    assert!(
        ran.stderr
            .contains("set DIGITALOCEAN_ACCESS_TOKEN or DIGITALOCEAN_TOKEN"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn the_gate_ends_with_the_command_and_its_record_is_in_a_file_if_that_is_asked_for() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only"]);
    let record = TempDir::new().unwrap();
    let path = record.path().join("record.jsonl");
    let run = run.options(&["--audit".as_ref(), path.as_os_str()]);
    let ran = run
        .shell(&format!("{LIST} > list; echo $DIGITALOCEAN_API_URL"))
        .await;
    let address = ran.stdout.trim().strip_prefix("http://").unwrap();
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "the listener is closed"
    );
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    assert_eq!(lines[0]["endpoint"], "droplets_list");
    assert_eq!(lines[0]["token"]["name"], "exec");
    assert!(
        ran.stderr
            .starts_with("tidegate exec: 1 call let through, 0 refused"),
        "{}",
        ran.stderr
    );
}

/// What a role does not reach is told with a grant over that alone.
#[tokio::test]
async fn what_is_out_of_reach_is_told_with_a_grant_over_that_alone() {
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles: { one: { allow: [{ scopes: [droplet:read, droplet:update], only: { droplet: { id: 12 } }, actions: [reboot] }] } }\n";
    let script = r#"ask() { curl -s -o answer -H "Authorization: Bearer $DO_TOKEN" -H 'content-type: application/json' "$@"; }
        ask "$DIGITALOCEAN_API_URL/v2/droplets/13"; ask "$DIGITALOCEAN_API_URL/v2/droplets/12""#;
    let options = [
        "--policy",
        "policy.yaml",
        "--role",
        "one",
        "--summary",
        "json",
    ];
    let run = Run::before(&api, &options).file("policy.yaml", policy);
    let ran = run.shell(script).await;
    let summary: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(
        (&summary["allowed"], &summary["refused"]),
        (&1.into(), &1.into())
    );
    let refusal = &summary["refusals"][0];
    assert_eq!(refusal["reason"], "resource_hidden");
    assert_eq!(refusal["needs"], serde_json::json!(["droplet:read"]));
    assert_eq!(
        refusal["suggestion"],
        "allow:\n  - scopes: [droplet:read]\n    only: { droplet: { id: [\"13\"] } }"
    );
}
