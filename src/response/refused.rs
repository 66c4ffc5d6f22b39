use std::borrow::Cow;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;

use crate::refusal::{OauthError, Refusal};
use crate::secret::redacted;

/// A refusal as the client gets it: DigitalOcean's error shape, so that every client prints it.
pub fn refused(refusal: &Refusal, request_id: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    let Refusal {
        code,
        message,
        needs,
        retry_after,
        detail: _,
        upstream_status,
        oauth,
    } = refusal;
    let status =
        StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        HeaderName::from_static("tidegate-reason"),
        HeaderValue::from_static(code.as_str()),
    );
    if !needs.is_empty() {
        let listed = needs
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        headers.extend(
            HeaderValue::from_str(&listed)
                .ok()
                .map(|value| (HeaderName::from_static("tidegate-needs"), value)),
        );
    }
    let heard = upstream_status.map(HeaderValue::from);
    headers.extend(heard.map(|status| (UPSTREAM_STATUS, status)));
    headers.extend(retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))));
    if let Some(OauthError { error, .. }) = oauth {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let body = json!({ "error": error, "error_description": redacted(message) });
        return (status, headers, body.to_string().into_bytes());
    }
    let message = redacted(&told(status, message));
    let body = json!({ "id": code.id(), "message": message, "request_id": request_id });
    (status, headers, body.to_string().into_bytes())
}

/// What a gateway before the API answered where the client gets another answer.
const UPSTREAM_STATUS: HeaderName = HeaderName::from_static("tidegate-upstream-status");

/// What the client reads. A 401 begins with DigitalOcean's own words, as certbot asks its user for a valid token only where
/// they stand.
fn told(status: StatusCode, message: &str) -> Cow<'_, str> {
    if status == StatusCode::UNAUTHORIZED {
        Cow::Owned(format!("Unable to authenticate you: {message}"))
    } else {
        Cow::Borrowed(message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::refusal::Code;

    #[test]
    fn every_401_begins_with_the_words_that_certbot_looks_for() {
        let unable = "Unable to authenticate you: why; what to do";
        let cases = [
            (Code::NoToken, unable),
            (Code::UnknownToken, unable),
            (Code::RealToken, unable),
            (Code::Revoked, unable),
            (Code::Expired, unable),
            (Code::NotYetValid, unable),
            (Code::UsesExhausted, unable),
            (Code::SourceIp, "why; what to do"), // the token is good
            (Code::Scope, "why; what to do"),
            (Code::RateLimited, "why; what to do"),
        ];
        for (code, expected) in cases {
            let (_, _, body) = refused(&Refusal::new(code, "why; what to do"), "id");
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body["message"], expected, "{code}");
        }
    }
}
