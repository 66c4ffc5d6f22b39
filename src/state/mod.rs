//! What is kept of sub-tokens: who was issued one, which were revoked, and how each was used.
//!
//! [`Store`] is what any store must do, and everything that one daemon would have to tell another goes through it. Issued
//! tokens are kept in a file that the daemon and the command line share; the daemon keeps what it needs of it in memory
//! ([`Live`]) and reads on from the last change.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

mod child;
mod database;
mod fate;
mod kept;
mod live;
mod maker;
mod postgres;
mod record;
mod row;
mod sqlite;
mod store;

pub use child::{Child, Delegator, Wish};
pub use database::{Database, UrlSource};
pub use fate::{Ended, Fate, Seen};
pub use kept::Kept;
pub use live::{
    Activity, BehindClock, Counted, Entry, INTERVAL, InForce, KeptIn, Live, OlderState,
    Unavailable, older_than,
};
pub use maker::{Exchanged, Maker, Parent, Taken};
pub use postgres::Postgres;
pub use record::{About, Changed, Changes, Count, Issued, Listed, StateError};
pub use sqlite::Sqlite;
pub use store::Store;

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// In a file.
    File(PathBuf),
    /// In PostgreSQL.
    Postgres(Database),
}

impl Default for Place {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(_) => f.write_str("PostgreSQL"),
        }
    }
}

impl Place {
    /// Whether there is something to look into: a file is made by the first token.
    pub fn exists(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Postgres(_) => true,
        }
    }
}

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
