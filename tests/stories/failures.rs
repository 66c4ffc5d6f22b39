//! When the API fails: the client is told what is known, nothing that changes something is sent twice, and the real token
//! gets out by no answer.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::support::standin::{REAL_TOKEN, gzip};
use crate::support::{Answer, Fault, Framing, Gate, RawUpstream, Reply, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
";

async fn gate() -> (StandInApi, Gate, String) {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("upstream.timeout", json!("1s"))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    (api, gate, token)
}

async fn read(gate: &Gate, token: &str) -> Answer {
    gate.get("/v2/account").token(token).send().await
}

async fn write(gate: &Gate, token: &str) -> Answer {
    gate.post("/v2/tags", &json!({ "name": "x" }))
        .token(token)
        .send()
        .await
}

fn told(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status.as_u16(), answer.reason())
}

#[tokio::test]
async fn after_a_byte_of_a_write_has_left_the_client_is_told_to_look_first() {
    let (api, gate, token) = gate().await;
    let cases = [
        (
            "closed before an answer",
            Fault::CloseBeforeHead,
            (502, "upstream_bad_answer"),
        ),
        (
            "closed in the body",
            Fault::CloseMidBody,
            (502, "upstream_bad_answer"),
        ),
        ("no HTTP", Fault::garbage(), (502, "upstream_bad_answer")),
        (
            "too late",
            Fault::DelayHead(Duration::from_secs(5)),
            (504, "upstream_timeout"),
        ),
        (
            "stops in the body",
            Fault::DelayBody(Duration::from_secs(5)),
            (504, "upstream_timeout"),
        ),
        (
            "compressed in a way that nobody asked for",
            Fault::Reply(
                Reply::bytes(200, "application/json", "{}").with("content-encoding", "br"),
            ),
            (502, "upstream_bad_answer"),
        ),
        (
            "compressed and cut",
            Fault::Reply(
                Reply::bytes(200, "application/json", gzip(b"{}")[..20].to_vec())
                    .with("content-encoding", "gzip"),
            ),
            (502, "upstream_bad_answer"),
        ),
    ];
    for (what, fault, reading) in cases {
        api.clear();
        api.fault_all("/v2/account", fault.clone());
        let answer = read(&gate, &token).await;
        assert_eq!(
            told(&answer),
            (reading.0, Some(reading.1)),
            "a read, {what}: {}",
            answer.text()
        );
        assert_eq!(
            answer.json()["id"],
            if reading.0 == 504 {
                "gateway_timeout"
            } else {
                "bad_gateway"
            }
        );
        api.clear();
        api.fault_all("/v2/tags", fault);
        let answer = write(&gate, &token).await;
        assert_eq!(
            told(&answer),
            (409, Some("outcome_unknown")),
            "a write, {what}: {}",
            answer.text()
        );
        assert!(answer.message().contains("look before you repeat it"));
        assert_eq!(api.heard_count(), 1, "a write is sent once, {what}");
        api.clear_faults();
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_answer_that_is_compressed_unasked_is_opened_and_searched() {
    let (api, gate, token) = gate().await;
    let plain = read(&gate, &token).await;
    api.fault_all("/v2/account", Fault::Gzip);
    let opened = read(&gate, &token).await;
    assert_eq!(opened.text(), plain.text());
    assert_eq!(opened.header("content-encoding"), None);
    api.clear_faults();
    let leak = gzip(format!("{{\"x\":\"{REAL_TOKEN}\"}}").as_bytes());
    let reply = Reply::bytes(200, "application/json", leak).with("content-encoding", "gzip");
    api.fault_all("/v2/account", Fault::Reply(reply));
    assert_eq!(
        told(&read(&gate, &token).await),
        (502, Some("upstream_bad_answer"))
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_never_left_is_not_called_unknown() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let api = StandInApi::start().await;
    let gate = Gate::builder_to(&format!("http://{closed}"))
        .policy(POLICY)
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(
        told(&read(&gate, &token).await),
        (502, Some("upstream_unreachable"))
    );
    let answer = write(&gate, &token).await;
    assert_eq!(told(&answer), (502, Some("upstream_unreachable")));
    assert!(
        answer.message().contains("nothing was sent"),
        "{}",
        answer.message()
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_upstream_that_speaks_no_tls_is_not_trusted() {
    let raw = RawUpstream::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let api = StandInApi::start().await;
    let gate = Gate::builder_to(&raw.url().replace("http://", "https://"))
        .policy(POLICY)
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(
        told(&write(&gate, &token).await),
        (502, Some("upstream_tls"))
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_read_on_a_connection_that_just_closed_is_sent_again_and_a_write_is_not() {
    let (api, gate, token) = gate().await;
    api.fault_next(Fault::CloseBeforeHead);
    assert_eq!(read(&gate, &token).await.status, 200);
    assert_eq!(api.heard_count(), 2);
    api.clear();
    api.fault_next(Fault::CloseBeforeHead);
    assert_eq!(
        told(&write(&gate, &token).await),
        (409, Some("outcome_unknown"))
    );
    assert_eq!(api.heard_count(), 1);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_slow_answer_is_waited_for_and_connections_are_kept() {
    let (api, gate, token) = gate().await;
    for _ in 0..20 {
        assert_eq!(read(&gate, &token).await.status, 200);
    }
    assert_eq!(
        api.connections(),
        1,
        "one kept connection serves one request after another"
    );
    api.fault_next(Fault::DelayHead(Duration::from_millis(600)));
    assert_eq!(read(&gate, &token).await.status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_answer_in_pieces_is_waited_for_piece_by_piece() {
    let (api, gate, token) = gate().await;
    // Longer than the time-out in all, and never for as long at once.
    let pauses = || Fault::Pauses(Duration::from_millis(400), 4);
    api.fault_next(pauses());
    let answer = read(&gate, &token).await;
    assert_eq!(told(&answer), (200, None));
    assert!(answer.json()["account"].is_object());
    api.fault_next(pauses());
    let answer = write(&gate, &token).await;
    assert_eq!(told(&answer), (201, None));
    assert_eq!(answer.json()["tag"]["name"], "x");
    gate.finish(&api).await;
}

#[tokio::test]
async fn the_apis_own_answers_pass_as_they_are() {
    let (api, gate, token) = gate().await;
    for (status, id) in [
        (404, "not_found"),
        (422, "unprocessable_entity"),
        (429, "too_many_requests"),
        (500, "server_error"),
        (503, "service_unavailable"),
    ] {
        api.fault_next(Fault::problem(status, id, "as the API says"));
        let answer = write(&gate, &token).await;
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(
            (answer.json()["id"].as_str(), answer.reason()),
            (Some(id), None)
        );
    }
    let answer = read(&gate, &token).await;
    assert!(answer.header("ratelimit-remaining").is_some());
    assert!(answer.header("tidegate-request-id").is_some());
    gate.finish(&api).await;
}

#[tokio::test]
async fn redirects_are_handed_back_and_never_followed() {
    let (api, gate, token) = gate().await;
    api.fault_next(Fault::redirect(
        301,
        "https://api.digitalocean.com/v2/droplets",
    ));
    let answer = read(&gate, &token).await;
    assert_eq!(answer.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(
        answer.header("location"),
        Some(format!("{}/v2/droplets", gate.url()).as_str())
    );
    api.fault_next(Fault::redirect(307, "https://elsewhere.example/x"));
    assert_eq!(
        read(&gate, &token).await.header("location"),
        Some("https://elsewhere.example/x")
    );
    assert_eq!(api.heard_count(), 2);
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_answer_with_the_real_token_in_it_is_cut_off_and_reported() {
    let (api, gate, token) = gate().await;
    for framing in [Framing::Length, Framing::Chunked(7), Framing::UntilClose] {
        api.fault_next(Fault::echo_authorization(framing));
        assert_eq!(
            told(&read(&gate, &token).await),
            (502, Some("upstream_bad_answer")),
            "{framing:?}"
        );
        api.fault_next(Fault::echo_authorization(framing));
        assert_eq!(
            told(&write(&gate, &token).await),
            (409, Some("outcome_unknown")),
            "{framing:?}"
        );
    }
    api.fault_next(Fault::echo_authorization_in_header());
    assert_eq!(
        told(&read(&gate, &token).await),
        (502, Some("upstream_bad_answer"))
    );
    gate.log_until("held the real token").await;
    gate.finish(&api).await; // and no client got it
}

#[tokio::test]
async fn a_large_answer_streams_through_byte_for_byte() {
    let (api, gate, token) = gate().await;
    api.fault_next(Fault::Huge { mib: 64 });
    let answer = gate
        .get("/v2/account")
        .token(&token)
        .deadline(Duration::from_secs(60))
        .send()
        .await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.len() >= 64 << 20, "{}", answer.body.len());
    let peak: usize = std::fs::read_to_string(format!("/proc/{}/status", gate.pid()))
        .unwrap()
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse()
                .ok()
        })
        .unwrap();
    assert!(
        peak < 64 << 10,
        "{peak} KiB for an answer of 64 MiB: memory is not constant"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_breaks_off_for_the_client_too() {
    let (api, gate, token) = gate().await;
    let long = json!({ "account": "x".repeat(1 << 20) });
    api.fault_next(Fault::reply_with(move |_| Reply::json(200, &long)));
    assert!(read(&gate, &token).await.cut.is_none());
    let raw = RawUpstream::saying(format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2000000\r\n\r\n{}",
        "x".repeat(1 << 20)
    ))
    .await;
    let broken = Gate::builder_to(&raw.url()).policy(POLICY).start().await;
    let token = broken.issue(&["ci", "--role", "all"]).await;
    let answer = broken.get("/v2/account").token(&token).send().await;
    assert!(answer.cut.is_some(), "a part must not pass for the whole");
    broken.finish(&api).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn links_lead_back_to_tidegate_and_nothing_else_changes() {
    let (api, gate, token) = gate().await;
    let answer = gate
        .get("/v2/droplets?per_page=2")
        .token(&token)
        .send()
        .await;
    let pages = answer.json()["links"]["pages"].clone();
    assert_eq!(
        pages["next"],
        format!("{}/v2/droplets?page=2&per_page=2", gate.url()),
        "{pages}"
    );
    assert!(!answer.text().contains("api.digitalocean.com"));
    let body = json!({ "type": "TXT", "name": "x", "data": "https://api.digitalocean.com/v2/droplets", "ttl": 30 });
    let record = gate
        .post("/v2/domains/example.com/records", &body)
        .token(&token)
        .send()
        .await;
    assert_eq!(
        record.json()["domain_record"]["data"],
        "https://api.digitalocean.com/v2/droplets"
    );
    let created = gate.post("/v2/droplets", &json!({ "name": "n", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "region": "nyc3" })).token(&token).send().await;
    let href = created.json()["links"]["actions"][0]["href"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        href.starts_with(&format!("{}/v2/actions/", gate.url())),
        "{href}"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_client_that_leaves_does_not_undo_what_was_sent() {
    use tokio::io::AsyncWriteExt;
    let (api, gate, token) = gate().await;
    api.fault_next(Fault::DelayHead(Duration::from_millis(300)));
    let mut stream = gate.connect().await;
    let request = format!(
        "POST /v2/tags HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{{\"name\":\"x\"}}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    api.heard_until(|heard| heard.len() == 1).await;
    drop(stream);
    let lines = gate.audit_until(|lines| lines.len() == 2).await;
    assert_eq!(
        (&lines[0]["event"], &lines[1]["event"]),
        (&json!("decision"), &json!("answer"))
    );
    assert_eq!(
        lines[1]["upstream_status"], 201,
        "the answer was waited for: {}",
        lines[1]
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn methods_travel_as_they_are() {
    let (api, gate, token) = gate().await;
    for (method, path) in [
        (Method::PUT, "/v2/domains/example.com/records/1"),
        (Method::PATCH, "/v2/domains/example.com/records/1"),
        (Method::DELETE, "/v2/tags/x"),
    ] {
        api.clear();
        gate.request(method.clone(), path)
            .token(&token)
            .json(&json!({}))
            .send()
            .await;
        assert_eq!(api.heard()[0].line(), format!("{method} {path}"));
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn headers_about_the_apis_connection_site_and_cookies_stop_here() {
    let (api, gate, token) = gate().await;
    let stay = [
        ("set-cookie", "session=1"),
        ("connection", "x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("alt-svc", "h3=\":443\""),
        ("strict-transport-security", "max-age=1"),
        ("tidegate-reason", "as if it were refused"),
    ];
    let body = json!({ "account": {} });
    let reply = stay
        .iter()
        .fold(Reply::json(200, &body), |reply, (name, value)| {
            reply.with(name, value)
        });
    api.fault_next(Fault::Reply(
        reply
            .with("ratelimit-remaining", "4999")
            .with("x-request-id", "theirs"),
    ));
    let answer = read(&gate, &token).await;
    assert_eq!(answer.status, 200);
    for (name, _) in stay {
        assert_eq!(answer.header(name), None, "{name}");
    }
    assert_eq!(
        (
            answer.header("ratelimit-remaining"),
            answer.header("x-request-id")
        ),
        (Some("4999"), Some("theirs"))
    );
    gate.finish(&api).await;
}
