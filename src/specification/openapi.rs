use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::members::DEEPEST;
use super::{Members, Operation, Outline};
use crate::catalog::Method;
use crate::yaml::{self, Mistakes, Node};

/// Why a text is no specification that can be compared.
#[derive(Debug)]
pub enum Unreadable {
    /// It is no JSON.
    Json(serde_json::Error),
    /// It is no YAML: lines with places.
    Yaml(Vec<String>),
    /// It has no `paths`.
    NoPaths,
    /// It points to another file or to nothing.
    Reference(String),
    /// What it refers to grows beyond any API.
    TooMuch,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "it is no JSON: {error}"),
            Self::Yaml(lines) => f.write_str(&lines.join("\n")),
            Self::NoPaths => {
                f.write_str("it has no `paths`, so it is no OpenAPI specification with operations")
            }
            Self::Reference(to) => write!(
                f,
                "it refers to `{to}`, which is not in it; give the file that DigitalOcean publishes whole (`DigitalOcean-public.v2.yaml`), not one of the parts that it is made of"
            ),
            Self::TooMuch => f.write_str("what it refers to grows beyond any API"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Reads an OpenAPI specification, JSON or YAML, down to its outline.
///
/// # Errors
/// `Unreadable`, with the reason.
pub fn read(file: &str, text: &str) -> Result<Outline, Unreadable> {
    let root = document(file, text)?;
    let paths = root
        .get("paths")
        .and_then(Value::as_object)
        .filter(|paths| !paths.is_empty())
        .ok_or(Unreadable::NoPaths)?;
    let mut reader = Reader {
        root: &root,
        left: MOST_SCHEMAS,
        open: Vec::new(),
    };
    let mut outline = Outline::default();
    for (path, item) in paths.iter().filter(|(path, _)| path.starts_with("/v2/")) {
        let item = reader.resolved(item)?;
        for (method, operation) in item.as_object().into_iter().flatten() {
            if let Ok(method) = method.to_uppercase().parse() {
                outline.add(reader.operation(method, path, item, operation)?);
            }
        }
    }
    Ok(outline)
}

fn document(file: &str, text: &str) -> Result<Value, Unreadable> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(Unreadable::Json);
    }
    let mut mistakes = Mistakes::new(file);
    let node = yaml::read(text, &mut mistakes).filter(|_| mistakes.is_empty());
    node.map(value)
        .ok_or_else(|| Unreadable::Yaml(mistakes.into_lines()))
}

fn value(node: Node) -> Value {
    if node.is_null() {
        return Value::Null;
    }
    match node.value {
        yaml::Value::Scalar {
            text,
            quoted: false,
        } if text == "true" => Value::Bool(true),
        yaml::Value::Scalar {
            text,
            quoted: false,
        } if text == "false" => Value::Bool(false),
        yaml::Value::Scalar { text, .. } => Value::String(text), // no number here means anything
        yaml::Value::List(items) => items.into_iter().map(value).collect(),
        yaml::Value::Map(entries) => {
            let members = entries
                .into_iter()
                .map(|entry| (entry.key, value(entry.node)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

struct Reader<'r> {
    root: &'r Value,
    /// How many schemas may yet be looked at.
    left: usize,
    /// The references that are being followed.
    open: Vec<&'r str>,
}

impl<'r> Reader<'r> {
    /// What a value refers to, or the value.
    fn resolved(&self, value: &'r Value) -> Result<&'r Value, Unreadable> {
        let mut at = value;
        for _ in 0..DEEPEST {
            let Some(to) = at.get("$ref").and_then(Value::as_str) else {
                return Ok(at);
            };
            at = self.target(to)?;
        }
        Err(Unreadable::TooMuch)
    }

    fn target(&self, to: &str) -> Result<&'r Value, Unreadable> {
        let found = to
            .strip_prefix('#')
            .and_then(|pointer| self.root.pointer(pointer));
        found.ok_or_else(|| Unreadable::Reference(to.to_owned()))
    }

    fn operation(
        &mut self,
        method: Method,
        path: &str,
        item: &'r Value,
        said: &'r Value,
    ) -> Result<Operation, Unreadable> {
        let mut answer = Members::default();
        for (status, response) in object(said, "responses") {
            if status.starts_with('2') {
                self.content(self.resolved(response)?, &mut answer)?;
            }
        }
        let mut body = Members::default();
        if let Some(request) = said.get("requestBody") {
            self.content(self.resolved(request)?, &mut body)?;
        }
        Ok(Operation {
            method,
            path: path.to_owned(),
            id: said
                .get("operationId")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            scopes: scopes(said.get("security").or(self.root.get("security"))),
            query: self.query(item, said)?,
            body,
            secrets: answer.only(sounds_secret),
            deprecated: is_true(said, "deprecated"),
        })
    }

    fn query(&self, item: &'r Value, said: &'r Value) -> Result<Members, Unreadable> {
        let mut query = Members::default();
        for parameter in list(item, "parameters").chain(list(said, "parameters")) {
            let parameter = self.resolved(parameter)?;
            if let (Some("query"), Some(name)) = (
                parameter.get("in").and_then(Value::as_str),
                parameter.get("name").and_then(Value::as_str),
            ) {
                query.add(name, 0, is_true(parameter, "required"));
            }
        }
        Ok(query)
    }

    fn content(&mut self, has: &'r Value, into: &mut Members) -> Result<(), Unreadable> {
        for (_, content) in object(has, "content") {
            if let Some(schema) = content.get("schema") {
                self.schema(schema, &BTreeSet::new(), 0, into)?;
            }
        }
        Ok(())
    }

    /// The members that a schema gives a value. `required` are those that a schema around it asks for. What holds itself is
    /// followed once.
    fn schema(
        &mut self,
        schema: &'r Value,
        required: &BTreeSet<&'r str>,
        depth: usize,
        into: &mut Members,
    ) -> Result<(), Unreadable> {
        self.left = self.left.checked_sub(1).ok_or(Unreadable::TooMuch)?;
        if depth > DEEPEST {
            return Err(Unreadable::TooMuch);
        }
        let Some(to) = schema.get("$ref").and_then(Value::as_str) else {
            return self.members(schema, required, depth, into);
        };
        if self.open.contains(&to) {
            return Ok(());
        }
        self.open.push(to);
        self.schema(self.target(to)?, required, depth + 1, into)?;
        self.open.pop();
        Ok(())
    }

    fn members(
        &mut self,
        schema: &'r Value,
        required: &BTreeSet<&'r str>,
        depth: usize,
        into: &mut Members,
    ) -> Result<(), Unreadable> {
        let none = BTreeSet::new();
        let mut all = required.clone();
        all.extend(list(schema, "required").filter_map(Value::as_str));
        for (name, member) in object(schema, "properties") {
            let under = into.add(name, self.lists(member)?, all.contains(name.as_str()));
            self.schema(member, &none, depth + 1, under)?;
        }
        if let Some(any @ Value::Object(_)) = schema.get("additionalProperties") {
            let under = into.add("*", self.lists(any)?, false);
            self.schema(any, &none, depth + 1, under)?;
        }
        if let Some(items) = schema.get("items") {
            self.schema(items, &none, depth + 1, into)?;
        }
        for part in list(schema, "allOf") {
            self.schema(part, &all, depth + 1, into)?;
        }
        for part in list(schema, "oneOf").chain(list(schema, "anyOf")) {
            let mut of_one = Members::default();
            self.schema(part, &none, depth + 1, &mut of_one)?;
            into.take_optional(of_one); // what one of several asks for is not always asked for
        }
        Ok(())
    }

    /// How many lists are to be opened to what a schema is about.
    fn lists(&self, schema: &'r Value) -> Result<usize, Unreadable> {
        let (mut at, mut lists) = (self.resolved(schema)?, 0);
        while let Some(items) = at.get("items") {
            at = self.resolved(items)?;
            lists += 1;
            if lists > DEEPEST {
                return Err(Unreadable::TooMuch);
            }
        }
        Ok(lists)
    }
}

fn scopes(security: Option<&Value>) -> Vec<BTreeSet<String>> {
    let alternatives = security.and_then(Value::as_array).into_iter().flatten();
    let sets = alternatives.map(|schemes| {
        let scopes = schemes
            .as_object()
            .into_iter()
            .flatten()
            .flat_map(|(_, scopes)| scopes.as_array().into_iter().flatten());
        scopes
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<BTreeSet<_>>()
    });
    sets.filter(|set| !set.is_empty()).collect()
}

/// Whether a member of an answer may hold what logs in somewhere, by its name. It only points a person to it.
fn sounds_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    let words: Vec<_> = lower.split(['_', '-']).collect();
    let last = words.last().copied().unwrap_or_default();
    let telling = [
        "password",
        "passwd",
        "secret",
        "credential",
        "credentials",
        "kubeconfig",
    ];
    let at_the_end = ["token", "key", "uri", "pem"];
    let public = ["public", "ssh", "object", "primary", "stop", "next", "for"];
    let has = |listed: &[&str]| words.iter().any(|word| listed.contains(word));
    (has(&telling) && !has(&["allow"])) || (at_the_end.contains(&last) && !has(&public))
}

fn object<'v>(
    value: &'v Value,
    key: &str,
) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
    value
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn is_true(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// Schemas that are looked at: many times what the API has.
const MOST_SCHEMAS: usize = 5_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_sound_like_secrets_are_told() {
        let cases = [
            ("password", true),
            ("basic_auth_password", true),
            ("secret_key", true),
            ("api_key", true),
            ("access_token", true),
            ("kubeconfig", true),
            ("uri", true),
            ("registry_credentials", true),
            ("key", true),
            ("public_key", false),
            ("ssh_key", false),
            ("ssh_keys", false),
            ("max_tokens", false), // a count
            ("next_page_token", false),
            ("allow_credentials", false), // a rule of CORS
            ("name", false),
        ];
        for (name, secret) in cases {
            assert_eq!(sounds_secret(name), secret, "name {name:?}");
        }
    }

    #[test]
    fn what_is_no_specification_is_told() {
        let cases = [
            (
                "{",
                "it is no JSON: EOF while parsing an object at line 1 column 1",
            ),
            ("a: [", "s.yaml:"),
            (
                "a: 1",
                "it has no `paths`, so it is no OpenAPI specification with operations",
            ),
            (
                "paths: {}",
                "it has no `paths`, so it is no OpenAPI specification with operations",
            ),
            (
                "paths:\n  /v2/x:\n    $ref: x.yaml",
                "it refers to `x.yaml`, which is not in it",
            ),
            (
                "paths:\n  /v2/x:\n    $ref: '#/x'\nx:\n  $ref: '#/x'",
                "what it refers to grows beyond any API",
            ),
        ];
        for (text, expected) in cases {
            let said = read("s.yaml", text).unwrap_err().to_string();
            assert!(said.starts_with(expected), "{text:?}: {said}");
        }
    }
}
