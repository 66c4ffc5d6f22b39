use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::token::ClientAddr;

/// Those who failed to say who they are: each failure takes its address a second, one after another, and nobody is locked out.
#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<ClientAddr, Instant>>);

/// What a failure takes.
const EACH: Duration = Duration::from_secs(1);
/// How long one may have to wait behind others of the same address; beyond that it is told at once to come again.
const MOST: Duration = Duration::from_secs(4);
/// How many addresses are remembered at once.
const ADDRESSES: usize = 10_000;

impl Failures {
    /// Notes a failure: until when its answer waits, or nothing if too many wait already.
    pub fn add(&self, from: ClientAddr, now: Instant) -> Option<Instant> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= ADDRESSES {
            all.retain(|_, until| *until > now);
        }
        let free = all.get(&from).copied().filter(|until| *until > now);
        let until = free.unwrap_or(now) + EACH;
        if until.saturating_duration_since(now) > MOST {
            return None;
        }
        if all.len() < ADDRESSES || all.contains_key(&from) {
            all.insert(from, until);
        }
        Some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_takes_its_address_a_second_and_no_other() {
        let (failures, start) = (Failures::default(), Instant::now());
        let from = |last: u8| ClientAddr::Ip([127, 0, 0, last].into());
        let waits = |from, at: Duration| {
            let until = failures.add(from, start + at);
            until.map(|until| (until - start).as_secs())
        };
        let none = Duration::ZERO;
        assert_eq!(waits(from(1), none), Some(1));
        assert_eq!(waits(from(1), none), Some(2));
        assert_eq!(waits(from(2), none), Some(1));
        assert_eq!(waits(from(1), none), Some(3));
        assert_eq!(waits(from(1), none), Some(4));
        assert_eq!(waits(from(1), none), None); // enough connections wait already
        assert_eq!(waits(from(1), EACH), Some(5));
        assert_eq!(waits(from(1), EACH * 60), Some(61));
    }
}
