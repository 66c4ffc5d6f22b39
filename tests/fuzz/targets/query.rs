//! A query after known paths: what decides in it is said once, under the one name that it has.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tidegate::catalog::{Catalog, Method};
use tidegate::request::{Asked, Target};

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::builtin().expect("the catalogue"));

const REQUESTS: [(Method, &str); 4] = [
    (Method::Get, "/v2/droplets"),
    (Method::Delete, "/v2/droplets"),
    (Method::Post, "/v2/droplets/actions"),
    (Method::Get, "/v2/registry/docker-credentials"),
];

fuzz_target!(|query: &str| {
    let query = query.replace(['?', '#'], "");
    for (method, path) in REQUESTS {
        let Ok(target) = Target::read(&format!("{path}?{query}")) else {
            continue;
        };
        assert_eq!(target.path(), path);
        assert!(
            target
                .query()
                .is_sorted_by(|(one, _), (other, _)| one <= other)
        );
        let mut changed = target.clone();
        changed.set_query("tag_name", "a&b=c");
        assert_eq!(changed.query_parameter("tag_name"), Some("a&b=c"));
        assert_eq!(Target::read(&changed.path_and_query()), Ok(changed));
        let asked = Asked::new(method, target, &CATALOG);
        if asked.fits(&CATALOG).is_err() {
            continue;
        }
        let endpoint = asked.endpoint.expect("a known endpoint");
        for known in endpoint.query.iter().filter(|known| !known.repeats) {
            // As loose a reader as any: no case, no signs, no brackets.
            let loose = |name: &str| {
                let name = name.trim_start_matches(['[', ']', ' ']);
                let name = name.split(['[', ']']).next().unwrap_or_default();
                name.to_lowercase().replace(['_', '-', '.', ' '], "")
            };
            let like = asked.target.query().iter();
            let like: Vec<_> = like
                .filter(|(name, _)| loose(name) == loose(&known.name))
                .collect();
            assert!(like.iter().all(|(name, _)| *name == known.name), "{like:?}");
            assert!(
                like.len() < 2 || !endpoint.inspects_query(&known.name),
                "{like:?}"
            );
        }
    }
});
