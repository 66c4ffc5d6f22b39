//! Whether allow grants cover what a request touches.

use super::TouchJudge;
use crate::catalog::{Children, KindId, Place, ScopeId, TouchRule, TouchVerb};
use crate::policy::additions::Added;
use crate::policy::case::{held_by, held_for};
use crate::policy::grant::Bearing;
use crate::policy::matching::{BoundOnly, Fit, Use};
use crate::refusal::{Code, Refusal};
use crate::resource::{Known, State, Touch};

impl<'j> TouchJudge<'j> {
    /// The allow grants that cover a touch, whatever scopes they give.
    pub(super) fn covering(&self, touch: &Touch) -> Vec<Bearing<'j>> {
        let grants = self.case.covering();
        grants.filter(|grant| self.covers(*grant, touch)).collect()
    }

    /// What is done to it. What logs in to a whole is handed out only to whom the whole is granted, not for some of its
    /// children.
    pub(super) fn use_of(&self, touch: &Touch) -> Use {
        match use_of(touch) {
            Use::Look if self.endpoint.sensitive.is_some() || self.tells_of_children(touch) => {
                Use::Change
            }
            other => other,
        }
    }

    /// Whether the answer tells of what belongs to it, and nothing is cut from that.
    pub(super) fn tells_of_children(&self, touch: &Touch) -> bool {
        let rule = self.endpoint.touches.rules().get(touch.rule);
        let shown = rule.is_some_and(|rule| rule.children == Some(Children::Shown));
        shown && touch.verb == TouchVerb::Read
    }

    pub(super) fn covers(&self, grant: Bearing<'_>, touch: &Touch) -> bool {
        let Some(only) = grant.only() else {
            return true;
        };
        let kinds = self.case.catalog.kinds();
        let r#use = self.use_of(touch);
        let fits = |state: &State| only.covers(state, r#use, kinds);
        if r#use == Use::Look && touch.before.as_ref().is_some_and(State::is_public) {
            return true; // it belongs to nobody: the scope alone covers it
        }
        let counts_as_another = !kinds.of(touch.kind).counts_as.is_empty();
        match touch.verb {
            // Which resource it counts as, the answer will tell.
            TouchVerb::Read | TouchVerb::List
                if counts_as_another && (touch.is_deferred() || touch.before.is_none()) =>
            {
                true
            }
            TouchVerb::List => match &touch.before {
                // Which there are is cut from the answer; what is asked here is whether there can be any.
                Some(any) => {
                    let parent = any.parent.as_deref();
                    only.reaches(touch.kind, kinds)
                        && fits(any) != Fit::No
                        && parent.is_none_or(|parent| only.opens(parent, touch.kind))
                }
                None => only.reaches(touch.kind, kinds),
            },
            TouchVerb::Create => {
                let after = touch.after.as_ref();
                let with = after.map(|after| added(after, touch, grant));
                with.is_some_and(|after| fits(&after) == Fit::Yes)
            }
            _ if touch.is_deferred() => touch
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
    pub(super) fn has_scopes(&self, touch: &Touch, grants: &[Bearing<'_>]) -> bool {
        if grants.iter().any(Bearing::matches) {
            return true;
        }
        let held = held_for(self.endpoint, grants.iter().copied());
        match touch.scope {
            Some(scope) => held.has(scope),
            None => self
                .case
                .needs(self.endpoint)
                .iter()
                .any(|set| held.covers(set)),
        }
    }

    /// Whether a list is of what stands under a resource that the request is about as well: then it shows what may be seen by
    /// any grant, whatever gives the endpoint's own scope over that resource.
    pub(super) fn lists_children(&self, touch: &Touch) -> bool {
        let about = |rule: &TouchRule| rule.is_first() && rule.verb != TouchVerb::List;
        let rules = self.endpoint.touches.rules();
        self.endpoint.sensitive.is_none() && touch.is_first() && rules.iter().any(about)
    }

    /// Whether one of these grants gives the scope by which a kind is read.
    pub(super) fn reads(&self, kind: KindId, grants: &[Bearing<'_>]) -> bool {
        let reads = self.case.catalog.kinds().of(kind).reads;
        reads.is_some_and(|reads| grants.iter().any(|grant| grant.gives(reads)))
    }

    /// Whether what is looked at may be read under the other kind that the API surely has for it.
    pub(super) fn reads_as_other(&self, touch: &Touch) -> bool {
        let before = touch.before.as_ref();
        let Some((state, also)) = before
            .filter(|state| state.surely_also)
            .and_then(|state| Some((state, state.also?)))
        else {
            return false;
        };
        let as_other = state.under(also);
        let other = Touch {
            kind: also,
            before: Some(as_other.clone()),
            after: Some(as_other),
            ..touch.clone()
        };
        self.reads(also, &self.covering(&other))
    }

    pub(super) fn first_covered(&self, touch: &Touch) -> Result<(), Refusal> {
        if touch.is_missing() && touch.verb == TouchVerb::List && touch.in_path {
            return Err(Refusal::hidden()); // what it would be a list of is not there
        }
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
    pub(super) fn covering_first(&self, first: &Touch) -> Vec<Bearing<'j>> {
        let needs = self.case.needs(self.endpoint);
        let has_part = |grant: &Bearing<'_>| {
            let scopes = grant.scopes_for(self.endpoint);
            let by_scope = scopes.is_some_and(|scopes| match first.scope {
                Some(scope) => scopes.has(scope),
                None => needs.iter().any(|set| scopes.meets(set)),
            });
            by_scope || grant.matches()
        };
        self.covering(first).into_iter().filter(has_part).collect()
    }

    /// The same for each of several, those that differ.
    pub(super) fn covering_each(&self, firsts: &[&Touch]) -> Vec<Vec<Bearing<'j>>> {
        let mut sets: Vec<Vec<Bearing<'_>>> = Vec::new();
        for first in firsts {
            let set = self.covering_first(first);
            let same = |known: &Vec<Bearing<'_>>| {
                known.len() == set.len() && known.iter().zip(&set).all(|(a, b)| a.is_of_same(b))
            };
            if !sets.iter().any(same) {
                sets.push(set);
            }
        }
        sets
    }

    /// The grant that a record names, and whose additions are made: the first that is enough by itself, or else has part. What
    /// is made is covered as it will be, with these additions and no other grant's.
    ///
    /// # Errors
    /// The refusal where no one grant's additions will do for all that is made.
    pub(super) fn deciding(
        &self,
        first: &Touch,
        firsts: &[&Touch],
    ) -> Result<Option<Bearing<'j>>, Refusal> {
        let mut grants = self.covering_first(first);
        // As they stand in the policy, but those that are enough first, and of the others those that add something.
        grants.sort_by_key(|grant| {
            let alone = self.has_scopes(first, std::slice::from_ref(grant));
            (!alone, !alone && grant.adds().is_none())
        });
        let made = firsts
            .iter()
            .filter(|touch| touch.verb == TouchVerb::Create);
        let Some(last) = made.clone().next_back() else {
            return Ok(grants.first().copied());
        };
        let mut fitting = grants
            .into_iter()
            .filter(|grant| made.clone().all(|touch| self.covers_made(touch, *grant)));
        let Some(grant) = fitting.next() else {
            let why = "what no one grant covers is made at once, and each grant adds what is its own (`on_create`); make one at a time";
            return Err(self.refused(last, why));
        };
        Ok(Some(grant))
    }

    /// Whether what is made is covered with what one grant adds to it.
    fn covers_made(&self, touch: &Touch, adding: Bearing<'_>) -> bool {
        let kinds = self.case.catalog.kinds();
        let Some(after) = &touch.after else {
            return false;
        };
        let after = added(after, touch, adding);
        let covers = |grant: &Bearing<'_>| {
            let only = grant.only();
            only.is_none_or(|only| only.covers(&after, self.use_of(touch), kinds) == Fit::Yes)
        };
        let covering: Vec<_> = self.case.covering().filter(covers).collect();
        self.has_scopes(touch, &covering)
    }

    pub(super) fn second_covered(
        &self,
        touch: &Touch,
        firsts: &[Bearing<'_>],
    ) -> Result<(), Refusal> {
        if touch.is_implied() {
            return Ok(()); // whatever covers the first covers it
        }
        let covering = self.covering(touch);
        let covered = covering.iter().any(Bearing::matches)
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
    fn source_covered(&self, touch: &Touch, covering: &[Bearing<'_>]) -> bool {
        let Some(state) = &touch.before else {
            // What is not there hands out nothing, but whether it is there must not be told.
            return self
                .case
                .allowing()
                .any(|grant| grant.is_free() && self.names_source_scope(touch, touch.kind, grant));
        };
        if state.is_public() {
            let scope = touch.scope.or(touch.own_scope(self.case.catalog.kinds()));
            let mut allowing = self.case.allowing();
            return scope.is_some_and(|scope| allowing.any(|grant| grant.gives(scope)));
        }
        if covering
            .iter()
            .any(|grant| self.names_source_scope(touch, touch.kind, *grant))
        {
            return true;
        }
        let Some(also) = state.also.filter(|_| state.surely_also) else {
            return false;
        };
        let as_other = state.under(also);
        let other = Touch {
            before: Some(as_other.clone()),
            after: Some(as_other),
            ..touch.clone()
        };
        self.covering(&other)
            .iter()
            .any(|grant| self.names_source_scope(touch, also, *grant))
    }

    /// Whether a grant names the read scope of the kind under which a source is taken.
    fn names_source_scope(&self, touch: &Touch, kind: KindId, grant: Bearing<'_>) -> bool {
        let own = touch.scope.filter(|_| kind == touch.kind);
        let reads = self.case.catalog.kinds().of(kind).reads;
        own.or(reads)
            .is_some_and(|scope| grant.gives_by_name(scope))
    }

    /// A VPC that is joined, or a tag that is put on: its scope over it, and where the first resource is narrowed, by that
    /// `only` or one that names VPCs or tags.
    pub(super) fn entered(
        &self,
        touch: &Touch,
        covering: &[Bearing<'_>],
        firsts: &[Bearing<'_>],
    ) -> bool {
        let has = |grant: &Bearing<'_>| touch.scope.is_none_or(|scope| grant.gives(scope));
        let holds = covering.iter().any(has);
        let free = firsts.iter().any(Bearing::is_free);
        let accepted = firsts.iter().any(|grant| self.covers(*grant, touch));
        let named = covering.iter().any(|grant| {
            let names = |only: &BoundOnly| only.names(touch.kind);
            has(grant) && grant.only().is_some_and(names)
        });
        holds && (free || accepted || named)
    }

    /// What is named beside: by the scope that its field asks for, over it; and where that is none or it is changed by being
    /// named, by the grant that covers the first, or by its family's own scope.
    fn taken_along(&self, touch: &Touch, covering: &[Bearing<'_>], firsts: &[Bearing<'_>]) -> bool {
        let given = |scope| covering.iter().any(|grant| grant.gives(scope));
        let by_field = touch.scope.is_none_or(given);
        let with_first = firsts.iter().any(|grant| self.covers(*grant, touch));
        let own = touch.own_scope(self.case.catalog.kinds());
        let own = own.is_some_and(|own| covering.iter().any(|grant| self.gives(*grant, own)));
        match touch.verb {
            TouchVerb::Use if touch.scope.is_some() => by_field,
            _ => by_field && (with_first || own),
        }
    }

    /// Whether a grant gives a scope over what the request names beside: one with `actions` gives it for those alone.
    pub(super) fn gives(&self, grant: Bearing<'_>, scope: ScopeId) -> bool {
        let acts = self.endpoint.action.is_some() || !self.case.done_to_touched().is_empty();
        grant.gives_beside(scope, acts)
    }

    /// The scope that a field asks for over what it names must be held by some grant at all, whatever that covers: what nobody
    /// gives is told first.
    pub(super) fn field_scope_held(&self, touch: &Touch) -> Result<(), Refusal> {
        let told = touch.is_implied() || touch.verb == TouchVerb::List;
        let Some(scope) = touch
            .scope
            .filter(|scope| !told && self.lacks_field(*scope))
        else {
            return Ok(());
        };
        let scope = self.case.catalog.scopes().name(scope);
        let needs: Vec<_> = scope.cloned().into_iter().collect();
        let scope = scope.map(ToString::to_string).unwrap_or_default();
        let endpoint = self.endpoint;
        let message = format!(
            "{endpoint} names a {}, and that asks for the scope {scope}, which this sub-token lacks; leave it out, or ask for a role that grants the scope",
            touch.kind
        );
        Err(Refusal::new(Code::FieldScope, message).needing(needs))
    }

    /// Whether a field of the request asks for this scope and no grant gives it.
    pub(super) fn lacks_field(&self, scope: ScopeId) -> bool {
        let fields = self.case.asked.fields();
        let gives = |grant: Bearing<'_>| grant.matches() || grant.gives(scope);
        fields.iter().any(|field| field.scope == scope) && !self.case.allowing().any(gives)
    }

    /// The fields that ask for scopes and are no touches: by what covers the first, or is not narrowed at all.
    pub(super) fn fields_covered(&self, touches: &[Touch]) -> Result<(), Refusal> {
        let rules = self.endpoint.touches.rules();
        // `body.ssh_keys` is the field, `body.ssh_keys[]` each that it names.
        let by_a_touch = |field: &str| {
            rules.iter().any(|rule| {
                let is_it = |at: &Place| at.to_string().trim_end_matches("[]") == field;
                rule.scope.is_some()
                    && rule.at.as_ref().is_some_and(is_it)
                    && self.case.asked.applies(rule)
            })
        };
        let covering: Vec<_> = touches
            .iter()
            .flat_map(|touch| self.covering(touch))
            .collect();
        let free = self
            .case
            .allowing()
            .filter(|grant| grant.is_free() && grant.action_fits());
        let having = covering.into_iter().chain(free);
        if having.clone().any(|grant| grant.matches()) {
            return Ok(());
        }
        let held = held_by(having);
        let mut fields = self.case.asked.fields();
        fields.retain(|field| !by_a_touch(&field.field));
        self.case.fields_held(self.endpoint, &held, &fields)
    }
}

pub(super) fn use_of(touch: &Touch) -> Use {
    Use::of(touch.verb)
}

/// What is created, with what a grant adds to it: to what the request is about, and not to what is made beside.
pub(super) fn added(after: &State, touch: &Touch, grant: Bearing<'_>) -> State {
    match grant.adds() {
        Some(added) if Added::is_for(touch) => with_additions(after, &added, &touch.homes),
        Some(_) | None => after.clone(),
    }
}

/// What is created, with these tags and in that project.
pub fn with_additions(after: &State, added: &Added, homes: &[(String, Known)]) -> State {
    let mut after = after.clone();
    if let Some((_, tags)) = &added.tags
        && after.attributes.contains_key("tag")
    {
        let more = tags.iter().map(|tag| tag.to_lowercase());
        after
            .attributes
            .change("tag", |known| known.values.extend(more));
    }
    if let Some((_, project)) = &added.project {
        let home = homes.iter().find(|(called, _)| called == project);
        let home = home.map_or_else(Known::unknown, |(_, home)| home.clone());
        after = after.in_project(&home);
    }
    after
}
