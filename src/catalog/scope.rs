use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// One permission of the DigitalOcean API, written `resource:verb`, as in `droplet:read`.
///
/// Both halves are non-empty and made of `a-z`, `0-9` and `_`; nothing else can be built.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Scope {
    text: Arc<str>,
    colon: usize,
}

impl Scope {
    /// The kind of thing it is about, the half before the colon.
    pub fn family(&self) -> &str {
        self.text.get(..self.colon).unwrap_or_default()
    }

    /// What may be done, the half after the colon.
    pub fn verb(&self) -> &str {
        self.text.get(self.colon + 1..).unwrap_or_default()
    }

    /// The whole, as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

/// Why a text is no scope.
#[derive(Debug, Eq, PartialEq)]
pub struct NoScope;

impl fmt::Display for NoScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scope is written `resource:verb`, in lower case, as in `droplet:read`")
    }
}

impl std::error::Error for NoScope {}

impl FromStr for Scope {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        let (family, verb) = text.split_once(':').ok_or(NoScope)?;
        if !is_word(family) || !is_word(verb) {
            return Err(NoScope);
        }
        Ok(Self {
            text: text.into(),
            colon: family.len(),
        })
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Scopes as a grant writes them: one by name, or a wildcard.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ScopePattern {
    /// `droplet:read`.
    Named(Scope),
    /// `droplet:*`.
    Family(String),
    /// `*:read`: only scopes whose verb is exactly that.
    Verb(String),
    /// `*`.
    All,
}

impl FromStr for ScopePattern {
    type Err = NoScope;

    fn from_str(text: &str) -> Result<Self, NoScope> {
        match text.split_once(':') {
            None if text == "*" => Ok(Self::All),
            Some((family, "*")) if is_word(family) => Ok(Self::Family(family.to_owned())),
            Some(("*", verb)) if is_word(verb) => Ok(Self::Verb(verb.to_owned())),
            Some(_) | None => text.parse().map(Self::Named),
        }
    }
}

/// The number of a scope in its catalogue.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ScopeId(u16);

/// Every scope that a catalogue knows, numbered.
#[derive(Debug, Default)]
pub struct ScopeTable {
    scopes: Vec<Scope>,
    ids: HashMap<Scope, ScopeId>,
    /// What comes with a scope.
    implied: Vec<(ScopeId, ScopeSet)>,
    /// Scopes that exist at DigitalOcean and open no endpoint.
    idle: Vec<Scope>,
}

impl ScopeTable {
    /// The number of a scope, giving it one if it is new.
    ///
    /// # Errors
    /// `None` once there are more scopes than numbers (65,535).
    pub fn intern(&mut self, scope: &Scope) -> Option<ScopeId> {
        if let Some(id) = self.ids.get(scope) {
            return Some(*id);
        }
        let id = ScopeId(u16::try_from(self.scopes.len()).ok()?);
        self.scopes.push(scope.clone());
        self.ids.insert(scope.clone(), id);
        Some(id)
    }

    /// The number of a known scope.
    pub fn id(&self, scope: &Scope) -> Option<ScopeId> {
        self.ids.get(scope).copied()
    }

    /// The scope with that number.
    pub fn name(&self, id: ScopeId) -> Option<&Scope> {
        self.scopes.get(usize::from(id.0))
    }

    /// The scopes of a set, in the order of their numbers.
    pub fn names<'t>(&'t self, set: &'t ScopeSet) -> impl Iterator<Item = &'t Scope> + 't {
        set.indices().filter_map(|index| self.scopes.get(index))
    }

    /// Every scope, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Scope> + Clone {
        self.scopes.iter()
    }

    /// What a pattern covers; empty if it covers nothing that is known.
    pub fn matching(&self, pattern: &ScopePattern) -> ScopeSet {
        let covers = |scope: &Scope| match pattern {
            ScopePattern::Named(named) => scope == named,
            ScopePattern::Family(family) => scope.family() == family,
            ScopePattern::Verb(verb) => scope.verb() == verb,
            ScopePattern::All => true,
        };
        let mut set = ScopeSet::default();
        for (index, _) in self
            .scopes
            .iter()
            .enumerate()
            .filter(|(_, scope)| covers(scope))
        {
            set.insert_index(index);
        }
        for (scope, with_it) in &self.implied {
            if set.has(*scope) {
                set.add(with_it);
            }
        }
        set
    }

    /// Gives who has `scope` what comes with it. What is implied implies nothing further.
    pub(super) fn imply(&mut self, scope: ScopeId, with_it: ScopeSet) {
        self.implied.push((scope, with_it));
    }

    /// Notes a scope that no endpoint asks for.
    pub(super) fn opens_nothing(&mut self, scope: Scope) {
        self.idle.push(scope);
    }

    /// Whether this is a scope of DigitalOcean's that opens no endpoint.
    pub fn is_idle(&self, scope: &Scope) -> bool {
        self.idle.contains(scope)
    }
}

/// A set of scopes of one catalogue, by number: a decision asks whether one set holds another, and nothing else.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ScopeSet {
    words: Vec<u64>,
}

impl ScopeSet {
    /// Adds one.
    pub fn insert(&mut self, id: ScopeId) {
        self.insert_index(usize::from(id.0));
    }

    fn insert_index(&mut self, index: usize) {
        let (word, bit) = (index / 64, index % 64);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// The numbers in it, the lowest first.
    fn indices(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(number, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros();
                left &= left.checked_sub(1)?;
                Some(number * 64 + bit as usize)
            })
        })
    }

    fn has_index(&self, index: usize) -> bool {
        self.words
            .get(index / 64)
            .is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Whether it holds this one.
    pub fn has(&self, id: ScopeId) -> bool {
        self.has_index(usize::from(id.0))
    }

    /// Adds all of another.
    pub fn add(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (mine, theirs) in self.words.iter_mut().zip(&other.words) {
            *mine |= theirs;
        }
    }

    /// What it holds that `other` does not.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        Self {
            words: self
                .words
                .iter()
                .zip(theirs)
                .map(|(mine, theirs)| mine & !theirs)
                .collect(),
        }
    }

    /// Whether the two have a scope in common.
    pub fn meets(&self, other: &Self) -> bool {
        self.words
            .iter()
            .zip(&other.words)
            .any(|(mine, theirs)| mine & theirs != 0)
    }

    /// Whether it holds all of `other`.
    pub fn covers(&self, other: &Self) -> bool {
        let own = self.words.iter().copied().chain(std::iter::repeat(0));
        other
            .words
            .iter()
            .zip(own)
            .all(|(word, own)| word & !own == 0)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// How many it holds.
    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_resource_colon_verb() {
        let cases = [
            ("database:view_credentials", true),
            ("droplet", false),        // no verb
            ("droplet:read:x", false), // a colon is not a scope byte
            ("Droplet:read", false),   // scopes are lower case
            (":read", false),          // no resource
            ("droplet:", false),       // an empty verb
            ("droplet:*", false),      // a pattern, not a scope
            ("droplet :read", false),  // a space
        ];
        for (text, kept) in cases {
            assert_eq!(text.parse::<Scope>().is_ok(), kept, "scope {text:?}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_a_whole_half() {
        let mut table = ScopeTable::default();
        for scope in [
            "droplet:read",
            "droplet:create",
            "actions:read",
            "database:view_credentials",
        ] {
            table.intern(&scope.parse().unwrap()).unwrap();
        }
        let cases = [
            ("droplet:*", "droplet:read droplet:create"),
            ("*:read", "droplet:read actions:read"), // `view_credentials` reads, but is not `read`
            (
                "*",
                "droplet:read droplet:create actions:read database:view_credentials",
            ),
            ("actions:read", "actions:read"),
            ("volume:*", ""),
        ];
        for (pattern, expected) in cases {
            let set = table.matching(&pattern.parse().unwrap());
            let names: Vec<_> = table.names(&set).map(Scope::as_str).collect();
            assert_eq!(names.join(" "), expected, "pattern {pattern:?}");
        }
        for bad in ["*:*", "drop*:read", "droplet:re*", "", "**"] {
            assert_eq!(bad.parse::<ScopePattern>(), Err(NoScope), "pattern {bad:?}");
        }
    }
}
