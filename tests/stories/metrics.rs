//! What `/metrics` tells: what was counted, by names that come from closed sets.
#![allow(
    clippy::float_cmp,
    reason = "what is counted is whole, and a half would be wrong"
)]

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::admin::ask;
use crate::support::{Fault, Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  looks-at-droplets:
    allow: [{ scopes: [droplet:read, domain:read] }]
";

fn set_up(api: &StandInApi) -> crate::support::gate::GateBuilder {
    let builder = Gate::builder(api).policy(POLICY);
    builder.set("admin", json!({ "address": "127.0.0.1:0" }))
}

/// The samples by name and labels. What Prometheus would not read fails the test.
async fn metrics(gate: &Gate) -> BTreeMap<String, f64> {
    let answer = ask(gate, Method::GET, "/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    parsed(&answer.text())
}

/// Prometheus' text format, version 0.0.4: each family once, its samples together and after its help and type.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n'));
    let (mut families, mut samples) = (HashSet::new(), BTreeMap::new());
    let (mut family, mut kind) = ("", "");
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} twice");
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            kind = typed.strip_prefix(family).unwrap().trim();
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", family.ends_with("_total"), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let base = name.split('{').next().unwrap();
            let suffix = base.strip_prefix(family).expect(line);
            let fits = match kind {
                "histogram" => ["_bucket", "_sum", "_count"].contains(&suffix),
                _ => suffix.is_empty(),
            };
            assert!(fits, "{line}");
            let value = value.parse::<f64>().unwrap();
            assert!(
                samples.insert(name.to_owned(), value).is_none(),
                "{line} twice"
            );
        }
    }
    samples
}

/// The samples, once they satisfy `enough`.
async fn metrics_until(
    gate: &Gate,
    enough: impl Fn(&BTreeMap<String, f64>) -> bool,
) -> BTreeMap<String, f64> {
    let begun = Instant::now();
    loop {
        let now = metrics(gate).await;
        if enough(&now) {
            return now;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "still {now:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn requests(samples: &BTreeMap<String, f64>) -> Vec<(&str, f64)> {
    let counted = samples.iter().filter_map(|(name, count)| {
        let labels = name.strip_prefix("tidegate_requests_total{endpoint=")?;
        Some((labels.strip_suffix('}')?, *count))
    });
    counted.collect()
}

async fn checked(gate: &Gate) {
    let check = "tidegate_upstream_calls_total{purpose=\"check\"}";
    metrics_until(gate, |now| {
        now[check] == 1.0 && now["tidegate_upstream_seconds_count"] == 1.0
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted_by_endpoint_decision_and_reason() {
    let api = StandInApi::start().await;
    let gate = set_up(&api).start().await;
    let token = gate
        .issue(&["name-of-a-token", "--role", "looks-at-droplets"])
        .await;
    checked(&gate).await;
    gate.get("/v2/droplets/12").token(&token).send().await;
    gate.get("/v2/domains/name-of-a-domain.example")
        .token(&token)
        .send()
        .await;
    gate.get("/.tidegate/v1/whoami").token(&token).send().await;
    gate.delete("/v2/droplets/12").token(&token).send().await;
    gate.get("/v2/path/to/nowhere").token(&token).send().await;
    gate.get("/v2/droplets").send().await;
    let last = gate.get("/v2/droplets/12").token(&token).send().await;
    let text = ask(&gate, Method::GET, "/metrics").await.text();
    let now = parsed(&text);
    assert_eq!(
        requests(&now),
        [
            ("\"domains_get\",decision=\"allow\",reason=\"allowed\"", 1.0),
            (
                "\"droplets_destroy\",decision=\"deny\",reason=\"scope\"",
                1.0
            ),
            (
                "\"droplets_get\",decision=\"allow\",reason=\"allowed\"",
                2.0
            ),
            ("\"unknown\",decision=\"allow\",reason=\"allowed\"", 1.0),
            ("\"unknown\",decision=\"deny\",reason=\"no_token\"", 1.0),
            (
                "\"unknown\",decision=\"deny\",reason=\"unknown_endpoint\"",
                1.0
            ),
        ]
    );
    assert_eq!(
        now["tidegate_upstream_calls_total{purpose=\"forward\"}"],
        3.0
    );
    assert_eq!(now["tidegate_upstream_calls_total{purpose=\"check\"}"], 1.0);
    assert_eq!(now["tidegate_request_seconds_count"], 7.0);
    assert_eq!(now["tidegate_upstream_seconds_count"], 4.0);
    assert_eq!(now["tidegate_request_seconds_bucket{le=\"+Inf\"}"], 7.0);
    let remaining: f64 = last.header("ratelimit-remaining").unwrap().parse().unwrap();
    assert_eq!(
        now["tidegate_upstream_ratelimit_remaining{account=\"default\"}"],
        remaining
    );
    assert_eq!(
        now["tidegate_cache_total{cache=\"facts\",result=\"hit\"}"],
        0.0
    );
    assert_eq!(
        now[concat!(
            "tidegate_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"}"
        )],
        1.0
    );
    let id = &token[7..19];
    for never in ["name-of", "looks-at", "nowhere", "/v2", "127.0.0.1", id] {
        assert!(!text.contains(never), "{never} in {text}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_the_api_takes_and_what_tidegate_adds_are_told_apart() {
    let api = StandInApi::start().await;
    let gate = set_up(&api).start().await;
    let token = gate.issue(&["ci", "--role", "looks-at-droplets"]).await;
    checked(&gate).await;
    let before = metrics(&gate).await["tidegate_upstream_seconds_sum"];
    api.fault_next(Fault::DelayHead(Duration::from_secs(2)));
    gate.get("/v2/droplets/12").token(&token).send().await;
    let now = metrics(&gate).await;
    assert!(now["tidegate_upstream_seconds_sum"] - before >= 2.0);
    assert!(now["tidegate_request_seconds_sum"] < 2.0, "{now:#?}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_api_that_fails_is_a_reason_too() {
    let api = StandInApi::start().await;
    let gate = set_up(&api).start().await;
    let token = gate.issue(&["ci", "--role", "looks-at-droplets"]).await;
    checked(&gate).await;
    api.fault_next(Fault::garbage());
    gate.get("/v2/droplets/12").token(&token).send().await;
    let now = metrics(&gate).await;
    assert_eq!(
        requests(&now),
        [(
            "\"droplets_get\",decision=\"deny\",reason=\"upstream_bad_answer\"",
            1.0
        )]
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn tokens_are_counted_by_state() {
    let api = StandInApi::start().await;
    let listed = "tokens:
  - { name: kept-in-git, id: 4fZ0aB9cD8eF, roles: [looks-at-droplets], hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef' }
";
    let gate = set_up(&api)
        .file("policy.yaml", &format!("{POLICY}{listed}"))
        .start()
        .await;
    let role = ["--role", "looks-at-droplets"];
    gate.issue(&[&["a"][..], &role].concat()).await;
    gate.issue(
        &[
            &["later"][..],
            &role,
            &["--not-before", "2099-01-01T00:00:00Z"],
        ]
        .concat(),
    )
    .await;
    gate.issue(&[&["gone"][..], &role].concat()).await;
    let once = gate
        .issue(&[&["once"][..], &role, &["--max-uses", "1"]].concat())
        .await;
    assert!(
        gate.cli(&["token", "revoke", "gone"])
            .await
            .status
            .success()
    );
    assert_eq!(
        gate.get("/v2/droplets/12").token(&once).send().await.status,
        200
    );
    let states = |now: &BTreeMap<String, f64>| {
        ["active", "expired", "not_yet_valid", "revoked"]
            .map(|state| now[&format!("tidegate_tokens{{state=\"{state}\"}}")])
    };
    metrics_until(&gate, |now| states(now) == [2.0, 1.0, 1.0, 1.0]).await;
    gate.issue(&[&["week"][..], &role, &["--expires", "6d"]].concat())
        .await;
    gate.issue(&[&["month"][..], &role, &["--expires", "29d"]].concat())
        .await;
    let ending = |now: &BTreeMap<String, f64>| {
        ["1d", "7d", "30d"]
            .map(|within| now[&format!("tidegate_tokens_ending{{within=\"{within}\"}}")])
    };
    metrics_until(&gate, |now| ending(now) == [0.0, 1.0, 2.0]).await;
    for ended in ["week", "month"] {
        let ended = gate.cli(&["token", "revoke", ended]).await;
        assert!(ended.status.success());
    }
    assert!(
        gate.cli(&["token", "revoke", "kept-in-git"])
            .await
            .status
            .success()
    );
    metrics_until(&gate, |now| states(now) == [1.0, 1.0, 1.0, 4.0]).await;
    metrics_until(&gate, |now| ending(now) == [0.0, 0.0, 0.0]).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_failed_reload_shows_until_one_succeeds() {
    let api = StandInApi::start().await;
    let gate = set_up(&api).start().await;
    let reloads = |now: &BTreeMap<String, f64>| {
        [
            now["tidegate_reload_success"],
            now["tidegate_reloads_total{result=\"success\"}"],
            now["tidegate_reloads_total{result=\"failure\"}"],
        ]
    };
    assert_eq!(reloads(&metrics(&gate).await), [1.0, 0.0, 0.0]);
    gate.write_policy("version: 1\nroles: { all: { allow: [{ scopes: ['*'");
    metrics_until(&gate, |now| reloads(now) == [0.0, 0.0, 1.0]).await;
    gate.write_policy(POLICY);
    metrics_until(&gate, |now| reloads(now) == [1.0, 1.0, 1.0]).await;
    gate.finish(&api).await;
}

/// Clients that fill all connections keep no one who runs tidegate out.
#[tokio::test]
async fn who_is_turned_away_is_counted_and_the_counts_can_still_be_read() {
    let api = StandInApi::start().await;
    let gate = set_up(&api)
        .set("limits", json!({ "connections": 1 }))
        .start()
        .await;
    let first = gate.connect().await;
    let overloaded = [("\"unknown\",decision=\"deny\",reason=\"overloaded\"", 1.0)];
    let begun = Instant::now();
    let said = loop {
        let mut said = Vec::new(); // the first may not have been taken in yet
        let _ = tokio::time::timeout(Duration::from_secs(2), async {
            gate.connect().await.read_to_end(&mut said).await
        })
        .await;
        if !said.is_empty() {
            break String::from_utf8(said).unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(20));
    };
    assert!(said.contains("tidegate-reason: overloaded"), "{said}");
    assert_eq!(requests(&metrics(&gate).await), overloaded);
    drop(first);
    gate.finish(&api).await;
}

/// What is answered with a bare status comes into no record, but it is counted, and told.
#[tokio::test]
async fn what_is_no_request_is_counted_and_told_once() {
    let api = StandInApi::start().await;
    let gate = set_up(&api).start().await;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(70_000));
    let large = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n",
        "x".repeat(120_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: x\r\n{}\r\n",
        "x: y\r\n".repeat(101)
    );
    let cases = [
        ("NONSENSE\r\n\r\n", "400"),
        (
            "GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1, 2\r\n\r\n",
            "400",
        ),
        (&long, "414"),
        (&large, "431"),
        (&many, "431"),
    ];
    for (bytes, status) in cases {
        let mut stream = gate.connect().await;
        let _ = stream.write_all(bytes.as_bytes()).await; // the gate may close before it has all
        let mut said = [0; 12];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(said, format!("HTTP/1.1 {status}").as_bytes());
    }
    let count = |now: &BTreeMap<String, f64>, status: &str| {
        now[&format!("tidegate_unreadable_total{{status=\"{status}\"}}")]
    };
    let begun = Instant::now();
    loop {
        let now = metrics(&gate).await; // a connection is counted when it has ended
        let counted = ["400", "414", "431"].map(|status| count(&now, status));
        if counted == [2.0, 1.0, 2.0] {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{counted:?}");
    }
    gate.log_until("status=\"431\"").await;
    let told = gate.logs().join("\n");
    for status in ["400", "414", "431"] {
        let told = told.matches(&format!("status=\"{status}\"")).count();
        assert_eq!(told, 1, "{status}");
    }
    gate.finish(&api).await;
}
