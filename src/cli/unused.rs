//! `unused`: what is granted and was never needed.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::search::{Since, of_configuration};
use super::token::Desk;
use super::{Failed, Outcome, counted, print, print_table, say};
use crate::learn::Unused;
use crate::operate::{records, unneeded};
use crate::rules;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate unused --since 30d\n\nExit status: 0 everything that is granted was needed, 1 something was not, 2 the record can't be read."
)]
pub(super) struct Arguments {
    /// The files of the record, the oldest first; `-` is standard input. Without one: the file of the configuration and those that
    /// were moved away from it.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the requests since then did not need, and tokens from before then: a time, as `2027-01-31T00:00:00Z`, or how long ago,
    /// as `7d`.
    #[arg(long, value_name = "WHEN", default_value = "30d")]
    since: Since,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    let now = Timestamp::now();
    let Since(since) = arguments.since;
    let desk = Desk {
        settings: rules::settings(config)?,
    };
    let catalog = rules::catalog(desk.settings.extra_catalog.as_deref())?;
    let policy = rules::policy(&desk.settings, &catalog)?;
    let read = || -> Result<_, Failed> {
        let paths = match arguments.files.as_slice() {
            [] => of_configuration(config)?,
            paths => paths.to_vec(),
        };
        records(&paths, &[], Some(since))
    };
    let records = match read() {
        Ok(records) => records,
        Err(Failed(lines)) => {
            lines.iter().for_each(say);
            return Ok(Outcome::Unknown);
        }
    };
    let tokens = desk.shown(|state| state.list())?;
    let found = unneeded(records, tokens, (&policy, &catalog), since);
    if arguments.json {
        print(json!(found))?;
    } else {
        print_table(&rows(&found, now))?;
    }
    sum_up(&found, since);
    Ok(if found.count() == 0 {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

fn rows(found: &Unused, now: Timestamp) -> Vec<Vec<String>> {
    let row = |what: &str, name: &str, why: String| vec![what.to_owned(), name.to_owned(), why];
    let mut rows = Vec::new();
    for token in &found.tokens {
        let since = token.created_at.as_deref().map(str::parse::<Timestamp>);
        let age = match since {
            Some(Ok(since)) => format!("issued {} ago", age(since, now)),
            Some(Err(_)) | None => "of the policy file, which does not say since when".to_owned(),
        };
        rows.push(row("token", &token.name, format!("never used; {age}")));
    }
    for role in &found.roles {
        rows.push(row("role", role, "no token has it".to_owned()));
    }
    for idle in &found.grants {
        let why = format!("{}: no request needed it", idle.at);
        rows.push(row("grant", &idle.grant, why));
    }
    for idle in &found.scopes {
        let why = format!("{}: no request needed {}", idle.of.at, idle.scope);
        rows.push(row("scope", &idle.of.grant, why));
    }
    for idle in &found.wildcards {
        let (at, wildcard) = (&idle.of.at, &idle.written);
        let why = match idle.scopes.as_slice() {
            [] => format!("{at}: no request needed any of {wildcard}"),
            scopes => format!("{at}: {wildcard} could be {}", scopes.join(", ")),
        };
        rows.push(row("wildcard", &idle.of.grant, why));
    }
    rows
}

/// How long something is there, in its largest unit.
fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}min", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn sum_up(found: &Unused, since: Timestamp) {
    if found.unreadable > 0 {
        say(format!("{} lines are no records", found.unreadable));
    }
    let requests = counted(
        usize::try_from(found.requests).unwrap_or(usize::MAX),
        "request",
    );
    let unneeded = counted(found.count(), "thing");
    match &found.times {
        Some((first, last)) => say(format!(
            "{unneeded} not needed by {requests} that were let through; the record has {first} to {last}, and was asked from {since:.0} on"
        )),
        None => say(format!(
            "{unneeded} not needed; the record has nothing since {since:.0}"
        )),
    }
}
