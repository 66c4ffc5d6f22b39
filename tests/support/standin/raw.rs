//! An upstream that is told what to do connection by connection, for what even a broken API would not do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::body::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::wire;

/// A listener on loopback that hands each connection to a function; it ends when this is dropped.
pub struct RawUpstream {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    server: JoinHandle<()>,
}

impl RawUpstream {
    /// Starts one; `serve` gets each connection and its number, from 0.
    pub async fn start<F, S>(serve: F) -> Self
    where
        F: Fn(TcpStream, usize) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port on loopback");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let server = tokio::spawn(async move {
            let mut talks = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                talks.spawn(serve(stream, counter.fetch_add(1, Ordering::SeqCst)));
            }
        });
        Self {
            address,
            connections,
            server,
        }
    }

    /// Starts one that reads a request on each connection, sends `bytes` whatever it was, and closes.
    pub async fn saying(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::start(move |stream, _| say(stream, bytes.clone())).await
    }

    /// Starts one that accepts, and reads for ever without a word.
    pub async fn silent() -> Self {
        Self::start(|mut stream, _| async move {
            let mut sink = [0; 4096];
            while matches!(stream.read(&mut sink).await, Ok(1..)) {}
        })
        .await
    }

    /// The base URL, `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for RawUpstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn say(stream: TcpStream, bytes: Bytes) {
    let mut stream = BufReader::new(stream);
    // A client that sends nothing, or nonsense, is told the same.
    let _ = wire::read(&mut stream).await;
    let _ = stream.write_all(&bytes).await;
}
