//! Roles: what each may, what is dangerous in it, and who has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyper::StatusCode;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::form::encoded;
use super::page::{self, Frame, badge, texts};
use super::reply::{Reply, Trouble};
use super::{Console, ConsoleRequest, unused};
use crate::audit::text;
use crate::catalog::Scope;
use crate::policy::{BoundGrant, Grants, Right, Role, bind};
use crate::rules::Rules;

/// The verbs that have a column of their own; any other stands under `other`.
const VERBS: [&str; 4] = ["read", "create", "update", "delete"];

/// What grants allow, in words: by family and verb, and each grant as it was written.
pub(super) fn may(grants: &Grants, rules: &Rules) -> Value {
    let mut matrix: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for grant in grants.allowing() {
        let Some(scopes) = grant.scopes() else {
            continue;
        };
        for scope in rules.catalog.scopes().names(scopes) {
            note(&mut matrix, scope, !grant.is_limited());
        }
    }
    let matrix: serde_json::Map<_, _> = matrix
        .into_iter()
        .map(|(family, verbs)| {
            let extent = |(verb, whole)| (verb, Value::from(if whole { "all" } else { "some" }));
            (family, verbs.into_iter().map(extent).collect())
        })
        .collect();
    let written = |grants: &[Arc<BoundGrant>]| -> Value {
        let one = |grant: &Arc<BoundGrant>| json!({ "place": &**grant.place(), "written": grant.written() });
        grants.iter().map(one).collect()
    };
    json!({ "matrix": matrix, "allow": written(&grants.allow), "deny": written(&grants.deny), "account": &*grants.account })
}

fn note(matrix: &mut BTreeMap<String, BTreeMap<String, bool>>, scope: &Scope, is_whole: bool) {
    let (family, verb) = scope
        .as_str()
        .split_once(':')
        .unwrap_or((scope.as_str(), "other"));
    let verbs = matrix.entry(family.to_owned()).or_default();
    let whole = verbs.entry(verb.to_owned()).or_default();
    *whole |= is_whole;
}

/// What grants allow, as part of a page.
pub(super) fn may_shown(may: &Value) -> Markup {
    let matrix = may.get("matrix").and_then(Value::as_object);
    let list = |name: &str| {
        may.get(name)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    };
    html! {
        @if may.is_null() {
            p.empty { "Nothing: a role or a variable of it is not in the policy." }
        } @else if list("allow").is_empty() && list("deny").is_empty() {
            p.empty { "Nothing at the API." }
        } @else {
            @if let Some(matrix) = matrix.filter(|matrix| !matrix.is_empty()) { (matrix_table(matrix)) }
            @for (name, words) in [("allow", "Allowed by"), ("deny", "Denied by")] {
                @if !list(name).is_empty() {
                    h3 { (words) }
                    @for grant in list(name) {
                        details {
                            summary { code { (text(grant, "place")) } " " span.hint { (short(grant.get("written").unwrap_or(&Value::Null))) } }
                            pre { (yaml(grant.get("written").unwrap_or(&Value::Null), 0)) }
                        }
                    }
                }
            }
        }
    }
}

fn matrix_table(matrix: &serde_json::Map<String, Value>) -> Markup {
    let cell = |extent: Option<&Value>| match extent.and_then(Value::as_str) {
        Some("all") => badge("caution", "all"),
        Some(_) => badge("good", "some"),
        None => html! { span.hint { "–" } },
    };
    html! {
        div.table tabindex="0" role="region" aria-label="Scopes by family and verb" {
            table.matrix {
                caption { "By family and verb: " strong { "all" } " resources, or " strong { "some" } ", as the grants below narrow it" }
                thead { tr { th scope="col" { "Family" } @for verb in VERBS { th scope="col" { (verb) } } th scope="col" { "other" } } }
                tbody {
                    @for (family, verbs) in matrix {
                        @let others = verbs.as_object().into_iter().flatten().filter(|(verb, _)| !VERBS.contains(&verb.as_str()));
                        @let others: Vec<_> = others.map(|(verb, _)| verb.replace('_', " ")).collect();
                        tr {
                            th scope="row" { (family) }
                            @for verb in VERBS { td { (cell(verbs.get(verb))) } }
                            td { @if others.is_empty() { span.hint { "–" } } @else { (others.join(", ")) } }
                        }
                    }
                }
            }
        }
    }
}

/// A grant in a line: what it covers.
fn short(written: &Value) -> String {
    let all = ["scopes", "requests"]
        .into_iter()
        .filter_map(|key| written.get(key));
    let texts = all.flat_map(|value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
        other => other.as_str().into_iter().collect(),
    });
    let texts: Vec<_> = texts.collect();
    let more = texts.len().saturating_sub(4);
    let first = texts.iter().take(4).copied().collect::<Vec<_>>().join(", ");
    if more > 0 {
        return format!("{first} and {more} more");
    }
    first
}

/// A value as YAML has it; texts as JSON writes them where they could be read otherwise.
fn yaml(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match value {
                Value::Object(_) => format!("{indent}{}:\n{}", scalar(key), yaml(value, depth + 1)),
                other => format!("{indent}{}: {}\n", scalar(key), yaml(other, 0)),
            })
            .collect(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| yaml(item, 0)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

fn scalar(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    let is_plain = text.bytes().all(|byte| plain(byte) || byte == b':')
        && text
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphabetic())
        && !text.ends_with(':')
        && !matches!(
            text,
            "true" | "false" | "null" | "yes" | "no" | "on" | "off"
        );
    if is_plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

impl Console {
    /// Every role: what it is for, who has it, what is dangerous in it.
    pub(super) async fn roles(&self) -> Value {
        let serving = self.current.get();
        let warnings = self.warnings.of(&serving).await;
        let counts = self.holders(&serving.rules);
        let roles = serving.rules.policy.roles.values();
        let roles = roles.map(|role| told(role, &warnings, counts.get(&role.name).copied()));
        json!({ "roles": roles.collect::<Value>() })
    }

    /// How many living tokens have each role.
    fn holders(&self, rules: &Rules) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        let now = self.tokens.now();
        self.tokens.each(rules.in_force(), |token| {
            if self.tokens.fate(token, rules.in_force(), now).lives() {
                for role in token.kept.roles().iter().collect::<BTreeSet<_>>() {
                    *counts.entry(role.clone()).or_default() += 1;
                }
            }
        });
        counts
    }

    /// One role, with what it may and what of that was not needed.
    pub(super) async fn role(self: &Arc<Self>, name: &str) -> Result<Value, Trouble> {
        let serving = self.current.get();
        let role = serving.rules.policy.roles.get(name).ok_or_else(|| {
            Trouble::Missing(
                "the policy in force has no role of this name; the list of roles has them all"
                    .to_owned(),
            )
        })?;
        let warnings = self.warnings.of(&serving).await;
        let counts = self.holders(&serving.rules);
        let mut all = told(role, &warnings, counts.get(name).copied());
        // Variables are shown as they are written.
        let vars = role
            .vars
            .iter()
            .map(|var| (var.clone(), format!("${{{var}}}")));
        let grants = bind(
            &serving.rules.policy,
            std::slice::from_ref(&role.name),
            &vars.collect(),
        );
        if let Some(members) = all.as_object_mut() {
            let may = grants.map_or(Value::Null, |grants| may(&grants, &serving.rules));
            members.insert("may".to_owned(), may);
            members.insert("unused".to_owned(), self.unused_of(name).into());
        }
        Ok(all)
    }

    pub(super) async fn roles_page(&self, frame: &Frame<'_>) -> Reply {
        let all = self.roles().await;
        let roles = all
            .get("roles")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let content = html! {
            div.actions {
                h1 { "Roles" }
                a href="/check" { "Check the files" }
                a href="/diff" { "Compare with another policy" }
                a href="/unused" { "What was not needed" }
            }
            section {
                @if roles.is_empty() {
                    p.empty { "The policy has no role. " code { "tidegate template list" } " has ready ones." }
                } @else {
                    div.table { table.stack {
                        caption { (roles.len()) " roles of the policy in force" }
                        thead { tr { th scope="col" { "Role" } th scope="col" { "For" } th scope="col" { "Account" } th scope="col" { "Console" } th.number scope="col" { "Warnings" } th.number scope="col" { "Tokens" } } }
                        tbody { @for role in roles {
                            @let warnings = role.get("warnings").and_then(Value::as_array).map_or(0, Vec::len);
                            tr {
                                td data-name="Role" { a href={ "/roles/" (encoded(text(role, "name"))) } { (text(role, "name")) } }
                                td data-name="For" { (text(role, "description")) }
                                td data-name="Account" { (text(role, "account")) }
                                td data-name="Console" { (rights(role)) }
                                td.number data-name="Warnings" { @if warnings > 0 { (badge("caution", &warnings.to_string())) } @else { "0" } }
                                td.number data-name="Tokens" { a href={ "/tokens?role=" (encoded(text(role, "name"))) } { (role.get("tokens").and_then(Value::as_u64).unwrap_or_default()) } }
                            }
                        } }
                    } }
                }
            }
        };
        Reply::Page(
            StatusCode::OK,
            page::whole("Roles", "/roles", Some(frame), &content),
        )
    }

    pub(super) async fn role_page(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
    ) -> Result<Reply, Trouble> {
        let role = self.role(&asked.place).await?;
        let warnings = role
            .get("warnings")
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        let name = text(&role, "name");
        let unused = role.get("unused").filter(|unused| !unused.is_null());
        let content = html! {
            p { a href="/roles" { "All roles" } }
            h1 { (name) }
            @if !text(&role, "description").is_empty() { p { (text(&role, "description")) } }
            section {
                h2 { "What " code { "tidegate check" } " warns of" }
                @if warnings.is_empty() { p.empty { "Nothing." } }
                @else { ul.remarks { @for warning in warnings { li { (warning.as_str().unwrap_or_default()) } } } }
            }
            section { h2 { "What it may" } (may_shown(role.get("may").unwrap_or(&Value::Null))) }
            section {
                h2 { "Who has it" }
                p { a href={ "/tokens?role=" (encoded(name)) } { (role.get("tokens").and_then(Value::as_u64).unwrap_or_default()) " sub-tokens that are not revoked" } }
                @if !rights(&role).is_empty() { p { "At the console: " (rights(&role)) } }
            }
            @if let Some(unused) = unused { (unused::told(unused)) }
            @else { section { h2 { "What was not needed in 30 days" } p.empty { "The record is being read for that; load the page again in a moment." } } }
        };
        Ok(Reply::Page(
            StatusCode::OK,
            page::whole(name, "/roles", Some(frame), &content),
        ))
    }
}

fn rights(role: &Value) -> String {
    texts(role, "operator")
}

fn told(role: &Role, warnings: &[String], tokens: Option<u64>) -> Value {
    let about = [
        format!("`{}.allow[", role.name),
        format!("`{}.deny[", role.name),
    ];
    let warnings = warnings
        .iter()
        .filter(|warning| about.iter().any(|place| warning.contains(place)));
    let rights = role.operator.as_ref().map(|operator| {
        let held = Right::ALL
            .into_iter()
            .filter(|right| *right <= operator.right);
        held.map(Right::as_str).collect::<Vec<_>>()
    });
    json!({
        "name": role.name,
        "description": role.description,
        "account": role.account,
        "vars": role.vars,
        "operator": rights,
        "operator_issues": role.operator.as_ref().map(|operator| &operator.issues),
        "warnings": warnings.collect::<Vec<_>>(),
        "tokens": tokens.unwrap_or_default(),
    })
}
