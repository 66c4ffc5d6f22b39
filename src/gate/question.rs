use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::body::Body as _;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};

use super::authenticate::Grantee;
use super::final_line::FinalLine;
use crate::audit::{Permit, Resource};
use crate::catalog::{Endpoint, Place, Scope, TouchVerb};
use crate::config::BaseUrl;
use crate::facts::{Facts, Reader};
use crate::identify::Client;
use crate::policy::{
    Allowed, InRequest, Sent, by_head, by_touches, scopes_used, settled_by, wants_touches,
};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, MOST_NAMED};
use crate::resource::{State, Touch, resolve};
use crate::response::{self, Answer, AnswerBody, Cut, Links, Scan, Shaping};
use crate::rules::{Serving, Settled};
use crate::state::Happened;
use crate::token::Spending;
use crate::units::Span;
use crate::upstream::RealToken;
use crate::upstream::{self, Body, BodyFailure, Carried, Checked, ClientBody, Progress, carried};

/// What goes with a request that was let through.
pub(super) struct ForwardContext<'w> {
    /// That it was, and what follows from it.
    pub settled: &'w Settled,
    /// What it touches.
    pub touches: &'w [Touch],
    /// The way to facts.
    pub reader: &'w Reader<'w>,
    /// The parameter that ends what it hands out in time.
    pub derived: Option<Ending>,
}

/// Where a request says when what it is handed ends, and what it says there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Ending {
    pub at: Place,
    pub value: String,
}

/// A request that was read, and a sub-token that asks it.
pub(super) struct Question<'s> {
    pub serving: &'s Serving,
    pub grantee: &'s Grantee,
    pub client: &'s Client,
    pub asked: Asked<'s>,
}

impl Question<'_> {
    /// Notes what is known of the request by now.
    pub fn note(&self, line: &mut FinalLine) {
        let scopes = self.serving.rules.catalog.scopes();
        let path = self.asked.target.path();
        if line.record.path.as_deref() != Some(path) {
            line.record.path = Some(self.asked.target.shared_path()); // by the endpoint: names of DNS zones have one form
        }
        line.record.resources = self
            .asked
            .named(&self.serving.rules.catalog)
            .into_iter()
            .map(|named| Resource::named(named.kind, named.id, named.scope))
            .collect();
        line.record.action = self
            .asked
            .action()
            .map(|action| action.chars().take(MOST_LETTERS).collect());
        let query = self.asked.target.query().iter();
        line.record.query = query
            .map(|(name, _)| name.clone())
            .take(MOST_PARAMETERS)
            .collect();
        let fields = self.asked.fields();
        line.record.fields = fields.iter().map(|field| field.field.clone()).collect();
        line.record.fields.dedup();
        self.note_created(line);
        if let Some(endpoint) = self.asked.endpoint {
            line.record.endpoint = Some(endpoint.operation.clone());
            let of_endpoint = endpoint.scopes.iter().flat_map(|set| scopes.names(set));
            let of_fields = fields.iter().filter_map(|field| scopes.name(field.scope));
            let mut asked: Vec<Scope> = Vec::new();
            for scope in of_endpoint.chain(of_fields) {
                if !asked.contains(scope) {
                    asked.push(scope.clone());
                }
            }
            line.record.scopes = asked;
        }
    }

    /// Notes what the request itself says of what it creates.
    fn note_created(&self, line: &mut FinalLine) {
        let rules = self.asked.endpoint.map_or(&[][..], |it| it.touches.rules());
        for rule in rules.iter().filter(|rule| rule.verb == TouchVerb::Create) {
            let said = |attribute: &str| -> Vec<String> {
                let places = rule.after.iter().filter(|(name, _)| name == attribute);
                let places = places.flat_map(|(_, places)| places);
                places.flat_map(|place| self.asked.values(place)).collect()
            };
            let kind = rule.kind.name();
            let created = |resource: &&mut Resource| resource.kind == kind && resource.id.is_none();
            if let Some(resource) = line.record.resources.iter_mut().find(created) {
                resource.name = said("name").into_iter().next();
                resource.tags = said("tag");
                resource.project = said("project").into_iter().next();
            }
        }
    }

    /// Notes by which scopes it was let through, and what is known of what it touches.
    pub fn note_allowed(&self, settled: &Settled, touches: &[Touch], line: &mut FinalLine) {
        let catalog = &self.serving.rules.catalog;
        if let Some(used) = &settled.scopes {
            line.record.scopes.clone_from(used);
        }
        let resources = &mut line.record.resources;
        for touch in touches {
            let kind = touch.kind.name();
            let known = resources
                .iter()
                .position(|resource| resource.kind == kind && resource.id == touch.id);
            if known.is_none() && resources.len() == MOST_NAMED {
                continue;
            }
            let at = known.unwrap_or_else(|| {
                let scope = touch.scope.or(touch.own_scope(catalog.kinds()));
                let scope = scope.and_then(|scope| catalog.scopes().name(scope));
                let scope = scope.cloned();
                let scope = scope.or_else(|| self.asked.scope_at(touch.rule, catalog));
                resources.push(Resource::named(kind, touch.id.clone(), scope));
                resources.len() - 1
            });
            let state = touch.after.as_ref().or(touch.before.as_ref());
            if let Some((resource, state)) = resources.get_mut(at).zip(state) {
                tell_state(resource, state);
            }
        }
    }

    /// The account of the sub-token.
    pub(super) fn account(&self) -> &Arc<str> {
        &self.grantee.grants.account
    }

    pub fn headers(headers: &HeaderMap) -> Result<Carried, Refusal> {
        carried(headers).map_err(|_| {
            Refusal::new(
                Code::AmbiguousRequest,
                "a header overrides the method; use the method itself",
            )
        })
    }

    /// Refuses what the head alone refuses.
    pub fn by_head(&self) -> Result<(), Refusal> {
        by_head(
            &self.grantee.grants,
            &self.asked,
            &self.serving.rules.catalog,
        )
    }

    /// A way to facts about resources, in the account of the sub-token.
    pub fn reader<'r>(&'r self, facts: &'r Facts) -> Result<Reader<'r>, Refusal> {
        let Serving {
            rules, upstream, ..
        } = self.serving;
        let token = self.real_token(&self.grantee.grants.account)?;
        let anew = !self.asked.reads();
        Ok(Reader::new(
            facts,
            upstream,
            token,
            &rules.catalog,
            rules.generation,
            anew,
            self.grantee.id.as_str(),
        ))
    }

    /// A part of what the API takes of the account's requests, where that is shared: refused to a sub-token that had its own
    /// while little is left.
    pub fn share(&self) -> Result<Option<Spending>, Refusal> {
        let account = &self.grantee.grants.account;
        let settings = &self.serving.rules.settings;
        let reserve = settings.accounts.get(&**account).and_then(|it| it.reserve);
        let Some(reserve) = reserve else {
            return Ok(None);
        };
        let token = self.real_token(account)?;
        let spent = token.shares.spend(&self.grantee.id, token.budget(reserve));
        spent.map(Some).map_err(|wait| {
            let seconds = wait.as_secs().clamp(1, LONGEST_WAIT);
            let mut refusal = Refusal::new(
                Code::RateLimited,
                format!("DigitalOcean takes few more requests of this account for now, and this sub-token had its share of them; what is left is for the others; try again in {seconds} s"),
            )
            .detail("`reserve` of the account");
            refusal.retry_after = Some(seconds);
            refusal
        })
    }

    /// Whether what the request touches decides.
    pub fn wants_touches(&self) -> bool {
        wants_touches(&self.grantee.grants, &self.asked)
    }

    /// Whether what the request touches decides, or what may be seen of the answer.
    pub fn looks(&self) -> bool {
        self.wants_touches() || self.shows_kinds()
    }

    /// What the request touches, as far as that decides.
    pub async fn touches(&self, reader: &Reader<'_>) -> Result<Vec<Touch>, Refusal> {
        let grants = &self.grantee.grants;
        if !self.looks() {
            return Ok(Vec::new());
        }
        let catalog = &self.serving.rules.catalog;
        let interest = InRequest {
            grants,
            asked: &self.asked,
            catalog,
            defers: true,
        };
        // A box, here and below, for what few requests need, so that the others are not as large.
        Box::pin(resolve(&self.asked, catalog, &interest, reader)).await
    }

    /// The decision by what a request touches, and by which scopes it goes.
    ///
    /// # Errors
    /// The refusal.
    pub fn settle(&self, touches: &[Touch]) -> Result<Settled, Refusal> {
        let catalog = &self.serving.rules.catalog;
        let allowed = by_touches(&self.grantee.grants, &self.asked, touches, catalog)?;
        let used = scopes_used(&self.grantee.grants, &self.asked, catalog);
        let names = |used| catalog.scopes().names(&used).cloned().collect();
        Ok(Settled {
            allowed,
            scopes: used.map(names),
            planned: None,
        })
    }

    /// The same over a request that touches nothing that decides, kept where others are decided alike.
    ///
    /// # Errors
    /// The refusal, which is never kept: most tell what was asked.
    pub fn settle_at_once(&self) -> Result<Arc<Settled>, Refusal> {
        self.asked.fits(&self.serving.rules.catalog)?;
        let (grants, rules) = (&self.grantee.grants, &self.serving.rules);
        let by = settled_by(grants, &self.asked, &rules.catalog);
        let settle = || self.settle(&[]);
        let with_plan = || {
            Ok(Settled {
                planned: self.planned_alike(),
                ..settle()?
            })
        };
        match self.asked.endpoint.zip(by) {
            Some((endpoint, by)) => self.serving.plans.settled(grants, endpoint, by, with_plan),
            None => settle().map(Arc::new),
        }
    }

    fn real_token(&self, account: &str) -> Result<&Arc<RealToken>, Refusal> {
        self.serving.rules.real_token(account).ok_or_else(|| {
            Refusal::new(
                Code::RoleMissing,
                "the account of this sub-token's role has no real token; tell who runs tidegate",
            )
        })
    }

    /// Reads the body, if it is no longer than one that may be read. A longer one is handed on as it comes where nothing in
    /// it decides, and refused where something does.
    pub async fn body(
        &mut self,
        headers: &HeaderMap,
        mut body: ClientBody,
    ) -> Result<Body, Refusal> {
        let limits = &self.serving.rules.settings.limits;
        let raw = self.raw_body(headers)?;
        if raw.is_none() {
            readable(headers)?;
        }
        let decides = self.decides_by_body();
        let (readable, most) = (limits.inspected_body.bytes(), limits.body.bytes());
        let limit = if decides {
            readable
        } else {
            most.max(readable)
        };
        let told = body.size_hint().lower();
        if told > u64::try_from(limit).unwrap_or(u64::MAX) {
            return Err(too_large(limit));
        }
        let begun = upstream::read(&mut body, readable, limits.idle_timeout).await;
        let (begun, whole) = begun.map_err(|failure| unreadable(failure, limit))?;
        if !whole && decides {
            return Err(too_large(limit));
        }
        if !whole {
            let (stream, progress) = upstream::stream(begun, body, limit, limits.idle_timeout);
            let media_type = raw.unwrap_or(upstream::JSON);
            return Ok(Body::Stream(stream, progress, media_type));
        }
        if begun.is_empty() {
            return Ok(Body::None);
        }
        if let Some(media_type) = raw {
            let bytes = upstream::whole(begun);
            return Ok(Body::Stream(bytes, Progress::done(), media_type));
        }
        let catalog = &self.serving.rules.catalog;
        self.asked
            .take_body(&begun, catalog)
            .map(|json| Body::Json(json.into()))
    }

    /// The media type of a body that goes on as it comes, where the endpoint takes such; nothing can be told of what it names.
    fn raw_body(&self, headers: &HeaderMap) -> Result<Option<HeaderValue>, Refusal> {
        let taken = self.asked.endpoint.map_or(&[][..], |it| &it.raw_bodies);
        let mut types = headers.get_all(CONTENT_TYPE).iter();
        let (Some(media_type), None) = (types.next(), types.next()) else {
            return Ok(None);
        };
        let essence = media_type.to_str().unwrap_or_default();
        let essence = essence.split(';').next().unwrap_or_default().trim();
        if !taken
            .iter()
            .any(|known| known.eq_ignore_ascii_case(essence))
        {
            return Ok(None);
        }
        not_encoded(headers)?;
        if self.grantee.grants.is_narrowed() {
            let why = "the body is no JSON, so what it names can't be told, and a narrowed sub-token sends only what can; send the JSON form";
            return Err(Refusal::new(Code::AmbiguousRequest, why));
        }
        Ok(Some(media_type.clone()))
    }

    /// Whether a body must be read: something in it decides, or a narrowed sub-token sends it, whose bodies go on as they were
    /// read and no others.
    fn decides_by_body(&self) -> bool {
        let inspected = self.asked.endpoint.is_some_and(Endpoint::inspects_body);
        inspected || self.grantee.grants.is_narrowed()
    }

    /// Checks that a body in which something decides was read: a reload on the way may have brought a catalogue that asks for
    /// more of it than the one by which it was passed over.
    pub fn read_what_decides(&self, body: &Body) -> Result<(), Refusal> {
        let decides = self.decides_by_body();
        match body {
            Body::Stream(..) if decides => Err(too_large(
                self.serving.rules.settings.limits.inspected_body.bytes(),
            )),
            Body::Stream(..) | Body::None | Body::Json(_) => Ok(()),
        }
    }

    /// Credentials that DigitalOcean makes for a sub-token do not outlive it, and never have no end: the place that says so,
    /// and the time, in seconds in a parameter and in a span in a body.
    ///
    /// # Errors
    /// `Expired` where less than a second is left: there is no shorter life to ask for but none, and that is endless.
    pub fn limited_derived(&self) -> Result<Option<Ending>, Refusal> {
        let endpoint = self.asked.endpoint;
        let Some(at) = endpoint.and_then(|endpoint| endpoint.derived_expiry.as_ref()) else {
            return Ok(None);
        };
        let remaining = self.grantee.ends.map(|end| {
            let left = Duration::try_from(end.duration_since(self.grantee.now()));
            left.unwrap_or_default().as_secs()
        });
        if remaining == Some(0) {
            return Err(Refusal::new(
                Code::Expired,
                "this sub-token ends within a second, and so would what this hands out; ask its issuer for a new one",
            ));
        }
        let limit = self.serving.rules.settings.limits.derived_credentials;
        let most = remaining.into_iter().fold(limit.as_secs().max(1), u64::min);
        let said = match self.asked.names(at).as_slice() {
            [said] => Some(*said),
            _ => None,
        };
        let value = match at {
            Place::Body(_) => {
                let wanted = said.and_then(|text| text.parse::<Span>().ok());
                let most = Span::from_seconds(most);
                wanted
                    .into_iter()
                    .chain(most)
                    .min()
                    .map(|span| span.to_string())
            }
            Place::Query(_) | Place::Path(_) => {
                let wanted = said.and_then(|text| text.parse::<u64>().ok());
                let wanted = wanted.filter(|wanted| *wanted > 0);
                Some(wanted.map_or(most, |wanted| wanted.min(most)).to_string())
            }
        };
        let at = at.clone();
        Ok(value.map(|value| Ending { at, value }))
    }

    /// Sends what was let through on its way, and answers with what the sub-token may see.
    pub async fn go(
        &self,
        permit: Permit,
        context: ForwardContext<'_>,
        headers: Carried,
        body: Body,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let reader = context.reader;
        let list = (context.settled.allowed.narrows() || self.shows_kinds())
            .then(|| self.paged_list(context.touches))
            .flatten();
        if let Some(list) = list {
            let answer = Box::pin(self.list_shown(list, &context)).await;
            line.record.upstream_calls = Some(reader.calls()).filter(|calls| *calls > 0);
            return answer;
        }
        self.forget(reader);
        let before = reader.calls();
        let headers = self.headers_for(&context.settled.allowed, headers);
        let beside = (context.settled.allowed.sent(), context.derived.as_ref());
        let answer = self.forward(permit, (headers, body), beside, line).await;
        self.forget(reader);
        self.tell_change(reader);
        let answer = self.shown_of(answer?, &context, line).await;
        let so_far = line.record.upstream_calls.unwrap_or_default();
        line.record.upstream_calls = Some(so_far + reader.calls().saturating_sub(before));
        answer
    }

    async fn list_shown(
        &self,
        list: &Touch,
        context: &ForwardContext<'_>,
    ) -> Result<Answer, Refusal> {
        let answer = self.list(list, context.reader).await?;
        self.trimmed(answer, context.touches, context.settled, context.reader)
            .await
    }

    /// Forgets what a change may make untrue: before it goes, and again once it went, for what was learnt in between.
    fn forget(&self, reader: &Reader<'_>) {
        if self.asked.reads() {
            return;
        }
        if self.asked.only_creates() {
            reader.facts.drop_all(self.account());
        } else {
            reader.facts.drop_all_and_projects(self.account());
        }
    }

    /// Tells other daemons what this one forgets.
    fn tell_change(&self, reader: &Reader<'_>) {
        if self.asked.reads() {
            return;
        }
        let what = if self.asked.only_creates() {
            Happened::Made
        } else {
            Happened::Replaced
        };
        reader.facts.tell_change(self.account(), what);
    }

    /// What the sub-token may see of the API's answer.
    async fn shown_of(
        &self,
        answer: Answer,
        context: &ForwardContext<'_>,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let ForwardContext {
            settled,
            touches,
            reader,
            ..
        } = *context;
        let allowed = &settled.allowed;
        if self.is_missing(&answer) {
            return self.missing(line);
        }
        let answer = match allowed.beside() {
            Some(place) => Box::pin(self.reported(answer, place, touches, reader, line)).await?,
            None => answer,
        };
        let answer = if allowed.narrows() {
            Box::pin(self.narrowed(answer, touches, reader)).await?
        } else if !self.asked.reads() && self.is_followed_up(allowed) {
            Box::pin(self.followed_up(answer, allowed, touches, reader, line)).await?
        } else if self.grantee.grants.is_narrowed() {
            Box::pin(self.of_named(answer, touches)).await?
        } else {
            answer
        };
        self.trimmed(answer, touches, settled, reader).await
    }

    /// Whether anything hangs on the answer to a change beside what it shows: its actions are remembered for who is narrowed, and
    /// what was made may have to be put somewhere.
    fn is_followed_up(&self, allowed: &Allowed) -> bool {
        self.grantee.grants.is_narrowed() || allowed.additions().is_some()
    }

    /// What is not there is told as what may not be seen. A change that the API answered so was let through and went; a read is
    /// one that was refused.
    fn missing(&self, line: &FinalLine) -> Result<Answer, Refusal> {
        let hidden = Refusal::hidden();
        if self.asked.reads() {
            return Err(hidden);
        }
        let (status, headers, body) = response::refused(&hidden, &line.record.request_id);
        Ok(response::made(status, headers, body))
    }

    /// The headers as they go on: what is judged, or may be cut, is asked for in JSON, since in another form it could not be read.
    fn headers_for(&self, allowed: &Allowed, headers: Carried) -> Carried {
        let may_be_cut = self.asked.endpoint.is_some_and(|it| it.answer.is_some());
        let judged = allowed.narrows() || self.grantee.grants.is_narrowed();
        if judged || may_be_cut && !headers.takes_json() {
            headers.for_json()
        } else {
            headers
        }
    }

    /// By which address the client reaches tidegate, for links.
    pub(super) fn reached(&self) -> Option<&BaseUrl> {
        let public = self.serving.rules.settings.public_url.as_ref();
        public.or(self.client.reached.as_ref())
    }

    async fn forward(
        &self,
        permit: Permit,
        (headers, body): (Carried, Body),
        (sent, derived): (Sent, Option<&Ending>),
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let Serving {
            rules, upstream, ..
        } = self.serving;
        let reads = self.asked.reads();
        let token = self.real_token(permit.account())?;
        let checked = Checked {
            method: self.asked.method,
            path_and_query: self.target_to_send(sent, derived),
            headers,
            body,
        };
        let looked_up = line.record.upstream_calls.unwrap_or_default();
        line.record.upstream_calls = Some(looked_up + 1);
        let (answer, calls) = upstream
            .forward(permit, token, checked)
            .await
            .map_err(|failure| failure.refusal(reads))?;
        line.record.upstream_calls = Some(looked_up + calls);
        line.record.upstream_status = Some(answer.status().as_u16());
        if let Some(refusal) = upstream::by_a_gateway(answer.status(), answer.headers(), reads) {
            return Err(refusal);
        }
        let shaping = Shaping {
            scan: Scan::by(token.finders()),
            links: Links::new(upstream.addresses(), self.reached()),
            patience: upstream.settings().timeout,
        };
        let shaped = response::shape(answer, shaping).map_err(|cut| cut_off(&cut, reads))?;
        // What changes something is answered whole or not at all, and short answers tell their length.
        let limit = rules.settings.limits.inspected_body.bytes();
        let limit = if reads { limit.min(SHORT) } else { limit };
        let answer = response::held(shaped, limit)
            .await
            .map_err(|cut| cut_off(&cut, reads))?;
        let no_answer = match answer.body() {
            AnswerBody::Whole(body) => {
                let (status, headers) = (answer.status(), answer.headers());
                upstream::by_a_gateway_after_all(status, headers, body, reads)
            }
            AnswerBody::Pieces(_) => None,
        };
        no_answer.map_or(Ok(answer), Err)
    }
}

/// What a record tells of a resource, as far as it is known.
fn tell_state(resource: &mut Resource, state: &State) {
    let values = |attribute: &str| &state.known(attribute).unwrap_or_default().values;
    let first = |attribute: &str| values(attribute).first().cloned();
    resource.name = resource.name.take().or_else(|| first("name"));
    if resource.tags.is_empty() {
        resource.tags.clone_from(values("tag"));
    }
    resource.project = resource.project.take().or_else(|| first("project"));
}

/// As many letters of an action are recorded; the API has none as long.
const MOST_LETTERS: usize = 64;
/// The names of so many parameters.
const MOST_PARAMETERS: usize = 32;

/// The seconds after which a sub-token that had its share may ask again: what is left may have grown by then, and some clients
/// wait in silence for as long as they are told.
const LONGEST_WAIT: u64 = 60;

/// Answers to reads up to this many bytes are handed on whole.
const SHORT: usize = 16 << 10;

/// A body must be JSON as it stands: compressed, or as a form, the API could read it otherwise than it was read here.
pub(super) fn readable(headers: &HeaderMap) -> Result<(), Refusal> {
    not_encoded(headers)?;
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

fn not_encoded(headers: &HeaderMap) -> Result<(), Refusal> {
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

pub(super) fn unreadable(failure: BodyFailure, limit: usize) -> Refusal {
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

/// What the client gets for an answer of which nothing has gone out yet.
pub(super) fn cut_off(cut: &Cut, reads: bool) -> Refusal {
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
