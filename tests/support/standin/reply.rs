//! An answer before it is put on the wire.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};

/// An answer of the stand-in, or one that a test wants given.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code; anything that three digits can say.
    pub status: u16,
    /// Headers beside those of the framing, and beside the usual ones unless they are named here.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
    /// How the client is told where the body ends.
    pub framing: Framing,
}

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Framing {
    /// By `content-length`.
    Length,
    /// In chunks of at most so many bytes.
    Chunked(usize),
    /// By the end of the connection.
    UntilClose,
}

impl Reply {
    /// A JSON answer.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::bytes(status, "application/json; charset=utf-8", body.to_string())
    }

    /// An answer of any content.
    pub fn bytes(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self {
            status,
            headers,
            body: body.into(),
            framing: Framing::Length,
        }
    }

    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            framing: Framing::Length,
        }
    }

    /// An error in DigitalOcean's shape.
    pub fn problem(status: u16, id: &str, message: &str) -> Self {
        Self::json(status, &json!({ "id": id, "message": message }))
    }

    /// DigitalOcean's answer for what is not there.
    pub fn not_found() -> Self {
        Self::problem(
            404,
            "not_found",
            "The resource you were accessing could not be found.",
        )
    }

    /// DigitalOcean's answer for a body that it understands and does not want.
    pub fn unprocessable(message: &str) -> Self {
        Self::problem(422, "unprocessable_entity", message)
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the body in another framing.
    #[must_use]
    pub fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// The headers that are on every answer of the real API, where the reply does not name them itself.
    pub(super) fn with_usual_headers(self, count: usize) -> Self {
        let reset = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + Duration::from_secs(3600);
        let usual = [
            ("ratelimit-limit", "5000".to_owned()),
            (
                "ratelimit-remaining",
                5000_usize.saturating_sub(count).to_string(),
            ),
            ("ratelimit-reset", reset.as_secs().to_string()),
            (
                "x-request-id",
                format!("57a4d1d0-0000-4000-8000-{count:012x}"),
            ),
            (
                "set-cookie",
                "__cf_bm=fake; path=/; secure; HttpOnly".to_owned(),
            ),
        ];
        usual.into_iter().fold(self, |reply, (name, value)| {
            reply.with_default(name, &value)
        })
    }

    fn with_default(self, name: &str, value: &str) -> Self {
        let named = self
            .headers
            .iter()
            .any(|(own, _)| own.eq_ignore_ascii_case(name));
        if named { self } else { self.with(name, value) }
    }

    /// The head's bytes; `length` is told where the framing tells one.
    pub(super) fn head(&self, length: u64) -> Vec<u8> {
        let status = StatusCode::from_u16(self.status).ok();
        let words = status
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Unknown");
        let line = format!("HTTP/1.1 {} {words}", self.status);
        let headers = self.headers.iter();
        let headers = headers.map(|(name, value)| format!("{name}: {value}"));
        let framing = match self.framing {
            _ if self.has_no_body() => None,
            Framing::Length => Some(format!("content-length: {length}")),
            Framing::Chunked(_) => Some("transfer-encoding: chunked".to_owned()),
            Framing::UntilClose => Some("connection: close".to_owned()),
        };
        let lines: Vec<String> = [line].into_iter().chain(headers).chain(framing).collect();
        (lines.join("\r\n") + "\r\n\r\n").into_bytes()
    }

    /// The body's bytes as they go over the wire.
    pub(super) fn framed_body(&self) -> Bytes {
        match self.framing {
            _ if self.has_no_body() => Bytes::new(),
            Framing::Length | Framing::UntilClose => self.body.clone(),
            Framing::Chunked(size) => in_chunks(&self.body, size).into(),
        }
    }

    fn has_no_body(&self) -> bool {
        self.status < 200 || matches!(self.status, 204 | 304)
    }
}

fn in_chunks(body: &[u8], size: usize) -> Vec<u8> {
    let mut framed = Vec::new();
    for chunk in body.chunks(size.max(1)) {
        framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        framed.extend_from_slice(chunk);
        framed.extend_from_slice(b"\r\n");
    }
    framed.extend_from_slice(b"0\r\n\r\n");
    framed
}
