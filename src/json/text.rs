//! The bytes of a string of JSON, eight at a time, as most strings are short.

/// Where the next quote or backslash is: the end of a string, or what escapes a byte of it.
pub fn text_end(bytes: &[u8]) -> Option<usize> {
    first(
        bytes,
        |word| has(word, b'"') | has(word, b'\\'),
        |byte| matches!(byte, b'"' | b'\\'),
    )
}

/// The same, or where a byte is that may stand in no string.
pub(super) fn plain(bytes: &[u8]) -> Option<usize> {
    first(
        bytes,
        |word| has(word, b'"') | has(word, b'\\') | has_below(word, b' '),
        |byte| matches!(byte, b'"' | b'\\' | 0..b' '),
    )
}

/// Where the first byte of a kind is, told of eight at once and of one.
fn first(bytes: &[u8], of: impl Fn(u64) -> u64, is: impl Fn(&u8) -> bool) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let found = of(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(index * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    Some(words.len() * 8 + rest.iter().position(is)?)
}

/// Which of eight bytes are this one: the lowest bit that is set is the highest of the first of them. (Above it there may be
/// others, where a subtraction borrowed.)
fn has(word: u64, byte: u8) -> u64 {
    has_below(word ^ (EACH * u64::from(byte)), 1)
}

/// Which of eight bytes are less than this one, told in the same way.
fn has_below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(EACH * u64::from(byte)) & !word & (EACH << 7)
}

/// One in each of eight bytes.
const EACH: u64 = 0x0101_0101_0101_0101;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_byte_is_told_at_each_place() {
        for at in 0..20 {
            for byte in 0..=u8::MAX {
                for around in [b'a', b'!', b'#', 0x20, 0x5b, 0x5d, 0x80, 0xff] {
                    let mut bytes = [around; 24];
                    bytes[at] = byte;
                    let stops = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(plain(&bytes), stops.then_some(at), "{byte} at {at}");
                    let ends = byte == b'"' || byte == b'\\';
                    assert_eq!(text_end(&bytes), ends.then_some(at), "{byte} at {at}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_plain_ends_where_a_look_at_each_byte_ends(bytes in prop::collection::vec(0x1e_u8..0x24, 0..40)) {
            let stops = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            prop_assert_eq!(plain(&bytes), bytes.iter().position(stops));
        }
    }
}
