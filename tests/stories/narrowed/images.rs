//! Images, snapshots of Droplets, and what is made from them.

use serde_json::{Value, json};

use super::{NONE, Story, all};

/// Droplets of a team, and images of theirs by name; what is on an image is handed out by `image:read` alone.
const TEAM: &str = "
    allow:
      - scopes: [droplet:read, droplet:create, droplet:update]
        only: { tag: client-a }
        on_create: { tags: [client-a] }
      - scopes: [image:read, image:update, image:delete, snapshot:read, snapshot:delete]
        only: { image: { name: 'a-*' }, snapshot: { name: 'a-*' } }
";

#[tokio::test]
async fn no_disk_of_others_is_read_by_way_of_an_image() {
    let story = Story::of(TEAM).await;
    let from = |image: Value| json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": image });
    let act = "POST /v2/droplets/12/actions";
    let rebuild = |image: Value| json!({ "type": "rebuild", "image": image });
    let restore = |image: Value| json!({ "type": "restore", "image": image });
    story
        .holds(&[
            ("POST /v2/droplets", from(json!("ubuntu-24-04-x64")), "ok"), // public
            ("POST /v2/droplets", from(json!(155_133_621)), "ok"),
            ("POST /v2/droplets", from(json!("155133621")), "ok"),
            ("POST /v2/droplets", from(json!(7001)), "ok"),
            ("POST /v2/droplets", from(json!("7001")), "ok"),
            ("POST /v2/droplets", from(json!(7002)), "resource"),
            ("POST /v2/droplets", from(json!("7002")), "resource"),
            ("POST /v2/droplets", from(json!(7003)), "resource"),
            ("POST /v2/droplets", from(json!("7003")), "resource"),
            ("POST /v2/droplets", from(json!(9999)), "resource"),
            ("POST /v2/droplets", from(json!("no-such-slug")), "resource"),
            (
                "POST /v2/droplets",
                from(json!([7002])),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets",
                from(json!({ "id": 7002 })),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets",
                from(json!(7002.0)),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets",
                from(json!("07002")),
                "ambiguous_request",
            ),
            (act, rebuild(json!("debian-12-x64")), "ok"),
            (act, rebuild(json!(7001)), "ok"),
            (act, rebuild(json!(7002)), "resource"),
            (act, rebuild(json!("7003")), "resource"),
            (act, restore(json!(7002)), "resource"),
            (act, restore(json!(7004)), "ok"),
            (
                act,
                json!({ "type": "rebuild", "image": 7001, "Image": 7002 }),
                "ambiguous_request",
            ),
            (act, json!({ "type": "reboot", "image": 7002 }), "ok"), // it takes no image, and names none
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn images_are_seen_and_changed_only_under_ones_own_names() {
    let story = Story::of(TEAM).await;
    story
        .holds(&[
            ("GET /v2/images/7001", NONE, "ok"),
            ("GET /v2/images/ubuntu-24-04-x64", NONE, "ok"),
            ("GET /v2/images/7002", NONE, "resource_hidden"),
            ("GET /v2/images/7003", NONE, "resource_hidden"),
            ("GET /v2/images/9999", NONE, "resource_hidden"),
            ("GET /v2/images/no-such-slug", NONE, "resource_hidden"),
            ("PUT /v2/images/7001", json!({ "name": "a-renamed" }), "ok"),
            (
                "PUT /v2/images/7001",
                json!({ "name": "b-renamed" }),
                "resource",
            ),
            (
                "PUT /v2/images/7002",
                json!({ "name": "a-mine-now" }),
                "resource_hidden",
            ),
            (
                "PUT /v2/images/ubuntu-24-04-x64",
                json!({ "name": "a-mine-now" }),
                "resource",
            ),
            (
                "POST /v2/images/7001/actions",
                json!({ "type": "transfer", "region": "fra1" }),
                "ok",
            ),
            (
                "POST /v2/images/7002/actions",
                json!({ "type": "transfer", "region": "fra1" }),
                "resource_hidden",
            ),
            (
                "POST /v2/images/7001/account_transfer",
                json!({ "recipient": "x@example.com" }),
                "resource",
            ),
            ("DELETE /v2/images/7002", NONE, "resource_hidden"),
            ("DELETE /v2/snapshots/7002", NONE, "resource_hidden"),
            ("GET /v2/droplets/12/snapshots", NONE, "ok"),
            ("GET /v2/droplets/12/backups", NONE, "ok"),
            ("GET /v2/droplets/22/snapshots", NONE, "resource_hidden"),
            ("GET /v2/images/7001/actions", NONE, "ok"),
            ("GET /v2/images/7002/actions", NONE, "resource_hidden"),
            ("DELETE /v2/images/7001", NONE, "ok"),
        ])
        .await;
    let list = story.get("/v2/images?per_page=200").await;
    let names = all(&list, "images", "name");
    assert!(
        !names
            .iter()
            .any(|name| name == "golden" || name.starts_with("b-")),
        "{names:?}"
    );
    assert!(
        names.iter().any(|name| name == "24.04 (LTS) x64"),
        "public ones are everybody's: {names:?}"
    );
    story.finish().await;
}

/// `*` gives no right to what is on a private image, nor does a scope that only covers it by a wildcard.
#[tokio::test]
async fn a_wildcard_opens_no_private_image() {
    let story = Story::of(
        "
    allow:
      - scopes: ['droplet:*', 'image:*']
        only: { tag: client-a }
        on_create: { tags: [client-a] }
",
    )
    .await;
    let from = |image: Value| json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": image });
    story
        .holds(&[
            ("POST /v2/droplets", from(json!("debian-12-x64")), "ok"),
            ("POST /v2/droplets", from(json!(7001)), "resource"),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "rebuild", "image": 7001 }),
                "resource",
            ),
        ])
        .await;
    story.finish().await;
}
