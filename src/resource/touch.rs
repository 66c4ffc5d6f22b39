use std::sync::Arc;

use super::state::{Known, State};
use crate::catalog::{
    Involvement, Kind, KindId, Kinds, ScopeId, ScopeSet, TouchVerb, struck_by, struck_by_another,
};

/// A resource that a request touches, with what it is before and what it would be after.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Touch {
    /// Which rule of its endpoint's it comes from.
    pub rule: usize,
    /// What happens to it.
    pub verb: TouchVerb,
    /// Its kind.
    pub kind: KindId,
    /// What the request calls it, for the record; `None` for what is created or listed.
    pub id: Option<String>,
    /// The scope that it asks for, where that is not the endpoint's.
    pub scope: Option<ScopeId>,
    /// Before the request; `None` for what does not exist yet, and for what could not be found.
    pub before: Option<State>,
    /// After it; `None` for what is destroyed.
    pub after: Option<State>,
    /// The attributes that the request changes.
    pub changes: Vec<String>,
    /// Whether it is there.
    pub presence: Presence,
    /// Whether the path names it, so that hiding it is a 404.
    pub in_path: bool,
    /// What it belongs to, where the path names that and something else names it: hiding that is a 404 all the same.
    pub within: Option<Arc<State>>,
    /// What it is to the request.
    pub involvement: Involvement,
    /// For what is created: the projects that grants would put it into, as they call them, with id and name.
    pub homes: Vec<(String, Known)>,
}

/// Whether a touched resource is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Presence {
    /// It is, or is yet to be made.
    There,
    /// It was looked for and is not there, or not to be seen with the real token.
    Missing,
    /// Only the answer will tell.
    Deferred,
}

impl Presence {
    /// The same, once there is an answer.
    #[must_use]
    pub fn answered(self) -> Self {
        match self {
            Self::There | Self::Deferred => Self::There,
            Self::Missing => Self::Missing,
        }
    }
}

impl Touch {
    /// Whether it is what the request is about.
    pub fn is_first(&self) -> bool {
        self.involvement == Involvement::First
    }

    /// Whether no more has to cover it than the first touch.
    pub fn is_implied(&self) -> bool {
        matches!(
            self.involvement,
            Involvement::Implied | Involvement::Follows
        )
    }

    /// Whether it only follows from what the request does to others.
    pub fn follows(&self) -> bool {
        self.involvement == Involvement::Follows
    }

    /// Whether it was looked for and is not there, or not to be seen with the real token.
    pub fn is_missing(&self) -> bool {
        self.presence == Presence::Missing
    }

    /// Whether what it is will only be known from the answer.
    pub fn is_deferred(&self) -> bool {
        self.presence == Presence::Deferred
    }

    /// The scope that this touch comes to by itself, whatever the endpoint asks for: `<family>:update` for what is changed.
    pub fn own_scope(&self, kinds: &Kinds) -> Option<ScopeId> {
        kinds.of(self.kind).scope_of(self.verb)
    }

    /// What a deny grant has that takes this touch in by itself, whatever the endpoint asks for: any of these sets whole.
    pub fn struck_by(&self, kinds: &Kinds) -> Vec<ScopeSet> {
        let of_kind = |kind: &Kind| struck_by(self.verb, self.is_first(), kind);
        let kind = kinds.of(self.kind);
        let others = struck_by_another(self.verb, kind);
        // What an action acted on counts for it; where that is not known, any that it could be.
        let counted = self.states().find(|state| state.kind != self.kind);
        let views: Vec<&Kind> = match counted {
            None => kinds.views(kind).collect(),
            Some(counted) => vec![kind, kinds.of(counted.kind)],
        };
        views.into_iter().flat_map(of_kind).chain(others).collect()
    }

    /// The states before and after, as far as there are any.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        self.before.iter().chain(&self.after)
    }
}
