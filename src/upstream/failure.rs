use std::error::Error;
use std::io;

use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use serde::de::IgnoredAny;

use super::body::BodyFailure;
use crate::refusal::{Code, Refusal};

/// Why there is no answer to hand on.
#[derive(Debug)]
pub struct Failure {
    what: What,
    may_have_arrived: bool,
    broke_off: bool,
    detail: String,
}

/// What went wrong with the upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// No connection could be made.
    Unreachable,
    /// Its certificate was not trusted, or TLS failed otherwise.
    Tls,
    /// It took too long.
    Timeout,
    /// What it answered can't be used, or broke off.
    BadAnswer,
    /// The request can't be written; nothing was sent.
    BadRequest,
    /// The client's body failed on the way.
    Client(BodyFailure),
}

impl Failure {
    /// A failure before any byte of the request left.
    pub fn unsent(what: What, detail: impl Into<String>) -> Self {
        Self {
            what,
            may_have_arrived: false,
            broke_off: false,
            detail: detail.into(),
        }
    }

    /// A failure after the request may have left.
    pub fn sent(what: What, detail: impl Into<String>) -> Self {
        Self {
            what,
            may_have_arrived: true,
            broke_off: false,
            detail: detail.into(),
        }
    }

    /// What comes of an error on a connection, once the request was begun.
    pub(super) fn of(error: &hyper::Error) -> Self {
        let detail = chain(error);
        if let Some(body) = find::<BodyFailure>(error) {
            return Self::sent(What::Client(*body), detail);
        }
        if is_refused_unheard(error) {
            return Self::unheard(error);
        }
        Self {
            broke_off: ended_early(error),
            ..Self::sent(What::BadAnswer, detail)
        }
    }

    /// What comes of an error before there was a connection.
    pub(super) fn unconnected(error: &(dyn Error + 'static)) -> Self {
        let timed_out =
            find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::TimedOut);
        let what = match find::<rustls::Error>(error) {
            Some(_) => What::Tls,
            None if timed_out => What::Timeout,
            None => What::Unreachable,
        };
        Self::unsent(what, chain(error))
    }

    /// A connection that ended before the API had heard the request.
    pub(super) fn unheard(error: &hyper::Error) -> Self {
        Self {
            broke_off: true,
            ..Self::unsent(What::Unreachable, chain(error))
        }
    }

    /// What went wrong.
    pub fn what(&self) -> What {
        self.what
    }

    /// What went wrong, for those who run tidegate.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// Whether it may be sent again: the connection ended where an answer was due, to a read or before anything was heard.
    pub(super) fn may_be_repeated(&self, reads: bool) -> bool {
        self.broke_off && (reads || !self.may_have_arrived)
    }

    /// What the client is told. For a request that changes something, and that the API may have heard, that is that nobody
    /// knows: clients send again on 502 and 504.
    pub fn refusal(&self, reads: bool) -> Refusal {
        let refusal = match self.what {
            _ if self.may_have_arrived && !reads => outcome_unknown(),
            What::Client(BodyFailure::TooLarge { limit }) => Refusal::new(
                Code::BodyTooLarge,
                format!("the body is larger than {limit} bytes; send less, or raise `limits.body`"),
            ),
            What::Client(BodyFailure::Timeout) => Refusal::new(
                Code::Timeout,
                "the body did not come in time; send it without pauses",
            ),
            What::Client(BodyFailure::Broken) => {
                Refusal::new(Code::BodyUnreadable, "the body broke off; send it whole")
            }
            What::Unreachable => Refusal::new(
                Code::UpstreamUnreachable,
                "DigitalOcean's API can't be reached from tidegate; nothing was sent; try again later",
            ),
            What::Tls => Refusal::new(
                Code::UpstreamTls,
                "the TLS connection to DigitalOcean's API can't be trusted; nothing was sent; tell who runs tidegate",
            ),
            What::Timeout => Refusal::new(
                Code::UpstreamTimeout,
                "DigitalOcean's API did not answer in time; try again later",
            ),
            What::BadAnswer => Refusal::new(
                Code::UpstreamBadAnswer,
                "DigitalOcean's API answered in a way that can't be handed on; try again later",
            ),
            What::BadRequest => Refusal::new(
                Code::AmbiguousRequest,
                "the request can't be written for DigitalOcean's API; send it as the reference has it",
            ),
        };
        refusal.detail(&self.detail)
    }
}

/// What the client gets for an answer that is no answer of the API but of a gateway before it, if this is one: 502, 504 and
/// 520 to 527 are, and any other 5xx that is not JSON. The request may have been carried out all the same.
pub fn by_a_gateway(status: StatusCode, headers: &HeaderMap, reads: bool) -> Option<Refusal> {
    let code = status.as_u16();
    let is_json = headers
        .get(CONTENT_TYPE)
        .and_then(|media_type| media_type.to_str().ok())
        .is_some_and(|media_type| {
            let essence = media_type.split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
        });
    let by_gateway = matches!(code, 502 | 504 | 520..=527) || status.is_server_error() && !is_json;
    by_gateway.then(|| instead_of_the_api(status, headers, reads))
}

/// The same for an answer that says of itself that it is JSON, once its body is there: a 5xx that is none after all.
pub fn by_a_gateway_after_all(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    reads: bool,
) -> Option<Refusal> {
    let is_json = || serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let by_gateway = status.is_server_error() && !is_json();
    by_gateway.then(|| instead_of_the_api(status, headers, reads))
}

fn instead_of_the_api(status: StatusCode, headers: &HeaderMap, reads: bool) -> Refusal {
    let code = status.as_u16();
    let detail = format!("a gateway before the API answered {code}");
    if !reads {
        let refusal = Refusal::new(
            Code::OutcomeUnknown,
            "the request was sent to DigitalOcean, but a gateway before its API answered in the API's place, so it may or may not have been carried out; look before you repeat it",
        );
        return refusal.of_gateway(code).detail(detail);
    }
    let mut refusal = Refusal::new(
        Code::UpstreamBadAnswer,
        "a gateway before DigitalOcean's API answered in the API's place; try again later",
    );
    let wait = headers.get(RETRY_AFTER).and_then(|wait| wait.to_str().ok());
    refusal.retry_after = wait.and_then(|wait| wait.parse().ok());
    refusal.of_gateway(code).detail(detail)
}

fn outcome_unknown() -> Refusal {
    Refusal::new(
        Code::OutcomeUnknown,
        "the request was sent to DigitalOcean, but no whole answer came, so it may or may not have been carried out; look before you repeat it",
    )
}

/// Whether the API said that it did not look at the request: it refused the stream, or said goodbye with that of an earlier one as
/// the last (RFC 9113, 6.8 and 8.7), so that sending it again sends it once.
fn is_refused_unheard(error: &hyper::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (is_refused || error.is_go_away())
    })
}

fn ended_early(error: &hyper::Error) -> bool {
    let closed = find::<hyper::Error>(error).is_some_and(|error| {
        error.is_incomplete_message() || error.is_canceled() || error.is_closed()
    });
    let reset = find::<io::Error>(error).is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    });
    closed || reset
}

/// The first error of that type among an error and its sources, inside of I/O errors too, which may be nested.
fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        next = inside
            .map(|inside| inside as &(dyn Error + 'static))
            .or_else(|| error.source());
    }
    None
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text.push_str(": ");
        text.push_str(&error.to_string());
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn what_a_gateway_says_is_no_answer_of_the_api() {
        let json = Some("application/json; charset=utf-8");
        let cases = [
            (502, json, true), // the API itself never answers so
            (504, None, true),
            (520, Some("text/html"), true),
            (527, json, true),
            (528, json, false),
            (500, json, false),
            (503, json, false),
            (503, Some("Application/JSON"), false),
            (503, Some("application/problem+json"), false),
            (503, Some("text/html; charset=UTF-8"), true),
            (500, None, true),
            (499, Some("text/html"), false),
            (429, Some("text/plain"), false),
            (200, Some("text/html"), false),
        ];
        for (status, media_type, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.extend(media_type.map(|it| (CONTENT_TYPE, HeaderValue::from_static(it))));
            let status = StatusCode::from_u16(status).unwrap();
            let write = by_a_gateway(status, &headers, false);
            let read = by_a_gateway(status, &headers, true);
            let case = format!("{status} {media_type:?}");
            assert_eq!(write.is_some(), expected, "{case}");
            assert!(write.is_none_or(|it| it.status() == 409), "{case}");
            assert_eq!(
                read.map(|it| it.status()),
                expected.then_some(status.as_u16()),
                "{case}"
            );
        }
    }
}
