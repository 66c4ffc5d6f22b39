//! Connections to the API. One of HTTP/1.1 is polled by the request that goes over it; one of HTTP/2 has a task of its own.
//!
//! hyper's own pool has a task for each connection, and hands requests and answers over by channels and wake-ups. Here a
//! request of HTTP/1.1 polls its connection itself: nothing is woken but by the socket. While nobody asks, nobody polls, so that
//! a kept connection is looked at before it is used, and what was left for too long is swept. HTTP/2 carries many requests
//! at a time, which no single one of them can poll.
//!
//! A request that was not begun to be written is put on another connection. Nothing else is ever sent again here.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery, Scheme};
use hyper::{Request, Response, Uri, Version};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service;

use super::body::Outgoing;
use super::connect::Connector;
use super::failure::Failure;

/// The connections to one API.
pub(super) struct Connections {
    connector: Connector,
    base: Uri,
    scheme: Scheme,
    authority: Authority,
    /// What is kept by each of the threads that serve: the system tells the thread that made a connection of what comes on it.
    by_thread: [ThreadConnections; THREADS],
    is_swept: AtomicBool,
}

/// A connection of HTTP/1.1, and the way to put a request on it. It is boxed where it is held, as futures carry it.
struct Http1Connection {
    send: http1::SendRequest<Outgoing>,
    /// What moves its bytes, while it is polled.
    driver: http1::Connection<MaybeHttpsStream<TokioIo<TcpStream>>, Outgoing>,
    /// The thread that made it.
    thread: usize,
}

#[derive(Default)]
struct ThreadConnections {
    /// Those of HTTP/1.1 that nobody uses. The one that was used last is last.
    idle: Mutex<Vec<Idle>>,
    /// The one of HTTP/2, if the API speaks that.
    shared: Mutex<Option<Http2Connection>>,
}

impl ThreadConnections {
    /// One of HTTP/2 on which the API was heard that lately.
    fn shared(&self, most: Duration) -> Option<Http2Connection> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let lately =
            |shared: &&Http2Connection| shared.heard().elapsed() < most && shared.send.is_ready();
        shared.as_ref().filter(lately).cloned()
    }

    /// One of HTTP/1.1 that is there still.
    fn idle(&self, most: Duration) -> Option<Box<Http1Connection>> {
        loop {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            let mut last = idle.pop_if(|last| last.since.elapsed() < most)?;
            drop(idle);
            if last.connection.is_there() {
                return Some(last.connection);
            }
        }
    }
}

struct Idle {
    connection: Box<Http1Connection>,
    since: Instant,
}

/// The way to put a request on the connection of HTTP/2, and when the API was heard on it last.
#[derive(Clone)]
struct Http2Connection {
    send: http2::SendRequest<Outgoing>,
    heard: Arc<Mutex<Instant>>,
}

/// What a new connection speaks.
enum Connection {
    Http1(Box<Http1Connection>),
    Http2(Http2Connection),
}

impl Http1Connection {
    /// Goes on with what there is to do; whether the connection has ended. Once it has, it is not polled again.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        Pin::new(&mut self.driver).poll(cx).is_ready()
    }

    /// Whether a request may be put on it: the API may have closed it while nobody looked.
    fn is_there(&mut self) -> bool {
        let mut still = Context::from_waker(Waker::noop());
        !self.poll(&mut still) && self.send.is_ready()
    }
}

impl Http2Connection {
    fn heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hears(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

impl Connections {
    /// None is made yet; `None` if `base` is no absolute URI.
    pub fn new(connector: Connector, base: &str) -> Option<Arc<Self>> {
        let base: Uri = base.parse().ok()?;
        let parts = base.clone().into_parts();
        Some(Arc::new(Self {
            connector,
            base,
            scheme: parts.scheme?,
            authority: parts.authority?,
            by_thread: Default::default(),
            is_swept: AtomicBool::new(false),
        }))
    }

    /// The `Host` of requests to it.
    pub fn host(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(self.authority.as_str()).ok()
    }

    /// Asks, over a connection on which the API was heard within `idle`, or over a new one. The request's target is path and
    /// query, and it names its host.
    pub async fn ask(
        self: &Arc<Self>,
        mut request: Request<Outgoing>,
        idle: Duration,
    ) -> Result<Response<Answered>, Failure> {
        loop {
            let (connection, is_new) = match self.kept(idle) {
                Some(kept) => (kept, false),
                None => (Box::pin(self.connect()).await?, true), // seldom, and large
            };
            let answer = match connection {
                Connection::Http1(connection) => self.ask_over(connection, request).await,
                Connection::Http2(connection) => {
                    Box::pin(self.ask_among(connection, request)).await
                }
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(Unanswered::NotBegun(unsent, _)) if !is_new => request = *unsent,
                Err(Unanswered::NotBegun(_, error)) => return Err(Failure::unheard(&error)),
                Err(Unanswered::Begun(error)) => return Err(Failure::of(&error)),
            }
        }
    }

    /// A connection that is there: of this thread, or rather one of another than a new one.
    fn kept(&self, most: Duration) -> Option<Connection> {
        let (before, from) = self.by_thread.split_at(own_thread());
        let mut threads = from.iter().chain(before);
        threads.find_map(|thread| {
            let shared = thread.shared(most).map(Connection::Http2);
            shared.or_else(|| thread.idle(most).map(Connection::Http1))
        })
    }

    fn keep(self: &Arc<Self>, connection: Box<Http1Connection>) {
        let Some(thread) = self.by_thread.get(connection.thread) else {
            return;
        };
        let since = Instant::now();
        let mut idle = thread.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle { connection, since });
        drop(idle);
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let mut connector = self.connector.clone();
        let stream = connector
            .call(self.base.clone())
            .await
            .map_err(|error| Failure::unconnected(&*error))?;
        if stream.connected().is_negotiated_h2() {
            return Box::pin(self.connect_shared(stream)).await;
        }
        let (send, driver) = http1::Builder::new()
            .max_buf_size(READ_BYTES)
            .handshake(stream)
            .await
            .map_err(|error| Failure::unconnected(&error))?;
        Ok(Connection::Http1(Box::new(Http1Connection {
            send,
            driver,
            thread: own_thread(),
        })))
    }

    async fn connect_shared(
        &self,
        stream: MaybeHttpsStream<TokioIo<TcpStream>>,
    ) -> Result<Connection, Failure> {
        let (send, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .adaptive_window(true)
            .handshake(stream)
            .await
            .map_err(|error| Failure::unconnected(&error))?;
        tokio::spawn(async move {
            // Whoever has a request on it is told by its answer.
            let _ended = driver.await;
        });
        let heard = Arc::new(Mutex::new(Instant::now()));
        let made = Http2Connection { send, heard };
        if let Some(thread) = self.by_thread.get(own_thread()) {
            let mut shared = thread.shared.lock().unwrap_or_else(PoisonError::into_inner);
            *shared = Some(made.clone());
        }
        Ok(Connection::Http2(made))
    }

    async fn ask_over(
        self: &Arc<Self>,
        mut connection: Box<Http1Connection>,
        request: Request<Outgoing>,
    ) -> Result<Response<Answered>, Unanswered> {
        let mut sent = pin!(connection.send.try_send_request(request));
        let (mut is_first, mut is_over) = (true, false);
        let driver = &mut connection.driver;
        // Of what goes on within this poll nobody need be woken, so it is polled without; with the waker only before waiting.
        let answer = poll_fn(|cx| {
            let mut still = Context::from_waker(Waker::noop());
            if !std::mem::take(&mut is_first) {
                is_over = is_over || Pin::new(&mut *driver).poll(&mut still).is_ready();
                if let Poll::Ready(answer) = sent.as_mut().poll(&mut still) {
                    return Poll::Ready(answer);
                }
            }
            is_over = is_over || Pin::new(&mut *driver).poll(cx).is_ready();
            sent.as_mut().poll(&mut still)
        });
        let answer = answer.await.map_err(Unanswered::of)?;
        let connection = (!is_over).then_some(connection);
        Ok(answer.map(|body| Answered::over(body, connection, self)))
    }

    async fn ask_among(
        &self,
        mut connection: Http2Connection,
        mut request: Request<Outgoing>,
    ) -> Result<Response<Answered>, Unanswered> {
        self.make_absolute(&mut request);
        let answer = connection.send.try_send_request(request).await;
        let answer = answer.map_err(|error| match Unanswered::of(error) {
            Unanswered::NotBegun(mut unsent, error) => {
                self.make_relative(&mut unsent);
                Unanswered::NotBegun(unsent, error)
            }
            begun @ Unanswered::Begun(_) => begun,
        })?;
        connection.hears();
        Ok(answer.map(Answered::among))
    }

    /// HTTP/2 has the host in the target.
    fn make_absolute(&self, request: &mut Request<Outgoing>) {
        request.headers_mut().remove(HOST);
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.version_mut() = Version::HTTP_2;
    }

    fn make_relative(&self, request: &mut Request<Outgoing>) {
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
        *request.version_mut() = Version::HTTP_11;
        if let Some(host) = self.host() {
            request.headers_mut().insert(HOST, host);
        }
    }
}

/// Lets go of what nobody used for long, until nobody uses the connections at all.
async fn sweep(connections: Weak<Connections>) {
    loop {
        tokio::time::sleep(SWEPT_EVERY).await;
        let Some(connections) = connections.upgrade() else {
            return;
        };
        for thread in &connections.by_thread {
            let mut idle = thread.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.retain_mut(|idle| idle.since.elapsed() < READS_IDLE && idle.connection.is_there());
            drop(idle);
            let mut shared = thread.shared.lock().unwrap_or_else(PoisonError::into_inner);
            if shared
                .as_ref()
                .is_some_and(|shared| shared.heard().elapsed() >= READS_IDLE)
            {
                *shared = None;
            }
        }
    }
}

/// The number of this thread among those that make connections. Those beyond the last share with others.
fn own_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % THREADS);
    OWN.with(|own| *own)
}

/// The threads that are told apart.
const THREADS: usize = 32;

/// Why a request has no answer.
enum Unanswered {
    /// It was not begun to be written.
    NotBegun(Box<Request<Outgoing>>, hyper::Error),
    /// The API may have heard it.
    Begun(hyper::Error),
}

impl Unanswered {
    fn of(mut error: hyper::client::conn::TrySendError<Request<Outgoing>>) -> Self {
        match error.take_message() {
            Some(unsent) => Self::NotBegun(Box::new(unsent), error.into_error()),
            None => Self::Begun(error.into_error()),
        }
    }
}

/// The body of an answer, which brings its connection along.
pub struct Answered {
    body: Incoming,
    /// Where it is polled here, and whither it goes back.
    connection: Option<(Box<Http1Connection>, Arc<Connections>)>,
}

impl Answered {
    fn over(
        body: Incoming,
        connection: Option<Box<Http1Connection>>,
        connections: &Arc<Connections>,
    ) -> Self {
        let connection = connection.map(|connection| (connection, Arc::clone(connections)));
        let mut answered = Self { body, connection };
        if answered.body.is_end_stream() {
            answered.give_back();
        }
        answered
    }

    fn among(body: Incoming) -> Self {
        Self {
            body,
            connection: None,
        }
    }

    /// Goes on with the connection, and looks for a piece again.
    fn poll_connection(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self
            .connection
            .as_mut()
            .is_some_and(|(connection, _)| connection.poll(cx))
        {
            self.connection = None;
        }
        Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(Waker::noop()))
    }

    fn give_back(&mut self) {
        let Some((mut connection, connections)) = self.connection.take() else {
            return;
        };
        // It may not have seen yet that the answer was at its last byte.
        if connection.send.is_ready() || connection.is_there() {
            connections.keep(connection);
        }
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.connection.is_none() {
            return Pin::new(&mut self.body).poll_frame(cx);
        }
        let mut still = Context::from_waker(Waker::noop());
        let mut frame = Pin::new(&mut self.body).poll_frame(&mut still);
        if frame.is_pending() {
            frame = self.poll_connection(&mut still);
        }
        if frame.is_pending() {
            frame = self.poll_connection(cx);
        }
        if matches!(frame, Poll::Ready(None)) || self.body.is_end_stream() {
            self.give_back();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The most that is read at once. Pieces are held while an answer is searched, and larger ones would be taken from the system
/// and given back to it for each answer, which costs more than reading more often.
const READ_BYTES: usize = 64 << 10;

/// How long a connection is kept for the next read: less than servers usually keep theirs.
pub(super) const READS_IDLE: Duration = Duration::from_secs(30);

/// How long one is kept for what changes something, counted from the last answer on it: where the API closes a kept connection
/// as a request comes, nobody can tell whether it was heard, and the client would have to look before it repeats it.
pub(super) const CHANGES_IDLE: Duration = Duration::from_secs(1);

/// How often kept connections are looked at.
const SWEPT_EVERY: Duration = Duration::from_secs(10);
