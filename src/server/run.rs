use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;
use tracing::{info, warn};

use super::descriptors;
use super::door::{Behind, Door};
use super::inherited::{Inherited, Unfit};
use super::listen::{BindError, Listener};
use super::listeners::{Doors, patience};
use super::supervisor;
use super::watchdog::Heart;
use super::watcher::Watcher;
use super::workers::Workers;
use crate::admin::{Admin, Phase, keep_asking, keep_refreshing};
use crate::audit::{Audit, recorded_until};
use crate::config::{AuditSettings, AuditSink, Listen, Problem, Settings};
use crate::console::{Console, History};
use crate::gate::Gate;
use crate::rules::{Current, ReloadCause, Rules};
use crate::state::{Live, StateError};

/// Why the daemon could not start.
#[derive(Debug)]
pub enum StartError {
    /// Its files have mistakes.
    Files(Vec<Problem>),
    /// The state can't be used.
    State(StateError),
    /// The audit sink can't be opened.
    Audit(AuditSettings, io::Error),
    /// A place can't be listened at.
    Listen(Listen, io::Error),
    /// What systemd passed is not what the configuration asks for.
    Systemd(Unfit),
    /// Signals can't be waited for.
    Signals(io::Error),
    /// The threads that serve can't be started.
    Threads(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            Self::State(error) => write!(f, "{error}"),
            Self::Audit(settings, error) => match &settings.sink {
                AuditSink::Stdout => {
                    write!(f, "the audit sink `stdout` can't be used: {error}")
                }
                AuditSink::File(path) => write!(
                    f,
                    "the audit file `{}` can't be opened: {error}; check `audit` in the configuration and who owns the directory",
                    path.display()
                ),
            },
            Self::Listen(Listen::Plain(place, ..) | Listen::Tls(place, ..), error) => {
                write!(
                    f,
                    "can't listen on {place}: {error}; is another program there, or the port below 1024?"
                )
            }
            Self::Listen(Listen::Unix(path), error) => {
                write!(
                    f,
                    "can't listen on `{}`: {error}; is the directory there, and this user's?",
                    path.display()
                )
            }
            Self::Systemd(unfit) => write!(f, "{unfit}"),
            Self::Signals(error) => write!(f, "signals can't be waited for: {error}"),
            Self::Threads(error) => write!(
                f,
                "the threads that serve can't be started: {error}; how many may this user have?"
            ),
        }
    }
}

impl std::error::Error for StartError {}

/// How long requests under way may take to end once the daemon is told to stop.
const DRAIN: Duration = Duration::from_secs(30);
/// How long those who ask at `admin` may take for their last answer.
const ADMIN_DRAIN: Duration = Duration::from_secs(1);
/// Connections to `admin` at once: apart from those of clients, so that neither keeps the other out.
const ADMIN_CONNECTIONS: usize = 64;

/// Runs the daemon until SIGTERM or SIGINT; then lets requests under way end, and returns. SIGHUP reloads, and so
/// does a change of a file. `inherited` are the sockets that systemd passed on.
///
/// # Errors
/// `StartError`, before anything is served.
pub async fn run(config: &Path, mut inherited: Inherited) -> Result<(), StartError> {
    let current = Arc::new(Current::load(config).map_err(StartError::Files)?);
    let serving = current.get();
    let settings = &serving.rules.settings;
    descriptors::make_room(&settings.limits);
    // A file that may not grow is a disk that is full: writing to it fails, and the daemon goes on.
    let _too_large = signal(SignalKind::from_raw(FILE_TOO_LARGE)).map_err(StartError::Signals)?;
    let tokens = open_state(settings).await?;
    let unwritable = |error| StartError::Audit(settings.audit.clone(), error);
    let history = settings.console.as_ref().map(|_| Arc::<History>::default());
    let seen = history.clone().map(History::seen);
    let audit = Arc::new(Audit::open_seen(&settings.audit, seen).map_err(unwritable)?);
    let mut listeners = Vec::new();
    for listen in &settings.listen {
        listeners.extend(bind(listen, &mut inherited).await?);
    }
    let admin_listeners = match &settings.admin {
        Some(listen) => bind(listen, &mut inherited).await?,
        None => Vec::new(),
    };
    inherited.all_taken().map_err(StartError::Systemd)?;
    let gate = Gate::new(current.clone(), tokens.clone(), audit.clone());
    let console = history.map(|history| {
        let of = (current.clone(), tokens.clone(), audit.clone());
        Arc::new(Console::new(of, history))
    });
    let admin = Admin::new(current.clone(), tokens.clone(), audit.clone());
    let admin = Arc::new(admin);
    let mut signals = Signals::new().map_err(StartError::Signals)?;
    let mut heart = Heart::new();
    let behind = Behind::Admin(admin.clone(), console);
    if !admin_listeners.is_empty() {
        tokio::spawn(keep_asking(current.clone()));
    }
    let aside = Aside::open(admin_listeners, &behind, settings, &mut heart);
    tokio::spawn(keep_refreshing(current.clone()));
    for listener in &listeners {
        info!(address = %listener, tls = listener.is_tls(), "listening");
    }
    let workers = Workers::start(&mut heart).map_err(StartError::Threads)?;
    let doors = Doors::open(gate, listeners, settings, workers, &mut heart);
    drop(serving);
    in_force(&current, &tokens);
    admin.enter(Phase::Listening);
    supervisor::ready(&status(&current));
    tokio::spawn(heart.feed(tokens.clone(), audit.clone()));
    reload_until_stopped(&mut signals, &current, &tokens, &audit).await;
    admin.enter(Phase::Draining);
    supervisor::stopping();
    info!("stopping; requests under way may end");
    tokio::select! {
        () = doors.close() => info!("stopped"),
        () = tokio::time::sleep(DRAIN) => warn!("stopped with requests under way"),
        _ = signals.next() => warn!("stopped at once, as asked again"),
    }
    audit.flush().await;
    aside.close().await;
    Ok(())
}

/// Takes files up as they change, or when asked to, until the daemon is to stop.
async fn reload_until_stopped(
    signals: &mut Signals,
    current: &Arc<Current>,
    tokens: &Arc<Live>,
    audit: &Audit,
) {
    let mut files = Watcher::new(current.clone());
    loop {
        tokio::select! {
            signal = signals.next() => match signal {
                Some(Signal::Reload) => {
                    reload(current, tokens, ReloadCause::Signal).await;
                    audit.reopen(&current.get().rules.settings.audit);
                }
                Some(Signal::Stop) | None => break,
            },
            () = files.changed() => reload(current, tokens, ReloadCause::Files).await,
        }
    }
}

/// The listeners of health, metrics and the console: open until the last request has ended, so that it can be seen how that goes.
struct Aside {
    accepting: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Aside {
    fn open(
        listeners: Vec<Listener>,
        behind: &Behind,
        settings: &Settings,
        heart: &mut Heart,
    ) -> Self {
        let (stop, stopping) = watch::channel(false);
        let mut accepting = JoinSet::new();
        for listener in listeners {
            info!(address = %listener, tls = listener.is_tls(), admin = true, "listening");
            let door = Door {
                behind: behind.clone(),
                slots: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
                clients: Arc::default(),
                stopping: stopping.clone(),
                patience: patience(settings),
                told: Arc::default(),
                handshake: Arc::default(),
                full: Arc::default(),
                unreadable: Arc::default(),
                workers: Arc::default(),
                beat: heart.beat(&listener),
            };
            accepting.spawn(door.accept(listener));
        }
        Self { accepting, stop }
    }

    async fn close(self) {
        let _ = self.stop.send(true);
        let _ = timeout(ADMIN_DRAIN, all(self.accepting)).await;
    }
}

/// Waits until all of them have ended.
async fn all(mut tasks: JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}

/// SIGXFSZ, which ends a process that does not handle it.
const FILE_TOO_LARGE: i32 = rustix::process::Signal::XFSZ.as_raw();

/// Reloads, and tells systemd when it begins and when it is done. It is done aside, as this thread answers at `admin`.
async fn reload(current: &Arc<Current>, tokens: &Arc<Live>, why: ReloadCause) {
    let (current, tokens) = (Arc::clone(current), Arc::clone(tokens));
    let aside = spawn_blocking(move || {
        supervisor::reloading();
        let before = current.get();
        current.reload(why);
        if !Arc::ptr_eq(&before, &current.get()) {
            in_force(&current, &tokens);
        }
        supervisor::ready(&status(&current));
    });
    if let Err(error) = aside.await {
        warn!(%error, "a reload broke off; what was in force stays so");
    }
}

/// Says what requests are judged and sent by from now on, and what of it won't last.
fn in_force(current: &Current, tokens: &Live) {
    let serving = current.get();
    let Rules {
        settings,
        policy,
        policy_hash,
        certificates,
        ..
    } = &serving.rules;
    let count = tokens.count(serving.rules.in_force(), tokens.now());
    let count: Vec<_> = count
        .by_state
        .iter()
        .map(|(state, count)| format!("{state}={count}"))
        .collect();
    let asks =
        |listen: &&Listen| matches!(listen, Listen::Tls(_, _, tls) if tls.client_ca.is_some());
    let audit = match &settings.audit.sink {
        AuditSink::Stdout => "stdout".to_owned(),
        AuditSink::File(path) => path.display().to_string(),
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        policy = %settings.policy.display(),
        policy_sha256 = policy_hash,
        roles = policy.roles.len(),
        tokens = count.join(" "),
        upstream = %settings.upstream.url,
        state = %settings.state,
        audit,
        mtls_listeners = settings.listen.iter().filter(asks).count(),
        "in force"
    );
    let lost = tokens.unusable(policy);
    if lost > 0 {
        warn!(
            tokens = lost,
            "living sub-tokens have a role or variable that the policy does not have, and are refused; `tidegate token list` shows which"
        );
    }
    let now = Timestamp::now();
    for certificate in certificates {
        if certificate.ends.duration_since(now) < SOON {
            warn!(file = %certificate.path.display(), ends = %certificate.ends, "a certificate ends soon, or has ended; renew it, or clients refuse the connection");
        }
    }
}

/// How long before its end a certificate is told of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// What `systemctl status` shows.
fn status(current: &Current) -> String {
    match current.last().problems.as_slice() {
        [] => match current.get().rules.policy.roles.len() {
            1 => "serving; 1 role".to_owned(),
            roles => format!("serving; {roles} roles"),
        },
        [_] => {
            "serving by old files, as the last reload failed of a mistake; see the log".to_owned()
        }
        more => format!(
            "serving by old files, as the last reload failed of {} mistakes; see the log",
            more.len()
        ),
    }
}

async fn bind(listen: &Listen, inherited: &mut Inherited) -> Result<Vec<Listener>, StartError> {
    let bound = Listener::bind(listen, inherited).await;
    bound.map_err(|unbound| match unbound {
        BindError::System(error) => StartError::Listen(listen.clone(), error),
        BindError::Systemd(unfit) => StartError::Systemd(unfit),
    })
}

/// Opens the state where waiting holds nobody up.
async fn open_state(settings: &Settings) -> Result<Arc<Live>, StartError> {
    let (place, recorded) = (settings.state.clone(), recorded_until(&settings.audit));
    let opened = tokio::task::spawn_blocking(move || Live::open(&place, recorded)).await;
    let opened = opened.map_err(|error| StartError::Signals(error.into()))?;
    opened.map_err(StartError::State)
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
