use std::env;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;

/// Sockets that systemd opened before it started the daemon, each with the name that its unit gave it.
///
/// They outlive the daemon: while it restarts, connections wait instead of being refused, and a port below 1024 takes no
/// privilege.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(String, Socket)>);

/// One of them.
#[derive(Debug)]
pub(super) enum Socket {
    /// For addresses.
    Tcp(TcpListener),
    /// For this machine.
    Unix(UnixListener),
}

/// Why sockets of systemd could not be used as the configuration says.
#[derive(Debug)]
pub enum Unfit {
    /// What was passed is no socket that listens for connections.
    NoListener(String, io::Error),
    /// The configuration names one that was not passed; these were.
    Missing(String, Vec<String>),
    /// One was passed that no listener takes.
    Unclaimed(String),
    /// Its listener is to speak TLS or to take a PROXY header, and it is a unix socket.
    Local(String),
    /// Plain HTTP would leave this machine.
    Plain(String, SocketAddr),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListener(name, error) => write!(
                f,
                "what systemd passed as `{name}` is no stream socket: {error}; use `ListenStream=` in the socket unit"
            ),
            Self::Missing(name, passed) if passed.is_empty() => write!(
                f,
                "`listen` names the socket `{name}` of systemd, and systemd passed none; start the socket unit, which then starts tidegate"
            ),
            Self::Missing(name, passed) => write!(
                f,
                "`listen` names the socket `{name}` of systemd, which passed `{}`; the name is `FileDescriptorName=` of the socket unit, or else the unit's own",
                passed.join("`, `")
            ),
            Self::Unclaimed(name) => write!(
                f,
                "systemd passed the socket `{name}`, and no listener takes it, so its clients would wait forever; add {{ systemd: \"{name}\" }} to `listen`, or stop its socket unit"
            ),
            Self::Local(name) => write!(
                f,
                "the socket `{name}` of systemd is a unix socket, which needs no `tls` and can't have `proxy_protocol`; take them out of its listener"
            ),
            Self::Plain(name, address) => write!(
                f,
                "the socket `{name}` of systemd is at {address}, and plain HTTP is served on loopback only, as anyone on the way could read sub-tokens; give its listener `tls`, or set `allow_plaintext: true` there if another program adds it"
            ),
        }
    }
}

impl std::error::Error for Unfit {}

impl Inherited {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// Takes what `LISTEN_FDS` says was passed to this process, and takes the variable away from those it might start.
    ///
    /// INVARIANT: called while there is one thread, as it changes the environment.
    ///
    /// # Errors
    /// `Unfit::NoListener`.
    pub fn take() -> Result<Self, Unfit> {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let mut names = names.split(':'); // one without a name has its place among them
        let mut sockets = Vec::new();
        for index in 0..passed.len() {
            let name = names
                .next()
                .filter(|name| !name.is_empty())
                .unwrap_or(NAMELESS)
                .to_owned();
            let socket = match passed.take_tcp_listener(index) {
                Ok(Some(socket)) => Socket::Tcp(socket),
                Ok(None) => continue,
                Err(_) => match passed.take_unix_listener(index) {
                    Ok(Some(socket)) => Socket::Unix(socket),
                    Ok(None) => continue,
                    Err(error) => return Err(Unfit::NoListener(name, error)),
                },
            };
            sockets.push((name, socket));
        }
        Ok(Self(sockets))
    }

    /// Hands out all sockets of that name; a unit may have several.
    ///
    /// # Errors
    /// `Unfit::Missing` if there is none.
    pub(super) fn named(&mut self, name: &str) -> Result<Vec<Socket>, Unfit> {
        let (own, others) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(given, _)| given == name);
        self.0 = others;
        let own: Vec<(String, Socket)> = own;
        if own.is_empty() {
            let others = self.0.iter().map(|(name, _)| name.clone()).collect();
            return Err(Unfit::Missing(name.to_owned(), others));
        }
        Ok(own.into_iter().map(|(_, socket)| socket).collect())
    }

    /// Checks that every socket has its listener.
    ///
    /// # Errors
    /// `Unfit::Unclaimed`.
    pub(super) fn all_taken(self) -> Result<(), Unfit> {
        match self.0.into_iter().next() {
            Some((name, _)) => Err(Unfit::Unclaimed(name)),
            None => Ok(()),
        }
    }
}

/// What systemd calls a socket that has no name.
const NAMELESS: &str = "unknown";
