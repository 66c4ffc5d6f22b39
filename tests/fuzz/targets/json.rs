//! JSON of bodies: whatever is read, a common reader reads alike, and so it does what is written.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use tidegate::catalog::{Catalog, Method};
use tidegate::request::{Asked, Json, NotJson, Target};

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().expect("the catalogue"));

fuzz_target!(|bytes: &[u8]| {
    let theirs: Result<Value, _> = serde_json::from_slice(bytes);
    let json = match Json::read(bytes) {
        Ok(json) => json,
        Err(NotJson::Syntax(at)) => {
            // Strict about the same things: what it does not take, a common reader does not either.
            assert!(theirs.is_err(), "goes wrong at {at} here alone");
            return;
        }
        Err(NotJson::Repeated(_) | NotJson::Key | NotJson::Depth | NotJson::Many) => return,
    };
    let theirs = theirs.expect("a common reader takes what was taken");
    let written = json.write();
    let ours: Value = serde_json::from_slice(&written).expect("what is written is JSON");
    assert_eq!(ours, theirs);
    let again = Json::read(&written).expect("what is written reads back");
    assert_eq!(again, json);
    assert_eq!(again.write(), written);

    // The members that an endpoint knows: taking the others out only removes, and twice is as once.
    let target = Target::read("/v2/droplets").expect("a path");
    let mut asked = Asked::new(Method::Post, target, &CATALOG);
    let endpoint = asked.endpoint.expect("an endpoint");
    let only = |json: &Json| json.only(&endpoint.body, &endpoint.left_out);
    if let Ok(known) = only(&json) {
        assert_eq!(only(&known).as_ref(), Ok(&known));
        let left: Value = serde_json::from_slice(&known.write()).expect("JSON");
        assert!(is_part(&theirs, &left), "{left} of {theirs}");
    }
    // Names come to one spelling, and nothing else changes.
    if let Ok(sent) = asked.take_body(bytes, &CATALOG) {
        assert_eq!(sent.to_ascii_lowercase(), written.to_ascii_lowercase());
    }
    let _ = asked.fits(&CATALOG);
    let _ = (
        asked.named(&CATALOG),
        asked.fields(),
        asked.action().map(str::to_owned),
    );
});

fn is_part(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => part
            .iter()
            .all(|(key, value)| whole.get(key).is_some_and(|all| is_part(all, value))),
        (Value::Array(whole), Value::Array(part)) => {
            let mut rest = whole.iter();
            part.iter().all(|item| rest.any(|all| is_part(all, item)))
        }
        _ => whole == part,
    }
}
