//! How a request is answered: first by the endpoints that do something of their own (`routes`), then by all lists alike,
//! then with an empty object for whatever else the API has.

use hyper::Method;
use serde_json::{Value, json};

use super::super::heard::{Heard, decoded};
use super::super::reply::Reply;
use super::shelf::Shelf;
use super::shown::shown;
use super::{NOW, World, labels, pages, projects, routes, text};

/// An answer, or the refusal that comes instead; both are answers, and `?` tells them apart.
pub(super) type Outcome = Result<Reply, Reply>;

/// A request, taken apart.
pub(super) struct Call {
    pub method: Method,
    /// The path as it came, for links.
    pub path: String,
    /// The segments after `/v2/`, decoded.
    pub parts: Vec<String>,
    pub query: Vec<(String, String)>,
    pub body: Value,
}

impl Call {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let (_, value) = self.query.iter().find(|(own, _)| own == name)?;
        Some(value)
            .filter(|value| !value.is_empty())
            .map(String::as_str)
    }

    fn new(heard: &Heard, parts: Vec<String>) -> Result<Self, Reply> {
        let body = if heard.body.is_empty() {
            Ok(Value::Null)
        } else {
            serde_json::from_slice(&heard.body)
        };
        let Ok(body) = body else {
            return Err(Reply::problem(
                400,
                "bad_request",
                "error parsing request body",
            ));
        };
        Ok(Self {
            method: heard.method.clone(),
            path: heard.path().to_owned(),
            parts,
            query: heard.query(),
            body,
        })
    }
}

/// The answer to a request that showed the real token.
pub(super) fn answer(world: &mut World, heard: &Heard) -> Reply {
    let Some(parts) = parts(world, heard.path()) else {
        return Reply::not_found();
    };
    let call = match Call::new(heard, parts) {
        Ok(call) => call,
        Err(refusal) => return refusal,
    };
    routes::special(world, &call)
        .unwrap_or_else(|| generic(world, &call))
        .unwrap_or_else(|refusal| refusal)
}

/// The path's segments, with its other names put right; `None` where the API would not have it.
///
/// A slash at the end is `None` too: clients send it, a proxy drops it, and a test must notice when one does not.
fn parts(world: &World, path: &str) -> Option<Vec<String>> {
    let parts: Vec<String> = path
        .strip_prefix("/v2/")
        .unwrap_or(path.strip_prefix('/')?)
        .split('/')
        .map(decoded)
        .collect();
    if parts.iter().any(String::is_empty) {
        return None;
    }
    let named: Vec<&str> = parts.iter().map(String::as_str).collect();
    Some(match named.as_slice() {
        ["projects", "default", rest @ ..] => {
            joined(&["projects", &projects::default(world)], rest)
        }
        ["registries", name, rest @ ..] if !rest.is_empty() && !aside(name) => {
            joined(&["registry", name], rest)
        }
        ["registry", name, "repositories"] => joined(&["registry", name], &["repositoriesV2"]),
        ["volumes", "snapshots", id] => joined(&["snapshots"], &[id]),
        _ => parts,
    })
}

fn joined(first: &[&str], rest: &[&str]) -> Vec<String> {
    first
        .iter()
        .chain(rest)
        .map(|part| (*part).to_owned())
        .collect()
}

/// Any list, and any single resource on one.
fn generic(world: &mut World, call: &Call) -> Outcome {
    let path = call.parts.join("/");
    if let Some(shelf) = Shelf::find(&path) {
        parent(world, &call.parts)?;
        match call.method.as_str() {
            "GET" => return Ok(list(world, call, &path, shelf)),
            "POST" => return create(world, call, &path, shelf),
            _ => {}
        }
    }
    if let Some((shelf, path, id)) = single(&call.parts) {
        match call.method.as_str() {
            "GET" => return one(world, &path, &id),
            "PUT" | "PATCH" => return update(world, call, &path, &id, shelf),
            "DELETE" => return delete(world, &path, &id),
            _ => {}
        }
    }
    Ok(unmodelled(&call.method))
}

/// What the stand-in knows nothing of: done, and nothing to say.
fn unmodelled(method: &Method) -> Reply {
    match method.as_str() {
        "POST" => Reply::json(201, &json!({})),
        "DELETE" => Reply::empty(204),
        _ => Reply::json(200, &json!({})),
    }
}

fn single(parts: &[String]) -> Option<(&'static Shelf, String, String)> {
    let (id, list) = parts.split_last()?;
    let path = list.join("/");
    let shelf = Shelf::find(&path).filter(|_| !aside(id))?;
    Some((shelf, path, id.clone()))
}

/// Segments that stand where an id could, and are none.
pub(super) fn aside(id: &str) -> bool {
    const WORDS: &[&str] = &[
        "actions",
        "autoscale",
        "backups",
        "config",
        "docker-credentials",
        "keys",
        "metrics",
        "options",
        "propose",
        "regions",
        "snapshots",
        "subscription",
        "tiers",
        "validate-name",
    ];
    WORDS.contains(&id)
}

/// A list inside something that is not there is not there either.
fn parent(world: &World, parts: &[String]) -> Result<(), Reply> {
    let there = match parts {
        [kind, id, _] if kind == "registry" => world.one("registries", id).is_some(),
        [list @ .., id, _] => {
            let list = list.join("/");
            Shelf::find(&list).is_none() || world.one(&list, id).is_some()
        }
        _ => true,
    };
    if there {
        Ok(())
    } else {
        Err(Reply::not_found())
    }
}

fn list(world: &World, call: &Call, path: &str, shelf: &Shelf) -> Reply {
    let kept = world
        .all(path)
        .iter()
        .filter(|item| asked_for(call, path, item));
    let items = kept.map(|item| shown(world, path, item)).collect();
    if shelf.has_pages() {
        pages::page(call, shelf.many, items)
    } else {
        pages::whole(shelf.many, &items)
    }
}

/// The filters that the API has, list by list.
fn asked_for(call: &Call, path: &str, item: &Value) -> bool {
    let wants = |name: &str, fits: &dyn Fn(&str) -> bool| call.parameter(name).is_none_or(fits);
    match path {
        "droplets" => {
            wants("tag_name", &|tag| labels::carries(item, tag))
                && wants("name", &|name| {
                    text(&item["name"]).eq_ignore_ascii_case(name)
                })
                && wants("type", &|kind| {
                    (kind == "gpus") == text(&item["size"]).starts_with("gpu-")
                })
        }
        "images" => {
            wants("tag_name", &|tag| labels::carries(item, tag))
                && wants("private", &|private| {
                    private != "true" || item["public"] == false
                })
                && wants("type", &|kind| {
                    item["type"] == if kind == "distribution" { "base" } else { kind }
                })
        }
        "volumes" => {
            wants("name", &|name| item["name"] == name)
                && wants("region", &|region| item["region"] == region)
        }
        "snapshots" => wants("resource_type", &|kind| item["resource_type"] == kind),
        "databases" => wants("tag_name", &|tag| labels::carries(item, tag)),
        "certificates" => wants("name", &|name| item["name"] == name),
        _ => true,
    }
}

/// One resource, in the shape that the API shows.
pub(super) fn one(world: &World, path: &str, id: &str) -> Outcome {
    let item = world.one(path, id).ok_or_else(Reply::not_found)?;
    Ok(Reply::json(
        200,
        &Shelf::named(path).single(&shown(world, path, item)),
    ))
}

/// Keeps what the body says, and makes up an id where it names none.
fn create(world: &mut World, call: &Call, path: &str, shelf: &Shelf) -> Outcome {
    let mut item = call.body.clone();
    let Some(members) = item.as_object_mut() else {
        return Err(Reply::unprocessable("the body must be an object"));
    };
    if shelf.key != "name" {
        let id = if path == "account/keys" {
            json!(world.number())
        } else {
            json!(world.uuid())
        };
        members.insert(shelf.key.to_owned(), id);
    }
    members.entry("created_at").or_insert(json!(NOW));
    let id = text(&item[shelf.key]);
    labels::ensure(world, &item);
    world.put(path, item);
    created(world, path, &id)
}

/// The answer to a create.
pub(super) fn created(world: &World, path: &str, id: &str) -> Outcome {
    let reply = one(world, path, id)?;
    Ok(Reply {
        status: Shelf::named(path).created,
        ..reply
    })
}

/// Takes over the members that the body has. The API replaces on PUT; for what is modelled here it comes to the same.
fn update(world: &mut World, call: &Call, path: &str, id: &str, shelf: &Shelf) -> Outcome {
    let item = world.one_mut(path, id).ok_or_else(Reply::not_found)?;
    let news = call
        .body
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != shelf.key);
    for (name, value) in news {
        item[name] = value.clone();
    }
    one(world, path, id)
}

/// Removes a resource, and what stood inside it.
pub(super) fn delete(world: &mut World, path: &str, id: &str) -> Outcome {
    let gone = world.take(path, id).ok_or_else(Reply::not_found)?;
    let inside = format!("{path}/{}/", text(&gone[Shelf::named(path).key]));
    world.shelves.retain(|path, _| !path.starts_with(&inside));
    Ok(Reply::empty(204))
}
