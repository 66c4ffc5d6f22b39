//! What is kept of sub-tokens: who was issued one, which were revoked, and how each was used.
//!
//! [`Store`] is what any store must do, and everything that one daemon would have to tell another goes through it. Issued
//! tokens are kept in a file that the daemon and the command line share; the daemon keeps what it needs of it in memory
//! ([`Live`]) and reads on from the last change.

use std::time::Duration;

mod child;
mod copy;
mod database;
mod fate;
mod kept;
mod live;
mod maker;
mod memory;
mod postgres;
mod record;
mod row;
mod sqlite;
mod store;
mod wish;

pub use crate::config::{Database, StatePlace as Place, UrlSource};
pub use child::{Child, Delegator};
pub use copy::{Copied, TakenFor, Used, copy};
pub use fate::{Ended, Fate, Seen};
pub use kept::Kept;
pub use live::{
    Activity, BehindClock, Counted, Entry, INTERVAL, InForce, KeptIn, Live, OlderState,
    Unavailable, older_than,
};
pub use maker::{Exchanged, Maker, Parent, Taken};
pub use memory::{Happened, Memory};
pub use postgres::Postgres;
pub use record::{About, Changed, Changes, Count, Issued, Listed, StateError};
pub use sqlite::Sqlite;
pub use store::{Store, Wake};
pub use wish::Wish;

/// Opens the store; a file is made if there is none. `patience` is how long it may be busy.
///
/// # Errors
/// `StateError`.
pub fn open(place: &Place, patience: Duration) -> Result<Box<dyn Store>, StateError> {
    Ok(match place {
        Place::File(path) => Box::new(Sqlite::open(path, patience)?),
        Place::Postgres(database) => Box::new(Postgres::open(database, patience)?),
    })
}

/// Sees to what a daemon asks of a store before it opens it: that a file is its owner's and its group's alone, and that tables are
/// there that it is to make.
fn made_ready(place: &Place) -> Result<(), StateError> {
    match place {
        Place::Postgres(database) if database.migrate => Postgres::migrate(database).map(drop),
        Place::File(_) | Place::Postgres(_) => kept_close(place),
    }
}

/// Checks that nobody else may read or write what is kept in a file.
///
/// # Errors
/// `Loose`, with the command that mends it. A file that is not there is not loose.
pub fn kept_close(place: &Place) -> Result<(), StateError> {
    match place {
        Place::File(path) => Sqlite::kept_close(path),
        Place::Postgres(_) => Ok(()),
    }
}
