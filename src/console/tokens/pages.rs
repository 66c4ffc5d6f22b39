use std::collections::BTreeSet;

use maud::{Markup, html};
use serde_json::Value;

use super::super::form::{Form, encoded};
use super::super::page::{self, Frame, badge, field, texts, time_text, token_field};
use super::super::{records, roles};
use super::{Filter, STATES};
use crate::audit::text;
use crate::policy::Right;
use crate::rules::Rules;

/// The list as a page.
pub(super) fn list_page(filter: &Filter, list: &Value, rules: &Rules, frame: &Frame<'_>) -> Markup {
    let tokens = list
        .get("tokens")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let total = list
        .get("total")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let total = usize::try_from(total).unwrap_or(usize::MAX);
    let content = html! {
        div.actions {
            h1 { "Sub-tokens" }
            @if frame.operator.has(Right::Issue) { a.button href="/tokens/new" { "Issue a sub-token" } }
            @if frame.operator.has(Right::Revoke) { a href={ "/tokens/revoke" (filter.narrowing()) } { "Revoke several" } }
        }
        (search(filter, rules))
        details {
            summary { "A whole sub-token leaked?" }
            section {
                form.filter method="post" action="/tokens/find" {
                    (token_field(frame))
                    div { (field("token", "The sub-token; only its id is looked at, and it is never shown again", "password", None)) }
                    button type="submit" { "Find it" }
                }
            }
        }
        (found(filter, &tokens, total))
    };
    page::whole("Sub-tokens", "/tokens", Some(frame), &content)
}

/// What narrows the list.
fn search(filter: &Filter, rules: &Rules) -> Markup {
    html! {
        section {
            form.filter method="get" action="/tokens" role="search" aria-label="Sub-tokens" {
                div { (field("q", "Name or id", "search", filter.text.as_deref())) }
                div {
                    label for="state" { "State" }
                    select id="state" name="state" {
                        option value="" { "any" }
                        @for state in STATES { option value=(state) selected[filter.state.as_deref() == Some(state)] { (state.replace('_', " ")) } }
                    }
                }
                div {
                    label for="role" { "Role" }
                    select id="role" name="role" {
                        option value="" { "any" }
                        @for role in rules.policy.roles.keys() { option value=(role) selected[filter.role.as_ref() == Some(role)] { (role) } }
                    }
                }
                div { (field("owner", "Owner", "text", filter.owner.as_deref())) }
                div { (field("trust", "Trust rule", "text", filter.trust.as_deref())) }
                button type="submit" { "Search" }
            }
        }
    }
}

/// The sub-tokens of a page of the list.
fn found(filter: &Filter, tokens: &[Value], total: usize) -> Markup {
    let pages = total.div_ceil(filter.per_page).max(1);
    let is_narrowed = filter.text.is_some()
        || filter.state.is_some()
        || filter.role.is_some()
        || filter.owner.is_some()
        || filter.trust.is_some();
    html! {
        section {
            @if tokens.is_empty() && is_narrowed {
                p.empty { "No sub-token is like that. " a href="/tokens" { "Show all of them" } "." }
            } @else if tokens.is_empty() {
                p.empty { "There is no sub-token on this page. " code { "tidegate token issue NAME --role ROLE" } " makes one." }
            } @else {
                div.table {
                    table.stack {
                        caption { (total) @if total == 1 { " sub-token" } @else { " sub-tokens" } @if pages > 1 { ", page " (filter.page) " of " (pages) } }
                        thead { tr {
                            th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Roles" } th scope="col" { "Owner" }
                            th scope="col" { "Expires" } th scope="col" { "Last used" } th.number scope="col" { "Uses left" }
                        } }
                        tbody { @for token in tokens { (row(token)) } }
                    }
                }
                @if pages > 1 {
                    nav.pages aria-label="Pages of the list" {
                        @if filter.page > 1 { a href={ "/tokens" (filter.query(filter.page - 1)) } rel="prev" { "Before" } }
                        @if filter.page < pages { a href={ "/tokens" (filter.query(filter.page + 1)) } rel="next" { "Next" } }
                    }
                }
            }
        }
    }
}

fn or_dash(text: &str) -> Markup {
    html! { @if text.is_empty() { "–" } @else { (text) } }
}

fn time_or_dash(text: &str) -> Markup {
    html! { @if text.is_empty() { "–" } @else { (time_text(text)) } }
}

fn state_badge(state: &str) -> Markup {
    let kind = match state {
        "active" => "good",
        "role_missing" => "bad",
        "not_yet_valid" => "caution",
        _ => "",
    };
    badge(kind, &state.replace('_', " "))
}

fn row(token: &Value) -> Markup {
    let uses = token.get("uses_left").and_then(Value::as_u64);
    html! {
        tr {
            td data-name="Name" { a href={ "/tokens/" (text(token, "id")) } { (text(token, "name")) } }
            td data-name="State" { (state_badge(text(token, "state"))) }
            td data-name="Roles" { (texts(token, "roles")) }
            td data-name="Owner" { (or_dash(text(token, "owner"))) }
            td.time data-name="Expires" { (time_or_dash(text(token, "expires_at"))) }
            td.time data-name="Last used" { (time_or_dash(text(token, "last_used_at"))) }
            td.number data-name="Uses left" { @match uses { Some(uses) => (uses), None => "–" } }
        }
    }
}

/// One token as a page; perhaps with its secret, this once.
pub(super) fn token_page(token: &Value, rules: &Rules, frame: &Frame<'_>) -> Markup {
    let (id, name, state) = (text(token, "id"), text(token, "name"), text(token, "state"));
    let held: Vec<String> = token
        .get("roles")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let lives = !matches!(state, "revoked");
    let in_state = text(token, "kept_in") == "state";
    let ceiling = token.get("ceiling").and_then(Value::as_str);
    let handed_out: Vec<String> = held
        .iter()
        .cloned()
        .chain(ceiling.map(str::to_owned))
        .collect();
    let may_rotate = lives
        && in_state
        && frame
            .operator
            .may
            .may_not_issue(&rules.policy, &handed_out)
            .is_none();
    let content = html! {
        p { a href="/tokens" { "All sub-tokens" } }
        h1 { (name) " " (state_badge(state)) }
        @if let Some(secret) = token.get("token").and_then(Value::as_str) { (secret_box(secret)) }
        @if !text(token, "why").is_empty() {
            p.alert { "It can't be used: " (text(token, "why")) }
        }
        div.cards {
            (what_it_is(token, &held, ceiling))
            (its_limits(token))
            (where_it_came_from(token))
            @if lives && frame.operator.has(Right::Revoke) { (ending(id, may_rotate, frame)) }
        }
        (children(token.get("children").unwrap_or(&Value::Null)))
        section {
            h2 { "What it may" }
            (roles::may_shown(token.get("may").unwrap_or(&Value::Null)))
        }
        section {
            h2 { "What it did" }
            (records::table(token.get("records").and_then(Value::as_array).map_or(&[], Vec::as_slice), false))
            (records::reached(token, "records_", &format!("token={}&", encoded(id))))
            p.hint { a href={ "/records?token=" (encoded(id)) } { "Search the record for it" } ", or on the machine: " code { "tidegate audit search --token " (id) } }
        }
    };
    page::whole(name, "/tokens", Some(frame), &content)
}

fn what_it_is(token: &Value, held: &[String], ceiling: Option<&str>) -> Markup {
    let in_state = text(token, "kept_in") == "state";
    html! {
        section {
            h2 { "What it is" }
            dl {
                dt { "id" } dd { code { (text(token, "id")) } }
                dt { "roles" }
                dd { @for (index, role) in held.iter().enumerate() { @if index > 0 { ", " } a href={ "/roles/" (encoded(role)) } { (role) } } }
                @let vars = token.get("vars").and_then(Value::as_object);
                @for (name, value) in vars.into_iter().flatten() { dt { (name) } dd { (value.as_str().unwrap_or_default()) } }
                dt { "owner" } dd { (or_dash(text(token, "owner"))) }
                dt { "description" } dd { (or_dash(text(token, "description"))) }
                @if let Some(ceiling) = ceiling { dt { "ceiling" } dd { a href={ "/roles/" (encoded(ceiling)) } { (ceiling) } " until " (time_or_dash(text(token, "report_until"))) } }
                @if !text(token, "trust").is_empty() { dt { "trust rule" } dd { a href={ "/tokens?trust=" (encoded(text(token, "trust"))) } { (text(token, "trust")) } } }
                @if !text(token, "parent").is_empty() { dt { "made by" } dd { a href={ "/tokens/" (text(token, "parent_id")) } { (text(token, "parent")) } } }
                @if !text(token, "within").is_empty() { dt { "narrowed to" } dd { code { (text(token, "within")) } } }
                dt { "kept in" } dd { @if in_state { "the state" } @else { "the policy file" } }
                dt { "issued" } dd { (time_or_dash(text(token, "created_at"))) }
            }
        }
    }
}

fn its_limits(token: &Value) -> Markup {
    html! {
        section {
            h2 { "Its limits" }
            dl {
                dt { "from" } dd { @match token.get("sources") { Some(Value::Array(list)) if list.is_empty() => "nowhere", Some(Value::Array(_)) => (texts(token, "sources")), _ => "anywhere" } }
                @if !text(token, "client_cert").is_empty() { dt { "certificate" } dd { (text(token, "client_cert")) } }
                dt { "valid from" } dd { (time_or_dash(text(token, "not_before"))) }
                dt { "expires" } dd { (time_or_dash(text(token, "expires_at"))) }
                dt { "may idle" } dd { (or_dash(text(token, "idle"))) }
                dt { "uses left" } dd { @match token.get("uses_left").and_then(Value::as_u64) { Some(left) => (left), None => "as many as it likes" } }
                dt { "rate" } dd { (or_dash(text(token, "rate"))) }
                dt { "last used" } dd { (time_or_dash(text(token, "last_used_at"))) }
                @if !text(token, "revoked_at").is_empty() { dt { "revoked" } dd { (time_text(text(token, "revoked_at"))) } }
            }
        }
    }
}

fn where_it_came_from(token: &Value) -> Markup {
    html! {
        section {
            h2 { "Where it came from" }
            @let from = token.get("from").and_then(Value::as_array).cloned().unwrap_or_default();
            @if from.is_empty() { p.empty { "From nowhere, as far as is remembered." } }
            dl { @for one in from.iter().take(12) { dt { code { (text(one, "address")) } } dd { (one.get("requests").and_then(Value::as_u64).unwrap_or_default()) " requests" } } }
        }
    }
}

/// What a token made, beneath it.
fn children(children: &Value) -> Markup {
    let tokens = children
        .get("tokens")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let total = children
        .get("total")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    html! {
        @if !tokens.is_empty() {
            section {
                h2 { "What it made" }
                p { "These end with it." }
                div.table { table.stack {
                    caption { (total) @if total == 1 { " sub-token" } @else { " sub-tokens" } @if total > tokens.len() as u64 { ", the first " (tokens.len()) } }
                    thead { tr { th scope="col" { "Name" } th scope="col" { "State" } th scope="col" { "Roles" } th scope="col" { "Narrowed to" } th scope="col" { "Expires" } th scope="col" { "Last used" } } }
                    tbody { @for child in tokens { tr {
                        td data-name="Name" { "└ " a href={ "/tokens/" (text(child, "id")) } { (text(child, "name")) } }
                        td data-name="State" { (state_badge(text(child, "state"))) }
                        td data-name="Roles" { (texts(child, "roles")) }
                        td data-name="Narrowed to" { @if text(child, "within").is_empty() { "–" } @else { code { (text(child, "within")) } } }
                        td.time data-name="Expires" { (time_or_dash(text(child, "expires_at"))) }
                        td.time data-name="Last used" { (time_or_dash(text(child, "last_used_at"))) }
                    } } }
                } }
            }
        }
    }
}

fn secret_box(secret: &str) -> Markup {
    html! {
        div.verdict.caution role="status" {
            strong { "The sub-token, shown this once." }
            pre.secret id="secret" { (secret) }
            button.quiet.copy type="button" data-copy="secret" hidden { "Copy" }
        }
    }
}

fn ending(id: &str, may_rotate: bool, frame: &Frame<'_>) -> Markup {
    html! {
        section {
            h2 { "End or renew it" }
            details {
                summary { "Revoke…" }
                form method="post" action={ "/tokens/" (id) "/revoke" } {
                    (token_field(frame))
                    p { "It is refused everywhere within a second, and never comes back." }
                    button.danger type="submit" { "Revoke it now" }
                }
                p.hint { "On the machine: " code { "tidegate token revoke " (id) } }
            }
            @if may_rotate {
                details {
                    summary { "Rotate…" }
                    form method="post" action={ "/tokens/" (id) "/rotate" } {
                        (token_field(frame))
                        (field("grace", "The old secret stays valid for (1h; empty: not at all)", "text", None))
                        p.hint { "On the machine: " code { "tidegate token rotate " (id) " --grace 1h" } }
                        button type="submit" { "Rotate it now" }
                    }
                }
            }
        }
    }
}

/// The form for a new token.
pub(super) fn new_page(form: &Form, trouble: Option<&str>, frame: &Frame<'_>) -> Markup {
    let chosen: BTreeSet<&str> = form.all("role").collect();
    let given = |name: &str| form.one(name);
    let content = html! {
        p { a href="/tokens" { "All sub-tokens" } }
        h1 { "Issue a sub-token" }
        @if let Some(trouble) = trouble { p.alert role="alert" { (trouble) } }
        section {
            form method="post" action="/tokens" {
                (token_field(frame))
                div.fields {
                    div { (field("name", "Name", "text", given("name"))) }
                    fieldset.wide {
                        legend { "Roles" }
                        div.choices {
                            @for role in &frame.operator.may.issues {
                                label { input type="checkbox" name="role" value=(role) checked[chosen.contains(role.as_str())]; (role) }
                            }
                        }
                        @if frame.operator.may.issues.is_empty() { p.empty { "The policy names none that you may issue; they stand in " code { "operator_issues" } "." } }
                    }
                    div { (field("expires", "Expires after (30d, 12h)", "text", given("expires").or(Some("30d")))) }
                    div { (field("idle", "May idle for (1h)", "text", given("idle"))) }
                    div { (field("max_uses", "Uses", "number", given("max_uses"))) }
                    div { (field("rate", "Rate (60/min)", "text", given("rate"))) }
                    div { (field("sources", "From (203.0.113.0/24, unix; empty: anywhere)", "text", given("sources"))) }
                    div { (field("vars", "Variable of its roles (client=a)", "text", given("vars"))) }
                    div { (field("owner", "Owner", "text", given("owner"))) }
                    div { (field("description", "Description", "text", given("description"))) }
                }
                button type="submit" { "Issue it" }
                p.hint { "On the machine: " code { "tidegate token issue NAME --role ROLE --expires 30d" } }
            }
        }
    };
    page::whole("Issue a sub-token", "/tokens", Some(frame), &content)
}
