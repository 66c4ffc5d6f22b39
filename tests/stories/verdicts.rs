//! `explain` and the daemon say the same, over hundreds of pairs of a role and a request; and what `explain` suggests lets
//! that request through and opens nothing that asks for something else.
//!
//! The requests are those of `tests/facts`, every so many of them, and some that are odd. `explain` is called as a function,
//! with the arguments of its command line: started anew for each pair it would read the catalogue each time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use clap::Parser;
use serde_json::{Value, json};
use tidegate::cli::explain::Arguments;
use tidegate::operate::ExplainGround;
use tidegate::token::SubToken;

use crate::every_endpoint::{Facts, Scopes};
use crate::support::gate::Signal;
use crate::support::standin::Heard;
use crate::support::{Answer, Fault, Gate, Reply, StandInApi};

#[tokio::test(flavor = "multi_thread")] // `explain` blocks while the stand-in answers its look-ups
async fn explain_and_the_daemon_agree_and_a_suggestion_allows_that_request_alone() {
    let requests = requests();
    let roles = roles(&requests);
    let pairs = pairs(&requests, &roles);
    assert!(pairs.len() > 400, "{} pairs", pairs.len());
    let api = StandInApi::start().await;
    let answer = |heard: &Heard| Reply::json(200, &anything(heard.path()));
    api.fault_all("/", Fault::reply_with(answer));
    let tokens = Tokens::default();
    let tokens = tokens.with(&roles);
    let gate = Gate::start(&api, &policy(&roles, &tokens)).await;
    let before = ground(&gate);
    let (mut trial, mut suggested, mut codes) = (Trial::new(&gate), Vec::new(), BTreeSet::new());
    for (role, request) in pairs {
        let said = explained(&before, &gate, &role.name, request);
        trial.ask(role, request, &tokens, &said).await;
        codes.insert(said["reason"].as_str().unwrap().to_owned());
        // A narrowed one is judged by facts, which this API does not have; `explaining` gives them.
        let suggestion = said["suggestion"].as_str();
        if let Some(yaml) = suggestion.filter(|yaml| !yaml.contains("only:")) {
            let extended = role.extended(suggested.len(), yaml);
            suggested.push((extended, role, request, said));
        }
    }
    for code in CODES {
        assert!(codes.contains(code), "nothing was refused with {code}");
    }
    assert!(suggested.len() > 60, "{} suggestions", suggested.len());

    let extended: Vec<Role> = suggested.iter().map(|(role, ..)| role.clone()).collect();
    let tokens = tokens.with(&extended);
    gate.write_policy(&policy(&[roles.clone(), extended].concat(), &tokens));
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    let after = ground(&gate);
    for (number, (extended, role, request, said)) in suggested.iter().enumerate() {
        let now = explained(&after, &gate, &extended.name, request);
        assert_eq!(now["decision"], "allow", "{request} after {said}: {now}");
        trial.ask(extended, request, &tokens, &now).await;
        let given = said["needs"].as_array().unwrap();
        let given = given.iter().filter_map(Value::as_str);
        let unrelated = |other: &&Request| {
            let asks = other.asks.as_ref();
            other.line() != request.line()
                && asks.is_some_and(|asks| {
                    given.clone().all(|scope| !asks.contains(scope))
                        && suggests(said)
                            .iter()
                            .all(|scope| !asks.contains(scope.as_str()))
                })
        };
        let controls = requests.iter().filter(unrelated);
        for control in controls.skip(number % 20).step_by(20) {
            let was = explained(&before, &gate, &role.name, control);
            let is = explained(&after, &gate, &extended.name, control);
            // What more would help depends on whether the role is narrowed by now; what is decided, and why, does not.
            let named = |verdict: &Value| {
                let mut verdict = verdict.clone();
                verdict["suggestion"].take();
                verdict.to_string().replace(&extended.name, &role.name)
            };
            assert_eq!(
                named(&was),
                named(&is),
                "{control} by {} and {said}",
                role.name
            );
        }
    }
    trial.check_audit();
    gate.finish(&api).await;
}

/// An answer to everything: what is looked up is there, and nothing is known of it but that it is what the path names.
fn anything(path: &str) -> Value {
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.replace("%3A", ":").replace("%2F", "/");
    let one = [
        "account",
        "action",
        "database",
        "domain",
        "domain_record",
        "droplet",
        "firewall",
        "floating_ip",
        "image",
        "load_balancer",
        "project",
        "registry",
        "reserved_ip",
        "snapshot",
        "ssh_key",
        "tag",
        "volume",
        "vpc",
    ];
    let lists = [
        "domains",
        "droplets",
        "images",
        "projects",
        "repositories",
        "resources",
        "snapshots",
        "volumes",
    ];
    let it = json!({ "id": name, "name": name, "ip": name, "uuid": name });
    let one = one.map(|member| (member.to_owned(), it.clone()));
    let lists = lists.map(|name| (name.to_owned(), json!([])));
    Value::Object(one.into_iter().chain(lists).collect())
}

/// What must have been seen among the refusals.
const CODES: [&str; 8] = [
    "scope",
    "field_scope",
    "action",
    "denied",
    "resource",
    "unknown_endpoint",
    "ambiguous_request",
    "body_unreadable",
];

/// Every so many of the API's calls are tried.
const EVERY: usize = 11;

#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    body: Option<String>,
    /// Every scope that it could ask for, where the facts say.
    asks: Option<Scopes>,
    /// The scopes of the endpoint, those of fields left out.
    endpoint: Scopes,
    /// A file with the body.
    file: String,
}

impl Request {
    fn line(&self) -> String {
        format!("{} {} {:?}", self.method, self.target, self.body)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

fn requests() -> Vec<Request> {
    let facts = Facts::read();
    let calls = facts.calls();
    let sampled = calls.iter().enumerate().filter(|(number, call)| {
        number % EVERY == 0 || !call.of_fields.is_empty() && number % (EVERY / 3) == 0
    });
    let known = sampled.map(|(_, call)| Request {
        method: call.method.to_string(),
        target: call.target.clone(),
        body: call.body.as_ref().map(Value::to_string),
        asks: Some(
            call.scopes
                .iter()
                .flatten()
                .chain(&call.of_fields)
                .copied()
                .collect(),
        ),
        endpoint: call.scopes.first().cloned().unwrap_or_default(),
        file: String::new(),
    });
    let odd = ODD.map(|(method, target, body)| Request {
        method: method.to_owned(),
        target: target.to_owned(),
        body: (!body.is_empty()).then(|| body.to_owned()),
        asks: None,
        endpoint: Scopes::new(),
        file: String::new(),
    });
    let mut requests: Vec<Request> = known.chain(odd).collect();
    for (number, request) in requests.iter_mut().enumerate() {
        request.file = format!("body-{number}.json");
    }
    requests
}

const ODD: [(&str, &str, &str); 22] = [
    ("GET", "/v2/droplets?tag_name=web", ""),
    ("GET", "/v2/droplets?tag_name=db", ""),
    ("GET", "/v2/droplets?tag_name=web&page=2", ""),
    ("GET", "/v2/droplets?page=2&per_page=200", ""),
    ("HEAD", "/v2/droplets/12/", ""),
    ("GET", "/v2/droplets/012", ""),
    ("GET", "/v2/../x", ""),
    ("GET", "/v2/droplets//12", ""),
    ("GET", "/v2/droplets/%2e%2e", ""),
    ("GET", "/v2/it's.new/7", ""),
    ("GET", "/v2/it's.new/7?b=2&a=1", ""),
    ("POST", "/v2/brand-new", r#"{"a":1}"#),
    ("POST", "/v2/droplets", r#"{"name":"x","image":7}"#),
    ("POST", "/v2/droplets", r#"{"name":"x","Image":7}"#),
    ("POST", "/v2/droplets", r#"{"name":"x","name":"y"}"#),
    ("POST", "/v2/droplets", r#"{"name":"#),
    ("POST", "/v2/tags", r#"{"name":"#),
    ("POST", "/v2/droplets/12/actions", r#"{"type":"power_on"}"#),
    (
        "POST",
        "/v2/droplets/12/actions",
        r#"{"type":"rebuild","image":7}"#,
    ),
    ("POST", "/v2/droplets/12/actions", r#"{"kind":"power_on"}"#),
    ("POST", "/v2/droplets/12/actions", "{}"),
    ("DELETE", "/v2/droplets/12", ""),
];

/// A role, its grants one a line as they stand under `allow` and `deny`.
#[derive(Clone, Debug)]
struct Role {
    name: String,
    allow: Vec<String>,
    deny: Vec<String>,
}

impl Role {
    fn new(name: &str, allow: &[&str], deny: &[&str]) -> Self {
        let lines = |grants: &[&str]| grants.iter().map(|grant| format!("  - {grant}")).collect();
        Self {
            name: name.to_owned(),
            allow: lines(allow),
            deny: lines(deny),
        }
    }

    /// The same with what was suggested, put below its own grants as it was printed.
    fn extended(&self, number: usize, suggestion: &str) -> Self {
        let more = suggestion
            .strip_prefix("allow:\n")
            .expect("a part of a role");
        let mut role = self.clone();
        role.name = format!("{}-with-{number}", self.name);
        role.allow.extend(more.lines().map(str::to_owned));
        role
    }

    fn yaml(&self) -> String {
        let list = |key: &str, grants: &[String]| {
            let lines: Vec<_> = grants
                .iter()
                .map(|grant| format!("    {grant}\n"))
                .collect();
            let lines = lines.concat();
            if grants.is_empty() {
                lines
            } else {
                format!("    {key}:\n{lines}")
            }
        };
        format!(
            "  {}:\n{}{}",
            self.name,
            list("allow", &self.allow),
            list("deny", &self.deny)
        )
    }
}

/// Roles for all requests, and for each request that the facts know one with the scopes of its endpoint and no more.
fn roles(requests: &[Request]) -> Vec<Role> {
    let mut roles = vec![
        Role::new("wild", &["scopes: ['*']"], &[]),
        Role::new("account", &["scopes: [account:read]"], &[]),
        Role::new(
            "denies",
            &["scopes: ['*']"],
            &[
                "scopes: ['*:delete', '*:create']",
                "requests: ['GET /v2/droplets.*']",
            ],
        ),
        Role::new(
            "acts",
            &["{ scopes: ['droplet:*', tag:read], actions: [power_on] }"],
            &[],
        ),
        Role::new(
            "asks",
            &[
                r"requests: ['GET /v2/droplets\?tag_name=web', 'GET /v2/droplets', 'POST /v2/droplets.*', '.* /v2/x']",
            ],
            &[],
        ),
        Role::new(
            "narrow",
            &["{ scopes: ['droplet:*', regions:read], only: { tag: web } }"],
            &[],
        ),
    ];
    for (number, request) in requests
        .iter()
        .enumerate()
        .filter(|(_, request)| !request.endpoint.is_empty())
    {
        let scopes: Vec<_> = request.endpoint.iter().copied().collect();
        roles.push(Role::new(
            &own_name(number),
            &[&format!("scopes: [{}]", scopes.join(", "))],
            &[],
        ));
    }
    roles
}

fn own_name(request: usize) -> String {
    format!("own-{request}")
}

fn pairs<'p>(requests: &'p [Request], roles: &'p [Role]) -> Vec<(&'p Role, &'p Request)> {
    let mut pairs = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        for role in roles {
            let fits = match role.name.as_str() {
                "wild" | "account" | "denies" => true,
                "acts" | "asks" | "narrow" => request.asks.is_none(),
                own => own == own_name(number),
            };
            if fits {
                pairs.push((role, request));
            }
        }
    }
    pairs
}

/// A sub-token for each role, listed in the policy file by its hash.
#[derive(Clone, Default)]
struct Tokens(BTreeMap<String, String>, String);

impl Tokens {
    fn with(&self, roles: &[Role]) -> Self {
        let mut tokens = self.clone();
        for Role { name, .. } in roles {
            let token = SubToken::generate().unwrap();
            let hash = token.hash().to_hex();
            let id = &token.id;
            let entry = format!(
                "  - {{ name: {name}, id: {id}, hash: 'sha256:{hash}', roles: [{name}] }}\n"
            );
            tokens.1.push_str(&entry);
            tokens
                .0
                .insert(name.clone(), token.secret.expose().to_owned());
        }
        tokens
    }
}

fn policy(roles: &[Role], tokens: &Tokens) -> String {
    let roles: String = roles.iter().map(Role::yaml).collect();
    format!("version: 1\nroles:\n{roles}tokens:\n{}", tokens.1)
}

fn ground(gate: &Gate) -> ExplainGround {
    ExplainGround::read(&gate.files().path("tidegate.yaml")).unwrap()
}

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

/// The scopes in what is suggested.
fn suggests(said: &Value) -> Vec<String> {
    let text = said["suggestion"].as_str().unwrap_or_default();
    let words =
        text.split(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | ':')));
    words
        .filter(|word| word.contains(':'))
        .map(str::to_owned)
        .collect()
}

fn explained(ground: &ExplainGround, gate: &Gate, role: &str, request: &Request) -> Value {
    let mut line = vec![
        "explain",
        &request.method,
        &request.target,
        "--role",
        role,
        "--json",
    ];
    let file = gate.files().path(&request.file);
    let file = file.display().to_string();
    if let Some(body) = &request.body {
        if !gate.files().path(&request.file).exists() {
            gate.files().write(&request.file, body);
        }
        line.extend(["--body", &file]);
    }
    let Line { arguments } = Line::parse_from(line);
    let question = arguments.question().unwrap();
    ground.verdict(&question).unwrap().as_json()
}

/// The daemon's side, and what its record must say in the end.
struct Trial<'g> {
    gate: &'g Gate,
    expected: BTreeMap<String, (String, Value)>,
}

impl<'g> Trial<'g> {
    fn new(gate: &'g Gate) -> Self {
        Self {
            gate,
            expected: BTreeMap::new(),
        }
    }

    /// Asks the daemon, and compares its answer with what was explained.
    async fn ask(&mut self, role: &Role, request: &Request, tokens: &Tokens, said: &Value) {
        let method = request.method.parse().unwrap();
        let mut ask = self
            .gate
            .request(method, &request.target)
            .token(&tokens.0[&role.name])
            .pooled();
        if let Some(body) = &request.body {
            ask = ask
                .header("content-type", "application/json")
                .body(body.clone());
        }
        let answer: Answer = ask.send().await;
        let label = format!("{request} by {}: {said}", role.name);
        let denied = said["decision"] == "deny";
        assert_eq!(
            answer.reason(),
            said["reason"].as_str().filter(|_| denied),
            "{label}"
        );
        assert_eq!(answer.status == 200, !denied, "{label}");
        let needs: Vec<_> = said["needs"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let told: Vec<_> = answer
            .header("tidegate-needs")
            .unwrap_or_default()
            .split([',', ' '])
            .filter(|part| !part.is_empty())
            .collect();
        assert_eq!(told, needs, "{label}");
        if denied && request.method != "HEAD" {
            assert_eq!(
                answer.message(),
                said["detail"].as_str().unwrap(),
                "{label}"
            );
        }
        let id = answer.header("tidegate-request-id").unwrap().to_owned();
        self.expected.insert(id, (label, said.clone()));
    }

    fn check_audit(&mut self) {
        let lines = self.gate.audit();
        for line in lines.iter().filter(|line| line["event"] == "answer") {
            let id = line["request_id"].as_str().unwrap();
            let (label, said) = self.expected.remove(id).expect("a request that was sent");
            assert_eq!(
                (&line["decision"], &line["reason"]),
                (&said["decision"], &said["reason"]),
                "{label}"
            );
        }
        assert!(
            self.expected.len() <= 1,
            "without a record: {:?}",
            self.expected.values()
        );
    }
}
