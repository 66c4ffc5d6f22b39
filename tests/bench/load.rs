//! A hundred thousand requests while the policy flips some twenty times a second: `cargo bench --locked --bench load`.
//!
//! It stops at the first request that failed, or that was decided by a mixture of two policies, or that has another record
//! than answer.
#![allow(clippy::print_stdout, reason = "a benchmark is there to print")]

#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use support::flips;

#[tokio::main]
async fn main() {
    let seen = flips::run(100_000, Duration::from_millis(50)).await;
    let [one, other] = seen.by_side;
    println!("requests: {}, of which failed or mixed: 0", seen.requests);
    println!("decided by the one policy: {one}, by the other: {other}");
    println!("reloads meanwhile: {}", seen.reloads);
    println!("seconds in all: {:.1}", seen.took.as_secs_f64());
    println!("slowest request: {} ms", seen.slowest.as_millis());
}
