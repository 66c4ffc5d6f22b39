//! What requests need, by the kind of what they are about, and the grants that give it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::json;

use super::rebuilt_request::identifier;
use super::trail::{SeenRequest, SeenResource};
use super::{LookUps, NarrowBy, ResourceFacts, scope_list};
use crate::catalog::{Catalog, Endpoint, Kind, KindId, Scope, TouchVerb};
use crate::request::{Asked, Target};

/// How far grants are narrowed, and what turned out to be needed beside.
pub(super) struct Narrowing {
    by: NarrowBy,
    /// Kinds that are not narrowed, as something that ran would be refused.
    free: BTreeSet<Option<KindId>>,
    /// Scopes that the record does not tell, by the kind of the grant that gives them.
    more: BTreeMap<Option<KindId>, BTreeSet<String>>,
}

/// What is needed, by kind; that of no kind belongs to nobody.
pub(super) struct Needs {
    by_kind: BTreeMap<Option<KindId>, Need>,
    patterns: BTreeMap<String, SeenTimes>,
}

/// What is read and what is changed of a kind: who looks at whatever there is and changes one thing is to change that one.
#[derive(Default)]
struct Need {
    reads: NeedSide,
    changes: NeedSide,
}

#[derive(Clone, Default)]
struct NeedSide {
    scopes: BTreeSet<String>,
    actions: BTreeSet<String>,
    /// What is named, by what it is called.
    named: BTreeMap<String, ResourceFacts>,
    created: BTreeSet<ResourceFacts>,
    hands_out: BTreeSet<String>,
    times: SeenTimes,
}

#[derive(Clone, Default)]
struct SeenTimes {
    count: u64,
    first: String,
    last: String,
}

/// What a grant is narrowed to.
struct NarrowedTo {
    kind: KindId,
    selector: String,
    on_create: Option<String>,
    why: String,
    /// What more things may have than the record tells of.
    common: Option<Common>,
}

/// What things have in common.
enum Common {
    Tag(String),
    Project(String),
    Begin(String),
}

impl Common {
    fn is_of(&self, thing: &ResourceFacts) -> bool {
        match self {
            Self::Tag(tag) => thing.tags.iter().any(|own| own.eq_ignore_ascii_case(tag)),
            Self::Project(project) => thing.project.as_ref() == Some(project),
            Self::Begin(begin) => {
                let name = thing.name.as_ref();
                name.is_some_and(|name| name.starts_with(begin.as_str()))
            }
        }
    }
}

/// What there is of each kind now, asked for once.
pub(super) struct ThereAre<'l> {
    look_ups: Option<&'l LookUps<'l>>,
    known: RefCell<BTreeMap<KindId, Option<Vec<ResourceFacts>>>>,
}

impl<'l> ThereAre<'l> {
    pub fn new(look_ups: Option<&'l LookUps<'l>>) -> Self {
        Self {
            look_ups,
            known: RefCell::default(),
        }
    }

    /// How many of a kind have that in common, where that can be told.
    fn having(&self, kind: KindId, common: &Common) -> Option<usize> {
        let look_ups = self.look_ups?;
        let mut known = self.known.borrow_mut();
        let all = known.entry(kind).or_insert_with(|| (look_ups.all)(kind));
        let having = all.as_ref()?.iter().filter(|thing| common.is_of(thing));
        Some(having.count())
    }
}

impl Narrowing {
    pub fn new(by: NarrowBy) -> Self {
        Self {
            by,
            free: BTreeSet::new(),
            more: BTreeMap::new(),
        }
    }

    /// Gives a request that was refused more: the scopes that it lacks, or else grants that are not narrowed. Whether there was
    /// more to give.
    pub fn widen(&mut self, seen: &SeenRequest, needs: &[Scope], catalog: &Catalog) -> bool {
        let about = about(seen, catalog);
        let more = self.more.entry(about).or_default();
        let before = more.len();
        more.extend(needs.iter().map(ToString::to_string));
        if more.len() > before {
            return true;
        }
        let kinds = seen.resources.iter().map(|it| root(&it.kind, catalog));
        let mut widened = false;
        for kind in kinds {
            widened |= self.free.insert(kind);
        }
        widened
    }
}

impl SeenTimes {
    fn add(&mut self, seen: &SeenRequest) {
        if self.count == 0 || seen.first < self.first {
            self.first.clone_from(&seen.first);
        }
        if seen.last > self.last {
            self.last.clone_from(&seen.last);
        }
        self.count += seen.count;
    }

    /// Those of both.
    fn and(&self, other: &Self) -> Self {
        let (first, second) = match (self.count, other.count) {
            (_, 0) => return self.clone(),
            (0, _) => return other.clone(),
            (_, _) => (&self.first, &other.first),
        };
        Self {
            count: self.count + other.count,
            first: first.min(second).clone(),
            last: (&self.last).max(&other.last).clone(),
        }
    }

    fn comment(&self) -> String {
        let Self { count, first, last } = self;
        let noun = if *count == 1 { "request" } else { "requests" };
        let day = |time: &str| time.get(..19).unwrap_or(time).to_owned();
        format!("{count} {noun}, {} to {}", day(first), day(last))
    }
}

impl Needs {
    pub fn of(seen: &[&SeenRequest], narrowing: &Narrowing, catalog: &Catalog) -> Self {
        let mut needs = Self {
            by_kind: BTreeMap::new(),
            patterns: BTreeMap::new(),
        };
        for seen in seen {
            needs.add(seen, catalog);
        }
        for (kind, scopes) in &narrowing.more {
            let need = needs.by_kind.entry(*kind).or_default();
            for scope in scopes {
                need.side(is_reading(scope)).scopes.insert(scope.clone());
            }
        }
        needs
    }

    fn add(&mut self, seen: &SeenRequest, catalog: &Catalog) {
        let Some(asked) = asked(seen, catalog) else {
            return;
        };
        let Some(endpoint) = asked.endpoint else {
            let pattern = format!("{} {}", seen.method, regex::escape(&seen.path));
            self.patterns.entry(pattern).or_default().add(seen);
            return;
        };
        let about = about(seen, catalog);
        let known = |scope: &&String| {
            scope
                .parse()
                .is_ok_and(|it: Scope| catalog.scopes().id(&it).is_some())
        };
        let mut left: BTreeSet<String> = seen.scopes.iter().filter(known).cloned().collect();
        for resource in &seen.resources {
            let kind = root(&resource.kind, catalog);
            let need = self.by_kind.entry(kind).or_default();
            let reads = match &resource.scope {
                Some(scope) => is_reading(scope),
                None => endpoint.reads(),
            };
            let side = need.side(reads);
            if let Some(scope) = resource
                .scope
                .as_ref()
                .filter(|scope| left.contains(*scope))
            {
                side.scopes.insert(scope.clone());
            }
            side.note(resource, kind, &asked, endpoint, catalog);
        }
        let by_resources = seen.resources.iter().filter_map(|it| it.scope.as_ref());
        by_resources.for_each(|scope| {
            left.remove(scope);
        });
        let need = self.by_kind.entry(about).or_default();
        for scope in left {
            need.side(is_reading(&scope)).scopes.insert(scope);
        }
        let side = need.side(endpoint.reads());
        side.times.add(seen);
        if let (Some(_), Some(action)) = (&endpoint.action, &seen.action) {
            side.actions.insert(action.clone());
        }
        if let Some(why) = &endpoint.sensitive {
            side.hands_out.insert(format!("{endpoint} {why}"));
        }
    }

    /// The policy, without tests.
    pub fn written(
        &mut self,
        name: &str,
        narrowing: &Narrowing,
        there_are: &ThereAre<'_>,
        catalog: &Catalog,
    ) -> String {
        let mut text = format!("version: 1\nroles:\n  {name}:\n    allow:\n");
        for (kind, need) in &self.by_kind {
            let narrowable = kind.filter(|_| !narrowing.free.contains(kind));
            let narrowable = narrowable.map(|kind| catalog.kinds().of(kind));
            for (side, narrowed) in need.sides(narrowable, narrowing.by) {
                side.write(*kind, narrowed.as_ref(), there_are, &mut text);
            }
        }
        for (pattern, times) in &self.patterns {
            let _ = writeln!(
                text,
                "      # {}; the catalogue does not know it",
                times.comment()
            );
            let _ = writeln!(text, "      - requests: [{}]", json!(pattern));
        }
        text
    }
}

/// Whether a scope lets its holder look and no more.
fn is_reading(scope: &str) -> bool {
    scope.ends_with(":read")
}

impl Need {
    fn side(&mut self, reads: bool) -> &mut NeedSide {
        if reads {
            &mut self.reads
        } else {
            &mut self.changes
        }
    }

    /// One grant; or where what it is about has nothing in common, one for what is read and one for what is changed, if that helps.
    fn sides(&self, kind: Option<&Kind>, by: NarrowBy) -> Vec<(NeedSide, Option<NarrowedTo>)> {
        let narrowed = |side: &NeedSide| kind.and_then(|kind| side.narrowed(kind, by));
        let both = self.reads.and(&self.changes);
        let whole = narrowed(&both);
        // What is made is called otherwise the next time: no part of that is told by its name of today.
        if whole.is_none() && both.created.is_empty() {
            let sides = [&self.reads, &self.changes].map(|side| (side.clone(), narrowed(side)));
            let grants = |(side, _): &(NeedSide, Option<NarrowedTo>)| !side.scopes.is_empty();
            let helps = |(_, narrowed): &(NeedSide, Option<NarrowedTo>)| narrowed.is_some();
            if sides.iter().all(grants) && sides.iter().any(helps) {
                return sides.into();
            }
        }
        vec![(both, whole)]
    }
}

impl NeedSide {
    fn and(&self, other: &Self) -> Self {
        let Self {
            scopes,
            actions,
            named,
            created,
            hands_out,
            times,
        } = other;
        let mut both = self.clone();
        both.scopes.extend(scopes.iter().cloned());
        both.actions.extend(actions.iter().cloned());
        for (id, facts) in named {
            let known = both.named.entry(id.clone()).or_default();
            if *known == ResourceFacts::default() {
                *known = facts.clone();
            }
        }
        both.created.extend(created.iter().cloned());
        both.hands_out.extend(hands_out.iter().cloned());
        both.times = self.times.and(times);
        both
    }

    /// Writes the grant, if there is something to grant.
    fn write(
        &self,
        kind: Option<KindId>,
        narrowed: Option<&NarrowedTo>,
        there_are: &ThereAre<'_>,
        text: &mut String,
    ) {
        if self.scopes.is_empty() {
            return;
        }
        let now = narrowed.and_then(|narrowed| {
            let common = narrowed.common.as_ref()?;
            there_are.having(narrowed.kind, common)
        });
        let now = now.map_or_else(String::new, |now| format!(", {now} now"));
        let _ = writeln!(text, "      # {}{now}", self.comment(kind, narrowed));
        for why in &self.hands_out {
            let _ = writeln!(text, "      # {why}");
        }
        let scopes = self.scopes.iter().filter_map(|scope| scope.parse().ok());
        let scopes: Vec<Scope> = scopes.collect();
        let _ = writeln!(text, "      - scopes: [{}]", scope_list(scopes.iter()));
        if let Some(narrowed) = narrowed {
            let _ = writeln!(
                text,
                "        only: {{ {}: {{ {} }} }}",
                narrowed.kind, narrowed.selector
            );
        }
        if !self.actions.is_empty() {
            let actions: Vec<_> = self.actions.iter().map(String::as_str).collect();
            let _ = writeln!(text, "        actions: [{}]", actions.join(", "));
        }
        if let Some(on_create) = narrowed.and_then(|it| it.on_create.as_ref()) {
            let _ = writeln!(text, "        on_create: {{ {on_create} }}");
        }
    }

    /// Notes what is touched: by the outermost thing that it belongs to, as a selector on that covers it.
    fn note(
        &mut self,
        resource: &SeenResource,
        root: Option<KindId>,
        asked: &Asked<'_>,
        endpoint: &Endpoint,
        catalog: &Catalog,
    ) {
        if resource.kind != root.map_or("", KindId::name) {
            let rules = endpoint.touches.rules().iter();
            let outermost = rules
                .filter(|rule| rule.kind.name() == resource.kind)
                .find_map(|rule| rule.of.first().filter(|(kind, _)| Some(*kind) == root));
            let names = outermost
                .map(|(_, place)| asked.names(place))
                .unwrap_or_default();
            for name in names {
                self.named.entry(name.to_owned()).or_default();
            }
            return;
        }
        let Some(id) = &resource.id else {
            let creates =
                endpoint.touches.rules().iter().any(|rule| {
                    rule.verb == TouchVerb::Create && rule.kind.name() == resource.kind
                });
            if creates {
                self.created.insert(resource.facts.clone());
            }
            return;
        };
        let public = root.map_or(&[][..], |kind| &*catalog.kinds().of(kind).public);
        let is_nobodys = public.contains(id);
        if id.starts_with("tag:") || is_nobodys {
            return;
        }
        let known = self.named.entry(id.clone()).or_default();
        if *known == ResourceFacts::default() {
            *known = resource.facts.clone();
        }
    }

    fn comment(&self, kind: Option<KindId>, narrowed: Option<&NarrowedTo>) -> String {
        let what = if self.times.count == 0 {
            "named by the others".to_owned()
        } else {
            self.times.comment()
        };
        let kind = kind.map_or("nobody's", KindId::name);
        match narrowed {
            Some(narrowed) => format!("{kind}: {what}; {}", narrowed.why),
            None => format!("{kind}: {what}"),
        }
    }

    fn narrowed(&self, kind: &Kind, by: NarrowBy) -> Option<NarrowedTo> {
        let things: Vec<&ResourceFacts> = self.named.values().chain(&self.created).collect();
        if things.is_empty() {
            return None;
        }
        let ids = || self.by_id(kind, by == NarrowBy::Id);
        let tag = || self.by_tag(kind, &things);
        let name = || Self::by_name(kind, &things);
        let project = || self.by_project(kind, &things);
        match by {
            NarrowBy::None => None,
            NarrowBy::Id => ids(),
            NarrowBy::Tag => tag(),
            NarrowBy::Name => name(),
            NarrowBy::Project => project(),
            NarrowBy::Auto => ids().or_else(tag).or_else(name).or_else(project),
        }
    }

    fn by_id(&self, kind: &Kind, any_number: bool) -> Option<NarrowedTo> {
        let few = any_number || self.named.len() <= MOST_IDS;
        // An action is another each time: the next run has none of these.
        let few = few && kind.counts_as.is_empty();
        let plain = self.named.keys().all(|id| is_exact(id));
        let ids: Vec<_> = self.named.keys().map(|id| json!(id).to_string()).collect();
        (self.created.is_empty() && few && plain).then(|| NarrowedTo {
            kind: kind.id,
            selector: format!("{}: [{}]", identifier(kind), ids.join(", ")),
            on_create: None,
            why: format!("by id, {} in the record", counted(ids.len())),
            common: None,
        })
    }

    fn by_tag(&self, kind: &Kind, things: &[&ResourceFacts]) -> Option<NarrowedTo> {
        let (first, others) = things.split_first()?;
        let common =
            |tag: &&String| is_exact(tag) && others.iter().all(|it| it.tags.contains(*tag));
        let tag = first.tags.iter().filter(|_| kind.has("tag")).find(common)?;
        Some(NarrowedTo {
            kind: kind.id,
            selector: format!("tag: {}", json!(tag)),
            on_create: (!self.created.is_empty()).then(|| format!("tags: [{}]", json!(tag))),
            why: format!(
                "by a tag that all of them have, {} in the record",
                counted(things.len())
            ),
            common: Some(Common::Tag(tag.clone())),
        })
    }

    fn by_project(&self, kind: &Kind, things: &[&ResourceFacts]) -> Option<NarrowedTo> {
        let (first, others) = things.split_first()?;
        let project = first.project.as_ref().filter(|_| kind.has("project"))?;
        let common =
            is_exact(project) && others.iter().all(|it| it.project.as_ref() == Some(project));
        common.then(|| NarrowedTo {
            kind: kind.id,
            selector: format!("project: {}", json!(project)),
            on_create: (!self.created.is_empty()).then(|| format!("project: {}", json!(project))),
            why: format!(
                "by the project that all of them are in, {} in the record",
                counted(things.len())
            ),
            common: Some(Common::Project(project.clone())),
        })
    }

    fn by_name(kind: &Kind, things: &[&ResourceFacts]) -> Option<NarrowedTo> {
        let names: Option<Vec<&str>> = things.iter().map(|it| it.name.as_deref()).collect();
        let names = names.filter(|names| kind.has("name") && !names.is_empty())?;
        let first = *names.first()?;
        let length = names.iter().map(|name| common(first, name)).min()?;
        let begin: String = first.chars().take(length).collect();
        (length >= LEAST_LETTERS && is_exact(&begin)).then(|| NarrowedTo {
            kind: kind.id,
            selector: format!("name: {}", json!(format!("{begin}*"))),
            on_create: None,
            why: format!(
                "by how their names begin, {} in the record",
                counted(things.len())
            ),
            common: Some(Common::Begin(begin)),
        })
    }
}

/// As many ids are listed where something else could tell what is meant.
pub(super) const MOST_IDS: usize = 3;
/// The letters that a common beginning of names has at least.
const LEAST_LETTERS: usize = 3;

fn counted(count: usize) -> String {
    format!("{count} {}", if count == 1 { "thing" } else { "things" })
}

/// How many letters two names have in common at their beginning.
fn common(one: &str, other: &str) -> usize {
    one.chars()
        .zip(other.chars())
        .take_while(|(a, b)| a == b)
        .count()
}

/// Whether a selector means the text itself by it.
fn is_exact(text: &str) -> bool {
    !text.is_empty() && !text.starts_with('/') && !text.contains(['*', '?']) && !text.contains("${")
}

fn asked<'c>(seen: &SeenRequest, catalog: &'c Catalog) -> Option<Asked<'c>> {
    let target = Target::read(&seen.path).ok()?;
    Some(Asked::new(seen.method.parse().ok()?, target, catalog))
}

/// The kind of what a request is about: of the outermost thing that it belongs to. None where that is nobody's.
fn about(seen: &SeenRequest, catalog: &Catalog) -> Option<KindId> {
    let asked = asked(seen, catalog);
    let rules = asked.as_ref().and_then(|asked| asked.endpoint);
    let rules = rules.map_or(&[][..], |endpoint| endpoint.touches.rules());
    let is_first = |it: &&SeenResource| {
        rules
            .iter()
            .any(|rule| rule.is_first() && rule.kind.name() == it.kind)
    };
    let first = seen.resources.iter().find(is_first)?;
    root(&first.kind, catalog)
}

/// The outermost kind that one belongs to, as a record calls it; none for what is no kind.
fn root(kind: &str, catalog: &Catalog) -> Option<KindId> {
    let kind = catalog.kinds().find(kind)?;
    let outermost = catalog.kinds().ancestors(kind).last().unwrap_or(kind);
    Some(outermost.id)
}
