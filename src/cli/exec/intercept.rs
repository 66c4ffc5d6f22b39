//! For clients whose host is fixed: a proxy of this run, at which `api.digitalocean.com` is the gate itself, and every other host
//! is joined through unread.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;
use zeroize::Zeroizing;

use super::proxies::{Beyond, Proxy};

/// The host that is the gate.
pub(super) const API: &str = "api.digitalocean.com";
/// Its port.
const API_PORT: u16 = 443;
/// Who comes with the password.
const USER: &str = "tidegate";
/// The most bytes that the head of a request for a connection may have.
const MOST: usize = 16 << 10;
/// How long it may take, and how long a connection may take to be made.
const PATIENCE: Duration = Duration::from_secs(30);

/// The proxy, listening.
pub(super) struct Intercept {
    /// Its URL, with the password of this run: loopback is shared with whoever else is on this machine.
    pub url: Zeroizing<String>,
}

struct InterceptRoute {
    credentials: Zeroizing<String>,
    gate: SocketAddr,
    beyond: Beyond,
}

impl Intercept {
    /// Begins to listen, and goes on to as long as the runtime is there.
    ///
    /// # Errors
    /// The system's own.
    pub async fn open(gate: SocketAddr, beyond: Beyond) -> io::Result<Self> {
        let mut random = Zeroizing::new([0; 24]);
        getrandom::fill(&mut *random).map_err(|error| io::Error::other(error.to_string()))?;
        let password = Zeroizing::new(base64::engine::general_purpose::URL_SAFE.encode(*random));
        let plain = Zeroizing::new(format!("{USER}:{}", *password));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = Zeroizing::new(format!("http://{}@{}", *plain, listener.local_addr()?));
        let way = Arc::new(InterceptRoute {
            credentials: Zeroizing::new(format!("Basic {}", STANDARD.encode(&*plain))),
            gate,
            beyond,
        });
        tokio::spawn(way.accept(listener));
        Ok(Self { url })
    }
}

/// Why a client is not connected, as it is told.
struct ConnectRefusal(u16, &'static str);

impl InterceptRoute {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let way = self.clone();
                    tokio::spawn(async move {
                        if let Err(error) = way.serve(stream).await {
                            debug!(%error, "a connection through the proxy of this run ended");
                        }
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await, // out of descriptors
            }
        }
    }

    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let head = timeout(PATIENCE, head(&mut client)).await??;
        let connected = match self.asked(&head) {
            Ok((host, port)) => timeout(PATIENCE, self.connect(&host, port)).await,
            Err(refused) => return refuse(&mut client, &refused).await,
        };
        let Ok(Ok(mut other)) = connected else {
            let why = ConnectRefusal(
                502,
                "the host, or the proxy on the way there, can't be reached",
            );
            return refuse(&mut client, &why).await;
        };
        client
            .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            .await?;
        copy_bidirectional(&mut client, &mut other).await?;
        Ok(())
    }

    /// The host that a head asks for, if who asks has the password.
    fn asked(&self, head: &str) -> Result<(String, u16), ConnectRefusal> {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (words.next(), words.next().unwrap_or_default());
        let shown = lines.filter_map(|line| line.split_once(':'));
        let mut shown = shown.filter(|(name, _)| name.eq_ignore_ascii_case("proxy-authorization"));
        let shown = shown.next().map_or("", |(_, value)| value.trim());
        if !bool::from(shown.as_bytes().ct_eq(self.credentials.as_bytes())) {
            return Err(ConnectRefusal(
                407,
                "this proxy is for one run of tidegate exec, and asks for its password",
            ));
        }
        if method != Some("CONNECT") {
            return Err(ConnectRefusal(
                405,
                "this proxy only connects to hosts that are spoken to by https",
            ));
        }
        let malformed = ConnectRefusal(400, "a host to connect to is written host:port");
        let Some((host, port)) = target.rsplit_once(':') else {
            return Err(malformed);
        };
        let host = host.trim_matches(['[', ']']);
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        match port.parse() {
            Ok(port) if !host.is_empty() => Ok((host, port)),
            Ok(_) | Err(_) => Err(malformed),
        }
    }

    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn ByteStream>> {
        if (host, port) == (API, API_PORT) {
            return Ok(Box::new(TcpStream::connect(self.gate).await?));
        }
        match self.beyond.proxy(host, port) {
            None => Ok(Box::new(TcpStream::connect((host, port)).await?)),
            Some(proxy) => through(proxy, host, port).await,
        }
    }
}

pub(super) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}

/// A connection to a host by the caller's proxy.
async fn through(proxy: &Proxy, host: &str, port: u16) -> io::Result<Box<dyn ByteStream>> {
    let stream = TcpStream::connect((&*proxy.host, proxy.port)).await?;
    let mut stream: Box<dyn ByteStream> = if proxy.tls {
        let name = ServerName::try_from(proxy.host.clone()).map_err(io::Error::other)?;
        Box::new(
            TlsConnector::from(trusting()?)
                .connect(name, stream)
                .await?,
        )
    } else {
        Box::new(stream)
    };
    let authority = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let shown = proxy.credentials.as_ref().map_or_else(
        || Zeroizing::new(String::new()),
        |credentials| Zeroizing::new(format!("Proxy-Authorization: {}\r\n", **credentials)),
    );
    let request = Zeroizing::new(format!(
        "CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{}\r\n",
        *shown
    ));
    stream.write_all(request.as_bytes()).await?;
    let answer = head(&mut stream).await?;
    let status = answer.split(' ').nth(1).unwrap_or_default();
    if !status.starts_with('2') {
        return Err(io::Error::other(format!("the proxy answers {status}")));
    }
    Ok(stream)
}

pub(super) fn trusting() -> io::Result<Arc<ClientConfig>> {
    let mut store = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_added, _unreadable) = store.add_parsable_certificates(found.certs);
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(Arc::new(
        config.with_root_certificates(store).with_no_client_auth(),
    ))
}

/// Reads a head to its end and no byte further: what follows is another's.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        if bytes.len() == MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.push(stream.read_u8().await?);
    }
    String::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData.into())
}

async fn refuse(
    client: &mut TcpStream,
    ConnectRefusal(status, why): &ConnectRefusal,
) -> io::Result<()> {
    let words = match status {
        407 => "Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"tidegate exec\"",
        405 => "Method Not Allowed",
        400 => "Bad Request",
        _ => "Bad Gateway",
    };
    let length = why.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status} {words}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{why}\n"
    );
    client.write_all(answer.as_bytes()).await?;
    client.shutdown().await
}
