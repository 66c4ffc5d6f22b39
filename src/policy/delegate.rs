use std::num::NonZeroU32;
use std::sync::Arc;

use super::bind::{Grants, Unbound, narrowed, under};
use super::read::{Clauses, PolicyReader};
use super::{Covers, Grant, Policy};
use crate::catalog::{Catalog, ScopeSet};
use crate::units::Span;
use crate::yaml::{Map, Mistakes, Node};

/// That the tokens of a role may make others, which may less.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delegate {
    /// The longest that one may live.
    pub ttl: Span,
    /// How many there may be at once of one token.
    pub count: NonZeroU32,
}

impl PolicyReader<'_> {
    pub(super) fn delegate(&mut self, node: &Node) -> Option<Delegate> {
        let mut map = Map::of(node, "`delegate`", &mut self.mistakes)?;
        let ttl = map.need("ttl", &mut self.mistakes);
        let ttl = ttl.and_then(|node| node.parsed("`ttl`", &mut self.mistakes));
        let count = map.need("count", &mut self.mistakes);
        let count = count.and_then(|node| node.parsed("`count`", &mut self.mistakes));
        map.finish(&mut self.mistakes);
        Some(Delegate {
            ttl: ttl?,
            count: count?,
        })
    }

    /// What a token says of itself: each grant by itself is more to be asked.
    fn narrowing(&mut self, root: &Node) -> Vec<Grant> {
        let Some(mut map) = Map::of(root, "what a token says of itself", &mut self.mistakes) else {
            return Vec::new();
        };
        let (scopes, requests) = (map.take("scopes"), map.take("requests"));
        let clauses = Clauses::that_narrow(&mut map);
        map.finish(&mut self.mistakes);
        let scopes = scopes.map(|node| self.scopes(node, false));
        let requests = requests.map(|node| self.requests(node, &[]));
        let mut covers: Vec<_> = scopes.into_iter().chain(requests).collect();
        if covers.is_empty() && clauses.say_something() {
            covers.push(everything(self.catalog));
        }
        let place = || ("itself".to_owned(), "itself".to_owned());
        let grant = |covers| self.grant_of(root, place(), Some(covers), clauses, &[]);
        covers.into_iter().filter_map(grant).collect()
    }
}

/// Every scope, as if each were named: who made the token decides over what is sensitive.
fn everything(catalog: &Catalog) -> Covers {
    let mut all = ScopeSet::default();
    let table = catalog.scopes();
    table
        .iter()
        .filter_map(|scope| table.id(scope))
        .for_each(|id| all.insert(id));
    Covers::Scopes {
        named: all.clone(),
        all,
    }
}

/// What a token has beside its roles.
#[derive(Clone, Copy, Debug)]
pub enum Beside<'t> {
    /// Nothing.
    Nothing,
    /// A ceiling: the role whose grants it holds too.
    Ceiling(&'t str),
    /// What it says of itself, in the words of [`read_narrowing`]: that it may less.
    Itself(&'t str),
}

/// What roles hold together with what a token has beside them.
///
/// # Errors
/// `Unbound`, where the ceiling can't be had, or what it says of itself can't be read any more or built.
pub fn together(
    policy: &Policy,
    alone: &Arc<Grants>,
    beside: Beside<'_>,
    catalog: &Catalog,
) -> Result<Arc<Grants>, Unbound> {
    match beside {
        Beside::Nothing => Ok(alone.clone()),
        Beside::Ceiling(role) => under(policy, alone, role).map(Arc::new),
        Beside::Itself(text) => {
            let own = read_narrowing(text, catalog);
            let own = own.map_err(|_| Unbound::Pattern("itself".to_owned()))?;
            narrowed(alone, &own).map(Arc::new)
        }
    }
}

/// Reads what a token says of itself, a JSON object with `only`, `scopes`, `requests` and `actions`: the grants of which each must
/// allow as well.
///
/// # Errors
/// Every mistake in it.
pub fn read_narrowing(text: &str, catalog: &Catalog) -> Result<Vec<Grant>, Mistakes> {
    let (mut reader, root) = PolicyReader::of("body", text, None, catalog);
    let grants = root.map(|root| reader.narrowing(&root)).unwrap_or_default();
    if reader.mistakes.is_empty() {
        Ok(grants)
    } else {
        Err(reader.mistakes)
    }
}
