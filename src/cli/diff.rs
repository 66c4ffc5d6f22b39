use std::fs;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::rows::rows;
use super::{Failed, Outcome, print, say};
use crate::catalog::{Catalog, Endpoint, Origin, Scope};
use crate::rules;
use crate::specification::{self, Change, Difference, FieldChange, Operation, Outline, shape};

#[derive(Args)]
pub(super) struct Arguments {
    /// DigitalOcean's OpenAPI specification, YAML or JSON: `DigitalOcean-public.v2.yaml`.
    openapi: PathBuf,
    /// Your `catalog.extra`: what it has counts as known.
    #[arg(long, value_name = "FILE")]
    extra: Option<PathBuf>,
    /// Tell also where tidegate differs from the specification on purpose.
    #[arg(long)]
    verbose: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print the outline of the file, in the form of `src/catalog/data/specification.tsv`, and compare nothing.
    #[arg(long, conflicts_with_all = ["json", "verbose", "extra"])]
    outline: bool,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    match compared(arguments) {
        Err(Failed(lines)) => {
            lines.iter().for_each(say);
            Ok(Outcome::Unknown)
        }
        outcome => outcome,
    }
}

fn compared(arguments: &Arguments) -> Result<Outcome, Failed> {
    let file = arguments.openapi.display().to_string();
    let text = fs::read_to_string(&arguments.openapi)
        .map_err(|error| Failed::because(format!("`{file}` can't be read: {error}")))?;
    let newer = specification::read(&file, &text)
        .map_err(|error| Failed::because(format!("`{file}` can't be compared: {error}")))?;
    if arguments.outline {
        print(newer)?;
        return Ok(Outcome::Good);
    }
    let catalog = rules::catalog(arguments.extra.as_deref())?;
    let older = Outline::builtin()
        .map_err(|line| Failed::because(format!("specification.tsv:{line}: it can't be read")))?;
    let mut differences = specification::compare(&older, &newer);
    differences.retain(|difference| {
        !matches!(difference, Difference::Added(operation) if known(&catalog, operation).is_some())
    });
    let found = Found {
        catalog: &catalog,
        differences,
    };
    if arguments.json {
        print(found.as_json())?;
    } else {
        found.tell(newer.operations().count(), arguments.verbose)?;
    }
    Ok(if found.differences.is_empty() {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

fn known<'c>(catalog: &'c Catalog, operation: &Operation) -> Option<&'c Endpoint> {
    let wanted = shape(&operation.path);
    let same = |endpoint: &&Endpoint| {
        endpoint.method == operation.method && shape(&endpoint.template.to_string()) == wanted
    };
    catalog.endpoints().iter().find(same)
}

/// What is different, and what the catalogue has to say to it.
struct Found<'f> {
    catalog: &'f Catalog,
    differences: Vec<Difference<'f>>,
}

impl Found<'_> {
    fn added(&self) -> impl Iterator<Item = &Operation> {
        self.differences
            .iter()
            .filter_map(|difference| match difference {
                Difference::Added(operation) => Some(*operation),
                Difference::Removed(_) | Difference::Changed(..) => None,
            })
    }

    fn removed(&self) -> impl Iterator<Item = &Operation> {
        self.differences
            .iter()
            .filter_map(|difference| match difference {
                Difference::Removed(operation) => Some(*operation),
                Difference::Added(_) | Difference::Changed(..) => None,
            })
    }

    fn changed(&self) -> impl Iterator<Item = (&Operation, &[Change])> {
        self.differences
            .iter()
            .filter_map(|difference| match difference {
                Difference::Changed(operation, changes) => Some((*operation, changes.as_slice())),
                Difference::Added(_) | Difference::Removed(_) => None,
            })
    }

    fn tell(&self, endpoints: usize, verbose: bool) -> Result<(), Failed> {
        let (added, removed, changed) = (
            self.added().count(),
            self.removed().count(),
            self.changed().count(),
        );
        print(match self.differences.as_slice() {
            [] => format!("nothing to do: {endpoints} endpoints, as this release knows them"),
            _ => format!(
                "{added} added, {removed} removed, {changed} changed of {endpoints} endpoints"
            ),
        })?;
        if removed > 0 {
            print("\nremoved (a request for one is let through as before; the API answers 404):")?;
        }
        for operation in self.removed() {
            print(format!("  {operation}  {}", operation.id))?;
        }
        if changed > 0 {
            print("\nchanged (tidegate goes by what it knew; an update of it may know more):")?;
        }
        for (operation, changes) in self.changed() {
            print(format!("  {operation}  {}", operation.id))?;
            for change in changes {
                print(format!("    {}", self.told(operation, change)))?;
            }
        }
        if verbose {
            self.tell_what_differs_on_purpose()?;
        }
        if added > 0 {
            print(
                "\nadded (refused until `catalog.extra` has them; look each row over before you put it there):\n",
            )?;
            print(rows(self.added()).trim_end())?;
        }
        Ok(())
    }

    fn tell_what_differs_on_purpose(&self) -> Result<(), Failed> {
        print("\ndifferent from the specification on purpose:")?;
        for endpoint in self.catalog.endpoints() {
            if let (Some(note), Origin::Correction) = (&endpoint.note, endpoint.origin) {
                print(format!(
                    "  {endpoint}  asks for {}: {note}",
                    self.asked(endpoint)
                ))?;
            }
        }
        Ok(())
    }

    fn told(&self, operation: &Operation, change: &Change) -> String {
        match change {
            Change::Path(before) => format!("path: was `{before}`"),
            Change::Operation(before) => format!("operation: was `{before}`"),
            Change::Scopes(before) => {
                format!(
                    "scopes: were `{}`, are `{}`{}",
                    named(before),
                    named(&operation.scopes_text()),
                    self.asked_here(operation)
                )
            }
            Change::Query(field) => format!(
                "query: {field}{}",
                self.inspected(operation, "query", field)
            ),
            Change::Body(field) => {
                format!("body: {field}{}", self.inspected(operation, "body", field))
            }
            Change::Secret(path) => format!("answer: `{path}` is new and sounds like a secret"),
            Change::Deprecated => "it is deprecated now".to_owned(),
            Change::NotDeprecated => "it is not deprecated any more".to_owned(),
        }
    }

    /// What the catalogue asks for, where the specification has changed its mind.
    fn asked_here(&self, operation: &Operation) -> String {
        let Some(endpoint) = known(self.catalog, operation) else {
            return String::new();
        };
        let asked = self.asked(endpoint);
        if asked == operation.scopes_text() {
            return "; tidegate asks for that already".to_owned();
        }
        let note = endpoint
            .note
            .as_ref()
            .map(|note| format!(" ({note})"))
            .unwrap_or_default();
        format!("; tidegate asks for `{asked}`{note}")
    }

    fn asked(&self, endpoint: &Endpoint) -> String {
        let set = |set| {
            let mut names: Vec<_> = self
                .catalog
                .scopes()
                .names(set)
                .map(Scope::as_str)
                .collect();
            names.sort_unstable();
            names.join("+")
        };
        endpoint
            .scopes
            .iter()
            .map(set)
            .collect::<Vec<_>>()
            .join("|")
    }

    fn inspected(&self, operation: &Operation, part: &str, field: &FieldChange) -> &'static str {
        let place = format!("{part}.{}", field.path());
        let bare = |place: &str| place.replace("[]", "");
        let inspects = known(self.catalog, operation).is_some_and(|endpoint| {
            endpoint
                .inspected()
                .any(|known| bare(&known.to_string()) == bare(&place))
        });
        if inspects {
            "; tidegate decides by it"
        } else {
            ""
        }
    }

    fn as_json(&self) -> Value {
        let changed = self.changed().map(|(operation, changes)| {
            let mut said = described(operation);
            if let Value::Object(members) = &mut said {
                let changes = changes.iter().map(|change| self.change(operation, change));
                members.insert("changes".to_owned(), changes.collect());
            }
            said
        });
        let extra = self.added().next().is_some().then(|| rows(self.added()));
        json!({
            "added": self.added().map(described).collect::<Vec<_>>(),
            "removed": self.removed().map(described).collect::<Vec<_>>(),
            "changed": changed.collect::<Vec<_>>(),
            "extra": extra,
        })
    }

    fn change(&self, operation: &Operation, change: &Change) -> Value {
        let field = |part: &str, field: &FieldChange| {
            let decides = !self.inspected(operation, part, field).is_empty();
            json!({ "what": part, "field": field.path(), "change": field.what(), "decides": decides })
        };
        match change {
            Change::Path(before) => json!({ "what": "path", "before": before }),
            Change::Operation(before) => json!({ "what": "operation", "before": before }),
            Change::Scopes(before) => {
                let asked = known(self.catalog, operation).map(|endpoint| self.asked(endpoint));
                json!({ "what": "scopes", "before": before, "now": operation.scopes_text(), "tidegate": asked })
            }
            Change::Query(change) => field("query", change),
            Change::Body(change) => field("body", change),
            Change::Secret(path) => {
                json!({ "what": "answer", "field": path, "change": "sounds_secret" })
            }
            Change::Deprecated => json!({ "what": "deprecated", "now": true }),
            Change::NotDeprecated => json!({ "what": "deprecated", "now": false }),
        }
    }
}

fn named(scopes: &str) -> &str {
    if scopes.is_empty() { "none" } else { scopes }
}

fn described(operation: &Operation) -> Value {
    json!({
        "method": operation.method.as_str(),
        "path": operation.path,
        "operation": operation.id,
        "scopes": operation.scopes,
    })
}
