use std::collections::HashMap;

use super::CatalogReader;
use super::kinds::kind_at;
use crate::catalog::answers::{AnswerMember, Answers, Asks, Owner, Shape, ShapeId};
use crate::catalog::place::FieldPath;
use crate::yaml::{self, At, Entry, Map, Mistakes, Node};

impl CatalogReader {
    /// Reads what answers show; endpoints and kinds are known by then.
    pub(super) fn answers_table(&mut self) -> Result<Answers, Mistakes> {
        let mut mistakes = Mistakes::new("answers.yaml");
        let mut answers = Answers::default();
        if let Some(root) = yaml::read(include_str!("../data/answers.yaml"), &mut mistakes)
            && let Some(mut top) = Map::of(&root, "the table of answers", &mut mistakes)
        {
            let mut part = |name, mistakes: &mut Mistakes| {
                top.need(name, mistakes)
                    .map_or(&[][..], |node| node.entries("this part", mistakes))
            };
            let shapes = part("shapes", &mut mistakes);
            let endpoints = part("answers", &mut mistakes);
            top.finish(&mut mistakes);
            let names: HashMap<&str, ShapeId> = shapes
                .iter()
                .enumerate()
                .map(|(number, entry)| (entry.key.as_str(), number))
                .collect();
            answers.shapes.resize_with(shapes.len(), Shape::default);
            let mut table = AnswersTable {
                names: &names,
                answers: &mut answers,
                mistakes: &mut mistakes,
            };
            for (number, entry) in shapes.iter().enumerate() {
                owner(number, entry, &mut table);
            }
            for (number, entry) in shapes.iter().enumerate() {
                self.shape(number, entry, &mut table);
            }
            for entry in endpoints {
                self.answer(entry, &mut table);
            }
        }
        if mistakes.is_empty() {
            Ok(answers)
        } else {
            Err(mistakes)
        }
    }

    fn shape(&mut self, number: ShapeId, entry: &Entry, table: &mut AnswersTable<'_>) {
        let Some(mut map) = Map::of(&entry.node, "a shape", table.mistakes) else {
            return;
        };
        for key in ["kind", "of"] {
            map.take(key); // read before: shapes may hold those that come after
        }
        for (key, is_secret) in [("fields", false), ("secrets", true)] {
            for field in table.entries(map.take(key)) {
                let Some(text) = field.node.text("a scope", table.mistakes) else {
                    continue;
                };
                if let Some(scope) = self.scope(text, &field.node, table.mistakes) {
                    let asks = if is_secret {
                        Asks::Secret(scope)
                    } else {
                        Asks::Field(scope)
                    };
                    table.put(number, (&field.key, field.at), Some(asks), None);
                }
            }
        }
        for (key, is_whole) in [("holds", false), ("whole", true)] {
            for field in table.entries(map.take(key)) {
                let Some(below) = table.named(&field.node) else {
                    continue;
                };
                let asks = if is_whole {
                    self.whole(below, field, table)
                } else {
                    None
                };
                table.put(number, (&field.key, field.at), asks, Some(below));
            }
        }
        map.finish(table.mistakes);
        self.children(number, entry, table);
    }

    /// What a resource shows of those that belong to it, by its kind.
    fn children(&mut self, number: ShapeId, entry: &Entry, table: &mut AnswersTable<'_>) {
        let owner = table.answers.shape(number).map(|shape| &shape.owner);
        let Some(Owner::Itself(kind)) = owner else {
            return;
        };
        let kind = self.kinds.of(*kind);
        let members: Vec<String> = kind.shows_children.iter().map(dotted).collect();
        if members.is_empty() {
            return;
        }
        let reads = format!("{}:read", kind.family);
        let asks = self
            .scope(&reads, &entry.node, table.mistakes)
            .map(Asks::Children);
        for member in members {
            table.put(number, (&member, entry.at), asks, None);
        }
    }

    /// A whole resource is seen by whom the scope is given that reads its kind.
    fn whole(
        &mut self,
        below: ShapeId,
        entry: &Entry,
        table: &mut AnswersTable<'_>,
    ) -> Option<Asks> {
        let owner = table.answers.shape(below).map(|shape| shape.owner);
        let Some(Owner::Itself(kind)) = owner else {
            let why = "what stands under `whole` is a shape with a `kind`";
            table.mistakes.add(entry.at, why);
            return None;
        };
        let family = &self.kinds.of(kind).family;
        let reads = format!("{family}:read");
        self.scope(&reads, &entry.node, table.mistakes)
            .map(Asks::Whole)
    }

    fn answer(&mut self, entry: &Entry, table: &mut AnswersTable<'_>) {
        let number = self.numbers.get(&entry.key);
        let endpoint = number.and_then(|number| self.endpoints.get_mut(*number));
        let Some(endpoint) = endpoint else {
            table
                .mistakes
                .add(entry.at, format!("`{}` is no endpoint", entry.key));
            return;
        };
        endpoint.answer = if matches!(entry.node.value, yaml::Value::Scalar { .. }) {
            table.named(&entry.node)
        } else {
            let root = table.add();
            for field in table.entries(Some(&entry.node)) {
                let below = table.named(&field.node);
                table.put(root, (&field.key, field.at), None, below);
            }
            Some(root)
        };
    }
}

/// Whose a shape is.
fn owner(number: ShapeId, entry: &Entry, table: &mut AnswersTable<'_>) {
    let Some(mut map) = Map::of(&entry.node, "a shape", table.mistakes) else {
        return;
    };
    let mut owner = |key, table: &mut AnswersTable<'_>| {
        let node = map.take(key)?;
        kind_at(node, "a kind", table.mistakes)
    };
    let (kind, of) = (owner("kind", table), owner("of", table));
    let owner = match (kind, of) {
        (Some(kind), None) => Owner::Itself(kind),
        (None, Some(kind)) => Owner::Named(kind),
        (None, None) => Owner::Outer,
        (Some(_), Some(_)) => {
            table
                .mistakes
                .add(entry.at, "a shape has `kind` or `of`, not both");
            Owner::Outer
        }
    };
    if let Some(shape) = table.answers.shapes.get_mut(number) {
        shape.owner = owner;
    }
}

/// What is being read.
struct AnswersTable<'t> {
    names: &'t HashMap<&'t str, ShapeId>,
    answers: &'t mut Answers,
    mistakes: &'t mut Mistakes,
}

impl AnswersTable<'_> {
    fn entries<'n>(&mut self, node: Option<&'n Node>) -> &'n [Entry] {
        node.map_or(&[][..], |node| node.entries("members", self.mistakes))
    }

    fn add(&mut self) -> ShapeId {
        self.answers.shapes.push(Shape::default());
        self.answers.shapes.len() - 1
    }

    fn named(&mut self, node: &Node) -> Option<ShapeId> {
        let name = node.text("a shape", self.mistakes)?;
        let found = self.names.get(name).copied();
        if found.is_none() {
            self.mistakes
                .add(node.at, format!("there is no shape `{name}`"));
        }
        found
    }

    /// Puts what is asked for, or held, at the end of a dotted path.
    fn put(
        &mut self,
        root: ShapeId,
        (path, written_at): (&str, At),
        asks: Option<Asks>,
        holds: Option<ShapeId>,
    ) {
        let mut at = root;
        let mut keys = path.split('.').peekable();
        while let Some(key) = keys.next() {
            let is_last = keys.peek().is_none();
            let place = self.member(at, key);
            if !is_last {
                at = self.below(at, place);
                continue;
            }
            let shape = self.answers.shapes.get_mut(at);
            let Some(member) = shape.and_then(|shape| shape.members.get_mut(place)) else {
                return;
            };
            let twice = member.asks.is_some() && asks.is_some()
                || member.holds.is_some() && holds.is_some();
            if twice {
                self.mistakes
                    .add(written_at, format!("`{path}` stands here twice"));
                return;
            }
            member.asks = member.asks.or(asks);
            member.holds = member.holds.or(holds);
        }
    }

    fn member(&mut self, at: ShapeId, key: &str) -> usize {
        let Some(shape) = self.answers.shapes.get_mut(at) else {
            return 0;
        };
        let found = shape.members.iter().position(|known| known.key == key);
        found.unwrap_or_else(|| {
            shape.members.push(AnswerMember {
                key: key.to_owned(),
                asks: None,
                holds: None,
            });
            shape.members.len() - 1
        })
    }

    fn below(&mut self, at: ShapeId, place: usize) -> ShapeId {
        let held = self
            .answers
            .shapes
            .get(at)
            .and_then(|shape| shape.members.get(place)?.holds);
        if let Some(held) = held {
            return held;
        }
        let below = self.add();
        let shape = self.answers.shapes.get_mut(at);
        if let Some(member) = shape.and_then(|shape| shape.members.get_mut(place)) {
            member.holds = Some(below);
        }
        below
    }
}

/// A member without what it says of lists, which are gone through here.
fn dotted(path: &FieldPath) -> String {
    let keys: Vec<&str> = path.steps.iter().map(|step| step.key.as_str()).collect();
    keys.join(".")
}
