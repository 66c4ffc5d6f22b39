use std::collections::HashMap;
use std::fmt;

use super::spelling::alike;
use crate::catalog::{BodyMember, FieldPath, Step};
use crate::refusal::{Code, Refusal};

/// A JSON document, read strictly: no repeated key means two things, and numbers stay as they were written.
///
/// It is a reader of its own because that is its whole point: a common reader keeps the last of repeated keys and brings
/// numbers to a machine's type, so what is checked would not be what is sent. Reading what it writes gives the same document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Flag(bool),
    /// A number, as written.
    Number(String),
    /// A string, escapes resolved.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object; keys are unique.
    Map(Vec<(String, Json)>),
}

/// Why bytes are not one JSON document.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotJson {
    /// They break off or go wrong at this byte, counted from 0.
    Syntax(usize),
    /// They are nested deeper than any request of the API.
    Depth,
    /// There are more values in them than in any request of the API.
    Many,
    /// A key has a control character in it, at which some readers end it.
    Key,
    /// This key is repeated with another value.
    Repeated(String),
}

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(at) => write!(
                f,
                "the body is not JSON: it goes wrong at byte {at}; send one JSON document in UTF-8"
            ),
            Self::Depth => write!(
                f,
                "the body is nested deeper than {DEPTH} levels; no request of the API is"
            ),
            Self::Many => write!(f, "the body has more than {MOST_VALUES} values; no request of the API has"),
            Self::Key => f.write_str("the body has a key with a control character in it, at which some readers end it; no key of the API has one"),
            Self::Repeated(key) => write!(
                f,
                "the body has the key `{key}` twice with different values; send one of them"
            ),
        }
    }
}

impl From<NotJson> for Refusal {
    fn from(error: NotJson) -> Self {
        let code = match error {
            NotJson::Repeated(_) | NotJson::Key => Code::AmbiguousRequest,
            NotJson::Syntax(_) | NotJson::Depth | NotJson::Many => Code::BodyUnreadable,
        };
        Self::new(code, error.to_string())
    }
}

/// A member of a body that can't be sent on, since nobody knows what it would do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unheard {
    /// Where it stands, as `forwarding_rules[].x`; cut where a key is longer than any.
    pub at: String,
    /// What is not known of it.
    pub why: Why,
}

/// What is not known of a member.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// That there is one.
    Unknown,
    /// That it may hold this: a text where an object is known, or a list where none is.
    OtherShape,
}

/// What is left of the way to a member, and what may stand at its end.
type RemainingPath<'k> = (&'k [Step], End);

#[derive(Clone, Copy, Eq, PartialEq)]
enum End {
    /// A value, or a list of them.
    Known,
    /// Anything.
    Free,
    /// What stays behind.
    LeftOut,
}

impl Unheard {
    fn new(at: &str, key: &str, lists: usize, why: Why) -> Self {
        Self {
            at: written_way(at, key, lists),
            why,
        }
    }
}

fn written_way(at: &str, key: &str, lists: usize) -> String {
    let dot = if at.is_empty() { "" } else { "." };
    let key = key.chars().take(LONGEST_KEY).collect();
    let step = FieldPath {
        steps: vec![Step { key, lists }],
    };
    format!("{at}{dot}{step}")
}

/// That a member is no list of texts, so that none can be added to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoList;

/// Letters of a key in a message; the reference has none as long.
const LONGEST_KEY: usize = 100;
/// So many members of an object are looked through for one that is repeated.
const FEW: usize = 32;
const DEPTH: usize = 64;
/// A value takes up to a hundred bytes of memory, however few it has in the body.
const MOST_VALUES: usize = 50_000;

impl Json {
    /// Reads a whole document.
    ///
    /// # Errors
    /// `NotJson`. A key repeated with an equal value is read as one: an official client sends such bodies.
    pub fn read(bytes: &[u8]) -> Result<Self, NotJson> {
        Self::read_with(bytes, Repeats::Equal)
    }

    /// The same, where nobody has a reason to repeat a key, be it with an equal value.
    ///
    /// # Errors
    /// `NotJson`.
    pub fn read_once(bytes: &[u8]) -> Result<Self, NotJson> {
        Self::read_with(bytes, Repeats::Never)
    }

    fn read_with(bytes: &[u8], repeats: Repeats) -> Result<Self, NotJson> {
        let mut reader = JsonReader {
            bytes,
            at: 0,
            values: 0,
            repeats,
        };
        let value = reader.value(0)?;
        reader.space();
        if reader.at < bytes.len() {
            return Err(NotJson::Syntax(reader.at));
        }
        Ok(value)
    }

    /// Writes the document in the one way that every reader reads alike.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out);
        out
    }

    fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Flag(true) => out.extend_from_slice(b"true"),
            Self::Flag(false) => out.extend_from_slice(b"false"),
            Self::Number(text) => out.extend_from_slice(text.as_bytes()),
            Self::Text(text) => write_text(text, out),
            Self::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write_to(out);
                }
                out.push(b']');
            }
            Self::Map(members) => {
                out.push(b'{');
                for (index, (key, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    write_text(key, out);
                    out.push(b':');
                    value.write_to(out);
                }
                out.push(b'}');
            }
        }
    }

    /// The value of a member.
    pub fn member(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(members) => members
                .iter()
                .find(|(known, _)| known == key)
                .map(|(_, value)| value),
            Self::Null | Self::Flag(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The keys of an object.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let members = match self {
            Self::Map(members) => members.as_slice(),
            Self::Null | Self::Flag(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => &[],
        };
        members.iter().map(|(key, _)| key.as_str())
    }

    /// Whether there is nothing in it: `null`, `""`, `[]` or `{}`. Clients send these for what they do not set.
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.is_empty(),
            Self::List(items) => items.is_empty(),
            Self::Map(members) => members.is_empty(),
            Self::Flag(_) | Self::Number(_) => false,
        }
    }

    /// A string or number as the text that names something by it: ids come as both.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Null | Self::Flag(_) | Self::List(_) | Self::Map(_) => None,
        }
    }

    /// The document with the members that are known, and without those that say nothing or mean nothing here.
    ///
    /// # Errors
    /// `Unheard`, the first member that is not known, or that holds something else than is known of it.
    pub fn only(&self, known: &[BodyMember], left_out: &[BodyMember]) -> Result<Self, Unheard> {
        let ends = |member: &BodyMember| if member.free { End::Free } else { End::Known };
        let known = known
            .iter()
            .map(|member| (member.path.steps.as_slice(), ends(member)));
        let left_out = left_out
            .iter()
            .map(|member| (member.path.steps.as_slice(), End::LeftOut));
        let members: Vec<RemainingPath<'_>> = known.chain(left_out).collect();
        self.sifted(&members, "")
    }

    fn sifted(&self, known: &[RemainingPath<'_>], at: &str) -> Result<Self, Unheard> {
        match self {
            Self::List(items) => {
                let items = items.iter().map(|item| item.sifted(known, at));
                items.collect::<Result<_, _>>().map(Self::List)
            }
            Self::Map(members) => {
                let mut kept = Vec::new();
                for (key, value) in members {
                    if let Some(value) = value.sifted_member(key, known, at)? {
                        kept.push((key.clone(), value));
                    }
                }
                Ok(Self::Map(kept))
            }
            Self::Null | Self::Flag(_) | Self::Number(_) | Self::Text(_) => Ok(self.clone()),
        }
    }

    /// The value of a member as it goes on; none where it stays behind.
    fn sifted_member(
        &self,
        key: &str,
        known: &[RemainingPath<'_>],
        at: &str,
    ) -> Result<Option<Self>, Unheard> {
        let here = known.iter().filter_map(|(steps, end)| {
            let (first, rest) = steps.split_first()?;
            (first.key == *key).then_some((first.lists, rest, *end))
        });
        let here: Vec<_> = here.collect();
        let ends_in = |wanted: End| {
            here.iter()
                .any(|(_, rest, end)| rest.is_empty() && *end == wanted)
        };
        if ends_in(End::Free) {
            return Ok(Some(self.clone()));
        }
        if ends_in(End::LeftOut) {
            return Ok(None);
        }
        let lists = here.iter().map(|(lists, ..)| *lists).max();
        let Some(lists) = lists else {
            return if self.is_nothing() {
                Ok(None)
            } else {
                Err(Unheard::new(at, key, self.lists(), Why::Unknown))
            };
        };
        // A text where only an object is known, or a list where none is, holds what nobody has looked into.
        let is_other = !ends_in(End::Known) && self.is_plain();
        if is_other || self.lists() > lists {
            return Err(Unheard::new(at, key, lists, Why::OtherShape));
        }
        let below: Vec<RemainingPath<'_>> =
            here.iter().map(|(_, rest, end)| (*rest, *end)).collect();
        let at = written_way(at, key, lists);
        self.sifted(&below, &at).map(Some)
    }

    /// How many levels of lists it is.
    fn lists(&self) -> usize {
        match self {
            Self::List(items) => 1 + items.iter().map(Self::lists).max().unwrap_or_default(),
            Self::Null | Self::Flag(_) | Self::Number(_) | Self::Text(_) | Self::Map(_) => 0,
        }
    }

    /// Whether it says something that is no object, be it in lists.
    fn is_plain(&self) -> bool {
        match self {
            Self::Flag(_) | Self::Number(_) | Self::Text(_) => true,
            Self::List(items) => items.iter().any(Self::is_plain),
            Self::Null | Self::Map(_) => false,
        }
    }

    /// Gives a member of an object another value.
    pub fn set(&mut self, key: &str, value: Self) {
        if let Self::Map(members) = self {
            match members.iter_mut().find(|(known, _)| known == key) {
                Some((_, held)) => *held = value,
                None => members.push((key.to_owned(), value)),
            }
        }
    }

    /// Gives a member below this another value; what is not there on the way is made.
    ///
    /// # Errors
    /// `NoList` where something else than an object stands on the way.
    pub fn put(&mut self, at: &FieldPath, value: Self) -> Result<(), NoList> {
        *self.place(at)? = value;
        Ok(())
    }

    /// Adds texts to a member below this that is a list of them, those that differ from all in it in more than case.
    ///
    /// # Errors
    /// `NoList` where something else than an object stands on the way, or the member is no list of texts.
    pub fn add_to_list(&mut self, at: &FieldPath, more: &[String]) -> Result<(), NoList> {
        let held = self.place(at)?;
        let mut items = match std::mem::replace(held, Self::Null) {
            Self::Null => Vec::new(),
            Self::List(items) if items.iter().all(|item| matches!(item, Self::Text(_))) => items,
            _ => return Err(NoList),
        };
        for text in more {
            let same = |item: &Self| {
                item.name()
                    .is_some_and(|item| item.to_lowercase() == text.to_lowercase())
            };
            if !items.iter().any(same) {
                items.push(Self::Text(text.clone()));
            }
        }
        *held = Self::List(items);
        Ok(())
    }

    /// The one place that a path leads to, made where it is not there: lists on the way have several.
    fn place(&mut self, at: &FieldPath) -> Result<&mut Self, NoList> {
        let (_, way) = at.steps.split_last().ok_or(NoList)?;
        if way.iter().any(|step| step.lists > 0) {
            return Err(NoList);
        }
        at.steps.iter().try_fold(self, |here, step| {
            if matches!(here, Self::Null) {
                *here = Self::Map(Vec::new());
            }
            let Self::Map(members) = here else {
                return Err(NoList);
            };
            let known = members.iter().position(|(key, _)| *key == step.key);
            let index = known.unwrap_or(members.len());
            if known.is_none() {
                members.push((step.key.clone(), Self::Null));
            }
            members.get_mut(index).map(|(_, held)| held).ok_or(NoList)
        })
    }

    /// Everything that stands at `path`. A list on the way is gone into wherever it is found, whether the path says so or
    /// not: a field is not less used for being wrapped.
    pub fn at<'j>(&'j self, path: &FieldPath) -> Vec<&'j Self> {
        path.steps.iter().fold(vec![self], |here, step| {
            here.into_iter()
                .flat_map(|value| value.below(step))
                .collect()
        })
    }

    fn below<'j>(&'j self, step: &Step) -> Vec<&'j Self> {
        let found = match self {
            Self::List(items) => items.iter().flat_map(|item| item.below(step)).collect(),
            Self::Map(_) | Self::Null | Self::Flag(_) | Self::Number(_) | Self::Text(_) => {
                self.member(&step.key).into_iter().collect()
            }
        };
        (0..step.lists).fold(found, |values: Vec<&Self>, _| {
            values.into_iter().flat_map(Self::spread).collect()
        })
    }

    /// Shows everything that stands at `path`, lists gone into as [`Json::at`] does, with where it stands and whether that is an
    /// item of a list. Items of lists on the way that hold nothing are shown too.
    pub fn each<'j>(
        &'j self,
        path: &FieldPath,
        place: &str,
        show: &mut impl FnMut(&str, &'j Self, bool),
    ) {
        self.each_below(&path.steps, place, 0, false, show);
    }

    fn each_below<'j>(
        &'j self,
        steps: &[Step],
        place: &str,
        lists: usize,
        in_list: bool,
        show: &mut impl FnMut(&str, &'j Self, bool),
    ) {
        match (self, steps.split_first()) {
            (Self::List(items), rest) if rest.is_some() || lists > 0 => {
                for (index, item) in items.iter().enumerate() {
                    let place = format!("{place}[{index}]");
                    let lists = lists.saturating_sub(1);
                    item.each_below(steps, &place, lists, true, show);
                }
            }
            (_, None) => show(place, self, in_list),
            (_, Some(_)) if in_list && self.is_nothing() => show(place, self, in_list),
            (_, Some((step, rest))) => {
                if let Some(value) = self.member(&step.key) {
                    let place = format!("{place}.{}", step.key);
                    value.each_below(rest, &place, step.lists, false, show);
                }
            }
        }
    }

    /// The same, to change what stands there.
    pub(super) fn each_mut(&mut self, steps: &[Step], change: &mut impl FnMut(&mut Self)) {
        self.each_mut_below(steps, 0, change);
    }

    fn each_mut_below(&mut self, steps: &[Step], lists: usize, change: &mut impl FnMut(&mut Self)) {
        match (self, steps.split_first()) {
            (Self::List(items), rest) if rest.is_some() || lists > 0 => {
                for item in items {
                    item.each_mut_below(steps, lists.saturating_sub(1), change);
                }
            }
            (value, None) => change(value),
            (value, Some((step, rest))) => {
                if let Some(value) = value.member_mut(&step.key) {
                    value.each_mut_below(rest, step.lists, change);
                }
            }
        }
    }

    /// The value of a member, to change it.
    pub(super) fn member_mut(&mut self, key: &str) -> Option<&mut Self> {
        match self {
            Self::Map(members) => members
                .iter_mut()
                .find(|(known, _)| known == key)
                .map(|(_, value)| value),
            Self::Null | Self::Flag(_) | Self::Number(_) | Self::Text(_) | Self::List(_) => None,
        }
    }

    fn spread(&self) -> Vec<&Self> {
        match self {
            Self::List(items) => items.iter().collect(),
            Self::Null | Self::Flag(_) | Self::Number(_) | Self::Text(_) | Self::Map(_) => {
                vec![self]
            }
        }
    }

    /// A key on the way of `path` that differs from the path's own only in how it is spelled, anywhere in the document that
    /// the path leads to. Go's reader takes either case, protojson also `camelCase`, and Rails `tags[]` for `tags`.
    pub(super) fn disguised(&self, path: &FieldPath) -> Option<&str> {
        let mut here = vec![self];
        for step in &path.steps {
            let disguised = here.iter().find_map(|value| value.key_like(&step.key));
            if disguised.is_some() {
                return disguised;
            }
            here = here
                .into_iter()
                .flat_map(|value| value.below(step))
                .collect();
        }
        None
    }

    fn key_like(&self, key: &str) -> Option<&str> {
        match self {
            Self::Map(members) => members
                .iter()
                .map(|(known, _)| known.as_str())
                .find(|known| *known != key && alike(known, key)),
            Self::List(items) => items.iter().find_map(|item| item.key_like(key)),
            Self::Null | Self::Flag(_) | Self::Number(_) | Self::Text(_) => None,
        }
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            other => out.push(other),
        }
    }
    out.push(b'"');
}

struct JsonReader<'b> {
    bytes: &'b [u8],
    at: usize,
    values: usize,
    repeats: Repeats,
}

/// When a key may stand in an object twice.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Repeats {
    /// With an equal value.
    Equal,
    Never,
}

impl JsonReader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn wrong<T>(&self) -> Result<T, NotJson> {
        Err(NotJson::Syntax(self.at))
    }

    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.peek() != Some(byte) {
            return self.wrong();
        }
        self.at += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Json, NotJson> {
        if depth > DEPTH {
            return Err(NotJson::Depth);
        }
        self.values += 1;
        if self.values > MOST_VALUES {
            return Err(NotJson::Many);
        }
        self.space();
        match self.peek() {
            Some(b'{') => self.map(depth),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.text().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true", Json::Flag(true)),
            Some(b'f') => self.word(b"false", Json::Flag(false)),
            Some(b'n') => self.word(b"null", Json::Null),
            Some(_) | None => self.wrong(),
        }
    }

    fn word(&mut self, word: &[u8], value: Json) -> Result<Json, NotJson> {
        if self.bytes.get(self.at..self.at + word.len()) != Some(word) {
            return self.wrong();
        }
        self.at += word.len();
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, NotJson> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self
            .bytes
            .get(start..self.at)
            .and_then(|bytes| str::from_utf8(bytes).ok());
        text.map_or_else(|| self.wrong(), |text| Ok(Json::Number(text.to_owned())))
    }

    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start {
            self.wrong()
        } else {
            Ok(())
        }
    }

    fn text(&mut self) -> Result<String, NotJson> {
        self.expect(b'"')?;
        let mut text = Vec::new();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let stands_for_more = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            let plain = rest.iter().position(stands_for_more);
            let (plain, _) = rest.split_at(plain.unwrap_or(rest.len()));
            text.extend_from_slice(plain);
            self.at += plain.len();
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    let letter = self.escape()?;
                    text.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) | None => return self.wrong(),
            }
        }
        let text = String::from_utf8(text).map_err(|_| NotJson::Syntax(self.at))?;
        self.at += 1;
        Ok(text)
    }

    fn escape(&mut self) -> Result<char, NotJson> {
        let letter = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            Some(_) | None => return self.wrong(),
        };
        self.at += 1;
        Ok(letter)
    }

    /// `\uXXXX`, or two of them for a character beyond the first 65,536. Half a pair is no character.
    fn unicode(&mut self) -> Result<char, NotJson> {
        let first = self.four_digits()?;
        let code = match first {
            0xD800..0xDC00 => {
                self.expect(b'\\')?;
                let second = self.four_digits()?;
                if !(0xDC00..0xE000).contains(&second) {
                    return self.wrong();
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            other => other,
        };
        char::from_u32(code).map_or_else(|| self.wrong(), Ok)
    }

    fn four_digits(&mut self) -> Result<u32, NotJson> {
        self.expect(b'u')?;
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return self.wrong();
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }

    fn list(&mut self, depth: usize) -> Result<Json, NotJson> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.more(b']')? {
                return Ok(Json::List(items));
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Json, NotJson> {
        self.at += 1;
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new(); // most have few, and those are looked through
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Map(members));
        }
        loop {
            self.space();
            let key = self.text()?;
            if key.chars().any(char::is_control) {
                return Err(NotJson::Key);
            }
            self.space();
            self.expect(b':')?;
            let value = self.value(depth + 1)?;
            let index = if members.len() < FEW {
                members.iter().position(|(known, _)| *known == key)
            } else {
                if seen.is_empty() {
                    let known = members.iter().enumerate();
                    seen.extend(known.map(|(index, (key, _))| (key.clone(), index)));
                }
                seen.get(&key).copied()
            };
            match index.and_then(|index| members.get(index)) {
                Some((_, first)) if self.repeats == Repeats::Equal && *first == value => {}
                Some(_) => return Err(NotJson::Repeated(key)),
                None => {
                    if members.len() >= FEW {
                        seen.insert(key.clone(), members.len());
                    }
                    members.push((key, value));
                }
            }
            if !self.more(b'}')? {
                return Ok(Json::Map(members));
            }
        }
    }

    fn more(&mut self, end: u8) -> Result<bool, NotJson> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            Some(_) | None => self.wrong(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> Result<String, NotJson> {
        Json::read(text.as_bytes()).map(|json| String::from_utf8(json.write()).unwrap())
    }

    #[test]
    fn a_key_that_comes_again_is_seen_among_many_as_among_few() {
        for count in [1, FEW - 1, FEW, FEW + 1, 3 * FEW] {
            let members: Vec<_> = (0..count)
                .map(|number| format!("\"k{number}\":{number}"))
                .collect();
            let members = members.join(",");
            for again in [0, count / 2, count - 1] {
                let with = |value: usize| format!("{{{members},\"k{again}\":{value}}}");
                assert_eq!(
                    written(&with(again)),
                    Ok(format!("{{{members}}}")),
                    "{again} of {count}"
                );
                let repeated = NotJson::Repeated(format!("k{again}"));
                assert_eq!(written(&with(count)), Err(repeated), "{again} of {count}");
            }
        }
    }

    #[test]
    fn what_is_read_is_written_in_one_way() {
        let cases = [
            (" { \"a\" : 1 , \"b\":[ ] } ", r#"{"a":1,"b":[]}"#),
            (r#"{"a":1,"a":1}"#, r#"{"a":1}"#), // dots repeats keys with equal values
            (
                r#"{"id":12345678901234567890123}"#,
                r#"{"id":12345678901234567890123}"#,
            ),
            (r#"{"n":1.10,"e":-0E+5}"#, r#"{"n":1.10,"e":-0E+5}"#),
            (r#""\u0041\/\n\ud83d\ude00""#, "\"A/\\u000a😀\""),
            ("null", "null"),
        ];
        for (text, expected) in cases {
            assert_eq!(written(text), Ok(expected.to_owned()), "text {text:?}");
        }
    }

    #[test]
    fn what_readers_would_read_differently_is_refused() {
        let cases = [
            (r#"{"a":1,"a":2}"#, NotJson::Repeated("a".into())),
            (r#"{"a":1,"\u0061":2}"#, NotJson::Repeated("a".into())),
            (r#"{"a":1,"a":1.0}"#, NotJson::Repeated("a".into())),
            ("", NotJson::Syntax(0)),
            ("{} {}", NotJson::Syntax(3)),
            ("{\"a\":1,}", NotJson::Syntax(7)),
            ("[1,]", NotJson::Syntax(3)),
            ("{'a':1}", NotJson::Syntax(1)),
            ("01", NotJson::Syntax(1)),
            ("1.", NotJson::Syntax(2)),
            ("+1", NotJson::Syntax(0)),
            ("NaN", NotJson::Syntax(0)),
            ("nul", NotJson::Syntax(0)),
            ("\"a\nb\"", NotJson::Syntax(2)),
            (r#""\ud800""#, NotJson::Syntax(7)),
            (r#""\udc00""#, NotJson::Syntax(7)),
            (r#""\x41""#, NotJson::Syntax(2)),
            ("\u{feff}{}", NotJson::Syntax(0)),
            ("// x\n1", NotJson::Syntax(0)),
            (r#"{"a\u0000":1}"#, NotJson::Key),
        ];
        for (text, error) in cases {
            assert_eq!(written(text), Err(error), "text {text:?}");
        }
        assert_eq!(Json::read(b"\"\xff\""), Err(NotJson::Syntax(2)));
        assert_eq!(written(&"[".repeat(1000)), Err(NotJson::Depth));
        assert_eq!(
            written(&format!("[{}0]", "0,".repeat(MOST_VALUES))),
            Err(NotJson::Many)
        );
    }

    fn members(paths: &[&str]) -> Vec<BodyMember> {
        let member = |path: &&str| {
            let inner = path.strip_suffix(".*");
            BodyMember {
                path: inner.unwrap_or(path).parse().unwrap(),
                free: inner.is_some(),
            }
        };
        paths.iter().map(member).collect()
    }

    #[test]
    fn what_is_known_goes_on_and_what_is_not_is_told() {
        let known = members(&[
            "name",
            "spec.name",
            "spec.envs[].*",
            "ids[]",
            "config.\"pg.role\"",
            "taints[].Key",
        ]);
        let left_out = members(&["timeout", "spec.domains[].status"]);
        let cases = [
            (r#"{"name":"a"}"#, Ok(r#"{"name":"a"}"#)),
            (r#"{"name":null,"ids":[]}"#, Ok(r#"{"name":null,"ids":[]}"#)), // known, so it goes as it is
            (
                r#"{"name":"a","other":null,"x":"","y":[],"z":{}}"#,
                Ok(r#"{"name":"a"}"#),
            ), // what says nothing
            (r#"{"timeout":30,"name":"a"}"#, Ok(r#"{"name":"a"}"#)),        // what means nothing
            (
                r#"{"spec":{"domains":[{"status":"ok"}]}}"#,
                Ok(r#"{"spec":{"domains":[{}]}}"#),
            ),
            (
                r#"{"spec":{"envs":[{"key":"K"}]}}"#,
                Ok(r#"{"spec":{"envs":[{"key":"K"}]}}"#),
            ), // anything goes there
            (r#"{"ids":["1",2]}"#, Ok(r#"{"ids":["1",2]}"#)),
            (r#"{"ids":"1"}"#, Ok(r#"{"ids":"1"}"#)), // one for a list of one
            (
                r#"{"config":{"pg.role":"r"}}"#,
                Ok(r#"{"config":{"pg.role":"r"}}"#),
            ),
            (
                r#"{"taints":[{"Key":"k"}]}"#,
                Ok(r#"{"taints":[{"Key":"k"}]}"#),
            ),
            (r#"{"spec":null}"#, Ok(r#"{"spec":null}"#)), // nothing is said
            (r#"{"other":false}"#, Err("other")),         // false is a value
            (r#"{"other":0}"#, Err("other")),             // and so is 0
            (r#"{"other":{"x":null}}"#, Err("other")),    // there is something in it
            (r#"{"other":[1]}"#, Err("other[]")),
            (r#"{"Name":"a"}"#, Err("Name")),
            (r#"{"spec":{"name":"a","other":1}}"#, Err("spec.other")),
            (r#"{"taints":[{"key":"k"}]}"#, Err("taints[].key")),
            (r#"{"taints":[{},{"a.b":"k"}]}"#, Err("taints[].\"a.b\"")),
            (r#"{"config":{"pg":{"role":"r"}}}"#, Err("config.pg")),
            (r#"{"name":{"x":1}}"#, Err("name.x")), // an object where a text is known
            (r#"{"name":"a","spec":"name: b"}"#, Err("spec")), // a document in a text
            (r#"{"spec":["name: b"]}"#, Err("spec")), // in a list, too
            (r#"{"spec":[{"name":"b"}]}"#, Err("spec")), // a list where none is known
            (r#"{"ids":[["1"]]}"#, Err("ids[]")),   // and one in another
        ];
        for (text, expected) in cases {
            let json = Json::read(text.as_bytes()).unwrap();
            let kept = json.only(&known, &left_out);
            let kept = kept.map(|kept| String::from_utf8(kept.write()).unwrap());
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(kept.map_err(|unheard| unheard.at), expected, "{text}");
        }
    }

    #[test]
    fn a_path_finds_what_is_wrapped_and_what_is_disguised() {
        let json = Json::read(
            br#"{"rules":[{"sources":{"tags":["a","b"]}},[{"sources":{"tags":["c"]}}]],"Image":1}"#,
        )
        .unwrap();
        let names: Vec<_> = json
            .at(&"rules[].sources.tags[]".parse().unwrap())
            .into_iter()
            .filter_map(Json::name)
            .collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(json.disguised(&"image".parse().unwrap()), Some("Image"));
        assert_eq!(json.disguised(&"rules".parse().unwrap()), None);
        let kelvin = Json::read("{\"ssh_\u{212a}eys\":[]}".as_bytes()).unwrap();
        assert!(
            kelvin.disguised(&"ssh_keys".parse().unwrap()).is_some(),
            "Go folds the Kelvin sign to k"
        );
    }

    /// What ends somewhere in a document, by the way there: `spec.envs[0].key`.
    fn ends(json: &Json, at: &str, found: &mut Vec<(String, Json)>) {
        match json {
            Json::List(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    ends(item, &format!("{at}[{index}]"), found);
                }
            }
            Json::Map(members) if !members.is_empty() => {
                for (key, value) in members {
                    ends(value, &format!("{at}.{key}"), found);
                }
            }
            end => found.push((at.to_owned(), end.clone())),
        }
    }

    fn without_numbers(way: &str) -> String {
        let way: String = way
            .trim_start_matches('.')
            .chars()
            .filter(|letter| !letter.is_ascii_digit())
            .collect();
        way.replace("[]", "")
    }

    fn drawn() -> impl Strategy<Value = Json> {
        let end = prop_oneof![
            Just(Json::Null),
            Just(Json::Flag(false)),
            Just(Json::Number("0".to_owned())),
            Just(Json::Text(String::new())),
            Just(Json::Text("t".to_owned())),
        ];
        let key = prop::sample::select(vec![
            "name", "Name", "spec", "envs", "ids", "timeout", "key", "surprise",
        ]);
        let value = end.prop_recursive(3, 16, 3, move |inner| {
            let members = prop::collection::btree_map(key.clone(), inner.clone(), 0..3);
            prop_oneof![
                prop::collection::vec(inner, 0..3).prop_map(Json::List),
                members.prop_map(as_map),
            ]
        });
        let keys = prop::sample::select(vec!["name", "spec", "ids", "timeout", "surprise"]);
        prop::collection::btree_map(keys, value, 0..4).prop_map(as_map)
    }

    fn as_map(members: std::collections::BTreeMap<&str, Json>) -> Json {
        let members = members.into_iter();
        Json::Map(
            members
                .map(|(key, value)| (key.to_owned(), value))
                .collect(),
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_panic_and_a_common_reader_agrees(text in "[\\[\\]{}\",:0-9.eE+tfn\\\\u a-f-]{0,24}|\\PC{0,24}") {
            if let Ok(json) = Json::read(text.as_bytes()) {
                let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
                let ours: serde_json::Value = serde_json::from_slice(&json.write()).unwrap();
                prop_assert_eq!(ours, theirs);
                prop_assert_eq!(Json::read(&json.write()).unwrap(), json);
            }
        }

        /// Nothing is left out but what says nothing or means nothing, nothing is added, and nothing goes on that is not known.
        #[test]
        fn what_goes_on_is_what_was_asked(json in drawn()) {
            let known = members(&["name", "spec.name", "spec.envs[].*", "ids[]"]);
            let left_out = members(&["timeout", "spec.timeout"]);
            let Ok(kept) = json.only(&known, &left_out) else {
                return Ok(());
            };
            let (mut asked, mut goes) = (Vec::new(), Vec::new());
            ends(&json, "", &mut asked);
            ends(&kept, "", &mut goes);
            let is_known = |way: &str| {
                ["name", "spec.name", "ids", "spec", ""].contains(&way) || way.starts_with("spec.envs")
            };
            for (way, value) in &goes {
                prop_assert!(asked.contains(&(way.clone(), value.clone())) || value.is_nothing());
                prop_assert!(is_known(&without_numbers(way)), "{way}");
            }
            for (way, value) in asked.iter().filter(|(_, value)| !value.is_nothing()) {
                let means_nothing = without_numbers(way).trim_start_matches("spec.").starts_with("timeout");
                prop_assert!(means_nothing || goes.contains(&(way.clone(), value.clone())), "{way}");
            }
            prop_assert_eq!(kept.only(&known, &left_out), Ok(kept));
        }
    }
}
