//! S17: a job or workload proves who it is and gets a sub-token of minutes; nobody else does.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::gate::{GateBuilder, Signal};
use crate::support::issuer::{encoded, now, part};
use crate::support::{Answer, Behaviour, Gate, Issuer, SigningKey, StandInApi};

/// The fields of a form beside those that each has, and what it comes to: status, error, and words of why.
type Asked<'a> = (&'a [(&'a str, &'a str)], u16, &'a str, &'a str);

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

const POLICY: &str = r#"
version: 1
roles:
  deploy:
    vars: [stage]
    allow: [{ scopes: [droplet:read], only: { droplet: { name: "${stage}-*" } } }]
  look: { allow: [{ scopes: [droplet:read] }] }
  both: { allow: [{ scopes: [domain:read] }] }
trust:
  - name: deploy-from-main
    issuer: ci
    claims: { repository_id: "81236", ref: refs/heads/main, environment: production }
    roles: [deploy]
    vars: { stage: "${claims.environment}" }
    ttl: 15m
  - { name: any-branch, issuer: ci, claims: { repository_id: "81236", ref: "refs/heads/*" }, roles: [look, both], ttl: 5m, max_uses: 2 }
  - { name: workload, issuer: ci, claims: { /kubernetes.io/namespace: web, sub: "system:serviceaccount:web:deployer" }, roles: [look] }
  - { name: elsewhere, issuer: ci, claims: { office: "yes" }, roles: [look], sources: [203.0.113.0/24] }
  - { name: stage, issuer: ci, claims: { fill: "yes" }, roles: [deploy], vars: { stage: "${claims.stage}" } }
"#;

fn builder(api: &StandInApi, issuer: &Issuer) -> GateBuilder {
    let issuers = json!({ "ci": { "url": issuer.url, "audience": "tidegate" } });
    Gate::builder(api).policy(POLICY).set("issuers", issuers)
}

async fn gate() -> (StandInApi, Issuer, Gate) {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    let gate = builder(&api, &issuer).start().await;
    (api, issuer, gate)
}

/// What a job of GitHub Actions claims on the main branch, in an environment (with the immutable `sub`).
fn of_github() -> Value {
    json!({
        "sub": "repo:acme@12/web@81236:environment:production", "repository": "acme/web", "repository_id": "81236",
        "repository_owner": "acme", "repository_owner_id": "12", "repository_visibility": "private", "ref": "refs/heads/main",
        "ref_protected": "true", "ref_type": "branch", "sha": "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15", "environment": "production",
        "actor": "alice", "actor_id": "7", "workflow": "deploy", "event_name": "push", "run_id": "9876543210", "run_number": "3",
        "run_attempt": "1", "job_workflow_ref": "acme/web/.github/workflows/deploy.yml@refs/heads/main", "runner_environment": "github-hosted",
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

async fn exchange(gate: &Gate, token: &str) -> Answer {
    asked(
        gate,
        &[
            ("grant_type", GRANT),
            ("subject_token_type", JWT),
            ("subject_token", token),
        ],
    )
    .await
}

async fn asked(gate: &Gate, fields: &[(&str, &str)]) -> Answer {
    let ask = || {
        gate.request(hyper::Method::POST, "/.tidegate/v1/exchange")
            .gives_a_token()
            .form(fields)
    };
    loop {
        let answer = ask().send().await;
        if answer.status != 429 {
            return answer; // what a test asks is seldom about how often
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[track_caller]
fn given(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, error: &str, says: &str) {
    let body = answer.json();
    let told = (
        answer.status.as_u16(),
        body["error"].as_str().unwrap_or_default(),
    );
    assert_eq!(told, (status, error), "{says}: {}", answer.text());
    let description = body["error_description"].as_str().unwrap();
    assert!(
        description.contains(says),
        "{description:?} has no {says:?}"
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

/// S17: a job of GitHub Actions.
#[tokio::test]
async fn s17_a_job_gets_a_token_of_minutes() {
    let (api, issuer, gate) = gate().await;
    let answer = exchange(&gate, &issuer.token(&of_github())).await;
    let token = given(&answer);
    let body = answer.json();
    let told = json!({
        "access_token": token, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer",
        "expires_in": 900, "roles": ["deploy"],
    });
    assert_eq!(body, told);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let whoami = gate
        .get("/.tidegate/v1/whoami")
        .token(&token)
        .send()
        .await
        .json();
    assert_eq!(whoami["name"], "deploy-from-main/9876543210");
    assert_eq!(whoami["roles"], json!(["deploy"]));
    assert!(
        whoami["grants"].to_string().contains("production-*"),
        "{whoami:#}"
    );
    let list = gate.get("/v2/droplets").token(&token).send().await;
    assert_eq!(list.status, 200, "{}", list.text());

    let lines = gate.audit_of(&answer).await;
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["exchange", "answer"]);
    let line = &lines[0];
    assert_eq!(line["issuer"], "ci");
    assert_eq!(line["rule"], "deploy-from-main");
    assert_eq!(line["sub"], "repo:acme@12/web@81236:environment:production");
    let claims =
        json!({ "repository_id": "81236", "ref": "refs/heads/main", "environment": "production" });
    assert_eq!(line["claims"], claims);
    assert_eq!(line["token"]["name"], "deploy-from-main/9876543210");
    assert_eq!(line["path"], "/.tidegate/v1/exchange");

    let listed = gate.cli(&["token", "list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed[0]["trust"], "deploy-from-main");
    // A matrix has one run: its second job's token has a number behind the name.
    let second = given(&exchange(&gate, &issuer.token(&of_github())).await);
    let whoami = gate
        .get("/.tidegate/v1/whoami")
        .token(&second)
        .send()
        .await
        .json();
    assert_eq!(whoami["name"], "deploy-from-main/9876543210-2");
    gate.finish(&api).await;
}

#[tokio::test]
async fn all_of_a_rule_can_be_revoked_at_once() {
    let (api, issuer, gate) = gate().await;
    let of_main = given(&exchange(&gate, &issuer.token(&of_github())).await);
    let of_branch = with(of_github(), "ref", json!("refs/heads/x"));
    let of_branch = given(&exchange(&gate, &issuer.token(&of_branch)).await);
    let revoked = gate
        .cli(&["token", "revoke", "--trust", "deploy-from-main"])
        .await;
    let said = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert!(revoked.status.success(), "{said}");
    assert!(
        said.starts_with("1 living token of the rule `deploy-from-main`"),
        "{said}"
    );
    let began = std::time::Instant::now();
    loop {
        let answer = gate
            .get("/.tidegate/v1/whoami")
            .token(&of_main)
            .send()
            .await;
        if answer.reason() == Some("revoked") {
            break;
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{}",
            answer.text()
        );
    }
    let answer = gate
        .get("/.tidegate/v1/whoami")
        .token(&of_branch)
        .send()
        .await;
    assert_eq!(answer.status, 200);
    gate.finish(&api).await;
}

/// A rule's ceiling holds as long as what it gives, and for nothing that this makes in turn.
#[tokio::test]
async fn a_ceiling_of_a_rule_lasts_as_long_as_the_sub_token() {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    let delegating = POLICY.replacen("  both: {", "  both: { delegate: { ttl: 1h, count: 3 },", 1);
    let rule = "  - { name: learns, issuer: ci, claims: { learn: \"yes\" }, roles: [both], ceiling: look, ttl: 5m }\n";
    let policy = format!("{delegating}{rule}");
    let gate = builder(&api, &issuer).policy(&policy).start().await;
    let token = given(&exchange(&gate, &issuer.token(&json!({ "learn": "yes" }))).await);
    let told = gate.get("/.tidegate/v1/whoami").token(&token).send().await;
    let told = told.json();
    assert_eq!(told["ceiling"], "look");
    assert_eq!(told["report_until"], told["expires_at"]);
    let list = gate.get("/v2/droplets").token(&token).send().await;
    assert_eq!(list.status, 200, "{}", list.text());
    let line = gate.audit_of(&list).await.pop().unwrap();
    let would = (&line["reason"], &line["would"]["reason"]);
    assert_eq!(would, (&json!("look.allow[0]"), &json!("scope")));
    let wish = json!({ "expires_in": 60 });
    let child = gate.post("/.tidegate/v1/tokens", &wish).token(&token);
    let child = child.gives_a_token().send().await;
    assert_eq!(child.status, 201, "{}", child.text());
    let child = child.json()["token"].as_str().unwrap().to_owned();
    for (path, status) in [("/v2/domains", 200), ("/v2/droplets", 403)] {
        let answer = gate.get(path).token(&child).send().await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    gate.finish(&api).await;
}

/// Who has many tokens finds those that are asked for, and a terminal of 80 columns shows one a line.
#[tokio::test]
async fn tokens_are_listed_by_state_owner_role_rule_parent_and_end() {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    let delegating = POLICY.replacen("  look: {", "  look: { delegate: { ttl: 1h, count: 3 },", 1);
    let gate = builder(&api, &issuer).policy(&delegating);
    let gate = gate.env("COLUMNS", "80").start().await;
    let of_branch = with(
        of_github(),
        "ref",
        json!("refs/heads/a-branch-with-a-long-name"),
    );
    given(&exchange(&gate, &issuer.token(&of_branch)).await);
    let long = "somebody-whose-tokens-have-quite-long-names";
    let parent = [
        long,
        "--role",
        "look",
        "--owner",
        "alice",
        "--expires",
        "90d",
    ];
    let parent = gate.issue(&parent).await;
    gate.issue(&[
        "soon",
        "--role",
        "both",
        "--expires",
        "2d",
        "--owner",
        "bob",
    ])
    .await;
    gate.issue(&[
        "later",
        "--role",
        "both",
        "--not-before",
        "2099-01-01T00:00:00Z",
    ])
    .await;
    gate.issue(&["gone", "--role", "both", "--expires", "1d"])
        .await;
    gate.cli(&["token", "revoke", "gone"]).await;
    let wish = json!({ "name": "job", "expires_in": 60 });
    let child = gate
        .post("/.tidegate/v1/tokens", &wish)
        .token(&parent)
        .gives_a_token();
    assert_eq!(child.send().await.status, 201);
    let (exchanged, own) = ("any-branch/9876543210", format!("{long}/job"));
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--state", "active"], &[exchanged, "soon", long, &own]),
        (&["--state", "revoked"], &["gone"]),
        (&["--state", "not_yet_valid"], &["later"]),
        (&["--owner", "alice"], &[long]),
        (&["--role", "look"], &[exchanged, long, &own]),
        (&["--trust", "any-branch"], &[exchanged]),
        (&["--parent", long], &[&own]),
        (&["--expiring", "7d"], &[exchanged, "soon", &own]),
    ];
    for (filter, names) in cases {
        let listed = gate
            .cli(&[&["token", "list", "--json"], filter].concat())
            .await;
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let listed = listed.as_array().unwrap().iter();
        let mut told: Vec<_> = listed
            .map(|token| token["name"].as_str().unwrap())
            .collect();
        told.sort_unstable();
        let mut names = names.to_vec();
        names.sort_unstable();
        assert_eq!(told, names, "{filter:?}");
    }
    let both = [
        "token", "list", "--json", "--role", "both", "--state", "active", "--owner", "bob",
    ];
    let both = String::from_utf8(gate.cli(&both).await.stdout).unwrap();
    assert!(
        both.contains("\"soon\"") && !both.contains(exchanged),
        "all hold: {both}"
    );
    let table = gate.cli(&["token", "list"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 7, "one a line: {table}");
    assert!(
        lines.iter().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    let parent = lines.iter().position(|line| line.starts_with("somebody"));
    assert!(
        lines[parent.unwrap() + 1].starts_with("  somebody"),
        "a tree: {table}"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn the_rule_and_fewer_of_its_roles_can_be_asked_for() {
    let (api, issuer, gate) = gate().await;
    let ask = async |more: &[(&str, &str)]| {
        let token = issuer.token(&of_github());
        let fields = [
            &[
                ("grant_type", GRANT),
                ("subject_token_type", JWT),
                ("subject_token", token.as_str()),
            ],
            more,
        ]
        .concat();
        asked(&gate, &fields).await
    };
    let roles = |answer: &Answer| answer.json()["roles"].clone();
    let any = ask(&[("trust", "any-branch")]).await;
    assert_eq!(roles(&any), json!(["look", "both"]));
    assert_eq!(any.json()["expires_in"], 300);
    assert_eq!(
        roles(&ask(&[("trust", "any-branch"), ("scope", "both")]).await),
        json!(["both"])
    );
    let id_token = (
        "subject_token_type",
        "urn:ietf:params:oauth:token-type:id_token",
    );
    let token = issuer.token(&of_github());
    let answer = asked(
        &gate,
        &[("grant_type", GRANT), id_token, ("subject_token", &token)],
    )
    .await;
    assert_eq!(answer.status, 200);
    let cases: [Asked<'_>; 8] = [
        (
            &[("trust", "any-branch"), ("scope", "both deploy")],
            400,
            "invalid_scope",
            "`scope` names a role",
        ),
        (
            &[("scope", "look")],
            400,
            "invalid_scope",
            "`scope` names a role",
        ), // of the rule that comes first
        (
            &[("trust", "none")],
            400,
            "invalid_target",
            "no rule `none`",
        ),
        (
            &[("trust", "workload")],
            401,
            "invalid_grant",
            "`/kubernetes.io/namespace`",
        ),
        (
            &[("audience", "x")],
            400,
            "invalid_target",
            "leave `audience`",
        ),
        (
            &[("actor_token", "x")],
            400,
            "invalid_request",
            "`actor_token`",
        ),
        (
            &[("requested_token_type", "x")],
            400,
            "invalid_request",
            "`requested_token_type`",
        ),
        (
            &[("scope", "look"), ("scope", "both")],
            400,
            "invalid_request",
            "a field twice",
        ),
    ];
    for (more, status, error, says) in cases {
        assert_refused(&ask(more).await, status, error, says);
    }
    let forms: [(&[(&str, &str)], &str); 4] = [
        (
            &[("subject_token", "x"), ("subject_token_type", JWT)],
            "`grant_type`",
        ),
        (
            &[("grant_type", GRANT), ("subject_token", "x")],
            "`subject_token_type`",
        ),
        (
            &[("grant_type", GRANT), ("subject_token_type", JWT)],
            "`subject_token` is missing",
        ),
        (
            &[
                ("grant_type", "client_credentials"),
                ("subject_token_type", JWT),
            ],
            "`grant_type`",
        ),
    ];
    for (fields, says) in forms {
        assert_refused(&asked(&gate, fields).await, 400, "invalid_request", says);
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_is_no_form_is_no_exchange() {
    let (api, _issuer, gate) = gate().await;
    let url = "/.tidegate/v1/exchange";
    let post = |target: &str| gate.request(hyper::Method::POST, target);
    let form = [("grant_type", GRANT)];
    assert_refused(
        &post(url).body("grant_type=x").send().await,
        400,
        "invalid_request",
        "content-type",
    );
    let encoded = post(url)
        .form(&form)
        .header("content-encoding", "gzip")
        .send()
        .await;
    assert_refused(&encoded, 400, "invalid_request", "content-type");
    let query = post(&format!("{url}?subject_token=x"))
        .form(&form)
        .send()
        .await;
    assert_refused(&query, 400, "invalid_request", "in the body");
    let large = post(url)
        .form(&[("subject_token", &"x".repeat(40_000))])
        .send()
        .await;
    assert_refused(&large, 413, "invalid_request", "larger than");
    for (method, target) in [
        ("GET", url),
        ("PUT", url),
        ("POST", "/.tidegate/v1/exchange/x"),
        ("POST", "/.tidegate/v1"),
    ] {
        let answer = gate
            .request(method.parse().unwrap(), target)
            .form(&form)
            .send()
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (401, Some("no_token")),
            "{method} {target}"
        );
    }
    gate.finish(&api).await;
}

/// Each attack on a token is refused, says why without what would do, and gives nothing.
#[tokio::test]
async fn a_forged_or_foreign_identity_is_not_trusted() {
    let (api, issuer, gate) = gate().await;
    let good = |more: &Value| {
        let mut claims = of_github();
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        issuer.claims(&claims)
    };
    let claims = good(&json!({}));
    let other = SigningKey::new("key-1", "ES256");
    let attacker = Issuer::start().await;
    let head = |more: &Value| {
        let mut head = json!({ "alg": "RS256", "kid": "key-1", "typ": "JWT" });
        for (name, value) in more.as_object().unwrap() {
            head[name] = value.clone();
        }
        head
    };
    let own = SigningKey::new("key-1", "RS256");
    let signed = |more: &Value| own.token("RS256", &head(more), &good(&json!({})));
    let es256 = |more: &Value| other.token("ES256", &head(more), &good(&json!({})));
    let unsigned = |head: &Value| format!("{}.{}.", part(head), part(&claims));
    let public = issuer.public_keys()["keys"][0].clone();
    let hmac = |secret: &[u8], head: &Value| {
        let message = format!("{}.{}", part(head), part(&claims));
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
        let tag = ring::hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", encoded(tag.as_ref()))
    };
    let hs256 = head(&json!({ "alg": "HS256" }));
    let cut = |text: String| text[..text.len() - 2].to_owned();
    let swapped = {
        let (ours, theirs) = (
            issuer.sign("RS256", &good(&json!({ "ref": "refs/tags/x" }))),
            issuer.sign("RS256", &claims),
        );
        let (_, signature) = ours.rsplit_once('.').unwrap();
        format!("{}.{signature}", theirs.rsplit_once('.').unwrap().0)
    };
    let raw = |payload: &str| {
        let message = format!(
            "{}.{}",
            part(&head(&json!({}))),
            encoded(payload.as_bytes())
        );
        let token = own.token("RS256", &head(&json!({})), &json!({}));
        let (_, signature) = token.rsplit_once('.').unwrap();
        format!("{message}.{signature}")
    };
    let cases = [
        (
            "no signature",
            unsigned(&head(&json!({ "alg": "none" }))),
            "three parts",
        ),
        (
            "alg none",
            format!("{}x", unsigned(&head(&json!({ "alg": "none" })))),
            "`alg`",
        ),
        (
            "alg nOnE",
            format!("{}e30", unsigned(&head(&json!({ "alg": "nOnE" })))),
            "`alg`",
        ),
        (
            "HS256 by the public key",
            hmac(public.to_string().as_bytes(), &hs256),
            "`alg`",
        ),
        (
            "HS256 by its modulus",
            hmac(public["n"].as_str().unwrap().as_bytes(), &hs256),
            "`alg`",
        ),
        (
            "a signature cut short",
            cut(issuer.sign("RS256", &claims)),
            "signature is not",
        ),
        ("another token's signature", swapped, "signature is not"),
        (
            "RS256's signature as PS256's",
            own.token(
                "RS256",
                &head(&json!({ "alg": "PS256" })),
                &good(&json!({})),
            ),
            "signature is not",
        ),
        (
            "another key under the same id",
            es256(&json!({ "alg": "ES256" })),
            "no key of its `kid`",
        ),
        (
            "ES256 said to be RS256",
            es256(&json!({})),
            "signature is not",
        ),
        (
            "a key of the attacker's in the header",
            es256(&json!({ "alg": "ES256", "jwk": other.public() })),
            "no key of its `kid`",
        ),
        (
            "kid as a path",
            signed(&json!({ "kid": "../../../../dev/null" })),
            "no key of its `kid`",
        ),
        (
            "kid as an address",
            signed(&json!({ "kid": attacker.url })),
            "no key of its `kid`",
        ),
        (
            "jku to the attacker",
            es256(
                &json!({ "alg": "ES256", "kid": "key-9", "jku": format!("{}/keys", attacker.url) }),
            ),
            "no key of its `kid`",
        ),
        (
            "x5u to the attacker",
            es256(
                &json!({ "alg": "ES256", "kid": "key-9", "x5u": format!("{}/keys", attacker.url) }),
            ),
            "no key of its `kid`",
        ),
        ("no kid", signed(&json!({ "kid": null })), "no `kid`"),
        ("crit", signed(&json!({ "crit": ["exp"] })), "`crit`"),
        ("another issuer", attacker.token(&of_github()), "its `iss`"),
        (
            "iss with a slash",
            issuer.sign(
                "RS256",
                &good(&json!({ "iss": format!("{}/", issuer.url) })),
            ),
            "its `iss`",
        ),
        (
            "iss in capitals",
            issuer.sign("RS256", &good(&json!({ "iss": issuer.url.to_uppercase() }))),
            "its `iss`",
        ),
        (
            "iss with more behind",
            issuer.sign(
                "RS256",
                &good(&json!({ "iss": format!("{}.evil.example", issuer.url) })),
            ),
            "its `iss`",
        ),
        (
            "iss as a list",
            issuer.sign("RS256", &good(&json!({ "iss": [issuer.url] }))),
            "its `iss`",
        ),
        (
            "no iss",
            issuer.sign("RS256", &good(&json!({ "iss": null }))),
            "its `iss`",
        ),
        (
            "another audience",
            issuer.sign("RS256", &good(&json!({ "aud": "https://github.com/acme" }))),
            "its `aud`",
        ),
        (
            "an audience that begins alike",
            issuer.sign("RS256", &good(&json!({ "aud": "tidegate.example" }))),
            "its `aud`",
        ),
        (
            "no audience",
            issuer.sign("RS256", &good(&json!({ "aud": null }))),
            "its `aud`",
        ),
        (
            "ended",
            issuer.sign("RS256", &good(&json!({ "exp": now() - 61 }))),
            "its `exp`",
        ),
        (
            "without an end",
            issuer.token(&with(of_github(), "exp", Value::Null)),
            "its `exp`",
        ),
        (
            "an end as a text",
            issuer.sign("RS256", &good(&json!({ "exp": "9999999999" }))),
            "its `exp`",
        ),
        (
            "issued long ago",
            issuer.sign("RS256", &good(&json!({ "iat": now() - 3700 }))),
            "its `iat`",
        ),
        (
            "issued in the future",
            issuer.sign("RS256", &good(&json!({ "iat": now() + 120 }))),
            "its `iat`",
        ),
        (
            "not yet",
            issuer.sign("RS256", &good(&json!({ "nbf": now() + 120 }))),
            "its `nbf`",
        ),
        (
            "a claim twice",
            raw(&format!(
                "{{\"iss\":\"{}\",\"iss\":\"{}\"}}",
                issuer.url, issuer.url
            )),
            "each key once",
        ),
        ("no JSON", raw("iss"), "each key once"),
        (
            "a huge one",
            issuer.sign("RS256", &good(&json!({ "x": "y".repeat(17_000) }))),
            "longer than",
        ),
        (
            "another repository",
            issuer.sign("RS256", &good(&json!({ "repository_id": "812367" }))),
            "`repository_id`",
        ),
        (
            "a tag",
            issuer.sign("RS256", &good(&json!({ "ref": "refs/tags/main" }))),
            "`ref`",
        ),
        (
            "a real token",
            "dop_v1_0000000000000000000000000000000000000000000000000000000000000000".to_owned(),
            "three parts",
        ),
        ("nothing", "..".to_owned(), "three parts"),
    ];
    for (what, token, says) in &cases {
        let answer = exchange(&gate, token).await;
        assert_refused(&answer, 401, "invalid_grant", says);
        assert_eq!(answer.reason(), Some("not_trusted"), "{what}");
        let text = answer.text();
        for secret in ["81236\"", "refs/heads/main", "production"] {
            assert!(
                !text.contains(secret),
                "{what}: what would do is told: {text}"
            );
        }
    }
    assert_eq!(attacker.asked(), 0, "nobody asks where a token says");
    let listed = gate.cli(&["token", "list", "--json"]).await;
    assert_eq!(
        serde_json::from_slice::<Value>(&listed.stdout).unwrap(),
        json!([])
    );
    let judged = |lines: &[Value]| {
        let judged = lines.iter().filter(|line| line["reason"] != "rate_limited");
        judged.cloned().collect::<Vec<_>>()
    };
    let lines = gate
        .audit_until(|lines| judged(lines).len() >= cases.len())
        .await;
    let refused = |line: &Value| line["event"] == "answer" && line["reason"] == "not_trusted";
    assert!(judged(&lines).iter().all(refused), "{lines:#?}");
    gate.finish(&api).await;
}

/// What a header says of a key (RFC 7515 §4.1) is written by whoever made the token: a signature counts by the issuer's own key of
/// that `kid`, and no `kid` is looked for anywhere else.
#[tokio::test]
async fn a_key_that_a_header_brings_along_is_not_heard() {
    let (api, issuer, attacker) = (
        StandInApi::start().await,
        Issuer::start().await,
        Issuer::start().await,
    );
    issuer.rotate(SigningKey::new("key-1", "ES256"));
    let own = SigningKey::new("key-1", "ES256");
    let by_address = json!({ "url": issuer.url, "audience": "tidegate" });
    let by_file = json!({ "url": issuer.url, "audience": "tidegate", "jwks": "keys.json" });
    for settings in [by_address, by_file] {
        let gate = builder(&api, &issuer)
            .set("issuers", json!({ "ci": settings }))
            .file("keys.json", &issuer.public_keys().to_string())
            .file(
                "theirs.json",
                &json!({ "keys": [own.public()] }).to_string(),
            )
            .start()
            .await;
        given(&exchange(&gate, &issuer.sign("ES256", &issuer.claims(&of_github()))).await);
        let keys = format!("{}/keys", attacker.url);
        let file = gate.files().path("theirs.json");
        let file = file.to_str().unwrap();
        let (wrong, unknown) = ("signature is not", "no key of its `kid`");
        let cases = [
            (json!({ "jwk": own.public() }), wrong),
            (json!({ "jwk": own.public(), "kid": null }), "no `kid`"),
            (json!({ "jwk": own.public(), "kid": "key-9" }), unknown),
            (json!({ "x5c": [encoded(b"a certificate")] }), wrong),
            (json!({ "jku": keys }), wrong),
            (json!({ "x5u": keys }), wrong),
            (json!({ "jku": keys, "kid": "key-9" }), unknown),
            (json!({ "kid": keys }), unknown),
            (json!({ "kid": file }), unknown),
            (json!({ "kid": format!("file://{file}") }), unknown),
            (json!({ "kid": "key-1\u{0}" }), unknown),
            (json!({ "kid": "KEY-1" }), unknown),
        ];
        for (more, says) in cases {
            let header = json!({ "alg": "ES256", "typ": "JWT", "kid": "key-1" });
            let mut header = header.as_object().unwrap().clone();
            header.extend(more.as_object().unwrap().clone());
            let token = own.token("ES256", &header.into(), &issuer.claims(&of_github()));
            assert_refused(&exchange(&gate, &token).await, 401, "invalid_grant", says);
        }
        gate.finish(&api).await;
    }
    assert_eq!(attacker.asked(), 0, "nobody asks where a token says");
}

#[tokio::test]
async fn each_algorithm_is_taken_by_a_key_of_its_own() {
    let (api, issuer, gate) = gate().await;
    for (algorithm, kid) in [
        ("RS256", "key-1"),
        ("PS256", "key-1"),
        ("ES256", "key-2"),
        ("EdDSA", "key-3"),
    ] {
        if kid != "key-1" {
            issuer.rotate(SigningKey::new(kid, algorithm));
        }
        // An unknown key makes tidegate ask anew, but not again within half a minute: the daemon is another then.
        let gate = builder(&api, &issuer).start().await;
        let token = issuer.sign(algorithm, &issuer.claims(&of_github()));
        given(&exchange(&gate, &token).await);
        gate.finish(&api).await;
    }
    gate.finish(&api).await;
}

/// What strangers present takes no time of the threads that serve requests.
#[tokio::test]
async fn signatures_are_checked_by_a_thread_of_their_own() {
    let (api, issuer, gate) = gate().await;
    let checking = || {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", gate.pid())).unwrap();
        let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
        let names = tasks.filter_map(|task| name(task.unwrap()).ok());
        names.filter(|name| name == "signatures\n").count()
    };
    assert_eq!(checking(), 0, "nobody has presented any");
    let all = (0..5).map(|_| issuer.token(&of_github()));
    let all = all.collect::<Vec<_>>();
    let asked = futures_util::future::join_all(all.iter().map(|token| exchange(&gate, token)));
    asked.await.iter().for_each(|answer| drop(given(answer)));
    assert_eq!(checking(), 1, "one, however many come at once");
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_identity_is_taken_once_also_after_a_restart() {
    let (api, issuer, mut gate) = gate().await;
    let token = issuer.token(&of_github());
    given(&exchange(&gate, &token).await);
    assert_refused(
        &exchange(&gate, &token).await,
        401,
        "invalid_grant",
        "exchanged before",
    );
    gate.signal(Signal::Kill);
    gate.wait_exit().await;
    gate.start_again().await;
    assert_refused(
        &exchange(&gate, &token).await,
        401,
        "invalid_grant",
        "exchanged before",
    );
    // One without `jti` is told by what was signed.
    let without = issuer.token(&with(of_github(), "jti", Value::Null));
    given(&exchange(&gate, &without).await);
    assert_refused(
        &exchange(&gate, &without).await,
        401,
        "invalid_grant",
        "exchanged before",
    );
    // Of many at once one gets it.
    let token = issuer.token(&of_github());
    let all = futures_util::future::join_all((0..8).map(|_| exchange(&gate, &token))).await;
    let given = all.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(given, 1);
    gate.finish(&api).await;
}

/// Kubernetes hands a workload the same token until it is renewed.
#[tokio::test]
async fn a_token_that_stays_the_same_gives_another_and_ends_the_one_before() {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    let settings =
        json!({ "url": issuer.url, "audience": "tidegate", "once": false, "kind": "kubernetes" });
    let gate = builder(&api, &issuer)
        .set("issuers", json!({ "ci": settings }))
        .start()
        .await;
    let claims = json!({
        "sub": "system:serviceaccount:web:deployer", "aud": ["tidegate"],
        "kubernetes.io": { "namespace": "web", "node": { "name": "n-1" }, "pod": { "name": "deployer-x", "uid": "6b8d7d3a-0000-4000-8000-000000000000" },
                           "serviceaccount": { "name": "deployer", "uid": "0c7d7d3a-0000-4000-8000-000000000000" }, "warnafter": 1 },
    });
    let identity = issuer.token(&claims);
    let first = given(&exchange(&gate, &identity).await);
    let second = given(&exchange(&gate, &identity).await);
    let whoami = async |token: &str| gate.get("/.tidegate/v1/whoami").token(token).send().await;
    assert_eq!(whoami(&second).await.status, 200);
    let began = std::time::Instant::now();
    while whoami(&first).await.reason() != Some("revoked") {
        assert!(began.elapsed() < Duration::from_secs(1));
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn keys_that_rotate_are_asked_for_and_an_issuer_that_is_away_is_served_by_the_last() {
    let (api, issuer, gate) = gate().await;
    given(&exchange(&gate, &issuer.token(&of_github())).await);
    let asked = issuer.asked();
    assert_eq!(asked, 2, "its metadata and its keys");
    given(&exchange(&gate, &issuer.token(&of_github())).await);
    assert_eq!(issuer.asked(), asked, "keys are kept");
    issuer.rotate(SigningKey::new("key-2", "ES256"));
    let rotated = || issuer.sign("ES256", &issuer.claims(&of_github()));
    given(&exchange(&gate, &rotated()).await);
    assert_eq!(issuer.asked(), asked + 2, "an unknown key asks anew");
    // What comes with keys that nobody has does not make it ask again and again.
    for number in 0..5 {
        let key = SigningKey::new(&format!("key-x{number}"), "ES256");
        let header = json!({ "alg": "ES256", "kid": key.id });
        let token = key.token("ES256", &header, &issuer.claims(&of_github()));
        assert_refused(
            &exchange(&gate, &token).await,
            401,
            "invalid_grant",
            "no key of its `kid`",
        );
    }
    assert_eq!(issuer.asked(), asked + 2);
    issuer.behave(Behaviour::Status(503));
    given(&exchange(&gate, &rotated()).await);
    // A reload keeps what is known of the keys.
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    given(&exchange(&gate, &rotated()).await);
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_issuer_that_cannot_be_asked_is_told_so_and_comes_back_by_itself() {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    let other = Issuer::start().await;
    let faults = [
        Behaviour::Status(500),
        Behaviour::Redirect(format!("{}/keys", other.url)),
        Behaviour::Redirect("/.well-known/openid-configuration".to_owned()),
        Behaviour::Posing(other.url.clone()),
        Behaviour::KeysAt("http://192.0.2.1/keys".to_owned()),
        Behaviour::KeysAt("file:///dev/null".to_owned()),
    ];
    let gate = builder(&api, &issuer).start().await;
    for fault in faults {
        issuer.behave(fault.clone());
        let mut answer = exchange(&gate, &issuer.token(&of_github())).await;
        assert_refused(&answer, 503, "temporarily_unavailable", "can't be asked");
        assert!(answer.header("retry-after").is_some(), "{fault:?}");
        tokio::time::sleep(Duration::from_millis(1100)).await; // it is asked once a second
        answer = exchange(&gate, &issuer.token(&of_github())).await;
        assert_refused(&answer, 503, "temporarily_unavailable", "can't be asked");
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert_eq!(other.asked(), 0, "no redirect leads to another host");
    issuer.behave(Behaviour::Well);
    given(&exchange(&gate, &issuer.token(&of_github())).await);
    gate.finish(&api).await;
}

#[tokio::test]
async fn keys_may_be_in_a_file() {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    let settings = json!({ "url": issuer.url, "audience": "tidegate", "jwks": "keys.json" });
    let gate = builder(&api, &issuer)
        .set("issuers", json!({ "ci": settings }))
        .file("keys.json", &issuer.public_keys().to_string())
        .start()
        .await;
    given(&exchange(&gate, &issuer.token(&of_github())).await);
    issuer.rotate(SigningKey::new("key-2", "EdDSA"));
    let token = || issuer.sign("EdDSA", &issuer.claims(&of_github()));
    assert_refused(
        &exchange(&gate, &token()).await,
        401,
        "invalid_grant",
        "no key of its `kid`",
    );
    gate.files()
        .write("keys.json", &issuer.public_keys().to_string());
    gate.log_until("reloaded").await;
    given(&exchange(&gate, &token()).await);
    assert_eq!(issuer.asked(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_rule_binds_the_exchange_and_what_it_gives() {
    let (api, issuer, gate) = gate().await;
    let elsewhere = exchange(&gate, &issuer.token(&json!({ "office": true, "sub": "x" }))).await;
    assert_refused(&elsewhere, 401, "invalid_grant", "its claim `"); // `true` is not `yes`
    let elsewhere = exchange(&gate, &issuer.token(&json!({ "office": "yes" }))).await;
    assert_refused(
        &elsewhere,
        401,
        "invalid_grant",
        "may not be exchanged from 127.0.0.1",
    );
    let of_branch = with(of_github(), "ref", json!("refs/heads/x"));
    let token = given(&exchange(&gate, &issuer.token(&of_branch)).await);
    for status in [200, 200, 401] {
        let answer = gate.get("/v2/droplets").token(&token).send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
    // What a claim fills in stands for itself.
    for (stage, covers) in [
        ("*", "*-*"),
        ("${stage}", "${stage}-*"),
        ("a/b", "a/b-*"),
        ("/.*/", "/.*/-*"),
    ] {
        let token = given(
            &exchange(
                &gate,
                &issuer.token(&json!({ "fill": "yes", "stage": stage })),
            )
            .await,
        );
        let list = gate.get("/v2/droplets").token(&token).send().await;
        assert_eq!(
            list.names("droplets"),
            Vec::<String>::new(),
            "{stage} {covers}"
        );
    }
    for stage in [json!(""), Value::Null, json!(["x"])] {
        let answer = exchange(
            &gate,
            &issuer.token(&json!({ "fill": "yes", "stage": stage })),
        )
        .await;
        assert_refused(
            &answer,
            401,
            "invalid_grant",
            "`stage` is missing, empty or no text",
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_flood_of_one_address_is_cut_before_a_signature_is_checked() {
    let (api, issuer, gate) = gate().await;
    let token = issuer.token(&of_github());
    let fields = [
        ("grant_type", GRANT),
        ("subject_token_type", JWT),
        ("subject_token", token.as_str()),
    ];
    let ask = || {
        gate.request(hyper::Method::POST, "/.tidegate/v1/exchange")
            .gives_a_token()
            .form(&fields)
            .send()
    };
    let all = futures_util::future::join_all((0..40).map(|_| ask())).await;
    let cut: Vec<_> = all.iter().filter(|answer| answer.status == 429).collect();
    assert!(cut.len() >= 15, "{} of 40 were cut", cut.len());
    assert_eq!(cut[0].reason(), Some("rate_limited"));
    assert_eq!(cut[0].header("retry-after"), Some("1"));
    assert_refused(cut[0], 429, "temporarily_unavailable", "ten a second");
    // Of forged ones too: what is cut names no issuer in the record, as nothing of it was read, let alone checked.
    let forged = SigningKey::new("key-1", "ES256").token(
        "RS256",
        &json!({ "alg": "RS256", "kid": "key-1", "typ": "JWT" }),
        &issuer.claims(&of_github()),
    );
    let began = std::time::Instant::now();
    let fields = [
        ("grant_type", GRANT),
        ("subject_token_type", JWT),
        ("subject_token", forged.as_str()),
    ];
    let ask = || {
        gate.request(hyper::Method::POST, "/.tidegate/v1/exchange")
            .form(&fields)
            .send()
    };
    let more = futures_util::future::join_all((0..200).map(|_| ask())).await;
    let may = 51 + 10 * usize::try_from(began.elapsed().as_secs() + 1).unwrap();
    let count = |status| {
        let all = all.iter().chain(&more);
        all.filter(|answer| answer.status == status).count()
    };
    let (refused, cut) = (count(401), count(429));
    let of = |lines: &[Value], reason: &str, is_read: bool| {
        let of_it = |line: &&Value| line["reason"] == reason;
        let read = |line: &&Value| !is_read || line["issuer"].is_string();
        lines.iter().filter(of_it).filter(read).count()
    };
    let judged = |lines: &[Value]| {
        of(lines, "not_trusted", false) + of(lines, "rate_limited", false) >= refused + cut
    };
    let lines = gate.audit_until(judged).await;
    assert_eq!(of(&lines, "not_trusted", true), refused);
    assert_eq!(
        of(&lines, "rate_limited", true),
        0,
        "nothing of it was read"
    );
    assert!(
        refused <= may && may < 200,
        "{refused} of 240 were read, {may} may be"
    );
    gate.finish(&api).await;
}
