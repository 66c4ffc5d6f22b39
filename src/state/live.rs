use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;
use tracing::{error, info};

use super::StatePlace;
use super::kept_token::KeptToken;
use super::maker::TakenIdentity;
use super::memory::{Hearing, Memory};
use super::record::{Changed, Changes, Count, Issued, StateError};
use super::sqlite::Sqlite;
use super::store::Store;
use super::token_fate::{SeenToken, TokenFate};
use crate::metrics::Times;
use crate::policy::{Ceiling, FileToken, Grants, Policy, Unbound};
use crate::table::Table;
use crate::token::{Moment, SubToken, Time, TokenId, TokenStanding, Usage, standing};
use crate::units::Rate;

/// The tokens as the daemon holds them: in memory, kept up with the state file by one thread, and counted by another.
///
/// Reading it takes no lock. An id that it does not know is looked up in the file once, so that a token works as soon as
/// it was issued; everything else is seen within a fifth of a second.
pub struct Live {
    shards: Vec<ArcSwap<Shard>>,
    started: Instant,
    /// The time that tokens are judged by.
    time: Time,
    /// Until when the record went on without this state, if that is an older copy.
    older_than: Option<Timestamp>,
    read_at: AtomicU64,
    /// Whether the last thing that was to be written down in the state could not be.
    unwritable: Arc<AtomicBool>,
    /// Whether other daemons have the state open.
    is_shared: bool,
    /// How long requests waited for it.
    waited: Arc<Times>,
    /// Whether it answered when it was asked last.
    up: Arc<AtomicBool>,
    /// How old what is known may be.
    stale: Duration,
    /// By what name others know who remembers something for them.
    name: String,
    /// What others remember.
    hearing: Mutex<Hearing>,
    reader: Sender<ReaderTask>,
    writer: Sender<Work>,
    /// As long as the thread that counts lives.
    writing: Weak<()>,
    /// The thread that counts. It sleeps in a way that handing in what nobody waits for does not end, as to wake it takes
    /// longer than a request.
    counter: OnceLock<Thread>,
    /// Whether it sleeps for longer than who exchanges an identity is to wait.
    dozing: Arc<AtomicBool>,
}

type Shard = Table<TokenId, TokenEntry>;

/// How many tokens there are.
#[derive(Debug)]
pub struct Counted {
    /// In which state.
    pub by_state: Vec<(&'static str, u64)>,
    /// How many active ones, of those that somebody issued, end within what.
    pub ending: Vec<(&'static str, u64)>,
}

/// Within what an end is told.
const ENDING: [(&str, SignedDuration); 3] = [
    ("1d", SignedDuration::from_hours(24)),
    ("7d", SignedDuration::from_hours(7 * 24)),
    ("30d", SignedDuration::from_hours(30 * 24)),
];

/// The policy in force, and its tokens by their ids.
#[derive(Clone, Copy)]
pub struct InForce<'p> {
    /// The policy.
    pub policy: &'p Policy,
    /// At which place among its tokens an id stands.
    pub places: &'p Table<TokenId, usize>,
}

impl InForce<'_> {
    /// The token of its file that has an id.
    pub fn file_token(&self, id: &TokenId) -> Option<&Arc<FileToken>> {
        self.policy.tokens.get(*self.places.get(id)?)
    }
}

/// What is known of one id.
#[derive(Clone, Default)]
pub struct TokenEntry {
    /// The issued token; none for one of the policy file.
    pub issued: Option<Arc<Issued>>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How the issued one is being used.
    pub activity: Arc<Activity>,
    /// How the one of the policy file is being used, once it was: it is another token with other grants, even where somebody
    /// gave both the same id.
    listed: Option<Arc<Activity>>,
}

/// Where a token is kept: in either place an id stands for a token of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeptIn {
    /// The policy file.
    Policy,
    /// The state.
    State,
}

/// How a token is being used, whichever version of its record holds.
pub struct Activity {
    used: AtomicU64,
    last_used: AtomicI64,
    unsaved: AtomicBool,
    bucket: ArcSwapOption<Bucket>,
    /// What is still to be taken out of a bucket that is kept elsewhere.
    owed: AtomicU32,
    bound: ArcSwapOption<(u64, Weak<Grants>)>,
}

struct Bucket {
    rate: Rate,
    limiter: DefaultDirectRateLimiter,
}

enum ReaderTask {
    Find(TokenId, oneshot::Sender<()>),
    Refresh(oneshot::Sender<()>),
    /// Somebody changed something.
    Changed,
}

/// A change that is made where the store is.
type Making = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// What is to be written down.
enum Work {
    Count(Counting),
    Exchange(Box<Exchanging>),
    /// A change of tokens, and the answer to who asked for it.
    Change(Making),
}

struct Counting {
    count: Count,
    activity: Arc<Activity>,
    answer: Option<oneshot::Sender<Result<Option<u64>, Unavailable>>>,
}

/// A token that an identity is exchanged for.
struct Exchanging {
    token: Issued,
    identity: TakenIdentity,
    answer: oneshot::Sender<Result<Option<Issued>, Unavailable>>,
}

/// The state could not be read or written, so nothing can be said about a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unavailable;

/// How often the state file is looked at.
pub const INTERVAL: Duration = Duration::from_millis(200);
/// How old what is known may be.
const STALE: Duration = Duration::from_secs(1);
/// How long to wait for a look that is due.
const PATIENCE: Duration = Duration::from_millis(800);
/// How long to wait to write a count down.
const COUNTING: Duration = Duration::from_secs(5);
/// How long a look at a state that is shared may take, and a count in it: who waits for a look waits longer than one.
const LOOKING: Duration = Duration::from_millis(600);
const SHARED_COUNTING: Duration = Duration::from_secs(2);
/// How long a request waits for what is remembered for others to be written down.
const REMEMBERING: Duration = Duration::from_millis(500);
/// How often it is asked how others used their tokens.
const OTHERS: Duration = Duration::from_secs(2);
const SHARDS: usize = 256;
/// How long exchanges may come together: who proves who it is can wait, and many of them shall not mean as many durable steps.
const TOGETHER: Duration = Duration::from_millis(4);
/// How long what nobody waits for may come together: one write a second is enough.
const DOZE: Duration = Duration::from_millis(500);
/// The time of last use of a token that was never used.
const NEVER: i64 = i64::MIN;
/// How many counts, or exchanges, one durable step takes at most.
const BATCH: usize = 512;

impl Live {
    /// Opens the state, reads it whole, and starts the two threads that keep up with it. The record, where there is one, goes
    /// on until `recorded`: a state that was in use last well before that is a copy from before.
    ///
    /// # Errors
    /// `StateError` if it can't be read now; later failures refuse requests instead.
    pub fn open(place: &StatePlace, recorded: Option<Timestamp>) -> Result<Arc<Self>, StateError> {
        let (looking, counting, stale) = match place {
            StatePlace::File(_) => (PATIENCE, COUNTING, STALE),
            StatePlace::Postgres(database) => (LOOKING, SHARED_COUNTING, database.stale_for),
        };
        super::made_ready(place)?;
        let reading = super::open(place, looking)?;
        let counting = super::open(place, counting)?;
        // What is read of it is held here, so that it need not hold that too.
        reading.cache_little()?;
        counting.cache_little()?;
        Self::over(reading, counting, recorded, stale)
    }

    /// The same for a state that is in memory alone, under this name.
    ///
    /// # Errors
    /// `StateError`.
    pub fn in_memory(name: &TokenId) -> Result<Arc<Self>, StateError> {
        let reading = Sqlite::in_memory(name, PATIENCE)?;
        let counting = Sqlite::in_memory(name, COUNTING)?;
        Self::over(Box::new(reading), Box::new(counting), None, STALE)
    }

    fn over(
        mut store: Box<dyn Store>,
        counting: Box<dyn Store>,
        recorded: Option<Timestamp>,
        stale: Duration,
    ) -> Result<Arc<Self>, StateError> {
        let (time, older_than) = time_of(&mut *store, recorded)?;
        let is_shared = store.is_shared();
        let started = Instant::now();
        let begun = Duration::ZERO;
        let up = Arc::new(AtomicBool::new(true));
        let counting_up = up.clone();
        let mut hearing = Hearing::default();
        let (shards, sequence) = read(&*store, &mut hearing)?;
        let (reader, questions) = channel();
        let woken = reader.clone();
        store.wake(Box::new(move || _ = woken.send(ReaderTask::Changed)));
        let (writer, counts) = channel();
        let counting_lives = Arc::new(());
        let dozing = Arc::<AtomicBool>::default();
        let dozes = dozing.clone();
        let unwritable = Arc::<AtomicBool>::default();
        let writable = unwritable.clone();
        let live = Arc::new(Self {
            shards,
            started,
            time,
            older_than,
            read_at: AtomicU64::new(0),
            unwritable,
            is_shared,
            waited: Arc::default(),
            up,
            stale,
            name: SubToken::generate().map_err(unnamed)?.id.to_string(),
            hearing: Mutex::new(hearing),
            reader,
            writer,
            writing: Arc::downgrade(&counting_lives),
            counter: OnceLock::new(),
            dozing,
        });
        live.mark_read(begun);
        let reader = StateReader::new(store, sequence, Arc::downgrade(&live));
        named_thread("state-reader", move || reader.run(&questions))?;
        let counter = named_thread("state-writer", move || {
            write(counting, &counts, &dozes, &writable, &counting_up);
            drop(counting_lives); // and so it is in a panic
        })?;
        let _ = live.counter.set(counter.thread().clone());
        Ok(live)
    }

    fn shard_number(id: &TokenId) -> usize {
        id.as_bytes().iter().take(4).fold(0, |sum: usize, byte| {
            sum.wrapping_mul(67).wrapping_add(usize::from(*byte))
        }) % SHARDS
    }

    /// The time that tokens are judged by, now.
    pub fn now(&self) -> Moment {
        self.time.now()
    }

    /// What whoever runs tidegate should know of the state and of the clock.
    pub fn doubts(&self) -> Vec<String> {
        let older = self
            .older_than
            .map(|recorded| OlderState(recorded).to_string());
        let behind = self.now().behind();
        let behind = behind.map(|behind| BehindClock(behind).to_string());
        older.into_iter().chain(behind).collect()
    }

    /// How many living tokens have a role, variable or ceiling that a policy does not have: they are refused whole.
    pub fn unusable(&self, policy: &Policy) -> usize {
        let now = self.now();
        let mut unusable = 0;
        self.each_issued(|token| {
            let lives = matches!(
                standing(&token.admission(), now),
                TokenStanding::Active | TokenStanding::NotYetValid
            );
            let is_lost = || token.kept.unbound(policy, now.latest).is_some();
            unusable += usize::from(lives && is_lost());
        });
        unusable
    }

    /// What keeps the state from being used now: each makes requests fail.
    pub async fn failures(&self) -> Vec<&'static str> {
        let mut failures = Vec::new();
        if self.fresh().await.is_err() {
            failures
                .push("the state can't be read, so requests are refused (503); the log says why");
        }
        if self.unwritable.load(Ordering::Acquire) {
            failures.push("uses can't be written down in the state, so requests that need it are refused (503); the log says why");
        }
        failures
    }

    /// What is known of an id, looked up in the file if that is nothing.
    ///
    /// # Errors
    /// `Unavailable` if the state could not be read for over a second.
    pub async fn entry(
        &self,
        id: &TokenId,
        in_policy: bool,
    ) -> Result<Option<TokenEntry>, Unavailable> {
        self.fresh().await?;
        let known = self.known(id);
        // Of one that was issued elsewhere just now, its uses may be known before it is.
        let is_whole = |entry: &TokenEntry| entry.issued.is_some() || entry.revoked_at.is_some();
        if in_policy || known.as_ref().is_some_and(is_whole) {
            return Ok(known); // a revocation comes with the next look, as for every other token
        }
        self.reachable()?;
        let (asked, answered) = oneshot::channel();
        let ask = self.ask(ReaderTask::Find(id.clone(), asked), answered);
        Box::pin(ask).await?; // seldom: every request that is answered has room for it
        Ok(self.known(id))
    }

    fn known(&self, id: &TokenId) -> Option<TokenEntry> {
        self.shards
            .get(Self::shard_number(id))?
            .load()
            .get(id)
            .cloned()
    }

    /// Whether the two threads live and the one that reads answers in time, be it that it can't read. For systemd's watchdog.
    pub async fn is_kept(&self) -> bool {
        let (asked, answered) = oneshot::channel();
        let reads = self.ask(ReaderTask::Refresh(asked), answered).await;
        reads.is_ok() && self.writing.strong_count() > 0
    }

    async fn fresh(&self) -> Result<(), Unavailable> {
        if self.age() <= self.stale {
            return Ok(());
        }
        self.reachable()?;
        let (asked, answered) = oneshot::channel();
        Box::pin(self.ask(ReaderTask::Refresh(asked), answered)).await?;
        if self.age() <= self.stale {
            Ok(())
        } else {
            Err(Unavailable)
        }
    }

    /// Nobody waits for a state elsewhere that did not answer just now; it is asked on and on.
    fn reachable(&self) -> Result<(), Unavailable> {
        if self.is_up() {
            Ok(())
        } else {
            Err(Unavailable)
        }
    }

    /// Whether the state answered when it was asked last.
    pub fn is_up(&self) -> bool {
        !self.is_shared || self.up.load(Ordering::Acquire)
    }

    /// Whether a state elsewhere answers, and how long requests waited for it; nothing of one that is here.
    pub fn store(&self) -> Option<(bool, Arc<Times>)> {
        self.is_shared.then(|| (self.is_up(), self.waited.clone()))
    }

    /// Whether other daemons have the state open.
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    async fn ask(
        &self,
        question: ReaderTask,
        answered: oneshot::Receiver<()>,
    ) -> Result<(), Unavailable> {
        self.reader.send(question).map_err(|_| Unavailable)?;
        match tokio::time::timeout(PATIENCE, answered).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Unavailable),
        }
    }

    fn age(&self) -> Duration {
        let read_at = Duration::from_millis(self.read_at.load(Ordering::Acquire));
        self.started.elapsed().saturating_sub(read_at)
    }

    /// What is known is of this time at least, since the start.
    fn mark_read(&self, at: Duration) {
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.read_at.store(at, Ordering::Release);
    }

    fn used_elsewhere(&self, id: TokenId, usage: Usage) {
        match self.known(&id) {
            Some(entry) => {
                entry.activity.hear(usage);
                if let Some(listed) = &entry.listed {
                    listed.hear(usage);
                }
            }
            None => self.change(std::iter::once((id, EntryChange::Used(usage)))),
        }
    }

    fn apply(&self, changes: Changes) -> i64 {
        let issued = changes
            .issued
            .into_iter()
            .map(|token| (token.id.clone(), EntryChange::issued(token)));
        let revoked = changes
            .revoked
            .into_iter()
            .map(|(id, at)| (id, EntryChange::Revoked(at)));
        self.change(issued.chain(revoked));
        let of_others = changes
            .remembered
            .into_iter()
            .filter(|(by, _)| *by != self.name);
        for (_, memory) in of_others {
            self.hearing().tell(memory);
        }
        changes.sequence
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what other daemons remember, from now on and what they did until now.
    pub fn hear(&self, hearer: impl Fn(Memory) + Send + Sync + 'static) {
        self.hearing().listen(Box::new(hearer));
    }

    /// Keeps what happened here for other daemons, where there are any, before who asked is told of it: the next one may ask there. It
    /// is nothing that a request must have: a state that is away is not waited for, and one that is slow not for long.
    pub async fn remember(&self, memories: Vec<Memory>) {
        if !self.is_shared || memories.is_empty() || !self.is_up() {
            return;
        }
        let name = self.name.clone();
        let written = self.change_state(move |state| state.remember(&name, &memories));
        let _ = tokio::time::timeout(REMEMBERING, written).await;
    }

    /// The same of what nobody waits for.
    pub fn remember_soon(&self, memory: Memory) {
        if !self.is_shared || !self.is_up() {
            return;
        }
        let name = self.name.clone();
        let run = move |state: &mut dyn Store| {
            if let Err(error) = state.remember(&name, &[memory]) {
                error!(%error, "what other daemons should know can't be written down");
            }
        };
        if self.writer.send(Work::Change(Box::new(run))).is_ok() {
            self.wake_counter();
        }
    }

    /// Looks what others changed, now, if there are others.
    pub async fn look(&self) {
        if self.is_shared && self.is_up() {
            let (asked, answered) = oneshot::channel();
            let _ = self.ask(ReaderTask::Refresh(asked), answered).await;
        }
    }

    /// Makes changes, each shard being replaced once.
    fn change(&self, changes: impl Iterator<Item = (TokenId, EntryChange)>) {
        let mut by_shard: HashMap<usize, Vec<(TokenId, EntryChange)>> = HashMap::new();
        for (id, change) in changes {
            by_shard
                .entry(Self::shard_number(&id))
                .or_default()
                .push((id, change));
        }
        for (number, changes) in by_shard {
            let Some(shard) = self.shards.get(number) else {
                continue;
            };
            shard.rcu(|entries| {
                let mut entries = Shard::clone(entries);
                for (id, change) in &changes {
                    entries.entry(id.clone()).or_default().take(change);
                }
                entries
            });
        }
    }

    /// Forgets what nobody issued by hand and what ended before a time.
    fn forget(&self, ended: Timestamp) {
        let gone = |entry: &TokenEntry| {
            let made = entry
                .issued
                .as_ref()
                .filter(|issued| issued.maker.is_some());
            made.is_some_and(|issued| {
                let ends = issued.limits.expires_at.into_iter().chain(entry.revoked_at);
                ends.min().is_some_and(|end| end < ended)
            })
        };
        for shard in &self.shards {
            if shard.load().values().any(gone) {
                shard.rcu(|entries| {
                    let mut entries = Shard::clone(entries);
                    entries.retain(|_, entry| !gone(entry));
                    entries
                });
            }
        }
    }

    /// How many tokens are in which state, those of the policy file included. It reads what is in memory as it stands, and no
    /// request waits for it.
    pub fn count(&self, in_force: InForce<'_>, now: Moment) -> Counted {
        let states = [
            TokenFate::Own(TokenStanding::Active),
            TokenFate::Own(TokenStanding::Expired),
            TokenFate::Own(TokenStanding::NotYetValid),
            TokenFate::Own(TokenStanding::Revoked),
            TokenFate::RoleMissing,
        ];
        let mut counts = states.map(|fate| (fate.as_str(), 0));
        let mut ending = ENDING.map(|(within, _)| (within, 0));
        self.each(in_force, |token| {
            let fate = self.fate(token, in_force, now);
            let state = fate.as_str();
            if let Some((_, count)) = counts.iter_mut().find(|(name, _)| *name == state) {
                *count += 1;
            }
            // What was exchanged or handed on ends before long as it was meant to.
            let is_issued = token.kept.parent().is_none() && token.kept.rule().is_none();
            let ends = token.kept.limits().expires_at;
            if let Some(ends) =
                ends.filter(|_| is_issued && fate == TokenFate::Own(TokenStanding::Active))
            {
                let left = ends.duration_since(now.latest);
                for ((_, within), (_, count)) in ENDING.iter().zip(&mut ending) {
                    *count += u64::from(left <= *within);
                }
            }
        });
        Counted {
            by_state: counts.to_vec(),
            ending: ending.to_vec(),
        }
    }

    /// How a token stands, with the token that made it as that is in memory.
    pub fn fate(&self, token: &SeenToken, in_force: InForce<'_>, now: Moment) -> TokenFate {
        token.fate(in_force.policy, now, |parent| {
            let entry = self.known(&parent.id).unwrap_or_default();
            let in_policy = in_force.file_token(&parent.id);
            let issued = entry.issued.clone();
            let matching = KeptToken::matching(in_policy, issued, &parent.hash, now.latest);
            matching.map(|(kept, _)| entry.seen(kept))
        })
    }

    /// Each token, those of the policy file last: as they are in memory, and no request waits for it.
    pub fn each(&self, in_force: InForce<'_>, mut take: impl FnMut(&SeenToken)) {
        self.each_issued(&mut take);
        for token in &in_force.policy.tokens {
            let entry = self.known(&token.id).unwrap_or_default();
            take(&entry.seen(KeptToken::Listed(token.clone())));
        }
    }

    fn each_issued(&self, mut take: impl FnMut(&SeenToken)) {
        for shard in &self.shards {
            for entry in shard.load_full().values() {
                if let Some(issued) = &entry.issued {
                    take(&entry.seen(KeptToken::Issued(issued.clone())));
                }
            }
        }
    }

    /// The activity of a token: of one of the policy file made at its first use, of an issued one in its entry.
    pub fn activity(&self, id: &TokenId, kept_in: KeptIn) -> Arc<Activity> {
        let there = |entry: TokenEntry| match kept_in {
            KeptIn::Policy => entry.listed,
            KeptIn::State => Some(entry.activity),
        };
        if let Some(activity) = self.known(id).and_then(there) {
            return activity;
        }
        self.change(std::iter::once((id.clone(), EntryChange::Seen)));
        self.known(id).and_then(there).unwrap_or_default()
    }

    /// Takes one of `most` uses, durably, before a request goes. False if there are none left.
    ///
    /// # Errors
    /// `Unavailable` if it could not be written down; then the request must not go.
    pub async fn take_use(
        &self,
        id: &TokenId,
        most: u64,
        activity: &Arc<Activity>,
    ) -> Result<bool, Unavailable> {
        let count = Count::Take {
            id: id.clone(),
            most,
        };
        let used = self.counted(count, activity).await?;
        Ok(used.is_some())
    }

    /// Takes one request out of the bucket of its rate: of one daemon's in memory, of several in their state.
    ///
    /// # Errors
    /// `Unavailable` if the state could not be asked; then the request must not go.
    pub async fn take_rate(
        &self,
        id: &TokenId,
        rate: Rate,
        activity: &Arc<Activity>,
    ) -> Result<Result<(), Duration>, Unavailable> {
        if !self.is_shared {
            return Ok(activity.take_rate(rate));
        }
        let count = Count::TakeRate {
            id: id.clone(),
            rate,
            owed: activity.owed.swap(0, Ordering::AcqRel),
        };
        match self.counted(count, activity).await? {
            Some(0) => Ok(Ok(())),
            Some(wait) => Ok(Err(Duration::from_nanos(wait))),
            None => Err(Unavailable),
        }
    }

    async fn counted(
        &self,
        count: Count,
        activity: &Arc<Activity>,
    ) -> Result<Option<u64>, Unavailable> {
        self.reachable()?;
        let (answer, answered) = oneshot::channel();
        let counting = Counting {
            count,
            activity: activity.clone(),
            answer: Some(answer),
        };
        self.writer
            .send(Work::Count(counting))
            .map_err(|_| Unavailable)?;
        self.wake_counter();
        let begun = Instant::now();
        let answer = answered.await;
        self.waited.add(begun.elapsed());
        answer.map_err(|_| Unavailable)?
    }

    /// Gives a use back that was taken for a request that did not go after all. If that can't be written down the use stays
    /// taken: the safe side.
    pub async fn give_back(&self, id: &TokenId, activity: &Arc<Activity>) {
        let (answer, answered) = oneshot::channel();
        let count = Count::GiveBack { id: id.clone() };
        let counting = Counting {
            count,
            activity: activity.clone(),
            answer: Some(answer),
        };
        if self.writer.send(Work::Count(counting)).is_ok() {
            self.wake_counter();
            let _ = answered.await;
        }
    }

    fn wake_counter(&self) {
        if let Some(counter) = self.counter.get() {
            counter.unpark();
        }
    }

    /// Changes the state, durably, and waits until that is done. What it is seen by is the next look, as for changes from outside.
    ///
    /// # Errors
    /// `Unavailable` if it could not be written down.
    pub async fn change_state<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut dyn Store) -> Result<T, StateError> + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.reachable()?;
        let (answer, answered) = oneshot::channel();
        let run = move |state: &mut dyn Store| {
            let changed = change(state);
            if let Err(error) = &changed {
                error!(%error, "the state can't be changed; requests that need it are refused");
            }
            let _ = answer.send(changed.map_err(|_| Unavailable));
        };
        let work = Work::Change(Box::new(run));
        self.writer.send(work).map_err(|_| Unavailable)?;
        self.wake_counter();
        answered.await.map_err(|_| Unavailable)?
    }

    /// Keeps a token that an identity is exchanged for, durably, as [`Store::exchange`] has it. Those that come while the store is
    /// being written are kept in one step.
    ///
    /// # Errors
    /// `Unavailable` if it could not be written down.
    pub async fn exchange(
        &self,
        token: Issued,
        identity: TakenIdentity,
    ) -> Result<Option<Issued>, Unavailable> {
        self.reachable()?;
        let (answer, answered) = oneshot::channel();
        let asked = Box::new(Exchanging {
            token,
            identity,
            answer,
        });
        self.writer
            .send(Work::Exchange(asked))
            .map_err(|_| Unavailable)?;
        if self.dozing.load(Ordering::SeqCst) {
            self.wake_counter();
        }
        answered.await.map_err(|_| Unavailable)?
    }

    /// Ends a token, durably; here it is known at once.
    ///
    /// # Errors
    /// `Unavailable` if it could not be written down.
    pub async fn revoke(&self, id: TokenId, now: Timestamp) -> Result<(), Unavailable> {
        let named = id.clone();
        self.change_state(move |state| state.revoke(&named, now))
            .await?;
        self.change(std::iter::once((id, EntryChange::Revoked(now))));
        Ok(())
    }

    /// Notes that a token was used now. It is written down within about a second.
    pub fn touch(&self, id: &TokenId, activity: &Arc<Activity>, now: Timestamp) {
        activity
            .last_used
            .fetch_max(now.as_microsecond(), Ordering::AcqRel);
        if !activity.unsaved.swap(true, Ordering::AcqRel) {
            let count = Count::Touch {
                id: id.clone(),
                at: now,
            };
            let _ = self.writer.send(Work::Count(Counting {
                count,
                activity: activity.clone(),
                answer: None,
            }));
        }
    }
}

enum EntryChange {
    Issued(Arc<Issued>),
    Revoked(Timestamp),
    Used(Usage),
    Seen,
}

impl EntryChange {
    /// Without what only those who list tokens ask for.
    fn issued(token: Issued) -> Self {
        Self::Issued(Arc::new(Issued {
            about: None,
            ..token
        }))
    }
}

/// The time by the latest that the store knows of, and since when a store that is older than the record is.
fn time_of(
    store: &mut dyn Store,
    recorded: Option<Timestamp>,
) -> Result<(Time, Option<Timestamp>), StateError> {
    let latest = store.latest()?;
    if let Some(recorded) = older_than(latest, recorded) {
        store.is_older_than(recorded)?;
    }
    let older_than = store.older_than()?;
    if let Some(recorded) = older_than {
        error!("{}", OlderState(recorded));
    }
    let time = Time::from(latest);
    store.used_at(time.now().latest)?;
    Ok((time, older_than))
}

fn named_thread(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, StateError> {
    let named = thread::Builder::new().name(name.to_owned());
    named.spawn(run).map_err(StateError::Runtime)
}

fn unnamed(error: getrandom::Error) -> StateError {
    StateError::Runtime(std::io::Error::other(error.to_string()))
}

/// All that the state holds, row by row, and the number of the sequence to go on from.
fn read(
    state: &dyn Store,
    hearing: &mut Hearing,
) -> Result<(Vec<ArcSwap<Shard>>, i64), StateError> {
    let mut shards: Vec<Shard> = (0..SHARDS).map(|_| Shard::default()).collect();
    let mut take = |id: TokenId, change: &EntryChange| {
        if let Some(shard) = shards.get_mut(Live::shard_number(&id)) {
            shard.entry(id).or_default().take(change);
        }
    };
    let sequence = state.each_since(0, &mut |row| match row {
        Changed::Issued(token) => take(token.id.clone(), &EntryChange::issued(token)),
        Changed::Revoked(id, at) => take(id, &EntryChange::Revoked(at)),
        Changed::Remembered(_, memory) => hearing.tell(memory),
    })?;
    state.each_usage(&mut |id, usage| take(id, &EntryChange::Used(usage)))?;
    Ok((
        shards.into_iter().map(ArcSwap::from_pointee).collect(),
        sequence,
    ))
}

impl TokenEntry {
    fn take(&mut self, change: &EntryChange) {
        match change {
            EntryChange::Issued(token) => self.issued = Some(token.clone()),
            EntryChange::Revoked(at) => self.revoked_at = Some(*at),
            EntryChange::Used(usage) => self.activity = Arc::new(Activity::new(*usage)),
            EntryChange::Seen => {
                let begun = || Arc::new(Activity::new(self.activity.usage()));
                self.listed.get_or_insert_with(begun);
            }
        }
    }

    /// The token as it is now.
    fn seen(&self, kept: KeptToken) -> SeenToken {
        SeenToken {
            usage: self.usage(kept.kept_in()),
            revoked_at: self.revoked_at,
            kept,
        }
    }

    fn usage(&self, kept_in: KeptIn) -> Usage {
        let listed = self.listed.as_ref();
        match kept_in {
            KeptIn::Policy => listed.unwrap_or(&self.activity).usage(),
            KeptIn::State => self.activity.usage(),
        }
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new(Usage::default())
    }
}

impl Activity {
    fn new(usage: Usage) -> Self {
        Self {
            used: AtomicU64::new(usage.used),
            last_used: AtomicI64::new(usage.last_used_at.map_or(NEVER, Timestamp::as_microsecond)),
            unsaved: AtomicBool::new(false),
            bucket: ArcSwapOption::empty(),
            owed: AtomicU32::new(0),
            bound: ArcSwapOption::empty(),
        }
    }

    /// What the token holds under the rules of this generation, and under its ceiling while that holds: bound anew when they
    /// change, or have let go of it. A token's ceiling is given once, and ends.
    ///
    /// # Errors
    /// What `bind` says.
    pub fn grants(
        &self,
        generation: u64,
        ceiling: Option<&Ceiling>,
        bind: impl FnOnce() -> Result<Arc<Grants>, Unbound>,
    ) -> Result<Arc<Grants>, Unbound> {
        if let Some(bound) = self.bound.load().as_deref()
            && bound.0 == generation
            && let Some(grants) = bound.1.upgrade()
            && grants.alone.is_some() == ceiling.is_some()
        {
            return Ok(grants);
        }
        let grants = bind()?;
        self.bound
            .store(Some(Arc::new((generation, Arc::downgrade(&grants)))));
        Ok(grants)
    }

    /// How it was used, as far as is known here.
    pub fn usage(&self) -> Usage {
        Usage {
            used: self.used.load(Ordering::Acquire),
            last_used_at: self.last_used_at(),
        }
    }

    fn last_used_at(&self) -> Option<Timestamp> {
        let last = self.last_used.load(Ordering::Acquire);
        (last != NEVER)
            .then(|| Timestamp::from_microsecond(last).ok())
            .flatten()
    }

    /// Takes one request out of the bucket of this rate.
    ///
    /// # Errors
    /// How long to wait, if the bucket is empty.
    pub fn take_rate(&self, rate: Rate) -> Result<(), Duration> {
        let mut bucket = self.bucket.load_full();
        if bucket.as_ref().is_none_or(|bucket| bucket.rate != rate) {
            self.bucket.store(Bucket::new(rate).map(Arc::new));
            bucket = self.bucket.load_full();
        }
        match bucket {
            Some(bucket) => bucket
                .limiter
                .check()
                .map_err(|until| until.wait_time_from(bucket.limiter.clock().now())),
            None => Ok(()),
        }
    }
}

impl Activity {
    /// Learns how often and when it was used, wherever.
    fn hear(&self, usage: Usage) {
        self.used.store(usage.used, Ordering::Release);
        if let Some(last) = usage.last_used_at {
            self.last_used
                .fetch_max(last.as_microsecond(), Ordering::AcqRel);
        }
    }

    /// Takes so many more out of the bucket, or what is in it.
    pub fn take_more(&self, rate: Rate, requests: u32) {
        // For a bucket elsewhere; one that is here takes what is in it now.
        let add = |owed: u32| Some(owed.saturating_add(requests));
        let _ = (self.owed).fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        for _ in 0..requests {
            if self.take_rate(rate).is_err() {
                break; // no more than that is in it
            }
        }
    }
}

impl Bucket {
    fn new(rate: Rate) -> Option<Self> {
        let quota = Quota::with_period(rate.per / rate.count.get())?.allow_burst(rate.count);
        Some(Self {
            rate,
            limiter: RateLimiter::direct(quota),
        })
    }
}

/// The record went on until then without this state.
pub struct OlderState(pub Timestamp);

impl fmt::Display for OlderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the state is an older copy: the record goes on until {}, and what was revoked, rotated or used after the copy was made lives again; revoke it anew, stop tidegate, and run `tidegate token accept-state`",
            self.0
        )
    }
}

/// The clock is so far behind the latest time that was seen.
pub struct BehindClock(pub Duration);

impl fmt::Display for BehindClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the clock is {} s behind the latest time that was seen, by which tokens end; set it right, or if it was ahead before, stop tidegate and run `tidegate token accept-state`",
            self.0.as_secs()
        )
    }
}

/// Until when the record goes on, if that is so long after the state was in use last that the state must be an older one.
pub fn older_than(latest: Option<Timestamp>, recorded: Option<Timestamp>) -> Option<Timestamp> {
    let (latest, recorded) = latest.zip(recorded)?;
    let between = Duration::try_from(recorded.duration_since(latest)).ok()?;
    (between > UNNOTED).then_some(recorded)
}

/// How often the state is swept.
const SWEPT: Duration = Duration::from_secs(3600);
/// How long what nobody issued by hand is kept after its end, for those who list tokens.
const KEPT_AFTER_END: Duration = Duration::from_secs(24 * 3600);
/// How often it is noted that the state is in use.
const NOTED: Duration = Duration::from_secs(30);
/// The longest time for which it may not have been, as where the file could not be written for a while.
const UNNOTED: Duration = Duration::from_secs(300);

struct StateReader {
    state: Box<dyn Store>,
    sequence: i64,
    live: Weak<Live>,
    /// When it was noted last that the state is in use.
    noted: Instant,
    /// When it was asked last how others used their tokens, and from when on to ask.
    heard: Instant,
    uses: i64,
    /// When the state was swept last.
    swept: Option<Instant>,
    /// Whether the clock was behind.
    behind: bool,
}

impl StateReader {
    fn new(state: Box<dyn Store>, sequence: i64, live: Weak<Live>) -> Self {
        Self {
            state,
            sequence,
            live,
            noted: Instant::now(),
            heard: Instant::now(),
            uses: 0,
            swept: None,
            behind: false,
        }
    }

    /// Keeps up with the file until the daemon lets go of its tokens.
    fn run(mut self, questions: &Receiver<ReaderTask>) {
        let mut due = Instant::now() + INTERVAL;
        let mut failing = false;
        loop {
            let question = questions.recv_timeout(due.saturating_duration_since(Instant::now()));
            let Some(live) = self.live.upgrade() else {
                return;
            };
            let question = match question {
                // One token is found in a file sooner than all that changed.
                Ok(ReaderTask::Find(id, answer)) if !live.is_shared && Instant::now() < due => {
                    match self.find(&live, &id) {
                        Ok(()) => drop(answer.send(())),
                        // Who asked is told that nobody can say, and those after that it is so.
                        Err(_) => due = Instant::now(),
                    }
                    continue;
                }
                Ok(question) => Some(question),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // A look answers all who asked before it; one that fails, those also who asked while it did.
            let asked: Vec<_> = question.into_iter().chain(questions.try_iter()).collect();
            failing = self.look(&live, failing);
            due = Instant::now() + INTERVAL;
            for question in asked {
                question.answer(failing);
            }
            if failing {
                for late in questions.try_iter() {
                    late.answer(failing);
                }
            } else {
                self.tend(&live);
            }
        }
    }

    /// What nobody waits for.
    fn tend(&mut self, live: &Live) {
        self.note(live);
        self.hear_of_uses(live);
        self.sweep(live);
    }

    fn look(&mut self, live: &Live, was_failing: bool) -> bool {
        let begun = live.started.elapsed();
        match self
            .state
            .is_in_place()
            .and_then(|()| self.state.changes_since(self.sequence))
        {
            Ok(changes) => {
                self.sequence = live.apply(changes);
                live.mark_read(begun);
                live.up.store(true, Ordering::Release);
                if was_failing {
                    info!("the state can be read again");
                }
                false
            }
            Err(error) => {
                // One look that took too long may have been held up here; a second was not.
                if was_failing || !matches!(error, StateError::Slow(_)) {
                    live.up.store(false, Ordering::Release);
                }
                if !was_failing {
                    error!(%error, "the state can't be read; requests are refused until it can");
                }
                true
            }
        }
    }

    /// Forgets what nobody issued by hand a day after its end, in the state and here.
    fn sweep(&mut self, live: &Live) {
        if self.swept.is_some_and(|swept| swept.elapsed() < SWEPT) {
            return;
        }
        self.swept = Some(Instant::now());
        let now = live.now().latest;
        let ended = now.saturating_sub(KEPT_AFTER_END).unwrap_or(now);
        if let Err(error) = self.state.sweep(ended, now) {
            error!(%error, "what ended can't be swept from the state");
        }
        live.forget(ended);
    }

    /// Learns how others used their tokens, where there are others: what was idle here may be in use there.
    fn hear_of_uses(&mut self, live: &Live) {
        if !live.is_shared || self.heard.elapsed() < OTHERS {
            return;
        }
        self.heard = Instant::now();
        let mut take = |id: TokenId, usage: Usage| live.used_elsewhere(id, usage);
        match self.state.each_use_since(self.uses, &mut take) {
            Ok(uses) => self.uses = uses,
            Err(error) => error!(%error, "how others use their tokens can't be read"),
        }
    }

    fn note(&mut self, live: &Live) {
        let now = live.now();
        let behind = now.behind();
        if let Some(behind) = behind.filter(|_| !self.behind) {
            error!("{}", BehindClock(behind));
        }
        self.behind = behind.is_some();
        if self.noted.elapsed() >= NOTED {
            self.noted = Instant::now();
            let noted = self.state.used_at(now.latest);
            live.unwritable.store(noted.is_err(), Ordering::Release);
            if let Err(error) = noted {
                error!(%error, "the time can't be noted in the state");
            }
        }
    }

    fn find(&self, live: &Live, id: &TokenId) -> Result<(), StateError> {
        if let Some(token) = self.state.find(id.as_str())? {
            let revoked = self.state.revoked_at(id)?.map(|at| (id.clone(), at));
            live.apply(Changes {
                issued: vec![token],
                revoked: revoked.into_iter().collect(),
                ..Changes::default()
            });
        }
        Ok(())
    }
}

impl ReaderTask {
    /// Says that it was looked for; what was not found because that failed, nobody can tell.
    fn answer(self, failed: bool) {
        match self {
            Self::Find(_, answer) if failed => drop(answer),
            Self::Find(_, answer) | Self::Refresh(answer) => drop(answer.send(())),
            Self::Changed => {}
        }
    }
}

/// Writes down what comes in, as much at once as has come: one `fsync` serves all who wait.
fn write(
    mut state: Box<dyn Store>,
    works: &Receiver<Work>,
    dozing: &AtomicBool,
    unwritable: &AtomicBool,
    up: &AtomicBool,
) {
    while let Ok(first) = works.recv() {
        let mut batch = Batch::default();
        batch.add(first);
        batch.gather(works);
        let patience = batch.patience();
        if !patience.is_zero() {
            // Whoever has handed something in looks here whether to wake this: what came before is seen now, and the rest wakes.
            dozing.store(patience > TOGETHER, Ordering::SeqCst);
            batch.gather(works);
            if batch.patience() == patience {
                thread::park_timeout(patience);
            }
            dozing.store(false, Ordering::SeqCst);
            batch.gather(works);
        }
        if !batch.settle(&mut *state, unwritable) {
            up.store(false, Ordering::Release); // until a look says otherwise
        }
    }
}

/// What is written down together.
#[derive(Default)]
struct Batch {
    counts: Vec<Counting>,
    exchanges: Vec<Exchanging>,
    /// One that waits for all before it, and for which all after it wait.
    change: Option<Making>,
}

impl Batch {
    fn add(&mut self, work: Work) {
        match work {
            Work::Count(counting) => self.counts.push(counting),
            Work::Exchange(exchanging) => self.exchanges.push(*exchanging),
            Work::Change(change) => self.change = Some(change),
        }
    }

    /// Adds what has come in by now, up to what one step takes or up to a change.
    fn gather(&mut self, works: &Receiver<Work>) {
        while self.change.is_none() && self.counts.len().max(self.exchanges.len()) < BATCH {
            let Ok(work) = works.try_recv() else {
                return;
            };
            self.add(work);
        }
    }

    /// For how long more may come before it is written down.
    fn patience(&self) -> Duration {
        let waits = |counting: &Counting| counting.answer.is_some();
        if self.change.is_some() || self.counts.iter().any(waits) {
            Duration::ZERO
        } else if self.exchanges.is_empty() {
            DOZE
        } else {
            TOGETHER
        }
    }

    /// Writes it down; false if counts could not be.
    fn settle(self, state: &mut dyn Store, unwritable: &AtomicBool) -> bool {
        let Self {
            counts,
            exchanges,
            change,
        } = self;
        let counted = counts.is_empty() || settle(state, counts, unwritable);
        if !exchanges.is_empty() {
            keep(state, exchanges);
        }
        if let Some(change) = change {
            change(state);
        }
        counted
    }
}

/// Keeps what identities are exchanged for, all in one step.
fn keep(state: &mut dyn Store, exchanges: Vec<Exchanging>) {
    let (mut asked, mut waiting) = (Vec::new(), Vec::new());
    let mut now = Timestamp::MIN;
    for Exchanging {
        token,
        identity,
        answer,
    } in exchanges
    {
        now = now.max(token.created_at);
        asked.push((token, identity));
        waiting.push(answer);
    }
    let mut kept = state.exchange_all(asked, now).map(Vec::into_iter);
    if let Err(error) = &kept {
        error!(%error, "exchanges can't be written down; they are refused");
    }
    for answer in waiting {
        let kept = match &mut kept {
            Ok(kept) => kept.next().ok_or(Unavailable),
            Err(_) => Err(Unavailable),
        };
        let _ = answer.send(kept);
    }
}

fn settle(state: &mut dyn Store, batch: Vec<Counting>, unwritable: &AtomicBool) -> bool {
    for counting in &batch {
        counting.activity.unsaved.store(false, Ordering::Release);
    }
    let counts: Vec<_> = batch.iter().map(Counting::latest).collect();
    let answers = state.count(&counts);
    unwritable.store(answers.is_err(), Ordering::Release);
    if let Err(error) = &answers {
        error!(%error, "uses can't be written down; requests that need it are refused");
    }
    for (index, counting) in batch.into_iter().enumerate() {
        let answer = match &answers {
            Ok(answers) => Ok(answers.get(index).copied().flatten()),
            Err(_) => Err(Unavailable),
        };
        match (&counting.count, answer) {
            (Count::Take { .. } | Count::GiveBack { .. }, Ok(Some(used))) => {
                counting.activity.used.store(used, Ordering::Release);
            }
            (Count::Take { most, .. }, Ok(None)) => {
                counting.activity.used.fetch_max(*most, Ordering::AcqRel);
            }
            (Count::GiveBack { .. } | Count::Touch { .. } | Count::TakeRate { .. }, _)
            | (Count::Take { .. }, Err(_)) => {}
        }
        if let Some(waiting) = counting.answer {
            let _ = waiting.send(answer);
        }
    }
    answers.is_ok()
}

impl Counting {
    /// The count with the latest time, as the token may have been used again since.
    fn latest(&self) -> Count {
        match &self.count {
            Count::Touch { id, at } => Count::Touch {
                id: id.clone(),
                at: self.activity.last_used_at().unwrap_or(*at),
            },
            Count::Take { .. } | Count::GiveBack { .. } | Count::TakeRate { .. } => {
                self.count.clone()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_together_is_written_together_up_to_a_change() {
        let (writer, works) = channel();
        let id: TokenId = "4fZ0aB9cD8eF".parse().unwrap();
        let count = || {
            let count = Count::GiveBack { id: id.clone() };
            let (activity, answer) = (Arc::default(), None);
            let counting = Counting {
                count,
                activity,
                answer,
            };
            Work::Count(counting)
        };
        let exchange = || {
            let token = Issued::named("ci/7");
            let identity = TakenIdentity {
                identity: [0; 32],
                rule: "ci".to_owned(),
                again: false,
                until: Timestamp::UNIX_EPOCH,
            };
            let (answer, _) = oneshot::channel();
            let exchanging = Exchanging {
                token,
                identity,
                answer,
            };
            Work::Exchange(Box::new(exchanging))
        };
        let change = Work::Change(Box::new(|_| {}));
        for work in [exchange(), exchange(), count(), change, count()] {
            writer.send(work).unwrap();
        }
        (0..BATCH).for_each(|_| writer.send(exchange()).unwrap());
        let mut told = Vec::new();
        while let Ok(first) = works.try_recv() {
            let mut batch = Batch::default();
            batch.add(first);
            let alone = batch.patience();
            batch.gather(&works);
            let changes = usize::from(batch.change.is_some());
            let together = (batch.counts.len(), batch.exchanges.len(), changes);
            told.push((alone, together, batch.patience()));
        }
        let expected = [
            (TOGETHER, (1, 2, 1), Duration::ZERO),
            (DOZE, (1, BATCH, 0), TOGETHER),
        ];
        assert_eq!(told, expected);
    }
}
