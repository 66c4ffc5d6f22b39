//! Completions and man pages come from the command line's own definition, so none is forgotten.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

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
            let above =
                ["", "audit", "state", "token", "catalog", "template"].contains(&command.as_str());
            assert!(above, "the help of {name:?} has no example");
        }
    }
    let pages = fs::read_dir(&directory).unwrap().count();
    assert_eq!(pages, commands.len(), "a page a command");
}

#[test]
fn completions_of_bash_are_bash_and_know_every_command() {
    let script = tidegate(&["completions", "bash"]);
    let mut bash = Command::new("bash")
        .args(["-n", "/dev/stdin"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    bash.stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(bash.wait().unwrap().success());
    for command in commands_of("") {
        let name = format!("tidegate {command}")
            .trim_end()
            .replace([' ', '-'], "__subcmd__");
        let older = name.replace("__subcmd__", "__");
        assert!(
            script.contains(&format!("{name})")) || script.contains(&format!("{older})")),
            "{command:?} is not completed"
        );
    }
}

#[test]
fn there_are_completions_for_the_other_shells() {
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = tidegate(&["completions", shell]);
        assert!(
            script.contains("rotate") && script.contains("max-uses"),
            "{shell}"
        );
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
    let release = place.path().join("release");
    fs::create_dir(&release).unwrap();
    symlink(env!("CARGO_BIN_EXE_tidegate"), release.join("tidegate")).unwrap();
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
