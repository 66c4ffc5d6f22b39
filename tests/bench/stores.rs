//! What a state in PostgreSQL costs beside one in a file, and what a million tokens cost there: `cargo bench --locked --bench
//! stores`. Debian's `postgresql` must be installed.
//!
//! Two daemons of the release build run side by side and are measured in turns, so that what else the machine does weighs on
//! both. A table is printed, and a bound that is broken exits with 1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    dead_code,
    reason = "a benchmark is there to print, and stops where it can't measure"
)]

#[path = "../instances/cluster.rs"]
mod cluster;
#[path = "../support/mod.rs"]
mod support;

mod house;
mod process;
mod report;
mod turns;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use house::{Asking, House};
use report::{Report, bytes, median, micros, millis};
use support::StandInApi;
use tidegate::secret::Secret;
use tidegate::state::{Database, StatePlace, UrlSource};

const TOKENS: usize = 1_000;
const ROLES: usize = 10;
/// A request of a token without a counter costs the same with either store.
const SAME: f64 = 1.1;
/// Among a million tokens it costs what it costs among a thousand, up to here: these stay in the processor's caches.
const AMONG_MANY: f64 = 1.5;
const COUNTED_ROUNDS: usize = 9;
const COUNTED: usize = 200;

/// A million tokens like the first that is there.
const MANY: &str = "
    INSERT INTO tidegate.tokens (sequence, id, name, hash, roles, vars, sources, created_at, expires_at, owner)
        SELECT last + n, lpad(n::text, 12, '0'), 'token-of-many-' || n, sha256(n::text::bytea), roles, vars, sources, created_at, expires_at, owner
        FROM generate_series(1, 1000000) AS n, tidegate.sequence, (SELECT * FROM tidegate.tokens ORDER BY id LIMIT 1) AS first;
    UPDATE tidegate.sequence SET last = last + 1000000;
    ANALYZE tidegate.tokens";

#[tokio::main]
async fn main() -> ExitCode {
    let api = StandInApi::start().await;
    let (cluster, large) = (Cluster::durable().await, Cluster::durable().await);
    let file = House::open(&api, TOKENS, ROLES).await;
    let database = opened(&api, &cluster, "").await;
    let mut report = Report::new(["SQLite", "PostgreSQL"]);
    let both = [&file, &database];
    turns::requests(&mut report, Asking::Forwarded, TOKENS, both, Some(SAME)).await;
    counted(&mut report, both).await;
    file.close(&api).await;
    let kept = report::exit(report.print());

    let many = opened(&api, &large, MANY).await;
    let mut report = Report::new(["1,000 tokens", "1,001,000 tokens"]);
    let starts = [&database, &many].map(|it| millis(it.start));
    let soon = many.start < Duration::from_secs(10);
    report.row("start, until it listens", starts, "under 10 s", Some(soon));
    let held = [&database, &many].map(House::resident);
    let few = held[1] < 600_000_000;
    report.row("memory", held.map(bytes), "under 600 MB", Some(few));
    let both = [&database, &many];
    turns::requests(&mut report, Asking::Refused, TOKENS, both, Some(AMONG_MANY)).await;
    database.close(&api).await;
    many.close(&api).await;
    let as_many = report::exit(report.print());
    if kept == ExitCode::SUCCESS {
        as_many
    } else {
        kept
    }
}

/// A daemon whose state is in PostgreSQL, and more there by this statement.
async fn opened(api: &StandInApi, cluster: &Cluster, more: &str) -> House {
    let gate = cluster.gate(api, &house::policy(ROLES));
    let fill = async |_: &support::Gate| {
        let url = UrlSource::Written(Arc::new(Secret::new(cluster.url())));
        let place = StatePlace::Postgres(Database::at(url));
        let filling = move || house::fill(&place, TOKENS, ROLES);
        let tokens = tokio::task::spawn_blocking(filling).await.unwrap();
        cluster
            .ask()
            .await
            .unwrap()
            .batch_execute(more)
            .await
            .unwrap();
        tokens
    };
    House::built(api, gate, fill).await
}

/// What a request takes longer that takes a use, one after the other and many at once, in turns.
async fn counted(report: &mut Report, houses: [&House; 2]) {
    let mut added = [Vec::new(), Vec::new()];
    let mut rates = [Vec::new(), Vec::new()];
    let mut tokens = Vec::new();
    for house in houses {
        let counted = ["counted", "--role", "team-1", "--max-uses", "1000000"];
        let plain = ["plain", "--role", "team-1"];
        tokens.push([house.issue(&plain).await, house.issue(&counted).await]);
    }
    for _ in 0..COUNTED_ROUNDS {
        for (index, house) in houses.into_iter().enumerate() {
            let [plain, counted] = &tokens[index];
            let without = house.one_by_one(plain, COUNTED).await;
            let with = house.one_by_one(counted, COUNTED).await;
            added[index].push(median(with) - median(without));
            rates[index].push(house.at_once(counted, 64, COUNTED / 8).await);
        }
    }
    let what = "a use taken: added to a request, one by one";
    report.row(what, added.map(median).map(micros), "", None);
    let rates = rates.map(|rates| format!("{:.0}/s", median(rates)));
    report.row(
        "uses taken of one token, over 64 connections",
        rates,
        "",
        None,
    );
}
