//! Functions and dedicated inference.

use serde_json::{Value, json};

use super::{MINE, OTHER, mine_and_not_the_other, only_listed, only_mine};
use crate::narrowed::{NONE, Story};
use crate::support::World;

/// Two namespaces and two endpoints for inference, alike but for their ids, with the same things in them.
fn two_of_each() -> World {
    let world = World::default()
        .with(
            "functions/namespaces",
            [MINE, OTHER].map(|id| json!({ "namespace": id, "uuid": id, "label": "shop", "region": "nyc1", "key": "fake" })),
        )
        .with(
            "dedicated-inferences",
            [MINE, OTHER].map(|id| {
                json!({ "id": id, "name": "chat", "region": "atl1", "status": "ACTIVE",
                    "spec": { "name": "chat", "region": "atl1" }, "vpc_uuid": "d455e75d-4858-4eec-8c95-da2f0a5f93a7" })
            }),
        );
    [MINE, OTHER].into_iter().fold(world, |world, id| {
        let functions = |list: &str| format!("functions/namespaces/{id}/{list}");
        let inference = |list: &str| format!("dedicated-inferences/{id}/{list}");
        let trigger = |name: &str| json!({ "namespace": id, "name": name, "function": "hello", "type": "SCHEDULED" });
        let named = |own: &str| json!({ "id": own, "name": own });
        world
            .with(&functions("triggers"), [trigger("nightly"), trigger("hourly")])
            .with(&functions("keys"), [named("k1"), named("k2")])
            .with(&inference("accelerators"), [json!({ "id": "67707500-0000-4000-8000-000000000000", "name": "gpu", "slug": "gpu-h100x1", "role": "prefill" })])
            .with(&inference("tokens"), [named("74310000-0000-4000-8000-000000000000")])
    })
}

#[tokio::test]
async fn one_of_two_namespaces_with_its_triggers_and_keys() {
    let role = format!(
        "
    allow:
      - scopes: ['function:*', function:admin]
        only: {{ namespace: {{ id: {MINE} }} }}
"
    );
    let story = Story::in_world(&role, two_of_each()).await;
    let path = "/v2/functions/namespaces";
    only_mine(&story, path, "namespaces.namespace", MINE, OTHER).await;
    let own = format!("{path}/{MINE}");
    only_listed(
        &story,
        &format!("{own}/triggers"),
        "triggers.name",
        &["nightly", "hourly"],
    )
    .await;
    only_listed(
        &story,
        &format!("{own}/keys"),
        "access_keys.id",
        &["k1", "k2"],
    )
    .await;
    let trigger = json!({ "name": "more", "function": "hello", "type": "SCHEDULED", "is_enabled": true,
        "scheduled_details": { "cron": "* * * * *" } });
    mine_and_not_the_other(
        &story,
        &[
            ("GET /v2/functions/namespaces/{}/triggers", NONE),
            ("GET /v2/functions/namespaces/{}/triggers/nightly", NONE),
            ("GET /v2/functions/namespaces/{}/keys", NONE),
            ("POST /v2/functions/namespaces/{}/triggers", trigger),
            (
                "PUT /v2/functions/namespaces/{}/triggers/nightly",
                json!({ "is_enabled": false }),
            ),
            ("DELETE /v2/functions/namespaces/{}/triggers/nightly", NONE),
            (
                "POST /v2/functions/namespaces/{}/keys",
                json!({ "name": "more" }),
            ),
            (
                "PUT /v2/functions/namespaces/{}/keys/k1",
                json!({ "name": "other" }),
            ),
            ("DELETE /v2/functions/namespaces/{}/keys/k1", NONE),
            ("DELETE /v2/functions/namespaces/{}", NONE),
        ],
    )
    .await;
    story
        .holds(&[(
            "POST /v2/functions/namespaces",
            json!({ "region": "nyc1", "label": "shop" }),
            "resource",
        )])
        .await;
    story.finish().await;
}

/// A selector on the children leaves of each list what it covers, and of their number as much.
#[tokio::test]
async fn one_trigger_and_one_key_of_a_namespace() {
    let role = format!(
        "
    allow:
      - scopes: ['function:*', function:admin]
        only: {{ namespace: {{ id: {MINE} }}, function_trigger: {{ name: nightly }}, function_key: {{ name: k1 }} }}
"
    );
    let story = Story::in_world(&role, two_of_each()).await;
    let own = format!("/v2/functions/namespaces/{MINE}");
    only_listed(&story, &format!("{own}/keys"), "access_keys.id", &["k1"]).await;
    only_mine(
        &story,
        &format!("{own}/triggers"),
        "triggers.name",
        "nightly",
        "hourly",
    )
    .await;
    let trigger = |name: &str| json!({ "name": name, "function": "hello", "type": "SCHEDULED", "is_enabled": true });
    story
        .holds(&[
            (&format!("POST {own}/triggers"), trigger("more"), "resource"),
            (
                &format!("DELETE {own}/triggers/hourly"),
                NONE,
                "resource_hidden",
            ),
            (&format!("DELETE {own}/keys/k2"), NONE, "resource_hidden"),
            (
                &format!("POST {own}/keys"),
                json!({ "name": "k1" }),
                "resource",
            ), // a key opens the whole namespace
            (
                &format!("PUT {own}/keys/k1"),
                json!({ "name": "k2" }),
                "resource",
            ),
            (&format!("DELETE {own}/keys/k1"), NONE, "ok"),
            (&format!("DELETE {own}"), NONE, "resource"),
        ])
        .await;
    story.finish().await;
}

const INFERENCE: &str = "
    allow:
      - scopes: ['dedicated_inference:*', 'dedicated_inference_token:*', dedicated_inference:create, dedicated_inference_token:create]
        only: { dedicated_inference: { id: 11111111-1111-4111-8111-111111111111 } }
";

#[tokio::test]
async fn one_of_two_endpoints_for_inference_with_its_tokens() {
    let story = Story::in_world(INFERENCE, two_of_each()).await;
    let path = "/v2/dedicated-inferences";
    only_mine(&story, path, "dedicated_inferences.id", MINE, OTHER).await;
    let own = format!("{path}/{MINE}");
    only_listed(
        &story,
        &format!("{own}/accelerators"),
        "accelerators.id",
        &["67707500-0000-4000-8000-000000000000"],
    )
    .await;
    only_listed(
        &story,
        &format!("{own}/tokens"),
        "tokens.id",
        &["74310000-0000-4000-8000-000000000000"],
    )
    .await;
    let spec = |more: Value| json!({ "spec": more });
    mine_and_not_the_other(
        &story,
        &[
            ("GET /v2/dedicated-inferences/{}/ca", NONE),
            ("GET /v2/dedicated-inferences/{}/accelerators", NONE),
            (
                "GET /v2/dedicated-inferences/{}/accelerators/67707500-0000-4000-8000-000000000000",
                NONE,
            ),
            ("GET /v2/dedicated-inferences/{}/tokens", NONE),
            (
                "POST /v2/dedicated-inferences/{}/tokens",
                json!({ "name": "more" }),
            ),
            (
                "DELETE /v2/dedicated-inferences/{}/tokens/74310000-0000-4000-8000-000000000000",
                NONE,
            ),
            (
                "PATCH /v2/dedicated-inferences/{}",
                spec(json!({ "enable_public_endpoint": false })),
            ),
            ("DELETE /v2/dedicated-inferences/{}", NONE),
        ],
    )
    .await;
    let new = spec(json!({ "name": "chat", "region": "atl1" }));
    story
        .holds(&[
            ("POST /v2/dedicated-inferences", new, "resource"),
            ("GET /v2/dedicated-inferences/sizes", NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

/// Where it stands is in the body: a VPC of one's own, and none else.
#[tokio::test]
async fn an_endpoint_for_inference_enters_no_network_of_others() {
    let role = "
    allow:
      - scopes: ['dedicated_inference:*', dedicated_inference:create, vpc:read]
        only: { dedicated_inference: { name: 'chat*' }, vpc: { name: default-nyc3 } }
";
    let story = Story::in_world(role, two_of_each()).await;
    let spec = |name: &str, vpc: &str| json!({ "spec": { "name": name, "region": "atl1", "vpc": { "uuid": vpc } } });
    let (own, other) = (
        "d455e75d-4858-4eec-8c95-da2f0a5f93a7",
        "5a4981aa-9653-4bd1-bef5-d6bff52042e4",
    );
    let (new, change) = (
        "POST /v2/dedicated-inferences",
        format!("PATCH /v2/dedicated-inferences/{MINE}"),
    );
    story
        .holds(&[
            (new, spec("chat-2", own), "ok"),
            (new, spec("chat-2", other), "resource"),
            (new, spec("voice", own), "resource"),
            (&change, spec("chat-3", own), "ok"),
            (&change, spec("chat-3", other), "resource"),
            (&change, spec("voice", own), "resource"),
        ])
        .await;
    story.finish().await;
}
