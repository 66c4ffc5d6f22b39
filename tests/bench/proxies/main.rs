//! tidegate beside what would otherwise be taken: `cargo bench --locked --bench proxies`, or a part of it with a word of the
//! cases after `--`; `memory` is one.
//!
//! nginx, HAProxy and Caddy do the nearest that they can, and hyper alone is the floor. All run at once, before one light
//! upstream, and are measured in turns in the same run, so that what else the machine does weighs on all. What a request costs
//! is the processor time of the proxy's process, which neither the client's work nor the upstream's can blur. A promise that
//! is broken exits with 1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    dead_code,
    reason = "a benchmark is there to print, stops where it can't measure, and uses a part of what it shares with others"
)]

#[path = "../../support/mod.rs"]
mod support;

#[path = "../droplet.rs"]
mod droplet;
#[path = "../house.rs"]
mod house;
#[path = "../process.rs"]
mod process;

mod cases;
mod figures;
mod floor;
mod instructions;
mod lanes;
mod light;
mod others;
mod ours;
mod training;

use std::io::Read;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use cases::{Ask, CASES, Case, LIST, READ, Who, Wire};
use figures::{Figures, Table};
use lanes::Load;
use others::{Proxy, Setup};
use ours::{Ours, ROLES, TOKENS};

const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(400);
/// Connections that are held while memory is looked at.
const HELD: usize = 1_000;
const MANY: usize = 10_000;
/// How many threads, or processes, of each serve; a word after `--` chooses one.
const COUNTS: [&str; 2] = ["2", "1"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let one = || tokio::runtime::Builder::new_current_thread();
    match words.as_slice() {
        ["upstream"] => until_left(&one().enable_all().build().unwrap(), light::serve()),
        ["floor", upstream, workers] => {
            let mut many = tokio::runtime::Builder::new_multi_thread();
            let many = many.worker_threads(workers.parse().unwrap());
            let many = many.enable_all().build().unwrap();
            until_left(&many, floor::serve((*upstream).to_owned()))
        }
        ["instructions", directory] => {
            let runtime = one().enable_all().build().unwrap();
            runtime.block_on(instructions::count(directory.as_ref()));
            ExitCode::SUCCESS
        }
        ["training", directory] => {
            let runtime = one().enable_all().build().unwrap();
            runtime.block_on(training::train(directory.as_ref()));
            ExitCode::SUCCESS
        }
        _ => {
            let words = words.iter().copied().filter(|word| !word.starts_with("--"));
            let (counts, wanted): (Vec<_>, Vec<_>) = words.partition(|word| COUNTS.contains(word));
            let counts = if counts.is_empty() {
                COUNTS.to_vec()
            } else {
                counts
            };
            let runtime = one().enable_all().build().unwrap();
            let wanted = wanted.first().copied();
            runtime.block_on(async {
                let mut kept = true;
                for count in counts {
                    println!("\n# With {count} of each that serve\n");
                    kept &= compare(count.parse().unwrap(), wanted).await;
                }
                if wanted.is_none_or(|word| "memory".contains(word)) {
                    kept &= memories().await;
                }
                if kept {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                }
            })
        }
    }
}

/// Runs a part until the one that started it is gone.
fn until_left(runtime: &tokio::runtime::Runtime, part: impl Future<Output = ()>) -> ExitCode {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    runtime.block_on(part);
    ExitCode::SUCCESS
}

async fn compare(workers: usize, wanted: Option<&str>) -> bool {
    let (_upstream, upstream) = others::part(&["upstream"], &[]);
    let ours = Ours::open(upstream, TOKENS, "secrets_only", workers).await;
    let enforcing = Ours::open(upstream, TOKENS, "enforce", workers).await;
    let directory = tempfile::tempdir().unwrap(); // theirs holds tokens in the clear, which ours may not
    for name in ["server.pem", "server.key"] {
        std::fs::copy(ours.gate.files().path(name), directory.path().join(name)).unwrap();
    }
    let mut proxies = vec![ours.proxy(), others::floor(upstream, workers, &[])];
    proxies.extend(others::others(&Setup {
        directory: directory.path(),
        upstream,
        tokens: &ours.tokens,
        roles: ROLES,
        workers,
    }));
    let bench = Bench::of(&ours, &enforcing, proxies).await;
    let idle = bench.memory();
    let mut table = Table::default();
    let fits = |case: &&Case| wanted.is_none_or(|word| case.what.contains(word));
    for case in CASES.iter().filter(fits) {
        bench.measure(case, &mut table).await;
    }
    let kept = table.print(&bench.names());
    if wanted.is_none_or(|word| "memory".contains(word)) {
        bench.memories(idle).await;
    }
    kept
}

/// tidegate's memory alone; whether what is promised of it was kept.
async fn memories() -> bool {
    let (_upstream, upstream) = others::part(&["upstream"], &[]);
    let few = Ours::open(upstream, TOKENS, "secrets_only", 2).await;
    let pid = few.gate.pid();
    let wires = lanes::hold(&few.load(READ), HELD).await;
    let mut kept = figures::bound(
        "1,000 tokens, 1,000 idle connections",
        process::resident(pid),
        20.0,
    );
    drop(wires);
    process::forget_peak(pid);
    lanes::run(&few.load(LIST), 5 * ROUND).await;
    kept &= figures::bound("the peak under lists of 400 KB", process::peak(pid), 32.0);
    drop(few);
    let many = Ours::listing(upstream, MANY).await;
    let pid = many.gate.pid();
    let started = figures::mega(process::resident(pid));
    lanes::run(&many.load(READ), 5 * ROUND).await;
    let _wires = lanes::hold(&many.load(READ), HELD).await;
    println!("10,000 tokens in the policy file: {started:.1} MB at the start");
    kept & figures::bound(
        "the same after load, with 1,000 idle connections",
        process::resident(pid),
        25.0,
    )
}

/// A client's TLS that trusts this daemon, and begins anew with each connection.
fn trusting(ours: &Ours) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let pem = ours.gate.files().path("server.pem");
    roots
        .add(CertificateDer::from_pem_file(pem).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

struct Bench {
    proxies: Vec<Proxy>,
    enforcing: Proxy,
    tls: Arc<ClientConfig>,
    tokens: Vec<String>,
    counted: String,
    named: String,
    tagged: String,
    whole: String,
    enforced: String,
    cut: String,
}

impl Bench {
    /// Of tidegate, of one that enforces the scopes of fields, and of these, the first of them tidegate.
    async fn of(ours: &Ours, enforcing: &Ours, proxies: Vec<Proxy>) -> Self {
        Self {
            tls: trusting(ours),
            counted: ours.token("team-1", &["--max-uses", "1000000000"]).await,
            named: ours.token("named", &[]).await,
            tagged: ours.token("tagged", &[]).await,
            whole: ours.token("whole", &[]).await,
            enforced: enforcing.token("whole", &[]).await,
            cut: enforcing.token("cut", &[]).await,
            enforcing: enforcing.proxy(),
            tokens: ours.tokens.clone(),
            proxies,
        }
    }

    fn names(&self) -> Vec<&'static str> {
        self.proxies.iter().map(|proxy| proxy.name).collect()
    }

    /// Measures each proxy that can do it, by turns.
    async fn measure(&self, case: &Case, table: &mut Table) {
        let loads: Vec<_> = self.asked(case).collect();
        for (_, load) in &loads {
            lanes::run(load, ROUND / 4).await;
        }
        for _ in 0..ROUNDS {
            for (proxy, load) in &loads {
                let before = process::busy(proxy.pid);
                let ran = lanes::run(load, ROUND).await;
                let spent = process::busy(proxy.pid).saturating_sub(before);
                table.add(case, proxy.name, Figures::of(&ran, spent));
            }
        }
        println!("measured: {}", table.line(case, &self.names()));
    }

    fn asked<'b>(&'b self, case: &'b Case) -> impl Iterator<Item = (&'b Proxy, Load)> {
        let tidegate = std::slice::from_ref(&self.proxies[0]);
        let (proxies, tokens) = match case.who {
            Who::All => (self.proxies.as_slice(), self.tokens.as_slice()),
            Who::Counted => (tidegate, std::slice::from_ref(&self.counted)),
            Who::Named => (tidegate, std::slice::from_ref(&self.named)),
            Who::Tagged => (tidegate, std::slice::from_ref(&self.tagged)),
            Who::Whole => (tidegate, std::slice::from_ref(&self.whole)),
            Who::Enforced => (
                std::slice::from_ref(&self.enforcing),
                std::slice::from_ref(&self.enforced),
            ),
            Who::Cut => (
                std::slice::from_ref(&self.enforcing),
                std::slice::from_ref(&self.cut),
            ),
        };
        proxies
            .iter()
            .filter_map(|proxy| Some((proxy, self.load(case, proxy, tokens)?)))
    }

    fn load(&self, case: &Case, proxy: &Proxy, tokens: &[String]) -> Option<Load> {
        let secure = matches!(case.wire, Wire::KeptTls | Wire::NewTls);
        let anew = matches!(case.wire, Wire::New | Wire::NewTls);
        let decides = proxy.name != "bare hyper";
        let status = match case.ask {
            Ask::Refused if !decides => return None,
            Ask::Refused => 403,
            Ask::Write => 201,
            Ask::Small | Ask::List | Ask::Filtered => 200,
        };
        let to = if secure { proxy.tls? } else { proxy.plain };
        let requests = tokens
            .iter()
            .map(|token| request(case.ask, to, token, anew));
        Some(Load {
            to,
            tls: secure.then(|| Arc::clone(&self.tls)),
            lanes: case.lanes,
            anew,
            requests: Arc::new(requests.collect()),
            status,
        })
    }

    fn memory(&self) -> Vec<u64> {
        let pids = self.proxies.iter().map(|proxy| proxy.pid);
        pids.map(process::resident_in_all).collect()
    }

    /// Memory: at the start, with connections held, after the load.
    async fn memories(&self, idle: Vec<u64>) {
        let after = self.memory();
        let mut held = Vec::new();
        for proxy in &self.proxies {
            let load = self.load(&CASES[1], proxy, &self.tokens).unwrap();
            let wires = lanes::hold(&load, HELD).await;
            held.push(process::resident_in_all(proxy.pid));
            drop(wires);
        }
        figures::memory(
            &self.names(),
            &[
                ("memory at the start", idle),
                ("after the load", after),
                ("with 1,000 connections after it", held),
            ],
        );
    }
}

/// A request as doctl sends it.
fn request(ask: Ask, to: SocketAddr, token: &str, anew: bool) -> Vec<u8> {
    let (line, body) = match ask {
        Ask::Small => ("GET /v2/droplets/300000000", ""),
        Ask::List => ("GET /v2/droplets?page=2&per_page=200", ""),
        Ask::Filtered => ("GET /v2/droplets?page=1&per_page=200", ""),
        Ask::Refused => ("GET /v2/customers/my/billing_history", ""),
        Ask::Write => ("POST /v2/tags", "{\"name\":\"x\"}"),
    };
    let length = if body.is_empty() {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let close = if anew { "Connection: close\r\n" } else { "" };
    format!(
        "{line} HTTP/1.1\r\nHost: {to}\r\nUser-Agent: doctl/1.120.0 (linux amd64)\r\nAccept: application/json\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{length}{close}\r\n{body}"
    )
    .into_bytes()
}
