//! Items of lists that a request replaces: what of one says what is done to what it names.

use crate::catalog::{Endpoint, FieldPath};
use crate::request::Json;

/// The members of an item that count: as far as these are the same, it stays.
pub(super) struct ComparedMembers {
    counted: Vec<FieldPath>,
    /// The keys that an item is known to have, whether they count or not.
    keys: Vec<String>,
}

impl ComparedMembers {
    /// Those that the body of an endpoint has in `items`, but for some that do nothing to what an item names.
    pub(super) fn of(endpoint: &Endpoint, items: &FieldPath, but_for: &[FieldPath]) -> Self {
        let below = |path: &FieldPath| path.below(items);
        let known: Vec<FieldPath> = endpoint
            .body
            .iter()
            .filter_map(|it| below(&it.path))
            .collect();
        let left = endpoint.left_out.iter().filter_map(|it| below(&it.path));
        let keys = known.iter().cloned().chain(left);
        let keys = keys.filter_map(|path| path.steps.into_iter().next());
        let keys = keys.map(|step| step.key).collect();
        let aside = |path: &FieldPath| {
            let mut aside = but_for.iter();
            aside.any(|it| path == it || path.below(it).is_some())
        };
        let counted = known.into_iter().filter(|path| !aside(path)).collect();
        Self { counted, keys }
    }

    /// Whether an item that a request gives is one that is there. A key that nobody knows may mean anything.
    pub(super) fn same(&self, given: &Json, there: &Json) -> bool {
        let unheard = |key: &str| {
            let says = given.member(key).is_some_and(|value| !says_nothing(value));
            says && !self.keys.iter().any(|known| known == key)
        };
        !given.keys().any(unheard)
            && self.counted.iter().all(|path| {
                let (new, old) = (said(given, path), said(there, path));
                new.len() == old.len() && new.iter().zip(&old).all(|(new, old)| alike(new, old))
            })
    }
}

/// What an item says at a member: what is left out is the same as what is turned off.
fn said<'j>(item: &'j Json, path: &FieldPath) -> Vec<&'j Json> {
    let mut found = item.at(path);
    found.retain(|value| !says_nothing(value));
    found
}

fn says_nothing(value: &Json) -> bool {
    value.is_nothing() || matches!(value, Json::Flag(false))
}

/// Whether two values say the same, in whatever order keys stand.
fn alike(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Map(members), Json::Map(others)) => {
            let same = |(key, value): &(String, Json)| {
                let there = other.member(key);
                there.is_some_and(|there| alike(value, there))
            };
            members.len() == others.len() && members.iter().all(same)
        }
        (Json::List(items), Json::List(others)) => {
            let mut both = items.iter().zip(others);
            items.len() == others.len() && both.all(|(one, other)| alike(one, other))
        }
        (one, other) => one == other || one.name().is_some() && one.name() == other.name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::{Catalog, Stays};

    /// An item that names `x`, and says something at one more member.
    fn item(name: &FieldPath, member: Option<&FieldPath>) -> Json {
        let mut item = Json::Map(Vec::new());
        item.put(name, Json::Text("x".to_owned())).unwrap();
        if let Some(member) = member {
            item.put(member, Json::Text("said".to_owned())).unwrap();
        }
        item
    }

    #[test]
    fn an_item_of_which_something_that_counts_differs_does_not_stay() {
        let mut counted = 0;
        for endpoint in Catalog::builtin().unwrap().endpoints() {
            let rules = endpoint.touches.rules().iter();
            for replaced in rules.filter_map(|rule| rule.replaces.as_ref()) {
                let Stays::Item {
                    items,
                    name,
                    but_for,
                } = &replaced.stays
                else {
                    continue;
                };
                let members = ComparedMembers::of(endpoint, items, but_for);
                let plain = item(name, None);
                assert!(members.same(&plain, &plain), "{endpoint}: {items}");
                for member in members.counted.iter().filter(|it| *it != name) {
                    let other = item(name, Some(member));
                    let stays = members.same(&other, &plain) || members.same(&plain, &other);
                    assert!(!stays, "{endpoint}: {member} of {items}");
                    counted += 1;
                }
                for member in but_for {
                    let known = |it: &crate::catalog::BodyMember| {
                        let below = it.path.below(items);
                        below.is_some_and(|it| it == *member || it.below(member).is_some())
                    };
                    assert!(endpoint.body.iter().any(known), "{endpoint}: {member}");
                    let other = item(name, Some(member));
                    assert!(members.same(&other, &plain), "{endpoint}: {member}");
                }
                let mut unheard = plain.clone();
                unheard.set("dbUser", Json::Text("doadmin".to_owned()));
                assert!(!members.same(&unheard, &plain), "{endpoint}: {items}");
            }
        }
        assert!(counted > 10, "{counted} members that count");
    }

    #[test]
    fn what_is_turned_off_is_the_same_as_what_is_left_out() {
        let read = |text: &str| Json::read(text.as_bytes()).unwrap();
        let members = ComparedMembers {
            counted: vec!["a".parse().unwrap(), "b".parse().unwrap()],
            keys: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
        };
        let cases = [
            (r#"{"a":"x"}"#, r#"{"a":"x","b":false}"#, true),
            (r#"{"a":"x","b":""}"#, r#"{"a":"x"}"#, true),
            (r#"{"a":"1"}"#, r#"{"a":1}"#, true), // ids come as both
            (r#"{"a":"x","c":1}"#, r#"{"a":"x"}"#, true), // which does not count
            (r#"{"a":"x","b":true}"#, r#"{"a":"x"}"#, false),
            (r#"{"a":"x"}"#, r#"{"a":"x","b":"y"}"#, false), // it would be what the API takes by itself
            (r#"{"a":{"x":1,"y":2}}"#, r#"{"a":{"y":2,"x":1}}"#, true),
            (r#"{"a":{"x":1}}"#, r#"{"a":{"x":1,"y":2}}"#, false),
            (r#"{"a":"x","d":1}"#, r#"{"a":"x","d":1}"#, false), // which nobody knows
            (r#"{"a":"x","d":null}"#, r#"{"a":"x"}"#, true),
        ];
        for (given, there, same) in cases {
            assert_eq!(
                members.same(&read(given), &read(there)),
                same,
                "{given} {there}"
            );
        }
    }
}
