//! Whether a hundred thousand tokens and a thousand roles cost more than ten of each: `cargo bench --locked --bench scale`.
//!
//! Two daemons of the release build run side by side, a small one and a large one, and are measured in turns, so that what
//! else the machine does weighs on both. What a request costs is the processor time that the daemon spent on it, which the
//! client's own work and the stand-in's can't blur. A table is printed, and a bound that is broken exits with 1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "a benchmark is there to print, and stops where it can't measure"
)]

#[path = "../support/mod.rs"]
mod support;

mod house;
mod process;
mod report;
mod turns;

use std::process::ExitCode;
use std::time::Duration;

use house::{Asking, House};
use report::{Report, bytes, millis};
use support::StandInApi;

const ISSUES: usize = 5;

/// Costs are called the same up to here: ten tokens stay in the processor's caches, and a hundred thousand that are used in
/// turns do not; a look-up that went through all of them would cost a hundred times as much.
const SAME: f64 = 1.5;

#[tokio::main]
async fn main() -> ExitCode {
    let api = StandInApi::start().await;
    let small = House::open(&api, 10, 10).await;
    let large = House::open(&api, 100_000, 1_000).await;
    let mut report = Report::new(["10 tokens, 10 roles", "100,000 tokens, 1,000 roles"]);
    starts(&mut report, &small, &large);
    memory(&mut report, "memory after the start", &small, &large);
    small.use_all().await;
    large.use_all().await;
    memory(
        &mut report,
        "memory after every token was used",
        &small,
        &large,
    );
    let (both, all) = ([&small, &large], usize::MAX);
    turns::requests(&mut report, Asking::Refused, 1_000, both, Some(SAME)).await;
    turns::requests(&mut report, Asking::Forwarded, 10, both, Some(SAME)).await;
    // When each token was used last is written down, a row for each, so that all in turns cost more than a few do.
    turns::requests(&mut report, Asking::Forwarded, all, both, None).await;
    changes(&mut report, &small, &large).await;
    small.close(&api).await;
    large.close(&api).await;
    report::exit(report.print())
}

fn starts(report: &mut Report, small: &House, large: &House) {
    let met = large.start < Duration::from_secs(2);
    let cells = [millis(small.start), millis(large.start)];
    report.row("start, until it listens", cells, "under 2 s", Some(met));
}

fn memory(report: &mut Report, what: &str, small: &House, large: &House) {
    let (few, many) = (small.resident(), large.resident());
    report.row(
        what,
        [bytes(few), bytes(many)],
        "under 200 MB",
        Some(many < 200_000_000),
    );
}

/// How long a command takes, and how long after it the daemon does as it says, at most.
async fn changes(report: &mut Report, small: &House, large: &House) {
    let (mut few, mut many) = (house::Changes::default(), house::Changes::default());
    for number in 0..ISSUES {
        few.note(small.issue_and_revoke(number).await);
        many.note(large.issue_and_revoke(number).await);
    }
    let second = Duration::from_secs(1);
    for (what, few, many) in [
        ("`token issue` itself", few.command, many.command),
        ("`token issue`, then honoured", few.honoured, many.honoured),
        ("`token revoke` itself", few.revoking, many.revoking),
        ("`token revoke`, then refused", few.refused, many.refused),
    ] {
        let (bound, met) = if what.contains("then") {
            ("under 1 s", Some(many < second))
        } else {
            ("", None)
        };
        report.row(what, [millis(few), millis(many)], bound, met);
    }
}
