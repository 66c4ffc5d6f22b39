//! `tidegate schema`: the examples validate, what a schema can tell is told, and its keys are those that the readers know.

mod mistakes;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use regex::Regex;
use serde_json::{Map, Number, Value, json};
use tempfile::TempDir;
use tidegate::yaml::{self, Mistakes, Node};

fn schema(of: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["schema", of])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A file as editors read it: plain scalars that look like numbers, booleans or null are those.
fn document(text: &str) -> Value {
    let mut mistakes = Mistakes::new("f.yaml");
    as_json(&yaml::read(text, &mut mistakes).expect("YAML"))
}

fn as_json(node: &Node) -> Value {
    match &node.value {
        _ if node.is_null() => Value::Null,
        yaml::Value::Scalar {
            text,
            quoted: false,
        } if matches!(text.as_str(), "true" | "false") => json!(text == "true"),
        yaml::Value::Scalar {
            text,
            quoted: false,
        } if text.parse::<f64>().is_ok() => {
            serde_json::from_str::<Number>(text).map_or_else(|_| json!(text), Value::Number)
        }
        yaml::Value::Scalar { text, .. } => json!(text),
        yaml::Value::List(items) => items.iter().map(as_json).collect(),
        yaml::Value::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), as_json(&entry.node)))
            .collect::<Map<_, _>>()
            .into(),
    }
}

/// Whether a value is what a schema asks for, by the keywords of JSON Schema that ours use. Any other stops the test.
fn valid(value: &Value, schema: &Value, root: &Value) -> bool {
    let members = match schema {
        Value::Bool(all) => return *all,
        schema => schema.as_object().expect("a schema"),
    };
    let each = |list: &Value| -> Vec<bool> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|one| valid(value, one, root))
            .collect()
    };
    let no_properties = Map::new();
    members
        .iter()
        .all(|(keyword, asked)| match keyword.as_str() {
            "$schema" | "title" | "$defs" | "format" => true,
            "$ref" => {
                let pointer = asked.as_str().unwrap().strip_prefix('#').unwrap();
                valid(value, root.pointer(pointer).expect(pointer), root)
            }
            "type" => match asked {
                Value::Array(types) => types.iter().any(|one| is_a(value, one)),
                one => is_a(value, one),
            },
            "const" => value == asked,
            "enum" => asked.as_array().unwrap().contains(value),
            "anyOf" => each(asked).contains(&true),
            "allOf" => !each(asked).contains(&false),
            "oneOf" => each(asked).iter().filter(|good| **good).count() == 1,
            "not" => !valid(value, asked, root),
            "if" => !valid(value, asked, root) || valid(value, &members["then"], root),
            "then" => members.contains_key("if"),
            "contains" => value
                .as_array()
                .is_none_or(|items| items.iter().any(|item| valid(item, asked, root))),
            "dependentRequired" => value.as_object().is_none_or(|object| {
                let asked = asked.as_object().unwrap().iter();
                let used = asked.filter(|(key, _)| object.contains_key(*key));
                used.flat_map(|(_, needs)| needs.as_array().unwrap())
                    .all(|key| object.contains_key(key.as_str().unwrap()))
            }),
            "prefixItems" => value.as_array().is_none_or(|items| {
                let asked = asked.as_array().unwrap().iter();
                items
                    .iter()
                    .zip(asked)
                    .all(|(item, asked)| valid(item, asked, root))
            }),
            "required" => value.as_object().is_none_or(|object| {
                asked
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|key| object.contains_key(key.as_str().unwrap()))
            }),
            "properties" => value.as_object().is_none_or(|object| {
                asked.as_object().unwrap().iter().all(|(key, schema)| {
                    object
                        .get(key)
                        .is_none_or(|member| valid(member, schema, root))
                })
            }),
            "additionalProperties" => value.as_object().is_none_or(|object| {
                let known = members
                    .get("properties")
                    .map_or(&no_properties, |known| known.as_object().unwrap());
                let others = object.iter().filter(|(key, _)| !known.contains_key(*key));
                others
                    .map(|(_, member)| member)
                    .all(|member| valid(member, asked, root))
            }),
            "propertyNames" => value
                .as_object()
                .is_none_or(|object| object.keys().all(|key| valid(&json!(key), asked, root))),
            "minProperties" => value
                .as_object()
                .is_none_or(|object| object.len() as u64 >= asked.as_u64().unwrap()),
            "items" => value.as_array().is_none_or(|items| {
                let before = members.get("prefixItems").and_then(Value::as_array);
                let mut rest = items.iter().skip(before.map_or(0, Vec::len));
                rest.all(|item| valid(item, asked, root))
            }),
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= asked.as_u64().unwrap()),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 >= asked.as_u64().unwrap()),
            "maxLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 <= asked.as_u64().unwrap()),
            "minimum" => value
                .as_f64()
                .is_none_or(|number| number >= asked.as_f64().unwrap()),
            "pattern" => value
                .as_str()
                .is_none_or(|text| matches(asked.as_str().unwrap(), text)),
            other => panic!("the keyword {other} is none that this test knows"),
        })
}

/// Whether a text has what a pattern asks for; patterns are built once.
fn matches(pattern: &str, text: &str) -> bool {
    static BUILT: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().unwrap();
    let known = built.entry(pattern.to_owned());
    known
        .or_insert_with(|| Regex::new(pattern).unwrap())
        .is_match(text)
}

fn is_a(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type {other}"),
    }
}

fn of_repository(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The schemas, by the file that the first line of what they are of names.
const SCHEMAS: [(&str, &str); 3] = [
    ("policy.schema.json", "policy"),
    ("tidegate.schema.json", "config"),
    ("extra.schema.json", "extra"),
];

/// What other programs read, and what their files begin with below a comment or two.
const OF_OTHERS: [(&str, &str); 15] = [
    ("examples/ci/catalog.yaml", "name: "),
    ("examples/ci/exchange/github.yaml", "name: "),
    ("examples/ci/exchange/gitlab.yaml", "stages: "),
    ("examples/ci/github.yaml", "name: "),
    ("examples/ci/gitlab.yaml", "stages: "),
    ("examples/ci/review/action.yml", "name: "),
    ("examples/ci/review/gitlab.yaml", "policy-review:"),
    ("examples/ci/review/pre-commit-config.yaml", "repos:"),
    ("examples/ci/review/workflow.yaml", "name: "),
    ("examples/container/compose.yaml", "services:"),
    ("examples/kubernetes/clients/", "apiVersion: "),
    ("examples/kubernetes/exchange.yaml", "apiVersion: "),
    ("examples/kubernetes/tidegate.yaml", "apiVersion: "),
    ("examples/several/compose.yaml", "x-tidegate:"),
    ("examples/several/kubernetes.yaml", "apiVersion: "),
];

/// The YAML files of a directory and of those below.
fn yaml_files(directory: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            yaml_files(&path, into);
        } else if path
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml")
        {
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
            into.push(name.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn every_file_that_is_shown_names_its_schema_and_validates() {
    let schemas = SCHEMAS.map(|(file, of)| (file, schema(of)));
    let mut shown = Vec::new();
    for directory in ["config", "examples"] {
        yaml_files(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join(directory),
            &mut shown,
        );
    }
    let mut validated = 0;
    for name in shown {
        let text = of_repository(&name);
        let named = text.lines().next().unwrap_or_default();
        let named = named.strip_prefix("# yaml-language-server: $schema=");
        let Some(named) = named else {
            let first = text
                .lines()
                .find(|line| !line.is_empty() && !line.starts_with('#'));
            let is_theirs = OF_OTHERS.iter().any(|(of, begins)| {
                name.starts_with(of) && first.is_some_and(|line| line.starts_with(begins))
            });
            assert!(
                is_theirs,
                "{name} begins without the line that names its schema to editors"
            );
            continue;
        };
        let (_, schema) = schemas
            .iter()
            .find(|(file, _)| *file == named)
            .unwrap_or_else(|| panic!("{name}: `tidegate schema` makes no {named}"));
        assert_eq!(
            schema["$schema"],
            "https://json-schema.org/draft/2020-12/schema"
        );
        assert!(valid(&document(&text), schema, schema), "{name}");
        validated += 1;
    }
    assert!(validated >= 31, "{validated}");
    let in_cluster = of_repository("examples/kubernetes/tidegate.yaml");
    for (key, at) in [("policy.yaml", 0), ("tidegate.yaml", 1)] {
        let schema = &schemas[at].1;
        assert!(
            valid(&document(&block(&in_cluster, key)), schema, schema),
            "{key}"
        );
    }
}

/// The text under a key of a `ConfigMap`.
fn block(text: &str, key: &str) -> String {
    let (_, after) = text.split_once(&format!("\n  {key}: |\n")).unwrap();
    let lines = after
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    let lines = lines.map(|line| line.strip_prefix("    ").unwrap_or(line));
    lines.flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn what_is_made_for_a_person_names_its_schema_too() {
    let place = TempDir::new().unwrap();
    let token = place.path().join("given");
    fs::write(&token, format!("dop_v1_{}\n", "0".repeat(64))).unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args([
            "init",
            "--offline",
            "--dir",
            place.path().join("new").to_str().unwrap(),
        ])
        .stdin(fs::File::open(&token).unwrap())
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    for (file, of) in [("policy.yaml", "policy"), ("tidegate.yaml", "config")] {
        let text = fs::read_to_string(place.path().join("new").join(file)).unwrap();
        let (named, _) = SCHEMAS.iter().find(|(_, schema)| *schema == of).unwrap();
        let first = format!("# yaml-language-server: $schema={named}");
        assert_eq!(text.lines().next(), Some(first.as_str()));
        let schema = schema(of);
        assert!(valid(&document(&text), &schema, &schema), "{file}");
    }
}

/// Each mapping of the files, with a key in it that nobody knows, and where the schema has the mapping.
#[test]
fn the_keys_are_those_that_the_readers_know() {
    let token = "name: t, id: 4fZ0aB9cD8eF, hash: 'sha256:0', roles: [r]";
    let in_policy = [
        ("zzzzzzzz: 1\n", ""),
        ("roles: { r: { zzzzzzzz: 1 } }\n", "/$defs/role"),
        (
            "roles: { r: { delegate: { zzzzzzzz: 1 } } }\n",
            "/$defs/role/properties/delegate",
        ),
        (
            "roles: { r: { allow: [{ zzzzzzzz: 1 }] } }\n",
            "/$defs/allow",
        ),
        (
            "roles: { r: { allow: [{ scopes: [droplet:read], on_create: { zzzzzzzz: 1 } }] } }\n",
            "/$defs/allow/properties/on_create",
        ),
        (
            &format!("tokens: [{{ {token}, zzzzzzzz: 1 }}]\n"),
            "/$defs/token",
        ),
        ("trust: [{ zzzzzzzz: 1 }]\n", "/$defs/trust"),
        ("tests: [{ zzzzzzzz: 1 }]\n", "/$defs/test"),
        (
            "tests: [{ issuer: i, zzzzzzzz: 1 }]\n",
            "/$defs/identity_test",
        ),
    ];
    let in_config = [
        ("zzzzzzzz: 1\n", ""),
        ("listen: [{ zzzzzzzz: 1 }]\n", "/properties/listen/items"),
        (
            "listen: [{ address: '127.0.0.1:1', tls: { zzzzzzzz: 1 } }]\n",
            "/$defs/tls",
        ),
        ("upstream: { zzzzzzzz: 1 }\n", "/properties/upstream"),
        (
            "accounts: { a: { zzzzzzzz: 1 } }\n",
            "/properties/accounts/additionalProperties",
        ),
        ("audit: { zzzzzzzz: 1 }\n", "/properties/audit/anyOf/1"),
        ("admin: { zzzzzzzz: 1 }\n", "/properties/admin/anyOf/1"),
        ("catalog: { zzzzzzzz: 1 }\n", "/properties/catalog"),
        (
            "issuers: { a: { zzzzzzzz: 1 } }\n",
            "/properties/issuers/additionalProperties",
        ),
        ("limits: { zzzzzzzz: 1 }\n", "/properties/limits"),
    ];
    let in_extra = [
        ("section: s\nendpoints: {}\nzzzzzzzz: 1\n", ""),
        (
            "section: s\nendpoints:\n  GET /v2/z: { zzzzzzzz: 1 }\n",
            "/properties/endpoints/additionalProperties",
        ),
        (
            "section: s\nendpoints:\n  GET /v2/z: { operation: z, scopes: z:read, action: { zzzzzzzz: 1 } }\n",
            "/properties/endpoints/additionalProperties/properties/action",
        ),
        (
            "members:\n  GET /v2/droplets: { zzzzzzzz: 1 }\n",
            "/properties/members/additionalProperties",
        ),
    ];
    let cases = [
        ("policy", &in_policy[..]),
        ("config", &in_config),
        ("extra", &in_extra),
    ];
    let cases = cases
        .into_iter()
        .flat_map(|(of, cases)| cases.iter().map(move |case| (of, *case)));
    for (of, (text, pointer)) in cases {
        let place = TempDir::new().unwrap();
        let file = place.path().join("f.yaml");
        let version = if of == "policy" { "version: 1\n" } else { "" };
        fs::write(&file, format!("{version}{text}")).unwrap();
        let config = place.path().join("c.yaml");
        fs::write(&config, "accounts: { default: { token_env: T } }\npolicy: p.yaml\nstate: s.db\naudit: stdout\ncatalog: { extra: f.yaml }\n").unwrap();
        let (flag, asked) = match of {
            "policy" => ("--policy", &file),
            "config" => ("--config", &file),
            _ => ("--config", &config),
        };
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", flag, asked.to_str().unwrap()])
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let known = said
            .split("unknown key `zzzzzzzz`; known here: ")
            .nth(1)
            .unwrap_or_else(|| panic!("{text}: {said}"));
        let known: BTreeSet<_> = known
            .lines()
            .next()
            .unwrap()
            .split(", ")
            .map(|key| key.trim_matches('`').to_owned())
            .collect();
        let schema = schema(of);
        let mapping = schema.pointer(pointer).expect(pointer);
        let keys: BTreeSet<_> = mapping["properties"]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect();
        assert_eq!(keys, known, "{text}");
    }
}
