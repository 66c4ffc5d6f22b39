use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

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
    /// Nothing came for too long.
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
pub fn whole(bytes: Vec<u8>) -> Outgoing {
    Full::new(Bytes::from(bytes))
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A body that is handed on as it comes, without trailers, up to `limit` bytes.
pub fn stream(body: Incoming, limit: usize, patience: Duration) -> (Outgoing, Progress) {
    let progress = Progress::done();
    let bounded = Bounded {
        body,
        limit,
        seen: 0,
        patience,
        late: Box::pin(sleep(patience)),
        progress: progress.clone(),
    };
    (bounded.boxed_unsync(), progress)
}

/// Reads a body whole.
///
/// # Errors
/// `BodyFailure`.
pub async fn read(body: Incoming, limit: usize, patience: Duration) -> Result<Bytes, BodyFailure> {
    let (bounded, _) = stream(body, limit, patience);
    bounded
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
}

struct Bounded {
    body: Incoming,
    limit: usize,
    seen: usize,
    patience: Duration,
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
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                ready!(this.late.as_mut().poll(cx));
                return Poll::Ready(Some(Err(BodyFailure::Timeout)));
            };
            let deadline = Instant::now() + this.patience;
            this.late.as_mut().reset(deadline);
            this.progress.moved();
            let data = match frame {
                None => return Poll::Ready(None),
                Some(Err(_)) => return Poll::Ready(Some(Err(BodyFailure::Broken))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_trailers) => continue, // they stay behind
                },
            };
            this.seen = this.seen.saturating_add(data.len());
            if this.seen > this.limit {
                return Poll::Ready(Some(Err(BodyFailure::TooLarge { limit: this.limit })));
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
