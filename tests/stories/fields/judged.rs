//! What is secret is judged for the very resource that carries it: over one of two, inside another's answer, after a write.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Gate, StandInApi};

const A: &str = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
const B: &str = "b92438f6-ba03-416c-b642-e9236db91976";

const POLICY: &str = r#"
version: 1
roles:
  reader: { allow: [{ scopes: ["*:read"] }] }
  everything: { allow: [{ scopes: ["*"] }] }
  one-of-two:
    allow:
      - scopes: [database:read]
      - { scopes: ["database:view_credentials"], only: { database: { name: a-pg } } }
  by-project:
    allow:
      - scopes: [database:read]
      - { scopes: ["database:view_credentials"], only: { project: client-a } }
  all-but-one:
    allow: [{ scopes: [database:read, "database:view_credentials"] }]
    deny: [{ scopes: ["database:*"], only: { database: { name: b-mysql } } }]
  all-but-passwords-of-one:
    allow: [{ scopes: [database:read, "database:view_credentials"] }]
    deny: [{ scopes: ["database:view_credentials"], only: { database: { name: b-mysql } } }]
  never:
    allow: [{ scopes: [database:read, "database:view_credentials"] }]
    deny: [{ scopes: ["*:view_credentials"] }]
  one-user:
    allow:
      - scopes: [database:read, "database:view_credentials"]
        only: { database: { name: a-pg }, database_user: { name: app } }
  by-pattern: { allow: [{ requests: ["GET /v2/databases/9cc1[^/]*(/users)?"] }] }
  by-pattern-beside: { allow: [{ scopes: [database:read] }, { requests: ["GET /v2/databases/9cc1[^/]*"] }] }
  makes:
    allow: [{ scopes: [database:read, "database:create", "database:update"] }]
  makes-and-sees:
    allow: [{ scopes: [database:read, "database:create", "database:update", "database:view_credentials"] }]
  makes-in-one:
    allow:
      - scopes: [database:read, "database:create", "database:update"]
      - { scopes: ["database:view_credentials"], only: { database: { id: 9cc10173-e9ea-4176-9dbc-a4cee4c4ff30 } } }
"#;

/// Which of the passwords of the world an answer has.
fn passwords(text: &str) -> Vec<&'static str> {
    let known = [
        "fake-password-a-pg",
        "fake-password-a-app",
        "fake-password-b-mysql",
    ];
    known
        .into_iter()
        .filter(|password| text.contains(password))
        .collect()
}

#[tokio::test]
async fn a_password_is_shown_where_its_scope_is_given_by_name_over_its_database() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let list = "/v2/databases".to_owned();
    let (a, b) = (format!("/v2/databases/{A}"), format!("/v2/databases/{B}"));
    let (a_users, b_users) = (format!("{a}/users"), format!("{b}/users"));
    let (pg, app, mysql) = (
        "fake-password-a-pg",
        "fake-password-a-app",
        "fake-password-b-mysql",
    );
    for (role, target, expected) in [
        ("reader", &list, &[][..]),
        ("reader", &a, &[]),
        ("reader", &a_users, &[]),
        ("everything", &list, &[]),
        ("everything", &a_users, &[]),
        ("one-of-two", &list, &[pg]),
        ("one-of-two", &a, &[pg]),
        ("one-of-two", &b, &[]),
        ("one-of-two", &a_users, &[pg, app]),
        ("one-of-two", &b_users, &[]),
        ("by-project", &list, &[pg]), // which the answer does not say
        ("by-project", &a, &[pg]),
        ("by-project", &b, &[]),
        ("by-project", &b_users, &[]),
        ("all-but-one", &list, &[pg]),
        ("all-but-passwords-of-one", &list, &[pg]),
        ("all-but-passwords-of-one", &a, &[pg]),
        ("all-but-passwords-of-one", &b, &[]),
        ("all-but-passwords-of-one", &b_users, &[]),
        ("never", &list, &[]),
        ("never", &a_users, &[]),
        ("one-user", &a_users, &[app]),
        ("one-user", &a, &[]), // the database is not that user's
        ("by-pattern", &a, &[pg]),
        ("by-pattern", &a_users, &[pg, app]),
        ("by-pattern-beside", &a, &[pg]),
        ("by-pattern-beside", &b, &[]), // the same answer to who holds the same, and not the same request
        ("by-pattern-beside", &a, &[pg]),
        ("makes-and-sees", &list, &[pg, mysql]),
    ] {
        let token = gate.issue(&["--role", role]).await;
        let answer = gate.get(target).token(&token).send().await;
        assert_eq!(
            answer.status.as_u16(),
            200,
            "{role}: {target}: {}",
            answer.text()
        );
        assert_eq!(passwords(&answer.text()), expected, "{role}: {target}");
    }
    gate.finish(&api).await;
}

/// A connection string is as good as the password in it; the rest of the connection stays.
#[tokio::test]
async fn a_connection_goes_without_its_password_and_its_uri() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["--role", "reader"]).await;
    let target = format!("/v2/databases/{A}");
    let answer = gate.get(&target).token(&token).send().await;
    let connection = answer.json()["database"]["connection"].clone();
    let keys: Vec<_> = connection.as_object().unwrap().keys().cloned().collect();
    assert!(
        !keys.iter().any(|key| key == "uri" || key == "password"),
        "{keys:?}"
    );
    assert!(
        keys.iter().any(|key| key == "host") && keys.iter().any(|key| key == "user"),
        "{keys:?}"
    );
    gate.finish(&api).await;
}

/// What is made is told to who made it without its password, unless that may be seen of it.
#[tokio::test]
async fn an_answer_to_a_write_is_cut_as_any_other() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    for (role, database, shown) in [
        ("makes", A, false),
        ("makes-and-sees", A, true),
        ("makes-in-one", A, true),
        ("makes-in-one", B, false),
    ] {
        let token = gate.issue(&["--role", role]).await;
        let target = format!("/v2/databases/{database}/users");
        let made =
            json!({ "user": { "name": "new", "role": "normal", "password": "fake-password-new" } });
        let reply = crate::support::standin::Reply::json(201, &made);
        api.fault_once(
            Method::POST,
            &target,
            crate::support::standin::Fault::Reply(reply),
        );
        let answer = gate
            .post(&target, &json!({ "name": "new" }))
            .token(&token)
            .send()
            .await;
        assert_eq!(answer.status.as_u16(), 201, "{role}: {}", answer.text());
        assert_eq!(answer.json()["user"]["name"], "new", "{role} on {database}");
        assert_eq!(
            answer.text().contains("fake-password-new"),
            shown,
            "{role} on {database}"
        );
    }
    gate.finish(&api).await;
}

/// A reserved IP's Droplet is null where it would be hidden by itself, and whole where not.
#[tokio::test]
async fn a_whole_resource_inside_anothers_answer_is_shown_as_by_itself() {
    let policy = r"
version: 1
roles:
  ips: { allow: [{ scopes: [reserved_ip:read] }] }
  both: { allow: [{ scopes: [reserved_ip:read, droplet:read] }] }
  own-droplets:
    allow:
      - scopes: [reserved_ip:read]
      - { scopes: [droplet:read], only: { droplet: { tag: client-a } } }
  own-project:
    allow:
      - scopes: [reserved_ip:read]
      - { scopes: [droplet:read], only: { project: client-a } }
  not-that:
    allow: [{ scopes: [reserved_ip:read, droplet:read] }]
    deny: [{ scopes: [droplet:read], only: { droplet: { id: 22 } } }]
";
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, policy).await;
    for (role, expected) in [
        ("ips", json!([null, null, null])),
        ("both", json!([12, 22, null])),
        ("own-droplets", json!([12, null, null])),
        ("own-project", json!([12, null, null])),
        ("not-that", json!([12, null, null])),
    ] {
        let token = gate.issue(&["--role", role]).await;
        for prefix in ["/v2/reserved_ips", "/v2/floating_ips"] {
            let answer = gate.get(prefix).token(&token).send().await.json();
            let listed = answer[prefix.trim_start_matches("/v2/")].clone();
            let ips = listed.as_array().unwrap();
            let ids: Vec<Value> = ips.iter().map(|ip| ip["droplet"]["id"].clone()).collect();
            assert_eq!(json!(ids), expected, "{role}: {prefix}");
            for (ip, expected) in ips.iter().zip(expected.as_array().unwrap()) {
                let address = ip["ip"].as_str().unwrap();
                let target = format!("{prefix}/{address}");
                let one = gate.get(&target).token(&token).send().await.json();
                let member = prefix.trim_start_matches("/v2/").trim_end_matches('s');
                assert_eq!(one[member]["droplet"]["id"], *expected, "{role}: {target}");
            }
        }
    }
    gate.finish(&api).await;
}

/// What is in a project is told, under `enforce`, as far as its kind may be read, in pages that are full.
#[tokio::test]
async fn what_is_in_a_project_is_told_by_kinds_that_may_be_read() {
    let policy = "version: 1
roles:
  droplets: { allow: [{ scopes: [project:read, droplet:read] }] }
  volumes: { allow: [{ scopes: [project:read] }, { scopes: [block_storage:read], only: { tag: client-a } }] }
  nothing: { allow: [{ scopes: [project:read] }] }
  no-volumes: { allow: [{ scopes: ['*:read'] }], deny: [{ scopes: [block_storage:read] }] }
";
    let api = StandInApi::start().await;
    let project = "/v2/projects/4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679/resources";
    let kinds = |answer: &Value| -> Vec<String> {
        let listed = answer["resources"].as_array().unwrap().iter();
        let urns = listed.map(|item| item["urn"].as_str().unwrap());
        urns.map(|urn| urn.split(':').nth(1).unwrap().to_owned())
            .collect()
    };
    for mode in ["secrets_only", "enforce"] {
        let gate = Gate::builder(&api)
            .policy(policy)
            .set("field_scopes", json!(mode));
        let gate = gate.start().await;
        let token = gate.issue(&["--role", "nothing"]).await;
        let whole = gate.get(project).token(&token).send().await.json();
        assert_eq!(kinds(&whole).is_empty(), mode == "enforce", "{whole}");
        if mode == "secrets_only" {
            continue;
        }
        for (role, shown) in [("droplets", "droplet"), ("volumes", "volume")] {
            let token = gate.issue(&["--role", role]).await;
            let all = gate.get(project).token(&token).send().await.json();
            let total = kinds(&all).len();
            assert!(
                total > 0 && kinds(&all).iter().all(|kind| kind == shown),
                "{role}: {all}"
            );
            assert_eq!(all["meta"]["total"], total, "{role}");
            let page = format!("{project}?per_page=1&page={total}");
            let last = gate.get(&page).token(&token).send().await.json();
            assert_eq!(
                (kinds(&last).len(), &last["meta"]["total"]),
                (1, &json!(total)),
                "{role}"
            );
            let default = gate
                .get("/v2/projects/default/resources")
                .token(&token)
                .send()
                .await;
            assert!(
                kinds(&default.json()).iter().all(|kind| kind == shown),
                "{}",
                default.text()
            );
        }
        let token = gate.issue(&["--role", "no-volumes"]).await;
        let most = gate.get(project).token(&token).send().await.json();
        let kinds = kinds(&most);
        assert!(
            kinds.len() > 1 && !kinds.iter().any(|kind| kind == "volume"),
            "{most}"
        );
        gate.finish(&api).await;
    }
}

/// The same for agents, which hold each other, their workspace and what they know.
#[tokio::test]
async fn an_agent_is_not_shown_inside_another_to_whom_it_is_hidden() {
    let policy = "version: 1
roles:
  all: { allow: [{ scopes: [genai:read] }] }
  one: { allow: [{ scopes: [genai:read], only: { genai_agent: { id: 11111111-1111-4111-8111-111111111111 } } }] }
";
    let agent = |id: &str, more: Value| {
        let mut agent = json!({ "uuid": id, "name": "n", "instruction": format!("be {id}") });
        for (key, value) in more.as_object().unwrap() {
            agent[key] = value.clone();
        }
        agent
    };
    let [mine, other] = [
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
    ];
    let shown = json!({ "agent": agent(mine, json!({
        "child_agents": [agent(other, json!({})), agent(mine, json!({}))],
        "knowledge_bases": [{ "uuid": other, "name": "known" }],
        "workspace": { "uuid": other, "agents": [agent(other, json!({}))] },
    }))});
    let mut less = shown.clone();
    less["agent"]["child_agents"][0] = Value::Null;
    less["agent"]["knowledge_bases"][0] = Value::Null;
    less["agent"]["workspace"] = Value::Null;
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, policy).await;
    let target = format!("/v2/gen-ai/agents/{mine}");
    for (role, expected) in [("all", &shown), ("one", &less)] {
        let token = gate.issue(&["--role", role]).await;
        let reply = crate::support::standin::Reply::json(200, &shown);
        api.fault_once(
            Method::GET,
            &target,
            crate::support::standin::Fault::Reply(reply),
        );
        let answer = gate.get(&target).token(&token).send().await;
        assert_eq!(answer.text(), expected.to_string(), "{role}");
    }
    gate.finish(&api).await;
}

/// Who may see the secrets of one agent sees, in what a change of it answers, none of the agents that it holds.
#[tokio::test]
async fn what_is_changed_shows_no_secret_of_its_like_inside_it() {
    let [mine, other] = [
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
    ];
    let policy = format!(
        "version: 1
roles:
  changes-one:
    allow:
      - scopes: [genai:read]
      - {{ scopes: [genai:read, genai:update], only: {{ genai_agent: {{ id: {mine} }} }} }}
"
    );
    let agent = |id: &str, key: &str, children: Value| {
        json!({
            "uuid": id, "name": "n", "functions": [{ "name": "f", "api_key": key }],
            "child_agents": children,
        })
    };
    let inner = agent(other, "fake-key-inner", json!([]));
    let child = agent(other, "fake-key-other", json!([inner]));
    let changed = json!({ "agent": agent(mine, "fake-key-mine", json!([child])) });
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &policy).await;
    let token = gate.issue(&["--role", "changes-one"]).await;
    let target = format!("/v2/gen-ai/agents/{mine}");
    let before = json!({ "agent": agent(mine, "fake-key-mine", json!([])) });
    for (method, reply) in [(Method::GET, &before), (Method::PUT, &changed)] {
        let reply = crate::support::standin::Reply::json(200, reply);
        let fault = crate::support::standin::Fault::Reply(reply);
        api.fault_on(method, &target, fault);
    }
    let ask = gate.request(Method::PUT, &target).token(&token);
    let answer = ask.json(&json!({ "instruction": "be" })).send().await;
    let text = answer.text();
    assert_eq!(answer.status.as_u16(), 200, "{text}");
    assert!(text.contains("fake-key-mine"), "{text}");
    assert!(!text.contains("fake-key-other"), "{text}");
    assert!(!text.contains("fake-key-inner"), "{text}");
    gate.finish(&api).await;
}

/// What an answer does not say of a neighbour is not taken from the Droplet whose neighbour it is.
#[tokio::test]
async fn a_neighbour_is_not_taken_to_be_in_the_project_of_the_droplet_that_was_asked_about() {
    let policy = "version: 1
roles:
  one-project:
    allow:
      - scopes: [droplet:read]
      - { scopes: [droplet:read, droplet:update], only: { project: client-a } }
";
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, policy).await;
    let token = gate.issue(&["--role", "one-project"]).await;
    let droplet = |id: u32| json!({ "id": id, "name": "n", "user_data": format!("fake-key-{id}") });
    let target = "/v2/droplets/12/neighbors";
    let near = json!({ "droplets": [droplet(12), droplet(22)] });
    let reply = crate::support::standin::Reply::json(200, &near);
    let fault = crate::support::standin::Fault::Reply(reply);
    api.fault_on(Method::GET, target, fault);
    let answer = gate.get(target).token(&token).send().await;
    let text = answer.text();
    assert_eq!(answer.status.as_u16(), 200, "{text}");
    assert!(text.contains("fake-key-12"), "{text}");
    assert!(!text.contains("fake-key-22"), "{text}");
    gate.finish(&api).await;
}

/// The logs of one app are there for whom that app is granted by name, whichever of its deployments or events is named.
#[tokio::test]
async fn the_logs_of_what_belongs_to_an_app_are_those_of_the_app() {
    let [mine, other, its] = [
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
        "33333333-3333-4333-8333-333333333333",
    ];
    let policy = format!(
        "version: 1
roles:
  one-app:
    allow:
      - scopes: [\"*:read\"]
      - {{ scopes: [app:read], only: {{ app: {{ id: {mine} }} }} }}
"
    );
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &policy).await;
    let token = gate.issue(&["--role", "one-app"]).await;
    let json = |value: &Value| {
        let reply = crate::support::standin::Reply::json(200, value);
        crate::support::standin::Fault::Reply(reply)
    };
    let logs_of = |app: &str, below: &str| format!("/v2/apps/{app}/{below}/{its}/logs");
    for app in [mine, other] {
        for (below, member) in [("deployments", "deployment"), ("events", "event")] {
            let live = json!({ "live_url": "https://logs.example.com/fake-signature" });
            let logs = logs_of(app, below);
            api.fault_on(Method::GET, &logs, json(&live));
            let itself = json!({ member: { "id": its } });
            let below = logs.trim_end_matches("/logs");
            api.fault_on(Method::GET, below, json(&itself));
        }
        let named = json!({ "app": { "id": app, "spec": { "name": "n" } } });
        api.fault_on(Method::GET, &format!("/v2/apps/{app}"), json(&named));
    }
    for (app, shown) in [(mine, true), (other, false)] {
        for below in ["deployments", "events"] {
            let logs = logs_of(app, below);
            let answer = gate.get(&logs).token(&token).send().await;
            let text = answer.text();
            assert_eq!(answer.status.as_u16(), 200, "{logs}: {text}");
            assert_eq!(text.contains("fake-signature"), shown, "{logs}: {text}");
        }
    }
    gate.finish(&api).await;
}
