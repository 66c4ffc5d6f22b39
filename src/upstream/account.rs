use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, StatusCode};
use memchr::memmem::Finder;
use tracing::{info, warn};

use super::failure::What;
use crate::secret::{Secret, TokenCommand};
use crate::token::{Budget, Shares};

/// The real token of an account, which may change while rules are in force; what to look for so that no answer shows it; and
/// what the API has said to it.
pub struct RealToken {
    /// The account it is for.
    pub account: String,
    held: ArcSwap<AllHeld>,
    /// What prints it anew, where that is how the account has it.
    command: Option<TokenCommand>,
    /// When the command was run last; held while it runs.
    runs: tokio::sync::Mutex<Runs>,
    standing: ArcSwap<RealTokenStanding>,
    /// How many requests the API takes yet; below 0 where it has not said.
    ratelimit_remaining: AtomicI64,
    /// How many it takes in an hour, and when it last said what is left, in seconds after `began`.
    ratelimit_limit: AtomicU64,
    told_at: AtomicU64,
    began: Instant,
    /// What its sub-tokens used of that.
    pub shares: Arc<Shares>,
}

/// The secrets that may be an account's real token by now, the one to try first before the others, and what to look for.
struct AllHeld {
    secrets: Vec<Arc<HeldSecret>>,
    finders: Arc<[Finder<'static>]>,
}

/// One of them.
pub struct HeldSecret {
    secret: Secret,
    /// The header that shows it; `None` where it can be in none.
    bearer: Option<HeaderValue>,
    /// Whether the API did not take it when it was shown last.
    refused: AtomicBool,
}

impl HeldSecret {
    fn new(secret: Secret) -> Arc<Self> {
        let bearer = Bytes::from(["Bearer ", secret.expose()].concat());
        let mut bearer = HeaderValue::from_maybe_shared(bearer).ok();
        if let Some(bearer) = &mut bearer {
            bearer.set_sensitive(true);
        }
        Arc::new(Self {
            secret,
            bearer,
            refused: AtomicBool::new(false),
        })
    }

    /// The header that shows it, where it can be in one.
    pub fn bearer(&self) -> Option<HeaderValue> {
        self.bearer.clone()
    }

    /// The token, for the one header it goes into.
    pub fn expose(&self) -> &str {
        self.secret.expose()
    }

    fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

impl AllHeld {
    fn new(secrets: Vec<Arc<HeldSecret>>) -> Self {
        let finder = |held: &Arc<HeldSecret>| Finder::new(telling_part(held.expose())).into_owned();
        let finders = secrets.iter().map(finder).collect();
        Self { secrets, finders }
    }

    /// The one to show: the first that the API may take.
    fn current(&self) -> Option<&Arc<HeldSecret>> {
        let good = self.secrets.iter().find(|held| !held.is_refused());
        good.or(self.secrets.first())
    }
}

/// When a command was run.
struct Runs {
    last: Instant,
    /// When it last had run because the API took nothing that it had printed.
    for_refusal: Option<Instant>,
}

/// How soon after it had run for that a command is run again because the API takes nothing that it has printed.
const AGAIN: Duration = Duration::from_secs(2);

/// What DigitalOcean takes in an hour, where it does not say.
const USUAL_LIMIT: u64 = 5000;
/// How long what it said is left may be gone by.
const HOUR: Duration = Duration::from_secs(3600);

/// Whether the API takes a real token, as far as is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RealTokenStanding {
    /// It has not been asked yet.
    #[default]
    Unasked,
    /// It takes it.
    Accepted,
    /// It does not.
    Refused,
    /// It answered nothing that tells.
    Unclear(u16),
    /// It could not be asked.
    Unreachable(What),
}

/// For those who run tidegate.
impl fmt::Display for RealTokenStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unasked => f.write_str("whether the API accepts the real token is not known yet; it is being asked"),
            Self::Accepted => f.write_str("the API accepts the real token"),
            Self::Refused => f.write_str("the API does not accept the real token (401); put one that is valid where the configuration says"),
            Self::Unclear(status) => write!(f, "whether the API accepts the real token is not known, as it answered {status}; it will be asked again"),
            Self::Unreachable(what) => {
                let why = match what {
                    What::Unreachable => "it can't be reached",
                    What::Tls => "the TLS connection to it can't be trusted",
                    What::Timeout => "it did not answer in time",
                    What::BadAnswer | What::BadRequest | What::Client(_) => "it did not answer in a way that can be read",
                };
                write!(f, "whether the API accepts the real token is not known, as {why}; it will be asked again")
            }
        }
    }
}

impl RealToken {
    /// A token that is shown to the API before there is a configuration, to learn whether it is one.
    pub fn shown_once(secret: Secret) -> Self {
        Self::new("default".to_owned(), secret)
    }

    /// A token of which nothing is known yet.
    pub fn new(account: String, secret: Secret) -> Self {
        Self::one_of(account, vec![secret], None)
    }

    /// One of several tokens, of which the first is to be shown as long as the API takes it, or what a command printed.
    pub fn one_of(account: String, secrets: Vec<Secret>, command: Option<TokenCommand>) -> Self {
        let held = secrets.into_iter().map(HeldSecret::new).collect();
        Self {
            account,
            held: ArcSwap::from_pointee(AllHeld::new(held)),
            command,
            runs: tokio::sync::Mutex::new(Runs {
                last: Instant::now(),
                for_refusal: None,
            }),
            standing: ArcSwap::default(),
            ratelimit_remaining: AtomicI64::new(-1),
            ratelimit_limit: AtomicU64::new(USUAL_LIMIT),
            told_at: AtomicU64::new(0),
            began: Instant::now(),
            shares: Arc::default(),
        }
    }

    /// The secret to show now.
    pub fn current(&self) -> Option<Arc<HeldSecret>> {
        self.held.load().current().cloned()
    }

    /// Searches for the parts of all of its secrets that are secret, without the prefix that all have.
    pub fn finders(&self) -> Arc<[Finder<'static>]> {
        Arc::clone(&self.held.load().finders)
    }

    /// Whether another secret may be had where the API does not take one.
    pub fn has_others(&self) -> bool {
        self.command.is_some() || self.held.load().secrets.len() > 1
    }

    /// What there is instead of secrets that the API does not take: another that is held, or what the command prints now. It is
    /// run once for all who ask at the same time, and not again for a while if it prints what is known.
    pub async fn instead_of(&self, refused: &[Arc<HeldSecret>]) -> Option<Arc<HeldSecret>> {
        let untried =
            |held: &&Arc<HeldSecret>| !refused.iter().any(|tried| Arc::ptr_eq(tried, held));
        let among_held = || self.held.load().secrets.iter().find(untried).cloned();
        if let Some(held) = among_held() {
            return Some(held);
        }
        let command = self.command.as_ref()?;
        let mut runs = self.runs.lock().await;
        if let Some(held) = among_held() {
            return Some(held); // somebody else asked
        }
        if runs.for_refusal.is_some_and(|ran| ran.elapsed() < AGAIN) {
            return None;
        }
        self.run(command, &mut runs).await;
        runs.for_refusal = Some(Instant::now());
        among_held()
    }

    /// Whether it is time to run its command anew.
    pub fn is_stale(&self) -> bool {
        let Some(command) = &self.command else {
            return false;
        };
        let runs = self.runs.try_lock(); // where it can't be had, the command runs
        runs.is_ok_and(|runs| runs.last.elapsed() >= command.every)
    }

    /// Runs the command anew where its time has come.
    pub async fn refresh(&self) {
        let Some(command) = &self.command else {
            return;
        };
        let Ok(mut runs) = self.runs.try_lock() else {
            return; // it runs
        };
        if runs.last.elapsed() >= command.every {
            self.run(command, &mut runs).await;
        }
    }

    /// Runs the command, and keeps what it prints before what was known. What fails is told, and the last good one is kept.
    async fn run(&self, command: &TokenCommand, runs: &mut Runs) {
        runs.last = Instant::now();
        let running = command.clone();
        let printed = tokio::task::spawn_blocking(move || running.run(None)).await;
        let account = &self.account;
        match printed {
            Ok(Ok(secret)) => self.take(secret),
            Ok(Err(why)) => {
                warn!(account, %why, "the real token could not be had anew; the last good one is kept");
            }
            Err(_) => {
                warn!(
                    account,
                    "the real token could not be had anew; the last good one is kept"
                );
            }
        }
    }

    /// Puts a secret before the one that is shown by now, which is kept, as requests under way have it.
    fn take(&self, secret: Secret) {
        let held = self.held.load();
        let hash = secret.hash();
        let same = |held: &&Arc<HeldSecret>| held.secret.hash().matches(&hash);
        let known = held.secrets.iter().find(same).cloned();
        let first = known.unwrap_or_else(|| HeldSecret::new(secret));
        if held
            .secrets
            .first()
            .is_some_and(|held| Arc::ptr_eq(held, &first))
        {
            return;
        }
        let before = held.current().filter(|held| !Arc::ptr_eq(held, &first));
        let all = std::iter::once(first.clone()).chain(before.cloned());
        self.held.store(Arc::new(AllHeld::new(all.collect())));
        info!(
            account = self.account,
            "the account has another real token now"
        );
    }

    /// Whether it is the same token, for the same account.
    pub fn is(&self, other: &Self) -> bool {
        let (one, two) = (self.held.load(), other.held.load());
        let of_command = self.command.is_some() && self.command == other.command;
        let count = if of_command {
            1
        } else {
            one.secrets.len().max(two.secrets.len())
        };
        let same = |(one, two): (&Arc<HeldSecret>, &Arc<HeldSecret>)| {
            one.secret.hash().matches(&two.secret.hash())
        };
        let pairs = one.secrets.iter().zip(&two.secrets).take(count);
        self.account == other.account
            && self.command == other.command
            && pairs.clone().count() == count
            && pairs.clone().all(same)
    }

    /// Whether a command prints it, and which one.
    pub fn command(&self) -> Option<&TokenCommand> {
        self.command.as_ref()
    }

    /// Whether the API takes it.
    pub fn standing(&self) -> RealTokenStanding {
        **self.standing.load()
    }

    /// Takes in what the API answered to one of its secrets. 401 is the only refusal of a token itself; 403 says that it lacks a scope, so
    /// that it is known there. What else there is may be said before a token is looked at, and changes nothing.
    pub fn answered(&self, held: &HeldSecret, status: StatusCode, headers: &HeaderMap) {
        let number = |name: &str| {
            let value = headers.get(name)?.to_str().ok()?;
            value.parse::<u32>().ok()
        };
        if let Some(limit) = number("ratelimit-limit").filter(|limit| *limit > 0) {
            self.ratelimit_limit.store(limit.into(), Ordering::Relaxed);
        }
        if let Some(remaining) = number("ratelimit-remaining") {
            let now = self.began.elapsed().as_secs();
            self.told_at.store(now, Ordering::Relaxed);
            self.ratelimit_remaining
                .store(remaining.into(), Ordering::Relaxed);
        }
        match status {
            StatusCode::UNAUTHORIZED => {
                held.refused.store(true, Ordering::Relaxed);
                if self
                    .held
                    .load()
                    .secrets
                    .iter()
                    .all(|held| held.is_refused())
                {
                    self.stands(RealTokenStanding::Refused);
                }
            }
            status if status.is_success() || status == StatusCode::FORBIDDEN => {
                held.refused.store(false, Ordering::Relaxed);
                self.stands(RealTokenStanding::Accepted);
            }
            _ => {}
        }
    }

    /// How many requests the API takes yet, as it said last.
    pub fn ratelimit_remaining(&self) -> Option<u64> {
        u64::try_from(self.ratelimit_remaining.load(Ordering::Relaxed)).ok()
    }

    /// What the API takes of it and what is left, with this much kept back; nothing where it has not said so lately.
    pub fn budget(&self, reserve: u64) -> Option<Budget> {
        let told_at = Duration::from_secs(self.told_at.load(Ordering::Relaxed));
        if self.began.elapsed().saturating_sub(told_at) > HOUR {
            return None;
        }
        Some(Budget {
            limit: self.ratelimit_limit.load(Ordering::Relaxed),
            left: self.ratelimit_remaining()?,
            reserve,
        })
    }

    /// Notes why asking told nothing, unless something is known by now.
    pub fn not_told(&self, why: RealTokenStanding) {
        match self.standing() {
            RealTokenStanding::Accepted | RealTokenStanding::Refused => {}
            RealTokenStanding::Unasked
            | RealTokenStanding::Unclear(_)
            | RealTokenStanding::Unreachable(_) => self.stands(why),
        }
    }

    fn stands(&self, standing: RealTokenStanding) {
        if self.standing() != standing {
            self.standing.store(Arc::new(standing));
        }
    }
}

fn telling_part(text: &str) -> &[u8] {
    let telling = text.rsplit_once('_').map_or(text, |(_, secret)| secret);
    if telling.len() >= 16 {
        telling.as_bytes()
    } else {
        text.as_bytes()
    }
}
