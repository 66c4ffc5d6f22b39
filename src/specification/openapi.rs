use std::collections::BTreeSet;
use std::sync::Arc;
use std::{fmt, io};

use serde_json::Value;

use super::members::DEEPEST;
use super::parts::{ReadBeside, SpecificationFiles};
use super::{MemberTree, Operation, Outline};
use crate::catalog::Method;

/// Why a text is no specification that can be compared.
#[derive(Debug)]
pub enum Unreadable {
    /// It is no JSON.
    Json(serde_json::Error),
    /// It is no YAML: lines with places.
    Yaml(Vec<String>),
    /// It has no `paths`.
    NoPaths,
    /// It points to nothing.
    Reference(String),
    /// It points to what is no file of its directory.
    Elsewhere(String),
    /// It can't be read at all.
    File(io::Error),
    /// A file that it points to is of no use.
    Part(String, Arc<Unreadable>),
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
            Self::Reference(to) => {
                write!(f, "it refers to `{to}`, which is not in it; {WHAT_TO_GIVE}")
            }
            Self::Elsewhere(to) => write!(
                f,
                "it refers to `{to}`, which is not in its directory, and nothing else is read; {WHAT_TO_GIVE}"
            ),
            Self::File(error) => write!(f, "it can't be read: {error}; {WHAT_TO_GIVE}"),
            Self::Part(file, why) => write!(f, "it refers to `{file}`, and of that: {why}"),
            Self::TooMuch => f.write_str("what it refers to grows beyond any API"),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Reads an OpenAPI specification, JSON or YAML, down to its outline, whether it is one file or refers to others beside it.
///
/// `file` is its name; `beside` reads a file by its way from the directory of that one (`resources/tags/tags_get.yml`).
///
/// # Errors
/// `Unreadable`, with the reason.
pub fn read(file: &str, text: &str, beside: ReadBeside<'_>) -> Result<Outline, Unreadable> {
    let parts = SpecificationFiles::read(file, text, beside)?;
    let mut reader = OpenApiReader {
        parts: &parts,
        left: MOST_SCHEMAS,
        open: Vec::new(),
    };
    let mut outline = Outline::default();
    let paths = reader.object(parts.whole(), "paths")?;
    if paths.is_empty() {
        return Err(Unreadable::NoPaths);
    }
    for (path, item) in paths
        .into_iter()
        .filter(|(path, _)| path.starts_with("/v2/"))
    {
        let item = reader.resolved(item)?;
        for (method, operation) in item.as_object().into_iter().flatten() {
            if let Ok(method) = method.to_uppercase().parse() {
                let operation = reader.resolved(operation)?;
                outline.add(reader.operation(method, path, item, operation)?);
            }
        }
    }
    Ok(outline)
}

struct OpenApiReader<'r> {
    parts: &'r SpecificationFiles,
    /// How many schemas may yet be looked at.
    left: usize,
    /// The references that are being followed.
    open: Vec<&'r str>,
}

impl<'r> OpenApiReader<'r> {
    /// What a value refers to, or the value.
    fn resolved(&self, value: &'r Value) -> Result<&'r Value, Unreadable> {
        let mut at = value;
        for _ in 0..DEEPEST {
            let Some(to) = at.get("$ref").and_then(Value::as_str) else {
                return Ok(at);
            };
            at = self.parts.target(to)?;
        }
        Err(Unreadable::TooMuch)
    }

    /// The members of a member, each of which may refer to something in turn.
    fn object(
        &self,
        value: &'r Value,
        key: &str,
    ) -> Result<Vec<(&'r String, &'r Value)>, Unreadable> {
        let found = value
            .get(key)
            .map(|found| self.resolved(found))
            .transpose()?;
        Ok(found
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .collect())
    }

    /// The items of a member.
    fn list(&self, value: &'r Value, key: &str) -> Result<Vec<&'r Value>, Unreadable> {
        let found = value
            .get(key)
            .map(|found| self.resolved(found))
            .transpose()?;
        Ok(found
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .collect())
    }

    fn operation(
        &mut self,
        method: Method,
        path: &str,
        item: &'r Value,
        said: &'r Value,
    ) -> Result<Operation, Unreadable> {
        let mut answer = MemberTree::default();
        for (status, response) in self.object(said, "responses")? {
            if status.starts_with('2') {
                self.content(self.resolved(response)?, &mut answer)?;
            }
        }
        let mut body = MemberTree::default();
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
            scopes: self.scopes(said)?,
            query: self.query(item, said)?,
            body,
            secrets: answer.only(sounds_secret),
            deprecated: is_true(said, "deprecated"),
        })
    }

    fn query(&self, item: &'r Value, said: &'r Value) -> Result<MemberTree, Unreadable> {
        let mut query = MemberTree::default();
        let of_the_path = self.list(item, "parameters")?;
        for parameter in of_the_path
            .into_iter()
            .chain(self.list(said, "parameters")?)
        {
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

    fn content(&mut self, has: &'r Value, into: &mut MemberTree) -> Result<(), Unreadable> {
        for (_, content) in self.object(has, "content")? {
            if let Some(schema) = self.resolved(content)?.get("schema") {
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
        into: &mut MemberTree,
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
        self.schema(self.parts.target(to)?, required, depth + 1, into)?;
        self.open.pop();
        Ok(())
    }

    fn members(
        &mut self,
        schema: &'r Value,
        required: &BTreeSet<&'r str>,
        depth: usize,
        into: &mut MemberTree,
    ) -> Result<(), Unreadable> {
        let none = BTreeSet::new();
        let mut all = required.clone();
        let asked_for = self.list(schema, "required")?;
        all.extend(asked_for.into_iter().filter_map(Value::as_str));
        for (name, member) in self.object(schema, "properties")? {
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
        for part in self.list(schema, "allOf")? {
            self.schema(part, &all, depth + 1, into)?;
        }
        let one_of = self.list(schema, "oneOf")?;
        for part in one_of.into_iter().chain(self.list(schema, "anyOf")?) {
            let mut of_one = MemberTree::default();
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

    /// The sets of scopes of which one is asked for.
    fn scopes(&self, said: &'r Value) -> Result<Vec<BTreeSet<String>>, Unreadable> {
        let of = if said.get("security").is_some() {
            said
        } else {
            self.parts.whole()
        };
        let mut sets = Vec::new();
        for schemes in self.list(of, "security")? {
            let schemes = self.resolved(schemes)?.as_object().into_iter().flatten();
            let scopes = schemes.flat_map(|(_, scopes)| scopes.as_array().into_iter().flatten());
            let set: BTreeSet<_> = scopes
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
            if !set.is_empty() {
                sets.push(set);
            }
        }
        Ok(sets)
    }
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

fn is_true(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

const WHAT_TO_GIVE: &str = "give the file that DigitalOcean publishes whole, or `specification/DigitalOcean-public.v2.yaml` in a clone of its repository";

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
                "it refers to `x.yaml`, and of that: it can't be read: ",
            ),
            (
                "paths:\n  /v2/x:\n    $ref: '#/x'\nx:\n  $ref: '#/x'",
                "what it refers to grows beyond any API",
            ),
        ];
        for (text, expected) in cases {
            let said = read("s.yaml", text, &|_| Err(io::ErrorKind::NotFound.into()))
                .unwrap_err()
                .to_string();
            assert!(said.starts_with(expected), "{text:?}: {said}");
        }
    }
}
