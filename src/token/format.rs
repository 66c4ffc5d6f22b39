use std::fmt;
use std::str::FromStr;

use crate::catalog::is_plain_text;
use crate::secret::{Secret, SecretHash, has_token};

/// What every sub-token begins with.
const PREFIX: &str = "tdg_v1_";
const ID_LENGTH: usize = 12;
const SECRET_LENGTH: usize = 38;
const CRC_LENGTH: usize = 6;
const BASE62: [u8; 62] = *b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The public part of a sub-token: twelve base62 digits. It may be shown and logged.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TokenId([u8; ID_LENGTH]);

impl TokenId {
    /// The twelve digits.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default() // base62 is UTF-8
    }

    /// The same, byte by byte.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenId").field(&self.as_str()).finish()
    }
}

/// Why a text is no sub-token, or no part of one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoToken {
    /// It is a real DigitalOcean token.
    Real,
    /// It has not the form of a sub-token.
    Form,
    /// It has the form, but its check digits do not fit: a typing error, or cut.
    Checksum,
    /// It is no id of a sub-token.
    Id,
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Real => "this is a real DigitalOcean token, not a sub-token",
            Self::Form => "a sub-token is `tdg_v1_` and 56 letters and digits",
            Self::Checksum => "the check digits do not fit; was it copied whole?",
            Self::Id => "an id is twelve letters and digits",
        })
    }
}

impl std::error::Error for NoToken {}

impl FromStr for TokenId {
    type Err = NoToken;

    fn from_str(text: &str) -> Result<Self, NoToken> {
        match text.as_bytes().try_into() {
            Ok(digits) if is_base62(text) => Ok(Self(digits)),
            Ok(_) | Err(_) => Err(NoToken::Id),
        }
    }
}

/// Why a text can't be the name of a token: lists, records and the command line must be able to show it and to tell it from other
/// things.
pub fn no_name(text: &str) -> Option<&'static str> {
    const MOST: usize = 128;
    if text.is_empty() {
        Some("a token's name is empty; give it one by which you know it again")
    } else if has_token(text) {
        Some("a token's name looks like a token itself; call it by who has it or what it is for")
    } else if !is_plain_text(text) || text.starts_with('-') {
        Some(
            "a token's name has control or invisible characters, a space at an end, or `-` before it; use letters, digits and signs",
        )
    } else if text.chars().count() > MOST {
        Some(
            "a token's name is longer than 128 characters; what else there is to say belongs into `description`",
        )
    } else {
        None
    }
}

/// A sub-token, whole: `tdg_v1_<id><secret><crc>` with `_` between id and secret, 64 characters.
#[derive(Debug)]
pub struct SubToken {
    /// Its public part.
    pub id: TokenId,
    /// All of it.
    pub secret: Secret,
}

impl SubToken {
    /// Makes a new one from the system's generator.
    ///
    /// # Errors
    /// The generator's own, if it can't give random bytes.
    pub fn generate() -> Result<Self, getrandom::Error> {
        let mut id = TokenId([0; ID_LENGTH]);
        id.0.copy_from_slice(random_digits(ID_LENGTH)?.as_bytes());
        Self::with_id(&id)
    }

    /// Makes a new one for an id that exists: what `rotate` gives out.
    ///
    /// # Errors
    /// The generator's own.
    pub fn with_id(id: &TokenId) -> Result<Self, getrandom::Error> {
        let mut text = format!("{PREFIX}{id}_{}", random_digits(SECRET_LENGTH)?);
        text.extend(checksum(&text).map(char::from));
        Ok(Self {
            id: id.clone(),
            secret: Secret::new(text),
        })
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    /// `NoToken`; nothing is looked up for a text that can't be one.
    pub fn read(text: &str) -> Result<Self, NoToken> {
        let id = Self::id_of(text)?;
        let secret = Secret::new(text.to_owned());
        Ok(Self { id, secret })
    }

    /// The public part of what a client sent, and the hash of all of it, where it is a sub-token: no copy of it is made.
    ///
    /// # Errors
    /// `NoToken`; nothing is looked up for a text that can't be one.
    pub fn recognise(text: &str) -> Result<(TokenId, SecretHash), NoToken> {
        Ok((Self::id_of(text)?, SecretHash::of(text.as_bytes())))
    }

    fn id_of(text: &str) -> Result<TokenId, NoToken> {
        if is_real(text) {
            return Err(NoToken::Real);
        }
        let rest = text.strip_prefix(PREFIX).ok_or(NoToken::Form)?;
        let (id, rest) = rest.split_once('_').ok_or(NoToken::Form)?;
        let id = id.parse().map_err(|_: NoToken| NoToken::Form)?;
        if rest.len() != SECRET_LENGTH + CRC_LENGTH || !is_base62(rest) {
            return Err(NoToken::Form);
        }
        let (body, crc) = text
            .split_at_checked(text.len() - CRC_LENGTH)
            .ok_or(NoToken::Form)?;
        if checksum(body) != crc.as_bytes() {
            return Err(NoToken::Checksum);
        }
        Ok(id)
    }

    /// Its hash.
    pub fn hash(&self) -> SecretHash {
        self.secret.hash()
    }
}

/// Whether a text begins as DigitalOcean's own tokens do: personal (`dop`), OAuth (`doo`) and refresh (`dor`).
fn is_real(text: &str) -> bool {
    matches!(text.as_bytes(), [b'd', b'o', kind, b'_', b'v', b'1', b'_', ..] if kind.is_ascii_lowercase())
}

fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// CRC-32 in base62, the most significant digit first, padded with `0`.
fn checksum(text: &str) -> [u8; CRC_LENGTH] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [b'0'; CRC_LENGTH];
    for digit in digits.iter_mut().rev() {
        *digit = base62(rest % 62);
        rest /= 62;
    }
    digits
}

fn base62(value: u32) -> u8 {
    usize::try_from(value)
        .ok()
        .and_then(|index| BASE62.get(index))
        .copied()
        .unwrap_or(b'0')
}

/// Digits of base62, each as likely as the other: bytes beyond the last multiple of 62 are thrown away.
fn random_digits(count: usize) -> Result<String, getrandom::Error> {
    let mut digits = String::with_capacity(count);
    while digits.len() < count {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes)?;
        let fair = bytes
            .iter()
            .filter(|byte| **byte < 248)
            .map(|byte| char::from(base62(u32::from(*byte) % 62)));
        digits.extend(fair.take(count - digits.len()));
    }
    Ok(digits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_token_is_64_characters_and_reads_back() {
        for _ in 0..100 {
            let token = SubToken::generate().unwrap();
            assert_eq!(token.secret.expose().len(), 64);
            assert_eq!(
                SubToken::read(token.secret.expose()).map(|read| read.id),
                Ok(token.id.clone())
            );
        }
    }

    #[test]
    fn a_typing_error_is_told_apart_offline() {
        let token = SubToken::generate().unwrap();
        let text = token.secret.expose();
        for at in PREFIX.len()..text.len() {
            let mut typo = text.to_owned().into_bytes();
            typo[at] = if typo[at] == b'a' { b'b' } else { b'a' };
            let typo = String::from_utf8(typo).unwrap();
            assert!(
                matches!(
                    SubToken::read(&typo),
                    Err(NoToken::Checksum | NoToken::Form)
                ),
                "typo at {at}"
            );
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let real = format!("dop_v1_{}", "0".repeat(64));
        let cases = [
            (real.as_str(), NoToken::Real),
            ("doo_v1_x", NoToken::Real),
            ("dor_v1_x", NoToken::Real),
            ("", NoToken::Form),
            ("tdg_v1_", NoToken::Form),
            (
                "tdg_v2_4fZ0aB9cD8eF_00000000000000000000000000000000000000000000",
                NoToken::Form,
            ),
            (
                "tdg_v1_4fZ0aB9cD8eF_0000000000000000000000000000000000000000000ä",
                NoToken::Form,
            ),
            (
                "tdg_v1_4fZ0aB9cD8eF_00000000000000000000000000000000000000000000",
                NoToken::Checksum,
            ),
        ];
        for (text, error) in cases {
            assert_eq!(
                SubToken::read(text).map(|read| read.id),
                Err(error),
                "text {text:?}"
            );
        }
    }

    #[test]
    fn the_checksum_is_the_one_of_the_contract() {
        assert_eq!(checksum("123456789"), *b"3jZRME"); // CRC-32 0xCBF43926, in base62
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_panics(text in "\\PC{0,80}|tdg_v1_[0-9A-Za-z]{12}_[0-9A-Za-zä]{40,48}") {
            let _ = SubToken::read(&text);
        }
    }
}
