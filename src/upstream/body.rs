use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::pace::Pace;

/// The body of a request as it comes from a client.
pub use hyper::body::Incoming;

/// The body of a request as it goes to the API.
pub type Outgoing = UnsyncBoxBody<Bytes, BodyFailure>;

/// Why a client's body did not come through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyFailure {
    /// It is larger than this many bytes.
    TooLarge {
        /// The most that it may be.
        limit: usize,
    },
    /// Nothing came for too long, or too little.
    Timeout,
    /// It broke off or was framed wrongly.
    Broken,
}

impl fmt::Display for BodyFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => write!(f, "the body is larger than {limit} bytes"),
            Self::Timeout => f.write_str("the body did not come in time"),
            Self::Broken => f.write_str("the body broke off"),
        }
    }
}

impl std::error::Error for BodyFailure {}

/// When a body last moved: an upload that goes on is not a late answer.
#[derive(Clone)]
pub struct Progress(Arc<Mutex<Instant>>);

impl Progress {
    /// Of a body that is all there from the start.
    pub fn done() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// When that was.
    pub fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn moved(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// No body.
pub fn empty() -> Outgoing {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is all there.
pub fn whole(bytes: Bytes) -> Outgoing {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that is handed on as it comes, after what was read of it already, without trailers, up to `limit` bytes in all.
pub fn stream(
    begun: Bytes,
    rest: Incoming,
    limit: usize,
    patience: Duration,
) -> (Outgoing, Progress) {
    let progress = Progress::done();
    let bounded = Bounded {
        body: rest,
        begun: Some(begun),
        limit,
        seen: 0,
        pace: Pace::new(patience),
        waits_since: None,
        late: Box::pin(sleep(patience)),
        progress: progress.clone(),
    };
    (bounded.boxed_unsync(), progress)
}

/// Reads a body until its end or until it is longer than `limit`; and whether that was its end.
///
/// # Errors
/// `BodyFailure`.
pub async fn read<B: Body<Data = Bytes> + Unpin>(
    body: &mut B,
    limit: usize,
    patience: Duration,
) -> Result<(Bytes, bool), BodyFailure> {
    let mut read = BytesMut::new();
    let mut pace = Pace::new(patience);
    while read.len() <= limit {
        let waits_since = Instant::now();
        let frame = timeout(pace.left(), body.frame())
            .await
            .map_err(|_| BodyFailure::Timeout)?;
        pace.waited(waits_since.elapsed());
        match frame
            .transpose()
            .map_err(|_| BodyFailure::Broken)?
            .map(Frame::into_data)
        {
            None => return Ok((read.freeze(), true)),
            Some(Ok(data)) => {
                pace.came(data.len());
                read.extend_from_slice(&data);
            }
            Some(Err(_trailers)) => {}
        }
    }
    Ok((read.freeze(), false))
}

struct Bounded {
    body: Incoming,
    begun: Option<Bytes>,
    limit: usize,
    seen: usize,
    pace: Pace,
    waits_since: Option<Instant>,
    late: Pin<Box<Sleep>>,
    progress: Progress,
}

impl Body for Bounded {
    type Data = Bytes;
    type Error = BodyFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyFailure>>> {
        let this = &mut *self;
        if let Some(begun) = this.begun.take() {
            this.seen = begun.len();
            return Poll::Ready(Some(Ok(Frame::data(begun))));
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                // The time in which the API takes no more of it is not the client's.
                if this.waits_since.is_none() {
                    let now = Instant::now();
                    this.waits_since = Some(now);
                    this.late.as_mut().reset(now + this.pace.left());
                }
                ready!(this.late.as_mut().poll(cx));
                return Poll::Ready(Some(Err(BodyFailure::Timeout)));
            };
            if let Some(since) = this.waits_since.take() {
                this.pace.waited(since.elapsed());
            }
            this.progress.moved();
            let data = match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyFailure::Broken))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_trailers) => continue, // they stay behind
                },
            };
            this.pace.came(data.len());
            this.seen = this.seen.saturating_add(data.len());
            if this.seen > this.limit {
                return Poll::Ready(Some(Err(BodyFailure::TooLarge { limit: this.limit })));
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let begun = self.begun.as_ref().map_or(0, |begun| begun.len() as u64);
        let rest = self.body.size_hint();
        let mut whole = SizeHint::new();
        whole.set_lower(begun + rest.lower());
        if let Some(upper) = rest.upper() {
            whole.set_upper(begun + upper);
        }
        whole
    }
}
