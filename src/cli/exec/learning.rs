//! `--learn`: all that the real token may is let through, and what it came to is told as a role.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::summary::lines_of;
use super::{Failed, say};
use crate::audit::Kept;
use crate::catalog::{Catalog, Scope};
use crate::cli::suggest::with_look_ups;
use crate::learn::{NarrowBy, Options, suggest};
use crate::policy::{self, Policy, Role};
use crate::rules::Rules;
use crate::yaml::Mistakes;

/// The role that lets everything through, beside those of the run.
pub(super) const CEILING: &str = "exec-learns";
/// The role of who names none.
pub(super) const NOTHING: &str = "exec-learns-all";
/// What a role that was learned is called.
const LEARNED: &str = "learned";

/// Adds what a run needs to learn to the roles that it has: a role that lets everything through, and where it has none, one that
/// lets nothing through.
///
/// # Errors
/// Mistakes, which there are none of.
pub(super) fn prepare(
    roles: &mut BTreeMap<String, Arc<Role>>,
    account: &str,
    catalog: &Catalog,
) -> Result<(), Failed> {
    let text = everything(account, catalog);
    let read = policy::read_alone("--learn", &text, catalog);
    let read = read.map_err(|mistakes| Failed(Mistakes::into_lines(mistakes)))?;
    let has_one = !roles.is_empty();
    let added = read.roles.into_iter();
    roles.extend(added.filter(|(name, _)| !has_one || name == CEILING));
    Ok(())
}

/// Every scope by name, as no wildcard covers what is sensitive; and what the catalogue does not know. Beside it the role of who has
/// none, whose only pattern matches nothing that the API has.
fn everything(account: &str, catalog: &Catalog) -> String {
    let scopes: Vec<_> = catalog.scopes().iter().map(Scope::as_str).collect();
    let scopes = serde_json::json!(scopes);
    let requests = serde_json::json!(["[A-Z]+ /.*", r"[A-Z]+ /.*\?.*"]);
    let account = serde_json::json!(account);
    format!(
        "version: 1\nroles:\n  {CEILING}:\n    account: {account}\n    allow:\n      - scopes: {scopes}\n      - requests: {requests}\n  {NOTHING}:\n    account: {account}\n    allow:\n      - requests: [GET /nothing]\n"
    )
}

/// Says what it came to: to a file, or on standard error.
///
/// # Errors
/// If the file can't be written.
pub(super) fn tell(
    record: &Kept,
    extends: Option<(&Policy, String)>,
    out: Option<&Path>,
    rules: &Rules,
) -> Result<(), Failed> {
    let catalog = rules.catalog.as_ref();
    // What many things have in common the API may tell yet, where they are still there.
    let suggested = with_look_ups(rules, catalog, NarrowBy::Auto, |look_ups| {
        let options = Options {
            name: LEARNED.to_owned(),
            by: NarrowBy::Auto,
            extends,
            look_ups,
        };
        Ok(suggest(lines_of(record), &options, catalog))
    })?;
    let suggested = match suggested {
        Ok(suggested) => suggested,
        Err(why) => {
            say(format!("tidegate exec: no role was learned: {why}"));
            return Ok(());
        }
    };
    say(format!(
        "tidegate exec: {} of {} requests allowed by the role that was learned",
        suggested.allowed, suggested.total
    ));
    for (request, why, count) in &suggested.failing {
        say(format!("  not {request} ({count} times): {why}"));
    }
    let Some(path) = out else {
        say(suggested.yaml.trim_end());
        return Ok(());
    };
    std::fs::write(path, &suggested.yaml).map_err(|error| {
        Failed::because(format!("`{}` can't be written: {error}", path.display()))
    })?;
    say(format!(
        "tidegate exec: it is in `{}`; try it with `--policy {} --role {LEARNED}`",
        path.display(),
        path.display()
    ));
    Ok(())
}
