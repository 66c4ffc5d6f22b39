//! What is there: named, looked up, and with what the request would make of it.

use std::sync::Arc;

use super::{Here, Resolver, acted_on, touch};
use crate::catalog::{Kind, Name, NamedBy, Place, TouchRule, TouchVerb};
use crate::refusal::Refusal;
use crate::resource::attributes::Attributes;
use crate::resource::lookup::{Found, Look, told_by_name, with_parents};
use crate::resource::parents::{above, lacks_parent};
use crate::resource::state::{Known, State, folded};
use crate::resource::touch::{Presence, Touch};

impl<'r, L: Look> Resolver<'r, L> {
    /// What a text names, or what a path means without naming it (`default`). A text that is no name of the kind could be taken
    /// for any of it.
    pub(super) async fn named(&mut self, here: &Here<'r>, text: &str) -> Result<(), Refusal> {
        if self.refused {
            return Ok(());
        }
        let (rule, kind) = (here.rule, here.kind);
        if rule.called.is_some() {
            return self.one(here, None, text).await;
        }
        let name = kind.name(text, self.catalog.kinds());
        match name.filter(|_| rule.opaque.is_none()) {
            Some(name) => self.one(here, Some(&name), name.as_str()).await,
            None => self.push_unknown(rule, kind, None),
        }
    }

    /// One resource, named by what identifies it.
    pub(super) async fn one(
        &mut self,
        here: &Here<'r>,
        called: Option<&Name>,
        name: &str,
    ) -> Result<(), Refusal> {
        let (rule, kind) = (here.rule, here.kind);
        let told = told_of(here, called, name);
        if self.answer_tells(here, &told) {
            return self.deferred(here, name, told).await;
        }
        let is_first = self.touches.is_empty();
        let Some(mut found) = self.found(here, called, &told).await? else {
            return self.push(missing(rule, kind, Some(name), here.in_path));
        };
        for (attribute, known) in told.iter() {
            found
                .attributes
                .insert_missing(Arc::clone(attribute), known.clone());
        }
        let id = id_of(kind, &found.attributes).unwrap_or_else(|| name.to_owned());
        self.project(kind, &id, &mut found.attributes).await?;
        if is_first {
            self.first = Some(found.clone());
        }
        let before = self.state_of(here, found.attributes).await?;
        self.changed(here, Some(name), before).await
    }

    /// Whether the answer will tell of a resource that is read all that is asked.
    fn answer_tells(&self, here: &Here<'r>, told: &Attributes) -> bool {
        let (rule, kind) = (here.rule, here.kind);
        self.interest.defers()
            && !(here.parent.is_none() && lacks_parent(kind, told)) // what it belongs to must be looked up
            && rule.verb == TouchVerb::Read
            && rule.answer.is_some()
            && rule.first.is_none()
            && self.asked.reads()
            && !(self.enough(kind, told)
                && kind.shows_children.is_empty()
                && kind.counts_as.is_empty())
    }

    async fn deferred(
        &mut self,
        here: &Here<'r>,
        name: &str,
        told: Attributes,
    ) -> Result<(), Refusal> {
        let (rule, kind) = (here.rule, here.kind);
        let mut attributes = told;
        self.project(kind, name, &mut attributes).await?;
        let before = State::new(kind, attributes, here.parent.clone());
        let mut touch = touch(rule, kind, Some(name), here.in_path);
        (touch.before, touch.after, touch.presence) =
            (Some(before.clone()), Some(before), Presence::Deferred);
        self.push(touch)
    }

    /// What is there; it is not looked up where what its name tells is enough.
    async fn found(
        &mut self,
        here: &Here<'r>,
        called: Option<&Name>,
        told: &Attributes,
    ) -> Result<Option<Found>, Refusal> {
        let (rule, kind) = (here.rule, here.kind);
        let for_lists = self.touches.is_empty() && self.replaces_lists();
        // What becomes the default, or stops being it, is told by whether it was.
        let by_default = rule.after.iter().any(|(attribute, places)| {
            attribute == "default" && places.iter().any(|place| self.asked.gives(place))
        });
        let acted = !kind.counts_as.is_empty(); // its name does not tell what it acted on
        if !for_lists && !by_default && !acted && self.enough(kind, told) {
            return Ok(Some(Found {
                attributes: told.clone(),
                json: None,
            }));
        }
        match called {
            Some(name) => self.look.one(kind, &here.parents, name).await,
            None => self.look.default(kind).await,
        }
    }

    /// What was found, or what that counts as, with what it belongs to.
    async fn state_of(&mut self, here: &Here<'r>, found: Attributes) -> Result<State, Refusal> {
        let kind = here.kind;
        let (catalog, interest) = (self.catalog, self.interest);
        let another = if kind.counts_as.is_empty() {
            None
        } else {
            acted_on(kind, &found, catalog, interest, self.look).await?
        };
        let parent = if here.parent.is_some() {
            here.parent.clone()
        } else {
            above(kind, &found, catalog, interest, self.look).await?
        };
        Ok(another.unwrap_or_else(|| State::new(kind, found, parent)))
    }

    /// Resources named by a name that more than one could have.
    pub(super) async fn by_name(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
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
            if self.refused {
                break;
            }
            let (kind, parents) = (here.kind, &here.parents);
            let found = self.look.named(kind, parents, &name, &narrowed).await?;
            if found.is_empty() {
                self.push(missing(here.rule, here.kind, Some(&name), here.in_path))?;
            }
            for mut found in found {
                if self.refused {
                    break;
                }
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

    /// What the account has by an id or a name. What it does not have is nobody's, and nothing is touched.
    pub(super) async fn own(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        for name in self.names(here.rule) {
            let mut found = self.look.named(here.kind, &[], &name, &[]).await?;
            if let Some(name) = here.kind.name(&name, self.catalog.kinds()) {
                found.extend(self.look.one(here.kind, &[], &name).await?);
            }
            for mut found in found {
                let id = id_of(here.kind, &found.attributes).unwrap_or_default();
                self.project(here.kind, &id, &mut found.attributes).await?;
                let before = State::new(here.kind, found.attributes, None);
                self.changed(here, Some(&name), before).await?;
            }
        }
        Ok(())
    }

    /// The bucket that a host name of Spaces begins with, `BUCKET.REGION.digitaloceanspaces.com`. Any other host could be of any.
    pub(super) async fn hosted(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        for host in self.names(here.rule) {
            let bucket = host
                .strip_suffix(SPACES)
                .and_then(|rest| rest.rsplit_once('.'))
                .map_or("", |(bucket, _)| bucket);
            self.named(here, bucket).await?;
        }
        Ok(())
    }

    /// Whatever carries a tag, now and when the request runs: nothing else is known of it.
    pub(super) async fn carriers(
        &mut self,
        here: &Here<'r>,
        tags: Vec<String>,
    ) -> Result<(), Refusal> {
        for tag in tags {
            let tag = folded(here.kind.id, "tag", &tag);
            let carried = Attributes::from([("tag".to_owned(), Known::at_least([tag.clone()]))]);
            let before = State::new(here.kind, carried, here.parent.clone());
            self.changed(here, Some(&format!("tag:{tag}")), before)
                .await?;
        }
        Ok(())
    }

    /// A resource that a URN or a type beside its id names.
    pub(super) async fn beside(
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
            in_path: rule.by != NamedBy::Tag && matches!(rule.at, Some(Place::Path(_))),
        };
        if rule.by == NamedBy::Tag {
            return self.carriers(&here, vec![id.to_owned()]).await;
        }
        self.named(&here, id).await
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
        self.set(here, &mut after.attributes).await?;
        self.add_and_remove(here, &mut after.attributes).await?;
        self.swap(here, &mut after.attributes).await?;
        for attribute in &rule.clears {
            after
                .attributes
                .insert(attribute.clone(), Known::exactly([]));
        }
        for attribute in &rule.unsure {
            after.attributes.insert(attribute.clone(), Known::unknown());
        }
        self.by_tags(rule, here.kind, &mut after.attributes);
        let mut touch = touch(rule, here.kind, name, here.in_path);
        touch.changes = after
            .attributes
            .iter()
            .filter(|(attribute, known)| before.attributes.get(attribute) != Some(known))
            .map(|(attribute, _)| attribute.to_string())
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

    /// What the request gives in place of what is there.
    async fn set(&mut self, here: &Here<'r>, after: &mut Attributes) -> Result<(), Refusal> {
        let rule = here.rule;
        for (attribute, places) in &rule.after {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            if !values.is_empty() {
                let known = self.known(here, attribute, &values).await?;
                after.insert(attribute.clone(), known);
            } else if self.asked.does_only(rule)
                || rule.resets.contains(attribute)
                || places.iter().any(|place| self.asked.gives_at(place))
            {
                // What is given and says nothing clears it to some, and leaves it as it is to others; nor is it told what an
                // action that is there to set it makes of it where it does not say.
                after.insert(attribute.clone(), Known::unknown());
            }
        }
        Ok(())
    }

    /// What the request puts to what is there, and what it takes off.
    async fn add_and_remove(
        &mut self,
        here: &Here<'r>,
        after: &mut Attributes,
    ) -> Result<(), Refusal> {
        for (attribute, places) in &here.rule.adds {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            if values.is_empty() {
                continue;
            }
            let more = self.known(here, attribute, &values).await?;
            after.change(attribute.as_str(), |known| {
                for value in more.values {
                    if !known.values.contains(&value) {
                        known.values.push(value);
                    }
                }
            });
        }
        for (attribute, places) in &here.rule.removes {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            let fewer = self.known(here, attribute, &values).await?;
            after.change(attribute.as_str(), |known| {
                known.values.retain(|value| !fewer.values.contains(value));
            });
        }
        Ok(())
    }

    /// What the request gives in place of what another gave of it.
    async fn swap(&mut self, here: &Here<'r>, after: &mut Attributes) -> Result<(), Refusal> {
        for (attribute, places) in &here.rule.swaps {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            let gives = self.known(here, attribute, &values).await?;
            let first = self.touches.first().and_then(|first| first.before.as_ref());
            let had = first.and_then(|first| first.known(attribute));
            let own = after.remove(attribute).unwrap_or_default();
            let known = swapped(own, had.unwrap_or_default(), gives);
            after.insert(attribute.clone(), known);
        }
        Ok(())
    }
}

/// What is told of a resource before it is looked up.
fn told_of(here: &Here<'_>, called: Option<&Name>, name: &str) -> Attributes {
    let kind = here.kind;
    let told = match called {
        None => Attributes::new(), // it is not named, so nothing is told
        Some(name) => told_by_name(kind, name),
    };
    let mut told = with_parents(told, kind, &here.parents);
    if kind.public.iter().any(|public| public == name) {
        // What is public nobody puts tags on.
        let known = |value: &str| Known::exactly([value.to_owned()]);
        told.insert("slug", known(name));
        told.insert("public", known("true"));
        told.insert("tag", Known::exactly([]));
    }
    told
}

/// What is left of an attribute where what gave part of it gives something else.
fn swapped(own: Known, had: &Known, gives: Known) -> Known {
    let complete = own.complete && had.complete && gives.complete;
    let kept = own.values.into_iter().filter(|it| !had.values.contains(it));
    let mut values: Vec<String> = kept.collect();
    values.extend(gives.values);
    Known { values, complete }
}

/// Where the buckets are, by their regions.
const SPACES: &str = ".digitaloceanspaces.com";

pub(super) fn missing(rule: &TouchRule, kind: &Kind, name: Option<&str>, in_path: bool) -> Touch {
    Touch {
        presence: Presence::Missing,
        ..touch(rule, kind, name, in_path)
    }
}

pub fn id_of(kind: &Kind, attributes: &Attributes) -> Option<String> {
    kind.attribute("id")?;
    attributes.first("id").map(str::to_owned)
}
