//! The endpoints that do more than keep a list, and what each of them does.

use serde_json::json;

use super::super::reply::Reply;
use super::serve::{Call, Outcome, aside, one};
use super::{
    World, dns, droplets, firewalls, images, joined, labels, login, models, networks, platform,
    projects, stores, volumes, watched,
};

/// The answer of such an endpoint. `None` leaves the call to the lists.
pub(super) fn special(world: &mut World, call: &Call) -> Option<Outcome> {
    let parts: Vec<&str> = call.parts.iter().map(String::as_str).collect();
    of_droplets(world, call, &parts)
        .or_else(|| of_disks(world, call, &parts))
        .or_else(|| of_names(world, call, &parts))
        .or_else(|| of_networks(world, call, &parts))
        .or_else(|| of_logins(world, call, &parts))
        .or_else(|| platform::special(world, call, &parts))
        .or_else(|| stores::special(world, call, &parts))
        .or_else(|| models::special(world, call, &parts))
}

fn of_droplets(world: &mut World, call: &Call, parts: &[&str]) -> Option<Outcome> {
    Some(match (call.method.as_str(), parts) {
        ("POST", ["droplets"]) => droplets::create(world, call),
        ("DELETE", ["droplets"]) => droplets::delete_by_tag(world, call),
        ("POST", ["droplets", "actions"]) => droplets::act_by_tag(world, call),
        ("POST", ["droplets", id, "actions"]) => droplets::act(world, call, id),
        ("DELETE", ["droplets", id]) if !aside(id) => droplets::delete(world, id),
        ("GET", ["droplets", id, CASCADE]) => droplets::associated(world, id),
        ("DELETE", ["droplets", id, CASCADE, "dangerous"]) => droplets::destroy(world, id, None),
        ("DELETE", ["droplets", id, CASCADE, "selective"]) => {
            droplets::destroy(world, id, Some(&call.body))
        }
        ("GET", ["droplets", "backups", "policies"]) => Ok(images::policies(world, call)),
        ("GET", ["reports", "droplet_neighbors_ids"]) => Ok(images::neighbors(world)),
        ("GET", ["droplets", id, "snapshots"]) => images::of_droplet(world, call, id, "snapshot"),
        ("GET", ["droplets", id, "backups"]) => images::of_droplet(world, call, id, "backup"),
        ("GET", ["droplets", id, "firewalls"]) => firewalls::of_droplet(world, call, id),
        ("GET", [kind, id, "actions"]) if acted_on(kind) => {
            droplets::actions_of(world, call, kind, id)
        }
        ("GET", [kind, _, "actions", id]) if acted_on(kind) => one(world, "actions", id),
        _ => return None,
    })
}

fn acted_on(kind: &str) -> bool {
    matches!(
        kind,
        "droplets" | "volumes" | "images" | "reserved_ips" | "floating_ips"
    )
}

fn of_disks(world: &mut World, call: &Call, parts: &[&str]) -> Option<Outcome> {
    Some(match (call.method.as_str(), parts) {
        ("POST", ["volumes"]) => volumes::create(world, call),
        ("DELETE", ["volumes"]) => volumes::delete_by_name(world, call),
        ("POST", ["volumes", "actions"]) => volumes::act_by_name(world, call),
        ("POST", ["volumes", id, "actions"]) => volumes::act(world, call, id),
        ("GET", ["volumes", id, "snapshots"]) => volumes::snapshots(world, call, id),
        ("POST", ["volumes", id, "snapshots"]) => volumes::snapshot(world, call, id),

        ("POST", ["images"]) => images::create(world, call),
        ("POST", ["images", id, "actions"]) => images::act(world, call, id),
        ("DELETE", [path @ ("images" | "snapshots"), id]) => images::delete(world, path, id),
        _ => return None,
    })
}

fn of_names(world: &mut World, call: &Call, parts: &[&str]) -> Option<Outcome> {
    Some(match (call.method.as_str(), parts) {
        ("POST", ["domains"]) => dns::create_domain(world, call),
        ("DELETE", ["domains", name]) => dns::delete_domain(world, name),
        ("GET", ["domains", domain, "records"]) => dns::list(world, call, domain),
        ("POST", ["domains", domain, "records"]) => dns::create(world, call, domain),
        ("PUT" | "PATCH", ["domains", domain, "records", id]) => {
            dns::update(world, call, domain, id)
        }

        ("POST", ["tags"]) => labels::create(world, call),
        ("DELETE", ["tags", name]) => labels::delete(world, name),
        ("POST", ["tags", name, "resources"]) => labels::tag(world, call, name),
        ("DELETE", ["tags", name, "resources"]) => labels::untag(world, call, name),

        ("POST", ["projects"]) => projects::create(world, call),
        ("GET", ["projects", id, "resources"]) => projects::list(world, call, id),
        ("POST", ["projects", id, "resources"]) => projects::assign(world, call, id),
        _ => return None,
    })
}

fn of_networks(world: &mut World, call: &Call, parts: &[&str]) -> Option<Outcome> {
    Some(match (call.method.as_str(), parts) {
        ("POST", ["firewalls"]) => firewalls::create(world, call),
        ("PUT", ["firewalls", id]) => firewalls::replace(world, call, id),
        ("POST", ["firewalls", id, what]) => firewalls::add(world, call, id, what),
        ("DELETE", ["firewalls", id, what]) => firewalls::remove(world, call, id, what),

        ("POST", [kind @ ("reserved_ips" | "floating_ips")]) => {
            networks::reserve(world, call, kind)
        }
        ("POST", [kind @ ("reserved_ips" | "floating_ips"), ip, "actions"]) => {
            networks::act(world, call, kind, ip)
        }
        ("GET", ["vpcs", id, "members"]) => networks::members(world, call, id),
        ("GET", ["vpcs", id, "peerings"]) => joined::peerings(world, call, id),
        ("POST", ["vpcs", id, "peerings"]) => joined::peer(world, call, id),
        ("GET", ["monitoring", "metrics", ..]) => watched::metrics(call),
        _ => return None,
    })
}

fn of_logins(world: &mut World, call: &Call, parts: &[&str]) -> Option<Outcome> {
    let first = |path: &str| world.all(path).first();
    Some(match (call.method.as_str(), parts) {
        ("GET", ["account"]) => Ok(Reply::json(200, &json!({ "account": first("account") }))),
        ("GET", ["registry"]) => Ok(Reply::json(
            200,
            &json!({ "registry": first("registries") }),
        )),
        ("GET", ["registry", "docker-credentials"]) => login::docker_credentials(world, None),
        ("GET", ["registry", name, "docker-credentials"]) => {
            login::docker_credentials(world, Some(name))
        }
        ("GET", ["kubernetes", "clusters", id, "kubeconfig"]) => login::kubeconfig(world, id),
        ("GET", ["kubernetes", "clusters", id, "credentials"]) => {
            login::cluster_credentials(world, id)
        }
        ("GET", ["kubernetes", "clusters", id, "node_pools"]) => login::node_pools(world, call, id),
        _ => return None,
    })
}

const CASCADE: &str = "destroy_with_associated_resources";
