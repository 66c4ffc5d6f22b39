//! What was let through and what was refused in a run, by its record.

use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use super::SummaryForm;
use crate::audit::Kept;
use crate::catalog::Catalog;
use crate::cli::{counted, say};
use crate::operate::Remedy;
use crate::policy::Grants;

/// It, counted.
#[derive(Debug, Default)]
pub(super) struct Summary {
    allowed: u64,
    refused: u64,
    refusals: Vec<RefusedCalls>,
}

/// Refusals of one request for one reason.
#[derive(Debug)]
struct RefusedCalls {
    method: String,
    path: String,
    endpoint: Option<String>,
    reason: String,
    detail: Option<String>,
    needs: Vec<String>,
    suggestion: Option<String>,
    count: u64,
}

/// How many different refusals are told one by one.
const MOST: usize = 100;

impl Summary {
    /// Reads it from a record.
    pub fn of(record: &Kept, grants: &Grants, catalog: &Catalog) -> Self {
        let mut summary = Self::default();
        lines_of(record).for_each(|line| summary.take(&line, grants, catalog));
        summary
    }

    fn take(&mut self, line: &Value, grants: &Grants, catalog: &Catalog) {
        let text = |name: &str| line.get(name).and_then(Value::as_str);
        match (text("event"), text("decision")) {
            (Some("answer"), Some("allow")) => self.allowed += 1,
            (Some("answer"), Some("deny")) => {
                self.refused += 1;
                let own = |name| text(name).unwrap_or_default().to_owned();
                let (method, path, reason) = (own("method"), own("path"), own("reason"));
                let known = self.refusals.iter_mut().find(|refusal| {
                    (&refusal.method, &refusal.path, &refusal.reason) == (&method, &path, &reason)
                });
                if let Some(refusal) = known {
                    refusal.count += 1;
                    return;
                }
                if self.refusals.len() == MOST {
                    return;
                }
                let Remedy { needs, suggestion } = Remedy::of(line, grants, catalog);
                self.refusals.push(RefusedCalls {
                    endpoint: text("endpoint").map(str::to_owned),
                    detail: text("detail").map(str::to_owned),
                    method,
                    path,
                    reason,
                    needs,
                    suggestion,
                    count: 1,
                });
            }
            _ => {}
        }
    }

    /// Tells it on standard error.
    pub fn tell(&self, form: SummaryForm) {
        match form {
            SummaryForm::None => {}
            SummaryForm::Json => say(self.as_json()),
            SummaryForm::Text => self.as_text().iter().for_each(say),
        }
    }

    fn as_json(&self) -> Value {
        let refusals = self.refusals.iter().map(|refusal| {
            let RefusedCalls {
                method,
                path,
                endpoint,
                reason,
                detail,
                needs,
                suggestion,
                count,
            } = refusal;
            json!({
                "method": method, "path": path, "endpoint": endpoint, "reason": reason, "detail": detail,
                "needs": needs, "suggestion": suggestion, "count": count,
            })
        });
        json!({ "allowed": self.allowed, "refused": self.refused, "refusals": refusals.collect::<Value>() })
    }

    fn as_text(&self) -> Vec<String> {
        let calls = usize::try_from(self.allowed).unwrap_or(usize::MAX);
        let mut lines = vec![format!(
            "tidegate exec: {} let through, {} refused",
            counted(calls, "call"),
            self.refused
        )];
        for refusal in &self.refusals {
            let times = match refusal.count {
                1 => String::new(),
                count => format!(", {count} times"),
            };
            let why = match refusal.needs.as_slice() {
                [] => refusal.reason.clone(),
                needs => format!("{}, needs {}", refusal.reason, needs.join(" and ")),
            };
            let what = match refusal.method.as_str() {
                "" => "a request without the sub-token of this run".to_owned(),
                method => format!("{method} {}", refusal.path),
            };
            lines.push(format!("  {what}: {why}{times}"));
            match (&refusal.suggestion, &refusal.detail) {
                (Some(yaml), _) => {
                    lines.push("    this in a role would allow it:".to_owned());
                    lines.extend(yaml.lines().map(|line| format!("      {line}")));
                }
                (None, Some(detail)) => lines.push(format!("    {detail}")),
                (None, None) => {}
            }
        }
        let told: u64 = self.refusals.iter().map(|refusal| refusal.count).sum();
        if told < self.refused {
            lines.push(format!("  and {} more", self.refused - told));
        }
        lines
    }
}

/// The lines of a record, one by one.
pub(super) fn lines_of(record: &Kept) -> impl Iterator<Item = Value> + use<> {
    let lines = BufReader::new(record.read()).split(b'\n');
    lines
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_slice(&line).ok())
}
