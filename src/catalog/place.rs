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

impl FieldPath {
    /// The way to a member of what stands there.
    #[must_use]
    pub fn member(&self, key: &str) -> Self {
        let mut steps = self.steps.clone();
        steps.push(Step {
            key: key.to_owned(),
            lists: 0,
        });
        Self { steps }
    }

    /// The way to the item of a list that it is a member of, and its way within that; `None` where it is in no item.
    pub fn in_item(&self) -> Option<(Self, Self)> {
        let (last, way) = self.steps.split_last()?;
        let is_item = way.iter().any(|step| step.lists > 0);
        is_item.then(|| {
            let steps = |steps: &[Step]| Self {
                steps: steps.to_vec(),
            };
            (steps(way), steps(std::slice::from_ref(last)))
        })
    }

    /// What is left of it below another way; `None` where it does not lead there.
    pub fn below(&self, way: &Self) -> Option<Self> {
        let keys = |path: &Self| {
            path.steps
                .iter()
                .map(|step| step.key.clone())
                .collect::<Vec<_>>()
        };
        let rest = self.steps.get(way.steps.len()..)?;
        let leads = keys(self).starts_with(&keys(way)) && !rest.is_empty();
        leads.then(|| Self {
            steps: rest.to_vec(),
        })
    }

    /// Whether it goes through that member of the whole.
    pub fn begins(&self, key: &str) -> bool {
        self.steps.first().is_some_and(|step| step.key == key)
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
            let lists = "[]".repeat(step.lists);
            if is_key(&step.key) {
                write!(f, "{dot}{}{lists}", step.key)?;
            } else {
                write!(f, "{dot}\"{}\"{lists}", step.key)?;
            }
        }
        Ok(())
    }
}

/// Why a text is no place.
#[derive(Debug, Eq, PartialEq)]
pub struct NoPlace;

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a place is written `path.NAME`, `query.NAME` or `body.MEMBER[].MEMBER`, a member that holds a dot as `\"a.b\"`")
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

    /// A member whose name holds a dot, or anything else that a plain one does not, stands in quotes: `config."pg.role"`.
    fn from_str(text: &str) -> Result<Self, NoPlace> {
        let mut steps = Vec::new();
        let mut rest = Some(text);
        while let Some(text) = rest {
            let (key, behind) = match text.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').ok_or(NoPlace)?,
                None => text.split_at(text.find(['.', '[']).unwrap_or(text.len())),
            };
            let lists = behind.len() - behind.trim_start_matches("[]").len();
            let behind = behind.get(lists..).ok_or(NoPlace)?;
            let is_quoted = text.starts_with('"');
            if !(is_key(key) || is_quoted && is_quotable(key)) {
                return Err(NoPlace);
            }
            rest = match behind.strip_prefix('.') {
                Some(next) => Some(next),
                None if behind.is_empty() => None,
                None => return Err(NoPlace),
            };
            steps.push(Step {
                key: key.to_owned(),
                lists: lists / 2,
            });
        }
        steps.shrink_to_fit(); // there are thousands, most of one step
        Ok(Self { steps })
    }
}

fn is_quotable(key: &str) -> bool {
    !key.is_empty() && !key.contains(|letter: char| letter == '"' || letter.is_control())
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
            r#"body.config."pg_partman_bgw.role""#, // a name that holds a dot
            r#"body."a.b"[].c"#,
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
            r#"body.config."pg"#,
            r#"body."""#,
            r#"body."a"b"#,
        ] {
            assert_eq!(text.parse::<Place>(), Err(NoPlace), "place {text:?}");
        }
    }
}
