use std::fmt;

use super::kind::KindName;
use super::place::{FieldPath, Place};
use super::scope::ScopeId;

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
    pub kind: KindName,
    /// Where it is named; absent for what is created or listed.
    pub at: Option<Place>,
    /// By which of its attributes it is named there; `id` unless said otherwise. `tag` names all who carry it.
    pub by: Vec<String>,
    /// The scope that it asks for; absent where the endpoint has just one.
    pub scope: Option<ScopeId>,
    /// The parent it belongs to, and where that is named.
    pub of: Option<(KindName, Place)>,
    /// What the request would make of its attributes, and where it says so.
    pub after: Vec<(String, Vec<Place>)>,
    /// It is touched only where these hold.
    pub when: Vec<(Place, Condition)>,
    /// It is touched once for each value here (`names` beside `name`).
    pub each: Option<Place>,
    /// The member of the answer that holds it, or the list of them.
    pub answer: Option<FieldPath>,
    /// That member is a mapping by id, not a list.
    pub keyed: bool,
    /// Parameters of the request that narrow the list by an attribute.
    pub filter: Vec<(String, Place)>,
}

impl TouchRule {
    fn places(&self) -> impl Iterator<Item = &Place> {
        let named = self
            .at
            .iter()
            .chain(&self.each)
            .chain(self.of.iter().map(|(_, place)| place));
        let after = self.after.iter().flat_map(|(_, places)| places);
        let when = self.when.iter().map(|(place, _)| place);
        named
            .chain(after)
            .chain(when)
            .chain(self.filter.iter().map(|(_, place)| place))
    }
}

/// What a place must say for a rule to apply.
#[derive(Debug, Eq, PartialEq)]
pub enum Condition {
    /// Anything but nothing.
    Any,
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
        match &self.at {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}
