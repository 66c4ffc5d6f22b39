use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::maker::Maker;
use crate::policy::{Ceiling, Vars};
use crate::secret::SecretHash;
use crate::secret::file::Loose;
use crate::token::Limits;
use crate::token::{TokenId, Usage};

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

/// What is said of a token, for those who list tokens.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Who has it.
    pub owner: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// An issued token, how it was used, and when it was revoked.
pub type Listed = (Issued, Usage, Option<Timestamp>);

/// What changed since a number of the sequence.
#[derive(Debug, Default)]
pub struct Changes {
    /// Tokens issued or rotated.
    pub issued: Vec<Issued>,
    /// Tokens revoked, and when.
    pub revoked: Vec<(TokenId, Timestamp)>,
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
    /// Notes that it was used.
    Touch {
        /// This token.
        id: TokenId,
        /// Then.
        at: Timestamp,
    },
}
