//! Completions and man pages come from the command line's own definition, so none is forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::support::Gate;

/// Every command, found as a user finds it: by asking each for its help.
const COMMANDS: [&str; 25] = [
    "serve",
    "check",
    "token issue",
    "token list",
    "token show",
    "token revoke",
    "token rotate",
    "token",
    "explain",
    "catalog scopes",
    "catalog endpoints",
    "catalog kinds",
    "audit search",
    "audit verify",
    "audit",
    "init",
    "schema",
    "template list",
    "template show",
    "template",
    "catalog",
    "cert",
    "completions",
    "man",
    "",
];

fn tidegate(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .env_remove("TIDEGATE_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that the help of `of` lists, and those under them.
fn commands_of(of: &str) -> BTreeSet<String> {
    let help = tidegate(&of.split_whitespace().chain(["--help"]).collect::<Vec<_>>());
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    let mut found = BTreeSet::from([of.to_owned()]);
    for name in names {
        found.extend(commands_of(format!("{of} {name}").trim_start()));
    }
    found
}

#[test]
fn every_command_has_a_man_page_with_its_example() {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("man1");
    tidegate(&["man", "--dir", directory.to_str().unwrap()]);
    let commands = commands_of("");
    for known in COMMANDS {
        assert!(commands.contains(known), "{known:?} is not in {commands:?}");
    }
    for command in &commands {
        let name = format!("tidegate {command}");
        let file = format!("{}.1", name.trim_end().replace(' ', "-"));
        let page = fs::read_to_string(directory.join(&file)).expect(&file);
        let page = page.replace('\\', "");
        for section in [
            ".SH \"EXIT STATUS\"",
            ".SH ENVIRONMENT",
            ".SH FILES",
            ".SH \"SEE ALSO\"",
        ] {
            assert_eq!(page.matches(section).count(), 1, "{file}: {section}");
        }
        assert!(page.contains("TIDEGATE_CONFIG"), "{file}");
        let help = tidegate(
            &command
                .split_whitespace()
                .chain(["--help"])
                .collect::<Vec<_>>(),
        );
        if let Some((_, example)) = help.split_once("Example:\n  ") {
            let example = example.lines().next().unwrap();
            assert!(page.contains(example), "{file} has no {example:?}:\n{page}");
        } else {
            panic!("the help of {name:?} has no example");
        }
    }
    let pages = fs::read_dir(&directory).unwrap().count();
    assert_eq!(pages, commands.len(), "a page a command");
}

const POLICY: &str = r#"
version: 1
roles:
  reader: { description: reads Droplets, allow: [{ scopes: [droplet:read] }] }
  client: { vars: [team], allow: [{ scopes: [droplet:read], only: { tag: "${team}" } }] }
tokens:
  - name: in-the-file
    id: 4fZ0aB9cD8eF
    hash: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    roles: [reader]
trust:
  - name: deploy-from-main
    issuer: github
    claims: { repository_id: "81236", ref: refs/heads/main }
    roles: [reader]
    ttl: 15m
"#;

/// What bash offers for a line: its words, of which the last is being typed.
fn offered(place: &Path, words: &[&str]) -> BTreeSet<String> {
    let script = r#"
        source <(tidegate completions bash)
        asked=$(complete -p tidegate); asked=${asked##*-F }; asked=${asked%% *}
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
        "$asked" tidegate "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let built = Path::new(env!("CARGO_BIN_EXE_tidegate")).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new("bash")
        .args(["-c", script, "bash"])
        .args(words)
        .current_dir(place)
        .env("PATH", format!("{}:{path}", built.display()))
        .env_remove("TIDEGATE_CONFIG")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    // Without a terminal there is no line whose spaces could be seen to.
    let noise = said.lines().filter(|line| !line.contains("compopt"));
    assert_eq!(noise.collect::<Vec<_>>(), [""; 0], "{words:?}");
    let offered = String::from_utf8(output.stdout).unwrap();
    let offered = offered.lines().map(|line| line.trim_end().to_owned());
    offered.filter(|line| !line.is_empty()).collect()
}

#[test]
fn bash_completes_every_command() {
    let place = TempDir::new().unwrap();
    let mut below: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let all = commands_of("");
    for command in all.iter().filter(|command| !command.is_empty()) {
        let (above, name) = command.rsplit_once(' ').unwrap_or(("", command));
        let commands = below.entry(above.to_owned()).or_default();
        commands.insert(name.to_owned());
    }
    for (above, commands) in below {
        let words = ["tidegate"].into_iter().chain(above.split_whitespace());
        let words: Vec<_> = words.chain([""]).collect();
        let offered = offered(place.path(), &words);
        let missing: Vec<_> = commands.difference(&offered).collect();
        assert!(missing.is_empty(), "{missing:?} of {words:?}: {offered:?}");
    }
    let options = offered(place.path(), &["tidegate", "token", "issue", "--max"]);
    assert_eq!(options, BTreeSet::from(["--max-uses".to_owned()]));
}

/// The words of a line behind `tidegate`, and what is offered for the last.
type Case<'c> = (&'c [&'c str], &'c [&'c str]);

#[tokio::test]
async fn values_are_completed_as_the_configuration_has_them_now() {
    let issuers = json!({ "github": { "url": "https://token.actions.githubusercontent.com", "audience": "tidegate" } });
    let files = Gate::builder_to("http://127.0.0.1:1").policy(POLICY);
    let files = files.set("issuers", issuers).files();
    for name in ["alice-laptop", "old"] {
        files
            .issue(&[name, "--role", "reader", "--owner", "alice"])
            .await;
    }
    let revoked = files.cli(&["token", "revoke", "old"]).await;
    assert!(revoked.status.success(), "{revoked:?}");
    let config = files.path("tidegate.yaml");
    let cases: [Case<'_>; 14] = [
        (
            &["token", "issue", "x", "--role", ""],
            &["client", "reader"],
        ),
        (&["token", "issue", "x", "--role", "r"], &["reader"]),
        (&["token", "issue", "x", "--var", ""], &["team="]),
        (
            &["token", "show", ""],
            &["alice-laptop", "in-the-file", "old"],
        ),
        (&["token", "revoke", ""], &["alice-laptop", "in-the-file"]), // what has ended can't be ended
        (&["token", "rotate", "al"], &["alice-laptop"]),
        (&["token", "revoke", "--owner", ""], &["alice"]),
        (&["token", "revoke", "--trust", ""], &["deploy-from-main"]),
        (
            &["explain", "GET", "/v2/account", "--token", "in"],
            &["in-the-file"],
        ),
        (
            &["explain", "GET", "/v2/droplets/12/sn"],
            &["/v2/droplets/12/snapshots"],
        ),
        (
            &["token", "weaken", "x", "--action", "power_o"],
            &["power_off", "power_on"],
        ),
        (&["catalog", "kinds", "dom"], &["domain", "domain_record"]),
        (&["template", "show", "acm"], &["acme-dns"]),
        (&["exec", "--role", ""], &["client", "reader"]),
    ];
    for (words, expected) in cases {
        let line = ["tidegate", "--config", config.to_str().unwrap()];
        let line = [&line[..], words].concat();
        let offered = offered(&files.path(""), &line);
        let values = offered.iter().filter(|it| !it.starts_with('-'));
        let values: Vec<_> = values.map(String::as_str).collect();
        assert_eq!(values, expected, "{words:?}");
    }
}

#[test]
fn without_a_configuration_there_are_the_built_in_roles_and_nothing_is_made_or_said() {
    let place = TempDir::new().unwrap();
    let offered = |words: &[&str]| {
        let line = ["tidegate", "--config", "nowhere.yaml"];
        offered(place.path(), &[&line[..], words].concat())
    };
    assert!(offered(&["exec", "--role", "re"]).contains("read-only"));
    assert_eq!(offered(&["token", "show", "x"]), BTreeSet::new());
    assert_eq!(
        offered(&["token", "issue", "x", "--role", "re"]),
        BTreeSet::new()
    );
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_other_shells_ask_in_the_same_way() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = tidegate(&["completions", shell]);
        assert!(script.contains("TIDEGATE_COMPLETE"), "{shell}: {script}");
        let asked = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["--", "tidegate", "token", "ro"])
            .env("TIDEGATE_COMPLETE", shell)
            .env("_CLAP_COMPLETE_INDEX", "2")
            .output()
            .unwrap();
        let offered = String::from_utf8(asked.stdout).unwrap();
        assert!(offered.starts_with("rotate"), "{shell}: {offered:?}");
    }
}

#[test]
fn the_reference_of_the_two_files_is_printed_and_is_a_man_page() {
    let place = TempDir::new().unwrap();
    let directory = place.path().join("man1");
    tidegate(&["man", "--dir", directory.to_str().unwrap()]);
    let topics = [
        ("policy", "tidegate-policy.5", "on_create"),
        ("config", "tidegate.yaml.5", "trusted_proxies"),
    ];
    for (topic, page, word) in topics {
        let text = tidegate(&["help", topic]);
        assert!(text.starts_with("## ") && text.contains(word), "{text}");
        assert!(!text.contains("]("), "a link is left in {topic}");
        let page = place.path().join("man5").join(page);
        let page = fs::read_to_string(page).unwrap();
        assert!(page.contains(".SH NAME\n") && page.contains(word), "{page}");
        let is_request = |line: &&str| line.starts_with('.') || line.starts_with('\'');
        let known = [
            ".ie", ".el", ".TH", ".SH", ".SS", ".PP", ".TP", ".IP", ".nf", ".fi",
        ];
        for line in page.lines().filter(is_request) {
            assert!(known.iter().any(|known| line.starts_with(known)), "{line}");
        }
        assert_eq!(
            page.matches("\n.nf\n").count(),
            page.matches("\n.fi\n").count()
        );
        // Every paragraph of the reference is in its page.
        let words = |text: &str| text.matches(|letter: char| letter.is_alphabetic()).count();
        assert!(
            words(&page) >= words(&text),
            "{} < {}",
            words(&page),
            words(&text)
        );
    }
}

/// What Cargo.toml puts into the Debian package is in the repository, or made by the script that makes the package.
#[test]
fn the_package_has_all_that_it_names() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = TempDir::new().unwrap();
    let tools = place.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let cargo = "#!/bin/sh\n[ \"$1\" = build ] || ls -R target/package\n"; // in place of a build, and of the packager
    fs::write(tools.join("cargo"), cargo).unwrap();
    fs::set_permissions(tools.join("cargo"), fs::Permissions::from_mode(0o755)).unwrap();
    let built = place.path().join("release");
    fs::create_dir(&built).unwrap();
    symlink(env!("CARGO_BIN_EXE_tidegate"), built.join("tidegate")).unwrap();
    let path = std::env::var("PATH").unwrap();
    let output = Command::new(root.join("config/package"))
        .env("CARGO_TARGET_DIR", place.path())
        .env("PATH", format!("{}:{path}", tools.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let cargo = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let (_, assets) = cargo.split_once("assets = [").unwrap();
    let (assets, _) = assets.split_once("\n]").unwrap();
    let mut named = 0;
    for asset in assets.lines().filter_map(|line| line.split('"').nth(1)) {
        named += 1;
        let (directory, file) = asset.rsplit_once('/').unwrap_or((".", asset));
        let (begin, end) = file.split_once('*').unwrap_or((file, ""));
        let fits = |name: &str| name.starts_with(begin) && name.ends_with(end);
        if directory == "target/release" {
            continue; // the binary itself
        }
        let there = fs::read_dir(root.join(directory)).expect(asset);
        let mut found = there.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert!(found.any(|name| fits(&name)), "{asset} is not there");
    }
    assert!(named > 12, "{assets}");
}
