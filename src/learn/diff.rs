//! What a change of policy newly allows or refuses: each request of the catalogue, judged by either policy with the daemon's own
//! decision, over witnesses of every selector: what it takes, what it just misses, and what is nobody's.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;
use serde_json::Value;

use super::Facts;
use super::rebuilt::{self, identifier};
use super::trail::{Resource, Seen};
use super::{samples, terms};
use crate::catalog::{
    Action, Catalog, Endpoint, Kind, NameForm, Place, Segment, TouchKind, TouchRule, TouchVerb,
};
use crate::policy::{
    BoundGrant, Grant, Grants, Policy, Role, Vars, asked_by_test, bind, judge_asked,
};
use crate::request::encoded;

/// One difference.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Difference {
    /// Of which role, or what it is of.
    pub role: String,
    /// Whether it is newly allowed, and else newly refused.
    pub allowed: bool,
    /// The operation, or what else differs.
    pub endpoint: String,
    /// `METHOD /path`, with parameters.
    pub request: String,
    /// What it does.
    pub does: String,
    /// To what.
    pub witness: String,
}

/// An attribute that a witness has: of this kind or of any, and the value.
pub(super) type Has = (Option<String>, String, String);

/// A world in which requests are tried.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Witness {
    /// What everything has of which nothing else is said: an attribute that is not known counts as struck by a deny.
    pub base: Arc<[Has]>,
    pub has: Vec<Has>,
    /// The attribute by which it is just missed.
    pub misses: Option<Has>,
}

/// Which parts of a request are there beside its path.
#[derive(Clone, Copy, Debug)]
pub(super) enum Parts<'e> {
    Path,
    All,
    Field(&'e str),
}

/// Everything that differs, role by role.
pub fn differences(
    old: &Policy,
    new: &Policy,
    only: Option<&str>,
    catalog: &Catalog,
) -> Vec<Difference> {
    let names: BTreeSet<&String> = old.roles.keys().chain(new.roles.keys()).collect();
    let names: Vec<&String> = names
        .into_iter()
        .filter(|name| only.is_none_or(|only| only == name.as_str()))
        .collect();
    let mut found: Vec<Difference> =
        side_by_side(&names, |name| of_role(name, [old, new], catalog))
            .into_iter()
            .flatten()
            .collect();
    if only.is_none() {
        terms::of_tokens(old, new, &mut found);
        terms::of_trust(old, new, &mut found);
    }
    found
}

/// Does something with each, on as many threads as the machine has for it.
fn side_by_side<T: Sync, R: Send>(all: &[T], each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(at) else { return done };
            done.push((at, each(one)));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let mut done: Vec<(usize, R)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.min(all.len()))
            .map(|_| scope.spawn(work))
            .collect();
        let ended = threads.into_iter().flat_map(|thread| {
            let done = thread.join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        ended.collect()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

fn of_role(name: &str, policies: [&Policy; 2], catalog: &Catalog) -> Vec<Difference> {
    let mut found = Vec::new();
    let roles = policies.map(|policy| policy.roles.get(name));
    let [before, after] = roles.map(|role| role.map(AsRef::as_ref));
    terms::of_role(name, before, after, &mut found);
    let grants = roles.map(|role| role.map(|role| Written::of(role)).unwrap_or_default());
    if before.is_some() == after.is_some() && grants[0] == grants[1] {
        return found;
    }
    let first = found.len();
    let sides = [0, 1].map(|side: usize| {
        let (policy, role) = (policies.get(side)?, roles.get(side)?.as_ref()?);
        bound(policy, role)
    });
    let changed = Written::changed(&grants);
    by_requests(name, &sides, &changed, catalog, &mut found);
    untold(name, &changed, found.len() == first, &mut found);
    found
}

/// The grants of a role as they mean the same: lists in order, and one value as a list of one.
#[derive(Debug, Default, PartialEq)]
struct Written {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl Written {
    fn of(role: &Role) -> Self {
        let all = |grants: &[Grant]| -> Vec<String> {
            let mut all: Vec<_> = grants
                .iter()
                .map(|grant| ordered(&grant.written).to_string())
                .collect();
            all.sort();
            all
        };
        Self {
            allow: all(&role.allow),
            deny: all(&role.deny),
        }
    }

    /// The grants of either that the other does not have.
    fn changed([old, new]: &[Self; 2]) -> Vec<String> {
        let differ = |one: &[String], other: &[String]| -> Vec<String> {
            let gone = one.iter().filter(|grant| !other.contains(grant));
            gone.cloned().collect()
        };
        [
            differ(&old.allow, &new.allow),
            differ(&new.allow, &old.allow),
            differ(&old.deny, &new.deny),
            differ(&new.deny, &old.deny),
        ]
        .concat()
    }
}

fn ordered(written: &Value) -> Value {
    match written {
        Value::Array(items) => {
            let mut items: Vec<_> = items.iter().map(ordered).collect();
            items.sort_by_key(Value::to_string);
            match items.as_slice() {
                [one] => one.clone(),
                _ => Value::Array(items),
            }
        }
        Value::Object(members) => {
            let members = members.iter();
            let members = members.map(|(key, value)| (key.clone(), ordered(value)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

fn line(role: &str, allowed: bool, what: &str, told: impl Into<String>) -> Difference {
    Difference {
        role: role.to_owned(),
        allowed,
        endpoint: what.to_owned(),
        request: told.into(),
        does: String::new(),
        witness: String::new(),
    }
}

fn bound(policy: &Policy, role: &Role) -> Option<Grants> {
    let vars: Vars = role
        .vars
        .iter()
        .map(|name| (name.clone(), name.clone()))
        .collect();
    bind(policy, std::slice::from_ref(&role.name), &vars).ok()
}

/// What differs in a way that no request tells: what can't be told counts as allowed.
fn untold(name: &str, changed: &[String], nothing: bool, found: &mut Vec<Difference>) {
    let read = |text: &String| serde_json::from_str::<Value>(text).ok();
    let grants: Vec<Value> = changed.iter().filter_map(read).collect();
    let mut patterns = Vec::new();
    let selectors = grants.iter().filter_map(|grant| grant.get("only"));
    selectors.for_each(|only| patterns_in(only, &mut patterns));
    for pattern in patterns.iter().filter(|it| samples::is_unknown(it)) {
        let why = format!("no text is known that {pattern} matches; look at it");
        found.push(line(name, true, "grants", why));
    }
    if nothing && !patterns.is_empty() {
        let why = "they differ, and no request that was tried tells how: a selector has a pattern; look at it";
        found.push(line(name, true, "grants", why));
    }
}

/// The globs and regular expressions in a selector.
fn patterns_in<'v>(written: &'v Value, found: &mut Vec<&'v str>) {
    match written {
        Value::String(text) if text.starts_with('/') || text.contains(['*', '?']) => {
            found.push(text);
        }
        Value::Array(items) => items.iter().for_each(|it| patterns_in(it, found)),
        Value::Object(members) => members.values().for_each(|it| patterns_in(it, found)),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn by_requests(
    name: &str,
    sides: &[Option<Grants>; 2],
    changed: &[String],
    catalog: &Catalog,
    found: &mut Vec<Difference>,
) {
    patterns(name, sides, found);
    let witnesses = witnesses(sides, changed, catalog);
    for endpoint in catalog.endpoints() {
        let could = |side: &Option<Grants>| {
            side.as_ref()
                .is_some_and(|grants| could_allow(grants, endpoint))
        };
        if endpoint.refused.is_some() || !sides.iter().any(could) {
            continue;
        }
        let mut outcomes: BTreeMap<(String, bool), Vec<&Witness>> = BTreeMap::new();
        let mut tried: BTreeMap<String, usize> = BTreeMap::new();
        let kinds: BTreeSet<&str> = kinds_of(endpoint).collect();
        // What it says of other kinds makes no other request: worlds that differ in that alone are tried once.
        let concerned: BTreeSet<Witness> = witnesses
            .iter()
            .map(|witness| witness.about(&kinds, catalog))
            .collect();
        for (does, action, parts) in variants(endpoint) {
            for witness in &concerned {
                let seen = request(endpoint, action, parts, witness, catalog);
                let [before, after] = judged(&seen, sides, catalog);
                *tried.entry(does.clone()).or_default() += 1;
                if before != after {
                    outcomes
                        .entry((does.clone(), after))
                        .or_default()
                        .push(witness);
                }
            }
        }
        for ((does, allowed), witnesses) in outcomes {
            let all = tried.get(&does) == Some(&witnesses.len());
            let told: BTreeSet<String> = if all {
                BTreeSet::from(["anything".to_owned()])
            } else {
                witnesses.iter().map(|witness| witness.told()).collect()
            };
            found.extend(told.into_iter().map(|witness| Difference {
                role: name.to_owned(),
                allowed,
                endpoint: endpoint.operation.to_string(),
                request: endpoint.to_string(),
                does: does.clone(),
                witness,
            }));
        }
    }
}

/// Whether either side allows a request.
fn judged(seen: &Seen, sides: &[Option<Grants>; 2], catalog: &Catalog) -> [bool; 2] {
    let test = rebuilt::test(seen, "", catalog);
    let asked = asked_by_test(&test, catalog);
    sides.each_ref().map(|side| match (side, &asked) {
        (Some(grants), Some(asked)) => judge_asked(asked, &test.given, grants, catalog).is_ok(),
        (None, _) | (_, None) => false,
    })
}

/// Patterns may match what the catalogue does not know, so each that comes or goes is told.
fn patterns(name: &str, sides: &[Option<Grants>; 2], found: &mut Vec<Difference>) {
    let of = |side: &Option<Grants>, denies: bool| -> BTreeSet<String> {
        let grants = side
            .iter()
            .flat_map(|grants| if denies { &grants.deny } else { &grants.allow });
        let requests = grants.filter(|grant| grant.written.get("requests").is_some());
        requests.map(|grant| grant.written.to_string()).collect()
    };
    for denies in [false, true] {
        let [old, new] = [of(&sides[0], denies), of(&sides[1], denies)];
        let what = if denies { "deny requests" } else { "requests" };
        found.extend(
            old.difference(&new)
                .map(|told| line(name, denies, what, told.clone())),
        );
        found.extend(
            new.difference(&old)
                .map(|told| line(name, !denies, what, told.clone())),
        );
    }
}

fn could_allow(grants: &Grants, endpoint: &Endpoint) -> bool {
    grants.allowing().any(|grant| match grant.covers.all() {
        Some(scopes) => endpoint
            .scopes
            .iter()
            .any(|set| set.is_empty() || scopes.meets(set)),
        None => true,
    })
}

/// What is tried of an endpoint: what it does, its action, and what stands in the request.
pub(super) fn variants(endpoint: &Endpoint) -> Vec<(String, Option<&str>, Parts<'_>)> {
    let does = does(endpoint);
    let fields: Vec<String> = endpoint
        .fields
        .iter()
        .map(|field| field.at.to_string())
        .collect();
    let actions: Vec<Option<&str>> = match &endpoint.action {
        Some(Action::Named { one_of, .. }) => {
            one_of.iter().map(|action| Some(action.as_str())).collect()
        }
        Some(Action::Always(_)) | None => vec![None],
    };
    let elsewhere = |rule: &TouchRule| matches!(rule.at, Some(Place::Body(_) | Place::Query(_)));
    let names_others = endpoint.touches.rules().iter().any(elsewhere);
    let mut variants = Vec::new();
    for action in actions {
        let does = action.map_or_else(|| does.to_owned(), |action| format!("{does} ({action})"));
        variants.push((does.clone(), action, Parts::Path));
        if names_others {
            variants.push((format!("{does}, naming others"), action, Parts::All));
        }
        for (number, field) in fields.iter().enumerate() {
            let at = endpoint.fields.get(number).map(|field| &field.at);
            if let Some(Place::Body(path)) = at
                && let Some(step) = path.steps.first()
            {
                variants.push((
                    format!("{does} with {field}"),
                    action,
                    Parts::Field(&step.key),
                ));
            }
        }
    }
    variants
}

fn does(endpoint: &Endpoint) -> &'static str {
    let first = endpoint.touches.rules().iter().find(|rule| rule.is_first());
    match first.map(|rule| rule.verb) {
        _ if endpoint.sensitive.is_some() => "logs in",
        _ if endpoint.reads() => "reads",
        Some(TouchVerb::Create) => "creates",
        Some(TouchVerb::Delete) => "deletes",
        None if endpoint.method.as_str() == "DELETE" => "deletes",
        Some(_) | None => "changes",
    }
}

pub(super) fn kinds_of(endpoint: &Endpoint) -> impl Iterator<Item = &str> {
    let rules = endpoint.touches.rules().iter();
    rules.flat_map(|rule| {
        let own = rule.kind.one().map(crate::catalog::KindName::as_str);
        let typed = match &rule.kind {
            TouchKind::Typed { types, .. } | TouchKind::Told { types, .. } => types.as_slice(),
            TouchKind::One(_) | TouchKind::Urn => &[],
        };
        let typed = typed
            .iter()
            .filter_map(|(_, kind)| Some(kind.as_ref()?.as_str()));
        let parents = rule.of.iter().map(|(kind, _)| kind.as_str());
        own.into_iter().chain(typed).chain(parents)
    })
}

impl Witness {
    /// What it says of these kinds, each thing once: of what is said twice, what is said last counts.
    fn about(&self, kinds: &BTreeSet<&str>, catalog: &Catalog) -> Self {
        let concerns = |(kind, attribute, _): &&Has| match kind {
            Some(kind) => kinds.contains(kind.as_str()),
            None => kinds.iter().any(|of| {
                let kind = catalog.kinds().find(of);
                kind.is_some_and(|kind| kind.has(attribute))
            }),
        };
        let misses = self.misses.as_ref().filter(concerns).cloned();
        let mut has: Vec<Has> = Vec::new();
        for one in self.has.iter().filter(concerns) {
            let is_same = |other: &Has| (&other.0, &other.1) == (&one.0, &one.1);
            has.retain(|other| !is_same(other));
            if !misses.as_ref().is_some_and(is_same) {
                has.push(one.clone());
            }
        }
        Self {
            base: self.base.clone(),
            has,
            misses,
        }
    }

    /// One that has what both have; where they differ, what the other has.
    fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.has.extend(other.has.iter().cloned());
        both.misses.clone_from(&other.misses);
        if let Some(missed) = &self.misses {
            both.has.push(missed.clone());
        }
        both
    }

    fn told(&self) -> String {
        let tell = |(kind, attribute, value): &Has| {
            let kind = kind.as_deref().unwrap_or("any kind");
            format!("{kind} {attribute}={value}")
        };
        let has: Vec<_> = self.has.iter().map(tell).collect();
        match &self.misses {
            None if has.is_empty() => "what no selector takes".to_owned(),
            None => has.join(" "),
            Some(missed) => {
                let has: Vec<_> = has.into_iter().chain([tell(missed)]).collect();
                format!("{} (just missed)", has.join(" "))
            }
        }
    }

    /// What it says of a kind: later entries win.
    fn of<'w>(&'w self, kind: &'w Kind) -> impl Iterator<Item = (&'w str, &'w str)> {
        let all = self.base.iter().chain(&self.has).chain(&self.misses);
        all.filter(|(of, attribute, _)| {
            of.as_deref().is_none_or(|of| of == kind.name.as_str()) && kind.has(attribute)
        })
        .map(|(_, attribute, value)| (attribute.as_str(), value.as_str()))
    }
}

/// As many are made of two selectors together.
const MOST_PAIRS: usize = 3_000;

/// The worlds in which requests are tried: what is nobody's, what each selector of either side takes and just misses, and what a
/// changed grant and another take or miss together: a deny strikes what an allow takes, a VPC goes by a grant of its own.
fn witnesses(
    sides: &[Option<Grants>; 2],
    changed: &[String],
    catalog: &Catalog,
) -> BTreeSet<Witness> {
    let mut of_grants: BTreeMap<String, Vec<Witness>> = BTreeMap::new();
    for grants in sides.iter().flatten() {
        for grant in grants.allowing().chain(grants.denying()) {
            let key = ordered(&grant.written).to_string();
            of_grants
                .entry(key)
                .or_insert_with(|| witnesses_of(grant, catalog));
        }
    }
    let base = base(&of_grants, catalog);
    let mut all: BTreeSet<Witness> = of_grants.values().flatten().cloned().collect();
    let of_changed = of_grants.iter().filter(|(key, _)| changed.contains(key));
    let pairs = of_changed.flat_map(|(key, own)| {
        let others = of_grants.iter().filter(move |(other, _)| *other != key);
        let others = others.flat_map(|(_, witnesses)| witnesses);
        others.flat_map(move |other| own.iter().map(move |own| other.and(own)))
    });
    all.extend(pairs.take(MOST_PAIRS));
    all.insert(Witness::default());
    let with_base = all.into_iter().map(|witness| Witness {
        base: base.clone(),
        ..witness
    });
    with_base.collect()
}

/// A value that nobody asks for, for each attribute that is asked about; what names a thing stands in the request.
fn base(of_grants: &BTreeMap<String, Vec<Witness>>, catalog: &Catalog) -> Arc<[Has]> {
    let mut asked: BTreeMap<(Option<String>, String), String> = BTreeMap::new();
    for witness in of_grants.values().flatten() {
        for (kind, attribute, value) in witness.has.iter().chain(&witness.misses) {
            let names_it = kind.as_deref().is_some_and(|kind| {
                let kind = catalog.kinds().find(kind);
                kind.is_none_or(|kind| identifies(kind, attribute))
            });
            if !names_it {
                asked.insert((kind.clone(), attribute.clone()), of_like(value).to_owned());
            }
        }
    }
    let base = asked.into_iter();
    base.map(|((kind, attribute), value)| (kind, attribute, value))
        .collect()
}

/// A value of nobody's in the form of another.
fn of_like(value: &str) -> &'static str {
    if crate::catalog::is_uuid(value) {
        "00000000-0000-4000-8000-00000000000f"
    } else if value.bytes().all(|byte| byte.is_ascii_digit()) {
        "7000009"
    } else {
        "nobodys"
    }
}

/// For a selector a world that it takes, for each of its values one, and for each of its attributes one that it just misses.
fn witnesses_of(grant: &BoundGrant, catalog: &Catalog) -> Vec<Witness> {
    let mut witnesses = Vec::new();
    let Some(Value::Object(only)) = grant.written.get("only") else {
        return witnesses;
    };
    let mut asks: Vec<(Option<String>, String, Vec<String>)> = Vec::new();
    for (key, asked) in only {
        match asked {
            Value::Object(selector) => {
                for (attribute, values) in selector {
                    asks.push((Some(key.clone()), attribute.clone(), samples::of(values)));
                }
            }
            values if catalog.kinds().find(key).is_none() || SHARED.contains(&key.as_str()) => {
                asks.push((None, key.clone(), samples::of(values)));
            }
            _ => {} // `any`
        }
    }
    let first = |(kind, attribute, values): &(Option<String>, String, Vec<String>)| {
        Some((kind.clone(), attribute.clone(), values.first()?.clone()))
    };
    let taken: Vec<Has> = asks.iter().filter_map(first).collect();
    let of = |has: Vec<Has>, misses: Option<Has>| Witness {
        base: Arc::default(),
        has,
        misses,
    };
    witnesses.push(of(taken.clone(), None));
    for (kind, attribute, values) in &asks {
        let is_it = |(of, name, _): &Has| (of, name) == (kind, attribute);
        for value in values.iter().skip(1) {
            let mut has = taken.clone();
            if let Some(one) = has.iter_mut().find(|it| is_it(it)) {
                one.2.clone_from(value);
            }
            witnesses.push(of(has, None));
        }
        if let Some(value) = values.first() {
            let mut has = taken.clone();
            has.retain(|it| !is_it(it));
            let missed = (kind.clone(), attribute.clone(), samples::beside(value));
            witnesses.push(of(has, Some(missed)));
        }
    }
    witnesses
}

/// The attributes that may stand in `only` directly.
const SHARED: [&str; 3] = ["tag", "project", "region"];

/// A request to an endpoint in the world of a witness.
pub(super) fn request(
    endpoint: &Endpoint,
    action: Option<&str>,
    parts: Parts<'_>,
    witness: &Witness,
    catalog: &Catalog,
) -> Seen {
    let rules = endpoint.touches.rules();
    let kind = |name: &str| catalog.kinds().find(name);
    let called = |of: Option<&str>| {
        of.and_then(kind)
            .map_or_else(|| "1".to_owned(), |kind| id_of(kind, witness))
    };
    let mut path = String::new();
    for segment in &endpoint.template.segments {
        path.push('/');
        match segment {
            Segment::Fixed(text) => path.push_str(text),
            Segment::Parameter { name, .. } => {
                let place = Place::Path(name.clone());
                let own = rules.iter().find(|rule| rule.at.as_ref() == Some(&place));
                let own = own
                    .and_then(|rule| rule.kind.one())
                    .map(crate::catalog::KindName::as_str);
                let parents = rules.iter().flat_map(|rule| &rule.of);
                let parent = parents
                    .into_iter()
                    .find(|(_, at)| *at == place)
                    .map(|(kind, _)| kind.as_str());
                let text = match own.or(parent) {
                    None => form_at(&place, endpoint),
                    some => called(some),
                };
                path.push_str(&encoded(&text));
            }
        }
    }
    let is_there = |rule: &&TouchRule| match (&rule.at, parts) {
        (None | Some(Place::Path(_)), _) | (Some(_), Parts::All) => true,
        (Some(Place::Body(at)), Parts::Field(key)) => {
            at.steps.first().is_some_and(|step| step.key == key)
        }
        (Some(_), Parts::Path | Parts::Field(_)) => false,
    };
    let mut resources: Vec<Resource> = Vec::new();
    for rule in rules.iter().filter(is_there) {
        let Some(own) = rule.kind.one().and_then(|name| kind(name.as_str())) else {
            continue;
        };
        let id = rule.at.is_some().then(|| id_of(own, witness));
        resources.push(resource(own, id, witness));
        let parents = rule.of.iter().filter_map(|(name, _)| kind(name.as_str()));
        resources
            .extend(parents.map(|parent| resource(parent, Some(id_of(parent, witness)), witness)));
    }
    let fields = endpoint.fields.iter().map(|field| field.at.to_string());
    let used = |field: &String| match parts {
        Parts::Field(key) => field
            .strip_prefix("body.")
            .is_some_and(|rest| rest == key || rest.starts_with(&format!("{key}."))),
        Parts::Path | Parts::All => false,
    };
    Seen {
        method: endpoint.method.to_string(),
        path,
        action: action.map(str::to_owned),
        query: Vec::new(),
        scopes: Vec::new(),
        fields: fields.filter(used).collect(),
        resources,
        count: 1,
        first: String::new(),
        last: String::new(),
    }
}

fn resource(kind: &Kind, id: Option<String>, witness: &Witness) -> Resource {
    let mut facts = Facts::default();
    let mut more = Vec::new();
    for (attribute, value) in witness.of(kind) {
        match attribute {
            "name" => facts.name = Some(value.to_owned()),
            "tag" => facts.tags = vec![value.to_owned()],
            "project" => facts.project = Some(value.to_owned()),
            "id" => {}
            other => more.push((other.to_owned(), value.to_owned())),
        }
    }
    Resource {
        kind: kind.name.to_string(),
        id,
        scope: None,
        facts,
        more,
    }
}

/// What the request calls the one of a kind: what a selector asks of the attribute that is its identifier, or any.
fn id_of(kind: &Kind, witness: &Witness) -> String {
    let asked = witness
        .of(kind)
        .filter(|(attribute, _)| identifies(kind, attribute))
        .last();
    asked.map_or_else(
        || of_form(kind.named.first()).to_owned(),
        |(_, value)| value.to_owned(),
    )
}

/// Whether an attribute is what a request calls the resources of a kind by.
fn identifies(kind: &Kind, attribute: &str) -> bool {
    let from = |name: &str| kind.attribute(name).map(|attribute| &attribute.from);
    from(attribute).is_some() && from(attribute) == from(identifier(kind))
}

fn form_at(place: &Place, endpoint: &Endpoint) -> String {
    rebuilt::sample(place, endpoint)
}

/// A name in a form.
pub(super) fn of_form(form: Option<&NameForm>) -> &'static str {
    match form {
        Some(NameForm::Number) | None => "7000001",
        Some(NameForm::Uuid) => "00000000-0000-4000-8000-000000000001",
        Some(NameForm::Ipv4) => "192.0.2.1",
        Some(NameForm::Ipv6) => "2001:db8::1",
        Some(NameForm::Fingerprint) => "00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00",
        Some(NameForm::Zone | NameForm::Record) => "nobodys.example",
        Some(NameForm::Digest) => {
            "sha256:0000000000000000000000000000000000000000000000000000000000000000"
        }
        Some(NameForm::Urn) => "do:droplet:7000001",
        Some(NameForm::ImageTag) => "v1",
        Some(
            NameForm::Slug
            | NameForm::Tag
            | NameForm::Registry
            | NameForm::Repository
            | NameForm::Bucket
            | NameForm::Word
            | NameForm::Index
            | NameForm::Text,
        ) => "nobodys",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::read_alone;

    const SCOPES: [&str; 6] = [
        "droplet:read",
        "droplet:delete",
        "domain:read",
        "domain:delete",
        "block_storage:read",
        "*:delete",
    ];
    const ONLY: [&str; 9] = [
        "",
        "droplet: { tag: a }",
        "droplet: { tag: [a, b], name: web-1 }",
        "droplet: { name: 'web-*' }",
        "droplet: { name: '/(web|db)-[0-9]+/' }",
        "tag: a",
        "domain: { name: [example.com, '*.example.org'] }",
        "volume: { name: 'web-*', region: nyc3 }",
        "droplet: any, domain: { name: example.com }",
    ];
    /// What may be there: by kind, attribute and value.
    const WORLD: [(&str, &str, &str); 12] = [
        ("droplet", "tag", "a"),
        ("droplet", "tag", "b"),
        ("droplet", "tag", "c"),
        ("droplet", "name", "web-1"),
        ("droplet", "name", "web-22"),
        ("droplet", "name", "db-1"),
        ("domain", "name", "example.com"),
        ("domain", "name", "www.example.org"),
        ("volume", "name", "web-1"),
        ("volume", "region", "nyc3"),
        ("volume", "tag", "a"),
        ("volume", "region", "fra1"),
    ];

    fn grant() -> impl Strategy<Value = String> {
        let scopes = prop::sample::subsequence(SCOPES.to_vec(), 1..3);
        (scopes, prop::sample::select(ONLY.to_vec())).prop_map(|(scopes, only)| {
            let scopes: Vec<_> = scopes.iter().map(|scope| format!("'{scope}'")).collect();
            let only = if only.is_empty() {
                String::new()
            } else {
                format!(", only: {{ {only} }}")
            };
            format!("      - {{ scopes: [{}]{only} }}\n", scopes.join(", "))
        })
    }

    fn role() -> impl Strategy<Value = String> {
        let allow = prop::collection::vec(grant(), 1..3);
        (allow, prop::option::of(grant())).prop_map(|(allow, deny)| {
            let deny = deny.map(|deny| format!("    deny:\n{deny}"));
            format!(
                "version: 1\nroles:\n  r:\n    allow:\n{}{}",
                allow.concat(),
                deny.unwrap_or_default()
            )
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 8, max_shrink_iters: 40, ..ProptestConfig::default() })]

        /// Whatever a change newly allows is told, with the endpoint by which it is allowed.
        #[test]
        fn what_a_change_newly_allows_is_told(
            texts in [role(), role()],
            worlds in prop::collection::vec(prop::sample::subsequence(WORLD.to_vec(), 0..6), 8),
        ) {
            let catalog = Catalog::builtin().unwrap();
            let read = |text: &String| read_alone("p.yaml", text, &catalog).ok();
            let [Some(old), Some(new)] = texts.each_ref().map(read) else {
                return Ok(()); // two grants of one role are the same, or a scope can't be narrowed so
            };
            let found = differences(&old, &new, None, &catalog);
            let sides = [&old, &new].map(|policy| bound(policy, &policy.roles["r"]));
            let base: Arc<[Has]> = WORLD
                .iter()
                .filter(|(kind, _, _)| *kind != "domain") // its name stands in the request
                .map(|(kind, attribute, _)| (Some((*kind).to_owned()), (*attribute).to_owned(), "else".to_owned()))
                .collect();
            for world in worlds {
                let has = world.iter().map(|(kind, attribute, value)| {
                    (Some((*kind).to_owned()), (*attribute).to_owned(), (*value).to_owned())
                });
                let witness = Witness { base: base.clone(), has: has.collect(), misses: None };
                for endpoint in catalog.endpoints().iter().filter(|it| it.refused.is_none()) {
                    if !sides.iter().flatten().any(|grants| could_allow(grants, endpoint)) {
                        continue;
                    }
                    for (_, action, parts) in variants(endpoint) {
                        let seen = request(endpoint, action, parts, &witness, &catalog);
                        if judged(&seen, &sides, &catalog) == [false, true] {
                            let told = |it: &Difference| it.allowed && *it.endpoint == *endpoint.operation;
                            prop_assert!(
                                found.iter().any(told),
                                "{endpoint} of {witness:?} is newly allowed and not told:\n{}\n{}",
                                texts[0],
                                texts[1]
                            );
                        }
                    }
                }
            }
        }
    }
}
