//! The page for those who run tidegate, and the same as JSON: what is served beside health and metrics on the `admin` listener, where
//! `console: true` asks for it.
//!
//! It is the most powerful door of the house, so it is kept narrow. `route` is the whole of it as a table; `sign_in` says who comes
//! in; every text that comes from outside is escaped by the type that pages are made of; what it does is in the record before it is
//! done. It answers from memory, and no request of a client ever waits for it. It gives nobody more than the command line gives, and
//! does it by the same functions.

mod ask;
mod failures;
mod form;
mod history;
mod overview;
mod page;
mod policies;
mod records;
mod refusals;
mod reply;
mod roles;
mod route;
mod session;
mod sign_in;
mod tokens;
mod unused;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::info;
use zeroize::Zeroizing;

pub use history::History;

use crate::admin::Admin;
use crate::audit::{Audit, Event, Older, Record, Token, Verdict};
use crate::config::BaseUrl;
use crate::gate::request_id;
use crate::identify::{Client, Peer, client};
use crate::policy::Right;
use crate::refusal::{Code, Refusal};
use crate::response::Answer;
use crate::rules::Current;
use crate::state::Live;
use crate::token::SubToken;
use form::Form;
use page::Frame;
use reply::{Reply, Trouble};
use route::{Access, Route, RouteMatch, Task};
use session::SignedIn;
use sign_in::ConsoleOperator;

/// What answers at the console.
pub struct Console {
    current: Arc<Current>,
    tokens: Arc<Live>,
    audit: Arc<Audit>,
    history: Arc<History>,
    sessions: session::Sessions,
    failures: failures::Failures,
    warnings: overview::Warnings,
    unneeded: unused::Unneeded,
    /// What the record's files hold.
    older: Older,
    /// How many more may look on.
    viewers: Arc<Semaphore>,
    /// How many more may ask for what takes its time: files that are searched, policies that are tried.
    at_length: Semaphore,
}

/// A request, as far as it was read.
struct ConsoleRequest<'r> {
    id: &'r str,
    client: &'r Client,
    reached: &'r BaseUrl,
    headers: &'r HeaderMap,
    /// The path with its query, to come back to.
    target: String,
    /// What stands in the place of the path.
    place: String,
    query: Form,
    admin: &'r Arc<Admin>,
}

/// The bytes that a body may have.
const MOST_BYTES: usize = 2 << 20;
/// How long it may take to come.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many may ask at once for what takes its time: one core at most is theirs, whoever else waits.
const AT_LENGTH: usize = 1;

impl Console {
    /// Of a daemon that is starting.
    pub fn new(of: (Arc<Current>, Arc<Live>, Arc<Audit>), history: Arc<History>) -> Self {
        let (current, tokens, audit) = of;
        Self {
            current,
            tokens,
            audit,
            history,
            sessions: session::Sessions::default(),
            failures: failures::Failures::default(),
            warnings: overview::Warnings::default(),
            unneeded: unused::Unneeded::default(),
            older: Older::default(),
            viewers: Arc::new(Semaphore::new(records::VIEWERS)),
            at_length: Semaphore::new(AT_LENGTH),
        }
    }

    /// Answers one request.
    pub(crate) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        admin: &Arc<Admin>,
    ) -> Answer {
        let id = request_id();
        let is_head = *request.method() == Method::HEAD;
        let answer = self.routed(request, peer, admin, &id).await;
        if is_head {
            return answer.map(|_| crate::response::nothing());
        }
        answer
    }

    async fn routed(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        admin: &Arc<Admin>,
        id: &str,
    ) -> Answer {
        let is_api = request.uri().path().starts_with("/api/");
        let (head, body) = request.into_parts();
        let settings = self.current.get();
        let settings = &settings.rules.settings;
        let told = client(peer, &head.headers, &settings.trusted_proxies)
            .map_err(Trouble::from)
            .and_then(|client| Ok((sign_in::reached(&client, settings)?, client)));
        let (reached, client) = match told {
            Ok(told) => told,
            Err(trouble) => return troubled(&trouble, is_api, None, id),
        };
        let (route, place) = match route::find(&head.method, head.uri.path()) {
            RouteMatch::Route(route, place) => (route, place.to_owned()),
            RouteMatch::Methods(methods) => {
                return troubled(&Trouble::Method(methods), is_api, None, id);
            }
            RouteMatch::Nothing => {
                return troubled(&Trouble::nothing(), is_api, None, id);
            }
        };
        let Ok(query) = Form::read(head.uri.query().unwrap_or_default()) else {
            let trouble = Trouble::Bad("the query can't be read".to_owned());
            return troubled(&trouble, is_api, None, id);
        };
        let target = head.uri.path_and_query();
        let asked = ConsoleRequest {
            id,
            client: &client,
            reached: &reached,
            headers: &head.headers,
            target: target.map_or_else(|| "/".to_owned(), ToString::to_string),
            place,
            query,
            admin,
        };
        self.let_in(route, &asked, body).await
    }

    async fn let_in(
        self: &Arc<Self>,
        route: &Route,
        asked: &ConsoleRequest<'_>,
        body: Incoming,
    ) -> Answer {
        match route.access {
            Access::Anyone => {
                let done = self.open(route.task, asked, body).await;
                answered(done, false, None, asked)
            }
            Access::Page(right) => {
                let cookie = sign_in::cookie(asked.headers, asked.reached);
                let (operator, session) = match self.signed_in(cookie, asked.client, true).await {
                    Ok(signed_in) => signed_in,
                    Err(trouble) => return sign_in_first(&trouble, route, asked),
                };
                let frame = Frame {
                    operator: &operator,
                    form_token: &session.form,
                };
                let done = async {
                    operator.need(right)?;
                    if route.method == Method::GET {
                        return self.page(route.task, asked, &frame, None).await;
                    }
                    let form = filled_in(asked, &session, body).await?;
                    // It may have taken its time: who held it back must not outlive an end.
                    let (operator, _) = self.signed_in(cookie, asked.client, true).await?;
                    operator.need(right)?;
                    let frame = Frame {
                        operator: &operator,
                        ..frame
                    };
                    self.page(route.task, asked, &frame, Some(&form)).await
                };
                let done = done.await;
                answered(done, false, Some(&frame), asked)
            }
            Access::Api(right) => {
                let done = async {
                    let operator = self.shown(asked.headers, asked.client).await?;
                    operator.need(right)?;
                    if route.method == Method::GET {
                        return self.api(route.task, asked, &operator, &Value::Null).await;
                    }
                    let given = json_of(asked.headers, body).await?;
                    // It may have taken its time: who held it back must not outlive an end.
                    let operator = self.shown(asked.headers, asked.client).await?;
                    operator.need(right)?;
                    self.api(route.task, asked, &operator, &given).await
                };
                let done = done.await;
                answered(done, true, None, asked)
            }
        }
    }

    /// What whoever reaches the listener may ask.
    async fn open(
        &self,
        task: Task,
        asked: &ConsoleRequest<'_>,
        body: Incoming,
    ) -> Result<Reply, Trouble> {
        match task {
            Task::Stylesheet => Ok(Reply::Asset("text/css; charset=utf-8", page::STYLESHEET)),
            Task::Script => Ok(Reply::Asset("text/javascript; charset=utf-8", page::SCRIPT)),
            Task::Icon => Ok(Reply::Asset("image/svg+xml", page::ICON)),
            Task::ApiDescription => Ok(Reply::Asset("application/json", page::DESCRIPTION)),
            Task::SignInPage => {
                let next = asked.query.one("next");
                Ok(Reply::Page(StatusCode::OK, page::sign_in(next, None)))
            }
            Task::SignIn => self.sign_in(asked, body).await,
            Task::Overview
            | Task::Token(_)
            | Task::Refusals
            | Task::Records
            | Task::Roles
            | Task::Role
            | Task::Check
            | Task::Diff
            | Task::Unused
            | Task::Ask
            | Task::Live
            | Task::LiveLines
            | Task::SignOut => Err(Trouble::nothing()),
        }
    }

    /// A page, or what is done from one.
    async fn page(
        self: &Arc<Self>,
        task: Task,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
        form: Option<&Form>,
    ) -> Result<Reply, Trouble> {
        match task {
            Task::Overview => {
                let overview = self.overview(asked.admin).await;
                let page = overview::page(&overview, frame);
                Ok(Reply::Page(StatusCode::OK, page))
            }
            Task::Token(task) => {
                let nothing = Form::default();
                let form = form.unwrap_or(&nothing);
                self.token_pages(task, asked, frame, form).await
            }
            Task::Refusals => self.refusals_page(frame).await,
            Task::Roles => Ok(self.roles_page(frame).await),
            Task::Role => self.role_page(asked, frame).await,
            Task::Ask => self.ask_page(asked, frame, form).await,
            Task::Unused => self.unused_page(asked, frame).await,
            Task::Check => self.check_page(frame, form).await,
            Task::Diff => self.diff_page(asked, frame, form).await,
            Task::Records => self.records_page(asked, frame).await,
            Task::Live => self.live_page(asked, frame),
            Task::LiveLines => self.live_lines(asked),
            Task::SignOut => self.sign_out(asked, frame).await,
            Task::Stylesheet
            | Task::Script
            | Task::Icon
            | Task::SignInPage
            | Task::SignIn
            | Task::ApiDescription => Err(Trouble::nothing()),
        }
    }

    /// The same for programs.
    async fn api(
        self: &Arc<Self>,
        task: Task,
        asked: &ConsoleRequest<'_>,
        operator: &ConsoleOperator,
        given: &Value,
    ) -> Result<Reply, Trouble> {
        let told = match task {
            Task::Overview => self.overview(asked.admin).await,
            Task::Token(task) => return self.token_api(task, asked, operator, given).await,
            Task::Refusals => self.refusals().await?,
            Task::Unused => return self.unused_for_programs(asked).await,
            Task::Records => self.records(&asked.query).await?,
            Task::Check => self.check(policies::policy_of(given, &["policy"])?).await?,
            Task::Diff => {
                let new = policies::policy_of(given, &["policy", "role"])?;
                let role = given.get("role").and_then(Value::as_str);
                self.diff(new, role.map(str::to_owned)).await?
            }
            Task::Roles => self.roles().await,
            Task::Role => self.role(&asked.place).await?,
            Task::Ask => self.explain(ask::of_json(given)?).await?,
            Task::LiveLines => return self.live_for_programs(asked),
            Task::Live
            | Task::SignOut
            | Task::Stylesheet
            | Task::Script
            | Task::Icon
            | Task::SignInPage
            | Task::SignIn
            | Task::ApiDescription => return Err(Trouble::nothing()),
        };
        Ok(Reply::Json(StatusCode::OK, told))
    }

    /// Does what takes its time, one after another, away from where requests are answered.
    async fn at_length<T: Send + 'static>(
        &self,
        patience: Duration,
        work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
    ) -> Result<T, Trouble> {
        let turn = timeout(patience, self.at_length.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(Trouble::Unable(
                "others are searching the record or trying a policy; try again in a moment"
                    .to_owned(),
            ));
        };
        tokens::aside(work).await
    }

    async fn sign_out(
        &self,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
    ) -> Result<Reply, Trouble> {
        let cookie = sign_in::cookie(asked.headers, asked.reached);
        self.sessions.end(cookie.unwrap_or_default());
        let done = Done::new("signs out of the console");
        self.record(asked, frame.operator, &done).await?;
        let gone = sign_in::set_cookie(asked.reached, None);
        Ok(Reply::See("/sign-in".to_owned(), Some(gone)))
    }

    async fn sign_in(&self, asked: &ConsoleRequest<'_>, body: Incoming) -> Result<Reply, Trouble> {
        sign_in::same_origin(asked.headers, asked.reached)?;
        let form = form_of(asked.headers, body).await?;
        let next = form.one("next").filter(|next| is_page(next));
        let token = SubToken::read(form.one("token").unwrap_or_default());
        let recognised = match token {
            Ok(token) => {
                let found = self.by_token(&token, asked.client).await;
                found.map(|operator| (operator, token.hash()))
            }
            Err(why) => Err(Refusal::new(
                Code::UnknownToken,
                format!("this can't be used to sign in: {why}"),
            )
            .into()),
        };
        let (operator, hash) = match recognised {
            Ok(recognised) => recognised,
            Err(trouble) => {
                let trouble = self.slowed(trouble, asked.client).await;
                self.record_failure(asked, &trouble);
                let page = page::sign_in(next, Some(&trouble));
                return Ok(Reply::Page(trouble.told().0, page));
            }
        };
        let done = Done::new("signs in at the console");
        self.record(asked, &operator, &done).await?;
        let begun = self
            .sessions
            .begin(operator.id.clone(), hash, Instant::now());
        let cookie = begun.map_err(|error| {
            Trouble::Unable(format!("the system gives no random bytes: {error}"))
        })?;
        let cookie = sign_in::set_cookie(asked.reached, Some(&cookie));
        Ok(Reply::See(next.unwrap_or("/").to_owned(), Some(cookie)))
    }

    /// Puts on record what an operator is about to do; what can't be recorded is not done.
    async fn record(
        &self,
        asked: &ConsoleRequest<'_>,
        operator: &ConsoleOperator,
        done: &Done,
    ) -> Result<(), Trouble> {
        let record = of_operator(asked, operator, done);
        let line = record.line(Event::Operator, Timestamp::now());
        let written = self.audit.written(&line).await;
        written.map_err(|_| Trouble::Unable("the record can't be written, so nothing was done; the log says why, and `tidegate token` on the machine itself does it without the console".to_owned()))?;
        info!(operator = operator.name, what = done.what, "console");
        Ok(())
    }

    /// Puts on record that what was about to be done was not, where that is so.
    fn undone<T>(
        &self,
        asked: &ConsoleRequest<'_>,
        operator: &ConsoleOperator,
        (done, result): (&Done, Result<T, Trouble>),
    ) -> Result<T, Trouble> {
        result.inspect_err(|trouble| {
            let (status, id, message) = trouble.told();
            let mut record = of_operator(asked, operator, done);
            record.decision = Some(Verdict::Deny);
            record.reason = Some(id.into());
            record.detail = Some(format!("not done ({}): {message}", done.what));
            record.status = Some(status.as_u16());
            self.audit
                .write(&record.line(Event::Operator, Timestamp::now()));
        })
    }

    /// Notes that somebody failed to sign in, as requests that are refused are noted.
    fn record_failure(&self, asked: &ConsoleRequest<'_>, trouble: &Trouble) {
        let (status, id, message) = trouble.told();
        let mut record = Record::new(asked.id.to_owned());
        record.client_ip = Some(asked.client.addr);
        record.decision = Some(Verdict::Deny);
        record.reason = Some(match trouble {
            Trouble::Refused(refusal) => refusal.code.as_str().into(),
            _ => id.into(),
        });
        record.detail = Some(format!("signing in at the console failed: {message}"));
        record.status = Some(status.as_u16());
        let line = record.line(Event::Operator, Timestamp::now());
        self.audit.write_refused(&line);
    }
}

/// To the page for signing in and back, where a page was asked for by somebody who is not signed in, or is no more.
fn sign_in_first(trouble: &Trouble, route: &Route, asked: &ConsoleRequest<'_>) -> Answer {
    let signs_in = match trouble {
        Trouble::SignedOut => true,
        Trouble::Refused(refusal) => refusal.status() == 401,
        _ => false,
    };
    if signs_in && route.method == Method::GET {
        let place = match asked.target.as_str() {
            "/" => "/sign-in".to_owned(),
            target => format!("/sign-in?next={}", form::encoded(target)),
        };
        return reply::answer(Reply::See(place, None), asked.id);
    }
    troubled(trouble, false, None, asked.id)
}

/// What came of it, for programs or for people.
fn answered(
    done: Result<Reply, Trouble>,
    is_api: bool,
    frame: Option<&Frame<'_>>,
    asked: &ConsoleRequest<'_>,
) -> Answer {
    match done {
        Ok(reply) => reply::answer(reply, asked.id),
        Err(trouble) => troubled(&trouble, is_api, frame, asked.id),
    }
}

/// Why something is not answered, for programs or for people.
fn troubled(trouble: &Trouble, is_api: bool, frame: Option<&Frame<'_>>, id: &str) -> Answer {
    if is_api {
        return reply::trouble(trouble, id);
    }
    reply::trouble_page(trouble, page::trouble(trouble, frame, id), id)
}

/// The record of what an operator does.
fn of_operator(asked: &ConsoleRequest<'_>, operator: &ConsoleOperator, done: &Done) -> Record {
    let mut record = Record::new(asked.id.to_owned());
    record.token = Some(Token {
        id: operator.id.clone(),
        name: operator.name.clone(),
    });
    record.client_ip = Some(asked.client.addr);
    record.decision = Some(Verdict::Allow);
    record.detail = Some(done.what.clone());
    record.resources.clone_from(&done.resources);
    record
}

/// What an operator does, for the record.
struct Done {
    what: String,
    resources: Vec<crate::audit::Resource>,
}

impl Done {
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            resources: Vec::new(),
        }
    }
}

/// Whether a text is the address of a page here, and of nothing elsewhere.
fn is_page(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    match route::find(&Method::GET, path) {
        RouteMatch::Route(route, _) => matches!(route.access, Access::Page(Right::View)),
        RouteMatch::Methods(_) | RouteMatch::Nothing => false,
    }
}

/// A form as a page of this session sends it.
async fn filled_in(
    asked: &ConsoleRequest<'_>,
    session: &SignedIn,
    body: Incoming,
) -> Result<Form, Trouble> {
    sign_in::same_origin(asked.headers, asked.reached)?;
    let form = form_of(asked.headers, body).await?;
    let shown = form.one(page::FORM_TOKEN).unwrap_or_default();
    if session.made(shown) {
        return Ok(form);
    }
    Err(Trouble::Forbidden("this form is none of your session; nothing was done; load the page again and send it from there".to_owned()))
}

async fn form_of(headers: &HeaderMap, body: Incoming) -> Result<Form, Trouble> {
    needs_kind(headers, "application/x-www-form-urlencoded")?;
    let bytes = whole(body).await?;
    let text = str::from_utf8(&bytes).ok();
    let form = text.and_then(|text| Form::read(text).ok());
    form.ok_or_else(|| Trouble::Bad("the form can't be read".to_owned()))
}

/// A body of JSON; nothing sent is an empty object.
async fn json_of(headers: &HeaderMap, body: Incoming) -> Result<Value, Trouble> {
    let bytes = whole(body).await?;
    if bytes.is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    needs_kind(headers, "application/json")?;
    let read = serde_json::from_slice(&bytes).ok();
    let object = read.filter(Value::is_object);
    object.ok_or_else(|| Trouble::Bad("the body is no JSON object".to_owned()))
}

fn needs_kind(headers: &HeaderMap, kind: &str) -> Result<(), Trouble> {
    let sent = headers
        .get(CONTENT_TYPE)
        .and_then(|sent| sent.to_str().ok());
    let sent = sent.and_then(|sent| sent.split(';').next()).map(str::trim);
    if sent.is_some_and(|sent| sent.eq_ignore_ascii_case(kind)) {
        return Ok(());
    }
    Err(Trouble::Bad(format!(
        "the body must be sent as `content-type: {kind}`"
    )))
}

async fn whole(body: Incoming) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let collected = timeout(PATIENCE, Limited::new(body, MOST_BYTES).collect()).await;
    match collected {
        Ok(Ok(collected)) => {
            let bytes: Bytes = collected.to_bytes();
            Ok(Zeroizing::new(bytes.to_vec()))
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Trouble::Large),
        Ok(Err(_)) => Err(Trouble::Bad("the body ended before its end".to_owned())),
        Err(_) => Err(Trouble::Bad("the body took too long".to_owned())),
    }
}
