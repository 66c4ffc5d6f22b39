//! How a server may read what a client wrote: strictly, or with one of the habits that real ones have.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::kinds::{Form, Kind};
use super::rng::Rng;
use super::world::{Key, World, child, text};

/// The habits of one server. Each weakens one thing; `strict` has none.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a habit by itself")]
pub struct Reading {
    /// Digits with something behind or before them are a number, and so is any JSON number without a fraction.
    pub digits: bool,
    /// Any spelling of a UUID is it.
    pub uuids: bool,
    /// Spaces around a name are none, nor are invisible characters.
    pub trimmed: bool,
    /// Letters are letters, large or small.
    pub caseless: bool,
    /// A name ends at a NUL, and at what is no part of one (`;`, a line feed, a final dot or slash).
    pub ends: bool,
    /// A list of nothing is an empty one, and a text of nothing leaves the choice to the server.
    pub nothing: bool,
    /// Of a repeated key the first counts.
    pub first_key: bool,
    /// One text may name several things, and a list within a list is one list.
    pub several: bool,
    /// A member is meant however its name is written, and may stand in the query.
    pub members: bool,
    /// Members that the reference does not have do what they say.
    pub unknown: bool,
    /// Some answers are not as the reference has them.
    pub answers: bool,
}

pub const HABITS: [&str; 10] = [
    "digits",
    "uuids",
    "trimmed",
    "caseless",
    "ends",
    "nothing",
    "first_key",
    "several",
    "members",
    "unknown",
];

impl Reading {
    /// A server with some of the habits; of those in `off` none.
    pub fn draw(rng: &mut Rng, off: &[&str]) -> Self {
        let mut reading = Self::default();
        let many = rng.chance(50);
        for habit in HABITS {
            if rng.chance(if many { 80 } else { 25 }) && !off.contains(&habit) {
                *reading.habit(habit) = true;
            }
        }
        reading
    }

    fn habit(&mut self, name: &str) -> &mut bool {
        match name {
            "digits" => &mut self.digits,
            "uuids" => &mut self.uuids,
            "trimmed" => &mut self.trimmed,
            "caseless" => &mut self.caseless,
            "ends" => &mut self.ends,
            "nothing" => &mut self.nothing,
            "first_key" => &mut self.first_key,
            "several" => &mut self.several,
            "members" => &mut self.members,
            "unknown" => &mut self.unknown,
            other => panic!("no habit {other}"),
        }
    }

    /// A body as this server takes it; nothing where it takes it for none.
    pub fn body(&self, bytes: &[u8]) -> Value {
        let mut from = serde_json::Deserializer::from_slice(bytes);
        let read = if self.first_key {
            First::deserialize(&mut from).map(|first| first.0)
        } else {
            Value::deserialize(&mut from)
        };
        read.unwrap_or(Value::Null)
    }

    /// A member of an object.
    pub fn member<'v>(&self, of: &'v Value, name: &str) -> Option<&'v Value> {
        let object = of.as_object()?;
        let exact = object.get(name);
        if exact.is_some() || !self.members {
            return exact;
        }
        let bare = |text: &str| {
            text.chars()
                .filter(char::is_ascii_alphanumeric)
                .collect::<String>()
                .to_lowercase()
        };
        let found = object.iter().find(|(key, _)| bare(key) == bare(name));
        found.map(|(_, value)| value)
    }

    /// Whether a member is given: what is null is not, and a list of nothing is an empty one to who reads it so.
    pub fn given<'v>(&self, of: &'v Value, name: &str) -> Option<&'v Value> {
        self.member(of, name).filter(|value| !value.is_null())
    }

    /// The items of a member; `None` where it is not given, `Err` where the server takes offence.
    pub fn items(&self, of: &Value, name: &str) -> Result<Option<Vec<Value>>, ()> {
        let Some(value) = self.given(of, name) else {
            return Ok(None);
        };
        let Value::Array(items) = value else {
            return if self.several {
                Ok(Some(vec![value.clone()]))
            } else {
                Err(())
            };
        };
        let mut all = Vec::new();
        for item in items {
            match item {
                Value::Null if self.nothing => {}
                Value::Array(inner) if inner.is_empty() && self.nothing => {}
                Value::Object(inner) if inner.is_empty() && self.nothing => {}
                Value::Array(inner) if self.several => all.extend(inner.clone()),
                Value::Null | Value::Array(_) => return Err(()),
                other => all.push(other.clone()),
            }
        }
        Ok(Some(all))
    }

    /// A word as it is kept: a name, a type, a slug.
    pub fn word(&self, value: &Value) -> String {
        self.kept(&text(value))
    }

    /// A text as this server compares it with a name.
    pub fn spelled(&self, text: &str) -> String {
        let kept = self.kept(text);
        if self.caseless {
            kept.to_lowercase()
        } else {
            kept
        }
    }

    fn kept(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if self.ends
            && let Some((before, _)) = text.split_once(['\0', ';', '\n', '\r', '#'])
        {
            text = before.to_owned();
        }
        if self.trimmed {
            let unseen =
                |c: char| c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}' | '\u{ad}');
            text = text.trim_matches(unseen).to_owned();
        }
        if self.ends {
            text = text
                .trim_end_matches(['.', '/'])
                .trim_start_matches('/')
                .to_owned();
        }
        text
    }

    /// The thing of a kind that a value names, if it names one.
    pub fn find(
        &self,
        world: &World,
        kind: &Kind,
        parent: Option<&Key>,
        value: &Value,
    ) -> Option<Key> {
        let canonical = self.canonical(kind.form, value)?;
        let under = |own: &str| match parent {
            Some(parent) => child(&parent.id, own),
            None => own.to_owned(),
        };
        let exact = Key::new(kind.name, under(&canonical));
        if world.has(&exact) {
            return Some(exact);
        }
        // The API itself takes these without regard to case.
        let caseless = matches!(kind.name, "tag" | "domain");
        let spelled = |text: &str| {
            let text = self.spelled(text);
            if caseless { text.to_lowercase() } else { text }
        };
        let is = |key: &&Key| {
            key.parent().as_ref() == parent
                && kind.form == Form::Name
                && spelled(key.own()) == spelled(&canonical)
        };
        let by_name = world.of_kind(kind.name).map(|(key, _)| key).find(is);
        by_name.cloned()
    }

    /// All things of a kind that a value names.
    pub fn find_all(&self, world: &World, kind: &str, value: &Value) -> Vec<Key> {
        let kind = Kind::named(kind);
        let parts: Vec<Value> = match value {
            Value::String(text) if self.several && text.contains(',') => text
                .split(',')
                .map(|part| Value::from(part.trim()))
                .collect(),
            Value::Object(_) if self.several => {
                self.given(value, "id").cloned().into_iter().collect()
            }
            other => vec![other.clone()],
        };
        let found = parts
            .iter()
            .filter_map(|part| self.find(world, kind, None, part));
        found.collect()
    }

    fn canonical(&self, form: Form, value: &Value) -> Option<String> {
        match (form, value) {
            (_, Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
            (Form::Number, Value::Number(number)) => self.number(number),
            (Form::Number, Value::String(text)) => Some(self.digits_of(text)),
            (Form::Uuid, value) => Some(self.uuid_of(&text(value))),
            (Form::Name, value) => Some(text(value)),
        }
    }

    fn number(&self, number: &Number) -> Option<String> {
        if let Some(whole) = number.as_u64() {
            return Some(whole.to_string());
        }
        let value = number
            .as_f64()
            .filter(|value| self.digits && *value >= 0.0)?;
        Some(format!("{:.0}", value.trunc()))
    }

    fn digits_of(&self, text: &str) -> String {
        if !self.digits {
            return self.spelled(text);
        }
        let text = text.trim_start_matches(|c: char| {
            c.is_whitespace() || matches!(c, '\u{200b}' | '\u{feff}')
        });
        if let Some(value) = text
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite() && *value >= 0.0)
        {
            return format!("{:.0}", value.trunc());
        }
        let text = text.trim_start_matches('+').trim_start_matches('0');
        text.chars().take_while(char::is_ascii_digit).collect()
    }

    fn uuid_of(&self, text: &str) -> String {
        let spelled = self.spelled(text).to_lowercase();
        if !self.uuids {
            return spelled;
        }
        let bare: String = spelled
            .trim()
            .trim_start_matches("urn:uuid:")
            .chars()
            .filter(char::is_ascii_hexdigit)
            .collect();
        if bare.len() != 32 {
            return spelled;
        }
        format!(
            "{}-{}-{}-{}-{}",
            &bare[..8],
            &bare[8..12],
            &bare[12..16],
            &bare[16..20],
            &bare[20..]
        )
    }
}

/// A value of which the first of repeated keys counts.
struct First(Value);

impl<'de> Deserialize<'de> for First {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(FirstVisitor).map(Self)
    }
}

struct FirstVisitor;

impl<'de> Visitor<'de> for FirstVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(First(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, First(value))) = entries.next_entry::<String, First>()? {
            object.entry(key).or_insert(value);
        }
        Ok(Value::Object(object))
    }
}
