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
                said.push(format!("{name}:{line}:{column}: error: {message}"));
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
    for (name, arguments) in [
        ("policy.yaml", &["check", "--policy", "policy.yaml"][..]),
        ("tidegate.yaml", &["check"]),
    ] {
        let table = fs::read_to_string(tables.join(name)).unwrap();
        write(&place, name, &table);
        let expected = expected(name, &table);
        assert!(expected.len() > 25, "{name}: {} rows", expected.len());
        let (code, said) = tidegate(&place, arguments);
        assert_eq!(code, Some(1), "{name}");
        let said: Vec<_> = said.lines().collect();
        assert_eq!(said, expected, "{name}");
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

const SPAN: &str = "a span of time is a number and a unit: `30s`, `5m`, `12h` or `30d`";
const SOURCE: &str =
    "a source is an address, a network (`203.0.113.0/24`, `2001:db8::/32`) or `unix`";
const TIME: &str = "it is a time, as `2027-01-31T00:00:00Z`";
const USES: &str = "it is a whole number of requests, at least 1; leave it out for any number";
const WHEN: &str = "it is a time, as `2027-01-31T00:00:00Z`, or how long ago, as `7d`";

#[test]
fn each_slip_on_the_command_line_is_told_with_its_exit_status() {
    let issue = ["token", "issue", "a", "--role", "r"];
    let with = |more: &[&'static str]| [&issue[..], more].concat();
    let value = |option: &str, value: &str, why: &str| {
        format!("error: invalid value '{value}' for '{option}': {why}")
    };
    let cases: Vec<(Vec<&str>, i32, String)> = vec![
        (vec!["token", "issue", "", "--role", "r"], 2, value("<NAME>", "", "a token's name is empty; give it one by which you know it again")),
        (vec!["token", "issue", "a", "--role", "nobody"], 1, "unknown role `nobody`; the policy has r".into()),
        (with(&["--expires", "soon"]), 2, value("--expires <SPAN>", "soon", SPAN)),
        (with(&["--expires-at", "yesterday"]), 2, value("--expires-at <TIME>", "yesterday", TIME)),
        (with(&["--not-before", "2027-13-01"]), 2, value("--not-before <TIME>", "2027-13-01", TIME)),
        (with(&["--idle", "1h30"]), 2, value("--idle <SPAN>", "1h30", SPAN)),
        (with(&["--max-uses", "0"]), 2, value("--max-uses <N>", "0", USES)),
        (with(&["--max-uses", "many"]), 2, value("--max-uses <N>", "many", USES)),
        (with(&["--from", "10.0.0.0/99"]), 2, value("--from <CIDR>", "10.0.0.0/99", SOURCE)),
        (with(&["--rate", "fast"]), 2, value("--rate <RATE>", "fast", "a rate is a number for a period: `60/min`, `10/s` or `1000/h`")),
        (with(&["--var", "client"]), 2, value("--var <NAME=VALUE>", "client", "a variable is written NAME=VALUE")),
        (with(&["--var", "client=a"]), 1, "no role of this token has a variable `client`".into()),
        (vec!["explain", "FETCH", "/v2/droplets", "--role", "r"], 2, "`FETCH`: the API has GET (and HEAD), POST, PUT, PATCH and DELETE".into()),
        (vec!["explain", "GET", "/v2/droplets", "--role", "nobody"], 2, "unknown role `nobody`; the policy has r".into()),
        (vec!["explain", "GET", "/v2/droplets", "--role", "r", "--from", "here"], 2, value("--from <IP>", "here", SOURCE)),
        (vec!["explain", "POST", "/v2/droplets", "--role", "r", "--body", "nope.json"], 2, "the body `nope.json` can't be read: No such file or directory (os error 2)".into()),
        (vec!["explain", "GET", "/v2/droplets", "--role", "r", "--resource", "nope.yaml"], 2, "`nope.yaml` can't be read: No such file or directory (os error 2)".into()),
        (vec!["catalog", "kinds", "nope"], 1, "no kind has `nope` in its name; `tidegate catalog kinds` lists them all".into()),
        (vec!["catalog", "diff", "nope.yaml"], 2, "`nope.yaml` can't be read: No such file or directory (os error 2)".into()),
        (vec!["catalog", "extra", "--from", "nope.yaml"], 2, "`nope.yaml` can't be read: No such file or directory (os error 2)".into()),
        (vec!["cert", "--host", "a b", "--dir", "x"], 2, value("--host <NAME>...", "a b", "it is neither a DNS name (`gate.example.com`, in punycode where it has other letters) nor an IP address")),
        (vec!["audit", "search", "--since", "soon"], 2, value("--since <WHEN>", "soon", WHEN)),
        (vec!["suggest", "--since", "soon"], 2, value("--since <WHEN>", "soon", WHEN)),
        (vec!["serve", "--config", "nope.yaml"], 1, "nope.yaml:1:1: error: the configuration `nope.yaml` can't be read: No such file or directory (os error 2)".into()),
        (vec!["exec", "--role", "nobody", "--", "true"], 2, "there is no role `nobody`; `policy.yaml` has r".into()),
        (vec!["frobnicate"], 2, "error: unrecognized subcommand 'frobnicate'".into()),
    ];
    let place = place();
    for (arguments, status, expected) in cases {
        let (code, said) = tidegate(&place, &arguments);
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(
            (code, first),
            (Some(status), expected.as_str()),
            "{arguments:?}"
        );
    }
}
