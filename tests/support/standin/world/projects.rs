//! Projects: each resource that can be in one is in exactly one, the default one if nobody said otherwise.

use serde_json::{Value, json};

use super::super::reply::Reply;
use super::serve::{Call, Outcome, created, one};
use super::shelf::Shelf;
use super::shown::address;
use super::{NOW, World, pages, text, texts};

/// The id of the default project.
pub(super) fn default(world: &World) -> String {
    let default = world
        .all("projects")
        .iter()
        .find(|project| project["is_default"] == true);
    default.map_or_else(|| "none".to_owned(), |project| text(&project["id"]))
}

impl World {
    /// Finds the project of something that is put on a shelf, and takes the member that said so off it where the API
    /// does not show it.
    pub(super) fn settle(&mut self, shelf: &Shelf, id: &str, item: &mut Value) {
        let Some(kind) = shelf.urn else { return };
        let said = item
            .as_object_mut()
            .and_then(|members| members.remove("project_id"));
        let urn = format!("do:{kind}:{id}");
        match said.as_ref().and_then(Value::as_str) {
            Some(project) => self.move_to(&urn, project),
            None if self.project_of(&urn).is_none() => self.move_to(&urn, &default(self)),
            None => {}
        }
    }

    fn move_to(&mut self, urn: &str, project: &str) {
        self.homes.retain(|(resource, _)| resource != urn);
        self.homes.push((urn.to_owned(), project.to_owned()));
    }
}

/// `projects_create`.
pub(super) fn create(world: &mut World, call: &Call) -> Outcome {
    let Some(name) = call.body["name"].as_str() else {
        return Err(Reply::unprocessable("name is required"));
    };
    let id = world.uuid();
    world.put("projects", json!({ "id": id, "owner_uuid": "99525febec065ca37b2ffe4f852fd2b2581895e7", "owner_id": 258_992,
        "name": name, "description": call.body["description"].as_str().unwrap_or_default(), "purpose": call.body["purpose"],
        "environment": call.body["environment"], "is_default": false, "created_at": NOW, "updated_at": NOW }));
    created(world, "projects", &id)
}

/// `projects_list_resources`.
pub(super) fn list(world: &World, call: &Call, id: &str) -> Outcome {
    one(world, "projects", id)?;
    let own = world.homes.iter().filter(|(_, project)| project == id);
    Ok(pages::page(
        call,
        "resources",
        own.map(|(urn, _)| row(urn, "ok")).collect(),
    ))
}

/// `projects_assign_resources`: whatever project they were in, they are in this one.
pub(super) fn assign(world: &mut World, call: &Call, id: &str) -> Outcome {
    one(world, "projects", id)?;
    let urns = texts(&call.body["resources"]);
    if let Some(unknown) = urns.iter().find(|urn| !exists(world, urn)) {
        return Err(Reply::problem(
            404,
            "not_found",
            &format!("resource {unknown} not found"),
        ));
    }
    for urn in &urns {
        world.move_to(urn, id);
    }
    let rows: Vec<Value> = urns.iter().map(|urn| row(urn, "assigned")).collect();
    Ok(Reply::json(200, &json!({ "resources": rows })))
}

fn exists(world: &World, urn: &str) -> bool {
    apart(urn).is_some_and(|(path, id)| world.one(path, id).is_some())
}

/// The shelf and the id that a URN (`do:droplet:12`) names.
fn apart(urn: &str) -> Option<(&'static str, &str)> {
    let (kind, id) = urn.strip_prefix("do:")?.split_once(':')?;
    let (_, path) = Shelf::of_urn(kind)?;
    Some((path, id))
}

fn row(urn: &str, status: &str) -> Value {
    let link = apart(urn).map_or(Value::Null, |(path, id)| address(path, id));
    json!({ "urn": urn, "assigned_at": NOW, "links": { "self": link }, "status": status })
}
