use std::collections::BTreeMap;

use super::problem::Problem;
use crate::yaml::At;

/// Where a configuration names what is elsewhere (`policy`, `accounts.default`), so that what is wrong there is told where it is
/// named.
#[derive(Debug, Default)]
pub struct Places {
    file: String,
    keys: BTreeMap<String, At>,
}

impl Places {
    /// Those of a file, of which none is known yet.
    pub fn of(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            keys: BTreeMap::new(),
        }
    }

    /// Notes where a key's value stands.
    pub(super) fn note(&mut self, key: impl Into<String>, at: At) {
        self.keys.insert(key.into(), at);
    }

    /// Where that key's value stands; the file's beginning, if the key was left out.
    pub fn at(&self, key: &str) -> At {
        let beginning = At::START;
        self.keys.get(key).copied().unwrap_or(beginning)
    }

    /// What is wrong with that which the key names.
    pub fn problem(&self, key: &str, what: impl Into<String>) -> Problem {
        Problem {
            file: self.file.clone(),
            at: self.at(key),
            what: what.into(),
        }
    }
}
