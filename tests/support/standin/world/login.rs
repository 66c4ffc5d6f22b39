//! What logs in somewhere. All of it is plainly fake, and all of it contains `fake`, so that a test can look for it.

use serde_json::json;

use super::super::reply::Reply;
use super::serve::{Call, Outcome};
use super::{World, pages, text};

/// `kubernetes_get_kubeconfig`: YAML, not JSON.
pub(super) fn kubeconfig(world: &World, id: &str) -> Outcome {
    let cluster = world
        .one("kubernetes/clusters", id)
        .ok_or_else(Reply::not_found)?;
    let (name, server) = (
        format!("do-nyc3-{}", text(&cluster["name"])),
        text(&cluster["endpoint"]),
    );
    let yaml = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: ZmFrZQ==\n    server: {server}\n  \
         name: {name}\ncontexts:\n- context:\n    cluster: {name}\n    user: {name}-admin\n  name: {name}\n\
         current-context: {name}\nkind: Config\npreferences: {{}}\nusers:\n- name: {name}-admin\n  user:\n    \
         token: fake-cluster-token\n"
    );
    Ok(Reply::bytes(200, "application/yaml", yaml))
}

/// `kubernetes_get_credentials`.
pub(super) fn cluster_credentials(world: &World, id: &str) -> Outcome {
    let cluster = world
        .one("kubernetes/clusters", id)
        .ok_or_else(Reply::not_found)?;
    let body = json!({ "server": cluster["endpoint"], "certificate_authority_data": "ZmFrZQ==",
        "client_certificate_data": null, "client_key_data": null, "token": "fake-cluster-token",
        "expires_at": "2027-01-01T00:00:00Z" });
    Ok(Reply::json(200, &body))
}

/// `kubernetes_list_nodePools`.
pub(super) fn node_pools(world: &World, call: &Call, id: &str) -> Outcome {
    let cluster = world
        .one("kubernetes/clusters", id)
        .ok_or_else(Reply::not_found)?;
    Ok(pages::page(
        call,
        "node_pools",
        cluster["node_pools"]
            .as_array()
            .cloned()
            .unwrap_or_default(),
    ))
}

/// `registry_get_dockerCredentials`, of the one registry or of a named one.
pub(super) fn docker_credentials(world: &World, name: Option<&str>) -> Outcome {
    let named = name.map_or_else(
        || world.all("registries").first(),
        |name| world.one("registries", name),
    );
    named.ok_or_else(Reply::not_found)?;
    let auth = "ZmFrZS11c2VyOmZha2UtcGFzc3dvcmQ="; // fake-user:fake-password
    Ok(Reply::json(
        200,
        &json!({ "auths": { "registry.digitalocean.com": { "auth": auth } } }),
    ))
}
