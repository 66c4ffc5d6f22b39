//! Clients that are whole programs: DigitalOcean's MCP server as npm has it, and Packer as Debian has it.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use hyper::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::standin::{Fault, Heard, Reply};
use super::support::{Gate, REAL_TOKEN, StandInApi, World};
use super::{NOWHERE_ELSE, installed};

/// An agent may look at everything but secrets; it may also restart what is its own.
const POLICY: &str = "
version: 1
roles:
  agent:
    allow:
      - scopes: ['droplet:read', 'droplet:update', 'actions:read']
        only: { droplet: { tag: client-a } }
        actions: [reboot]
  whole:
    allow: [{ scopes: ['droplet:*', 'actions:read'] }]
  images:
    allow:
      - scopes: ['droplet:*', 'snapshot:read', 'image:read', 'tag:create']
        only: { droplet: { name: 'packer-*' }, snapshot: { name: 'golden-*' }, image: { name: 'golden-*' } }
      - scopes: ['ssh_key:*']
        only: { ssh_key: { name: 'packer-*' } }
      - scopes: ['actions:read']
        only: { droplet: { name: 'packer-*' } }
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
    let writes: Vec<_> = api.writes().iter().map(Heard::line).collect();
    assert_eq!(writes, ["POST /v2/droplets/12/actions"]);
    assert!(
        api.heard()
            .iter()
            .all(|heard| heard.bearer() == Some(REAL_TOKEN))
    );
    gate.finish(&api).await;
}

/// DigitalOcean's library for Go (godo 1.206, which the server is made with) sends a read again after 429, and would send a write
/// again after a 5xx: of what a gateway before the API says, it is told 409, and leaves the write alone.
#[tokio::test]
async fn godo_repeats_reads_and_no_write_that_may_have_been_heard() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["whole", "--role", "whole"]).await;
    let slow_down = Fault::problem(429, "too_many_requests", "API rate limit exceeded");
    api.fault_once(Method::GET, "/v2/droplets", slow_down);
    let pages = [1, 2, 3].map(|page| ("droplet-list", json!({ "Page": page, "PerPage": 2 })));
    let told = agent(&gate, &token, &pages).await;
    for ((failed, list), name) in told.iter().zip(["a-web", "a-web-keep", "b-db"]) {
        assert!(!failed && list.contains(name), "{name} in {list}");
    }
    assert_eq!(api.heard_count(), 4, "one page was asked for twice");

    let bad_gateway = |_: &Heard| Reply::bytes(502, "text/html", "<html>502 Bad Gateway</html>");
    let faulty = Fault::reply_with(bad_gateway);
    api.fault_once(Method::POST, "/v2/droplets/12/actions", faulty);
    let reboot = [("reboot-droplet", json!({ "ID": 12 }))];
    let told = agent(&gate, &token, &reboot).await;
    assert!(told[0].0 && told[0].1.contains("409"), "{told:?}");
    assert!(told[0].1.contains("look before you repeat"), "{told:?}");
    assert_eq!(api.writes().len(), 1, "and no second time");

    let destroyed = agent(&gate, &token, &[("droplet-delete", json!({ "ID": 12 }))]).await;
    assert!(!destroyed[0].0, "{destroyed:?}");
    let gone = agent(&gate, &token, &[("droplet-get", json!({ "ID": 12 }))]).await;
    assert!(gone[0].0 && gone[0].1.contains("404"), "{gone:?}");
    gate.finish(&api).await;
}

/// A build without a login: Packer makes a Droplet, turns it off, takes a snapshot, and destroys what it made.
async fn packer(gate: &Gate, token: &str, snapshot: &str) -> Output {
    let directory = TempDir::new().unwrap();
    let template = json!({ "builders": [{
        "type": "digitalocean",
        "image": "ubuntu-24-04-x64",
        "region": "nyc3",
        "size": "s-1vcpu-1gb",
        "droplet_name": "packer-golden",
        "snapshot_name": snapshot,
        "communicator": "none",
        "state_timeout": "60s",
    }] });
    std::fs::write(directory.path().join("golden.json"), template.to_string()).unwrap();
    let mut command = Command::new("packer");
    command
        .args(["build", "-color=false", "golden.json"])
        .current_dir(directory.path())
        .env("HOME", directory.path())
        .env("PACKER_CONFIG_DIR", directory.path())
        .env("CHECKPOINT_DISABLE", "1")
        .env("DIGITALOCEAN_API_TOKEN", token)
        .env("DIGITALOCEAN_API_URL", gate.url())
        .envs(NOWHERE_ELSE)
        .stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn packer_builds_an_image_and_leaves_nothing_behind() {
    let api = StandInApi::start_with(World::default()).await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["images", "--role", "images"]).await;
    let built = packer(&gate, &token, "golden-1").await;
    let said = String::from_utf8_lossy(&built.stdout).into_owned();
    assert!(built.status.success(), "{said}");
    assert!(
        said.contains("A snapshot was created: 'golden-1'"),
        "{said}"
    );
    let droplets = api.world(|world| world.names("droplets"));
    assert!(
        !droplets.iter().any(|name| name.starts_with("packer-")),
        "{droplets:?}"
    );
    let keys = api.world(|world| world.names("account/keys"));
    assert!(
        !keys.iter().any(|name| name.starts_with("packer-")),
        "{keys:?}"
    );

    // A snapshot of another name is refused, in words that it prints, and what it made is gone again.
    let refused = packer(&gate, &token, "other").await;
    let said = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert!(!refused.status.success(), "{said}");
    assert!(said.contains("403") && said.contains("other"), "{said}");
    let droplets = api.world(|world| world.names("droplets"));
    assert!(
        !droplets.iter().any(|name| name.starts_with("packer-")),
        "{droplets:?}"
    );
    gate.finish(&api).await;
}
