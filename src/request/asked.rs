use std::collections::HashSet;
use std::sync::OnceLock;

use crate::catalog::{
    Action, Catalog, Condition, Endpoint, FieldPath, Kind, Kinds, Method, NamedBy, Place, SHARED,
    Scope, ScopeId, ScopeSet, TouchKind, TouchRule, TouchVerb, Touches, struck_by,
    struck_by_another,
};

use super::json::Json;
use super::target::Target;
use crate::refusal::{Code, Refusal};
use crate::secret::has_token;

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
    /// The request in one line, as patterns are matched against it; every grant of a token may ask for that.
    ///
    /// INVARIANT: `method` and `target` stay as they were when these were made.
    line: OnceLock<String>,
    line_with_query: OnceLock<String>,
}

/// A field that the request uses, and the scope that this asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldUse {
    /// The field, as `body.image`.
    pub field: String,
    /// The scope.
    pub scope: ScopeId,
    /// Whether no wildcard gives it.
    pub by_name: bool,
}

/// A resource that the request names, for the record.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Named {
    /// Its kind.
    pub kind: &'static str,
    /// What names it; absent for what is created or listed.
    pub id: Option<String>,
    /// The scope that it is touched with.
    pub scope: Option<Scope>,
}

/// The resources that a record tells of one request. What a policy decides does not depend on it.
pub const MOST_NAMED: usize = 1000;
/// So many are compared with each other.
const FEW: usize = 8;

impl<'c> Asked<'c> {
    /// A request whose body, if any, was not read.
    pub fn new(method: Method, mut target: Target, catalog: &'c Catalog) -> Self {
        let endpoint = catalog.find(method, target.segments());
        if let Some(endpoint) = endpoint {
            target.settle(endpoint);
        }
        let mut asked = Self {
            method,
            endpoint,
            target,
            body: None,
            line: OnceLock::new(),
            line_with_query: OnceLock::new(),
        };
        asked.settle_target(catalog.kinds());
        asked
    }

    /// Whether its target has something in it that looks like a token, elsewhere than where its endpoint has the id of a key that
    /// looks so.
    pub(super) fn has_token(method: Method, target: &Target, catalog: &Catalog) -> bool {
        if !has_token(&target.path_and_query()) {
            return false;
        }
        let endpoint = catalog.find(method, target.segments());
        let is_id = |(at, segment): &(usize, &str)| {
            let ids = endpoint.map_or(&[][..], |endpoint| &endpoint.key_ids);
            ids.iter().any(|(parameter, begin)| {
                let rest = segment.strip_prefix(begin.as_str());
                let alone = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
                endpoint.and_then(|endpoint| endpoint.template.position(parameter)) == Some(*at)
                    && rest.is_some_and(alone)
            })
        };
        let segments = target.segments().enumerate().filter(|it| !is_id(it));
        let path: Vec<&str> = segments.map(|(_, segment)| segment).collect();
        has_token(&path.join("/")) || has_token(&target.written_query().join("&"))
    }

    /// `METHOD /path`.
    pub fn line(&self) -> &str {
        let made = || [self.method.as_str(), " ", self.target.path()].concat();
        self.line.get_or_init(made)
    }

    /// `METHOD /path?query`.
    pub fn line_with_query(&self) -> &str {
        let made = || format!("{} {}", self.method, self.target.path_and_query());
        self.line_with_query.get_or_init(made)
    }

    /// The same request, as another catalogue knows it.
    #[must_use]
    pub fn again(self, catalog: &Catalog) -> Asked<'_> {
        let Self {
            method,
            endpoint: _,
            target,
            body,
            line: _,
            line_with_query: _,
        } = self;
        Asked {
            body,
            ..Asked::new(method, target, catalog)
        }
    }

    /// Checks what only the endpoint can tell of the target, and of the body once it was read.
    ///
    /// # Errors
    /// `ambiguous_request`.
    pub fn fits(&self, catalog: &Catalog) -> Result<(), Refusal> {
        self.names_are_in_form(catalog.kinds())?;
        match self.endpoint {
            Some(endpoint) => self.target.fits(endpoint)?,
            None => self.target.fits_nothing_known(self.method, catalog)?,
        }
        match self.disguised_key() {
            None => Ok(()),
            Some(key) => {
                let why = "which some read as another one, or as another method; spell keys as the reference does";
                Err(Refusal::new(
                    Code::AmbiguousRequest,
                    format!("the body has a key `{key}`, {why}"),
                ))
            }
        }
    }

    /// Reads a body strictly, and returns it written anew, its names in the spelling in which they are compared: what is to be
    /// sent. [`Asked::fits`] then judges it.
    ///
    /// # Errors
    /// `body_unreadable`, or `ambiguous_request` where a key is repeated with another value.
    pub fn take_body(&mut self, bytes: &[u8], catalog: &Catalog) -> Result<Vec<u8>, Refusal> {
        self.body = Some(Json::read(bytes)?);
        self.settle_body(catalog.kinds());
        Ok(self.body.as_ref().map(Json::write).unwrap_or_default())
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
        let overriding = |key: &&str| key.eq_ignore_ascii_case("_method");
        if let Some(key) = body.keys().find(overriding) {
            return Some(key.to_owned());
        }
        let mut paths = self.endpoint?.inspected().filter_map(|place| match place {
            Place::Body(path) => Some(path),
            Place::Path(_) | Place::Query(_) => None,
        });
        let typed = self.endpoint?.touches.rules().iter();
        let members = typed
            .filter_map(TouchRule::typed_members)
            .flat_map(|(at, members)| members.map(|member| format!("{at}.{member}")))
            .filter_map(|place| match place.parse() {
                Ok(Place::Body(path)) => Some(path),
                Ok(Place::Path(_) | Place::Query(_)) | Err(_) => None,
            });
        let by_type = || {
            members
                .into_iter()
                .find_map(|path| body.disguised(&path).map(str::to_owned))
        };
        paths
            .find_map(|path| body.disguised(path))
            .map(str::to_owned)
            .or_else(by_type)
    }

    /// The fields in use that ask for scopes of their own. What is null or empty is not in use.
    pub fn fields(&self) -> Vec<FieldUse> {
        let fields = self.endpoint.map_or(&[][..], |endpoint| &endpoint.fields);
        let used = fields.iter().filter(|field| self.uses(&field.at));
        used.map(|field| FieldUse {
            field: field.at.to_string(),
            scope: field.scope,
            by_name: field.by_name,
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

    /// Whether the request, if it is one that says what it does, does something that the reference has. What another action
    /// touches nobody knows.
    pub fn acts_as_known(&self) -> bool {
        match self.endpoint.and_then(|endpoint| endpoint.action.as_ref()) {
            None | Some(Action::Always(_)) => true,
            Some(Action::Named { one_of, .. }) => self
                .action()
                .is_some_and(|action| one_of.iter().any(|known| known == action)),
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

    /// The values that stand at a place, flags included.
    pub fn values(&self, place: &Place) -> Vec<String> {
        match place {
            Place::Path(_) | Place::Query(_) => {
                self.names(place).into_iter().map(str::to_owned).collect()
            }
            Place::Body(path) => {
                let found = self.body.iter().flat_map(|body| body.at(path));
                found
                    .filter_map(|value| match value {
                        Json::Flag(flag) => Some(flag.to_string()),
                        Json::Null
                        | Json::Number(_)
                        | Json::Text(_)
                        | Json::List(_)
                        | Json::Map(_) => value.name().map(str::to_owned),
                    })
                    .collect()
            }
        }
    }

    /// Whether the request says anything at a place, be it that there is nothing.
    pub fn gives(&self, place: &Place) -> bool {
        match place {
            Place::Path(_) => true,
            Place::Query(name) => self.target.query_parameter(name).is_some(),
            Place::Body(path) => {
                let outer = path.steps.first().map(|step| step.key.as_str());
                self.body
                    .as_ref()
                    .is_some_and(|body| outer.is_some_and(|outer| body.member(outer).is_some()))
            }
        }
    }

    /// Whether something stands at the very place, be it nothing.
    pub fn gives_at(&self, place: &Place) -> bool {
        match place {
            Place::Path(_) | Place::Query(_) => self.gives(place),
            Place::Body(path) => {
                let mut path = path.clone();
                if let Some(last) = path.steps.last_mut() {
                    last.lists = 0; // an empty list stands there too
                }
                let body = self.body.as_ref();
                body.is_some_and(|body| !body.at(&path).is_empty())
            }
        }
    }

    /// The resources that the request names, as far as the catalogue says where; at most a thousand of them.
    pub fn named(&self, catalog: &Catalog) -> Vec<Named> {
        let mut distinct: Vec<Named> = Vec::new();
        let mut seen = HashSet::new(); // most requests name few, and those are looked through
        let mut is_new = |named: &Named, distinct: &[Named]| {
            if distinct.len() < FEW {
                return !distinct.contains(named);
            }
            if seen.is_empty() {
                seen.extend(distinct.iter().cloned());
            }
            seen.insert(named.clone())
        };
        for rule in self.rules() {
            self.named_by(rule, catalog, &mut |named| {
                if distinct.len() < MOST_NAMED && is_new(&named, &distinct) {
                    distinct.push(named);
                }
            });
        }
        distinct
    }

    /// Whether the request makes something.
    pub fn creates(&self) -> bool {
        self.rules()
            .any(|rule| rule.verb == TouchVerb::Create && rule.is_first())
    }

    /// Whether all that the request does, as far as the table knows, is to make something: nothing that was there before is
    /// deleted, moved or renamed.
    pub fn only_creates(&self) -> bool {
        let modelled = |endpoint: &Endpoint| matches!(endpoint.touches, Touches::These(_));
        let leaves = |rule: &TouchRule| match rule.verb {
            TouchVerb::Create
            | TouchVerb::Read
            | TouchVerb::List
            | TouchVerb::Use
            | TouchVerb::Source
            | TouchVerb::Attach
            | TouchVerb::Join
            | TouchVerb::Label => true,
            TouchVerb::Change | TouchVerb::Delete => false,
        };
        self.endpoint.is_some_and(modelled) && self.creates() && self.rules().all(leaves)
    }

    /// The scopes that the resources ask for which the request names, beside the endpoint's own.
    pub fn touched_scopes(&self) -> Vec<ScopeId> {
        let named = self
            .rules()
            .filter(|rule| rule.at.as_ref().is_none_or(|place| self.uses(place)));
        named.filter_map(|rule| rule.scope).collect()
    }

    /// What deny grants have that takes in what the request changes, or hands out from a source, of all that the catalogue and its body tell: any of these
    /// sets whole. What only a look-up tells is left out.
    pub fn done_beside(&self, kinds: &Kinds) -> Vec<ScopeSet> {
        let changes = |rule: &&TouchRule| {
            let reads = matches!(
                rule.verb,
                TouchVerb::Read | TouchVerb::List | TouchVerb::Use
            );
            let told = rule.held_in.is_none();
            !reads && told && rule.at.as_ref().is_none_or(|place| self.uses(place))
        };
        let of_rule = |rule: &TouchRule| -> Vec<ScopeSet> {
            let told = self.kinds_of(rule, kinds);
            let others = told.iter();
            let others = others.flat_map(|kind| struck_by_another(rule.verb, kind));
            // A tag that is gone is gone from what names it.
            let untagged = told.iter().filter(|kind| SHARED.contains(&kind.id.name()));
            let untagged = untagged.filter(|_| rule.verb == TouchVerb::Delete);
            let untagged = untagged.flat_map(|kind| {
                let names = |other: &&Kind| other.names.iter().any(|(named, _)| *named == kind.id);
                let naming = kinds.iter().filter(names);
                naming.flat_map(|other| struck_by(TouchVerb::Attach, false, other))
            });
            let also = told.iter();
            let also = also.filter_map(|kind| Some(kinds.of(kind.also?)));
            let all = told.iter().copied().chain(also);
            all.flat_map(|kind| struck_by(rule.verb, rule.is_first(), kind))
                .chain(others)
                .chain(untagged)
                .collect()
        };
        self.rules().filter(changes).flat_map(of_rule).collect()
    }

    /// The kinds of what a rule touches here.
    fn kinds_of<'k>(&self, rule: &TouchRule, kinds: &'k Kinds) -> Vec<&'k Kind> {
        let named = |place: &Place| self.names(place);
        let told: Vec<&Kind> = match &rule.kind {
            TouchKind::One(kind) => vec![kinds.of(*kind)],
            TouchKind::Urn => {
                let urns = rule.at.iter().flat_map(named);
                urns.filter_map(|urn| Some(kinds.urn(urn)?.0)).collect()
            }
            TouchKind::Typed { member, types, .. } => {
                let path = match &rule.at {
                    Some(Place::Body(path)) => Some(path),
                    Some(Place::Path(_) | Place::Query(_)) | None => None,
                };
                let items = path.into_iter().flat_map(|path| {
                    let body = self.body.iter();
                    body.flat_map(move |body| body.at(path))
                });
                let said: Vec<&str> = items.filter_map(|it| it.member(member)?.name()).collect();
                let meant = types
                    .iter()
                    .filter(|(known, _)| said.contains(&known.as_str()));
                meant
                    .filter_map(|(_, kind)| Some(kinds.of((*kind)?)))
                    .collect()
            }
            TouchKind::Told { types, .. } => types
                .iter()
                .filter_map(|(_, kind)| Some(kinds.of((*kind)?)))
                .collect(),
        };
        told
    }

    /// Where the request names something to read what is on it that may be private: an image or snapshot that the catalogue does
    /// not have as public.
    pub fn private_sources(&self) -> Vec<FieldUse> {
        let named = self
            .sources()
            .filter_map(|rule| Some((rule, rule.at.as_ref()?, rule.scope?)));
        named
            .filter(|(rule, place, _)| {
                let is_public = |name: &&str| rule.public.iter().any(|known| known == name);
                !self.names(place).iter().all(is_public)
            })
            .map(|(_, place, scope)| FieldUse {
                field: place.to_string(),
                scope,
                by_name: true,
            })
            .collect()
    }

    /// The scopes of what the request reads from without naming it: what the resource that it is about holds, or any of a kind.
    pub fn untold_sources(&self) -> Vec<ScopeId> {
        let untold = self.sources().filter(|rule| rule.at.is_none());
        untold.filter_map(|rule| rule.scope).collect()
    }

    fn sources(&self) -> impl Iterator<Item = &TouchRule> {
        let rules = self.endpoint.map_or(&[][..], |it| it.touches.rules());
        rules
            .iter()
            .filter(|rule| rule.verb == TouchVerb::Source && self.may_apply(rule))
    }

    /// The rules of the table that apply to this request.
    fn rules(&self) -> impl Iterator<Item = &TouchRule> {
        let rules = self
            .endpoint
            .map_or(&[][..], |endpoint| endpoint.touches.rules());
        rules.iter().filter(|rule| self.applies(rule))
    }

    /// Whether a rule may apply: it does, or what decides over that says something that the table does not know.
    pub(super) fn may_apply(&self, rule: &TouchRule) -> bool {
        self.applies(rule) || !self.acts_as_known() || self.has_known_values().is_err()
    }

    /// Whether a rule of the table applies to this request.
    pub fn applies(&self, rule: &TouchRule) -> bool {
        let says_so = |place: &Place| match (place, &self.body) {
            (Place::Body(path), Some(body)) => {
                matches!(body.at(path).as_slice(), [Json::Flag(true)])
            }
            (Place::Path(_) | Place::Query(_) | Place::Body(_), _) => false,
        };
        if rule.unless.as_ref().is_some_and(says_so) {
            return false;
        }
        rule.when.iter().all(|(place, condition)| match condition {
            Condition::Any => self.uses(place),
            Condition::Given => self.gives_at(place),
            Condition::Nothing => !self.uses(place),
            Condition::SomeEmpty => self.has_gap(place),
            Condition::OneOf(values) => self
                .values(place)
                .iter()
                .any(|name| values.iter().any(|value| value == name)),
        })
    }

    /// Whether a rule is about one of the actions of an endpoint, by what the request says that it does.
    pub fn does_only(&self, rule: &TouchRule) -> bool {
        let said = self.endpoint.and_then(|endpoint| endpoint.action.as_ref());
        let Some(Action::Named { at, .. }) = said else {
            return false;
        };
        let is_one = |condition: &Condition| matches!(condition, Condition::OneOf(_));
        rule.when
            .iter()
            .any(|(place, condition)| place == at && is_one(condition))
    }

    /// Whether an item of a list says nothing at a place that is a member of each.
    fn has_gap(&self, place: &Place) -> bool {
        let Place::Body(path) = place else {
            return false;
        };
        let Some((last, way)) = path.steps.split_last() else {
            return false;
        };
        let holder = FieldPath {
            steps: way.to_vec(),
        };
        let members = self.body.iter().flat_map(|body| body.at(&holder));
        members
            .filter(|member| !matches!(member, Json::Null))
            .any(|member| member.member(&last.key).is_none_or(Json::is_nothing))
    }

    /// The scope with which the rule of that number touches.
    pub fn scope_at(&self, rule: usize, catalog: &Catalog) -> Option<Scope> {
        let rule = self.endpoint?.touches.rules().get(rule)?;
        self.scope_of(rule, catalog)
    }

    /// The scope with which a rule touches: the one that the table says, that of its kind for what is named beside, and that of
    /// the endpoint for what the request is about.
    fn scope_of(&self, rule: &TouchRule, catalog: &Catalog) -> Option<Scope> {
        let scopes = catalog.scopes();
        if let Some(scope) = rule.scope {
            return scopes.name(scope).cloned();
        }
        let kind = rule.kind.one().map(|kind| catalog.kinds().of(kind));
        let sets = match kind {
            Some(kind) if !rule.is_first() => struck_by(rule.verb, false, kind),
            Some(_) | None => Vec::new(),
        };
        let of_endpoint = self.endpoint.and_then(|endpoint| endpoint.scopes.first());
        let set = sets.first().or(of_endpoint)?;
        // Of several, that of its family for what is done: `function:read` beside `function:admin`.
        let verb = match rule.verb {
            TouchVerb::Create => "create",
            TouchVerb::Delete => "delete",
            TouchVerb::Change | TouchVerb::Attach | TouchVerb::Label => "update",
            TouchVerb::Read
            | TouchVerb::List
            | TouchVerb::Use
            | TouchVerb::Source
            | TouchVerb::Join => "read",
        };
        let fits = |scope: &Scope| {
            let family = scope.as_str().split(':').next();
            let family = kind.is_some_and(|kind| family == Some(&kind.family));
            (!family, scope.verb() != verb)
        };
        scopes.names(set).min_by_key(|scope| fits(scope)).cloned()
    }

    /// Tells what a rule names.
    fn named_by(&self, rule: &TouchRule, catalog: &Catalog, tell: &mut impl FnMut(Named)) {
        let scope = self.scope_of(rule, catalog);
        let mut one = |kind: &'static str, id: Option<String>| {
            tell(Named {
                kind,
                id,
                scope: scope.clone(),
            });
        };
        if let (TouchKind::Typed { id, member, types }, Some(Place::Body(path))) =
            (&rule.kind, &rule.at)
        {
            let found = self.body.iter().flat_map(|body| body.at(path));
            let named = found.filter_map(|item| {
                let (name, told) = (item.member(id)?.name()?, item.member(member)?.name()?);
                let (_, kind) = types.iter().find(|(known, _)| known == told)?;
                Some(((*kind)?.name(), name.to_owned()))
            });
            return named.for_each(|(kind, name)| one(kind, Some(name)));
        }
        let mut told = |name: &str| {
            let by_tag = rule.by == NamedBy::Tag;
            let id = if by_tag {
                format!("tag:{name}")
            } else {
                name.to_owned()
            };
            one(rule.kind.name(), Some(id));
        };
        match &rule.at {
            None => one(rule.kind.name(), None),
            Some(Place::Path(name)) => {
                let endpoint = self.endpoint;
                let value =
                    endpoint.and_then(|endpoint| self.target.path_parameter(endpoint, name));
                value.into_iter().for_each(told);
            }
            Some(place @ (Place::Query(_) | Place::Body(_))) => {
                self.names(place).into_iter().for_each(&mut told);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_touch_of_every_endpoint_has_its_scope() {
        let catalog = Catalog::builtin().unwrap();
        for endpoint in catalog.endpoints() {
            let path = endpoint.template.to_string().replace(['{', '}'], "");
            let asked = Asked::new(endpoint.method, Target::read(&path).unwrap(), &catalog);
            let asked = Asked {
                endpoint: Some(endpoint),
                ..asked
            };
            for rule in endpoint.touches.rules() {
                let scope = asked.scope_of(rule, &catalog);
                assert!(
                    scope.is_some(),
                    "{endpoint}, {:?} of {}",
                    rule.verb,
                    rule.kind
                );
            }
        }
    }

    #[test]
    fn a_touch_has_the_scope_of_what_is_done_to_it() {
        let catalog = Catalog::builtin().unwrap();
        let cases = [
            ("GET /v2/droplets/12", "droplet droplet:read"),
            ("DELETE /v2/droplets/12", "droplet droplet:delete"),
            (
                "GET /v2/domains/example.com/records",
                "domain_record domain:read",
            ),
            ("GET /v2/functions/namespaces", "namespace function:read"), // of two, that of its family
        ];
        for (request, expected) in cases {
            let (method, path) = request.split_once(' ').unwrap();
            let target = Target::read(path).unwrap();
            let asked = Asked::new(method.parse().unwrap(), target, &catalog);
            let named = asked.named(&catalog).remove(0);
            let scope = named.scope.unwrap();
            assert_eq!(format!("{} {scope}", named.kind), expected, "{request}");
        }
    }
}
