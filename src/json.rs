//! JSON as it came: whole or not at all.
//!
//! What an answer shows is judged on one reading of it, and its reader may make another: the first of two members with one
//! name, or what stands behind the document's end. So a document that could be read in two ways is none here.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use crate::catalog::FieldPath;
use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

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
    pub fn root(&self) -> Option<Part<'_>> {
        Part::of(&self.0)
    }

    /// The members of an object in it, in their order: their keys, and their values as they stand there. `None` where nothing
    /// or no object stands at the path.
    pub fn members(&self, at: &[&str]) -> Option<Vec<(Cow<'_, str>, Part<'_>)>> {
        at.iter().try_fold(self.root()?.members()?, |found, key| {
            let (_, value) = found.into_iter().find(|(known, _)| known == key)?;
            value.members()
        })
    }

    /// What stands at a path; `None` where nothing does.
    pub fn at(&self, path: &FieldPath) -> Option<Part<'_>> {
        self.root()?.at(path)
    }
}

/// A value in a [`Document`], as it stands there, without the space around it.
///
/// That it is JSON was found when its document was read, so it is gone through without another look at what is passed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Part<'d>(&'d str);

impl<'d> Part<'d> {
    /// A slice of a document that is one value of it. `None` where the bytes are no text.
    pub fn of(bytes: &'d [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        Some(Self(text.trim_matches(SPACE)))
    }

    /// Its text.
    pub fn get(self) -> &'d str {
        self.0
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    /// The member of an object at a path.
    pub fn at(self, path: &FieldPath) -> Option<Self> {
        path.steps
            .iter()
            .try_fold(self, |here, step| here.member(&step.key))
    }

    fn member(self, wanted: &str) -> Option<Self> {
        let mut walk = Walk::into(self, b'{')?;
        while walk.goes_on()? {
            let (key, value) = walk.member()?;
            if key == wanted {
                return Some(value);
            }
        }
        None
    }

    /// The members of an object, in their order; `None` where it is none.
    pub fn members(self) -> Option<Vec<(Cow<'d, str>, Self)>> {
        let mut walk = Walk::into(self, b'{')?;
        let mut found = Vec::new();
        while walk.goes_on()? {
            found.push(walk.member()?);
        }
        Some(found)
    }

    /// The items of an array; `None` where it is none.
    pub fn items(self) -> Option<Vec<Self>> {
        let mut walk = Walk::into(self, b'[')?;
        let mut found = Vec::new();
        while walk.goes_on()? {
            found.push(walk.value()?);
        }
        Some(found)
    }
}

/// A walk over what stands in one object or array.
struct Walk<'d> {
    text: &'d str,
    at: usize,
    closed_by: u8,
    is_first: bool,
}

impl<'d> Walk<'d> {
    fn into(value: Part<'d>, opened_by: u8) -> Option<Self> {
        let text = value.0;
        let closed_by = if opened_by == b'{' { b'}' } else { b']' };
        (text.as_bytes().first() == Some(&opened_by)).then_some(Self {
            text,
            at: 1,
            closed_by,
            is_first: true,
        })
    }

    /// The next byte that is no space.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let space = rest
            .iter()
            .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))?;
        self.at += space;
        rest.get(space).copied()
    }

    /// Steps over what stands between two, and tells whether there is another. `None` where the text is not what was read.
    fn goes_on(&mut self) -> Option<bool> {
        let byte = self.next()?;
        if byte == self.closed_by {
            return Some(false);
        }
        if !std::mem::take(&mut self.is_first) {
            self.step(b',')?;
        }
        Some(true)
    }

    fn step(&mut self, over: u8) -> Option<()> {
        let is_there = self.next()? == over;
        self.at += 1;
        is_there.then_some(())
    }

    fn member(&mut self) -> Option<(Cow<'d, str>, Part<'d>)> {
        let quoted = self.value()?.get();
        let plain = quoted.strip_prefix('"')?.strip_suffix('"')?;
        let key = if plain.contains('\\') {
            Cow::Owned(serde_json::from_str(quoted).ok()?)
        } else {
            Cow::Borrowed(plain)
        };
        self.step(b':')?;
        Some((key, self.value()?))
    }

    fn value(&mut self) -> Option<Part<'d>> {
        let first = self.next()?;
        let from = self.at;
        let rest = self.text.as_bytes().get(from..)?;
        let length = match first {
            b'"' => text_length(rest)?,
            b'{' | b'[' => nested_length(rest)?,
            _ => rest
                .iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r'))
                .unwrap_or(rest.len()),
        };
        self.at = from + length;
        self.text.get(from..self.at).map(Part)
    }
}

/// How long the text is with which these bytes begin, with its quotes.
fn text_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// How long the object or array is with which these bytes begin.
fn nested_length(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut open) = (0, 0_usize);
    loop {
        let rest = bytes.get(at..)?;
        at += rest
            .iter()
            .position(|byte| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']'))?;
        match bytes.get(at)? {
            b'"' => {
                at += text_length(bytes.get(at..)?)?;
                continue;
            }
            b'{' | b'[' => open += 1,
            _ => open = open.checked_sub(1)?,
        }
        at += 1;
        if open == 0 {
            return Some(at);
        }
    }
}

/// What may stand between the parts of a document.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

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
    use proptest::prelude::*;

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
            Some(
                members
                    .into_iter()
                    .map(|(key, _)| key.into_owned())
                    .collect(),
            )
        };
        assert_eq!(keys(&[]).unwrap(), ["a", "n"]);
        assert_eq!(keys(&["a"]).unwrap(), ["b"]);
        assert_eq!(keys(&["n"]), None);
    }

    /// The same parts by a common reader.
    fn commonly_read(text: &str) -> Vec<(String, &serde_json::value::RawValue)> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Vec<(String, &'de serde_json::value::RawValue)>;

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

        let mut from = serde_json::Deserializer::from_str(text);
        from.deserialize_map(InOrder).unwrap()
    }

    fn drawn() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just(" true ".to_owned()),
            Just("-1.50e3".to_owned()),
            Just("\"\"".to_owned()),
            Just("\n\"a\\\\\"\t".to_owned()),
            Just("\"\\\"]}{[,:\\u00e9\u{20ac}\"".to_owned()),
        ];
        let key = prop::sample::select(vec!["a", "b", "\\u0061", "c\\\"}", "\u{20ac}", ""]);
        leaf.prop_recursive(4, 48, 6, move |inner| {
            let list = prop::collection::vec(inner.clone(), 0..4);
            let map = prop::collection::vec((key.clone(), inner), 0..6);
            prop_oneof![
                list.prop_map(|items| format!("[ {} ]", items.join(" , "))),
                map.prop_map(|members| {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(key, value)| format!(" \"{key}\" : {value}"))
                        .collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn parts_are_those_of_a_common_reader(inner in drawn(), other in drawn()) {
            let text = format!(" {{ \"x\" : {inner}, \"y\\n\":[{other},{inner}] }} ");
            let part = Part::of(text.as_bytes()).unwrap();
            let common = commonly_read(&text);
            let members = part.members().unwrap();
            let read: Vec<_> = members.iter().map(|(key, value)| (key.as_ref(), value.get())).collect();
            let common: Vec<_> = common.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
            prop_assert_eq!(read, common);
            let (_, list) = members[1];
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(list.get()).unwrap();
            let read: Vec<_> = list.items().unwrap().iter().map(|item| item.get()).collect();
            prop_assert_eq!(read, items.iter().map(|item| item.get()).collect::<Vec<_>>());
            prop_assert_eq!(part.at(&"x".parse().unwrap()), Some(members[0].1));
        }

        #[test]
        fn no_bytes_panic(text in "[\\[\\]{}\",:0-9tfn\\\\u a-f-]{0,24}|\\PC{0,24}") {
            let part = Part::of(text.as_bytes()).unwrap();
            let _ = (part.members(), part.items(), part.at(&"a.b".parse().unwrap()));
        }
    }
}
