//! What of an answer a sub-token sees, member by member. What stays is byte for byte what the API sent.

mod every;
mod judged;
mod passing;

use serde_json::{Map, Value, json};

/// Puts a value at a dotted path, through lists of one; what stands there already stays.
fn put(answer: &mut Value, path: &str, leaf: Value) {
    let (key, rest) = path
        .split_once('.')
        .map_or((path, None), |(key, rest)| (key, Some(rest)));
    let (key, is_list) = key
        .strip_suffix("[]")
        .map_or((key, false), |key| (key, true));
    if !answer.is_object() {
        *answer = Value::Object(Map::new());
    }
    let member = &mut answer[key];
    if is_list && !member.is_array() {
        *member = json!([null]);
    }
    let inner = if is_list { &mut member[0] } else { member };
    match rest {
        Some(rest) => put(inner, rest, leaf),
        None if inner.is_null() => *inner = leaf,
        None => {}
    }
}

/// Takes away what stands at a dotted path; true if something did.
fn take(answer: &mut Value, path: &str) -> bool {
    let (key, rest) = path
        .split_once('.')
        .map_or((path, None), |(key, rest)| (key, Some(rest)));
    let key = key.trim_end_matches("[]");
    let Some(rest) = rest else {
        let members = answer.as_object_mut();
        return members.is_some_and(|members| members.shift_remove(key).is_some());
    };
    match answer.get_mut(key) {
        Some(Value::Array(items)) => items.iter_mut().any(|item| take(item, rest)),
        Some(inner) => take(inner, rest),
        None => false,
    }
}

/// Adds to every object a member that nothing is said of.
fn with_others(answer: &mut Value) {
    match answer {
        Value::Array(items) => items.iter_mut().for_each(with_others),
        Value::Object(members) => {
            members.values_mut().for_each(with_others);
            members.insert("stays".to_owned(), json!(18_446_744_073_709_551_615_u64));
        }
        _ => {}
    }
}
