use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failed, Outcome, counted, print, say, search};
use crate::audit::{Beginning, Break, LinePosition, Link, Verification, files};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Look through the record: what a sub-token did, what was changed, what was refused, who touched a thing.
    #[command(
        after_help = "Example:\n  tidegate audit search --token ci --since 7d --changes\n  zcat audit.jsonl.*.gz | tidegate audit search --resource droplet:12 -\n\nA line for each request, with how many there were on standard error. Exit status: 0, or 2 where a file can't be read."
    )]
    Search(search::Arguments),
    /// Check the hash chain of audit files that were written with `audit.chain: true`.
    #[command(
        after_help = "Example:\n  tidegate audit verify audit.1.jsonl audit.jsonl\n\nSeveral files are one chain, the oldest first; what gzip packed is unpacked, and `-` is standard input. Exit status: 0 whole, 1 broken, 2 can't be read.\nWho can write the files can write a whole new chain: keep the hash of the last line elsewhere, and compare."
    )]
    Verify(Verify),
}

#[derive(Args)]
pub(super) struct Verify {
    /// The files, the oldest first.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, command: &Command) -> Result<Outcome, Failed> {
    match command {
        Command::Search(arguments) => search::run(config, arguments),
        Command::Verify(arguments) => verify(arguments),
    }
}

fn verify(arguments: &Verify) -> Result<Outcome, Failed> {
    let mut all = Verification::default();
    for path in &arguments.files {
        let name = path.display().to_string();
        let read = files::open(path).and_then(|lines| all.read(&name, lines));
        if let Err(error) = read {
            say(format!("the audit file `{name}` can't be read: {error}"));
            return Ok(Outcome::Unknown);
        }
    }
    all.finish();
    if arguments.json {
        as_json(&all)?;
    } else {
        tell(&all)?;
    }
    Ok(if all.broken.is_empty() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

fn tell(all: &Verification) -> Result<(), Failed> {
    for place in &all.torn {
        say(format!(
            "{place}: half a line, as a crash or a full disk leaves it; the chain goes on over it"
        ));
    }
    for (place, what) in &all.broken {
        say(match what {
            Break::NoChain => what.to_string(),
            Break::Differs
            | Break::Missing
            | Break::Unreadable
            | Break::NoEnd
            | Break::NoRecord => {
                format!("{place}: {what}")
            }
        });
    }
    let verdict = match all.broken.len() {
        0 if all.lines == 0 => "empty".to_owned(),
        0 => "whole".to_owned(),
        count => format!("broken at {count}"),
    };
    let before = match all.before {
        0 => String::new(),
        count => format!(", {count} of them from before the chain began"),
    };
    let begins = match &all.begins {
        None => String::new(),
        Some((place, Beginning::Here)) => format!("; the chain begins at {place}"),
        Some((place, Beginning::Before(link))) => format!(
            "; the chain begins before {place}, after a line with the hash {link}, which is in none of these files: lines were cut off there, or name the older file too"
        ),
    };
    let last = all
        .last
        .map(|last| format!("; the last has the hash {last}"));
    print(format!(
        "{verdict}: {}{before}{}{begins}",
        counted(usize::try_from(all.lines).unwrap_or(usize::MAX), "line"),
        last.unwrap_or_default()
    ))
}

fn as_json(all: &Verification) -> Result<(), Failed> {
    let position =
        |position: &LinePosition| json!({ "file": position.file, "line": position.line });
    let text = |link: Option<Link>| link.map(|link| link.to_string());
    let broken = all
        .broken
        .iter()
        .map(|(at, what)| json!({ "file": at.file, "line": at.line, "what": what.to_string() }));
    print(json!({
        "whole": all.broken.is_empty(),
        "lines": all.lines,
        "before_chain": all.before,
        "first": text(all.first),
        "begins": all.begins.as_ref().map(|(at, begins)| json!({ "at": position(at), "before": *begins != Beginning::Here })),
        "last": text(all.last),
        "torn": all.torn.iter().map(position).collect::<Vec<_>>(),
        "broken": broken.collect::<Vec<_>>(),
    }))
}
