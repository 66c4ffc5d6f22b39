use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// The time as tokens are judged by it: never before the latest that was seen, in this process or by the state before.
///
/// A clock that is set back would otherwise bring back to life what has expired. Time goes on from the latest meanwhile, by a
/// clock that nobody sets.
pub struct Time {
    started: Instant,
    /// What is added to the microseconds since the start.
    base: AtomicI64,
}

/// A moment, by both.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moment {
    /// As the clock has it: what is not valid yet waits for that.
    pub clock: Timestamp,
    /// As tokens end by it: the clock's, or later.
    pub latest: Timestamp,
}

impl From<Timestamp> for Moment {
    fn from(clock: Timestamp) -> Self {
        Self {
            clock,
            latest: clock,
        }
    }
}

impl Moment {
    /// How far the clock is behind, where that is more than clocks are set right by.
    pub fn behind(&self) -> Option<Duration> {
        let behind = Duration::try_from(self.latest.duration_since(self.clock)).ok();
        behind.filter(|behind| *behind > SET_RIGHT)
    }
}

/// By how much a clock may be set back without anybody being told.
const SET_RIGHT: Duration = Duration::from_secs(60);

impl Time {
    /// From the latest time that is known on.
    pub fn from(latest: Option<Timestamp>) -> Self {
        Self {
            started: Instant::now(),
            base: AtomicI64::new(latest.map_or(i64::MIN, Timestamp::as_microsecond)),
        }
    }

    /// Now.
    pub fn now(&self) -> Moment {
        self.at(Timestamp::now(), self.started.elapsed())
    }

    fn at(&self, clock: Timestamp, since_start: Duration) -> Moment {
        let since_start = i64::try_from(since_start.as_micros()).unwrap_or(i64::MAX);
        let by_clock = clock.as_microsecond().saturating_sub(since_start);
        let base = self
            .base
            .fetch_max(by_clock, Ordering::AcqRel)
            .max(by_clock);
        let latest = Timestamp::from_microsecond(base.saturating_add(since_start));
        Moment {
            clock,
            latest: latest.unwrap_or(Timestamp::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_takes_no_time_with_it() {
        let second = |second| Timestamp::from_second(second).unwrap();
        // Seconds by the clock, seconds since the start, seconds as tokens are judged by.
        let cases = [
            (1000, 0, 1500), // at the start it is behind what the state has seen
            (1010, 10, 1510),
            (1600, 20, 1600), // set right
            (1605, 25, 1605),
            (100, 30, 1610), // set back
            (130, 60, 1640),
            (1700, 70, 1700),
            (1700, 71, 1701),
        ];
        let time = Time::from(Some(second(1500)));
        for (clock, since_start, latest) in cases {
            let moment = time.at(second(clock), Duration::from_secs(since_start));
            assert_eq!(
                moment.latest,
                second(latest),
                "{clock} after {since_start} s"
            );
            let behind = u64::try_from(latest - clock).unwrap();
            let told = (behind > 60).then_some(Duration::from_secs(behind));
            assert_eq!(moment.behind(), told, "{clock} after {since_start} s");
        }
        let first = Time::from(None).at(second(1000), Duration::from_secs(1));
        assert_eq!(first, second(1000).into());
    }
}
