//! `tidegate schema`: the examples validate, what a schema can tell is told, and its keys are those that the readers know.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

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
            "items" => value
                .as_array()
                .is_none_or(|items| items.iter().all(|item| valid(item, asked, root))),
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= asked.as_u64().unwrap()),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 >= asked.as_u64().unwrap()),
            "minimum" => value
                .as_f64()
                .is_none_or(|number| number >= asked.as_f64().unwrap()),
            "pattern" => value
                .as_str()
                .is_none_or(|text| Regex::new(asked.as_str().unwrap()).unwrap().is_match(text)),
            other => panic!("the keyword {other} is none that this test knows"),
        })
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

#[test]
fn what_the_project_shows_validates() {
    let policy = schema("policy");
    assert_eq!(
        policy["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    let mut policies = vec![
        "config/policy.yaml".to_owned(),
        "examples/ci/tidegate/policy.yaml".to_owned(),
    ];
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/roles")).unwrap()
    {
        let name = entry.unwrap().file_name().into_string().unwrap();
        policies.push(format!("examples/roles/{name}"));
    }
    assert!(policies.len() >= 12);
    for name in policies {
        assert!(
            valid(&document(&of_repository(&name)), &policy, &policy),
            "{name}"
        );
    }
    let config = schema("config");
    for name in ["config/tidegate.yaml", "examples/ci/tidegate/tidegate.yaml"] {
        assert!(
            valid(&document(&of_repository(name)), &config, &config),
            "{name}"
        );
    }
}

#[test]
fn what_a_schema_can_tell_is_told() {
    const POLICY: &str = "version: 1\nroles:\n  a-role:\n    allow: [{ scopes: [droplet:read], only: { droplet: { tag: web } } }]\ntests:\n  - { role: a-role, request: GET /v2/droplets, expect: allow }\n";
    const CONFIG: &str = "accounts: { default: { token_file: t } }\npolicy: p.yaml\nstate: s.db\naudit: { file: a }\nlimits: { body: 2MiB }\nupstream: { timeout: 60s }\n";
    /// A file's kind, a whole one, and what makes it a broken one.
    type Broken<'b> = (&'b str, &'b str, &'b [(&'b str, &'b str)]);
    let broken: [Broken<'_>; 2] = [
        (
            "policy",
            POLICY,
            &[
                ("version: 1", "version: 2"),
                ("version: 1\n", ""),
                ("roles:", "role:"),
                ("a-role:\n", "a role:\n"),
                ("allow:", "alow:"),
                ("droplet:read", "droplet:reed"),
                ("[droplet:read]", "[]"),
                (
                    "scopes: [droplet:read]",
                    "scopes: [droplet:read], requests: [GET /]",
                ),
                ("scopes: [droplet:read], ", ""),
                ("{ droplet: { tag: web } }", "{}"),
                ("{ droplet: { tag: web } }", "{ dropelt: any }"),
                ("{ droplet: { tag: web } }", "{ tag: any }"),
                ("{ tag: web }", "{ tagg: web }"),
                ("{ tag: web }", "{ tag: [] }"),
                ("{ tag: web }", "{}"),
                ("expect: allow", "expect: yes"),
                ("expect: allow", "expect: deny, reason: nonsense"),
                ("request: GET", "request: get"),
            ],
        ),
        (
            "config",
            CONFIG,
            &[
                ("accounts: { default: { token_file: t } }\n", ""),
                ("token_file: t", "token_file: t, token_env: T"),
                ("token_file: t", "token_file: t, token_files: [t]"),
                ("token_file: t", "token_files: []"),
                ("token_file: t", "token_command: cat"),
                ("token_file: t", "file: t"),
                ("{ file: a }", "{}"),
                ("{ file: a }", "stderr"),
                ("body: 2MiB", "body: 2MB"),
                ("body: 2MiB", "bdy: 2MiB"),
                ("timeout: 60s", "timeout: 60"),
                ("limits:", "listen: []\nlimits:"),
                (
                    "limits:",
                    "listen: [{ unix: s, address: '127.0.0.1:1' }]\nlimits:",
                ),
                ("limits:", "admin: { tls: { certificate: c } }\nlimits:"),
            ],
        ),
    ];
    for (of, good, changes) in broken {
        let schema = schema(of);
        assert!(valid(&document(good), &schema, &schema), "{good}");
        for (from, to) in changes {
            let text = good.replace(from, to);
            assert_ne!(text, good, "{from}");
            assert!(!valid(&document(&text), &schema, &schema), "{text}");
        }
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
    let cases = in_policy
        .iter()
        .map(|case| ("policy", *case))
        .chain(in_config.iter().map(|case| ("config", *case)));
    for (of, (text, pointer)) in cases {
        let place = TempDir::new().unwrap();
        let file = place.path().join("f.yaml");
        let version = if of == "policy" { "version: 1\n" } else { "" };
        fs::write(&file, format!("{version}{text}")).unwrap();
        let flag = if of == "policy" {
            "--policy"
        } else {
            "--config"
        };
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", flag, file.to_str().unwrap()])
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
