//! JSON Schemas of the two files that people write. What they list (scopes, kinds with their attributes, actions, reasons) comes from
//! the tables that the readers go by; a test holds each set of keys against what the readers say that they know.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Failed, Outcome, print};
use crate::catalog::{Catalog, Kind};
use crate::policy::Right;
use crate::refusal::Code;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate schema policy > policy.schema.json\n\nWith the line `# yaml-language-server: $schema=policy.schema.json` at the top of the policy, editors complete and check it as it\nis written. The schema tells the mistakes that a schema can tell; `tidegate check` tells all."
)]
pub(super) struct Arguments {
    /// Which file.
    file: File,
}

#[derive(Clone, Copy, ValueEnum)]
enum File {
    /// The policy: roles, tokens, tests.
    Policy,
    /// The configuration, `tidegate.yaml`.
    Config,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    let schema = match arguments.file {
        File::Policy => policy(&Catalog::builtin().map_err(Failed)?),
        File::Config => config(),
    };
    print(format!("{schema:#}"))?;
    Ok(Outcome::Good)
}

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";

/// The schema of a policy file.
pub(crate) fn policy(catalog: &Catalog) -> Value {
    let mut schema = object(
        &["version"],
        &[
            ("version", json!({ "const": 1 })),
            ("roles", named(&local("role"))),
            ("tokens", list(&local("token"))),
            ("trust", list(&local("trust"))),
            (
                "tests",
                list(&json!({ "anyOf": [local("test"), local("identity_test")] })),
            ),
        ],
    );
    let definitions = json!({
        "role": role(),
        "allow": grant(true),
        "deny": grant(false),
        "scope": { "enum": scopes(catalog) },
        "action": { "enum": catalog.actions().collect::<BTreeSet<_>>() },
        "only": only(catalog),
        "token": token(),
        "trust": trust(),
        "test": test(),
        "identity_test": identity_test(),
        "given": given(catalog),
        "text": text(),
        "values": values(),
    });
    put(&mut schema, "title", json!("A policy of tidegate"));
    put(&mut schema, "$defs", definitions);
    headed(schema)
}

/// The schema of a configuration file.
#[expect(clippy::too_many_lines, reason = "a table")]
pub(crate) fn config() -> Value {
    let tls = object(
        &["certificate", "private_key"],
        &[
            ("certificate", text()),
            ("private_key", text()),
            ("client_ca", text()),
        ],
    );
    let mut listener = object(
        &[],
        &[
            ("unix", text()),
            ("address", text()),
            ("systemd", text()),
            ("allow_plaintext", flag()),
            ("tls", local("tls")),
            ("proxy_protocol", flag()),
        ],
    );
    put(
        &mut listener,
        "oneOf",
        needs_one(&["address", "unix", "systemd"]),
    );
    let mut admin = object(
        &[],
        &[
            ("unix", text()),
            ("address", text()),
            ("tls", local("tls")),
            ("console", flag()),
            (
                "hosts",
                or_null(json!({ "type": "array", "items": text() })),
            ),
        ],
    );
    put(&mut admin, "oneOf", needs_one(&["address", "unix"]));
    let mut account = object(
        &[],
        &[
            ("token_file", text()),
            ("token_env", text()),
            ("token_files", some_texts()),
            ("token_command", some_texts()),
            ("token_refresh", or_null(span())),
            (
                "reserve",
                or_null(json!({ "type": "integer", "minimum": 0 })),
            ),
        ],
    );
    put(
        &mut account,
        "oneOf",
        needs_one(&["token_file", "token_files", "token_env", "token_command"]),
    );
    let audit = object(
        &["file"],
        &[("file", text()), ("sync", flag()), ("chain", flag())],
    );
    let upstream = object(
        &[],
        &[
            ("url", text()),
            ("ca_file", or_null(text())),
            ("connect_timeout", or_null(span())),
            ("timeout", or_null(span())),
        ],
    );
    let mut schema = object(
        &["accounts", "policy", "state", "audit"],
        &[
            ("listen", list(&listener)),
            ("public_url", or_null(text())),
            (
                "trusted_proxies",
                json!({ "type": "array", "items": text() }),
            ),
            ("upstream", upstream),
            (
                "accounts",
                json!({ "type": "object", "minProperties": 1, "additionalProperties": account }),
            ),
            ("policy", text()),
            ("state", json!({ "anyOf": [text(), state()] })),
            ("instance", or_null(text())),
            ("audit", json!({ "anyOf": [{ "const": "stdout" }, audit] })),
            ("admin", or_null(admin)),
            ("catalog", object(&["extra"], &[("extra", text())])),
            (
                "field_scopes",
                json!({ "enum": ["secrets_only", "enforce"] }),
            ),
            (
                "issuers",
                json!({ "type": "object", "additionalProperties": issuer() }),
            ),
            ("limits", limits()),
        ],
    );
    put(&mut schema, "title", json!("The configuration of tidegate"));
    put(&mut schema, "$defs", json!({ "tls": tls }));
    headed(schema)
}

fn state() -> Value {
    let source = |key: &str| json!({ "required": [key] });
    let mut postgres = object(
        &[],
        &[
            ("url", text()),
            ("url_file", text()),
            ("url_env", text()),
            ("ca_file", or_null(text())),
            ("migrate", flag()),
            ("stale_for", span()),
        ],
    );
    let sources = ["url", "url_file", "url_env"].map(source);
    put(&mut postgres, "oneOf", json!(sources));
    object(&["postgres"], &[("postgres", postgres)])
}

fn issuer() -> Value {
    object(
        &["url", "audience"],
        &[
            ("url", text()),
            ("audience", text()),
            ("jwks", or_null(text())),
            ("ca_file", or_null(text())),
            (
                "kind",
                or_null(json!({ "enum": ["github", "gitlab", "kubernetes", "other"] })),
            ),
            ("once", flag()),
        ],
    )
}

fn limits() -> Value {
    let count = or_null(json!({ "type": "integer", "minimum": 1 }));
    let sizes = ["header_bytes", "inspected_body", "body"].map(|key| (key, or_null(size())));
    let counts =
        ["connections", "connections_per_client", "requests"].map(|key| (key, count.clone()));
    let spans =
        ["derived_credentials", "header_timeout", "idle_timeout"].map(|key| (key, or_null(span())));
    object(&[], &[&sizes[..], &counts, &spans].concat())
}

fn role() -> Value {
    let mut role = object(
        &[],
        &[
            ("description", local("text")),
            ("account", local("text")),
            ("vars", list(&json!({ "type": "string", "pattern": NAME }))),
            ("allow", list(&local("allow"))),
            ("deny", list(&local("deny"))),
            (
                "operator",
                list(&json!({ "enum": Right::ALL.map(Right::as_str) })),
            ),
            ("operator_issues", list(&local("text"))),
            ("delegate", delegate()),
        ],
    );
    put(
        &mut role,
        "anyOf",
        needs_one(&["allow", "deny", "operator"]),
    );
    role
}

fn grant(allows: bool) -> Value {
    let mut on_create = object(
        &[],
        &[("tags", list(&local("text"))), ("project", local("text"))],
    );
    put(&mut on_create, "minProperties", json!(1));
    let mut keys = vec![
        ("scopes", list(&local("scope"))),
        ("requests", list(&local("text"))),
        ("only", local("only")),
        ("actions", list(&local("action"))),
    ];
    if allows {
        keys.push(("on_create", on_create));
    }
    let mut grant = object(&[], &keys);
    put(&mut grant, "oneOf", needs_one(&["scopes", "requests"]));
    grant
}

/// Every scope, and what its wildcards are.
fn scopes(catalog: &Catalog) -> BTreeSet<String> {
    let mut all = BTreeSet::from(["*".to_owned()]);
    for scope in catalog.scopes().iter() {
        all.insert(scope.to_string());
        if let Some((family, verb)) = scope.as_str().split_once(':') {
            all.insert(format!("{family}:*"));
            all.insert(format!("*:{verb}"));
        }
    }
    all
}

/// What may stand in `only` itself, asked of any kind.
const SHARED: [&str; 3] = ["tag", "project", "region"];

fn only(catalog: &Catalog) -> Value {
    let mut keys: Map<String, Value> = catalog
        .kinds()
        .iter()
        .map(|kind| (kind.name.to_string(), selector(kind, catalog)))
        .collect();
    for shared in SHARED {
        let narrows = json!({ "allOf": [local("values"), { "not": { "const": "any" } }] });
        let asked = match catalog.kinds().find(shared) {
            Some(kind) => json!({ "anyOf": [narrows, attributes(kind, catalog)] }),
            None => narrows,
        };
        keys.insert(shared.to_owned(), asked);
    }
    json!({ "type": "object", "minProperties": 1, "properties": keys, "additionalProperties": false })
}

fn selector(kind: &Kind, catalog: &Catalog) -> Value {
    json!({ "anyOf": [{ "const": "any" }, attributes(kind, catalog)] })
}

fn attributes(kind: &Kind, catalog: &Catalog) -> Value {
    let own = kind.attribute_names();
    let of_parents = SHARED.into_iter().filter(|shared| {
        catalog
            .kinds()
            .ancestors(kind)
            .any(|parent| parent.has(shared))
    });
    let names: BTreeSet<_> = own.chain(of_parents).collect();
    let keys: Map<String, Value> = names
        .into_iter()
        .map(|name| (name.to_owned(), local("values")))
        .collect();
    json!({ "type": "object", "minProperties": 1, "properties": keys, "additionalProperties": false })
}

fn token() -> Value {
    let time = json!({ "type": "string", "format": "date-time" });
    object(
        &["name", "id", "hash", "roles"],
        &[
            ("name", local("text")),
            (
                "id",
                json!({ "type": "string", "pattern": "^[0-9A-Za-z]{12}$" }),
            ),
            (
                "hash",
                json!({ "type": "string", "pattern": "^sha256:[0-9A-Fa-f]{64}$" }),
            ),
            ("roles", list(&local("text"))),
            ("vars", vars()),
            (
                "sources",
                json!({ "type": "array", "items": { "type": "string" } }),
            ),
            ("client_cert", json!({ "type": "string" })),
            ("not_before", time.clone()),
            ("expires_at", time.clone()),
            ("ceiling", local("text")),
            ("report_until", time),
            ("idle", span()),
            ("max_uses", json!({ "type": "integer", "minimum": 0 })),
            ("rate", rate()),
            ("owner", local("text")),
            ("description", local("text")),
        ],
    )
}

fn delegate() -> Value {
    object(
        &["ttl", "count"],
        &[
            ("ttl", span()),
            ("count", json!({ "type": "integer", "minimum": 1 })),
        ],
    )
}

fn trust() -> Value {
    let claims = json!({ "type": "object", "minProperties": 1, "additionalProperties": values() });
    object(
        &["name", "issuer", "claims", "roles"],
        &[
            ("name", json!({ "type": "string", "pattern": NAME })),
            ("issuer", local("text")),
            ("claims", claims),
            ("roles", list(&local("text"))),
            ("vars", vars()),
            ("ceiling", local("text")),
            ("ttl", span()),
            ("max_uses", json!({ "type": "integer", "minimum": 0 })),
            ("rate", rate()),
            (
                "sources",
                json!({ "type": "array", "items": { "type": "string" } }),
            ),
        ],
    )
}

fn rate() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+/(s|min|h)$" })
}

/// A test of `trust`.
fn identity_test() -> Value {
    object(
        &["issuer", "claims", "expect"],
        &[
            ("issuer", local("text")),
            ("claims", json!({ "type": "object" })),
            ("expect", json!({ "enum": ["allow", "deny"] })),
        ],
    )
}

fn test() -> Value {
    let reasons = Code::ALL.map(Code::as_str).to_vec();
    object(
        &["role", "request", "expect"],
        &[
            ("role", local("text")),
            ("vars", vars()),
            (
                "request",
                json!({ "type": "string", "pattern": "^[A-Z]+ /" }),
            ),
            ("body", json!(true)),
            ("expect", json!({ "enum": ["allow", "deny"] })),
            ("reason", json!({ "enum": reasons })),
            ("given", local("given")),
        ],
    )
}

/// Facts: by kind, resources with their attributes.
fn given(catalog: &Catalog) -> Value {
    let facts = json!({ "anyOf": [local("text"), { "type": "array", "items": local("text") }] });
    let one = |kind: &Kind| {
        let tags = kind.has("tag").then_some("tags");
        let names = kind.attribute_names().chain(tags);
        let keys: Map<String, Value> = names.map(|name| (name.to_owned(), facts.clone())).collect();
        let resource = json!({ "type": "object", "minProperties": 1, "properties": keys, "additionalProperties": false });
        (kind.name.to_string(), list(&resource))
    };
    let kinds: Map<String, Value> = catalog.kinds().iter().map(one).collect();
    json!({ "type": "object", "minProperties": 1, "properties": kinds, "additionalProperties": false })
}

/// The name of a role or variable.
const NAME: &str = "^[A-Za-z0-9._-]+$";

fn named(one: &Value) -> Value {
    json!({ "type": "object", "minProperties": 1, "propertyNames": { "pattern": NAME }, "additionalProperties": one })
}

fn vars() -> Value {
    let value = json!({ "type": ["string", "number", "boolean"], "minLength": 1 });
    json!({ "type": "object", "minProperties": 1, "additionalProperties": value })
}

fn some_texts() -> Value {
    json!({ "type": "array", "minItems": 1, "items": text() })
}

/// A text; numbers and `true` are read as they are written.
fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// What an attribute must be: one value, or one of several.
fn values() -> Value {
    let one = json!({ "type": ["string", "number", "boolean"], "minLength": 1 });
    json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
}

fn flag() -> Value {
    json!({ "type": "boolean" })
}

fn span() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+[smhd]$" })
}

fn size() -> Value {
    json!({ "type": ["integer", "string"], "minimum": 1, "pattern": "^[0-9]+(KiB|MiB|GiB)?$" })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what it is given was made for it"
)]
fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [{ "type": "null" }, schema] })
}

fn list(item: &Value) -> Value {
    json!({ "type": "array", "minItems": 1, "items": item })
}

fn local(definition: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{definition}") })
}

fn needs_one(keys: &[&str]) -> Value {
    keys.iter()
        .map(|key| json!({ "required": [key] }))
        .collect()
}

/// A mapping of these keys and no others.
fn object(required: &[&str], keys: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|(key, schema)| ((*key).to_owned(), schema.clone()))
        .collect();
    let mut schema =
        json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if !required.is_empty() {
        put(&mut schema, "required", json!(required));
    }
    schema
}

fn put(schema: &mut Value, key: &str, value: Value) {
    if let Some(members) = schema.as_object_mut() {
        members.insert(key.to_owned(), value);
    }
}

fn headed(schema: Value) -> Value {
    let mut all = json!({ "$schema": DIALECT });
    if let (Some(members), Value::Object(rest)) = (all.as_object_mut(), schema) {
        members.extend(rest);
    }
    all
}
