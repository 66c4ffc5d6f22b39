use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::http::response::Parts;
use hyper::{HeaderMap, StatusCode};

use super::question::{Question, cut_off};
use crate::catalog::{
    Another, Asks, Catalog, Endpoint, FieldPath, Kind, Layout, TouchRule, TouchVerb,
};
use crate::config::BaseUrl;
use crate::facts::{Listed, Members, PER_PAGE, Pages, Reader, Remembered};
use crate::json::{Document, Part};
use crate::policy::{
    Fields, InAnswer, Shown, Standing, could_take_from_sight, one_tag, shows, takes_from_sight,
    why_hidden,
};
use crate::refusal::{Code, Refusal};
use crate::request::{Json, encoded};
use crate::resource::{
    Attributes, Known, State, Touch, above, acted_on, attributes_of, is_called, names_acted_on,
    project, resolve_one, spelled, told_by_name, whole, with_parents, zone_of,
};
use crate::response::{
    Answer, AnswerBody, Cutting, Links, ListPage, Scan, forget_body, listed, made, without,
};

/// Answers that are cut are read whole, up to this many bytes.
const MOST: usize = 16 << 20;

/// A rule of the table that shows something, with its kind and its touch.
pub(super) struct Showing<'s> {
    pub(super) rule: &'s TouchRule,
    kind: &'s Kind,
    touch: &'s Touch,
    /// What is read of what it shows.
    members: Members<'s>,
}

impl Question<'_> {
    /// The list that the request asks for, where the API gives it in pages: it must be read whole to be cut.
    pub fn paged_list<'t>(&self, touches: &'t [Touch]) -> Option<&'t Touch> {
        let endpoint = self.asked.endpoint?;
        let paged = endpoint.inspects_query("per_page");
        // What stands beside something else in an answer is no list by itself.
        let beside = |touch: &Touch| {
            let rule = endpoint.touches.rules().get(touch.rule);
            rule.is_some_and(|rule| rule.first == Some(false))
        };
        touches
            .iter()
            .find(|touch| paged && touch.verb == TouchVerb::List && !beside(touch))
    }

    /// Answers a list: read whole, cut to what the sub-token may see, and paged anew.
    pub async fn list(&self, list: &Touch, reader: &Reader<'_>) -> Result<Answer, Refusal> {
        let endpoint = self.endpoint()?;
        let showing = self.showing(endpoint, list)?;
        let listed = self.read_whole(&showing, endpoint, reader).await?;
        let known = known_members(endpoint);
        let is_known = |key: &String| known.iter().any(|path| path.begins(key));
        if listed.instead.iter().flatten().any(|key| !is_known(key)) {
            return Err(unreadable("the answer has something else than its list"));
        }
        let shown = Box::pin(self.shown(&showing, &listed, reader));
        let shown = if self.grantee.grants.covers_by_request() {
            shown.await? // each page is another request
        } else {
            let view = listed.view(
                self.grantee.id.as_str(),
                self.grantee.grants.alone.is_some(),
            );
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
            keyed: showing.rule.layout == Layout::Keyed,
            items: &shown,
            page: number("page", 1, usize::MAX / PER_PAGE - 1),
            per_page: number("per_page", DEFAULT_PER_PAGE, PER_PAGE),
        };
        let body = page.write(|number| self.page_address(number));
        self.answered(body, reader)
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
        let query: Vec<(String, String)> = target
            .query()
            .iter()
            .filter(|(name, value)| narrowing(name) && !value.is_empty())
            .cloned()
            .collect();
        let pages = |query: Vec<(String, String)>| Pages {
            path: target.path(),
            query,
            paged: true,
            at: showing.rule.answer.as_ref(),
            keyed: showing.rule.layout == Layout::Keyed,
            zone: zone_of(
                showing
                    .touch
                    .before
                    .as_ref()
                    .and_then(|before| before.parent.as_deref()),
            ),
        };
        // Beside other parameters the API refuses it, and what belongs to nobody has no tag.
        let takes_tag = narrowing("tag_name") && query.is_empty() && !showing.kind.has("public");
        if takes_tag
            && let Some(tag) = one_tag(&self.grantee.grants, &self.asked, showing.touch, catalog)
        {
            let by_tag = vec![("tag_name".to_owned(), tag)];
            match reader.list(showing.kind, &pages(by_tag)).await {
                Ok(listed) if !listed.items.is_empty() => return Ok(listed),
                // That there are none is not believed: the account may have the tag in another case, which the API minds here.
                Ok(_) => {}
                Err(refusal) if refusal.code == Code::ResourceHidden => {}
                Err(refusal) => return Err(refusal),
            }
        }
        reader.list(showing.kind, &pages(query)).await
    }

    fn page_address(&self, number: usize) -> String {
        let official = BaseUrl::digitalocean();
        let base = self.reached().unwrap_or(&official);
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
            .filter(|touch| touch.is_deferred() || touch.verb == TouchVerb::List);
        if !head.status.is_success() {
            return self.error_told(head, body).await;
        }
        let endpoint = self.endpoint()?;
        let body = self.read_to_cut(body).await?;
        let body = Document::read(&body).map_err(|error| self.cant_cut(&error.to_string()))?;
        let mut cutting = Cutting::new(&body);
        let strange = cutting.keep_members(&known_members(endpoint));
        for touch in judged {
            let showing = self.showing(endpoint, touch)?;
            let cut = self.cut(&showing, &body, &mut cutting, strange, reader);
            let cut = cut.await;
            cut.map_err(|refusal| match refusal.code {
                Code::UpstreamBadAnswer => self.cant_cut(&refusal.detail.unwrap_or_default()),
                _ => refusal,
            })?;
        }
        Ok(with_body(head, cutting.finish()))
    }

    /// An answer that is no success, where it is an error as the API tells them: its other members are left out.
    async fn error_told(&self, head: Parts, body: AnswerBody) -> Result<Answer, Refusal> {
        let body = self.read_to_cut(body).await?;
        if body.is_empty() {
            return Ok(made(head.status, head.headers, body));
        }
        let strange = || self.cant_cut("the answer is no error as the API tells them");
        let error = Document::read(&body).map_err(|_| strange())?;
        let members = parsed(&ERROR);
        let is_text = |at: &FieldPath| error.at(at).map(|value| value.get().starts_with('"'));
        let [id, message, request_id] = members.as_slice() else {
            return Err(strange());
        };
        let all_texts = is_text(id) == Some(true)
            && is_text(message) == Some(true)
            && is_text(request_id) != Some(false);
        if !all_texts {
            return Err(strange());
        }
        let mut cutting = Cutting::new(&error);
        cutting.keep_members(&[id, message, request_id]);
        Ok(with_body(head, cutting.finish()))
    }

    /// An answer that is shown as it is, since what the request names told enough: it must be of that.
    pub(super) async fn of_named(
        &self,
        answer: Answer,
        touches: &[Touch],
    ) -> Result<Answer, Refusal> {
        let endpoint = self.asked.endpoint;
        let Some(endpoint) = endpoint.filter(|_| answer.status().is_success()) else {
            return Ok(answer);
        };
        let is_named = |touch: &&Touch| touch.verb == TouchVerb::Read && touch.id.is_some();
        let named: Vec<_> = touches
            .iter()
            .filter(is_named)
            .filter_map(|touch| self.showing(endpoint, touch).ok())
            .filter(|it| it.rule.answer.is_some() && it.rule.called.is_none())
            .collect();
        if named.is_empty() {
            return Ok(answer);
        }
        let (head, body) = answer.into_parts();
        let body = self.read_to_cut(body).await?;
        let read = Document::read(&body).map_err(|error| self.cant_cut(&error.to_string()))?;
        let mut cutting = Cutting::new(&read);
        cutting.keep_members(&known_members(endpoint));
        for showing in named {
            let shown = cutting.at(showing.rule.answer.as_ref());
            let shown = shown
                .ok_or_else(|| self.cant_cut("the answer does not have what it should show"))?;
            Self::is_asked_for(&showing, &Self::told_of(&showing, shown)?)?;
        }
        Ok(with_body(head, cutting.finish()))
    }

    /// Whether an answer says that something is not there, and the sub-token might as well not be allowed to see it: for one
    /// that is narrowed at all, both are told alike.
    pub(super) fn is_missing(&self, answer: &Answer) -> bool {
        let endpoint = self.asked.endpoint;
        let names_something = endpoint.is_some_and(|it| !it.touches.rules().is_empty());
        self.grantee.grants.is_narrowed()
            && names_something
            && answer.status() == StatusCode::NOT_FOUND
    }

    /// Reads what is to be cut, whole.
    pub(super) async fn read_to_cut(&self, body: AnswerBody) -> Result<Bytes, Refusal> {
        let reads = self.asked.reads();
        let body = body.read().await.map_err(|cut| cut_off(&cut, reads))?;
        if body.len() > MOST {
            return Err(self.cant_cut("the answer is too long to be cut"));
        }
        Ok(body)
    }

    /// Cuts what one of the touches shows.
    async fn cut<'d>(
        &self,
        showing: &Showing<'_>,
        body: &'d Document,
        cutting: &mut Cutting<'d>,
        strange: bool,
        reader: &Reader<'_>,
    ) -> Result<(), Refusal> {
        let shown = cutting.at(showing.rule.answer.as_ref());
        let Some(shown) = shown.filter(|shown| !shown.is_null()) else {
            return if showing.touch.verb == TouchVerb::List && !strange {
                Ok(()) // an empty list may be left out, or null
            } else {
                Err(unreadable("the answer does not have what it should show"))
            };
        };
        if showing.touch.verb != TouchVerb::List {
            let told = Self::told_of(showing, shown)?;
            Self::is_asked_for(showing, &told)?;
            let attributes = Self::attributes(showing, &told)?;
            let state = self.state_of(showing, attributes, reader).await?;
            let raw = body.slice(shown);
            let kept = self.kept(showing, &raw, &state);
            let kept = kept.ok_or_else(|| self.hidden(showing, &state))?;
            if kept != raw {
                cutting.put(shown, kept);
            }
            return Ok(());
        }
        let items = in_list(shown)?;
        let kept = if showing.rule.layout == Layout::Grouped {
            self.groups(showing, body, items, reader).await?
        } else {
            self.items(showing, body, items, reader).await?
        };
        cutting.keep(shown, &kept);
        let total = TOTAL.parse().ok();
        let counts = showing.rule.counts.iter().chain(&total);
        counts.for_each(|at| cutting.count(at, kept.len()));
        Ok(())
    }

    /// The items of a list that may be seen.
    async fn items(
        &self,
        showing: &Showing<'_>,
        body: &Document,
        items: Vec<Part<'_>>,
        reader: &Reader<'_>,
    ) -> Result<Vec<Bytes>, Refusal> {
        let mut kept = Vec::new();
        for item in items {
            let attributes = Self::attributes(showing, &Self::told_of(showing, item)?)?;
            let state = self.state_of(showing, attributes, reader).await?;
            let raw = body.slice(item);
            kept.extend(self.kept_where_seen(showing, &raw, &state, reader).await?);
        }
        Ok(kept)
    }

    /// The groups of which more than one may be seen, each cut: a group of one would tell that there is another.
    async fn groups(
        &self,
        showing: &Showing<'_>,
        body: &Document,
        groups: Vec<Part<'_>>,
        reader: &Reader<'_>,
    ) -> Result<Vec<Bytes>, Refusal> {
        let mut kept = Vec::new();
        for group in groups {
            let items = self.items(showing, body, in_list(group)?, reader).await?;
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
        let rule = showing.rule;
        if rule.or_nobody && self.is_nobodys(showing.kind, state, reader).await? {
            return Ok(Some(raw.clone()));
        }
        let Some(kept) = self.kept(showing, raw, state) else {
            return Ok(None);
        };
        let seen = match &rule.another {
            Some(Another::StoodFor(urn)) => self.sees_named(raw, urn, reader).await?,
            Some(Another::DeniedWith(urn)) => !self.is_denied(raw, urn, reader).await?,
            None => true,
        };
        Ok(seen.then_some(kept))
    }

    /// Whether the account has nothing by that id, or where it has none, by that name: then it belongs to nobody.
    async fn is_nobodys(
        &self,
        kind: &Kind,
        state: &State,
        reader: &Reader<'_>,
    ) -> Result<bool, Refusal> {
        let listed = reader.all(kind, &[]).await?;
        let Some(listed) = listed.filter(|listed| listed.instead.is_none()) else {
            return Ok(false); // what there is is not told
        };
        let named = ["id", "name"].map(|name| state.known(name).unwrap_or_default());
        let named = named.iter().zip(["id", "name"]);
        let mut named = named.filter(|(known, _)| known.complete && !known.values.is_empty());
        let Some((known, name)) = named.next() else {
            return Ok(false);
        };
        let has = |attributes: &Attributes| {
            let theirs = attributes.get(name).unwrap_or_default();
            !theirs.complete || theirs.values.iter().any(|it| known.values.contains(it))
        };
        Ok(!listed.items.iter().any(|(_, attributes)| has(attributes)))
    }

    /// Whether a deny takes the resource from sight that a member of an item names by its URN. Of a kind that nobody knows it
    /// does where it names no kind.
    async fn is_denied(
        &self,
        item: &Bytes,
        at: &FieldPath,
        reader: &Reader<'_>,
    ) -> Result<bool, Refusal> {
        let catalog = &self.serving.rules.catalog;
        let (grants, kinds) = (&self.grantee.grants, catalog.kinds());
        let json = Json::read(item).map_err(|_| unreadable("the answer is no JSON"))?;
        let urn = json.at(at).first().and_then(|urn| urn.name());
        let named = urn.and_then(|urn| kinds.urn(urn));
        if !could_take_from_sight(
            grants,
            &self.asked,
            named.as_ref().map(|(kind, _)| *kind),
            catalog,
        ) {
            return Ok(false);
        }
        let Some((kind, name)) = named else {
            return Ok(true);
        };
        let told = told_by_name(kind, &name);
        let asked = grants.asks(kind);
        let enough = |attribute: &String| {
            attribute == "project" || told.contains_key(attribute) || !kind.has(attribute)
        };
        let found = if asked.iter().all(enough) {
            None
        } else {
            in_whole_list(kind, name.as_str(), reader).await?
        };
        let found = found.unwrap_or(told);
        let state = self.filled(kind, None, None, found, reader).await?;
        Ok(takes_from_sight(grants, &self.asked, &state, catalog))
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
            Shown::WithoutChildren => without(raw, &showing.kind.shows_children),
            Shown::Hidden => None,
        }
    }

    /// The refusal of what may not be seen, with the reason for the record.
    fn hidden(&self, showing: &Showing<'_>, state: &State) -> Refusal {
        let (grants, catalog) = (&self.grantee.grants, &self.serving.rules.catalog);
        let mut refusal = Refusal::hidden();
        refusal.detail = why_hidden(grants, &self.asked, showing.touch, state, catalog);
        refusal
    }

    /// What an answer says of a resource, as far as it names it or tells an attribute of it.
    pub(super) fn told_of(showing: &Showing<'_>, shown: Part<'_>) -> Result<Json, Refusal> {
        let told = if showing.rule.bare.is_some() {
            Json::read(shown.get().as_bytes()).ok()
        } else {
            showing.members.read(shown)
        };
        told.ok_or_else(|| unreadable("the answer is no JSON"))
    }

    /// Checks that a resource of an answer is the one that the request names.
    fn is_asked_for(showing: &Showing<'_>, json: &Json) -> Result<(), Refusal> {
        let named = showing.touch.id.as_deref();
        let named = named.filter(|_| showing.rule.called.is_none());
        if named.is_none_or(|named| is_called(showing.kind, json, named)) {
            Ok(())
        } else {
            Err(unreadable(
                "the answer is of another resource than was asked for",
            ))
        }
    }

    pub(super) fn attributes(showing: &Showing<'_>, json: &Json) -> Result<Attributes, Refusal> {
        let parent = showing
            .touch
            .before
            .as_ref()
            .and_then(|before| before.parent.as_deref());
        if let Some(member) = &showing.rule.bare {
            let id = json
                .name()
                .or_else(|| json.member(member).and_then(Json::name))
                .ok_or_else(|| unreadable("the answer has something without its id"))?;
            let id = spelled(showing.kind, "id", id, None);
            return Ok(Attributes::from([("id".to_owned(), Known::exactly([id]))]));
        }
        if !matches!(json, Json::Map(_)) {
            return Err(unreadable("the answer has something else than resources"));
        }
        Ok(attributes_of(
            showing.kind,
            json,
            zone_of(parent).as_deref(),
        ))
    }

    /// A resource of an answer, with what the answer does not say of it.
    pub(super) async fn state_of(
        &self,
        showing: &Showing<'_>,
        attributes: Attributes,
        reader: &Reader<'_>,
    ) -> Result<State, Refusal> {
        let kind = showing.kind;
        if !kind.counts_as.is_empty() {
            return self.acted_on(kind, &attributes, reader).await;
        }
        let mut attributes = attributes;
        if showing.rule.bare.is_some() {
            let id = attributes.first("id").unwrap_or_default().to_owned();
            let found = in_whole_list(kind, &id, reader).await?;
            attributes = found.unwrap_or(attributes);
        }
        let before = showing.touch.before.as_ref();
        let parent = before.and_then(|before| before.parent.clone());
        self.filled(kind, before, parent, attributes, reader).await
    }

    /// What the grants ask about what the answer shows.
    fn shown_interest(&self) -> InAnswer<'_> {
        InAnswer {
            grants: &self.grantee.grants,
            asked: &self.asked,
            catalog: &self.serving.rules.catalog,
        }
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
        for (name, told) in before.iter().flat_map(|before| before.attributes.iter()) {
            if !attributes.contains_key(name) {
                attributes.insert(Arc::clone(name), told.clone());
            }
        }
        let catalog = &self.serving.rules.catalog;
        let kinds = catalog.kinds();
        let interest = self.shown_interest();
        let mut attributes = whole(kind, attributes, kinds, &interest, reader).await?;
        let id = attributes.first("id").unwrap_or_default().to_owned();
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
        let told = |name: &str| action.first(name).map(str::to_owned);
        let account = &self.grantee.grants.account;
        let catalog = &self.serving.rules.catalog;
        let interest = self.shown_interest();
        let remembered = |id: &String| reader.facts.action(account, id, reader.grantee);
        let id = told("id");
        let found = match id.as_ref().and_then(remembered) {
            Some(remembered) => self.recalled(remembered, reader).await?,
            None if self.lists_alone() => {
                self.acted_on_in_list(kind_of_action, action, reader)
                    .await?
            }
            None => acted_on(kind_of_action, action, catalog, &interest, reader).await?,
        };
        let found = match (found, id) {
            (None, Some(id)) if !self.lists_alone() => {
                // What nobody told may have begun by way of another daemon a moment ago.
                let asked = reader.facts.action_elsewhere(account, &id, reader.grantee);
                match Box::pin(asked).await {
                    Some(remembered) => self.recalled(remembered, reader).await?,
                    None => None,
                }
            }
            (found, _) => found,
        };
        Ok(found.unwrap_or_else(untold))
    }

    /// The resource that is remembered, as it is now where that is not known.
    async fn recalled(
        &self,
        remembered: Remembered,
        reader: &Reader<'_>,
    ) -> Result<Option<State>, Refusal> {
        let (kind, id) = match remembered {
            Remembered::Whole(state) => return Ok(Some(state)),
            Remembered::Named(kind, id) => (kind, id),
        };
        let catalog = &self.serving.rules.catalog;
        let kind = kind.map(|kind| catalog.kinds().of(kind));
        let named = kind.and_then(|kind| Some((kind, kind.name(&id, catalog.kinds())?)));
        let Some((kind, name)) = named else {
            return Ok(None);
        };
        resolve_one(kind, &name, catalog, &self.shown_interest(), reader).await
    }

    /// Whether what the request asks for is a list of the account, of which no resource is named.
    fn lists_alone(&self) -> bool {
        let rules = self.asked.endpoint.map_or(&[][..], |it| it.touches.rules());
        rules.iter().all(|rule| rule.verb == TouchVerb::List)
    }

    /// The same of one of many: a look-up for each would cost as many calls as there are, where the list of its kind, which is
    /// kept for seconds, tells of all.
    async fn acted_on_in_list(
        &self,
        kind_of_action: &Kind,
        action: &Attributes,
        reader: &Reader<'_>,
    ) -> Result<Option<State>, Refusal> {
        let kinds = self.serving.rules.catalog.kinds();
        let Some((kind, name)) = names_acted_on(kind_of_action, action, kinds) else {
            return Ok(None);
        };
        let told = told_by_name(kind, &name);
        let asked = self.grantee.grants.asks(kind);
        let found = if asked.iter().all(|it| told.contains_key(it)) {
            None
        } else {
            in_whole_list(kind, name.as_str(), reader).await?
        };
        // Of what is gone only its name is known.
        let found = found.unwrap_or(told);
        let state = self.filled(kind, None, None, found, reader).await?;
        Ok(Some(state))
    }

    pub(super) fn showing<'s>(
        &'s self,
        endpoint: &'s Endpoint,
        touch: &'s Touch,
    ) -> Result<Showing<'s>, Refusal> {
        let kinds = self.serving.rules.catalog.kinds();
        let rule = endpoint.touches.rules().get(touch.rule);
        let kind = kinds.of(touch.kind);
        match rule {
            Some(rule) => Ok(Showing {
                rule,
                kind,
                touch,
                members: Members::of(kind),
            }),
            None => Err(unreadable("the catalogue does not say what it shows")),
        }
    }

    fn endpoint(&self) -> Result<&Endpoint, Refusal> {
        self.asked
            .endpoint
            .ok_or_else(|| unreadable("the catalogue does not know the endpoint"))
    }

    /// An answer that was put together here from what the API gave: it must not hold the real token either.
    fn answered(&self, body: Vec<u8>, reader: &Reader<'_>) -> Result<Answer, Refusal> {
        let mut links = Links::new(self.serving.upstream.addresses(), self.reached());
        let mut brought_back = links.push(&Bytes::from(body)).to_vec();
        brought_back.extend_from_slice(&links.finish());
        let body = brought_back;
        if Scan::by(reader.token.finders()).finds(&body) {
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
    forget_body(&mut head.headers);
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
    let is_it = |(_, found): &&(Bytes, Attributes)| found.first("id") == Some(id);
    let found = listed.and_then(|listed| listed.items.iter().find(is_it).cloned());
    Ok(found.map(|(_, found)| found))
}

/// The members that a judged answer may have: what its touches show, what tells of pages, and what the catalogue says stands
/// beside these.
fn known_members(endpoint: &Endpoint) -> Vec<&FieldPath> {
    static PAGING: LazyLock<Vec<FieldPath>> = LazyLock::new(|| parsed(&ABOUT_PAGES));
    let rules = endpoint.touches.rules().iter();
    let shown = rules.flat_map(|rule| rule.answer.iter().chain(&rule.counts));
    shown.chain(&endpoint.beside).chain(&*PAGING).collect()
}

fn parsed(paths: &[&str]) -> Vec<FieldPath> {
    paths.iter().filter_map(|path| path.parse().ok()).collect()
}

/// The items of a list.
fn in_list(list: Part<'_>) -> Result<Vec<Part<'_>>, Refusal> {
    let items = list.items().map(Iterator::collect);
    items.ok_or_else(|| unreadable("the answer has no list"))
}

pub(super) fn unreadable(why: &str) -> Refusal {
    Refusal::new(
        Code::UpstreamBadAnswer,
        "DigitalOcean's API answered in a way that can't be cut to what this sub-token may see; try again later",
    )
    .detail(why)
}

/// What the API tells of a list's pages.
const ABOUT_PAGES: [&str; 4] = ["links.pages", "meta.total", "meta.page", "meta.pages"];

/// The members of the API's errors.
const ERROR: [&str; 3] = ["id", "message", "request_id"];

/// Where the API tells how many items a list has, even one that it gives without pages.
const TOTAL: &str = "meta.total";

/// What the API gives at once where nobody asks for more or less.
const DEFAULT_PER_PAGE: usize = 20;
const PAGING: [&str; 3] = ["page", "per_page", "page_token"];
