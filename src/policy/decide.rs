use std::collections::BTreeSet;
use std::sync::Arc;

use super::actions::could_tell;
use super::additions::Added;
use super::bind::Grants;
use super::case::{Case, held_by, held_for};
use super::grant::{Bearing, BoundGrant, Held, Short};
use super::members::Sent;
use crate::catalog::{Catalog, Endpoint, Scope, ScopeId, ScopeSet, TouchRule, TouchVerb, Touches};
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
    let case = Case::new(grants, asked, catalog).by_head();
    case.refused_to_all()?;
    case.by_scopes()?;
    case.not_denied()
}

/// Whether [`decide`] needs to know what the request touches.
pub fn wants_touches(grants: &Grants, asked: &Asked<'_>) -> bool {
    let alone = grants.alone.as_deref();
    depends_on_touches(grants, asked) || alone.is_some_and(|alone| depends_on_touches(alone, asked))
}

fn depends_on_touches(grants: &Grants, asked: &Asked<'_>) -> bool {
    let held_by_name = |source: ScopeId| {
        let mut allowing = grants.allowing();
        allowing.any(|grant| grant.names_over_all(source))
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
    let case = Case::new(grants, asked, catalog);
    let held = held_for(endpoint, case.allowing());
    let needs = case.needs(endpoint); // the broadest first
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
    let is_own = |place: &str| alone.allow.iter().any(|own| **own.place() == *place);
    if !is_own(&together.place) {
        return together.place.clone();
    }
    let of_ceiling = grants.allow.iter().filter(|grant| !is_own(grant.place()));
    let enough = |grant: &&Arc<BoundGrant>| {
        let mut with = grants.clone();
        with.alone = None;
        with.allow.clone_from(&alone.allow);
        with.allow.push(Arc::clone(grant));
        matches!(by(&with), Decision::Allow(_))
    };
    let found = of_ceiling.clone().find(enough);
    let found = found.or_else(|| of_ceiling.clone().next());
    found.map_or_else(|| together.place.clone(), |grant| grant.place().clone())
}

fn decide_by(grants: &Grants, asked: &Asked<'_>, touches: &[Touch], catalog: &Catalog) -> Decision {
    let case = Case::new(grants, asked, catalog);
    let decided = || {
        case.refused_to_all()?;
        case.says_members()?;
        let by_touches = depends_on_touches(grants, asked);
        let allowed = if by_touches {
            case.by_touches(touches)
                .or_else(|refusal| case.unless_odd(refusal))?
        } else {
            let allowed = case.by_scopes()?;
            case.not_denied()?;
            allowed
        };
        if by_touches || grants.denying().next().is_some() {
            case.of_known_action()?;
            asked.has_known_values()?;
        }
        case.says_what_is_known(allowed)
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
    Case::new(grants, asked, catalog).shows(touch, state)
}

fn modelled(endpoint: Option<&Endpoint>) -> bool {
    endpoint.is_some_and(|endpoint| matches!(endpoint.touches, Touches::These(_)))
}

impl Case<'_> {
    /// Who allows it, if resources are left out of account: grants with `only` count where what they touch is yet to be told.
    pub(super) fn by_scopes(&self) -> Result<Allowed, Refusal> {
        let allowed = self.by_scopes_alone()?;
        if let Some(endpoint) = self.asked.endpoint
            && !self.covering().any(|grant| grant.matches())
        {
            let held = held_by(self.covering());
            self.fields_held(endpoint, &held, &self.asked.fields())?;
            self.sources_held(endpoint, &held)?;
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
    pub(super) fn by_scopes_alone(&self) -> Result<Allowed, Refusal> {
        let allowed = |grant: Bearing<'_>| Allowed {
            place: grant.place().clone(),
            additions: grant.adds(),
            narrows: false,
            sent: Sent::Whole,
            would: None,
            beside: None,
        };
        if let Some(grant) = self.covering().find(Bearing::matches) {
            return Ok(allowed(grant));
        }
        let Some(endpoint) = self.asked.endpoint else {
            return Err(self.unknown());
        };
        let held = held_for(endpoint, self.covering());
        let needs = self.needs(endpoint);
        if !needs.iter().any(|set| held.covers(set)) {
            return Err(self.not_covered(endpoint, &needs, &held));
        }
        // One that is enough by itself, or else has part: then one that adds something, so that this is not left out.
        let part = self.covering().filter_map(|grant| {
            let scopes = grant.scopes_for(endpoint)?;
            let rank = if needs.iter().any(|set| scopes.covers(set)) {
                0
            } else if grant.adds().is_some() {
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

    /// An action that the reference does not have may touch more than was looked at, so no grant that looks at that gives it.
    fn of_known_action(&self) -> Result<(), Refusal> {
        if self.asked.acts_as_known() {
            return Ok(());
        }
        let why = "the request does nothing that the API's reference has for this path, so what it would touch can't be told; write the action as the reference does";
        Err(Refusal::new(Code::Action, why))
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
    fn sources_held(&self, endpoint: &Endpoint, held: &Held) -> Result<(), Refusal> {
        let sources = self.asked.private_sources();
        self.all_held(held, &sources, |FieldUse { field, .. }, scope| {
            let is_it = |rule: &&TouchRule| rule.at.as_ref().is_some_and(|at| at.to_string() == *field);
            let source = endpoint.touches.rules().iter().filter(|rule| rule.verb == TouchVerb::Source).find(is_it);
            match source.filter(|rule| rule.public.is_empty()) {
                Some(rule) => format!("`{field}` of {endpoint} names a {}, and what is on it is handed out only where a role names the scope {scope}; ask for such a role", rule.kind),
                None => format!("`{field}` of {endpoint} may be a private image, and what is on it is handed out only where a role names the scope {scope}; name a public image by its slug, or ask for such a role"),
            }
        })
    }

    fn all_held(
        &self,
        held: &Held,
        uses: &[FieldUse],
        message: impl Fn(&FieldUse, &str) -> String,
    ) -> Result<(), Refusal> {
        let Some(lacking) = uses.iter().find(|used| !gives(held, used)) else {
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
        needs: &[ScopeSet],
        held: &ScopeSet,
    ) -> Refusal {
        let would_do = |short| self.would_do_but_for(short, endpoint, needs);
        if would_do(Short::Action) {
            return self.wrong_action();
        }
        let (why, without) = if would_do(Short::OnCreate) {
            let why = "the grants that have its scopes add tags or a project to what is created (`on_create`), and what this creates takes none";
            (why, "on_create")
        } else if would_do(Short::Narrowed) {
            let why = "the grants that have its scopes are narrowed (`only`), and which resources it touches is not known";
            (why, "only")
        } else {
            return self.lacks_scopes(endpoint, needs, held);
        };
        Refusal::new(
            Code::Resource,
            format!("{endpoint} is refused: {why}; a role without `{without}` is needed for it"),
        )
    }

    /// Whether the grants would do if none fell short for this reason.
    fn would_do_but_for(&self, short: Short, endpoint: &Endpoint, needs: &[ScopeSet]) -> bool {
        let mut enough = self
            .allowing()
            .filter(|grant| grant.falls_short().is_none_or(|reason| reason == short));
        let held = held_for(endpoint, enough.clone());
        needs.iter().any(|set| held.covers(set)) || enough.any(|grant| grant.matches())
    }

    fn lacks_scopes(&self, endpoint: &Endpoint, needs: &[ScopeSet], held: &ScopeSet) -> Refusal {
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

    pub(super) fn wrong_action(&self) -> Refusal {
        let listed = self.allowing().flat_map(Bearing::actions);
        let allowed: BTreeSet<&str> = listed.map(String::as_str).collect();
        let allowed: Vec<_> = allowed.into_iter().collect();
        let beside = self.allowing().find_map(|grant| grant.not_listed());
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

    pub(super) fn not_denied(&self) -> Result<(), Refusal> {
        match self.denying().find(Bearing::forbids) {
            None => Ok(()),
            Some(grant) => Err(self.denied(grant).detail(grant.place())),
        }
    }

    pub(super) fn denied(&self, by: Bearing<'_>) -> Refusal {
        let message = format!(
            "{} {} is denied by `{}`, which wins over every grant",
            self.asked.method,
            self.asked.target.path(),
            by.place()
        );
        Refusal::new(Code::Denied, message)
    }
}

fn gives(held: &Held, used: &FieldUse) -> bool {
    let scopes = if used.by_name { &held.named } else { &held.all };
    scopes.has(used.scope)
}

fn listed(scopes: &[Scope]) -> String {
    scopes
        .iter()
        .map(Scope::as_str)
        .collect::<Vec<_>>()
        .join(" and ")
}
