//! Clients that are whole programs: DigitalOcean's MCP server as npm has it.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::support::{Gate, REAL_TOKEN, StandInApi};
use super::{NOWHERE_ELSE, installed};

/// An agent sees and restarts what is its own.
const POLICY: &str = "
version: 1
roles:
  agent:
    allow:
      - scopes: ['droplet:read', 'droplet:update', 'actions:read']
        only: { droplet: { tag: client-a } }
        actions: [reboot]
";

/// Asks the MCP server for its tools, one after another, as an agent does; the text of each answer.
async fn agent(gate: &Gate, token: &str, calls: &[(&str, Value)]) -> Vec<(bool, String)> {
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": { "protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
    let mut lines = vec![
        hello,
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
    ];
    lines.extend(calls.iter().zip(1..).map(|((tool, arguments), id)| {
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": { "name": tool, "arguments": arguments } })
    }));
    let mut server = Command::new("node")
        .arg(installed().join("node_modules/@digitalocean/mcp/index.js"))
        .args(["--services", "droplets"])
        .env("DIGITALOCEAN_API_TOKEN", token)
        .env("DIGITALOCEAN_API_ENDPOINT", gate.url())
        .envs(NOWHERE_ELSE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut input = server.stdin.take().unwrap();
    let output = server.stdout.take().unwrap();
    let count = calls.len();
    tokio::task::spawn_blocking(move || {
        for line in &lines {
            writeln!(input, "{line}").unwrap();
        }
        // It may answer in another order, and ends when its input does.
        let mut answers = vec![None; count];
        for line in std::io::BufRead::lines(std::io::BufReader::new(output)) {
            let answer: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let id = usize::try_from(answer["id"].as_u64().unwrap_or_default()).unwrap();
            if id > 0 {
                let failed = answer["result"]["isError"] == true;
                let text = answer["result"]["content"][0]["text"]
                    .as_str()
                    .unwrap_or_default();
                answers[id - 1] = Some((failed, text.to_owned()));
            }
            if answers.iter().all(Option::is_some) {
                break;
            }
        }
        drop(input);
        let _ended = server.wait();
        answers.into_iter().map(Option::unwrap).collect()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn the_mcp_server_sees_and_does_what_its_agent_may() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["agent", "--role", "agent"]).await;
    let told = agent(
        &gate,
        &token,
        &[
            ("droplet-list", json!({ "Page": 1, "PerPage": 50 })),
            ("droplet-get", json!({ "ID": 12 })),
            ("reboot-droplet", json!({ "ID": 12 })),
            ("droplet-get", json!({ "ID": 22 })),
            ("droplet-delete", json!({ "ID": 12 })),
            ("power-off-droplet", json!({ "ID": 12 })),
        ],
    )
    .await;
    let (failed, list) = &told[0];
    assert!(
        !failed && list.contains("a-web") && !list.contains("b-web"),
        "{list}"
    );
    assert!(!told[1].0 && told[1].1.contains("a-web"), "{:?}", told[1]);
    assert!(!told[2].0 && told[2].1.contains("reboot"), "{:?}", told[2]);
    // What it is refused its model reads as a sentence that says what to do.
    assert!(told[3].0 && told[3].1.contains("404"), "{:?}", told[3]);
    assert!(
        told[4].0
            && told[4]
                .1
                .contains("this sub-token lacks the scope droplet:delete"),
        "{:?}",
        told[4]
    );
    assert!(
        told[5].0 && told[5].1.contains("power_off"),
        "{:?}",
        told[5]
    );
    let writes: Vec<_> = api.writes().iter().map(|heard| heard.line()).collect();
    assert_eq!(writes, ["POST /v2/droplets/12/actions"]);
    assert!(
        api.heard()
            .iter()
            .all(|heard| heard.bearer() == Some(REAL_TOKEN))
    );
    gate.finish(&api).await;
}
