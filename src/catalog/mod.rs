//! What DigitalOcean's API looks like, as data: endpoints, scopes, kinds of resource.
//!
//! The tables under `data/` are the catalogue; this room only reads them. A person can hold `data/endpoints/*.yaml` line by
//! line against the API's reference, and extend it without knowing Rust: `catalog.extra` has the same form. No endpoint
//! has an `if` of its own anywhere; what is special about one is a named key of its row. This room never sees a token.

mod answers;
mod endpoint;
mod kind;
mod matcher;
mod name;
mod nouns;
mod place;
mod read;
mod scope;
mod touch;

pub use answers::{AnswerMember, Answers, Asks, Owner, Shape, ShapeId};
pub use endpoint::{
    Action, BodyMember, ClosedValues, Endpoint, FieldScope, Harmless, Method, NamedPlace, Naming,
    NoMethod, Origin, Parameter, ScopeWhen, Segment, Template,
};
pub use kind::{
    Attribute, AttributeSource, Derived, Kind, KindId, Kinds, LookUp, Made, OtherFamily, SHARED,
};
pub use name::{Name, NameForm, described, is_plain_text, is_uuid, read_any};
pub use place::{FieldPath, NoPlace, Place, Step};
pub use read::{Addition, UNDECIDED, addition};
pub use scope::{NoScope, Scope, ScopeId, ScopePattern, ScopeSet, ScopeTable};
pub use touch::{
    Another, Children, Condition, Involvement, Layout, NamedBy, Replaced, Stays, Through,
    TouchKind, TouchRule, TouchVerb, Touches, struck_by, struck_by_another,
};

use matcher::PathMatcher;

use crate::yaml::Mistakes;

/// Everything that is known of the API.
#[derive(Debug)]
pub struct Catalog {
    endpoints: Vec<Endpoint>,
    scopes: ScopeTable,
    kinds: Kinds,
    matcher: PathMatcher,
    answers: Answers,
}

impl Catalog {
    /// The catalogue that this release carries.
    ///
    /// # Errors
    /// The mistakes in the tables; a test keeps this from happening in a release.
    pub fn builtin() -> Result<Self, Vec<String>> {
        Self::with_extra(None)
            .map_err(|lines| lines.into_iter().flat_map(Mistakes::into_lines).collect())
    }

    /// The catalogue, with the endpoints of one more table: its name, for messages, and its text.
    ///
    /// # Errors
    /// The mistakes in it, for each file that has any. An endpoint that is known already is one: what a release
    /// knows of an endpoint is not to be loosened by a file.
    pub fn with_extra(extra: Option<(&str, &str)>) -> Result<Self, Vec<Mistakes>> {
        read::catalog(extra)
    }

    /// The same, with names of any kind in any plain text: for tables of decisions that are about something else than names, and
    /// read better by `vol1` than by a UUID.
    #[cfg(test)]
    pub(crate) fn naming_plainly(mut self) -> Self {
        for kind in self.kinds.iter_mut() {
            kind.named.push(NameForm::Text);
        }
        self
    }

    /// The endpoint with this method and these decoded path segments.
    pub fn find<'s>(
        &self,
        method: Method,
        segments: impl Iterator<Item = &'s str>,
    ) -> Option<&Endpoint> {
        self.matcher
            .find(method, segments)
            .and_then(|number| self.endpoints.get(number))
    }

    /// Whether these segments, in lower case, are an endpoint's to a reader who does not mind case.
    pub fn find_loosely(&self, method: Method, segments: &[String]) -> bool {
        let fits = |endpoint: &Endpoint| {
            let template = &endpoint.template.segments;
            template.len() == segments.len()
                && template
                    .iter()
                    .zip(segments)
                    .all(|(known, given)| match known {
                        Segment::Fixed(text) => text.to_lowercase() == *given,
                        Segment::Parameter { .. } => !given.is_empty(),
                    })
        };
        // A path that a fixed segment keeps from an endpoint with a parameter there is no other spelling of that endpoint.
        let strictly = self
            .matcher
            .find(method, segments.iter().map(String::as_str));
        strictly.is_some()
            || self.endpoints.iter().any(|endpoint| {
                endpoint.method == method
                    && !endpoint.template.ends_in_parameter()
                    && fits(endpoint)
            })
    }

    /// All endpoints, in the order of the tables.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// All scopes.
    pub fn scopes(&self) -> &ScopeTable {
        &self.scopes
    }

    /// All kinds of resource.
    pub fn kinds(&self) -> &Kinds {
        &self.kinds
    }

    /// What answers show that asks for scopes of its own.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// Every action that an `actions` list may name.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.endpoints
            .iter()
            .filter_map(|endpoint| endpoint.action.as_ref())
            .flat_map(|action| match action {
                Action::Named { one_of, .. } => {
                    one_of.iter().map(String::as_str).collect::<Vec<_>>()
                }
                Action::Always(action) => vec![action.as_str()],
            })
    }
}

#[cfg(test)]
#[path = "data/list.rs"]
#[expect(
    dead_code,
    reason = "the build script; its tests run with those of the crate"
)]
mod list;
#[cfg(test)]
mod members;
#[cfg(test)]
mod tests;
