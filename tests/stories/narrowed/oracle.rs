//! What may not be seen answers as what is not there: no status, word, header or effort tells them apart.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::droplets::CLIENT;
use super::{NONE, Story};
use crate::support::{Answer, Fault, World};

/// All of an answer that could tell, ids and dates aside.
pub(super) fn told(answer: &Answer) -> (u16, Value, BTreeSet<String>) {
    let mut body = answer.json();
    body["request_id"] = Value::Null;
    let mut headers: BTreeSet<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| {
            !matches!(
                name.as_str(),
                "date" | "tidegate-request-id" | "x-request-id"
            )
        })
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    // How much is left of DigitalOcean's limit is the account's own noise.
    headers.retain(|line| !line.starts_with("ratelimit-"));
    (answer.status.as_u16(), body, headers)
}

#[tokio::test]
async fn hidden_and_absent_answer_alike() {
    let cases: &[(&str, Value)] = &[
        ("GET /v2/droplets/{}", NONE),
        ("DELETE /v2/droplets/{}", NONE),
        ("POST /v2/droplets/{}/actions", json!({ "type": "reboot" })),
        (
            "POST /v2/droplets/{}/actions",
            json!({ "type": "resize", "size": "c-2" }),
        ),
        ("GET /v2/droplets/{}/snapshots", NONE),
        ("GET /v2/droplets/{}/neighbors", NONE),
        ("GET /v2/droplets/{}/actions", NONE),
    ];
    let story = Story::of(CLIENT).await;
    for (request, body) in cases {
        let hidden = story.ask(&request.replace("{}", "22"), body).await;
        let calls_hidden = story.heard().len();
        let absent = story.ask(&request.replace("{}", "999"), body).await;
        let calls_absent = story.heard().len();
        assert_eq!(told(&hidden), told(&absent), "{request}");
        assert_eq!(calls_hidden, calls_absent, "{request}");
        assert_eq!(hidden.status, 404, "{request}");
    }
    for (hidden, absent) in [
        ("/v2/images/7002", "/v2/images/9999"),
        ("/v2/tags/client-b", "/v2/tags/never"),
        ("/v2/actions/36804637", "/v2/actions/1"),
    ] {
        let hidden = story.get(hidden).await;
        let absent = story.get(absent).await;
        assert_eq!(told(&hidden), told(&absent));
    }
    story.finish().await;
}

#[tokio::test]
async fn what_a_deny_takes_away_is_as_if_it_were_not_there() {
    let story = Story::of("\n    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: ['*']\n        only: { tag: client-b }\n").await;
    for (request, body) in [
        ("GET /v2/droplets/{}", NONE),
        ("DELETE /v2/droplets/{}", NONE),
        ("POST /v2/droplets/{}/actions", json!({ "type": "reboot" })),
    ] {
        let denied = story.ask(&request.replace("{}", "22"), &body).await;
        let absent = story.ask(&request.replace("{}", "999"), &body).await;
        assert_eq!(told(&denied), told(&absent), "{request}");
    }
    story.finish().await;
}

#[tokio::test]
async fn a_name_in_a_body_is_refused_alike_whether_it_is_there_or_not() {
    let story = Story::of(CLIENT).await;
    let from = |image: u32| json!({ "name": "a", "region": "nyc3", "size": "s-1vcpu-1gb", "image": image });
    let hidden = story.ask("POST /v2/droplets", &from(7002)).await;
    let absent = story.ask("POST /v2/droplets", &from(9999)).await;
    // The caller's own words are all that differs.
    let but_for = |answer: &Answer, name: &str| format!("{:?}", told(answer)).replace(name, "NAME");
    assert_eq!(but_for(&hidden, "7002"), but_for(&absent, "9999"));
    assert_eq!(hidden.reason(), Some("resource"));
    let join = |vpc: &str| json!({ "name": "a", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "debian-12-x64", "vpc_uuid": vpc });
    let hidden = story
        .ask(
            "POST /v2/droplets",
            &join("5a4981aa-9653-4bd1-bef5-d6bff52042e4"),
        )
        .await;
    let absent = story
        .ask(
            "POST /v2/droplets",
            &join("5a4981aa-9653-4bd1-bef5-d6bff52042e5"),
        )
        .await;
    let (there, nowhere) = (
        "5a4981aa-9653-4bd1-bef5-d6bff52042e4",
        "5a4981aa-9653-4bd1-bef5-d6bff52042e5",
    );
    assert_eq!(but_for(&hidden, there), but_for(&absent, nowhere));
    assert!(hidden.message().contains(there), "{}", hidden.text());
    story.finish().await;
}

#[tokio::test]
async fn a_refusal_on_the_answer_costs_no_use() {
    let story = Story::issued(CLIENT, World::default(), &["--max-uses", "2"]).await;
    for _ in 0..3 {
        assert_eq!(story.get("/v2/droplets/22").await.status, 404);
        assert_eq!(story.get("/v2/droplets/999").await.status, 404);
    }
    assert_eq!(story.get("/v2/droplets/12").await.status, 200);
    assert_eq!(story.get("/v2/droplets/22").await.status, 404);
    assert_eq!(story.get("/v2/droplets/12").await.status, 200);
    assert_eq!(
        story.get("/v2/droplets/12").await.reason(),
        Some("uses_exhausted")
    );
    story.finish().await;
}

#[tokio::test]
async fn where_facts_can_not_be_had_nothing_is_let_through() {
    let story = Story::of(CLIENT).await;
    let faults = [
        ("500", Fault::problem(500, "server_error", "no"), 502),
        (
            "429",
            Fault::problem(429, "too_many_requests", "slow down"),
            502,
        ),
        ("401", Fault::problem(401, "unauthorized", "no"), 502),
        (
            "nonsense",
            Fault::Reply(crate::support::Reply::bytes(
                200,
                "application/json",
                "{\"droplet\":",
            )),
            502,
        ),
        (
            "another shape",
            Fault::Reply(crate::support::Reply::json(200, &json!({ "droplets": [] }))),
            502,
        ),
        ("closed", Fault::CloseBeforeHead, 502),
        ("cut", Fault::CloseMidBody, 502),
        ("garbage", Fault::garbage(), 502),
    ];
    for (what, fault, status) in faults {
        story.api.clear_faults();
        story.api.clear();
        story
            .api
            .fault_on(hyper::Method::GET, "/v2/droplets/12", fault);
        for (request, body) in [
            ("DELETE /v2/droplets/12", NONE),
            ("POST /v2/droplets/12/actions", json!({ "type": "reboot" })),
        ] {
            let answer = story.ask(request, &body).await;
            assert_eq!(
                answer.status.as_u16(),
                status,
                "{what}: {request}: {}",
                answer.text()
            );
            assert!(story.api.writes().is_empty(), "{what}: {request}");
        }
    }
    story.finish().await;
}
