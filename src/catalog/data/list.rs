//! Lists for the crate that is built what the tables have: the files of `endpoints/`, and the kinds of `kinds.yaml`. A new section of
//! the reference is a new file, a new kind a new entry, and neither is a line of code.
#![expect(clippy::print_stdout, reason = "cargo reads it")]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

const FOLDER: &str = "src/catalog/data/endpoints";
const KINDS: &str = "src/catalog/data/kinds.yaml";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/catalog/data/list.rs");
    println!("cargo::rerun-if-changed={FOLDER}");
    println!("cargo::rerun-if-changed={KINDS}");
    let out = env::var("OUT_DIR")?;
    let out = Path::new(&out);
    fs::write(out.join("endpoint_tables.rs"), endpoint_tables()?)?;
    let table = fs::read_to_string(KINDS)?;
    fs::write(out.join("kind_id.rs"), kind_id(&kinds(&table)?)?)?;
    Ok(())
}

fn endpoint_tables() -> Result<String, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(FOLDER)? {
        let file = entry?.file_name().into_string();
        files.push(file.map_err(|name| {
            let name = name.display();
            format!("`{FOLDER}` has `{name}`, which is no name of a table; take it away")
        })?);
    }
    files.sort_unstable();
    let mut tables = String::new();
    for file in files {
        let path = format!(r#"concat!(env!("CARGO_MANIFEST_DIR"), "/{FOLDER}/{file}")"#);
        writeln!(tables, "({file:?}, include_str!({path})),")?;
    }
    Ok(format!("&[\n{tables}]"))
}

/// The keys under `kinds:`, with the variant of `KindId` for each; in the order of the keys, by which the variants compare.
///
/// They are read line by line, as a build script that parses YAML would bring a parser along; what reads the whole table at run time
/// finds the same keys, or tells it.
///
/// # Errors
/// The first line that is no key, no line of a kind and no comment.
fn kinds(table: &str) -> Result<BTreeMap<&str, String>, String> {
    let mut kinds: BTreeMap<&str, String> = BTreeMap::new();
    let mut in_kinds = false;
    for (line, number) in table.lines().zip(1..) {
        let wrong = |why: &str| Err(format!("{KINDS}:{number}: `{line}` {why}"));
        let text = line.trim_start_matches(' ');
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        match line.len() - text.len() {
            0 if line == "kinds:" && !in_kinds => in_kinds = true,
            0 => return wrong("stands at the top; that has `kinds:`, once, and nothing else"),
            _ if !in_kinds => return wrong("stands above `kinds:`"),
            2 => {
                let Some(name) = text.strip_suffix(':').filter(|name| is_name(name)) else {
                    return wrong(
                        "is no kind; write `  droplet:`, and what the kind has below it, by four spaces",
                    );
                };
                let variant = variant(name);
                if kinds.values().any(|known| *known == variant) {
                    return wrong("names a kind that is there already");
                }
                kinds.insert(name, variant);
            }
            4.. if !kinds.is_empty() => {}
            _ => {
                return wrong(
                    "stands in no kind; a kind is indented by two spaces, what it has by four or more",
                );
            }
        }
    }
    if kinds.is_empty() {
        return Err(format!("{KINDS}: no kinds stand under `kinds:`"));
    }
    Ok(kinds)
}

/// Words of `a-z` and `0-9` joined by `_`, of which the first begins with a letter.
fn is_name(text: &str) -> bool {
    let is_word = |word: &str| {
        let mut bytes = word.bytes();
        !word.is_empty() && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.split('_').all(is_word)
}

/// `domain_record` is `DomainRecord`.
fn variant(name: &str) -> String {
    let mut variant = String::new();
    for word in name.split('_') {
        let mut letters = word.chars();
        variant.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        variant.push_str(letters.as_str());
    }
    variant
}

/// The enum, and what is infallible by an arm for each of its variants.
fn kind_id(kinds: &BTreeMap<&str, String>) -> Result<String, std::fmt::Error> {
    let mut variants = String::new();
    let (mut all, mut names) = (String::new(), String::new());
    let (mut items, mut own) = (String::new(), String::new());
    for (place, (name, variant)) in kinds.iter().enumerate() {
        writeln!(variants, "    /// `{name}`.\n    {variant},")?;
        write!(all, "Self::{variant}, ")?;
        write!(names, "Self::{variant} => {name:?}, ")?;
        write!(items, "item{place}, ")?;
        write!(own, "Self::{variant} => item{place}, ")?;
    }
    let count = kinds.len();
    Ok(format!(
        "\
/// A kind of resource, as `kinds.yaml` has it: `Droplet`, `DomainRecord`. They compare by their names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum KindId {{
{variants}}}

impl KindId {{
    /// How many there are.
    pub const COUNT: usize = {count};

    /// All of them, in the order of their names.
    pub const ALL: [Self; Self::COUNT] = [{all}];

    /// The name, as policies write it: `domain_record`.
    pub const fn name(self) -> &'static str {{
        match self {{ {names} }}
    }}

    /// Its own item of those that there are for each kind, in the order of `ALL`.
    fn item<T>(self, items: &[T; Self::COUNT]) -> &T {{
        let [{items}] = items;
        match self {{ {own} }}
    }}
}}
"
    ))
}

#[cfg(test)]
mod tests {
    use super::kinds;

    #[test]
    fn a_kind_is_a_key_below_kinds() {
        let table = "# words\n\nkinds:\n\n  # group\n\n  vpc:\n    family: vpc\n    attributes:\n      id: id\n  nfs_share2:\n    family: nfs\n";
        let found = kinds(table).unwrap();
        let variants = [
            ("nfs_share2", "NfsShare2".to_owned()),
            ("vpc", "Vpc".to_owned()),
        ];
        assert!(
            found.into_iter().eq(variants),
            "in the order of their names"
        );
    }

    #[test]
    fn another_shape_is_told_by_its_line() {
        let cases = [
            (
                "kind:\n",
                "1: `kind:` stands at the top; that has `kinds:`, once, and nothing else",
            ),
            (
                "kinds:\n  a:\nkinds:\n",
                "3: `kinds:` stands at the top; that has `kinds:`, once, and nothing else",
            ),
            ("  a:\nkinds:\n", "1: `  a:` stands above `kinds:`"),
            (
                "kinds:\n  a: { family: a }\n",
                "2: `  a: { family: a }` is no kind; write `  droplet:`, and what the kind has below it, by four spaces",
            ),
            (
                "kinds:\n  A:\n",
                "2: `  A:` is no kind; write `  droplet:`, and what the kind has below it, by four spaces",
            ),
            (
                "kinds:\n  a:\n    b: c\n  a:\n",
                "4: `  a:` names a kind that is there already",
            ),
            (
                "kinds:\n  a_1:\n  a1:\n",
                "3: `  a1:` names a kind that is there already",
            ), // both are `A1`
            (
                "kinds:\n    b: c\n",
                "2: `    b: c` stands in no kind; a kind is indented by two spaces, what it has by four or more",
            ),
            (
                "kinds:\n  a:\n   b: c\n",
                "3: `   b: c` stands in no kind; a kind is indented by two spaces, what it has by four or more",
            ),
            (
                "kinds:\n  a:\n\tb: c\n",
                "3: `\tb: c` stands at the top; that has `kinds:`, once, and nothing else",
            ),
        ];
        for (table, expected) in cases {
            let expected = format!("src/catalog/data/kinds.yaml:{expected}");
            assert_eq!(kinds(table), Err(expected), "{table:?}");
        }
        let none = "src/catalog/data/kinds.yaml: no kinds stand under `kinds:`";
        assert_eq!(kinds("# words\n"), Err(none.to_owned()));
    }
}
