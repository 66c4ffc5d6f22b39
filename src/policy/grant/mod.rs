//! What a grant says. Nobody else reads the clauses of one: who judges asks its [`Bearing`] on a request, who looks things up what
//! it [wants](BoundGrant::wants), and who describes it has it as it was written. Each of these takes a grant apart whole, so that a
//! clause that is added stops the build wherever it matters.

mod bearing;

use std::sync::{Arc, OnceLock};

pub(super) use bearing::{Bearing, Short};

use super::bind::{Unbound, Vars};
use super::matching::{BoundOnly, Matcher, Side};
use super::only::Only;
use super::pattern::{PatternText, RequestPattern, Text};
use crate::catalog::{Kind, KindId, Kinds, ScopeId, ScopeSet};
use crate::request::Asked;
use crate::yaml::At;

/// One entry of `allow` or `deny`.
#[derive(Debug)]
pub struct Grant {
    /// Which one: `client.allow[0]`.
    pub place: String,
    /// Where it stands in the file.
    pub at: At,
    /// The same with the file's name: `policy.yaml:14`.
    pub stands: Arc<str>,
    /// What it covers.
    pub covers: Covers,
    /// What it is narrowed to; `None` is not narrowed.
    pub only: Option<Only>,
    /// The `…/actions` that it is limited to.
    pub actions: Option<Vec<String>>,
    /// What is added to what is created under it.
    pub on_create: Option<OnCreate>,
    /// The grant as it was written, for those who ask what they hold.
    pub written: serde_json::Value,
    /// The grant bound, once somebody needed it, if no variable stands in it: every token then has the same.
    pub(super) fixed: OnceLock<Arc<BoundGrant>>,
}

/// What a grant covers.
#[derive(Debug)]
pub enum Covers {
    /// Scopes.
    Scopes {
        /// Those that are named; only they reach what is sensitive.
        named: ScopeSet,
        /// Those and what wildcards stand for.
        all: ScopeSet,
    },
    /// Requests that match one of these.
    Requests(Vec<PatternText>),
}

impl Covers {
    /// The scopes that it names, if it covers scopes.
    pub fn named(&self) -> Option<&ScopeSet> {
        match self {
            Self::Scopes { named, all: _ } => Some(named),
            Self::Requests(_) => None,
        }
    }

    /// The scopes that it names and those that its wildcards stand for, if it covers scopes.
    pub fn all(&self) -> Option<&ScopeSet> {
        match self {
            Self::Scopes { named: _, all } => Some(all),
            Self::Requests(_) => None,
        }
    }
}

/// Tags and a project for what is created.
#[derive(Debug)]
pub struct OnCreate {
    /// Tags to put on it.
    pub tags: Vec<Text>,
    /// The project to put it in, by id or name.
    pub project: Option<Text>,
}

/// A grant with its variables filled in.
#[derive(Clone, Debug)]
pub struct BoundGrant {
    place: Arc<str>,
    stands: Arc<str>,
    covers: BoundCovers,
    only: Option<BoundOnly>,
    actions: Option<Vec<String>>,
    on_create: Option<Additions>,
    written: serde_json::Value,
}

#[derive(Clone, Debug)]
enum BoundCovers {
    Scopes(Held),
    Requests(Vec<Arc<RequestPattern>>),
}

/// Scopes that grants give.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Those that are named.
    pub named: ScopeSet,
    /// Those and what wildcards stand for.
    pub all: ScopeSet,
}

/// Tags and a project for what is created.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Additions {
    /// Tags to put on it.
    pub tags: Vec<String>,
    /// The project to put it in, by id or name.
    pub project: Option<String>,
}

/// What must be found out for a grant to be judged.
#[derive(Clone, Copy)]
pub(super) struct Wants<'g> {
    /// What it asks of resources.
    pub only: Option<&'g BoundOnly>,
    /// Whether what a request makes of tags and projects decides, as `actions` may list that.
    pub changes: bool,
    /// What it adds to what is created, which must be there.
    pub adds: Option<&'g Additions>,
}

impl Held {
    /// Adds what is held beside.
    pub fn add(&mut self, other: &Self) {
        let Self { named, all } = self;
        named.add(&other.named);
        all.add(&other.all);
    }
}

impl Grant {
    /// Whether something beside its scopes limits what it is for.
    pub fn is_limited(&self) -> bool {
        let Self {
            place: _,
            at: _,
            stands: _,
            covers: _,
            only,
            actions,
            on_create: _, // it limits what is made, and nothing that is there
            written: _,
            fixed: _,
        } = self;
        only.is_some() || actions.is_some()
    }

    /// The same for every token that has it, where no variable stands in it: compiled patterns are large.
    pub(super) fn shared(&self, vars: &Vars, side: Side) -> Result<Arc<BoundGrant>, Unbound> {
        if let Some(fixed) = self.fixed.get() {
            return Ok(fixed.clone());
        }
        let bound = Arc::new(self.bind(vars, side)?);
        if !has_variable(&self.written) {
            let _ = self.fixed.set(bound.clone()); // another thread's is as good
        }
        Ok(bound)
    }

    /// Fills in its variables.
    pub(super) fn bind(&self, vars: &Vars, side: Side) -> Result<BoundGrant, Unbound> {
        let Self {
            place,
            at: _,
            stands,
            covers,
            only,
            actions,
            on_create,
            written,
            fixed: _,
        } = self;
        let unbuilt = || Unbound::Pattern(place.clone());
        let only = only.as_ref().map(|only| BoundOnly::bind(only, vars, side));
        Ok(BoundGrant {
            place: place.as_str().into(),
            stands: stands.clone(),
            covers: covers.bind(vars).map_err(|_| unbuilt())?,
            only: only.transpose().map_err(|_| unbuilt())?,
            actions: actions.clone(),
            on_create: on_create.as_ref().map(|added| added.bind(vars)),
            written: filled(written, vars),
        })
    }
}

impl BoundGrant {
    /// One that allows the requests that match a pattern, and was written nowhere.
    pub fn of_pattern(place: &str, pattern: RequestPattern) -> Self {
        Self {
            place: place.into(),
            stands: "".into(),
            covers: BoundCovers::Requests(vec![Arc::new(pattern)]),
            only: None,
            actions: None,
            on_create: None,
            written: serde_json::Value::Null,
        }
    }

    /// Which one: `client.allow[0]`.
    pub fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// Itself as it was written, variables filled in.
    pub fn written(&self) -> &serde_json::Value {
        &self.written
    }

    /// The scopes that it gives, over whatever it is narrowed to; `None` where it goes by requests.
    pub fn scopes(&self) -> Option<&ScopeSet> {
        match &self.covers {
            BoundCovers::Scopes(held) => Some(&held.all),
            BoundCovers::Requests(_) => None,
        }
    }

    /// Whether what it covers depends on how a request is written.
    pub fn goes_by_request(&self) -> bool {
        let Self {
            place: _,
            stands: _,
            covers,
            only: _,
            actions: _, // the endpoint says whether a request is an action
            on_create: _,
            written: _,
        } = self;
        matches!(covers, BoundCovers::Requests(_))
    }

    /// Every value that its `only` asks for, as [`BoundOnly::matchers`] has them.
    pub fn matchers(&self) -> impl Iterator<Item = (Option<KindId>, &str, &Matcher)> {
        self.only.iter().flat_map(BoundOnly::matchers)
    }

    /// Whether something beside its scopes limits what it is for.
    pub fn is_limited(&self) -> bool {
        let Self {
            place: _,
            stands: _,
            covers: _,
            only,
            actions,
            on_create: _, // it limits what is made, and nothing that is there
            written: _,
        } = self;
        only.is_some() || actions.is_some()
    }

    /// What must be found out for it to be judged.
    pub(super) fn wants(&self) -> Wants<'_> {
        let Self {
            place: _,
            stands: _,
            covers: _,
            only,
            actions,
            on_create,
            written: _,
        } = self;
        Wants {
            only: only.as_ref(),
            changes: actions.is_some(),
            adds: on_create.as_ref(),
        }
    }

    /// Whether it names a scope, over whatever there is.
    pub(super) fn names_over_all(&self, scope: ScopeId) -> bool {
        let named = match &self.covers {
            BoundCovers::Scopes(held) => held.named.has(scope),
            BoundCovers::Requests(_) => false,
        };
        named && !self.is_narrowed()
    }

    /// Whether it is for some resources alone.
    pub(super) fn is_narrowed(&self) -> bool {
        self.only.is_some()
    }

    /// Whether, as a deny that is narrowed, it could strike a change of some resource of a kind: by the scope that changes one, or
    /// where `asked` is given by what that asks for.
    pub(super) fn could_strike_change(
        &self,
        kind: &Kind,
        asked: Option<&Asked<'_>>,
        kinds: &Kinds,
    ) -> bool {
        let Self {
            place: _,
            stands: _,
            covers,
            only,
            actions,
            on_create: _,
            written: _,
        } = self;
        let takes_in = match covers {
            BoundCovers::Requests(_) => asked.is_some(),
            BoundCovers::Scopes(Held { all, named: _ }) => {
                let own = kind.changes.is_some_and(|scope| all.has(scope));
                // What it does decides, which is told by what it touches.
                own && (actions.is_none() || asked.is_some())
                    || asked.is_some_and(|asked| is_asked_for(all, asked))
            }
        };
        let only = only.as_ref();
        takes_in && only.is_some_and(|only| only.reaches(kind.id, kinds))
    }
}

fn is_asked_for(scopes: &ScopeSet, asked: &Asked<'_>) -> bool {
    let endpoint = asked.endpoint.map_or(&[][..], |endpoint| &endpoint.scopes);
    let touched = asked.touched_scopes();
    endpoint.iter().any(|set| scopes.meets(set)) || touched.iter().any(|it| scopes.has(*it))
}

impl Covers {
    fn bind(&self, vars: &Vars) -> Result<BoundCovers, String> {
        Ok(match self {
            Self::Scopes { named, all } => BoundCovers::Scopes(Held {
                named: named.clone(),
                all: all.clone(),
            }),
            Self::Requests(patterns) => {
                let patterns = patterns.iter().map(|pattern| pattern.with(vars));
                BoundCovers::Requests(patterns.collect::<Result<_, _>>()?)
            }
        })
    }
}

impl OnCreate {
    fn bind(&self, vars: &Vars) -> Additions {
        let Self { tags, project } = self;
        let filled = |text: &Text| text.fill(vars, str::to_owned);
        Additions {
            tags: tags.iter().map(filled).collect(),
            project: project.as_ref().map(filled),
        }
    }
}

fn has_variable(written: &serde_json::Value) -> bool {
    use serde_json::Value;
    match written {
        Value::String(text) => text.contains("${"),
        Value::Array(items) => items.iter().any(has_variable),
        Value::Object(members) => members.values().any(has_variable),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn filled(written: &serde_json::Value, vars: &Vars) -> serde_json::Value {
    use serde_json::Value;
    match written {
        Value::String(text) => Value::String(filled_text(text, vars)),
        Value::Array(items) => Value::Array(items.iter().map(|item| filled(item, vars)).collect()),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, value)| (key.clone(), filled(value, vars)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => written.clone(),
    }
}

/// Each `${name}` of a text by its variable's value, read once: a value that holds `${other}` stands for itself.
fn filled_text(text: &str, vars: &Vars) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        let named = after.split_once('}');
        let value = named.and_then(|(name, after)| Some((vars.get(name)?, after)));
        if let Some((value, after)) = value {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push_str("${");
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_grant_fills_in_each_variable_once() {
        let vars = Vars::from([
            ("a".to_owned(), "${b}".to_owned()), // taken literally, as everywhere
            ("b".to_owned(), "${a}x".to_owned()),
        ]);
        let cases = [
            ("client-${a}", "client-${b}"),
            ("${b}-${a}", "${a}x-${b}"),
            ("${${a}", "${${b}"),
            ("${other} ${", "${other} ${"),
            ("no variable", "no variable"),
        ];
        for (text, expected) in cases {
            let written = serde_json::json!({ "tag": [text] });
            let expected = serde_json::json!({ "tag": [expected] });
            assert_eq!(filled(&written, &vars), expected, "text {text:?}");
        }
    }
}
