use std::collections::BTreeSet;
use std::sync::Arc;

use super::look::{Found, Look, of_urn, spelled, told_by_name, urn_of, with_parents, zone_of};
use super::state::{Attributes, Known, State, folded};
use super::touch::Touch;
use crate::catalog::{
    Catalog, FieldPath, Kind, Place, Source, TouchKind, TouchRule, TouchVerb, Touches,
};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, Json};

/// What a sub-token's grants ask about, so that nothing else is looked up.
pub struct Interest<'i> {
    /// The attributes of a kind.
    pub asks: &'i (dyn Fn(&Kind) -> BTreeSet<String> + Sync),
    /// Whether a project, by id or name, is one that a grant names.
    pub project: &'i (dyn Fn(&str) -> bool + Sync),
    /// The projects that grants put into what is created, as they call them.
    pub adds: Vec<&'i str>,
    /// Whether there is a point in looking further, given what the request is about.
    pub goes_on: &'i (dyn Fn(&Touch) -> bool + Sync),
    /// Whether a resource that the answer will show is judged on that answer.
    pub defers: bool,
}

/// Finds out what a request touches.
///
/// # Errors
/// The refusal where something could not be looked up, or where the request names more than anybody would.
pub async fn resolve<L: Look>(
    asked: &Asked<'_>,
    catalog: &Catalog,
    interest: &Interest<'_>,
    look: &L,
) -> Result<Vec<Touch>, Refusal> {
    let rules = match asked.endpoint.map(|endpoint| &endpoint.touches) {
        Some(Touches::These(rules)) => rules.as_slice(),
        Some(Touches::Nobody | Touches::Unmodelled { .. }) | None => &[],
    };
    let mut resolver = Resolver {
        asked,
        catalog,
        interest,
        look,
        first: None,
        number: 0,
        touches: Vec::new(),
    };
    for (number, rule) in rules.iter().enumerate() {
        if asked.applies(rule) {
            let before = resolver.touches.len();
            resolver.number = number;
            resolver.rule(rule).await?;
            let new = resolver.touches.get(before..).unwrap_or_default();
            if new
                .iter()
                .any(|touch| touch.first && !(interest.goes_on)(touch))
            {
                break;
            }
        }
    }
    Ok(resolver.touches)
}

/// What a resource is, as far as grants ask; `None` where it is not there.
///
/// # Errors
/// The refusal where it can't be looked up.
pub async fn resolve_one<L: Look>(
    kind: &Kind,
    identifier: &str,
    interest: &Interest<'_>,
    look: &L,
) -> Result<Option<State>, Refusal> {
    let told = told_by_name(kind, identifier);
    let found = if enough(kind, &told, interest) {
        Some(told)
    } else {
        look.one(kind, &[], identifier)
            .await?
            .map(|found| found.attributes)
    };
    let Some(mut attributes) = found else {
        return Ok(None);
    };
    let id = id_of(kind, &attributes).unwrap_or_else(|| identifier.to_owned());
    project(kind, &id, &mut attributes, interest, look).await?;
    Ok(Some(State::new(kind, attributes, None)))
}

/// The resource that another counts as for selectors: what an action acted on. `None` where the API does not say, or it is
/// not there.
///
/// # Errors
/// The refusal where it can't be looked up.
pub async fn acted_on<L: Look>(
    attributes: &Attributes,
    catalog: &Catalog,
    interest: &Interest<'_>,
    look: &L,
) -> Result<Option<State>, Refusal> {
    let told = |name: &str| {
        attributes
            .get(name)
            .and_then(|known| known.values.first().cloned())
    };
    let kind = told("resource_type").and_then(|name| {
        let name = match name.as_str() {
            "floating_ip" => "reserved_ip",
            other => other,
        };
        catalog.kinds().find(name)
    });
    match (kind, told("resource")) {
        (Some(kind), Some(id)) => resolve_one(kind, &id, interest, look).await,
        _ => Ok(None),
    }
}

/// The resources that one request may name. Each may cost a look-up.
const MOST: usize = 100;

struct Resolver<'r, L> {
    asked: &'r Asked<'r>,
    catalog: &'r Catalog,
    interest: &'r Interest<'r>,
    look: &'r L,
    /// The first resource, as it was found, for lists of it that are replaced.
    first: Option<Found>,
    /// Which rule is looked at.
    number: usize,
    touches: Vec<Touch>,
}

/// What a rule comes to at one name.
struct Here<'h> {
    rule: &'h TouchRule,
    kind: &'h Kind,
    parents: Vec<(&'h Kind, String)>,
    parent: Option<Arc<State>>,
    in_path: bool,
}

impl<'r, L: Look> Resolver<'r, L> {
    async fn rule(&mut self, rule: &'r TouchRule) -> Result<(), Refusal> {
        self.says_names(rule)?;
        match &rule.kind {
            TouchKind::One(name) => {
                let Some(kind) = self.catalog.kinds().find(name.as_str()) else {
                    return Err(Self::unknown(name.as_str()));
                };
                if self.holds_unknown(rule) {
                    let nothing_known = State::new(kind, Attributes::new(), None);
                    let mut touch = touch(rule, kind, None, false);
                    (touch.before, touch.after) =
                        (Some(nothing_known.clone()), Some(nothing_known));
                    self.push(touch)?;
                }
                let Some(here) = self.here(rule, kind).await? else {
                    self.push(missing(rule, kind, None, true))?;
                    return Ok(());
                };
                self.of_kind(here).await
            }
            TouchKind::Urn => {
                for urn in self.names(rule) {
                    let Some((kind, id)) = of_urn(self.catalog.kinds(), &urn) else {
                        return Err(Self::unknown(&urn));
                    };
                    self.beside(rule, kind, &id).await?;
                }
                Ok(())
            }
            TouchKind::Typed { id, member, types } => {
                for (id, r#type) in self.typed(rule, id, member)? {
                    let kind = types.iter().find(|(known, _)| *known == r#type);
                    let kind = kind.and_then(|(_, kind)| self.catalog.kinds().find(kind.as_str()));
                    let Some(kind) = kind else {
                        return Err(Self::unknown(&r#type));
                    };
                    self.beside(rule, kind, &id).await?;
                }
                Ok(())
            }
        }
    }

    /// What stands where a name or a value belongs is one: a list or a flag there would be passed over here, and might be
    /// taken for what is in it there.
    fn says_names(&self, rule: &TouchRule) -> Result<(), Refusal> {
        let values = [&rule.after, &rule.adds, &rule.removes];
        let values = values.into_iter().flatten().flat_map(|(_, places)| places);
        let parents = rule.of.iter().map(|(_, place)| place);
        let named = rule.at.iter().chain(&rule.each).chain(parents);
        let found = |place: &Place| match (place, &self.asked.body) {
            (Place::Body(path), Some(body)) => body.at(path),
            (Place::Path(_) | Place::Query(_) | Place::Body(_), _) => Vec::new(),
        };
        // An object is one where a rule looks into it, and nowhere else.
        let rules = self
            .asked
            .endpoint
            .map_or(&[][..], |endpoint| endpoint.touches.rules());
        let looked_into = |place: &Place, value: &Json| {
            let below = format!("{place}.");
            let mut others = rules.iter().filter_map(|rule| rule.at.as_ref());
            let has = |other: &Place| {
                let other = other.to_string();
                let rest = other.strip_prefix(&below);
                let key = rest.and_then(|rest| rest.split(['.', '[']).next());
                key.is_some_and(|key| value.member(key).is_some())
            };
            matches!(rule.kind, TouchKind::Typed { .. }) || others.any(has)
        };
        let odd = |place: &Place, value: &Json| match value {
            Json::List(_) => !value.is_nothing(),
            Json::Map(_) => !value.is_nothing() && !looked_into(place, value),
            Json::Null | Json::Flag(_) | Json::Number(_) | Json::Text(_) => false,
        };
        let flag = |value: &&Json| matches!(value, Json::Flag(_));
        let list = named
            .clone()
            .chain(values)
            .find(|place| found(place).iter().any(|value| odd(place, value)));
        let wrong = list.or_else(|| named.clone().find(|place| found(place).iter().any(flag)));
        match wrong {
            Some(place) => Err(Refusal::new(
                Code::AmbiguousRequest,
                format!(
                    "`{place}` holds something else than a name or a value; write it as the reference does"
                ),
            )),
            None => Ok(()),
        }
    }

    /// A rule and what it belongs to; `None` where that is not there.
    async fn here(&self, rule: &'r TouchRule, kind: &'r Kind) -> Result<Option<Here<'r>>, Refusal> {
        let mut parents: Vec<(&Kind, String)> = Vec::new();
        let mut parent = None;
        let by_itself = rule.by != ["tag"]; // a path that names a tag does not name what carries it
        let mut in_path =
            matches!(rule.at, Some(Place::Path(_))) && by_itself || rule.called.is_some();
        for (name, place) in &rule.of {
            in_path |= matches!(place, Place::Path(_));
            let kinds = self.catalog.kinds();
            let called = self
                .asked
                .names(place)
                .first()
                .map(|name| (*name).to_owned());
            let (Some(kind), Some(called)) = (kinds.find(name.as_str()), called) else {
                return Ok(None);
            };
            let created = rule.verb == TouchVerb::Create && !matches!(place, Place::Path(_));
            let found = if created {
                Some(told_by_name(kind, &called))
            } else {
                self.told(kind, &parents, &called)
                    .await?
                    .map(|found| found.attributes)
            };
            let Some(attributes) = found else {
                return Ok(None);
            };
            parent = Some(Arc::new(State::new(kind, attributes, parent)));
            parents.push((kind, called));
        }
        Ok(Some(Here {
            rule,
            kind,
            parents,
            parent,
            in_path,
        }))
    }

    async fn of_kind(&mut self, here: Here<'r>) -> Result<(), Refusal> {
        let rule = here.rule;
        match rule.verb {
            TouchVerb::List => self.listed(&here),
            TouchVerb::Create => self.created(&here).await,
            _ if rule.by == ["tag"] => self.carriers(&here).await,
            _ if rule.by == ["name"]
                && here.kind.identified_by.len() == 1
                && !is_name_id(here.kind) =>
            {
                self.by_name(&here).await
            }
            _ => {
                for name in self.names(rule) {
                    let name = folded(here.kind.name.as_str(), "id", &name); // UUIDs come in either case
                    self.one(&here, &name).await?;
                }
                Ok(())
            }
        }
    }

    /// One resource, named by what identifies it.
    async fn one(&mut self, here: &Here<'r>, name: &str) -> Result<(), Refusal> {
        let (rule, kind) = (here.rule, here.kind);
        let told = match rule.called {
            Some(_) => Attributes::new(), // it is not named, so nothing is told
            None => told_by_name(kind, name),
        };
        let mut told = with_parents(told, kind, &here.parents);
        if rule.by.iter().any(|by| by == "slug") && !name.bytes().all(|byte| byte.is_ascii_digit())
        {
            // Only public images have slugs, and nobody puts tags on these.
            let known = |value: &str| Known::exactly([value.to_owned()]);
            told.insert("slug".to_owned(), known(name));
            told.insert("public".to_owned(), known("true"));
            told.insert("tag".to_owned(), Known::exactly([]));
        }
        let is_first = self.touches.is_empty();
        let for_lists = is_first && self.replaces_lists();
        let deferred = self.interest.defers
            && rule.verb == TouchVerb::Read
            && rule.answer.is_some()
            && rule.first.is_none()
            && self.asked.reads()
            && !(self.enough(kind, &told)
                && kind.shows_children.is_empty()
                && kind.counts_as.is_none());
        if deferred {
            let mut attributes = told;
            self.project(kind, name, &mut attributes).await?;
            let before = State::new(kind, attributes, here.parent.clone());
            let mut touch = touch(rule, kind, Some(name), here.in_path);
            (touch.before, touch.after, touch.deferred) =
                (Some(before.clone()), Some(before), true);
            return self.push(touch);
        }
        // What becomes the default, or stops being it, is told by whether it was.
        let by_default = rule.after.iter().any(|(attribute, places)| {
            attribute == "default" && places.iter().any(|place| self.asked.gives(place))
        });
        let found = if !for_lists && !by_default && self.enough(kind, &told) {
            Some(Found {
                attributes: told.clone(),
                json: None,
            })
        } else if rule.called.is_some() {
            self.look.default(kind).await?
        } else {
            self.look.one(kind, &here.parents, name).await?
        };
        let Some(mut found) = found else {
            return self.push(missing(rule, kind, Some(name), here.in_path));
        };
        for (attribute, known) in told {
            found.attributes.entry(attribute).or_insert(known);
        }
        let id = id_of(kind, &found.attributes).unwrap_or_else(|| name.to_owned());
        self.project(kind, &id, &mut found.attributes).await?;
        if is_first {
            self.first = Some(found.clone());
        }
        let another = match kind.counts_as {
            Some(_) => acted_on(&found.attributes, self.catalog, self.interest, self.look).await?,
            None => None,
        };
        let before =
            another.unwrap_or_else(|| State::new(kind, found.attributes, here.parent.clone()));
        self.changed(here, Some(name), before).await
    }

    /// Resources named by a name that more than one could have.
    async fn by_name(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        let narrowed: Vec<(String, String)> = here
            .rule
            .narrowed
            .iter()
            .filter_map(|(attribute, place)| {
                let value = self
                    .asked
                    .names(place)
                    .first()
                    .map(|value| (*value).to_owned())?;
                Some((attribute.clone(), value))
            })
            .collect();
        for name in self.names(here.rule) {
            let found = self.look.named(here.kind, &name, &narrowed).await?;
            if found.is_empty() {
                self.push(missing(here.rule, here.kind, Some(&name), here.in_path))?;
            }
            for mut found in found {
                let id = id_of(here.kind, &found.attributes).unwrap_or_default();
                self.project(here.kind, &id, &mut found.attributes).await?;
                if self.touches.is_empty() {
                    self.first = Some(found.clone());
                }
                let before = State::new(here.kind, found.attributes, here.parent.clone());
                self.changed(here, Some(&name), before).await?;
            }
        }
        Ok(())
    }

    /// Whatever carries a tag, now and when the request runs: nothing else is known of it.
    async fn carriers(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        for tag in self.names(here.rule) {
            let tag = folded(here.kind.name.as_str(), "tag", &tag);
            let carried = Attributes::from([("tag".to_owned(), Known::at_least([tag.clone()]))]);
            let before = State::new(here.kind, carried, here.parent.clone());
            self.changed(here, Some(&format!("tag:{tag}")), before)
                .await?;
        }
        Ok(())
    }

    /// A resource that a URN or a type beside its id names.
    async fn beside(
        &mut self,
        rule: &'r TouchRule,
        kind: &'r Kind,
        id: &str,
    ) -> Result<(), Refusal> {
        let here = Here {
            rule,
            kind,
            parents: Vec::new(),
            parent: None,
            in_path: false,
        };
        self.one(&here, id).await
    }

    fn listed(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        let mut touch = touch(here.rule, here.kind, None, here.in_path);
        if let Some(parent) = &here.parent {
            let mut told = with_parents(Attributes::new(), here.kind, &here.parents);
            if parent.kind.as_str() == "project" && here.kind.has("project") {
                told.insert("project".to_owned(), both_names(&parent.attributes));
            }
            touch.before = Some(State::new(here.kind, told, here.parent.clone()));
        }
        self.push(touch)
    }

    async fn created(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        let (rule, kind) = (here.rule, here.kind);
        let each: Vec<String> = match &rule.each {
            Some(place) => self
                .asked
                .names(place)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            None => Vec::new(),
        };
        let mut base = Attributes::from([("id".to_owned(), Known::exactly([]))]);
        if kind.has("tag") {
            base.insert("tag".to_owned(), Known::exactly([]));
        }
        let mut one_each = None;
        for (attribute, places) in &rule.after {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            if values.is_empty() {
                continue;
            }
            if rule.each.as_ref().is_some_and(|each| places.contains(each)) {
                one_each = Some((attribute, values));
            } else {
                let known = self.known(here, attribute, &values).await?;
                base.insert(attribute.clone(), known);
            }
        }
        if kind.has("project")
            && self.interest.adds.is_empty() // else the project that a grant adds is the one that counts
            && !base.contains_key("project")
            && self.asks(kind).contains("project")
        {
            base.insert("project".to_owned(), self.default_project().await?);
        }
        let base = with_parents(base, kind, &here.parents);
        let rounds = match one_each {
            Some((attribute, values)) => values
                .into_iter()
                .map(|value| Some((attribute.clone(), value)))
                .collect(),
            None if each.is_empty() => vec![None],
            None => each.iter().map(|_| None).collect::<Vec<_>>(),
        };
        for round in rounds {
            let mut attributes = base.clone();
            if let Some((attribute, value)) = round {
                let known = self.known(here, &attribute, &[value]).await?;
                attributes.insert(attribute, known);
            }
            same_as_id(kind, &mut attributes);
            let mut touch = touch(rule, kind, None, here.in_path);
            touch.after = Some(State::new(kind, attributes, here.parent.clone()));
            if self.asks(kind).contains("project") {
                for called in &self.interest.adds {
                    let home = self.project_called(called).await?;
                    touch.homes.push(((*called).to_owned(), home));
                }
            }
            self.push(touch)?;
        }
        Ok(())
    }

    /// Adds a touch of what is there, with what the request would make of it.
    async fn changed(
        &mut self,
        here: &Here<'r>,
        name: Option<&str>,
        before: State,
    ) -> Result<(), Refusal> {
        let rule = here.rule;
        let mut after = before.clone();
        for (attribute, places) in &rule.after {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            if !values.is_empty() {
                let known = self.known(here, attribute, &values).await?;
                after.attributes.insert(attribute.clone(), known);
            }
        }
        for (attribute, places) in &rule.adds {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            if values.is_empty() {
                continue;
            }
            let more = self.known(here, attribute, &values).await?;
            let known = after.attributes.entry(attribute.clone()).or_default();
            for value in more.values {
                if !known.values.contains(&value) {
                    known.values.push(value);
                }
            }
        }
        for (attribute, places) in &rule.removes {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            let fewer = self.known(here, attribute, &values).await?;
            let known = after.attributes.entry(attribute.clone()).or_default();
            known.values.retain(|value| !fewer.values.contains(value));
        }
        for attribute in &rule.clears {
            after
                .attributes
                .insert(attribute.clone(), Known::exactly([]));
        }
        for attribute in &rule.unsure {
            after.attributes.insert(attribute.clone(), Known::unknown());
        }
        let mut touch = touch(rule, here.kind, name, here.in_path);
        touch.changes = after
            .attributes
            .iter()
            .filter(|(attribute, known)| before.attributes.get(*attribute) != Some(known))
            .map(|(attribute, _)| attribute.clone())
            .collect();
        (touch.before, touch.after) = match rule.verb {
            TouchVerb::Delete => (Some(before), None),
            TouchVerb::Create => (None, Some(after)),
            TouchVerb::Read
            | TouchVerb::List
            | TouchVerb::Change
            | TouchVerb::Use
            | TouchVerb::Source
            | TouchVerb::Attach
            | TouchVerb::Join
            | TouchVerb::Label => (Some(before), Some(after)),
        };
        self.push(touch)
    }

    /// The values that a request gives an attribute, as they compare.
    async fn known(
        &self,
        here: &Here<'r>,
        attribute: &str,
        values_given: &[String],
    ) -> Result<Known, Refusal> {
        let kind = here.kind;
        let zone = zone_of(here.parent.as_deref());
        if let Some(zone) = zone
            .as_deref()
            .filter(|_| kind.names_in_zone.iter().any(|name| name == attribute))
            && let Some(twofold) = values_given
                .iter()
                .find(|value| super::record_name(value, zone).is_none())
        {
            return Err(Refusal::new(
                Code::AmbiguousRequest,
                format!(
                    "the record's name `{twofold}` could be read as one in the zone and as one below it; write it relative to `{zone}`, or absolute with a dot at its end"
                ),
            ));
        }
        if attribute != "project" || !self.asks(kind).contains("project") {
            let values = self.all_names(kind, attribute, values_given).await?;
            let values = values.as_deref().unwrap_or(values_given);
            let spelled = values
                .iter()
                .map(|value| spelled(kind, attribute, value, zone.as_deref()));
            return Ok(Known::exactly(spelled));
        }
        let mut known = Known::exactly([]);
        for value in values_given {
            known.values.extend(self.project_named(value).await?.values);
        }
        Ok(known)
    }

    /// Where an attribute is another resource that has several names, as an image its slug, all of them: a selector may
    /// know it by another one than the request.
    async fn all_names(
        &self,
        kind: &Kind,
        attribute: &str,
        given: &[String],
    ) -> Result<Option<Vec<String>>, Refusal> {
        let other = self.catalog.kinds().find(attribute);
        let Some(other) = other.filter(|other| other.identified_by.len() > 1) else {
            return Ok(None);
        };
        if !self.asks(kind).contains(attribute) {
            return Ok(None);
        }
        let mut names = given.to_vec();
        for name in given {
            let found = self.look.one(other, &[], name).await?;
            let identifying = other.attributes.iter().filter(|attribute| {
                let by = |from: &Source| matches!(from, Source::Member(path) if other.identified_by.contains(path));
                attribute.from.iter().any(by)
            });
            for known in identifying.filter_map(|it| found.as_ref()?.attributes.get(&it.name)) {
                names.extend(known.values.iter().cloned());
            }
        }
        Ok(Some(names))
    }

    /// A project's id and name.
    async fn project_named(&self, called: &str) -> Result<Known, Refusal> {
        let called = folded("project", "id", called);
        let Some(kind) = self.catalog.kinds().find("project") else {
            return Ok(Known::unknown());
        };
        let Some(found) = self.look.one(kind, &[], &called).await? else {
            return Ok(Known::exactly([called]));
        };
        Ok(both_names(&found.attributes))
    }

    /// A project by what a grant calls it: its name, or its id.
    async fn project_called(&self, called: &str) -> Result<Known, Refusal> {
        let Some(kind) = self.catalog.kinds().find("project") else {
            return Ok(Known::unknown());
        };
        let named = self.look.named(kind, called, &[]).await?;
        match named.as_slice() {
            [found] => Ok(both_names(&found.attributes)),
            _ => self.project_named(called).await,
        }
    }

    async fn default_project(&self) -> Result<Known, Refusal> {
        let Some(kind) = self.catalog.kinds().find("project") else {
            return Ok(Known::unknown());
        };
        let found = self.look.default(kind).await?;
        Ok(found.map_or_else(Known::unknown, |found| both_names(&found.attributes)))
    }

    async fn project(
        &self,
        kind: &Kind,
        id: &str,
        attributes: &mut Attributes,
    ) -> Result<(), Refusal> {
        project(kind, id, attributes, self.interest, self.look).await?;
        // What says its project itself says the id, and a grant may have the name.
        if kind.name.as_str() != "project"
            && self.asks(kind).contains("project")
            && let Some(told) = attributes.get("project")
            && let [id] = told.values.as_slice()
        {
            let both = self.project_named(&id.clone()).await?;
            attributes.insert("project".to_owned(), both);
        }
        Ok(())
    }

    /// What is known of a parent: what its name tells, and what a look-up does where that is not enough.
    async fn told(
        &self,
        kind: &Kind,
        parents: &[(&Kind, String)],
        called: &str,
    ) -> Result<Option<Found>, Refusal> {
        let told = with_parents(told_by_name(kind, called), kind, parents);
        let mut found = if self.enough(kind, &told) {
            Found {
                attributes: told,
                json: None,
            }
        } else {
            match self.look.one(kind, parents, called).await? {
                Some(found) => found,
                None => return Ok(None),
            }
        };
        let id = id_of(kind, &found.attributes).unwrap_or_else(|| called.to_owned());
        self.project(kind, &id, &mut found.attributes).await?;
        Ok(Some(found))
    }

    fn asks(&self, kind: &Kind) -> BTreeSet<String> {
        (self.interest.asks)(kind)
    }

    fn enough(&self, kind: &Kind, told: &Attributes) -> bool {
        enough(kind, told, self.interest)
    }

    /// Whether a later rule must know what a list of the first resource holds.
    fn replaces_lists(&self) -> bool {
        let rules = self
            .asked
            .endpoint
            .map_or(&[][..], |endpoint| endpoint.touches.rules());
        rules.iter().any(|rule| {
            (rule.replaces.is_some() || rule.held_in.is_some()) && self.asked.applies(rule)
        })
    }

    /// What a rule's place names; where it replaces a list, what is new in it and what is no longer.
    fn names(&self, rule: &TouchRule) -> Vec<String> {
        if let Some(called) = &rule.called {
            return vec![called.clone()];
        }
        if let Some(member) = &rule.held_in {
            return self.held(member).unwrap_or_default();
        }
        let named: Vec<String> = rule
            .at
            .iter()
            .flat_map(|place| self.asked.names(place))
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect();
        let Some(replaced) = &rule.replaces else {
            return named;
        };
        let given = rule
            .at
            .as_ref()
            .is_some_and(|place| self.asked.gives(place));
        let before = self.held(replaced).unwrap_or_default();
        let whole = self.asked.method != crate::catalog::Method::Patch;
        let mut touched: Vec<String> = named
            .iter()
            .filter(|name| !before.contains(name))
            .cloned()
            .collect();
        if given || whole {
            touched.extend(before.iter().filter(|name| !named.contains(name)).cloned());
        }
        touched
    }

    /// What a member of the first resource's own JSON names.
    fn held(&self, member: &FieldPath) -> Option<Vec<String>> {
        let first = self.first.as_ref()?;
        if let Some(json) = &first.json {
            let named = json.at(member).into_iter().filter_map(Json::name);
            let named = named.filter(|name| !name.is_empty());
            return Some(named.map(str::to_owned).collect());
        }
        // Facts that a test gives have no JSON; an attribute may be the same member.
        let kind = self.touches.first()?.kind.as_str();
        let mut attributes = self.catalog.kinds().find(kind)?.attributes.iter();
        let same =
            attributes.find(|attribute| attribute.from == [Source::Member(member.clone())])?;
        let known = first.attributes.get(&same.name)?;
        known.complete.then(|| known.values.clone())
    }

    /// Whether a rule goes by what the first resource's own JSON holds, and that is not known: then something is touched, and
    /// nobody knows what.
    fn holds_unknown(&self, rule: &TouchRule) -> bool {
        let members = rule.replaces.iter().chain(&rule.held_in);
        let there = self.first.is_some();
        there
            && members
                .into_iter()
                .any(|member| self.held(member).is_none())
    }

    fn values(&self, place: &Place) -> Vec<String> {
        self.asked.values(place)
    }

    fn typed(
        &self,
        rule: &TouchRule,
        id: &str,
        member: &str,
    ) -> Result<Vec<(String, String)>, Refusal> {
        let Some(Place::Body(path)) = &rule.at else {
            return Ok(Vec::new());
        };
        let items = self.asked.body.iter().flat_map(|body| body.at(path));
        items
            .filter(|item| !item.is_nothing())
            .map(|item| {
                let text = |key: &str| item.member(key).and_then(Json::name).map(str::to_owned);
                match (text(id), text(member)) {
                    (Some(id), Some(member)) => Ok((id, member)),
                    _ => Err(Self::unknown(&format!("an item of {path}"))),
                }
            })
            .collect()
    }

    fn push(&mut self, mut touch: Touch) -> Result<(), Refusal> {
        touch.rule = self.number;
        if self.touches.len() >= MOST {
            let what = format!("the request names more than {MOST} resources; name fewer at once");
            return Err(Refusal::new(Code::Resource, what));
        }
        self.touches.push(touch);
        Ok(())
    }

    fn unknown(what: &str) -> Refusal {
        let what = crate::secret::redacted(what);
        Refusal::new(
            Code::Resource,
            format!(
                "the request names `{what}`, which is no resource that tidegate knows of, so it can't tell whether this sub-token may touch it"
            ),
        )
    }
}

/// Adds which project a resource is in, where that is asked and only URNs tell.
async fn project<L: Look>(
    kind: &Kind,
    id: &str,
    attributes: &mut Attributes,
    interest: &Interest<'_>,
    look: &L,
) -> Result<(), Refusal> {
    let by_urn = kind
        .attribute("project")
        .is_some_and(|attribute| attribute.from.contains(&Source::Urn));
    let asked = (interest.asks)(kind).contains("project");
    if !by_urn || !asked || attributes.contains_key("project") {
        return Ok(());
    }
    if let Some(urn) = urn_of(kind, id) {
        let known = look.project_of(&urn, interest.project).await?;
        attributes.insert("project".to_owned(), known);
    }
    Ok(())
}

/// Whether what is known of a resource is all that the grants ask about, but for what URNs tell.
fn enough(kind: &Kind, told: &Attributes, interest: &Interest<'_>) -> bool {
    let from_elsewhere = |attribute: &str| {
        attribute == "project"
            && kind
                .attribute(attribute)
                .is_some_and(|attribute| attribute.from.contains(&Source::Urn))
    };
    let known = |attribute: &str| {
        !kind.has(attribute) || told.contains_key(attribute) || from_elsewhere(attribute)
    };
    (interest.asks)(kind)
        .iter()
        .all(|attribute| known(attribute))
        && (!kind.has("public") || told.contains_key("public"))
}

/// What a project is called, by id and by name.
fn both_names(attributes: &Attributes) -> Known {
    let both = ["id", "name"]
        .iter()
        .filter_map(|attribute| attributes.get(*attribute))
        .flat_map(|known| known.values.clone());
    Known::exactly(both)
}

fn touch(rule: &TouchRule, kind: &Kind, name: Option<&str>, in_path: bool) -> Touch {
    Touch {
        rule: 0,
        verb: rule.verb,
        kind: kind.name.clone(),
        id: name.map(str::to_owned),
        scope: rule.scope,
        before: None,
        after: None,
        changes: Vec::new(),
        missing: false,
        in_path: in_path && !rule.implied,
        first: rule.is_first(),
        implied: rule.implied,
        homes: Vec::new(),
        deferred: false,
    }
}

fn missing(rule: &TouchRule, kind: &Kind, name: Option<&str>, in_path: bool) -> Touch {
    Touch {
        missing: true,
        ..touch(rule, kind, name, in_path)
    }
}

/// Whether a kind's name is what identifies it.
fn is_name_id(kind: &Kind) -> bool {
    let source = |name: &str| kind.attribute(name).map(|attribute| &attribute.from);
    source("name").is_some() && source("name") == source("id")
}

/// Where a kind's name is what identifies it, what is created has its id by its name.
fn same_as_id(kind: &Kind, attributes: &mut Attributes) {
    if is_name_id(kind)
        && let Some(name) = attributes.get("name").cloned()
    {
        attributes.insert("id".to_owned(), name);
    }
}

fn id_of(kind: &Kind, attributes: &Attributes) -> Option<String> {
    kind.attribute("id")?;
    attributes.get("id")?.values.first().cloned()
}
