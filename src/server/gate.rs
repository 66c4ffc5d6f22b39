use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request};
use jiff::Timestamp;
use tokio::sync::mpsc;

use super::final_line::FinalLine;
use super::own;
use super::serving::{Current, Serving};
use crate::audit::{Audit, Permit, Resource, Token, Verdict};
use crate::catalog::{Endpoint, Method};
use crate::identify::{self, Client, Peer};
use crate::policy::{
    Allowed, Body as BodyState, Decision, FileToken, Grants, Limits, Vars, decide,
};
use crate::refusal::{Code, Refusal};
use crate::request::{Ambiguity, Asked, Json, NotJson, Target};
use crate::response::{self, Answer, Cut, Links, Scan, Shape, made, refused};
use crate::secret::redacted;
use crate::token::{
    Activity, Admission, ClientAddr, Issued, Live, NoToken, SubToken, TokenId, Unavailable, admit,
};
use crate::upstream::{self, Body, BodyFailure, Checked, ClientBody, carried};

/// Everything that the way through needs.
pub struct Gate {
    current: Arc<Current>,
    tokens: Arc<Live>,
    audit: Arc<Audit>,
    draining: AtomicBool,
    /// A copy goes with each request that is seen to its end; when all are gone, so are the requests.
    under_way: Mutex<Option<mpsc::Sender<()>>>,
}

/// A sub-token that may be used here and now, and what it holds.
pub struct Grantee {
    /// Its public part.
    pub id: TokenId,
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What it is bound to.
    pub limits: Limits,
    /// What it holds.
    pub grants: Arc<Grants>,
    /// How it is being used.
    pub activity: Arc<Activity>,
}

/// A request that was read, and a sub-token that asks it.
struct Question<'s> {
    serving: &'s Serving,
    grantee: &'s Grantee,
    client: &'s Client,
    asked: Asked<'s>,
}

/// What is kept of a token, in the policy file or in the state.
struct Kept<'k> {
    name: &'k str,
    roles: &'k [String],
    vars: &'k Vars,
    limits: &'k Limits,
    since: Option<Timestamp>,
}

impl<'k> Kept<'k> {
    /// The record whose secret this is. The one before a rotation counts for as long as its grace lasts.
    fn matching(
        in_policy: Option<&'k FileToken>,
        issued: Option<&'k Issued>,
        token: &SubToken,
        now: Timestamp,
    ) -> Option<Self> {
        let hash = token.hash();
        if let Some(FileToken {
            name,
            roles,
            vars,
            limits,
            ..
        }) = in_policy.filter(|listed| listed.hash.matches(&hash))
        {
            return Some(Self {
                name,
                roles,
                vars,
                limits,
                since: None,
            });
        }
        let in_grace = |issued: &Issued| {
            issued
                .old
                .as_ref()
                .is_some_and(|(old, until)| old.matches(&hash) && now < *until)
        };
        let Issued {
            name,
            roles,
            vars,
            limits,
            created_at,
            ..
        } = issued.filter(|issued| issued.hash.matches(&hash) || in_grace(issued))?;
        Some(Self {
            name,
            roles,
            vars,
            limits,
            since: Some(*created_at),
        })
    }
}

impl Gate {
    /// Puts the parts together. The receiver ends when the last request that is seen to its end has ended, once the gate drains.
    pub fn new(
        current: Arc<Current>,
        tokens: Arc<Live>,
        audit: Arc<Audit>,
    ) -> (Self, mpsc::Receiver<()>) {
        let (under_way, ended) = mpsc::channel(1);
        let gate = Self {
            current,
            tokens,
            audit,
            draining: AtomicBool::new(false),
            under_way: Mutex::new(Some(under_way)),
        };
        (gate, ended)
    }

    /// What requests are served by now.
    pub fn serving(&self) -> Arc<Serving> {
        self.current.get()
    }

    /// Refuses every request from now on that has not come yet.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    /// Answers one request. What changes something is seen to its end even if its client leaves.
    pub async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Answer {
        let reads = matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD);
        if reads {
            return self.follow(request, peer).await;
        }
        let id = request_id();
        let under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let seen_to_its_end = async move {
            let answer = self.follow(request, peer).await;
            drop(under_way);
            answer
        };
        match tokio::spawn(seen_to_its_end).await {
            Ok(answer) => answer,
            Err(_) => finished(
                &Refusal::new(
                    Code::OutcomeUnknown,
                    "tidegate failed while it served this request; look before you repeat it",
                ),
                &id,
            ),
        }
    }

    async fn follow(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Answer {
        let mut line = FinalLine::new(self.audit.clone(), request_id());
        let mut answer = match self.answer(request, peer, &mut line).await {
            Ok(answer) => answer,
            Err(refusal) => {
                line.refused(&refusal);
                finished(&refusal, &line.record.request_id)
            }
        };
        if let Ok(id) = HeaderValue::from_str(&line.record.request_id) {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
        line.follow(answer)
    }

    /// The way through. Each stage takes what the one before made; none is passed over.
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: Peer,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let serving = self.serving();
        let (head, body) = request.into_parts();
        self.awake(&head, &serving)?;
        let client =
            identify::client(peer, &head.headers, &serving.rules.settings.trusted_proxies)?;
        line.record.client_ip = Some(client.addr.to_string());
        let grantee = self
            .authenticate(&head.headers, client.addr, &serving, line)
            .await?;
        let method = method_of(&head)?;
        line.record.method = Some(method.to_string());
        let target = target_of(&head)?;
        line.record.path = Some(target.path());
        if redacted(&target.path_and_query()) != target.path_and_query() {
            let how = "send the sub-token in the `Authorization` header and nowhere else; consider it known";
            return Err(Refusal::new(
                Code::AmbiguousRequest,
                format!("the target has a token in it; {how}"),
            ));
        }
        if let Some(answer) = own::answer(method, &target, &grantee, &serving) {
            line.record.decision = Some(Verdict::Allow);
            return answer;
        }
        let asked = Asked::new(method, target, &serving.rules.catalog);
        let mut question = Question {
            serving: &serving,
            grantee: &grantee,
            client: &client,
            asked,
        };
        question.note(line);
        question.fits()?;
        let headers = Question::headers(&head.headers)?;
        question.decide(BodyState::Unread)?; // what scopes alone refuse costs no byte of a body
        let body = question.body(&head.headers, body).await?;
        question.note(line);
        let allowed = question.decide(BodyState::Known)?;
        question.limit_derived();
        let permit = self.permit(&allowed, &question, line).await?;
        let answer = question.forward(&permit, headers, body, line).await?;
        Ok(answer)
    }

    fn awake(&self, head: &Parts, serving: &Serving) -> Result<(), Refusal> {
        if self.draining.load(Ordering::Acquire) {
            return Err(Refusal::new(
                Code::Draining,
                "tidegate is about to stop; nothing was sent; try again",
            ));
        }
        let limit = serving.rules.settings.limits.header_bytes.bytes();
        let fields: usize = head
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let target = head
            .uri
            .path_and_query()
            .map_or(0, |target| target.as_str().len());
        if fields + target > limit {
            return Err(Refusal::new(
                Code::HeadersTooLarge,
                format!("the headers are larger than {limit} bytes; send less"),
            ));
        }
        Ok(())
    }

    /// Who asks, and whether they may here and now. Nothing else of the request is read for strangers.
    async fn authenticate(
        &self,
        headers: &HeaderMap,
        from: ClientAddr,
        serving: &Serving,
        line: &mut FinalLine,
    ) -> Result<Grantee, Refusal> {
        let token = bearer(headers)?;
        let in_policy = serving.rules.file_token(&token.id);
        let entry = self
            .tokens
            .entry(&token.id, in_policy.is_some())
            .await
            .map_err(state_unavailable)?
            .unwrap_or_default();
        let now = Timestamp::now();
        let kept = Kept::matching(in_policy, entry.issued.as_deref(), &token, now)
            .ok_or_else(|| unknown_token(None))?;
        line.record.token = Some(Token {
            id: token.id.to_string(),
            name: kept.name.to_owned(),
        });
        let activity = self.tokens.activity(&token.id);
        let Kept {
            name,
            roles,
            vars,
            limits,
            since,
        } = kept;
        admit(
            &Admission {
                limits,
                since,
                revoked_at: entry.revoked_at,
                usage: activity.usage(),
            },
            from,
            now,
        )?;
        if let Some(rate) = limits.rate {
            activity.take_rate(rate).map_err(rate_limited)?;
        }
        let bound = activity.grants(serving.rules.generation, || {
            serving.rules.grants(roles, vars)
        });
        let grants = bound.map_err(|unbound| {
            Refusal::new(
                Code::RoleMissing,
                format!("this sub-token can't be used: {unbound}; ask its issuer for a new one"),
            )
            .detail(unbound)
        })?;
        line.record.account = Some(grants.account.clone());
        Ok(Grantee {
            id: token.id,
            name: name.to_owned(),
            roles: roles.to_owned(),
            limits: limits.clone(),
            grants,
            activity,
        })
    }

    /// Takes the use and puts the decision on record, where that must be before a request goes.
    async fn permit(
        &self,
        allowed: &Allowed,
        question: &Question<'_>,
        line: &mut FinalLine,
    ) -> Result<Permit, Refusal> {
        let Grantee {
            id,
            limits,
            activity,
            grants,
            ..
        } = question.grantee;
        line.record.decision = Some(Verdict::Allow);
        line.record.reason = Some(allowed.place().to_owned());
        if let Some(most) = limits.max_uses
            && !self
                .tokens
                .take_use(id, most, activity)
                .await
                .map_err(state_unavailable)?
        {
            return Err(Refusal::new(
                Code::UsesExhausted,
                "this sub-token was used as often as it may be; ask its issuer for a new one",
            ));
        }
        let first =
            !question.asked.reads() || question.asked.is_sensitive() || !self.audit.is_sound();
        let first = first.then(|| line.decision_line());
        let Ok(permit) = self.audit.permit(allowed, &grants.account, first).await else {
            if limits.max_uses.is_some() {
                self.tokens.give_back(id, activity).await;
            }
            return Err(Refusal::new(
                Code::AuditUnavailable,
                "tidegate can't write its audit record, so it lets nothing through; nothing was sent; tell who runs tidegate",
            ));
        };
        self.tokens.touch(id, activity, Timestamp::now());
        Ok(permit)
    }
}

impl Question<'_> {
    /// Notes what is known of the request by now.
    fn note(&self, line: &mut FinalLine) {
        let names = |id| {
            self.serving
                .rules
                .catalog
                .scopes()
                .name(id)
                .map(ToString::to_string)
        };
        line.record.resources = self
            .asked
            .named()
            .into_iter()
            .map(|named| Resource {
                kind: named.kind,
                id: named.id,
                scope: named.scope.and_then(names),
            })
            .collect();
        if let Some(endpoint) = self.asked.endpoint {
            line.record.endpoint = Some(endpoint.operation.clone());
            let scopes = self.serving.rules.catalog.scopes();
            let of_endpoint = endpoint
                .scopes
                .iter()
                .flat_map(|set| scopes.names(set))
                .map(ToString::to_string);
            let mut asked: Vec<_> = of_endpoint
                .chain(
                    self.asked
                        .fields()
                        .into_iter()
                        .filter_map(|field| names(field.scope)),
                )
                .collect();
            let mut seen = std::collections::HashSet::new();
            asked.retain(|scope| seen.insert(scope.clone()));
            line.record.scopes = asked;
        }
    }

    fn fits(&self) -> Result<(), Refusal> {
        let fits = match self.asked.endpoint {
            Some(endpoint) => self.asked.target.fits(endpoint),
            None => self.asked.target.fits_nothing_known(),
        };
        fits.map_err(|ambiguity| ambiguous(&ambiguity))
    }

    fn headers(headers: &HeaderMap) -> Result<HeaderMap, Refusal> {
        carried(headers).map_err(|_| {
            Refusal::new(
                Code::AmbiguousRequest,
                "a header overrides the method; use the method itself",
            )
        })
    }

    fn decide(&self, body: BodyState) -> Result<Allowed, Refusal> {
        match decide(
            &self.grantee.grants,
            &self.asked,
            body,
            &self.serving.rules.catalog,
        ) {
            Decision::Allow(allowed) => Ok(allowed),
            Decision::Deny(refusal) => Err(refusal),
        }
    }

    /// Reads the body where something in it decides; prepares it for being handed on where not.
    async fn body(&mut self, headers: &HeaderMap, body: ClientBody) -> Result<Body, Refusal> {
        let limits = &self.serving.rules.settings.limits;
        if self.asked.method == Method::Get || body.is_end_stream() {
            return Ok(Body::None); // on GET some clients send `{}`, `null` or what they posted last: dropped
        }
        readable(headers)?;
        let inspected = self.asked.endpoint.is_some_and(Endpoint::inspects_body);
        let limit = if inspected {
            limits.inspected_body
        } else {
            limits.body
        }
        .bytes();
        if body.size_hint().lower() > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(too_large(limit));
        }
        if !inspected {
            let (stream, progress) = upstream::stream(body, limit, limits.idle_timeout);
            return Ok(Body::Stream(stream, progress));
        }
        let bytes = upstream::read(body, limit, limits.idle_timeout)
            .await
            .map_err(|failure| unreadable(failure, limit))?;
        if bytes.is_empty() {
            return Ok(Body::None);
        }
        let json = Json::read(&bytes).map_err(|error| not_json(&error))?;
        let written = json.write();
        self.asked.body = Some(json);
        if let Some(key) = self.asked.disguised_key() {
            let message = format!(
                "the body has a key `{key}`, which some read as another one, or as another method; spell keys as the reference does"
            );
            return Err(Refusal::new(Code::AmbiguousRequest, message));
        }
        Ok(Body::Json(written))
    }

    /// Credentials that DigitalOcean makes for a sub-token do not outlive it, and never have no end.
    fn limit_derived(&mut self) {
        let Some(parameter) = self
            .asked
            .endpoint
            .and_then(|endpoint| endpoint.derived_expiry.as_deref())
        else {
            return;
        };
        let remaining = self
            .grantee
            .limits
            .expires_at
            .map(|end| end.duration_since(Timestamp::now()));
        let remaining = remaining.map(|left| Duration::try_from(left).unwrap_or_default());
        let most = remaining
            .into_iter()
            .fold(
                self.serving.rules.settings.limits.derived_credentials,
                Duration::min,
            )
            .as_secs()
            .max(1);
        let wanted = self
            .asked
            .target
            .query_parameter(parameter)
            .and_then(|text| text.parse::<u64>().ok())
            .filter(|wanted| *wanted > 0);
        let seconds = wanted.map_or(most, |wanted| wanted.min(most));
        self.asked.target.set_query(parameter, &seconds.to_string());
    }

    async fn forward(
        &self,
        permit: &Permit,
        headers: HeaderMap,
        body: Body,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let Serving { rules, upstream } = self.serving;
        let reads = self.asked.reads();
        let Some(token) = rules.real_token(permit.account()) else {
            return Err(Refusal::new(
                Code::RoleMissing,
                "the account of this sub-token's role has no real token; tell who runs tidegate",
            ));
        };
        let checked = Checked {
            method: self.asked.method,
            path_and_query: self.asked.target.path_and_query(),
            headers,
            body,
        };
        line.record.upstream_calls = Some(1);
        let (answer, calls) = upstream
            .forward(permit, token, checked)
            .await
            .map_err(|failure| failure.refusal(reads))?;
        line.record.upstream_calls = Some(calls);
        line.record.upstream_status = Some(answer.status().as_u16());
        let official = crate::config::BaseUrl::from_host(true, "api.digitalocean.com");
        let reached = rules
            .settings
            .public_url
            .as_ref()
            .or(self.client.reached.as_ref());
        let from: Vec<_> = std::iter::once(&upstream.settings().url)
            .chain(&official)
            .collect();
        let shape = Shape {
            scan: Scan::new(token.telling_part()),
            links: Links::new(&from, reached),
            patience: upstream.settings().timeout,
        };
        let shaped = response::shape(answer, shape).map_err(|cut| cut_off(&cut, reads))?;
        // What changes something is answered whole or not at all, and short answers tell their length.
        let limit = rules.settings.limits.inspected_body.bytes();
        let limit = if reads { limit.min(SHORT) } else { limit };
        response::held(shaped, limit)
            .await
            .map_err(|cut| cut_off(&cut, reads))
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("tidegate-request-id");
/// Answers to reads up to this many bytes are handed on whole.
const SHORT: usize = 16 << 10;

fn finished(refusal: &Refusal, request_id: &str) -> Answer {
    let (status, headers, body) = refused(refusal, request_id);
    made(status, headers, body)
}

/// 32 hexadecimal digits. They need not be secret, only different; without the system's generator a counter will do.
fn request_id() -> String {
    static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => format!("{:032x}", u128::from_be_bytes(bytes)),
        Err(_) => format!(
            "{:016x}{:016x}",
            Timestamp::now().as_microsecond(),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ),
    }
}

/// The sub-token of exactly one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<SubToken, Refusal> {
    const HOW: &str = "send `Authorization: Bearer tdg_v1_…`, once";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value,
        (None, _) => {
            return Err(Refusal::new(
                Code::NoToken,
                format!("Unable to authenticate you: there is no sub-token; {HOW}"),
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::new(
                Code::NoToken,
                format!("Unable to authenticate you: there are two `Authorization` headers; {HOW}"),
            ));
        }
    };
    let text = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = text else {
        return Err(Refusal::new(
            Code::NoToken,
            format!(
                "Unable to authenticate you: the `Authorization` header is no bearer token; {HOW}"
            ),
        ));
    };
    SubToken::read(token.trim_matches(' ')).map_err(|error| match error {
        NoToken::Real => Refusal::new(Code::RealToken, "Unable to authenticate you: this is a real DigitalOcean token, and tidegate takes sub-tokens only; revoke it if it was meant to be kept from here"),
        NoToken::Form | NoToken::Checksum | NoToken::Id => unknown_token(Some(error)),
    })
}

fn unknown_token(why: Option<NoToken>) -> Refusal {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Refusal::new(
        Code::UnknownToken,
        format!(
            "Unable to authenticate you: this is no sub-token that was issued here{why}; ask for a new one"
        ),
    )
}

fn state_unavailable(_: Unavailable) -> Refusal {
    Refusal::new(
        Code::StateUnavailable,
        "tidegate can't read or write its state, so it lets nothing through; nothing was sent; tell who runs tidegate",
    )
}

fn rate_limited(wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let mut refusal = Refusal::new(
        Code::RateLimited,
        format!(
            "this sub-token is used more often than it may be; try again in {} s",
            seconds.max(1)
        ),
    );
    refusal.retry_after = Some(seconds.max(1));
    refusal
}

fn method_of(head: &Parts) -> Result<Method, Refusal> {
    let text = if head.method == hyper::Method::HEAD {
        "GET"
    } else {
        head.method.as_str()
    };
    text.parse().map_err(|error| {
        Refusal::new(
            Code::UnknownEndpoint,
            format!("the method is none of the API's; {error}"),
        )
    })
}

fn target_of(head: &Parts) -> Result<Target, Refusal> {
    let text = head
        .uri
        .path_and_query()
        .map(hyper::http::uri::PathAndQuery::as_str)
        .filter(|_| head.uri.authority().is_none());
    Target::read(text.unwrap_or_default()).map_err(|ambiguity| ambiguous(&ambiguity))
}

fn ambiguous(ambiguity: &Ambiguity) -> Refusal {
    Refusal::new(Code::AmbiguousRequest, ambiguity.to_string())
}

/// A body must be JSON as it stands: compressed, or as a form, the API could read it otherwise than it was read here.
fn readable(headers: &HeaderMap) -> Result<(), Refusal> {
    let encoded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
    if encoded {
        return Err(Refusal::new(
            Code::AmbiguousRequest,
            "the body is compressed; send it as it is, without `content-encoding`",
        ));
    }
    let json = headers
        .get_all(CONTENT_TYPE)
        .iter()
        .all(|value| value.to_str().is_ok_and(is_json));
    if !json {
        return Err(Refusal::new(
            Code::AmbiguousRequest,
            "the body is not said to be JSON in UTF-8; send `content-type: application/json`",
        ));
    }
    Ok(())
}

fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let utf8 = parts.all(|parameter| {
        matches!(
            parameter.to_ascii_lowercase().as_str(),
            "" | "charset=utf-8" | "charset=\"utf-8\""
        )
    });
    utf8 && (essence.is_empty()
        || essence == "application/json"
        || essence.starts_with("application/") && essence.ends_with("+json"))
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(
        Code::BodyTooLarge,
        format!("the body is larger than {limit} bytes; send less"),
    )
}

fn unreadable(failure: BodyFailure, limit: usize) -> Refusal {
    match failure {
        BodyFailure::TooLarge { .. } => too_large(limit),
        BodyFailure::Timeout => Refusal::new(
            Code::Timeout,
            "the body did not come in time; send it without pauses",
        ),
        BodyFailure::Broken => {
            Refusal::new(Code::BodyUnreadable, "the body broke off; send it whole")
        }
    }
}

fn not_json(error: &NotJson) -> Refusal {
    let code = match error {
        NotJson::Repeated(_) => Code::AmbiguousRequest,
        NotJson::Syntax(_) | NotJson::Depth => Code::BodyUnreadable,
    };
    Refusal::new(code, error.to_string())
}

/// What the client gets for an answer of which nothing has gone out yet.
fn cut_off(cut: &Cut, reads: bool) -> Refusal {
    if *cut == Cut::Token {
        tracing::error!("an answer of the API held the real token; it was cut off");
    }
    let refusal = match (cut, reads) {
        (_, false) => Refusal::new(
            Code::OutcomeUnknown,
            "the request was sent to DigitalOcean, but its answer can't be handed on, so what came of it is not known here; look before you repeat it",
        ),
        (Cut::Timeout, true) => Refusal::new(
            Code::UpstreamTimeout,
            "DigitalOcean's API did not finish its answer in time; try again later",
        ),
        (Cut::Token | Cut::Broken(_), true) => Refusal::new(
            Code::UpstreamBadAnswer,
            "DigitalOcean's API answered in a way that can't be handed on; try again later",
        ),
    };
    refusal.detail(cut)
}
