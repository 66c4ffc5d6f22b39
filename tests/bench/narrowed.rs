//! What narrowed sub-tokens cost: calls of the API, and the time and memory of long lists:
//! `cargo bench --locked --bench narrowed`.
//!
//! One daemon of the release build, the stand-in for the API, and clients over real sockets. What is compared is measured in
//! turns in the same run. Tables are printed, and a bound that is broken exits with 1.
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

mod calls;
mod droplet;
mod lists;
mod process;
mod report;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let calls = calls::measure().await.print();
    let lists = lists::measure().await.print();
    report::exit(calls && lists)
}
