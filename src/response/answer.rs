use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{
    ALT_SVC, CONNECTION, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, HeaderName, HeaderValue,
    LOCATION, PROXY_AUTHENTICATE, SET_COOKIE, STRICT_TRANSPORT_SECURITY, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::{HeaderMap, Response, StatusCode};
use tokio::time::{Instant, Sleep, sleep_until};

use super::links::Links;
use super::scan::{Found, Scan};
use crate::upstream::{Answered, Gunzip};

/// An answer on its way to a client.
pub type Answer = Response<AnswerBody>;

/// The body of an answer. Its error cuts the connection, so that no client takes a part for the whole.
pub type AnswerBody = UnsyncBoxBody<Bytes, Cut>;

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
pub struct Shape {
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
pub fn shape(answer: Response<Answered>, shape: Shape) -> Result<Response<ShapedBody>, Cut> {
    let Shape {
        scan,
        links,
        patience,
    } = shape;
    let (mut head, body) = answer.into_parts();
    if head
        .headers
        .values()
        .any(|value| scan.finds(value.as_bytes()))
    {
        return Err(Cut::Token);
    }
    shape_head(&mut head.headers, &links);
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
        came: Instant::now(),
        late: None,
        ended: false,
    };
    Ok(Response::from_parts(head, body))
}

/// Leaves out of the API's headers those that are about its connection, its site or its cookies, and brings links back.
fn shape_head(headers: &mut HeaderMap, links: &Links) {
    let listed: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let is_ours = |name: &&HeaderName| name.as_str().starts_with("tidegate-");
    let ours: Vec<HeaderName> = headers.keys().filter(is_ours).cloned().collect();
    for name in STAY_BEHIND.iter().chain(&listed).chain(&ours) {
        headers.remove(name);
    }
    for (name, value) in headers.iter_mut() {
        if name != LOCATION && name != CONTENT_LOCATION {
            continue;
        }
        let replaced = value.to_str().ok().and_then(|text| links.replaced(text));
        if let Some(replaced) = replaced.and_then(|text| HeaderValue::try_from(text).ok()) {
            *value = replaced;
        }
    }
}

static STAY_BEHIND: [HeaderName; 11] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    SET_COOKIE,
    ALT_SVC,                   // would lead clients around tidegate
    STRICT_TRANSPORT_SECURITY, // speaks for another host
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
    /// When something came last.
    came: Instant,
    /// Rings when nothing may have come for too long; there while something is waited for.
    late: Option<Pin<Box<Sleep>>>,
    ended: bool,
}

impl ShapedBody {
    /// Ready when nothing came for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.came + self.patience;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(due)));
        ready!(late.as_mut().poll(cx));
        while Instant::now() < due {
            late.as_mut().reset(due); // something came since it was set
            ready!(late.as_mut().poll(cx));
        }
        Poll::Ready(())
    }

    fn piece(&mut self, data: Bytes) -> Result<Bytes, Cut> {
        let data = match &mut self.gunzip {
            Some(gunzip) => gunzip.push(&data).map_err(broken)?,
            None => data,
        };
        let free = self.scan.push(data).map_err(|Found| Cut::Token)?;
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
        let mut rest = self.scan.push(opened).map_err(|Found| Cut::Token)?.to_vec();
        rest.extend_from_slice(&self.scan.finish());
        let rest = Bytes::from(rest);
        let Some(links) = &mut self.links else {
            return Ok(rest);
        };
        let mut last = links.push(&rest).to_vec();
        last.extend_from_slice(&links.finish());
        Ok(Bytes::from(last))
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
            this.came = Instant::now();
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
            let begun = Full::new(read).map_err(never);
            head.headers.remove(CONTENT_LENGTH);
            return Ok(Response::from_parts(
                head,
                Begun {
                    begun: Some(begun.boxed_unsync()),
                    rest: body,
                }
                .boxed_unsync(),
            ));
        }
    }
    let bodiless = head.status == StatusCode::NO_CONTENT || head.status == StatusCode::NOT_MODIFIED;
    if !bodiless {
        head.headers
            .insert(CONTENT_LENGTH, HeaderValue::from(read.len()));
    }
    Ok(Response::from_parts(head, whole(read)))
}

/// Two pieces as one, without a copy where one of them is all.
fn joined(begin: Bytes, end: Bytes) -> Bytes {
    if begin.is_empty() {
        return end;
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
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    answer
}

/// No body at all.
pub fn nothing() -> AnswerBody {
    whole(Bytes::new())
}

fn whole(bytes: impl Into<Bytes>) -> AnswerBody {
    Full::new(bytes.into()).map_err(never).boxed_unsync()
}

fn never(never: Infallible) -> Cut {
    match never {}
}

struct Begun {
    begun: Option<AnswerBody>,
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
        if let Some(begun) = &mut this.begun {
            if let Some(frame) = ready!(Pin::new(begun).poll_frame(cx)) {
                return Poll::Ready(Some(frame));
            }
            this.begun = None;
        }
        Pin::new(&mut this.rest).poll_frame(cx)
    }
}
