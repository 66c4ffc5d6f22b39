//! Client libraries as their registries have them, unmodified, through the built daemon; and Prometheus' own reading of its
//! metrics.
//!
//! They need Python, Node and a registry to install from, so they are not among what `cargo test` runs: install them by
//! `tests/clients/install`, then run `cargo test --test clients`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::net::TcpStream;

use support::{Gate, StandInApi};

/// A role for each of the two tokens that the scripts use.
const POLICY: &str = "
version: 1
roles:
  full:
    allow: [{ scopes: ['droplet:read', 'domain:read', 'domain:create', 'domain:update'] }]
  read:
    allow: [{ scopes: ['droplet:read'] }]
";

const REFUSED: &str = "this sub-token lacks the scope droplet:delete for DELETE /v2/droplets/{droplet_id}; ask for a role that grants it";

fn installed() -> PathBuf {
    let given = std::env::var_os("TIDEGATE_CLIENTS").map(PathBuf::from);
    let directory =
        given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients"));
    assert!(
        directory.join("pins").exists(),
        "no clients in {}; run `tests/clients/install` first",
        directory.display()
    );
    directory
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// Runs a client's story before a gate and returns what each step told.
async fn run(gate: &Gate, mut command: Command) -> Vec<Value> {
    let (full, read) = (
        gate.issue(&["full", "--role", "full"]).await,
        gate.issue(&["read", "--role", "read"]).await,
    );
    command
        .env("TIDEGATE_URL", gate.url())
        .env("TOKEN_FULL", full)
        .env("TOKEN_READ", read)
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    told.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[track_caller]
fn assert_story(steps: &[Value]) {
    let names: Vec<_> = steps
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["list", "get", "create_record", "delete_record", "refused"]
    );
    assert_eq!(
        steps[0]["names"],
        json!(["a-web", "a-db", "a-web-keep", "b-web", "b-db", "build"]),
        "all pages"
    );
    assert_eq!(steps[1]["name"], "a-web");
    assert_eq!(steps[2]["type"], "TXT");
    assert_eq!(steps[2]["id"], steps[3]["id"]);
}

#[tokio::test]
async fn python_digitalocean_runs_its_story_and_prints_why_it_is_refused() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let mut command = Command::new(installed().join("venv/bin/python"));
    command.arg(script("python_digitalocean.py"));
    let steps = run(&gate, command).await;
    assert_story(&steps);
    assert_eq!(steps[4]["message"], REFUSED);
    assert!(
        api.heard()
            .iter()
            .all(|heard| heard.bearer() == Some(support::REAL_TOKEN))
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn dots_wrapper_runs_its_story_and_gets_why_it_is_refused() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let mut command = Command::new("node");
    command
        .arg(script("dots_wrapper.mjs"))
        .env("TIDEGATE_CLIENTS", installed());
    let steps = run(&gate, command).await;
    assert_story(&steps);
    assert_eq!(
        (&steps[4]["body"]["message"], &steps[4]["reason"]),
        (&json!(REFUSED), &json!("scope"))
    );
    for next in steps[0]["next"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
    {
        assert!(
            next.starts_with(&gate.url()),
            "{next} would lead around tidegate"
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn promtool_reads_the_metrics_and_has_nothing_to_say_of_them() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("admin", json!({ "address": "127.0.0.1:0" }))
        .start()
        .await;
    let token = gate.issue(&["read", "--role", "read"]).await;
    for path in ["/v2/droplets", "/v2/images", "/v2/nowhere"] {
        gate.get(path).token(&token).send().await;
    }
    let admin = TcpStream::connect(gate.admin_address().unwrap()).await;
    let asked = gate.get("/metrics").open_over(admin.unwrap()).await;
    let text = asked.unwrap().rest().await.unwrap().text();
    assert!(text.contains("ratelimit_remaining"), "{text}");
    let mut promtool = Command::new(installed().join("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
    gate.finish(&api).await;
}
