use std::collections::BTreeSet;

use regex::{Regex, RegexBuilder};

use super::bind::Vars;
use super::only::{Only, Selector, ValuePattern};
use crate::catalog::{Kind, KindId, Kinds, TouchVerb};
use crate::glob::{Piece, glob_matches};
use crate::resource::{
    Known, State, as_host, folded, is_called_by, is_under, minds_case, of_children,
};

/// Whether a resource is one of those that an `only` names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fit {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Too little is known of it to tell.
    Unknown,
}

impl Fit {
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::No, Self::No) => Self::No,
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            (Self::Unknown | Self::Yes, Self::Unknown) | (Self::Unknown, Self::Yes) => {
                Self::Unknown
            }
        }
    }
}

/// What is done to a resource, as far as selectors tell it apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// It is only looked at.
    Look,
    /// It is created, or changed.
    Change,
    /// It is destroyed, with all that belongs to it.
    Destroy,
}

impl Use {
    /// What a touch does to what it touches.
    pub fn of(verb: TouchVerb) -> Self {
        match verb {
            TouchVerb::Read
            | TouchVerb::List
            | TouchVerb::Use
            | TouchVerb::Source
            | TouchVerb::Join
            | TouchVerb::Label => Self::Look,
            TouchVerb::Create | TouchVerb::Change | TouchVerb::Attach => Self::Change,
            TouchVerb::Delete => Self::Destroy,
        }
    }
}

/// What of an `only` a resource does not meet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Missed {
    /// It names other kinds.
    Kind,
    /// It names what belongs to the resource, which may then be read and no more.
    Children,
    /// It asks for this attribute, of a kind or of all.
    Attribute {
        /// The kind under which it asks.
        kind: Option<KindId>,
        /// Which.
        attribute: String,
        /// What is known of it; `None` where the kind does not have it.
        known: Option<Known>,
    },
}

/// As which of the kinds that the API has for it a resource is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum As {
    /// As the kind that it is touched as.
    Itself,
    /// As the other kind that is the same thing: what only that one has is not known.
    Other,
    /// As whichever fits.
    Either,
}

/// An `only` with its variables filled in.
#[derive(Clone, Debug)]
pub struct BoundOnly {
    kinds: Vec<(KindId, BoundSelector)>,
    attributes: Vec<(String, Vec<Matcher>)>,
}

#[derive(Clone, Debug)]
enum BoundSelector {
    Any,
    Attributes(Vec<(String, Vec<Matcher>)>),
}

/// Which side of a role a selector stands on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// It allows, so it takes no more than it says.
    Allow,
    /// It denies, so it takes whatever some reader takes for what it says.
    Deny,
}

/// One value that an attribute may have.
#[derive(Clone, Debug)]
pub enum Matcher {
    /// This.
    Exact(String),
    /// This, `*` being any characters and `?` any one.
    Glob(Vec<Piece>),
    /// What the expression matches whole.
    Regex(Regex),
    /// What the inner one matches in lower case, in which that is written.
    Caseless(Box<Matcher>),
}

impl BoundOnly {
    /// Fills in the variables of an `only`.
    ///
    /// # Errors
    /// The expression that can't be built with them.
    pub fn bind(only: &Only, vars: &Vars, side: Side) -> Result<Self, regex::Error> {
        let Only { kinds, attributes } = only;
        let selector = |kind: KindId, selector: &Selector| {
            Ok(match selector {
                Selector::Any => BoundSelector::Any,
                Selector::Attributes(asked) => {
                    BoundSelector::Attributes(bound(Some(kind), asked, vars, side)?)
                }
            })
        };
        Ok(Self {
            kinds: kinds
                .iter()
                .map(|(kind, asked)| Ok((*kind, selector(*kind, asked)?)))
                .collect::<Result<_, regex::Error>>()?,
            attributes: bound(None, attributes, vars, side)?,
        })
    }

    /// Whether an allow grant narrowed to this covers a resource for that use.
    pub fn covers(&self, state: &State, r#use: Use, kinds: &Kinds) -> Fit {
        if r#use != Use::Look && self.is_for_children_of(state, kinds) {
            return Fit::No; // narrowed to its children, a grant lets it be read and no more
        }
        self.fits(state, As::Itself)
    }

    /// What of this a resource does not meet, where it is not surely covered: the first that there is.
    pub fn missed(&self, state: &State, r#use: Use, kinds: &Kinds) -> Option<Missed> {
        if r#use != Use::Look && self.is_for_children_of(state, kinds) {
            return Some(Missed::Children);
        }
        if self.selectors_fit(state, As::Itself).is_none() && !self.kinds.is_empty() {
            return Some(Missed::Kind);
        }
        let of_kinds = state.chain().flat_map(|link| {
            let same = self.kinds.iter().filter(|(kind, _)| *kind == link.kind);
            same.flat_map(move |(kind, selector)| {
                selector
                    .attributes()
                    .iter()
                    .filter_map(|(attribute, values)| {
                        let known = link.known(attribute);
                        let fits = known.map(|known| any_fits(values, known));
                        (fits != Some(Fit::Yes)).then(|| Missed::Attribute {
                            kind: Some(*kind),
                            attribute: attribute.clone(),
                            known: known.cloned(),
                        })
                    })
            })
        });
        let missed = self
            .attributes
            .iter()
            .filter(|(attribute, values)| shared_fits(state, attribute, values) != Fit::Yes);
        let shared = missed.map(|(attribute, _)| Missed::Attribute {
            kind: None,
            attribute: attribute.clone(),
            known: state.known(attribute).cloned(),
        });
        of_kinds.chain(shared).next()
    }

    /// Whether an allow grant narrowed to this covers a resource that is looked at, under one of the kinds that the API has
    /// for it.
    pub fn covers_as(&self, state: &State, view: As) -> Fit {
        self.fits(state, view)
    }

    /// Whether it covers a resource with all that belongs to it: none of it is told apart by a selector, or by an attribute
    /// that it has of its own.
    pub fn covers_whole(&self, state: &State, view: As, kinds: &Kinds) -> Fit {
        let own = |child: &Kind| {
            let has = |(attribute, _): &(String, _)| child.has(attribute);
            is_under(kinds, child.id, state.kind) && self.attributes.iter().any(has)
        };
        if self.is_for_children_of(state, kinds) || kinds.iter().any(own) {
            return Fit::No;
        }
        self.fits(state, view)
    }

    /// Whether it names resources that belong to this one, as far as what they have from it tells.
    fn fits_children(&self, state: &State, kinds: &Kinds) -> Fit {
        let fits = self.children_fit(state, kinds).into_iter();
        fits.fold(Fit::No, Fit::or)
    }

    /// The same of each kind of them that it names, in its order: what is gained or freed of one is so whatever holds of another.
    pub fn children_fit(&self, state: &State, kinds: &Kinds) -> Vec<Fit> {
        let children = self
            .kinds
            .iter()
            .filter(|(named, _)| is_under(kinds, *named, state.kind))
            .map(|(named, selector)| (kinds.of(*named), selector));
        let fits = children.map(|(child, selector)| {
            let inherited = self
                .attributes
                .iter()
                .filter(|(attribute, _)| !child.has(attribute))
                .map(|(attribute, values)| shared_fits(state, attribute, values));
            let of_child = selector.attributes().iter();
            let passed_on = of_child
                .filter(|(attribute, _)| from_above(kinds, child, state.kind, attribute))
                .filter_map(|(attribute, values)| Some(any_fits(values, state.known(attribute)?)));
            let above = self.selectors_fit(state, As::Either).unwrap_or(Fit::Yes);
            inherited.chain(passed_on).fold(above, Fit::and)
        });
        fits.collect()
    }

    /// Whether what is shown of a resource must leave out its children: the grant is narrowed to some of them.
    pub fn is_for_children_of(&self, state: &State, kinds: &Kinds) -> bool {
        self.is_for_children_of_kind(state.kind, kinds)
    }

    /// The same of any of a kind.
    pub fn is_for_children_of_kind(&self, kind: KindId, kinds: &Kinds) -> bool {
        self.selects(kind) && self.names_children_of(kind, kinds)
    }

    /// Whether a deny grant narrowed to this strikes a resource put to that use; what can't be told is for the caller to
    /// count as struck.
    pub fn strikes(&self, state: &State, r#use: Use, kinds: &Kinds) -> Fit {
        if !self.names_children_of(state.kind, kinds) {
            // What belongs to a thing that is struck is struck with it, whatever tags it has of its own.
            let above = state.parent.as_deref();
            let above = above.map_or(Fit::No, |parent| self.strikes(parent, Use::Look, kinds));
            return self.fits(state, As::Either).or(above);
        }
        if r#use != Use::Destroy {
            return Fit::No; // what is denied are its children
        }
        // They go with it. Which there are is not known; what they have from it is.
        match self.fits_children(state, kinds) {
            Fit::No => Fit::No,
            Fit::Yes | Fit::Unknown => Fit::Unknown,
        }
    }

    /// Whether a deny narrowed to this takes in some of what belongs to a resource, as far as what it has from that tells.
    pub fn strikes_children(&self, state: &State, kinds: &Kinds) -> bool {
        self.fits_children(state, kinds) != Fit::No
    }

    /// Whether it asks about an attribute that children have of their own which resources of a kind show.
    pub fn asks_own_of_children(&self, kind: &Kind) -> bool {
        let has = |asked: &String| kind.children_have.iter().any(|(it, _)| it == asked);
        self.attributes.iter().any(|(asked, _)| has(asked))
    }

    /// Whether a deny narrowed to this takes in a child that a resource shows, by what that has of its own.
    pub fn strikes_own_of_children(&self, state: &State, kind: &Kind) -> bool {
        let by_kind = self.selectors_fit(state, As::Either);
        let by_kind = by_kind.or(self.kinds.is_empty().then_some(Fit::Yes));
        let fits = self.attributes.iter().map(|(attribute, values)| {
            let own = kind.children_have.iter().any(|(it, _)| it == attribute);
            if own {
                let known = state.attributes.get(&of_children(attribute));
                any_fits(values, &known.cloned().unwrap_or_default())
            } else {
                shared_fits(state, attribute, values)
            }
        });
        self.asks_own_of_children(kind)
            && by_kind.is_some_and(|by_kind| fits.fold(by_kind, Fit::and) != Fit::No)
    }

    /// Whether it names a kind of what belongs to resources of that kind.
    pub fn names_children_of(&self, kind: KindId, kinds: &Kinds) -> bool {
        let mut named = self.kinds.iter();
        named.any(|(named, _)| is_under(kinds, *named, kind))
    }

    /// Whether it has a selector of that kind.
    fn selects(&self, kind: KindId) -> bool {
        self.kinds.iter().any(|(named, _)| *named == kind)
    }

    /// Whether it could take in a resource of which not even the kind is known.
    pub fn is_of_any_kind(&self) -> bool {
        self.kinds.is_empty()
    }

    /// Whether a resource matches, a deny also taking it under the other kind that the API has for it.
    fn fits(&self, state: &State, view: As) -> Fit {
        let by_kind = match self.selectors_fit(state, view) {
            Some(fit) => fit,
            None if self.kinds.is_empty() => Fit::Yes,
            None => return Fit::No,
        };
        self.attributes
            .iter()
            .map(|(attribute, values)| shared_fits(state, attribute, values))
            .fold(by_kind, Fit::and)
    }

    /// How the selectors of its kind and of those it belongs to fit, all of them; `None` where there are none. Of several for the kinds
    /// that the API has for one thing whichever fits will do.
    fn selectors_fit(&self, state: &State, view: As) -> Option<Fit> {
        let fit_link = |link: &State| {
            let fits = self.kinds.iter().filter_map(|(kind, selector)| {
                let same = *kind == link.kind;
                let other = link.also == Some(*kind);
                let counts = match view {
                    As::Itself => same,
                    As::Other => other || same && link.also.is_none(),
                    As::Either => same || other,
                };
                let this = counts.then(|| selector.fits(link, other))?;
                let unsure = this == Fit::Yes && !same && !link.surely_also;
                Some(if unsure { Fit::Unknown } else { this }) // it may be none of that kind
            });
            fits.reduce(Fit::or)
        };
        state.chain().filter_map(fit_link).reduce(Fit::and)
    }

    /// Whether it names that kind, by itself or through the attribute that stands for it.
    pub fn names(&self, kind: KindId) -> bool {
        self.selects(kind)
            || self
                .attributes
                .iter()
                .any(|(named, _)| named == kind.name())
    }

    /// Whether the list of a parent's children of that kind is there for who is narrowed to this: by what is asked of every
    /// resource, the children's own aside, the parent must be one that may be seen. Who names the children's kind need not see
    /// their parent.
    pub fn opens(&self, parent: &State, child: KindId) -> bool {
        self.selects(child)
            || self
                .attributes
                .iter()
                .all(|(attribute, values)| shared_fits(parent, attribute, values) == Fit::Yes)
    }

    /// Whether it could cover some resource of that kind.
    pub fn reaches(&self, kind: KindId, kinds: &Kinds) -> bool {
        let known = kinds.of(kind);
        let by_kind = self.kinds.is_empty()
            || self.selects(kind)
            || kinds
                .ancestors(known)
                .any(|ancestor| self.selects(ancestor.id));
        let has = |attribute: &str| {
            kind.name() == attribute
                || known.has(attribute)
                || kinds
                    .ancestors(known)
                    .any(|ancestor| ancestor.has(attribute))
        };
        by_kind && self.attributes.iter().all(|(attribute, _)| has(attribute))
    }

    /// Whether an allow grant narrowed to this could cover some resource of that kind for that use.
    pub fn reaches_for(&self, kind: KindId, r#use: Use, kinds: &Kinds) -> bool {
        self.reaches(kind, kinds)
            && (r#use == Use::Look || !self.is_for_children_of_kind(kind, kinds))
    }

    /// Whether it could take what is touched under another kind as one of this kind: it names that, or no kind at all.
    pub fn asks_for_kind(&self, kind: KindId) -> bool {
        self.kinds.is_empty() || self.selects(kind)
    }

    /// Adds what must be known of a resource of that kind to tell whether it matches.
    pub fn asks(&self, kind: &Kind, asked: &mut BTreeSet<String>) {
        for (named, selector) in &self.kinds {
            if *named == kind.id || kind.also == Some(*named) {
                asked.extend(selector.attributes().iter().map(|(name, _)| name.clone()));
            }
            // What a child has from it decides over the child.
            let passed_on = kind.passes_on.iter().filter(|(child, _)| child == named);
            for attribute in passed_on.flat_map(|(_, attributes)| attributes) {
                if selector
                    .attributes()
                    .iter()
                    .any(|(name, _)| name == attribute)
                {
                    asked.insert(attribute.clone());
                }
            }
        }
        for (attribute, _) in &self.attributes {
            let is_itself = attribute == kind.id.name();
            let own = if is_itself { "name" } else { attribute };
            asked.insert(own.to_owned());
        }
        // A project's name decides over all that is in it.
        if kind.id == KindId::Project && self.projects().next().is_some() {
            asked.insert("name".to_owned());
        }
    }

    /// Whether it asks about that attribute of that kind by its selectors.
    pub fn names_attribute(&self, kind: KindId, attribute: &str) -> bool {
        let of_kind = self.kinds.iter().filter(|(named, _)| *named == kind);
        let mut asked = of_kind.flat_map(|(_, selector)| selector.attributes());
        asked.any(|(name, _)| name == attribute)
    }

    /// Whether it asks about one of these attributes of that kind.
    pub fn asks_about(&self, kind: &Kind, attributes: &[String]) -> bool {
        let mut asked = BTreeSet::new();
        self.asks(kind, &mut asked);
        attributes.iter().any(|attribute| asked.contains(attribute))
    }

    /// Every value that it asks for, with its kind, of which there is none where it asks whatever the kind, and its attribute.
    pub fn matchers(&self) -> impl Iterator<Item = (Option<KindId>, &str, &Matcher)> {
        let direct = self.attributes.iter().map(|asked| (None, asked));
        let in_kinds = self.kinds.iter().flat_map(|(kind, selector)| {
            let asked = selector.attributes().iter();
            asked.map(|asked| (Some(*kind), asked))
        });
        direct
            .chain(in_kinds)
            .flat_map(|(kind, (attribute, values))| {
                let values = values.iter();
                values.map(move |value| (kind, attribute.as_str(), value))
            })
    }

    /// The projects that it asks for, by id or name.
    pub fn projects(&self) -> impl Iterator<Item = &Matcher> {
        let direct = self.attributes.iter();
        let in_kinds = self.kinds.iter();
        let in_kinds = in_kinds.flat_map(|(_, selector)| selector.attributes());
        direct
            .chain(in_kinds)
            .filter(|(attribute, _)| attribute == "project")
            .flat_map(|(_, values)| values)
    }

    /// Whether a selector on another kind asks for this one of a kind, as `firewall: { droplet: 12 }` does: what is deleted
    /// is then no longer named by what it was on.
    pub fn refers_to(&self, deleted: &State) -> bool {
        let kind = deleted.kind.name();
        let id = deleted.known("id").unwrap_or_default();
        let asked = self.kinds.iter();
        let asked = asked.flat_map(|(_, selector)| selector.attributes());
        asked
            .filter(|(attribute, _)| attribute == kind)
            .any(|(_, values)| any_fits(values, id) != Fit::No)
    }

    /// The one tag that alone decides over resources of that kind, if it is so.
    pub fn one_tag(&self, kind: KindId) -> Option<&str> {
        let values = match (self.kinds.as_slice(), self.attributes.as_slice()) {
            ([], [(attribute, values)]) if attribute == "tag" => values,
            ([(named, BoundSelector::Attributes(asked))], []) if *named == kind => {
                match asked.as_slice() {
                    [(attribute, values)] if attribute == "tag" => values,
                    _ => return None,
                }
            }
            _ => return None,
        };
        match values.as_slice() {
            [Matcher::Exact(tag)] => Some(tag),
            _ => None,
        }
    }
}

impl BoundSelector {
    /// The attributes that it asks about, and what may stand there.
    fn attributes(&self) -> &[(String, Vec<Matcher>)] {
        match self {
            Self::Any => &[],
            Self::Attributes(attributes) => attributes,
        }
    }

    fn fits(&self, state: &State, under_another_kind: bool) -> Fit {
        match self {
            Self::Any => Fit::Yes,
            Self::Attributes(attributes) => attributes
                .iter()
                .map(|(attribute, values)| match state.known(attribute) {
                    Some(known) => any_fits(values, known),
                    // What is the same thing elsewhere may have it there.
                    None if under_another_kind => Fit::Unknown,
                    None => Fit::No,
                })
                .fold(Fit::Yes, Fit::and),
        }
    }
}

/// Whether a child has an attribute from what stands that far above it.
fn from_above(kinds: &Kinds, child: &Kind, above: KindId, attribute: &str) -> bool {
    let mut passed_on = kinds.of(above).passes_on.iter();
    let passed_on = passed_on.find(|(kind, _)| *kind == child.id);
    passed_on.is_some_and(|(_, attributes)| attributes.iter().any(|it| it == attribute))
}

/// `tag: x` covers the tag x itself too, and `project: p` the project p.
fn shared_fits(state: &State, attribute: &str, values: &[Matcher]) -> Fit {
    if state.kind.name() != attribute {
        return match state.known(attribute) {
            Some(known) => any_fits(values, known),
            None => Fit::No,
        };
    }
    let own = ["id", "name"].map(|own| state.known(own).unwrap_or_default());
    let [by_id, by_name] = own.map(|known| any_fits(values, known));
    match (by_id, by_name) {
        (Fit::Yes, _) | (_, Fit::Yes) => Fit::Yes,
        (Fit::Unknown, _) | (_, Fit::Unknown) => Fit::Unknown,
        (Fit::No, Fit::No) => Fit::No,
    }
}

fn any_fits(values: &[Matcher], known: &Known) -> Fit {
    let fits = |value: &String| values.iter().any(|matcher| matcher.matches(value));
    match (known.values.iter().any(fits), known.complete) {
        (true, _) => Fit::Yes,
        (false, true) => Fit::No,
        (false, false) => Fit::Unknown,
    }
}

fn bound(
    kind: Option<KindId>,
    asked: &[(String, Vec<ValuePattern>)],
    vars: &Vars,
    side: Side,
) -> Result<Vec<(String, Vec<Matcher>)>, regex::Error> {
    asked
        .iter()
        .map(|(attribute, values)| {
            let values = values
                .iter()
                .map(|value| Matcher::bind(value, vars, kind, attribute, side))
                .collect::<Result<_, _>>()?;
            Ok((attribute.clone(), values))
        })
        .collect()
}

impl Matcher {
    fn bind(
        value: &ValuePattern,
        vars: &Vars,
        kind: Option<KindId>,
        attribute: &str,
        side: Side,
    ) -> Result<Self, regex::Error> {
        // By a name in a path some reader finds what another has in another case, so a deny holds for every case of it.
        let caseless = side == Side::Deny && kind.is_some_and(|kind| is_called_by(kind, attribute));
        let fold = |text: &str| {
            let text = folded(kind, attribute, text);
            if caseless { text.to_lowercase() } else { text }
        };
        let exact = |text: String| match attribute {
            "data" => as_host(&text).unwrap_or(text),
            _ => text,
        };
        let bound = match value {
            ValuePattern::Exact(text) => Self::Exact(exact(fold(&text.fill(vars, str::to_owned)))),
            ValuePattern::Glob(text) => {
                let mut pieces = Vec::new();
                text.parts(vars, |part, from_variable| {
                    pieces.extend(fold(part).chars().map(|letter| match letter {
                        '*' if !from_variable => Piece::Many,
                        '?' if !from_variable => Piece::One,
                        other => Piece::Character(other),
                    }));
                });
                Self::Glob(pieces)
            }
            ValuePattern::Regex(text) => {
                let source = text.fill(vars, regex::escape);
                let regex = RegexBuilder::new(&format!("^(?:{source})$"))
                    .case_insensitive(caseless || !minds_case(kind, attribute))
                    .dot_matches_new_line(true) // a name with a line feed in it passes no deny by
                    .build()?;
                Self::Regex(regex)
            }
        };
        Ok(if caseless {
            Self::Caseless(Box::new(bound))
        } else {
            bound
        })
    }

    /// A value without variables, letter for letter: nothing is folded, whatever it would be of a resource.
    ///
    /// # Errors
    /// The expression that can't be built.
    pub fn as_written(value: &ValuePattern) -> Result<Self, regex::Error> {
        let plain = |text: &super::Text| text.fill(&Vars::new(), str::to_owned);
        Ok(match value {
            ValuePattern::Exact(text) => Self::Exact(plain(text)),
            ValuePattern::Glob(text) => Self::Glob(
                plain(text)
                    .chars()
                    .map(|letter| match letter {
                        '*' => Piece::Many,
                        '?' => Piece::One,
                        other => Piece::Character(other),
                    })
                    .collect(),
            ),
            ValuePattern::Regex(text) => {
                let regex = RegexBuilder::new(&format!("^(?:{})$", plain(text)))
                    .dot_matches_new_line(true)
                    .build()?;
                Self::Regex(regex)
            }
        })
    }

    /// Whether it means one value alone.
    pub fn is_exact(&self) -> bool {
        match self {
            Self::Exact(_) => true,
            Self::Glob(_) | Self::Regex(_) => false,
            Self::Caseless(inner) => inner.is_exact(),
        }
    }

    /// Whether a value, folded, is one of those meant.
    pub fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(text) => text == value,
            Self::Glob(pieces) => glob_matches(pieces, value),
            Self::Regex(regex) => regex.is_match(value),
            Self::Caseless(inner) => inner.matches(&value.to_lowercase()),
        }
    }
}
