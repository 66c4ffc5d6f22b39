//! Worlds in which requests are tried.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use serde_json::Value;

use super::request::identifies;
use super::{ordered, samples};
use crate::catalog::{Catalog, Kind, KindId};
use crate::policy::{BoundGrant, Grants};

/// An attribute that a witness has: of this kind or of any, and the value.
pub(in crate::learn) type Has = (Option<KindId>, String, String);

/// A world in which requests are tried.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub(in crate::learn) struct Witness {
    /// What everything has of which nothing else is said: an attribute that is not known counts as struck by a deny.
    pub base: Arc<[Has]>,
    pub has: Vec<Has>,
    /// The attribute by which it is just missed.
    pub misses: Option<Has>,
}

impl Witness {
    /// What it says of these kinds, each thing once: of what is said twice, what is said last counts.
    pub fn about(&self, kinds: &BTreeSet<KindId>, catalog: &Catalog) -> Self {
        let concerns = |(kind, attribute, _): &&Has| match kind {
            Some(kind) => kinds.contains(kind),
            None => kinds
                .iter()
                .any(|kind| catalog.kinds().of(*kind).has(attribute)),
        };
        let misses = self.misses.as_ref().filter(concerns).cloned();
        let mut has: Vec<Has> = Vec::new();
        for one in self.has.iter().filter(concerns) {
            let is_same = |other: &Has| (&other.0, &other.1) == (&one.0, &one.1);
            has.retain(|other| !is_same(other));
            if !misses.as_ref().is_some_and(is_same) {
                has.push(one.clone());
            }
        }
        Self {
            base: self.base.clone(),
            has,
            misses,
        }
    }

    /// One that has what both have; where they differ, what the other has.
    fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.has.extend(other.has.iter().cloned());
        both.misses.clone_from(&other.misses);
        if let Some(missed) = &self.misses {
            both.has.push(missed.clone());
        }
        both
    }

    pub fn told(&self) -> String {
        let tell = |(kind, attribute, value): &Has| {
            let kind = kind.map_or("any kind", KindId::name);
            format!("{kind} {attribute}={value}")
        };
        let has: Vec<_> = self.has.iter().map(tell).collect();
        match &self.misses {
            None if has.is_empty() => "what no selector takes".to_owned(),
            None => has.join(" "),
            Some(missed) => {
                let has: Vec<_> = has.into_iter().chain([tell(missed)]).collect();
                format!("{} (just missed)", has.join(" "))
            }
        }
    }

    /// What there is of a kind: later entries win.
    pub fn of<'w>(&'w self, kind: &'w Kind) -> impl Iterator<Item = (&'w str, &'w str)> {
        about(kind, self.base.iter()).chain(self.said_of(kind))
    }

    /// What it says itself of a kind.
    pub(super) fn said_of<'w>(
        &'w self,
        kind: &'w Kind,
    ) -> impl Iterator<Item = (&'w str, &'w str)> {
        about(kind, self.has.iter().chain(&self.misses))
    }
}

fn about<'w>(
    kind: &'w Kind,
    all: impl Iterator<Item = &'w Has>,
) -> impl Iterator<Item = (&'w str, &'w str)> {
    all.filter(|(of, attribute, _)| of.is_none_or(|of| of == kind.id) && kind.has(attribute))
        .map(|(_, attribute, value)| (attribute.as_str(), value.as_str()))
}

/// As many are made of two selectors together.
const MOST_PAIRS: usize = 3_000;

/// The worlds in which requests are tried: what is nobody's, what each selector of either side takes and just misses, and what a
/// changed grant and another take or miss together: a deny strikes what an allow takes, a VPC goes by a grant of its own.
///
/// They stand in the order of the grants, whatever these say, so that those of roles that differ in names alone stand side by side.
pub(super) fn witnesses(
    sides: &[Option<Grants>; 2],
    changed: &[String],
    catalog: &Catalog,
) -> Vec<Witness> {
    let mut of_grants: Vec<(String, Vec<Witness>)> = Vec::new();
    for grants in sides.iter().flatten() {
        for grant in grants.allowing().chain(grants.denying()) {
            let key = ordered(grant.written()).to_string();
            if !of_grants.iter().any(|(known, _)| *known == key) {
                of_grants.push((key, witnesses_of(grant)));
            }
        }
    }
    let base = base(&of_grants, catalog);
    let of_all = of_grants.iter().flat_map(|(_, witnesses)| witnesses);
    let of_changed = of_grants.iter().filter(|(key, _)| changed.contains(key));
    let pairs = of_changed.flat_map(|(key, own)| {
        let others = of_grants.iter().filter(move |(other, _)| other != key);
        let others = others.flat_map(|(_, witnesses)| witnesses);
        others.flat_map(move |other| own.iter().map(move |own| other.and(own)))
    });
    let of_nobody = std::iter::once(Witness::default());
    let all = of_all
        .cloned()
        .chain(pairs.take(MOST_PAIRS))
        .chain(of_nobody);
    let with_base = all.map(|witness| Witness {
        base: base.clone(),
        ..witness
    });
    each_once(with_base)
}

/// Each that is like none before it.
pub(super) fn each_once(witnesses: impl Iterator<Item = Witness>) -> Vec<Witness> {
    let mut known = HashSet::new();
    witnesses
        .filter(|witness| known.insert(witness.clone()))
        .collect()
}

/// A value that nobody asks for, for each attribute that is asked about; what names a thing stands in the request.
fn base(of_grants: &[(String, Vec<Witness>)], catalog: &Catalog) -> Arc<[Has]> {
    let mut asked: BTreeMap<(Option<KindId>, String), String> = BTreeMap::new();
    for witness in of_grants.iter().flat_map(|(_, witnesses)| witnesses) {
        for (kind, attribute, value) in witness.has.iter().chain(&witness.misses) {
            let kind = *kind;
            let of_kind = kind.map(|kind| catalog.kinds().of(kind));
            if !of_kind.is_some_and(|kind| identifies(kind, attribute)) {
                asked.insert((kind, attribute.clone()), of_like(value).to_owned());
            }
        }
    }
    let base = asked.into_iter();
    base.map(|((kind, attribute), value)| (kind, attribute, value))
        .collect()
}

/// A value of nobody's in the form of another.
fn of_like(value: &str) -> &'static str {
    if crate::catalog::is_uuid(value) {
        "00000000-0000-4000-8000-00000000000f"
    } else if value.bytes().all(|byte| byte.is_ascii_digit()) {
        "7000009"
    } else {
        "nobodys"
    }
}

/// For a selector a world that it takes, for each of its values one, and for each of its attributes one that it just misses.
fn witnesses_of(grant: &BoundGrant) -> Vec<Witness> {
    let mut witnesses = Vec::new();
    let Some(Value::Object(only)) = grant.written().get("only") else {
        return witnesses;
    };
    let mut asks: Vec<(Option<KindId>, String, Vec<String>)> = Vec::new();
    for (key, asked) in only {
        match (KindId::from_name(key), asked) {
            (Some(kind), Value::Object(selector)) => {
                for (attribute, values) in selector {
                    asks.push((Some(kind), attribute.clone(), samples::of(values)));
                }
            }
            (kind, values) if kind.is_none() || SHARED.contains(&key.as_str()) => {
                asks.push((None, key.clone(), samples::of(values)));
            }
            _ => {} // `any`
        }
    }
    let first = |(kind, attribute, values): &(Option<KindId>, String, Vec<String>)| {
        Some((*kind, attribute.clone(), values.first()?.clone()))
    };
    let taken: Vec<Has> = asks.iter().filter_map(first).collect();
    let of = |has: Vec<Has>, misses: Option<Has>| Witness {
        base: Arc::default(),
        has,
        misses,
    };
    witnesses.push(of(taken.clone(), None));
    for (kind, attribute, values) in &asks {
        let is_it = |(of, name, _): &Has| (of, name) == (kind, attribute);
        for value in values.iter().skip(1) {
            let mut has = taken.clone();
            if let Some(one) = has.iter_mut().find(|it| is_it(it)) {
                one.2.clone_from(value);
            }
            witnesses.push(of(has, None));
        }
        if let Some(value) = values.first() {
            let mut has = taken.clone();
            has.retain(|it| !is_it(it));
            let missed = (*kind, attribute.clone(), samples::beside(value));
            witnesses.push(of(has, Some(missed)));
        }
    }
    witnesses
}

/// The attributes that may stand in `only` directly.
const SHARED: [&str; 3] = ["tag", "project", "region"];
