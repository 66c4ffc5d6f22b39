use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use hyper::{HeaderMap, StatusCode};
use memchr::memmem::Finder;

use crate::secret::Secret;
use crate::token::{Budget, Shares};
use crate::upstream::What;

/// A real token, what to look for so that no answer shows it, and what the API has said to it.
pub struct RealToken {
    /// The account it is for.
    pub account: String,
    secret: Secret,
    finder: Arc<Finder<'static>>,
    standing: ArcSwap<Standing>,
    /// How many requests the API takes yet; below 0 where it has not said.
    ratelimit_remaining: AtomicI64,
    /// How many it takes in an hour, and when it last said what is left, in seconds after `began`.
    ratelimit_limit: AtomicU64,
    told_at: AtomicU64,
    began: Instant,
    /// What its sub-tokens used of that.
    pub shares: Arc<Shares>,
}

/// What DigitalOcean takes in an hour, where it does not say.
const USUAL_LIMIT: u64 = 5000;
/// How long what it said is left may be gone by.
const HOUR: Duration = Duration::from_secs(3600);

/// Whether the API takes a real token, as far as is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Standing {
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
impl fmt::Display for Standing {
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
        let finder = Finder::new(telling_part(secret.expose())).into_owned();
        Self {
            account,
            secret,
            finder: Arc::new(finder),
            standing: ArcSwap::default(),
            ratelimit_remaining: AtomicI64::new(-1),
            ratelimit_limit: AtomicU64::new(USUAL_LIMIT),
            told_at: AtomicU64::new(0),
            began: Instant::now(),
            shares: Arc::default(),
        }
    }

    /// The token, for the one header it goes into.
    pub fn expose(&self) -> &str {
        self.secret.expose()
    }

    /// A search for the part of it that is secret, without the prefix that all have.
    pub fn finder(&self) -> Arc<Finder<'static>> {
        Arc::clone(&self.finder)
    }

    /// Whether it is the same token, for the same account.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.account == other.account && self.secret.hash().matches(&other.secret.hash())
    }

    /// Whether the API takes it.
    pub fn standing(&self) -> Standing {
        **self.standing.load()
    }

    /// Takes in what the API answered to it. 401 is the only refusal of a token itself; 403 says that it lacks a scope, so
    /// that it is known there. What else there is may be said before a token is looked at, and changes nothing.
    pub fn answered(&self, status: StatusCode, headers: &HeaderMap) {
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
            StatusCode::UNAUTHORIZED => self.stands(Standing::Refused),
            StatusCode::FORBIDDEN => self.stands(Standing::Accepted),
            status if status.is_success() => self.stands(Standing::Accepted),
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
    pub fn not_told(&self, why: Standing) {
        match self.standing() {
            Standing::Accepted | Standing::Refused => {}
            Standing::Unasked | Standing::Unclear(_) | Standing::Unreachable(_) => self.stands(why),
        }
    }

    fn stands(&self, standing: Standing) {
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
