//! HTTP/2 against whoever speaks it to hurt: floods of resets, settings, pings and headers, more streams than there may be,
//! and answers left lying. Each is written byte by byte over TLS. The connection ends or its streams are refused, memory
//! stays where it was, and everyone else is served.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::limits::{memory, until};
use super::listening::{connect, connect_from, limited_tls_gate};
use crate::support::{Fault, Gate, Hold, StandInApi};

const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113, section 7.
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame: RFC 9113, section 4.1.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [head, payload.to_vec()].concat()
}

/// What a client begins with, and one setting of its own if it has one.
fn hello(setting: Option<(u16, u32)>) -> Vec<u8> {
    let setting =
        setting.map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
    let settings = frame(SETTINGS, 0, 0, &setting.unwrap_or_default());
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), settings].concat()
}

/// A header that no table remembers: RFC 7541, section 6.2.2.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).ok().filter(|n| *n < 127).unwrap();
    [
        &[0, length(name)],
        name.as_bytes(),
        &[length(value)],
        value.as_bytes(),
    ]
    .concat()
}

/// The headers of a GET.
fn get(path: &str, token: &str) -> Vec<u8> {
    [
        field(":method", "GET"),
        field(":scheme", "https"),
        field(":path", path),
        field(":authority", "localhost"),
        field("authorization", &format!("Bearer {token}")),
    ]
    .concat()
}

/// A whole request without a body.
fn ask(stream: u32, path: &str, token: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(path, token))
}

/// A frame that came.
#[derive(Debug)]
struct Came {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Came {
    /// The reason in a `RST_STREAM` or `GOAWAY`.
    fn reason(&self) -> u32 {
        let end = self
            .payload
            .len()
            .min(if self.kind == GOAWAY { 8 } else { 4 });
        u32::from_be_bytes(self.payload[end - 4..end].try_into().unwrap())
    }
}

/// Everything that comes until the connection ends, or `enough` has come.
async fn heard(
    stream: &mut (impl AsyncReadExt + Unpin),
    enough: impl Fn(&[Came]) -> bool,
) -> Vec<Came> {
    let mut all = Vec::new();
    let reading = async {
        while !enough(&all) {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            if stream.read_exact(&mut payload).await.is_err() {
                return;
            }
            all.push(Came {
                kind: head[3],
                stream: u32::from_be_bytes(head[5..].try_into().unwrap()),
                payload,
            });
        }
    };
    let ended = timeout(Duration::from_secs(20), reading).await;
    assert!(
        ended.is_ok(),
        "neither ended nor answered; {} came",
        all.len()
    );
    all
}

/// A gate over TLS, an API before it, and a token for everything.
async fn ground(limits: Value) -> (StandInApi, Gate, String, String) {
    let api = StandInApi::start().await;
    let (gate, pem) = limited_tls_gate(&api, json!({}), limits).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    (api, gate, pem, token)
}

/// That another client is served.
async fn serves(gate: &Gate, pem: &str, token: &str) {
    let stream = connect(gate, pem, "http/1.1", None).await.unwrap();
    let ask = gate.get("/v2/account").token(token);
    let answer = ask.open_over(stream).await.unwrap().rest().await.unwrap();
    assert_eq!(answer.status, 200);
}

async fn spoken(gate: &Gate, pem: &str, hello: &[u8]) -> TlsStream<TcpStream> {
    let mut stream = connect(gate, pem, "h2", None).await.unwrap();
    send(&mut stream, hello).await.unwrap();
    stream
}

/// Sends bytes, whole: what is written to TLS alone may lie there.
async fn send(stream: &mut TlsStream<TcpStream>, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Sends the same over and over, reading nothing, until the gate takes no more or the time is over; how many bytes it took.
async fn flood(stream: &mut TlsStream<TcpStream>, piece: &[u8], time: Duration) -> usize {
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < time {
        match timeout(Duration::from_secs(1), stream.write(piece)).await {
            Ok(Ok(count)) => sent += count,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    sent
}

/// By how much a daemon may grow while it is flooded: buffers of a connection, and what the allocator keeps.
const LITTLE: usize = 24 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_streams_that_are_taken_back_ends_its_connection() {
    let (api, gate, pem, token) = ground(json!({})).await;
    serves(&gate, &pem, &token).await;
    let before = memory(gate.pid());
    for _ in 0..5 {
        let stream = spoken(&gate, &pem, &hello(None)).await;
        let (mut reading, mut writing) = tokio::io::split(stream);
        let token = token.clone();
        let sending = tokio::spawn(async move {
            for number in 0..20_000 {
                let id = number * 2 + 1;
                let cancel = frame(RESET, 0, id, &8_u32.to_be_bytes());
                let both = [ask(id, "/v2/account", &token), cancel].concat();
                if writing.write_all(&both).await.is_err() {
                    return number;
                }
            }
            20_000
        });
        let came = heard(&mut reading, |_| false).await;
        let goaway = came.iter().find(|frame| frame.kind == GOAWAY);
        assert_eq!(
            goaway.map(Came::reason),
            Some(ENHANCE_YOUR_CALM),
            "{came:?}"
        );
        let sent = sending.await.unwrap();
        assert!(sent < 20_000, "it was closed after {sent}");
    }
    let grown = memory(gate.pid()).saturating_sub(before);
    assert!(grown < LITTLE, "{grown} bytes");
    assert!(api.heard_count() < 2_000, "{}", api.heard_count());
    serves(&gate, &pem, &token).await;
    gate.finish(&api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_that_must_be_answered_fill_no_memory() {
    let (api, gate, pem, token) = ground(json!({})).await;
    serves(&gate, &pem, &token).await;
    let before = memory(gate.pid());
    let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
    let ping = frame(PING, 0, 0, &[7; 8]);
    for piece in [settings.repeat(500), ping.repeat(500)] {
        let mut stream = spoken(&gate, &pem, &hello(None)).await;
        let sent = flood(&mut stream, &piece, Duration::from_secs(3)).await;
        let grown = memory(gate.pid()).saturating_sub(before);
        assert!(grown < LITTLE, "{grown} bytes for {sent}");
        serves(&gate, &pem, &token).await; // while it is being flooded
    }
    gate.finish(&api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_an_end_end_their_connection() {
    let (api, gate, pem, token) = ground(json!({})).await;
    let before = memory(gate.pid());
    let filler = field("x-filler", &"y".repeat(100)).repeat(100);
    let mut stream = spoken(&gate, &pem, &hello(None)).await;
    let head = frame(HEADERS, END_STREAM, 1, &get("/v2/account", &token));
    send(&mut stream, &head).await.unwrap();
    let more = frame(CONTINUATION, 0, 1, &filler);
    let began = Instant::now();
    while send(&mut stream, &more).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "it goes on");
    }
    let grown = memory(gate.pid()).saturating_sub(before);
    assert!(grown < LITTLE, "{grown} bytes");
    // The same with frames that bring nothing.
    let mut stream = spoken(&gate, &pem, &hello(None)).await;
    send(&mut stream, &head).await.unwrap();
    let nothing = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    let began = Instant::now();
    while send(&mut stream, &nothing).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "it goes on");
    }
    assert_eq!(api.heard_count(), 0);
    serves(&gate, &pem, &token).await;
    gate.finish(&api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_has_as_many_streams_as_it_was_told_and_no_more() {
    let (api, gate, pem, token) = ground(json!({})).await;
    let hold = Hold::new();
    api.fault_all("/v2/account", Fault::HoldHead(hold.clone()));
    let mut stream = spoken(&gate, &pem, &hello(None)).await;
    for number in 0..140_u32 {
        let asked = ask(number * 2 + 1, "/v2/account", &token);
        send(&mut stream, &asked).await.unwrap();
    }
    let resets = |came: &[Came]| came.iter().filter(|frame| frame.kind == RESET).count();
    let came = heard(&mut stream, |came| resets(came) == 12).await;
    for refused in came.iter().filter(|frame| frame.kind == RESET) {
        assert_eq!(refused.reason(), REFUSED_STREAM);
        assert!(refused.stream > 256, "{}", refused.stream);
    }
    let told = came.iter().find(|frame| frame.kind == SETTINGS).unwrap();
    let most = told.payload.chunks(6).find(|pair| pair[..2] == [0, 3]);
    assert_eq!(most, Some(&[0, 3, 0, 0, 0, 128][..]));
    hold.release();
    let answers = |came: &[Came]| came.iter().filter(|frame| frame.kind == HEADERS).count();
    heard(&mut stream, |came| answers(came) == 128).await;
    drop(stream); // it would have to agree to the end
    gate.finish(&api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_an_answer_lying_is_left() {
    let limits = json!({ "idle_timeout": "1s", "requests": 100 });
    let (api, gate, pem, token) = ground(limits).await;
    serves(&gate, &pem, &token).await;
    let before = memory(gate.pid());
    api.fault_all("/v2/account", Fault::Huge { mib: 64 });
    // No byte of an answer may come, or so many that a proxy that reads ahead would hold them.
    for window in [0, 0x7fff_ffff] {
        let (before_it, most) = (api.heard_count(), Cell::new(before));
        let mut stream = spoken(&gate, &pem, &hello(Some((4, window)))).await;
        for number in 0..100_u32 {
            let asked = ask(number * 2 + 1, "/v2/account", &token);
            send(&mut stream, &asked).await.unwrap();
        }
        // Whatever the API heard of has ended; what came later than the end of the connection was never read.
        until("their places are free", async || {
            most.set(most.get().max(memory(gate.pid())));
            let heard = api.heard_count();
            let lines = gate.audit();
            heard > before_it && lines.len() >= heard
        })
        .await;
        drop(stream);
        let grown = most.get() - before;
        assert!(grown < 64 << 20, "{grown} bytes with a window of {window}");
    }
    api.clear_faults();
    serves(&gate, &pem, &token).await;
    gate.finish(&api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_client_that_leaves_answers_lying_does_not_take_the_places_of_all() {
    let limits = json!({ "requests": 100, "connections_per_client": 20 });
    let (api, gate, pem, token) = ground(limits).await;
    // Without a token even: what it leaves lying are refusals.
    let mut stream = spoken(&gate, &pem, &hello(Some((4, 0)))).await;
    for number in 0..120_u32 {
        let asked = ask(number * 2 + 1, "/v2/account", "none");
        send(&mut stream, &asked).await.unwrap();
    }
    let answers = |came: &[Came]| came.iter().filter(|frame| frame.kind == HEADERS).count();
    heard(&mut stream, |came| answers(came) == 120).await;
    let other = connect_from(&gate, &pem, "http/1.1", "127.0.0.2").await;
    let ask = gate.get("/v2/account").token(&token);
    let answer = ask.open_over(other.unwrap()).await.unwrap();
    assert_eq!(answer.rest().await.unwrap().status, 200);
    let own = connect(&gate, &pem, "http/1.1", None).await.unwrap();
    let ask = gate.get("/v2/account").token(&token);
    let refused = ask.open_over(own).await.unwrap().rest().await.unwrap();
    assert_eq!(refused.reason(), Some("overloaded"));
    drop(stream);
    until("its places are free", async || {
        let own = connect(&gate, &pem, "http/1.1", None).await.unwrap();
        let ask = gate.get("/v2/account").token(&token);
        ask.open_over(own)
            .await
            .unwrap()
            .rest()
            .await
            .unwrap()
            .status
            == 200
    })
    .await;
    gate.finish(&api).await;
}
