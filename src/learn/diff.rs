//! What a change of policy newly allows or refuses: each request of the catalogue, judged by either policy with the daemon's own
//! decision, over witnesses of every selector: what it takes, what it just misses, and what is nobody's.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::Facts;
use super::rebuilt::{self, identifier};
use super::trail::{Resource, Seen};
use crate::catalog::{
    Action, Catalog, Endpoint, Kind, NameForm, Place, Segment, TouchKind, TouchRule, TouchVerb,
};
use crate::policy::{Decision, Grants, Policy, Role, Trust, Vars, bind, judge_by};
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
type Has = (Option<String>, String, String);

/// A world in which requests are tried.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
struct Witness {
    has: Vec<Has>,
    /// The attribute by which it is just missed.
    misses: Option<Has>,
}

/// Which parts of a request are there beside its path.
#[derive(Clone, Copy, Debug)]
enum Parts<'e> {
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
    let mut found = Vec::new();
    let names: BTreeSet<&String> = old.roles.keys().chain(new.roles.keys()).collect();
    for name in names
        .into_iter()
        .filter(|name| only.is_none_or(|only| only == name.as_str()))
    {
        let (before, after) = (old.roles.get(name), new.roles.get(name));
        if before
            .zip(after)
            .is_some_and(|(before, after)| same(before, after))
        {
            continue;
        }
        let first = found.len();
        about_role(name, before, after, &mut found);
        let sides = [bound(old, before), bound(new, after)];
        by_requests(name, &sides, catalog, &mut found);
        if found.len() == first {
            found.extend(untold(name, &sides));
        }
    }
    if only.is_none() {
        about_tokens(old, new, &mut found);
        about_trust(old, new, &mut found);
    }
    found
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

fn written(role: &Role) -> Vec<&Value> {
    let grants = role.allow.iter().chain(&role.deny);
    grants.map(|grant| &grant.written).collect()
}

fn same(before: &Arc<Role>, after: &Arc<Role>) -> bool {
    let (old, new) = (before.as_ref(), after.as_ref());
    old.account == new.account
        && old.vars == new.vars
        && old.allow.len() == new.allow.len()
        && written(old) == written(new)
}

fn bound(policy: &Policy, role: Option<&Arc<Role>>) -> Option<Grants> {
    let role = role?;
    let vars: Vars = role
        .vars
        .iter()
        .map(|name| (name.clone(), name.clone()))
        .collect();
    bind(policy, std::slice::from_ref(&role.name), &vars).ok()
}

fn about_role(
    name: &str,
    before: Option<&Arc<Role>>,
    after: Option<&Arc<Role>>,
    found: &mut Vec<Difference>,
) {
    let (Some(old), Some(new)) = (before, after) else {
        return;
    };
    if old.account != new.account {
        found.push(line(
            name,
            true,
            "account",
            format!("{} instead of {}", new.account, old.account),
        ));
    }
    if old.vars != new.vars {
        found.push(line(
            name,
            true,
            "vars",
            format!(
                "[{}] instead of [{}]",
                new.vars.join(", "),
                old.vars.join(", ")
            ),
        ));
    }
}

/// That a role differs in a way that no request tells: what can't be told counts as allowed.
fn untold(name: &str, sides: &[Option<Grants>; 2]) -> Option<Difference> {
    let unsampled = sides.iter().flatten().any(|grants| {
        let all = grants.allowing().chain(grants.denying());
        all.into_iter()
            .any(|grant| grant.written.get("only").is_some_and(has_regex))
    });
    let why = "its grants differ, and no request that was tried tells how: a selector has a regular expression; look at it";
    unsampled.then(|| line(name, true, "grants", why))
}

fn has_regex(written: &Value) -> bool {
    match written {
        Value::String(text) => text.starts_with('/'),
        Value::Array(items) => items.iter().any(has_regex),
        Value::Object(members) => members.values().any(has_regex),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn about_tokens(old: &Policy, new: &Policy, found: &mut Vec<Difference>) {
    let told = |policy: &Policy| -> BTreeMap<String, String> {
        let tokens = policy.tokens.iter().map(|token| {
            let ceiling = token
                .ceiling
                .as_ref()
                .map(|it| format!(" ceiling {} until {}", it.role, it.until));
            let told = format!(
                "{} roles [{}] vars {:?} {:?} {}{}",
                token.id,
                token.roles.join(", "),
                token.vars,
                token.limits,
                token.hash.to_hex().get(..8).unwrap_or_default(),
                ceiling.unwrap_or_default()
            );
            (token.name.clone(), told)
        });
        tokens.collect()
    };
    about_named("token", &told(old), &told(new), found);
}

fn about_trust(old: &Policy, new: &Policy, found: &mut Vec<Difference>) {
    let told = |policy: &Policy| -> BTreeMap<String, String> {
        let rules = policy.trust.iter().enumerate().map(|(number, rule)| {
            let Trust {
                name,
                at: _,
                issuer,
                issuer_at: _,
                ..
            } = rule;
            let claims = rule.claims.iter().map(|(key, patterns)| {
                let patterns: Vec<_> = patterns
                    .iter()
                    .map(|it| format!("{:?}", it.written))
                    .collect();
                format!("{key}: {}", patterns.join(" or "))
            });
            let claims: Vec<_> = claims.collect();
            let told = format!(
                "{number} issuer {issuer} claims {{ {} }} roles [{}] vars {:?} ttl {} {:?}",
                claims.join(", "),
                rule.roles.join(", "),
                rule.vars,
                rule.ttl,
                rule.limits
            );
            (name.clone(), told)
        });
        rules.collect()
    };
    about_named("trust", &told(old), &told(new), found);
}

/// What is new, gone, or not what it was: a change counts as both.
fn about_named(
    what: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    found: &mut Vec<Difference>,
) {
    let gone = old
        .iter()
        .filter(|(name, told)| new.get(*name) != Some(told));
    let came = new
        .iter()
        .filter(|(name, told)| old.get(*name) != Some(told));
    found.extend(gone.map(|(name, told)| line(what, false, name, told.clone())));
    found.extend(came.map(|(name, told)| line(what, true, name, told.clone())));
}

fn by_requests(
    name: &str,
    sides: &[Option<Grants>; 2],
    catalog: &Catalog,
    found: &mut Vec<Difference>,
) {
    patterns(name, sides, found);
    let witnesses: BTreeSet<Witness> = sides
        .iter()
        .flatten()
        .flat_map(|grants| witnesses_of(grants, catalog))
        .collect();
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
        let nobody = Witness::default();
        let concerns = |witness: &&Witness| concerns(witness, endpoint, catalog);
        let witnesses: Vec<&Witness> = std::iter::once(&nobody)
            .chain(witnesses.iter().filter(concerns))
            .collect();
        for (does, action, parts) in variants(endpoint) {
            for witness in &witnesses {
                let seen = request(endpoint, action, parts, witness, catalog);
                let test = rebuilt::test(&seen, name, catalog);
                let allows = |side: &Option<Grants>| {
                    let judged = side.as_ref().map(|grants| judge_by(&test, grants, catalog));
                    matches!(judged, Some(Ok(Decision::Allow(_))))
                };
                let [before, after] = [allows(&sides[0]), allows(&sides[1])];
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
fn variants(endpoint: &Endpoint) -> Vec<(String, Option<&str>, Parts<'_>)> {
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
    let mut variants = Vec::new();
    for action in actions {
        let does = action.map_or_else(|| does.to_owned(), |action| format!("{does} ({action})"));
        variants.push((does.clone(), action, Parts::Path));
        variants.push((format!("{does}, naming others"), action, Parts::All));
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
        Some(_) => "changes",
        None if endpoint.method.as_str() == "DELETE" => "deletes",
        None => "changes",
    }
}

fn kinds_of<'e>(endpoint: &'e Endpoint) -> impl Iterator<Item = &'e str> {
    let rules = endpoint.touches.rules().iter();
    rules.flat_map(|rule| {
        let own = rule.kind.one().map(|kind| kind.as_str());
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

fn concerns(witness: &Witness, endpoint: &Endpoint, catalog: &Catalog) -> bool {
    let all = witness.has.iter().chain(&witness.misses);
    let mut all = all.into_iter();
    all.any(|(kind, attribute, _)| {
        kinds_of(endpoint).any(|of| match kind {
            Some(kind) => kind == of,
            None => catalog
                .kinds()
                .find(of)
                .is_some_and(|kind| kind.has(attribute)),
        })
    })
}

impl Witness {
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
        let all = self.has.iter().chain(&self.misses);
        all.filter(|(of, attribute, _)| {
            of.as_deref().is_none_or(|of| of == kind.name.as_str()) && kind.has(attribute)
        })
        .map(|(_, attribute, value)| (attribute.as_str(), value.as_str()))
    }
}

/// For each selector a world that it takes, for each of its values one, and for each of its attributes one that it just misses.
fn witnesses_of(grants: &Grants, catalog: &Catalog) -> Vec<Witness> {
    let mut witnesses = Vec::new();
    for grant in grants.allowing().chain(grants.denying()) {
        let Some(Value::Object(only)) = grant.written.get("only") else {
            continue;
        };
        let mut asks: Vec<(Option<String>, String, Vec<String>)> = Vec::new();
        for (key, asked) in only {
            match asked {
                Value::Object(selector) => {
                    for (attribute, values) in selector {
                        asks.push((Some(key.clone()), attribute.clone(), samples(values)));
                    }
                }
                values if catalog.kinds().find(key).is_none() || SHARED.contains(&key.as_str()) => {
                    asks.push((None, key.clone(), samples(values)));
                }
                _ => {} // `any`
            }
        }
        let first = |(kind, attribute, values): &(Option<String>, String, Vec<String>)| {
            Some((kind.clone(), attribute.clone(), values.first()?.clone()))
        };
        let taken: Vec<Has> = asks.iter().filter_map(first).collect();
        witnesses.push(Witness {
            has: taken.clone(),
            misses: None,
        });
        for (at, (kind, attribute, values)) in asks.iter().enumerate() {
            for value in values.iter().skip(1) {
                let mut has = taken.clone();
                if let Some(one) = has.get_mut(at) {
                    one.2.clone_from(value);
                }
                witnesses.push(Witness { has, misses: None });
            }
            if let Some(value) = values.first() {
                let mut has = taken.clone();
                has.retain(|(of, name, _)| (of, name) != (kind, attribute));
                let misses = Some((kind.clone(), attribute.clone(), beside(value)));
                witnesses.push(Witness { has, misses });
            }
        }
    }
    witnesses
}

/// The attributes that may stand in `only` directly.
const SHARED: [&str; 3] = ["tag", "project", "region"];

/// Texts that patterns match.
fn samples(values: &Value) -> Vec<String> {
    let list = match values {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    let texts = list.into_iter().filter_map(Value::as_str);
    texts.map(sample).collect()
}

fn sample(pattern: &str) -> String {
    let inner = pattern
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix('/'));
    let Some(inner) = inner else {
        return pattern.replace(['*', '?'], "x");
    };
    let plain = inner
        .replace(".*", "x")
        .replace(".+", "x")
        .replace("[0-9]+", "1")
        .replace("\\d+", "1");
    let plain = plain.replace('\\', "");
    plain
        .trim_matches(['(', ')'])
        .split('|')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// A text that is nearly that one.
fn beside(text: &str) -> String {
    let uuid = crate::catalog::is_uuid(text);
    match text.chars().last() {
        Some(last) if uuid => {
            let other = if last == '0' { '1' } else { '0' };
            let begin: String = text.chars().take(text.chars().count() - 1).collect();
            format!("{begin}{other}")
        }
        Some(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => format!("{text}9"),
        _ => format!("{text}0"),
    }
}

/// A request to an endpoint in the world of a witness.
fn request(
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
                    .map(|kind| kind.as_str());
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
    let from = |name: &str| kind.attribute(name).map(|attribute| &attribute.from);
    let identifies =
        |attribute: &str| from(attribute).is_some() && from(attribute) == from(identifier(kind));
    let asked = witness
        .of(kind)
        .filter(|(attribute, _)| identifies(attribute))
        .last();
    asked.map_or_else(
        || of_form(kind.named.first()).to_owned(),
        |(_, value)| value.to_owned(),
    )
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
