use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What one daemon remembers for the others that share its state: what the API does not tell, or not yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Memory {
    /// In this account.
    pub account: String,
    /// What it remembers.
    pub what: Happened,
    /// How long that is of use, from now on.
    pub lasts: Duration,
}

/// What happened through it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Happened {
    /// An action was begun.
    Action {
        /// By its id.
        action: String,
        /// On a resource of this kind.
        kind: String,
        /// By this id.
        id: String,
    },
    /// A sub-token put what it made into a project.
    Assigned {
        /// The sub-token's id.
        grantee: String,
        /// What it made.
        urn: String,
        /// The project's id and name.
        project: Vec<String>,
    },
    /// Something was made, and nothing may have been deleted, moved or renamed.
    Made,
    /// Something may have been.
    Replaced,
}

impl Memory {
    /// By what it is found again: a later one by the same takes its place. What changed is each daemon's own, so that nobody
    /// misses it.
    pub(super) fn key(&self, by: &str) -> String {
        let account = &self.account;
        match &self.what {
            Happened::Action { action, .. } => format!("action {account} {action}"),
            Happened::Assigned { grantee, urn, .. } => {
                format!("assigned {account} {grantee} {urn}")
            }
            Happened::Made => format!("made {account} {by}"),
            Happened::Replaced => format!("replaced {account} {by}"),
        }
    }
}

/// Who is told what others remember.
pub(super) type Hearer = Box<dyn Fn(Memory) + Send + Sync>;

/// What others remember, until somebody takes it.
#[derive(Default)]
pub(super) struct Hearing {
    /// What was heard before somebody was there to be told.
    waiting: Vec<Memory>,
    hearer: Option<Hearer>,
}

impl Hearing {
    /// Tells what was heard.
    pub fn tell(&mut self, memory: Memory) {
        match &self.hearer {
            Some(hearer) => hearer(memory),
            None => self.waiting.push(memory),
        }
    }

    /// Tells it to this one from now on, and what waits first.
    pub fn listen(&mut self, hearer: Hearer) {
        self.waiting.drain(..).for_each(&hearer);
        self.hearer = Some(hearer);
    }
}

impl fmt::Debug for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hearing").finish_non_exhaustive()
    }
}
