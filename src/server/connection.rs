use std::future::{Pending, pending};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Sleep, Timer, Write};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::gate::Oddity;

/// What a connection is doing, and since when: by this it is ended when it does nothing for too long.
///
/// hyper has one time for the headers of a request, and it runs while a kept connection is quiet too; the two are to be told
/// apart, as a client may be quiet for long but must not send a head byte by byte.
#[derive(Clone)]
pub struct Watch(Arc<Mutex<Doing>>);

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is told by another part of the connection"
)]
struct Doing {
    state: ConnectionState,
    /// Since when the other end has taken nothing of what is to be written.
    stalled: Option<Instant>,
    /// The answers of which the other end is to take more, and since when. In HTTP/2 it may leave one answer lying by its flow
    /// control, and take everything else: the connection itself never stalls. There are as many as requests at once: few.
    offered: Vec<(u64, Instant)>,
    requests: u64,
    /// What is odd about heads whose requests have not come yet, by their numbers.
    odd: Vec<(u64, Oddity)>,
    /// Whether hyper has nothing to do but wait for a head; see [`Watch::rests`].
    head_awaited: bool,
    /// Whether something of an answer may not have been written yet.
    unwritten: bool,
    /// Whether all that has come was read.
    all_read: bool,
    /// Whether it has been quiet for so long that hyper need not have it.
    is_cool: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ConnectionState {
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
    /// Between requests, until hyper has it no more; see [`super::http1`].
    pub warm: Duration,
}

impl Watch {
    /// Of a connection that was made just now.
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Doing {
            state: ConnectionState::Quiet(Instant::now()),
            stalled: None,
            offered: Vec::new(),
            requests: 0,
            odd: Vec::new(),
            head_awaited: false,
            unwritten: false,
            all_read: false,
            is_cool: false,
        })))
    }

    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come whole up to its body, and is busy until what this returns is dropped.
    pub fn busy(&self) -> Busy {
        let mut doing = self.doing();
        doing.state = match doing.state {
            ConnectionState::Busy(count) => ConnectionState::Busy(count + 1),
            ConnectionState::Quiet(_) | ConnectionState::Head(_) => ConnectionState::Busy(1),
        };
        doing.requests += 1;
        (doing.head_awaited, doing.unwritten) = (false, true);
        let number = doing.requests;
        let odd = doing.odd.iter().find(|(head, _)| *head == number);
        let oddity = odd.map(|(_, oddity)| *oddity);
        doing.odd.retain(|(head, _)| *head > number);
        Busy {
            number,
            watch: self.clone(),
            oddity,
        }
    }

    /// A head has come, the so-manieth of its connection, that can be read in two ways.
    pub(super) fn odd(&self, head: u64, oddity: Oddity) {
        self.doing().odd.push((head, oddity));
    }

    /// Whether hyper can do without its connection for now: it awaits a head of which nothing has come, and has neither
    /// something of a body to read nor something of an answer to write. Where there is room, not before it is cool.
    pub fn rests(&self, is_crowded: bool) -> bool {
        let doing = self.doing();
        (is_crowded || doing.is_cool)
            && matches!(doing.state, ConnectionState::Quiet(_))
            && doing.head_awaited
            && doing.all_read
            && !doing.unwritten
    }

    /// How much holds on to it.
    #[cfg(test)]
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// There was nothing more to read.
    fn read_all(&self) {
        self.doing().all_read = true;
    }

    /// All that hyper had to write was written. Of an answer that is still made it may be a part.
    fn wrote_all(&self) {
        let mut doing = self.doing();
        doing.unwritten &= matches!(doing.state, ConnectionState::Busy(_));
    }

    /// Bytes came. Between requests of HTTP/1 they begin a head; those of HTTP/2 may be about anything.
    fn read(&self, begins_head: bool) {
        let mut doing = self.doing();
        (doing.all_read, doing.is_cool) = (false, false);
        doing.state = match doing.state {
            ConnectionState::Quiet(_) if begins_head => ConnectionState::Head(Instant::now()),
            ConnectionState::Quiet(_) => ConnectionState::Quiet(Instant::now()),
            state @ (ConnectionState::Head(_) | ConnectionState::Busy(_)) => state,
        };
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

    /// Returns when the connection has done nothing for too long, or the other end has taken nothing. Whoever runs it is woken once
    /// it is cool.
    pub async fn overdue(&self, patience: Patience) {
        loop {
            let now = Instant::now();
            let (due, cools_at) = {
                let doing = self.doing();
                (doing.due(patience), doing.cools_at(patience))
            };
            if due <= now {
                return;
            }
            if cools_at.is_some_and(|at| at <= now) {
                self.doing().is_cool = true;
                yield_now().await;
                continue;
            }
            // A head may begin while the connection is thought quiet, so never sleep longer than one may take; and what is cool may
            // be warmed.
            let next = due.min(now + patience.head.min(patience.warm));
            sleep_until(cools_at.map_or(next, |at| next.min(at))).await;
        }
    }
}

impl Doing {
    /// There is nothing of this answer to take.
    fn takes_no_more_of(&mut self, answer: u64) {
        self.offered.retain(|(number, _)| *number != answer);
    }

    /// When it is cool if nothing happens until then; nothing while it is not quiet, or is cool already.
    fn cools_at(&self, patience: Patience) -> Option<Instant> {
        match self.state {
            ConnectionState::Quiet(since) if !self.is_cool => Some(since + patience.warm),
            ConnectionState::Quiet(_) | ConnectionState::Head(_) | ConnectionState::Busy(_) => None,
        }
    }

    /// When it is overdue if nothing happens until then.
    fn due(&self, patience: Patience) -> Instant {
        let due = match self.state {
            ConnectionState::Quiet(since) => since + patience.quiet,
            ConnectionState::Head(since) => since + patience.head,
            ConnectionState::Busy(_) => Instant::now() + patience.head.min(patience.quiet),
        };
        let offered = self.offered.iter().map(|(_, since)| since);
        let untaken = self.stalled.iter().chain(offered);
        untaken
            .map(|since| *since + patience.quiet)
            .fold(due, Instant::min)
    }
}

/// A request under way.
pub struct Busy {
    watch: Watch,
    number: u64,
    oddity: Option<Oddity>,
}

impl Busy {
    /// What its head says that can be read in two ways, and that hyper does not tell.
    pub(super) fn oddity(&self) -> Option<Oddity> {
        self.oddity
    }

    /// There is something of its answer for the other end to take.
    pub fn offers(&self) {
        let now = Instant::now();
        let mut doing = self.watch.doing();
        let mut offered = doing.offered.iter_mut();
        match offered.find(|(number, _)| *number == self.number) {
            Some((_, since)) => *since = now,
            None => doing.offered.push((self.number, now)),
        }
    }

    /// There is nothing to take until more comes from elsewhere.
    pub fn waits(&self) {
        self.watch.doing().takes_no_more_of(self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut doing = self.watch.doing();
        doing.takes_no_more_of(self.number);
        doing.state = match doing.state {
            ConnectionState::Busy(count) if count > 1 => ConnectionState::Busy(count - 1),
            ConnectionState::Busy(_) | ConnectionState::Quiet(_) | ConnectionState::Head(_) => {
                ConnectionState::Quiet(Instant::now())
            }
        };
    }
}

/// Tells a watch that hyper awaits a head: just then it asks for the time that one may take, once for each. It takes none of
/// it, as the watch itself ends a connection that is overdue.
pub struct HeadAwaited(pub Watch);

/// A time that never comes.
struct Never(Pending<()>);

impl Timer for HeadAwaited {
    fn sleep(&self, _: Duration) -> Pin<Box<dyn Sleep>> {
        self.0.doing().head_awaited = true;
        Box::pin(Never(pending()))
    }

    fn sleep_until(&self, _: std::time::Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(Duration::MAX)
    }

    /// Any time will do, as what is reckoned from it is passed over.
    fn now(&self) -> std::time::Instant {
        static ANY: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
        *ANY
    }
}

impl Future for Never {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx)
    }
}

impl Sleep for Never {}

/// A stream that tells its watch when bytes come.
pub struct Watched<S> {
    stream: S,
    watch: Watch,
    bytes_begin_heads: bool,
    early: Bytes,
}

impl<S> Watched<S> {
    /// Watches a stream. `bytes_begin_heads` where what comes between requests is the next one, as in HTTP/1.
    pub fn new(stream: S, watch: Watch, bytes_begin_heads: bool) -> Self {
        Self {
            stream,
            watch,
            bytes_begin_heads,
            early: Bytes::new(),
        }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Takes bytes back that were read and not made use of: they come before all others.
    pub fn put_back(&mut self, bytes: Bytes) {
        self.early = bytes;
    }

    /// Whether there are such.
    pub fn has_early(&self) -> bool {
        !self.early.is_empty()
    }
}

impl<S: Read + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let result = if self.early.is_empty() {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        } else {
            let fits = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early.split_to(fits));
            Poll::Ready(Ok(()))
        };
        match result {
            Poll::Ready(Ok(())) => self.watch.read(self.bytes_begin_heads),
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.watch.read_all(),
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
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(result, Poll::Ready(Ok(()))) {
            self.watch.wrote_all();
        }
        result
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
