//! Cutting an answer: what stays is byte for byte what came.

use std::ops::Range;

use bytes::Bytes;

use crate::catalog::{FieldPath, Step};
use crate::json::{Document, Part};

/// What is to be done to a slice of an answer.
struct Edit {
    at: Range<usize>,
    with: Bytes,
}

/// An answer, or a part of one, that is being cut.
pub struct Cutting<'d> {
    whole: &'d Document,
    edits: Vec<Edit>,
}

impl<'d> Cutting<'d> {
    /// Begins with an answer as it came.
    pub fn new(whole: &'d Document) -> Self {
        Self {
            whole,
            edits: Vec::new(),
        }
    }

    /// The member at a path; `None` where the answer has none.
    pub fn at(&self, path: Option<&FieldPath>) -> Option<Part<'d>> {
        match path {
            Some(path) => self.whole.at(path),
            None => Some(self.whole.root()),
        }
    }

    /// Leaves out every member that is neither at one of these paths, nor on the way to one, nor below one. Tells whether any of
    /// them said something.
    pub fn keep_members(&mut self, known: &[&FieldPath]) -> bool {
        let known: Vec<&[Step]> = known.iter().map(|path| path.steps.as_slice()).collect();
        self.keep_below(self.whole.root(), &known)
    }

    fn keep_below(&mut self, object: Part<'_>, known: &[&[Step]]) -> bool {
        let mut any = false;
        let mut has_any = false;
        let mut from = object.place().start + 1;
        for (key, value) in object.members().into_iter().flatten() {
            let to = value.place().end;
            let below = || {
                let here = known.iter().filter_map(|steps| steps.split_first());
                here.filter(|(first, _)| first.key == key)
                    .map(|(_, rest)| rest)
            };
            let is_known = below().next().is_some();
            let is_whole = below().any(<[Step]>::is_empty);
            let is_nothing = value.is_null();
            if is_whole || is_known && (value.is_object() || is_nothing) {
                if !has_any {
                    self.drop_comma(from, to); // what stood before is left out
                }
                has_any = true;
                if !is_whole {
                    let below: Vec<&[Step]> = below().collect();
                    any |= self.keep_below(value, &below);
                }
            } else {
                any |= !is_nothing;
                self.edit(from..to, Bytes::new());
            }
            from = to;
        }
        any
    }

    /// Leaves out the comma before a member, if there is one.
    fn drop_comma(&mut self, from: usize, to: usize) {
        let member = self.whole.bytes().get(from..to).unwrap_or_default();
        let first = member.iter().position(|byte| !byte.is_ascii_whitespace());
        if let Some(at) = first.filter(|at| member.get(*at) == Some(&b',')) {
            self.edit(from + at..from + at + 1, Bytes::new());
        }
    }

    /// Keeps of an array the items that may stay, each maybe cut in turn.
    pub fn keep(&mut self, array: Part<'d>, kept: &[Bytes]) {
        self.put(array, listed(kept));
    }

    /// Tells how many items were kept, where the answer tells how many there were.
    pub fn count(&mut self, at: &FieldPath, kept: usize) {
        let told = self.at(Some(at));
        if let Some(told) =
            told.filter(|told| told.get().starts_with(|it: char| it.is_ascii_digit()))
        {
            self.put(told, kept.to_string().into());
        }
    }

    /// Puts something else in the place of a part.
    pub fn put(&mut self, part: Part<'d>, with: Bytes) {
        self.edit(part.place(), with);
    }

    fn edit(&mut self, at: Range<usize>, with: Bytes) {
        self.edits.push(Edit { at, with });
    }

    /// The answer, cut.
    pub fn finish(mut self) -> Bytes {
        let whole = self.whole.bytes();
        if self.edits.is_empty() {
            return whole.clone();
        }
        self.edits.sort_by_key(|edit| edit.at.start);
        let mut out = Vec::with_capacity(whole.len());
        let mut at = 0;
        for edit in &self.edits {
            out.extend_from_slice(whole.get(at..edit.at.start).unwrap_or_default());
            out.extend_from_slice(&edit.with);
            at = edit.at.end;
        }
        out.extend_from_slice(whole.get(at..).unwrap_or_default());
        out.into()
    }
}

/// An array of these items.
pub fn listed(items: &[Bytes]) -> Bytes {
    let mut whole = vec![b'['];
    between_commas(items, &mut whole);
    whole.push(b']');
    Bytes::from(whole)
}

fn between_commas(items: &[Bytes], out: &mut Vec<u8>) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(item);
    }
}

/// A resource without the members that show its children; `None` where it is no JSON.
pub fn without(resource: &Bytes, members: &[FieldPath]) -> Option<Bytes> {
    let resource = Document::of_value(resource).ok()?;
    let mut cutting = Cutting::new(&resource);
    for path in members {
        if let Some(part) = cutting.at(Some(path)) {
            cutting.put(part, Bytes::from_static(b"null"));
        }
    }
    Some(cutting.finish())
}

/// One page of a list, as the API writes one.
pub struct ListPage<'p> {
    /// The member that holds the list.
    pub member: &'p str,
    /// The member that tells how many there are, beside `meta.total`.
    pub counts: Option<&'p FieldPath>,
    /// Whether it is a mapping by id, of which each item is one `"id": value`.
    pub keyed: bool,
    /// All items that may be seen.
    pub items: &'p [Bytes],
    /// Which page, from 1.
    pub page: usize,
    /// How many items a page has.
    pub per_page: usize,
}

impl ListPage<'_> {
    /// Writes the page, given how a page's address is made.
    pub fn write(&self, link: impl Fn(usize) -> String) -> Vec<u8> {
        let Self {
            member,
            counts,
            keyed,
            items,
            page,
            per_page,
        } = *self;
        let total = items.len();
        let last = total.div_ceil(per_page).max(1);
        let from = (page - 1).saturating_mul(per_page).min(total);
        let to = from.saturating_add(per_page).min(total);
        let (open, close) = if keyed { ('{', '}') } else { ('[', ']') };
        let member = serde_json::Value::from(member);
        let mut out = format!("{{{member}:{open}").into_bytes();
        between_commas(items.get(from..to).unwrap_or_default(), &mut out);
        let mut pages = serde_json::Map::new();
        let mut add = |name: &str, number: usize| {
            pages.insert(name.to_owned(), link(number).into());
        };
        // In the order in which acme.sh, which reads them with a regular expression, can tell them apart.
        if page > 1 {
            add("first", 1);
            add("prev", page.min(last + 1) - 1);
        }
        if page < last {
            add("last", last);
            add("next", page + 1);
        }
        let links = if pages.is_empty() {
            serde_json::json!({})
        } else {
            serde_json::json!({ "pages": pages })
        };
        let counted = counts.map(|counts| format!(",\"{counts}\":{total}"));
        let counted = counted.unwrap_or_default();
        out.extend_from_slice(
            format!("{close},\"links\":{links},\"meta\":{{\"total\":{total}}}{counted}}}")
                .as_bytes(),
        );
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_what_came() {
        let came = Bytes::from_static(
            br#"{ "a" : [ {"id":12345678901234567890,"x":"\u00e9"} , {"id":2} ], "b":1.50 }"#,
        );
        let came = Document::read(&came).unwrap();
        let mut cutting = Cutting::new(&came);
        let array = cutting.at(Some(&"a".parse().unwrap())).unwrap();
        let first = array.items().unwrap().next().unwrap();
        cutting.keep(array, &[came.slice(first)]);
        assert_eq!(
            cutting.finish(),
            r#"{ "a" : [{"id":12345678901234567890,"x":"\u00e9"}], "b":1.50 }"#
        );
    }

    #[test]
    fn what_nobody_knows_is_left_out() {
        let cases = [
            (r#"{"a":1}"#, r#"{"a":1}"#, false),
            (r#"{"a":1,"x":2}"#, r#"{"a":1}"#, true),
            (r#"{ "x":2 , "a":1 }"#, r#"{  "a":1 }"#, true),
            (r#"{"x":2,"y":[3],"a":1,"z":{}}"#, r#"{"a":1}"#, true),
            (r#"{"x":null,"a":1}"#, r#"{"a":1}"#, false), // it says nothing
            (r#"{"x":2}"#, "{}", true),
            (
                r#"{"m":{"n":1,"x":2},"a":{"x":3}}"#,
                r#"{"m":{"n":1},"a":{"x":3}}"#,
                true,
            ),
            (r#"{"m":{"x":2}}"#, r#"{"m":{}}"#, true),
            (r#"{"m":[{"n":1}],"a":1}"#, r#"{"a":1}"#, true), // no object that `n` could be in
            (r#"{"m":null,"a":1}"#, r#"{"m":null,"a":1}"#, false),
        ];
        let known = ["a", "m.n"].map(|path| path.parse::<FieldPath>().unwrap());
        for (came, expected, strange) in cases {
            let document = Document::read(&Bytes::from(came)).unwrap();
            let mut cutting = Cutting::new(&document);
            assert_eq!(cutting.keep_members(&known.each_ref()), strange, "{came}");
            assert_eq!(cutting.finish(), expected, "{came}");
        }
    }

    #[test]
    fn what_tells_how_many_there_are_tells_of_those_that_stay() {
        let came = Bytes::from_static(br#"{"a":[1,2],"count":2,"meta":{"total":20},"n":"2"}"#);
        let came = Document::read(&came).unwrap();
        let mut cutting = Cutting::new(&came);
        for place in ["count", "meta.total", "n", "nowhere.total"] {
            cutting.count(&place.parse().unwrap(), 1);
        }
        assert_eq!(
            cutting.finish(),
            r#"{"a":[1,2],"count":1,"meta":{"total":1},"n":"2"}"#
        );
    }

    #[test]
    fn children_are_not_shown() {
        let domain = Bytes::from_static(br#"{"name":"a.org","zone_file":"secret\n","ttl":1}"#);
        let cut = without(&domain, &["zone_file".parse().unwrap()]).unwrap();
        assert_eq!(&cut[..], br#"{"name":"a.org","zone_file":null,"ttl":1}"#);
    }

    #[test]
    fn pages_are_the_lists_own() {
        let items: Vec<Bytes> = (0..5).map(|n| Bytes::from(n.to_string())).collect();
        let write = |page, per_page, items: &[Bytes]| {
            let page = ListPage {
                member: "droplets",
                counts: None,
                keyed: false,
                items,
                page,
                per_page,
            };
            String::from_utf8(page.write(|number| format!("p{number}"))).unwrap()
        };
        let cases = [
            (
                1,
                2,
                r#"{"droplets":[0,1],"links":{"pages":{"last":"p3","next":"p2"}},"meta":{"total":5}}"#,
            ),
            (
                2,
                2,
                r#"{"droplets":[2,3],"links":{"pages":{"first":"p1","prev":"p1","last":"p3","next":"p3"}},"meta":{"total":5}}"#,
            ),
            (
                3,
                2,
                r#"{"droplets":[4],"links":{"pages":{"first":"p1","prev":"p2"}},"meta":{"total":5}}"#,
            ),
            (
                9,
                2,
                r#"{"droplets":[],"links":{"pages":{"first":"p1","prev":"p3"}},"meta":{"total":5}}"#,
            ),
            (
                1,
                200,
                r#"{"droplets":[0,1,2,3,4],"links":{},"meta":{"total":5}}"#,
            ),
        ];
        for (page, per_page, expected) in cases {
            assert_eq!(write(page, per_page, &items), expected, "page {page}");
        }
        assert_eq!(
            write(1, 20, &[]),
            r#"{"droplets":[],"links":{},"meta":{"total":0}}"#
        );
    }
}
