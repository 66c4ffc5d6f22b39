//! What was decided is what is heard: for requests of every odd kind, another reading of what was sent and of what the API
//! heard comes to the same as the record of the decision.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::odd::{self, Odd};
use super::{Bench, Sent};
use crate::support::Fault;
use crate::support::Reply;
use crate::support::standin::Heard;

/// How many requests there are for each sub-token.
const REQUESTS: usize = 700;

#[tokio::test]
async fn what_the_api_hears_is_what_was_sent_and_what_was_recorded() {
    let bench = Bench::open().await;
    // Nothing is ever gone, so that the next request finds the same.
    let gone = Fault::Reply(Reply::empty(204));
    bench.api.fault_on(hyper::Method::DELETE, "/", gone);
    let config = Config {
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let strategy = odd::requests();
    let mut passed = [0; 2];
    for (number, role) in ["all", "twelve"].into_iter().enumerate() {
        for _ in 0..REQUESTS {
            let tree = strategy.new_tree(&mut runner).expect("a request");
            let request = tree.current();
            let bytes = request.bytes(&bench.tokens[role]);
            let sent = bench.over(&bytes, role == "twelve").await;
            let what = format!("{role}: {request:#?}\n{sent:#?}");
            if judged(&bench, role, &request, &sent, &what).await {
                passed[number] += 1;
            }
        }
    }
    // Else the grammar is so nasty that it shows nothing.
    let [all, twelve] = passed;
    assert!(
        all > REQUESTS / 10 && twelve > REQUESTS / 50,
        "too few went through: {passed:?}"
    );
    bench.close().await;
}

/// Checks one request; whether it was let through.
async fn judged(bench: &Bench, role: &str, request: &Odd, sent: &Sent, what: &str) -> bool {
    let last = sent.answers.last();
    assert!(
        sent.answers.iter().all(|said| said.status < 500),
        "the daemon stays well: {what}"
    );
    let heard = match sent.heard.as_slice() {
        [] => return false,
        [heard] => heard,
        _ => panic!("forwarded twice: {what}"),
    };
    let last = last.unwrap_or_else(|| panic!("no answer: {what}"));
    if last.reason.as_deref() == Some("resource_hidden") && heard.method == "GET" {
        return false; // it is judged on its own answer, which says that it is of something else or is not there
    }
    assert_eq!(last.reason, None, "a refusal was forwarded: {what}");
    let id = last.request_id.as_deref().expect("a request id");
    let lines = bench
        .gate
        .audit_until(|lines| {
            lines
                .iter()
                .any(|line| line["request_id"] == id && line["event"] == "answer")
        })
        .await;
    let own: Vec<_> = lines
        .iter()
        .filter(|line| line["request_id"] == id)
        .collect();
    let changes = heard.method != "GET";
    assert_eq!(own.len(), 1 + usize::from(changes), "{what}\n{own:#?}");
    for line in own {
        recorded(line, heard, what);
    }
    same_target(role, &request.target, heard, what);
    same_body(role, request, heard, what);
    if role == "twelve" {
        let path = heard.path();
        assert!(
            path == "/v2/droplets/12" || path.starts_with("/v2/droplets/12/"),
            "not what the role covers: {what}"
        );
        let body = heard.json();
        let image = &body["image"];
        let acts = body["type"] == "rebuild" || body["type"] == "restore";
        let names_none = image.is_null() || image == "" || *image == json!([]);
        assert!(!acts || names_none, "{what}");
    }
    true
}

/// The record tells the request that was heard.
fn recorded(line: &Value, heard: &Heard, what: &str) {
    assert_eq!(line["decision"], "allow", "{what}\n{line:#}");
    assert_eq!(line["method"], heard.method.as_str(), "{what}\n{line:#}");
    assert_eq!(line["path"], heard.path(), "{what}\n{line:#}");
    let segments: Vec<_> = heard.path().split('/').skip(1).map(decoded).collect();
    let named: Vec<_> = line["resources"].as_array().into_iter().flatten().collect();
    if let [_, family, id, ..] = segments.as_slice()
        && let Some(kind) = [("droplets", "droplet"), ("tags", "tag"), ("vpcs", "vpc")]
            .iter()
            .find_map(|(known, kind)| (known == family).then_some(*kind))
        && id != "actions"
    {
        let of_kind = named.iter().filter(|named| named["kind"] == kind);
        let by_path = of_kind.filter(|named| named["id"] == id.as_str());
        // Where a resource is deleted under a name of another kind, its carriers are named beside.
        assert!(by_path.count() >= 1, "{what}\n{line:#}");
        if kind == "droplet" {
            let others = named
                .iter()
                .filter(|named| named["kind"] == "droplet" && named["id"] != id.as_str());
            assert_eq!(others.count(), 0, "{what}\n{line:#}");
        }
    }
}

/// Path and query mean to a plain reader what those that were sent mean.
fn same_target(role: &str, sent: &str, heard: &Heard, what: &str) {
    let sent = sent.split('#').next().unwrap_or_default();
    let (path, query) = sent.split_once('?').unwrap_or((sent, ""));
    let path = path.strip_suffix('/').unwrap_or(path);
    let read = |path: &str| {
        path.split('/')
            .map(|segment| decoded(segment).to_lowercase())
            .collect::<Vec<_>>()
    };
    let mut sent = read(path);
    if sent.get(2).is_some_and(|family| family == "domains")
        && let Some(zone) = sent.get_mut(3)
        && zone.ends_with('.')
    {
        zone.pop();
    }
    assert_eq!(sent, read(heard.path()), "{what}");
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| {
            (
                decoded(&name.replace('+', " ")),
                decoded(&value.replace('+', " ")),
            )
        })
        .collect();
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    let heard = heard.query();
    if role == "twelve" {
        assert!(heard.iter().all(|pair| pairs.contains(pair)), "{what}");
    } else {
        assert_eq!(heard, pairs, "{what}");
    }
}

/// The body means to a common reader of JSON what the one that was sent means.
fn same_body(role: &str, request: &Odd, heard: &Heard, what: &str) {
    // The API knows no body of these, and a narrowed sub-token sends only what is known.
    let knows_none = role == "twelve" && heard.line() == "DELETE /v2/droplets/12";
    if heard.method == "GET" || request.body.is_empty() || knows_none {
        assert!(heard.body.is_empty(), "{what}");
        return;
    }
    let sent: Value = serde_json::from_str(&request.body)
        .unwrap_or_else(|error| panic!("no JSON was let through ({error}): {what}"));
    let came: Value = serde_json::from_slice(&heard.body)
        .unwrap_or_else(|error| panic!("no JSON is heard ({error}): {what}"));
    if role == "twelve" {
        assert!(holds(&sent, &came), "{what}");
    } else {
        assert_eq!(came, sent, "{what}");
    }
}

/// Whether `part` is what is left of `whole` when members are taken out.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|whole| holds(whole, value))),
        (Value::Array(whole), Value::Array(part)) => {
            let mut rest = whole.iter();
            part.iter()
                .all(|item| rest.any(|candidate| holds(candidate, item)))
        }
        _ => whole == part,
    }
}

/// Percent-decoding, written once more: nothing of tidegate's.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex: Option<Vec<u8>> = (byte == b'%').then(|| rest.by_ref().take(2).collect());
        match hex {
            None => bytes.push(byte),
            Some(digits) => {
                let digits = String::from_utf8(digits).expect("digits");
                bytes.push(u8::from_str_radix(&digits, 16).expect("two hexadecimal digits"));
            }
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
