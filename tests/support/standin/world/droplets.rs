//! Droplets: their making and unmaking, and what is done to them.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::serve::{Call, Outcome, delete as remove, one};
use super::shelf::{Shelf, kept_at};
use super::shown::{address, holds, is_of, shown};
use super::{NOW, World, labels, pages, text, texts};

/// `droplets_create`: one by `name`, several by `names`; the image by id, digit string or slug.
pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let several = call.body["names"].is_array();
    let names = if several {
        texts(&call.body["names"])
    } else {
        call.body["name"]
            .as_str()
            .map(str::to_owned)
            .into_iter()
            .collect()
    };
    let image = checked(world, &call.body, &names)?;
    labels::ensure(world, &call.body);
    let made: Vec<(Value, Value)> = names
        .iter()
        .map(|name| launch(world, &call.body, name, &image))
        .collect();
    let links = json!({ "actions": made.iter().map(|(_, action)| action).collect::<Vec<_>>() });
    let droplets: Vec<&Value> = made.iter().map(|(droplet, _)| droplet).collect();
    let body = match droplets.as_slice() {
        [droplet] if !several => json!({ "droplet": droplet, "links": links }),
        all => json!({ "droplets": all, "links": links }),
    };
    Ok(Reply::json(202, &body))
}

/// The image's id, once the body is one that the API takes.
fn checked(world: &World, body: &Value, names: &[String]) -> Result<Value, Reply> {
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(Reply::unprocessable("Name can't be blank"));
    }
    if world.one("sizes", &text(&body["size"])).is_none() {
        return Err(Reply::unprocessable(
            "You specified an invalid size for Droplet creation.",
        ));
    }
    if !body["region"].is_null() && world.one("regions", &text(&body["region"])).is_none() {
        return Err(Reply::unprocessable(
            "You specified an invalid region for Droplet creation.",
        ));
    }
    let image = world.one("images", &text(&body["image"]));
    let image = image.ok_or_else(|| {
        Reply::unprocessable("You specified an invalid image for Droplet creation.")
    })?;
    Ok(image["id"].clone())
}

/// One Droplet, as it is shown while it starts, and the link to the action that starts it. To who asks again it has
/// started: what a client polls for shall come at once.
fn launch(world: &mut World, body: &Value, name: &str, image: &Value) -> (Value, Value) {
    let id = world.number();
    let region = body["region"].as_str().unwrap_or("nyc3");
    let mut droplet = json!({ "id": id, "name": name, "region": region, "size": body["size"], "image": image,
        "tags": texts(&body["tags"]), "created_at": NOW });
    for given in ["vpc_uuid", "project_id"]
        .into_iter()
        .filter(|given| !body[*given].is_null())
    {
        droplet[given] = body[given].clone();
    }
    world.put("droplets", droplet);
    for volume in texts(&body["volumes"]) {
        attach(world, &volume, id);
    }
    let action = started(world, "create", &json!(id), "droplet", region, None);
    let mut droplet = world
        .one("droplets", &id.to_string())
        .map_or(Value::Null, |kept| shown(world, "droplets", kept));
    droplet["status"] = json!("new");
    droplet["networks"] = json!({ "v4": [], "v6": [] });
    (droplet, link(&action, "create"))
}

fn attach(world: &mut World, volume: &str, droplet: u64) {
    if let Some(volume) = world.one_mut("volumes", volume) {
        volume["droplet_ids"] = json!([droplet]);
    }
}

/// An entry of `links.actions`.
pub(super) fn link(action: &Value, rel: &str) -> Value {
    json!({ "id": action["id"], "rel": rel, "href": address("actions", &text(&action["id"])) })
}

/// Keeps a new action as done, and returns it as the API tells it at first, in progress.
///
/// `of` is the path of what it belongs to, where the action itself does not tell (volumes).
pub(super) fn started(
    world: &mut World,
    kind: &str,
    resource: &Value,
    resource_type: &str,
    region: &str,
    of: Option<String>,
) -> Value {
    let id = world.number();
    let mut action = json!({ "id": id, "status": "completed", "type": kind, "started_at": NOW, "completed_at": NOW,
        "resource_id": resource, "resource_type": resource_type, "region": region, "region_slug": region });
    if let Some(of) = of {
        action["_of"] = json!(of);
    }
    world.put("actions", action.clone());
    action["status"] = json!("in-progress");
    action["completed_at"] = Value::Null;
    shown(world, "actions", &action)
}

/// `GET …/actions` of a Droplet, a volume, an image or a reserved IP.
pub(super) fn actions_of(world: &World, call: &Call, kind: &str, id: &str) -> Outcome {
    let owner = world.one(kind, id).ok_or_else(Reply::not_found)?;
    let path = format!("{}/{}", kept_at(kind), text(&owner[Shelf::named(kind).key]));
    let own_type = kind.trim_end_matches('s');
    let all = world.all("actions").iter();
    let own = all.filter(|action| {
        action["_of"] == path
            || (action["resource_type"] == own_type && text(&action["resource_id"]) == id)
    });
    Ok(pages::page(
        call,
        "actions",
        own.map(|action| shown(world, "actions", action)).collect(),
    ))
}

/// `dropletActions_post`.
pub(super) fn act(world: &mut World, call: &Call, id: &str) -> Outcome {
    let action = perform(world, &call.body, id)?;
    Ok(Reply::json(201, &json!({ "action": action })))
}

/// `dropletActions_post_byTag`.
pub(super) fn act_by_tag(world: &mut World, call: &Call) -> Outcome {
    let tagged = tagged(world, call)?;
    let actions: Result<Vec<Value>, Reply> = tagged
        .iter()
        .map(|id| perform(world, &call.body, id))
        .collect();
    Ok(Reply::json(201, &json!({ "actions": actions? })))
}

fn perform(world: &mut World, body: &Value, id: &str) -> Result<Value, Reply> {
    let Some(kind) = body["type"].as_str() else {
        return Err(Reply::unprocessable("Type can't be blank"));
    };
    if kind == "resize" && world.one("sizes", &text(&body["size"])).is_none() {
        return Err(Reply::unprocessable(
            "You specified an invalid size for Droplet.",
        ));
    }
    let droplet = world.one_mut("droplets", id).ok_or_else(Reply::not_found)?;
    match kind {
        "power_off" | "shutdown" => droplet["status"] = json!("off"),
        "power_on" | "power_cycle" | "reboot" => droplet["status"] = json!("active"),
        "resize" => droplet["size"] = body["size"].clone(),
        "rename" => droplet["name"] = body["name"].clone(),
        "rebuild" | "restore" => droplet["image"] = body["image"].clone(),
        _ => {}
    }
    let (number, region) = (droplet["id"].clone(), text(&droplet["region"]));
    if kind == "snapshot" {
        snapshot(world, &text(&body["name"]), id, &region);
    }
    Ok(started(world, kind, &number, "droplet", &region, None))
}

/// A Droplet's snapshot is an image and a snapshot, under one id.
fn snapshot(world: &mut World, name: &str, droplet: &str, region: &str) {
    let id = world.number();
    world.put("images", json!({ "id": id, "name": name, "distribution": "Ubuntu", "slug": null, "public": false,
        "regions": [region], "created_at": NOW, "type": "snapshot", "min_disk_size": 25, "size_gigabytes": 2.34,
        "tags": [], "status": "available", "error_message": "" }));
    world.put("snapshots", json!({ "id": id.to_string(), "name": name, "created_at": NOW, "regions": [region],
        "resource_id": droplet, "resource_type": "droplet", "min_disk_size": 25, "size_gigabytes": 2.34, "tags": [] }));
}

/// `droplets_destroy`: its volumes stay, and are free again.
pub(super) fn delete(world: &mut World, id: &str) -> Outcome {
    let gone = remove(world, "droplets", id)?;
    for volume in world.shelves.get_mut("volumes").into_iter().flatten() {
        without(&mut volume["droplet_ids"], id);
    }
    for firewall in world.shelves.get_mut("firewalls").into_iter().flatten() {
        without(&mut firewall["droplet_ids"], id);
    }
    for ip in world
        .shelves
        .get_mut("reserved_ips")
        .into_iter()
        .flatten()
        .filter(|ip| text(&ip["droplet"]) == id)
    {
        ip["droplet"] = Value::Null;
    }
    Ok(gone)
}

fn without(array: &mut Value, id: &str) {
    if let Some(ids) = array.as_array_mut() {
        ids.retain(|own| text(own) != id);
    }
}

/// `droplets_destroy_byTag`.
pub(super) fn delete_by_tag(world: &mut World, call: &Call) -> Outcome {
    for id in tagged(world, call)? {
        delete(world, &id)?;
    }
    Ok(Reply::empty(204))
}

fn tagged(world: &World, call: &Call) -> Result<Vec<String>, Reply> {
    let Some(tag) = call.parameter("tag_name") else {
        return Err(Reply::unprocessable("tag_name is required"));
    };
    let all = world
        .all("droplets")
        .iter()
        .filter(|droplet| labels::carries(droplet, tag));
    Ok(all.map(|droplet| text(&droplet["id"])).collect())
}

/// `droplets_list_associatedResources`: what a cascade may destroy.
pub(super) fn associated(world: &World, id: &str) -> Outcome {
    one(world, "droplets", id)?;
    let listed: Vec<(&str, Vec<Value>)> = CASCADE
        .iter()
        .map(|kind| (kind.many, kind.rows(world, id)))
        .collect();
    let mut body = json!({});
    for (name, rows) in listed {
        body[name] = json!(rows);
    }
    Ok(Reply::json(200, &body))
}

/// `droplets_destroy_withAssociatedResources…`: with the lists of `chosen`, or with everything.
pub(super) fn destroy(world: &mut World, id: &str, chosen: Option<&Value>) -> Outcome {
    one(world, "droplets", id)?;
    for kind in CASCADE {
        let rows = kind.rows(world, id).into_iter();
        let doomed = rows
            .filter(|row| chosen.is_none_or(|chosen| holds(&chosen[kind.many], &text(&row["id"]))));
        for row in doomed {
            world.take(kind.path, &text(&row[kind.key]));
        }
    }
    delete(world, id)?;
    Ok(Reply::empty(202))
}

/// A kind of resource that a Droplet may take with it.
struct Cascade {
    many: &'static str,
    path: &'static str,
    /// The member of a row that names the resource on its shelf: reserved IPs have another id here than elsewhere.
    key: &'static str,
    belongs: fn(&World, &Value, &str) -> bool,
}

impl Cascade {
    fn rows(&self, world: &World, droplet: &str) -> Vec<Value> {
        let own = world
            .all(self.path)
            .iter()
            .filter(|item| (self.belongs)(world, item, droplet));
        own.map(row).collect()
    }
}

fn row(item: &Value) -> Value {
    match item.get("ip") {
        Some(ip) => json!({ "id": item.get("_id").unwrap_or(ip), "name": ip, "cost": "4.00" }),
        None => json!({ "id": text(&item["id"]), "name": item["name"], "cost": "0.05" }),
    }
}

const CASCADE: &[Cascade] = &[
    Cascade {
        many: "reserved_ips",
        path: "reserved_ips",
        key: "name",
        belongs: |_, ip, id| text(&ip["droplet"]) == id,
    },
    Cascade {
        many: "floating_ips",
        path: "reserved_ips",
        key: "name",
        belongs: |_, ip, id| text(&ip["droplet"]) == id,
    },
    Cascade {
        many: "snapshots",
        path: "images",
        key: "id",
        belongs: |world, image, id| is_of(world, image, id),
    },
    Cascade {
        many: "volume_snapshots",
        path: "snapshots",
        key: "id",
        belongs: of_volume,
    },
    Cascade {
        many: "volumes",
        path: "volumes",
        key: "id",
        belongs: |_, volume, id| holds(&volume["droplet_ids"], id),
    },
];

fn of_volume(world: &World, snapshot: &Value, droplet: &str) -> bool {
    let volume = world.one("volumes", &text(&snapshot["resource_id"]));
    snapshot["resource_type"] == "volume"
        && volume.is_some_and(|volume| holds(&volume["droplet_ids"], droplet))
}
