//! Which members sound as if they named a resource. The tables must say of each of these what it names, or why it names none.

use super::place::{FieldPath, Place};

/// Whether a place sounds like the name of something, by the last word of the last member on its way.
pub(super) fn sounds_like_a_name(place: &Place) -> bool {
    match place {
        Place::Path(name) | Place::Query(name) => is_name(name),
        Place::Body(FieldPath { steps }) => steps.last().is_some_and(|step| is_name(&step.key)),
    }
}

fn is_name(key: &str) -> bool {
    let key = key.to_lowercase();
    let mut words = key.split(['_', '.']);
    let counts = words.next().is_some_and(|first| COUNTS.contains(&first));
    let last = key.rsplit(['_', '.']).next().unwrap_or_default();
    let one = last.strip_suffix('s').unwrap_or(last);
    let is_noun = |word: &str| NOUNS.contains(&word) || IDENTIFIERS.contains(&word);
    !counts && (is_noun(last) || is_noun(one) || last == "registries" || last == "repositories")
}

/// `max_databases` says how many.
const COUNTS: [&str; 3] = ["num", "max", "min"];
const IDENTIFIERS: [&str; 11] = [
    "hash", "id", "uuid", "uid", "urn", "name", "tag", "key", "slug", "origin", "label",
];
const NOUNS: [&str; 34] = [
    "account",
    "agent",
    "app",
    "bucket",
    "certificate",
    "cluster",
    "database",
    "dataset",
    "db",
    "domain",
    "droplet",
    "firewall",
    "function",
    "guardrail",
    "image",
    "model",
    "namespace",
    "project",
    "registry",
    "repo",
    "repository",
    "resource",
    "router",
    "snapshot",
    "source",
    "space",
    "subnet",
    "target",
    "user",
    "username",
    "volume",
    "vpc",
    "workspace",
    "recipient",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sound_like_names() {
        let cases = [
            ("body.vpc_uuid", true),
            ("body.rules[].sources", true),
            ("body.Key", true),
            ("body.spec.domains[].certificate", true),
            ("query.tag_name", true),
            ("body.labels", true),
            ("body.name.size", false), // the last member is what it is
            ("body.size", false),
            ("body.region", false), // nobody's
            ("body.max_databases", false),
            ("body.config.\"pg_partman_bgw.role\"", false),
            ("body.config.\"a.user\"", true),
        ];
        for (place, sounds) in cases {
            let parsed = place.parse().unwrap();
            assert_eq!(sounds_like_a_name(&parsed), sounds, "{place}");
        }
    }
}
