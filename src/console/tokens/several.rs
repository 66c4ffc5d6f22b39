//! Several sub-tokens that end at once: what leaked with a role, an owner or a rule of `trust`.

use std::fmt::Write;
use std::sync::Arc;

use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::super::form::Form;
use super::super::page::{self, Frame, field, shell, token_field};
use super::super::reply::Trouble;
use super::super::sign_in::ConsoleOperator;
use super::super::{Console, ConsoleRequest, Done};
use super::{aside, bad, state, unable};
use crate::audit::{Resource, text};
use crate::operate::{Several, all_shown};
use crate::rules::Rules;
use crate::token::TokenId;

/// How many are named in an answer.
const NAMED: usize = 200;
/// How many a line of the record has.
const IN_A_LINE: usize = 500;

/// Which are meant, and how many were shown to be.
pub(super) struct Asking {
    several: Option<Several>,
    count: Option<usize>,
}

impl Asking {
    pub(super) fn of_form(form: &Form) -> Result<Self, Trouble> {
        let one = |name: &str| form.one(name).map(str::to_owned);
        let count = one("count").map(|text| text.parse().map_err(|_| no_count()));
        Ok(Self {
            several: Several::new(
                form.all("role").map(str::to_owned).collect(),
                one("owner"),
                one("trust"),
            ),
            count: count.transpose()?,
        })
    }

    /// Whether something says which are meant.
    pub(super) fn says_which(&self) -> bool {
        self.several.is_some()
    }

    /// Whether it says how many were shown.
    pub(super) fn has_count(&self) -> bool {
        self.count.is_some()
    }

    /// The same, only to be shown.
    pub(super) fn shown_first(self) -> Self {
        Self {
            count: None,
            ..self
        }
    }

    pub(super) fn of_json(given: &Value) -> Result<Self, Trouble> {
        let (mut roles, mut owner, mut trust, mut count) = (Vec::new(), None, None, None);
        for (key, value) in given.as_object().into_iter().flatten() {
            let wrong = || {
                Trouble::Bad(format!(
                    "`{key}` has no value that it can have; the description at /api/v1/openapi.json says which"
                ))
            };
            let string = || value.as_str().map(str::to_owned).ok_or_else(wrong);
            match key.as_str() {
                _ if value.is_null() => {}
                "roles" => {
                    for role in value.as_array().ok_or_else(wrong)? {
                        roles.push(role.as_str().ok_or_else(wrong)?.to_owned());
                    }
                }
                "owner" => owner = Some(string()?),
                "trust" => trust = Some(string()?),
                "count" => {
                    let told = value.as_u64().and_then(|count| usize::try_from(count).ok());
                    count = Some(told.ok_or_else(no_count)?);
                }
                _ => {
                    return Err(Trouble::Bad(format!(
                        "`{key}` is nothing by which sub-tokens end; there are `roles`, `owner`, `trust` and `count`"
                    )));
                }
            }
        }
        Ok(Self {
            several: Several::new(roles, owner, trust),
            count,
        })
    }
}

pub(super) fn no_count() -> Trouble {
    Trouble::Bad("`count` is how many were shown".to_owned())
}

/// Those that are meant, by name.
fn meant(several: &Several, rules: &Rules) -> Result<Vec<(TokenId, String)>, Trouble> {
    let now = Timestamp::now();
    let state = state(rules)?;
    let all = state.list().map_err(unable)?;
    let all = all_shown(all, Some(&*state), Some(&rules.policy), now);
    let meant = all.map_err(|failed| bad(&failed))?.into_iter();
    let meant = meant.filter(|token| several.has(token, now));
    let mut meant: Vec<_> = meant.map(|token| (token.id, token.name)).collect();
    meant.sort_by(|a, b| (&a.1, a.0.as_str()).cmp(&(&b.1, b.0.as_str())));
    Ok(meant)
}

impl Console {
    /// Ends those that are meant, where it was shown before how many that are; else shows it.
    pub(super) async fn revoke_several(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        operator: &ConsoleOperator,
        asking: Asking,
    ) -> Result<Value, Trouble> {
        let Asking { several, count } = asking;
        let several = several.ok_or_else(|| {
            Trouble::Bad("nothing says which sub-tokens are meant; give a role, an owner or a rule of `trust`".to_owned())
        })?;
        let serving = self.current.get();
        let these = several.to_string();
        let rules = serving.clone();
        let found = aside(move || meant(&several, &rules.rules)).await?;
        let told = |revoked: bool| {
            let one = |(id, name): &(TokenId, String)| json!({ "id": id.as_str(), "name": name });
            let named: Value = found.iter().take(NAMED).map(one).collect();
            json!({ "count": found.len(), "tokens": named, "revoked": revoked })
        };
        let Some(count) = count else {
            return Ok(told(false));
        };
        if count != found.len() {
            return Err(Trouble::Taken(format!(
                "{count} were shown, and meanwhile there are {} living sub-tokens {these}; nothing was revoked; look again",
                found.len()
            )));
        }
        if found.is_empty() {
            return Ok(told(true));
        }
        let ids: Vec<_> = found.iter().map(|(id, _)| id.clone()).collect();
        let what = format!("revokes the {count} living sub-tokens {these}");
        let line = |ids: &[TokenId]| Done {
            what: what.clone(),
            resources: ids.iter().map(touched).collect(),
        };
        for some in ids.chunks(IN_A_LINE) {
            self.record(asked, operator, &line(some)).await?;
        }
        let kept = aside(move || {
            let mut state = state(&serving.rules)?;
            state.revoke_all(&ids, Timestamp::now()).map_err(unable)
        })
        .await;
        self.undone(asked, operator, (&Done::new(what), kept))?;
        Ok(told(true))
    }
}

fn touched(id: &TokenId) -> Resource {
    Resource::named("sub_token", Some(id.to_string()), None)
}

/// The page on which it is said which are meant, and shown how many that are, before they end.
pub(super) fn page(
    asked: &Form,
    told: Option<&Result<Value, Trouble>>,
    frame: &Frame<'_>,
) -> Markup {
    let content = html! {
        p { a href="/tokens" { "All sub-tokens" } }
        h1 { "Revoke several" }
        @match told {
            None => {}
            Some(Err(trouble)) => { p.alert role="alert" { (trouble.told().2) } }
            Some(Ok(found)) => (shown(asked, found, frame)),
        }
        section {
            form.filter method="get" action="/tokens/revoke" {
                div { (field("role", "With the role", "text", asked.one("role"))) }
                div { (field("owner", "Of the owner", "text", asked.one("owner"))) }
                div { (field("trust", "Of the trust rule", "text", asked.one("trust"))) }
                button type="submit" { "Show which" }
            }
            p.hint { "Those that live and fit all that is given. Nothing ends before you have seen how many they are." }
        }
    };
    page::whole("Revoke several", "/tokens", Some(frame), &content)
}

fn shown(asked: &Form, found: &Value, frame: &Frame<'_>) -> Markup {
    let count = found
        .get("count")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let tokens = found
        .get("tokens")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let is_done = found.get("revoked") == Some(&Value::Bool(true));
    let (done, these) = if is_done {
        ("Revoked: ", "")
    } else {
        ("", "living ")
    };
    let mut command = "tidegate token revoke".to_owned();
    for name in ["role", "owner", "trust"] {
        for value in asked.all(name) {
            let _ = write!(command, " --{name}={}", shell(value));
        }
    }
    html! {
        section role="status" {
            h2 { (done) (count) " " (these) @if count == 1 { "sub-token" } @else { "sub-tokens" } }
            @if tokens.is_empty() {
                p.empty { "No living sub-token is like that." }
            } @else {
                ul.remarks {
                    @for token in tokens { li { a href={ "/tokens/" (text(token, "id")) } { (text(token, "name")) } } }
                    @if count > tokens.len() as u64 { li { "and " (count - tokens.len() as u64) " more" } }
                }
            }
            @if !is_done && count > 0 {
                form method="post" action="/tokens/revoke" {
                    (token_field(frame))
                    @for name in ["role", "owner", "trust"] {
                        @for value in asked.all(name) { input type="hidden" name=(name) value=(value); }
                    }
                    input type="hidden" name="count" value=(count);
                    p { "They are refused everywhere within a second, and never come back." }
                    button.danger type="submit" { "Revoke " @if count == 1 { "it" } @else { "these " (count) } " now" }
                }
                p.hint { "On the machine: " code { (command) } }
            }
        }
    }
}
