//! What a resource belongs to, where the request does not say: its own attribute that is called as its parent's kind does.

use std::sync::Arc;

use super::attributes::Attributes;
use super::lookup::{Found, Look, told_by_name, urn_of, with_parents};
use super::resolve::{Interest, both_names, enough, id_of};
use super::state::{Known, State};
use crate::catalog::{AttributeSource, Catalog, Kind, KindId, Kinds, Name};
use crate::refusal::Refusal;

/// What a resource of a kind belongs to, with all above that; `None` where its kind has no parent.
///
/// What can't be learnt of it is unknown, so that no allow covers it and every deny that asks strikes.
///
/// # Errors
/// The refusal where it can't be looked up.
pub async fn above<L: Look>(
    kind: &Kind,
    attributes: &Attributes,
    catalog: &Catalog,
    interest: &dyn Interest,
    look: &L,
) -> Result<Option<Arc<State>>, Refusal> {
    let mut chain: Vec<(&Kind, Attributes)> = Vec::new();
    let (mut kind, mut attributes) = (kind, attributes.clone());
    while let Some(parent) = kind.parent {
        let parent = catalog.kinds().of(parent);
        let called = attributes.first(parent.id.name());
        // What the API calls it in another form than its names have is not known.
        let found = match called.and_then(|called| parent.name(called, catalog.kinds())) {
            Some(called) => one(parent, &called, catalog, interest, look).await?,
            None => Attributes::new(),
        };
        chain.push((parent, found.clone()));
        (kind, attributes) = (parent, found);
    }
    let mut above = None;
    for (kind, attributes) in chain.into_iter().rev() {
        above = Some(Arc::new(State::new(kind, attributes, above)));
    }
    Ok(above)
}

async fn one<L: Look>(
    kind: &Kind,
    called: &Name,
    catalog: &Catalog,
    interest: &dyn Interest,
    look: &L,
) -> Result<Attributes, Refusal> {
    let told = told_by_name(kind, called);
    let mut found = if enough(kind, &told, interest) {
        told
    } else {
        match look.one(kind, &[], called).await? {
            Some(Found { attributes, .. }) => with_parents(attributes, kind, &[]),
            None => return Ok(told),
        }
    };
    let id = id_of(kind, &found).unwrap_or_else(|| called.as_str().to_owned());
    project(kind, &id, &mut found, catalog, interest, look).await?;
    Ok(found)
}

/// Adds which project a resource is in, where that is asked: what its URN tells, or by all names the one that it says itself.
///
/// # Errors
/// The refusal where it can't be looked up.
pub async fn project<L: Look>(
    kind: &Kind,
    id: &str,
    attributes: &mut Attributes,
    catalog: &Catalog,
    interest: &dyn Interest,
    look: &L,
) -> Result<(), Refusal> {
    if kind.id == KindId::Project || !interest.asks(kind).contains("project") {
        return Ok(());
    }
    let from = kind.attribute("project").map(|attribute| &attribute.from);
    if from.is_some_and(|from| from.contains(&AttributeSource::Urn))
        && !attributes.contains_key("project")
    {
        if let Some(urn) = urn_of(kind, id) {
            let known = look
                .project_of(&urn, &|called| interest.names_project(called))
                .await?;
            attributes.insert("project".to_owned(), known);
        }
        return Ok(());
    }
    let told = attributes.get("project").map(|known| known.values.clone());
    if let Some([id]) = told.as_deref() {
        let both = project_named(id, catalog, look).await?;
        attributes.insert("project".to_owned(), both);
    }
    Ok(())
}

/// A project's id and name.
pub(super) async fn project_named<L: Look>(
    called: &str,
    catalog: &Catalog,
    look: &L,
) -> Result<Known, Refusal> {
    let kind = catalog.kinds().of(KindId::Project);
    let Some(name) = kind.name(called, catalog.kinds()) else {
        return Ok(Known::unknown());
    };
    let found = look.one(kind, &[], &name).await?;
    Ok(found.map_or_else(
        || Known::exactly([name.as_str().to_owned()]),
        |found| both_names(&found.attributes),
    ))
}

/// What an item of a list is, with what the list does not tell of it where grants ask about that. What can't be learnt is
/// unknown.
///
/// # Errors
/// The refusal where it can't be looked up.
pub async fn whole<L: Look>(
    kind: &Kind,
    mut attributes: Attributes,
    kinds: &Kinds,
    interest: &dyn Interest,
    look: &L,
) -> Result<Attributes, Refusal> {
    let asked = interest.asks(kind);
    let lacks = |name: &&String| {
        let told = attributes.get(name);
        asked.contains(*name) && told.is_none_or(|known| known.values.is_empty())
    };
    let lacking: Vec<String> = kind.lists_lack.iter().filter(lacks).cloned().collect();
    if lacking.is_empty() {
        return Ok(attributes);
    }
    let id = id_of(kind, &attributes);
    let found = match id.and_then(|id| kind.name(&id, kinds)) {
        Some(name) => look.one(kind, &[], &name).await?,
        None => None,
    };
    for name in lacking {
        let known = found
            .as_ref()
            .and_then(|found| found.attributes.get(name.as_str()));
        let known = known.cloned().unwrap_or_else(Known::unknown);
        attributes.insert(name, known);
    }
    Ok(attributes)
}

/// Whether its parent is not told by what is known of it.
pub fn lacks_parent(kind: &Kind, told: &Attributes) -> bool {
    let Some(parent) = kind.parent else {
        return false;
    };
    let by_member = |from: &AttributeSource| matches!(from, AttributeSource::Member(_));
    let attribute = kind.attribute(parent.name());
    attribute.is_some_and(|it| it.from.iter().any(by_member)) && !told.contains_key(parent.name())
}
