use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use crate::catalog::Method;
use crate::specification::Operation;

/// Rows for `catalog.extra`, in the table's own form. What a person must decide is left so that it can't be loaded.
pub(super) fn rows<'o>(added: impl Iterator<Item = &'o Operation>) -> String {
    let mut text = format!(
        "section: Added since tidegate {}\nendpoints:\n",
        env!("CARGO_PKG_VERSION")
    );
    for operation in added {
        let _ = writeln!(text, "  {}:", scalar(&operation.to_string()));
        let _ = writeln!(text, "    operation: {}", scalar(&operation.id));
        let _ = writeln!(text, "    scopes: {}", scopes(operation));
        let query: Vec<_> = operation
            .query
            .paths()
            .into_keys()
            .map(|name| scalar(&name))
            .collect();
        if !query.is_empty() {
            let _ = writeln!(text, "    query: [{}]", query.join(", "));
        }
        let secrets: BTreeSet<_> = operation
            .secrets
            .leaves()
            .iter()
            .map(|path| last(path))
            .collect();
        if !secrets.is_empty() {
            let why = format!(
                "its answer has {}",
                secrets.into_iter().collect::<Vec<_>>().join(", ")
            );
            let _ = writeln!(
                text,
                "    sensitive: {}    # no wildcard covers it; remove if it hands out nothing",
                quoted(&why)
            );
        }
    }
    text
}

fn last(path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    name.trim_end_matches("[]").to_owned()
}

fn scopes(operation: &Operation) -> String {
    let only_reads = |set: &BTreeSet<String>| set.iter().all(|scope| scope.ends_with(":read"));
    if operation.scopes.is_empty() {
        return "FILL_IN    # the specification names none, and nothing is open by default"
            .to_owned();
    }
    let text = operation
        .scopes_text()
        .replace('+', " + ")
        .replace('|', " | ")
        .replace(char::is_control, " "); // it may stand in a comment, which ends with the line
    if operation.method != Method::Get && operation.scopes.iter().any(only_reads) {
        return format!(
            "FILL_IN    # the specification says {text}, and what changes something needs more than that (or `reads_only: true`)"
        );
    }
    scalar(&text)
}

/// As it is where that can't be read otherwise, else in quotes.
fn scalar(text: &str) -> String {
    let plain = |sign: char| sign.is_ascii_alphanumeric() || "_-./:+| ".contains(sign);
    let begins = text.starts_with(|sign: char| sign.is_ascii_alphabetic());
    let braces_in_a_path = |sign: char| text.contains(" /") && "{}".contains(sign);
    if begins
        && !text.contains(": ")
        && !text.ends_with(':')
        && text
            .chars()
            .all(|sign| plain(sign) || braces_in_a_path(sign))
    {
        return text.to_owned();
    }
    quoted(text)
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
