//! What DigitalOcean's OpenAPI specification says, cut down to what a gate goes by: to tell what changed since this release.
//!
//! The catalogue differs from the specification where that is wrong, so the two can't be compared. This room therefore keeps
//! an outline of the specification as it was when the catalogue was last held against it (`catalog/data/specification.tsv`,
//! printed by `tidegate catalog diff --outline`), and compares outlines: what both say alike is no difference, however the
//! catalogue has it. It judges no request.

mod compare;
mod members;
mod openapi;
mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::catalog::Method;

pub use compare::{Change, Difference, FieldChange, compare};
pub use members::{MemberTree, NoMembers};
pub use openapi::{Unreadable, read};
pub use parts::ReadBeside;

/// The operations of a specification.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outline {
    /// By method and path, where a path's parameters have no names: those may change.
    operations: BTreeMap<(String, Method), Operation>,
}

/// One operation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation {
    /// Its method.
    pub method: Method,
    /// Its path, as the specification writes it.
    pub path: String,
    /// Its `operationId`.
    pub id: String,
    /// The sets of scopes of which one is asked for; none if the specification names no scope.
    pub scopes: Vec<BTreeSet<String>>,
    /// The parameters of its query.
    pub query: MemberTree,
    /// The members of its body.
    pub body: MemberTree,
    /// The members of its answer whose names sound like secrets.
    pub secrets: MemberTree,
    /// Whether it is to go away.
    pub deprecated: bool,
}

impl Operation {
    /// Its scopes: `a:read+b:read|c:read`.
    pub fn scopes_text(&self) -> String {
        let set =
            |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join("+");
        self.scopes.iter().map(set).collect::<Vec<_>>().join("|")
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl Outline {
    /// The specification when this release was made.
    ///
    /// # Errors
    /// The number of the line that can't be read; a test keeps this from happening in a release.
    pub fn builtin() -> Result<Self, usize> {
        Self::parse(include_str!("../catalog/data/specification.tsv"))
    }

    /// Reads what was printed.
    ///
    /// # Errors
    /// The number of the first line that can't be read, from 1.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut outline = Self::default();
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| *line != HEADING)
        {
            outline.add(operation(line).ok_or(index + 1)?);
        }
        Ok(outline)
    }

    fn add(&mut self, operation: Operation) {
        let place = (shape(&operation.path), operation.method);
        self.operations.insert(place, operation);
    }

    /// All operations, by path.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.values()
    }
}

/// A heading, and a line for each operation, its parts parted by tabs.
impl fmt::Display for Outline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADING)?;
        for operation in self.operations() {
            let Operation {
                method,
                path,
                id,
                scopes: _,
                query,
                body,
                secrets,
                deprecated,
            } = operation;
            let (scopes, mark) = (
                operation.scopes_text(),
                if *deprecated { "deprecated" } else { "" },
            );
            write!(
                f,
                "\n{method}\t{path}\t{scopes}\t{query}\t{body}\t{secrets}\t{mark}\t{id}"
            )?;
        }
        Ok(())
    }
}

fn operation(line: &str) -> Option<Operation> {
    let parts: Vec<_> = line.split('\t').collect();
    let [method, path, scopes, query, body, secrets, mark, id] = parts.as_slice() else {
        return None;
    };
    let set = |set: &str| {
        set.split('+')
            .filter(|scope| !scope.is_empty())
            .map(str::to_owned)
            .collect()
    };
    Some(Operation {
        method: method.parse().ok()?,
        path: (*path).to_owned(),
        id: (*id).to_owned(),
        scopes: scopes
            .split('|')
            .map(set)
            .filter(|set: &BTreeSet<_>| !set.is_empty())
            .collect(),
        query: query.parse().ok()?,
        body: body.parse().ok()?,
        secrets: secrets.parse().ok()?,
        deprecated: match *mark {
            "" => false,
            "deprecated" => true,
            _ => return None,
        },
    })
}

/// A path without the names of its parameters.
pub fn shape(path: &str) -> String {
    let nameless = |segment: &str| {
        if segment.starts_with('{') {
            "{}".to_owned()
        } else {
            segment.to_owned()
        }
    };
    path.split('/').map(nameless).collect::<Vec<_>>().join("/")
}

const HEADING: &str = "method\tpath\tscopes\tquery\tbody\tsecrets\tdeprecated\toperation";

#[cfg(test)]
mod tests;
