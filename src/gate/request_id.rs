use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// 32 hexadecimal digits from the system's generator: no two requests have the same, and none tells of another or of how many
/// there were.
pub(crate) fn request_id() -> String {
    let bytes = READY.with_borrow_mut(Ready::next);
    let mut id = String::with_capacity(2 * BYTES);
    for byte in bytes.unwrap_or_else(without_generator) {
        for digit in [byte >> 4, byte & 15] {
            id.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    id
}

const BYTES: usize = 16;
/// The ids for which one call of the system fetches random bytes.
const AT_ONCE: usize = 64;

thread_local! {
    static READY: RefCell<Ready> = const { RefCell::new(Ready { bytes: [[0; BYTES]; AT_ONCE], left: 0 }) };
}

/// Random bytes that were fetched ahead. A thread has its own, so that no request waits for another.
struct Ready {
    bytes: [[u8; BYTES]; AT_ONCE],
    left: usize,
}

impl Ready {
    fn next(&mut self) -> Option<[u8; BYTES]> {
        if self.left == 0 {
            getrandom::fill(self.bytes.as_flattened_mut()).ok()?;
            self.left = AT_ONCE;
        }
        self.left -= 1;
        self.bytes.get_mut(self.left).map(std::mem::take)
    }
}

/// Where the system has no random bytes to give, an id need only differ from others.
fn without_generator() -> [u8; BYTES] {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let text = format!("{} {number} {}", Timestamp::now(), std::process::id());
    let digest: [u8; 32] = Sha256::digest(text).into();
    let (half, _) = digest.split_at(BYTES);
    half.try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_part_of_an_id_comes_again_and_each_bit_is_set_in_half_of_them() {
        const IDS: usize = 1 << 12;
        let mut halves = HashSet::new();
        let mut set = [0; 128];
        for _ in 0..IDS {
            let id = request_id();
            let number = u128::from_str_radix(&id, 16).unwrap();
            assert_eq!(id.len(), 32, "{id}");
            let (first, second) = id.split_at(16);
            assert!(halves.insert(first.to_owned()), "{id}");
            assert!(halves.insert(second.to_owned()), "{id}");
            for (bit, set) in set.iter_mut().enumerate() {
                *set += usize::from(number >> bit & 1 == 1);
            }
        }
        // Ten standard deviations: 32 each.
        let odd = set.iter().find(|set| set.abs_diff(IDS / 2) > 320);
        assert_eq!(odd, None);
        assert_ne!(without_generator(), without_generator());
    }
}
