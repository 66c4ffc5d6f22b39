//! How much of anything one client may have: connections, and time.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::support::{Fault, Gate, Hold, Kept, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
";

/// The memory that a process has, in bytes.
pub(crate) fn memory(pid: u32) -> usize {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    let resident = pages.split_whitespace().nth(1).unwrap();
    resident.parse::<usize>().unwrap() * 4096
}

/// Returns once something is so, which nobody tells.
pub(crate) async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How long until the gate closes a connection on which `bytes` were sent.
async fn closed_after(gate: &Gate, bytes: &str) -> Duration {
    let mut stream = gate.connect().await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let began = Instant::now();
    let mut said = Vec::new();
    timeout(Duration::from_secs(15), stream.read_to_end(&mut said))
        .await
        .expect("closed at all")
        .ok();
    began.elapsed()
}

#[tokio::test]
async fn a_head_that_does_not_come_and_a_connection_that_is_quiet_are_ended() {
    let api = StandInApi::start().await;
    let limits = json!({ "header_timeout": "1s", "idle_timeout": "3s" });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("limits", limits)
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let head = closed_after(&gate, "GET /v2/account HTTP/1.1\r\nhost: x\r\n").await;
    assert!(
        head >= Duration::from_millis(900) && head < Duration::from_millis(2500),
        "a head that is not finished: {head:?}"
    );
    let quiet = closed_after(
        &gate,
        &format!("GET /v2/account HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"),
    )
    .await;
    assert!(
        quiet >= Duration::from_millis(2800) && quiet < Duration::from_millis(5500),
        "between requests: {quiet:?}"
    );
    let answer = gate.raw(format!("POST /v2/droplets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: 10\r\n\r\n{{")).await;
    let said = String::from_utf8(answer).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 408") && said.contains("tidegate-reason: timeout"),
        "{said}"
    );
    assert_eq!(api.heard_count(), 1);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_long_answer_is_no_quiet_connection() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "limits",
            json!({ "header_timeout": "1s", "idle_timeout": "1s" }),
        )
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    api.fault_next(Fault::DelayHead(Duration::from_secs(3)));
    let answer = gate.get("/v2/account").token(&token).send().await;
    assert_eq!(answer.status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn beyond_the_most_connections_a_client_is_told_so() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("limits", json!({ "connections": 2 }))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let held = (gate.connect().await, gate.connect().await);
    // The two are accepted in order, before the third.
    let said = String::from_utf8(
        gate.raw(format!(
            "GET /v2/account HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n"
        ))
        .await,
    )
    .unwrap();
    assert!(
        said.starts_with("HTTP/1.1 503") && said.contains("tidegate-reason: overloaded"),
        "{said}"
    );
    drop(held);
    let began = Instant::now();
    loop {
        if gate
            .get("/v2/account")
            .token(&token)
            .try_send()
            .await
            .is_ok_and(|answer| answer.status == 200)
        {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(5), "free again");
    }
    gate.finish(&api).await;
}

/// What a connection is told on which the account is asked for.
async fn asked(gate: &Gate, token: &str) -> String {
    let said = gate
        .raw(format!(
            "GET /v2/account HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
    String::from_utf8(said).unwrap()
}

#[tokio::test]
async fn a_client_has_as_many_connections_as_it_may_and_a_proxy_and_a_socket_are_no_client() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "listen",
            json!([{ "address": "127.0.0.1:0" }, { "unix": "api.sock" }]),
        )
        .set("limits", json!({ "connections_per_client": 2 }))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let held = (gate.connect().await, gate.connect().await);
    let said = asked(&gate, &token).await;
    assert!(
        said.starts_with("HTTP/1.1 503")
            && said.contains("tidegate-reason: overloaded")
            && said.contains("from your address"),
        "{said}"
    );
    gate.log_until("as many connections as it may have").await;
    let socket = gate.files().path("api.sock");
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let stream = UnixStream::connect(&socket).await.unwrap();
        let mut kept = Kept::over(stream).await.unwrap();
        let ask = gate.get("/v2/account").token(&token);
        assert_eq!(ask.try_send_over(&mut kept).await.unwrap().status, 200);
        sockets.push(kept);
    }
    drop(held);
    until("a connection is free again", async || {
        asked(&gate, &token).await.starts_with("HTTP/1.1 200")
    })
    .await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn behind_a_proxy_the_told_clients_are_counted_and_not_the_proxy() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "listen",
            json!([{ "address": "127.0.0.1:0", "proxy_protocol": true }]),
        )
        .set("trusted_proxies", json!(["127.0.0.0/8"]))
        .set("limits", json!({ "connections_per_client": 1 }))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let ask =
        format!("GET /v2/account HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
    let mut held = Vec::new();
    for (client, status) in [
        ("TCP4 203.0.113.7 198.51.100.1 1 443", 200),
        ("TCP4 203.0.113.8 198.51.100.1 1 443", 200),
        ("TCP4 203.0.113.7 198.51.100.1 2 443", 503), // its second
        ("TCP6 2001:db8::1 2001:db8:1::1 1 443", 200),
        ("TCP6 2001:db8::2 2001:db8:1::1 1 443", 503), // of the same network
        ("UNKNOWN", 200),
        ("UNKNOWN", 200), // the proxy itself, twice
    ] {
        let mut stream = gate.connect().await;
        let header = format!("PROXY {client}\r\n");
        // Who is turned away is told so before it asks.
        let asked = if status == 200 { ask.as_str() } else { "" };
        let bytes = [header.as_bytes(), asked.as_bytes()].concat();
        stream.write_all(&bytes).await.unwrap();
        let mut begun = [0; 12];
        let reading = timeout(Duration::from_secs(15), stream.read_exact(&mut begun));
        reading.await.expect("an answer").unwrap();
        let expected = format!("HTTP/1.1 {status}");
        assert_eq!(begun, expected.as_bytes(), "{client}");
        held.push(stream);
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn beyond_the_most_requests_at_once_a_client_is_told_so() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("limits", json!({ "requests": 1 }))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let hold = Hold::new();
    api.fault_next(Fault::HoldHead(hold.clone()));
    let first = gate.get("/v2/account").token(&token).send();
    let second = async {
        api.heard_until(|heard| heard.len() == 1).await;
        let refused = gate.get("/v2/account").token(&token).send().await;
        assert_eq!(
            (refused.status.as_u16(), refused.reason()),
            (503, Some("overloaded"))
        );
        assert_eq!(refused.header("retry-after"), Some("1"));
        assert_eq!(gate.audit_of(&refused).await[0]["reason"], "overloaded");
        hold.release();
    };
    let (first, ()) = tokio::join!(first, second);
    assert_eq!(first.status, 200);
    assert_eq!(api.heard_count(), 1);
    until("the place is free again", async || {
        gate.get("/v2/account").token(&token).send().await.status == 200
    })
    .await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn who_does_not_read_an_answer_is_left_and_it_is_never_held_whole() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("limits", json!({ "idle_timeout": "1s", "requests": 4 }))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(
        gate.get("/v2/account").token(&token).send().await.status,
        200
    );
    let before = memory(gate.pid());
    api.fault_all("/v2/account", Fault::Huge { mib: 256 });
    let mut deaf = Vec::new();
    for _ in 0..4 {
        let mut stream = gate.connect().await;
        let ask =
            format!("GET /v2/account HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        deaf.push(stream);
    }
    let lines = gate
        .audit_until(|lines| {
            let left = |line: &&Value| line["detail"] == "the client left before the answer's end";
            lines.iter().filter(left).count() == 4
        })
        .await;
    assert_eq!(lines.last().unwrap()["status"], 200);
    let grown = memory(gate.pid()).saturating_sub(before);
    assert!(
        grown < 48 << 20,
        "1 GiB was on its way, {grown} bytes were held"
    );
    api.clear_faults();
    assert_eq!(
        gate.get("/v2/account").token(&token).send().await.status,
        200,
        "their places are free"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_ended_though_it_never_stops() {
    let api = StandInApi::start().await;
    let limits = json!({ "idle_timeout": "1s", "inspected_body": "1KiB" });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("limits", limits)
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    // One whose body is read, and one whose body is handed on as it comes.
    for (target, length, sent_first, status, reason) in [
        ("/v2/droplets", 1000, 0, 408, "timeout"),
        (
            "/v2/registry/subscription",
            4000,
            1500,
            409,
            "outcome_unknown",
        ),
    ] {
        let mut stream = gate.connect().await;
        let head = format!(
            "POST {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-length: {length}\r\n\r\n{}",
            " ".repeat(sent_first)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = stream.into_split();
        let trickle = tokio::spawn(async move {
            while writing.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let (began, mut said) = (Instant::now(), vec![0; 1000]);
        let read = timeout(Duration::from_secs(15), reading.read(&mut said));
        let count = read.await.expect("ended at all").unwrap();
        let (said, took) = (
            String::from_utf8_lossy(&said[..count]).into_owned(),
            began.elapsed(),
        );
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}"))
                && said.contains(&format!("tidegate-reason: {reason}")),
            "{target}: {said}"
        );
        assert!(
            took > Duration::from_millis(900) && took < Duration::from_secs(6),
            "{target}: {took:?}"
        );
        trickle.abort();
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn the_limit_of_open_files_is_raised_and_told_where_it_is_too_low() {
    let api = StandInApi::start().await;
    for (connections, wanted) in [(100, None), (5000, Some("limit=4096 wanted=6216"))] {
        let files = Gate::builder(&api)
            .policy(POLICY)
            .set("limits", json!({ "connections": connections }))
            .files();
        let mut daemon = Command::new("prlimit")
            .args(["--nofile=256:4096", env!("CARGO_BIN_EXE_tidegate"), "serve"])
            .arg("--config")
            .arg(files.path("tidegate.yaml"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("`prlimit` runs");
        let lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
        let mut said: Vec<String> = Vec::new();
        for line in lines.map_while(Result::ok) {
            let listens = line.contains("listening");
            said.push(line);
            if listens {
                break;
            }
        }
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", daemon.id())).unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let open = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let open: Vec<_> = open.unwrap().split_whitespace().collect();
        assert_eq!(open[3..5], ["4096", "4096"]);
        let said = said.join("\n");
        let told = said.contains("the limit of open files is lower than");
        assert_eq!(told, wanted.is_some(), "{said}");
        assert!(wanted.is_none_or(|wanted| said.contains(wanted)), "{said}");
    }
}
