use super::{CatalogReader, flag_of, parsed_of, scope, taken, text_of, texts_of};
use crate::catalog::endpoint::Template;
use crate::catalog::kind::{
    Attribute, AttributeSource, Derived, Kind, KindId, Kinds, LookUp, Made, OtherFamily, SHARED,
};
use crate::catalog::name::NameForm;
use crate::catalog::place::FieldPath;
use crate::catalog::scope::{ScopePattern, ScopeSet, ScopeTable};
use crate::catalog::touch::Touches;
use crate::yaml::{self, At, Entry, Map, Mistakes, Node, nearest};

/// Reads the table of kinds. It comes first: what endpoints touch are kinds.
pub(super) fn table(scopes: &mut ScopeTable) -> Result<Kinds, Mistakes> {
    let mut mistakes = Mistakes::new("kinds.yaml");
    let mut read = Vec::new();
    if let Some(root) = yaml::read(include_str!("../data/kinds.yaml"), &mut mistakes)
        && let Some(mut top) = Map::of(&root, "the table of kinds", &mut mistakes)
    {
        let entries = top
            .need("kinds", &mut mistakes)
            .map_or(&[][..], |node| node.entries("`kinds`", &mut mistakes));
        for entry in entries {
            read.extend(kind(entry, scopes, &mut mistakes));
        }
        top.finish(&mut mistakes);
        if mistakes.is_empty() {
            match Kinds::new(read) {
                Some(kinds) => return Ok(kinds),
                None => mistakes.add(root.at, "a kind that `data/list.rs` lists is not here"),
            }
        }
    }
    Err(mistakes)
}

fn kind(entry: &Entry, scopes: &mut ScopeTable, mistakes: &mut Mistakes) -> Option<Kind> {
    let mut map = Map::of(&entry.node, "a kind", mistakes)?;
    let id = kind_named(&entry.key, entry.at, mistakes)?;
    let family = map
        .need("family", mistakes)
        .and_then(|node| node.text("`family`", mistakes))
        .unwrap_or_default();
    let changes = map.take("changes").and_then(|node| {
        let text = node.text("`changes`", mistakes)?.to_owned();
        scope(&text, node, scopes, mistakes)
    });
    let attributes = map
        .need("attributes", mistakes)
        .map_or(&[][..], |node| node.entries("`attributes`", mistakes));
    let kind = Kind {
        id,
        family: family.to_owned(),
        parent: kind_of(&mut map, "parent", mistakes),
        also: kind_of(&mut map, "also", mistakes),
        also_where: one_value(map.take("also_where"), mistakes),
        urns: texts_of(&mut map, "urn", mistakes),
        changes,
        reads: None,
        deletes: None,
        creates: ScopeSet::default(),
        other_families: taken(&mut map, "other_families", mistakes, other_families),
        get: look_up_of(&mut map, "get", mistakes),
        default: look_up_of(&mut map, "default", mistakes),
        list: look_up_of(&mut map, "list", mistakes),
        named: self::forms(map.need("named", mistakes), mistakes),
        public: texts_of(&mut map, "public", mistakes).into(),
        identified_by: members(map.take("identified_by"), mistakes),
        counts_as: taken(&mut map, "counts_as", mistakes, types),
        shows_children: members(map.take("shows_children"), mistakes),
        children_have: taken(&mut map, "children_have", mistakes, attributes_at),
        shows_no_children: text_of(&mut map, "shows_no_children", mistakes),
        everybody_has: flag_of(&mut map, "everybody_has", mistakes),
        lists_lack: texts_of(&mut map, "lists_lack", mistakes),
        absent_is_none: texts_of(&mut map, "absent_is_none", mistakes),
        null_is_none: texts_of(&mut map, "null_is_none", mistakes),
        names_in_zone: texts_of(&mut map, "names_in_zone", mistakes),
        derived: taken(&mut map, "derived", mistakes, derived),
        names: taken(&mut map, "names", mistakes, names),
        stands: taken(&mut map, "stands", mistakes, reasons),
        frees_nothing: text_of(&mut map, "frees_nothing", mistakes),
        passes_on: Vec::new(),
        feeds: Vec::new(),
        attributes: attributes
            .iter()
            .map(|attribute| Attribute {
                name: attribute.key.as_str().into(),
                from: sources(&attribute.node, mistakes),
            })
            .collect(),
    };
    map.finish(mistakes);
    for derived in kind.derived.iter().filter(|it| !kind.has(&it.attribute)) {
        let what = &derived.attribute;
        mistakes.add(
            entry.at,
            format!("`{}` has no attribute `{what}`", entry.key),
        );
    }
    Some(kind)
}

impl CatalogReader {
    /// Fills in what follows from the kinds as a whole: what each passes on to those under it, and which attributes of others
    /// are made of its own.
    pub(super) fn relations(&mut self) {
        let kinds = &self.kinds;
        let passed = |above: &Kind| -> Vec<(KindId, Vec<String>)> {
            let lacks = |kind: &Kind, attribute: &str| !kind.has(attribute);
            let mut all = Vec::new();
            for child in kinds.iter() {
                let line: Vec<&Kind> = std::iter::once(child)
                    .chain(kinds.ancestors(child))
                    .take_while(|kind| kind.id != above.id)
                    .collect();
                let under = kinds.ancestors(child).any(|kind| kind.id == above.id);
                let inherited = |attribute: &&str| line.iter().all(|kind| lacks(kind, attribute));
                let inherited: Vec<String> = SHARED
                    .iter()
                    .filter(|attribute| inherited(attribute))
                    .map(|attribute| (*attribute).to_owned())
                    .collect();
                if under && !inherited.is_empty() {
                    all.push((child.id, inherited));
                }
            }
            all
        };
        let fed = |kind: &Kind| -> Vec<(KindId, String, String)> {
            let mut all = Vec::new();
            for other in kinds.iter() {
                for Derived { attribute, made } in &other.derived {
                    let from = match made {
                        Made::Carriers { of, .. } if *of == kind.id => "tag",
                        Made::Same { of } if of.contains(&kind.id) => attribute,
                        Made::OneAlone { .. } | Made::Carriers { .. } | Made::Same { .. } => {
                            continue;
                        }
                    };
                    all.push((other.id, attribute.clone(), from.to_owned()));
                }
            }
            all
        };
        let found: Vec<_> = kinds.iter().map(|kind| (passed(kind), fed(kind))).collect();
        for (kind, (passes_on, feeds)) in self.kinds.iter_mut().zip(found) {
            (kind.passes_on, kind.feeds) = (passes_on, feeds);
        }
    }

    /// Fills in the scopes that kinds have by the name of their family, once every endpoint has told its own.
    pub(super) fn scopes_of_kinds(&mut self) {
        let table = &self.scopes;
        for kind in self.kinds.iter_mut() {
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
            for other in &mut kind.other_families {
                let scope = |verb: &str| {
                    let scope = format!("{}:{verb}", other.family).parse().ok()?;
                    table.id(&scope)
                };
                (other.reads, other.changes) = (scope("read"), scope("update"));
                (other.creates, other.deletes) = (scope("create"), scope("delete"));
            }
        }
    }

    /// Fills in what endpoints could touch of every family, once all scopes are known: the reads of all.
    pub(super) fn scopes_that_could_be_touched(&mut self) {
        for (number, pattern) in &self.could_touch {
            let endpoint = self.endpoints.get_mut(*number);
            if let Some(Touches::Unmodelled {
                could_touch: Some(could),
                ..
            }) = endpoint.map(|endpoint| &mut endpoint.touches)
            {
                could.add(&self.scopes.matching(pattern));
            }
        }
    }

    /// Fills in the scope of what is read as a source: that by which its kind is shown, where the row says no other. What a path
    /// names the endpoint is about, and asks for by its own scopes.
    pub(super) fn scopes_of_sources(&mut self) {
        let rules = self.endpoints.iter_mut();
        let rules = rules.flat_map(|endpoint| endpoint.touches.rules_mut());
        for rule in rules.filter(|rule| rule.is_source_beside()) {
            let reads = rule.kind.one().and_then(|kind| self.kinds.of(kind).reads);
            rule.scope = rule.scope.or(reads);
        }
    }
}

/// `droplet: { carriers_of: "tags[]" }`, `default: { one_in: region }`, `name: { same_as: [droplet] }`.
fn derived(node: &Node, mistakes: &mut Mistakes) -> Vec<Derived> {
    let mut all = Vec::new();
    for entry in node.entries("`derived`", mistakes) {
        let Some(mut map) = Map::of(&entry.node, "what an attribute is made of", mistakes) else {
            continue;
        };
        let (carriers, one, same) = (
            map.take("carriers_of"),
            map.take("one_in"),
            map.take("same_as"),
        );
        let of = kind_of(&mut map, "of", mistakes);
        map.finish(mistakes);
        let made = match (carriers, one, same) {
            (Some(tags), None, None) => {
                let Some(of) = of.or_else(|| kind_named(&entry.key, entry.at, mistakes)) else {
                    continue;
                };
                Made::Carriers {
                    of,
                    tags: members(Some(tags), mistakes),
                }
            }
            (None, Some(within), None) => Made::OneAlone {
                within: within
                    .text("`one_in`", mistakes)
                    .filter(|within| *within != "account")
                    .map(str::to_owned),
            },
            (None, None, Some(kinds)) => Made::Same {
                of: kinds
                    .one_or_more()
                    .iter()
                    .filter_map(|node| kind_at(node, "`same_as`", mistakes))
                    .collect(),
            },
            _ => {
                let what =
                    "an attribute is made of one thing: `carriers_of`, `one_in` or `same_as`";
                mistakes.add(entry.at, what);
                continue;
            }
        };
        let attribute = entry.key.clone();
        all.push(Derived { attribute, made });
    }
    all
}

/// `tag: ["tags[]"]`
fn names(node: &Node, mistakes: &mut Mistakes) -> Vec<(KindId, Vec<FieldPath>)> {
    let entries = node.entries("`names`", mistakes).iter();
    entries
        .filter_map(|entry| {
            let kind = kind_named(&entry.key, entry.at, mistakes)?;
            Some((kind, members(Some(&entry.node), mistakes)))
        })
        .collect()
}

/// `tag: "node_pools[].tags[]"`
fn attributes_at(node: &Node, mistakes: &mut Mistakes) -> Vec<(String, FieldPath)> {
    let entries = node.entries("`children_have`", mistakes).iter();
    let path = |entry: &Entry| {
        let path = entry.node.parsed("a member", mistakes)?;
        Some((entry.key.clone(), path))
    };
    entries.filter_map(path).collect()
}

/// `vpc: the API deletes no VPC that has members`
fn reasons(node: &Node, mistakes: &mut Mistakes) -> Vec<(String, String)> {
    let entries = node.entries("`stands`", mistakes).iter();
    let reason = |entry: &Entry| {
        let why = entry.node.text("why", mistakes)?;
        Some((entry.key.clone(), why.to_owned()))
    };
    entries.filter_map(reason).collect()
}

fn kind_of(map: &mut Map<'_>, key: &'static str, mistakes: &mut Mistakes) -> Option<KindId> {
    kind_at(map.take(key)?, &format!("`{key}`"), mistakes)
}

/// The kind that a node of a table names.
pub(super) fn kind_at(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<KindId> {
    kind_named(node.text(what, mistakes)?, node.at, mistakes)
}

/// The kind of a name that stands there in a table.
fn kind_named(name: &str, at: At, mistakes: &mut Mistakes) -> Option<KindId> {
    let found = KindId::from_name(name);
    if found.is_none() {
        let near = nearest(name, KindId::names())
            .map(|near| format!("; did you mean `{near}`?"))
            .unwrap_or_default();
        mistakes.add(at, format!("unknown kind `{name}`{near}"));
    }
    found
}

/// The forms that a list names by the words of the tables.
pub(super) fn forms(node: Option<&Node>, mistakes: &mut Mistakes) -> Vec<NameForm> {
    let mut forms = Vec::new();
    for item in node.map_or(&[][..], Node::one_or_more) {
        let Some(word) = item.text("a form of names", mistakes) else {
            continue;
        };
        if let Some(form) = NameForm::called(word) {
            forms.push(form);
        } else {
            let words: Vec<_> = NameForm::words().collect();
            let known = words.join(", ");
            let what = format!("`{word}` is no form of names; one of {known}");
            mistakes.add(item.at, what);
        }
    }
    forms
}

fn other_families(node: &Node, mistakes: &mut Mistakes) -> Vec<OtherFamily> {
    let all = super::texts(node, "`other_families`", mistakes).into_iter();
    let family = |family| OtherFamily {
        family,
        reads: None,
        changes: None,
        creates: None,
        deletes: None,
    };
    all.map(family).collect()
}

/// The kinds that types stand for.
fn types(node: &Node, mistakes: &mut Mistakes) -> Vec<(String, KindId)> {
    let all = node.entries("`counts_as`", mistakes).iter();
    let kind = |entry: &Entry| {
        let kind = kind_at(&entry.node, "a kind", mistakes)?;
        Some((entry.key.clone(), kind))
    };
    all.filter_map(kind).collect()
}

fn members(node: Option<&Node>, mistakes: &mut Mistakes) -> Vec<FieldPath> {
    node.map_or(&[][..], Node::one_or_more)
        .iter()
        .filter_map(|item| item.parsed("a member", mistakes))
        .collect()
}

pub(super) fn look_up_of(
    map: &mut Map<'_>,
    key: &'static str,
    mistakes: &mut Mistakes,
) -> Option<LookUp> {
    look_up(map.take(key)?, &format!("`{key}`"), mistakes)
}

pub(super) fn look_up(node: &Node, what: &str, mistakes: &mut Mistakes) -> Option<LookUp> {
    let mut map = Map::of(node, what, mistakes)?;
    let endpoint = map
        .need("endpoint", mistakes)
        .and_then(|node| node.text("`endpoint`", mistakes));
    let template: Option<Template> = endpoint
        .and_then(|text| text.strip_prefix("GET "))
        .and_then(|path| path.parse().ok());
    let at = parsed_of(&mut map, "at", mistakes);
    map.finish(mistakes);
    if template.is_none() {
        mistakes.add(node.at, "a look-up is `GET /v2/…`");
    }
    Some(LookUp {
        template: template?,
        at,
    })
}

fn sources(node: &Node, mistakes: &mut Mistakes) -> Vec<AttributeSource> {
    let source = |item: &Node, mistakes: &mut Mistakes| {
        let text = item.text("where an attribute stands", mistakes)?;
        Some(match text.strip_prefix("path.") {
            Some(parameter) => AttributeSource::Path(parameter.to_owned()),
            None if text == "by_urn" => AttributeSource::Urn,
            None => AttributeSource::Member(item.parsed("a member", mistakes)?),
        })
    };
    node.one_or_more()
        .iter()
        .filter_map(|item| source(item, mistakes))
        .collect()
}

/// `type: snapshot`: an attribute and its value.
fn one_value(node: Option<&Node>, mistakes: &mut Mistakes) -> Option<(String, String)> {
    let [entry] = node?.entries("`also_where`", mistakes) else {
        return None;
    };
    let value = entry.node.text("a value", mistakes)?;
    Some((entry.key.clone(), value.to_owned()))
}
