mod answers;
mod kinds;
mod members;
mod names;
mod scopes;
mod touches;

pub use members::{Addition, addition};

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::thread;

use super::Catalog;
use super::endpoint::{
    Action, BodyMember, ClosedValues, Endpoint, FieldScope, Harmless, Method, Origin, Parameter,
    ScopeWhen, Segment, Template,
};
use super::kind::Kinds;
use super::matcher::PathMatcher;
use super::place::{FieldPath, Place};
use super::scope::{Scope, ScopeId, ScopePattern, ScopeSet, ScopeTable};
use super::touch::{Condition, Touches};
use crate::yaml::{self, Entry, Map, Mistakes, Node};

/// Reads the built-in tables and, after them, an extra one.
pub(super) fn catalog(extra: Option<(&str, &str)>) -> Result<Catalog, Vec<Mistakes>> {
    let mut scopes = ScopeTable::default();
    let kinds = kinds::table(&mut scopes).map_err(|wrong| vec![wrong])?;
    let mut reader = CatalogReader {
        scopes,
        kinds,
        matcher: PathMatcher::new(),
        endpoints: Vec::new(),
        numbers: HashMap::new(),
        could_touch: Vec::new(),
        origin: Origin::Specification,
    };
    let mut wrong = Vec::new();
    let builtin = parsed(ENDPOINT_TABLES).into_iter();
    let tables = builtin.map(|table| (table, Origin::Specification));
    let extra = extra.map(|table| (parse(&table), Origin::Extra));
    for ((mut mistakes, root), origin) in tables.chain(extra) {
        reader.origin = origin;
        if let Some(root) = root {
            reader.table(&root, &mut mistakes);
        }
        if !mistakes.is_empty() {
            wrong.push(mistakes);
        }
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    reader.scopes_table().map_err(|wrong| vec![wrong])?;
    let answers = reader.answers_table().map_err(|wrong| vec![wrong])?;
    reader.scopes_of_kinds();
    reader.scopes_of_sources();
    reader.scopes_that_could_be_touched();
    reader.relations();
    reader.endpoints.shrink_to_fit();
    Ok(Catalog {
        answers,
        endpoints: reader.endpoints,
        scopes: reader.scopes,
        kinds: reader.kinds,
        matcher: reader.matcher,
    })
}

/// A table, or what keeps it from being one.
type Parsed = (Mistakes, Option<Node>);

fn parse((file, text): &(&str, &str)) -> Parsed {
    let mut mistakes = Mistakes::new(*file);
    let root = yaml::read(text, &mut mistakes);
    (mistakes, root)
}

/// Parses tables on two threads: every command waits for them.
fn parsed(tables: &[(&str, &str)]) -> Vec<Parsed> {
    let all: usize = tables.iter().map(|(_, text)| text.len()).sum();
    let mut length = 0;
    let half = tables.iter().position(|(_, text)| {
        length += text.len();
        length > all / 2
    });
    let (first, second) = tables.split_at(half.unwrap_or_default());
    thread::scope(|scope| {
        let first_half = scope.spawn(|| first.iter().map(parse).collect::<Vec<_>>());
        let second: Vec<_> = second.iter().map(parse).collect();
        let first = first_half.join();
        let mut both = first.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        both.extend(second);
        both
    })
}

struct CatalogReader {
    scopes: ScopeTable,
    kinds: Kinds,
    matcher: PathMatcher,
    endpoints: Vec<Endpoint>,
    /// Their numbers, by method and path.
    numbers: HashMap<String, usize>,
    /// The endpoints that could touch whatever these take in, by their number.
    could_touch: Vec<(usize, ScopePattern)>,
    /// What rows are of that do not say it.
    origin: Origin,
}

impl CatalogReader {
    fn table(&mut self, root: &Node, mistakes: &mut Mistakes) {
        let Some(mut top) = Map::of(root, "a table of endpoints", mistakes) else {
            return;
        };
        let members = top.take("members");
        let endpoints = match members {
            Some(_) => top.take("endpoints"),
            None => top.need("endpoints", mistakes),
        };
        let section = match endpoints {
            Some(_) => top.need("section", mistakes),
            None => top.take("section"),
        };
        let section = section
            .and_then(|node| node.text("`section`", mistakes))
            .unwrap_or_default();
        for entry in endpoints.map_or(&[][..], |node| node.entries("`endpoints`", mistakes)) {
            self.endpoint(section, entry, mistakes);
        }
        for entry in members.map_or(&[][..], |node| node.entries("`members`", mistakes)) {
            self.more_members(entry, mistakes);
        }
        top.finish(mistakes);
    }

    fn endpoint(&mut self, section: &str, entry: &Entry, mistakes: &mut Mistakes) {
        let Some((method, mut template)) = head(entry, mistakes) else {
            return;
        };
        let Some(mut map) = Map::of(&entry.node, "an endpoint", mistakes) else {
            return;
        };
        let before = mistakes.count();
        marks(&mut map, &mut template, mistakes);
        let mut endpoint = Endpoint {
            method,
            operation: map
                .need("operation", mistakes)
                .and_then(|node| node.text("`operation`", mistakes))
                .unwrap_or_default()
                .into(),
            section: section.to_owned(),
            scopes: map
                .need("scopes", mistakes)
                .map(|node| self.alternatives(node, mistakes))
                .unwrap_or_default(),
            scopes_when: map
                .take("scopes_when")
                .map(|node| self.scopes_when(node, mistakes))
                .unwrap_or_default(),
            fields: ["field_scopes", "sensitive_fields"]
                .into_iter()
                .filter_map(|key| Some((key, map.take(key)?)))
                .flat_map(|(key, node)| self.fields(node, key, mistakes))
                .collect(),
            sensitive: text_of(&mut map, "sensitive", mistakes),
            caution: text_of(&mut map, "caution", mistakes),
            reads_only: flag_of(&mut map, "reads_only", mistakes),
            body: taken(&mut map, "body", mistakes, body),
            left_out: taken(&mut map, "left_out", mistakes, body),
            harmless: taken(&mut map, "harmless", mistakes, harmless),
            query: taken(&mut map, "query", mistakes, query),
            action: map.take("action").and_then(|node| action(node, mistakes)),
            derived_expiry: map
                .take("derived_expiry")
                .and_then(|node| expiry_place(node, mistakes)),
            repeats: taken(&mut map, "repeats", mistakes, repeats),
            key_ids: taken(&mut map, "key_ids", mistakes, |node, mistakes| {
                key_ids(node, &template, mistakes)
            }),
            touches: self.touches(
                map.take("touches"),
                map.take("unmodelled"),
                map.take("could_touch"),
                mistakes,
            ),
            names: Vec::new(), // told by what it touches, below
            no_names: places_of_texts(map.take("no_names"), "`no_names`", mistakes),
            values: places_of_texts(map.take("values"), "`values`", mistakes)
                .into_iter()
                .map(closed_values)
                .collect(),
            beside: taken(&mut map, "beside", mistakes, members_beside),
            answer: None, // its table is read after all endpoints
            origin: parsed_of(&mut map, "origin", mistakes).unwrap_or(self.origin),
            raw_bodies: texts_of(&mut map, "raw_bodies", mistakes),
            refused: text_of(&mut map, "refused", mistakes),
            note: text_of(&mut map, "note", mistakes),
            template,
        };
        let named = names::given(map.take("names"), mistakes);
        endpoint.names = names::of(&endpoint, named, &self.kinds);
        endpoint.template.segments.shrink_to_fit();
        map.finish(mistakes);
        self.verb_rule(&endpoint, entry, mistakes);
        raw_bodies_decide_nothing(&endpoint, entry, mistakes);
        places_exist(&endpoint, entry, mistakes);
        if mistakes.count() == before {
            self.add(endpoint, entry, mistakes);
        }
    }

    fn add(&mut self, endpoint: Endpoint, entry: &Entry, mistakes: &mut Mistakes) {
        let number = self.endpoints.len();
        let added = self
            .matcher
            .insert(endpoint.method, &endpoint.template, number);
        if added.is_ok() {
            self.numbers.insert(endpoint.to_string(), number);
            return self.endpoints.push(endpoint);
        }
        let why = "is in the catalogue already; an endpoint has one row";
        mistakes.add(entry.at, format!("`{}` {why}", entry.key));
    }

    /// `a:b + c:d | e:f`: sets joined by `|`, the scopes of one joined by `+`.
    fn alternatives(&mut self, node: &Node, mistakes: &mut Mistakes) -> Vec<ScopeSet> {
        let Some(text) = node.text("`scopes`", mistakes) else {
            return Vec::new();
        };
        fitting(text.split('|').map(|set| self.set(set, node, mistakes)))
    }

    fn set(&mut self, text: &str, node: &Node, mistakes: &mut Mistakes) -> ScopeSet {
        let mut set = ScopeSet::default();
        for scope in text.split('+') {
            if let Some(id) = self.scope(scope.trim(), node, mistakes) {
                set.insert(id);
            }
        }
        set
    }

    fn scope(&mut self, text: &str, node: &Node, mistakes: &mut Mistakes) -> Option<ScopeId> {
        scope(text, node, &mut self.scopes, mistakes)
    }

    fn scopes_when(&mut self, node: &Node, mistakes: &mut Mistakes) -> Vec<ScopeWhen> {
        let mut rules = Vec::new();
        for item in node.items("`scopes_when`", mistakes) {
            let Some(mut map) = Map::of(item, "`scopes_when`", mistakes) else {
                continue;
            };
            let parameter = map
                .need("query", mistakes)
                .and_then(|node| node.text("`query`", mistakes))
                .unwrap_or_default()
                .to_owned();
            let unless = map
                .need("unless", mistakes)
                .map(|node| texts(node, "`unless`", mistakes))
                .unwrap_or_default();
            let scopes = map.need("scopes", mistakes).map(|node| {
                let text = node
                    .text("`scopes`", mistakes)
                    .unwrap_or_default()
                    .to_owned();
                self.set(&text, node, mistakes)
            });
            map.finish(mistakes);
            rules.push(ScopeWhen {
                parameter,
                unless,
                scopes: scopes.unwrap_or_default(),
            });
        }
        rules
    }

    /// Scopes that fields ask for; of what leads to a login, by their names alone.
    fn fields(&mut self, node: &Node, key: &str, mistakes: &mut Mistakes) -> Vec<FieldScope> {
        let by_name = key == "sensitive_fields";
        let mut fields = Vec::new();
        for entry in node.entries(key, mistakes) {
            let at = match entry.key.parse() {
                Ok(place) => place,
                Err(error) => {
                    mistakes.add(entry.at, format!("`{}`: {error}", entry.key));
                    continue;
                }
            };
            let Some(text) = entry.node.text("a scope", mistakes) else {
                continue;
            };
            if let Some(scope) = self.scope(text, &entry.node, mistakes) {
                fields.push(FieldScope { at, scope, by_name });
            }
        }
        fields.shrink_to_fit();
        fields
    }

    fn touches(
        &mut self,
        touches: Option<&Node>,
        unmodelled: Option<&Node>,
        could_touch: Option<&Node>,
        mistakes: &mut Mistakes,
    ) -> Touches {
        let could_touch = could_touch.map(|node| {
            let mut all = ScopeSet::default();
            for item in node.items("`could_touch`", mistakes) {
                let Some(text) = item.text("a scope", mistakes) else {
                    continue;
                };
                match text.parse() {
                    Ok(pattern @ ScopePattern::Verb(_)) => {
                        self.could_touch.push((self.endpoints.len(), pattern));
                    }
                    Ok(_) | Err(_) => all.add(&self.set(text, item, mistakes)),
                }
            }
            all
        });
        let reason = unmodelled
            .and_then(|node| node.text("`unmodelled`", mistakes))
            .map(str::to_owned);
        match touches {
            None => Touches::Unmodelled {
                reason,
                could_touch,
            },
            Some(node) if matches!(&node.value, yaml::Value::Scalar { text, .. } if text == "nobody") => {
                Touches::Nobody
            }
            Some(node) => {
                let items = node.items("`touches`", mistakes);
                Touches::These(fitting(
                    items.iter().filter_map(|item| self.touch(item, mistakes)),
                ))
            }
        }
    }

    /// A request that changes something never passes on a scope to read alone.
    fn verb_rule(&self, endpoint: &Endpoint, entry: &Entry, mistakes: &mut Mistakes) {
        if endpoint.reads() {
            return;
        }
        let only_reads = |set: &ScopeSet| {
            !set.is_empty() && self.scopes.names(set).all(|scope| scope.verb() == "read")
        };
        if endpoint.scopes.iter().any(only_reads) {
            mistakes.add(
                entry.at,
                format!(
                    "`{}` changes something, so it needs a scope that does not just read",
                    entry.key
                ),
            );
        }
    }
}

fn scope(
    text: &str,
    node: &Node,
    scopes: &mut ScopeTable,
    mistakes: &mut Mistakes,
) -> Option<ScopeId> {
    match text.parse::<Scope>() {
        Ok(scope) => scopes.intern(&scope),
        Err(error) => {
            mistakes.add(node.at, format!("`{text}`: {error}"));
            None
        }
    }
}

/// `{ key_id: dof_v1_ }`: a parameter of the path, and how its value begins.
fn key_ids(node: &Node, template: &Template, mistakes: &mut Mistakes) -> Vec<(String, String)> {
    let mut ids = Vec::new();
    for entry in node.entries("`key_ids`", mistakes) {
        if template.position(&entry.key).is_none() {
            mistakes.add(
                entry.at,
                format!("the path has no parameter `{}`", entry.key),
            );
        }
        if let Some(begin) = entry.node.text("how an id begins", mistakes) {
            ids.push((entry.key.clone(), begin.to_owned()));
        }
    }
    ids
}

/// What is read of the value of a key; nothing where there is none.
fn taken<T: Default>(
    map: &mut Map<'_>,
    key: &'static str,
    mistakes: &mut Mistakes,
    read: impl FnOnce(&Node, &mut Mistakes) -> T,
) -> T {
    map.take(key)
        .map(|node| read(node, mistakes))
        .unwrap_or_default()
}

/// What is not read can't decide.
fn raw_bodies_decide_nothing(endpoint: &Endpoint, entry: &Entry, mistakes: &mut Mistakes) {
    if !endpoint.raw_bodies.is_empty() && endpoint.inspects_body() {
        mistakes.add(
            entry.at,
            format!(
                "`{}` decides by what its body says, and of `raw_bodies` nothing is read; leave one of the two out",
                entry.key
            ),
        );
    }
}

fn text_of(map: &mut Map<'_>, key: &'static str, mistakes: &mut Mistakes) -> Option<String> {
    let text = map
        .take(key)?
        .text(&format!("`{key}`"), mistakes)?
        .to_owned();
    Some(text)
}

fn texts_of(map: &mut Map<'_>, key: &'static str, mistakes: &mut Mistakes) -> Vec<String> {
    let node = map.take(key);
    node.map(|node| texts(node, &format!("`{key}`"), mistakes))
        .unwrap_or_default()
}

fn parsed_of<T>(map: &mut Map<'_>, key: &'static str, mistakes: &mut Mistakes) -> Option<T>
where
    T: FromStr,
    T::Err: fmt::Display + 'static,
{
    map.take(key)?.parsed(&format!("`{key}`"), mistakes)
}

fn flag_of(map: &mut Map<'_>, key: &'static str, mistakes: &mut Mistakes) -> bool {
    let flag = map.take(key);
    let flag = flag.and_then(|node| node.flag(&format!("`{key}`"), mistakes));
    flag.unwrap_or(false)
}

/// Which parameters of a template may have slashes in them, or are names of the DNS.
fn marks(map: &mut Map<'_>, template: &mut Template, mistakes: &mut Mistakes) {
    let slashes = map.take("slash_in");
    mark(
        slashes,
        "`slash_in`",
        template,
        |slash, _| *slash = true,
        mistakes,
    );
    let dns = map.take("dns_in");
    mark(dns, "`dns_in`", template, |_, dns| *dns = true, mistakes);
}

/// Marks the parameters of a template that a list names.
fn mark(
    node: Option<&Node>,
    what: &str,
    template: &mut Template,
    mark: impl Fn(&mut bool, &mut bool),
    mistakes: &mut Mistakes,
) {
    for item in node.map_or(&[][..], |node| node.items(what, mistakes)) {
        let Some(wanted) = item.text(what, mistakes) else {
            continue;
        };
        let mut found = false;
        for segment in &mut template.segments {
            if let Segment::Parameter { name, slash, dns } = segment
                && name == wanted
            {
                mark(slash, dns);
                found = true;
            }
        }
        if !found {
            mistakes.add(item.at, format!("the path has no parameter `{wanted}`"));
        }
    }
}

fn places_exist(endpoint: &Endpoint, entry: &Entry, mistakes: &mut Mistakes) {
    let expiry = endpoint.derived_expiry.clone();
    let when = endpoint
        .scopes_when
        .iter()
        .map(|rule| Place::Query(rule.parameter.clone()));
    let repeats = endpoint.repeats.iter();
    let repeats = repeats.flat_map(|(place, of)| [place.clone(), of.clone()]);
    let owned: Vec<_> = expiry.into_iter().chain(when).chain(repeats).collect();
    let fields = endpoint.fields.iter().map(|field| &field.at);
    for place in endpoint.touches.places().chain(fields).chain(&owned) {
        let missing = match place {
            Place::Path(name) => endpoint.template.position(name).is_none(),
            Place::Query(name) => !endpoint.query.iter().any(|known| known.name == *name),
            Place::Body(_) => endpoint.method == Method::Get,
        };
        if missing {
            mistakes.add(entry.at, format!("`{}` has no `{place}`", entry.key));
        }
    }
}

fn head(entry: &Entry, mistakes: &mut Mistakes) -> Option<(Method, Template)> {
    let parts = entry
        .key
        .split_once(' ')
        .and_then(|(method, path)| Some((method.parse().ok()?, path.parse().ok()?)));
    if parts.is_none() {
        mistakes.add(
            entry.at,
            format!(
                "`{}` is no endpoint; write `GET /v2/droplets/{{droplet_id}}`",
                entry.key
            ),
        );
    }
    parts
}

fn texts(node: &Node, what: &str, mistakes: &mut Mistakes) -> Vec<String> {
    let texts = node.one_or_more().iter();
    fitting(texts.filter_map(|item| item.text(what, mistakes).map(str::to_owned)))
}

/// `body.certificate_id: [needs-cloudflare-cert]`: texts by the places where they may stand.
fn places_of_texts(
    node: Option<&Node>,
    what: &str,
    mistakes: &mut Mistakes,
) -> Vec<(Place, Vec<String>)> {
    let entries = node.map_or(&[][..], |node| node.entries(what, mistakes));
    let mut places = Vec::new();
    for entry in entries {
        match entry.key.parse() {
            Ok(place) => places.push((place, texts(&entry.node, "a text", mistakes))),
            Err(error) => mistakes.add(entry.at, format!("`{}`: {error}", entry.key)),
        }
    }
    places
}

/// The values of a place; `none` stands for its absence.
fn closed_values((at, mut one_of): (Place, Vec<String>)) -> ClosedValues {
    let all = one_of.len();
    one_of.retain(|value| value != "none");
    ClosedValues {
        at,
        absent: one_of.len() < all,
        one_of,
    }
}

/// A list with room for nothing more: the catalogue stays as it was read.
fn fitting<T>(items: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = items.collect();
    all.shrink_to_fit();
    all
}

fn members_beside(node: &Node, mistakes: &mut Mistakes) -> Vec<FieldPath> {
    let items = node.items("`beside`", mistakes).iter();
    fitting(items.filter_map(|item| item.parsed("a member", mistakes)))
}

/// `name`, `region`, `rules[].ports`; `metadata.*` may hold anything.
fn body(node: &Node, mistakes: &mut Mistakes) -> Vec<BodyMember> {
    let mut members = Vec::new();
    for item in node.items("`body`", mistakes) {
        let Some(text) = item.text("a member of the body", mistakes) else {
            continue;
        };
        let inner = text.strip_suffix(".*");
        match inner.unwrap_or(text).parse() {
            Ok(path) => members.push(BodyMember {
                path,
                free: inner.is_some(),
            }),
            Err(error) => mistakes.add(item.at, format!("`{text}`: {error}")),
        }
    }
    members.shrink_to_fit();
    members
}

/// What stands where `tidegate catalog extra` leaves something to a person.
pub const UNDECIDED: &str = "FILL_IN";

/// `{ body.name: what the thing is called, body.labels.*: Kubernetes' own }`
fn harmless(node: &Node, mistakes: &mut Mistakes) -> Vec<Harmless> {
    let mut found = Vec::new();
    for entry in node.entries("`harmless`", mistakes) {
        let inner = entry.key.strip_suffix(".*");
        let place = inner.unwrap_or(&entry.key).parse();
        match (place, entry.node.text("a reason", mistakes)) {
            (Ok(at), Some(why)) => {
                if why == UNDECIDED {
                    mistakes.add(
                        entry.node.at,
                        format!("`{UNDECIDED}` is no reason; say why what stands at `{at}` names no resource, or leave the member out"),
                    );
                }
                found.push(Harmless {
                    at,
                    below: inner.is_some(),
                    why: why.to_owned(),
                });
            }
            (Err(error), _) => mistakes.add(entry.at, format!("`{}`: {error}", entry.key)),
            (Ok(_), None) => {}
        }
    }
    found.shrink_to_fit();
    found
}

fn query(node: &Node, mistakes: &mut Mistakes) -> Vec<Parameter> {
    let parameter = |text: String| match text.strip_suffix("[]") {
        Some(name) => Parameter {
            name: name.to_owned(),
            repeats: true,
        },
        None => Parameter {
            name: text,
            repeats: false,
        },
    };
    texts(node, "`query`", mistakes)
        .into_iter()
        .map(parameter)
        .collect()
}

/// `{ body.uuid: path.uuid }`
fn repeats(node: &Node, mistakes: &mut Mistakes) -> Vec<(Place, Place)> {
    let mut found = Vec::new();
    for entry in node.entries("`repeats`", mistakes) {
        match (entry.key.parse(), entry.node.parsed("a place", mistakes)) {
            (Ok(place), Some(of)) => found.push((place, of)),
            (Err(_), _) => mistakes.add(entry.at, format!("`{}` is no place", entry.key)),
            (Ok(_), None) => {}
        }
    }
    found
}

fn expiry_place(node: &Node, mistakes: &mut Mistakes) -> Option<Place> {
    match node.parsed("a place", mistakes)? {
        Place::Path(_) => {
            let what = "this is a parameter of the query or a member of the body: `query.NAME`, `body.MEMBER`";
            mistakes.add(node.at, what);
            None
        }
        place => Some(place),
    }
}

fn action(node: &Node, mistakes: &mut Mistakes) -> Option<Action> {
    let mut map = Map::of(node, "`action`", mistakes)?;
    let always = map
        .take("always")
        .and_then(|node| node.text("`always`", mistakes));
    let at = parsed_of(&mut map, "in", mistakes);
    let one_of = texts_of(&mut map, "one_of", mistakes);
    let grave = map.take("grave");
    let grave_ones = grave
        .map(|node| texts(node, "`grave`", mistakes))
        .unwrap_or_default();
    map.finish(mistakes);
    let unknown = grave_ones.iter().find(|action| !one_of.contains(action));
    if let (Some(node), Some(unknown)) = (grave, unknown) {
        mistakes.add(
            node.at,
            format!("`{unknown}` is none of `one_of`; what is grave is one of the actions"),
        );
    }
    match (always, at) {
        (Some(action), None) => Some(Action::Always(action.to_owned())),
        (None, Some(at)) => Some(Action::Named {
            at,
            one_of,
            grave: grave_ones,
        }),
        (Some(_), Some(_)) | (None, None) => {
            mistakes.add(
                node.at,
                "an action is `{ always: NAME }` or `{ in: PLACE, one_of: […] }`",
            );
            None
        }
    }
}

fn places(node: &Node, what: &str, mistakes: &mut Mistakes) -> Vec<(String, Vec<Place>)> {
    let mut found = Vec::new();
    for entry in node.entries(what, mistakes) {
        let places = entry
            .node
            .one_or_more()
            .iter()
            .filter_map(|item| item.parsed("a place", mistakes))
            .collect();
        found.push((entry.key.clone(), places));
    }
    found
}

fn one_place_each(
    node: Option<&Node>,
    what: &str,
    mistakes: &mut Mistakes,
) -> Vec<(String, Place)> {
    let mut found = Vec::new();
    for entry in node.map_or(&[][..], |node| node.entries(what, mistakes)) {
        if let Some(place) = entry.node.parsed("a place", mistakes) {
            found.push((entry.key.clone(), place));
        }
    }
    found
}

fn conditions(node: &Node, mistakes: &mut Mistakes) -> Vec<(Place, Condition)> {
    let mut found = Vec::new();
    for entry in node.entries("`when`", mistakes) {
        let Ok(place) = entry.key.parse() else {
            mistakes.add(entry.at, format!("`{}` is no place", entry.key));
            continue;
        };
        let values = texts(&entry.node, "`when`", mistakes);
        let condition = match values.as_slice() {
            [word] if word == "any" => Condition::Any,
            [word] if word == "given" => Condition::Given,
            [word] if word == "none" => Condition::Nothing,
            [word] if word == "some_empty" => Condition::SomeEmpty,
            _ => Condition::OneOf(values),
        };
        found.push((place, condition));
    }
    found
}

/// The tables, a file for each section of the reference: whatever stands in `data/endpoints`, as `data/list.rs` lists it.
const ENDPOINT_TABLES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/endpoint_tables.rs"));
