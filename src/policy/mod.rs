//! What sub-tokens may do: roles and their grants, and the decision over one request.
//!
//! A policy is read and checked whole, or not at all. What it means is compiled here once; [`by_touches`] then takes values and
//! returns a value. Nothing in this room waits, looks at a clock or at a socket, or knows HTTP: the daemon, `check` and its
//! tests call the same function.

mod actions;
mod additions;
mod bind;
mod case;
mod ceiling;
mod decide;
mod delegate;
mod fields;
mod grant;
mod interest;
mod matching;
mod members;
mod only;
mod operator;
mod pattern;
mod read;
mod selections;
mod settled;
mod test;
mod touched;
mod trust;
mod verdict;
mod within;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use additions::{Added, Into as IntoProject};
pub use bind::{Grants, Unbound, Vars, bind, binds, narrowed, under};
pub use ceiling::Ceiling;
pub use decide::{Allowed, Decision, Shown, scopes_used};
pub use delegate::{Beside, Delegate, read_narrowing, together};
pub use fields::{Fields, Standing};
pub use grant::{Additions, BoundGrant, Covers, Grant, OnCreate};
pub use interest::{InAnswer, InRequest};
pub use matching::{BoundOnly, Fit, Matcher, Side, Use};
pub use members::Sent;
pub use only::{Only, Selector, ValuePattern};
pub use operator::{Operator, Right};
pub use pattern::{PatternText, RequestPattern, Text};
pub use read::{read, read_alone, read_given};
pub use settled::settled_by;
pub use test::{
    OWN, PolicyTest, Told, asked as asked_by_test, decide_asked, judge as judge_test, judge_asked,
    judge_by, run as run_test, touches,
};
pub use touched::{could_take_from_sight, one_tag, takes_from_sight, why_hidden, with_additions};
pub use trust::{ClaimKey, ClaimPattern, PatternForm, Trust, TrustTest};
pub use verdict::{by_head, by_request, by_touches};
#[cfg(test)]
use within::{decide, precheck};
pub use within::{goes_on, lacks_scope, shows, wants_touches};

use crate::secret::SecretHash;
use crate::token::{Limits, TokenId};
use crate::yaml::At;

/// A policy file, checked.
#[derive(Debug, Default)]
pub struct Policy {
    /// The roles, by name.
    pub roles: BTreeMap<String, Arc<Role>>,
    /// The tokens that it lists.
    pub tokens: Vec<Arc<FileToken>>,
    /// Which identities get which sub-tokens, the first that matches first.
    pub trust: Vec<Trust>,
    /// The tests that `tidegate check` runs.
    pub tests: Vec<PolicyTest>,
    /// Those of `trust`.
    pub trust_tests: Vec<TrustTest>,
}

/// What a token with this role may do.
#[derive(Debug)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The account whose real token goes in.
    pub account: String,
    /// The variables that a token must give.
    pub vars: Vec<String>,
    /// What it allows.
    pub allow: Vec<Grant>,
    /// What it forbids, whatever allows it.
    pub deny: Vec<Grant>,
    /// What it gives at the console.
    pub operator: Option<Operator>,
    /// Whether its tokens may make others.
    pub delegate: Option<Delegate>,
}

/// A token that the policy file lists, by the hash of its secret.
#[derive(Clone, Debug)]
pub struct FileToken {
    /// Its name.
    pub name: String,
    /// Its public part.
    pub id: TokenId,
    /// The hash of the whole token.
    pub hash: SecretHash,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its variables.
    pub vars: Vars,
    /// What it is bound to.
    pub limits: Limits,
    /// Who has it.
    pub owner: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The role under which it reports what its roles would refuse.
    pub ceiling: Option<Arc<Ceiling>>,
    /// Where it stands in the file.
    pub at: At,
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod ways_around;
