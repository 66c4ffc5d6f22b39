//! Who may vouch for CI jobs and workloads: signed identities, whose keys they are signed by, and what they are trusted with.
//!
//! A token of an issuer is read strictly ([`Presented`]), held against that issuer's keys ([`Issuers`]) and times, and its claims
//! against the `trust` rules of the policy ([`choose`]). All of it is pure but for [`Issuers`], which fetches keys, and [`Signatures`],
//! which has a thread. Nothing here makes a sub-token, and nothing that was not verified decides anything but which key to ask for.

mod checks;
mod claims;
mod hazards;
mod issuers;
mod jwt;
mod keys;
mod signatures;
mod test;

pub use checks::accept;
pub use claims::{Chosen, NotChosen, choose, printable, run_of};
pub use hazards::{Hazard, hazards};
pub use issuers::{Issuers, Unverified};
pub use jwt::{Algorithm, NoJwt, Presented, Signed};
pub use keys::{KeySet, NoKeys, PublicKey};
pub use signatures::Signatures;
pub use test::run_test;

use std::fmt;

/// Why an identity gets no sub-token. The words are for whoever presented it: they name the claim that did not do, never what would
/// have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotTrusted {
    /// It is no token, or of a form that is never taken.
    Token(NoJwt),
    /// No issuer has its `iss`.
    Issuer,
    /// A claim of the token itself says no: `aud`, `exp`, `nbf`, `iat`, `jti`.
    Claim(&'static str, &'static str),
    /// The issuer has no such key.
    Key,
    /// The signature is not that key's.
    Signature,
    /// No rule takes its claims.
    Rule(NotChosen),
}

impl fmt::Display for NotTrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(why) => write!(f, "the token can't be taken: {why}"),
            Self::Issuer => f.write_str("its `iss` is no issuer that is trusted here; ask who runs tidegate for an entry in `issuers`"),
            Self::Claim(claim, why) => write!(f, "its `{claim}` {why}"),
            Self::Key => f.write_str("its issuer has no key of its `kid` for its `alg`; ask the issuer for a new token"),
            Self::Signature => f.write_str("its signature is not its issuer's"),
            Self::Rule(why) => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for NotTrusted {}
