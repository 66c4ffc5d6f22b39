//! What a role would need for a refused request to pass: exactly that, for the resources that the request names and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::catalog::{
    Catalog, Endpoint, Kind, KindId, Method, Scope, ScopeSet, TouchKind, TouchRule, TouchVerb,
};
use crate::policy::{self, BoundGrant, Grants, RequestPattern, Vars};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, Target};

/// The request that was refused.
pub(crate) struct RefusedRequest<'r> {
    pub method: Method,
    pub path: &'r str,
    pub body: Option<&'r [u8]>,
    pub refusal: &'r Refusal,
}

/// What a role would need in its `allow` for the request to pass, where a grant can do that. It was tried before it is told:
/// `decide` says what becomes of the request under other grants.
pub(crate) fn suggestion(
    refused: &RefusedRequest<'_>,
    grants: &Grants,
    catalog: &Catalog,
    decide: impl Fn(&Grants) -> Result<String, Refusal>,
) -> Option<String> {
    match refused.refusal.code {
        Code::Scope | Code::FieldScope | Code::Resource | Code::ResourceHidden | Code::Action => {
            let search = GrantSearch {
                grants,
                catalog,
                decide,
            };
            search.suggestion(refused)
        }
        Code::UnknownEndpoint => pattern(refused, grants, decide),
        _ => None,
    }
}

/// A grant to be tried.
#[derive(Clone, Default)]
struct Draft {
    scopes: Vec<Scope>,
    only: NamedByKind,
    action: Option<String>,
}

struct GrantSearch<'s, D> {
    grants: &'s Grants,
    catalog: &'s Catalog,
    decide: D,
}

impl<D: Fn(&Grants) -> Result<String, Refusal>> GrantSearch<'_, D> {
    fn suggestion(&self, refused: &RefusedRequest<'_>) -> Option<String> {
        let catalog = self.catalog;
        let target = Target::read(refused.path).ok()?;
        let mut asked = Asked::new(refused.method, target, catalog);
        if let Some(body) = refused.body.filter(|body| !body.is_empty()) {
            asked.take_body(body, catalog).ok()?;
        }
        let endpoint = asked.endpoint?;
        let mut draft = Draft {
            scopes: refused.refusal.needs.clone(),
            only: if lists_all(endpoint) {
                BTreeMap::new() // a list names none of what it shows: what narrows it is no resource
            } else {
                named(&asked, endpoint, catalog)
            },
            action: asked.action().map(str::to_owned),
        };
        if draft.scopes.is_empty() {
            let first = endpoint.scopes.first()?;
            draft.scopes = catalog.scopes().names(first).cloned().collect();
        }
        self.complete(&mut draft, endpoint)?;
        self.prune(&mut draft);
        Some(draft.to_string())
    }

    /// Adds the scopes that turn out to be missing once it has the others: of fields, of what is named beside.
    fn complete(&self, draft: &mut Draft, endpoint: &Endpoint) -> Option<()> {
        let mut beside = Some(beside(endpoint, self.catalog));
        loop {
            let Err(refusal) = self.tried(draft) else {
                return Some(());
            };
            let known = draft.scopes.len();
            let mut wanted = refusal.needs;
            if wanted.iter().all(|scope| draft.scopes.contains(scope)) {
                // No scope helps further where a deny strikes, or something is touched that the request does not name.
                wanted.extend(beside.take()?);
            }
            for scope in wanted {
                if !draft.scopes.contains(&scope) {
                    draft.scopes.push(scope);
                }
            }
            if draft.scopes.len() == known {
                return None;
            }
        }
    }

    /// Takes out the scopes that it can do without.
    fn prune(&self, draft: &mut Draft) {
        for scope in draft.scopes.clone() {
            let mut less = draft.clone();
            less.scopes.retain(|kept| *kept != scope);
            if !less.scopes.is_empty() && self.tried(&less).is_ok() {
                *draft = less;
            }
        }
    }

    fn tried(&self, draft: &Draft) -> Result<String, Refusal> {
        let role = format!(
            "version: 1\nroles:\n  suggestion:\n{}",
            indented(&draft.to_string())
        );
        let unreadable = || Refusal::new(Code::Resource, "no grant can be written for it");
        let policy = policy::read_alone("suggestion", &role, self.catalog);
        let policy = policy.map_err(|_| unreadable())?;
        let bound = policy::bind(&policy, &["suggestion".to_owned()], &Vars::new());
        let bound = bound.map_err(|_| unreadable())?;
        let mut grants = self.grants.clone();
        grants.allow.extend(bound.allow);
        grants.has_only |= bound.has_only;
        (self.decide)(&grants)
    }
}

fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |indented, line| {
        indented + "    " + line + "\n"
    })
}

/// Whether an endpoint lists what stands under nothing that its path names.
fn lists_all(endpoint: &Endpoint) -> bool {
    let mut firsts = endpoint
        .touches
        .rules()
        .iter()
        .filter(|rule| rule.is_first());
    firsts.any(|rule| rule.verb == TouchVerb::List && rule.of.is_empty())
}

/// What the request itself names, as far as it says of which kind that is.
fn named(asked: &Asked<'_>, endpoint: &Endpoint, catalog: &Catalog) -> NamedByKind {
    let kinds = catalog.kinds();
    let mut all = NamedByKind::new();
    let rules = endpoint.touches.rules().iter();
    for rule in rules.filter(|rule| asked.applies(rule)) {
        // A name may be another's under another parent.
        for (parent, at) in &rule.of {
            put(&mut all, kinds.of(*parent), "id", asked.names(at));
        }
        match (&rule.at, &rule.kind) {
            (Some(at), TouchKind::One(kind)) => {
                let kind = kinds.of(*kind);
                let by = rule.by.word();
                let names = asked.names(at).into_iter();
                let owned = names.filter(|name| !rule.public.iter().any(|public| public == name));
                put(&mut all, kind, by, owned);
            }
            (Some(at), TouchKind::Urn) => {
                let urns = asked.names(at).into_iter().filter_map(|urn| kinds.urn(urn));
                urns.for_each(|(kind, name)| put(&mut all, kind, "id", [name.as_str()]));
            }
            (None, TouchKind::One(kind)) => {
                put(&mut all, kinds.of(*kind), "name", made_as(rule, asked));
            }
            (Some(_) | None, _) => {}
        }
    }
    all
}

/// Of each kind the attribute that resources are named by, and the values of it.
type NamedByKind = BTreeMap<KindId, (String, BTreeSet<String>)>;

/// Adds names of a kind that are values of an attribute. What is named by another attribute already stays as it is.
fn put<'n>(
    all: &mut NamedByKind,
    kind: &Kind,
    attribute: &str,
    names: impl IntoIterator<Item = &'n str>,
) {
    if kind.everybody_has {
        return;
    }
    let attribute = match attribute {
        "id" if matches!(kind.id, KindId::Domain | KindId::Tag) => "name",
        other => other,
    };
    for name in names {
        let (by, values) = all
            .entry(kind.id)
            .or_insert_with(|| (attribute.to_owned(), BTreeSet::new()));
        if by == attribute {
            values.insert(exactly(name));
        }
    }
}

/// The name that something which is made gets, where the request says one.
fn made_as<'a>(rule: &TouchRule, asked: &'a Asked<'_>) -> Option<&'a str> {
    let named = rule.after.iter().find(|(attribute, _)| attribute == "name");
    let (_, places) = named?;
    places.iter().flat_map(|place| asked.names(place)).next()
}

/// A value that stands for itself and nothing else.
fn exactly(name: &str) -> String {
    if name.contains(['*', '?']) || name.starts_with('/') {
        format!("/{}/", regex::escape(name))
    } else {
        name.to_owned()
    }
}

/// The scopes that what an endpoint touches beside may come to by itself.
fn beside(endpoint: &Endpoint, catalog: &Catalog) -> Vec<Scope> {
    let mut all = ScopeSet::default();
    for set in &endpoint.scopes {
        all.add(set);
    }
    for rule in endpoint.touches.rules() {
        let TouchKind::One(kind) = &rule.kind else {
            continue;
        };
        let own = catalog.kinds().of(*kind).scope_of(rule.verb);
        rule.scope
            .into_iter()
            .chain(own)
            .for_each(|scope| all.insert(scope));
    }
    catalog.scopes().names(&all).cloned().collect()
}

/// The YAML of a role's `allow`.
impl std::fmt::Display for Draft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scopes: Vec<_> = self.scopes.iter().map(Scope::as_str).collect();
        write!(f, "allow:\n  - scopes: [{}]", scopes.join(", "))?;
        if !self.only.is_empty() {
            let kinds = self.only.iter().map(|(kind, (attribute, values))| {
                let values: Vec<_> = values.iter().map(|value| scalar(value)).collect();
                match values.as_slice() {
                    [one] => format!("{kind}: {{ {attribute}: {one} }}"),
                    _ => format!("{kind}: {{ {attribute}: [{}] }}", values.join(", ")),
                }
            });
            let kinds: Vec<_> = kinds.collect();
            write!(f, "\n    only: {{ {} }}", kinds.join(", "))?;
        }
        if let Some(action) = &self.action {
            write!(f, "\n    actions: [{}]", scalar(action))?;
        }
        Ok(())
    }
}

/// A text as YAML takes it in a list between brackets.
fn scalar(text: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    let word = text.starts_with(|letter: char| letter.is_ascii_alphanumeric());
    let reserved = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    if word && text.chars().all(plain) && !reserved.contains(&text.to_lowercase().as_str()) {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}

/// A pattern that matches this request alone: its path, or path and query where that has more than paging in it.
fn pattern(
    refused: &RefusedRequest<'_>,
    grants: &Grants,
    decide: impl Fn(&Grants) -> Result<String, Refusal>,
) -> Option<String> {
    let target = Target::read(refused.path).ok()?;
    let with_query = target.path_and_query();
    let lines = [target.path(), &with_query];
    let patterns = lines.map(|line| format!("{} {}", refused.method, regex::escape(line)));
    let fits = |pattern: &&String| {
        RequestPattern::new(pattern).is_ok_and(|pattern| {
            let mut grants = grants.clone();
            let alone = BoundGrant::of_pattern("suggestion", pattern);
            grants.allow.push(Arc::new(alone));
            decide(&grants).is_ok()
        })
    };
    let pattern = patterns.iter().find(fits)?;
    Some(format!(
        "allow:\n  - requests: ['{}']",
        pattern.replace('\'', "''")
    ))
}
