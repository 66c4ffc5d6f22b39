use std::fmt;

use super::{MemberTree, Operation, Outline};

/// What two specifications say differently.
#[derive(Debug, Eq, PartialEq)]
pub enum Difference<'o> {
    /// The newer has an operation more.
    Added(&'o Operation),
    /// The newer has it no more.
    Removed(&'o Operation),
    /// The newer has it otherwise.
    Changed(&'o Operation, Vec<Change>),
}

/// How an operation is otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// Parameters of its path have other names; the earlier path.
    Path(String),
    /// It has another `operationId`; the earlier one.
    Operation(String),
    /// It asks for other scopes; the earlier ones.
    Scopes(String),
    /// A parameter of its query.
    Query(FieldChange),
    /// A member of its body.
    Body(FieldChange),
    /// A new member of its answer that sounds like a secret.
    Secret(String),
    /// It is to go away.
    Deprecated,
    /// It is not to go away any more.
    NotDeprecated,
}

/// How a field of a request is otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FieldChange {
    /// It is new.
    Added(String),
    /// It is new, and must be given.
    AddedRequired(String),
    /// It is gone.
    Removed(String),
    /// It must be given now.
    Required(String),
    /// It need not be given any more.
    Optional(String),
}

impl FieldChange {
    /// The way to the field.
    pub fn path(&self) -> &str {
        match self {
            Self::Added(path)
            | Self::AddedRequired(path)
            | Self::Removed(path)
            | Self::Required(path)
            | Self::Optional(path) => path,
        }
    }

    /// What happened to it, in a word.
    pub fn what(&self) -> &'static str {
        match self {
            Self::Added(_) => "added",
            Self::AddedRequired(_) => "added_required",
            Self::Removed(_) => "removed",
            Self::Required(_) => "required",
            Self::Optional(_) => "optional",
        }
    }
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self {
            Self::Added(_) => "is new",
            Self::AddedRequired(_) => "is new and required",
            Self::Removed(_) => "is gone",
            Self::Required(_) => "is required now",
            Self::Optional(_) => "is optional now",
        };
        write!(f, "`{}` {what}", self.path())
    }
}

/// What `newer` says differently than `older`, by path.
pub fn compare<'o>(older: &'o Outline, newer: &'o Outline) -> Vec<Difference<'o>> {
    let mut differences = Vec::new();
    for (place, operation) in &newer.operations {
        match older.operations.get(place) {
            None => differences.push(Difference::Added(operation)),
            Some(before) => {
                let changes = changes(before, operation);
                if !changes.is_empty() {
                    differences.push(Difference::Changed(operation, changes));
                }
            }
        }
    }
    let gone = older
        .operations
        .iter()
        .filter(|(place, _)| !newer.operations.contains_key(*place));
    differences.extend(gone.map(|(_, operation)| Difference::Removed(operation)));
    differences
}

fn changes(before: &Operation, now: &Operation) -> Vec<Change> {
    let mut found = Vec::new();
    if before.path != now.path {
        found.push(Change::Path(before.path.clone()));
    }
    if before.id != now.id {
        found.push(Change::Operation(before.id.clone()));
    }
    if before.scopes != now.scopes {
        found.push(Change::Scopes(before.scopes_text()));
    }
    found.extend(
        fields(&before.query, &now.query)
            .into_iter()
            .map(Change::Query),
    );
    found.extend(
        fields(&before.body, &now.body)
            .into_iter()
            .map(Change::Body),
    );
    let known = before.secrets.paths();
    let secrets = now
        .secrets
        .leaves()
        .into_iter()
        .filter(|path| !known.contains_key(path));
    found.extend(secrets.map(Change::Secret));
    match (before.deprecated, now.deprecated) {
        (false, true) => found.push(Change::Deprecated),
        (true, false) => found.push(Change::NotDeprecated),
        (true, true) | (false, false) => {}
    }
    found
}

fn fields(before: &MemberTree, now: &MemberTree) -> Vec<FieldChange> {
    let (before, now) = (before.paths(), now.paths());
    let mut found = Vec::new();
    for (path, required) in &now {
        match (before.get(path), required) {
            (None, false) => found.push(FieldChange::Added(path.clone())),
            (None, true) => found.push(FieldChange::AddedRequired(path.clone())),
            (Some(false), true) => found.push(FieldChange::Required(path.clone())),
            (Some(true), false) => found.push(FieldChange::Optional(path.clone())),
            (Some(true), true) | (Some(false), false) => {}
        }
    }
    let gone = before.into_keys().filter(|path| !now.contains_key(path));
    found.extend(gone.map(FieldChange::Removed));
    found
}
