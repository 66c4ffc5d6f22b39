//! Lines of the record: as tables, as JSON, and as they come.

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::StreamBody;
use hyper::StatusCode;
use hyper::body::Frame as BodyFrame;
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::{MissedTickBehavior, interval};

use super::form::{Form, encoded};
use super::history::{Recent, RecordLine};
use super::page::{self, Frame, badge, field, shell, time_text};
use super::reply::{Reply, Trouble};
use super::{Console, ConsoleRequest, sign_in};
use crate::audit::{Newest, Reach, Wanted, text};
use crate::config::AuditSink;
use crate::response::AnswerBody;
use crate::units::Span;

/// How many records are told at once.
const USUAL: usize = 200;
const MOST: usize = 1000;
/// How long files are searched for who asks.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is looked for, as a query says it.
///
/// # Errors
/// What in it can't be.
pub(super) fn wanted(query: &Form) -> Result<Wanted, Trouble> {
    let time = |name: &str| {
        let told = query.one(name).map(|text| {
            let ago = text.parse::<Span>().ok();
            let ago = ago.and_then(|ago| Timestamp::now().checked_sub(ago.duration()).ok());
            let time = text.parse::<Timestamp>().ok().or(ago);
            let time = time.map(|time| format!("{time:.6}"));
            time.ok_or_else(|| {
                Trouble::Bad(format!(
                    "`{name}` is a time, as `2027-01-31T00:00:00Z`, or how long ago, as `7d`"
                ))
            })
        });
        told.transpose()
    };
    let is = |name: &str| match query.one(name) {
        None | Some("false") => Ok(false),
        Some("true" | "1" | "on") => Ok(true),
        Some(_) => Err(Trouble::Bad(format!("`{name}` is true or false"))),
    };
    let named = |name: &str| query.one(name).map(str::to_owned);
    let token = named("token");
    if token.as_deref().is_some_and(crate::secret::has_token) {
        return Err(Trouble::Bad("a sub-token does not belong into an address, where histories and proxies keep it; name it by its name or id".to_owned()));
    }
    Ok(Wanted {
        token,
        since: time("since")?,
        before: time("before")?,
        changes: is("changes")?,
        refused: is("refused")?,
        resource: named("resource"),
    })
}

/// What was found in the record.
#[derive(Debug)]
pub(super) struct FoundRecords {
    /// The newest first.
    pub records: Vec<Value>,
    /// How far back this goes.
    pub since: Option<String>,
    /// Before when there may be more; nothing where there is none, or none that can be reached.
    pub before: Option<String>,
    /// Whether the record has no more of these.
    pub is_whole: bool,
    /// The files that could not be read.
    pub unread: Vec<String>,
}

impl FoundRecords {
    /// What is in memory alone.
    fn in_memory(recent: Recent, most: usize) -> Self {
        let oldest = recent
            .records
            .last()
            .map(|last| text(last, "time").to_owned());
        let is_cut = recent.records.len() >= most;
        Self {
            since: if is_cut { oldest.clone() } else { recent.since },
            before: oldest.filter(|_| is_cut),
            is_whole: false,
            unread: Vec::new(),
            records: recent.records,
        }
    }

    fn in_files(newest: Newest<'_>, reach: Reach) -> Self {
        let is_whole = reach.is_whole && reach.unread.is_empty();
        let since = if newest.is_full() {
            newest.oldest().map(str::to_owned)
        } else {
            reach.since
        };
        Self {
            before: since.clone().filter(|_| !reach.is_whole),
            since,
            is_whole,
            unread: reach.unread,
            records: newest.into_records(),
        }
    }

    pub fn as_json(&self) -> Value {
        let Self {
            records,
            since,
            before,
            is_whole,
            unread,
        } = self;
        json!({ "records": records, "since": since, "before": before, "complete": is_whole, "unread": unread })
    }
}

impl Console {
    /// Records, the newest first, and how far back they go.
    pub(super) async fn records(self: &Arc<Self>, query: &Form) -> Result<Value, Trouble> {
        let most = match query.one("limit") {
            None => USUAL,
            Some(text) => text
                .parse()
                .map_err(|_| Trouble::Bad("`limit` is a number".to_owned()))?,
        };
        let found = self.search(wanted(query)?, most.clamp(1, MOST), PATIENCE);
        Ok(found.await?.as_json())
    }

    /// The newest records that are wanted: from memory where that has enough of them, else from the record's files, as far back as
    /// that time allows.
    pub(super) async fn search(
        self: &Arc<Self>,
        wanted: Wanted,
        most: usize,
        patience: Duration,
    ) -> Result<FoundRecords, Trouble> {
        let recent = self.history.recent(&wanted, most);
        let serving = self.current.get();
        let AuditSink::File(path) = &serving.rules.settings.audit.sink else {
            return Ok(FoundRecords::in_memory(recent, most));
        };
        if recent.is_whole {
            return Ok(FoundRecords::in_memory(recent, most));
        }
        let (console, path) = (self.clone(), path.clone());
        let searched = self.at_length(patience, move || {
            let mut newest = Newest::new(&wanted, most);
            let until = Instant::now() + patience;
            let reach = console.older.search(&path, &mut newest, until);
            let reach = reach.map_err(|error| {
                Trouble::Unable(format!("the record's files can't be listed: {error}"))
            })?;
            Ok(FoundRecords::in_files(newest, reach))
        });
        match searched.await {
            // Nothing is there that can be searched: a pipe, or files that others may read alone.
            Ok(found) if found.since.is_none() => Ok(FoundRecords {
                unread: found.unread,
                ..FoundRecords::in_memory(recent, most)
            }),
            Err(Trouble::Unable(why)) => Ok(FoundRecords {
                unread: vec![why],
                ..FoundRecords::in_memory(recent, most)
            }),
            searched => searched,
        }
    }

    /// The lines of the record as they come, until the session ends or the client leaves.
    fn follow(self: &Arc<Self>, asked: &ConsoleRequest<'_>, by: Viewer) -> Result<Reply, Trouble> {
        let seat = self.viewers.clone().try_acquire_owned();
        let seat = seat.map_err(|_| {
            Trouble::Unable("as many look on as may; close another page of this kind".to_owned())
        })?;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let looking = Looking {
            console: self.clone(),
            client: asked.client.clone(),
            by,
            wanted: wanted(&asked.query)?,
            lines: self.history.follow(),
            ticks,
            passed_over: self.history.passed_over(),
            count: 0,
            _seat: seat,
        };
        let pieces = stream::unfold(looking, |mut looking| async move {
            let piece = looking.next().await?;
            Some((Ok(BodyFrame::data(piece)), looking))
        });
        let body = AnswerBody::pieces(StreamBody::new(pieces));
        Ok(Reply::Events(body))
    }
}

/// By what somebody looks on, so that it ends with that.
pub(super) enum Viewer {
    Cookie(String),
    Token(crate::token::SubToken),
}

/// How many may look on at once: some connections must be left for who wants to do something.
pub(super) const VIEWERS: usize = 16;
/// How often lines are sent, and how many at once; more in that time are passed over, and their number told.
const TICK: Duration = Duration::from_millis(200);
const AT_ONCE: usize = 20;
/// How many ticks pass until it is looked whether the session lasts, and a sign of life is sent.
const CHECKED: u32 = 5;
const ALIVE: u32 = 50;

struct Looking {
    console: Arc<Console>,
    client: crate::identify::Client,
    by: Viewer,
    wanted: Wanted,
    lines: tokio::sync::broadcast::Receiver<RecordLine>,
    ticks: tokio::time::Interval,
    /// How many lines were passed over before they could be handed on, as far as was told.
    passed_over: u64,
    count: u32,
    _seat: tokio::sync::OwnedSemaphorePermit,
}

impl Looking {
    /// What goes out next; nothing once nobody may look on any more.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            self.ticks.tick().await;
            self.count = self.count.wrapping_add(1);
            if self.count.is_multiple_of(CHECKED) && !self.lasts().await {
                return None;
            }
            let piece = self.come();
            if !piece.is_empty() {
                return Some(piece.into());
            }
            if self.count % ALIVE == 1 {
                return Some(Bytes::from_static(b": here\n\n"));
            }
        }
    }

    async fn lasts(&self) -> bool {
        let console = &self.console;
        let right = crate::policy::Right::View;
        match &self.by {
            Viewer::Cookie(cookie) => {
                let found = console.signed_in(Some(cookie), &self.client, false).await;
                found.is_ok_and(|(operator, _)| operator.has(right))
            }
            Viewer::Token(token) => {
                let found = console.by_token(token, &self.client).await;
                found.is_ok_and(|operator| operator.has(right))
            }
        }
    }

    /// What came since the last time, as events.
    fn come(&mut self) -> String {
        let (mut out, mut told) = (String::new(), 0);
        let all_passed_over = self.console.history.passed_over();
        let mut passed_over = all_passed_over - self.passed_over;
        self.passed_over = all_passed_over;
        loop {
            let line = match self.lines.try_recv() {
                Ok(line) => line,
                Err(TryRecvError::Lagged(count)) => {
                    passed_over += count;
                    continue;
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            };
            // One that is too long is empty here.
            if told >= AT_ONCE || line.is_empty() {
                passed_over += 1;
                continue;
            }
            let Ok(record) = serde_json::from_slice::<Value>(&line) else {
                continue;
            };
            if text(&record, "event") != "decision" && self.wanted.fits(&record) {
                told += 1;
                let _ = write!(out, "event: record\ndata: {record}\n\n");
            }
        }
        if passed_over > 0 {
            let _ = write!(
                out,
                "event: thinned\ndata: {{\"passed_over\":{passed_over}}}\n\n"
            );
        }
        out
    }
}

/// Records as a table.
pub(super) fn table(records: &[Value], with_token: bool) -> Markup {
    html! {
        @if records.is_empty() {
            p.empty { "Nothing, as far as is remembered here." }
        } @else {
            div.table {
                table.stack {
                    caption { (records.len()) " lines of the record, the newest first" }
                    thead { tr {
                        th scope="col" { "When" }
                        @if with_token { th scope="col" { "Sub-token" } }
                        th scope="col" { "From" } th scope="col" { "Request" } th scope="col" { "Decision" } th scope="col" { "What and why" }
                        th.number scope="col" { "Status" }
                    } }
                    tbody { @for record in records { (row(record, with_token)) } }
                }
            }
        }
    }
}

fn row(record: &Value, with_token: bool) -> Markup {
    let status = record.get("status").and_then(Value::as_u64);
    let refused = text(record, "decision") == "deny";
    let event = text(record, "event");
    html! {
        tr {
            td.time data-name="When" { (time_text(text(record, "time"))) }
            @if with_token { td data-name="Sub-token" { (whose(record)) } }
            td.from data-name="From" { code { (text(record, "client_ip")) } }
            td data-name="Request" {
                @if text(record, "path").is_empty() { (event) }
                @else { code { (text(record, "method")) " " (text(record, "path")) } }
            }
            td data-name="Decision" { @if refused { (badge("bad", "refused")) } @else { (badge("good", "allowed")) } }
            td data-name="Why" {
                (text(record, "reason"))
                @if !text(record, "detail").is_empty() { @if !text(record, "reason").is_empty() { ": " } (text(record, "detail")) }
                @if event == "decision" { " (under way, or cut off)" }
            }
            td.number data-name="Status" { @match status { Some(status) => (status), None => "–" } }
        }
    }
}

/// The sub-token of a record, and the way to it.
pub(super) fn whose(record: &Value) -> Markup {
    let token = record.get("token").unwrap_or(&Value::Null);
    let id = text(token, "id");
    html! {
        @if id.is_empty() { "–" } @else { a href={ "/tokens/" (id) } { (text(token, "name")) } }
    }
}

/// How far back something goes that comes from memory, and where the rest is.
pub(super) fn how_far(since: Option<&str>) -> Markup {
    html! {
        p.hint {
            @match since {
                Some(since) => { "This goes back to " (time_text(since)) ", as far as this process remembers. " }
                None => "This process has recorded nothing yet. ",
            }
            "What is older is in " a href="/records" { "the record" } "."
        }
    }
}

/// How far back a search went, and the way further.
pub(super) fn reached(found: &Value, of: &str, further: &str) -> Markup {
    let member = |name: &str| found.get(format!("{of}{name}")).unwrap_or(&Value::Null);
    let unread = member("unread").as_array();
    let (since, before) = (member("since").as_str(), member("before").as_str());
    html! {
        @for why in unread.into_iter().flatten() {
            p.alert { "This could not be searched: " (why.as_str().unwrap_or_default()) }
        }
        p.hint {
            @if *member("complete") == Value::Bool(true) { "The record has no more of these. " }
            @else if let Some(since) = since { "This goes back to " (time_text(since)) ". " }
            @if let Some(before) = before {
                a href={ "/records?" (further) "before=" (encoded(before)) } { "Look further back" }
            }
        }
    }
}

/// What a search was for, as a query that something may follow.
fn query_of(query: &Form) -> String {
    let named = ["token", "resource", "since", "refused", "changes"];
    let given = named
        .into_iter()
        .filter_map(|name| Some((name, query.one(name)?)));
    given.fold(String::new(), |mut all, (name, value)| {
        let _ = write!(all, "{name}={}&", encoded(value));
        all
    })
}

/// The fields that narrow what is shown of the record.
fn narrowing(query: &Form) -> Markup {
    let is = |name: &str| query.one(name).is_some_and(|text| text != "false");
    html! {
        div { (field("token", "Sub-token (name or id)", "text", query.one("token"))) }
        div { (field("resource", "Resource (droplet:12)", "text", query.one("resource"))) }
        fieldset {
            legend { "Only" }
            div.choices {
                label { input type="checkbox" name="refused" value="true" checked[is("refused")]; "refused" }
                label { input type="checkbox" name="changes" value="true" checked[is("changes")]; "changes" }
            }
        }
    }
}

/// The page of a search.
fn searched(query: &Form, found: &Value, frame: &Frame<'_>) -> Markup {
    let content = html! {
        h1 { "Record" }
        section {
            form.filter method="get" action="/records" role="search" aria-label="Record" {
                (narrowing(query))
                div { (field("since", "Since (7d, or a time)", "text", query.one("since"))) }
                div { (field("before", "Before (1h, or a time)", "text", query.one("before"))) }
                button type="submit" { "Search" }
            }
        }
        section {
            (table(found.get("records").and_then(Value::as_array).map_or(&[], Vec::as_slice), true))
            (reached(found, "", &query_of(query)))
            p.hint { "On the machine: " code { "tidegate audit search" @if let Some(token) = query.one("token") { " --token=" (shell(token)) } } }
        }
    };
    page::whole("Record", "/records", Some(frame), &content)
}

/// The page of lines as they come.
fn live(query: &Form, recent: &Value, frame: &Frame<'_>) -> Markup {
    let content = html! {
        h1 { "Live" }
        section {
            form.filter method="get" action="/live" {
                (narrowing(query))
                button type="submit" { "Filter" }
            }
        }
        section {
            p.actions {
                span id="live-state" role="status" { "Without script this page shows what came until now." }
                button.quiet id="live-stop" type="button" hidden { "Pause" }
            }
            div id="live" data-live="/live/lines" {
                (table(recent.get("records").and_then(Value::as_array).map_or(&[], Vec::as_slice), true))
            }
            (how_far(recent.get("since").and_then(Value::as_str)))
        }
    };
    page::whole("Live", "/live", Some(frame), &content)
}

impl Console {
    /// The page of what was searched for.
    pub(super) async fn records_page(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
    ) -> Result<Reply, Trouble> {
        let found = self.records(&asked.query).await?;
        let page = searched(&asked.query, &found, frame);
        Ok(Reply::Page(StatusCode::OK, page))
    }

    /// The page, with what came last.
    pub(super) fn live_page(
        &self,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
    ) -> Result<Reply, Trouble> {
        let recent = self.history.recent(&wanted(&asked.query)?, 50);
        let recent = json!({ "records": recent.records, "since": recent.since });
        let page = live(&asked.query, &recent, frame);
        Ok(Reply::Page(StatusCode::OK, page))
    }

    /// The lines for the page.
    pub(super) fn live_lines(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
    ) -> Result<Reply, Trouble> {
        let cookie = sign_in::cookie(asked.headers, asked.reached);
        self.follow(asked, Viewer::Cookie(cookie.unwrap_or_default().to_owned()))
    }

    /// The lines for programs.
    pub(super) fn live_for_programs(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
    ) -> Result<Reply, Trouble> {
        self.follow(asked, Viewer::Token(crate::gate::bearer(asked.headers)?))
    }
}
