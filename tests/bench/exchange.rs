//! What exchanges of identities cost the API's reads: `cargo bench --locked --bench exchange`.
//!
//! The daemon has one processor to itself, and the clients, the issuer and the stand-in for the API have the others, so that what
//! the load costs does not count as tidegate's. Reads come 500 a second, at times of their own, however long those before them
//! take; so do a thousand exchanges a second, each of an identity and an address of its own, or a flood of forged ones of one address.
//! In the turns to which these are compared the same clients send the same forms to somebody else, on their own processors. What is
//! compared is measured in the same run, in turns; a bound that is broken exits with 1.
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

use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use report::{Report, exit, median, micros};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::json;
use support::{Gate, Issuer, SigningKey, StandInApi};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;

const POLICY: &str = r#"
version: 1
roles:
  reads: { allow: [{ scopes: [droplet:read] }] }
trust:
  - { name: job, issuer: ci, claims: { repository_id: "81236", ref: refs/heads/main }, roles: [reads], ttl: 5m }
"#;

const ROUNDS: usize = 15;
const ROUND: Duration = Duration::from_secs(2);
/// Exchanges, and reads, a second.
const EXCHANGES: u32 = 1_000;
const READS: u32 = 500;
/// How much longer a read may take beside them, in the middle.
const BOUND: f64 = 1.1;
/// How many signatures of a flood may be checked, as a part of those of as many exchanges: ten a second are heard.
const CHECKED: f64 = 0.05;
/// The threads of the daemon whose work is told, by the beginnings of their names.
const THREADS: [&str; 5] = [
    "worker",
    "signatures",
    "state-writer",
    "state-reader",
    "audit",
];

/// What the exchanges of a turn are, and to whom they go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    /// To somebody else.
    Elsewhere,
    /// Of many, to the daemon.
    Jobs,
    /// Of forged ones of one address, to the daemon.
    Flood,
}

const TURNS: [Turn; 3] = [Turn::Elsewhere, Turn::Jobs, Turn::Flood];

/// What was measured in a turn.
struct Measured {
    /// How long reads and exchanges took, in seconds.
    reads: Vec<f64>,
    exchanges: Vec<f64>,
    /// Processor time of the daemon's threads in seconds, as [`THREADS`] has them, and of all.
    threads: [f64; THREADS.len()],
    all: f64,
}

/// Connections that are kept for the next who needs one. What is sent over them costs the load little, unlike the harness's own
/// client, which looks for secrets in all that comes.
struct Lines {
    to: String,
    free: Mutex<Vec<BufReader<TcpStream>>>,
}

/// Whom the clients ask.
struct Ground {
    gate: Gate,
    reader: String,
    reads: Lines,
    exchanges: Lines,
    elsewhere: Lines,
}

fn main() -> ExitCode {
    let allowed = sched_getaffinity(None).unwrap();
    let mut processors = (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number));
    let (Some(own), Some(first)) = (processors.next(), processors.next()) else {
        println!("one processor is too few: the daemon needs one to itself");
        return ExitCode::FAILURE;
    };
    let others: Vec<usize> = [first].into_iter().chain(processors).collect();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(own, &others))
}

async fn run(own: usize, others: &[usize]) -> ExitCode {
    let (api, issuer) = (StandInApi::start().await, Issuer::start().await);
    issuer.rotate(SigningKey::new("key-1", "ES256"));
    let gate = Gate::builder(&api).policy(POLICY);
    let gate = gate.set(
        "issuers",
        json!({ "ci": { "url": issuer.url, "audience": "tidegate" } }),
    );
    let trusted = json!(["127.0.0.1"]);
    let gate = gate.set("trusted_proxies", trusted).start().await;
    pin(gate.pid(), &[own]);
    pin(std::process::id(), others);
    let reader = gate.issue(&["reader", "--role", "reads"]).await;
    let address = gate.address().to_string();
    let ground = Arc::new(Ground {
        gate,
        reader,
        reads: Lines::to(address.clone()),
        exchanges: Lines::to(address),
        elsewhere: Lines::to(elsewhere().await),
    });
    let mut measured = [const { Vec::new() }; TURNS.len()];
    for round in 0..=ROUNDS {
        for (index, turn) in TURNS.into_iter().enumerate() {
            let identities = identities(&issuer, turn);
            let taken = measure(&ground, identities, turn, round).await;
            api.forget();
            if round > 0 {
                measured[index].push(taken); // the first fills caches
            }
        }
    }
    exit(told(&measured))
}

/// Keeps all threads of a process to these processors.
fn pin(pid: u32, processors: &[usize]) {
    let mut set = CpuSet::new();
    for number in processors {
        set.set(*number);
    }
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let name = task.unwrap().file_name().into_string().unwrap();
        let task = Pid::from_raw(name.parse().unwrap());
        sched_setaffinity(task, &set).unwrap();
    }
}

/// As many as a turn may need, made out now.
fn identities(issuer: &Issuer, turn: Turn) -> Vec<String> {
    let claims = json!({ "sub": "job", "repository_id": "81236", "ref": "refs/heads/main" });
    let make = || issuer.sign("ES256", &issuer.claims(&claims));
    if turn != Turn::Flood {
        let most = EXCHANGES * u32::try_from(ROUND.as_secs()).unwrap() * 3 / 2;
        return (0..most).map(|_| make()).collect();
    }
    let good = make();
    let (signed, _) = good.split_at(good.len() - 4);
    vec![format!("{signed}AAAA")]
}

async fn measure(
    ground: &Arc<Ground>,
    identities: Vec<String>,
    turn: Turn,
    round: usize,
) -> Measured {
    // One that was not needed for long would be closed by now.
    for lines in [&ground.reads, &ground.exchanges, &ground.elsewhere] {
        lines.let_go();
    }
    let before = process::threads(ground.gate.pid());
    let until = Instant::now() + ROUND;
    let seed = u64::try_from(round).unwrap() << 8 | turn as u64;
    let mut reads = paced(READS, until, seed << 1);
    let mut asks = paced(EXCHANGES, until, seed << 1 | 1);
    let reading = tokio::spawn({
        let ground = ground.clone();
        async move {
            let mut all = JoinSet::new();
            while reads.recv().await.is_some() {
                all.spawn(read(ground.clone()));
            }
            all.join_all().await
        }
    });
    let mut exchanges = JoinSet::new();
    let mut identities = identities.into_iter().cycle();
    while asks.recv().await.is_some() {
        let identity = identities.next().unwrap();
        exchanges.spawn(exchange(ground.clone(), identity, turn));
    }
    let (exchanges, reads) = (exchanges.join_all().await, reading.await.unwrap());
    let after = process::threads(ground.gate.pid());
    let busy = |begin: &str| {
        let of = |all: &[(String, Duration)]| {
            let named = all.iter().filter(|(name, _)| name.starts_with(begin));
            named.map(|(_, time)| time.as_secs_f64()).sum::<f64>()
        };
        of(&after) - of(&before)
    };
    Measured {
        reads,
        exchanges,
        threads: THREADS.map(busy),
        all: busy(""),
    }
}

/// So many a second until then, at times that have nothing to do with each other.
fn paced(rate: u32, until: Instant, seed: u64) -> UnboundedReceiver<()> {
    let (tell, told) = unbounded_channel();
    thread::spawn(move || {
        let mut state = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut next = Instant::now();
        loop {
            // Xorshift (Marsaglia 2003): plenty for gaps.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let part = ((state >> 11) as f64 + 1.0) / (1u64 << 53) as f64;
            next += Duration::from_secs_f64(-part.ln() / f64::from(rate));
            if next > until {
                return;
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
            if tell.send(()).is_err() {
                return;
            }
        }
    });
    told
}

async fn read(ground: Arc<Ground>) -> f64 {
    let request = format!(
        "GET /v2/droplets/12 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        ground.reader
    );
    let (took, status) = ground.reads.ask(&request).await;
    assert_eq!(status, 200);
    took
}

async fn exchange(ground: Arc<Ground>, identity: String, turn: Turn) -> f64 {
    static ADDRESS: AtomicUsize = AtomicUsize::new(0);
    let number = match turn {
        Turn::Elsewhere | Turn::Jobs => ADDRESS.fetch_add(1, Ordering::Relaxed) + 1,
        Turn::Flood => 0,
    };
    let [_, a, b, c] = u32::try_from(number).unwrap().to_be_bytes();
    let lines = match turn {
        Turn::Elsewhere => &ground.elsewhere,
        Turn::Jobs | Turn::Flood => &ground.exchanges,
    };
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt&subject_token={identity}"
    );
    let request = format!(
        "POST /.tidegate/v1/exchange HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 10.{a}.{b}.{c}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
        form.len()
    );
    let (took, status) = lines.ask(&request).await;
    assert!(
        if turn == Turn::Flood {
            [401, 429].contains(&status)
        } else {
            status == 200
        },
        "{status}"
    );
    took
}

impl Lines {
    fn to(to: String) -> Self {
        let free = Mutex::default();
        Self { to, free }
    }

    /// How long a request takes, in seconds, and the status of its answer.
    async fn ask(&self, request: &str) -> (f64, u16) {
        let free = self.free.lock().unwrap().pop();
        let mut line = if let Some(line) = free {
            line
        } else {
            let stream = TcpStream::connect(&self.to).await.unwrap();
            stream.set_nodelay(true).unwrap();
            BufReader::new(stream)
        };
        let began = Instant::now();
        line.write_all(request.as_bytes()).await.unwrap();
        let (head, _) = message(&mut line).await.expect("an answer");
        let took = began.elapsed().as_secs_f64();
        self.free.lock().unwrap().push(line);
        (took, head.get(9..12).unwrap().parse().unwrap())
    }

    fn let_go(&self) {
        self.free.lock().unwrap().clear();
    }
}

/// The next message: its head, in small letters, and how long its body is; none at the end.
async fn message(line: &mut BufReader<TcpStream>) -> Option<(String, usize)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if line.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    head.make_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.expect("a body of a known length").parse().unwrap();
    line.read_exact(&mut vec![0; length]).await.ok()?;
    Some((head, length))
}

/// Somebody who answers forms and does nothing.
async fn elsewhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_forms(stream));
        }
    });
    address
}

async fn answer_forms(stream: TcpStream) {
    let mut line = BufReader::new(stream);
    let body = "x".repeat(300); // as long as a sub-token's
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 300\r\n\r\n{body}");
    while message(&mut line).await.is_some() {
        line.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// The value below which so many of a hundred lie.
fn percentile(values: &[f64], of_hundred: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[(values.len() * of_hundred / 100).min(values.len() - 1)]
}

/// Prints the tables, and says whether all bounds were kept.
fn told(measured: &[Vec<Measured>; TURNS.len()]) -> bool {
    let of = |turn: Turn, what: &dyn Fn(&Measured) -> f64| {
        median(measured[turn as usize].iter().map(what).collect())
    };
    let mut report = Report::new(["elsewhere", "here"]);
    let middle = |turn| of(turn, &|it| percentile(&it.reads, 50));
    let worst = |turn| of(turn, &|it| percentile(&it.reads, 99));
    for (what, turn) in [
        ("exchanges", Turn::Jobs),
        ("a flood of forged ones", Turn::Flood),
    ] {
        let (base, beside) = (middle(Turn::Elsewhere), middle(turn));
        let ratio = beside / base;
        let bound = format!("{ratio:.2} times; at most {BOUND}");
        let what = format!("a read beside {what}: half take");
        report.row(
            &what,
            [base, beside].map(micros),
            &bound,
            Some(ratio <= BOUND),
        );
        let figures = [worst(Turn::Elsewhere), worst(turn)].map(micros);
        report.row("and 99 of a hundred", figures, "", None);
    }
    let rate = of(Turn::Jobs, &|it| it.exchanges.len() as f64) / ROUND.as_secs_f64();
    let figures = [String::new(), format!("{rate:.0} /s")];
    let met = rate >= f64::from(EXCHANGES) * 0.95;
    report.row("exchanged", figures, &format!("{EXCHANGES} /s"), Some(met));
    let took = [50, 99].map(|part| of(Turn::Jobs, &|it| percentile(&it.exchanges, part)));
    report.row(
        "an exchange: half take, and 99 of a hundred",
        took.map(micros),
        "",
        None,
    );
    let each = |turn, what: &dyn Fn(&Measured) -> f64| {
        (of(turn, what) - of(Turn::Elsewhere, what)) / of(turn, &|it| it.exchanges.len() as f64)
    };
    let all = [Turn::Jobs, Turn::Flood].map(|turn| each(turn, &|it| it.all));
    let what = "processor time: of an exchange, of one of the flood";
    report.row(what, all.map(micros), "", None);
    for (index, name) in THREADS.iter().enumerate() {
        let own = [Turn::Jobs, Turn::Flood].map(|turn| each(turn, &|it| it.threads[index]));
        let (bound, met) = if *name == "signatures" {
            let bound = format!("at most {CHECKED} of it");
            (bound, Some(own[1] <= own[0] * CHECKED))
        } else {
            (String::new(), None)
        };
        report.row(&format!("of that, {name}"), own.map(micros), &bound, met);
    }
    report.print()
}
