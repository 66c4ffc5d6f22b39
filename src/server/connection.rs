use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, sleep_until};

/// What a connection is doing, and since when: by this it is ended when it does nothing for too long.
///
/// hyper has one time for the headers of a request, and it runs while a kept connection is quiet too; the two are to be told
/// apart, as a client may be quiet for long but must not send a head byte by byte.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<Doing>>);

struct Doing {
    state: State,
    /// Since when the other end has taken nothing of what is to be written.
    stalled: Option<Instant>,
    /// The answers of which the other end is to take more, and since when. In HTTP/2 it may leave one answer lying by its flow
    /// control, and take everything else: the connection itself never stalls.
    offered: HashMap<u64, Instant>,
    requests: u64,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Between requests.
    Quiet(Instant),
    /// Sending a head.
    Head(Instant),
    /// In so many requests.
    Busy(usize),
}

/// How long each may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// Between requests.
    pub quiet: Duration,
}

impl Watch {
    /// Of a connection that was made just now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Doing {
            state: State::Quiet(Instant::now()),
            stalled: None,
            offered: HashMap::new(),
            requests: 0,
        })))
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(State) -> State) {
        let mut doing = self.doing();
        doing.state = change(doing.state);
    }

    /// A request has come whole up to its body, and is busy until what this returns is dropped.
    pub fn busy(&self) -> Busy {
        self.change(|state| match state {
            State::Busy(count) => State::Busy(count + 1),
            State::Quiet(_) | State::Head(_) => State::Busy(1),
        });
        let mut doing = self.doing();
        doing.requests += 1;
        Busy {
            number: doing.requests,
            watch: self.clone(),
        }
    }

    /// Bytes came. Between requests of HTTP/1 they begin a head; those of HTTP/2 may be about anything.
    fn read(&self, begins_head: bool) {
        self.change(|state| match state {
            State::Quiet(_) if begins_head => State::Head(Instant::now()),
            State::Quiet(_) => State::Quiet(Instant::now()),
            State::Head(_) | State::Busy(_) => state,
        });
    }

    /// The other end took something, or would not.
    fn wrote(&self, took: bool) {
        let mut doing = self.doing();
        if took {
            doing.stalled = None;
        } else {
            doing.stalled.get_or_insert_with(Instant::now);
        }
    }

    /// Returns when the connection has done nothing for too long, or the other end has taken nothing.
    pub async fn overdue(&self, patience: Patience) {
        loop {
            let due = self.doing().due(patience);
            if due <= Instant::now() {
                return;
            }
            // A head may begin while the connection is thought quiet, so never sleep longer than one may take.
            sleep_until(due.min(Instant::now() + patience.head)).await;
        }
    }
}

impl Doing {
    /// When it is overdue if nothing happens until then.
    fn due(&self, patience: Patience) -> Instant {
        let due = match self.state {
            State::Quiet(since) => since + patience.quiet,
            State::Head(since) => since + patience.head,
            State::Busy(_) => Instant::now() + patience.head.min(patience.quiet),
        };
        let untaken = self.stalled.iter().chain(self.offered.values());
        untaken
            .map(|since| *since + patience.quiet)
            .fold(due, Instant::min)
    }
}

/// A request under way.
pub struct Busy {
    watch: Watch,
    number: u64,
}

impl Busy {
    /// There is something of its answer for the other end to take.
    pub fn offers(&self) {
        self.watch
            .doing()
            .offered
            .insert(self.number, Instant::now());
    }

    /// There is nothing to take until more comes from elsewhere.
    pub fn waits(&self) {
        self.watch.doing().offered.remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.waits();
        self.watch.change(|state| match state {
            State::Busy(count) if count > 1 => State::Busy(count - 1),
            State::Busy(_) | State::Quiet(_) | State::Head(_) => State::Quiet(Instant::now()),
        });
    }
}

/// A stream that tells its watch when bytes come.
pub struct Watched<S> {
    stream: S,
    watch: Watch,
    bytes_begin_heads: bool,
}

impl<S> Watched<S> {
    /// Watches a stream. `bytes_begin_heads` where what comes between requests is the next one, as in HTTP/1.
    pub fn new(stream: S, watch: Watch, bytes_begin_heads: bool) -> Self {
        Self {
            stream,
            watch,
            bytes_begin_heads,
        }
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.watch.read(self.bytes_begin_heads);
        }
        result
    }
}

impl<S: Write + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch.wrote(result.is_ready());
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watch.wrote(result.is_ready());
        result
    }
}
