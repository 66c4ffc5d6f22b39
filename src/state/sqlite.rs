use std::collections::HashMap;
use std::fmt;
use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::maker::{Maker, Taken};
use crate::policy::{Ceiling, Limits, Source, Vars};
use crate::secret::SecretHash;
use crate::secret::file::{Loose, kept_to_group};
use crate::token::{TokenId, Usage};
use crate::units::Span;

/// The state file: issued tokens, revocations, and how often each token was used.
///
/// SQLite in WAL mode: the daemon and the command line have it open at once. Every change of tokens takes the next number
/// of one sequence, by which a reader goes on from where it was. Counters of uses are apart, so that they do not.
pub struct State {
    path: PathBuf,
    database: Connection,
    /// Which file was opened; none where it is in memory.
    file: Option<(u64, u64)>,
}

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

const VERSION: i64 = 5;
/// How much of the file is kept in memory where that is little; SQLite writes KiB below zero.
const CACHE: i64 = -128;

const SCHEMA: &str = "
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, name TEXT NOT NULL,
        hash BLOB NOT NULL, old_hash BLOB, old_until INTEGER,
        roles TEXT NOT NULL, vars TEXT NOT NULL, sources TEXT,
        created_at INTEGER NOT NULL, not_before INTEGER, expires_at INTEGER,
        idle INTEGER, max_uses INTEGER, rate TEXT, owner TEXT, description TEXT, client_cert TEXT
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tokens_by_sequence ON tokens (sequence);
    CREATE INDEX tokens_by_name ON tokens (name);
    CREATE TABLE revocations (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, revoked_at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX revocations_by_sequence ON revocations (sequence);
    CREATE TABLE usage (id TEXT PRIMARY KEY, used INTEGER NOT NULL DEFAULT 0, last_used_at INTEGER) STRICT, WITHOUT ROWID;
    CREATE TABLE sequence (last INTEGER NOT NULL) STRICT;
    INSERT INTO sequence VALUES (0);
    CREATE TABLE marks (name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    PRAGMA user_version = 3;
";

/// From version 1, which knew no condition on certificates, to 2.
const FROM_1: &str = "ALTER TABLE tokens ADD COLUMN client_cert TEXT;";

/// From version 2, which knew no time but that of its tokens, to 3.
const FROM_2: &str =
    "CREATE TABLE marks (name TEXT PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;";

/// From version 3, all of whose tokens were issued by hand, to 4.
const FROM_3: &str = "
    ALTER TABLE tokens ADD COLUMN made_by TEXT;
    ALTER TABLE tokens ADD COLUMN parent TEXT;
    CREATE TABLE taken (identity BLOB NOT NULL, rule TEXT NOT NULL, token TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (identity, rule)) STRICT, WITHOUT ROWID;
    CREATE INDEX taken_by_until ON taken (until);
    CREATE INDEX tokens_made ON tokens (expires_at) WHERE made_by IS NOT NULL;
    CREATE INDEX tokens_by_parent ON tokens (parent) WHERE parent IS NOT NULL;
";

/// From version 4, which knew no ceilings, to this one.
const FROM_4: &str = "
    ALTER TABLE tokens ADD COLUMN ceiling TEXT;
    ALTER TABLE tokens ADD COLUMN report_until INTEGER;
    PRAGMA user_version = 5;
";

/// The latest time that was seen.
const LATEST: &str = "latest";
/// Until when the record went on when a state was found that is older than it.
const OLDER_THAN: &str = "older_than";

const TOKEN_COLUMNS: &str = "id, name, hash, old_hash, old_until, roles, vars, sources, created_at, not_before, expires_at, idle, max_uses, rate, owner, description, client_cert, made_by, ceiling, report_until";

impl State {
    /// Opens the file, and makes it if there is none: readable by its owner alone.
    ///
    /// A file that root makes in another's directory is given to the directory's owner: `token issue` by root must not lock
    /// the daemon out.
    ///
    /// # Errors
    /// `StateError`.
    pub fn open(path: &Path, patience: Duration) -> Result<Self, StateError> {
        let file = |error| StateError::File(path.to_owned(), error);
        if let Some(directory) = path
            .parent()
            .filter(|directory| !directory.as_os_str().is_empty())
        {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)
                .map_err(file)?;
        }
        create(path).map_err(file)?;
        let database = Self::connect(path, patience)
            .map_err(|error| StateError::Database(path.to_owned(), error))?;
        let mut state = Self {
            path: path.to_owned(),
            database,
            file: Some(identity(path).map_err(file)?),
        };
        state.migrate()?;
        for suffix in ["-wal", "-shm"] {
            hand_over(&beside(path, suffix)).map_err(file)?;
        }
        Ok(state)
    }

    /// Opens a state that is in memory alone, and gone with the last that has it open; who opens it in this process by the same
    /// name has the same.
    ///
    /// # Errors
    /// `StateError`.
    pub fn in_memory(name: &TokenId, patience: Duration) -> Result<Self, StateError> {
        let path = PathBuf::from(format!("file:/{name}?vfs=memdb"));
        let database = Self::connect(&path, patience)
            .map_err(|error| StateError::Database(path.clone(), error))?;
        let mut state = Self {
            path,
            database,
            file: None,
        };
        state.migrate()?;
        Ok(state)
    }

    /// Checks that the file and those that SQLite keeps beside it are its owner's and its group's alone: who reads them learns the hashes,
    /// names and addresses of all tokens, and who writes them issues tokens.
    ///
    /// # Errors
    /// `Loose`, with the command that mends it. A file that is not there is not loose.
    pub fn kept_close(path: &Path) -> Result<(), StateError> {
        for suffix in ["", "-wal", "-shm"] {
            let file = beside(path, suffix);
            if let Ok(meta) = fs::metadata(&file) {
                kept_to_group(&file, &meta).map_err(StateError::Loose)?;
            }
        }
        Ok(())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connect(path: &Path, patience: Duration) -> rusqlite::Result<Connection> {
        let database = Connection::open(path)?;
        database.busy_timeout(patience)?;
        database.pragma_update(None, "journal_mode", "WAL")?;
        // A use that was let through must not come back after the machine lost its power.
        database.pragma_update(None, "synchronous", "FULL")?;
        Ok(database)
    }

    /// Keeps next to nothing of the file in memory, for who reads it once.
    ///
    /// # Errors
    /// `StateError`.
    pub fn cache_little(&self) -> Result<(), StateError> {
        let pages = self.database.pragma_update(None, "cache_size", CACHE);
        pages.map_err(|error| self.wrong(error))
    }

    fn migrate(&mut self) -> Result<(), StateError> {
        let path = self.path.clone();
        self.write(|transaction| {
            let version: i64 =
                transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            match version {
                0 => transaction.execute_batch(&[SCHEMA, FROM_3, FROM_4].concat())?,
                1 => transaction.execute_batch(&[FROM_1, FROM_2, FROM_3, FROM_4].concat())?,
                2 => transaction.execute_batch(&[FROM_2, FROM_3, FROM_4].concat())?,
                3 => transaction.execute_batch(&[FROM_3, FROM_4].concat())?,
                4 => transaction.execute_batch(FROM_4)?,
                VERSION => {}
                later => return Ok(Err(StateError::Version(path, later))),
            }
            Ok(Ok(()))
        })?
    }

    fn wrong(&self, error: rusqlite::Error) -> StateError {
        StateError::Database(self.path.clone(), error)
    }

    fn write<T>(
        &mut self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StateError> {
        let path = self.path.clone();
        let run = || {
            let transaction = self
                .database
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|error| StateError::Database(path, error))
    }

    fn mark(&self, name: &str) -> Result<Option<Timestamp>, StateError> {
        let query = "SELECT at FROM marks WHERE name = ?1";
        let found = self.database.query_row(query, [name], |row| row.get(0));
        let found: Option<i64> = found.optional().map_err(|error| self.wrong(error))?;
        found.map(time).transpose()
    }

    fn raise(&mut self, name: &str, at: Timestamp) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "INSERT INTO marks (name, at) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET at = max(at, excluded.at)";
            transaction.execute(sql, params![name, at.as_microsecond()])?;
            Ok(())
        })
    }

    /// The latest time at which this state was in use; none of a state that no daemon has had yet.
    ///
    /// # Errors
    /// `StateError`.
    pub fn latest(&self) -> Result<Option<Timestamp>, StateError> {
        self.mark(LATEST)
    }

    /// Notes that it is in use at a time. One before the latest changes nothing.
    ///
    /// # Errors
    /// `StateError`.
    pub fn used_at(&mut self, at: Timestamp) -> Result<(), StateError> {
        self.raise(LATEST, at)
    }

    /// Until when the record went on without this state, if it was found to be older than that: a copy from before, in which
    /// tokens may live that were revoked since.
    ///
    /// # Errors
    /// `StateError`.
    pub fn older_than(&self) -> Result<Option<Timestamp>, StateError> {
        self.mark(OLDER_THAN)
    }

    /// Notes that it is older than the record.
    ///
    /// # Errors
    /// `StateError`.
    pub fn is_older_than(&mut self, record: Timestamp) -> Result<(), StateError> {
        self.raise(OLDER_THAN, record)
    }

    /// Takes the state as it is, at this time: whoever runs tidegate has looked through it.
    ///
    /// # Errors
    /// `StateError`.
    pub fn accept(&mut self, now: Timestamp) -> Result<(), StateError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM marks", [])?;
            let sql = "INSERT INTO marks (name, at) VALUES (?1, ?2)";
            transaction.execute(sql, params![LATEST, now.as_microsecond()])?;
            Ok(())
        })
    }

    /// Keeps a new token.
    ///
    /// # Errors
    /// `NameTaken` if a token that is neither revoked nor expired has its name.
    pub fn issue(&mut self, token: &Issued, now: Timestamp) -> Result<(), StateError> {
        self.issue_all(std::slice::from_ref(token), now)
    }

    /// Keeps new tokens, all of them or none.
    ///
    /// # Errors
    /// `NameTaken` if a token that is neither revoked nor expired, or one of these, has the name of one of them.
    pub fn issue_all(&mut self, tokens: &[Issued], now: Timestamp) -> Result<(), StateError> {
        let path = self.path.clone();
        let wrong = |error| StateError::Database(path.clone(), error);
        let transaction = self
            .database
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(wrong)?;
        for token in tokens {
            if is_taken(&transaction, &token.name, now).map_err(wrong)? {
                return Err(StateError::NameTaken(token.name.clone())); // and the transaction is taken back
            }
            let sequence = next(&transaction).map_err(wrong)?;
            insert(&transaction, token, sequence).map_err(wrong)?;
        }
        transaction.commit().map_err(wrong)
    }

    /// Ends a token, issued or of the policy file, from now on. Again is no error, and keeps the first time.
    ///
    /// # Errors
    /// `StateError`.
    pub fn revoke(&mut self, id: &TokenId, now: Timestamp) -> Result<(), StateError> {
        self.revoke_all(std::slice::from_ref(id), now)
    }

    /// Ends several, all of them or none.
    ///
    /// # Errors
    /// `StateError`.
    pub fn revoke_all(&mut self, ids: &[TokenId], now: Timestamp) -> Result<(), StateError> {
        self.write(|transaction| {
            ids.iter()
                .try_for_each(|id| revoke(transaction, id.as_str(), now))
        })
    }

    /// Keeps a token that an identity is exchanged for, and that the identity was taken: both or neither. It gets the name that it
    /// has, with a number behind it where a living token has that. `None` if the identity was taken before, and may not be again.
    ///
    /// # Errors
    /// `StateError`.
    pub fn exchange(
        &mut self,
        mut token: Issued,
        taken: &Taken,
        now: Timestamp,
    ) -> Result<Option<Issued>, StateError> {
        self.write(|transaction| {
            if !take(transaction, taken, &token.id, now)? {
                return Ok(None);
            }
            token.name = free_name(transaction, &token.name, now)?;
            let sequence = next(transaction)?;
            insert(transaction, &token, sequence)?;
            Ok(Some(token))
        })
    }

    /// Forgets what nobody issued by hand and what ended before a time, and the identities that could not be taken again
    /// anyhow.
    ///
    /// # Errors
    /// `StateError`.
    pub fn sweep(&mut self, ended: Timestamp, now: Timestamp) -> Result<(), StateError> {
        self.write(|transaction| {
            let (ended, now) = (ended.as_microsecond(), now.as_microsecond());
            let gone = "SELECT id FROM tokens WHERE made_by IS NOT NULL AND (expires_at < ?1 OR id IN (SELECT id FROM revocations WHERE revoked_at < ?1))";
            let mut gone = transaction.prepare(gone)?;
            let gone = gone.query_map([ended], |row| row.get(0))?;
            for id in gone.collect::<Result<Vec<String>, _>>()? {
                for table in ["tokens", "usage", "revocations"] {
                    let sql = format!("DELETE FROM {table} WHERE id = ?1");
                    transaction.prepare_cached(&sql)?.execute([&id])?;
                }
            }
            transaction.execute("DELETE FROM taken WHERE until < ?1", [now])?;
            Ok(())
        })
    }

    /// Gives a token a new secret. The old one holds until `grace`, or ends at once; one before it ends in any case.
    ///
    /// # Errors
    /// `StateError`.
    pub fn rotate(
        &mut self,
        id: &TokenId,
        hash: &SecretHash,
        grace: Option<Timestamp>,
    ) -> Result<(), StateError> {
        self.write(|transaction| {
            let sequence = next(transaction)?;
            let sql = "UPDATE tokens SET sequence = ?2, old_hash = CASE WHEN ?4 IS NULL THEN NULL ELSE hash END, old_until = ?4, hash = ?3 WHERE id = ?1";
            transaction.execute(sql, params![id.as_str(), sequence, hash.as_bytes(), grace.map(Timestamp::as_microsecond)])?;
            Ok(())
        })
    }

    /// The token with that id.
    ///
    /// # Errors
    /// `StateError`.
    pub fn find(&self, id: &str) -> Result<Option<Issued>, StateError> {
        let sql = format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE id = ?1");
        let mut query = self
            .database
            .prepare_cached(&sql)
            .map_err(|error| self.wrong(error))?;
        let read = |row: &Row<'_>| Ok(issued(row, &mut Alike::default()));
        let found = query.query_row([id], read).optional();
        found.map_err(|error| self.wrong(error))?.transpose()
    }

    /// All tokens with how they were used and when they were revoked, by name.
    ///
    /// # Errors
    /// `StateError`.
    pub fn list(&self) -> Result<Vec<Listed>, StateError> {
        let changes = self.changes_since(0)?;
        let revoked: HashMap<_, _> = changes.revoked.into_iter().collect();
        let mut tokens = Vec::new();
        for token in changes.issued {
            let usage = self.usage(&token.id)?;
            let revoked_at = revoked.get(&token.id).copied();
            tokens.push((token, usage, revoked_at));
        }
        tokens.sort_by(|(a, ..), (b, ..)| (&a.name, a.created_at).cmp(&(&b.name, b.created_at)));
        Ok(tokens)
    }

    /// The tokens with that id or name, with how they were used and when they were revoked: a name is free again once its
    /// token has ended.
    ///
    /// # Errors
    /// `StateError`.
    pub fn named(&self, wanted: &str) -> Result<Vec<Listed>, StateError> {
        let wrong = |error| self.wrong(error);
        let sql = format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE id = ?1 OR name = ?1");
        let mut query = self.database.prepare_cached(&sql).map_err(wrong)?;
        let rows = query
            .query_map([wanted], |row| Ok(issued(row, &mut Alike::default())))
            .map_err(wrong)?;
        rows.map(|row| {
            let token = row.map_err(wrong)??;
            let (usage, revoked_at) = (self.usage(&token.id)?, self.revoked_at(&token.id)?);
            Ok((token, usage, revoked_at))
        })
        .collect()
    }

    /// When a token was revoked, if it was.
    ///
    /// # Errors
    /// `StateError`.
    pub fn revoked_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StateError> {
        let sql = "SELECT revoked_at FROM revocations WHERE id = ?1";
        let mut query = self
            .database
            .prepare_cached(sql)
            .map_err(|error| self.wrong(error))?;
        let found: Option<i64> = query
            .query_row([id.as_str()], |row| row.get(0))
            .optional()
            .map_err(|error| self.wrong(error))?;
        found.map(time).transpose()
    }

    /// How a token was used.
    ///
    /// # Errors
    /// `StateError`.
    pub fn usage(&self, id: &TokenId) -> Result<Usage, StateError> {
        let sql = "SELECT used, last_used_at FROM usage WHERE id = ?1";
        let mut query = self
            .database
            .prepare_cached(sql)
            .map_err(|error| self.wrong(error))?;
        let found: Option<(i64, Option<i64>)> = query
            .query_row([id.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()
            .map_err(|error| self.wrong(error))?;
        let Some((used, last)) = found else {
            return Ok(Usage::default());
        };
        Ok(Usage {
            used: u64::try_from(used).unwrap_or(u64::MAX),
            last_used_at: last.map(time).transpose()?,
        })
    }

    /// What changed after this number of the sequence; everything after 0.
    ///
    /// # Errors
    /// `StateError`.
    pub fn changes_since(&self, sequence: i64) -> Result<Changes, StateError> {
        let mut changes = Changes::default();
        changes.sequence = self.each_since(sequence, |changed| match changed {
            Changed::Issued(token) => changes.issued.push(token),
            Changed::Revoked(id, at) => changes.revoked.push((id, at)),
        })?;
        Ok(changes)
    }

    /// The same, one by one; the number to go on from.
    ///
    /// # Errors
    /// `StateError`.
    pub fn each_since(
        &self,
        sequence: i64,
        mut take: impl FnMut(Changed),
    ) -> Result<i64, StateError> {
        let wrong = |error| self.wrong(error);
        // One transaction, so that tokens and revocations are of the same moment.
        let snapshot = self.database.unchecked_transaction().map_err(wrong)?;
        let last = snapshot
            .query_row("SELECT last FROM sequence", [], |row| row.get(0))
            .map_err(wrong)?;
        if last == sequence {
            return Ok(last);
        }
        // All of them are read as they lie; by the index each would be looked up at another place of the file.
        let no_index = if sequence == 0 { "+" } else { "" };
        let sql = format!("SELECT {TOKEN_COLUMNS} FROM tokens WHERE {no_index}sequence > ?1");
        let mut query = snapshot.prepare_cached(&sql).map_err(wrong)?;
        let mut alike = Alike::default();
        for row in query
            .query_map([sequence], |row| Ok(issued(row, &mut alike)))
            .map_err(wrong)?
        {
            take(Changed::Issued(row.map_err(wrong)??));
        }
        let mut query = snapshot
            .prepare_cached("SELECT id, revoked_at FROM revocations WHERE sequence > ?1")
            .map_err(wrong)?;
        for row in query
            .query_map([sequence], |row| {
                Ok((row.get::<_, String>(0)?, row.get(1)?))
            })
            .map_err(wrong)?
        {
            let (id, at) = row.map_err(wrong)?;
            let id = id
                .parse()
                .map_err(|error| StateError::Row(format!("`{id}`: {error}")))?;
            take(Changed::Revoked(id, time(at)?));
        }
        Ok(last)
    }

    /// Whether the file that was opened is still the one at its path.
    ///
    /// # Errors
    /// `Replaced`: what is written to the new file is not seen through this one.
    pub fn is_in_place(&self) -> Result<(), StateError> {
        match self.file {
            Some(file) if identity(&self.path).is_ok_and(|there| there == file) => Ok(()),
            Some(_) => Err(StateError::Replaced(self.path.clone())),
            None => Ok(()), // nobody else can reach it
        }
    }

    /// All counters, one by one, for the start.
    ///
    /// # Errors
    /// `StateError`.
    pub fn each_usage(&self, mut take: impl FnMut(TokenId, Usage)) -> Result<(), StateError> {
        let wrong = |error| self.wrong(error);
        let mut query = self
            .database
            .prepare("SELECT id, used, last_used_at FROM usage")
            .map_err(wrong)?;
        let rows = query
            .query_map([], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, i64>(1)?,
                    row.get::<_, Option<i64>>(2)?,
                ))
            })
            .map_err(wrong)?;
        for row in rows {
            let (id, used, last) = row.map_err(wrong)?;
            let usage = Usage {
                used: u64::try_from(used).unwrap_or(u64::MAX),
                last_used_at: last.map(time).transpose()?,
            };
            if let Ok(id) = id.parse() {
                take(id, usage);
            }
        }
        Ok(())
    }

    /// Takes uses, gives uses back and notes when tokens were used, in one durable step.
    ///
    /// The answers are in the order of the questions: for a `Take`, how many uses are taken with it, or `None` if there are
    /// no more.
    ///
    /// # Errors
    /// `StateError`; then nothing of it happened.
    pub fn count(&mut self, counts: &[Count]) -> Result<Vec<Option<u64>>, StateError> {
        self.write(|transaction| {
            let mut add =
                transaction.prepare_cached("INSERT OR IGNORE INTO usage (id) VALUES (?1)")?;
            let mut take = transaction.prepare_cached(
                "UPDATE usage SET used = used + 1 WHERE id = ?1 AND used < ?2 RETURNING used",
            )?;
            let mut give_back = transaction.prepare_cached(
                "UPDATE usage SET used = used - 1 WHERE id = ?1 AND used > 0 RETURNING used",
            )?;
            let mut touch = transaction.prepare_cached(
                "UPDATE usage SET last_used_at = max(coalesce(last_used_at, 0), ?2) WHERE id = ?1",
            )?;
            let mut answers = Vec::with_capacity(counts.len());
            for count in counts {
                let used: Option<i64> = match count {
                    Count::Take { id, most } => {
                        add.execute([id.as_str()])?;
                        take.query_row(
                            params![id.as_str(), i64::try_from(*most).unwrap_or(i64::MAX)],
                            |row| row.get(0),
                        )
                        .optional()?
                    }
                    Count::GiveBack { id } => give_back
                        .query_row([id.as_str()], |row| row.get(0))
                        .optional()?,
                    Count::Touch { id, at } => {
                        add.execute([id.as_str()])?;
                        touch.execute(params![id.as_str(), at.as_microsecond()])?;
                        None
                    }
                };
                answers.push(used.and_then(|used| u64::try_from(used).ok()));
            }
            Ok(answers)
        })
    }
}

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

/// Makes the file if there is none.
///
/// INVARIANT: a file that is there is not opened here. Closing it would drop every lock that SQLite holds on it for this
/// process (POSIX says so), and another process that closes the database would then take the log away from under it.
fn create(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
    {
        Ok(_) => hand_over(path),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    fs::metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Gives a file that root made to the owner of its directory. That one may be an adversary of root's, so only a plain file
/// that has no other name is given away, and a link is never followed.
fn hand_over(path: &Path) -> std::io::Result<()> {
    let (Ok(file), Some(directory)) = (fs::symlink_metadata(path), path.parent()) else {
        return Ok(());
    };
    let directory = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let owner = fs::metadata(directory)?;
    if file.is_file() && file.nlink() == 1 && file.uid() == 0 && owner.uid() != 0 {
        lchown(path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn next(transaction: &Transaction<'_>) -> rusqlite::Result<i64> {
    transaction
        .prepare_cached("UPDATE sequence SET last = last + 1 RETURNING last")?
        .query_row([], |row| row.get(0))
}

fn revoke(transaction: &Transaction<'_>, id: &str, now: Timestamp) -> rusqlite::Result<()> {
    let sequence = next(transaction)?;
    let sql = "INSERT INTO revocations (id, sequence, revoked_at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING";
    transaction
        .prepare_cached(sql)?
        .execute(params![id, sequence, now.as_microsecond()])?;
    let sql = "UPDATE tokens SET old_hash = NULL, old_until = NULL WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute([id])?;
    Ok(())
}

/// Notes that an identity was taken for this token; false if that may not be, as it was before.
fn take(
    transaction: &Transaction<'_>,
    taken: &Taken,
    token: &TokenId,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let Taken {
        identity,
        rule,
        again,
        until,
    } = taken;
    let before = if *again {
        let sql = "SELECT token FROM taken WHERE identity = ?1 AND rule = ?2";
        let mut query = transaction.prepare_cached(sql)?;
        let before = query.query_row(params![identity, rule], |row| row.get::<_, String>(0));
        before.optional()?
    } else {
        let sql = "SELECT 1 FROM taken WHERE identity = ?1";
        if transaction.prepare_cached(sql)?.exists([identity])? {
            return Ok(false);
        }
        None
    };
    if let Some(before) = before {
        revoke(transaction, &before, now)?;
    }
    let sql = "INSERT OR REPLACE INTO taken (identity, rule, token, until) VALUES (?1, ?2, ?3, ?4)";
    let row = params![identity, rule, token.as_str(), until.as_microsecond()];
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(true)
}

/// A name that no living token has: this one, or with a number behind it.
fn free_name(
    transaction: &Transaction<'_>,
    name: &str,
    now: Timestamp,
) -> rusqlite::Result<String> {
    if !is_taken(transaction, name, now)? {
        return Ok(name.to_owned());
    }
    // Names with a number behind this one lie between `name-` and `name.` in the index.
    let sql = "SELECT max(CAST(substr(name, length(?1) + 2) AS INTEGER)) FROM tokens WHERE name > ?1 || '-' AND name < ?1 || '.'";
    let last: Option<i64> = transaction
        .prepare_cached(sql)?
        .query_row([name], |row| row.get(0))?;
    let mut number = last.unwrap_or(1).clamp(1, i64::MAX / 2) + 1;
    loop {
        let numbered = format!("{name}-{number}");
        if !is_taken(transaction, &numbered, now)? {
            return Ok(numbered);
        }
        number += 1;
    }
}

/// Whether a token that is neither revoked nor expired has this name.
fn is_taken(transaction: &Transaction<'_>, name: &str, now: Timestamp) -> rusqlite::Result<bool> {
    let living = "SELECT 1 FROM tokens WHERE name = ?1 AND (expires_at IS NULL OR expires_at > ?2) AND id NOT IN (SELECT id FROM revocations)";
    transaction
        .prepare_cached(living)?
        .exists(params![name, now.as_microsecond()])
}

fn insert(transaction: &Transaction<'_>, token: &Issued, sequence: i64) -> rusqlite::Result<()> {
    let Issued {
        id,
        name,
        hash,
        old: _,
        roles,
        vars,
        limits,
        created_at,
        ceiling,
        about,
        maker,
    } = token;
    let ceiling = ceiling.as_deref();
    let about = about.as_deref();
    let maker = maker.as_deref();
    let Limits {
        sources,
        client_cert,
        not_before,
        expires_at,
        idle,
        max_uses,
        rate,
    } = &**limits;
    let sql = "INSERT INTO tokens (id, sequence, name, hash, roles, vars, sources, created_at, not_before, expires_at, idle, max_uses, rate, owner, description, client_cert, made_by, parent, ceiling, report_until)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20)";
    let sources: Option<Vec<String>> = sources
        .as_ref()
        .map(|sources| sources.iter().map(Source::to_string).collect());
    transaction.prepare_cached(sql)?.execute(params![
        id.as_str(),
        sequence,
        name,
        hash.as_bytes(),
        json(&&**roles),
        json(vars),
        sources.map(|sources| json(&sources)),
        created_at.as_microsecond(),
        not_before.map(Timestamp::as_microsecond),
        expires_at.map(Timestamp::as_microsecond),
        idle.map(|idle| i64::try_from(idle.seconds()).unwrap_or(i64::MAX)),
        max_uses.map(|uses| i64::try_from(uses).unwrap_or(i64::MAX)),
        rate.map(|rate| rate.to_string()),
        about.and_then(|about| about.owner.as_deref()),
        about.and_then(|about| about.description.as_deref()),
        client_cert.as_ref().map(ToString::to_string),
        maker.map(Maker::to_json),
        maker.and_then(Maker::parent).map(TokenId::as_str),
        ceiling.map(|ceiling| ceiling.role.as_str()),
        ceiling.map(|ceiling| ceiling.until.as_microsecond()),
    ])?;
    Ok(())
}

/// A list or map of texts as the JSON that a column holds.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default() // texts always serialise
}

fn time(microseconds: i64) -> Result<Timestamp, StateError> {
    Timestamp::from_microsecond(microseconds).map_err(|error| StateError::Row(error.to_string()))
}

/// What was read of rows already, by what their columns hold: most tokens are like others.
#[derive(Default)]
struct Alike {
    roles: HashMap<String, Arc<[String]>>,
    limits: HashMap<LimitColumns, Arc<Limits>>,
}

/// The columns that make limits.
#[derive(Clone, Eq, Hash, PartialEq)]
struct LimitColumns {
    sources: Option<String>,
    client_cert: Option<String>,
    not_before: Option<i64>,
    expires_at: Option<i64>,
    idle: Option<i64>,
    max_uses: Option<i64>,
    rate: Option<String>,
}

impl LimitColumns {
    fn of(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            sources: row.get(7)?,
            client_cert: row.get(16)?,
            not_before: row.get(9)?,
            expires_at: row.get(10)?,
            idle: row.get(11)?,
            max_uses: row.get(12)?,
            rate: row.get(13)?,
        })
    }

    /// The limits. `wrong` makes the error of what does not read.
    fn read(&self, wrong: impl Fn(&str) -> StateError) -> Result<Limits, StateError> {
        Ok(Limits {
            sources: (self.sources.as_ref())
                .map(|text| read_sources(text).ok_or_else(|| wrong("the sources")))
                .transpose()?,
            client_cert: (self.client_cert.as_ref())
                .map(|text| {
                    text.parse()
                        .map_err(|_| wrong("the condition on certificates"))
                })
                .transpose()?,
            not_before: self.not_before.map(time).transpose()?,
            expires_at: self.expires_at.map(time).transpose()?,
            idle: (self.idle)
                .map(|seconds| {
                    u64::try_from(seconds)
                        .ok()
                        .and_then(Span::from_seconds)
                        .ok_or_else(|| wrong("the idle time"))
                })
                .transpose()?,
            max_uses: (self.max_uses)
                .map(|uses| u64::try_from(uses).map_err(|_| wrong("the number of uses")))
                .transpose()?,
            rate: (self.rate.as_ref())
                .map(|text| text.parse().map_err(|_| wrong("the rate")))
                .transpose()?,
        })
    }
}

impl Alike {
    fn roles(&mut self, text: String) -> Option<Arc<[String]>> {
        if let Some(known) = self.roles.get(&text) {
            return Some(known.clone());
        }
        let roles: Arc<[String]> = serde_json::from_str::<Vec<String>>(&text).ok()?.into();
        self.roles.insert(text, roles.clone());
        Some(roles)
    }

    fn limits(
        &mut self,
        columns: LimitColumns,
        wrong: impl Fn(&str) -> StateError,
    ) -> Result<Arc<Limits>, StateError> {
        if let Some(known) = self.limits.get(&columns) {
            return Ok(known.clone());
        }
        let limits = Arc::new(columns.read(wrong)?);
        self.limits.insert(columns, limits.clone());
        Ok(limits)
    }
}

fn issued(row: &Row<'_>, alike: &mut Alike) -> Result<Issued, StateError> {
    let column = |error: rusqlite::Error| StateError::Row(error.to_string());
    let id: String = row.get(0).map_err(column)?;
    let wrong = |what: &str| StateError::Row(format!("{what} of token `{id}`"));
    let hash = |bytes: Vec<u8>| SecretHash::from_bytes(&bytes).ok_or_else(|| wrong("the hash"));
    let old_hash: Option<Vec<u8>> = row.get(3).map_err(column)?;
    let old_until: Option<i64> = row.get(4).map_err(column)?;
    let old = old_hash
        .map(hash)
        .transpose()?
        .zip(old_until.map(time).transpose()?);
    let limits = LimitColumns::of(row).map_err(column)?;
    let about = About {
        owner: row.get(14).map_err(column)?,
        description: row.get(15).map_err(column)?,
    };
    let made_by: Option<String> = row.get(17).map_err(column)?;
    let maker = made_by.map(|text| Maker::from_json(&text).map(Arc::new));
    let maker = maker.map(|maker| maker.ok_or_else(|| wrong("who made it")));
    let (role, until): (Option<String>, Option<i64>) =
        (row.get(18).map_err(column)?, row.get(19).map_err(column)?);
    let ceiling = match (role, until.map(time).transpose()?) {
        (Some(role), Some(until)) => Some(Arc::new(Ceiling { role, until })),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(wrong("the ceiling")),
    };
    Ok(Issued {
        id: id.parse().map_err(|_| wrong("the id"))?,
        name: row.get(1).map_err(column)?,
        hash: hash(row.get(2).map_err(column)?)?,
        old,
        roles: alike
            .roles(row.get(5).map_err(column)?)
            .ok_or_else(|| wrong("the roles"))?,
        vars: serde_json::from_str(&row.get::<_, String>(6).map_err(column)?)
            .map_err(|_| wrong("the variables"))?,
        limits: alike.limits(limits, wrong)?,
        created_at: time(row.get(8).map_err(column)?)?,
        ceiling,
        about: Some(Box::new(about)),
        maker: maker.transpose()?,
    })
}

fn read_sources(text: &str) -> Option<Vec<Source>> {
    let texts: Vec<String> = serde_json::from_str(text).ok()?;
    texts.iter().map(|text| text.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Exchanged;

    #[test]
    fn a_file_of_an_older_version_is_brought_up_and_keeps_its_tokens() {
        let (_, rest) = SCHEMA.split_once("CREATE TABLE marks").unwrap();
        let (marks, _) = rest.split_once(';').unwrap();
        let fourth = [SCHEMA, FROM_3, "PRAGMA user_version = 4;"].concat();
        let second = SCHEMA.replace(&format!("CREATE TABLE marks{marks};"), "");
        let first = second.replace(", client_cert TEXT", "");
        for (version, schema) in [(1, first), (2, second), (3, SCHEMA.to_owned()), (4, fourth)] {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("tidegate.db");
            let old = schema.replace("user_version = 3", &format!("user_version = {version}"));
            let database = Connection::open(&path).unwrap();
            database.execute_batch(&old).unwrap();
            let row = "INSERT INTO tokens (id, sequence, name, hash, roles, vars, created_at) VALUES ('4fZ0aB9cD8eF', 1, 'ci', zeroblob(32), '[\"all\"]', '{}', 0); UPDATE sequence SET last = 1";
            database.execute_batch(row).unwrap();
            drop(database);
            for _ in 0..2 {
                let state = State::open(&path, Duration::from_secs(1)).unwrap();
                let kept = state.find("4fZ0aB9cD8eF").unwrap().unwrap();
                assert_eq!(
                    (
                        kept.name.as_str(),
                        &kept.limits.client_cert,
                        (&kept.maker, &kept.ceiling),
                    ),
                    ("ci", &None, (&None, &None))
                );
                assert_eq!(state.latest().unwrap(), None, "version {version}");
            }
        }
    }

    #[test]
    fn an_identity_is_taken_once_or_ends_what_was_given_for_it_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidegate.db");
        let at = |second| Timestamp::from_second(second).unwrap();
        let exchanged = Exchanged {
            rule: "ci".into(),
            issuer: "i".into(),
        };
        let token = |name: &str, ends| {
            let fresh = crate::token::SubToken::generate().unwrap();
            Issued {
                id: fresh.id.clone(),
                name: name.to_owned(),
                hash: fresh.hash(),
                old: None,
                roles: ["r".to_owned()].into(),
                vars: Vars::new(),
                limits: Arc::new(Limits {
                    expires_at: Some(at(ends)),
                    ..Limits::default()
                }),
                created_at: at(0),
                ceiling: None,
                about: None,
                maker: Some(Arc::new(Maker::Trust(exchanged.clone()))),
            }
        };
        let taken = |identity, rule: &str, again| Taken {
            identity: [identity; 32],
            rule: rule.to_owned(),
            again,
            until: at(300),
        };
        let open = || State::open(&path, Duration::from_secs(1)).unwrap();
        let mut state = open();
        let mut exchange = |identity, rule: &str, again, ends| {
            let issued = state.exchange(token("ci/7", ends), &taken(identity, rule, again), at(1));
            issued.unwrap().map(|issued| (issued.name, issued.id))
        };
        let name = |issued: Option<(String, TokenId)>| issued.map(|(name, _)| name);
        assert_eq!(name(exchange(1, "ci", false, 900)).as_deref(), Some("ci/7"));
        assert_eq!(name(exchange(1, "ci", false, 900)), None);
        assert_eq!(
            name(exchange(1, "other", false, 900)),
            None,
            "by whatever rule"
        );
        assert_eq!(
            name(exchange(2, "ci", false, 900)).as_deref(),
            Some("ci/7-2")
        );
        assert_eq!(
            name(exchange(3, "ci", false, 900)).as_deref(),
            Some("ci/7-3")
        );
        let (_, first) = exchange(4, "ci", true, 900).unwrap();
        let (_, other) = exchange(4, "other", true, 900).unwrap();
        let (_, second) = exchange(4, "ci", true, 90_000).unwrap();
        drop(state);
        let mut state = open(); // and so it stays
        let issued = state.exchange(token("ci/8", 900), &taken(1, "ci", false), at(200));
        assert!(issued.unwrap().is_none());
        let revoked = |state: &State, id: &TokenId| state.revoked_at(id).unwrap();
        assert_eq!(revoked(&state, &first), Some(at(1)));
        assert_eq!(
            [&second, &other].map(|id| revoked(&state, id)),
            [None, None]
        );
        let kept = state.find(second.as_str()).unwrap().unwrap();
        assert_eq!(
            kept.maker.as_deref(),
            Some(&Maker::Trust(exchanged.clone()))
        );
        state.sweep(at(901), at(301)).unwrap();
        assert_eq!(state.list().unwrap().len(), 1, "what ended is gone");
        assert_eq!(revoked(&state, &first), None);
        let issued = state.exchange(token("ci/8", 900), &taken(1, "ci", false), at(301));
        assert!(issued.unwrap().is_some(), "the identity itself has ended");
    }

    #[test]
    fn what_was_issued_by_hand_is_never_swept() {
        let directory = tempfile::tempdir().unwrap();
        let mut state =
            State::open(&directory.path().join("s.db"), Duration::from_secs(1)).unwrap();
        let fresh = crate::token::SubToken::generate().unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let token = Issued {
            id: fresh.id.clone(),
            name: "ci".into(),
            hash: fresh.hash(),
            old: None,
            roles: ["r".to_owned()].into(),
            vars: Vars::new(),
            limits: Arc::new(Limits {
                expires_at: Some(at(1)),
                ..Limits::default()
            }),
            created_at: at(0),
            ceiling: None,
            about: None,
            maker: None,
        };
        state.issue(&token, at(0)).unwrap();
        state.revoke(&fresh.id, at(1)).unwrap();
        state.sweep(at(1000), at(1000)).unwrap();
        assert_eq!(state.list().unwrap().len(), 1);
    }

    #[test]
    fn the_latest_time_goes_back_only_where_it_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidegate.db");
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut state = State::open(&path, Duration::from_secs(1)).unwrap();
        for (used, latest) in [(50, 50), (40, 50), (60, 60)] {
            state.used_at(at(used)).unwrap();
            assert_eq!(state.latest().unwrap(), Some(at(latest)));
        }
        state.is_older_than(at(70)).unwrap();
        assert_eq!(state.older_than().unwrap(), Some(at(70)));
        state.accept(at(30)).unwrap();
        assert_eq!(
            (state.latest().unwrap(), state.older_than().unwrap()),
            (Some(at(30)), None)
        );
    }
}
