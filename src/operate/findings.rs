use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use crate::config::Problem;
use crate::yaml::At;

/// How bad something is that was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Severity {
    /// It holds, but not as somebody may think.
    Warning,
    /// It keeps the files from being used.
    Error,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was found in a file: what, why, and what to write instead.
#[derive(Debug)]
pub(crate) struct Finding {
    file: String,
    at: At,
    severity: Severity,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, at, severity) = (&self.file, self.at, self.severity.as_str());
        write!(f, "{file}:{at}: {severity}: {}", self.what)
    }
}

/// All that was found, in the order in which it was.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<Finding>);

impl Findings {
    /// Adds what is wider than it looks, does nothing, or ends soon.
    pub(crate) fn warn(&mut self, file: &Path, at: At, what: impl Into<String>) {
        self.add(file, at, Severity::Warning, what.into());
    }

    /// Adds what is wrong.
    pub(crate) fn fail(&mut self, file: &Path, at: At, what: impl Into<String>) {
        self.add(file, at, Severity::Error, what.into());
    }

    /// Adds what kept files from being read.
    pub(crate) fn problems(&mut self, problems: Vec<Problem>) {
        for Problem { file, at, what } in problems {
            self.add(Path::new(&file), at, Severity::Error, what);
        }
    }

    fn add(&mut self, file: &Path, at: At, severity: Severity, what: String) {
        self.0.push(Finding {
            file: file.display().to_string(),
            at,
            severity,
            what,
        });
    }

    /// Each of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter()
    }

    /// How many there are of one severity.
    pub(crate) fn count(&self, severity: Severity) -> usize {
        let same = |finding: &&Finding| finding.severity == severity;
        self.0.iter().filter(same).count()
    }

    /// For programs.
    pub(crate) fn as_json(&self) -> Value {
        let one = |finding: &Finding| {
            json!({
                "file": finding.file,
                "line": finding.at.line,
                "column": finding.at.column,
                "severity": finding.severity.as_str(),
                "what": finding.what,
            })
        };
        self.0.iter().map(one).collect()
    }
}
