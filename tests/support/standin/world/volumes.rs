//! Block storage. Its actions do not say to which volume they belong, as in the API.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::droplets::started;
use super::serve::{Call, Outcome, created, delete, one};
use super::shown::holds;
use super::{NOW, World, labels, pages, text, texts};

/// `volumes_create`.
pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let Some(name) = call.body["name"].as_str() else {
        return Err(Reply::unprocessable("Name can't be blank"));
    };
    let source = call.body["snapshot_id"]
        .as_str()
        .filter(|id| !id.is_empty());
    if source.is_some_and(|id| world.one("snapshots", id).is_none()) {
        return Err(Reply::unprocessable("the snapshot could not be found"));
    }
    let id = world.uuid();
    let region = call.body["region"].as_str().unwrap_or("nyc3");
    labels::ensure(world, &call.body);
    world.put("volumes", json!({ "id": id, "region": region, "droplet_ids": [], "name": name,
        "description": call.body["description"].as_str().unwrap_or_default(), "size_gigabytes": call.body["size_gigabytes"],
        "created_at": NOW, "filesystem_type": call.body["filesystem_type"].as_str().unwrap_or_default(),
        "filesystem_label": call.body["filesystem_label"].as_str().unwrap_or_default(), "tags": texts(&call.body["tags"]),
        "project_id": call.body["project_id"] }));
    created(world, "volumes", &id)
}

/// `volumes_delete_byName`.
pub(super) fn delete_by_name(world: &mut World, call: &Call) -> Outcome {
    let id = by_name(world, call.parameter("name"), call.parameter("region"))?;
    delete(world, "volumes", &id)
}

fn by_name(world: &World, name: Option<&str>, region: Option<&str>) -> Result<String, Reply> {
    let mut all = world.all("volumes").iter();
    let found =
        all.find(|volume| volume["name"].as_str() == name && volume["region"].as_str() == region);
    Ok(text(&found.ok_or_else(Reply::not_found)?["id"]))
}

/// `volumeActions_post`: the volume is named by name and region, in the body.
pub(super) fn act_by_name(world: &mut World, call: &Call) -> Outcome {
    let id = by_name(
        world,
        call.body["volume_name"].as_str(),
        call.body["region"].as_str(),
    )?;
    act(world, call, &id)
}

/// `volumeActions_post_byId`.
pub(super) fn act(world: &mut World, call: &Call, id: &str) -> Outcome {
    let body = &call.body;
    let droplet: Option<u64> = text(&body["droplet_id"]).parse().ok();
    if droplet.is_some_and(|droplet| world.one("droplets", &droplet.to_string()).is_none()) {
        return Err(Reply::not_found());
    }
    let volume = world.one_mut("volumes", id).ok_or_else(Reply::not_found)?;
    match (body["type"].as_str(), droplet) {
        (Some("attach"), Some(droplet)) => volume["droplet_ids"] = json!([droplet]),
        (Some("detach"), Some(droplet)) if holds(&volume["droplet_ids"], &droplet.to_string()) => {
            volume["droplet_ids"] = json!([]);
        }
        (Some("resize"), _) if body["size_gigabytes"].is_u64() => {
            volume["size_gigabytes"] = body["size_gigabytes"].clone();
        }
        _ => return Err(Reply::unprocessable("the action could not be understood")),
    }
    let region = text(&volume["region"]);
    let kind = format!("{}_volume", text(&body["type"]));
    let action = started(
        world,
        &kind,
        &Value::Null,
        "backend",
        &region,
        Some(format!("volumes/{id}")),
    );
    Ok(Reply::json(202, &json!({ "action": action })))
}

/// `volumeSnapshots_list`.
pub(super) fn snapshots(world: &World, call: &Call, id: &str) -> Outcome {
    one(world, "volumes", id)?;
    let own = world
        .all("snapshots")
        .iter()
        .filter(|snapshot| snapshot["resource_id"] == id);
    Ok(pages::page(call, "snapshots", own.cloned().collect()))
}

/// `volumeSnapshots_create`.
pub(super) fn snapshot(world: &mut World, call: &Call, id: &str) -> Outcome {
    let volume = world
        .one("volumes", id)
        .ok_or_else(Reply::not_found)?
        .clone();
    let snapshot = world.uuid();
    labels::ensure(world, &call.body);
    world.put("snapshots", json!({ "id": snapshot, "name": call.body["name"], "created_at": NOW,
        "regions": [volume["region"]], "resource_id": id, "resource_type": "volume",
        "min_disk_size": volume["size_gigabytes"], "size_gigabytes": 0.1, "tags": texts(&call.body["tags"]) }));
    created(world, "snapshots", &snapshot)
}
