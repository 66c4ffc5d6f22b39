//! What a request does, as the `actions` of a grant name it: what it says itself, and what it makes of the tags and the project
//! of what is there, whatever path it goes by.

use super::case::Case;
use crate::catalog::{TouchRule, TouchVerb};
use crate::request::Asked;
use crate::resource::{Known, State, Touch};

/// The actions that are told by what becomes of a resource.
const TAG: &str = "tag";
const UNTAG: &str = "untag";
const ASSIGN: &str = "assign";

/// The attributes that tell them.
pub(super) const TELLING: [&str; 2] = ["tag", "project"];

impl Case<'_> {
    /// What the request does beside what it says: putting tags on what is there, taking them off, moving it to a project.
    pub(super) fn done_to_touched(&self) -> Vec<&'static str> {
        let rules = self
            .asked
            .endpoint
            .map_or(&[][..], |endpoint| endpoint.touches.rules());
        let mut done = Vec::new();
        for touch in self.touches.iter().filter(|touch| !touch.follows()) {
            if let Some(rule) = rules.get(touch.rule).filter(|rule| changes_what_is(rule)) {
                add_done(self.asked, rule, touch, &mut done);
            }
        }
        done
    }
}

/// Whether a request could do such a thing.
pub(super) fn could_tell(asked: &Asked<'_>) -> bool {
    let rules = asked
        .endpoint
        .map_or(&[][..], |endpoint| endpoint.touches.rules());
    let mut rules = rules.iter().filter(|rule| changes_what_is(rule));
    rules.any(|rule| TELLING.iter().any(|attribute| rule.sets(attribute)))
}

fn changes_what_is(rule: &TouchRule) -> bool {
    matches!(rule.verb, TouchVerb::Change | TouchVerb::Attach)
}

fn add_done(asked: &Asked<'_>, rule: &TouchRule, touch: &Touch, done: &mut Vec<&'static str>) {
    let is_changed = |attribute: &str| {
        let given = rule.places_of(attribute).any(|place| asked.gives_at(place));
        touch.changes.iter().any(|it| it == attribute) || touch.is_missing() && given
    };
    if rule.sets("project") && is_changed("project") {
        done.push(ASSIGN);
    }
    if !rule.sets("tag") || !is_changed("tag") {
        return;
    }
    let names_tag = |named: &[(String, _)]| named.iter().any(|(attribute, _)| attribute == "tag");
    let replaces = !names_tag(&rule.adds) && !names_tag(&rule.removes);
    let (before, after) = (tags(touch.before.as_ref()), tags(touch.after.as_ref()));
    // A list that is left out or empty puts on nothing.
    let given = rule
        .places_of("tag")
        .any(|place| !asked.values(place).is_empty());
    if names_tag(&rule.adds) || replaces && given && could_have_more(after, before) {
        done.push(TAG);
    }
    if names_tag(&rule.removes) || replaces && could_have_more(before, after) {
        done.push(UNTAG);
    }
}

/// The tags of what is touched, as far as they are known.
fn tags(state: Option<&State>) -> &Known {
    let known = state.and_then(|state| state.known("tag"));
    known.unwrap_or_default()
}

/// Whether something is or could be among these that is not among those.
fn could_have_more(these: &Known, others: &Known) -> bool {
    !these.complete
        || !these
            .values
            .iter()
            .all(|value| others.values.contains(value))
}
