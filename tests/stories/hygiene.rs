//! What the process keeps from others: its memory, its files, and secrets that others could have read.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::support::gate::{Files, NotStarted, Signal};
use crate::support::{Gate, REAL_TOKEN, StandInApi};

const POLICY: &str = "version: 1\nroles: { all: { allow: [{ scopes: ['*'] }] } }\n";

fn chmod(files: &Files, name: &str, mode: u32) {
    fs::set_permissions(files.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(files: &Files, name: &str) -> u32 {
    fs::metadata(files.path(name)).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn no_core_is_dumped_and_files_are_the_daemons_own_whatever_umask_and_limits_were() {
    let api = StandInApi::start().await;
    let admin = json!({ "unix": "admin.sock" });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("admin", admin)
        .before("umask 0; ulimit -S -c \"$(ulimit -H -c)\"", None)
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    gate.get("/v2/droplets/12").token(&token).send().await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", gate.pid())).unwrap();
    let core: Vec<_> = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(core, ["0", "0", "bytes"]);
    let status = fs::read_to_string(format!("/proc/{}/status", gate.pid())).unwrap();
    assert!(status.contains("Umask:\t0077"), "{status}");
    for (name, expected) in [
        ("tidegate.db", 0o600),
        ("tidegate.db-wal", 0o600),
        ("tidegate.db-shm", 0o600),
        ("audit.jsonl", 0o600),
        ("admin.sock", 0o660),
    ] {
        assert_eq!(mode(gate.files(), name), expected, "{name}");
    }
    gate.finish(&api).await;
}

/// `serve` and `check` both refuse, and say what to run; once that has run, both are content.
async fn refused_until_mended(
    config: &[(&str, Value)],
    name: &str,
    loose: &[u32],
    said_of_it: &str,
) {
    let api = StandInApi::start().await;
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let build = || {
        let builder = Gate::builder(&api)
            .policy(POLICY)
            .file("tls.crt", &pair.cert.pem())
            .file("tls.key", &pair.signing_key.serialize_pem());
        config.iter().fold(builder, |builder, (path, value)| {
            builder.set(path, value.clone())
        })
    };
    let mut gate = build().start().await;
    gate.issue(&["ci", "--role", "all"]).await;
    gate.signal(Signal::Term);
    gate.wait_exit().await;
    for &loose in loose {
        chmod(gate.files(), name, loose);
        let path = gate.files().path(name);
        let checked = gate.cli(&["check"]).await;
        let check = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.code(), Some(1), "{check}");
        let Err(NotStarted { status, logs }) = gate.try_start_again().await else {
            panic!("it starts with the mode {loose:o}");
        };
        assert_eq!(status.and_then(|status| status.code()), Some(1));
        let serve = logs.last().unwrap().clone();
        for said in [check, serve] {
            assert!(said.contains(said_of_it), "{said}");
            let mode = format!("`{}` has the mode {loose:04o}", path.display());
            assert!(said.contains(&mode), "{said}");
            let command = said.split("run `").nth(1).unwrap().split('`').next();
            let run = std::process::Command::new("sh")
                .args(["-c", command.unwrap()])
                .status();
            assert!(run.unwrap().success(), "{command:?}");
        }
        let mended = gate.cli(&["check"]).await;
        assert!(mended.status.success(), "{:?}", mended.stderr);
    }
    gate.start_again().await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_real_token_that_others_could_read_is_refused() {
    refused_until_mended(
        &[],
        "do-token",
        &[0o644, 0o660, 0o602],
        "the real token of account `default`: `",
    )
    .await;
}

#[tokio::test]
async fn a_private_key_that_others_could_read_is_refused() {
    let tls = json!({ "certificate": "tls.crt", "private_key": "tls.key" });
    let listen = json!([{ "address": "127.0.0.1:0", "tls": tls }]);
    refused_until_mended(
        &[("listen", listen)],
        "tls.key",
        &[0o644, 0o660],
        "TLS of the listener at 127.0.0.1:0: `",
    )
    .await;
}

#[tokio::test]
async fn a_state_that_others_could_read_is_refused() {
    refused_until_mended(
        &[],
        "tidegate.db",
        &[0o644, 0o602, 0o664],
        "the state file `",
    )
    .await;
}

/// As Kubernetes mounts a secret: links to a file of root, which the group of the pod may read.
#[tokio::test]
async fn a_real_token_behind_links_is_judged_by_the_file_at_their_end() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let at = |name: &str| gate.files().path(name);
    fs::create_dir(at("..1")).unwrap();
    fs::rename(at("do-token"), at("..1").join("do-token")).unwrap();
    symlink("..1", at("..data")).unwrap();
    symlink("..data/do-token", at("do-token")).unwrap();
    let of_root = fs::metadata(at("do-token")).unwrap().uid() == 0;
    let cases = [
        (0o400, true),
        (0o440, of_root),
        (0o640, of_root),
        (0o644, false),
    ];
    for (mode, good) in cases {
        chmod(gate.files(), "..1/do-token", mode);
        let checked = gate.cli(&["check"]).await;
        let said = String::from_utf8(checked.stderr).unwrap();
        assert_eq!(checked.status.success(), good, "mode {mode:o}: {said}");
        assert!(!said.contains(REAL_TOKEN));
    }
    gate.signal(Signal::Hup);
    gate.log_until("the old configuration and policy stay in force")
        .await;
    fs::remove_file(at("..1").join("do-token")).unwrap(); // the harness looks for the token everywhere but at its own place
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_policy_that_others_may_write_is_refused_at_the_start_and_by_a_reload() {
    let api = StandInApi::start().await;
    let mut gate = Gate::start(
        &api,
        "version: 1\nroles: { all: { allow: [{ scopes: ['*'] }] } }\n",
    )
    .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let policy = gate.files().path("policy.yaml");
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o666)).unwrap();
    gate.signal(Signal::Hup);
    let why = format!(
        "the policy is not taken: `{}` has the mode 0666: everybody may write it, and who writes it decides what sub-tokens may; look through it, and run `chmod o-w {}`",
        policy.display(),
        policy.display()
    );
    gate.log_until(&why).await;
    let answer = gate.get("/v2/account").token(&token).send().await;
    assert_eq!(answer.status, 200, "the old policy stays in force");
    let check = gate.cli(&["check"]).await;
    assert_eq!(check.status.code(), Some(1));
    assert!(String::from_utf8(check.stderr).unwrap().contains(&why));
    gate.signal(Signal::Term);
    gate.wait_exit().await;
    let Err(NotStarted { logs, .. }) = gate.try_start_again().await else {
        panic!("it starts with a policy that everybody may write");
    };
    assert!(logs.join("\n").contains(&why), "{logs:?}");
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o600)).unwrap();
    gate.start_again().await;
    gate.finish(&api).await;
}
