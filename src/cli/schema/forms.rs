//! The forms of texts and amounts, as a schema can tell them: what it takes may yet be a mistake, what it refuses is one.

use serde_json::{Value, json};

/// The name of a role, rule or variable.
pub(super) const NAME: &str = "^[A-Za-z0-9._-]+$";

/// An address of a server, over TLS or not.
pub(super) fn base_url() -> Value {
    matching("^https?://[^/?#@\\s]+/?$")
}

/// An address that is not asked over plain HTTP but on this machine.
pub(super) fn safe_url() -> Value {
    json!({ "pattern": "^(https://|http://(localhost|127\\.|\\[))" })
}

/// A text; numbers and `true` are read as they are written.
pub(super) fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

/// A text that is not empty.
pub(super) fn words() -> Value {
    json!({ "type": ["string", "number", "boolean"], "minLength": 1 })
}

/// A text of this form, which no number has.
pub(super) fn matching(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": pattern })
}

/// A text of this form; what is written as a number is one.
pub(super) fn like(pattern: &str) -> Value {
    json!({ "type": ["string", "number", "boolean"], "pattern": pattern })
}

/// The name of a role or variable; all its digits may look like a number.
pub(super) fn role_name() -> Value {
    like(NAME)
}

/// The name of a token.
pub(super) fn token_name() -> Value {
    json!({ "type": ["string", "number", "boolean"], "pattern": "^[^-\\s](.*\\S)?$", "maxLength": 128, "minimum": 0 })
}

/// What an attribute must be: one value, or one of several.
pub(super) fn values() -> Value {
    let one = words();
    json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
}

pub(super) fn vars() -> Value {
    json!({ "type": "object", "minProperties": 1, "additionalProperties": words() })
}

pub(super) fn some_texts() -> Value {
    json!({ "type": "array", "minItems": 1, "items": text() })
}

/// An IP address and a port.
pub(super) fn address() -> Value {
    matching("^(\\[[0-9A-Fa-f:.%]+\\]|[0-9.]+):[0-9]{1,5}$")
}

/// One of this machine's own.
pub(super) fn loopback() -> Value {
    json!({ "pattern": "^(127\\.|\\[)" })
}

/// An address or a network.
pub(super) fn network() -> Value {
    matching("^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$")
}

/// The same, or `unix`.
pub(super) fn source() -> Value {
    matching("^([0-9A-Fa-f:.]+(/[0-9]{1,3})?|unix)$")
}

/// As RFC 3339 writes it.
pub(super) fn time() -> Value {
    json!({ "type": "string", "format": "date-time", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}" })
}

pub(super) fn flag() -> Value {
    json!({ "type": "boolean" })
}

pub(super) fn span() -> Value {
    matching("^0*[1-9][0-9]*[smhd]$")
}

pub(super) fn rate() -> Value {
    matching("^0*[1-9][0-9]*/(s|min|h)$")
}

pub(super) fn size() -> Value {
    json!({ "type": ["integer", "string"], "minimum": 1, "pattern": "^0*[1-9][0-9]*(KiB|MiB|GiB)?$" })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "what it is given was made for it"
)]
pub(super) fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [{ "type": "null" }, schema] })
}

pub(super) fn list(item: &Value) -> Value {
    json!({ "type": "array", "minItems": 1, "items": item })
}
