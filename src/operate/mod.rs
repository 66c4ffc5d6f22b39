//! What those who run tidegate do with sub-tokens and ask about requests: the functions beneath the command line, the console's API and
//! its page, so that there is one way to do a thing whoever asks for it.
//!
//! Nothing here reads arguments, prints, or answers a request; who may do what is for the rooms above to say.

mod check;
mod compare;
mod explain;
mod facts;
mod findings;
mod issue;
mod remedy;
mod revocation;
mod rotate;
mod shown_token;
mod suggestion;
mod unneeded;
mod wide;

use std::fmt;

pub(crate) use check::{CheckReport, policy_warnings};
pub(crate) use compare::Compared;
pub(crate) use explain::Asker;
pub use explain::{ExplainGround, ExplainedRequest, Explanation};
pub(crate) use issue::{NewToken, TokenEnd, name, plain_text, time, uses, variable, variables};
pub(crate) use remedy::Remedy;
pub(crate) use revocation::Several;
pub(crate) use rotate::rotate_found;
pub(crate) use shown_token::{ShownToken, all_shown, tree};
pub(crate) use suggestion::{RefusedRequest, suggestion};
pub(crate) use unneeded::{record_files, records, unneeded, unneeded_in_force};

use crate::config;

/// Why something could not be done: lines for people.
#[derive(Debug)]
pub struct Failed(pub(crate) Vec<String>);

impl Failed {
    /// What is told, in one line.
    pub(crate) fn in_a_line(&self) -> String {
        self.0.join("; ")
    }

    /// One line.
    pub(crate) fn because(line: impl fmt::Display) -> Self {
        Self(vec![line.to_string()])
    }
}

impl From<Vec<config::Problem>> for Failed {
    fn from(problems: Vec<config::Problem>) -> Self {
        Self(problems.iter().map(ToString::to_string).collect())
    }
}
