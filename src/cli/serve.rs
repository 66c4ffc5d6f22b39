use std::io::{self, IsTerminal};
use std::path::Path;

use clap::{Args, ValueEnum};
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
    let filter = EnvFilter::try_from_env("TIDEGATE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_target(false);
    match format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}
