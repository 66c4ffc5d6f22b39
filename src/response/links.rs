use std::sync::{Arc, LazyLock};

use bytes::{Bytes, BytesMut};
use memchr::memmem::Finder;
use memchr::{memchr2, memrchr};

use crate::config::BaseUrl;

/// Brings API addresses in an answer back to tidegate: in the members of JSON that are links, and nowhere else.
///
/// These are `links.pages.*`, `href` and `self` anywhere under `links`, and `last_tagged_uri`. A TXT record may hold such an
/// address as its data, and keeps it. The `links.pages` that tidegate writes itself, and their order, are in
/// [`super::ListPage`]. The document is not parsed: a key that leads to links is searched for, which goes as fast as memory is
/// read, and from there to the end of its value it is walked, byte by byte. It comes in pieces; all that is not replaced passes
/// as it came.
///
/// A search finds keys and nothing else: in JSON a quote that no backslash escapes begins or ends a text, and after one that
/// ends it no letter can follow.
pub struct Links {
    from: Arc<[String]>,
    to: Option<BaseUrl>,
    stack: Vec<Level>,
    too_deep: usize,
    state: LinksState,
    key: LinkKey,
    held: Vec<u8>,
    /// Whether what was passed over last ended with a backslash that escapes what follows.
    escapes: bool,
}

/// One open object or list.
#[derive(Clone, Copy)]
struct Level {
    object: bool,
    within: Within,
}

/// What a level is part of, as far as that matters.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Within {
    Nothing,
    Links,
    Pages,
}

/// Where in the document the walk is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum LinksState {
    /// Outside of all that has links, anywhere.
    Outside,
    /// In what may be a key that leads to links, and began in an earlier piece.
    Begun,
    /// After such a key, before its colon.
    BeforeColon,
    /// After that, before its value.
    BeforeLed,
    /// Between tokens, where a string would be a key.
    BeforeKey,
    /// Between tokens, where a string would be a value.
    BeforeValue,
    /// In a key, which is being noted.
    LinkKey { escaped: bool },
    /// In a string that stays as it is.
    Text { escaped: bool },
    /// In a string that is a link, which is held until its end.
    Link { escaped: bool },
}

/// The last key, as far as that matters.
#[derive(Clone, Copy, Eq, PartialEq)]
enum LinkKey {
    Other,
    Links,
    Pages,
    Page,
    Reference,
    LastTagged,
}

/// The keys that lead to links, as they stand in a document.
const LEADING: [(&[u8], LinkKey); 2] = [
    (b"\"links\"", LinkKey::Links),
    (b"\"last_tagged_uri\"", LinkKey::LastTagged),
];

/// How all of them begin: one search goes for all, and few other keys begin so.
const BEGIN: &[u8] = b"\"l";

/// The first of them from there on: where it begins and ends, and which it is.
fn first_leading(piece: &[u8], from: usize) -> Option<(usize, usize, LinkKey)> {
    static BEGINS: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(BEGIN));
    let mut begins = BEGINS.find_iter(piece.get(from..)?);
    begins.find_map(|at| {
        let begun = piece.get(from + at..)?;
        let found = LEADING.iter().find(|(key, _)| begun.starts_with(key));
        found.map(|(key, which)| (from + at, from + at + key.len(), *which))
    })
}

const DEEPEST: usize = 128;
/// A longer string is no link of the API's and passes.
const LONGEST_LINK: usize = 16 << 10;
const LONGEST_KEY: usize = 32;

impl Links {
    /// A walk that replaces addresses beginning with any of `from` by `to`, or, without one, by paths.
    pub fn new(from: Arc<[String]>, to: Option<&BaseUrl>) -> Self {
        Self {
            from,
            to: to.cloned(),
            stack: Vec::new(),
            too_deep: 0,
            state: LinksState::Outside,
            key: LinkKey::Other,
            held: Vec::new(),
            escapes: false,
        }
    }

    /// The address with which `text` is to be replaced, if it is one of the API's.
    pub fn replaced(&self, text: &str) -> Option<String> {
        let rest = self.from.iter().find_map(|from| below(text, from))?;
        let ends_there = rest.is_empty() || rest.starts_with(['/', '?', '#']);
        ends_there.then(|| match &self.to {
            None if rest.is_empty() => "/".to_owned(),
            None => rest.to_owned(),
            Some(to) => format!("{to}{rest}"),
        })
    }

    /// Takes the next piece of the document.
    pub fn push(&mut self, piece: &Bytes) -> Bytes {
        let mut out = BytesMut::new();
        let mut kept_from = 0;
        let mut at = 0;
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            match self.state {
                LinksState::Outside => at = self.seek(piece, at),
                LinksState::Begun => at += self.go_on(rest),
                LinksState::BeforeColon | LinksState::BeforeLed => {
                    at += self.led(rest);
                    if matches!(self.state, LinksState::Link { .. }) {
                        out.extend_from_slice(piece.get(kept_from..at).unwrap_or_default());
                        kept_from = at;
                    }
                }
                LinksState::Link { .. } => {
                    let (used, ended) = self.hold(rest);
                    at += used;
                    kept_from = at;
                    if ended {
                        out.extend_from_slice(&self.link());
                        kept_from -= usize::from(self.state == LinksState::BeforeValue); // the closing quote
                    }
                }
                LinksState::Text { escaped } => at += self.text(rest, escaped),
                LinksState::LinkKey { escaped } => at += self.note_key(rest, escaped),
                LinksState::BeforeKey | LinksState::BeforeValue => {
                    at += 1;
                    self.token(rest.first().copied().unwrap_or_default());
                    if matches!(self.state, LinksState::Link { .. }) {
                        out.extend_from_slice(piece.get(kept_from..at).unwrap_or_default());
                        kept_from = at;
                    }
                }
            }
            let between = matches!(self.state, LinksState::BeforeKey | LinksState::BeforeValue);
            if between && self.stack.is_empty() && self.too_deep == 0 {
                self.leave();
            }
        }
        if kept_from == 0 && out.is_empty() {
            return piece.clone();
        }
        out.extend_from_slice(piece.get(kept_from..).unwrap_or_default());
        out.freeze()
    }

    /// What was held back, once nothing follows: a string without its end.
    pub fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        if matches!(self.state, LinksState::Link { .. }) {
            Bytes::from(held)
        } else {
            Bytes::new()
        }
    }

    /// Passes over everything up to the end of a key that leads to links, or of the piece; where that is.
    fn seek(&mut self, piece: &[u8], from: usize) -> usize {
        let Some((begin, end, key)) = first_leading(piece, from) else {
            self.begin(piece.get(from..).unwrap_or_default());
            return piece.len();
        };
        if self.escaped_after(piece.get(from..begin).unwrap_or_default()) {
            self.escapes = false;
            return begin + 1; // a quote in a text
        }
        self.key = key;
        self.state = LinksState::BeforeColon;
        end
    }

    /// Notes what the end of a piece may be the beginning of.
    fn begin(&mut self, rest: &[u8]) {
        if let Some(quote) = memrchr(b'"', rest)
            && let (before, begun) = rest.split_at(quote)
            && is_beginning(begun)
            && !self.escaped_after(before)
        {
            self.held.clear();
            self.held.extend_from_slice(begun);
            self.state = LinksState::Begun;
        }
        self.escapes = self.escaped_after(rest);
    }

    /// Whether what stands after `passed` is escaped.
    fn escaped_after(&self, passed: &[u8]) -> bool {
        let backslashes = passed.iter().rev().take_while(|byte| **byte == b'\\');
        let count = backslashes.count();
        (count % 2 == 1) != (count == passed.len() && self.escapes)
    }

    /// Takes a byte more of what may be a key that leads to links; how many it took.
    fn go_on(&mut self, rest: &[u8]) -> usize {
        self.held.extend(rest.first());
        let whole = LEADING.iter().find(|(key, _)| *key == self.held);
        if let Some((_, key)) = whole {
            self.key = *key;
            self.state = LinksState::BeforeColon;
        } else if !is_beginning(&self.held) {
            self.leave();
            return 0;
        }
        1
    }

    /// Goes on after a key that leads to links; how many bytes it took.
    fn led(&mut self, rest: &[u8]) -> usize {
        match (self.state, rest.first().copied().unwrap_or_default()) {
            (_, b' ' | b'\n' | b'\r' | b'\t') => {}
            (LinksState::BeforeColon, b':') => self.state = LinksState::BeforeLed,
            (LinksState::BeforeLed, byte @ (b'{' | b'[')) if self.key == LinkKey::Links => {
                self.open(byte == b'{');
            }
            (LinksState::BeforeLed, b'"') if self.key == LinkKey::LastTagged => {
                self.held.clear();
                self.state = LinksState::Link { escaped: false };
            }
            _ => {
                self.leave(); // it is a text, or what it leads to is nothing
                return 0;
            }
        }
        1
    }

    fn leave(&mut self) {
        self.held.clear();
        self.escapes = false;
        self.state = LinksState::Outside;
    }

    fn token(&mut self, byte: u8) {
        match byte {
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'}' | b']' => self.close(),
            b',' => self.state = self.next_state(),
            b':' => self.state = LinksState::BeforeValue,
            b'"' if self.state == LinksState::BeforeKey => {
                self.held.clear();
                self.state = LinksState::LinkKey { escaped: false };
            }
            b'"' if self.is_link() => {
                self.held.clear();
                self.state = LinksState::Link { escaped: false };
            }
            b'"' => self.state = LinksState::Text { escaped: false },
            _ => {}
        }
    }

    fn open(&mut self, object: bool) {
        if self.stack.len() >= DEEPEST {
            self.too_deep += 1;
            self.state = LinksState::BeforeValue; // keys down there are taken for texts, and no text there for a link
            return;
        }
        let outer = self
            .stack
            .last()
            .map_or(Within::Nothing, |level| level.within);
        let of_list = self.stack.last().is_some_and(|level| !level.object);
        let within = match (self.key, outer) {
            _ if of_list => outer,
            (LinkKey::Pages, Within::Links) => Within::Pages,
            (LinkKey::Links, _) | (_, Within::Links | Within::Pages) => Within::Links,
            (_, Within::Nothing) => Within::Nothing,
        };
        self.stack.push(Level { object, within });
        self.state = self.next_state();
    }

    fn close(&mut self) {
        if self.too_deep > 0 {
            self.too_deep -= 1;
        } else {
            self.stack.pop();
        }
        self.key = LinkKey::Other;
        self.state = LinksState::BeforeValue;
    }

    fn next_state(&self) -> LinksState {
        let in_object = self.too_deep == 0 && self.stack.last().is_some_and(|level| level.object);
        if in_object {
            LinksState::BeforeKey
        } else {
            LinksState::BeforeValue
        }
    }

    fn is_link(&self) -> bool {
        let Some(level) = self
            .stack
            .last()
            .filter(|level| self.too_deep == 0 && level.object)
        else {
            return false;
        };
        match self.key {
            LinkKey::LastTagged => true,
            LinkKey::Reference => level.within != Within::Nothing,
            LinkKey::Page => level.within == Within::Pages,
            LinkKey::Other | LinkKey::Links | LinkKey::Pages => false,
        }
    }

    /// Passes over a string; how many bytes of `rest` belong to it.
    fn text(&mut self, rest: &[u8], escaped: bool) -> usize {
        if escaped {
            self.state = LinksState::Text { escaped: false };
            return 1;
        }
        let Some(at) = memchr2(b'"', b'\\', rest) else {
            return rest.len();
        };
        self.state = if rest.get(at) == Some(&b'"') {
            LinksState::BeforeValue
        } else {
            LinksState::Text { escaped: true }
        };
        at + 1
    }

    fn note_key(&mut self, rest: &[u8], escaped: bool) -> usize {
        let byte = rest.first().copied().unwrap_or_default();
        if byte == b'"' && !escaped {
            self.key = key(&self.held);
            self.held.clear();
            self.state = LinksState::BeforeValue;
        } else {
            if self.held.len() <= LONGEST_KEY {
                self.held.push(byte);
            }
            self.state = LinksState::LinkKey {
                escaped: byte == b'\\' && !escaped,
            };
        }
        1
    }

    /// Takes bytes of a link in, its closing quote included; how many, and whether it is over.
    fn hold(&mut self, rest: &[u8]) -> (usize, bool) {
        for (at, byte) in rest.iter().enumerate() {
            let LinksState::Link { escaped } = self.state else {
                return (at, true);
            };
            if *byte == b'"' && !escaped {
                self.state = LinksState::BeforeValue;
                return (at + 1, true);
            }
            self.held.push(*byte);
            self.state = LinksState::Link {
                escaped: *byte == b'\\' && !escaped,
            };
            if self.held.len() > LONGEST_LINK {
                let LinksState::Link { escaped } = self.state else {
                    return (at + 1, true);
                };
                self.state = LinksState::Text { escaped };
                return (at + 1, true);
            }
        }
        (rest.len(), false)
    }

    fn link(&mut self) -> Vec<u8> {
        let raw = std::mem::take(&mut self.held);
        let plain = String::from_utf8_lossy(&raw).replace("\\/", "/");
        match self.replaced(&plain) {
            Some(replaced) => replaced.into_bytes(),
            None => raw,
        }
    }
}

/// What follows a base URL at the beginning of an address, however a client may read that: scheme and host have no case, the
/// scheme may be left out, and so may a port that says no more than the scheme.
fn below<'t>(text: &'t str, base: &str) -> Option<&'t str> {
    let (_, base) = base.split_once("//")?;
    let (scheme, text) = text.split_once("//")?;
    let of_web = ["", "http:", "https:"];
    if !of_web
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known))
    {
        return None;
    }
    let begins = text.get(..base.len())?.eq_ignore_ascii_case(base);
    let rest = text.get(base.len()..).filter(|_| begins)?;
    let port = [":443", ":80"]
        .iter()
        .find_map(|port| rest.strip_prefix(port));
    Some(port.unwrap_or(rest))
}

/// Whether it is the beginning of a key that leads to links, and not all of it.
fn is_beginning(begun: &[u8]) -> bool {
    let goes_on = |key: &[u8]| key.len() > begun.len() && key.starts_with(begun);
    LEADING.iter().any(|(key, _)| goes_on(key))
}

fn key(raw: &[u8]) -> LinkKey {
    match raw {
        b"links" => LinkKey::Links,
        b"pages" => LinkKey::Pages,
        b"first" | b"prev" | b"next" | b"last" => LinkKey::Page,
        b"href" | b"self" => LinkKey::Reference,
        b"last_tagged_uri" => LinkKey::LastTagged,
        _ => LinkKey::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn walk(text: &str, cuts: &[usize]) -> String {
        let api = BaseUrl::digitalocean();
        let mut links = Links::new(
            [api.to_string()].into(),
            Some(&"http://gate:8080".parse().unwrap()),
        );
        let mut out = Vec::new();
        let mut from = 0;
        for cut in cuts.iter().copied().chain([text.len()]) {
            out.extend_from_slice(
                &links.push(&Bytes::copy_from_slice(&text.as_bytes()[from..cut])),
            );
            from = cut;
        }
        out.extend_from_slice(&links.finish());
        String::from_utf8(out).unwrap()
    }

    const CASES: [(&str, &str); 14] = [
        (
            r#"{"droplets":[],"links":{"pages":{"last":"https://api.digitalocean.com/v2/droplets?page=3","next":"https://api.digitalocean.com/v2/droplets?page=2"}},"meta":{"total":3}}"#,
            r#"{"droplets":[],"links":{"pages":{"last":"http://gate:8080/v2/droplets?page=3","next":"http://gate:8080/v2/droplets?page=2"}},"meta":{"total":3}}"#,
        ),
        (
            r#"{"links":{"actions":[{"id":1,"rel":"create","href":"https://api.digitalocean.com/v2/actions/1"}]}}"#,
            r#"{"links":{"actions":[{"id":1,"rel":"create","href":"http://gate:8080/v2/actions/1"}]}}"#,
        ),
        (
            r#"{"resources":[{"links":{"self":"https://api.digitalocean.com/v2/droplets/1"}}]}"#,
            r#"{"resources":[{"links":{"self":"http://gate:8080/v2/droplets/1"}}]}"#,
        ),
        (
            r#"{"tag":{"last_tagged_uri":"https://api.digitalocean.com/v2/droplets/1"}}"#,
            r#"{"tag":{"last_tagged_uri":"http://gate:8080/v2/droplets/1"}}"#,
        ),
        (
            r#"{"links":{"pages":{"next":"https:\/\/api.digitalocean.com\/v2\/droplets?page=2\u0026a=1"}}}"#,
            r#"{"links":{"pages":{"next":"http://gate:8080/v2/droplets?page=2\u0026a=1"}}}"#,
        ),
        // what only looks like a link stays
        (
            r#"{"data":"https://api.digitalocean.com/v2/x"}"#,
            r#"{"data":"https://api.digitalocean.com/v2/x"}"#,
        ),
        (
            r#"{"next":"https://api.digitalocean.com/v2/x"}"#,
            r#"{"next":"https://api.digitalocean.com/v2/x"}"#,
        ),
        (
            r#"{"pages":{"next":"https://api.digitalocean.com/v2/x"}}"#,
            r#"{"pages":{"next":"https://api.digitalocean.com/v2/x"}}"#,
        ),
        (
            r#"{"a":"\"links\":{\"self\":\"https://api.digitalocean.com/\"}"}"#,
            r#"{"a":"\"links\":{\"self\":\"https://api.digitalocean.com/\"}"}"#,
        ),
        (
            r#"{"links":{"self":"https://api.digitalocean.com.evil.example/v2"}}"#,
            r#"{"links":{"self":"https://api.digitalocean.com.evil.example/v2"}}"#,
        ),
        (
            r#"{"links":{"self":"https://elsewhere.example/v2"},"self":"https://api.digitalocean.com/v2"}"#,
            r#"{"links":{"self":"https://elsewhere.example/v2"},"self":"https://api.digitalocean.com/v2"}"#,
        ),
        (
            r#"{"a\"links":{"self":"https://api.digitalocean.com/"}}"#,
            r#"{"a\"links":{"self":"https://api.digitalocean.com/"}}"#,
        ), // a key that ends like one
        (
            r#"{"a\\":{"links":{"self":"https://api.digitalocean.com/"}}}"#,
            r#"{"a\\":{"links":{"self":"http://gate:8080/"}}}"#,
        ),
        (r#"not json "links" {]}" : "#, r#"not json "links" {]}" : "#),
    ];

    #[test]
    fn every_key_that_leads_to_links_is_searched_for() {
        for (key, _) in LEADING {
            assert!(key.starts_with(BEGIN), "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn only_links_are_brought_back_however_the_answer_is_cut() {
        for (text, expected) in CASES {
            assert_eq!(walk(text, &[]), expected);
            for cut in 0..text.len() {
                assert_eq!(walk(text, &[cut]), expected, "cut at {cut}");
            }
            let every: Vec<_> = (1..text.len()).collect();
            assert_eq!(walk(text, &every), expected, "cut everywhere");
        }
    }

    #[test]
    fn without_an_address_of_its_own_a_link_is_a_path() {
        let api = BaseUrl::digitalocean();
        let links = Links::new([api.to_string()].into(), None);
        assert_eq!(
            links.replaced("https://api.digitalocean.com/v2/x"),
            Some("/v2/x".into())
        );
        assert_eq!(
            links.replaced("https://api.digitalocean.com"),
            Some("/".into())
        );
    }

    /// The same done slowly: over the tree of a document that was read whole.
    fn brought_back(value: &mut Value, within: Within) {
        let items = match value {
            Value::Array(items) => return items.iter_mut().for_each(|it| brought_back(it, within)),
            Value::Object(members) => members,
            _ => return,
        };
        for (name, value) in items {
            let named = key(name.as_bytes());
            let is_link = match named {
                LinkKey::LastTagged => true,
                LinkKey::Reference => within != Within::Nothing,
                LinkKey::Page => within == Within::Pages,
                LinkKey::Other | LinkKey::Links | LinkKey::Pages => false,
            };
            if let Value::String(text) = value
                && is_link
            {
                let rest = text.strip_prefix("https://api.digitalocean.com/");
                *text = rest.map_or(text.clone(), |rest| format!("http://gate:8080/{rest}"));
            }
            let below = match (named, within) {
                (LinkKey::Pages, Within::Links) => Within::Pages,
                (LinkKey::Links, _) | (_, Within::Links | Within::Pages) => Within::Links,
                (_, Within::Nothing) => Within::Nothing,
            };
            brought_back(value, below);
        }
    }

    fn document() -> impl Strategy<Value = Value> {
        let text = prop::sample::select(vec![
            "https://api.digitalocean.com/v2/x?a=1",
            "links",
            "last_tagged_uri",
            "\"links\":{\"self\":\"https://api.digitalocean.com/",
            "\\\"links\":",
            "\\",
            "\\\\\"",
            "",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<u8>().prop_map(Value::from),
            text.prop_map(Value::from)
        ];
        let keys = prop::sample::select(vec![
            "links",
            "pages",
            "next",
            "self",
            "href",
            "last_tagged_uri",
            "last",
            "data",
            "a\\\"links",
        ]);
        leaf.prop_recursive(5, 40, 5, move |inner| {
            let members = prop::collection::vec((keys.clone(), inner.clone()), 0..5);
            let object = |members: Vec<(&str, Value)>| {
                let members = members
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value));
                Value::Object(members.collect())
            };
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::Array),
                members.prop_map(object),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_search_finds_what_a_reading_of_the_whole_finds(
            document in document(), pretty: bool, cuts in prop::collection::vec(0_usize..400, 0..12)
        ) {
            let text = if pretty { format!("{document:#}") } else { document.to_string() };
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let walked: Value = serde_json::from_str(&walk(&text, &cuts)).unwrap();
            let every: Vec<_> = (1..text.len()).collect();
            prop_assert_eq!(&serde_json::from_str::<Value>(&walk(&text, &every)).unwrap(), &walked);
            let mut expected = document;
            brought_back(&mut expected, Within::Nothing);
            prop_assert_eq!(walked, expected);
        }

        #[test]
        fn whatever_has_no_link_passes_as_it_came(text in "[\\[\\]{}\",:a1 \\\\]{0,60}", cut in 0_usize..60) {
            prop_assert_eq!(walk(&text, &[cut.min(text.len())]), text);
        }

        #[test]
        fn nesting_does_not_confuse_it(depth in 0_usize..300) {
            let text = format!("{}{}{}", "{\"links\":[".repeat(depth), r#"{"self":"https://elsewhere.example/"}"#, "]}".repeat(depth));
            prop_assert_eq!(walk(&text, &[]), text);
        }
    }
}
