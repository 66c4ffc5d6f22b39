//! What could be smuggled past a gate: bytes that two readers could take for two requests, row by row in tables.
//!
//! Each table can be read as a specification: what is sent, what the client gets, what the API hears, and why. The rows go
//! over real connections to one daemon for each table, and at the end every answer of tidegate's has one final audit line.

mod answers;
mod differential;
mod odd;
mod table;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::support::standin::Heard;
use crate::support::{Gate, StandInApi};
use answers::Said;
use table::Row;

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*', image:read] }]
  login:
    allow: [{ scopes: [registry:read, registry:update] }]
  twelve:
    allow: [{ scopes: ['droplet:*'], only: { droplet: { id: 12 } } }]
";

/// How long a connection may stay open. The daemon of the tables is set to be less patient.
const OPEN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn one_message_has_one_end() {
    hold(include_str!("framing.txt")).await;
}

#[tokio::test]
async fn one_target_has_one_form() {
    hold(include_str!("targets.txt")).await;
}

#[tokio::test]
async fn one_query_has_one_meaning() {
    hold(include_str!("queries.txt")).await;
}

#[tokio::test]
async fn one_body_has_one_meaning() {
    hold(include_str!("bodies.txt")).await;
}

#[tokio::test]
async fn headers_say_one_thing_or_stay_behind() {
    hold(include_str!("headers.txt")).await;
}

/// Sends every row of a table in its turn, and says all that came out otherwise, in the form of the table.
async fn hold(table: &str) {
    let rows = table::read(table);
    let bench = Bench::open().await;
    let mut wrong = Vec::new();
    for row in &rows {
        let came = bench.send(row).await;
        if came != row.expected {
            wrong.push(format!(
                "line {}: {}\n  expected {}\n  came     {came}",
                row.line, row.sent, row.expected
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} rows:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
    bench.close().await;
}

/// One daemon, the API behind it, and a sub-token of each role.
struct Bench {
    api: StandInApi,
    gate: Gate,
    tokens: BTreeMap<&'static str, String>,
    /// The ids of all requests that tidegate answered.
    answered: RefCell<Vec<String>>,
}

impl Bench {
    async fn open() -> Self {
        let api = StandInApi::start().await;
        let limits = json!({
            "header_timeout": "1s", "idle_timeout": "1s", "inspected_body": "4KiB", "body": "32KiB", "header_bytes": "8KiB"
        });
        let gate = Gate::builder(&api)
            .policy(POLICY)
            .set("limits", limits)
            .start()
            .await;
        let mut tokens = BTreeMap::new();
        for role in ["all", "login", "twelve"] {
            tokens.insert(role, gate.issue(&[role, "--role", role]).await);
        }
        Self {
            api,
            gate,
            tokens,
            answered: RefCell::default(),
        }
    }

    /// Sends a row's bytes, and tells what came of it as a table does.
    async fn send(&self, row: &Row) -> String {
        let bytes = row.bytes(&self.tokens[row.role.as_str()]);
        let sent = self.over(&bytes, row.role == "twelve").await;
        let mut told = match sent.answers.as_slice() {
            [] => "closed".to_owned(),
            some => some.iter().map(Said::told).collect::<Vec<_>>().join(", "),
        };
        for heard in &sent.heard {
            told.push_str(" ; ");
            told.push_str(&heard_as(heard));
        }
        told
    }

    /// Sends bytes over a connection of their own. What tidegate looks up by itself for a narrowed sub-token is left out: it
    /// changes nothing, and goes without the client's headers.
    async fn over(&self, bytes: &[u8], narrowed: bool) -> Sent {
        self.api.clear();
        let mut stream = self.gate.connect().await;
        // A gate that refuses early may have closed already: what it said still counts.
        let _ = stream.write_all(bytes).await;
        let mut said = Vec::new();
        // A connection that is reset at its end has said what it said.
        let ended = timeout(OPEN, stream.read_to_end(&mut said)).await;
        assert!(
            ended.is_ok(),
            "still open: {}",
            String::from_utf8_lossy(bytes)
        );
        let answers = answers::read(&said, bytes.starts_with(b"HEAD "));
        let ids = answers.iter().filter_map(|said| said.request_id.clone());
        self.answered.borrow_mut().extend(ids);
        let mut heard = self.api.heard();
        heard.retain(|heard| {
            !narrowed || heard.method != "GET" || heard.header("user-agent").is_some()
        });
        Sent { answers, heard }
    }

    /// Every request that tidegate answered has one final line, and no line is of a request that nobody sent.
    async fn close(self) {
        let Self {
            api,
            gate,
            answered,
            ..
        } = self;
        let mut answered = answered.into_inner();
        answered.sort();
        let finals = |lines: &[Value]| {
            let of_answers = lines.iter().filter(|line| line["event"] == "answer");
            let mut ids: Vec<_> = of_answers
                .map(|line| line["request_id"].as_str().unwrap().to_owned())
                .collect();
            ids.sort();
            ids
        };
        let lines = gate
            .audit_until(|lines| finals(lines).len() >= answered.len())
            .await;
        assert_eq!(finals(&lines), answered);
        gate.finish(&api).await;
    }
}

/// What came of bytes that were sent.
#[derive(Debug)]
struct Sent {
    answers: Vec<Said>,
    heard: Vec<Heard>,
}

fn heard_as(heard: &Heard) -> String {
    let body = String::from_utf8_lossy(&heard.body);
    match body.len() {
        0 => heard.line(),
        1..200 => format!("{} {body}", heard.line()),
        longer => format!("{} ({longer} bytes)", heard.line()),
    }
}
