//! What a narrowed grant can reach at all, whatever there is in the account.

use crate::catalog::{
    Catalog, Endpoint, Kind, KindId, Place, ScopeId, TouchKind, TouchRule, TouchVerb, Touches,
};
use crate::policy::{BoundOnly, Grant, Side, Use, Vars};

/// A grant's `only`, asked of kinds of resources instead of resources.
pub(in crate::operate) struct KindReach<'r> {
    only: BoundOnly,
    catalog: &'r Catalog,
}

impl<'r> KindReach<'r> {
    /// Of a grant that is narrowed; its variables are filled with something, for what they stand for changes no kind.
    pub(in crate::operate) fn of(
        grant: &Grant,
        vars: &[String],
        catalog: &'r Catalog,
    ) -> Option<Self> {
        let filled: Vars = vars
            .iter()
            .map(|name| (name.clone(), "x".to_owned()))
            .collect();
        let only = BoundOnly::bind(grant.only.as_ref()?, &filled, Side::Allow).ok()?;
        Some(Self { only, catalog })
    }

    /// Whether some resource of that kind can be covered at all.
    pub(super) fn sees(&self, kind: KindId) -> bool {
        self.only.reaches(kind, self.catalog.kinds())
    }

    /// Whether what a request to an endpoint is about can be covered.
    pub(in crate::operate) fn covers(&self, endpoint: &Endpoint) -> bool {
        match &endpoint.touches {
            Touches::Nobody => true,
            Touches::Unmodelled { .. } => false,
            Touches::These(rules) => {
                let mut firsts = rules.iter().filter(|rule| rule.is_first());
                // What a body or a query may leave out is one of several ways; what is always touched must be covered.
                let always = |rule: &&TouchRule| {
                    let named = matches!(rule.at, Some(Place::Body(_) | Place::Query(_)));
                    rule.when.is_empty() && !named
                };
                firsts.clone().any(|rule| self.touches(endpoint, rule))
                    && firsts.all(|rule| !always(&rule) || self.touches(endpoint, rule))
            }
        }
    }

    /// Whether a scope that the grant gives counts anywhere in a request to an endpoint.
    pub(super) fn uses(&self, scope: ScopeId, endpoint: &Endpoint) -> bool {
        let Touches::These(rules) = &endpoint.touches else {
            return matches!(endpoint.touches, Touches::Nobody) && asks(endpoint, scope);
        };
        let first = self.covers(endpoint) && asks(endpoint, scope);
        let beside = |rule: &TouchRule| {
            let mut touched = self.touched(endpoint, rule);
            touched.any(|kind| asks_beside(rule, kind, scope))
        };
        // A field that names nothing is judged by what covers the request.
        let by_field = endpoint.fields.iter().any(|field| {
            let names = |rule: &TouchRule| rule.scope == Some(scope);
            field.scope == scope && !rules.iter().any(names)
        });
        first
            || rules.iter().filter(|rule| !rule.is_first()).any(beside)
            || by_field && self.covers(endpoint)
    }

    fn touches(&self, endpoint: &Endpoint, rule: &TouchRule) -> bool {
        self.touched(endpoint, rule).next().is_some()
    }

    /// The kinds that a rule can touch and of which some can be covered. What is implied is judged as the first.
    fn touched<'k>(
        &'k self,
        endpoint: &Endpoint,
        rule: &'k TouchRule,
    ) -> impl Iterator<Item = &'k Kind> {
        let r#use = match Use::of(rule.verb) {
            // What logs in to a whole is not handed out for some of its children.
            Use::Look if endpoint.sensitive.is_some() => Use::Change,
            other => other,
        };
        let kinds = self.catalog.kinds();
        kinds_of(&rule.kind, self.catalog).filter(move |kind| {
            let free = !kind.counts_as.is_empty() || r#use == Use::Look && kind.has("public");
            !rule.implied && (free || self.only.reaches_for(kind.id, r#use, kinds))
        })
    }
}

/// Whether a rule asks for a scope over a kind, beside those of its endpoint: its own, or that by which its family does this.
fn asks_beside(rule: &TouchRule, kind: &Kind, scope: ScopeId) -> bool {
    let by_family = match rule.verb {
        TouchVerb::Read | TouchVerb::List | TouchVerb::Use | TouchVerb::Source => kind.reads,
        TouchVerb::Change | TouchVerb::Attach => kind.changes,
        TouchVerb::Delete => kind.deletes,
        TouchVerb::Create | TouchVerb::Join | TouchVerb::Label => None,
    };
    rule.scope == Some(scope) || by_family == Some(scope)
}

/// The kinds that a touch can be of.
pub(super) fn kinds_of<'k>(
    kind: &'k TouchKind,
    catalog: &'k Catalog,
) -> impl Iterator<Item = &'k Kind> {
    let can_be = move |known: &&Kind| match kind {
        TouchKind::One(kind) => known.id == *kind,
        TouchKind::Urn => !known.urns.is_empty(),
        TouchKind::Typed { types, .. } | TouchKind::Told { types, .. } => {
            let is = |(_, kind): &(String, Option<KindId>)| *kind == Some(known.id);
            types.iter().any(is)
        }
    };
    catalog.kinds().iter().filter(can_be)
}

/// Whether an endpoint asks for a scope, always or under some value of a parameter.
fn asks(endpoint: &Endpoint, scope: ScopeId) -> bool {
    endpoint.scopes.iter().any(|set| set.has(scope))
        || endpoint
            .scopes_when
            .iter()
            .any(|when| when.scopes.has(scope))
}
