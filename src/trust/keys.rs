use std::fmt;

use ring::signature::{
    self, ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};

use super::jwt::{Algorithm, Signed, decoded};
use crate::request::Json;

/// The keys of an issuer: a JSON Web Key Set (RFC 7517), as far as it can be used here.
#[derive(Debug, Default)]
pub struct KeySet(Vec<PublicKey>);

/// One public key that signatures are held against.
#[derive(Debug)]
pub struct PublicKey {
    id: String,
    /// The one algorithm that it is for, if its issuer says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// Why a text is no set of keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoKeys {
    /// It is not a JSON object with a list `keys`.
    Form,
    /// No key in it can be used.
    Unusable,
    /// There are more than any issuer has.
    Many,
}

impl fmt::Display for NoKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("it is no JSON Web Key Set, `{\"keys\": […]}`"),
            Self::Unusable => f.write_str("no key in it can be used: each needs a `kid`, and is of RSA with 2048 to 8192 bits, of P-256 or of Ed25519, for signatures"),
            Self::Many => write!(f, "it has more than {MOST_KEYS} keys"),
        }
    }
}

impl std::error::Error for NoKeys {}

const MOST_KEYS: usize = 100;

impl KeySet {
    /// Reads a set. Keys of other types and uses are passed over, as RFC 7517 §5 has it.
    ///
    /// # Errors
    /// `NoKeys`.
    pub fn read(bytes: &[u8]) -> Result<Self, NoKeys> {
        let set = Json::read(bytes).map_err(|_| NoKeys::Form)?;
        let Some(Json::List(listed)) = set.member("keys") else {
            return Err(NoKeys::Form);
        };
        if listed.len() > MOST_KEYS {
            return Err(NoKeys::Many);
        }
        let keys: Vec<_> = listed.iter().filter_map(PublicKey::read).collect();
        if keys.is_empty() {
            return Err(NoKeys::Unusable);
        }
        Ok(Self(keys))
    }

    /// The keys of that id that a token of that algorithm could be signed by.
    pub fn find<'k>(
        &'k self,
        id: &str,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'k PublicKey> {
        let fits = move |key: &&PublicKey| key.id == id && key.fits(algorithm);
        self.0.iter().filter(fits)
    }
}

impl PublicKey {
    fn read(written: &Json) -> Option<Self> {
        let text = |name: &str| match written.member(name) {
            Some(Json::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        let bytes = |name: &str| text(name).and_then(|text| decoded(text).ok());
        if written.member("use").is_some() && text("use") != Some("sig") {
            return None;
        }
        if let Some(operations) = written.member("key_ops") {
            let Json::List(operations) = operations else {
                return None;
            };
            operations
                .iter()
                .find(|it| **it == Json::Text("verify".into()))?;
        }
        let algorithm = match written.member("alg") {
            None => None,
            Some(_) => Some(Algorithm::named(text("alg")?)?),
        };
        let material = match (text("kty")?, text("crv")) {
            ("RSA", None) => rsa(bytes("n")?, bytes("e")?)?,
            ("EC", Some("P-256")) => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                let whole = x.len() == 32 && y.len() == 32;
                whole.then(|| Material::P256([&[4], &*x, &*y].concat()))?
            }
            ("OKP", Some("Ed25519")) => {
                let x = bytes("x")?;
                (x.len() == 32).then_some(Material::Ed25519(x))?
            }
            _ => return None,
        };
        let id = text("kid").filter(|id| !id.is_empty())?.to_owned();
        Some(Self {
            id,
            algorithm,
            material,
        })
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
        let by_type = match (&self.material, algorithm) {
            (Material::Rsa { .. }, Algorithm::Rs256 | Algorithm::Ps256)
            | (Material::P256(_), Algorithm::Es256)
            | (Material::Ed25519(_), Algorithm::EdDsa) => true,
            (Material::Rsa { .. }, Algorithm::Es256 | Algorithm::EdDsa)
            | (Material::P256(_), Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::EdDsa)
            | (Material::Ed25519(_), Algorithm::Rs256 | Algorithm::Ps256 | Algorithm::Es256) => {
                false
            }
        };
        by_type && self.algorithm.is_none_or(|own| own == algorithm)
    }

    /// Whether the signature is this key's, made in that way.
    pub fn verifies(&self, algorithm: Algorithm, signed: &Signed) -> bool {
        let (message, signature) = (signed.message.as_bytes(), signed.signature.as_slice());
        let by = |how: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(how, key)
                .verify(message, signature)
                .is_ok()
        };
        let verified = match (&self.material, algorithm) {
            (Material::Rsa { modulus, exponent }, Algorithm::Rs256 | Algorithm::Ps256) => {
                let how = if algorithm == Algorithm::Ps256 {
                    &RSA_PSS_2048_8192_SHA256
                } else {
                    &RSA_PKCS1_2048_8192_SHA256
                };
                let key = RsaPublicKeyComponents {
                    n: modulus,
                    e: exponent,
                };
                key.verify(how, message, signature).is_ok()
            }
            (Material::P256(point), Algorithm::Es256) => by(&ECDSA_P256_SHA256_FIXED, point),
            (Material::Ed25519(point), Algorithm::EdDsa) => by(&ED25519, point),
            _ => false,
        };
        verified && self.fits(algorithm)
    }
}

/// An RSA key of 2048 to 8192 bits. Leading zeros that some issuers write count for nothing.
fn rsa(modulus: Vec<u8>, exponent: Vec<u8>) -> Option<Material> {
    let without_zeros =
        |bytes: Vec<u8>| -> Vec<u8> { bytes.into_iter().skip_while(|byte| *byte == 0).collect() };
    let (modulus, exponent) = (without_zeros(modulus), without_zeros(exponent));
    let first = modulus.first()?;
    let bits = modulus.len() * 8 - usize::try_from(first.leading_zeros()).unwrap_or(8);
    let fits = (2048..=8192).contains(&bits) && (1..=4).contains(&exponent.len());
    fits.then_some(Material::Rsa { modulus, exponent })
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    use super::*;
    use Algorithm::{EdDsa, Es256, Ps256, Rs256};

    fn encoded(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[test]
    fn keys_that_are_weak_or_for_something_else_are_none() {
        let rsa = |bytes: usize| json!({ "kty": "RSA", "kid": "k", "n": encoded(&vec![0xff; bytes]), "e": "AQAB" });
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            key
        };
        let point = encoded(&[7; 32]);
        let p256 = json!({ "kty": "EC", "crv": "P-256", "kid": "k", "x": point, "y": point });
        let ed25519 = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": point });
        let cases: [(Value, &[Algorithm]); 20] = [
            (rsa(256), &[Rs256, Ps256]),
            (with(rsa(256), "alg", json!("RS256")), &[Rs256]),
            (with(rsa(256), "use", json!("sig")), &[Rs256, Ps256]),
            (
                with(rsa(256), "key_ops", json!(["verify"])),
                &[Rs256, Ps256],
            ),
            (rsa(255), &[]), // 2040 bits
            (rsa(1025), &[]),
            (
                with(
                    rsa(256),
                    "n",
                    json!(encoded(&[&[0x7f][..], &[0xff; 255]].concat())),
                ),
                &[],
            ), // 2047 bits
            (with(rsa(256), "use", json!("enc")), &[]),
            (with(rsa(256), "key_ops", json!(["encrypt"])), &[]),
            (with(rsa(256), "alg", json!("RS512")), &[]),
            (with(rsa(256), "alg", json!("HS256")), &[]),
            (with(rsa(256), "kid", json!(7)), &[]),
            (with(rsa(256), "e", json!("")), &[]),
            (p256.clone(), &[Es256]),
            (with(p256.clone(), "crv", json!("secp256k1")), &[]),
            (with(p256, "x", json!(encoded(&[7; 31]))), &[]),
            (ed25519.clone(), &[EdDsa]),
            (with(ed25519, "crv", json!("X25519")), &[]),
            (json!({ "kty": "oct", "kid": "k", "k": "c2VjcmV0" }), &[]),
            (json!("k"), &[]),
        ];
        for (key, fits) in cases {
            let set = json!({ "keys": [key] }).to_string();
            let read = KeySet::read(set.as_bytes()).unwrap_or_default();
            let found: Vec<_> = Algorithm::ALL
                .into_iter()
                .filter(|algorithm| read.find("k", *algorithm).next().is_some())
                .collect();
            assert_eq!(found, fits, "key {key}");
            assert!(read.find("K", Rs256).next().is_none(), "another id");
        }
    }

    #[test]
    fn what_is_no_set_of_keys_is_told() {
        let many = json!({ "keys": vec![json!({}); 101] }).to_string();
        let cases = [
            ("", NoKeys::Form),
            ("[]", NoKeys::Form),
            ("{\"keys\":{}}", NoKeys::Form),
            ("{\"keys\":[]}", NoKeys::Unusable),
            ("{\"keys\":[{\"kty\":\"RSA\"}]}", NoKeys::Unusable),
            (&many, NoKeys::Many),
        ];
        for (text, why) in cases {
            assert_eq!(
                KeySet::read(text.as_bytes()).err(),
                Some(why),
                "text {text:?}"
            );
        }
    }
}
