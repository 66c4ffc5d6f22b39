use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The name of a kind of resource, as policies write it: `droplet`, `domain_record`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KindName(pub(super) Arc<str>);

impl KindName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A kind of resource: what a selector can ask of it, and how the API shows it.
#[derive(Debug)]
pub struct Kind {
    /// Its name.
    pub name: KindName,
    /// The family of its scopes.
    pub family: String,
    /// The kind whose selector covers it too.
    pub parent: Option<KindName>,
    /// What a selector can ask about.
    pub attributes: Vec<String>,
}

impl Kind {
    /// Whether it has that attribute.
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|known| known == attribute)
    }
}

/// All kinds of a catalogue, by name.
#[derive(Debug, Default)]
pub struct Kinds {
    pub(super) by_name: BTreeMap<String, Kind>,
}

impl Kinds {
    /// The kind of that name.
    pub fn find(&self, name: &str) -> Option<&Kind> {
        self.by_name.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.by_name.values()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}
