use std::io::{self, BufRead};
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

use super::{Failed, ShownToken, all_shown};
use crate::audit::files;
use crate::catalog::Catalog;
use crate::config::{AuditSink, Settings};
use crate::learn::{Holder, Unused, unused};
use crate::policy::Policy;
use crate::rules::Rules;
use crate::state::Store;
use crate::token::TokenStanding;

/// The files of the record that a configuration writes, the oldest first.
///
/// # Errors
/// It writes none, or their directory can't be read.
pub(crate) fn record_files(settings: &Settings) -> Result<Vec<PathBuf>, Failed> {
    let AuditSink::File(path) = &settings.audit.sink else {
        return Err(Failed::because(
            "the record goes to standard output (`audit: stdout`), so there is no file to search; name the files, or `-` and pass the lines in",
        ));
    };
    let found = files::rotated(path);
    found.map_err(|error| {
        let path = path.display();
        Failed::because(format!("the directory of `{path}` can't be read: {error}"))
    })
}

/// The records of some tokens, or of all, from some time on, file after file.
pub(crate) fn records(
    paths: &[PathBuf],
    tokens: &[String],
    since: Option<Timestamp>,
) -> Result<impl Iterator<Item = Value> + use<>, Failed> {
    let open = |path: &PathBuf| {
        files::open(path).map_err(|error| {
            Failed::because(format!(
                "the audit file `{}` can't be read: {error}",
                path.display()
            ))
        })
    };
    let opened: Vec<Box<dyn BufRead>> = paths.iter().map(open).collect::<Result<_, _>>()?;
    let lines = opened.into_iter().flat_map(|file| file.split(b'\n'));
    let lines = lines.map_while(|line: io::Result<Vec<u8>>| line.ok());
    let read = |line: Vec<u8>| serde_json::from_slice::<Value>(&line).unwrap_or_default();
    let since = since.map(|time| format!("{time:.6}"));
    let tokens = tokens.to_vec();
    Ok(lines.map(read).filter(move |record| {
        let text = |member: &str| record.get(member).and_then(Value::as_str);
        let in_time = since
            .as_deref()
            .is_none_or(|since| text("time").is_some_and(|time| time >= since));
        let token = record.get("token");
        let is = |member: &str, name: &String| {
            token
                .and_then(|token| token.get(member))
                .and_then(Value::as_str)
                == Some(name)
        };
        let of_token = |name: &String| is("id", name) || is("name", name);
        in_time && (tokens.is_empty() || tokens.iter().any(of_token))
    }))
}

/// What these tokens, and the roles and grants of a policy, were not needed for by records since a time; younger tokens may not have
/// been used yet.
pub(crate) fn unneeded(
    records: impl Iterator<Item = Value>,
    tokens: Vec<ShownToken>,
    (policy, catalog): (&Policy, &Catalog),
    since: Timestamp,
) -> Unused {
    let now = Timestamp::now();
    let holders: Vec<_> = tokens.into_iter().map(|token| holder(token, now)).collect();
    unused(records, &holders, policy, catalog, since)
}

/// The same of what is in force.
///
/// # Errors
/// The state or the record can't be read.
pub(crate) fn unneeded_in_force(
    rules: &Rules,
    state: &dyn Store,
    since: Timestamp,
) -> Result<Unused, Failed> {
    let records = records(&record_files(&rules.settings)?, &[], Some(since))?;
    let issued = state.list().map_err(Failed::because)?;
    let tokens = all_shown(issued, Some(state), Some(&rules.policy), Timestamp::now())?;
    let of = (&rules.policy, &*rules.catalog);
    Ok(unneeded(records, tokens, of, since))
}

fn holder(token: ShownToken, now: Timestamp) -> Holder {
    let standing = token.standing(now);
    let ceiling = token.ceiling.as_ref();
    Holder {
        lives: matches!(standing, TokenStanding::Active | TokenStanding::NotYetValid),
        began: standing != TokenStanding::NotYetValid,
        used: token.usage.used > 0 || token.usage.last_used_at.is_some(),
        ceiling: ceiling.filter(|it| it.holds(now)).map(|it| it.role.clone()),
        since: token.since,
        vars: token.vars.clone(),
        id: token.id.to_string(),
        name: token.name,
        roles: token.roles,
    }
}
