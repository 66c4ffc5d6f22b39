//! `tidegate audit search` and `verify`: what a token did, over files that were moved away and packed.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::gate::{Files, Signal};
use crate::support::{Gate, StandInApi};

const POLICY: &str = "version: 1\nroles:\n  all:\n    allow: [{ scopes: ['*'] }]\n  reader:\n    allow: [{ scopes: ['*:read'] }]\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text).unwrap();
    packed.finish().unwrap()
}

async fn audit(files: &Files, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = files.cli(&[&["audit"], arguments].concat()).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The recorded requests that are found, as `METHOD path`.
async fn found(files: &Files, arguments: &[&str]) -> Vec<String> {
    let (status, stdout, stderr) = audit(files, &[&["search", "--json"], arguments].concat()).await;
    assert_eq!(status, Some(0), "{stderr}");
    let records = stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    records
        .map(|record| format!("{} {}", text(&record["method"]), text(&record["path"])))
        .collect()
}

#[tokio::test]
async fn what_a_token_did_is_found_over_all_files_of_the_record() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("audit.chain", json!(true))
        .start()
        .await;
    let ci = gate.issue(&["ci", "--role", "all"]).await;
    let reader = gate.issue(&["reader", "--role", "reader"]).await;
    let file = gate.files().path("audit.jsonl");
    gate.delete("/v2/droplets/12").token(&ci).send().await;
    gate.get("/v2/droplets/14").token(&reader).send().await;
    gate.audit_until(|lines| lines.len() == 3).await;
    fs::rename(&file, gate.files().path("audit.jsonl.1")).unwrap();
    gate.signal(Signal::Hup);
    gate.log_until("the audit sink is open anew").await;
    gate.delete("/v2/droplets/14").token(&reader).send().await;
    gate.get("/v2/domains/example.com").token(&ci).send().await;
    gate.audit_until(|lines| lines.len() == 2).await;
    let moved = gate.files().path("audit.jsonl.2.gz");
    let plain = gate.files().path("audit.jsonl.1");
    fs::write(&moved, gzip(&fs::read(&plain).unwrap())).unwrap();
    fs::remove_file(&plain).unwrap();
    fs::write(gate.files().path("audit.jsonl.bak"), "not of the record").unwrap();
    let files = gate.files();
    let of_ci = ["DELETE /v2/droplets/12", "GET /v2/domains/example.com"];
    let cases: [(&[&str], &[&str]); 10] = [
        (
            &[],
            &[
                "DELETE /v2/droplets/12",
                "GET /v2/droplets/14",
                "DELETE /v2/droplets/14",
                "GET /v2/domains/example.com",
            ],
        ),
        (&["--token", "ci"], &of_ci),
        (&["--token", &ci[7..19]], &of_ci),
        (&["--token", &ci], &of_ci),
        (
            &["--changes"],
            &["DELETE /v2/droplets/12", "DELETE /v2/droplets/14"],
        ),
        (&["--refused"], &["DELETE /v2/droplets/14"]),
        (
            &["--resource", "droplet:14", "--refused"],
            &["DELETE /v2/droplets/14"],
        ),
        (&["--resource", "droplet:12"], &["DELETE /v2/droplets/12"]),
        (
            &["--resource", "example.com"],
            &["GET /v2/domains/example.com"],
        ),
        (&["--since", "2099-01-01T00:00:00Z"], &[]),
    ];
    for (arguments, expected) in cases {
        assert_eq!(found(files, arguments).await, expected, "{arguments:?}");
    }
    assert_eq!(found(files, &["--since", "1h"]).await.len(), 4);
    let (_, stdout, stderr) = audit(files, &["search", "--token", "ci"]).await;
    let mut lines = stdout.lines();
    let line = lines.next().unwrap();
    assert!(
        line.contains(
            "  ci  127.0.0.1  204  DELETE /v2/droplets/12  allow all.allow[0]  droplet:12"
        ),
        "{line}"
    );
    assert!(stderr.contains("2 requests from "), "{stderr}");
    assert!(
        stderr.contains(
            ": 2 let through, 1 of these to change something; 0 refused; from 127.0.0.1\n"
        ),
        "{stderr}"
    );
    // Files may be named, and come through a pipe.
    assert_eq!(found(files, &[moved.to_str().unwrap()]).await.len(), 2);
    let piped = through_a_pipe(
        files,
        &["audit", "search", "--json", "-"],
        &fs::read(&moved).unwrap(),
    );
    assert_eq!(piped.1.lines().count(), 2);
    let (status, verdict, _) =
        through_a_pipe(files, &["audit", "verify", "-"], &fs::read(&moved).unwrap());
    assert_eq!(status, Some(0));
    assert!(
        verdict.starts_with("whole: 3 lines; ") && verdict.contains("; the chain begins at -:1\n"),
        "{verdict}"
    );
    let (status, verdict, _) = audit(
        files,
        &["verify", moved.to_str().unwrap(), file.to_str().unwrap()],
    )
    .await;
    assert_eq!(
        (status, verdict.starts_with("whole: 5 lines; ")),
        (Some(0), true),
        "{verdict}"
    );
    let (status, verdict, _) = audit(files, &["verify", file.to_str().unwrap()]).await;
    assert_eq!(status, Some(0));
    assert!(
        verdict.contains(&format!(
            "the chain begins before {}:1, after a line with the hash ",
            file.display()
        )),
        "{verdict}"
    );
    gate.finish(&api).await;
}

fn through_a_pipe(
    files: &Files,
    arguments: &[&str],
    stdin: &[u8],
) -> (Option<i32>, String, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .arg("--config")
        .arg(files.path("tidegate.yaml"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[tokio::test]
async fn what_is_no_record_is_told_and_what_was_cut_off_by_a_crash_is_found() {
    let files = Gate::builder_to("http://127.0.0.1:1")
        .policy(POLICY)
        .files();
    let line = |event: &str, id: &str, method: &str| {
        format!(
            "{{\"time\":\"2027-01-31T00:00:00.000000Z\",\"event\":\"{event}\",\"request_id\":\"{id}\",\"token\":{{\"id\":\"4fZ0aB9cD8eF\",\"name\":\"a\\u001b[2Jb\"}},\"method\":\"{method}\",\"path\":\"/v2/droplets/12\",\"decision\":\"allow\"}}\n"
        )
    };
    let text = [
        line("decision", "r1", "DELETE"),
        line("answer", "r2", "GET"),
        "\u{0}\u{1}nonsense\n".to_owned(),
        "{\"a\":1}\n".to_owned(),
    ]
    .concat();
    let path = files.path("odd.jsonl");
    fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(
        found(&files, &[path]).await,
        ["GET /v2/droplets/12", "DELETE /v2/droplets/12"]
    );
    let (_, stdout, stderr) = audit(&files, &["search", path]).await;
    assert!(!stdout.contains('\u{1b}'), "{stdout:?}");
    assert!(
        stderr.contains(
            "1 request, the last, without a final line: under way, or cut off by a crash"
        ),
        "{stderr}"
    );
    assert!(
        stderr.contains(&format!(
            "2 lines can't be read as records, the first at {path}:3"
        )),
        "{stderr}"
    );
    let (status, verdict, beside) = audit(&files, &["verify", path]).await;
    assert_eq!(status, Some(1), "{verdict}");
    assert!(
        beside.contains(&format!(
            "{path}:3: it is no record, and not half of one as a crash leaves it either"
        )),
        "{beside}"
    );
    let (status, ..) = audit(&files, &["search", "/nowhere"]).await;
    assert_eq!(status, Some(2));
    let (status, _, said) = audit(&files, &["search", "--token", "tdg_v1_half", path]).await;
    assert!(status == Some(1) && !said.contains("half"), "{said}");
}
