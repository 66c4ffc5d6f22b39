//! Reserved IPs, which the API also calls floating IPs, and who is in a VPC.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::droplets::{link, started};
use super::serve::{Call, Outcome, one};
use super::shelf::Shelf;
use super::shown::shown;
use super::{World, pages, text};

/// `reservedIPs_create`: for a Droplet, or for a region.
pub(super) fn reserve(world: &mut World, call: &Call, kind: &str) -> Outcome {
    let number = world.number();
    let ip = format!("192.0.2.{}", number % 250 + 2);
    let droplet = known(world, &call.body)?;
    let at_home = droplet.as_ref().map_or_else(
        || call.body["region"].clone(),
        |droplet| droplet["region"].clone(),
    );
    world.put("reserved_ips", json!({ "ip": ip, "droplet": droplet.as_ref().map(|droplet| &droplet["id"]), "region": at_home,
        "locked": false, "project_id": call.body["project_id"], "_id": number.to_string() }));
    let links = match droplet {
        Some(_) => json!({ "actions": [link(&assigned(world, "assign_ip", &ip), "assign_ip")] }),
        None => json!({}),
    };
    let address = world
        .one(kind, &ip)
        .map(|address| shown(world, kind, address));
    Ok(Reply::json(
        202,
        &json!({ Shelf::named(kind).one: address, "links": links }),
    ))
}

fn known(world: &World, body: &Value) -> Result<Option<Value>, Reply> {
    if body["droplet_id"].is_null() {
        return Ok(None);
    }
    let droplet = world
        .one("droplets", &text(&body["droplet_id"]))
        .ok_or_else(Reply::not_found)?;
    Ok(Some(droplet.clone()))
}

/// `reservedIPsActions_post`.
pub(super) fn act(world: &mut World, call: &Call, kind: &str, ip: &str) -> Outcome {
    let droplet = known(world, &call.body)?;
    let address = world.one_mut(kind, ip).ok_or_else(Reply::not_found)?;
    match (call.body["type"].as_str(), droplet) {
        (Some("assign"), Some(droplet)) => address["droplet"] = droplet["id"].clone(),
        (Some("unassign"), _) => address["droplet"] = Value::Null,
        _ => return Err(Reply::unprocessable("the action could not be understood")),
    }
    let action = assigned(world, &format!("{}_ip", text(&call.body["type"])), ip);
    Ok(Reply::json(201, &json!({ "action": action })))
}

fn assigned(world: &mut World, kind: &str, ip: &str) -> Value {
    let region = world
        .one("reserved_ips", ip)
        .map_or_else(|| "nyc3".to_owned(), |address| text(&address["region"]));
    let number = json!(758_604_968);
    started(
        world,
        kind,
        &number,
        "reserved_ip",
        &region,
        Some(format!("reserved_ips/{ip}")),
    )
}

/// `vpcs_list_members`: its Droplets, load balancers, clusters and databases.
pub(super) fn members(world: &World, call: &Call, id: &str) -> Outcome {
    one(world, "vpcs", id)?;
    let mut members = Vec::new();
    for path in [
        "droplets",
        "load_balancers",
        "kubernetes/clusters",
        "databases",
    ] {
        let all = world.all(path).iter().map(|item| shown(world, path, item));
        let own = all.filter(|item| item["vpc_uuid"] == id || item["private_network_uuid"] == id);
        members.extend(own.map(|item| {
            json!({ "urn": Shelf::named(path).urn_of(&item), "name": item["name"], "created_at": item["created_at"] })
        }));
    }
    Ok(pages::page(call, "members", members))
}
