//! S13: every endpoint of the API, asked with exactly the scopes that it asks for, and with any one of them missing.
//!
//! What is expected comes from `tests/facts`: DigitalOcean's specification as it was, the corrections to it, and the
//! fields that ask for scopes of their own. Nothing is asked of the built-in catalogue, or the test could not fail.
//! Who lacks a scope here holds all others of the API, so that a way in of which the facts know nothing shows up too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use hyper::Method;
use serde_json::{Map, Value, json};
use tidegate::token::SubToken;

use crate::support::standin::Heard;
use crate::support::{Answer, Gate, REAL_TOKEN, StandInApi};

#[tokio::test]
async fn every_endpoint_opens_to_its_scopes_and_to_nothing_less() {
    let facts = Facts::read();
    let calls = facts.calls();
    let trials = trials(&calls, &facts.scopes());
    let tokens = tokens(&trials);
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &policy(&tokens)).await;

    let lane = |first| walk(&gate, &trials, &tokens, first);
    let walked = tokio::join!(lane(0), lane(1), lane(2), lane(3));
    let answers = <[_; LANES]>::from(walked).into_iter().flatten().collect();

    let wrong = wrong(&trials, &tokens, &answers, &api.heard());
    let shown = wrong.get(..MOST_SHOWN).unwrap_or(&wrong).join("\n");
    assert!(
        wrong.is_empty(),
        "{} of {} requests went wrong:\n{shown}",
        wrong.len(),
        trials.len()
    );
    gate.finish(&api).await;
}

/// How many requests are under way at once.
const LANES: usize = 4;

const MOST_SHOWN: usize = 30;

pub(crate) type Scopes = BTreeSet<&'static str>;

/// `tests/facts`, with the corrections made.
pub(crate) struct Facts {
    endpoints: Vec<EndpointFact>,
    /// Without these a request is none that DigitalOcean would take.
    required: Vec<FieldFact>,
    optional: Vec<FieldFact>,
}

struct EndpointFact {
    row: Row,
    /// It asks for one of these, whole.
    scopes: Vec<Scopes>,
    /// No wildcard covers it.
    sensitive: bool,
}

/// A field of a request that asks for a scope of its own.
struct FieldFact {
    row: Row,
    /// In the body; or else in the query.
    in_body: bool,
    /// As in `inbound_rules[].sources.tags`.
    field: &'static str,
    value: &'static str,
    scope: &'static str,
}

/// Method and path, which is what the rows of all files begin with.
pub(crate) type Row = [&'static str; 2];

impl Facts {
    pub(crate) fn read() -> Self {
        let mut corrections: HashMap<Row, _> = rows(include_str!("../facts/corrections.tsv"))
            .map(|[method, path, spec, scopes, _why]| ([method, path], (spec, scopes)))
            .collect();
        let mut sensitive: BTreeSet<Row> = rows(include_str!("../facts/sensitive.tsv"))
            .map(|[method, path, _why]| [method, path])
            .collect();
        let endpoints: Vec<_> = rows(include_str!("../facts/endpoints.tsv"))
            .map(|[method, path, _operation, spec, _query]| {
                let row = [method, path];
                let (was, scopes) = corrections.remove(&row).unwrap_or((spec, spec));
                assert_eq!(alternatives(was), alternatives(spec), "corrected {row:?}");
                EndpointFact {
                    row,
                    scopes: alternatives(scopes),
                    sensitive: sensitive.remove(&row),
                }
            })
            .collect();
        assert_eq!(endpoints.len(), 644, "endpoints of the API");
        assert!(corrections.is_empty(), "no endpoints: {corrections:?}");
        assert!(sensitive.is_empty(), "no endpoints: {sensitive:?}");
        let fields = |text| fields(text, &endpoints);
        Self {
            required: fields(include_str!("../facts/required_fields.tsv")),
            optional: fields(include_str!("../facts/optional_fields.tsv")),
            endpoints,
        }
    }

    /// Every scope that anything asks for.
    pub(crate) fn scopes(&self) -> Scopes {
        let of_endpoints = self.endpoints.iter().flat_map(|endpoint| &endpoint.scopes);
        let of_fields = self.required.iter().chain(&self.optional);
        of_endpoints
            .flatten()
            .copied()
            .chain(of_fields.map(|field| field.scope))
            .collect()
    }

    /// Each endpoint with what it must be given and no more; once more for each field beyond that which asks for a
    /// scope; and once more for each spelling of the one parameter that does.
    pub(crate) fn calls(&self) -> Vec<Call> {
        let mut calls = Vec::new();
        for endpoint in &self.endpoints {
            let own = |field: &&FieldFact| field.row == endpoint.row;
            let required: Vec<_> = self.required.iter().filter(own).collect();
            let optional: Vec<_> = self.optional.iter().filter(own).collect();
            calls.push(Call::new(endpoint, &required));
            for field in &optional {
                let outer = optional.iter().filter(|outer| field.is_in(outer));
                let used: Vec<_> = required
                    .iter()
                    .chain(outer)
                    .chain([field])
                    .copied()
                    .collect();
                calls.push(Call::new(endpoint, &used));
            }
            if endpoint.row[1].ends_with("/docker-credentials") {
                calls.extend(
                    READ_WRITE.map(|(value, writes)| Call::to_registry(endpoint, value, writes)),
                );
            }
        }
        calls
    }
}

/// Values of `read_write`, and whether they ask for a login that pushes: whatever some reader takes for true does.
const READ_WRITE: [(&str, bool); 5] = [
    ("true", true),
    ("1", true),
    ("T", true),
    ("TRUE", true),
    ("false", false),
];

impl FieldFact {
    /// `resources.images` is in `resources`: whoever uses the one, uses the other.
    fn is_in(&self, outer: &Self) -> bool {
        self.field
            .strip_prefix(outer.field)
            .is_some_and(|rest| rest.starts_with('.'))
    }

    /// The value at its place, and nothing else.
    fn body(&self) -> Value {
        let value = serde_json::from_str(self.value)
            .unwrap_or_else(|error| panic!("the value of {}: {error}", self.field));
        self.field.rsplit('.').fold(value, |inner, step| {
            let (name, inner) = match step.strip_suffix("[]") {
                Some(name) => (name, json!([inner])),
                None => (step, inner),
            };
            Value::Object(Map::from_iter([(name.to_owned(), inner)]))
        })
    }
}

/// The cells of a table, without its head.
pub(crate) fn rows<const N: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    table.lines().skip(1).map(|line| {
        let cells: Vec<_> = line.split('\t').collect();
        <[_; N]>::try_from(cells).unwrap_or_else(|_| panic!("not {N} cells: {line:?}"))
    })
}

/// Sets that do instead of each other, as in `domain:create | domain:update` and `droplet:create+droplet:update`.
fn alternatives(text: &'static str) -> Vec<Scopes> {
    let set = |set: &'static str| set.trim().split('+').filter(|scope| !scope.is_empty());
    text.split('|').map(|text| set(text).collect()).collect()
}

fn fields(table: &'static str, endpoints: &[EndpointFact]) -> Vec<FieldFact> {
    let field = |[method, path, place, field, value, scope, _note]: [_; 7]| {
        let row = [method, path];
        let known = endpoints.iter().any(|endpoint| endpoint.row == row);
        assert!(known, "no endpoint: {row:?}");
        FieldFact {
            row,
            in_body: place == "body",
            field,
            value,
            scope,
        }
    };
    rows(table).map(field).collect()
}

/// A request, and what it asks for.
pub(crate) struct Call {
    /// Method and path as the facts write them.
    pub(crate) row: Row,
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) body: Option<Value>,
    /// The target that the API is to hear.
    arrives_as: String,
    /// One of these, whole, …
    pub(crate) scopes: Vec<Scopes>,
    /// … and all of these.
    pub(crate) of_fields: Scopes,
    pub(crate) sensitive: bool,
}

impl Call {
    fn new(endpoint: &EndpointFact, used: &[&FieldFact]) -> Self {
        let (in_body, in_query): (Vec<_>, Vec<_>) =
            used.iter().copied().partition(|field| field.in_body);
        let query: Vec<_> = in_query
            .iter()
            .map(|field| (field.field, field.value))
            .collect();
        let [method, path] = endpoint.row;
        let may_have_body = matches!(method, "POST" | "PUT" | "PATCH");
        let body = in_body
            .iter()
            .fold(json!({}), |body, field| merged(body, field.body()));
        Self {
            row: endpoint.row,
            method: method.parse().expect("a method"),
            target: target(path, &query),
            body: (may_have_body || !in_body.is_empty()).then_some(body),
            arrives_as: target(path, &limited(path, &query)),
            scopes: endpoint.scopes.clone(),
            of_fields: used.iter().map(|field| field.scope).collect(),
            sensitive: endpoint.sensitive,
        }
    }

    /// A login to the registry with `read_write`.
    fn to_registry(endpoint: &EndpointFact, read_write: &str, writes: bool) -> Self {
        let mut call = Self::new(endpoint, &[]);
        let path = endpoint.row[1];
        let query = [("read_write", read_write)];
        call.target = target(path, &query);
        call.arrives_as = target(path, &limited(path, &query));
        if writes {
            for set in &mut call.scopes {
                set.insert("registry:update");
            }
        }
        call
    }

    /// The scope without whose name it is refused, since it hands out what is on the resource in its path: a replica is
    /// made from its database.
    fn source(&self) -> Option<&'static str> {
        let replica = self.method == Method::POST && self.target.ends_with("/replicas");
        replica.then_some("database:read")
    }

    /// What comes of it for a token that holds `held` by name.
    fn expected(&self, held: &Scopes) -> Expected {
        let lacking = |set: &Scopes| set.difference(held).copied().collect::<Scopes>();
        let lacking_of_sets: Vec<_> = self.scopes.iter().map(lacking).collect();
        let least = lacking_of_sets.iter().map(Scopes::len).min();
        if least != Some(0) {
            let needs = lacking_of_sets
                .into_iter()
                .filter(|set| Some(set.len()) == least)
                .collect();
            return Expected::Refusal("scope", needs);
        }
        match lacking(&self.of_fields) {
            none if none.is_empty() => Expected::Arrival,
            needs => Expected::Refusal("field_scope", vec![needs]),
        }
    }

    /// All scopes but as few as it takes to lack `scope` and not get through all the same.
    fn lacking(&self, scope: &'static str, all: &Scopes) -> Scopes {
        let mut held = all.clone();
        held.remove(scope);
        if scope == "project:assign_resource" {
            held.remove("project:update"); // which gives it
        }
        if self.scopes.iter().any(|set| set.contains(scope)) {
            for set in &self.scopes {
                if set.is_subset(&held) {
                    set.first().map(|scope| held.remove(scope));
                }
            }
        }
        held
    }
}

/// Both objects in one.
fn merged(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut members), Value::Object(more)) => {
            for (name, value) in more {
                let known = members.remove(&name).unwrap_or(Value::Null);
                members.insert(name, merged(known, value));
            }
            Value::Object(members)
        }
        (_, other) => other,
    }
}

fn target(path: &str, query: &[(&str, &str)]) -> String {
    let segments: Vec<_> = path.split('/').map(filled).collect();
    let query: Vec<_> = query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{}{mark}{}", segments.join("/"), query.join("&"))
}

/// Credentials that DigitalOcean would make for ever are asked for with an end: PRODUCT.md §5.9.
fn limited<'q>(path: &str, query: &[(&'q str, &'q str)]) -> Vec<(&'q str, &'q str)> {
    let derived = path.ends_with("/docker-credentials")
        || path == "/v2/kubernetes/clusters/{cluster_id}/kubeconfig"
        || path == "/v2/kubernetes/clusters/{cluster_id}/credentials";
    let end = derived.then_some(("expiry_seconds", "43200"));
    end.into_iter().chain(query.iter().copied()).collect()
}

/// A segment of a path, with something plausible in place of a parameter.
pub fn filled(segment: &str) -> &str {
    let parameter = segment
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    match parameter {
        None => segment,
        Some(
            "action_id" | "domain_record_id" | "droplet_id" | "image_id" | "prompt_id"
            | "ssh_key_identifier" | "version",
        ) => "3164444",
        Some("domain_name") => "example.com",
        Some("floating_ip" | "reserved_ip") => "203.0.113.25",
        Some("reserved_ipv6") => "2001:db8::25",
        Some("account_urn") => "do:team:5a4981aa-9653-4bd1-bef5-d6bff52042e4",
        Some("manifest_digest") => {
            "sha256:cb8a924afdf0229ef7515d9e5b3024e23b3eb03ddbba287f4a19c6ac90b8d221"
        }
        Some("repository_name") => "team%2Fweb",
        Some("start_date") => "2026-01-01",
        Some("end_date") => "2026-01-31",
        Some(name) if name.ends_with("_name") || name == "slug" || name == "tag_id" => "example",
        Some(_) => "4de7ac8b-495b-4884-9a69-1050c6793cd6",
    }
}

/// A call by a token, and what should come of it.
struct Trial<'c> {
    call: &'c Call,
    held: Scopes,
    expected: Expected,
}

#[derive(Debug, Eq, PartialEq)]
enum Expected {
    Arrival,
    /// With this reason, and one of these as what it needs.
    Refusal(&'static str, Vec<Scopes>),
}

fn trials<'c>(calls: &'c [Call], all: &Scopes) -> Vec<Trial<'c>> {
    let mut trials = Vec::new();
    for call in calls {
        for set in &call.scopes {
            let exactly: Scopes = set.union(&call.of_fields).copied().collect();
            trials.extend(exactly.iter().map(|scope| {
                let held = call.lacking(scope, all);
                let expected = call.expected(&held);
                assert_ne!(
                    expected,
                    Expected::Arrival,
                    "{} without {scope}",
                    call.target
                );
                Trial {
                    call,
                    held,
                    expected,
                }
            }));
            let expected = call.expected(&exactly);
            assert_eq!(expected, Expected::Arrival, "{}", call.target);
            trials.push(Trial {
                call,
                held: exactly,
                expected,
            });
        }
        let by_wildcard = if call.sensitive { &Scopes::new() } else { all };
        trials.push(Trial {
            call,
            held: Scopes::from(["*"]),
            expected: match call.source() {
                Some(scope) => Expected::Refusal("field_scope", vec![Scopes::from([scope])]),
                None => call.expected(by_wildcard),
            },
        });
    }
    trials
}

impl fmt::Display for Trial<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Call {
            method,
            target,
            body,
            ..
        } = self.call;
        write!(f, "{method} {target}")?;
        if let Some(body) = body {
            write!(f, " {body}")?;
        }
        match (&self.expected, self.held.len()) {
            (Expected::Refusal(_, needs), 2..) => write!(f, " with all scopes but {needs:?}"),
            _ => write!(f, " with {:?}", self.held),
        }
    }
}

/// A token for each set of scopes.
fn tokens(trials: &[Trial<'_>]) -> BTreeMap<Scopes, SubToken> {
    let sets: BTreeSet<_> = trials.iter().map(|trial| trial.held.clone()).collect();
    sets.into_iter()
        .map(|set| (set, SubToken::generate().expect("random bytes")))
        .collect()
}

/// A role for each token, with its scopes.
fn policy(tokens: &BTreeMap<Scopes, SubToken>) -> String {
    let name = |token: &SubToken| format!("role-{}", token.id);
    let roles: Map<_, _> = tokens
        .iter()
        .map(|(scopes, token)| (name(token), json!({ "allow": [{ "scopes": scopes }] })))
        .collect();
    let listed: Vec<_> = tokens
        .values()
        .map(|token| {
            let hash = format!("sha256:{}", token.hash().to_hex());
            json!({ "name": name(token), "id": token.id.as_str(), "hash": hash, "roles": [name(token)] })
        })
        .collect();
    json!({ "version": 1, "roles": roles, "tokens": listed }).to_string() // JSON is YAML too
}

/// Sends every `LANES`th trial, from `first` on. Each has its number for a `user-agent`, which travels.
async fn walk(
    gate: &Gate,
    trials: &[Trial<'_>],
    tokens: &BTreeMap<Scopes, SubToken>,
    first: usize,
) -> Vec<(usize, Answer)> {
    let mut answers = Vec::new();
    for (number, Trial { call, held, .. }) in trials.iter().enumerate().skip(first).step_by(LANES) {
        let ask = gate
            .request(call.method.clone(), &call.target)
            .pooled()
            .token(tokens[held].secret.expose())
            .header("user-agent", &agent(number));
        let ask = STAYS_BEHIND
            .iter()
            .fold(ask, |ask, (name, value)| ask.header(name, value));
        let ask = match &call.body {
            Some(body) => ask.json(body),
            None => ask,
        };
        answers.push((number, ask.send().await));
    }
    answers
}

fn agent(number: usize) -> String {
    format!("walk/{number}")
}

/// What the client sends, and the API is not to hear.
const STAYS_BEHIND: [(&str, &str); 6] = [
    ("accept-encoding", "gzip, br"),
    ("cookie", "session=example"),
    ("forwarded", "for=203.0.113.7"),
    ("via", "1.1 example"),
    ("x-forwarded-for", "203.0.113.7"),
    ("x-odd", "example"),
];

/// The only headers that the API is to hear.
const ARRIVES: [&str; 6] = [
    "accept-encoding",
    "authorization",
    "content-length",
    "content-type",
    "host",
    "user-agent",
];

/// What went otherwise than expected, a line for each trial.
fn wrong(
    trials: &[Trial<'_>],
    tokens: &BTreeMap<Scopes, SubToken>,
    answers: &HashMap<usize, Answer>,
    heard: &[Heard],
) -> Vec<String> {
    let mut by_agent: HashMap<_, Vec<_>> = HashMap::new();
    for one in heard {
        let agent = one.header("user-agent").map(str::to_owned);
        by_agent.entry(agent).or_default().push(one);
    }
    let mut wrong = Vec::new();
    for (number, trial) in trials.iter().enumerate() {
        let heard = by_agent.remove(&Some(agent(number))).unwrap_or_default();
        let answer = &answers[&number];
        let secret = tokens[&trial.held].secret.expose();
        let checked = match &trial.expected {
            Expected::Arrival => let_through(trial.call, answer, &heard, secret),
            Expected::Refusal(reason, needs) => refused(reason, needs, answer, &heard),
        };
        wrong.extend(checked.err().map(|what| format!("{trial}: {what}")));
    }
    let unasked = by_agent.into_values().flatten();
    wrong.extend(unasked.map(|heard| format!("{}: nobody asked for it", heard.line())));
    wrong
}

fn refused(
    reason: &str,
    needs: &[Scopes],
    answer: &Answer,
    heard: &[&Heard],
) -> Result<(), String> {
    let listed = answer.header("tidegate-needs").unwrap_or_default();
    let named: BTreeSet<_> = listed.split(", ").collect();
    if !heard.is_empty() {
        return Err(format!(
            "the API heard it; the answer was {}",
            answer.status
        ));
    }
    let is_told = (answer.status.as_u16(), answer.reason()) == (403, Some(reason));
    if !is_told || !needs.contains(&named) {
        return Err(format!(
            "it should be refused for {reason}, needing one of {needs:?}; it was answered with {} {:?}, needing {named:?}",
            answer.status,
            answer.reason()
        ));
    }
    Ok(())
}

/// What hands out keys that are told how long they last.
const KEYS_THAT_END: Row = ["POST", "/v2/functions/namespaces/{namespace_id}/keys"];

fn let_through(call: &Call, answer: &Answer, heard: &[&Heard], secret: &str) -> Result<(), String> {
    if let Some(reason) = answer.reason() {
        let needs = answer.header("tidegate-needs");
        return Err(format!("it was refused for {reason}, needing {needs:?}"));
    }
    let [heard] = heard else {
        return Err(format!("the API heard it {} times", heard.len()));
    };
    let line = format!("{} {}", call.method, call.arrives_as);
    if heard.line() != line {
        return Err(format!("the API heard {} for {line}", heard.line()));
    }
    if heard.bearer() != Some(REAL_TOKEN) || heard.header("accept-encoding") != Some("identity") {
        return Err(format!("the API heard {:?}", heard.headers));
    }
    if let Some(name) = heard
        .headers
        .keys()
        .find(|name| !ARRIVES.contains(&name.as_str()))
    {
        return Err(format!("the API heard the header {name}"));
    }
    let mut body = call.body.clone().unwrap_or(Value::Null);
    if call.row == KEYS_THAT_END {
        body["expires_in"] = "12h".into(); // `limits.derived_credentials`
    }
    if heard.json() != body {
        return Err(format!("the API heard the body {}", heard.json()));
    }
    match betrayal(heard, secret) {
        Some(place) => Err(format!("the sub-token reached the API in {place}")),
        None => Ok(()),
    }
}

/// Where the sub-token, or the part of it that is secret, can be read.
fn betrayal(heard: &Heard, token: &str) -> Option<String> {
    let secret = token.rsplit('_').next().unwrap_or(token);
    let says = |text: &str| text.contains("tdg_v1_") || text.contains(secret);
    let named = heard
        .headers
        .iter()
        .find(|(_, value)| says(&String::from_utf8_lossy(value.as_bytes())))
        .map(|(name, _)| format!("the header {name}"));
    let elsewhere = says(&heard.target) || says(&String::from_utf8_lossy(&heard.body));
    named.or(elsewhere.then(|| "the target or the body".to_owned()))
}
