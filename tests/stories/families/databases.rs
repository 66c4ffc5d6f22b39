//! Databases and vector databases, with all that belongs to them.

use hyper::Method;
use serde_json::{Value, json};

use super::{CLIENT_A, CLIENT_B, MINE, OTHER, mine_and_not_the_other, only_listed, only_mine};
use crate::narrowed::{NONE, Story};
use crate::support::{Fault, World};

/// Two clusters, alike but for their name, their tag and their project, with the same things in them.
fn two_clusters() -> World {
    let cluster = |id: &str, name: &str, tag: &str, project: &str| {
        json!({ "id": id, "name": name, "engine": "pg", "version": "17", "num_nodes": 1, "region": "nyc3",
            "size": "db-s-2vcpu-4gb", "tags": [tag], "project_id": project, "status": "online", "_migration": "6d310000-0000-4000-8000-000000000000",
            "private_network_uuid": "d455e75d-4858-4eec-8c95-da2f0a5f93a7" })
    };
    let world = World::default().with(
        "databases",
        [
            cluster(MINE, "a-shop", "client-a", CLIENT_A),
            cluster(OTHER, "b-shop", "client-b", CLIENT_B),
        ],
    );
    [(MINE, "a"), (OTHER, "b")].into_iter().fold(world, |world, (id, own)| {
        let under = |list: &str| format!("databases/{id}/{list}");
        let name = |name: &str| json!({ "name": name });
        world
            .with(&under("users"), [json!({ "name": "app", "role": "normal", "password": "fake" }), name(own)])
            .with(&under("dbs"), [name("shop"), name(own)])
            .with(&under("pools"), [json!({ "name": "pool", "mode": "session", "size": 1, "db": "shop", "user": "app" })])
            .with(&under("replicas"), [json!({ "name": "replica", "id": format!("replica-{own}"), "region": "nyc3", "tags": [] })])
            .with(&under("topics"), [name("orders")])
            .with(&under("indexes"), [json!({ "index_name": "logs" })])
            .with(&under("logsink"), [json!({ "sink_id": "sink", "sink_name": "logs", "sink_type": "rsyslog", "config": {} })])
            .with(&under("schema-registry"), [json!({ "subject_name": "order", "schema_type": "AVRO", "schema_id": 1 })])
    })
}

/// What is asked of a cluster, and of what belongs to it; `{}` is the cluster.
fn all_of_a_cluster() -> Vec<(&'static str, Value)> {
    let reads = [
        "GET /v2/databases/{}/config",
        "GET /v2/databases/{}/ca",
        "GET /v2/databases/{}/backups",
        "GET /v2/databases/{}/events",
        "GET /v2/databases/{}/firewall",
        "GET /v2/databases/{}/do_settings",
        "GET /v2/databases/{}/eviction_policy",
        "GET /v2/databases/{}/sql_mode",
        "GET /v2/databases/{}/autoscale",
        "GET /v2/databases/{}/online-migration",
        "GET /v2/databases/{}/schema-registry/config",
        "GET /v2/databases/{}/schema-registry/config/order",
        "GET /v2/databases/{}/schema-registry/order/versions/1",
        "GET /v2/databases/{}/logsink/sink",
    ];
    let writes = [
        (
            "PATCH /v2/databases/{}/config",
            json!({ "config": { "sql_mode": "ANSI" } }),
        ),
        (
            "PUT /v2/databases/{}/resize",
            json!({ "size": "db-s-4vcpu-8gb", "num_nodes": 2 }),
        ),
        ("PUT /v2/databases/{}/migrate", json!({ "region": "fra1" })),
        (
            "PUT /v2/databases/{}/maintenance",
            json!({ "day": "tuesday", "hour": "14:00" }),
        ),
        ("PUT /v2/databases/{}/install_update", NONE),
        ("PUT /v2/databases/{}/upgrade", json!({ "version": "18" })),
        (
            "PUT /v2/databases/{}/eviction_policy",
            json!({ "eviction_policy": "allkeys_lru" }),
        ),
        (
            "PUT /v2/databases/{}/sql_mode",
            json!({ "sql_mode": "ANSI" }),
        ),
        (
            "PUT /v2/databases/{}/firewall",
            json!({ "rules": [{ "type": "ip_addr", "value": "192.0.2.1" }] }),
        ),
        (
            "PUT /v2/databases/{}/online-migration",
            json!({ "source": { "host": "db.example.com", "port": 5432 } }),
        ),
        (
            "DELETE /v2/databases/{}/online-migration/6d310000-0000-4000-8000-000000000000",
            NONE,
        ),
        ("POST /v2/databases/{}/users", json!({ "name": "more" })),
        (
            "PUT /v2/databases/{}/users/app",
            json!({ "settings": { "pg_allow_replication": true } }),
        ),
        ("POST /v2/databases/{}/users/app/reset_auth", json!({})),
        ("POST /v2/databases/{}/dbs", json!({ "name": "more" })),
        (
            "POST /v2/databases/{}/pools",
            json!({ "name": "more", "mode": "session", "size": 1, "db": "shop", "user": "app" }),
        ),
        (
            "PUT /v2/databases/{}/pools/pool",
            json!({ "mode": "session", "size": 2, "db": "shop", "user": "app" }),
        ),
        ("POST /v2/databases/{}/topics", json!({ "name": "more" })),
        (
            "PUT /v2/databases/{}/topics/orders",
            json!({ "partition_count": 3 }),
        ),
        ("POST /v2/databases/{}/replicas", json!({ "name": "more" })),
        (
            "POST /v2/databases/{}/logsink",
            json!({ "sink_name": "more", "sink_type": "rsyslog", "config": {} }),
        ),
        (
            "PUT /v2/databases/{}/logsink/sink",
            json!({ "config": { "server": "192.0.2.1" } }),
        ),
        (
            "POST /v2/databases/{}/schema-registry",
            json!({ "subject_name": "more", "schema_type": "AVRO", "schema": "{}" }),
        ),
        (
            "PUT /v2/databases/{}/schema-registry/config",
            json!({ "compatibility_level": "FULL" }),
        ),
        (
            "PUT /v2/databases/{}/schema-registry/config/order",
            json!({ "compatibility_level": "FULL" }),
        ),
        ("DELETE /v2/databases/{}/indexes/logs", NONE),
        ("DELETE /v2/databases/{}/schema-registry/order", NONE),
        ("DELETE /v2/databases/{}/logsink/sink", NONE),
        ("DELETE /v2/databases/{}/topics/orders", NONE),
        ("DELETE /v2/databases/{}/replicas/replica", NONE),
        ("DELETE /v2/databases/{}/pools/pool", NONE),
        ("DELETE /v2/databases/{}/dbs/shop", NONE),
        ("DELETE /v2/databases/{}/users/app", NONE),
    ];
    let reads = reads.into_iter().map(|request| (request, NONE));
    reads.chain(writes).collect()
}

const ONE: &str = "
    allow:
      - scopes: ['database:*', database:read, database:update, database:view_credentials]
        only: { database: { id: 11111111-1111-4111-8111-111111111111 } }
";

#[tokio::test]
async fn one_of_two_clusters_with_all_that_belongs_to_it() {
    let story = Story::in_world(ONE, two_clusters()).await;
    only_mine(&story, "/v2/databases", "databases.id", MINE, OTHER).await;
    let own = format!("/v2/databases/{MINE}");
    only_listed(&story, &format!("{own}/users"), "users.name", &["app", "a"]).await;
    only_listed(&story, &format!("{own}/dbs"), "dbs.name", &["shop", "a"]).await;
    for (list, member, one) in [
        ("pools", "pools.name", "pool"),
        ("replicas", "replicas.id", "replica-a"),
        ("topics", "topics.name", "orders"),
        ("indexes", "indexes.index_name", "logs"),
        ("logsink", "sinks.sink_id", "sink"),
        ("schema-registry", "subjects.subject_name", "order"),
    ] {
        only_listed(&story, &format!("{own}/{list}"), member, &[one]).await;
        let other = format!("GET /v2/databases/{OTHER}/{list}");
        story.holds(&[(&other, NONE, "resource_hidden")]).await;
    }
    mine_and_not_the_other(&story, &all_of_a_cluster()).await;
    story.finish().await;
}

#[tokio::test]
async fn what_is_on_the_other_cluster_is_handed_out_by_no_door() {
    let story = Story::in_world(ONE, two_clusters()).await;
    let fork = |of: &str| json!({ "name": "more", "backup_restore": { "database_name": of } });
    story
        .holds(&[
            ("POST /v2/databases", fork("b-shop"), "resource"),
            ("POST /v2/databases", fork("none"), "resource"),
            ("POST /v2/databases", fork("a-shop"), "resource"), // it would be one of another id
            ("GET /v2/databases/metrics/credentials", NONE, "resource"), // the account is there for everybody
            (
                &format!("GET /v2/monitoring/metrics/database/mysql/load?metric=load1&aggregate=avg&db_id={OTHER}"),
                NONE,
                "scope",
            ),
            (
                "PUT /v2/databases/metrics/credentials",
                json!({ "credentials": { "basic_auth_username": "me" } }),
                "resource",
            ),
            // What the replica would be afterwards, nobody tells.
            (&format!("PUT /v2/databases/{MINE}/replicas/replica/promote"), NONE, "resource"),
            (&format!("DELETE /v2/databases/{OTHER}"), NONE, "resource_hidden"),
            (&format!("DELETE /v2/databases/{MINE}"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

const TAGGED: &str = "
    allow:
      - scopes: ['database:*', database:read, droplet:read, tag:read, tag:create]
        only: { tag: client-a }
";

#[tokio::test]
async fn a_cluster_is_opened_only_to_what_is_ones_own() {
    let story = Story::in_world(TAGGED, two_clusters()).await;
    let rules =
        |r#type: &str, value: &str| json!({ "rules": [{ "type": r#type, "value": value }] });
    let firewall = format!("PUT /v2/databases/{MINE}/firewall");
    let tagged = |tag: &str| json!({ "name": "more", "tags": [tag] });
    let forked = |of: &str| json!({ "name": "more", "tags": ["client-a"], "backup_restore": { "database_name": of } });
    story
        .holds(&[
            (&firewall, rules("droplet", "12"), "ok"),
            (&firewall, rules("droplet", "22"), "resource"),
            (&firewall, rules("droplet", "99"), "resource"),
            (&firewall, rules("tag", "client-a"), "ok"),
            (&firewall, rules("tag", "client-b"), "resource"),
            (
                &firewall,
                rules("k8s", "bd5f5959-5e1e-4205-a714-a914373942af"),
                "ok",
            ),
            (
                &firewall,
                rules("app", "4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf"),
                "resource",
            ),
            ("POST /v2/databases", tagged("client-a"), "ok"),
            ("POST /v2/databases", tagged("client-b"), "resource"),
            ("POST /v2/databases", json!({ "name": "more" }), "resource"),
            ("POST /v2/databases", forked("a-shop"), "ok"),
            ("POST /v2/databases", forked("b-shop"), "resource"),
            // No tag makes the other one's own.
            (
                "POST /v2/tags/client-a/resources",
                json!({ "resources": [{ "resource_id": OTHER, "resource_type": "database" }] }),
                "resource",
            ),
            (
                "POST /v2/tags/client-a/resources",
                json!({ "resources": [{ "resource_id": MINE, "resource_type": "database" }] }),
                "ok",
            ),
            ("GET /v2/databases?tag_name=client-b", NONE, "resource"),
        ])
        .await;
    only_listed(
        &story,
        "/v2/databases?tag_name=client-a",
        "databases.name",
        &["a-pg", "a-shop", "more", "more"],
    )
    .await;
    story.finish().await;
}

/// A firewall is replaced whole: whom it no longer lets in is touched, whom it still does is not.
#[tokio::test]
async fn a_cluster_is_closed_only_to_what_is_ones_own() {
    let mut world = two_clusters();
    let rule = |r#type: &str, value: &str| json!({ "uuid": value, "type": r#type, "value": value });
    let other = [rule("droplet", "22"), rule("tag", "client-b")];
    world.one_mut("databases", MINE).unwrap()["_rules"] = json!([
        other[0],
        other[1],
        rule("droplet", "12"),
        rule("ip_addr", "192.0.2.1")
    ]);
    let story = Story::in_world(TAGGED, world).await;
    let firewall = format!("PUT /v2/databases/{MINE}/firewall");
    let rules = |rules: &[Value]| json!({ "rules": rules });
    story
        .holds(&[
            (&firewall, rules(&other[..1]), "resource"),
            (&firewall, rules(&other[1..]), "resource"),
            (&firewall, rules(&[]), "resource"),
            (&firewall, json!({}), "resource"),
            (&firewall, rules(&other), "ok"), // its own is gone, and an address is nobody's
            (
                &firewall,
                rules(&[other[0].clone(), other[1].clone(), rule("droplet", "13")]),
                "ok",
            ),
            (
                &firewall,
                rules(&[other[0].clone(), other[1].clone(), rule("droplet", "23")]),
                "resource",
            ),
        ])
        .await;
    // Where the API does not tell what it replaces, nothing is replaced.
    let path = format!("/v2/databases/{MINE}/firewall");
    story
        .api
        .fault_on(Method::GET, &path, Fault::problem(404, "not_found", "no"));
    story.holds(&[(&firewall, rules(&other), "resource")]).await;
    story.finish().await;
}

/// A selector on a child opens that child, and of its cluster only what may be read.
#[tokio::test]
async fn one_user_of_one_cluster_and_no_other() {
    let role = format!(
        "
    allow:
      - scopes: ['database:*', database:update]
        only: {{ database: {{ id: {MINE} }}, database_user: {{ name: app }} }}
"
    );
    let story = Story::in_world(&role, two_clusters()).await;
    let own = format!("/v2/databases/{MINE}");
    only_mine(&story, &format!("{own}/users"), "users.name", "app", "a").await;
    let whole = story.get(&own).await.json();
    assert!(whole["database"]["users"].is_null(), "{whole}");
    story
        .holds(&[
            (&format!("POST {own}/users/app/reset_auth"), json!({}), "ok"),
            (
                &format!("POST {own}/users/a/reset_auth"),
                json!({}),
                "resource_hidden",
            ),
            (
                &format!("POST /v2/databases/{OTHER}/users/app/reset_auth"),
                json!({}),
                "resource_hidden",
            ),
            (
                &format!("POST {own}/users"),
                json!({ "name": "more" }),
                "resource",
            ),
            (
                &format!("PUT {own}/resize"),
                json!({ "size": "db-s-4vcpu-8gb" }),
                "resource",
            ),
            (&format!("DELETE {own}"), NONE, "resource"),
            (&format!("DELETE {own}/users/app"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

fn two_vector_databases() -> World {
    let database = |id: &str, tag: &str, project: &str| {
        json!({ "id": id, "name": "facts", "region": "nyc3", "size": "small", "tags": [tag], "project_id": project,
            "status": "running" })
    };
    let saved = |id: &str| json!({ "backup_id": id, "status": "done" });
    World::default()
        .with(
            "vector-databases",
            [
                database(MINE, "client-a", CLIENT_A),
                database(OTHER, "client-b", CLIENT_B),
            ],
        )
        .with(&format!("vector-databases/{MINE}/backups"), [saved("b1")])
        .with(&format!("vector-databases/{OTHER}/backups"), [saved("b2")])
}

#[tokio::test]
async fn one_of_two_vector_databases_with_its_backups() {
    let role = format!(
        "
    allow:
      - scopes: ['database:*', database:read, database:view_credentials]
        only: {{ vector_database: {{ id: {MINE} }} }}
"
    );
    let story = Story::in_world(&role, two_vector_databases()).await;
    let path = "/v2/vector-databases";
    only_mine(&story, path, "vector_dbs.id", MINE, OTHER).await;
    let backups = format!("{path}/{MINE}/backups");
    only_listed(&story, &backups, "backups.backup_id", &["b1"]).await;
    mine_and_not_the_other(
        &story,
        &[
            ("GET /v2/vector-databases/{}/backups", NONE),
            ("GET /v2/vector-databases/{}/backups/b1/restore", NONE),
            ("POST /v2/vector-databases/{}/backups/b1/restore", json!({})),
            ("GET /v2/vector-databases/{}/credentials", NONE),
            (
                "PUT /v2/vector-databases/{}",
                json!({ "config": { "enable_auto_schema": true } }),
            ),
            (
                "POST /v2/vector-databases/{}/resize",
                json!({ "size": "large" }),
            ),
            ("DELETE /v2/vector-databases/{}", NONE),
        ],
    )
    .await;
    story.finish().await;
}

/// A body that repeats the path of a vector database says what the path says.
#[tokio::test]
async fn a_body_names_no_other_vector_database_than_its_path() {
    let role = "
    allow:
      - scopes: ['database:*', database:read, project:assign_resource, tag:read, tag:create]
        only: { tag: [client-a, client-b] }
";
    let story = Story::in_world(role, two_vector_databases()).await;
    let own = format!("/v2/vector-databases/{MINE}");
    let (resize, tags) = (format!("POST {own}/resize"), format!("PUT {own}/tags"));
    let restore = format!("POST {own}/backups/b1/restore");
    story
        .holds(&[
            (
                &resize,
                json!({ "id": OTHER, "size": "large" }),
                "ambiguous_request",
            ),
            (&resize, json!({ "id": MINE, "size": "large" }), "ok"),
            (
                &tags,
                json!({ "id": OTHER, "tags": ["client-a"] }),
                "ambiguous_request",
            ),
            (&restore, json!({ "id": OTHER }), "ambiguous_request"),
            (&restore, json!({ "backup_id": "b2" }), "ambiguous_request"),
            (&restore, json!({ "id": MINE, "backup_id": "b1" }), "ok"),
            (
                &format!("PUT {own}"),
                json!({ "id": OTHER }),
                "ambiguous_request",
            ),
            (
                &format!("PUT {own}"),
                json!({ "id": MINE, "config": {} }),
                "ok",
            ),
        ])
        .await;
    story.finish().await;
}
