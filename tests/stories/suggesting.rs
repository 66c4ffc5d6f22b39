//! `suggest`: what was let through under a broad token becomes the least role, and that role lets it through again.

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Gate, StandInApi, World};

const POLICY: &str = "
version: 1
roles:
  broad:
    allow: [{ scopes: ['*', image:read, registry:read] }]
  reads:
    allow: [{ scopes: ['droplet:read'] }]
  none:
    allow: [{ scopes: [uptime:read] }]
";

const NONE: Value = Value::Null;

fn world() -> World {
    World::default()
        .with_droplet(31, "shop-web", &["shop"])
        .with_droplet(32, "shop-db", &["shop"])
        .with_droplet(33, "shop-cache", &["shop"])
        .with_droplet(34, "shop-queue", &["shop"])
        .with_droplet(35, "shop-idle", &["shop"]) // nobody asks for it
        .with_droplet(99, "other", &["other"])
}

async fn ask(gate: &Gate, token: &str, request: &str, body: &Value) -> Answer {
    let (method, path) = request.split_once(' ').unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let ask = gate.request(method, path).token(token);
    let ask = if body.is_null() { ask } else { ask.json(body) };
    let answer = ask.send().await;
    gate.audit_of(&answer).await; // the record has it
    answer
}

/// What runs, and what it comes to by the suggested role.
fn job() -> Vec<(&'static str, Value)> {
    vec![
        ("GET /v2/droplets?per_page=200", NONE),
        ("GET /v2/droplets/31", NONE),
        ("GET /v2/droplets/32", NONE),
        ("GET /v2/droplets/33", NONE),
        ("GET /v2/droplets/34", NONE),
        ("POST /v2/droplets/31/actions", json!({ "type": "reboot" })),
        ("GET /v2/regions", NONE),
        ("GET /v2/domains/example.com/records", NONE),
    ]
}

#[tokio::test]
async fn what_ran_runs_by_the_suggested_role_and_what_did_not_is_refused() {
    let api = StandInApi::start_with(world()).await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["deploy", "--role", "broad"]).await;
    let other = gate.issue(&["other", "--role", "broad"]).await;
    ask(&gate, &other, "GET /v2/volumes", &NONE).await;
    for (request, body) in job() {
        let answer = ask(&gate, &token, request, &body).await;
        assert!(answer.status.as_u16() < 400, "{request}: {}", answer.text());
    }
    let refused = ask(&gate, &token, "GET /v2/nothing_like_it", &NONE).await;
    assert_eq!(refused.status, 403);

    let output = gate
        .cli(&[
            "suggest", "--token", "deploy", "--name", "deploy", "--since", "1h",
        ])
        .await;
    let said = String::from_utf8(output.stderr).unwrap();
    let yaml = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}\n{yaml}");
    assert!(said.contains("8 of 8 requests allowed"), "{said}");
    assert!(
        said.contains("GET /v2/nothing_like_it (unknown_endpoint), 1 times"),
        "{said}"
    );
    for part in [
        "- scopes: [droplet:read, droplet:update]",
        "only: { droplet: { tag: \"shop\" } }",
        "by a tag that all of them have, 4 things in the record, 5 now",
        "actions: [reboot]",
        "only: { domain: { id: [\"example.com\"] } }",
        "- scopes: [regions:read]",
    ] {
        assert!(yaml.contains(part), "{part} in\n{yaml}");
    }
    assert!(
        !yaml.contains('*') && !yaml.contains("block_storage"),
        "no wildcard, and nothing of others:\n{yaml}"
    );

    gate.files().write("deploy.yaml", &yaml);
    let file = gate.files().path("deploy.yaml");
    let check = gate
        .cli(&["check", "--policy", file.to_str().unwrap()])
        .await;
    let said = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(0), "{said}\n{yaml}");
    assert!(said.contains("8 of 8 tests passed"), "{said}");

    let second = Gate::start(&api, &yaml).await;
    let token = second.issue(&["deploy", "--role", "deploy"]).await;
    for (request, body) in job() {
        let answer = ask(&second, &token, request, &body).await;
        assert!(answer.status.as_u16() < 400, "{request}: {}", answer.text());
    }
    for (request, body, code) in [
        ("GET /v2/droplets/99", NONE, "resource_hidden"),
        (
            "POST /v2/droplets/31/actions",
            json!({ "type": "power_off" }),
            "action",
        ),
        ("DELETE /v2/droplets/31", NONE, "scope"),
        ("GET /v2/domains/example.org", NONE, "resource_hidden"),
    ] {
        let answer = ask(&second, &token, request, &body).await;
        assert_eq!(answer.reason(), Some(code), "{request}: {}", answer.text());
    }
    second.finish(&api).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_token_that_reports_is_told_what_its_roles_lack() {
    let api = StandInApi::start_with(world()).await;
    let gate = Gate::start(&api, POLICY).await;
    let options = [
        "deploy",
        "--role",
        "reads",
        "--ceiling",
        "broad",
        "--until",
        "3d",
    ];
    let token = gate.issue(&options).await;
    ask(&gate, &token, "GET /v2/droplets/31", &NONE).await;
    let tagged = json!({ "resources": [{ "resource_id": "31", "resource_type": "droplet" }] });
    ask(&gate, &token, "POST /v2/tags/shop/resources", &tagged).await;
    ask(&gate, &token, "DELETE /v2/droplets/34", &NONE).await;
    let output = gate
        .cli(&["suggest", "--extends", "reads", "--offline"])
        .await;
    let said = String::from_utf8(output.stderr).unwrap();
    let yaml = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}\n{yaml}");
    assert!(said.contains("3 of 3 requests allowed"), "{said}");
    assert!(
        yaml.contains("droplet:delete") && !yaml.contains("\"GET "),
        "{yaml}"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_is_created_is_narrowed_by_what_it_has_in_common_and_never_by_id() {
    let api = StandInApi::start_with(world()).await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["deploy", "--role", "broad"]).await;
    for name in ["shop-1", "shop-2"] {
        let body = json!({ "name": name, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "tags": ["shop"] });
        let answer = ask(&gate, &token, "POST /v2/droplets", &body).await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
    let output = gate.cli(&["suggest", "--offline"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    let yaml = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}\n{yaml}");
    for part in [
        "only: { droplet: { tag: \"shop\" } }",
        "on_create: { tags: [\"shop\"] }",
    ] {
        assert!(yaml.contains(part), "{part} in\n{yaml}");
    }
    gate.finish(&api).await;
}
