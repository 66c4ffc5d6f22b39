use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::*;
use crate::catalog::{Catalog, Origin};

fn builtin() -> Outline {
    Outline::builtin().unwrap()
}

/// A specification that says what an outline says.
fn document(outline: &Outline) -> Value {
    let mut paths: BTreeMap<&str, serde_json::Map<String, Value>> = BTreeMap::new();
    for operation in outline.operations() {
        let (path, said) = (operation.path.as_str(), said(operation));
        paths
            .entry(path)
            .or_default()
            .insert(operation.method.as_str().to_lowercase(), said);
    }
    json!({ "openapi": "3.0.0", "paths": paths })
}

fn said(operation: &Operation) -> Value {
    let query: Vec<_> = operation
        .query
        .paths()
        .into_iter()
        .map(|(name, required)| json!({ "in": "query", "name": name, "required": required }))
        .collect();
    let security: Vec<_> = operation
        .scopes
        .iter()
        .map(|set| json!({ "bearer_auth": set }))
        .collect();
    let content =
        |schema: Value| json!({ "content": { "application/json": { "schema": schema } } });
    json!({
        "operationId": operation.id,
        "security": security,
        "parameters": query,
        "requestBody": content(schema(&operation.body)),
        "responses": { "200": content(schema(&operation.secrets)), "404": content(json!({ "properties": { "token": {} } })) },
        "deprecated": operation.deprecated,
    })
}

fn schema(members: &MemberTree) -> Value {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for (name, member) in members.entries() {
        let bare = name.trim_end_matches("[]");
        let mut inner = schema(&member.under);
        for _ in 0..name.matches("[]").count() {
            inner = json!({ "type": "array", "items": inner });
        }
        properties.insert(bare.to_owned(), inner);
        if member.required {
            required.push(bare);
        }
    }
    // A member of any name is `*` in an outline, whether the specification says so or has one of that name.
    json!({ "type": "object", "properties": properties, "required": required })
}

fn read_value(value: &Value) -> Outline {
    read_alone("spec.json", &value.to_string())
}

/// Reads what has nothing beside it.
fn read_alone(file: &str, text: &str) -> Outline {
    read(file, text, &|_| Err(io::ErrorKind::NotFound.into())).unwrap()
}

/// What a change of the document comes to, as lines.
fn differences(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let older = builtin();
    let mut value = document(&older);
    change(&mut value["paths"]);
    let newer = read_value(&value);
    compare(&older, &newer)
        .into_iter()
        .map(|difference| match difference {
            Difference::Added(operation) => format!("added {operation}"),
            Difference::Removed(operation) => format!("removed {operation}"),
            Difference::Changed(operation, changes) => format!("changed {operation} {changes:?}"),
        })
        .collect()
}

#[test]
fn the_outline_of_this_release_has_every_endpoint_of_the_catalogue() {
    let catalog = Catalog::builtin().unwrap();
    let mut outlined: Vec<_> = builtin()
        .operations()
        .map(|operation| format!("{} {}", operation.method, shape(&operation.path)))
        .collect();
    let mut known: Vec<_> = catalog
        .endpoints()
        .iter()
        .filter(|endpoint| endpoint.origin != Origin::Client)
        .map(|endpoint| {
            format!(
                "{} {}",
                endpoint.method,
                shape(&endpoint.template.to_string())
            )
        })
        .collect();
    outlined.sort();
    known.sort();
    assert_eq!(outlined, known);
}

/// Where the catalogue asks for other scopes than the specification, its row says why.
#[test]
fn every_row_that_differs_from_the_outline_has_a_note() {
    let catalog = Catalog::builtin().unwrap();
    for operation in builtin().operations() {
        let place = format!("{} {}", operation.method, shape(&operation.path));
        let endpoint = catalog
            .endpoints()
            .iter()
            .find(|endpoint| {
                format!(
                    "{} {}",
                    endpoint.method,
                    shape(&endpoint.template.to_string())
                ) == place
            })
            .unwrap();
        let sets: Vec<BTreeSet<String>> = endpoint
            .scopes
            .iter()
            .map(|set| {
                catalog
                    .scopes()
                    .names(set)
                    .map(ToString::to_string)
                    .collect()
            })
            .collect();
        assert_eq!(&*endpoint.operation, operation.id, "{place}");
        assert!(
            sets == operation.scopes || endpoint.note.is_some(),
            "{place}: {sets:?} {:?}",
            operation.scopes
        );
    }
}

#[test]
fn an_outline_reads_as_it_was_printed() {
    let outline = builtin();
    assert_eq!(Outline::parse(&outline.to_string()), Ok(outline));
    assert_eq!(Outline::parse(&format!("{HEADING}\nGET\t/v2/x")), Err(2));
}

#[test]
fn a_specification_that_says_the_same_differs_in_nothing() {
    assert_eq!(differences(|_| {}), [""; 0]);
}

#[test]
fn what_is_added_removed_and_changed_is_told() {
    let said = differences(|paths| {
        paths["/v2/lighthouses"] =
            json!({ "get": { "operationId": "lighthouses_list", "responses": {} } });
        paths["/v2/droplets"]["put"] =
            json!({ "operationId": "droplets_replace", "responses": {} });
        paths.as_object_mut().unwrap().remove("/v2/sizes");
        paths["/v2/droplets"]["get"]["security"][0]["bearer_auth"] =
            json!(["droplet:read", "tag:read"]);
        paths["/v2/droplets"]["post"]["operationId"] = json!("droplets_make");
        paths["/v2/regions"]["get"]["deprecated"] = json!(true);
    });
    let expected = [
        "changed GET /v2/droplets [Scopes(\"droplet:read\")]",
        "changed POST /v2/droplets [Operation(\"droplets_create\")]",
        "added PUT /v2/droplets",
        "added GET /v2/lighthouses",
        "changed GET /v2/regions [Deprecated]",
        "removed GET /v2/sizes",
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_changes_within_an_operation_is_told_with_its_place() {
    let said = differences(|paths| {
        let droplets = &mut paths["/v2/droplets"];
        droplets["get"]["parameters"]
            .as_array_mut()
            .unwrap()
            .retain(|parameter| parameter["name"] != "tag_name");
        droplets["get"]["parameters"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "in": "query", "name": "team", "required": true }));
        droplets["get"]["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
            ["root_password"] = json!({});
        droplets["get"]["responses"]["200"]["content"]["application/json"]["schema"]["properties"]
            ["colour"] = json!({});
        let body = &mut droplets["post"]["requestBody"]["content"]["application/json"]["schema"];
        body["properties"]["fleet"] = json!({ "items": { "properties": { "id": {} } } });
        body["properties"]
            .as_object_mut()
            .unwrap()
            .remove("vpc_uuid");
        let rebuilt = paths
            .as_object_mut()
            .unwrap()
            .remove("/v2/vpcs/{vpc_id}")
            .unwrap();
        paths["/v2/vpcs/{vpc_uuid}"] = json!({ "get": rebuilt["get"], "put": rebuilt["put"], "patch": rebuilt["patch"], "delete": rebuilt["delete"] });
    });
    let expected = [
        "changed GET /v2/droplets [Query(AddedRequired(\"team\")), Query(Removed(\"tag_name\")), Secret(\"root_password\")]",
        "changed POST /v2/droplets [Body(Added(\"fleet[]\")), Body(Added(\"fleet[].id\")), Body(Removed(\"vpc_uuid\"))]",
        "changed GET /v2/vpcs/{vpc_uuid} [Path(\"/v2/vpcs/{vpc_id}\")]",
        "changed PUT /v2/vpcs/{vpc_uuid} [Path(\"/v2/vpcs/{vpc_id}\")]",
        "changed PATCH /v2/vpcs/{vpc_uuid} [Path(\"/v2/vpcs/{vpc_id}\")]",
        "changed DELETE /v2/vpcs/{vpc_uuid} [Path(\"/v2/vpcs/{vpc_id}\")]",
    ];
    assert_eq!(said, expected);
}

#[test]
fn references_parts_and_yaml_say_the_same_as_what_is_written_out() {
    let written_out = json!({ "paths": { "/v2/x/{id}": { "post": {
        "operationId": "x_post",
        "security": [{ "bearer_auth": ["x:update"] }],
        "parameters": [{ "in": "query", "name": "dry", "required": true }],
        "requestBody": { "content": { "application/json": { "schema": { "required": ["name"], "properties": { "name": {}, "tags": { "items": {} } } } } } },
        "responses": { "200": { "content": { "application/json": { "schema": { "properties": { "x": { "properties": { "token": {} } } } } } } } },
    } } } });
    let with_references = "
openapi: 3.0.0
security: [{ bearer_auth: ['x:update'] }]
paths:
  /v2/x/{id}:
    parameters: [{ $ref: '#/components/parameters/dry' }, { in: path, name: id, required: true }]
    post:
      operationId: x_post
      requestBody: { $ref: '#/components/requestBodies/x' }
      responses:
        200: { $ref: '#/components/responses/x' }
components:
  parameters: { dry: { in: query, name: dry, required: true } }
  requestBodies: { x: { content: { application/json: { schema: { $ref: '#/components/schemas/new' } } } } }
  responses: { x: { content: { application/json: { schema: { properties: { x: { $ref: '#/components/schemas/x' } } } } } } }
  schemas:
    new: { required: [name], allOf: [{ properties: { name: { type: string } } }, { anyOf: [{ $ref: '#/components/schemas/tagged' }] }] }
    tagged: { required: [tags], properties: { tags: { type: array, items: { type: string } } } }
    x: { properties: { token: { type: string } } }
";
    let (one, other) = (
        read_value(&written_out),
        read_alone("spec.yaml", with_references),
    );
    assert_eq!(one, other);
    assert_eq!(
        one.operations().next().unwrap().body.to_string(),
        "name!,tags[]"
    );
}

#[test]
fn what_holds_itself_ends() {
    let text = "
paths:
  /v2/x:
    get:
      operationId: x
      responses: { 200: { content: { a: { schema: { $ref: '#/tree' } } } } }
tree: { properties: { token: {}, left: { $ref: '#/tree' }, right: { items: { $ref: '#/tree' } } } }
";
    let outline = read_alone("spec.yaml", text);
    let secrets = outline.operations().next().unwrap().secrets.to_string();
    assert!(
        secrets.contains("token") && secrets.len() < 2_000_000,
        "{}",
        secrets.len()
    );
}
