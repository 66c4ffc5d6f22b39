//! Of a resource's JSON, only what its kind has attributes in: the rest of a list of thousands is passed over.

use crate::catalog::{AttributeSource, Kind, Step};
use crate::json::Part;
use crate::request::{Json, NotJson};

/// The members of a kind's JSON that hold its attributes, or name the resource.
pub struct Members<'k>(Vec<&'k [Step]>);

impl<'k> Members<'k> {
    /// Of a kind.
    pub fn of(kind: &'k Kind) -> Self {
        let sources = kind.attributes.iter().flat_map(|it| &it.from);
        let members = sources.filter_map(|from| match from {
            AttributeSource::Member(path) => Some(path),
            AttributeSource::Path(_) | AttributeSource::Urn => None,
        });
        let of_children = kind.children_have.iter().map(|(_, path)| path);
        let all = members.chain(of_children).chain(&kind.identified_by);
        Self(all.map(|path| path.steps.as_slice()).collect())
    }

    /// Reads them and passes over the rest. `None` where one of them is nested deeper, or has more in it, than
    /// is read of anything.
    pub fn read(&self, part: Part<'_>) -> Option<Json> {
        below(part, &self.0).ok()
    }
}

/// What of a value is on the ways on from here.
fn below(part: Part<'_>, ways: &[&[Step]]) -> Result<Json, NotJson> {
    if let Some(members) = part.members() {
        let mut wanted = Vec::new();
        for (key, value) in members {
            if let Some(value) = member(&key, value, ways)? {
                wanted.push((key.into_owned(), value));
            }
        }
        return Ok(Json::Map(wanted));
    }
    if let Some(items) = part.items() {
        let items = items.map(|item| below(item, ways));
        return items.collect::<Result<_, _>>().map(Json::List);
    }
    // Nothing is wanted below what is neither an object nor a list; that it is not null matters.
    Ok(if part.is_null() {
        Json::Null
    } else {
        Json::Flag(true)
    })
}

/// What stands under a key: read whole where an attribute is there, gone into where one is below, and else none.
fn member(key: &str, value: Part<'_>, ways: &[&[Step]]) -> Result<Option<Json>, NotJson> {
    let mut on = Vec::new();
    for (first, rest) in ways.iter().filter_map(|steps| steps.split_first()) {
        if first.key == key {
            if rest.is_empty() {
                return Json::read(value.get().as_bytes()).map(Some);
            }
            on.push(rest);
        }
    }
    if on.is_empty() {
        return Ok(None);
    }
    below(value, &on).map(Some)
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::catalog::{Catalog, KindId};
    use crate::json::Document;
    use crate::resource::{attributes_of, is_called};

    /// Documents made of the very keys that the kinds have attributes in, some of them escaped, and of others.
    fn documents() -> impl Strategy<Value = String> {
        let keys = [
            "id",
            "name",
            "tags",
            "region",
            "slug",
            "spec",
            "size_slug",
            "image",
            "vpc_uuid",
            "type",
            "x",
            "i\\u0064",
            "n\\u0061me",
            "droplet_template",
            "project_id",
            "origin",
            "",
        ];
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("12345678901234567890123".to_owned()),
            Just("-1.50e3".to_owned()),
            Just("\"a\\u0041\\n\"".to_owned()),
            Just("\"web\"".to_owned()),
        ];
        leaf.prop_recursive(4, 48, 6, move |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4);
            let map = prop::collection::vec((prop::sample::select(keys.to_vec()), inner), 0..6);
            prop_oneof![
                list.prop_map(|items| format!("[ {} ]", items.join(" , "))),
                map.prop_map(|members| {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(key, value)| format!("\"{key}\" : {value}"))
                        .collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    fn catalog() -> &'static Catalog {
        static CATALOG: OnceLock<Catalog> = OnceLock::new();
        CATALOG.get_or_init(|| Catalog::builtin().unwrap())
    }

    proptest! {
        #[test]
        fn it_tells_what_the_whole_document_does(document in documents()) {
            let catalog = catalog();
            let bytes = Bytes::from(document.clone());
            let Ok(read) = Document::of_value(&bytes) else {
                return Ok(()); // a key twice
            };
            let whole = Json::read(&bytes).unwrap();
            for kind in catalog.kinds().iter() {
                let pruned = Members::of(kind).read(read.root()).unwrap();
                prop_assert_eq!(
                    attributes_of(kind, &pruned, None),
                    attributes_of(kind, &whole, None),
                    "{} of {}", kind.id, document
                );
                for name in ["web", "aA\n", "12345678901234567890123"] {
                    let called = [&pruned, &whole].map(|json| is_called(kind, json, name));
                    prop_assert_eq!(called[0], called[1], "{} of {}", kind.id, document);
                }
            }
        }
    }

    #[test]
    fn what_is_asked_about_is_not_said_twice() {
        let droplet = catalog().kinds().of(KindId::Droplet);
        let cases = [
            (r#"{"id":1,"name":"a"}"#, true),
            (r#"{"id":1,"name":"a","name":"a"}"#, false), // be it the same
            (r#"{"id":1,"name":"a","name":"b"}"#, false),
            (r#"{"id":1,"name":"a","n\u0061me":"b"}"#, false), // however it is written
            (r#"{"id":1,"region":{"slug":"a","slug":"b"}}"#, false), // deeper down
            (r#"{"id":1,"memory":1,"memory":2}"#, false),      // nor is anything else
        ];
        for (text, read) in cases {
            let document = Document::of_value(&Bytes::from(text));
            let told = document.ok();
            let told = told.and_then(|told| Members::of(droplet).read(told.root()));
            assert_eq!(told.is_some(), read, "{text}");
        }
    }
}
