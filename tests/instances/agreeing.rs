//! What changes through one daemon holds at all of them.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::first::POLICY;
use crate::three::{SOON, Three, admin, droplets};

#[tokio::test]
async fn what_is_issued_rotated_and_revoked_through_one_holds_at_all_within_a_second() {
    let three = Three::start(POLICY).await;
    let [a, b, c] = &three.gates;
    let first = a.issue(&["ci", "--role", "reader"]).await;
    three
        .soon_say("/v2/droplets", &first, StatusCode::OK, None)
        .await;

    let rotated = b.cli(&["token", "rotate", "ci"]).await;
    let second = String::from_utf8(rotated.stdout).unwrap().trim().to_owned();
    three
        .soon_say("/v2/droplets", &second, StatusCode::OK, None)
        .await;
    let unknown = Some("unknown_token");
    three
        .soon_say("/v2/droplets", &first, StatusCode::UNAUTHORIZED, unknown)
        .await;

    assert!(c.cli(&["token", "revoke", "ci"]).await.status.success());
    let revoked = Some("revoked");
    three
        .soon_say("/v2/droplets", &second, StatusCode::UNAUTHORIZED, revoked)
        .await;

    let own = a.issue(&["own", "--role", "reader"]).await;
    three
        .soon_say("/v2/droplets", &own, StatusCode::OK, None)
        .await;
    let ended = b
        .delete("/.tidegate/v1/tokens/self")
        .token(&own)
        .send()
        .await;
    assert_eq!(ended.status, StatusCode::NO_CONTENT);
    three
        .soon_say("/v2/droplets", &own, StatusCode::UNAUTHORIZED, revoked)
        .await;
    three.finish().await;
}

#[tokio::test]
async fn a_record_tells_which_daemon_it_is_of_and_readiness_by_which_policy() {
    let three = Three::start(POLICY).await;
    let token = three.gates[0].issue(&["ci", "--role", "reader"]).await;
    let mut policies = Vec::new();
    for (gate, name) in three.gates.iter().zip(["a", "b", "c"]) {
        let answer = droplets(gate, &token).await;
        let lines = gate.audit_of(&answer).await;
        assert_eq!(lines.last().unwrap()["instance"], name);
        let ready = admin(gate, "/readyz").await;
        let (_, body) = ready.split_once("\r\n\r\n").unwrap();
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&body["ready"], &body["instance"]),
            (&json!(true), &json!(name))
        );
        policies.push(body["policy_sha256"].as_str().unwrap().to_owned());
        let metrics = admin(gate, "/metrics").await;
        assert!(metrics.contains("\ntidegate_store_up 1\n"), "{metrics}");
    }
    assert_eq!(policies[0].len(), 64);
    assert!(
        policies.iter().all(|policy| *policy == policies[0]),
        "{policies:?}"
    );
    three.gates[1].write_policy(&POLICY.replace("reader:", "reader:\n    description: it reads"));
    three.gates[1].log_until("reload").await;
    let ready = admin(&three.gates[1], "/readyz").await;
    assert!(
        !ready.contains(&policies[0]),
        "another policy has another hash: {ready}"
    );
    three.finish().await;
}

#[tokio::test]
async fn who_uses_a_token_through_one_keeps_it_from_being_idle_at_all() {
    let three = Three::start(POLICY).await;
    let [a, b, _] = &three.gates;
    let token = a.issue(&["ci", "--role", "reader", "--idle", "6s"]).await;
    three
        .soon_say("/v2/droplets", &token, StatusCode::OK, None)
        .await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < SOON * 10 {
        assert_eq!(droplets(a, &token).await.status, StatusCode::OK);
        tokio::time::sleep(SOON).await;
    }
    assert_eq!(
        droplets(b, &token).await.status,
        StatusCode::OK,
        "used by way of another daemon"
    );
    three.finish().await;
}
