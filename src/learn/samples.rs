//! Texts that patterns of `only` match, and texts that they nearly match.

use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;

/// As many texts are made of one pattern.
const MOST: usize = 12;
/// What `*` may stand for: nothing, something, and more of another form.
const RUNS: [&str; 3] = ["", "x", "9-z.q7"];

/// Texts that a value or a list of values matches.
pub(super) fn of(values: &Value) -> Vec<String> {
    let list = match values {
        Value::Array(items) => items.iter().collect(),
        one => vec![one],
    };
    let texts = list.into_iter().filter_map(Value::as_str);
    texts.flat_map(of_pattern).collect()
}

/// Whether a value is a regular expression of which no text is known that it matches.
pub(super) fn is_unknown(pattern: &str) -> bool {
    inner(pattern).is_some() && of_pattern(pattern).is_empty()
}

fn inner(pattern: &str) -> Option<&str> {
    let rest = pattern.strip_prefix('/')?;
    rest.strip_suffix('/')
}

fn of_pattern(pattern: &str) -> Vec<String> {
    if let Some(source) = inner(pattern) {
        return of_regex(source);
    }
    if !pattern.contains(['*', '?']) {
        return vec![pattern.to_owned()];
    }
    let mut all: Vec<String> = Vec::new();
    for run in RUNS {
        let one = if run == "x" { "x" } else { "7" };
        let text = pattern.replace('?', one).replace('*', run);
        if !text.is_empty() && !all.contains(&text) {
            all.push(text);
        }
    }
    all
}

/// Texts of a regular expression, of which each is looked at whether it matches whole.
fn of_regex(source: &str) -> Vec<String> {
    let (Ok(hir), Ok(whole)) = (
        regex_syntax::parse(source),
        Regex::new(&format!("^(?:{source})$")),
    ) else {
        return Vec::new();
    };
    let mut texts = of_hir(&hir);
    texts.retain(|text| whole.is_match(text) && !text.is_empty());
    texts.dedup();
    texts
}

fn of_hir(hir: &Hir) -> Vec<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => vec![String::new()],
        HirKind::Literal(literal) => vec![String::from_utf8_lossy(&literal.0).into_owned()],
        HirKind::Class(class) => of_class(class),
        HirKind::Capture(capture) => of_hir(&capture.sub),
        HirKind::Repetition(repetition) => {
            let once = of_hir(&repetition.sub);
            let least = usize::try_from(repetition.min)
                .unwrap_or(usize::MAX)
                .min(64);
            let most = repetition.max.and_then(|most| usize::try_from(most).ok());
            let mut counts = vec![least.max(1), least, least.saturating_add(3)];
            counts.retain(|count| most.is_none_or(|most| *count <= most));
            let texts = counts.iter().flat_map(|count| {
                let repeated = |text: &String| text.repeat(*count);
                once.iter().map(repeated).collect::<Vec<_>>()
            });
            texts.take(MOST).collect()
        }
        HirKind::Concat(parts) => parts.iter().fold(vec![String::new()], |begun, part| {
            let ends = of_hir(part);
            // Each begin with the first end, and the first begin with each end: every branch stands in one of them.
            let first = ends.first().cloned().unwrap_or_default();
            let mut all: Vec<String> = begun.iter().map(|text| format!("{text}{first}")).collect();
            let begin = begun.first().cloned().unwrap_or_default();
            all.extend(ends.iter().skip(1).map(|end| format!("{begin}{end}")));
            all.truncate(MOST);
            all
        }),
        HirKind::Alternation(branches) => branches.iter().flat_map(of_hir).take(MOST).collect(),
    }
}

/// The first sign of each of the first ranges that can stand in a name.
fn of_class(class: &Class) -> Vec<String> {
    let firsts: Vec<char> = match class {
        Class::Unicode(class) => class
            .iter()
            .flat_map(|range| {
                ['x', '7', '-']
                    .into_iter()
                    .filter(|sign| (range.start()..=range.end()).contains(sign))
                    .chain([range.start(), range.end()])
                    .collect::<Vec<_>>()
            })
            .collect(),
        Class::Bytes(class) => class
            .iter()
            .flat_map(|range| [range.start(), range.end()])
            .map(char::from)
            .collect(),
    };
    let plain = firsts.into_iter().filter(|sign| !sign.is_control());
    plain.take(4).map(String::from).collect()
}

/// A text that is nearly that one.
pub(super) fn beside(text: &str) -> String {
    let uuid = crate::catalog::is_uuid(text);
    match text.chars().last() {
        Some(last) if uuid => {
            let other = if last == '0' { '1' } else { '0' };
            let begin: String = text.chars().take(text.chars().count() - 1).collect();
            format!("{begin}{other}")
        }
        Some(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => format!("{text}9"),
        _ => format!("{text}0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_matches_and_each_branch_has_one() {
        let cases: [(&str, &[&str]); 12] = [
            ("web", &["web"]),
            ("client-*", &["client-", "client-x", "client-9-z.q7"]),
            ("db?", &["db7", "dbx"]),
            ("*", &["x", "9-z.q7"]), // a name is never empty
            ("/web|db/", &["web", "db"]),
            ("/(web|db)-[0-9]+/", &["web-7", "db-7"]),
            ("/a{3}/", &["aaa"]),
            ("/a?b/", &["ab", "b"]),
            (r"/\d{2}\.x/", &["77.x"]),
            ("/[a-c]+/", &["a", "aaaa"]),
            ("/.*/", &["x", "xxx"]),
            (r"/web\b-1/", &["web-1"]),
        ];
        for (pattern, wanted) in cases {
            let found = of_pattern(pattern);
            for text in wanted {
                assert!(
                    found.iter().any(|it| it == text),
                    "{text} of {pattern}: {found:?}"
                );
            }
            assert!(!is_unknown(pattern), "{pattern}");
            if let Some(source) = inner(pattern) {
                let whole = Regex::new(&format!("^(?:{source})$")).unwrap();
                assert!(
                    found.iter().all(|text| whole.is_match(text)),
                    "{pattern}: {found:?}"
                );
            }
        }
        assert!(is_unknown(r"/a\Bb\b\B/"), "it matches nothing");
    }
}
