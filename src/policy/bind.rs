use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::done::TELLING;
use super::matching::{BoundOnly, Side};
use super::pattern::RequestPattern;
use super::{Covers, Grant, OnCreate, Policy, Role};
use crate::catalog::{Kind, Kinds, ScopeSet, TouchRule, TouchVerb};
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

/// A grant with its variables filled in.
#[derive(Clone, Debug)]
pub struct BoundGrant {
    /// Which one: `client.allow[0]`.
    pub place: Arc<str>,
    /// Where it stands: `policy.yaml:14`.
    pub stands: Arc<str>,
    /// What it covers.
    pub covers: BoundCovers,
    /// What it is narrowed to; `None` is not narrowed.
    pub only: Option<BoundOnly>,
    /// The actions that it is limited to.
    pub actions: Option<Vec<String>>,
    /// What it adds to what is created under it.
    pub on_create: Option<Additions>,
    /// The grant as it was written, variables filled in.
    pub written: serde_json::Value,
}

/// Tags and a project for what is created.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Additions {
    /// Tags to put on it.
    pub tags: Vec<String>,
    /// The project to put it in, by id or name.
    pub project: Option<String>,
}

/// What a bound grant covers.
#[derive(Clone, Debug)]
pub enum BoundCovers {
    /// Scopes: the named ones, and all.
    Scopes {
        /// Those that are named.
        named: ScopeSet,
        /// Those and what wildcards stand for.
        all: ScopeSet,
    },
    /// Requests that match one of these.
    Requests(Vec<Arc<RequestPattern>>),
}

impl BoundCovers {
    /// The scopes that it names, if it covers scopes.
    pub fn named(&self) -> Option<&ScopeSet> {
        match self {
            Self::Scopes { named, all: _ } => Some(named),
            Self::Requests(_) => None,
        }
    }

    /// The scopes that it names and those that its wildcards stand for, if it covers scopes.
    pub fn all(&self) -> Option<&ScopeSet> {
        match self {
            Self::Scopes { named: _, all } => Some(all),
            Self::Requests(_) => None,
        }
    }
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
        all.any(|grant| matches!(grant.covers, BoundCovers::Requests(_)))
    }

    /// What they ask about the resources of a kind.
    pub fn asks(&self, kind: &Kind) -> BTreeSet<String> {
        let mut asked = BTreeSet::new();
        for only in self.onlys() {
            only.asks(kind, &mut asked);
            // What others are made of decides over them.
            for (other, attribute, from) in &kind.feeds {
                if only.names_attribute(other.as_str(), attribute) {
                    asked.insert(from.clone());
                }
            }
        }
        if let (Some(also), Some((attribute, _))) = (&kind.also, &kind.also_where)
            && self.onlys().any(|only| only.asks_for_kind(also.as_str()))
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
        let belongs = |rule: &&TouchRule| rule.of.iter().any(|(parent, _)| *parent == kind.name);
        for rule in rules.iter().filter(belongs) {
            let made = rule.kind.one().and_then(|kind| kinds.find(kind.as_str()));
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
            let other = kinds.find(other.as_str());
            if other.is_some_and(|other| self.deny_changes(other, None, kinds)) {
                all.insert(from.clone());
            }
        }
        all
    }

    /// Whether a deny grant that is narrowed could strike a change of some resource of a kind: by the scope that changes one, or
    /// where `asked` is given by what that asks for.
    pub fn deny_changes(&self, kind: &Kind, asked: Option<&Asked<'_>>, kinds: &Kinds) -> bool {
        let requested = |all: &ScopeSet, asked: &Asked<'_>| {
            let endpoint = asked.endpoint.map_or(&[][..], |endpoint| &endpoint.scopes);
            let touched = asked.touched_scopes();
            endpoint.iter().any(|set| all.meets(set)) || touched.iter().any(|it| all.has(*it))
        };
        self.denying().any(|grant| {
            let takes_in = match &grant.covers {
                BoundCovers::Requests(_) => asked.is_some(),
                BoundCovers::Scopes { all, .. } => {
                    let own = kind.changes.is_some_and(|scope| all.has(scope));
                    // What it does decides, which is told by what it touches.
                    own && (grant.actions.is_none() || asked.is_some())
                        || asked.is_some_and(|asked| requested(all, asked))
                }
            };
            let only = grant.only.as_ref();
            takes_in && only.is_some_and(|only| only.reaches(kind.name.as_str(), kinds))
        })
    }

    /// Whether one of them is limited to some actions.
    pub fn limit_actions(&self) -> bool {
        let mut all = self.allowing().chain(self.denying());
        all.any(|grant| grant.actions.is_some())
    }

    /// Whether one of them names this project, by id or name.
    pub fn names_project(&self, called: &str) -> bool {
        self.onlys()
            .flat_map(BoundOnly::projects)
            .any(|project| project.matches(called))
    }

    /// The projects into which they put what is created.
    pub fn added_projects(&self) -> Vec<&str> {
        let additions = self.allowing().filter_map(|grant| grant.on_create.as_ref());
        additions
            .filter_map(|additions| additions.project.as_deref())
            .collect()
    }

    /// The tags that they put on what is created.
    pub fn added_tags(&self) -> Vec<&str> {
        let additions = self.allowing().filter_map(|grant| grant.on_create.as_ref());
        let tags = additions.flat_map(|additions| &additions.tags);
        tags.map(String::as_str).collect()
    }

    /// The `only` of all grants of all sets.
    fn onlys(&self) -> impl Iterator<Item = &BoundOnly> {
        let of_set = |set| Self::allowing(set).chain(Self::denying(set));
        let all = self.sets().flat_map(of_set);
        all.filter_map(|grant| grant.only.as_ref())
    }
}

/// The attributes of a kind whose values before a request tell which action it is: what is given may be what is there.
fn told_by_change(kind: &Kind, asked: &Asked<'_>) -> impl Iterator<Item = String> {
    let rules = asked
        .endpoint
        .map_or(&[][..], |endpoint| endpoint.touches.rules());
    let of_kind = |rule: &&TouchRule| rule.kind.one() == Some(&kind.name);
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
        let bound = bound(grant, &Vars::new(), Side::Allow)?;
        Ok(Arc::new(Grants {
            has_only: bound.only.is_some(),
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
            grants.allow.push(shared(grant, vars, Side::Allow)?);
        }
        for grant in &role.deny {
            grants.deny.push(shared(grant, vars, Side::Deny)?);
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

fn shared(grant: &Grant, vars: &Vars, side: Side) -> Result<Arc<BoundGrant>, Unbound> {
    if let Some(fixed) = grant.fixed.get() {
        return Ok(fixed.clone());
    }
    let bound = Arc::new(bound(grant, vars, side)?);
    if !has_variable(&grant.written) {
        let _ = grant.fixed.set(bound.clone()); // another thread's is as good
    }
    Ok(bound)
}

fn has_variable(written: &serde_json::Value) -> bool {
    use serde_json::Value;
    match written {
        Value::String(text) => text.contains("${"),
        Value::Array(items) => items.iter().any(has_variable),
        Value::Object(members) => members.values().any(has_variable),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn bound(grant: &Grant, vars: &Vars, side: Side) -> Result<BoundGrant, Unbound> {
    let Grant {
        place,
        at: _,
        stands,
        covers,
        only,
        actions,
        on_create,
        written,
        fixed: _,
    } = grant;
    let covers = match covers {
        Covers::Scopes { named, all } => BoundCovers::Scopes {
            named: named.clone(),
            all: all.clone(),
        },
        Covers::Requests(patterns) => {
            let patterns = patterns.iter().map(|pattern| pattern.with(vars));
            BoundCovers::Requests(
                patterns
                    .collect::<Result<_, _>>()
                    .map_err(|_| Unbound::Pattern(place.clone()))?,
            )
        }
    };
    let bound_only = |only| BoundOnly::bind(only, vars, side);
    let only = only.as_ref().map(bound_only).transpose();
    Ok(BoundGrant {
        place: place.as_str().into(),
        stands: stands.clone(),
        covers,
        only: only.map_err(|_| Unbound::Pattern(place.clone()))?,
        actions: actions.clone(),
        on_create: on_create
            .as_ref()
            .map(|additions| additions_of(additions, vars)),
        written: filled(written, vars),
    })
}

fn additions_of(additions: &OnCreate, vars: &Vars) -> Additions {
    let OnCreate { tags, project } = additions;
    let filled = |text: &super::Text| text.fill(vars, str::to_owned);
    Additions {
        tags: tags.iter().map(filled).collect(),
        project: project.as_ref().map(filled),
    }
}

fn filled(written: &serde_json::Value, vars: &Vars) -> serde_json::Value {
    use serde_json::Value;
    match written {
        Value::String(text) => Value::String(filled_text(text, vars)),
        Value::Array(items) => Value::Array(items.iter().map(|item| filled(item, vars)).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), filled(value, vars)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => written.clone(),
    }
}

/// Each `${name}` of a text by its variable's value, read once: a value that holds `${other}` stands for itself.
fn filled_text(text: &str, vars: &Vars) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let named = after.split_once('}');
        let value = named.and_then(|(name, after)| Some((vars.get(name)?, after)));
        if let Some((value, after)) = value {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push_str("${");
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_grant_fills_in_each_variable_once() {
        let vars = Vars::from([
            ("a".to_owned(), "${b}".to_owned()), // taken literally, as everywhere
            ("b".to_owned(), "${a}x".to_owned()),
        ]);
        let cases = [
            ("client-${a}", "client-${b}"),
            ("${b}-${a}", "${a}x-${b}"),
            ("${${a}", "${${b}"),
            ("${other} ${", "${other} ${"),
            ("no variable", "no variable"),
        ];
        for (text, expected) in cases {
            let written = serde_json::json!({ "tag": [text] });
            let expected = serde_json::json!({ "tag": [expected] });
            assert_eq!(filled(&written, &vars), expected, "text {text:?}");
        }
    }
}
