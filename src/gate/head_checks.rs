//! What HTTP's library leaves open in a head: which host is meant, and how the body is framed. Each is said once, or refused,
//! since whoever stands before tidegate may have read the other one.

use hyper::Version;
use hyper::header::{HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;

use crate::refusal::{Code, Refusal};

/// What a head says that can be read in two ways.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Oddity {
    /// Its body has a length and is in chunks.
    FramedTwice,
    /// Its target has a fragment, which no client sends.
    Fragment,
}

/// Checks that a body does not have two ends: a length, and chunks. Nobody can tell which one whoever stands before tidegate
/// went by, so it is refused before anything else is asked, as the library does with two lengths or with chunks that are not
/// the last coding. The connection ends after the answer (RFC 9112 §6.3).
///
/// # Errors
/// `ambiguous_request`.
pub fn is_framed_once(head: &Parts) -> Result<(), Refusal> {
    match head.extensions.get::<Oddity>() {
        Some(Oddity::FramedTwice) => ambiguous(
            "the request has both `Content-Length` and `Transfer-Encoding`, and its body ends elsewhere by each; send one of the two",
        ),
        Some(Oddity::Fragment) | None => Ok(()),
    }
}

fn ambiguous(why: &str) -> Result<(), Refusal> {
    Err(Refusal::new(Code::AmbiguousRequest, why))
}

/// Checks that a head says one host and a target without a fragment, and no framing that hides what the body is.
///
/// # Errors
/// `ambiguous_request`.
pub fn says_one_thing(head: &Parts) -> Result<(), Refusal> {
    if head.extensions.get::<Oddity>() == Some(&Oddity::Fragment) {
        return ambiguous(
            "the target has a fragment, which is for the client alone and is never sent; leave out `#` and what follows, or write `%23`",
        );
    }
    let mut hosts = head.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(_), None) => {}
        (None, _) if head.version == Version::HTTP_10 => {}
        (None, _) => {
            return ambiguous(
                "the request has no `Host` header; send the one that you reach tidegate by",
            );
        }
        (Some(_), Some(_)) => return ambiguous("the request names its host twice; name it once"),
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        (Some(_), _) => {
            ambiguous("the body has a `Transfer-Encoding` other than `chunked`; send it as it is")
        }
    }
}
