//! Requests without a pause while the policy under them flips between two, the configured account with it.
//!
//! The two are made so that a mixture shows: where one allows and the other does not, the other denies it as well, so that
//! grants of the one and denials of the other would give a third answer; and each has a real token of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::gate::Signal;
use super::{Answer, Fault, Gate, REAL_TOKEN, Reply, StandInApi};

/// What was seen; that nothing failed and nothing was mixed is checked already.
#[derive(Debug)]
pub struct Seen {
    /// How many requests were answered.
    pub requests: usize,
    /// How many of them by each policy.
    pub by_side: [usize; 2],
    /// How many reloads there were meanwhile.
    pub reloads: usize,
    /// How long it took.
    pub took: Duration,
    /// How long the slowest request took.
    pub slowest: Duration,
}

/// Sends so many requests over kept connections, flips the policy all the while, and checks every answer and audit line.
///
/// # Panics
/// If a request failed, was decided by a mixture or by a policy that was not in force, or left no audit line or two that differ.
pub async fn run(requests: usize, every: Duration) -> Seen {
    let api = StandInApi::start().await;
    api.fault_all(
        "/v2/",
        Fault::reply_with(|heard| side_of_token(heard.bearer())),
    );
    let gate = Gate::builder(&api)
        .policy(BOTH)
        .file("other-token", OTHER_TOKEN)
        .set("accounts.other", json!({ "token_file": "other-token" }))
        .start()
        .await;
    let token = gate
        .issue(&[
            "ci", "--role", "one", "--role", "two", "--var", "a=12", "--var", "b=13",
        ])
        .await;
    let load = Arc::new(Load {
        gate,
        token,
        left: AtomicUsize::new(requests),
        in_force: AtomicUsize::new(UNSETTLED),
    });
    let began = Instant::now();
    let mut lanes = JoinSet::new();
    load.flip(0, 0).await;
    for lane in 0..LANES {
        lanes.spawn(Arc::clone(&load).ask(lane));
    }
    let mut reloads = 0;
    let mut ended = Vec::new();
    while load.left.load(Ordering::Relaxed) > 0 {
        while let Some(lane) = lanes.try_join_next() {
            ended.push(lane.expect("a lane in which nothing went wrong"));
        }
        reloads += 1;
        load.flip(reloads % 2, reloads).await;
        sleep(every).await; // the pace of the flips
    }
    ended.extend(lanes.join_all().await);
    let answered: Vec<Answered> = ended.into_iter().flatten().collect();
    let took = began.elapsed();
    let Ok(Load { mut gate, .. }) = Arc::try_unwrap(load).map_err(|_| "a lane still runs") else {
        panic!("a lane still runs");
    };
    gate.signal(Signal::Term);
    assert!(gate.wait_exit().await.success());
    let by_side = check_audit(&answered, &gate.audit());
    gate.finish(&api).await;
    let slowest = answered.iter().map(|one| one.took).max();
    Seen {
        requests: answered.len(),
        by_side,
        reloads,
        took,
        slowest: slowest.unwrap_or_default(),
    }
}

const LANES: usize = 16;

/// A second real token; like the first it is plainly none.
const OTHER_TOKEN: &str = "dop_v1_cafecafecafecafecafecafecafecafecafecafecafecafecafecafecafecafe";

/// What the token is issued under: roles that have both its variables.
const BOTH: &str = "
version: 1
roles:
  one: { vars: [a], allow: [{ scopes: [billing:read] }] }
  two: { vars: [b], allow: [{ scopes: [billing:read] }] }
";

const SIDES: [&str; 2] = [
    "
version: 1
roles:
  one:
    vars: [a]
    allow:
      - scopes: [account:read]
      - requests: ['GET /v2/droplets/${a}']
      - scopes: [regions:read]
    deny:
      - requests: [GET /v2/sizes]
      - scopes: [regions:read]
  two:
    allow: [{ scopes: [tag:create] }]
",
    "
version: 1
roles:
  one:
    account: other
    allow: [{ scopes: [billing:read] }]
    deny: [{ requests: ['GET /v2/droplets/.*'] }]
  two:
    account: other
    vars: [b]
    allow:
      - scopes: [sizes:read, regions:read]
      - scopes: [account:read]
      - requests: ['POST /v2/tags']
    deny:
      - scopes: [tag:create]
  nobodys:
    allow: [{ scopes: [sizes:read] }]
",
];

const ACCOUNTS: [&str; 2] = ["default", "other"];

/// A request, and what each policy says to it.
struct Ask {
    method: Method,
    target: &'static str,
    said: [Said; 2],
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Said {
    /// By this grant.
    Allow(&'static str),
    /// With this code and detail.
    Deny(&'static str, &'static str),
}

const SCOPE: Said = Said::Deny("scope", "");

const ASKS: [Ask; 5] = [
    Ask {
        method: Method::GET,
        target: "/v2/droplets/12",
        said: [Said::Allow("one.allow[1]"), SCOPE],
    },
    Ask {
        method: Method::GET,
        target: "/v2/sizes",
        said: [SCOPE, Said::Allow("two.allow[0]")],
    },
    Ask {
        method: Method::GET,
        target: "/v2/account",
        said: [Said::Allow("one.allow[0]"), Said::Allow("two.allow[1]")],
    },
    Ask {
        method: Method::GET,
        target: "/v2/regions",
        said: [
            Said::Deny("denied", "one.deny[1]"),
            Said::Allow("two.allow[0]"),
        ],
    },
    Ask {
        method: Method::POST,
        target: "/v2/tags",
        said: [
            Said::Allow("two.allow[0]"),
            Said::Deny("denied", "two.deny[0]"),
        ],
    },
];

fn side_of_token(bearer: Option<&str>) -> Reply {
    let side = [REAL_TOKEN, OTHER_TOKEN]
        .iter()
        .position(|token| bearer == Some(token));
    Reply::json(200, &json!({ "side": side }))
}

struct Load {
    gate: Gate,
    token: String,
    left: AtomicUsize,
    /// Which flip is in force, times two, and its side; or `UNSETTLED` while one takes place.
    in_force: AtomicUsize,
}

const UNSETTLED: usize = usize::MAX;

/// What came of one request.
struct Answered {
    ask: usize,
    side: usize,
    id: String,
    took: Duration,
}

impl Load {
    async fn flip(&self, side: usize, number: usize) {
        self.in_force.store(UNSETTLED, Ordering::SeqCst);
        // By how many roles it has, a line tells which side it is of: the other's may yet come, of a look at its change.
        let roles = SIDES[side].matches("    allow:").count();
        let told = format!("reloaded roles={roles}");
        let reloads = || {
            let logs = self.gate.logs();
            logs.iter().filter(|line| line.contains(&told)).count()
        };
        let before = reloads();
        self.gate.write_policy(SIDES[side]);
        self.gate.signal(Signal::Hup);
        let began = Instant::now();
        while reloads() == before {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "no reload: {:#?}",
                self.gate.logs()
            );
            sleep(Duration::from_millis(5)).await;
        }
        self.in_force.store(number * 2 + side, Ordering::SeqCst);
    }

    async fn ask(self: Arc<Self>, lane: usize) -> Vec<Answered> {
        let host = self.gate.address().to_string();
        let mut kept = self.gate.keep().await;
        let mut answered = Vec::new();
        let more = || {
            self.left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
        };
        for number in lane.. {
            if more().is_err() {
                break;
            }
            let index = number % ASKS.len();
            let ask = &ASKS[index];
            let before = self.in_force.load(Ordering::SeqCst);
            let began = Instant::now();
            let request = self
                .gate
                .request(ask.method.clone(), ask.target)
                .token(&self.token)
                .header("host", &host);
            let request = if ask.method == Method::POST {
                request.json(&json!({ "name": "x" }))
            } else {
                request
            };
            let answer = request.try_send_over(&mut kept).await;
            let took = began.elapsed();
            let answer = answer
                .unwrap_or_else(|error| panic!("{} {} failed: {error}", ask.method, ask.target));
            let side = side_of(ask, &answer);
            if before != UNSETTLED && before == self.in_force.load(Ordering::SeqCst) {
                assert_eq!(
                    side,
                    before % 2,
                    "{} by a policy that was not in force",
                    ask.target
                );
            }
            let id = answer
                .header("tidegate-request-id")
                .expect("a request id")
                .to_owned();
            answered.push(Answered {
                ask: index,
                side,
                id,
                took,
            });
        }
        answered
    }
}

/// Which of the two policies gave the answer: exactly one can have.
fn side_of(ask: &Ask, answer: &Answer) -> usize {
    let body = answer.json();
    let fits = |side: &usize| match ask.said[*side] {
        Said::Allow(_) => {
            answer.status == 200 && answer.reason().is_none() && body["side"] == *side
        }
        Said::Deny(code, detail) => {
            let message = body["message"].as_str().unwrap_or_default();
            answer.status == 403 && answer.reason() == Some(code) && message.contains(detail)
        }
    };
    let fitting: Vec<usize> = (0..2).filter(fits).collect();
    let &[side] = fitting.as_slice() else {
        panic!(
            "{} {}: neither policy's answer: {} {:?} {body}",
            ask.method,
            ask.target,
            answer.status,
            answer.reason()
        );
    };
    side
}

/// Compares each answer with the audit lines of the same request, and counts them by policy.
fn check_audit(answered: &[Answered], audit: &[Value]) -> [usize; 2] {
    let mut lines: HashMap<&str, Vec<&Value>> = HashMap::new();
    for line in audit {
        let id = line["request_id"]
            .as_str()
            .expect("every line has a request id");
        lines.entry(id).or_default().push(line);
    }
    let mut by_side = [0; 2];
    for Answered { ask, side, id, .. } in answered {
        by_side[*side] += 1;
        let own = lines.remove(id.as_str()).unwrap_or_default();
        let finals = own.iter().filter(|line| line["event"] == "answer").count();
        assert_eq!(finals, 1, "final lines of request {id}: {own:#?}");
        for line in own {
            assert_eq!(line["account"], ACCOUNTS[*side], "{line:#}");
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            match ASKS[*ask].said[*side] {
                Said::Allow(place) => assert_eq!(
                    (text("decision"), text("reason")),
                    ("allow".into(), place.into()),
                    "{line:#}"
                ),
                Said::Deny(code, detail) => {
                    assert_eq!(
                        (text("decision"), text("reason")),
                        ("deny".into(), code.into()),
                        "{line:#}"
                    );
                    assert!(text("detail").contains(detail), "{line:#}");
                }
            }
        }
    }
    assert!(
        lines.is_empty(),
        "audit lines of requests that nobody sent: {lines:#?}"
    );
    by_side
}
