//! What the program says of itself while it serves, on standard error.

use std::io;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::EnvFilter;

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Begins to log: what the variable says, or else what is at this level.
pub(super) fn begin(format: LogFormat, usual: &str) {
    let (filter, unknown) = filter(std::env::var(VARIABLE).ok().as_deref(), usual);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => builder.with_ansi(false).init(), // colours are a feature that is not built in, and asking for them is complained of
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    if let Some(value) = unknown {
        warn!(
            value,
            "TIDEGATE_LOG is none of error, warn, info, debug and trace; {usual} is in force"
        );
    }
}

const VARIABLE: &str = "TIDEGATE_LOG";

/// What is logged, and the value that could not be understood. A word that is no level would be a filter too: for a part of the
/// program that is called so, and for nothing else.
fn filter(value: Option<&str>, usual: &str) -> (EnvFilter, Option<String>) {
    let usual = || EnvFilter::new(usual);
    let Some(value) = value.map(str::trim).filter(|value| !value.is_empty()) else {
        return (usual(), None);
    };
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let levels = value
        .split(',')
        .filter_map(|part| part.rsplit('=').next())
        .all(|level| is_level(level.trim()));
    match EnvFilter::try_new(value) {
        Ok(filter) if levels => (filter, None),
        Ok(_) | Err(_) => (usual(), Some(value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_no_level_leaves_the_usual_one() {
        let cases = [
            (None, "info", None),
            (Some(""), "info", None),
            (Some("warn"), "warn", None),
            (Some("DEBUG"), "debug", None),
            (Some("info,tidegate=debug"), "tidegate=debug,info", None),
            (Some("off"), "off", None),
            (Some("verbose"), "info", Some("verbose")),
            (Some("tidegate"), "info", Some("tidegate")),
            (Some("tidegate=loud"), "info", Some("tidegate=loud")),
        ];
        for (value, expected, unknown) in cases {
            let (filter, told) = filter(value, "info");
            assert_eq!(filter.to_string(), expected, "value {value:?}");
            assert_eq!(told.as_deref(), unknown, "value {value:?}");
        }
    }
}
