//! What the console costs: pages over a hundred thousand sub-tokens, and reads while somebody looks on: `cargo bench --locked --bench console`.
//!
//! One daemon of the release build is measured with and without a viewer in turns, by the processor time that it spent on each read, which
//! the client's own work and the stand-in's can't blur. A table is printed, and a bound that is broken exits with 1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "a benchmark is there to print, and stops where it can't measure"
)]

#[path = "../support/mod.rs"]
mod support;

mod house;
mod process;
mod report;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use report::{Report, bytes, median, micros, millis};
use serde_json::json;
use support::gate::Signal;
use support::{Fault, Gate, Reply, StandInApi};
use tidegate::token::SubToken;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const TOKENS: usize = 100_000;
const ROLES: usize = 1_000;
const ROUNDS: usize = 9;
const READS: u32 = 10_000;
const LANES: usize = 4;
/// A page comes within this.
const PAGE: Duration = Duration::from_millis(200);
/// Who looks on slows reads by a tenth at most.
const SLOWED: f64 = 1.1;
/// And takes no more memory than this.
const MORE: u64 = 32 << 20;

#[tokio::main]
async fn main() -> ExitCode {
    let api = StandInApi::start().await;
    let answer = Reply::json(200, &json!({ "account": { "status": "active" } }));
    api.fault_all("/v2/", Fault::Reply(answer));
    let policy = format!("{}  viewer: {{ operator: [view] }}\n", house::policy(ROLES));
    let builder = Gate::builder(&api).policy(&policy);
    let admin = json!({ "address": "127.0.0.1:0", "console": true });
    let mut gate = builder.set("admin", admin).start().await;
    gate.signal(Signal::Term);
    assert!(gate.wait_exit().await.success());
    let tokens = house::fill(&house::file(&gate), TOKENS, ROLES);
    gate.start_again().await;
    let viewer = gate.issue(&["viewer", "--role", "viewer"]).await;
    let gate = Arc::new(gate);
    let mut report = Report::new(["median", "worst"]);
    pages(&mut report, &gate, &viewer, &tokens).await;
    looking_on(&mut report, &gate, &viewer, tokens).await;
    Arc::try_unwrap(gate)
        .unwrap_or_else(|_| panic!("a lane still runs"))
        .finish(&api)
        .await;
    report::exit(report.print())
}

/// A page, whole, by one who is signed in.
async fn ask(at: SocketAddr, head: &str) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = format!("{head}connection: close\r\nhost: {at}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    all
}

async fn sign_in(at: SocketAddr, token: &str) -> String {
    let form = format!("token={token}");
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head = format!(
        "POST /sign-in HTTP/1.1\r\nhost: {at}\r\norigin: http://{at}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    let (_, cookie) = all.split_once("set-cookie: ").expect("a cookie");
    cookie.split(';').next().unwrap().to_owned()
}

async fn pages(report: &mut Report, gate: &Gate, viewer: &str, tokens: &[SubToken]) {
    let at = gate.admin_address().unwrap();
    let cookie = sign_in(at, viewer).await;
    let one = format!("/tokens/{}", tokens[TOKENS / 2].id);
    let targets = [
        ("the list", "/tokens"),
        ("its last page", "/tokens?page=2000"),
        ("a search by name", "/tokens?q=someone-9999"),
        ("a search by role", "/tokens?role=team-7"),
        ("a search by state", "/tokens?state=active"),
        ("a search by owner", "/tokens?owner=person-7"),
        ("one token's page", one.as_str()),
        ("the overview", "/"),
        ("the roles", "/roles"),
    ];
    for (what, target) in targets {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            let head = format!("GET {target} HTTP/1.1\r\ncookie: {cookie}\r\n");
            let page = ask(at, &head).await;
            times.push(began.elapsed());
            assert!(page.starts_with("HTTP/1.1 200"), "{target}: {page}");
        }
        times.sort();
        let (middle, worst) = (times[ROUNDS / 2], times[ROUNDS - 1]);
        let cells = [millis(middle), millis(worst)];
        let what = format!("{what}, of {TOKENS} tokens");
        report.row(&what, cells, "median under 200 ms", Some(middle < PAGE));
    }
}

/// Reads, by all tokens in turns.
async fn read(gate: &Arc<Gate>, tokens: &Arc<Vec<SubToken>>, round: usize) {
    let host = gate.address().to_string();
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let (gate, tokens, host) = (Arc::clone(gate), Arc::clone(tokens), host.clone());
        lanes.spawn(async move {
            let mut kept = gate.keep().await;
            for number in (0..READS as usize).skip(lane).step_by(LANES) {
                let token = &tokens[(round * READS as usize + number) % 1_000];
                let ask = gate.get("/v2/account").token(token.secret.expose());
                let answer = ask.header("host", &host).try_send_over(&mut kept).await;
                assert_eq!(answer.expect("an answer").status, 200);
            }
        });
    }
    lanes.join_all().await;
}

/// Somebody who looks on, and how many bytes came.
async fn viewer(at: SocketAddr, token: &str) -> (tokio::task::JoinHandle<()>, Arc<AtomicU64>) {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let head =
        format!("GET /api/v1/live HTTP/1.1\r\nhost: {at}\r\nauthorization: Bearer {token}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let came = Arc::new(AtomicU64::new(0));
    let count = came.clone();
    let mut piece = vec![0; 64 << 10];
    let first = stream.read(&mut piece).await.unwrap();
    assert!(first > 0, "somebody looks on");
    let looking = tokio::spawn(async move {
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            count.fetch_add(read as u64, Ordering::Relaxed);
        }
    });
    (looking, came)
}

async fn looking_on(report: &mut Report, gate: &Arc<Gate>, token: &str, tokens: Vec<SubToken>) {
    let tokens = Arc::new(tokens);
    let (at, pid) = (gate.admin_address().unwrap(), gate.pid());
    read(gate, &tokens, 0).await;
    let before = process::resident(pid);
    let (mut alone, mut watched, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    let mut came = 0;
    for round in 0..ROUNDS {
        for looks_on in [false, true] {
            let looking = if looks_on {
                Some(viewer(at, token).await)
            } else {
                None
            };
            let (spent, began) = (process::busy(pid), Instant::now());
            read(gate, &tokens, round).await;
            let each = process::busy(pid).saturating_sub(spent).as_secs_f64() / f64::from(READS);
            if let Some((looking, bytes)) = looking {
                rates.push(f64::from(READS) / began.elapsed().as_secs_f64());
                came += bytes.load(Ordering::Relaxed);
                looking.abort();
                watched.push(each);
            } else {
                alone.push(each);
            }
        }
    }
    assert!(came > 0, "lines came");
    let (alone, watched) = (median(alone), median(watched));
    let ratio = watched / alone;
    report.row(
        "processor time of a read: alone, and while somebody looks on",
        [micros(alone), micros(watched)],
        &format!("{ratio:.2} times; under {SLOWED}"),
        Some(ratio < SLOWED),
    );
    let rate = format!("{:.0}/s", median(rates));
    report.row("records meanwhile", [rate, String::new()], "", None);
    let after = process::resident(pid);
    let more = after.saturating_sub(before);
    report.row(
        "memory before, and after",
        [bytes(before), bytes(after)],
        "32 MB more at most",
        Some(more < MORE),
    );
}
