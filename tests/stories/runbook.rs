//! The runbook of `config/README.md`: each of its commands does what it is there for.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Gate, StandInApi};

const POLICY: &str = "version: 1\nroles:\n  deploy:\n    allow: [{ scopes: ['*'] }]\n";

#[tokio::test]
async fn every_command_for_a_leaked_token_works() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/README.md");
    let page = fs::read_to_string(page).unwrap();
    let mut inside = false;
    let commands: Vec<_> = page
        .lines()
        .filter(|line| {
            if line.starts_with("```") {
                inside = *line == "```sh";
                return false;
            }
            inside
        })
        .collect();
    assert!(commands.len() >= 10, "{commands:?}");
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("audit.chain", json!(true))
        .start()
        .await;
    let leaked = gate
        .issue(&["ci", "--role", "deploy", "--owner", "alice"])
        .await;
    gate.issue(&["other", "--role", "deploy", "--owner", "alice"])
        .await;
    gate.delete("/v2/droplets/12").token(&leaked).send().await;
    gate.audit_until(|lines| lines.len() == 2).await;
    gate.files().write("leaked.txt", &format!("{leaked}\n"));
    gate.files()
        .write("nothing.yaml", "droplet: [{ id: 12 }]\n");
    let binary = Path::new(env!("CARGO_BIN_EXE_tidegate"));
    let path = format!(
        "{}:{}",
        binary.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let mut told = String::new();
    for command in commands {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", command])
            .current_dir(gate.files().path(""))
            .env("PATH", &path)
            .env("TIDEGATE_CONFIG", gate.files().path("tidegate.yaml"));
        let output = tokio::task::spawn_blocking(move || shell.output().unwrap())
            .await
            .unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(output.status.success(), "{command}: {said}");
        assert!(!said.contains(&leaked[20..]), "{command}: {said}");
        told.push_str(&said);
    }
    for expected in [
        "revoked `ci` (",
        "DELETE /v2/droplets/12  allow deploy.allow[0]",
        "1 let through, 1 of these to change something; 0 refused; from 127.0.0.1",
        "1 living token of the owner `alice`: `other`",
        "whole: 2 lines",
        "`ci-2` (",
    ] {
        assert!(told.contains(expected), "{expected:?} in {told}");
    }
    fs::remove_file(gate.files().path("leaked.txt")).unwrap(); // the harness looks for sub-tokens in all files
    gate.finish(&api).await;
}
