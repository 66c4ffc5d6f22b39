//! The stories: black-box tests of the built daemon over real sockets, before a stand-in for the API.

#[path = "../support/mod.rs"]
mod support;

mod failures;
mod forwarding;
mod limits;
mod listening;
mod reading;
mod record;
mod roles;
mod running;
mod tokens;
mod upstream;
