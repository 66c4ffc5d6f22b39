//! What a shell offers where a value belongs: roles, sub-tokens, owners and rules of the configuration at hand, and what the
//! catalogue knows.
//!
//! What can't be read is not offered, and nothing is said of it: whoever presses TAB asked no question. No secret is read here,
//! and no file is made.

use std::collections::BTreeSet;
use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use jiff::Timestamp;

use super::template;
use crate::catalog::{Catalog, Endpoint, KindId, Segment};
use crate::config::{self, Settings};
use crate::operate::{ShownToken, all_shown};
use crate::policy::{Policy, Role};
use crate::rules;
use crate::state;

/// The variable by which a shell asks what to offer.
pub(super) const VARIABLE: &str = "TIDEGATE_COMPLETE";

/// How long a state that is busy is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// The roles of the policy.
pub(super) fn roles() -> ArgValueCandidates {
    ArgValueCandidates::new(|| policy().map(|policy| roles_of(&policy)).unwrap_or_default())
}

/// The roles that `exec` knows: of the policy, or else the built-in ones.
pub(super) fn roles_of_exec() -> ArgValueCandidates {
    ArgValueCandidates::new(|| match policy() {
        Some(policy) => roles_of(&policy),
        None => template_names(),
    })
}

/// The variables of the policy's roles, to be given a value.
pub(super) fn variables() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let policy = policy();
        let roles = policy.iter().flat_map(|policy| policy.roles.values());
        let names = roles.flat_map(|role| &role.vars);
        sorted(names.map(|name| format!("{name}=")))
    })
}

/// The sub-tokens, by name.
pub(super) fn tokens() -> ArgValueCandidates {
    ArgValueCandidates::new(|| all_tokens().iter().map(token).collect())
}

/// The sub-tokens that have not ended, by name.
pub(super) fn living_tokens() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let now = Timestamp::now();
        let all = all_tokens();
        let living = all.iter().filter(|token| token.fate(now).lives());
        living.map(token).collect()
    })
}

/// Who has sub-tokens.
pub(super) fn owners() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let all = all_tokens();
        sorted(all.iter().filter_map(|token| token.owner.clone()))
    })
}

/// The rules of `trust`.
pub(super) fn rules_of_trust() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let policy = policy();
        let rules = policy.iter().flat_map(|policy| &policy.trust);
        sorted(rules.map(|rule| rule.name.clone()))
    })
}

/// The scopes.
pub(super) fn scopes() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let catalog = Catalog::builtin().ok();
        let scopes = catalog.iter().flat_map(|catalog| catalog.scopes().iter());
        sorted(scopes.map(ToString::to_string))
    })
}

/// The actions that endpoints name.
pub(super) fn actions() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let catalog = Catalog::builtin().ok();
        let actions = catalog.iter().flat_map(Catalog::actions);
        sorted(actions.map(str::to_owned))
    })
}

/// The kinds of resource.
pub(super) fn kinds() -> ArgValueCandidates {
    ArgValueCandidates::new(|| sorted(KindId::names().map(str::to_owned)))
}

/// The ready roles.
pub(super) fn templates() -> ArgValueCandidates {
    ArgValueCandidates::new(template_names)
}

/// The methods that the API has.
pub(super) fn methods() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
        methods.into_iter().map(CompletionCandidate::new).collect()
    })
}

/// The paths of the API, segment by segment: what a parameter stands for only the caller knows.
pub(super) fn paths() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let (Some(text), Ok(catalog)) = (current.to_str(), Catalog::builtin()) else {
            return Vec::new();
        };
        let goes_on = catalog.endpoints().iter().filter_map(|it| next(it, text));
        sorted(goes_on)
    })
}

/// How a path that was begun goes on towards an endpoint: by one fixed segment.
fn next(endpoint: &Endpoint, begun: &str) -> Option<String> {
    let (before, word) = begun.rsplit_once('/').unwrap_or(("", begun));
    let mut segments = endpoint.template.segments.iter();
    for typed in before.split('/').skip(1) {
        match segments.next()? {
            Segment::Fixed(text) if text != typed => return None,
            Segment::Parameter { .. } if typed.is_empty() => return None,
            Segment::Fixed(_) | Segment::Parameter { .. } => {}
        }
    }
    let Segment::Fixed(text) = segments.next()? else {
        return None;
    };
    let ends = segments.next().is_none();
    let slash = if ends { "" } else { "/" };
    text.starts_with(word)
        .then(|| format!("{before}/{text}{slash}"))
}

fn roles_of(policy: &Policy) -> Vec<CompletionCandidate> {
    let candidate = |role: &Arc<Role>| {
        let what = role.description.clone();
        CompletionCandidate::new(&role.name).help(what.map(Into::into))
    };
    policy.roles.values().map(candidate).collect()
}

fn template_names() -> Vec<CompletionCandidate> {
    let names = template::all().map(|(name, _)| name);
    names.map(CompletionCandidate::new).collect()
}

fn token(token: &ShownToken) -> CompletionCandidate {
    let what = format!(
        "{} {}",
        token.state(Timestamp::now()),
        token.roles.join(",")
    );
    CompletionCandidate::new(&token.name).help(Some(what.into()))
}

fn sorted(all: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    let all: BTreeSet<String> = all.collect();
    all.into_iter().map(CompletionCandidate::new).collect()
}

/// All that the state and the policy have.
fn all_tokens() -> Vec<ShownToken> {
    let Some(settings) = settings() else {
        return Vec::new();
    };
    let is_there = settings.state.exists(); // to look makes none
    let state = is_there.then(|| state::open(&settings.state, PATIENCE));
    let state = state.and_then(Result::ok);
    let listed = state.as_deref().and_then(|state| state.list().ok());
    let listed = listed.unwrap_or_default();
    let policy = policy();
    let all = all_shown(listed, state.as_deref(), policy.as_ref(), Timestamp::now());
    all.unwrap_or_default()
}

fn settings() -> Option<Settings> {
    let path = given("--config")
        .or_else(|| env::var_os("TIDEGATE_CONFIG"))
        .unwrap_or_else(|| config::DEFAULT_PATH.into());
    rules::settings(&PathBuf::from(path)).ok()
}

/// The policy that the words so far name, or else the configuration's.
fn policy() -> Option<Policy> {
    if let Some(path) = given("--policy") {
        let catalog = rules::catalog(None).ok()?;
        return rules::policy_alone(&PathBuf::from(path), &catalog).ok();
    }
    let settings = settings()?;
    let catalog = rules::catalog(settings.extra_catalog.as_deref()).ok()?;
    rules::policy(&settings, &catalog).ok()
}

/// The value of an option among the words so far, which stand behind the first `--`.
fn given(option: &str) -> Option<OsString> {
    let words = env::args_os().skip_while(|word| word != "--").skip(1);
    let mut words = words.take_while(|word| word != "--");
    while let Some(word) = words.next() {
        if word == option {
            return words.next();
        }
        let text = word.to_str().unwrap_or_default();
        if let Some(value) = text
            .strip_prefix(option)
            .and_then(|it| it.strip_prefix('='))
        {
            return Some(value.into());
        }
    }
    None
}
