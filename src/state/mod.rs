//! What is kept of sub-tokens: who was issued one, which were revoked, and how each was used.
//!
//! [`Store`] is what any store must do, and everything that one daemon would have to tell another goes through it. Issued
//! tokens are kept in a file that the daemon and the command line share; the daemon keeps what it needs of it in memory
//! ([`Live`]) and reads on from the last change.

use std::time::Duration;

mod child;
mod child_request;
mod copy;
mod database;
mod kept_token;
mod live;
mod maker;
mod memory;
mod postgres;
mod record;
mod row;
mod sqlite;
mod store;
mod token_fate;

pub use crate::config::{Database, StatePlace, UrlSource};
pub use child::{Child, Delegator};
pub use child_request::ChildWish;
pub use copy::{Copied, TakenFor, UsedToken, copy};
pub use kept_token::KeptToken;
pub use live::{
    Activity, BehindClock, Counted, INTERVAL, InForce, KeptIn, Live, OlderState, TokenEntry,
    Unavailable, older_than,
};
pub use maker::{Exchanged, Maker, Parent, TakenIdentity};
pub use memory::{Happened, Memory};
pub use postgres::Postgres;
pub use record::{About, Changed, Changes, Count, Issued, ListedToken, StateError};
pub use sqlite::Sqlite;
pub use store::{Store, Wake};
pub use token_fate::{Ended, SeenToken, TokenFate};

/// Opens the store; a file is made if there is none. `patience` is how long it may be busy.
///
/// # Errors
/// `StateError`.
pub fn open(place: &StatePlace, patience: Duration) -> Result<Box<dyn Store>, StateError> {
    Ok(match place {
        StatePlace::File(path) => Box::new(Sqlite::open(path, patience)?),
        StatePlace::Postgres(database) => Box::new(Postgres::open(database, patience)?),
    })
}

/// Sees to what a daemon asks of a store before it opens it: that a file is its owner's and its group's alone, and that tables are
/// there that it is to make.
fn made_ready(place: &StatePlace) -> Result<(), StateError> {
    match place {
        StatePlace::Postgres(database) if database.migrate => Postgres::migrate(database).map(drop),
        StatePlace::File(_) | StatePlace::Postgres(_) => kept_close(place),
    }
}

/// Checks that nobody else may read or write what is kept in a file.
///
/// # Errors
/// `Loose`, with the command that mends it. A file that is not there is not loose.
pub fn kept_close(place: &StatePlace) -> Result<(), StateError> {
    match place {
        StatePlace::File(path) => Sqlite::kept_close(path),
        StatePlace::Postgres(_) => Ok(()),
    }
}
