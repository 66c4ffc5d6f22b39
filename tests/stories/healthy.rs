//! Health tells the truth: whatever makes requests fail makes `/readyz` say so, a metric show it and a line of the log tell it.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::gate::GateBuilder;
use crate::support::{Answer, Fault, Gate, StandInApi};

const POLICY: &str = "version: 1\nroles:\n  all:\n    allow: [{ scopes: ['*'] }]\n";

fn gate(api: &StandInApi) -> GateBuilder {
    Gate::builder(api)
        .policy(POLICY)
        .set("admin", json!({ "address": "127.0.0.1:0" }))
}

async fn ask(gate: &Gate, path: &str) -> Answer {
    let stream = TcpStream::connect(gate.admin_address().unwrap())
        .await
        .unwrap();
    let asked = gate.request(Method::GET, path).open_over(stream).await;
    asked.unwrap().rest().await.unwrap()
}

/// What `/readyz` says, once it says this.
async fn readyz_until(gate: &Gate, enough: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let said = ask(gate, "/readyz").await.json();
        if enough(&said) {
            return said;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "still {said}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn has_metric(gate: &Gate, line: &str) {
    let metrics = ask(gate, "/metrics").await.text();
    assert!(
        metrics.lines().any(|found| found == line),
        "{line} in {metrics}"
    );
}

/// Limits how large a file may be that the daemon writes, as a full disk does.
fn file_size(gate: &Gate, limit: &str) {
    let pid = gate.pid().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={limit}:unlimited")])
        .status();
    assert!(set.expect("`prlimit` runs").success());
}

fn said(gate: &Gate, what: &str) -> usize {
    gate.logs()
        .iter()
        .filter(|line| line.contains(what))
        .count()
}

#[tokio::test]
async fn a_record_that_can_not_be_written_is_told_and_so_is_that_it_can_again() {
    let api = StandInApi::start().await;
    // Larger than the state will be, so that the audit file alone is too large.
    let old = format!(
        "{{\"event\":\"old\",\"padding\":\"{}\"}}\n",
        "x".repeat(16 << 10)
    );
    let old = old.repeat(512);
    let gate = gate(&api).file("audit.jsonl", &old).start().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    readyz_until(&gate, |said| said["ready"] == true).await;
    file_size(&gate, &(old.len() + 100).to_string());
    let refused = gate.delete("/v2/droplets/12").token(&token).send().await;
    assert_eq!(
        (refused.status.as_u16(), refused.reason()),
        (503, Some("audit_unavailable"))
    );
    let told = readyz_until(&gate, |said| said["ready"] == false).await;
    assert_eq!(
        (&told["audit"], &told["state"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        told["problems"],
        json!(["audit lines can't be written, so requests are refused (503); the log says why"])
    );
    has_metric(&gate, "tidegate_ready{part=\"audit\"} 0").await;
    gate.log_until("audit lines can't be written; requests are refused until they can")
        .await;
    // Nobody asks for anything else meanwhile: a balancer keeps requests away.
    file_size(&gate, "unlimited");
    readyz_until(&gate, |said| said["ready"] == true).await;
    has_metric(&gate, "tidegate_ready{part=\"audit\"} 1").await;
    let text = fs::read_to_string(gate.files().path("audit.jsonl")).unwrap();
    let tail = &text[old.len()..];
    assert!(tail.matches("\"event\":\"resumed\"").count() <= 1, "{tail}");
    let deleted = gate.delete("/v2/droplets/12").token(&token).send().await;
    assert_eq!(deleted.status, 204);
    fs::write(gate.files().path("audit.jsonl"), "").unwrap(); // half a line is there, which is no JSON
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_state_that_is_gone_is_told() {
    let api = StandInApi::start().await;
    let gate = gate(&api).start().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(
        gate.get("/v2/account").token(&token).send().await.status,
        200
    );
    readyz_until(&gate, |said| said["ready"] == true).await;
    let (there, away) = (
        gate.files().path("tidegate.db"),
        gate.files().path("away.db"),
    );
    fs::rename(&there, &away).unwrap();
    let told = readyz_until(&gate, |said| said["state"] == false).await;
    assert_eq!(
        told["problems"],
        json!(["the state can't be read, so requests are refused (503); the log says why"])
    );
    let refused = gate.get("/v2/account").token(&token).send().await;
    assert_eq!(refused.reason(), Some("state_unavailable"));
    has_metric(&gate, "tidegate_ready{part=\"state\"} 0").await;
    fs::rename(&away, &there).unwrap();
    readyz_until(&gate, |said| said["ready"] == true).await;
    gate.finish(&api).await;
}

/// With no `admin` that asks for itself: what clients meet is told.
#[tokio::test]
async fn a_real_token_that_the_api_refuses_leaves_one_line() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api).policy(POLICY).start().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    api.fault_on(
        Method::GET,
        "/v2/account",
        Fault::problem(401, "unauthorized", "Unable to authenticate you"),
    );
    for _ in 0..5 {
        assert_eq!(
            gate.get("/v2/account").token(&token).send().await.status,
            401
        );
    }
    let line = "the API does not accept the real token (401); put one that is valid where the configuration says account=\"default\" count=1";
    gate.log_until(line).await;
    assert_eq!(
        said(&gate, "does not accept the real token"),
        1,
        "once a minute"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_api_that_can_not_be_reached_leaves_one_line_and_is_counted() {
    let api = StandInApi::start().await;
    let gate = Gate::builder_to("http://127.0.0.1:1")
        .policy(POLICY)
        .set("admin", json!({ "address": "127.0.0.1:0" }))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    for _ in 0..5 {
        let answer = gate.get("/v2/account").token(&token).send().await;
        assert_eq!(answer.reason(), Some("upstream_unreachable"));
    }
    let lines = gate
        .log_until("the API can't be reached url=http://127.0.0.1:1 why=\"")
        .await;
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("the API can't be reached"))
        .collect();
    assert_eq!(told.len(), 1, "once a minute: {told:?}");
    assert!(told[0].contains("refused"), "{told:?}");
    let metrics = ask(&gate, "/metrics").await.text();
    let counted = metrics
        .lines()
        .find(|line| line.starts_with("tidegate_upstream_failures_total{cause=\"unreachable\"}"))
        .unwrap();
    let count: u64 = counted.split(' ').next_back().unwrap().parse().unwrap();
    assert!(count >= 5, "{counted}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn the_start_and_a_reload_say_what_is_in_force() {
    let api = StandInApi::start().await;
    let gate = gate(&api).start().await;
    gate.issue(&["ci", "--role", "all"]).await;
    let lines = gate.log_until(" in force version=").await;
    let line = lines
        .iter()
        .find(|line| line.contains(" in force version="))
        .unwrap();
    for part in [
        env!("CARGO_PKG_VERSION"),
        "policy.yaml policy_sha256=\"",
        "roles=1",
        &format!("upstream={}", api.url()),
        "tidegate.db",
        "audit.jsonl",
        "mtls_listeners=0",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!lines[0].contains("ANSI"), "{}", lines[0]);
    readyz_until(&gate, |said| said["ready"] == true).await;
    gate.write_policy(&POLICY.replace("  all:", "  other:"));
    gate.log_until("living sub-tokens have a role or variable that the policy does not have, and are refused; `tidegate token list` shows which tokens=1").await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told_everywhere() {
    let api = StandInApi::start().await;
    let made = Gate::builder_to("http://127.0.0.1:1").files();
    let directory = made.path("tls");
    let dir = directory.to_str().unwrap();
    let cert = made
        .cli(&["cert", "--host", "localhost", "--dir", dir, "--days", "5"])
        .await;
    assert!(cert.status.success());
    let tls = json!({ "certificate": directory.join("server.pem"), "private_key": directory.join("server.key") });
    let gate = gate(&api)
        .set(
            "listen",
            json!([{ "address": "127.0.0.1:0" }, { "address": "127.0.0.1:0", "tls": tls }]),
        )
        .start()
        .await;
    gate.log_until("a certificate ends soon, or has ended; renew it")
        .await;
    let told = readyz_until(&gate, |said| said["ready"] == true).await;
    assert_eq!(told["certificates"], true);
    let warning = told["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("server.pem` ends at ")
            && warning.ends_with("renew it, or clients refuse the connection"),
        "{warning}"
    );
    let metrics = ask(&gate, "/metrics").await.text();
    assert!(
        metrics.contains("tidegate_certificate_end_seconds{of=\"listen.127.0.0.1:0\"} "),
        "{metrics}"
    );
    gate.finish(&api).await;
}
