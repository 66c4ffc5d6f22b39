//! Rule 6: no request widens what a token may do, or takes a thing out from under a deny.

use super::TouchJudge;
use crate::catalog::{Kind, KindId, Kinds, Scope, TouchVerb};
use crate::policy::case::held_by;
use crate::policy::grant::{Bearing, Held};
use crate::policy::matching::{As, BoundOnly, Fit, Matcher, Use};
use crate::refusal::{Code, Refusal};
use crate::resource::{State, Touch};

impl TouchJudge<'_> {
    /// No request widens what the token may do over a resource, or takes it out from under a deny.
    pub(super) fn widens_nothing(&self, touch: &Touch) -> Result<(), Refusal> {
        let (Some(before), Some(after)) = (&touch.before, &touch.after) else {
            return Ok(());
        };
        if touch.changes.is_empty() || !self.case.grants.has_only {
            return Ok(());
        }
        self.may_change(touch)?;
        self.may_be_default(touch)?;
        self.gains_nothing(touch, before, after)?;
        self.moves_no_project(touch, before, after)?;
        let kinds = self.case.catalog.kinds();
        for grant in self
            .case
            .denying()
            .filter(|grant| asks(*grant, touch, kinds))
        {
            let Some(only) = grant.only() else { continue };
            let freed = |was: Fit, is: Fit| was != Fit::No && is != Fit::Yes;
            let strikes = |state: &State| only.strikes(state, Use::Look, kinds);
            let below = |state: &State| only.children_fit(state, kinds).into_iter();
            if freed(strikes(before), strikes(after))
                || below(before)
                    .zip(below(after))
                    .any(|(was, is)| freed(was, is))
            {
                return Err(self.freed(touch, grant));
            }
        }
        Ok(())
    }

    /// No grant covers afterwards what was not held before: the resource, under either of its kinds, or what belongs to it.
    fn gains_nothing(&self, touch: &Touch, before: &State, after: &State) -> Result<(), Refusal> {
        let kinds = self.case.catalog.kinds();
        let views = match before.also {
            Some(_) => &[As::Itself, As::Other][..],
            None => &[As::Itself],
        };
        for grant in self
            .case
            .allowing()
            .filter(|grant| asks(*grant, touch, kinds))
        {
            let Some(only) = grant.only() else { continue };
            let gained = |was: Fit, is: Fit| was != Fit::Yes && is != Fit::No;
            let below = |state: &State| only.children_fit(state, kinds).into_iter();
            let gains_below = below(before)
                .zip(below(after))
                .any(|(was, is)| gained(was, is));
            for view in views {
                let covers = |state: &State| only.covers_as(state, *view);
                let gains = gained(covers(before), covers(after)) || gains_below;
                if gains && !self.held_before(grant, touch, before, *view) {
                    return Err(self.gained(touch, grant));
                }
            }
        }
        Ok(())
    }

    /// What a project is called decides over all that is in it, whatever is held over the project itself.
    fn moves_no_project(
        &self,
        touch: &Touch,
        before: &State,
        after: &State,
    ) -> Result<(), Refusal> {
        if touch.kind != KindId::Project {
            return Ok(());
        }
        let called = |state: &State, project: &Matcher| {
            let known = ["id", "name"].map(|own| state.known(own).unwrap_or_default());
            let values = known.iter().flat_map(|known| &known.values);
            values.into_iter().any(|value| project.matches(value))
        };
        let asks = |grant: &Bearing<'_>, was: bool| {
            let mut projects = grant.only().into_iter().flat_map(BoundOnly::projects);
            projects.any(|project| called(before, project) == was && called(after, project) != was)
        };
        let free = |grant: &Bearing<'_>| grant.is_free();
        let gains = |grant: &Bearing<'_>| asks(grant, false) && !self.held_by(*grant, None, free);
        if let Some(grant) = self.case.allowing().find(gains) {
            return Err(self.gained(touch, grant));
        }
        match self.case.denying().find(|grant| asks(grant, true)) {
            Some(grant) => Err(self.freed(touch, grant)),
            None => Ok(()),
        }
    }

    /// What is deleted is taken off what names it, and that could be out from under a deny then.
    pub(super) fn frees_nothing(&self, touch: &Touch) -> Result<(), Refusal> {
        let (TouchVerb::Delete, Some(deleted)) = (&touch.verb, &touch.before) else {
            return Ok(());
        };
        let refers = |grant: &Bearing<'_>| {
            let only = grant.only();
            only.is_some_and(|only| only.refers_to(deleted))
        };
        match self.case.denying().find(refers) {
            Some(grant) => Err(self.freed(touch, grant)),
            None => Ok(()),
        }
    }

    fn gained(&self, touch: &Touch, grant: Bearing<'_>) -> Refusal {
        let why = format!(
            "it would bring the {} under `{}`, so that this sub-token could do more with it than before",
            touch.kind,
            grant.place()
        );
        self.refused(touch, &why)
    }

    fn freed(&self, touch: &Touch, grant: Bearing<'_>) -> Refusal {
        let message = format!(
            "{} {} would take a {} out from under `{}`, which wins over every grant",
            self.case.asked.method,
            self.case.asked.target.path(),
            touch.kind,
            grant.place()
        );
        Refusal::new(Code::Denied, message).detail(grant.place())
    }

    /// Whether all that a grant gives was held over the resource already, by grants that covered it before, with all that
    /// belongs to it.
    fn held_before(&self, gained: Bearing<'_>, touch: &Touch, before: &State, view: As) -> bool {
        let kinds = self.case.catalog.kinds();
        let kind = kinds.of(touch.kind);
        let names = |grant: &Bearing<'_>| grant.only().is_some_and(|only| only.names(kind.id));
        // Only a grant that names them accepts that VPCs are joined and tags put on.
        let entered = matches!(kind.id, KindId::Vpc | KindId::Tag) && names(&gained);
        let held = |grant: &Bearing<'_>| {
            let only = grant.only();
            let covers = only.is_none_or(|only| only.covers_whole(before, view, kinds) == Fit::Yes);
            covers && (!entered || names(grant))
        };
        self.held_by(gained, Some(kind), held)
    }

    /// Whether all that a grant gives is given by others of which that holds. Where it gives scopes of other families it
    /// also takes the resource along in their requests, as who may read and change it can.
    fn held_by(
        &self,
        gained: Bearing<'_>,
        kind: Option<&Kind>,
        holds: impl Fn(&Bearing<'_>) -> bool,
    ) -> bool {
        let Some(Held { named, all }) = gained.held() else {
            return false; // what patterns give can't be compared
        };
        let before = self.case.allowing().filter(|grant| holds(grant));
        let before = before.filter(|grant| grant.does_all_that(&gained));
        let before = held_by(before);
        let beside = kind.is_none_or(|kind| {
            let own = |scope: &Scope| scope.family() == kind.family;
            let mut taken = [kind.reads, kind.changes].into_iter().flatten();
            self.case.catalog.scopes().names(all).all(own)
                || taken.all(|scope| before.all.has(scope))
        });
        beside && before.named.covers(named) && before.all.covers(all)
    }

    /// Who changes what a selector can ask about needs the scope by which the API changes it, over it.
    fn may_change(&self, touch: &Touch) -> Result<(), Refusal> {
        let kind = self.case.catalog.kinds().of(touch.kind);
        let asked_about = touch.changes.iter().any(|attribute| kind.has(attribute));
        if !asked_about || touch.is_implied() {
            return Ok(());
        }
        let scope = kind.changes;
        let covering = self.covering(touch);
        let enough = covering.iter().any(|grant| {
            let has = |scope| self.gives(*grant, scope) || touch.is_first() && grant.gives(scope);
            grant.matches() || scope.is_some_and(has)
        });
        if enough {
            return Ok(());
        }
        let scope = scope.and_then(|scope| self.case.catalog.scopes().name(scope));
        let what = touch.changes.join(", ");
        let why = match scope {
            Some(scope) => format!(
                "it changes `{what}` of a {}, and that needs {scope} over it, before and after",
                touch.kind
            ),
            None => format!(
                "it changes `{what}` of a {}, for which the API has no scope of its own",
                touch.kind
            ),
        };
        let refusal = self.refused(touch, &why);
        Err(match scope {
            Some(scope) if refusal.code != Code::ResourceHidden => {
                refusal.needing(vec![scope.clone()])
            }
            Some(_) | None => refusal,
        })
    }

    /// Which one is the default is no matter of that one alone: where nothing else is named, requests go to it.
    fn may_be_default(&self, touch: &Touch) -> Result<(), Refusal> {
        let covering = self.covering(touch);
        let free: Vec<_> = covering.into_iter().filter(Bearing::is_free).collect();
        if !touch.changes.iter().any(|attribute| attribute == "default")
            || self.has_scopes(touch, &free)
        {
            return Ok(());
        }
        let why = format!(
            "it changes which {} is the default, and only a grant without `only` lets it",
            touch.kind
        );
        Err(self.refused(touch, &why))
    }
}

/// Whether a grant asks about what a touch changes.
fn asks(grant: Bearing<'_>, touch: &Touch, kinds: &Kinds) -> bool {
    let kind = kinds.of(touch.kind);
    grant
        .only()
        .is_some_and(|only| only.asks_about(kind, &touch.changes))
}
