use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::oneshot;
use tracing::warn;

use super::NotTrusted;
use super::issuers::{Unverified, verifies};
use super::jwt::Presented;
use super::keys::KeySet;

/// Where signatures are held against keys: a thread of its own, which begins with the first of them and takes one after the other.
/// However many identities strangers present, it takes one processor at most, and none of the threads that serve requests.
#[derive(Default)]
pub struct Signatures(Mutex<Option<Sender<Checking>>>);

/// A signature to be checked, and who waits for that.
struct Checking {
    presented: Arc<Presented>,
    keys: Arc<KeySet>,
    answer: oneshot::Sender<Result<(), NotTrusted>>,
}

impl Signatures {
    /// Holds the signature of what was presented against the keys of its issuer.
    ///
    /// # Errors
    /// `Unverified`: `Unheard` where there can be no thread.
    pub(super) async fn check(
        &self,
        presented: &Arc<Presented>,
        keys: Arc<KeySet>,
    ) -> Result<(), Unverified> {
        let (answer, answered) = oneshot::channel();
        let presented = presented.clone();
        let checking = Checking {
            presented,
            keys,
            answer,
        };
        self.hand_in(checking).map_err(|error| {
            warn!(%error, "there can be no thread that checks signatures");
            Unverified::Unheard
        })?;
        let checked = answered.await.map_err(|_| Unverified::Unheard)?;
        checked.map_err(Unverified::NotTrusted)
    }

    /// Hands one to the thread, which begins if there is none.
    fn hand_in(&self, checking: Checking) -> io::Result<()> {
        let mut thread = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = match thread.take() {
            Some(queue) => queue,
            None => begin()?,
        };
        // One that fell is begun anew by the next; who asked this time is told that nobody can say.
        if queue.send(checking).is_ok() {
            *thread = Some(queue);
        }
        Ok(())
    }
}

fn begin() -> io::Result<Sender<Checking>> {
    let (queue, asked) = channel();
    let check = move || check_all(&asked);
    let named = thread::Builder::new().name("signatures".into());
    named.spawn(check).map(|_| queue)
}

fn check_all(asked: &Receiver<Checking>) {
    while let Ok(Checking {
        presented,
        keys,
        answer,
    }) = asked.recv()
    {
        // Of who has gone nothing is checked any more.
        if !answer.is_closed() {
            let _ = answer.send(verifies(&keys, &presented));
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::rand::SystemRandom;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    fn encoded(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    #[tokio::test]
    async fn one_thread_checks_all_and_another_follows_one_that_fell() {
        let made = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(made.as_ref()).unwrap();
        let x = encoded(pair.public_key().as_ref());
        let set =
            serde_json::json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] });
        let keys = Arc::new(KeySet::read(set.to_string().as_bytes()).unwrap());
        let token = |signed: &str| {
            let head = encoded(br#"{"alg":"EdDSA","kid":"k"}"#);
            let signature = encoded(pair.sign(format!("{head}.{signed}").as_bytes()).as_ref());
            let text = format!("{head}.{}.{signature}", encoded(b"{}"));
            Arc::new(Presented::read(&text).unwrap())
        };
        let (good, bad) = (token(&encoded(b"{}")), token("e31"));
        let signatures = Signatures::default();
        for _ in 0..2 {
            assert_eq!(signatures.check(&good, keys.clone()).await, Ok(()));
            let refused = Unverified::NotTrusted(NotTrusted::Signature);
            assert_eq!(signatures.check(&bad, keys.clone()).await, Err(refused));
            *signatures.0.lock().unwrap() = Some(channel().0); // nobody hears the other end
            let unheard = Err(Unverified::Unheard);
            assert_eq!(signatures.check(&good, keys.clone()).await, unheard);
        }
    }
}
