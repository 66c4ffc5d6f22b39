use std::path::Path;

use clap::Subcommand;

use super::{Failed, Outcome, say};
use crate::rules;
use crate::state::{Place, Postgres};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make the tables of the state in PostgreSQL, or bring them up to date; again is no error.
    #[command(
        after_help = "Example:\n  tidegate state migrate --config /etc/tidegate/tidegate.yaml"
    )]
    Migrate,
}

pub(super) fn run(config: &Path, command: &Command) -> Result<Outcome, Failed> {
    let settings = rules::settings(config)?;
    match command {
        Command::Migrate => migrate(&settings.state),
    }
}

fn migrate(place: &Place) -> Result<Outcome, Failed> {
    let Place::Postgres(database) = place else {
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
