use std::collections::HashMap;
use std::fmt;

use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span};

use super::Mistakes;

/// A place in a file: line and column, both counted from 1, columns in characters.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct At {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
}

impl At {
    /// The first of a file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// From a line and a column, both counted from 0. A file has fewer of either than could be counted here.
    pub fn from_zero(line: usize, column: usize) -> Self {
        let from_one = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).saturating_add(1);
        Self {
            line: from_one(line),
            column: from_one(column),
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where the value begins.
    pub at: At,
    /// What it is.
    pub value: Value,
}

/// What a node is, before anyone asks for a type.
#[derive(Clone, Debug)]
pub enum Value {
    /// A scalar's text as written; `quoted` tells `"no"` from `no`.
    Scalar {
        /// The text, escapes resolved.
        text: String,
        /// Whether quotes or a block style made it a text for certain.
        quoted: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order written; keys are unique.
    Map(Vec<Entry>),
}

/// One key of a mapping and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where the key stands.
    pub at: At,
    /// The key.
    pub key: String,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// Whether nothing was written here: an empty plain scalar, `null` or `~`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, quoted: false } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Takes the items out of the list under a key of this mapping, so that each can be let go of once it was read; none where
    /// something else is there.
    pub fn take_items(&mut self, key: &str) -> Vec<Node> {
        let Value::Map(entries) = &mut self.value else {
            return Vec::new();
        };
        let entry = entries.iter_mut().find(|entry| entry.key == key);
        match entry.map(|entry| &mut entry.node.value) {
            Some(Value::List(items)) => std::mem::take(items),
            Some(Value::Map(_) | Value::Scalar { .. }) | None => Vec::new(),
        }
    }

    /// What it is, in a word, for messages.
    pub fn noun(&self) -> &'static str {
        match &self.value {
            _ if self.is_null() => "nothing",
            Value::Scalar { .. } => "a text or number",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// Reads one YAML document into a tree.
///
/// An empty document is a null scalar at 1:1. Repeated keys, several documents, tags and merge keys are mistakes:
/// each of them makes a file mean something else to another reader. Aliases are followed, within a budget.
///
/// # Errors
/// `None`, after the mistakes were added to `mistakes`: syntax errors end the reading at the first.
pub fn read(text: &str, mistakes: &mut Mistakes) -> Option<Node> {
    let mut builder = Builder::new(mistakes);
    for next in Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)) {
        let step = match next {
            Ok((event, span)) => builder.event(event, span),
            Err(error) => Err(syntax(text, &error)),
        };
        if let Err((at, what)) = step {
            builder.mistakes.add(at, what);
            return None;
        }
    }
    Some(builder.finish())
}

type FailedAt = (At, String);

/// Nodes that one file may come to once aliases are followed: far above any real policy, far below a bomb.
const NODE_BUDGET: usize = 2_000_000;
const DEPTH_BUDGET: usize = 64;

struct Builder<'m> {
    mistakes: &'m mut Mistakes,
    open: Vec<OpenNode>,
    root: Option<Node>,
    documents: usize,
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

struct OpenNode {
    at: At,
    anchor: usize,
    nodes_before: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<(At, String)>,
        seen: HashMap<String, At>,
        doubled: bool,
    },
}

impl<'m> Builder<'m> {
    fn new(mistakes: &'m mut Mistakes) -> Self {
        Self {
            mistakes,
            open: Vec::new(),
            root: None,
            documents: 0,
            anchors: HashMap::new(),
            nodes: 0,
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), FailedAt> {
        let at = place(span.start.line(), span.start.col());
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err((
                        at,
                        "a second document; one file holds one, so remove `---` and what follows"
                            .into(),
                    ));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                Self::refuse_tag(at, tag.is_some())?;
                let quoted = !matches!(style, ScalarStyle::Plain);
                let node = Node {
                    at,
                    value: Value::Scalar {
                        text: text.into_owned(),
                        quoted,
                    },
                };
                self.closed(node, anchor, 1)
            }
            Event::SequenceStart(_, anchor, tag) => {
                Self::refuse_tag(at, tag.is_some())?;
                self.opened(at, anchor, OpenKind::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                Self::refuse_tag(at, tag.is_some())?;
                let kind = OpenKind::Map {
                    entries: Vec::new(),
                    key: None,
                    seen: HashMap::new(),
                    doubled: false,
                };
                self.opened(at, anchor, kind)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(id) => {
                let Some((node, count)) = self.anchors.get(&id).cloned() else {
                    return Err((
                        at,
                        "an alias to something that is still being written; write it out".into(),
                    ));
                };
                self.closed(Node { at, ..node }, 0, count)
            }
            _ => Ok(()), // comments, stream marks: they mean nothing
        }
    }

    fn refuse_tag(at: At, tagged: bool) -> Result<(), FailedAt> {
        if tagged {
            return Err((
                at,
                "a YAML tag (`!…`); types are judged by what is expected here, so remove it".into(),
            ));
        }
        Ok(())
    }

    fn opened(&mut self, at: At, anchor: usize, kind: OpenKind) -> Result<(), FailedAt> {
        if self.open.len() >= DEPTH_BUDGET {
            return Err((
                at,
                format!("nested deeper than {DEPTH_BUDGET} levels; nothing here needs that"),
            ));
        }
        if matches!(
            self.open.last(),
            Some(OpenNode {
                kind: OpenKind::Map { key: None, .. },
                ..
            })
        ) {
            return Err((at, "a list or mapping as a key; keys are texts".into()));
        }
        self.open.push(OpenNode {
            at,
            anchor,
            nodes_before: self.nodes,
            kind,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), FailedAt> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        // What grew has room for more, which ten thousand small lists would come to megabytes by.
        let value = match open.kind {
            OpenKind::List(mut items) => {
                items.shrink_to_fit();
                Value::List(items)
            }
            OpenKind::Map { mut entries, .. } => {
                entries.shrink_to_fit();
                Value::Map(entries)
            }
        };
        let count = 1 + self.nodes - open.nodes_before;
        let node = Node { at: open.at, value };
        if open.anchor != 0 {
            self.anchors.insert(open.anchor, (node.clone(), count));
        }
        self.placed(node, 1)
    }

    fn closed(&mut self, node: Node, anchor: usize, count: usize) -> Result<(), FailedAt> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), count));
        }
        self.placed(node, count)
    }

    /// Puts a finished node where it belongs: a key, a value, an item, or the whole.
    fn placed(&mut self, node: Node, count: usize) -> Result<(), FailedAt> {
        self.nodes = self.nodes.saturating_add(count);
        if self.nodes > NODE_BUDGET {
            return Err((
                node.at,
                "too much: aliases multiply what is written beyond any use".into(),
            ));
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map {
                entries,
                key,
                seen,
                doubled,
            }) => match key.take() {
                None => {
                    let Value::Scalar { text, quoted } = node.value else {
                        return Err((node.at, "a list or mapping as a key; keys are texts".into()));
                    };
                    if text == "<<" && !quoted {
                        return Err((node.at, "a merge key (`<<`); write the keys out, so that what holds is what is read".into()));
                    }
                    *doubled = false;
                    if let Some(first) = seen.get(&text) {
                        self.mistakes.add(
                            node.at,
                            format!(
                                "key `{text}` is repeated (first at {first}); keep one of them"
                            ),
                        );
                        *doubled = true;
                    } else {
                        seen.insert(text.clone(), node.at);
                    }
                    *key = Some((node.at, text));
                }
                Some((at, key)) => {
                    if !*doubled {
                        entries.push(Entry { at, key, node });
                    }
                }
            },
        }
        Ok(())
    }

    fn finish(self) -> Node {
        self.root.unwrap_or(Node {
            at: At::START,
            value: Value::Scalar {
                text: String::new(),
                quoted: false,
            },
        })
    }
}

fn place(line: usize, column_from_zero: usize) -> At {
    At::from_zero(line.saturating_sub(1), column_from_zero)
}

fn syntax(text: &str, error: &ScanError) -> FailedAt {
    let mark = error.marker();
    let at = place(mark.line(), mark.col());
    let line = text.lines().nth(mark.line().saturating_sub(1));
    let rest: String = line.unwrap_or_default().chars().skip(mark.col()).collect();
    let what = match special(&rest) {
        Some((word, means)) => format!(
            "`{word}` begins with `{sign}`, which {means} in YAML; write it in quotes: `\"{word}\"`",
            sign = word.chars().next().unwrap_or_default(),
        ),
        None => format!("this is not YAML: {}", error.info()),
    };
    (at, what)
}

/// The word that stands there, if it begins with a sign that YAML takes for its own: `*:read` is no scope without quotes.
fn special(rest: &str) -> Option<(&str, &'static str)> {
    let means = match rest.chars().next()? {
        '*' => "repeats an anchored value",
        '&' => "anchors a value",
        '!' => "names a type",
        '%' | '@' | '`' => "is kept for later",
        _ => return None,
    };
    let word = rest.split([',', ']', '}', ' ', '"']).next()?;
    Some((word, means))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn mistakes_of(text: &str) -> Vec<String> {
        let mut mistakes = Mistakes::new("f.yaml");
        let _ = read(text, &mut mistakes);
        mistakes.into_lines()
    }

    #[test]
    fn what_another_reader_would_read_otherwise_is_a_mistake_with_its_place() {
        let cases = [
            (
                "a: 1\nb: 2\na: 3\n",
                "f.yaml:3:1: key `a` is repeated (first at 1:1); keep one of them",
            ),
            (
                "a: 1\n---\nb: 2\n",
                "f.yaml:2:1: a second document; one file holds one, so remove `---` and what follows",
            ),
            (
                "a: &x {b: 1}\nc:\n  <<: *x\n",
                "f.yaml:3:3: a merge key (`<<`); write the keys out, so that what holds is what is read",
            ),
            (
                "a: !!str 1\n",
                "f.yaml:1:10: a YAML tag (`!…`); types are judged by what is expected here, so remove it",
            ),
            (
                "? [a]\n: b\n",
                "f.yaml:1:3: a list or mapping as a key; keys are texts",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(mistakes_of(text), [expected], "text {text:?}");
        }
    }

    #[test]
    fn scalars_keep_what_was_written() {
        let mut mistakes = Mistakes::new("f.yaml");
        let node = read("[1.10, 0x1F, no, \"no\", ~]", &mut mistakes).unwrap();
        let Value::List(items) = node.value else {
            panic!("a list")
        };
        let read: Vec<_> = items
            .iter()
            .map(|item| match &item.value {
                Value::Scalar { text, quoted } => (text.as_str(), *quoted),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            read,
            [
                ("1.10", false),
                ("0x1F", false),
                ("no", false),
                ("no", true),
                ("~", false)
            ]
        );
    }

    #[test]
    fn aliases_are_followed_but_not_into_a_bomb() {
        assert_eq!(mistakes_of("a: &x [1, 2]\nb: *x\n"), [""; 0]);
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let inner = format!("*a{}, ", level - 1).repeat(10);
            let _ = writeln!(
                bomb,
                "a{level}: &a{level} [{}]",
                inner.trim_end_matches(", ")
            );
        }
        assert!(
            mistakes_of(&bomb)
                .first()
                .is_some_and(|line| line.contains("aliases multiply")),
            "a bomb"
        );
    }
}
