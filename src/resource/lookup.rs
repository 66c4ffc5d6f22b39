use std::collections::BTreeMap;
use std::sync::Arc;

use super::attributes::Attributes;
use super::state::{Known, State, folded, of_children, record_name};
use crate::catalog::{AttributeSource, FieldPath, Kind, KindId, LookUp, Name, Segment, Step};
use crate::refusal::Refusal;
use crate::request::Json;

/// A resource as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is known of it.
    pub attributes: Attributes,
    /// Its JSON, where it was read from the API.
    pub json: Option<Arc<Json>>,
}

/// What a resource belongs to, outermost first: kind and what it is called.
pub type Parents<'p> = &'p [(&'p Kind, Name)];

/// Where facts about resources come from: the API, or a test that gives them.
pub trait Look: Sync {
    /// The resource of that kind that has this name; `None` where it is not there.
    fn one(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
        name: &Name,
    ) -> impl Future<Output = Result<Option<Found>, Refusal>> + Send;

    /// The one of that kind that paths mean where they name none; `None` where there is none.
    fn default(&self, kind: &Kind) -> impl Future<Output = Result<Option<Found>, Refusal>> + Send;

    /// The resources of that kind and these parents with that name, and with these other attributes.
    fn named(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
        name: &str,
        narrowed: &[(String, String)],
    ) -> impl Future<Output = Result<Vec<Found>, Refusal>> + Send;

    /// All resources of a kind; `None` where no list shows them.
    fn every(
        &self,
        kind: &Kind,
    ) -> impl Future<Output = Result<Option<Vec<Found>>, Refusal>> + Send;

    /// What another endpoint shows, its path's parameters filled with what these are called; `None` where that is not known.
    fn elsewhere(
        &self,
        look_up: &LookUp,
        called: &[&Name],
    ) -> impl Future<Output = Result<Option<Json>, Refusal>> + Send;

    /// The project that a resource is in, by its URN, as id and name: empty where it is in none that `wanted` names.
    fn project_of(
        &self,
        urn: &str,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> impl Future<Output = Result<Known, Refusal>> + Send;
}

/// Facts that a test gives: by kind, resources with their attributes.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// The resources.
    pub resources: BTreeMap<KindId, Vec<Attributes>>,
}

impl Given {
    fn of(&self, kind: &Kind) -> &[Attributes] {
        self.resources.get(&kind.id).map_or(&[][..], Vec::as_slice)
    }
}

impl Look for Given {
    async fn one(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
        name: &Name,
    ) -> Result<Option<Found>, Refusal> {
        let identifier = folded(kind.id, "id", name.as_str());
        let is_it = |attributes: &&Attributes| {
            let has = |name: &str, value: &str| {
                let known = attributes.get(name);
                known.is_some_and(|known| known.values.iter().any(|known| known == value))
            };
            let identifiers = kind.attributes.iter().filter(|attribute| {
                attribute.from.iter().any(|from| {
                    matches!(from, AttributeSource::Member(path) if kind.identified_by.contains(path))
                })
            });
            let named = identifiers
                .clone()
                .any(|attribute| has(&attribute.name, &identifier));
            named
                && parents.iter().all(|(parent, called)| {
                    !attributes.contains_key(parent.id.name())
                        || has(parent.id.name(), called.as_str())
                })
        };
        Ok(self.of(kind).iter().find(is_it).map(found))
    }

    async fn default(&self, kind: &Kind) -> Result<Option<Found>, Refusal> {
        let is_it = |attributes: &&Attributes| {
            let flagged = attributes.get("default");
            !kind.has("default") || flagged.is_some_and(|known| known.values == ["true"])
        };
        Ok(self.of(kind).iter().find(is_it).map(found))
    }

    async fn named(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
        name: &str,
        narrowed: &[(String, String)],
    ) -> Result<Vec<Found>, Refusal> {
        let has = |attributes: &Attributes, key: &str, value: &str| {
            let value = folded(kind.id, key, value);
            attributes
                .get(key)
                .is_some_and(|known| known.values.contains(&value))
        };
        let fits = |attributes: &&Attributes| {
            has(attributes, "name", name)
                && narrowed
                    .iter()
                    .all(|(key, value)| has(attributes, key, value))
                && parents.iter().all(|(parent, called)| {
                    let key = parent.id.name();
                    !attributes.contains_key(key) || has(attributes, key, called.as_str())
                })
        };
        Ok(self.of(kind).iter().filter(fits).map(found).collect())
    }

    async fn every(&self, kind: &Kind) -> Result<Option<Vec<Found>>, Refusal> {
        Ok(Some(self.of(kind).iter().map(found).collect()))
    }

    async fn elsewhere(&self, _: &LookUp, _: &[&Name]) -> Result<Option<Json>, Refusal> {
        Ok(None)
    }

    async fn project_of(
        &self,
        urn: &str,
        _wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Known, Refusal> {
        // What a test gives of a resource has its project in it, and an id that nothing else has.
        let id = urn.splitn(3, ':').nth(2).unwrap_or_default();
        let is_it = |attributes: &&Attributes| {
            let known = attributes.get("id");
            known.is_some_and(|known| known.values.iter().any(|known| known == id))
        };
        let mut found = self.resources.values().flatten().filter(is_it);
        let project = found.find_map(|attributes| attributes.get("project"));
        Ok(project.cloned().unwrap_or_else(Known::unknown))
    }
}

fn found(attributes: &Attributes) -> Found {
    Found {
        attributes: attributes.clone(),
        json: None,
    }
}

/// The attributes of a resource as its JSON has them. What the JSON does not say is unknown, but for what the kind's table has
/// as left out, or null, where there is none of it; so is what it says in another form than the API's reference. What only URNs
/// or paths tell is left out.
pub fn attributes_of(kind: &Kind, json: &Json, zone: Option<&str>) -> Attributes {
    let mut attributes = Attributes::new();
    for attribute in &*kind.attributes {
        let members = attribute.from.iter().filter_map(|from| match from {
            AttributeSource::Member(path) => Some(path),
            AttributeSource::Path(_) | AttributeSource::Urn => None,
        });
        let mut members = members.peekable();
        if members.peek().is_none() {
            continue;
        }
        let mut known = Known::exactly([]);
        for path in members {
            match told(kind, json, path) {
                Some(texts) => {
                    let texts = texts.iter();
                    let spelled =
                        texts.flat_map(|text| spellings(kind, &attribute.name, text, zone));
                    known.values.extend(spelled);
                }
                None => known.complete = false,
            }
        }
        attributes.insert(attribute.name.clone(), known);
    }
    for (attribute, path) in &kind.children_have {
        let known = told(kind, json, path).map_or_else(Known::unknown, |texts| {
            let texts = texts.iter();
            Known::exactly(texts.flat_map(|text| spellings(kind, attribute, text, zone)))
        });
        attributes.insert(of_children(attribute), known);
    }
    attributes
}

/// The values that stand at a path; `None` where the JSON does not tell, or not in the form that the path has: a list stands
/// where the path says so and nowhere else, and in it nothing but names.
fn told(kind: &Kind, json: &Json, path: &FieldPath) -> Option<Vec<String>> {
    let none_at = |passed: &[Step], is_null| kind.is_none_at(&dotted(passed), is_null);
    all_told(json, path, &none_at)
}

/// The same for what a resource holds beside its attributes. Its outermost members are there; of what is in them the API
/// leaves out what was not given.
pub(super) fn held(kind: &Kind, json: &Json, path: &FieldPath) -> Option<Vec<String>> {
    let none_at =
        |passed: &[Step], is_null| passed.len() > 1 || kind.is_none_at(&dotted(passed), is_null);
    all_told(json, path, &none_at)
}

/// The keys on a way, as the tables write them.
fn dotted(passed: &[Step]) -> String {
    let keys: Vec<&str> = passed.iter().map(|step| step.key.as_str()).collect();
    keys.join(".")
}

/// Whether nothing at a place, or null, means none: asked of the steps up to there.
type NoneAt<'n> = &'n dyn Fn(&[Step], bool) -> bool;

fn all_told(json: &Json, path: &FieldPath, none_at: NoneAt<'_>) -> Option<Vec<String>> {
    let mut told = Vec::new();
    tell_below(json, &path.steps, 0, none_at, &mut told)?;
    Some(told)
}

/// Adds the values at the end of a way of which so many steps were passed.
fn tell_below(
    json: &Json,
    path: &[Step],
    passed: usize,
    none_at: NoneAt<'_>,
    told: &mut Vec<String>,
) -> Option<()> {
    let Some(step) = path.get(passed) else {
        told.push(text_of(json)?);
        return Some(());
    };
    let Json::Map(_) = json else { return None };
    let passed = passed + 1;
    let is_none = |is_null| none_at(path.get(..passed).unwrap_or(path), is_null).then_some(());
    match json.member(&step.key) {
        None => is_none(false),
        Some(Json::Null) => is_none(true),
        Some(value) => tell_each(value, step.lists, &mut |item| {
            tell_below(item, path, passed, none_at, told)
        }),
    }
}

/// Tells of each item, that many levels of lists below a value.
fn tell_each(value: &Json, lists: usize, tell: &mut dyn FnMut(&Json) -> Option<()>) -> Option<()> {
    if lists == 0 {
        return tell(value);
    }
    match value {
        Json::List(items) => items
            .iter()
            .try_for_each(|item| tell_each(item, lists - 1, tell)),
        Json::Null | Json::Flag(_) | Json::Number(_) | Json::Text(_) | Json::Map(_) => None,
    }
}

/// Whether a resource's JSON is of the one that an identifier names: one of the members that identify its kind says so.
/// True of a kind that no member identifies.
pub fn is_called(kind: &Kind, json: &Json, identifier: &str) -> bool {
    let fold = |name: &str| folded(kind.id, "id", name);
    let wanted = fold(identifier);
    let by = |path: &FieldPath| {
        let name = match json.at(path).as_slice() {
            [name] => name.name().map(fold),
            _ => None,
        };
        name.is_some_and(|name| name == wanted)
    };
    kind.identified_by.is_empty() || kind.identified_by.iter().any(by)
}

/// A value as it is compared.
pub fn spelled(kind: &Kind, attribute: &str, text: &str, zone: Option<&str>) -> String {
    let relative = zone
        .filter(|_| kind.names_in_zone.iter().any(|name| name == attribute))
        .and_then(|zone| record_name(text, zone));
    folded(kind.id, attribute, relative.as_deref().unwrap_or(text))
}

/// A value in each spelling in which it is compared: as [`spelled`], and where it reads as a name in the DNS or an address, as
/// that is the same for every reader too; so is the number that `100.0` and `1e2` are.
pub fn spellings(kind: &Kind, attribute: &str, text: &str, zone: Option<&str>) -> Vec<String> {
    let first = spelled(kind, attribute, text, zone);
    let same = match attribute {
        "data" => as_host(&first),
        // What is called so may be called `100.0`.
        "id" | "name" | "tag" | "project" | "version" => None,
        _ => as_whole_number(&first),
    };
    let same = same.filter(|same| *same != first);
    std::iter::once(first).chain(same).collect()
}

/// A number without a fraction, as its digits.
fn as_whole_number(text: &str) -> Option<String> {
    let number: f64 = text.parse().ok()?;
    let is_whole = number.fract() == 0.0 && number.abs() < 1e15;
    (is_whole && text.bytes().any(|byte| byte.is_ascii_digit())).then(|| format!("{number:.0}"))
}

/// A text that reads as a host's name or address, in one spelling: lower case without a dot at its end, or as RFC 5952 has it.
pub fn as_host(text: &str) -> Option<String> {
    if let Ok(addr) = text.parse::<std::net::IpAddr>() {
        return Some(addr.to_string());
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_host = name.contains('.')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte));
    is_host.then(|| name.to_ascii_lowercase())
}

fn text_of(json: &Json) -> Option<String> {
    match json {
        Json::Flag(flag) => Some(flag.to_string()),
        Json::Null | Json::Number(_) | Json::Text(_) | Json::List(_) | Json::Map(_) => {
            json.name().map(str::to_owned)
        }
    }
}

/// What a name alone tells of a resource: its identifier, and what is the same thing.
pub fn told_by_name(kind: &Kind, name: &Name) -> Attributes {
    let only = match kind.identified_by.as_slice() {
        [only] => Some(AttributeSource::Member(only.clone())),
        [] => own_parameter(kind),
        _ => None, // by which of them it is named is not known
    };
    let mut attributes = Attributes::new();
    let Some(only) = only else {
        return attributes;
    };
    for attribute in kind.attributes.iter().filter(|it| *it.name != *"project") {
        if attribute.from == [only.clone()] {
            let value = folded(kind.id, &attribute.name, name.as_str());
            attributes.insert(attribute.name.clone(), Known::exactly([value]));
        }
    }
    attributes
}

/// What stands for the identifier of a kind that no answer tells: the last parameter of its look-up's path, or where it has
/// no look-up either, its URN.
fn own_parameter(kind: &Kind) -> Option<AttributeSource> {
    let Some(get) = &kind.get else {
        return Some(AttributeSource::Urn);
    };
    let segments = get.template.segments.iter().rev();
    let mut parameters = segments.filter_map(|segment| match segment {
        Segment::Parameter { name, .. } => Some(AttributeSource::Path(name.clone())),
        Segment::Fixed(_) => None,
    });
    parameters.next()
}

/// A child's attribute that is called as its parent's kind.
pub fn with_parents(mut attributes: Attributes, kind: &Kind, parents: Parents<'_>) -> Attributes {
    for (parent, called) in parents {
        if kind.has(parent.id.name()) {
            let value = folded(parent.id, "id", called.as_str());
            attributes.insert_missing(parent.id.name(), Known::exactly([value]));
        }
    }
    attributes
}

/// The zone in which a resource's names stand: what its parent is called.
pub fn zone_of(parent: Option<&State>) -> Option<String> {
    parent?.known("name")?.values.first().cloned()
}

/// The URN of a resource.
pub fn urn_of(kind: &Kind, id: &str) -> Option<String> {
    kind.urns.first().map(|name| format!("do:{name}:{id}"))
}
