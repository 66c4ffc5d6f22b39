//! Whether all is well, on first sight.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::Console;
use super::history::Minute;
use super::page::{self, Frame, badge, time_text};
use crate::admin::Admin;
use crate::config::{AuditSink, Listen};
use crate::rules::Rules;
use crate::rules::Serving;
use crate::upstream::RealTokenStanding;

/// What `check` warns of in the policy in force, kept for as long as that is.
#[derive(Default)]
pub(super) struct Warnings(Mutex<Option<(u64, Arc<[String]>)>>);

impl Warnings {
    /// Those of these rules.
    pub async fn of(&self, serving: &Arc<Serving>) -> Arc<[String]> {
        let generation = serving.rules.generation;
        let locked = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = locked().clone().filter(|(of, _)| *of == generation);
        if let Some((_, warnings)) = known {
            return warnings;
        }
        let serving = serving.clone();
        let looking =
            tokio::task::spawn_blocking(move || crate::operate::policy_warnings(&serving.rules));
        let found: Arc<[String]> = looking.await.unwrap_or_default().into();
        *locked() = Some((generation, found.clone()));
        found
    }
}

impl Console {
    /// All that the overview shows.
    pub(super) async fn overview(&self, admin: &Admin) -> Value {
        let serving = self.current.get();
        let now = Timestamp::now();
        let ready = admin.ready_json().await;
        let warnings = self.warnings.of(&serving).await;
        let rules = &serving.rules;
        let minutes = self.history.minutes(now);
        let sum = |of: fn(&Minute) -> u64| minutes.iter().map(of).sum::<u64>();
        let metrics = self.current.metrics();
        let (added, upstream) = (metrics.added_quantiles(), metrics.upstream_quantiles());
        let tokens: serde_json::Map<_, _> = self
            .tokens
            .count(rules.in_force(), self.tokens.now())
            .by_state
            .into_iter()
            .map(|(state, count)| (state.to_owned(), count.into()))
            .collect();
        json!({
            "ready": ready,
            "version": env!("CARGO_PKG_VERSION"),
            "started_at": format!("{:.0}", admin.started()),
            "listeners": rules.settings.listen.iter().map(listener).collect::<Value>(),
            "policy": {
                "file": rules.settings.policy.display().to_string(),
                "sha256": rules.policy_hash,
                "loaded_at": format!("{:.0}", serving.loaded),
                "roles": rules.policy.roles.len(),
                "warnings": *warnings,
            },
            "accounts": accounts(rules),
            "requests": {
                "minutes": minutes.iter().map(minute).collect::<Value>(),
                "allowed": sum(|minute| minute.allowed),
                "refused": sum(|minute| minute.refused),
            },
            "latency_ms": { "added": added, "upstream": upstream },
            "tokens": tokens,
            "record": {
                "sink": match &rules.settings.audit.sink {
                    AuditSink::Stdout => "stdout".to_owned(),
                    AuditSink::File(path) => path.display().to_string(),
                },
                "sound": self.audit.is_sound(),
                "in_memory_since": self.history.since(),
                "passed_over": self.history.passed_over(),
            },
        })
    }
}

fn minute(minute: &Minute) -> Value {
    let at = Timestamp::from_second(minute.number.saturating_mul(60)).unwrap_or_default();
    json!({ "at": format!("{at:.0}"), "allowed": minute.allowed, "refused": minute.refused })
}

fn listener(listen: &Listen) -> Value {
    match listen {
        Listen::Plain(place, ..) => json!({ "address": place.to_string(), "tls": false }),
        Listen::Tls(place, _, files) => {
            json!({ "address": place.to_string(), "tls": true, "client_certificates": files.client_ca.is_some() })
        }
        Listen::Unix(path) => json!({ "address": path.display().to_string(), "tls": false }),
    }
}

fn accounts(rules: &Rules) -> Value {
    let mut all: Vec<_> = rules.real_tokens().collect();
    all.sort_by(|a, b| a.account.cmp(&b.account));
    let one = |token: &&Arc<crate::upstream::RealToken>| {
        let standing = token.standing();
        json!({
            "name": token.account,
            "accepted": standing == RealTokenStanding::Accepted,
            "standing": if standing == RealTokenStanding::Accepted { "accepted".to_owned() } else { standing.to_string() },
            "ratelimit_remaining": token.ratelimit_remaining(),
        })
    };
    all.iter().map(one).collect()
}

/// The overview as a page.
pub(super) fn page(overview: &Value, frame: &Frame<'_>) -> Markup {
    let told = StatusJson(overview);
    let warnings = told.list("/policy/warnings");
    let content = html! {
        h1 { "Overview" }
        (verdict(&told))
        div.cards {
            (requests(&told))
            (tokens_and_accounts(&told))
            (files(&told))
        }
        section {
            h2 { "What " a href="/check" { code { "tidegate check" } } " warns of" }
            @if warnings.is_empty() {
                p.empty { "Nothing. The policy in force has no grant that is wider than it looks." }
            } @else {
                ul.remarks { @for warning in warnings { li { (warning.as_str().unwrap_or_default()) } } }
            }
        }
    };
    page::whole("Overview", "/", Some(frame), &content)
}

/// What is told, by JSON pointers.
struct StatusJson<'t>(&'t Value);

impl<'t> StatusJson<'t> {
    fn text(&self, pointer: &str) -> &'t str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    fn number(&self, pointer: &str) -> u64 {
        self.0
            .pointer(pointer)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    fn list(&self, pointer: &str) -> &'t [Value] {
        self.0
            .pointer(pointer)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    fn is(&self, pointer: &str) -> bool {
        self.0.pointer(pointer) == Some(&Value::Bool(true))
    }
}

fn verdict(told: &StatusJson<'_>) -> Markup {
    html! {
        @if told.is("/ready/ready") {
            p.verdict.good { strong { "All is well." } " Requests are served, and nothing is in the way." }
        } @else {
            div.verdict.bad role="alert" {
                strong { "Not all is well." }
                ul { @for problem in told.list("/ready/problems") { li { (problem.as_str().unwrap_or_default()) } } }
            }
        }
        @for warning in told.list("/ready/warnings") {
            p.verdict.caution { (warning.as_str().unwrap_or_default()) }
        }
    }
}

fn requests(told: &StatusJson<'_>) -> Markup {
    html! {
        section {
            h2 { "Requests, the last hour" }
            div.numbers {
                p { span.big { (told.number("/requests/allowed")) } " let through" }
                p { span.big { (told.number("/requests/refused")) } a href="/refusals" { "refused" } }
            }
            (sparkline(told.list("/requests/minutes")))
        }
        section {
            h2 { "Latency" }
            dl {
                dt { "added by tidegate" }
                dd { (quantiles(told.0.pointer("/latency_ms/added"))) }
                dt { "of the API" }
                dd { (quantiles(told.0.pointer("/latency_ms/upstream"))) }
            }
        }
    }
}

fn tokens_and_accounts(told: &StatusJson<'_>) -> Markup {
    let tokens = told.0.get("tokens").and_then(Value::as_object);
    html! {
        section {
            h2 { "Sub-tokens" }
            dl {
                @for (state, count) in tokens.into_iter().flatten() {
                    dt { a href={ "/tokens?state=" (state) } { (state.replace('_', " ")) } }
                    dd { (count.as_u64().unwrap_or_default()) }
                }
            }
        }
        section {
            h2 { "Accounts" }
            dl {
                @for account in told.list("/accounts").iter().map(StatusJson) {
                    dt { (account.text("/name")) }
                    dd {
                        @if account.is("/accepted") { (badge("good", "accepted")) } @else { (badge("bad", "not accepted")) " " (account.text("/standing")) }
                        @if let Some(left) = account.0.get("ratelimit_remaining").and_then(Value::as_u64) {
                            " " (left) " requests left"
                        }
                    }
                }
            }
        }
    }
}

fn files(told: &StatusJson<'_>) -> Markup {
    html! {
        section {
            h2 { "Policy" }
            dl {
                dt { "file" } dd { code { (told.text("/policy/file")) } }
                dt { "in force since" } dd { (time_text(told.text("/policy/loaded_at"))) }
                dt { "roles" } dd { a href="/roles" { (told.number("/policy/roles")) } }
                dt { "sha-256" } dd { code.hash { (told.text("/policy/sha256")) } }
            }
        }
        section {
            h2 { "Record" }
            dl {
                dt { "goes to" } dd { code { (told.text("/record/sink")) } }
                dt { "state" }
                dd { @if told.is("/record/sound") { (badge("good", "sound")) } @else { (badge("bad", "can't be written")) } }
                dt { "in memory since" }
                dd { @match told.text("/record/in_memory_since") { "" => "no line yet", since => (time_text(since)) } }
            }
        }
        section {
            h2 { "Listeners" }
            dl {
                @for listener in told.list("/listeners").iter().map(StatusJson) {
                    dt { code { (listener.text("/address")) } }
                    dd {
                        @if listener.is("/tls") { "TLS" } @else { "plain" }
                        @if listener.is("/client_certificates") { ", client certificates" }
                    }
                }
                dt { "running since" } dd { (time_text(told.text("/started_at"))) }
            }
        }
    }
}

fn quantiles(of: Option<&Value>) -> Markup {
    let told = |name: &str| {
        let value = of.and_then(|of| of.get(name)).and_then(Value::as_f64);
        value.map_or_else(|| "–".to_owned(), |value| format!("{value} ms"))
    };
    html! { "half under " (told("p50")) ", 99\u{a0}% under " (told("p99")) }
}

/// Requests by the minute: what was let through below, what was refused above.
fn sparkline(minutes: &[Value]) -> Markup {
    let of =
        |minute: &Value, name: &str| minute.get(name).and_then(Value::as_u64).unwrap_or_default();
    let both = |minute: &Value| of(minute, "allowed") + of(minute, "refused");
    let most = minutes.iter().map(both).max().unwrap_or_default().max(1);
    let height = |count: u64| count * 40 / most;
    html! {
        svg.spark viewBox="0 0 240 40" role="img" aria-label="Requests by the minute, over the last hour" preserveAspectRatio="none" {
            @for (index, minute) in minutes.iter().enumerate() {
                @let (allowed, refused) = (height(of(minute, "allowed")), height(of(minute, "refused")));
                rect.allowed x=(index * 4) y=(40 - allowed) width="3" height=(allowed) {}
                rect.refused x=(index * 4) y=(40u64.saturating_sub(allowed + refused)) width="3" height=(refused) {}
            }
        }
    }
}
