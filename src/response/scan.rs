use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memchr_iter;
use memchr::memmem::Finder;

/// Looks for a secret in bytes that come in pieces, and lets none of it by: what could be its beginning waits for the rest.
pub struct Scan {
    finder: Arc<Finder<'static>>,
    held: BytesMut,
}

/// The secret is in there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found;

impl Scan {
    /// A scan for `secret`, which is not empty.
    pub fn new(secret: &[u8]) -> Self {
        Self::by(Arc::new(Finder::new(secret).into_owned()))
    }

    /// A scan that was prepared once, for a secret that is not empty.
    pub fn by(finder: Arc<Finder<'static>>) -> Self {
        Self {
            finder,
            held: BytesMut::new(),
        }
    }

    /// Takes the next piece; what comes out is free of the secret, also where it meets what follows.
    ///
    /// # Errors
    /// `Found`; then nothing of this or any later piece may go out.
    pub fn push(&mut self, piece: Bytes) -> Result<Bytes, Found> {
        let joined = if self.held.is_empty() {
            piece
        } else {
            let mut joined = self.held.split();
            joined.extend_from_slice(&piece);
            joined.freeze()
        };
        if self.finder.find(&joined).is_some() {
            return Err(Found);
        }
        let mut free = joined;
        let tail = free.split_off(free.len() - self.beginning_at_end(&free));
        self.held.extend_from_slice(&tail);
        Ok(free)
    }

    /// Whether the secret is in `bytes`, which come whole.
    pub fn finds(&self, bytes: &[u8]) -> bool {
        self.finder.find(bytes).is_some()
    }

    /// What was held back, once nothing follows.
    pub fn finish(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    /// How many bytes at the end of `bytes` are a beginning of the secret.
    fn beginning_at_end(&self, bytes: &[u8]) -> usize {
        let needle = self.finder.needle();
        let longest = bytes.len().min(needle.len().saturating_sub(1));
        let end = bytes.get(bytes.len() - longest..).unwrap_or_default();
        let first = needle.first().copied().unwrap_or_default();
        memchr_iter(first, end)
            .filter_map(|at| end.get(at..))
            .find(|beginning| needle.starts_with(beginning))
            .map_or(0, <[u8]>::len)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(secret: &[u8], pieces: &[&[u8]]) -> Result<Vec<u8>, Found> {
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
                    Err(Found),
                    "cut at {first} and {second}"
                );
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
            let expected = if text.contains("aabab") { Err(Found) } else { Ok(text.clone().into_bytes()) };
            prop_assert_eq!(run(b"aabab", &pieces), expected);
        }
    }
}
