//! How a token stands when all that it hangs on is considered: its own times and uses, the token that made it, and the policy.

use std::sync::Arc;

use jiff::Timestamp;

use super::kept_token::KeptToken;
use super::maker::Parent;
use super::record::StateError;
use super::store::Store;
use crate::policy::{FileToken, Policy};
use crate::refusal::{Code, Refusal};
use crate::token::{Admission, Moment, TokenStanding, Usage, standing};

/// A token at a moment: what is kept of it, how it was used, and when it was revoked.
#[derive(Clone, Debug)]
pub struct SeenToken {
    /// What is kept of it.
    pub kept: KeptToken,
    /// How it was used.
    pub usage: Usage,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// How a token stands, whoever comes and from wherever: what the daemon would say to it, and what lists show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenFate {
    /// As it stands by itself; the token that made it and the policy leave it at that.
    Own(TokenStanding),
    /// It can't be used, as the token that made it can't.
    WithMaker(Ended),
    /// A role, a variable or a ceiling of it is gone from the policy.
    RoleMissing,
}

/// How the token that made another ended, as far as the other one is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// It is gone, or has not the secret any more by which it made the other.
    Gone,
    /// It stands so, and is not active.
    Stands(TokenStanding),
    /// It has lost a role that it handed on, or may hand that on no more.
    HandsOnNoMore,
}

impl SeenToken {
    /// What it is judged by.
    pub fn admission(&self) -> Admission<'_> {
        Admission {
            limits: self.kept.limits(),
            since: self.kept.since(),
            revoked_at: self.revoked_at,
            usage: self.usage,
        }
    }

    /// How it stands, with the token that made it, which `maker` looks up by that one's secret.
    pub fn fate(
        &self,
        policy: &Policy,
        now: Moment,
        maker: impl FnOnce(&Parent) -> Option<SeenToken>,
    ) -> TokenFate {
        let ended = self.kept.parent().and_then(|parent| {
            let maker = maker(parent);
            parent.ended(maker.as_ref(), self.kept.roles(), policy, now)
        });
        let unbound = || self.kept.unbound(policy, now.latest).is_some();
        TokenFate::of(standing(&self.admission(), now), ended, unbound)
    }
}

impl TokenFate {
    /// What a token's own standing, the end of the token that made it, and whether it lacks something in the policy come to, in
    /// the daemon's order. What is over stays over, whatever else it is.
    pub fn of(own: TokenStanding, ended: Option<Ended>, unbound: impl FnOnce() -> bool) -> Self {
        let is_over = !matches!(own, TokenStanding::Active | TokenStanding::NotYetValid);
        match ended {
            _ if is_over => Self::Own(own),
            Some(ended) => Self::WithMaker(ended),
            None if unbound() => Self::RoleMissing,
            None => Self::Own(own),
        }
    }

    /// As lists tell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Own(standing) | Self::WithMaker(Ended::Stands(standing)) => standing.as_str(),
            Self::WithMaker(Ended::Gone) => Code::Revoked.as_str(),
            Self::RoleMissing | Self::WithMaker(Ended::HandsOnNoMore) => Code::RoleMissing.as_str(),
        }
    }

    /// Whether it may be used now or later, if the policy lets it.
    pub fn lives(self) -> bool {
        !matches!(self.as_str(), "revoked" | "expired")
    }
}

impl Ended {
    /// What has become of the token that made another.
    pub fn why(self) -> &'static str {
        match self {
            Self::Gone => "is gone, or has another secret",
            Self::Stands(TokenStanding::Active) => "is active",
            Self::Stands(TokenStanding::Revoked) => "was revoked",
            Self::Stands(TokenStanding::NotYetValid) => "is not valid yet",
            Self::Stands(TokenStanding::Expired | TokenStanding::Idle) => "has ended",
            Self::Stands(TokenStanding::UsedUp) => "was used as often as it may be",
            Self::HandsOnNoMore => "has lost a role that it handed on, or may hand it on no more",
        }
    }

    /// As it is told to who comes with the token that was made.
    pub fn refusal(self) -> Refusal {
        let code = match self {
            Self::Gone | Self::Stands(TokenStanding::Active | TokenStanding::Revoked) => {
                Code::Revoked
            }
            Self::Stands(TokenStanding::NotYetValid) => Code::NotYetValid,
            Self::Stands(TokenStanding::Expired | TokenStanding::Idle) => Code::Expired,
            Self::Stands(TokenStanding::UsedUp) => Code::UsesExhausted,
            Self::HandsOnNoMore => Code::RoleMissing,
        };
        let what = format!(
            "the sub-token that made this one {}; ask its holder for a new one",
            self.why()
        );
        Refusal::new(code, what)
    }
}

impl Parent {
    /// How what it made with these roles ended with it, if that did: it must live, by the secret that it had then, and have the
    /// roles that it handed on, which must still be such as are handed on.
    pub fn ended(
        &self,
        maker: Option<&SeenToken>,
        handed_on: &[String],
        policy: &Policy,
        now: Moment,
    ) -> Option<Ended> {
        let Some(maker) = maker else {
            return Some(Ended::Gone);
        };
        let stands = standing(&maker.admission(), now);
        if stands != TokenStanding::Active {
            return Some(Ended::Stands(stands));
        }
        let is_handed_on = |name: &String| {
            let role = policy.roles.get(name);
            let delegates = role.is_some_and(|role| role.delegate.is_some());
            maker.kept.roles().contains(name) && delegates
        };
        (!handed_on.iter().all(is_handed_on)).then_some(Ended::HandsOnNoMore)
    }

    /// It as it is in the policy file or else in the state, if it has that secret still.
    ///
    /// # Errors
    /// `StateError`.
    pub fn find(
        &self,
        policy: &Policy,
        state: Option<&dyn Store>,
        now: Timestamp,
    ) -> Result<Option<SeenToken>, StateError> {
        let has_id = |token: &&Arc<FileToken>| token.id == self.id;
        let listed = policy.tokens.iter().find(has_id);
        let issued = state
            .map(|state| state.find(self.id.as_str()))
            .transpose()?;
        let issued = issued.flatten().map(Arc::new);
        let Some((kept, _)) = KeptToken::matching(listed, issued, &self.hash, now) else {
            return Ok(None);
        };
        let (usage, revoked_at) = match state {
            None => (Usage::default(), None),
            Some(state) => (state.usage(&self.id)?, state.revoked_at(&self.id)?),
        };
        Ok(Some(SeenToken {
            kept,
            usage,
            revoked_at,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_by_itself_is_told_as_that_then_its_maker_then_its_roles() {
        use Ended::{Gone, HandsOnNoMore, Stands};
        use TokenStanding::{Active, Expired, Idle, NotYetValid, Revoked, UsedUp};
        let cases = [
            (Active, None, false, "active"),
            (NotYetValid, None, false, "not_yet_valid"),
            (Active, None, true, "role_missing"),
            (NotYetValid, None, true, "role_missing"),
            (Expired, None, true, "expired"), // no role brings it back
            (Active, Some(Gone), false, "revoked"),
            (Active, Some(Stands(Revoked)), true, "revoked"), // as the daemon says it: its maker is asked first
            (Active, Some(Stands(Expired)), false, "expired"),
            (Active, Some(Stands(Idle)), false, "expired"),
            (Active, Some(Stands(UsedUp)), false, "expired"),
            (Active, Some(Stands(NotYetValid)), false, "not_yet_valid"),
            (Active, Some(HandsOnNoMore), false, "role_missing"),
            (NotYetValid, Some(Gone), false, "revoked"),
            (Revoked, Some(Stands(Expired)), false, "revoked"),
            (UsedUp, Some(Gone), false, "expired"),
        ];
        for (own, ended, unbound, told) in cases {
            let fate = TokenFate::of(own, ended, || unbound);
            assert_eq!(fate.as_str(), told, "{own:?}, {ended:?}, {unbound}");
            if let Some(ended) = ended.filter(|_| matches!(fate, TokenFate::WithMaker(_))) {
                let code = ended.refusal().code.as_str();
                let state = code.replace("uses_exhausted", "expired");
                assert_eq!(state, told, "what is told is what is done");
            }
        }
    }
}
