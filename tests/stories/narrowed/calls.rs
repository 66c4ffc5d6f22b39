//! How many calls of the API a client's calls come to.

use serde_json::{Value, json};

use super::droplets::CLIENT;
use super::projects::{PROJECT, droplet};
use super::{NONE, Story};

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
