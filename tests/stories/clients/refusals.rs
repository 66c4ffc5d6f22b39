//! What clients make of a refusal, and of a 404 (notes 1 to 7).

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::json;
use tokio::time::sleep;

use super::gate;
use super::recorded::{ALL_CLIENTS, ANSIBLE, DOCTL, OCTODNS, PYDO, PYTHON_DIGITALOCEAN, TERRAFORM};
use super::talk::Talk;
use crate::support::{Fault, Gate, StandInApi, World};

/// `doctl auth init --token-validation-server` asks this, and reads its numbers as numbers; the sub-token stays on the machine.
#[tokio::test]
async fn doctl_auth_init_is_answered_here() {
    let (api, gate, token) = gate("account:read").await;
    assert_eq!(token.len(), 64, "what doctl's prompt takes");
    let mut doctl = Talk::open(&DOCTL, &gate, &token).await;
    let info = doctl.ask("GET /v1/oauth/token/info").await;
    assert_eq!(info.status, 200, "{}", info.text);
    assert!(info.json()["resource_owner_id"].is_u64(), "{}", info.text);
    let other = if token.ends_with('0') { '1' } else { '0' };
    let made_up = format!("{}{other}", &token[..63]);
    let mut doctl = Talk::open(&DOCTL, &gate, &made_up).await;
    let info = doctl.ask("GET /v1/oauth/token/info").await;
    assert_eq!(
        (info.status.as_u16(), info.reason()),
        (401, Some("unknown_token"))
    );
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

/// Every module of ansible reads the account first, and ends on 401 alone.
#[tokio::test]
async fn ansible_goes_on_where_the_account_is_out_of_scope() {
    let (api, gate, token) = gate("droplet:read").await;
    let account = async || {
        let mut ansible = Talk::open(&ANSIBLE, &gate, &token).await;
        ansible.ask("GET /v2/account").await
    };
    let refused = account().await;
    assert_eq!(
        (refused.status.as_u16(), refused.reason()),
        (403, Some("scope"))
    );
    let droplet = Talk::open(&ANSIBLE, &gate, &token)
        .await
        .ask("GET /v2/droplets/12")
        .await;
    assert_eq!(droplet.status, 200, "{}", droplet.text);
    gate.cli(&["token", "revoke", "some"]).await;
    let begun = Instant::now();
    let mut ended = account().await;
    while ended.status == 403 && begun.elapsed() < Duration::from_secs(5) {
        sleep(Duration::from_millis(20)).await;
        ended = account().await;
    }
    assert_eq!(
        (ended.status.as_u16(), ended.reason()),
        (401, Some("revoked"))
    );
    gate.finish(&api).await;
}

/// python-digitalocean fails without either of `id` and `message`; doctl shows `request_id` too.
#[tokio::test]
async fn every_client_gets_a_refusal_it_can_show() {
    let (api, gate, token) = gate("droplet:read").await;
    for client in ALL_CLIENTS {
        let mut talk = Talk::open(client, &gate, &token).await;
        let refused = talk.send("DELETE /v2/droplets/12", "").await;
        assert_eq!(refused.status, 403, "{}", client.name);
        assert_eq!(refused.header("content-type"), Some("application/json"));
        let body = refused.json();
        assert_eq!(body["id"], "forbidden");
        assert_eq!(
            body["message"],
            "this sub-token lacks the scope droplet:delete for DELETE /v2/droplets/{droplet_id}; ask for a role that grants it"
        );
        assert_eq!(
            body["request_id"].as_str(),
            refused.header("tidegate-request-id")
        );
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

/// doctl, Terraform and pydo send again on 429 and 5xx, creates included, so no refusal by policy is one of these.
#[tokio::test]
async fn no_refusal_is_sent_again() {
    let api = StandInApi::start().await;
    let policy = "
version: 1
roles:
  some:
    allow: [{ scopes: [droplet:read, droplet:create, tag:create] }, { scopes: [droplet:update], actions: [power_on] }]
    deny: [{ scopes: [tag:create] }]
";
    let gate = Gate::start(&api, policy).await;
    let token = gate.issue(&["some", "--role", "some"]).await;
    let elsewhere = gate
        .issue(&["other", "--role", "some", "--from", "192.0.2.1"])
        .await;
    let used_up = gate
        .issue(&["once", "--role", "some", "--max-uses", "1"])
        .await;
    Talk::open(&DOCTL, &gate, &used_up)
        .await
        .ask("GET /v2/droplets/12")
        .await;
    let create = r#"{"name":"n","region":"nyc3","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64","ssh_keys":[512189]}"#;
    let cases = [
        (&token, "DELETE /v2/droplets/12", "", 403, "scope"),
        (&token, "POST /v2/droplets", create, 403, "field_scope"),
        (
            &token,
            "POST /v2/droplets/12/actions",
            r#"{"type":"power_off"}"#,
            403,
            "action",
        ),
        (&token, "POST /v2/tags", r#"{"name":"x"}"#, 403, "denied"),
        (&token, "POST /v2/brand_new", "{}", 403, "unknown_endpoint"),
        (&elsewhere, "POST /v2/droplets", create, 403, "source_ip"),
        (&used_up, "POST /v2/droplets", create, 401, "uses_exhausted"),
    ];
    api.clear();
    for (token, line, body, status, reason) in cases {
        for client in [&DOCTL, &TERRAFORM, &PYDO] {
            let got = Talk::open(client, &gate, token)
                .await
                .send(line, body)
                .await;
            assert_eq!(
                (got.status.as_u16(), got.reason()),
                (status, Some(reason)),
                "{line} by {}: {}",
                client.name,
                got.text
            );
        }
    }
    assert_eq!(api.heard_count(), 0);
    // The API's own 500 is the client's to judge; what broke after it was sent is told as 409, which nobody repeats.
    api.fault_on(
        Method::POST,
        "/v2/droplets/12/actions",
        Fault::CloseBeforeHead,
    );
    let mut doctl = Talk::open(&DOCTL, &gate, &token).await;
    let unknown = doctl
        .send("POST /v2/droplets/12/actions", r#"{"type":"power_on"}"#)
        .await;
    assert_eq!(
        (unknown.status.as_u16(), unknown.reason()),
        (409, Some("outcome_unknown"))
    );
    assert_eq!(api.heard_count(), 1);
    gate.finish(&api).await;
}

/// doctl asks for page 1 and then for all others at once, and leaves out in silence those that fail.
#[tokio::test]
async fn a_listing_is_refused_on_its_first_page_or_not_at_all() {
    let world = (0..453).fold(World::empty(), |world, id| {
        world.with_droplet(1000 + id, &format!("web-{id}"), &[])
    });
    let api = StandInApi::start_with(world).await;
    let policy = "version: 1\nroles: { reader: { allow: [{ scopes: ['droplet:read'] }] }, other: { allow: [{ scopes: ['image:read'] }] } }\n";
    let gate = Gate::start(&api, policy).await;
    let reader = gate.issue(&["reader", "--role", "reader"]).await;
    let first = Talk::open(&DOCTL, &gate, &reader).await.ask(PAGE_1).await;
    let last = first.json()["links"]["pages"]["last"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(last.contains("page=3"), "{last}");
    let (mut one, mut other) = (
        Talk::open(&DOCTL, &gate, &reader).await,
        Talk::open(&DOCTL, &gate, &reader).await,
    );
    let (second, third) = tokio::join!(
        one.ask("GET /v2/droplets?page=2&per_page=200"),
        other.ask("GET /v2/droplets?page=3&per_page=200"),
    );
    let rows = [first, second, third].map(|page| page.json()["droplets"].as_array().unwrap().len());
    assert_eq!(rows, [200, 200, 53]);
    let other = gate.issue(&["other", "--role", "other"]).await;
    let refused = Talk::open(&DOCTL, &gate, &other).await.ask(PAGE_1).await;
    assert_eq!(
        (refused.status.as_u16(), refused.reason()),
        (403, Some("scope"))
    );
    gate.finish(&api).await;
}

const PAGE_1: &str = "GET /v2/droplets?page=1&per_page=200";

/// Terraform destroys, then asks until there is a 404; pydo hands the body of one to its caller.
#[tokio::test]
async fn a_404_of_the_api_stays_one() {
    let (api, gate, token) = gate("droplet:read, droplet:delete, domain:read").await;
    let mut terraform = Talk::open(&TERRAFORM, &gate, &token).await;
    assert_eq!(terraform.ask("GET /v2/droplets/12").await.status, 200);
    assert_eq!(terraform.ask("DELETE /v2/droplets/12").await.status, 204);
    let missing = json!({ "id": "not_found", "message": "The resource you were accessing could not be found." });
    for client in [&TERRAFORM, &PYDO, &PYTHON_DIGITALOCEAN, &OCTODNS] {
        let mut talk = Talk::open(client, &gate, &token).await;
        for line in [
            "GET /v2/droplets/12",
            "DELETE /v2/droplets/12",
            "GET /v2/domains/example.net",
        ] {
            let got = talk.ask(line).await;
            assert_eq!(
                (got.status.as_u16(), got.reason()),
                (404, None),
                "{line} by {}",
                client.name
            );
            assert_eq!(got.json(), missing);
        }
    }
    gate.finish(&api).await;
}

/// A refusal names what was not covered by the words of the caller, as godo's callers (Terraform, Kubernetes) add tags of their
/// own; of what may not be seen it says no more whether it is there or not.
#[tokio::test]
async fn a_refusal_names_the_thing_that_the_caller_named() {
    let policy = "
version: 1
roles:
  web:
    allow:
      - { scopes: [droplet:create, vpc:read, tag:create, image:read], only: { droplet: { tag: web }, tag: { name: web } } }
      - { scopes: [domain:read, domain:update], only: { domain: { name: example.com }, domain_record: { name: 'a-*' } } }
      - { scopes: [account:read], only: { droplet: { tag: web } } }
";
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, policy).await;
    let token = gate.issue(&["web", "--role", "web"]).await;
    let droplet = |more: serde_json::Value| {
        let mut droplet = json!({ "name": "n", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "tags": ["web"] });
        for (key, value) in more.as_object().unwrap() {
            droplet[key] = value.clone();
        }
        droplet
    };
    let there = "d455e75d-4858-4eec-8c95-da2f0a5f93a7";
    let missing = "5a4981aa-9653-4bd1-bef5-000000000009";
    let records = "/v2/domains/example.com/records";
    let cases = [
        (
            "/v2/droplets",
            droplet(json!({ "tags": ["web", "terraform:default-node-pool"] })),
            "the tag `terraform:default-node-pool` ",
        ),
        (
            "/v2/droplets",
            droplet(json!({ "vpc_uuid": there })),
            &*format!("the vpc `{there}` "),
        ),
        (
            "/v2/droplets",
            droplet(json!({ "vpc_uuid": missing })),
            &*format!("the vpc `{missing}` "),
        ),
        (
            records,
            json!({ "type": "A", "name": "www", "data": "192.0.2.1" }),
            "the domain_record `www` ",
        ),
    ];
    for (path, body, named) in cases {
        let answer = gate.post(path, &body).token(&token).send().await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (403, Some("resource")),
            "{body}: {}",
            answer.text()
        );
        assert!(
            answer.message().contains(named),
            "{body}: {}",
            answer.text()
        );
    }
    // The account is there for everybody, so who may not see it is told why (Terraform's data source reads it).
    let answer = gate.get("/v2/account").token(&token).send().await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (403, Some("resource")),
        "{}",
        answer.text()
    );
    assert!(api.writes().is_empty());
    gate.finish(&api).await;
}
