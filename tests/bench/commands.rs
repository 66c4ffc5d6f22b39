//! How long commands take that somebody waits for: `cargo bench --locked --bench commands`.
//!
//! `exec -- true` and `true` are run in turns, so that what else the machine does weighs on both, and the medians are told. `suggest`
//! reads a record of 100,000 lines; `diff` compares policies of 1,000 roles. A bound that is broken exits with 1.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    dead_code,
    reason = "a benchmark is there to print, and stops where it can't measure"
)]

mod report;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use report::{Report, exit, median, millis};
use serde_json::json;

const ROUNDS: usize = 40;
const BOUND: Duration = Duration::from_millis(50);
/// In the form of a real token, and plainly none.
const TOKEN: &str = "dop_v1_f00df00df00df00df00df00df00df00df00df00df00df00df00df00df00df00d";

fn main() -> ExitCode {
    let place = tempfile::tempdir().unwrap();
    let kept = [exec(place.path()), longer(place.path())];
    exit(kept.iter().all(|kept| *kept))
}

fn exec(place: &Path) -> bool {
    let policy = place.join("policy.yaml");
    std::fs::write(&policy, include_str!("../../examples/roles/read-only.yaml")).unwrap();
    let policy = policy.to_str().unwrap();
    let mut report = Report::new(["true", "exec -- true"]);
    for (what, options) in [
        ("a built-in role", &[][..]),
        ("a policy of its own", &["--policy", policy]),
        ("over TLS", &["--https"]),
    ] {
        let (mut alone, mut run) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(took(&mut Command::new("true")));
            let mut exec = Command::new(env!("CARGO_BIN_EXE_tidegate"));
            exec.args(["exec", "--role", "read-only", "--summary", "none"])
                .args(options)
                .args(["--", "true"])
                .env("DIGITALOCEAN_TOKEN", TOKEN);
            run.push(took(&mut exec));
        }
        let (alone, run) = (median(alone), median(run));
        let added = Duration::from_secs_f64((run - alone).max(0.0));
        let figures = [alone, run].map(|seconds| millis(Duration::from_secs_f64(seconds)));
        let bound = format!("adds under {}", millis(BOUND));
        report.row(what, figures, &bound, Some(added < BOUND));
    }
    report.print()
}

/// How long a command takes from its start to its end, in seconds.
fn took(command: &mut Command) -> f64 {
    let began = Instant::now();
    let status = command.stdin(Stdio::null()).status().unwrap();
    let took = began.elapsed().as_secs_f64();
    assert!(status.success());
    took
}

/// As many lines has the record that `suggest` reads.
const LINES: usize = 100_000;
/// As many roles have the policies that `diff` compares.
const ROLES: usize = 1_000;
const MOST_MEMORY: u64 = 512 << 20;

fn longer(place: &Path) -> bool {
    let mut report = Report::new(["most memory", "took"]);
    for (what, things) in [
        ("suggest, 100,000 lines of 200 things", 200),
        ("suggest, 100,000 lines, each of another thing", LINES),
    ] {
        let trail = place.join("trail.jsonl");
        std::fs::write(&trail, record(things)).unwrap();
        let arguments = ["suggest", "--offline", trail.to_str().unwrap()];
        row(&mut report, what, &arguments, 0, Duration::from_secs(5));
    }
    for (what, every) in [
        ("diff of 1,000 roles, 10 of them changed", 100),
        ("diff of 1,000 roles, each of them changed", 1),
    ] {
        let policies = [("old.yaml", ROLES + 1), ("new.yaml", every)];
        let [old, new] = policies.map(|(name, every)| {
            let path = place.join(name);
            std::fs::write(&path, roles(every)).unwrap();
            path.to_str().unwrap().to_owned()
        });
        let arguments = ["diff", &old, &new];
        row(&mut report, what, &arguments, 1, Duration::from_secs(10));
    }
    report.print()
}

fn row(report: &mut Report, what: &str, arguments: &[&str], exits: i32, bound: Duration) {
    let began = Instant::now();
    let mut running = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut memory = 0;
    let status = loop {
        if let Some(status) = running.try_wait().unwrap() {
            break status;
        }
        memory = memory.max(peak(running.id()).unwrap_or_default());
        sleep(Duration::from_millis(5));
    };
    let took = began.elapsed();
    assert_eq!(status.code(), Some(exits), "{arguments:?}");
    let figures = [format!("{} MiB", memory >> 20), millis(took)];
    let told = format!("under {} s and {} MiB", bound.as_secs(), MOST_MEMORY >> 20);
    report.row(
        what,
        figures,
        &told,
        Some(took < bound && memory < MOST_MEMORY),
    );
}

/// The most memory that a process had, in bytes, as long as it runs.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// A record of looks at Droplets and of reboots, with as many of them.
fn record(things: usize) -> String {
    let mut lines = String::new();
    for number in 0..LINES {
        let droplet = 400_000_000 + number % things;
        let name = format!("web-{droplet}");
        let (method, path, endpoint, scope) = if number % 3 == 0 {
            let path = format!("/v2/droplets/{droplet}/actions");
            ("POST", path, "dropletActions_post", "droplet:update")
        } else {
            let path = format!("/v2/droplets/{droplet}");
            ("GET", path, "droplets_get", "droplet:read")
        };
        let resource = json!({ "kind": "droplet", "id": droplet.to_string(), "scope": scope, "name": name, "tags": ["web"] });
        let mut line = json!({
            "time": format!("2026-11-29T10:00:00.{:06}Z", number), "event": "answer", "request_id": number.to_string(),
            "token": { "id": "4fZ0aB9cD8eF", "name": "deploy" }, "client_ip": "127.0.0.1", "method": method, "path": path,
            "endpoint": endpoint, "scopes": [scope], "resources": [resource], "decision": "allow", "reason": "deploy.allow[0]",
            "account": "default", "status": 200, "upstream_status": 200, "upstream_calls": 1, "duration_ms": 3,
        });
        if method == "POST" {
            line["action"] = json!("reboot");
        }
        writeln!(lines, "{line}").unwrap();
    }
    lines
}

/// A policy of teams, of which every so many may do something else.
fn roles(every: usize) -> String {
    let mut text = "version: 1\nroles:\n".to_owned();
    for number in 0..ROLES {
        let action = if (number + 1) % every == 0 {
            "resize"
        } else {
            "reboot"
        };
        write!(
            text,
            r#"  team-{number}:
    allow:
      - scopes: ["droplet:*", image:read, snapshot:read, tag:read, tag:create, actions:read]
        only: {{ tag: team-{number} }}
        actions: [power_on, power_off, {action}]
        on_create: {{ tags: [team-{number}] }}
      - scopes: [ssh_key:read, regions:read, sizes:read]
      - scopes: [domain:read, domain:update]
        only: {{ domain: {{ name: t{number}.example.com }}, domain_record: {{ type: TXT, name: [_acme-challenge, "_acme-challenge.*"] }} }}
    deny:
      - scopes: [droplet:delete]
        only: {{ droplet: {{ name: "*-keep" }} }}
"#
        )
        .unwrap();
    }
    text
}
