//! What HTTP's library leaves open in a head: which host is meant, and how the body is framed. Each is said once, or refused,
//! since whoever stands before tidegate may have read the other one.

use hyper::Version;
use hyper::header::{HOST, TRANSFER_ENCODING};
use hyper::http::request::Parts;

use crate::refusal::{Code, Refusal};

/// Checks that a head says one host, and no framing that hides what the body is.
///
/// Two lengths, or chunks that are not the last coding, the library refuses; of a length and chunks at once it takes the
/// chunks, and the connection ends after the answer (RFC 9112 §6.3).
///
/// # Errors
/// `ambiguous_request`.
pub fn says_one_thing(head: &Parts) -> Result<(), Refusal> {
    let ambiguous = |why: &str| Err(Refusal::new(Code::AmbiguousRequest, why.to_owned()));
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
