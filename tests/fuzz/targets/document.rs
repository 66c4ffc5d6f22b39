//! Answers that are judged: what is taken as JSON a common reader takes, and every part of it stands where that reader finds it.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};
use tidegate::json::{Document, Part};

fuzz_target!(|bytes: &[u8]| {
    let theirs: Result<Value, _> = serde_json::from_slice(bytes);
    let Ok(document) = Document::of_value(&Bytes::copy_from_slice(bytes)) else {
        return; // what is refused shows nothing
    };
    let theirs = theirs.expect("a common reader takes what was taken");
    assert_eq!(read(document.root()), theirs);
});

/// A part by its own parts: what has none is read as it stands there.
fn read(part: Part<'_>) -> Value {
    if let Some(members) = part.members() {
        let mut found = Map::new();
        for (key, value) in members {
            let before = found.insert(key.into_owned(), read(value));
            assert!(before.is_none(), "a key stands there twice");
        }
        return Value::Object(found);
    }
    match part.items() {
        Some(items) => items.map(read).collect(),
        None => serde_json::from_str(part.get()).expect("a value"),
    }
}
