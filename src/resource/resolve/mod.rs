//! From what a request names to what that is.

mod conditions;
mod created;
mod derived;
mod existing;
mod items;
mod named;
mod values;
mod zones;

use std::collections::BTreeSet;
use std::sync::Arc;

pub(super) use existing::id_of;
use existing::missing;
pub(super) use values::both_names;

use crate::catalog::{
    AttributeSource, Catalog, Kind, KindId, Kinds, Name, NamedBy, Place, Segment, TouchKind,
    TouchRule, TouchVerb, Touches,
};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, Json};
use crate::resource::attributes::Attributes;
use crate::resource::lookup::{Found, Look, told_by_name, with_parents};
use crate::resource::parents::{above, lacks_parent, project};
use crate::resource::state::State;
use crate::resource::touch::{Presence, Touch};

/// What a sub-token's grants ask about, so that nothing else is looked up.
pub trait Interest: Sync {
    /// The attributes of a kind.
    fn asks(&self, kind: &Kind) -> BTreeSet<String>;
    /// Whether one of them asks about an attribute of a kind.
    fn asks_about(&self, kind: &Kind, attribute: &str) -> bool;
    /// Whether a deny could strike a change of some resource of a kind; of one that only follows from what the request does, by
    /// its own scope alone.
    fn heeds(&self, kind: &Kind, follows: bool) -> bool;
    /// Whether a project, by id or name, is one that a grant names.
    fn names_project(&self, called: &str) -> bool;
    /// The projects that grants put into what is created, as they call them.
    fn adds(&self) -> Vec<&str>;
    /// The tags that grants put on what is created.
    fn labels(&self) -> Vec<&str>;
    /// Whether there is a point in looking further, given what was found so far; of the last one it is judged, the others were.
    fn goes_on(&self, touches: &[Touch]) -> bool;
    /// Whether a rule asks for a scope that no grant gives: that is told before anything of what else is touched.
    fn lacks_scope(&self, rule: &TouchRule) -> bool;
    /// Whether a resource that the answer will show is judged on that answer.
    fn defers(&self) -> bool;
}

/// Finds out what a request touches.
///
/// # Errors
/// The refusal where something could not be looked up, or where the request names more than anybody would.
pub async fn resolve<L: Look>(
    asked: &Asked<'_>,
    catalog: &Catalog,
    interest: &dyn Interest,
    look: &L,
) -> Result<Vec<Touch>, Refusal> {
    let rules = match asked.endpoint.map(|endpoint| &endpoint.touches) {
        Some(Touches::These(rules)) => rules.as_slice(),
        Some(Touches::Nobody | Touches::Unmodelled { .. }) | None => &[],
    };
    says_the_same(asked)?;
    conditions::are_plain(asked)?;
    conditions::names_stand_in_one_zone(asked, rules, catalog)?;
    let mut resolver = Resolver {
        asked,
        catalog,
        interest,
        look,
        first: None,
        number: 0,
        within: None,
        touches: Vec::new(),
        refused: false,
    };
    for (number, rule) in in_order(rules, interest) {
        if asked.applies(rule) && !resolver.refused && resolver.minds(rule) {
            resolver.number = number;
            resolver.rule(rule).await?;
        }
    }
    if !resolver.refused {
        resolver.follow().await?;
    }
    Ok(resolver.touches)
}

/// The rules as they are looked at: as the table has them, but that of what is named beside, what nobody may name is first.
fn in_order<'r>(
    rules: &'r [TouchRule],
    interest: &dyn Interest,
) -> impl Iterator<Item = (usize, &'r TouchRule)> {
    let last_first = rules.iter().rposition(TouchRule::is_first);
    let mut ordered: Vec<_> = rules.iter().enumerate().collect();
    ordered.sort_by_key(|(number, rule)| {
        let beside = last_first.is_none_or(|first| *number > first);
        (beside, beside && !interest.lacks_scope(rule))
    });
    ordered.into_iter()
}

/// What the body repeats of the path says what the path does: else it is not told which of them is meant.
fn says_the_same(asked: &Asked<'_>) -> Result<(), Refusal> {
    let repeats = asked.endpoint.map_or(&[][..], |endpoint| &endpoint.repeats);
    for (place, of) in repeats {
        let Place::Body(path) = place else { continue };
        let meant = asked.names(of);
        let same = |value: &&Json| {
            let said = value.name();
            value.is_nothing()
                || said.is_some_and(|said| meant.iter().any(|one| one.eq_ignore_ascii_case(said)))
        };
        let found = asked.body.iter().flat_map(|body| body.at(path));
        if !found.collect::<Vec<_>>().iter().all(same) {
            return Err(Refusal::new(
                Code::AmbiguousRequest,
                format!("`{place}` and `{of}` must name the same resource; leave out `{place}`"),
            ));
        }
    }
    Ok(())
}

/// What a resource is, as far as grants ask; `None` where it is not there.
///
/// # Errors
/// The refusal where it can't be looked up.
pub async fn resolve_one<L: Look>(
    kind: &Kind,
    name: &Name,
    catalog: &Catalog,
    interest: &dyn Interest,
    look: &L,
) -> Result<Option<State>, Refusal> {
    let told = told_by_name(kind, name);
    let found = if enough(kind, &told, interest) {
        Some(told)
    } else {
        look.one(kind, &[], name)
            .await?
            .map(|found| found.attributes)
    };
    let Some(mut attributes) = found else {
        return Ok(None);
    };
    let id = id_of(kind, &attributes).unwrap_or_else(|| name.as_str().to_owned());
    project(kind, &id, &mut attributes, catalog, interest, look).await?;
    Ok(Some(State::new(kind, attributes, None)))
}

/// The resource that another counts as for selectors: what an action acted on. `None` where the API does not say. Of what is
/// gone only its name is known.
///
/// # Errors
/// The refusal where it can't be looked up.
pub async fn acted_on<L: Look>(
    action: &Kind,
    attributes: &Attributes,
    catalog: &Catalog,
    interest: &dyn Interest,
    look: &L,
) -> Result<Option<State>, Refusal> {
    let Some((kind, name)) = names_acted_on(action, attributes, catalog.kinds()) else {
        return Ok(None);
    };
    let found = resolve_one(kind, &name, catalog, interest, look).await?;
    Ok(Some(found.unwrap_or_else(|| {
        State::new(kind, told_by_name(kind, &name), None)
    })))
}

/// What an action says that it acted on.
pub fn names_acted_on<'k>(
    action: &Kind,
    attributes: &Attributes,
    kinds: &'k Kinds,
) -> Option<(&'k Kind, Name)> {
    let kind = kinds.counted(action, attributes.first("resource_type")?)?;
    let name = kind.name(attributes.first("resource")?, kinds)?;
    Some((kind, name))
}

/// The resources that one request may name. Each may cost a look-up.
const MOST: usize = 100;

struct Resolver<'r, L> {
    asked: &'r Asked<'r>,
    catalog: &'r Catalog,
    interest: &'r dyn Interest,
    look: &'r L,
    /// The first resource, as it was found, for lists of it that are replaced.
    first: Option<Found>,
    /// Which rule is looked at.
    number: usize,
    /// What the path names, where what the rule touches belongs to that and is named elsewhere.
    within: Option<Arc<State>>,
    touches: Vec<Touch>,
    /// Whether the last of these is refused, whatever comes after it: then nothing more is looked up, as each look-up is one
    /// that the account may make no more, and nothing more is noted.
    refused: bool,
}

/// What a rule comes to at one name.
struct Here<'h> {
    rule: &'h TouchRule,
    kind: &'h Kind,
    parents: Vec<(&'h Kind, Name)>,
    parent: Option<Arc<State>>,
    in_path: bool,
}

impl<'r, L: Look> Resolver<'r, L> {
    /// Whether anything hangs on a rule: what the first resource holds and is changed with it is left out where no grant asks
    /// about that change and no deny could strike it.
    fn minds(&self, rule: &TouchRule) -> bool {
        if rule.was.as_ref().is_some_and(|member| self.was_not(member)) {
            return false;
        }
        let beside = rule.implied && (rule.held_in.is_some() || rule.through.is_some());
        let changes = matches!(rule.verb, TouchVerb::Attach | TouchVerb::Change);
        let kind = rule.kind.one().map(|kind| self.catalog.kinds().of(kind));
        let Some(kind) = kind.filter(|_| beside && changes) else {
            return true;
        };
        let asked = self.asks(kind);
        let mut attributes = [&rule.after, &rule.adds, &rule.removes, &rule.swaps]
            .into_iter()
            .flatten()
            .map(|(attribute, _)| attribute)
            .chain(&rule.clears)
            .chain(&rule.unsure);
        let children = self.catalog.kinds().iter();
        let mut children = children.filter(|child| child.parent == Some(kind.id));
        let below =
            rule.by == NamedBy::Zone && children.any(|child| self.interest.heeds(child, true));
        self.interest.heeds(kind, false)
            || below
            || attributes.any(|attribute| asked.contains(attribute))
    }

    async fn rule(&mut self, rule: &'r TouchRule) -> Result<(), Refusal> {
        self.says_names(rule)?;
        self.within = None;
        match &rule.kind {
            TouchKind::One(kind) => self.of_one(rule, *kind).await,
            TouchKind::Told { at, types } => match self.kind_told(at, types)? {
                Some(kind) => self.of_one(rule, kind).await,
                None => Ok(()),
            },
            TouchKind::Urn if rule.every => {
                let kinds = self.catalog.kinds().iter();
                for kind in kinds.filter(|kind| !kind.urns.is_empty()) {
                    self.push_unknown(rule, kind, None)?;
                }
                Ok(())
            }
            TouchKind::Urn => {
                for urn in self.names(rule) {
                    let Some((kind, name)) = self.catalog.kinds().urn(&urn) else {
                        return Err(Self::unknown(&urn));
                    };
                    self.beside(rule, kind, name.as_str()).await?;
                }
                Ok(())
            }
            TouchKind::Typed { id, member, types } => {
                let replaced = self.replaced(rule).await?;
                if rule.instead_of.is_some() && replaced.is_none() {
                    return self.any_of(rule, types);
                }
                for (id, r#type) in self.typed(rule, replaced.as_ref(), [id, member])? {
                    let Some((_, kind)) = types.iter().find(|(known, _)| *known == r#type) else {
                        return Err(Self::unknown(&r#type));
                    };
                    let Some(kind) = kind else { continue };
                    let kind = self.catalog.kinds().of(*kind);
                    self.beside(rule, kind, &id).await?;
                }
                Ok(())
            }
        }
    }

    /// The list that a rule's place replaces, where another endpoint shows it; `None` where that is not known.
    async fn replaced(&self, rule: &TouchRule) -> Result<Option<Json>, Refusal> {
        let Some(look_up) = &rule.instead_of else {
            return Ok(None);
        };
        let parameters = look_up.template.segments.iter();
        let names = parameters.filter_map(|segment| match segment {
            Segment::Parameter { name, .. } => Some(Place::Path(name.clone())),
            Segment::Fixed(_) => None,
        });
        let called: Vec<Name> = names.filter_map(|place| self.name_at(&place)).collect();
        let called: Vec<&Name> = called.iter().collect();
        self.look.elsewhere(look_up, &called).await
    }

    /// Something is touched, and nobody knows what: it may be any that the rule's types name.
    fn any_of(
        &mut self,
        rule: &'r TouchRule,
        types: &[(String, Option<KindId>)],
    ) -> Result<(), Refusal> {
        for kind in types.iter().filter_map(|(_, kind)| *kind) {
            self.push_unknown(rule, self.catalog.kinds().of(kind), None)?;
        }
        Ok(())
    }

    /// One of which nothing is known but, where the rule tells, what it belongs to.
    fn push_unknown(
        &mut self,
        rule: &TouchRule,
        kind: &Kind,
        parent: Option<Arc<State>>,
    ) -> Result<(), Refusal> {
        let nothing_known = State::new(kind, Attributes::new(), parent);
        let mut touch = touch(rule, kind, None, false);
        touch.before = Some(nothing_known.clone());
        touch.after = (rule.verb != TouchVerb::Delete).then_some(nothing_known);
        self.push(touch)
    }

    /// A rule whose kind is known.
    async fn of_one(&mut self, rule: &'r TouchRule, kind: KindId) -> Result<(), Refusal> {
        let kind = self.catalog.kinds().of(kind);
        let names_none = rule.names_something() && self.names(rule).is_empty();
        if rule.of_default.is_some() && names_none {
            return Ok(()); // whose it would be is asked for nothing
        }
        if rule.every {
            let here = if rule.of.is_empty() {
                None
            } else {
                self.here(rule, kind).await?
            };
            return self.push_unknown(rule, kind, here.and_then(|here| here.parent));
        }
        if self.holds_unknown(rule) {
            self.push_unknown(rule, kind, None)?;
        }
        let Some(here) = self.here(rule, kind).await? else {
            self.push(missing(rule, kind, None, is_in_path(rule)))?;
            return Ok(());
        };
        let elsewhere = rule.at.is_some() && !here.in_path && is_in_path(rule);
        self.within = here.parent.clone().filter(|_| elsewhere);
        self.of_kind(here).await
    }

    /// A rule and what it belongs to; `None` where that is not there.
    async fn here(&self, rule: &'r TouchRule, kind: &'r Kind) -> Result<Option<Here<'r>>, Refusal> {
        let mut parents: Vec<(&Kind, Name)> = Vec::new();
        let mut parent = None;
        let by_itself = rule.by != NamedBy::Tag; // a path that names a tag does not name what carries it
        let in_path = match &rule.at {
            Some(place) => matches!(place, Place::Path(_)) && by_itself,
            // What has no name yet stands where that does to which it will belong.
            None => rule.called.is_some() || is_in_path(rule),
        };
        if let Some(kind) = rule.of_default {
            let Some((kind, called, state)) = self.default_parent(kind).await? else {
                return Ok(None);
            };
            parent = Some(Arc::new(state));
            parents.push((kind, called));
        }
        for (kind, place) in &rule.of {
            let kinds = self.catalog.kinds();
            let kind = kinds.of(*kind);
            let called = self.asked.names(place).first().copied();
            let Some(called) = called.and_then(|called| kind.name(called, kinds)) else {
                return Ok(None);
            };
            let created = rule.verb == TouchVerb::Create && !matches!(place, Place::Path(_));
            let found = if created {
                Some(told_by_name(kind, &called))
            } else {
                self.told(kind, &parents, &called)
                    .await?
                    .map(|found| found.attributes)
            };
            let Some(attributes) = found else {
                return Ok(None);
            };
            if parent.is_none() && !created {
                parent = above(kind, &attributes, self.catalog, self.interest, self.look).await?;
            }
            parent = Some(Arc::new(State::new(kind, attributes, parent)));
            parents.push((kind, called));
        }
        Ok(Some(Here {
            rule,
            kind,
            parents,
            parent,
            in_path,
        }))
    }

    /// The parent that paths mean where they name none, and what it is called.
    async fn default_parent(
        &self,
        kind: KindId,
    ) -> Result<Option<(&'r Kind, Name, State)>, Refusal> {
        let kind = self.catalog.kinds().of(kind);
        let Some(mut found) = self.look.default(kind).await? else {
            return Ok(None);
        };
        let id = id_of(kind, &found.attributes);
        let Some(called) = id.and_then(|id| kind.name(&id, self.catalog.kinds())) else {
            return Ok(None);
        };
        self.project(kind, called.as_str(), &mut found.attributes)
            .await?;
        let state = State::new(kind, found.attributes, None);
        Ok(Some((kind, called, state)))
    }

    async fn of_kind(&mut self, here: Here<'r>) -> Result<(), Refusal> {
        let rule = here.rule;
        match rule.verb {
            TouchVerb::List => self.listed(&here),
            TouchVerb::Create => self.created(&here).await,
            _ if matches!(rule.by, NamedBy::Zone | NamedBy::ZoneAbove) => self.zones(&here).await,
            _ if rule.by == NamedBy::Host => self.hosted(&here).await,
            _ if rule.or_nobody => self.own(&here).await,
            _ if let Some(through) = &rule.through => self.led(&here, through).await,
            _ if rule.by == NamedBy::Tag => {
                let tags = self.names(rule);
                self.carriers(&here, tags).await
            }
            _ if rule.by == NamedBy::Name
                && here.kind.identified_by.len() == 1
                && !here.kind.is_identified_by_name() =>
            {
                self.by_name(&here).await
            }
            _ => {
                for name in self.names(rule) {
                    self.named(&here, &name).await?;
                }
                Ok(())
            }
        }
    }

    /// What is known of a parent: what its name tells, and what a look-up does where that is not enough.
    async fn told(
        &self,
        kind: &Kind,
        parents: &[(&Kind, Name)],
        called: &Name,
    ) -> Result<Option<Found>, Refusal> {
        let told = with_parents(told_by_name(kind, called), kind, parents);
        let mut found = if self.enough(kind, &told) {
            Found {
                attributes: told,
                json: None,
            }
        } else {
            match self.look.one(kind, parents, called).await? {
                Some(found) => found,
                None => return Ok(None),
            }
        };
        let id = id_of(kind, &found.attributes).unwrap_or_else(|| called.as_str().to_owned());
        self.project(kind, &id, &mut found.attributes).await?;
        Ok(Some(found))
    }

    /// The name that stands at a place, in the form of the kind that some rule says is named there.
    fn name_at(&self, place: &Place) -> Option<Name> {
        let text = self.asked.names(place).first().copied()?;
        let rules = self.asked.endpoint?.touches.rules().iter();
        let mut kinds = rules.flat_map(|rule| {
            let of = rule.of.iter().filter(|(_, at)| at == place);
            let itself = rule.kind.one().filter(|_| rule.at.as_ref() == Some(place));
            of.map(|(kind, _)| *kind).chain(itself)
        });
        kinds.find_map(|kind| {
            let kinds = self.catalog.kinds();
            kinds.of(kind).name(text, kinds)
        })
    }

    fn asks(&self, kind: &Kind) -> BTreeSet<String> {
        self.interest.asks(kind)
    }

    fn enough(&self, kind: &Kind, told: &Attributes) -> bool {
        enough(kind, told, self.interest)
    }

    fn push(&mut self, mut touch: Touch) -> Result<(), Refusal> {
        if self.refused {
            return Ok(());
        }
        touch.rule = self.number;
        touch.within.clone_from(&self.within);
        if self.touches.len() >= MOST {
            let what = format!("the request names more than {MOST} resources; name fewer at once");
            return Err(Refusal::new(Code::Resource, what));
        }
        self.touches.push(touch);
        self.refused = !self.interest.goes_on(&self.touches);
        Ok(())
    }

    fn unknown(what: &str) -> Refusal {
        let what = crate::secret::redacted(what);
        Refusal::new(
            Code::Resource,
            format!(
                "the request names `{what}`, which is no resource that tidegate knows of, so it can't tell whether this sub-token may touch it"
            ),
        )
    }
}

/// Whether what is known of a resource is all that the grants ask about, but for what URNs tell.
pub(super) fn enough(kind: &Kind, told: &Attributes, interest: &dyn Interest) -> bool {
    let from_elsewhere = |attribute: &str| {
        attribute == "project"
            && kind
                .attribute(attribute)
                .is_some_and(|attribute| attribute.from.contains(&AttributeSource::Urn))
    };
    let known = |attribute: &str| {
        !kind.has(attribute) || told.contains_key(attribute) || from_elsewhere(attribute)
    };
    !lacks_parent(kind, told)
        && interest.asks(kind).iter().all(|attribute| known(attribute))
        && (!kind.has("public") || told.contains_key("public"))
}

/// Whether the path names what is touched, or what that belongs to, or means it without naming it.
fn is_in_path(rule: &TouchRule) -> bool {
    if rule.of_default.is_some() && !rule.names_something() {
        return true;
    }
    let parents = rule.of.iter().map(|(_, place)| place);
    let mut places = rule.at.iter().chain(parents);
    places.any(|place| matches!(place, Place::Path(_)))
}

fn touch(rule: &TouchRule, kind: &Kind, name: Option<&str>, in_path: bool) -> Touch {
    Touch {
        rule: 0,
        verb: rule.verb,
        kind: kind.id,
        id: name.map(str::to_owned),
        scope: rule.scope,
        before: None,
        after: None,
        changes: Vec::new(),
        presence: Presence::There,
        in_path: in_path && !rule.implied,
        within: None,
        involvement: rule.involvement(),
        homes: Vec::new(),
    }
}
