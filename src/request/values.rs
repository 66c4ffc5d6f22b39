//! Values by which the tables tell what a request touches come from closed lists.

use super::asked::Asked;
use super::json::Json;
use crate::catalog::{ClosedValues, Endpoint, FieldPath, KindId, Place, TouchKind, TouchRule};
use crate::refusal::{Code, Refusal};

impl Asked<'_> {
    /// Checks that where a value tells what is touched it is one that the table knows: what another one does nobody knows.
    ///
    /// # Errors
    /// `ambiguous_request`, with the place and the values that there are.
    pub fn has_known_values(&self) -> Result<(), Refusal> {
        let Some(endpoint) = self.endpoint else {
            return Ok(());
        };
        for closed in &endpoint.values {
            self.is_in_closed_list(closed)?;
        }
        self.has_known_types(endpoint)
    }

    fn is_in_closed_list(&self, closed: &ClosedValues) -> Result<(), Refusal> {
        let ClosedValues { at, one_of, absent } = closed;
        let Place::Body(path) = at else {
            return Ok(());
        };
        let Some((last, way)) = path.steps.split_last() else {
            return Ok(());
        };
        let holder = FieldPath {
            steps: way.to_vec(),
        };
        let is_known = |value: Option<&Json>| match value {
            None | Some(Json::Null) => *absent,
            Some(Json::Flag(flag)) => one_of.iter().any(|known| *known == flag.to_string()),
            Some(Json::Text(text) | Json::Number(text)) => one_of.contains(text),
            Some(Json::List(_) | Json::Map(_)) => false,
        };
        let holders = self.body.iter().flat_map(|body| body.at(&holder));
        let mut values = holders
            .filter(|holder| matches!(holder, Json::Map(_)))
            .map(|holder| holder.member(&last.key));
        if values.all(is_known) {
            Ok(())
        } else {
            Err(not_one_of(
                &at.to_string(),
                one_of.iter().map(String::as_str),
            ))
        }
    }

    /// Checks the types that stand beside names, or at a place of their own for all that are named.
    fn has_known_types(&self, endpoint: &Endpoint) -> Result<(), Refusal> {
        let rules = endpoint.touches.rules().iter();
        for rule in rules.filter(|rule| self.applies(rule)) {
            match &rule.kind {
                TouchKind::Typed { member, types, .. } => self.types_beside(rule, member, types)?,
                TouchKind::Told { at, types } => {
                    let named = rule.at.iter().any(|place| !self.names(place).is_empty());
                    let told = self.names(at);
                    let is_known = matches!(told.as_slice(), [told] if is_type(types, told));
                    if named && !is_known {
                        return Err(not_one_of(&at.to_string(), words(types)));
                    }
                }
                TouchKind::One(_) | TouchKind::Urn => {}
            }
        }
        Ok(())
    }

    fn types_beside(
        &self,
        rule: &TouchRule,
        member: &str,
        types: &[(String, Option<KindId>)],
    ) -> Result<(), Refusal> {
        let Some(Place::Body(path)) = &rule.at else {
            return Ok(());
        };
        let items = self.body.iter().flat_map(|body| body.at(path));
        let mut told = items
            .filter(|item| !item.is_nothing())
            .map(|item| item.member(member).and_then(Json::name));
        if told.all(|told| told.is_some_and(|told| is_type(types, told))) {
            Ok(())
        } else {
            Err(not_one_of(&format!("body.{path}.{member}"), words(types)))
        }
    }
}

/// Whether a type is one that a rule lists, `*` at the end of one being whatever follows.
fn is_type(types: &[(String, Option<KindId>)], told: &str) -> bool {
    types
        .iter()
        .any(|(known, _)| match known.strip_suffix('*') {
            Some(start) => told.starts_with(start),
            None => known == told,
        })
}

fn words(types: &[(String, Option<KindId>)]) -> impl Iterator<Item = &str> {
    types.iter().map(|(word, _)| word.as_str())
}

fn not_one_of<'w>(place: &str, words: impl Iterator<Item = &'w str>) -> Refusal {
    let words: Vec<_> = words.map(|word| format!("`{word}`")).collect();
    let known = words.join(", ");
    Refusal::new(
        Code::AmbiguousRequest,
        format!("`{place}` must be one of {known}: by it tidegate tells what the request touches"),
    )
}
