use std::fmt;

use jiff::Timestamp;

use super::matching::Matcher;
use super::only::{self, ValuePattern};
use super::pattern::Text;
use super::read::{PolicyReader, is_name};
use super::{Ceiling, Vars};
use crate::request::Json;
use crate::token::Limits;
use crate::units::Span;
use crate::yaml::{At, Entry, Map, Node, Value};

/// A rule of `trust`: which identities of an issuer get which sub-tokens.
#[derive(Debug)]
pub struct Trust {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub at: At,
    /// Who vouches, by the name that the configuration's `issuers` has.
    pub issuer: String,
    /// Where that name stands.
    pub issuer_at: At,
    /// What is asked of the claims: all of it. There is something.
    pub claims: Vec<(ClaimKey, Vec<ClaimPattern>)>,
    /// The roles that are given.
    pub roles: Vec<String>,
    /// Their variables, made of claims.
    pub vars: Vec<(String, Text)>,
    /// The claims that stand in these.
    pub used: Vec<ClaimKey>,
    /// The role under which a sub-token reports, for as long as it lives, what its roles would refuse.
    pub ceiling: Option<String>,
    /// How long a sub-token lives.
    pub ttl: Span,
    /// What else it is bound to; it begins when it is made, and has no other end.
    pub limits: Limits,
}

/// Which claim: by its name, or where it stands in others.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClaimKey {
    written: String,
    steps: Vec<String>,
}

/// What a claim may be.
#[derive(Debug)]
pub struct ClaimPattern {
    /// As it was written.
    pub written: PatternForm,
    matcher: Matcher,
}

/// The forms of a pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PatternForm {
    /// Exactly this.
    Exact(String),
    /// With `*` for any characters and `?` for one.
    Glob(String),
    /// What this regular expression matches whole.
    Regex(String),
}

/// One of the policy's own tests of its `trust`.
#[derive(Debug)]
pub struct TrustTest {
    /// Where it stands.
    pub at: At,
    /// Who vouches.
    pub issuer: String,
    /// For what: an object.
    pub claims: Json,
    /// Whether a rule is to take it.
    pub allowed: bool,
}

impl ClaimKey {
    /// Reads a name, or a JSON pointer (RFC 6901), which begins with `/`.
    pub fn read(text: &str) -> Option<Self> {
        let steps = match text.strip_prefix('/') {
            None => vec![text.to_owned()],
            Some(rest) => rest.split('/').map(unescaped).collect::<Option<_>>()?,
        };
        (!text.is_empty()).then(|| Self {
            written: text.to_owned(),
            steps,
        })
    }

    /// What claims have there.
    pub fn find<'c>(&self, claims: &'c Json) -> Option<&'c Json> {
        self.steps
            .iter()
            .try_fold(claims, |value, step| match value {
                Json::List(items) => {
                    let plain = step == "0" || !step.starts_with(['0', '+']);
                    items.get(step.parse::<usize>().ok().filter(|_| plain)?)
                }
                _ => value.member(step),
            })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl fmt::Display for ClaimKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn unescaped(step: &str) -> Option<String> {
    let mut text = String::new();
    let mut letters = step.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '~' => match letters.next()? {
                '0' => '~',
                '1' => '/',
                _ => return None,
            },
            other => other,
        });
    }
    Some(text)
}

impl ClaimPattern {
    fn new(value: &ValuePattern) -> Option<Self> {
        let plain = |text: &Text| text.fill(&Vars::new(), str::to_owned);
        let written = match value {
            ValuePattern::Exact(text) => PatternForm::Exact(plain(text)),
            ValuePattern::Glob(text) => PatternForm::Glob(plain(text)),
            ValuePattern::Regex(text) => PatternForm::Regex(plain(text)),
        };
        let matcher = Matcher::as_written(value).ok()?;
        Some(Self { written, matcher })
    }

    /// Whether it takes the text of a claim, letter for letter.
    pub fn matches(&self, text: &str) -> bool {
        self.matcher.matches(text)
    }
}

/// How long a sub-token lives where the rule does not say.
const USUAL_TTL: u64 = 15 * 60;
/// The longest that it may.
const LONGEST_TTL: u64 = 12 * 3600;

impl PolicyReader<'_> {
    pub(super) fn trust(&mut self, node: &Node) {
        let Some(mut map) = Map::of(node, "a rule of `trust`", &mut self.mistakes) else {
            return;
        };
        let name = self.needed(&mut map, "name");
        if let Some(name) = &name {
            self.trust_name(name, node.at);
        }
        let issuer = map.need("issuer", &mut self.mistakes);
        let issuer_at = issuer.map_or(node.at, |node| node.at);
        let issuer = self.text(issuer, "`issuer`");
        let claims = map
            .need("claims", &mut self.mistakes)
            .map(|node| self.claims(node))
            .unwrap_or_default();
        let roles = map
            .need("roles", &mut self.mistakes)
            .map(|node| self.known_roles(node))
            .unwrap_or_default();
        let (vars, used) = map
            .take("vars")
            .map(|node| self.claimed_variables(node))
            .unwrap_or_default();
        let ttl = map.take("ttl").and_then(|node| self.ttl(node));
        let limits = self.issued_limits(&mut map);
        let ceiling = map.take("ceiling").and_then(|node| self.ceiling_role(node));
        map.finish(&mut self.mistakes);
        let sample = vars.iter().map(|(name, _)| (name.clone(), "x".to_owned()));
        self.bound(
            node.at,
            "the sub-tokens of this rule",
            &roles,
            &sample.collect(),
            ceiling.as_ref(),
        );
        let (Some(name), Some(issuer)) = (name, issuer) else {
            return;
        };
        self.policy.trust.push(Trust {
            name,
            at: node.at,
            issuer,
            issuer_at,
            claims,
            roles,
            vars,
            used,
            ceiling: ceiling.map(|ceiling| ceiling.role),
            ttl: ttl
                .or_else(|| Span::from_seconds(USUAL_TTL))
                .unwrap_or(Span::SECOND),
            limits,
        });
    }

    /// A role that holds as a ceiling for as long as its token lives.
    fn ceiling_role(&mut self, node: &Node) -> Option<Ceiling> {
        let role = self.text(Some(node), "`ceiling`")?;
        self.role_exists(&role, node.at);
        let until = Timestamp::MAX;
        Some(Ceiling { role, until })
    }

    fn trust_name(&mut self, name: &str, at: At) {
        if !is_name(name) {
            let what = format!(
                "`{name}` is no name for a rule; names are letters, digits, `-`, `_` and `.`"
            );
            self.mistakes.add(at, what);
        } else if name.len() > LONGEST_NAME {
            let what = format!(
                "the name of a rule has at most {LONGEST_NAME} letters, as the names of its sub-tokens begin with it"
            );
            self.mistakes.add(at, what);
        }
        if self.policy.trust.iter().any(|rule| rule.name == name) {
            let what = format!("another rule of `trust` has the name `{name}`; names are unique");
            self.mistakes.add(at, what);
        }
    }

    fn claims(&mut self, node: &Node) -> Vec<(ClaimKey, Vec<ClaimPattern>)> {
        let entries = node.entries("`claims`", &mut self.mistakes);
        if entries.is_empty() && matches!(node.value, Value::Map(_)) {
            self.mistakes.add(node.at, "a rule that asks for no claims would trust everybody whom the issuer vouches for; say what must be claimed");
        }
        let claim = |reader: &mut Self, entry: &Entry| {
            let key = reader.claim_key(&entry.key, entry.at)?;
            let values = only::values(&entry.node, &[], &mut reader.mistakes);
            Some((key, values.iter().filter_map(ClaimPattern::new).collect()))
        };
        entries
            .iter()
            .filter_map(|entry| claim(self, entry))
            .collect()
    }

    fn claim_key(&mut self, text: &str, at: At) -> Option<ClaimKey> {
        let key = ClaimKey::read(text);
        if key.is_none() {
            let what = format!(
                "`{text}` is no claim: write its name, or a JSON pointer to it, `/kubernetes.io/namespace`, in which `~1` stands for `/` and `~0` for `~`"
            );
            self.mistakes.add(at, what);
        }
        key
    }

    fn ttl(&mut self, node: &Node) -> Option<Span> {
        let ttl: Span = node.parsed("`ttl`", &mut self.mistakes)?;
        if ttl.seconds() > LONGEST_TTL {
            self.mistakes.add(
                node.at,
                "`ttl` is at most 12h: whoever needs more can prove who it is again",
            );
        }
        Some(ttl)
    }

    /// What roles' variables are made of: texts with `${claims.…}` in them.
    fn claimed_variables(&mut self, node: &Node) -> (Vec<(String, Text)>, Vec<ClaimKey>) {
        let (mut vars, mut used) = (Vec::new(), Vec::new());
        for entry in self.not_empty_map(node, "`vars`") {
            let (at, value) = (
                entry.node.at,
                self.text(Some(&entry.node), "the value of a variable"),
            );
            let Some(text) = value else { continue };
            if text.is_empty() {
                self.mistakes.add(at, format!("the variable `{}` is empty, which could widen what it stands in; give it a value", entry.key));
            }
            let names = names_in(&text);
            for name in &names {
                match name.strip_prefix("claims.") {
                    Some(claim) => used.extend(self.claim_key(claim, at)),
                    None => self.mistakes.add(at, format!("`${{{name}}}` stands for nothing here; a claim is written `${{claims.environment}}`")),
                }
            }
            match Text::read(&text, &names) {
                Ok(read) => vars.push((entry.key.clone(), read)),
                Err(error) => self.mistakes.add(at, format!("`{text}`: {error}")),
            }
        }
        (vars, used)
    }

    /// A test of `trust`: an issuer, claims, and what is to come of them.
    pub(super) fn trust_test(&mut self, at: At, mut map: Map<'_>) {
        let issuer = self.needed(&mut map, "issuer");
        let claims = map.need("claims", &mut self.mistakes);
        let claims = claims.map(super::read::json_of);
        if claims
            .as_ref()
            .is_some_and(|claims| !matches!(claims, Json::Map(_)))
        {
            self.mistakes
                .add(at, "`claims` is a mapping of claims to their values");
        }
        let expect = map
            .need("expect", &mut self.mistakes)
            .and_then(|node| self.expectation(node));
        map.finish(&mut self.mistakes);
        if let (Some(issuer), Some(claims), Some(allowed)) = (issuer, claims, expect) {
            self.policy.trust_tests.push(TrustTest {
                at,
                issuer,
                claims,
                allowed,
            });
        }
    }
}

/// Letters of a rule's name: with the run's id behind it, it still is the name of a token.
const LONGEST_NAME: usize = 64;

/// What stands between `${` and `}`.
fn names_in(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else {
            break;
        };
        names.push(name.to_owned());
        rest = after;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_leads_to_what_stands_there() {
        let claims = br#"{"a":{"b/c":["x","y"],"~":1},"":2,"/a":3}"#;
        let claims = Json::read(claims).unwrap();
        let cases = [
            ("a", Some(r#"{"b/c":["x","y"],"~":1}"#)),
            ("/a/b~1c/1", Some("\"y\"")),
            ("/a/b~1c/01", None),
            ("/a/b~1c/+1", None),
            ("/a/b~1c/2", None),
            ("/a/~0", Some("1")),
            ("/", Some("2")), // the empty name, as RFC 6901 has it
            ("/~1a", Some("3")),
            ("/a/b", None),
            ("a/~", None), // a name, not a pointer
        ];
        for (written, expected) in cases {
            let key = ClaimKey::read(written).unwrap();
            let found = key
                .find(&claims)
                .map(|found| String::from_utf8(found.write()).unwrap());
            assert_eq!(found.as_deref(), expected, "{written}");
        }
        for wrong in ["", "/a~", "/a~2"] {
            assert_eq!(ClaimKey::read(wrong), None, "{wrong}");
        }
    }
}
