//! Volumes, and the snapshots of volumes and Droplets.

use serde_json::{Value, json};

use super::{NONE, Story, all};

const A: &str = "506f78a4-e098-11e5-ad9f-000000000001";
const B: &str = "506f78a4-e098-11e5-ad9f-000000000002";
const SPARE: &str = "506f78a4-e098-11e5-ad9f-000000000003";

/// S6: the volumes of one Droplet, and that Droplet, are put on snapshots.
const BACKUP: &str = "
    allow:
      - scopes: [block_storage:read, block_storage_snapshot:read, block_storage_snapshot:create]
        only: { volume: { droplet: 12 }, snapshot: { source: [506f78a4-e098-11e5-ad9f-000000000001, 12] } }
      - scopes: [snapshot:read]
        only: { snapshot: { source: [506f78a4-e098-11e5-ad9f-000000000001, 12] } }
      - scopes: [droplet:read, actions:read]
        only: { droplet: { id: 12 } }
      - scopes: [droplet:update]
        only: { droplet: { id: 12 }, snapshot: { source: 12, name: nightly } }
        actions: [snapshot]
";

#[tokio::test]
async fn s6_a_backup_job_snapshots_one_droplet_and_its_volumes() {
    let story = Story::of(BACKUP).await;
    let snapshot = |volume: &str| json!({ "volume_id": volume, "name": "nightly", "description": "", "tags": null });
    let path = |volume: &str| format!("POST /v2/volumes/{volume}/snapshots");
    let (own, other, spare) = (path(A), path(B), path(SPARE));
    story
        .holds(&[
            (&own, snapshot(A), "ok"), // as doctl sends it
            (&own, json!({ "name": "nightly" }), "ok"),
            (&own, snapshot(B), "ambiguous_request"), // the path and the body do not agree
            (&own, json!({ "name": "nightly", "tags": ["client-b"] }), "field_scope"),
            (&other, snapshot(B), "resource_hidden"),
            (&other, snapshot(A), "ambiguous_request"),
            (&spare, snapshot(SPARE), "resource_hidden"),
            ("POST /v2/volumes/506f78a4-e098-11e5-ad9f-0000000000ff/snapshots", snapshot(A), "ambiguous_request"),
            ("POST /v2/volumes/506f78a4-e098-11e5-ad9f-0000000000ff/snapshots", json!({ "name": "nightly" }), "resource_hidden"),
            ("POST /v2/droplets/12/actions", json!({ "type": "snapshot", "name": "nightly" }), "ok"),
            ("POST /v2/droplets/12/actions", json!({ "type": "snapshot", "name": "a-golden" }), "resource"), // what it makes is judged
            ("POST /v2/droplets/22/actions", json!({ "type": "snapshot", "name": "nightly" }), "resource_hidden"),
            ("POST /v2/droplets/12/actions", json!({ "type": "power_off" }), "action"),
            ("POST /v2/droplets/12/actions", json!({ "type": "restore", "image": 7001 }), "action"),
            ("POST /v2/droplets/actions?tag_name=client-a", json!({ "type": "snapshot", "name": "x" }), "field_scope"),
            (&format!("DELETE /v2/volumes/{A}"), NONE, "scope"),
            ("DELETE /v2/volumes?name=a-data&region=nyc3", NONE, "scope"),
            (&format!("POST /v2/volumes/{A}/actions"), json!({ "type": "detach", "droplet_id": 12 }), "scope"),
            ("POST /v2/volumes", json!({ "name": "x", "snapshot_id": "fbe805e8-866b-11e6-96bf-000000000001", "size_gigabytes": 10 }), "scope"),
            ("DELETE /v2/snapshots/fbe805e8-866b-11e6-96bf-000000000001", NONE, "scope"),
            ("DELETE /v2/volumes/snapshots/fbe805e8-866b-11e6-96bf-000000000001", NONE, "scope"),
            ("GET /v2/snapshots/fbe805e8-866b-11e6-96bf-000000000001", NONE, "ok"),
            ("GET /v2/snapshots/fbe805e8-866b-11e6-96bf-000000000002", NONE, "resource_hidden"),
            ("GET /v2/volumes/snapshots/fbe805e8-866b-11e6-96bf-000000000002", NONE, "resource_hidden"),
            ("GET /v2/snapshots/7002", NONE, "resource_hidden"),
        ])
        .await;
    let under = story.get("/v2/droplets/12/snapshots").await;
    let names = all(&under, "snapshots", "name");
    assert!(
        names.contains(&"nightly".to_owned()),
        "by the grant over snapshots: {names:?}"
    );
    let volumes = story.get("/v2/volumes?page=1&per_page=200").await;
    assert_eq!(all(&volumes, "volumes", "name"), ["a-data"]);
    let snapshots = story.get("/v2/snapshots?page=1&per_page=200").await;
    let names = all(&snapshots, "snapshots", "name");
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("a-") || name == "nightly"),
        "{names:?}"
    );
    assert!(
        names.len() >= 4,
        "the old two, and those that were made: {names:?}"
    );
    story.finish().await;
}

const TEAM: &str = "
    allow:
      - scopes: ['droplet:*', 'block_storage:*', 'block_storage_action:*', tag:read, tag:create, actions:read]
        only: { tag: client-a }
        on_create: { tags: [client-a] }
      - scopes: [block_storage:create]
        only: { tag: client-a, snapshot: any, volume: any }
      - scopes: [image:read]
        only: { image: { slug: ubuntu-24-04-x64 } }
";

/// A volume is a way from one Droplet to another: both must be one's own, by whatever name they are called.
#[tokio::test]
async fn a_volume_goes_on_and_off_only_between_what_is_ones_own() {
    let story = Story::of(TEAM).await;
    let by_id = |volume: &str| format!("POST /v2/volumes/{volume}/actions?per_page=20&page=1");
    let by_name = "POST /v2/volumes/actions?per_page=200";
    let attach =
        |droplet: Value| json!({ "type": "attach", "droplet_id": droplet, "region": "nyc3" });
    let detach =
        |droplet: Value| json!({ "type": "detach", "droplet_id": droplet, "region": "nyc3" });
    let named = |kind: &str, name: &str, region: &str, droplet: Value| json!({ "type": kind, "volume_name": name, "region": region, "droplet_id": droplet });
    let (own, other, spare) = (by_id(A), by_id(B), by_id(SPARE));
    story
        .holds(&[
            (&own, attach(json!(13)), "ok"),
            (&own, attach(json!("12")), "ok"), // libcloud's way
            (&own, attach(json!(22)), "resource"),
            (&own, attach(json!("22")), "resource"),
            (&own, attach(json!(999)), "resource"),
            (&own, attach(json!([22])), "ambiguous_request"),
            (&own, attach(json!({ "id": 22 })), "ambiguous_request"),
            (&own, attach(json!("022")), "ambiguous_request"),
            (&own, attach(json!(22.0)), "ambiguous_request"),
            (&own, json!({ "type": "attach", "dropletId": 22, "droplet_id": 12 }), "ambiguous_request"),
            (&own, json!({ "type": "attach", "Droplet_ID": 22, "droplet_id": 12 }), "ambiguous_request"),
            (&format!("{own}&droplet_id=22"), attach(json!(12)), "ambiguous_request"),
            (&own, detach(json!(12)), "ok"),
            (&other, attach(json!(12)), "resource_hidden"),
            (&other, detach(json!(22)), "resource_hidden"),
            (&spare, attach(json!(12)), "resource_hidden"),
            (&own, json!({ "type": "resize", "size_gigabytes": 20 }), "ok"),
            (&other, json!({ "type": "resize", "size_gigabytes": 20 }), "resource_hidden"),
            (by_name, named("attach", "a-data", "nyc3", json!(12)), "ok"),
            (by_name, named("attach", "a-data", "nyc3", json!(22)), "resource"),
            (by_name, named("attach", "b-data", "fra1", json!(12)), "resource"),
            (by_name, named("attach", "b-data", "nyc3", json!(12)), "resource"), // not there
            (by_name, named("attach", "spare", "nyc3", json!(12)), "resource"),
            (by_name, named("detach", "b-data", "fra1", json!(22)), "resource"),
            (by_name, json!({ "type": "attach", "volumeName": "b-data", "volume_name": "a-data", "droplet_id": 12, "region": "nyc3" }), "ambiguous_request"),
            ("DELETE /v2/volumes?name=b-data&region=fra1", NONE, "resource"),
            ("DELETE /v2/volumes?name=spare&region=nyc3", NONE, "resource"),
            (&format!("DELETE /v2/volumes/{B}"), NONE, "resource_hidden"),
        ])
        .await;
    let action = story.ask(&own, &attach(json!(12))).await.json()["action"]["id"].to_string();
    let poll = format!("/v2/actions/{action}");
    assert_eq!(
        story.get(&poll).await.status,
        200,
        "the API does not say of which volume it is"
    );
    assert_eq!(
        story.get("/v2/actions/72531857").await.status,
        404,
        "it acted on what is not theirs"
    );
    story.finish().await;
}

/// A Droplet made with volumes takes them along.
#[tokio::test]
async fn a_droplet_is_made_only_with_volumes_of_ones_own() {
    let story = Story::of(TEAM).await;
    let with = |volumes: Value| json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "volumes": volumes });
    let create = "POST /v2/droplets";
    story
        .holds(&[
            (create, with(json!([])), "ok"),
            (create, with(json!(null)), "ok"),
            (create, with(json!([A])), "ok"),
            (create, with(json!([A, B])), "resource"),
            (create, with(json!([B.to_uppercase()])), "resource"),
            (create, with(json!([{ "id": A }])), "ok"),
            (create, with(json!([{ "id": B }])), "resource"),
            (create, with(json!([{ "name": "b-data" }])), "resource"),
            (create, with(json!([{ "name": "spare" }])), "resource"),
            (
                create,
                with(json!([{ "id": A, "name": "spare" }])),
                "resource",
            ),
            (create, with(json!([[B]])), "ambiguous_request"),
            (create, with(json!(B)), "ambiguous_request"),
            (create, with(json!({ "0": B })), "ambiguous_request"),
        ])
        .await;
    story.finish().await;
}

/// What is on a snapshot is handed out only by its read scope's name, over that snapshot.
#[tokio::test]
async fn a_volume_is_made_from_no_snapshot_of_others() {
    let own = "fbe805e8-866b-11e6-96bf-000000000001";
    let other = "fbe805e8-866b-11e6-96bf-000000000002";
    let from = |id: &str| json!({ "name": "a-copy", "region": "nyc3", "size_gigabytes": 10, "snapshot_id": id });
    let story = Story::of(TEAM).await;
    story
        .holds(&[
            (
                "POST /v2/volumes",
                json!({ "name": "a-fresh", "region": "nyc3", "size_gigabytes": 10 }),
                "ok",
            ),
            ("POST /v2/volumes", from(own), "resource"), // no grant names block_storage_snapshot:read
            ("POST /v2/volumes", from(other), "resource"),
        ])
        .await;
    story.finish().await;
    let role = format!(
        "{TEAM}      - scopes: [block_storage_snapshot:read]\n        only: {{ tag: client-a }}\n"
    );
    let story = Story::of(&role).await;
    story
        .holds(&[
            ("POST /v2/volumes", from(own), "ok"),
            ("POST /v2/volumes", from(&own.to_uppercase()), "ok"),
            ("POST /v2/volumes", from(other), "resource"),
            (
                "POST /v2/volumes",
                from("fbe805e8-866b-11e6-96bf-000000000009"),
                "resource",
            ),
        ])
        .await;
    story.finish().await;
}
