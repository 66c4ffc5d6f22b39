//! Which worlds no decision tells apart, and which roles.
//!
//! A decision sees of a name what patterns it matches, what form it has, whether it is another name of the same request or stands
//! at the end of one (a record in its zone), and whether the catalogue has it. Where two worlds are alike in all of that, a request
//! in one comes to what it comes to in the other, and is tried once. Where two roles are, as those of a hundred clients, what a
//! change does to one is what it does to the other, under other names.
//!
//! INVARIANT: what differs in anything that could be told apart is never taken for the same. A name that means something by
//! itself (it stands in the catalogue, has a sign that names of resources seldom have, or a pattern of requests might match it)
//! is alike to itself alone.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::rc::Rc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ChangedOperation;
use super::request::{creates, id_of, kinds_of, samples_of};
use super::witness::{Witness, each_once};
use crate::catalog::{Catalog, Endpoint, Kind, KindId, NameForm};
use crate::policy::{BoundGrant, Grants, Matcher};
use crate::resource::as_host;

/// What was found of roles that are alike, for all of one comparison.
pub(super) struct AlikeRoles {
    pub words: Words,
    known: Mutex<HashMap<RoleShape, FoundOnce>>,
}

type FoundOnce = Arc<OnceLock<Arc<[ChangedOperation]>>>;

/// All that a decision could tell of a role before a change and after it, but for its names.
type RoleShape = [u8; 32];

impl AlikeRoles {
    pub fn new(catalog: &Catalog) -> Self {
        Self {
            words: Words::of(catalog),
            known: Mutex::default(),
        }
    }

    /// What was found for the first role of that shape.
    pub fn once(
        &self,
        shape: Option<RoleShape>,
        find: impl FnOnce() -> Vec<ChangedOperation>,
    ) -> Arc<[ChangedOperation]> {
        let Some(shape) = shape else {
            return find().into();
        };
        let found = {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(shape).or_default())
        };
        Arc::clone(found.get_or_init(|| find().into()))
    }
}

/// The words that mean something by themselves, and the names that requests have whatever is asked.
pub(super) struct Words {
    all: HashSet<String>,
    samples: BTreeSet<String>,
    /// Which words a pattern matches.
    matched: Mutex<HashMap<String, Arc<str>>>,
}

/// Words of policies and of code that no table has.
const OURS: [&str; 6] = ["any", "default", "true", "false", "null", "none"];

impl Words {
    fn of(catalog: &Catalog) -> Self {
        // Whatever a table says, rows of `catalog.extra` among them, stands somewhere in this; but for the names of kinds, as what
        // is printed of those are their ids.
        let all = format!("{catalog:?}");
        let words = all.split(|sign| !is_plain(sign));
        let words = words.chain(OURS).filter(|word| !word.is_empty());
        let samples = samples_of(catalog);
        let words = words.map(str::to_owned).chain(samples.iter().cloned());
        let words = words.chain(KindId::names().map(str::to_owned));
        Self {
            all: words.collect(),
            samples,
            matched: Mutex::default(),
        }
    }

    /// Whether a text may mean something by itself.
    fn mean(&self, text: &str) -> bool {
        let odd = |text: &str| {
            let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
            text.len() < 3
                || text.len() > 63
                || !text.chars().all(is_plain)
                || text.ends_with('.')
                || !is_number && text.parse::<f64>().is_ok()
        };
        odd(text) || self.all.contains(text)
    }

    /// Which words a pattern matches: it may stand beside any of them.
    fn matched_by(&self, (kind, attribute, matcher): AskedValue<'_>) -> Arc<str> {
        let key = format!("{kind:?} {attribute} {matcher:?}");
        let mut known = self.matched.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.entry(key).or_insert_with(|| {
            let mut words: Vec<&str> = self.all.iter().map(String::as_str).collect();
            words.retain(|word| matcher.matches(word));
            words.sort_unstable();
            words.join(" ").into()
        });
        Arc::clone(found)
    }
}

fn is_plain(sign: char) -> bool {
    sign.is_ascii_lowercase() || sign.is_ascii_digit() || matches!(sign, '.' | '_' | '-')
}

/// A value that a selector asks for: of which kind, if it names one, and attribute.
type AskedValue<'g> = (Option<KindId>, &'g str, &'g Matcher);

/// The names of a role and of its worlds, with what can be told of each.
pub(super) struct Signs<'r> {
    at: HashMap<&'r str, usize>,
    names: Vec<Sign>,
    /// As many of them are the same for every role.
    samples: usize,
    /// What its patterns match among the words that mean something.
    matched: Vec<Arc<str>>,
}

struct Sign {
    /// As it is compared where case does not matter.
    lower: String,
    /// What can be told of it by itself.
    told: String,
    /// The same for those of which the same can be told.
    class: usize,
}

impl<'r> Signs<'r> {
    pub fn of(
        sides: &'r [Option<Grants>; 2],
        witnesses: &'r [Witness],
        words: &'r Words,
        catalog: &Catalog,
    ) -> Self {
        let grants = || sides.iter().flatten().flat_map(all_grants);
        let mut texts = Texts::default();
        words.samples.iter().for_each(|text| texts.add(text));
        let samples = texts.all.len();
        let base = witnesses.iter().flat_map(|it| it.base.iter());
        base.for_each(|(_, _, value)| texts.add(value));
        let added = grants().filter_map(|grant| grant.written().get("on_create"));
        added.for_each(|added| leaves(added, &mut |text| texts.add(text)));
        let fixed = texts.all.len();
        let only = grants().filter_map(|grant| grant.written().get("only"));
        only.for_each(|only| leaves(only, &mut |text| texts.add(text)));
        let has = witnesses
            .iter()
            .flat_map(|it| it.has.iter().chain(&it.misses));
        has.for_each(|(_, _, value)| texts.add(value));

        let all_mean = grants().any(BoundGrant::goes_by_request);
        let asked: Vec<AskedValue<'_>> = grants().flat_map(BoundGrant::matchers).collect();
        let mut names: Vec<Sign> = Vec::new();
        for text in &texts.all {
            let mut told = told(text, &asked, catalog);
            if all_mean || words.mean(text) {
                let _ = write!(told, " {text:?}");
            }
            names.push(Sign {
                lower: text.to_lowercase(),
                told,
                class: 0,
            });
        }
        let mut signs = Self {
            at: texts.at,
            names,
            samples,
            matched: asked
                .iter()
                .filter(|(_, _, matcher)| !matcher.is_exact())
                .map(|asked| words.matched_by(*asked))
                .collect(),
        };
        signs.classify(fixed);
        signs
    }

    /// What stands beside a name in every request, as what is added to what is made, may be told apart from it.
    fn classify(&mut self, fixed: usize) {
        let mut classes: HashMap<String, usize> = HashMap::new();
        for at in 0..self.names.len() {
            let mut told = self
                .names
                .get(at)
                .map_or(String::new(), |it| it.told.clone());
            for other in 0..fixed {
                if let Some(how) = self.relation(at, other) {
                    let _ = write!(told, " {how}{other}");
                }
            }
            let next = classes.len();
            let class = *classes.entry(told).or_insert(next);
            if let Some(sign) = self.names.get_mut(at) {
                sign.class = class;
            }
        }
    }

    /// Whether a name is another, or one stands at the end of the other.
    fn relation(&self, one: usize, other: usize) -> Option<char> {
        if one == other {
            return Some('=');
        }
        let (one, other) = (self.names.get(one)?, self.names.get(other)?);
        if one.lower == other.lower {
            Some('~')
        } else if one.lower.ends_with(&other.lower) {
            Some('>')
        } else if other.lower.ends_with(&one.lower) {
            Some('<')
        } else {
            None
        }
    }

    /// What of a world can be told by a request that names these kinds; by one that `creates` also, what the world says itself.
    fn seen(&self, witness: &Witness, kinds: &[&Kind], creates: bool) -> String {
        let mut seen = String::new();
        let mut all: Vec<usize> = Vec::new();
        for kind in kinds {
            let named: BTreeMap<&str, &str> = witness.of(kind).collect(); // what is said last counts
            let id = id_of(kind, witness);
            let named = named.into_iter().chain([("called", id.as_str())]);
            let said = witness.said_of(kind).filter(|_| creates);
            said.for_each(|(attribute, _)| {
                let _ = write!(seen, " {} {attribute}!", kind.id);
            });
            for (attribute, text) in named {
                let Some((at, sign)) = self.sign(text) else {
                    let _ = write!(seen, " {} {attribute} {text:?}", kind.id);
                    continue;
                };
                let _ = write!(seen, " {} {attribute} {}", kind.id, sign.class);
                all.push(at);
            }
        }
        for (place, one) in all.iter().enumerate() {
            for (other_place, other) in all.iter().enumerate().take(place) {
                if let Some(how) = self.relation(*one, *other) {
                    let _ = write!(seen, " {place}{how}{other_place}");
                }
            }
        }
        seen
    }

    fn sign(&self, text: &str) -> Option<(usize, &Sign)> {
        let at = *self.at.get(text)?;
        Some((at, self.names.get(at)?))
    }

    /// All that a decision could tell of the role; `None` where it has so many names that comparing them all costs more than it
    /// saves.
    pub fn shape(&self, sides: &[Option<Grants>; 2], witnesses: &[Witness]) -> Option<RoleShape> {
        if self.names.len() > MOST_NAMES {
            return None;
        }
        let mut told = String::new();
        for side in sides {
            told.push_str(if side.is_some() { "\nside" } else { "\nnone" });
            let Some(grants) = side else { continue };
            for (list, grants) in [("allow", &grants.allow), ("deny", &grants.deny)] {
                for grant in grants {
                    let _ = write!(told, "\n{list} ");
                    self.number(grant.written(), false, &mut told);
                }
            }
        }
        let base = witnesses.first().map(|witness| witness.base.iter());
        self.number_all(base.into_iter().flatten(), &mut told);
        for witness in witnesses {
            told.push(';');
            self.number_all(witness.has.iter(), &mut told);
            told.push('!');
            self.number_all(witness.misses.iter(), &mut told);
        }
        self.matched.iter().for_each(|matched| {
            let _ = write!(told, "\n{matched}");
        });
        for at in 0..self.names.len() {
            let _ = write!(told, "\n{}", self.names.get(at).map_or("", |it| &it.told));
            let others = if at < self.samples { 0 } else { at };
            for other in 0..others {
                if let Some(how) = self.relation(at, other) {
                    let _ = write!(told, " {how}{other}");
                }
            }
        }
        Some(Sha256::digest(told.as_bytes()).into())
    }

    fn number_all<'h>(
        &self,
        all: impl Iterator<Item = &'h super::witness::Has>,
        told: &mut String,
    ) {
        for (kind, attribute, value) in all {
            let at = self.at.get(value.as_str());
            let _ = write!(told, " {kind:?} {attribute} {at:?}");
        }
    }

    /// A grant as it was written, its names by their numbers.
    fn number(&self, written: &Value, numbers: bool, told: &mut String) {
        match written {
            Value::String(text) if numbers => {
                let _ = write!(told, "#{:?}", self.at.get(text.as_str()));
            }
            Value::Array(items) => {
                told.push('[');
                for item in items {
                    self.number(item, numbers, told);
                }
                told.push(']');
            }
            Value::Object(members) => {
                told.push('{');
                for (key, value) in members {
                    let _ = write!(told, "{key:?}:");
                    let has_names = matches!(key.as_str(), "only" | "on_create");
                    self.number(value, numbers || has_names, told);
                }
                told.push('}');
            }
            other => {
                let _ = write!(told, "{other},");
            }
        }
    }
}

/// Of so many names each is compared with each.
const MOST_NAMES: usize = 600;

#[derive(Default)]
struct Texts<'r> {
    at: HashMap<&'r str, usize>,
    all: Vec<&'r str>,
}

impl<'r> Texts<'r> {
    fn add(&mut self, text: &'r str) {
        let next = self.all.len();
        if *self.at.entry(text).or_insert(next) == next {
            self.all.push(text);
        }
    }
}

fn all_grants(grants: &Grants) -> impl Iterator<Item = &BoundGrant> {
    grants.allowing().chain(grants.denying())
}

fn leaves<'v>(written: &'v Value, each: &mut impl FnMut(&'v str)) {
    match written {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| leaves(item, each)),
        Value::Object(members) => members.values().for_each(|member| leaves(member, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// What can be told of a name by itself: its forms, and which values of the role's selectors it is.
fn told(text: &str, asked: &[AskedValue<'_>], catalog: &Catalog) -> String {
    let mut told = String::new();
    for form in NameForm::all() {
        let read = form.read(text, catalog.kinds());
        told.push(match read {
            None => '-',
            Some(read) if read == text => '=',
            Some(_) => '~',
        });
    }
    let host = as_host(text);
    told.push(match &host {
        None => '-',
        Some(host) if host == text => '=',
        Some(_) => '~',
    });
    let lower = text.to_lowercase();
    let spellings = [Some(text), Some(lower.as_str()), host.as_deref()];
    for (_, _, matcher) in asked {
        let matches = spellings.map(|text| text.is_some_and(|text| matcher.matches(text)));
        told.push(match matches {
            [false, false, false] => '0',
            [true, true, true] => '1',
            [true, true, false] => '2',
            [true, false, _] => '3',
            [false, true, _] => '4',
            [false, false, true] => '5',
        });
    }
    told
}

/// The worlds of a role, as requests see them.
pub(super) struct Worlds<'w> {
    witnesses: &'w [Witness],
    signs: Option<&'w Signs<'w>>,
    catalog: &'w Catalog,
    known: RefCell<BTreeMap<BTreeSet<KindId>, Rc<Concerned>>>,
}

/// The worlds that differ in what concerns a request.
pub(super) struct Concerned {
    pub all: Vec<Witness>,
    kinds: Vec<KindId>,
    /// Those that are the same to every decision, of a request that makes nothing and of one that does.
    same: [OnceLock<Vec<Vec<usize>>>; 2],
}

impl<'w> Worlds<'w> {
    pub fn new(
        witnesses: &'w [Witness],
        signs: Option<&'w Signs<'w>>,
        catalog: &'w Catalog,
    ) -> Self {
        Self {
            witnesses,
            signs,
            catalog,
            known: RefCell::default(),
        }
    }

    /// Those that concern an endpoint: what a world says of other kinds makes no other request.
    pub fn about(&self, endpoint: &'w Endpoint) -> Rc<Concerned> {
        let kinds: BTreeSet<KindId> = kinds_of(endpoint).collect();
        if let Some(known) = self.known.borrow().get(&kinds) {
            return Rc::clone(known);
        }
        let witnesses = self.witnesses.iter();
        let about = witnesses.map(|witness| witness.about(&kinds, self.catalog));
        let concerned = Rc::new(Concerned {
            all: each_once(about),
            kinds: kinds.iter().copied().collect(),
            same: Default::default(),
        });
        self.known.borrow_mut().insert(kinds, Rc::clone(&concerned));
        concerned
    }

    /// Those of them, by their places, that are the same to every decision.
    pub fn same<'c>(&self, concerned: &'c Concerned, endpoint: &Endpoint) -> &'c [Vec<usize>] {
        let creates = creates(endpoint);
        let [of_others, of_creating] = &concerned.same;
        let same = if creates { of_creating } else { of_others };
        same.get_or_init(|| {
            let places = 0..concerned.all.len();
            let Some(signs) = self.signs else {
                return places.map(|at| vec![at]).collect();
            };
            let kinds = concerned.kinds.iter();
            let kinds: Vec<&Kind> = kinds.map(|kind| self.catalog.kinds().of(*kind)).collect();
            let mut same: Vec<Vec<usize>> = Vec::new();
            let mut known: HashMap<String, usize> = HashMap::new();
            for (at, witness) in concerned.all.iter().enumerate() {
                let next = same.len();
                let group = *known
                    .entry(signs.seen(witness, &kinds, creates))
                    .or_insert(next);
                match same.get_mut(group) {
                    Some(group) => group.push(at),
                    None => same.push(vec![at]),
                }
            }
            same
        })
    }
}
