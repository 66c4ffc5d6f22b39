use super::kind::KindId;
use super::scope::ScopeId;

/// What answers show that asks for scopes of its own: a graph of shapes, as what is shown may hold its like.
#[derive(Debug, Default)]
pub struct Answers {
    pub(super) shapes: Vec<Shape>,
}

/// The number of a shape.
pub type ShapeId = usize;

/// What a thing in an answer looks like, as far as that matters. Lists are gone through.
#[derive(Debug, Default)]
pub struct Shape {
    /// Whose it is.
    pub owner: Owner,
    /// Its members that ask for something, or hold what does.
    pub members: Vec<AnswerMember>,
}

/// To which resource a thing in an answer belongs.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Owner {
    /// To what it stands in.
    #[default]
    Outer,
    /// It is a resource of that kind itself.
    Itself(KindId),
    /// To the resource of that kind that the request names.
    Named(KindId),
}

/// A member of something in an answer.
#[derive(Debug)]
pub struct AnswerMember {
    /// Its key.
    pub key: String,
    /// What it asks for.
    pub asks: Option<Asks>,
    /// The shape of what it holds.
    pub holds: Option<ShapeId>,
}

/// What a member of an answer asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asks {
    /// A scope, where fields are held to theirs.
    Field(ScopeId),
    /// A scope by name over the very resource, always.
    Secret(ScopeId),
    /// That the resource which it is may be seen by itself, always.
    Whole(ScopeId),
    /// That all may be seen which belongs to the resource: the scope shows that one, and them with it.
    Children(ScopeId),
}

impl Asks {
    /// The scope, whichever way it must be held.
    pub fn scope(self) -> ScopeId {
        match self {
            Self::Field(scope)
            | Self::Secret(scope)
            | Self::Whole(scope)
            | Self::Children(scope) => scope,
        }
    }
}

impl Answers {
    /// The shape of that number.
    pub fn shape(&self, id: ShapeId) -> Option<&Shape> {
        self.shapes.get(id)
    }

    /// How many shapes there are.
    pub fn len(&self) -> usize {
        self.shapes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.shapes.is_empty()
    }

    /// Every member on the way to a field of an answer: `databases[].connection.uri`. What a list is does not matter.
    pub fn asked_at(&self, root: ShapeId, path: &str) -> Option<Asks> {
        let mut at = Some(root);
        let mut asked = None;
        for key in path.split('.') {
            let key = key.trim_end_matches("[]");
            let member = self
                .shape(at?)?
                .members
                .iter()
                .find(|known| known.key == key)?;
            asked = member.asks;
            at = member.holds;
        }
        asked
    }
}
