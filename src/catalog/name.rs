use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::kind::{Kind, Kinds};

/// A form in which the API names resources of a kind: `number`, `uuid`, …, as `named` in `kinds.yaml` lists them.
///
/// A name has one form wherever it stands. What is not in it some reader could still take for the same thing (`12.0` for 12, a
/// UUID without dashes), so it is no name here, and never becomes a fact.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum NameForm {
    /// `401000020`: digits without sign, leading zero, point, exponent or space.
    Number,
    /// `506f78a4-e098-11e5-ad9f-000f53306ae1`, in either case; lower goes on.
    Uuid,
    /// `198.51.100.7`.
    Ipv4,
    /// `2001:db8::1`, as RFC 5952 writes it.
    Ipv6,
    /// `www`, `@`, `*.a`, `www.example.com.`: the name of a record, relative to its zone or absolute with a dot; lower goes on.
    Record,
    /// `example.com`: labels of ASCII letters, digits, `-` and `_`; a dot at the end is dropped, lower case goes on.
    Zone,
    /// `3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa`: sixteen pairs of hexadecimal digits; lower goes on.
    Fingerprint,
    /// `ubuntu-24-04-x64`: begins with a letter, so that no reader takes it for a number.
    Slug,
    /// `web:blue_1-a`: letters, digits, `:`, `_` and `-`.
    Tag,
    /// `my-registry`: lower-case letters, digits and dashes.
    Registry,
    /// `team/api`: path components as the registry's protocol has them.
    Repository,
    /// `v1.2`: a tag of an image in a repository.
    ImageTag,
    /// `sha256:` and 64 hexadecimal digits in lower case.
    Digest,
    /// `my-bucket`: 3 to 63 lower-case letters, digits, dots and dashes, a letter or digit at both ends.
    Bucket,
    /// `fn-1a2b`, `DO00ABC`: letters, digits, `.`, `_`, `~` and `-`.
    Word,
    /// `logs-2026.11`: the name of one search index, as OpenSearch has them: what stands for several is none.
    Index,
    /// Any text without control characters or invisible ones, and without a space at an end.
    Text,
    /// `do:droplet:12`: of a kind that has URNs, by its name in that kind's form.
    Urn,
}

/// The words of the tables for the forms, and what each must be, for messages.
const FORMS: [(&str, NameForm, &str); 18] = [
    (
        "record",
        NameForm::Record,
        "the name of a record in ASCII: relative as in `www`, `@`, or absolute with a dot at its end",
    ),
    (
        "number",
        NameForm::Number,
        "digits alone, as in `401000020`",
    ),
    (
        "uuid",
        NameForm::Uuid,
        "a UUID of 8-4-4-4-12 hexadecimal digits",
    ),
    ("ipv4", NameForm::Ipv4, "an IPv4 address in dots"),
    (
        "ipv6",
        NameForm::Ipv6,
        "an IPv6 address as RFC 5952 writes it",
    ),
    (
        "zone",
        NameForm::Zone,
        "the name of a DNS zone in ASCII, as in `example.com`",
    ),
    (
        "fingerprint",
        NameForm::Fingerprint,
        "a fingerprint of sixteen pairs of hexadecimal digits joined by colons",
    ),
    (
        "slug",
        NameForm::Slug,
        "a slug that begins with a letter, as in `ubuntu-24-04-x64`",
    ),
    (
        "tag",
        NameForm::Tag,
        "a tag of letters, digits, `:`, `_` and `-`",
    ),
    (
        "registry",
        NameForm::Registry,
        "the name of a registry: lower-case letters, digits and dashes",
    ),
    (
        "repository",
        NameForm::Repository,
        "the name of a repository in lower case, without registry or tag, as in `team/api`",
    ),
    (
        "image_tag",
        NameForm::ImageTag,
        "a tag of an image: letters, digits, `_`, `.` and `-`",
    ),
    (
        "digest",
        NameForm::Digest,
        "`sha256:` and 64 hexadecimal digits in lower case",
    ),
    (
        "bucket",
        NameForm::Bucket,
        "the name of a bucket: 3 to 63 lower-case letters, digits, dots and dashes",
    ),
    (
        "word",
        NameForm::Word,
        "letters, digits, `.`, `_`, `~` and `-` alone",
    ),
    (
        "index",
        NameForm::Index,
        "the name of one index: lower-case letters, digits, `.`, `_` and `-`, the first a letter, a digit or `.`",
    ),
    (
        "text",
        NameForm::Text,
        "a text without control or invisible characters, and without a space at either end",
    ),
    (
        "urn",
        NameForm::Urn,
        "a URN `do:KIND:NAME` of a kind that the API has URNs for, its name in that kind's form",
    ),
];

impl NameForm {
    /// The form that the tables call so.
    pub(super) fn called(word: &str) -> Option<Self> {
        let found = FORMS.iter().find(|(known, _, _)| *known == word);
        found.map(|(_, form, _)| *form)
    }

    /// What the tables call the forms.
    pub(super) fn words() -> impl Iterator<Item = &'static str> {
        FORMS.iter().map(|(word, _, _)| *word)
    }

    /// All forms.
    pub fn all() -> impl Iterator<Item = Self> {
        FORMS.iter().map(|(_, form, _)| *form)
    }

    /// What a name in this form is, for messages: `digits alone, …`.
    pub fn description(self) -> &'static str {
        let found = FORMS.iter().find(|(_, form, _)| *form == self);
        found.map_or("a name", |(_, _, what)| what)
    }

    /// A name in this form as it is compared and sent; `None` where the text is not in the form.
    pub fn read<'t>(self, text: &'t str, kinds: &Kinds) -> Option<Cow<'t, str>> {
        let fits = match self {
            Self::Number => is_number(text),
            Self::Uuid => return is_uuid(text).then(|| lower(text)),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text
                .parse::<Ipv6Addr>()
                .is_ok_and(|addr| addr.to_string() == text),
            Self::Zone => {
                let name = text.strip_suffix('.').unwrap_or(text);
                return is_zone(name).then(|| lower(name));
            }
            Self::Record => {
                let name = text.strip_suffix('.').unwrap_or(text);
                return (name == "@" || is_record(name)).then(|| lower(text));
            }
            Self::Fingerprint => return is_fingerprint(text).then(|| lower(text)),
            Self::Slug => is_slug(text),
            Self::Tag => {
                (1..=255).contains(&text.len()) && text.bytes().all(|byte| is_letter(byte, b":_-"))
            }
            Self::Registry => {
                (1..=63).contains(&text.len()) && text.bytes().all(|byte| is_lower(byte, b"-"))
            }
            Self::Repository => is_repository(text),
            Self::ImageTag => is_image_tag(text),
            Self::Digest => text
                .strip_prefix("sha256:")
                .is_some_and(|digest| digest.len() == 64 && digest.bytes().all(is_lower_hex)),
            Self::Bucket => is_bucket(text),
            Self::Word => {
                let is_word = (1..=255).contains(&text.len())
                    && text.bytes().all(|byte| is_letter(byte, b"._~-"))
                    && !matches!(text, "." | "..");
                return (is_word && !reads_otherwise(text)).then(|| {
                    if is_uuid(text) {
                        lower(text)
                    } else {
                        Cow::Borrowed(text)
                    }
                });
            }
            Self::Index => is_index(text),
            Self::Text => is_plain_text(text),
            Self::Urn => {
                let (kind, name) = kinds.urn(text)?;
                let (prefix, _) = text.rsplit_once(':')?;
                let written = kind
                    .urns
                    .iter()
                    .find(|urn| *prefix == format!("do:{urn}"))?;
                return Some(Cow::Owned(format!("do:{written}:{name}")));
            }
        };
        fits.then_some(Cow::Borrowed(text))
    }
}

impl fmt::Display for NameForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}

/// The name of a resource, in the form that its kind has, as it is compared and sent. Only [`Kind::name`] and [`Kinds::urn`] make
/// one.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kind {
    /// The name of a resource of this kind; `None` where the text is in none of the forms that its names have.
    pub fn name(&self, text: &str, kinds: &Kinds) -> Option<Name> {
        read_any(&self.named, text, kinds).map(|name| Name(name.into_owned()))
    }
}

impl Kinds {
    /// The kind and the name that a URN has: `do:KIND:NAME`, spelled as the reference does.
    pub fn urn(&self, text: &str) -> Option<(&Kind, Name)> {
        let (urn, name) = text.strip_prefix("do:")?.split_once(':')?;
        let kind = self.by_urn(urn)?;
        Some((kind, kind.name(name, self)?))
    }
}

/// A text in the first of these forms that it has, as it is compared and sent.
pub fn read_any<'t>(forms: &[NameForm], text: &'t str, kinds: &Kinds) -> Option<Cow<'t, str>> {
    forms.iter().find_map(|form| form.read(text, kinds))
}

/// What a name in one of these forms must be: `digits alone, …, or a fingerprint …`.
pub fn described(forms: &[NameForm]) -> String {
    let each: Vec<_> = forms.iter().map(|form| form.description()).collect();
    each.join(", or ")
}

fn lower(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// Whether a text is a number as the API writes one. Twenty digits hold any that a machine's word does. What is larger than the
/// word of some reader leads nowhere: what is found by a name must bear that very name.
fn is_number(text: &str) -> bool {
    (1..=20).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && (text == "0" || !text.starts_with('0'))
}

/// Whether a text is a UUID, in either case.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(index, byte)| match index {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn is_zone(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|byte| is_letter(byte, b"-_"))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_record(name: &str) -> bool {
    let is_label = |label: &str| {
        label == "*"
            || (1..=63).contains(&label.len()) && label.bytes().all(|byte| is_letter(byte, b"-_"))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_fingerprint(text: &str) -> bool {
    let pairs: Vec<_> = text.split(':').collect();
    let is_pair =
        |pair: &&str| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
    pairs.len() == 16 && pairs.iter().all(is_pair)
}

fn is_slug(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| is_letter(byte, b"._:-"))
        && !reads_otherwise(text)
}

/// Whether some reader takes a word for a number or a UUID that is written otherwise: `12.0`, `0x0c`, a UUID without dashes.
fn reads_otherwise(text: &str) -> bool {
    let begins_as_number =
        text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '.' | '-'));
    let is_number_to_some = begins_as_number
        && (text.parse::<f64>().is_ok() || text.to_ascii_lowercase().starts_with("0x"));
    let hex = text.bytes().filter(|byte| *byte != b'-');
    let is_uuid_to_some =
        hex.clone().count() == 32 && hex.clone().all(|byte| byte.is_ascii_hexdigit());
    is_number_to_some && !is_number(text) || is_uuid_to_some && !is_uuid(text)
}

/// Source: the distribution specification's `name`, without its bound on the whole reference.
fn is_repository(text: &str) -> bool {
    let is_component = |component: &str| {
        let runs =
            component.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
        let joined = |run: &str| {
            matches!(run, "" | "." | "_" | "__") || run.bytes().all(|byte| byte == b'-')
        };
        let ends = |byte: Option<u8>| byte.is_some_and(|byte| is_lower(byte, b""));
        ends(component.bytes().next())
            && ends(component.bytes().last())
            && runs.into_iter().all(joined)
    };
    text.len() <= 255 && text.split('/').all(is_component)
}

fn is_image_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|byte| is_letter(byte, b"_.-"))
}

fn is_bucket(text: &str) -> bool {
    let ends = |byte: Option<u8>| byte.is_some_and(|byte| is_lower(byte, b""));
    (3..=63).contains(&text.len())
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|byte| is_lower(byte, b".-"))
}

/// Source: OpenSearch's create-index API. `*`, `?`, `,` and `_all` ask for several, `-` at the beginning for all but.
fn is_index(text: &str) -> bool {
    (1..=255).contains(&text.len())
        && !text.starts_with(['-', '_'])
        && !matches!(text, "." | "..")
        && text.bytes().all(|byte| is_lower(byte, b"._-"))
}

fn is_letter(byte: u8, besides: &[u8]) -> bool {
    byte.is_ascii_alphanumeric() || besides.contains(&byte)
}

fn is_lower(byte: u8, besides: &[u8]) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || besides.contains(&byte)
}

fn is_lower_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Whether nothing in a text hides: no control character, none that is not seen, no space at an end.
pub fn is_plain_text(text: &str) -> bool {
    !text.is_empty() && text.trim() == text && !text.chars().any(is_unseen)
}

/// Control characters, and those of Unicode's format category and like it that take no room: a reader who drops them sees another
/// name than one who does not.
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    const ID: &str = "506f78a4-e098-11e5-ad9f-000f53306ae1";
    const KEY: &str = "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa";

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn a_name_has_one_form() {
        let catalog = Catalog::builtin().unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let cases: [(NameForm, &[&str], &[&str]); 16] = [
            (
                NameForm::Index,
                &["logs", "logs-2026.11", ".kibana_1", "1a"],
                &[
                    "", "logs-*", "*", "?ogs", "a,b", "_all", "-logs", ".", "..", "Logs", "logs ",
                    "a/b", "a:b", "a#b", "a%2Cb",
                ],
            ),
            (
                NameForm::Number,
                &["12", "0", "401000020", "9223372036854775807"],
                &[
                    "",
                    "012",
                    "12.0",
                    "1e1",
                    "+12",
                    "-1",
                    " 12",
                    "12 ",
                    "12\0",
                    "12abc",
                    "0x12",
                    "1_2",
                    "12,13",
                    "١٢",
                    "123456789012345678901",
                ],
            ),
            (
                NameForm::Uuid,
                &[ID],
                &[
                    "",
                    "506f78a4e09811e5ad9f000f53306ae1",
                    "{506f78a4-e098-11e5-ad9f-000f53306ae1}",
                    "urn:uuid:506f78a4-e098-11e5-ad9f-000f53306ae1",
                    " 506f78a4-e098-11e5-ad9f-000f53306ae1",
                    "506f78a4-e098-11e5-ad9f-000f53306ae1 ",
                    "506f78a4-e098-11e5-ad9f-000f53306ae",
                    "506f78a4-e09811e5-ad9f-000f53306ae1-",
                ],
            ),
            (
                NameForm::Ipv4,
                &["198.51.100.7"],
                &[
                    "198.51.100.07",
                    "198.51.100",
                    "3325256711",
                    "198.51.100.7 ",
                    "::ffff:198.51.100.7",
                    "0xc6.51.100.7",
                ],
            ),
            (
                NameForm::Ipv6,
                &["2001:db8::1", "::1"],
                &[
                    "2001:DB8::1",
                    "2001:0db8::1",
                    "2001:db8:0:0:0:0:0:1",
                    "[2001:db8::1]",
                    "2001:db8::1%eth0",
                    "2001:db8::1/64",
                ],
            ),
            (
                NameForm::Zone,
                &["example.com", "xn--bcher-kva.example", "_x.example.com"],
                &[
                    "",
                    ".",
                    "example..com",
                    ".example.com",
                    "example.com..",
                    "example。com",
                    "exa mple.com",
                    "*.example.com",
                    "example.com/",
                    "exämple.com",
                ],
            ),
            (
                NameForm::Fingerprint,
                &[KEY],
                &[
                    "3b:16",
                    "3b16bfe48b008bb8598ca9d3f01945fa",
                    "SHA256:abc",
                    "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:f",
                    "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa:",
                ],
            ),
            (
                NameForm::Slug,
                &["ubuntu-24-04-x64", "a", "Debian"],
                &[
                    "",
                    "7003",
                    "7003abc",
                    " ubuntu",
                    "ubuntu ",
                    "-ubuntu",
                    "a06f78a4e09811e5ad9f000f53306ae1",
                    "ubuntu/24",
                    "ubuntu,debian",
                    "\tubuntu",
                ],
            ),
            (
                NameForm::Tag,
                &["web", "k8s:1_2-A", "12"],
                &["", "web ", "web,db", "wéb", "web\u{200b}", "web.x", "*"],
            ),
            (
                NameForm::Registry,
                &["acme-1"],
                &["", "Acme", "acme/api", "acme.com", "acme "],
            ),
            (
                NameForm::Repository,
                &["api", "client-b/api", "a__b/c.d"],
                &[
                    "",
                    "client-b/api ",
                    "/client-b/api",
                    "client-b//api",
                    "client-b/api/",
                    "client-b/api:latest",
                    "registry.digitalocean.com/acme/client-b/api:1",
                    "Client-b/api",
                    "client-b/api%20",
                    "a..b",
                    "a.-b",
                    "client-b/api\u{200b}",
                ],
            ),
            (
                NameForm::ImageTag,
                &["latest", "V1.2_x", "_a"],
                &["", ".a", "-a", "a b", "a:b", "a/b"],
            ),
            (
                NameForm::Digest,
                &[digest.as_str()],
                &["", "sha256:abc", "SHA256:aaaa", "md5:abc"],
            ),
            (
                NameForm::Bucket,
                &["my-bucket", "a.b"],
                &[
                    "",
                    "*",
                    " ",
                    "secret ",
                    "ab",
                    "Secret",
                    "-ab",
                    "a_b",
                    "bucket/key",
                ],
            ),
            (
                NameForm::Word,
                &[
                    "fn-1a2b",
                    "DO00ABC",
                    "12",
                    "2026-01-31",
                    ID,
                    "dfcc9f57d86bf58e321c2c6c31c7a971be244ac7",
                ],
                &[
                    "",
                    ".",
                    "..",
                    "a b",
                    "a/b",
                    "a,b",
                    "a%20",
                    "012",
                    "12.0",
                    "1e1",
                    "-1",
                    "0x0c",
                    "506f78a4e09811e5ad9f000f53306ae1",
                ],
            ),
            (
                NameForm::Text,
                &["my trigger", "logs-*", "doadmin", "bücher"],
                &[
                    "",
                    " a",
                    "a ",
                    "a\u{a0}",
                    "a\nb",
                    "a\0",
                    "a\u{200b}",
                    "a\u{ad}b",
                    "\u{feff}a",
                ],
            ),
        ];
        for (form, good, bad) in cases {
            for text in good {
                assert!(
                    form.read(text, catalog.kinds()).is_some(),
                    "{form:?} {text:?}"
                );
            }
            for text in bad {
                assert_eq!(form.read(text, catalog.kinds()), None, "{form:?} {text:?}");
            }
        }
    }

    #[test]
    fn what_is_the_same_in_two_spellings_goes_on_in_one() {
        let catalog = Catalog::builtin().unwrap();
        let urn = format!("do:volume:{}", ID.to_uppercase());
        let cases = [
            (NameForm::Uuid, ID.to_uppercase(), ID.to_owned()),
            (NameForm::Fingerprint, KEY.to_uppercase(), KEY.to_owned()),
            (
                NameForm::Zone,
                "Example.COM.".to_owned(),
                "example.com".to_owned(),
            ),
            (NameForm::Urn, urn, format!("do:volume:{ID}")),
        ];
        for (form, text, expected) in cases {
            assert_eq!(
                form.read(&text, catalog.kinds()).as_deref(),
                Some(expected.as_str()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_urn_names_a_kind_that_has_them_by_its_name() {
        let catalog = Catalog::builtin().unwrap();
        let read = |text: &str| {
            catalog
                .kinds()
                .urn(text)
                .map(|(kind, name)| format!("{} {name}", kind.id))
        };
        assert_eq!(read("do:droplet:12").as_deref(), Some("droplet 12"));
        assert_eq!(
            read("do:floatingip:198.51.100.7").as_deref(),
            Some("reserved_ip 198.51.100.7")
        );
        for text in [
            "",
            "do:droplet:",
            "do:droplet:12.0",
            "do:droplet: 12",
            "do:droplet:12/",
            "DO:droplet:12",
            "do:Droplet:12",
            "do:tag:web",
            "droplet:12",
            "do:droplet",
            "do:droplet:12:13",
            " do:droplet:12",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_kind_says_how_it_is_named() {
        let catalog = Catalog::builtin().unwrap();
        for kind in catalog.kinds().iter() {
            assert!(!kind.named.is_empty(), "{} has no `named`", kind.id);
        }
    }
}
