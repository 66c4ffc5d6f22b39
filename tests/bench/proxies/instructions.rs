//! How many instructions a request takes of the proxy's own, counted by valgrind: the same from run to run, whatever else the
//! machine does. `tests/bench/instructions` starts it.
//!
//! The system's part is not counted, and valgrind hides the processor's instructions for SHA-256: a request of tidegate's, which
//! hashes one sub-token, is told with 6,000 more than it takes where there are such.

use std::path::Path;
use std::process::Command;

use super::Bench;
use super::cases::{CASES, Case};
use super::lanes::{self, Load};
use super::others::{self, Proxy, Setup};
use super::ours::{Ours, ROLES};

/// Sub-tokens that take turns.
const TOKENS: usize = 100;
/// Requests that are counted, after as many that are not.
const REQUESTS: usize = 200;
/// What is counted, by its place among the cases and in a few words.
const COUNTED: [(&str, &str); 6] = [
    ("a read, 1 connection", "a read of 2.5 KB"),
    ("a refusal", "a refusal"),
    ("a list of 400 KB", "a list of 400 KB"),
    ("the list filtered by name", "the list filtered by name"),
    (
        "a read of a token narrowed by tag",
        "a read narrowed by tag",
    ),
    ("a write", "a write"),
];

/// Counts, and leaves what valgrind says of each function in `directory`.
pub async fn count(directory: &Path) {
    let (_upstream, upstream) = others::part(&["upstream"], &[]);
    let under = |name: &str| callgrind(directory, name);
    let ours = Ours::open_under(&under("tidegate"), upstream, TOKENS).await;
    let theirs = tempfile::tempdir().unwrap();
    for name in ["server.pem", "server.key"] {
        std::fs::copy(ours.gate.files().path(name), theirs.path().join(name)).unwrap();
    }
    let setup = Setup {
        directory: theirs.path(),
        upstream,
        tokens: &ours.tokens,
        roles: ROLES,
        workers: 1,
    };
    let nginx = setup.nginx_alone(&under("nginx"));
    let mut proxies = vec![ours.proxy(), others::floor(upstream, 1, &under("hyper"))];
    proxies.extend(nginx);
    let bench = Bench::of(&ours, &ours, proxies).await;
    println!("instructions for each request, in thousands:");
    for (what, words) in COUNTED {
        let case = CASES.iter().find(|case| case.what == what).unwrap();
        let case = Case { lanes: 1, ..*case }; // one after the other: each count is of the same
        let mut told = Vec::new();
        for (proxy, load) in bench.asked(&case) {
            let count = of(directory, proxy, load).await;
            told.push(format!("{} {count:.1}", proxy.name));
        }
        println!("  {words}: {}", told.join(", "));
    }
}

async fn of(directory: &Path, proxy: &Proxy, load: Load) -> f64 {
    let mut wires = lanes::hold(&load, 1).await;
    lanes::send(&load, &mut wires[0], REQUESTS).await;
    control(&["-i", "on"], proxy.pid);
    lanes::send(&load, &mut wires[0], REQUESTS).await;
    control(&["-z"], proxy.pid);
    lanes::send(&load, &mut wires[0], REQUESTS).await;
    control(&["-d"], proxy.pid);
    control(&["-i", "off"], proxy.pid);
    let total = last_dump(directory, proxy.name);
    #[expect(clippy::cast_precision_loss, reason = "it is told to the hundred")]
    let each = total as f64 / REQUESTS as f64;
    each / 1e3
}

/// What a program is started with to be counted.
fn callgrind(directory: &Path, name: &str) -> Vec<String> {
    let file = format!("--callgrind-out-file={}/{name}", directory.display());
    let fixed = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "-q"];
    fixed.map(str::to_owned).into_iter().chain([file]).collect()
}

fn control(arguments: &[&str], pid: u32) {
    let mut command = Command::new("callgrind_control");
    let said = command.args(arguments).arg(pid.to_string()).output();
    let said = said.expect("callgrind_control is there");
    assert!(said.status.success(), "{said:?}");
}

/// The instructions of the dump that was written last.
fn last_dump(directory: &Path, name: &str) -> u64 {
    let name = name.rsplit(' ').next().unwrap_or(name);
    let dump = |number: usize| directory.join(format!("{name}.{number}"));
    let last = (1..10_000)
        .take_while(|number| dump(*number).exists())
        .last();
    let text = std::fs::read_to_string(dump(last.expect("a dump"))).unwrap();
    let mut totals = text
        .lines()
        .filter_map(|line| line.strip_prefix("totals: "));
    let total = totals.next_back();
    // Behind it come others, where caches are counted too.
    let instructions = total.and_then(|total| total.split_whitespace().next());
    instructions.unwrap().parse().unwrap()
}
