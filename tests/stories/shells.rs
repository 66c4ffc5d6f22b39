//! Completions and man pages come from the command line's own definition, so none is forgotten.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
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
            let above = ["", "audit", "token", "catalog", "template"].contains(&command.as_str());
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
