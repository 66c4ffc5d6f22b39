//! What is kept of sub-tokens: who was issued one, which were revoked, and how each was used.
//!
//! Issued tokens are kept in a state file that the daemon and the command line share; the daemon keeps what it needs of it in
//! memory and reads on from the last change.

mod live;
mod maker;
mod sqlite;

pub use live::{Activity, BehindClock, Entry, KeptIn, Live, OlderState, Unavailable, older_than};
pub use maker::{Exchanged, Maker, Taken};
pub use sqlite::{About, Changed, Changes, Count, Issued, Listed, State, StateError};
