use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::spelling::alike;
use crate::catalog::{Catalog, Endpoint, Method, Place, Segment};
use crate::refusal::{Code, Refusal};

/// A path and query in canonical form.
///
/// Segments and parameters are kept decoded; [`Target::path`] and [`Target::path_and_query`] write them in the one way
/// that is matched, checked, recorded and sent. Reading what was written gives the same target again.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    segments: Vec<String>,
    query: Vec<(String, String)>,
    /// The segments, written.
    path: Arc<str>,
}

/// What could be read in two ways.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ambiguity {
    /// The target does not begin with a slash.
    NotAPath,
    /// `.`, `..` or nothing between two slashes.
    Segment,
    /// A `%` that no two hexadecimal digits follow, or bytes that are not UTF-8.
    Encoding,
    /// What is left after decoding decodes once more.
    EncodedTwice,
    /// An encoded slash where no name may hold one.
    Slash,
    /// A backslash or control character.
    Character,
    /// A raw `;`, which some readers take for `&`.
    Semicolon,
    /// A parameter without a name.
    Nameless,
    /// The number of a page, or of items on one, that is no number.
    Page(String),
    /// A parameter that decides something, given twice.
    Repeated(String),
    /// A parameter that differs from one that decides something in case or brackets alone.
    Disguised(String),
    /// A method in the query.
    Override,
    /// A parameter named like a member of the body that decides something.
    Member(String),
    /// An id that is a number, but not written as one.
    Id(String),
    /// The name of a DNS zone with nothing between two of its dots, or at its begin.
    Zone(String),
    /// A path that some reader takes for a known endpoint's.
    Lookalike,
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPath => f.write_str("the target is not a path; tidegate is no forward proxy: set it as the client's base URL, not as its HTTP proxy"),
            Self::Segment => f.write_str("the path has an empty, `.` or `..` segment, or one before a `;`; send the path as the API's reference has it"),
            Self::Encoding => f.write_str("the target has a `%` without two hexadecimal digits, or bytes that are not UTF-8; percent-encode them"),
            Self::EncodedTwice => f.write_str("the path is percent-encoded twice; encode it once"),
            Self::Slash => f.write_str("the path has an encoded `/` where no name may hold one; only names of repositories may"),
            Self::Character => f.write_str("the target has a backslash or a control character; no name in the API has one"),
            Self::Semicolon => f.write_str("the query has a `;`, which some read as `&`; encode it as %3B if it belongs to a value"),
            Self::Nameless => f.write_str("the query has a parameter without a name; remove it"),
            Self::Page(name) => write!(f, "the parameter `{name}` is no number of digits alone; write one `?` before the parameters and `&` between them, as in `?page=2&per_page=200`"),
            Self::Repeated(name) => write!(f, "the parameter `{name}` is given twice; give it once"),
            Self::Disguised(name) => write!(f, "the parameter `{name}` differs from one that the API knows only in how it is spelled; spell it as the reference does"),
            Self::Member(name) => write!(f, "the parameter `{name}` is named like a member of the body, and some read both as one; send it in the body"),
            Self::Id(id) => write!(f, "the id `{id}` is a number in another form than the API's; write its digits alone"),
            Self::Zone(name) => write!(f, "the zone `{name}` has an empty label, which some readers pass over; send it as the DNS has it"),
            Self::Lookalike => f.write_str("the path differs from one of the API's only in case, spaces or a suffix; send it as the reference has it"),
            Self::Override => f.write_str("the query overrides the method (`_method`); use the method itself"),
        }
    }
}

impl From<Ambiguity> for Refusal {
    fn from(ambiguity: Ambiguity) -> Self {
        Self::new(Code::AmbiguousRequest, ambiguity.to_string())
    }
}

impl Target {
    /// Reads a request target: a path, and a query after `?`.
    ///
    /// # Errors
    /// `Ambiguity` where two readers could disagree about it.
    pub fn read(text: &str) -> Result<Self, Ambiguity> {
        let (path, query) = text.split_once('?').unwrap_or((text, ""));
        let query = read_query(query)?;
        if query
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("_method"))
        {
            return Err(Ambiguity::Override);
        }
        Ok(Self::new(read_path(path)?, query))
    }

    fn new(segments: Vec<String>, query: Vec<(String, String)>) -> Self {
        let path = written(&segments);
        Self {
            segments,
            query,
            path,
        }
    }

    /// The decoded segments of the path.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(String::as_str)
    }

    /// Whether the path begins with this segment.
    pub(super) fn begins_with(&self, segment: &str) -> bool {
        self.segments.first().is_some_and(|first| first == segment)
    }

    /// The value of a path parameter of the endpoint that the target matched.
    pub(super) fn path_parameter(&self, endpoint: &Endpoint, name: &str) -> Option<&str> {
        self.segments
            .get(endpoint.template.position(name)?)
            .map(String::as_str)
    }

    /// The value of a query parameter, by its exact name; the first, where it is repeated.
    pub fn query_parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    /// All parameters, decoded, sorted by name.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// Drops the parameters that are not to be kept.
    pub fn keep_query(&mut self, keep: impl Fn(&str) -> bool) {
        self.query.retain(|(name, _)| keep(name));
    }

    /// Sets a query parameter, in place of any it had.
    pub fn set_query(&mut self, name: &str, value: &str) {
        self.query.retain(|(known, _)| known != name);
        self.query.push((name.to_owned(), value.to_owned()));
        self.query.sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// The canonical path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same, to be kept.
    pub fn shared_path(&self) -> Arc<str> {
        Arc::clone(&self.path)
    }

    /// The canonical path and query, to be kept.
    pub fn shared_path_and_query(&self) -> Arc<str> {
        match self.path_and_query() {
            Cow::Borrowed(_) => self.shared_path(),
            Cow::Owned(text) => text.into(),
        }
    }

    /// The canonical path and query: what is sent. Parameters are sorted by name.
    pub fn path_and_query(&self) -> Cow<'_, str> {
        if self.query.is_empty() {
            return Cow::Borrowed(&self.path);
        }
        let mut text = self.path.to_string();
        push_query(&self.query, &mut text);
        Cow::Owned(text)
    }

    /// Each parameter as it is sent, `name=value`, sorted by name.
    pub fn written_query(&self) -> Vec<String> {
        let written = |(name, value): &(String, String)| {
            let mut text = String::new();
            push_parameter(name, value, &mut text);
            text
        };
        self.query.iter().map(written).collect()
    }

    /// Brings to one form what only the endpoint can tell: names of DNS zones, which are the same in either case and with a dot
    /// at their end.
    pub fn settle(&mut self, endpoint: &Endpoint) {
        let mut changed = false;
        for (value, segment) in self.segments.iter_mut().zip(&endpoint.template.segments) {
            if matches!(segment, Segment::Parameter { dns: true, .. }) {
                *value = value.strip_suffix('.').unwrap_or(value).to_lowercase();
                changed = true;
            }
        }
        if changed {
            self.path = written(&self.segments);
        }
    }

    /// Gives a path parameter the spelling that `name` has for it, if any.
    pub(super) fn rename_parameter(
        &mut self,
        endpoint: &Endpoint,
        parameter: &str,
        name: impl Fn(&str) -> Option<String>,
    ) {
        let position = endpoint.template.position(parameter);
        let segment = position.and_then(|position| self.segments.get_mut(position));
        if let Some(segment) = segment
            && let Some(name) = name(segment)
        {
            *segment = name;
            self.path = written(&self.segments);
        }
    }

    /// The same for a query parameter, wherever it is given.
    pub(super) fn rename_query(&mut self, parameter: &str, name: impl Fn(&str) -> Option<String>) {
        let given = self
            .query
            .iter_mut()
            .filter(|(known, _)| known == parameter);
        for (_, value) in given {
            if let Some(name) = name(value) {
                *value = name;
            }
        }
    }

    /// Checks what only the endpoint can tell: encoded slashes, ids, and parameters that decide something.
    ///
    /// # Errors
    /// `Slash`, `Id`, `Zone`, `Page`, `Repeated`, `Disguised` or `Member`.
    pub fn fits(&self, endpoint: &Endpoint) -> Result<(), Ambiguity> {
        for (value, segment) in self.segments.iter().zip(&endpoint.template.segments) {
            let Segment::Parameter { name, slash, dns } = segment else {
                continue;
            };
            if value.contains('/') && !slash {
                return Err(Ambiguity::Slash);
            }
            if names_id(name) && is_odd_number(value) {
                return Err(Ambiguity::Id(value.clone()));
            }
            if *dns && value.split('.').any(str::is_empty) {
                return Err(Ambiguity::Zone(value.clone()));
            }
        }
        let is_member = |name: &str| {
            let mut members = endpoint.inspected().filter_map(Place::first_key);
            members.any(|member| alike(member, name))
        };
        for (index, (name, value)) in self.query.iter().enumerate() {
            let counts = matches!(name.as_str(), "page" | "per_page");
            if counts && !value.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(Ambiguity::Page(name.clone()));
            }
            let mut spelled = false;
            for known in endpoint
                .query
                .iter()
                .filter(|known| alike(&known.name, name))
            {
                spelled = *name == known.name
                    || known.repeats && name.strip_suffix("[]") == Some(&known.name);
                if !spelled {
                    return Err(Ambiguity::Disguised(name.clone()));
                }
            }
            if !spelled && is_member(name) {
                return Err(Ambiguity::Member(name.clone()));
            }
            let again = self
                .query
                .get(index + 1)
                .is_some_and(|(next, _)| next == name);
            if again && endpoint.inspects_query(name) {
                return Err(Ambiguity::Repeated(name.clone()));
            }
        }
        Ok(())
    }

    /// Checks a target that matched no endpoint: nothing may hold an encoded slash, and it must not be an endpoint's to a
    /// reader who does not mind case, spaces at a segment's end, or a format (`.json`) after it.
    ///
    /// # Errors
    /// `Slash` or `Lookalike`.
    pub(super) fn fits_nothing_known(
        &self,
        method: Method,
        catalog: &Catalog,
    ) -> Result<(), Ambiguity> {
        if self.segments.iter().any(|segment| segment.contains('/')) {
            return Err(Ambiguity::Slash);
        }
        let loose: Vec<_> = self
            .segments
            .iter()
            .map(|segment| segment.trim().to_lowercase())
            .collect();
        let mut without_format = loose.clone();
        if let Some(last) = without_format.last_mut() {
            *last = last
                .split(['.', ';'])
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned();
        }
        let known = |segments: &[String]| catalog.find_loosely(method, segments);
        if known(&loose) || known(&without_format) {
            Err(Ambiguity::Lookalike)
        } else {
            Ok(())
        }
    }
}

/// Whether a path parameter is one by which the API names things by number or UUID.
fn names_id(name: &str) -> bool {
    ["id", "uuid", "identifier"].iter().any(|end| {
        name == *end
            || name
                .strip_suffix(end)
                .is_some_and(|rest| rest.ends_with('_'))
    })
}

/// Whether a text is a number to some reader, but not one that the API writes: `012`, `+12`, `12.0`, `1e1`, ` 12`.
fn is_odd_number(text: &str) -> bool {
    let plain_digits =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let begins_as_number = text
        .trim_start()
        .trim_start_matches(['+', '-'])
        .starts_with(|letter: char| letter.is_ascii_digit());
    let in_number = |letter: char| {
        letter.is_ascii_digit() || matches!(letter, '+' | '-' | '.' | 'e' | 'E' | '_' | ' ')
    };
    // A fingerprint or UUID may be all digits too, but is longer than any number and has separators of its own.
    !plain_digits && begins_as_number && text.len() < 32 && text.chars().all(in_number)
}

/// A segment that is a UUID, which is the same in either case, in lower case; any other as it is.
fn settled(segment: String) -> String {
    let is_of_uuid = |(at, byte): (usize, u8)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    if segment.len() == 36 && segment.bytes().enumerate().all(is_of_uuid) {
        segment.to_ascii_lowercase()
    } else {
        segment
    }
}

fn read_path(path: &str) -> Result<Vec<String>, Ambiguity> {
    let rest = path.strip_prefix('/').ok_or(Ambiguity::NotAPath)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest); // python-digitalocean and do-wrapper end their paths so
    if rest.is_empty() {
        return if path.len() > 1 {
            Err(Ambiguity::Segment)
        } else {
            Ok(Vec::new())
        };
    }
    rest.split('/').map(read_segment).collect()
}

fn read_segment(raw: &str) -> Result<String, Ambiguity> {
    let text = if is_plain(raw) {
        raw.to_owned()
    } else {
        read_odd_segment(raw)?
    };
    Ok(settled(text))
}

/// Whether a segment is made of what is the same to every reader, as most are.
fn is_plain(raw: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !raw.is_empty() && raw.bytes().all(plain)
}

fn read_odd_segment(raw: &str) -> Result<String, Ambiguity> {
    let text = decode(raw, false)?;
    // What stands after a `;` some servers drop before they look at dots.
    let mut parts = text.split('/').map(|part| part.split(';').next());
    if parts.any(|bare| matches!(bare, None | Some("" | "." | ".."))) {
        return Err(Ambiguity::Segment);
    }
    if decodes_again(&text) {
        return Err(Ambiguity::EncodedTwice);
    }
    if text.contains('\\') || text.chars().any(char::is_control) {
        return Err(Ambiguity::Character);
    }
    Ok(text)
}

fn decodes_again(text: &str) -> bool {
    text.as_bytes().windows(3).any(|three| matches!(three, [b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

fn read_query(query: &str) -> Result<Vec<(String, String)>, Ambiguity> {
    if query.contains(';') {
        return Err(Ambiguity::Semicolon);
    }
    let mut parameters = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(read_pair)
        .collect::<Result<Vec<_>, _>>()?;
    parameters.sort_by(|(a, _), (b, _)| a.cmp(b)); // stable: repeated ones keep their order
    Ok(parameters)
}

fn read_pair(pair: &str) -> Result<(String, String), Ambiguity> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    let (name, value) = (decode(name, true)?, decode(value, true)?);
    if name.is_empty() {
        return Err(Ambiguity::Nameless);
    }
    if name.chars().chain(value.chars()).any(char::is_control) || name.contains('\\') {
        return Err(Ambiguity::Character);
    }
    Ok((name, value))
}

fn decode(raw: &str, plus_is_space: bool) -> Result<String, Ambiguity> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'%' => {
                let [high, low, ..] = rest else {
                    return Err(Ambiguity::Encoding);
                };
                let digit = |byte: &u8| {
                    char::from(*byte)
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                let (Some(high), Some(low)) = (digit(high), digit(low)) else {
                    return Err(Ambiguity::Encoding);
                };
                bytes.push(high << 4 | low);
                rest = rest.get(2..).unwrap_or_default();
            }
            b'+' if plus_is_space => bytes.push(b' '),
            0x80.. => return Err(Ambiguity::Encoding),
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).map_err(|_| Ambiguity::Encoding)
}

/// Writes a text so that every reader reads it back: all but unreserved characters, `:` and `@` are percent-encoded.
/// A text as it stands in a segment of a path, or in a query.
pub fn encoded(text: &str) -> String {
    let mut written = String::new();
    encode(text, &mut written);
    written
}

fn encode(text: &str, into: &mut String) {
    const HEX: [char; 16] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
    ];
    let stays = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'@')
    };
    if text.bytes().all(stays) {
        into.push_str(text);
        return;
    }
    for byte in text.bytes() {
        if stays(byte) {
            into.push(char::from(byte));
            continue;
        }
        into.push('%');
        for digit in [byte >> 4, byte & 15] {
            into.push(HEX.get(usize::from(digit)).copied().unwrap_or('0'));
        }
    }
}

fn written(segments: &[String]) -> Arc<str> {
    let letters: usize = segments.iter().map(|segment| segment.len() + 1).sum();
    let mut path = String::with_capacity(letters.max(1));
    for segment in segments {
        path.push('/');
        encode(segment, &mut path);
    }
    if path.is_empty() {
        path.push('/');
    }
    path.into()
}

fn push_query(query: &[(String, String)], text: &mut String) {
    for (index, (name, value)) in query.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        push_parameter(name, value, text);
    }
}

fn push_parameter(name: &str, value: &str, text: &mut String) {
    encode(name, text);
    text.push('=');
    encode(value, text);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn harmless_spellings_come_to_one_form() {
        let cases = [
            ("/v2/droplets", "/v2/droplets"),
            ("/v2/droplets/", "/v2/droplets"), // python-digitalocean, do-wrapper
            ("/v2/firewalls?", "/v2/firewalls"), // ansible
            ("/v2/1-clicks?type=", "/v2/1-clicks?type="), // doctl
            ("/v2/1-clicks?type", "/v2/1-clicks?type="), // the same to every reader
            (
                "/v2/droplets?per_page=2&page=1",
                "/v2/droplets?page=1&per_page=2",
            ),
            ("/v2/droplets?tag_name=a+b", "/v2/droplets?tag_name=a%20b"),
            ("/v2/%64roplets/%31", "/v2/droplets/1"), // needless encoding
            (
                "/v2/reserved_ipv6/2409:40d0::1",
                "/v2/reserved_ipv6/2409:40d0::1",
            ),
            (
                "/v2/reserved_ipv6/2409%3A40d0%3a%3A1",
                "/v2/reserved_ipv6/2409:40d0::1",
            ),
            (
                "/v2/registry/r/repositories/a%2fb/tags",
                "/v2/registry/r/repositories/a%2Fb/tags",
            ),
            (
                "/v2/vpcs/506F78A4-E098-11E5-AD9F-000F53306AE1",
                "/v2/vpcs/506f78a4-e098-11e5-ad9f-000f53306ae1",
            ),
            ("/v2/tags/a;b", "/v2/tags/a%3Bb"), // not a path parameter to anyone
            ("/v2/tags/%C3%A4", "/v2/tags/%C3%A4"),
            ("/v2/x?a=1&&b=2", "/v2/x?a=1&b=2"),
            ("/v2/x?b=2&a=2&a=1", "/v2/x?a=2&a=1&b=2"), // repeated ones keep their order
            ("/v2/x?a=%2B&b=c=d", "/v2/x?a=%2B&b=c%3Dd"),
            ("/", "/"),
        ];
        for (text, canonical) in cases {
            assert_eq!(
                Target::read(text).map(|target| target.path_and_query().into_owned()),
                Ok(canonical.to_owned()),
                "target {text:?}"
            );
        }
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        use Ambiguity::*;
        let cases = [
            ("/v2/../v1", Segment),
            ("/v2/./droplets", Segment),
            ("/v2/droplets/..;/account", Segment), // Tomcat drops what stands after the semicolon
            ("/v2/droplets/%2e%3Bx/account", Segment),
            ("/v2/%2e%2E/account", Segment),
            ("/v2//droplets", Segment),
            ("/v2/droplets//", Segment),
            ("//", Segment),
            ("/v2/a%2F..%2Fb", Segment),
            ("/v2/a%2F", Segment),
            ("/v2/droplets/%", Encoding),
            ("/v2/droplets/%4", Encoding),
            ("/v2/droplets/%zz", Encoding),
            ("/v2/droplets/%ff", Encoding),    // not UTF-8
            ("/v2/droplets/\u{e4}", Encoding), // raw, not encoded
            ("/v2/%252e%252e/x", EncodedTwice),
            ("/v2/a\\b", Character),
            ("/v2/a%5Cb", Character),
            ("/v2/a%00", Character),
            ("/v2/a%0d%0aX", Character),
            ("/v2/x?a=%0a", Character),
            ("/v2/x?a=1;b=2", Semicolon),
            ("/v2/x?=1", Nameless),
            ("/v2/x?_method=DELETE", Override),
            ("/v2/x?_METHOD=DELETE", Override),
            ("/v2/x?%5fmethod=DELETE", Override),
            ("v2/x", NotAPath),
            ("http://other/v2/x", NotAPath),
            ("", NotAPath),
            ("*", NotAPath),
        ];
        for (text, ambiguity) in cases {
            assert_eq!(Target::read(text), Err(ambiguity), "target {text:?}");
        }
    }

    #[test]
    fn a_number_is_written_in_one_way() {
        let odd = [
            "012", "+12", "-12", "12.0", "1e1", " 12", "12 ", "1_2", "00",
        ];
        let fine = [
            "12",
            "0",
            "506f78a4-e098-11e5-ad9f-000f53306ae1",
            "ubuntu",
            "a12",
            "3b:16:bf:e4:8b:00:8b:b8:59:8c:a9:d3:f0:19:45:fa",
            "12345678901234567890",
        ];
        assert!(odd.iter().all(|text| is_odd_number(text)));
        assert!(!fine.iter().any(|text| is_odd_number(text)));
    }

    #[test]
    fn a_uuid_is_written_in_one_way_and_what_only_looks_like_one_stays() {
        let cases = [
            (
                "506F78A4-E098-11E5-AD9F-000F53306AE1",
                "506f78a4-e098-11e5-ad9f-000f53306ae1",
            ),
            (
                "506F78A4-E098-11E5-AD9F-000F53306AEG",
                "506F78A4-E098-11E5-AD9F-000F53306AEG",
            ),
            (
                "506F78A4-E098-11E5-AD9F0-00F53306AE1",
                "506F78A4-E098-11E5-AD9F0-00F53306AE1",
            ),
            (
                "506F78A4E-098-11E5-AD9F-000F53306AE1",
                "506F78A4E-098-11E5-AD9F-000F53306AE1",
            ),
            (
                "506F78A4-E098-11E5-AD9F-000F53306AE12",
                "506F78A4-E098-11E5-AD9F-000F53306AE12",
            ),
            (
                "506F78A4-E098-11E5-AD9F-000F53306A-1",
                "506F78A4-E098-11E5-AD9F-000F53306A-1",
            ),
        ];
        for (sent, kept) in cases {
            assert_eq!(settled(sent.to_owned()), kept);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_plain_is_read_as_all_else_is(raw in "[a-zA-Z0-9_.;%/-]{0,6}") {
            if is_plain(&raw) {
                prop_assert_eq!(read_odd_segment(&raw), Ok(raw.clone()));
            }
        }

        #[test]
        fn no_text_panics_and_the_canonical_form_is_a_fixed_point(text in "\\PC{0,40}|(/[a-z%0-9A-F.;+ä]{0,6}){0,5}(\\?([a-z%0-9+;&=\\[\\]]{0,8}){0,4})?") {
            if let Ok(target) = Target::read(&text) {
                let written = target.path_and_query();
                let again = Target::read(&written).unwrap();
                prop_assert_eq!(&again, &target);
                prop_assert_eq!(again.path_and_query(), written);
            }
        }

        #[test]
        fn decoded_segments_survive_writing(segments in prop::collection::vec("[^\\x00-\\x1f\\x7f-\\x9f/\\\\%]{1,8}", 1..4)) {
            let bare = |segment: &String| segment.split(';').next().unwrap_or_default().to_owned();
            prop_assume!(segments.iter().all(|segment| !matches!(bare(segment).as_str(), "" | "." | "..")));
            let target = Target::new(segments, Vec::new());
            prop_assert_eq!(Target::read(&target.path_and_query()).unwrap(), target);
        }
    }
}
