//! Children: sub-tokens that a sub-token makes, which may less than it and end with it.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::authenticate::{Grantee, state_unavailable, still};
use super::exchange::no_randomness;
use super::final_line::FinalLine;
use super::gate::Gate;
use super::own::{Asked, json_answer};
use super::question::{readable, unreadable};
use super::serving::Serving;
use crate::audit;
use crate::policy::{Delegate, Limits, Source, read_narrowing};
use crate::refusal::{Code, Refusal};
use crate::request::Json;
use crate::response::{Answer, made};
use crate::state::{Issued, Listed, Maker, Parent};
use crate::token::{Admission, SubToken, TokenId, no_name, standing};
use crate::upstream;

/// What was asked for.
struct Wish {
    name: Option<String>,
    seconds: u64,
    roles: Option<Vec<String>>,
    /// `only`, `scopes`, `requests` and `actions`, as they were written.
    narrowing: Option<String>,
    max_uses: Option<u64>,
    rate: Option<crate::units::Rate>,
    sources: Option<Vec<Source>>,
}

/// The most bytes of a body: what a token says of itself is kept, and read whenever it is used.
const MOST_BYTES: usize = 16 << 10;
const NARROWING: [&str; 4] = ["only", "scopes", "requests", "actions"];
const LIMITS: [&str; 6] = ["name", "expires_in", "roles", "max_uses", "rate", "sources"];

impl Gate {
    /// Makes a child, and puts that on record before it is kept.
    pub(super) async fn make_child(
        &self,
        asked: Asked<'_>,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        let Asked {
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
        let wish = Wish::read(headers, body, patience).await?;
        // The body may have taken its time: who held it back must not outlive an end, or a policy.
        let serving = self.serving();
        let grantee = still(&self.tokens, &grantee, client.origin(), &serving, line).await?;
        let (token, issued, most) = self.child(&wish, &grantee, &serving)?;
        line.record.created = Some(audit::Token {
            id: issued.id.to_string(),
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
        let written = self.audit.written(line.decision_line()).await;
        written.map_err(|_| {
            Refusal::new(
                Code::AuditUnavailable,
                "tidegate can't write its audit record, so it changes nothing; tell who runs tidegate",
            )
        })?;
        line.permitted = true;
        Ok(())
    }

    /// The child, yet to be kept, and how many there may be.
    fn child(
        &self,
        wish: &Wish,
        grantee: &Grantee,
        serving: &Serving,
    ) -> Result<(SubToken, Issued, u32), Refusal> {
        let of_policy = &serving.rules.policy.roles;
        let delegate = |role: &String| of_policy.get(role).and_then(|role| role.delegate);
        let roles = wish.roles_of(grantee, &delegate)?;
        let all: Vec<Delegate> = roles.iter().filter_map(&delegate).collect();
        let ttl = all
            .iter()
            .map(|one| one.ttl.seconds())
            .min()
            .unwrap_or_default();
        let most = all
            .iter()
            .map(|one| one.count.get())
            .min()
            .unwrap_or_default();
        if wish.seconds > ttl {
            return Err(not_handed_on(&format!(
                "a child of this sub-token lives {ttl} s at most (`delegate.ttl` of its roles); ask for fewer `expires_in`"
            )));
        }
        if let Some(text) = &wish.narrowing {
            read_narrowing(text, &serving.rules.catalog).map_err(|mistakes| {
                let (_, found) = mistakes.into_parts();
                let found: Vec<_> = found.into_iter().map(|(_, what)| what).collect();
                invalid(&found.join("; "))
            })?;
            let bound = serving
                .rules
                .grants_within(&roles, grantee.kept.vars(), Some(text));
            bound.map_err(|_| {
                invalid("what it says of itself can't be built; make its patterns shorter")
            })?;
        }
        let token = SubToken::generate().map_err(|_| no_randomness())?;
        let parent = grantee.kept.name();
        let name = format!(
            "{parent}/{}",
            wish.name.as_deref().unwrap_or(token.id.as_str())
        );
        if let Some(why) = no_name(&name) {
            return Err(invalid(&format!("`{name}` is no name: {why}")));
        }
        let now = grantee.now();
        let ends = now.saturating_add(std::time::Duration::from_secs(wish.seconds));
        let ends = ends.into_iter().chain(grantee.ends).min();
        let issued = Issued {
            id: token.id.clone(),
            name,
            hash: token.hash(),
            old: None,
            roles: roles.into(),
            vars: grantee.kept.vars().clone(),
            limits: Arc::new(Limits {
                expires_at: ends,
                max_uses: wish.max_uses,
                rate: wish.rate,
                sources: wish.sources.clone(),
                ..Limits::default()
            }),
            created_at: now,
            about: None,
            ceiling: None, // it may less than its parent, never more
            maker: Some(Arc::new(Maker::Parent(Parent {
                id: grantee.id.clone(),
                name: parent.to_owned(),
                hash: grantee.hash(),
                narrowing: wish.narrowing.clone(),
            }))),
        };
        Ok((token, issued, most))
    }

    /// The children of who asks, whichever secret they were made by.
    pub(super) async fn list_children(&self, grantee: &Grantee) -> Result<Answer, Refusal> {
        let id = grantee.id.clone();
        let children = self
            .tokens
            .change_state(move |state| state.children(&id))
            .await
            .map_err(state_unavailable)?;
        let now = grantee.now();
        let shown = |(token, usage, revoked_at): &Listed| {
            let admission = Admission {
                limits: &token.limits,
                since: Some(token.created_at),
                revoked_at: *revoked_at,
                usage: *usage,
            };
            let mut shown = told(token);
            shown["state"] = standing(&admission, now).as_str().into();
            shown["last_used_at"] = usage.last_used_at.map(|at| at.to_string()).into();
            let left = token
                .limits
                .max_uses
                .map(|most| most.saturating_sub(usage.used));
            shown["uses_left"] = left.into();
            shown
        };
        let children: Vec<_> = children.iter().map(shown).collect();
        Ok(json_answer(&json!({ "tokens": children })))
    }

    /// Ends a child of who asks, or who asks.
    pub(super) async fn end(
        &self,
        asked: &Asked<'_>,
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

impl Wish {
    async fn read(
        headers: &HeaderMap,
        mut body: Incoming,
        patience: std::time::Duration,
    ) -> Result<Self, Refusal> {
        readable(headers)?;
        let read = upstream::read(&mut body, MOST_BYTES, patience).await;
        let (bytes, whole) = read.map_err(|failure| unreadable(failure, MOST_BYTES))?;
        if !whole {
            let why = format!("the body is larger than {MOST_BYTES} bytes; say less of the child");
            return Err(Refusal::new(Code::BodyTooLarge, why));
        }
        Self::of_json(&Json::read(&bytes)?)
    }

    fn of_json(body: &Json) -> Result<Self, Refusal> {
        let Json::Map(members) = body else {
            return Err(invalid("the body is no JSON object"));
        };
        let known = |key: &str| LIMITS.contains(&key) || NARROWING.contains(&key);
        if let Some((key, _)) = members.iter().find(|(key, _)| !known(key)) {
            let key: String = key.chars().take(64).collect();
            let all = [&LIMITS[..], &NARROWING].concat().join("`, `");
            return Err(invalid(&format!(
                "unknown member `{key}`; there are `{all}`"
            )));
        }
        let said = |key: &str| body.member(key).filter(|value| **value != Json::Null);
        let number = |key: &str| match said(key) {
            None => Ok(None),
            Some(Json::Number(text)) => match text.parse::<u64>() {
                Ok(number) if number > 0 => Ok(Some(number)),
                Ok(_) | Err(_) => Err(invalid(&format!("`{key}` is a whole number above 0"))),
            },
            Some(_) => Err(invalid(&format!("`{key}` is a whole number above 0"))),
        };
        let text = |key: &str| match said(key) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(&format!("`{key}` is a text"))),
        };
        let texts = |key: &str| match said(key) {
            None => Ok(None),
            Some(Json::List(items)) => {
                let texts = items.iter().map(|item| match item {
                    Json::Text(text) => Some(text.clone()),
                    _ => None,
                });
                let texts = texts.collect::<Option<Vec<_>>>();
                texts
                    .map(Some)
                    .ok_or_else(|| invalid(&format!("`{key}` is a list of texts")))
            }
            Some(_) => Err(invalid(&format!("`{key}` is a list of texts"))),
        };
        let seconds = number("expires_in")?;
        let parsed = |key, text: &str, why: &dyn std::fmt::Display| {
            invalid(&format!("`{key}` can't be `{text}`: {why}"))
        };
        let rate = text("rate")?.map(|text| {
            text.parse()
                .map_err(|why: crate::units::NoAmount| parsed("rate", &text, &why))
        });
        let sources = texts("sources")?.map(|sources| {
            let sources = sources
                .iter()
                .map(|text| text.parse().map_err(|why| parsed("sources", text, &why)));
            sources.collect::<Result<Vec<Source>, Refusal>>()
        });
        let narrowing: Vec<_> = members
            .iter()
            .filter(|(key, _)| NARROWING.contains(&key.as_str()))
            .cloned()
            .collect();
        let narrowing = (!narrowing.is_empty()).then(|| {
            let text = Json::Map(narrowing).write();
            String::from_utf8(text).unwrap_or_default() // what was read as text is written as text
        });
        Ok(Self {
            name: text("name")?,
            seconds: seconds.ok_or_else(|| {
                invalid("`expires_in` is missing: how many seconds the child lives")
            })?,
            roles: texts("roles")?,
            narrowing,
            max_uses: number("max_uses")?,
            rate: rate.transpose()?,
            sources: sources.transpose()?,
        })
    }

    /// The roles that the child gets: those of its parent that are handed on, or of these those that were asked for.
    fn roles_of(
        &self,
        grantee: &Grantee,
        delegate: &impl Fn(&String) -> Option<Delegate>,
    ) -> Result<Vec<String>, Refusal> {
        let held = grantee.kept.roles();
        let handed_on: Vec<_> = held
            .iter()
            .filter(|role| delegate(role).is_some())
            .cloned()
            .collect();
        if handed_on.is_empty() {
            return Err(not_handed_on(
                "no role of this sub-token lets it make others (`delegate`); ask who runs tidegate",
            ));
        }
        let Some(wanted) = &self.roles else {
            return Ok(handed_on);
        };
        if wanted.is_empty() {
            return Err(invalid(
                "`roles` is empty; name some of this sub-token's, or leave it out",
            ));
        }
        let known = |role: &&String| !handed_on.contains(role);
        if let Some(other) = wanted.iter().find(known) {
            let why = format!(
                "this sub-token can't hand on the role `{other}`; it hands on {}",
                handed_on.join(", ")
            );
            return Err(not_handed_on(&why));
        }
        Ok(handed_on
            .into_iter()
            .filter(|role| wanted.contains(role))
            .collect())
    }
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

fn answer(token: &SubToken, issued: &Issued) -> Answer {
    let mut body = told(issued);
    body["token"] = token.secret.expose().into();
    let mut answer = json_answer(&body);
    *answer.status_mut() = StatusCode::CREATED;
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, no_store);
    answer
}

fn invalid(why: &str) -> Refusal {
    Refusal::new(Code::BodyUnreadable, why)
}

fn not_handed_on(why: &str) -> Refusal {
    Refusal::new(Code::Delegation, why)
}
