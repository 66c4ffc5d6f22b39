use std::sync::Arc;

use serde_json::Value;

use crate::catalog::{Catalog, Method, Scope, ScopeSet};
use crate::policy::{BoundCovers, BoundGrant, Grants, RequestPattern};
use crate::refusal::{Code, Refusal};
use crate::request::Target;

/// The request that was refused.
pub(super) struct Refused<'r> {
    pub method: Method,
    pub path: &'r str,
    pub refusal: &'r Refusal,
}

/// What a role would need in its `allow` for the request to pass, where a grant can do that. It was tried before it is told:
/// `decide` says what becomes of the request under other grants.
pub(super) fn suggestion(
    refused: &Refused<'_>,
    grants: &Grants,
    catalog: &Catalog,
    decide: impl Fn(&Grants) -> Result<String, Refusal>,
) -> Option<String> {
    match refused.refusal.code {
        Code::Scope | Code::FieldScope => scopes(refused.refusal, grants, catalog, decide),
        Code::UnknownEndpoint => pattern(refused, grants, decide),
        _ => None,
    }
}

/// The scopes that are missing, and those that turn out to be missing once it has them: of fields, of what it is made from.
fn scopes(
    first: &Refusal,
    grants: &Grants,
    catalog: &Catalog,
    decide: impl Fn(&Grants) -> Result<String, Refusal>,
) -> Option<String> {
    let mut needs = first.needs.clone();
    loop {
        let mut named = ScopeSet::default();
        needs
            .iter()
            .filter_map(|scope| catalog.scopes().id(scope))
            .for_each(|scope| named.insert(scope));
        let all = named.clone();
        let Err(refusal) = decide(&with(grants, BoundCovers::Scopes { named, all })) else {
            break;
        };
        let known = needs.len();
        for scope in refusal.needs {
            if !needs.contains(&scope) {
                needs.push(scope);
            }
        }
        if needs.len() == known {
            return None; // no scope helps: a deny strikes, an action is not listed, `only` is in the way
        }
    }
    let listed: Vec<_> = needs.iter().map(Scope::as_str).collect();
    Some(format!("allow:\n  - scopes: [{}]", listed.join(", ")))
}

/// A pattern that matches this request alone: its path, or path and query where that has more than paging in it.
fn pattern(
    refused: &Refused<'_>,
    grants: &Grants,
    decide: impl Fn(&Grants) -> Result<String, Refusal>,
) -> Option<String> {
    let target = Target::read(refused.path).ok()?;
    let with_query = target.path_and_query();
    let lines = [target.path(), &with_query];
    let patterns = lines.map(|line| format!("{} {}", refused.method, regex::escape(line)));
    let fits = |pattern: &&String| {
        RequestPattern::new(pattern).is_ok_and(|pattern| {
            decide(&with(
                grants,
                BoundCovers::Requests(vec![Arc::new(pattern)]),
            ))
            .is_ok()
        })
    };
    let pattern = patterns.iter().find(fits)?;
    Some(format!(
        "allow:\n  - requests: ['{}']",
        pattern.replace('\'', "''")
    ))
}

fn with(grants: &Grants, covers: BoundCovers) -> Grants {
    let mut grants = grants.clone();
    grants.allow.push(Arc::new(BoundGrant {
        place: "suggestion".to_owned(),
        covers,
        only: None,
        actions: None,
        on_create: None,
        written: Value::Null,
    }));
    grants
}
