//! `tidegate template`: ready roles, as they are and filled in, each with tests that pass.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn tidegate(arguments: &[&str]) -> (bool, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.success(), text(stdout), text(stderr))
}

/// What `check` says of a policy.
fn checked(policy: &str) -> (bool, String) {
    let place = TempDir::new().unwrap();
    let file = place.path().join("policy.yaml");
    fs::write(&file, policy).unwrap();
    let (good, _, said) = tidegate(&["check", "--policy", file.to_str().unwrap()]);
    (good, said)
}

fn listed() -> Vec<Value> {
    let (_, list, _) = tidegate(&["template", "list", "--json"]);
    serde_json::from_str(&list).unwrap()
}

#[test]
fn every_role_of_the_examples_is_a_template_as_it_stands() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let folders = ["roles", "kubernetes/roles"].map(|folder| examples.join(folder));
    let mut files: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort_by_key(|file| file.file_stem().map(std::ffi::OsStr::to_owned));
    let names: Vec<_> = files
        .iter()
        .map(|file| file.file_stem().unwrap().to_str().unwrap())
        .collect();
    let listed = listed();
    let told: Vec<_> = listed
        .iter()
        .map(|template| template["name"].as_str().unwrap())
        .collect();
    assert_eq!(told, names);
    for (file, name) in files.iter().zip(names) {
        let (good, text, said) = tidegate(&["template", "show", name]);
        assert!(good, "{said}");
        assert_eq!(text, fs::read_to_string(file).unwrap(), "{name}");
    }
    for (also, name) in [
        ("acme", "acme-dns"),
        ("registry-pull", "registry-repository"),
    ] {
        let [one, other] = [also, name].map(|name| tidegate(&["template", "show", name]).1);
        assert!(!one.is_empty() && one == other, "{also}");
    }
    let acme = listed
        .iter()
        .find(|template| template["name"] == "acme-dns")
        .unwrap();
    assert_eq!(acme["vars"][0], "domain");
    assert_eq!(acme["roles"][0], "acme-dns");
}

/// For each variable of each template, one at a time and all at once: what comes out has no variable left, and keeps its tests.
#[test]
fn a_template_is_filled_in_with_its_tests() {
    let value = |name: &str| match name {
        "domain" => "shop.example.org",
        "droplet" => "4711",
        "firewall" => "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
        "project" => "checkout",
        "client" => "acme",
        "prefix" => "blue",
        "repository" => "api",
        "tag" => "shop",
        "name" => "office",
        "nodes" => "pool",
        "cluster" => "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f1",
        "below" => "apps",
        other => panic!("a value for the variable {other}"),
    };
    for template in listed() {
        let name = template["name"].as_str().unwrap();
        let vars: Vec<_> = template["vars"]
            .as_array()
            .unwrap()
            .iter()
            .map(|var| var.as_str().unwrap())
            .collect();
        let mut cases: Vec<Vec<&str>> = vars.iter().map(|var| vec![*var]).collect();
        cases.push(vars.clone());
        for given in cases {
            let pairs: Vec<_> = given
                .iter()
                .map(|var| format!("{var}={}", value(var)))
                .collect();
            let options = pairs.iter().flat_map(|pair| ["--var", pair]);
            let arguments: Vec<_> = ["template", "show", name]
                .into_iter()
                .chain(options)
                .collect();
            let (good, text, said) = tidegate(&arguments);
            assert!(good, "{arguments:?}: {said}");
            for var in &given {
                assert!(
                    !text.contains(&format!("${{{var}}}")),
                    "{arguments:?}: {text}"
                );
                assert!(text.contains(value(var)), "{arguments:?}: {text}");
            }
            let (good, said) = checked(&text);
            assert!(good, "{arguments:?}: {said}\n{text}");
            if given.len() == vars.len() {
                assert!(!text.contains("vars:"), "{arguments:?}: {text}");
            }
        }
    }
}

#[test]
fn a_value_that_may_mean_more_than_itself_is_left_to_the_token() {
    for (template, var) in [
        ("acme-dns", "domain=*"),
        ("acme-dns", "domain=/.*/"),
        ("acme-dns", "domain=a\"], x: [\""),
        ("acme-dns", "domain=-"),
        ("firewall-rules", "firewall=.."),
        ("firewall-rules", "firewall=a.b"), // it stands in a regular expression there
    ] {
        let (good, text, said) = tidegate(&["template", "show", template, "--var", var]);
        assert!(!good && text.is_empty(), "{var}: {text}");
        assert!(
            said.contains("it may mean more than itself there; leave the variable"),
            "{var}: {said}"
        );
    }
    let (good, _, said) = tidegate(&["template", "show", "acme-dns", "--var", "zone=a"]);
    assert!(
        !good && said == "this template has no variable `zone`; it has domain\n",
        "{said}"
    );
    let (good, _, said) = tidegate(&["template", "show", "acme-dsn"]);
    assert!(
        !good && said == "there is no template `acme-dsn`; did you mean `acme-dns`?\n",
        "{said}"
    );
}
