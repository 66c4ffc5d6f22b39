//! What one daemon knows of what went through it, the others know too.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::standin::Reply;
use crate::support::{Fault, Gate};
use crate::three::{SOON, Three};

const VOLUME: &str = "506f78a4-e098-11e5-ad9f-000000000001";
const PROJECT: &str = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679";

/// Whose are all things of a tag, and whose are all of a project.
const POLICY: &str = "version: 1
roles:
  tagged:
    allow:
      - scopes: ['droplet:*', 'block_storage:*', 'block_storage_action:*', tag:read, actions:read]
        only: { tag: client-a }
  of-b:
    allow:
      - scopes: ['droplet:*', 'block_storage:*', 'block_storage_action:*', tag:read, actions:read]
        only: { tag: client-b }
  project:
    allow:
      - scopes: ['droplet:*', actions:read]
        only: { project: client-a }
        on_create: { project: client-a }
      - scopes: [image:read]
        only: { image: { slug: ubuntu-24-04-x64 } }
      - scopes: [ssh_key:read, regions:read, sizes:read]
";

#[tokio::test]
async fn a_poll_of_a_volumes_action_finds_it_through_another_daemon() {
    let three = Three::start(POLICY).await;
    let [a, b, c] = &three.gates;
    let own = a.issue(&["own", "--role", "tagged"]).await;
    let other = a.issue(&["other", "--role", "of-b"]).await;
    for token in [&own, &other] {
        three
            .soon_say("/v2/droplets", token, StatusCode::OK, None)
            .await;
    }
    let attach = json!({ "type": "attach", "droplet_id": 12, "region": "nyc3" });
    for (by, polled) in [(a, [b, c]), (b, [c, a]), (c, [a, b])] {
        let asked = by.post(&format!("/v2/volumes/{VOLUME}/actions"), &attach);
        let begun = asked.token(&own).send().await;
        assert!(begun.status.is_success(), "{}", begun.text());
        let poll = format!("/v2/actions/{}", begun.json()["action"]["id"]);
        for gate in polled {
            let answer = gate.get(&poll).token(&own).send().await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
            let answer = gate.get(&poll).token(&other).send().await;
            assert_eq!(
                answer.status,
                StatusCode::NOT_FOUND,
                "it is another's volume"
            );
        }
    }
    three.finish().await;
}

#[tokio::test]
async fn what_was_made_into_a_project_is_seen_through_another_daemon_until_something_is_replaced() {
    let three = Three::start(POLICY).await;
    let [a, b, c] = &three.gates;
    let maker = a.issue(&["maker", "--role", "project"]).await;
    let other = a.issue(&["other", "--role", "project"]).await;
    for token in [&maker, &other] {
        three
            .soon_say("/v2/droplets", token, StatusCode::OK, None)
            .await; // and each has the lists now, for seconds
    }
    // The API takes what is put into the project, and does not show it there yet.
    let taken = Fault::Reply(Reply::json(200, &json!({ "resources": [] })));
    let assign = format!("/v2/projects/{PROJECT}/resources");
    three.api.fault_on(Method::POST, &assign, taken);
    let droplet = json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" });
    let made = a.post("/v2/droplets", &droplet).token(&maker).send().await;
    assert_eq!(made.status, StatusCode::ACCEPTED, "{}", made.text());
    let id = made.json()["droplet"]["id"].clone();
    for gate in [b, c] {
        soon(async || lists(gate, &maker, &id).await, "its maker sees it").await;
        assert!(!lists(gate, &other, &id).await, "another's token does not");
    }
    // One is deleted, through whichever daemon and by whomever: it could be this one.
    let deleted = c.delete("/v2/droplets/14").token(&other).send().await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{}", deleted.text());
    for gate in [a, b, c] {
        soon(
            async || !lists(gate, &maker, &id).await,
            "the API alone tells",
        )
        .await;
    }
    three.finish().await;
}

async fn lists(gate: &Gate, token: &str, id: &Value) -> bool {
    let list = gate.get("/v2/droplets").token(token).send().await;
    assert_eq!(list.status, StatusCode::OK, "{}", list.text());
    let list = list.json();
    let items = list["droplets"].as_array().unwrap();
    items.iter().any(|droplet| droplet["id"] == *id)
}

async fn soon(is_so: impl AsyncFn() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < SOON, "not within a second: {what}");
        // Not as fast as it goes: the daemons that are to hear of it are on the same processors.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
