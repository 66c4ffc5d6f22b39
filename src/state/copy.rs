//! Bringing what one store holds to another, in which some of it may be already: nothing that ended in either lives again.

use super::maker::TakenIdentity;
use super::record::{Changed, Issued, StateError};
use super::row::time;
use super::store::Store;
use crate::token::{TokenId, Usage};

/// What came of a copy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Copied {
    /// Tokens that were not there.
    pub tokens: u64,
    /// Tokens that were.
    pub there: u64,
    /// Revocations, there or not.
    pub revocations: u64,
    /// Counters of uses, there or not.
    pub counters: u64,
    /// Identities that were taken, there or not.
    pub identities: u64,
    /// Tokens that have another secret here than there, of which nobody can tell which is the later: they are revoked there.
    pub undecided: Vec<TokenId>,
}

/// What becomes of a token that is there already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Merged {
    /// It stays as it is there.
    Stays,
    /// It was rotated here since: it becomes as it is here.
    Becomes,
    /// Its secrets differ, and nobody can tell which one ended: it ends.
    Ends,
}

/// How many rows are brought in one step.
const STEP: usize = 500;

/// Brings all of a store to another. What ends tokens comes first, so that one that stops in the middle leaves nothing alive
/// that is not; begun again, it goes over what is there and brings the rest.
///
/// # Errors
/// `StateError`; what was brought until then stays.
pub fn copy(from: &dyn Store, to: &mut dyn Store) -> Result<Copied, StateError> {
    let mut copied = Copied::default();
    let (mut tokens, mut revoked) = (Vec::new(), Vec::new());
    from.each_since(0, &mut |changed| match changed {
        Changed::Issued(token) => tokens.push(token),
        Changed::Revoked(id, at) => revoked.push((id, at)),
        Changed::Remembered(..) => {} // of a daemon there, for minutes
    })?;
    // Read after the tokens: a use or an identity that was taken meanwhile is of one that is brought, or of none.
    let (mut used, mut taken) = (Vec::new(), Vec::new());
    from.each_usage(&mut |id, usage| used.push((id, usage)))?;
    from.each_taken(&mut |row| taken.push(row))?;
    for marks in [from.latest()?.map(Ok), from.older_than()?.map(Err)] {
        match marks {
            Some(Ok(latest)) => to.used_at(latest)?,
            Some(Err(older)) => to.is_older_than(older)?,
            None => {}
        }
    }
    for step in revoked.chunks(STEP) {
        to.merge_revoked(step)?;
        copied.revocations += count(step);
    }
    for step in used.chunks(STEP) {
        to.merge_used(step)?;
        copied.counters += count(step);
    }
    for step in taken.chunks(STEP) {
        to.merge_taken(step)?;
        copied.identities += count(step);
    }
    for step in tokens.chunks(STEP) {
        let (new, undecided) = to.merge_tokens(step)?;
        copied.tokens += new;
        copied.there += count(step).saturating_sub(new);
        copied.undecided.extend(undecided);
    }
    Ok(copied)
}

fn count<T>(step: &[T]) -> u64 {
    u64::try_from(step.len()).unwrap_or(u64::MAX)
}

/// What becomes of a token that is there, where it comes from elsewhere too. It goes by its secrets: the one that was followed by
/// the other ended first.
pub(super) fn merged(there: &Issued, comes: &Issued) -> Merged {
    let follows = |later: &Issued, earlier: &Issued| {
        let before = later.old.as_ref();
        before.is_some_and(|(old, _)| old.matches(&earlier.hash))
    };
    if there.hash.matches(&comes.hash) {
        // The grace of the secret before ends with the one that ends first, or that has ended.
        let ends = |token: &Issued| token.old.as_ref().map(|(_, until)| *until);
        return if ends(comes) < ends(there) {
            Merged::Becomes
        } else {
            Merged::Stays
        };
    }
    match (follows(comes, there), follows(there, comes)) {
        (true, false) => Merged::Becomes,
        (false, true) => Merged::Stays,
        (true, true) | (false, false) => Merged::Ends,
    }
}

/// An identity that was taken, and the token that it was taken for.
#[derive(Clone, Debug)]
pub struct TakenFor {
    /// What was taken.
    pub taken: TakenIdentity,
    /// What for.
    pub token: TokenId,
}

impl TakenFor {
    /// From the columns of a row. Whether it may be taken again, its rule says when that is asked.
    pub(super) fn read(
        identity: Vec<u8>,
        rule: String,
        by: &str,
        until: i64,
    ) -> Result<Self, StateError> {
        let wrong = |what: &str| StateError::Row(format!("{what} of an identity that was taken"));
        let taken = TakenIdentity {
            identity: identity.try_into().map_err(|_| wrong("the hash"))?,
            rule,
            again: false,
            until: time(until)?,
        };
        let by = by.parse().map_err(|_| wrong("the token"))?;
        Ok(Self { taken, token: by })
    }
}

/// How a token was used, as a copy brings it.
pub type UsedToken = (TokenId, Usage);
