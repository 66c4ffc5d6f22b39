//! Children: sub-tokens that a sub-token makes, which may less than it and end with it.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::Gate;
use super::authenticate::{Grantee, state_unavailable, still};
use super::final_line::FinalLine;
use super::own_endpoints::{OwnRequest, json_answer};
use super::question::{readable, unreadable};
use crate::audit;
use crate::refusal::{Code, Refusal};
use crate::request::Json;
use crate::response::{Answer, made};
use crate::rules::Serving;
use crate::state::{Child, ChildWish, Delegator, Issued, KeptToken, ListedToken, Maker, SeenToken};
use crate::token::{Source, SubToken, TokenId};
use crate::upstream;

/// The most bytes of a body: what a token says of itself is kept, and read whenever it is used.
const MOST_BYTES: usize = 16 << 10;

impl Gate {
    /// Makes a child, and puts that on record before it is kept.
    pub(super) async fn make_child(
        &self,
        asked: OwnRequest<'_>,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let OwnRequest {
            target: _,
            headers,
            body,
            grantee,
            serving,
            client,
        } = asked;
        if grantee.parent.is_some() {
            return Err(not_handed_on(
                "a sub-token that another made makes none; ask the holder of that one",
            ));
        }
        let patience = serving.rules.settings.limits.idle_timeout;
        let wish = wish(headers, body, patience).await?;
        // The body may have taken its time: who held it back must not outlive an end, or a policy.
        let serving = self.serving();
        let grantee = still(&self.tokens, &grantee, client.origin(), &serving, line).await?;
        let delegator = Delegator {
            id: &grantee.id,
            name: grantee.kept.name(),
            hash: grantee.hash(),
            roles: grantee.kept.roles(),
            vars: grantee.kept.vars(),
            ends: grantee.ends,
        };
        let (policy, catalog) = (&serving.rules.policy, &serving.rules.catalog);
        let child = delegator.child(&wish, policy, catalog, grantee.now())?;
        let Child {
            token,
            issued,
            most,
        } = child;
        line.record.created = Some(audit::Token {
            id: issued.id.clone(),
            name: issued.name.clone(),
        });
        self.on_record_first(line).await?;
        let (kept, now) = (issued.clone(), issued.created_at);
        let made = self
            .tokens
            .change_state(move |state| state.delegate(&kept, most, now))
            .await
            .map_err(state_unavailable)?;
        if !made {
            line.record.created = None;
            return Err(not_handed_on(&format!(
                "this sub-token has {most} living children, as many as its roles allow (`delegate`); end one first"
            )));
        }
        Ok(answer(&token, &issued))
    }

    async fn on_record_first(&self, line: &mut FinalLine) -> Result<(), Refusal> {
        let written = self.audit.written(&line.decision_line()).await;
        written.map_err(|_| {
            Refusal::new(
                Code::AuditUnavailable,
                "tidegate can't write its audit record, so it changes nothing; tell who runs tidegate",
            )
        })?;
        line.permitted = true;
        Ok(())
    }

    /// The children of who asks, whichever secret they were made by.
    pub(super) async fn list_children(
        &self,
        grantee: &Grantee,
        serving: &Serving,
    ) -> Result<Answer, Refusal> {
        let id = grantee.id.clone();
        let children = self
            .tokens
            .change_state(move |state| state.children(&id))
            .await
            .map_err(state_unavailable)?;
        let now = self.tokens.now();
        let shown = |(token, usage, revoked_at): ListedToken| {
            let token = Arc::new(token);
            let child = SeenToken {
                kept: KeptToken::Issued(token.clone()),
                usage,
                revoked_at,
            };
            let fate = self.tokens.fate(&child, serving.rules.in_force(), now);
            let mut shown = told(&token);
            let used_at = usage.last_used_at.map(|at| at.to_string());
            put(&mut shown, "state", fate.as_str().into());
            put(&mut shown, "last_used_at", used_at.into());
            let left = token
                .limits
                .max_uses
                .map(|most| most.saturating_sub(usage.used));
            put(&mut shown, "uses_left", left.into());
            shown
        };
        let children: Vec<_> = children.into_iter().map(shown).collect();
        Ok(json_answer(&json!({ "tokens": children })))
    }

    /// Ends a child of who asks, or who asks.
    pub(super) async fn end(
        &self,
        asked: &OwnRequest<'_>,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let named = asked.target.path().rsplit('/').next().unwrap_or_default();
        let own = &asked.grantee.id;
        let id = if named == "self" || named == own.as_str() {
            own.clone()
        } else {
            self.child_named(named, own).await?
        };
        self.on_record_first(line).await?;
        let now = self.tokens.now().latest;
        self.tokens
            .revoke(id, now)
            .await
            .map_err(state_unavailable)?;
        Ok(made(StatusCode::NO_CONTENT, HeaderMap::new(), Vec::new()))
    }

    /// A child of a token by its id. That it is another's, or nobody's, is told alike.
    async fn child_named(&self, named: &str, parent: &TokenId) -> Result<TokenId, Refusal> {
        let id: TokenId = named.parse().map_err(|_| Refusal::hidden())?;
        let entry = self.tokens.entry(&id, false).await;
        let entry = entry.map_err(state_unavailable)?.unwrap_or_default();
        let issued = entry.issued.as_deref();
        let maker = issued.and_then(|issued| issued.maker.as_deref());
        let of_parent = maker.and_then(Maker::parent);
        let is_child = of_parent.is_some_and(|it| it.id == *parent);
        is_child.then_some(id).ok_or_else(Refusal::hidden)
    }
}

async fn wish(
    headers: &HeaderMap,
    mut body: Incoming,
    patience: std::time::Duration,
) -> Result<ChildWish, Refusal> {
    readable(headers)?;
    let read = upstream::read(&mut body, MOST_BYTES, patience).await;
    let (bytes, whole) = read.map_err(|failure| unreadable(failure, MOST_BYTES))?;
    if !whole {
        let why = format!("the body is larger than {MOST_BYTES} bytes; say less of the child");
        return Err(Refusal::new(Code::BodyTooLarge, why));
    }
    ChildWish::of_json(&Json::read(&bytes)?)
}

fn told(token: &Issued) -> Value {
    let limits = &token.limits;
    let sources = limits.sources.as_ref();
    let sources = sources.map(|all| all.iter().map(Source::to_string).collect::<Vec<_>>());
    json!({
        "id": token.id.as_str(),
        "name": token.name,
        "roles": &*token.roles,
        "created_at": token.created_at.to_string(),
        "expires_at": limits.expires_at.map(|end| end.to_string()),
        "max_uses": limits.max_uses,
        "rate": limits.rate.map(|rate| rate.to_string()),
        "sources": sources,
    })
}

/// Puts a member into what is an object.
fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

fn answer(token: &SubToken, issued: &Issued) -> Answer {
    let mut body = told(issued);
    put(&mut body, "token", token.secret.expose().into());
    let mut answer = json_answer(&body);
    *answer.status_mut() = StatusCode::CREATED;
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, no_store);
    answer
}

fn not_handed_on(why: &str) -> Refusal {
    Refusal::new(Code::Delegation, why)
}
