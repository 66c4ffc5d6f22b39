//! A schema and the reader of its file say the same: each text of two whole files is broken in every place and in many ways, and what
//! the reader takes for a mistake the schema does too, but for what no schema can tell.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};
use tidegate::catalog::Catalog;
use tidegate::yaml::Mistakes;
use tidegate::{config, policy};

use super::{document, schema, valid};

/// Every key that a policy may have, but for kinds and their attributes.
const POLICY: &str = r#"
version: 1
roles:
  a:
    description: d
    account: default
    vars: [v]
    allow:
      - scopes: [droplet:read, "tag:*"]
        only: { droplet: { tag: web, name: ["a*", b] }, volume: any, tag: x, region: [nyc3], project: { name: "p*" } }
        actions: [reboot]
        on_create: { tags: [web], project: p }
      - requests: ["GET /v2/${v}"]
    deny:
      - scopes: ["*"]
        only: { tag: { name: keep } }
        actions: [reboot]
    delegate: { ttl: 1h, count: 2 }
  b: { allow: [{ scopes: [droplet:read] }] }
  o: { operator: [view, revoke, issue], operator_issues: [b] }
tokens:
  - name: t
    id: 4fZ0aB9cD8eF
    hash: "sha256:0000000000000000000000000000000000000000000000000000000000000000"
    roles: [a]
    vars: { v: x }
    sources: [203.0.113.0/24, unix]
    client_cert: "CN=a"
    not_before: 2027-01-31T00:00:00Z
    expires_at: 2027-02-28T00:00:00Z
    ceiling: b
    report_until: 2027-02-01T00:00:00Z
    idle: 1h
    max_uses: 3
    rate: 60/min
    owner: me
    description: d
trust:
  - name: t
    issuer: github
    claims: { repository_id: "1", ref: [refs/heads/main, "refs/tags/*"] }
    roles: [a]
    vars: { v: "x-${claims.environment}" }
    ceiling: b
    ttl: 15m
    max_uses: 3
    rate: 10/s
    sources: [203.0.113.0/24]
tests:
  - role: a
    vars: { v: x }
    request: POST /v2/droplets/12/actions
    body: { type: reboot }
    given: { droplet: [{ id: 12, tags: [web], name: a }] }
    expect: deny
    reason: denied
  - { issuer: github, claims: { repository_id: "1" }, expect: allow }
"#;

/// Every key that a configuration may have.
const CONFIG: &str = r"
listen:
  - { address: 127.0.0.1:1, allow_plaintext: false, proxy_protocol: true }
  - { address: 127.0.0.1:2, tls: { certificate: c, private_key: k, client_ca: a } }
  - { unix: s }
  - { systemd: tidegate.socket }
public_url: https://a.example
trusted_proxies: [10.0.0.5]
upstream: { url: https://a.example, ca_file: c, connect_timeout: 5s, timeout: 60s }
accounts:
  default: { token_file: t, reserve: 1 }
  b: { token_env: T }
  c: { token_files: [a, b] }
  d: { token_command: [cat, t], token_refresh: 1h }
policy: p.yaml
state: { postgres: { url_file: u, ca_file: c, migrate: true, stale_for: 1s } }
instance: i
audit: { file: a, sync: true, chain: true }
admin: { address: 127.0.0.1:3, console: true, hosts: [a.example], tls: { certificate: c, private_key: k } }
catalog: { extra: e }
field_scopes: enforce
issuers:
  github: { url: https://a.example, audience: tidegate, jwks: https://a.example/k, ca_file: c, kind: github, once: true }
limits: { header_bytes: 32KiB, inspected_body: 2MiB, body: 64MiB, derived_credentials: 12h, connections: 1, connections_per_client: 1, requests: 1, header_timeout: 10s, idle_timeout: 75s }
";

/// What is broken in other ways than one by one: where, and what stands there instead.
const ALSO: [(&str, &str, &str); 55] = [
    ("policy", "/version", "2"),
    ("policy", "/roles/a/allow/0/scopes/0", r#""droplet:reed""#),
    ("policy", "/roles/a/allow/0/scopes/0", r#""drop:*""#),
    ("policy", "/roles/a/allow/0/scopes/0", r#""droplet:admin""#),
    (
        "policy",
        "/roles/a/allow/0",
        r#"{ "scopes": ["tag:read"], "requests": ["GET /v2/tags"] }"#,
    ),
    ("policy", "/roles/a/allow/0", r#"{ "actions": ["reboot"] }"#),
    ("policy", "/roles/a/allow/0/actions/0", r#""rebot""#),
    ("policy", "/roles/a/allow/0/only", r#"{ "tag": "any" }"#),
    ("policy", "/roles/a/allow/0/only", r#"{ "drplet": "any" }"#),
    (
        "policy",
        "/roles/a/allow/0/only",
        r#"{ "droplet": { "nam": "x" } }"#,
    ),
    (
        "policy",
        "/roles/a/allow/0/only",
        r#"{ "firewall": { "tag": "x" } }"#,
    ),
    (
        "policy",
        "/roles/a/allow/0/only",
        r#"{ "domain_record": { "tag": "x" } }"#,
    ),
    (
        "policy",
        "/roles/a/allow/0/only",
        r#"{ "database_user": { "tag": "x" } }"#,
    ),
    (
        "policy",
        "/roles/a/allow/0/only",
        r#"{ "droplet": "none" }"#,
    ),
    (
        "policy",
        "/roles/a/deny/0",
        r#"{ "scopes": ["tag:read"], "on_create": { "tags": ["a"] } }"#,
    ),
    ("policy", "/roles/b", r#"{ "description": "x" }"#),
    (
        "policy",
        "/roles/b",
        r#"{ "allow": [{ "requests": ["GET /v2/(a|b)"] }], "deny": [{ "requests": ["GET /v2/a"] }] }"#,
    ),
    ("policy", "/roles/o", r#"{ "operator": ["revoke"] }"#),
    ("policy", "/roles/o", r#"{ "operator": ["view", "issue"] }"#),
    ("policy", "/roles/o", r#"{ "operator": ["see"] }"#),
    (
        "policy",
        "/roles/o",
        r#"{ "operator": ["issue", "view", "revoke"] }"#,
    ),
    (
        "policy",
        "/roles/o",
        r#"{ "operator": ["view"], "operator_issues": ["b"] }"#,
    ),
    (
        "policy",
        "/roles/o",
        r#"{ "operator_issues": ["b"], "allow": [{ "scopes": ["droplet:read"] }] }"#,
    ),
    (
        "policy",
        "/roles/o",
        r#"{ "operator": ["view"], "delegate": { "ttl": "1h", "count": 1 } }"#,
    ),
    ("policy", "/tokens/0/idle", r#""0s""#),
    ("policy", "/tokens/0/rate", r#""0/min""#),
    ("policy", "/tokens/0/rate", r#""1/day""#),
    ("policy", "/tokens/0/hash", r#""sha256:00""#),
    ("policy", "/tokens/0/id", r#""short""#),
    ("policy", "/tokens/0/client_cert", r#""*""#),
    ("policy", "/trust/0/ttl", r#""13h""#),
    (
        "policy",
        "/trust/0/name",
        r#""aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa""#,
    ),
    ("policy", "/tests/0/expect", r#""maybe""#),
    ("config", "/listen/0/address", r#""0.0.0.0:80""#),
    ("config", "/listen/1/address", r#""0.0.0.0:443""#),
    (
        "config",
        "/listen/0",
        r#"{ "address": "0.0.0.0:80", "allow_plaintext": true }"#,
    ),
    (
        "config",
        "/listen/0",
        r#"{ "unix": "s", "address": "127.0.0.1:1" }"#,
    ),
    (
        "config",
        "/listen/0",
        r#"{ "unix": "s", "tls": { "certificate": "c", "private_key": "k" } }"#,
    ),
    (
        "config",
        "/listen/0",
        r#"{ "unix": "s", "proxy_protocol": true }"#,
    ),
    (
        "config",
        "/listen/0",
        r#"{ "systemd": "s", "proxy_protocol": true }"#,
    ),
    ("config", "/admin", r#"{ "address": "0.0.0.0:1" }"#),
    ("config", "/admin", r#"{ "address": "[::1]:1" }"#),
    (
        "config",
        "/admin",
        r#"{ "unix": "s", "tls": { "certificate": "c", "private_key": "k" } }"#,
    ),
    (
        "config",
        "/admin",
        r#"{ "unix": "s", "hosts": ["a.example"] }"#,
    ),
    ("config", "/admin", r#"{ "unix": "s", "hosts": null }"#),
    (
        "config",
        "/upstream/url",
        r#""http://api.digitalocean.com""#,
    ),
    ("config", "/upstream/url", r#""http://localhost:1""#),
    (
        "config",
        "/accounts/b",
        r#"{ "token_env": "T", "token_refresh": "1h" }"#,
    ),
    (
        "config",
        "/accounts/b",
        r#"{ "token_env": "T", "token_file": "t" }"#,
    ),
    (
        "config",
        "/state/postgres",
        r#"{ "url": "postgres://a", "url_env": "T" }"#,
    ),
    ("config", "/state/postgres/stale_for", r#""10m""#),
    (
        "config",
        "/issuers/github",
        r#"{ "url": "http://a.example", "audience": "a" }"#,
    ),
    ("config", "/issuers/github/jwks", r#""http://a.example/k""#),
    ("config", "/issuers/github/kind", r#""GitHub""#),
    ("config", "/limits/header_bytes", r#""4KiB""#),
];

/// What of a mistake's message says that a schema can't tell it, and why.
const BEYOND: [(&str, &str); 11] = [
    (
        "another listener is there already",
        "where the others listen stands elsewhere in the file",
    ),
    (
        "unknown role `",
        "which roles there are stands elsewhere in the file",
    ),
    (
        "no role of ",
        "which variables a role has stands elsewhere in the file",
    ),
    ("needs the variable `", "the same"),
    ("is not declared", "the same"),
    ("of another account", "the account of another role"),
    (
        "is no pattern for `METHOD /path`",
        "the grammar of regular expressions",
    ),
    (
        "is no regular expression",
        "the grammar of regular expressions",
    ),
    ("`ttl` is at most 12h", "spans of several units"),
    ("`stale_for` is how late", "spans of several units"),
    ("`header_bytes` is below 8KiB", "sizes of several units"),
];

/// Places at which the schema says more than the reader, and why.
const STRICTER: [(&str, &str); 2] = [
    (
        "policy/tests/0/request is ",
        "the test can't be run, which `check` says when it comes to it",
    ),
    (
        "policy/tests/0/reason is ",
        "nothing is refused for it, so the test fails",
    ),
];

fn replacements() -> Vec<Value> {
    vec![
        Value::Null,
        json!(""),
        json!("zz zz"),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(true),
        json!([]),
        json!({}),
        json!(["zz zz"]),
        json!("/(/"),
        json!([[]]),
        json!([null]),
        json!({ "zz": "zz" }),
    ]
}

/// The value with each place of it broken in each way, and which that was.
fn broken(whole: &Value) -> Vec<(String, Value)> {
    let mut places = Vec::new();
    pointers(whole, String::new(), &mut places);
    let mut all = Vec::new();
    for place in &places {
        for replacement in replacements() {
            let mut other = whole.clone();
            let told = format!("{place} is {replacement}");
            *other.pointer_mut(place).unwrap() = replacement;
            all.push((told, other));
        }
        if let Some(Value::Object(members)) = whole.pointer(place) {
            for key in members.keys() {
                let mut other = whole.clone();
                let at: &mut Map<_, _> = other.pointer_mut(place).unwrap().as_object_mut().unwrap();
                at.remove(key);
                all.push((format!("{place} without {key}"), other));
            }
            let mut other = whole.clone();
            other.pointer_mut(place).unwrap()["zz"] = json!("zz");
            all.push((format!("{place} with zz"), other));
        }
    }
    all
}

fn pointers(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(key, member)| pointers(member, format!("{at}/{key}"), into)),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .for_each(|(index, item)| pointers(item, format!("{at}/{index}"), into)),
        _ => {}
    }
    into.push(at);
}

/// The mistakes that a reader finds.
type Reads<'r> = &'r dyn Fn(&str) -> Vec<String>;

#[test]
fn a_schema_says_what_the_reader_says() {
    let catalog = Catalog::builtin().unwrap();
    let of_policy = |text: &str| -> Vec<String> {
        let read = policy::read_alone("f", text, &catalog);
        read.err().map(Mistakes::into_lines).unwrap_or_default()
    };
    let of_config = |text: &str| -> Vec<String> {
        let read = config::read("f", text, Path::new("/"));
        read.err().map(Mistakes::into_lines).unwrap_or_default()
    };
    let cases: [(&str, &str, Reads<'_>); 2] = [
        ("policy", POLICY, &of_policy),
        ("config", CONFIG, &of_config),
    ];
    let (mut untold, mut false_alarms) = (Vec::new(), Vec::new());
    let mut beyond = BTreeSet::new();
    for (of, text, reader) in cases {
        let schema = schema(of);
        let whole = document(text);
        assert_eq!(reader(text), [""; 0], "{of}");
        assert!(valid(&whole, &schema, &schema), "{of}");
        let also = ALSO.iter().filter(|(file, ..)| *file == of);
        let also = also.map(|(_, place, instead)| {
            let mut other = whole.clone();
            *other.pointer_mut(place).expect(place) = serde_json::from_str(instead).expect(instead);
            (format!("{place} is {instead}"), other)
        });
        for (told, broken) in broken(&whole).into_iter().chain(also) {
            let mistakes = reader(&broken.to_string());
            match (mistakes.is_empty(), valid(&broken, &schema, &schema)) {
                (true, true) | (false, false) => {}
                (true, false) => {
                    let told = format!("{of}{told}");
                    if !STRICTER.iter().any(|(place, _)| told.starts_with(place)) {
                        false_alarms.push(told);
                    }
                }
                (false, true) => {
                    let told_by = |it: &String| BEYOND.iter().find(|(part, _)| it.contains(part));
                    let known: Vec<_> = mistakes.iter().filter_map(told_by).collect();
                    if known.len() == mistakes.len() {
                        beyond.extend(known.iter().map(|(part, _)| *part));
                    } else {
                        untold.push(format!("{of}{told}: {}", mistakes.join(" | ")));
                    }
                }
            }
        }
    }
    assert!(
        untold.is_empty() && false_alarms.is_empty(),
        "the schema does not tell:\n{}\nthe schema complains of what is read:\n{}",
        untold.join("\n"),
        false_alarms.join("\n")
    );
    let unused: Vec<_> = BEYOND
        .iter()
        .filter(|(part, _)| !beyond.contains(part))
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}
