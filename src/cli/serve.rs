use std::io;
use std::path::Path;

use clap::{Args, ValueEnum};
use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::EnvFilter;

use super::{Failed, Outcome};
use crate::secret::process;
use crate::server::{self, Inherited};

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate serve --config /etc/tidegate/tidegate.yaml\n\nThe variable TIDEGATE_LOG sets how much is logged: error, warn, info (the default), debug or trace."
)]
pub(super) struct Arguments {
    /// How log lines are written, on standard error.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    process::keep_files();
    log(arguments.log_format);
    let inherited = Inherited::take().map_err(Failed::because)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failed::because(format!("the runtime can't start: {error}")))?;
    let result = runtime
        .block_on(server::run(config, inherited))
        .map_err(Failed::because);
    // Requests that the drain did not wait for must not hold the process.
    runtime.shutdown_background();
    result.map(|()| Outcome::Good)
}

fn log(format: LogFormat) {
    let (filter, unknown) = filter(std::env::var(VARIABLE).ok().as_deref());
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
            "TIDEGATE_LOG is none of error, warn, info, debug and trace; info is in force"
        );
    }
}

const VARIABLE: &str = "TIDEGATE_LOG";

/// What is logged, and the value that could not be understood. A word that is no level would be a filter too: for a part of the
/// program that is called so, and for nothing else.
fn filter(value: Option<&str>) -> (EnvFilter, Option<String>) {
    let usual = || EnvFilter::new("info");
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
            let (filter, told) = filter(value);
            assert_eq!(filter.to_string(), expected, "value {value:?}");
            assert_eq!(told.as_deref(), unknown, "value {value:?}");
        }
    }
}
