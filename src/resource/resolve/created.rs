//! What is to be, and what a list may show.

use super::values::both_names;
use super::{Here, Resolver, touch};
use crate::catalog::Kind;
use crate::refusal::Refusal;
use crate::resource::attributes::Attributes;
use crate::resource::look::{Look, with_parents};
use crate::resource::state::{Known, State};

impl<'r, L: Look> Resolver<'r, L> {
    pub(super) fn listed(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
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

    pub(super) async fn created(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
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
            if values.iter().all(String::is_empty) {
                continue; // clients write `""` where they say nothing
            }
            if rule.each.as_ref().is_some_and(|each| places.contains(each)) {
                one_each = Some((attribute, values));
            } else {
                let known = self.known(here, attribute, &values).await?;
                base.insert(attribute.clone(), known);
            }
        }
        for (attribute, places) in &rule.adds {
            let values: Vec<String> = places.iter().flat_map(|place| self.values(place)).collect();
            let more = self.known(here, attribute, &values).await?;
            base.change(attribute.as_str(), |own| own.values.extend(more.values));
        }
        for attribute in &rule.unsure {
            base.insert(attribute.clone(), Known::unknown());
        }
        if kind.has("project")
            // Else the project that a grant adds is the one that counts; nothing is added to what is made beside.
            && (self.interest.adds().is_empty() || !rule.is_first())
            && !base.contains_key("project")
            && self.asks(kind).contains("project")
        {
            base.insert("project".to_owned(), self.default_project().await?);
        }
        for attribute in &rule.gets {
            let known = gotten(here.parent.as_deref(), attribute);
            base.insert_missing(attribute.as_str(), Known::exactly([]));
            base.change(attribute.as_str(), |own| {
                own.values.extend(known.values);
                own.complete &= known.complete;
            });
        }
        self.by_tags(rule, kind, &mut base);
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
            if rule.is_first() && self.asks(kind).contains("project") {
                for called in self.interest.adds() {
                    let home = self.project_called(called).await?;
                    touch.homes.push((called.to_owned(), home));
                }
            }
            self.push(touch)?;
        }
        Ok(())
    }
}

/// What is got of an attribute from what a thing belongs to: the tags of all of these, and of another what the nearest has that
/// has it.
fn gotten(parent: Option<&State>, attribute: &str) -> Known {
    let states = parent.into_iter().flat_map(State::chain);
    let mut had =
        states.filter_map(|state| state.has_own(attribute).then(|| state.known(attribute))?);
    if attribute != "tag" {
        return had.next().cloned().unwrap_or_default();
    }
    had.fold(Known::exactly([]), |mut all, known| {
        all.values.extend_from_slice(&known.values);
        all.complete &= known.complete;
        all
    })
}

/// Where a kind's name is what identifies it, what is created has its id by its name.
fn same_as_id(kind: &Kind, attributes: &mut Attributes) {
    if kind.is_identified_by_name()
        && let Some(name) = attributes.get("name").cloned()
    {
        attributes.insert("id".to_owned(), name);
    }
}
