//! Report mode: a token under a ceiling goes on where its roles would refuse, and the record says what they would have said.

use std::time::Duration;

use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::admin::ask;
use crate::support::gate::Signal;
use crate::support::{Answer, Fault, Gate, Reply, StandInApi, World};

const POLICY: &str = "
version: 1
roles:
  narrow:
    allow:
      - scopes: [droplet:read, droplet:update]
        only: { droplet: { tag: client-a } }
        actions: [reboot]
  bare:
    allow: [{ scopes: [regions:read] }]
  broad:
    allow:
      - scopes: ['*']
      - requests: ['GET /v2/brand_new']
  guarded:
    allow: [{ scopes: ['*'] }]
    deny:
      - scopes: [droplet:delete]
        only: { droplet: { name: '*-keep' } }
  part:
    allow:
      - scopes: [image:read]
      - scopes: ['droplet:*', 'tag:*']
        only: { tag: client-b }
";

fn world() -> World {
    World::empty()
        .with_droplet(12, "a-web", &["client-a"])
        .with_droplet(22, "b-web", &["client-b"])
        .with_droplet(23, "b-keep", &["client-b"])
}

const NONE: Value = Value::Null;

struct Reporting {
    api: StandInApi,
    gate: Gate,
    token: String,
}

impl Reporting {
    async fn with(role: &str, ceiling: &str) -> Self {
        let api = StandInApi::start_with(world()).await;
        let gate = Gate::start(&api, POLICY).await;
        let options = ["t", "--role", role, "--ceiling", ceiling, "--until", "3d"];
        let token = gate.issue(&options).await;
        Self { api, gate, token }
    }

    async fn ask(&self, request: &str, body: &Value) -> (Answer, Vec<Value>) {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut ask = self.gate.request(method, path).token(&self.token);
        if !body.is_null() {
            ask = ask.json(body);
        }
        let answer = ask.send().await;
        let lines = self.gate.audit_of(&answer).await;
        (answer, lines)
    }

    /// Each request, its body, what becomes of it (`ok` or a code), the reason on record, and what the roles would have said.
    async fn holds(&self, rows: &[(&str, Value, &str, &str, &str)]) {
        for (request, body, becomes, reason, would) in rows {
            let (answer, lines) = self.ask(request, body).await;
            let said = answer.reason().unwrap_or("ok");
            assert_eq!(said, *becomes, "{request}: {}", answer.text());
            let line = lines.last().unwrap();
            let decision = if *becomes == "ok" { "allow" } else { "deny" };
            assert_eq!(line["decision"], decision, "{request}: {line}");
            assert_eq!(line["reason"], *reason, "{request}: {line}");
            for line in &lines {
                let told = line["would"]["reason"].as_str().unwrap_or("nothing");
                assert_eq!(told, *would, "{request}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_roles_would_refuse_goes_and_is_reported() {
    let story = Reporting::with("narrow", "broad").await;
    let create = |more: Value| {
        let mut body = json!({ "name": "n", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" });
        let members = body.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        body
    };
    let action = |kind: &str| json!({ "type": kind });
    let rows = [
        // The roles allow it: theirs is the reason, and nothing is reported.
        (
            "GET /v2/droplets/12",
            NONE,
            "ok",
            "narrow.allow[0]",
            "nothing",
        ),
        (
            "POST /v2/droplets/12/actions",
            action("reboot"),
            "ok",
            "narrow.allow[0]",
            "nothing",
        ),
        // A list is cut to what all grants show, and was never refused.
        ("GET /v2/droplets", NONE, "ok", "narrow.allow[0]", "nothing"),
        // What only the answer tells.
        (
            "GET /v2/droplets/22",
            NONE,
            "ok",
            "broad.allow[0]",
            "resource_hidden",
        ),
        ("GET /v2/images", NONE, "ok", "broad.allow[0]", "scope"),
        (
            "POST /v2/droplets/22/actions",
            action("reboot"),
            "ok",
            "broad.allow[0]",
            "resource_hidden",
        ),
        (
            "POST /v2/droplets/12/actions",
            action("power_on"),
            "ok",
            "broad.allow[0]",
            "action",
        ),
        (
            "PUT /v2/projects/default",
            json!({ "name": "x" }),
            "ok",
            "broad.allow[0]",
            "scope",
        ),
        (
            "GET /v2/brand_new",
            NONE,
            "ok",
            "broad.allow[1]",
            "unknown_endpoint",
        ),
        (
            "GET /v2/nothing_like_it",
            NONE,
            "unknown_endpoint",
            "unknown_endpoint",
            "nothing",
        ),
        (
            "GET /v2/droplets/012",
            NONE,
            "ambiguous_request",
            "ambiguous_request",
            "nothing",
        ),
        // A wildcard of the ceiling does not cover what logs in somewhere.
        (
            "GET /v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig",
            NONE,
            "scope",
            "scope",
            "nothing",
        ),
        (
            "DELETE /v2/droplets/12",
            NONE,
            "ok",
            "broad.allow[0]",
            "scope",
        ),
    ];
    story.api.fault_on(
        Method::GET,
        "/v2/brand_new",
        Fault::reply_with(|_| Reply::json(200, &json!({ "new": true }))),
    );
    story.api.fault_on(
        Method::PUT,
        "/v2/projects/default",
        Fault::reply_with(|_| Reply::json(200, &json!({ "project": {} }))),
    );
    story.holds(&rows).await;
    // The roles alone would send only what is known; the ceiling is not narrowed.
    let strange = create(json!({ "surprise": 1 }));
    let (answer, lines) = story.ask("POST /v2/droplets", &strange).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(lines[0]["would"]["reason"], "scope");
    assert_eq!(story.api.writes().last().unwrap().json()["surprise"], 1);
    let (_, lines) = story.ask("GET /v2/images", &NONE).await;
    assert_eq!(
        lines[0]["would"],
        json!({ "reason": "scope", "detail": "this sub-token lacks the scope image:read for GET /v2/images; ask for a role that grants it", "needs": ["image:read"] })
    );
    story.gate.finish(&story.api).await;
}

#[tokio::test]
async fn a_deny_of_the_ceiling_or_of_the_roles_holds() {
    let story = Reporting::with("narrow", "guarded").await;
    let denied = [
        (
            "DELETE /v2/droplets/23",
            NONE,
            "denied",
            "denied",
            "nothing",
        ),
        (
            "DELETE /v2/droplets/22",
            NONE,
            "ok",
            "guarded.allow[0]",
            "scope",
        ),
    ];
    story.holds(&denied).await;
    story.gate.finish(&story.api).await;
    let story = Reporting::with("guarded", "broad").await;
    story
        .holds(&[(
            "DELETE /v2/droplets/23",
            NONE,
            "denied",
            "denied",
            "nothing",
        )])
        .await;
    story.gate.finish(&story.api).await;
}

#[tokio::test]
async fn a_request_needs_all_that_it_touches_from_the_two_together() {
    let story = Reporting::with("narrow", "part").await;
    let rows = [
        (
            "GET /v2/droplets/12",
            NONE,
            "ok",
            "narrow.allow[0]",
            "nothing",
        ),
        (
            "GET /v2/droplets/22",
            NONE,
            "ok",
            "part.allow[1]",
            "resource_hidden",
        ),
        (
            "DELETE /v2/droplets/22",
            NONE,
            "ok",
            "part.allow[1]",
            "scope",
        ),
        (
            "DELETE /v2/droplets/12",
            NONE,
            "resource",
            "resource",
            "nothing",
        ),
        ("GET /v2/volumes", NONE, "scope", "scope", "nothing"),
        (
            "GET /v2/droplets/999",
            NONE,
            "resource_hidden",
            "resource_hidden",
            "nothing",
        ),
    ];
    let (list, _) = story.ask("GET /v2/droplets", &NONE).await;
    assert_eq!(list.names("droplets"), ["a-web", "b-web", "b-keep"]);
    story.holds(&rows).await;
    story.gate.finish(&story.api).await;
}

#[tokio::test]
async fn what_a_token_is_under_is_told_by_whoami_and_by_each_command() {
    let api = StandInApi::start_with(world()).await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("admin", json!({ "address": "127.0.0.1:0" }))
        .start()
        .await;
    let options = [
        "t",
        "--role",
        "narrow",
        "--ceiling",
        "broad",
        "--until",
        "6s",
    ];
    let token = gate.issue(&options).await;
    let whoami = gate
        .get("/.tidegate/v1/whoami")
        .token(&token)
        .send()
        .await
        .json();
    assert_eq!(whoami["ceiling"], "broad");
    let until: Timestamp = whoami["report_until"].as_str().unwrap().parse().unwrap();
    let listed =
        |output: std::process::Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let shown = listed(gate.cli(&["token", "show", "t", "--json"]).await);
    assert_eq!(
        (&shown["ceiling"], &shown["report_until"]),
        (&json!("broad"), &whoami["report_until"])
    );
    let list = gate.cli(&["token", "list"]).await;
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("narrow (ceiling broad until "), "{list}");
    let check = gate.cli(&["check"]).await;
    let check = String::from_utf8(check.stderr).unwrap();
    let warned = format!("may do all that `broad` grants until {until:.0}");
    assert!(check.contains(&warned), "{check}");
    let explained = listed(
        gate.cli(&["explain", "GET", "/v2/images", "--token", "t", "--json"])
            .await,
    );
    assert_eq!(
        (
            &explained["decision"],
            &explained["reason"],
            &explained["would"]["reason"]
        ),
        (&json!("allow"), &json!("broad.allow[0]"), &json!("scope"))
    );
    let two = gate.get("/v2/droplets").token(&token).send().await;
    assert_eq!(two.names("droplets").len(), 3);
    let seen = gate.get("/v2/images").token(&token).send().await;
    assert_eq!(seen.status, 200);
    let metrics = ask(&gate, Method::GET, "/metrics").await.text();
    assert!(
        metrics
            .contains("tidegate_would_refuse_total{endpoint=\"images_list\",reason=\"scope\"} 1"),
        "{metrics}"
    );

    gate.finish(&api).await;
}

#[tokio::test]
async fn when_a_ceiling_ends_the_roles_alone_decide_at_once() {
    let api = StandInApi::start_with(world()).await;
    let gate = Gate::start(&api, POLICY).await;
    let options = [
        "t",
        "--role",
        "narrow",
        "--ceiling",
        "broad",
        "--until",
        "4s",
    ];
    let token = gate.issue(&options).await;
    let whoami = async || {
        gate.get("/.tidegate/v1/whoami")
            .token(&token)
            .send()
            .await
            .json()
    };
    let until: Timestamp = whoami().await["report_until"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let list = gate.get("/v2/droplets").token(&token).send().await;
    assert_eq!(list.names("droplets").len(), 3);
    let seen = gate.get("/v2/images").token(&token).send().await;
    assert_eq!(seen.status, 200);
    let left = until.duration_since(Timestamp::now());
    sleep(Duration::try_from(left).unwrap_or_default()).await; // it ends then, and not before
    let list = gate.get("/v2/droplets").token(&token).send().await;
    assert_eq!(
        list.names("droplets"),
        ["a-web"],
        "what was shown before is kept for seconds"
    );
    let refused = gate.get("/v2/images").token(&token).send().await;
    assert_eq!(refused.reason(), Some("scope"));
    let told = whoami().await;
    assert_eq!((&told["ceiling"], &told["report_until"]), (&NONE, &NONE));
    let check = gate.cli(&["check"]).await;
    assert!(!String::from_utf8_lossy(&check.stderr).contains("may do all"));
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_ceiling_is_a_role_of_the_same_account_without_variables_for_seven_days_at_most() {
    let api = StandInApi::start().await;
    let policy = format!(
        "{POLICY}  other:\n    account: second\n    allow: [{{ scopes: [regions:read] }}]\n  client:\n    vars: [client]\n    allow: [{{ scopes: ['droplet:*'], only: {{ tag: '${{client}}' }} }}]\n"
    );
    let gate = Gate::builder(&api)
        .policy(&policy)
        .set("accounts.second", json!({ "token_file": "do-token" }))
        .start()
        .await;
    let issue = ["token", "issue", "t", "--role", "narrow"];
    let cases: [(&[&str], &str); 7] = [
        (&["--ceiling", "broad"], "--until"),
        (&["--until", "3d"], "--ceiling"),
        (
            &["--ceiling", "broad", "--until", "8d"],
            "a ceiling lasts 7 days at most",
        ),
        (
            &["--ceiling", "broad", "--until", "2020-01-01T00:00:00Z"],
            "the ceiling has ended already",
        ),
        (
            &["--ceiling", "brood", "--until", "3d"],
            "unknown role `brood`; did you mean `broad`?",
        ),
        (
            &["--ceiling", "client", "--until", "3d"],
            "its ceiling `client` has variables",
        ),
        (
            &["--ceiling", "other", "--until", "3d"],
            "its ceiling `other` is of another account than its roles",
        ),
    ];
    for (options, why) in cases {
        let output = gate.cli(&[&issue[..], options].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && said.contains(why),
            "{options:?}: {said}"
        );
    }
    let yaml = gate
        .cli(
            &[
                &issue[..],
                &["--ceiling", "broad", "--until", "7d", "--yaml"],
            ]
            .concat(),
        )
        .await;
    let entry = String::from_utf8(yaml.stdout).unwrap();
    let until = entry
        .lines()
        .find_map(|line| line.trim().strip_prefix("report_until: "))
        .unwrap();
    let check = async |text: &str| {
        gate.files().write("listed.yaml", text);
        let file = gate.files().path("listed.yaml");
        let output = gate
            .cli(&["check", "--policy", file.to_str().unwrap()])
            .await;
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, said) = check(&format!("{policy}tokens:\n{entry}")).await;
    assert!(
        code == Some(0) && said.contains("may do all that `broad` grants"),
        "{said}"
    );
    let late = Timestamp::now()
        .checked_add(SignedDuration::from_hours(24 * 8))
        .unwrap();
    let ended = "2020-01-01T00:00:00Z";
    let cases = [
        (
            entry.replace(until, &late.to_string()),
            1,
            "a ceiling lasts 7 days at most",
        ),
        (
            entry.replace(until, ended),
            0,
            "ended at 2020-01-01T00:00:00Z, and its roles alone decide",
        ),
        (
            entry.replace("\"broad\"", "brood"),
            1,
            "unknown role `brood`; did you mean `broad`?",
        ),
        (
            entry.replace("\"broad\"", "other"),
            1,
            "its ceiling `other` is of another account",
        ),
        (
            entry.replace("\"broad\"", "client"),
            1,
            "its ceiling `client` has variables",
        ),
        (
            entry.replace("    ceiling: \"broad\"\n", ""),
            1,
            "a token that reports has a `ceiling` and a `report_until`",
        ),
    ];
    for (entry, code, why) in cases {
        let (was, said) = check(&format!("{policy}tokens:\n{entry}")).await;
        assert!(was == Some(code) && said.contains(why), "{entry}: {said}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_ceiling_that_is_gone_refuses_the_token_whole_while_it_would_hold() {
    let story = Reporting::with("bare", "part").await;
    let (answer, _) = story.ask("GET /v2/regions", &NONE).await;
    assert_eq!(answer.status, 200);
    story
        .gate
        .write_policy(&POLICY.replace("  part:", "  another:"));
    story.gate.signal(Signal::Hup);
    story.gate.log_until("reloaded").await;
    let (answer, lines) = story.ask("GET /v2/regions", &NONE).await;
    assert_eq!(answer.reason(), Some("role_missing"));
    assert_eq!(
        lines[0]["detail"],
        "its ceiling `part` is not in the policy"
    );
    story.gate.finish(&story.api).await;
}
