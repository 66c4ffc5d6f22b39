//! Agents, knowledge bases, workspaces, keys and models.

use serde_json::{Value, json};

use super::{CLIENT_A, CLIENT_B, MINE, OTHER, mine_and_not_the_other, only_listed, only_mine};
use crate::narrowed::{NONE, Story};
use crate::support::World;

/// Two of each, alike but for their ids, tags and projects.
fn two_of_each() -> World {
    let both = |make: &dyn Fn(&str, &str, &str) -> Value| {
        [
            make(MINE, "client-a", CLIENT_A),
            make(OTHER, "client-b", CLIENT_B),
        ]
    };
    let named = |id: &str, name: &str| json!({ "uuid": id, "name": name });
    let agent = |id: &str, tag: &str, project: &str| {
        json!({ "uuid": id, "name": "bot", "region": "tor1", "tags": [tag], "project_id": project,
            "workspace": { "uuid": id }, "functions": [{ "uuid": "66310000-0000-4000-8000-000000000000", "name": "hello", "faas_namespace": "fn-a", "faas_name": "hello" }],
            "guardrails": [{ "guardrail_uuid": "67310000-0000-4000-8000-000000000000", "name": "toxicity" }] })
    };
    let base = |id: &str, tag: &str, project: &str| {
        json!({ "uuid": id, "name": "docs", "region": "tor1", "tags": [tag], "project_id": project,
            "database_id": "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30" })
    };
    let job = |id: &str, _: &str, _: &str| json!({ "uuid": id, "knowledge_base_uuid": id, "data_source_uuids": [id] });
    let source = |id: &str, _: &str, _: &str| json!({ "uuid": id, "bucket_name": "docs" });
    let key = |id: &str, _: &str, _: &str| named(id, "key");
    let world = World::default()
        .with("gen-ai/agents", both(&agent))
        .with("gen-ai/knowledge_bases", both(&base))
        .with("gen-ai/indexing_jobs", both(&job));
    let alike = [
        "gen-ai/anthropic/keys",
        "gen-ai/openai/keys",
        "gen-ai/models/api_keys",
        "gen-ai/models/routers",
        "gen-ai/custom_models",
        "gen-ai/workspaces",
    ];
    let world = alike
        .into_iter()
        .fold(world, |world, path| world.with(path, both(&key)));
    [MINE, OTHER].into_iter().fold(world, |world, id| {
        world
            .with(
                &format!("gen-ai/agents/{id}/api_keys"),
                [named("6b310000-0000-4000-8000-000000000000", "key")],
            )
            .with(
                &format!("gen-ai/agents/{id}/versions"),
                [json!({ "version_hash": "v1", "id": "v1", "agent_uuid": id })],
            )
            .with(
                &format!("gen-ai/knowledge_bases/{id}/data_sources"),
                [source(id, "", "")],
            )
    })
}

fn one_of(kind: &str) -> String {
    format!(
        "
    allow:
      - scopes: ['genai:*', genai:create, genai:update]
        only: {{ {kind}: {{ id: {MINE} }} }}
"
    )
}

#[tokio::test]
async fn one_of_two_agents_with_its_keys_functions_and_versions() {
    let story = Story::in_world(&one_of("genai_agent"), two_of_each()).await;
    let path = "/v2/gen-ai/agents";
    only_mine(&story, path, "agents.uuid", MINE, OTHER).await;
    let own = format!("{path}/{MINE}");
    only_listed(
        &story,
        &format!("{own}/api_keys"),
        "api_key_infos.uuid",
        &["6b310000-0000-4000-8000-000000000000"],
    )
    .await;
    only_listed(
        &story,
        &format!("{own}/versions"),
        "agent_versions.version_hash",
        &["v1"],
    )
    .await;
    mine_and_not_the_other(
        &story,
        &[
            ("GET /v2/gen-ai/agents/{}/api_keys", NONE),
            ("GET /v2/gen-ai/agents/{}/usage", NONE),
            ("GET /v2/gen-ai/agents/{}/versions", NONE),
            ("GET /v2/gen-ai/agents/{}/child_agents", NONE),
            (
                "PUT /v2/gen-ai/agents/{}",
                json!({ "instruction": "be brief" }),
            ),
            (
                "PUT /v2/gen-ai/agents/{}/deployment_visibility",
                json!({ "visibility": "VISIBILITY_PRIVATE" }),
            ),
            (
                "POST /v2/gen-ai/agents/{}/api_keys",
                json!({ "name": "more" }),
            ),
            (
                "PUT /v2/gen-ai/agents/{}/api_keys/6b310000-0000-4000-8000-000000000000",
                json!({ "name": "other" }),
            ),
            ("PUT /v2/gen-ai/agents/{}/api_keys/6b310000-0000-4000-8000-000000000000/regenerate", NONE),
            ("DELETE /v2/gen-ai/agents/{}/api_keys/6b310000-0000-4000-8000-000000000000", NONE),
            (
                "PUT /v2/gen-ai/agents/{}/functions/66310000-0000-4000-8000-000000000000",
                json!({ "description": "says hello" }),
            ),
            ("DELETE /v2/gen-ai/agents/{}/functions/66310000-0000-4000-8000-000000000000", NONE),
            (
                "POST /v2/gen-ai/agents/{}/guardrails",
                json!({ "guardrails": [{ "guardrail_uuid": "67320000-0000-4000-8000-000000000000", "priority": 1 }] }),
            ),
            ("DELETE /v2/gen-ai/agents/{}/guardrails/67310000-0000-4000-8000-000000000000", NONE),
        ],
    )
    .await;
    let other_path = |inner: &str| format!("{own}/{inner}/{OTHER}");
    story
        .holds(&[
            (
                &format!("PUT {own}"),
                json!({ "uuid": OTHER }),
                "ambiguous_request",
            ),
            (
                &format!("PUT {own}"),
                json!({ "uuid": MINE, "name": "bot" }),
                "ok",
            ),
            // Through another resource: what it could ask, read or call.
            (
                &format!("POST {}", other_path("child_agents")),
                json!({ "route_name": "r" }),
                "resource_hidden",
            ),
            (
                &format!("POST {}", other_path("knowledge_bases")),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("POST {own}/functions"),
                json!({ "function_name": "f", "faas_namespace": "fn-b", "faas_name": "f" }),
                "resource",
            ),
            (
                &format!("PUT {own}"),
                json!({ "open_ai_key_uuid": OTHER }),
                "resource",
            ),
            (
                &format!("PUT {own}"),
                json!({ "anthropic_key_uuid": OTHER }),
                "resource",
            ),
            (
                &format!("PUT {own}"),
                json!({ "model_router_uuid": OTHER }),
                "resource",
            ),
            (
                &format!("PUT {own}"),
                json!({ "project_id": CLIENT_B }),
                "resource",
            ),
            (
                "POST /v2/gen-ai/agents",
                json!({ "name": "bot" }),
                "resource",
            ),
            (
                "POST /v2/gen-ai/workspaces",
                json!({ "name": "desk", "agent_uuids": [OTHER] }),
                "resource",
            ),
            (
                &format!("GET /v2/gen-ai/workspaces/{OTHER}/agents"),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("GET /v2/gen-ai/openai/keys/{OTHER}/agents"),
                NONE,
                "resource_hidden",
            ),
            (&format!("DELETE {path}/{OTHER}"), NONE, "resource_hidden"),
            (&format!("DELETE {own}"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn one_of_two_knowledge_bases_with_its_sources_and_jobs() {
    let story = Story::in_world(&one_of("genai_knowledge_base"), two_of_each()).await;
    let path = "/v2/gen-ai/knowledge_bases";
    only_mine(&story, path, "knowledge_bases.uuid", MINE, OTHER).await;
    let own = format!("{path}/{MINE}");
    only_listed(
        &story,
        &format!("{own}/data_sources"),
        "knowledge_base_data_sources.uuid",
        &[MINE],
    )
    .await;
    only_listed(
        &story,
        &format!("{own}/indexing_jobs"),
        "jobs.uuid",
        &[MINE],
    )
    .await;
    only_mine(&story, "/v2/gen-ai/indexing_jobs", "jobs.uuid", MINE, OTHER).await;
    mine_and_not_the_other(
        &story,
        &[
            ("GET /v2/gen-ai/knowledge_bases/{}/data_sources", NONE),
            ("GET /v2/gen-ai/knowledge_bases/{}/indexing_jobs", NONE),
            ("GET /v2/gen-ai/indexing_jobs/{}/data_sources", NONE),
            ("GET /v2/gen-ai/indexing_jobs/{}/details_signed_url", NONE),
            ("GET /v2/gen-ai/scheduled-indexing/knowledge-base/{}", NONE),
            ("PUT /v2/gen-ai/indexing_jobs/{}/cancel", json!({})),
            (
                "PUT /v2/gen-ai/knowledge_bases/{}",
                json!({ "name": "docs" }),
            ),
        ],
    )
    .await;
    let job = |base: &str, source: &str| json!({ "knowledge_base_uuid": base, "data_source_uuids": [source] });
    story
        .holds(&[
            ("POST /v2/gen-ai/indexing_jobs", job(MINE, MINE), "ok"),
            (
                "POST /v2/gen-ai/indexing_jobs",
                job(OTHER, OTHER),
                "resource",
            ),
            (
                "POST /v2/gen-ai/indexing_jobs",
                job(OTHER, MINE),
                "resource",
            ),
            (
                "POST /v2/gen-ai/scheduled-indexing",
                json!({ "knowledge_base_uuid": MINE, "time": "03:00", "days": [1] }),
                "ok",
            ),
            (
                "POST /v2/gen-ai/scheduled-indexing",
                json!({ "knowledge_base_uuid": OTHER, "time": "03:00", "days": [1] }),
                "resource",
            ),
            (
                &format!("POST {own}/data_sources"),
                json!({ "knowledge_base_uuid": OTHER }),
                "ambiguous_request",
            ),
            // A bucket is read with what the account may.
            (
                &format!("POST {own}/data_sources"),
                json!({ "spaces_data_source": { "bucket_name": "b-files", "region": "nyc3" } }),
                "resource",
            ),
            // What is indexed is written in a database.
            (
                &format!("PUT {own}"),
                json!({ "database_id": "b92438f6-ba03-416c-b642-e9236db91976" }),
                "resource",
            ),
            (
                &format!("PUT {own}"),
                json!({ "project_id": CLIENT_B }),
                "resource",
            ),
            (
                &format!("DELETE {path}/{OTHER}/data_sources/{OTHER}"),
                NONE,
                "resource_hidden",
            ),
            (&format!("DELETE {own}/data_sources/{MINE}"), NONE, "ok"),
            // An agent tells what its knowledge bases hold.
            (
                &format!("POST /v2/gen-ai/agents/{OTHER}/knowledge_bases/{MINE}"),
                NONE,
                "resource_hidden",
            ),
            (&format!("DELETE {path}/{OTHER}"), NONE, "resource_hidden"),
            (&format!("DELETE {own}"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn one_of_two_workspaces_gains_no_agent() {
    let role = format!(
        "
    allow:
      - scopes: ['genai:*']
        only: {{ genai_workspace: {{ id: {MINE} }}, genai_agent: {{ genai_workspace: {MINE} }} }}
"
    );
    let story = Story::in_world(&role, two_of_each()).await;
    let path = "/v2/gen-ai/workspaces";
    only_mine(&story, path, "workspaces.uuid", MINE, OTHER).await;
    only_mine(&story, "/v2/gen-ai/agents", "agents.uuid", MINE, OTHER).await;
    let own = format!("{path}/{MINE}");
    only_listed(&story, &format!("{own}/agents"), "agents.uuid", &[MINE]).await;
    let moved = |agent: &str| json!({ "agent_uuids": [agent] });
    story
        .holds(&[
            (&format!("PUT {own}/agents"), moved(MINE), "ok"),
            (&format!("PUT {own}/agents"), moved(OTHER), "resource"),
            (
                &format!("PUT {path}/{OTHER}/agents"),
                moved(MINE),
                "resource_hidden",
            ),
            (
                &format!("PUT {own}"),
                json!({ "workspace_uuid": OTHER, "name": "mine" }),
                "ambiguous_request",
            ),
            (&format!("PUT {own}"), json!({ "name": "mine" }), "ok"),
            (
                &format!("GET {path}/{OTHER}/agents"),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("GET {path}/{OTHER}/evaluation_test_cases"),
                NONE,
                "resource_hidden",
            ),
            (&format!("DELETE {path}/{OTHER}"), NONE, "resource_hidden"),
            (&format!("DELETE {own}"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn one_of_two_keys_routers_and_models() {
    let kinds = [
        (
            "genai_anthropic_api_key",
            "anthropic/keys",
            "api_key_infos.uuid",
        ),
        ("genai_openai_api_key", "openai/keys", "api_key_infos.uuid"),
        ("genai_model_router", "models/routers", "model_routers.uuid"),
        ("genai_custom_model", "custom_models", "models.uuid"),
    ];
    for (kind, path, list) in kinds {
        let story = Story::in_world(&one_of(kind), two_of_each()).await;
        let path = format!("/v2/gen-ai/{path}");
        only_mine(&story, &path, list, MINE, OTHER).await;
        let change = if kind == "genai_custom_model" {
            format!("PATCH {path}/{{}}/metadata")
        } else {
            format!("PUT {path}/{{}}")
        };
        mine_and_not_the_other(
            &story,
            &[
                (change.as_str(), json!({ "name": "renamed" })),
                (format!("DELETE {path}/{{}}").as_str(), NONE),
            ],
        )
        .await;
        story.finish().await;
    }
}

/// Keys for models have no look-up but their list.
#[tokio::test]
async fn one_of_two_keys_for_models() {
    let story = Story::in_world(&one_of("genai_model_api_key"), two_of_each()).await;
    only_listed(
        &story,
        "/v2/gen-ai/models/api_keys",
        "api_key_infos.uuid",
        &[MINE],
    )
    .await;
    mine_and_not_the_other(
        &story,
        &[
            (
                "PUT /v2/gen-ai/models/api_keys/{}",
                json!({ "name": "key" }),
            ),
            ("PUT /v2/gen-ai/models/api_keys/{}/regenerate", NONE),
            ("DELETE /v2/gen-ai/models/api_keys/{}", NONE),
        ],
    )
    .await;
    story
        .holds(&[
            (
                "POST /v2/gen-ai/models/api_keys",
                json!({ "name": "key" }),
                "resource",
            ),
            ("GET /v2/gen-ai/models", NONE, "ok"), // the platform's belong to nobody
        ])
        .await;
    story.finish().await;
}
