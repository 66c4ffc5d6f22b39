//! So many minutes of everything at once, and whether memory, descriptors and the record come out even:
//! `cargo bench --locked --bench soak -- 30`, or half a minute without a number; with the names of lanes, of those alone.
//!
//! One daemon, the stand-in for the API, clients over real sockets with and without TLS: what is allowed and what is refused,
//! lists, writes, counted sub-tokens that are used up, strangers, clients that leave, an API that fails; and meanwhile
//! reloads, revocations, and an audit file that is moved away. A table is printed, and a bound that is broken exits with 1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "a benchmark is there to print, stops where it can't measure, and uses a part of what it shares with others"
)]

#[path = "../support/mod.rs"]
mod support;

mod lanes;
mod process;
mod record;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lanes::House;
use record::Record;
use report::Report;
use tokio::time::sleep;

/// What memory may grow by from the first third to the end, beside a tenth of it: an allocator's own unevenness.
const SLACK: u64 = 6 << 20;
/// How long connections may take to end once nobody uses them: the pool to the API keeps them for half a minute.
const QUIET: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let minutes = std::env::args().find_map(|argument| argument.parse::<f64>().ok());
    let length = Duration::from_secs_f64(minutes.unwrap_or(0.5) * 60.0);
    let house = Arc::new(House::open().await);
    let pid = house.gate.pid();
    let descriptors = process::descriptors(pid);
    let mut record = Record::new();
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| argument.chars().all(char::is_alphabetic))
        .collect();
    let mut lanes = lanes::all(&house, &named);
    let mut memory = Vec::new();
    let began = Instant::now();
    while began.elapsed() < length {
        sleep(Duration::from_secs(1)).await; // the pace of the samples
        memory.push(process::resident(pid));
        if memory.len() % 5 == 0 {
            record.move_away(&house.gate).await;
            house.api.forget();
        }
        while let Some(ended) = lanes.try_join_next() {
            ended.expect("a lane in which nothing went wrong");
        }
    }
    house.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = lanes.join_next().await {
        ended.expect("a lane in which nothing went wrong");
    }
    let left = descriptors_left(pid, descriptors).await;
    let Ok(house) = Arc::try_unwrap(house) else {
        panic!("a lane still runs");
    };
    let told = house.told.into_inner().unwrap();
    let gate = house.gate;
    let records = record.close(gate, &house.api, &told).await;
    let mut report = Report::new(["at first", "at the end"]);
    let (first, last) = ends(&memory);
    // A short run is hardly past the time in which a process takes what it keeps.
    let warm = if length < Duration::from_secs(120) {
        3
    } else {
        1
    };
    let bound = first + first / 10 + warm * SLACK;
    report.row(
        &format!("memory, over {} seconds", memory.len()),
        [mega(first), mega(last)],
        &format!("at most {}", mega(bound)),
        Some(last <= bound),
    );
    let steps: Vec<_> = memory.chunks((memory.len() / 10).max(1)).collect();
    let steps: Vec<_> = steps
        .iter()
        .map(|part| mega(part[part.len() / 2]))
        .collect();
    report.row(
        "the same, tenth by tenth",
        [String::new(), steps.join(", ")],
        "",
        None,
    );
    report.row(
        "descriptors, with nobody there",
        [descriptors.to_string(), left.to_string()],
        "no more than before",
        Some(left <= descriptors),
    );
    for (what, count, bound, met) in records {
        report.row(&what, [String::new(), count.to_string()], bound, met);
    }
    for (what, count) in told.by_lane() {
        report.row(&what, [String::new(), count.to_string()], "", None);
    }
    report::exit(report.print())
}

/// The descriptors once idle connections have ended.
async fn descriptors_left(pid: u32, before: usize) -> usize {
    let began = Instant::now();
    loop {
        let left = process::descriptors(pid);
        if left <= before || began.elapsed() > QUIET {
            return left;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Memory after the warm-up and at the end: the medians of the second fifth and of the last.
fn ends(samples: &[u64]) -> (u64, u64) {
    let fifth = (samples.len() / 5).max(1);
    let median = |part: &[u64]| {
        let mut part = part.to_vec();
        part.sort_unstable();
        part[part.len() / 2]
    };
    (
        median(&samples[fifth.min(samples.len() - 1)..(2 * fifth).min(samples.len())]),
        median(&samples[samples.len() - fifth..]),
    )
}

#[expect(clippy::cast_precision_loss, reason = "it is printed with one digit")]
fn mega(count: u64) -> String {
    format!("{:.1} MB", count as f64 / 1e6)
}
