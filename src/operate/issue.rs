use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;

use super::Failed;
use super::shown_token::bound_under;
use crate::catalog::is_plain_text;
use crate::policy::{self, Ceiling, Policy};
use crate::secret::has_token;
use crate::state::{About, Issued};
use crate::token::{Limits, Source, SubToken, SubjectPattern, no_name};
use crate::units::{Rate, Span};

/// A sub-token to be, as it is asked for. What is absent does not limit it.
#[derive(Debug, Default)]
pub(crate) struct NewToken {
    pub(crate) name: String,
    pub(crate) roles: Vec<String>,
    pub(crate) expires: Option<TokenEnd>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) idle: Option<Span>,
    pub(crate) max_uses: Option<u64>,
    pub(crate) sources: Vec<Source>,
    pub(crate) client_cert: Option<SubjectPattern>,
    pub(crate) rate: Option<Rate>,
    pub(crate) vars: Vec<(String, String)>,
    /// A role whose grants it holds too, and how long.
    pub(crate) ceiling: Option<(String, TokenEnd)>,
    pub(crate) description: Option<String>,
    pub(crate) owner: Option<String>,
}

/// An end, from now on or by its time.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TokenEnd {
    In(Span),
    At(Timestamp),
}

impl TokenEnd {
    fn after(self, now: Timestamp) -> Result<Timestamp, Failed> {
        match self {
            Self::In(span) => now.saturating_add(span.duration()).map_err(Failed::because),
            Self::At(time) => Ok(time),
        }
    }
}

impl FromStr for TokenEnd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = text.parse().map(Self::In);
        span.or_else(|_| text.parse().map(Self::At)).map_err(|_| {
            "an end is a span, as `3d`, or a time, as `2027-01-31T00:00:00Z`".to_owned()
        })
    }
}

impl NewToken {
    /// Makes it of roles that the policy has; it is good once it is kept.
    ///
    /// # Errors
    /// Why there can be none like that.
    pub(crate) fn make(
        self,
        policy: &Policy,
        now: Timestamp,
    ) -> Result<(SubToken, Issued), Failed> {
        // As it is kept and listed: to the microsecond.
        let now = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
        self.makes_sense()?;
        let Self {
            name: called,
            roles,
            expires,
            not_before,
            idle,
            max_uses,
            sources,
            client_cert,
            rate,
            vars,
            ceiling,
            description,
            owner,
        } = self;
        let vars = variables(policy, &roles, vars)?;
        let ceiling =
            ceiling.map(|(role, until)| checked_ceiling(policy, (&roles, &vars), role, until, now));
        let ceiling = ceiling.transpose()?;
        let expires_at = expires.map(|end| end.after(now)).transpose()?;
        in_time(not_before, expires_at, now)?;
        is_free(&called, policy)?;
        let limits = Limits {
            sources: (!sources.is_empty()).then_some(sources),
            client_cert,
            not_before,
            expires_at,
            idle,
            max_uses,
            rate,
        };
        let token = SubToken::generate().map_err(|error| {
            Failed::because(format!("the system gives no random bytes: {error}"))
        })?;
        let issued = Issued {
            id: token.id.clone(),
            name: called,
            hash: token.hash(),
            old: None,
            roles: roles.into(),
            vars,
            limits: Arc::new(limits),
            created_at: now,
            ceiling: ceiling.map(Arc::new),
            about: Some(Box::new(About { owner, description })),
            maker: None,
        };
        Ok((token, issued))
    }

    /// What can be told of it by itself.
    fn makes_sense(&self) -> Result<(), Failed> {
        name(&self.name).map_err(|why| Failed::because(format!("the name won't do: {why}")))?;
        for text in [&self.description, &self.owner].into_iter().flatten() {
            plain_text(text).map_err(|why| {
                Failed::because(format!("the owner or description won't do: {why}"))
            })?;
        }
        if self.roles.is_empty() {
            return Err(Failed::because("a sub-token has one role at least"));
        }
        if self.max_uses == Some(0) {
            return Err(Failed::because(
                "a sub-token without a use is of no use; say how many it has, or leave that out",
            ));
        }
        Ok(())
    }
}

/// That no token of the policy file has the name.
fn is_free(name: &str, policy: &Policy) -> Result<(), Failed> {
    if policy.tokens.iter().any(|listed| listed.name == name) {
        return Err(Failed::because(format!(
            "a token of the policy file has the name `{name}` already; choose another"
        )));
    }
    Ok(())
}

/// That it would be good at some time.
fn in_time(
    not_before: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Failed> {
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Failed::because(
            "the expiry has passed already; choose a later one",
        ));
    }
    match (not_before, expires_at) {
        (Some(begins), Some(ends)) if ends <= begins => Err(Failed::because(format!(
            "it would end at {ends:.0}, before it begins at {begins:.0}; choose a later end (`--expires` counts from now on)"
        ))),
        _ => Ok(()),
    }
}

/// A ceiling under which the token can be used, and that ends in time.
fn checked_ceiling(
    policy: &Policy,
    (roles, vars): (&[String], &policy::Vars),
    role: String,
    until: TokenEnd,
    now: Timestamp,
) -> Result<Ceiling, Failed> {
    let until = until.after(now)?;
    if until <= now {
        let why = "the ceiling has ended already; choose a later `--until`, or leave it out";
        return Err(Failed::because(why));
    }
    if let Some(why) = Ceiling::no_end(until, now) {
        return Err(Failed::because(why));
    }
    known_roles(policy, std::slice::from_ref(&role))?;
    let ceiling = Ceiling { role, until };
    bound_under(policy, (roles, vars), Some(&ceiling))
        .map_err(|error| Failed::because(format!("this token could not be used: {error}")))?;
    Ok(ceiling)
}

/// That the policy has the roles.
pub(super) fn known_roles(policy: &Policy, roles: &[String]) -> Result<(), Failed> {
    let Some(role) = roles.iter().find(|role| !policy.roles.contains_key(*role)) else {
        return Ok(());
    };
    let known = policy.roles.keys().map(String::as_str);
    let near = crate::yaml::nearest(role, known.clone()).map_or_else(
        || format!("the policy has {}", known.collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    Err(Failed::because(format!("unknown role `{role}`; {near}")))
}

/// The variables that the roles need, no more and no less.
pub(crate) fn variables(
    policy: &Policy,
    roles: &[String],
    given: Vec<(String, String)>,
) -> Result<policy::Vars, Failed> {
    let mut vars = BTreeMap::new();
    for (name, value) in given {
        if vars.insert(name.clone(), value).is_some() {
            return Err(Failed::because(format!(
                "the variable `{name}` is given twice"
            )));
        }
    }
    known_roles(policy, roles)?;
    let known = |name: &String| {
        roles
            .iter()
            .filter_map(|role| policy.roles.get(role))
            .any(|role| role.vars.contains(name))
    };
    if let Some(extra) = vars.keys().find(|name| !known(name)) {
        return Err(Failed::because(format!(
            "no role of this token has a variable `{extra}`"
        )));
    }
    policy::bind(policy, roles, &vars).map_err(|error| {
        Failed::because(format!(
            "this token could not be used: {error}; give variables by `--var NAME=VALUE`"
        ))
    })?;
    Ok(vars)
}

/// Reads the name of a token.
pub(crate) fn name(text: &str) -> Result<String, String> {
    match no_name(text) {
        Some(why) => Err(why.to_owned()),
        None => Ok(text.to_owned()),
    }
}

/// Reads what lists and records show beside a name.
pub(crate) fn plain_text(text: &str) -> Result<String, String> {
    if !is_plain_text(text) || has_token(text) {
        return Err(
            "it is a text without control characters, spaces at its ends or secrets".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// Reads how many requests a token is good for.
pub(crate) fn uses(text: &str) -> Result<u64, &'static str> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or("it is a whole number of requests, at least 1; leave it out for any number")
}

/// Reads a time.
pub(crate) fn time(text: &str) -> Result<Timestamp, &'static str> {
    let wrong = "it is a time, as `2027-01-31T00:00:00Z`";
    text.parse().map_err(|_| wrong)
}

/// Reads `NAME=VALUE`.
pub(crate) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("a variable is written NAME=VALUE")?;
    if name.is_empty() || value.is_empty() {
        return Err("a variable is written NAME=VALUE, neither of them empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}
