use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Failed, Outcome, print, print_table};
use crate::catalog::{Catalog, Endpoint, Scope, Touches};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the scopes, and how many endpoints ask for each.
    #[command(after_help = "Example:\n  tidegate catalog scopes | grep droplet")]
    Scopes(Listing),
    /// List the endpoints, with the scopes they need and what they touch.
    #[command(after_help = "Example:\n  tidegate catalog endpoints /v2/domains")]
    Endpoints(Endpoints),
    /// List the kinds of resource that `only` can name: attributes, parents, how one is named, where it is looked up.
    #[command(after_help = "Example:\n  tidegate catalog kinds domain")]
    Kinds(super::kinds::Arguments),
    /// Compare what this release knows of the API with a newer specification of it.
    #[command(
        after_help = "Example:\n  tidegate catalog diff DigitalOcean-public.v2.yaml --extra /etc/tidegate/my-endpoints.yaml\n\nExit status: 0 nothing changed, 1 something did, 2 the file can't be compared."
    )]
    Diff(super::catalog_diff::Arguments),
    /// Write `catalog.extra` with what a newer specification has and this release lacks; what a person must decide is marked.
    #[command(
        after_help = "Example:\n  tidegate catalog extra --from openapi/specification/DigitalOcean-public.v2.yaml --extra my-endpoints.yaml --out my-endpoints.yaml\n\nExit status: 0 nothing to decide, 1 a person must decide something, 2 it can't be written."
    )]
    Extra(super::extra::Arguments),
}

#[derive(Args)]
pub(super) struct Listing {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Endpoints {
    /// Only those whose method, path or operation has this in it.
    containing: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(command: &Command) -> Result<Outcome, Failed> {
    let catalog = Catalog::builtin().map_err(Failed)?;
    match command {
        Command::Scopes(listing) => scopes(&catalog, listing)?,
        Command::Endpoints(listing) => endpoints(&catalog, listing)?,
        Command::Kinds(arguments) => super::kinds::run(&catalog, arguments)?,
        Command::Diff(arguments) => return super::catalog_diff::run(arguments),
        Command::Extra(arguments) => return super::extra::run(arguments),
    }
    Ok(Outcome::Good)
}

fn scopes(catalog: &Catalog, listing: &Listing) -> Result<(), Failed> {
    let mut rows: Vec<(String, usize, usize)> = Vec::new();
    for scope in catalog.scopes().iter() {
        let Some(id) = catalog.scopes().id(scope) else {
            continue;
        };
        let asks = |endpoint: &&Endpoint| endpoint.scopes.iter().any(|set| set.has(id));
        let endpoints = catalog.endpoints().iter().filter(asks).count();
        let fields = catalog
            .endpoints()
            .iter()
            .flat_map(|endpoint| &endpoint.fields)
            .filter(|field| field.scope == id)
            .count();
        rows.push((scope.to_string(), endpoints, fields));
    }
    rows.sort();
    if listing.json {
        let all: Vec<Value> = rows.iter().map(|(scope, endpoints, fields)| json!({ "scope": scope, "endpoints": endpoints, "request_fields": fields })).collect();
        return print(Value::Array(all));
    }
    let mut table = vec![vec![
        "SCOPE".to_owned(),
        "ENDPOINTS".to_owned(),
        "REQUEST FIELDS".to_owned(),
    ]];
    table.extend(
        rows.into_iter().map(|(scope, endpoints, fields)| {
            vec![scope, endpoints.to_string(), fields.to_string()]
        }),
    );
    print_table(&table)
}

fn endpoints(catalog: &Catalog, listing: &Endpoints) -> Result<(), Failed> {
    let wanted = |endpoint: &&Endpoint| {
        listing
            .containing
            .as_ref()
            .is_none_or(|text| format!("{endpoint} {}", endpoint.operation).contains(text))
    };
    let found: Vec<_> = catalog.endpoints().iter().filter(wanted).collect();
    if let (true, Some(text)) = (found.is_empty(), &listing.containing) {
        return Err(Failed::because(format!(
            "no endpoint has `{text}` in its method, path or operation; `tidegate catalog endpoints` lists them all"
        )));
    }
    if listing.json {
        return print(Value::Array(
            found
                .into_iter()
                .map(|endpoint| as_json(catalog, endpoint))
                .collect(),
        ));
    }
    let mut table = vec![
        ["METHOD", "PATH", "OPERATION", "SCOPES", "ORIGIN", "TOUCHES"]
            .map(str::to_owned)
            .to_vec(),
    ];
    table.extend(found.into_iter().map(|endpoint| {
        vec![
            endpoint.method.to_string(),
            endpoint.template.to_string(),
            endpoint.operation.to_string(),
            needed(catalog, endpoint),
            endpoint.origin.as_str().to_owned(),
            touched(endpoint),
        ]
    }));
    print_table(&table)
}

fn needed(catalog: &Catalog, endpoint: &Endpoint) -> String {
    let set = |set| {
        catalog
            .scopes()
            .names(set)
            .map(Scope::as_str)
            .collect::<Vec<_>>()
            .join(" + ")
    };
    let mut text = endpoint
        .scopes
        .iter()
        .map(set)
        .collect::<Vec<_>>()
        .join(" | ");
    if endpoint.sensitive.is_some() {
        text.push_str(" (by name)");
    }
    text
}

fn touched(endpoint: &Endpoint) -> String {
    if let Some(why) = &endpoint.refused {
        return format!("refused: {why}");
    }
    match &endpoint.touches {
        Touches::Nobody => "nobody's".to_owned(),
        Touches::Unmodelled { reason: None, .. } => "not modelled".to_owned(),
        Touches::Unmodelled {
            reason: Some(reason),
            ..
        } => format!("can't be modelled: {reason}"),
        Touches::These(rules) => {
            let mut touched: Vec<_> = rules.iter().map(ToString::to_string).collect();
            touched.dedup(); // one thing, changed in one way or another
            touched.join(", ")
        }
    }
}

fn as_json(catalog: &Catalog, endpoint: &Endpoint) -> Value {
    let scopes = catalog.scopes();
    let sets: Vec<Vec<_>> = endpoint
        .scopes
        .iter()
        .map(|set| scopes.names(set).map(Scope::to_string).collect())
        .collect();
    let fields: serde_json::Map<_, _> = endpoint
        .fields
        .iter()
        .filter_map(|field| {
            Some((
                field.at.to_string(),
                Value::String(scopes.name(field.scope)?.to_string()),
            ))
        })
        .collect();
    json!({
        "method": endpoint.method.as_str(),
        "path": endpoint.template.to_string(),
        "operation": &*endpoint.operation,
        "section": endpoint.section,
        "scopes": sets,
        "field_scopes": fields,
        "sensitive": endpoint.sensitive,
        "touches": touched(endpoint),
        "refused": endpoint.refused,
        "origin": endpoint.origin.as_str(),
        "note": endpoint.note,
    })
}
