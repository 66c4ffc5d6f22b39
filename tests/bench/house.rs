//! A daemon with so many tokens and roles, and what it is asked and measured for.

use std::fmt::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use tidegate::policy::Vars;
use tidegate::state::{self, About, Issued, StatePlace};
use tidegate::token::Limits;
use tidegate::token::SubToken;
use tokio::task::JoinSet;

use crate::process;
use crate::support::gate::{GateBuilder, Signal};
use crate::support::{Fault, Gate, Reply, StandInApi};

/// How many connections requests go over.
pub const LANES: usize = 4;

/// A running daemon and its tokens.
pub struct House {
    gate: Arc<Gate>,
    /// How long it took from its start until it said that it listens.
    pub start: Duration,
    tokens: Arc<Vec<SubToken>>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asking {
    /// Something that no role allows: the look-up, the decision, the record, the answer.
    Refused,
    /// Something that every role allows: the same, and the way to the API and back.
    Forwarded,
}

impl fmt::Display for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused => "look-up and refusal",
            Self::Forwarded => "look-up, decision, the API's answer",
        })
    }
}

/// How long changes took, at most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// `token issue`.
    pub command: Duration,
    /// From its end until a request passed.
    pub honoured: Duration,
    /// `token revoke`.
    pub revoking: Duration,
    /// From its end until a request was refused.
    pub refused: Duration,
}

impl Changes {
    /// Keeps what took longer.
    pub fn note(&mut self, other: Self) {
        self.command = self.command.max(other.command);
        self.honoured = self.honoured.max(other.honoured);
        self.revoking = self.revoking.max(other.revoking);
        self.refused = self.refused.max(other.refused);
    }
}

impl House {
    /// Fills a state file and starts a daemon over it three times; its start is the median.
    pub async fn open(api: &StandInApi, tokens: usize, roles: usize) -> Self {
        let gate = Gate::builder(api).policy(&policy(roles));
        Self::built(api, gate, async |gate| fill(&file(gate), tokens, roles)).await
    }

    /// The same of a daemon that is set up already, and whatever fills its state.
    pub async fn built(
        api: &StandInApi,
        gate: GateBuilder,
        fill: impl AsyncFnOnce(&Gate) -> Vec<SubToken>,
    ) -> Self {
        let answer = Reply::json(200, &json!({ "account": { "status": "active" } }));
        api.fault_all("/v2/", Fault::Reply(answer));
        let mut gate = gate.start().await;
        stop(&mut gate).await;
        let tokens = fill(&gate).await;
        let mut starts = Vec::new();
        for number in 0..3 {
            if number > 0 {
                stop(&mut gate).await;
            }
            let began = Instant::now();
            gate.start_again().await;
            starts.push(began.elapsed());
        }
        starts.sort();
        Self {
            gate: Arc::new(gate),
            start: starts[1],
            tokens: Arc::new(tokens),
        }
    }

    /// Lets every token ask once.
    pub async fn use_all(&self) {
        let all = self.tokens.len();
        self.ask(Asking::Forwarded, all, 0..all).await;
    }

    /// Sends these requests, by so many tokens in turns.
    pub async fn ask(&self, asking: Asking, active: usize, requests: Range<usize>) {
        let (target, status) = match asking {
            Asking::Refused => ("/v2/customers/my/billing_history", 403),
            Asking::Forwarded => ("/v2/account", 200),
        };
        let host = self.gate.address().to_string();
        let mut lanes = JoinSet::new();
        for lane in 0..LANES {
            let (gate, tokens) = (Arc::clone(&self.gate), Arc::clone(&self.tokens));
            let (host, requests) = (host.clone(), requests.clone());
            lanes.spawn(async move {
                let mut kept = gate.keep().await;
                for number in requests.skip(lane).step_by(LANES) {
                    let token = &tokens[(number % active).wrapping_mul(STRIDE) % tokens.len()];
                    let ask = gate.get(target).token(token.secret.expose());
                    let ask = ask.header("host", &host);
                    let answer = ask.try_send_over(&mut kept).await.expect("an answer");
                    assert_eq!(answer.status, status, "{}", answer.text());
                }
            });
        }
        lanes.join_all().await;
    }

    /// Issues a token by the command line.
    pub async fn issue(&self, options: &[&str]) -> String {
        let token = self.gate.issue(options).await;
        self.wait_for(&token, 200).await;
        token
    }

    /// Sends so many requests, one after the other: how long each took, in seconds.
    pub async fn one_by_one(&self, token: &str, count: usize) -> Vec<f64> {
        let mut kept = self.gate.keep().await;
        let mut took = Vec::with_capacity(count);
        for _ in 0..count {
            let asked = Instant::now();
            let ask = self.gate.get("/v2/account").token(token);
            let answer = ask.try_send_over(&mut kept).await.expect("an answer");
            assert_eq!(answer.status, 200, "{}", answer.text());
            took.push(asked.elapsed().as_secs_f64());
        }
        took
    }

    /// Sends so many over each of so many connections: how many went in a second.
    pub async fn at_once(&self, token: &str, lanes: u32, count: usize) -> f64 {
        let began = Instant::now();
        let all = (0..lanes).map(|_| self.one_by_one(token, count));
        let all = futures_util::future::join_all(all).await;
        let sent: usize = all.iter().map(Vec::len).sum();
        f64::from(u32::try_from(sent).unwrap()) / began.elapsed().as_secs_f64()
    }

    /// Issues a token by the command line, uses it as soon as it works, and revokes it.
    pub async fn issue_and_revoke(&self, number: usize) -> Changes {
        let mut changes = Changes::default();
        let name = format!("late-{number}");
        let began = Instant::now();
        let token = self.gate.issue(&[&name, "--role", "team-1"]).await;
        changes.command = began.elapsed();
        let done = Instant::now();
        self.wait_for(&token, 200).await;
        changes.honoured = done.elapsed();
        let began = Instant::now();
        let revoked = self.gate.cli(&["token", "revoke", &name]).await;
        assert!(revoked.status.success());
        changes.revoking = began.elapsed();
        let done = Instant::now();
        self.wait_for(&token, 401).await;
        changes.refused = done.elapsed();
        changes
    }

    async fn wait_for(&self, token: &str, status: u16) {
        let mut kept = self.gate.keep().await;
        let began = Instant::now();
        loop {
            let ask = self.gate.get("/v2/account").token(token);
            let answer = ask.try_send_over(&mut kept).await.expect("an answer");
            if answer.status == status {
                return;
            }
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(20), "{}", answer.text());
        }
    }

    /// The memory that the daemon has of its own, in bytes.
    pub fn resident(&self) -> u64 {
        process::resident(self.gate.pid())
    }

    /// The processor time that the daemon has used, all its threads together.
    pub fn processor_time(&self) -> Duration {
        process::processor_time(self.gate.pid())
    }

    /// Ends the daemon and looks for secrets.
    pub async fn close(self, api: &StandInApi) {
        let Ok(gate) = Arc::try_unwrap(self.gate) else {
            panic!("a lane still runs");
        };
        gate.finish(api).await;
    }
}

/// A step from token to token that shares no divisor with their number, so that one after the other has its turn.
const STRIDE: usize = 7_919;

async fn stop(gate: &mut Gate) {
    gate.signal(Signal::Term);
    assert!(gate.wait_exit().await.success());
}

/// Roles as teams have them; each tenth has a variable.
pub fn policy(roles: usize) -> String {
    let mut text = "version: 1\nroles:\n".to_owned();
    for number in 0..roles {
        let (vars, by_variable) = if has_variable(number) {
            ("    vars: [id]\n", ", '(GET|PUT) /v2/droplets/${id}'")
        } else {
            ("", "")
        };
        writeln!(
            text,
            "  team-{number}:
    description: what the team {number} works with
{vars}    allow:
      - scopes: [account:read, 'droplet:*', 'image:*', snapshot:read, tag:read, tag:create, regions:read, sizes:read]
      - requests: ['GET /v2/domains/team-{number}\\.example\\.com(/records(/[0-9]+)?)?'{by_variable}]
      - scopes: [block_storage_action:create]
        actions: [attach, detach]
    deny:
      - scopes: [droplet:delete]
      - requests: ['DELETE /v2/images/{number}']"
        )
        .unwrap();
    }
    text
}

fn has_variable(role: usize) -> bool {
    role % 10 == 9
}

/// Issues so many tokens at once: each fifth with two roles, and with the variable where a role has it.
pub fn fill(place: &StatePlace, count: usize, roles: usize) -> Vec<SubToken> {
    let now = Timestamp::now();
    let expires_at = now.checked_add(Duration::from_secs(30 * 86_400)).unwrap();
    let mut tokens = Vec::with_capacity(count);
    let mut issued = Vec::with_capacity(count);
    for number in 0..count {
        let token = SubToken::generate().unwrap();
        let mut own = vec![number % roles];
        if number % 5 == 0 {
            own.push((number + 1) % roles);
        }
        let with_variable = own.iter().any(|role| has_variable(*role));
        let vars = with_variable.then(|| ("id".to_owned(), number.to_string()));
        issued.push(Issued {
            id: token.id.clone(),
            name: format!("token-of-someone-{number}"),
            hash: token.hash(),
            old: None,
            roles: own.iter().map(|role| format!("team-{role}")).collect(),
            vars: Vars::from_iter(vars),
            limits: Limits {
                sources: Some(vec!["127.0.0.0/8".parse().unwrap()]),
                expires_at: Some(expires_at),
                ..Limits::default()
            }
            .into(),
            created_at: now,
            ceiling: None,
            about: Some(Box::new(About {
                owner: Some(format!("person-{}", number % 100)),
                description: None,
            })),
            maker: None,
        });
        tokens.push(token);
    }
    let mut state = state::open(place, Duration::from_secs(60)).unwrap();
    state.issue_all(&issued, now).unwrap();
    tokens
}

/// The state file of a daemon.
pub fn file(gate: &Gate) -> StatePlace {
    StatePlace::File(gate.files().path("tidegate.db"))
}
