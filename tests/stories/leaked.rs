//! A token leaked: from what is in hand to its end. And what issue and lists refuse, or tell.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::Gate;
use crate::support::gate::{Files, GateBuilder};

const POLICY: &str = "version: 1\nroles:\n  all:\n    allow: [{ scopes: ['*:read'] }]\n  spare:\n    allow: [{ scopes: [droplet:read] }]\n";

fn gate() -> GateBuilder {
    Gate::builder_to("http://127.0.0.1:1").policy(POLICY)
}

async fn run(files: &Files, arguments: &[&str]) -> (Option<i32>, String, String) {
    told(files.cli(&[&["token"], arguments].concat()).await)
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// `tidegate token revoke …` with this on standard input.
fn revoke(files: &Files, arguments: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args([&["token", "revoke"], arguments].concat())
        .arg("--config")
        .arg(files.path("tidegate.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let _ = pipe.write_all(stdin.as_bytes()); // it may not wait to hear all
    drop(pipe);
    told(child.wait_with_output().unwrap())
}

async fn states(files: &Files) -> Vec<(String, String)> {
    let (_, listed, _) = run(files, &["list", "--json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let all = listed.as_array().unwrap().iter();
    all.map(|token| (text(&token["name"]), text(&token["state"])))
        .collect()
}

fn state(name: &str, state: &str) -> (String, String) {
    (name.to_owned(), state.to_owned())
}

#[tokio::test]
async fn a_leaked_token_is_ended_by_itself_and_never_shown_again() {
    let files = gate().files();
    for given in ["standard input", "a dash", "an argument"] {
        let token = files.issue(&["ci", "--role", "all"]).await;
        let secret = &token[20..];
        let line = format!("  {token}\r\n");
        let (status, stdout, stderr) = match given {
            "standard input" => revoke(&files, &[], &line),
            "a dash" => revoke(&files, &["-"], &line),
            _ => revoke(&files, &[&token], ""),
        };
        assert_eq!(status, Some(0), "{given}: {stderr}");
        assert_eq!(stdout, "");
        let id = &token[7..19];
        assert_eq!(stderr, format!("revoked `ci` ({id})\n"), "{given}");
        assert!(!stderr.contains(secret));
    }
    assert_eq!(states(&files).await, vec![state("ci", "revoked"); 3]);
}

#[tokio::test]
async fn what_is_left_of_a_token_is_not_shown_either() {
    let files = gate().files();
    let token = files.issue(&["ci", "--role", "all"]).await;
    let id = &token[7..19];
    let by_id = format!("by its id it is `ci`, which `tidegate token revoke {id}` ends");
    let unknown = token.replace(id, "000000000000");
    let cases = [
        (token[..50].to_owned(), by_id.clone()),
        (format!("{}{}", &token[..63], if token.ends_with('0') { '1' } else { '0' }), by_id),
        (unknown[..50].to_owned(), "give it whole, or its name or id".to_owned()),
        (format!("dop_v1_{}", "0a".repeat(32)), "this is a real DigitalOcean token, not a sub-token; revoke it in DigitalOcean's control panel".to_owned()),
    ];
    for (text, expected) in cases {
        let secret = &text[text.len() - 20..];
        for command in ["revoke", "show", "rotate"] {
            let (status, stdout, stderr) = run(&files, &[command, &text]).await;
            assert_eq!(status, Some(1), "{command}: {stderr}");
            assert!(stderr.contains(&expected), "{command}: {stderr}");
            assert!(
                !format!("{stdout}{stderr}").contains(secret),
                "{command}: {stderr}"
            );
        }
    }
    let (status, _, stderr) = revoke(&files, &[], "");
    assert_eq!(status, Some(1));
    assert!(
        stderr.starts_with("standard input has no token"),
        "{stderr}"
    );
    assert_eq!(states(&files).await, [state("ci", "active")]);
}

#[tokio::test]
async fn a_secret_that_was_replaced_ends_nobody() {
    let files = gate().files();
    let old = files.issue(&["ci", "--role", "all"]).await;
    assert_eq!(run(&files, &["rotate", "ci"]).await.0, Some(0));
    let (status, _, stderr) = revoke(&files, &[], &old);
    assert_eq!(status, Some(0));
    assert!(stderr.contains("the secret of `ci` ("), "{stderr}");
    assert!(stderr.contains("was replaced since"), "{stderr}");
    assert_eq!(states(&files).await, [state("ci", "active")]);
    let graced = files.issue(&["graced", "--role", "all"]).await;
    assert_eq!(
        run(&files, &["rotate", "graced", "--grace", "1h"]).await.0,
        Some(0)
    );
    assert_eq!(revoke(&files, &[], &graced).0, Some(0));
    assert_eq!(
        states(&files).await,
        [state("ci", "active"), state("graced", "revoked")]
    );
}

#[tokio::test]
async fn all_with_a_role_or_of_an_owner_end_at_once_after_it_said_how_many() {
    let files = gate().files();
    files
        .issue(&["a", "--role", "all", "--owner", "alice"])
        .await;
    files
        .issue(&["b", "--role", "all", "--role", "spare", "--owner", "bob"])
        .await;
    files
        .issue(&["c", "--role", "spare", "--owner", "alice"])
        .await;
    files.issue(&["d", "--role", "spare"]).await;
    let (status, stdout, stderr) = revoke(
        &files,
        &["--owner", "alice", "--role", "spare", "--json"],
        "",
    );
    assert_eq!(status, Some(0), "{stderr}");
    assert!(
        stderr.starts_with(
            "1 living token of the owner `alice` with the role `spare`: `c`\nrevoked `c` ("
        ),
        "{stderr}"
    );
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (told.as_array().unwrap().len(), &told[0]["name"]),
        (1, &json!("c"))
    );
    let (status, _, stderr) = revoke(&files, &["--role", "all"], "");
    assert_eq!(status, Some(0), "{stderr}");
    assert!(
        stderr.starts_with("2 living tokens with the role `all`: `a`, `b`\n"),
        "{stderr}"
    );
    let ended = ["a", "b", "c"].map(|name| state(name, "revoked"));
    assert_eq!(
        states(&files).await,
        [&ended[..], &[state("d", "active")]].concat()
    );
    let (status, _, stderr) = revoke(&files, &["--role", "all"], "");
    assert_eq!(status, Some(1));
    assert!(
        stderr.starts_with("there is no living token with the role `all`"),
        "{stderr}"
    );
    let (status, ..) = revoke(&files, &["d", "--role", "all"], "");
    assert_eq!(status, Some(2), "one, or many");
}

#[tokio::test]
async fn what_nobody_could_know_again_is_no_name() {
    let files = gate().files();
    for (name, expected) in [
        ("", "a token's name is empty"),
        (
            "a\u{1b}[2Jb",
            "a token's name has control or invisible characters",
        ),
        ("a\nb", "a token's name has control or invisible characters"),
        (
            "\u{202e}ab",
            "a token's name has control or invisible characters",
        ),
        (
            " a",
            "a token's name has control or invisible characters, a space at an end",
        ),
        (
            "tdg_v1_4fZ0aB9cD8eF_0",
            "a token's name looks like a token itself",
        ),
        (
            &"x".repeat(129),
            "a token's name is longer than 128 characters",
        ),
    ] {
        let (status, _, stderr) = run(&files, &["issue", name, "--role", "all"]).await;
        assert_eq!(status, Some(2), "{name:?}: {stderr}");
        assert!(stderr.contains(expected), "{name:?}: {stderr}");
    }
    assert!(!files.path("tidegate.db").exists(), "nothing was issued");
    let entry = "tokens:\n  - name: \"a\\eb\"\n    id: 4fZ0aB9cD8eF\n    hash: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'\n    roles: [all]\n    not_before: 2030-01-01T00:00:00Z\n    expires_at: 2029-01-01T00:00:00Z\n";
    files.write("policy.yaml", &format!("{POLICY}{entry}"));
    let (_, _, stderr) = told(files.cli(&["check"]).await);
    for expected in [
        "policy.yaml:8:11: error: a token's name has control or invisible characters",
        "policy.yaml:8:5: error: this token would end at 2029-01-01T00:00:00Z, before it begins at 2030-01-01T00:00:00Z",
    ] {
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[tokio::test]
async fn a_token_can_not_end_before_it_begins() {
    let files = gate().files();
    let (status, _, stderr) = run(
        &files,
        &[
            "issue",
            "ci",
            "--role",
            "all",
            "--expires",
            "1d",
            "--not-before",
            "2099-01-01T00:00:00Z",
        ],
    )
    .await;
    assert_eq!(status, Some(1));
    assert!(
        stderr.contains(", before it begins at 2099-01-01T00:00:00Z; choose a later end"),
        "{stderr}"
    );
}

#[tokio::test]
async fn looking_into_the_state_makes_none() {
    let files = gate().files();
    let (status, stdout, stderr) = run(&files, &["list"]).await;
    assert_eq!((status, stdout.lines().count()), (Some(0), 1), "{stdout}");
    assert!(stderr.contains("there is no state file `"), "{stderr}");
    assert_eq!(run(&files, &["show", "ci"]).await.0, Some(1));
    let asked = files
        .cli(&["explain", "GET", "/v2/account", "--token", "ci"])
        .await;
    assert_eq!(asked.status.code(), Some(2));
    assert!(!files.path("tidegate.db").exists());
}

#[tokio::test]
async fn a_token_whose_role_is_gone_is_shown_so() {
    let files = gate().files();
    files.issue(&["lost", "--role", "spare"]).await;
    files.issue(&["ok", "--role", "all"]).await;
    files.write("policy.yaml", &POLICY[..POLICY.find("  spare").unwrap()]);
    assert_eq!(
        states(&files).await,
        [state("lost", "role_missing"), state("ok", "active")]
    );
    let (_, shown, _) = run(&files, &["show", "lost"]).await;
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("why") && line.contains("`spare`")),
        "{shown}"
    );
    assert_eq!(
        revoke(&files, &["--role", "spare"], "").0,
        Some(0),
        "it may be given back"
    );
    assert_eq!(states(&files).await[0], state("lost", "revoked"));
}

#[tokio::test]
async fn the_list_fits_a_terminal() {
    let wide = gate().env("COLUMNS", "80").files();
    let issued = [
        "nightly-backup-of-volumes",
        "--role",
        "all",
        "--role",
        "spare",
        "--from",
        "203.0.113.0/24",
        "--from",
        "2001:db8::/32",
        "--expires",
        "30d",
        "--max-uses",
        "1000",
    ];
    wide.issue(&issued).await;
    wide.issue(&["ci", "--role", "all"]).await;
    let (_, stdout, _) = run(&wide, &["list"]).await;
    for line in stdout.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(stdout.starts_with("NAME"), "{stdout}");
    assert!(stdout.contains(" STATE"), "{stdout}");
    let piped = gate().files();
    piped.issue(&issued).await;
    let (_, stdout, _) = run(&piped, &["list"]).await;
    assert!(
        stdout.contains("203.0.113.0/24,2001:db8::/32"),
        "whole where no terminal is: {stdout}"
    );
}

#[tokio::test]
async fn a_level_of_the_log_that_is_none_silences_nothing() {
    let api = crate::support::StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .env("TIDEGATE_LOG", "verbose")
        .start()
        .await;
    gate.log_until("TIDEGATE_LOG is none of error, warn, info, debug and trace; info is in force")
        .await;
    gate.finish(&api).await;
}
