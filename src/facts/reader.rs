use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use moka::future::Cache;
use tokio::sync::OnceCell;

use super::pages::{Page, page};
use crate::catalog::{AttributeSource, Catalog, Kind, KindId, LookUp, Name};
use crate::json::{Document, NoDocument};
use crate::metrics::{Cache as Kept, CacheResult, Metrics, Purpose};
use crate::refusal::{Code, Refusal};
use crate::request::{Json, encoded};
use crate::resource::{
    Attributes, Found, Known, Look, Parents, State, attributes_of, folded, is_called, with_parents,
};
use crate::state::{Happened, Live, Memory};
use crate::upstream::{RealToken, Upstream};

/// What was learnt of resources, for a few seconds.
///
/// Everything is kept under the account's *turn*, which every change through tidegate moves on: what was read before a
/// change, or was under way during it, is found by nobody after it.
pub struct Facts {
    single: Cache<CacheKey, Arc<Option<Bytes>>>,
    lists: Cache<CacheKey, Arc<Listed>>,
    actions: moka::sync::Cache<(String, String), Arc<ActedOn>>,
    assigned: moka::sync::Cache<Assigned, Put>,
    turns: Mutex<HashMap<String, Arc<Turns>>>,
    /// Where other daemons keep what they remember for this one. What was read of the API each reads and keeps for itself, for
    /// seconds; a change by way of another is told, and while nobody can tell it is known as late as one that went by no daemon.
    others: Option<Arc<Live>>,
}

/// How often something happened in an account after which what was known before is not to be gone by.
#[derive(Default)]
struct Turns {
    /// Something was changed.
    changed: AtomicU64,
    /// Something may have been deleted, moved or renamed: not only made.
    replaced: AtomicU64,
}

/// What an action is of.
#[derive(Debug)]
struct ActedOn {
    /// Its kind; `None` for one that a daemon of another release told and this one does not have.
    kind: Option<KindId>,
    id: String,
    /// What that was, for the sub-token that acted; another daemon is told only which it is.
    whole: Option<Whole>,
}

#[derive(Debug)]
struct Whole {
    grantee: String,
    replaced: u64,
    state: State,
}

/// The project that something was put into, and until when that is gone by.
#[derive(Clone, Debug)]
struct Put {
    project: Known,
    until: Instant,
}

/// What is known of the resource that an action is of.
#[derive(Debug)]
pub enum Remembered {
    /// What it was when the sub-token that asks acted on it, nothing having been deleted, moved or renamed since.
    Whole(State),
    /// Which it is: what that is by now must be looked up. Of a kind that this release does not have nothing can be.
    Named(Option<KindId>, String),
}

/// What a sub-token put into a project when it made it.
#[derive(Clone, Eq, Hash, PartialEq)]
struct Assigned {
    account: String,
    replaced: u64,
    grantee: String,
    urn: String,
}

#[derive(Clone, Eq, Hash, PartialEq)]
struct CacheKey {
    /// The rules under which it was read: another upstream or real token sees other things.
    generation: u64,
    turn: u64,
    account: String,
    path_and_query: String,
}

/// A whole list, as it came.
#[derive(Debug)]
pub struct Listed {
    /// Its items, byte for byte, and what is known of each.
    pub items: Vec<(Bytes, Attributes)>,
    /// The members that the answer has, where it has no list: then whether there is anything is not told.
    pub instead: Option<Vec<String>>,
    /// How many bytes its pages have.
    bytes: usize,
    /// What was cut from it for whom, as clients ask for page after page; the oldest goes when there are too many.
    views: Mutex<VecDeque<((String, bool), View)>>,
}

/// The items that a sub-token may see, once that was found out.
pub type View = Arc<OnceCell<Arc<Vec<Bytes>>>>;

impl Listed {
    fn new(page: Page) -> Self {
        Self {
            items: page.items,
            instead: page.instead,
            bytes: page.bytes,
            views: Mutex::default(),
        }
    }

    /// What a sub-token may see of it, to be found out if nobody has yet. It ends with the list. Under a ceiling it may see more
    /// (`reports`), and not a moment longer than that holds.
    pub fn view(&self, token: &str, reports: bool) -> View {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let is_its = |of: &(String, bool)| of.0 == token && of.1 == reports;
        if let Some((_, view)) = views.iter().find(|(of, _)| is_its(of)) {
            return view.clone();
        }
        if views.len() >= VIEWS {
            views.pop_front();
        }
        let view = View::default();
        views.push_back(((token.to_owned(), reports), view.clone()));
        view
    }
}

/// The sub-tokens for which what may be seen of one list is kept.
const VIEWS: usize = 16;

/// How long what was read may be used for requests that change nothing.
const FRESH: Duration = Duration::from_secs(3);
/// How long an action that went through here is known to be of its resource.
const ACTION: Duration = Duration::from_secs(3600);
/// How long DigitalOcean may take to show in a project what was put into it.
const ASSIGNED: Duration = Duration::from_secs(60);
/// The bytes of single resources, and of lists, that are kept.
const SINGLE_BYTES: u64 = 16 << 20;
const LIST_BYTES: u64 = 128 << 20;
/// The bytes of one look-up, and of one whole list.
const ONE_BYTES: usize = 8 << 20;
const WHOLE_BYTES: usize = 64 << 20;
/// The actions and assignments that are remembered.
const REMEMBERED: u64 = 10_000;
/// The most that the API gives at once.
pub const PER_PAGE: usize = 200;

impl Default for Facts {
    fn default() -> Self {
        let size = |bytes: usize| u32::try_from(bytes + 200).unwrap_or(u32::MAX);
        Self {
            single: Cache::builder()
                .time_to_live(FRESH)
                .max_capacity(SINGLE_BYTES)
                .weigher(move |_, found: &Arc<Option<Bytes>>| {
                    size(found.as_ref().as_ref().map_or(0, Bytes::len))
                })
                .build(),
            lists: Cache::builder()
                .time_to_live(FRESH)
                .max_capacity(LIST_BYTES)
                .weigher(move |_, list: &Arc<Listed>| size(list.bytes))
                .build(),
            actions: moka::sync::Cache::builder()
                .time_to_live(ACTION)
                .max_capacity(REMEMBERED)
                .build(),
            assigned: moka::sync::Cache::builder()
                .time_to_live(ASSIGNED)
                .max_capacity(REMEMBERED)
                .build(),
            turns: Mutex::default(),
            others: None,
        }
    }
}

impl Facts {
    fn turns(&self, account: &str) -> Arc<Turns> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = turns.get(account) {
            return turns.clone();
        }
        let new = Arc::<Turns>::default();
        turns.insert(account.to_owned(), new.clone());
        new
    }

    /// Forgets what was learnt in an account: a change is about to go, or its answer came.
    pub fn drop_all(&self, account: &str) {
        self.turns(account).changed.fetch_add(1, Ordering::AcqRel);
    }

    /// The same where something may have been deleted, or moved: forgets what was put into which project, too. That goes first,
    /// as what is found out under the new turn is kept.
    pub fn drop_all_and_projects(&self, account: &str) {
        self.turns(account).replaced.fetch_add(1, Ordering::AcqRel);
        self.drop_all(account);
    }

    /// Facts of a daemon whose state others may share.
    pub fn shared(live: &Arc<Live>) -> Arc<Self> {
        let facts = Arc::new(Self {
            others: Some(live.clone()),
            ..Self::default()
        });
        let hearing = Arc::downgrade(&facts);
        live.hear(move |memory| {
            if let Some(facts) = hearing.upgrade() {
                facts.hear(memory);
            }
        });
        facts
    }

    /// Takes what another daemon remembers.
    fn hear(&self, memory: Memory) {
        let Memory {
            account,
            what,
            lasts,
        } = memory;
        match what {
            Happened::Action { action, kind, id } => {
                let of = ActedOn {
                    kind: KindId::from_name(&kind),
                    id,
                    whole: None,
                };
                let there = self.actions.entry((account, action));
                there.or_insert_with(|| Arc::new(of));
            }
            Happened::Assigned {
                grantee,
                urn,
                project,
            } => self.put(&account, &grantee, &urn, Known::exactly(project), lasts),
            Happened::Made => self.drop_all(&account),
            Happened::Replaced => self.drop_all_and_projects(&account),
        }
    }

    /// Lets other daemons know what happened, before who asked is told.
    pub async fn tell_others(&self, memories: Vec<Memory>) {
        if let Some(others) = &self.others {
            others.remember(memories).await;
        }
    }

    /// Lets other daemons know soon that something changed in an account.
    pub fn tell_change(&self, account: &str, what: Happened) {
        if let Some(others) = &self.others {
            others.remember_soon(Memory {
                account: account.to_owned(),
                what,
                lasts: ASSIGNED,
            });
        }
    }

    /// The resource of an action that another daemon forwarded a moment ago.
    pub async fn action_elsewhere(
        &self,
        account: &str,
        action: &str,
        grantee: &str,
    ) -> Option<Remembered> {
        self.others.as_ref()?.look().await;
        self.action(account, action, grantee)
    }

    /// Remembers of which resource an action of a sub-token is, and what that was; what others should know of it.
    pub fn remember_action(
        &self,
        account: &str,
        action: &str,
        grantee: &str,
        of: State,
        id: &str,
    ) -> Memory {
        let kind = of.kind;
        let whole = Whole {
            grantee: grantee.to_owned(),
            replaced: self.turns(account).replaced.load(Ordering::Acquire),
            state: of,
        };
        let acted_on = ActedOn {
            kind: Some(kind),
            id: id.to_owned(),
            whole: Some(whole),
        };
        let key = (account.to_owned(), action.to_owned());
        self.actions.insert(key, Arc::new(acted_on));
        let what = Happened::Action {
            action: action.to_owned(),
            kind: kind.name().to_owned(),
            id: id.to_owned(),
        };
        Memory {
            account: account.to_owned(),
            what,
            lasts: ACTION,
        }
    }

    /// The resource that an action which went through here is of, for a sub-token that asks.
    pub fn action(&self, account: &str, action: &str, grantee: &str) -> Option<Remembered> {
        let found = self.actions.get(&(account.to_owned(), action.to_owned()))?;
        let replaced = self.turns(account).replaced.load(Ordering::Acquire);
        let is_whole = |whole: &&Whole| whole.grantee == grantee && whole.replaced == replaced;
        Some(match found.whole.as_ref().filter(is_whole) {
            Some(whole) => Remembered::Whole(whole.state.clone()),
            None => Remembered::Named(found.kind, found.id.clone()),
        })
    }

    fn assigned(&self, account: &str, grantee: &str, urn: &str) -> Assigned {
        Assigned {
            account: account.to_owned(),
            replaced: self.turns(account).replaced.load(Ordering::Acquire),
            grantee: grantee.to_owned(),
            urn: urn.to_owned(),
        }
    }

    /// Remembers into which project a sub-token put what it made: for its own reads, until the API shows it there. What is
    /// called by something that another could be called by later, as a zone by its name, is not remembered. What others should know.
    pub fn remember_project(
        &self,
        account: &str,
        grantee: &str,
        urn: &str,
        project: Known,
    ) -> Option<Memory> {
        let id = urn.rsplit(':').next().unwrap_or_default();
        if !is_given_once(id) {
            return None;
        }
        let what = Happened::Assigned {
            grantee: grantee.to_owned(),
            urn: urn.to_owned(),
            project: project.values.clone(),
        };
        self.put(account, grantee, urn, project, ASSIGNED);
        Some(Memory {
            account: account.to_owned(),
            what,
            lasts: ASSIGNED,
        })
    }

    /// What was found out before may show it nowhere yet, and is not gone by any more.
    fn put(&self, account: &str, grantee: &str, urn: &str, project: Known, lasts: Duration) {
        let until = Instant::now() + lasts;
        let key = self.assigned(account, grantee, urn);
        self.assigned.insert(key, Put { project, until });
        self.drop_all(account);
    }

    fn put_into(&self, assigned: &Assigned) -> Option<Known> {
        let put = self.assigned.get(assigned)?;
        (Instant::now() < put.until).then_some(put.project)
    }
}

/// Whether an id is one that DigitalOcean gives to one thing and never again: a number, or a UUID.
fn is_given_once(id: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    let hexadecimal = |byte: u8| byte == b'-' || byte.is_ascii_hexdigit();
    digits(id) || groups == [8, 4, 4, 4, 12] && id.bytes().all(hexadecimal)
}

/// One request's way to the facts: the door that only looks.
pub struct Reader<'r> {
    /// What is known already.
    pub facts: &'r Facts,
    /// The API.
    pub upstream: &'r Upstream,
    /// The real token of the account.
    pub token: &'r RealToken,
    /// What the API looks like.
    pub catalog: &'r Catalog,
    /// The generation of the rules.
    pub generation: u64,
    /// Whether nothing that is known already will do: the request changes something.
    pub anew: bool,
    /// The id of the sub-token that asks.
    pub grantee: &'r str,
    /// What is counted.
    pub metrics: &'r Metrics,
    /// How many calls it took.
    calls: Arc<AtomicU32>,
    /// What this request read: no request reads the same thing twice.
    read: Mutex<HashMap<String, Arc<Option<Bytes>>>>,
    lists: Mutex<HashMap<String, Arc<Listed>>>,
}

impl<'r> Reader<'r> {
    /// A way to the facts for one request.
    pub fn new(
        facts: &'r Facts,
        upstream: &'r Upstream,
        token: &'r RealToken,
        catalog: &'r Catalog,
        generation: u64,
        anew: bool,
        grantee: &'r str,
    ) -> Self {
        Self {
            facts,
            upstream,
            token,
            catalog,
            generation,
            metrics: upstream.metrics(),
            anew,
            grantee,
            calls: Arc::default(),
            read: Mutex::default(),
            lists: Mutex::default(),
        }
    }

    /// How many calls of the API it made.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// The same, as it grows.
    pub fn counter(&self) -> Arc<AtomicU32> {
        self.calls.clone()
    }

    fn key(&self, path_and_query: &str) -> CacheKey {
        CacheKey {
            generation: self.generation,
            turn: self
                .facts
                .turns(&self.token.account)
                .changed
                .load(Ordering::Acquire),
            account: self.token.account.clone(),
            path_and_query: path_and_query.to_owned(),
        }
    }

    /// What the API has at a path; `None` where it has nothing there.
    async fn at(&self, path_and_query: &str) -> Result<Arc<Option<Bytes>>, Refusal> {
        let mine = |read: &Mutex<HashMap<String, Arc<Option<Bytes>>>>| {
            let read = read.lock().unwrap_or_else(PoisonError::into_inner);
            read.get(path_and_query).cloned()
        };
        if let Some(found) = mine(&self.read) {
            return Ok(found);
        }
        let found = if self.anew {
            Arc::new(self.ask(path_and_query).await?)
        } else {
            let asked = Box::pin(async { self.ask(path_and_query).await.map(Arc::new) }); // large, and carried on
            self.kept(Kept::Facts, &self.facts.single, path_and_query, asked)
                .await?
        };
        self.read
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(path_and_query.to_owned(), found.clone());
        Ok(found)
    }

    /// What a cache has, or what is read now: once, however many wait for it.
    async fn kept<T: Clone + Send + Sync + 'static>(
        &self,
        which: Kept,
        cache: &Cache<CacheKey, T>,
        name: &str,
        read: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let key = self.key(name);
        if let Some(found) = cache.get(&key).await {
            self.metrics.looked_up(which, CacheResult::Hit);
            return Ok(found);
        }
        let mine = AtomicBool::new(false);
        let read = async {
            mine.store(true, Ordering::Relaxed);
            read.await
        };
        let found = cache.try_get_with(key, read).await;
        let outcome = if mine.load(Ordering::Relaxed) {
            CacheResult::Miss
        } else {
            CacheResult::Shared
        };
        self.metrics.looked_up(which, outcome);
        found.map_err(|refusal: Arc<Refusal>| Refusal::clone(&refusal))
    }

    async fn ask(&self, path_and_query: &str) -> Result<Option<Bytes>, Refusal> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (status, body) = self
            .upstream
            .look_up(Purpose::Facts, self.token, path_and_query, ONE_BYTES)
            .await
            .map_err(|failure| failure.refusal(true))?;
        match status {
            200 if Document::read(&body).is_err() => Err(cant_read(&NoDocument.to_string())),
            200 => Ok(Some(body)),
            400 | 404 | 410 | 422 => Ok(None),
            other => Err(Refusal::new(
                Code::UpstreamBadAnswer,
                "tidegate must look up what the request touches, and DigitalOcean's API did not tell; try again later",
            )
            .detail(format!("a look-up was answered with {other}"))),
        }
    }

    /// A whole list, by the path and query that it has upstream without paging.
    ///
    /// # Errors
    /// The refusal where it can't be read, or is larger than anything that tidegate keeps.
    pub async fn list(&self, kind: &Kind, look_up: &Pages<'_>) -> Result<Arc<Listed>, Refusal> {
        let name = look_up.name();
        {
            let lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = lists.get(&name) {
                return Ok(found.clone());
            }
        }
        let found = if self.anew {
            Arc::new(self.read_list(kind, look_up).await?)
        } else {
            let read = Box::pin(async { self.read_list(kind, look_up).await.map(Arc::new) });
            self.kept(Kept::Lists, &self.facts.lists, &name, read)
                .await?
        };
        self.lists
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name, found.clone());
        Ok(found)
    }

    async fn read_list(&self, kind: &Kind, look_up: &Pages<'_>) -> Result<Listed, Refusal> {
        let first = self.read_page(kind, look_up, 1).await?;
        let came = first.items.len();
        // A number that is smaller than what came already tells nothing.
        let total = first.total.filter(|total| *total >= came);
        // Some lists give fewer at once than they are asked for: how many, the first page tells.
        let each = came.clamp(1, PER_PAGE);
        let pages = total.map(|total| total.div_ceil(each));
        let mut full = came >= PER_PAGE || first.goes_on;
        let mut listed = Listed::new(first);
        if !look_up.paged {
            return Ok(listed);
        }
        // Where the API tells how many there are, pages are read ahead while those that came are taken apart.
        let numbers = 2..=pages.unwrap_or(usize::MAX);
        let ahead = if pages.is_some() { AT_ONCE } else { 1 };
        let mut coming = stream::iter(numbers)
            .map(|number| self.read_page(kind, look_up, number))
            .buffered(ahead);
        while pages.is_some() || full {
            let Some(page) = coming.try_next().await? else {
                break;
            };
            if page.instead.is_some() {
                return Err(no_page(look_up, "has no list"));
            }
            let first = |items: &[(Bytes, Attributes)]| items.first().map(|(raw, _)| raw.clone());
            if first(&page.items).is_some_and(|it| Some(it) == first(&listed.items)) {
                break; // the API gives this list whole, whatever page is asked for
            }
            if page.items.is_empty() {
                break; // it has fewer than it said
            }
            full = page.items.len() >= PER_PAGE || page.goes_on;
            listed.bytes += page.bytes;
            listed.items.extend(page.items);
            if listed.bytes > WHOLE_BYTES {
                let why = "the list is larger than tidegate reads to cut it to what this sub-token may see; narrow it with a query, as by `tag_name`";
                return Err(Refusal::new(Code::Resource, why));
            }
        }
        Ok(listed)
    }

    async fn read_page(
        &self,
        kind: &Kind,
        look_up: &Pages<'_>,
        number: usize,
    ) -> Result<Page, Refusal> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (status, body) = self
            .upstream
            .look_up(Purpose::List, self.token, &look_up.page(number), ONE_BYTES)
            .await
            .map_err(|failure| failure.refusal(true))?;
        if status == 404 && number == 1 {
            return Err(Refusal::hidden()); // what it is a list of is not there
        }
        let found = (status == 200).then(|| page(&body, kind, look_up));
        found
            .flatten()
            .ok_or_else(|| no_page(look_up, &format!("was answered with {status}")))
    }

    /// The path of a look-up, its parameters filled with what its parents and it are called.
    fn path(look_up: &LookUp, called: &[&Name]) -> Option<String> {
        let mut called = called.iter();
        let mut path = String::new();
        for segment in &look_up.template.segments {
            path.push('/');
            match segment {
                crate::catalog::Segment::Fixed(text) => path.push_str(text),
                crate::catalog::Segment::Parameter { .. } => {
                    path.push_str(&encoded(called.next()?.as_str()));
                }
            }
        }
        called.next().is_none().then_some(path)
    }

    /// What a look-up shows at a path, which must be the one that is named; `None` where nothing is there.
    async fn shown(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
        look_up: &LookUp,
        path: &str,
        named: Option<&str>,
    ) -> Result<Option<Found>, Refusal> {
        let Some(body) = self.at(path).await?.as_ref().clone() else {
            return Ok(None);
        };
        let json = Json::read(&body).ok();
        let it = json.and_then(|json| shown_at(look_up, json));
        let Some(it) = it.filter(|it| matches!(it, Json::Map(_))) else {
            return Err(cant_read("the answer does not have what was looked for"));
        };
        if named.is_some_and(|named| !is_called(kind, &it, named)) {
            return Err(cant_read(
                "the answer is of another resource than was asked for",
            ));
        }
        let zone = zone(parents);
        let attributes = attributes_of(kind, &it, zone.as_deref());
        Ok(Some(Found {
            attributes: with_parents(attributes, kind, parents),
            json: Some(Arc::new(it)),
        }))
    }

    /// One by its kind's list, where no look-up takes its identifier.
    async fn in_list(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
        name: &Name,
    ) -> Result<Option<Found>, Refusal> {
        let Some(listed) = self.all(kind, parents).await? else {
            return Ok(None);
        };
        let wanted = folded(kind.id, "id", name.as_str());
        let is_it = |attributes: &Attributes| {
            kind.attributes.iter().any(|attribute| {
                let by = attribute.from.iter().any(|from| {
                    matches!(from, AttributeSource::Member(path) if kind.identified_by.contains(path))
                });
                by && attributes
                    .get(&attribute.name)
                    .is_some_and(|known| known.values.contains(&wanted))
            })
        };
        let found = listed
            .items
            .iter()
            .find(|(_, attributes)| is_it(attributes));
        Ok(found.map(|(raw, attributes)| Found {
            attributes: with_parents(attributes.clone(), kind, parents),
            json: Json::read(raw).ok().map(Arc::new),
        }))
    }

    /// All resources of a kind, or all of its parents'; `None` where the API has no such list, or not what it
    /// would be a list of.
    ///
    /// # Errors
    /// The refusal where the list can't be read.
    pub async fn all(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
    ) -> Result<Option<Arc<Listed>>, Refusal> {
        let Some(look_up) = &kind.list else {
            return Ok(None);
        };
        let called: Vec<&Name> = parents.iter().map(|(_, called)| called).collect();
        let Some(path) = Self::path(look_up, &called) else {
            return Ok(None);
        };
        let pages = Pages {
            path: &path,
            query: Vec::new(),
            paged: self.is_paged(look_up),
            at: look_up.at.as_ref(),
            keyed: false,
            zone: zone(parents),
        };
        match self.list(kind, &pages).await {
            Err(refusal) if refusal.code == Code::ResourceHidden => Ok(None),
            // What stands in its place may be the list by another name, and then it is not empty.
            Ok(listed)
                if listed
                    .instead
                    .iter()
                    .flatten()
                    .any(|key| !EMPTY_HAS.contains(&key.as_str())) =>
            {
                Err(cant_read("the answer has something else than its list"))
            }
            listed => listed.map(Some),
        }
    }

    fn is_paged(&self, look_up: &LookUp) -> bool {
        let endpoint = self.catalog.endpoints().iter().find(|endpoint| {
            endpoint.method == crate::catalog::Method::Get && endpoint.template == look_up.template
        });
        endpoint.is_some_and(|endpoint| endpoint.inspects_query("per_page"))
    }
}

/// What a look-up is for, in its answer.
fn shown_at(look_up: &LookUp, answer: Json) -> Option<Json> {
    match &look_up.at {
        Some(at) => answer.at(at).first().map(|it| (*it).clone()),
        None => Some(answer),
    }
}

fn cant_read(why: &str) -> Refusal {
    Refusal::new(
        Code::UpstreamBadAnswer,
        "tidegate must look up what the request touches, and can't read what DigitalOcean's API answered; try again later",
    )
    .detail(why)
}

fn no_page(look_up: &Pages<'_>, why: &str) -> Refusal {
    Refusal::new(
        Code::UpstreamBadAnswer,
        "tidegate must read the whole list to cut it to what this sub-token may see, and DigitalOcean's API did not give it; try again later",
    )
    .detail(format!("a page of {} {why}", look_up.path))
}

/// What an answer has beside its list, and may have alone where the list is empty.
const EMPTY_HAS: [&str; 2] = ["links", "meta"];

/// The pages that are read at once.
const AT_ONCE: usize = 6;

fn zone(parents: Parents<'_>) -> Option<String> {
    parents.last().map(|(_, called)| called.as_str().to_owned())
}

/// A list upstream: where it is, and how its pages are asked for.
pub struct Pages<'p> {
    /// Its path.
    pub path: &'p str,
    /// What narrows it, without paging.
    pub query: Vec<(String, String)>,
    /// Whether it has pages.
    pub paged: bool,
    /// The member of the answer that holds it.
    pub at: Option<&'p crate::catalog::FieldPath>,
    /// Whether that is a mapping by id.
    pub keyed: bool,
    /// The zone in which its names stand.
    pub zone: Option<String>,
}

impl Pages<'_> {
    fn name(&self) -> String {
        self.target(&[])
    }

    fn page(&self, number: usize) -> String {
        if !self.paged {
            return self.name();
        }
        self.target(&[
            ("page", number.to_string()),
            ("per_page", PER_PAGE.to_string()),
        ])
    }

    fn target(&self, more: &[(&str, String)]) -> String {
        let own = self
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let more = more.iter().map(|(name, value)| (*name, value.as_str()));
        let parameters: Vec<String> = own
            .chain(more)
            .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
            .collect();
        if parameters.is_empty() {
            self.path.to_owned()
        } else {
            format!("{}?{}", self.path, parameters.join("&"))
        }
    }
}

impl Look for Reader<'_> {
    async fn one(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
        name: &Name,
    ) -> Result<Option<Found>, Refusal> {
        let called: Vec<&Name> = parents
            .iter()
            .map(|(_, called)| called)
            .chain([name])
            .collect();
        let path = kind.get.as_ref().and_then(|get| Self::path(get, &called));
        let (Some(get), Some(path)) = (&kind.get, path) else {
            return self.in_list(kind, parents, name).await;
        };
        self.shown(kind, parents, get, &path, Some(name.as_str()))
            .await
    }

    async fn default(&self, kind: &Kind) -> Result<Option<Found>, Refusal> {
        let Some(look_up) = &kind.default else {
            return Ok(None);
        };
        match Self::path(look_up, &[]) {
            Some(path) => self.shown(kind, &[], look_up, &path, None).await,
            None => Ok(None),
        }
    }

    async fn named(
        &self,
        kind: &Kind,
        parents: Parents<'_>,
        name: &str,
        narrowed: &[(String, String)],
    ) -> Result<Vec<Found>, Refusal> {
        let Some(listed) = self.all(kind, parents).await? else {
            return Ok(Vec::new());
        };
        told(&listed)?;
        let has = |attributes: &Attributes, key: &str, value: &str| {
            let value = folded(kind.id, key, value);
            attributes
                .get(key)
                .is_some_and(|known| known.values.contains(&value))
        };
        let fits = |attributes: &Attributes| {
            has(attributes, "name", name)
                && narrowed
                    .iter()
                    .all(|(key, value)| has(attributes, key, value))
        };
        let found = listed
            .items
            .iter()
            .filter(|(_, attributes)| fits(attributes));
        Ok(found
            .map(|(raw, attributes)| Found {
                attributes: attributes.clone(),
                json: Json::read(raw).ok().map(Arc::new),
            })
            .collect())
    }

    async fn every(&self, kind: &Kind) -> Result<Option<Vec<Found>>, Refusal> {
        let Some(listed) = self.all(kind, &[]).await? else {
            return Ok(None);
        };
        let found = |(raw, attributes): &(Bytes, Attributes)| Found {
            attributes: attributes.clone(),
            json: Json::read(raw).ok().map(Arc::new),
        };
        Ok(Some(listed.items.iter().map(found).collect()))
    }

    async fn elsewhere(&self, look_up: &LookUp, called: &[&Name]) -> Result<Option<Json>, Refusal> {
        let Some(path) = Self::path(look_up, called) else {
            return Ok(None);
        };
        let body = self.at(&path).await?.as_ref().clone();
        let json = body.and_then(|body| Json::read(&body).ok());
        let list = json.and_then(|json| shown_at(look_up, json));
        Ok(list.filter(|list| matches!(list, Json::List(_))))
    }

    async fn project_of(
        &self,
        urn: &str,
        wanted: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<Known, Refusal> {
        let assigned = self.facts.assigned(&self.token.account, self.grantee, urn);
        let kinds = self.catalog.kinds();
        let project = kinds.of(KindId::Project);
        let resource = kinds.of(KindId::ProjectResource);
        let Some(projects) = self.all(project, &[]).await? else {
            return Ok(Known::unknown());
        };
        told(&projects)?; // an account has at least its default project
        let mut all_known = true;
        for (_, attributes) in &projects.items {
            let called = ProjectNames::by(attributes);
            if called.is_known && !called.names.iter().any(|name| wanted(name)) {
                continue;
            }
            match self.is_in(urn, &called, project, resource).await? {
                Some(true) => {
                    self.facts.assigned.invalidate(&assigned); // from here on the API tells
                    return Ok(Known::exactly(called.names));
                }
                Some(false) => {}
                None => all_known = false, // it may be the one
            }
        }
        // The API has it in none that a grant names. Who made it may look at it where it was put a moment ago; what changes
        // something goes by what the API tells.
        let put = (!self.anew).then(|| self.facts.put_into(&assigned));
        let known = if all_known {
            Known::exactly([])
        } else {
            Known::unknown()
        };
        Ok(put.flatten().unwrap_or(known))
    }
}

impl Reader<'_> {
    /// Whether a project has a resource, by the list of its resources; `None` where that does not tell.
    async fn is_in(
        &self,
        urn: &str,
        called: &ProjectNames,
        project: &Kind,
        resource: &Kind,
    ) -> Result<Option<bool>, Refusal> {
        let id = called.id.as_ref().filter(|_| called.is_known);
        let Some(id) = id.and_then(|id| project.name(id, self.catalog.kinds())) else {
            return Ok(None);
        };
        let Some(members) = self.all(resource, &[(project, id)]).await? else {
            return Ok(None);
        };
        told(&members)?;
        let mut all_told = true;
        for (_, attributes) in &members.items {
            let known = attributes.get("urn").unwrap_or_default();
            if known.values.iter().any(|it| it.eq_ignore_ascii_case(urn)) {
                return Ok(Some(true));
            }
            all_told &= known.complete;
        }
        Ok(all_told.then_some(false))
    }
}

/// What a project is called.
struct ProjectNames {
    id: Option<String>,
    /// Its id and its name.
    names: Vec<String>,
    /// Whether it surely has no others.
    is_known: bool,
}

impl ProjectNames {
    fn by(attributes: &Attributes) -> Self {
        let [id, name] =
            ["id", "name"].map(|name| attributes.get(name).cloned().unwrap_or_default());
        Self {
            id: id.values.first().cloned(),
            is_known: id.complete && name.complete,
            names: id.values.into_iter().chain(name.values).collect(),
        }
    }
}

/// Checks that a list was told of which it matters what is not in it.
fn told(listed: &Listed) -> Result<(), Refusal> {
    match listed.instead {
        None => Ok(()),
        Some(_) => Err(cant_read("the answer has no list")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    fn memory(what: Happened) -> Memory {
        Memory {
            account: "default".to_owned(),
            what,
            lasts: Duration::from_secs(60),
        }
    }

    fn assigned() -> Happened {
        Happened::Assigned {
            grantee: "maker".to_owned(),
            urn: "do:droplet:1".to_owned(),
            project: vec!["web".to_owned()],
        }
    }

    /// What is kept under a turn was found out after it began: so whatever makes another answer true is there before.
    #[test]
    fn nothing_is_found_out_under_a_turn_by_what_was_true_before_it() {
        let facts = Facts::default();
        let turn = || facts.turns("default").changed.load(Ordering::Acquire);
        let is_known = || {
            let key = facts.assigned("default", "maker", "do:droplet:1");
            facts.put_into(&key).is_some()
        };
        let replaced = || Happened::Replaced;
        for (first, what, known_after) in [
            (replaced(), assigned(), true),
            (assigned(), replaced(), false),
        ] {
            for _ in 0..2_000 {
                facts.hear(memory(first.clone()));
                let (before, is_heard) = (turn(), AtomicBool::new(false));
                let both = Barrier::new(2);
                thread::scope(|threads| {
                    let looks = threads.spawn(|| {
                        both.wait();
                        while turn() == before && !is_heard.load(Ordering::Acquire) {
                            std::hint::spin_loop();
                        }
                        is_known()
                    });
                    both.wait();
                    facts.hear(memory(what.clone()));
                    is_heard.store(true, Ordering::Release);
                    assert_ne!(turn(), before, "{what:?}");
                    assert_eq!(looks.join().unwrap(), known_after, "{what:?}");
                });
            }
        }
    }
}
