//! Client libraries, each of which lists, gets, writes and is refused.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::certificates::Certificates;
use super::support::{Gate, REAL_TOKEN, StandInApi};
use super::{NOWHERE_ELSE, installed, python, script};

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

/// Runs a client's story before a gate that is found at `url`, and returns what each step told.
async fn run(gate: &Gate, url: &str, mut command: Command) -> Vec<Value> {
    let (full, read) = (
        gate.issue(&["full", "--role", "full"]).await,
        gate.issue(&["read", "--role", "read"]).await,
    );
    command
        .env("TIDEGATE_URL", url)
        .env("TOKEN_FULL", full)
        .env("TOKEN_READ", read)
        .envs(NOWHERE_ELSE)
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

/// What every library's story comes to, all of it with the real token.
#[track_caller]
fn assert_story(steps: &[Value], api: &StandInApi) {
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
    assert!(
        api.heard()
            .iter()
            .all(|heard| heard.bearer() == Some(REAL_TOKEN))
    );
}

#[track_caller]
fn assert_links_lead_back(step: &Value, url: &str) {
    let links = step["next"].as_array().unwrap();
    assert!(!links.is_empty(), "there are several pages");
    for next in links.iter().map(|next| next.as_str().unwrap()) {
        assert!(
            next.starts_with(url),
            "{next} would lead around tidegate at {url}"
        );
    }
}

#[tokio::test]
async fn python_digitalocean_runs_its_story_and_prints_why_it_is_refused() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let steps = run(&gate, &gate.url(), python("python_digitalocean.py")).await;
    assert_story(&steps, &api);
    assert_eq!(steps[4]["message"], REFUSED);
    gate.finish(&api).await;
}

#[tokio::test]
async fn pydo_runs_its_story_over_tls_and_prints_why_it_is_refused() {
    let api = StandInApi::start().await;
    let certificates = Certificates::make(&["localhost"]);
    let tls = json!({ "certificate": certificates.server(), "private_key": certificates.key() });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("listen", json!([{ "address": "127.0.0.1:0", "tls": tls }]))
        .start()
        .await;
    let url = format!("https://localhost:{}", gate.address().port());
    let mut command = python("pydo_over_tls.py");
    command.env("REQUESTS_CA_BUNDLE", certificates.authority());
    let steps = run(&gate, &url, command).await;
    assert_story(&steps, &api);
    assert_links_lead_back(&steps[0], &url);
    assert!(
        steps[4]["message"].as_str().unwrap().contains(REFUSED),
        "{}",
        steps[4]
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
    let steps = run(&gate, &gate.url(), command).await;
    assert_story(&steps, &api);
    assert_links_lead_back(&steps[0], &gate.url());
    assert_eq!(
        (&steps[4]["body"]["message"], &steps[4]["reason"]),
        (&json!(REFUSED), &json!("scope"))
    );
    gate.finish(&api).await;
}
