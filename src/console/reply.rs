use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use hyper::{HeaderMap, StatusCode};
use maud::Markup;
use serde_json::{Value, json};

use crate::refusal::{Code, Refusal};
use crate::response::{Answer, AnswerBody, made};
use crate::secret::redacted;

/// What is answered.
pub(super) enum Reply {
    /// A page.
    Page(StatusCode, Markup),
    /// JSON.
    Json(StatusCode, Value),
    /// Another page of this listener, to be asked for by GET; perhaps with a cookie.
    See(String, Option<String>),
    /// What is embedded: its kind and its bytes.
    Asset(&'static str, &'static [u8]),
    /// What comes bit by bit, as events.
    Events(AnswerBody),
}

/// Why something is not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The sub-token won't do.
    Refused(Refusal),
    /// Nobody is signed in.
    SignedOut,
    /// What was sent can't be read, or makes no sense.
    Bad(String),
    /// It may not be done.
    Forbidden(String),
    /// It is not there.
    Missing(String),
    /// There is another of that name.
    Taken(String),
    /// The path is asked by these methods alone.
    Method(Vec<&'static str>),
    /// The body is too large.
    Large,
    /// Too many failures of one address wait already.
    Busy,
    /// It can't be done now.
    Unable(String),
}

impl Trouble {
    /// There is nothing at that path.
    pub fn nothing() -> Self {
        Self::Missing("there is nothing here; the console begins at /, its API at /api/v1/, and beside it are /healthz, /readyz and /metrics".to_owned())
    }

    /// The status, the `id`, and what is said.
    pub fn told(&self) -> (StatusCode, &'static str, String) {
        let (status, id, text) = match self {
            Self::Refused(refusal) => {
                let status = StatusCode::from_u16(refusal.status());
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return (status, refusal.code.id(), redacted(&refusal.message));
            }
            Self::SignedOut => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "nobody is signed in here; sign in again",
            ),
            Self::Bad(why) => (StatusCode::BAD_REQUEST, "bad_request", why.as_str()),
            Self::Forbidden(why) => (StatusCode::FORBIDDEN, "forbidden", why.as_str()),
            Self::Missing(why) => (StatusCode::NOT_FOUND, "not_found", why.as_str()),
            Self::Taken(why) => (StatusCode::CONFLICT, "conflict", why.as_str()),
            Self::Method(methods) => {
                let text = format!("this is asked by {}", methods.join(" or "));
                return (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
            }
            Self::Large => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "payload_too_large",
                "what was sent is too large for this",
            ),
            Self::Busy => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_requests",
                "too many attempts from this address wait already; try again in a few seconds",
            ),
            Self::Unable(why) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                why.as_str(),
            ),
        };
        (status, id, redacted(text))
    }

    /// It for programs.
    pub fn as_json(&self, request_id: &str) -> Value {
        let (_, id, message) = self.told();
        json!({ "id": id, "message": message, "request_id": request_id })
    }

    fn headers(&self, to: &mut HeaderMap) {
        match self {
            Self::Refused(refusal) => {
                let reason = HeaderValue::from_static(refusal.code.as_str());
                to.insert(REASON, reason);
                to.extend(refusal.retry_after.map(|wait| (RETRY_AFTER, wait.into())));
            }
            Self::Method(methods) => {
                let methods = HeaderValue::from_str(&methods.join(", "));
                to.extend(methods.ok().map(|methods| (ALLOW, methods)));
            }
            Self::Busy => {
                to.insert(RETRY_AFTER, HeaderValue::from_static("4"));
            }
            Self::SignedOut
            | Self::Bad(_)
            | Self::Forbidden(_)
            | Self::Missing(_)
            | Self::Taken(_)
            | Self::Large
            | Self::Unable(_) => {}
        }
    }
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        match refusal.code {
            Code::AmbiguousRequest => Self::Bad(refusal.message),
            _ => Self::Refused(refusal),
        }
    }
}

const REASON: HeaderName = HeaderName::from_static("tidegate-reason");
const REQUEST_ID: HeaderName = HeaderName::from_static("tidegate-request-id");

/// What every answer says to browsers: nothing from elsewhere, nothing inline, in no frame, and no address of a page to others.
const POLICIES: [(HeaderName, &str); 8] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    (REFERRER_POLICY, "same-origin"), // with less, browsers send a form's `Origin` as null
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=()",
    ),
    (CACHE_CONTROL, "no-store"),
];

/// Makes the answer of a reply.
pub(super) fn answer(reply: Reply, request_id: &str) -> Answer {
    let mut headers = HeaderMap::new();
    let mut kind = |kind| headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let answer = match reply {
        Reply::Page(status, page) => {
            kind("text/html; charset=utf-8");
            whole(status, headers, page.into_string().into_bytes())
        }
        Reply::Json(status, value) => {
            kind("application/json");
            whole(status, headers, format!("{value}\n").into_bytes())
        }
        Reply::See(place, cookie) => {
            let place = HeaderValue::from_str(&place);
            headers.insert(LOCATION, place.unwrap_or(HeaderValue::from_static("/")));
            let cookie = cookie.and_then(|cookie| HeaderValue::from_str(&cookie).ok());
            headers.extend(cookie.map(|cookie| (SET_COOKIE, cookie)));
            whole(StatusCode::SEE_OTHER, headers, Vec::new())
        }
        Reply::Asset(asset, bytes) => {
            kind(asset);
            whole(StatusCode::OK, headers, bytes.to_vec())
        }
        Reply::Events(body) => {
            kind("text/event-stream");
            let mut answer = Answer::new(body);
            *answer.headers_mut() = headers;
            answer
        }
    };
    guarded(answer, request_id)
}

/// The answer to a program that can't be helped.
pub(super) fn trouble(trouble: &Trouble, request_id: &str) -> Answer {
    let (status, _, _) = trouble.told();
    let reply = Reply::Json(status, trouble.as_json(request_id));
    with_headers(answer(reply, request_id), trouble)
}

/// The answer to a person who can't be helped, as this page says it.
pub(super) fn trouble_page(trouble: &Trouble, page: Markup, request_id: &str) -> Answer {
    let (status, _, _) = trouble.told();
    with_headers(answer(Reply::Page(status, page), request_id), trouble)
}

fn with_headers(mut answer: Answer, trouble: &Trouble) -> Answer {
    trouble.headers(answer.headers_mut());
    answer
}

fn whole(status: StatusCode, mut headers: HeaderMap, body: Vec<u8>) -> Answer {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    made(status, headers, body)
}

fn guarded(mut answer: Answer, request_id: &str) -> Answer {
    let headers = answer.headers_mut();
    for (name, value) in POLICIES {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let id = HeaderValue::from_str(request_id);
    headers.extend(id.ok().map(|id| (REQUEST_ID, id)));
    answer
}
