use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::actions::TELLING;
use super::grant::{BoundGrant, Grant};
use super::matching::{BoundOnly, Side};
use super::{Policy, Role};
use crate::catalog::{Kind, Kinds, TouchRule, TouchVerb};
use crate::request::Asked;

/// The values of a token's variables, by name.
pub type Vars = BTreeMap<String, String>;

/// What one token holds: the grants of all its roles, its variables filled in.
///
/// Grants in which no variable stands are the same for every token, and there once: compiled patterns are large.
#[derive(Clone, Debug)]
pub struct Grants {
    /// What is allowed, in the order of its roles.
    pub allow: Vec<Arc<BoundGrant>>,
    /// What is forbidden.
    pub deny: Vec<Arc<BoundGrant>>,
    /// The account whose real token goes in.
    pub account: Arc<str>,
    /// Whether any of them is narrowed to some resources.
    pub has_only: bool,
    /// Where a ceiling holds: what the roles hold without it. What these would refuse is reported.
    pub alone: Option<Arc<Grants>>,
    /// What a token says of itself that was made by another: each of these must allow as well what that one's grants allow.
    pub within: Vec<Arc<Grants>>,
}

/// Why a token can't be held to a policy: it is refused whole, never judged by what remains.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unbound {
    /// It has no role at all.
    NoRole,
    /// This role is gone.
    Role(String),
    /// This role needs this variable.
    Variable(String, String),
    /// Its roles name different accounts.
    Accounts(String, String),
    /// A pattern can't be built with its variables.
    Pattern(String),
    /// Its ceiling is gone.
    Ceiling(String),
    /// Its ceiling has variables.
    CeilingVariables(String),
    /// Its ceiling is of another account than its roles.
    CeilingAccount(String),
}

impl fmt::Display for Unbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRole => f.write_str("it has no role"),
            Self::Role(role) => write!(f, "its role `{role}` is not in the policy"),
            Self::Variable(role, name) => write!(
                f,
                "its role `{role}` needs the variable `{name}`, which it does not have"
            ),
            Self::Accounts(one, other) => {
                write!(f, "its roles name two accounts, `{one}` and `{other}`")
            }
            Self::Pattern(place) => write!(
                f,
                "the patterns of `{place}` can't be built with its variables"
            ),
            Self::Ceiling(role) => write!(f, "its ceiling `{role}` is not in the policy"),
            Self::CeilingVariables(role) => write!(
                f,
                "its ceiling `{role}` has variables, and what a ceiling covers must not depend on a token"
            ),
            Self::CeilingAccount(role) => write!(
                f,
                "its ceiling `{role}` is of another account than its roles"
            ),
        }
    }
}

impl Grants {
    /// What is allowed.
    pub fn allowing(&self) -> impl Iterator<Item = &BoundGrant> + Clone {
        self.allow.iter().map(AsRef::as_ref)
    }

    /// What is forbidden.
    pub fn denying(&self) -> impl Iterator<Item = &BoundGrant> + Clone {
        self.deny.iter().map(AsRef::as_ref)
    }

    /// All sets of grants that must allow: these, and those that a token says of itself.
    pub fn sets(&self) -> impl Iterator<Item = &Grants> + Clone {
        std::iter::once(self).chain(self.within.iter().map(AsRef::as_ref))
    }

    /// Whether a grant of any set is narrowed to some resources.
    pub fn is_narrowed(&self) -> bool {
        self.sets().any(|set| set.has_only)
    }

    /// Whether what a grant covers depends on how the request is written.
    pub fn covers_by_request(&self) -> bool {
        let of_set = |set| Self::allowing(set).chain(Self::denying(set));
        let mut all = self.sets().flat_map(of_set);
        all.any(BoundGrant::goes_by_request)
    }

    /// What they ask about the resources of a kind.
    pub fn asks(&self, kind: &Kind) -> BTreeSet<String> {
        let mut asked = BTreeSet::new();
        for only in self.onlys() {
            only.asks(kind, &mut asked);
            // What others are made of decides over them.
            for (other, attribute, from) in &kind.feeds {
                if only.names_attribute(*other, attribute) {
                    asked.insert(from.clone());
                }
            }
        }
        if let (Some(also), Some((attribute, _))) = (kind.also, &kind.also_where)
            && self.onlys().any(|only| only.asks_for_kind(also))
        {
            asked.insert(attribute.clone());
        }
        asked
    }

    /// Whether one of them asks about an attribute of a kind.
    pub fn ask_about(&self, kind: &Kind, attribute: &str) -> bool {
        let attribute = [attribute.to_owned()];
        self.onlys().any(|only| only.asks_about(kind, &attribute))
    }

    /// What they ask about the resources of a kind that a request touches: also what decides whether it changes others that a
    /// deny protects.
    pub fn asks_for(&self, kind: &Kind, asked: &Asked<'_>, kinds: &Kinds) -> BTreeSet<String> {
        let mut all = self.asks(kind);
        if self.limit_actions() {
            all.extend(told_by_change(kind, asked));
        }
        let rules = asked
            .endpoint
            .map_or(&[][..], |endpoint| endpoint.touches.rules());
        let belongs = |rule: &&TouchRule| rule.of.iter().any(|(parent, _)| *parent == kind.id);
        for rule in rules.iter().filter(belongs) {
            let made = rule.kind.one().map(|kind| kinds.of(kind));
            let Some(asked) = made
                .filter(|_| !rule.gets.is_empty())
                .map(|made| self.asks(made))
            else {
                continue;
            };
            let gets = rule
                .gets
                .iter()
                .filter(|it| asked.contains(*it) && kind.has(it));
            all.extend(gets.cloned());
        }
        for (other, _, from) in kind.feeds.iter().filter(|_| !asked.reads()) {
            if self.deny_changes(kinds.of(*other), None, kinds) {
                all.insert(from.clone());
            }
        }
        all
    }

    /// Whether a deny grant that is narrowed could strike a change of some resource of a kind: by the scope that changes one, or
    /// where `asked` is given by what that asks for.
    pub fn deny_changes(&self, kind: &Kind, asked: Option<&Asked<'_>>, kinds: &Kinds) -> bool {
        let mut denying = self.denying();
        denying.any(|grant| grant.could_strike_change(kind, asked, kinds))
    }

    /// Whether one of them is limited to some actions.
    pub fn limit_actions(&self) -> bool {
        let mut all = self.allowing().chain(self.denying());
        all.any(|grant| grant.wants().changes)
    }

    /// Whether one of them names this project, by id or name.
    pub fn names_project(&self, called: &str) -> bool {
        self.onlys()
            .flat_map(BoundOnly::projects)
            .any(|project| project.matches(called))
    }

    /// The projects into which they put what is created.
    pub fn added_projects(&self) -> Vec<&str> {
        let additions = self.allowing().filter_map(|grant| grant.wants().adds);
        additions
            .filter_map(|additions| additions.project.as_deref())
            .collect()
    }

    /// The tags that they put on what is created.
    pub fn added_tags(&self) -> Vec<&str> {
        let additions = self.allowing().filter_map(|grant| grant.wants().adds);
        let tags = additions.flat_map(|additions| &additions.tags);
        tags.map(String::as_str).collect()
    }

    /// The `only` of all grants of all sets.
    fn onlys(&self) -> impl Iterator<Item = &BoundOnly> {
        let of_set = |set| Self::allowing(set).chain(Self::denying(set));
        let all = self.sets().flat_map(of_set);
        all.filter_map(|grant| grant.wants().only)
    }
}

/// The attributes of a kind whose values before a request tell which action it is: what is given may be what is there.
fn told_by_change(kind: &Kind, asked: &Asked<'_>) -> impl Iterator<Item = String> {
    let rules = asked
        .endpoint
        .map_or(&[][..], |endpoint| endpoint.touches.rules());
    let of_kind = |rule: &&TouchRule| rule.kind.one() == Some(kind.id);
    let changes = rules
        .iter()
        .filter(|rule| rule.verb == TouchVerb::Change)
        .filter(of_kind);
    let after = changes.flat_map(|rule| &rule.after);
    let telling = after.filter(|(attribute, _)| TELLING.contains(&attribute.as_str()));
    telling.map(|(attribute, _)| attribute.clone())
}

/// What a token holds that says of itself that it may less than its maker's grants: it may what these allow and what each of
/// its own grants allows.
///
/// # Errors
/// `Unbound`, where a pattern can't be built.
pub fn narrowed(grants: &Grants, own: &[Grant]) -> Result<Grants, Unbound> {
    let set = |grant: &Grant| {
        let bound = grant.bind(&Vars::new(), Side::Allow)?;
        Ok(Arc::new(Grants {
            has_only: bound.is_narrowed(),
            allow: vec![Arc::new(bound)],
            deny: Vec::new(),
            account: grants.account.clone(),
            alone: None,
            within: Vec::new(),
        }))
    };
    let mut within = grants.within.clone(); // whoever is narrowed twice is held to both
    for grant in own {
        within.push(set(grant)?);
    }
    Ok(Grants {
        within,
        ..grants.clone()
    })
}

/// Binds roles and variables to what they grant under a policy.
///
/// # Errors
/// `Unbound`.
pub fn bind(policy: &Policy, roles: &[String], vars: &Vars) -> Result<Grants, Unbound> {
    let found = held(policy, roles, vars)?;
    let first = found.first().ok_or(Unbound::NoRole)?;
    let mut grants = Grants {
        allow: Vec::new(),
        deny: Vec::new(),
        account: first.account.as_str().into(),
        has_only: false,
        alone: None,
        within: Vec::new(),
    };
    for role in &found {
        for grant in &role.allow {
            grants.allow.push(grant.shared(vars, Side::Allow)?);
        }
        for grant in &role.deny {
            grants.deny.push(grant.shared(vars, Side::Deny)?);
        }
    }
    let has_only = grants.onlys().next().is_some();
    grants.has_only = has_only;
    Ok(grants)
}

/// Whether a policy has the roles, the variables and the ceiling of a token: all that [`bind`] and [`under`] ask for before they
/// build patterns.
///
/// # Errors
/// `Unbound`.
pub fn binds(
    policy: &Policy,
    roles: &[String],
    vars: &Vars,
    ceiling: Option<&str>,
) -> Result<(), Unbound> {
    let found = held(policy, roles, vars)?;
    let first = found.first().ok_or(Unbound::NoRole)?;
    let ceiling = ceiling.map(|ceiling| ceiling_of(policy, &first.account, ceiling));
    ceiling.transpose().map(drop)
}

/// The roles, which must be of one account and have their variables.
fn held<'p>(
    policy: &'p Policy,
    roles: &[String],
    vars: &Vars,
) -> Result<Vec<&'p Arc<Role>>, Unbound> {
    let gone = |name: &String| Unbound::Role(name.clone());
    let found = roles
        .iter()
        .map(|name| policy.roles.get(name).ok_or_else(|| gone(name)));
    let found: Vec<_> = found.collect::<Result<_, _>>()?;
    let first = found.first().ok_or(Unbound::NoRole)?;
    for role in &found {
        if role.account != first.account {
            let (one, other) = (first.account.clone(), role.account.clone());
            return Err(Unbound::Accounts(one, other));
        }
        if let Some(missing) = role.vars.iter().find(|name| !vars.contains_key(*name)) {
            return Err(Unbound::Variable(role.name.clone(), missing.clone()));
        }
    }
    Ok(found)
}

fn ceiling_of<'p>(
    policy: &'p Policy,
    account: &str,
    ceiling: &str,
) -> Result<&'p Arc<Role>, Unbound> {
    let role = policy.roles.get(ceiling);
    let role = role.ok_or_else(|| Unbound::Ceiling(ceiling.to_owned()))?;
    if !role.vars.is_empty() {
        return Err(Unbound::CeilingVariables(ceiling.to_owned()));
    }
    if role.account != account {
        return Err(Unbound::CeilingAccount(ceiling.to_owned()));
    }
    Ok(role)
}

/// What roles hold together with a ceiling. The ceiling's grants stand first, as a request that needs them is theirs.
///
/// # Errors
/// `Unbound` where the ceiling is gone, has variables, or is of another account.
pub fn under(policy: &Policy, alone: &Arc<Grants>, ceiling: &str) -> Result<Grants, Unbound> {
    let role = ceiling_of(policy, &alone.account, ceiling)?;
    let mut grants = bind(policy, std::slice::from_ref(&role.name), &Vars::new())?;
    grants.allow.extend(alone.allow.iter().cloned());
    grants.deny.extend(alone.deny.iter().cloned());
    grants.has_only |= alone.has_only;
    grants.alone = Some(alone.clone());
    Ok(grants)
}
