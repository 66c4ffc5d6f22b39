//! The one pass over a document: whether it is one, and where in it everything stands.

use std::borrow::Cow;
use std::collections::HashSet;

use super::text::plain;
use super::{Extent, NoDocument};

/// Goes over a text that is one value, and tells of each value in it where it stands: of an object its keys and values in turns.
///
/// # Errors
/// `NoDocument` where it is not JSON (RFC 8259), where a key stands in one object twice, or it is nested deeper than anything
/// of the API.
pub(super) fn extents(text: &str) -> Result<Vec<Extent>, NoDocument> {
    i32::try_from(text.len()).map_err(|_| NoDocument)?; // an `Extent` has no room for more
    let mut pass = OnePass {
        text,
        bytes: text.as_bytes(),
        at: 0,
        extents: Vec::with_capacity(text.len() / BYTES_EACH),
        keys: Vec::new(),
    };
    pass.space();
    pass.value(0)?;
    pass.space();
    let is_all = pass.at == text.len();
    is_all.then_some(pass.extents).ok_or(NoDocument)
}

/// The bytes that one value, or one key, of the API's answers has at least on the whole.
const BYTES_EACH: usize = 12;
/// Levels of objects and lists in one another.
const DEPTH: usize = 127;
/// So many keys of an object are looked through for one that is repeated; of more a table is made.
const FEW: usize = 32;
/// A number with fewer letters, none of them an exponent, is none too large for a reader's 64 bits of floating point.
const LONG_NUMBER: usize = 300;

struct OnePass<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    extents: Vec<Extent>,
    /// The keys of the objects that are open, those of one after those of the one around it.
    keys: Vec<Cow<'t, str>>,
}

/// What is known of the keys of one object beside themselves.
struct Keys<'t> {
    /// Where they begin among those of all that are open.
    first: usize,
    /// A bit for each that there is, by letters of it: with a key whose bit is not there it is none of them.
    seen: u64,
    /// All of them, where there are many.
    many: Option<HashSet<Cow<'t, str>>>,
}

impl<'t> OnePass<'t> {
    fn byte(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// Steps over this byte, if it comes next.
    fn steps(&mut self, over: u8) -> bool {
        let is_there = self.byte() == Some(over);
        self.at += usize::from(is_there);
        is_there
    }

    fn value(&mut self, depth: usize) -> Result<(), NoDocument> {
        let (index, from) = (self.extents.len(), self.at);
        match self.byte().ok_or(NoDocument)? {
            b'"' => {
                self.string()?;
            }
            open @ (b'{' | b'[') if depth < DEPTH => {
                self.extents.push(Extent::default()); // before what is in it
                self.at += 1;
                self.space();
                match open {
                    b'{' => self.object(depth + 1)?,
                    _ => self.list(depth + 1)?,
                }
                let count = self.extents.len() - index;
                if let Some(value) = self.extents.get_mut(index) {
                    *value = Extent::holding(from..self.at, count);
                }
                return Ok(());
            }
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        }
        self.extents.push(Extent::holding(from..self.at, 1));
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), NoDocument> {
        if self.steps(b'}') {
            return Ok(());
        }
        let mut keys = Keys {
            first: self.keys.len(),
            seen: 0,
            many: None,
        };
        loop {
            self.key(&mut keys)?;
            self.space();
            if !self.steps(b':') {
                return Err(NoDocument);
            }
            self.space();
            self.value(depth)?;
            self.space();
            if self.steps(b'}') {
                self.keys.truncate(keys.first);
                return Ok(());
            }
            if !self.steps(b',') {
                return Err(NoDocument);
            }
            self.space();
        }
    }

    /// Reads a key of an object, which is none of those that it has.
    fn key(&mut self, keys: &mut Keys<'t>) -> Result<(), NoDocument> {
        let from = self.at;
        if self.byte() != Some(b'"') {
            return Err(NoDocument);
        }
        let is_escaped = self.string()?;
        let at = Extent::key(from..self.at, is_escaped);
        self.extents.push(at);
        let key = at.says(self.text)?;
        let bit = 1 << (marks(&key) % u64::BITS);
        let is_new = keys.seen & bit == 0 || !self.has(keys, &key);
        keys.seen |= bit;
        if let Some(many) = &mut keys.many {
            many.insert(key);
        } else {
            self.keys.push(key);
        }
        is_new.then_some(()).ok_or(NoDocument)
    }

    /// Whether a key is one of an object's.
    fn has(&self, keys: &mut Keys<'t>, key: &str) -> bool {
        if let Some(many) = &keys.many {
            return many.contains(key);
        }
        let known = self.keys.get(keys.first..).unwrap_or_default();
        if known.len() >= FEW {
            let many = keys.many.insert(known.iter().cloned().collect());
            return many.contains(key);
        }
        known.iter().any(|known| known == key)
    }

    fn list(&mut self, depth: usize) -> Result<(), NoDocument> {
        if self.steps(b']') {
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.space();
            if self.steps(b']') {
                return Ok(());
            }
            if !self.steps(b',') {
                return Err(NoDocument);
            }
            self.space();
        }
    }

    /// Steps over a string, with its quotes; whether anything in it is escaped.
    fn string(&mut self) -> Result<bool, NoDocument> {
        self.at += 1;
        let mut is_escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain = plain(rest).ok_or(NoDocument)?;
            self.at += plain + 1;
            match rest.get(plain) {
                Some(b'"') => return Ok(is_escaped),
                Some(b'\\') => self.escape()?,
                _ => return Err(NoDocument),
            }
            is_escaped = true;
        }
    }

    /// Steps over what comes after a backslash.
    fn escape(&mut self) -> Result<(), NoDocument> {
        let escaped = self.byte().ok_or(NoDocument)?;
        self.at += 1;
        match escaped {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => match self.unit()? {
                // One of a pair needs the other (UTF-16).
                0xd800..=0xdbff if self.steps(b'\\') && self.steps(b'u') => match self.unit()? {
                    0xdc00..=0xdfff => Ok(()),
                    _ => Err(NoDocument),
                },
                0xd800..=0xdfff => Err(NoDocument),
                _ => Ok(()),
            },
            _ => Err(NoDocument),
        }
    }

    fn unit(&mut self) -> Result<u16, NoDocument> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(NoDocument)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(NoDocument);
        }
        self.at += 4;
        u16::from_str_radix(digits, 16).map_err(|_| NoDocument)
    }

    fn number(&mut self) -> Result<(), NoDocument> {
        let from = self.at;
        self.steps(b'-');
        if !self.steps(b'0') {
            self.digits()?;
        }
        if self.steps(b'.') {
            self.digits()?;
        }
        let has_exponent = self.steps(b'e') || self.steps(b'E');
        if has_exponent {
            let _sign = self.steps(b'+') || self.steps(b'-');
            self.digits()?;
        }
        // What is beyond every number of a common reader is none to it.
        if has_exponent || self.at - from >= LONG_NUMBER {
            let written = self.text.get(from..self.at).unwrap_or_default();
            let read = written.parse::<f64>().map_err(|_| NoDocument)?;
            return read.is_finite().then_some(()).ok_or(NoDocument);
        }
        Ok(())
    }

    /// Steps over one digit or more.
    fn digits(&mut self) -> Result<(), NoDocument> {
        let from = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(()).ok_or(NoDocument)
    }

    fn word(&mut self, word: &[u8]) -> Result<(), NoDocument> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at += word.len();
        rest.starts_with(word).then_some(()).ok_or(NoDocument)
    }
}

/// A number in which most keys of an object differ.
fn marks(key: &str) -> u32 {
    let key = key.as_bytes();
    let ends = [key.first(), key.last()].map(|byte| u32::from(byte.copied().unwrap_or_default()));
    let length = u32::try_from(key.len()).unwrap_or_default();
    let [first, last] = ends;
    length.wrapping_mul(7) ^ first.wrapping_mul(5) ^ last
}
