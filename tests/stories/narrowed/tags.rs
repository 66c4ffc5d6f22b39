//! Tags: who can put one on or take one off could reach what others have.

use serde_json::{Value, json};

use super::{NONE, Story, all};

/// A team that may also tag, within its own.
const TEAM: &str = "
    allow:
      - scopes: ['droplet:*', 'image:*', 'block_storage:*', 'block_storage_action:*', snapshot:read, 'tag:*']
        only: { tag: client-a }
      - scopes: [tag:read, tag:create, tag:delete]
        only: { tag: { name: [client-a, 'a-*'] } }
";

#[expect(clippy::needless_pass_by_value, reason = "rows write it in place")]
fn what(kind: &str, id: Value) -> Value {
    json!({ "resources": [{ "resource_id": id, "resource_type": kind }] })
}

#[tokio::test]
async fn nothing_is_drawn_in_by_putting_ones_tag_on_it() {
    let story = Story::of(TEAM).await;
    let put = "POST /v2/tags/client-a/resources";
    let upper = "POST /v2/tags/CLIENT-A/resources";
    let off = "DELETE /v2/tags/client-a/resources";
    let create = |body: Value| {
        let mut body = body;
        body["name"] = json!("client-a");
        body
    };
    story
        .holds(&[
            (put, what("droplet", json!("12")), "ok"),
            (put, what("droplet", json!("22")), "resource"),
            (put, what("droplet", json!(22)), "resource"),
            (put, what("droplet", json!("31")), "resource"),
            (put, what("droplet", json!("999")), "resource"),
            (upper, what("droplet", json!("22")), "resource"),
            (put, what("image", json!("7002")), "resource"),
            (put, what("image", json!("7003")), "resource"),
            (put, what("volume", json!("506f78a4-e098-11e5-ad9f-000000000003")), "resource"),
            (put, what("volume_snapshot", json!("fbe805e8-866b-11e6-96bf-000000000002")), "resource"),
            (put, what("database", json!("b92438f6-ba03-416c-b642-e9236db91976")), "resource"),
            (put, what("kubernetes", json!("bd5f5959-5e1e-4205-a714-a914373942af")), "resource"),
            (put, what("Droplet", json!("22")), "resource"),
            (put, json!({ "resources": [{ "resource_id": "12", "resource_type": "droplet" }, { "resource_id": "22", "resource_type": "droplet" }] }), "resource"),
            (put, json!({ "resources": { "resource_id": "22", "resource_type": "droplet" } }), "ambiguous_request"),
            (put, json!({ "resources": [{ "resource_id": "12", "resourceId": "22", "resource_type": "droplet" }] }), "ambiguous_request"),
            (put, json!({ "resources": [{ "resource_id": "12", "resource_id ": "22", "resource_type": "droplet" }] }), "ambiguous_request"),
            ("POST /v2/tags", create(what("droplet", json!("22"))), "resource"),
            ("POST /v2/tags", create(json!({})), "ok"),
            ("POST /v2/tags", json!({ "name": "Client-B" }), "resource"),
            ("POST /v2/tags", json!({ "name": "a-more" }), "ok"),
            ("POST /v2/tags/a-more/resources", what("droplet", json!("12")), "ok"),
            ("POST /v2/tags/a-more/resources", what("droplet", json!("22")), "resource"),
            ("POST /v2/tags/client-b/resources", what("droplet", json!("12")), "resource_hidden"),
            ("DELETE /v2/tags/a-more/resources", what("droplet", json!("12")), "ok"),
            ("DELETE /v2/tags/db/resources", what("droplet", json!("23")), "resource_hidden"),
            (off, what("droplet", json!("22")), "resource"),
            (off, what("droplet", json!("14")), "resource"), // what one could not do afterwards: it must match after, too
            ("DELETE /v2/tags/client-b", NONE, "resource_hidden"),
            ("DELETE /v2/tags/db", NONE, "resource_hidden"),
            ("DELETE /v2/tags/CLIENT-B", NONE, "resource_hidden"),
            ("GET /v2/tags/client-a", NONE, "ok"),
            ("GET /v2/tags/Client-A", NONE, "ok"),
            ("GET /v2/tags/client-b", NONE, "resource_hidden"),
            ("GET /v2/tags/nowhere", NONE, "resource_hidden"),
        ])
        .await;
    let list = story.get("/v2/tags").await;
    assert_eq!(all(&list, "tags", "name"), ["client-a", "a-more"]);
    story.finish().await;
}

/// A deny by tag can't be shed by taking the tag off, by whatever spelling or way.
#[tokio::test]
async fn nothing_is_taken_out_from_under_a_deny() {
    let story = Story::of(
        "
    allow:
      - scopes: ['*']
    deny:
      - scopes: ['*']
        only: { tag: client-b }
      - scopes: [droplet:delete]
        only: { droplet: { name: '*-keep' } }
",
    )
    .await;
    story
        .holds(&[
            ("GET /v2/droplets/12", NONE, "ok"),
            ("GET /v2/droplets/22", NONE, "resource_hidden"),
            ("DELETE /v2/droplets/22", NONE, "resource_hidden"),
            ("GET /v2/tags/client-b", NONE, "resource_hidden"),
            ("DELETE /v2/tags/client-b", NONE, "resource_hidden"),
            ("DELETE /v2/tags/Client-B", NONE, "resource_hidden"),
            ("DELETE /v2/tags/client-b/resources", what("droplet", json!("22")), "resource_hidden"),
            ("DELETE /v2/tags/CLIENT-B/resources", what("droplet", json!("22")), "resource_hidden"),
            ("POST /v2/tags/client-b/resources", what("droplet", json!("12")), "resource_hidden"),
            ("DELETE /v2/tags/db", NONE, "denied"), // 23 carries it, or could
            ("DELETE /v2/droplets?tag_name=client-b", NONE, "denied"),
            ("DELETE /v2/droplets?tag_name=db", NONE, "denied"),
            ("POST /v2/droplets/actions?tag_name=db", json!({ "type": "reboot" }), "denied"),
            ("DELETE /v2/droplets/14", NONE, "denied"),
            ("POST /v2/droplets/14/actions", json!({ "type": "rename", "name": "a-web" }), "denied"),
            ("POST /v2/droplets/14/actions", json!({ "type": "rename", "name": "b-keep" }), "ok"),
            ("GET /v2/images/7002", NONE, "resource_hidden"),
            ("GET /v2/snapshots/7002", NONE, "resource_hidden"),
            ("DELETE /v2/snapshots/7002", NONE, "resource_hidden"),
            ("POST /v2/droplets", json!({ "name": "x", "region": "nyc3", "size": "s-1vcpu-1gb", "image": 7002 }), "denied"),
            ("POST /v2/droplets", json!({ "name": "x", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "7002" }), "denied"),
            ("POST /v2/droplets", json!({ "name": "x", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "tags": ["CLIENT-B"] }), "denied"),
        ])
        .await;
    let list = story.get("/v2/droplets?per_page=200").await;
    assert_eq!(all(&list, "droplets", "id"), ["12", "13", "14", "31"]);
    assert_eq!(list.json()["meta"]["total"], 4);
    story.finish().await;
}
