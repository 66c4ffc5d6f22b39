use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::timeout;

use super::inherited::Inherited;
use super::listen::{BindError, Listener};
use super::listeners::Doors;
use super::watchdog::Heart;
use super::workers::Workers;
use crate::audit::Audit;
use crate::config::Problem;
use crate::gate::Gate;
use crate::rules::{Current, Rules, Serving};
use crate::state::{Issued, Live, Sqlite, StateError, Store};

/// A gate inside of a program that does something else: the same way through as the daemon's, with one sub-token, a state that is
/// in memory alone, and neither reload nor `admin`.
pub struct Embedded {
    doors: Doors,
    address: SocketAddr,
    tokens: Arc<Live>,
    audit: Arc<Audit>,
    state: Sqlite,
    issued: Issued,
    serving: Arc<Serving>,
}

/// Why there is no such gate.
#[derive(Debug)]
pub enum Unopened {
    /// What its rules name can't be used.
    Rules(Vec<Problem>),
    /// The state in memory can't be made.
    State(StateError),
    /// It can't listen.
    Listen(io::Error),
}

impl fmt::Display for Unopened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rules(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::State(error) => write!(f, "{error}"),
            Self::Listen(error) => write!(
                f,
                "can't listen on loopback: {error}; are there as many sockets open as may be?"
            ),
        }
    }
}

impl std::error::Error for Unopened {}

/// How long requests under way may take to end once nobody asks any more.
const DRAIN: Duration = Duration::from_secs(30);
/// How long the state in memory may be busy.
const PATIENCE: Duration = Duration::from_secs(5);

impl Embedded {
    /// Lets `issued` in at the first listener of `rules`.
    ///
    /// # Errors
    /// `Unopened`.
    pub async fn open(rules: Rules, audit: Audit, issued: Issued) -> Result<Self, Unopened> {
        let mut state = Sqlite::in_memory(&issued.id, PATIENCE).map_err(Unopened::State)?;
        let now = Timestamp::now();
        state.issue(&issued, now).map_err(Unopened::State)?;
        let tokens = Live::in_memory(&issued.id).map_err(Unopened::State)?;
        let audit = Arc::new(audit);
        let current = Arc::new(Current::fixed(rules).map_err(Unopened::Rules)?);
        let serving = current.get();
        let settings = &serving.rules.settings;
        let mut listeners = Vec::new();
        for listen in settings.listen.iter().take(1) {
            let bound = Listener::bind(listen, &mut Inherited::none()).await;
            listeners.extend(bound.map_err(|unbound| match unbound {
                BindError::System(error) => Unopened::Listen(error),
                BindError::Systemd(unfit) => Unopened::Listen(io::Error::other(unfit)),
            })?);
        }
        let address = listeners.iter().find_map(Listener::address);
        let nowhere = || Unopened::Listen(io::ErrorKind::AddrNotAvailable.into());
        let address = address.ok_or_else(nowhere)?;
        let gate = Gate::new(current.clone(), tokens.clone(), audit.clone());
        let doors = Doors::open(
            gate,
            listeners,
            settings,
            Workers::default(),
            &mut Heart::new(),
        );
        Ok(Self {
            doors,
            address,
            tokens,
            audit,
            state,
            issued,
            serving,
        })
    }

    /// What it serves by.
    pub fn serving(&self) -> Arc<Serving> {
        self.serving.clone()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Revokes the sub-token, lets requests under way end, and waits until the record is written. False if some had not ended in time.
    ///
    /// # Errors
    /// `StateError`, if the sub-token could not be revoked; it goes with the listener all the same.
    pub async fn close(mut self) -> Result<bool, StateError> {
        let revoked = self.state.revoke(&self.issued.id, Timestamp::now());
        let ended = timeout(DRAIN, self.doors.close()).await.is_ok();
        self.audit.flush().await;
        drop(self.tokens);
        revoked.map(|()| ended)
    }
}
