use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::Secret;

/// Where the state is kept.
#[derive(Clone, Debug, PartialEq)]
pub enum StatePlace {
    /// In a file.
    File(PathBuf),
    /// In PostgreSQL.
    Postgres(Database),
}

impl Default for StatePlace {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

impl fmt::Display for StatePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Postgres(_) => f.write_str("PostgreSQL"),
        }
    }
}

impl StatePlace {
    /// Whether there is something to look into: a file is made by the first token.
    pub fn exists(&self) -> bool {
        match self {
            Self::File(path) => path.exists(),
            Self::Postgres(_) => true,
        }
    }
}

/// A database of PostgreSQL, and how to reach it.
#[derive(Clone, Debug, PartialEq)]
pub struct Database {
    /// Where its address is.
    pub url: UrlSource,
    /// The authority to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether `serve` makes the tables and brings them up to date.
    pub migrate: bool,
    /// How long tokens without counters go on by what is known while the database is away.
    pub stale_for: Duration,
}

/// Where the address of a database is, which holds a password.
#[derive(Clone, Debug)]
pub enum UrlSource {
    /// In the configuration itself, or on the command line.
    Written(Arc<Secret>),
    /// In a file that holds it and nothing else.
    File(PathBuf),
    /// In a variable of the environment.
    Env(String),
}

impl PartialEq for UrlSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Written(one), Self::Written(other)) => one.hash().matches(&other.hash()),
            (Self::File(one), Self::File(other)) => one == other,
            (Self::Env(one), Self::Env(other)) => one == other,
            (Self::Written(_) | Self::File(_) | Self::Env(_), _) => false,
        }
    }
}

impl Database {
    /// A database with everything else as it is by default.
    pub fn at(url: UrlSource) -> Self {
        Self {
            url,
            ca_file: None,
            migrate: false,
            stale_for: Self::STALE_FOR,
        }
    }

    /// `stale_for` where nothing is said.
    pub(super) const STALE_FOR: Duration = Duration::from_secs(1);
    /// The longest that it may be.
    pub(super) const MOST_STALE: Duration = Duration::from_secs(300);

    /// What `stale_for` means, for those who run tidegate.
    pub fn stale_says(&self) -> String {
        format!(
            "while PostgreSQL is away, tokens with `max_uses` or `rate` and what makes tokens are refused at once, and the others go on for `stale_for`, {} s: so late may a revocation come, and a fail-over that takes longer is seen by clients (503)",
            self.stale_for.as_secs()
        )
    }
}
