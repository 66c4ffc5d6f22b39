//! `tidegate catalog kinds`: what a policy's `only` can name, and what it can ask.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn kinds(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args([&["catalog", "kinds"], arguments].concat())
        .output()
        .unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_kind_tells_what_a_selector_can_ask_and_how_one_is_named() {
    let told = text(kinds(&["domain_record"]).stdout);
    for line in [
        "domain_record",
        "  part of     domain",
        "  looked up   GET /v2/domains/{domain_name}/records/{domain_record_id}",
        "  listed      GET /v2/domains/{domain_name}/records",
        "  named       digits alone, as in `401000020`",
    ] {
        assert!(
            told.lines().any(|found| found == line),
            "{line:?} in\n{told}"
        );
    }
    let attributes = told
        .lines()
        .find(|line| line.starts_with("  attributes"))
        .unwrap();
    for attribute in ["id", "name", "type", "data"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    assert!(
        told.contains("  of parents  project"),
        "as its domain has one:\n{told}"
    );
}

#[test]
fn programs_get_every_kind_with_all_that_is_known_of_it() {
    let all: Value = serde_json::from_slice(&kinds(&["--json"]).stdout).unwrap();
    let all = all.as_array().unwrap();
    let names: BTreeSet<_> = all
        .iter()
        .map(|kind| kind["kind"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), all.len());
    for known in [
        "droplet",
        "domain",
        "domain_record",
        "repository",
        "tag",
        "account",
    ] {
        assert!(names.contains(known), "{known}");
    }
    for kind in all {
        assert!(
            !kind["attributes"].as_object().unwrap().is_empty(),
            "{kind}"
        );
        assert!(!kind["named"].as_str().unwrap().is_empty(), "{kind}");
        for parent in kind["parents"].as_array().unwrap() {
            assert!(names.contains(parent.as_str().unwrap()), "{kind}");
        }
    }
    let droplet = all.iter().find(|kind| kind["kind"] == "droplet").unwrap();
    assert_eq!(droplet["looked_up"], "GET /v2/droplets/{droplet_id}");
    assert_eq!(droplet["attributes"]["tag"], json!(["tags[]"]));
    assert_eq!(droplet["scopes"]["destroys"], "droplet:delete");
}

#[test]
fn an_unknown_kind_is_answered_with_the_nearest() {
    let none = kinds(&["dropelt"]);
    assert_eq!(none.status.code(), Some(1));
    assert_eq!(
        text(none.stderr),
        "no kind has `dropelt` in its name; did you mean `droplet`?\n"
    );
}
