//! An issuer of identities, as GitHub, GitLab and Kubernetes are for their jobs and workloads: it signs what a test claims, and says
//! over HTTP where its keys are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A key that nobody trusts but tests: `ring` makes none of RSA.
const RSA: &[u8] = include_bytes!("rsa_for_tests.der");

/// A running issuer.
pub struct Issuer {
    /// Its address, which is its tokens' `iss`.
    pub url: String,
    keys: Mutex<Vec<SigningKey>>,
    served: Arc<Served>,
}

struct Served {
    behaviour: Mutex<Behaviour>,
    keys: Mutex<Value>,
    asked: AtomicUsize,
}

/// How it answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Behaviour {
    /// As it should.
    Well,
    /// With this status.
    Status(u16),
    /// By leading there.
    Redirect(String),
    /// As another issuer.
    Posing(String),
    /// With keys that are elsewhere.
    KeysAt(String),
    /// Not at all.
    Silent,
}

/// A key of an issuer.
pub struct SigningKey {
    /// Its `kid`.
    pub id: String,
    pair: Pair,
}

enum Pair {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SigningKey {
    /// A key for tokens of that `alg`.
    pub fn new(id: &str, algorithm: &str) -> Self {
        let random = SystemRandom::new();
        let pair = match algorithm {
            "ES256" => {
                let kind = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let made = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
                Pair::P256(EcdsaKeyPair::from_pkcs8(kind, made.as_ref(), &random).unwrap())
            }
            "EdDSA" => {
                let made = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Pair::Ed25519(Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap())
            }
            _ => Pair::Rsa(Box::new(RsaKeyPair::from_pkcs8(RSA).unwrap())),
        };
        let id = id.to_owned();
        Self { id, pair }
    }

    /// Its public part as a JWK.
    pub fn public(&self) -> Value {
        match &self.pair {
            Pair::Rsa(pair) => {
                let public: ring::rsa::PublicKeyComponents<Vec<u8>> = pair.public_key().into();
                json!({ "kty": "RSA", "use": "sig", "kid": self.id, "n": encoded(&public.n), "e": encoded(&public.e) })
            }
            Pair::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": encoded(x), "y": encoded(y) })
            }
            Pair::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": encoded(pair.public_key().as_ref()) })
            }
        }
    }

    fn sign(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                let padding: &dyn ring::signature::RsaEncoding = if algorithm == "PS256" {
                    &RSA_PSS_SHA256
                } else {
                    &RSA_PKCS1_SHA256
                };
                pair.sign(padding, &random, message, &mut signature)
                    .unwrap();
                signature
            }
            Pair::P256(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token with this header, this payload and this key's signature, in the way that `algorithm` says.
    pub fn token(&self, algorithm: &str, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(algorithm, message.as_bytes());
        format!("{message}.{}", encoded(&signature))
    }
}

/// A part of a token.
pub fn part(value: &Value) -> String {
    encoded(value.to_string().as_bytes())
}

/// Base64url as tokens have it.
pub fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Now, in seconds.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

impl Issuer {
    /// One with a key `key-1` of RSA, on a free port of loopback.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Served {
            behaviour: Mutex::new(Behaviour::Well),
            keys: Mutex::new(json!({ "keys": [] })),
            asked: AtomicUsize::new(0),
        });
        let issuer = Self {
            url: url.clone(),
            keys: Mutex::new(Vec::new()),
            served: served.clone(),
        };
        issuer.rotate(SigningKey::new("key-1", "RS256"));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, url.clone(), served.clone()));
            }
        });
        issuer
    }

    /// Adds a key, as its newest.
    pub fn add(&self, key: SigningKey) {
        self.keys.lock().unwrap().push(key);
        self.publish();
    }

    /// Has this key from now on and no other.
    pub fn rotate(&self, key: SigningKey) {
        *self.keys.lock().unwrap() = vec![key];
        self.publish();
    }

    fn publish(&self) {
        let keys: Vec<_> = self
            .keys
            .lock()
            .unwrap()
            .iter()
            .map(SigningKey::public)
            .collect();
        *self.served.keys.lock().unwrap() = json!({ "keys": keys });
    }

    /// Its public keys.
    pub fn public_keys(&self) -> Value {
        self.served.keys.lock().unwrap().clone()
    }

    /// Answers like that from now on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.served.behaviour.lock().unwrap() = behaviour;
    }

    /// How many requests it has had.
    pub fn asked(&self) -> usize {
        self.served.asked.load(Ordering::SeqCst)
    }

    /// Claims as each of its tokens has them, for `tidegate`, for five minutes from now on, and these besides; null takes one out.
    pub fn claims(&self, more: &Value) -> Value {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::SeqCst);
        let now = now();
        let mut claims = json!({
            "iss": self.url, "aud": "tidegate", "iat": now, "nbf": now, "exp": now + 300,
            "jti": format!("00000000-0000-4000-8000-{number:012}"),
        });
        let members = claims.as_object_mut().unwrap();
        for (name, value) in more.as_object().unwrap() {
            members.insert(name.clone(), value.clone());
        }
        members.retain(|_, value| !value.is_null());
        claims
    }

    /// A token of its newest key with these claims beside the usual ones.
    pub fn token(&self, more: &Value) -> String {
        self.sign("RS256", &self.claims(more))
    }

    /// A token of its newest key with these claims alone.
    pub fn sign(&self, algorithm: &str, claims: &Value) -> String {
        let keys = self.keys.lock().unwrap();
        let key = keys.last().unwrap();
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": key.id });
        key.token(algorithm, &header, claims)
    }
}

async fn serve(mut stream: tokio::net::TcpStream, url: String, served: Arc<Served>) {
    let mut head = Vec::new();
    loop {
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            let mut some = [0; 1024];
            match stream.read(&mut some).await {
                Ok(read) if read > 0 => head.extend_from_slice(&some[..read]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        head.clear();
        served.asked.fetch_add(1, Ordering::SeqCst);
        assert!(
            !text.to_lowercase().contains("authorization"),
            "an issuer is shown no token: {text}"
        );
        let target = text.split(' ').nth(1).unwrap_or_default();
        let behaviour = served.behaviour.lock().unwrap().clone();
        let metadata = |issuer: &str, keys: &str| json!({ "issuer": issuer, "jwks_uri": keys });
        let own_keys = format!("{url}/keys");
        let (status, more, body) = match (behaviour, target) {
            (Behaviour::Silent, _) => return std::future::pending().await,
            (Behaviour::Status(status), _) => (status, String::new(), json!({})),
            (Behaviour::Redirect(to), _) => (302, format!("location: {to}\r\n"), json!({})),
            (Behaviour::Posing(issuer), "/.well-known/openid-configuration") => {
                (200, String::new(), metadata(&issuer, &own_keys))
            }
            (Behaviour::KeysAt(keys), "/.well-known/openid-configuration") => {
                (200, String::new(), metadata(&url, &keys))
            }
            (_, "/.well-known/openid-configuration") => {
                (200, String::new(), metadata(&url, &own_keys))
            }
            (_, "/keys") => (200, String::new(), served.keys.lock().unwrap().clone()),
            _ => (404, String::new(), json!({})),
        };
        let body = body.to_string();
        let answer = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
