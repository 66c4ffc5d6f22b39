use std::fmt::{self, Write};
use std::str::FromStr;

use crate::glob::{Piece, glob_matches};

/// Whom a client's certificate is for: the attributes of its subject, the most particular first, as RFC 4514 writes them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    attributes: Vec<SubjectAttribute>,
    text: String,
}

/// One attribute of a subject.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubjectAttribute {
    /// Its type: a short name (`CN`, `O`, …), or an object identifier in figures.
    pub kind: String,
    /// Its value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AttributeValue {
    /// A text.
    Text(String),
    /// Something else, as it is encoded. No pattern matches it.
    Der(Vec<u8>),
}

/// The types that have a name: those of RFC 4514, section 3, and two that certificates often have.
pub const TYPES: [(&str, &str); 11] = [
    ("CN", "2.5.4.3"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("C", "2.5.4.6"),
    ("STREET", "2.5.4.9"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
];

impl SubjectAttribute {
    /// An attribute of the type with this object identifier.
    pub fn new(oid: &str, value: AttributeValue) -> Self {
        let named = TYPES.iter().find(|(_, known)| *known == oid);
        Self {
            kind: named.map_or(oid, |(name, _)| name).to_owned(),
            value,
        }
    }
}

impl Subject {
    /// Of the sets of attributes in a certificate, in the order that they have there: the most general first.
    pub fn new(sets: Vec<Vec<SubjectAttribute>>) -> Self {
        let written = sets.iter().rev().map(|set| {
            let set: Vec<_> = set.iter().map(ToString::to_string).collect();
            set.join("+")
        });
        let text = written.collect::<Vec<_>>().join(",");
        Self {
            text,
            attributes: sets.into_iter().rev().flatten().collect(),
        }
    }

    fn values<'s>(&'s self, kind: &'s str) -> impl Iterator<Item = &'s AttributeValue> {
        let of_kind = self.attributes.iter().filter(move |at| at.kind == kind);
        of_kind.map(|attribute| &attribute.value)
    }
}

/// As RFC 4514 writes it, with whatever could be read otherwise escaped.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for SubjectAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.kind)?;
        match &self.value {
            AttributeValue::Text(text) => escaped(text, f),
            AttributeValue::Der(bytes) => {
                f.write_char('#')?;
                bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// A value as RFC 4514, section 2.4, has it.
fn escaped(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let last = text.chars().count().saturating_sub(1);
    for (at, letter) in text.chars().enumerate() {
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{letter}")?,
            '#' | ' ' if at == 0 => write!(f, "\\{letter}")?,
            ' ' if at == last => f.write_str("\\ ")?,
            control if control.is_control() => {
                let mut bytes = [0; 4];
                let bytes = control.encode_utf8(&mut bytes).bytes();
                bytes
                    .into_iter()
                    .try_for_each(|byte| write!(f, "\\{byte:02x}"))?;
            }
            plain => f.write_char(plain)?,
        }
    }
    Ok(())
}

/// A condition on the subject of a client's certificate, as `CN=ci*,O=Example`; `*` alone is any certificate.
///
/// It is held against attributes and not against the written subject, so that a `,O=Example` within somebody's common name is
/// none of theirs. Of each type that it names the subject must have exactly those values, as many and in that order: with two
/// common names, one of which would do, a certificate is nobody's. What it does not name may be anything.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubjectPattern {
    written: String,
    asks: Vec<(String, Vec<Piece>)>,
}

/// Why a text is no condition on a subject.
#[derive(Debug, Eq, PartialEq)]
pub enum NoPattern {
    /// A part has no type and value.
    Part(String),
    /// A type that there is not.
    Type(String),
    /// A value has nothing in it.
    Empty(String),
    /// A `\` before what it can't escape.
    Escape(String),
}

impl fmt::Display for NoPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Part(part) => write!(
                f,
                "`{part}` is no attribute of a subject; write `CN=ci*`, or several as `CN=ci*,O=Example`, or `*` for any certificate"
            ),
            Self::Type(kind) => {
                let known: Vec<_> = TYPES.iter().map(|(name, _)| *name).collect();
                write!(
                    f,
                    "`{kind}` is no type of attribute; there are {}, and any by its object identifier, as `2.5.4.42`",
                    known.join(", ")
                )
            }
            Self::Empty(kind) => write!(
                f,
                "`{kind}` has an empty value, which no certificate has; write `{kind}=*` for any value"
            ),
            Self::Escape(part) => write!(
                f,
                "`{part}` has a `\\` that escapes nothing; write two hexadecimal digits or the letter meant after it"
            ),
        }
    }
}

impl std::error::Error for NoPattern {}

impl FromStr for SubjectPattern {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Self, NoPattern> {
        let asks = if text == "*" {
            Vec::new()
        } else {
            parts(text).into_iter().map(ask).collect::<Result<_, _>>()?
        };
        Ok(Self {
            written: text.to_owned(),
            asks,
        })
    }
}

impl fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl SubjectPattern {
    /// Whether a certificate is for whom this means.
    pub fn matches(&self, subject: &Subject) -> bool {
        self.asks.iter().all(|(kind, _)| {
            let mut had = subject.values(kind);
            let mut asked = self.asks.iter().filter(|(of, _)| of == kind);
            loop {
                match (asked.next(), had.next()) {
                    (None, None) => return true,
                    (Some((_, pieces)), Some(AttributeValue::Text(text))) => {
                        if !glob_matches(pieces, text) {
                            return false;
                        }
                    }
                    (Some(_), Some(AttributeValue::Der(_)) | None) | (None, Some(_)) => {
                        return false;
                    }
                }
            }
        })
    }
}

/// The parts between commas and plus signs that are not escaped.
fn parts(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' | '+' => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

/// One attribute that is asked for: `CN=ci*`.
fn ask(part: &str) -> Result<(String, Vec<Piece>), NoPattern> {
    let no_part = || NoPattern::Part(part.trim().to_owned());
    let (kind, value) = part.split_once('=').ok_or_else(no_part)?;
    let kind = kind.trim().to_ascii_uppercase();
    let figures = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let named = TYPES
        .iter()
        .find(|(name, oid)| *name == kind || *oid == kind);
    let kind = match named {
        Some((name, _)) => (*name).to_owned(),
        None if kind.contains('.') && kind.split('.').all(figures) => kind,
        None if kind.is_empty() => return Err(no_part()),
        None => return Err(NoPattern::Type(kind)),
    };
    let pieces = pieces(value.trim_start()).ok_or_else(|| NoPattern::Escape(part.to_owned()))?;
    if pieces.is_empty() {
        return Err(NoPattern::Empty(kind));
    }
    Ok((kind, pieces))
}

/// What a value asks for; `None` where a `\` escapes nothing. Spaces at its end count if they are escaped.
fn pieces(value: &str) -> Option<Vec<Piece>> {
    let (mut pieces, mut kept) = (Vec::new(), 0);
    let mut letters = value.chars().peekable();
    let mut bytes = Vec::new();
    while let Some(letter) = letters.next() {
        let piece = match letter {
            '*' => Piece::Many,
            '?' => Piece::One,
            '\\' => {
                let escaped = letters.next()?;
                let second = escaped
                    .to_digit(16)
                    .zip(letters.peek().and_then(|next| next.to_digit(16)));
                if let Some((high, low)) = second {
                    letters.next();
                    bytes.push(u8::try_from(high << 4 | low).ok()?);
                    match str::from_utf8(&bytes)
                        .ok()
                        .and_then(|text| text.chars().next())
                    {
                        Some(whole) => {
                            bytes.clear();
                            Piece::Character(whole)
                        }
                        None if bytes.len() < 4 => continue, // a letter of several bytes
                        None => return None,
                    }
                } else if escaped.is_ascii_alphanumeric() {
                    return None;
                } else {
                    Piece::Character(escaped)
                }
            }
            plain => Piece::Character(plain),
        };
        if !bytes.is_empty() {
            return None;
        }
        pieces.push(piece);
        if letter != ' ' {
            kept = pieces.len();
        }
    }
    pieces.truncate(kept);
    bytes.is_empty().then_some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names and values.
    type Written<'w> = &'w [(&'w str, &'w str)];

    /// A subject of attributes in the order of a certificate, the most general first.
    fn subject(attributes: &[(&str, &str)]) -> Subject {
        let attribute = |(name, value): &(&str, &str)| {
            let oid = TYPES.iter().find(|(known, _)| known == name);
            let oid = oid.map_or(*name, |(_, oid)| oid);
            vec![SubjectAttribute::new(
                oid,
                AttributeValue::Text((*value).to_owned()),
            )]
        };
        Subject::new(attributes.iter().map(attribute).collect())
    }

    #[test]
    fn a_subject_is_written_so_that_it_can_be_read_in_one_way() {
        let cases: [(Written<'_>, &str); 6] = [
            (
                &[("C", "DE"), ("O", "Example"), ("CN", "ci-1")],
                "CN=ci-1,O=Example,C=DE",
            ),
            (&[("CN", "ci,O=Example")], "CN=ci\\,O=Example"),
            (
                &[("CN", " a+b#\"\\<>; ")],
                "CN=\\ a\\+b#\\\"\\\\\\<\\>\\;\\ ",
            ),
            (&[("CN", "#ff")], "CN=\\#ff"),
            (&[("CN", "a\nb\0")], "CN=a\\0ab\\00"),
            (&[("1.2.3", "x")], "1.2.3=x"),
        ];
        for (attributes, text) in cases {
            assert_eq!(subject(attributes).to_string(), text);
        }
        let both = vec![
            SubjectAttribute::new("2.5.4.3", AttributeValue::Text("ci".into())),
            SubjectAttribute::new("2.5.4.10", AttributeValue::Der(vec![4, 1, 255])),
        ];
        assert_eq!(Subject::new(vec![both]).to_string(), "CN=ci+O=#0401ff");
    }

    #[test]
    fn a_condition_holds_for_the_attributes_that_it_names_and_no_others() {
        let plain: Written<'_> = &[("C", "DE"), ("O", "Example"), ("CN", "ci-1")];
        let cases: [(&str, Written<'_>, bool); 27] = [
            ("*", plain, true),
            ("*", &[], true),
            ("CN=ci*", plain, true), // what it does not name may be anything
            ("cn = ci-1 , o = Example", plain, true), // as people write it
            ("CN=ci", plain, false), // the whole value
            ("CN=CI-1", plain, false), // case counts
            ("CN=ci-?", plain, true),
            ("CN=ci-1?", plain, false),
            ("CN=*1", plain, true),
            ("CN=*i*-*", plain, true),
            ("CN=*i*i*", plain, false),
            ("CN=ci*,O=Ex*", plain, true),
            ("CN=ci*,O=Other", plain, false),
            ("CN=ci*,OU=*", plain, false), // it has none
            ("2.5.4.3=ci-1", plain, true), // by its number
            ("CN=ci*,O=ops", &[("O", "dev"), ("CN", "ci,O=ops")], false), // injected
            ("CN=ci*", &[("CN", "root,CN=ci")], false),
            ("CN=ci\\,O=ops", &[("CN", "ci,O=ops")], true), // meant
            ("CN=ci\\2cO=ops", &[("CN", "ci,O=ops")], true),
            ("CN=\\c3\\a4", &[("CN", "ä")], true),
            ("CN=a\\*", &[("CN", "ab")], false), // a star that stands for itself
            ("CN=a\\*", &[("CN", "a*")], true),
            ("CN=ci*", &[("CN", "ci"), ("CN", "root")], false), // two of them
            ("CN=ci*", &[("CN", "root"), ("CN", "ci")], false),
            (
                "DC=example,DC=com",
                &[("DC", "com"), ("DC", "example")],
                true,
            ),
            (
                "DC=com,DC=example",
                &[("DC", "com"), ("DC", "example")],
                false,
            ),
            ("CN=a ,O=b", &[("O", "b"), ("CN", "a")], true),
        ];
        for (pattern, attributes, holds) in cases {
            let read: SubjectPattern = pattern.parse().expect(pattern);
            assert_eq!(read.to_string(), pattern);
            let subject = subject(attributes);
            assert_eq!(read.matches(&subject), holds, "{pattern} and {subject}");
        }
        let der = vec![vec![SubjectAttribute::new(
            "2.5.4.3",
            AttributeValue::Der(vec![1]),
        )]];
        let any: SubjectPattern = "CN=*".parse().unwrap();
        assert!(
            !any.matches(&Subject::new(der)),
            "what is no text fits nothing"
        );
    }

    #[test]
    fn what_is_no_condition_is_told() {
        let cases = [
            (
                "",
                "`` is no attribute of a subject; write `CN=ci*`, or several as `CN=ci*,O=Example`, or `*` for any certificate",
            ),
            (
                "ci*",
                "`ci*` is no attribute of a subject; write `CN=ci*`, or several as `CN=ci*,O=Example`, or `*` for any certificate",
            ),
            (
                "CN=a,",
                "`` is no attribute of a subject; write `CN=ci*`, or several as `CN=ci*,O=Example`, or `*` for any certificate",
            ),
            (
                "SAN=x",
                "`SAN` is no type of attribute; there are CN, L, ST, O, OU, C, STREET, DC, UID, SERIALNUMBER, EMAILADDRESS, and any by its object identifier, as `2.5.4.42`",
            ),
            (
                "CN=",
                "`CN` has an empty value, which no certificate has; write `CN=*` for any value",
            ),
            (
                "CN=a\\",
                "`CN=a\\` has a `\\` that escapes nothing; write two hexadecimal digits or the letter meant after it",
            ),
            (
                "CN=a\\zb",
                "`CN=a\\zb` has a `\\` that escapes nothing; write two hexadecimal digits or the letter meant after it",
            ),
            (
                "CN=\\c3x",
                "`CN=\\c3x` has a `\\` that escapes nothing; write two hexadecimal digits or the letter meant after it",
            ),
        ];
        for (text, why) in cases {
            let error = text.parse::<SubjectPattern>().unwrap_err();
            assert_eq!(error.to_string(), why, "{text}");
        }
    }
}
