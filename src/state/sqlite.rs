use std::fs::{self, DirBuilder, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, lchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::copy::{Merged, TakenFor, UsedToken, merged};
use super::maker::{Maker, TakenIdentity};
use super::record::{Changed, Count, Issued, ListedToken, StateError};
use super::row::{COLUMNS, LimitColumns, SharedColumns, TokenRow, time, usage};
use super::store::Store;
use crate::secret::SecretHash;
use crate::secret::file::kept_to_group;
use crate::token::{TokenId, Usage};

/// The state file: issued tokens, revocations, and how often each token was used.
///
/// SQLite in WAL mode: the daemon and the command line have it open at once. Every change of tokens takes the next number
/// of one sequence, by which a reader goes on from where it was. Counters of uses are apart, so that they do not.
pub struct Sqlite {
    path: PathBuf,
    database: Connection,
    /// Which file was opened; none where it is in memory.
    file: Option<(u64, u64)>,
}

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

impl Sqlite {
    /// The tokens of which that is true, with their counters; `?1` stands for the parameter.
    fn listed_where(&self, that: &str, parameter: &str) -> Result<Vec<ListedToken>, StateError> {
        let wrong = |error| self.wrong(error);
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE {that}");
        let mut query = self.database.prepare_cached(&sql).map_err(wrong)?;
        let rows = query
            .query_map([parameter], |row| {
                Ok(issued(row, &mut SharedColumns::default()))
            })
            .map_err(wrong)?;
        rows.map(|row| {
            let token = row.map_err(wrong)??;
            let (usage, revoked_at) = (self.usage(&token.id)?, self.revoked_at(&token.id)?);
            Ok((token, usage, revoked_at))
        })
        .collect()
    }

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
    pub(super) fn kept_close(path: &Path) -> Result<(), StateError> {
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
}

impl Store for Sqlite {
    fn cache_little(&self) -> Result<(), StateError> {
        let pages = self.database.pragma_update(None, "cache_size", CACHE);
        pages.map_err(|error| self.wrong(error))
    }

    fn latest(&self) -> Result<Option<Timestamp>, StateError> {
        self.mark(LATEST)
    }

    fn used_at(&mut self, at: Timestamp) -> Result<(), StateError> {
        self.raise(LATEST, at)
    }

    fn older_than(&self) -> Result<Option<Timestamp>, StateError> {
        self.mark(OLDER_THAN)
    }

    fn is_older_than(&mut self, record: Timestamp) -> Result<(), StateError> {
        self.raise(OLDER_THAN, record)
    }

    fn accept(&mut self, now: Timestamp) -> Result<(), StateError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM marks", [])?;
            let sql = "INSERT INTO marks (name, at) VALUES (?1, ?2)";
            transaction.execute(sql, params![LATEST, now.as_microsecond()])?;
            Ok(())
        })
    }

    fn issue_all(&mut self, tokens: &[Issued], now: Timestamp) -> Result<(), StateError> {
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

    fn revoke_all(&mut self, ids: &[TokenId], now: Timestamp) -> Result<(), StateError> {
        self.write(|transaction| {
            ids.iter()
                .try_for_each(|id| revoke(transaction, id.as_str(), now.as_microsecond()))
        })
    }

    fn exchange_all(
        &mut self,
        asked: Vec<(Issued, TakenIdentity)>,
        now: Timestamp,
    ) -> Result<Vec<Option<Issued>>, StateError> {
        self.write(|transaction| {
            let keep = |(mut token, once): (Issued, TakenIdentity)| {
                if !take(transaction, &once, &token.id, now)? {
                    return Ok(None);
                }
                token.name = free_name(transaction, &token.name, now)?;
                let sequence = next(transaction)?;
                insert(transaction, &token, sequence)?;
                Ok(Some(token))
            };
            asked.into_iter().map(keep).collect()
        })
    }

    fn children(&self, parent: &TokenId) -> Result<Vec<ListedToken>, StateError> {
        self.listed_where("parent = ?1 ORDER BY name", parent.as_str())
    }

    fn delegate(&mut self, token: &Issued, most: u32, now: Timestamp) -> Result<bool, StateError> {
        let Some(parent) = token.maker.as_deref().and_then(Maker::parent) else {
            return Ok(false);
        };
        self.write(|transaction| {
            let sql = "SELECT made_by FROM tokens LEFT JOIN usage USING (id) WHERE parent = ?1 AND expires_at > ?2 AND (max_uses IS NULL OR max_uses > coalesce(used, 0)) AND id NOT IN (SELECT id FROM revocations)";
            let mut living = transaction.prepare_cached(sql)?;
            let living = living.query_map(params![parent.id.as_str(), now.as_microsecond()], |row| {
                row.get::<_, String>(0)
            })?;
            let mut count = 0;
            for made_by in living {
                let maker = Maker::from_json(&made_by?);
                let of_secret = maker.as_ref().and_then(Maker::parent);
                count += u32::from(of_secret.is_some_and(|it| it.hash.matches(&parent.hash)));
            }
            if count >= most {
                return Ok(false);
            }
            let sequence = next(transaction)?;
            insert(transaction, token, sequence)?;
            Ok(true)
        })
    }

    fn sweep(&mut self, ended: Timestamp, now: Timestamp) -> Result<(), StateError> {
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

    fn rotate(
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

    fn find(&self, id: &str) -> Result<Option<Issued>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE id = ?1");
        let mut query = self
            .database
            .prepare_cached(&sql)
            .map_err(|error| self.wrong(error))?;
        let read = |row: &Row<'_>| Ok(issued(row, &mut SharedColumns::default()));
        let found = query.query_row([id], read).optional();
        found.map_err(|error| self.wrong(error))?.transpose()
    }

    fn named(&self, wanted: &str) -> Result<Vec<ListedToken>, StateError> {
        self.listed_where("id = ?1 OR name = ?1", wanted)
    }

    fn owned_by(&self, owner: &str) -> Result<Vec<TokenId>, StateError> {
        let wrong = |error| self.wrong(error);
        let sql = "SELECT id FROM tokens WHERE owner = ?1";
        let mut query = self.database.prepare_cached(sql).map_err(wrong)?;
        let rows = query.query_map([owner], |row| row.get::<_, String>(0));
        rows.map_err(wrong)?
            .map(|id| {
                let id = id.map_err(wrong)?;
                let read = id.parse();
                read.map_err(|error| StateError::Row(format!("`{id}`: {error}")))
            })
            .collect()
    }

    fn revoked_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StateError> {
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

    fn usage(&self, id: &TokenId) -> Result<Usage, StateError> {
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
        usage(used, last)
    }

    fn each_since(&self, sequence: i64, take: &mut dyn FnMut(Changed)) -> Result<i64, StateError> {
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
        let sql = format!("SELECT {COLUMNS} FROM tokens WHERE {no_index}sequence > ?1");
        let mut query = snapshot.prepare_cached(&sql).map_err(wrong)?;
        let mut alike = SharedColumns::default();
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

    fn is_in_place(&self) -> Result<(), StateError> {
        match self.file {
            Some(file) if identity(&self.path).is_ok_and(|there| there == file) => Ok(()),
            Some(_) => Err(StateError::Replaced(self.path.clone())),
            None => Ok(()), // nobody else can reach it
        }
    }

    fn each_usage(&self, take: &mut dyn FnMut(TokenId, Usage)) -> Result<(), StateError> {
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
            if let Ok(id) = id.parse() {
                take(id, usage(used, last)?);
            }
        }
        Ok(())
    }

    fn each_taken(&self, take: &mut dyn FnMut(TakenFor)) -> Result<(), StateError> {
        let wrong = |error| self.wrong(error);
        let sql = "SELECT identity, rule, token, until FROM taken";
        let mut query = self.database.prepare(sql).map_err(wrong)?;
        let read = |row: &Row<'_>| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get::<_, String>(2)?,
                row.get(3)?,
            ))
        };
        for row in query.query_map([], read).map_err(wrong)? {
            let (identity, rule, token, until) = row.map_err(wrong)?;
            take(TakenFor::read(identity, rule, &token, until)?);
        }
        Ok(())
    }

    fn merge_revoked(&mut self, revoked: &[(TokenId, Timestamp)]) -> Result<(), StateError> {
        self.write(|transaction| {
            for (id, at) in revoked {
                let at = at.as_microsecond();
                revoke(transaction, id.as_str(), at)?;
                let sql =
                    "UPDATE revocations SET revoked_at = ?2 WHERE id = ?1 AND revoked_at > ?2";
                transaction
                    .prepare_cached(sql)?
                    .execute(params![id.as_str(), at])?;
            }
            Ok(())
        })
    }

    fn merge_used(&mut self, used: &[UsedToken]) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "INSERT INTO usage AS usage (id, used, last_used_at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO UPDATE SET used = max(usage.used, excluded.used), last_used_at = max(coalesce(usage.last_used_at, excluded.last_used_at), coalesce(excluded.last_used_at, usage.last_used_at))";
            let mut merge = transaction.prepare_cached(sql)?;
            for (id, usage) in used {
                let used = i64::try_from(usage.used).unwrap_or(i64::MAX);
                let last = usage.last_used_at.map(Timestamp::as_microsecond);
                merge.execute(params![id.as_str(), used, last])?;
            }
            Ok(())
        })
    }

    fn merge_taken(&mut self, taken: &[TakenFor]) -> Result<(), StateError> {
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO taken (identity, rule, token, until) VALUES (?1, ?2, ?3, ?4)";
            let mut merge = transaction.prepare_cached(sql)?;
            for TakenFor { taken, token } in taken {
                let row = params![taken.identity, taken.rule, token.as_str(), taken.until.as_microsecond()];
                merge.execute(row)?;
            }
            Ok(())
        })
    }

    fn merge_tokens(&mut self, tokens: &[Issued]) -> Result<(u64, Vec<TokenId>), StateError> {
        let now = Timestamp::now().as_microsecond();
        let there: Vec<_> = tokens
            .iter()
            .map(|token| self.find(token.id.as_str()))
            .collect::<Result<_, _>>()?;
        self.write(|transaction| {
            let (mut new, mut undecided) = (0, Vec::new());
            for (token, there) in tokens.iter().zip(&there) {
                match there.as_ref().map(|there| merged(there, token)) {
                    Some(Merged::Stays) => {}
                    Some(Merged::Becomes) => {
                        let sequence = next(transaction)?;
                        let sql = "UPDATE tokens SET sequence = ?2, hash = ?3, old_hash = ?4, old_until = ?5 WHERE id = ?1";
                        let TokenRow { id, hash, old_hash, old_until, .. } = TokenRow::of(token);
                        let row = params![id, sequence, hash, old_hash, old_until];
                        transaction.prepare_cached(sql)?.execute(row)?;
                    }
                    Some(Merged::Ends) => {
                        revoke(transaction, token.id.as_str(), now)?;
                        undecided.push(token.id.clone());
                    }
                    None => {
                        let sequence = next(transaction)?;
                        insert(transaction, token, sequence)?;
                        new += 1;
                    }
                }
            }
            Ok((new, undecided))
        })
    }

    fn count(&mut self, counts: &[Count]) -> Result<Vec<Option<u64>>, StateError> {
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
                    Count::TakeRate { .. } => None, // one daemon has its buckets in memory
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

fn revoke(transaction: &Transaction<'_>, id: &str, at: i64) -> rusqlite::Result<()> {
    let sequence = next(transaction)?;
    let sql = "INSERT INTO revocations (id, sequence, revoked_at) VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING";
    transaction
        .prepare_cached(sql)?
        .execute(params![id, sequence, at])?;
    let sql = "UPDATE tokens SET old_hash = NULL, old_until = NULL WHERE id = ?1";
    transaction.prepare_cached(sql)?.execute([id])?;
    Ok(())
}

/// Notes that an identity was taken for this token; false if that may not be, as it was before.
fn take(
    transaction: &Transaction<'_>,
    once: &TakenIdentity,
    token: &TokenId,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let TakenIdentity {
        identity,
        rule,
        again,
        until,
    } = once;
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
        revoke(transaction, &before, now.as_microsecond())?;
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
    let TokenRow {
        id,
        name,
        hash,
        old_hash,
        old_until,
        roles,
        vars,
        limits,
        created_at,
        owner,
        description,
        made_by,
        parent,
        ceiling,
        report_until,
    } = TokenRow::of(token);
    let LimitColumns {
        sources,
        client_cert,
        not_before,
        expires_at,
        idle,
        max_uses,
        rate,
    } = limits;
    let sql = format!(
        "INSERT INTO tokens (sequence, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)"
    );
    transaction.prepare_cached(&sql)?.execute(params![
        sequence,
        id,
        name,
        hash,
        old_hash,
        old_until,
        roles,
        vars,
        sources,
        created_at,
        not_before,
        expires_at,
        idle,
        max_uses,
        rate,
        owner,
        description,
        client_cert,
        made_by,
        parent,
        ceiling,
        report_until,
    ])?;
    Ok(())
}

fn token_row(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    Ok(TokenRow {
        id: row.get(0)?,
        name: row.get(1)?,
        hash: row.get(2)?,
        old_hash: row.get(3)?,
        old_until: row.get(4)?,
        roles: row.get(5)?,
        vars: row.get(6)?,
        limits: LimitColumns {
            sources: row.get(7)?,
            client_cert: row.get(16)?,
            not_before: row.get(9)?,
            expires_at: row.get(10)?,
            idle: row.get(11)?,
            max_uses: row.get(12)?,
            rate: row.get(13)?,
        },
        created_at: row.get(8)?,
        owner: row.get(14)?,
        description: row.get(15)?,
        made_by: row.get(17)?,
        parent: row.get(18)?,
        ceiling: row.get(19)?,
        report_until: row.get(20)?,
    })
}

fn issued(row: &Row<'_>, alike: &mut SharedColumns) -> Result<Issued, StateError> {
    let row = token_row(row).map_err(|error| StateError::Row(error.to_string()))?;
    alike.issued(row)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::state::{Exchanged, Maker};
    use crate::token::Limits;

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
                let state = Sqlite::open(&path, Duration::from_secs(1)).unwrap();
                let kept = state.find("4fZ0aB9cD8eF").unwrap().unwrap();
                assert_eq!(
                    (
                        kept.name.as_str(),
                        &kept.limits.client_cert,
                        (kept.maker.is_none(), &kept.ceiling),
                    ),
                    ("ci", &None, (true, &None))
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
        let token = |name: &str, ends| Issued {
            limits: Arc::new(Limits {
                expires_at: Some(at(ends)),
                ..Limits::default()
            }),
            maker: Some(Arc::new(Maker::Trust(exchanged.clone()))),
            ..Issued::named(name)
        };
        let once = |identity, rule: &str, again| TakenIdentity {
            identity: [identity; 32],
            rule: rule.to_owned(),
            again,
            until: at(300),
        };
        let open = || Sqlite::open(&path, Duration::from_secs(1)).unwrap();
        let mut state = open();
        let mut exchange = |identity, rule: &str, again, ends| {
            let issued = state.exchange(token("ci/7", ends), &once(identity, rule, again), at(1));
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
        let issued = state.exchange(token("ci/8", 900), &once(1, "ci", false), at(200));
        assert!(issued.unwrap().is_none());
        let revoked = |state: &Sqlite, id: &TokenId| state.revoked_at(id).unwrap();
        assert_eq!(revoked(&state, &first), Some(at(1)));
        assert_eq!(
            [&second, &other].map(|id| revoked(&state, id)),
            [None, None]
        );
        let kept = state.find(second.as_str()).unwrap().unwrap();
        assert_eq!(kept.maker.as_deref().and_then(Maker::rule), Some("ci"));
        state.sweep(at(901), at(301)).unwrap();
        assert_eq!(state.list().unwrap().len(), 1, "what ended is gone");
        assert_eq!(revoked(&state, &first), None);
        let issued = state.exchange(token("ci/8", 900), &once(1, "ci", false), at(301));
        assert!(issued.unwrap().is_some(), "the identity itself has ended");
    }

    #[test]
    fn of_several_that_are_exchanged_at_once_each_is_judged_after_those_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidegate.db");
        let mut state = Sqlite::open(&path, Duration::from_secs(1)).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let asked = |whose, again| {
            let exchanged = Exchanged {
                rule: "ci".into(),
                issuer: "i".into(),
            };
            let token = Issued {
                maker: Some(Arc::new(Maker::Trust(exchanged))),
                ..Issued::named("ci/7")
            };
            let identity = TakenIdentity {
                identity: [whose; 32],
                rule: "ci".to_owned(),
                again,
                until: at(300),
            };
            (token, identity)
        };
        let cases = [(1, false), (1, false), (2, false), (3, true), (3, true)];
        let all = cases.map(|(identity, again)| asked(identity, again));
        let kept = state.exchange_all(all.into(), at(1)).unwrap();
        let name = |token: &Option<Issued>| token.as_ref().map(|token| token.name.clone());
        let names: Vec<_> = kept.iter().map(name).collect();
        let expected = [
            Some("ci/7"),
            None,
            Some("ci/7-2"),
            Some("ci/7-3"),
            Some("ci/7-4"),
        ];
        assert_eq!(names, expected.map(|name| name.map(str::to_owned)));
        let revoked = |index: usize| {
            let token = kept[index].as_ref().unwrap();
            state.revoked_at(&token.id).unwrap()
        };
        assert_eq!([revoked(3), revoked(4)], [Some(at(1)), None]);
        assert_eq!(state.list().unwrap().len(), 4);
    }

    #[test]
    fn what_was_issued_by_hand_is_never_swept() {
        let directory = tempfile::tempdir().unwrap();
        let mut state =
            Sqlite::open(&directory.path().join("s.db"), Duration::from_secs(1)).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        let token = Issued {
            limits: Arc::new(Limits {
                expires_at: Some(at(1)),
                ..Limits::default()
            }),
            ..Issued::named("ci")
        };
        state.issue(&token, at(0)).unwrap();
        state.revoke(&token.id, at(1)).unwrap();
        state.sweep(at(1000), at(1000)).unwrap();
        assert_eq!(state.list().unwrap().len(), 1);
    }

    #[test]
    fn the_latest_time_goes_back_only_where_it_is_accepted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidegate.db");
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut state = Sqlite::open(&path, Duration::from_secs(1)).unwrap();
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
