use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Unreadable;
use crate::yaml::{self, Mistakes, Node};

/// Reads a file by its way from the directory of the first.
pub type ReadBeside<'b> = &'b dyn Fn(&str) -> io::Result<String>;

/// The files of a specification, as one: every `$ref` in them is written from the first file's directory
/// (`resources/tags/models/tag.yml#/name`), and what stands in the first file itself as `#/components/schemas/tag`.
pub(super) struct SpecificationFiles {
    whole: Value,
    /// By their way from that directory. One that can't be read matters only where it is needed: few of those that show
    /// examples are.
    beside: BTreeMap<String, Result<Value, Arc<Unreadable>>>,
}

impl SpecificationFiles {
    pub(super) fn read(file: &str, text: &str, beside: ReadBeside<'_>) -> Result<Self, Unreadable> {
        let first = file.rsplit('/').next().unwrap_or(file);
        let mut whole = document(file, text)?;
        let mut wanted = Vec::new();
        settle(&mut whole, first, first, &mut wanted);
        let mut parts = Self {
            whole,
            beside: BTreeMap::new(),
        };
        while let Some(name) = wanted.pop() {
            if parts.beside.contains_key(&name) {
                continue;
            }
            if parts.beside.len() >= MOST_FILES {
                return Err(Unreadable::TooMuch);
            }
            let mut read = beside(&name)
                .map_err(Unreadable::File)
                .and_then(|text| document(&name, &text));
            if let Ok(part) = &mut read {
                settle(part, &name, first, &mut wanted);
            }
            parts.beside.insert(name, read.map_err(Arc::new));
        }
        Ok(parts)
    }

    /// The first file.
    pub(super) fn whole(&self) -> &Value {
        &self.whole
    }

    /// What a reference leads to.
    pub(super) fn target(&self, to: &str) -> Result<&Value, Unreadable> {
        let (file, pointer) = to.split_once('#').unwrap_or((to, ""));
        let part = match (file, self.beside.get(file)) {
            ("", _) => &self.whole,
            (_, Some(Ok(part))) => part,
            (_, Some(Err(why))) => {
                return Err(Unreadable::Part(file.to_owned(), Arc::clone(why)));
            }
            (_, None) => return Err(Unreadable::Elsewhere(to.to_owned())),
        };
        part.pointer(pointer)
            .ok_or_else(|| Unreadable::Reference(to.to_owned()))
    }
}

/// Writes each reference of a file from the first file's directory, and tells the files that it leads to. One that leads
/// out of that directory stays as it is, and leads nowhere.
fn settle(value: &mut Value, file: &str, first: &str, wanted: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(to)) = members.get_mut("$ref") {
                let (target, pointer) = to.split_once('#').unwrap_or((to.as_str(), ""));
                let pointer = pointer.trim_end_matches('/');
                if let Some(name) = way(file, target) {
                    let name = if name == first { String::new() } else { name };
                    *to = format!("{name}#{pointer}");
                    if !name.is_empty() {
                        wanted.push(name);
                    }
                }
                return; // what stands beside a reference counts for nothing
            }
            for member in members.values_mut() {
                settle(member, file, first, wanted);
            }
        }
        Value::Array(items) => {
            for item in items {
                settle(item, file, first, wanted);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The way to a file that another names, from the directory of the first; none where it leads out of that.
fn way(from: &str, to: &str) -> Option<String> {
    if to.is_empty() {
        return Some(from.to_owned());
    }
    if to.starts_with('/') || to.contains(['\\', ':', '\0']) {
        return None; // an address, or a path of this machine
    }
    let mut steps: Vec<&str> = from.split('/').collect();
    steps.pop();
    for step in to.split('/') {
        match step {
            "" | "." => {}
            ".." => {
                steps.pop()?;
            }
            step => steps.push(step),
        }
    }
    Some(steps.join("/")).filter(|way| !way.is_empty())
}

fn document(file: &str, text: &str) -> Result<Value, Unreadable> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(Unreadable::Json);
    }
    let mut mistakes = Mistakes::new(file);
    let node = yaml::read(text, &mut mistakes).filter(|_| mistakes.is_empty());
    node.map(value)
        .ok_or_else(|| Unreadable::Yaml(mistakes.into_lines()))
}

fn value(node: Node) -> Value {
    if node.is_null() {
        return Value::Null;
    }
    match node.value {
        yaml::Value::Scalar {
            text,
            quoted: false,
        } if text == "true" => Value::Bool(true),
        yaml::Value::Scalar {
            text,
            quoted: false,
        } if text == "false" => Value::Bool(false),
        yaml::Value::Scalar { text, .. } => Value::String(text), // no number here means anything
        yaml::Value::List(items) => items.into_iter().map(value).collect(),
        yaml::Value::Map(entries) => {
            let members = entries
                .into_iter()
                .map(|entry| (entry.key, value(entry.node)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// Files that one specification may be made of: several times what DigitalOcean's is.
const MOST_FILES: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_is_written_from_the_first_file_and_never_leads_out() {
        let cases = [
            ("spec.yaml", "a/b.yml", Some("a/b.yml")),
            ("a/b/c.yml", "../../shared/x.yml", Some("shared/x.yml")),
            ("a/b/c.yml", "./x.yml", Some("a/b/x.yml")),
            ("a/b/c.yml", "", Some("a/b/c.yml")),
            ("a/b.yml", "../../x.yml", None), // above the first
            ("a/b.yml", "/etc/hosts", None),  // from the root of the machine
            ("a/b.yml", "https://example.com/x", None), // elsewhere
            ("a/b.yml", "C:x.yml", None),
            ("a/b.yml", "..", None), // a directory
        ];
        for (from, to, expected) in cases {
            assert_eq!(way(from, to).as_deref(), expected, "{to:?} in {from:?}");
        }
    }
}
