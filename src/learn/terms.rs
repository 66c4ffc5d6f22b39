//! What differs between two policies beside what their grants allow: who gets tokens, on which terms, and what roles give at the
//! console and hand on.
//!
//! Each term is told by itself, and as newly allowed only where it lets more: a later end, another source, a claim that is not asked
//! any more. Where that can't be told, it counts as more.

use std::collections::BTreeMap;

use super::PolicyDifference;
use super::diff::line;
use crate::policy::{
    Ceiling, ClaimPattern, Delegate, FileToken, Operator, PatternForm, Policy, Role, Trust,
};
use crate::token::{Limits, Source};

/// How a term is after a change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum TermChange {
    Same,
    More,
    Less,
    Both,
}

impl TermChange {
    fn of(more: bool, less: bool) -> Self {
        match (more, less) {
            (false, false) => Self::Same,
            (true, false) => Self::More,
            (false, true) => Self::Less,
            (true, true) => Self::Both,
        }
    }

    /// Of something that allows more the larger it is.
    fn grown<T: PartialOrd>(old: &T, new: &T) -> Self {
        Self::of(new > old, new < old)
    }

    /// Of a bound that may be absent: without one there is none.
    fn bound<T: Ord>(old: Option<T>, new: Option<T>) -> Self {
        match (old, new) {
            (None, None) => Self::Same,
            (Some(_), None) => Self::More,
            (None, Some(_)) => Self::Less,
            (Some(old), Some(new)) => Self::grown(&old, &new),
        }
    }

    /// Of sets of which each member lets more.
    fn of_lists<T: PartialEq>(old: &[T], new: &[T]) -> Self {
        Self::of(
            new.iter().any(|it| !old.contains(it)),
            old.iter().any(|it| !new.contains(it)),
        )
    }

    /// Of what can't be weighed.
    fn any<T: PartialEq>(old: &T, new: &T) -> Self {
        Self::of(old != new, old != new)
    }
}

/// One term of something, as it was and as it is.
struct Term {
    name: &'static str,
    change: TermChange,
    old: String,
    new: String,
}

impl Term {
    fn new(name: &'static str, change: TermChange, [old, new]: [String; 2]) -> Self {
        Self {
            name,
            change,
            old,
            new,
        }
    }

    /// A line for what it lets more, and one for what it lets less.
    fn lines(self, what: &str, of: &str, found: &mut Vec<PolicyDifference>) {
        let told = format!("{} {} instead of {}", self.name, self.new, self.old);
        if matches!(self.change, TermChange::Less | TermChange::Both) {
            found.push(line(what, false, of, told.clone()));
        }
        if matches!(self.change, TermChange::More | TermChange::Both) {
            found.push(line(what, true, of, told));
        }
    }
}

fn optional<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<_> = items.iter().map(ToString::to_string).collect();
    format!("[{}]", items.join(", "))
}

/// Lines about a role beside its grants.
pub(super) fn of_role(
    name: &str,
    before: Option<&Role>,
    after: Option<&Role>,
    found: &mut Vec<PolicyDifference>,
) {
    if let (Some(old), Some(new)) = (before, after) {
        let accounts = [old.account.clone(), new.account.clone()];
        let account = TermChange::any(&old.account, &new.account);
        Term::new("account", account, accounts).lines_of_role(name, found);
        let vars = TermChange::any(&old.vars, &new.vars);
        Term::new("vars", vars, [list(&old.vars), list(&new.vars)]).lines_of_role(name, found);
    }
    let [old, new] = [before, after].map(|role| role.and_then(|role| role.operator.as_ref()));
    let told = [old, new].map(|it| it.map_or_else(|| "nothing".to_owned(), told_operator));
    Term::new("operator", operator(old, new), told).lines_of_role(name, found);
    let [old, new] = [before, after].map(|role| role.and_then(|role| role.delegate));
    let told = [old, new].map(|it| {
        it.map_or_else(
            || "nothing".to_owned(),
            |Delegate { ttl, count }| format!("{{ ttl: {ttl}, count: {count} }}"),
        )
    });
    let change = match (old, new) {
        (None, None) => TermChange::Same,
        (None, Some(_)) => TermChange::More,
        (Some(_), None) => TermChange::Less,
        (Some(old), Some(new)) => TermChange::of(
            new.ttl > old.ttl || new.count > old.count,
            new.ttl < old.ttl || new.count < old.count,
        ),
    };
    Term::new("delegate", change, told).lines_of_role(name, found);
}

impl Term {
    /// Where the name of the term itself stands for the operation.
    fn lines_of_role(self, role: &str, found: &mut Vec<PolicyDifference>) {
        let told = format!("{} instead of {}", self.new, self.old);
        if matches!(self.change, TermChange::Less | TermChange::Both) && !self.is_weighed_as_more()
        {
            found.push(line(role, false, self.name, told.clone()));
        }
        if matches!(self.change, TermChange::More | TermChange::Both) {
            found.push(line(role, true, self.name, told));
        }
    }

    /// Another account, and other variables, are one difference.
    fn is_weighed_as_more(&self) -> bool {
        matches!(self.name, "account" | "vars")
    }
}

fn told_operator(Operator { right, issues }: &Operator) -> String {
    let issues: Vec<_> = issues.iter().collect();
    if issues.is_empty() {
        right.to_string()
    } else {
        format!("{right} of {}", list(&issues))
    }
}

fn operator(old: Option<&Operator>, new: Option<&Operator>) -> TermChange {
    match (old, new) {
        (None, None) => TermChange::Same,
        (None, Some(_)) => TermChange::More,
        (Some(_), None) => TermChange::Less,
        (Some(old), Some(new)) => TermChange::of(
            new.right > old.right || !new.issues.is_subset(&old.issues),
            new.right < old.right || !old.issues.is_subset(&new.issues),
        ),
    }
}

/// Lines about the tokens that the files list.
pub(super) fn of_tokens(old: &Policy, new: &Policy, found: &mut Vec<PolicyDifference>) {
    let by_id = |policy: &Policy| -> BTreeMap<String, _> {
        let tokens = policy.tokens.iter();
        tokens
            .map(|token| (token.id.to_string(), token.clone()))
            .collect()
    };
    let (old, new) = (by_id(old), by_id(new));
    for (id, token) in old.iter().filter(|(id, _)| !new.contains_key(*id)) {
        found.push(line("token", false, &token.name, in_short(id, token)));
    }
    for (id, token) in &new {
        match old.get(id) {
            None => found.push(line("token", true, &token.name, in_short(id, token))),
            Some(before) => {
                let terms = token_terms(before, token);
                let terms = terms.into_iter();
                terms.for_each(|term| term.lines("token", &token.name, found));
            }
        }
    }
}

fn in_short(id: &str, token: &FileToken) -> String {
    let ceiling = told_ceiling(token.ceiling.as_deref());
    format!("{id} roles {} ceiling {ceiling}", list(&token.roles))
}

fn told_ceiling(ceiling: Option<&Ceiling>) -> String {
    ceiling.map_or_else(
        || "none".to_owned(),
        |Ceiling { role, until }| format!("{role} until {until}"),
    )
}

fn ceiling(old: Option<&Ceiling>, new: Option<&Ceiling>) -> TermChange {
    match (old, new) {
        (None, None) => TermChange::Same,
        (None, Some(_)) => TermChange::More,
        (Some(_), None) => TermChange::Less,
        (Some(old), Some(new)) if old.role == new.role => TermChange::grown(&old.until, &new.until),
        (Some(_), Some(_)) => TermChange::Both,
    }
}

fn token_terms(old: &FileToken, new: &FileToken) -> Vec<Term> {
    let FileToken {
        name,
        id: _,
        hash,
        roles,
        vars,
        limits,
        owner: _,
        description: _,
        ceiling: under,
        at: _,
    } = new;
    let hashes = [&old.hash, hash].map(|hash| hash.to_hex());
    let secret = TermChange::any(&hashes[0], &hashes[1]);
    let hashes = hashes.map(|hash| hash.get(..8).unwrap_or_default().to_owned());
    let mut terms = vec![
        Term::new(
            "name",
            TermChange::any(&old.name, name),
            [old.name.clone(), name.clone()],
        ),
        Term::new("hash", secret, hashes),
        Term::new(
            "roles",
            TermChange::of_lists(&old.roles, roles),
            [list(&old.roles), list(roles)],
        ),
        Term::new(
            "vars",
            TermChange::any(&old.vars, vars),
            [format!("{:?}", old.vars), format!("{vars:?}")],
        ),
        Term::new(
            "ceiling",
            ceiling(old.ceiling.as_deref(), under.as_deref()),
            [old.ceiling.as_deref(), under.as_deref()].map(told_ceiling),
        ),
    ];
    terms.extend(limit_terms(&old.limits, limits));
    terms
}

fn limit_terms(old: &Limits, new: &Limits) -> Vec<Term> {
    let Limits {
        sources,
        client_cert,
        not_before,
        expires_at,
        idle,
        max_uses,
        rate,
    } = new;
    let told_sources = |sources: &Option<Vec<Source>>| {
        sources
            .as_ref()
            .map_or_else(|| "anywhere".to_owned(), |sources| list(sources))
    };
    let begins = match TermChange::grown(&old.not_before, not_before) {
        TermChange::More => TermChange::Less, // later
        TermChange::Less => TermChange::More,
        same => same,
    };
    vec![
        Term::new(
            "sources",
            from(old.sources.as_deref(), sources.as_deref()),
            [told_sources(&old.sources), told_sources(sources)],
        ),
        restriction(
            "client_cert",
            [old.client_cert.as_ref(), client_cert.as_ref()],
        ),
        Term::new(
            "not_before",
            begins,
            [&old.not_before, not_before].map(|it| optional(it.as_ref())),
        ),
        Term::new(
            "expires_at",
            TermChange::bound(old.expires_at, *expires_at),
            [&old.expires_at, expires_at].map(|it| optional(it.as_ref())),
        ),
        Term::new(
            "idle",
            TermChange::bound(old.idle, *idle),
            [&old.idle, idle].map(|it| optional(it.as_ref())),
        ),
        Term::new(
            "max_uses",
            TermChange::bound(old.max_uses, *max_uses),
            [&old.max_uses, max_uses].map(|it| optional(it.as_ref())),
        ),
        restriction("rate", [old.rate.as_ref(), rate.as_ref()]),
    ]
}

/// A limit that lets more through where there is none, and of which it can't be told which of two lets more through.
fn restriction<T: ToString>(name: &'static str, sides: [Option<&T>; 2]) -> Term {
    let told = sides.map(|side| optional(side));
    let change = match sides {
        [None, Some(_)] => TermChange::Less,
        [Some(_), None] => TermChange::More,
        [None, None] | [Some(_), Some(_)] => TermChange::any(&told[0], &told[1]),
    };
    Term::new(name, change, told)
}

/// From where: a source lets more if it lies in none that there was.
fn from(old: Option<&[Source]>, new: Option<&[Source]>) -> TermChange {
    let lies_in = |source: &Source, sources: &[Source]| {
        sources.iter().any(|other| match (source, other) {
            (Source::Unix, Source::Unix) => true,
            (Source::Net(net), Source::Net(other)) => other.contains(net),
            (Source::Unix, Source::Net(_)) | (Source::Net(_), Source::Unix) => false,
        })
    };
    match (old, new) {
        (None, None) => TermChange::Same,
        (None, Some(_)) => TermChange::Less,
        (Some(_), None) => TermChange::More,
        (Some(old), Some(new)) => TermChange::of(
            new.iter().any(|source| !lies_in(source, old)),
            old.iter().any(|source| !lies_in(source, new)),
        ),
    }
}

/// Lines about the rules of `trust`.
pub(super) fn of_trust(old: &Policy, new: &Policy, found: &mut Vec<PolicyDifference>) {
    let named = |policy: &'_ Policy, name: &str| -> Option<usize> {
        policy.trust.iter().position(|rule| rule.name == name)
    };
    for rule in &old.trust {
        if named(new, &rule.name).is_none() {
            found.push(line("trust", false, &rule.name, rule_in_short(rule)));
        }
    }
    for (at, rule) in new.trust.iter().enumerate() {
        let before = named(old, &rule.name).and_then(|at| Some((at, old.trust.get(at)?)));
        let Some((was_at, before)) = before else {
            found.push(line("trust", true, &rule.name, rule_in_short(rule)));
            continue;
        };
        let terms = trust_terms(before, rule).into_iter();
        terms.for_each(|term| term.lines("trust", &rule.name, found));
        // The first rule that matches counts: what an earlier one took may come to this one now.
        let took = |earlier: &&Trust| {
            let is_before = new.trust.iter().take(at);
            earlier.issuer == rule.issuer
                && !is_before.into_iter().any(|it| same_identities(it, earlier))
        };
        let earlier = old.trust.iter().take(was_at).filter(took);
        found.extend(earlier.map(|earlier| {
            let told = format!("what `{}` took before may come to it", earlier.name);
            line("trust", true, &rule.name, told)
        }));
    }
}

fn same_identities(one: &Trust, other: &Trust) -> bool {
    one.issuer == other.issuer
        && told_claims(one) == told_claims(other)
        && one.limits.sources == other.limits.sources
}

fn rule_in_short(rule: &Trust) -> String {
    let claims: Vec<_> = told_claims(rule).into_iter().collect();
    let claims: Vec<_> = claims
        .iter()
        .map(|(key, values)| format!("{key}: {}", list(values)))
        .collect();
    format!(
        "issuer {} claims {{ {} }} roles {} ttl {}",
        rule.issuer,
        claims.join(", "),
        list(&rule.roles),
        rule.ttl
    )
}

fn told_claims(rule: &Trust) -> BTreeMap<String, Vec<String>> {
    let tell = |pattern: &ClaimPattern| match &pattern.written {
        PatternForm::Exact(text) => format!("{text:?}"),
        PatternForm::Glob(text) => format!("{text:?} (glob)"),
        PatternForm::Regex(text) => format!("{text:?} (regex)"),
    };
    let claims = rule.claims.iter();
    claims
        .map(|(key, patterns)| (key.to_string(), patterns.iter().map(tell).collect()))
        .collect()
}

fn trust_terms(old: &Trust, new: &Trust) -> Vec<Term> {
    let Trust {
        name: _,
        at: _,
        issuer,
        issuer_at: _,
        claims: _,
        roles,
        vars,
        used: _,
        ceiling,
        ttl,
        limits,
    } = new;
    let told_vars = |vars: &[(String, crate::policy::Text)]| format!("{vars:?}");
    let [old_claims, new_claims] = [old, new].map(told_claims);
    let told = [&old_claims, &new_claims].map(|claims| format!("{claims:?}"));
    let mut terms = vec![
        Term::new(
            "issuer",
            TermChange::any(&old.issuer, issuer),
            [old.issuer.clone(), issuer.clone()],
        ),
        Term::new("claims", claims(&old_claims, &new_claims), told),
        Term::new(
            "roles",
            TermChange::of_lists(&old.roles, roles),
            [list(&old.roles), list(roles)],
        ),
        Term::new(
            "vars",
            TermChange::any(&told_vars(&old.vars), &told_vars(vars)),
            [told_vars(&old.vars), told_vars(vars)],
        ),
        Term::new(
            "ceiling",
            match (&old.ceiling, ceiling) {
                (None, Some(_)) => TermChange::More,
                (Some(_), None) => TermChange::Less,
                (old, new) => TermChange::any(old, new),
            },
            [&old.ceiling, ceiling].map(|it| optional(it.as_ref())),
        ),
        Term::new(
            "ttl",
            TermChange::grown(&old.ttl, ttl),
            [old.ttl.to_string(), ttl.to_string()],
        ),
    ];
    terms.extend(limit_terms(&old.limits, limits));
    terms
}

/// A claim that is not asked any more lets more, and so does another value that one may have.
fn claims(old: &BTreeMap<String, Vec<String>>, new: &BTreeMap<String, Vec<String>>) -> TermChange {
    let wider = |old: &BTreeMap<String, Vec<String>>, new: &BTreeMap<String, Vec<String>>| {
        old.iter().any(|(key, before)| match new.get(key) {
            None => true,
            Some(after) => after.iter().any(|value| !before.contains(value)),
        })
    };
    TermChange::of(wider(old, new), wider(new, old))
}
