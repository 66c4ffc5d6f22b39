use std::fmt;
use std::sync::Arc;

use super::kind::{Kind, KindId, LookUp};
use super::name::NameForm;
use super::place::{FieldPath, Place};
use super::scope::{ScopeId, ScopeSet};

/// What an endpoint touches, as far as the table says.
#[derive(Debug)]
pub enum Touches {
    /// What belongs to nobody: its scope alone covers it, whatever a grant's `only` says.
    Nobody,
    /// These resources.
    These(Vec<TouchRule>),
    /// The table does not say yet, or the API leaves no way to know. Grants with `only` do not cover it.
    Unmodelled {
        /// Why it can't be known, where that is so.
        reason: Option<String>,
        /// The scopes of all that it could do; `None` where that is not told, and it could do anything.
        could_touch: Option<ScopeSet>,
    },
}

impl Touches {
    /// The rules, if there are any.
    pub fn rules(&self) -> &[TouchRule] {
        match self {
            Self::These(rules) => rules,
            Self::Nobody | Self::Unmodelled { .. } => &[],
        }
    }

    /// The same, to fill in what rows leave to their kinds.
    pub(super) fn rules_mut(&mut self) -> &mut [TouchRule] {
        match self {
            Self::These(rules) => rules,
            Self::Nobody | Self::Unmodelled { .. } => &mut [],
        }
    }

    /// Every place of the request that they look at.
    pub fn places(&self) -> impl Iterator<Item = &Place> {
        self.rules().iter().flat_map(TouchRule::places)
    }
}

/// One line of the table: a resource that the endpoint touches, and where the request names it.
#[derive(Debug)]
pub struct TouchRule {
    /// What happens to it.
    pub verb: TouchVerb,
    /// What it is.
    pub kind: TouchKind,
    /// Where it is named; absent for what is created or listed.
    pub at: Option<Place>,
    /// What the path calls it without naming it: `default`.
    pub called: Option<String>,
    /// By what it is named there.
    pub by: NamedBy,
    /// The form of a name by which no look-up takes it, and that nothing tells of: it could be any of its kind.
    pub opaque: Option<NameForm>,
    /// The names of its kind that belong to nobody, as far as the table has them.
    pub public: Arc<[String]>,
    /// The scope that it asks for; absent where the endpoint has just one. A source that the path does not name has its own.
    pub scope: Option<ScopeId>,
    /// The parents it belongs to, outermost first, and where they are named.
    pub of: Vec<(KindId, Place)>,
    /// The kind of its parent where that is the one that paths mean where they name none: images are of the account's registry.
    pub of_default: Option<KindId>,
    /// What the request would make of its attributes, and where it says so.
    pub after: Vec<(String, Vec<Place>)>,
    /// Values that the request adds to an attribute, and where it says them.
    pub adds: Vec<(String, Vec<Place>)>,
    /// Values that it takes away from one.
    pub removes: Vec<(String, Vec<Place>)>,
    /// An attribute that loses what the first resource had of it and the request does not give, and gets what that gives.
    pub swaps: Vec<(String, Vec<Place>)>,
    /// Attributes of `after` that become what only the API will tell where the request leaves them out.
    pub resets: Vec<String>,
    /// Attributes that it leaves with nothing.
    pub clears: Vec<String>,
    /// Attributes that it changes to what only the API will tell.
    pub unsure: Vec<String>,
    /// Attributes that what is made gets from what it belongs to, beside those that the request gives it.
    pub gets: Vec<String>,
    /// The member of the first resource's JSON that names it, where the request does not: what goes with that resource.
    pub held_in: Option<FieldPath>,
    /// What is named is of this kind, and what is touched is what that attribute of it names.
    pub through: Option<Through>,
    /// It is not touched where the request says `true` there.
    pub unless: Option<Place>,
    /// It is touched only where the first resource's JSON says `true` there before.
    pub was: Option<FieldPath>,
    /// What else is said of a resource that is named by its name.
    pub narrowed: Vec<(String, Place)>,
    /// The member of the first resource's JSON that the place replaces: what it adds and what it takes away is touched, what
    /// stays is not.
    pub replaces: Option<Replaced>,
    /// Where another endpoint shows the list that the place replaces, of items with a type beside their id; its path is named by
    /// the parameters of the request's.
    pub instead_of: Option<LookUp>,
    /// Whether it is what the request is about, where its verb does not tell: then it asks for the endpoint's scopes, and
    /// otherwise for its own.
    pub first: Option<bool>,
    /// It comes with the first touch: whatever covers that covers it, but a deny can strike it.
    pub implied: bool,
    /// Every one of its kind is touched, now and when the request runs: an empty list means all.
    pub every: bool,
    /// What the account does not have by that id or name is nobody's, and not touched: a model may be the platform's.
    pub or_nobody: bool,
    /// It is touched only where these hold.
    pub when: Vec<(Place, Condition)>,
    /// It is touched once for each value here (`names` beside `name`).
    pub each: Option<Place>,
    /// The member of the answer that holds it, or the list of them.
    pub answer: Option<FieldPath>,
    /// How several stand in that member.
    pub layout: Layout,
    /// The member of the answer that tells how many there are, beside `meta.total`.
    pub counts: Option<FieldPath>,
    /// The member of each whose URN names another resource that decides with it.
    pub another: Option<Another>,
    /// The answer says no more of it than its id.
    pub bare: Option<String>,
    /// Whether an answer of which the table shows no more than this tells of what belongs to it.
    pub children: Option<Children>,
}

/// What a touch is to its request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Involvement {
    /// What the request is about, which asks for the endpoint's scopes.
    First,
    /// What it names or does beside that.
    Beside,
    /// What comes with the first touch: whatever covers that covers it.
    Implied,
    /// What only follows from what the request does to others: no more has to cover it, and a deny takes it in by its own scope, not
    /// by the request's.
    Follows,
}

/// By what a place names what is touched.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NamedBy {
    /// What identifies its kind.
    Id,
    /// Any of these of its attributes, each of which identifies one.
    Attributes(Vec<String>),
    /// Its name, which more than one may have.
    Name,
    /// A tag, of all who carry it.
    Tag,
    /// A name in the DNS that it is the zone of, as the longest that the name is, or is below.
    Zone,
    /// The same, of those alone that the name is below.
    ZoneAbove,
    /// The host name of a bucket.
    Host,
}

impl NamedBy {
    /// The attribute that a name stands for there, or what else it is.
    pub fn word(&self) -> &str {
        match self {
            Self::Attributes(any) => any.first().map_or("id", String::as_str),
            Self::Id => "id",
            Self::Name => "name",
            Self::Tag => "tag",
            Self::Zone => "zone",
            Self::ZoneAbove => "zone_above",
            Self::Host => "host",
        }
    }
}

/// How several of what is touched stand in an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Layout {
    /// In a list.
    List,
    /// In a mapping by id.
    Keyed,
    /// In a list of lists: of each that has more than one of them that may be seen, those.
    Grouped,
}

/// Another resource that what an answer shows names by its URN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Another {
    /// It is shown only where that may be seen by itself.
    StoodFor(FieldPath),
    /// It is hidden only if a deny takes that.
    DeniedWith(FieldPath),
}

/// What an answer tells of the children of what it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Children {
    /// Some of them, or what is done in them.
    Shown,
    /// Nothing that tells one from another.
    Untold,
}

impl TouchRule {
    /// Whether what it touches is what the request is about, rather than something that it names beside.
    pub fn is_first(&self) -> bool {
        let by_verb = match self.verb {
            TouchVerb::Read
            | TouchVerb::List
            | TouchVerb::Create
            | TouchVerb::Change
            | TouchVerb::Delete => self.scope.is_none(),
            TouchVerb::Use
            | TouchVerb::Source
            | TouchVerb::Attach
            | TouchVerb::Join
            | TouchVerb::Label => false,
        };
        self.first.unwrap_or(by_verb) && !self.implied
    }

    /// What what it touches is to the request.
    pub fn involvement(&self) -> Involvement {
        if self.is_first() {
            Involvement::First
        } else if self.implied {
            Involvement::Implied
        } else {
            Involvement::Beside
        }
    }

    /// Whether it hands out what is on something that the path does not name.
    pub fn is_source_beside(&self) -> bool {
        self.verb == TouchVerb::Source && !matches!(self.at, Some(Place::Path(_)))
    }

    /// Whether it makes something of an attribute.
    pub fn sets(&self, attribute: &str) -> bool {
        let to_some = self
            .clears
            .iter()
            .chain(&self.unsure)
            .any(|it| it == attribute);
        to_some || self.places_of(attribute).next().is_some()
    }

    /// Where a request says what becomes of an attribute.
    pub fn places_of(&self, attribute: &str) -> impl Iterator<Item = &Place> {
        let said = [&self.after, &self.adds, &self.removes, &self.swaps]
            .into_iter()
            .flatten();
        said.filter(move |(named, _)| named == attribute)
            .flat_map(|(_, places)| places)
    }

    /// Whether a place of the request, or of the first resource, says what it touches: else it makes or shows it.
    pub fn names_something(&self) -> bool {
        self.at.is_some() || self.held_in.is_some()
    }

    /// The members beside an id and its type, for those who look whether a key is spelled otherwise.
    pub fn typed_members(&self) -> Option<(&Place, [&str; 2])> {
        match (&self.kind, &self.at) {
            (TouchKind::Typed { id, member, .. }, Some(at)) => Some((at, [id, member])),
            (
                TouchKind::Typed { .. }
                | TouchKind::Told { .. }
                | TouchKind::One(_)
                | TouchKind::Urn,
                _,
            ) => None,
        }
    }

    /// Every place of the request that the rule looks at.
    pub(crate) fn places(&self) -> impl Iterator<Item = &Place> {
        let named = self
            .at
            .iter()
            .chain(&self.each)
            .chain(self.of.iter().map(|(_, place)| place))
            .chain(self.narrowed.iter().map(|(_, place)| place));
        let changes = [&self.after, &self.adds, &self.removes, &self.swaps];
        let after = changes.into_iter().flatten().flat_map(|(_, places)| places);
        let when = self.when.iter().map(|(place, _)| place);
        let kind = match &self.kind {
            TouchKind::Told { at, .. } => Some(at),
            TouchKind::One(_) | TouchKind::Urn | TouchKind::Typed { .. } => None,
        };
        named
            .chain(after)
            .chain(when)
            .chain(kind)
            .chain(&self.unless)
    }
}

/// What a place replaces of the first resource.
#[derive(Debug)]
pub struct Replaced {
    /// The member of its JSON.
    pub member: FieldPath,
    /// What of it stays.
    pub stays: Stays,
}

/// What stays of what a place replaces.
#[derive(Debug)]
pub enum Stays {
    /// What is named there before and after: nothing beside a name says what is done to what it names.
    Name,
    /// What stands in an item of a list that is there before and after: what is done hangs on the rest of the item too.
    Item {
        /// The way to the items, of the body and of the first resource's JSON alike but for what leads to its top.
        items: FieldPath,
        /// The member of an item that names what is touched.
        name: FieldPath,
        /// The members of an item that do nothing to that.
        but_for: Vec<FieldPath>,
    },
}

/// That what a place names leads to what is touched.
#[derive(Debug)]
pub struct Through {
    /// The kind of what is named.
    pub kind: KindId,
    /// Its attribute that names what is touched.
    pub attribute: String,
    /// The one value of its `type` where it does; whatever its type is where there is none.
    pub of_type: Option<String>,
}

/// Of what kind a touched resource is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TouchKind {
    /// This.
    One(KindId),
    /// What the URN that names it says.
    Urn,
    /// What a member beside its id says.
    Typed {
        /// The member that holds the id.
        id: String,
        /// The member that holds the type.
        member: String,
        /// The types that the API knows, and the kinds that they are; none for what this rule passes over.
        types: Vec<(String, Option<KindId>)>,
    },
    /// What another place of the request says of all that are named.
    Told {
        /// The place that holds the type.
        at: Place,
        /// The types that the API knows, `*` at the end of one being whatever follows, and the kinds that they are of.
        types: Vec<(String, Option<KindId>)>,
    },
}

impl TouchKind {
    /// The kind, where the table says it.
    pub fn one(&self) -> Option<KindId> {
        match self {
            Self::One(kind) => Some(*kind),
            Self::Urn | Self::Typed { .. } | Self::Told { .. } => None,
        }
    }

    /// The name of the kind, or the word of the tables for what says it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::One(kind) => kind.name(),
            Self::Urn => "by_urn",
            Self::Typed { .. } | Self::Told { .. } => "by_type",
        }
    }
}

impl fmt::Display for TouchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a place must say for a rule to apply.
#[derive(Debug, Eq, PartialEq)]
pub enum Condition {
    /// Anything but nothing.
    Any,
    /// Anything, be it that there is nothing: an empty list takes all away.
    Given,
    /// Nothing: what a request that replaces the whole leaves out, it takes away.
    Nothing,
    /// Nothing in some item of the list that it is a member of.
    SomeEmpty,
    /// One of these.
    OneOf(Vec<String>),
}

/// What a request does to what it touches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TouchVerb {
    /// Shows it.
    Read,
    /// Shows all of its kind that may be seen.
    List,
    /// Makes it.
    Create,
    /// Changes it.
    Change,
    /// Destroys it.
    Delete,
    /// Names it, to read from it.
    Use,
    /// Hands out what is on it: an image or snapshot to boot, restore or fork from.
    Source,
    /// Joins it to another, which changes both.
    Attach,
    /// Enters it: a VPC.
    Join,
    /// Puts it on something: a tag.
    Label,
}

/// The verbs of the table and what they stand for, in the order of their explanation.
pub const VERBS: [(&str, TouchVerb); 10] = [
    ("read", TouchVerb::Read),
    ("list", TouchVerb::List),
    ("create", TouchVerb::Create),
    ("change", TouchVerb::Change),
    ("delete", TouchVerb::Delete),
    ("use", TouchVerb::Use),
    ("source", TouchVerb::Source),
    ("attach", TouchVerb::Attach),
    ("join", TouchVerb::Join),
    ("label", TouchVerb::Label),
];

impl fmt::Display for TouchVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = VERBS
            .iter()
            .find(|(_, verb)| verb == self)
            .map_or("?", |(word, _)| word);
        f.write_str(word)
    }
}

impl fmt::Display for TouchRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.kind)?;
        match (&self.at, &self.held_in, &self.called) {
            (Some(place), _, _) if self.by == NamedBy::Tag => write!(f, " (tagged {place})"),
            (Some(place), _, _) => write!(f, " ({place})"),
            (None, Some(member), _) => write!(f, " (its {member})"),
            (None, None, Some(called)) => write!(f, " ({called})"),
            (None, None, None) if self.every => f.write_str(" (every one)"),
            (None, None, None) => Ok(()),
        }
    }
}

/// What a deny grant has that takes in what is done to a resource of a kind. What a request is about is asked for by its
/// endpoint's own scopes; what is made, entered or put on beside is not.
pub fn struck_by(verb: TouchVerb, first: bool, kind: &Kind) -> Vec<ScopeSet> {
    let one = |scope: Option<ScopeId>| {
        let mut set = ScopeSet::default();
        if let Some(scope) = scope {
            set.insert(scope);
        }
        set
    };
    let sets = match verb {
        TouchVerb::Read | TouchVerb::List | TouchVerb::Use | TouchVerb::Source => {
            vec![one(kind.reads)]
        }
        TouchVerb::Delete => vec![one(kind.deletes)],
        TouchVerb::Join | TouchVerb::Label if first => Vec::new(),
        TouchVerb::Create => vec![kind.creates.clone()],
        TouchVerb::Join => vec![one(kind.reads), one(kind.changes)],
        TouchVerb::Change | TouchVerb::Attach | TouchVerb::Label => vec![one(kind.changes)],
    };
    let told = |set: &ScopeSet| !set.is_empty();
    sets.into_iter().filter(told).collect()
}

/// The same for the other families that the API has for a kind.
pub fn struck_by_another(verb: TouchVerb, kind: &Kind) -> impl Iterator<Item = ScopeSet> {
    let scopes = kind.other_families.iter();
    let scopes = scopes.filter_map(move |other| other.scope_of(verb));
    scopes.map(|scope| {
        let mut set = ScopeSet::default();
        set.insert(scope);
        set
    })
}
