//! Tags. To the API their case makes no difference, and naming one that is not there makes it.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::serve::{Call, Outcome, created, delete as remove, one};
use super::shelf::Shelf;
use super::shown::address;
use super::{World, text, texts};

/// True if the resource has the tag.
pub(super) fn carries(item: &Value, tag: &str) -> bool {
    texts(&item["tags"])
        .iter()
        .any(|own| own.eq_ignore_ascii_case(tag))
}

/// Makes the tags that something new names.
pub(super) fn ensure(world: &mut World, item: &Value) {
    for name in texts(&item["tags"]) {
        if world.one("tags", &name).is_none() {
            world.put("tags", json!({ "name": name }));
        }
    }
}

/// `tags_create`: one that is there already is told as if it were new.
pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let Some(name) = call.body["name"].as_str() else {
        return Err(Reply::unprocessable("Name can't be blank"));
    };
    ensure(world, &json!({ "tags": [name] }));
    created(world, "tags", name)
}

/// `tags_delete`: takes it off everything.
pub(super) fn delete(world: &mut World, name: &str) -> Outcome {
    let gone = remove(world, "tags", name)?;
    world
        .shelves
        .values_mut()
        .flatten()
        .for_each(|item| take_off(item, name));
    Ok(gone)
}

/// `tags_assign_resources`.
pub(super) fn tag(world: &mut World, call: &Call, name: &str) -> Outcome {
    each(world, call, name, |item, name| {
        if !carries(item, name) {
            let tags = texts(&item["tags"]).into_iter().chain([name.to_owned()]);
            item["tags"] = tags.collect();
        }
    })
}

/// `tags_unassign_resources`.
pub(super) fn untag(world: &mut World, call: &Call, name: &str) -> Outcome {
    each(world, call, name, take_off)
}

/// Changes all resources that the body names, or none if one of them is not there.
fn each(world: &mut World, call: &Call, name: &str, change: fn(&mut Value, &str)) -> Outcome {
    let spelled = text(&world.one("tags", name).ok_or_else(Reply::not_found)?["name"]);
    let named: Vec<(&str, String)> = call.body["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .map(resource)
        .collect();
    for (path, id) in &named {
        one(world, path, id)?;
    }
    for (path, id) in &named {
        if let Some(item) = world.one_mut(path, id) {
            change(item, &spelled);
        }
    }
    Ok(Reply::empty(204))
}

fn resource(named: &Value) -> (&'static str, String) {
    let path = TAGGED
        .iter()
        .find(|(kind, ..)| named["resource_type"] == *kind)
        .map_or("account", |(_, path, _)| path);
    (path, text(&named["resource_id"]))
}

fn take_off(item: &mut Value, tag: &str) {
    if let Some(tags) = item.get_mut("tags").and_then(Value::as_array_mut) {
        tags.retain(|own| !text(own).eq_ignore_ascii_case(tag));
    }
}

/// A tag's `resources`: how many there are of each kind, and where the last one is.
pub(super) fn resources(world: &World, tag: &str) -> Value {
    let mut all = json!({ "count": 0 });
    let mut count = 0;
    for (kind, path, name) in TAGGED {
        let own: Vec<&Value> = world
            .all(path)
            .iter()
            .filter(|item| carries(item, tag) && is(kind, item))
            .collect();
        count += own.len();
        all[*name] = json!({ "count": own.len() });
        if let Some(last) = own.last() {
            let uri = address(path, &text(&last[Shelf::named(path).key]));
            all[*name]["last_tagged_uri"] = uri.clone();
            all["last_tagged_uri"] = uri;
        }
    }
    all["count"] = json!(count);
    all
}

/// A Droplet's snapshot counts as an image, not twice.
fn is(kind: &str, item: &Value) -> bool {
    kind != "volume_snapshot" || item["resource_type"] == "volume"
}

/// What can be tagged by name: the `resource_type`, its shelf, and what the tag calls it.
const TAGGED: &[(&str, &str, &str)] = &[
    ("droplet", "droplets", "droplets"),
    ("image", "images", "images"),
    ("volume", "volumes", "volumes"),
    ("volume_snapshot", "snapshots", "volume_snapshots"),
    ("database", "databases", "databases"),
];
