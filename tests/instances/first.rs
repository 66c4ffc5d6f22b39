//! One daemon whose state is in PostgreSQL.

use hyper::{Method, StatusCode};

use crate::cluster::Cluster;
use crate::support::StandInApi;

/// Who may read Droplets.
pub const POLICY: &str =
    "version: 1\nroles:\n  reader:\n    allow:\n      - scopes: [droplet:read]\n";

#[tokio::test]
async fn a_token_is_issued_used_and_revoked_in_postgresql() {
    let cluster = Cluster::start().await;
    let api = StandInApi::start().await;
    let gate = cluster.gate(&api, POLICY).start().await;
    let token = gate
        .issue(&["ci", "--role", "reader", "--max-uses", "2"])
        .await;
    let ask = || gate.get("/v2/droplets").token(&token);
    for left in [1, 0] {
        assert_eq!(ask().send().await.status, StatusCode::OK, "{left} left");
    }
    let answer = ask().send().await;
    assert_eq!(answer.reason(), Some("uses_exhausted"));
    assert_eq!(cluster.number("SELECT used FROM tidegate.usage").await, 2);

    let token = gate.issue(&["other", "--role", "reader"]).await;
    let ask = || gate.request(Method::GET, "/v2/droplets").token(&token);
    assert_eq!(ask().send().await.status, StatusCode::OK);
    assert!(
        gate.cli(&["token", "revoke", "other"])
            .await
            .status
            .success()
    );
    let begun = std::time::Instant::now();
    while ask().send().await.reason() != Some("revoked") {
        assert!(
            begun.elapsed().as_secs() < 1,
            "a revocation is honoured within a second"
        );
    }
    gate.finish(&api).await;
}
