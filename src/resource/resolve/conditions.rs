//! Which rules of the table apply hangs on what the request says at some places: an action, a type. What is said there is
//! read by everyone alike, or the request is refused: no rule would apply, and what it touches would be passed over.
//! Whether an action is one that the reference has, the policy judges.

use crate::catalog::{Condition, Place, Touches};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, Json};

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

fn is_odd(value: &Json) -> bool {
    match value {
        Json::List(_) | Json::Map(_) => !value.is_nothing(),
        Json::Number(number) => !number.bytes().all(|byte| byte.is_ascii_digit()),
        Json::Null | Json::Flag(_) | Json::Text(_) => false,
    }
}
