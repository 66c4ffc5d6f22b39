use serde_json::{Value, json};

use super::{headed, object, put};

/// The words of a row; `true` where the catalogue's own README tells what stands there.
fn row() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let by_place = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let anything = json!(true);
    let action = object(
        &[],
        &[
            ("always", json!({ "type": "string" })),
            ("in", json!({ "type": "string" })),
            ("one_of", texts.clone()),
            ("grave", texts.clone()),
        ],
    );
    let mut action = action;
    put(
        &mut action,
        "oneOf",
        json!([{ "required": ["always"] }, { "required": ["in"] }]),
    );
    let described = [
        ("operation", json!({ "type": "string" })),
        ("scopes", json!({ "type": "string", "pattern": ":" })),
        ("query", texts.clone()),
        ("body", texts.clone()),
        ("left_out", texts.clone()),
        ("field_scopes", by_place.clone()),
        ("sensitive_fields", by_place.clone()),
        ("harmless", by_place),
        ("action", action),
        ("sensitive", json!({ "type": "string" })),
        ("caution", json!({ "type": "string" })),
        ("could_touch", texts),
        ("touches", json!({ "const": "nobody" })),
        ("unmodelled", json!({ "type": "string" })),
        ("note", json!({ "type": "string" })),
        ("refused", json!({ "type": "string" })),
        ("reads_only", json!({ "type": "boolean" })),
    ];
    let others = [
        "slash_in",
        "dns_in",
        "scopes_when",
        "derived_expiry",
        "repeats",
        "key_ids",
        "names",
        "no_names",
        "values",
        "beside",
        "origin",
        "raw_bodies",
    ];
    let others = others.map(|word| (word, anything.clone()));
    object(
        &["operation", "scopes"],
        &[&described[..], &others].concat(),
    )
}

/// The schema of a file that `catalog.extra` names.
pub(super) fn schema() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let harmless = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let members = object(
        &[],
        &[
            ("body", texts.clone()),
            ("query", texts),
            ("harmless", harmless),
        ],
    );
    let by_call = |one: Value| {
        json!({
            "type": "object", "additionalProperties": one,
            "propertyNames": { "pattern": "^(GET|POST|PUT|PATCH|DELETE) /" },
        })
    };
    let mut schema = object(
        &[],
        &[
            ("section", json!({ "type": "string" })),
            ("endpoints", by_call(row())),
            ("members", by_call(members)),
        ],
    );
    put(
        &mut schema,
        "anyOf",
        json!([{ "required": ["section", "endpoints"] }, { "required": ["members"] }]),
    );
    put(
        &mut schema,
        "dependentRequired",
        json!({ "endpoints": ["section"] }),
    );
    put(
        &mut schema,
        "title",
        json!("What DigitalOcean added to its API, for tidegate"),
    );
    headed(schema)
}
