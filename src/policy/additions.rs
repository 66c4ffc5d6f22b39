//! What a request makes can take of a grant's `on_create`, and how.
//!
//! Told by the catalogue alone: a tag or a project goes where the row of the endpoint has it in the body; a project also by
//! the API's own assignment, where URNs tell which one a kind is in; what belongs to something has that one's. What can take
//! it in none of these ways is not made by such a grant: nothing that a grant adds is left out in silence.

use super::grant::Additions;
use crate::catalog::{
    AttributeSource, Endpoint, FieldPath, Kinds, Place, SHARED, TouchRule, TouchVerb,
};
use crate::resource::Touch;

/// What is added to what a request makes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Added {
    /// Tags, and the list of the body that they go into.
    pub tags: Option<(FieldPath, Vec<String>)>,
    /// The project, by id or name, and how it gets there.
    pub project: Option<(Into, String)>,
}

/// How what is made comes into a project.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Into {
    /// The body says it there.
    Body(FieldPath),
    /// It is put there once it is made.
    Afterwards,
}

/// That a request makes what can't take what a grant adds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CantTake;

/// How what is made has a tag or a project.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Placement {
    Body(FieldPath),
    Assigned,
    OfItsParent,
}

impl Added {
    /// Whether it says anything of what a touch comes to: what is made beside takes none of it.
    pub(crate) fn is_for(touch: &Touch) -> bool {
        touch.verb == TouchVerb::Create && touch.is_first()
    }
}

impl Additions {
    /// What of these is added to what an endpoint makes.
    ///
    /// # Errors
    /// `CantTake` where it can't be.
    pub(super) fn to_what_is_made(
        &self,
        endpoint: Option<&Endpoint>,
        kinds: &Kinds,
    ) -> Result<Added, CantTake> {
        let Self { tags, project } = self;
        let mut added = Added::default();
        if !tags.is_empty() {
            added.tags = match placement(endpoint, "tag", kinds)? {
                Placement::Body(path) => Some((path, tags.clone())),
                Placement::OfItsParent => None,
                Placement::Assigned => return Err(CantTake),
            };
        }
        if let Some(project) = project {
            added.project = match placement(endpoint, "project", kinds)? {
                Placement::Body(path) => Some((Into::Body(path), project.clone())),
                Placement::Assigned => Some((Into::Afterwards, project.clone())),
                Placement::OfItsParent => None,
            };
        }
        Ok(added)
    }
}

/// How what an endpoint makes gets an attribute; of several things, all in the same way but for those that belong to another.
fn placement(
    endpoint: Option<&Endpoint>,
    attribute: &str,
    kinds: &Kinds,
) -> Result<Placement, CantTake> {
    let rules = endpoint.map_or(&[][..], |endpoint| endpoint.touches.rules());
    let made = rules
        .iter()
        .filter(|rule| rule.verb == TouchVerb::Create && rule.is_first());
    let placements = made.map(|rule| placement_of(rule, attribute, kinds).ok_or(CantTake));
    let placements = placements.collect::<Result<Vec<_>, _>>()?;
    let mut own = placements
        .iter()
        .filter(|placement| **placement != Placement::OfItsParent);
    let placement = own.next().or(placements.first()).ok_or(CantTake)?;
    if own.all(|other| other == placement) {
        Ok(placement.clone())
    } else {
        Err(CantTake)
    }
}

fn placement_of(rule: &TouchRule, attribute: &str, kinds: &Kinds) -> Option<Placement> {
    let kind = kinds.of(rule.kind.one()?);
    let said = rule.after.iter().filter(|(name, _)| name == attribute);
    let said = said.flat_map(|(_, places)| places);
    let mut in_body = said.filter_map(|place| match place {
        Place::Body(path) => Some(Placement::Body(path.clone())),
        Place::Path(_) | Place::Query(_) => None,
    });
    if let Some(placement) = in_body.next() {
        return Some(placement);
    }
    match kind.attribute(attribute) {
        Some(known) => known
            .from
            .contains(&AttributeSource::Urn)
            .then_some(Placement::Assigned),
        None => {
            (kind.parent.is_some() && SHARED.contains(&attribute)).then_some(Placement::OfItsParent)
        }
    }
}
