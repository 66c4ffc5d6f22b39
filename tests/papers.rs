//! The papers tell the truth: README stays one page, links lead somewhere, and the reference names every key, kind and code.
//!
//! `UPDATE_PAPERS=1 cargo test --test papers` writes anew what is generated.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken assumption must stop the test"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate::refusal::Code;

const PAPERS: [&str; 8] = [
    "examples/several/README.md",
    "examples/kubernetes/clients/README.md",
    "src/catalog/data/README.md",
    "README.md",
    "config/README.md",
    "examples/README.md",
    "tests/README.md",
    "tests/bench/README.md",
];

#[test]
fn the_readme_is_one_page() {
    let lines = page("README.md").lines().count();
    assert!(
        lines <= 170,
        "README has {lines} lines: move some beside what they tell of"
    );
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    for paper in PAPERS {
        let text = page(paper);
        for link in links(&text) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(paper),
                file => root().join(paper).parent().unwrap().join(file),
            };
            assert!(target.exists(), "{paper} links to {link}");
            if !heading.is_empty() {
                let there = fs::read_to_string(&target).unwrap();
                assert!(
                    headings(&there).contains(heading),
                    "{paper} links to {link}"
                );
            }
        }
    }
}

#[test]
fn the_reference_has_every_refusal() {
    let text = page("config/README.md");
    let told: BTreeSet<_> = between(&text, "codes")
        .lines()
        .filter(|line| line.starts_with("| 4") || line.starts_with("| 5"))
        .map(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            let mut cell = || {
                cells
                    .next()
                    .unwrap_or_default()
                    .trim_matches('`')
                    .to_owned()
            };
            (cell(), cell(), cell())
        })
        .collect();
    let meant = Code::ALL.map(|code| {
        (
            code.status().to_string(),
            code.id().to_owned(),
            code.as_str().to_owned(),
        )
    });
    assert_eq!(told, BTreeSet::from(meant));
}

#[test]
fn the_reference_has_every_kind_with_its_attributes() {
    let kinds: Vec<Value> =
        serde_json::from_slice(&tidegate(&["catalog", "kinds", "--json"])).unwrap();
    let mut table = "| kind | attributes | named by |\n|---|---|---|\n".to_owned();
    for kind in &kinds {
        let attributes: Vec<_> = kind["attributes"]
            .as_object()
            .unwrap()
            .keys()
            .map(|name| format!("`{name}`"))
            .collect();
        let named = kind["named"]
            .as_str()
            .unwrap_or_default()
            .replace('|', "\\|");
        let (name, attributes) = (kind["kind"].as_str().unwrap(), attributes.join(" "));
        table += &["| `", name, "` | ", &attributes, " | ", &named, " |\n"].concat();
    }
    let text = page("config/README.md");
    if std::env::var_os("UPDATE_PAPERS").is_some() {
        let (before, rest) = text.split_once("<!-- kinds:").unwrap();
        let (mark, rest) = rest.split_once('\n').unwrap();
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        let new = format!("{before}<!-- kinds:{mark}\n{table}<!-- end -->{after}");
        fs::write(root().join("config/README.md"), new).unwrap();
        return;
    }
    assert!(
        between(&text, "kinds") == table,
        "the catalogue has other kinds than the reference; UPDATE_PAPERS=1 cargo test --test papers writes them anew"
    );
}

#[test]
fn the_reference_has_every_key_of_both_files() {
    let text = page("config/README.md");
    let said = words(&text);
    let kinds: Vec<Value> =
        serde_json::from_slice(&tidegate(&["catalog", "kinds", "--json"])).unwrap();
    let mut known: BTreeSet<String> = kinds
        .iter()
        .map(|kind| kind["kind"].as_str().unwrap().to_owned())
        .collect();
    for kind in &kinds {
        known.extend(kind["attributes"].as_object().unwrap().keys().cloned());
    }
    for file in ["config", "policy"] {
        let schema: Value = serde_json::from_slice(&tidegate(&["schema", file])).unwrap();
        let mut keys = BTreeSet::new();
        properties(&schema, &mut keys);
        assert!(keys.len() > 10, "{file}: {keys:?}");
        let missing: Vec<_> = keys
            .iter()
            .filter(|key| !said.contains(*key) && !known.contains(*key))
            .collect();
        assert!(
            missing.is_empty(),
            "the reference says nothing of these keys of the {file}: {missing:?}"
        );
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn tidegate(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(Path::new(env!("CARGO_BIN_EXE_tidegate")))
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

/// What stands between the comments that bound a part of the reference.
#[track_caller]
fn between<'a>(text: &'a str, part: &str) -> &'a str {
    let from = text
        .split_once(&format!("<!-- {part}:"))
        .and_then(|(_, rest)| rest.split_once("-->\n"));
    let whole = from.and_then(|(_, rest)| rest.split_once("<!-- end -->"));
    whole.unwrap_or_else(|| panic!("no part `{part}`")).0
}

fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
}

/// The anchors of a page's headings, as GitHub makes them.
fn headings(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let kept = line.trim_start_matches('#').trim().to_lowercase();
            let kept = kept
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// The words that stand in code: between backticks, and in blocks.
fn words(text: &str) -> BTreeSet<String> {
    let code = text.split('`').skip(1).step_by(2);
    let words = code.flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

fn properties(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Object(properties)) = members.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            members.values().for_each(|member| properties(member, keys));
        }
        Value::Array(items) => items.iter().for_each(|item| properties(item, keys)),
        _ => {}
    }
}

const TABLES: &str = "src/catalog/data";

/// Each word of the tables is explained, with a row that has it, and no word is explained that no row has.
#[test]
fn the_grammar_of_the_tables_is_written_down() {
    let text = page("src/catalog/data/README.md");
    let explained: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .flat_map(|line| line.split(" | ").next().unwrap_or_default().split(", "))
        .map(|word| word.trim_matches('`').to_owned())
        .filter(|word| !word.is_empty())
        .collect();
    let (mut files, mut used) = (String::new(), BTreeSet::new());
    for entry in fs::read_dir(root().join(TABLES).join("endpoints")).unwrap() {
        let table = fs::read_to_string(entry.unwrap().path()).unwrap();
        let read: Value = serde_yaml::from_str(&table).unwrap();
        used.extend(read.as_object().unwrap().keys().cloned());
        for row in read["endpoints"].as_object().unwrap().values() {
            used.extend(row.as_object().unwrap().keys().cloned());
            for touch in row["touches"].as_array().into_iter().flatten() {
                let words = touch.as_object().unwrap().keys();
                used.extend(
                    words
                        .filter(|word| !VERBS.contains(&word.as_str()))
                        .cloned(),
                );
            }
        }
        files += &table;
    }
    assert_eq!(
        explained, used,
        "explained in the tables' README, and used in them"
    );
    let examples = text
        .lines()
        .filter(|line| line.starts_with("| `"))
        .filter_map(|line| line.rsplit(" | ").next());
    for example in examples.filter(|example| example.starts_with("`{ ")) {
        let row = example.trim_end_matches(" |").trim_matches('`');
        assert!(files.contains(row), "no table has {row}");
    }
    for verb in VERBS {
        assert!(
            text.contains(&format!("`{verb}`")),
            "`{verb}` is not explained"
        );
    }
}

/// Each word of a kind is explained in the head of its table.
#[test]
fn the_head_of_the_kinds_says_every_word_of_them() {
    let text = page("src/catalog/data/kinds.yaml");
    let head: BTreeSet<_> = text
        .lines()
        .take_while(|line| line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .flat_map(|line| {
            line.split("  ")
                .next()
                .unwrap_or_default()
                .split([' ', ','])
        })
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let read: Value = serde_yaml::from_str(&text).unwrap();
    for (kind, row) in read["kinds"].as_object().unwrap() {
        for word in row.as_object().unwrap().keys() {
            assert!(head.contains(word), "`{word}` of {kind} is not explained");
        }
    }
}

const VERBS: [&str; 10] = [
    "read", "list", "create", "change", "delete", "use", "source", "attach", "join", "label",
];
