use std::fmt::Display;
use std::str::FromStr;

use crate::refusal::{Code, Refusal};
use crate::request::Json;
use crate::token::Source;
use crate::units::Rate;

/// What somebody wants of a child, in the words of `POST /.tidegate/v1/tokens`.
pub struct ChildWish {
    pub(super) name: Option<String>,
    pub(super) seconds: u64,
    pub(super) roles: Option<Vec<String>>,
    /// `only`, `scopes`, `requests` and `actions`, as they were written.
    pub(super) narrowing: Option<String>,
    pub(super) max_uses: Option<u64>,
    pub(super) rate: Option<Rate>,
    pub(super) sources: Option<Vec<Source>>,
}

const NARROWING: [&str; 4] = ["only", "scopes", "requests", "actions"];
const LIMITS: [&str; 6] = ["name", "expires_in", "roles", "max_uses", "rate", "sources"];

impl ChildWish {
    /// Reads a body.
    ///
    /// # Errors
    /// `body_unreadable`, with what is wrong.
    pub fn of_json(body: &Json) -> Result<Self, Refusal> {
        let Json::Map(members) = body else {
            return Err(invalid("the body is no JSON object"));
        };
        only_known(members)?;
        let said = Said(body);
        let seconds = said.number("expires_in")?;
        let rate = said.text("rate")?;
        let sources = said.texts("sources")?;
        let parse_all = |sources: Vec<String>| {
            let sources = sources.iter().map(|text| parsed("sources", text));
            sources.collect::<Result<Vec<Source>, Refusal>>()
        };
        Ok(Self {
            name: said.text("name")?,
            seconds: seconds.ok_or_else(|| {
                invalid("`expires_in` is missing: how many seconds the child lives")
            })?,
            roles: said.texts("roles")?,
            narrowing: narrowing(members),
            max_uses: said.number("max_uses")?,
            rate: rate.map(|text| parsed("rate", &text)).transpose()?,
            sources: sources.map(parse_all).transpose()?,
        })
    }
}

/// The members of a body that are there and not null.
struct Said<'b>(&'b Json);

impl Said<'_> {
    fn member(&self, key: &str) -> Option<&Json> {
        self.0.member(key).filter(|value| **value != Json::Null)
    }

    fn number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.member(key) else {
            return Ok(None);
        };
        let number = match value {
            Json::Number(text) => text.parse().ok().filter(|number| *number > 0),
            _ => None,
        };
        let none = || invalid(&format!("`{key}` is a whole number above 0"));
        number.ok_or_else(none).map(Some)
    }

    fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        match self.member(key) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(invalid(&format!("`{key}` is a text"))),
        }
    }

    fn texts(&self, key: &str) -> Result<Option<Vec<String>>, Refusal> {
        let Some(value) = self.member(key) else {
            return Ok(None);
        };
        let text = |item: &Json| match item {
            Json::Text(text) => Some(text.clone()),
            _ => None,
        };
        let texts = match value {
            Json::List(items) => items.iter().map(text).collect(),
            _ => None,
        };
        let none = || invalid(&format!("`{key}` is a list of texts"));
        texts.ok_or_else(none).map(Some)
    }
}

fn only_known(members: &[(String, Json)]) -> Result<(), Refusal> {
    let known = |key: &str| LIMITS.contains(&key) || NARROWING.contains(&key);
    let Some((key, _)) = members.iter().find(|(key, _)| !known(key)) else {
        return Ok(());
    };
    let key: String = key.chars().take(64).collect();
    let all = [&LIMITS[..], &NARROWING].concat().join("`, `");
    Err(invalid(&format!(
        "unknown member `{key}`; there are `{all}`"
    )))
}

fn parsed<T: FromStr<Err: Display>>(key: &str, text: &str) -> Result<T, Refusal> {
    let no = |why| invalid(&format!("`{key}` can't be `{text}`: {why}"));
    text.parse().map_err(no)
}

/// What narrows the child, as it was written.
fn narrowing(members: &[(String, Json)]) -> Option<String> {
    let narrows = |(key, _): &&(String, Json)| NARROWING.contains(&key.as_str());
    let members: Vec<_> = members.iter().filter(narrows).cloned().collect();
    (!members.is_empty()).then(|| {
        let text = Json::Map(members).write();
        String::from_utf8(text).unwrap_or_default() // what was read as text is written as text
    })
}

pub(super) fn invalid(why: &str) -> Refusal {
    Refusal::new(Code::BodyUnreadable, why)
}
