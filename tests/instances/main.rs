//! Several daemons that share a state in PostgreSQL (S20).
//!
//! They need PostgreSQL 14 or later and `pgbouncer`, so they are not among what `cargo test` runs: `apt-get install postgresql
//! pgbouncer`, then `cargo test --test instances`. Each test has a server of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod agreeing;
mod away;
mod cluster;
mod counting;
mod first;
mod pooled;
mod proxy;
mod remembering;
mod secured;
mod store;
#[path = "../support/mod.rs"]
mod support;
mod three;
