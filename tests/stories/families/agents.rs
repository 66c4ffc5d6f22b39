//! Agents and the gateway by which they reach others: what DigitalOcean's clients call, and its specification lacks.

use serde_json::{Value, json};

use super::{MINE, OTHER};
use crate::support::standin::{Fault, Heard, Reply};
use crate::support::{Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  agents:
    allow:
      - scopes: ['agent_harness_session:*', 'action_gateway:*']
        only: { agent_session: { name: mine }, gateway_mcp_server: { id: mine } }
  all-but:
    allow: [{ scopes: ['*'] }]
    deny: [{ scopes: ['*'], only: { agent_session: { name: other } } }]
";

/// Two sessions, of which the list shows one a page, and goes on by a token; two servers that are listed at once.
fn agents(heard: &Heard) -> Reply {
    let session = |id: &str, name: &str| json!({ "session_id": id, "name": name, "status": "SESSION_STATUS_READY" });
    let (mine, other) = (session(MINE, "mine"), session(OTHER, "other"));
    let server = |name: &str| json!({ "serverRef": name, "endpoint": format!("https://{name}.example.com") });
    let asked_for = |token: &str| {
        heard
            .query()
            .contains(&("page_token".to_owned(), token.to_owned()))
    };
    let one = |id: &str| heard.path() == format!("/v2/agents/sessions/{id}");
    match heard.path() {
        "/v2/agents/sessions" if asked_for("second") => {
            Reply::json(200, &json!({ "sessions": [mine], "next_page_token": "" }))
        }
        "/v2/agents/sessions" => Reply::json(
            200,
            &json!({ "sessions": [other], "next_page_token": "second" }),
        ),
        "/v2/action-gateway/mcp-servers" => Reply::json(
            200,
            &json!({ "mcpServers": [server("mine"), server("other")] }),
        ),
        _ if one(MINE) => Reply::json(200, &json!({ "session": mine })),
        _ if one(OTHER) => Reply::json(200, &json!({ "session": other })),
        path if path.ends_with("/pause") => Reply::json(200, &json!({})),
        _ => Reply::not_found(),
    }
}

async fn scene() -> (StandInApi, Gate) {
    let api = StandInApi::start().await;
    for family in ["/v2/agents", "/v2/action-gateway"] {
        api.fault_all(family, Fault::reply_with(agents));
    }
    let gate = Gate::start(&api, POLICY).await;
    (api, gate)
}

#[tokio::test]
async fn a_list_that_goes_on_by_a_token_is_cut_page_by_page_to_its_end() {
    let (api, gate) = scene().await;
    let token = gate.issue(&["--role", "agents"]).await;
    let (mut shown, mut next) = (Vec::new(), String::new());
    for page in 1.. {
        let path = format!("/v2/agents/sessions?page_size=1&page_token={next}");
        let answer = gate.get(&path).token(&token).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let answer = answer.json();
        let names = answer["sessions"].as_array().unwrap().iter();
        shown.extend(names.map(|session| session["name"].clone()));
        answer["next_page_token"]
            .as_str()
            .unwrap()
            .clone_into(&mut next);
        if next.is_empty() {
            assert_eq!(page, 2);
            break;
        }
    }
    assert_eq!(shown, ["mine"]);
    let servers = gate.get("/v2/action-gateway/mcp-servers").token(&token);
    let servers = servers.send().await.json();
    let names: Vec<&Value> = servers["mcpServers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|server| &server["serverRef"])
        .collect();
    assert_eq!(names, ["mine"]);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_session_is_seen_and_paused_by_whoever_may_and_is_missing_for_others() {
    let (api, gate) = scene().await;
    let narrowed = gate.issue(&["narrowed", "--role", "agents"]).await;
    let denied = gate.issue(&["denied", "--role", "all-but"]).await;
    for token in [&narrowed, &denied] {
        let of = |id: &str| format!("/v2/agents/sessions/{id}");
        let seen = gate.get(&of(MINE)).token(token).send().await;
        assert_eq!(
            (
                seen.status.as_u16(),
                seen.json()["session"]["name"].as_str()
            ),
            (200, Some("mine"))
        );
        let paused = gate
            .post(&format!("{}/pause", of(MINE)), &json!({}))
            .token(token);
        assert_eq!(paused.send().await.status, 200);
        let (there, nowhere) = (of(OTHER), of("99999999-9999-4999-8999-999999999999"));
        let mut told = Vec::new();
        for path in [&there, &nowhere] {
            let hidden = gate.get(path).token(token).send().await;
            told.push((hidden.status.as_u16(), hidden.message()));
            let paused = gate.post(&format!("{path}/pause"), &json!({})).token(token);
            assert_eq!(paused.send().await.status, 404, "{path}");
        }
        assert_eq!(told[0], told[1]);
        assert_eq!(told[0].0, 404);
    }
    let writes: Vec<_> = api.writes().iter().map(Heard::line).collect();
    let own = format!("POST /v2/agents/sessions/{MINE}/pause");
    assert_eq!(writes, [own.as_str(), &own]);
    gate.finish(&api).await;
}
