//! Bytes that must not get out: they are not printed, not cloned, not compared in variable time, and wiped on drop; their
//! files are read only if nobody else could, and no core dump has them.

mod command;
pub mod file;
pub mod process;
mod real;

use std::fmt::{self, Write};
use std::sync::LazyLock;

use memchr::memmem::Finder;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use command::TokenCommand;
pub use real::no_real_token;

/// A secret text: a real token, or a sub-token on its way through.
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes the text in; the caller's copy, if it has one, is the caller's to wipe.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself. Called where it goes out on purpose, and nowhere else: the upstream's `Authorization`
    /// header, the search for it in answers, the one time a new sub-token is printed, and where a listener's key is made of
    /// its file.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Its hash, by which sub-tokens are kept.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The SHA-256 of a secret. It is compared in constant time.
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// The hash of these bytes.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// From its 32 bytes, as the state keeps them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// From 64 hexadecimal digits, as the policy file writes it after `sha256:`.
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let digit = |byte: u8| {
            char::from(byte)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let bytes: Option<Vec<u8>> = pairs
            .iter()
            .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
            .collect();
        Self::from_bytes(&bytes?)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        self.0
            .iter()
            .fold(String::with_capacity(64), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
    }

    /// Whether the two are the same, in a time that does not tell how nearly.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// A text in which whatever looks like a token, real or sub-, is cut down to its prefix.
pub fn redacted(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, prefix, after)) = next_token(rest) {
        clean.push_str(before);
        clean.push_str(prefix);
        rest = after.trim_start_matches(is_of_token);
        if rest.len() < after.len() {
            clean.push('…');
        }
    }
    clean.push_str(rest);
    clean
}

/// Whether anything in a text looks like a token, so that [`redacted`] cuts it down.
pub fn has_token(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, _, after)) = next_token(rest) {
        if after.starts_with(is_of_token) {
            return true;
        }
        rest = after;
    }
    false
}

fn is_of_token(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// The first thing that begins like a token: what is before it, its prefix, and what follows the prefix.
fn next_token(text: &str) -> Option<(&str, &str, &str)> {
    static VERSION: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("_v1_"));
    VERSION.find_iter(text.as_bytes()).find_map(|at| {
        let (head, after) = text.split_at_checked(at + 4)?;
        let begin = head.len().checked_sub(7)?;
        let (before, prefix) = head.split_at_checked(begin)?;
        let is_token = prefix.starts_with("tdg_") || prefix.starts_with("do");
        is_token.then_some((before, prefix, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing_of_a_secret() {
        let secret = Secret::new("tdg_v1_not-a-real-one".into());
        assert_eq!(
            format!("{secret:?} {:?}", secret.hash()),
            "Secret(…) SecretHash(…)"
        );
    }

    #[test]
    fn what_looks_like_a_token_is_cut_down() {
        let cases = [
            ("/v2/x", "/v2/x"),
            ("a tdg_v1_4fZ0aB9cD8eF_0123 b", "a tdg_v1_… b"),
            ("dop_v1_abc,doo_v1_def", "dop_v1_…,doo_v1_…"),
            ("_v1_", "_v1_"),
            ("write `tdg_v1_` and more", "write `tdg_v1_` and more"),
            ("ädo_v1_x", "ädo_v1_x"),
            ("my_v1_thing", "my_v1_thing"),
        ];
        for (text, expected) in cases {
            assert_eq!(redacted(text), expected, "text {text:?}");
            assert_eq!(has_token(text), text != expected, "text {text:?}");
        }
    }

    #[test]
    fn a_hash_reads_back_from_hexadecimal() {
        let hash = SecretHash::of(b"abc");
        assert_eq!(
            hash.to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(SecretHash::from_hex(&hash.to_hex()).unwrap().matches(&hash));
        assert!(
            SecretHash::from_hex(&hash.to_hex().to_uppercase())
                .unwrap()
                .matches(&hash)
        );
        for bad in ["", "ba", &"g".repeat(64), &"a".repeat(63), &"ä".repeat(32)] {
            assert!(SecretHash::from_hex(bad).is_none(), "hash {bad:?}");
        }
    }
}
