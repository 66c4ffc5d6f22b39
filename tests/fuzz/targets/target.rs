//! A request line's method and target: the canonical form reads back as itself, and says to a plain reader what was sent.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::catalog::{Catalog, Method};
use tidegate::request::{Asked, Target};

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().expect("the catalogue"));

fuzz_target!(|text: &str| {
    let (method, text) = text.split_once(' ').unwrap_or(("GET", text));
    let Ok(target) = Target::read(text) else {
        return;
    };
    let written = target.path_and_query();
    assert!(
        written.starts_with('/') && written.bytes().all(|byte| (b'!'..=b'~').contains(&byte)),
        "{written:?}"
    );
    assert!(!written.contains("//") && !written.contains("/./") && !written.contains("/../"));
    assert!(
        !written.contains([';', '\\', '"', '<', '>', '#', '+', ' ']),
        "{written:?}"
    );
    let again = Target::read(&written).expect("what was written reads back");
    assert_eq!(again, target);
    assert_eq!(again.path_and_query(), written);

    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let path = path.strip_suffix('/').unwrap_or(path);
    let plainly: Vec<String> = path.split('/').skip(1).map(decoded).collect();
    let read: Vec<String> = target.segments().map(str::to_ascii_lowercase).collect();
    let lower: Vec<String> = plainly
        .iter()
        .map(|part| part.to_ascii_lowercase())
        .collect();
    assert_eq!(read, lower, "a plain reader of {path:?}");
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).count();
    assert_eq!(pairs, target.query().len(), "parameters of {query:?}");

    let Ok(method) = method.parse::<Method>() else {
        return;
    };
    let asked = Asked::new(method, target, &CATALOG);
    if asked.fits(&CATALOG).is_err() {
        return;
    }
    // What the endpoint settles of it is settled for good, and is the same endpoint's.
    let sent = Target::read(&asked.target.path_and_query()).expect("what is sent reads back");
    let heard = Asked::new(method, sent, &CATALOG);
    assert_eq!(heard.target, asked.target);
    assert!(heard.fits(&CATALOG).is_ok());
    assert_eq!(
        heard.endpoint.map(|endpoint| &endpoint.operation),
        asked.endpoint.map(|endpoint| &endpoint.operation)
    );
    assert_eq!(heard.named(&CATALOG), asked.named(&CATALOG));
});

/// Percent-decoding, written once more.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits: Vec<u8> = rest.by_ref().take(2).collect();
            let digits = String::from_utf8(digits).expect("digits");
            bytes.push(u8::from_str_radix(&digits, 16).expect("two digits"));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}
