//! What a client sees of a resource: the full shape, made from the short one that is kept.

use serde_json::{Value, json};

use super::super::API_URL;
use super::shelf::{Shelf, kept_at};
use super::{NOW, World, labels, text};

/// A resource as the API shows it. What is there already in full shape stays as it is; members that begin with `_` are
/// the stand-in's own and stay hidden.
pub(super) fn shown(world: &World, path: &str, item: &Value) -> Value {
    let mut item = item.clone();
    match path {
        "droplets" => droplet(world, &mut item),
        "volumes" => volume(world, &mut item),
        "actions" | "load_balancers" => region(world, &mut item),
        "reserved_ips" | "floating_ips" => reserved_ip(world, &mut item),
        "tags" => item["resources"] = labels::resources(world, &text(&item["name"])),
        _ => {}
    }
    project(world, path, &mut item);
    if let Some(members) = item.as_object_mut() {
        members.retain(|name, _| !name.starts_with('_'));
    }
    item
}

fn droplet(world: &World, item: &mut Value) {
    let id = text(&item["id"]);
    sized(world, item);
    if let Some(image) = named(world, "images", &item["image"]) {
        item["image"] = image;
    }
    let vpc = default_vpc(world, &item["region"]);
    default(item, "vpc_uuid", || vpc);
    region(world, item);
    default(item, "volume_ids", || {
        ids(world, "volumes", |volume| {
            holds(&volume["droplet_ids"], &id)
        })
    });
    default(item, "snapshot_ids", || images_of(world, &id, "snapshot"));
    default(item, "backup_ids", || images_of(world, &id, "backup"));
    default(item, "networks", || networks(&id));
    default(item, "features", || {
        json!(["monitoring", "private_networking"])
    });
    for (name, value) in usual() {
        default(item, name, || value);
    }
}

/// What most Droplets have alike.
fn usual() -> [(&'static str, Value); 6] {
    [
        ("status", json!("active")),
        ("locked", json!(false)),
        ("kernel", Value::Null),
        ("created_at", json!(NOW)),
        ("next_backup_window", Value::Null),
        ("tags", json!([])),
    ]
}

/// The size, and the members that repeat what it says.
fn sized(world: &World, item: &mut Value) {
    let Some(size) = named(world, "sizes", &item["size"]) else {
        return;
    };
    item["size_slug"] = size["slug"].clone();
    for name in ["memory", "vcpus", "disk", "disk_info"] {
        item[name] = size[name].clone();
    }
    item["size"] = size;
}

/// The resource that a slug, or an id, stands for; `None` where the value is no such name.
fn named(world: &World, path: &str, value: &Value) -> Option<Value> {
    let id = value
        .as_str()
        .map(str::to_owned)
        .or_else(|| value.as_u64().map(|id| id.to_string()))?;
    world.one(path, &id).cloned()
}

fn default_vpc(world: &World, region: &Value) -> Value {
    let vpc = world
        .all("vpcs")
        .iter()
        .find(|vpc| vpc["default"] == true && vpc["region"] == *region);
    vpc.map_or(Value::Null, |vpc| vpc["id"].clone())
}

/// Addresses from the ranges for documentation, different for most Droplets.
fn networks(id: &str) -> Value {
    let last = id.parse().unwrap_or(0_u64) % 253 + 2;
    json!({
        "v4": [
            { "ip_address": format!("10.100.0.{last}"), "netmask": "255.255.240.0", "gateway": "10.100.0.1", "type": "private" },
            { "ip_address": format!("203.0.113.{last}"), "netmask": "255.255.255.0", "gateway": "203.0.113.1", "type": "public" }
        ],
        "v6": []
    })
}

fn images_of(world: &World, droplet: &str, kind: &str) -> Value {
    let all = world
        .all("images")
        .iter()
        .filter(|image| image["type"] == kind && is_of(world, image, droplet));
    all.map(|image| image["id"].clone()).collect()
}

/// True if the image was taken of the Droplet: the snapshot of the same id says so, or the image itself.
pub(super) fn is_of(world: &World, image: &Value, droplet: &str) -> bool {
    let snapshot = world.one("snapshots", &text(&image["id"]));
    image["_of"] == droplet || snapshot.is_some_and(|snapshot| snapshot["resource_id"] == droplet)
}

fn volume(world: &World, item: &mut Value) {
    region(world, item);
    default(item, "description", || json!(""));
    default(item, "droplet_ids", || json!([]));
    default(item, "created_at", || json!(NOW));
    default(item, "tags", || json!([]));
}

/// The Droplet that it is assigned to comes whole, which is what a proxy has to look into.
fn reserved_ip(world: &World, item: &mut Value) {
    region(world, item);
    let assigned = world.one("droplets", &text(&item["droplet"]));
    if let Some(droplet) = assigned {
        item["droplet"] = shown(world, "droplets", droplet);
    }
}

fn region(world: &World, item: &mut Value) {
    if let Some(region) = named(world, "regions", &item["region"]) {
        item["region"] = region;
    }
}

/// Some kinds say which project they are in; the others hide it.
fn project(world: &World, path: &str, item: &mut Value) {
    let tells = matches!(
        kept_at(path).as_str(),
        "databases" | "reserved_ips" | "load_balancers" | "apps"
    );
    let urn = Shelf::named(path).urn_of(item);
    if let Some(project) = urn.filter(|_| tells).and_then(|urn| world.project_of(&urn)) {
        item["project_id"] = json!(project);
    }
}

fn ids(world: &World, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    world
        .all(path)
        .iter()
        .filter(|item| fits(item))
        .map(|item| item["id"].clone())
        .collect()
}

/// True if the array has the id, as a number or as a string.
pub(super) fn holds(array: &Value, id: &str) -> bool {
    array
        .as_array()
        .is_some_and(|ids| ids.iter().any(|own| text(own) == id))
}

fn default(item: &mut Value, name: &str, make: impl FnOnce() -> Value) {
    if item.get(name).is_none() {
        item[name] = make();
    }
}

/// The address of a resource at the real API.
pub(super) fn address(path: &str, id: &str) -> Value {
    json!(format!("{API_URL}/v2/{path}/{id}"))
}
