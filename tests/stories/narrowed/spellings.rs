//! The same thing in other spellings, and things that could be read two ways.

use serde_json::{Value, json};

use super::droplets::CLIENT;
use super::{NONE, Story};

#[expect(clippy::needless_pass_by_value, reason = "rows write it in place")]
fn droplet(more: Value) -> Value {
    let mut body = json!({ "name": "a-new", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64" });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test]
async fn what_could_be_read_two_ways_is_refused() {
    let story = Story::of(CLIENT).await;
    let create = "POST /v2/droplets";
    let act = "POST /v2/droplets/12/actions";
    story
        .holds(&[
            (create, droplet(json!({ "Name": "b" })), "ambiguous_request"),
            (
                create,
                droplet(json!({ "tags": ["client-a"], "Tags": ["client-b"] })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "tags[]": ["client-b"] })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "vpcUuid": "5a4981aa-9653-4bd1-bef5-d6bff52042e4" })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "vpc_UUID": "5a4981aa-9653-4bd1-bef5-d6bff52042e4" })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "sshKeys": [512_189] })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "tags": "client-b" })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "tags": [["client-b"]] })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "tags": { "0": "client-b" } })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "tags": "client-a,client-b" })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "tags": ["client-a,client-b"] })),
                "ambiguous_request",
            ), // one name that no tag has, or two
            (
                create,
                droplet(json!({ "name": ["b"] })),
                "ambiguous_request",
            ),
            (
                create,
                droplet(json!({ "vpc_uuid": ["5a4981aa-9653-4bd1-bef5-d6bff52042e4"] })),
                "ambiguous_request",
            ),
            (create, json!([droplet(json!({}))]), "ambiguous_request"),
            (create, json!("text"), "ambiguous_request"),
            (
                "POST /v2/droplets?image=7002",
                droplet(json!({})),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets?tags=client-b",
                droplet(json!({})),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets?tags%5B%5D=client-b",
                droplet(json!({})),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets?Name=x",
                droplet(json!({})),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets?vpcUuid=x",
                droplet(json!({})),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/12/actions?type=rebuild",
                json!({ "type": "reboot" }),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/actions?tag_name=client-a&tag_name=client-b",
                json!({ "type": "reboot" }),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/actions?tag_name=client-a&tagName=client-b",
                json!({ "type": "reboot" }),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/actions?tag_name=client-a&TAG_NAME=client-b",
                json!({ "type": "reboot" }),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/actions?tag_name[]=client-b",
                json!({ "type": "reboot" }),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/actions",
                json!({ "type": "reboot", "tag_name": "client-b" }),
                "resource",
            ),
            (
                "POST /v2/droplets/actions?tag_name=",
                json!({ "type": "reboot" }),
                "resource",
            ),
            (
                act,
                json!({ "type": "reboot", "type ": "rebuild" }),
                "ambiguous_request",
            ),
            ("GET /v2/droplets/012", NONE, "ambiguous_request"),
            ("GET /v2/droplets/12%20", NONE, "ambiguous_request"),
            ("GET /v2/droplets/12%2F..%2F22", NONE, "ambiguous_request"),
            ("GET /v2/droplets/./22", NONE, "ambiguous_request"),
            ("GET /v2//droplets/22", NONE, "ambiguous_request"),
            ("GET /v2/droplets/12/../22", NONE, "ambiguous_request"),
            ("GET /v2/Droplets/22", NONE, "ambiguous_request"),
            ("GET /v2/droplets/22/", NONE, "resource_hidden"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn a_body_goes_on_as_it_was_read_and_with_nothing_else() {
    let story = Story::of(CLIENT).await;
    let body = droplet(
        json!({ "project_id": "", "with_droplet_agent": true, "monitoring": false, "surprise": [], "tags": null,
        "timeout": 30 }),
    );
    let answer = story
        .ask("POST /v2/droplets?per_page=200&unheard=", &body)
        .await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let heard = story.api.writes();
    let sent = heard[0].json();
    assert_eq!(sent["tags"], json!(["client-a"]), "what the grant adds");
    for left in ["surprise", "project_id", "timeout"] {
        assert_eq!(sent[left], NONE, "{left}");
    }
    assert_eq!(sent["monitoring"], json!(false));
    assert_eq!(heard[0].target, "/v2/droplets");
    story.finish().await;
}

#[tokio::test]
async fn more_than_a_hundred_named_resources_are_too_many() {
    let story = Story::of(CLIENT).await;
    let many: Vec<String> = (0..101).map(|number| format!("a-{number}")).collect();
    let keys: Vec<u32> = (0..150).collect();
    let resources: Vec<Value> = (0..150)
        .map(|id| json!({ "resource_id": id.to_string(), "resource_type": "droplet" }))
        .collect();
    story
        .holds(&[
            (
                "POST /v2/droplets",
                droplet(json!({ "names": many, "name": null })),
                "resource",
            ),
            (
                "POST /v2/droplets",
                droplet(json!({ "ssh_keys": keys })),
                "resource",
            ),
            (
                "POST /v2/tags",
                json!({ "name": "client-a", "resources": resources }),
                "resource",
            ),
        ])
        .await;
    assert!(
        story.api.heard_count() <= 110,
        "{}",
        story.api.heard_count()
    );
    story.finish().await;
}

#[tokio::test]
async fn head_is_judged_as_get_and_says_no_more() {
    let story = Story::of(CLIENT).await;
    for (path, status) in [
        ("/v2/droplets/12", 200),
        ("/v2/droplets/22", 404),
        ("/v2/droplets/999", 404),
        ("/v2/droplets", 200),
    ] {
        let get = story.get(path).await;
        let head = story.ask(&format!("HEAD {path}"), &NONE).await;
        assert_eq!(head.status.as_u16(), status, "{path}");
        assert_eq!(get.status, head.status, "{path}");
        assert!(head.body.is_empty(), "{path}");
        assert_eq!(
            head.header("content-length"),
            get.header("content-length"),
            "{path}"
        );
    }
    story.finish().await;
}

/// What is longer than tidegate reads can't be brought to the members that are known: it is not handed on as it comes.
#[tokio::test]
async fn no_body_goes_on_unread() {
    let story = Story::of(
        "
    allow:
      - scopes: ['uptime:*']
      - scopes: [droplet:read]
        only: { tag: client-a }
",
    )
    .await;
    let long = json!({ "name": "x".repeat(3 << 20) });
    let answer = story.ask("POST /v2/uptime/checks", &long).await;
    assert_eq!(answer.reason(), Some("body_too_large"), "{}", answer.text());
    assert!(story.api.writes().is_empty());
    story.finish().await;
}
