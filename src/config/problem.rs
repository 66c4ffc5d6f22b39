use std::fmt;

use crate::yaml::At;

/// Something that keeps the rules from being read: a line for the operator.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The file that it is in, or that names what it is in.
    pub file: String,
    /// Where.
    pub at: At,
    /// What is wrong, why, and what to do instead.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: error: {}", self.file, self.at, self.what)
    }
}
