//! Cutting an answer: what stays is byte for byte what came.

use bytes::Bytes;

use crate::catalog::FieldPath;
use crate::json::{Document, Part};

/// What is to be done to a slice of an answer.
struct Edit {
    from: usize,
    to: usize,
    with: Vec<u8>,
}

/// An answer, or a part of one, that is being cut.
pub struct Cutting {
    whole: Bytes,
    edits: Vec<Edit>,
}

impl Cutting {
    /// Begins with an answer as it came.
    pub fn new(whole: &Document) -> Self {
        Self::part(whole.bytes().clone())
    }

    /// Begins with a part of one.
    fn part(whole: Bytes) -> Self {
        Self {
            whole,
            edits: Vec::new(),
        }
    }

    /// The member at a path; `None` where the answer has none.
    pub fn at(&self, path: Option<&FieldPath>) -> Option<Bytes> {
        let whole = Part::of(&self.whole)?;
        let found = match path {
            Some(path) => whole.at(path)?,
            None => whole,
        };
        Some(self.whole.slice_ref(found.get().as_bytes()))
    }

    /// Leaves out every member that is neither at one of these paths, nor on the way to one, nor below one. Tells whether any of
    /// them said something.
    pub fn keep_members(&mut self, known: &[&FieldPath]) -> bool {
        let whole = self.whole.clone();
        let Some(root) = Part::of(&whole) else {
            return false;
        };
        let known: Vec<Vec<&str>> = known
            .iter()
            .map(|path| path.steps.iter().map(|step| step.key.as_str()).collect())
            .collect();
        let known: Vec<&[&str]> = known.iter().map(Vec::as_slice).collect();
        self.keep_below(root, &known)
    }

    fn keep_below(&mut self, object: Part<'_>, known: &[&[&str]]) -> bool {
        let mut any = false;
        let mut has_any = false;
        let mut from = self.place_of(object) + 1;
        for (key, value) in object.members().unwrap_or_default() {
            let to = self.place_of(value) + value.get().len();
            let below: Vec<&[&str]> = known
                .iter()
                .filter_map(|path| path.split_first())
                .filter(|(first, _)| **first == key)
                .map(|(_, rest)| rest)
                .collect();
            let is_whole = below.iter().any(|rest| rest.is_empty());
            let is_nothing = value.get() == "null";
            if is_whole || !below.is_empty() && (value.is_object() || is_nothing) {
                if !has_any {
                    self.drop_comma(from, to); // what stood before is left out
                }
                has_any = true;
                if !is_whole {
                    any |= self.keep_below(value, &below);
                }
            } else {
                any |= !is_nothing;
                self.edit(from, to, Vec::new());
            }
            from = to;
        }
        any
    }

    /// Leaves out the comma before a member, if there is one.
    fn drop_comma(&mut self, from: usize, to: usize) {
        let member = self.whole.get(from..to).unwrap_or_default();
        let first = member.iter().position(|byte| !byte.is_ascii_whitespace());
        if let Some(at) = first.filter(|at| member.get(*at) == Some(&b',')) {
            self.edit(from + at, from + at + 1, Vec::new());
        }
    }

    fn place_of(&self, value: Part<'_>) -> usize {
        value.get().as_ptr() as usize - self.whole.as_ptr() as usize
    }

    /// Keeps of an array the items that may stay, each maybe cut in turn.
    pub fn keep(&mut self, array: &Bytes, kept: &[Bytes]) {
        self.replace(array, listed(kept).to_vec());
    }

    /// Tells how many items were kept, where the answer tells how many there were.
    pub fn count(&mut self, at: &FieldPath, kept: usize) {
        let told = self.at(Some(at));
        if let Some(told) = told.filter(|told| told.first().is_some_and(u8::is_ascii_digit)) {
            self.replace(&told, kept.to_string().into_bytes());
        }
    }

    /// Puts something else in the place of a slice.
    fn replace(&mut self, slice: &Bytes, with: Vec<u8>) {
        let from = slice.as_ptr() as usize - self.whole.as_ptr() as usize;
        self.edit(from, from + slice.len(), with);
    }

    fn edit(&mut self, from: usize, to: usize, with: Vec<u8>) {
        self.edits.push(Edit { from, to, with });
    }

    /// Puts a slice that was cut in the place of the whole.
    pub fn put(&mut self, slice: &Bytes, with: &Bytes) {
        self.replace(slice, with.to_vec());
    }

    /// Puts `null` in the place of a slice.
    pub fn null(&mut self, slice: &Bytes) {
        self.replace(slice, b"null".to_vec());
    }

    /// The answer, cut.
    pub fn finish(mut self) -> Vec<u8> {
        self.edits.sort_by_key(|edit| edit.from);
        let mut out = Vec::with_capacity(self.whole.len());
        let mut at = 0;
        for edit in &self.edits {
            out.extend_from_slice(self.whole.get(at..edit.from).unwrap_or_default());
            out.extend_from_slice(&edit.with);
            at = edit.to;
        }
        out.extend_from_slice(self.whole.get(at..).unwrap_or_default());
        out
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

/// The items of an array, as slices of it; `None` where it is none.
pub fn slices(array: &Bytes) -> Option<Vec<Bytes>> {
    let items = Part::of(array)?.items()?;
    Some(
        items
            .into_iter()
            .map(|item| array.slice_ref(item.get().as_bytes()))
            .collect(),
    )
}

/// A resource without the members that show its children.
pub fn without(resource: &Bytes, members: &[FieldPath]) -> Bytes {
    let mut cutting = Cutting::part(resource.clone());
    for path in members {
        if let Some(slice) = cutting.at(Some(path)) {
            cutting.null(&slice);
        }
    }
    Bytes::from(cutting.finish())
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
        let mut cutting = Cutting::part(came);
        let array = cutting.at(Some(&"a".parse().unwrap())).unwrap();
        let items = slices(&array).unwrap();
        cutting.keep(&array, &items[..1]);
        assert_eq!(
            String::from_utf8(cutting.finish()).unwrap(),
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
            let cut = String::from_utf8(cutting.finish()).unwrap();
            assert_eq!(cut, expected, "{came}");
        }
    }

    #[test]
    fn what_tells_how_many_there_are_tells_of_those_that_stay() {
        let came = Bytes::from_static(br#"{"a":[1,2],"count":2,"meta":{"total":20},"n":"2"}"#);
        let mut cutting = Cutting::part(came);
        for place in ["count", "meta.total", "n", "nowhere.total"] {
            cutting.count(&place.parse().unwrap(), 1);
        }
        assert_eq!(
            String::from_utf8(cutting.finish()).unwrap(),
            r#"{"a":[1,2],"count":1,"meta":{"total":1},"n":"2"}"#
        );
    }

    #[test]
    fn children_are_not_shown() {
        let domain = Bytes::from_static(br#"{"name":"a.org","zone_file":"secret\n","ttl":1}"#);
        let cut = without(&domain, &["zone_file".parse().unwrap()]);
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
