use crate::catalog::{Action, Catalog, Condition, Endpoint, Method, Place, ScopeId, TouchRule};

use super::json::Json;
use super::target::Target;
use crate::refusal::{Code, Refusal};

/// A request as it was read: which endpoint, with what target, and with what body where that was read.
#[derive(Debug)]
pub struct Asked<'c> {
    /// The method, HEAD being GET.
    pub method: Method,
    /// The endpoint; `None` is one that the catalogue does not know.
    pub endpoint: Option<&'c Endpoint>,
    /// The canonical target.
    pub target: Target,
    /// The body, where it was read. One that streams through unread, or none, is `None`.
    pub body: Option<Json>,
}

/// A field that the request uses, and the scope that this asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldUse {
    /// The field, as `body.image`.
    pub field: String,
    /// The scope.
    pub scope: ScopeId,
}

/// A resource that the request names, for the record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named {
    /// Its kind.
    pub kind: String,
    /// What names it; absent for what is created or listed.
    pub id: Option<String>,
    /// The scope that it is touched with, where the table says.
    pub scope: Option<ScopeId>,
}

impl<'c> Asked<'c> {
    /// A request whose body, if any, was not read.
    pub fn new(method: Method, target: Target, catalog: &'c Catalog) -> Self {
        let endpoint = catalog.find(method, target.segments());
        Self {
            method,
            endpoint,
            target,
            body: None,
        }
    }

    /// Checks what only the endpoint can tell of the target.
    ///
    /// # Errors
    /// `ambiguous_request`.
    pub fn fits(&self) -> Result<(), Refusal> {
        match self.endpoint {
            Some(endpoint) => self.target.fits(endpoint)?,
            None => self.target.fits_nothing_known()?,
        }
        Ok(())
    }

    /// Reads a body that decides, and returns it written anew: what is to be sent.
    ///
    /// # Errors
    /// `body_unreadable`, or `ambiguous_request` where readers could disagree about it.
    pub fn take_body(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
        let json = Json::read(bytes)?;
        let written = json.write();
        self.body = Some(json);
        match self.disguised_key() {
            None => Ok(written),
            Some(key) => {
                let why = "which some read as another one, or as another method; spell keys as the reference does";
                Err(Refusal::new(
                    Code::AmbiguousRequest,
                    format!("the body has a key `{key}`, {why}"),
                ))
            }
        }
    }

    /// Whether the request changes nothing at DigitalOcean. What is unknown is judged by its method.
    pub fn reads(&self) -> bool {
        self.endpoint.map_or(self.method.reads(), Endpoint::reads)
    }

    /// Whether the answer may hand out what logs in somewhere.
    pub fn is_sensitive(&self) -> bool {
        self.endpoint
            .is_some_and(|endpoint| endpoint.sensitive.is_some())
    }

    /// A key of the body that some readers take for one that decides something, or for another method.
    fn disguised_key(&self) -> Option<String> {
        let body = self.body.as_ref()?;
        if let Some(key) = ["_method", "_METHOD"]
            .into_iter()
            .find(|key| body.member(key).is_some())
        {
            return Some(key.to_owned());
        }
        let endpoint = self.endpoint?;
        let action = endpoint.action.iter().filter_map(|action| match action {
            Action::Named { at, .. } => Some(at),
            Action::Always(_) => None,
        });
        let fields = endpoint.fields.iter().map(|field| &field.at);
        let mut paths = fields
            .chain(endpoint.touches.places())
            .chain(action)
            .filter_map(|place| match place {
                Place::Body(path) => Some(path),
                Place::Path(_) | Place::Query(_) => None,
            });
        paths
            .find_map(|path| body.disguised(path))
            .map(str::to_owned)
    }

    /// The fields in use that ask for scopes of their own. What is null or empty is not in use.
    pub fn fields(&self) -> Vec<FieldUse> {
        let fields = self.endpoint.map_or(&[][..], |endpoint| &endpoint.fields);
        let used = fields.iter().filter(|field| self.uses(&field.at));
        used.map(|field| FieldUse {
            field: field.at.to_string(),
            scope: field.scope,
        })
        .collect()
    }

    fn uses(&self, place: &Place) -> bool {
        match place {
            Place::Path(_) => true,
            Place::Query(name) => self
                .target
                .query_parameter(name)
                .is_some_and(|value| !value.is_empty()),
            Place::Body(path) => self
                .body
                .as_ref()
                .is_some_and(|body| body.at(path).into_iter().any(|value| !value.is_nothing())),
        }
    }

    /// What an `…/actions` request does, if it says so in a text.
    pub fn action(&self) -> Option<&str> {
        match self.endpoint?.action.as_ref()? {
            Action::Always(action) => Some(action),
            Action::Named {
                at: Place::Body(path),
                ..
            } => match self.body.as_ref()?.at(path).as_slice() {
                [Json::Text(action)] => Some(action), // said once, or not said
                _ => None,
            },
            Action::Named { at, .. } => self.names(at).first().copied(),
        }
    }

    /// The names that stand at a place.
    pub fn names(&self, place: &Place) -> Vec<&str> {
        match place {
            Place::Path(name) => self
                .endpoint
                .and_then(|endpoint| self.target.path_parameter(endpoint, name))
                .into_iter()
                .collect(),
            Place::Query(name) => self
                .target
                .query_parameter(name)
                .filter(|value| !value.is_empty())
                .into_iter()
                .collect(),
            Place::Body(path) => self
                .body
                .as_ref()
                .map(|body| body.at(path).into_iter().filter_map(Json::name).collect())
                .unwrap_or_default(),
        }
    }

    /// The resources that the request names, as far as the catalogue says where.
    pub fn named(&self) -> Vec<Named> {
        let rules = self
            .endpoint
            .map_or(&[][..], |endpoint| endpoint.touches.rules());
        let mut named = Vec::new();
        for rule in rules.iter().filter(|rule| self.applies(rule)) {
            for found in self.named_by(rule) {
                if !named.contains(&found) {
                    named.push(found);
                }
            }
        }
        named
    }

    fn applies(&self, rule: &TouchRule) -> bool {
        rule.when.iter().all(|(place, condition)| match condition {
            Condition::Any => self.uses(place),
            Condition::OneOf(values) => self
                .names(place)
                .iter()
                .any(|name| values.iter().any(|value| value == name)),
        })
    }

    fn named_by(&self, rule: &TouchRule) -> Vec<Named> {
        let one = |id: Option<String>| Named {
            kind: rule.kind.to_string(),
            id,
            scope: rule.scope,
        };
        match &rule.at {
            None => vec![one(None)],
            Some(place) if rule.by == ["tag"] => self
                .names(place)
                .into_iter()
                .map(|name| one(Some(format!("tag:{name}"))))
                .collect(),
            Some(place) => self
                .names(place)
                .into_iter()
                .map(|name| one(Some(name.to_owned())))
                .collect(),
        }
    }
}
