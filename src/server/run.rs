use std::convert::Infallible;
use std::fmt::{self, Write};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::connection::{Patience, Watch, Watched};
use super::gate::Gate;
use super::serving::Current;
use crate::audit::Audit;
use crate::config::{AuditSettings, Problem, Settings};
use crate::identify::Peer;
use crate::refusal::{Code, Refusal};
use crate::response::refused;
use crate::token::{ClientAddr, Live, StateError};

/// Why the daemon could not start.
#[derive(Debug)]
pub enum Failed {
    /// Its files have mistakes.
    Files(Vec<Problem>),
    /// The state can't be used.
    State(StateError),
    /// The audit sink can't be opened.
    Audit(AuditSettings, io::Error),
    /// An address can't be listened on.
    Listen(SocketAddr, io::Error),
    /// Signals can't be waited for.
    Signals(io::Error),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::State(error) => write!(f, "{error}"),
            Self::Audit(settings, error) => match &settings.sink {
                crate::config::AuditSink::Stdout => {
                    write!(f, "the audit sink `stdout` can't be used: {error}")
                }
                crate::config::AuditSink::File(path) => write!(
                    f,
                    "the audit file `{}` can't be opened: {error}; check `audit` in the configuration and who owns the directory",
                    path.display()
                ),
            },
            Self::Listen(address, error) => write!(
                f,
                "can't listen on {address}: {error}; is another program there, or the port below 1024?"
            ),
            Self::Signals(error) => write!(f, "signals can't be waited for: {error}"),
        }
    }
}

impl std::error::Error for Failed {}

/// How long requests under way may take to end once the daemon is told to stop.
const DRAIN: Duration = Duration::from_secs(30);

/// Runs the daemon until SIGTERM or SIGINT; then lets requests under way end, and returns. SIGHUP reloads.
///
/// # Errors
/// `Failed`, before anything is served.
pub async fn run(config: &Path) -> Result<(), Failed> {
    let current = Arc::new(Current::load(config).map_err(Failed::Files)?);
    let serving = current.get();
    let settings = &serving.rules.settings;
    let tokens = Live::open(&settings.state).map_err(Failed::State)?;
    let audit = Audit::open(&settings.audit)
        .map_err(|error| Failed::Audit(settings.audit.clone(), error))?;
    let audit = Arc::new(audit);
    let mut listeners = Vec::new();
    for address in &settings.listen {
        listeners.push(
            TcpListener::bind(address)
                .await
                .map_err(|error| Failed::Listen(*address, error))?,
        );
    }
    let (gate, mut ended) = Gate::new(current.clone(), tokens, audit.clone());
    let gate = Arc::new(gate);
    let (stop, stopping) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(settings.limits.connections));
    let mut tasks = JoinSet::new();
    let mut signals = Signals::new().map_err(Failed::Signals)?;
    for listener in listeners {
        let address = listener.local_addr().map_err(Failed::Signals)?;
        info!(%address, tls = false, "listening");
        let door = Door {
            gate: gate.clone(),
            slots: slots.clone(),
            stopping: stopping.clone(),
            patience: patience(settings),
        };
        tasks.spawn(door.accept(listener));
    }
    drop(serving);
    while let Some(signal) = signals.next().await {
        match signal {
            Signal::Reload => {
                current.reload();
                audit.reopen(&current.get().rules.settings.audit);
            }
            Signal::Stop => break,
        }
    }
    info!("stopping; requests under way may end");
    gate.drain();
    let _ = stop.send(true);
    let drained = async {
        while tasks.join_next().await.is_some() {}
        while ended.recv().await.is_some() {}
    };
    tokio::select! {
        () = drained => info!("stopped"),
        () = tokio::time::sleep(DRAIN) => warn!("stopped with requests under way"),
        _ = signals.next() => warn!("stopped at once, as asked again"),
    }
    audit.flush().await;
    Ok(())
}

fn patience(settings: &Settings) -> Patience {
    Patience {
        head: settings.limits.header_timeout,
        quiet: settings.limits.idle_timeout,
    }
}

enum Signal {
    Reload,
    Stop,
}

struct Signals {
    hup: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Option<Signal> {
        tokio::select! {
            _ = self.hup.recv() => Some(Signal::Reload),
            _ = self.term.recv() => Some(Signal::Stop),
            _ = self.int.recv() => Some(Signal::Stop),
        }
    }
}

/// A listener's way to its connections.
#[derive(Clone)]
struct Door {
    gate: Arc<Gate>,
    slots: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
    patience: Patience,
}

impl Door {
    async fn accept(mut self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, address)) => self.admit(stream, address, &mut connections),
                    Err(error) => {
                        // Out of descriptors, mostly: it passes when connections end.
                        warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                _ = self.stopping.changed() => break,
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    fn admit(&self, stream: TcpStream, address: SocketAddr, connections: &mut JoinSet<()>) {
        match self.slots.clone().try_acquire_owned() {
            Ok(slot) => {
                connections.spawn(self.clone().serve(stream, address, slot));
            }
            Err(_) => {
                connections.spawn(turn_away(stream));
            }
        }
    }

    async fn serve(mut self, stream: TcpStream, address: SocketAddr, _slot: OwnedSemaphorePermit) {
        let _ = stream.set_nodelay(true);
        let peer = Peer {
            addr: ClientAddr::Ip(address.ip().to_canonical()),
            tls: false,
        };
        let watch = Watch::new();
        let service = service_fn(|request: Request<Incoming>| {
            let busy = watch.busy();
            let gate = self.gate.clone();
            async move {
                Ok::<_, Infallible>(
                    gate.handle(request, peer)
                        .await
                        .map(|body| Held { body, _busy: busy }),
                )
            }
        });
        let limit = self
            .gate
            .serving()
            .rules
            .settings
            .limits
            .header_bytes
            .bytes();
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(None)
            .max_buf_size(limit + HEADROOM)
            .serve_connection(Watched::new(TokioIo::new(stream), watch.clone()), service);
        let mut connection = pin!(connection);
        let mut stopping = false;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        debug!(%error, "a connection ended");
                    }
                    return;
                }
                () = watch.overdue(self.patience) => return,
                _ = self.stopping.wait_for(|stop| *stop), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// Beyond the limit of headers hyper answers with a bare 431; up to here tidegate says what is wrong.
const HEADROOM: usize = 64 << 10;

/// The answer to a connection beyond the most that are served at once.
async fn turn_away(mut stream: TcpStream) {
    let refusal = Refusal::new(
        Code::Overloaded,
        "tidegate has as many connections as it may have; nothing was read; try again",
    );
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

/// An answer's body, which keeps its connection busy until it has gone.
struct Held<B> {
    body: B,
    _busy: super::connection::Busy,
}

impl<B: hyper::body::Body + Unpin> hyper::body::Body for Held<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<B::Data>, B::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
