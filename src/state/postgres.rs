//! The store that several daemons share.
//!
//! Every call is one transaction on one connection, with statements that are not prepared, so that a pooler in transaction
//! mode may stand between. All changes of tokens begin by locking the row of the sequence, so that its numbers are seen in
//! order; counters are locked in the order of their ids, so that no two daemons wait for each other.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::{TryStreamExt, stream};
use jiff::Timestamp;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, IsolationLevel, NoTls, Row, Transaction,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::copy::{Merged, TakenFor, UsedToken, merged};
use super::maker::{Maker, TakenIdentity};
use super::memory::{Happened, Memory};
use super::record::{Changed, Count, Issued, ListedToken, StateError};
use super::row::{COLUMNS, LimitColumns, SharedColumns, TokenRow, time, usage};
use super::store::{Store, Wake};
use crate::config::Database;
use crate::secret::SecretHash;
use crate::token::{TokenId, Usage};
use crate::units::Rate;

/// State in PostgreSQL.
pub struct Postgres {
    runtime: Option<Runtime>,
    config: Config,
    tls: Option<ClientConfig>,
    client: RefCell<Option<Client>>,
    /// A connection that is being made.
    making: RefCell<Option<JoinHandle<Result<Client, StateError>>>>,
    patience: Duration,
    /// Whether its tables were those of this tidegate. Later ones may be made beside it, which take nothing from it.
    is_open: Cell<bool>,
}

/// The version of the tables that this tidegate knows.
const VERSION: i64 = 2;
/// How long the first connection may take.
const OPENING: Duration = Duration::from_secs(10);
/// How long a later one may: what waits for packets that were swallowed is given up for one whose packets are not.
const CONNECTING: Duration = Duration::from_secs(3);
/// How long it is not listened to a server to which that failed, and how often it is asked whether it is still there.
const DEAF: Duration = Duration::from_secs(1);
const LISTENING: Duration = Duration::from_secs(10);
/// How long everything may take to be read at the start.
const WHOLE: Duration = Duration::from_secs(120);
/// What one daemon at a time may hold that brings the tables up to date.
const MIGRATING: i64 = 0x7469_6465_6761_7465;
/// How many columns a token has.
const WIDTH: usize = 21;
/// How far back the uses of others are read again: a transaction that began before may end later.
const OVERLAP: i64 = 10_000_000;
/// The latest time that was seen.
const LATEST: &str = "latest";
/// Until when the record went on when a state was found that is older than it.
const OLDER_THAN: &str = "older_than";

const SCHEMA: &str = r#"
    CREATE SCHEMA IF NOT EXISTS tidegate;
    CREATE TABLE tidegate.version (version bigint NOT NULL);
    INSERT INTO tidegate.version VALUES (1);
    CREATE TABLE tidegate.tokens (
        id text COLLATE "C" PRIMARY KEY, sequence bigint NOT NULL, name text COLLATE "C" NOT NULL,
        hash bytea NOT NULL, old_hash bytea, old_until bigint,
        roles text NOT NULL, vars text NOT NULL, sources text,
        created_at bigint NOT NULL, not_before bigint, expires_at bigint,
        idle bigint, max_uses bigint, rate text, owner text, description text, client_cert text,
        made_by text, parent text, ceiling text, report_until bigint
    );
    CREATE INDEX tokens_by_sequence ON tidegate.tokens (sequence);
    CREATE INDEX tokens_by_name ON tidegate.tokens (name);
    CREATE INDEX tokens_made ON tidegate.tokens (expires_at) WHERE made_by IS NOT NULL;
    CREATE INDEX tokens_by_parent ON tidegate.tokens (parent) WHERE parent IS NOT NULL;
    CREATE TABLE tidegate.revocations (id text COLLATE "C" PRIMARY KEY, sequence bigint NOT NULL, revoked_at bigint NOT NULL);
    CREATE INDEX revocations_by_sequence ON tidegate.revocations (sequence);
    CREATE TABLE tidegate.usage (
        id text COLLATE "C" PRIMARY KEY, used bigint NOT NULL DEFAULT 0, last_used_at bigint,
        full_at bigint NOT NULL DEFAULT 0, changed_at bigint NOT NULL DEFAULT 0
    );
    CREATE INDEX usage_by_change ON tidegate.usage (changed_at);
    CREATE TABLE tidegate.sequence (last bigint NOT NULL);
    INSERT INTO tidegate.sequence VALUES (0);
    CREATE TABLE tidegate.marks (name text PRIMARY KEY, at bigint NOT NULL);
    CREATE TABLE tidegate.taken (identity bytea NOT NULL, rule text NOT NULL, token text NOT NULL, until bigint NOT NULL, PRIMARY KEY (identity, rule));
    CREATE INDEX taken_by_until ON tidegate.taken (until);
"#;

/// From version 1, in which no daemon remembered anything for others, to 2.
const FROM_1: &str = r#"
    CREATE TABLE tidegate.memories (key text COLLATE "C" PRIMARY KEY, sequence bigint NOT NULL, by text NOT NULL, account text NOT NULL, what text NOT NULL, until bigint NOT NULL);
    CREATE INDEX memories_by_sequence ON tidegate.memories (sequence);
    UPDATE tidegate.version SET version = 2;
"#;

/// A value beside its type, as a statement takes it that is not prepared.
type Param<'p> = (&'p (dyn ToSql + Sync), Type);

fn failed(error: tokio_postgres::Error) -> StateError {
    StateError::Postgres(error)
}

impl Postgres {
    /// Gets ready to use it; `patience` is how long any call may take.
    ///
    /// # Errors
    /// `StateError` if the address can't be one, or what secures the way to it can't be read.
    pub fn new(database: &Database, patience: Duration) -> Result<Self, StateError> {
        let (config, tls) = database.target()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("state-postgres")
            .enable_all()
            .build()
            .map_err(StateError::Runtime)?;
        Ok(Self {
            runtime: Some(runtime),
            config,
            tls,
            client: RefCell::new(None),
            making: RefCell::new(None),
            patience,
            is_open: Cell::new(false),
        })
    }

    /// Opens it: its tables must be there, and of the version that this tidegate knows.
    ///
    /// # Errors
    /// `StateError`.
    pub fn open(database: &Database, patience: Duration) -> Result<Self, StateError> {
        let store = Self::new(database, patience)?;
        store.run(patience.max(OPENING), async |_| Ok(()))?;
        store.is_open.set(true);
        Ok(store)
    }

    /// Makes the tables, or brings them up to date; one at a time, whoever else tries. Whether there was anything to do.
    ///
    /// # Errors
    /// `Newer` if a later tidegate did that already.
    pub fn migrate(database: &Database) -> Result<bool, StateError> {
        let store = Self::new(database, WHOLE)?;
        store.block(WHOLE, async {
            let mut client = connect(&store.config, store.tls.as_ref()).await?;
            let transaction = client.transaction().await.map_err(failed)?;
            let sql = "SELECT pg_advisory_xact_lock($1)";
            let lock = transaction.query_typed(sql, &[(&MIGRATING, Type::INT8)]);
            lock.await.map_err(failed)?;
            let sql = "SELECT to_regclass('tidegate.version') IS NOT NULL";
            let there = transaction.query_typed(sql, &[]).await.map_err(failed)?;
            let is_there = there.first().map(|row| row.try_get(0));
            let changes = if is_there.transpose().map_err(failed)? == Some(true) {
                let sql = "SELECT version FROM tidegate.version";
                let found = transaction.query_typed(sql, &[]).await.map_err(failed)?;
                match version(&found)? {
                    Some(1) => FROM_1.to_owned(),
                    _ => return check_version(&Ok(found)).map(|()| false),
                }
            } else {
                [SCHEMA, FROM_1].concat()
            };
            transaction.batch_execute(&changes).await.map_err(failed)?;
            transaction.commit().await.map_err(failed)?;
            Ok(true)
        })
    }

    fn block<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, StateError>>,
    ) -> Result<T, StateError> {
        let Some(runtime) = &self.runtime else {
            return Err(StateError::Slow(patience));
        };
        runtime.block_on(async {
            let done = timeout(patience, work).await;
            done.unwrap_or(Err(StateError::Slow(patience)))
        })
    }

    /// A new connection. One that takes longer than may be waited for here is made all the same, for the next who needs it: the
    /// store may be far away, and would never be reached otherwise.
    fn connected(&self, patience: Duration) -> Result<Client, StateError> {
        let Some(runtime) = &self.runtime else {
            return Err(StateError::Slow(patience));
        };
        let begin = || {
            let (config, tls, is_open) =
                (self.config.clone(), self.tls.clone(), self.is_open.get());
            let longest = if is_open { CONNECTING } else { OPENING };
            let made = async move {
                let made = timeout(longest, ready(&config, tls.as_ref(), is_open)).await;
                made.unwrap_or(Err(StateError::Slow(longest)))
            };
            runtime.spawn(made)
        };
        let mut making = self.making.borrow_mut().take().unwrap_or_else(begin);
        let made = self.block(patience, async {
            let made = (&mut making).await;
            made.map_err(|error| StateError::Runtime(error.into()))?
        });
        if !making.is_finished() {
            *self.making.borrow_mut() = Some(making);
        }
        made
    }

    /// Does something by the connection that there is, or a new one. One by which anything failed is given up: what it was
    /// connected to may be no primary any more.
    fn run<T>(
        &self,
        patience: Duration,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        let begun = Instant::now();
        let kept = self.client.borrow_mut().take();
        let mut client = match kept.filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => self.connected(patience)?,
        };
        let left = patience.saturating_sub(begun.elapsed());
        let done = self.block(left, work(&mut client))?;
        *self.client.borrow_mut() = Some(client);
        Ok(done)
    }

    /// Reads, all as of one moment.
    fn read<T>(
        &self,
        patience: Duration,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.run(patience, async |client| {
            let build = client.build_transaction().read_only(true);
            let isolation = build.isolation_level(IsolationLevel::RepeatableRead);
            let transaction = isolation.start().await.map_err(failed)?;
            bounded(&transaction, patience).await?;
            let done = work(&transaction).await?;
            transaction.commit().await.map_err(failed)?;
            Ok(done)
        })
    }

    /// Writes, durably: where the server would answer before that, it is told not to.
    fn write<T>(
        &self,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.run(self.patience, async |client| {
            let transaction = client.transaction().await.map_err(failed)?;
            bounded(&transaction, self.patience).await?;
            let done = work(&transaction).await?;
            transaction.commit().await.map_err(failed)?;
            Ok(done)
        })
    }

    /// Changes tokens, one after the other with all others who do.
    fn change<T>(
        &self,
        work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        self.write(async |transaction| {
            rows(
                transaction,
                "SELECT last, pg_notify('tidegate', '')::text FROM tidegate.sequence FOR UPDATE", // told at the end
                &[],
            )
            .await?;
            work(transaction).await
        })
    }

    /// The tokens of which that is true, with their counters, all as of one moment; `$1` stands for the parameter.
    fn listed_where(&self, that: &str, parameter: &str) -> Result<Vec<ListedToken>, StateError> {
        let columns = COLUMNS.replace(", ", ", tokens.");
        let sql = format!(
            "SELECT tokens.{columns}, coalesce(used, 0), last_used_at, revoked_at FROM tidegate.tokens AS tokens LEFT JOIN tidegate.usage USING (id) LEFT JOIN tidegate.revocations USING (id) WHERE {that}"
        );
        let found = self.read(self.patience, async |transaction| {
            rows(transaction, &sql, &[(&parameter, Type::TEXT)]).await
        })?;
        let mut alike = SharedColumns::default();
        let listed = |row: &Row| {
            let token = alike.issued(token_row(row)?)?;
            let revoked_at = get::<Option<i64>>(row, WIDTH + 2)?;
            let usage = usage(get(row, WIDTH)?, get(row, WIDTH + 1)?)?;
            Ok((token, usage, revoked_at.map(time).transpose()?))
        };
        found.iter().map(listed).collect()
    }

    fn mark(&self, name: &str) -> Result<Option<Timestamp>, StateError> {
        let sql = "SELECT at FROM tidegate.marks WHERE name = $1";
        self.read(self.patience, async |transaction| {
            let found = rows(transaction, sql, &[(&name, Type::TEXT)]).await?;
            let at = found.first().map(|row| get::<i64>(row, 0)).transpose()?;
            at.map(time).transpose()
        })
    }

    fn raise(&self, name: &str, at: Timestamp) -> Result<(), StateError> {
        let sql = "INSERT INTO tidegate.marks AS marks (name, at) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET at = greatest(marks.at, excluded.at)";
        let at = at.as_microsecond();
        self.write(async |transaction| {
            run(transaction, sql, &[(&name, Type::TEXT), (&at, Type::INT8)]).await
        })
    }
}

impl Drop for Postgres {
    /// Waits for nothing, so that it may be dropped anywhere.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connect(config: &Config, tls: Option<&ClientConfig>) -> Result<Client, StateError> {
    if let Some(tls) = tls {
        let tls = MakeRustlsConnect::new(tls.clone());
        let (client, connection) = config.connect(tls).await.map_err(failed)?;
        tokio::spawn(connection);
        Ok(client)
    } else {
        let (client, connection) = config.connect(NoTls).await.map_err(failed)?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// A connection to tables that this tidegate knows, or, for one that had them open, to later ones.
async fn ready(
    config: &Config,
    tls: Option<&ClientConfig>,
    is_open: bool,
) -> Result<Client, StateError> {
    let client = connect(config, tls).await?;
    let asked = "SELECT version FROM tidegate.version";
    match check_version(&client.query_typed(asked, &[]).await) {
        Err(StateError::Newer(_)) if is_open => {}
        checked => checked?,
    }
    Ok(client)
}

fn check_version(read: &Result<Vec<Row>, tokio_postgres::Error>) -> Result<(), StateError> {
    let rows = match read {
        Ok(rows) => rows,
        Err(error) => {
            let missing = [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME];
            return Err(match error.code() {
                Some(code) if missing.contains(code) => StateError::NoTables,
                Some(_) | None => StateError::Unread(error.to_string()),
            });
        }
    };
    match version(rows)? {
        Some(VERSION) => Ok(()),
        Some(later) if later > VERSION => Err(StateError::Newer(later)),
        Some(_) | None => Err(StateError::NoTables),
    }
}

fn version(rows: &[Row]) -> Result<Option<i64>, StateError> {
    rows.first().map(|row| get(row, 0)).transpose()
}

/// Tells of changes by a connection of its own, until that ends.
async fn listen(config: &Config, tls: Option<&ClientConfig>, wake: &Wake) {
    if let Some(tls) = tls {
        if let Ok((client, connection)) = config.connect(MakeRustlsConnect::new(tls.clone())).await
        {
            hear(client, connection, wake).await;
        }
    } else if let Ok((client, connection)) = config.connect(NoTls).await {
        hear(client, connection, wake).await;
    }
}

async fn hear<S, T>(client: Client, mut connection: Connection<S, T>, wake: &Wake)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    let hearing = async {
        while let Ok(Some(message)) = messages.try_next().await {
            if matches!(message, AsyncMessage::Notification(_)) {
                wake();
            }
        }
    };
    // Asked again and again, who is no longer there is found out.
    let asking = async {
        while let Ok(Ok(())) = timeout(LISTENING, client.batch_execute("LISTEN tidegate")).await {
            sleep(LISTENING).await;
        }
    };
    tokio::select! {
        () = hearing => {}
        () = asking => {}
    }
}

/// Holds a transaction to its time at the server too, and to durability.
async fn bounded(transaction: &Transaction<'_>, patience: Duration) -> Result<(), StateError> {
    let all = patience.as_millis();
    let locks = all / 2;
    let sql = format!(
        "SET LOCAL statement_timeout = {all}; SET LOCAL lock_timeout = {locks}; SET LOCAL idle_in_transaction_session_timeout = {all};
         SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
    );
    transaction.batch_execute(&sql).await.map_err(failed)
}

async fn rows(
    transaction: &Transaction<'_>,
    sql: &str,
    params: &[Param<'_>],
) -> Result<Vec<Row>, StateError> {
    transaction.query_typed(sql, params).await.map_err(failed)
}

/// Takes row by row: a million at once are not held.
async fn each(
    transaction: &Transaction<'_>,
    sql: &str,
    params: &[Param<'_>],
    mut take: impl FnMut(&Row) -> Result<(), StateError>,
) -> Result<(), StateError> {
    let params = params.iter().map(|(value, kind)| (*value, kind.clone()));
    let found = transaction.query_typed_raw(sql, params).await;
    let mut found = pin!(found.map_err(failed)?);
    while let Some(row) = found.try_next().await.map_err(failed)? {
        take(&row)?;
    }
    Ok(())
}

async fn run(
    transaction: &Transaction<'_>,
    sql: &str,
    params: &[Param<'_>],
) -> Result<(), StateError> {
    rows(transaction, sql, params).await.map(drop)
}

fn get<'r, T: tokio_postgres::types::FromSql<'r>>(
    row: &'r Row,
    index: usize,
) -> Result<T, StateError> {
    row.try_get(index).map_err(failed)
}

fn token_id(id: &str) -> Result<TokenId, StateError> {
    let wrong = |error| StateError::Row(format!("`{id}`: {error}"));
    id.parse().map_err(wrong)
}

fn token_row(row: &Row) -> Result<TokenRow, StateError> {
    Ok(TokenRow {
        id: get(row, 0)?,
        name: get(row, 1)?,
        hash: get(row, 2)?,
        old_hash: get(row, 3)?,
        old_until: get(row, 4)?,
        roles: get(row, 5)?,
        vars: get(row, 6)?,
        limits: LimitColumns {
            sources: get(row, 7)?,
            client_cert: get(row, 16)?,
            not_before: get(row, 9)?,
            expires_at: get(row, 10)?,
            idle: get(row, 11)?,
            max_uses: get(row, 12)?,
            rate: get(row, 13)?,
        },
        created_at: get(row, 8)?,
        owner: get(row, 14)?,
        description: get(row, 15)?,
        made_by: get(row, 17)?,
        parent: get(row, 18)?,
        ceiling: get(row, 19)?,
        report_until: get(row, 20)?,
    })
}

/// The next number of the sequence, of whose row the transaction has the lock.
async fn next(transaction: &Transaction<'_>) -> Result<i64, StateError> {
    let sql = "UPDATE tidegate.sequence SET last = last + 1 RETURNING last";
    let found = rows(transaction, sql, &[]).await?;
    let next = found.first().map(|row| get(row, 0)).transpose()?;
    next.ok_or(StateError::NoTables)
}

async fn is_taken(
    transaction: &Transaction<'_>,
    name: &str,
    now: Timestamp,
) -> Result<bool, StateError> {
    let sql = "SELECT 1 FROM tidegate.tokens WHERE name = $1 AND (expires_at IS NULL OR expires_at > $2) AND NOT EXISTS (SELECT 1 FROM tidegate.revocations WHERE revocations.id = tokens.id) LIMIT 1";
    let now = now.as_microsecond();
    let found = rows(transaction, sql, &[(&name, Type::TEXT), (&now, Type::INT8)]).await?;
    Ok(!found.is_empty())
}

async fn free_name(
    transaction: &Transaction<'_>,
    name: &str,
    now: Timestamp,
) -> Result<String, StateError> {
    if !is_taken(transaction, name, now).await? {
        return Ok(name.to_owned());
    }
    let sql = "SELECT max(substr(name, length($1) + 2)::bigint) FROM tidegate.tokens WHERE name > $1 || '-' AND name < $1 || '.' AND substr(name, length($1) + 2) ~ '^[0-9]{1,15}$'";
    let found = rows(transaction, sql, &[(&name, Type::TEXT)]).await?;
    let last: Option<Option<i64>> = found.first().map(|row| get(row, 0)).transpose()?;
    let mut number = last.flatten().unwrap_or(1).max(1) + 1;
    loop {
        let numbered = format!("{name}-{number}");
        if !is_taken(transaction, &numbered, now).await? {
            return Ok(numbered);
        }
        number += 1;
    }
}

async fn insert(transaction: &Transaction<'_>, token: &Issued) -> Result<(), StateError> {
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
    let sequence = next(transaction).await?;
    let sql = format!(
        "INSERT INTO tidegate.tokens (sequence, {COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22)"
    );
    let (text, number, bytes) = (Type::TEXT, Type::INT8, Type::BYTEA);
    let params: [Param<'_>; 22] = [
        (&sequence, number.clone()),
        (&id, text.clone()),
        (&name, text.clone()),
        (&hash, bytes.clone()),
        (&old_hash, bytes),
        (&old_until, number.clone()),
        (&roles, text.clone()),
        (&vars, text.clone()),
        (&sources, text.clone()),
        (&created_at, number.clone()),
        (&not_before, number.clone()),
        (&expires_at, number.clone()),
        (&idle, number.clone()),
        (&max_uses, number.clone()),
        (&rate, text.clone()),
        (&owner, text.clone()),
        (&description, text.clone()),
        (&client_cert, text.clone()),
        (&made_by, text.clone()),
        (&parent, text.clone()),
        (&ceiling, text),
        (&report_until, number),
    ];
    run(transaction, &sql, &params).await
}

async fn revoke(transaction: &Transaction<'_>, id: &str, now: Timestamp) -> Result<(), StateError> {
    let (sequence, now) = (next(transaction).await?, now.as_microsecond());
    let sql = "INSERT INTO tidegate.revocations (id, sequence, revoked_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    let params: [Param<'_>; 3] = [
        (&id, Type::TEXT),
        (&sequence, Type::INT8),
        (&now, Type::INT8),
    ];
    run(transaction, sql, &params).await?;
    let sql = "UPDATE tidegate.tokens SET old_hash = NULL, old_until = NULL WHERE id = $1";
    run(transaction, sql, &[(&id, Type::TEXT)]).await
}

/// Notes that an identity was taken for this token; false if that may not be, as it was before.
async fn take(
    transaction: &Transaction<'_>,
    taken: &TakenIdentity,
    by: &TokenId,
    now: Timestamp,
) -> Result<bool, StateError> {
    let TakenIdentity {
        identity,
        rule,
        again,
        until,
    } = taken;
    let (identity, by) = (identity.as_slice(), by.as_str());
    if *again {
        let sql = "SELECT token FROM tidegate.taken WHERE identity = $1 AND rule = $2";
        let params: [Param<'_>; 2] = [(&identity, Type::BYTEA), (rule, Type::TEXT)];
        for row in rows(transaction, sql, &params).await? {
            revoke(transaction, get(&row, 0)?, now).await?;
        }
    } else {
        let sql = "SELECT 1 FROM tidegate.taken WHERE identity = $1 LIMIT 1";
        let found = rows(transaction, sql, &[(&identity, Type::BYTEA)]).await?;
        if !found.is_empty() {
            return Ok(false);
        }
    }
    let sql = "INSERT INTO tidegate.taken (identity, rule, token, until) VALUES ($1, $2, $3, $4) ON CONFLICT (identity, rule) DO UPDATE SET token = excluded.token, until = excluded.until";
    let until = until.as_microsecond();
    let params: [Param<'_>; 4] = [
        (&identity, Type::BYTEA),
        (rule, Type::TEXT),
        (&by, Type::TEXT),
        (&until, Type::INT8),
    ];
    run(transaction, sql, &params).await?;
    Ok(true)
}

/// A counter's row.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Counter {
    used: i64,
    last_used_at: Option<i64>,
    /// When the bucket of its rate is full again, in nanoseconds since 1970 by the server's clock.
    full_at: i64,
}

impl Counter {
    /// Makes a change at a time of the server's, in microseconds; the answer as [`Store::count`] gives it.
    fn change(&mut self, count: &Count, now: i64) -> Option<u64> {
        match count {
            Count::Take { most, .. } => {
                let most = i64::try_from(*most).unwrap_or(i64::MAX);
                (self.used < most).then(|| self.used += 1)?;
                u64::try_from(self.used).ok()
            }
            Count::GiveBack { .. } => {
                (self.used > 0).then(|| self.used -= 1)?;
                u64::try_from(self.used).ok()
            }
            Count::Touch { at, .. } => {
                self.last_used_at = self.last_used_at.max(Some(at.as_microsecond()));
                None
            }
            Count::TakeRate { rate, owed, .. } => Some(self.take_rate(*rate, *owed, now)),
        }
    }

    /// Takes what is owed, as far as it is there, and one more: how many nanoseconds to wait until that is there.
    fn take_rate(&mut self, rate: Rate, owed: u32, now: i64) -> u64 {
        let count = i64::from(rate.count.get());
        let per = i64::try_from(rate.per.as_nanos()).unwrap_or(i64::MAX);
        let (each, now) = ((per / count).max(1), now.saturating_mul(1000));
        let whole = each.saturating_mul(count);
        // A bucket that lacks more than it holds is one of a slower rate, or of a clock that was ahead.
        let full_at = self.full_at.clamp(now, now.saturating_add(whole));
        let there = (whole - (full_at - now)) / each;
        let spent = i64::from(owed).min(there);
        self.full_at = full_at.saturating_add(spent * each);
        let short = each - (whole - (self.full_at - now));
        if short > 0 {
            return u64::try_from(short).unwrap_or(1);
        }
        self.full_at = self.full_at.saturating_add(each);
        0
    }
}

/// The counters of these ids, locked in their order, and the server's time after that.
async fn counters(
    transaction: &Transaction<'_>,
    ids: &[&str],
) -> Result<(BTreeMap<String, Counter>, i64), StateError> {
    let params: [Param<'_>; 1] = [(&ids, Type::TEXT_ARRAY)];
    let add = "INSERT INTO tidegate.usage (id) SELECT id FROM unnest($1) AS id ORDER BY id ON CONFLICT (id) DO NOTHING";
    let find = "SELECT id, used, last_used_at, full_at FROM tidegate.usage WHERE id = ANY($1) ORDER BY id FOR UPDATE";
    // Sent at once, and done in this order: who has locked what is there waits for nobody who is adding a row.
    let (added, found, now) = tokio::join!(
        run(transaction, add, &params),
        rows(transaction, find, &params),
        server_time(transaction)
    );
    added?;
    let found = found?;
    let counter = |row: &Row| {
        let counter = Counter {
            used: get(row, 1)?,
            last_used_at: get(row, 2)?,
            full_at: get(row, 3)?,
        };
        Ok((get(row, 0)?, counter))
    };
    let counters = found
        .iter()
        .map(counter)
        .collect::<Result<_, StateError>>()?;
    Ok((counters, now?))
}

async fn keep_memory(
    transaction: &Transaction<'_>,
    by: &str,
    memory: &Memory,
    now: i64,
) -> Result<(), StateError> {
    let sequence = next(transaction).await?;
    let lasts = i64::try_from(memory.lasts.as_micros()).unwrap_or(i64::MAX);
    let (key, until) = (memory.key(by), now.saturating_add(lasts));
    let unwritten = |error: serde_json::Error| StateError::Row(error.to_string());
    let what = serde_json::to_string(&memory.what).map_err(unwritten)?;
    let sql = "INSERT INTO tidegate.memories (key, sequence, by, account, what, until) VALUES ($1, $2, $3, $4, $5, $6)
               ON CONFLICT (key) DO UPDATE SET sequence = excluded.sequence, by = excluded.by, what = excluded.what, until = excluded.until";
    let row: [Param<'_>; 6] = [
        (&key, Type::TEXT),
        (&sequence, Type::INT8),
        (&by, Type::TEXT),
        (&memory.account, Type::TEXT),
        (&what, Type::TEXT),
        (&until, Type::INT8),
    ];
    run(transaction, sql, &row).await
}

/// What daemons remember since a number of the sequence, in its order, as far as it is of use still.
async fn remembered(
    transaction: &Transaction<'_>,
    sequence: i64,
    take: &mut dyn FnMut(Changed),
) -> Result<(), StateError> {
    let now = server_time(transaction).await?;
    let since: [Param<'_>; 2] = [(&sequence, Type::INT8), (&now, Type::INT8)];
    let sql = "SELECT by, account, what, until FROM tidegate.memories WHERE sequence > $1 AND until > $2 ORDER BY sequence";
    each(transaction, sql, &since, |row| {
        // What a later tidegate remembers may be nothing that this one knows.
        if let Ok(what) = serde_json::from_str::<Happened>(get(row, 2)?) {
            let left = get::<i64>(row, 3)?.saturating_sub(now);
            let memory = Memory {
                account: get(row, 1)?,
                what,
                lasts: Duration::from_micros(u64::try_from(left).unwrap_or(0)),
            };
            take(Changed::Remembered(get(row, 0)?, memory));
        }
        Ok(())
    })
    .await
}

async fn server_time(transaction: &Transaction<'_>) -> Result<i64, StateError> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let found = rows(transaction, sql, &[]).await?;
    let now = found.first().map(|row| get(row, 0)).transpose()?;
    now.ok_or(StateError::NoTables)
}

async fn save(
    transaction: &Transaction<'_>,
    counters: &BTreeMap<String, Counter>,
    now: i64,
) -> Result<(), StateError> {
    let ids: Vec<&str> = counters.keys().map(String::as_str).collect();
    let used: Vec<i64> = counters.values().map(|counter| counter.used).collect();
    let last: Vec<Option<i64>> = counters
        .values()
        .map(|counter| counter.last_used_at)
        .collect();
    let full: Vec<i64> = counters.values().map(|counter| counter.full_at).collect();
    let sql = "UPDATE tidegate.usage SET used = new.used, last_used_at = new.last, full_at = new.full_at, changed_at = $5
               FROM unnest($1, $2, $3, $4) AS new (id, used, last, full_at) WHERE usage.id = new.id";
    let params: [Param<'_>; 5] = [
        (&ids, Type::TEXT_ARRAY),
        (&used, Type::INT8_ARRAY),
        (&last, Type::INT8_ARRAY),
        (&full, Type::INT8_ARRAY),
        (&now, Type::INT8),
    ];
    run(transaction, sql, &params).await
}

impl Store for Postgres {
    fn is_shared(&self) -> bool {
        true
    }

    /// Through a pooler that gives a connection for each transaction nothing is heard; then the looks alone tell.
    fn wake(&self, wake: Wake) {
        let Some(runtime) = &self.runtime else { return };
        let (config, tls) = (self.config.clone(), self.tls.clone());
        runtime.spawn(async move {
            loop {
                listen(&config, tls.as_ref(), &wake).await;
                sleep(DEAF).await;
            }
        });
    }

    fn remember(&mut self, by: &str, memories: &[Memory]) -> Result<(), StateError> {
        self.change(async |transaction| {
            let now = server_time(transaction).await?;
            for memory in memories {
                keep_memory(transaction, by, memory, now).await?;
            }
            Ok(())
        })
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
        self.write(async |transaction| run(transaction, "DELETE FROM tidegate.marks", &[]).await)?;
        self.raise(LATEST, now)
    }

    fn issue_all(&mut self, tokens: &[Issued], now: Timestamp) -> Result<(), StateError> {
        self.change(async |transaction| {
            for token in tokens {
                if is_taken(transaction, &token.name, now).await? {
                    return Err(StateError::NameTaken(token.name.clone()));
                }
                insert(transaction, token).await?;
            }
            Ok(())
        })
    }

    fn revoke_all(&mut self, ids: &[TokenId], now: Timestamp) -> Result<(), StateError> {
        self.change(async |transaction| {
            for id in ids {
                revoke(transaction, id.as_str(), now).await?;
            }
            Ok(())
        })
    }

    fn rotate(
        &mut self,
        id: &TokenId,
        hash: &SecretHash,
        grace: Option<Timestamp>,
    ) -> Result<(), StateError> {
        let sql = "UPDATE tidegate.tokens SET sequence = $2, old_hash = CASE WHEN $4 IS NULL THEN NULL ELSE hash END, old_until = $4, hash = $3 WHERE id = $1";
        let (id, hash) = (id.as_str(), hash.as_bytes().as_slice());
        let grace = grace.map(Timestamp::as_microsecond);
        self.change(async |transaction| {
            let sequence = next(transaction).await?;
            let params: [Param<'_>; 4] = [
                (&id, Type::TEXT),
                (&sequence, Type::INT8),
                (&hash, Type::BYTEA),
                (&grace, Type::INT8),
            ];
            run(transaction, sql, &params).await
        })
    }

    fn exchange_all(
        &mut self,
        asked: Vec<(Issued, TakenIdentity)>,
        now: Timestamp,
    ) -> Result<Vec<Option<Issued>>, StateError> {
        self.change(async |transaction| {
            let mut kept = Vec::with_capacity(asked.len());
            for (mut issued, taken) in asked {
                if !take(transaction, &taken, &issued.id, now).await? {
                    kept.push(None);
                    continue;
                }
                issued.name = free_name(transaction, &issued.name, now).await?;
                insert(transaction, &issued).await?;
                kept.push(Some(issued));
            }
            Ok(kept)
        })
    }

    fn children(&self, parent: &TokenId) -> Result<Vec<ListedToken>, StateError> {
        self.listed_where("tokens.parent = $1 ORDER BY tokens.name", parent.as_str())
    }

    fn delegate(&mut self, token: &Issued, most: u32, now: Timestamp) -> Result<bool, StateError> {
        let Some(parent) = token.maker.as_deref().and_then(Maker::parent) else {
            return Ok(false);
        };
        let sql = "SELECT made_by FROM tidegate.tokens LEFT JOIN tidegate.usage USING (id) WHERE parent = $1 AND expires_at > $2 AND (max_uses IS NULL OR max_uses > coalesce(used, 0)) AND NOT EXISTS (SELECT 1 FROM tidegate.revocations WHERE revocations.id = tokens.id)";
        let (id, now) = (parent.id.as_str(), now.as_microsecond());
        self.change(async |transaction| {
            let living = rows(transaction, sql, &[(&id, Type::TEXT), (&now, Type::INT8)]).await?;
            let mut count = 0;
            for row in living {
                let maker = Maker::from_json(get(&row, 0)?);
                let of_secret = maker.as_ref().and_then(Maker::parent);
                count += u32::from(of_secret.is_some_and(|it| it.hash.matches(&parent.hash)));
            }
            if count >= most {
                return Ok(false);
            }
            insert(transaction, token).await?;
            Ok(true)
        })
    }

    fn sweep(&mut self, ended: Timestamp, now: Timestamp) -> Result<(), StateError> {
        let (ended, now) = (ended.as_microsecond(), now.as_microsecond());
        self.change(async |transaction| {
            let gone = "SELECT id FROM tidegate.tokens WHERE made_by IS NOT NULL AND (expires_at < $1 OR id IN (SELECT id FROM tidegate.revocations WHERE revoked_at < $1))";
            let gone = rows(transaction, gone, &[(&ended, Type::INT8)]).await?;
            let gone: Vec<&str> = gone.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
            for table in ["tokens", "usage", "revocations"] {
                let sql = format!("DELETE FROM tidegate.{table} WHERE id = ANY($1)");
                run(transaction, &sql, &[(&gone, Type::TEXT_ARRAY)]).await?;
            }
            for table in ["taken", "memories"] {
                let sql = format!("DELETE FROM tidegate.{table} WHERE until < $1");
                run(transaction, &sql, &[(&now, Type::INT8)]).await?;
            }
            Ok(())
        })
    }

    fn find(&self, id: &str) -> Result<Option<Issued>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM tidegate.tokens WHERE id = $1");
        self.read(self.patience, async |transaction| {
            let found = rows(transaction, &sql, &[(&id, Type::TEXT)]).await?;
            let row = found.first().map(token_row).transpose()?;
            row.map(|row| SharedColumns::default().issued(row))
                .transpose()
        })
    }

    fn named(&self, wanted: &str) -> Result<Vec<ListedToken>, StateError> {
        self.listed_where("tokens.id = $1 OR tokens.name = $1", wanted)
    }

    fn owned_by(&self, owner: &str) -> Result<Vec<TokenId>, StateError> {
        let sql = "SELECT id FROM tidegate.tokens WHERE owner = $1";
        self.read(self.patience, async |transaction| {
            let found = rows(transaction, sql, &[(&owner, Type::TEXT)]).await?;
            found.iter().map(|row| token_id(get(row, 0)?)).collect()
        })
    }

    fn revoked_at(&self, id: &TokenId) -> Result<Option<Timestamp>, StateError> {
        let sql = "SELECT revoked_at FROM tidegate.revocations WHERE id = $1";
        self.read(self.patience, async |transaction| {
            let found = rows(transaction, sql, &[(&id.as_str(), Type::TEXT)]).await?;
            let at = found.first().map(|row| get::<i64>(row, 0)).transpose()?;
            at.map(time).transpose()
        })
    }

    fn usage(&self, id: &TokenId) -> Result<Usage, StateError> {
        let sql = "SELECT used, last_used_at FROM tidegate.usage WHERE id = $1";
        self.read(self.patience, async |transaction| {
            let found = rows(transaction, sql, &[(&id.as_str(), Type::TEXT)]).await?;
            let Some(row) = found.first() else {
                return Ok(Usage::default());
            };
            usage(get(row, 0)?, get(row, 1)?)
        })
    }

    fn each_since(&self, sequence: i64, take: &mut dyn FnMut(Changed)) -> Result<i64, StateError> {
        let patience = if sequence == 0 { WHOLE } else { self.patience };
        let sql = "SELECT last FROM tidegate.sequence";
        // Most looks find nothing new: they take one way to the server and back.
        let unchanged = self.run(patience, async |client| {
            let found = client.query_typed(sql, &[]).await.map_err(failed)?;
            let last = found.first().map(|row| get::<i64>(row, 0)).transpose()?;
            Ok(sequence > 0 && last == Some(sequence))
        })?;
        if unchanged {
            return Ok(sequence);
        }
        self.read(patience, async |transaction| {
            let found = rows(transaction, sql, &[]).await?;
            let last = found.first().map(|row| get::<i64>(row, 0)).transpose()?;
            let last = last.ok_or(StateError::NoTables)?;
            if last == sequence {
                return Ok(last);
            }
            if last < sequence {
                return Err(StateError::WentBack(sequence, last));
            }
            let since: [Param<'_>; 1] = [(&sequence, Type::INT8)];
            let sql = format!("SELECT {COLUMNS} FROM tidegate.tokens WHERE sequence > $1");
            let mut alike = SharedColumns::default();
            each(transaction, &sql, &since, |row| {
                take(Changed::Issued(alike.issued(token_row(row)?)?));
                Ok(())
            })
            .await?;
            let sql = "SELECT id, revoked_at FROM tidegate.revocations WHERE sequence > $1";
            each(transaction, sql, &since, |row| {
                let id = token_id(get(row, 0)?)?;
                take(Changed::Revoked(id, time(get(row, 1)?)?));
                Ok(())
            })
            .await?;
            remembered(transaction, sequence, take).await?;
            Ok(last)
        })
    }

    /// A database that went back is told by its sequence.
    fn is_in_place(&self) -> Result<(), StateError> {
        Ok(())
    }

    fn each_usage(&self, take: &mut dyn FnMut(TokenId, Usage)) -> Result<(), StateError> {
        self.each_use_since(0, take).map(drop)
    }

    fn each_use_since(
        &self,
        changed: i64,
        take: &mut dyn FnMut(TokenId, Usage),
    ) -> Result<i64, StateError> {
        let patience = if changed == 0 { WHOLE } else { self.patience };
        let sql = "SELECT id, used, last_used_at FROM tidegate.usage WHERE changed_at >= $1";
        self.read(patience, async |transaction| {
            let now = server_time(transaction).await?;
            each(transaction, sql, &[(&changed, Type::INT8)], |row| {
                if let Ok(id) = get::<&str>(row, 0)?.parse() {
                    take(id, usage(get(row, 1)?, get(row, 2)?)?);
                }
                Ok(())
            })
            .await?;
            Ok(now.saturating_sub(OVERLAP).max(1))
        })
    }

    fn each_taken(&self, take: &mut dyn FnMut(TakenFor)) -> Result<(), StateError> {
        let sql = "SELECT identity, rule, token, until FROM tidegate.taken";
        self.read(WHOLE, async |transaction| {
            each(transaction, sql, &[], |row| {
                let identity = get::<Vec<u8>>(row, 0)?;
                take(TakenFor::read(
                    identity,
                    get(row, 1)?,
                    get(row, 2)?,
                    get(row, 3)?,
                )?);
                Ok(())
            })
            .await
        })
    }

    fn merge_revoked(&mut self, revoked: &[(TokenId, Timestamp)]) -> Result<(), StateError> {
        let sql =
            "UPDATE tidegate.revocations SET revoked_at = $2 WHERE id = $1 AND revoked_at > $2";
        self.change(async |transaction| {
            for (id, at) in revoked {
                revoke(transaction, id.as_str(), *at).await?;
                let (id, at) = (id.as_str(), at.as_microsecond());
                run(transaction, sql, &[(&id, Type::TEXT), (&at, Type::INT8)]).await?;
            }
            Ok(())
        })
    }

    fn merge_used(&mut self, used: &[UsedToken]) -> Result<(), StateError> {
        let sql = "INSERT INTO tidegate.usage AS usage (id, used, last_used_at) SELECT * FROM unnest($1, $2, $3) AS new (id, used, last) ORDER BY id
                   ON CONFLICT (id) DO UPDATE SET used = greatest(usage.used, excluded.used), last_used_at = greatest(usage.last_used_at, excluded.last_used_at)";
        let ids: Vec<&str> = used.iter().map(|(id, _)| id.as_str()).collect();
        let counts: Vec<i64> = used
            .iter()
            .map(|(_, usage)| i64::try_from(usage.used).unwrap_or(i64::MAX))
            .collect();
        let last: Vec<Option<i64>> = used
            .iter()
            .map(|(_, usage)| usage.last_used_at.map(Timestamp::as_microsecond))
            .collect();
        let params: [Param<'_>; 3] = [
            (&ids, Type::TEXT_ARRAY),
            (&counts, Type::INT8_ARRAY),
            (&last, Type::INT8_ARRAY),
        ];
        self.write(async |transaction| run(transaction, sql, &params).await)
    }

    fn merge_taken(&mut self, taken: &[TakenFor]) -> Result<(), StateError> {
        let sql = "INSERT INTO tidegate.taken (identity, rule, token, until) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        self.change(async |transaction| {
            for TakenFor { taken, token: by } in taken {
                let (identity, by) = (taken.identity.as_slice(), by.as_str());
                let until = taken.until.as_microsecond();
                let row: [Param<'_>; 4] = [
                    (&identity, Type::BYTEA),
                    (&taken.rule, Type::TEXT),
                    (&by, Type::TEXT),
                    (&until, Type::INT8),
                ];
                run(transaction, sql, &row).await?;
            }
            Ok(())
        })
    }

    fn merge_tokens(&mut self, tokens: &[Issued]) -> Result<(u64, Vec<TokenId>), StateError> {
        let now = Timestamp::now();
        let sql = format!("SELECT {COLUMNS} FROM tidegate.tokens WHERE id = ANY($1)");
        let update = "UPDATE tidegate.tokens SET sequence = $2, hash = $3, old_hash = $4, old_until = $5 WHERE id = $1";
        let ids: Vec<&str> = tokens.iter().map(|token| token.id.as_str()).collect();
        self.change(async |transaction| {
            let mut alike = SharedColumns::default();
            let found = rows(transaction, &sql, &[(&ids, Type::TEXT_ARRAY)]).await?;
            let there = found.iter().map(|row| alike.issued(token_row(row)?));
            let there: Vec<Issued> = there.collect::<Result<_, StateError>>()?;
            let there: BTreeMap<&str, &Issued> = there
                .iter()
                .map(|token| (token.id.as_str(), token))
                .collect();
            let (mut new, mut undecided) = (0, Vec::new());
            for token in tokens {
                match there
                    .get(token.id.as_str())
                    .map(|there| merged(there, token))
                {
                    Some(Merged::Stays) => {}
                    Some(Merged::Becomes) => {
                        let sequence = next(transaction).await?;
                        let TokenRow {
                            id,
                            hash,
                            old_hash,
                            old_until,
                            ..
                        } = TokenRow::of(token);
                        let row: [Param<'_>; 5] = [
                            (&id, Type::TEXT),
                            (&sequence, Type::INT8),
                            (&hash, Type::BYTEA),
                            (&old_hash, Type::BYTEA),
                            (&old_until, Type::INT8),
                        ];
                        run(transaction, update, &row).await?;
                    }
                    Some(Merged::Ends) => {
                        revoke(transaction, token.id.as_str(), now).await?;
                        undecided.push(token.id.clone());
                    }
                    None => {
                        insert(transaction, token).await?;
                        new += 1;
                    }
                }
            }
            Ok((new, undecided))
        })
    }

    fn count(&mut self, counts: &[Count]) -> Result<Vec<Option<u64>>, StateError> {
        let ids: BTreeSet<&str> = counts.iter().map(|count| count.id().as_str()).collect();
        let ids: Vec<&str> = ids.into_iter().collect();
        self.write(async |transaction| {
            let (mut counters, now) = counters(transaction, &ids).await?;
            let answers = counts.iter().map(|count| {
                let counter = counters.get_mut(count.id().as_str());
                counter.and_then(|counter| counter.change(count, now))
            });
            let answers = answers.collect();
            save(transaction, &counters, now).await?;
            Ok(answers)
        })
    }
}
