//! An account as the API would show it, for tests that decide over it and then let what was allowed happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use serde_json::Value;

use super::super::*;
use super::CATALOG;
use crate::catalog::{Kind, KindId, LookUp, Name};
use crate::refusal::Refusal;
use crate::request::{Asked, Json, Target};
use crate::resource::{
    Found, Known, Look, State, Touch, attributes_of, folded, resolve, with_parents,
};

/// One resource, as its look-up answers.
#[derive(Clone, Debug)]
pub struct Thing {
    pub kind: KindId,
    /// What it belongs to is called, outermost first.
    pub parents: Vec<String>,
    pub json: Value,
}

impl Thing {
    pub fn known(kind: KindId, parents: &[&str], json: Value) -> Self {
        Self {
            kind,
            parents: parents.iter().map(ToString::to_string).collect(),
            json,
        }
    }

    /// What paths call it.
    pub fn id(&self) -> String {
        let kind = CATALOG.kinds().of(self.kind);
        let member = kind.identified_by.first().unwrap().to_string();
        text(&self.json[member.as_str()])
    }

    fn found(&self, kind: &Kind, parents: &[(&Kind, Name)]) -> Found {
        let json = Json::read(self.json.to_string().as_bytes()).unwrap();
        let zone = self.parents.last().map(String::as_str);
        Found {
            attributes: with_parents(attributes_of(kind, &json, zone), kind, parents),
            json: Some(Arc::new(json)),
        }
    }
}

/// A number or string as paths write it.
pub fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// All that an account holds.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub things: Vec<Thing>,
    /// What other paths answer.
    pub answers: BTreeMap<String, Value>,
    /// The project that a URN is in.
    pub projects: BTreeMap<String, String>,
}

impl World {
    fn of(&self, kind: KindId) -> impl Iterator<Item = &Thing> {
        self.things.iter().filter(move |thing| thing.kind == kind)
    }

    /// The one of that kind that a path means.
    pub fn find(&self, kind: KindId, id: &str) -> Option<&Thing> {
        self.of(kind).find(|thing| thing.id() == id)
    }

    /// Decides a request over what is here.
    pub fn decide(&self, grants: &Grants, asked: &Asked<'_>) -> Decision {
        match self.touches(grants, asked) {
            Ok(touches) => decide(grants, asked, &touches, &CATALOG),
            Err(refusal) => Decision::Deny(refusal),
        }
    }

    pub fn allows(&self, grants: &Grants, request: &str, body: &str) -> bool {
        let asked = asked(request, body);
        matches!(self.decide(grants, &asked), Decision::Allow(_))
    }

    pub fn touches(&self, grants: &Grants, asked: &Asked<'_>) -> Result<Vec<Touch>, Refusal> {
        if !wants_touches(grants, asked) {
            return Ok(Vec::new());
        }
        let interest = InRequest {
            grants,
            asked,
            catalog: &CATALOG,
            defers: false,
        };
        resolve(asked, &CATALOG, &interest, self)
            .now_or_never()
            .unwrap()
    }

    /// What may be seen of a resource in the answer to its own GET.
    pub fn shown(&self, grants: &Grants, request: &str) -> Shown {
        let asked = asked(request, "");
        let mut touches = self.touches(grants, &asked).unwrap();
        let Some(state) = touches.first().and_then(|touch| touch.before.clone()) else {
            return Shown::Hidden;
        };
        let touch = touches.remove(0);
        shows(grants, &asked, &touch, &state, &CATALOG)
    }

    /// The state of a resource, with all that can be asked of it.
    pub fn state(&self, thing: &Thing) -> State {
        let kinds = CATALOG.kinds();
        let kind = kinds.of(thing.kind);
        let mut above: Vec<&Kind> = kinds.ancestors(kind).collect();
        above.reverse();
        let parents: Vec<(&Kind, Name)> = above
            .into_iter()
            .zip(&thing.parents)
            .map(|(kind, called)| (kind, kind.name(called, kinds).unwrap()))
            .collect();
        let parent = thing
            .parents
            .last()
            .and_then(|called| self.find(kind.parent?, called));
        let mut attributes = thing.found(kind, &parents).attributes;
        if kind.has("project") && !attributes.contains_key("project") {
            let known = self.project(kind, &thing.id(), &|_| true);
            attributes.insert("project".to_owned(), known);
        }
        let told = attributes.first("project");
        if let Some(project) = told.and_then(|id| self.find(KindId::Project, id)) {
            let both = ["id", "name"].map(|member| text(&project.json[member]));
            attributes.insert("project".to_owned(), Known::exactly(both));
        }
        State::new(
            kind,
            attributes,
            parent.map(|parent| Arc::new(self.state(parent))),
        )
    }

    fn project(&self, kind: &Kind, id: &str, wanted: &dyn Fn(&str) -> bool) -> Known {
        let urn = crate::resource::urn_of(kind, id).unwrap_or_default();
        let project = self.projects.get(&urn.to_lowercase());
        let project = project.and_then(|id| self.find(KindId::Project, id));
        let both = project.map(|project| [text(&project.json["id"]), text(&project.json["name"])]);
        match both {
            Some(both) if both.iter().any(|value| wanted(value)) => Known::exactly(both),
            Some(_) | None => Known::exactly([]),
        }
    }

    fn one_of(&self, kind: &Kind, parents: &[(&Kind, Name)], name: &Name) -> Option<Found> {
        let identifier = name.as_str();
        if kind.id == KindId::Project && identifier == "default" {
            let default = self
                .of(KindId::Project)
                .find(|thing| thing.json["is_default"] == true);
            return default.map(|thing| thing.found(kind, &[]));
        }
        let wanted = folded(kind.id, "id", identifier);
        let called = |thing: &&Thing| {
            thing
                .parents
                .iter()
                .map(String::as_str)
                .eq(parents.iter().map(|(_, called)| called.as_str()))
        };
        let is_it = |thing: &&Thing| {
            // What no answer of the API names has its name in the tests' own member.
            kind.identified_by.is_empty() && thing.json["_called"] == wanted.as_str()
                || kind.identified_by.iter().any(|member| {
                    let value = &thing.json[member.to_string().as_str()];
                    !value.is_null() && folded(kind.id, "id", &text(value)) == wanted
                })
        };
        let mut of_kind = self.of(kind.id).filter(called);
        of_kind.find(is_it).map(|thing| thing.found(kind, parents))
    }
}

impl Look for World {
    async fn one(
        &self,
        kind: &Kind,
        parents: &[(&Kind, Name)],
        name: &Name,
    ) -> Result<Option<Found>, Refusal> {
        Ok(self.one_of(kind, parents, name))
    }

    async fn default(&self, kind: &Kind) -> Result<Option<Found>, Refusal> {
        let is_it = |thing: &&Thing| kind.id != KindId::Project || thing.json["is_default"] == true;
        let found = self.of(kind.id).find(is_it);
        Ok(found.map(|thing| thing.found(kind, &[])))
    }

    async fn named(
        &self,
        kind: &Kind,
        _parents: &[(&Kind, Name)],
        name: &str,
        narrowed: &[(String, String)],
    ) -> Result<Vec<Found>, Refusal> {
        let has = |found: &Found, key: &str, value: &str| {
            let known = found.attributes.get(key);
            known.is_some_and(|known| known.values.iter().any(|known| known == value))
        };
        let all = self.of(kind.id).map(|thing| thing.found(kind, &[]));
        let fits = |found: &Found| {
            has(found, "name", name) && narrowed.iter().all(|(key, value)| has(found, key, value))
        };
        Ok(all.filter(fits).collect())
    }

    async fn every(&self, kind: &Kind) -> Result<Option<Vec<Found>>, Refusal> {
        let all = self.of(kind.id);
        Ok(Some(all.map(|thing| thing.found(kind, &[])).collect()))
    }

    async fn elsewhere(&self, look_up: &LookUp, called: &[&Name]) -> Result<Option<Json>, Refusal> {
        let path = look_up.template.to_string();
        let path = called.iter().fold(path, |path, called| {
            let (before, rest) = path.split_once('{').unwrap();
            let (_, after) = rest.split_once('}').unwrap();
            format!("{before}{called}{after}")
        });
        let answer = self.answers.get(&path);
        let at = look_up.at.as_ref().unwrap();
        Ok(answer.map(|answer| {
            let json = Json::read(answer.to_string().as_bytes()).unwrap();
            Json::clone(json.at(at).first().unwrap())
        }))
    }

    async fn project_of(
        &self,
        urn: &str,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Known, Refusal> {
        let found = CATALOG.kinds().urn(urn);
        Ok(found.map_or_else(Known::unknown, |(kind, name)| {
            self.project(kind, name.as_str(), wanted)
        }))
    }
}

pub fn asked(request: &str, body: &str) -> Asked<'static> {
    let (method, target) = request.split_once(' ').unwrap();
    let target = Target::read(target).unwrap();
    let mut asked = Asked::new(method.parse().unwrap(), target, &CATALOG);
    asked.body = (!body.is_empty()).then(|| Json::read(body.as_bytes()).unwrap());
    asked
}
