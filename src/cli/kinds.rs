use clap::Args;
use serde_json::{Map, Value, json};

use super::{Failed, print, values};
use crate::catalog::{
    Attribute, AttributeSource, Catalog, Kind, KindId, LookUp, Scope, ScopeId, described,
};

#[derive(Args)]
pub(super) struct Arguments {
    /// Only those whose name has this in it.
    #[arg(add = values::kinds())]
    containing: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Lists the kinds of resource: all that `only` can name, and what it can ask of them.
pub(super) fn run(catalog: &Catalog, arguments: &Arguments) -> Result<(), Failed> {
    let wanted = |kind: &&Kind| {
        let part = arguments.containing.as_deref().unwrap_or_default();
        kind.id.name().contains(part)
    };
    let found: Vec<_> = catalog.kinds().iter().filter(wanted).collect();
    if let (true, Some(part)) = (found.is_empty(), &arguments.containing) {
        let near = crate::yaml::nearest(part, KindId::names());
        let instead = near.map_or_else(
            || "`tidegate catalog kinds` lists them all".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Failed::because(format!(
            "no kind has `{part}` in its name; {instead}"
        )));
    }
    if arguments.json {
        return print(
            found
                .iter()
                .map(|kind| as_json(kind, catalog))
                .collect::<Value>(),
        );
    }
    for (index, kind) in found.iter().enumerate() {
        if index > 0 {
            print("")?;
        }
        tell(kind, catalog)?;
    }
    Ok(())
}

/// A kind in a block of its own: its attributes are too many for a row.
fn tell(kind: &Kind, catalog: &Catalog) -> Result<(), Failed> {
    print(kind.id)?;
    let line = |what: &str, text: String| match text.as_str() {
        "" => Ok(()),
        text => print(format!("  {what:<12}{text}")),
    };
    let attributes: Vec<_> = kind.attributes.iter().map(|known| &*known.name).collect();
    line("attributes", attributes.join(", "))?;
    line("of parents", inherited(kind, catalog).join(", "))?;
    line("part of", ancestors(kind, catalog).join(", "))?;
    line(
        "also",
        kind.also.map(KindId::name).unwrap_or_default().to_owned(),
    )?;
    line("named", described(&kind.named))?;
    let urns: Vec<_> = kind.urns.iter().map(|urn| format!("do:{urn}:…")).collect();
    line("in URNs", urns.join(", "))?;
    line("looked up", look_up(kind.get.as_ref()))?;
    line("listed", look_up(kind.list.as_ref()))?;
    let scopes: Vec<_> = scopes(kind, catalog)
        .into_iter()
        .map(|(what, scope)| format!("{scope} {what}"))
        .collect();
    line("scopes", scopes.join(", "))
}

fn as_json(kind: &Kind, catalog: &Catalog) -> Value {
    let attributes: Map<String, Value> = kind
        .attributes
        .iter()
        .map(|known| (known.name.to_string(), sources(known)))
        .collect();
    let scopes: Map<String, Value> = scopes(kind, catalog)
        .into_iter()
        .map(|(what, scope)| (what.to_owned(), scope.to_string().into()))
        .collect();
    json!({
        "kind": kind.id.name(),
        "family": kind.family,
        "attributes": attributes,
        "attributes_of_parents": inherited(kind, catalog),
        "parents": ancestors(kind, catalog),
        "also": kind.also.map(KindId::name),
        "named": described(&kind.named),
        "urns": kind.urns,
        "looked_up": kind.get.as_ref().map(|get| look_up(Some(get))),
        "listed": kind.list.as_ref().map(|list| look_up(Some(list))),
        "scopes": scopes,
        "public": *kind.public,
    })
}

/// Where the API says what an attribute is.
fn sources(attribute: &Attribute) -> Value {
    let said = |source: &AttributeSource| match source {
        AttributeSource::Member(path) => path.to_string(),
        AttributeSource::Path(name) => format!("path.{name}"),
        AttributeSource::Urn => "the resources of projects, by URN".to_owned(),
    };
    attribute.from.iter().map(said).collect()
}

/// What a selector on the kind can ask of its parents, as it has none of its own.
fn inherited(kind: &Kind, catalog: &Catalog) -> Vec<&'static str> {
    let of_parents = |attribute: &&str| {
        let mut parents = catalog.kinds().ancestors(kind);
        !kind.has(attribute) && parents.any(|parent| parent.has(attribute))
    };
    ["tag", "project", "region"]
        .into_iter()
        .filter(of_parents)
        .collect()
}

fn ancestors(kind: &Kind, catalog: &Catalog) -> Vec<&'static str> {
    let parents = catalog.kinds().ancestors(kind);
    parents.map(|parent| parent.id.name()).collect()
}

fn look_up(look_up: Option<&LookUp>) -> String {
    look_up.map_or_else(String::new, |found| format!("GET {}", found.template))
}

/// The scopes by which the API shows, changes and destroys one.
fn scopes<'c>(kind: &Kind, catalog: &'c Catalog) -> Vec<(&'static str, &'c Scope)> {
    let named = |what, scope: Option<ScopeId>| Some((what, catalog.scopes().name(scope?)?));
    [
        named("shows", kind.reads),
        named("changes", kind.changes),
        named("destroys", kind.deletes),
    ]
    .into_iter()
    .flatten()
    .collect()
}
