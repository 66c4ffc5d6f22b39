use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{HeaderMap, StatusCode};
use serde_json::json;

use crate::refusal::Refusal;
use crate::secret::redacted;

/// A refusal as the client gets it: DigitalOcean's error shape, so that every client prints it.
pub fn refused(refusal: &Refusal, request_id: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    let Refusal {
        code,
        message,
        needs,
        retry_after,
        detail: _,
    } = refusal;
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
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
    headers.extend(retry_after.map(|seconds| (RETRY_AFTER, HeaderValue::from(seconds))));
    let body = json!({ "id": code.id(), "message": redacted(message), "request_id": request_id });
    (status, headers, body.to_string().into_bytes())
}
