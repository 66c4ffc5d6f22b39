//! `unused`: what is granted and was never needed, by the record, and by the daemon's own decision where a record alone can't tell.
//!
//! A grant was needed if it was the reason of a request, or if the request would be refused without it: a Droplet goes by the
//! grant over Droplets, and its VPC by another. Denies are not looked at: one that never struck may still be what protects.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::rebuilt_request;
use super::trail::{SeenRequest, is_own};
use crate::catalog::{Catalog, Scope, ScopePattern, ScopeSet};
use crate::policy::{Grant, Grants, Policy, Role, Vars, bind, judge_by};

/// A sub-token, as far as it is asked what it was needed for.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Its public part.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Their variables.
    pub vars: Vars,
    /// The role under which it reports.
    pub ceiling: Option<String>,
    /// Since when there is one; those of the policy file don't say.
    pub since: Option<Timestamp>,
    /// Whether it can be used, now or later.
    pub lives: bool,
    /// Whether it could be used by now.
    pub began: bool,
    /// Whether it was ever used.
    pub used: bool,
}

/// What was not needed.
#[derive(Debug, Default, Serialize)]
pub struct Unused {
    /// Tokens that were never used.
    pub tokens: Vec<UnusedToken>,
    /// Roles that no token has, and that no rule of `trust` gives.
    pub roles: Vec<String>,
    /// Grants that were never needed.
    pub grants: Vec<IdleGrant>,
    /// Scopes of grants that were needed, which no request needed.
    pub scopes: Vec<IdleScope>,
    /// Wildcards of such grants that stand for more than was needed.
    pub wildcards: Vec<Wildcard>,
    /// How many requests were looked at.
    #[serde(skip)]
    pub requests: u64,
    /// The time of the first record and of the last.
    #[serde(skip)]
    pub times: Option<(String, String)>,
    /// How many lines were no records.
    #[serde(skip)]
    pub unreadable: u64,
}

/// A token that was never used.
#[derive(Debug, Serialize)]
pub struct UnusedToken {
    /// Its public part.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Since when there is one, where that is known.
    pub created_at: Option<String>,
}

/// A grant.
#[derive(Clone, Debug, Serialize)]
pub struct IdleGrant {
    /// Which one: `client.allow[0]`.
    pub grant: String,
    /// Where it stands: `policy.yaml:14`.
    pub at: String,
}

/// A scope of a grant.
#[derive(Debug, Serialize)]
pub struct IdleScope {
    /// The grant.
    #[serde(flatten)]
    pub of: IdleGrant,
    /// The scope.
    pub scope: String,
}

/// A wildcard of a grant.
#[derive(Debug, Serialize)]
pub struct Wildcard {
    /// The grant.
    #[serde(flatten)]
    pub of: IdleGrant,
    /// The wildcard.
    #[serde(rename = "wildcard")]
    pub written: String,
    /// What it could be.
    pub scopes: Vec<String>,
}

impl Unused {
    /// How many things there are.
    pub fn count(&self) -> usize {
        let Self {
            tokens,
            roles,
            grants,
            scopes,
            wildcards,
            requests: _,
            times: _,
            unreadable: _,
        } = self;
        tokens.len() + roles.len() + grants.len() + scopes.len() + wildcards.len()
    }
}

/// What the records need of what these tokens are granted. Tokens made after `young` are not told: they may not have had the time.
pub fn unused(
    records: impl Iterator<Item = Value>,
    holders: &[Holder],
    policy: &Policy,
    catalog: &Catalog,
    young: Timestamp,
) -> Unused {
    let runs = RunsByGrant::of(records, catalog);
    let mut found = Unused {
        tokens: tokens(&runs, holders, young),
        requests: runs.requests,
        times: runs.times.clone(),
        unreadable: runs.unreadable,
        ..Unused::default()
    };
    let held = held(policy, holders);
    for (name, role) in &policy.roles {
        if held.contains(name.as_str()) {
            let needs = NeedsOfRole::of(role, &runs, holders, policy, catalog);
            of_role(role, &needs, catalog, &mut found);
        } else {
            found.roles.push(name.clone());
        }
    }
    found
}

/// The requests that were let through, told apart by the token and the grant that let them.
#[derive(Default)]
struct RunsByGrant {
    /// By token and deciding grant.
    by: BTreeMap<(String, String), Vec<SeenRequest>>,
    used: BTreeSet<String>,
    requests: u64,
    unreadable: u64,
    times: Option<(String, String)>,
}

/// As many different requests are kept of one token and one deciding grant; of what comes beyond, the scopes count.
const MOST: usize = 2_000;

impl RunsByGrant {
    fn of(records: impl Iterator<Item = Value>, catalog: &Catalog) -> Self {
        let mut runs = Self::default();
        let mut known: HashMap<(String, String, String), usize> = HashMap::new();
        for record in records {
            let text = |member: &str| record.get(member).and_then(Value::as_str);
            let Some(time) = text("time") else {
                runs.unreadable += 1;
                continue;
            };
            match &mut runs.times {
                None => runs.times = Some((time.to_owned(), time.to_owned())),
                Some((_, last)) => time.clone_into(last),
            }
            let token = record.get("token").and_then(|token| token.get("id"));
            let (Some("answer"), Some("allow"), Some(method), Some(path), Some(reason)) = (
                text("event"),
                text("decision"),
                text("method"),
                text("path"),
                text("reason"),
            ) else {
                continue;
            };
            if is_own(path) {
                continue;
            }
            runs.requests += 1;
            let token = token.and_then(Value::as_str).unwrap_or_default().to_owned();
            if !runs.used.contains(&token) {
                runs.used.insert(token.clone());
            }
            let seen = SeenRequest::of(&record, method, path);
            runs.add(token, reason.to_owned(), seen, &mut known, catalog);
        }
        runs
    }

    fn add(
        &mut self,
        token: String,
        reason: String,
        seen: SeenRequest,
        known: &mut HashMap<(String, String, String), usize>,
        catalog: &Catalog,
    ) {
        let kept = self.by.entry((token.clone(), reason.clone())).or_default();
        if kept.len() < MOST {
            let key = (token, reason, seen.key());
            if let Entry::Vacant(place) = known.entry(key) {
                place.insert(kept.len());
                kept.push(seen);
            }
        } else if let Some(last) = kept.last_mut() {
            // What is needed is not forgotten: the last one stands for all that came behind it.
            let more = scopes_of(&seen, catalog);
            let before = scopes_of(last, catalog);
            let more = more.without(&before);
            let names = catalog.scopes().names(&more);
            last.scopes.extend(names.map(ToString::to_string));
        }
    }
}

/// The scopes that a request needed: the endpoint's, its fields', and those of what it touches.
fn scopes_of(seen: &SeenRequest, catalog: &Catalog) -> ScopeSet {
    let mut all = ScopeSet::default();
    let touched = seen.resources.iter().filter_map(|it| it.scope.as_ref());
    for scope in seen.scopes.iter().chain(touched) {
        let scope = scope.parse::<Scope>().ok();
        if let Some(id) = scope.and_then(|scope| catalog.scopes().id(&scope)) {
            all.insert(id);
        }
    }
    all
}

fn tokens(runs: &RunsByGrant, holders: &[Holder], young: Timestamp) -> Vec<UnusedToken> {
    let idle = holders.iter().filter(|holder| {
        let old = holder.since.is_none_or(|since| since <= young);
        holder.lives && holder.began && old && !holder.used && !runs.used.contains(&holder.id)
    });
    let told = idle.map(|holder| UnusedToken {
        id: holder.id.clone(),
        name: holder.name.clone(),
        created_at: holder.since.map(|since| format!("{since:.0}")),
    });
    told.collect()
}

/// The roles that living tokens have, or that identities get.
fn held<'h>(policy: &'h Policy, holders: &'h [Holder]) -> BTreeSet<&'h str> {
    let living = holders.iter().filter(|holder| holder.lives);
    let of_tokens = living.flat_map(|holder| holder.roles.iter().chain(&holder.ceiling));
    let given = policy.trust.iter();
    let given = given.flat_map(|rule| rule.roles.iter().chain(&rule.ceiling));
    of_tokens.chain(given).map(String::as_str).collect()
}

/// What the requests needed of one role.
struct NeedsOfRole {
    /// By the place of each grant that was needed, with which scopes.
    by_grant: BTreeMap<String, ScopeSet>,
}

impl NeedsOfRole {
    fn of(
        role: &Role,
        runs: &RunsByGrant,
        holders: &[Holder],
        policy: &Policy,
        catalog: &Catalog,
    ) -> Self {
        let mut by_grant: BTreeMap<String, ScopeSet> = BTreeMap::new();
        let is_its = |place: &str| role.allow.iter().any(|grant| grant.place == place);
        for ((token, reason), all) in &runs.by {
            let holder = holders.iter().find(|holder| holder.id == *token);
            let has = holder.is_some_and(|holder| {
                holder.roles.contains(&role.name) || holder.ceiling.as_ref() == Some(&role.name)
            });
            if !has && !is_its(reason) {
                continue;
            }
            let bound = holder.and_then(|holder| bind(policy, &holder.roles, &holder.vars).ok());
            for seen in all {
                let needed = scopes_of(seen, catalog);
                if is_its(reason) {
                    by_grant.entry(reason.clone()).or_default().add(&needed);
                }
                let beside = role.allow.iter().filter(|grant| grant.place != *reason);
                for grant in beside {
                    let before = by_grant.get(&grant.place);
                    if before.is_some_and(|before| before.covers(&needed)) {
                        continue;
                    }
                    if took_part(seen, grant, reason, bound.as_ref(), policy, catalog) {
                        by_grant
                            .entry(grant.place.clone())
                            .or_default()
                            .add(&needed);
                    }
                }
            }
        }
        Self { by_grant }
    }
}

/// Whether a grant that is not the reason of a request was needed for it: without it the request would be refused. Where the
/// record does not tell enough for the request to be judged, it was if it has a scope that the reason lacks.
fn took_part(
    seen: &SeenRequest,
    grant: &Grant,
    reason: &str,
    bound: Option<&Grants>,
    policy: &Policy,
    catalog: &Catalog,
) -> bool {
    let needed = scopes_of(seen, catalog);
    let Some(own) = grant.covers.all() else {
        return false; // one that goes by the request covers it whole, and would have been the reason
    };
    if !own.meets(&needed) {
        return false;
    }
    let test = rebuilt_request::test(seen, "", catalog);
    let allows = |grants: &Grants| matches!(judge_by(&test, grants, catalog), Ok(Ok(_)));
    if let Some(bound) = bound.filter(|bound| allows(bound)) {
        let mut less = bound.clone();
        less.allow.retain(|held| **held.place() != *grant.place);
        return !allows(&less);
    }
    let of_reason = policy.roles.values().flat_map(|role| &role.allow);
    let of_reason = of_reason
        .into_iter()
        .find(|held| held.place == reason)
        .and_then(|held| held.covers.all());
    of_reason.is_none_or(|of_reason| own.meets(&needed.without(of_reason)))
}

fn of_role(role: &Role, needs: &NeedsOfRole, catalog: &Catalog, found: &mut Unused) {
    for grant in &role.allow {
        let of = IdleGrant {
            grant: grant.place.clone(),
            at: grant.stands.to_string(),
        };
        let Some(needed) = needs.by_grant.get(&grant.place) else {
            found.grants.push(of);
            continue;
        };
        let written = grant.written.get("scopes").and_then(Value::as_array);
        for text in written.into_iter().flatten().filter_map(Value::as_str) {
            let Ok(pattern) = text.parse::<ScopePattern>() else {
                continue;
            };
            let stands_for = catalog.scopes().matching(&pattern);
            let used = stands_for.without(&stands_for.without(needed));
            match pattern {
                ScopePattern::Named(_) if used.is_empty() => found.scopes.push(IdleScope {
                    of: of.clone(),
                    scope: text.to_owned(),
                }),
                ScopePattern::Named(_) => {}
                ScopePattern::Family(_) | ScopePattern::Verb(_) | ScopePattern::All => {
                    if used != stands_for {
                        let scopes = catalog.scopes().names(&used);
                        found.wildcards.push(Wildcard {
                            of: of.clone(),
                            written: text.to_owned(),
                            scopes: scopes.map(ToString::to_string).collect(),
                        });
                    }
                }
            }
        }
    }
}
