//! What joins networks to each other and to elsewhere, what lends addresses, and the keys to buckets.

use serde_json::{Value, json};

use super::{CLIENT_A, CLIENT_B};
use crate::narrowed::{NONE, Story, all};
use crate::support::World;

const A_NET: &str = "11111111-1111-4111-8111-111111111111";
const A_TWO: &str = "22222222-2222-4222-8222-222222222222";
const B_NET: &str = "33333333-3333-4333-8333-333333333333";

fn world() -> World {
    let vpc = |id: &str, name: &str| {
        json!({ "id": id, "name": name, "region": "nyc3", "description": "", "ip_range": "10.1.0.0/20",
            "urn": format!("do:vpc:{id}"), "default": false })
    };
    let peering =
        |id: &str, name: &str, ends: [&str; 2]| json!({ "id": id, "name": name, "vpc_ids": ends });
    let gateway = |id: &str, name: &str, vpc: &str, project: &str| {
        json!({ "id": id, "name": name, "type": "PUBLIC", "region": "nyc3", "size": 1, "project_id": project,
            "vpcs": [{ "vpc_uuid": vpc, "gateway_ip": "10.1.0.2" }] })
    };
    let attachment = |id: &str, name: &str, vpc: &str| json!({ "id": id, "name": name, "region": "nyc", "naas_provider": "megaport", "vpc_ids": [vpc], "children": [] });
    let key = |id: &str, name: &str, grants: Value| json!({ "access_key": id, "name": name, "grants": grants });
    World::default()
        .with("vpcs", [vpc(A_NET, "a-net"), vpc(A_TWO, "a-two"), vpc(B_NET, "b-net")])
        .with(
            "vpc_peerings",
            [peering("67310000-0000-4000-8000-000000000000", "a-peer", [A_NET, A_TWO]), peering("67320000-0000-4000-8000-000000000000", "b-peer", [B_NET, A_TWO])],
        )
        .with(
            "vpc_nat_gateways",
            [gateway("6e310000-0000-4000-8000-000000000000", "a-nat", A_NET, CLIENT_A), gateway("6e320000-0000-4000-8000-000000000000", "b-nat", B_NET, CLIENT_B)],
        )
        .with(
            "partner_network_connect/attachments",
            [attachment("74310000-0000-4000-8000-000000000000", "a-link", A_NET), attachment("74320000-0000-4000-8000-000000000000", "b-link", B_NET)],
        )
        .with(
            "byoip_prefixes",
            [
                json!({ "uuid": "78310000-0000-4000-8000-000000000000", "name": "a", "prefix": "192.0.2.0/24", "region": "nyc3", "project_id": CLIENT_A }),
                json!({ "uuid": "78320000-0000-4000-8000-000000000000", "name": "b", "prefix": "198.51.100.0/24", "region": "nyc3", "project_id": CLIENT_B }),
            ],
        )
        .with(
            "spaces/keys",
            [
                key("AK1", "a-key", json!([{ "bucket": "a-files", "permission": "read" }])),
                key("AK2", "b-key", json!([{ "bucket": "b-files", "permission": "read" }])),
            ],
        )
}

const NETWORKS: &str = "
    allow:
      - scopes: ['vpc_peering:*', 'nat_gateway:*', 'partner_network_connect:*', vpc:read]
        only:
          vpc: { name: 'a-*' }
          vpc_peering: { name: 'a-*' }
          nat_gateway: { name: 'a-*' }
          partner_attachment: { name: 'a-*' }
";

#[tokio::test]
async fn a_peering_opens_only_networks_of_ones_own_to_each_other() {
    let story = Story::in_world(NETWORKS, world()).await;
    let list = story.get("/v2/vpc_peerings").await;
    assert_eq!(
        all(&list, "vpc_peerings", "id"),
        ["67310000-0000-4000-8000-000000000000"]
    );
    assert_eq!(list.json()["meta"]["total"], 1);
    let of_one = story.get(&format!("/v2/vpcs/{A_TWO}/peerings")).await;
    assert_eq!(
        all(&of_one, "peerings", "id"),
        ["67310000-0000-4000-8000-000000000000"]
    );
    let new = "POST /v2/vpc_peerings";
    let between = |ends: [&str; 2]| json!({ "name": "a-new", "vpc_ids": ends });
    story
        .holds(&[
            (
                "GET /v2/vpc_peerings/67320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                "GET /v2/vpc_peerings/67390000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                &format!("GET /v2/vpcs/{B_NET}/peerings"),
                NONE,
                "resource_hidden",
            ),
            (new, between([A_NET, A_TWO]), "ok"),
            (new, between([A_NET, B_NET]), "resource"),
            (new, between([B_NET, A_NET]), "resource"),
            (
                &format!("POST /v2/vpcs/{A_NET}/peerings"),
                json!({ "name": "a-new", "vpc_id": A_TWO }),
                "ok",
            ),
            (
                &format!("POST /v2/vpcs/{A_NET}/peerings"),
                json!({ "name": "a-new", "vpc_id": B_NET }),
                "resource",
            ),
            (
                &format!("POST /v2/vpcs/{B_NET}/peerings"),
                json!({ "name": "a-new", "vpc_id": A_NET }),
                "resource_hidden",
            ),
            (
                "PATCH /v2/vpc_peerings/67310000-0000-4000-8000-000000000000",
                json!({ "name": "b-peer" }),
                "resource",
            ),
            (
                "PATCH /v2/vpc_peerings/67320000-0000-4000-8000-000000000000",
                json!({ "name": "a-mine" }),
                "resource_hidden",
            ),
            (
                "DELETE /v2/vpc_peerings/67320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                "DELETE /v2/vpc_peerings/67310000-0000-4000-8000-000000000000",
                NONE,
                "ok",
            ),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn a_way_out_is_made_only_for_networks_of_ones_own() {
    let story = Story::in_world(NETWORKS, world()).await;
    let list = story.get("/v2/vpc_nat_gateways").await;
    assert_eq!(
        all(&list, "vpc_nat_gateways", "id"),
        ["6e310000-0000-4000-8000-000000000000"]
    );
    let list = story.get("/v2/partner_network_connect/attachments").await;
    assert_eq!(
        all(&list, "partner_attachments", "id"),
        ["74310000-0000-4000-8000-000000000000"]
    );
    let gateway = |vpc: &str| {
        json!({ "name": "a-nat", "type": "PUBLIC", "region": "nyc3", "size": 1,
            "vpcs": [{ "vpc_uuid": vpc, "default_gateway": true }] })
    };
    let links = "/v2/partner_network_connect/attachments";
    story
        .holds(&[
            (
                "GET /v2/vpc_nat_gateways/6e320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            ("POST /v2/vpc_nat_gateways", gateway(A_NET), "ok"),
            ("POST /v2/vpc_nat_gateways", gateway(B_NET), "resource"),
            (
                "PUT /v2/vpc_nat_gateways/6e310000-0000-4000-8000-000000000000",
                gateway(A_NET),
                "ok",
            ),
            (
                "PUT /v2/vpc_nat_gateways/6e310000-0000-4000-8000-000000000000",
                gateway(B_NET),
                "resource",
            ),
            (
                "PUT /v2/vpc_nat_gateways/6e320000-0000-4000-8000-000000000000",
                gateway(A_NET),
                "resource_hidden",
            ),
            (
                "DELETE /v2/vpc_nat_gateways/6e320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                &format!("GET {links}/74320000-0000-4000-8000-000000000000"),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("GET {links}/74320000-0000-4000-8000-000000000000/remote_routes"),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("GET {links}/74310000-0000-4000-8000-000000000000/bgp_auth_key"),
                NONE,
                "scope",
            ),
            (
                &format!("POST {links}"),
                json!({ "name": "a-new", "vpc_ids": [A_NET] }),
                "ok",
            ),
            (
                &format!("POST {links}"),
                json!({ "name": "a-new", "vpc_ids": [B_NET] }),
                "resource",
            ),
            (
                &format!("PATCH {links}/74310000-0000-4000-8000-000000000000"),
                json!({ "vpc_ids": [A_NET, A_TWO] }),
                "ok",
            ),
            (
                &format!("PATCH {links}/74310000-0000-4000-8000-000000000000"),
                json!({ "vpc_ids": [A_NET, B_NET] }),
                "resource",
            ),
            (
                &format!("DELETE {links}/74320000-0000-4000-8000-000000000000"),
                NONE,
                "resource_hidden",
            ),
        ])
        .await;
    story.finish().await;
}

const PROJECT: &str = "
    allow:
      - scopes: ['byoip_prefix:*', 'nat_gateway:*']
        only: { project: 4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679 }
";

/// S4: what a project can hold of networks.
#[tokio::test]
async fn prefixes_and_gateways_are_those_of_the_project() {
    let story = Story::in_world(PROJECT, world()).await;
    let list = story.get("/v2/byoip_prefixes").await;
    assert_eq!(
        all(&list, "byoip_prefixes", "uuid"),
        ["78310000-0000-4000-8000-000000000000"]
    );
    let list = story.get("/v2/vpc_nat_gateways").await;
    assert_eq!(
        all(&list, "vpc_nat_gateways", "id"),
        ["6e310000-0000-4000-8000-000000000000"]
    );
    story
        .holds(&[
            (
                "GET /v2/byoip_prefixes/78310000-0000-4000-8000-000000000000/ips",
                NONE,
                "ok",
            ),
            (
                "GET /v2/byoip_prefixes/78320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                "GET /v2/byoip_prefixes/78320000-0000-4000-8000-000000000000/ips",
                NONE,
                "resource_hidden",
            ),
            (
                "PATCH /v2/byoip_prefixes/78310000-0000-4000-8000-000000000000",
                json!({ "advertise": true }),
                "ok",
            ),
            (
                "PATCH /v2/byoip_prefixes/78320000-0000-4000-8000-000000000000",
                json!({ "advertise": true }),
                "resource_hidden",
            ),
            (
                "DELETE /v2/byoip_prefixes/78320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                "DELETE /v2/vpc_nat_gateways/6e320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
        ])
        .await;
    story.finish().await;
}

const BUCKETS: &str = "
    allow:
      - scopes: ['spaces_key:*', spaces_key:create_credentials, spaces_key:update]
        only: { spaces_key: { name: 'a-*' }, space: { name: a-files } }
";

#[tokio::test]
async fn a_key_opens_only_buckets_of_ones_own() {
    let story = Story::in_world(BUCKETS, world()).await;
    let list = story.get("/v2/spaces/keys").await;
    assert_eq!(all(&list, "keys", "access_key"), ["AK1"]);
    let key = |grants: Value| json!({ "name": "a-new", "grants": grants });
    let to = |bucket: &str| json!({ "bucket": bucket, "permission": "readwrite" });
    let new = "POST /v2/spaces/keys";
    story
        .holds(&[
            ("GET /v2/spaces/keys/AK1", NONE, "ok"),
            ("GET /v2/spaces/keys/AK2", NONE, "resource_hidden"),
            ("GET /v2/spaces/keys/AK9", NONE, "resource_hidden"),
            (new, key(json!([to("a-files")])), "ok"),
            (new, key(json!([to("a-files"), to("b-files")])), "resource"),
            (new, key(json!([to("")])), "resource"),
            (new, key(json!([{ "permission": "read" }])), "resource"),
            (
                new,
                key(json!([{ "bucket": "", "permission": "fullaccess" }])),
                "resource",
            ),
            ("PUT /v2/spaces/keys/AK1", key(json!([to("a-files")])), "ok"),
            (
                "PUT /v2/spaces/keys/AK1",
                key(json!([to("b-files")])),
                "resource",
            ),
            (
                "PATCH /v2/spaces/keys/AK2",
                json!({ "name": "a-mine" }),
                "resource_hidden",
            ),
            ("DELETE /v2/spaces/keys/AK2", NONE, "resource_hidden"),
        ])
        .await;
    story.finish().await;
}
