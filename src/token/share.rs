use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::format::TokenId;

/// What the API takes of an account's requests, and what is left.
///
/// DigitalOcean takes 5,000 in an hour and a twentieth of that in a minute, and tells what is left of the former.
/// Source: its API reference, "Rate Limit".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Budget {
    /// How many it takes in an hour.
    pub limit: u64,
    /// How many of these are left, as it said last.
    pub left: u64,
    /// What is kept for those who had less than their share.
    pub reserve: u64,
}

/// A minute's part of an hour's requests.
const MINUTES_PART: u64 = 20;

/// One window: what there is in it, what is left, and what is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct WindowShare {
    limit: u64,
    left: u64,
    reserve: u64,
}

/// Whether a sub-token that used so much must leave the rest to the others: the rest is no more than the reserve, and it had
/// its fair share, which is an equal part for each that used any.
fn is_greedy(part: WindowShare, used: u64, sharers: u64) -> bool {
    let fair = part.limit / sharers.max(1);
    part.left <= part.reserve && used >= fair.max(1)
}

/// What each sub-token used of one account in the last hour.
///
/// It takes a lock, for as long as it takes to add a number; accounts without a reserve do not come here.
///
/// Of several daemons each knows what went through itself. What is left of the hour the API tells to each, of them all, so that none
/// takes more than there is; but a sub-token that comes by all of them has its share at each before the rest is kept from it.
pub struct Shares {
    began: Instant,
    ledger: Mutex<Ledger>,
}

/// A request that may use some of it: it counts as one call until it is settled.
pub struct Spending {
    shares: Arc<Shares>,
    id: TokenId,
}

#[derive(Default)]
struct Ledger {
    tokens: HashMap<TokenId, UseWindows>,
    /// What all used, for the minute: of that the API tells nothing.
    all: Window<MINUTE>,
    swept: u64,
}

#[derive(Clone, Default)]
struct UseWindows {
    hour: Window<HOUR>,
    minute: Window<MINUTE>,
}

/// An hour in minutes, and a minute in slots of five seconds.
const HOUR: usize = 60;
const MINUTE: usize = 12;
const SLOT: u64 = 5;
/// The sub-tokens whose use is known. Who used least is forgotten first, and has the least to lose by it.
const MOST: usize = 4096;

impl Default for Shares {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            ledger: Mutex::default(),
        }
    }
}

impl Shares {
    /// Lets a sub-token's request go on that may call the API, and counts it as one call.
    ///
    /// # Errors
    /// How long to wait, if it had its share and the rest is for the others.
    pub fn spend(
        self: &Arc<Self>,
        id: &TokenId,
        budget: Option<Budget>,
    ) -> Result<Spending, Duration> {
        let now = self.began.elapsed().as_secs();
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.spend(id, budget, now).map_err(Duration::from_secs)?;
        drop(ledger);
        Ok(Spending {
            shares: self.clone(),
            id: id.clone(),
        })
    }
}

impl Spending {
    /// Counts the calls that it came to, in place of the one.
    pub fn settle(self, calls: u32) {
        let now = self.shares.began.elapsed().as_secs();
        let ledger = self.shares.ledger.lock();
        ledger
            .unwrap_or_else(PoisonError::into_inner)
            .settle(&self.id, calls, now);
    }
}

impl Ledger {
    fn spend(&mut self, id: &TokenId, budget: Option<Budget>, now: u64) -> Result<(), u64> {
        self.turn(now);
        if let Some(budget) = budget {
            self.judge(id, budget, now)?;
        }
        self.add(id, 1, now);
        Ok(())
    }

    fn settle(&mut self, id: &TokenId, calls: u32, now: u64) {
        self.turn(now);
        if let Some(more) = calls.checked_sub(1) {
            return self.add(id, more, now);
        }
        self.all.take_back();
        if let Some(used) = self.tokens.get_mut(id) {
            used.hour.take_back();
            used.minute.take_back();
        }
    }

    /// Forgets what is too long ago.
    fn turn(&mut self, now: u64) {
        self.all.turn(now / SLOT);
        if self.swept == now / SLOT {
            return;
        }
        self.swept = now / SLOT;
        self.tokens.retain(|_, used| {
            used.turn(now);
            used.hour.sum() > 0
        });
    }

    /// How long a sub-token must wait, if it must.
    fn judge(&mut self, id: &TokenId, budget: Budget, now: u64) -> Result<(), u64> {
        let Budget {
            limit,
            left,
            reserve,
        } = budget;
        let mut own = self.tokens.get(id).cloned().unwrap_or_default();
        own.turn(now);
        let others = |uses: fn(&UseWindows) -> u64| {
            let using = |(other, used): &(&TokenId, &UseWindows)| *other != id && uses(used) > 0;
            let count = self.tokens.iter().filter(using).count();
            u64::try_from(count).unwrap_or(u64::MAX)
        };
        let hour = WindowShare {
            limit,
            left,
            reserve,
        };
        // Whoever could be greedy is looked at; to count the others takes a look at each.
        if hour.left <= hour.reserve {
            let sharers = others(|used| used.hour.sum()) + 1;
            if is_greedy(hour, own.hour.sum(), sharers) {
                let slots = own.hour.until_below(hour.limit / sharers);
                return Err(slots * 60 - now % 60);
            }
        }
        let in_minute = limit / MINUTES_PART;
        let minute = WindowShare {
            limit: in_minute,
            left: in_minute.saturating_sub(self.all.sum()),
            reserve: reserve / MINUTES_PART,
        };
        if minute.left <= minute.reserve {
            let sharers = others(|used| used.minute.sum()) + 1;
            if is_greedy(minute, own.minute.sum(), sharers) {
                let slots = own.minute.until_below(minute.limit / sharers);
                return Err(slots * SLOT - now % SLOT);
            }
        }
        Ok(())
    }

    fn add(&mut self, id: &TokenId, calls: u32, now: u64) {
        self.all.add(calls);
        if self.tokens.len() >= MOST && !self.tokens.contains_key(id) {
            let least = self.tokens.iter().min_by_key(|(_, used)| used.hour.sum());
            if let Some(least) = least.map(|(id, _)| id.clone()) {
                self.tokens.remove(&least);
            }
        }
        let used = self.tokens.entry(id.clone()).or_default();
        used.turn(now);
        used.hour.add(calls);
        used.minute.add(calls);
    }
}

impl UseWindows {
    fn turn(&mut self, now: u64) {
        self.hour.turn(now / 60);
        self.minute.turn(now / SLOT);
    }
}

/// What was used in the last so many slots of time.
#[derive(Clone)]
struct Window<const SLOTS: usize> {
    slots: [u32; SLOTS],
    sum: u64,
    /// The number of the slot of now.
    now: u64,
}

impl<const SLOTS: usize> Default for Window<SLOTS> {
    fn default() -> Self {
        Self {
            slots: [0; SLOTS],
            sum: 0,
            now: 0,
        }
    }
}

impl<const SLOTS: usize> Window<SLOTS> {
    /// Goes on to this slot; what falls out of the window is forgotten.
    fn turn(&mut self, to: u64) {
        let gone = to.saturating_sub(self.now);
        let gone = usize::try_from(gone).unwrap_or(SLOTS).min(SLOTS);
        self.slots.rotate_right(gone);
        for slot in self.slots.iter_mut().take(gone) {
            self.sum -= u64::from(std::mem::take(slot));
        }
        self.now = self.now.max(to);
    }

    fn add(&mut self, count: u32) {
        if let Some(slot) = self.slots.first_mut() {
            let more = slot.saturating_add(count);
            self.sum += u64::from(more - *slot);
            *slot = more;
        }
    }

    /// Takes one back, of now or of the latest before.
    fn take_back(&mut self) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| **slot > 0) {
            *slot -= 1;
            self.sum -= 1;
        }
    }

    fn sum(&self) -> u64 {
        self.sum
    }

    /// How many slots on, with nothing more used, it sums up to less than this; 1 at least.
    fn until_below(&self, limit: u64) -> u64 {
        let mut left = self.sum();
        for (slots, oldest) in (1..).zip(self.slots.iter().rev()) {
            left -= u64::from(*oldest);
            if left < limit.max(1) {
                return slots;
            }
        }
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> TokenId {
        format!("{number:012}").parse().unwrap()
    }

    #[test]
    fn who_had_its_share_leaves_the_reserve_to_the_others() {
        // limit, left, reserve; used by this one; how many share; whether it must wait.
        let cases = [
            ((5000, 4000, 500), 900, 5, false), // there is enough
            ((5000, 501, 500), 4000, 5, false),
            ((5000, 500, 500), 4000, 5, true),
            ((5000, 500, 500), 999, 5, false), // less than a fifth
            ((5000, 500, 500), 1000, 5, true),
            ((5000, 0, 500), 0, 5, false), // nothing is left, and that is not its doing
            ((5000, 100, 500), 4900, 1, false), // nobody else is there
            ((5000, 100, 500), 5000, 1, true),
            ((5000, 0, 0), 4000, 2, true), // no reserve: at the very end
            ((5000, 1, 0), 4000, 2, false),
            ((3, 0, 1), 0, 10, false), // a share is one at least
            ((3, 0, 1), 1, 10, true),
        ];
        for ((limit, left, reserve), used, sharers, greedy) in cases {
            let part = WindowShare {
                limit,
                left,
                reserve,
            };
            assert_eq!(
                is_greedy(part, used, sharers),
                greedy,
                "{part:?}, {used} used, {sharers} share"
            );
        }
    }

    #[test]
    fn what_was_used_an_hour_ago_is_forgotten_and_the_wait_is_until_then() {
        let mut ledger = Ledger::default();
        let budget = |left| {
            Some(Budget {
                limit: 100_000,
                left,
                reserve: 500,
            })
        };
        let (greedy, other) = (id(1), id(2));
        // 40,000 in the first minute, 10,000 half an hour later: half of it all.
        for (calls, now) in [(40_000, 30), (10_000, 1830)] {
            ledger.spend(&greedy, budget(90_000), now).unwrap();
            ledger.settle(&greedy, calls, now);
        }
        ledger.spend(&other, budget(90_000), 1830).unwrap();
        assert_eq!(ledger.spend(&greedy, budget(501), 1900), Ok(()));
        ledger.settle(&greedy, 0, 1900);
        assert_eq!(ledger.spend(&other, budget(500), 1900), Ok(()));
        let refused = ledger.spend(&greedy, budget(500), 1900);
        assert_eq!(
            refused,
            Err(3600 - 1900),
            "when the first minute is an hour ago"
        );
        assert_eq!(
            ledger.spend(&greedy, None, 1900),
            Ok(()),
            "nothing is known"
        );
        ledger.settle(&greedy, 0, 1900);
        assert_eq!(ledger.spend(&greedy, budget(500), 3599), Err(1));
        assert_eq!(ledger.spend(&greedy, budget(500), 3600), Ok(()));
    }

    #[test]
    fn a_minute_has_its_own_share() {
        let mut ledger = Ledger::default();
        let budget = Some(Budget {
            limit: 5000,
            left: 4500,
            reserve: 500,
        });
        let (greedy, other) = (id(1), id(2));
        ledger.spend(&other, budget, 3).unwrap();
        let mut let_through = 0;
        while ledger.spend(&greedy, budget, 3).is_ok() {
            let_through += 1;
        }
        // Of 250 a minute 25 are kept; the one of the other is used too.
        assert_eq!(let_through, 250 - 25 - 1);
        assert_eq!(ledger.spend(&greedy, budget, 3), Err(57));
        assert_eq!(ledger.spend(&other, budget, 3), Ok(()));
        assert_eq!(ledger.spend(&greedy, budget, 60), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_who_used_least_is_forgotten() {
        let mut ledger = Ledger::default();
        ledger.spend(&id(0), None, 0).unwrap();
        ledger.settle(&id(0), 50, 0);
        for number in 1..=u32::try_from(MOST).unwrap() + 100 {
            ledger.spend(&id(number), None, 0).unwrap();
        }
        assert_eq!(ledger.tokens.len(), MOST);
        assert!(ledger.tokens.contains_key(&id(0)));
        ledger.turn(3700);
        assert!(ledger.tokens.is_empty(), "an hour later nothing is left");
    }
}
