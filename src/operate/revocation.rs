use std::fmt;

use jiff::Timestamp;

use super::ShownToken;
use crate::token::TokenStanding;

/// Which living sub-tokens are meant, where several are to end at once: those of an owner, of a rule of `trust`, with one of these
/// roles. What is absent does not narrow; something does.
#[derive(Debug)]
pub(crate) struct Several {
    roles: Vec<String>,
    owner: Option<String>,
    trust: Option<String>,
}

impl Several {
    /// Nothing, where nothing narrows: that would be all.
    pub(crate) fn new(
        roles: Vec<String>,
        owner: Option<String>,
        trust: Option<String>,
    ) -> Option<Self> {
        let narrows = !roles.is_empty() || owner.is_some() || trust.is_some();
        narrows.then_some(Self {
            roles,
            owner,
            trust,
        })
    }

    /// Whether a token is one of them.
    pub(crate) fn has(&self, token: &ShownToken, now: Timestamp) -> bool {
        let Self {
            roles,
            owner,
            trust,
        } = self;
        let has_role = roles.is_empty() || token.roles.iter().any(|role| roles.contains(role));
        let is_theirs = owner.is_none() || token.owner == *owner;
        let is_of_rule = trust.is_none() || token.rule() == trust.as_deref();
        let lives = !matches!(
            token.standing(now),
            TokenStanding::Revoked | TokenStanding::Expired
        );
        has_role && is_theirs && is_of_rule && lives
    }
}

/// As in: 3 living tokens of the owner `alice` with the role `deploy`.
impl fmt::Display for Several {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            roles,
            owner,
            trust,
        } = self;
        let owner = owner
            .as_ref()
            .map(|owner| format!("of the owner `{owner}`"));
        let trust = trust.as_ref().map(|rule| format!("of the rule `{rule}`"));
        let roles =
            (!roles.is_empty()).then(|| format!("with the role `{}`", roles.join("` or `")));
        let all: Vec<_> = [owner, trust, roles].into_iter().flatten().collect();
        f.write_str(&all.join(" "))
    }
}
