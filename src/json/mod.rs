//! JSON as it came: whole or not at all.
//!
//! What an answer shows is judged on one reading of it, and its reader may make another: the first of two members with one
//! name, or what stands behind the document's end. So a document that could be read in two ways is none here.
//!
//! It is gone over once (`reading`). What asks for something in it afterwards steps from value to value, by where each
//! stands, and looks at none of the bytes in between.

mod reading;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::catalog::FieldPath;
pub use text::text_end;

/// JSON to its end: UTF-8 without a byte order mark, nothing around it, and no key twice in any object of it.
#[derive(Debug)]
pub struct Document {
    bytes: Bytes,
    extents: Vec<Extent>,
}

/// Where a value, or the key of a member, stands in its document, with quotes and brackets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Extent {
    from: u32,
    to: u32,
    /// How many there are in it, and it: of a key [`ESCAPED`] beside that.
    count: u32,
}

/// Marks a key in which something is escaped.
const ESCAPED: u32 = 1 << 31;

/// Why bytes are no [`Document`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoDocument;

impl fmt::Display for NoDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer is not one JSON object to its end with each key once")
    }
}

impl Extent {
    /// Of a document that has less than two gigabytes, and so fewer values than that.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a longer document is none, which is found before any value is"
    )]
    fn holding(at: Range<usize>, count: usize) -> Self {
        Self {
            from: at.start as u32,
            to: at.end as u32,
            count: count as u32,
        }
    }

    fn key(at: Range<usize>, is_escaped: bool) -> Self {
        let mut key = Self::holding(at, 1);
        if is_escaped {
            key.count |= ESCAPED;
        }
        key
    }

    fn place(self) -> Range<usize> {
        self.from as usize..self.to as usize
    }

    fn count(self) -> usize {
        (self.count & !ESCAPED) as usize
    }

    /// What a key says: in the document's own text where nothing in it is escaped.
    fn says(self, text: &str) -> Result<Cow<'_, str>, NoDocument> {
        let quoted = text.get(self.place()).ok_or(NoDocument)?;
        if self.count & ESCAPED == 0 {
            let plain = quoted.get(1..quoted.len() - 1);
            return plain.map(Cow::Borrowed).ok_or(NoDocument);
        }
        let read = serde_json::from_str(quoted).map_err(|_| NoDocument)?;
        Ok(Cow::Owned(read))
    }
}

impl Document {
    /// Reads an answer: one object.
    ///
    /// # Errors
    /// `NoDocument`.
    pub fn read(bytes: &Bytes) -> Result<Self, NoDocument> {
        let read = Self::of_value(bytes)?;
        if read.root().is_object() {
            Ok(read)
        } else {
            Err(NoDocument)
        }
    }

    /// Reads a value of any kind, as one that stood in another document.
    ///
    /// # Errors
    /// `NoDocument`.
    pub fn of_value(bytes: &Bytes) -> Result<Self, NoDocument> {
        let text = std::str::from_utf8(bytes).map_err(|_| NoDocument)?;
        Ok(Self {
            extents: reading::extents(text)?,
            bytes: bytes.clone(),
        })
    }

    /// Its bytes, as they came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole, as a value.
    pub fn root(&self) -> Part<'_> {
        Part {
            text: std::str::from_utf8(&self.bytes).unwrap_or_default(),
            extents: &self.extents,
        }
    }

    /// What stands at a path; `None` where nothing does.
    pub fn at(&self, path: &FieldPath) -> Option<Part<'_>> {
        self.root().at(path)
    }

    /// The bytes of a part of it, as they stand there.
    pub fn slice(&self, part: Part<'_>) -> Bytes {
        self.bytes.slice(part.place())
    }
}

/// A value in a [`Document`], as it stands there, without the space around it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'d> {
    /// That of the document.
    text: &'d str,
    /// Those of the document from this one on.
    extents: &'d [Extent],
}

impl<'d> Part<'d> {
    fn extent(self) -> Extent {
        self.extents.first().copied().unwrap_or_default()
    }

    /// Where it stands in its document.
    pub fn place(self) -> Range<usize> {
        self.extent().place()
    }

    /// Its text.
    pub fn get(self) -> &'d str {
        self.text.get(self.place()).unwrap_or_default()
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.begins_with(b'{')
    }

    /// Whether it is `null`.
    pub fn is_null(self) -> bool {
        self.begins_with(b'n')
    }

    fn begins_with(self, byte: u8) -> bool {
        let first = self.text.as_bytes().get(self.place().start);
        first == Some(&byte)
    }

    /// The member of an object at a path.
    pub fn at(self, path: &FieldPath) -> Option<Self> {
        path.steps
            .iter()
            .try_fold(self, |here, step| here.member(&step.key))
    }

    fn member(self, wanted: &str) -> Option<Self> {
        let mut members = self.members()?;
        members.find_map(|(key, value)| (key == wanted).then_some(value))
    }

    /// The members of an object, in their order; `None` where it is none.
    pub fn members(self) -> Option<impl Iterator<Item = (Cow<'d, str>, Self)>> {
        let mut inside = self.is_object().then(|| self.inside())?;
        Some(std::iter::from_fn(move || {
            let key = inside.next()?;
            let key = key.extent().says(self.text).ok()?; // it could be, when the document was read
            Some((key, inside.next()?))
        }))
    }

    /// The items of an array, in their order; `None` where it is none.
    pub fn items(self) -> Option<impl Iterator<Item = Self>> {
        self.begins_with(b'[').then(|| self.inside())
    }

    /// What stands in it at once: of an object its keys and values in turns.
    fn inside(self) -> impl Iterator<Item = Self> {
        let Self { text, extents } = self;
        let mut rest = extents.get(1..self.extent().count()).unwrap_or_default();
        std::iter::from_fn(move || {
            let extents = rest;
            let first = extents.first()?;
            rest = extents.get(first.count()..).unwrap_or_default();
            Some(Self { text, extents })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;
    use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

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
        let keys = |part: Part<'_>| -> Option<Vec<String>> {
            let members = part.members()?;
            Some(members.map(|(key, _)| key.into_owned()).collect())
        };
        assert_eq!(keys(document.root()).unwrap(), ["a", "n"]);
        let below = |key: &str| document.at(&key.parse().unwrap()).unwrap();
        assert_eq!(keys(below("a")).unwrap(), ["b"]);
        assert_eq!(keys(below("n")), None);
        assert!(below("n").is_null() && below("a.b").items().is_some());
        assert_eq!(document.slice(below("n")), "null");
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

    /// Goes through a value by a common reader, and fails at a key that stands in one object twice.
    #[derive(Clone, Copy)]
    struct Once;

    impl<'de> DeserializeSeed<'de> for Once {
        type Value = ();

        fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
            from.deserialize_any(self)
        }
    }

    impl<'de> Visitor<'de> for Once {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut keys = HashSet::new();
            while let Some(key) = map.next_key::<String>()? {
                if !keys.insert(key) {
                    return Err(A::Error::custom("a key stands there twice"));
                }
                map.next_value_seed(self)?;
            }
            Ok(())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
            while list.next_element_seed(self)?.is_some() {}
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

    /// Whether a common reader takes it, and finds no key twice.
    fn is_commonly_one(text: &str) -> bool {
        let mut from = serde_json::Deserializer::from_str(text);
        Once.deserialize(&mut from).is_ok() && from.end().is_ok()
    }

    fn read(text: &str) -> Result<Document, NoDocument> {
        Document::of_value(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn each_spelling_is_taken_where_a_common_reader_takes_it() {
        let numbers = "0|-0|00|01|-|+1|1.|.5|1.5|-1.50e3|1e|1e+|1E+5|1e-5|1e308|1e309|-1e400|1e-400|0x1|1_0|Infinity|NaN|12345678901234567890123";
        let long = ["9".repeat(308), "9".repeat(309), "1".repeat(400)];
        let small = ["0.".to_owned() + &"0".repeat(400) + "1"];
        let texts = r#""|"a|a"|"\"|"\\"|"\x"|"\/\b\f\n\r\t\""|"\u00e9"|"\u00E9"|"\u00g9"|"\u+0e9"|"\u12"|"\ud83d\ude00"|"\ud83d"|"\ude00"|"\ud83d\u0041"|"\ud83dx"|"\ud83d\n"|'a'|"\u0000""#;
        let others = "true|false|null|tru|nulls|True|undefined|[]|[1,]|[,1]|[1 2]|[1|{}|{\"a\"}|{\"a\":}|{a:1}|{\"a\":1,}|{,}|{\"a\":1 \"b\":2}|{1:1}|{\"a\" : [ ] , \"b\":{ } }|// a|[1] // a| |\u{a0}1|1\u{c}|\t1\n\r ";
        let control = (0..0x20_u8).map(|byte| format!("\"a{}b\"", char::from(byte)));
        let deep = [126, 127, 128].map(|depth| "[".repeat(depth) + &"]".repeat(depth));
        let objects =
            [126, 127, 128].map(|depth| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth));
        let listed = [numbers, texts, others]
            .into_iter()
            .flat_map(|all| all.split('|'));
        let listed = listed
            .map(str::to_owned)
            .chain(control)
            .chain(long)
            .chain(small);
        for text in listed.chain(deep).chain(objects) {
            for text in [
                format!("{{\"k\":{text}}}"),
                format!("[{text},{text}]"),
                text,
            ] {
                assert_eq!(read(&text).is_ok(), is_commonly_one(&text), "{text}");
            }
        }
    }

    #[test]
    fn a_key_among_many_is_found_twice_wherever_it_stands() {
        for count in [2, 31, 32, 33, 34, 100] {
            let keys: Vec<String> = (0..count)
                .map(|n| format!("\"k{n}\":{{\"k{n}\":[]}}"))
                .collect();
            let once = keys.join(",");
            assert!(read(&format!("{{{once}}}")).is_ok(), "{count}");
            assert!(read(&format!("[{{{once}}},{{{once}}}]")).is_ok(), "{count}");
            for twice in 0..count {
                assert!(
                    read(&format!("{{{once},\"k{twice}\":1}}")).is_err(),
                    "{twice} of {count}"
                );
                let spelled = format!("{{\"\\u006b{twice}\":1,{once}}}");
                assert!(read(&spelled).is_err(), "{twice} of {count}");
                let inside = format!("{{{once},\"in\":{{{once},\"k{twice}\":1}}}}");
                assert!(read(&inside).is_err(), "{twice} of {count} inside");
                let after = format!("{{{once},\"in\":{{{once}}},\"k{twice}\":1}}");
                assert!(read(&after).is_err(), "{twice} of {count} after");
            }
        }
    }

    proptest! {
        #[test]
        fn parts_are_those_of_a_common_reader(inner in drawn(), other in drawn()) {
            let text = format!(" {{ \"x\" : {inner}, \"y\\n\":[{other},{inner}] }} ");
            prop_assert_eq!(read(&text).is_ok(), is_commonly_one(&text));
            let Ok(document) = read(&text) else {
                return Ok(()); // a key twice
            };
            let common = commonly_read(&text);
            let members: Vec<_> = document.root().members().unwrap().collect();
            let told: Vec<_> = members.iter().map(|(key, value)| (key.as_ref(), value.get())).collect();
            let common: Vec<_> = common.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
            prop_assert_eq!(told, common);
            let (_, list) = members[1];
            let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(list.get()).unwrap();
            let told: Vec<_> = list.items().unwrap().map(Part::get).collect();
            prop_assert_eq!(told, items.iter().map(|item| item.get()).collect::<Vec<_>>());
            let x = document.at(&"x".parse().unwrap()).map(Part::get);
            prop_assert_eq!(x, Some(members[0].1.get()));
        }

        #[test]
        fn what_a_common_reader_refuses_is_none(
            document in drawn(), at in any::<prop::sample::Index>(), more in "[\\[\\]{}\",:0-9.eE+tfn\\\\u \n\u{1}-]{0,3}", gone in 0_usize..3
        ) {
            let mut letters: Vec<char> = document.chars().collect();
            let at = at.index(letters.len() + 1);
            letters.splice(at..(at + gone).min(letters.len()), more.chars());
            let text: String = letters.into_iter().collect();
            prop_assert_eq!(read(&text).is_ok(), is_commonly_one(&text), "{}", text);
        }

        #[test]
        fn no_bytes_panic(text in "[\\[\\]{}\",:0-9tfn\\\\u a-f-]{0,24}|\\PC{0,24}") {
            prop_assert_eq!(read(&text).is_ok(), is_commonly_one(&text), "{}", text);
        }
    }
}
