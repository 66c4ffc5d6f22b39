use serde_json::Value;

use super::super::form::Form;
use super::super::reply::Trouble;

/// A token to be, as it was asked for: what `token issue` takes.
#[derive(Default)]
pub(super) struct New {
    pub name: String,
    pub roles: Vec<String>,
    /// Options of the command, each with its value.
    options: Vec<(&'static str, String)>,
}

/// The options that the console takes: as a form and JSON name them, and the command's own.
const OPTIONS: [(&str, &str); 9] = [
    ("expires", "--expires"),
    ("expires_at", "--expires-at"),
    ("not_before", "--not-before"),
    ("idle", "--idle"),
    ("max_uses", "--max-uses"),
    ("client_cert", "--client-cert"),
    ("rate", "--rate"),
    ("description", "--description"),
    ("owner", "--owner"),
];

impl New {
    /// Of a form.
    pub fn of_form(form: &Form) -> Self {
        let mut new = Self {
            name: form.one("name").unwrap_or_default().to_owned(),
            roles: form.all("role").map(str::to_owned).collect(),
            options: Vec::new(),
        };
        for (field, option) in OPTIONS {
            let given = form.one(field).map(|text| (option, text.to_owned()));
            new.options.extend(given);
        }
        let words = |field: &str| {
            let texts = form.all(field).flat_map(str::lines);
            let texts = texts.map(str::trim).filter(|text| !text.is_empty());
            texts.map(str::to_owned).collect::<Vec<_>>()
        };
        let sources = words("sources");
        let sources = sources.iter().flat_map(|line| line.split([',', ' ']));
        let sources = sources.filter(|source| !source.is_empty());
        new.options
            .extend(sources.map(|source| ("--from", source.to_owned())));
        new.options
            .extend(words("vars").into_iter().map(|pair| ("--var", pair)));
        new
    }

    /// Of JSON.
    pub fn of_json(given: &Value) -> Result<Self, Trouble> {
        let mut new = Self::default();
        for (key, value) in given.as_object().into_iter().flatten() {
            let wrong = || {
                Trouble::Bad(format!(
                    "`{key}` has no value that it can have; the description at /api/v1/openapi.json says which"
                ))
            };
            let texts = || -> Option<Vec<String>> {
                value
                    .as_array()?
                    .iter()
                    .map(|text| Some(text.as_str()?.to_owned()))
                    .collect()
            };
            match key.as_str() {
                _ if value.is_null() => {}
                "name" => value.as_str().ok_or_else(wrong)?.clone_into(&mut new.name),
                "roles" => new.roles = texts().ok_or_else(wrong)?,
                "sources" => {
                    let sources = texts().ok_or_else(wrong)?;
                    if sources.is_empty() {
                        return Err(Trouble::Bad("`sources` is empty, and a token from nowhere is of no use; leave it out for one from anywhere".to_owned()));
                    }
                    new.options
                        .extend(sources.into_iter().map(|source| ("--from", source)));
                }
                "vars" => {
                    for (name, value) in value.as_object().ok_or_else(wrong)? {
                        let value = value.as_str().ok_or_else(wrong)?;
                        new.options.push(("--var", format!("{name}={value}")));
                    }
                }
                known => {
                    let option = OPTIONS.iter().find(|(name, _)| *name == known);
                    let (_, option) = option.ok_or_else(|| Trouble::Bad(format!("`{key}` is nothing that a sub-token has; the description at /api/v1/openapi.json says what there is")))?;
                    let text = match value {
                        Value::String(text) => text.clone(),
                        Value::Number(number) => number.to_string(),
                        _ => return Err(wrong()),
                    };
                    new.options.push((option, text));
                }
            }
        }
        Ok(new)
    }

    /// As the command takes it. Each value stands with its option, so that none is taken for another.
    pub fn arguments(&self) -> Vec<String> {
        let roles = self.roles.iter().map(|role| format!("--role={role}"));
        let options = self
            .options
            .iter()
            .map(|(option, value)| format!("{option}={value}"));
        let name = ["--".to_owned(), self.name.clone()];
        roles.chain(options).chain(name).collect()
    }
}
