use std::sync::Arc;

use super::{Additions, BoundCovers, BoundGrant, Held};
use crate::catalog::{Action, Endpoint, ScopeId, ScopeSet, Touches};

use crate::policy::additions::{Added, CantTake};
use crate::policy::case::{Case, KnownExtent};
use crate::policy::matching::BoundOnly;
use crate::policy::pattern::RequestPattern;

/// What one grant is to one request: all that judges know of it.
///
/// INVARIANT: it is made in [`Bearing::of`] alone, where a grant is taken apart whole.
#[derive(Clone, Copy)]
pub(in crate::policy) struct Bearing<'b> {
    case: &'b Case<'b>,
    grant: &'b BoundGrant,
    covers: &'b BoundCovers,
    only: Option<&'b BoundOnly>,
    actions: Option<&'b [String]>,
    on_create: Option<&'b Additions>,
}

/// Why a grant that has the scopes does not cover a request all the same.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(in crate::policy) enum Short {
    /// It is narrowed, and what is touched is not known.
    Narrowed,
    /// It is limited to other actions.
    Action,
    /// What it adds can't be added.
    OnCreate,
}

impl<'b> Bearing<'b> {
    pub fn of(grant: &'b BoundGrant, case: &'b Case<'b>) -> Self {
        let BoundGrant {
            place: _,
            stands: _,
            covers,
            only,
            actions,
            on_create,
            written: _,
        } = grant;
        Self {
            case,
            grant,
            covers,
            only: only.as_ref(),
            actions: actions.as_deref(),
            on_create: on_create.as_ref(),
        }
    }

    pub fn place(&self) -> &'b Arc<str> {
        &self.grant.place
    }

    /// Where the grant stands: `policy.yaml:14`.
    pub fn stands(&self) -> &'b str {
        &self.grant.stands
    }

    /// The grant as it was written, for those who explain a refusal.
    pub fn written(&self) -> &'b serde_json::Value {
        &self.grant.written
    }

    /// Whether both are of one grant.
    pub fn is_of_same(&self, other: &Self) -> bool {
        std::ptr::eq(self.grant, other.grant)
    }

    pub fn goes_by_request(&self) -> bool {
        self.grant.goes_by_request()
    }

    /// What is left to ask of each resource that is touched; `None` where the grant is for all.
    pub fn only(&self) -> Option<&'b BoundOnly> {
        self.only
    }

    /// Whether the grant is for all resources.
    pub fn is_free(&self) -> bool {
        self.only.is_none()
    }
}

/// The scopes that it gives.
impl<'b> Bearing<'b> {
    pub fn held(&self) -> Option<&'b Held> {
        match self.covers {
            BoundCovers::Scopes(held) => Some(held),
            BoundCovers::Requests(_) => None,
        }
    }

    /// Whether it gives a scope, by its name or a wildcard.
    pub fn gives(&self, scope: ScopeId) -> bool {
        self.held().is_some_and(|held| held.all.has(scope))
    }

    /// Whether it gives a scope by its name: no wildcard reaches what is sensitive.
    pub fn gives_by_name(&self, scope: ScopeId) -> bool {
        self.held().is_some_and(|held| held.named.has(scope))
    }

    /// The scopes that count for an endpoint: where it is sensitive, only those that are named.
    pub fn scopes_for(&self, endpoint: &Endpoint) -> Option<&'b ScopeSet> {
        let held = self.held()?;
        Some(if endpoint.sensitive.is_some() {
            &held.named
        } else {
            &held.all
        })
    }

    /// Whether it gives a scope beside those of the endpoint: one that is limited to actions does for `those` alone.
    pub fn gives_beside(&self, scope: ScopeId, those: bool) -> bool {
        (those || self.actions.is_none()) && self.gives(scope)
    }

    /// The same of a scope that must be given by its name.
    pub fn gives_by_name_beside(&self, scope: ScopeId, those: bool) -> bool {
        (those || self.actions.is_none()) && self.gives_by_name(scope)
    }

    /// Whether what it gives, it gives for each action for which another gives its own.
    pub fn does_all_that(&self, other: &Self) -> bool {
        match (self.actions, other.actions) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => others.iter().all(|action| own.contains(action)),
        }
    }
}

/// As one that allows.
impl<'b> Bearing<'b> {
    pub fn falls_short(&self) -> Option<Short> {
        let endpoint = self.case.asked.endpoint;
        let open = matches!(
            endpoint.map(|endpoint| &endpoint.touches),
            Some(Touches::Nobody | Touches::These(_))
        );
        if self.only.is_some() && !open {
            return Some(Short::Narrowed);
        }
        if self.additions().is_err() {
            return Some(Short::OnCreate);
        }
        (!self.action_fits()).then_some(Short::Action)
    }

    /// What it adds to what is created here: all of its `on_create` that this has not from what it belongs to, or it does not
    /// cover it.
    fn additions(&self) -> Result<Option<Added>, CantTake> {
        match self.on_create {
            Some(additions) if self.case.creates() => {
                let (endpoint, kinds) = (self.case.asked.endpoint, self.case.catalog.kinds());
                let added = additions.to_what_is_made(endpoint, kinds)?;
                Ok(Some(added).filter(|added| *added != Added::default()))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The same for one that covers it.
    pub fn adds(&self) -> Option<Added> {
        self.additions().ok().flatten()
    }

    /// Whether its `actions` lets this request by: it does if the request is no action, or one that is listed.
    pub fn action_fits(&self) -> bool {
        let Some(actions) = self.actions else {
            return true;
        };
        if self.not_listed().is_some() {
            return false;
        }
        let asked = self.case.asked;
        if asked
            .endpoint
            .is_some_and(|endpoint| endpoint.action.is_none())
        {
            return true;
        }
        match (asked.action(), self.case.known) {
            (Some(action), _) => actions.iter().any(|listed| listed == action),
            (None, KnownExtent::Head) => true,
            (None, KnownExtent::Whole) => false,
        }
    }

    /// The actions that it lists, for those who say what may be done instead.
    pub fn actions(self) -> &'b [String] {
        self.actions.unwrap_or_default()
    }

    /// What the request does beside what it says, and its `actions` does not list.
    pub fn not_listed(&self) -> Option<&'static str> {
        let actions = self.actions?;
        let mut done = self.case.done_to_touched().into_iter();
        done.find(|action| !actions.iter().any(|listed| listed == action))
    }

    /// Whether one of its patterns matches the request.
    pub fn matches(&self) -> bool {
        let BoundCovers::Requests(patterns) = self.covers else {
            return false;
        };
        let asked = self.case.asked;
        let paging_only = asked
            .target
            .query()
            .iter()
            .all(|(name, _)| PAGING.contains(&name.as_str()));
        let spelled = asked
            .endpoint
            .filter(|endpoint| endpoint.sensitive.is_some())
            .map(|endpoint| endpoint.template.last_fixed());
        patterns.iter().any(|pattern| {
            let matches = if pattern.has_query() {
                pattern.matches(asked.line_with_query())
            } else {
                paging_only && pattern.matches(asked.line())
            };
            matches
                && spelled
                    .is_none_or(|segment| segment.is_some_and(|segment| pattern.spells(segment)))
        })
    }
}

/// As one that denies.
impl Bearing<'_> {
    /// Whether it forbids the request, as far as that can be told without what it touches. What is not known counts as matching,
    /// unless it is still to be looked at.
    pub fn forbids(&self) -> bool {
        let narrowed = self.only.is_some();
        match self.case.asked.endpoint.map(|endpoint| &endpoint.touches) {
            Some(Touches::Nobody) if narrowed => false,
            Some(Touches::These(_)) if narrowed => {
                self.case.known == KnownExtent::Whole && self.takes_in()
            }
            Some(Touches::Unmodelled { could_touch, .. }) if narrowed => {
                self.takes_in() || self.takes_in_any(could_touch.as_ref())
            }
            Some(Touches::Unmodelled { could_touch, .. }) => {
                let could = could_touch.as_ref();
                self.takes_in() || could.is_some_and(|could| self.takes_in_any(Some(could)))
            }
            Some(Touches::Nobody | Touches::These(_)) | None => {
                self.takes_in() || self.takes_in_beside()
            }
        }
    }

    /// Whether what it covers takes this request in, whatever it is narrowed to.
    pub fn takes_in(&self) -> bool {
        let asked = self.case.asked;
        if self.case.known == KnownExtent::Head && self.actions.is_some()
            || !self.action_fits_or_is_unknown()
        {
            return false;
        }
        match self.covers {
            BoundCovers::Requests(patterns) => {
                patterns.iter().any(|pattern| self.deny_matches(pattern))
            }
            BoundCovers::Scopes(Held { all, named: _ }) => {
                let Some(endpoint) = asked.endpoint else {
                    return true;
                }; // its scopes can't be known
                let by_endpoint = endpoint.scopes.iter().any(|set| all.meets(set))
                    || self.case.needs(endpoint).iter().any(|set| all.meets(set));
                let fields = asked.fields().into_iter().map(|field| field.scope);
                by_endpoint
                    || fields
                        .chain(asked.touched_scopes())
                        .any(|scope| all.has(scope))
            }
        }
    }

    /// Whether it takes in what the request does beside what it is about, as far as that is told by its body: a snapshot that an
    /// action makes.
    fn takes_in_beside(&self) -> bool {
        let Some(held) = self.held() else {
            return false;
        };
        let whole =
            self.case.known == KnownExtent::Whole && self.only.is_none() && self.actions.is_none();
        let beside = || self.case.asked.done_beside(self.case.catalog.kinds());
        whole && beside().iter().any(|set| held.all.covers(set))
    }

    /// Whether it takes in any of these scopes; of what is not told, any that it has.
    fn takes_in_any(&self, could_touch: Option<&ScopeSet>) -> bool {
        let held = self.held().filter(|_| self.actions.is_none());
        held.is_some_and(|held| could_touch.is_none_or(|could| held.all.meets(could)))
    }

    /// Whether it takes in what becomes of a touched resource, which is given by these scopes.
    pub fn takes_in_change(&self, by: &ScopeSet) -> bool {
        (self.actions.is_none() || self.lists_some())
            && self.held().is_some_and(|held| held.all.covers(by))
    }

    /// Whether it hides what is shown by a scope, of whatever it strikes.
    pub fn hides(&self, scope: ScopeId) -> bool {
        self.actions.is_none() && self.gives(scope)
    }

    /// Whether its `actions` takes this request in: it does where that is not known. An action that the API is not known to have
    /// may be one of them in another spelling.
    fn action_fits_or_is_unknown(&self) -> bool {
        let Some(actions) = self.actions else {
            return true;
        };
        if self.lists_some() {
            return true;
        }
        let asked = self.case.asked;
        let action = asked.endpoint.map(|endpoint| endpoint.action.as_ref());
        match (action, asked.action()) {
            (Some(None), _) => false, // limited to actions, and this is none
            (None, _) | (Some(Some(_)), None) => true,
            (Some(Some(Action::Named { one_of, .. })), Some(asked))
                if !one_of.iter().any(|known| known == asked) =>
            {
                true
            }
            (Some(Some(_)), Some(asked)) => actions.iter().any(|listed| listed == asked),
        }
    }

    /// Whether its `actions` lists some of what the request does beside what it says.
    fn lists_some(&self) -> bool {
        let done = self.case.done_to_touched();
        let mut actions = self.actions().iter();
        actions.any(|listed| done.contains(&listed.as_str()))
    }

    /// Whether a pattern matches the request under any selection of its parameters: adding a parameter that means nothing must
    /// not lead around it.
    fn deny_matches(&self, pattern: &RequestPattern) -> bool {
        let asked = self.case.asked;
        if asked.target.query().is_empty() {
            return pattern.matches(asked.line());
        }
        pattern.matches_some_of(asked.line(), &asked.target.written_query())
    }
}

/// Parameters that change which part of an answer is sent, and never what it is about.
const PAGING: [&str; 7] = [
    "page",
    "per_page",
    "page_token",
    "limit",
    "sort",
    "sort_by",
    "sort_direction",
];
