//! What would have let a request through that was refused, as far as its record tells.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{RefusedRequest, suggestion};
use crate::audit::text;
use crate::catalog::{Catalog, Method, Scope};
use crate::policy::{Grants, by_head};
use crate::refusal::Code;
use crate::request::{Asked, Target};

/// What a refused request lacked.
#[derive(Debug, Default)]
pub(crate) struct Remedy {
    /// The scopes that it asked for.
    pub needs: Vec<String>,
    /// The YAML that would allow it in a role, where a grant can do that.
    pub suggestion: Option<String>,
}

impl Remedy {
    /// That of a line of the record, for a token of these grants. Nothing is looked up.
    pub fn of(line: &Value, grants: &Grants, catalog: &Catalog) -> Self {
        match text(line, "reason") {
            "scope" | "field_scope" | "unknown_endpoint" => by_its_head(line, grants, catalog),
            "resource" | "resource_hidden" | "action" => by_what_it_names(line),
            _ => Self::default(),
        }
    }
}

/// The scopes that a request lacked, and what would give them: judged by its head, as it was before its body was read.
fn by_its_head(line: &Value, grants: &Grants, catalog: &Catalog) -> Remedy {
    let (method, path) = (text(line, "method"), text(line, "path"));
    let Some((method, target)) = method.parse::<Method>().ok().zip(Target::read(path).ok()) else {
        return Remedy::default();
    };
    let asked = Asked::new(method, target, catalog);
    let judge = |grants: &Grants| by_head(grants, &asked, catalog).map(|()| String::new());
    let Err(refusal) = judge(grants) else {
        return Remedy::default();
    };
    let needs = refusal.needs.iter().map(Scope::to_string).collect();
    let refused = RefusedRequest {
        method,
        path,
        body: None,
        refusal: &refusal,
    };
    let mended = matches!(refusal.code, Code::Scope | Code::UnknownEndpoint);
    let suggested = || suggestion(&refused, grants, catalog, judge);
    let suggestion = mended.then(suggested).flatten();
    Remedy { needs, suggestion }
}

/// The scopes of a request that was about something which its grants do not reach, and a grant of these over that alone.
fn by_what_it_names(line: &Value) -> Remedy {
    let mut scopes = BTreeSet::new();
    let mut only: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let members = |name: &str| {
        line.get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    for resource in members("resources") {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        scopes.extend(text("scope"));
        if let (Some(kind), Some(id)) = (text("kind"), text("id")) {
            only.entry(kind).or_default().insert(id);
        }
    }
    if scopes.is_empty() {
        scopes.extend(members("scopes").filter_map(Value::as_str));
    }
    let needs: Vec<_> = scopes.into_iter().map(str::to_owned).collect();
    if only.is_empty() || needs.is_empty() {
        return Remedy {
            needs,
            suggestion: None,
        };
    }
    let quoted = |id: &&str| Value::String((*id).to_owned()).to_string(); // JSON strings are YAML strings
    let kinds: Vec<_> = only
        .iter()
        .map(|(kind, ids)| {
            let ids: Vec<_> = ids.iter().map(quoted).collect();
            format!("{kind}: {{ id: [{}] }}", ids.join(", "))
        })
        .collect();
    let action = line.get("action").and_then(Value::as_str);
    let actions = action.map_or_else(String::new, |action| format!("\n    actions: [{action}]"));
    let yaml = format!(
        "allow:\n  - scopes: [{}]\n    only: {{ {} }}{actions}",
        needs.join(", "),
        kinds.join(", ")
    );
    Remedy {
        needs,
        suggestion: Some(yaml),
    }
}
