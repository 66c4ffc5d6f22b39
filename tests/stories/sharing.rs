//! One account, one budget: a sub-token that had its share of what DigitalOcean takes leaves the rest to the others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::limits::until;
use crate::support::{Answer, Fault, Gate, Hold, Reply, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
  narrow:
    allow: [{ scopes: ['droplet:*', 'actions:read'], only: { tag: client-a }, actions: [reboot] }]
";

/// A gate whose account keeps so many requests back, and what the API says is left.
async fn ground(reserve: Option<u32>) -> (StandInApi, Gate, Arc<AtomicUsize>) {
    let api = StandInApi::start().await;
    let left = Arc::new(AtomicUsize::new(4900));
    let told = Arc::clone(&left);
    let tell = move |_: &_| {
        let left = told.load(Ordering::SeqCst).to_string();
        Reply::json(200, &json!({ "account": {} })).with("ratelimit-remaining", &left)
    };
    api.fault_all("/v2/account", Fault::reply_with(tell));
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("accounts.default.reserve", json!(reserve))
        .start()
        .await;
    (api, gate, left)
}

async fn ask(gate: &Gate, token: &str) -> Answer {
    gate.get("/v2/account").token(token).pooled().send().await
}

/// How many requests in a row are let through, and the answer of the first that is not.
async fn let_through(gate: &Gate, token: &str, most: usize) -> (usize, Option<Answer>) {
    for count in 0..most {
        let answer = ask(gate, token).await;
        if answer.status != 200 {
            return (count, Some(answer));
        }
    }
    (most, None)
}

fn seconds(answer: &Answer) -> u64 {
    answer.header("retry-after").unwrap().parse().unwrap()
}

#[tokio::test]
async fn who_had_its_share_of_the_hour_waits_and_the_others_go_on() {
    let (api, gate, left) = ground(Some(500)).await;
    let greedy = gate.issue(&["greedy", "--role", "all"]).await;
    let mut others = Vec::new();
    for _ in 0..29 {
        let other = gate.issue(&["--role", "all"]).await;
        assert_eq!(ask(&gate, &other).await.status, 200);
        others.push(other);
    }
    // An equal part for each of thirty is 166 of 5,000.
    assert_eq!(let_through(&gate, &greedy, 170).await.0, 170);
    left.store(501, Ordering::SeqCst);
    assert_eq!(ask(&gate, &others[0]).await.status, 200);
    assert_eq!(
        ask(&gate, &greedy).await.status,
        200,
        "there is more than the reserve"
    );
    left.store(500, Ordering::SeqCst);
    assert_eq!(ask(&gate, &others[0]).await.status, 200);
    let heard = api.heard_count();
    let refused = ask(&gate, &greedy).await;
    assert_eq!(
        (refused.status.as_u16(), refused.reason()),
        (429, Some("rate_limited"))
    );
    assert_eq!(seconds(&refused), 60, "an hour, told as a minute");
    assert_eq!(api.heard_count(), heard, "it cost no call");
    let line = gate.audit_of(&refused).await.remove(0);
    assert_eq!(
        (&line["reason"], &line["detail"]),
        (&json!("rate_limited"), &json!("`reserve` of the account"))
    );
    for other in others.iter().take(10) {
        assert_eq!(ask(&gate, other).await.status, 200);
    }
    // It may ask who it is, and goes on once others' time has passed.
    let own = gate.get("/.tidegate/v1/whoami").token(&greedy).send().await;
    assert_eq!(own.status, 200);
    left.store(600, Ordering::SeqCst);
    assert_eq!(ask(&gate, &others[0]).await.status, 200);
    assert_eq!(ask(&gate, &greedy).await.status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_burst_ends_before_the_api_would_end_it_for_all() {
    let (api, gate, _) = ground(Some(500)).await;
    let greedy = gate.issue(&["greedy", "--role", "all"]).await;
    let other = gate.issue(&["other", "--role", "all"]).await;
    assert_eq!(ask(&gate, &other).await.status, 200);
    let (count, refused) = let_through(&gate, &greedy, 260).await;
    let refused = refused.expect("it is stopped");
    assert_eq!(refused.reason(), Some("rate_limited"));
    // Of 250 in a minute 25 are kept. A slow machine may have gone on into the next minute.
    assert!((224..250).contains(&count), "{count}");
    assert!(seconds(&refused) <= 60);
    assert_eq!(ask(&gate, &other).await.status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn look_ups_count_for_whom_they_were_made() {
    let (api, gate, _) = ground(Some(0)).await;
    let token = gate.issue(&["narrow", "--role", "narrow"]).await;
    let tell = |heard: &crate::support::standin::Heard| {
        let body = if heard.line().starts_with("GET") {
            json!({ "droplet": { "id": 12, "name": "a", "tags": ["client-a"] } })
        } else {
            json!({ "action": { "id": 1, "resource_id": 12, "resource_type": "droplet" } })
        };
        Reply::json(200, &body).with("ratelimit-limit", "100")
    };
    api.fault_all("/v2/droplets/12", Fault::reply_with(tell));
    let mut through = 0;
    let refused = loop {
        let reboot = json!({ "type": "reboot" });
        let ask = gate.post("/v2/droplets/12/actions", &reboot).token(&token);
        let answer = ask.send().await;
        if answer.status != 200 {
            break answer;
        }
        through += 1;
        assert!(through < 10);
    };
    // A hundred in an hour are five in a minute, and each request takes a look-up and itself.
    assert_eq!(refused.reason(), Some("rate_limited"), "{}", refused.text());
    assert_eq!((through, api.heard_count()), (3, 6));
    gate.finish(&api).await;
}

#[tokio::test]
async fn calls_count_for_who_left_before_they_were_all_made() {
    let (api, gate, _) = ground(Some(0)).await;
    let token = gate.issue(&["narrow", "--role", "narrow"]).await;
    let tell = |_: &_| {
        let droplet = json!({ "id": 12, "name": "a", "tags": ["client-a"] });
        Reply::json(200, &json!({ "droplet": droplet })).with("ratelimit-limit", "100")
    };
    api.fault_all("/v2/droplets/12", Fault::reply_with(tell));
    let first = gate.get("/v2/droplets/12").token(&token).send().await;
    assert_eq!(first.status, 200);
    let (hold, heard) = (Hold::new(), api.heard_count());
    api.fault_all("/v2/droplets", Fault::HoldHead(hold.clone()));
    for count in 1..=4 {
        let mut stream = gate.connect().await;
        let ask = format!(
            "GET /v2/droplets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(ask.as_bytes()).await.unwrap();
        api.heard_until(|all| all.len() == heard + count).await;
        drop(stream);
        until("its line is written", async || {
            gate.audit().len() == 1 + count
        })
        .await;
        assert_eq!(gate.audit()[count]["upstream_calls"], 1);
    }
    // A hundred in an hour are five in a minute, and the first was one.
    let refused = gate.get("/v2/droplets").token(&token).send().await;
    assert_eq!(refused.reason(), Some("rate_limited"), "{}", refused.text());
    hold.release();
    gate.finish(&api).await;
}

#[tokio::test]
async fn without_a_reserve_nobody_is_held_back() {
    let (api, gate, left) = ground(None).await;
    left.store(0, Ordering::SeqCst);
    let greedy = gate.issue(&["greedy", "--role", "all"]).await;
    let other = gate.issue(&["other", "--role", "all"]).await;
    assert_eq!(ask(&gate, &other).await.status, 200);
    assert_eq!(let_through(&gate, &greedy, 260).await.0, 260);
    gate.finish(&api).await;
}
