use super::{CatalogReader, body, harmless, head, query};
use crate::catalog::endpoint::{Endpoint, Method};
use crate::catalog::nouns::sounds_like_a_name;
use crate::catalog::place::{FieldPath, Place};
use crate::yaml::{Entry, Map, Mistakes};

impl CatalogReader {
    /// Members and parameters that DigitalOcean gave to an endpoint that is known: harmless ones, that nothing is looked up for.
    pub(super) fn more_members(&mut self, entry: &Entry, mistakes: &mut Mistakes) {
        let Some((method, template)) = head(entry, mistakes) else {
            return;
        };
        let Some(mut map) = Map::of(&entry.node, "the members of an endpoint", mistakes) else {
            return;
        };
        let members = map.take("body").map(|node| body(node, mistakes));
        let parameters = map.take("query").map(|node| query(node, mistakes));
        let told = map.take("harmless").map(|node| harmless(node, mistakes));
        let told = told.unwrap_or_default();
        map.finish(mistakes);
        let number = self.numbers.get(&format!("{method} {template}"));
        let endpoint = number.and_then(|number| self.endpoints.get_mut(*number));
        let Some(endpoint) = endpoint else {
            let call = &entry.key;
            mistakes.add(
                entry.at,
                format!("the catalogue has no `{call}`; a row here adds members to an endpoint that it has, and a new endpoint goes under `endpoints`"),
            );
            return;
        };
        let refused = |endpoint: &Endpoint, place: &Place| match addition(endpoint, place) {
            Addition::Never(why) => Some(why),
            Addition::WithReason if !told.iter().any(|harmless| harmless.at == *place) => {
                Some(UNTOLD)
            }
            Addition::WithReason | Addition::Free => None,
        };
        for member in members.into_iter().flatten() {
            let place = Place::Body(member.path.clone());
            match refused(endpoint, &place) {
                None => endpoint.body.push(member),
                Some(why) => mistakes.add(entry.at, format!("`{place}`: {why}")),
            }
        }
        for parameter in parameters.into_iter().flatten() {
            let place = Place::Query(parameter.name.clone());
            match refused(endpoint, &place) {
                None => endpoint.query.push(parameter),
                Some(why) => mistakes.add(entry.at, format!("`{place}`: {why}")),
            }
        }
    }
}

/// Whether a file may give an endpoint a member or parameter that the catalogue does not know of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Addition {
    /// It may.
    Free,
    /// It may where it says why what sounds like the name of something names nothing.
    WithReason,
    /// It may not, for this.
    Never(&'static str),
}

/// What adding a place to an endpoint takes.
pub fn addition(endpoint: &Endpoint, place: &Place) -> Addition {
    let in_the_way = match place {
        Place::Body(path) => in_the_way(endpoint, path),
        Place::Query(name) => endpoint.knows_parameter(name).then_some(KNOWN),
        Place::Path(_) => Some("a path has the parameters that it has"),
    };
    match in_the_way {
        Some(why) => Addition::Never(why),
        None if sounds_like_a_name(place) => Addition::WithReason,
        None => Addition::Free,
    }
}

const KNOWN: &str = "it is known already";
const UNTOLD: &str = "it sounds like the name of something, which no rule would look at; if it names no resource, say under `harmless` why";

/// Why a member can't be added: what is known of an endpoint is not to be loosened by a file.
fn in_the_way(endpoint: &Endpoint, member: &FieldPath) -> Option<&'static str> {
    if endpoint.method == Method::Get {
        return Some("a GET has no body");
    }
    let known = endpoint.body.iter().map(|known| &known.path);
    let below_known = known
        .clone()
        .any(|known| known != member && leads_through(known, member));
    let through_decider = endpoint
        .inspected()
        .any(|place| matches!(place, Place::Body(path) if leads_through(member, path)));
    if known.clone().any(|known| known == member) {
        Some(KNOWN)
    } else if through_decider {
        Some("what stands there decides, and is looked into as the catalogue has it")
    } else if below_known {
        Some("the catalogue has members below it; name the one that is missing")
    } else {
        None
    }
}

/// Whether the way to a member is the beginning of the way to another, or that itself.
fn leads_through(way: &FieldPath, beginning: &FieldPath) -> bool {
    let mut keys = way.steps.iter().map(|step| &step.key);
    beginning
        .steps
        .iter()
        .all(|step| keys.next() == Some(&step.key))
}
