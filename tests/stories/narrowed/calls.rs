//! How many calls of the API a client's calls come to.

use serde_json::{Value, json};

use super::droplets::CLIENT;
use super::projects::{PROJECT, droplet};
use super::{NONE, Story};
use crate::support::World;

/// What was heard since the last time, for one request.
async fn calls(story: &Story, request: &str, body: &Value, status: u16) -> usize {
    story.api.clear();
    let answer = story.ask(request, body).await;
    assert_eq!(
        answer.status.as_u16(),
        status,
        "{request}: {}",
        answer.text()
    );
    let heard = story.api.heard();
    let told = story.gate.audit_of(&answer).await.last().unwrap()["upstream_calls"].clone();
    assert_eq!(told, heard.len(), "the record of {request}");
    heard.len()
}

/// One list, one get, one create, one action with ten polls, one delete: calls of the API for each of the client's.
#[expect(clippy::cast_precision_loss, reason = "there are few")]
async fn session(role: &str) -> f64 {
    let story = Story::of(role).await;
    let mut heard = Vec::new();
    heard.push(calls(&story, "GET /v2/droplets?page=1&per_page=200", &NONE, 200).await);
    heard.push(calls(&story, "GET /v2/droplets/12", &NONE, 200).await);
    heard.push(calls(&story, "POST /v2/droplets", &droplet("a-new"), 202).await);
    story.api.clear();
    let action = story
        .ask("POST /v2/droplets/12/actions", &json!({ "type": "reboot" }))
        .await;
    heard.push(story.api.heard_count());
    let id = action.json()["action"]["id"].to_string();
    for _ in 0..10 {
        let polls = calls(&story, &format!("GET /v2/actions/{id}"), &NONE, 200).await;
        assert_eq!(polls, 1, "a poll of an action that went through here");
        heard.push(polls);
    }
    heard.push(calls(&story, "DELETE /v2/droplets/12", &NONE, 204).await);
    story.finish().await;
    heard.iter().sum::<usize>() as f64 / heard.len() as f64
}

#[tokio::test]
async fn a_session_by_tag_costs_few_calls_more_than_without() {
    let each = session(CLIENT).await;
    assert!(each <= 1.3, "{each:.2} calls of the API for each");
}

#[tokio::test]
async fn a_session_by_project_costs_few_calls_more_than_without() {
    let each = session(PROJECT).await;
    assert!(each <= 1.6, "{each:.2} calls of the API for each");
}

#[tokio::test]
async fn what_is_read_once_is_asked_once() {
    let story = Story::of(CLIENT).await;
    assert_eq!(calls(&story, "GET /v2/droplets/12", &NONE, 200).await, 1);
    assert_eq!(calls(&story, "GET /v2/droplets/22", &NONE, 404).await, 1);
    assert_eq!(calls(&story, "GET /v2/images/7001", &NONE, 200).await, 1);
    assert_eq!(calls(&story, "GET /v2/droplets", &NONE, 200).await, 1);
    let reboot = json!({ "type": "reboot" });
    assert_eq!(
        calls(&story, "POST /v2/droplets/12/actions", &reboot, 201).await,
        2,
        "one look, and the change"
    );
    let resize = json!({ "type": "resize", "size": "c-2" });
    assert_eq!(
        calls(&story, "POST /v2/droplets/12/actions", &resize, 201).await,
        2,
        "one look, and the change"
    );
    assert_eq!(
        calls(&story, "DELETE /v2/droplets/13", &NONE, 204).await,
        2,
        "one look, and the change"
    );
    assert_eq!(
        calls(&story, "POST /v2/droplets/22/actions", &reboot, 404).await,
        1
    );
    story.finish().await;
}

/// Who is refused for one thing must not have the others looked up for it: each look-up is one that the account may make no
/// more. And what is there takes as many as what is not.
#[tokio::test]
async fn a_refusal_looks_no_further_than_to_what_refuses_it() {
    let world = (100..150).fold(World::default(), |world, id| {
        world.with_droplet(id, &format!("a-{id}"), &["client-a"])
    });
    let role = "
    allow:
      - scopes: [firewall:update, droplet:update, droplet:read]
        only: { firewall: any, droplet: { tag: client-a } }
    deny:
      - scopes: ['*']
        only: { droplet: { name: 'a-149' } }
";
    let story = Story::in_world(role, world).await;
    let add = "POST /v2/firewalls/fb6045f1-cf1d-4ca3-bfac-18832663025b/droplets";
    let with = |position: usize, id: u64| {
        let mut ids: Vec<u64> = (100..140).collect();
        ids[position] = id;
        json!({ "droplet_ids": ids })
    };
    let first = calls(&story, add, &with(0, 22), 403).await;
    assert!(first <= 2, "{first} calls");
    for (position, ids) in [(0, [22, 999, 149]), (3, [22, 999, 149])] {
        let mut each = Vec::new();
        for id in ids {
            each.push(calls(&story, add, &with(position, id), 403).await);
        }
        let expected = first + position;
        assert_eq!(
            each, [expected; 3],
            "hidden, missing and denied, at {position}"
        );
    }
    story.finish().await;
}

#[tokio::test]
async fn what_a_refusal_looked_up_counts_against_the_rate() {
    let role = "
    allow:
      - scopes: [firewall:update, droplet:update, droplet:read]
        only: { firewall: any, droplet: { tag: client-a } }
";
    let story = Story::issued(role, World::default(), &["--rate", "10/h"]).await;
    let reason = async |ids: Value| {
        let add = "POST /v2/firewalls/fb6045f1-cf1d-4ca3-bfac-18832663025b/droplets";
        let answer = story.ask(add, &json!({ "droplet_ids": ids })).await;
        answer.reason().map(str::to_owned)
    };
    let droplet = async |id: u64| {
        let answer = story.get(&format!("/v2/droplets/{id}")).await;
        answer.reason().unwrap_or("ok").to_owned()
    };
    // One for the request, and one for each of three look-ups.
    assert_eq!(
        reason(json!([12, 13, 22])).await.as_deref(),
        Some("resource")
    );
    // What is let through counts as one, whatever it took.
    for _ in 0..3 {
        assert_eq!(droplet(12).await, "ok");
    }
    // A GET that its own answer refuses asked the API too.
    assert_eq!(droplet(22).await, "resource_hidden");
    assert_eq!(droplet(12).await, "ok");
    assert_eq!(droplet(12).await, "rate_limited");
    story.finish().await;
}
