use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName, HeaderValue, USER_AGENT};

/// The request headers that travel on. All others stay behind, whatever they are.
static CARRIED: [HeaderName; 4] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    USER_AGENT,
    HeaderName::from_static("x-dangerous"),
];

/// Headers by which some servers take another method than the one that was sent.
static OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-method-override"),
];

/// What of a client's headers goes on: a value for each of those that may.
#[derive(Clone, Debug, Default)]
pub struct Carried([Option<HeaderValue>; 4]);

impl Carried {
    /// As headers of a request.
    pub fn into_map(self) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(8);
        for (name, value) in CARRIED.iter().zip(self.0) {
            if let Some(value) = value {
                map.insert(name, value);
            }
        }
        map
    }
}

/// A request says its method twice.
#[derive(Debug, Eq, PartialEq)]
pub struct Overridden;

/// What of a client's headers goes on to the API: known harmless ones, sent once, that hold no sub-token.
///
/// # Errors
/// `Overridden` if one of them would change the method.
pub fn carried(headers: &HeaderMap) -> Result<Carried, Overridden> {
    if OVERRIDES.iter().any(|name| headers.contains_key(name)) {
        return Err(Overridden);
    }
    let mut kept = Carried::default();
    for (name, kept) in CARRIED.iter().zip(&mut kept.0) {
        let mut values = headers.get_all(name).iter();
        if let (Some(value), None) = (values.next(), values.next())
            && !value.as_bytes().windows(4).any(|four| four == b"tdg_")
        {
            *kept = Some(value.clone());
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_harmless_headers_travel_on() {
        let sent = [
            ("accept", "application/json"),
            ("user-agent", "doctl/1"),
            ("x-dangerous", "true"),
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-forwarded-for", "1.2.3.4"),
            ("connection", "close"),
            ("te", "trailers"),
            ("host", "gate"),
            ("accept-encoding", "gzip"),
            ("x-original-url", "/v2/account"),
            ("accept-language", "tdg_v1_x"),
        ];
        let headers = sent
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        let mut kept: Vec<_> = carried(&headers)
            .unwrap()
            .into_map()
            .keys()
            .map(ToString::to_string)
            .collect();
        kept.sort();
        assert_eq!(kept, ["accept", "user-agent", "x-dangerous"]);
    }

    #[test]
    fn a_second_method_is_refused() {
        for name in [
            "x-http-method-override",
            "x-http-method",
            "x-method-override",
        ] {
            let headers = [(
                HeaderName::from_static(name),
                HeaderValue::from_static("DELETE"),
            )]
            .into_iter()
            .collect();
            assert!(carried(&headers).is_err(), "header {name}");
        }
    }
}
