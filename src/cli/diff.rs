//! `diff`: what a change of policy newly allows or refuses.

use std::path::{Path, PathBuf};

use super::{Failed, Outcome, counted, print, say};
use crate::learn::PolicyDifference;
use crate::operate::Compared;
use crate::rules;
use clap::Args;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate diff policy.old.yaml policy.yaml\n\nExit status: 0 nothing is newly allowed, 1 something is, 2 a file can't be read."
)]
pub(super) struct Arguments {
    /// The policy as it was.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy as it is to be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Only this role.
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
    /// The table of `catalog.extra` that the policies are for.
    #[arg(long, value_name = "FILE")]
    extra: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    let read = || -> Result<_, Failed> {
        let catalog = rules::catalog(arguments.extra.as_deref())?;
        let read = |path: &Path| rules::policy_alone(path, &catalog);
        let (old, new) = (read(&arguments.old)?, read(&arguments.new)?);
        Ok((catalog, old, new))
    };
    let (catalog, old, new) = match read() {
        Ok(read) => read,
        Err(Failed(lines)) => {
            lines.iter().for_each(say);
            return Ok(Outcome::Unknown);
        }
    };
    let role = arguments.role.as_deref();
    let compared = match Compared::new((&old, &new), role, &catalog) {
        Ok(compared) => compared,
        Err(Failed(lines)) => {
            lines.iter().for_each(say);
            return Ok(Outcome::Unknown);
        }
    };
    let (allowed, refused) = compared.counts();
    if arguments.json {
        print(compared.as_json())?;
    } else {
        for difference in &compared.0 {
            print(told(difference))?;
        }
        say(format!(
            "{} newly allowed, {} newly refused",
            counted(allowed, "difference"),
            counted(refused, "difference")
        ));
    }
    Ok(if allowed == 0 {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

fn told(difference: &PolicyDifference) -> String {
    let PolicyDifference {
        role,
        allowed,
        endpoint,
        request,
        does,
        witness,
    } = difference;
    let sign = if *allowed { '+' } else { '-' };
    let parts = [endpoint, request, does, witness];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .map(|part| part.replace(char::is_control, "\u{b7}")) // a line is one difference, whatever stands in a policy
        .collect();
    match role.as_str() {
        "trust" | "token" => format!("{sign} {role} {}", parts.join("  ")),
        role => format!("{sign} {role}  {}", parts.join("  ")),
    }
}
