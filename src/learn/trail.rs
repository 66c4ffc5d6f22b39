use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::ResourceFacts;
use crate::catalog::KindId;

/// The requests of a record that were let through, each different one once.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub seen: Vec<SeenRequest>,
    pub refused: BTreeMap<String, u64>,
    pub unreadable: u64,
}

/// A request that was let through, as far as a record tells of it.
#[derive(Clone, Debug)]
pub(super) struct SeenRequest {
    pub method: String,
    pub path: String,
    pub action: Option<String>,
    pub query: Vec<String>,
    pub scopes: Vec<String>,
    pub fields: Vec<String>,
    pub resources: Vec<SeenResource>,
    pub count: u64,
    pub first: String,
    pub last: String,
}

/// A resource that it touched.
#[derive(Clone, Debug)]
pub(super) struct SeenResource {
    /// Its kind, or what stands in a record where no one kind is told: `by_urn`.
    pub kind: String,
    pub id: Option<String>,
    pub scope: Option<String>,
    pub facts: ResourceFacts,
    /// Other attributes.
    pub more: Vec<(String, String)>,
}

/// Whether a path is answered here, whatever is granted.
pub(super) fn is_own(path: &str) -> bool {
    path.starts_with("/.tidegate/") || path == "/v1/oauth/token/info"
}

impl Trail {
    pub fn of(records: impl Iterator<Item = Value>) -> Self {
        let mut trail = Self::default();
        let mut known: HashMap<String, usize> = HashMap::new();
        for record in records {
            let text = |member: &str| record.get(member).and_then(Value::as_str);
            if text("time").is_none() {
                trail.unreadable += 1;
                continue;
            }
            let (Some("answer"), Some(method), Some(path)) =
                (text("event"), text("method"), text("path"))
            else {
                continue;
            };
            if is_own(path) {
                continue;
            }
            match text("decision") {
                Some("allow") => {}
                Some(_) => {
                    let reason = text("reason").unwrap_or("refused");
                    *trail
                        .refused
                        .entry(format!("{method} {path} ({reason})"))
                        .or_default() += 1;
                    continue;
                }
                None => continue,
            }
            let seen = SeenRequest::of(&record, method, path);
            let key = seen.key();
            if let Some(before) = known.get(&key).and_then(|at| trail.seen.get_mut(*at)) {
                before.again(&seen);
            } else {
                known.insert(key, trail.seen.len());
                trail.seen.push(seen);
            }
        }
        trail
    }

    /// The kinds of which more are named than this, or of which some are made.
    pub(super) fn kinds_of_more_than(&self, ids: usize) -> HashSet<KindId> {
        let mut named: HashMap<KindId, HashSet<&str>> = HashMap::new();
        let mut kinds = HashSet::new();
        for resource in self.seen.iter().flat_map(|seen| &seen.resources) {
            let Some(kind) = KindId::from_name(&resource.kind) else {
                continue;
            };
            let known = named.entry(kind).or_default();
            let more = match &resource.id {
                Some(id) => {
                    known.insert(id);
                    known.len() > ids
                }
                None => resource.facts != ResourceFacts::default(),
            };
            if more {
                kinds.insert(kind);
            }
        }
        kinds
    }

    /// Looks up what the record does not tell of resources of these kinds.
    pub fn complete(
        &mut self,
        kinds: impl Fn(KindId) -> bool,
        look_up: &dyn Fn(KindId, &str) -> Option<ResourceFacts>,
    ) {
        let mut found: HashMap<(KindId, String), Option<ResourceFacts>> = HashMap::new();
        for resource in self.seen.iter_mut().flat_map(|seen| &mut seen.resources) {
            let (Some(kind), Some(id)) = (KindId::from_name(&resource.kind), &resource.id) else {
                continue;
            };
            if resource.facts != ResourceFacts::default() || !kinds(kind) {
                continue;
            }
            let key = (kind, id.clone());
            let facts = found.entry(key).or_insert_with(|| look_up(kind, id));
            if let Some(facts) = facts {
                resource.facts = facts.clone();
            }
        }
    }
}

impl SeenRequest {
    pub fn of(record: &Value, method: &str, path: &str) -> Self {
        let time = record
            .get("time")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let resources = record.get("resources").and_then(Value::as_array);
        let resources = resources.into_iter().flatten().map(|resource| {
            let text = |member: &str| {
                resource
                    .get(member)
                    .and_then(Value::as_str)
                    .map(str::to_owned)
            };
            SeenResource {
                kind: text("kind").unwrap_or_default(),
                id: text("id"),
                scope: text("scope"),
                facts: ResourceFacts {
                    name: text("name"),
                    tags: texts(resource, "tags"),
                    project: text("project"),
                },
                more: Vec::new(),
            }
        });
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            action: record
                .get("action")
                .and_then(Value::as_str)
                .map(str::to_owned),
            query: texts(record, "query"),
            scopes: texts(record, "scopes"),
            fields: texts(record, "fields"),
            resources: resources.collect(),
            count: 1,
            first: time.to_owned(),
            last: time.to_owned(),
        }
    }

    fn again(&mut self, later: &Self) {
        self.count += 1;
        self.first = later.first.clone().min(std::mem::take(&mut self.first));
        self.last = later.last.clone().max(std::mem::take(&mut self.last));
        for (resource, later) in self.resources.iter_mut().zip(&later.resources) {
            if resource.facts == ResourceFacts::default() {
                resource.facts = later.facts.clone();
            }
        }
    }

    pub fn line(&self) -> String {
        match &self.action {
            Some(action) => format!("{} {} ({action})", self.method, self.path),
            None => format!("{} {}", self.method, self.path),
        }
    }

    /// What tells it from others: what is known of its resources beside does not.
    pub fn key(&self) -> String {
        let named = self.resources.iter().map(|it| {
            let created = it.id.is_none().then_some(&it.facts);
            format!("{} {:?} {created:?}", it.kind, it.id)
        });
        let named: Vec<_> = named.collect();
        format!(
            "{} {:?} {:?} {:?} {named:?}",
            self.line(),
            self.query,
            self.fields,
            self.scopes
        )
    }
}

fn texts(value: &Value, member: &str) -> Vec<String> {
    let list = value.get(member).and_then(Value::as_array);
    let texts = list.into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
