use regex::Regex;

use super::pattern::Text;
use crate::catalog::{Catalog, Kind, KindId, SHARED};
use crate::yaml::{Entry, Mistakes, Node, Value, nearest};

/// The resources that a grant is narrowed to.
#[derive(Debug)]
pub struct Only {
    /// Kinds and what is asked of their resources.
    pub kinds: Vec<(KindId, Selector)>,
    /// `tag`, `project` and `region`, asked of every resource whatever its kind.
    pub attributes: Vec<(String, Vec<ValuePattern>)>,
}

/// What is asked of the resources of a kind.
#[derive(Debug)]
pub enum Selector {
    /// Nothing.
    Any,
    /// All of these attributes must match, each by one of its values.
    Attributes(Vec<(String, Vec<ValuePattern>)>),
}

/// One value of an attribute.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ValuePattern {
    /// Exactly this.
    Exact(Text),
    /// With `*` for any characters and `?` for one.
    Glob(Text),
    /// A regular expression that matches the whole.
    Regex(Text),
}

/// Reads `only`, given the role's variables.
pub(super) fn read(
    node: &Node,
    vars: &[String],
    catalog: &Catalog,
    mistakes: &mut Mistakes,
) -> Only {
    let mut only = Only {
        kinds: Vec::new(),
        attributes: Vec::new(),
    };
    let before = mistakes.count();
    for entry in node.entries("`only`", mistakes) {
        let shared = SHARED.contains(&entry.key.as_str());
        match (shared, &entry.node.value, catalog.kinds().find(&entry.key)) {
            (true, Value::Scalar { text, .. }, _) if text == "any" => {
                let instead = "write the tags, projects or regions meant; what is not narrowed needs no `only`";
                mistakes.add(
                    entry.node.at,
                    format!("`{}: any` would narrow nothing; {instead}", entry.key),
                );
            }
            (true, Value::Scalar { .. } | Value::List(_), _) => {
                only.attributes
                    .push((entry.key.clone(), values(&entry.node, vars, mistakes)));
            }
            (_, _, Some(kind)) => {
                let selector = selector(entry, kind, vars, catalog, mistakes);
                only.kinds.push((kind.id, selector));
            }
            (_, _, None) => unknown(entry, mistakes),
        }
    }
    if only.kinds.is_empty() && only.attributes.is_empty() && mistakes.count() == before {
        mistakes.add(node.at, "`only` with nothing in it would narrow nothing; name what it is narrowed to, or leave it out");
    }
    only
}

fn unknown(entry: &Entry, mistakes: &mut Mistakes) {
    let known = KindId::names().chain(SHARED);
    let instead = match nearest(&entry.key, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "it is a kind of resource, or `tag`, `project` or `region`".to_owned(),
    };
    mistakes.add(
        entry.at,
        format!("unknown kind `{}` in `only`; {instead}", entry.key),
    );
}

fn selector(
    entry: &Entry,
    kind: &Kind,
    vars: &[String],
    catalog: &Catalog,
    mistakes: &mut Mistakes,
) -> Selector {
    if matches!(&entry.node.value, Value::Scalar { text, .. } if text == "any") {
        return Selector::Any;
    }
    let mut attributes = Vec::new();
    let before = mistakes.count();
    for asked in entry.node.entries(
        &format!("the selector of `{}` is `any`, or", entry.key),
        mistakes,
    ) {
        if !has(kind, &asked.key, catalog) {
            let near = nearest(&asked.key, kind.attribute_names());
            let instead = near.map_or_else(
                || {
                    format!(
                        "it has {}",
                        kind.attribute_names().collect::<Vec<_>>().join(", ")
                    )
                },
                |near| format!("did you mean `{near}`?"),
            );
            mistakes.add(
                asked.at,
                format!("a {} has no attribute `{}`; {instead}", kind.id, asked.key),
            );
            continue;
        }
        attributes.push((asked.key.clone(), values(&asked.node, vars, mistakes)));
    }
    if attributes.is_empty() && mistakes.count() == before {
        mistakes.add(
            entry.at,
            format!(
                "`{}` with nothing under it would narrow nothing; name attributes, or write `any`",
                entry.key
            ),
        );
    }
    Selector::Attributes(attributes)
}

/// Whether a kind has an attribute, of its own or, for the shared ones, from its parent.
fn has(kind: &Kind, attribute: &str, catalog: &Catalog) -> bool {
    let inherited = || {
        let parent = kind.parent.map(|parent| catalog.kinds().of(parent));
        SHARED.contains(&attribute) && parent.is_some_and(|parent| has(parent, attribute, catalog))
    };
    kind.has(attribute) || inherited()
}

pub(super) fn values(node: &Node, vars: &[String], mistakes: &mut Mistakes) -> Vec<ValuePattern> {
    let items = node.one_or_more();
    if items.is_empty() {
        mistakes.add(
            node.at,
            "an empty list matches nothing and is likely a slip; name what is meant",
        );
    }
    items
        .iter()
        .filter_map(|item| value(item, vars, mistakes))
        .collect()
}

fn value(node: &Node, vars: &[String], mistakes: &mut Mistakes) -> Option<ValuePattern> {
    let text = node.text("a value to match", mistakes)?;
    if text.is_empty() {
        mistakes.add(
            node.at,
            "an empty value matches nothing and is likely a slip; name what is meant",
        );
        return None;
    }
    let inner = text
        .strip_prefix('/')
        .and_then(|rest| rest.strip_suffix('/'));
    let read = match Text::read(inner.unwrap_or(text), vars) {
        Ok(read) => read,
        Err(error) => {
            mistakes.add(node.at, format!("`{text}`: {error}"));
            return None;
        }
    };
    let Some(inner) = inner else {
        let glob = text.contains(['*', '?']);
        return Some(if glob {
            ValuePattern::Glob(read)
        } else {
            ValuePattern::Exact(read)
        });
    };
    let sample = read.fill(
        &vars
            .iter()
            .map(|name| (name.clone(), "x".to_owned()))
            .collect(),
        regex::escape,
    );
    if let Err(error) = Regex::new(&sample) {
        let message = error.to_string();
        let last = message
            .lines()
            .last()
            .unwrap_or_default()
            .trim_start_matches("error: ");
        mistakes.add(
            node.at,
            format!("`{inner}` is no regular expression: {last}"),
        );
        return None;
    }
    Some(ValuePattern::Regex(read))
}
