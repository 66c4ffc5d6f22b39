use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;
use serde_json::{Value, json};

use super::rows::table;
use super::{Failed, Outcome, print, say};
use crate::catalog::{BodyMember, Catalog, Endpoint, Origin, Place, Scope};
use crate::rules;
use crate::specification::{self, Change, Difference, FieldChange, Operation, Outline, shape};

#[derive(Args)]
pub(super) struct Arguments {
    /// DigitalOcean's OpenAPI specification, YAML or JSON: as one file, or `specification/DigitalOcean-public.v2.yaml` in a
    /// clone of its repository, whose parts stand beside it.
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
    let newer = outline(&arguments.openapi)?;
    if arguments.outline {
        print(newer)?;
        return Ok(Outcome::Good);
    }
    let catalog = rules::catalog(arguments.extra.as_deref())?;
    let older = builtin_outline()?;
    let differences = specification::compare(&older, &newer)
        .into_iter()
        .filter_map(|difference| news(&catalog, difference))
        .collect();
    let found = DifferenceReport {
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

/// A difference without what the catalogue knows by other ways than the specification: from clients, or from `catalog.extra`.
fn news<'o>(catalog: &Catalog, difference: Difference<'o>) -> Option<Difference<'o>> {
    match difference {
        Difference::Added(operation) => known(catalog, operation)
            .is_none()
            .then_some(Difference::Added(operation)),
        Difference::Removed(operation) => Some(Difference::Removed(operation)),
        Difference::Changed(operation, mut changes) => {
            if let Some(endpoint) = known(catalog, operation) {
                changes.retain(|change| {
                    !added_place(change).is_some_and(|place| knows(endpoint, &place))
                });
            }
            (!changes.is_empty()).then_some(Difference::Changed(operation, changes))
        }
    }
}

/// How a specification's outline and the rows say that a member's keys are anybody's, and how a place can hold that.
const ANY: &str = ".*";
const ANY_QUOTED: &str = ".\"*\"";

/// A place as rows have it.
pub(super) fn as_in_rows(place: &impl ToString) -> String {
    place.to_string().replace(ANY_QUOTED, ANY)
}

/// The place of a request that a change adds.
pub(super) fn added_place(change: &Change) -> Option<Place> {
    match change {
        Change::Body(FieldChange::Added(path) | FieldChange::AddedRequired(path)) => {
            let quoted = path.replace(ANY, ANY_QUOTED);
            quoted.parse().ok().map(Place::Body)
        }
        Change::Query(FieldChange::Added(path) | FieldChange::AddedRequired(path)) => {
            Some(Place::Query(path.clone()))
        }
        Change::Body(_)
        | Change::Query(_)
        | Change::Path(_)
        | Change::Operation(_)
        | Change::Scopes(_)
        | Change::Secret(_)
        | Change::Deprecated
        | Change::NotDeprecated => None,
    }
}

/// The specification as this release knows it.
pub(super) fn builtin_outline() -> Result<Outline, Failed> {
    Outline::builtin()
        .map_err(|line| Failed::because(format!("specification.tsv:{line}: it can't be read")))
}

/// What a specification says, and the files that it refers to.
pub(super) fn outline(openapi: &Path) -> Result<Outline, Failed> {
    let file = openapi.display().to_string();
    let text = fs::read_to_string(openapi)
        .map_err(|error| Failed::because(format!("`{file}` can't be read: {error}")))?;
    let directory = openapi.parent().unwrap_or(Path::new(""));
    specification::read(&file, &text, &|way| beside(directory, way))
        .map_err(|error| Failed::because(format!("`{file}` can't be compared: {error}")))
}

/// Reads a file below a directory. A link that leads out of it is not followed: who wrote the specification must not choose
/// what else is read here.
fn beside(directory: &Path, way: &str) -> io::Result<String> {
    let directory = directory.join(".").canonicalize()?;
    let file = directory.join(way).canonicalize()?;
    if !file.starts_with(&directory) {
        return Err(io::Error::other("it is a link that leads elsewhere"));
    }
    if !file.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    fs::read_to_string(file)
}

/// The endpoint of the catalogue that an operation is.
pub(super) fn known<'c>(catalog: &'c Catalog, operation: &Operation) -> Option<&'c Endpoint> {
    let wanted = shape(&operation.path);
    let same = |endpoint: &&Endpoint| {
        endpoint.method == operation.method && shape(&endpoint.template.to_string()) == wanted
    };
    catalog.endpoints().iter().find(same)
}

/// Whether the catalogue has a place, or takes whatever stands there.
pub(super) fn knows(endpoint: &Endpoint, place: &Place) -> bool {
    match place {
        Place::Body(path) => {
            let goes_by = |known: &BodyMember| {
                let mut keys = path.steps.iter().map(|step| &step.key);
                let begins = known
                    .path
                    .steps
                    .iter()
                    .all(|step| keys.next() == Some(&step.key));
                begins && (known.free || keys.next().is_none())
            };
            endpoint.body.iter().chain(&endpoint.left_out).any(goes_by)
        }
        Place::Query(name) => endpoint.knows_parameter(name.trim_end_matches("[]")),
        Place::Path(_) => true,
    }
}

/// What is different, and what the catalogue has to say to it.
struct DifferenceReport<'f> {
    catalog: &'f Catalog,
    differences: Vec<Difference<'f>>,
}

impl DifferenceReport<'_> {
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
            print(table(self.added()).trim_end())?;
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
        let extra = self.added().next().is_some().then(|| table(self.added()));
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
