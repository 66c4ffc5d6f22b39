//! A stand-in for the DigitalOcean API: in this process, over plain HTTP/1.1, on a port of its own on loopback.
//!
//! It keeps a [`World`] (Droplets, domains, volumes …), answers from it as the real API does, changes it when it is
//! told to, and remembers every request that it heard. A test tells it to misbehave with a [`Fault`]. What it does not
//! model it answers with `{}`, so that all endpoints of the API can be walked.
//!
//! It needs nothing but itself, because `examples/quickstart.rs` takes it in by path. It reads and writes HTTP by hand
//! (see `wire`): a library would neither break its own answers nor show a request's bytes as they came.
#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary and the example use a part of the stand-in"
)]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "it serves tests alone: a broken assumption must stop the test, and no one else is served by it"
)]
#![allow(
    clippy::doc_markdown,
    clippy::similar_names,
    reason = "DigitalOcean is a name, and a shelf is no self"
)]

mod fault;
mod heard;
mod raw;
mod reply;
mod wire;
mod world;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::Method;
use serde_json::json;
use tokio::io::BufReader;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use fault::Faults;

pub use fault::{Fault, Hold, gzip};
pub use heard::Heard;
pub use raw::RawUpstream;
pub use reply::{Framing, Reply};
pub use world::World;

/// The one token that the stand-in takes. It has the shape of DigitalOcean's and is plainly none.
pub const REAL_TOKEN: &str =
    "dop_v1_f00df00df00df00df00df00df00df00df00df00df00df00df00df00df00df00d";

/// What the real API calls itself in links, which is what a proxy has to rewrite.
pub const API_URL: &str = "https://api.digitalocean.com";

/// A running stand-in; it ends, with all its connections, when this is dropped.
pub struct StandInApi {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl StandInApi {
    /// Starts a stand-in with the world of `world/world.json`: two clients, `a` and `b`, with a bit of everything.
    pub async fn start() -> Self {
        Self::start_with(World::default()).await
    }

    /// Starts a stand-in that has `world` to show.
    pub async fn start_with(world: World) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port on loopback");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let shared = Arc::new(Shared::new(world));
        let server = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self {
            address,
            shared,
            server,
        }
    }

    /// The base URL, `http://127.0.0.1:PORT`, for `upstream.url`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests heard since the start or the last [`clear`](Self::clear), in order, refused ones included.
    pub fn heard(&self) -> Vec<Heard> {
        let state = self.shared.state();
        state.log[state.cleared..].to_vec()
    }

    /// How many requests [`heard`](Self::heard) would tell.
    pub fn heard_count(&self) -> usize {
        let state = self.shared.state();
        state.log.len() - state.cleared
    }

    /// The requests heard that were not a GET.
    pub fn writes(&self) -> Vec<Heard> {
        let mut heard = self.heard();
        heard.retain(|one| one.method != Method::GET);
        heard
    }

    /// Waits until what was heard satisfies `enough`, and returns it.
    ///
    /// # Panics
    /// If that takes more than 20 seconds.
    pub async fn heard_until(&self, enough: impl Fn(&[Heard]) -> bool) -> Vec<Heard> {
        let mut count = self.shared.heard.subscribe();
        let waiting = count.wait_for(|_| enough(&self.heard()));
        let met = timeout(DEADLINE, waiting).await.is_ok();
        assert!(
            met,
            "what was waited for did not reach the API in {DEADLINE:?}; it heard {:#?}",
            self.heard()
        );
        self.heard()
    }

    /// Forgets what was heard, so that the next assertion speaks of what comes next. An [`Ear`] does not forget.
    pub fn clear(&self) {
        let mut state = self.shared.state();
        state.cleared = state.log.len();
    }

    /// Forgets what was heard for good, which a long run must: an [`Ear`] then knows only what comes later.
    pub fn forget(&self) {
        let mut state = self.shared.state();
        state.log.clear();
        state.cleared = 0;
    }

    /// How many TCP connections were accepted so far; tells whether a proxy reuses them.
    pub fn connections(&self) -> usize {
        self.shared.state().connections
    }

    /// Looks at the world, or changes it behind everybody's back.
    pub fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.shared.state().world)
    }

    /// Lets the next request, whichever it is, meet `fault`.
    pub fn fault_next(&self, fault: Fault) {
        self.shared.state().faults.add(None, "", Some(1), fault);
    }

    /// Lets the next request with this method whose target begins with `prefix` meet `fault`.
    ///
    /// The target is path and query; a `$` at the end of `prefix` asks for the whole of it.
    pub fn fault_once(&self, method: Method, prefix: &str, fault: Fault) {
        self.shared
            .state()
            .faults
            .add(Some(method), prefix, Some(1), fault);
    }

    /// Lets every request with this method whose target begins with `prefix` meet `fault`, until
    /// [`clear_faults`](Self::clear_faults).
    pub fn fault_on(&self, method: Method, prefix: &str, fault: Fault) {
        self.shared
            .state()
            .faults
            .add(Some(method), prefix, None, fault);
    }

    /// Lets every request whose target begins with `prefix` meet `fault`, until [`clear_faults`](Self::clear_faults).
    pub fn fault_all(&self, prefix: &str, fault: Fault) {
        self.shared.state().faults.add(None, prefix, None, fault);
    }

    /// Behaves again.
    pub fn clear_faults(&self) {
        self.shared.state().faults = Faults::default();
    }

    /// A listener that outlives `clear`, for checks over a whole test.
    pub fn ear(&self) -> Ear {
        Ear(Arc::clone(&self.shared))
    }
}

impl Drop for StandInApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Everything that a stand-in ever heard.
pub struct Ear(Arc<Shared>);

impl Ear {
    /// All requests since the start, whatever was cleared.
    pub fn all(&self) -> Vec<Heard> {
        self.0.state().log.clone()
    }

    /// What came over a connection and was no request that HTTP allows: nothing, if the proxy is right.
    pub fn complaints(&self) -> Vec<String> {
        self.0.state().complaints.clone()
    }
}

struct Shared {
    state: Mutex<State>,
    heard: watch::Sender<usize>,
}

struct State {
    world: World,
    log: Vec<Heard>,
    cleared: usize,
    faults: Faults,
    connections: usize,
    complaints: Vec<String>,
}

impl Shared {
    fn new(world: World) -> Self {
        let state = State {
            world,
            log: Vec::new(),
            cleared: 0,
            faults: Faults::default(),
            connections: 0,
            complaints: Vec::new(),
        };
        Self {
            state: Mutex::new(state),
            heard: watch::Sender::new(0),
        }
    }

    /// A test that panicked while it held the lock has failed already; the others shall still see the truth.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down the request and finds its answer, and the fault that it is to meet.
    fn answer(&self, heard: &Heard) -> (Reply, Option<Fault>) {
        let mut state = self.state();
        state.log.push(heard.clone());
        let count = state.log.len();
        let fault = state.faults.take(heard);
        let reply = match fault.as_ref().and_then(|fault| fault.reply(heard)) {
            Some(reply) => reply,
            None if heard.bearer() != Some(REAL_TOKEN) => unauthorized(),
            None => state.world.answer(heard),
        };
        drop(state);
        self.heard.send_replace(count);
        (reply.with_usual_headers(count), fault)
    }

    fn complain(&self, what: String) {
        self.state().complaints.push(what);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut talks = JoinSet::new(); // dropped with this task, which ends every talk
    while let Ok((stream, _)) = listener.accept().await {
        shared.state().connections += 1;
        talks.spawn(talk(stream, Arc::clone(&shared)));
        while talks.try_join_next().is_some() {}
    }
}

/// Serves one connection to its end. An error is the other side gone, which is its good right.
async fn talk(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Ok(true) = exchange(&mut stream, &shared).await {}
}

/// One request and its answer; true if another may follow.
async fn exchange(stream: &mut BufReader<TcpStream>, shared: &Shared) -> io::Result<bool> {
    let heard = match wire::read(stream).await {
        Ok(Some(heard)) => heard,
        Ok(None) => return Ok(false),
        Err(error) => return refuse(stream, shared, error).await,
    };
    let (reply, fault) = shared.answer(&heard);
    if let Some(Fault::Reset(_)) = fault {
        stream.get_ref().set_zero_linger()?;
    }
    let goes_on = fault::deliver(stream, &reply, fault).await?;
    Ok(goes_on && !heard.wants_close())
}

async fn refuse(
    stream: &mut BufReader<TcpStream>,
    shared: &Shared,
    error: io::Error,
) -> io::Result<bool> {
    if error.kind() == io::ErrorKind::InvalidData {
        shared.complain(error.to_string());
        let reply = Reply::problem(400, "bad_request", "that is no HTTP request");
        fault::deliver(stream, &reply, None).await?;
    }
    Ok(false)
}

fn unauthorized() -> Reply {
    Reply::json(
        401,
        &json!({ "id": "Unauthorized", "message": "Unable to authenticate you" }),
    )
}

/// How long anything that a test waits for may take.
const DEADLINE: Duration = Duration::from_secs(20);
