//! Where the real token comes from, and that replacing it costs no request.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use std::{fs, str};

use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Fault, Gate, REAL_TOKEN, Reply, StandInApi};

const POLICY: &str = "version: 1\nroles:\n  all: { allow: [{ scopes: ['*'] }] }\n  some: { allow: [{ scopes: [tag:*], only: { tag: { name: x } } }] }\n";

/// A token that the API does not take.
fn stale() -> String {
    format!("dop_v1_{}", "cafe".repeat(16))
}

fn unauthorized() -> Fault {
    Fault::Reply(Reply::json(401, &json!({ "id": "Unauthorized" })))
}

/// The tokens that one path was asked for with, in their order.
fn shown(api: &StandInApi, method: &str, path: &str) -> Vec<String> {
    let heard = api.heard();
    let of_path = heard
        .iter()
        .filter(|heard| heard.method == method && heard.target == path);
    of_path
        .map(|heard| heard.bearer().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn while_a_token_is_replaced_both_are_tried_and_no_request_fails() {
    for (first, second) in [("new-token", "do-token"), ("do-token", "new-token")] {
        let api = StandInApi::start().await;
        let gate = Gate::builder(&api)
            .policy(POLICY)
            .file("new-token", &stale())
            .set(
                "accounts.default",
                json!({ "token_files": [first, second] }),
            )
            .start()
            .await;
        for role in ["all", "some"] {
            let token = gate.issue(&[role, "--role", role]).await;
            let made = gate
                .post("/v2/tags", &json!({ "name": "x" }))
                .token(&token)
                .send()
                .await;
            assert_eq!(made.status, 201, "{first} by {role}: {}", made.text());
            assert_eq!(
                gate.get("/v2/tags/x").token(&token).send().await.status,
                200
            );
        }
        let accepted = shown(&api, "POST", "/v2/tags");
        let accepted = accepted.iter().filter(|token| *token == REAL_TOKEN);
        assert_eq!(accepted.count(), 2, "each was carried out once");
        gate.finish(&api).await;
    }
}

#[tokio::test]
async fn a_refused_token_is_passed_over_once_another_is_taken() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .file("new-token", &stale())
        .set(
            "accounts.default",
            json!({ "token_files": ["missing", "new-token", "do-token"] }),
        )
        .start()
        .await;
    let token = gate.issue(&["a", "--role", "all"]).await;
    assert_eq!(gate.get("/v2/sizes").token(&token).send().await.status, 200);
    assert_eq!(gate.get("/v2/sizes").token(&token).send().await.status, 200);
    let last = shown(&api, "GET", "/v2/sizes").pop();
    assert_eq!(last.as_deref(), Some(REAL_TOKEN));
    api.clear();
    assert_eq!(gate.get("/v2/sizes").token(&token).send().await.status, 200);
    assert_eq!(shown(&api, "GET", "/v2/sizes"), [REAL_TOKEN]);
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_answer_with_either_token_in_it_is_cut_off() {
    let api = StandInApi::start().await;
    let other = stale();
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .file("new-token", &other)
        .set(
            "accounts.default",
            json!({ "token_files": ["do-token", "new-token"] }),
        )
        .start()
        .await;
    let token = gate.issue(&["a", "--role", "all"]).await;
    for secret in [REAL_TOKEN, &other] {
        let reply = Reply::json(200, &json!({ "account": { "name": secret } }));
        api.fault_once(Method::GET, "/v2/sizes", Fault::Reply(reply));
        let answer = gate.get("/v2/sizes").token(&token).send().await;
        assert_eq!(
            answer.reason(),
            Some("upstream_bad_answer"),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains(&secret[7..]));
    }
    gate.finish(&api).await;
}

/// Puts a program there that prints what a file holds, and counts how often it was run.
fn printing(gate_files: &std::path::Path, file: &str) -> Value {
    let program = gate_files.join("print-token");
    let text = format!(
        "#!/bin/sh\necho run >>\"{0}/runs\"\ncat \"{0}/{file}\"\necho of no interest >&2\n",
        gate_files.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).unwrap();
    json!(["./print-token", "$HOME", ";", "exit 1"])
}

fn runs(gate: &Gate) -> usize {
    gate.files().read("runs").lines().count()
}

#[tokio::test]
async fn a_command_prints_the_token_at_the_start_and_once_where_the_api_takes_none() {
    let api = StandInApi::start().await;
    let builder = Gate::builder(&api).policy(POLICY).file("printed", &stale());
    let command = printing(&builder.path(""), "do-token");
    let gate = builder
        .set("accounts.default", json!({ "token_command": command }))
        .start()
        .await;
    let token = gate.issue(&["a", "--role", "all"]).await;
    assert_eq!(gate.get("/v2/sizes").token(&token).send().await.status, 200);
    assert_eq!(runs(&gate), 1, "at the start, and not for each request");
    // The API takes it no more, and the command has another by now.
    gate.files().write("do-token", &stale());
    api.clear();
    api.fault_once(Method::GET, "/v2/sizes", unauthorized());
    gate.get("/v2/sizes").token(&token).send().await;
    let bearers = shown(&api, "GET", "/v2/sizes");
    assert_eq!(bearers, [REAL_TOKEN.to_owned(), stale()]);
    assert_eq!(runs(&gate), 2);
    // That one it does not take either, and the one before it does again.
    let answer = gate.get("/v2/sizes").token(&token).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = gate.logs().join("\n");
    assert!(
        !told.contains("of no interest"),
        "what a command says is never told"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_command_is_run_anew_when_its_time_comes_and_the_last_good_token_is_kept() {
    let api = StandInApi::start().await;
    let builder = Gate::builder(&api).policy(POLICY);
    let command = printing(&builder.path(""), "do-token");
    let gate = builder
        .set(
            "accounts.default",
            json!({ "token_command": command, "token_refresh": "1s" }),
        )
        .start()
        .await;
    let token = gate.issue(&["a", "--role", "all"]).await;
    let begun = Instant::now();
    while runs(&gate) < 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is run again");
        gate.get("/v2/sizes").token(&token).send().await;
    }
    gate.files().write("do-token", "dop_v1_half");
    gate.log_until("the last good one is kept").await;
    let told = gate.logs().join("\n");
    assert!(
        told.contains("after `_v1_` a real token has 64 hexadecimal digits"),
        "{told}"
    );
    assert!(!told.contains("dop_v1_half"));
    assert_eq!(gate.get("/v2/sizes").token(&token).send().await.status, 200);
    // A reload runs it too, and keeps what is known.
    gate.write_policy(&POLICY.replace("tag:*", "tag:read"));
    gate.log_until("reloaded").await;
    assert_eq!(gate.get("/v2/sizes").token(&token).send().await.status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_is_no_source_of_a_token_is_told_with_its_place() {
    let slow = json!(["sleep", "60"]);
    let cases = [
        (
            json!({}),
            "account `default` needs one source for its real token: `token_file`, `token_files`, `token_env` or `token_command`",
        ),
        (
            json!({ "token_file": "do-token", "token_files": ["do-token"] }),
            "account `default` needs one source for its real token: `token_file`, `token_files`, `token_env` or `token_command`",
        ),
        (
            json!({ "token_file": "do-token", "token_refresh": "1h" }),
            "`token_refresh` is how often `token_command` is run anew, and there is none; leave it out, as files are read whenever they change",
        ),
        (
            json!({ "token_files": [] }),
            "`token_files` lists the files of the new and the old token, and is empty; name them, or write `token_file`",
        ),
        (
            json!({ "token_files": ["a", "b"] }),
            "none of the files of `token_files` is there: ",
        ),
        (
            json!({ "token_command": [] }),
            "`token_command` names no program; list it and its arguments, as in [vault, kv, get, -field=token, secret/do]",
        ),
        (
            json!({ "token_command": "cat do-token" }),
            "`token_command` is a list, not a text or number; write `[…]`",
        ),
        (
            json!({ "token_command": ["no-such-program-anywhere"] }),
            "`token_command` can't be run: No such file or directory (os error 2); the first item is the program, the others are its arguments, and no shell is there to take them apart",
        ),
        (
            json!({ "token_command": ["false"] }),
            "`token_command` failed (exit status: 1); run it as the daemon's user to see why, as what it prints is not shown here",
        ),
        (
            json!({ "token_command": ["true"] }),
            "what `token_command` prints is no real token: it is empty; put the token there",
        ),
        (
            json!({ "token_command": ["yes"] }),
            "`token_command` printed more than 4096 bytes; it must print the token and nothing else",
        ),
        (
            json!({ "token_command": slow }),
            "`token_command` took longer than 10 s, and was ended; it must ask nobody and wait for nobody",
        ),
        (
            json!({ "token_command": ["true"], "token_refresh": "0s" }),
            "`token_refresh`",
        ),
    ];
    let api = StandInApi::start().await;
    for (account, expected) in cases {
        let files = Gate::builder(&api)
            .policy(POLICY)
            .set("accounts.default", account.clone())
            .files();
        let output = files.cli(&["check"]).await;
        let said = str::from_utf8(&output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{account}: {said}");
        assert!(said.contains(expected), "{account}: {said}");
    }
}
