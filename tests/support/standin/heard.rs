//! A request as the stand-in heard it.

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION};
use hyper::{HeaderMap, Method};
use serde_json::Value;

/// One request, as it came over the wire.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The method.
    pub method: Method,
    /// Path and query, byte for byte.
    pub target: String,
    /// All headers, repeated ones too.
    pub headers: HeaderMap,
    /// The body, with its framing taken off.
    pub body: Bytes,
}

impl Heard {
    /// The target up to the `?`, undecoded.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// `METHOD target`, which makes assertions short.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// The query's parameters, decoded, in their order.
    pub fn query(&self) -> Vec<(String, String)> {
        let query = self.target.split_once('?').map_or("", |(_, query)| query);
        query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(parameter)
            .collect()
    }

    /// The first value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON, `null` where there is none.
    ///
    /// # Panics
    /// If the body is something else.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: the body is no JSON: {error}", self.line()))
    }

    /// The bearer token, if exactly one was sent.
    pub fn bearer(&self) -> Option<&str> {
        let mut all = self.headers.get_all(AUTHORIZATION).iter();
        let (Some(only), None) = (all.next(), all.next()) else {
            return None;
        };
        only.to_str().ok()?.strip_prefix("Bearer ")
    }

    pub(super) fn wants_close(&self) -> bool {
        let said = self
            .headers
            .get(CONNECTION)
            .and_then(|value| value.to_str().ok());
        said.is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn parameter(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (
        decoded(&name.replace('+', " ")),
        decoded(&value.replace('+', " ")),
    )
}

/// Undoes percent-encoding; what is none stays as it is, as in the API.
pub(super) fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes all but what may stand in any part of a URL.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut done, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            done.push(char::from(byte));
        } else {
            done.extend(format!("%{byte:02X}").chars());
        }
        done
    })
}
