//! Looks for secrets where none may be, as they pass by.
//!
//! The real token may be in one file and in what goes to the API. A sub-token may be in what its client sends. Nothing
//! else may hold either: not an answer, not the log, not the audit, not the state. A sub-token's id is no secret.

use std::sync::{Mutex, MutexGuard, PoisonError};

use memchr::memmem;

use super::super::standin::{Ear, Heard};

/// The secrets of one gate, and where they were found.
pub struct Secrets(Mutex<State>);

#[derive(Default)]
struct State {
    real: Vec<String>,
    issued: Vec<String>,
    found: Vec<String>,
}

impl Secrets {
    /// No secret is longer, so a search that carries so many bytes over from one piece to the next misses none.
    pub(super) const LONGEST: usize = 128;

    pub(super) fn new(real_token: &str) -> Self {
        // Without the prefix as well: half a leak is one.
        let bare = real_token
            .rsplit('_')
            .next()
            .unwrap_or(real_token)
            .to_owned();
        Self(Mutex::new(State {
            real: vec![bare],
            ..State::default()
        }))
    }

    /// Notes the sub-tokens in what the command line printed.
    pub(super) fn learn(&self, printed: &[u8]) {
        for at in memmem::find_iter(printed, PREFIX) {
            let rest = &printed[at + PREFIX.len()..];
            if word(rest) > ID + SECRET {
                let secret = String::from_utf8_lossy(&rest[ID + 1..=ID + SECRET]).into_owned();
                self.state().issued.push(secret);
            }
        }
    }

    /// Searches what a client got.
    pub(super) fn saw_answer(&self, place: &str, bytes: &[u8]) {
        self.saw_record(place, bytes);
    }

    /// Searches what a client got that asked for a sub-token.
    pub(super) fn saw_gift(&self, place: &str, bytes: &[u8]) {
        let mut state = self.state();
        let real = state.real.iter();
        if real
            .clone()
            .any(|secret| memmem::find(bytes, secret.as_bytes()).is_some())
        {
            state.found.push(format!("the real token in {place}"));
        }
    }

    /// Searches what was written down.
    pub(super) fn saw_record(&self, place: &str, bytes: &[u8]) {
        let mut state = self.state();
        let real = state
            .real
            .iter()
            .any(|secret| memmem::find(bytes, secret.as_bytes()).is_some());
        let issued = state
            .issued
            .iter()
            .any(|secret| memmem::find(bytes, secret.as_bytes()).is_some());
        if real {
            state.found.push(format!("the real token in {place}"));
        }
        if issued || has_whole_token(bytes) {
            state.found.push(format!("a sub-token in {place}"));
        }
    }

    /// Searches what reached the API, for sub-tokens, and for what was no HTTP.
    pub(super) fn saw_upstream(&self, ear: &Ear) {
        for heard in ear.all() {
            if self.is_betrayed_by(&heard) {
                self.state().found.push(format!(
                    "a sub-token in what reached the API: {}",
                    heard.line()
                ));
            }
        }
        let complaints = ear
            .complaints()
            .into_iter()
            .map(|what| format!("no HTTP reached the API: {what}"));
        self.state().found.extend(complaints);
    }

    fn is_betrayed_by(&self, heard: &Heard) -> bool {
        let headers = heard.headers.iter().map(|(_, value)| value.as_bytes());
        let mut all = headers.chain([heard.target.as_bytes(), &heard.body]);
        let issued = self.state().issued.clone();
        all.any(|bytes| {
            memmem::find(bytes, PREFIX).is_some()
                || issued
                    .iter()
                    .any(|secret| memmem::find(bytes, secret.as_bytes()).is_some())
        })
    }

    /// Everything found so far.
    pub(super) fn found(&self) -> Vec<String> {
        let mut found = self.state().found.clone();
        found.dedup();
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if a sub-token's prefix is followed by more than an id, whoever issued it.
fn has_whole_token(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, PREFIX).any(|at| word(&bytes[at + PREFIX.len()..]) > ID + 8)
}

/// How many bytes of a token's alphabet there are in a row.
fn word(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_')
        .count()
}

/// `tdg_v1_<id>_<secret><crc>`, see PRODUCT.md §7.
const PREFIX: &[u8] = b"tdg_v1_";
const ID: usize = 12;
const SECRET: usize = 38;
