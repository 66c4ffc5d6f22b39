//! Reserved IPs, load balancers and VPCs.

use serde_json::{Value, json};

use super::{NONE, Story, all};
use crate::support::Answer;

const TEAM: &str = "
    allow:
      - scopes: [droplet:read, droplet:update]
        only: { tag: client-a }
      - scopes: ['reserved_ip:*']
        only: { reserved_ip: { droplet: [12, 13, 14] } }
      - scopes: ['load_balancer:*', certificate:read]
        only: { load_balancer: { name: 'a-*' } }
";

#[tokio::test]
async fn an_address_moves_only_between_droplets_of_ones_own() {
    let story = Story::of(TEAM).await;
    let assign = |droplet: Value| json!({ "type": "assign", "droplet_id": droplet });
    let mut rows = Vec::new();
    for kind in ["reserved_ips", "floating_ips"] {
        let own = format!("POST /v2/{kind}/45.55.96.47/actions");
        let other = format!("POST /v2/{kind}/45.55.96.48/actions");
        let free = format!("POST /v2/{kind}/45.55.96.49/actions");
        rows.extend([
            (own.clone(), assign(json!(13)), "ok"),
            (own.clone(), assign(json!("12")), "ok"),
            (own.clone(), assign(json!(22)), "resource"),
            (own.clone(), assign(json!(999)), "resource"),
            (own, json!({ "type": "unassign" }), "resource"), // after it, it would be nobody's
            (other.clone(), assign(json!(12)), "resource_hidden"),
            (other, json!({ "type": "unassign" }), "resource_hidden"),
            (free, assign(json!(12)), "resource_hidden"),
            (
                format!("GET /v2/{kind}/45.55.96.48"),
                NONE,
                "resource_hidden",
            ),
            (format!("GET /v2/{kind}/45.55.96.47"), NONE, "ok"),
            (
                format!("DELETE /v2/{kind}/45.55.96.48"),
                NONE,
                "resource_hidden",
            ),
            (
                format!("POST /v2/{kind}"),
                json!({ "droplet_id": 22 }),
                "resource",
            ),
            (
                format!("POST /v2/{kind}"),
                json!({ "region": "nyc3" }),
                "resource",
            ),
            (
                format!("POST /v2/{kind}"),
                json!({ "droplet_id": 12 }),
                "ok",
            ),
        ]);
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|(request, body, code)| (request.as_str(), body.clone(), *code))
        .collect();
    story.holds(&rows).await;
    let list = story.get("/v2/floating_ips").await;
    assert!(
        !list.text().contains("45.55.96.48") && !list.text().contains("45.55.96.49"),
        "{}",
        list.text()
    );
    story.finish().await;
}

#[tokio::test]
async fn a_load_balancer_serves_only_droplets_of_ones_own() {
    let story = Story::of(TEAM).await;
    let lb = "4de7ac8b-495b-4884-9a69-1050c6793cd6";
    let certificate = "892071a0-bb95-49bc-8021-3afd67a210bf";
    let whole = |more: Value| {
        let mut body = json!({ "name": "a-lb", "region": "nyc3", "droplet_ids": [12], "tag": "",
            "forwarding_rules": [{ "entry_protocol": "http", "entry_port": 80, "target_protocol": "http", "target_port": 80,
                "certificate_id": certificate }],
            "vpc_uuid": "d455e75d-4858-4eec-8c95-da2f0a5f93a7", "project_id": "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let put = format!("PUT /v2/load_balancers/{lb}");
    let add = format!("POST /v2/load_balancers/{lb}/droplets");
    let take = format!("DELETE /v2/load_balancers/{lb}/droplets");
    story
        .holds(&[
            (&put, whole(json!({})), "ok"),
            (&put, whole(json!({ "droplet_ids": [12, 13] })), "ok"),
            (
                &put,
                whole(json!({ "droplet_ids": [12, 13, 22] })),
                "resource",
            ),
            (
                &put,
                whole(json!({ "droplet_ids": [], "tag": "client-b" })),
                "resource",
            ),
            (&put, whole(json!({ "name": "b-lb" })), "resource"),
            (
                &put,
                whole(json!({ "vpc_uuid": "5a4981aa-9653-4bd1-bef5-d6bff52042e4" })),
                "resource",
            ),
            (
                &put,
                whole(json!({ "project_id": "746c6152-2fa2-11ed-92d3-27aaa54e4988" })),
                "resource",
            ),
            (
                &put,
                whole(json!({ "domains": [{ "name": "example.com" }] })),
                "resource",
            ),
            (
                &put,
                whole(
                    json!({ "target_load_balancer_ids": ["4de7ac8b-495b-4884-9a69-1050c6793cd7"] }),
                ),
                "resource",
            ),
            (&add, json!({ "droplet_ids": [13] }), "ok"),
            (&add, json!({ "droplet_ids": [22] }), "resource"),
            (&take, json!({ "droplet_ids": [13] }), "ok"),
            (&take, json!({ "droplet_ids": [22] }), "resource"),
            (
                "POST /v2/load_balancers",
                whole(json!({ "droplet_ids": [22] })),
                "resource",
            ),
            (
                "POST /v2/load_balancers",
                whole(json!({ "droplet_ids": [], "tag": "client-b" })),
                "resource",
            ),
            (
                "POST /v2/load_balancers",
                whole(json!({ "name": "b-lb" })),
                "resource",
            ),
        ])
        .await;
    story.finish().await;
}

const VPCS: &str = "
    allow:
      - scopes: ['vpc:*']
        only: { vpc: { name: 'client-b-*' } }
";

#[tokio::test]
async fn a_network_is_seen_and_renamed_only_under_ones_own_names() {
    let story = Story::of(VPCS).await;
    let own = "5a4981aa-9653-4bd1-bef5-d6bff52042e4";
    let default = "d455e75d-4858-4eec-8c95-da2f0a5f93a7";
    story
        .holds(&[
            (&format!("GET /v2/vpcs/{own}"), NONE, "ok"),
            (&format!("GET /v2/vpcs/{default}"), NONE, "resource_hidden"),
            (
                &format!("PATCH /v2/vpcs/{own}"),
                json!({ "name": "client-b-x" }),
                "ok",
            ),
            (
                &format!("PATCH /v2/vpcs/{own}"),
                json!({ "name": "default-x" }),
                "resource",
            ),
            (
                &format!("PATCH /v2/vpcs/{own}"),
                json!({ "default": true }),
                "resource",
            ),
            (
                &format!("PUT /v2/vpcs/{own}"),
                json!({ "name": "client-b-x", "default": true }),
                "resource",
            ),
            (
                &format!("PATCH /v2/vpcs/{default}"),
                json!({ "name": "client-b-y" }),
                "resource_hidden",
            ),
            (
                &format!("DELETE /v2/vpcs/{default}"),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("GET /v2/vpcs/{default}/members"),
                NONE,
                "resource_hidden",
            ),
        ])
        .await;
    let list = story.get("/v2/vpcs").await;
    assert_eq!(all(&list, "vpcs", "id"), [own]);
    story.finish().await;
}

/// Who is in a VPC is told of those that may be seen by themselves.
#[tokio::test]
async fn the_members_of_a_network_are_those_that_may_be_seen() {
    let default = "d455e75d-4858-4eec-8c95-da2f0a5f93a7";
    let role = "
    allow:
      - scopes: [vpc:read, droplet:read]
        only: { vpc: { name: 'default-*' }, droplet: { name: 'a-web*' } }
    deny:
      - scopes: [droplet:read]
        only: { droplet: { name: '*-keep' } }
";
    let urns = |answer: &Answer| {
        let mut urns = all(answer, "members", "urn");
        urns.sort();
        urns
    };
    let path = format!("/v2/vpcs/{default}/members");
    let story = Story::of(role).await;
    let answer = story.get(&path).await;
    assert_eq!(urns(&answer), ["do:droplet:12"], "{}", answer.text());
    assert_eq!(answer.json()["meta"]["total"], 1);
    story.finish().await;
    // A grant over all VPCs gives no more of the Droplets in them.
    let role = "
    allow:
      - scopes: [vpc:read]
      - scopes: [droplet:read, database:read]
        only: { tag: client-a }
";
    let story = Story::of(role).await;
    let answer = story.get(&path).await;
    let own = [
        "do:dbaas:9cc10173-e9ea-4176-9dbc-a4cee4c4ff30",
        "do:droplet:12",
        "do:droplet:13",
        "do:droplet:14",
    ];
    assert_eq!(urns(&answer), own, "{}", answer.text());
    story.finish().await;
    let story = Story::of("\n    allow: [{ scopes: [vpc:read] }]\n").await;
    let answer = story.get(&path).await;
    assert!(urns(&answer).len() > own.len(), "{}", answer.text());
    story.finish().await;
}
