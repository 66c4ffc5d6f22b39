//! `unused`: what is granted and was not needed, by the record.

use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{Gate, StandInApi, World};

const POLICY: &str = "
version: 1
roles:
  deploy:
    allow:
      - scopes: [droplet:read, droplet:create, droplet:delete, image:read, tag:create, vpc:read]
        only: { tag: shop }
      - scopes: ['domain:*']
      - scopes: [vpc:read]
        only: { vpc: { name: 'default-*' } }
      - scopes: [vpc:read]
        only: { vpc: { name: other } }
      - requests: ['GET /v2/sizes']
      - scopes: [regions:read]
    deny:
      - scopes: [droplet:delete]
        only: { droplet: { tag: keep } }
  nobodys:
    allow: [{ scopes: [droplet:read] }]
  broad:
    allow: [{ scopes: ['*'] }]
  identities:
    allow: [{ scopes: [account:read] }]
tokens:
  - { name: filed, id: 4fZ0aB9cD8eF, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', roles: [deploy] }
trust:
  - { name: ci, issuer: github, claims: { repository_id: '1', ref: refs/heads/main }, roles: [identities], ttl: 15m }
";

const VPC: &str = "760e09ef-dc84-11e8-981e-3cfdfeaae000";

fn world() -> World {
    let vpc = json!({ "id": VPC, "name": "default-nyc3", "region": "nyc3" });
    World::default()
        .with_droplet(31, "shop-web", &["shop"])
        .with("vpcs", [vpc])
}

async fn ask(gate: &Gate, token: &str, method: Method, path: &str, body: &Value) {
    let ask = gate.request(method, path).token(token);
    let ask = if body.is_null() { ask } else { ask.json(body) };
    let answer = ask.send().await;
    gate.audit_of(&answer).await; // the record has it
    assert!(answer.status.as_u16() < 400, "{path}: {}", answer.text());
}

#[tokio::test]
async fn what_no_request_needed_is_told_and_what_took_part_in_one_is_not() {
    let api = StandInApi::start_with(world()).await;
    let issuer = json!({ "github": { "url": "https://token.actions.githubusercontent.com", "audience": "tidegate" } });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("issuers", issuer)
        .start()
        .await;
    let deploy = gate.issue(&["deploy", "--role", "deploy"]).await;
    gate.issue(&["forgotten", "--role", "deploy"]).await;
    gate.issue(&["ended", "--role", "nobodys"]).await;
    gate.cli(&["token", "revoke", "ended"]).await;
    let reports = ["reports", "--role", "deploy", "--ceiling", "broad"];
    let reports = [&reports[..], &["--until", "1d"]].concat();
    let reports = gate.issue(&reports).await;
    let since = Timestamp::now().to_string();
    gate.issue(&["young", "--role", "deploy"]).await;

    let none = Value::Null;
    ask(&gate, &deploy, Method::GET, "/v2/droplets/31", &none).await;
    ask(
        &gate,
        &deploy,
        Method::GET,
        "/v2/domains/example.com",
        &none,
    )
    .await;
    let droplet = json!({ "name": "shop-2", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
        "tags": ["shop"], "vpc_uuid": VPC });
    ask(&gate, &deploy, Method::POST, "/v2/droplets", &droplet).await;
    ask(&gate, &reports, Method::GET, "/v2/volumes", &none).await;

    let output = gate.cli(&["unused", "--since", &since, "--json"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("by 4 requests that were let through"),
        "{said}"
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of = |list: &str, member: &str| -> Vec<String> {
        let all = found[list].as_array().unwrap().iter();
        all.map(|it| it[member].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("tokens", "name"), ["forgotten", "filed"], "{found}");
    assert_eq!(found["roles"], json!(["nobodys"]), "{found}");
    assert_eq!(
        of("grants", "grant"),
        [
            "deploy.allow[3]",
            "deploy.allow[4]",
            "deploy.allow[5]",
            "identities.allow[0]"
        ],
        "the VPC went by allow[2]: {found}"
    );
    assert_eq!(of("scopes", "scope"), ["droplet:delete"], "{found}");
    assert_eq!(of("wildcards", "wildcard"), ["*", "domain:*"], "{found}");
    assert_eq!(
        found["wildcards"][0]["scopes"],
        json!(["block_storage:read"])
    );
    assert_eq!(found["wildcards"][1]["scopes"], json!(["domain:read"]));

    let output = gate.cli(&["unused", "--since", &since]).await;
    let told = String::from_utf8(output.stdout).unwrap();
    let directory = format!(
        "{}/",
        gate.files().path("policy.yaml").parent().unwrap().display()
    );
    let told = told.replace(&directory, "");
    for part in [
        "token     forgotten            never used; issued ",
        "token     filed                never used; of the policy file, which does not say since when",
        "role      nobodys              no token has it",
        "grant     deploy.allow[3]      policy.yaml:11: no request needed it",
        "scope     deploy.allow[0]      policy.yaml:6: no request needed droplet:delete",
        "wildcard  deploy.allow[1]      policy.yaml:8: domain:* could be domain:read",
    ] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
    for name in ["young", "ended", "reports"] {
        assert!(!told.contains(name), "{name} in\n{told}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn where_everything_was_needed_there_is_nothing_to_tell() {
    let policy = "
version: 1
roles:
  reads:
    allow: [{ scopes: [droplet:read, regions:read] }]
";
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, policy).await;
    let token = gate.issue(&["reads", "--role", "reads"]).await;
    for path in ["/v2/droplets", "/v2/regions"] {
        ask(&gate, &token, Method::GET, path, &Value::Null).await;
    }
    let output = gate.cli(&["unused"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"", "{output:?}");
    // By a record that is elsewhere, and has nothing of it.
    gate.files().write("other.jsonl", "");
    let other = gate.files().path("other.jsonl");
    let output = gate.cli(&["unused", other.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let output = gate.cli(&["unused", "nowhere.jsonl"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    gate.finish(&api).await;
}
