//! The way through: a request that is allowed arrives with the real token in it, and one that is not does not.

use serde_json::json;

use crate::support::{Gate, REAL_TOKEN, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
  read:
    allow: [{ scopes: ['*:read'] }]
";

#[tokio::test]
async fn an_allowed_request_arrives_with_the_real_token_and_nothing_of_the_clients() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let answer = gate
        .get("/v2/droplets?per_page=1")
        .token(&token)
        .header("cookie", "a=b")
        .header("x-other", "c")
        .send()
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.names("droplets"), ["a-web"]);
    let heard = api.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].target, "/v2/droplets?per_page=1");
    assert_eq!(heard[0].bearer(), Some(REAL_TOKEN));
    assert_eq!(heard[0].header("cookie"), None);
    assert_eq!(heard[0].header("x-other"), None);
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_lacks_its_scope_is_refused_with_a_sentence_that_says_why() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "read"]).await;
    let answer = gate
        .post("/v2/droplets", &json!({ "name": "x" }))
        .token(&token)
        .send()
        .await;
    assert_eq!(answer.status, 403);
    assert_eq!(answer.reason(), Some("scope"));
    assert_eq!(answer.header("tidegate-needs"), Some("droplet:create"));
    assert_eq!(answer.json()["id"], "forbidden");
    assert_eq!(
        answer.message(),
        "this sub-token lacks the scope droplet:create for POST /v2/droplets; ask for a role that grants it"
    );
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}
