//! JSON Schemas of the files that people write. What they list (scopes, kinds with their attributes, actions, reasons) comes from
//! the tables that the readers go by; a test holds each set of keys against what the readers say that they know.

mod extra;
mod forms;

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use self::forms::{
    address, base_url, flag, like, list, loopback, matching, network, or_null, rate, role_name,
    safe_url, size, some_texts, source, span, text, time, values, vars, words,
};
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
    /// What the configuration's `catalog.extra` names: endpoints that DigitalOcean added since.
    Extra,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    let schema = match arguments.file {
        File::Policy => policy(&Catalog::builtin().map_err(Failed)?),
        File::Config => config(),
        File::Extra => extra::schema(),
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
            ("roles", roles()),
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
        "words": words(),
        "role_name": role_name(),
        "values": values(),
    });
    put(&mut schema, "title", json!("A policy of tidegate"));
    put(&mut schema, "$defs", definitions);
    headed(schema)
}

/// The schema of a configuration file.
pub(crate) fn config() -> Value {
    let mut schema = object(
        &["accounts", "policy", "state", "audit"],
        &[
            ("listen", list(&listener())),
            ("public_url", or_null(base_url())),
            (
                "trusted_proxies",
                json!({ "type": "array", "items": network() }),
            ),
            ("upstream", upstream()),
            (
                "accounts",
                json!({ "type": "object", "minProperties": 1, "additionalProperties": account() }),
            ),
            ("policy", text()),
            ("state", json!({ "anyOf": [text(), state()] })),
            (
                "instance",
                or_null(json!({ "allOf": [text(), { "minLength": 1, "maxLength": 64 }] })),
            ),
            (
                "audit",
                json!({ "anyOf": [{ "const": "stdout" }, audit()] }),
            ),
            ("admin", or_null(admin())),
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
    let header = json!({ "required": ["proxy_protocol"], "properties": { "proxy_protocol": { "const": true } } });
    let behind =
        json!({ "required": ["listen"], "properties": { "listen": { "contains": header } } });
    let proxies = json!({ "required": ["trusted_proxies"], "properties": { "trusted_proxies": { "minItems": 1 } } });
    put(&mut schema, "allOf", json!([implies(&behind, &proxies)]));
    put(&mut schema, "title", json!("The configuration of tidegate"));
    put(&mut schema, "$defs", json!({ "tls": tls() }));
    headed(schema)
}

fn tls() -> Value {
    object(
        &["certificate", "private_key"],
        &[
            ("certificate", text()),
            ("private_key", text()),
            ("client_ca", text()),
        ],
    )
}

fn listener() -> Value {
    let mut listener = object(
        &[],
        &[
            ("unix", text()),
            ("address", address()),
            ("systemd", like("^[!-9;-~]{1,255}$")),
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
    // A unix socket has nobody on the way; and plain HTTP off loopback is said to be meant.
    let is_plain = json!({ "not": { "required": ["tls"] }, "properties": { "allow_plaintext": { "const": false } } });
    let of_listener = json!([
        implies(
            &json!({ "required": ["unix"] }),
            &json!({ "not": { "required": ["tls"] }, "properties": { "proxy_protocol": { "const": false } } })
        ),
        implies(
            &is_plain,
            &json!({ "properties": { "address": loopback() } })
        ),
    ]);
    put(&mut listener, "allOf", of_listener);
    listener
}

fn admin() -> Value {
    let mut admin = object(
        &[],
        &[
            ("unix", text()),
            ("address", address()),
            ("tls", local("tls")),
            ("console", flag()),
            (
                "hosts",
                or_null(json!({ "type": "array", "items": like("^[A-Za-z0-9._-]+$") })),
            ),
        ],
    );
    put(&mut admin, "oneOf", needs_one(&["address", "unix"]));
    let names_hosts =
        json!({ "required": ["hosts"], "properties": { "hosts": { "type": "array" } } });
    let has_page =
        json!({ "required": ["console"], "properties": { "console": { "const": true } } });
    let without_tls = json!({ "not": { "required": ["tls"] } });
    let of_admin = json!([
        implies(&names_hosts, &has_page),
        implies(&json!({ "required": ["unix"] }), &without_tls),
        implies(
            &without_tls,
            &json!({ "properties": { "address": loopback() } })
        ),
    ]);
    put(&mut admin, "allOf", of_admin);
    admin
}

fn account() -> Value {
    let mut account = object(
        &[],
        &[
            ("token_file", text()),
            ("token_env", text()),
            ("token_files", some_texts()),
            ("token_command", command()),
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
    let refreshes = json!({ "required": ["token_refresh"], "properties": { "token_refresh": { "type": "string" } } });
    let runs = json!({ "required": ["token_command"] });
    put(&mut account, "allOf", json!([implies(&refreshes, &runs)]));
    account
}

fn audit() -> Value {
    object(
        &["file"],
        &[("file", text()), ("sync", flag()), ("chain", flag())],
    )
}

fn upstream() -> Value {
    object(
        &[],
        &[
            ("url", json!({ "allOf": [base_url(), safe_url()] })),
            ("ca_file", or_null(text())),
            ("connect_timeout", or_null(span())),
            ("timeout", or_null(span())),
        ],
    )
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
    let file = json!({ "not": { "pattern": "://" } });
    let keys = json!({ "allOf": [text(), { "anyOf": [file, safe_url()] }] });
    let mut issuer = object(
        &["url", "audience"],
        &[
            ("url", text()),
            ("audience", words()),
            ("jwks", or_null(keys)),
            ("ca_file", or_null(text())),
            (
                "kind",
                or_null(json!({ "enum": ["github", "gitlab", "kubernetes", "other"] })),
            ),
            ("once", flag()),
        ],
    );
    // Without keys of its own it is asked for them at its address.
    let asks = json!({ "properties": { "jwks": { "type": "null" } } });
    let address = json!({ "allOf": [{ "type": "string" }, safe_url()] });
    let asked = json!({ "properties": { "url": address } });
    put(&mut issuer, "allOf", json!([implies(&asks, &asked)]));
    issuer
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
            ("account", local("words")),
            ("vars", list(&role_name())),
            ("allow", list(&local("allow"))),
            ("deny", list(&local("deny"))),
            (
                "operator",
                list(&json!({ "enum": Right::ALL.map(Right::as_str) })),
            ),
            ("operator_issues", list(&local("role_name"))),
            ("delegate", delegate()),
        ],
    );
    put(
        &mut role,
        "anyOf",
        needs_one(&["allow", "deny", "operator"]),
    );
    // Each right at the console needs those before it; and what is given there is handed on to nobody.
    let has = |right: Right| json!({ "contains": { "const": right.as_str() } });
    let steps = Right::ALL.windows(2).filter_map(|pair| match pair {
        [lower, higher] => Some(implies(&has(*higher), &has(*lower))),
        _ => None,
    });
    let steps: Vec<_> = steps.collect();
    let whole = json!([
        { "properties": { "operator": { "allOf": steps } } },
        { "not": { "required": ["operator", "delegate"] } },
        implies(&json!({ "required": ["operator_issues"] }), &json!({ "required": ["operator"], "properties": { "operator": has(Right::Issue) } })),
    ]);
    put(&mut role, "allOf", whole);
    role
}

fn grant(allows: bool) -> Value {
    let mut on_create = object(
        &[],
        &[("tags", list(&local("words"))), ("project", local("words"))],
    );
    put(&mut on_create, "minProperties", json!(1));
    let mut keys = vec![
        ("scopes", list(&local("scope"))),
        ("requests", list(&local("words"))),
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
        .map(|kind| (kind.id.to_string(), selector(kind, catalog)))
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
    let mut token = object(
        &["name", "id", "hash", "roles"],
        &[
            ("name", forms::token_name()),
            (
                "id",
                json!({ "type": "string", "pattern": "^[0-9A-Za-z]{12}$" }),
            ),
            (
                "hash",
                json!({ "type": "string", "pattern": "^sha256:[0-9A-Fa-f]{64}$" }),
            ),
            ("roles", list(&local("role_name"))),
            ("vars", vars()),
            ("sources", sources()),
            ("client_cert", matching("^(\\*|.*=.+)$")),
            ("not_before", time()),
            ("expires_at", time()),
            ("ceiling", local("role_name")),
            ("report_until", time()),
            ("idle", span()),
            ("max_uses", json!({ "type": "integer", "minimum": 0 })),
            ("rate", rate()),
            ("owner", local("text")),
            ("description", local("text")),
        ],
    );
    let both = json!({ "ceiling": ["report_until"], "report_until": ["ceiling"] });
    put(&mut token, "dependentRequired", both);
    token
}

fn sources() -> Value {
    json!({ "type": "array", "items": source() })
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
            (
                "name",
                json!({ "allOf": [role_name(), { "maxLength": 64 }] }),
            ),
            ("issuer", local("text")),
            ("claims", claims),
            ("roles", list(&local("role_name"))),
            ("vars", vars()),
            ("ceiling", local("role_name")),
            ("ttl", span()),
            ("max_uses", json!({ "type": "integer", "minimum": 0 })),
            ("rate", rate()),
            ("sources", sources()),
        ],
    )
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
            ("role", local("role_name")),
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
        (kind.id.to_string(), list(&resource))
    };
    let kinds: Map<String, Value> = catalog.kinds().iter().map(one).collect();
    json!({ "type": "object", "minProperties": 1, "properties": kinds, "additionalProperties": false })
}

fn roles() -> Value {
    json!({
        "type": "object", "minProperties": 1, "propertyNames": { "pattern": forms::NAME },
        "additionalProperties": local("role"),
    })
}

/// A program and its arguments.
fn command() -> Value {
    let program = words();
    json!({ "type": "array", "minItems": 1, "prefixItems": [program], "items": text() })
}

/// What is one way has to be another way, too.
fn implies(one: &Value, other: &Value) -> Value {
    json!({ "if": one, "then": other })
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
