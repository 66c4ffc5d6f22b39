//! Whatever goes wrong between tidegate and the API, at every stage of an exchange: each kind of request gets the error that
//! is stated for it, nothing that changes something is sent twice, and the daemon serves on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::standin::{Heard, gzip};
use crate::support::{Answer, Fault, Framing, Gate, RawUpstream, Reply, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
  mine:
    allow: [{ scopes: ['droplet:*'], only: { droplet: { name: 'a-*' } } }]
";

/// A request, and what it needs of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Passed on as it is, and so is its answer.
    Read,
    /// Passed on, and never twice.
    Write,
    /// Read whole by tidegate itself, page by page.
    List,
    /// A write about which something must be known first.
    Fact,
    /// The same: what must be known is told, and then the write itself meets the fault.
    Narrowed,
}

const KINDS: [Kind; 5] = [
    Kind::Read,
    Kind::Write,
    Kind::List,
    Kind::Fact,
    Kind::Narrowed,
];

/// What each kind of request gets.
type Told = [&'static str; 5];

const BAD: Told = [
    "502 upstream_bad_answer",
    "409 outcome_unknown",
    "502 upstream_bad_answer",
    "502 upstream_bad_answer",
    "409 outcome_unknown",
];
const LATE: Told = [
    "504 upstream_timeout",
    "409 outcome_unknown",
    "504 upstream_timeout",
    "504 upstream_timeout",
    "409 outcome_unknown",
];
/// What is only looked up is shown to nobody.
const SHOWN: Told = [BAD[0], BAD[1], BAD[2], "201", BAD[4]];
/// Nothing was sent, so the client may send it again.
const UNREACHABLE: Told = ["502 upstream_unreachable"; 5];
const UNTRUSTED: Told = ["502 upstream_tls"; 5];
const NEVER_CONNECTED: Told = ["504 upstream_timeout"; 5];

struct House {
    api: StandInApi,
    gate: Gate,
    tokens: [String; 2],
}

impl House {
    async fn before(upstream: &str, timeout: &str) -> Self {
        let api = StandInApi::start().await;
        let settings = json!({ "url": if upstream.is_empty() { api.url() } else { upstream.to_owned() }, "timeout": timeout, "connect_timeout": "1s" });
        let gate = Gate::builder(&api)
            .policy(POLICY)
            .set("upstream", settings)
            .start()
            .await;
        let tokens = [
            gate.issue(&["all", "--role", "all"]).await,
            gate.issue(&["mine", "--role", "mine"]).await,
        ];
        Self { api, gate, tokens }
    }

    async fn ask(&self, kind: Kind) -> Answer {
        let [all, mine] = &self.tokens;
        let ask = match kind {
            Kind::Read => self.gate.get("/v2/account").token(all),
            Kind::Write => {
                let tag = json!({ "name": "x" });
                self.gate.post("/v2/tags", &tag).token(all)
            }
            Kind::List => self.gate.get("/v2/droplets").token(mine),
            Kind::Fact | Kind::Narrowed => {
                let action = json!({ "type": "reboot" });
                self.gate
                    .post("/v2/droplets/12/actions", &action)
                    .token(mine)
            }
        };
        ask.deadline(Duration::from_secs(15)).send().await
    }

    /// Lets a kind of request meet a fault, wherever it needs the API or only where it changes something.
    fn fault(&self, kind: Kind, fault: &Fault) {
        let method = match kind {
            Kind::Read | Kind::List | Kind::Fact => Method::GET,
            Kind::Write | Kind::Narrowed => Method::POST,
        };
        self.api.fault_on(method, "/", fault.clone());
    }

    /// Every kind of request works, and its list is new.
    async fn is_well(&self, after: &str) {
        self.api.clear_faults();
        for kind in [Kind::Write, Kind::Read, Kind::List, Kind::Fact] {
            let answer = self.ask(kind).await;
            assert!(
                answer.status.is_success(),
                "{kind:?} after {after}: {}",
                answer.text()
            );
        }
        self.gate
            .delete("/v2/tags/x")
            .token(&self.tokens[0])
            .send()
            .await;
    }

    /// Every request that was answered has one final line, and every one that changes something and went out one before it.
    async fn finish(self, answered: usize) {
        let finals = |lines: &[Value]| {
            let finals = lines.iter().filter(|line| line["event"] == "answer");
            finals.count()
        };
        let lines = self
            .gate
            .audit_until(|lines| finals(lines) >= answered)
            .await;
        assert_eq!(finals(&lines), answered);
        self.gate.finish(&self.api).await;
    }
}

fn told(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    match (answer.reason(), &answer.cut) {
        (Some(reason), _) => format!("{status} {reason}"),
        (None, Some(_)) => format!("{status} cut"),
        (None, None) => status.to_string(),
    }
}

fn bytes(text: impl AsRef<[u8]>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref())
}

/// An answer in which the head is right and nothing else.
fn with_head(head: &str, body: impl AsRef<[u8]>) -> Bytes {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{head}\r\n");
    bytes([head.as_bytes(), body.as_ref()].concat())
}

/// Something of each kind that was asked for, and in it what no client may see.
fn with_the_token(heard: &Heard) -> Reply {
    let droplet = json!({ "id": 12, "name": "a-web", "note": heard.header("authorization") });
    let (one, all, links) = (droplet.clone(), [droplet], json!({}));
    Reply::json(
        200,
        &json!({ "droplet": one, "droplets": all, "links": links, "meta": { "total": 1 } }),
    )
}

/// The faults, and what each kind of request gets.
fn faults() -> Vec<(&'static str, Fault, Told)> {
    let ok = b"{}";
    let squeezed = gzip(b"{}");
    let squeeze = |body: &[u8]| {
        let reply = Reply::bytes(200, "application/json", body.to_vec());
        Fault::Reply(reply.with("content-encoding", "gzip"))
    };
    vec![
        // Before the head.
        ("closed before a byte", Fault::CloseBeforeHead, BAD),
        ("reset before a byte", Fault::Reset(Bytes::new()), BAD),
        ("too late", Fault::DelayHead(Duration::from_secs(30)), LATE),
        // In the head.
        (
            "cut in the status line",
            Fault::Bytes(bytes("HTTP/1.1 20")),
            BAD,
        ),
        (
            "cut in the head",
            Fault::Bytes(bytes("HTTP/1.1 200 OK\r\ncontent-le")),
            BAD,
        ),
        (
            "cut before the empty line",
            Fault::Bytes(bytes("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n")),
            BAD,
        ),
        (
            "reset in the head",
            Fault::Reset(bytes("HTTP/1.1 200 OK\r\n")),
            BAD,
        ),
        ("TLS where HTTP is spoken", Fault::garbage(), BAD),
        (
            "no HTTP",
            Fault::Bytes(bytes("SSH-2.0-OpenSSH_9.6\r\n\r\n")),
            BAD,
        ),
        (
            "HTTP/2's own beginning",
            Fault::Bytes(bytes("\0\0\0\x04\0\0\0\0\0")),
            BAD,
        ),
        (
            "a version that there is not",
            Fault::Bytes(bytes("HTTP/3.0 200 OK\r\ncontent-length: 2\r\n\r\n{}")),
            BAD,
        ),
        (
            "no status",
            Fault::Bytes(bytes("HTTP/1.1 OK\r\ncontent-length: 2\r\n\r\n{}")),
            BAD,
        ),
        (
            "a status of four digits",
            Fault::Bytes(bytes("HTTP/1.1 2000 OK\r\ncontent-length: 2\r\n\r\n{}")),
            BAD,
        ),
        (
            "NUL in a header",
            Fault::Bytes(with_head("x: a\0b\r\ncontent-length: 2\r\n", ok)),
            BAD,
        ),
        (
            "a header without a colon",
            Fault::Bytes(with_head("nonsense\r\ncontent-length: 2\r\n", ok)),
            BAD,
        ),
        (
            "a head of a megabyte",
            Fault::Bytes(with_head(
                &format!("x: {}\r\ncontent-length: 2\r\n", "y".repeat(1 << 20)),
                ok,
            )),
            BAD,
        ),
        (
            "a head of a thousand headers",
            Fault::Bytes(with_head(
                &format!("{}content-length: 2\r\n", "x: y\r\n".repeat(1000)),
                ok,
            )),
            BAD,
        ),
        (
            "a head that pours without end",
            Fault::Endless(
                bytes("HTTP/1.1 200 OK\r\n"),
                bytes("x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(1000)),
            ),
            BAD,
        ),
        (
            "a head that trickles without end",
            Fault::Endless(bytes("HTTP/1.1 200 OK\r\n"), bytes("x: y\r\n")),
            LATE,
        ),
        (
            "another protocol",
            Fault::Bytes(bytes(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            )),
            BAD,
        ),
        // Interim answers.
        (
            "interim answers and no other",
            Fault::Bytes(bytes(
                "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(50),
            )),
            BAD,
        ),
        (
            "interim answers without end",
            Fault::Endless(Bytes::new(), bytes("HTTP/1.1 102 Processing\r\n\r\n")),
            LATE,
        ),
        (
            "100 unasked, and no other",
            Fault::Bytes(bytes("HTTP/1.1 100 Continue\r\n\r\n")),
            BAD,
        ),
        // The end of the body.
        (
            "two lengths",
            Fault::Bytes(with_head("content-length: 2\r\ncontent-length: 3\r\n", ok)),
            BAD,
        ),
        (
            "a length that is none",
            Fault::Bytes(with_head("content-length: two\r\n", ok)),
            BAD,
        ),
        (
            "a length that is negative",
            Fault::Bytes(with_head("content-length: -2\r\n", ok)),
            BAD,
        ),
        (
            "longer than the body",
            Fault::Bytes(with_head("content-length: 200\r\n", ok)),
            BAD,
        ),
        ("closed after the head", Fault::CloseAfterHead, BAD),
        ("closed in the body", Fault::CloseMidBody, BAD),
        (
            "reset after the head",
            Fault::Reset(with_head("content-length: 200\r\n", "")),
            BAD,
        ),
        (
            "reset in the body",
            Fault::Reset(with_head("content-length: 200\r\n", "{\"x\":")),
            BAD,
        ),
        (
            "stops in the body",
            Fault::DelayBody(Duration::from_secs(30)),
            LATE,
        ),
        (
            "a chunk that is no number",
            Fault::Bytes(with_head(
                "transfer-encoding: chunked\r\n",
                "zz\r\n{}\r\n0\r\n\r\n",
            )),
            BAD,
        ),
        (
            "a chunk that is cut",
            Fault::Bytes(with_head("transfer-encoding: chunked\r\n", "20\r\n{}")),
            BAD,
        ),
        (
            "chunks without the last",
            Fault::Bytes(with_head("transfer-encoding: chunked\r\n", "2\r\n{}\r\n")),
            BAD,
        ),
        (
            "a chunk longer than it says",
            Fault::Bytes(with_head(
                "transfer-encoding: chunked\r\n",
                "1\r\n{}\r\n0\r\n\r\n",
            )),
            BAD,
        ),
        (
            "a chunk that overflows",
            Fault::Bytes(with_head(
                "transfer-encoding: chunked\r\n",
                "fffffffffffffffff\r\n{}\r\n",
            )),
            BAD,
        ),
        (
            "a coding that nobody knows",
            Fault::Bytes(with_head("transfer-encoding: gzip\r\n", ok)),
            BAD,
        ),
        // What is in the body.
        (
            "gzip that is cut",
            squeeze(&squeezed[..squeezed.len() - 9]),
            BAD,
        ),
        (
            "gzip without its sum",
            squeeze(&squeezed[..squeezed.len() - 4]),
            BAD,
        ),
        (
            "gzip with a wrong sum",
            squeeze(&[&squeezed[..squeezed.len() - 8], &[0; 8]].concat()),
            BAD,
        ),
        ("gzip that is none", squeeze(b"no gzip"), BAD),
        ("gzip of nothing", squeeze(b""), BAD),
        (
            "compressed as nobody asked",
            Fault::Reply(
                Reply::bytes(200, "application/json", "{}").with("content-encoding", "br"),
            ),
            BAD,
        ),
        (
            "compressed twice",
            Fault::Reply(
                Reply::bytes(200, "application/json", gzip(&squeezed))
                    .with("content-encoding", "gzip, gzip"),
            ),
            BAD,
        ),
        (
            "a coding around chunks",
            Fault::Bytes(with_head(
                "transfer-encoding: gzip, chunked\r\n",
                "2\r\n{}\r\n0\r\n\r\n",
            )),
            BAD,
        ),
        (
            "the real token in it",
            Fault::reply_with(with_the_token),
            SHOWN,
        ),
    ]
}

#[tokio::test]
async fn every_fault_of_the_api_is_told_as_what_it_means() {
    let house = House::before("", "1s").await;
    let (mut wrong, mut asked) = (Vec::new(), 0);
    for (what, fault, expected) in faults() {
        for (kind, expected) in KINDS.into_iter().zip(expected) {
            house.api.clear();
            house.fault(kind, &fault);
            let began = Instant::now();
            let answer = house.ask(kind).await;
            asked += 1;
            let took = began.elapsed();
            house.api.clear_faults();
            let (came, writes) = (told(&answer), house.api.writes().len());
            let let_through = matches!(kind, Kind::Write | Kind::Narrowed) || expected == "201";
            let sent = usize::from(let_through && kind != Kind::Read && kind != Kind::List);
            let most = if kind == Kind::Read { 2 } else { 4 };
            if came != expected
                || writes != sent
                || house.api.heard_count() > most
                || took > Duration::from_secs(10)
            {
                wrong.push(format!(
                    "{what}, {kind:?}: not {expected} but {came} after {took:?}, {writes} writes and {} calls in all: {}",
                    house.api.heard_count(),
                    answer.text()
                ));
            }
        }
        house.is_well(what).await;
        asked += 5;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    house.finish(asked).await;
}

#[tokio::test]
async fn what_is_odd_but_whole_passes() {
    let house = House::before("", "1s").await;
    let body = json!({ "account": { "status": "active" } }).to_string();
    let length = format!("content-length: {}\r\n", body.len());
    let cases = [
        (
            "interim answers before it",
            Fault::Bytes(
                [
                    bytes("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(20)),
                    with_head(&length, &body),
                ]
                .concat()
                .into(),
            ),
        ),
        ("a single interim answer", Fault::Interim(102)),
        ("in many chunks", Fault::Framed(Framing::Chunked(1))),
        (
            "ended by the connection",
            Fault::Framed(Framing::UntilClose),
        ),
        (
            "more after it than it says",
            Fault::Bytes(with_head(&length, format!("{body}HTTP/1.1 200 OK\r\n\r\n"))),
        ),
        (
            "HTTP/1.0",
            Fault::Bytes(bytes(format!("HTTP/1.0 200 OK\r\n{length}\r\n{body}"))),
        ),
        (
            "bare line feeds",
            Fault::Bytes(bytes(format!(
                "HTTP/1.1 200 OK\ncontent-length: {}\n\n{body}",
                body.len()
            ))),
        ),
        (
            "no reason after the status",
            Fault::Bytes(bytes(format!("HTTP/1.1 200\r\n{length}\r\n{body}"))),
        ),
        (
            "chunks with extensions and trailers",
            Fault::Bytes(with_head(
                "transfer-encoding: chunked\r\n",
                format!("{:x};x=y\r\n{body}\r\n0\r\nx-late: 1\r\n\r\n", body.len()),
            )),
        ),
        ("compressed though nobody asked", Fault::Gzip),
    ];
    for (what, fault) in cases {
        house.api.clear();
        house.api.fault_once(Method::GET, "/v2/account", fault);
        let answer = house.ask(Kind::Read).await;
        assert_eq!(told(&answer), "200", "{what}: {}", answer.text());
        assert_eq!(answer.json()["account"]["status"], "active", "{what}");
        assert_eq!(answer.header("x-late"), None, "{what}");
        assert_eq!(house.api.heard_count(), 1, "{what}");
        // Nothing that was left over is taken for the next answer.
        assert_eq!(told(&house.ask(Kind::Read).await), "200", "after {what}");
    }
    house.finish(20).await;
}

#[tokio::test]
async fn what_never_reached_the_api_may_be_sent_again() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = RawUpstream::silent().await;
    let plain = RawUpstream::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let rude = RawUpstream::start(|stream, _| async move { drop(stream) }).await;
    let (full, _waiting) = full_queue().await;
    let secure = |url: String| url.replace("http://", "https://");
    let cases = [
        ("refused", format!("http://{closed}"), UNREACHABLE),
        (
            "refused, with TLS",
            format!("https://{closed}"),
            UNREACHABLE,
        ),
        ("no answer to the first packet", full, NEVER_CONNECTED),
        ("no TLS", secure(plain.url()), UNTRUSTED),
        ("TLS that never ends", secure(silent.url()), NEVER_CONNECTED),
        ("closed instead of TLS", secure(rude.url()), UNREACHABLE),
    ];
    for (what, url, expected) in cases {
        let house = House::before(&url, "3s").await;
        for (kind, expected) in KINDS.into_iter().zip(expected) {
            let answer = house.ask(kind).await;
            assert_eq!(
                told(&answer),
                expected,
                "{what}, {kind:?}: {}",
                answer.text()
            );
            let told = answer.message();
            assert!(
                answer.status != 502 || told.contains("nothing was sent"),
                "{what}: {told}"
            );
        }
        assert_eq!(house.api.heard_count(), 0);
        house.finish(5).await;
    }
}

/// A listener whose queue is full, so that the kernel answers no more first packets; and what fills it.
async fn full_queue() -> (String, (TcpStream, Vec<TcpStream>, tokio::net::TcpListener)) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let first = TcpStream::connect(address).await.unwrap();
    let mut more = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await
    {
        more.push(stream);
        assert!(more.len() < 100, "a queue that is never full");
    }
    (format!("http://{address}"), (first, more, listener))
}

/// The API may answer before it has the whole body; what it says is what the client gets, and the body is not sent again.
#[tokio::test]
async fn an_answer_that_comes_before_the_body_was_sent_is_the_answer() {
    let answer = "HTTP/1.1 422 Unprocessable Entity\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"id\":\"no\"}";
    for stays in [true, false] {
        let early = RawUpstream::start(move |mut stream, _| async move {
            let mut head = Vec::new();
            while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut piece = [0; 1024];
                match stream.read(&mut piece).await {
                    Ok(count @ 1..) => head.extend_from_slice(&piece[..count]),
                    Ok(0) | Err(_) => return,
                }
            }
            let _ = stream.write_all(answer.as_bytes()).await;
            let mut rest = [0; 8 << 10];
            while stays && matches!(stream.read(&mut rest).await, Ok(1..)) {}
        })
        .await;
        let api = StandInApi::start().await;
        let gate = Gate::builder_to(&early.url())
            .policy(POLICY)
            .set(
                "limits",
                json!({ "inspected_body": "16KiB", "body": "64MiB" }),
            )
            .start()
            .await;
        let token = gate.issue(&["ci", "--role", "all"]).await;
        let body = json!({ "name": "x".repeat(8 << 20) });
        let said = gate
            .post("/v2/registry/subscription", &body)
            .token(&token)
            .try_send()
            .await;
        // A client that is still writing may see the connection close instead: hyper's own does.
        if let Ok(said) = said {
            let told = told(&said);
            assert!(
                told == "422" || !stays && told == "409 outcome_unknown",
                "stays {stays}: {told} {}",
                said.text()
            );
        }
        let lines = gate
            .audit_until(|lines| lines.iter().any(|line| line["event"] == "answer"))
            .await;
        assert_eq!(lines.len(), 2, "one decision, one answer: {lines:#?}");
        assert_eq!(early.connections(), 1, "sent once");
        gate.finish(&api).await;
    }
}

/// What stands before the API answers in HTML, or with a status that the API has not: a change is never told to be sent again,
/// and a read gets that status in DigitalOcean's shape.
#[tokio::test]
async fn what_a_gateway_before_the_api_says_is_no_answer_of_the_api() {
    let house = House::before("", "3s").await;
    let html = "<html><head><title>Error</title></head><body>cloudflare</body></html>";
    let json = r#"{"id":"bad_gateway","message":"upstream"}"#;
    let cases = [
        (502, "text/html", html),
        (504, "text/html; charset=UTF-8", html),
        (520, "text/html", html),
        (524, "text/html", html),
        (502, "application/json", json),
        (503, "text/html", html),
        (500, "text/plain", "upstream connect error"),
        (500, "application/json", html), // whatever it calls itself
        (503, "application/json", ""),
    ];
    let mut answered = 0;
    for (status, media_type, body) in cases {
        let reply = Reply::bytes(status, media_type, body).with("retry-after", "7");
        for (kind, expected) in [
            (Kind::Read, format!("{status} upstream_bad_answer")),
            (Kind::Write, "409 outcome_unknown".to_owned()),
            (Kind::Narrowed, "409 outcome_unknown".to_owned()),
        ] {
            house.api.clear();
            house.api.clear_faults();
            house.fault(kind, &Fault::Reply(reply.clone()));
            let answer = house.ask(kind).await;
            answered += 1;
            let case = format!("{status} {media_type}, {kind:?}: {}", answer.text());
            assert_eq!(told(&answer), expected, "{case}");
            assert_eq!(
                answer.header("tidegate-upstream-status"),
                Some(status.to_string().as_str()),
                "{case}"
            );
            let again = if kind == Kind::Read { Some("7") } else { None };
            assert_eq!(answer.header("retry-after"), again, "{case}");
            assert!(!answer.text().contains("cloudflare"), "{case}");
            assert!(answer.message().contains("a gateway before"), "{case}");
            let writes = house.api.writes().len();
            assert_eq!(writes, usize::from(kind != Kind::Read), "sent once: {case}");
        }
    }
    let lines = house
        .gate
        .audit_until(|lines| lines.len() >= answered)
        .await;
    let told = lines.iter().filter(|line| line["event"] == "answer");
    let told = told.filter(|line| line["upstream_status"] == 520).count();
    assert_eq!(told, 3, "the record has what the gateway said");
    // Its own errors the API tells in JSON, and they pass.
    let own = Fault::problem(503, "service_unavailable", "down for maintenance");
    house.api.clear_faults();
    house.fault(Kind::Write, &own);
    let answer = house.ask(Kind::Write).await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (503, None),
        "{}",
        answer.text()
    );
    house.finish(answered + 1).await;
}

/// A connection on which nothing was heard for a second carries no change: the API may be about to close it.
#[tokio::test]
async fn a_change_goes_over_a_connection_that_was_heard_on_a_moment_ago_or_a_new_one() {
    let changes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&changes);
    let answer =
        "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    // Answers one request on each connection, and drops a second one unheard.
    let api = RawUpstream::start(move |mut stream, _| {
        let counted = Arc::clone(&counted);
        async move {
            let mut heard = Vec::new();
            while !String::from_utf8_lossy(&heard).ends_with('}') {
                let mut piece = [0; 1024];
                match stream.read(&mut piece).await {
                    Ok(count @ 1..) => heard.extend_from_slice(&piece[..count]),
                    Ok(0) | Err(_) => return,
                }
            }
            counted.fetch_add(1, Ordering::SeqCst);
            let _ = stream.write_all(answer.as_bytes()).await;
            let _dropped = stream.read(&mut [0; 1024]).await;
        }
    })
    .await;
    let watch = StandInApi::start().await;
    let gate = Gate::builder_to(&api.url()).policy(POLICY).start().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    for count in 1..=2 {
        let tag = json!({ "name": "x" });
        let answer = gate.post("/v2/tags", &tag).token(&token).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        assert_eq!(changes.load(Ordering::SeqCst), count);
        tokio::time::sleep(Duration::from_millis(1100)).await; // the second of which the rule speaks
    }
    assert_eq!(api.connections(), 2);
    gate.finish(&watch).await;
}
