use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::Value;

use crate::catalog::{Method, UNDECIDED};
use crate::specification::Operation;

/// A whole table for `catalog.extra` with rows for these.
pub(super) fn table<'o>(added: impl Iterator<Item = &'o Operation>) -> String {
    let section = format!(
        "section: Added since tidegate {}",
        env!("CARGO_PKG_VERSION")
    );
    format!("{section}\nendpoints:\n{}", rows(added))
}

/// Rows for `catalog.extra`, in the table's own form. What a person must decide is left so that it can't be loaded.
pub(super) fn rows<'o>(added: impl Iterator<Item = &'o Operation>) -> String {
    let mut text = String::new();
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

/// A row for members that an endpoint has more; of the undecided a person must say why they name nothing.
pub(super) fn members_row(
    endpoint: &str,
    body: &[String],
    query: &[String],
    undecided: &[String],
) -> String {
    let mut text = format!("  {}:\n", scalar(endpoint));
    for (key, members) in [("body", body), ("query", query)] {
        let members: Vec<_> = members.iter().map(|member| scalar(member)).collect();
        if !members.is_empty() {
            let _ = writeln!(text, "    {key}: [{}]", members.join(", "));
        }
    }
    if !undecided.is_empty() {
        text += "    harmless:    # it sounds like the name of something: why it names none; if it does, it can't be added here\n";
        for place in undecided {
            let _ = writeln!(text, "      {}: {UNDECIDED}", scalar(place));
        }
    }
    text
}

/// A table with more rows at the end of what stands under a key; none where that stands between braces. Every line of it stays.
pub(super) fn inserted(table: &str, key: &str, rows: &str) -> Option<String> {
    if rows.is_empty() {
        return Some(table.to_owned());
    }
    let lines: Vec<_> = table.lines().collect();
    let heads = |line: &&str| {
        line.strip_prefix(key)
            .is_some_and(|rest| rest.starts_with(':'))
    };
    let Some(head) = lines.iter().position(heads) else {
        return Some(format!("{}\n{key}:\n{rows}", table.trim_end()));
    };
    let (_, rest) = lines.get(head)?.split_once(':')?;
    if !(rest.trim().is_empty() || rest.trim_start().starts_with('#')) {
        return None;
    }
    let is_inside = |line: &&str| line.starts_with(' ');
    let ends = |line: &&str| !line.is_empty() && !line.starts_with([' ', '#']);
    let (_, after) = lines.split_at(head + 1);
    let block = after.iter().take_while(|line| !ends(line)).count();
    let block = after.get(..block)?;
    let end = head + 1 + block.iter().rposition(is_inside).map_or(0, |last| last + 1);
    let first = block
        .iter()
        .find(|line| is_inside(line) && !line.trim_start().starts_with('#'));
    let indent = first.map_or(2, |line| line.len() - line.trim_start().len());
    let added = rows.lines().map(|row| {
        format!(
            "{}{}",
            " ".repeat(indent),
            row.strip_prefix("  ").unwrap_or(row)
        )
    });
    let kept = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| (*line).to_owned())
            .collect::<Vec<_>>()
    };
    let (before, after) = lines.split_at(end);
    let all: Vec<_> = kept(before)
        .into_iter()
        .chain(added)
        .chain(kept(after))
        .collect();
    Some(all.join("\n") + "\n")
}

fn last(path: &str) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    name.trim_end_matches("[]").to_owned()
}

fn scopes(operation: &Operation) -> String {
    let only_reads = |set: &BTreeSet<String>| set.iter().all(|scope| scope.ends_with(":read"));
    if operation.scopes.is_empty() {
        return format!(
            "{UNDECIDED}    # the specification names none, and nothing is open by default"
        );
    }
    let text = operation
        .scopes_text()
        .replace('+', " + ")
        .replace('|', " | ")
        .replace(char::is_control, " "); // it may stand in a comment, which ends with the line
    if operation.method != Method::Get && operation.scopes.iter().any(only_reads) {
        return format!(
            "{UNDECIDED}    # the specification says {text}, and what changes something needs more than that (or `reads_only: true`)"
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
