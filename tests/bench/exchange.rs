//! What exchanges of identities cost the API's reads: `cargo bench --locked --bench exchange`.
//!
//! A reader asks for one Droplet after another, in turns with nobody beside it, with a thousand exchanges a second beside it, each
//! of an identity and an address of its own, and with a flood of forged ones of one address. What is compared is measured in the
//! same run; the medians are told, and a bound that is broken exits with 1. What an exchange and one of the flood take of the
//! daemon's processor time is told too: what else the machine does hardly blurs that.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    dead_code,
    reason = "a benchmark is there to print, stops where it can't measure, and uses a part of what it shares with others"
)]

#[path = "../support/mod.rs"]
mod support;

mod process;
mod report;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use report::{Report, exit, median, micros};
use serde_json::json;
use support::{Gate, Issuer, Kept, SigningKey, StandInApi};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

const POLICY: &str = r#"
version: 1
roles:
  reads: { allow: [{ scopes: [droplet:read] }] }
trust:
  - { name: job, issuer: ci, claims: { repository_id: "81236", ref: refs/heads/main }, roles: [reads], ttl: 5m }
"#;

const ROUNDS: usize = 10;
const ROUND: Duration = Duration::from_millis(800);
/// Exchanges a second.
const RATE: usize = 1_000;
/// Clients that exchange, each over a connection of its own.
const CLIENTS: usize = 20;
/// How much slower a read may be beside them.
const BOUND: f64 = 1.1;
/// What one of a flood may take of the processor time of an exchange: it is cut before a signature is checked.
const CUT: f64 = 0.5;

/// Who is beside the reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Beside {
    Nobody,
    Jobs,
    Flood,
}

/// What was measured in a round.
struct Round {
    /// How long a read took, in the middle, in seconds.
    read: f64,
    reads: f64,
    exchanges: f64,
    /// The daemon's processor time, in seconds.
    busy: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    issuer.rotate(SigningKey::new("key-1", "ES256"));
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "issuers",
            json!({ "ci": { "url": issuer.url, "audience": "tidegate" } }),
        )
        .set("trusted_proxies", json!(["127.0.0.1"]))
        .start()
        .await;
    let gate = Arc::new(gate);
    let token = gate.issue(&["reader", "--role", "reads"]).await;
    let claims = json!({ "sub": "job", "repository_id": "81236", "ref": "refs/heads/main" });
    let each = RATE * usize::try_from(ROUND.as_millis()).unwrap() / 1_000;
    let identities =
        (0..=each * (ROUNDS + 1)).map(|_| issuer.sign("ES256", &issuer.claims(&claims)));
    let mut identities: Vec<String> = identities.collect();
    let last = identities.pop().unwrap();
    let (signed, _) = last.split_at(last.len() - 4);
    let forged = Arc::new(format!("{signed}AAAA"));
    let mut rounds = [const { Vec::new() }; 3];
    for round in 0..=ROUNDS {
        for (which, beside) in [Beside::Nobody, Beside::Jobs, Beside::Flood]
            .into_iter()
            .enumerate()
        {
            let own = match beside {
                Beside::Nobody => Vec::new(),
                Beside::Jobs => identities.split_off(identities.len() - each),
                Beside::Flood => vec![String::clone(&forged); each],
            };
            let measured = measured(&gate, &token, &own, beside).await;
            if round > 0 {
                rounds[which].push(measured); // the first fills caches
            }
        }
    }
    exit(told(&rounds))
}

async fn measured(gate: &Arc<Gate>, token: &str, own: &[String], beside: Beside) -> Round {
    let (stop, busy) = (Instant::now() + ROUND, process::busy(gate.pid()));
    let crowd = crowd(gate, own, beside, stop);
    let reads = reads(gate, token, stop).await;
    let exchanges = crowd.await;
    let busy = process::busy(gate.pid()).saturating_sub(busy);
    Round {
        reads: reads.len() as f64,
        read: median(reads),
        exchanges,
        busy: busy.as_secs_f64(),
    }
}

/// Prints the table, and says whether all bounds were kept.
fn told(rounds: &[Vec<Round>; 3]) -> bool {
    let of = |which: usize, what: &dyn Fn(&Round) -> f64| {
        median(rounds[which].iter().map(what).collect::<Vec<_>>())
    };
    let mut report = Report::new(["alone", "beside"]);
    let alone = of(0, &|round| round.read);
    for (what, which) in [
        ("a read, beside exchanges of many", 1),
        ("a read, beside a flood of forged ones", 2),
    ] {
        let beside = of(which, &|round| round.read);
        let bound = format!("at most {BOUND} of it");
        let figures = [alone, beside].map(micros);
        report.row(what, figures, &bound, Some(beside <= alone * BOUND));
    }
    let rate = of(1, &|round| round.exchanges) / ROUND.as_secs_f64();
    let figures = [String::new(), format!("{rate:.0} /s")];
    let met = rate >= RATE as f64 * 0.95;
    report.row("exchanged", figures, &format!("{RATE} /s"), Some(met));
    let read = of(0, &|round| round.busy / round.reads);
    let each = |which| {
        of(which, &|round| {
            (round.busy - read * round.reads) / round.exchanges
        })
    };
    let (exchange, cut) = (each(1), each(2));
    let what = "processor time: of an exchange, and of one of the flood";
    let bound = format!("at most {CUT} of it");
    let figures = [exchange, cut].map(micros);
    report.row(what, figures, &bound, Some(cut <= exchange * CUT));
    report.print()
}

/// How long each read takes until then, in seconds.
async fn reads(gate: &Gate, token: &str, stop: Instant) -> Vec<f64> {
    let mut kept = gate.keep().await;
    let mut took = Vec::new();
    while Instant::now() < stop {
        let began = Instant::now();
        let ask = gate.get("/v2/droplets/12").token(token);
        let answer = ask.try_send_over(&mut kept).await.unwrap();
        took.push(began.elapsed().as_secs_f64());
        assert_eq!(answer.status, StatusCode::OK);
    }
    took
}

/// Asks to exchange these identities, evenly until then, each from an address of its own but for a flood; how many were answered.
fn crowd(
    gate: &Arc<Gate>,
    identities: &[String],
    beside: Beside,
    stop: Instant,
) -> impl Future<Output = f64> + use<> {
    let mut clients = JoinSet::new();
    let shares = identities.chunks(identities.len().div_ceil(CLIENTS).max(1));
    for share in shares.map(<[String]>::to_vec) {
        let gate = gate.clone();
        clients.spawn(async move {
            let mut kept = gate.keep().await;
            let every = stop.saturating_duration_since(Instant::now())
                / u32::try_from(share.len()).unwrap();
            let mut beat = interval(every.max(Duration::from_micros(1)));
            beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
            let mut answered = 0;
            for identity in share {
                beat.tick().await;
                if Instant::now() > stop {
                    break;
                }
                exchange(&gate, &mut kept, &identity, beside).await;
                answered += 1;
            }
            sleep_until(stop.into()).await;
            answered
        });
    }
    async move { clients.join_all().await.into_iter().sum::<usize>() as f64 }
}

async fn exchange(gate: &Gate, kept: &mut Kept, identity: &str, beside: Beside) {
    static ADDRESS: AtomicUsize = AtomicUsize::new(0);
    let number = match beside {
        Beside::Jobs => ADDRESS.fetch_add(1, Ordering::Relaxed),
        Beside::Nobody | Beside::Flood => 0,
    };
    let from = format!(
        "10.{}.{}.{}",
        number >> 16 & 255,
        number >> 8 & 255,
        number & 255
    );
    let ask = gate.request(Method::POST, "/.tidegate/v1/exchange");
    let ask = ask.gives_a_token().header("x-forwarded-for", &from).form(&[
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", identity),
    ]);
    let answer = ask.try_send_over(kept).await.unwrap();
    assert_eq!(
        answer.status == StatusCode::OK,
        beside == Beside::Jobs,
        "{}",
        answer.text()
    );
}
