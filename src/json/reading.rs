//! The one pass over a document: whether it is one, and where in it everything stands.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{NoDocument, Value};

/// Goes over a text that is one value, and tells of each value in it where it stands: of an object its keys and values in turns.
///
/// # Errors
/// `NoDocument` where it is not JSON (RFC 8259), where a key stands in one object twice, or it is nested deeper than anything
/// of the API.
pub(super) fn values(text: &str) -> Result<Vec<Value>, NoDocument> {
    // Places are kept in four bytes.
    u32::try_from(text.len()).map_err(|_| NoDocument)?;
    let mut reading = Reading {
        text,
        bytes: text.as_bytes(),
        at: 0,
        values: Vec::with_capacity(text.len() / BYTES_EACH),
        keys: Vec::new(),
    };
    reading.space();
    reading.value(0)?;
    reading.space();
    let is_all = reading.at == text.len();
    is_all.then_some(reading.values).ok_or(NoDocument)
}

/// The bytes that one value, or one key, of the API's answers has at least on the whole.
const BYTES_EACH: usize = 12;
/// Levels of objects and lists in one another.
const DEPTH: usize = 127;
/// So many keys of an object are looked through for one that is repeated; of more a table is made.
const FEW: usize = 32;
/// A number with fewer letters, none of them an exponent, is none too large for a reader's 64 bits of floating point.
const LONG_NUMBER: usize = 300;

struct Reading<'t> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    values: Vec<Value>,
    /// The keys of the objects that are open, those of one after those of the one around it.
    keys: Vec<Cow<'t, str>>,
}

impl<'t> Reading<'t> {
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
        let (index, from) = (self.values.len(), self.at);
        self.values.push(Value::default()); // before what is in it
        match self.byte().ok_or(NoDocument)? {
            b'"' => self.string()?,
            b'{' => self.object(depth + 1)?,
            b'[' => self.list(depth + 1)?,
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        }
        let count = self.values.len() - index;
        if let Some(value) = self.values.get_mut(index) {
            *value = Value::new(from..self.at, count);
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), NoDocument> {
        if depth > DEPTH {
            return Err(NoDocument);
        }
        self.at += 1;
        self.space();
        if self.steps(b'}') {
            return Ok(());
        }
        let first = self.keys.len();
        let mut many = HashSet::new();
        loop {
            self.key(first, &mut many)?;
            self.space();
            if !self.steps(b':') {
                return Err(NoDocument);
            }
            self.space();
            self.value(depth)?;
            self.space();
            if self.steps(b'}') {
                self.keys.truncate(first);
                return Ok(());
            }
            if !self.steps(b',') {
                return Err(NoDocument);
            }
            self.space();
        }
    }

    /// Reads a key of the object whose keys begin with this one of those that are known.
    fn key(&mut self, first: usize, many: &mut HashSet<Cow<'t, str>>) -> Result<(), NoDocument> {
        let from = self.at;
        if self.byte() != Some(b'"') {
            return Err(NoDocument);
        }
        self.string()?;
        self.values.push(Value::new(from..self.at, 1));
        let key = unquoted(self.text.get(from..self.at).unwrap_or_default())?;
        let known = self.keys.get(first..).unwrap_or_default();
        let is_new = if known.len() < FEW {
            !known.contains(&key)
        } else {
            if many.is_empty() {
                many.extend(known.iter().cloned());
            }
            many.insert(key.clone())
        };
        if known.len() < FEW {
            self.keys.push(key);
        }
        is_new.then_some(()).ok_or(NoDocument)
    }

    fn list(&mut self, depth: usize) -> Result<(), NoDocument> {
        if depth > DEPTH {
            return Err(NoDocument);
        }
        self.at += 1;
        self.space();
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

    /// Steps over a string, with its quotes.
    fn string(&mut self) -> Result<(), NoDocument> {
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
            let plain = rest.iter().position(stops).ok_or(NoDocument)?;
            self.at += plain + 1;
            match rest.get(plain) {
                Some(b'"') => return Ok(()),
                Some(b'\\') => self.escape()?,
                _ => return Err(NoDocument),
            }
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

/// What a string says, given with its quotes: in the document's own bytes where nothing in it is escaped.
pub(super) fn unquoted(quoted: &str) -> Result<Cow<'_, str>, NoDocument> {
    let plain = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let plain = plain.ok_or(NoDocument)?;
    if !plain.as_bytes().contains(&b'\\') {
        return Ok(Cow::Borrowed(plain));
    }
    let read = serde_json::from_str(quoted).map_err(|_| NoDocument)?;
    Ok(Cow::Owned(read))
}
