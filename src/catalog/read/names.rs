//! Where an endpoint's requests name resources, and in what form: told by what it touches, and for the rest by `names` in its row.

use crate::catalog::endpoint::{Endpoint, NamedPlace, Naming};
use crate::catalog::kind::{Kind, KindId, Kinds};
use crate::catalog::name::NameForm;
use crate::catalog::place::Place;
use crate::catalog::touch::{NamedBy, TouchKind, TouchRule, TouchVerb};
use crate::yaml::{Mistakes, Node};

/// `path.action_id: number`: the forms of what no touch names.
pub(super) fn given(node: Option<&Node>, mistakes: &mut Mistakes) -> Vec<NamedPlace> {
    let entries = node.map_or(&[][..], |node| node.entries("`names`", mistakes));
    let mut named = Vec::new();
    for entry in entries {
        match entry.key.parse() {
            Ok(at) => named.push(NamedPlace {
                at,
                naming: Naming::Forms(super::kinds::forms(Some(&entry.node), mistakes)),
            }),
            Err(error) => mistakes.add(entry.at, format!("`{}`: {error}", entry.key)),
        }
    }
    named
}

/// Every place of an endpoint's requests where a resource is named, each once.
pub(super) fn of(endpoint: &Endpoint, given: Vec<NamedPlace>, kinds: &Kinds) -> Vec<NamedPlace> {
    let mut names = Names {
        found: given,
        kinds,
    };
    let rules = endpoint.touches.rules();
    for rule in rules {
        names.named_by(rule);
    }
    // What only gives an attribute its value is judged by that where nothing above names it.
    let mut values = Names {
        found: Vec::new(),
        kinds,
    };
    for rule in rules {
        values.valued_by(rule);
    }
    for value in values.found {
        if !names.found.iter().any(|known| known.at == value.at) {
            names.found.push(value);
        }
    }
    names.found.shrink_to_fit();
    names.found
}

struct Names<'k> {
    found: Vec<NamedPlace>,
    kinds: &'k Kinds,
}

impl Names<'_> {
    fn named_by(&mut self, rule: &TouchRule) {
        for (kind, place) in &rule.of {
            let forms = self.forms_of(*kind);
            self.add(place, forms);
        }
        let Some(at) = &rule.at else { return };
        if let Some(form) = rule.opaque {
            return self.add(at, vec![form]);
        }
        if rule.through.is_some() {
            return; // the rule for what is named there says its form
        }
        if matches!(rule.by, NamedBy::Zone | NamedBy::ZoneAbove) {
            return self.add(at, vec![NameForm::Zone, NameForm::Record]);
        }
        if rule.by == NamedBy::Host {
            return self.add(at, vec![NameForm::Zone]);
        }
        match &rule.kind {
            TouchKind::One(_) | TouchKind::Told { .. } if rule.by == NamedBy::Tag => {
                self.add(at, vec![NameForm::Tag]);
            }
            TouchKind::Urn => self.add(at, vec![NameForm::Urn]),
            TouchKind::Told { types, .. } => {
                let kinds = types.iter().filter_map(|(_, kind)| *kind);
                let forms = kinds.flat_map(|kind| self.forms_of(kind)).collect();
                self.add(at, forms);
            }
            TouchKind::Typed { id, member, types } => {
                let types = types.iter().map(|(word, kind)| {
                    let forms = kind.map(|kind| self.forms_of(kind));
                    (word.clone(), forms.unwrap_or_default())
                });
                let naming = Naming::Typed {
                    id: id.clone(),
                    member: member.clone(),
                    types: types.collect(),
                };
                if !self.found.iter().any(|known| known.at == *at) {
                    self.found.push(NamedPlace {
                        at: at.clone(),
                        naming,
                    });
                }
            }
            TouchKind::One(kind) => {
                let kind = self.kinds.of(*kind);
                let by_name = rule.by == NamedBy::Name && !kind.is_identified_by_name();
                let forms = if by_name {
                    vec![NameForm::Text]
                } else {
                    kind.named.clone()
                };
                self.add(at, forms);
            }
        }
    }

    fn valued_by(&mut self, rule: &TouchRule) {
        let Some(kind) = rule.kind.one() else { return };
        let kind = self.kinds.of(kind);
        let changes = [&rule.after, &rule.adds, &rule.removes];
        for (attribute, places) in changes.into_iter().flatten() {
            let Some(forms) = self.forms_of_value(kind, attribute, rule.verb) else {
                continue;
            };
            for place in places {
                self.add(place, forms.clone());
            }
        }
    }

    /// The forms of what a request makes of an attribute; none where that names nothing.
    fn forms_of_value(
        &self,
        kind: &Kind,
        attribute: &str,
        verb: TouchVerb,
    ) -> Option<Vec<NameForm>> {
        if attribute == "tag" {
            return Some(vec![NameForm::Tag]);
        }
        if kind.names_in_zone.iter().any(|name| name == attribute) {
            return Some(vec![NameForm::Record]);
        }
        if attribute == "name" {
            let by_name = verb == TouchVerb::Create && kind.is_identified_by_name();
            return Some(if by_name {
                kind.named.clone()
            } else {
                vec![NameForm::Text]
            });
        }
        self.kinds.find(attribute).map(|kind| kind.named.clone())
    }

    fn forms_of(&self, kind: KindId) -> Vec<NameForm> {
        self.kinds.of(kind).named.clone()
    }

    fn add(&mut self, at: &Place, more: Vec<NameForm>) {
        let known = self.found.iter_mut().find(|known| known.at == *at);
        match known {
            Some(NamedPlace {
                naming: Naming::Forms(forms),
                ..
            }) => {
                for form in more {
                    if !forms.contains(&form) {
                        forms.push(form);
                    }
                }
            }
            Some(_) => {}
            None => self.found.push(NamedPlace {
                at: at.clone(),
                naming: Naming::Forms(more),
            }),
        }
    }
}
