//! What a request names, and where.

use super::Resolver;
use super::items::ComparedMembers;
use crate::catalog::{AttributeSource, FieldPath, KindId, Place, Stays, TouchKind, TouchRule};
use crate::refusal::{Code, Refusal};
use crate::request::Json;
use crate::resource::lookup::{Look, held};
use crate::resource::touch::Touch;

impl<L: Look> Resolver<'_, L> {
    /// What stands where a name or a value belongs is one: a list or a flag there would be passed over here, and might be
    /// taken for what is in it there.
    pub(super) fn says_names(&self, rule: &TouchRule) -> Result<(), Refusal> {
        let values = [&rule.after, &rule.adds, &rule.removes, &rule.swaps];
        let values = values.into_iter().flatten().flat_map(|(_, places)| places);
        let parents = rule.of.iter().map(|(_, place)| place);
        let named = rule.at.iter().chain(&rule.each).chain(parents);
        let found = |place: &Place| match (place, &self.asked.body) {
            (Place::Body(path), Some(body)) => body.at(path),
            (Place::Path(_) | Place::Query(_) | Place::Body(_), _) => Vec::new(),
        };
        // An object is one where a rule looks into it, and nowhere else.
        let rules = self
            .asked
            .endpoint
            .map_or(&[][..], |endpoint| endpoint.touches.rules());
        let looked_into = |place: &Place, value: &Json| {
            let below = format!("{place}.");
            let mut others = rules.iter().filter_map(|rule| rule.at.as_ref());
            let has = |other: &Place| {
                let other = other.to_string();
                let rest = other.strip_prefix(&below);
                let key = rest.and_then(|rest| rest.split(['.', '[']).next());
                key.is_some_and(|key| value.member(key).is_some())
            };
            matches!(rule.kind, TouchKind::Typed { .. }) || others.any(has)
        };
        let odd = |place: &Place, value: &Json| match value {
            Json::List(_) => !value.is_nothing(),
            Json::Map(_) => !value.is_nothing() && !looked_into(place, value),
            Json::Null | Json::Flag(_) | Json::Number(_) | Json::Text(_) => false,
        };
        let flag = |value: &&Json| matches!(value, Json::Flag(_));
        let list = named
            .clone()
            .chain(values)
            .find(|place| found(place).iter().any(|value| odd(place, value)));
        let wrong = list.or_else(|| named.clone().find(|place| found(place).iter().any(flag)));
        match wrong {
            Some(place) => Err(Refusal::new(
                Code::AmbiguousRequest,
                format!(
                    "`{place}` holds something else than a name or a value; write it as the reference does"
                ),
            )),
            None => Ok(()),
        }
    }

    /// What a rule's place names; where it replaces a list, what is new in it and what is no longer.
    pub(super) fn names(&self, rule: &TouchRule) -> Vec<String> {
        if let Some(called) = &rule.called {
            return vec![called.clone()];
        }
        if let Some(member) = &rule.held_in {
            return self.held(member).unwrap_or_default();
        }
        let named: Vec<String> = rule
            .at
            .iter()
            .flat_map(|place| self.asked.names(place))
            .filter(|name| !name.is_empty() && !self.is_no_name(rule, name))
            .map(str::to_owned)
            .collect();
        let Some(replaced) = &rule.replaces else {
            return named;
        };
        let given = rule
            .at
            .as_ref()
            .is_some_and(|place| self.asked.gives(place));
        let whole = self.asked.method != crate::catalog::Method::Patch;
        if let Stays::Item {
            items,
            name,
            but_for,
        } = &replaced.stays
        {
            let changed = self.changed_items(items, but_for, given || whole);
            let told = changed.iter().flat_map(|item| item.at(name));
            let mut touched: Vec<String> = Vec::new();
            for name in told.filter_map(Json::name) {
                let is_none = name.is_empty() || self.is_no_name(rule, name);
                if !is_none && !touched.iter().any(|known| known == name) {
                    touched.push(name.to_owned());
                }
            }
            return touched;
        }
        let before = self.held(&replaced.member).unwrap_or_default();
        let mut touched: Vec<String> = named
            .iter()
            .filter(|name| !before.contains(name))
            .cloned()
            .collect();
        if given || whole {
            touched.extend(before.iter().filter(|name| !named.contains(name)).cloned());
        }
        touched
    }

    /// The items of a list that were not there as they are now, and those that are no longer there as they were.
    fn changed_items(&self, items: &FieldPath, but_for: &[FieldPath], whole: bool) -> Vec<&Json> {
        let Some(endpoint) = self.asked.endpoint else {
            return Vec::new();
        };
        let counts = ComparedMembers::of(endpoint, items, but_for);
        let body = self.asked.body.iter();
        let given: Vec<&Json> = body.flat_map(|body| body.at(items)).collect();
        let first = self.first.as_ref().and_then(|first| first.json.as_ref());
        let before: Vec<&Json> = first.map(|json| json.at(items)).unwrap_or_default();
        let new = given
            .iter()
            .filter(|item| !before.iter().any(|old| counts.same(item, old)));
        let gone = before
            .iter()
            .filter(|old| whole && !given.iter().any(|item| counts.same(item, old)));
        new.chain(gone).copied().collect()
    }

    fn is_no_name(&self, rule: &TouchRule, text: &str) -> bool {
        let place = self.asked.endpoint.zip(rule.at.as_ref());
        place.is_some_and(|(endpoint, place)| endpoint.is_no_name(place, text))
    }

    /// What a member of the first resource's own JSON names; `None` where it does not tell.
    fn held(&self, member: &FieldPath) -> Option<Vec<String>> {
        let first = self.first.as_ref()?;
        let kind = self.catalog.kinds().of(self.touches.first()?.kind);
        if let Some(json) = &first.json {
            let named = held(kind, json, member)?;
            return Some(named.into_iter().filter(|name| !name.is_empty()).collect());
        }
        // Facts that a test gives have no JSON; an attribute may be the same member.
        let mut attributes = kind.attributes.iter();
        let same = attributes
            .find(|attribute| attribute.from == [AttributeSource::Member(member.clone())])?;
        let known = first.attributes.get(&same.name)?;
        known.complete.then(|| known.values.clone())
    }

    /// Whether a rule goes by what the first resource's own JSON holds, and that is not known: then something is touched, and
    /// nobody knows what.
    pub(super) fn holds_unknown(&self, rule: &TouchRule) -> bool {
        let replaced = rule.replaces.iter().map(|replaced| &replaced.member);
        let members = replaced.chain(&rule.held_in);
        // What a body names and nobody here finds, a server may find by another spelling of its name; what a path names is not there.
        let is_elsewhere = |first: &Touch| first.is_missing() && !first.in_path;
        let there = self.first.is_some() || self.touches.first().is_some_and(is_elsewhere);
        there
            && members
                .into_iter()
                .any(|member| self.held(member).is_none())
    }

    /// Whether a later rule must know what a list of the first resource holds.
    pub(super) fn replaces_lists(&self) -> bool {
        let rules = self
            .asked
            .endpoint
            .map_or(&[][..], |endpoint| endpoint.touches.rules());
        rules.iter().any(|rule| {
            (rule.replaces.is_some() || rule.held_in.is_some())
                && self.asked.applies(rule)
                && self.minds(rule)
        })
    }

    pub(super) fn values(&self, place: &Place) -> Vec<String> {
        self.asked.values(place)
    }

    /// The items that a rule's place names, as id and type; where it replaces a list, what is new in it and what is no longer.
    pub(super) fn typed(
        &self,
        rule: &TouchRule,
        replaced: Option<&Json>,
        members: [&str; 2],
    ) -> Result<Vec<(String, String)>, Refusal> {
        let Some(Place::Body(path)) = &rule.at else {
            return Ok(Vec::new());
        };
        let given = self.asked.body.iter().flat_map(|body| body.at(path));
        let given = Self::ids_and_types(given, path, members)?;
        let Some(replaced) = replaced else {
            return Ok(given);
        };
        let before = match replaced {
            Json::List(items) => Self::ids_and_types(items.iter(), path, members)?,
            Json::Null => Vec::new(),
            Json::Flag(_) | Json::Number(_) | Json::Text(_) | Json::Map(_) => {
                return Err(Self::unknown("what it replaces"));
            }
        };
        let new = given.iter().filter(|item| !before.contains(item));
        let gone = before.iter().filter(|item| !given.contains(item));
        Ok(new.chain(gone).cloned().collect())
    }

    fn ids_and_types<'j>(
        items: impl Iterator<Item = &'j Json>,
        path: &FieldPath,
        [id, member]: [&str; 2],
    ) -> Result<Vec<(String, String)>, Refusal> {
        items
            .filter(|item| !item.is_nothing())
            .map(|item| {
                let text = |key: &str| item.member(key).and_then(Json::name).map(str::to_owned);
                match (text(id), text(member)) {
                    (Some(id), Some(member)) => Ok((id, member)),
                    _ => Err(Self::unknown(&format!("an item of {path}"))),
                }
            })
            .collect()
    }

    /// The kind of all that a rule names, by the type that stands at a place of its own; `None` where that is no resource. A
    /// type that nobody knows could be of any kind.
    pub(super) fn kind_told(
        &self,
        at: &Place,
        types: &[(String, Option<KindId>)],
    ) -> Result<Option<KindId>, Refusal> {
        let told = self.asked.names(at);
        let [told] = told.as_slice() else {
            return Err(Self::unknown(&format!("something without its `{at}`")));
        };
        let is_it = |known: &str| match known.strip_suffix('*') {
            Some(start) => told.starts_with(start),
            None => known == *told,
        };
        let found = types.iter().find(|(known, _)| is_it(known));
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| Self::unknown(told))
    }
}
