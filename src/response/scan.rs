use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;
use memchr::memmem::Finder;

/// Looks for secrets in bytes that come in pieces, and lets nothing of them by: what could be the beginning of one waits for
/// the rest.
pub struct Scan {
    finders: Arc<[Finder<'static>]>,
    held: BytesMut,
}

/// A secret is in there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SecretFound;

impl Scan {
    /// A scan for `secret`, which is not empty.
    pub fn new(secret: &[u8]) -> Self {
        Self::by(Arc::new([Finder::new(secret).into_owned()]))
    }

    /// A scan that was prepared once, for secrets that are not empty.
    pub fn by(finders: Arc<[Finder<'static>]>) -> Self {
        Self {
            finders,
            held: BytesMut::new(),
        }
    }

    /// Takes the next piece; what comes out is free of the secret, also where it meets what follows.
    ///
    /// # Errors
    /// `SecretFound`; then nothing of this or any later piece may go out.
    pub fn push(&mut self, piece: Bytes) -> Result<Bytes, SecretFound> {
        let joined = if self.held.is_empty() {
            piece
        } else {
            let mut joined = self.held.split();
            joined.extend_from_slice(&piece);
            joined.freeze()
        };
        if self.finds(&joined) {
            return Err(SecretFound);
        }
        let mut free = joined;
        let tail = free.split_off(free.len() - self.beginning_at_end(&free));
        self.held.extend_from_slice(&tail);
        Ok(free)
    }

    /// Whether a secret is in `bytes`, which come whole.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        let found = |finder: &Finder<'_>| finder.find(bytes).is_some();
        self.finders.iter().any(found)
    }

    /// What was held back, once nothing follows.
    pub fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// How many bytes at the end of `bytes` are a beginning of a secret.
    fn beginning_at_end(&self, bytes: &[u8]) -> usize {
        let beginnings = self.finders.iter();
        beginnings
            .map(|finder| beginning_at_end(finder.needle(), bytes))
            .max()
            .unwrap_or(0)
    }
}

fn beginning_at_end(needle: &[u8], bytes: &[u8]) -> usize {
    let longest = bytes.len().min(needle.len().saturating_sub(1));
    let end = bytes.get(bytes.len() - longest..).unwrap_or_default();
    let first = needle.first().copied().unwrap_or_default();
    memchr_iter(first, end)
        .filter_map(|at| end.get(at..))
        .find(|beginning| needle.starts_with(beginning))
        .map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(secret: &[u8], pieces: &[&[u8]]) -> Result<Vec<u8>, SecretFound> {
        let mut scan = Scan::new(secret);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend_from_slice(&scan.push(Bytes::copy_from_slice(piece))?);
        }
        out.extend_from_slice(&scan.finish());
        Ok(out)
    }

    #[test]
    fn a_secret_is_found_however_it_is_cut() {
        let whole = b"xx-abcabd-yy";
        for first in 0..whole.len() {
            for second in first..whole.len() {
                let (head, rest) = whole.split_at(first);
                let (middle, tail) = rest.split_at(second - first);
                assert_eq!(
                    run(b"abcabd", &[head, middle, tail]),
                    Err(SecretFound),
                    "cut at {first} and {second}"
                );
            }
        }
    }

    #[test]
    fn any_of_several_secrets_is_found_however_it_is_cut() {
        let finders = ["abcabd", "bdxyz"].map(|secret| Finder::new(secret.as_bytes()).into_owned());
        for whole in [&b"--abcabd--"[..], b"--abcabdxyz", b"-abdxyz-"] {
            for cut in 0..whole.len() {
                let mut scan = Scan::by(Arc::new(finders.clone()));
                let (head, tail) = whole.split_at(cut);
                let mut push = |piece| scan.push(Bytes::copy_from_slice(piece));
                let pushed = push(head).and_then(|_| push(tail));
                assert_eq!(pushed, Err(SecretFound), "{whole:?} cut at {cut}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_has_no_secret_passes_as_it_came(text in "[ab]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..5)) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut pieces = Vec::new();
            let mut from = 0;
            for cut in cuts.into_iter().chain([text.len()]) {
                pieces.push(&text.as_bytes()[from..cut]);
                from = cut;
            }
            let expected = if text.contains("aabab") { Err(SecretFound) } else { Ok(text.clone().into_bytes()) };
            prop_assert_eq!(run(b"aabab", &pieces), expected);
        }
    }
}
