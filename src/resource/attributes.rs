use std::sync::Arc;

use super::state::Known;

/// The attributes of a resource, by name. What is not among them is not known, if the kind has it at all.
///
/// A decision hands them from one moment of a resource to the next, so a copy is the same until one of the two is changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attributes(Arc<Vec<(Arc<str>, Known)>>);

impl Attributes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is known of that one.
    pub fn get(&self, name: &str) -> Option<&Known> {
        let at = self.place(name).ok()?;
        self.0.get(at).map(|(_, known)| known)
    }

    /// The first of its values.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.get(name)?.values.first().map(String::as_str)
    }

    /// Whether it is among them.
    pub fn contains_key(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Puts one among them, in the place of what was known of it before.
    pub fn insert(&mut self, name: impl Into<Arc<str>> + AsRef<str>, known: Known) {
        self.change(name, |before| *before = known);
    }

    /// The same where nothing is known of it.
    pub fn insert_missing(&mut self, name: impl Into<Arc<str>> + AsRef<str>, known: Known) {
        if !self.contains_key(name.as_ref()) {
            self.insert(name, known);
        }
    }

    /// Changes what is known of one, be it nothing yet.
    pub fn change(
        &mut self,
        name: impl Into<Arc<str>> + AsRef<str>,
        change: impl FnOnce(&mut Known),
    ) {
        let place = self.place(name.as_ref());
        let all = Arc::make_mut(&mut self.0);
        let at = place.unwrap_or_else(|at| {
            all.insert(at, (name.into(), Known::unknown()));
            at
        });
        if let Some((_, known)) = all.get_mut(at) {
            change(known);
        }
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &str) -> Option<Known> {
        let at = self.place(name).ok()?;
        Some(Arc::make_mut(&mut self.0).remove(at).1)
    }

    /// All of them, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Known)> {
        self.0.iter().map(|(name, known)| (name, known))
    }

    /// Where it is, or would be.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name))
    }
}

impl<N: Into<Arc<str>> + AsRef<str>> FromIterator<(N, Known)> for Attributes {
    fn from_iter<I: IntoIterator<Item = (N, Known)>>(all: I) -> Self {
        let mut attributes = Self::new();
        attributes.extend(all);
        attributes
    }
}

impl<N: Into<Arc<str>> + AsRef<str>> Extend<(N, Known)> for Attributes {
    fn extend<I: IntoIterator<Item = (N, Known)>>(&mut self, all: I) {
        for (name, known) in all {
            self.insert(name, known);
        }
    }
}

impl<N: Into<Arc<str>> + AsRef<str>, const COUNT: usize> From<[(N, Known); COUNT]> for Attributes {
    fn from(all: [(N, Known); COUNT]) -> Self {
        all.into_iter().collect()
    }
}
