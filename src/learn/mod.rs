//! From what was let through to the least role that lets it through again.
//!
//! A record tells of each request which endpoint it was, by which scopes it went and what it touched. [`suggest`] makes a role of
//! that, narrows it as far as what was touched has something in common, rebuilds each request as a test of the policy and judges
//! it by that role, with the daemon's own decision. Where a narrowed grant refuses one of them it is widened again: a role that
//! would break what has run is no suggestion.

mod diff;
#[cfg(test)]
mod protected;
mod rebuilt_request;
mod role;
mod samples;
mod terms;
mod trail;
mod unused;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::catalog::{Catalog, KindId, Scope};
use crate::policy::{Policy, judge_test, read_alone};
pub use diff::{PolicyDifference, differences};
use role::{Narrowing, Needs, ThereAre};
use trail::{SeenRequest, Trail};
pub use unused::{Holder, Unused, unused};

/// By what a role is narrowed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum NarrowBy {
    /// The narrowest that fits: ids of up to three things, a common tag, a common beginning of their names, a common project.
    #[default]
    Auto,
    /// Ids.
    Id,
    /// A common beginning of their names.
    Name,
    /// A common tag.
    Tag,
    /// A common project.
    Project,
    /// Nothing.
    None,
}

/// What is asked for.
pub struct Options<'o> {
    /// What the role is to be called.
    pub name: String,
    /// By what it is narrowed.
    pub by: NarrowBy,
    /// A policy and a role of it: only what that lacks is suggested.
    pub extends: Option<(&'o Policy, String)>,
    /// What else is known of resources: name, tags and project.
    pub look_ups: Option<&'o LookUps<'o>>,
}

/// Looks resources up.
pub struct LookUps<'l> {
    /// One, by its kind and what it is called.
    pub one: &'l dyn Fn(KindId, &str) -> Option<ResourceFacts>,
    /// All that there are of a kind.
    pub all: &'l dyn Fn(KindId) -> Option<Vec<ResourceFacts>>,
}

/// What is known of a resource.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct ResourceFacts {
    /// Its name.
    pub name: Option<String>,
    /// The tags that it carries.
    pub tags: Vec<String>,
    /// Its project.
    pub project: Option<String>,
}

/// A role, and how it was tried.
#[derive(Debug)]
pub struct Suggested {
    /// The policy: `version`, the role, and its tests.
    pub yaml: String,
    /// How many requests of the record the role lets through, and `extends` with it.
    pub allowed: u64,
    /// How many there are.
    pub total: u64,
    /// Those that it does not, each with why and how often it was sent.
    pub failing: Vec<(String, String, u64)>,
    /// What was refused at the time, by request and reason, with how often.
    pub refused: BTreeMap<String, u64>,
    /// How many lines were no records.
    pub unreadable: u64,
}

/// Makes a role of what was let through.
///
/// # Errors
/// Why there is none: nothing was let through, or what was made can't be read.
pub fn suggest(
    records: impl Iterator<Item = Value>,
    options: &Options<'_>,
    catalog: &Catalog,
) -> Result<Suggested, String> {
    let mut trail = Trail::of(records);
    if trail.seen.is_empty() {
        return Err(
            "the record has no request that was let through; run what the role is for first"
                .to_owned(),
        );
    }
    if let Some(look_ups) = options.look_ups {
        // Few things are told by their ids, and nothing has to be looked up for that.
        let many = trail.kinds_of_more_than(role::MOST_IDS);
        let wanted = |kind: KindId| options.by != NarrowBy::Auto || many.contains(&kind);
        trail.complete(wanted, look_ups.one);
    }
    let total = trail.seen.iter().map(|seen| seen.count).sum();
    let lacking: Vec<&SeenRequest> = trail
        .seen
        .iter()
        .filter(|seen| !extended_allows(options, seen, catalog))
        .collect();
    let (text, failing) = narrowest(&lacking, options, catalog)?;
    let yaml = with_tests(text, &lacking, &failing, &options.name, catalog);
    read(&yaml, catalog)?;
    let missed: u64 = failing.iter().map(|(seen, _)| seen.count).sum();
    Ok(Suggested {
        yaml,
        allowed: total - missed,
        total,
        failing: failing
            .into_iter()
            .map(|(seen, why)| (seen.line(), why, seen.count))
            .collect(),
        refused: trail.refused,
        unreadable: trail.unreadable,
    })
}

/// The narrowest policy that lets the requests through, and those that none does, each with why.
fn narrowest(
    lacking: &[&SeenRequest],
    options: &Options<'_>,
    catalog: &Catalog,
) -> Result<(String, Vec<(SeenRequest, String)>), String> {
    let mut narrowing = Narrowing::new(options.by);
    let there_are = ThereAre::new(options.look_ups);
    loop {
        let mut needs = Needs::of(lacking, &narrowing, catalog);
        let text = needs.written(&options.name, &narrowing, &there_are, catalog);
        let policy = read(&text, catalog)?;
        let mut failing = Vec::new();
        let mut widened = false;
        for seen in lacking {
            let rebuilt = rebuilt_request::test(seen, &options.name, catalog);
            match judge_test(&rebuilt, &policy, catalog) {
                Ok(Ok(_)) => {}
                Ok(Err(refusal)) => {
                    widened |= narrowing.widen(seen, &refusal.needs, catalog);
                    failing.push(((*seen).clone(), refusal.to_string()));
                }
                Err(why) => failing.push(((*seen).clone(), why)),
            }
        }
        if !widened {
            return Ok((text, failing));
        }
    }
}

fn read(text: &str, catalog: &Catalog) -> Result<Policy, String> {
    read_alone("suggested", text, catalog).map_err(|mistakes| {
        format!(
            "what was made of the record is no policy: {}",
            mistakes.into_lines().join("; ")
        )
    })
}

fn extended_allows(options: &Options<'_>, seen: &SeenRequest, catalog: &Catalog) -> bool {
    options.extends.as_ref().is_some_and(|(policy, role)| {
        let test = rebuilt_request::test(seen, role, catalog);
        matches!(judge_test(&test, policy, catalog), Ok(Ok(_)))
    })
}

/// As many requests are printed as tests.
const MOST_TESTS: usize = 500;

fn with_tests(
    mut text: String,
    lacking: &[&SeenRequest],
    failing: &[(SeenRequest, String)],
    role: &str,
    catalog: &Catalog,
) -> String {
    let failing: BTreeSet<String> = failing.iter().map(|(seen, _)| seen.key()).collect();
    let good = lacking.iter().filter(|seen| !failing.contains(&seen.key()));
    let tests: Vec<_> = good.take(MOST_TESTS).collect();
    if !tests.is_empty() {
        text.push_str("\ntests:\n");
        for seen in tests {
            let _ = writeln!(
                text,
                "  - {}",
                rebuilt_request::written(seen, role, catalog)
            );
        }
    }
    text
}

/// A scope as a policy writes it: quoted where YAML would read it otherwise.
fn scope_list<'s>(scopes: impl Iterator<Item = &'s Scope>) -> String {
    scopes.map(Scope::as_str).collect::<Vec<_>>().join(", ")
}
