use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::endpoint::Template;
use super::name::NameForm;
use super::place::FieldPath;
use super::scope::{ScopeId, ScopeSet};
use super::touch::TouchVerb;

// `KindId`: `data/list.rs` writes it from the keys of `data/kinds.yaml`.
include!(concat!(env!("OUT_DIR"), "/kind_id.rs"));

impl KindId {
    /// The names of all.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.into_iter().map(Self::name)
    }

    /// The kind of that name; `None` where there is none.
    pub fn from_name(name: &str) -> Option<Self> {
        let place = Self::ALL.binary_search_by(|kind| kind.name().cmp(name));
        place.ok().and_then(|place| Self::ALL.get(place).copied())
    }
}

impl fmt::Display for KindId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A kind of resource: what a selector can ask of it, and how the API shows it.
#[derive(Debug)]
pub struct Kind {
    /// Which it is.
    pub id: KindId,
    /// The family of its scopes.
    pub family: String,
    /// The kind whose selector covers it too.
    pub parent: Option<KindId>,
    /// Another kind under which the API has the same thing, by the same id.
    pub also: Option<KindId>,
    /// The attribute and its value for those that the API has under the other kind, where that is not all of them.
    pub also_where: Option<(String, String)>,
    /// There is one for everybody, so that hiding it would hide nothing.
    pub everybody_has: bool,
    /// What it is called in URNs, `do:NAME:id`.
    pub urns: Vec<String>,
    /// The scope by which the API changes one; `None` where nothing does.
    pub changes: Option<ScopeId>,
    /// The scope by which the API shows one.
    pub reads: Option<ScopeId>,
    /// The scope by which the API destroys one.
    pub deletes: Option<ScopeId>,
    /// What a grant has that gives the making of one: the scope of its family for that, or where the API has none, all that
    /// its family has.
    pub creates: ScopeSet,
    /// Other families whose scopes the API asks for at other paths to the same thing.
    pub other_families: Vec<OtherFamily>,
    /// How one is looked up.
    pub get: Option<LookUp>,
    /// How the one is looked up that paths mean where they name none.
    pub default: Option<LookUp>,
    /// How all of them, or all of a parent's, are.
    pub list: Option<LookUp>,
    /// For selectors one is the resource that its `resource` names: the kinds that that can be of, by its `resource_type`.
    pub counts_as: Vec<(String, KindId)>,
    /// The forms of its names, wherever a request has one.
    pub named: Vec<NameForm>,
    /// Names of those that belong to nobody, as far as the table has them: no look-up is needed to know that.
    pub public: Arc<[String]>,
    /// The members of its JSON that identify it, the one in paths first.
    pub identified_by: Vec<FieldPath>,
    /// The members of its JSON that show its children.
    pub shows_children: Vec<FieldPath>,
    /// The members of its JSON that say what children which it shows have of their own, by the attribute.
    pub children_have: Vec<(String, FieldPath)>,
    /// Why its JSON shows nothing of what belongs to it, where that is so.
    pub shows_no_children: Option<String>,
    /// The attributes that lists do not tell, only its look-up does.
    pub lists_lack: Vec<String>,
    /// The members of its JSON, dotted, whose absence says that it has nothing there.
    pub absent_is_none: Vec<String>,
    /// The members of its JSON, dotted, of which null says that it has nothing there; of those above it says so too.
    pub null_is_none: Vec<String>,
    /// The attributes that are names in its parent's DNS zone.
    pub names_in_zone: Vec<String>,
    /// What a selector can ask about. What is known of a resource has them by it.
    pub attributes: Arc<[Attribute]>,
    /// The attributes that are made of what other resources are.
    pub derived: Vec<Derived>,
    /// The members of its JSON that name others, by their kinds: what is destroyed is taken off them.
    pub names: Vec<(KindId, Vec<FieldPath>)>,
    /// The attributes that name others and stay as they are when such another is deleted, and why.
    pub stands: Vec<(String, String)>,
    /// Why its deletion changes nothing else, where that is so.
    pub frees_nothing: Option<String>,
    /// The attributes that it passes on to the kinds under it, which have none of their own.
    pub passes_on: Vec<(KindId, Vec<String>)>,
    /// The attributes of other kinds that are made of its own, and of which.
    pub feeds: Vec<(KindId, String, String)>,
}

/// An attribute that is made of what other resources are: it changes where they do.
#[derive(Clone, Debug)]
pub struct Derived {
    /// The attribute.
    pub attribute: String,
    /// What it is made of.
    pub made: Made,
}

/// The attributes that a selector can ask of every kind, and that children have from their parents.
pub const SHARED: [&str; 3] = ["tag", "project", "region"];

/// What an attribute is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Made {
    /// Of those that carry a tag which these members of its JSON name.
    Carriers {
        /// The kind of those that carry it.
        of: KindId,
        /// The members that name tags.
        tags: Vec<FieldPath>,
    },
    /// One alone has it, so that another loses it where one gets it.
    OneAlone {
        /// The attribute in which those agree of which one has it; of all where there is none.
        within: Option<String>,
    },
    /// It is the attribute of the same name of what its id, a URN, names.
    Same {
        /// The kinds of what it may stand for.
        of: Vec<KindId>,
    },
}

/// One thing that a selector can ask about.
#[derive(Debug, Eq, PartialEq)]
pub struct Attribute {
    /// Its name in a policy.
    pub name: Arc<str>,
    /// Where the API says it; any of these.
    pub from: Vec<AttributeSource>,
}

/// Where the API says what an attribute is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AttributeSource {
    /// In the resource's JSON.
    Member(FieldPath),
    /// In the path of the look-up, for what no answer repeats.
    Path(String),
    /// In the list of a project's resources, by URN.
    Urn,
}

/// A GET that shows a resource, or a list of them.
#[derive(Debug)]
pub struct LookUp {
    /// Its path.
    pub template: Template,
    /// The member of the answer that holds what is looked for; without one, the answer itself.
    pub at: Option<FieldPath>,
}

/// Another family of scopes by which the API gives a resource at some paths.
#[derive(Debug)]
pub struct OtherFamily {
    /// Its name.
    pub family: String,
    /// The scopes by which it shows one, changes it, creates it and destroys it, where it has such.
    pub reads: Option<ScopeId>,
    /// See there.
    pub changes: Option<ScopeId>,
    /// See there.
    pub creates: Option<ScopeId>,
    /// See there.
    pub deletes: Option<ScopeId>,
}

impl OtherFamily {
    /// The scope by which it does that.
    pub fn scope_of(&self, verb: TouchVerb) -> Option<ScopeId> {
        match verb {
            TouchVerb::Read | TouchVerb::List | TouchVerb::Use | TouchVerb::Source => self.reads,
            TouchVerb::Change | TouchVerb::Attach => self.changes,
            TouchVerb::Create => self.creates,
            TouchVerb::Delete => self.deletes,
            TouchVerb::Join | TouchVerb::Label => None,
        }
    }
}

impl Kind {
    /// Whether it has nothing where its JSON has no such member, or null there: else that tells nothing of it.
    pub fn is_none_at(&self, member: &str, is_null: bool) -> bool {
        let says = |members: &[String]| members.iter().any(|known| known == member);
        says(&self.absent_is_none) || is_null && says(&self.null_is_none)
    }

    /// The scope that what is done to one comes to by itself. For making one a family may have several: see `creates`.
    pub fn scope_of(&self, verb: TouchVerb) -> Option<ScopeId> {
        match verb {
            TouchVerb::Read
            | TouchVerb::List
            | TouchVerb::Use
            | TouchVerb::Source
            | TouchVerb::Join => self.reads,
            TouchVerb::Change | TouchVerb::Attach | TouchVerb::Label => self.changes,
            TouchVerb::Delete => self.deletes,
            TouchVerb::Create => None,
        }
    }

    /// Whether it has that attribute.
    pub fn has(&self, attribute: &str) -> bool {
        self.attribute(attribute).is_some()
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|known| *known.name == *name)
    }

    /// Whether its name is what identifies it: a tag, a domain.
    pub fn is_identified_by_name(&self) -> bool {
        let source = |name: &str| self.attribute(name).map(|attribute| &attribute.from);
        source("name").is_some() && source("name") == source("id")
    }

    /// The names of its attributes.
    pub fn attribute_names(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|known| &*known.name)
    }
}

/// All kinds of a catalogue.
#[derive(Debug)]
pub struct Kinds {
    /// In the order of [`KindId::ALL`]: as many as there are ids, sorted by them, each once.
    all: Box<[Kind; KindId::COUNT]>,
}

impl Kinds {
    /// The kinds that were read; `None` where one is missing.
    pub(super) fn new(read: impl IntoIterator<Item = Kind>) -> Option<Self> {
        let by_id: BTreeMap<KindId, Kind> = read.into_iter().map(|kind| (kind.id, kind)).collect();
        let all: Box<[Kind]> = by_id.into_values().collect();
        let all = all.try_into().ok()?;
        Some(Self { all })
    }

    /// What there is to know of a kind.
    pub fn of(&self, id: KindId) -> &Kind {
        id.item(&self.all)
    }

    /// The kind of that name: for text from outside, as policies, URNs and requests have it.
    pub fn find(&self, name: &str) -> Option<&Kind> {
        KindId::from_name(name).map(|id| self.of(id))
    }

    /// The kind that URNs call that.
    pub fn by_urn(&self, name: &str) -> Option<&Kind> {
        self.iter()
            .find(|kind| kind.urns.iter().any(|urn| urn == name))
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Kind> {
        self.all.iter()
    }

    /// The same, to fill in what follows from others.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Kind> {
        self.all.iter_mut()
    }

    /// The kind that a resource counts as whose `resource_type` is that.
    pub fn counted<'k>(&'k self, kind: &Kind, r#type: &str) -> Option<&'k Kind> {
        let found = kind.counts_as.iter().find(|(known, _)| known == r#type);
        found.map(|(_, kind)| self.of(*kind))
    }

    /// The kinds as which a resource of this kind may be judged: it, what it counts as, and the other kinds under which the
    /// API has the same.
    pub fn views<'k>(&'k self, kind: &'k Kind) -> impl Iterator<Item = &'k Kind> {
        let counted = kind.counts_as.iter().map(|(_, kind)| self.of(*kind));
        std::iter::once(kind).chain(counted).flat_map(|kind| {
            let also = kind.also.map(|also| self.of(also));
            std::iter::once(kind).chain(also)
        })
    }

    /// The kinds that a resource of this kind belongs to, nearest first.
    pub fn ancestors<'k>(&'k self, kind: &'k Kind) -> impl Iterator<Item = &'k Kind> {
        let parent = |kind: &&'k Kind| kind.parent.map(|parent| self.of(parent));
        std::iter::successors(Some(kind), parent).skip(1)
    }
}
