//! Why a touch is not covered: which selector of which grant did not take which fact. For those who run tidegate alone, as it
//! tells what is hidden.

use std::fmt::Write;

use serde_json::Value;

use super::TouchJudge;
use super::covering::added;
use crate::catalog::{Catalog, KindId};
use crate::policy::bind::Grants;
use crate::policy::case::Case;
use crate::policy::grant::{Bearing, Short};
use crate::policy::matching::{Missed, Use};
use crate::request::Asked;
use crate::resource::{Known, Presence, State, Touch};

impl TouchJudge<'_> {
    /// Of each grant that has part in what is asked for at a touch, why it does not cover it.
    pub(super) fn why_not(&self, touch: &Touch) -> String {
        let named = of_touch(touch);
        if touch.is_missing() {
            return format!("{named} is not there, or the real token may not see it");
        }
        let mut said: Vec<String> = Vec::new();
        let mut more = 0;
        for grant in self.case.allowing().filter(|it| self.has_part(*it, touch)) {
            let Some(why) = self.why_not_by(grant, touch) else {
                continue;
            };
            if said.len() < MOST {
                said.push(format!("`{}` ({}) {why}", grant.place(), grant.stands()));
            } else {
                more += 1;
            }
        }
        if said.is_empty() {
            return format!("no grant has the scope that is asked for over {named}, and covers it");
        }
        if more > 0 {
            said.push(format!("and {more} more grants cover it as little"));
        }
        format!("{named}: {}", said.join("; "))
    }

    /// Whether a grant gives some of what is asked for at a touch.
    fn has_part(&self, grant: Bearing<'_>, touch: &Touch) -> bool {
        let scopes = grant.scopes_for(self.endpoint);
        let own = touch.own_scope(self.case.catalog.kinds());
        let wanted = touch.scope.or(own.filter(|_| !touch.is_first()));
        let by_scope = scopes.is_some_and(|scopes| {
            if let Some(scope) = wanted {
                return scopes.has(scope);
            }
            let needs = self.case.needs(self.endpoint);
            needs.iter().any(|set| scopes.meets(set))
        });
        by_scope || grant.matches()
    }

    fn why_not_by(&self, grant: Bearing<'_>, touch: &Touch) -> Option<String> {
        match grant.falls_short() {
            Some(Short::Action) => {
                let actions = grant.actions().join(", ");
                return Some(format!("has `actions` [{actions}] alone"));
            }
            Some(Short::OnCreate) => {
                return Some(
                    "has an `on_create` that can't be added to what this makes".to_owned(),
                );
            }
            Some(Short::Narrowed) => {
                return Some("has an `only`, and what this touches is not known".to_owned());
            }
            None => {}
        }
        if self.covers(grant, touch) {
            return None;
        }
        let after = touch.after.as_ref().map(|after| added(after, touch, grant));
        let states = touch.before.iter().chain(after.as_ref());
        let mut missed = states.filter_map(|state| missed(grant, state, self.use_of(touch), self));
        Some(missed.next().unwrap_or_else(|| {
            "does not cover it as the request leaves it, or too little is known of it".to_owned()
        }))
    }
}

/// Why a resource that an answer shows may not be seen, for the record.
pub fn why_hidden(
    grants: &Grants,
    asked: &Asked<'_>,
    touch: &Touch,
    state: &State,
    catalog: &Catalog,
) -> Option<String> {
    let case = Case::new(grants, asked, catalog);
    let judge = TouchJudge {
        case: &case,
        endpoint: asked.endpoint?,
    };
    let seen = Touch {
        before: Some(state.clone()),
        after: Some(state.clone()),
        presence: Presence::There,
        ..touch.clone()
    };
    Some(match judge.striking(&seen) {
        Some(grant) => struck(grant, &seen),
        None => judge.why_not(&seen),
    })
}

/// That a deny strikes a touch.
pub(super) fn struck(grant: Bearing<'_>, touch: &Touch) -> String {
    let (place, stands, named) = (grant.place(), grant.stands(), of_touch(touch));
    format!("`{place}` ({stands}) strikes {named}")
}

fn missed(grant: Bearing<'_>, state: &State, r#use: Use, judge: &TouchJudge<'_>) -> Option<String> {
    let only = grant.only()?;
    let kinds = judge.case.catalog.kinds();
    let written = |path: &[&str]| {
        let only = grant.written().get("only")?;
        path.iter().try_fold(only, |at, key| at.get(key))
    };
    Some(match only.missed(state, r#use, kinds)? {
        Missed::Kind => format!("names no `{}` in its `only`", state.kind),
        Missed::Children => format!(
            "is narrowed to what is under a `{}`, which it lets be read alone",
            state.kind
        ),
        Missed::Attribute {
            kind,
            attribute,
            known,
        } => {
            let path: Vec<&str> = kind
                .map(KindId::name)
                .into_iter()
                .chain([attribute.as_str()])
                .collect();
            let asks = written(&path).map(shown).unwrap_or_default();
            let path = path.join(".");
            match known {
                None => format!("asks for `only.{path}`, which no `{}` has", state.kind),
                Some(known) => format!("asks for `only.{path}` {asks}, and it {}", has(&known)),
            }
        }
    })
}

/// What was written, as YAML has it in one line.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(shown).collect();
            items.join(" or ")
        }
        other => format!("`{other}`"),
    }
}

fn has(known: &Known) -> String {
    let mut values: Vec<_> = known
        .values
        .iter()
        .map(|value| format!("`{}`", cut(value)))
        .collect();
    let more = values.len().saturating_sub(MOST);
    values.truncate(MOST);
    let mut said = match (values.as_slice(), known.complete) {
        ([], true) => "has none".to_owned(),
        ([], false) => "is not known what it has".to_owned(),
        (some, _) => format!("has {}", some.join(", ")),
    };
    if more > 0 {
        let _ = write!(said, " and {more} more");
    }
    said
}

fn of_touch(touch: &Touch) -> String {
    let kind = &touch.kind;
    match &touch.id {
        Some(id) => format!("the {kind} `{}`", cut(id)),
        None if touch.before.is_none() => format!("the new {kind}"),
        None => format!("the {kind}"),
    }
}

fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

/// How many grants, and how many values, are told one by one.
const MOST: usize = 4;
/// The most characters of a value.
const LONGEST: usize = 80;
