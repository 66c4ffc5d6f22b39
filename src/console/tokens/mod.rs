//! Sub-tokens: which there are, what each may and did, and their end.

mod new;
mod pages;
mod several;

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::form::{Form, encoded};
use super::page::Frame;
use super::reply::{Reply, Trouble};
use super::sign_in::ConsoleOperator;
use super::{Console, ConsoleRequest, Done};
use crate::audit::{Resource, Wanted, text};
use crate::operate::{Failed, NewToken, ShownToken, rotate_found};
use crate::policy::{FileToken, bind};
use crate::rules::Rules;
use crate::secret::has_token;
use crate::state::{self, INTERVAL, Issued, KeptToken, SeenToken, StateError, Store, TokenFate};
use crate::token::{SubToken, TokenId, Usage};
use crate::units::Span;
use pages::{list_page, new_page, token_page};

/// Which tokens are looked for. What is absent does not narrow.
#[derive(Default)]
pub(super) struct Filter {
    text: Option<String>,
    state: Option<String>,
    role: Option<String>,
    owner: Option<String>,
    trust: Option<String>,
    page: usize,
    per_page: usize,
}

/// The states that a token may be in, as lists show them.
const STATES: [&str; 5] = [
    "active",
    "not_yet_valid",
    "expired",
    "revoked",
    "role_missing",
];

/// How many tokens a page has.
const PER_PAGE: usize = 50;
const MOST_PER_PAGE: usize = 200;
/// How many of its last requests are shown with a token.
const REQUESTS: usize = 200;
/// How long files are searched for what else it did; the page must not wait for more.
const BRIEF: Duration = Duration::from_millis(100);
/// How many of its children are shown with a token.
const CHILDREN: usize = 200;
/// How long the state is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl Filter {
    pub fn of(query: &Form) -> Result<Self, Trouble> {
        let text = |name: &str| query.one(name).map(str::to_owned);
        let number = |name: &str, usual: usize| match query.one(name) {
            None => Ok(usual),
            Some(text) => text
                .parse()
                .map_err(|_| Trouble::Bad(format!("`{name}` is a number, and `{text}` is none"))),
        };
        let filter = Self {
            text: text("q"),
            state: text("state"),
            role: text("role"),
            owner: text("owner"),
            trust: text("trust"),
            page: number("page", 1)?.max(1),
            per_page: number("per_page", PER_PAGE)?.clamp(1, MOST_PER_PAGE),
        };
        if filter.text.as_deref().is_some_and(has_token) {
            return Err(Trouble::Bad("a sub-token does not belong into an address, where histories and proxies keep it; search by its name or id, or put it into the field for whole sub-tokens".to_owned()));
        }
        if let Some(state) = filter
            .state
            .as_deref()
            .filter(|state| !STATES.contains(state))
        {
            let known = STATES.join(", ");
            return Err(Trouble::Bad(format!(
                "`{state}` is no state of a token; there are {known}"
            )));
        }
        Ok(filter)
    }

    /// The query that leads to the end of those that are like that, as far as they can end together.
    fn narrowing(&self) -> String {
        let texts = [
            ("role", &self.role),
            ("owner", &self.owner),
            ("trust", &self.trust),
        ];
        let given = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name, text.as_ref()?)));
        let given = given.map(|(name, text)| format!("{name}={}", encoded(text)));
        match given.collect::<Vec<_>>().join("&") {
            given if given.is_empty() => given,
            given => format!("?{given}"),
        }
    }

    /// The query that leads to another page of the same.
    fn query(&self, page: usize) -> String {
        let texts = [
            ("q", &self.text),
            ("state", &self.state),
            ("role", &self.role),
            ("owner", &self.owner),
            ("trust", &self.trust),
        ];
        let mut query = format!("?page={page}");
        for (name, text) in texts {
            if let Some(text) = text {
                let _ = write!(query, "&{name}={}", encoded(text));
            }
        }
        query
    }
}

/// The roles that a token's secret gives, that of its ceiling too: whether it holds yet is for the clock to say, not for who rotates it.
fn hands_out(token: &KeptToken) -> Vec<String> {
    let ceiling = token.ceiling().map(|ceiling| ceiling.role.clone());
    token.roles().iter().cloned().chain(ceiling).collect()
}

impl Console {
    /// The tokens that are wanted, a page of them, by name.
    pub(super) async fn tokens(
        self: &Arc<Self>,
        filter: Filter,
    ) -> Result<(Filter, Value), Trouble> {
        let console = self.clone();
        aside(move || console.listed(filter)).await
    }

    fn listed(&self, filter: Filter) -> Result<(Filter, Value), Trouble> {
        let serving = self.current.get();
        let rules = &serving.rules;
        let now = self.tokens.now().latest;
        let state = state(rules)?;
        let owned = filter.owner.as_deref().map(|owner| state.owned_by(owner));
        let owned: Option<HashSet<TokenId>> = match owned {
            None => None,
            Some(owned) => Some(owned.map_err(unable)?.into_iter().collect()),
        };
        let text = filter.text.as_deref().map(str::to_lowercase);
        let fits = |token: &KeptToken| {
            let named = text.as_deref().is_none_or(|text| {
                token.name().to_lowercase().contains(text)
                    || token.id().as_str().to_lowercase() == text
            });
            let role = filter.role.as_ref();
            named && role.is_none_or(|role| token.roles().contains(role))
        };
        let mut found = Vec::new();
        self.tokens.each(rules.in_force(), |token| {
            let is_theirs = match (&filter.owner, &owned, &token.kept) {
                (Some(wanted), _, KeptToken::Listed(listed)) => {
                    listed.owner.as_ref() == Some(wanted)
                }
                (_, Some(owned), KeptToken::Issued(issued)) => owned.contains(&issued.id),
                (None, _, KeptToken::Listed(_)) | (_, None, KeptToken::Issued(_)) => true,
            };
            let by_rule = filter.trust.is_none() || token.kept.rule() == filter.trust.as_deref();
            let fits = is_theirs && by_rule && fits(&token.kept);
            if fits
                && (filter.state.as_deref()).is_none_or(|state| self.state(token, rules) == state)
            {
                found.push(token.clone());
            }
        });
        found.sort_unstable_by(|a, b| {
            (a.kept.name(), a.kept.id()).cmp(&(b.kept.name(), b.kept.id()))
        });
        let total = found.len();
        let page = found
            .into_iter()
            .skip((filter.page - 1).saturating_mul(filter.per_page))
            .take(filter.per_page)
            .map(|token| self.as_shown(&token, Some(&*state), rules).as_json(now));
        let page: Value = page.collect();
        let list = json!({ "tokens": page, "total": total, "page": filter.page, "per_page": filter.per_page });
        Ok((filter, list))
    }

    /// Lets what was issued this very moment come into memory, where what is looked for is not there yet.
    async fn let_come(&self, wanted: &str, rules: &Rules) -> Result<(), Trouble> {
        if self.found(wanted, rules).is_ok() {
            return Ok(());
        }
        match wanted.parse::<TokenId>() {
            Ok(id) => {
                let known = self
                    .tokens
                    .entry(&id, rules.file_token(&id).is_some())
                    .await;
                known.map_err(|_| unable("the state can't be read; the log says why"))?;
            }
            Err(_) => tokio::time::sleep(INTERVAL * 2).await,
        }
        Ok(())
    }

    /// The token with this id or name; of several with the name, the newest that lives.
    pub(super) fn found(&self, wanted: &str, rules: &Rules) -> Result<SeenToken, Trouble> {
        let mut found = Vec::new();
        self.tokens.each(rules.in_force(), |token| {
            if token.kept.id().as_str() == wanted || token.kept.name() == wanted {
                found.push(token.clone());
            }
        });
        let rank = |token: &SeenToken| {
            let lives = !matches!(self.state(token, rules), "revoked" | "expired");
            let by_id = token.kept.id().as_str() == wanted;
            (by_id, lives, token.kept.since())
        };
        let found = found.into_iter().max_by_key(rank);
        found.ok_or_else(|| {
            Trouble::Missing(
                "there is no sub-token of this name or id; the list of tokens has them all"
                    .to_owned(),
            )
        })
    }

    /// How a token stands, as lists tell it.
    fn state(&self, token: &SeenToken, rules: &Rules) -> &'static str {
        let now = self.tokens.now();
        self.tokens.fate(token, rules.in_force(), now).as_str()
    }

    /// A token with what is kept beside for those who list tokens.
    fn as_shown(&self, token: &SeenToken, about: Option<&dyn Store>, rules: &Rules) -> ShownToken {
        let now = self.tokens.now();
        let fate = self.tokens.fate(token, rules.in_force(), now);
        let (usage, revoked_at) = (token.usage, token.revoked_at);
        let mut shown = match &token.kept {
            KeptToken::Issued(token) => {
                let whole = about.and_then(|state| state.find(token.id.as_str()).ok().flatten());
                let token = whole.unwrap_or_else(|| Issued::clone(token));
                ShownToken::issued(token, usage, revoked_at, now.latest)
            }
            KeptToken::Listed(token) => {
                ShownToken::listed(FileToken::clone(token), usage, revoked_at)
            }
        };
        let bound = bind(&rules.policy, &shown.roles, shown.vars());
        let unbound = token.kept.unbound(&rules.policy, now.latest);
        shown.unbound = unbound.or(bound.err());
        shown.ended = match fate {
            TokenFate::WithMaker(ended) => Some(ended),
            TokenFate::Own(_) | TokenFate::RoleMissing => None,
        };
        shown
    }

    /// One token: what is kept of it, what it may, and what it did.
    pub(super) async fn token(self: &Arc<Self>, wanted: String) -> Result<Value, Trouble> {
        self.let_come(&wanted, &self.current.get().rules).await?;
        let id = self
            .found(&wanted, &self.current.get().rules)?
            .kept
            .id()
            .clone();
        let of_it = Wanted {
            token: Some(id.to_string()),
            ..Wanted::default()
        };
        let did = self.search(of_it, REQUESTS, BRIEF).await?;
        let console = self.clone();
        aside(move || {
            let serving = console.current.get();
            let rules = &serving.rules;
            let now = console.tokens.now().latest;
            let found = console.found(id.as_str(), rules)?;
            let shown = console.as_shown(&found, Some(&*state(rules)?), rules);
            let mut all = shown.as_json(now);
            if let Some(members) = all.as_object_mut() {
                let may = bind(&rules.policy, &shown.roles, shown.vars());
                let may = may.map_or(Value::Null, |grants| super::roles::may(&grants, rules));
                members.insert("may".to_owned(), may);
                members.insert("children".to_owned(), console.children(&id, rules, now));
                members.insert("from".to_owned(), from(&did.records));
                members.insert("records_since".to_owned(), did.since.into());
                members.insert("records_before".to_owned(), did.before.into());
                members.insert("records_complete".to_owned(), did.is_whole.into());
                members.insert("records_unread".to_owned(), did.unread.into());
                members.insert("records".to_owned(), did.records.into());
            }
            Ok(all)
        })
        .await
    }

    /// The sub-tokens that one made, by name, those that live first.
    fn children(&self, parent: &TokenId, rules: &Rules, now: Timestamp) -> Value {
        let mut children = Vec::new();
        self.tokens.each(rules.in_force(), |token| {
            let maker = token.kept.parent();
            if maker.is_some_and(|maker| maker.id == *parent) {
                children.push(token.clone());
            }
        });
        let moment = self.tokens.now();
        let ended = |child: &SeenToken| !self.tokens.fate(child, rules.in_force(), moment).lives();
        children.sort_by_cached_key(|child| (ended(child), child.kept.name().to_owned()));
        let total = children.len();
        let shown = children.iter().take(CHILDREN);
        let shown = shown.map(|child| self.as_shown(child, None, rules).as_json(now));
        json!({ "tokens": shown.collect::<Value>(), "total": total })
    }

    /// Ends a token, as `token revoke` does.
    async fn revoke(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        operator: &ConsoleOperator,
        wanted: &str,
    ) -> Result<Value, Trouble> {
        let serving = self.current.get();
        self.let_come(wanted, &serving.rules).await?;
        let (id, name) = {
            let found = self.found(wanted, &serving.rules)?;
            (found.kept.id().clone(), found.kept.name().to_owned())
        };
        let done = of_token(format!("revokes the sub-token `{name}` ({id})"), &id);
        self.record(asked, operator, &done).await?;
        let (ended, rules) = (id.clone(), serving.clone());
        let kept = aside(move || {
            let mut state = state(&rules.rules)?;
            state.revoke(&ended, Timestamp::now()).map_err(unable)
        })
        .await;
        self.undone(asked, operator, (&done, kept))?;
        Ok(json!({ "id": id.as_str(), "name": name, "revoked": true }))
    }

    /// Gives a token a new secret, as `token rotate` does; the secret is told once, here.
    async fn rotate(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        operator: &ConsoleOperator,
        (wanted, grace): (&str, Option<&str>),
    ) -> Result<Value, Trouble> {
        let grace = grace.map(|text| {
            let span = text.parse::<Span>();
            span.map_err(|error| Trouble::Bad(format!("`{text}` is no time of grace: {error}")))
        });
        let grace = grace.transpose()?;
        let serving = self.current.get();
        let now = self.tokens.now().latest;
        self.let_come(wanted, &serving.rules).await?;
        let found = self.found(wanted, &serving.rules)?;
        let handed_out = hands_out(&found.kept);
        if let Some(why) = operator
            .may
            .may_not_issue(&serving.rules.policy, &handed_out)
        {
            return Err(Trouble::Forbidden(why));
        }
        let shown = {
            let (serving, about) = (serving.clone(), serving.clone());
            let console = self.clone();
            let whole = move || {
                let about = state(&about.rules)?;
                Ok(console.as_shown(&found, Some(&*about), &serving.rules))
            };
            aside(whole).await?
        };
        let (id, name) = (&shown.id, &shown.name);
        let done = of_token(format!("rotates the sub-token `{name}` ({id})"), id);
        self.record(asked, operator, &done).await?;
        let rotated = aside(move || {
            let mut state = state(&serving.rules)?;
            let rotated =
                rotate_found(&mut *state, &shown, grace).map_err(|failed| bad(&failed))?;
            Ok((rotated, shown))
        })
        .await;
        let ((token, until), shown) = self.undone(asked, operator, (&done, rotated))?;
        let until = until.map(|until| format!("{until:.0}"));
        Ok(with_secret(shown.as_json(now), &token, until))
    }

    /// Issues a token, as `token issue` does; the secret is told once, here.
    async fn issue(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        operator: &ConsoleOperator,
        new: NewToken,
    ) -> Result<Value, Trouble> {
        let serving = self.current.get();
        if let Some(why) = operator
            .may
            .may_not_issue(&serving.rules.policy, &new.roles)
        {
            return Err(Trouble::Forbidden(why));
        }
        let made = new.make(&serving.rules.policy, Timestamp::now());
        let (token, issued) = made.map_err(|failed| bad(&failed))?;
        let (id, name) = (&issued.id, &issued.name);
        let roles = issued.roles.join("`, `");
        let done = of_token(
            format!("issues the sub-token `{name}` ({id}) with `{roles}`"),
            id,
        );
        self.record(asked, operator, &done).await?;
        let kept = aside(move || {
            let now = Timestamp::now();
            let kept = state(&serving.rules)?.issue(&issued, now);
            kept.map_err(|error| match error {
                StateError::NameTaken(_) => Trouble::Taken(error.to_string()),
                error => unable(error),
            })?;
            Ok(ShownToken::issued(issued, Usage::default(), None, now).as_json(now))
        })
        .await;
        let shown = self.undone(asked, operator, (&done, kept))?;
        Ok(with_secret(shown, &token, None))
    }
}

/// The state, for a moment.
pub(super) fn state(rules: &Rules) -> Result<Box<dyn Store>, Trouble> {
    state::open(&rules.settings.state, PATIENCE).map_err(unable)
}

fn unable(error: impl std::fmt::Display) -> Trouble {
    Trouble::Unable(error.to_string())
}

fn bad(failed: &Failed) -> Trouble {
    Trouble::Bad(failed.in_a_line())
}

/// Does what waits for files away from where requests are answered.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    let lost = |_| Trouble::Unable("it could not be done; the log says why".to_owned());
    done.map_err(lost)?
}

fn of_token(what: String, id: &TokenId) -> Done {
    Done {
        what,
        resources: vec![Resource::named("sub_token", Some(id.to_string()), None)],
    }
}

/// Leads to the page of a token.
fn see_token(name_or_id: &str) -> Reply {
    Reply::See(format!("/tokens/{}", encoded(name_or_id)), None)
}

fn with_secret(mut shown: Value, token: &SubToken, old_until: Option<String>) -> Value {
    if let Some(members) = shown.as_object_mut() {
        let secret = token.secret.expose();
        members.insert("token".to_owned(), secret.into());
        if old_until.is_some() {
            members.insert("old_secret_until".to_owned(), old_until.into());
        }
    }
    shown
}

/// From where, and how often from each.
fn from(records: &[Value]) -> Value {
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    let addresses = records
        .iter()
        .map(|record| crate::audit::text(record, "client_ip"));
    for address in addresses.filter(|address| !address.is_empty()) {
        *counts.entry(address).or_default() += 1;
    }
    let mut all: Vec<_> = counts.into_iter().collect();
    all.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let told = |(address, count)| json!({ "address": address, "requests": count });
    all.into_iter().map(told).collect()
}

impl Console {
    /// What is done with tokens from a page.
    pub(super) async fn token_pages(
        self: &Arc<Self>,
        task: TokenTask,
        asked: &ConsoleRequest<'_>,
        frame: &Frame<'_>,
        form: &Form,
    ) -> Result<Reply, Trouble> {
        let serving = self.current.get();
        let rules = &serving.rules;
        let ok = |page| Ok(Reply::Page(StatusCode::OK, page));
        match task {
            TokenTask::List => {
                let (filter, list) = self.tokens(Filter::of(&asked.query)?).await?;
                ok(list_page(&filter, &list, rules, frame))
            }
            TokenTask::Find => self.find_by_secret(form, rules).await,
            TokenTask::Several => {
                let asking = several::Asking::of_form(&asked.query)?;
                let told = if asking.says_which() {
                    let asking = asking.shown_first();
                    Some(self.revoke_several(asked, frame.operator, asking).await)
                } else {
                    None
                };
                ok(several::page(&asked.query, told.as_ref(), frame))
            }
            TokenTask::RevokeSeveral => {
                let asking = several::Asking::of_form(form)?;
                if !asking.has_count() {
                    return Err(several::no_count());
                }
                let told = self.revoke_several(asked, frame.operator, asking).await;
                ok(several::page(form, Some(&told), frame))
            }
            TokenTask::Show => {
                let token = self.token(asked.place.clone()).await?;
                ok(token_page(&token, rules, frame))
            }
            TokenTask::Revoke => {
                self.revoke(asked, frame.operator, &asked.place).await?;
                self.seen_revoked(&asked.place).await;
                Ok(see_token(&asked.place))
            }
            TokenTask::Rotate => {
                let wanted = (asked.place.as_str(), form.one("grace"));
                let rotated = self.rotate(asked, frame.operator, wanted).await?;
                self.with_rest(rotated, rules, frame).await
            }
            TokenTask::New => ok(new_page(&Form::default(), None, frame)),
            TokenTask::Issue => self.issue_from_page(asked, rules, frame, form).await,
        }
    }

    /// Leads to the token of which somebody typed the secret.
    async fn find_by_secret(&self, form: &Form, rules: &Rules) -> Result<Reply, Trouble> {
        let token = SubToken::read(form.one("token").unwrap_or_default()).map_err(|why| {
            Trouble::Bad(format!(
                "this sub-token can't be read: {why}; search by its name or id"
            ))
        })?;
        self.let_come(token.id.as_str(), rules).await?;
        let found = self.found(token.id.as_str(), rules)?;
        Ok(see_token(found.kept.id().as_str()))
    }

    /// Issues what a form asks for; where that can't be, the form comes again with why.
    async fn issue_from_page(
        self: &Arc<Self>,
        asked: &ConsoleRequest<'_>,
        rules: &Rules,
        frame: &Frame<'_>,
        form: &Form,
    ) -> Result<Reply, Trouble> {
        let issued = match new::of_form(form) {
            Ok(new) => self.issue(asked, frame.operator, new).await,
            Err(trouble) => Err(trouble),
        };
        match issued {
            Ok(issued) => self.with_rest(issued, rules, frame).await,
            Err(Trouble::Bad(why) | Trouble::Taken(why)) => {
                let page = new_page(form, Some(&why), frame);
                Ok(Reply::Page(StatusCode::BAD_REQUEST, page))
            }
            Err(trouble) => Err(trouble),
        }
    }

    /// The page of a token whose secret is told.
    async fn with_rest(
        self: &Arc<Self>,
        told: Value,
        rules: &Rules,
        frame: &Frame<'_>,
    ) -> Result<Reply, Trouble> {
        let mut all = told;
        let rest = self.token(text(&all, "id").to_owned()).await;
        let rest = rest.unwrap_or_else(|_| Value::Object(Map::new()));
        if let (Some(all), Value::Object(rest)) = (all.as_object_mut(), rest) {
            for (member, value) in rest {
                all.entry(member).or_insert(value);
            }
        }
        Ok(Reply::Page(StatusCode::OK, token_page(&all, rules, frame)))
    }

    /// Waits until what was revoked is known to be in memory too, so that the page which comes next says so.
    async fn seen_revoked(&self, wanted: &str) {
        let serving = self.current.get();
        for _ in 0..20 {
            let state = self.found(wanted, &serving.rules);
            if state.is_ok_and(|token| self.state(&token, &serving.rules) == "revoked") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The same for programs.
    pub(super) async fn token_api(
        self: &Arc<Self>,
        task: TokenTask,
        asked: &ConsoleRequest<'_>,
        operator: &ConsoleOperator,
        given: &Value,
    ) -> Result<Reply, Trouble> {
        let ok = |value| Ok(Reply::Json(StatusCode::OK, value));
        let place = asked.place.as_str();
        match task {
            TokenTask::List => ok(self.tokens(Filter::of(&asked.query)?).await?.1),
            TokenTask::Show => ok(self.token(place.to_owned()).await?),
            TokenTask::Revoke => {
                let revoked = self.revoke(asked, operator, place).await?;
                ok(revoked)
            }
            TokenTask::Rotate => {
                let grace = given.get("grace").and_then(Value::as_str);
                ok(self.rotate(asked, operator, (place, grace)).await?)
            }
            TokenTask::Issue => {
                let issued = self.issue(asked, operator, new::of_json(given)?).await?;
                Ok(Reply::Json(StatusCode::CREATED, issued))
            }
            TokenTask::RevokeSeveral => {
                let asking = several::Asking::of_json(given)?;
                ok(self.revoke_several(asked, operator, asking).await?)
            }
            TokenTask::Find | TokenTask::New | TokenTask::Several => Err(Trouble::nothing()),
        }
    }
}

/// What is done with tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TokenTask {
    List,
    Find,
    Several,
    RevokeSeveral,
    Show,
    Revoke,
    Rotate,
    New,
    Issue,
}
