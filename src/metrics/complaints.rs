use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Why a request to the API came to nothing, or could not come to anything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Complaint {
    /// No connection could be made.
    Unreachable,
    /// Its certificate was not trusted, or TLS failed otherwise.
    Tls,
    /// It took too long.
    Timeout,
    /// What it answered can't be used.
    BadAnswer,
    /// It does not accept the real token.
    RealToken,
}

/// How often there was each, and when it was said last: a line a minute tells as much as a line for each request.
#[derive(Default)]
pub(super) struct Complaints {
    unreachable: ComplaintCount,
    tls: ComplaintCount,
    timeout: ComplaintCount,
    bad_answer: ComplaintCount,
    real_token: ComplaintCount,
}

#[derive(Default)]
struct ComplaintCount {
    count: AtomicU64,
    last: Mutex<Option<(Instant, u64)>>,
}

/// How long nothing is said of what was said.
const QUIET: Duration = Duration::from_secs(60);

impl Complaints {
    /// Counts one, and says so if that was not said within the last minute: with how many there were since.
    pub fn add(&self, complaint: Complaint, say: impl FnOnce(u64)) {
        self.of(complaint).add(Instant::now(), say);
    }

    /// Each with its count.
    pub fn counts(&self) -> [(&'static str, u64); 5] {
        [
            ("unreachable", Complaint::Unreachable),
            ("tls", Complaint::Tls),
            ("timeout", Complaint::Timeout),
            ("bad_answer", Complaint::BadAnswer),
            ("real_token", Complaint::RealToken),
        ]
        .map(|(cause, complaint)| (cause, self.of(complaint).count.load(Ordering::Relaxed)))
    }

    fn of(&self, complaint: Complaint) -> &ComplaintCount {
        match complaint {
            Complaint::Unreachable => &self.unreachable,
            Complaint::Tls => &self.tls,
            Complaint::Timeout => &self.timeout,
            Complaint::BadAnswer => &self.bad_answer,
            Complaint::RealToken => &self.real_token,
        }
    }
}

impl ComplaintCount {
    fn add(&self, now: Instant, say: impl FnOnce(u64)) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match *last {
            Some((at, _)) if now.saturating_duration_since(at) < QUIET => return,
            Some((_, before)) => before,
            None => 0,
        };
        *last = Some((now, count));
        drop(last);
        say(count.saturating_sub(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once_a_minute_with_how_often_it_was() {
        let told = ComplaintCount::default();
        let start = Instant::now();
        let mut said = Vec::new();
        for second in [0, 1, 59, 60, 61, 200] {
            told.add(start + Duration::from_secs(second), |count| {
                said.push((second, count));
            });
        }
        assert_eq!(said, [(0, 1), (60, 3), (200, 2)]);
        assert_eq!(told.count.load(Ordering::Relaxed), 6);
    }
}
