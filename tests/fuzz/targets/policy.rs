//! The policy file: every mistake is told with its place, on one line, and nothing is half understood.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::catalog::Catalog;
use tidegate::policy::{Policy, read};
use tidegate::yaml::Mistakes;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().expect("the catalogue"));

fuzz_target!(|text: &str| {
    let understood = |text: &str| -> Result<Policy, Mistakes> {
        read("p.yaml", text, &["default".to_owned()], &CATALOG)
    };
    match understood(text) {
        Err(mistakes) => {
            let lines = mistakes.into_lines();
            assert!(!lines.is_empty(), "refused without a reason");
            for line in lines {
                assert!(line.starts_with("p.yaml:"), "{line:?}");
                assert!(!line.contains(['\n', '\r']), "{line:?}");
            }
        }
        Ok(policy) => {
            let again = understood(text).expect("as before");
            assert_eq!(format!("{policy:?}"), format!("{again:?}"));
            let unknown = format!("{text}\nunheard_of: 1\n");
            assert!(
                understood(&unknown).is_err(),
                "an unknown key refuses the whole"
            );
            assert!(
                understood(&format!("{text}\nversion: 1\n")).is_err(),
                "a key twice, too"
            );
        }
    }
});
