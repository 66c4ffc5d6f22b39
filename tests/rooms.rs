//! The rooms of `src` stand one above the other: use goes down only, and no two need each other, however long the way between them.
#![expect(
    clippy::expect_used,
    reason = "a test that can't read the tree can't go on"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Names that more than one type has, and what they are. None is to be added but for a reason like that of these: each is at home in one
/// file, and says there what it says in every other of its kind.
const DOUBLE: [(&str, &str); 2] = [
    ("Arguments", "of a command, each in the command's file"),
    (
        "Command",
        "the commands under a command, each in that one's file",
    ),
];

/// What a room needs, and in which file it says so.
type Needs = BTreeMap<String, BTreeMap<String, PathBuf>>;

#[test]
fn no_two_rooms_need_each_other() {
    let needs = needs();
    let mut knotted = Vec::new();
    for (room, its) in &needs {
        for (other, file) in its {
            if reaches(&needs, other, room) {
                let file = file.display();
                knotted.push(format!(
                    "`{room}` needs `{other}` ({file}), which needs `{room}` in turn"
                ));
            }
        }
    }
    assert!(
        knotted.is_empty(),
        "move what both need into a room beneath both:\n{}",
        knotted.join("\n")
    );
}

#[test]
fn every_room_stands_in_the_plan_of_the_house() {
    let plan = fs::read_to_string(source().join("lib.rs")).expect("src/lib.rs");
    let untold: Vec<_> = rooms()
        .into_iter()
        .filter(|room| !plan.contains(&format!("[`{room}`]")))
        .collect();
    assert!(untold.is_empty(), "`src/lib.rs` says nothing of {untold:?}");
}

/// One word is one thing: who meets a type's name again must be able to take it for the same type.
#[test]
fn no_two_types_have_one_name() {
    let mut declared: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a file of src");
        let inside = path.strip_prefix(source()).expect("a path in src");
        for name in declared_types(without_tests(&text)) {
            declared.entry(name).or_default().insert(inside.to_owned());
        }
    }
    declared.retain(|_, files| files.len() > 1);
    let meant: BTreeSet<_> = DOUBLE.iter().map(|(name, _)| (*name).to_owned()).collect();
    let found: BTreeSet<_> = declared.keys().cloned().collect();
    let double: Vec<_> = found
        .difference(&meant)
        .map(|name| format!("`{name}` is declared in {:?}", declared.get(name)))
        .collect();
    assert!(
        double.is_empty(),
        "call each by what tells it from the other:\n{}",
        double.join("\n")
    );
    let single: Vec<_> = meant.difference(&found).collect();
    assert!(
        single.is_empty(),
        "these have one meaning now, so strike them from the list: {single:?}"
    );
}

/// Whatever a page shows is escaped by the type that pages are made of; what says that a text is markup already goes around it.
#[test]
fn no_text_is_said_to_be_markup() {
    let mut around = Vec::new();
    for file in files() {
        let text = fs::read_to_string(&file).expect("a file of src");
        if text.contains("PreEscaped") {
            around.push(file);
        }
    }
    assert!(
        around.is_empty(),
        "show it as the text that it is: {around:?}"
    );
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Whatever stands directly in `src`, but for the crate's two roots.
fn rooms() -> BTreeSet<String> {
    let entries = fs::read_dir(source()).expect("src");
    let names = entries.filter_map(|entry| {
        let path = entry.expect("an entry of src").path();
        Some(path.file_stem()?.to_str()?.to_owned())
    });
    names
        .filter(|name| !matches!(name.as_str(), "lib" | "main"))
        .collect()
}

fn needs() -> Needs {
    let rooms = rooms();
    let mut needs = Needs::new();
    for path in files() {
        let inside = path.strip_prefix(source()).expect("a path in src");
        let first = inside.iter().next().map(Path::new);
        let room = first.and_then(Path::file_stem).expect("a room");
        let room = room.to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a file of src");
        for other in named(&text).filter(|other| *other != room && rooms.contains(other)) {
            let its = needs.entry(room.clone()).or_default();
            its.entry(other).or_insert_with(|| inside.to_owned());
        }
    }
    needs
}

/// The code of all rooms.
fn files() -> Vec<PathBuf> {
    let (mut files, mut left) = (Vec::new(), vec![source()]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of src") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if !is_of_tests(&path) {
                files.push(path);
            }
        }
    }
    files
}

fn is_of_tests(path: &Path) -> bool {
    let is_code = path.extension().is_some_and(|extension| extension == "rs");
    let named = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
    !is_code || path.iter().any(named)
}

/// The code of a file up to its tests.
fn without_tests(text: &str) -> &str {
    let mut parts = text.split("#[cfg(test)]\nmod tests {");
    parts.next().unwrap_or_default()
}

/// The names of types that are declared in code, outside of functions.
fn declared_types(code: &str) -> impl Iterator<Item = String> {
    let declare = |word: &str| matches!(word, "struct" | "enum" | "trait" | "type");
    code.lines().filter_map(move |line| {
        let is_visibility = |word: &&str| word.starts_with("pub") || word.ends_with(')');
        let mut words = line.split(' ').skip_while(is_visibility);
        words.next().filter(|word| declare(word))?;
        let name = words.next()?;
        let end = name.find(|letter: char| !letter.is_alphanumeric());
        name.get(..end.unwrap_or(name.len())).map(str::to_owned)
    })
}

/// The names behind `crate::` in the code of a file, up to its tests.
fn named(text: &str) -> impl Iterator<Item = String> {
    let lines = without_tests(text)
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let names: Vec<_> = code
        .split("crate::")
        .skip(1)
        .map(|rest| {
            let end = rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
            rest.get(..end.unwrap_or(rest.len()))
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert!(
        !names.iter().any(String::is_empty),
        "write each room's `use` by itself, so that it can be read here"
    );
    names.into_iter()
}

fn reaches(needs: &Needs, from: &str, to: &str) -> bool {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(room) = left.pop() {
        if room == to {
            return true;
        }
        if seen.insert(room) {
            left.extend(
                needs
                    .get(room)
                    .into_iter()
                    .flatten()
                    .map(|(it, _)| it.as_str()),
            );
        }
    }
    false
}
