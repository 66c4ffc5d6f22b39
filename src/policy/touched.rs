//! The decision over what a request touches: each resource by itself, before and after.

use super::bind::{Additions, BoundCovers, BoundGrant, Grants};
use super::decide::{Allowed, Question, Shown};
use super::matching::{As, Fit, Use};
use crate::catalog::{Catalog, Endpoint, Kind, Kinds, ScopeId, ScopeSet, TouchVerb};
use crate::refusal::{Code, Refusal};
use crate::request::Asked;
use crate::resource::{Known, State, Touch};

impl Question<'_> {
    /// Allowed where each touch is covered, none widens what is held, and no deny strikes one.
    pub(super) fn by_touches(
        &self,
        grants: &Grants,
        touches: &[Touch],
    ) -> Result<Allowed, Refusal> {
        let mut allowed = self.by_scopes_alone(grants)?;
        let Some(endpoint) = self.asked.endpoint else {
            return Err(self.unknown());
        };
        let Some(first) = touches.iter().find(|touch| touch.first) else {
            let why = "it names nothing that it could be about";
            return Err(Refusal::new(
                Code::Resource,
                format!("{endpoint} is refused: {why}; name the resource"),
            ));
        };
        let judge = Judge {
            question: self,
            grants,
            endpoint,
        };
        // What is created is judged where its grant puts it, once it is told which that is.
        let settled = |touch: &&Touch| touch.verb != TouchVerb::Create || touch.homes.is_empty();
        for touch in touches.iter().filter(settled) {
            judge.not_struck(touch)?;
        }
        for touch in touches.iter().filter(|touch| touch.first) {
            judge.first_covered(touch)?;
        }
        let firsts = judge.covering_first(first);
        for touch in touches.iter().filter(|touch| !touch.first) {
            judge.field_scope_held(touch)?;
        }
        for touch in touches.iter().filter(|touch| !touch.first) {
            judge.second_covered(touch, &firsts)?;
        }
        judge.fields_covered(touches)?;
        for touch in touches {
            judge.widens_nothing(touch)?;
            judge.frees_nothing(touch)?;
        }
        if let Some(grant) = judge.deciding(first, &firsts) {
            judge.not_struck_with_additions(touches, grant)?;
            allowed.place.clone_from(&grant.place);
            allowed.additions = grant.on_create.clone().filter(|_| self.creates());
        }
        allowed.narrows = touches.iter().any(|touch| judge.narrows(touch));
        Ok(allowed)
    }

    /// What may be seen of one resource of an answer.
    pub(super) fn shows(&self, grants: &Grants, touch: &Touch, state: &State) -> Shown {
        let Some(endpoint) = self.asked.endpoint else {
            return Shown::Hidden;
        };
        let judge = Judge {
            question: self,
            grants,
            endpoint,
        };
        let verb = match touch.verb {
            TouchVerb::List => TouchVerb::Read, // one of them is looked at by itself: a deny strikes it
            other => other,
        };
        let seen = Touch {
            verb,
            before: Some(state.clone()),
            after: Some(state.clone()),
            deferred: false,
            ..touch.clone()
        };
        if judge.striking(&seen).is_some() {
            return Shown::Hidden;
        }
        let covering = judge.covering(&seen);
        if !judge.has_scopes(&seen, &covering) {
            return Shown::Hidden;
        }
        let kinds = self.catalog.kinds();
        let shows_all = |grant: &&BoundGrant| {
            let only = grant.only.as_ref();
            !only.is_some_and(|only| only.is_for_children_of(state, kinds))
        };
        let whole: Vec<_> = covering.into_iter().filter(shows_all).collect();
        if judge.has_scopes(&seen, &whole) {
            Shown::Whole
        } else {
            Shown::WithoutChildren
        }
    }
}

/// The one tag that alone decides which resources of a list may be seen, if it is so.
pub fn one_tag<'g>(
    grants: &'g Grants,
    asked: &Asked<'_>,
    touch: &Touch,
    catalog: &Catalog,
) -> Option<&'g str> {
    let question = Question {
        asked,
        known: super::decide::Known::Whole,
        catalog,
    };
    let endpoint = asked.endpoint?;
    let kinds = catalog.kinds();
    let kind = touch.kind.as_str();
    let has_part = |grant: &&BoundGrant| {
        let scopes = Question::scopes_of(endpoint, grant);
        let needs = question.needs(endpoint);
        let by_scope = scopes.is_some_and(|scopes| needs.iter().any(|set| scopes.meets(set)));
        let reaches = grant
            .only
            .as_ref()
            .is_none_or(|only| only.reaches(kind, kinds));
        reaches && (by_scope || question.request_matches(grant))
    };
    let denied = grants.denying().any(|grant| grant.only.is_some());
    let mut tags = grants
        .allowing()
        .filter(has_part)
        .map(|grant| grant.only.as_ref()?.one_tag(kind));
    let first = tags.next()??;
    (!denied && tags.all(|tag| tag == Some(first))).then_some(first)
}

/// Whether it may come to an allowance yet, by what is known of the first touch: else nothing more needs to be looked up, and
/// nothing more is, so that how long a refusal takes does not tell what is there.
pub fn goes_on(grants: &Grants, asked: &Asked<'_>, touch: &Touch, catalog: &Catalog) -> bool {
    let question = Question {
        asked,
        known: super::decide::Known::Whole,
        catalog,
    };
    let Some(endpoint) = asked.endpoint else {
        return false;
    };
    let judge = Judge {
        question: &question,
        grants,
        endpoint,
    };
    judge.first_covered(touch).is_ok()
}

struct Judge<'j> {
    question: &'j Question<'j>,
    grants: &'j Grants,
    endpoint: &'j Endpoint,
}

impl<'j> Judge<'j> {
    /// The allow grants that cover a touch, whatever scopes they give.
    fn covering(&self, touch: &Touch) -> Vec<&'j BoundGrant> {
        let grants = self.grants.allowing();
        grants
            .filter(|grant| self.question.falls_short(grant).is_none() && self.covers(grant, touch))
            .collect()
    }

    /// What is done to it. What logs in to a whole is handed out only to whom the whole is granted, not for some of its
    /// children.
    fn use_of(&self, touch: &Touch) -> Use {
        match use_of(touch) {
            Use::Look if self.endpoint.sensitive.is_some() => Use::Change,
            other => other,
        }
    }

    fn covers(&self, grant: &BoundGrant, touch: &Touch) -> bool {
        let Some(only) = &grant.only else {
            return true;
        };
        let kinds = self.question.catalog.kinds();
        let r#use = self.use_of(touch);
        let fits = |state: &State| only.covers(state, r#use, kinds);
        if r#use == Use::Look && touch.before.as_ref().is_some_and(State::is_public) {
            return true; // it belongs to nobody: the scope alone covers it
        }
        let counts_as_another = kinds
            .find(touch.kind.as_str())
            .is_some_and(|kind| kind.counts_as.is_some());
        match touch.verb {
            // Which resource it counts as, the answer will tell.
            TouchVerb::Read | TouchVerb::List
                if counts_as_another && (touch.deferred || touch.before.is_none()) =>
            {
                true
            }
            TouchVerb::List => match &touch.before {
                // Which there are is cut from the answer; what is asked here is whether there can be any.
                Some(any) => only.reaches(touch.kind.as_str(), kinds) && fits(any) != Fit::No,
                None => only.reaches(touch.kind.as_str(), kinds),
            },
            TouchVerb::Create => {
                let after = touch.after.as_ref();
                let with = after.map(|after| added(after, grant, &touch.homes));
                with.is_some_and(|after| fits(&after) == Fit::Yes)
            }
            _ if touch.deferred => touch
                .before
                .as_ref()
                .is_none_or(|before| fits(before) != Fit::No),
            TouchVerb::Read
            | TouchVerb::Change
            | TouchVerb::Delete
            | TouchVerb::Use
            | TouchVerb::Source
            | TouchVerb::Attach
            | TouchVerb::Join
            | TouchVerb::Label => {
                let mut states = touch.states().peekable();
                states.peek().is_some() && states.all(|state| fits(state) == Fit::Yes)
            }
        }
    }

    /// Whether grants together give what is asked for at a touch.
    fn has_scopes(&self, touch: &Touch, grants: &[&BoundGrant]) -> bool {
        if grants
            .iter()
            .any(|grant| self.question.request_matches(grant))
        {
            return true;
        }
        let held = Question::held(self.endpoint, grants.iter().copied());
        match touch.scope {
            Some(scope) => held.has(scope),
            None => self
                .question
                .needs(self.endpoint)
                .iter()
                .any(|set| held.covers(set)),
        }
    }

    fn first_covered(&self, touch: &Touch) -> Result<(), Refusal> {
        let covering = self.covering(touch);
        let top_list = touch.verb == TouchVerb::List && touch.before.is_none();
        // A list of which nothing may be seen is empty, and no refusal.
        if top_list || self.has_scopes(touch, &covering) {
            Ok(())
        } else {
            Err(self.not_covered(touch))
        }
    }

    /// The grants that cover the first touch and have part in what it asks for.
    fn covering_first(&self, first: &Touch) -> Vec<&'j BoundGrant> {
        let needs = self.question.needs(self.endpoint);
        let has_part = |grant: &&BoundGrant| {
            let scopes = Question::scopes_of(self.endpoint, grant);
            let by_scope = scopes.is_some_and(|scopes| match first.scope {
                Some(scope) => scopes.has(scope),
                None => needs.iter().any(|set| scopes.meets(set)),
            });
            by_scope || self.question.request_matches(grant)
        };
        self.covering(first).into_iter().filter(has_part).collect()
    }

    /// The grant that a record names, and whose additions are made: the first that is enough by itself, or else has part.
    fn deciding(&self, first: &Touch, firsts: &[&'j BoundGrant]) -> Option<&'j BoundGrant> {
        let alone = firsts
            .iter()
            .find(|grant| self.has_scopes(first, std::slice::from_ref(*grant)));
        alone.or(firsts.first()).copied()
    }

    fn second_covered(&self, touch: &Touch, firsts: &[&BoundGrant]) -> Result<(), Refusal> {
        if touch.implied {
            return Ok(()); // whatever covers the first covers it
        }
        let covering = self.covering(touch);
        let by_request = |grants: &[&BoundGrant]| {
            grants
                .iter()
                .any(|grant| self.question.request_matches(grant))
        };
        let covered = by_request(&covering)
            || match touch.verb {
                TouchVerb::Source => self.source_covered(touch, &covering),
                TouchVerb::Join | TouchVerb::Label => self.entered(touch, &covering, firsts),
                TouchVerb::Use | TouchVerb::Attach => self.taken_along(touch, &covering, firsts),
                TouchVerb::Change if touch.scope.is_none() => {
                    self.taken_along(touch, &covering, firsts)
                }
                TouchVerb::List => true, // what may not be seen of it is cut from the answer
                TouchVerb::Read | TouchVerb::Create | TouchVerb::Change | TouchVerb::Delete => {
                    self.has_scopes(touch, &covering)
                }
            };
        if covered {
            Ok(())
        } else {
            Err(self.not_covered(touch))
        }
    }

    /// What is on a private image is handed out only by its scope's name, over it as an image or as a snapshot.
    fn source_covered(&self, touch: &Touch, covering: &[&BoundGrant]) -> bool {
        let Some(state) = &touch.before else {
            // What is not there hands out nothing, but whether it is there must not be told.
            return self.grants.allowing().any(|grant| {
                grant.only.is_none() && self.names_source_scope(touch, touch.kind.as_str(), grant)
            });
        };
        if state.is_public() {
            let reads = |grant: &BoundGrant| {
                let scopes = grant.covers.all();
                touch
                    .scope
                    .or(touch.own_scope(self.question.catalog.kinds()))
                    .is_some_and(|scope| scopes.is_some_and(|scopes| scopes.has(scope)))
            };
            return self.grants.allowing().any(reads);
        }
        if covering
            .iter()
            .any(|grant| self.names_source_scope(touch, touch.kind.as_str(), grant))
        {
            return true;
        }
        let Some(also) = &state.also else {
            return false;
        };
        let as_other = state.under(also.clone());
        let other = Touch {
            before: Some(as_other.clone()),
            after: Some(as_other),
            ..touch.clone()
        };
        self.covering(&other)
            .iter()
            .any(|grant| self.names_source_scope(touch, also.as_str(), grant))
    }

    /// Whether a grant names the read scope of the kind under which a source is taken.
    fn names_source_scope(&self, touch: &Touch, kind: &str, grant: &BoundGrant) -> bool {
        let own = if kind == touch.kind.as_str() {
            touch.scope
        } else {
            None
        };
        let reads = self
            .question
            .catalog
            .kinds()
            .find(kind)
            .and_then(|kind| kind.reads);
        let named = grant.covers.named();
        own.or(reads)
            .is_some_and(|scope| named.is_some_and(|named| named.has(scope)))
    }

    /// A VPC that is joined, or a tag that is put on: its scope over it, and where the first resource is narrowed, by that
    /// `only` or one that names VPCs or tags.
    fn entered(&self, touch: &Touch, covering: &[&BoundGrant], firsts: &[&BoundGrant]) -> bool {
        let has = |grant: &BoundGrant| match touch.scope {
            Some(scope) => grant.covers.all().is_some_and(|scopes| scopes.has(scope)),
            None => true,
        };
        let holds = covering.iter().any(|grant| has(grant));
        let free = firsts.iter().any(|grant| grant.only.is_none());
        let accepted = firsts.iter().any(|grant| self.covers(grant, touch));
        let named = covering.iter().any(|grant| {
            let names = |only: &super::BoundOnly| only.names(touch.kind.as_str());
            has(grant) && grant.only.as_ref().is_some_and(names)
        });
        holds && (free || accepted || named)
    }

    /// What is named beside: by the scope that its field asks for, over it; and where that is none or it is changed by being
    /// named, by the grant that covers the first, or by its family's own scope.
    fn taken_along(&self, touch: &Touch, covering: &[&BoundGrant], firsts: &[&BoundGrant]) -> bool {
        let gives = |scope: Option<ScopeId>| {
            scope.is_some_and(|scope| {
                covering
                    .iter()
                    .any(|grant| grant.covers.all().is_some_and(|scopes| scopes.has(scope)))
            })
        };
        let by_field = touch.scope.is_none() || gives(touch.scope);
        let with_first = firsts.iter().any(|grant| self.covers(grant, touch));
        let own = touch.own_scope(self.question.catalog.kinds());
        let own = own.is_some_and(|own| covering.iter().any(|grant| self.gives(grant, own)));
        match touch.verb {
            TouchVerb::Use if touch.scope.is_some() => by_field,
            _ => by_field && (with_first || own),
        }
    }

    /// Whether a grant gives a scope over what the request names beside: one with `actions` gives it for those alone.
    fn gives(&self, grant: &BoundGrant, scope: ScopeId) -> bool {
        let scopes = grant.covers.all();
        let limited = grant.actions.is_some() && self.endpoint.action.is_none();
        !limited && scopes.is_some_and(|scopes| scopes.has(scope))
    }

    /// The scope that a field asks for over what it names must be held by some grant at all, whatever that covers: what nobody
    /// gives is told first.
    fn field_scope_held(&self, touch: &Touch) -> Result<(), Refusal> {
        let fields = self.question.asked.fields();
        let of_field = |scope: &ScopeId| fields.iter().any(|field| field.scope == *scope);
        let Some(scope) = touch.scope.filter(of_field) else {
            return Ok(());
        };
        if touch.implied || touch.verb == TouchVerb::List {
            return Ok(());
        }
        let gives = |grant: &BoundGrant| {
            let scopes = grant.covers.all();
            self.question.request_matches(grant) || scopes.is_some_and(|scopes| scopes.has(scope))
        };
        if self.grants.allowing().any(gives) {
            return Ok(());
        }
        let scope = self.question.catalog.scopes().name(scope);
        let needs: Vec<_> = scope.cloned().into_iter().collect();
        let scope = scope.map(ToString::to_string).unwrap_or_default();
        let endpoint = self.endpoint;
        let message = format!(
            "{endpoint} names a {}, and that asks for the scope {scope}, which this sub-token lacks; leave it out, or ask for a role that grants the scope",
            touch.kind
        );
        Err(Refusal::new(Code::FieldScope, message).needing(needs))
    }

    /// The fields that ask for scopes and are no touches: by what covers the first, or is not narrowed at all.
    fn fields_covered(&self, touches: &[Touch]) -> Result<(), Refusal> {
        let rules = self.endpoint.touches.rules();
        // `body.ssh_keys` is the field, `body.ssh_keys[]` each that it names.
        let by_a_touch = |field: &str| {
            rules.iter().any(|rule| {
                let is_it =
                    |at: &crate::catalog::Place| at.to_string().trim_end_matches("[]") == field;
                rule.scope.is_some()
                    && rule.at.as_ref().is_some_and(is_it)
                    && self.question.asked.applies(rule)
            })
        };
        let covering: Vec<_> = touches
            .iter()
            .flat_map(|touch| self.covering(touch))
            .collect();
        let free = self
            .grants
            .allowing()
            .filter(|grant| grant.only.is_none() && self.question.action_fits(grant));
        let mut held = ScopeSet::default();
        for grant in covering.into_iter().chain(free) {
            if self.question.request_matches(grant) {
                return Ok(());
            }
            if let Some(scopes) = grant.covers.all() {
                held.add(scopes);
            }
        }
        let mut fields = self.question.asked.fields();
        fields.retain(|field| !by_a_touch(&field.field));
        self.question.fields_held(self.endpoint, &held, &fields)
    }

    /// No request widens what the token may do over a resource, or takes it out from under a deny.
    fn widens_nothing(&self, touch: &Touch) -> Result<(), Refusal> {
        let (Some(before), Some(after)) = (&touch.before, &touch.after) else {
            return Ok(());
        };
        if touch.changes.is_empty() || !self.grants.has_only {
            return Ok(());
        }
        self.may_change(touch)?;
        self.may_be_default(touch)?;
        self.gains_nothing(touch, before, after)?;
        self.moves_no_project(touch, before, after)?;
        let kinds = self.question.catalog.kinds();
        for grant in self
            .grants
            .denying()
            .filter(|grant| asks(grant, touch, before))
        {
            let Some(only) = &grant.only else { continue };
            let freed =
                |fits: &dyn Fn(&State) -> Fit| fits(before) != Fit::No && fits(after) != Fit::Yes;
            if freed(&|state| only.strikes(state, Use::Look, kinds))
                || freed(&|state| only.fits_children(state, kinds))
            {
                return Err(self.freed(touch, grant));
            }
        }
        Ok(())
    }

    /// No grant covers afterwards what was not held before: the resource, under either of its kinds, or what belongs to it.
    fn gains_nothing(&self, touch: &Touch, before: &State, after: &State) -> Result<(), Refusal> {
        let kinds = self.question.catalog.kinds();
        let views = match before.also {
            Some(_) => &[As::Itself, As::Other][..],
            None => &[As::Itself],
        };
        for grant in self
            .grants
            .allowing()
            .filter(|grant| asks(grant, touch, before))
        {
            let Some(only) = &grant.only else { continue };
            let gained =
                |fits: &dyn Fn(&State) -> Fit| fits(before) != Fit::Yes && fits(after) != Fit::No;
            for view in views {
                let gains = gained(&|state| only.covers_as(state, *view))
                    || gained(&|state| only.fits_children(state, kinds));
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
        if touch.kind.as_str() != "project" {
            return Ok(());
        }
        let called = |state: &State, project: &super::Matcher| {
            let known = ["id", "name"].map(|own| state.known(own).unwrap_or_default());
            let values = known.iter().flat_map(|known| &known.values);
            values.into_iter().any(|value| project.matches(value))
        };
        let asks = |grant: &BoundGrant, was: bool| {
            let mut projects = grant.only.iter().flat_map(super::BoundOnly::projects);
            projects.any(|project| called(before, project) == was && called(after, project) != was)
        };
        let free = |grant: &BoundGrant| grant.only.is_none();
        let gains = |grant: &&BoundGrant| asks(grant, false) && !self.held_by(grant, None, free);
        if let Some(grant) = self.grants.allowing().find(gains) {
            return Err(self.gained(touch, grant));
        }
        match self.grants.denying().find(|grant| asks(grant, true)) {
            Some(grant) => Err(self.freed(touch, grant)),
            None => Ok(()),
        }
    }

    /// What is deleted is taken off what names it, and that could be out from under a deny then.
    fn frees_nothing(&self, touch: &Touch) -> Result<(), Refusal> {
        let (TouchVerb::Delete, Some(deleted)) = (&touch.verb, &touch.before) else {
            return Ok(());
        };
        let refers = |grant: &&BoundGrant| {
            let only = grant.only.as_ref();
            only.is_some_and(|only| only.refers_to(deleted))
        };
        match self.grants.denying().find(refers) {
            Some(grant) => Err(self.freed(touch, grant)),
            None => Ok(()),
        }
    }

    /// A deny strikes what is created as it will be, with what is added to it.
    fn not_struck_with_additions(
        &self,
        touches: &[Touch],
        grant: &BoundGrant,
    ) -> Result<(), Refusal> {
        for touch in touches
            .iter()
            .filter(|touch| touch.verb == TouchVerb::Create)
        {
            self.not_struck(&Touch {
                after: touch
                    .after
                    .as_ref()
                    .map(|after| added(after, grant, &touch.homes)),
                ..touch.clone()
            })?;
        }
        Ok(())
    }

    fn gained(&self, touch: &Touch, grant: &BoundGrant) -> Refusal {
        let why = format!(
            "it would bring the {} under `{}`, so that this sub-token could do more with it than before",
            touch.kind, grant.place
        );
        self.refused(touch, &why)
    }

    fn freed(&self, touch: &Touch, grant: &BoundGrant) -> Refusal {
        let message = format!(
            "{} {} would take a {} out from under `{}`, which wins over every grant",
            self.question.asked.method,
            self.question.asked.target.path(),
            touch.kind,
            grant.place
        );
        Refusal::new(Code::Denied, message).detail(&grant.place)
    }

    /// Whether all that a grant gives was held over the resource already, by grants that covered it before, with all that
    /// belongs to it.
    fn held_before(&self, gained: &BoundGrant, touch: &Touch, before: &State, view: As) -> bool {
        let kinds = self.question.catalog.kinds();
        let kind = touch.kind.as_str();
        let names = |grant: &BoundGrant| grant.only.as_ref().is_some_and(|only| only.names(kind));
        // Only a grant that names them accepts that VPCs are joined and tags put on.
        let entered = matches!(kind, "vpc" | "tag") && names(gained);
        let held = |grant: &BoundGrant| {
            let only = grant.only.as_ref();
            let covers = only.is_none_or(|only| only.covers_whole(before, view, kinds) == Fit::Yes);
            covers && (!entered || names(grant))
        };
        self.held_by(gained, kinds.find(kind), held)
    }

    /// Whether all that a grant gives is given by others of which that holds. Where it gives scopes of other families it
    /// also takes the resource along in their requests, as who may read and change it can.
    fn held_by(
        &self,
        gained: &BoundGrant,
        kind: Option<&Kind>,
        holds: impl Fn(&BoundGrant) -> bool,
    ) -> bool {
        let BoundCovers::Scopes { named, all } = &gained.covers else {
            return false; // what patterns give can't be compared
        };
        let (mut named_before, mut all_before) = (ScopeSet::default(), ScopeSet::default());
        for grant in self.grants.allowing().filter(|grant| holds(grant)) {
            let as_wide = match (&grant.actions, &gained.actions) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(had), Some(gains)) => gains.iter().all(|action| had.contains(action)),
            };
            if as_wide && let BoundCovers::Scopes { named, all } = &grant.covers {
                named_before.add(named);
                all_before.add(all);
            }
        }
        let beside = kind.is_none_or(|kind| {
            let own = |scope: &crate::catalog::Scope| scope.family() == kind.family;
            let mut taken = [kind.reads, kind.changes].into_iter().flatten();
            self.question.catalog.scopes().names(all).all(own)
                || taken.all(|scope| all_before.has(scope))
        });
        beside && named_before.covers(named) && all_before.covers(all)
    }

    /// Who changes what a selector can ask about needs the scope by which the API changes it, over it.
    fn may_change(&self, touch: &Touch) -> Result<(), Refusal> {
        let kinds = self.question.catalog.kinds();
        let kind = kinds.find(touch.kind.as_str());
        let asked_about = touch
            .changes
            .iter()
            .any(|attribute| kind.is_some_and(|kind| kind.has(attribute)));
        if !asked_about || touch.implied {
            return Ok(());
        }
        let scope = kind.and_then(|kind| kind.changes);
        let covering = self.covering(touch);
        let enough = covering.iter().any(|grant| {
            let has = |scope| {
                let scopes = grant.covers.all();
                self.gives(grant, scope) || touch.first && scopes.is_some_and(|all| all.has(scope))
            };
            self.question.request_matches(grant) || scope.is_some_and(has)
        });
        if enough {
            return Ok(());
        }
        let scope = scope.and_then(|scope| self.question.catalog.scopes().name(scope));
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
        let free: Vec<_> = covering
            .into_iter()
            .filter(|grant| grant.only.is_none())
            .collect();
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

    fn not_struck(&self, touch: &Touch) -> Result<(), Refusal> {
        let Some(grant) = self.striking(touch) else {
            return Ok(());
        };
        if touch.in_path && !self.is_visible(touch) {
            return Err(hidden().detail(&grant.place));
        }
        let message = format!(
            "{} {} is denied by `{}`, which wins over every grant",
            self.question.asked.method,
            self.question.asked.target.path(),
            grant.place
        );
        Err(Refusal::new(Code::Denied, message).detail(&grant.place))
    }

    /// The deny grant that strikes a touch. What could not be learnt counts as struck; what is yet to be learnt does not.
    fn striking(&self, touch: &Touch) -> Option<&'j BoundGrant> {
        let kinds = self.question.catalog.kinds();
        let own = own_scopes(touch, kinds);
        let asks = |grant: &BoundGrant| {
            let by_own = own.iter().any(|own| {
                let scopes = grant.covers.all();
                grant.actions.is_none() && scopes.is_some_and(|scopes| scopes.has(*own))
            });
            by_own || self.question.denies_this(grant)
        };
        let strikes = |grant: &&BoundGrant| {
            if !asks(grant) {
                return false;
            }
            let Some(only) = &grant.only else {
                return self.question.denies_this(grant);
            };
            if touch.deferred || touch.verb == TouchVerb::List {
                return false; // judged on the answer
            }
            if touch.missing {
                return only.reaches(touch.kind.as_str(), kinds);
            }
            touch
                .states()
                .any(|state| only.strikes(state, use_of(touch), kinds) != Fit::No)
        };
        self.grants.denying().find(strikes)
    }

    /// Whether the token may see the resource as it is, whatever else it may do with it.
    fn is_visible(&self, touch: &Touch) -> bool {
        // What is not there yet is hidden where that is hidden which it would belong to.
        let created = touch.after.as_ref().filter(|_| !touch.missing);
        let parent = created.and_then(|after| after.parent.as_deref());
        let Some(before) = touch.before.as_ref().or(parent) else {
            return false;
        };
        let kinds = self.question.catalog.kinds();
        let Some(reads) = kinds.find(before.kind.as_str()).and_then(|kind| kind.reads) else {
            return false;
        };
        let has = |grant: &BoundGrant| grant.covers.all().is_some_and(|all| all.has(reads));
        let shown = self.grants.allowing().any(|grant| {
            let only = grant.only.as_ref();
            has(grant)
                && (before.is_public()
                    || only.is_none_or(|only| only.covers(before, Use::Look, kinds) == Fit::Yes))
        });
        let also = before
            .also
            .as_ref()
            .and_then(|also| kinds.find(also.as_str())?.reads);
        let hides = |grant: &BoundGrant| {
            let as_other =
                also.is_some_and(|also| grant.covers.all().is_some_and(|all| all.has(also)));
            has(grant) || as_other
        };
        let taken = self.grants.denying().any(|grant| {
            let only = grant.only.as_ref();
            hides(grant)
                && grant.actions.is_none()
                && only.is_none_or(|only| only.strikes(before, Use::Look, kinds) != Fit::No)
        });
        shown && !taken
    }

    fn not_covered(&self, touch: &Touch) -> Refusal {
        if self.lacks_action(touch) {
            return self.question.wrong_action(self.grants);
        }
        let list_of = touch.verb == TouchVerb::List;
        let why = match touch.verb {
            TouchVerb::Source => format!(
                "no grant of this sub-token gives the read scope of the {} that it is made from, by name",
                touch.kind
            ),
            _ => format!(
                "no grant of this sub-token covers the {} that it touches",
                touch.kind
            ),
        };
        if list_of && touch.in_path {
            return hidden();
        }
        self.refused(touch, &why)
    }

    /// Whether but for `actions` the touch would be covered.
    fn lacks_action(&self, touch: &Touch) -> bool {
        let limited: Vec<_> = self
            .grants
            .allowing()
            .filter(|grant| self.covers(grant, touch))
            .collect();
        touch.first && self.has_scopes(touch, &limited)
    }

    fn refused(&self, touch: &Touch, why: &str) -> Refusal {
        if touch.in_path && !self.is_visible(touch) {
            return hidden();
        }
        let endpoint = self.endpoint;
        Refusal::new(
            Code::Resource,
            format!("{endpoint} is refused: {why}; ask for a role that allows it"),
        )
    }

    /// Whether the answer must be judged or cut for what this touch shows.
    fn narrows(&self, touch: &Touch) -> bool {
        let struck = self.grants.denying().any(|grant| {
            let kinds = self.question.catalog.kinds();
            let only = grant.only.as_ref();
            only.is_some_and(|only| only.reaches(touch.kind.as_str(), kinds))
                || self.strikes_under_another_kind(grant, touch)
        });
        let free: Vec<_> = self
            .grants
            .allowing()
            .filter(|grant| grant.only.is_none() && self.question.action_fits(grant))
            .collect();
        let shown = touch.deferred || touch.verb == TouchVerb::List;
        shown && (struck || !self.has_scopes(touch, &free))
    }

    fn strikes_under_another_kind(&self, grant: &BoundGrant, touch: &Touch) -> bool {
        let kinds = self.question.catalog.kinds();
        let also = kinds
            .find(touch.kind.as_str())
            .and_then(|kind| kind.also.as_ref());
        let only = grant.only.as_ref();
        also.is_some_and(|also| only.is_some_and(|only| only.reaches(also.as_str(), kinds)))
    }
}

/// What is answered for what may not be seen, whether it is there or not: word for word DigitalOcean's own.
pub fn hidden() -> Refusal {
    Refusal::new(
        Code::ResourceHidden,
        "The resource you requested could not be found.",
    )
}

/// Whether a grant asks about what a touch changes.
fn asks(grant: &BoundGrant, touch: &Touch, before: &State) -> bool {
    let also = before.also.as_ref().map(crate::catalog::KindName::as_str);
    let only = grant.only.as_ref();
    only.is_some_and(|only| only.asks_about(touch.kind.as_str(), also, &touch.changes))
}

fn use_of(touch: &Touch) -> Use {
    match touch.verb {
        TouchVerb::Read
        | TouchVerb::List
        | TouchVerb::Use
        | TouchVerb::Source
        | TouchVerb::Join
        | TouchVerb::Label => Use::Look,
        TouchVerb::Create | TouchVerb::Change | TouchVerb::Attach => Use::Change,
        TouchVerb::Delete => Use::Destroy,
    }
}

/// The scopes that a touch comes to by itself, under each kind that the API has for what is touched.
fn own_scopes(touch: &Touch, kinds: &Kinds) -> Vec<ScopeId> {
    let kind = kinds.find(touch.kind.as_str());
    let also = kind.and_then(|kind| kind.also.clone()).map(|also| Touch {
        kind: also,
        before: None,
        after: None,
        ..touch.clone()
    });
    let of = |touch: &Touch| touch.own_scope(kinds);
    of(touch)
        .into_iter()
        .chain(also.as_ref().and_then(of))
        .collect()
}

/// What is created, with what a grant adds to it.
fn added(after: &State, grant: &BoundGrant, homes: &[(String, Known)]) -> State {
    match &grant.on_create {
        Some(additions) => with_additions(after, additions, homes),
        None => after.clone(),
    }
}

/// What is created, with these tags and in that project.
pub fn with_additions(after: &State, additions: &Additions, homes: &[(String, Known)]) -> State {
    let mut after = after.clone();
    if !additions.tags.is_empty()
        && let Some(tags) = after.attributes.get_mut("tag")
    {
        let more = additions.tags.iter().map(|tag| tag.to_lowercase());
        tags.values.extend(more);
    }
    if let Some(project) = &additions.project
        && after.known("project").is_some()
    {
        let home = homes.iter().find(|(called, _)| called == project);
        let home = home.map_or_else(Known::unknown, |(_, home)| home.clone());
        after.attributes.insert("project".to_owned(), home);
    }
    after
}
