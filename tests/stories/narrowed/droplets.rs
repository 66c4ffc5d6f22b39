//! Droplets and what is done to them.

use serde_json::{Value, json};

use super::{NONE, Story, all};

pub(super) const CLIENT: &str = "
    allow:
      - scopes: ['droplet:*', image:read, snapshot:read, tag:read, tag:create, actions:read]
        only: { tag: client-a }
        actions: [power_on, power_off, reboot, resize, snapshot]
        on_create: { tags: [client-a] }
      - scopes: [ssh_key:read, regions:read, sizes:read]
      - scopes: [vpc:read]
        only: { vpc: { name: 'default-*' } }
    deny:
      - scopes: [droplet:delete]
        only: { droplet: { name: '*-keep' } }
";

#[tokio::test]
async fn s8_a_team_creates_uses_and_deletes_its_own_droplets() {
    let story = Story::of(CLIENT).await;
    let new = |more: Value| {
        let mut body = json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let list = story
        .ask("GET /v2/droplets?page=1&per_page=2", &Value::Null)
        .await;
    assert_eq!(all(&list, "droplets", "id"), ["12", "13"]);
    assert_eq!(list.json()["meta"]["total"], 3);
    assert!(
        list.json()["links"]["pages"]["last"]
            .as_str()
            .unwrap()
            .contains("page=2")
    );
    story
        .holds(&[
            ("GET /v2/droplets/12", Value::Null, "ok"),
            ("GET /v2/droplets/22", Value::Null, "resource_hidden"),
            ("GET /v2/droplets/999", Value::Null, "resource_hidden"),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "reboot" }),
                "ok",
            ),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "rebuild", "image": "debian-12-x64" }),
                "action",
            ),
            (
                "POST /v2/droplets/22/actions",
                json!({ "type": "reboot" }),
                "resource_hidden",
            ),
            (
                "POST /v2/droplets/actions?tag_name=client-a",
                json!({ "type": "reboot" }),
                "ok",
            ),
            (
                "POST /v2/droplets/actions?tag_name=client-b",
                json!({ "type": "reboot" }),
                "resource",
            ),
            ("POST /v2/droplets", new(json!({})), "ok"),
            (
                "POST /v2/droplets",
                new(json!({ "tags": ["client-b"] })),
                "resource",
            ),
            ("POST /v2/droplets", new(json!({ "image": 7001 })), "ok"), // its own snapshot, by name in the role
            (
                "POST /v2/droplets",
                new(json!({ "image": 7002 })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "image": 7777 })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "vpc_uuid": "d455e75d-4858-4eec-8c95-da2f0a5f93a7" })),
                "ok",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "vpc_uuid": "5a4981aa-9653-4bd1-bef5-d6bff52042e4" })),
                "resource",
            ),
            ("DELETE /v2/droplets/22", Value::Null, "resource_hidden"),
            ("DELETE /v2/droplets/14", Value::Null, "denied"),
            (
                "DELETE /v2/droplets?tag_name=client-a",
                Value::Null,
                "denied",
            ), // one of them may be kept
            (
                "DELETE /v2/droplets?tag_name=client-b",
                Value::Null,
                "denied",
            ),
            ("DELETE /v2/droplets/12", Value::Null, "ok"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn what_is_created_carries_the_tags_that_its_grant_adds() {
    let story = Story::of(CLIENT).await;
    let body = json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
        "tags": ["Client-A"], "surprise": {} });
    let answer = story.ask("POST /v2/droplets", &body).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let heard = story.api.writes();
    let sent: Value = serde_json::from_slice(&heard[0].body).unwrap();
    assert_eq!(
        sent["tags"],
        json!(["Client-A"]),
        "it has the tag, in another spelling"
    );
    assert_eq!(
        sent["surprise"],
        Value::Null,
        "a member that nobody knows, and that says nothing, stays behind"
    );
    let id = answer.json()["droplet"]["id"].to_string();
    let read = story
        .ask(&format!("GET /v2/droplets/{id}"), &Value::Null)
        .await;
    assert_eq!(read.status, 200, "what it made is its own: {}", read.text());
    story.finish().await;
}

#[tokio::test]
async fn an_action_that_went_through_here_is_polled_at_one_call_each() {
    let story = Story::of(CLIENT).await;
    let reboot = story
        .ask("POST /v2/droplets/12/actions", &json!({ "type": "reboot" }))
        .await;
    let action = reboot.json()["action"]["id"].to_string();
    story.api.clear();
    for _ in 0..3 {
        let poll = story
            .ask(&format!("GET /v2/actions/{action}"), &Value::Null)
            .await;
        assert_eq!(poll.status, 200, "{}", poll.text());
    }
    assert_eq!(story.api.heard_count(), 3);
    story.finish().await;
}

/// S5: one Droplet is stopped, resized within a list, and started.
const CRON: &str = "
    allow:
      - scopes: [droplet:read, droplet:update]
        only: { droplet: { id: 12, size: [s-1vcpu-1gb, s-1vcpu-2gb] } }
        actions: [power_off, resize, power_on]
      - scopes: [actions:read]
        only: { droplet: { id: 12 } }
";

#[tokio::test]
async fn s5_a_cron_job_resizes_one_droplet_within_a_list_of_sizes() {
    let story = Story::of(CRON).await;
    let resize = |size: Value| json!({ "type": "resize", "size": size, "disk": false });
    let act = "POST /v2/droplets/12/actions";
    story
        .holds(&[
            (act, json!({ "type": "power_off" }), "ok"),
            (act, resize(json!("s-1vcpu-2gb")), "ok"),
            (act, resize(json!("s-2vcpu-4gb")), "resource"),
            (act, resize(json!("S-2VCPU-4GB")), "resource"),
            (act, resize(json!(["s-2vcpu-4gb"])), "ambiguous_request"),
            (
                act,
                json!({ "type": "resize", "size": "s-1vcpu-1gb", "Size": "c-2" }),
                "ambiguous_request",
            ),
            (act, json!({ "type": "power_on" }), "ok"),
            (act, json!({ "type": "reboot" }), "action"),
            (act, json!({ "type": "Reboot" }), "action"),
            (act, json!({ "type": "rename", "name": "x" }), "action"),
            (act, json!({ "type": "snapshot", "name": "x" }), "action"),
            (
                act,
                json!({ "type": "power_on", "Type": "rebuild" }),
                "ambiguous_request",
            ),
            (act, json!({ "type": ["power_on"] }), "ambiguous_request"),
            (act, json!({}), "action"),
            (
                "POST /v2/droplets/13/actions",
                json!({ "type": "power_off" }),
                "resource_hidden",
            ),
            (
                "POST /v2/droplets/actions?tag_name=client-a",
                json!({ "type": "power_off" }),
                "field_scope",
            ),
            ("GET /v2/droplets/12", NONE, "ok"),
            ("GET /v2/droplets/13", NONE, "resource_hidden"),
            ("DELETE /v2/droplets/12", NONE, "scope"),
        ])
        .await;
    let action =
        story.ask(act, &json!({ "type": "power_on" })).await.json()["action"]["id"].to_string();
    assert_eq!(
        story
            .get(&format!("/v2/actions/{action}?per_page=200"))
            .await
            .status,
        200
    );
    assert_eq!(
        story
            .get(&format!("/v2/droplets/12/actions/{action}"))
            .await
            .status,
        200
    );
    assert_eq!(
        story.get("/v2/actions/36804637").await.status,
        404,
        "an action of another Droplet"
    );
    story.finish().await;
}

/// A Droplet that has outgrown the list is out of reach: it must match before, too.
#[tokio::test]
async fn s5_a_droplet_outside_the_list_is_not_brought_back_into_it() {
    let story = Story::of(CRON).await;
    story
        .api
        .world(|world| world.one_mut("droplets", "12").unwrap()["size"] = json!("c-2"));
    let resize = json!({ "type": "resize", "size": "s-1vcpu-1gb" });
    story
        .holds(&[
            ("GET /v2/droplets/12", NONE, "resource_hidden"),
            ("POST /v2/droplets/12/actions", resize, "resource_hidden"),
        ])
        .await;
    story.finish().await;
}

/// S8 by name: `*-a` is a suffix, `a-*` a prefix; names mind case.
const NAMED: &str = "
    allow:
      - scopes: ['droplet:*', actions:read]
        only: { droplet: { name: ['a-*', '*-for-a'] } }
      - scopes: [image:read]
        only: { image: { slug: ubuntu-24-04-x64 } }
";

#[tokio::test]
async fn s8_a_team_has_its_droplets_by_prefix_and_suffix_of_the_name() {
    let story = Story::of(NAMED).await;
    let new = |more: Value| {
        let mut body =
            json!({ "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let rename = |name: &str| json!({ "type": "rename", "name": name });
    story
        .holds(&[
            ("POST /v2/droplets", new(json!({ "name": "a-new" })), "ok"),
            (
                "POST /v2/droplets",
                new(json!({ "name": "web-for-a" })),
                "ok",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "name": "b-new" })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "name": "A-new" })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "names": ["a-1", "a-2"] })),
                "ok",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "names": ["a-1", "b-2"] })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "name": "a-1", "names": ["b-2"] })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "name": "b-1", "names": ["a-2"] })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                new(json!({ "names": [["b-2"]] })),
                "ambiguous_request",
            ),
            ("POST /v2/droplets", new(json!({})), "resource"), // no name is no name of ours
            (
                "POST /v2/droplets",
                new(json!({ "name": null, "names": [] })),
                "resource",
            ),
            ("POST /v2/droplets/12/actions", rename("a-other"), "ok"),
            (
                "POST /v2/droplets/12/actions",
                rename("b-other"),
                "resource",
            ),
            (
                "POST /v2/droplets/22/actions",
                rename("a-mine"),
                "resource_hidden",
            ),
            ("DELETE /v2/droplets/22", NONE, "resource_hidden"),
            ("DELETE /v2/droplets?tag_name=client-a", NONE, "field_scope"),
            ("DELETE /v2/droplets/13", NONE, "ok"),
        ])
        .await;
    let list = story.get("/v2/droplets?page=1&per_page=200").await;
    let names = all(&list, "droplets", "name");
    assert!(
        names
            .iter()
            .all(|name| name.starts_with("a-") || name.ends_with("-for-a")),
        "{names:?}"
    );
    story.finish().await;
}

/// What is destroyed along with a Droplet is as much destroyed as if it were named by itself.
#[tokio::test]
async fn a_cascade_takes_nothing_along_that_could_not_be_deleted_by_itself() {
    let story = Story::of(
        "
    allow:
      - scopes: ['droplet:*', 'block_storage:*', 'block_storage_action:*', 'block_storage_snapshot:*', 'image:*', 'snapshot:*', 'reserved_ip:*']
        only: { tag: client-a }
",
    )
    .await;
    let base = "/v2/droplets/12/destroy_with_associated_resources";
    let selective = format!("DELETE {base}/selective");
    story
        .holds(&[
            (&format!("DELETE {base}/dangerous"), NONE, "resource"),
            (&format!("POST {base}/retry"), NONE, "resource"),
            (
                &selective,
                json!({ "volumes": ["506f78a4-e098-11e5-ad9f-000000000002"] }),
                "resource",
            ),
            (
                &selective,
                json!({ "volumes": "506f78a4-e098-11e5-ad9f-000000000002" }),
                "ambiguous_request",
            ),
            (&selective, json!({ "snapshots": ["7002"] }), "resource"),
            (&selective, json!({ "snapshots": [7002] }), "resource"),
            (
                &selective,
                json!({ "reserved_ips": ["6186916"] }),
                "resource",
            ), // an address has no tags
            (
                &selective,
                json!({ "volume_snapshots": ["fbe805e8-866b-11e6-96bf-000000000002"] }),
                "resource",
            ),
            (&selective.replace("12", "22"), json!({}), "resource_hidden"),
            (&format!("GET {base}"), NONE, "ok"),
            (
                &format!("GET {}", base.replace("12", "22")),
                NONE,
                "resource_hidden",
            ),
            ("GET /v2/reports/droplet_neighbors_ids", NONE, "ok"),
            ("GET /v2/droplets/backups/policies", NONE, "ok"),
            ("GET /v2/droplets/12/neighbors", NONE, "ok"),
            ("GET /v2/droplets/22/neighbors", NONE, "resource_hidden"),
            ("GET /v2/droplets/22/actions", NONE, "resource_hidden"),
            ("GET /v2/droplets/22/kernels", NONE, "resource_hidden"),
            (
                "GET /v2/droplets/22/backups/policy",
                NONE,
                "resource_hidden",
            ),
            (
                "GET /v2/droplets/22/destroy_with_associated_resources/status",
                NONE,
                "resource_hidden",
            ),
            (
                &selective,
                json!({ "volumes": ["506f78a4-e098-11e5-ad9f-000000000001"] }),
                "ok",
            ),
        ])
        .await;
    story.finish().await;
}

/// S11 and S14: permission by feature and verb, each confined to what is one's own.
#[tokio::test]
async fn s14_a_verb_that_was_not_given_is_refused_where_the_others_work() {
    let story = Story::of(
        "
    allow:
      - scopes: [image:read, image:update, snapshot:read, actions:read]
        only: { tag: client-a }
      - scopes: [droplet:read]
        only: { tag: client-a }
",
    )
    .await;
    story
        .holds(&[
            ("GET /v2/snapshots/7001", NONE, "scope"), // it asks for block_storage_snapshot:read as well
            ("GET /v2/images/7001", NONE, "ok"),
            ("DELETE /v2/images/7001", NONE, "scope"),
            ("DELETE /v2/snapshots/7001", NONE, "scope"),
            (
                "POST /v2/images",
                json!({ "name": "x", "url": "https://example.com/x.img", "region": "nyc3" }),
                "scope",
            ),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "snapshot", "name": "x" }),
                "scope",
            ),
            (
                "POST /v2/droplets",
                json!({ "name": "x", "size": "s-1vcpu-1gb", "image": "debian-12-x64" }),
                "scope",
            ),
            ("GET /v2/volumes", NONE, "scope"),
            ("PUT /v2/images/7001", json!({ "name": "x" }), "ok"),
            (
                "PUT /v2/images/7002",
                json!({ "name": "x" }),
                "resource_hidden",
            ),
        ])
        .await;
    story.finish().await;
}

/// S10, kept to one team: read-only, and none of the secrets.
#[tokio::test]
async fn s10_a_reader_reads_its_own_and_changes_nothing() {
    let story =
        Story::of("\n    allow:\n      - scopes: ['*:read']\n        only: { tag: client-a }\n")
            .await;
    story
        .holds(&[
            ("GET /v2/droplets/12", NONE, "ok"),
            ("GET /v2/droplets/22", NONE, "resource_hidden"),
            (
                "GET /v2/databases/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30",
                NONE,
                "ok",
            ),
            (
                "GET /v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig",
                NONE,
                "scope",
            ),
            ("GET /v2/registry/docker-credentials", NONE, "scope"),
            ("GET /v2/account", NONE, "resource"), // there is one for everybody
            ("DELETE /v2/droplets/12", NONE, "scope"),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "reboot" }),
                "scope",
            ),
            (
                "POST /v2/tags/client-a/resources",
                json!({ "resources": [] }),
                "scope",
            ),
            ("GET /v2/sizes", NONE, "ok"),
            ("GET /v2/regions", NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn actions_of_a_denied_droplet_are_as_hidden_as_it_is() {
    for asked in [
        "droplet: { name: 'b-*' }",
        "droplet: { id: 22 }",
        "tag: client-b",
    ] {
        let role = format!(
            "
    allow:
      - scopes: ['*']
    deny:
      - scopes: ['*']
        only: {{ {asked} }}
"
        );
        let story = Story::of(&role).await;
        let reboot = story
            .ask("POST /v2/droplets/12/actions", &json!({ "type": "reboot" }))
            .await;
        let own = reboot.json()["action"]["id"].to_string();
        let list = story.get("/v2/actions").await;
        assert_eq!(list.status, 200, "{asked}: {}", list.text());
        assert!(all(&list, "actions", "id").contains(&own), "{asked}");
        assert!(
            !list.text().contains("36804637"),
            "{asked}: {}",
            list.text()
        );
        let one = story.get("/v2/actions/36804637").await;
        assert_eq!(one.status, 404, "{asked}: {}", one.text());
        assert!(!one.text().contains("fra1"), "{asked}: {}", one.text());
        story.finish().await;
    }
}
