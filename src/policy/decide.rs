use super::bind::{BoundCovers, BoundGrant, Grants};
use crate::catalog::{Action, Catalog, Endpoint, Scope, ScopeSet, Touches};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, FieldUse};

/// Whether a request may go.
#[must_use]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It may.
    Allow(Allowed),
    /// It may not.
    Deny(Refusal),
}

/// That a request was allowed, and by which grant. Only [`decide`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowed {
    place: String,
}

impl Allowed {
    /// The deciding grant, as `client.allow[0]`.
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// How much of the request is known when the question is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// The body was read where it decides, or there is none.
    Known,
    /// It is still with the client: what depends on it is left open, so `Allow` means "not refused yet".
    Unread,
}

/// Decides one request: allowed where every scope that it asks for is covered by an allow grant, and no deny grant strikes.
///
/// Grants with `only` cover what belongs to nobody and nothing else yet, and deny grants with `only` strike whatever
/// they could strike: which resources a request touches is not looked up in this release, and what is not known refuses.
pub fn decide(grants: &Grants, asked: &Asked<'_>, body: Body, catalog: &Catalog) -> Decision {
    let question = Question {
        asked,
        body,
        catalog,
    };
    let decided = question
        .allowed(grants)
        .and_then(|place| question.not_denied(grants).map(|()| place));
    match decided {
        Ok(place) => Decision::Allow(Allowed { place }),
        Err(refusal) => Decision::Deny(refusal),
    }
}

struct Question<'q> {
    asked: &'q Asked<'q>,
    body: Body,
    catalog: &'q Catalog,
}

/// Why a grant that has the scopes does not cover this request all the same.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Short {
    Narrowed,
    Action,
    OnCreate,
}

impl Question<'_> {
    fn allowed(&self, grants: &Grants) -> Result<String, Refusal> {
        let full = |grant: &&BoundGrant| self.falls_short(grant).is_none();
        if let Some(grant) = grants
            .allow
            .iter()
            .filter(full)
            .find(|grant| self.request_matches(grant))
        {
            return Ok(grant.place.clone());
        }
        let Some(endpoint) = self.asked.endpoint else {
            return Err(self.unknown());
        };
        let held = Self::held(endpoint, grants.allow.iter().filter(full));
        let needs = self.needs(endpoint);
        if !needs.iter().any(|set| held.covers(set)) {
            return Err(self.not_covered(endpoint, grants, &needs, &held));
        }
        self.fields_covered(endpoint, grants)?;
        self.sources_covered(endpoint, grants)?;
        let first = grants.allow.iter().filter(full).find(|grant| {
            needs
                .iter()
                .any(|set| Self::scopes_of(endpoint, grant).is_some_and(|scopes| scopes.meets(set)))
        });
        Ok(first.map(|grant| grant.place.clone()).unwrap_or_default())
    }

    /// The scopes of which the request needs one set whole.
    fn needs(&self, endpoint: &Endpoint) -> Vec<ScopeSet> {
        let target = &self.asked.target;
        let besides = endpoint.scopes_when.iter().filter(|rule| {
            target
                .query_parameter(&rule.parameter)
                .is_some_and(|value| !rule.unless.iter().any(|harmless| harmless == value))
        });
        let mut more = ScopeSet::default();
        besides.for_each(|rule| more.add(&rule.scopes));
        let with_more = |set: &ScopeSet| {
            let mut set = set.clone();
            set.add(&more);
            set
        };
        endpoint.scopes.iter().map(with_more).collect()
    }

    fn held<'g>(endpoint: &Endpoint, grants: impl Iterator<Item = &'g BoundGrant>) -> ScopeSet {
        let mut held = ScopeSet::default();
        grants
            .filter_map(|grant| Self::scopes_of(endpoint, grant))
            .for_each(|scopes| held.add(scopes));
        held
    }

    /// The scopes of a grant that count for an endpoint: where it is sensitive, only those that are named.
    fn scopes_of<'g>(endpoint: &Endpoint, grant: &'g BoundGrant) -> Option<&'g ScopeSet> {
        if endpoint.sensitive.is_some() {
            grant.covers.named()
        } else {
            grant.covers.all()
        }
    }

    fn falls_short(&self, grant: &BoundGrant) -> Option<Short> {
        let belongs_to_nobody = self
            .asked
            .endpoint
            .is_some_and(|endpoint| matches!(endpoint.touches, Touches::Nobody));
        if grant.narrowed && !belongs_to_nobody {
            return Some(Short::Narrowed);
        }
        if grant.adds_on_create && self.creates() {
            return Some(Short::OnCreate);
        }
        (!self.action_fits(grant)).then_some(Short::Action)
    }

    fn creates(&self) -> bool {
        let Some(endpoint) = self.asked.endpoint else {
            return !self.asked.method.reads();
        };
        let scopes = self.catalog.scopes();
        let by_scope = endpoint.scopes.iter().any(|set| {
            scopes
                .names(set)
                .any(|scope| scope.verb().starts_with("create"))
        });
        by_scope || self.asked.creates()
    }

    /// Whether a grant's `actions` lets this request by: it does if the request is no action, or one that is listed.
    fn action_fits(&self, grant: &BoundGrant) -> bool {
        let Some(actions) = &grant.actions else {
            return true;
        };
        if self
            .asked
            .endpoint
            .is_some_and(|endpoint| endpoint.action.is_none())
        {
            return true;
        }
        match (self.asked.action(), self.body) {
            (Some(action), _) => actions.iter().any(|listed| listed == action),
            (None, Body::Unread) => true,
            (None, Body::Known) => false,
        }
    }

    fn request_matches(&self, grant: &BoundGrant) -> bool {
        let BoundCovers::Requests(patterns) = &grant.covers else {
            return false;
        };
        let target = &self.asked.target;
        let line = |path: String| format!("{} {path}", self.asked.method);
        let (with_query, path) = (line(target.path_and_query()), line(target.path()));
        let paging_only = target
            .query()
            .iter()
            .all(|(name, _)| PAGING.contains(&name.as_str()));
        let spelled = self
            .asked
            .endpoint
            .filter(|endpoint| endpoint.sensitive.is_some())
            .map(|endpoint| endpoint.template.last_fixed());
        patterns.iter().any(|pattern| {
            let matches = if pattern.has_query() {
                pattern.matches(&with_query)
            } else {
                paging_only && pattern.matches(&path)
            };
            matches
                && spelled
                    .is_none_or(|segment| segment.is_some_and(|segment| pattern.spells(segment)))
        })
    }

    fn fields_covered(&self, endpoint: &Endpoint, grants: &Grants) -> Result<(), Refusal> {
        let held = self.union(grants, BoundCovers::all);
        self.all_held(&held, &self.asked.fields(), |field, scope| {
            format!("the field `{field}` of {endpoint} asks for the scope {scope}, which this sub-token lacks; leave the field out, or ask for a role that grants the scope")
        })
    }

    /// What is on a private image is handed out to whom its scope is given by name: no wildcard covers that. Which images are
    /// private is not looked up in this release, so one that is named by number counts as private.
    fn sources_covered(&self, endpoint: &Endpoint, grants: &Grants) -> Result<(), Refusal> {
        let held = self.union(grants, BoundCovers::named);
        self.all_held(&held, &self.asked.private_sources(), |field, scope| {
            format!("`{field}` of {endpoint} may be a private image, and what is on it is handed out only where a role names the scope {scope}; name a public image by its slug, or ask for such a role")
        })
    }

    /// All scopes of one sort in the grants that cover this request.
    fn union<'g>(
        &self,
        grants: &'g Grants,
        scopes: fn(&'g BoundCovers) -> Option<&'g ScopeSet>,
    ) -> ScopeSet {
        let mut union = ScopeSet::default();
        let covering = grants
            .allow
            .iter()
            .filter(|grant| self.falls_short(grant).is_none());
        covering
            .filter_map(|grant| scopes(&grant.covers))
            .for_each(|scopes| union.add(scopes));
        union
    }

    fn all_held(
        &self,
        held: &ScopeSet,
        uses: &[FieldUse],
        message: impl Fn(&str, &str) -> String,
    ) -> Result<(), Refusal> {
        let Some(lacking) = uses.iter().find(|used| !held.has(used.scope)) else {
            return Ok(());
        };
        let needs: Vec<_> = self
            .catalog
            .scopes()
            .name(lacking.scope)
            .cloned()
            .into_iter()
            .collect();
        Err(Refusal::new(Code::FieldScope, message(&lacking.field, &listed(&needs))).needing(needs))
    }

    fn not_covered(
        &self,
        endpoint: &Endpoint,
        grants: &Grants,
        needs: &[ScopeSet],
        held: &ScopeSet,
    ) -> Refusal {
        let would_do = |short: Short| {
            let enough = grants
                .allow
                .iter()
                .filter(|grant| self.falls_short(grant).is_none_or(|reason| reason == short));
            let by_scope = needs
                .iter()
                .any(|set| Self::held(endpoint, enough.clone()).covers(set));
            by_scope || enough.clone().any(|grant| self.request_matches(grant))
        };
        if would_do(Short::Action) {
            return self.wrong_action(grants);
        }
        if would_do(Short::Narrowed) || would_do(Short::OnCreate) {
            let why = "the grants that have its scopes are narrowed (`only`, `on_create`), and this release does not look up which resources a request touches";
            return Refusal::new(
                Code::Resource,
                format!("{endpoint} is refused: {why}; a role without `only` is needed for it"),
            );
        }
        let least = needs
            .iter()
            .map(|set| set.without(held))
            .min_by_key(ScopeSet::len)
            .unwrap_or_default();
        let missing = self.names(&least);
        let by_name = match &endpoint.sensitive {
            Some(why) => {
                format!("; it {why}, so wildcards do not cover it and the role must name the scope")
            }
            None => "; ask for a role that grants it".to_owned(),
        };
        let noun = if missing.len() == 1 {
            "scope"
        } else {
            "scopes"
        };
        Refusal::new(
            Code::Scope,
            format!(
                "this sub-token lacks the {noun} {} for {endpoint}{by_name}",
                listed(&missing)
            ),
        )
        .needing(missing)
    }

    fn wrong_action(&self, grants: &Grants) -> Refusal {
        let mut allowed: Vec<_> = grants
            .allow
            .iter()
            .filter_map(|grant| grant.actions.as_ref())
            .flatten()
            .map(String::as_str)
            .collect();
        allowed.sort_unstable();
        allowed.dedup();
        let asked = self.asked.action().map_or_else(
            || "an action that the body does not name".to_owned(),
            |action| format!("the action `{action}`"),
        );
        Refusal::new(
            Code::Action,
            format!(
                "this sub-token may not do {asked}; it may do {}",
                allowed.join(", ")
            ),
        )
    }

    fn unknown(&self) -> Refusal {
        let path = self.asked.target.path();
        let hint = match path.strip_prefix("/v2/v2/") {
            Some(_) => "; the client's base URL must be tidegate's address without `/v2`",
            None => "; see the API's reference for the path, or grant it by a `requests` pattern",
        };
        Refusal::new(
            Code::UnknownEndpoint,
            format!(
                "{} {path} is not an endpoint that tidegate knows{hint}",
                self.asked.method
            ),
        )
    }

    fn not_denied(&self, grants: &Grants) -> Result<(), Refusal> {
        match grants.deny.iter().find(|grant| self.strikes(grant)) {
            None => Ok(()),
            Some(grant) => {
                let message = format!(
                    "{} {} is denied by `{}`, which wins over every grant",
                    self.asked.method,
                    self.asked.target.path(),
                    grant.place
                );
                Err(Refusal::new(Code::Denied, message).detail(&grant.place))
            }
        }
    }

    /// Whether a deny grant forbids the request. Whatever is not known counts as matching.
    fn strikes(&self, grant: &BoundGrant) -> bool {
        let BoundGrant {
            place: _,
            covers,
            narrowed,
            actions: _,
            adds_on_create: _,
            written: _,
        } = grant;
        if *narrowed
            && self
                .asked
                .endpoint
                .is_some_and(|endpoint| matches!(endpoint.touches, Touches::Nobody))
        {
            return false;
        }
        if self.body == Body::Unread && grant.actions.is_some()
            || !self.action_fits_or_is_unknown(grant)
        {
            return false;
        }
        match covers {
            BoundCovers::Requests(patterns) => {
                patterns.iter().any(|pattern| self.deny_matches(pattern))
            }
            BoundCovers::Scopes { all, .. } => {
                let Some(endpoint) = self.asked.endpoint else {
                    return true;
                }; // its scopes can't be known
                let by_endpoint = endpoint.scopes.iter().any(|set| all.meets(set))
                    || self.needs(endpoint).iter().any(|set| all.meets(set));
                let fields = self.asked.fields().into_iter().map(|field| field.scope);
                by_endpoint
                    || fields
                        .chain(self.asked.touched_scopes())
                        .any(|scope| all.has(scope))
            }
        }
    }

    /// Whether a deny grant's `actions` takes this request in: it does where that is not known. An action that the API is not
    /// known to have may be one of them in another spelling.
    fn action_fits_or_is_unknown(&self, grant: &BoundGrant) -> bool {
        let Some(actions) = &grant.actions else {
            return true;
        };
        let action = self.asked.endpoint.map(|endpoint| endpoint.action.as_ref());
        match (action, self.asked.action()) {
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

    /// Whether a deny pattern matches the request under any selection of its parameters: adding a parameter that means
    /// nothing must not lead around it.
    fn deny_matches(&self, pattern: &super::RequestPattern) -> bool {
        const MOST_PARAMETERS: usize = 8;
        let target = &self.asked.target;
        let line = |path: String| format!("{} {path}", self.asked.method);
        let count = target.query().len();
        if pattern.matches(&line(target.path())) || pattern.matches(&line(target.path_and_query()))
        {
            return true;
        }
        if !pattern.has_query() {
            return false;
        }
        if count > MOST_PARAMETERS {
            return true;
        }
        (0..1_usize << count).any(|chosen| {
            pattern.matches(&line(target.path_with(|index| chosen >> index & 1 == 1)))
        })
    }

    fn names(&self, set: &ScopeSet) -> Vec<Scope> {
        self.catalog.scopes().names(set).cloned().collect()
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

fn listed(scopes: &[Scope]) -> String {
    scopes
        .iter()
        .map(Scope::as_str)
        .collect::<Vec<_>>()
        .join(" and ")
}
