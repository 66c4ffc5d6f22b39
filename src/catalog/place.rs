use std::fmt;
use std::str::FromStr;

/// Where a request names something: `path.droplet_id`, `query.tag_name`, `body.rules[].sources.tags`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A parameter of the path.
    Path(String),
    /// A parameter of the query.
    Query(String),
    /// A member of the JSON body.
    Body(FieldPath),
}

/// The way to a member of a JSON document, from its top.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldPath {
    /// The members on the way, outermost first; never empty.
    pub steps: Vec<Step>,
}

/// One member on the way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// Its key.
    pub key: String,
    /// Into how many levels of lists to go under it: one for `tags[]`.
    pub lists: usize,
}

impl Place {
    /// Whether it is in the body.
    pub fn is_body(&self) -> bool {
        matches!(self, Self::Body(_))
    }
}

impl Place {
    /// The outermost member of the body that it goes through.
    pub fn first_key(&self) -> Option<&str> {
        match self {
            Self::Body(path) => path.steps.first().map(|step| step.key.as_str()),
            Self::Path(_) | Self::Query(_) => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(name) => write!(f, "path.{name}"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Body(path) => write!(f, "body.{path}"),
        }
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(f, "{dot}{}{}", step.key, "[]".repeat(step.lists))?;
        }
        Ok(())
    }
}

/// Why a text is no place.
#[derive(Debug, Eq, PartialEq)]
pub struct NoPlace;

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place is written `path.NAME`, `query.NAME` or `body.MEMBER[].MEMBER`")
    }
}

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        match text.split_once('.').ok_or(NoPlace)? {
            ("path", name) if is_key(name) => Ok(Self::Path(name.to_owned())),
            ("query", name) if is_key(name) => Ok(Self::Query(name.to_owned())),
            ("body", path) => path.parse().map(Self::Body),
            (_, _) => Err(NoPlace),
        }
    }
}

impl FromStr for FieldPath {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut steps: Vec<_> = text.split('.').map(step).collect::<Result<_, _>>()?;
        steps.shrink_to_fit(); // there are thousands, most of one step
        Ok(Self { steps })
    }
}

fn step(text: &str) -> Result<Step, NoPlace> {
    let key = text.trim_end_matches("[]");
    if !is_key(key) {
        return Err(NoPlace);
    }
    Ok(Step {
        key: key.to_owned(),
        lists: (text.len() - key.len()) / 2,
    })
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_was_read() {
        for text in [
            "path.droplet_id",
            "query.tag_name",
            "body.image",
            "body.inbound_rules[].sources.tags",
            "body.ids[][]",
        ] {
            assert_eq!(
                text.parse::<Place>().map(|place| place.to_string()),
                Ok(text.to_owned())
            );
        }
        for text in [
            "image",
            "body.",
            "body.a..b",
            "path.a.b",
            "header.x",
            "body.a[]b",
            "body.[]",
        ] {
            assert_eq!(text.parse::<Place>(), Err(NoPlace), "place {text:?}");
        }
    }
}
