//! Policies with one scope less.

use std::collections::BTreeSet;

use serde_json::Value;

/// For each scope that a policy names, it and the policy without: without what tests there are, and without grants that are
/// left with none.
pub fn each_scope_less(policy: &str) -> Vec<(String, String)> {
    let policy: Value = serde_yaml::from_str(policy).expect("a policy is YAML");
    let mut scopes = BTreeSet::new();
    for grant in grants(&policy) {
        let named = grant["scopes"].as_array().into_iter().flatten();
        scopes.extend(named.map(|scope| scope.as_str().expect("a scope is a text").to_owned()));
    }
    let less = |scope: &String| (scope.clone(), without(policy.clone(), scope));
    scopes.iter().map(less).collect()
}

fn grants(policy: &Value) -> impl Iterator<Item = &Value> {
    let roles = policy["roles"].as_object().into_iter().flatten();
    roles.flat_map(|(_, role)| role["allow"].as_array().into_iter().flatten())
}

fn without(mut policy: Value, scope: &str) -> String {
    policy
        .as_object_mut()
        .expect("a policy is a mapping")
        .remove("tests");
    let roles = policy["roles"]
        .as_object_mut()
        .expect("roles are a mapping");
    for role in roles.values_mut() {
        let allow = role["allow"].as_array_mut().expect("grants are a list");
        for grant in allow.iter_mut() {
            if let Some(scopes) = grant["scopes"].as_array_mut() {
                scopes.retain(|named| named != scope);
            }
        }
        allow.retain(|grant| grant["scopes"] != Value::Array(Vec::new()));
        if allow.is_empty() {
            allow.push(serde_json::json!({ "requests": ["GET /nothing"] })); // a role allows something
        }
    }
    format!("{policy:#}\n")
}
