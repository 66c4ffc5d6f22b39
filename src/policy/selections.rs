//! One search for all the lines that a request has, parameter by parameter left in or out: in a number of steps that grows with
//! its length, where to try each line would take twice as many with every parameter.

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::look::LookMatcher;
use regex_automata::util::primitives::StateID;

/// Whether an automaton takes `line`, or `line?…` with some of the parameters in their order, whole; and in how many steps that
/// was found.
///
/// The texts are ASCII without control characters, as canonical targets are.
pub(super) fn search(nfa: &NFA, line: &str, parameters: &[String]) -> (bool, usize) {
    let mut simulation = NfaSimulation::new(nfa);
    let none_yet = simulation.advance(&Heads::at_start(nfa), line);
    let mut found = simulation.is_match(&none_yet);
    let mut some = Heads::default();
    for parameter in parameters {
        if found || none_yet.is_empty() {
            break; // with no parameter left in there is no way on, so there is none with some
        }
        let mut here = simulation.advance(&none_yet, "?");
        here.merge(&simulation.advance(&some, "&"));
        let here = simulation.advance(&here, parameter);
        found = simulation.is_match(&here);
        some.merge(&here);
    }
    (found, simulation.steps)
}

/// The states that an automaton may be in at one place, before what it passes without reading. What was read last decides with
/// what comes next whether a word begins or ends here, so they are kept by that.
#[derive(Clone, Default)]
struct Heads {
    by_last: Vec<(Option<Last>, Vec<StateID>)>,
}

/// What was read last, as far as it decides.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Last {
    OfWord,
    Other,
}

impl Last {
    fn of(byte: u8) -> Self {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            Self::OfWord
        } else {
            Self::Other
        }
    }

    /// A byte that stands for all like it.
    fn example(self) -> u8 {
        match self {
            Self::OfWord => b'w',
            Self::Other => b'-',
        }
    }
}

impl Heads {
    fn at_start(nfa: &NFA) -> Self {
        Self {
            by_last: vec![(None, vec![nfa.start_anchored()])],
        }
    }

    fn is_empty(&self) -> bool {
        self.by_last.iter().all(|(_, states)| states.is_empty())
    }

    fn merge(&mut self, other: &Self) {
        for (last, states) in &other.by_last {
            let known = self.by_last.iter_mut().find(|(known, _)| known == last);
            match known {
                Some((_, known)) => {
                    known.extend(states);
                    known.sort_unstable();
                    known.dedup();
                }
                None => self.by_last.push((*last, states.clone())),
            }
        }
    }
}

struct NfaSimulation<'n> {
    nfa: &'n NFA,
    looks: LookMatcher,
    /// In which round a state was last passed.
    passed: Vec<usize>,
    /// In which round a state was last come to.
    come: Vec<usize>,
    round: usize,
    /// Those that are still to be passed.
    open: Vec<StateID>,
    steps: usize,
}

impl<'n> NfaSimulation<'n> {
    fn new(nfa: &'n NFA) -> Self {
        let states = nfa.states().len();
        Self {
            nfa,
            looks: LookMatcher::new(),
            passed: vec![0; states],
            come: vec![0; states],
            round: 0,
            open: Vec::new(),
            steps: 0,
        }
    }

    fn advance(&mut self, from: &Heads, text: &str) -> Heads {
        let mut heads = from.clone();
        for byte in text.bytes() {
            if heads.is_empty() {
                break;
            }
            let mut next = Vec::new();
            let come_in = self.next_round();
            for (last, states) in &heads.by_last {
                self.pass(*last, states, Some(byte), |simulation, state| {
                    let to = match state {
                        State::ByteRange { trans } => {
                            trans.matches_byte(byte).then_some(trans.next)
                        }
                        State::Sparse(transitions) => transitions.matches_byte(byte),
                        State::Dense(transitions) => transitions.matches_byte(byte),
                        State::Look { .. }
                        | State::Union { .. }
                        | State::BinaryUnion { .. }
                        | State::Capture { .. }
                        | State::Fail
                        | State::Match { .. } => None,
                    };
                    if let Some(to) = to
                        && is_first(&mut simulation.come, to, come_in)
                    {
                        next.push(to);
                    }
                });
            }
            heads = Heads {
                by_last: vec![(Some(Last::of(byte)), next)],
            };
        }
        heads
    }

    fn is_match(&mut self, heads: &Heads) -> bool {
        let mut found = false;
        for (last, states) in &heads.by_last {
            self.pass(*last, states, None, |_, state| {
                found |= matches!(state, State::Match { .. });
            });
        }
        found
    }

    /// Hands on each state that is come to from these without reading anything, between what was read last and what comes next.
    fn pass(
        &mut self,
        last: Option<Last>,
        from: &[StateID],
        next: Option<u8>,
        mut take: impl FnMut(&mut Self, &'n State),
    ) {
        let round = self.next_round();
        let around: Vec<u8> = last.map(Last::example).into_iter().chain(next).collect();
        let at = usize::from(last.is_some());
        self.open.extend(from);
        while let Some(id) = self.open.pop() {
            if !is_first(&mut self.passed, id, round) {
                continue;
            }
            self.steps += 1;
            let state = self.nfa.state(id);
            match state {
                State::Look { look, next } => {
                    if self.looks.matches(*look, &around, at) {
                        self.open.push(*next);
                    }
                }
                State::Union { alternates } => self.open.extend(alternates.iter()),
                State::BinaryUnion { alt1, alt2 } => self.open.extend([alt1, alt2]),
                State::Capture { next, .. } => self.open.push(*next),
                State::ByteRange { .. }
                | State::Sparse(_)
                | State::Dense(_)
                | State::Fail
                | State::Match { .. } => {}
            }
            take(self, state);
        }
    }

    fn next_round(&mut self) -> usize {
        self.round += 1;
        self.round
    }
}

/// Whether nobody was at this state in this round before.
fn is_first(rounds: &mut [usize], state: StateID, round: usize) -> bool {
    match rounds.get_mut(state.as_usize()) {
        Some(known) if *known != round => {
            *known = round;
            true
        }
        Some(_) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex_automata::nfa::thompson::NFA;

    use super::*;
    use crate::policy::RequestPattern;

    /// Each line by itself, with every selection of the parameters.
    fn one_by_one(pattern: &RequestPattern, line: &str, parameters: &[String]) -> bool {
        (0..1_usize << parameters.len()).any(|bits| {
            let chosen = parameters.iter().enumerate();
            let chosen = chosen.filter(|(index, _)| bits >> index & 1 == 1);
            let chosen: Vec<&str> = chosen.map(|(_, text)| text.as_str()).collect();
            let mark = if chosen.is_empty() { "" } else { "?" };
            pattern.matches(&format!("{line}{mark}{}", chosen.join("&")))
        })
    }

    fn pattern() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[ab=]|\\\\?|&",
            2 => Just("\\?".to_owned()),
            1 => Just("/a".to_owned()),
            1 => Just(".".to_owned()),
            1 => Just("\\b".to_owned()),
            1 => Just("\\B".to_owned()),
            1 => Just("[^&]".to_owned()),
            1 => Just("$".to_owned()),
            1 => Just("^".to_owned()),
        ];
        let grown = piece.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                4 => prop::collection::vec(inner.clone(), 1..5).prop_map(|parts| parts.concat()),
                1 => inner.clone().prop_map(|part| format!("({part})*")),
                1 => inner.clone().prop_map(|part| format!("({part})?")),
                1 => (inner.clone(), inner).prop_map(|(one, other)| format!("({one}|{other})")),
            ]
        });
        grown.prop_map(|rest| format!("/a{rest}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

        #[test]
        fn it_is_as_to_try_each_line(source in pattern(), parameters in prop::collection::vec("[ab]{1,2}=[ab]{0,2}", 0..6)) {
            if let Ok(pattern) = RequestPattern::new(&source) {
                let slow = one_by_one(&pattern, "/a", &parameters);
                prop_assert_eq!(pattern.matches_some_of("/a", &parameters), slow, "{} on {:?}", source, parameters);
            }
        }
    }

    #[test]
    fn a_deny_holds_whatever_is_put_beside_what_it_names() {
        let cases = [
            ("/v2/x\\?a=1", &["a=1"][..], true),
            ("/v2/x\\?a=1", &["Z=", "a=1", "b=2"], true),
            ("/v2/x\\?a=1&c=3", &["a=1", "b=2", "c=3"], true),
            ("/v2/x\\?a=1&c=3", &["a=1", "b=2"], false),
            ("/v2/x\\?c=3&a=1", &["a=1", "c=3"], false), // parameters are sorted
            ("/v2/x", &["a=1"], true),
            ("/v2/x\\?(.*&)?a=1", &["a=10"], false),
            ("/v2/x\\?a=1\\b.*", &["a=1", "b=2"], true),
            ("/v2/y\\?a=1", &["a=1"], false),
        ];
        for (source, parameters, matches) in cases {
            let pattern = RequestPattern::new(source).unwrap();
            let parameters: Vec<String> = parameters.iter().map(ToString::to_string).collect();
            let found = pattern.matches_some_of("/v2/x", &parameters);
            assert_eq!(found, matches, "{source} on {parameters:?}");
        }
    }

    /// A request line of 28 KB, which is as long as headers may be: twice the length takes twice the steps.
    #[test]
    fn many_parameters_cost_what_their_length_does() {
        let source = "^(?:GET /v2/droplets\\?(.*&)?tag_name=(a+)+b)$";
        let nfa = NFA::new(source).unwrap();
        let parameters = |count: usize| -> Vec<String> {
            let one = |number| format!("tag_name=aaaaaaaaaaa{number}");
            (0..count).map(one).collect()
        };
        for (count, length) in [(8, 3000), (600, 24), (1200, 24)] {
            let parameters: Vec<String> = match count {
                8 => (0..8)
                    .map(|_| format!("tag_name={}", "a".repeat(length)))
                    .collect(),
                many => parameters(many),
            };
            let bytes: usize = parameters.iter().map(|text| text.len() + 2).sum();
            let (found, steps) = search(&nfa, "GET /v2/droplets", &parameters);
            assert!(!found);
            let most = 2 * nfa.states().len() * (bytes + 32);
            assert!(
                steps <= most,
                "{count} parameters, {bytes} bytes: {steps} steps"
            );
        }
    }
}
