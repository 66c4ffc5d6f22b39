use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info};

use super::supervisor::tell;
use crate::audit::Audit;
use crate::state::Live;

/// Signs of life of all listeners' loops. systemd's watchdog is fed by these and by the threads without which nothing is let
/// through, never by a timer alone: a daemon whose tasks all wait for something would still have timers.
pub(super) struct Heart {
    started: Instant,
    beats: Vec<(String, Arc<AtomicU64>)>,
}

/// One loop's sign of life. Dropped without [`Beat::rest`], as where its loop panicked, it is missed.
#[derive(Clone)]
pub(super) struct Beat {
    started: Instant,
    last: Arc<AtomicU64>,
}

/// How often a loop gives one.
pub(super) const BEAT: Duration = Duration::from_secs(1);
/// How old it may be.
const LATE: Duration = Duration::from_secs(5);
/// The loop ended as it should: a time that is never past.
const AT_REST: u64 = u64::MAX;

impl Heart {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            beats: Vec::new(),
        }
    }

    /// A beat for a loop that begins now.
    pub fn beat(&mut self, of: &impl ToString) -> Beat {
        let beat = Beat {
            started: self.started,
            last: Arc::default(),
        };
        beat.strike();
        self.beats.push((of.to_string(), beat.last.clone()));
        beat
    }

    /// The loop that has given no sign of life for too long.
    fn silent(&self, now: Instant) -> Option<&str> {
        let now = since(self.started, now);
        let late = u64::try_from(LATE.as_millis()).unwrap_or(AT_REST);
        self.beats.iter().find_map(|(of, last)| {
            let past = now.saturating_sub(last.load(Ordering::Acquire));
            (past > late).then_some(of.as_str())
        })
    }

    /// Feeds the watchdog, where systemd keeps one, as long as all is alive. Never ends.
    pub async fn feed(self, tokens: Arc<Live>, audit: Arc<Audit>) {
        let Some(patience) = sd_notify::watchdog_enabled() else {
            return;
        };
        let mut feeds = interval((patience / 3).max(LEAST));
        feeds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut well = true;
        loop {
            feeds.tick().await;
            let wrong = self.wrong(&tokens, &audit).await;
            match &wrong {
                None => tell(&[NotifyState::Watchdog]),
                Some(what) if well => {
                    error!(%what, "something does not answer; systemd will start tidegate anew if that lasts");
                }
                Some(_) => {}
            }
            if wrong.is_none() && !well {
                info!("all answers again");
            }
            well = wrong.is_none();
        }
    }

    async fn wrong(&self, tokens: &Live, audit: &Audit) -> Option<String> {
        if let Some(listener) = self.silent(Instant::now()) {
            return Some(format!("the listener at {listener}"));
        }
        if !tokens.is_kept().await {
            return Some("the thread that keeps the state".to_owned());
        }
        // One that can't write is told by readiness and refusals, and a new start would not help it; one that is gone is.
        (!audit.has_writer()).then(|| "the thread that writes the audit record".to_owned())
    }
}

impl Beat {
    /// The loop runs.
    pub fn strike(&self) {
        let now = since(self.started, Instant::now());
        self.last.store(now, Ordering::Release);
    }

    /// The loop has ended as it should.
    pub fn rest(&self) {
        self.last.store(AT_REST, Ordering::Release);
    }
}

fn since(started: Instant, now: Instant) -> u64 {
    let past = now.saturating_duration_since(started).as_millis();
    u64::try_from(past).unwrap_or(AT_REST - 1)
}

/// However short the watchdog's time is, in a test mostly.
const LEAST: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_is_missed_once_it_is_late_unless_it_has_ended_well() {
        let mut heart = Heart::new();
        let (one, two) = (heart.beat(&"one"), heart.beat(&"two"));
        let soon = Instant::now() + LATE / 2;
        let late = Instant::now() + LATE + BEAT;
        assert_eq!(heart.silent(soon), None);
        assert_eq!(heart.silent(late), Some("one"));
        one.rest();
        assert_eq!(heart.silent(late), Some("two"));
        drop(two); // as in a panic
        assert_eq!(heart.silent(late), Some("two"));
    }
}
