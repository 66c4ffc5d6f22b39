use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Serialize;

use super::complaints::{Complaint, Complaints};
use super::times::Times;
use crate::refusal::Code;
use crate::table::Table;

/// What tidegate counts of itself.
///
/// Counting takes no lock: a number is atomic, and the table that leads to it is read through an atomic pointer, and
/// replaced when an endpoint or an outcome is seen for the first time. What it counts by comes from closed sets, so that
/// no client can make it grow.
#[derive(Default)]
pub struct Metrics {
    requests: ByEndpoint,
    /// What was let through under ceilings, by what the roles alone would have refused it with.
    would_refuse: ByEndpoint,
    pub(super) added: Times,
    pub(super) upstream: Times,
    calls: Calls,
    facts: Results,
    lists: Results,
    reloads: Reloads,
    unreadable: [AtomicU64; 3],
    handshakes: [AtomicU64; 3],
    complaints: Complaints,
}

type Outcomes = Table<RequestOutcome, Arc<AtomicU64>>;

/// Counts by operation id and outcome.
#[derive(Default)]
struct ByEndpoint(ArcSwap<Table<String, Arc<Outcomes>>>);

impl ByEndpoint {
    fn count(&self, endpoint: Option<&str>, outcome: RequestOutcome) {
        let endpoint = endpoint.unwrap_or(UNKNOWN);
        if self.count_known(endpoint, outcome) {
            return;
        }
        self.0.rcu(|endpoints| {
            let mut endpoints = Table::clone(endpoints);
            let outcomes = endpoints.entry(endpoint.to_owned()).or_default();
            Arc::make_mut(outcomes).entry(outcome).or_default();
            endpoints
        });
        self.count_known(endpoint, outcome);
    }

    fn count_known(&self, endpoint: &str, outcome: RequestOutcome) -> bool {
        let endpoints = self.0.load();
        let count = endpoints
            .get(endpoint)
            .and_then(|outcomes| outcomes.get(&outcome));
        if let Some(count) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        count.is_some()
    }

    fn all(&self) -> Vec<(String, RequestOutcome, u64)> {
        let endpoints = self.0.load();
        let mut all: Vec<_> = endpoints
            .iter()
            .flat_map(|(endpoint, outcomes)| {
                outcomes.iter().map(|(outcome, count)| {
                    (endpoint.clone(), *outcome, count.load(Ordering::Relaxed))
                })
            })
            .collect();
        all.sort_by(|(a, x, _), (b, y, _)| (a, x.reason()).cmp(&(b, y.reason())));
        all
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RequestOutcome {
    /// It was let through.
    Allowed,
    /// It was refused.
    Refused(Code),
    /// Its client left before there was a decision.
    Abandoned,
}

impl RequestOutcome {
    /// As the label has it.
    pub(super) fn decision(self) -> &'static str {
        match self {
            Self::Allowed => "allow",
            Self::Refused(_) => "deny",
            Self::Abandoned => "none",
        }
    }

    /// As the label has it: the code of a refusal. Which grant allowed is no closed set, and stands in the audit record.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused(code) => code.as_str(),
            Self::Abandoned => "abandoned",
        }
    }
}

/// What the API is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// A client's own request.
    Forward,
    /// What a resource is like, to judge by.
    Facts,
    /// A whole list, to filter.
    List,
    /// Whether a real token is accepted, for readiness.
    Check,
}

#[derive(Default)]
struct Calls {
    forward: AtomicU64,
    facts: AtomicU64,
    list: AtomicU64,
    check: AtomicU64,
}

/// What is kept for a few seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cache {
    /// What resources are like.
    Facts,
    /// Lists that were read whole.
    Lists,
}

/// What a look into a cache came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CacheResult {
    /// It was there.
    Hit,
    /// It was not, and is fetched.
    Miss,
    /// It was not, and another request is fetching it already.
    Shared,
}

#[derive(Default)]
struct Results {
    hit: AtomicU64,
    miss: AtomicU64,
    shared: AtomicU64,
}

/// Why what a client sent is no request: the library answers with the status alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnreadableRequest {
    /// It is not HTTP.
    Malformed,
    /// Its target is too long.
    LongTarget,
    /// It has too many headers, or too large ones.
    LargeHead,
}

impl UnreadableRequest {
    /// All of them, in order.
    const ALL: [Self; 3] = [Self::Malformed, Self::LongTarget, Self::LargeHead];

    /// The status that it is answered with.
    pub fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400",
            Self::LongTarget => "414",
            Self::LargeHead => "431",
        }
    }
}

/// Why a TLS handshake with a client came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Handshake {
    /// It showed no certificate where one is asked for, or one that is not trusted.
    ClientCertificate,
    /// It took too long.
    Timeout,
    /// For another reason: it distrusts ours, or speaks no TLS that is spoken here.
    Other,
}

impl Handshake {
    const ALL: [Self; 3] = [Self::ClientCertificate, Self::Timeout, Self::Other];

    fn cause(self) -> &'static str {
        match self {
            Self::ClientCertificate => "client_certificate",
            Self::Timeout => "timeout",
            Self::Other => "other",
        }
    }
}

/// What a reload came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reload {
    /// The new files are in force.
    Done,
    /// The old ones stay.
    Failed,
}

#[derive(Default)]
struct Reloads {
    done: AtomicU64,
    failed: AtomicU64,
}

/// Under how many milliseconds a part of all is; nothing while there is none.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Quantiles {
    p50: Option<f64>,
    p99: Option<f64>,
}

impl Quantiles {
    fn of(times: &Times) -> Self {
        Self {
            p50: times.quantile(0.5),
            p99: times.quantile(0.99),
        }
    }
}

/// The endpoint of a request that is none's of the catalogue, or was refused before that was known.
const UNKNOWN: &str = "unknown";

impl Metrics {
    /// Counts a request. `endpoint` is an operation id of the catalogue, or nothing.
    pub fn request(&self, endpoint: Option<&str>, outcome: RequestOutcome) {
        self.requests.count(endpoint, outcome);
    }

    /// Counts a request that a ceiling let through, by the code with which the roles alone would have refused it.
    pub fn would_refuse(&self, endpoint: Option<&str>, code: Code) {
        self.would_refuse
            .count(endpoint, RequestOutcome::Refused(code));
    }

    /// Notes how long a request took beyond what the API took for it.
    pub fn added(&self, took: Duration) {
        self.added.add(took);
    }

    /// Counts a call of the API as it goes out.
    pub fn upstream_call(&self, purpose: Purpose) {
        self.calls.of(purpose).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts what went wrong with the API, and has it said at most once a minute, with how often it did since.
    pub fn complain(&self, complaint: Complaint, say: impl FnOnce(u64)) {
        self.complaints.add(complaint, say);
    }

    pub(super) fn complaints(&self) -> [(&'static str, u64); 5] {
        self.complaints.counts()
    }

    /// Notes how long the API took to begin its answer.
    pub fn upstream_took(&self, took: Duration) {
        self.upstream.add(took);
    }

    /// Under how many milliseconds half of what tidegate adds is, and nearly all of it.
    pub(crate) fn added_quantiles(&self) -> Quantiles {
        Quantiles::of(&self.added)
    }

    /// The same of what the API takes.
    pub(crate) fn upstream_quantiles(&self) -> Quantiles {
        Quantiles::of(&self.upstream)
    }

    /// Counts a look into a cache.
    pub fn looked_up(&self, cache: Cache, found: CacheResult) {
        self.cache(cache).of(found).fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a reload.
    pub fn reloaded(&self, reload: Reload) {
        self.reloads.of(reload).fetch_add(1, Ordering::Relaxed);
    }

    /// Requests by endpoint and outcome, in order.
    pub(super) fn requests(&self) -> Vec<(String, RequestOutcome, u64)> {
        self.requests.all()
    }

    pub(super) fn would_be_refused(&self) -> Vec<(String, RequestOutcome, u64)> {
        self.would_refuse.all()
    }

    pub(super) fn calls(&self) -> [(&'static str, u64); 4] {
        [
            ("forward", Purpose::Forward),
            ("facts", Purpose::Facts),
            ("list", Purpose::List),
            ("check", Purpose::Check),
        ]
        .map(|(name, purpose)| (name, self.calls.of(purpose).load(Ordering::Relaxed)))
    }

    pub(super) fn caches(&self) -> Vec<([&'static str; 2], u64)> {
        let caches = [("facts", Cache::Facts), ("lists", Cache::Lists)];
        let results = [
            ("hit", CacheResult::Hit),
            ("miss", CacheResult::Miss),
            ("shared", CacheResult::Shared),
        ];
        caches
            .into_iter()
            .flat_map(|(name, cache)| {
                results.map(|(result, found)| {
                    let count = self.cache(cache).of(found).load(Ordering::Relaxed);
                    ([name, result], count)
                })
            })
            .collect()
    }

    /// Counts what could not be read as a request.
    pub fn unreadable(&self, unreadable: UnreadableRequest) {
        let counters = UnreadableRequest::ALL.iter().zip(&self.unreadable);
        counters
            .filter(|(known, _)| **known == unreadable)
            .for_each(|(_, count)| {
                count.fetch_add(1, Ordering::Relaxed);
            });
    }

    /// Counts a handshake that came to nothing.
    pub fn handshake_failed(&self, why: Handshake) {
        let counters = Handshake::ALL.iter().zip(&self.handshakes);
        let of_it = counters.filter(|(known, _)| **known == why);
        of_it.for_each(|(_, count)| {
            count.fetch_add(1, Ordering::Relaxed);
        });
    }

    pub(super) fn failed_handshakes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counters = Handshake::ALL.iter().zip(&self.handshakes);
        counters.map(|(why, count)| (why.cause(), count.load(Ordering::Relaxed)))
    }

    pub(super) fn all_unreadable(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counters = UnreadableRequest::ALL.iter().zip(&self.unreadable);
        counters.map(|(why, count)| (why.status(), count.load(Ordering::Relaxed)))
    }

    pub(super) fn reloads(&self) -> [(&'static str, u64); 2] {
        [("success", Reload::Done), ("failure", Reload::Failed)]
            .map(|(name, reload)| (name, self.reloads.of(reload).load(Ordering::Relaxed)))
    }

    fn cache(&self, cache: Cache) -> &Results {
        match cache {
            Cache::Facts => &self.facts,
            Cache::Lists => &self.lists,
        }
    }
}

impl Calls {
    fn of(&self, purpose: Purpose) -> &AtomicU64 {
        match purpose {
            Purpose::Forward => &self.forward,
            Purpose::Facts => &self.facts,
            Purpose::List => &self.list,
            Purpose::Check => &self.check,
        }
    }
}

impl Results {
    fn of(&self, found: CacheResult) -> &AtomicU64 {
        match found {
            CacheResult::Hit => &self.hit,
            CacheResult::Miss => &self.miss,
            CacheResult::Shared => &self.shared,
        }
    }
}

impl Reloads {
    fn of(&self, reload: Reload) -> &AtomicU64 {
        match reload {
            Reload::Done => &self.done,
            Reload::Failed => &self.failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn requests_that_are_the_first_of_their_kind_at_once_are_all_counted() {
        let metrics = Metrics::default();
        let outcome = |odd| {
            if odd {
                RequestOutcome::Allowed
            } else {
                RequestOutcome::Refused(Code::Scope)
            }
        };
        thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| {
                    for round in 0..1000 {
                        let endpoint = (round % 3 > 0).then_some("droplets_get");
                        metrics.request(endpoint, outcome(round % 2 > 0));
                    }
                });
            }
        });
        let requests = metrics.requests();
        let sum: u64 = requests.iter().map(|(_, _, count)| count).sum();
        assert_eq!((requests.len(), sum), (4, 8000), "{requests:?}");
    }
}
