//! Connections over which prepared requests are sent, one after another, and answers read no further than they must be.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

/// What is sent, over what.
#[derive(Clone)]
pub struct Load {
    pub to: SocketAddr,
    pub tls: Option<Arc<ClientConfig>>,
    pub lanes: usize,
    /// Whether each request has a connection of its own.
    pub anew: bool,
    pub requests: Arc<Vec<Vec<u8>>>,
    pub status: u16,
}

/// How it went.
#[derive(Default)]
pub struct Ran {
    pub took: Duration,
    /// Of each request, in the order of how long.
    pub each: Vec<Duration>,
}

impl Ran {
    pub fn count(&self) -> f64 {
        f64::from(u32::try_from(self.each.len()).unwrap())
    }

    /// How long `part` of the requests took at most, in seconds.
    pub fn quantile(&self, part: f64) -> f64 {
        let last = self.each.len() - 1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index into what is there"
        )]
        let at = (last as f64 * part) as usize;
        self.each[at].as_secs_f64()
    }
}

/// Sends as much as goes for so long.
pub async fn run(load: &Load, time: Duration) -> Ran {
    let mut lanes = JoinSet::new();
    let began = Instant::now();
    for lane in 0..load.lanes {
        let load = load.clone();
        lanes.spawn(async move {
            let mut wire = load.connect().await;
            let mut times = Vec::new();
            for request in load.requests.iter().cycle().skip(lane * 61) {
                let asked = Instant::now();
                if load.anew && !times.is_empty() {
                    wire = load.connect().await;
                }
                let status = wire.ask(request).await;
                assert_eq!(status, load.status, "{}", wire.said());
                times.push(asked.elapsed());
                if began.elapsed() > time {
                    break;
                }
            }
            times
        });
    }
    let mut each: Vec<_> = lanes.join_all().await.into_iter().flatten().collect();
    each.sort_unstable();
    Ran {
        took: began.elapsed(),
        each,
    }
}

/// Sends so many requests over one connection, one after another.
pub async fn send(load: &Load, wire: &mut Wire, count: usize) {
    for request in load.requests.iter().cycle().take(count) {
        let status = wire.ask(request).await;
        assert_eq!(status, load.status, "{}", wire.said());
    }
}

/// Opens connections, sends one request over each, and keeps them.
pub async fn hold(load: &Load, count: usize) -> Vec<Wire> {
    let mut wires = Vec::with_capacity(count);
    for request in load.requests.iter().cycle().take(count) {
        let mut wire = load.connect().await;
        assert_eq!(wire.ask(request).await, load.status);
        wires.push(wire);
    }
    wires
}

impl Load {
    async fn connect(&self) -> Wire {
        let stream = TcpStream::connect(self.to).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream: Pin<Box<dyn Stream>> = match &self.tls {
            None => Box::pin(stream),
            Some(config) => {
                let name = ServerName::try_from("localhost").unwrap();
                let connector = TlsConnector::from(Arc::clone(config));
                Box::pin(connector.connect(name, stream).await.unwrap())
            }
        };
        Wire {
            stream,
            buffer: Vec::with_capacity(64 << 10),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send {}

impl<S: AsyncRead + AsyncWrite + Send> Stream for S {}

/// One connection.
pub struct Wire {
    stream: Pin<Box<dyn Stream>>,
    buffer: Vec<u8>,
}

impl Wire {
    /// Sends a request and reads its answer to the end; its status.
    async fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        self.stream.flush().await.unwrap();
        self.buffer.clear();
        let head = loop {
            self.more().await;
            if let Some(at) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]).to_ascii_lowercase();
        let status = text[9..12].parse().unwrap();
        if let Some((_, rest)) = text.split_once("content-length: ") {
            let length: usize = rest.lines().next().unwrap().trim().parse().unwrap();
            let mut left = (head + length).saturating_sub(self.buffer.len());
            while left > 0 {
                self.buffer.truncate(head);
                left -= self.more().await;
            }
        } else if text.contains("transfer-encoding: chunked") {
            while !self.buffer.ends_with(b"\r\n0\r\n\r\n") {
                let last = self.buffer.len().saturating_sub(6).max(head - 2);
                self.buffer.drain(head - 2..last);
                self.more().await;
            }
        }
        status
    }

    async fn more(&mut self) -> usize {
        let count = self.stream.read_buf(&mut self.buffer).await.unwrap();
        assert!(count > 0, "the connection ended: {}", self.said());
        count
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(1000)]).into_owned()
    }
}
