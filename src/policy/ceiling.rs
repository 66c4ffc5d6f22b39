use jiff::{SignedDuration, Timestamp};

use super::Policy;
use crate::yaml::At;

/// A role whose grants a token holds beside those of its roles, until a time: what the roles alone would refuse goes as far as
/// both together allow it, and the record says what the roles would have said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ceiling {
    /// The role.
    pub role: String,
    /// Until when.
    pub until: Timestamp,
}

impl Ceiling {
    /// How far ahead the end may be.
    pub const LONGEST: SignedDuration = SignedDuration::from_hours(7 * 24);

    /// Whether it holds at a time.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.until
    }

    /// Why its end can't be that, if it can't.
    pub fn no_end(until: Timestamp, now: Timestamp) -> Option<String> {
        let ahead = until.duration_since(now);
        (ahead > Self::LONGEST).then(|| {
            let latest = now.saturating_add(Self::LONGEST).unwrap_or(Timestamp::MAX);
            format!("a ceiling lasts 7 days at most, and this one would hold until {until:.0}; choose an end before {latest:.0}")
        })
    }
}

impl Policy {
    /// The tokens whose ceilings would hold for longer than one may, from `now` on, each with where it stands and why it can't.
    pub fn endless_ceilings(&self, now: Timestamp) -> Vec<(At, String)> {
        let listed = self.tokens.iter();
        let ends = listed.filter_map(|token| Some((token.at, token.ceiling.as_ref()?.until)));
        ends.filter_map(|(at, until)| Some((at, Ceiling::no_end(until, now)?)))
            .collect()
    }
}
