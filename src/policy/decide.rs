use std::sync::Arc;

use super::bind::{BoundCovers, BoundGrant, Grants};
use super::done::could_tell;
use super::members::Sent;
use super::takes::{Added, CantTake};
use crate::catalog::{
    Action, Catalog, Endpoint, Scope, ScopeId, ScopeSet, TouchRule, TouchVerb, Touches,
};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, FieldUse};
use crate::resource::{State, Touch};

/// Whether a request may go.
#[must_use]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// It may.
    Allow(Allowed),
    /// It may not.
    Deny(Refusal),
}

/// That a request was allowed, by which grant, and what follows from that. Only `decide` makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Allowed {
    pub(super) place: Arc<str>,
    pub(super) additions: Option<Added>,
    pub(super) narrows: bool,
    pub(super) sent: Sent,
    pub(super) would: Option<Refusal>,
    pub(super) beside: Option<Arc<str>>,
}

impl Allowed {
    /// The deciding grant, as `client.allow[0]`.
    pub fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// What the grant adds to what is created.
    pub fn additions(&self) -> Option<&Added> {
        self.additions.as_ref()
    }

    /// How body and query go on.
    pub fn sent(&self) -> Sent {
        self.sent
    }

    /// Whether the answer must be judged, or cut to what the token may see: `shows` tells what that is.
    pub fn narrows(&self) -> bool {
        self.narrows
    }

    /// What the roles alone would have refused it with, where a ceiling lets it through.
    pub fn would(&self) -> Option<&Refusal> {
        self.would.as_ref()
    }

    /// Where the roles alone, under a ceiling, would judge the answer yet and might refuse it: the ceiling's grant by which it is
    /// shown all the same.
    pub fn beside(&self) -> Option<&str> {
        self.beside.as_deref()
    }
}

/// How much of the request is known when the question is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Known {
    /// The body is still with the client, and nothing was looked up: what depends on these is left open.
    Head,
    /// All of it, and what it touches.
    Whole,
}

/// What a token may see of a resource.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    /// All that the endpoint shows.
    Whole,
    /// All but what shows its children.
    WithoutChildren,
    /// Not that it exists.
    Hidden,
}

/// Refuses what the head of a request alone refuses, whatever its body says and whatever it touches.
///
/// # Errors
/// The refusal that [`decide`] would come to.
pub fn precheck(grants: &Grants, asked: &Asked<'_>, catalog: &Catalog) -> Result<(), Refusal> {
    let question = Question {
        asked,
        known: Known::Head,
        catalog,
        touches: &[],
    };
    question.refused_to_all()?;
    question.by_scopes(grants)?;
    question.not_denied(grants)
}

/// Whether [`decide`] needs to know what the request touches.
pub fn wants_touches(grants: &Grants, asked: &Asked<'_>) -> bool {
    let alone = grants.alone.as_deref();
    depends_on_touches(grants, asked) || alone.is_some_and(|alone| depends_on_touches(alone, asked))
}

fn depends_on_touches(grants: &Grants, asked: &Asked<'_>) -> bool {
    let held_by_name = |source: ScopeId| {
        let named = |grant: &BoundGrant| {
            let scopes = grant.covers.named();
            grant.only.is_none() && scopes.is_some_and(|named| named.has(source))
        };
        grants.allowing().any(named)
    };
    let unknown_source = || {
        let named = asked.private_sources();
        let mut scopes = named.iter().map(|source| source.scope);
        let untold = asked.untold_sources();
        !scopes.all(held_by_name) || !untold.into_iter().all(held_by_name)
    };
    let by_action = || grants.limit_actions() && could_tell(asked);
    modelled(asked.endpoint) && (grants.has_only || by_action() || unknown_source())
}

/// The scopes by which a request goes: of the endpoint's alternatives the narrowest that is held, and those of its fields.
pub fn scopes_used(grants: &Grants, asked: &Asked<'_>, catalog: &Catalog) -> Option<ScopeSet> {
    let endpoint = asked.endpoint?;
    let question = Question::whole(asked, catalog);
    let held = Question::held(endpoint, grants.allowing());
    let needs = question.needs(endpoint); // the broadest first
    let used = needs.iter().rev().find(|set| held.covers(set));
    let mut used = used.or(needs.last())?.clone();
    let fields = asked.fields().into_iter();
    fields.for_each(|field| used.insert(field.scope));
    Some(used)
}

/// Decides one request: allowed where every resource that it touches is covered by an allow grant, with every scope that is
/// asked for there, and where no deny grant strikes.
///
/// `touches` is what the request touches, where [`wants_touches`] says so, and otherwise empty. Where it is wanted and empty,
/// nothing is allowed.
///
/// Under a ceiling there are two decisions, each of them whole: by all grants together, which holds, and by those of the roles
/// alone. What these would refuse is told in [`Allowed::would`], if it is about what they grant; any other refusal holds.
pub fn decide(
    grants: &Grants,
    asked: &Asked<'_>,
    touches: &[Touch],
    catalog: &Catalog,
) -> Decision {
    let by = |grants: &Grants| decide_by(grants, asked, touches, catalog);
    let Some(alone) = grants.alone.as_deref() else {
        return by(grants);
    };
    let together = match by(grants) {
        Decision::Allow(together) => together,
        Decision::Deny(refusal) => return Decision::Deny(refusal),
    };
    match by(alone) {
        Decision::Allow(roles) => Decision::Allow(Allowed {
            narrows: together.narrows,
            beside: (roles.narrows).then(|| ceiling_place(grants, alone, &together, by)),
            ..roles
        }),
        Decision::Deny(refusal) if refusal.code.is_reported() => Decision::Allow(Allowed {
            would: Some(refusal),
            place: ceiling_place(grants, alone, &together, by),
            ..together
        }),
        Decision::Deny(refusal) => Decision::Deny(refusal),
    }
}

/// The ceiling's grant that lets a request through which the roles alone refuse: the deciding one, and where that is one of the
/// roles', the first that is enough beside them.
fn ceiling_place(
    grants: &Grants,
    alone: &Grants,
    together: &Allowed,
    by: impl Fn(&Grants) -> Decision,
) -> Arc<str> {
    let is_own = |place: &str| alone.allow.iter().any(|own| *own.place == *place);
    if !is_own(&together.place) {
        return together.place.clone();
    }
    let of_ceiling = grants.allow.iter().filter(|grant| !is_own(&grant.place));
    let enough = |grant: &&Arc<BoundGrant>| {
        let mut with = grants.clone();
        with.alone = None;
        with.allow.clone_from(&alone.allow);
        with.allow.push(Arc::clone(grant));
        matches!(by(&with), Decision::Allow(_))
    };
    let found = of_ceiling.clone().find(enough);
    let found = found.or_else(|| of_ceiling.clone().next());
    found.map_or_else(|| together.place.clone(), |grant| grant.place.clone())
}

fn decide_by(grants: &Grants, asked: &Asked<'_>, touches: &[Touch], catalog: &Catalog) -> Decision {
    let question = Question::whole(asked, catalog);
    let decided = || {
        question.refused_to_all()?;
        question.says_members(grants)?;
        let by_touches = depends_on_touches(grants, asked);
        let allowed = if by_touches {
            question
                .by_touches(grants, touches)
                .or_else(|refusal| question.unless_odd(refusal))?
        } else {
            let allowed = question.by_scopes(grants)?;
            question.not_denied(grants)?;
            allowed
        };
        if by_touches || grants.denying().next().is_some() {
            question.of_known_action()?;
            asked.has_known_values()?;
        }
        question.says_what_is_known(grants, allowed)
    };
    match decided() {
        Ok(allowed) => Decision::Allow(allowed),
        Err(refusal) => Decision::Deny(refusal),
    }
}

/// What a token that was let through may see of a resource in the answer.
pub fn shows(
    grants: &Grants,
    asked: &Asked<'_>,
    touch: &Touch,
    state: &State,
    catalog: &Catalog,
) -> Shown {
    let question = Question::whole(asked, catalog);
    question.shows(grants, touch, state)
}

fn modelled(endpoint: Option<&Endpoint>) -> bool {
    endpoint.is_some_and(|endpoint| matches!(endpoint.touches, Touches::These(_)))
}

#[derive(Clone, Copy)]
pub(super) struct Question<'q> {
    pub(super) asked: &'q Asked<'q>,
    pub(super) known: Known,
    pub(super) catalog: &'q Catalog,
    /// What it touches, as far as that is known by now.
    pub(super) touches: &'q [Touch],
}

/// Why a grant that has the scopes does not cover this request all the same.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Short {
    Narrowed,
    Action,
    OnCreate,
}

impl<'q> Question<'q> {
    /// About a request of which all is known.
    pub(super) fn whole(asked: &'q Asked<'q>, catalog: &'q Catalog) -> Self {
        Self {
            asked,
            known: Known::Whole,
            catalog,
            touches: &[],
        }
    }

    /// The same, where that is known which it touches.
    pub(super) fn touching(self, touches: &'q [Touch]) -> Self {
        Self { touches, ..self }
    }
}

impl Question<'_> {
    /// Who allows it, if resources are left out of account: grants with `only` count where what they touch is yet to be told.
    pub(super) fn by_scopes(&self, grants: &Grants) -> Result<Allowed, Refusal> {
        let allowed = self.by_scopes_alone(grants)?;
        let by_request =
            |grant: &BoundGrant| self.falls_short(grant).is_none() && self.request_matches(grant);
        if let Some(endpoint) = self.asked.endpoint
            && !grants.allowing().any(by_request)
        {
            self.fields_covered(endpoint, grants)?;
            self.sources_covered(endpoint, grants)?;
        }
        Ok(allowed)
    }

    /// Refuses what the table says nobody may: what takes no token must not get the real one.
    fn refused_to_all(&self) -> Result<(), Refusal> {
        let why = self
            .asked
            .endpoint
            .and_then(|it| Some((it, it.refused.as_ref()?)));
        let Some((endpoint, why)) = why else {
            return Ok(());
        };
        let message = format!("{endpoint} is refused: {why}");
        Err(Refusal::new(Code::UnknownEndpoint, message))
    }

    /// The same for the scopes of the endpoint alone, without those of fields.
    pub(super) fn by_scopes_alone(&self, grants: &Grants) -> Result<Allowed, Refusal> {
        let allowed = |grant: &BoundGrant| Allowed {
            place: grant.place.clone(),
            additions: self.added_by(grant),
            narrows: false,
            sent: Sent::Whole,
            would: None,
            beside: None,
        };
        let full = |grant: &&BoundGrant| self.falls_short(grant).is_none();
        if let Some(grant) = grants
            .allowing()
            .filter(full)
            .find(|grant| self.request_matches(grant))
        {
            return Ok(allowed(grant));
        }
        let Some(endpoint) = self.asked.endpoint else {
            return Err(self.unknown());
        };
        let held = Self::held(endpoint, grants.allowing().filter(full));
        let needs = self.needs(endpoint);
        if !needs.iter().any(|set| held.covers(set)) {
            return Err(self.not_covered(endpoint, grants, &needs, &held));
        }
        // One that is enough by itself, or else has part: then one that adds something, so that this is not left out.
        let part = grants.allowing().filter(full).filter_map(|grant| {
            let scopes = Self::scopes_of(endpoint, grant)?;
            let rank = if needs.iter().any(|set| scopes.covers(set)) {
                0
            } else if self.added_by(grant).is_some() {
                1
            } else {
                2
            };
            needs
                .iter()
                .any(|set| scopes.meets(set))
                .then_some((rank, grant))
        });
        let first = part.min_by_key(|(rank, _)| *rank).map(|(_, grant)| grant);
        first.map(allowed).ok_or_else(|| self.unknown())
    }

    /// A refusal by what is touched. Where it tells that something is hidden, what is odd about the request itself goes before
    /// it, since that would be told too of what is not there.
    fn unless_odd(&self, refusal: Refusal) -> Result<Allowed, Refusal> {
        if refusal.code == Code::ResourceHidden {
            self.of_known_action()?;
            self.asked.has_known_values()?;
        }
        Err(refusal)
    }

    /// The scopes of which the request needs one set whole.
    pub(super) fn needs(&self, endpoint: &Endpoint) -> Vec<ScopeSet> {
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

    pub(super) fn held<'g>(
        endpoint: &Endpoint,
        grants: impl Iterator<Item = &'g BoundGrant>,
    ) -> ScopeSet {
        let mut held = ScopeSet::default();
        grants
            .filter_map(|grant| Self::scopes_of(endpoint, grant))
            .for_each(|scopes| held.add(scopes));
        held
    }

    /// The scopes of a grant that count for an endpoint: where it is sensitive, only those that are named.
    pub(super) fn scopes_of<'g>(
        endpoint: &Endpoint,
        grant: &'g BoundGrant,
    ) -> Option<&'g ScopeSet> {
        if endpoint.sensitive.is_some() {
            grant.covers.named()
        } else {
            grant.covers.all()
        }
    }

    pub(super) fn falls_short(&self, grant: &BoundGrant) -> Option<Short> {
        let endpoint = self.asked.endpoint;
        let open = matches!(
            endpoint.map(|endpoint| &endpoint.touches),
            Some(Touches::Nobody | Touches::These(_))
        );
        if grant.only.is_some() && !open {
            return Some(Short::Narrowed);
        }
        if self.additions_of(grant).is_err() {
            return Some(Short::OnCreate);
        }
        (!self.action_fits(grant)).then_some(Short::Action)
    }

    /// What a grant adds to what is created here: all of its `on_create` that this has not from what it belongs to, or the grant
    /// does not cover it.
    fn additions_of(&self, grant: &BoundGrant) -> Result<Option<Added>, CantTake> {
        match &grant.on_create {
            Some(additions) if self.creates() => {
                let added = additions.to_what_is_made(self.asked.endpoint, self.catalog.kinds())?;
                Ok(Some(added).filter(|added| *added != Added::default()))
            }
            Some(_) | None => Ok(None),
        }
    }

    /// The same for a grant that covers it.
    pub(super) fn added_by(&self, grant: &BoundGrant) -> Option<Added> {
        self.additions_of(grant).ok().flatten()
    }

    pub(super) fn creates(&self) -> bool {
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

    /// Whether a grant's `actions` lets this request by: it does if the request is no action, or one that is listed.
    pub(super) fn action_fits(&self, grant: &BoundGrant) -> bool {
        let Some(actions) = &grant.actions else {
            return true;
        };
        if self.not_listed(grant).is_some() {
            return false;
        }
        if self
            .asked
            .endpoint
            .is_some_and(|endpoint| endpoint.action.is_none())
        {
            return true;
        }
        match (self.asked.action(), self.known) {
            (Some(action), _) => actions.iter().any(|listed| listed == action),
            (None, Known::Head) => true,
            (None, Known::Whole) => false,
        }
    }

    /// An action that the reference does not have may touch more than was looked at, so no grant that looks at that gives it.
    fn of_known_action(&self) -> Result<(), Refusal> {
        if self.asked.acts_as_known() {
            return Ok(());
        }
        let why = "the request does nothing that the API's reference has for this path, so what it would touch can't be told; write the action as the reference does";
        Err(Refusal::new(Code::Action, why))
    }

    pub(super) fn request_matches(&self, grant: &BoundGrant) -> bool {
        let BoundCovers::Requests(patterns) = &grant.covers else {
            return false;
        };
        let paging_only = self
            .asked
            .target
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
                pattern.matches(self.asked.line_with_query())
            } else {
                paging_only && pattern.matches(self.asked.line())
            };
            matches
                && spelled
                    .is_none_or(|segment| segment.is_some_and(|segment| pattern.spells(segment)))
        })
    }

    fn fields_covered(&self, endpoint: &Endpoint, grants: &Grants) -> Result<(), Refusal> {
        let held = Held {
            all: self.union(grants, BoundCovers::all),
            named: self.union(grants, BoundCovers::named),
        };
        self.fields_held(endpoint, &held, &self.asked.fields())
    }

    pub(super) fn fields_held(
        &self,
        endpoint: &Endpoint,
        held: &Held,
        fields: &[FieldUse],
    ) -> Result<(), Refusal> {
        self.all_held(held, fields, |FieldUse { field, by_name, .. }, scope| {
            let how = if *by_name { "names" } else { "grants" };
            format!("the field `{field}` of {endpoint} asks for the scope {scope}, which this sub-token lacks; leave the field out, or ask for a role that {how} the scope")
        })
    }

    /// What is on a private image is handed out to whom its scope is given by name: no wildcard covers that. Which images are
    /// private is not looked up in this release, so one that is named by number counts as private.
    fn sources_covered(&self, endpoint: &Endpoint, grants: &Grants) -> Result<(), Refusal> {
        let held = Held {
            all: ScopeSet::default(),
            named: self.union(grants, BoundCovers::named),
        };
        let sources = self.asked.private_sources();
        self.all_held(&held, &sources, |FieldUse { field, .. }, scope| {
            let is_it = |rule: &&TouchRule| rule.at.as_ref().is_some_and(|at| at.to_string() == *field);
            let source = endpoint.touches.rules().iter().filter(|rule| rule.verb == TouchVerb::Source).find(is_it);
            match source.filter(|rule| rule.public.is_empty()) {
                Some(rule) => format!("`{field}` of {endpoint} names a {}, and what is on it is handed out only where a role names the scope {scope}; ask for such a role", rule.kind),
                None => format!("`{field}` of {endpoint} may be a private image, and what is on it is handed out only where a role names the scope {scope}; name a public image by its slug, or ask for such a role"),
            }
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
            .allowing()
            .filter(|grant| self.falls_short(grant).is_none());
        covering
            .filter_map(|grant| scopes(&grant.covers))
            .for_each(|scopes| union.add(scopes));
        union
    }

    fn all_held(
        &self,
        held: &Held,
        uses: &[FieldUse],
        message: impl Fn(&FieldUse, &str) -> String,
    ) -> Result<(), Refusal> {
        let Some(lacking) = uses.iter().find(|used| !held.gives(used)) else {
            return Ok(());
        };
        let needs: Vec<_> = self
            .catalog
            .scopes()
            .name(lacking.scope)
            .cloned()
            .into_iter()
            .collect();
        Err(Refusal::new(Code::FieldScope, message(lacking, &listed(&needs))).needing(needs))
    }

    pub(super) fn not_covered(
        &self,
        endpoint: &Endpoint,
        grants: &Grants,
        needs: &[ScopeSet],
        held: &ScopeSet,
    ) -> Refusal {
        let would_do = |short: Short| {
            let enough = grants
                .allowing()
                .filter(|grant| self.falls_short(grant).is_none_or(|reason| reason == short));
            let by_scope = needs
                .iter()
                .any(|set| Self::held(endpoint, enough.clone()).covers(set));
            by_scope || enough.clone().any(|grant| self.request_matches(grant))
        };
        if would_do(Short::Action) {
            return self.wrong_action(grants);
        }
        if would_do(Short::OnCreate) {
            let why = "the grants that have its scopes add tags or a project to what is created (`on_create`), and what this creates takes none";
            return Refusal::new(
                Code::Resource,
                format!(
                    "{endpoint} is refused: {why}; a role without `on_create` is needed for it"
                ),
            );
        }
        if would_do(Short::Narrowed) {
            let why = "the grants that have its scopes are narrowed (`only`), and which resources it touches is not known";
            return Refusal::new(
                Code::Resource,
                format!("{endpoint} is refused: {why}; a role without `only` is needed for it"),
            );
        }
        // Of alternatives of which as much is missing, the last of the row is the narrowest.
        let least = needs
            .iter()
            .rev()
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

    pub(super) fn wrong_action(&self, grants: &Grants) -> Refusal {
        let mut allowed: Vec<_> = grants
            .allowing()
            .filter_map(|grant| grant.actions.as_ref())
            .flatten()
            .map(String::as_str)
            .collect();
        allowed.sort_unstable();
        allowed.dedup();
        let mut limited = grants.allowing();
        let beside = limited.find_map(|grant| self.not_listed(grant));
        let asked = beside.or(self.asked.action()).map_or_else(
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

    pub(super) fn unknown(&self) -> Refusal {
        let path = self.asked.target.path();
        let begins = |with| path.starts_with(with);
        let hint = if begins("/v2/v2/") {
            "; the client's base URL must be tidegate's address without `/v2`"
        } else if begins("/v1/") || begins("/v2/") {
            "; see the API's reference for the path, or grant it by a `requests` pattern"
        } else {
            // `DIGITALOCEAN_END_POINT` without the slash at its end: Python joins `/v2` and `domains/` to `/domains/`.
            "; the API's paths begin with `/v2/`: if the client appends them to its base URL, that must end in `/v2/`, with the slash"
        };
        Refusal::new(
            Code::UnknownEndpoint,
            format!(
                "{} {path} is not an endpoint that tidegate knows{hint}",
                self.asked.method
            ),
        )
    }

    pub(super) fn not_denied(&self, grants: &Grants) -> Result<(), Refusal> {
        match grants.denying().find(|grant| self.strikes(grant)) {
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

    /// Whether a deny grant forbids the request, as far as that can be told without what it touches. What is not known counts
    /// as matching, unless it is still to be looked at.
    fn strikes(&self, grant: &BoundGrant) -> bool {
        let narrowed = grant.only.is_some();
        match self.asked.endpoint.map(|endpoint| &endpoint.touches) {
            Some(Touches::Nobody) if narrowed => false,
            Some(Touches::These(_)) if narrowed => {
                self.known == Known::Whole && self.denies_this(grant)
            }
            Some(Touches::Unmodelled { could_touch, .. }) if narrowed => {
                self.denies_this(grant) || denies_any(grant, could_touch.as_ref())
            }
            Some(Touches::Unmodelled { could_touch, .. }) => {
                self.denies_this(grant)
                    || could_touch
                        .as_ref()
                        .is_some_and(|could| denies_any(grant, Some(could)))
            }
            Some(Touches::Nobody | Touches::These(_)) | None => {
                self.denies_this(grant) || self.denies_beside(grant)
            }
        }
    }

    /// Whether a deny grant without `only` takes in what the request does beside what it is about, as far as that is told by
    /// its body: a snapshot that an action makes.
    fn denies_beside(&self, grant: &BoundGrant) -> bool {
        let Some(scopes) = grant.covers.all() else {
            return false;
        };
        let whole = self.known == Known::Whole && grant.only.is_none() && grant.actions.is_none();
        let beside = || self.asked.done_beside(self.catalog.kinds());
        whole && beside().iter().any(|set| scopes.covers(set))
    }

    /// Whether what a deny grant covers takes this request in, whatever it is narrowed to.
    pub(super) fn denies_this(&self, grant: &BoundGrant) -> bool {
        let BoundGrant {
            place: _,
            stands: _,
            covers,
            only: _,
            actions,
            on_create: _,
            written: _,
        } = grant;
        if self.known == Known::Head && actions.is_some() || !self.action_fits_or_is_unknown(grant)
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
        if self.lists_some(grant) {
            return true;
        }
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
        let target = &self.asked.target;
        if target.query().is_empty() {
            return pattern.matches(self.asked.line());
        }
        pattern.matches_some_of(self.asked.line(), &target.written_query())
    }

    fn names(&self, set: &ScopeSet) -> Vec<Scope> {
        self.catalog.scopes().names(set).cloned().collect()
    }
}

/// The scopes that grants give together.
#[derive(Default)]
pub(super) struct Held {
    /// By their names and by wildcards.
    pub all: ScopeSet,
    /// By their names alone.
    pub named: ScopeSet,
}

impl Held {
    /// Adds what a grant gives.
    pub fn add(&mut self, covers: &BoundCovers) {
        if let BoundCovers::Scopes { all, named } = covers {
            self.all.add(all);
            self.named.add(named);
        }
    }

    fn gives(&self, used: &FieldUse) -> bool {
        let scopes = if used.by_name { &self.named } else { &self.all };
        scopes.has(used.scope)
    }
}

/// Whether a deny grant takes in any of these scopes; of what is not told, any that it has.
fn denies_any(grant: &BoundGrant, could_touch: Option<&ScopeSet>) -> bool {
    let scopes = grant.covers.all().filter(|_| grant.actions.is_none());
    match could_touch {
        Some(could) => scopes.is_some_and(|scopes| scopes.meets(could)),
        None => scopes.is_some(),
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
