//! Apps, Kubernetes, autoscale pools, certificates, CDN endpoints and NFS.

use serde_json::{Value, json};

use super::{CLIENT_A, CLIENT_B, MINE, OTHER, only_mine};
use crate::narrowed::{NONE, Story, all};
use crate::support::World;

/// Two of each, alike but for what a selector asks about.
fn two_of_each() -> World {
    let app = |id: &str, name: &str, project: &str| json!({ "id": id, "spec": { "name": name }, "region": { "slug": "nyc" }, "project_id": project });
    let cluster = |id: &str, name: &str, project: &str, droplet: &str| {
        json!({ "id": id, "name": name, "region": "nyc3", "version": "1.33.1-do.0", "tags": [name], "project_id": project,
            "endpoint": "https://k8s.example.com",
            "node_pools": [{ "id": id, "name": "pool", "size": "s-1", "count": 1, "tags": [name],
                "nodes": [{ "id": id, "name": "pool-1", "droplet_id": droplet }] }] })
    };
    let share = |id: &str, name: &str| json!({ "id": id, "name": name, "region": "nyc3", "size_gib": 50, "vpc_ids": [] });
    let saved =
        |id: &str, of: &str| json!({ "id": id, "name": "s", "region": "nyc3", "share_id": of });
    let pool = |id: &str, name: &str| json!({ "id": id, "name": name, "droplet_template": { "size": "s-1" } });
    World::default()
        .with(
            "apps",
            [app(MINE, "mine", CLIENT_A), app(OTHER, "other", CLIENT_B)],
        )
        .with(
            &format!("apps/{MINE}/deployments"),
            [json!({ "id": "d1", "phase": "ACTIVE" })],
        )
        .with(
            &format!("apps/{OTHER}/deployments"),
            [json!({ "id": "d2", "phase": "ACTIVE" })],
        )
        .with(
            "kubernetes/clusters",
            [
                cluster(MINE, "mine", CLIENT_A, "12"),
                cluster(OTHER, "other", CLIENT_B, "22"),
            ],
        )
        .with(
            "droplets/autoscale",
            [pool(MINE, "mine"), pool(OTHER, "other")],
        )
        .with(
            "certificates",
            [
                json!({ "id": MINE, "name": "mine", "type": "custom", "dns_names": [] }),
                json!({ "id": OTHER, "name": "other", "type": "custom", "dns_names": [] }),
            ],
        )
        .with(
            "cdn/endpoints",
            [
                json!({ "id": MINE, "origin": "mine.nyc3.digitaloceanspaces.com", "ttl": 60 }),
                json!({ "id": OTHER, "origin": "other.nyc3.digitaloceanspaces.com", "ttl": 60 }),
            ],
        )
        .with("nfs", [share(MINE, "mine"), share(OTHER, "other")])
        .with(
            "nfs/snapshots",
            [
                saved("6e310000-0000-4000-8000-000000000000", MINE),
                saved("6e320000-0000-4000-8000-000000000000", OTHER),
            ],
        )
}

#[tokio::test]
async fn one_of_two_apps_with_its_deployments() {
    let role = format!(
        "
    allow:
      - scopes: ['app:*', app:access_console]
        only: {{ app: {{ id: '{MINE}' }} }}
"
    );
    let story = Story::in_world(&role, two_of_each()).await;
    only_mine(&story, "/v2/apps", "apps.id", MINE, OTHER).await;
    let deployments = story.get(&format!("/v2/apps/{MINE}/deployments")).await;
    assert_eq!(all(&deployments, "deployments", "id"), ["d1"]);
    let (app, other) = (format!("/v2/apps/{MINE}"), format!("/v2/apps/{OTHER}"));
    let spec = |more: Value| json!({ "spec": more });
    let binds =
        spec(json!({ "name": "mine", "databases": [{ "name": "db", "cluster_name": "a-pg" }] }));
    story
        .holds(&[
            (&format!("GET {other}/deployments"), NONE, "resource_hidden"),
            (
                &format!("GET {other}/components/web/exec"),
                NONE,
                "resource_hidden",
            ),
            (&format!("POST {app}/restart"), json!({}), "ok"),
            (
                &format!("POST {other}/restart"),
                json!({}),
                "resource_hidden",
            ),
            (&format!("PUT {app}"), spec(json!({ "name": "mine" })), "ok"),
            (&format!("PUT {app}"), binds, "resource"),
            (
                &format!("PUT {other}"),
                spec(json!({ "name": "other" })),
                "resource_hidden",
            ),
            (&format!("DELETE {other}"), NONE, "resource_hidden"),
            (&format!("DELETE {app}"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn one_of_two_clusters_with_its_pools() {
    let role = format!(
        "
    allow:
      - scopes: ['kubernetes:*', kubernetes:access_cluster]
        only: {{ kubernetes_cluster: {{ id: '{MINE}' }} }}
    deny:
      - scopes: [droplet:delete]
        only: {{ droplet: {{ name: a-web }} }}
"
    );
    let story = Story::in_world(&role, two_of_each()).await;
    let path = "/v2/kubernetes/clusters";
    only_mine(&story, path, "kubernetes_clusters.id", MINE, OTHER).await;
    let (mine, other) = (format!("{path}/{MINE}"), format!("{path}/{OTHER}"));
    let pools = story.get(&format!("{mine}/node_pools")).await;
    assert_eq!(all(&pools, "node_pools", "id"), [MINE]);
    story
        .holds(&[
            (&format!("GET {other}/node_pools"), NONE, "resource_hidden"),
            (&format!("GET {mine}/kubeconfig"), NONE, "ok"),
            (&format!("GET {other}/kubeconfig"), NONE, "resource_hidden"),
            (&format!("PUT {mine}"), json!({ "name": "renamed" }), "ok"),
            (
                &format!("PUT {other}"),
                json!({ "name": "renamed" }),
                "resource_hidden",
            ),
            // Its node is the Droplet 12, which a deny protects.
            (&format!("DELETE {mine}/node_pools/{MINE}"), NONE, "denied"),
            (
                &format!("DELETE {mine}/node_pools/{MINE}/nodes/{MINE}"),
                NONE,
                "denied",
            ),
            (&format!("DELETE {mine}"), NONE, "denied"),
            (&format!("DELETE {other}"), NONE, "resource_hidden"),
        ])
        .await;
    story.finish().await;
}

/// What a deny takes of a cluster's pools is in no answer that shows the cluster, be it to a read or to a change.
#[tokio::test]
async fn a_denied_pool_is_in_no_answer_that_shows_its_cluster() {
    for only in [
        format!("node_pool: {{ id: '{MINE}' }}"),
        "tag: mine-pool".to_owned(),
    ] {
        let role = format!(
            "
    allow:
      - scopes: ['*']
    deny:
      - scopes: ['*']
        only: {{ {only} }}
"
        );
        let pool = json!({ "id": MINE, "name": "pool", "size": "s-1", "count": 1, "tags": ["mine-pool"], "nodes": [] });
        let cluster = json!({ "id": MINE, "name": "mine", "region": "nyc3", "version": "1.33.1-do.0", "tags": ["mine"], "node_pools": [pool] });
        let world = two_of_each().with("kubernetes/clusters", [cluster]);
        let story = Story::in_world(&role, world).await;
        let mine = format!("/v2/kubernetes/clusters/{MINE}");
        let renamed = json!({ "name": "renamed", "tags": ["mine"] });
        let answers = [
            story.get(&mine).await,
            story.get("/v2/kubernetes/clusters").await,
            story.ask(&format!("PUT {mine}"), &renamed).await,
        ];
        for answer in answers {
            let json = answer.json();
            assert_eq!(answer.status, 200, "{only}: {json}");
            let one = Some(&json["kubernetes_cluster"]).filter(|it| !it.is_null());
            let list = json["kubernetes_clusters"].as_array().into_iter().flatten();
            for cluster in one.into_iter().chain(list) {
                // What is hidden of one is not of the other, where the deny can tell them apart.
                let hides = cluster["id"] == MINE || only.starts_with("node_pool");
                assert_eq!(cluster["node_pools"].is_null(), hides, "{only}: {json}");
            }
        }
        story.finish().await;
    }
}

/// S4, over apps and clusters.
#[tokio::test]
async fn s4_apps_and_clusters_of_one_project() {
    let role = "
    allow:
      - scopes: ['app:*', 'kubernetes:*', project:assign_resource]
        only: { project: client-a }
";
    let story = Story::in_world(role, two_of_each()).await;
    let apps = story.get("/v2/apps").await;
    let mine = all(&apps, "apps", "id");
    assert!(mine.contains(&MINE.to_owned()), "{mine:?}");
    assert!(!mine.contains(&OTHER.to_owned()), "{mine:?}");
    let new = |project: &str| json!({ "spec": { "name": "new" }, "project_id": project });
    story
        .holds(&[
            (&format!("GET /v2/apps/{MINE}"), NONE, "ok"),
            (&format!("GET /v2/apps/{OTHER}"), NONE, "resource_hidden"),
            (
                &format!("GET /v2/kubernetes/clusters/{MINE}/node_pools"),
                NONE,
                "ok",
            ),
            (
                &format!("GET /v2/kubernetes/clusters/{OTHER}/node_pools"),
                NONE,
                "resource_hidden",
            ),
            ("POST /v2/apps", new(CLIENT_A), "ok"),
            ("POST /v2/apps", new(CLIENT_B), "resource"),
            (
                "POST /v2/apps",
                json!({ "spec": { "name": "new" } }),
                "resource",
            ),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn one_of_two_pools_certificates_endpoints_and_shares() {
    let role = format!(
        "
    allow:
      - scopes: ['droplet:*', 'certificate:*', 'cdn:*', 'nfs:*']
        only:
          autoscale_pool: {{ id: '{MINE}' }}
          certificate: {{ name: mine }}
          cdn_endpoint: {{ origin: 'mine.*' }}
          nfs_share: {{ id: '{MINE}' }}
          nfs_snapshot: {{ source: '{MINE}' }}
"
    );
    let story = Story::in_world(&role, two_of_each()).await;
    only_mine(
        &story,
        "/v2/droplets/autoscale",
        "autoscale_pools.id",
        MINE,
        OTHER,
    )
    .await;
    only_mine(&story, "/v2/certificates", "certificates.id", MINE, OTHER).await;
    only_mine(&story, "/v2/cdn/endpoints", "endpoints.id", MINE, OTHER).await;
    only_mine(&story, "/v2/nfs", "shares.id", MINE, OTHER).await;
    only_mine(
        &story,
        "/v2/nfs/snapshots",
        "snapshots.id",
        "6e310000-0000-4000-8000-000000000000",
        "6e320000-0000-4000-8000-000000000000",
    )
    .await;
    let resize = json!({ "type": "resize", "region": "nyc3", "params": { "size_gib": 100 } });
    story
        .holds(&[
            (
                &format!("GET /v2/droplets/autoscale/{OTHER}/members"),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("DELETE /v2/droplets/autoscale/{MINE}/dangerous"),
                NONE,
                "resource",
            ),
            (
                &format!("DELETE /v2/droplets/autoscale/{OTHER}"),
                NONE,
                "resource_hidden",
            ),
            (&format!("DELETE /v2/droplets/autoscale/{MINE}"), NONE, "ok"),
            (
                &format!("PUT /v2/cdn/endpoints/{MINE}"),
                json!({ "ttl": 3600 }),
                "ok",
            ),
            (
                &format!("PUT /v2/cdn/endpoints/{OTHER}"),
                json!({ "ttl": 3600 }),
                "resource_hidden",
            ),
            (
                &format!("POST /v2/nfs/{MINE}/actions"),
                resize.clone(),
                "ok",
            ),
            (
                &format!("POST /v2/nfs/{OTHER}/actions"),
                resize,
                "resource_hidden",
            ),
            (
                "DELETE /v2/nfs/snapshots/6e320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                "DELETE /v2/nfs/snapshots/6e310000-0000-4000-8000-000000000000",
                NONE,
                "ok",
            ),
            (
                &format!("DELETE /v2/certificates/{OTHER}"),
                NONE,
                "resource_hidden",
            ),
            (&format!("DELETE /v2/certificates/{MINE}"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}
