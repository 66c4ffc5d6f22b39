use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::maker::Maker;
use super::memory::Memory;
use crate::policy::{Ceiling, Vars};
use crate::secret::SecretHash;
use crate::secret::file::Loose;
use crate::token::Limits;
use crate::token::{TokenId, Usage};
use crate::units::Rate;

/// An issued token, as it is kept: everything but the token itself.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Its public part.
    pub id: TokenId,
    /// Its name, unique among the living.
    pub name: String,
    /// The hash of the whole token.
    pub hash: SecretHash,
    /// The hash before the last rotation, and until when it holds.
    pub old: Option<(SecretHash, Timestamp)>,
    /// Its roles; tokens that are read together share them where they are the same, and so their limits.
    pub roles: Arc<[String]>,
    /// Its variables.
    pub vars: Vars,
    /// Where, when and how often it may be used.
    pub limits: Arc<Limits>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// The role under which it reports what its roles would refuse, until a time.
    pub ceiling: Option<Arc<Ceiling>>,
    /// What is said of it.
    pub about: Option<Box<About>>,
    /// Who made it, if nobody issued it by hand.
    pub maker: Option<Arc<Maker>>,
}

#[cfg(test)]
impl Issued {
    /// A new one by that name that is good without an end.
    pub(super) fn named(name: &str) -> Self {
        let fresh = crate::token::SubToken::generate().unwrap();
        Self {
            id: fresh.id.clone(),
            name: name.to_owned(),
            hash: fresh.hash(),
            old: None,
            roles: ["r".to_owned()].into(),
            vars: Vars::new(),
            limits: Arc::default(),
            created_at: Timestamp::UNIX_EPOCH,
            ceiling: None,
            about: None,
            maker: None,
        }
    }
}

/// What is said of a token, for those who list tokens.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Who has it.
    pub owner: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// An issued token, how it was used, and when it was revoked.
pub type ListedToken = (Issued, Usage, Option<Timestamp>);

/// What changed since a number of the sequence.
#[derive(Debug, Default)]
pub struct Changes {
    /// Tokens issued or rotated.
    pub issued: Vec<Issued>,
    /// Tokens revoked, and when.
    pub revoked: Vec<(TokenId, Timestamp)>,
    /// What daemons remember for others, each with the name of who does, in the order in which it happened.
    pub remembered: Vec<(String, Memory)>,
    /// The number to go on from.
    pub sequence: i64,
}

/// One of those changes.
#[derive(Debug)]
pub enum Changed {
    /// A token was issued or rotated.
    Issued(Issued),
    /// A token was revoked, then.
    Revoked(TokenId, Timestamp),
    /// A daemon of this name remembers that for others.
    Remembered(String, Memory),
}

/// Why the state could not be used.
#[derive(Debug)]
pub enum StateError {
    /// The file or its directory could not be made or opened.
    File(PathBuf, std::io::Error),
    /// SQLite's own.
    Database(PathBuf, rusqlite::Error),
    /// The file was written by a later tidegate.
    Version(PathBuf, i64),
    /// Another file is at the path than the one that was opened.
    Replaced(PathBuf),
    /// A row does not read as what it is.
    Row(String),
    /// The name is in use.
    NameTaken(String),
    /// PostgreSQL's own.
    Postgres(tokio_postgres::Error),
    /// The version of its tables can't be read.
    Unread(String),
    /// It did not answer in time.
    Slow(Duration),
    /// Its tables are not there, or older than this tidegate.
    NoTables,
    /// Its tables were made by a later tidegate.
    Newer(i64),
    /// Its sequence was further once: it is an older copy.
    WentBack(i64, i64),
    /// Its address is none, or can't be had.
    Address(String),
    /// What waits for it can't be started.
    Runtime(std::io::Error),
    /// Others may read or write the file.
    Loose(Loose),
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(
                f,
                "the state file `{}` can't be opened: {error}; check `state` in the configuration and who owns the directory",
                path.display()
            ),
            Self::Database(path, error) => write!(
                f,
                "the state file `{}` can't be used: {error}",
                path.display()
            ),
            Self::Version(path, version) => write!(
                f,
                "the state file `{}` has version {version}, which a later tidegate wrote; use that one",
                path.display()
            ),
            Self::Replaced(path) => write!(
                f,
                "the state file `{}` was replaced or removed while it was in use; start tidegate anew",
                path.display()
            ),
            Self::Postgres(error) => {
                write!(f, "the state in PostgreSQL can't be used: {error}")?;
                let mut cause = std::error::Error::source(error);
                while let Some(error) = cause {
                    write!(f, ": {error}")?;
                    cause = error.source();
                }
                Ok(())
            }
            Self::Unread(error) => write!(
                f,
                "the version of the state's tables in PostgreSQL can't be read: {error}"
            ),
            Self::Slow(patience) => write!(
                f,
                "the state in PostgreSQL did not answer within {} s",
                patience.as_secs_f64()
            ),
            Self::NoTables => f.write_str(
                "the tables of the state are not in PostgreSQL yet, or are older than this tidegate; run `tidegate state migrate`",
            ),
            Self::Newer(version) => write!(
                f,
                "the tables of the state in PostgreSQL have version {version}, which a later tidegate made; use that one"
            ),
            Self::WentBack(from, to) => write!(
                f,
                "the state in PostgreSQL went back from change {from} to {to}, as an older copy does, and what was revoked between lives again in it; look through it, and start tidegate anew"
            ),
            Self::Address(why) => write!(f, "the state in PostgreSQL can't be reached: {why}"),
            Self::Runtime(error) => write!(
                f,
                "what waits for PostgreSQL can't be started: {error}"
            ),
            Self::Row(what) => write!(f, "the state file has a row that does not read: {what}"),
            Self::Loose(loose) => write!(f, "the state file {loose}"),
            Self::NameTaken(name) => write!(
                f,
                "a living token has the name `{name}` already; choose another, or revoke that one first"
            ),
        }
    }
}

impl std::error::Error for StateError {}

/// One change of a counter.
#[derive(Clone, Debug)]
pub enum Count {
    /// Takes one use, if fewer than `most` are taken.
    Take {
        /// Of this token.
        id: TokenId,
        /// How many there are in all.
        most: u64,
    },
    /// Gives one back.
    GiveBack {
        /// To this token.
        id: TokenId,
    },
    /// Takes one request out of the bucket of its rate; only shared stores have buckets.
    TakeRate {
        /// Of this token.
        id: TokenId,
        /// The rate.
        rate: Rate,
        /// How many more are owed, to be taken as far as they are there.
        owed: u32,
    },
    /// Notes that it was used.
    Touch {
        /// This token.
        id: TokenId,
        /// Then.
        at: Timestamp,
    },
}

impl Count {
    /// The token whose counter it is.
    pub fn id(&self) -> &TokenId {
        match self {
            Self::Take { id, .. }
            | Self::GiveBack { id }
            | Self::TakeRate { id, .. }
            | Self::Touch { id, .. } => id,
        }
    }
}
