use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::request::Json;

/// How a token may be signed. There is nothing else: neither `none` nor a shared secret can be named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// RSA with PKCS #1 v1.5 and SHA-256.
    Rs256,
    /// RSA with PSS and SHA-256.
    Ps256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rs256, Self::Ps256, Self::Es256, Self::EdDsa];

    /// As a header has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }
}

/// A token as it was presented, read and not believed.
#[derive(Debug)]
pub struct Presented {
    /// How it says that it is signed.
    pub algorithm: Algorithm,
    /// By which of its issuer's keys.
    pub key_id: String,
    /// What it claims: an object.
    pub claims: Json,
    /// What is signed, and the signature.
    pub signed: Signed,
}

/// What was signed, byte for byte, and the signature over it.
#[derive(Debug)]
pub struct Signed {
    /// Header and payload, as they came.
    pub message: String,
    /// The signature.
    pub signature: Vec<u8>,
}

/// Why a text is no token that could be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoJwt {
    /// It has not three parts.
    Parts,
    /// It is longer than any.
    Long,
    /// A part is not written in base64url as it has to be.
    Base64,
    /// Its header or payload is not one JSON object with each key once.
    Json,
    /// It is signed in a way that is never taken.
    Algorithm,
    /// Its header says by no `kid` which key it is signed by.
    KeyId,
    /// Its header asks for what tidegate does not know (`crit`), or says that it is something else.
    Header,
}

impl fmt::Display for NoJwt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parts => f.write_str("a signed JSON Web Token has three parts with `.` between them"),
            Self::Long => write!(f, "it is longer than {MOST_BYTES} bytes, which no issuer's is"),
            Self::Base64 => f.write_str("a part of it is not base64url without padding, written in the one way that there is"),
            Self::Json => f.write_str("its header or payload is not one JSON object with each key once"),
            Self::Algorithm => f.write_str("its `alg` is none that is taken: RS256, PS256, ES256, EdDSA"),
            Self::KeyId => f.write_str("its header has no `kid`, so that nobody can tell which key it is signed by"),
            Self::Header => f.write_str("its header has `crit`, or a `typ` of something else than an identity; present the issuer's own identity token"),
        }
    }
}

/// The longest token that is read. GitHub's have two kilobytes, Kubernetes' one.
pub const MOST_BYTES: usize = 16 << 10;
/// The longest `kid`.
const LONGEST_KEY_ID: usize = 256;

impl Presented {
    /// Reads a token.
    ///
    /// # Errors
    /// `NoToken`.
    pub fn read(text: &str) -> Result<Self, NoJwt> {
        if text.len() > MOST_BYTES {
            return Err(NoJwt::Long);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(NoJwt::Parts)?;
        let (header, payload) = message.split_once('.').ok_or(NoJwt::Parts)?;
        if payload.contains('.') || signature.is_empty() {
            return Err(NoJwt::Parts);
        }
        let (algorithm, key_id) = head(&object(header)?)?;
        Ok(Self {
            algorithm,
            key_id,
            claims: object(payload)?,
            signed: Signed {
                message: message.to_owned(),
                signature: decoded(signature)?,
            },
        })
    }

    /// A claim that is a text.
    pub fn text(&self, claim: &str) -> Option<&str> {
        match self.claims.member(claim) {
            Some(Json::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// By what it is told from every other that was signed: its issuer and `jti`, or where it has none, header and payload. The
    /// signature does not count: of one ECDSA signature anybody can make a second.
    pub fn once(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        match (self.text("iss"), self.text("jti")) {
            (Some(issuer), Some(id)) if !id.is_empty() => {
                hash.update(b"jti\0");
                hash.update(issuer.as_bytes());
                hash.update(b"\0");
                hash.update(id.as_bytes());
            }
            _ => {
                hash.update(b"message\0");
                hash.update(self.signed.message.as_bytes());
            }
        }
        hash.finalize().into()
    }
}

fn head(header: &Json) -> Result<(Algorithm, String), NoJwt> {
    let text = |name: &str| match header.member(name) {
        Some(Json::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    let algorithm = text("alg").and_then(Algorithm::named);
    let algorithm = algorithm.ok_or(NoJwt::Algorithm)?;
    let is_identity = match header.member("typ") {
        None => true,
        Some(Json::Text(typ)) => TYPES.iter().any(|known| known.eq_ignore_ascii_case(typ)),
        Some(_) => false,
    };
    // RFC 7515 §4.1.11: who does not understand what `crit` names must refuse; `b64` (RFC 7797) changes what is signed.
    if !is_identity || header.member("crit").is_some() || header.member("b64").is_some() {
        return Err(NoJwt::Header);
    }
    let key_id = text("kid").filter(|id| !id.is_empty() && id.len() <= LONGEST_KEY_ID);
    Ok((algorithm, key_id.ok_or(NoJwt::KeyId)?.to_owned()))
}

/// What an identity's `typ` is, if it has one: not a logout token or a security event.
const TYPES: [&str; 4] = ["JWT", "application/jwt", "at+jwt", "application/at+jwt"];

fn object(part: &str) -> Result<Json, NoJwt> {
    let value = Json::read_once(&decoded(part)?).map_err(|_| NoJwt::Json)?;
    matches!(value, Json::Map(_))
        .then_some(value)
        .ok_or(NoJwt::Json)
}

/// Strict: no padding, no other alphabet, no line ends, no bits left over at the end.
pub(super) fn decoded(part: &str) -> Result<Vec<u8>, NoJwt> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| NoJwt::Base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part(payload), part("signature"))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn what_is_read_of_a_token_can_be_read_in_one_way() {
        let good = r#"{"alg":"RS256","kid":"k","typ":"JWT"}"#;
        let cases = [
            (token(good, r#"{"iss":"i"}"#), None),
            (token(r#"{"kid":"k","alg":"EdDSA"}"#, "{}"), None),
            (token(r#"{"alg":"RS256","kid":"k","x5t":"x"}"#, "{}"), None), // GitHub sends it
            (
                token(
                    r#"{"alg":"RS256","kid":"k","jku":"https://e.example"}"#,
                    "{}",
                ),
                None,
            ), // and nobody reads it
            (
                token(r#"{"alg":"none","kid":"k"}"#, "{}"),
                Some(NoJwt::Algorithm),
            ),
            (
                token(r#"{"alg":"None","kid":"k"}"#, "{}"),
                Some(NoJwt::Algorithm),
            ),
            (
                token(r#"{"alg":"HS256","kid":"k"}"#, "{}"),
                Some(NoJwt::Algorithm),
            ),
            (
                token(r#"{"alg":"RS512","kid":"k"}"#, "{}"),
                Some(NoJwt::Algorithm),
            ),
            (
                token(r#"{"alg":"rs256","kid":"k"}"#, "{}"),
                Some(NoJwt::Algorithm),
            ),
            (
                token(r#"{"alg":["RS256"],"kid":"k"}"#, "{}"),
                Some(NoJwt::Algorithm),
            ),
            (token(r#"{"kid":"k"}"#, "{}"), Some(NoJwt::Algorithm)),
            (token(r#"{"alg":"RS256"}"#, "{}"), Some(NoJwt::KeyId)),
            (
                token(r#"{"alg":"RS256","kid":1}"#, "{}"),
                Some(NoJwt::KeyId),
            ),
            (
                token(r#"{"alg":"RS256","kid":""}"#, "{}"),
                Some(NoJwt::KeyId),
            ),
            (
                token(r#"{"alg":"RS256","kid":"k","crit":["exp"]}"#, "{}"),
                Some(NoJwt::Header),
            ),
            (
                token(r#"{"alg":"RS256","kid":"k","crit":null}"#, "{}"),
                Some(NoJwt::Header),
            ),
            (
                token(r#"{"alg":"RS256","kid":"k","b64":false}"#, "{}"),
                Some(NoJwt::Header),
            ),
            (
                token(r#"{"alg":"RS256","kid":"k","typ":"logout+jwt"}"#, "{}"),
                Some(NoJwt::Header),
            ),
            (
                token(r#"{"alg":"RS256","kid":"k","typ":1}"#, "{}"),
                Some(NoJwt::Header),
            ),
            (
                token(r#"{"alg":"RS256","kid":"k","alg":"RS256"}"#, "{}"),
                Some(NoJwt::Json),
            ),
            (token(good, r#"{"iss":"i","iss":"i"}"#), Some(NoJwt::Json)), // the same twice is twice
            (
                token(good, r#"{"iss":"i","\u0069ss":"j"}"#),
                Some(NoJwt::Json),
            ),
            (token(good, r#"{"a":{"b":1,"b":2}}"#), Some(NoJwt::Json)),
            (token(good, r#"{"iss":"i"} {}"#), Some(NoJwt::Json)),
            (token(good, "[]"), Some(NoJwt::Json)),
            (token(good, "\u{feff}{}"), Some(NoJwt::Json)),
            (token(good, "{}") + ".x", Some(NoJwt::Parts)), // encrypted ones have five parts
            (
                format!("{}.", URL_SAFE_NO_PAD.encode(good)),
                Some(NoJwt::Parts),
            ),
            ("a.b".into(), Some(NoJwt::Parts)),
            (String::new(), Some(NoJwt::Parts)),
            (token(good, "{}") + "=", Some(NoJwt::Base64)),
            (token(good, "{}") + " ", Some(NoJwt::Base64)),
            (
                format!("{}\n.e30.e30", URL_SAFE_NO_PAD.encode(good)),
                Some(NoJwt::Base64),
            ),
            (
                format!("{}.e31.e30", URL_SAFE_NO_PAD.encode(good)),
                Some(NoJwt::Base64),
            ), // bits left over
            (
                format!("{}.e30.e+0", URL_SAFE_NO_PAD.encode(good)),
                Some(NoJwt::Base64),
            ), // the other alphabet
            (
                token(good, &format!("{{\"a\":\"{}\"}}", "x".repeat(MOST_BYTES))),
                Some(NoJwt::Long),
            ),
        ];
        for (text, wrong) in cases {
            let read = Presented::read(&text);
            assert_eq!(read.err(), wrong, "token {text:?}");
        }
    }

    #[test]
    fn one_signed_thing_is_one_however_its_signature_is_written() {
        let of = |header: &str, payload: &str, signature: &str| {
            let text = token(header, payload);
            let (message, _) = text.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.encode(signature);
            Presented::read(&format!("{message}.{signature}"))
                .unwrap()
                .once()
        };
        let header = r#"{"alg":"ES256","kid":"k"}"#;
        let first = of(header, r#"{"iss":"i","jti":"1"}"#, "a");
        let cases = [
            (header, r#"{"iss":"i","jti":"1"}"#, "b", true), // another signature
            (header, r#"{"iss":"i","jti":"1","x":1}"#, "a", true), // whatever else it says
            (
                r#"{"alg":"ES256","kid":"l"}"#,
                r#"{"iss":"i","jti":"1"}"#,
                "a",
                true,
            ),
            (header, r#"{"iss":"i","jti":"2"}"#, "a", false),
            (header, r#"{"iss":"j","jti":"1"}"#, "a", false), // another issuer's
            (header, r#"{"iss":"i"}"#, "a", false),
        ];
        for (header, payload, signature, same) in cases {
            assert_eq!(
                of(header, payload, signature) == first,
                same,
                "{header} {payload}"
            );
        }
        let without = r#"{"iss":"i"}"#;
        assert_eq!(of(header, without, "a"), of(header, without, "b"));
        assert_ne!(of(header, without, "a"), of(header, r#"{"iss":"i" }"#, "a"));
    }
}
