//! `tidegate catalog diff`: what DigitalOcean changed since this release, told by a newer specification of its API.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tidegate::specification::{Members, Outline};

const OUTLINE: &str = include_str!("../../src/catalog/data/specification.tsv");

/// The specification as it was when this release was made, as far as tidegate goes by it.
fn specification() -> Value {
    let mut paths = Map::new();
    for operation in Outline::parse(OUTLINE).unwrap().operations() {
        let security: Vec<_> = operation
            .scopes
            .iter()
            .map(|set| json!({ "bearer_auth": set }))
            .collect();
        let query: Vec<_> = operation
            .query
            .paths()
            .into_iter()
            .map(|(name, required)| json!({ "in": "query", "name": name, "required": required }))
            .collect();
        let content =
            |members| json!({ "content": { "application/json": { "schema": schema(members) } } });
        let item = paths
            .entry(operation.path.clone())
            .or_insert_with(|| json!({}));
        item[operation.method.as_str().to_lowercase()] = json!({
            "operationId": operation.id,
            "security": security,
            "parameters": query,
            "requestBody": content(&operation.body),
            "responses": { "200": content(&operation.secrets) },
            "deprecated": operation.deprecated,
        });
    }
    json!({ "openapi": "3.0.0", "paths": paths })
}

fn schema(members: &Members) -> Value {
    let mut whole = json!({});
    for (path, required) in members.paths() {
        let (way, last) = path
            .rsplit_once('.')
            .map_or((None, path.as_str()), |(way, last)| (Some(way), last));
        let mut at = &mut whole;
        for name in way.iter().flat_map(|way| way.split('.')) {
            at = opened(at, name);
        }
        if required {
            let names = at
                .as_object_mut()
                .unwrap()
                .entry("required")
                .or_insert_with(|| json!([]));
            names
                .as_array_mut()
                .unwrap()
                .push(json!(last.trim_end_matches("[]")));
        }
        opened(at, last);
    }
    whole
}

/// What is under a member, through its lists.
fn opened<'v>(at: &'v mut Value, name: &str) -> &'v mut Value {
    let mut at = &mut at["properties"][name.trim_end_matches("[]")];
    for _ in 0..name.matches("[]").count() {
        at = &mut at["items"];
    }
    if at.is_null() {
        *at = json!({});
    }
    at
}

struct Place(TempDir);

impl Place {
    fn with(specification: &Value) -> Self {
        let place = Self(TempDir::new().unwrap());
        place.write("spec.json", &specification.to_string());
        place
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn diff(&self, options: &[&str]) -> (Option<i32>, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(self.0.path())
            .env_remove("TIDEGATE_CONFIG")
            .args(["catalog", "diff", "spec.json"])
            .args(options)
            .output()
            .unwrap();
        (
            status.code(),
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        )
    }
}

#[test]
fn where_nothing_changed_there_is_nothing_to_do() {
    let place = Place::with(&specification());
    let (code, said, _) = place.diff(&[]);
    assert_eq!(
        (code, said.as_str()),
        (
            Some(0),
            "nothing to do: 644 endpoints, as this release knows them\n"
        )
    );
    let (code, said, _) = place.diff(&["--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, said),
        (
            Some(0),
            json!({ "added": [], "removed": [], "changed": [], "extra": null })
        )
    );
    let (code, said, _) = place.diff(&["--verbose"]);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("GET /v2/nfs  asks for nfs:read: the spec says nfs:list"),
        "{said}"
    );
    let (code, said, _) = place.diff(&["--outline"]);
    assert_eq!((code, said.trim_end()), (Some(0), OUTLINE.trim_end()));
}

#[test]
fn the_rows_of_added_endpoints_are_loaded_as_they_are_printed() {
    let mut newer = specification();
    let answer = json!({ "properties": { "lighthouse": { "properties": { "name": {}, "root_password": {} } } } });
    newer["paths"]["/v2/lighthouses/{id}"] = json!({
        "get": {
            "operationId": "lighthouses_get",
            "security": [{ "bearer_auth": ["lighthouse:read", "tag:read"] }, { "bearer_auth": ["account:read"] }],
            "parameters": [{ "in": "query", "name": "page" }, { "in": "query", "name": "colour[]" }],
            "responses": { "200": { "content": { "application/json": { "schema": answer } } } },
        },
        "delete": { "operationId": "lighthouses.douse#all", "security": [{ "bearer_auth": ["lighthouse:delete"] }], "responses": {} },
    });
    let place = Place::with(&newer);
    let (code, said, _) = place.diff(&[]);
    assert_eq!(code, Some(1));
    assert!(
        said.starts_with("2 added, 0 removed, 0 changed of 646 endpoints\n"),
        "{said}"
    );
    let rows = &said[said.find("section: ").unwrap()..];
    let expected = "    operation: lighthouses_get\n    scopes: lighthouse:read + tag:read | account:read\n    query: [\"colour[]\", page]\n    sensitive: \"its answer has root_password\"";
    assert!(rows.contains(expected), "{rows}");
    place.write("extra.yaml", rows);
    let (code, said, problems) = place.diff(&["--extra", "extra.yaml"]);
    assert_eq!((code, problems.as_str()), (Some(0), ""), "{said}");
    let (_, said, _) = place.diff(&["--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["extra"].as_str().unwrap().trim_end(), rows.trim_end());
    assert_eq!(said["added"][0]["operation"], "lighthouses_get");
}

/// Nothing is open by default, and what changes something never passes on a scope to read.
#[test]
fn a_row_that_a_person_must_decide_is_not_loaded_as_it_is() {
    let cases = [
        (
            "get",
            json!([]),
            "scopes: FILL_IN    # the specification names none",
        ),
        (
            "post",
            json!([{ "bearer_auth": ["lighthouse:read"] }]),
            "scopes: FILL_IN    # the specification says lighthouse:read",
        ),
    ];
    for (method, security, expected) in cases {
        let mut newer = specification();
        newer["paths"]["/v2/lighthouses"][method] =
            json!({ "operationId": "lighthouses", "security": security });
        let place = Place::with(&newer);
        let (_, said, _) = place.diff(&[]);
        let rows = &said[said.find("section: ").unwrap()..];
        assert!(rows.contains(expected), "{rows}");
        place.write("extra.yaml", rows);
        let (code, _, said) = place.diff(&["--extra", "extra.yaml"]);
        assert_eq!(code, Some(2));
        assert!(
            said.contains("extra.yaml:5:13: error: `FILL_IN`: "),
            "{said}"
        );
    }
}

#[test]
fn what_is_gone_and_what_is_otherwise_is_told_with_what_tidegate_makes_of_it() {
    let mut newer = specification();
    let paths = &mut newer["paths"];
    paths.as_object_mut().unwrap().remove("/v2/sizes");
    paths["/v2/nfs"]["get"]["security"] = json!([{ "bearer_auth": ["nfs:read"] }]);
    paths["/v2/droplets"]["get"]["security"] =
        json!([{ "bearer_auth": ["droplet:read", "tag:read"] }]);
    let body = &mut paths["/v2/droplets"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        ["properties"];
    body.as_object_mut().unwrap().remove("vpc_uuid");
    body["fleet_id"] = json!({});
    paths["/v2/droplets/{droplet_id}"]["get"]["responses"]["200"]["content"]["application/json"]
        ["schema"] =
        json!({ "properties": { "droplet": { "properties": { "root_password": {} } } } });
    let place = Place::with(&newer);
    let (code, said, _) = place.diff(&[]);
    assert_eq!(code, Some(1));
    for line in [
        "0 added, 1 removed, 4 changed of 643 endpoints",
        "  GET /v2/sizes  sizes_list",
        "    scopes: were `nfs:list`, are `nfs:read`; tidegate asks for that already",
        "    scopes: were `droplet:read`, are `droplet:read+tag:read`; tidegate asks for `droplet:read`",
        "    body: `fleet_id` is new",
        "    body: `vpc_uuid` is gone; tidegate decides by it",
        "    answer: `droplet.root_password` is new and sounds like a secret",
    ] {
        assert!(
            said.lines().any(|told| told == line),
            "{line:?} is not in\n{said}"
        );
    }
    let (code, said, _) = place.diff(&["--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(code, Some(1));
    assert_eq!(said["removed"][0]["path"], "/v2/sizes");
    let created = said["changed"]
        .as_array()
        .unwrap()
        .iter()
        .find(|changed| changed["operation"] == "droplets_create");
    let expected = json!([
        { "what": "body", "field": "fleet_id", "change": "added", "decides": false },
        { "what": "body", "field": "vpc_uuid", "change": "removed", "decides": true },
    ]);
    assert_eq!(created.unwrap()["changes"], expected);
}

#[test]
fn what_cant_be_compared_is_told_and_is_no_change() {
    let place = Place::with(&json!({}));
    let cases = [
        (None, "`spec.json` can't be compared: it has no `paths`"),
        (Some("{"), "`spec.json` can't be compared: it is no JSON"),
        (Some("a: [b"), "spec.json:1:"),
        (
            Some("paths: { /v2/x: { $ref: resources/x.yml } }"),
            "it refers to `resources/x.yml`, which is not in it",
        ),
    ];
    for (text, expected) in cases {
        if let Some(text) = text {
            place.write("spec.json", text);
        }
        let (code, said, problem) = place.diff(&[]);
        assert_eq!((code, said.as_str()), (Some(2), ""), "{text:?}");
        assert!(problem.contains(expected), "{text:?}: {problem}");
    }
    fs::remove_file(place.0.path().join("spec.json")).unwrap();
    let (code, _, problem) = place.diff(&[]);
    assert_eq!(code, Some(2));
    assert!(problem.contains("`spec.json` can't be read"), "{problem}");
}
