use jiff::Timestamp;
use serde::Serialize;

use crate::secret::redacted;

/// One line of the record. Members that do not apply are left out.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// When the line was made: RFC 3339, UTC, microseconds.
    pub time: String,
    /// Which of the two lines of a request it is.
    pub event: Event,
    /// The request's own id.
    pub request_id: String,
    /// The sub-token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// Where the client is, without a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// For whom the certificate is that the client showed, as RFC 4514 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    /// The method, HEAD being GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The canonical path, without the query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The operation id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The scopes that the request asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The resources that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Verdict>,
    /// On an allow the deciding grant, on a deny the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the operator should know beside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The account whose real token went in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// What the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// What the API answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// How many calls of the API it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_calls: Option<u32>,
    /// How long it took, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
}

/// Which line of a request it is.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// Before it is sent on.
    Decision,
    /// The final one.
    Answer,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It was let through.
    Allow,
    /// It was refused.
    Deny,
}

/// A sub-token, by what may be shown of it.
#[derive(Clone, Debug, Serialize)]
pub struct Token {
    /// Its public part.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// A resource that a request names.
#[derive(Clone, Debug, Serialize)]
pub struct Resource {
    /// Its kind.
    pub kind: String,
    /// What names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The scope that it is touched with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
}

impl Record {
    /// A record of which nothing is known but that a request came.
    pub fn new(request_id: String) -> Self {
        Self {
            time: String::new(),
            event: Event::Answer,
            request_id,
            token: None,
            client_ip: None,
            client_cert: None,
            method: None,
            path: None,
            endpoint: None,
            scopes: Vec::new(),
            resources: Vec::new(),
            decision: None,
            reason: None,
            detail: None,
            account: None,
            status: None,
            upstream_status: None,
            upstream_calls: None,
            duration_ms: None,
        }
    }

    /// The line for this event at this time, with its line end. Whatever looks like a token is blotted out.
    pub fn line(&self, event: Event, now: Timestamp) -> Vec<u8> {
        let mut record = self.clone();
        record.event = event;
        record.time = format!("{now:.6}");
        for text in [&mut record.path, &mut record.detail].into_iter().flatten() {
            *text = redacted(text);
        }
        for id in record
            .resources
            .iter_mut()
            .filter_map(|resource| resource.id.as_mut())
        {
            *id = redacted(id);
        }
        let mut line = serde_json::to_vec(&record).unwrap_or_default(); // texts and numbers always serialise
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_applies_and_no_secret() {
        let mut record = Record::new("r1".into());
        record.path = Some(
            "/v2/tags/tdg_v1_4fZ0aB9cD8eF_000000000000000000000000000000000000000000aa".into(),
        );
        record.resources = vec![Resource {
            kind: "tag".into(),
            id: Some("dop_v1_0123456789abcdef".into()),
            scope: None,
        }];
        record.status = Some(403);
        let line =
            String::from_utf8(record.line(Event::Answer, Timestamp::from_second(0).unwrap()))
                .unwrap();
        assert_eq!(
            line,
            "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"answer\",\"request_id\":\"r1\",\"path\":\"/v2/tags/tdg_v1_…\",\
             \"resources\":[{\"kind\":\"tag\",\"id\":\"dop_v1_…\"}],\"status\":403}\n"
        );
    }
}
