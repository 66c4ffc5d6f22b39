//! What was refused: grouped, with what the client was told and what would allow it.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::StatusCode;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::Console;
use super::form::encoded;
use super::page::{self, Frame, time_text};
use super::records::{how_far, whose};
use super::reply::{Reply, Trouble};
use super::tokens::aside;
use crate::audit::{Wanted, text};
use crate::operate::Remedy;
use crate::policy::Grants;
use crate::rules::Rules;

/// How many groups are told.
const MOST: usize = 200;
/// With how many of them stands what would allow it: to find that out takes its time, and for the others `explain` tells it.
const SUGGESTED: usize = 50;

#[derive(Default)]
struct Group {
    count: u64,
    last: Value,
}

impl Console {
    /// Refusals by sub-token, endpoint and reason, those that came last first.
    pub(super) async fn refusals(self: &Arc<Self>) -> Result<Value, Trouble> {
        let console = self.clone();
        aside(move || {
            let refused = Wanted {
                refused: true,
                ..Wanted::default()
            };
            let recent = console.history.recent(&refused, usize::MAX);
            let mut groups: HashMap<[String; 3], Group> = HashMap::new();
            let mut order = Vec::new();
            for record in recent.records {
                let token = record.get("token").map_or("", |token| text(token, "id"));
                let key = [token, text(&record, "endpoint"), text(&record, "reason")];
                let key = key.map(str::to_owned);
                let group = groups.entry(key.clone()).or_insert_with(|| {
                    order.push(key);
                    Group {
                        count: 0,
                        last: record,
                    }
                });
                group.count += 1;
            }
            let serving = console.current.get();
            let mut holders = HashMap::new();
            let told = order
                .iter()
                .take(MOST)
                .enumerate()
                .filter_map(|(place, key)| {
                    let Group { count, last } = groups.get(key)?;
                    let member = |name: &str| last.get(name).cloned().unwrap_or(Value::Null);
                    let message = last.get("message").or(last.get("detail")).cloned();
                    let suggestion = if place < SUGGESTED {
                        console.suggestion(last, &mut holders, &serving.rules)
                    } else {
                        None
                    };
                    Some(json!({
                        "token": member("token"),
                        "endpoint": member("endpoint"),
                        "reason": member("reason"),
                        "count": count,
                        "last": member("time"),
                        "method": member("method"),
                        "path": member("path"),
                        "message": message.unwrap_or(Value::Null),
                        "detail": member("detail"),
                        "suggestion": suggestion,
                        "client_ip": member("client_ip"),
                        "request_id": member("request_id"),
                    }))
                });
            let groups: Value = told.collect();
            Ok(json!({ "refusals": groups, "since": recent.since }))
        })
        .await
    }

    /// What would let it through that a record says was refused, for its token as it stands now.
    fn suggestion(
        &self,
        record: &Value,
        holders: &mut HashMap<String, Option<Arc<Grants>>>,
        rules: &Rules,
    ) -> Option<String> {
        let id = text(record.get("token")?, "id");
        let grants = || {
            let kept = self.found(id, rules).ok()?.kept;
            let beside = kept.beside(self.tokens.now().latest);
            let bound = rules.grants_with(kept.roles(), kept.vars(), beside);
            bound.ok()
        };
        let grants = holders.entry(id.to_owned()).or_insert_with(grants);
        Remedy::of(record, grants.as_ref()?, &rules.catalog).suggestion
    }

    /// The same as a page.
    pub(super) async fn refusals_page(
        self: &Arc<Self>,
        frame: &Frame<'_>,
    ) -> Result<Reply, Trouble> {
        let all = self.refusals().await?;
        let groups = all.get("refusals").and_then(Value::as_array);
        let groups = groups.map_or(&[][..], Vec::as_slice);
        let content = html! {
            h1 { "Refusals" }
            section {
                @if groups.is_empty() {
                    p.empty { "Nothing was refused, as far as this process remembers. What is refused from now on stands here, with what would allow it." }
                } @else {
                    div.table {
                        table.stack {
                            caption { "By sub-token, endpoint and reason, the last first" }
                            thead { tr {
                                th.number scope="col" { "Count" } th scope="col" { "Last" } th scope="col" { "Sub-token" } th scope="col" { "Request" }
                                th scope="col" { "What the client was told" } th scope="col" { "What would allow it" }
                            } }
                            tbody { @for (place, group) in groups.iter().enumerate() { (row(place, group)) } }
                        }
                    }
                }
                (how_far(all.get("since").and_then(Value::as_str)))
            }
        };
        let page = page::whole("Refusals", "/refusals", Some(frame), &content);
        Ok(Reply::Page(StatusCode::OK, page))
    }
}

fn row(place: usize, group: &Value) -> Markup {
    let token = group.get("token").unwrap_or(&Value::Null);
    let (method, path) = (text(group, "method"), text(group, "path"));
    let (message, detail) = (text(group, "message"), text(group, "detail"));
    html! {
        tr {
            td.number data-name="Count" { (group.get("count").and_then(Value::as_u64).unwrap_or_default()) }
            td.time data-name="Last" { (time_text(text(group, "last"))) }
            td data-name="Sub-token" { (whose(group)) }
            td data-name="Request" { @if path.is_empty() { "–" } @else { code { (method) " " (path) } } }
            td data-name="What the client was told" {
                div {
                    strong { (text(group, "reason")) }
                    @if !message.is_empty() { br; (message) }
                    @if detail != message { br; span.hint { (detail) } }
                }
            }
            td data-name="What would allow it" {
                @if text(token, "id").is_empty() || path.is_empty() { "–" } @else { (remedy(place, group)) }
            }
        }
    }
}

/// The YAML that would allow it, to be copied, and the question that tells it of how things are now.
fn remedy(place: usize, group: &Value) -> Markup {
    let (method, path) = (text(group, "method"), text(group, "path"));
    let token = group.get("token").map_or("", |token| text(token, "id"));
    let ask = format!(
        "/ask?token={}&method={}&path={}",
        encoded(token),
        encoded(method),
        encoded(path)
    );
    let (suggestion, id) = (text(group, "suggestion"), format!("suggestion-{place}"));
    html! {
        @if !suggestion.is_empty() {
            pre id=(id) { (suggestion) }
            button.quiet.copy type="button" data-copy=(id) hidden { "Copy" }
            " "
        }
        a href=(ask) { "Ask" }
    }
}
