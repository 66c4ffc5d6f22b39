use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use tokio::net;

use super::inherited::{Inherited, Socket, Unfit};
use crate::config::{Listen, ListenPlace, Plaintext, ProxyHeader};

/// A place where connections come in.
pub enum Listener {
    /// An address. The place of the configuration names its TLS, if it has any.
    Tcp {
        /// The listener.
        listener: TcpListener,
        /// The place as the configuration writes it.
        configured: ListenPlace,
        /// Whether it speaks TLS.
        tls: bool,
        /// What comes before that.
        header: ProxyHeader,
    },
    /// A unix socket.
    Unix {
        /// The listener.
        listener: UnixListener,
        /// The file that it made.
        file: Option<SocketFile>,
    },
}

/// The file of a unix socket, which goes with it.
pub(super) struct SocketFile {
    path: PathBuf,
    /// Which file that is, as another daemon may have put its own there.
    identity: (u64, u64),
}

/// A connection that has come in.
pub enum Stream {
    /// From an address.
    Tcp(net::TcpStream, SocketAddr),
    /// Over a unix socket.
    Unix(net::UnixStream),
}

/// The connections of a listener, of which the system tells the thread that made this.
pub(super) enum Arrivals {
    Tcp(net::TcpListener),
    Unix(net::UnixListener),
}

/// Why there is no listener.
#[derive(Debug)]
pub(super) enum BindError {
    /// The system's own.
    System(io::Error),
    /// What systemd passed is not what the configuration asks for.
    Systemd(Unfit),
}

impl From<io::Error> for BindError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<Unfit> for BindError {
    fn from(unfit: Unfit) -> Self {
        Self::Systemd(unfit)
    }
}

impl Listener {
    /// Begins to listen: at one place, or at all that systemd passed under one name.
    ///
    /// # Errors
    /// The system's own, or what is wrong with systemd's.
    pub async fn bind(listen: &Listen, inherited: &mut Inherited) -> Result<Vec<Self>, BindError> {
        let (place, header, tls) = match listen {
            Listen::Plain(place, header, _) => (place, *header, false),
            Listen::Tls(place, header, _) => (place, *header, true),
            Listen::Unix(path) => return Ok(vec![Self::at_path(path)?]),
        };
        match place {
            ListenPlace::Address(address) => Ok(vec![Self::Tcp {
                listener: bind_tcp(*address).await?,
                configured: place.clone(),
                tls,
                header,
            }]),
            ListenPlace::Systemd(name) => inherited
                .named(name)?
                .into_iter()
                .map(|socket| Self::of_systemd(name, socket, listen))
                .collect(),
        }
    }

    fn at_path(path: &Path) -> io::Result<Self> {
        let listener = bind_unix(path)?;
        Ok(Self::Unix {
            listener,
            file: Some(SocketFile {
                path: path.to_owned(),
                identity: identity(path)?,
            }),
        })
    }

    /// What an address of the configuration is checked for when it is read, this is checked for here: which address it has,
    /// the socket's unit says.
    fn of_systemd(name: &str, socket: Socket, listen: &Listen) -> Result<Self, BindError> {
        match (socket, listen) {
            (Socket::Tcp(socket), Listen::Plain(place, header, plaintext)) => {
                let address = socket.local_addr()?;
                let is_near = address.ip().to_canonical().is_loopback();
                if !is_near && *plaintext == Plaintext::Loopback {
                    return Err(Unfit::Plain(name.to_owned(), address).into());
                }
                Self::passed(socket, place, *header, false)
            }
            (Socket::Tcp(socket), Listen::Tls(place, header, _)) => {
                Self::passed(socket, place, *header, true)
            }
            (Socket::Unix(socket), Listen::Plain(_, ProxyHeader::None, _)) => {
                socket.set_nonblocking(true)?;
                Ok(Self::Unix {
                    listener: socket,
                    file: None, // it is systemd's
                })
            }
            (Socket::Unix(_), _) | (Socket::Tcp(_), Listen::Unix(_)) => {
                Err(Unfit::Local(name.to_owned()).into())
            }
        }
    }

    fn passed(
        socket: std::net::TcpListener,
        place: &ListenPlace,
        header: ProxyHeader,
        tls: bool,
    ) -> Result<Self, BindError> {
        socket.set_nonblocking(true)?;
        Ok(Self::Tcp {
            listener: socket,
            configured: place.clone(),
            tls,
            header,
        })
    }

    /// Lets this thread take its connections in.
    ///
    /// # Errors
    /// The system's own.
    pub(super) fn arrivals(&self) -> io::Result<Arrivals> {
        Ok(match self {
            Self::Tcp { listener, .. } => {
                Arrivals::Tcp(net::TcpListener::from_std(listener.try_clone()?)?)
            }
            Self::Unix { listener, .. } => {
                Arrivals::Unix(net::UnixListener::from_std(listener.try_clone()?)?)
            }
        })
    }

    /// What comes first on its connections.
    pub fn header(&self) -> ProxyHeader {
        match self {
            Self::Tcp { header, .. } => *header,
            Self::Unix { .. } => ProxyHeader::None,
        }
    }

    /// Its address, with the port that it got.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp { listener, .. } => listener.local_addr().ok(),
            Self::Unix { .. } => None,
        }
    }

    /// Whether it speaks TLS.
    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
    }
}

impl Arrivals {
    /// Waits for the next connection.
    ///
    /// # Errors
    /// The system's own; the next may come all the same.
    pub async fn next(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener
                .accept()
                .await
                .map(|(stream, address)| Stream::Tcp(stream, address)),
            Self::Unix(listener) => listener
                .accept()
                .await
                .map(|(stream, _)| Stream::Unix(stream)),
        }
    }
}

/// Where it listens, with the port that it got.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp {
                listener,
                configured,
                ..
            } => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(_) => write!(f, "{configured}"),
            },
            Self::Unix { listener, file } => {
                let bound = listener.local_addr().ok();
                let bound = bound.as_ref().and_then(|bound| bound.as_pathname());
                let path = file.as_ref().map(|file| file.path.as_path()).or(bound);
                write!(f, "unix:{}", path.unwrap_or(Path::new("")).display())
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix {
            file: Some(file), ..
        } = self
            && identity(&file.path).is_ok_and(|there| there == file.identity)
        {
            let _ = fs::remove_file(&file.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Binds by tokio, with which more clients may wait to be taken in than with the standard library.
async fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    net::TcpListener::bind(address).await?.into_std()
}

/// Binds beside the path and moves the socket there once it has its mode, so that it is never open to more than it should
/// be, and what a crash left behind is replaced.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        ));
    }
    let listener = UnixListener::bind(&beside)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o660))?;
    fs::rename(&beside, path)?;
    Ok(listener)
}
