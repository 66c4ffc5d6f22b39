//! `tidegate catalog diff`: what DigitalOcean changed since this release, told by a newer specification of its API.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tidegate::specification::{MemberTree, Outline};

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

fn schema(members: &MemberTree) -> Value {
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
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn diff(&self, options: &[&str]) -> (Option<i32>, String, String) {
        self.run(&[&["catalog", "diff", "spec.json"], options].concat())
    }

    fn extra(&self, options: &[&str]) -> (Option<i32>, String, String) {
        self.run(&[&["catalog", "extra", "--from", "spec.json"], options].concat())
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .current_dir(self.0.path())
            .env_remove("TIDEGATE_CONFIG")
            .args(arguments)
            .output()
            .unwrap();
        (
            status.code(),
            String::from_utf8(stdout).unwrap(),
            String::from_utf8(stderr).unwrap(),
        )
    }
}

/// The same in parts, as the repository has it: an operation a file, which names others by their way from itself.
fn in_parts(specification: &Value) -> Vec<(String, Value)> {
    let (mut whole, mut parts) = (specification.clone(), Vec::new());
    parts.push((
        "resources/shared/x/parameters.yml".to_owned(),
        json!({ "all": { "in": "query", "name": "page", "required": false } }),
    ));
    for (path, item) in whole["paths"].as_object_mut().unwrap() {
        for (method, operation) in item.as_object_mut().unwrap() {
            let name = format!("{}_{method}.yml", path.replace(['/', '{', '}'], "_"));
            let body = json!({ "body": operation["requestBody"]["content"]["application/json"]["schema"] });
            let answer = json!({ "content": operation["responses"]["200"]["content"], "description": { "$ref": "no/such.md" } });
            operation["requestBody"]["content"]["application/json"]["schema"] =
                json!({ "$ref": format!("models/{name}#/body") });
            operation["responses"]["200"] = json!({ "$ref": format!("../shared/x/../{name}") });
            operation["responses"]["404"] = json!({ "$ref": "no/such/file.yml" });
            for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
                if *parameter == json!({ "in": "query", "name": "page", "required": false }) {
                    *parameter = json!({ "$ref": "../shared/x/parameters.yml#/all" });
                }
            }
            parts.push((format!("resources/of/models/{name}"), body));
            parts.push((format!("resources/shared/{name}"), answer));
            parts.push((format!("resources/of/{name}"), operation.clone()));
            *operation = json!({ "$ref": format!("resources/of/{name}") });
        }
    }
    parts.push(("spec.json".to_owned(), whole));
    parts
}

#[test]
fn a_clone_in_parts_says_the_same_as_the_published_whole() {
    let mut newer = specification();
    newer["paths"]["/v2/lighthouses/{id}"]["get"] = json!({
        "operationId": "lighthouses_get",
        "security": [{ "bearer_auth": ["lighthouse:read"] }],
        "parameters": [{ "in": "query", "name": "page", "required": false }],
        "responses": { "200": { "content": { "application/json": { "schema": { "properties": { "token": {} } } } } } },
    });
    newer["paths"]["/v2/droplets"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        ["properties"]["fleet_id"] = json!({});
    // Some will do: what is not there counts as removed, on both sides alike.
    let some = ["/v2/droplets", "/v2/lighthouses", "/v2/apps", "/v2/tags"];
    let paths = newer["paths"].as_object_mut().unwrap();
    paths.retain(|path, _| some.iter().any(|begin| path.starts_with(begin)));
    let whole = Place::with(&newer);
    let parts = Place(TempDir::new().unwrap());
    for (name, part) in in_parts(&newer) {
        parts.write(&name, &format!("# YAML, by its first sign\n{part}"));
    }
    for options in [&[][..], &["--json"], &["--outline"]] {
        let (code, said, problems) = whole.diff(options);
        assert!(said.contains("lighthouses_get"), "{said}");
        assert_eq!(parts.diff(options), (code, said, problems), "{options:?}");
    }
    let operation = parts.0.path().join("resources/of/_v2_droplets_post.yml");
    fs::write(&operation, "a: [").unwrap();
    let (code, _, problem) = parts.diff(&[]);
    assert_eq!(code, Some(2));
    assert!(
        problem.contains("refers to `resources/of/_v2_droplets_post.yml`, and of that: resources/of/_v2_droplets_post.yml:1:"),
        "{problem}"
    );
    // What is linked from elsewhere is not read.
    fs::remove_file(&operation).unwrap();
    std::os::unix::fs::symlink(whole.0.path().join("spec.json"), &operation).unwrap();
    let (code, _, problem) = parts.diff(&[]);
    assert_eq!(code, Some(2));
    assert!(
        problem.contains("it is a link that leads elsewhere"),
        "{problem}"
    );
}

/// As the repository has `headers` of an agent's servers, which a client taught the catalogue before.
#[test]
fn a_member_of_any_key_is_no_news_where_it_is_known_and_a_row_where_it_is_not() {
    let mut newer = specification();
    let any = json!({ "additionalProperties": { "type": "string" } });
    let schema = |newer: &mut Value, path: &str, within: &[&str], name: &str| {
        let content = &mut newer["paths"][path]["post"]["requestBody"]["content"];
        let schema = &mut content["application/json"]["schema"];
        let at = within.iter().fold(schema, |at, name| opened(at, name));
        at["properties"][name] = any.clone();
    };
    schema(
        &mut newer,
        "/v2/gen-ai/agents",
        &["mcp_servers[]"],
        "headers",
    );
    let (code, said, _) = Place::with(&newer).diff(&[]);
    assert_eq!(code, Some(0), "{said}");
    schema(&mut newer, "/v2/droplets", &[], "loudness");
    let place = Place::with(&newer);
    let (code, said, _) = place.diff(&[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("body: `loudness.*` is new"), "{said}");
    let (code, _, said) = place.extra(&["--out", "extra.yaml"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(place.read("extra.yaml").contains("loudness.*"));
    let (code, said, problems) = place.diff(&["--extra", "extra.yaml"]);
    assert_eq!(code, Some(0), "{said}{problems}");
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
            "it refers to `resources/x.yml`, and of that: it can't be read: No such file",
        ),
        (
            Some("paths: { /v2/x: { $ref: '#/parts/x' } }"),
            "it refers to `#/parts/x`, which is not in it; give the file that DigitalOcean publishes whole, or `specification/DigitalOcean-public.v2.yaml` in a clone",
        ),
        (
            Some("paths: { /v2/x: { $ref: ../x.yml } }"),
            "it refers to `../x.yml`, which is not in its directory, and nothing else is read",
        ),
        (
            Some("paths: { /v2/x: { $ref: 'https://example.com/x.yml' } }"),
            "it refers to `https://example.com/x.yml`, which is not in its directory",
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

/// A specification with an endpoint that needs nobody, one that needs a person, and members of both kinds.
fn grown() -> Value {
    let mut newer = specification();
    newer["paths"]["/v2/lighthouses"] = json!({
        "get": { "operationId": "lighthouses_list", "security": [{ "bearer_auth": ["lighthouse:read"] }] },
        "post": { "operationId": "lighthouses_create" },
    });
    let droplets = &mut newer["paths"]["/v2/droplets"];
    let query = droplets["get"]["parameters"].as_array_mut().unwrap();
    query.push(json!({ "in": "query", "name": "colour" }));
    let body = &mut droplets["post"]["requestBody"]["content"]["application/json"]["schema"];
    body["properties"]["foghorn"] = json!({ "properties": { "loudness": {}, "image": {} } });
    newer
}

#[test]
fn the_whole_file_for_catalog_extra_is_written_and_what_a_person_must_decide_is_marked() {
    let place = Place::with(&grown());
    let (code, text, said) = place.extra(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        text.lines().skip_while(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n"),
        r"
section: Added since tidegate 0.1.0
endpoints:
  GET /v2/lighthouses:
    operation: lighthouses_list
    scopes: lighthouse:read
  POST /v2/lighthouses:
    operation: lighthouses_create
    scopes: FILL_IN    # the specification names none, and nothing is open by default
members:
  GET /v2/droplets:
    query: [colour]
  POST /v2/droplets:
    body: [foghorn.image, foghorn.loudness]
    harmless:    # it sounds like the name of something: why it names none; if it does, it can't be added here
      body.foghorn.image: FILL_IN"
            .trim_start()
    );
    let expected = "added 2 endpoints, and members of 2 that tidegate knows; a person must decide:
extra.yaml:12:13: `FILL_IN`: a scope is written `resource:verb`, in lower case, as in `droplet:read`
extra.yaml:19:27: `FILL_IN` is no reason; say why what stands at `body.foghorn.image` names no resource, or leave the member out
";
    assert_eq!(said, expected);

    // The answers of a person stay, and then there is nothing more to add.
    let decided = text
        .replace("scopes: FILL_IN ", "scopes: lighthouse:create ")
        .replace("image: FILL_IN", "image: a picture of it");
    place.write("extra.yaml", &decided);
    let again = place.extra(&["--extra", "extra.yaml"]);
    assert_eq!(
        again,
        (Some(0), decided.clone(), "nothing to add\n".to_owned())
    );
    assert_eq!(
        place
            .diff(&["--extra", "extra.yaml", "--json"])
            .1
            .matches("lighthouse")
            .count(),
        0
    );
}

#[test]
fn what_the_file_has_stays_line_by_line() {
    let mine = "\
# Ours.
section: Ours
endpoints:
    # the tower
    GET /v2/towers: { operation: towers_list, scopes: \"tower:read\" }   # as agreed

# And members:
members:
    DELETE /v2/droplets/{droplet_id}: { query: [softly] }
";
    let place = Place::with(&grown());
    place.write("mine.yaml", mine);
    let (code, said, problems) = place.extra(&["--extra", "mine.yaml", "--out", "mine.yaml"]);
    assert_eq!((code, said.as_str()), (Some(1), ""), "{problems}");
    let text = place.read("mine.yaml");
    let mut lines = text.lines();
    for kept in mine.lines() {
        assert!(
            lines.any(|line| line == kept),
            "{kept:?} is not in its place in\n{text}"
        );
    }
    assert!(
        text.contains("as agreed\n    GET /v2/lighthouses:\n      operation: lighthouses_list\n"),
        "{text}"
    );
    assert!(
        text.contains("[softly] }\n    GET /v2/droplets:\n      query: [colour]\n"),
        "{text}"
    );

    // A file that has a row for the members of an endpoint is told what that lacks; one between braces can't be added to.
    let cases = [
        (
            "members:\n  GET /v2/droplets: { query: [hue] }\n",
            1,
            "GET /v2/droplets: it has a row under `members` already, which lacks `colour`",
        ),
        (
            "section: x\nendpoints: { GET /v2/x: { operation: x, scopes: \"x:read\" } }\n",
            2,
            "`mine.yaml`: rows can't be added between braces; write `endpoints:` and `members:` with a row a line",
        ),
        ("endpoints: [", 2, "mine.yaml:1:"),
    ];
    for (mine, expected, told) in cases {
        place.write("mine.yaml", mine);
        let (code, _, said) = place.extra(&["--extra", "mine.yaml"]);
        assert_eq!(code, Some(expected), "{mine}");
        assert!(said.contains(told), "{mine}: {said}");
    }
}

#[test]
fn where_nothing_is_new_there_is_no_file_to_write() {
    let place = Place::with(&specification());
    assert_eq!(
        place.extra(&[]),
        (Some(0), String::new(), "nothing to add\n".to_owned())
    );
    // What decides is looked into as the catalogue has it, and no file changes that.
    let mut newer = specification();
    let droplets = &mut newer["paths"]["/v2/droplets"]["post"]["requestBody"];
    droplets["content"]["application/json"]["schema"]["properties"]["image"] =
        json!({ "properties": { "url": {} } });
    let place = Place::with(&newer);
    let (code, text, said) = place.extra(&[]);
    assert_eq!((code, text.as_str()), (Some(1), ""));
    assert_eq!(
        said,
        "nothing to add; a person must decide:\nPOST /v2/droplets: `body.image.url`: what stands there decides, and is looked into as the catalogue has it\n"
    );
}
