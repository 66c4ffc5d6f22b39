//! What `tidegate exec -- true` adds to `true`: `cargo bench --locked --bench exec`.
//!
//! Both are run in turns, so that what else the machine does weighs on both; the medians are told, and a bound that is broken
//! exits with 1.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    dead_code,
    reason = "a benchmark is there to print, and stops where it can't measure"
)]

mod report;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use report::{Report, exit, median, millis};

const ROUNDS: usize = 40;
const BOUND: Duration = Duration::from_millis(50);
/// In the form of a real token, and plainly none.
const TOKEN: &str = "dop_v1_f00df00df00df00df00df00df00df00df00df00df00df00df00df00df00df00d";

fn main() -> ExitCode {
    let place = tempfile::tempdir().unwrap();
    let policy = place.path().join("policy.yaml");
    std::fs::write(&policy, include_str!("../../examples/roles/read-only.yaml")).unwrap();
    let policy = policy.to_str().unwrap();
    let mut report = Report::new(["true", "exec -- true"]);
    for (what, options) in [
        ("a built-in role", &[][..]),
        ("a policy of its own", &["--policy", policy]),
        ("over TLS", &["--https"]),
    ] {
        let (mut alone, mut run) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(took(&mut Command::new("true")));
            let mut exec = Command::new(env!("CARGO_BIN_EXE_tidegate"));
            exec.args(["exec", "--role", "read-only", "--summary", "none"])
                .args(options)
                .args(["--", "true"])
                .env("DIGITALOCEAN_TOKEN", TOKEN);
            run.push(took(&mut exec));
        }
        let (alone, run) = (median(alone), median(run));
        let added = Duration::from_secs_f64((run - alone).max(0.0));
        let figures = [alone, run].map(|seconds| millis(Duration::from_secs_f64(seconds)));
        let bound = format!("adds under {}", millis(BOUND));
        report.row(what, figures, &bound, Some(added < BOUND));
    }
    exit(report.print())
}

/// How long a command takes from its start to its end, in seconds.
fn took(command: &mut Command) -> f64 {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).status().unwrap();
    let took = began.elapsed().as_secs_f64();
    assert!(status.success());
    took
}
