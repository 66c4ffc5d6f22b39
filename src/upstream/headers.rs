use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_LANGUAGE, HeaderName, HeaderValue, USER_AGENT};

/// The request headers that travel on. All others stay behind, whatever they are.
static CARRIED: [HeaderName; 4] = [
    ACCEPT,
    ACCEPT_LANGUAGE,
    USER_AGENT,
    HeaderName::from_static("x-dangerous"),
];

/// What of `Accept` an answer in JSON is meant by.
const JSON: [&str; 3] = ["application/json", "application/*", "*/*"];

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
    /// Whether an answer in JSON will do, and in nothing else would be an answer to what was asked.
    pub fn takes_json(&self) -> bool {
        let mut known = CARRIED.iter().zip(&self.0);
        let accept = known.find(|(name, _)| **name == ACCEPT);
        let Some(accept) = accept.and_then(|(_, value)| value.as_ref()) else {
            return true;
        };
        if accept == JSON[0] {
            return true; // as most clients have it
        }
        let Ok(text) = accept.to_str() else {
            return false;
        };
        let essence = |range: &'_ str| {
            let essence = range.split(';').next().unwrap_or_default();
            essence.trim().to_ascii_lowercase()
        };
        let ranges: Vec<String> = text.split(',').map(essence).collect();
        let is_json = |range: &String| JSON.contains(&range.as_str());
        // axios lists text behind JSON, and the API has no answer in it.
        let harmless = |range: &String| is_json(range) || range == "text/plain";
        ranges.iter().any(is_json) && ranges.iter().all(harmless)
    }

    /// The same, but for an answer in JSON and in nothing else.
    #[must_use]
    pub fn for_json(mut self) -> Self {
        for (name, value) in CARRIED.iter().zip(&mut self.0) {
            if name == ACCEPT {
                *value = Some(HeaderValue::from_static("application/json"));
            }
        }
        self
    }

    /// As headers of a request.
    pub fn to_map(&self) -> HeaderMap {
        // With room for those of the answer too, which the library reads into it.
        let mut map = HeaderMap::with_capacity(24);
        for (name, value) in CARRIED.iter().zip(&self.0) {
            if let Some(value) = value {
                map.insert(name, value.clone());
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
    let mut kept = Carried::default();
    let mut sent = [0_usize; CARRIED.len()];
    // There are few, and one walk over them costs less than to look for each.
    for (name, value) in headers {
        if OVERRIDES.contains(name) {
            return Err(Overridden);
        }
        let mut known = CARRIED.iter().zip(kept.0.iter_mut().zip(&mut sent));
        let Some((_, (kept, sent))) = known.find(|(known, _)| *known == name) else {
            continue;
        };
        *sent += 1;
        let holds_token = || value.as_bytes().windows(4).any(|four| four == b"tdg_");
        *kept = (*sent == 1 && !holds_token()).then(|| value.clone());
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
            .to_map()
            .keys()
            .map(ToString::to_string)
            .collect();
        kept.sort();
        assert_eq!(kept, ["accept", "user-agent", "x-dangerous"]);
    }

    #[test]
    fn what_is_sent_more_than_once_stays_behind() {
        for values in [
            &["a", "a"][..],
            &["a", "tdg_v1_x"],
            &["tdg_v1_x", "a"],
            &["a", "b", "c"],
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-dangerous", HeaderValue::from_static("true"));
            for value in values {
                headers.append(ACCEPT_LANGUAGE, HeaderValue::from_static(value));
            }
            let kept = carried(&headers).unwrap().to_map();
            assert_eq!(kept.len(), 1, "{values:?}");
            assert!(kept.contains_key("x-dangerous"), "{values:?}");
        }
    }

    #[test]
    fn json_will_do_where_nothing_else_is_asked_for() {
        let cases = [
            (None, true),
            (Some("*/*"), true),
            (Some("application/json"), true),
            (Some("Application/JSON; q=1, */*;q=0.1"), true),
            (Some("application/json, text/plain, */*"), true),
            (Some("application/yaml"), false),
            (Some("text/plain"), false),
            (Some("application/yaml, */*"), false),
            (Some("text/html"), false),
            (Some(""), false),
        ];
        for (accept, will_do) in cases {
            let value = |text| (ACCEPT, HeaderValue::from_static(text));
            let headers = accept.map(value).into_iter().collect();
            let carried = carried(&headers).unwrap();
            assert_eq!(carried.takes_json(), will_do, "accept {accept:?}");
            let sent = carried.for_json().to_map();
            assert_eq!(sent.get(ACCEPT).unwrap(), "application/json");
        }
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
