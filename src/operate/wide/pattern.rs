use crate::catalog::{Catalog, Segment};
use crate::policy::RequestPattern;
use crate::yaml::nearest;

/// What is to be said of a `requests` pattern, as it was written.
pub(super) fn remarks(text: &str, catalog: &Catalog) -> Vec<String> {
    if matches_everything(text) {
        return vec![format!(
            "has the pattern `{text}`, which matches every request that is not sensitive; spell the methods and paths that are needed"
        )];
    }
    let found = [
        bare_dot(text).map(|(seen, instead)| {
            format!("has `{seen}` in a pattern, where `.` stands for any character; write `{instead}`")
        }),
        crosses_slashes(text).map(|dots| {
            format!("has the pattern `{text}`, whose `{dots}` goes on past the next `/`, over all that is below; write `[^/]+` for one segment")
        }),
        unknown_word(text, catalog),
    ];
    found.into_iter().flatten().collect()
}

/// Whether requests that no API has are matched too.
fn matches_everything(text: &str) -> bool {
    let probes = ["GET /no/such/path", "DELETE /v2/nothing-at-all", "POST /"];
    RequestPattern::new(text).is_ok_and(|pattern| probes.iter().all(|probe| pattern.matches(probe)))
}

/// A dot in the middle of a name, as in `example.com`, and the name as it should be.
fn bare_dot(text: &str) -> Option<(String, String)> {
    let is_name =
        |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | '\\');
    let outside = without_classes(text);
    let mut words = outside.split(|letter| !is_name(letter));
    let word = words.find(|word| {
        let plain = word.replace("\\.", "");
        let inner = plain.trim_matches('.');
        // A backslash that is left begins a class, as in `\d.`, and says that the writer knows.
        inner.contains('.') && !inner.contains('\\') && !plain.contains("..")
    })?;
    let plain = word.trim_matches('.');
    Some((
        plain.to_owned(),
        plain.replace("\\.", ".").replace('.', "\\."),
    ))
}

/// The text with blanks in place of classes as `[a.b]`, where a dot is one.
fn without_classes(text: &str) -> String {
    let mut inside = false;
    text.chars()
        .map(|letter| {
            inside = letter == '[' || inside && letter != ']';
            if inside { ' ' } else { letter }
        })
        .collect()
}

fn crosses_slashes(text: &str) -> Option<&'static str> {
    let path = text.split("\\?").next().unwrap_or_default();
    [".*", ".+"].into_iter().find(|dots| {
        path.match_indices(dots)
            .any(|(at, _)| !path.get(..at).is_some_and(|before| before.ends_with('\\')))
    })
}

/// A path below `/v2/` whose first word no endpoint has: a typing error, or newer than this release.
pub(super) fn unknown_word(text: &str, catalog: &Catalog) -> Option<String> {
    let (_, after) = text.split_once("/v2/")?;
    let end =
        after.find(|letter: char| !letter.is_ascii_alphanumeric() && !matches!(letter, '_' | '-'));
    let (word, next) = after.split_at_checked(end.unwrap_or(after.len()))?;
    let ends = next.is_empty() || next.starts_with(['/', '(']) || next.starts_with("\\?");
    if word.is_empty() || !ends {
        return None;
    }
    let firsts =
        catalog
            .endpoints()
            .iter()
            .filter_map(|endpoint| match endpoint.template.segments.get(1) {
                Some(Segment::Fixed(first)) => Some(first.as_str()),
                Some(Segment::Parameter { .. }) | None => None,
            });
    let optional = next.starts_with('('); // `/v2/droplet(s|_x)` may go on to make a word
    if firsts
        .clone()
        .any(|first| first == word || optional && first.starts_with(word))
    {
        return None;
    }
    let instead = match nearest(word, firsts) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`tidegate catalog endpoints` lists them all".to_owned(),
    };
    Some(format!(
        "has the pattern `{text}`, which matches no endpoint that tidegate knows: none is below `/v2/{word}`; {instead}"
    ))
}
