//! `tidegate init`: from an empty directory to a gate that runs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::{REAL_TOKEN, StandInApi};

/// `tidegate …` with this on standard input; its status and what it said.
async fn tidegate(arguments: &[&str], stdin: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command
        .args(arguments)
        .env_remove("TIDEGATE_CONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let stdin = stdin.to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        let _ = pipe.write_all(stdin.as_bytes()); // it may not wait to hear all
        drop(pipe);
        child.wait_with_output().unwrap()
    });
    let output = run.await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_empty_directory_becomes_a_gate_that_check_is_content_with() {
    let api = StandInApi::start().await;
    let place = TempDir::new().unwrap();
    let directory = place.path().join("gate");
    let dir = directory.to_str().unwrap();
    let url = api.url();
    let arguments = ["init", "--dir", dir, "--upstream", &url];
    let (status, stdout, stderr) = tidegate(&arguments, &format!("\n  {REAL_TOKEN}\r\n")).await;
    assert_eq!(status, Some(0), "{stderr}");
    assert_eq!(stderr, format!("{url} takes the token\n"));
    assert_eq!(api.heard().len(), 1, "the account, once");
    assert!(!stdout.contains(REAL_TOKEN));
    assert_eq!(
        names(&directory),
        ["do-token", "policy.yaml", "tidegate.yaml"]
    );
    let token = directory.join("do-token");
    assert_eq!(fs::metadata(&token).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    assert_eq!(
        fs::read_to_string(&token).unwrap(),
        format!("{REAL_TOKEN}\n")
    );
    let config = directory.join("tidegate.yaml");
    let config = config.to_str().unwrap();
    let next = format!(
        "Next, in one terminal and in another:\n  tidegate serve --config {config}\n  tidegate token issue me --role read-only --config {config}\n"
    );
    assert!(stdout.ends_with(&next), "{stdout}");
    let (status, _, said) = tidegate(&["check", "--config", config], "").await;
    assert_eq!(status, Some(0), "{said}");
    let issue = next.lines().nth(2).unwrap().split_whitespace().skip(1);
    let (status, sub_token, said) = tidegate(&issue.collect::<Vec<_>>(), "").await;
    assert_eq!(status, Some(0), "{said}");
    assert!(sub_token.starts_with("tdg_v1_"));
    let (status, ..) = tidegate(&["check", "--strict", "--config", config], "").await;
    assert_eq!(status, Some(0));
}

#[tokio::test]
async fn what_the_api_refuses_or_is_no_token_is_not_written() {
    let api = StandInApi::start().await;
    let place = TempDir::new().unwrap();
    let dir = place.path().to_str().unwrap().to_owned();
    let url = api.url();
    let stranger = format!("dop_v1_{}", "0a".repeat(32));
    for (text, expected) in [
        (
            stranger.clone(),
            "does not take this token (401), so nothing was written",
        ),
        (String::new(), "this is no real token: it is empty"),
        (
            stranger[..40].to_owned(),
            "this is no real token: it is not whole",
        ),
        (
            format!("DIGITALOCEAN_TOKEN={stranger}"),
            "this is no real token: there is something before it",
        ),
    ] {
        let (status, stdout, stderr) =
            tidegate(&["init", "--dir", &dir, "--upstream", &url], &text).await;
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(!format!("{stdout}{stderr}").contains("0a0a"), "{stderr}");
        assert_eq!(names(place.path()), [""; 0]);
    }
    let (status, _, stderr) = tidegate(
        &["init", "--dir", &dir, "--upstream", "http://192.0.2.1"],
        &stranger,
    )
    .await;
    assert_eq!(status, Some(1));
    assert!(
        stderr.starts_with("the real token would travel in the clear"),
        "{stderr}"
    );
}

#[tokio::test]
async fn without_the_api_it_is_said_that_nothing_is_known() {
    for (more, expected) in [
        (
            &["--upstream", "http://127.0.0.1:1"][..],
            "http://127.0.0.1:1 can't be reached from here, so whether it takes the token is not known",
        ),
        (
            &["--offline"],
            "the API was not asked whether it takes the token",
        ),
    ] {
        let place = TempDir::new().unwrap();
        let dir = place.path().to_str().unwrap();
        let (status, _, stderr) =
            tidegate(&[&["init", "--dir", dir], more].concat(), REAL_TOKEN).await;
        assert_eq!(status, Some(0), "{stderr}");
        assert!(stderr.starts_with(expected), "{stderr}");
        assert_eq!(names(place.path()).len(), 3);
    }
}

#[tokio::test]
async fn nothing_is_overwritten() {
    for name in ["tidegate.yaml", "policy.yaml", "do-token"] {
        let place = TempDir::new().unwrap();
        fs::write(place.path().join(name), "mine").unwrap();
        let dir = place.path().to_str().unwrap();
        let (status, _, stderr) = tidegate(&["init", "--dir", dir, "--offline"], REAL_TOKEN).await;
        assert_eq!(status, Some(1));
        assert!(
            stderr.contains(&format!(
                "{name}` is there already, and nothing is overwritten"
            )),
            "{stderr}"
        );
        assert_eq!(names(place.path()), [name]);
        assert_eq!(fs::read_to_string(place.path().join(name)).unwrap(), "mine");
    }
}
