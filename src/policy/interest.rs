use std::collections::BTreeSet;

use super::Grants;
use super::within::{goes_on, lacks_scope};
use crate::catalog::{Catalog, Kind, TouchRule};
use crate::request::Asked;
use crate::resource::{Interest, Touch};

/// What grants ask about what a request touches.
pub struct InRequest<'g> {
    /// The grants.
    pub grants: &'g Grants,
    /// The request.
    pub asked: &'g Asked<'g>,
    /// The API.
    pub catalog: &'g Catalog,
    /// Whether there will be an answer to judge what it shows on.
    pub defers: bool,
}

impl Interest for InRequest<'_> {
    fn asks(&self, kind: &Kind) -> BTreeSet<String> {
        self.grants.asks_for(kind, self.asked, self.catalog.kinds())
    }

    fn asks_about(&self, kind: &Kind, attribute: &str) -> bool {
        self.grants.ask_about(kind, attribute)
    }

    fn heeds(&self, kind: &Kind, follows: bool) -> bool {
        heeds(self.grants, self.asked, self.catalog, kind, follows)
    }

    fn names_project(&self, called: &str) -> bool {
        self.grants.names_project(called)
    }

    fn adds(&self) -> Vec<&str> {
        self.grants.added_projects()
    }

    fn labels(&self) -> Vec<&str> {
        self.grants.added_tags()
    }

    fn goes_on(&self, touches: &[Touch]) -> bool {
        goes_on(self.grants, self.asked, touches, self.catalog)
    }

    fn lacks_scope(&self, rule: &TouchRule) -> bool {
        lacks_scope(self.grants, self.asked, rule, self.catalog)
    }

    fn defers(&self) -> bool {
        self.defers
    }
}

/// What grants ask about what an answer shows: nothing is made by then, and what it shows is judged one by one.
pub struct InAnswer<'g> {
    /// The grants.
    pub grants: &'g Grants,
    /// The request that was answered.
    pub asked: &'g Asked<'g>,
    /// The API.
    pub catalog: &'g Catalog,
}

impl Interest for InAnswer<'_> {
    fn asks(&self, kind: &Kind) -> BTreeSet<String> {
        self.grants.asks(kind)
    }

    fn asks_about(&self, kind: &Kind, attribute: &str) -> bool {
        self.grants.ask_about(kind, attribute)
    }

    fn heeds(&self, kind: &Kind, follows: bool) -> bool {
        heeds(self.grants, self.asked, self.catalog, kind, follows)
    }

    fn names_project(&self, called: &str) -> bool {
        self.grants.names_project(called)
    }

    fn adds(&self) -> Vec<&str> {
        Vec::new()
    }

    fn labels(&self) -> Vec<&str> {
        Vec::new()
    }

    fn goes_on(&self, _: &[Touch]) -> bool {
        true
    }

    fn lacks_scope(&self, _: &TouchRule) -> bool {
        false
    }

    fn defers(&self) -> bool {
        false
    }
}

fn heeds(
    grants: &Grants,
    asked: &Asked<'_>,
    catalog: &Catalog,
    kind: &Kind,
    follows: bool,
) -> bool {
    let asked = Some(asked).filter(|_| !follows);
    grants.deny_changes(kind, asked, catalog.kinds())
}
