//! What a token may that another made: what its maker's grants allow, and what each set of grants that it says of itself allows as
//! well. Each question is put to every set, whole, and the strictest answer holds; of a token that says nothing of itself there is
//! one set, and its answer is the answer.

use super::additions::Added;
use super::bind::Grants;
use super::decide::{self, Allowed, Decision, Shown};
use super::members::Sent;
use super::touched;
use crate::catalog::{Catalog, TouchRule};
use crate::refusal::Refusal;
use crate::request::Asked;
use crate::resource::{State, Touch};

/// Refuses what the head of a request alone refuses, whatever its body says and whatever it touches.
///
/// # Errors
/// The refusal that [`decide`] would come to.
pub fn precheck(grants: &Grants, asked: &Asked<'_>, catalog: &Catalog) -> Result<(), Refusal> {
    let mut sets = grants.sets();
    sets.try_for_each(|set| decide::precheck(set, asked, catalog))
}

/// Whether [`by_touches`](super::by_touches) needs to know what the request touches.
pub fn wants_touches(grants: &Grants, asked: &Asked<'_>) -> bool {
    grants.sets().any(|set| decide::wants_touches(set, asked))
}

/// Decides one request: allowed where every set of grants allows it. What the maker's grants add to what is created is added
/// before the others are asked.
pub fn decide(
    grants: &Grants,
    asked: &Asked<'_>,
    touches: &[Touch],
    catalog: &Catalog,
) -> Decision {
    let mut decision = decide::decide(grants, asked, touches, catalog);
    for set in &grants.within {
        let Decision::Allow(allowed) = decision else {
            return decision;
        };
        let touches = as_made(touches, &allowed);
        decision = match decide::decide(set, asked, &touches, catalog) {
            Decision::Allow(own) => Decision::Allow(both(allowed, &own)),
            refused @ Decision::Deny(_) => refused,
        };
    }
    decision
}

/// What is touched, with what is added to what is created.
fn as_made(touches: &[Touch], allowed: &Allowed) -> Vec<Touch> {
    let mut touches = touches.to_vec();
    let made = touches.iter_mut().filter(|touch| Added::is_for(touch));
    for touch in made {
        if let (Some(after), Some(added)) = (&touch.after, allowed.additions()) {
            touch.after = Some(touched::with_additions(after, added, &touch.homes));
        }
    }
    touches
}

fn both(allowed: Allowed, own: &Allowed) -> Allowed {
    let sent = match (allowed.sent(), own.sent()) {
        (Sent::Whole, Sent::Whole) => Sent::Whole,
        (Sent::Known, _) | (_, Sent::Known) => Sent::Known,
    };
    Allowed {
        narrows: allowed.narrows || own.narrows,
        sent,
        ..allowed
    }
}

/// What a token that was let through may see of a resource in the answer.
pub fn shows(
    grants: &Grants,
    asked: &Asked<'_>,
    touch: &Touch,
    state: &State,
    catalog: &Catalog,
) -> Shown {
    let by_set = grants
        .sets()
        .map(|set| decide::shows(set, asked, touch, state, catalog));
    by_set.fold(Shown::Whole, |all, one| match (all, one) {
        (Shown::Hidden, _) | (_, Shown::Hidden) => Shown::Hidden,
        (Shown::WithoutChildren, _) | (_, Shown::WithoutChildren) => Shown::WithoutChildren,
        (Shown::Whole, Shown::Whole) => Shown::Whole,
    })
}

/// Whether it may come to an allowance yet, by the last of these touches, the others having been judged so.
///
/// INVARIANT: whoever says no here refuses the request when it is decided, by these touches alone: nothing more is looked up, so that
/// no other set is shown the rest of them. A set that scopes alone decide, or that is yet to learn what is added to what is created,
/// has no say.
pub fn goes_on(grants: &Grants, asked: &Asked<'_>, touches: &[Touch], catalog: &Catalog) -> bool {
    if grants.within.is_empty() {
        return touched::goes_on(grants, asked, touches, catalog);
    }
    let says_no = |set: &Grants| {
        decide::wants_touches(set, asked) && !touched::goes_on(set, asked, touches, catalog)
    };
    let makes = touches.iter().any(Added::is_for);
    let own_says_no = || grants.within.iter().any(|set| says_no(set));
    !says_no(grants) && (makes || !own_says_no())
}

/// Whether a rule asks for the scope of a field that some set does not give.
pub fn lacks_scope(
    grants: &Grants,
    asked: &Asked<'_>,
    rule: &TouchRule,
    catalog: &Catalog,
) -> bool {
    let mut sets = grants.sets();
    sets.any(|set| touched::lacks_scope(set, asked, rule, catalog))
}
