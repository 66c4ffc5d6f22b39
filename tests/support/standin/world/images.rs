//! Images, and the snapshots of Droplets, which are images under another name.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::droplets::started;
use super::serve::{Call, Outcome, created, delete as remove, one};
use super::shown::is_of;
use super::{NOW, World, labels, pages, text, texts};

/// `images_create_custom`.
pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let id = world.number();
    labels::ensure(world, &call.body);
    world.put("images", json!({ "id": id, "name": call.body["name"], "distribution": call.body["distribution"],
        "slug": null, "public": false, "regions": [call.body["region"]], "created_at": NOW, "type": "custom",
        "min_disk_size": 20, "size_gigabytes": 2.34, "description": call.body["description"],
        "tags": texts(&call.body["tags"]), "status": "NEW", "error_message": "" }));
    created(world, "images", &id.to_string())
}

/// `imageActions_post`: the answer is the action itself, without a member around it.
pub(super) fn act(world: &mut World, call: &Call, id: &str) -> Outcome {
    let image = world.one("images", id).ok_or_else(Reply::not_found)?["id"].clone();
    let region = call.body["region"].as_str().unwrap_or("nyc3");
    let action = started(
        world,
        &text(&call.body["type"]),
        &image,
        "image",
        region,
        None,
    );
    Ok(Reply::json(201, &action))
}

/// Deletes an image or a snapshot, and its other self.
pub(super) fn delete(world: &mut World, path: &str, id: &str) -> Outcome {
    if world
        .one("images", id)
        .is_some_and(|image| image["public"] == true)
    {
        return Err(Reply::problem(
            403,
            "forbidden",
            "You do not have access for the attempted action.",
        ));
    }
    let gone = remove(world, path, id)?;
    world.take(
        if path == "images" {
            "snapshots"
        } else {
            "images"
        },
        id,
    );
    Ok(gone)
}

/// `droplets_list_snapshots` and `droplets_list_backups`, which have a shape of their own.
pub(super) fn of_droplet(world: &World, call: &Call, droplet: &str, kind: &str) -> Outcome {
    one(world, "droplets", droplet)?;
    let own = world
        .all("images")
        .iter()
        .filter(|image| image["type"] == kind && is_of(world, image, droplet));
    let rows: Vec<Value> = own.map(row).collect();
    Ok(pages::page(call, &format!("{kind}s"), rows))
}

fn row(image: &Value) -> Value {
    json!({ "id": image["id"], "name": image["name"], "created_at": image["created_at"], "regions": image["regions"],
        "min_disk_size": image["min_disk_size"], "size_gigabytes": image["size_gigabytes"], "type": image["type"] })
}

/// `droplets_list_backup_policies`: a mapping by Droplet, of those that are backed up.
pub(super) fn policies(world: &World, call: &Call) -> Reply {
    let all = world.all("droplets").iter();
    let backed_up = all.filter(|droplet| droplet["backups"] == true);
    let rows = backed_up.map(
        |droplet| json!({ "droplet_id": droplet["id"], "backup_policy": { "plan": "daily" } }),
    );
    let page = pages::page(call, "policies", rows.collect());
    let mut page: Value = serde_json::from_slice(&page.body).expect("a page is JSON");
    let rows = page["policies"].as_array().cloned().unwrap_or_default();
    let by_id = rows.into_iter().map(|row| (text(&row["droplet_id"]), row));
    page["policies"] = Value::Object(by_id.collect());
    Reply::json(200, &page)
}

/// `droplets_list_neighborsIds`: those that are on the same `_host`.
pub(super) fn neighbors(world: &World) -> Reply {
    let mut hosts: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for droplet in world
        .all("droplets")
        .iter()
        .filter(|droplet| !droplet["_host"].is_null())
    {
        hosts
            .entry(text(&droplet["_host"]))
            .or_default()
            .push(&droplet["id"]);
    }
    let groups: Vec<_> = hosts
        .into_values()
        .filter(|group| group.len() > 1)
        .collect();
    Reply::json(200, &json!({ "neighbor_ids": groups }))
}
