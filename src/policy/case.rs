use std::borrow::Cow;

use super::bind::Grants;
use super::grant::{Bearing, BoundGrant, Held};
use crate::catalog::{Catalog, Endpoint, Scope, ScopeSet, Touches};
use crate::request::Asked;
use crate::resource::Touch;

/// One set of grants before one request.
#[derive(Clone, Copy)]
pub(super) struct Case<'c> {
    pub(super) grants: &'c Grants,
    pub(super) asked: &'c Asked<'c>,
    pub(super) known: KnownExtent,
    pub(super) catalog: &'c Catalog,
    /// What it touches, as far as that is known by now.
    pub(super) touches: &'c [Touch],
}

/// How much of the request is known when it is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KnownExtent {
    /// The body is still with the client, and nothing was looked up: what depends on these is left open.
    Head,
    /// All of it, and what it touches.
    Whole,
}

impl<'c> Case<'c> {
    /// Of a request of which all is known.
    pub fn new(grants: &'c Grants, asked: &'c Asked<'c>, catalog: &'c Catalog) -> Self {
        Self {
            grants,
            asked,
            known: KnownExtent::Whole,
            catalog,
            touches: &[],
        }
    }

    /// The same, where its head alone is known.
    pub fn by_head(self) -> Self {
        Self {
            known: KnownExtent::Head,
            ..self
        }
    }

    /// The same, where that is known which it touches.
    pub fn touching(self, touches: &'c [Touch]) -> Self {
        Self { touches, ..self }
    }

    /// The same before other grants.
    pub fn before(self, grants: &'c Grants) -> Self {
        Self { grants, ..self }
    }
}

impl Case<'_> {
    /// What each grant that allows is to it.
    pub fn allowing(&self) -> impl Iterator<Item = Bearing<'_>> + Clone {
        self.grants.allowing().map(|grant| self.bearing(grant))
    }

    /// What each grant that denies is to it.
    pub fn denying(&self) -> impl Iterator<Item = Bearing<'_>> + Clone {
        self.grants.denying().map(|grant| self.bearing(grant))
    }

    pub fn bearing<'b>(&'b self, grant: &'b BoundGrant) -> Bearing<'b> {
        Bearing::of(grant, self)
    }

    /// The allow grants that cover it, as far as that can be told without what it touches.
    pub fn covering(&self) -> impl Iterator<Item = Bearing<'_>> + Clone {
        self.allowing()
            .filter(|grant| grant.falls_short().is_none())
    }

    /// The scopes of which the request needs one set whole.
    pub fn needs<'e>(&self, endpoint: &'e Endpoint) -> Cow<'e, [ScopeSet]> {
        let target = &self.asked.target;
        let besides = endpoint.scopes_when.iter().filter(|rule| {
            target
                .query_parameter(&rule.parameter)
                .is_some_and(|value| !rule.unless.iter().any(|harmless| harmless == value))
        });
        let mut more = ScopeSet::default();
        besides.for_each(|rule| more.add(&rule.scopes));
        if more.is_empty() {
            return Cow::Borrowed(&endpoint.scopes);
        }
        let with_more = |set: &ScopeSet| {
            let mut set = set.clone();
            set.add(&more);
            set
        };
        endpoint.scopes.iter().map(with_more).collect()
    }

    pub fn creates(&self) -> bool {
        let Some(endpoint) = self.asked.endpoint else {
            return !self.asked.method.reads();
        };
        let scopes = self.catalog.scopes();
        let by_scope = endpoint.scopes.iter().any(|set| {
            scopes
                .names(set)
                .any(|scope| scope.verb().starts_with("create"))
        });
        match endpoint.touches {
            Touches::These(_) => self.asked.creates(),
            Touches::Nobody | Touches::Unmodelled { .. } => by_scope,
        }
    }

    pub fn names(&self, set: &ScopeSet) -> Vec<Scope> {
        self.catalog.scopes().names(set).cloned().collect()
    }
}

/// The scopes that grants give together for an endpoint.
pub(super) fn held_for<'b>(
    endpoint: &Endpoint,
    grants: impl Iterator<Item = Bearing<'b>>,
) -> ScopeSet {
    let mut held = ScopeSet::default();
    grants
        .filter_map(|grant| grant.scopes_for(endpoint))
        .for_each(|scopes| held.add(scopes));
    held
}

/// All that grants give together.
pub(super) fn held_by<'b>(grants: impl Iterator<Item = Bearing<'b>>) -> Held {
    let mut held = Held::default();
    grants
        .filter_map(|grant| grant.held())
        .for_each(|given| held.add(given));
    held
}
