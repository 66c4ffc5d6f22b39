//! The API: where requests go that were let through, with the real token put in here and nowhere else.
//!
//! A request is built anew, header by header, from what was checked. Nothing that changes something is ever heard twice: it is
//! sent again only where it was not begun to be written, or the API said that it did not look at it. What changes something
//! goes over a connection on which the API was heard a moment ago, or over a new one.

mod account;
mod body;
mod connect;
mod connections;
mod failure;
mod fetch;
mod gzip;
mod headers;
mod pace;

use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, TRANSFER_ENCODING,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response, StatusCode, Uri};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

pub use account::{HeldSecret, RealToken, RealTokenStanding};
pub use body::{
    BodyFailure, Incoming as ClientBody, Outgoing, Progress, empty, read, stream, whole,
};
pub use connect::NoUpstream;
pub use connections::Answered;
pub use failure::{Failure, What, by_a_gateway, by_a_gateway_after_all};
pub use fetch::{Fetched, Fetcher, NotFetched};
pub use gzip::Gunzip;
pub use headers::{Carried, Overridden, carried};

use crate::audit::Permit;
use crate::catalog::Method;
use crate::config::{BaseUrl, UpstreamSettings};
use crate::metrics::{Complaint, Metrics, Purpose};
use connections::{CHANGES_IDLE, Connections, READS_IDLE};

/// The API and the connections to it.
pub struct Upstream {
    connections: Arc<Connections>,
    /// Its name, for the `Host` of requests.
    host: HeaderValue,
    settings: UpstreamSettings,
    /// Where its links may lead.
    addresses: Arc<[String]>,
    metrics: Arc<Metrics>,
}

/// A request as it is to be sent: everything in it was checked or made here.
pub struct Checked {
    /// The method.
    pub method: Method,
    /// The canonical path and query.
    pub path_and_query: Arc<str>,
    /// The client's headers that travel on; of a look-up there are none.
    pub headers: Carried,
    /// The body.
    pub body: Body,
}

impl Checked {
    /// Whether it can be sent once more: a body that goes as it comes is gone then.
    fn can_go_again(&self) -> bool {
        match &self.body {
            Body::None | Body::Json(_) => true,
            Body::Stream(..) => false,
        }
    }
}

/// The body of a checked request.
pub enum Body {
    /// None.
    None,
    /// JSON, written from what was read.
    Json(Bytes),
    /// As the client sends it, which nothing in the decision depends on; how far it has come; and of which media type.
    Stream(Outgoing, Progress, HeaderValue),
}

impl Upstream {
    /// Prepares connections; none is made yet.
    ///
    /// # Errors
    /// `NoUpstream` if no certificate authority can be had to trust.
    pub fn new(settings: &UpstreamSettings, metrics: Arc<Metrics>) -> Result<Self, NoUpstream> {
        let connector = connect::connector(settings)?;
        let url = settings.url.to_string();
        let connections = Connections::new(connector, &url).ok_or(NoUpstream::Address)?;
        let host = connections.host().ok_or(NoUpstream::Address)?;
        Ok(Self {
            connections,
            host,
            addresses: [url, BaseUrl::digitalocean().to_string()].into(),
            settings: settings.clone(),
            metrics,
        })
    }

    /// What its calls are counted in.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The addresses that it gives as its own: its base URL, and the official one.
    pub fn addresses(&self) -> Arc<[String]> {
        Arc::clone(&self.addresses)
    }

    /// How it was set up.
    pub fn settings(&self) -> &UpstreamSettings {
        &self.settings
    }

    /// Sends a request on, under the account of its permit, which is used up by it, and returns the head of the answer. Redirects
    /// are answers too.
    ///
    /// # Errors
    /// `Failure`, which says whether the API may have heard the request.
    pub async fn forward(
        &self,
        permit: Permit,
        token: &RealToken,
        mut checked: Checked,
    ) -> Result<(Response<Answered>, u32), Failure> {
        if token.account != permit.account() {
            return Err(Failure::unsent(
                What::Unreachable,
                "the real token is of another account than the permit",
            ));
        }
        let reads = checked.method.reads();
        match self.send(Purpose::Forward, token, &mut checked).await {
            // A kept connection that the API closes as a request comes is nobody's fault.
            Err(failure) if failure.may_be_repeated(reads) && checked.can_go_again() => {
                let sent = Box::pin(self.send(Purpose::Forward, token, &mut checked)).await;
                sent.map(|(answer, calls)| (answer, calls + 1))
            }
            result => result,
        }
    }

    /// Shows a real token to the API by asking for the account it is of, and returns the status. Nothing of a client goes
    /// along, and nothing of the answer but its status is used.
    ///
    /// # Errors
    /// `Failure`, if no answer came.
    pub async fn show(&self, token: &RealToken) -> Result<StatusCode, Failure> {
        let mut checked = Checked {
            method: Method::Get,
            path_and_query: "/v2/account".into(),
            headers: Carried::default(),
            body: Body::None,
        };
        self.send(Purpose::Check, token, &mut checked)
            .await
            .map(|(answer, _)| answer.status())
    }

    /// Looks something up with the real token: a GET, to a path that was made from the catalogue and never from a client's
    /// bytes alone. The answer is read whole, up to `limit` bytes.
    ///
    /// # Errors
    /// `Failure`.
    pub async fn look_up(
        &self,
        purpose: Purpose,
        token: &RealToken,
        path_and_query: &str,
        limit: usize,
    ) -> Result<(u16, Bytes), Failure> {
        let mut checked = Checked {
            method: Method::Get,
            path_and_query: path_and_query.into(),
            headers: Carried::default(),
            body: Body::None,
        };
        let answer = match Box::pin(self.send(purpose, token, &mut checked)).await {
            Err(failure) if failure.may_be_repeated(true) => {
                Box::pin(self.send(purpose, token, &mut checked)).await
            }
            result => result,
        }?;
        let (mut head, mut body) = answer.0.into_parts();
        let gunzip = Gunzip::of(&mut head.headers);
        let (bytes, whole) = read(&mut body, limit, self.settings.timeout)
            .await
            .map_err(|failure| match failure {
                BodyFailure::Timeout => {
                    Failure::sent(What::Timeout, "the answer to a look-up stopped")
                }
                BodyFailure::Broken | BodyFailure::TooLarge { .. } => {
                    Failure::sent(What::BadAnswer, "the answer to a look-up broke off")
                }
            })?;
        if !whole {
            return Err(Failure::sent(
                What::BadAnswer,
                format!("the answer to a look-up is larger than {limit} bytes"),
            ));
        }
        let bytes = match gunzip {
            None => bytes,
            Some(gunzip) => opened(gunzip, &bytes, limit)?,
        };
        Ok((head.status.as_u16(), bytes))
    }

    /// Sends a request, with another secret of the account where the API does not take one: by 401 it says that it did nothing.
    /// Tells how many calls that were.
    async fn send(
        &self,
        purpose: Purpose,
        token: &RealToken,
        checked: &mut Checked,
    ) -> Result<(Response<Answered>, u32), Failure> {
        let Some(held) = token.current() else {
            let why = "the account has no real token";
            return Err(Failure::unsent(What::BadRequest, why));
        };
        let answer = self.send_untold(purpose, (token, &held), checked).await;
        let answer = answer.inspect_err(|failure| self.tell(failure))?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok((answer, 1));
        }
        Box::pin(self.send_otherwise(purpose, (token, held), answer, checked)).await
    }

    /// Sends a request once more that the API refused for the secret that it was sent with, as often as there is another.
    async fn send_otherwise(
        &self,
        purpose: Purpose,
        (token, held): (&RealToken, Arc<HeldSecret>),
        mut answer: Response<Answered>,
        checked: &mut Checked,
    ) -> Result<(Response<Answered>, u32), Failure> {
        let mut shown = vec![held];
        let may_go_again = token.has_others() && checked.can_go_again();
        while answer.status() == StatusCode::UNAUTHORIZED {
            let other = if may_go_again && shown.len() < MOST_SHOWN {
                token.instead_of(&shown).await
            } else {
                None
            };
            let Some(other) = other else {
                let account = &token.account;
                self.metrics.complain(Complaint::RealToken, |count| {
                    warn!(account, count, "the API does not accept the real token (401); put one that is valid where the configuration says");
                });
                break;
            };
            let again = self.send_untold(purpose, (token, &other), checked).await;
            answer = again.inspect_err(|failure| self.tell(failure))?;
            shown.push(other);
        }
        let calls = u32::try_from(shown.len()).unwrap_or(u32::MAX);
        Ok((answer, calls))
    }

    /// Tells those who run tidegate what is wrong between it and the API. What is wrong with a client is not.
    fn tell(&self, failure: &Failure) {
        let complaint = match failure.what() {
            What::Unreachable => Complaint::Unreachable,
            What::Tls => Complaint::Tls,
            What::Timeout => Complaint::Timeout,
            What::BadAnswer => Complaint::BadAnswer,
            What::BadRequest | What::Client(_) => return,
        };
        let (url, why) = (&self.settings.url, failure.detail());
        self.metrics.complain(complaint, |count| match complaint {
            Complaint::Unreachable => warn!(%url, why, count, "the API can't be reached"),
            Complaint::Tls => {
                warn!(%url, why, count, "the TLS connection to the API can't be trusted");
            }
            Complaint::Timeout => warn!(%url, why, count, "the API did not answer in time"),
            Complaint::BadAnswer | Complaint::RealToken => {
                warn!(%url, why, count, "the API answered in a way that can't be used");
            }
        });
    }

    async fn send_untold(
        &self,
        purpose: Purpose,
        (token, held): (&RealToken, &HeldSecret),
        checked: &mut Checked,
    ) -> Result<Response<Answered>, Failure> {
        let progress = match &checked.body {
            Body::Stream(_, progress, _) => Some(progress.clone()),
            Body::None | Body::Json(_) => None, // all there from the start
        };
        let idle = if checked.method.reads() {
            READS_IDLE
        } else {
            CHANGES_IDLE
        };
        let request = self.request(held, checked)?;
        self.metrics.upstream_call(purpose);
        let sent = Instant::now();
        let answer = self.connections.ask(request, idle);
        tokio::pin!(answer);
        let due = || progress.as_ref().map_or(sent, Progress::last) + self.settings.timeout;
        loop {
            tokio::select! {
                biased; // an answer that came in time counts, however late it is looked at
                result = &mut answer => {
                    self.metrics.upstream_took(sent.elapsed());
                    let answer = result?;
                    token.answered(held, answer.status(), answer.headers());
                    return usable(answer);
                }
                () = sleep_until(due()) => {
                    if due() <= Instant::now() {
                        self.metrics.upstream_took(sent.elapsed());
                        return Err(Failure::sent(What::Timeout, "no answer came in time"));
                    }
                }
            }
        }
    }

    /// The request as it goes out. A body that goes as it comes goes with it.
    fn request(
        &self,
        token: &HeldSecret,
        checked: &mut Checked,
    ) -> Result<Request<Outgoing>, Failure> {
        let Checked {
            method,
            path_and_query,
            headers,
            body,
        } = checked;
        let wrong = |what: &str| Failure::unsent(What::BadRequest, what);
        let path = PathAndQuery::try_from(&**path_and_query);
        let uri = Uri::from(path.map_err(|_| wrong("the target is no URI"))?);
        let authorization = token.bearer();
        let authorization = authorization.ok_or_else(|| wrong("the real token is no header"))?;
        let mut headers = headers.to_map();
        headers.insert(HOST, self.host.clone());
        headers.insert(AUTHORIZATION, authorization);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let body = match body {
            Body::None => empty(),
            Body::Json(bytes) => {
                headers.insert(CONTENT_TYPE, JSON);
                whole(bytes.clone())
            }
            Body::Stream(stream, _, media_type) => {
                headers.insert(CONTENT_TYPE, media_type.clone());
                std::mem::replace(stream, empty())
            }
        };
        let mut request = Request::new(body);
        *request.method_mut() = hyper::Method::from_bytes(method.as_str().as_bytes())
            .map_err(|_| wrong("the method is none"))?;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// The media type of what is sent, but where an endpoint takes others.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The most secrets of an account that one request is sent with: where a command prints another one each time, that ends.
const MOST_SHOWN: usize = 4;

fn usable(answer: Response<Answered>) -> Result<Response<Answered>, Failure> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::sent(
            What::BadAnswer,
            "the API would switch protocols, which was not asked",
        ));
    }
    // The library reads any other coding than chunks as plain bytes, up to the connection's end.
    let mut codings = answer.headers().get_all(TRANSFER_ENCODING).iter();
    let in_chunks = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if !(codings.next().is_none_or(in_chunks) && codings.next().is_none()) {
        return Err(Failure::sent(
            What::BadAnswer,
            "the answer is in a transfer coding that was not asked; what is in it can't be checked",
        ));
    }
    let encodings = answer.headers().get_all(hyper::header::CONTENT_ENCODING);
    let readable = |encoding: &[u8]| {
        encoding.eq_ignore_ascii_case(b"identity") || encoding.eq_ignore_ascii_case(b"gzip")
    };
    let strange = encodings
        .iter()
        .any(|encoding| !readable(encoding.as_bytes()));
    if strange || encodings.iter().count() > 1 {
        return Err(Failure::sent(
            What::BadAnswer,
            "the answer is compressed in a way that was not asked; what is in it can't be checked",
        ));
    }
    Ok(answer)
}

/// A compressed answer to a look-up, opened up to `limit` bytes, however small it was.
fn opened(mut gunzip: Gunzip, bytes: &Bytes, limit: usize) -> Result<Bytes, Failure> {
    let broken = |_| {
        Failure::sent(
            What::BadAnswer,
            "the compressed answer to a look-up is broken",
        )
    };
    let mut whole = Vec::new();
    for piece in bytes.chunks(GZIP_PIECE) {
        whole.extend_from_slice(&gunzip.push(piece).map_err(broken)?);
        if whole.len() > limit {
            let what = format!("the answer to a look-up is larger than {limit} bytes");
            return Err(Failure::sent(What::BadAnswer, what));
        }
    }
    whole.extend_from_slice(&gunzip.finish().map_err(broken)?);
    Ok(Bytes::from(whole))
}

/// The compressed bytes that are opened at once: a thousand times as many may come of them.
const GZIP_PIECE: usize = 4 << 10;
