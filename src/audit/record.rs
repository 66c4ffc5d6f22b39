use std::collections::BTreeMap;
use std::io::Write;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::catalog::{Method, Scope};
use crate::refusal::Refusal;
use crate::secret::{has_token, redacted};

/// One line of the record, but for its time and its event. Members that do not apply are left out, and whatever looks like a
/// token is blotted out as they are written.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// The request's own id.
    pub request_id: String,
    /// Which daemon of several it came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The sub-token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Token>,
    /// The name of the sub-token that made it, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// The sub-token that it makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Token>,
    /// Where the client is, without a port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// For whom the certificate is that the client showed, as RFC 4514 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cert: Option<String>,
    /// The method, HEAD being GET.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// The canonical path, without the query.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clean")]
    pub path: Option<String>,
    /// The operation id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What it does, where the endpoint has it say so.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clean")]
    pub action: Option<String>,
    /// The names of its parameters.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "clean_all")]
    pub query: Vec<String>,
    /// The scopes that the request asks for: of alternatives, the narrowest that the sub-token has.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Scope>,
    /// The members of the request that ask for a scope of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// The resources that it names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Resource>,
    /// What was decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Verdict>,
    /// On an allow the deciding grant, on a deny the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the token's roles alone would have said, where its ceiling let the request through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<Would>,
    /// What the operator should know beside.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clean")]
    pub detail: Option<String>,
    /// The account whose real token went in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The identity that is exchanged for a sub-token.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Box<Exchange>>,
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
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// Before it is sent on.
    Decision,
    /// The final one.
    Answer,
    /// Before a sub-token that an identity was exchanged for is handed out.
    Exchange,
    /// What somebody did who runs tidegate, at the console.
    Operator,
}

/// An identity: nothing of it but its issuer before it is verified, and of its claims those alone that a rule asks for.
#[derive(Clone, Debug, Serialize)]
pub struct Exchange {
    issuer: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clean")]
    sub: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    claims: BTreeMap<String, String>,
}

impl Exchange {
    /// One that an issuer is to have vouched for.
    pub fn new(issuer: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            rule: None,
            sub: None,
            claims: BTreeMap::new(),
        }
    }

    /// Notes for whom the issuer has vouched.
    pub fn subject(&mut self, subject: Option<&str>) {
        self.sub = subject.map(shortened);
    }

    /// Notes the rule that takes it, and the claims that the rule asks for.
    pub fn rule(&mut self, name: &str, claims: &[(String, String)]) {
        self.rule = Some(name.to_owned());
        let shown =
            |(claim, value): &(String, String)| (claim.clone(), redacted(&shortened(value)));
        self.claims = claims.iter().map(shown).collect();
    }
}

/// As much of a text as lines need to tell it by.
fn shortened(text: &str) -> String {
    const MOST: usize = 256;
    text.chars().take(MOST).collect()
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

/// What would have been said.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Would {
    /// The code.
    pub reason: &'static str,
    /// What the operator should know beside.
    #[serde(serialize_with = "clean")]
    pub detail: Option<String>,
    /// The scopes that would have done.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<Scope>,
}

impl From<&Refusal> for Would {
    fn from(refusal: &Refusal) -> Self {
        let detail = refusal.detail.as_ref().unwrap_or(&refusal.message);
        Self {
            reason: refusal.code.as_str(),
            detail: Some(detail.clone()),
            needs: refusal.needs.clone(),
        }
    }
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
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clean")]
    pub id: Option<String>,
    /// The scope that it is touched with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Its name, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clean")]
    pub name: Option<String>,
    /// The tags that it carries, as far as they are known.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "clean_all")]
    pub tags: Vec<String>,
    /// The id of its project, where that is known.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "clean")]
    pub project: Option<String>,
}

impl Resource {
    /// One of which no more is known than what the request calls it.
    pub fn named(kind: String, id: Option<String>, scope: Option<Scope>) -> Self {
        Self {
            kind,
            id,
            scope,
            name: None,
            tags: Vec::new(),
            project: None,
        }
    }
}

impl Record {
    /// A record of which nothing is known but that a request came.
    pub fn new(request_id: String) -> Self {
        Self {
            request_id,
            instance: None,
            token: None,
            parent: None,
            created: None,
            client_ip: None,
            client_cert: None,
            method: None,
            path: None,
            endpoint: None,
            action: None,
            query: Vec::new(),
            scopes: Vec::new(),
            fields: Vec::new(),
            resources: Vec::new(),
            decision: None,
            reason: None,
            would: None,
            detail: None,
            account: None,
            exchange: None,
            status: None,
            upstream_status: None,
            upstream_calls: None,
            duration_ms: None,
        }
    }

    /// The line for this event at this time (RFC 3339, UTC, microseconds), with its line end.
    pub fn line(&self, event: Event, now: Timestamp) -> Vec<u8> {
        let mut line = Vec::with_capacity(LINE);
        let event = match event {
            Event::Decision => "decision",
            Event::Answer => "answer",
            Event::Exchange => "exchange",
            Event::Operator => "operator",
        };
        // What is written into memory is always written, and texts and numbers always serialise.
        let _ = write!(line, "{{\"time\":\"{now:.6}\",\"event\":\"{event}\"");
        let begin = line.len();
        let _ = serde_json::to_writer(&mut line, self);
        if let Some(brace) = line.get_mut(begin) {
            *brace = b','; // there is a member: every request has its id
        }
        line.push(b'\n');
        line
    }
}

/// More bytes than most lines have.
const LINE: usize = 640;

/// A text as it may be written down.
#[expect(
    clippy::ref_option,
    reason = "it is how serde hands a member on to be written"
)]
fn clean<S: Serializer>(text: &Option<String>, to: S) -> Result<S::Ok, S::Error> {
    match text {
        Some(text) if has_token(text) => to.serialize_str(&redacted(text)),
        Some(text) => to.serialize_str(text),
        None => to.serialize_none(),
    }
}

fn clean_all<S: Serializer>(texts: &[String], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(texts.iter().map(|text| {
        if has_token(text) {
            redacted(text)
        } else {
            text.clone()
        }
    }))
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
        let id = Some("dop_v1_0123456789abcdef".into());
        record.resources = vec![Resource {
            tags: vec!["dop_v1_0123456789abcdef".into()],
            ..Resource::named("tag".into(), id, None)
        }];
        record.status = Some(403);
        let line =
            String::from_utf8(record.line(Event::Answer, Timestamp::from_second(0).unwrap()))
                .unwrap();
        assert_eq!(
            line,
            "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"event\":\"answer\",\"request_id\":\"r1\",\"path\":\"/v2/tags/tdg_v1_…\",\
             \"resources\":[{\"kind\":\"tag\",\"id\":\"dop_v1_…\",\"tags\":[\"dop_v1_…\"]}],\"status\":403}\n"
        );
    }
}
