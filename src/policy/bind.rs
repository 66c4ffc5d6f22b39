use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::pattern::RequestPattern;
use super::{Covers, Grant, Policy, Role};
use crate::catalog::ScopeSet;

/// The values of a token's variables, by name.
pub type Vars = BTreeMap<String, String>;

/// What one token holds: the grants of all its roles, its variables filled in.
#[derive(Debug)]
pub struct Grants {
    /// What is allowed, in the order of its roles.
    pub allow: Vec<BoundGrant>,
    /// What is forbidden.
    pub deny: Vec<BoundGrant>,
    /// The account whose real token goes in.
    pub account: String,
}

/// A grant with its variables filled in.
#[derive(Debug)]
pub struct BoundGrant {
    /// Which one: `client.allow[0]`.
    pub place: String,
    /// What it covers.
    pub covers: BoundCovers,
    /// Whether it is narrowed to some resources.
    pub narrowed: bool,
    /// The actions that it is limited to.
    pub actions: Option<Vec<String>>,
    /// Whether it adds something to what is created under it.
    pub adds_on_create: bool,
    /// The grant as it was written, variables filled in.
    pub written: serde_json::Value,
}

/// What a bound grant covers.
#[derive(Debug)]
pub enum BoundCovers {
    /// Scopes: the named ones, and all.
    Scopes {
        /// Those that are named.
        named: ScopeSet,
        /// Those and what wildcards stand for.
        all: ScopeSet,
    },
    /// Requests that match one of these.
    Requests(Vec<RequestPattern>),
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
        }
    }
}

/// Binds roles and variables to what they grant under a policy.
///
/// # Errors
/// `Unbound`.
pub fn bind(policy: &Policy, roles: &[String], vars: &Vars) -> Result<Grants, Unbound> {
    let found: Vec<&Arc<Role>> = roles
        .iter()
        .map(|name| {
            policy
                .roles
                .get(name)
                .ok_or_else(|| Unbound::Role(name.clone()))
        })
        .collect::<Result<_, _>>()?;
    let first = found.first().ok_or(Unbound::NoRole)?;
    let mut grants = Grants {
        allow: Vec::new(),
        deny: Vec::new(),
        account: first.account.clone(),
    };
    for role in &found {
        if role.account != first.account {
            return Err(Unbound::Accounts(
                first.account.clone(),
                role.account.clone(),
            ));
        }
        if let Some(missing) = role.vars.iter().find(|name| !vars.contains_key(*name)) {
            return Err(Unbound::Variable(role.name.clone(), missing.clone()));
        }
        for grant in &role.allow {
            grants.allow.push(bound(grant, vars)?);
        }
        for grant in &role.deny {
            grants.deny.push(bound(grant, vars)?);
        }
    }
    Ok(grants)
}

fn bound(grant: &Grant, vars: &Vars) -> Result<BoundGrant, Unbound> {
    let Grant {
        place,
        at: _,
        covers,
        only,
        actions,
        on_create,
        written,
    } = grant;
    let covers = match covers {
        Covers::Scopes { named, all } => BoundCovers::Scopes {
            named: named.clone(),
            all: all.clone(),
        },
        Covers::Requests(patterns) => {
            let patterns = patterns
                .iter()
                .map(|pattern| RequestPattern::new(&pattern.fill(vars, regex::escape)));
            BoundCovers::Requests(
                patterns
                    .collect::<Result<_, _>>()
                    .map_err(|_| Unbound::Pattern(place.clone()))?,
            )
        }
    };
    Ok(BoundGrant {
        place: place.clone(),
        covers,
        narrowed: only.is_some(),
        actions: actions.clone(),
        adds_on_create: on_create.is_some(),
        written: filled(written, vars),
    })
}

fn filled(written: &serde_json::Value, vars: &Vars) -> serde_json::Value {
    use serde_json::Value;
    match written {
        Value::String(text) => {
            Value::String(vars.iter().fold(text.clone(), |text, (name, value)| {
                text.replace(&format!("${{{name}}}"), value)
            }))
        }
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
