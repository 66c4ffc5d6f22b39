//! Domains and their records. Names are kept relative to the domain, as the API shows them.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::serve::{Call, Outcome, created, delete, one};
use super::{World, pages, text};

/// `domains_create`: the zone comes with name servers, and an address where one is given.
pub(super) fn create_domain(world: &mut World, call: &Call) -> Outcome {
    let Some(name) = call.body["name"].as_str() else {
        return Err(Reply::unprocessable("Name can't be blank"));
    };
    if world.one("domains", name).is_some() {
        return Err(Reply::unprocessable("Name already exists"));
    }
    let mut domain = json!({ "name": name, "ttl": 1800, "zone_file": null });
    if let Some(project) = call.body.get("project_id") {
        domain["project_id"] = project.clone();
    }
    world.put("domains", domain);
    for server in 1..=3 {
        keep(
            world,
            name,
            &json!({ "type": "NS", "name": "@", "data": format!("ns{server}.digitalocean.com") }),
        );
    }
    if let Some(address) = call.body["ip_address"].as_str() {
        keep(
            world,
            name,
            &json!({ "type": "A", "name": "@", "data": address }),
        );
    }
    created(world, "domains", name)
}

/// `domains_delete`.
pub(super) fn delete_domain(world: &mut World, name: &str) -> Outcome {
    delete(world, "domains", name)
}

/// `domains_list_records`: the filter `name` is the whole name, without a dot at its end.
pub(super) fn list(world: &World, call: &Call, domain: &str) -> Outcome {
    one(world, "domains", domain)?;
    let all = world.all(&shelf(domain)).iter();
    let typed = all.filter(|record| {
        call.parameter("type")
            .is_none_or(|kind| record["type"] == kind)
    });
    let named = typed.filter(|record| {
        call.parameter("name")
            .is_none_or(|name| name.eq_ignore_ascii_case(&absolute(record, domain)))
    });
    Ok(pages::page(
        call,
        "domain_records",
        named.cloned().collect(),
    ))
}

fn absolute(record: &Value, domain: &str) -> String {
    match text(&record["name"]).as_str() {
        "@" => domain.to_owned(),
        name => format!("{name}.{domain}"),
    }
}

/// `domains_create_record`.
pub(super) fn create(world: &mut World, call: &Call, domain: &str) -> Outcome {
    one(world, "domains", domain)?;
    if !call.body["type"].is_string() {
        return Err(Reply::unprocessable("Type is not included in the list"));
    }
    if !call.body["data"].is_string() {
        return Err(Reply::unprocessable("Data can't be blank."));
    }
    let id = keep(world, domain, &call.body);
    created(world, &shelf(domain), &id)
}

fn keep(world: &mut World, domain: &str, body: &Value) -> String {
    let id = world.number();
    world.put(&shelf(domain), record(id, body, domain));
    id.to_string()
}

/// A record in the API's shape, with what the body does not say left empty.
pub(super) fn record(id: u64, body: &Value, domain: &str) -> Value {
    let ttl = body["ttl"].as_u64().unwrap_or(1800);
    json!({ "id": id, "type": body["type"], "name": relative(&body["name"], domain), "data": body["data"],
        "priority": body["priority"], "port": body["port"], "ttl": ttl, "weight": body["weight"],
        "flags": body["flags"], "tag": body["tag"] })
}

/// `x.example.com.` is `x`; a name without a dot at its end is relative already.
fn relative(name: &Value, domain: &str) -> String {
    let name = name.as_str().unwrap_or("@");
    let Some(absolute) = name.strip_suffix('.') else {
        return name.to_owned();
    };
    match absolute.strip_suffix(domain) {
        Some("") => "@".to_owned(),
        Some(rest) => rest.strip_suffix('.').unwrap_or(absolute).to_owned(),
        None => absolute.to_owned(),
    }
}

/// `domains_update_record` and `domains_patch_record`: what is named changes.
pub(super) fn update(world: &mut World, call: &Call, domain: &str, id: &str) -> Outcome {
    let kept = world
        .one_mut(&shelf(domain), id)
        .ok_or_else(Reply::not_found)?;
    for (name, value) in call
        .body
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "id")
    {
        kept[name] = if name == "name" {
            json!(relative(value, domain))
        } else {
            value.clone()
        };
    }
    one(world, &shelf(domain), id)
}

fn shelf(domain: &str) -> String {
    format!("domains/{domain}/records")
}
