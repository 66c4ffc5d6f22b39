//! Policies: what is wrong or doubtful in the one that stands in the files or in one that is pasted, and what a change would newly allow.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use maud::{Markup, html};
use serde_json::Value;

use super::form::Form;
use super::page::{self, Frame, badge, field, token_field};
use super::reply::{Reply, Trouble};
use super::{Console, ConsoleRequest};
use crate::audit::text;
use crate::operate::{CheckReport, Compared};

/// How long who asks waits for his turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many differences a page shows.
const MOST: usize = 500;

/// The policy that a body of these members holds; nothing, where there is no body.
///
/// # Errors
/// It holds something else.
pub(super) fn policy_of(given: &Value, members: &[&str]) -> Result<Option<String>, Trouble> {
    let mut policy = None;
    for (key, value) in given.as_object().into_iter().flatten() {
        if !members.contains(&key.as_str()) {
            let known = members.join("` and `");
            return Err(Trouble::Bad(format!(
                "`{key}` is nothing that is asked for here; there is `{known}`"
            )));
        }
        let told = value
            .as_str()
            .ok_or_else(|| Trouble::Bad(format!("`{key}` is a text")))?;
        if key == "policy" {
            policy = Some(told.to_owned());
        }
    }
    Ok(policy)
}

impl Console {
    /// What `check` finds: in the files as they stand now, or in a policy that is no file yet.
    pub(super) async fn check(self: &Arc<Self>, pasted: Option<String>) -> Result<Value, Trouble> {
        let config = self.current.config().to_owned();
        let serving = self.current.get();
        self.at_length(PATIENCE, move || {
            let mut checked = CheckReport::default();
            match pasted {
                Some(text) => checked.pasted(&text, &serving.rules),
                None => checked.all(&config),
            }
            Ok(checked.as_json())
        })
        .await
    }

    /// What another policy would newly allow and refuse, beside the one in force.
    pub(super) async fn diff(
        self: &Arc<Self>,
        pasted: Option<String>,
        role: Option<String>,
    ) -> Result<Value, Trouble> {
        let pasted = pasted.ok_or_else(|| {
            Trouble::Bad("there is no policy to compare with; `policy` holds it".to_owned())
        })?;
        let serving = self.current.get();
        self.at_length(PATIENCE, move || {
            let compared = Compared::with_pasted(&pasted, role.as_deref(), &serving.rules);
            let compared = compared.map_err(|failed| Trouble::Bad(failed.in_a_line()))?;
            Ok(compared.as_json())
        })
        .await
    }

    pub(super) async fn check_page(
        self: &Arc<Self>,
        frame: &Frame<'_>,
        form: Option<&Form>,
    ) -> Result<Reply, Trouble> {
        let pasted = form.and_then(|form| form.one("policy")).map(str::to_owned);
        let found = self.check(pasted.clone()).await?;
        let findings = list(&found, "findings");
        let tests = found.pointer("/policy/tests").unwrap_or(&Value::Null);
        let number =
            |of: &Value, name: &str| of.get(name).and_then(Value::as_u64).unwrap_or_default();
        let content = html! {
            h1 { "Check" }
            section role="status" {
                h2 {
                    @if number(&found, "errors") > 0 { (badge("bad", "errors")) }
                    @else if findings.is_empty() { (badge("good", "nothing to mend")) }
                    @else { (badge("caution", "warnings")) }
                    " " @if pasted.is_some() { "The pasted policy" } @else { "The files as they stand now" }
                }
                @if !tests.is_null() {
                    p { (number(tests, "passed")) " of its tests passed, " (number(tests, "failed")) " failed." }
                }
                @if !findings.is_empty() {
                    ul.remarks { @for finding in findings { li {
                        @if text(finding, "severity") == "error" { (badge("bad", "error")) } @else { (badge("caution", "warning")) }
                        " " code { (text(finding, "file")) ":" (number(finding, "line")) ":" (number(finding, "column")) }
                        " " (text(finding, "what"))
                    } } }
                }
                p.hint { "On the machine: " code { "tidegate check" } }
            }
            section {
                h2 { "Another policy" }
                form method="post" action="/check" {
                    (token_field(frame))
                    (pasting(pasted.as_deref()))
                    button type="submit" { "Check it" }
                }
            }
        };
        let page = page::whole("Check", "/roles", Some(frame), &content);
        Ok(Reply::Page(StatusCode::OK, page))
    }

    pub(super) async fn diff_page(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
        form: Option<&Form>,
    ) -> Result<Reply, Trouble> {
        let one = |name: &str| form.unwrap_or(&asked.query).one(name).map(str::to_owned);
        let (pasted, role) = (form.and_then(|_| one("policy")), one("role"));
        let told = match &form {
            Some(_) => Some(self.diff(pasted.clone(), role.clone()).await),
            None => None,
        };
        let content = html! {
            h1 { "Compare" }
            p { "What would another policy allow that the one in force refuses, and what would it refuse? Nothing is changed." }
            @match &told {
                Some(Ok(compared)) => { (differences(compared)) }
                Some(Err(trouble)) => { p.alert role="alert" { "It can't be compared: " (trouble.told().2) } }
                None => {}
            }
            section {
                form method="post" action="/diff" {
                    (token_field(frame))
                    (pasting(pasted.as_deref()))
                    div.fields { div { (field("role", "Only this role", "text", role.as_deref())) } }
                    button type="submit" { "Compare" }
                }
                p.hint { "On the machine: " code { "tidegate diff OLD NEW" } }
            }
        };
        let page = page::whole("Compare", "/roles", Some(frame), &content);
        Ok(Reply::Page(StatusCode::OK, page))
    }
}

fn list<'v>(of: &'v Value, name: &str) -> &'v [Value] {
    of.get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn pasting(policy: Option<&str>) -> Markup {
    html! {
        label for="policy" { "Policy (YAML)" }
        textarea id="policy" name="policy" required spellcheck="false" autocapitalize="none" { (policy.unwrap_or_default()) }
    }
}

fn differences(compared: &Value) -> Markup {
    let all = list(compared, "differences");
    // What is newly allowed is what somebody looks for.
    let is_allowed = |one: &&Value| one.get("allowed") == Some(&Value::Bool(true));
    let sorted = all.iter().filter(is_allowed);
    let sorted = sorted.chain(all.iter().filter(|one| !is_allowed(one)));
    let number = |name: &str| {
        compared
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    html! {
        section role="status" {
            h2 {
                @if number("allowed") > 0 { (badge("caution", "allows more")) } @else { (badge("good", "allows nothing more")) }
            }
            p { (number("allowed")) " newly allowed, " (number("refused")) " newly refused." }
            @if !all.is_empty() {
                div.table { table.stack {
                    caption { @if all.len() > MOST { "The first " (MOST) " of " (all.len()) " differences" } @else { "Each difference" } }
                    thead { tr { th scope="col" { "Change" } th scope="col" { "Role" } th scope="col" { "What" } th scope="col" { "Request" } th scope="col" { "Does" } th scope="col" { "To" } } }
                    tbody { @for one in sorted.take(MOST) { tr {
                        td data-name="Change" { @if one.get("allowed") == Some(&Value::Bool(true)) { (badge("caution", "allowed")) } @else { (badge("", "refused")) } }
                        td data-name="Role" { (text(one, "role")) }
                        td data-name="What" { (text(one, "endpoint")) }
                        td data-name="Request" { code { (text(one, "request")) } }
                        td data-name="Does" { (text(one, "does")) }
                        td data-name="To" { (text(one, "witness")) }
                    } } }
                } }
            }
        }
    }
}
