use std::collections::HashMap;

use jiff::Timestamp;

use super::copy::{TakenFor, UsedToken};
use super::maker::TakenIdentity;
use super::memory::Memory;
use super::record::{Changed, Changes, Count, Issued, ListedToken, StateError};
use crate::secret::SecretHash;
use crate::token::{TokenId, Usage};

/// Who is told that something changed.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// What any store of sub-tokens must do.
///
/// Whoever has one open sees what others do in it. Every change of tokens takes the next number of one sequence, by which a
/// reader goes on from where it was: a number is seen by nobody before all those below it. Counters of uses are apart, so
/// that they do not. What was answered is durable.
///
/// The calls wait for their store, for a bounded time: they are made where that holds nobody up, never on a request's thread.
pub trait Store: Send {
    /// Whether other daemons may have it open.
    fn is_shared(&self) -> bool {
        false
    }

    /// Tells of changes from now on as they are made, where the store can, and as long as it can: who must know of all looks all the same.
    fn wake(&self, _wake: Wake) {}

    /// Keeps next to nothing of it in memory, for who reads it once.
    ///
    /// # Errors
    /// `StateError`.
    fn cache_little(&self) -> Result<(), StateError> {
        Ok(())
    }

    /// Keeps what a daemon of this name remembers for others. Who has a store alone has nobody to remember for.
    ///
    /// # Errors
    /// `StateError`.
    fn remember(&mut self, _by: &str, _memories: &[Memory]) -> Result<(), StateError> {
        Ok(())
    }

    /// The latest time at which this state was in use; none of a state that no daemon has had yet.
    ///
    /// # Errors
    /// `StateError`.
    fn latest(&self) -> Result<Option<Timestamp>, StateError>;

    /// Notes that it is in use at a time. One before the latest changes nothing.
    ///
    /// # Errors
    /// `StateError`.
    fn used_at(&mut self, at: Timestamp) -> Result<(), StateError>;

    /// Until when the record went on without this state, if it was found to be older than that: a copy from before, in which
    /// tokens may live that were revoked since.
    ///
    /// # Errors
    /// `StateError`.
    fn older_than(&self) -> Result<Option<Timestamp>, StateError>;

    /// Notes that it is older than the record.
    ///
    /// # Errors
    /// `StateError`.
    fn is_older_than(&mut self, record: Timestamp) -> Result<(), StateError>;

    /// Takes the state as it is, at this time: whoever runs tidegate has looked through it.
    ///
    /// # Errors
    /// `StateError`.
    fn accept(&mut self, now: Timestamp) -> Result<(), StateError>;

    /// Keeps a new token.
    ///
    /// # Errors
    /// `NameTaken` if a token that is neither revoked nor expired has its name.
    fn issue(&mut self, token: &Issued, now: Timestamp) -> Result<(), StateError> {
        self.issue_all(std::slice::from_ref(token), now)
    }

    /// Keeps new tokens, all of them or none.
    ///
    /// # Errors
    /// `NameTaken` if a token that is neither revoked nor expired, or one of these, has the name of one of them.
    fn issue_all(&mut self, tokens: &[Issued], now: Timestamp) -> Result<(), StateError>;

    /// Ends a token, issued or of the policy file, from now on. Again is no error, and keeps the first time.
    ///
    /// # Errors
    /// `StateError`.
    fn revoke(&mut self, id: &TokenId, now: Timestamp) -> Result<(), StateError> {
        self.revoke_all(std::slice::from_ref(id), now)
    }

    /// Ends several, all of them or none.
    ///
    /// # Errors
    /// `StateError`.
    fn revoke_all(&mut self, ids: &[TokenId], now: Timestamp) -> Result<(), StateError>;

    /// Gives a token a new secret. The old one holds until `grace`, or ends at once; one before it ends in any case.
    ///
    /// # Errors
    /// `StateError`.
    fn rotate(
        &mut self,
        id: &TokenId,
        hash: &SecretHash,
        grace: Option<Timestamp>,
    ) -> Result<(), StateError>;

    /// Keeps a token that an identity is exchanged for, and that the identity was taken: both or neither. It gets the name that it
    /// has, with a number behind it where a living token has that. `None` if the identity was taken before, and may not be again.
    ///
    /// # Errors
    /// `StateError`.
    fn exchange(
        &mut self,
        token: Issued,
        taken: &TakenIdentity,
        now: Timestamp,
    ) -> Result<Option<Issued>, StateError> {
        let mut kept = self.exchange_all(vec![(token, taken.clone())], now)?;
        Ok(kept.pop().flatten())
    }

    /// The same for several, one after the other and in one durable step; the answers are in the order of what was asked.
    ///
    /// # Errors
    /// `StateError`; then nothing of it happened, or nobody can tell.
    fn exchange_all(
        &mut self,
        asked: Vec<(Issued, TakenIdentity)>,
        now: Timestamp,
    ) -> Result<Vec<Option<Issued>>, StateError>;

    /// The children of a token, by name, with how they were used and when they were revoked.
    ///
    /// # Errors
    /// `StateError`.
    fn children(&self, parent: &TokenId) -> Result<Vec<ListedToken>, StateError>;

    /// Keeps a child, if its parent has fewer than `most` living ones of the same secret, counted and kept in one step; false if it
    /// has not. Children's names need not differ.
    ///
    /// # Errors
    /// `StateError`.
    fn delegate(&mut self, token: &Issued, most: u32, now: Timestamp) -> Result<bool, StateError>;

    /// Forgets what nobody issued by hand and what ended before a time, and the identities that could not be taken again
    /// anyhow.
    ///
    /// # Errors
    /// `StateError`.
    fn sweep(&mut self, ended: Timestamp, now: Timestamp) -> Result<(), StateError>;

    /// The token with that id.
    ///
    /// # Errors
    /// `StateError`.
    fn find(&self, id: &str) -> Result<Option<Issued>, StateError>;

    /// All tokens with how they were used and when they were revoked, by name.
    ///
    /// # Errors
    /// `StateError`.
    fn list(&self) -> Result<Vec<ListedToken>, StateError> {
        let changes = self.changes_since(0)?;
        let revoked: HashMap<_, _> = changes.revoked.into_iter().collect();
        let mut used = HashMap::new();
        self.each_usage(&mut |id, usage| {
            used.insert(id, usage);
        })?;
        let listed = |token: Issued| {
            let usage = used.get(&token.id).copied().unwrap_or_default();
            let revoked_at = revoked.get(&token.id).copied();
            (token, usage, revoked_at)
        };
        let mut tokens: Vec<_> = changes.issued.into_iter().map(listed).collect();
        tokens.sort_by(|(a, ..), (b, ..)| (&a.name, a.created_at).cmp(&(&b.name, b.created_at)));
        Ok(tokens)
    }

    /// The tokens with that id or name, with how they were used and when they were revoked: a name is free again once its
    /// token has ended.
    ///
    /// # Errors
    /// `StateError`.
    fn named(&self, wanted: &str) -> Result<Vec<ListedToken>, StateError>;

    /// The ids of the tokens that somebody has.
    ///
    /// # Errors
    /// `StateError`.
    fn owned_by(&self, owner: &str) -> Result<Vec<TokenId>, StateError> {
        let theirs = |token: &Issued| {
            let about = token.about.as_ref();
            about.is_some_and(|about| about.owner.as_deref() == Some(owner))
        };
        let all = self.list()?.into_iter().map(|(token, ..)| token);
        Ok(all.filter(theirs).map(|token| token.id).collect())
    }

    /// When a token was revoked, if it was.
    ///
    /// # Errors
    /// `StateError`.
    fn revoked_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StateError>;

    /// How a token was used.
    ///
    /// # Errors
    /// `StateError`.
    fn usage(&self, id: &TokenId) -> Result<Usage, StateError>;

    /// What changed after this number of the sequence; everything after 0.
    ///
    /// # Errors
    /// `StateError`.
    fn changes_since(&self, sequence: i64) -> Result<Changes, StateError> {
        let mut changes = Changes::default();
        changes.sequence = self.each_since(sequence, &mut |changed| match changed {
            Changed::Issued(token) => changes.issued.push(token),
            Changed::Revoked(id, at) => changes.revoked.push((id, at)),
            Changed::Remembered(by, memory) => changes.remembered.push((by, memory)),
        })?;
        Ok(changes)
    }

    /// The same, one by one; the number to go on from.
    ///
    /// # Errors
    /// `StateError`.
    fn each_since(&self, sequence: i64, take: &mut dyn FnMut(Changed)) -> Result<i64, StateError>;

    /// Whether it is still the store that was opened, and not another in its place.
    ///
    /// # Errors
    /// `Replaced`: what is written to the new one is not seen through this one.
    fn is_in_place(&self) -> Result<(), StateError>;

    /// All counters, one by one, for the start.
    ///
    /// # Errors
    /// `StateError`.
    fn each_usage(&self, take: &mut dyn FnMut(TokenId, Usage)) -> Result<(), StateError>;

    /// The counters that others changed since a time that the last call gave, one by one, and the time to go on from; some may
    /// come again. Of a store that is not shared none.
    ///
    /// # Errors
    /// `StateError`.
    fn each_use_since(
        &self,
        changed: i64,
        _take: &mut dyn FnMut(TokenId, Usage),
    ) -> Result<i64, StateError> {
        Ok(changed)
    }

    /// All identities that were taken, one by one.
    ///
    /// # Errors
    /// `StateError`.
    fn each_taken(&self, take: &mut dyn FnMut(TakenFor)) -> Result<(), StateError>;

    /// Takes revocations of another store: of two of a token the earlier.
    ///
    /// # Errors
    /// `StateError`.
    fn merge_revoked(&mut self, revoked: &[(TokenId, Timestamp)]) -> Result<(), StateError>;

    /// Takes counters of another store: of two of a token what is more, and later.
    ///
    /// # Errors
    /// `StateError`.
    fn merge_used(&mut self, used: &[UsedToken]) -> Result<(), StateError>;

    /// Takes identities of another store; what was taken here stays.
    ///
    /// # Errors
    /// `StateError`.
    fn merge_taken(&mut self, taken: &[TakenFor]) -> Result<(), StateError>;

    /// Takes tokens of another store: how many were not here, and which have other secrets here than there, of which nobody can
    /// tell the later; those are revoked.
    ///
    /// # Errors
    /// `StateError`.
    fn merge_tokens(&mut self, tokens: &[Issued]) -> Result<(u64, Vec<TokenId>), StateError>;

    /// Takes uses, gives uses back and notes when tokens were used, in one durable step.
    ///
    /// The answers are in the order of the questions: for a `Take`, how many uses are taken with it, or `None` if there are
    /// no more; for a `TakeRate`, how many nanoseconds to wait, 0 if it was taken.
    ///
    /// # Errors
    /// `StateError`; then nothing of it happened, or nobody can tell.
    fn count(&mut self, counts: &[Count]) -> Result<Vec<Option<u64>>, StateError>;
}
