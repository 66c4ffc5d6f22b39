//! The audit record: one final line for each request, a line before whatever changes something, and no secret in any.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use hyper::Method;
use serde_json::{Value, json};

use super::limits::until;
use crate::support::gate::Signal;
use crate::support::{Gate, REAL_TOKEN, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*', kubernetes:access_cluster] }]
  read:
    allow: [{ scopes: ['*:read'] }]
";

fn events(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_line_says_who_asked_what_from_where_and_what_came_of_it() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let answer = gate
        .get("/v2/droplets/12/?per_page=200")
        .token(&token)
        .send()
        .await;
    let lines = gate.audit_of(&answer).await;
    assert_eq!(events(&lines), ["answer"]);
    let line = &lines[0];
    let expected = json!({
        "client_ip": "127.0.0.1", "method": "GET", "path": "/v2/droplets/12", "endpoint": "droplets_get", "scopes": ["droplet:read"],
        "resources": [{ "kind": "droplet", "id": "12", "scope": "droplet:read" }], "decision": "allow", "reason": "all.allow[0]", "account": "default",
        "status": 200, "upstream_status": 200, "upstream_calls": 1,
    });
    for (member, value) in expected.as_object().unwrap() {
        assert_eq!(&line[member], value, "{member} of {line}");
    }
    assert_eq!(
        (&line["token"]["name"], &line["token"]["id"]),
        (&json!("ci"), &json!(&token[7..19]))
    );
    assert_eq!(
        line["request_id"],
        answer.header("tidegate-request-id").unwrap()
    );
    let time = line["time"].as_str().unwrap();
    assert!(
        time.len() == 27 && time.ends_with('Z'),
        "microseconds, UTC: {time}"
    );
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
    let mode = std::fs::metadata(gate.files().path("audit.jsonl"))
        .unwrap()
        .permissions()
        .mode()
        & 0o777;
    assert_eq!(mode, 0o600);
    gate.finish(&api).await;
}

#[tokio::test]
async fn the_path_on_record_is_the_one_that_goes() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["--role", "all"]).await;
    for sent in [
        "/v2/domains/Example.COM./records/",
        "/v2/volumes/506F78A4-E098-11E5-AD9F-000F53306AE1",
        "/v2/droplets/%31%32",
    ] {
        api.clear();
        let answer = gate.get(sent).token(&token).send().await;
        let lines = gate.audit_of(&answer).await;
        let [heard] = api.heard().try_into().expect("one request");
        assert_eq!(lines[0]["path"], heard.path(), "{sent}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_changes_something_or_hands_out_a_login_is_on_record_before_it_goes() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let answer = gate
        .post("/v2/tags", &json!({ "name": "x" }))
        .token(&token)
        .send()
        .await;
    let lines = gate.audit_of(&answer).await;
    assert_eq!(events(&lines), ["decision", "answer"]);
    assert_eq!(
        (&lines[0]["decision"], &lines[0]["status"]),
        (&json!("allow"), &Value::Null)
    );
    let answer = gate
        .get("/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig")
        .token(&token)
        .send()
        .await;
    assert_eq!(
        events(&gate.audit_of(&answer).await),
        ["decision", "answer"]
    );
    let answer = gate
        .post("/v2/apps/propose", &json!({ "spec": {} }))
        .token(&token)
        .send()
        .await;
    assert_eq!(
        events(&gate.audit_of(&answer).await),
        ["answer"],
        "it only reads"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn refusals_have_their_code_and_strangers_no_name() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "read"]).await;
    let refused = gate.delete("/v2/droplets/12").token(&token).send().await;
    let line = gate.audit_of(&refused).await.remove(0);
    assert_eq!(
        (&line["decision"], &line["reason"], &line["status"]),
        (&json!("deny"), &json!("scope"), &json!(403))
    );
    assert_eq!(
        line["upstream_calls"],
        Value::Null,
        "members that do not apply are left out"
    );
    let stranger = gate
        .get("/v2/account")
        .header("authorization", "Bearer nonsense")
        .send()
        .await;
    let line = gate.audit_of(&stranger).await.remove(0);
    assert_eq!(
        (&line["reason"], &line["token"], &line["path"]),
        (&json!("unknown_token"), &Value::Null, &Value::Null)
    );
    let real = gate
        .get("/v2/account")
        .header("authorization", &format!("Bearer {REAL_TOKEN}"))
        .send()
        .await;
    assert_eq!(gate.audit_of(&real).await[0]["reason"], "real_token");
    gate.finish(&api).await; // which looks for both tokens in every line
}

#[tokio::test]
async fn a_token_in_a_path_or_body_is_blotted_out() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "read"]).await;
    let answer = gate
        .delete(&format!("/v2/tags/{token}"))
        .token(&token)
        .send()
        .await;
    let line = gate.audit_of(&answer).await.remove(0);
    assert_eq!(line["path"], "/v2/tags/tdg_v1_…");
    let answer = gate
        .get(&format!("/v2/nothing/{token}"))
        .token(&token)
        .send()
        .await;
    assert_eq!(
        gate.audit_of(&answer).await[0]["path"],
        "/v2/nothing/tdg_v1_…"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn without_a_record_nothing_goes() {
    let api = StandInApi::start().await;
    // A device that takes no byte: the disk is full.
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("audit", json!({ "file": "/dev/full" }))
        .start()
        .await;
    let token = gate
        .issue(&["ci", "--role", "all", "--max-uses", "5"])
        .await;
    for _ in 0..3 {
        let answer = gate
            .post("/v2/tags", &json!({ "name": "x" }))
            .token(&token)
            .send()
            .await;
        assert_eq!(
            (answer.status.as_u16(), answer.reason()),
            (503, Some("audit_unavailable")),
            "{}",
            answer.text()
        );
        let answer = gate
            .get("/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig")
            .token(&token)
            .send()
            .await;
        assert_eq!(answer.reason(), Some("audit_unavailable"));
    }
    // Once a line could not be written, reads are refused too.
    let answer = gate.get("/v2/account").token(&token).send().await;
    assert_eq!(answer.reason(), Some("audit_unavailable"));
    assert_eq!(api.heard_count(), 0);
    let listed: Value =
        serde_json::from_slice(&gate.cli(&["token", "list", "--json"]).await.stdout).unwrap();
    assert_eq!(listed[0]["uses_left"], 5, "what did not go costs no use");
    gate.finish(&api).await;
}

#[tokio::test]
async fn sighup_opens_the_file_anew() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let before = gate.get("/v2/account").token(&token).send().await;
    gate.audit_of(&before).await;
    let (file, moved) = (
        gate.files().path("audit.jsonl"),
        gate.files().path("audit.1.jsonl"),
    );
    std::fs::rename(&file, &moved).unwrap();
    gate.signal(Signal::Hup);
    gate.log_until("the audit sink is open anew").await;
    let after = gate
        .post("/v2/tags", &json!({ "name": "x" }))
        .token(&token)
        .send()
        .await;
    let lines = gate.audit_of(&after).await;
    assert_eq!(lines[0]["method"], "POST");
    assert!(
        std::fs::read_to_string(moved)
            .unwrap()
            .contains("account_get")
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn every_request_has_exactly_one_final_line() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let mut ids = Vec::new();
    for (method, path) in [
        (Method::GET, "/v2/droplets"),
        (Method::DELETE, "/v2/tags/x"),
        (Method::GET, "/v2/nothing"),
        (Method::GET, "/.tidegate/v1/whoami"),
        (Method::OPTIONS, "/v2/x"),
        (Method::HEAD, "/v2/account"),
    ] {
        let answer = gate.request(method, path).token(&token).send().await;
        ids.push(answer.header("tidegate-request-id").unwrap().to_owned());
    }
    let finals = |lines: &[Value]| {
        lines
            .iter()
            .filter(|line| line["event"] == "answer")
            .count()
    };
    let lines = gate.audit_until(|lines| finals(lines) == ids.len()).await;
    for id in ids {
        assert_eq!(
            lines
                .iter()
                .filter(|line| line["request_id"] == id && line["event"] == "answer")
                .count(),
            1,
            "{id}"
        );
    }
    gate.finish(&api).await;
}

/// What a write and a read are answered, by their codes.
async fn codes(gate: &Gate, token: &str) -> [Option<String>; 2] {
    let write = gate.post("/v2/tags", &json!({ "name": "x" }));
    let write = write.token(token).send().await;
    let read = gate.get("/v2/account").token(token).send().await;
    [write, read].map(|answer| answer.reason().map(str::to_owned))
}

fn refused() -> [Option<String>; 2] {
    [(); 2].map(|()| Some("audit_unavailable".to_owned()))
}

/// Limits how large a file may be that the daemon writes, as a full disk does.
fn file_size(gate: &Gate, limit: &str) {
    let pid = gate.pid().to_string();
    let set = Command::new("prlimit")
        .args(["--pid", &pid, &format!("--fsize={limit}:unlimited")])
        .status();
    assert!(set.expect("`prlimit` runs").success());
}

#[tokio::test]
async fn a_disk_that_is_full_refuses_until_there_is_room_and_no_line_is_mixed_with_another() {
    let api = StandInApi::start().await;
    // Larger than the state will be, so that the audit file alone is too large.
    let padding = "x".repeat(16 << 10);
    let old = format!("{{\"event\":\"old\",\"padding\":\"{padding}\"}}\n").repeat(512);
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .file("audit.jsonl", &old)
        .set("audit.chain", json!(true))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(codes(&gate, &token).await, [None, None]);
    let path = gate.files().path("audit.jsonl");
    let size = || std::fs::metadata(&path).unwrap().len();
    gate.audit_until(|lines| lines.len() == old.lines().count() + 3)
        .await;
    let heard = api.heard_count();
    file_size(&gate, &(size() + 100).to_string());
    for _ in 0..3 {
        assert_eq!(codes(&gate, &token).await, refused());
    }
    assert_eq!(api.heard_count(), heard, "nothing was sent");
    file_size(&gate, "unlimited");
    assert_eq!(codes(&gate, &token).await, [None, None]);
    gate.log_until("audit lines can be written again").await;
    let verified = gate.cli(&["audit", "verify", path.to_str().unwrap()]).await;
    let said = String::from_utf8(verified.stderr).unwrap();
    assert!(verified.status.success(), "{said}");
    assert_eq!(said.matches("half a line").count(), 1, "{said}");
    std::fs::write(&path, "").unwrap(); // half a line is there, which is no JSON
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_pipe_without_a_reader_refuses_until_there_is_one() {
    let api = StandInApi::start().await;
    let builder = Gate::builder(&api)
        .policy(POLICY)
        .set("audit", json!({ "file": "pipe" }));
    let files = builder.path("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&files)
            .status()
            .unwrap()
            .success()
    );
    let open = || {
        let both = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&files);
        both.unwrap() // for both it waits for nobody
    };
    let reader = open();
    let gate = builder.start().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(codes(&gate, &token).await, [None, None]);
    let heard = api.heard_count();
    drop(reader);
    for _ in 0..3 {
        assert_eq!(codes(&gate, &token).await, refused());
    }
    assert_eq!(api.heard_count(), heard);
    let _reader = open();
    assert_eq!(codes(&gate, &token).await, [None, None]);
    gate.finish(&api).await;
}

#[tokio::test]
async fn standard_output_that_nobody_reads_refuses() {
    let api = StandInApi::start().await;
    let builder = Gate::builder(&api).policy(POLICY).deaf();
    let gate = builder.set("audit", json!("stdout")).start().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    for _ in 0..3 {
        assert_eq!(codes(&gate, &token).await, refused());
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_chain_holds_over_a_crash_and_over_a_new_file_and_shows_what_was_touched() {
    let api = StandInApi::start().await;
    let mut gate = Gate::builder(&api)
        .policy(POLICY)
        .set("audit.chain", json!(true))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let (file, moved) = (
        gate.files().path("audit.jsonl"),
        gate.files().path("audit.1.jsonl"),
    );
    codes(&gate, &token).await;
    gate.audit_until(|lines| lines.len() == 3).await;
    std::fs::rename(&file, &moved).unwrap();
    gate.signal(Signal::Hup);
    gate.log_until("the audit sink is open anew").await;
    codes(&gate, &token).await;
    gate.audit_until(|lines| lines.len() == 3).await;
    gate.signal(Signal::Kill);
    gate.wait_exit().await;
    // A crash of the machine leaves half a line.
    let text = std::fs::read(&file).unwrap();
    std::fs::write(&file, &text[..text.len() - 20]).unwrap();
    gate.start_again().await;
    gate.log_until("the audit file ends in half a line").await;
    codes(&gate, &token).await;
    let ended = |text: &str| text.ends_with('\n') && text.lines().count() == 6;
    until("three lines more", async || {
        ended(&std::fs::read_to_string(&file).unwrap())
    })
    .await;
    let (one, two) = (moved.to_str().unwrap(), file.to_str().unwrap());
    let verify = async |arguments: &[&str]| {
        let output = gate.cli(&[&["audit", "verify"], arguments].concat()).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (code, told, beside) = verify(&[one, two]).await;
    assert_eq!(code, Some(0), "{told}{beside}");
    assert!(
        told.starts_with("whole: 9 lines; the last has the hash "),
        "{told}"
    );
    assert!(
        beside.contains(&format!("{two}:3: half a line")),
        "{beside}"
    );
    let (code, told, _) = verify(&[one, two, "--json"]).await;
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (code, &told["whole"], &told["lines"]),
        (Some(0), &json!(true), &json!(9))
    );
    // Whoever makes a deny of an allow is found out at the next line, also over the end of a file.
    let text = std::fs::read_to_string(&moved).unwrap();
    let lines: Vec<_> = text.lines().collect();
    let changed = lines[2].replace("\"allow\"", "\"deny\"");
    assert_ne!(changed, lines[2]);
    std::fs::write(&moved, [lines[0], lines[1], &changed, ""].join("\n")).unwrap();
    let (code, told, beside) = verify(&[one, two]).await;
    assert_eq!(code, Some(1), "{told}");
    assert!(
        told.starts_with("broken at 1: 9 lines")
            && beside.contains(&format!("{two}:1: it does not go on from the line before")),
        "{told}{beside}"
    );
    let (code, ..) = verify(&["/nowhere"]).await;
    assert_eq!(code, Some(2));
    std::fs::write(&file, "").unwrap(); // half a line is there, which is no JSON
    gate.finish(&api).await;
}
