//! How names look to readers who do not mind how they are spelled.

/// A name without what some reader overlooks: case (as Unicode folds it: `K`, the Kelvin sign, is `k`, `ſ` is `s`), `_`, `-`,
/// dots and spaces, and brackets around it or after it. Two names with the same plain form are one to somebody.
///
/// Sources: Go's `encoding/json` (case), protojson (`camelCase`), Rack (`\A[\[\]]*([^\[\]]+)\]*`), PHP (dots and spaces).
pub(super) fn plain(name: &str) -> String {
    let name = name.trim_start_matches(['[', ']', ' ']);
    let name = name.split(['[', ']']).next().unwrap_or(name);
    let letters = name
        .chars()
        .filter(|letter| !matches!(letter, '_' | '-' | '.' | ' '));
    letters
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
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
        }
        assert_eq!(plain("ſſh_\u{212a}eys"), "sshkeys");
    }
}
