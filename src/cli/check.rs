use std::path::{Path, PathBuf};

use clap::Args;

use super::{Failed, Outcome, counted, print, say};
use crate::operate::CheckReport;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate check --config tidegate.yaml && systemctl reload tidegate\n  tidegate check --policy policy.yaml --strict --json    # in CI: no configuration and no secret is needed\n\nExit status: 0 good, 1 errors or failed tests (with --strict, warnings too)."
)]
pub(super) struct Arguments {
    /// Check this policy alone, without configuration, state or real token; its roles may name any account.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// With --policy: the table of `catalog.extra` that the policy is for.
    #[arg(long, value_name = "FILE", requires = "policy")]
    extra: Option<PathBuf>,
    /// Take warnings for errors.
    #[arg(long)]
    strict: bool,
    /// Print JSON, on standard output.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    let mut checked = CheckReport::default();
    match &arguments.policy {
        Some(path) => checked.alone(path, arguments.extra.as_deref()),
        None => checked.all(config),
    }
    if arguments.json {
        print(checked.as_json())?;
    } else {
        tell(&checked);
    }
    let (errors, warnings) = checked.counts();
    let good = errors == 0 && (warnings == 0 || !arguments.strict);
    if errors == 0 && !good && !arguments.json {
        let these = counted(warnings, "warning");
        say(format!("{these}, which --strict takes for errors"));
    }
    Ok(if good { Outcome::Good } else { Outcome::Bad })
}

fn tell(checked: &CheckReport) {
    checked.findings.iter().for_each(say);
    if let Some([roles, tokens, passed, failed]) = checked.policy {
        let (roles, tokens) = (counted(roles, "role"), counted(tokens, "token"));
        let tests = counted(passed + failed, "test");
        say(format!(
            "{roles}, {tokens} in the policy, {passed} of {tests} passed"
        ));
    }
}
