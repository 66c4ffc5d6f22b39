//! What is granted and was not needed. The record of weeks is read for that, which takes longer than anybody waits for a page: it is read
//! once for all who ask, away from requests, and what came of it is told for a while.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::page::{self, Frame, badge, time_text};
use super::reply::{Reply, Trouble};
use super::tokens::state;
use super::{Console, ConsoleRequest};
use crate::audit::text;
use crate::operate::unneeded_in_force;
use crate::rules::Serving;
use crate::units::Span;

/// What was found of the policy in force, or is being looked for.
#[derive(Default)]
pub(super) struct Unneeded(Mutex<Option<Looked>>);

/// For which policy and how long back, since when, and what came of it.
struct Looked {
    of: (u64, Span),
    begun: Instant,
    found: Option<Result<Value, String>>,
}

/// How long what was found is told.
const FRESH: Duration = Duration::from_secs(600);
/// How long it is waited for; then it is told that it goes on.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How far back it is looked, if nothing else is said.
const USUAL: &str = "30d";
/// How many things of a kind a page shows.
const MOST: usize = 200;

impl Unneeded {
    fn locked(&self) -> MutexGuard<'_, Option<Looked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody must begin to look.
    fn begins(&self, of: (u64, Span)) -> Result<bool, Trouble> {
        let mut looked = self.locked();
        match &*looked {
            Some(Looked {
                found: None,
                of: other,
                ..
            }) if *other != of => Err(Trouble::Unable(
                "the record is being read for another such question; ask again when that is done"
                    .to_owned(),
            )),
            Some(Looked { found: None, .. }) => Ok(false),
            Some(known) if known.of == of && known.begun.elapsed() < FRESH => Ok(false),
            Some(_) | None => {
                *looked = Some(Looked {
                    of,
                    begun: Instant::now(),
                    found: None,
                });
                Ok(true)
            }
        }
    }

    fn found(&self, of: (u64, Span)) -> Option<Result<Value, String>> {
        let looked = self.locked();
        let looked = looked.as_ref().filter(|looked| looked.of == of);
        looked.and_then(|looked| looked.found.clone())
    }
}

fn found(serving: &Serving, span: Span) -> Result<Value, String> {
    let since = Timestamp::now().checked_sub(span.duration());
    let since = since.map_err(|error| error.to_string())?;
    let state = state(&serving.rules).map_err(|trouble| trouble.told().2)?;
    let found = unneeded_in_force(&serving.rules, &*state, since);
    let found = found.map_err(|failed| failed.in_a_line())?;
    let times = found.times.as_ref();
    let mut told = json!(found);
    if let Some(members) = told.as_object_mut() {
        members.insert("requests".to_owned(), found.requests.into());
        members.insert("unreadable".to_owned(), found.unreadable.into());
        members.insert("since".to_owned(), format!("{since:.6}").into());
        members.insert(
            "record_since".to_owned(),
            times.map(|(first, _)| first.clone()).into(),
        );
    }
    Ok(told)
}

impl Console {
    /// What is granted and was not needed; nothing yet, while the record is read.
    pub(super) async fn unused(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
    ) -> Result<Option<Value>, Trouble> {
        let text = asked.query.one("since").unwrap_or(USUAL);
        let span = text.parse::<Span>();
        let span =
            span.map_err(|error| Trouble::Bad(format!("`since` can't be `{text}`: {error}")))?;
        let of = self.look(span)?;
        let begun = Instant::now();
        loop {
            match self.unneeded.found(of) {
                Some(found) => return found.map(Some).map_err(Trouble::Unable),
                None if begun.elapsed() > PATIENCE => return Ok(None),
                None => tokio::time::sleep(PATIENCE / 30).await,
            }
        }
    }

    /// Looks for it, where nobody did lately; for which policy and how long back.
    fn look(self: &Arc<Self>, span: Span) -> Result<(u64, Span), Trouble> {
        let serving = self.current.get();
        let of = (serving.rules.generation, span);
        if self.unneeded.begins(of)? {
            let console = self.clone();
            tokio::spawn(async move {
                let looking = tokio::task::spawn_blocking(move || found(&serving, span));
                let lost = |_| Err("it could not be done; the log says why".to_owned());
                let found = looking.await.unwrap_or_else(lost);
                if let Some(looked) = console.unneeded.locked().as_mut() {
                    looked.found = Some(found);
                }
            });
        }
        Ok(of)
    }

    /// What of one role was not needed; nothing while the record is read for that, which nobody is kept waiting for.
    pub(super) fn unused_of(self: &Arc<Self>, role: &str) -> Option<Value> {
        let of = self.look(USUAL.parse().ok()?).ok()?;
        let found = self.unneeded.found(of)?.ok()?;
        Some(of_role(found, role))
    }

    pub(super) async fn unused_for_programs(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
    ) -> Result<Reply, Trouble> {
        Ok(match self.unused(asked).await? {
            Some(found) => Reply::Json(StatusCode::OK, found),
            None => Reply::Json(StatusCode::ACCEPTED, json!({ "reading": true })),
        })
    }

    pub(super) async fn unused_page(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
    ) -> Result<Reply, Trouble> {
        let found = self.unused(asked).await?;
        let content = html! {
            h1 { "Unused" }
            @match &found {
                None => {
                    section role="status" {
                        p { "The record is being read, which takes a while where it is long. " a href=(asked.target) { "Look again" } "." }
                    }
                }
                Some(found) => (told(found)),
            }
            p.hint { "On the machine: " code { "tidegate unused --since 30d" } }
        };
        let page = page::whole("Unused", "/roles", Some(frame), &content);
        Ok(Reply::Page(StatusCode::OK, page))
    }
}

/// What of it is about one role. Which tokens were never used is told with them.
fn of_role(mut found: Value, role: &str) -> Value {
    let place = format!("{role}.");
    let is_its = |one: &Value| one == role || text(one, "grant").starts_with(&place);
    if let Some(members) = found.as_object_mut() {
        members.remove("tokens");
        for list in members.values_mut().filter_map(Value::as_array_mut) {
            list.retain(is_its);
        }
    }
    found
}

/// What was found, kind by kind.
pub(super) fn told(found: &Value) -> Markup {
    let all = |name: &str| {
        found
            .get(name)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    };
    let kinds = ["tokens", "roles", "grants", "scopes", "wildcards"];
    let count: usize = kinds.iter().map(|kind| all(kind).len()).sum();
    let requests = found
        .get("requests")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    html! {
        section role="status" {
            h2 { @if count == 0 { (badge("good", "everything was needed")) } @else { (badge("caution", &format!("{count} not needed"))) } }
            p {
                "By " (requests) " requests that were let through"
                @if !text(found, "record_since").is_empty() { "; the record has them from " (time_text(text(found, "record_since"))) " on, and was asked from " (time_text(text(found, "since"))) " on" }
                @else { "; the record has none since " (time_text(text(found, "since"))) }
                ". What a role lacks nobody misses: take it out, and let " a href="/diff" { "a comparison" } " say what that changes."
            }
        }
        @if !all("tokens").is_empty() {
            section { h2 { "Sub-tokens never used" } ul.remarks {
                @for token in all("tokens").iter().take(MOST) { li {
                    a href={ "/tokens/" (text(token, "id")) } { (text(token, "name")) }
                    @if !text(token, "created_at").is_empty() { ", issued " (time_text(text(token, "created_at"))) }
                } }
                (more(all("tokens")))
            } }
        }
        @if !all("roles").is_empty() {
            section { h2 { "Roles that no sub-token has" } ul.remarks {
                @for role in all("roles").iter().take(MOST) { li { (role.as_str().unwrap_or_default()) } }
                (more(all("roles")))
            } }
        }
        @for (kind, title) in [("grants", "Grants that no request needed"), ("scopes", "Scopes that no request needed"), ("wildcards", "Wildcards that could be less")] {
            @if !all(kind).is_empty() {
                section { h2 { (title) } ul.remarks {
                    @for one in all(kind).iter().take(MOST) { li {
                        code { (text(one, "grant")) } " " span.hint { (text(one, "at")) }
                        @if kind == "scopes" { ": " code { (text(one, "scope")) } }
                        @if kind == "wildcards" { ": " code { (text(one, "wildcard")) } (instead(one)) }
                    } }
                    (more(all(kind)))
                } }
            }
        }
    }
}

/// What a wildcard could be.
fn instead(wildcard: &Value) -> Markup {
    let scopes = page::texts(wildcard, "scopes");
    html! { @if scopes.is_empty() { ", of which nothing was needed" } @else { " could be " code { (scopes) } } }
}

fn more(all: &[Value]) -> Markup {
    html! { @if all.len() > MOST { li { "and " (all.len() - MOST) " more" } } }
}
