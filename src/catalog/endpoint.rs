use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::answers::ShapeId;
use super::name::NameForm;
use super::place::{FieldPath, Place};
use super::scope::{ScopeId, ScopeSet};
use super::touch::Touches;

/// The methods that the API has. HEAD is read as GET before it comes here; any other is refused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Method {
    /// Reads.
    Get,
    /// Creates, or acts.
    Post,
    /// Replaces.
    Put,
    /// Changes in part.
    Patch,
    /// Deletes, or takes away.
    Delete,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether a request with it may be sent again without harm.
    pub fn reads(self) -> bool {
        self == Self::Get
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A method that the API does not have.
#[derive(Debug, Eq, PartialEq)]
pub struct NoMethod;

impl fmt::Display for NoMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the API has GET (and HEAD), POST, PUT, PATCH and DELETE")
    }
}

impl FromStr for Method {
    type Err = NoMethod;

    fn from_str(text: &str) -> Result<Self, NoMethod> {
        match text {
            "GET" => Ok(Self::Get),
            "POST" => Ok(Self::Post),
            "PUT" => Ok(Self::Put),
            "PATCH" => Ok(Self::Patch),
            "DELETE" => Ok(Self::Delete),
            _ => Err(NoMethod),
        }
    }
}

/// One call of the API: what it is named, what it asks for, what it touches.
#[derive(Debug)]
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path, segment by segment.
    pub template: Template,
    /// DigitalOcean's `operationId`.
    pub operation: Arc<str>,
    /// The section of DigitalOcean's reference.
    pub section: String,
    /// What a token must hold: one of these sets, whole. Never empty; the broadest first.
    pub scopes: Vec<ScopeSet>,
    /// What it must hold besides, if a parameter has another value than these.
    pub scopes_when: Vec<ScopeWhen>,
    /// The scopes that single fields of the request ask for.
    pub fields: Vec<FieldScope>,
    /// Why no wildcard covers it: what it hands out.
    pub sensitive: Option<String>,
    /// What whoever grants it should know: what it hands out reaches further than a grant can say.
    pub caution: Option<String>,
    /// It only reads, though its method says otherwise.
    pub reads_only: bool,
    /// The members of its body: what a sub-token that is narrowed may send, and nothing else. `*` at the end of one takes in
    /// whatever is below.
    pub body: Vec<BodyMember>,
    /// Members that real clients send and that mean nothing here: for sub-tokens that are narrowed they stay behind.
    pub left_out: Vec<BodyMember>,
    /// Members and parameters whose names look as if they named a resource, and why they name none.
    pub harmless: Vec<Harmless>,
    /// The query parameters it knows.
    pub query: Vec<Parameter>,
    /// Where an `…/actions` request says what it does, or what it always does.
    pub action: Option<Action>,
    /// The place that limits the life of what it hands out: a parameter in seconds, or a member in a span such as `7d`.
    pub derived_expiry: Option<Place>,
    /// Places of the body that repeat a parameter of the path, as generated clients do: they must say the same.
    pub repeats: Vec<(Place, Place)>,
    /// Where a request names resources, and in what form: what stands there in another is refused.
    pub names: Vec<NamedPlace>,
    /// Texts that stand where a name does and name nothing: `needs-cloudflare-cert` for a certificate.
    pub no_names: Vec<(Place, Vec<String>)>,
    /// Where a value tells what is touched, all values that are known there.
    pub values: Vec<ClosedValues>,
    /// The parameters of its path that are ids of keys which begin as tokens do, and how they begin: in no other place of a
    /// target may something stand that looks like a token.
    pub key_ids: Vec<(String, String)>,
    /// What it touches.
    pub touches: Touches,
    /// The members of its answer that stand beside what its touches show.
    pub beside: Vec<FieldPath>,
    /// The shape of its answer, where anything in that asks for a scope.
    pub answer: Option<ShapeId>,
    /// Whence it is known.
    pub origin: Origin,
    /// The media types of bodies that it takes beside JSON: they go on as they come, and nothing in them is looked at.
    pub raw_bodies: Vec<String>,
    /// Why it is refused to everyone, `requests` patterns included.
    pub refused: Option<String>,
    /// Where and why this differs from DigitalOcean's specification, or where it was found.
    pub note: Option<String>,
}

/// Whence an endpoint is known.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// DigitalOcean's specification has it.
    Specification,
    /// So it does, and is put right here.
    Correction,
    /// Clients of DigitalOcean call it, and the specification lacks it.
    Client,
    /// `catalog.extra` has it.
    Extra,
}

impl Origin {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Specification => "specification",
            Self::Correction => "correction",
            Self::Client => "client",
            Self::Extra => "extra",
        }
    }
}

impl FromStr for Origin {
    type Err = NoOrigin;

    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let all = [
            Self::Specification,
            Self::Correction,
            Self::Client,
            Self::Extra,
        ];
        let named = |origin: &Self| origin.as_str() == text;
        all.into_iter().find(named).ok_or(NoOrigin)
    }
}

/// A word for no origin.
#[derive(Debug, Eq, PartialEq)]
pub struct NoOrigin;

impl fmt::Display for NoOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an origin is `specification`, `correction`, `client` or `extra`")
    }
}

impl Endpoint {
    /// Whether a request to it changes nothing at DigitalOcean.
    pub fn reads(&self) -> bool {
        self.method.reads() || self.reads_only
    }

    /// Every place of the request that decides something: fields, the action, touches.
    pub fn inspected(&self) -> impl Iterator<Item = &Place> {
        let action = self.action.iter().filter_map(|action| match action {
            Action::Named { at, .. } => Some(at),
            Action::Always(_) => None,
        });
        self.fields
            .iter()
            .map(|field| &field.at)
            .chain(self.touches.places())
            .chain(self.repeats.iter().map(|(place, _)| place))
            .chain(&self.derived_expiry)
            .chain(action)
    }

    /// Whether a text at a place where names stand names nothing.
    pub fn is_no_name(&self, place: &Place, text: &str) -> bool {
        let listed = self.no_names.iter().filter(|(at, _)| at == place);
        listed
            .flat_map(|(_, texts)| texts)
            .any(|known| known == text)
    }

    /// Whether something in its body decides.
    pub fn inspects_body(&self) -> bool {
        self.inspected().any(Place::is_body)
    }

    /// Whether it has a query parameter of that name; a list may also be written `name[]`.
    pub fn knows_parameter(&self, name: &str) -> bool {
        self.query.iter().any(|known| {
            name == known.name || known.repeats && name.strip_suffix("[]") == Some(&known.name)
        })
    }

    /// Whether `parameter` decides something, so that it must not be given twice or in disguise.
    pub fn inspects_query(&self, parameter: &str) -> bool {
        self.query
            .iter()
            .any(|known| !known.repeats && known.name == parameter)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.template)
    }
}

/// A place of a request where resources are named.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NamedPlace {
    /// The place.
    pub at: Place,
    /// How they are named there.
    pub naming: Naming,
}

/// A place where a value decides which rules apply, with every value that the table knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClosedValues {
    /// The place.
    pub at: Place,
    /// The values.
    pub one_of: Vec<String>,
    /// Whether it may be absent, or null.
    pub absent: bool,
}

/// How resources are named at a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Naming {
    /// By a name in one of these forms.
    Forms(Vec<NameForm>),
    /// By objects with a name and a type beside it, which tells the form; a type that is not listed takes any of them.
    Typed {
        /// The member that holds the name.
        id: String,
        /// The member that holds the type.
        member: String,
        /// The forms by type.
        types: Vec<(String, Vec<NameForm>)>,
    },
}

/// A path with parameters: `/v2/droplets/{droplet_id}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    /// Its segments, without the slashes.
    pub segments: Vec<Segment>,
}

/// One segment of a template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Segment {
    /// This text and no other.
    Fixed(String),
    /// Any one segment, under this name.
    Parameter {
        /// The name, without the braces.
        name: String,
        /// Whether its value may hold an encoded `/`, as names of repositories do.
        slash: bool,
        /// Whether its value is the name of a DNS zone.
        dns: bool,
    },
}

impl Template {
    /// The last segment that is no parameter: what a `requests` pattern must spell to reach a sensitive endpoint.
    pub fn last_fixed(&self) -> Option<&str> {
        self.segments
            .iter()
            .rev()
            .find_map(|segment| match segment {
                Segment::Fixed(text) => Some(text.as_str()),
                Segment::Parameter { .. } => None,
            })
    }

    /// Whether its last segment is a parameter.
    pub fn ends_in_parameter(&self) -> bool {
        matches!(self.segments.last(), Some(Segment::Parameter { .. }))
    }

    /// Where in the path the parameter of that name stands.
    pub fn position(&self, parameter: &str) -> Option<usize> {
        self.segments.iter().position(
            |segment| matches!(segment, Segment::Parameter { name, .. } if name == parameter),
        )
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Fixed(text) => write!(f, "/{text}")?,
                Segment::Parameter { name, .. } => write!(f, "/{{{name}}}")?,
            }
        }
        Ok(())
    }
}

/// Why a text is no template.
#[derive(Debug, Eq, PartialEq)]
pub struct NoTemplate;

impl fmt::Display for NoTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a path is written `/v2/droplets/{droplet_id}`: fixed segments and whole segments in braces")
    }
}

impl FromStr for Template {
    type Err = NoTemplate;

    fn from_str(text: &str) -> Result<Self, NoTemplate> {
        let segments = text
            .strip_prefix('/')
            .ok_or(NoTemplate)?
            .split('/')
            .map(segment)
            .collect::<Result<_, _>>()?;
        Ok(Self { segments })
    }
}

fn segment(text: &str) -> Result<Segment, NoTemplate> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
    };
    match text
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
    {
        Some(name) if is_name(name) => Ok(Segment::Parameter {
            name: name.to_owned(),
            slash: false,
            dns: false,
        }),
        // `limits:set`: what is done with it, behind a colon.
        None if is_name(&text.replace(':', "_")) && text != "." && text != ".." => {
            Ok(Segment::Fixed(text.to_owned()))
        }
        Some(_) | None => Err(NoTemplate),
    }
}

/// A scope that depends on a query parameter.
#[derive(Debug)]
pub struct ScopeWhen {
    /// The parameter.
    pub parameter: String,
    /// The only values, beside its absence, that do not ask for the scopes.
    pub unless: Vec<String>,
    /// The scopes asked for otherwise.
    pub scopes: ScopeSet,
}

/// A field of the request, and the scope that a token needs to use it.
#[derive(Debug)]
pub struct FieldScope {
    /// The field.
    pub at: Place,
    /// The scope.
    pub scope: ScopeId,
    /// Whether using it leads to a login, so that only the scope's name gives it.
    pub by_name: bool,
}

/// A member that a body may have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BodyMember {
    /// Where it stands.
    pub path: FieldPath,
    /// Whether it may hold anything.
    pub free: bool,
}

/// A member or parameter that sounds like a name and is none.
#[derive(Debug)]
pub struct Harmless {
    /// Where it stands.
    pub at: Place,
    /// Whether this is said of whatever is below.
    pub below: bool,
    /// Why.
    pub why: String,
}

/// A query parameter.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Whether it is a list, given by repeating it.
    pub repeats: bool,
}

/// What an `…/actions` request does, as a grant's `actions` names it.
#[derive(Debug)]
pub enum Action {
    /// The value of a field is the action.
    Named {
        /// The field.
        at: Place,
        /// The values that the API knows.
        one_of: Vec<String>,
        /// Those by which whoever may do them takes the whole resource over, or what is on it.
        grave: Vec<String>,
    },
    /// The endpoint does just this.
    Always(String),
}
