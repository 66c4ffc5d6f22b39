//! What the `only` of a grant makes of its scopes: more than they look, less, or nothing.

use std::collections::BTreeSet;

use super::reach::{KindReach, kinds_of};
use super::shown::member;
use super::{RoleView, grave, texts};
use crate::catalog::{Asks, Catalog, Endpoint, Kind, KindId, ScopeId, ScopePattern, TouchVerb};
use crate::policy::{Grant, Only};

/// The remarks on a grant; none on one that is not narrowed.
pub(super) fn remarks(view: &RoleView, grant: &Grant) -> Vec<String> {
    let catalog = view.catalog;
    let (Some(only), Some(reach)) = (&grant.only, KindReach::of(grant, &view.role.vars, catalog))
    else {
        return Vec::new();
    };
    let narrowed = NarrowedGrant {
        grant,
        only,
        reach,
        catalog,
    };
    let mut found = narrowed.void();
    if found.is_empty() {
        found.extend(narrowed.nothing());
    }
    found.extend(narrowed.every_action());
    found.extend(narrowed.never_whole());
    found
}

struct NarrowedGrant<'n> {
    grant: &'n Grant,
    only: &'n Only,
    reach: KindReach<'n>,
    catalog: &'n Catalog,
}

impl NarrowedGrant<'_> {
    /// Kinds that lack an attribute that is asked of every resource.
    fn void(&self) -> Vec<String> {
        let void = |(kind, _): &&(KindId, _)| !self.reach.sees(*kind);
        let all = self.only.kinds.iter().filter(void);
        all.map(|(kind, _)| {
            let lacking = self.lacking(*kind);
            format!("asks for `{kind}` and for `{lacking}`, which no {kind} has, so it covers none, ever; leave `{lacking}` out, or put `{kind}` into a grant of its own")
        })
        .collect()
    }

    /// Scopes under which nothing is ever covered.
    fn nothing(&self) -> Vec<String> {
        let dead = texts(self.grant, "scopes").filter(|text| !self.opens(text));
        dead.filter_map(|text| {
            let asked: Vec<_> = self.asking(text).collect();
            let kinds: BTreeSet<_> = asked
                .iter()
                .flat_map(|(endpoint, scope)| self.touched(endpoint, *scope))
                .collect();
            // The one that the scope is called by says more than others of its family.
            let called = |kind: &&KindId| text.split(':').next() == Some(kind.name());
            let Some(kind) = kinds.iter().find(called).or(kinds.first()) else {
                let (endpoint, _) = asked.first()?;
                return Some(format!("has `{text}`, which opens nothing here: which resources {endpoint} touches is not known, so no grant with `only` covers it; put the scope into a grant without `only`, or leave it out"));
            };
            let lacking = self.lacking(*kind);
            let why = if lacking.is_empty() {
                format!("`only` takes in no {kind}")
            } else {
                format!("`only` asks for `{lacking}`, which no {kind} has")
            };
            Some(format!("has `{text}`, which opens nothing here: {why}; put the scope into a grant of its own, with an `only` for `{kind}` or without one"))
        })
        .collect()
    }

    fn opens(&self, text: &str) -> bool {
        let of_answers = |endpoint: &Endpoint, scope| {
            let of_scope = |asks: Asks| asks.scope() == scope;
            self.reach.covers(endpoint) && member(self.catalog, endpoint, of_scope).is_some()
        };
        // What no request asks for is a scope of answers.
        self.asking(text).next().is_none()
            || self.standing_for(text).into_iter().any(|scope| {
                let mut all = self.catalog.endpoints().iter();
                all.any(|endpoint| self.reach.uses(scope, endpoint) || of_answers(endpoint, scope))
            })
    }

    /// The endpoints that ask for a scope that a text of the grant stands for.
    fn asking(&self, text: &str) -> impl Iterator<Item = (&Endpoint, ScopeId)> {
        let scopes = self.standing_for(text).into_iter();
        scopes.flat_map(|scope| {
            let all = self.catalog.endpoints().iter();
            all.filter(move |endpoint| asks(endpoint, scope))
                .map(move |endpoint| (endpoint, scope))
        })
    }

    fn standing_for(&self, text: &str) -> Vec<ScopeId> {
        let table = self.catalog.scopes();
        let set = text
            .parse::<ScopePattern>()
            .map(|pattern| table.matching(&pattern))
            .unwrap_or_default();
        let scopes = table.names(&set);
        scopes.filter_map(|scope| table.id(scope)).collect()
    }

    /// The kinds for which an endpoint asks for a scope.
    fn touched(&self, endpoint: &Endpoint, scope: ScopeId) -> Vec<KindId> {
        let own = endpoint.scopes.iter().any(|set| set.has(scope));
        let rules = endpoint.touches.rules().iter();
        rules
            .filter(|rule| rule.scope == Some(scope) || own && rule.is_first())
            .flat_map(|rule| kinds_of(&rule.kind, self.catalog))
            .map(|kind| kind.id)
            .collect()
    }

    /// The first of the attributes asked of every resource that those of a kind do not have; empty where there is none.
    fn lacking(&self, kind: KindId) -> &str {
        let kinds = self.catalog.kinds();
        let own = kinds.of(kind);
        let line: Vec<_> = std::iter::once(own).chain(kinds.ancestors(own)).collect();
        let has = |attribute: &str| {
            kind.name() == attribute || line.iter().any(|kind| kind.has(attribute))
        };
        let mut asked = self.only.attributes.iter();
        asked
            .find(|(attribute, _)| !has(attribute))
            .map_or("", |(attribute, _)| attribute)
    }

    /// A scope that is named for all that can be done to a thing, grave actions included.
    fn every_action(&self) -> Option<String> {
        let named = self.grant.covers.named()?;
        if self.grant.actions.is_some() {
            return None;
        }
        let mut all = self.catalog.endpoints().iter();
        let (endpoint, grave) = all.find_map(|endpoint| {
            let grave = grave(endpoint.action.as_ref()?);
            let by_name = endpoint.scopes.iter().any(|set| named.covers(set));
            let counts = !grave.is_empty() && by_name && self.reach.covers(endpoint);
            counts.then_some((endpoint, grave))
        })?;
        let scopes = self.catalog.scopes();
        let set = endpoint.scopes.iter().find(|set| named.covers(set))?;
        let scope = scopes.names(set).next()?;
        Some(format!(
            "names `{scope}` without `actions`, and that is every action of {endpoint}{grave}; list in `actions` those that are meant, or write `{}:*` if all are",
            scope.family()
        ))
    }

    /// A scope that deletes the whole, in a grant for some of what belongs to it.
    fn never_whole(&self) -> Vec<String> {
        let kinds = self.catalog.kinds();
        let parts = self.only.kinds.iter().filter_map(|(named, _)| {
            let part = kinds.of(*named);
            let mut wholes = kinds.ancestors(part);
            wholes.find_map(|whole| self.deletes_parts_alone(whole, part))
        });
        parts.collect()
    }

    fn deletes_parts_alone(&self, whole: &Kind, part: &Kind) -> Option<String> {
        let scope = whole.deletes?;
        let named = self.grant.covers.named()?;
        let deletes = |endpoint: &&Endpoint, kind: &Kind| {
            let rules = endpoint.touches.rules().iter();
            let mut firsts = rules.filter(|rule| rule.is_first());
            asks(endpoint, scope)
                && firsts
                    .any(|rule| rule.verb == TouchVerb::Delete && rule.kind.one() == Some(kind.id))
        };
        let mut all = self.catalog.endpoints().iter();
        let of_whole = all.find(|endpoint| deletes(endpoint, whole))?;
        let mut all = self.catalog.endpoints().iter();
        let of_part = all.find(|endpoint| deletes(endpoint, part))?;
        if !named.has(scope) || self.reach.covers(of_whole) {
            return None;
        }
        let (whole, part) = (whole.id, part.id);
        let scope = self.catalog.scopes().name(scope)?;
        Some(format!(
            "names `{scope}` and is narrowed to `{part}`: it deletes what matches there ({of_part}), and never a {whole} ({of_whole}); if that is meant, it needs a grant whose `only` does not name `{part}`"
        ))
    }
}

/// Whether an endpoint asks for a scope at all: by itself, by a field, or over what it touches.
fn asks(endpoint: &Endpoint, scope: ScopeId) -> bool {
    let mut sets = endpoint.scopes.iter();
    let mut when = endpoint.scopes_when.iter();
    let mut fields = endpoint.fields.iter();
    let mut rules = endpoint.touches.rules().iter();
    sets.any(|set| set.has(scope))
        || when.any(|when| when.scopes.has(scope))
        || fields.any(|field| field.scope == scope)
        || rules.any(|rule| rule.scope == Some(scope))
}
