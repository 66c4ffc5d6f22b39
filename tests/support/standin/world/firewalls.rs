//! Cloud firewalls, whose Droplets, tags and rules are added and taken away by lists.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::serve::{Call, Outcome, created, one};
use super::shown::{holds, shown};
use super::{NOW, World, labels, pages, text};

/// `firewalls_create`.
pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let id = world.uuid();
    write(world, call, &id, NOW)?;
    created(world, "firewalls", &id)
}

/// `firewalls_update`: the body is the whole firewall; what it leaves out is gone.
pub(super) fn replace(world: &mut World, call: &Call, id: &str) -> Outcome {
    let made = text(&world.one("firewalls", id).ok_or_else(Reply::not_found)?["created_at"]);
    write(world, call, id, &made)?;
    one(world, "firewalls", id)
}

fn write(world: &mut World, call: &Call, id: &str, made: &str) -> Result<(), Reply> {
    let body = &call.body;
    let Some(name) = body["name"].as_str() else {
        return Err(Reply::unprocessable("name can't be blank"));
    };
    labels::ensure(world, body);
    let list = |member: &str| body[member].as_array().cloned().unwrap_or_default();
    world.put("firewalls", json!({ "id": id, "name": name, "status": "waiting", "inbound_rules": list("inbound_rules"),
        "outbound_rules": list("outbound_rules"), "created_at": made, "droplet_ids": list("droplet_ids"),
        "tags": list("tags"), "pending_changes": [] }));
    Ok(())
}

/// `POST /v2/firewalls/{id}/droplets`, `/tags` and `/rules`.
pub(super) fn add(world: &mut World, call: &Call, id: &str, what: &str) -> Outcome {
    for member in members(what)? {
        let news = call.body[member].as_array().cloned().unwrap_or_default();
        let list = list(world, id, member)?;
        for item in news {
            if !list.contains(&item) {
                list.push(item);
            }
        }
    }
    Ok(Reply::empty(204))
}

/// `DELETE /v2/firewalls/{id}/droplets`, `/tags` and `/rules`: a body says what.
pub(super) fn remove(world: &mut World, call: &Call, id: &str, what: &str) -> Outcome {
    for member in members(what)? {
        let gone = call.body[member].as_array().cloned().unwrap_or_default();
        list(world, id, member)?.retain(|item| !gone.contains(item));
    }
    Ok(Reply::empty(204))
}

fn members(what: &str) -> Result<&'static [&'static str], Reply> {
    match what {
        "droplets" => Ok(&["droplet_ids"]),
        "tags" => Ok(&["tags"]),
        "rules" => Ok(&["inbound_rules", "outbound_rules"]),
        _ => Err(Reply::not_found()),
    }
}

fn list<'w>(world: &'w mut World, id: &str, member: &str) -> Result<&'w mut Vec<Value>, Reply> {
    let firewall = world
        .one_mut("firewalls", id)
        .ok_or_else(Reply::not_found)?;
    firewall[member].as_array_mut().ok_or_else(Reply::not_found)
}

/// `droplets_list_firewalls`: those that name it, and those that name a tag of it.
pub(super) fn of_droplet(world: &World, call: &Call, id: &str) -> Outcome {
    let droplet = world.one("droplets", id).ok_or_else(Reply::not_found)?;
    let applies = |firewall: &&Value| {
        let mut tags = firewall["tags"].as_array().into_iter().flatten();
        holds(&firewall["droplet_ids"], id) || tags.any(|tag| labels::carries(droplet, &text(tag)))
    };
    let all = world.all("firewalls").iter().filter(applies);
    Ok(pages::page(
        call,
        "firewalls",
        all.map(|firewall| shown(world, "firewalls", firewall))
            .collect(),
    ))
}
