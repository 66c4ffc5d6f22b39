//! S10 and S13: each credential and each field with a scope of its own, in the answers of every endpoint that has one.
//!
//! What is expected comes from `tests/facts`, and nothing is asked of the built-in catalogue.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Value, json};

use super::{put, take, with_others};
use crate::every_endpoint::{Call, Facts, Row, Scopes, rows};
use crate::support::standin::{Fault, Reply};
use crate::support::{Answer, Gate, StandInApi};

const SECRETS: &str = include_str!("../../facts/secret_fields.tsv");
const FIELDS: &str = include_str!("../../facts/response_fields.tsv");

/// What is in each credential of an answer.
const MARKER: &str = "marked-credential";

/// The paths of all credentials, by endpoint.
fn secrets() -> BTreeMap<Row, Vec<&'static str>> {
    let mut by_row = BTreeMap::<_, Vec<_>>::new();
    for [method, path, field] in rows(SECRETS) {
        by_row.entry([method, path]).or_default().push(field);
    }
    by_row
}

/// An answer that has a credential wherever there can be one, and other members beside them.
fn marked(fields: &[&str]) -> Value {
    let mut answer = json!({ "meta": { "total": 1 } });
    for field in fields {
        put(&mut answer, field, json!(MARKER));
    }
    with_others(&mut answer);
    answer
}

/// The plain request of each endpoint.
fn plain(facts: &Facts) -> Vec<Call> {
    let mut calls = facts.calls();
    calls.dedup_by_key(|call| call.row);
    calls
}

async fn ask(gate: &Gate, api: &StandInApi, call: &Call, token: &str, body: &Value) -> Answer {
    let target = call.target.split('?').next().unwrap();
    let reply = Fault::Reply(Reply::json(200, body));
    api.clear_faults();
    api.fault_on(call.method.clone(), target, reply);
    let ask = gate.request(call.method.clone(), &call.target).pooled();
    let ask = match &call.body {
        Some(body) => ask.json(body),
        None => ask,
    };
    ask.token(token).send().await
}

/// A role that reads everything gets no credential from any GET, and all else of each.
#[tokio::test]
async fn s10_read_only_gets_no_credential_from_any_get() {
    for mode in ["secrets_only", "enforce"] {
        let (calls, secrets) = (plain(&Facts::read()), secrets());
        let api = StandInApi::start().await;
        let policy = include_str!("../../../examples/roles/read-only.yaml");
        let gate = Gate::builder(&api).policy(policy);
        let gate = gate.set("field_scopes", json!(mode)).start().await;
        let token = gate.issue(&["reader", "--role", "read-only"]).await;
        let (mut read, mut kept_back) = (0, 0);
        let gets = calls.iter().filter(|call| call.method == Method::GET);
        // What is in a project is told by its kinds, and by a story of its own.
        for call in gets.filter(|call| !OF_PROJECTS.contains(&call.row[1])) {
            let fields = secrets.get(&call.row).map_or(&[][..], Vec::as_slice);
            let mut body = marked(fields);
            let answer = ask(&gate, &api, call, &token, &body).await;
            let [_, path] = call.row;
            if call.sensitive {
                assert_eq!(answer.status.as_u16(), 403, "GET {path} logs in somewhere");
                continue;
            }
            assert!(
                !answer.text().contains(MARKER),
                "GET {path}: {}",
                answer.text()
            );
            if answer.status.as_u16() == 403 {
                continue; // it asks for more than reading
            }
            for field in fields {
                assert!(cut(&mut body, field), "GET {path} has {field}");
            }
            assert_eq!(answer.text(), body.to_string(), "GET {path}");
            read += 1;
            kept_back += fields.len();
        }
        assert!(
            read > 250 && kept_back > 400,
            "{read} reads, {kept_back} credentials"
        );
        gate.finish(&api).await;
    }
}

const OF_PROJECTS: [&str; 2] = [
    "/v2/projects/{project_id}/resources",
    "/v2/projects/default/resources",
];

/// Takes a credential away; where it goes with what it stands in, that.
fn cut(answer: &mut Value, field: &str) -> bool {
    let whole = WITH_ALL_IN_THEM.iter().find_map(|outer| {
        let at = field.find(outer)?;
        field.get(..at + outer.len())
    });
    whole.is_some_and(|whole| {
        take(answer, whole);
        true
    }) || take(answer, field)
}

/// Members of which every part is a credential.
const WITH_ALL_IN_THEM: [&str; 2] = ["basic_auth", "config.credentials"];

/// No wildcard opens a credential: not `*`, and whatever the method.
#[tokio::test]
async fn s10_no_wildcard_opens_a_credential() {
    let (facts, secrets) = (Facts::read(), secrets());
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles:\n  all: { allow: [{ scopes: ['*'] }] }\n";
    let gate = Gate::start(&api, policy).await;
    let token = gate.issue(&["all", "--role", "all"]).await;
    let mut asked = 0;
    for call in plain(&facts) {
        let Some(fields) = secrets.get(&call.row) else {
            continue;
        };
        let answer = ask(&gate, &api, &call, &token, &marked(fields)).await;
        let [method, path] = call.row;
        let text = answer.text();
        assert!(!text.contains(MARKER), "{method} {path}: {text}");
        asked += 1;
    }
    assert!(asked > 90, "{asked} endpoints");
    gate.finish(&api).await;
}

/// Who has every scope by name sees everything as it came.
#[tokio::test]
async fn s13_who_has_every_scope_sees_every_field() {
    let (facts, secrets) = (Facts::read(), secrets());
    let api = StandInApi::start().await;
    let gate = enforcing(&api, &[("all", all(&facts))]).await;
    let token = gate.issue(&["all", "--role", "all"]).await;
    let mut asked = 0;
    for call in plain(&facts) {
        let mut fields = secrets.get(&call.row).cloned().unwrap_or_default();
        fields.extend(
            rows(FIELDS)
                .filter(|[method, path, ..]: &[_; 6]| [*method, *path] == call.row)
                .map(|[_, _, field, ..]| field),
        );
        if fields.is_empty() {
            continue;
        }
        let body = marked(&fields);
        let answer = ask(&gate, &api, &call, &token, &body).await;
        let [method, path] = call.row;
        assert_eq!(answer.text(), body.to_string(), "{method} {path}");
        asked += 1;
    }
    assert!(asked > 120, "{asked} endpoints");
    gate.finish(&api).await;
}

/// Each row of the table of fields: who lacks its scope, and no other of the API, lacks that field, and no other.
#[tokio::test]
async fn s13_each_field_of_an_answer_goes_with_its_scope() {
    let facts = Facts::read();
    let all = all(&facts);
    let mut lacking = BTreeMap::<&str, String>::new();
    for [_, _, _, scope, ..] in rows::<6>(FIELDS) {
        lacking.insert(scope, format!("no-{}", scope.replace([':', '_'], "-")));
    }
    let roles: Vec<_> = lacking
        .iter()
        .map(|(scope, role)| {
            let held = all.iter().copied().filter(|held| held != scope).collect();
            (role.as_str(), held)
        })
        .collect();
    let api = StandInApi::start().await;
    let gate = enforcing(&api, &roles).await;
    let mut tokens = BTreeMap::new();
    for (scope, role) in &lacking {
        tokens.insert(*scope, gate.issue(&[role, "--role", role]).await);
    }
    let calls = plain(&facts);
    let (mut held_to, mut whole) = (0, 0);
    for [method, path, field, scope, how, _] in rows::<6>(FIELDS) {
        let call = calls.iter().find(|call| call.row == [method, path]);
        let call = call.unwrap_or_else(|| panic!("no endpoint: {method} {path}"));
        let needed = call.scopes.iter().all(|set| set.contains(scope));
        if needed || call.of_fields.contains(scope) {
            continue; // the request itself asks for it
        }
        let of_endpoint = rows::<6>(FIELDS).filter(|[m, p, ..]| (*m, *p) == (method, path));
        let (mut body, mut less) = (json!({}), Vec::new());
        for [_, _, other, its_scope, its_how, _] in of_endpoint {
            let leaf = if its_how == "whole" {
                json!({ "id": 12 })
            } else {
                json!("x")
            };
            put(&mut body, other, leaf);
            if its_scope == scope {
                less.push((other, its_how));
            }
        }
        with_others(&mut body);
        let answer = ask(&gate, &api, call, &tokens[scope], &body).await;
        for (other, its_how) in less {
            if its_how == "whole" {
                *body.pointer_mut(&pointer(other)).unwrap() = Value::Null;
            } else {
                take(&mut body, other);
            }
        }
        assert_eq!(
            answer.text(),
            body.to_string(),
            "{method} {path} {field}: {scope}"
        );
        whole += usize::from(how == "whole");
        held_to += 1;
    }
    assert!(
        held_to >= 285 && whole == 8,
        "{held_to} rows, {whole} whole resources"
    );
    gate.finish(&api).await;
}

fn pointer(field: &str) -> String {
    let mut pointer = String::new();
    for key in field.split('.') {
        pointer += "/";
        pointer += key.trim_end_matches("[]");
        if key.ends_with("[]") {
            pointer += "/0";
        }
    }
    pointer
}

/// Every scope that anything asks for.
fn all(facts: &Facts) -> Scopes {
    let of_fields = rows::<6>(FIELDS).map(|[_, _, _, scope, ..]| scope);
    facts.scopes().into_iter().chain(of_fields).collect()
}

/// A gate that holds fields to their scopes, with a role for each set of them.
async fn enforcing(api: &StandInApi, roles: &[(&str, Scopes)]) -> Gate {
    let role = |(role, scopes): &(&str, Scopes)| {
        let scopes: Vec<_> = scopes.iter().copied().collect();
        format!("  {role}: {{ allow: [{{ scopes: {} }}] }}\n", json!(scopes))
    };
    let roles: String = roles.iter().map(role).collect();
    let policy = format!("version: 1\nroles:\n{roles}");
    Gate::builder(api)
        .policy(&policy)
        .set("field_scopes", json!("enforce"))
        .start()
        .await
}
