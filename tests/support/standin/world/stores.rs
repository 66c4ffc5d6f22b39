//! Databases, vector databases, and what belongs to them.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::serve::{Call, Outcome, one};
use super::shelf::{Shelf, shelf};
use super::{World, text};

/// The lists that are kept as any other.
pub(super) const SHELVES: &[Shelf] = &[
    shelf("databases/*/users", "users", "user", "name"),
    shelf("databases/*/dbs", "dbs", "db", "name"),
    shelf("databases/*/pools", "pools", "pool", "name"),
    shelf("databases/*/replicas", "replicas", "replica", "name"),
    shelf("databases/*/topics", "topics", "topic", "name"),
    shelf("databases/*/indexes", "indexes", "index", "index_name"),
    shelf("databases/*/logsink", "sinks", "", "sink_id"),
    shelf(
        "databases/*/schema-registry",
        "subjects",
        "",
        "subject_name",
    ),
    shelf("vector-databases", "vector_dbs", "vector_db", "id"),
    shelf("vector-databases/*/backups", "backups", "", "backup_id"),
];

/// What they have that is no list of its own. `None` leaves the call to the others.
pub(super) fn special(world: &mut World, call: &Call, parts: &[&str]) -> Option<Outcome> {
    Some(match (call.method.as_str(), parts) {
        ("GET", ["vector-databases"]) => Ok(vectors(world)),
        ("GET", ["databases", id, "firewall"]) => rules(world, id),
        ("PUT", ["databases", id, "firewall"]) => replace_rules(world, call, id),
        ("GET", ["databases", id, "online-migration"]) => migration(world, id),
        _ => return None,
    })
}

/// `vectorDatabases_list`: it tells how many there are in a member of its own.
fn vectors(world: &World) -> Reply {
    let all = world.all("vector-databases");
    Reply::json(200, &json!({ "vector_dbs": all, "total": all.len() }))
}

/// `databases_list_firewall_rules`.
fn rules(world: &World, id: &str) -> Outcome {
    one(world, "databases", id)?;
    let rules = world.one("databases", id).map(|item| &item["_rules"]);
    let rules = rules.and_then(Value::as_array).cloned();
    Ok(Reply::json(
        200,
        &json!({ "rules": rules.unwrap_or_default() }),
    ))
}

/// `databases_update_firewall_rules`: what is left out is gone.
fn replace_rules(world: &mut World, call: &Call, id: &str) -> Outcome {
    let item = world
        .one_mut("databases", id)
        .ok_or_else(Reply::not_found)?;
    item["_rules"] = call.body["rules"].clone();
    Ok(Reply::empty(204))
}

/// `databases_get_migrationStatus`: of the last one, if there was any.
fn migration(world: &World, id: &str) -> Outcome {
    let item = world.one("databases", id).ok_or_else(Reply::not_found)?;
    match &item["_migration"] {
        Value::Null => Err(Reply::not_found()),
        own => Ok(Reply::json(
            200,
            &json!({ "id": text(own), "status": "running" }),
        )),
    }
}
