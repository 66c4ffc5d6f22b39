//! What the parts of a request cost by themselves: `cargo bench --locked --bench micro`, or a part of it with a word after `--`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a benchmark stops where it can't measure"
)]

mod droplet;

use std::fmt::Write;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::catalog::Catalog;
use tidegate::config::BaseUrl;
use tidegate::policy::{
    Allowed, Grants, Policy, Shown, Vars, bind, by_head, by_touches, read, shows, touches,
};
use tidegate::request::{Asked, Json, Target};
use tidegate::resource::{State, attributes_of};
use tidegate::response::{
    Fate, Judge, Judged, Links, Plan, PlanMember, PlanPlace, Scan, slices, trimmed,
};
use tidegate::state::{self as tokens, Issued, Live};
use tidegate::token::Limits;
use tidegate::token::SubToken;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());

criterion_group!(benches, asking, tokens, decisions, lists);
criterion_main!(benches);

/// What is asked: reading the target, and finding its endpoint.
fn asking(c: &mut Criterion) {
    let text = "/v2/droplets?page=2&per_page=200";
    c.bench_function("target: reading one", |b| {
        b.iter(|| Target::read(black_box(text)).unwrap());
    });
    let target = Target::read("/v2/droplets/300000000/actions").unwrap();
    let method = "POST".parse().unwrap();
    c.bench_function("endpoint: finding one among all", |b| {
        b.iter(|| CATALOG.find(black_box(method), target.segments()));
    });
}

/// Who asks: reading a sub-token, hashing it, and looking it up.
fn tokens(c: &mut Criterion) {
    let token = SubToken::generate().unwrap();
    let text = token.secret.expose().to_owned();
    c.bench_function("token: reading and hashing one", |b| {
        b.iter(|| SubToken::read(black_box(&text)).unwrap().hash());
    });
    for count in [1_000, 100_000] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidegate.db");
        let issued: Vec<_> = (0..count).map(|_| issued()).collect();
        let mut state = tokens::open(
            &tidegate::state::Place::File(path.clone()),
            Duration::from_secs(5),
        )
        .unwrap();
        state.issue_all(&issued, Timestamp::now()).unwrap();
        let live = Live::open(&tidegate::state::Place::File(path.clone()), None).unwrap();
        let mut all = issued.iter().cycle().step_by(7_919);
        c.bench_function(&format!("token: look-up among {count}"), |b| {
            b.iter(|| {
                let id = &all.next().unwrap().id;
                let entry = live.entry(black_box(id), false).now_or_never();
                entry.unwrap().unwrap().unwrap()
            });
        });
    }
}

fn issued() -> Issued {
    let token = SubToken::generate().unwrap();
    Issued {
        name: token.id.to_string(),
        hash: token.hash(),
        id: token.id,
        old: None,
        roles: ["team-1".to_owned()].into(),
        vars: Vars::new(),
        limits: Limits::default().into(),
        created_at: Timestamp::now(),
        ceiling: None,
        about: None,
        maker: None,
    }
}

/// Decisions with the facts at hand, in policies of so many grants, and by a token that holds so many itself.
fn decisions(c: &mut Criterion) {
    for grants in [1, 50, 5_000] {
        decision(c, &format!("one of {grants} roles"), &roles(grants));
    }
    decision(c, "a role of 50 grants", &role(50));
}

fn decision(c: &mut Criterion, what: &str, policy: &str) {
    let policy = policy_of(policy);
    let last = format!("team-{}", policy.roles.len() - 1);
    let grants = bind(&policy, &[last], &Vars::new()).unwrap();
    let asked = |text: &str| {
        let (method, target) = text.split_once(' ').unwrap();
        Asked::new(
            method.parse().unwrap(),
            Target::read(target).unwrap(),
            &CATALOG,
        )
    };
    for (how, text) in [
        ("by scope", "GET /v2/account"),
        ("by what it touches", "DELETE /v2/droplets/12"),
    ] {
        let asked = asked(text);
        let touched = touches(&grants, &asked, &policy.tests[0].given, &CATALOG).unwrap();
        c.bench_function(&format!("decision: {what}, {how}"), |b| {
            b.iter(|| decided(black_box(&grants), black_box(&asked), &touched));
        });
    }
}

fn decided(grants: &Grants, asked: &Asked<'_>, touches: &[tidegate::resource::Touch]) -> Allowed {
    let decided = by_head(grants, asked, &CATALOG);
    let decided = decided.and_then(|()| by_touches(grants, asked, touches, &CATALOG));
    decided.unwrap_or_else(|refusal| panic!("{}", refusal.message))
}

/// So many roles, each with a grant that is narrowed and one that is not.
fn roles(count: usize) -> String {
    let mut text = String::new();
    for number in 0..count {
        write!(text, "  team-{number}:\n    allow:\n{}", grant(number)).unwrap();
    }
    text
}

/// One role with so many grants; the last fits.
fn role(count: usize) -> String {
    let mut text = "  team-0:\n    allow:\n".to_owned();
    for number in 1..count {
        let tag = format!("team-{number}");
        writeln!(
            text,
            "      - {{ scopes: ['droplet:*'], only: {{ droplet: {{ tag: {tag} }} }} }}"
        )
        .unwrap();
    }
    text + &grant(0)
}

fn grant(number: usize) -> String {
    format!(
        "      - {{ scopes: [account:read] }}\n      - {{ scopes: ['droplet:*'], only: {{ droplet: {{ name: ['team-{number}-*', 'x-web'] }} }} }}\n"
    )
}

fn policy_of(roles: &str) -> Policy {
    let tests = "tests:\n  - role: team-0\n    request: GET /v2/regions\n    expect: deny\n    given: { droplet: [{ id: 12, name: x-web, tags: [a, b] }] }\n";
    let text = format!("version: 1\nroles:\n{roles}{tests}");
    match read("policy.yaml", &text, &["default".to_owned()], &CATALOG) {
        Ok(policy) => policy,
        Err(mistakes) => panic!("{}", mistakes.into_lines().join("\n")),
    }
}

/// What is done to a list of 400 KB on its way, and to one of a megabyte that is filtered.
fn lists(c: &mut Criterion) {
    let whole = list(200);
    let pieces: Vec<Bytes> = pieces(&whole);
    let mut group = c.benchmark_group("list of 400 KB");
    group.throughput(Throughput::Bytes(whole.len() as u64));
    group.bench_function("search for the real token", |b| {
        b.iter(|| {
            let mut scan =
                Scan::new(b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
            pieces
                .iter()
                .map(|piece| scan.push(piece.clone()).unwrap().len())
                .sum::<usize>()
        });
    });
    let (official, own) = (
        BaseUrl::digitalocean(),
        BaseUrl::from_host(false, "gate:80").unwrap(),
    );
    group.bench_function("links brought back", |b| {
        b.iter(|| {
            let mut links = Links::new([official.to_string()].into(), Some(&own));
            pieces
                .iter()
                .map(|piece| links.push(piece).len())
                .sum::<usize>()
        });
    });
    for (what, keys) in [
        ("two fields cut out", &["vpc_uuid", "tags"][..]),
        ("what is not there cut out", &["user_data"]),
    ] {
        group.bench_function(what, |b| {
            b.iter(|| trimmed(&whole, plan(keys), nobody()).unwrap().len());
        });
    }
    group.finish();
    let whole = list(500);
    let array = whole.slice(b"{\"droplets\":".len()..whole.len() - b",\"links\":{}}".len());
    let mut group = c.benchmark_group("list of a megabyte");
    group.throughput(Throughput::Bytes(array.len() as u64));
    let policy = policy_of(&roles(1));
    let grants = bind(&policy, &["team-0".to_owned()], &Vars::new()).unwrap();
    let asked = Asked::new(
        "GET".parse().unwrap(),
        Target::read("/v2/droplets").unwrap(),
        &CATALOG,
    );
    let touched = touches(&grants, &asked, &policy.tests[0].given, &CATALOG).unwrap();
    let kind = CATALOG.kinds().find("droplet").unwrap();
    group.bench_function("filtered by name", |b| {
        b.iter(|| {
            let items = slices(black_box(&array)).unwrap();
            let shown = items.iter().filter(|item| {
                let json = Json::read(item).unwrap();
                let state = State::new(kind, attributes_of(kind, &json, None), None);
                shows(&grants, &asked, &touched[0], &state, &CATALOG) == Shown::Whole
            });
            assert_eq!(shown.count(), 50);
        });
    });
    group.finish();
}

fn nobody() -> Judge<'static> {
    Box::new(|_, _| Judged::Null)
}

fn plan(keys: &[&str]) -> Plan {
    let member = |key: &str, fate, below| PlanMember {
        key: key.to_owned(),
        fate,
        below,
    };
    let place = |members| PlanPlace {
        judged: None,
        members,
    };
    let cut = keys.iter().map(|key| member(key, Fate::Cut, None));
    Plan {
        places: vec![
            place(vec![member("droplets", Fate::Keep, Some(1))]),
            place(cut.collect()),
        ],
    }
}

fn list(count: usize) -> Bytes {
    let droplets: Vec<Value> = (0..count).map(droplet::droplet).collect();
    Bytes::from(json!({ "droplets": droplets, "links": {} }).to_string())
}

/// As they come from a socket.
fn pieces(whole: &Bytes) -> Vec<Bytes> {
    let size = 64 << 10;
    let starts = (0..whole.len()).step_by(size);
    starts
        .map(|from| whole.slice(from..whole.len().min(from + size)))
        .collect()
}
