use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::jwt::Presented;
use super::keys::KeySet;
use super::signatures::Signatures;
use super::{NoJwt, NotTrusted};
use crate::config::{IssuerSettings, KeySource, KeyUrl};
use crate::request::Json;
use crate::upstream::{Fetched, Fetcher};

/// The issuers of a configuration, and the keys of each as far as they were asked for.
#[derive(Default)]
pub struct Issuers(Vec<Issuer>);

/// One of them.
pub struct Issuer {
    /// What the configuration calls it.
    pub name: String,
    /// What the configuration says of it.
    pub settings: IssuerSettings,
    keys: KeySupply,
}

enum KeySupply {
    /// Read with the configuration, and watched as its other files are.
    File(Arc<KeySet>),
    /// Asked for.
    Fetched(Box<Fetcher>, Arc<IssuerKeys>),
}

/// Why an identity could not be verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Unverified {
    /// It is not to be trusted.
    NotTrusted(NotTrusted),
    /// Its issuer can't be asked for its keys.
    Away,
    /// Nobody can check it now.
    Unheard,
}

/// The least and the longest for which keys are kept, whatever their issuer says.
const KEPT_LEAST: Duration = Duration::from_secs(5 * 60);
const KEPT_MOST: Duration = Duration::from_secs(60 * 60);
/// For how long after that the last ones serve where the issuer is away.
const SERVES_ON: Duration = Duration::from_secs(60 * 60);
/// How often an unknown `kid` may make tidegate ask anew, and how often an issuer that is away is asked where the last keys serve.
const ASKED_ANEW: Duration = Duration::from_secs(30);
/// How often an issuer is asked of which there are no keys to serve by.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// The keys of one issuer, from one configuration to the next.
#[derive(Default)]
struct IssuerKeys {
    known: Mutex<KnownKeys>,
    /// Held by whoever asks, so that one does.
    asking: tokio::sync::Mutex<()>,
}

/// What is known of an issuer's keys.
#[derive(Clone, Default)]
struct KnownKeys {
    keys: Option<HeldKeys>,
    /// When asking failed last, since it went well.
    failed: Option<Instant>,
    /// When an unknown `kid` made tidegate ask last.
    asked_for_unknown: Option<Instant>,
}

#[derive(Clone)]
struct HeldKeys {
    keys: Arc<KeySet>,
    fetched: Instant,
    kept_for: Duration,
}

/// What is to be done for a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum KeyStep {
    /// The key is there.
    Use,
    /// There is none, and asking now would be too often.
    NoKey,
    /// The issuer was away a moment ago.
    Away,
    /// Ask the issuer.
    Ask,
}

impl KnownKeys {
    /// What to do for a token whose key is among those that are known, or not.
    fn step(&self, has_key: bool, now: Instant) -> KeyStep {
        let within = |since: Option<Instant>, time| {
            since.is_some_and(|since| now.duration_since(since) < time)
        };
        let Some(held) = &self.keys else {
            return if within(self.failed, ASKED_AGAIN) {
                KeyStep::Away
            } else {
                KeyStep::Ask
            };
        };
        let age = now.duration_since(held.fetched);
        if age < held.kept_for {
            return match has_key {
                true => KeyStep::Use,
                false if within(self.asked_for_unknown, ASKED_ANEW) => KeyStep::NoKey,
                false => KeyStep::Ask,
            };
        }
        if age >= held.kept_for + SERVES_ON {
            return if within(self.failed, ASKED_AGAIN) {
                KeyStep::Away
            } else {
                KeyStep::Ask
            };
        }
        match has_key {
            _ if !within(self.failed, ASKED_ANEW) => KeyStep::Ask,
            true => KeyStep::Use,
            false => KeyStep::Away,
        }
    }

    /// Whether the keys that there are serve on though the issuer is away.
    fn serves(&self, now: Instant) -> bool {
        self.keys
            .as_ref()
            .is_some_and(|held| now.duration_since(held.fetched) < held.kept_for + SERVES_ON)
    }
}

impl Issuers {
    /// Those of a configuration. Keys that are known from the one before are kept where they would come from the same place.
    ///
    /// # Errors
    /// For each issuer that can't be used the key of the configuration that leads to what is wrong, and what that is.
    pub fn new(
        settings: &BTreeMap<String, IssuerSettings>,
        before: Option<&Self>,
    ) -> Result<Self, Vec<(String, String)>> {
        let (mut issuers, mut wrong) = (Vec::new(), Vec::new());
        for (name, settings) in settings {
            let known = before.into_iter().flat_map(|before| &before.0);
            let known = known
                .filter(|issuer| issuer.settings == *settings)
                .find_map(Issuer::kept);
            match Issuer::new(name, settings, known) {
                Ok(issuer) => issuers.push(issuer),
                Err(why) => wrong.push((
                    format!("issuers.{name}"),
                    format!("the issuer `{name}`: {why}"),
                )),
            }
        }
        if wrong.is_empty() {
            Ok(Self(issuers))
        } else {
            Err(wrong)
        }
    }

    /// The issuer whose token this says that it is.
    ///
    /// # Errors
    /// `NotTrusted::Issuer`.
    pub fn of(&self, presented: &Presented) -> Result<&Issuer, NotTrusted> {
        let issuer = presented.text("iss").ok_or(NotTrusted::Issuer)?;
        let found = self.0.iter().find(|known| known.settings.url == issuer);
        found.ok_or(NotTrusted::Issuer)
    }
}

impl Issuer {
    fn new(
        name: &str,
        settings: &IssuerSettings,
        known: Option<Arc<IssuerKeys>>,
    ) -> Result<Self, String> {
        let ca_file = settings.ca_file.as_deref();
        let keys = match &settings.keys {
            KeySource::File(path) => {
                let unreadable =
                    |why: String| format!("its keys `{}` can't be read: {why}", path.display());
                let text = fs::read(path).map_err(|error| unreadable(error.to_string()))?;
                let read = KeySet::read(&text).map_err(|why| unreadable(why.to_string()))?;
                KeySupply::File(Arc::new(read))
            }
            KeySource::Discovery(url) | KeySource::Url(url) => KeySupply::Fetched(
                Box::new(Fetcher::new(url, ca_file)?),
                known.unwrap_or_default(),
            ),
        };
        Ok(Self {
            name: name.to_owned(),
            settings: settings.clone(),
            keys,
        })
    }

    fn kept(&self) -> Option<Arc<IssuerKeys>> {
        match &self.keys {
            KeySupply::File(_) => None,
            KeySupply::Fetched(_, kept) => Some(kept.clone()),
        }
    }

    /// Holds a signature against this issuer's key of that `kid`, where signatures are.
    ///
    /// # Errors
    /// `Unverified`.
    pub async fn verify(
        &self,
        presented: &Arc<Presented>,
        signatures: &Signatures,
    ) -> Result<(), Unverified> {
        let keys = match &self.keys {
            KeySupply::File(keys) => keys.clone(),
            KeySupply::Fetched(fetcher, kept) => self.keys_for(fetcher, kept, presented).await?,
        };
        signatures.check(presented, keys).await
    }

    /// The keys among which the token's must be, asked for where that is due.
    async fn keys_for(
        &self,
        fetcher: &Fetcher,
        kept: &IssuerKeys,
        presented: &Presented,
    ) -> Result<Arc<KeySet>, Unverified> {
        let look = || {
            let known = kept
                .known
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let keys = known.keys.as_ref().map(|held| held.keys.clone());
            let has_key = keys.as_ref().is_some_and(|keys| has(keys, presented));
            (known.step(has_key, Instant::now()), keys)
        };
        let settled = |step, keys: Option<Arc<KeySet>>| match step {
            KeyStep::Ask => None,
            KeyStep::Use => Some(keys.ok_or(Unverified::Away)),
            KeyStep::NoKey => Some(Err(Unverified::NotTrusted(NotTrusted::Key))),
            KeyStep::Away => Some(Err(Unverified::Away)),
        };
        let (step, keys) = look();
        if let Some(settled) = settled(step, keys) {
            return settled;
        }
        let _one_at_a_time = kept.asking.lock().await;
        let (step, keys) = look(); // another may have asked meanwhile
        if let Some(settled) = settled(step, keys.clone()) {
            return settled;
        }
        let came = self.fetch(fetcher).await;
        let mut known = kept.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if keys.is_some_and(|keys| !has(&keys, presented)) {
            known.asked_for_unknown = Some(now);
        }
        match came {
            Ok((keys, kept_for)) => {
                let keys = Arc::new(keys);
                known.failed = None;
                known.keys = Some(HeldKeys {
                    keys: keys.clone(),
                    fetched: now,
                    kept_for,
                });
                Ok(keys)
            }
            Err(why) => {
                known.failed = Some(now);
                let (issuer, url) = (&self.name, &self.settings.url);
                warn!(issuer, url, why, "an issuer can't be asked for its keys");
                let serves = known.serves(now);
                let last = known.keys.as_ref().map(|held| held.keys.clone());
                last.filter(|keys| serves && has(keys, presented))
                    .ok_or(Unverified::Away)
            }
        }
    }

    async fn fetch(&self, fetcher: &Fetcher) -> Result<(KeySet, Duration), String> {
        let told = |url: &KeyUrl, why: &dyn std::fmt::Display| format!("{url}: {why}");
        let at = match &self.settings.keys {
            KeySource::Url(url) => url.clone(),
            KeySource::Discovery(url) => {
                let metadata = url.metadata();
                let document = fetcher
                    .get(&metadata)
                    .await
                    .map_err(|why| told(&metadata, &why))?;
                self.keys_address(&document)
                    .map_err(|why| told(&metadata, &why))?
            }
            KeySource::File(_) => return Err("its keys are in a file".to_owned()),
        };
        let Fetched { bytes, max_age } = fetcher.get(&at).await.map_err(|why| told(&at, &why))?;
        let keys = KeySet::read(&bytes).map_err(|why| told(&at, &why))?;
        let kept_for = max_age.unwrap_or(KEPT_LEAST).clamp(KEPT_LEAST, KEPT_MOST);
        Ok((keys, kept_for))
    }

    /// Where its metadata says that its keys are. It must be its own metadata (`OpenID` Connect Discovery 1.0 §4.3).
    fn keys_address(&self, metadata: &Fetched) -> Result<KeyUrl, String> {
        let read =
            Json::read(&metadata.bytes).map_err(|_| "it is no metadata: no JSON".to_owned())?;
        let text = |name: &str| match read.member(name) {
            Some(Json::Text(text)) => Some(text.as_str()),
            _ => None,
        };
        if text("issuer") != Some(&self.settings.url) {
            return Err("it is the metadata of another issuer, by its `issuer`; `url` in the configuration must be that, letter for letter".to_owned());
        }
        let keys = text("jwks_uri").ok_or("it has no `jwks_uri`")?;
        keys.parse()
            .map_err(|why| format!("its `jwks_uri` can't be used: {why}"))
    }
}

fn has(keys: &KeySet, presented: &Presented) -> bool {
    keys.find(&presented.key_id, presented.algorithm)
        .next()
        .is_some()
}

pub(super) fn verifies(keys: &KeySet, presented: &Presented) -> Result<(), NotTrusted> {
    let mut of_that_id = keys.find(&presented.key_id, presented.algorithm).peekable();
    if of_that_id.peek().is_none() {
        return Err(NotTrusted::Key);
    }
    let signed = |key: &super::PublicKey| key.verifies(presented.algorithm, &presented.signed);
    if of_that_id.any(signed) {
        Ok(())
    } else {
        Err(NotTrusted::Signature)
    }
}

impl From<NoJwt> for NotTrusted {
    fn from(why: NoJwt) -> Self {
        Self::Token(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_asked_for_when_that_is_due_and_no_more_often() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let held = |kept_for: u64| {
            Some(HeldKeys {
                keys: Arc::default(),
                fetched: start,
                kept_for: Duration::from_secs(kept_for),
            })
        };
        let known = |keys: Option<HeldKeys>, failed: Option<u64>, unknown: Option<u64>| KnownKeys {
            keys,
            failed: failed.map(at),
            asked_for_unknown: unknown.map(at),
        };
        let cases = [
            (known(None, None, None), false, 0, KeyStep::Ask),
            (known(None, Some(10), None), false, 10, KeyStep::Away),
            (known(None, Some(10), None), false, 11, KeyStep::Ask),
            (known(held(300), None, None), true, 299, KeyStep::Use),
            (known(held(300), None, None), true, 300, KeyStep::Ask),
            (known(held(300), None, None), false, 1, KeyStep::Ask), // the first unknown key, at once
            (known(held(300), None, Some(1)), false, 30, KeyStep::NoKey),
            (known(held(300), None, Some(1)), false, 31, KeyStep::Ask),
            (known(held(300), None, Some(1)), true, 2, KeyStep::Use),
            (known(held(300), Some(310), None), true, 311, KeyStep::Use), // it is away
            (known(held(300), Some(310), None), false, 311, KeyStep::Away),
            (known(held(300), Some(310), None), true, 340, KeyStep::Ask),
            (known(held(300), Some(3890), None), true, 3899, KeyStep::Use),
            (known(held(300), Some(3899), None), true, 3900, KeyStep::Ask), // for an hour
            (
                known(held(300), Some(3900), None),
                true,
                3900,
                KeyStep::Away,
            ),
        ];
        for (known, has_key, second, expected) in cases {
            let (failed, unknown) = (known.failed, known.asked_for_unknown);
            assert_eq!(
                known.step(has_key, at(second)),
                expected,
                "{has_key} at {second}, {failed:?} {unknown:?}"
            );
        }
    }
}
