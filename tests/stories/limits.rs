//! How much of anything one client may have: connections, and time.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::{Fault, Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
";

/// How long until the gate closes a connection on which `bytes` were sent.
async fn closed_after(gate: &Gate, bytes: &str) -> Duration {
    let mut stream = gate.connect().await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    timeout(Duration::from_secs(15), stream.read_to_end(&mut said))
        .await
        .expect("closed at all")
        .ok();
    began.elapsed()
}

#[tokio::test]
async fn a_head_that_does_not_come_and_a_connection_that_is_quiet_are_ended() {
    let api = StandInApi::start().await;
    let limits = json!({ "header_timeout": "1s", "idle_timeout": "3s" });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("limits", limits)
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let head = closed_after(&gate, "GET /v2/account HTTP/1.1\r\nhost: x\r\n").await;
    assert!(
        head >= Duration::from_millis(900) && head < Duration::from_millis(2500),
        "a head that is not finished: {head:?}"
    );
    let quiet = closed_after(
        &gate,
        &format!("GET /v2/account HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"),
    )
    .await;
    assert!(
        quiet >= Duration::from_millis(2800) && quiet < Duration::from_millis(5500),
        "between requests: {quiet:?}"
    );
    let answer = gate.raw(format!("POST /v2/droplets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 10\r\n\r\n{{")).await;
    let said = String::from_utf8(answer).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 408") && said.contains("tidegate-reason: timeout"),
        "{said}"
    );
    assert_eq!(api.heard_count(), 1);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_long_answer_is_no_quiet_connection() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "limits",
            json!({ "header_timeout": "1s", "idle_timeout": "1s" }),
        )
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    api.fault_next(Fault::DelayHead(Duration::from_secs(3)));
    let answer = gate.get("/v2/account").token(&token).send().await;
    assert_eq!(answer.status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn beyond_the_most_connections_a_client_is_told_so() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("limits", json!({ "connections": 2 }))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let held = (gate.connect().await, gate.connect().await);
    // The two are accepted in order, before the third.
    let said = String::from_utf8(
        gate.raw(format!(
            "GET /v2/account HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
        ))
        .await,
    )
    .unwrap();
    assert!(
        said.starts_with("HTTP/1.1 503") && said.contains("tidegate-reason: overloaded"),
        "{said}"
    );
    drop(held);
    let began = Instant::now();
    loop {
        if gate
            .get("/v2/account")
            .token(&token)
            .try_send()
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "free again");
    }
    gate.finish(&api).await;
}
