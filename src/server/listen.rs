use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::{Listen, ProxyHeader};

/// A place where connections come in.
pub enum Listener {
    /// An address. The one of the configuration names its TLS, if it has any.
    Tcp {
        /// The listener.
        listener: TcpListener,
        /// The address as the configuration writes it.
        configured: SocketAddr,
        /// Whether it speaks TLS.
        tls: bool,
        /// What comes before that.
        header: ProxyHeader,
    },
    /// A unix socket.
    Unix {
        /// The listener.
        listener: UnixListener,
        /// Where its file is, which goes with it.
        path: PathBuf,
        /// Which file that is, as another daemon may have put its own there.
        file: (u64, u64),
    },
}

/// A connection that has come in.
pub enum Stream {
    /// From an address.
    Tcp(TcpStream, SocketAddr),
    /// Over a unix socket.
    Unix(UnixStream),
}

impl Listener {
    /// Begins to listen.
    ///
    /// # Errors
    /// The system's own.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Plain(address, header) => Ok(Self::Tcp {
                listener: TcpListener::bind(address).await?,
                configured: *address,
                tls: false,
                header: *header,
            }),
            Listen::Tls(address, header, _) => Ok(Self::Tcp {
                listener: TcpListener::bind(address).await?,
                configured: *address,
                tls: true,
                header: *header,
            }),
            Listen::Unix(path) => {
                let listener = bind_unix(path)?;
                Ok(Self::Unix {
                    listener,
                    path: path.clone(),
                    file: identity(path)?,
                })
            }
        }
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// The system's own; the next may come all the same.
    pub async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp { listener, .. } => listener
                .accept()
                .await
                .map(|(stream, address)| Stream::Tcp(stream, address)),
            Self::Unix { listener, .. } => listener
                .accept()
                .await
                .map(|(stream, _)| Stream::Unix(stream)),
        }
    }

    /// What comes first on its connections.
    pub fn header(&self) -> ProxyHeader {
        match self {
            Self::Tcp { header, .. } => *header,
            Self::Unix { .. } => ProxyHeader::None,
        }
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self, Self::Tcp { tls: true, .. })
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
            } => write!(f, "{}", listener.local_addr().unwrap_or(*configured)),
            Self::Unix { path, .. } => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix { path, file, .. } = self
            && identity(path).is_ok_and(|there| there == *file)
        {
            let _ = fs::remove_file(path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
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
    fs::set_permissions(&beside, fs::Permissions::from_mode(0o660))?;
    fs::rename(&beside, path)?;
    Ok(listener)
}
