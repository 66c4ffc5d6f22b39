use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode};

use super::question::{Question, cut_off};
use crate::catalog::{Asks, Catalog, Endpoint, FieldPath, Kind, TouchRule, TouchVerb};
use crate::config::BaseUrl;
use crate::policy::{Fields, Shown, Standing, one_tag, shows};
use crate::refusal::{Code, Refusal};
use crate::request::{Json, encoded};
use crate::resource::{
    Attributes, Interest, Known, Listed, PER_PAGE, Pages, Reader, Remembered, State, Touch, above,
    acted_on, attributes_of, project, resolve_one, spelled, whole, with_parents, zone_of,
};
use crate::response::{Answer, AnswerBody, Cutting, ListPage, Scan, listed, made, slices, without};

/// Answers that are cut are read whole, up to this many bytes.
const MOST: usize = 16 << 20;

/// A rule of the table that shows something, with its kind and its touch.
struct Showing<'s> {
    rule: &'s TouchRule,
    kind: &'s Kind,
    touch: &'s Touch,
}

impl Question<'_> {
    /// The list that the request asks for, where the API gives it in pages: it must be read whole to be cut.
    pub fn paged_list<'t>(&self, touches: &'t [Touch]) -> Option<&'t Touch> {
        let endpoint = self.asked.endpoint?;
        let paged = endpoint.inspects_query("per_page");
        touches
            .iter()
            .find(|touch| paged && touch.verb == TouchVerb::List)
    }

    /// Answers a list: read whole, cut to what the sub-token may see, and paged anew.
    pub async fn list(&self, list: &Touch, reader: &Reader<'_>) -> Result<Answer, Refusal> {
        let endpoint = self.endpoint()?;
        let showing = self.showing(endpoint, list)?;
        let listed = self.read_whole(&showing, endpoint, reader).await?;
        let shown = Box::pin(self.shown(&showing, &listed, reader));
        let shown = if self.grantee.grants.covers_by_request() {
            shown.await? // each page is another request
        } else {
            let view = listed.view(self.grantee.id.as_str());
            view.get_or_try_init(|| shown).await?.clone()
        };
        let number = |name: &str, otherwise: usize, most: usize| {
            let given = self.asked.target.query_parameter(name);
            given
                .and_then(|text| text.parse::<usize>().ok())
                .filter(|number| *number > 0)
                .map_or(otherwise, |number| number.min(most))
        };
        let page = ListPage {
            member: &showing
                .rule
                .answer
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            counts: showing.rule.counts.as_ref(),
            keyed: showing.rule.keyed,
            items: &shown,
            page: number("page", 1, usize::MAX / PER_PAGE - 1),
            per_page: number("per_page", DEFAULT_PER_PAGE, PER_PAGE),
        };
        let body = page.write(|number| self.page_address(number));
        Self::answered(body, reader)
    }

    /// The items of a list that the sub-token may see.
    async fn shown(
        &self,
        showing: &Showing<'_>,
        listed: &Listed,
        reader: &Reader<'_>,
    ) -> Result<Arc<Vec<Bytes>>, Refusal> {
        let mut shown = Vec::new();
        for (raw, attributes) in &listed.items {
            let state = self.state_of(showing, attributes.clone(), reader).await?;
            shown.extend(self.kept_where_seen(showing, raw, &state, reader).await?);
        }
        Ok(Arc::new(shown))
    }

    async fn read_whole(
        &self,
        showing: &Showing<'_>,
        endpoint: &Endpoint,
        reader: &Reader<'_>,
    ) -> Result<Arc<Listed>, Refusal> {
        let target = &self.asked.target;
        let catalog = &self.serving.rules.catalog;
        let narrowing = |name: &str| {
            endpoint.query.iter().any(|known| known.name == name) && !PAGING.contains(&name)
        };
        let mut query: Vec<(String, String)> = target
            .query()
            .iter()
            .filter(|(name, value)| narrowing(name) && !value.is_empty())
            .cloned()
            .collect();
        if narrowing("tag_name")
            && target.query_parameter("tag_name").is_none()
            && let Some(tag) = one_tag(&self.grantee.grants, &self.asked, showing.touch, catalog)
        {
            query.push(("tag_name".to_owned(), tag.to_owned()));
        }
        let path = target.path();
        let pages = Pages {
            path,
            query,
            paged: true,
            at: showing.rule.answer.as_ref(),
            keyed: showing.rule.keyed,
            zone: zone_of(
                showing
                    .touch
                    .before
                    .as_ref()
                    .and_then(|before| before.parent.as_deref()),
            ),
        };
        reader.list(showing.kind, &pages).await
    }

    fn page_address(&self, number: usize) -> String {
        let official = BaseUrl::digitalocean();
        let base = self
            .serving
            .rules
            .settings
            .public_url
            .as_ref()
            .or(self.client.reached.as_ref())
            .unwrap_or(&official);
        let target = &self.asked.target;
        let mut others = String::new();
        for (name, value) in target.query().iter().filter(|(name, _)| name != "page") {
            others.push_str(&["&", &encoded(name), "=", &encoded(value)].concat());
        }
        format!("{base}{}?page={number}{others}", target.path())
    }

    /// Cuts an answer that came to what the sub-token may see of it.
    pub async fn narrowed(
        &self,
        answer: Answer,
        touches: &[Touch],
        reader: &Reader<'_>,
    ) -> Result<Answer, Refusal> {
        let (head, body) = answer.into_parts();
        let judged = touches
            .iter()
            .filter(|touch| touch.deferred || touch.verb == TouchVerb::List);
        if head.status == StatusCode::NOT_FOUND && touches.iter().any(|touch| touch.deferred) {
            return Err(hidden()); // what is not there and what may not be seen are told alike
        }
        if !head.status.is_success() {
            return Ok(Answer::from_parts(head, body));
        }
        let endpoint = self.endpoint()?;
        let mut cutting = Cutting::new(self.read_to_cut(body).await?);
        for touch in judged {
            let showing = self.showing(endpoint, touch)?;
            self.cut(&showing, &mut cutting, reader).await?;
        }
        Ok(with_body(head, cutting.finish()))
    }

    /// Reads what is to be cut, whole.
    pub(super) async fn read_to_cut(&self, body: AnswerBody) -> Result<Bytes, Refusal> {
        let reads = self.asked.reads();
        let body = body.collect().await.map_err(|cut| cut_off(&cut, reads))?;
        let body = body.to_bytes();
        if body.len() > MOST {
            return Err(self.cant_cut("the answer is too long to be cut"));
        }
        Ok(body)
    }

    async fn cut(
        &self,
        showing: &Showing<'_>,
        cutting: &mut Cutting,
        reader: &Reader<'_>,
    ) -> Result<(), Refusal> {
        let Some(slice) = cutting.at(showing.rule.answer.as_ref()) else {
            return if showing.touch.verb == TouchVerb::List {
                Ok(()) // an empty list may be left out
            } else {
                Err(unreadable("the answer does not have what it should show"))
            };
        };
        if showing.touch.verb != TouchVerb::List {
            let attributes = Self::attributes(showing, &slice)?;
            let state = self.state_of(showing, attributes, reader).await?;
            let kept = self.kept(showing, &slice, &state).ok_or_else(hidden)?;
            if kept != slice {
                cutting.put(&slice, &kept);
            }
            return Ok(());
        }
        if &slice[..] == b"null" {
            return Ok(());
        }
        let items = slices(&slice).ok_or_else(|| unreadable("the answer has no list"))?;
        let kept = if showing.rule.grouped {
            self.groups(showing, &items, reader).await?
        } else {
            self.items(showing, items, reader).await?
        };
        cutting.keep(&slice, &kept);
        let total = TOTAL.parse().ok();
        let counts = showing.rule.counts.iter().chain(&total);
        counts.for_each(|at| cutting.count(at, kept.len()));
        Ok(())
    }

    /// The items of a list that may be seen.
    async fn items(
        &self,
        showing: &Showing<'_>,
        items: Vec<Bytes>,
        reader: &Reader<'_>,
    ) -> Result<Vec<Bytes>, Refusal> {
        let mut kept = Vec::new();
        for item in items {
            let attributes = Self::attributes(showing, &item)?;
            let state = self.state_of(showing, attributes, reader).await?;
            kept.extend(self.kept_where_seen(showing, &item, &state, reader).await?);
        }
        Ok(kept)
    }

    /// The groups of which more than one may be seen, each cut: a group of one would tell that there is another.
    async fn groups(
        &self,
        showing: &Showing<'_>,
        groups: &[Bytes],
        reader: &Reader<'_>,
    ) -> Result<Vec<Bytes>, Refusal> {
        let mut kept = Vec::new();
        for group in groups {
            let items = slices(group).ok_or_else(|| unreadable("the answer has no lists"))?;
            let items = self.items(showing, items, reader).await?;
            if items.len() > 1 {
                kept.push(listed(&items));
            }
        }
        Ok(kept)
    }

    /// The same, where another resource that it stands for may be seen, too.
    async fn kept_where_seen(
        &self,
        showing: &Showing<'_>,
        raw: &Bytes,
        state: &State,
        reader: &Reader<'_>,
    ) -> Result<Option<Bytes>, Refusal> {
        let Some(kept) = self.kept(showing, raw, state) else {
            return Ok(None);
        };
        let seen = match &showing.rule.stands_for {
            Some(urn) => self.sees_named(raw, urn, reader).await?,
            None => true,
        };
        Ok(seen.then_some(kept))
    }

    /// Whether the sub-token may see the resource that a member of an item names by its URN. What no list shows, nobody sees.
    async fn sees_named(
        &self,
        item: &Bytes,
        at: &FieldPath,
        reader: &Reader<'_>,
    ) -> Result<bool, Refusal> {
        let catalog = &self.serving.rules.catalog;
        let json = Json::read(item).map_err(|_| unreadable("the answer is no JSON"))?;
        let Some((kind, id, asks)) = named_by_urn(json.at(at).first().copied(), catalog) else {
            return Ok(false);
        };
        let fields = Fields::new(&self.grantee.grants, &self.asked, catalog);
        let states = match fields.standing(asks, Some(kind)) {
            Standing::Shown | Standing::Hidden => Vec::new(),
            Standing::Judged => match in_whole_list(kind, &id, reader).await? {
                Some(found) => vec![self.filled(kind, None, None, found, reader).await?],
                None => Vec::new(),
            },
        };
        Ok(fields.shown_of(asks, Some(kind), &states))
    }

    /// What may be shown of a resource, as bytes.
    fn kept(&self, showing: &Showing<'_>, raw: &Bytes, state: &State) -> Option<Bytes> {
        let catalog = &self.serving.rules.catalog;
        let grants = &self.grantee.grants;
        if self.names_by_urn(showing.kind) && !self.is_of_a_readable_kind(raw) {
            return None;
        }
        match shows(grants, &self.asked, showing.touch, state, catalog) {
            Shown::Whole => Some(raw.clone()),
            Shown::WithoutChildren => Some(without(raw, &showing.kind.shows_children)),
            Shown::Hidden => None,
        }
    }

    fn attributes(showing: &Showing<'_>, raw: &Bytes) -> Result<Attributes, Refusal> {
        let json = Json::read(raw).map_err(|_| unreadable("the answer is no JSON"))?;
        let parent = showing
            .touch
            .before
            .as_ref()
            .and_then(|before| before.parent.as_deref());
        if showing.rule.bare {
            let id = json
                .name()
                .or_else(|| json.member("id").and_then(Json::name));
            let id = id.map(|id| spelled(showing.kind, "id", id, None));
            return Ok(Attributes::from([("id".to_owned(), Known::exactly(id))]));
        }
        Ok(attributes_of(
            showing.kind,
            &json,
            zone_of(parent).as_deref(),
        ))
    }

    /// A resource of an answer, with what the answer does not say of it.
    async fn state_of(
        &self,
        showing: &Showing<'_>,
        attributes: Attributes,
        reader: &Reader<'_>,
    ) -> Result<State, Refusal> {
        let kind = showing.kind;
        let known = |attributes: &Attributes, name: &str| {
            attributes
                .get(name)
                .and_then(|known| known.values.first().cloned())
        };
        if kind.counts_as.is_some() {
            return self.acted_on(kind, &attributes, reader).await;
        }
        let mut attributes = attributes;
        if showing.rule.bare {
            let id = known(&attributes, "id").unwrap_or_default();
            let found = in_whole_list(kind, &id, reader).await?;
            attributes = found.unwrap_or(attributes);
        }
        let before = showing.touch.before.as_ref();
        let parent = before.and_then(|before| before.parent.clone());
        self.filled(kind, before, parent, attributes, reader).await
    }

    /// A resource of which an answer says this, with what it was before and what the answer does not say.
    pub(super) async fn filled(
        &self,
        kind: &Kind,
        before: Option<&State>,
        parent: Option<Arc<State>>,
        mut attributes: Attributes,
        reader: &Reader<'_>,
    ) -> Result<State, Refusal> {
        let known = |attributes: &Attributes, name: &str| {
            attributes
                .get(name)
                .and_then(|known| known.values.first().cloned())
        };
        for (name, told) in before.iter().flat_map(|before| &before.attributes) {
            attributes
                .entry(name.clone())
                .or_insert_with(|| told.clone());
        }
        let grants = &self.grantee.grants;
        let catalog = &self.serving.rules.catalog;
        let kinds = catalog.kinds();
        let interest = Interest {
            asks: &|kind| grants.asks(kind),
            asks_about: &|kind, attribute| grants.ask_about(kind, attribute),
            heeds: &|kind, follows| {
                let asked = Some(&self.asked).filter(|_| !follows);
                grants.deny_changes(kind, asked, catalog.kinds())
            },
            project: &|called| grants.names_project(called),
            adds: Vec::new(),
            labels: Vec::new(),
            goes_on: &|_| true,
            lacks_scope: &|_| false,
            defers: false,
        };
        let mut attributes = whole(kind, attributes, kinds, &interest, reader).await?;
        let id = known(&attributes, "id").unwrap_or_default();
        project(kind, &id, &mut attributes, catalog, &interest, reader).await?;
        let parent = match parent {
            Some(parent) => Some(parent),
            None => above(kind, &attributes, catalog, &interest, reader).await?,
        };
        Ok(State::new(
            kind,
            with_parents(attributes, kind, &[]),
            parent,
        ))
    }

    /// What an action acted on: for selectors, an action is that resource. Where the API does not say, and nobody here
    /// remembers, it stays hidden.
    async fn acted_on(
        &self,
        kind_of_action: &Kind,
        action: &Attributes,
        reader: &Reader<'_>,
    ) -> Result<State, Refusal> {
        let untold = || State::new(kind_of_action, Attributes::new(), None);
        let told = |name: &str| {
            action
                .get(name)
                .and_then(|known| known.values.first().cloned())
        };
        let account = &self.grantee.grants.account;
        let catalog = &self.serving.rules.catalog;
        let grants = &self.grantee.grants;
        let interest = Interest {
            asks: &|kind| grants.asks(kind),
            asks_about: &|kind, attribute| grants.ask_about(kind, attribute),
            heeds: &|kind, follows| {
                let asked = Some(&self.asked).filter(|_| !follows);
                grants.deny_changes(kind, asked, catalog.kinds())
            },
            project: &|called| grants.names_project(called),
            adds: Vec::new(),
            labels: Vec::new(),
            goes_on: &|_| true,
            lacks_scope: &|_| false,
            defers: false,
        };
        let remembered = |id: String| reader.facts.action(account, &id, reader.grantee);
        let found = match told("id").and_then(remembered) {
            Some(Remembered::Whole(state)) => Some(state),
            Some(Remembered::Named(kind, id)) => {
                let kind = catalog.kinds().find(kind.as_str());
                let named = kind.and_then(|kind| Some((kind, kind.name(&id, catalog.kinds())?)));
                match named {
                    Some((kind, name)) => {
                        resolve_one(kind, &name, catalog, &interest, reader).await?
                    }
                    None => None,
                }
            }
            None => acted_on(action, catalog, &interest, reader).await?,
        };
        Ok(found.unwrap_or_else(untold))
    }

    fn showing<'s>(
        &'s self,
        endpoint: &'s Endpoint,
        touch: &'s Touch,
    ) -> Result<Showing<'s>, Refusal> {
        let kinds = self.serving.rules.catalog.kinds();
        let rule = endpoint.touches.rules().get(touch.rule);
        let kind = kinds.find(touch.kind.as_str());
        match (rule, kind) {
            (Some(rule), Some(kind)) => Ok(Showing { rule, kind, touch }),
            _ => Err(unreadable("the catalogue does not say what it shows")),
        }
    }

    fn endpoint(&self) -> Result<&Endpoint, Refusal> {
        self.asked
            .endpoint
            .ok_or_else(|| unreadable("the catalogue does not know the endpoint"))
    }

    /// An answer that was put together here from what the API gave: it must not hold the real token either.
    fn answered(body: Vec<u8>, reader: &Reader<'_>) -> Result<Answer, Refusal> {
        if Scan::by(reader.token.finder()).finds(&body) {
            return Err(cut_off(&crate::response::Cut::Token, true));
        }
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(made(StatusCode::OK, headers, body))
    }
}

/// An answer with another body than came.
pub(super) fn with_body(mut head: Parts, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    head.headers
        .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    made(head.status, head.headers, body)
}

/// The resource that a URN names, and what seeing it asks for.
pub(super) fn named_by_urn<'c>(
    urn: Option<&Json>,
    catalog: &'c Catalog,
) -> Option<(&'c Kind, String, Asks)> {
    let (kind, name) = catalog.kinds().urn(urn?.name()?)?;
    Some((kind, name.as_str().to_owned(), Asks::Whole(kind.reads?)))
}

/// What the list of a whole kind says of one.
async fn in_whole_list(
    kind: &Kind,
    id: &str,
    reader: &Reader<'_>,
) -> Result<Option<Attributes>, Refusal> {
    let listed = reader.all(kind, &[]).await?;
    let is_it = |(_, found): &&(Bytes, Attributes)| {
        let known = found.get("id").and_then(|known| known.values.first());
        known.is_some_and(|known| known == id)
    };
    let found = listed.and_then(|listed| listed.items.iter().find(is_it).cloned());
    Ok(found.map(|(_, found)| found))
}

fn hidden() -> Refusal {
    crate::policy::hidden()
}

pub(super) fn unreadable(why: &str) -> Refusal {
    Refusal::new(
        Code::UpstreamBadAnswer,
        "DigitalOcean's API answered in a way that can't be cut to what this sub-token may see; try again later",
    )
    .detail(why)
}

/// Where the API tells how many items a list has, even one that it gives without pages.
const TOTAL: &str = "meta.total";

/// What the API gives at once where nobody asks for more or less.
const DEFAULT_PER_PAGE: usize = 20;
const PAGING: [&str; 3] = ["page", "per_page", "page_token"];
