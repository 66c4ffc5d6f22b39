//! A request as a record tells of it, made whole again as far as a decision looks at it: what a body named stands where the
//! catalogue has it, and what was known of resources is given.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::trail::{SeenRequest, SeenResource};
use crate::catalog::{
    Action, Catalog, Endpoint, FieldPath, Kind, KindId, NameForm, Naming, Place, TouchKind,
    TouchRule, TouchVerb,
};
use crate::policy::{PolicyTest, Vars};
use crate::request::{Asked, Json, Target, encoded};
use crate::resource::{Attributes, Given, Known, spelled};
use crate::yaml::At;

/// As a test of a policy.
pub(super) fn test(seen: &SeenRequest, role: &str, catalog: &Catalog) -> PolicyTest {
    let (request, body, given) = parts(seen, catalog);
    let body = (!body.is_empty()).then(|| Value::Object(body));
    let mut facts = Given::default();
    for (kind, resources) in given {
        let Some(kind) = catalog.kinds().find(&kind) else {
            continue;
        };
        let read = resources.iter().map(|resource| attributes(kind, resource));
        facts.resources.insert(kind.id, read.collect());
    }
    PolicyTest {
        at: At::START,
        role: role.to_owned(),
        vars: Vars::new(),
        request,
        body: body.and_then(|body| Json::read(body.to_string().as_bytes()).ok()),
        given: facts,
        allowed: true,
        reason: None,
    }
}

/// As a policy file has it: JSON is YAML.
pub(super) fn written(seen: &SeenRequest, role: &str, catalog: &Catalog) -> String {
    let (request, body, given) = parts(seen, catalog);
    let mut test = Map::new();
    test.insert("role".to_owned(), json!(role));
    test.insert("request".to_owned(), json!(request));
    if !body.is_empty() {
        test.insert("body".to_owned(), Value::Object(body));
    }
    if !given.is_empty() {
        test.insert("given".to_owned(), json!(given));
    }
    test.insert("expect".to_owned(), json!("allow"));
    Value::Object(test).to_string()
}

type RebuiltParts = (String, Map<String, Value>, BTreeMap<String, Vec<Value>>);

fn parts(seen: &SeenRequest, catalog: &Catalog) -> RebuiltParts {
    let (method, target) = (seen.method.parse().ok(), Target::read(&seen.path).ok());
    let asked = method
        .zip(target)
        .map(|(method, target)| Asked::new(method, target, catalog));
    let Some((asked, endpoint)) = asked.and_then(|asked| asked.endpoint.map(|it| (asked, it)))
    else {
        return (
            format!("{} {}", seen.method, seen.path),
            Map::new(),
            BTreeMap::new(),
        );
    };
    let mut written = RequestContent::default();
    if let (Some(Action::Named { at, .. }), Some(action)) = (&endpoint.action, &seen.action) {
        written.put(at, &[json!(action)]);
    }
    for rule in endpoint.touches.rules() {
        match &rule.at {
            None if rule.verb == TouchVerb::Create => created_by(rule, seen, &mut written),
            Some(at @ (Place::Body(_) | Place::Query(_))) if is_used(at, seen, endpoint) => {
                written.put(at, &named_by(rule, seen));
            }
            Some(_) | None => {}
        }
    }
    for field in &seen.fields {
        let Ok(place) = field.parse::<Place>() else {
            continue;
        };
        if !written.has(&place) {
            written.put(&place, &[json!(sample(&place, endpoint))]);
        }
    }
    let asked_for = |parameter: &&String| seen.query.contains(parameter);
    let parameters = endpoint.scopes_when.iter().map(|rule| &rule.parameter);
    for parameter in parameters.filter(asked_for) {
        written.query.push((parameter.clone(), "true".to_owned()));
    }
    let request = format!("{} {}{}", seen.method, seen.path, written.query_string());
    (
        request,
        written.body,
        given(seen, &asked, endpoint, catalog),
    )
}

/// Says of what is created what is known of it, where the request says that.
fn created_by(rule: &TouchRule, seen: &SeenRequest, written: &mut RequestContent) {
    let kind = rule.kind.name();
    let is_created = |it: &&SeenResource| it.kind == kind && it.id.is_none();
    let Some(created) = seen.resources.iter().find(is_created) else {
        return;
    };
    for (attribute, places) in &rule.after {
        let values: Vec<Value> = match attribute.as_str() {
            "name" => created.facts.name.iter().map(|name| json!(name)).collect(),
            "tag" => created.facts.tags.iter().map(|tag| json!(tag)).collect(),
            "project" => {
                let project = created.facts.project.iter();
                project.map(|project| json!(project)).collect()
            }
            other => {
                let more = created.more.iter().filter(|(name, _)| name == other);
                more.map(|(_, value)| json!(value)).collect()
            }
        };
        if let Some(place) = places.first() {
            written.put(place, &values);
        }
    }
}

/// Whether the request has what stands at a place; of what is no field that is not told.
fn is_used(place: &Place, seen: &SeenRequest, endpoint: &Endpoint) -> bool {
    let field = place.to_string();
    let field = field.trim_end_matches("[]");
    let is_field = endpoint.fields.iter().any(|it| it.at.to_string() == field);
    !is_field || seen.fields.iter().any(|used| used == field)
}

/// What a rule names beside the path.
fn named_by(rule: &TouchRule, seen: &SeenRequest) -> Vec<Value> {
    let in_path = |id: &str| seen.path.split('/').any(|segment| segment == id);
    let named = |it: &SeenResource| {
        let id = it.id.as_deref()?;
        let id = id.strip_prefix("tag:").unwrap_or(id);
        (!in_path(id)).then(|| id.to_owned())
    };
    let resources = seen.resources.iter();
    match &rule.kind {
        TouchKind::Typed { id, member, types } => {
            let typed = resources.filter_map(|it| {
                let is_its = |(_, kind): &&(String, Option<KindId>)| {
                    kind.is_some_and(|kind| kind.name() == it.kind)
                };
                let (told, _) = types.iter().find(is_its)?;
                Some(json!({ id: named(it)?, member: told }))
            });
            typed.collect()
        }
        TouchKind::One(_) | TouchKind::Urn | TouchKind::Told { .. } => {
            let kind = rule.kind.name();
            let of_kind = resources.filter(|it| it.kind == kind);
            of_kind.filter_map(named).map(Value::from).collect()
        }
    }
}

/// What a request says beside its path.
#[derive(Default)]
struct RequestContent {
    body: Map<String, Value>,
    query: Vec<(String, String)>,
}

impl RequestContent {
    fn has(&self, place: &Place) -> bool {
        match place {
            Place::Body(path) => {
                let step = path.steps.first();
                step.is_some_and(|step| self.body.contains_key(&step.key))
            }
            Place::Query(name) => self.query.iter().any(|(known, _)| known == name),
            Place::Path(_) => true,
        }
    }

    /// Puts values where they stand; none are put nowhere.
    fn put(&mut self, place: &Place, values: &[Value]) {
        match (place, values.first()) {
            (Place::Body(path), Some(_)) => put_at(path, values, &mut self.body),
            (Place::Query(name), Some(Value::String(value))) => {
                self.query.push((name.clone(), value.clone()));
            }
            (Place::Path(_) | Place::Query(_), _) | (_, None) => {}
        }
    }

    /// The query with its mark, where there is one.
    fn query_string(&self) -> String {
        let pairs = self.query.iter();
        let pairs = pairs.map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
        let pairs: Vec<_> = pairs.collect();
        let mark = if pairs.is_empty() { "" } else { "?" };
        format!("{mark}{}", pairs.join("&"))
    }
}

fn put_at(path: &FieldPath, values: &[Value], body: &mut Map<String, Value>) {
    let in_list = path.steps.last().is_some_and(|step| step.lists > 0);
    let value = if in_list {
        json!(values)
    } else {
        json!(values.first())
    };
    let Some((last, outer)) = path.steps.split_last() else {
        return;
    };
    let mut at = body;
    for step in outer {
        let fresh = if step.lists > 0 {
            json!([{}])
        } else {
            json!({})
        };
        let below = at.entry(step.key.clone()).or_insert(fresh);
        let below = match below {
            Value::Array(items) => items.first_mut(),
            other => Some(other),
        };
        let Some(Value::Object(members)) = below else {
            return;
        };
        at = members;
    }
    at.insert(last.key.clone(), value);
}

/// Something that can stand at a place of which it is known only that it was used.
pub(super) fn sample(place: &Place, endpoint: &Endpoint) -> String {
    let stands_at = |at: &Place| at.to_string().trim_end_matches("[]") == place.to_string();
    let named = endpoint.names.iter().find(|named| stands_at(&named.at));
    let forms = match named.map(|named| &named.naming) {
        Some(Naming::Forms(forms)) => forms.as_slice(),
        Some(Naming::Typed { .. }) | None => &[],
    };
    match forms.first() {
        Some(NameForm::Number) => "1",
        Some(NameForm::Uuid) => "00000000-0000-4000-8000-000000000000",
        Some(NameForm::Ipv4) => "192.0.2.1",
        Some(NameForm::Ipv6) => "2001:db8::1",
        Some(NameForm::Fingerprint) => "00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00",
        Some(NameForm::Zone | NameForm::Record) => "example.com",
        Some(NameForm::Digest) => {
            "sha256:0000000000000000000000000000000000000000000000000000000000000000"
        }
        Some(NameForm::Urn) => "do:droplet:1",
        Some(_) | None => "used",
    }
    .to_owned()
}

/// What was known of resources, and that those are there which the path names.
fn given(
    seen: &SeenRequest,
    asked: &Asked<'_>,
    endpoint: &Endpoint,
    catalog: &Catalog,
) -> BTreeMap<String, Vec<Value>> {
    let mut given: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for resource in &seen.resources {
        let (Some(id), Some(kind)) = (&resource.id, catalog.kinds().find(&resource.kind)) else {
            continue;
        };
        if id.starts_with("tag:") {
            continue;
        }
        push(&mut given, kind, told(kind, id, resource));
    }
    for rule in endpoint.touches.rules() {
        for (kind, place) in &rule.of {
            let kind = catalog.kinds().of(*kind);
            for name in asked.names(place) {
                push(&mut given, kind, json!({ identifier(kind): name }));
            }
        }
    }
    given
}

fn push(given: &mut BTreeMap<String, Vec<Value>>, kind: &Kind, resource: Value) {
    let known = given.entry(kind.id.to_string()).or_default();
    let key = identifier(kind);
    if !known
        .iter()
        .any(|known| known.get(key) == resource.get(key))
    {
        known.push(resource);
    }
}

fn told(kind: &Kind, id: &str, resource: &SeenResource) -> Value {
    let mut told = Map::new();
    told.insert(identifier(kind).to_owned(), json!(id));
    if let Some(name) = resource.facts.name.as_ref().filter(|_| kind.has("name")) {
        told.insert("name".to_owned(), json!(name));
    }
    if kind.has("tag") && !resource.facts.tags.is_empty() {
        told.insert("tags".to_owned(), json!(resource.facts.tags));
    }
    if let Some(project) = resource
        .facts
        .project
        .as_ref()
        .filter(|_| kind.has("project"))
    {
        told.insert("project".to_owned(), json!(project));
    }
    for (attribute, value) in &resource.more {
        told.insert(attribute.clone(), json!(value));
    }
    Value::Object(told)
}

/// The attribute by which a resource of a kind is told.
pub(super) fn identifier(kind: &Kind) -> &'static str {
    if kind.has("id") { "id" } else { "name" }
}

fn attributes(kind: &Kind, resource: &Value) -> Attributes {
    let members = resource.as_object().into_iter().flatten();
    let read = members.map(|(key, value)| {
        let key = if key == "tags" { "tag" } else { key.as_str() };
        let texts: Vec<&str> = match value {
            Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
            other => other.as_str().into_iter().collect(),
        };
        let values = texts.into_iter().map(|text| spelled(kind, key, text, None));
        (key.to_owned(), Known::exactly(values))
    });
    read.collect()
}
