use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::SecretHash;
use crate::token::TokenId;

/// Who is signed in. A session is known by the hash of its cookie, and holds no secret but its form token.
#[derive(Default)]
pub(super) struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

/// One who is signed in: by which sub-token and which secret of it, so that it ends with either.
pub(super) struct Session {
    pub token: TokenId,
    pub hash: SecretHash,
    form: Zeroizing<String>,
    began: Instant,
    seen: Instant,
}

/// What is known of a session at a request of it.
pub(super) struct SignedIn {
    pub token: TokenId,
    pub hash: SecretHash,
    pub form: Zeroizing<String>,
}

/// How long a session may be quiet, and how long it lasts.
const QUIET: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// How many there are at once; with one more the one that was quiet the longest ends.
const MOST: usize = 256;

impl Sessions {
    /// Begins a session; what its cookie holds.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn begin(
        &self,
        token: TokenId,
        hash: SecretHash,
        now: Instant,
    ) -> Result<Zeroizing<String>, getrandom::Error> {
        let (cookie, form) = (random()?, random()?);
        let mut all = self.locked();
        all.retain(|_, session| session.lasts(now));
        if all.len() >= MOST {
            let quietest = all.iter().min_by_key(|(_, session)| session.seen);
            if let Some(key) = quietest.map(|(key, _)| *key) {
                all.remove(&key);
            }
        }
        let session = Session {
            token,
            hash,
            form,
            began: now,
            seen: now,
        };
        all.insert(key(&cookie), session);
        Ok(cookie)
    }

    /// The session of a cookie, if there is one that lasts. Whether it counts as a sign of life is for `alive` to say.
    pub fn find(&self, cookie: &str, now: Instant, alive: bool) -> Option<SignedIn> {
        let mut all = self.locked();
        let session = all.get_mut(&key(cookie))?;
        if !session.lasts(now) {
            all.remove(&key(cookie));
            return None;
        }
        if alive {
            session.seen = now;
        }
        Some(SignedIn {
            token: session.token.clone(),
            hash: session.hash,
            form: session.form.clone(),
        })
    }

    /// Ends the session of a cookie.
    pub fn end(&self, cookie: &str) {
        self.locked().remove(&key(cookie));
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    fn lasts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.seen) < QUIET
            && now.saturating_duration_since(self.began) < LONGEST
    }
}

impl SignedIn {
    /// Whether a form carries the token of this session.
    pub fn made(&self, form_token: &str) -> bool {
        self.form.as_bytes().ct_eq(form_token.as_bytes()).into()
    }
}

fn key(cookie: &str) -> [u8; 32] {
    Sha256::digest(cookie.as_bytes()).into()
}

fn random() -> Result<Zeroizing<String>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In minutes from its begin, and whether that was a sign of life.
    type Uses<'u> = &'u [(u64, bool)];

    fn begin(sessions: &Sessions, now: Instant) -> Zeroizing<String> {
        let id: TokenId = "4fZ0aB9cD8eF".parse().unwrap();
        sessions.begin(id, SecretHash::of(b"x"), now).unwrap()
    }

    #[test]
    fn a_session_ends_when_it_was_quiet_for_an_hour_and_after_twelve_in_any_case() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        // When it was used, in minutes from its begin, and whether that was a sign of life.
        let cases: [(Uses<'_>, u64, bool); 6] = [
            (&[], 59, true),
            (&[], 60, false),
            (&[(59, true)], 118, true),
            (&[(59, true)], 119, false),
            (&[(59, false)], 61, false), // a page that is left open keeps nothing alive
            (
                &[
                    (50, true),
                    (100, true),
                    (150, true),
                    (200, true),
                    (250, true),
                    (300, true),
                    (350, true),
                    (400, true),
                    (450, true),
                    (500, true),
                    (550, true),
                    (600, true),
                    (650, true),
                    (700, true),
                ],
                720,
                false,
            ),
        ];
        for (used, at, lasts) in cases {
            let (sessions, start) = (Sessions::default(), Instant::now());
            let cookie = begin(&sessions, start);
            for (minute, alive) in used {
                assert!(
                    sessions
                        .find(&cookie, start + minutes(*minute), *alive)
                        .is_some()
                );
            }
            let found = sessions.find(&cookie, start + minutes(at), true).is_some();
            assert_eq!(found, lasts, "used {used:?}, at {at}");
        }
    }

    #[test]
    fn no_cookie_and_no_form_token_but_its_own_will_do() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let (one, other) = (begin(&sessions, now), begin(&sessions, now));
        let found = sessions.find(&one, now, true).unwrap();
        let others = sessions.find(&other, now, true).unwrap();
        assert!(found.made(&found.form) && !found.made(&others.form) && !found.made(""));
        assert!(sessions.find("", now, true).is_none());
        assert!(sessions.find(&found.form, now, true).is_none());
        sessions.end(&one);
        assert!(sessions.find(&one, now, true).is_none());
        assert!(sessions.find(&other, now, true).is_some());
    }

    #[test]
    fn with_too_many_the_one_that_was_quiet_the_longest_ends() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let first = begin(&sessions, start);
        let second = begin(&sessions, start);
        let later = start + Duration::from_secs(1);
        assert!(sessions.find(&first, later, true).is_some());
        for _ in 2..=MOST {
            begin(&sessions, later);
        }
        assert!(sessions.find(&first, later, true).is_some());
        assert!(sessions.find(&second, later, true).is_none());
        assert_eq!(sessions.locked().len(), MOST);
    }
}
