//! What stands before the API, at its worst, under thousands of writes: pages of HTML, connections that are reset before and
//! after the head or closed as they are used again, goodbyes of HTTP/2, bodies that come slowly or stop. Each write is sent by a
//! client that sends again on 429 and 5xx, as doctl, godo and pydo do. None is carried out twice; a client that was told that
//! it was done is right; and what never arrived is never told to be unknown.
//!
//! `FAULTS_CASES=10000 cargo test --locked --test stories front` is the long run; a few hundred are in every one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::upstream::{frame, secure_listener};
use crate::support::gate::GateBuilder;
use crate::support::{Gate, RawUpstream, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
  named:
    allow: [{ scopes: ['tag:*'], only: { tag: { name: 'w-*' } } }]
";

/// What the front does with a write that it has heard whole.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Deed {
    /// Carries it out and says so.
    Fine,
    /// The same, and the connection is closed behind the answer.
    FineAndGone,
    /// The same, the body in pieces.
    Slowly,
    /// Answers with a page of HTML, of this status.
    Page(u16),
    /// Carries it out, and answers with a page of HTML all the same.
    PageAfterAll(u16),
    /// Carries it out, and stops in the middle of the body.
    Stops,
    /// Carries it out, and lets the connection go: before a byte of the answer, after its head, or in its body.
    Gone(&'static str, bool),
    /// Says in the API's own words that it can't now, and does nothing.
    OwnError,
    /// Carries it out, and ends the stream with an error.
    Broken,
    /// Refuses the stream unheard.
    Refused,
    /// Says goodbye, with an earlier stream as the last that it looked at.
    GoodbyeUnheard,
    /// Carries it out, says goodbye with its stream as the last, and answers it or not.
    Goodbye(bool),
}

const HEAD: &str =
    "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n";
const PAGE: &str = "<html><body>cloudflare</body></html>";

const OF_HTTP1: [Deed; 16] = [
    Deed::Fine,
    Deed::Fine,
    Deed::Fine,
    Deed::FineAndGone,
    Deed::Slowly,
    Deed::Page(502),
    Deed::Page(504),
    Deed::Page(520),
    Deed::PageAfterAll(502),
    Deed::PageAfterAll(524),
    Deed::Gone("", false),
    Deed::Gone("", true),
    Deed::Gone(HEAD, true),
    Deed::Gone("HTTP/1.1 201 Cre", true),
    Deed::Gone(
        "HTTP/1.1 201 Created\r\ncontent-length: 12\r\n\r\n{\"tag\"",
        false,
    ),
    Deed::OwnError,
];

const OF_HTTP2: [Deed; 14] = [
    Deed::Fine,
    Deed::Fine,
    Deed::Fine,
    Deed::Slowly,
    Deed::Page(502),
    Deed::Page(520),
    Deed::PageAfterAll(504),
    Deed::OwnError,
    Deed::Broken,
    Deed::Refused,
    Deed::GoodbyeUnheard,
    Deed::GoodbyeUnheard,
    Deed::Goodbye(true),
    Deed::Goodbye(false),
];

impl Deed {
    /// Whether the API did what was asked.
    fn is_done(self) -> bool {
        match self {
            Self::Fine
            | Self::FineAndGone
            | Self::Slowly
            | Self::PageAfterAll(_)
            | Self::Stops
            | Self::Gone(..)
            | Self::Broken
            | Self::Goodbye(_) => true,
            Self::Page(_) | Self::OwnError | Self::Refused | Self::GoodbyeUnheard => false,
        }
    }

    /// Whether the front says that it did not look at it.
    fn is_unheard(self) -> bool {
        matches!(self, Self::Refused | Self::GoodbyeUnheard)
    }
}

/// What became of one write at the front.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    heard: u32,
    done: u32,
    unheard: u32,
}

struct Front {
    deeds: &'static [Deed],
    fates: Mutex<BTreeMap<String, Fate>>,
    /// How long a connection may lie idle.
    patience: Duration,
}

impl Front {
    fn new(deeds: &'static [Deed]) -> Arc<Self> {
        Arc::new(Self {
            deeds,
            fates: Mutex::default(),
            patience: Duration::from_millis(1500),
        })
    }

    /// What is to be done with a write of this name, by a draw that is the same in each run.
    fn hears(&self, name: &str) -> Deed {
        let mut fates = self.fates.lock().unwrap();
        let fate = fates.entry(name.to_owned()).or_default();
        let drawn = drawn(&format!("{name}/{}", fate.heard + fate.unheard));
        let mut deed = match drawn % 200 {
            0 => Deed::Stops,
            _ => self.deeds[usize::try_from(drawn / 200).unwrap() % self.deeds.len()],
        };
        if deed.is_unheard() && fate.unheard >= 2 {
            deed = Deed::Fine;
        }
        fate.unheard += u32::from(deed.is_unheard());
        fate.heard += u32::from(!deed.is_unheard());
        fate.done += u32::from(deed.is_done());
        deed
    }

    fn fate(&self, name: &str) -> Fate {
        let fates = self.fates.lock().unwrap();
        fates.get(name).copied().unwrap_or_default()
    }

    /// One connection of HTTP/1.1.
    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut read = Vec::new();
        while let Ok(Some(name)) = timeout(self.patience, heard_whole(&mut stream, &mut read)).await
        {
            let body = r#"{"tag": "w"}"#;
            let page = |status| {
                let length = PAGE.len();
                format!(
                    "HTTP/1.1 {status} Bad\r\ncontent-type: text/html\r\ncontent-length: {length}\r\n\r\n{PAGE}"
                )
            };
            let deed = self.hears(&name);
            match deed {
                Deed::Fine | Deed::FineAndGone => {
                    stream.write_all(format!("{HEAD}{body}").as_bytes()).await?;
                }
                Deed::Slowly | Deed::Stops => {
                    stream.write_all(HEAD.as_bytes()).await?;
                    for piece in body.as_bytes().chunks(5) {
                        sleep(Duration::from_millis(3)).await; // slowness is what is tried
                        stream.write_all(piece).await?;
                        if deed == Deed::Stops {
                            let _left = stream.read(&mut [0]).await;
                            return Ok(());
                        }
                    }
                }
                Deed::Page(status) | Deed::PageAfterAll(status) => {
                    stream.write_all(page(status).as_bytes()).await?;
                }
                Deed::Gone(said, is_reset) => {
                    stream.write_all(said.as_bytes()).await?;
                    if is_reset {
                        stream.set_zero_linger()?;
                    }
                    return Ok(());
                }
                Deed::OwnError => {
                    let why = r#"{"id":"service_unavailable","message":"later"}"#;
                    let length = why.len();
                    let said = format!(
                        "HTTP/1.1 503 No\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{why}"
                    );
                    stream.write_all(said.as_bytes()).await?;
                }
                Deed::Broken | Deed::Refused | Deed::GoodbyeUnheard | Deed::Goodbye(_) => {
                    panic!("{deed:?} is of HTTP/2")
                }
            }
            if deed == Deed::FineAndGone {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One connection of HTTP/2, frame by frame, as no library leaves like this.
    async fn serve_streams(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> std::io::Result<()> {
        stream.read_exact(&mut [0; 24]).await?; // the preface
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
        let mut open: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let (mut last, mut leaves) = (0, None);
        while leaves.is_none_or(|last| open.range(..=last).next().is_some()) {
            let (kind, flags, id, load) = next(&mut stream).await?;
            let answer = match kind {
                SETTINGS if flags == 0 => frame(SETTINGS, 1, 0, &[]),
                PING if flags == 0 => frame(PING, 1, 0, &load),
                _ if leaves.is_some_and(|last| id > last) => continue, // not looked at
                HEADERS => {
                    open.insert(id, Vec::new());
                    continue;
                }
                RESET => {
                    open.remove(&id);
                    continue;
                }
                DATA => {
                    let Some(body) = open.get_mut(&id) else {
                        continue;
                    };
                    body.extend(&load);
                    if flags & END == 0 {
                        continue;
                    }
                    let name = name_in(&open.remove(&id).unwrap());
                    // A goodbye never names an earlier stream than one that was looked at.
                    let deed = match self.hears(&name) {
                        Deed::GoodbyeUnheard if id < last => Deed::Refused,
                        deed => deed,
                    };
                    if !deed.is_unheard() {
                        last = last.max(id);
                    }
                    if deed == Deed::GoodbyeUnheard {
                        open.retain(|other, _| *other <= last);
                    }
                    if matches!(deed, Deed::GoodbyeUnheard | Deed::Goodbye(_)) {
                        leaves = Some(last);
                    }
                    let room = u32::try_from(load.len().max(1)).unwrap().to_be_bytes();
                    stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &room)).await?;
                    if deed == Deed::Slowly {
                        stream
                            .write_all(&frame(HEADERS, 4, id, &answer_head("201", JSON)))
                            .await?;
                        stream.flush().await?;
                        sleep(Duration::from_millis(3)).await; // slowness is what is tried
                    }
                    told_in_frames(deed, id, last)
                }
                _ => continue,
            };
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
        stream.shutdown().await?;
        // What still comes is read to the end: else the system resets the connection, and the goodbye may be lost with that.
        while stream.read(&mut [0; 4096]).await? > 0 {}
        Ok(())
    }
}

/// What is said of a stream that was heard whole.
fn told_in_frames(deed: Deed, id: u32, last: u32) -> Vec<u8> {
    let created = || frame(HEADERS, 4, id, &answer_head("201", JSON));
    let whole = |text: &str| frame(DATA, END, id, text.as_bytes());
    let goodbye = || frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat());
    match deed {
        Deed::Fine | Deed::FineAndGone => [created(), whole("{}")].concat(),
        Deed::Slowly => whole("{}"),
        Deed::Stops => [created(), frame(DATA, 0, id, b"{")].concat(),
        Deed::Page(status) | Deed::PageAfterAll(status) => {
            let head = answer_head(&status.to_string(), "text/html");
            [frame(HEADERS, 4, id, &head), whole(PAGE)].concat()
        }
        Deed::OwnError => {
            let head = frame(HEADERS, 4, id, &answer_head("503", JSON));
            [
                head,
                whole(r#"{"id":"service_unavailable","message":"later"}"#),
            ]
            .concat()
        }
        Deed::Broken | Deed::Gone(..) => frame(RESET, 0, id, &2_u32.to_be_bytes()),
        Deed::Refused => frame(RESET, 0, id, &7_u32.to_be_bytes()),
        Deed::GoodbyeUnheard | Deed::Goodbye(false) => goodbye(),
        Deed::Goodbye(true) => [goodbye(), created(), whole("{}")].concat(),
    }
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END: u8 = 1;
const JSON: &str = "application/json";

/// The head of an answer, with names of HPACK's static table (RFC 7541, appendix A): 8 is `:status`, 31 `content-type`.
fn answer_head(status: &str, media_type: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![8], text(status), vec![0x0f, 16], text(media_type)].concat()
}

async fn next(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut load = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut load).await?;
    Ok((kind, flags, u32::from_be_bytes(id), load))
}

/// The name in the next request of HTTP/1.1 that comes whole.
async fn heard_whole(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<String> {
    loop {
        let text = String::from_utf8_lossy(read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let (_, length) = length.split_once("content-length: ").unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                read.clear(); // nobody sends the next before the answer
                return Some(name_in(body.as_bytes()));
            }
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => read.extend(&piece[..count]),
            Ok(0) | Err(_) => return None,
        }
    }
}

fn name_in(body: &[u8]) -> String {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap();
    body["name"].as_str().unwrap().to_owned()
}

/// A number that hangs on the text alone: FNV-1a, stirred.
fn drawn(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 31)).wrapping_mul(0x7fb5_d329_728e_a185) >> 20
}

/// How a client comes away from a write.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum End {
    Done,
    /// 409 `outcome_unknown`: a person looks.
    Unknown,
    /// It gave up after its last try.
    GaveUp,
}

/// Sends a write as doctl does: again after 429 and 5xx, up to five times.
async fn write(gate: &Gate, token: &str, name: &str) -> End {
    for _ in 0..6 {
        let ask = gate.post("/v2/tags", &json!({ "name": name })).token(token);
        let answer = ask.pooled().send().await;
        match (answer.status.as_u16(), answer.reason()) {
            (201, _) => return End::Done,
            (409, Some("outcome_unknown")) => {
                let told = answer.message();
                assert!(told.contains("look before you repeat it"), "{told}");
                return End::Unknown;
            }
            (429 | 500..=599, _) => {}
            _ => panic!("{name}: {} {}", answer.status, answer.text()),
        }
    }
    End::GaveUp
}

/// What all writes came to.
#[derive(Debug, Default)]
struct Count {
    done: usize,
    unknown: usize,
    gave_up: usize,
    /// Told to be unknown, and never heard.
    unknown_unheard: usize,
}

/// Holds what clients were told against what the front did.
fn counted(front: &Front, ends: &[(String, End)]) -> Count {
    let mut count = Count::default();
    for (name, end) in ends {
        let fate = front.fate(name);
        assert!(
            fate.done <= 1,
            "{name} was carried out twice: {fate:?}, {end:?}"
        );
        match end {
            End::Done => {
                assert_eq!(fate.done, 1, "{name}: {fate:?}");
                count.done += 1;
            }
            End::Unknown => {
                count.unknown += 1;
                count.unknown_unheard += usize::from(fate.heard == 0);
            }
            End::GaveUp => {
                assert_eq!(fate.done, 0, "{name} was given up and is done: {fate:?}");
                count.gave_up += 1;
            }
        }
    }
    count
}

/// Shows what was counted, for those who run it at length.
#[expect(clippy::print_stdout, reason = "cargo shows it with --nocapture")]
fn tell(version: &str, count: &Count) {
    println!("{version}: {count:?}");
}

/// So many writes, by sixteen clients at a time; every other of a token that is narrowed.
async fn writes(gate: &Gate, front: &Front, count: usize) -> Count {
    let tokens = [
        gate.issue(&["all", "--role", "all"]).await,
        gate.issue(&["named", "--role", "named"]).await,
    ];
    let lane = |lane: usize| {
        let tokens = &tokens;
        async move {
            let mut ends = Vec::new();
            for number in (lane..count).step_by(LANES) {
                let name = format!("w-{number:05}");
                let token = &tokens[number / LANES % 2];
                ends.push((name.clone(), write(gate, token, &name).await));
            }
            ends
        }
    };
    let ends: Vec<_> = join_all((0..LANES).map(lane)).await.concat();
    assert_eq!(ends.len(), count);
    counted(front, &ends)
}

const LANES: usize = 16;

fn cases() -> usize {
    let cases = std::env::var("FAULTS_CASES").ok();
    cases.map_or(400, |cases| cases.parse().unwrap())
}

async fn started(gate: GateBuilder) -> Gate {
    // A front that is not given its turn for so long has not heard what it was sent: on a busy machine a long run finds that too.
    let timeout = if cases() > 1000 { "5s" } else { "1s" };
    let gate = gate.policy(POLICY).set("upstream.timeout", json!(timeout));
    gate.start().await
}

#[tokio::test]
async fn no_write_is_carried_out_twice_over_http_1() {
    let watch = StandInApi::start().await;
    let front = Front::new(&OF_HTTP1);
    let serving = Arc::clone(&front);
    let api = RawUpstream::start(move |stream, _| {
        let front = Arc::clone(&serving);
        async move {
            let _gone = front.serve(stream).await;
        }
    })
    .await;
    let gate = started(Gate::builder_to(&api.url())).await;
    let count = writes(&gate, &front, cases()).await;
    tell("HTTP/1.1", &count);
    assert!(count.done > 0 && count.unknown > 0, "{count:?}");
    // A connection that is closed behind an answer may be closed as the next write goes out, which nobody can tell: seldom.
    assert!(count.unknown_unheard * 50 <= cases(), "{count:?}");
    gate.finish(&watch).await;
}

#[tokio::test]
async fn no_write_is_carried_out_twice_over_http_2_and_none_that_was_not_looked_at_is_unknown() {
    let watch = StandInApi::start().await;
    let front = Front::new(&OF_HTTP2);
    let (url, certificate, acceptor, listener) = secure_listener(&["h2"]).await;
    let serving = Arc::clone(&front);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (front, acceptor) = (Arc::clone(&serving), acceptor.clone());
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _gone = front.serve_streams(stream).await;
                }
            });
        }
    });
    let gate = Gate::builder_to(&url).file("ca.pem", &certificate);
    let gate = started(gate.set("upstream.ca_file", json!("ca.pem"))).await;
    let count = writes(&gate, &front, cases()).await;
    tell("HTTP/2", &count);
    assert!(count.done > 0 && count.unknown > 0, "{count:?}");
    assert_eq!(count.unknown_unheard, 0, "{count:?}");
    gate.finish(&watch).await;
}

/// The API lets go of connections on which nothing was said for a while, as a write comes or a moment before or after.
#[tokio::test]
async fn a_write_after_a_pause_is_never_lost_to_a_connection_that_is_let_go() {
    let watch = StandInApi::start().await;
    let front = Front::new(&[Deed::Fine]);
    let serving = Arc::clone(&front);
    let api = RawUpstream::start(move |stream, _| {
        let front = Arc::clone(&serving);
        async move {
            let _gone = front.serve(stream).await;
        }
    })
    .await;
    let gate = started(Gate::builder_to(&api.url())).await;
    let token = gate.issue(&["all", "--role", "all"]).await;
    let mut ends = Vec::new();
    for (round, pause) in [0, 1490, 1495, 1500, 1505].into_iter().enumerate() {
        sleep(Duration::from_millis(pause)).await; // around the patience of the front
        let burst = (0..LANES).map(|lane| {
            let (gate, token) = (&gate, &token);
            async move {
                // Of the draw's one in two hundred that stops nothing is to be learnt here.
                let name = (0..).map(|more| format!("p-{round}-{lane}-{more}"));
                let name = name
                    .into_iter()
                    .find(|name| !drawn(&format!("{name}/0")).is_multiple_of(200));
                let name = name.unwrap();
                (name.clone(), write(gate, token, &name).await)
            }
        });
        ends.extend(join_all(burst).await);
    }
    let count = counted(&front, &ends);
    assert_eq!((count.done, count.unknown), (5 * LANES, 0), "{count:?}");
    assert!(api.connections() > LANES, "connections were let go");
    gate.finish(&watch).await;
}
