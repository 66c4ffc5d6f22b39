//! What follows from what a request touches: attributes of others that are made of what it changes, and others that name what
//! it destroys.
//!
//! Kinds say in the catalogue what they are made of and whom they name. Nothing is looked up here unless a grant asks about
//! such an attribute, or a deny could strike the change. What can't be learnt is unknown: then no allow holds it before, and
//! every deny strikes.

use super::{Resolver, id_of};
use crate::catalog::{
    AttributeSource, Derived, FieldPath, Involvement, Kind, KindId, Made, Place, TouchRule,
    TouchVerb,
};
use crate::refusal::Refusal;
use crate::request::Json;
use crate::resource::attributes::Attributes;
use crate::resource::lookup::{Found, Look, told_by_name, urn_of};
use crate::resource::state::{Known, State, folded};
use crate::resource::touch::{Presence, Touch};

/// What one touch does to those that go by it.
enum Effect<'k> {
    /// A resource carries more or fewer tags than before: it joins and leaves those that go by them.
    Tagged {
        attribute: &'k str,
        tags: &'k [FieldPath],
        gains: Known,
        loses: Known,
        id: Option<String>,
    },
    /// A resource is gone: it is taken off those that name it.
    Gone {
        kind: KindId,
        members: &'k [FieldPath],
        id: Option<String>,
    },
    /// A resource gets what one alone has: the one that had it loses it.
    Taken {
        attribute: &'k str,
        within: Option<(&'k str, Known)>,
        id: Option<String>,
    },
}

impl<'r, L: Look> Resolver<'r, L> {
    /// Adds what follows from all that is touched by now.
    pub(super) async fn follow(&mut self) -> Result<(), Refusal> {
        if self.asked.reads() {
            return Ok(());
        }
        let causes = self.touches.iter().cloned();
        let causes: Vec<_> = causes.map(|cause| (known_id(&cause), cause)).collect();
        for kind in self.catalog.kinds().iter() {
            for (id, cause) in &causes {
                self.same_elsewhere(kind, id.as_ref(), cause)?;
            }
            let mut effects = Vec::new();
            for (id, cause) in &causes {
                self.effects(kind, id.as_ref(), cause, &mut effects)?;
            }
            if !effects.is_empty() {
                self.affected(kind, &effects).await?;
            }
        }
        Ok(())
    }

    /// What goes by a tag that the request gives has whoever carries it, beside what the request names.
    pub(super) fn by_tags(&self, rule: &TouchRule, kind: &Kind, attributes: &mut Attributes) {
        if !rule.is_first() || !matches!(rule.verb, TouchVerb::Create | TouchVerb::Change) {
            return;
        }
        let given = |tag: &FieldPath| {
            let tags = self.asked.values(&Place::Body(tag.clone()));
            tags.iter().any(|tag| !tag.is_empty())
        };
        for Derived { attribute, made } in &kind.derived {
            if matches!(made, Made::Carriers { tags, .. } if tags.iter().any(given)) {
                attributes.change(attribute.as_str(), |known| known.complete = false);
            }
        }
    }

    fn effects(
        &mut self,
        kind: &'r Kind,
        id: Option<&String>,
        cause: &Touch,
        effects: &mut Vec<Effect<'r>>,
    ) -> Result<(), Refusal> {
        if kind.derived.is_empty() && kind.names.is_empty() {
            return Ok(());
        }
        let heeded = self.interest.heeds(kind, true);
        for Derived { attribute, made } in &kind.derived {
            if !heeded && !self.interest.asks_about(kind, attribute) {
                continue;
            }
            match made {
                Made::Carriers { of, tags } if *of == cause.kind => {
                    effects.extend(self.tagged(attribute, tags, id, cause));
                }
                Made::OneAlone { within }
                    if kind.id == cause.kind && cause.changes.contains(attribute) =>
                {
                    match taken(attribute, within.as_ref(), id, cause) {
                        Some(taken) => effects.push(taken),
                        None => self.taken_by_another(kind, attribute)?,
                    }
                }
                Made::Carriers { .. } | Made::OneAlone { .. } | Made::Same { .. } => {}
            }
        }
        if heeded && cause.verb == TouchVerb::Delete {
            for (named, members) in &kind.names {
                if *named == cause.kind {
                    let (kind, id) = (*named, id.cloned());
                    effects.push(Effect::Gone { kind, members, id });
                }
            }
        }
        Ok(())
    }

    /// What becomes of those that go by tags which a resource gets or loses.
    fn tagged(
        &self,
        attribute: &'r str,
        tags: &'r [FieldPath],
        id: Option<&String>,
        cause: &Touch,
    ) -> Option<Effect<'r>> {
        let (mut gains, loses) = tags_moved(cause);
        if cause.verb == TouchVerb::Create {
            let labels = self.interest.labels().into_iter();
            let labels = labels.map(|tag| folded(KindId::Tag, "name", tag));
            gains.values.extend(labels);
        }
        (gains.says_something() || loses.says_something()).then(|| Effect::Tagged {
            attribute,
            tags,
            gains,
            loses,
            id: id.cloned(),
        })
    }

    /// Another gets what one alone has; which, nobody tells.
    fn taken_by_another(&mut self, kind: &'r Kind, attribute: &str) -> Result<(), Refusal> {
        let unknown = State::new(kind, Attributes::new(), None);
        let states = (unknown.clone(), unknown);
        let changes = vec![attribute.to_owned()];
        self.push_following(TouchVerb::Attach, kind, None, states, changes)
    }

    /// Whatever of a kind the effects reach.
    async fn affected(&mut self, kind: &'r Kind, effects: &[Effect<'r>]) -> Result<(), Refusal> {
        let Some(all) = self.look.every(kind).await? else {
            let unknown = State::new(kind, Attributes::new(), None);
            return self.push_following(
                TouchVerb::Attach,
                kind,
                None,
                (unknown.clone(), unknown),
                Vec::new(),
            );
        };
        for found in all {
            let mut after = found.attributes.clone();
            let mut reached = false;
            for effect in effects {
                reached |= effect.reaches(kind, &found, &mut after);
            }
            let id = id_of(kind, &found.attributes);
            let touched = self
                .touches
                .iter()
                .any(|touch| touch.kind == kind.id && id.is_some() && known_id(touch) == id);
            if !reached || touched {
                continue;
            }
            let mut before = found.attributes;
            let named = id.clone().unwrap_or_default();
            self.project(kind, &named, &mut before).await?;
            if let Some(project) = before.get("project") {
                after.insert("project".to_owned(), project.clone());
            }
            let changes = before
                .iter()
                .filter(|(name, known)| after.get(name) != Some(known));
            let changes = changes.map(|(name, _)| name.to_string()).collect();
            let states = (
                State::new(kind, before, None),
                State::new(kind, after, None),
            );
            self.push_following(TouchVerb::Attach, kind, id, states, changes)?;
        }
        Ok(())
    }

    /// What stands for the resource elsewhere, and has an attribute of its.
    fn same_elsewhere(
        &mut self,
        kind: &'r Kind,
        id: Option<&String>,
        cause: &Touch,
    ) -> Result<(), Refusal> {
        let (Some(before), Some(after)) = (&cause.before, &cause.after) else {
            return Ok(());
        };
        for Derived { attribute, made } in &kind.derived {
            let stands_for = matches!(made, Made::Same { of } if of.contains(&cause.kind));
            if !stands_for
                || !cause.changes.contains(attribute)
                || !self.interest.asks_about(kind, attribute)
            {
                continue;
            }
            let kinds = self.catalog.kinds();
            let urn = id.and_then(|id| urn_of(kinds.of(cause.kind), id));
            let by = |kind: &Kind, called: &String| {
                let name = kind.name(called, kinds);
                name.map(|name| told_by_name(kind, &name))
                    .unwrap_or_default()
            };
            let mut told = urn.as_ref().map(|urn| by(kind, urn)).unwrap_or_default();
            let parent = kind.parent.and_then(|parent| {
                let known = before.known(parent.name())?;
                told.insert(parent.name(), known.clone());
                let parent = kinds.of(parent);
                let called = known.values.first().map(|called| by(parent, called));
                let state = State::new(parent, called.unwrap_or_default(), None);
                Some(std::sync::Arc::new(state))
            });
            let with = |state: &State| {
                let mut told = told.clone();
                told.insert(
                    attribute.clone(),
                    state.known(attribute).cloned().unwrap_or_default(),
                );
                State::new(kind, told, parent.clone())
            };
            let states = (with(before), with(after));
            self.push_following(
                TouchVerb::Attach,
                kind,
                urn,
                states,
                vec![attribute.clone()],
            )?;
        }
        Ok(())
    }

    pub(super) fn push_following(
        &mut self,
        verb: TouchVerb,
        kind: &Kind,
        id: Option<String>,
        (before, after): (State, State),
        changes: Vec<String>,
    ) -> Result<(), Refusal> {
        self.push(Touch {
            rule: 0,
            verb,
            kind: kind.id,
            id,
            scope: None,
            before: (verb != TouchVerb::Create).then_some(before),
            after: Some(after),
            changes,
            presence: Presence::There,
            in_path: false,
            within: None,
            involvement: Involvement::Follows,
            homes: Vec::new(),
        })
    }
}

impl Effect<'_> {
    /// Whether it reaches a resource, which is then changed.
    fn reaches(&self, kind: &Kind, found: &Found, after: &mut Attributes) -> bool {
        match self {
            Self::Tagged {
                attribute,
                tags,
                gains,
                loses,
                id,
            } => {
                let Some(names) = named_at(kind, found, tags, KindId::Tag) else {
                    after.insert(*attribute, Known::unknown());
                    return true;
                };
                let (joins, leaves) = (gains.may_be_of(&names), loses.may_be_of(&names));
                after.change(*attribute, |known| {
                    carries(known, id.as_ref(), joins, leaves);
                });
                joins || leaves
            }
            Self::Gone {
                kind: of,
                members,
                id,
            } => {
                let names = named_at(kind, found, members, *of);
                match (names, id) {
                    (None, _) => true,
                    (Some(names), Some(id)) => names.contains(id),
                    (Some(names), None) => !names.is_empty(),
                }
            }
            Self::Taken {
                attribute,
                within,
                id,
            } => {
                let itself = id.is_some() && id_of(kind, &found.attributes) == *id;
                let taken = !itself && could_lose(attribute, within.as_ref(), found);
                if taken {
                    let not = Known::exactly(["false".to_owned()]);
                    after.insert((*attribute).to_owned(), not);
                }
                taken
            }
        }
    }
}

/// What one alone has is taken from whoever else had it, within what agrees; `None` where it is not known that this one gets it.
fn taken<'r>(
    attribute: &'r str,
    within: Option<&'r String>,
    id: Option<&String>,
    cause: &Touch,
) -> Option<Effect<'r>> {
    let after = cause.after.as_ref();
    let becomes = after.and_then(|after| after.known(attribute))?;
    let agrees = |within: &'r String| {
        let known = cause.before.as_ref()?.known(within);
        Some((within.as_str(), known.cloned().unwrap_or_default()))
    };
    (*becomes == Known::exactly(["true".to_owned()])).then(|| Effect::Taken {
        attribute,
        within: within.and_then(agrees),
        id: id.cloned(),
    })
}

/// Puts a resource among those that go by a tag, or takes it off; of one that is not named, whichever it may be.
fn carries(known: &mut Known, id: Option<&String>, joins: bool, leaves: bool) {
    match id {
        _ if !leaves => {}
        Some(id) => known.values.retain(|value| value != id),
        None => known.values.clear(), // any of them, or all
    }
    match id {
        _ if !joins => {}
        Some(id) if known.values.contains(id) => {}
        Some(id) => known.values.push(id.clone()),
        None => known.complete = false,
    }
}

/// Whether a resource may have what one alone has, and agree in what that is within.
fn could_lose(attribute: &str, within: Option<&(&str, Known)>, found: &Found) -> bool {
    let has = |name: &str| found.attributes.get(name).unwrap_or_default();
    let known = has(attribute);
    let had = !known.complete || known.values == ["true"];
    let agrees = within.is_none_or(|(name, of)| {
        let here = has(name);
        !here.complete || of.may_be_of(&here.values)
    });
    had && agrees
}

impl Known {
    /// Whether one of these could be one of its values.
    fn may_be_of(&self, others: &[String]) -> bool {
        let mut others = others.iter();
        if self.complete {
            others.any(|other| self.values.contains(other))
        } else {
            others.next().is_some()
        }
    }

    fn says_something(&self) -> bool {
        !self.complete || !self.values.is_empty()
    }
}

/// The tags that what is touched gets, and those that it loses.
fn tags_moved(cause: &Touch) -> (Known, Known) {
    let none = || Known::exactly([]);
    let of = |state: &Option<State>| match state {
        Some(state) => state.known("tag").cloned().unwrap_or_else(none),
        None => none(),
    };
    let (before, after) = (of(&cause.before), of(&cause.after));
    let both = cause.before.is_some() && cause.after.is_some();
    if both && !cause.changes.iter().any(|attribute| attribute == "tag") {
        return (none(), none());
    }
    // What is not known of both alike does not change.
    let alike = both && before.complete == after.complete;
    let without = |these: &Known, those: &Known| Known {
        values: these
            .values
            .iter()
            .filter(|it| !those.values.contains(it))
            .cloned()
            .collect(),
        complete: alike || these.complete,
    };
    (without(&after, &before), without(&before, &after))
}

/// What members of a resource's JSON name; `None` where that is not known.
fn named_at(kind: &Kind, found: &Found, members: &[FieldPath], of: KindId) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for member in members {
        if let Some(json) = &found.json {
            let names = json.at(member).into_iter().filter_map(Json::name);
            let names = names.filter(|name| !name.is_empty());
            all.extend(names.map(|name| folded(of, "id", name)));
        } else {
            // Facts that a test gives have no JSON; an attribute may be the same member.
            let same =
                |from: &[AttributeSource]| *from == [AttributeSource::Member(member.clone())];
            let attribute = kind
                .attributes
                .iter()
                .find(|attribute| same(&attribute.from))?;
            let known = found.attributes.get(&attribute.name)?;
            all.extend(known.values.iter().cloned());
        }
    }
    Some(all)
}

fn known_id(touch: &Touch) -> Option<String> {
    let state = touch.before.as_ref().or(touch.after.as_ref())?;
    let known = state.known("id")?;
    known.values.first().cloned()
}
