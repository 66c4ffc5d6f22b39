use std::path::Path;

use clap::Args;

use super::log::{self, LogFormat};
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

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    process::keep_files();
    log::begin(arguments.log_format, "info");
    let inherited = Inherited::take().map_err(Failed::because)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
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
