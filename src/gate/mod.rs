//! The way that every request takes, from its head to the last line of its record.
//!
//! [`Gate`] is where it can be read in one function; what tidegate answers itself is beside it (`own_endpoints`).

mod authenticate;
mod children;
mod concurrency;
mod exchange;
mod fields;
mod final_line;
mod following;
mod head_checks;
mod narrowed;
mod own_endpoints;
mod question;
mod reporting;
mod request_id;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use futures_util::future::Either;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::audit::{Audit, Permit, Verdict};
use crate::catalog::{Catalog, Method};
use crate::facts::{Facts, Reader};
use crate::identify::{self, Client, Peer, is_trusted};
use crate::metrics::{Handshake, RequestOutcome, UnreadableRequest};
use crate::refusal::{Code, Refusal};
use crate::request::{self, Headed, Public, Target};
use crate::resource::Touch;
use crate::response::{Answer, made, refused};
use crate::rules::{Current, Serving, Settled};
use crate::state::{Activity, KeptToken, Live};
use crate::token::{ClientAddr, TokenId};
use crate::upstream::{Body, Carried};
use authenticate::{Grantee, ParentToken, authenticate, state_unavailable, still};
use concurrency::{RequestSlot, Requests};
use exchange::Exchanges;
use final_line::FinalLine;
use head_checks::{is_framed_once, says_one_thing};
use question::{ForwardContext, Question};

pub(crate) use authenticate::{admitted, bearer};
pub(crate) use concurrency::{Clients, Seat};
pub(crate) use head_checks::Oddity;
pub(crate) use request_id::request_id;

/// Everything that the way through needs.
pub struct Gate {
    current: Arc<Current>,
    tokens: Arc<Live>,
    audit: Arc<Audit>,
    /// How often each address asks for the exchange of an identity.
    exchanges: Exchanges,
    /// What this daemon is called among several.
    instance: Option<String>,
    facts: Arc<Facts>,
    requests: Requests,
    /// How many requests each client has.
    clients: Arc<Clients>,
    draining: AtomicBool,
    /// A copy goes with each request that is seen to its end; when all are gone, so are the requests.
    under_way: Mutex<Option<mpsc::Sender<()>>>,
}

impl Gate {
    /// Puts the parts together. The receiver ends when the last request that is seen to its end has ended, once the gate drains.
    pub fn new(
        current: Arc<Current>,
        tokens: Arc<Live>,
        audit: Arc<Audit>,
    ) -> (Self, mpsc::Receiver<()>) {
        let (under_way, ended) = mpsc::channel(1);
        let instance = current.get().rules.settings.instance();
        let gate = Self {
            instance,
            current,
            facts: Facts::shared(&tokens),
            tokens,
            audit,
            exchanges: Exchanges::default(),
            requests: Requests::default(),
            clients: Arc::default(),
            draining: AtomicBool::new(false),
            under_way: Mutex::new(Some(under_way)),
        };
        (gate, ended)
    }

    /// What requests are served by now.
    pub fn serving(&self) -> Arc<Serving> {
        self.current.get()
    }

    /// Counts a client beyond the most that are served at once.
    pub fn turned_away(&self) {
        let outcome = RequestOutcome::Refused(Code::Overloaded);
        self.current.metrics().request(None, outcome);
    }

    /// Counts what a client sent that could not be read as a request.
    pub fn unreadable(&self, unreadable: UnreadableRequest) {
        self.current.metrics().unreadable(unreadable);
    }

    /// Counts a TLS handshake that came to nothing.
    pub fn handshake_failed(&self, why: Handshake) {
        self.current.metrics().handshake_failed(why);
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
    ///
    /// No `async fn`, which would have room for the request once more.
    pub fn handle(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Answer> + Send {
        let metrics = self.current.metrics().clone();
        let line = FinalLine::new(self.audit.clone(), metrics, request_id());
        let reads = matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD);
        if reads {
            return Either::Left(self.follow(request, peer, line));
        }
        let id = line.record.request_id.clone();
        let under_way = self
            .under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let answered = tokio::spawn(async move {
            let answer = self.follow(request, peer, line).await;
            drop(under_way);
            answer
        });
        Either::Right(answer_of(answered, id))
    }

    async fn follow(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: Peer,
        mut line: Box<FinalLine>,
    ) -> Answer {
        line.record.instance.clone_from(&self.instance);
        let is_head = *request.method() == hyper::Method::HEAD;
        if is_head {
            line.no_body_goes();
        }
        let in_frames = request.version() == hyper::Version::HTTP_2;
        let serving = self.serving();
        let trusted = &serving.rules.settings.trusted_proxies;
        let client = identify::client(peer, request.headers(), trusted);
        let answered = match self.slot(client.as_ref().ok(), &serving) {
            Ok(slot) => {
                line.slot = Some(slot);
                drop(serving);
                // A box here, as what goes up from it is moved from room to room.
                Box::pin(self.answer(request, client, &mut line)).await
            }
            Err(refusal) => Err(refusal),
        };
        let mut answer = match answered {
            Ok(answer) => answer,
            Err(refusal) => {
                line.refused(&refusal);
                finished(&refusal, &line.record.request_id)
            }
        };
        if let Ok(id) = HeaderValue::from_str(&line.record.request_id) {
            answer.headers_mut().insert(REQUEST_ID, id);
        }
        // The library leaves the body out in HTTP/1 alone.
        if is_head && in_frames {
            answer = without_body(answer);
        }
        line.follow(answer)
    }

    /// A slot for a request: one of its client's, and one of all. One client may have as many as it may have connections, since
    /// in HTTP/2 a few of these would take the places of all, and keep them by leaving the answers lying.
    fn slot(
        &self,
        client: Option<&Client>,
        serving: &Serving,
    ) -> Result<(RequestSlot, Option<Seat>), Refusal> {
        let settings = &serving.rules.settings;
        let seat = match client.map(|client| client.addr) {
            Some(ClientAddr::Ip(addr)) if !is_trusted(addr, &settings.trusted_proxies) => {
                let most = settings.limits.connections_per_client;
                Some(
                    self.clients
                        .seat(addr, most)
                        .ok_or_else(|| overloaded(YOURS_TAKEN))?,
                )
            }
            Some(ClientAddr::Ip(_) | ClientAddr::Unix) | None => None, // as for connections
        };
        let slot = self.requests.slot(settings.limits.requests);
        Ok((slot.ok_or_else(|| overloaded(ALL_TAKEN))?, seat))
    }

    /// The way through. Each stage takes what the one before made; none is passed over.
    async fn answer(
        &self,
        request: Request<Incoming>,
        client: Result<Client, Refusal>,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let serving = self.serving();
        let (head, body) = request.into_parts();
        self.awake(&head, &serving)?;
        is_framed_once(&head)?;
        let client = on_record(client?, line);
        if let Some(public) = public(&head) {
            return match public {
                Public::Exchange => Box::pin(self.exchange(&head, body, &client, line)).await,
            };
        }
        let grantee =
            authenticate(&self.tokens, &head.headers, client.origin(), &serving, line).await;
        let grantee = grantee.map_err(|refusal| as_a_proxy(&head, refusal))?;
        says_one_thing(&head)?;
        let asked = match what_is_asked(&head, &serving.rules.catalog, line)? {
            Headed::Api(asked) => asked,
            Headed::Own(endpoint, target) => {
                line.record.decision = Some(Verdict::Allow);
                let asked = own_endpoints::OwnRequest {
                    target: &target,
                    headers: &head.headers,
                    body,
                    grantee,
                    serving,
                    client: &client,
                };
                return Box::pin(self.own(endpoint, asked, line)).await;
            }
        };
        let question = Question {
            serving: &serving,
            grantee: &grantee,
            client: &client,
            asked,
        };
        self.judged(question, &head.headers, body, line).await
    }

    /// Answers what is asked of the API: at once, where nothing is to come that could change the decision.
    async fn judged(
        &self,
        question: Question<'_>,
        headers: &HeaderMap,
        body: Incoming,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        question.note(line);
        let carried = Question::headers(headers)?;
        if question.asked.method != Method::Get && !body.is_end_stream() {
            question.by_head()?; // what scopes alone refuse costs no byte of a body
            return Box::pin(self.read_first(question, headers, carried, body, line)).await;
        }
        // On GET some clients send `{}`, `null` or what they posted last: dropped.
        let decided = if question.wants_touches() {
            question.by_head()?;
            None
        } else {
            Some(question.settle_at_once()?)
        };
        self.sent(&question, decided, (carried, Body::None), line)
            .await
    }

    /// Reads the body. It may take its time: whether the token may is asked again then, and judged by the rules of now.
    async fn read_first(
        &self,
        mut question: Question<'_>,
        headers: &HeaderMap,
        carried: Carried,
        body: Incoming,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let body = question.body(headers, body).await?;
        if question.asked.body.is_some() {
            question.note(line);
        }
        let now = self.serving();
        let client = question.client;
        let grantee = still(&self.tokens, question.grantee, client.origin(), &now, line).await?;
        let question = Question {
            serving: &now,
            grantee: &grantee,
            client,
            asked: question.asked.again(&now.rules.catalog),
        };
        question.note(line); // the rules of now may call it something else
        question.asked.fits(&now.rules.catalog)?;
        question.read_what_decides(&body)?;
        self.sent(&question, None, (carried, body), line).await
    }

    /// Sends what was read to its end, where that may go: by what it touches, with a use taken, and on record.
    async fn sent(
        &self,
        question: &Question<'_>,
        decided: Option<Arc<Settled>>,
        (headers, body): (Carried, Body),
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        line.spending = question.share()?;
        let reader = question.reader(&self.facts)?;
        line.looked_up = Some(reader.counter());
        line.rated = question.grantee.rated();
        let touches = self.touched(question, &reader, line).await?;
        let settled = decided.map_or_else(|| question.settle(&touches).map(Arc::new), Ok)?;
        let allowed = &settled.allowed;
        let derived = question.limited_derived()?;
        let body = question
            .body_to_send(body, allowed, derived.as_ref(), &reader)
            .await?;
        question.note_allowed(&settled, &touches, line);
        let permit = self.permit(&settled, question, line).await?;
        let context = ForwardContext {
            settled: &settled,
            touches: &touches,
            reader: &reader,
            derived,
        };
        let sent = Instant::now();
        let answer = Box::pin(question.go(permit, context, headers, body, line)).await;
        line.elsewhere(sent.elapsed());
        let refused = answer.as_ref().err().map(|refusal| refusal.code);
        self.settle(question, refused).await;
        answer
    }

    /// A use is for what was let through: what its own answer refused gives it back, and did not keep the token alive.
    async fn settle(&self, question: &Question<'_>, refused: Option<Code>) {
        let grantee = question.grantee;
        let went = !question.asked.reads(); // and then it was let through, whatever came of it
        if went || refused != Some(Code::ResourceHidden) {
            let now = self.tokens.now().latest;
            self.tokens.touch(&grantee.id, &grantee.activity, now);
            if let Some(parent) = &grantee.parent {
                self.tokens.touch(&parent.id, &parent.activity, now); // a child's use is its parent's
            }
        } else {
            Box::pin(self.give_uses_back(grantee)).await;
        }
    }

    /// Takes a use of a sub-token, and one of that which made it: both or neither.
    async fn take_uses(&self, grantee: &Grantee) -> Result<(), Refusal> {
        let Some(parent) = &grantee.parent else {
            return self
                .take_use(&grantee.id, &grantee.kept, &grantee.activity)
                .await;
        };
        let ParentToken {
            id, kept, activity, ..
        } = parent;
        self.take_use(id, kept, activity).await?;
        let taken = self
            .take_use(&grantee.id, &grantee.kept, &grantee.activity)
            .await;
        if taken.is_err() {
            self.give_use_back(id, kept, activity).await;
        }
        taken
    }

    async fn take_use(
        &self,
        id: &TokenId,
        kept: &KeptToken,
        activity: &Arc<Activity>,
    ) -> Result<(), Refusal> {
        let Some(most) = kept.limits().max_uses else {
            return Ok(());
        };
        let taken = self.tokens.take_use(id, most, activity).await;
        if taken.map_err(state_unavailable)? {
            return Ok(());
        }
        Err(Refusal::new(
            Code::UsesExhausted,
            "this sub-token was used as often as it may be; ask its issuer for a new one",
        ))
    }

    async fn give_uses_back(&self, grantee: &Grantee) {
        self.give_use_back(&grantee.id, &grantee.kept, &grantee.activity)
            .await;
        if let Some(ParentToken {
            id, kept, activity, ..
        }) = &grantee.parent
        {
            self.give_use_back(id, kept, activity).await;
        }
    }

    async fn give_use_back(&self, id: &TokenId, kept: &KeptToken, activity: &Arc<Activity>) {
        if kept.limits().max_uses.is_some() {
            self.tokens.give_back(id, activity).await;
        }
    }

    /// What a request touches, where that decides or is to be shown.
    async fn touched(
        &self,
        question: &Question<'_>,
        reader: &Reader<'_>,
        line: &mut FinalLine,
    ) -> Result<Vec<Touch>, Refusal> {
        if !question.looks() {
            return Ok(Vec::new());
        }
        Box::pin(self.look(question, reader, line)).await
    }

    /// Finds out what a request touches. That takes time too, so whether the token may is asked once more.
    async fn look(
        &self,
        question: &Question<'_>,
        reader: &Reader<'_>,
        line: &mut FinalLine,
    ) -> Result<Vec<Touch>, Refusal> {
        let began = Instant::now();
        let touches = question.touches(reader).await;
        if reader.calls() > 0 {
            line.elsewhere(began.elapsed());
        }
        line.record.upstream_calls = Some(reader.calls()).filter(|calls| *calls > 0);
        let touches = touches?;
        if reader.calls() > 0 {
            let (grantee, from) = (question.grantee, question.client.origin());
            still(&self.tokens, grantee, from, question.serving, line).await?;
        }
        Ok(touches)
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

    /// Takes the use and puts the decision on record, where that must be before a request goes.
    async fn permit(
        &self,
        settled: &Settled,
        question: &Question<'_>,
        line: &mut FinalLine,
    ) -> Result<Permit, Refusal> {
        let allowed = &settled.allowed;
        let grants = &question.grantee.grants;
        line.record.decision = Some(Verdict::Allow);
        line.record.reason = Some(Arc::clone(allowed.place()));
        if let Some(refusal) = allowed.would() {
            line.would(refusal);
        }
        if question.grantee.is_counted() {
            Box::pin(self.take_uses(question.grantee)).await?;
        }
        let hands_out = question.asked.is_sensitive() || question.hands_out(settled);
        let first = !question.asked.reads() || hands_out || !self.audit.is_sound();
        let first = first.then(|| line.decision_line());
        let Ok(permit) = self.audit.permit(allowed, &grants.account, first).await else {
            Box::pin(self.give_uses_back(question.grantee)).await;
            return Err(Refusal::new(
                Code::AuditUnavailable,
                "tidegate can't write its audit record, so it lets nothing through; nothing was sent; tell who runs tidegate",
            ));
        };
        line.permitted = true;
        Ok(permit)
    }
}

const REQUEST_ID: HeaderName = HeaderName::from_static("tidegate-request-id");
/// Who asks, on record.
fn on_record(client: Client, line: &mut FinalLine) -> Client {
    line.record.client_ip = Some(client.addr);
    line.record.client_cert = client.subject.as_ref().map(ToString::to_string);
    client
}

/// Method and target, on record as far as they can be read, and for whom they are.
fn what_is_asked<'c>(
    head: &Parts,
    catalog: &'c Catalog,
    line: &mut FinalLine,
) -> Result<Headed<'c>, Refusal> {
    let method = method_of(head)?;
    line.record.method = Some(method);
    let target = target_of(head)?;
    line.record.path = Some(target.shared_path());
    Headed::read(method, target, catalog)
}

/// What anybody may ask, before any sub-token is known; nothing of it is asked as of a proxy.
fn public(head: &Parts) -> Option<Public> {
    let asked = || request::public(head.method.as_str(), head.uri.path());
    head.uri.authority().is_none().then(asked).flatten()
}

/// The answer of what goes on by itself. Should that fail, its client is told the id under which the request is on record, as its
/// final line is written all the same.
async fn answer_of(answered: JoinHandle<Answer>, id: String) -> Answer {
    let failed = |_| {
        let why = "tidegate failed while it served this request; look before you repeat it";
        finished(&Refusal::new(Code::OutcomeUnknown, why), &id)
    };
    answered.await.unwrap_or_else(failed)
}

fn finished(refusal: &Refusal, request_id: &str) -> Answer {
    let (status, headers, body) = refused(refusal, request_id);
    made(status, headers, body)
}

/// An answer with the head that it has with its body.
fn without_body(answer: Answer) -> Answer {
    let length = answer.body().size_hint().exact();
    let (mut head, _) = answer.into_parts();
    if let Some(length) = length {
        head.headers
            .entry(CONTENT_LENGTH)
            .or_insert_with(|| length.into());
    }
    made(head.status, head.headers, hyper::body::Bytes::new())
}

const ALL_TAKEN: &str =
    "tidegate serves as many requests as it may at once; nothing was sent; try again";
const YOURS_TAKEN: &str = "there are as many requests from your address at once as there may be; nothing was sent; wait for the answers to some, and try again";

fn overloaded(why: &str) -> Refusal {
    let mut refusal = Refusal::new(Code::Overloaded, why);
    refusal.retry_after = Some(1);
    refusal
}

/// What a client reads that takes tidegate for a forward proxy: its sub-token goes by another way then, or not at all.
fn as_a_proxy(head: &Parts, mut refusal: Refusal) -> Refusal {
    if head.method == hyper::Method::CONNECT || head.uri.authority().is_some() {
        refusal.message = format!("{NO_PROXY}; {}", refusal.message);
    }
    refusal
}

const NO_PROXY: &str = "tidegate is no forward proxy; set it as the client's base URL (`DIGITALOCEAN_API_URL`, `--api-url`, `api_endpoint`), not as its HTTP proxy";

fn method_of(head: &Parts) -> Result<Method, Refusal> {
    if head.method == hyper::Method::CONNECT {
        return Err(Refusal::new(Code::UnknownEndpoint, NO_PROXY));
    }
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

pub(crate) fn target_of(head: &Parts) -> Result<Target, Refusal> {
    let text = head
        .uri
        .path_and_query()
        .map(hyper::http::uri::PathAndQuery::as_str)
        .filter(|_| head.uri.authority().is_none());
    Ok(Target::read(text.unwrap_or_default())?)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn a_failure_is_told_with_the_id_that_is_on_record() {
        let fails = tokio::spawn(async { panic!("as the code has it nowhere") });
        let answer = answer_of(fails, "0123".to_owned()).await;
        assert_eq!(answer.status(), hyper::StatusCode::CONFLICT);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["request_id"], "0123");
    }

    /// The bound, in bytes, which only goes down.
    const MOST: usize = 3 << 10;

    /// What a request is answered by is moved as often as it goes from one function to the next, and each is as large as all that
    /// it waits for: what few requests wait for is in a box.
    #[test]
    fn what_answers_a_request_is_small() {
        type Asked = Request<Incoming>;
        fn of_answer<F: Future>(
            _: fn(&'static Gate, Asked, Result<Client, Refusal>, &'static mut FinalLine) -> F,
        ) -> usize {
            size_of::<F>()
        }
        fn of_handle<F: Future>(_: fn(Arc<Gate>, Asked, Peer) -> F) -> usize {
            size_of::<F>()
        }
        fn of_go<F: Future>(
            _: fn(
                &'static Question<'static>,
                Permit,
                ForwardContext<'static>,
                Carried,
                Body,
                &'static mut FinalLine,
            ) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let (answer, handle) = (of_answer(Gate::answer), of_handle(Gate::handle));
        let go = of_go(Question::go);
        assert!(answer <= MOST, "{answer} bytes for the way through");
        assert!(go <= MOST, "{go} bytes for what goes to the API");
        assert!(handle <= MOST / 3, "{handle} bytes for what leads there");
    }
}
