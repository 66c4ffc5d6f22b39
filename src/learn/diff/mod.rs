//! What a change of policy newly allows or refuses: each request of the catalogue, judged by either policy with the daemon's own
//! decision, over witnesses of every selector: what it takes, what it just misses, and what is nobody's.

mod alike;
mod request;
#[cfg(test)]
mod tests;
mod witness;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::Serialize;
use serde_json::Value;

use super::{samples, terms};
use crate::catalog::Catalog;
use crate::policy::{Allowed, Grant, Grants, Policy, Role, Vars, bind};
use alike::{AlikeRoles, Signs, Worlds};
#[cfg(test)]
pub(super) use request::kinds_of;
use request::{could_allow, decided};
pub(super) use request::{request, variants};
pub(super) use witness::Witness;
use witness::witnesses;

/// One difference.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct PolicyDifference {
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

/// Everything that differs, role by role.
pub fn differences(
    old: &Policy,
    new: &Policy,
    only: Option<&str>,
    catalog: &Catalog,
) -> Vec<PolicyDifference> {
    let names: BTreeSet<&String> = old.roles.keys().chain(new.roles.keys()).collect();
    let names: Vec<&String> = names
        .into_iter()
        .filter(|name| only.is_none_or(|only| only == name.as_str()))
        .collect();
    let alike = AlikeRoles::new(catalog);
    let of_role = |name: &&String| of_role(name, [old, new], catalog, Some(&alike));
    let mut found: Vec<PolicyDifference> = side_by_side(&names, of_role)
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

fn of_role(
    name: &str,
    policies: [&Policy; 2],
    catalog: &Catalog,
    alike: Option<&AlikeRoles>,
) -> Vec<PolicyDifference> {
    let mut found = Vec::new();
    let roles = policies.map(|policy| policy.roles.get(name));
    let [before, after] = roles.map(|role| role.map(AsRef::as_ref));
    terms::of_role(name, before, after, &mut found);
    let grants = roles.map(|role| role.map(|role| OrderedGrants::of(role)).unwrap_or_default());
    if before.is_some() == after.is_some() && grants[0] == grants[1] {
        return found;
    }
    let first = found.len();
    let sides = [0, 1].map(|side: usize| {
        let (policy, role) = (policies.get(side)?, roles.get(side)?.as_ref()?);
        bound(policy, role)
    });
    let changed = OrderedGrants::changed(&grants);
    by_requests(name, &sides, &changed, (catalog, alike), &mut found);
    untold(name, &changed, found.len() == first, &mut found);
    found
}

/// The grants of a role as they mean the same: lists in order, and one value as a list of one.
#[derive(Debug, Default, PartialEq)]
struct OrderedGrants {
    allow: Vec<String>,
    deny: Vec<String>,
}

impl OrderedGrants {
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

/// A difference that no request shows.
pub(super) fn line(
    role: &str,
    allowed: bool,
    what: &str,
    told: impl Into<String>,
) -> PolicyDifference {
    PolicyDifference {
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
fn untold(name: &str, changed: &[String], nothing: bool, found: &mut Vec<PolicyDifference>) {
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

/// What a change does to one operation.
#[derive(Debug)]
struct ChangedOperation {
    endpoint: usize,
    does: String,
    allowed: bool,
    /// To which of the worlds that concern it; to all of them where that is `None`.
    worlds: Option<Vec<usize>>,
}

fn by_requests(
    name: &str,
    sides: &[Option<Grants>; 2],
    changed: &[String],
    (catalog, alike): (&Catalog, Option<&AlikeRoles>),
    found: &mut Vec<PolicyDifference>,
) {
    patterns(name, sides, found);
    let witnesses = witnesses(sides, changed, catalog);
    let signs = alike.map(|alike| Signs::of(sides, &witnesses, &alike.words, catalog));
    let worlds = Worlds::new(&witnesses, signs.as_ref(), catalog);
    let tried = || tried(sides, &worlds, catalog);
    let outcomes = match (alike, &signs) {
        (Some(alike), Some(signs)) => alike.once(signs.shape(sides, &witnesses), tried),
        (None, _) | (_, None) => tried().into(),
    };
    for outcome in outcomes.iter() {
        let Some(endpoint) = catalog.endpoints().get(outcome.endpoint) else {
            continue;
        };
        let told: BTreeSet<String> = match &outcome.worlds {
            None => BTreeSet::from(["anything".to_owned()]),
            Some(some) => {
                let about = worlds.about(endpoint);
                let witnesses = some.iter().filter_map(|at| about.all.get(*at));
                witnesses.map(Witness::told).collect()
            }
        };
        found.extend(told.into_iter().map(|witness| PolicyDifference {
            role: name.to_owned(),
            allowed: outcome.allowed,
            endpoint: endpoint.operation.to_string(),
            request: endpoint.to_string(),
            does: outcome.does.clone(),
            witness,
        }));
    }
}

/// Tries each request in each world that concerns it; of worlds that no decision tells apart, in one.
fn tried<'c>(
    sides: &[Option<Grants>; 2],
    worlds: &Worlds<'c>,
    catalog: &'c Catalog,
) -> Vec<ChangedOperation> {
    let mut all = Vec::new();
    for (number, endpoint) in catalog.endpoints().iter().enumerate() {
        let could = |side: &Option<Grants>| {
            side.as_ref()
                .is_some_and(|grants| could_allow(grants, endpoint))
        };
        if endpoint.refused.is_some() || !sides.iter().any(could) {
            continue;
        }
        let about = worlds.about(endpoint);
        let mut outcomes: BTreeMap<(String, bool), (String, Vec<usize>)> = BTreeMap::new();
        let mut tried: BTreeMap<String, usize> = BTreeMap::new();
        for (does, action, parts) in variants(endpoint) {
            *tried.entry(does.clone()).or_default() += about.all.len();
            for same in worlds.same(&about, endpoint) {
                let Some(witness) = same.first().and_then(|at| about.all.get(*at)) else {
                    continue;
                };
                let seen = request(endpoint, action, parts, witness, catalog);
                let decided = decided(&seen, sides, catalog);
                if let Some((how, allowed)) = change(&decided) {
                    let outcome = outcomes.entry((format!("{does}{how}"), allowed));
                    outcome.or_insert((does.clone(), Vec::new())).1.extend(same);
                }
            }
        }
        let told = outcomes.into_iter();
        all.extend(
            told.map(|((does, allowed), (plain, some))| ChangedOperation {
                endpoint: number,
                worlds: (tried.get(&plain) != Some(&some.len())).then_some(some),
                does,
                allowed,
            }),
        );
    }
    all
}

/// How the decision over a request has changed: whether it is newly allowed or refused, or allowed and what it makes gets other tags
/// or another project than it got. What got some and gets others, or none, counts as newly allowed.
fn change([before, after]: &[Option<Allowed>; 2]) -> Option<(&'static str, bool)> {
    let (before, after) = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => return Some(("", true)),
        (Some(_), None) => return Some(("", false)),
        (Some(before), Some(after)) => (before.additions(), after.additions()),
    };
    match (before, after) {
        (Some(before), Some(after)) if before != after => Some((", adding something else", true)),
        (Some(_), None) => Some((", adding nothing any more", true)),
        (None, Some(_)) => Some((", adding something", false)),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

/// Patterns may match what the catalogue does not know, so each that comes or goes is told.
fn patterns(name: &str, sides: &[Option<Grants>; 2], found: &mut Vec<PolicyDifference>) {
    let of = |side: &Option<Grants>, denies: bool| -> BTreeSet<String> {
        let grants = side
            .iter()
            .flat_map(|grants| if denies { &grants.deny } else { &grants.allow });
        let requests = grants.filter(|grant| grant.goes_by_request());
        requests.map(|grant| grant.written().to_string()).collect()
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
