//! Cloud firewalls: their rules, and the Droplets and tags behind them.

use serde_json::{Value, json};

use super::{NONE, Story, all};

const OWN: &str = "/v2/firewalls/fb6045f1-cf1d-4ca3-bfac-18832663025b";
const OTHER: &str = "/v2/firewalls/bb4b2611-3d72-467b-8602-280330ecd65c";

/// S2: the rules of one firewall. What a firewall is before is for another grant.
const RULES: &str = "
    allow:
      - scopes: [firewall:read, firewall:update]
        only: { firewall: { id: fb6045f1-cf1d-4ca3-bfac-18832663025b } }
";

fn ssh_from(address: &str) -> Value {
    json!({ "protocol": "tcp", "ports": "22", "sources": { "addresses": [address] } })
}

#[tokio::test]
async fn s2_a_web_app_changes_the_rules_of_one_firewall_and_nothing_else() {
    let story = Story::of(RULES).await;
    let rules = json!({ "inbound_rules": [ssh_from("192.0.2.7")], "outbound_rules": null });
    let add = format!("POST {OWN}/rules");
    let remove = format!("DELETE {OWN}/rules");
    let put = format!("PUT {OWN}");
    let whole = |more: Value| {
        let mut body = json!({ "name": "a-firewall", "inbound_rules": [ssh_from("192.0.2.7")],
            "outbound_rules": null, "droplet_ids": [12], "tags": [] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let without = |member: &str| {
        let mut body = whole(json!({}));
        body.as_object_mut().unwrap().remove(member);
        body
    };
    let source = |sources: Value| json!({ "inbound_rules": [{ "protocol": "tcp", "ports": "22", "sources": sources }] });
    let upper = OWN.to_uppercase().replace("/V2/FIREWALLS", "/v2/firewalls");
    let cases = [
        (format!("GET {OWN}"), NONE, "ok"),
        (format!("GET {upper}"), NONE, "ok"), // a UUID in capitals is the same
        (add.clone(), rules.clone(), "ok"),
        (remove.clone(), rules.clone(), "ok"), // a DELETE with a body
        (put.clone(), whole(json!({})), "ok"),
        (put.clone(), whole(json!({ "droplet_ids": ["12"] })), "ok"), // the same Droplet
        (
            put.clone(),
            whole(json!({ "droplet_ids": [12, 22] })),
            "field_scope",
        ), // and one more
        (put.clone(), whole(json!({ "droplet_ids": [] })), "resource"), // it takes one away
        (
            put.clone(),
            whole(json!({ "droplet_ids": null })),
            "resource",
        ),
        (put.clone(), without("droplet_ids"), "resource"),
        (
            put.clone(),
            whole(json!({ "tags": ["client-b"] })),
            "field_scope",
        ),
        (put.clone(), whole(json!({ "name": "b-firewall" })), "ok"), // its name is no business of this role
        (
            add.clone(),
            source(json!({ "droplet_ids": [22] })),
            "resource",
        ),
        (
            add.clone(),
            source(json!({ "tags": ["client-b"] })),
            "field_scope",
        ),
        (
            add.clone(),
            source(json!({ "load_balancer_uids": ["4de7ac8b-495b-4884-9a69-1050c6793cd6"] })),
            "resource",
        ),
        (
            format!("POST {OWN}/droplets"),
            json!({ "droplet_ids": [22] }),
            "resource",
        ),
        (
            format!("DELETE {OWN}/droplets"),
            json!({ "droplet_ids": [12] }),
            "resource",
        ),
        (
            format!("POST {OWN}/tags"),
            json!({ "tags": ["client-b"] }),
            "field_scope",
        ),
        (
            format!("DELETE {OWN}/tags"),
            json!({ "tags": ["client-b"] }),
            "field_scope",
        ),
        (
            format!("POST {OTHER}/rules"),
            rules.clone(),
            "resource_hidden",
        ),
        (format!("PUT {OTHER}"), whole(json!({})), "resource_hidden"),
        (format!("GET {OTHER}"), NONE, "resource_hidden"),
        (format!("DELETE {OWN}"), NONE, "scope"),
        ("POST /v2/firewalls".to_owned(), whole(json!({})), "scope"),
        ("GET /v2/droplets/12".to_owned(), NONE, "scope"),
    ];
    let rows: Vec<_> = cases
        .iter()
        .map(|(request, body, code)| (request.as_str(), body.clone(), *code))
        .collect();
    story.holds(&rows).await;
    let list = story.get("/v2/firewalls?per_page=20&page=1").await;
    assert_eq!(
        all(&list, "firewalls", "id"),
        ["fb6045f1-cf1d-4ca3-bfac-18832663025b"]
    );
    assert_eq!(list.json()["meta"]["total"], 1);
    story.finish().await;
}

/// A team with a tag that also has firewalls.
const TEAM: &str = "
    allow:
      - scopes: [droplet:read, droplet:update, tag:read, tag:create]
        only: { tag: client-a }
      - scopes: ['firewall:*']
        only: { firewall: { name: 'a-*' } }
";

#[tokio::test]
async fn a_firewall_is_put_only_before_what_the_sub_token_may_change() {
    let story = Story::of(TEAM).await;
    let rules = json!([ssh_from("192.0.2.7")]);
    let new = |more: Value| {
        let mut body = json!({ "name": "a-new", "inbound_rules": rules, "outbound_rules": [] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let droplets = format!("POST {OWN}/droplets");
    let fewer = format!("DELETE {OWN}/droplets");
    let tags = format!("POST {OWN}/tags");
    let put = format!("PUT {OWN}");
    story
        .holds(&[
            ("POST /v2/firewalls", new(json!({ "droplet_ids": [12] })), "ok"),
            ("POST /v2/firewalls", new(json!({ "droplet_ids": [12, 22] })), "resource"),
            ("POST /v2/firewalls", new(json!({ "droplet_ids": ["22"] })), "resource"),
            ("POST /v2/firewalls", new(json!({ "droplet_ids": [999] })), "resource"),
            ("POST /v2/firewalls", new(json!({ "tags": ["client-a"] })), "ok"),
            ("POST /v2/firewalls", new(json!({ "tags": ["Client-A"] })), "ok"),
            ("POST /v2/firewalls", new(json!({ "tags": ["client-b"] })), "resource"),
            ("POST /v2/firewalls", new(json!({ "tags": ["db"] })), "resource"), // others carry it too
            ("POST /v2/firewalls", new(json!({ "name": "b-new" })), "resource"),
            ("POST /v2/firewalls", new(json!({ "droplet_ids": 22 })), "ambiguous_request"),
            ("POST /v2/firewalls", new(json!({ "dropletIds": [22] })), "ambiguous_request"),
            ("POST /v2/firewalls", new(json!({ "droplet_ids[]": [22] })), "ambiguous_request"),
            (&droplets, json!({ "droplet_ids": [13] }), "ok"),
            (&droplets, json!({ "droplet_ids": [13, 31] }), "resource"),
            (&fewer, json!({ "droplet_ids": [13] }), "ok"),
            (&fewer, json!({ "droplet_ids": [22] }), "resource"),
            (&tags, json!({ "tags": ["client-a"] }), "ok"),
            (&tags, json!({ "tags": ["client-b"] }), "resource"),
            (&put, new(json!({ "name": "a-firewall", "droplet_ids": [12, 13], "tags": ["client-a"] })), "ok"),
            (&put, new(json!({ "name": "a-firewall", "droplet_ids": [12, 13], "tags": ["client-a", "client-b"] })), "resource"),
            (&put, new(json!({ "name": "b-firewall", "droplet_ids": [12, 13], "tags": ["client-a"] })), "resource"),
            (&put, new(json!({ "name": "a-firewall", "droplet_ids": [12, 22], "tags": ["client-a"] })), "resource"),
            (&format!("DELETE {OTHER}"), NONE, "resource_hidden"),
            (&format!("DELETE {OWN}"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

/// A firewall's tags say what it is before: a grant by tag never covers one, and never adds to them.
#[tokio::test]
async fn tags_that_a_grant_adds_do_not_go_where_they_mean_targets() {
    let story = Story::of(
        "
    allow:
      - scopes: ['*']
        only: { tag: client-b }
        on_create: { tags: [client-b] }
",
    )
    .await;
    let new =
        json!({ "name": "x", "inbound_rules": [ssh_from("192.0.2.7")], "outbound_rules": [] });
    let balancer = json!({ "name": "x", "region": "nyc3", "forwarding_rules": [] });
    story
        .holds(&[
            ("POST /v2/firewalls", new, "resource"),
            ("POST /v2/load_balancers", balancer, "resource"),
            (&format!("GET {OTHER}"), NONE, "resource_hidden"),
        ])
        .await;
    let list = story.get("/v2/firewalls").await;
    assert_eq!(
        (list.status.as_u16(), list.json()["firewalls"].clone()),
        (200, json!([]))
    );
    story.finish().await;
}
