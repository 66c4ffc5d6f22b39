//! `explain` as a form: what the daemon would say to a request, without sending it.

use std::sync::Arc;

use hyper::StatusCode;
use maud::{Markup, html};
use serde_json::Value;

use super::form::Form;
use super::page::{self, Frame, badge, field, token_field};
use super::reply::{Reply, Trouble};
use super::tokens::aside;
use super::{Console, ConsoleRequest};
use crate::audit::text;
use crate::operate::{Asker, ExplainGround, ExplainedRequest, Failed, variable};
use crate::token::Source;

/// The methods that a request may have.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// What is asked, of a form or a query.
///
/// # Errors
/// What in it can't be.
fn of_form(form: &Form) -> Result<ExplainedRequest, Trouble> {
    let text = |name: &str| form.one(name).unwrap_or_default().to_owned();
    let words = |name: &'static str| {
        let lines = form.all(name).flat_map(str::lines).map(str::trim);
        lines.filter(|line| !line.is_empty())
    };
    let vars = words("var").map(variable).collect::<Result<_, _>>();
    let roles = words("role").map(str::to_owned).collect();
    Ok(ExplainedRequest {
        method: text("method"),
        path: text("path"),
        asker: asker(form.one("token"), roles, vars.map_err(Trouble::Bad)?)?,
        from: form.one("from").map(from).transpose()?,
        body: form.one("body").map(|body| body.as_bytes().to_vec()),
        given: None,
    })
}

/// The same of JSON: `roles` and `vars` as a list and as pairs, and `body` as it is.
///
/// # Errors
/// What in it can't be.
pub(super) fn of_json(given: &Value) -> Result<ExplainedRequest, Trouble> {
    let (mut method, mut path) = (String::new(), String::new());
    let (mut token, mut roles, mut vars) = (None, Vec::new(), Vec::new());
    let (mut source, mut body) = (None, None);
    for (key, value) in given.as_object().into_iter().flatten() {
        let wrong = || {
            Trouble::Bad(format!(
                "`{key}` has no value that it can have; the description at /api/v1/openapi.json says which"
            ))
        };
        let string = || value.as_str().ok_or_else(wrong);
        match key.as_str() {
            _ if value.is_null() => {}
            "method" => string()?.clone_into(&mut method),
            "path" => string()?.clone_into(&mut path),
            "token" => token = Some(string()?),
            "from" => source = Some(from(string()?)?),
            "roles" => {
                for role in value.as_array().ok_or_else(wrong)? {
                    roles.push(role.as_str().ok_or_else(wrong)?.to_owned());
                }
            }
            "vars" => {
                for (name, value) in value.as_object().ok_or_else(wrong)? {
                    let value = value.as_str().ok_or_else(wrong)?;
                    vars.push(variable(&format!("{name}={value}")).map_err(Trouble::Bad)?);
                }
            }
            "body" => body = Some(value.to_string().into_bytes()),
            _ => {
                return Err(Trouble::Bad(format!(
                    "`{key}` is nothing that can be asked; the description at /api/v1/openapi.json says what there is"
                )));
            }
        }
    }
    Ok(ExplainedRequest {
        method,
        path,
        asker: asker(token, roles, vars)?,
        from: source,
        body,
        given: None,
    })
}

fn asker(
    token: Option<&str>,
    roles: Vec<String>,
    vars: Vec<(String, String)>,
) -> Result<Asker, Trouble> {
    match token {
        Some(token) if roles.is_empty() && vars.is_empty() => Ok(Asker::Token(token.to_owned())),
        None if !roles.is_empty() => Ok(Asker::Roles(roles, vars)),
        Some(_) | None => Err(Trouble::Bad(
            "a sub-token asks, or roles with their variables do; say one of them".to_owned(),
        )),
    }
}

fn from(text: &str) -> Result<Source, Trouble> {
    let source = text.parse::<Source>();
    source.map_err(|error| Trouble::Bad(format!("`from` can't be `{text}`: {error}")))
}

impl Console {
    /// What the daemon would say, as `explain --json` prints it.
    pub(super) async fn explain(
        self: &Arc<Self>,
        question: ExplainedRequest,
    ) -> Result<Value, Trouble> {
        let config = self.current.config().to_owned();
        aside(move || {
            let bad = |failed: Failed| Trouble::Bad(failed.in_a_line());
            let ground = ExplainGround::read(&config).map_err(bad)?;
            let verdict = ground.whole_verdict(&question).map_err(bad)?;
            Ok(verdict.as_json())
        })
        .await
    }

    /// The form, and what came of it.
    pub(super) async fn ask_page(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
        form: Option<&Form>,
    ) -> Result<Reply, Trouble> {
        let sent = form.unwrap_or(&asked.query);
        let is_whole = sent.one("path").is_some()
            && (sent.one("token").is_some() || sent.one("role").is_some());
        let told = if is_whole {
            Some(match of_form(sent) {
                Ok(question) => self.explain(question).await,
                Err(trouble) => Err(trouble),
            })
        } else {
            None
        };
        let content = html! {
            h1 { "Ask" }
            p { "What would tidegate say to a request? Nothing is sent; what there is, is looked up with the account's real token." }
            @if let Some(told) = &told { (verdict(told)) }
            section { (question(sent, frame)) }
        };
        let page = page::whole("Ask", "/ask", Some(frame), &content);
        Ok(Reply::Page(StatusCode::OK, page))
    }
}

fn question(sent: &Form, frame: &Frame<'_>) -> Markup {
    let method = sent.one("method").unwrap_or("GET");
    html! {
        form method="post" action="/ask" {
            (token_field(frame))
            div.fields {
                div {
                    label for="method" { "Method" }
                    select id="method" name="method" {
                        @for one in METHODS { option value=(one) selected[one == method] { (one) } }
                    }
                }
                div { (field("path", "Path (/v2/droplets/12)", "text", sent.one("path"))) }
                div { (field("token", "Sub-token (name or id)", "text", sent.one("token"))) }
                div { (field("role", "or a role", "text", sent.one("role"))) }
                div { (field("var", "Variable of the role (client=a)", "text", sent.one("var"))) }
                div { (field("from", "From (an address)", "text", sent.one("from"))) }
                div.wide {
                    label for="body" { "Body (JSON)" }
                    textarea id="body" name="body" spellcheck="false" { (sent.one("body").unwrap_or_default()) }
                }
            }
            button type="submit" { "Ask" }
        }
    }
}

fn verdict(told: &Result<Value, Trouble>) -> Markup {
    let told = match told {
        Ok(told) => told,
        Err(trouble) => {
            return html! { p.alert role="alert" { "It can't be told: " (trouble.told().2) } };
        }
    };
    let is_allowed = text(told, "decision") == "allow";
    let needs = told.get("needs").and_then(Value::as_array);
    let needs: Vec<_> = needs
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    html! {
        section role="status" {
            h2 { @if is_allowed { (badge("good", "allowed")) } @else { (badge("bad", "refused")) } " " code { (text(told, "reason")) } }
            @if !text(told, "detail").is_empty() { p { (text(told, "detail")) } }
            @if !needs.is_empty() { p { "It needs " code { (needs.join(", ")) } "." } }
            @if !text(told, "suggestion").is_empty() {
                p { "This in a role would allow it; whoever keeps the policy puts it there:" }
                pre id="suggestion" { (text(told, "suggestion")) }
                button.quiet.copy type="button" data-copy="suggestion" hidden { "Copy" }
            }
        }
    }
}
