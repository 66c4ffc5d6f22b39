//! Sub-tokens: one form, one checksum, and none is left where text is written down.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::secret::redacted;
use tidegate::token::SubToken;

fuzz_target!(|text: &str| {
    let blotted = redacted(text);
    assert_eq!(redacted(&blotted), blotted);
    if let Ok(token) = SubToken::read(text) {
        whole(text, &token);
    }
    // The digits of the text, made into a token by its rules: one that is right, for which nothing in the text can aim.
    let digits: Vec<char> = text.chars().filter(char::is_ascii_alphanumeric).collect();
    let [id, secret] = [0..12, 12..50].map(|range| {
        range
            .map(|at| digits.get(at).copied().unwrap_or('0'))
            .collect::<String>()
    });
    let body = format!("tdg_v1_{id}_{secret}");
    let made = format!("{body}{}", base62(crc32fast::hash(body.as_bytes())));
    let token = SubToken::read(&made).expect("made by the rules");
    whole(&made, &token);
    let inside = redacted(&format!("{text}{made}{text}"));
    // What stays of the one that was put in is its prefix, which may go on what the text ends with.
    let had = format!("{text}tdg_v1_").contains(secret.as_str());
    assert!(!inside.contains(secret.as_str()) || had, "{inside}");
});

fn whole(text: &str, token: &SubToken) {
    assert_eq!(text.len(), 64);
    assert_eq!(token.secret.expose(), text);
    assert!(!format!("{token:?}").contains(&text[20..]), "printed");
    assert!(SubToken::read(&format!("{text}0")).is_err());
    assert!(SubToken::read(&text[..63]).is_err());
    for at in 7..64 {
        let mut other = text.as_bytes().to_vec();
        other[at] = if other[at] == b'a' { b'b' } else { b'a' };
        let other = String::from_utf8(other).expect("text");
        assert!(SubToken::read(&other).is_err(), "a typo at {at}");
    }
}

fn base62(mut number: u32) -> String {
    const DIGITS: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut text = [b'0'; 6];
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(number % 62) as usize];
        number /= 62;
    }
    String::from_utf8(text.to_vec()).expect("digits")
}
