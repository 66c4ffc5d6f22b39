//! The exchange of an identity for a sub-token (RFC 8693). It stands before any token is known, so whoever asks is a stranger until
//! an issuer's signature says otherwise: few of them are heard in a second, and little of each.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::Clock as _;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, PRAGMA,
};
use hyper::http::request::Parts;
use serde_json::json;
use zeroize::Zeroizing;

use super::authenticate::state_unavailable;
use super::concurrency::one_client;
use super::final_line::FinalLine;
use super::head_checks::says_one_thing;
use super::question::unreadable;
use super::{Gate, target_of};
use crate::audit::{self, Event, Verdict};
use crate::catalog::Method;
use crate::config::ExchangeTimes;
use crate::identify::Client;
use crate::policy::{Beside, Ceiling};
use crate::refusal::{Code, OauthError, Refusal};
use crate::response::{Answer, made};
use crate::rules::Serving;
use crate::state::{Exchanged, Issued, Maker, TakenIdentity};
use crate::token::Limits;
use crate::token::{ClientAddr, SubToken, from_allowed};
use crate::trust::{
    Chosen, NotTrusted, Presented, Signatures, Unverified, accept, choose, printable, run_of,
};
use crate::upstream;

/// What exchanges have apart from all else.
pub(super) struct Exchanges {
    /// How often each address may ask.
    asking: DefaultKeyedRateLimiter<std::net::IpAddr>,
    signatures: Signatures,
}

/// What was asked for, read and not believed.
struct Wish {
    identity: Zeroizing<String>,
    /// The rule that is to take it, if one was named.
    rule: Option<String>,
    /// The roles that are wanted, if fewer than the rule's are.
    roles: Option<Vec<String>>,
}

const A_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// The most bytes of a form: an identity has 16 KiB at most.
const MOST_BYTES: usize = 32 << 10;
/// How many addresses are remembered before those are forgotten that did not ask lately.
const ADDRESSES: usize = 10_000;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const IDENTITY_TYPES: [&str; 2] = [
    "urn:ietf:params:oauth:token-type:jwt",
    "urn:ietf:params:oauth:token-type:id_token",
];
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

impl Default for Exchanges {
    fn default() -> Self {
        Self {
            asking: RateLimiter::keyed(Quota::per_second(A_SECOND)),
            signatures: Signatures::default(),
        }
    }
}

impl Exchanges {
    /// Lets one more of an address in. Those who come through a unix socket are one.
    fn let_in(&self, from: ClientAddr) -> Result<(), Refusal> {
        let address = match from {
            ClientAddr::Ip(address) => one_client(address),
            ClientAddr::Unix => std::net::Ipv4Addr::UNSPECIFIED.into(),
        };
        if self.asking.len() > ADDRESSES {
            self.asking.retain_recent();
        }
        self.asking.check_key(&address).map_err(|until| {
            let wait = until.wait_time_from(self.asking.clock().now());
            let mut refusal = Refusal::new(
                Code::RateLimited,
                "there are more exchanges from your address than ten a second; try again in 1 s",
            );
            refusal.retry_after = Some(wait.as_secs() + 1);
            refusal
        })
    }
}

impl Gate {
    /// Exchanges an identity, or says why not, in the words of RFC 6749 either way.
    pub(super) async fn exchange(
        &self,
        head: &Parts,
        body: Incoming,
        client: &Client,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        line.record.method = Some(Method::Post);
        let exchanged = Box::pin(self.exchange_form(head, body, client, line)).await;
        exchanged.map_err(Refusal::in_oauth_words)
    }

    async fn exchange_form(
        &self,
        head: &Parts,
        body: Incoming,
        client: &Client,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        says_one_thing(head)?;
        let target = target_of(head)?;
        line.record.path = Some(target.shared_path());
        if !target.query().is_empty() {
            return Err(invalid(
                "the address has a query; send the fields as a form in the body, where no log keeps them",
            ));
        }
        self.exchanges.let_in(client.addr)?;
        let patience = self.serving().rules.settings.limits.idle_timeout;
        let wish = Wish::read(&head.headers, body, patience).await?;
        let presented = Presented::read(&wish.identity).map_err(|why| untrusted(&why.into()))?;
        let presented = Arc::new(presented);
        let serving = self.serving(); // a body may have taken its time
        self.exchange_identity(&wish, &presented, client, &serving, line)
            .await
    }

    async fn exchange_identity(
        &self,
        wish: &Wish,
        presented: &Arc<Presented>,
        client: &Client,
        serving: &Serving,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let issuer = serving
            .issuers
            .of(presented)
            .map_err(|why| untrusted(&why))?;
        let mut told = audit::Exchange::new(&issuer.name);
        line.record.exchange = Some(Box::new(told.clone()));
        let (settings, now) = (&issuer.settings, self.tokens.now());
        let until = accept(&presented.claims, &settings.audience, now);
        let until = until.map_err(|why| untrusted(&why))?;
        let verified = issuer.verify(presented, &self.exchanges.signatures).await;
        verified.map_err(unverified)?;
        told.subject(presented.text("sub"));
        line.record.exchange = Some(Box::new(told.clone()));
        let rules = &serving.rules.policy.trust;
        let chosen = choose(rules, &issuer.name, &presented.claims, wish.rule.as_deref());
        let chosen = chosen.map_err(|why| untrusted(&NotTrusted::Rule(why)))?;
        told.rule(&chosen.rule.name, &chosen.matched);
        line.record.exchange = Some(Box::new(told));
        let (token, mut unkept) = self.sub_token(wish, presented, &chosen, client, serving)?;
        unkept.maker = Some(Arc::new(Maker::Trust(Exchanged {
            rule: chosen.rule.name.clone(),
            issuer: issuer.name.clone(),
        })));
        let once = TakenIdentity {
            identity: presented.once(),
            rule: chosen.rule.name.clone(),
            again: settings.exchange == ExchangeTimes::Again,
            until,
        };
        let kept = self.keep(unkept, once).await?;
        self.on_record(&kept, line).await?;
        Ok(answer(&token, &kept, chosen.rule.ttl.seconds()))
    }

    /// The sub-token that a rule gives, yet to be kept.
    fn sub_token(
        &self,
        wish: &Wish,
        presented: &Presented,
        chosen: &Chosen<'_>,
        client: &Client,
        serving: &Serving,
    ) -> Result<(SubToken, Issued), Refusal> {
        let rule = chosen.rule;
        if !from_allowed(rule.limits.sources.as_deref(), client.addr) {
            let why = format!(
                "an identity that the rule `{}` takes may not be exchanged from {}; do it from an address that the rule is for",
                rule.name, client.addr
            );
            return Err(not_trusted(why));
        }
        let roles = wish.roles_of(rule)?;
        let of_policy = &serving.rules.policy.roles;
        let needed = |name: &String| {
            let mut known = roles.iter().filter_map(|role| of_policy.get(role));
            known.any(|role| role.vars.contains(name))
        };
        let vars = chosen.vars.iter().filter(|(name, _)| needed(name));
        let vars = vars
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let bound = serving.rules.grants_with(
            &roles,
            &vars,
            rule.ceiling
                .as_deref()
                .map_or(Beside::Nothing, Beside::Ceiling),
        );
        bound.map_err(|unbound| {
            not_trusted("the sub-token could not be used as its claims fill in the variables of its roles; ask who runs tidegate".to_owned()).detail(unbound)
        })?;
        let token = SubToken::generate().map_err(|_| no_randomness())?;
        let now = self.tokens.now().latest;
        let ends = now.saturating_add(rule.ttl.duration()).unwrap_or(now);
        let ceiling = rule.ceiling.clone();
        let run = run_of(&presented.claims).map_or_else(|| token.id.to_string(), printable);
        let issued = Issued {
            id: token.id.clone(),
            name: format!("{}/{run}", rule.name),
            hash: token.hash(),
            old: None,
            roles: roles.into(),
            vars,
            limits: Arc::new(Limits {
                expires_at: Some(ends),
                ..rule.limits.clone()
            }),
            created_at: now,
            ceiling: ceiling.map(|role| Arc::new(Ceiling { role, until: ends })),
            about: None,
            maker: None,
        };
        Ok((token, issued))
    }

    async fn keep(&self, issued: Issued, taken: TakenIdentity) -> Result<Issued, Refusal> {
        let kept = self.tokens.exchange(issued, taken).await;
        let kept = kept.map_err(state_unavailable)?;
        kept.ok_or_else(|| {
            untrusted(&NotTrusted::Claim(
                "jti",
                "was exchanged before, and an identity is taken once; ask its issuer for a new one",
            ))
        })
    }

    /// Puts it on record before it is handed out; what can't be recorded ends at once.
    async fn on_record(&self, issued: &Issued, line: &mut FinalLine) -> Result<(), Refusal> {
        line.record.token = Some(audit::Token {
            id: issued.id.clone(),
            name: issued.name.clone(),
        });
        line.record.decision = Some(Verdict::Allow);
        let written = self.audit.written(&line.line_of(Event::Exchange)).await;
        if written.is_ok() {
            line.permitted = true;
            return Ok(());
        }
        let (id, now) = (issued.id.clone(), self.tokens.now().latest);
        let _ = self
            .tokens
            .change_state(move |state| state.revoke(&id, now))
            .await; // its secret went nowhere: nobody has it
        Err(Refusal::new(
            Code::AuditUnavailable,
            "tidegate can't write its audit record, so it gives out no sub-token; tell who runs tidegate",
        ))
    }
}

impl Wish {
    async fn read(
        headers: &HeaderMap,
        mut body: Incoming,
        patience: std::time::Duration,
    ) -> Result<Self, Refusal> {
        if headers.contains_key(CONTENT_ENCODING) || !is_form(headers) {
            return Err(invalid(
                "the body is not said to be a form; send `content-type: application/x-www-form-urlencoded`",
            ));
        }
        let read = upstream::read(&mut body, MOST_BYTES, patience).await;
        let (bytes, whole) = read.map_err(|failure| unreadable(failure, MOST_BYTES))?;
        if !whole {
            return Err(Refusal::new(
                Code::BodyTooLarge,
                format!(
                    "the form is larger than {MOST_BYTES} bytes; send an identity and nothing else"
                ),
            ));
        }
        Self::of_form(&fields(&bytes)?)
    }

    fn of_form(fields: &[(String, Zeroizing<String>)]) -> Result<Self, Refusal> {
        let field = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str())
        };
        let must_be = |name: &str, values: &[&str]| match field(name) {
            Some(value) if values.contains(&value) => Ok(()),
            _ => Err(invalid(&format!(
                "`{name}` must be `{}`",
                values.join("` or `")
            ))),
        };
        must_be("grant_type", &[GRANT_TYPE])?;
        must_be("subject_token_type", &IDENTITY_TYPES)?;
        if field("requested_token_type").is_some() {
            must_be("requested_token_type", &[ACCESS_TOKEN])?;
        }
        if field("actor_token").or(field("actor_token_type")).is_some() {
            return Err(invalid(
                "tidegate takes no `actor_token`: the identity itself is what counts; leave it out",
            ));
        }
        if field("audience").or(field("resource")).is_some() {
            return Err(refused_with(
                "invalid_target",
                "tidegate gives out sub-tokens for itself alone; leave `audience` and `resource` out",
            ));
        }
        let identity = field("subject_token").ok_or_else(|| {
            invalid("`subject_token` is missing: the identity token of the issuer")
        })?;
        let roles = field("scope").map(|scope| scope.split(' ').filter(|role| !role.is_empty()));
        Ok(Self {
            identity: Zeroizing::new(identity.to_owned()),
            rule: field("trust").map(str::to_owned),
            roles: roles.map(|roles| roles.map(str::to_owned).collect()),
        })
    }

    /// The roles that are wanted of those that a rule gives, in its order.
    fn roles_of(&self, rule: &crate::policy::Trust) -> Result<Vec<String>, Refusal> {
        let Some(wanted) = &self.roles else {
            return Ok(rule.roles.clone());
        };
        let roles: Vec<_> = rule
            .roles
            .iter()
            .filter(|role| wanted.contains(role))
            .cloned()
            .collect();
        if roles.is_empty() || !wanted.iter().all(|role| rule.roles.contains(role)) {
            return Err(refused_with(
                "invalid_scope",
                "`scope` names a role that the rule of `trust` does not give; name fewer than it gives, or leave it out",
            ));
        }
        Ok(roles)
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(media_type), None) = (types.next(), types.next()) else {
        return false;
    };
    let essence = media_type.to_str().unwrap_or_default().split(';').next();
    let essence = essence.unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// The fields of a form. One without a value is as one that is not there, and none stands there twice (RFC 6749 §3.2).
fn fields(bytes: &[u8]) -> Result<Vec<(String, Zeroizing<String>)>, Refusal> {
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("the form is not UTF-8"))?;
    let mut fields: Vec<(String, Zeroizing<String>)> = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decoded = unescaped(name).zip(unescaped(value));
        let (name, value) =
            decoded.ok_or_else(|| invalid("the form has a `%` that begins no byte of UTF-8"))?;
        if fields.iter().any(|(known, _)| *known == *name) {
            return Err(invalid("the form has a field twice; send each once"));
        }
        fields.push((name.to_string(), value));
    }
    fields.retain(|(_, value)| !value.is_empty());
    Ok(fields)
}

fn unescaped(text: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high << 4 | low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(bytes).ok().map(Zeroizing::new)
}

fn answer(token: &SubToken, issued: &Issued, seconds: u64) -> Answer {
    let body = json!({
        "access_token": token.secret.expose(),
        "issued_token_type": ACCESS_TOKEN,
        "token_type": "Bearer",
        "expires_in": seconds,
        "roles": &*issued.roles,
    });
    let headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
    ]);
    made(StatusCode::OK, headers, body.to_string().into_bytes())
}

fn unverified(why: Unverified) -> Refusal {
    match why {
        Unverified::NotTrusted(why) => untrusted(&why),
        Unverified::Away => {
            let mut refusal = not_trusted("its issuer can't be asked for its keys now, so the identity can't be verified; try again soon".to_owned());
            refusal.oauth = Some(OauthError {
                status: 503,
                error: "temporarily_unavailable",
            });
            refusal.retry_after = Some(5);
            refusal
        }
        Unverified::Unheard => {
            let why = "the identity can't be verified now, as there is no room for it; try again";
            let mut refusal = Refusal::new(Code::Overloaded, why);
            refusal.retry_after = Some(1);
            refusal
        }
    }
}

fn untrusted(why: &NotTrusted) -> Refusal {
    let mut refusal = not_trusted(why.to_string());
    if let NotTrusted::Rule(crate::trust::NotChosen::NotNamed(_)) = why {
        refusal.oauth = Some(OauthError {
            status: 400,
            error: "invalid_target",
        });
    }
    refusal
}

fn not_trusted(why: String) -> Refusal {
    Refusal::new(Code::NotTrusted, why)
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(Code::BodyUnreadable, why)
}

fn refused_with(error: &'static str, why: &str) -> Refusal {
    let mut refusal = not_trusted(why.to_owned());
    refusal.oauth = Some(OauthError { status: 400, error });
    refusal
}

pub(super) fn no_randomness() -> Refusal {
    Refusal::new(
        Code::Overloaded,
        "the system gives no random bytes now, so no sub-token can be made; try again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_in_one_way() {
        let read = |text: &[u8]| {
            let fields = fields(text).map_err(|refusal| refusal.message)?;
            let one = |(name, value): &(String, Zeroizing<String>)| format!("{name}={}", **value);
            Ok::<_, String>(fields.iter().map(one).collect::<Vec<_>>().join("|"))
        };
        let cases: [(&[u8], Result<&str, &str>); 9] = [
            (b"a=1&b=x+y%2Bz", Ok("a=1|b=x y+z")),
            (b"a=&b", Ok("")), // without a value is not there
            (b"", Ok("")),
            (
                b"a=1&a=1",
                Err("the form has a field twice; send each once"),
            ),
            (
                b"a=1&%61=2",
                Err("the form has a field twice; send each once"),
            ),
            (b"a=1&a=", Err("the form has a field twice; send each once")),
            (
                b"a=%",
                Err("the form has a `%` that begins no byte of UTF-8"),
            ),
            (
                b"a=%ff",
                Err("the form has a `%` that begins no byte of UTF-8"),
            ),
            (b"a=\xff", Err("the form is not UTF-8")),
        ];
        for (text, expected) in cases {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(
                read(text),
                expected,
                "form {:?}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn an_address_is_heard_ten_times_in_a_second() {
        let exchanges = Exchanges::default();
        let at = |text: &str| ClientAddr::Ip(text.parse().unwrap());
        for _ in 0..10 {
            exchanges.let_in(at("203.0.113.7")).unwrap();
        }
        let refusal = exchanges.let_in(at("203.0.113.7")).unwrap_err();
        assert_eq!(
            (refusal.code, refusal.retry_after),
            (Code::RateLimited, Some(1))
        );
        exchanges.let_in(at("203.0.113.8")).unwrap();
        for host in 0..10 {
            exchanges.let_in(at(&format!("2001:db8::{host}"))).unwrap();
        }
        assert!(
            exchanges.let_in(at("2001:db8::ff")).is_err(),
            "one network is one client"
        );
    }
}
