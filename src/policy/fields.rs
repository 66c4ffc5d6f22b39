//! What a sub-token may see of an answer, member by member.

use super::bind::Grants;
use super::case::Case;
use super::grant::Bearing;
use super::matching::{Fit, Use};
use crate::catalog::{Asks, Catalog, Kind, Scope, ScopeSet};
use crate::request::Asked;
use crate::resource::State;

/// Whether a member of an answer may be seen, as far as that can be told before it is known of which resource it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It may, whatever the resource.
    Shown,
    /// It may not, whatever the resource.
    Hidden,
    /// The resource decides.
    Judged,
}

/// Tells which members of the answer to one request a sub-token may see.
#[derive(Clone, Copy)]
pub struct Fields<'f> {
    case: Case<'f>,
}

impl<'f> Fields<'f> {
    /// For the answer to a request of who holds these grants.
    pub fn new(grants: &'f Grants, asked: &'f Asked<'f>, catalog: &'f Catalog) -> Self {
        let case = Case::new(grants, asked, catalog);
        Self { case }
    }

    /// Which of the grants that go by requests fit this one, a bit for each: beside the grants themselves, all of the request
    /// on which it depends what may be seen. `None` where they are too many.
    pub fn by_requests(&self) -> Option<u64> {
        let goes = |grant: &Bearing<'_>| grant.goes_by_request();
        let allows = |grant: Bearing<'_>| grant.action_fits() && grant.matches();
        let denies = |deny: Bearing<'_>| deny.takes_in();
        let (mut bits, mut number) = (0, 0);
        for set in self.sets() {
            let allowing = set.case.allowing().filter(goes).map(allows);
            let denying = set.case.denying().filter(goes).map(denies);
            for fits in allowing.chain(denying) {
                let bit = 1_u64.checked_shl(number)?;
                bits |= if fits { bit } else { 0 };
                number += 1;
            }
        }
        Some(bits)
    }

    /// Whether what is asked for may be seen of every resource of a kind, of none, or of some.
    pub fn standing(&self, asks: Asks, kind: Option<&Kind>) -> Standing {
        let by_set = self.sets().map(|set| set.standing_by_one(asks, kind));
        by_set.fold(Standing::Shown, |all, one| match (all, one) {
            (Standing::Hidden, _) | (_, Standing::Hidden) => Standing::Hidden,
            (Standing::Judged, _) | (_, Standing::Judged) => Standing::Judged,
            (Standing::Shown, Standing::Shown) => Standing::Shown,
        })
    }

    /// The same by each of the sets of grants that must allow.
    fn sets(&self) -> impl Iterator<Item = Self> {
        let case = self.case;
        let sets = case.grants.sets();
        sets.map(move |grants| Self {
            case: case.before(grants),
        })
    }

    fn standing_by_one(&self, asks: Asks, kind: Option<&Kind>) -> Standing {
        if let Asks::Children(_) = asks {
            return self.standing_of_children(kind);
        }
        let mut striking = self.striking(asks).peekable();
        let mut giving = self.giving(asks).peekable();
        let always = |grant: Bearing<'_>| grant.is_free();
        if giving.peek().is_none() || self.striking(asks).any(always) {
            return Standing::Hidden;
        }
        let freely = self.is_of_another_family(asks, kind) || giving.any(always);
        if freely && striking.peek().is_none() {
            Standing::Shown
        } else {
            Standing::Judged
        }
    }

    /// Whether what belongs to resources of a kind is shown with them: of all, unless a deny takes some of it away, or a grant is
    /// for some of it.
    fn standing_of_children(&self, kind: Option<&Kind>) -> Standing {
        let kinds = self.case.catalog.kinds();
        let Some(kind) = kind else {
            return Standing::Judged;
        };
        let some_alone = |grant: Bearing<'_>| {
            let only = grant.only();
            only.is_some_and(|only| only.is_for_children_of_kind(kind.id, kinds))
        };
        if self.case.could_hide_children(kind) || self.case.allowing().any(some_alone) {
            Standing::Judged
        } else {
            Standing::Shown
        }
    }

    /// Whether all that belongs to a resource is shown with it.
    fn shows_children_of(&self, asks: Asks, state: &State) -> bool {
        let kinds = self.case.catalog.kinds();
        let covers = |grant: Bearing<'_>| {
            grant.only().is_none_or(|only| {
                let covered = state.is_public() || only.covers(state, Use::Look, kinds) == Fit::Yes;
                covered && !only.is_for_children_of(state, kinds)
            })
        };
        let shown = self.giving(asks).any(covers) || self.doing().any(covers);
        shown && !self.case.hides_children(state)
    }

    /// The allow grants that give what the request itself asks for.
    fn doing(&self) -> impl Iterator<Item = Bearing<'_>> {
        let endpoint = self.case.asked.endpoint;
        let needs = endpoint.map(|endpoint| self.case.needs(endpoint));
        self.case.allowing().filter(move |grant| {
            let held = endpoint.and_then(|endpoint| grant.scopes_for(endpoint));
            let gives =
                |sets: &[ScopeSet]| held.is_some_and(|held| sets.iter().any(|it| held.meets(it)));
            needs.as_deref().is_some_and(gives) && grant.action_fits()
        })
    }

    /// Whether it may be seen of each of these resources, of which there is at least one.
    pub fn shown_of(&self, asks: Asks, kind: Option<&Kind>, states: &[State]) -> bool {
        self.sets().all(|set| set.shown_by_one(asks, kind, states))
    }

    fn shown_by_one(&self, asks: Asks, kind: Option<&Kind>, states: &[State]) -> bool {
        match self.standing_by_one(asks, kind) {
            Standing::Shown => true,
            Standing::Hidden => false,
            Standing::Judged => {
                !states.is_empty() && states.iter().all(|state| self.over(asks, kind, state))
            }
        }
    }

    fn over(&self, asks: Asks, kind: Option<&Kind>, state: &State) -> bool {
        if let Asks::Children(_) = asks {
            return self.shows_children_of(asks, state);
        }
        let kinds = self.case.catalog.kinds();
        let r#use = use_of(asks);
        let struck = self.striking(asks).any(|deny| {
            let only = deny.only();
            only.is_none_or(|only| only.strikes(state, r#use, kinds) != Fit::No)
        });
        let nobodys = r#use == Use::Look && state.is_public();
        let covers = |grant: Bearing<'_>| {
            let only = grant.only();
            only.is_none_or(|only| only.covers(state, r#use, kinds) == Fit::Yes)
        };
        let free = nobodys || self.is_of_another_family(asks, kind);
        !struck && self.giving(asks).any(|grant| free || covers(grant))
    }

    /// The allow grants that give what is asked for, over whatever they cover.
    fn giving(&self, asks: Asks) -> impl Iterator<Item = Bearing<'_>> {
        // One that is limited to actions gives the scope of changes for those alone.
        let looks = self.scope(asks).is_some_and(|scope| scope.verb() == "read");
        self.case.allowing().filter(move |grant| {
            let by_scope = match asks {
                Asks::Secret(scope) => grant.gives_by_name_beside(scope, looks),
                Asks::Field(scope) | Asks::Whole(scope) | Asks::Children(scope) => {
                    grant.gives_beside(scope, looks)
                }
            };
            by_scope || grant.action_fits() && grant.matches()
        })
    }

    /// The deny grants that take what is asked for away, from whatever they strike.
    fn striking(&self, asks: Asks) -> impl Iterator<Item = Bearing<'_>> {
        self.case.denying().filter(move |deny| {
            if deny.goes_by_request() {
                deny.takes_in()
            } else {
                deny.hides(asks.scope())
            }
        })
    }

    /// Whether a field is about another family than the resource that shows it, as a Droplet's tags are. Who may read that
    /// family at all is shown it: a selector there asks about other things than this one.
    fn is_of_another_family(&self, asks: Asks, kind: Option<&Kind>) -> bool {
        let Asks::Field(_) = asks else {
            return false;
        };
        let scope = self.scope(asks);
        kind.is_some_and(|kind| scope.is_none_or(|scope| scope.family() != kind.family))
    }

    fn scope(&self, asks: Asks) -> Option<&'f Scope> {
        self.case.catalog.scopes().name(asks.scope())
    }
}

/// What logs in somewhere is handed out only to whom the whole is granted, not for some of its children.
fn use_of(asks: Asks) -> Use {
    match asks {
        Asks::Secret(_) => Use::Change,
        Asks::Field(_) | Asks::Whole(_) | Asks::Children(_) => Use::Look,
    }
}
