use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep_until};

use super::links::Links;
use super::scan::{Scan, SecretFound};
use crate::upstream::{Answered, Gunzip};

/// An answer on its way to a client.
pub type Answer = Response<AnswerBody>;

/// The body of an answer. Its error cuts the connection, so that no client takes a part for the whole.
pub enum AnswerBody {
    /// It is there, and goes as one piece; nothing is left of it then.
    Whole(Bytes),
    /// It comes in pieces.
    Pieces(UnsyncBoxBody<Bytes, Cut>),
}

impl AnswerBody {
    /// One that comes in pieces.
    pub fn pieces(body: impl Body<Data = Bytes, Error = Cut> + Send + 'static) -> Self {
        Self::Pieces(body.boxed_unsync())
    }

    /// All of it, read as far as it takes.
    ///
    /// # Errors
    /// `Cut`.
    pub async fn read(self) -> Result<Bytes, Cut> {
        match self {
            Self::Whole(bytes) => Ok(bytes),
            Self::Pieces(body) => Ok(Box::pin(body.collect()).await?.to_bytes()),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Pieces(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pieces(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Pieces(body) => body.size_hint(),
        }
    }
}

/// Why an answer ended before its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Cut {
    /// It held the real token.
    Token,
    /// Nothing came for too long.
    Timeout,
    /// The API broke off.
    Broken(String),
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token => f.write_str("the answer held the real token and was cut off"),
            Self::Timeout => f.write_str("the answer stopped coming and was cut off"),
            Self::Broken(error) => write!(f, "the answer broke off: {error}"),
        }
    }
}

impl std::error::Error for Cut {}

/// How an answer is to be shaped.
pub struct Shaping {
    /// What must not be in it.
    pub scan: Scan,
    /// How its links are brought back.
    pub links: Links,
    /// How long it may pause.
    pub patience: Duration,
}

/// Shapes the answer's head and prepares its body; nothing of the body is read yet.
///
/// # Errors
/// `Cut::Token` if a header holds the real token.
pub fn shape(answer: Response<Answered>, shaping: Shaping) -> Result<Response<ShapedBody>, Cut> {
    let Shaping {
        scan,
        links,
        patience,
    } = shaping;
    let (mut head, body) = answer.into_parts();
    shape_head(&mut head.headers, &scan, &links)?;
    let gunzip = Gunzip::of(&mut head.headers);
    let is_json = head
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(is_json);
    let links = is_json.then_some(links);
    if links.is_some() {
        head.headers.remove(CONTENT_LENGTH); // replaced links may be longer or shorter
    }
    head.version = hyper::Version::HTTP_11;
    head.extensions.clear();
    let body = ShapedBody {
        body,
        gunzip,
        scan,
        links,
        patience,
        waits_since: None,
        late: None,
        ended: false,
    };
    Ok(Response::from_parts(head, body))
}

/// Looks for the real token in the API's headers, leaves out those that are about its connection, its site or its cookies, and
/// brings links back: all in one walk, as every answer has them.
fn shape_head(headers: &mut HeaderMap, scan: &Scan, links: &Links) -> Result<(), Cut> {
    let mut found = [false; STAY_BEHIND.len()];
    let mut others: Vec<HeaderName> = Vec::new(); // seldom any
    for (name, value) in headers.iter_mut() {
        if scan.finds(value.as_bytes()) {
            return Err(Cut::Token);
        }
        let text = name.as_str();
        let mut known = STAY_BEHIND.iter().zip(&mut found);
        if let Some((_, found)) = known.find(|(known, _)| **known == text) {
            *found = true;
            if name == CONNECTION {
                others.extend(listed(value));
            }
            continue;
        }
        match text {
            "location" | "content-location" => {
                let replaced = value.to_str().ok().and_then(|text| links.replaced(text));
                if let Some(replaced) = replaced.and_then(|text| HeaderValue::try_from(text).ok()) {
                    *value = replaced;
                }
            }
            text if text.starts_with("tidegate-") => others.push(name.clone()),
            _ => {}
        }
    }
    let known = STAY_BEHIND.iter().zip(found);
    for (name, _) in known.filter(|(_, found)| *found) {
        headers.remove(*name);
    }
    for name in others {
        headers.remove(name);
    }
    Ok(())
}

/// Takes out of a head what is said there of the body as it came, where another goes in its place: how long that is, which it is
/// and since when, and what stands on its other pages. That there is more than is shown, and whether it changed, is not told.
pub fn forget_body(headers: &mut HeaderMap) {
    for name in &OF_THE_BODY {
        headers.remove(*name);
    }
}

/// What tells of a body (RFC 9110 §8, §14, RFC 9530, RFC 8288), beside its type.
static OF_THE_BODY: [&str; 12] = [
    "content-length",
    "content-range",
    "content-md5",
    "content-digest",
    "repr-digest",
    "digest",
    "etag",
    "last-modified",
    "accept-ranges",
    "link",
    "x-total",
    "x-total-count",
];

/// The headers that a `Connection` names beside itself, but for those that stay behind anyway.
fn listed(connection: &HeaderValue) -> impl Iterator<Item = HeaderName> {
    let names = connection.to_str().unwrap_or_default().split(',');
    let others = names.map(str::trim).filter(|name| *name != "keep-alive");
    others.filter_map(|name| name.parse().ok())
}

static STAY_BEHIND: [&str; 11] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "set-cookie",
    "alt-svc",                   // would lead clients around tidegate
    "strict-transport-security", // speaks for another host
];

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let suffix = essence.rsplit_once('+').map(|(_, suffix)| suffix);
    essence.eq_ignore_ascii_case("application/json")
        || suffix.is_some_and(|suffix| suffix.eq_ignore_ascii_case("json"))
}

/// The API's body, checked and with its links brought back as it comes.
pub struct ShapedBody {
    body: Answered,
    gunzip: Option<Gunzip>,
    scan: Scan,
    links: Option<Links>,
    patience: Duration,
    /// Since when something is waited for.
    waits_since: Option<Instant>,
    /// Rings when nothing may have come for too long; there once something was waited for.
    late: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl ShapedBody {
    /// Ready when nothing came for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.waits_since.get_or_insert_with(Instant::now) + self.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(due)));
        ready!(late.as_mut().poll(cx));
        while Instant::now() < due {
            late.as_mut().reset(due); // it was set for something that came
            ready!(late.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    fn piece(&mut self, data: Bytes) -> Result<Bytes, Cut> {
        let data = match &mut self.gunzip {
            Some(gunzip) => gunzip.push(&data).map_err(broken)?,
            None => data,
        };
        let free = self.scan.push(data).map_err(|SecretFound| Cut::Token)?;
        Ok(match &mut self.links {
            Some(links) => links.push(&free),
            None => free,
        })
    }

    fn last(&mut self) -> Result<Bytes, Cut> {
        let opened = match &mut self.gunzip {
            Some(gunzip) => gunzip.finish().map_err(broken)?,
            None => Bytes::new(),
        };
        let rest = self.scan.push(opened).map_err(|SecretFound| Cut::Token)?;
        let rest = joined(rest, self.scan.finish());
        let Some(links) = &mut self.links else {
            return Ok(rest);
        };
        Ok(joined(links.push(&rest), links.finish()))
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands on"
)]
fn broken(error: std::io::Error) -> Cut {
    Cut::Broken(format!("its compression is broken: {error}"))
}

impl Body for ShapedBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        while !this.ended {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                ready!(this.poll_late(cx));
                this.ended = true;
                return Poll::Ready(Some(Err(Cut::Timeout)));
            };
            this.waits_since = None;
            let piece = match frame {
                None => {
                    this.ended = true;
                    this.last()
                }
                Some(Err(error)) => Err(Cut::Broken(error.to_string())),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.piece(data),
                    Err(_trailers) => continue,
                },
            };
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Err(cut) => {
                    this.ended = true;
                    return Poll::Ready(Some(Err(cut)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.links.is_some() || self.gunzip.is_some() {
            SizeHint::default()
        } else {
            self.body.size_hint()
        }
    }
}

/// Reads a shaped answer whole, as far as it has no more than `limit` bytes: what changes something is answered whole or
/// not at all. A longer one goes on from where the reading stopped.
///
/// # Errors
/// `Cut`.
pub async fn held(answer: Response<ShapedBody>, limit: usize) -> Result<Answer, Cut> {
    let (mut head, mut body) = answer.into_parts();
    let mut read = Bytes::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            read = joined(read, data);
        }
        if read.len() > limit {
            head.headers.remove(CONTENT_LENGTH);
            let begun = Begun {
                begun: read,
                rest: body,
            };
            return Ok(Response::from_parts(head, AnswerBody::pieces(begun)));
        }
    }
    let bodiless = head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED;
    if !bodiless {
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(read.len()));
    }
    Ok(Response::from_parts(head, AnswerBody::Whole(read)))
}

/// Two pieces as one, without a copy where one of them is all.
fn joined(begin: Bytes, end: Bytes) -> Bytes {
    if begin.is_empty() {
        return end;
    }
    if end.is_empty() {
        return begin;
    }
    let mut whole = begin.try_into_mut().unwrap_or_else(|begin| {
        let mut copy = BytesMut::with_capacity(begin.len() + end.len());
        copy.extend_from_slice(&begin);
        copy
    });
    whole.extend_from_slice(&end);
    whole.freeze()
}

/// An answer that tidegate makes itself.
pub fn made(status: StatusCode, headers: HeaderMap, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(body.into()));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// No body at all.
pub fn nothing() -> AnswerBody {
    AnswerBody::Whole(Bytes::new())
}

/// An answer that was read in part.
struct Begun {
    begun: Bytes,
    rest: ShapedBody,
}

impl Body for Begun {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if !this.begun.is_empty() {
            let begun = std::mem::take(&mut this.begun);
            return Poll::Ready(Some(Ok(Frame::data(begun))));
        }
        Pin::new(&mut this.rest).poll_frame(cx)
    }
}
