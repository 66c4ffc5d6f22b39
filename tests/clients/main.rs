//! Clients as their registries have them, unmodified, through the built daemon; and Prometheus' own reading of its metrics.
//!
//! They need Python, Node, Perl, lego, pebble and a registry to install from, so they are not among what `cargo test` runs:
//! install them by `tests/clients/install`, then run `cargo test --test clients`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod acme;
mod ansible;
mod authority;
mod binaries;
mod certificates;
mod console;
mod ddclient;
mod fixed_host;
mod libraries;
mod metrics;
mod narrowed;
#[path = "../support/mod.rs"]
mod support;
mod under_exec;
mod zone;

use std::path::{Path, PathBuf};
use std::process::Command;

fn installed() -> PathBuf {
    let given = std::env::var_os("TIDEGATE_CLIENTS").map(PathBuf::from);
    let directory =
        given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients"));
    assert!(
        directory.join("pins").exists(),
        "no clients in {}; run `tests/clients/install` first",
        directory.display()
    );
    directory
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// Runs a script beside this file with the clients that are installed.
fn python(name: &str) -> Command {
    let mut command = Command::new(installed().join("venv/bin/python"));
    command.arg(script(name));
    command
}

/// Whether a client succeeded, and all that it said.
async fn said_by(mut command: Command) -> (bool, String) {
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

/// Whatever is not meant for this machine ends at a closed port of it: a link that led around tidegate would be noticed.
const NOWHERE_ELSE: [(&str, &str); 4] = [
    ("https_proxy", "http://127.0.0.1:9"),
    ("HTTPS_PROXY", "http://127.0.0.1:9"),
    ("no_proxy", "127.0.0.1,localhost,::1"),
    ("NO_PROXY", "127.0.0.1,localhost,::1"),
];
