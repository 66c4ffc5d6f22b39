//! Of a resource's JSON, only what its kind has attributes in: the rest of a list of thousands is passed over.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::catalog::{Kind, Source, Step};
use crate::request::Json;

/// The members of a kind's JSON that hold its attributes.
pub struct Members<'k>(Vec<&'k [Step]>);

impl<'k> Members<'k> {
    /// Of a kind.
    pub fn of(kind: &'k Kind) -> Self {
        let sources = kind.attributes.iter().flat_map(|it| &it.from);
        let steps = sources.filter_map(|from| match from {
            Source::Member(path) => Some(path.steps.as_slice()),
            Source::Path(_) | Source::Urn => None,
        });
        let of_children = kind.children_have.iter();
        let of_children = of_children.map(|(_, path)| path.steps.as_slice());
        Self(steps.chain(of_children).collect())
    }

    /// Reads them and passes over the rest. `None` where the bytes are no JSON, or say one of them twice, with two values.
    pub fn read(&self, raw: &RawValue) -> Option<Json> {
        let mut from = serde_json::Deserializer::from_str(raw.get());
        Wanted(&self.0).deserialize(&mut from).ok()
    }
}

/// The ways on from here that lead to something.
#[derive(Clone, Copy)]
struct Wanted<'w, 'k>(&'w [&'k [Step]]);

impl<'de> DeserializeSeed<'de> for Wanted<'_, '_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Json, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Wanted<'_, '_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resource")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some(key) = map.next_key_seed(Key(self))? {
            let Some(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = self.below(&key, &mut map)?;
            match members.iter().find(|(known, _)| *known == key) {
                None => members.push((key, value)),
                Some((_, known)) if *known == value => {}
                Some(_) => return Err(A::Error::custom("a member stands there twice")),
            }
        }
        Ok(Json::Map(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Json::List(items))
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    // Nothing is wanted below what is neither an object nor a list; that it is not null matters.

    fn visit_bool<E: Error>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Flag(true))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Json, E> {
        Ok(Json::Flag(true))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Json, E> {
        Ok(Json::Flag(true))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Flag(true))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Json, E> {
        Ok(Json::Flag(true))
    }
}

impl Wanted<'_, '_> {
    /// What stands under a key: read whole where an attribute is there, and gone into where one is below.
    fn below<'de, A: MapAccess<'de>>(self, key: &str, map: &mut A) -> Result<Json, A::Error> {
        let mut ways = Vec::new();
        for steps in self.0 {
            if let Some((first, rest)) = steps.split_first()
                && first.key == key
            {
                if rest.is_empty() {
                    let raw: &RawValue = map.next_value()?;
                    return Json::read(raw.get().as_bytes()).map_err(A::Error::custom);
                }
                ways.push(rest);
            }
        }
        map.next_value_seed(Wanted(&ways))
    }
}

/// A key, where something is wanted under it.
struct Key<'w, 'k>(Wanted<'w, 'k>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let Wanted(ways) = self.0;
        let mut firsts = ways.iter().filter_map(|steps| steps.first());
        Ok(firsts.any(|step| step.key == key).then(|| key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use proptest::prelude::*;

    use super::*;
    use crate::catalog::Catalog;
    use crate::resource::attributes_of;

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
            let raw: &RawValue = serde_json::from_str(&document).unwrap();
            let Ok(whole) = Json::read(document.as_bytes()) else {
                return Ok(()); // a key twice: what nothing asks about may be
            };
            for kind in catalog.kinds().iter() {
                let pruned = Members::of(kind).read(raw).unwrap();
                prop_assert_eq!(
                    attributes_of(kind, &pruned, None),
                    attributes_of(kind, &whole, None),
                    "{} of {}", kind.name, document
                );
            }
        }
    }

    #[test]
    fn what_is_asked_about_is_not_said_twice() {
        let droplet = catalog().kinds().find("droplet").unwrap();
        let cases = [
            (r#"{"id":1,"name":"a","name":"a"}"#, true), // the same
            (r#"{"id":1,"name":"a","name":"b"}"#, false),
            (r#"{"id":1,"name":"a","n\u0061me":"b"}"#, false), // however it is written
            (r#"{"id":1,"region":{"slug":"a","slug":"b"}}"#, false), // deeper down
            (r#"{"id":1,"memory":1,"memory":2}"#, true),       // nothing asks about it
        ];
        for (document, read) in cases {
            let raw: &RawValue = serde_json::from_str(document).unwrap();
            assert_eq!(Members::of(droplet).read(raw).is_some(), read, "{document}");
        }
    }
}
