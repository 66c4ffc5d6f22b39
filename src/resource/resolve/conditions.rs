//! What is told of a request before anything is looked up, so that it is refused alike whatever there is.
//!
//! Which rules of the table apply hangs on what the request says at some places: an action, a type. What is said there is
//! read by everyone alike, or the request is refused: no rule would apply, and what it touches would be passed over.
//! Whether an action is one that the reference has, the policy judges.

use crate::catalog::{Catalog, Condition, Place, TouchRule, Touches};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, Json};
use crate::resource::record_name;

/// Checks what rules go by: no value hides in a list, in an object or behind another way to write a number.
///
/// # Errors
/// `ambiguous_request`.
pub(super) fn are_plain(asked: &Asked<'_>) -> Result<(), Refusal> {
    let Some(endpoint) = asked.endpoint else {
        return Ok(());
    };
    let Touches::These(rules) = &endpoint.touches else {
        return Ok(());
    };
    let conditions = rules.iter().flat_map(|rule| &rule.when);
    for (place, condition) in conditions {
        let (Condition::OneOf(_), Place::Body(path), Some(body)) = (condition, place, &asked.body)
        else {
            continue;
        };
        if body.at(path).into_iter().any(is_odd) {
            return Err(Refusal::new(
                Code::AmbiguousRequest,
                format!(
                    "`{place}` holds something else than a name or a value; write it as the reference does"
                ),
            ));
        }
    }
    Ok(())
}

/// Checks that a name in a zone, as a record's, is one in that zone or one below it, and not both.
///
/// # Errors
/// `ambiguous_request`.
pub(super) fn names_stand_in_one_zone(
    asked: &Asked<'_>,
    rules: &[TouchRule],
    catalog: &Catalog,
) -> Result<(), Refusal> {
    for rule in rules {
        let kind = rule.kind.one().map(|kind| catalog.kinds().of(kind));
        let zone = rule.of.last().map(|(_, place)| asked.names(place));
        let (Some(kind), Some([zone])) = (kind, zone.as_deref()) else {
            continue;
        };
        let given = [&rule.after, &rule.adds, &rule.removes, &rule.swaps];
        let given = given.into_iter().flatten();
        let in_zone = given.filter(|(attribute, _)| kind.names_in_zone.contains(attribute));
        let names = in_zone.flat_map(|(_, places)| places);
        let names = names.flat_map(|place| asked.names(place));
        if let Some(twofold) = names
            .into_iter()
            .find(|name| record_name(name, zone).is_none())
        {
            return Err(Refusal::new(
                Code::AmbiguousRequest,
                format!(
                    "the record's name `{twofold}` could be read as one in the zone and as one below it; write it relative to `{zone}`, or absolute with a dot at its end"
                ),
            ));
        }
    }
    Ok(())
}

fn is_odd(value: &Json) -> bool {
    match value {
        Json::List(_) | Json::Map(_) => !value.is_nothing(),
        Json::Number(number) => !number.bytes().all(|byte| byte.is_ascii_digit()),
        Json::Null | Json::Flag(_) | Json::Text(_) => false,
    }
}
