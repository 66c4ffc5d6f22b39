//! Agents and what they know, inference, and functions.

use serde_json::json;

use super::super::reply::Reply;
use super::serve::{Call, Outcome, one};
use super::shelf::{Shelf, shelf};
use super::shown::shown;
use super::{World, pages, text};

/// The lists that are kept as any other.
pub(super) const SHELVES: &[Shelf] = &[
    shelf(
        "functions/namespaces",
        "namespaces",
        "namespace",
        "namespace",
    )
    .created(200),
    shelf(
        "functions/namespaces/*/triggers",
        "triggers",
        "trigger",
        "name",
    )
    .created(200),
    shelf(
        "functions/namespaces/*/keys",
        "access_keys",
        "access_key",
        "id",
    ),
    shelf(
        "dedicated-inferences",
        "dedicated_inferences",
        "dedicated_inference",
        "id",
    )
    .created(202),
    shelf(
        "dedicated-inferences/*/accelerators",
        "accelerators",
        "",
        "id",
    ),
    shelf("dedicated-inferences/*/tokens", "tokens", "token", "id").created(202),
    shelf("gen-ai/agents", "agents", "agent", "uuid").created(200),
    shelf(
        "gen-ai/agents/*/api_keys",
        "api_key_infos",
        "api_key_info",
        "uuid",
    )
    .created(200),
    shelf(
        "gen-ai/agents/*/versions",
        "agent_versions",
        "agent_version",
        "version_hash",
    ),
    shelf(
        "gen-ai/anthropic/keys",
        "api_key_infos",
        "api_key_info",
        "uuid",
    )
    .created(200),
    shelf("gen-ai/custom_models", "models", "model", "uuid").created(200),
    shelf(
        "gen-ai/evaluation_test_cases",
        "evaluation_test_cases",
        "evaluation_test_case",
        "test_case_uuid",
    )
    .created(200),
    shelf("gen-ai/indexing_jobs", "jobs", "job", "uuid").created(200),
    shelf(
        "gen-ai/knowledge_bases",
        "knowledge_bases",
        "knowledge_base",
        "uuid",
    )
    .created(200),
    shelf(
        "gen-ai/knowledge_bases/*/data_sources",
        "knowledge_base_data_sources",
        "knowledge_base_data_source",
        "uuid",
    )
    .created(200),
    shelf(
        "gen-ai/models/api_keys",
        "api_key_infos",
        "api_key_info",
        "uuid",
    )
    .created(200),
    shelf(
        "gen-ai/models/routers",
        "model_routers",
        "model_router",
        "uuid",
    )
    .created(200),
    shelf(
        "gen-ai/openai/keys",
        "api_key_infos",
        "api_key_info",
        "uuid",
    )
    .created(200),
    shelf("gen-ai/workspaces", "workspaces", "workspace", "uuid").created(200),
];

/// What they have that is no list of its own. `None` leaves the call to the others.
pub(super) fn special(world: &mut World, call: &Call, parts: &[&str]) -> Option<Outcome> {
    Some(match (call.method.as_str(), parts) {
        ("GET", ["functions", "namespaces", id, "keys"]) => keys(world, id),
        ("GET", ["gen-ai", "knowledge_bases", id, "indexing_jobs"]) => jobs(world, call, id),
        ("GET", ["gen-ai", "workspaces", id, "agents"]) => agents(world, call, id),
        _ => return None,
    })
}

/// `functionsAccessKey_list`: it tells how many there are.
fn keys(world: &World, namespace: &str) -> Outcome {
    one(world, "functions/namespaces", namespace)?;
    let all = world.all(&format!("functions/namespaces/{namespace}/keys"));
    let keys = json!({ "access_keys": all, "count": all.len() });
    Ok(Reply::json(200, &keys))
}

/// `genai_list_indexing_jobs_by_knowledge_base`.
fn jobs(world: &World, call: &Call, of: &str) -> Outcome {
    one(world, "gen-ai/knowledge_bases", of)?;
    let path = "gen-ai/indexing_jobs";
    let all = world.all(path).iter();
    let own = all.filter(|job| text(&job["knowledge_base_uuid"]) == of);
    let own = own.map(|job| shown(world, path, job)).collect();
    Ok(pages::page(call, "jobs", own))
}

/// `genai_list_agents_by_workspace`.
fn agents(world: &World, call: &Call, of: &str) -> Outcome {
    one(world, "gen-ai/workspaces", of)?;
    let path = "gen-ai/agents";
    let all = world.all(path).iter();
    let own = all.filter(|agent| text(&agent["workspace"]["uuid"]) == of);
    let own = own.map(|agent| shown(world, path, agent)).collect();
    Ok(pages::page(call, "agents", own))
}
