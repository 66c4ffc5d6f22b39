//! What deny grants strike, and what a refusal may tell of what the token may not see.

use super::TouchJudge;
use super::covering::{added, use_of};
use super::why::struck;
use crate::catalog::{Another, Catalog, Kind, KindId, Kinds, NamedBy, Place, TouchKind, TouchVerb};
use crate::policy::bind::Grants;
use crate::policy::case::Case;
use crate::policy::grant::Bearing;
use crate::policy::matching::{BoundOnly, Fit, Use};
use crate::refusal::{Code, Refusal};
use crate::request::Asked;
use crate::resource::{State, Touch, is_under};

impl<'j> TouchJudge<'j> {
    /// A deny strikes what is created as it will be, with what is added to it.
    pub(super) fn not_struck_with_additions(
        &self,
        touches: &[Touch],
        grant: Bearing<'_>,
    ) -> Result<(), Refusal> {
        for touch in touches
            .iter()
            .filter(|touch| touch.verb == TouchVerb::Create)
        {
            self.not_struck(&Touch {
                after: touch.after.as_ref().map(|after| added(after, touch, grant)),
                ..touch.clone()
            })?;
        }
        Ok(())
    }

    pub(super) fn not_struck(&self, touch: &Touch) -> Result<(), Refusal> {
        let Some(grant) = self.striking(touch) else {
            return Ok(());
        };
        if self.is_hidden(touch) {
            return Err(Refusal::hidden().detail(struck(grant, touch)));
        }
        Err(self.case.denied(grant).detail(struck(grant, touch)))
    }

    /// The deny grant that strikes a touch. What could not be learnt counts as struck; what is yet to be learnt does not.
    pub(super) fn striking(&self, touch: &Touch) -> Option<Bearing<'j>> {
        let kinds = self.case.catalog.kinds();
        let own = touch.struck_by(kinds);
        // A deny without `only` leaves what is shown to the scopes by which it is asked for.
        let changes = !matches!(
            touch.verb,
            TouchVerb::Read | TouchVerb::List | TouchVerb::Use | TouchVerb::Source
        );
        // A list of what belongs to a resource that may not be seen is hidden as that is.
        let of_struck = |touch: &Touch, only: &BoundOnly| {
            let any = touch.before.as_ref().filter(|_| touch.in_path);
            let parent = any.and_then(|any| any.parent.as_deref());
            parent.is_some_and(|parent| strikes(only, parent, Use::Look, kinds))
        };
        let by_own = |grant: &Bearing<'_>| own.iter().any(|own| grant.takes_in_change(own));
        let asks = |grant: &Bearing<'_>| by_own(grant) || !touch.follows() && grant.takes_in();
        let struck = |grant: &Bearing<'_>| {
            if !asks(grant) {
                return false;
            }
            let Some(only) = grant.only() else {
                return grant.takes_in() || changes && by_own(grant);
            };
            if touch.verb == TouchVerb::List {
                return of_struck(touch, only); // the rest is judged on the answer
            }
            if touch.is_deferred() {
                return false; // judged on the answer
            }
            if touch.is_missing() {
                return could_strike(only, touch.kind, kinds);
            }
            let tells = |state: &State| only.strikes_children(state, kinds);
            if self.tells_of_children(touch) && touch.states().any(tells) {
                return true;
            }
            touch
                .states()
                .any(|state| strikes(only, state, use_of(touch), kinds))
        };
        self.case.denying().find(struck)
    }

    /// Whether the path names something that the token may not see.
    fn is_hidden(&self, touch: &Touch) -> bool {
        let kinds = self.case.catalog.kinds();
        if kinds.of(touch.kind).everybody_has {
            return false;
        }
        if !touch.in_path {
            let within = touch.within.as_deref();
            return within.is_some_and(|parent| !self.is_visible(parent));
        }
        // What is not there yet is hidden where that is hidden which it would belong to.
        let created = touch.after.as_ref().filter(|_| !touch.is_missing());
        let parent = created.and_then(|after| after.parent.as_deref());
        let before = touch.before.as_ref().or(parent);
        before.is_none_or(|before| !self.is_visible(before))
    }

    /// Whether the token may see a resource as it is, whatever else it may do with it.
    fn is_visible(&self, before: &State) -> bool {
        let kinds = self.case.catalog.kinds();
        let Some(reads) = kinds.of(before.kind).reads else {
            return false;
        };
        let shown = self.case.allowing().any(|grant| {
            let only = grant.only();
            grant.gives(reads)
                && (before.is_public()
                    || only.is_none_or(|only| only.covers(before, Use::Look, kinds) == Fit::Yes))
        });
        shown && !self.case.takes_from_sight(before)
    }

    pub(super) fn not_covered(&self, touch: &Touch) -> Refusal {
        if self.lacks_action(touch) {
            return self.case.wrong_action();
        }
        let list_of = touch.verb == TouchVerb::List;
        let called = self.called(touch).map(|name| format!(" `{name}`"));
        let called = called.unwrap_or_default();
        let why = match touch.verb {
            TouchVerb::Source => format!(
                "no grant of this sub-token gives the read scope of the {}{called} that it is made from, by name",
                touch.kind
            ),
            _ => format!(
                "no grant of this sub-token covers the {}{called} that it touches",
                touch.kind
            ),
        };
        if list_of && touch.in_path {
            return Refusal::hidden().detail(self.why_not(touch));
        }
        self.refused(touch, &why).detail(self.why_not(touch))
    }

    /// What the request itself calls a touched resource: its own words, which are the same whether that is there or not, and
    /// nothing that only a look-up tells.
    fn called(&self, touch: &Touch) -> Option<String> {
        let asked = self.case.asked;
        let rule = self.endpoint.touches.rules().get(touch.rule)?;
        if touch.is_implied() || rule.held_in.is_some() || rule.by == NamedBy::Tag {
            return None;
        }
        let names = match (&rule.at, &rule.kind) {
            (Some(Place::Body(path)), TouchKind::Typed { id, .. }) => {
                asked.names(&Place::Body(path.member(id)))
            }
            (Some(at), _) => asked.names(at),
            // What is created is called by the name that it gets.
            (None, _) => {
                let named = rule.after.iter().find(|(attribute, _)| attribute == "name");
                let places = named.map_or(&[][..], |(_, places)| places.as_slice());
                places.iter().flat_map(|place| asked.names(place)).collect()
            }
        };
        let by_id = rule.by == NamedBy::Id || touch.kind == KindId::Tag;
        let name = match names.as_slice() {
            [only] => *only,
            // Of several it is told which, where nothing had to be found to know that.
            _ if by_id => names
                .into_iter()
                .find(|name| touch.id.as_deref() == Some(*name))?,
            _ => return None,
        };
        Some(name.chars().take(LONGEST_NAME).collect())
    }

    /// Whether but for `actions` the touch would be covered.
    fn lacks_action(&self, touch: &Touch) -> bool {
        let limited = self.case.allowing();
        let limited: Vec<_> = limited.filter(|it| self.covers(*it, touch)).collect();
        touch.is_first() && self.has_scopes(touch, &limited)
    }

    pub(super) fn refused(&self, touch: &Touch, why: &str) -> Refusal {
        if self.is_hidden(touch) {
            return Refusal::hidden();
        }
        let endpoint = self.endpoint;
        Refusal::new(
            Code::Resource,
            format!("{endpoint} is refused: {why}; ask for a role that allows it"),
        )
    }

    /// Whether the answer must be judged or cut for what this touch shows.
    pub(super) fn narrows(&self, touch: &Touch) -> bool {
        let kinds = self.case.catalog.kinds();
        let kind = kinds.of(touch.kind);
        let shows_children = !kind.shows_children.is_empty();
        let struck = self.case.denying().any(|grant| {
            let only = grant.only();
            only.is_some_and(|only| could_strike(only, kind.id, kinds))
        });
        let struck = struck || shows_children && self.case.could_hide_children(kind);
        let allowing = self.case.allowing();
        let free: Vec<_> = allowing
            .filter(|grant| grant.is_free() && grant.action_fits())
            .collect();
        let shown = touch.is_deferred() || touch.verb == TouchVerb::List;
        let rule = self.endpoint.touches.rules().get(touch.rule);
        let by_another = match rule.and_then(|rule| rule.another.as_ref()) {
            Some(Another::StoodFor(_)) => self.case.grants.has_only,
            Some(Another::DeniedWith(_)) => self.case.denying().next().is_some(),
            None => false,
        };
        shown && (struck || by_another || !self.has_scopes(touch, &free))
    }
}

impl Case<'_> {
    /// Whether a deny takes a resource from sight: gives the scope by which it is shown, under either of its kinds, and strikes it.
    fn takes_from_sight(&self, state: &State) -> bool {
        let kinds = self.catalog.kinds();
        let reads = |kind: KindId| kinds.of(kind).reads;
        let own = reads(state.kind);
        let also = state.also.and_then(reads);
        self.denying().any(|grant| {
            let mut reads = own.into_iter().chain(also);
            let only = grant.only();
            reads.any(|scope| grant.hides(scope))
                && only.is_none_or(|only| strikes(only, state, Use::Look, kinds))
        })
    }

    /// Whether a deny could take some resource of a kind from sight; of a kind that nobody knows, one that names no kind.
    fn could_take_from_sight(&self, kind: Option<&Kind>) -> bool {
        let kinds = self.catalog.kinds();
        self.denying().any(|grant| {
            let only = grant.only();
            let Some(kind) = kind else {
                return only.is_some_and(BoundOnly::is_of_any_kind);
            };
            let mut reads = kinds.views(kind).filter_map(|view| view.reads);
            reads.any(|scope| grant.hides(scope))
                && only.is_none_or(|only| could_strike(only, kind.id, kinds))
        })
    }

    /// Whether a deny takes in some of what belongs to a resource, so that what shows these is left out.
    pub(in crate::policy) fn hides_children(&self, state: &State) -> bool {
        let kinds = self.catalog.kinds();
        let kind = kinds.of(state.kind);
        self.denying().any(|grant| {
            grant.only().is_some_and(|only| {
                hides_named_child(grant, only, kind, kinds) && only.strikes_children(state, kinds)
                    || hides_any_child(grant, kind, kinds)
                        && only.strikes_own_of_children(state, kind)
            })
        })
    }

    /// Whether a deny takes some of what belongs to resources of a kind from sight.
    pub(in crate::policy) fn could_hide_children(&self, kind: &Kind) -> bool {
        let kinds = self.catalog.kinds();
        self.denying().any(|grant| {
            grant.only().is_some_and(|only| {
                hides_named_child(grant, only, kind, kinds)
                    || hides_any_child(grant, kind, kinds) && only.asks_own_of_children(kind)
            })
        })
    }
}

/// Whether a deny takes a resource that an answer shows from sight, whatever else it may be shown by.
pub fn takes_from_sight(
    grants: &Grants,
    asked: &Asked<'_>,
    state: &State,
    catalog: &Catalog,
) -> bool {
    Case::new(grants, asked, catalog).takes_from_sight(state)
}

/// Whether a deny could take some resource of a kind that an answer shows from sight; of a kind that nobody knows, one that names no
/// kind.
pub fn could_take_from_sight(
    grants: &Grants,
    asked: &Asked<'_>,
    kind: Option<&Kind>,
    catalog: &Catalog,
) -> bool {
    Case::new(grants, asked, catalog).could_take_from_sight(kind)
}

/// Whether a deny names kinds below one, and takes some of these from sight.
fn hides_named_child(grant: Bearing<'_>, only: &BoundOnly, kind: &Kind, kinds: &Kinds) -> bool {
    only.names_children_of(kind.id, kinds)
        && hidden_below(grant, kind, kinds).any(|child| only.names(child.id))
}

/// Whether a deny that names no kind below one could take what is there from sight.
fn hides_any_child(grant: Bearing<'_>, kind: &Kind, kinds: &Kinds) -> bool {
    hidden_below(grant, kind, kinds).next().is_some()
}

/// The kinds below one of which a deny has the scope that shows them.
fn hidden_below<'k>(
    grant: Bearing<'_>,
    kind: &Kind,
    kinds: &'k Kinds,
) -> impl Iterator<Item = &'k Kind> {
    let below = kinds.iter();
    let below = below.filter(|child| is_under(kinds, child.id, kind.id));
    below.filter(move |child| child.reads.is_some_and(|reads| grant.hides(reads)))
}

/// Whether a deny that is narrowed to this strikes a resource put to that use: what can't be told counts as struck. What
/// counts as another resource, and of which it is not known which, is any that it could be.
fn strikes(only: &BoundOnly, state: &State, r#use: Use, kinds: &Kinds) -> bool {
    let unlearnt = !kinds.of(state.kind).counts_as.is_empty();
    unlearnt && could_strike(only, state.kind, kinds)
        || only.strikes(state, r#use, kinds) != Fit::No
}

/// Whether a deny that is narrowed to this could strike a resource of a kind, under any kind as which that may be judged.
fn could_strike(only: &BoundOnly, kind: KindId, kinds: &Kinds) -> bool {
    let mut views = kinds.views(kinds.of(kind));
    views.any(|view| only.reaches(view.id, kinds))
}

/// The letters of a name that a refusal repeats.
const LONGEST_NAME: usize = 100;
