//! Requests to an endpoint, as many as do something else.

use std::collections::BTreeSet;

use super::witness::Witness;
use crate::catalog::{
    Action, Catalog, Endpoint, Kind, KindId, NameForm, Place, Segment, TouchKind, TouchRule,
    TouchVerb,
};
use crate::learn::ResourceFacts;
use crate::learn::rebuilt_request::{self, identifier};
use crate::learn::trail::{SeenRequest, SeenResource};
use crate::policy::{Allowed, Grants, asked_by_test, decide_asked};
use crate::request::encoded;

/// What stands in a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::learn) struct RequestParts<'e> {
    named: NamedParts<'e>,
    /// Whether what is created has what everything has in its world, beside what that says of it: who leaves a tag out needs none.
    filled: bool,
}

/// Which parts of a request are there beside its path.
#[derive(Clone, Copy, Debug)]
enum NamedParts<'e> {
    Path,
    All,
    Field(&'e str),
}

/// What either side says to a request, where it allows it.
pub(super) fn decided(
    seen: &SeenRequest,
    sides: &[Option<Grants>; 2],
    catalog: &Catalog,
) -> [Option<Allowed>; 2] {
    let test = rebuilt_request::test(seen, "", catalog);
    let asked = asked_by_test(&test, catalog);
    sides.each_ref().map(|side| {
        let (grants, asked) = side.as_ref().zip(asked.as_ref())?;
        decide_asked(asked, &test.given, grants, catalog).ok()
    })
}

pub(super) fn could_allow(grants: &Grants, endpoint: &Endpoint) -> bool {
    grants.allowing().any(|grant| match grant.scopes() {
        Some(scopes) => endpoint
            .scopes
            .iter()
            .any(|set| set.is_empty() || scopes.meets(set)),
        None => true,
    })
}

/// What is tried of an endpoint: what it does, its action, and what stands in the request.
pub(in crate::learn) fn variants(
    endpoint: &Endpoint,
) -> Vec<(String, Option<&str>, RequestParts<'_>)> {
    let does = does(endpoint);
    let fields: Vec<String> = endpoint
        .fields
        .iter()
        .map(|field| field.at.to_string())
        .collect();
    let actions: Vec<Option<&str>> = match &endpoint.action {
        Some(Action::Named { one_of, .. }) => {
            one_of.iter().map(|action| Some(action.as_str())).collect()
        }
        Some(Action::Always(_)) | None => vec![None],
    };
    let elsewhere = |rule: &TouchRule| matches!(rule.at, Some(Place::Body(_) | Place::Query(_)));
    let names_others = endpoint.touches.rules().iter().any(elsewhere);
    let mut variants = Vec::new();
    for action in actions {
        let does = action.map_or_else(|| does.to_owned(), |action| format!("{does} ({action})"));
        variants.push((does.clone(), action, NamedParts::Path));
        if names_others {
            variants.push((format!("{does}, naming others"), action, NamedParts::All));
        }
        for (number, field) in fields.iter().enumerate() {
            let at = endpoint.fields.get(number).map(|field| &field.at);
            if let Some(Place::Body(path)) = at
                && let Some(step) = path.steps.first()
            {
                variants.push((
                    format!("{does} with {field}"),
                    action,
                    NamedParts::Field(&step.key),
                ));
            }
        }
    }
    let filled = if creates(endpoint) {
        &[true, false][..]
    } else {
        &[true]
    };
    let each = |(does, action, named): (String, _, _)| {
        let parts = filled.iter().map(move |filled| RequestParts {
            named,
            filled: *filled,
        });
        parts.map(move |parts| (does.clone(), action, parts))
    };
    variants.into_iter().flat_map(each).collect()
}

/// Whether something is made by it.
pub(super) fn creates(endpoint: &Endpoint) -> bool {
    let mut rules = endpoint.touches.rules().iter();
    rules.any(|rule| rule.verb == TouchVerb::Create && rule.at.is_none())
}

fn does(endpoint: &Endpoint) -> &'static str {
    let first = endpoint.touches.rules().iter().find(|rule| rule.is_first());
    match first.map(|rule| rule.verb) {
        _ if endpoint.sensitive.is_some() => "logs in",
        _ if endpoint.reads() => "reads",
        Some(TouchVerb::Create) => "creates",
        Some(TouchVerb::Delete) => "deletes",
        None if endpoint.method.as_str() == "DELETE" => "deletes",
        Some(_) | None => "changes",
    }
}

pub(in crate::learn) fn kinds_of(endpoint: &Endpoint) -> impl Iterator<Item = KindId> {
    let rules = endpoint.touches.rules().iter();
    rules.flat_map(|rule| {
        let own = rule.kind.one();
        let typed = match &rule.kind {
            TouchKind::Typed { types, .. } | TouchKind::Told { types, .. } => types.as_slice(),
            TouchKind::One(_) | TouchKind::Urn => &[],
        };
        let typed = typed.iter().filter_map(|(_, kind)| *kind);
        let parents = rule.of.iter().map(|(kind, _)| *kind);
        own.into_iter().chain(typed).chain(parents)
    })
}

/// A request to an endpoint in the world of a witness.
pub(in crate::learn) fn request(
    endpoint: &Endpoint,
    action: Option<&str>,
    parts: RequestParts<'_>,
    witness: &Witness,
    catalog: &Catalog,
) -> SeenRequest {
    let fields = endpoint.fields.iter().map(|field| field.at.to_string());
    SeenRequest {
        method: endpoint.method.to_string(),
        path: path_to(endpoint, witness, catalog),
        action: action.map(str::to_owned),
        query: Vec::new(),
        scopes: Vec::new(),
        fields: fields.filter(|field| parts.use_field(field)).collect(),
        resources: resources_of(endpoint, parts, witness, catalog),
        count: 1,
        first: String::new(),
        last: String::new(),
    }
}

impl RequestParts<'_> {
    /// Whether the request has the place at which a rule finds what it touches.
    fn have_place_of(self, rule: &TouchRule) -> bool {
        match (&rule.at, self.named) {
            (None | Some(Place::Path(_)), _) | (Some(_), NamedParts::All) => true,
            (Some(Place::Body(at)), NamedParts::Field(key)) => {
                at.steps.first().is_some_and(|step| step.key == key)
            }
            (Some(_), NamedParts::Path | NamedParts::Field(_)) => false,
        }
    }

    fn use_field(self, field: &str) -> bool {
        match self.named {
            NamedParts::Field(key) => field
                .strip_prefix("body.")
                .is_some_and(|rest| rest == key || rest.starts_with(&format!("{key}."))),
            NamedParts::Path | NamedParts::All => false,
        }
    }
}

/// The path of an endpoint, with what the witness calls the things in it.
fn path_to(endpoint: &Endpoint, witness: &Witness, catalog: &Catalog) -> String {
    let mut path = String::new();
    for segment in &endpoint.template.segments {
        path.push('/');
        match segment {
            Segment::Fixed(text) => path.push_str(text),
            Segment::Parameter { name, .. } => {
                let place = Place::Path(name.clone());
                let text = match kind_at(&place, endpoint) {
                    None => rebuilt_request::sample(&place, endpoint),
                    Some(kind) => id_of(catalog.kinds().of(kind), witness),
                };
                path.push_str(&encoded(&text));
            }
        }
    }
    path
}

/// The kind of what a place names: what is touched itself, or the parent of that.
fn kind_at(place: &Place, endpoint: &Endpoint) -> Option<KindId> {
    let rules = endpoint.touches.rules();
    let own = rules.iter().find(|rule| rule.at.as_ref() == Some(place));
    let own = own.and_then(|rule| rule.kind.one());
    let parent = || {
        let mut parents = rules.iter().flat_map(|rule| &rule.of);
        parents.find(|(_, at)| at == place).map(|(kind, _)| *kind)
    };
    own.or_else(parent)
}

/// What the request touches, each with the parents that it stands under.
fn resources_of(
    endpoint: &Endpoint,
    parts: RequestParts<'_>,
    witness: &Witness,
    catalog: &Catalog,
) -> Vec<SeenResource> {
    let kind = |kind: KindId| catalog.kinds().of(kind);
    let mut resources: Vec<SeenResource> = Vec::new();
    let rules = endpoint.touches.rules().iter();
    for rule in rules.filter(|rule| parts.have_place_of(rule)) {
        let Some(own) = rule.kind.one().map(kind) else {
            continue;
        };
        let id = rule.at.is_some().then(|| id_of(own, witness));
        if id.is_some() || parts.filled {
            resources.push(resource(own, id, witness.of(own)));
        } else {
            resources.push(resource(own, id, witness.said_of(own)));
        }
        let parents = rule.of.iter().map(|(parent, _)| kind(*parent));
        resources.extend(parents.map(|parent| {
            let id = id_of(parent, witness);
            resource(parent, Some(id), witness.of(parent))
        }));
    }
    resources
}

fn resource<'w>(
    kind: &Kind,
    id: Option<String>,
    has: impl Iterator<Item = (&'w str, &'w str)>,
) -> SeenResource {
    let mut facts = ResourceFacts::default();
    let mut more: Vec<(String, String)> = Vec::new();
    for (attribute, value) in has {
        match attribute {
            "name" => facts.name = Some(value.to_owned()),
            "tag" => facts.tags = vec![value.to_owned()],
            "project" => facts.project = Some(value.to_owned()),
            "id" => {}
            other => {
                more.retain(|(known, _)| known != other); // what is said last counts
                more.push((other.to_owned(), value.to_owned()));
            }
        }
    }
    SeenResource {
        kind: kind.id.to_string(),
        id,
        scope: None,
        facts,
        more,
    }
}

/// What the request calls the one of a kind: what a selector asks of the attribute that is its identifier, or any.
pub(super) fn id_of(kind: &Kind, witness: &Witness) -> String {
    let asked = witness
        .of(kind)
        .filter(|(attribute, _)| identifies(kind, attribute))
        .last();
    asked.map_or_else(
        || of_form(kind.named.first()).to_owned(),
        |(_, value)| value.to_owned(),
    )
}

/// Whether an attribute is what a request calls the resources of a kind by.
pub(super) fn identifies(kind: &Kind, attribute: &str) -> bool {
    let from = |name: &str| kind.attribute(name).map(|attribute| &attribute.from);
    from(attribute).is_some() && from(attribute) == from(identifier(kind))
}

/// Every name that a request may have of which a world says nothing.
pub(super) fn samples_of(catalog: &Catalog) -> BTreeSet<String> {
    let of_kinds = catalog.kinds().iter().map(|kind| kind.named.first());
    let of_kinds = of_kinds.chain([None]).map(|form| of_form(form).to_owned());
    let of_places = catalog.endpoints().iter().flat_map(|endpoint| {
        let named = endpoint.names.iter().map(|named| &named.at);
        let fields = endpoint.fields.iter().map(|field| &field.at);
        let places = named.chain(fields);
        places.map(|place| rebuilt_request::sample(place, endpoint))
    });
    of_kinds.chain(of_places).collect()
}

/// A name in a form.
fn of_form(form: Option<&NameForm>) -> &'static str {
    match form {
        Some(NameForm::Number) | None => "7000001",
        Some(NameForm::Uuid) => "00000000-0000-4000-8000-000000000001",
        Some(NameForm::Ipv4) => "192.0.2.1",
        Some(NameForm::Ipv6) => "2001:db8::1",
        Some(NameForm::Fingerprint) => "00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00",
        Some(NameForm::Zone | NameForm::Record) => "nobodys.example",
        Some(NameForm::Digest) => {
            "sha256:0000000000000000000000000000000000000000000000000000000000000000"
        }
        Some(NameForm::Urn) => "do:droplet:7000001",
        Some(NameForm::ImageTag) => "v1",
        Some(
            NameForm::Slug
            | NameForm::Tag
            | NameForm::Registry
            | NameForm::Repository
            | NameForm::Bucket
            | NameForm::Word
            | NameForm::Index
            | NameForm::Text,
        ) => "nobodys",
    }
}
