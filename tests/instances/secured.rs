//! The way to PostgreSQL over TLS.

use hyper::StatusCode;
use serde_json::json;

use crate::cluster::Cluster;
use crate::first::POLICY;
use crate::support::StandInApi;
use crate::three::droplets;

#[tokio::test]
async fn a_certificate_is_verified_by_the_authority_that_is_named() {
    let (own, other) = (made(), made());
    let mut cluster = Cluster::start().await;
    cluster.stop("INT");
    cluster.secure(&own.0, &own.1);
    cluster.start_again().await;
    let api = StandInApi::start().await;
    let url = format!(
        "{}?sslmode=require",
        cluster.url().replace("127.0.0.1", "localhost")
    );
    let gate = |authority: &str| {
        let state = json!({ "postgres": { "url_file": "db-url", "ca_file": "db-ca.pem", "migrate": true } });
        let gate = cluster.gate(&api, POLICY).set("state", state);
        gate.file("db-url", &url).file("db-ca.pem", authority)
    };
    let refused = gate(&other.0)
        .try_start()
        .await
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("UnknownIssuer") || refused.contains("certificate"),
        "{refused}"
    );
    assert!(!refused.contains(crate::cluster::PASSWORD), "{refused}");
    let gate = gate(&own.0).start().await;
    let token = gate
        .issue(&["ci", "--role", "reader", "--max-uses", "1"])
        .await;
    assert_eq!(droplets(&gate, &token).await.status, StatusCode::OK);
    let encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tidegate' AND NOT ssl";
    assert_eq!(
        cluster.number(encrypted).await,
        0,
        "no connection of tidegate goes without"
    );
    gate.finish(&api).await;
}

/// A certificate for this machine that vouches for itself, and its key.
fn made() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}
