//! Whether a document can't have any of some members, told by a search over its bytes: much faster than a walk through it.

use std::sync::Arc;

use memchr::memchr2_iter;
use memchr::memmem::Finder;

use super::cutter::{Fate, Plan};

/// A search for keys, in pieces as they come.
///
/// It may find a key where there is none (in a text), and never misses one: every reader that sees a key in JSON sees either
/// its letters as they stand, or one of them as `\u00…`, or reads something else than a text of one byte a letter, which
/// has zeros.
#[derive(Clone, Debug)]
pub struct Search {
    keys: Arc<[Finder<'static>]>,
    /// Whether an ASCII letter is in any key.
    letters: [bool; 128],
    /// The end of what came before, as a key may begin there.
    tail: Vec<u8>,
    overlap: usize,
    /// The first byte and the last, spaces left aside.
    ends: Option<(u8, u8)>,
}

impl Search {
    /// A search for all that a plan cuts. `None` where that can't be told beforehand, or has letters that can be written
    /// in yet another way.
    pub fn of(plan: &Plan) -> Option<Self> {
        if plan.places.iter().any(|place| place.judged.is_some()) {
            return None;
        }
        let members = plan.places.iter().flat_map(|place| &place.members);
        let cut = members.filter(|member| member.fate != Fate::Keep);
        let mut keys: Vec<&str> = cut.map(|member| member.key.as_str()).collect();
        keys.sort_unstable();
        keys.dedup();
        let mut letters = [false; 128];
        for byte in keys.iter().flat_map(|key| key.bytes()) {
            if !byte.is_ascii_alphanumeric() && byte != b'_' {
                return None;
            }
            *letters.get_mut(usize::from(byte))? = true;
        }
        let longest = keys.iter().map(|key| key.len()).max()?;
        let finder = |key: &&str| Finder::new(key.as_bytes()).into_owned();
        Some(Self {
            keys: keys.iter().map(finder).collect(),
            letters,
            tail: Vec::new(),
            overlap: longest.max(ESCAPE.len() + 2) - 1,
            ends: None,
        })
    }

    /// Whether a document that is there whole is bracketed as an object, and none of the keys can be in it.
    pub fn passes(&self, whole: &[u8]) -> bool {
        ends(whole) == Some(OBJECT) && self.is_clear(whole)
    }

    /// Takes the next piece; whether none of the keys can be in what came so far.
    pub fn finds_none(&mut self, piece: &[u8]) -> bool {
        if let Some((first, last)) = ends(piece) {
            let first = self.ends.map_or(first, |(first, _)| first);
            self.ends = Some((first, last));
        }
        let begin = piece.get(..self.overlap).unwrap_or(piece);
        self.tail.extend_from_slice(begin);
        let clear = self.is_clear(&self.tail) && self.is_clear(piece);
        let end = if begin.len() == piece.len() {
            self.tail.as_slice()
        } else {
            piece
        };
        let from = end.len().saturating_sub(self.overlap);
        self.tail = end.get(from..).unwrap_or_default().to_vec();
        clear
    }

    /// Whether what came is bracketed as an object: it is neither a page in HTML, nor did it break off.
    pub fn saw_object(&self) -> bool {
        self.ends == Some(OBJECT)
    }

    fn is_clear(&self, bytes: &[u8]) -> bool {
        let has_key = || self.keys.iter().any(|key| key.find(bytes).is_some());
        let odd = |at| bytes.get(at..).is_some_and(|from| self.is_odd(from));
        !memchr2_iter(0, b'\\', bytes).any(odd) && !has_key()
    }

    /// Whether a zero, or a letter that is escaped, stands there.
    fn is_odd(&self, from: &[u8]) -> bool {
        let Some(escaped) = from.strip_prefix(ESCAPE) else {
            return from.first() == Some(&0);
        };
        let digits = escaped.get(..2);
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok());
        code.is_some_and(|code| self.letters.get(code).copied().unwrap_or_default())
    }
}

/// The first byte and the last, spaces left aside.
fn ends(bytes: &[u8]) -> Option<(u8, u8)> {
    match bytes.trim_ascii() {
        [first, .., last] | [first @ last] => Some((*first, *last)),
        [] => None,
    }
}

/// How an object begins and ends.
const OBJECT: (u8, u8) = (b'{', b'}');

/// How a letter of a key is escaped, but for its last two digits.
const ESCAPE: &[u8] = b"\\u00";

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::response::{Cutter, Judged, PlanMember, PlanPlace};

    fn plan(keys: &[&str]) -> Plan {
        let member = |key: &&str| PlanMember {
            key: (*key).to_owned(),
            fate: Fate::Cut,
            below: None,
        };
        Plan {
            places: vec![PlanPlace {
                judged: None,
                members: keys.iter().map(member).collect(),
            }],
        }
    }

    fn none_in(pieces: &[&[u8]], keys: &[&str]) -> bool {
        let mut search = Search::of(&plan(keys)).unwrap();
        pieces.iter().all(|piece| search.finds_none(piece))
    }

    #[test]
    fn a_key_is_seen_in_every_spelling_and_however_it_is_cut_up() {
        let cases = [
            (r#"{"user_data":1}"#, false),
            (r#"{"us\u0065r_data":1}"#, false),
            (r#"{"\u0075ser_data":1}"#, false),
            (r#"{"user\u005Fdata":1}"#, false),
            (r#"{"user\u005fdata":1}"#, false),
            ("{\0\"\0u\0", false), // of two bytes a letter
            (r#"{"x":"https://a?b=1\u0026c=2\u003c"}"#, true), // no letter of the key
            (r#"{"x":"\u00e9\u0","y":"\u20ac\/"}"#, true),
            (r#"{"user":{"data":1}}"#, true),
        ];
        for (text, clear) in cases {
            for first in 0..=text.len() {
                let (head, rest) = text.as_bytes().split_at(first);
                for second in 0..=rest.len() {
                    let (middle, tail) = rest.split_at(second);
                    let got = none_in(&[head, middle, tail], &["user_data"]);
                    assert_eq!(got, clear, "{text} at {first} and {second}");
                }
            }
            let whole = Search::of(&plan(&["user_data"])).unwrap();
            assert_eq!(whole.passes(text.as_bytes()), clear, "{text}");
            let single: Vec<_> = text.as_bytes().chunks(1).collect();
            assert_eq!(none_in(&single, &["user_data"]), clear, "{text}");
        }
    }

    #[test]
    fn an_object_begins_and_ends_as_one() {
        let cases = [
            ("{}", true),
            (" {\"a\":1}\n", true),
            ("{\"a\":[{}", true), // that it is whole is not told, only that it did not end elsewhere
            ("{\"a\":\"x", false),
            ("<html>}", false),
            ("\u{feff}{}", false),
            ("}", false),
            ("", false),
        ];
        for (text, is_one) in cases {
            let whole = Search::of(&plan(&["b"])).unwrap();
            assert_eq!(whole.passes(text.as_bytes()), is_one, "{text:?}");
            for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
                let mut search = Search::of(&plan(&["b"])).unwrap();
                search.finds_none(&text.as_bytes()[..cut]);
                search.finds_none(&text.as_bytes()[cut..]);
                assert_eq!(search.saw_object(), is_one, "{text:?} at {cut}");
            }
        }
    }

    #[test]
    fn what_cannot_be_told_beforehand_is_not() {
        let mut judged = plan(&["a"]);
        judged.places.push(PlanPlace {
            judged: Some(2),
            members: Vec::new(),
        });
        assert!(Search::of(&judged).is_none());
        assert!(Search::of(&plan(&["a/b"])).is_none()); // `\/` is another spelling
        assert!(Search::of(&plan(&["ä"])).is_none());
        assert!(Search::of(&plan(&[])).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn where_it_finds_none_a_walk_cuts_nothing(
            members in prop::collection::vec(("a|b|\\\\u0061|\\\\u0062|ab|\\\\u0063|\\\\\"", "1|\"a\"|\\[\\]"), 0..5),
            cut in 0_usize..60
        ) {
            let members: Vec<_> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            let text = format!("{{{}}}", members.join(","));
            let (head, tail) = text.as_bytes().split_at(cut.min(text.len()));
            if none_in(&[head, tail], &["a"]) {
                let mut cutter = Cutter::new(plan(&["a"]), Box::new(|_, _| Judged::Null));
                let walked = cutter.push(&Bytes::from(text.clone()));
                prop_assert_eq!(walked.unwrap(), text);
            }
        }
    }
}
