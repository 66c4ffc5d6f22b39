use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failed, Outcome, print, say};
use crate::rules;
use crate::secret::Secret;
use crate::state::{self, Copied, Database, Postgres, StatePlace, UrlSource};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make the tables of the state in PostgreSQL, or bring them up to date; again is no error.
    #[command(
        after_help = "Example:\n  tidegate state migrate --config /etc/tidegate/tidegate.yaml"
    )]
    Migrate,
    /// Bring all tokens, revocations and counters to another store: what is there already is merged to the stricter, and what was
    /// stopped in the middle goes on when it is begun again.
    #[command(
        after_help = "Example:\n  tidegate state copy --to-file db-url --ca-file db-ca.pem    the address of PostgreSQL in a file\n  tidegate state copy --to /var/lib/tidegate/tidegate.db"
    )]
    Copy(Copying),
}

#[derive(Args)]
pub(super) struct Copying {
    /// The other store: an address of PostgreSQL, whose tables must be there, or the path of a file.
    #[arg(long, value_name = "URL", required_unless_present = "to_file")]
    to: Option<String>,
    /// A file that holds an address of PostgreSQL: a command line can be read by others.
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    to_file: Option<PathBuf>,
    /// The authority to trust for PostgreSQL in place of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print the counts as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, command: &Command) -> Result<Outcome, Failed> {
    let settings = rules::settings(config)?;
    match command {
        Command::Migrate => migrate(&settings.state),
        Command::Copy(copying) => bring(&settings.state, copying),
    }
}

impl Copying {
    fn place(&self) -> StatePlace {
        let url = match (&self.to, &self.to_file) {
            (_, Some(file)) => UrlSource::File(file.clone()),
            (Some(to), None)
                if to.starts_with("postgres://") || to.starts_with("postgresql://") =>
            {
                UrlSource::Written(Arc::new(Secret::new(to.clone())))
            }
            (to, None) => return StatePlace::File(to.as_deref().unwrap_or_default().into()),
        };
        let mut database = Database::at(url);
        database.ca_file.clone_from(&self.ca_file);
        StatePlace::Postgres(database)
    }
}

fn bring(from: &StatePlace, copying: &Copying) -> Result<Outcome, Failed> {
    let to = copying.place();
    if *from == to {
        return Err(Failed::because(
            "that is the state itself; name another store with `--to`",
        ));
    }
    if !from.exists() {
        return Err(Failed::because(format!(
            "there is no state file `{from}`, so there is nothing to copy"
        )));
    }
    let from = state::open(from, PATIENCE).map_err(Failed::because)?;
    let mut to = state::open(&to, PATIENCE).map_err(Failed::because)?;
    let copied = state::copy(&*from, &mut *to).map_err(Failed::because)?;
    let Copied {
        tokens,
        there,
        revocations,
        counters,
        identities,
        undecided,
    } = &copied;
    if copying.json {
        let undecided: Vec<_> = undecided.iter().map(ToString::to_string).collect();
        print(
            json!({ "tokens": tokens, "there": there, "revocations": revocations, "counters": counters, "identities": identities, "undecided": undecided }),
        )?;
    } else {
        say(format!(
            "{tokens} tokens copied, {there} were there already; {revocations} revocations, {counters} counters and {identities} identities merged"
        ));
    }
    for id in undecided {
        say(format!(
            "the token {id} has another secret in each store, and nobody can tell which one ended first: it is revoked there; issue a new one"
        ));
    }
    Ok(Outcome::Good)
}

/// How long one step may take.
const PATIENCE: Duration = Duration::from_secs(30);

fn migrate(place: &StatePlace) -> Result<Outcome, Failed> {
    let StatePlace::Postgres(database) = place else {
        say(
            "the state is a file, which is brought up to date whenever it is opened; there is nothing to do",
        );
        return Ok(Outcome::Good);
    };
    say(if Postgres::migrate(database).map_err(Failed::because)? {
        "the tables of the state are there now"
    } else {
        "the tables of the state are up to date; there is nothing to do"
    });
    Ok(Outcome::Good)
}
