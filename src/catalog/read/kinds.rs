use std::sync::Arc;

use super::Reader;
use crate::catalog::endpoint::Template;
use crate::catalog::kind::{Attribute, Kind, KindName, LookUp, Source};
use crate::catalog::name::NameForm;
use crate::catalog::place::FieldPath;
use crate::catalog::scope::{ScopePattern, ScopeSet};
use crate::yaml::{Entry, Map, Mistakes, Node};

impl Reader {
    pub(super) fn kind(&mut self, entry: &Entry, mistakes: &mut Mistakes) {
        let Some(mut map) = Map::of(&entry.node, "a kind", mistakes) else {
            return;
        };
        let family = map
            .need("family", mistakes)
            .and_then(|node| node.text("`family`", mistakes))
            .unwrap_or_default();
        let changes = map.take("changes").and_then(|node| {
            let text = node.text("`changes`", mistakes)?.to_owned();
            self.scope(&text, node, mistakes)
        });
        let attributes = map
            .need("attributes", mistakes)
            .map_or(&[][..], |node| node.entries("`attributes`", mistakes));
        let kind = Kind {
            name: KindName(Arc::from(entry.key.as_str())),
            family: family.to_owned(),
            parent: named(map.take("parent"), "`parent`", mistakes),
            also: named(map.take("also"), "`also`", mistakes),
            urns: map
                .take("urn")
                .map(|node| super::texts(node, "`urn`", mistakes))
                .unwrap_or_default(),
            changes,
            reads: None,
            deletes: None,
            creates: ScopeSet::default(),
            get: map
                .take("get")
                .and_then(|node| look_up(node, "`get`", mistakes)),
            default: map
                .take("default")
                .and_then(|node| look_up(node, "`default`", mistakes)),
            list: map
                .take("list")
                .and_then(|node| look_up(node, "`list`", mistakes)),
            named: self::forms(map.need("named", mistakes), mistakes),
            public: map
                .take("public")
                .map(|node| super::texts(node, "`public`", mistakes).into())
                .unwrap_or_default(),
            identified_by: members(map.take("identified_by"), mistakes),
            counts_as: map
                .take("counts_as")
                .and_then(|node| type_and_id(node, mistakes)),
            shows_children: members(map.take("shows_children"), mistakes),
            lists_lack: map
                .take("lists_lack")
                .map(|node| super::texts(node, "`lists_lack`", mistakes))
                .unwrap_or_default(),
            names_in_zone: map
                .take("names_in_zone")
                .map(|node| super::texts(node, "`names_in_zone`", mistakes))
                .unwrap_or_default(),
            attributes: attributes
                .iter()
                .map(|attribute| Attribute {
                    name: attribute.key.clone(),
                    from: sources(&attribute.node, mistakes),
                })
                .collect(),
        };
        map.finish(mistakes);
        self.kinds.by_name.insert(entry.key.clone(), kind);
    }

    /// Fills in the scopes that kinds have by the name of their family, once every endpoint has told its own.
    pub(super) fn scopes_of_kinds(&mut self) {
        let table = &self.scopes;
        for kind in self.kinds.by_name.values_mut() {
            let scope = |verb: &str| {
                let scope = format!("{}:{verb}", kind.family).parse().ok()?;
                table.id(&scope)
            };
            (kind.reads, kind.deletes) = (scope("read"), scope("delete"));
            kind.changes = kind.changes.or_else(|| scope("update"));
            if let Some(one) = scope("create") {
                kind.creates.insert(one);
            } else {
                let family = ScopePattern::Family(kind.family.clone());
                kind.creates = table.matching(&family);
            }
        }
    }
}

fn named(node: Option<&Node>, what: &str, mistakes: &mut Mistakes) -> Option<KindName> {
    node.and_then(|node| node.text(what, mistakes))
        .map(|name| KindName(Arc::from(name)))
}

/// The forms that a list names by the words of the tables.
pub(super) fn forms(node: Option<&Node>, mistakes: &mut Mistakes) -> Vec<NameForm> {
    let mut forms = Vec::new();
    for item in node.map_or(&[][..], Node::one_or_more) {
        let Some(word) = item.text("a form of names", mistakes) else {
            continue;
        };
        match NameForm::called(word) {
            Some(form) => forms.push(form),
            None => {
                let words: Vec<_> = NameForm::words().collect();
                let known = words.join(", ");
                mistakes.add(
                    item.at,
                    format!("`{word}` is no form of names; one of {known}"),
                );
            }
        }
    }
    forms
}

fn type_and_id(node: &Node, mistakes: &mut Mistakes) -> Option<(FieldPath, FieldPath)> {
    let mut map = Map::of(node, "`counts_as`", mistakes)?;
    let mut member = |key| {
        map.need(key, mistakes)
            .and_then(|node| node.parsed("a member", mistakes))
    };
    let both = (member("type_in")?, member("id_in")?);
    map.finish(mistakes);
    Some(both)
}

fn members(node: Option<&Node>, mistakes: &mut Mistakes) -> Vec<FieldPath> {
    node.map_or(&[][..], Node::one_or_more)
        .iter()
        .filter_map(|item| item.parsed("a member", mistakes))
        .collect()
}

pub(super) fn look_up(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<LookUp> {
    let mut map = Map::of(node, what, mistakes)?;
    let endpoint = map
        .need("endpoint", mistakes)
        .and_then(|node| node.text("`endpoint`", mistakes));
    let template: Option<Template> = endpoint
        .and_then(|text| text.strip_prefix("GET "))
        .and_then(|path| path.parse().ok());
    let at = map
        .take("at")
        .and_then(|node| node.parsed("`at`", mistakes));
    map.finish(mistakes);
    if template.is_none() {
        mistakes.add(node.at, "a look-up is `GET /v2/…`");
    }
    Some(LookUp {
        template: template?,
        at,
    })
}

fn sources(node: &Node, mistakes: &mut Mistakes) -> Vec<Source> {
    let source = |item: &Node, mistakes: &mut Mistakes| {
        let text = item.text("where an attribute stands", mistakes)?;
        Some(match text.strip_prefix("path.") {
            Some(parameter) => Source::Path(parameter.to_owned()),
            None if text == "by_urn" => Source::Urn,
            None => Source::Member(item.parsed("a member", mistakes)?),
        })
    };
    node.one_or_more()
        .iter()
        .filter_map(|item| source(item, mistakes))
        .collect()
}
