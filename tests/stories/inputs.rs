//! What people get wrong, each with its exit status and the exact words: what is wrong, why, and what to write instead, with the
//! culprit quoted and at its place.
//!
//! `inputs/*.yaml` are the tables of the files: below each line stands `#COLUMN: message` for all that is said of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const POLICY: &str = "version: 1\nroles: { r: { allow: [{ scopes: ['droplet:read'] }] } }\n";
const CONFIG: &str = "listen: [{ address: '127.0.0.1:0' }]\naccounts: { default: { token_file: do-token } }\npolicy: policy.yaml\nstate: tidegate.db\naudit: stdout\n";

/// A directory with a configuration and a policy that are well.
fn place() -> TempDir {
    let place = TempDir::new().unwrap();
    let token = format!("dop_v1_{}\n", "0".repeat(64));
    let files = [
        ("policy.yaml", POLICY),
        ("tidegate.yaml", CONFIG),
        ("do-token", &token),
    ];
    for (name, text) in files {
        write(&place, name, text);
    }
    place
}

fn write(place: &TempDir, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(place.path().join(name), text).unwrap();
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(place.path().join(name), mode).unwrap();
}

fn tidegate(place: &TempDir, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .current_dir(place.path())
        .env("TIDEGATE_CONFIG", "tidegate.yaml")
        .env_remove("DIGITALOCEAN_TOKEN")
        .env_remove("DIGITALOCEAN_ACCESS_TOKEN")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

/// What the comments of a table say of its lines, as `check` would.
fn expected(name: &str, table: &str) -> Vec<String> {
    let (mut line, mut said) = (0, Vec::new());
    for (number, text) in (1..).zip(table.lines()) {
        match text
            .strip_prefix('#')
            .and_then(|text| text.split_once(": "))
        {
            Some((column, message)) if column.parse::<u32>().is_ok() => {
                let severity = if message.starts_with("warning: ") {
                    ""
                } else {
                    "error: "
                };
                said.push(format!("{name}:{line}:{column}: {severity}{message}"));
            }
            Some(_) | None => line = number,
        }
    }
    said
}

#[test]
fn each_mistake_in_a_file_is_told_at_its_place_with_what_to_write() {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories/inputs");
    let place = place();
    for (name, arguments, status) in [
        ("policy.yaml", &["check", "--policy", "policy.yaml"][..], 1),
        ("tidegate.yaml", &["check"], 1),
        ("warnings.yaml", &["check", "--policy", "warnings.yaml"], 0),
        (
            "warnings.yaml",
            &["check", "--policy", "warnings.yaml", "--strict"],
            1,
        ),
    ] {
        let table = fs::read_to_string(tables.join(name)).unwrap();
        write(&place, name, &table);
        let expected = expected(name, &table);
        assert!(expected.len() > 25, "{name}: {} rows", expected.len());
        let (code, said) = tidegate(&place, arguments);
        assert_eq!(code, Some(status), "{name}: {said}");
        let findings = said.lines().filter(|line| line.starts_with(name));
        assert_eq!(findings.collect::<Vec<_>>(), expected, "{name}");
        write(&place, "policy.yaml", POLICY);
    }
}

#[test]
fn what_is_no_yaml_is_told_where_it_ceases_to_be() {
    let cases = [
        (
            "listen: [{ address: 127.0.0.1:0 }",
            "1:9: error: this is not YAML: unclosed bracket '['",
        ),
        (
            "a: b: c",
            "1:5: error: this is not YAML: mapping values are not allowed in this context",
        ),
        (
            "[]",
            "1:1: error: the configuration is a mapping of keys to values, not a list",
        ),
        (
            "",
            "1:1: error: the configuration is a mapping of keys to values, not nothing",
        ),
        (
            "a: *x",
            "1:4: error: `*x` begins with `*`, which repeats an anchored value in YAML; write it in quotes: `\"*x\"`",
        ),
        (
            "a: !!str x",
            "1:10: error: a YAML tag (`!…`); types are judged by what is expected here, so remove it",
        ),
    ];
    let place = place();
    for (text, expected) in cases {
        write(&place, "tidegate.yaml", text);
        let (code, said) = tidegate(&place, &["check"]);
        assert_eq!(code, Some(1), "{text:?}");
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(first, format!("tidegate.yaml:{expected}"), "{text:?}");
    }
}

/// The arguments of a line: parted by spaces, those with a space in quotes.
fn arguments(line: &str) -> Vec<String> {
    let mut all = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            all.push(part.to_owned());
        } else {
            all.extend(
                part.split_whitespace()
                    .map(|word| word.replace("\\a", "\u{7}")),
            );
        }
    }
    all
}

#[test]
fn each_slip_on_the_command_line_is_told_with_its_exit_status() {
    let place = place();
    let table = include_str!("inputs/commands.txt").lines();
    let (mut asked, mut rows) = (None, 0);
    for line in table.skip_while(|line| !line.starts_with('$')) {
        let Some(command) = asked.take() else {
            asked = line.strip_prefix("$ tidegate ");
            assert!(asked.is_some(), "no command: {line}");
            continue;
        };
        let arguments = arguments(command);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let (code, said) = tidegate(&place, &arguments);
        let code = code.map_or_else(String::new, |code| code.to_string());
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(format!("{code} {first}"), line, "{command}");
        rows += 1;
    }
    assert!(asked.is_none() && rows > 60, "{rows} rows");
}
