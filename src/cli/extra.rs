use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::rows::{inserted, members_row, rows};
use super::{Failed, Outcome, catalog_diff, counted, say};
use crate::catalog::{Addition, Catalog, Endpoint, Place, addition};
use crate::rules;
use crate::specification::{self, Change, Difference, Operation, Outline};
use crate::yaml::{self, Mistakes};

#[derive(Args)]
pub(super) struct Arguments {
    /// DigitalOcean's OpenAPI specification, YAML or JSON: as one file, or `specification/DigitalOcean-public.v2.yaml` in a
    /// clone of its repository.
    #[arg(long, value_name = "OPENAPI")]
    from: PathBuf,
    /// Your `catalog.extra`: it stays as it is, and what it lacks is added.
    #[arg(long, value_name = "FILE")]
    extra: Option<PathBuf>,
    /// Write it there instead of printing it; that may be the file of `--extra`.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    match written(arguments) {
        Err(Failed(lines)) => {
            lines.iter().for_each(say);
            Ok(Outcome::Unknown)
        }
        outcome => outcome,
    }
}

fn written(arguments: &Arguments) -> Result<Outcome, Failed> {
    let newer = catalog_diff::outline(&arguments.from)?;
    let older = catalog_diff::builtin_outline()?;
    let extra = arguments.extra.as_deref();
    let catalog = rules::catalog(extra)?;
    let before = match extra {
        Some(path) => fs::read_to_string(path).map_err(|error| {
            Failed::because(format!("`{}` can't be read: {error}", path.display()))
        })?,
        None => String::new(),
    };
    let lacking = Lacking::of(&catalog, &older, &newer, &before);
    let text = lacking.added_to(before, arguments)?;
    match &arguments.out {
        Some(path) => fs::write(path, &text).map_err(|error| {
            Failed::because(format!("`{}` can't be written: {error}", path.display()))
        })?,
        None => io::stdout().lock().write_all(text.as_bytes())?,
    }
    let name = arguments.out.as_ref().or(arguments.extra.as_ref());
    let name = name.map_or_else(
        || "extra.yaml".to_owned(),
        |path| path.display().to_string(),
    );
    Ok(lacking.told(&name, &text))
}

/// What the specification has and the catalogue lacks.
#[derive(Default)]
struct Lacking<'l> {
    endpoints: Vec<&'l Operation>,
    /// Rows for members of endpoints that the catalogue has.
    members: Vec<String>,
    /// What no row can say, and why.
    left: Vec<String>,
}

impl<'l> Lacking<'l> {
    fn of(catalog: &'l Catalog, older: &'l Outline, newer: &'l Outline, extra: &str) -> Self {
        let mut lacking = Self::default();
        let taken = keys_of_members(extra);
        for difference in specification::compare(older, newer) {
            match difference {
                Difference::Added(operation)
                    if catalog_diff::known(catalog, operation).is_none() =>
                {
                    lacking.endpoints.push(operation);
                }
                Difference::Changed(operation, changes) => {
                    if let Some(endpoint) = catalog_diff::known(catalog, operation) {
                        lacking.members_of(endpoint, &changes, &taken);
                    }
                }
                Difference::Added(_) | Difference::Removed(_) => {}
            }
        }
        lacking
    }

    fn members_of(&mut self, endpoint: &Endpoint, changes: &[Change], taken: &BTreeSet<String>) {
        let (mut body, mut query, mut undecided) = (Vec::new(), Vec::new(), Vec::new());
        for place in new_places(changes) {
            if catalog_diff::knows(endpoint, &place) {
                continue;
            }
            match addition(endpoint, &place) {
                Addition::Never(why) => {
                    let place = catalog_diff::as_in_rows(&place);
                    self.left.push(format!("{endpoint}: `{place}`: {why}"));
                    continue;
                }
                Addition::WithReason => undecided.push(catalog_diff::as_in_rows(&place)),
                Addition::Free => {}
            }
            match place {
                Place::Body(path) => body.push(catalog_diff::as_in_rows(&path)),
                Place::Query(name) | Place::Path(name) => query.push(name),
            }
        }
        if body.is_empty() && query.is_empty() {
            return;
        }
        let key = endpoint.to_string();
        if taken.contains(&key) {
            let places = [body, query].concat().join("`, `");
            self.left.push(format!(
                "{key}: it has a row under `members` already, which lacks `{places}`"
            ));
        } else {
            self.members
                .push(members_row(&key, &body, &query, &undecided));
        }
    }

    fn is_empty(&self) -> bool {
        self.endpoints.is_empty() && self.members.is_empty()
    }

    /// A file with what it lacked, and all that it had.
    fn added_to(&self, before: String, arguments: &Arguments) -> Result<String, Failed> {
        if self.is_empty() {
            return Ok(before);
        }
        let mut text = before;
        if text.trim().is_empty() {
            text = format!("{HEAD}\n");
        }
        if !self.endpoints.is_empty() && !text.lines().any(|line| line.starts_with("section:")) {
            text = format!(
                "{}\nsection: Added since tidegate {}\n",
                text.trim_end(),
                env!("CARGO_PKG_VERSION")
            );
        }
        let endpoints = rows(self.endpoints.iter().copied());
        let members = self.members.concat();
        let both = inserted(&text, "endpoints", &endpoints)
            .and_then(|text| inserted(&text, "members", &members));
        both.ok_or_else(|| {
            let file = arguments.extra.as_deref().unwrap_or(&arguments.from);
            Failed::because(format!(
                "`{}`: rows can't be added between braces; write `endpoints:` and `members:` with a row a line, as config/extra-endpoints.yaml does",
                file.display()
            ))
        })
    }

    /// Says what was added and what a person must decide.
    fn told(&self, name: &str, text: &str) -> Outcome {
        let mut undecided: Vec<_> = match Catalog::with_extra(Some((name, text))) {
            _ if text.trim().is_empty() => Vec::new(),
            Ok(_) => Vec::new(),
            Err(files) => files.into_iter().flat_map(Mistakes::into_lines).collect(),
        };
        undecided.extend(self.left.iter().cloned());
        let added = match (self.endpoints.len(), self.members.len()) {
            (0, 0) => "nothing to add".to_owned(),
            (endpoints, 0) => format!("added {}", counted(endpoints, "endpoint")),
            (0, known) => format!("added members of {}", counted(known, "endpoint")),
            (endpoints, known) => format!(
                "added {}, and members of {known} that tidegate knows",
                counted(endpoints, "endpoint")
            ),
        };
        if undecided.is_empty() {
            say(added);
            return Outcome::Good;
        }
        say(format!("{added}; a person must decide:"));
        undecided.iter().for_each(say);
        Outcome::Bad
    }
}

/// The places that a specification has more, without those that only lead to others.
fn new_places(changes: &[Change]) -> Vec<Place> {
    let places: Vec<_> = changes
        .iter()
        .filter_map(catalog_diff::added_place)
        .collect();
    let texts: Vec<_> = places.iter().map(|place| format!("{place}.")).collect();
    let leads_on = |place: &Place| {
        let within = format!("{place}.");
        texts
            .iter()
            .any(|text| *text != within && text.starts_with(&within))
    };
    places
        .iter()
        .filter(|place| !leads_on(place))
        .cloned()
        .collect()
}

/// The endpoints to which a file gives members.
fn keys_of_members(extra: &str) -> BTreeSet<String> {
    let mut mistakes = Mistakes::new("extra");
    let Some(root) = yaml::read(extra, &mut mistakes) else {
        return BTreeSet::new();
    };
    let yaml::Value::Map(entries) = &root.value else {
        return BTreeSet::new();
    };
    let members = entries.iter().filter(|entry| entry.key == "members");
    members
        .flat_map(|entry| entry.node.entries("`members`", &mut mistakes))
        .map(|entry| entry.key.clone())
        .collect()
}

const HEAD: &str = "\
# What DigitalOcean's specification has and this release of tidegate lacks, by `tidegate catalog extra`; for `catalog.extra`.
# `FILL_IN` is for a person: until it is gone, the file is refused. What a new endpoint touches is not known: a grant with an
# `only` does not cover it, unless its row says `touches: nobody` (what it answers belongs to nobody). Members are taken as they
# are, and nothing is looked up for them.";
