//! How names look to readers who do not mind how they are spelled.

/// Whether two names are one to somebody: they have the same [`plain`] form.
pub(super) fn alike(one: &str, other: &str) -> bool {
    if one.is_ascii() && other.is_ascii() {
        let folded = |name| letters(name).map(|letter| letter.to_ascii_lowercase());
        folded(one).eq(folded(other))
    } else {
        plain(one) == plain(other)
    }
}

/// A name without what some reader overlooks: case (as Unicode folds it: `K`, the Kelvin sign, is `k`, `ſ` is `s`), `_`, `-`,
/// dots and spaces, and brackets around it or after it.
///
/// Sources: Go's `encoding/json` (case), protojson (`camelCase`), Rack (`\A[\[\]]*([^\[\]]+)\]*`), PHP (dots and spaces).
fn plain(name: &str) -> String {
    letters(name)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

/// The letters of a name that no reader overlooks.
fn letters(name: &str) -> impl Iterator<Item = char> {
    let name = name.trim_start_matches(['[', ']', ' ']);
    let name = name.split(['[', ']']).next().unwrap_or(name);
    name.chars()
        .filter(|letter| !matches!(letter, '_' | '-' | '.' | ' '))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_some_reader_takes_for_one_have_one_plain_form() {
        for name in [
            "read_write",
            "readWrite",
            "READ-WRITE",
            "read_write[]",
            "[read_write]",
            "]read_write",
            "[][]read_write]x",
            " read.write",
        ] {
            assert_eq!(plain(name), "readwrite", "name {name:?}");
            assert!(alike(name, "READwrite"), "name {name:?}");
            assert!(!alike(name, "readwrites"), "name {name:?}");
        }
        assert_eq!(plain("ſſh_\u{212a}eys"), "sshkeys");
        assert!(alike("ſſh_\u{212a}eys", "ssh_keys"));
        assert!(!alike("ſſh_\u{212a}eys", "ssh_key"));
    }

    proptest! {
        #[test]
        fn the_quick_way_tells_what_the_plain_forms_do(one in "[aA_.\\- \\[\\]bſ]{0,6}", other in "[aA_.\\- \\[\\]bs]{0,6}") {
            prop_assert_eq!(alike(&one, &other), plain(&one) == plain(&other));
        }
    }
}
