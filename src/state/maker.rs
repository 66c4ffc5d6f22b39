use serde::{Deserialize, Serialize};

use crate::secret::SecretHash;
use crate::token::TokenId;

/// Who made a token, where nobody issued it by hand.
#[derive(Clone, Debug)]
pub enum Maker {
    /// The exchange of an identity, by a rule of `trust`.
    Trust(Exchanged),
    /// Another token, of which it is a child.
    Parent(Parent),
}

/// The token that made another, and what that other one says of itself.
#[derive(Clone, Debug)]
pub struct Parent {
    /// Its public part.
    pub id: TokenId,
    /// Its name, as it was then.
    pub name: String,
    /// The hash of the secret that was shown: with this the child ends.
    pub hash: SecretHash,
    /// What the child says of itself beyond its roles: a JSON object, as `policy::read_narrowing` takes it.
    pub narrowing: Option<String>,
}

/// What a token was exchanged for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Exchanged {
    /// The rule.
    pub rule: String,
    /// Who vouched, as the configuration called it then.
    pub issuer: String,
}

/// An identity that is taken for a sub-token.
#[derive(Clone, Debug)]
pub struct TakenIdentity {
    /// What tells it from every other.
    pub identity: [u8; 32],
    /// The rule that took it.
    pub rule: String,
    /// Whether it may be taken again: the sub-token that the same rule gave for it before then ends.
    pub again: bool,
    /// Until when it must be known that it was taken.
    pub until: jiff::Timestamp,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum MakerColumn {
    Trust(Exchanged),
    Parent {
        id: String,
        name: String,
        hash: String,
        narrowing: Option<String>,
    },
}

impl Maker {
    /// As the state keeps it.
    pub(super) fn to_json(&self) -> String {
        let written = match self {
            Self::Trust(exchanged) => MakerColumn::Trust(exchanged.clone()),
            Self::Parent(parent) => MakerColumn::Parent {
                id: parent.id.to_string(),
                name: parent.name.clone(),
                hash: parent.hash.to_hex(),
                narrowing: parent.narrowing.clone(),
            },
        };
        serde_json::to_string(&written).unwrap_or_default() // texts always serialise
    }

    /// From what the state keeps.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        match serde_json::from_str(text).ok()? {
            MakerColumn::Trust(exchanged) => Some(Self::Trust(exchanged)),
            MakerColumn::Parent {
                id,
                name,
                hash,
                narrowing,
            } => Some(Self::Parent(Parent {
                id: id.parse().ok()?,
                name,
                hash: SecretHash::from_hex(&hash)?,
                narrowing,
            })),
        }
    }

    /// The token that made it, if one did.
    pub fn parent(&self) -> Option<&Parent> {
        match self {
            Self::Trust(_) => None,
            Self::Parent(parent) => Some(parent),
        }
    }

    /// The rule of `trust` by which it was made, if it was.
    pub fn rule(&self) -> Option<&str> {
        match self {
            Self::Trust(exchanged) => Some(&exchanged.rule),
            Self::Parent(_) => None,
        }
    }
}
