//! What is to be, and what a list may show.

use super::values::both_names;
use super::{Here, Resolver, touch};
use crate::catalog::{Kind, KindId, TouchRule};
use crate::refusal::Refusal;
use crate::resource::attributes::Attributes;
use crate::resource::lookup::{Look, with_parents};
use crate::resource::state::{Known, State};

impl<'r, L: Look> Resolver<'r, L> {
    pub(super) fn listed(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        let mut touch = touch(here.rule, here.kind, None, here.in_path);
        if let Some(parent) = &here.parent {
            let mut told = with_parents(Attributes::new(), here.kind, &here.parents);
            if parent.kind == KindId::Project && here.kind.has("project") {
                told.insert("project", both_names(&parent.attributes));
            }
            touch.before = Some(State::new(here.kind, told, here.parent.clone()));
        }
        self.push(touch)
    }

    pub(super) async fn created(&mut self, here: &Here<'r>) -> Result<(), Refusal> {
        let (rule, kind) = (here.rule, here.kind);
        let (base, one_each) = self.made_alike(here).await?;
        for round in self.rounds(rule, one_each) {
            let mut attributes = base.clone();
            if let Some((attribute, value)) = round {
                let known = self.known(here, attribute, &[value]).await?;
                attributes.insert(attribute.clone(), known);
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

    /// What all that is made has, and the attribute of which each has a value of its own.
    async fn made_alike(
        &mut self,
        here: &Here<'r>,
    ) -> Result<(Attributes, Option<OneEach<'r>>), Refusal> {
        let (rule, kind) = (here.rule, here.kind);
        let mut base = Attributes::from([("id", Known::exactly([]))]);
        if kind.has("tag") {
            base.insert("tag", Known::exactly([]));
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
        if !base.contains_key("project") && self.goes_to_default(here) {
            base.insert("project", self.default_project().await?);
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
        Ok((with_parents(base, kind, &here.parents), one_each))
    }

    /// Whether what is made goes to the default project where the request names none, and somebody asks: else the project that a
    /// grant adds is the one that counts; nothing is added to what is made beside.
    fn goes_to_default(&self, here: &Here<'r>) -> bool {
        let (rule, kind) = (here.rule, here.kind);
        kind.has("project")
            && (self.interest.adds().is_empty() || !rule.is_first())
            && self.asks(kind).contains("project")
    }

    /// For each that is made, the attribute that it alone has so.
    fn rounds(
        &self,
        rule: &TouchRule,
        one_each: Option<OneEach<'r>>,
    ) -> Vec<Option<(&'r String, String)>> {
        if let Some((attribute, values)) = one_each {
            let one = |value| Some((attribute, value));
            return values.into_iter().map(one).collect();
        }
        let named = rule.each.as_ref().map(|place| self.asked.names(place));
        vec![None; named.map_or(1, |named| named.len().max(1))]
    }
}

/// An attribute, and its value of each that is made.
type OneEach<'r> = (&'r String, Vec<String>);

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
