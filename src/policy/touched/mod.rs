//! The decision over what a request touches: each resource by itself, before and after.

mod covering;
mod striking;
mod why;
mod widening;

pub use covering::with_additions;
pub use striking::{could_take_from_sight, takes_from_sight};
pub use why::why_hidden;

use super::bind::Grants;
use super::case::Case;
use super::decide::{Allowed, Shown};
use super::grant::Bearing;
use crate::catalog::{Catalog, Endpoint, TouchRule, TouchVerb};
use crate::refusal::{Code, Refusal};
use crate::request::Asked;
use crate::resource::{State, Touch};

impl Case<'_> {
    /// Allowed where each touch is covered, none widens what is held, and no deny strikes one.
    pub(super) fn by_touches(&self, touches: &[Touch]) -> Result<Allowed, Refusal> {
        let mut allowed = self.by_scopes_alone()?;
        let Some(endpoint) = self.asked.endpoint else {
            return Err(self.unknown());
        };
        let Some(first) = touches.iter().find(|touch| touch.is_first()) else {
            let why = "it names nothing that it could be about";
            return Err(Refusal::new(
                Code::Resource,
                format!("{endpoint} is refused: {why}; name the resource"),
            ));
        };
        let judge = TouchJudge {
            case: &self.touching(touches),
            endpoint,
        };
        for touch in touches.iter().filter(|touch| is_settled(touch)) {
            judge.not_struck(touch)?;
        }
        let firsts: Vec<_> = touches.iter().filter(|touch| touch.is_first()).collect();
        for touch in &firsts {
            judge.first_covered(touch)?;
        }
        // What covers one of several covers no more than what is named beside that one.
        let covering = judge.covering_each(&firsts);
        for touch in touches.iter().filter(|touch| !touch.is_first()) {
            judge.field_scope_held(touch)?;
        }
        for touch in touches.iter().filter(|touch| !touch.is_first()) {
            for firsts in &covering {
                judge.second_covered(touch, firsts)?;
            }
        }
        judge.fields_covered(touches)?;
        for touch in touches {
            judge.widens_nothing(touch)?;
            judge.frees_nothing(touch)?;
        }
        allowed.additions = None;
        if let Some(grant) = judge.deciding(first, &firsts)? {
            judge.not_struck_with_additions(touches, grant)?;
            allowed.place.clone_from(grant.place());
            allowed.additions = grant.adds();
        }
        allowed.narrows = touches.iter().any(|touch| judge.narrows(touch));
        Ok(allowed)
    }

    /// What may be seen of one resource of an answer.
    pub(super) fn shows(&self, touch: &Touch, state: &State) -> Shown {
        let Some(endpoint) = self.asked.endpoint else {
            return Shown::Hidden;
        };
        let judge = TouchJudge {
            case: self,
            endpoint,
        };
        let verb = match touch.verb {
            TouchVerb::List => TouchVerb::Read, // one of them is looked at by itself: a deny strikes it
            other => other,
        };
        let seen = Touch {
            verb,
            before: Some(state.clone()),
            after: Some(state.clone()),
            presence: touch.presence.answered(),
            ..touch.clone()
        };
        if judge.striking(&seen).is_some() {
            return Shown::Hidden;
        }
        let covering = judge.covering(&seen);
        let as_child = touch.verb == TouchVerb::List && judge.lists_children(touch);
        if as_child && judge.reads_as_other(&seen) {
            return Shown::Whole; // images and snapshots have no children
        }
        let enough = |grants: &[Bearing<'_>]| {
            judge.has_scopes(&seen, grants) || as_child && judge.reads(touch.kind, grants)
        };
        if !enough(&covering) {
            return Shown::Hidden;
        }
        let kinds = self.catalog.kinds();
        let shows_all = |grant: &Bearing<'_>| {
            let only = grant.only();
            !only.is_some_and(|only| only.is_for_children_of(state, kinds))
        };
        let whole: Vec<_> = covering.into_iter().filter(shows_all).collect();
        if enough(&whole) && !self.hides_children(state) {
            Shown::Whole
        } else {
            Shown::WithoutChildren
        }
    }
}

/// The one tag that alone decides which resources of a list may be seen, if it is so.
pub fn one_tag(
    grants: &Grants,
    asked: &Asked<'_>,
    touch: &Touch,
    catalog: &Catalog,
) -> Option<String> {
    let case = Case::new(grants, asked, catalog);
    let endpoint = asked.endpoint?;
    let kinds = catalog.kinds();
    let kind = touch.kind;
    let needs = case.needs(endpoint);
    let has_part = |grant: &Bearing<'_>| {
        let scopes = grant.scopes_for(endpoint);
        let by_scope = scopes.is_some_and(|scopes| needs.iter().any(|set| scopes.meets(set)));
        let reaches = grant.only().is_none_or(|only| only.reaches(kind, kinds));
        reaches && (by_scope || grant.matches())
    };
    let denied = case.denying().any(|grant| !grant.is_free());
    let mut tags = case
        .allowing()
        .filter(has_part)
        .map(|grant| grant.only()?.one_tag(kind));
    let first = tags.next()??;
    (!denied && tags.all(|tag| tag == Some(first))).then(|| first.to_owned())
}

/// Whether it may come to an allowance yet, by the last of these touches, the others having been judged so: else nothing more
/// needs to be looked up, and nothing more is. A refusal then costs as many look-ups, and takes as long, whether what it names is
/// hidden or not there, as both are refused at the same touch.
pub fn goes_on(grants: &Grants, asked: &Asked<'_>, touches: &[Touch], catalog: &Catalog) -> bool {
    let case = Case::new(grants, asked, catalog).touching(touches);
    let (Some(endpoint), Some(last)) = (asked.endpoint, touches.last()) else {
        return false;
    };
    let judge = TouchJudge {
        case: &case,
        endpoint,
    };
    if is_settled(last) && judge.not_struck(last).is_err() {
        return false;
    }
    let first = touches.iter().find(|touch| touch.is_first());
    match first {
        _ if last.is_first() => judge.first_covered(last).is_ok(),
        Some(first) => {
            let firsts = judge.covering_first(first);
            judge.field_scope_held(last).is_ok() && judge.second_covered(last, &firsts).is_ok()
        }
        None => true, // what covers it may be what covers the first, which comes yet
    }
}

/// Whether a rule asks for the scope of a field that no grant gives.
pub fn lacks_scope(
    grants: &Grants,
    asked: &Asked<'_>,
    rule: &TouchRule,
    catalog: &Catalog,
) -> bool {
    let case = Case::new(grants, asked, catalog);
    let Some(endpoint) = asked.endpoint else {
        return false;
    };
    let judge = TouchJudge {
        case: &case,
        endpoint,
    };
    rule.scope.is_some_and(|scope| judge.lacks_field(scope))
}

/// Whether it is told by now what a touch comes to: what is created is judged where its grant puts it, once it is told which that
/// is.
fn is_settled(touch: &Touch) -> bool {
    touch.verb != TouchVerb::Create || touch.homes.is_empty()
}

struct TouchJudge<'j> {
    case: &'j Case<'j>,
    endpoint: &'j Endpoint,
}
