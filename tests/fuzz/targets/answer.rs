//! Answers on their way: however they come in pieces, the same goes out; what is cut is gone, and all else is as it came.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::config::BaseUrl;
use tidegate::request::Json;
use tidegate::response::{Cutter, Fate, Judged, Links, Plan, PlanMember, PlanPlace, Scan};

fuzz_target!(|input: (u8, &[u8])| {
    let (size, bytes) = (
        usize::from(input.0 % 16) + 1,
        Bytes::copy_from_slice(input.1),
    );
    let pieces: Vec<Bytes> = bytes.chunks(size).map(Bytes::copy_from_slice).collect();
    let one = std::slice::from_ref(&bytes);
    scan(&bytes, one);
    scan(&bytes, &pieces);
    let whole = linked(one);
    assert_eq!(linked(&pieces), whole, "links, in pieces of {size}");
    if let Ok(said) = serde_json::from_slice::<Value>(&bytes) {
        let left: Value = serde_json::from_slice(&whole).expect("links are replaced by links");
        assert!(alike(&said, &left), "{left}");
        assert_eq!(
            linked(&[Bytes::from(whole)]).len(),
            linked(&pieces).len(),
            "twice is as once"
        );
    }
    let whole = cut(one);
    let in_pieces = cut(&pieces);
    assert_eq!(in_pieces, whole, "cut, in pieces of {size}");
    if let (Ok(json), Some(out)) = (Json::read(&bytes), whole) {
        let expected = reduced(&serde_json::from_slice(&json.write()).expect("JSON"), 0);
        let left: Value = serde_json::from_slice(&out).expect("what is cut out leaves JSON");
        assert_eq!(left, expected);
        assert_eq!(
            cut(&[Bytes::from(out.clone())]),
            Some(out),
            "twice is as once"
        );
    }
});

const SECRET: &[u8] = b"aab";

fn scan(all: &[u8], pieces: &[Bytes]) {
    let there = all.windows(SECRET.len()).any(|some| some == SECRET);
    let mut scan = Scan::new(SECRET);
    let mut out = Vec::new();
    for piece in pieces {
        match scan.push(piece.clone()) {
            Ok(free) => out.extend_from_slice(&free),
            Err(_) => {
                assert!(there);
                assert!(
                    all.starts_with(&out) && !out.windows(SECRET.len()).any(|some| some == SECRET)
                );
                return;
            }
        }
    }
    out.extend_from_slice(&scan.finish());
    assert!(!there && out == all);
}

fn linked(pieces: &[Bytes]) -> Vec<u8> {
    let (api, gate) = (
        BaseUrl::digitalocean(),
        BaseUrl::from_host(true, "g.example"),
    );
    let mut links = Links::new([api.to_string()].into(), gate.as_ref());
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&links.push(piece));
    }
    out.extend_from_slice(&links.finish());
    out
}

/// Whether two documents differ in texts alone.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.keys().eq(other.keys())
                && one
                    .values()
                    .zip(other.values())
                    .all(|(one, other)| alike(one, other))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::String(_), Value::String(_)) => true,
        _ => one == other,
    }
}

/// The document: `a` goes, `c` is null, `b` is looked into as far as it reaches, and in `d` each thing is judged.
fn plan() -> Plan {
    let member = |key: &str, fate, below| PlanMember {
        key: key.to_owned(),
        fate,
        below,
    };
    let outer = vec![
        member("a", Fate::Cut, None),
        member("c", Fate::Null, None),
        member("b", Fate::Keep, Some(0)),
    ];
    Plan {
        places: vec![PlanPlace {
            judged: None,
            members: outer,
        }],
    }
}

fn cut(pieces: &[Bytes]) -> Option<Vec<u8>> {
    let mut cutter = Cutter::new(plan(), Box::new(|_, _| Judged::Null));
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&cutter.push(piece).ok()?);
    }
    out.extend_from_slice(&cutter.finish().ok()?);
    Some(out)
}

/// The same by a tree.
fn reduced(value: &Value, depth: usize) -> Value {
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(key, _)| *key != "a");
            let kept = kept.map(|(key, value)| match key.as_str() {
                "c" => (key.clone(), Value::Null),
                "b" => (key.clone(), reduced(value, depth + 1)),
                _ => (key.clone(), value.clone()),
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| reduced(item, depth)).collect())
        }
        other => other.clone(),
    }
}
