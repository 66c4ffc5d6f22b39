use std::convert::Infallible;
use std::fmt::Write;
use std::future::ready;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::Either;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{HOST, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{debug, error, warn};

use super::connection::{Busy, Patience, Watch, Watched};
use super::http1::{self, Ends, Wire};
use super::listen::{Listener, Stream};
use super::proxy::{self, ProxiedPeer};
use super::watchdog::{BEAT, Beat};
use super::workers::Workers;
use crate::admin::Admin;
use crate::config::{ListenPlace, ProxyHeader};
use crate::console::Console;
use crate::gate::Gate;
use crate::gate::{Clients, Seat};
use crate::identify::{Forwarding, Peer, is_trusted, subject};
use crate::metrics::{Handshake, UnreadableRequest};
use crate::refusal::{Code, Refusal};
use crate::response::{Answer, AnswerBody, refused};
use crate::rules::Serving;
use crate::token::ClientAddr;

/// A listener's way to its connections.
#[derive(Clone)]
pub(super) struct Door {
    pub behind: Behind,
    pub slots: Arc<Semaphore>,
    pub clients: Arc<Clients>,
    pub stopping: watch::Receiver<bool>,
    pub patience: Patience,
    pub told: Arc<Seldom>,
    /// When it was last said that a client's handshake failed.
    pub handshake: Arc<Seldom>,
    pub workers: Arc<Workers>,
    pub beat: Beat,
    pub full: Arc<Seldom>,
    pub unreadable: Arc<Unread>,
}

/// What is said of what could not be read, each by itself.
#[derive(Default)]
pub(super) struct Unread {
    malformed: Seldom,
    long_target: Seldom,
    large_head: Seldom,
}

impl Unread {
    fn tell(&self, unreadable: UnreadableRequest) {
        let seldom = match unreadable {
            UnreadableRequest::Malformed => &self.malformed,
            UnreadableRequest::LongTarget => &self.long_target,
            UnreadableRequest::LargeHead => &self.large_head,
        };
        let status = unreadable.status();
        seldom.once_in_a_while(|| warn!(status, "what a client sent could not be read as a request, and was answered with the status alone; `tidegate_unreadable_total` counts how often"));
    }
}

/// What is said at most once a minute, however often there is reason to: anyone can connect.
#[derive(Default)]
pub(super) struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    fn once_in_a_while(&self, say: impl FnOnce()) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(60)) {
            *last = Some(Instant::now());
            drop(last);
            say();
        }
    }
}

/// Who answers at a listener: never both.
#[derive(Clone)]
pub(super) enum Behind {
    /// Clients come to the API here.
    Gate(Arc<Gate>),
    /// Those who run tidegate ask here.
    Admin(Arc<Admin>, Option<Arc<Console>>),
}

impl Behind {
    fn answer(self, request: Request<Incoming>, peer: Peer) -> impl Future<Output = Answer> + Send {
        match self {
            Self::Gate(gate) => Either::Left(gate.handle(request, peer)),
            // In a box: a client's request would have to carry room for all that the console may wait for.
            Self::Admin(admin, console) => Either::Right(Box::pin(async move {
                match console {
                    Some(console) if !Admin::has(request.uri().path()) => {
                        console.answer(request, peer, &admin).await
                    }
                    Some(_) | None => admin.answer(&request).await,
                }
            })),
        }
    }

    fn serving(&self) -> Arc<Serving> {
        match self {
            Self::Gate(gate) => gate.serving(),
            Self::Admin(admin, _) => admin.current().get(),
        }
    }

    /// How many connections one client may have. Whoever runs tidegate is not held against that.
    fn most_per_client(&self) -> usize {
        match self {
            Self::Gate(_) => self.serving().rules.settings.limits.connections_per_client,
            Self::Admin(..) => usize::MAX,
        }
    }

    /// Counts a client that was turned away unheard.
    fn turned_away(&self) {
        match self {
            Self::Gate(gate) => gate.turned_away(),
            Self::Admin(..) => {}
        }
    }

    /// Counts what could not be read as a request.
    fn unreadable(&self, unreadable: UnreadableRequest) {
        match self {
            Self::Gate(gate) => gate.unreadable(unreadable),
            Self::Admin(..) => {}
        }
    }

    /// Counts a TLS handshake that came to nothing.
    fn handshake_failed(&self, why: Handshake) {
        match self {
            Self::Gate(gate) => gate.handshake_failed(why),
            Self::Admin(..) => {}
        }
    }

    /// The certificate of the moment: a reload changes it without a dropped connection.
    fn tls(&self, configured: &ListenPlace) -> Option<Arc<ServerConfig>> {
        let serving = self.serving();
        match self {
            Self::Gate(_) => serving.rules.tls(configured).cloned(),
            Self::Admin(..) => serving.rules.admin_tls().cloned(),
        }
    }
}

/// What a connection takes while it is there: one of all, and one of its client's.
struct Room {
    _slot: OwnedSemaphorePermit,
    _seat: Option<Seat>,
}

/// A client has as many connections as it may have.
struct Full;

/// A request that is being answered.
type Answering =
    Pin<Box<dyn Future<Output = Result<Response<TrackedBody<AnswerBody>>, Infallible>> + Send>>;

impl Door {
    /// Takes connections in until the daemon stops, and then waits for those that are left.
    pub async fn accept(mut self, listener: Listener) {
        let mut connections = JoinSet::new();
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let arrivals = match listener.arrivals() {
            Ok(arrivals) => arrivals,
            // No sign of life comes from here any more, by which a supervisor knows it, too.
            Err(error) => {
                return error!(%error, %listener, "nobody can be let in here; start tidegate anew");
            }
        };
        loop {
            tokio::select! {
                accepted = arrivals.next() => match accepted {
                    Ok(stream) => self.admit(stream, &listener, &mut connections),
                    Err(error) => {
                        // Out of descriptors, mostly: it passes when connections end.
                        warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                _ = beats.tick() => self.beat.strike(),
                _ = self.stopping.changed() => break,
            }
        }
        self.beat.rest();
        drop(arrivals);
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    fn admit(&self, stream: Stream, listener: &Listener, connections: &mut JoinSet<()>) {
        let slot = self.slots.clone().try_acquire_owned();
        if slot.is_err() {
            self.behind.turned_away();
        }
        match (stream, slot) {
            (Stream::Tcp(stream, address), Ok(slot)) => {
                let addr = address.ip().to_canonical();
                self.admit_tcp((stream, addr), slot, listener, connections);
            }
            (Stream::Unix(stream), Ok(slot)) => {
                let peer = Peer {
                    addr: ClientAddr::Unix,
                    forwarding: Forwarding::Own,
                    tls: false,
                    subject: None,
                };
                let room = Room {
                    _slot: slot,
                    _seat: None, // whoever is behind it: a socket's mode says who may come
                };
                let door = self.clone();
                let serve = move |stream| door.serve(stream, peer, room);
                self.workers.hand_out(connections, stream, serve);
            }
            (Stream::Tcp(stream, _), Err(_))
                if !listener.is_tls() && listener.header() == ProxyHeader::None =>
            {
                connections.spawn(turn_away(stream, ALL_TAKEN));
            }
            (Stream::Tcp(..), Err(_)) => {} // to say why would take a handshake, or a header
            (Stream::Unix(stream), Err(_)) => {
                connections.spawn(turn_away(stream, ALL_TAKEN));
            }
        }
    }

    fn admit_tcp(
        &self,
        (stream, addr): (TcpStream, IpAddr),
        slot: OwnedSemaphorePermit,
        listener: &Listener,
        connections: &mut JoinSet<()>,
    ) {
        let _ = stream.set_nodelay(true);
        let tls = match listener {
            Listener::Tcp {
                configured,
                tls: true,
                ..
            } => Some(self.behind.tls(configured)),
            Listener::Tcp { tls: false, .. } | Listener::Unix { .. } => None,
        };
        let acceptor = match tls {
            None => None,
            Some(None) => return, // a listener that the configuration has lost; it ends with the next start
            Some(Some(config)) => Some(TlsAcceptor::from(config)),
        };
        let (door, header) = (self.clone(), listener.header());
        if header == ProxyHeader::None {
            let seat = self.seat(addr); // in the order in which they come
            let from = (addr, Forwarding::Own);
            let serve = move |stream| door.enter(stream, from, acceptor, (slot, seat));
            return self.workers.hand_out(connections, stream, serve);
        }
        let serve = move |stream| async move {
            if let Some((stream, from)) = door.client(stream, addr, header).await {
                let seat = door.seat(from.0);
                door.enter(stream, from, acceptor, (slot, seat)).await;
            }
        };
        self.workers.hand_out(connections, stream, serve);
    }

    /// The client's address: where a PROXY header is required, the one that it tells. Where it tells none, that is the proxy's,
    /// and what the bytes behind it say of a client could be the client's own words. Nothing is read from whoever may not send
    /// one, as each could say to be anybody.
    async fn client(
        &self,
        mut stream: TcpStream,
        peer: IpAddr,
        header: ProxyHeader,
    ) -> Option<(TcpStream, (IpAddr, Forwarding))> {
        if header == ProxyHeader::None {
            return Some((stream, (peer, Forwarding::Own)));
        }
        if !is_trusted(peer, &self.behind.serving().rules.settings.trusted_proxies) {
            self.told.once_in_a_while(|| warn!(%peer, "a connection was closed: its listener requires a PROXY header, and this peer is not in `trusted_proxies`"));
            return None;
        }
        match tokio::time::timeout(self.patience.head, proxy::take(&mut stream)).await {
            Ok(Ok(ProxiedPeer::Client(addr))) => Some((stream, (addr, Forwarding::Own))),
            Ok(Ok(ProxiedPeer::ProxyItself)) => Some((stream, (peer, Forwarding::Unknown))),
            Ok(Err(why @ proxy::ProxyHeaderError::Header(_))) => {
                self.told
                    .once_in_a_while(|| warn!(%peer, %why, "a connection was closed"));
                None
            }
            // Load balancers look whether a port is open, and say nothing.
            Ok(Err(why @ proxy::ProxyHeaderError::Connection(_))) => {
                debug!(%peer, %why, "a connection was closed");
                None
            }
            Err(_) => {
                debug!(%peer, "a connection was closed: its PROXY header took too long");
                None
            }
        }
    }

    /// What a connection comes to, in a box as large as that: most are in the clear, and need the least.
    fn enter(
        self,
        stream: TcpStream,
        (addr, forwarding): (IpAddr, Forwarding),
        acceptor: Option<TlsAcceptor>,
        (slot, seat): (OwnedSemaphorePermit, Result<Option<Seat>, Full>),
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Ok(seat) = seat else {
            self.behind.turned_away();
            return match acceptor {
                None => Box::pin(turn_away(stream, YOURS_TAKEN)),
                Some(_) => Box::pin(ready(())), // to say why would take a handshake
            };
        };
        let room = Room {
            _slot: slot,
            _seat: seat,
        };
        let peer = Peer {
            addr: ClientAddr::Ip(addr),
            forwarding,
            tls: false,
            subject: None,
        };
        match acceptor {
            None => Box::pin(self.serve(stream, peer, room)),
            Some(acceptor) => Box::pin(self.shake_hands(stream, peer, acceptor, room)),
        }
    }

    /// One of the connections that the client may have. A trusted proxy is no client: many are behind it.
    fn seat(&self, addr: IpAddr) -> Result<Option<Seat>, Full> {
        if is_trusted(addr, &self.behind.serving().rules.settings.trusted_proxies) {
            return Ok(None);
        }
        let most = self.behind.most_per_client();
        if let Some(seat) = self.clients.seat(addr, most) {
            return Ok(Some(seat));
        }
        self.full.once_in_a_while(|| warn!(client = %addr, most, "a client has as many connections as it may have (`limits.connections_per_client`), and more are turned away; if it is a proxy, name it in `trusted_proxies`"));
        Err(Full)
    }

    async fn shake_hands(self, stream: TcpStream, peer: Peer, acceptor: TlsAcceptor, room: Room) {
        let stream = match tokio::time::timeout(self.patience.head, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                // Without a certificate that is asked for; scanners and clients that distrust ours are among them.
                self.handshake.once_in_a_while(|| warn!(client = %peer.addr, %error, "a TLS handshake failed; more are told once a minute"));
                self.behind.handshake_failed(why(&error));
                return debug!(client = %peer.addr, %error, "a TLS handshake failed");
            }
            Err(_) => {
                self.behind.handshake_failed(Handshake::Timeout);
                return debug!("a TLS handshake took too long");
            }
        };
        let has_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let chain = stream.get_ref().1.peer_certificates();
        let own = chain.and_then(<[_]>::first);
        let peer = Peer {
            tls: true,
            subject: own.and_then(|own| subject(own)).map(Arc::new),
            ..peer
        };
        if has_two {
            self.serve_two(stream, peer, room).await;
        } else {
            self.serve(stream, peer, room).await;
        }
    }

    /// Serves a connection of HTTP/1.
    fn serve<W: Wire>(self, stream: W, peer: Peer, room: Room) -> impl Future<Output = ()> + Send {
        let watch = Watch::new();
        let service = self.service(&watch, peer);
        let watched = (watch, self.patience);
        let most = self.most();
        let (behind, unread) = (self.behind, self.unreadable);
        let note = move |unreadable| {
            behind.unreadable(unreadable);
            unread.tell(unreadable);
        };
        http1::serve(stream, service, most, watched, self.stopping, room, note)
    }

    /// Serves a connection of HTTP/2.
    async fn serve_two(mut self, stream: TlsStream<TcpStream>, peer: Peer, _room: Room) {
        let watch = Watch::new();
        let service = self.service(&watch, peer);
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(self.most()).unwrap_or(u32::MAX))
            .max_frame_size(FRAME_BYTES)
            .initial_stream_window_size(STREAM_BYTES)
            .initial_connection_window_size(CONNECTION_BYTES)
            .max_send_buf_size(SEND_BYTES)
            .max_pending_accept_reset_streams(RESETS_UNHEARD)
            .max_local_error_reset_streams(RESETS_MADE);
        let watched = Watched::new(TokioIo::new(stream), watch.clone(), false);
        let mut connection = Box::pin(builder.serve_connection(watched, service));
        let mut ends = Ends {
            overdue: pin!(watch.overdue(self.patience)),
            stop: pin!(self.stopping.wait_for(|stop| *stop)),
            stopping: false,
            unreadable: None,
        };
        let shut_down =
            |connection: Pin<&mut http2::Connection<_, _, _>>| connection.graceful_shutdown();
        ends.run(connection.as_mut(), &watch, shut_down).await;
    }

    /// The bytes that a head may have.
    fn most(&self) -> usize {
        let serving = self.behind.serving();
        serving.rules.settings.limits.header_bytes.bytes() + HEADROOM
    }

    /// Answers what this peer asks.
    fn service(
        &self,
        watch: &Watch,
        peer: Peer,
    ) -> impl Service<
        Request<Incoming>,
        Response = Response<TrackedBody<AnswerBody>>,
        Error = Infallible,
        Future = Answering,
    > + Send
    + Unpin
    + use<> {
        let (seen, behind) = (watch.clone(), self.behind.clone());
        service_fn(move |request: Request<Incoming>| {
            let (busy, behind, peer) = (seen.busy(), behind.clone(), peer.clone());
            // hyper keeps room for what a request needs as long as its connection lives: a box that goes with the request.
            let answering: Answering = Box::pin(async move {
                let mut request = as_of_version_one(request);
                if let Some(oddity) = busy.oddity() {
                    request.extensions_mut().insert(oddity);
                }
                let answer = behind.answer(request, peer).await;
                Ok(answer.map(|body| TrackedBody::new(body, busy)))
            });
            answering
        })
    }
}

/// Beyond the limit of headers hyper answers with a bare 431; up to here tidegate says what is wrong.
const HEADROOM: usize = 64 << 10;
/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 128;
/// The bytes of a frame of HTTP/2, the least that a server must take.
const FRAME_BYTES: u32 = 16 << 10;
/// The bytes of one body, and of all of a connection, that may have come and were not read yet.
const STREAM_BYTES: u32 = 256 << 10;
const CONNECTION_BYTES: u32 = 1 << 20;
/// The bytes of one answer that wait for its client.
const SEND_BYTES: usize = 64 << 10;
/// Streams that a client opened and took back before they were looked at; with more it is flooding ("rapid reset",
/// CVE-2023-44487), and its connection ends.
const RESETS_UNHEARD: usize = 20;
/// Streams that had to be reset because the client broke the protocol in them; with more its connection ends.
const RESETS_MADE: usize = 128;
const ALL_TAKEN: &str =
    "tidegate has as many connections as it may have; nothing was read; try again";
const YOURS_TAKEN: &str = "there are as many connections from your address as there may be; nothing was read; close some, or use them again for the next request";

/// A request of HTTP/2 as one of HTTP/1.1 says the same: the authority in `Host`, beside another that it may have sent, and a
/// target that is a path.
fn as_of_version_one(mut request: Request<Incoming>) -> Request<Incoming> {
    if request.version() != hyper::Version::HTTP_2 {
        return request;
    }
    if let Some(authority) = request
        .uri()
        .authority()
        .and_then(|authority| HeaderValue::from_str(authority.as_str()).ok())
    {
        let same = |host: &HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
        let mut hosts = request.headers().get_all(HOST).iter();
        if hosts.next().is_none_or(same) && hosts.next().is_none() {
            request.headers_mut().insert(HOST, authority);
        } else {
            request.headers_mut().append(HOST, authority);
        }
    }
    if let Some(path) = request.uri().path_and_query().cloned() {
        *request.uri_mut() = path.into();
    }
    request
}

/// The answer to a connection beyond the most that are served at once.
async fn turn_away(mut stream: impl AsyncWrite + Unpin, why: &str) {
    let refusal = Refusal::new(Code::Overloaded, why);
    let (status, headers, body) = refused(&refusal, "");
    let mut head = format!(
        "HTTP/1.1 {} Service Unavailable\r\nconnection: close\r\ncontent-length: {}\r\n",
        status.as_u16(),
        body.len()
    );
    for (name, value) in &headers {
        let _ = write!(head, "{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    let whole = [head.as_bytes(), b"\r\n", &body].concat();
    let _ = tokio::time::timeout(Duration::from_secs(1), async {
        let _ = stream.write_all(&whole).await;
        let _ = stream.shutdown().await;
    })
    .await;
}

/// An answer's body, which keeps its connection busy until it has gone, and tells whether its client takes it.
struct TrackedBody<B: Body> {
    body: B,
    busy: Busy,
    /// Why the answer breaks off, once all before that is on its way.
    broken: Option<B::Error>,
}

impl<B: Body> TrackedBody<B> {
    fn new(body: B, busy: Busy) -> Self {
        busy.offers();
        Self {
            body,
            busy,
            broken: None,
        }
    }
}

impl<B: Body<Error: Unpin> + Unpin> Body for TrackedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        if let Some(broken) = self.broken.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        let frame = match Pin::new(&mut self.body).poll_frame(cx) {
            // hyper drops what it has not written yet, the head among it, as soon as a body fails. It writes where one pauses.
            Poll::Ready(Some(Err(error))) => {
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            frame => frame,
        };
        match &frame {
            // The next piece is asked for once this one has gone.
            Poll::Ready(_) => self.busy.offers(),
            Poll::Pending => self.busy.waits(),
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

/// Why a handshake came to nothing.
fn why(error: &io::Error) -> Handshake {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref());
    match of_tls {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            Handshake::ClientCertificate
        }
        Some(_) | None => Handshake::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound, in bytes, which only goes down.
    const MOST: usize = 1 << 10;

    /// It is made for each request, and moved into its box.
    #[test]
    fn what_answers_a_request_is_small() {
        fn size<F: Future>(_: fn(Behind, Request<Incoming>, Peer) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(Behind::answer);
        assert!(size <= MOST, "{size} bytes");
    }
}
