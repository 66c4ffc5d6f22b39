//! What answers show to whom has a scope.

use super::RoleView;
use super::reach::KindReach;
use crate::catalog::{Asks, Catalog, Endpoint, ShapeId};
use crate::policy::Grant;

/// The first member of an endpoint's answer that asks for something of that sort, dotted.
pub(super) fn member(
    catalog: &Catalog,
    endpoint: &Endpoint,
    sort: impl Fn(Asks) -> bool,
) -> Option<String> {
    let answers = catalog.answers();
    let mut seen = vec![false; answers.len()];
    let mut open: Vec<(ShapeId, String)> = vec![(endpoint.answer?, String::new())];
    while let Some((id, above)) = open.pop() {
        // A shape may hold its like.
        let Some(seen) = seen.get_mut(id).filter(|seen| !**seen) else {
            continue;
        };
        *seen = true;
        for member in answers.shape(id).iter().flat_map(|shape| &shape.members) {
            let path = format!("{above}{}", member.key);
            if member.asks.is_some_and(&sort) {
                return Some(path);
            }
            open.extend(member.holds.map(|held| (held, format!("{path}."))));
        }
    }
    None
}

/// Scopes by which answers show what logs in somewhere and has no end: those of the endpoints that hand such things out.
pub(super) fn remarks(view: &RoleView, grant: &Grant) -> Vec<String> {
    let (catalog, Some(named)) = (view.catalog, grant.covers.named()) else {
        return Vec::new();
    };
    let reach = KindReach::of(grant, &view.role.vars, catalog);
    let table = catalog.scopes();
    let told = table.names(named).filter_map(|scope| {
        let id = table.id(scope)?;
        let asks = |endpoint: &&Endpoint| endpoint.scopes.iter().any(|set| set.has(id));
        let lasting = catalog.endpoints().iter().filter(asks);
        let lasting = lasting.filter_map(|it| Some((it.derived_expiry.is_some(), it.caution.as_deref()?)));
        // What has no end says more than what has.
        let (_, caution) = lasting.min_by_key(|(ends, _)| *ends)?;
        let mut opened = catalog.endpoints().iter().filter(|endpoint| {
            let reached = reach.as_ref().is_none_or(|reach| reach.covers(endpoint));
            reached && endpoint.scopes.iter().any(|set| view.held.covers(set))
        });
        let (endpoint, secret) = opened.find_map(|endpoint| {
            let secret = member(catalog, endpoint, |asks| asks == Asks::Secret(id))?;
            Some((endpoint, secret))
        })?;
        Some(format!(
            "names `{scope}`, by which {endpoint} shows `{secret}`; it logs in by itself, and that {caution}"
        ))
    });
    told.collect()
}
