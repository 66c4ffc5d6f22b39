use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::nfa::thompson::{Config, NFA, WhichCaptures};
use regex_automata::util::syntax;
use regex_syntax::hir::literal::Extractor;

use super::selections::search;
use crate::catalog::{Endpoint, Segment};

/// A text that may hold variables, as `client-${client}`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Text {
    parts: Vec<TextPart>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum TextPart {
    Literal(String),
    Variable(String),
}

/// Why a text with variables could not be read.
#[derive(Debug, Eq, PartialEq)]
pub enum NoText {
    /// `${` without its `}`, or with no name between.
    Unclosed,
    /// A variable that the role does not declare.
    Undeclared(String),
}

impl fmt::Display for NoText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => f.write_str("`${` begins a variable; write `${name}`"),
            Self::Undeclared(name) => write!(
                f,
                "the variable `{name}` is not declared; add it to the role's `vars`"
            ),
        }
    }
}

impl Text {
    /// Reads a text, given the variables that may stand in it.
    ///
    /// # Errors
    /// `NoText`.
    pub fn read(text: &str, declared: &[String]) -> Result<Self, NoText> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or(NoText::Unclosed)?;
            if name.is_empty() {
                return Err(NoText::Unclosed);
            }
            if !declared.iter().any(|known| known == name) {
                return Err(NoText::Undeclared(name.to_owned()));
            }
            parts.push(TextPart::Literal(before.to_owned()));
            parts.push(TextPart::Variable(name.to_owned()));
            rest = after;
        }
        parts.push(TextPart::Literal(rest.to_owned()));
        Ok(Self { parts })
    }

    /// Hands each part on in order, and whether it is a variable's value.
    pub fn parts(&self, vars: &BTreeMap<String, String>, mut take: impl FnMut(&str, bool)) {
        for part in &self.parts {
            match part {
                TextPart::Literal(text) => take(text, false),
                TextPart::Variable(name) => {
                    take(vars.get(name).map(String::as_str).unwrap_or_default(), true);
                }
            }
        }
    }

    /// Whether no variable stands in it.
    fn is_fixed(&self) -> bool {
        let variable = |part: &TextPart| matches!(part, TextPart::Variable(_));
        !self.parts.iter().any(variable)
    }

    /// The text with each variable's value in its place, after `guard` made the value mean nothing but itself.
    pub fn fill(&self, vars: &BTreeMap<String, String>, guard: impl Fn(&str) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                TextPart::Literal(text) => text.clone(),
                TextPart::Variable(name) => {
                    vars.get(name).map(|value| guard(value)).unwrap_or_default()
                }
            })
            .collect()
    }
}

/// A pattern as it was written, compiled already where no variable stands in it.
#[derive(Clone, Debug)]
pub struct PatternText {
    text: Text,
    fixed: Option<Arc<RequestPattern>>,
}

impl PatternText {
    /// Reads a pattern, given the variables that may stand in it.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn read(text: &str, declared: &[String]) -> Result<Self, String> {
        let text = Text::read(text, declared).map_err(|error| error.to_string())?;
        let sample = declared.iter().map(|name| (name.clone(), "x".to_owned()));
        let compiled = RequestPattern::new(&text.fill(&sample.collect(), regex::escape))?;
        let fixed = text.is_fixed().then(|| Arc::new(compiled));
        Ok(Self { text, fixed })
    }

    /// The pattern with these variables, which stand for themselves.
    ///
    /// # Errors
    /// What is wrong with it: with long values it may be too large.
    pub fn with(&self, vars: &BTreeMap<String, String>) -> Result<Arc<RequestPattern>, String> {
        match &self.fixed {
            Some(fixed) => Ok(fixed.clone()),
            None => RequestPattern::new(&self.text.fill(vars, regex::escape)).map(Arc::new),
        }
    }
}

/// A regular expression over `METHOD /path`, or over path and query where it has `\?` in it.
///
/// What `regex` would use, without what makes it fast on long texts: patterns are many, each sub-token with variables has its
/// own, and a request is a short line. Automata and room to search in for each of them would take most of the memory.
#[derive(Clone, Debug)]
pub struct RequestPattern {
    source: String,
    has_query: bool,
    /// How all that it matches begins: most requests are told apart by that.
    begin: Box<[u8]>,
    short: BoundedBacktracker,
    /// For lines for which that one would need too much room.
    long: PikeVM,
}

impl RequestPattern {
    /// Compiles a pattern; it must match the whole request.
    ///
    /// # Errors
    /// What is wrong with the expression, in one line.
    pub fn new(source: &str) -> Result<Self, String> {
        let wrong = |message: String| one_line(&message);
        // What is bounded by `^(?:` and `)$` alone is bounded: `a)|(?:b` is not, and is no expression by itself.
        let alone = regex_syntax::parse(source).map_err(|error| wrong(error.to_string()))?;
        let begins = Extractor::new().extract(&alone);
        let plain = Config::new()
            .nfa_size_limit(Some(MOST_BYTES))
            .which_captures(WhichCaptures::None);
        let any = syntax::Config::new().dot_matches_new_line(true);
        let nfa = NFA::compiler()
            .configure(plain)
            .syntax(any)
            .build(&format!("^(?:{source})$"))
            .map_err(|error| wrong(error.to_string()))?;
        let short = BoundedBacktracker::builder()
            .configure(backtrack::Config::new().visited_capacity(ROOM))
            .build_from_nfa(nfa.clone());
        Ok(Self {
            source: source.to_owned(),
            has_query: source.contains("\\?"),
            begin: begins.longest_common_prefix().unwrap_or_default().into(),
            short: short.map_err(|error| wrong(error.to_string()))?,
            long: PikeVM::new_from_nfa(nfa).map_err(|error| wrong(error.to_string()))?,
        })
    }

    /// Whether the pattern asks about the query.
    pub fn has_query(&self) -> bool {
        self.has_query
    }

    /// Whether it matches the whole of this text.
    pub fn matches(&self, text: &str) -> bool {
        text.as_bytes().starts_with(&self.begin) && self.matches_whole(text)
    }

    fn matches_whole(&self, text: &str) -> bool {
        let short = SEARCHED.with_borrow_mut(|cache| {
            let cache = cache.get_or_insert_with(|| self.short.create_cache());
            self.short.reset_cache(cache);
            self.short.try_is_match(cache, text)
        });
        short.unwrap_or_else(|_| self.long.is_match(&mut self.long.create_cache(), text))
    }

    /// Whether it matches the whole of `line`, or of `line?…` with some of these parameters, in their order: each of them may
    /// be left out.
    pub fn matches_some_of(&self, line: &str, parameters: &[String]) -> bool {
        search(self.short.get_nfa(), line, parameters).0
    }

    /// Whether it is likely about this endpoint: it spells the method and every fixed segment.
    pub fn spells_endpoint(&self, endpoint: &Endpoint) -> bool {
        let mut segments = endpoint.template.segments.iter();
        let all = segments.all(|segment| match segment {
            Segment::Fixed(text) => self.spells(text),
            Segment::Parameter { .. } => true,
        });
        all && self.spells(endpoint.method.as_str())
    }

    /// Whether it spells this fixed segment of a path as a segment: a wildcard does not.
    pub fn spells(&self, segment: &str) -> bool {
        let plain = self.source.replace('\\', "");
        let inside = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
        plain.match_indices(segment).any(|(at, _)| {
            let before = plain.get(..at).and_then(|text| text.chars().next_back());
            let after = plain
                .get(at + segment.len()..)
                .and_then(|text| text.chars().next());
            !before.is_some_and(inside) && !after.is_some_and(inside)
        })
    }
}

thread_local! {
    /// Room to search in, for all patterns.
    static SEARCHED: RefCell<Option<backtrack::Cache>> = const { RefCell::new(None) };
}

/// How large a compiled pattern may be: the limit of the `regex` crate.
const MOST_BYTES: usize = 10 << 20;
/// How many bytes a search of a short line may need.
const ROOM: usize = 32 << 10;

/// The last line of a multi-line message of `regex`, which is the one that says what is wrong.
fn one_line(message: &str) -> String {
    message
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dot_takes_a_line_feed_too() {
        let pattern = RequestPattern::new("GET /v2/x/a.*").unwrap();
        assert!(pattern.matches("GET /v2/x/a\nb"));
    }

    #[test]
    fn variables_stand_for_themselves_alone() {
        let declared = ["client".to_owned()];
        let text = Text::read("GET /v2/x/${client}/.*", &declared).unwrap();
        let vars = BTreeMap::from([("client".to_owned(), "a.*|b".to_owned())]);
        let pattern = RequestPattern::new(&text.fill(&vars, regex::escape)).unwrap();
        assert!(pattern.matches("GET /v2/x/a.*|b/c"));
        assert!(!pattern.matches("GET /v2/x/a-other/c"));
        assert_eq!(
            Text::read("${other}", &declared),
            Err(NoText::Undeclared("other".into()))
        );
        assert_eq!(Text::read("${client", &declared), Err(NoText::Unclosed));
        assert_eq!(Text::read("${}", &declared), Err(NoText::Unclosed));
    }

    #[test]
    fn a_pattern_matches_the_whole_request() {
        let cases = [
            ("GET /v2/droplets/(12|13)", "GET /v2/droplets/12", true),
            ("GET /v2/droplets/(12|13)", "GET /v2/droplets/123", false),
            ("GET /v2/droplets|POST /v2/x", "GET /v2/droplets/1", false), // the bars of an alternative do not unbind its ends
            ("GET /v2/droplets|POST /v2/x", "POST /v2/x", true),
            ("(?i)get /v2/droplets", "GET /v2/droplets", true),
        ];
        for (pattern, text, matches) in cases {
            assert_eq!(
                RequestPattern::new(pattern).unwrap().matches(text),
                matches,
                "{pattern} on {text}"
            );
        }
        for bad in ["(", "a)|(b", "[", "(?=x)", "\\1"] {
            assert!(RequestPattern::new(bad).is_err(), "pattern {bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn how_it_begins_takes_no_match_away(source in "(\\(\\?i\\))?[ab.|()?*+^$\\[\\]]{0,8}", text in "[abAB]{0,5}") {
            if let Ok(pattern) = RequestPattern::new(&source) {
                prop_assert_eq!(pattern.matches(&text), pattern.matches_whole(&text));
            }
        }
    }

    #[test]
    fn most_requests_are_told_apart_by_how_they_begin() {
        let cases = [
            ("GET /v2/domains/[a-z]+", "GET /v2/domains/"),
            ("GET /v2/(a|b)", "GET /v2/"),
            ("(GET|PUT) /v2/a", ""),
            ("GET /v2/a|POST /v2/b", ""),
            (".*", ""),
        ];
        for (source, begin) in cases {
            let pattern = RequestPattern::new(source).unwrap();
            assert_eq!(*pattern.begin, *begin.as_bytes(), "{source}");
        }
    }

    #[test]
    fn only_what_is_spelled_reaches_what_is_sensitive() {
        let cases = [
            (
                "GET /v2/kubernetes/clusters/[^/]+/kubeconfig",
                "kubeconfig",
                true,
            ),
            (
                "GET /v2/registry/docker\\-credentials",
                "docker-credentials",
                true,
            ),
            (
                "GET /v2/kubernetes/clusters/x/(kubeconfig|upgrades)",
                "kubeconfig",
                true,
            ),
            (".*", "kubeconfig", false),
            ("GET /v2/kubernetes/.*", "kubeconfig", false),
            ("GET /v2/kubernetes/clusters/.*fig", "kubeconfig", false),
            ("GET /v2/registry/docker-credentials", "credentials", false), // another segment
            ("POST /v2/.*/api_keys_x", "api_keys", false),
        ];
        for (pattern, segment, spells) in cases {
            assert_eq!(
                RequestPattern::new(pattern).unwrap().spells(segment),
                spells,
                "{pattern} and {segment}"
            );
        }
    }
}
