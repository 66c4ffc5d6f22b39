use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::catalog::{Method, Scope};
use crate::refusal::Refusal;
use crate::secret::{has_token, redacted};
use crate::token::{ClientAddr, TokenId};

/// One line of the record, but for its time and its event. Members that do not apply are left out, and whatever looks like a
/// token is blotted out as they are written.
#[derive(Clone, Debug)]
pub struct Record {
    /// The request's own id.
    pub request_id: String,
    /// Which daemon of several it came to.
    pub instance: Option<String>,
    /// The sub-token.
    pub token: Option<Token>,
    /// The name of the sub-token that made it, if one did.
    pub parent: Option<String>,
    /// The sub-token that it makes.
    pub created: Option<Token>,
    /// Where the client is, without a port.
    pub client_ip: Option<ClientAddr>,
    /// For whom the certificate is that the client showed, as RFC 4514 writes it.
    pub client_cert: Option<String>,
    /// The method, HEAD being GET.
    pub method: Option<Method>,
    /// The canonical path, without the query.
    pub path: Option<Arc<str>>,
    /// The operation id.
    pub endpoint: Option<Arc<str>>,
    /// What it does, where the endpoint has it say so.
    pub action: Option<String>,
    /// The names of its parameters.
    pub query: Vec<String>,
    /// The scopes that the request asks for: of alternatives, the narrowest that the sub-token has.
    pub scopes: Vec<Scope>,
    /// The members of the request that ask for a scope of their own.
    pub fields: Vec<String>,
    /// The resources that it names.
    pub resources: Vec<Resource>,
    /// What was decided.
    pub decision: Option<Verdict>,
    /// On an allow the deciding grant, on a deny the code.
    pub reason: Option<Arc<str>>,
    /// What the token's roles alone would have said, where its ceiling let the request through.
    pub would: Option<Would>,
    /// What the operator should know beside.
    pub detail: Option<String>,
    /// What the client was told, where `detail` says more than that.
    pub message: Option<String>,
    /// The account whose real token went in.
    pub account: Option<Arc<str>>,
    /// The identity that is exchanged for a sub-token.
    pub exchange: Option<Box<Exchange>>,
    /// What the client got.
    pub status: Option<u16>,
    /// What the API answered.
    pub upstream_status: Option<u16>,
    /// How many calls of the API it took.
    pub upstream_calls: Option<u32>,
    /// How long it took.
    pub duration: Option<Duration>,
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
#[derive(Clone, Debug)]
pub struct Exchange {
    issuer: String,
    rule: Option<String>,
    sub: Option<String>,
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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
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
#[derive(Clone, Debug)]
pub struct Token {
    /// Its public part.
    pub id: TokenId,
    /// Its name.
    pub name: String,
}

/// A resource that a request names.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its kind.
    pub kind: &'static str,
    /// What names it.
    pub id: Option<String>,
    /// The scope that it is touched with.
    pub scope: Option<Scope>,
    /// Its name, where that is known.
    pub name: Option<String>,
    /// The tags that it carries, as far as they are known.
    pub tags: Vec<String>,
    /// The id of its project, where that is known.
    pub project: Option<String>,
}

impl Resource {
    /// One of which no more is known than what the request calls it.
    pub fn named(kind: &'static str, id: Option<String>, scope: Option<Scope>) -> Self {
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
            message: None,
            account: None,
            exchange: None,
            status: None,
            upstream_status: None,
            upstream_calls: None,
            duration: None,
        }
    }

    /// Writes the line for this event at this time (RFC 3339, UTC, microseconds), with its line end, behind what `to` has.
    pub fn write(&self, event: Event, now: Timestamp, to: &mut Vec<u8>) {
        let mut line = Line(to);
        line.raw("{\"time\":\"");
        line.time(now);
        line.raw(match event {
            Event::Decision => "\",\"event\":\"decision\"",
            Event::Answer => "\",\"event\":\"answer\"",
            Event::Exchange => "\",\"event\":\"exchange\"",
            Event::Operator => "\",\"event\":\"operator\"",
        });
        self.members(&mut line);
        line.raw("}\n");
    }

    /// The same, alone.
    pub fn line(&self, event: Event, now: Timestamp) -> Vec<u8> {
        let mut line = Vec::with_capacity(LINE);
        self.write(event, now, &mut line);
        line
    }

    fn members(&self, line: &mut Line<'_>) {
        let Self {
            request_id,
            instance,
            token,
            parent,
            created,
            client_ip,
            client_cert,
            method,
            path,
            endpoint,
            action,
            query,
            scopes,
            fields,
            resources,
            decision,
            reason,
            would,
            detail,
            message,
            account,
            exchange,
            status,
            upstream_status,
            upstream_calls,
            duration,
        } = self;
        line.text(",\"request_id\":", request_id);
        line.text_if(",\"instance\":", instance.as_deref());
        line.token(",\"token\":", token.as_ref());
        line.text_if(",\"parent\":", parent.as_deref());
        line.token(",\"created\":", created.as_ref());
        line.addr(",\"client_ip\":\"", client_ip.as_ref());
        line.text_if(",\"client_cert\":", client_cert.as_deref());
        line.text_if(
            ",\"method\":",
            method.as_ref().map(|method| method.as_str()),
        );
        line.clean_if(",\"path\":", path.as_deref());
        line.text_if(",\"endpoint\":", endpoint.as_deref());
        line.clean_if(",\"action\":", action.as_deref());
        line.list(",\"query\":[", query, |line, before, name| {
            line.clean(before, name);
        });
        line.scopes(",\"scopes\":[", scopes);
        line.list(",\"fields\":[", fields, |line, before, field| {
            line.text(before, field);
        });
        line.list(",\"resources\":[", resources, |line, before, resource| {
            line.raw(before);
            resource.write(line);
        });
        line.text_if(",\"decision\":", decision.map(Verdict::as_str));
        line.text_if(",\"reason\":", reason.as_deref());
        if let Some(would) = would {
            line.raw(",\"would\":");
            line.as_json(would);
        }
        line.clean_if(",\"detail\":", detail.as_deref());
        line.clean_if(",\"message\":", message.as_deref());
        line.text_if(",\"account\":", account.as_deref());
        if let Some(exchange) = exchange {
            exchange.write(line);
        }
        line.number(",\"status\":", status.map(u64::from));
        line.number(",\"upstream_status\":", upstream_status.map(u64::from));
        line.number(",\"upstream_calls\":", upstream_calls.map(u64::from));
        if let Some(duration) = duration {
            line.milliseconds(",\"duration_ms\":", *duration);
        }
    }
}

impl Exchange {
    fn write(&self, line: &mut Line<'_>) {
        let Self {
            issuer,
            rule,
            sub,
            claims,
        } = self;
        line.text(",\"issuer\":", issuer);
        line.text_if(",\"rule\":", rule.as_deref());
        line.clean_if(",\"sub\":", sub.as_deref());
        if claims.is_empty() {
            return;
        }
        let mut before = ",\"claims\":{";
        for (claim, value) in claims {
            line.text(before, claim);
            line.text(":", value);
            before = ",";
        }
        line.raw("}");
    }
}

impl Resource {
    fn write(&self, line: &mut Line<'_>) {
        let Self {
            kind,
            id,
            scope,
            name,
            tags,
            project,
        } = self;
        line.text("{\"kind\":", kind);
        line.clean_if(",\"id\":", id.as_deref());
        line.text_if(",\"scope\":", scope.as_ref().map(Scope::as_str));
        line.clean_if(",\"name\":", name.as_deref());
        line.list(",\"tags\":[", tags, |line, before, tag| {
            line.clean(before, tag);
        });
        line.clean_if(",\"project\":", project.as_deref());
        line.raw("}");
    }
}

/// A line that is being written: by hand, as it is one for each request. What is `before` a value is its name and what
/// separates it from the one before.
struct Line<'l>(&'l mut Vec<u8>);

impl Line<'_> {
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    fn text(&mut self, before: &str, text: &str) {
        self.raw(before);
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        // Of all its bytes, as that is faster than to stop at the first.
        if text.bytes().fold(true, |all, byte| all & is_plain(byte)) {
            self.0.push(b'"');
            self.raw(text);
            self.0.push(b'"');
        } else {
            self.as_json(text);
        }
    }

    /// What few lines have, as serde writes it.
    fn as_json<T: Serialize + ?Sized>(&mut self, value: &T) {
        let _ = serde_json::to_writer(&mut *self.0, value); // into memory it is always written
    }

    fn text_if(&mut self, before: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(before, text);
        }
    }

    /// A text as it may be written down: without whatever looks like a token.
    fn clean(&mut self, before: &str, text: &str) {
        if has_token(text) {
            self.text(before, &redacted(text));
        } else {
            self.text(before, text);
        }
    }

    fn clean_if(&mut self, before: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.clean(before, text);
        }
    }

    fn token(&mut self, before: &str, token: Option<&Token>) {
        if let Some(Token { id, name }) = token {
            self.raw(before);
            self.text("{\"id\":", id.as_str());
            self.text(",\"name\":", name);
            self.raw("}");
        }
    }

    fn addr(&mut self, before: &str, addr: Option<&ClientAddr>) {
        let Some(addr) = addr else {
            return;
        };
        self.raw(before);
        if let ClientAddr::Ip(IpAddr::V4(four)) = addr {
            for (at, part) in four.octets().into_iter().enumerate() {
                self.raw(if at == 0 { "" } else { "." });
                self.digits(part.into(), 1);
            }
        } else {
            let _ = write!(self.0, "{addr}"); // into memory it is always written
        }
        self.raw("\"");
    }

    /// Nothing, where there are none.
    fn list<T>(&mut self, before: &str, items: &[T], write: impl Fn(&mut Self, &str, &T)) {
        let Some((first, others)) = items.split_first() else {
            return;
        };
        self.raw(before);
        write(self, "", first);
        for item in others {
            write(self, ",", item);
        }
        self.raw("]");
    }

    fn scopes(&mut self, before: &str, scopes: &[Scope]) {
        self.list(before, scopes, |line, before, scope| {
            line.text(before, scope.as_str());
        });
    }

    fn number(&mut self, before: &str, number: Option<u64>) {
        if let Some(number) = number {
            self.raw(before);
            self.digits(number, 1);
        }
    }

    /// A number in at least so many digits.
    fn digits(&mut self, mut number: u64, least: usize) {
        let mut digits = [b'0'; 20]; // of the largest
        let mut from = digits.len();
        for (at, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
            number /= 10;
            from = at;
            if number == 0 {
                break;
            }
        }
        let from = from.min(digits.len() - least);
        let digits = digits.get(from..).unwrap_or_default();
        self.0.extend_from_slice(digits);
    }

    /// In milliseconds, to the microsecond.
    fn milliseconds(&mut self, before: &str, time: Duration) {
        let micros = u64::try_from((time.as_nanos() + 500) / 1000).unwrap_or(u64::MAX);
        self.number(before, Some(micros / 1000));
        self.raw(".");
        match micros % 1000 {
            rest if rest % 100 == 0 => self.digits(rest / 100, 1),
            rest if rest % 10 == 0 => self.digits(rest / 10, 2),
            rest => self.digits(rest, 3),
        }
    }

    /// A time, of which all but the fraction is kept from one line to the next.
    fn time(&mut self, now: Timestamp) {
        thread_local! {
            static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
        }
        let micros = now.as_microsecond();
        let (second, rest) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
        SECOND.with_borrow_mut(|(known, text)| {
            if *known != second {
                *known = second;
                let time = Timestamp::from_second(second).unwrap_or(now);
                *text = format!("{time:.0}");
            }
            self.raw(text.strip_suffix('Z').unwrap_or(text));
        });
        self.raw(".");
        self.digits(rest.unsigned_abs(), 6);
        self.raw("Z");
    }
}

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

/// More bytes than most lines have.
const LINE: usize = 640;

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
            ..Resource::named("tag", id, None)
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

    fn ip(text: &str) -> ClientAddr {
        ClientAddr::Ip(text.parse().unwrap())
    }

    #[test]
    fn addresses_are_as_everyone_writes_them() {
        let cases = [
            (ip("0.0.0.0"), "0.0.0.0"),
            (ip("10.0.200.255"), "10.0.200.255"),
            (ip("2001:db8::1"), "2001:db8::1"),
            (ClientAddr::Unix, "unix"),
        ];
        for (addr, written) in cases {
            let mut record = Record::new("r".into());
            record.client_ip = Some(addr);
            let line = record.line(Event::Answer, Timestamp::UNIX_EPOCH);
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(read["client_ip"], written);
        }
    }

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn each_member_stands_in_its_place() {
        let token = |id: &str, name: &str| Token {
            id: id.parse().unwrap(),
            name: name.into(),
        };
        let mut exchange = Exchange::new("https://issuer.example.com");
        exchange.subject(Some("repo:x"));
        exchange.rule(
            "ci",
            &[("ref".into(), "main".into()), ("run".into(), "7".into())],
        );
        let record = Record {
            instance: Some("a".into()),
            token: Some(token("4fZ0aB9cD8eF", "ci")),
            parent: Some("above".into()),
            created: Some(token("5fZ0aB9cD8eF", "below")),
            client_ip: Some(ip("2001:db8::1")),
            client_cert: Some("CN=ci".into()),
            method: Some(Method::Post),
            path: Some("/v2/droplets".into()),
            endpoint: Some("droplets_create".into()),
            action: Some("create".into()),
            query: vec!["page".into(), "tag_name".into()],
            scopes: vec![scope("droplet:create"), scope("tag:read")],
            fields: vec!["tags".into(), "vpc_uuid".into()],
            resources: vec![
                Resource {
                    name: Some("web".into()),
                    tags: vec!["a".into(), "b".into()],
                    project: Some("p".into()),
                    ..Resource::named("droplet", Some("12".into()), Some(scope("droplet:read")))
                },
                Resource::named("tag", None, None),
            ],
            decision: Some(Verdict::Allow),
            reason: Some("ci.allow[0]".into()),
            would: Some(Would {
                reason: "denied",
                detail: None,
                needs: vec![scope("vpc:read")],
            }),
            detail: Some("told".into()),
            message: Some("said".into()),
            account: Some("default".into()),
            exchange: Some(Box::new(exchange)),
            status: Some(202),
            upstream_status: Some(404),
            upstream_calls: Some(0),
            duration: Some(Duration::from_micros(12_340)),
            ..Record::new("r1".into())
        };
        let now = "2026-11-29T23:59:59.000012Z".parse().unwrap();
        let line = String::from_utf8(record.line(Event::Operator, now)).unwrap();
        let written = r#"{"time":"2026-11-29T23:59:59.000012Z","event":"operator","request_id":"r1",
"instance":"a","token":{"id":"4fZ0aB9cD8eF","name":"ci"},"parent":"above","created":{"id":"5fZ0aB9cD8eF","name":"below"},
"client_ip":"2001:db8::1","client_cert":"CN=ci","method":"POST","path":"/v2/droplets","endpoint":"droplets_create",
"action":"create","query":["page","tag_name"],"scopes":["droplet:create","tag:read"],"fields":["tags","vpc_uuid"],
"resources":[{"kind":"droplet","id":"12","scope":"droplet:read","name":"web","tags":["a","b"],"project":"p"},{"kind":"tag"}],
"decision":"allow","reason":"ci.allow[0]","would":{"reason":"denied","detail":null,"needs":["vpc:read"]},"detail":"told",
"message":"said","account":"default","issuer":"https://issuer.example.com","rule":"ci","sub":"repo:x","claims":{"ref":"main","run":"7"},
"status":202,"upstream_status":404,"upstream_calls":0,"duration_ms":12.34}"#;
        assert_eq!(line, written.replace('\n', "") + "\n");
    }

    #[test]
    fn texts_are_read_as_they_were_written() {
        let odd = [
            "",
            "\"",
            "\\",
            "\\\"",
            "a\nb",
            "\t\r\u{8}\u{c}\0\u{1f}\u{7f}",
            "ü\u{2028}😀",
            "</script>",
        ];
        for text in odd {
            let mut record = Record::new(text.into());
            let own = || Some(text.to_owned());
            (record.path, record.reason) = (Some(text.into()), Some(text.into()));
            record.detail = own();
            record.query = vec![text.into(), text.into()];
            record.parent = own();
            record.token = Some(Token {
                id: "4fZ0aB9cD8eF".parse().unwrap(),
                name: text.into(),
            });
            let line = record.line(Event::Answer, Timestamp::UNIX_EPOCH);
            let end = line.iter().position(|byte| *byte == b'\n');
            assert_eq!(end, Some(line.len() - 1), "one line of {text:?}");
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            for member in ["request_id", "parent", "path", "detail", "reason"] {
                assert_eq!(read[member], text, "{member}");
            }
            assert_eq!(read["query"], serde_json::json!([text, text]));
            assert_eq!(
                read["token"],
                serde_json::json!({ "id": "4fZ0aB9cD8eF", "name": text })
            );
        }
    }

    #[test]
    fn times_are_as_json_and_rfc_3339_write_them() {
        let mut record = Record::new("r".into());
        for nanos in [
            0,
            499,
            500,
            1_000,
            10_499,
            50_000,
            100_000,
            999_499,
            999_500,
            1_000_000,
            1_020_000,
            12_300_000,
            59_999_999_999,
        ] {
            record.duration = Some(Duration::from_nanos(nanos));
            let line = record.line(Event::Answer, Timestamp::UNIX_EPOCH);
            let line = String::from_utf8(line).unwrap();
            #[expect(
                clippy::cast_precision_loss,
                reason = "it is far from where that begins"
            )]
            let milliseconds = (nanos as f64 / 1e3).round() / 1e3;
            let end = format!("\"duration_ms\":{}}}\n", serde_json::json!(milliseconds));
            assert!(line.ends_with(&end), "{line} of {nanos}");
        }
        for micros in [
            0,
            1,
            999_999,
            1_000_000,
            1_000_001,
            999_999,
            1_795_615_331_123_456,
            -1,
            -1_000_000,
        ] {
            let now = Timestamp::from_microsecond(micros).unwrap();
            let line = String::from_utf8(record.line(Event::Answer, now)).unwrap();
            assert!(
                line.starts_with(&format!("{{\"time\":\"{now:.6}\"")),
                "{line}"
            );
        }
    }
}
