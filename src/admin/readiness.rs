use serde_json::{Value, json};

use crate::config::{RealToken, Standing};
use crate::server::Current;
use crate::token::Live;

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It does not listen yet.
    Starting,
    /// It takes requests.
    Listening,
    /// It lets requests under way end.
    Draining,
}

/// Whether the daemon does what it is there for, and what is in the way.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Readiness {
    listening: Option<&'static str>,
    policy: Option<&'static str>,
    real_token: Vec<String>,
    state: Vec<String>,
}

impl Readiness {
    pub fn of(phase: Phase, current: &Current, tokens: &Live) -> Self {
        let serving = current.get();
        let mut real_token: Vec<_> = serving
            .rules
            .real_tokens()
            .filter_map(|token| unaccepted(token))
            .collect();
        real_token.sort();
        Self {
            listening: not_listening(phase),
            policy: (!current.last().problems.is_empty()).then_some("last reload failed; the old configuration and policy stay in force; the log and `tidegate check` say what is wrong"),
            real_token,
            state: tokens.doubts(),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.listening.is_none()
            && self.policy.is_none()
            && self.real_token.is_empty()
            && self.state.is_empty()
    }

    pub fn json(&self) -> Value {
        let problems: Vec<_> = self
            .listening
            .into_iter()
            .chain(self.policy)
            .chain(self.real_token.iter().map(String::as_str))
            .chain(self.state.iter().map(String::as_str))
            .collect();
        json!({
            "ready": self.is_ready(),
            "listening": self.listening.is_none(),
            "policy": self.policy.is_none(),
            "real_token": self.real_token.is_empty(),
            "state": self.state.is_empty(),
            "problems": problems,
        })
    }
}

fn not_listening(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Starting => Some("starting; not all listeners are there yet"),
        Phase::Listening => None,
        Phase::Draining => Some("draining; requests under way may end, and no more are taken"),
    }
}

fn unaccepted(token: &RealToken) -> Option<String> {
    let standing = token.standing();
    (standing != Standing::Accepted).then(|| format!("account `{}`: {standing}", token.account))
}
