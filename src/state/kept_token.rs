use std::sync::Arc;

use jiff::Timestamp;

use super::live::KeptIn;
use super::maker::{Maker, Parent};
use super::record::Issued;
use crate::audit::Token;
use crate::policy::{self, Beside, Ceiling, FileToken, Policy, Unbound, Vars};
use crate::secret::SecretHash;
use crate::token::{Limits, TokenId};

/// What is kept of a token.
#[derive(Clone, Debug)]
pub enum KeptToken {
    /// In the policy file.
    Listed(Arc<FileToken>),
    /// In the state.
    Issued(Arc<Issued>),
}

impl KeptToken {
    /// The record whose secret this is, and until when the secret holds, if that is the one before a rotation: it counts for
    /// as long as its grace lasts.
    pub fn matching(
        in_policy: Option<&Arc<FileToken>>,
        issued: Option<Arc<Issued>>,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Option<(Self, Option<Timestamp>)> {
        if let Some(listed) = in_policy.filter(|listed| listed.hash.matches(hash)) {
            return Some((Self::Listed(listed.clone()), None));
        }
        let issued = issued?;
        let grace = match &issued.old {
            _ if issued.hash.matches(hash) => None,
            Some((old, until)) if old.matches(hash) && now < *until => Some(*until),
            Some(_) | None => return None,
        };
        Some((Self::Issued(issued), grace))
    }

    /// It as the record shows it.
    pub(crate) fn told(&self, id: &TokenId) -> Token {
        Token {
            id: id.clone(),
            name: self.name().to_owned(),
        }
    }

    /// Its public part.
    pub fn id(&self) -> &TokenId {
        match self {
            Self::Listed(token) => &token.id,
            Self::Issued(token) => &token.id,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Listed(token) => &token.name,
            Self::Issued(token) => &token.name,
        }
    }

    /// Its roles.
    pub fn roles(&self) -> &[String] {
        match self {
            Self::Listed(token) => &token.roles,
            Self::Issued(token) => &token.roles,
        }
    }

    /// The role under which it reports until a time, that time past or not.
    pub fn ceiling(&self) -> Option<&Ceiling> {
        match self {
            Self::Listed(token) => token.ceiling.as_deref(),
            Self::Issued(token) => token.ceiling.as_deref(),
        }
    }

    /// What it is bound to.
    pub fn limits(&self) -> &Limits {
        match self {
            Self::Listed(token) => &token.limits,
            Self::Issued(token) => &token.limits,
        }
    }

    /// Where it is kept.
    pub fn kept_in(&self) -> KeptIn {
        match self {
            Self::Listed(_) => KeptIn::Policy,
            Self::Issued(_) => KeptIn::State,
        }
    }

    /// The token that made it, if one did.
    pub fn parent(&self) -> Option<&Parent> {
        match self {
            Self::Listed(_) => None,
            Self::Issued(token) => token.maker.as_deref().and_then(Maker::parent),
        }
    }

    /// The rule of `trust` that gave it, if one did.
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Listed(_) => None,
            Self::Issued(token) => token.maker.as_deref().and_then(Maker::rule),
        }
    }

    /// Its variables.
    pub fn vars(&self) -> &Vars {
        match self {
            Self::Listed(token) => &token.vars,
            Self::Issued(token) => &token.vars,
        }
    }

    /// Since when it is there; one of the policy file always was.
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Listed(_) => None,
            Self::Issued(token) => Some(token.created_at),
        }
    }

    /// What it has beside its roles now.
    pub fn beside(&self, now: Timestamp) -> Beside<'_> {
        let own = self.parent().and_then(|parent| parent.narrowing.as_deref());
        let ceiling = self.ceiling().filter(|ceiling| ceiling.holds(now));
        match (own, ceiling) {
            (Some(own), _) => Beside::Itself(own), // such a token has no ceiling
            (None, Some(ceiling)) => Beside::Ceiling(&ceiling.role),
            (None, None) => Beside::Nothing,
        }
    }

    /// What it needs and a policy does not have: a role, a variable, the ceiling that holds.
    pub fn unbound(&self, policy: &Policy, now: Timestamp) -> Option<Unbound> {
        let ceiling = self.ceiling().filter(|ceiling| ceiling.holds(now));
        let ceiling = ceiling.map(|ceiling| ceiling.role.as_str());
        policy::binds(policy, self.roles(), self.vars(), ceiling).err()
    }
}
