//! The console in a real browser: S21 by the keyboard, and every page as people see it, with axe-core looking on.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::support::{Gate, StandInApi};
use super::{installed, script};

const POLICY: &str = "
version: 1
roles:
  chief: { operator: [view, revoke, issue], operator_issues: [reader] }
  reader: { description: reads Droplets, allow: [{ scopes: ['droplet:read'] }] }
  client: { vars: [client], allow: [{ scopes: ['droplet:*'], only: { tag: 'client-${client}' } }] }
";

#[tokio::test]
async fn a_leaked_token_is_found_and_ended_in_a_browser_by_the_keyboard() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "admin",
            json!({ "address": "127.0.0.1:0", "console": true }),
        )
        .start()
        .await;
    let operator = gate.issue(&["night", "--role", "chief"]).await;
    let leaked = gate
        .issue(&[
            "ci",
            "--role",
            "reader",
            "--owner",
            "alice",
            "--expires",
            "30d",
        ])
        .await;
    for path in ["/v2/droplets", "/v2/volumes", "/v2/volumes"] {
        gate.get(path).token(&leaked).send().await;
    }
    let mut command = Command::new("node");
    command
        .arg(script("console.mjs"))
        .env("TIDEGATE_CLIENTS", installed())
        .env(
            "CONSOLE_URL",
            format!("http://{}", gate.admin_address().unwrap()),
        )
        .env("API_URL", gate.url())
        .env("TOKEN_OPERATOR", operator)
        .env("TOKEN_LEAKED", leaked)
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}\n{said}");
    let steps: Vec<Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let views: Vec<_> = steps
        .iter()
        .filter_map(|step| step["view"].as_str())
        .collect();
    assert_eq!(views, ["light", "dark", "narrow"]);
    assert!(
        steps[3]["took"].as_u64().unwrap() < 1000,
        "within a second: {told}"
    );
    gate.finish(&api).await;
}
