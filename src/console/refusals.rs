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

/// How many groups are told.
const MOST: usize = 200;

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
            let told = order.iter().take(MOST).filter_map(|key| {
                let Group { count, last } = groups.get(key)?;
                let member = |name: &str| last.get(name).cloned().unwrap_or(Value::Null);
                Some(json!({
                    "token": member("token"),
                    "endpoint": member("endpoint"),
                    "reason": member("reason"),
                    "count": count,
                    "last": member("time"),
                    "method": member("method"),
                    "path": member("path"),
                    "detail": member("detail"),
                    "client_ip": member("client_ip"),
                    "request_id": member("request_id"),
                }))
            });
            let groups: Value = told.collect();
            Ok(json!({ "refusals": groups, "since": recent.since }))
        })
        .await
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
                                th scope="col" { "Reason" } th scope="col" { "What to do" }
                            } }
                            tbody { @for group in groups { (row(group)) } }
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

fn row(group: &Value) -> Markup {
    let token = group.get("token").unwrap_or(&Value::Null);
    let (method, path) = (text(group, "method"), text(group, "path"));
    let ask = format!(
        "/ask?token={}&method={}&path={}",
        encoded(text(token, "id")),
        encoded(method),
        encoded(path)
    );
    html! {
        tr {
            td.number data-name="Count" { (group.get("count").and_then(Value::as_u64).unwrap_or_default()) }
            td.time data-name="Last" { (time_text(text(group, "last"))) }
            td data-name="Sub-token" { (whose(group)) }
            td data-name="Request" { @if path.is_empty() { "–" } @else { code { (method) " " (path) } } }
            td data-name="Reason" { strong { (text(group, "reason")) } @if !text(group, "detail").is_empty() { br; (text(group, "detail")) } }
            td data-name="What to do" { @if text(token, "id").is_empty() || path.is_empty() { "–" } @else { a href=(ask) { "What would allow it?" } } }
        }
    }
}
