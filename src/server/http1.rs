//! A connection of HTTP/1 from its first request to its last.
//!
//! hyper keeps 8 KB to read into and the room of a request as long as it has a connection, and most connections are kept by
//! clients that ask for nothing at the moment. So hyper does not have one that has been quiet for a while: what is left is the
//! stream, and hyper gets it back when something has come. Where there are many, it does not have them between requests at all.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1::{Builder, Connection};
use hyper::service::HttpService;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch::Receiver;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::connection::{HeadAwaited, Patience, Watch, Watched};
use super::framing::Scanned;
use crate::metrics::UnreadableRequest;

/// What a connection goes over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static {
    /// Whether [`Wire::poll_waiting`] sees all that has come.
    const TELLS: bool;

    /// Ready once there is something to read, the end and errors included; nothing is read.
    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Wire for TcpStream {
    const TELLS: bool = true;

    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl Wire for UnixStream {
    const TELLS: bool = true;

    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl Wire for TlsStream<TcpStream> {
    /// What was deciphered already may wait in TLS itself.
    const TELLS: bool = false;

    fn poll_waiting(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_read_ready(cx)
    }
}

/// What ends a connection from outside.
pub(super) struct Ends<'e, O, S> {
    /// Ready once it has done nothing for too long.
    pub overdue: Pin<&'e mut O>,
    /// Ready once the daemon stops: then its requests under way may end.
    pub stop: Pin<&'e mut S>,
    /// Whether that was so.
    pub stopping: bool,
    /// Why it ended, if what came last could not be read.
    pub unreadable: Option<UnreadableRequest>,
}

/// How far a connection was run.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Ran {
    /// To its end.
    Out,
    /// To where it waits for the next request, with nothing left of the one before.
    ToRest,
}

impl<O: Future<Output = ()>, S: Future> Ends<'_, O, S> {
    /// Runs what hyper has of a connection until it rests, has ended, or is to end.
    pub async fn run<C>(
        &mut self,
        mut connection: Pin<&mut C>,
        watch: &Watch,
        shut_down: impl Fn(Pin<&mut C>),
    ) -> Ran
    where
        C: Future<Output = hyper::Result<()>>,
    {
        loop {
            let mut run = poll_fn(|cx| match connection.as_mut().poll(cx) {
                Poll::Pending if watch.rests(Had::are_many()) => Poll::Ready((Ran::ToRest, None)),
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) => Poll::Ready((Ran::Out, None)),
                Poll::Ready(Err(error)) => {
                    debug!(%error, "a connection ended");
                    Poll::Ready((Ran::Out, unreadable(&error)))
                }
            });
            tokio::select! {
                (ran, unreadable) = &mut run => {
                    self.unreadable = unreadable;
                    return ran;
                }
                () = self.overdue.as_mut() => return Ran::Out,
                _ = self.stop.as_mut(), if !self.stopping => self.stopping = true,
            }
            shut_down(connection.as_mut());
        }
    }

    /// Waits until there is something to read; whether there will be.
    async fn rest(&mut self, stream: &impl Wire) -> bool {
        tokio::select! {
            waiting = poll_fn(|cx| stream.poll_waiting(cx)) => waiting.is_ok(),
            () = self.overdue.as_mut() => false,
            _ = self.stop.as_mut(), if !self.stopping => false,
        }
    }
}

/// A connection that hyper has and need not keep.
struct Had;

/// How many of them there are.
static HAD: AtomicUsize = AtomicUsize::new(0);
/// So many may be kept while they are quiet: two megabytes of memory.
const FEW: usize = 128;

impl Had {
    fn new() -> Self {
        HAD.fetch_add(1, Ordering::Relaxed);
        Self
    }

    fn are_many() -> bool {
        HAD.load(Ordering::Relaxed) > FEW
    }
}

impl Drop for Had {
    fn drop(&mut self) {
        HAD.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What an error says of the bytes that a client sent last.
fn unreadable(error: &hyper::Error) -> Option<UnreadableRequest> {
    if !error.is_parse() || error.is_parse_version_h2() {
        return None;
    }
    Some(match error.is_parse_too_large() {
        false => UnreadableRequest::Malformed,
        true if error.to_string().contains("URI") => UnreadableRequest::LongTarget,
        true => UnreadableRequest::LargeHead,
    })
}

/// Serves a connection to its end, or until the daemon stops. `most` is how many bytes a head may have; `held` goes with it, and
/// what can't be read is told to `note`.
pub(super) fn serve<W, V>(
    stream: W,
    mut service: V,
    most: usize,
    (watch, patience): (Watch, Patience),
    mut stopping: Receiver<bool>,
    held: impl Sized,
    note: impl Fn(UnreadableRequest),
) -> impl Future<Output = ()>
where
    W: Wire,
    V: HttpService<Incoming> + Unpin,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    V::Future: Unpin,
    V::ResBody: Body + 'static,
    <V::ResBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let scanned = Scanned::new(stream, watch.clone());
    let mut stream = Watched::new(TokioIo::new(scanned), watch.clone(), true);
    // No `async fn`, which has room for what it was given beside what it makes of it.
    async move {
        let mut ends = Ends {
            overdue: pin!(watch.overdue(patience)),
            stop: pin!(stopping.wait_for(|stop| *stop)),
            stopping: false,
            unreadable: None,
        };
        loop {
            if W::TELLS
                && !stream.has_early()
                && !ends.rest(stream.get_ref().inner().get_ref()).await
            {
                drop(stream);
                break;
            }
            let had = W::TELLS.then(Had::new);
            let mut connection = Box::pin(begin(stream, service, most, &watch));
            let shut_down = |connection: Pin<&mut Connection<_, _>>| connection.graceful_shutdown();
            if ends.run(connection.as_mut(), &watch, shut_down).await == Ran::Out {
                ends.unreadable.into_iter().for_each(&note);
                break;
            }
            let parts = Pin::into_inner(connection).into_parts();
            drop(had);
            (stream, service) = (parts.io, parts.service);
            if !parts.read_buf.is_empty() {
                stream.put_back(parts.read_buf); // an empty one would hold what hyper read into
            }
        }
        drop(held);
    }
}

/// Lets hyper have a connection.
fn begin<W, V>(
    stream: Watched<TokioIo<Scanned<W>>>,
    service: V,
    most: usize,
    watch: &Watch,
) -> Connection<Watched<TokioIo<Scanned<W>>>, V>
where
    W: Wire,
    V: HttpService<Incoming>,
    V::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    V::ResBody: 'static,
    <V::ResBody as Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut builder = Builder::new();
    builder
        .timer(HeadAwaited(watch.clone()))
        // Where nobody is told, it never comes to rest.
        .header_read_timeout(W::TELLS.then_some(NEVER))
        .max_buf_size(most);
    builder.serve_connection(stream, service)
}

/// The time that hyper is told to wait for a head; the watch knows better, so that it never passes.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::watch;
    use tokio::time::timeout;

    use super::*;

    /// A client's end of a connection, and the paths that were asked for over it.
    struct Line {
        client: TcpStream,
        asked: Arc<Mutex<Vec<String>>>,
        stop: watch::Sender<bool>,
        served: tokio::task::JoinHandle<()>,
        watch: Watch,
        /// How much holds on to the watch while hyper does not have the connection.
        holders: usize,
    }

    impl Line {
        async fn open(patience: Duration) -> Self {
            Self::warm_for(SOON, patience).await
        }

        /// Each request is answered by its path, before its body is read: of `/read` it is, and of others nothing.
        async fn warm_for(warm: Duration, patience: Duration) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let asked = Arc::<Mutex<Vec<String>>>::default();
            let watch = Watch::new();
            let (seen, noted) = (watch.clone(), asked.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let busy = seen.busy();
                let path = request.uri().path().to_owned();
                noted.lock().unwrap().push(path.clone());
                if path == "/read" {
                    tokio::spawn(request.into_body().collect());
                }
                Box::pin(async move {
                    tokio::task::yield_now().await;
                    drop(busy);
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(path))))
                })
            });
            let patience = Patience {
                head: patience,
                quiet: patience,
                warm,
            };
            let (stop, stopping) = watch::channel(false);
            let served = serve(
                stream,
                service,
                16 << 10,
                (watch.clone(), patience),
                stopping,
                (),
                |_| {},
            );
            Self {
                holders: watch.holders(),
                client,
                asked,
                stop,
                served: tokio::spawn(served),
                watch,
            }
        }

        async fn send(&mut self, text: &str) {
            self.client.write_all(text.as_bytes()).await.unwrap();
        }

        /// Reads answers until one has this body.
        async fn answered(&mut self, body: &str) {
            let mut all = String::new();
            while !all.ends_with(&format!("\r\n\r\n{body}")) {
                let mut more = [0; 1024];
                let read = timeout(LONG, self.client.read(&mut more)).await.unwrap();
                let read = read.unwrap();
                assert_ne!(read, 0, "the connection ended after {all:?}");
                all.push_str(&String::from_utf8_lossy(&more[..read]));
            }
        }

        /// Waits until hyper does not have the connection.
        async fn at_rest(&self) {
            let begun = tokio::time::Instant::now();
            while self.is_warm() {
                assert!(begun.elapsed() < LONG, "the connection never rests");
                tokio::task::yield_now().await;
            }
        }

        fn is_warm(&self) -> bool {
            self.watch.holders() > self.holders
        }

        async fn ended(mut self) -> Vec<String> {
            let end = timeout(LONG, self.client.read_to_end(&mut Vec::new())).await;
            let _ = end.expect("the connection ends"); // with or without an error
            timeout(LONG, self.served).await.unwrap().unwrap();
            let asked = self.asked.lock().unwrap();
            asked.clone()
        }
    }

    const LONG: Duration = Duration::from_secs(20);
    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn requests_that_come_at_once_or_in_pieces_are_all_answered() {
        let mut line = Line::open(LONG).await;
        line.send("GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\nGET /3 HTTP/1.1\r\nho")
            .await;
        line.answered("/2").await;
        line.send("st: x\r\n\r\n").await;
        line.answered("/3").await;
        for path in ["/4", "/5"] {
            line.at_rest().await;
            line.send(&format!("GET {path} HTTP/1.1\r\n")).await;
            tokio::task::yield_now().await;
            line.send("host: x\r\n\r\n").await;
            line.answered(path).await;
        }
        line.at_rest().await;
        line.client.shutdown().await.unwrap();
        assert_eq!(line.ended().await, ["/1", "/2", "/3", "/4", "/5"]);
    }

    #[tokio::test]
    async fn a_body_that_comes_after_its_answer_is_no_request() {
        for (path, asked) in [("/1", &["/1"][..]), ("/read", &["/read", "/3"])] {
            let mut line = Line::open(LONG).await;
            let hidden = "GET /2 HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20);
            let length = hidden.len();
            line.send(&format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n"
            ))
            .await;
            line.answered(path).await;
            let rest = format!("{hidden}GET /3 HTTP/1.1\r\nhost: x\r\n\r\n");
            let _ = line.client.write_all(rest.as_bytes()).await; // unless the connection has ended
            let _ = line.client.shutdown().await;
            assert_eq!(line.ended().await, asked);
        }
    }

    #[tokio::test]
    async fn a_connection_at_rest_ends_with_the_daemon_and_with_its_time() {
        let mut line = Line::open(LONG).await;
        line.send("GET /1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        line.answered("/1").await;
        line.at_rest().await;
        line.stop.send(true).unwrap();
        assert_eq!(line.ended().await, ["/1"]);
        let mut line = Line::open(Duration::from_millis(300)).await;
        line.send("GET /1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
        line.answered("/1").await;
        assert_eq!(line.ended().await, ["/1"]);
        let line = Line::open(Duration::from_millis(300)).await;
        assert!(line.ended().await.is_empty());
    }

    #[tokio::test]
    async fn a_quiet_connection_stays_ready_for_a_while_unless_there_are_many() {
        for many in [false, true] {
            let _others: Vec<_> = (0..if many { FEW } else { 0 })
                .map(|_| Had::new())
                .collect();
            let mut line = Line::warm_for(LONG, LONG).await;
            line.send("GET /1 HTTP/1.1\r\nhost: x\r\n\r\n").await;
            line.answered("/1").await;
            let begun = tokio::time::Instant::now();
            while !line.watch.rests(true) || many && line.is_warm() {
                assert!(begun.elapsed() < LONG, "many: {many}");
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
            assert_eq!(line.is_warm(), !many, "many: {many}");
        }
    }
}
