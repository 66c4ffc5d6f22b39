//! The stories: black-box tests of the built daemon over real sockets, before a stand-in for the API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table may be long"
)]

#[path = "../support/mod.rs"]
mod support;

mod admin;
mod attacks;
mod bodiless;
mod catalog_kinds;
mod certificate;
mod checking;
mod client_certificates;
mod clients;
mod comparing;
mod console;
mod delegating;
mod derived;
mod diffing;
mod every_endpoint;
mod exchange;
mod exec;
mod explaining;
mod failures;
mod families;
mod faults;
mod fields;
mod floods;
mod forwarding;
mod front;
mod healthy;
mod hygiene;
mod initial;
mod inputs;
mod leaked;
mod limits;
mod listening;
mod load;
mod metrics;
mod narrowed;
mod proxied;
mod reading;
mod record;
mod reloading;
mod reporting;
mod reviewing;
mod roles;
mod rotation;
mod runbook;
mod running;
mod schemas;
mod searching;
mod sharing;
mod shells;
mod smuggling;
mod suggesting;
mod supervised;
mod templates;
mod tokens;
mod unneeded;
mod upstream;
mod verdicts;
mod workflows;
