//! What the parts of a request cost by themselves: `cargo bench --locked --bench micro`, or a part of it with a word after `--`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark stops where it can't measure"
)]

mod droplet;

use std::fmt::Write;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::catalog::{Catalog, KindId};
use tidegate::config::BaseUrl;
use tidegate::facts::Members;
use tidegate::json::Document;
use tidegate::policy::{
    Allowed, Grants, Policy, Shown, Vars, bind, by_head, by_touches, read, shows, touches,
};
use tidegate::request::{Asked, Target};
use tidegate::resource::{State, attributes_of};
use tidegate::response::{Fate, Judge, Judged, Links, Plan, PlanMember, PlanPlace, Scan, trimmed};
use tidegate::state::{self as tokens, Issued, Live};
use tidegate::token::Limits;
use tidegate::token::SubToken;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().unwrap());

fn main() {
    let bench = Bench {
        wanted: std::env::args()
            .skip(1)
            .find(|word| !word.starts_with("--")),
    };
    for part in [asking, tokens, decisions, lists] {
        part(&bench);
    }
}

/// What is wanted of all parts.
struct Bench {
    wanted: Option<String>,
}

const SAMPLES: usize = 21;
const SAMPLE: Duration = Duration::from_millis(40);

impl Bench {
    /// Tells what a part takes: the median of samples, each as many runs as fit into it.
    fn part<T>(&self, what: &str, mut run: impl FnMut() -> T) {
        let is_wanted = |word: &String| what.contains(word.as_str());
        if !self.wanted.as_ref().is_none_or(is_wanted) {
            return;
        }
        let mut sample = || {
            let (mut runs, began) = (0_u32, Instant::now());
            while began.elapsed() < SAMPLE {
                for _ in 0..10 {
                    black_box(run());
                }
                runs += 10;
            }
            began.elapsed() / runs
        };
        let mut samples: Vec<_> = (0..SAMPLES).map(|_| sample()).collect();
        samples.sort_unstable();
        let (least, middle) = (samples[0], samples[SAMPLES / 2]);
        println!("{what}: {middle:?}, at least {least:?}");
    }
}

/// What is asked: reading the target, and finding its endpoint.
fn asking(bench: &Bench) {
    let text = "/v2/droplets?page=2&per_page=200";
    bench.part("target: reading one", || {
        Target::read(black_box(text)).unwrap()
    });
    let target = Target::read("/v2/droplets/300000000/actions").unwrap();
    let method = "POST".parse().unwrap();
    bench.part("endpoint: finding one among all", || {
        CATALOG.find(black_box(method), target.segments())
    });
}

/// Who asks: reading a sub-token, hashing it, and looking it up.
fn tokens(bench: &Bench) {
    let token = SubToken::generate().unwrap();
    let text = token.secret.expose().to_owned();
    bench.part("token: reading and hashing one", || {
        SubToken::read(black_box(&text)).unwrap().hash()
    });
    for count in [1_000, 100_000] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidegate.db");
        let issued: Vec<_> = (0..count).map(|_| issued()).collect();
        let mut state = tokens::open(
            &tidegate::state::StatePlace::File(path.clone()),
            Duration::from_secs(5),
        )
        .unwrap();
        state.issue_all(&issued, Timestamp::now()).unwrap();
        let live = Live::open(&tidegate::state::StatePlace::File(path.clone()), None).unwrap();
        let mut all = issued.iter().cycle().step_by(7_919);
        let one = || tokio::runtime::Builder::new_current_thread();
        let runtime = one().enable_all().build().unwrap();
        let _entered = runtime.enter();
        bench.part(&format!("token: look-up among {count}"), || {
            let id = &all.next().unwrap().id;
            let entry = live.entry(black_box(id), false).now_or_never();
            // On a machine that is slow, what is known may be too old by then.
            let anew = || runtime.block_on(live.entry(id, false));
            entry.unwrap_or_else(anew).unwrap().unwrap()
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
fn decisions(bench: &Bench) {
    for grants in [1, 50, 5_000] {
        decision(bench, &format!("one of {grants} roles"), &roles(grants));
    }
    decision(bench, "a role of 50 grants", &role(50));
}

fn decision(bench: &Bench, what: &str, policy: &str) {
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
        bench.part(&format!("decision: {what}, {how}"), || {
            decided(black_box(&grants), black_box(&asked), &touched)
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
fn lists(bench: &Bench) {
    let whole = list(200);
    let pieces: Vec<Bytes> = pieces(&whole);
    bench.part("list of 400 KB: search for the real token", || {
        let mut scan =
            Scan::new(b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
        pieces
            .iter()
            .map(|piece| scan.push(piece.clone()).unwrap().len())
            .sum::<usize>()
    });
    let (official, own) = (
        BaseUrl::digitalocean(),
        BaseUrl::from_host(false, "gate:80").unwrap(),
    );
    bench.part("list of 400 KB: links brought back", || {
        let mut links = Links::new([official.to_string()].into(), Some(&own));
        pieces
            .iter()
            .map(|piece| links.push(piece).len())
            .sum::<usize>()
    });
    for (what, keys) in [
        ("two fields cut out", &["vpc_uuid", "tags"][..]),
        ("what is not there cut out", &["user_data"]),
    ] {
        bench.part(&format!("list of 400 KB: {what}"), || {
            trimmed(&whole, plan(keys), nobody()).unwrap().len()
        });
    }
    let whole = list(500);
    let droplets = "droplets".parse().unwrap();
    let policy = policy_of(&roles(1));
    let grants = bind(&policy, &["team-0".to_owned()], &Vars::new()).unwrap();
    let asked = Asked::new(
        "GET".parse().unwrap(),
        Target::read("/v2/droplets").unwrap(),
        &CATALOG,
    );
    let touched = touches(&grants, &asked, &policy.tests[0].given, &CATALOG).unwrap();
    let kind = CATALOG.kinds().of(KindId::Droplet);
    bench.part("list of a megabyte: filtered by name", || {
        let page = Document::read(black_box(&whole)).unwrap();
        let items = page.at(&droplets).unwrap().items().unwrap();
        let members = Members::of(kind);
        let shown = items.filter(|item| {
            let json = members.read(*item).unwrap();
            let state = State::new(kind, attributes_of(kind, &json, None), None);
            shows(&grants, &asked, &touched[0], &state, &CATALOG) == Shown::Whole
        });
        assert_eq!(shown.count(), 50);
    });
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
