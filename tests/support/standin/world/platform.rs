//! What apps, clusters and shares have below them that is no list of its own.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::serve::{Call, Outcome};
use super::{World, text};

/// The answer of such an endpoint. `None` leaves the call to the others.
pub(super) fn special(world: &mut World, call: &Call, parts: &[&str]) -> Option<Outcome> {
    Some(match (call.method.as_str(), parts) {
        ("GET", ["kubernetes", "clusters", cluster, "node_pools", pool]) => {
            node_pool(world, cluster, pool)
        }
        (
            "GET",
            [
                "kubernetes",
                "clusters",
                cluster,
                "node_pools_template",
                name,
            ],
        ) => node_pool_template(world, cluster, name),
        ("GET", ["droplets", "autoscale", pool, "members"]) => members(world, pool),
        _ => return None,
    })
}

/// `kubernetes_get_nodePool`.
fn node_pool(world: &World, cluster: &str, pool: &str) -> Outcome {
    let cluster = world
        .one("kubernetes/clusters", cluster)
        .ok_or_else(Reply::not_found)?;
    let mut pools = cluster["node_pools"].as_array().into_iter().flatten();
    let found = pools.find(|item| text(&item["id"]) == pool);
    let found: &Value = found.ok_or_else(Reply::not_found)?;
    Ok(Reply::json(200, &json!({ "node_pool": found })))
}

/// What a node of a pool will be like, by the pool's name: the cluster autoscaler asks for it.
fn node_pool_template(world: &World, cluster: &str, name: &str) -> Outcome {
    let cluster = world
        .one("kubernetes/clusters", cluster)
        .ok_or_else(Reply::not_found)?;
    let mut pools = cluster["node_pools"].as_array().into_iter().flatten();
    let found = pools.find(|item| text(&item["name"]) == name);
    let found: &Value = found.ok_or_else(Reply::not_found)?;
    let template = json!({ "cluster_uuid": cluster["id"], "name": name, "slug": found["size"], "labels": {}, "taints": [] });
    Ok(Reply::json(200, &json!({ "template": template })))
}

/// `autoscalepools_list_members`.
fn members(world: &World, pool: &str) -> Outcome {
    world
        .one("droplets/autoscale", pool)
        .ok_or_else(Reply::not_found)?;
    let droplets = json!([{ "droplet_id": 31, "status": "active" }]);
    Ok(Reply::json(200, &json!({ "droplets": droplets })))
}
