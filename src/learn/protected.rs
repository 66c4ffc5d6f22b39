//! The template `protect` against the whole catalogue: a token that may do everything else, and a world in which everything that can
//! carry a tag carries `keep`. What gets through is listed, each with why nothing is lost by it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::diff::{Witness, kinds_of, request, variants};
use super::rebuilt_request;
use crate::catalog::{Catalog, Endpoint, Kind, KindId, Scope, TouchKind, TouchRule, Touches};
use crate::policy::{Grants, Vars, asked_by_test, bind, judge_asked, read_alone};

const PROTECT: &str = include_str!("../../examples/roles/protect.yaml");
/// What gets through, by call and action, and why nothing is lost by it.
const SPARES: &str = include_str!("protected.txt");

/// The role of the template beside one that may do everything.
fn grants(catalog: &Catalog) -> Grants {
    let scopes: Vec<_> = catalog.scopes().iter().map(ToString::to_string).collect();
    let (roles, tests) = PROTECT.split_once("\ntests:").unwrap();
    assert!(!tests.is_empty());
    let everything = format!(
        "  everything: {{ allow: [{{ scopes: {} }}] }}\n",
        serde_json::json!(scopes)
    );
    let policy = read_alone("p.yaml", &format!("{roles}\n{everything}"), catalog).unwrap();
    let names = ["everything", "protect"].map(str::to_owned);
    bind(&policy, &names, &Vars::new()).unwrap()
}

/// Whether a kind can carry a tag, or belongs to one that can.
fn has_tag(kind: &Kind, catalog: &Catalog) -> bool {
    kind.has("tag") || catalog.kinds().ancestors(kind).any(|it| it.has("tag"))
}

/// The families of such kinds.
fn tagged_families(catalog: &Catalog) -> BTreeSet<&str> {
    let kinds = catalog.kinds().iter().filter(|kind| has_tag(kind, catalog));
    kinds.map(|kind| kind.family.as_str()).collect()
}

/// Whether something that it touches can carry a tag, or belongs to what can; or could, as nobody knows what it touches.
fn may_touch_the_tagged(endpoint: &Endpoint, catalog: &Catalog) -> bool {
    if let Touches::Unmodelled { could_touch, .. } = &endpoint.touches {
        let families = tagged_families(catalog);
        let of_tagged = |scope: &Scope| families.contains(scope.family());
        let could = could_touch.as_ref();
        return could.is_none_or(|could| catalog.scopes().names(could).any(of_tagged));
    }
    let by_name = |rule: &TouchRule| {
        matches!(
            rule.kind,
            TouchKind::Urn | TouchKind::Typed { .. } | TouchKind::Told { .. }
        )
    };
    let tagged = |kind: KindId| has_tag(catalog.kinds().of(kind), catalog);
    endpoint.touches.rules().iter().any(by_name) || kinds_of(endpoint).any(tagged)
}

#[test]
fn what_carries_the_tag_is_destroyed_by_nothing_that_the_api_has() {
    let catalog = Catalog::builtin().unwrap();
    let grants = grants(&catalog);
    let keep = Witness {
        base: Arc::default(),
        has: vec![(None, "tag".to_owned(), "keep".to_owned())],
        misses: None,
    };
    let (mut through, mut tried, mut all) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let endpoints = catalog.endpoints().iter();
    for endpoint in endpoints.filter(|it| it.refused.is_none() && !it.reads()) {
        if !may_touch_the_tagged(endpoint, &catalog) {
            continue;
        }
        for (_, action, parts) in variants(endpoint) {
            let told = match action {
                Some(action) => format!("{endpoint} ({action})"),
                None => endpoint.to_string(),
            };
            all.insert(told.clone());
            let seen = request(endpoint, action, parts, &keep, &catalog);
            let test = rebuilt_request::test(&seen, "", &catalog);
            // A request that names one thing everywhere may be none; one that names it in its path alone is.
            if let Some(asked) = asked_by_test(&test, &catalog) {
                tried.insert(told.clone());
                if judge_asked(&asked, &test.given, &grants, &catalog).is_ok() {
                    through.insert(told);
                }
            }
        }
    }
    let untried: Vec<_> = all.difference(&tried).collect();
    assert!(untried.is_empty(), "these could not be tried: {untried:#?}");
    let mut listed = BTreeSet::new();
    for line in SPARES
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        assert!(listed.insert(line.to_owned()), "{line} is listed twice");
    }
    let new: Vec<_> = through.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&through).collect();
    assert!(
        new.is_empty() && gone.is_empty(),
        "these get through and are not listed: {new:#?}\nthese are listed and do not: {gone:#?}"
    );
}
