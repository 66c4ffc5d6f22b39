//! The effect oracle: a whole little account behind a server with the habits of real ones, policies and requests drawn at
//! random through the real gate, and a judge that looks only at what is different afterwards.
//!
//! `ORACLE_CASES` and `ORACLE_SEED` say how many and which; `ORACLE_CASE=seed/batch/role/case` runs one again and tells all of
//! it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test fails by panicking, and tells what it found"
)]
#![allow(
    clippy::explicit_auto_deref,
    clippy::field_reassign_with_default,
    clippy::format_push_string,
    clippy::needless_for_each,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    clippy::similar_names,
    clippy::too_many_lines,
    clippy::unused_self,
    reason = "tables of what the API does, and of what is drawn, read best as they are"
)]

mod act;
mod ask;
mod judge;
mod kinds;
mod odd;
mod policy;
mod reading;
mod rng;
mod run;
mod serve;
mod show;
mod talk;
mod world;

/// Whatever changed was the token's to change, nothing that is denied changed or came free, nothing hidden was shown.
#[test]
fn nothing_changes_that_was_not_the_tokens_to_change() {
    let plan = run::Plan::from_environment();
    let told = run::run(&plan);
    told.print();
    assert!(
        told.wrong.is_empty(),
        "{} kinds of effects that must not be",
        told.wrong.len()
    );
    if plan.is_whole() {
        told.assert_not_vacuous();
    }
}
