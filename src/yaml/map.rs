use std::any::Any;
use std::fmt;
use std::net::AddrParseError;
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;

use super::tree::{At, Entry, Node, Value};
use crate::secret::redacted;

/// What is wrong with one file, collected so that all of it can be told at once.
#[derive(Debug)]
pub struct Mistakes {
    file: String,
    found: Vec<(At, String)>,
}

impl Mistakes {
    /// Begins a collection for the file of that name, as messages will call it.
    pub fn new(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            found: Vec::new(),
        }
    }

    /// Adds one: what, why, and what to write instead. It stays one line, whatever it quotes of the file.
    pub fn add(&mut self, at: At, what: impl Into<String>) {
        let mut line = String::new();
        for letter in what.into().chars() {
            if letter.is_control() {
                line.extend(letter.escape_default());
            } else {
                line.push(letter);
            }
        }
        self.found.push((at, line));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The file they are in.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file, and each with its place, in the order of the file.
    pub fn into_parts(mut self) -> (String, Vec<(At, String)>) {
        self.found.sort_by_key(|(at, _)| *at);
        (self.file, self.found)
    }

    /// Each as `file:line:column: what`, in the order of the file.
    pub fn into_lines(self) -> Vec<String> {
        let (file, found) = self.into_parts();
        found
            .iter()
            .map(|(at, what)| format!("{file}:{at}: {what}"))
            .collect()
    }
}

/// A mapping that is being read: what nobody takes is unknown, and said so.
#[derive(Debug)]
pub struct Map<'n> {
    at: At,
    entries: Vec<(&'n Entry, bool)>,
    known: Vec<&'static str>,
}

impl<'n> Map<'n> {
    /// Takes `node` as a mapping; anything else is a mistake.
    pub fn of(node: &'n Node, what: &str, mistakes: &mut Mistakes) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self {
                at: node.at,
                entries: entries.iter().map(|entry| (entry, false)).collect(),
                known: Vec::new(),
            }),
            Value::Scalar { .. } | Value::List(_) => {
                mistakes.add(
                    node.at,
                    format!("{what} is a mapping of keys to values, not {}", node.noun()),
                );
                None
            }
        }
    }

    /// Where the mapping begins.
    pub fn at(&self) -> At {
        self.at
    }

    /// The value of `key`, if it was written; from then on the key is a known one.
    pub fn take(&mut self, key: &'static str) -> Option<&'n Node> {
        self.known.push(key);
        let (entry, taken) = self
            .entries
            .iter_mut()
            .find(|(entry, _)| entry.key == key)?;
        *taken = true;
        Some(&entry.node)
    }

    /// The value of `key`, whose absence is a mistake.
    pub fn need(&mut self, key: &'static str, mistakes: &mut Mistakes) -> Option<&'n Node> {
        let found = self.take(key);
        if found.is_none() {
            mistakes.add(
                self.at,
                format!("`{key}` is missing here; it must be given"),
            );
        }
        found
    }

    /// Ends the reading: every key that was not taken is a mistake.
    pub fn finish(self, mistakes: &mut Mistakes) {
        for (entry, _) in self.entries.iter().filter(|(_, taken)| !taken) {
            let known = self.known.iter().copied();
            mistakes.add(
                entry.at,
                format!(
                    "unknown key `{}`; {}",
                    entry.key,
                    instead(&entry.key, known)
                ),
            );
        }
    }
}

/// What somebody wrote, for a message about it: short, and without what may be secret in it.
fn quoted(text: &str) -> String {
    const MOST: usize = 80;
    let mut clean = redacted(text);
    if let Some((before, host)) = clean.split_once("://").and_then(|(scheme, rest)| {
        let (_, host) = rest.split_once('@')?;
        Some((format!("{scheme}://…@"), host.to_owned()))
    }) {
        clean = before + &host;
    }
    match clean.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", clean.get(..end).unwrap_or_default()),
        None => clean,
    }
}

/// `did you mean …` for a near miss, or else the words that would do.
fn instead<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(word, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!(
            "known here: {}",
            known
                .map(|key| format!("`{key}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ),
    }
}

/// The known word nearest to a mistyped one, if any is near enough to be meant.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near_enough = 1 + word.chars().count() / 4;
    known
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= near_enough)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

impl Node {
    /// The entries of a mapping with any keys (names of roles, of accounts), each key with its place.
    pub fn entries(&self, what: &str, mistakes: &mut Mistakes) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Scalar { .. } | Value::List(_) => {
                mistakes.add(
                    self.at,
                    format!(
                        "{what} is a mapping of names to values, not {}",
                        self.noun()
                    ),
                );
                &[]
            }
        }
    }

    /// The items of a list.
    pub fn items(&self, what: &str, mistakes: &mut Mistakes) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar { .. } | Value::Map(_) => {
                mistakes.add(
                    self.at,
                    format!("{what} is a list, not {}; write `[…]`", self.noun()),
                );
                &[]
            }
        }
    }

    /// The items of a list, or the one value that stands where a list may.
    pub fn one_or_more(&self) -> &[Node] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar { .. } | Value::Map(_) => std::slice::from_ref(self),
        }
    }

    /// The scalar as a text. Null is none.
    pub fn text(&self, what: &str, mistakes: &mut Mistakes) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } if !self.is_null() => Some(text),
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => {
                mistakes.add(self.at, format!("{what} is a text, not {}", self.noun()));
                None
            }
        }
    }

    /// The scalar as a `T`, whose own parser says what is wrong.
    pub fn parsed<T>(&self, what: &str, mistakes: &mut Mistakes) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display + 'static,
    {
        let text = self.text(what, mistakes)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let text = quoted(text);
                let why = in_words(&error).map_or_else(|| error.to_string(), str::to_owned);
                mistakes.add(self.at, format!("{what} can't be `{text}`: {why}"));
                None
            }
        }
    }

    /// The scalar as `true` or `false`, unquoted, in exactly these words: `yes` and `on` mean different things to different readers.
    pub fn flag(&self, what: &str, mistakes: &mut Mistakes) -> Option<bool> {
        match &self.value {
            Value::Scalar {
                text,
                quoted: false,
            } if text == "true" => Some(true),
            Value::Scalar {
                text,
                quoted: false,
            } if text == "false" => Some(false),
            Value::Scalar { text, .. } if !self.is_null() => {
                let text = quoted(text);
                let why = "it is `true` or `false`, without quotes";
                mistakes.add(self.at, format!("{what} can't be `{text}`: {why}"));
                None
            }
            Value::Scalar { .. } | Value::List(_) | Value::Map(_) => {
                let noun = self.noun();
                mistakes.add(self.at, format!("{what} is `true` or `false`, not {noun}"));
                None
            }
        }
    }
}

/// What a text must be, where the library's own words are for programmers.
fn in_words(error: &dyn Any) -> Option<&'static str> {
    if error.is::<AddrParseError>() {
        return Some("it is an IP address and a port, `[::1]:8080` too");
    }
    if error.is::<jiff::Error>() {
        return Some("it is written as `2027-01-31T00:00:00Z`");
    }
    let number = error.downcast_ref::<ParseIntError>()?;
    Some(match number.kind() {
        IntErrorKind::Zero => "it is at least 1; leave it out where nothing is meant",
        IntErrorKind::PosOverflow => "it is too large",
        _ => "it is a whole number, in digits",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_quoted_without_its_secrets() {
        let long = "x".repeat(200);
        let cases = [
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("tdg_v1_4fZ0aB9cD8eF_0123", "tdg_v1_…"),
            ("http://me:word@example.com/", "http://…@example.com/"),
            (long.as_str(), &format!("{}…", "x".repeat(80))),
        ];
        for (text, expected) in cases {
            assert_eq!(quoted(text), expected, "text {text:?}");
        }
    }

    #[test]
    fn a_mistake_is_one_line_whatever_it_quotes() {
        let mut mistakes = Mistakes::new("f.yaml");
        let at = At { line: 1, column: 2 };
        mistakes.add(at, "`a\nb\u{1b}[2J` is no name; `ä` is");
        let line = r"f.yaml:1:2: `a\nb\u{1b}[2J` is no name; `ä` is";
        assert_eq!(mistakes.into_lines(), [line]);
    }
}
