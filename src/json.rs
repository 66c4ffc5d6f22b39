//! JSON as it came: whole or not at all.
//!
//! What an answer shows is judged on one reading of it, and its reader may make another: the first of two members with one
//! name, or what stands behind the document's end. So a document that could be read in two ways is none here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::catalog::FieldPath;

/// One JSON object to its end: UTF-8 without a byte order mark, nothing around it, and no key twice in any object of it.
#[derive(Clone, Debug)]
pub struct Document(Bytes);

/// Why bytes are no [`Document`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoDocument;

impl fmt::Display for NoDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is not one JSON object to its end with each key once")
    }
}

impl Document {
    /// Reads an answer.
    ///
    /// # Errors
    /// `NoDocument`.
    pub fn read(bytes: &Bytes) -> Result<Self, NoDocument> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoDocument)?;
        let mut from = serde_json::Deserializer::from_str(text);
        let is_object = Once { root: true }.deserialize(&mut from);
        is_object.map_err(|_| NoDocument)?;
        from.end().map_err(|_| NoDocument)?;
        Ok(Self(bytes.clone()))
    }

    /// Its bytes, as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The whole, as a value.
    pub fn root(&self) -> Option<&RawValue> {
        serde_json::from_slice(&self.0).ok()
    }

    /// The members of an object in it, in their order: their keys, and their values as they stand there. `None` where nothing
    /// or no object stands at the path.
    pub fn members(&self, at: &[&str]) -> Option<Vec<(String, &RawValue)>> {
        at.iter().try_fold(members(self.root()?)?, |found, key| {
            let (_, value) = found.into_iter().find(|(known, _)| known == key)?;
            members(value)
        })
    }

    /// What stands at a path; `None` where nothing does.
    pub fn at(&self, path: &FieldPath) -> Option<&RawValue> {
        member(self.root()?, path)
    }
}

/// The member of an object at a path, as it stands there.
pub fn member<'r>(value: &'r RawValue, path: &FieldPath) -> Option<&'r RawValue> {
    path.steps.iter().try_fold(value, |value, step| {
        let found = members(value)?;
        let found = found.into_iter().find(|(key, _)| *key == step.key);
        found.map(|(_, value)| value)
    })
}

/// The members of an object, in their order; `None` where it is none.
pub fn members(value: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    struct InOrder;

    impl<'de> Visitor<'de> for InOrder {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = Vec::new();
            while let Some(entry) = map.next_entry()? {
                found.push(entry);
            }
            Ok(found)
        }
    }

    let mut from = serde_json::Deserializer::from_str(value.get());
    from.deserialize_map(InOrder).ok()
}

/// The items of an array, as they stand there; `None` where it is none.
pub fn items(list: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(list.get()).ok()
}

/// Whether a value is an object.
pub fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// Goes through a value and fails at a key that stands in one object twice.
#[derive(Clone, Copy)]
struct Once {
    /// Whether nothing but an object will do.
    root: bool,
}

impl<'de> DeserializeSeed<'de> for Once {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        if self.root {
            from.deserialize_map(self)
        } else {
            from.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut keys = Keys::default();
        while let Some(key) = map.next_key_seed(Key)? {
            if !keys.insert(key) {
                return Err(A::Error::custom("a key stands there twice"));
            }
            map.next_value_seed(Self { root: false })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Self { root: false })?.is_some() {}
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

/// The keys of one object so far. Most have few, and a list of these is faster than a table.
#[derive(Default)]
struct Keys<'k> {
    few: Vec<Cow<'k, str>>,
    many: HashSet<Cow<'k, str>>,
}

const FEW: usize = 24;

impl<'k> Keys<'k> {
    fn insert(&mut self, key: Cow<'k, str>) -> bool {
        if self.few.len() < FEW {
            let is_new = !self.few.contains(&key);
            self.few.push(key);
            return is_new;
        }
        if self.many.is_empty() {
            self.many.extend(self.few.iter().cloned());
        }
        self.many.insert(key)
    }
}

/// A key, in the document's own bytes where nothing in it is escaped.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_one_object_to_its_end_with_each_key_once() {
        let many: Vec<String> = (0..100).map(|n| format!("\"k{n}\":{n}")).collect();
        let once = format!("{{{}}}", many.join(","));
        let twice = format!("{{{},\"k3\":0}}", many.join(","));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        let cases: [(&[u8], bool); 20] = [
            (b"{}", true),
            (
                b" {\"a\":[1,{\"a\":1},{\"a\":2}],\"b\":{\"a\":null}} \n",
                true,
            ),
            (b"{\"a\":1,\"a\":2}", false),
            (b"{\"a\":1,\"a\":1}", false), // no server writes that
            (b"{\"a\":1,\"\\u0061\":2}", false), // however it is spelled
            (b"{\"a\":[{\"b\":{\"c\":1,\"c\":2}}]}", false), // however deep
            (once.as_bytes(), true),
            (twice.as_bytes(), false),
            (b"[]", false),
            (b"[{\"id\":1}]", false), // a bare list
            (b"null", false),
            (b"\"x\"", false),
            (b"", false),
            (b"\xef\xbb\xbf{}", false), // a byte order mark
            (b"{\"a\":NaN}", false),
            (b"{\"a\":1}{\"a\":2}", false),
            (b"{\"a\":1} x", false),
            (b"{\"a\":\"\xff\"}", false), // no UTF-8
            (b"a: 1\n", false),           // YAML
            (deep.as_bytes(), false),     // deeper than anything of the API
        ];
        for (bytes, is_one) in cases {
            let read = Document::read(&Bytes::copy_from_slice(bytes));
            let text = String::from_utf8_lossy(bytes);
            assert_eq!(read.is_ok(), is_one, "{text:?}");
        }
    }

    #[test]
    fn members_are_found_as_they_stand_there() {
        let came = Bytes::from_static(br#"{"a":{"b" : [1.50, {"x":"\u00e9"}]},"n":null}"#);
        let document = Document::read(&came).unwrap();
        let at = |path: &str| Some(document.at(&path.parse().unwrap())?.get().to_owned());
        assert_eq!(at("a.b").as_deref(), Some(r#"[1.50, {"x":"\u00e9"}]"#));
        assert_eq!(at("n").as_deref(), Some("null"));
        assert_eq!(at("a.c"), None);
        assert_eq!(at("n.b"), None);
        let keys = |at: &[&str]| -> Option<Vec<String>> {
            let members = document.members(at)?;
            Some(members.into_iter().map(|(key, _)| key).collect())
        };
        assert_eq!(keys(&[]).unwrap(), ["a", "n"]);
        assert_eq!(keys(&["a"]).unwrap(), ["b"]);
        assert_eq!(keys(&["n"]), None);
    }
}
