use std::str::FromStr;

use serde_json::Value;

use super::super::form::Form;
use super::super::reply::Trouble;
use crate::operate::{NewToken, TokenEnd, variable};

/// What JSON has under a name that is no value for it.
fn wrong(key: &str) -> Trouble {
    Trouble::Bad(format!(
        "`{key}` has no value that it can have; the description at /api/v1/openapi.json says which"
    ))
}

/// A value of that name, as people write it.
fn read<T: FromStr<Err: std::fmt::Display>>(name: &str, text: &str) -> Result<T, Trouble> {
    let read = text.parse::<T>();
    read.map_err(|error| Trouble::Bad(format!("`{name}` can't be `{text}`: {error}")))
}

/// Puts in what stands under a name that has one value.
fn put(new: &mut NewToken, name: &str, text: &str) -> Result<(), Trouble> {
    match name {
        "name" => text.clone_into(&mut new.name),
        "expires" => new.expires = Some(TokenEnd::In(read(name, text)?)),
        "expires_at" => new.expires = Some(TokenEnd::At(read(name, text)?)),
        "not_before" => new.not_before = Some(read(name, text)?),
        "idle" => new.idle = Some(read(name, text)?),
        "max_uses" => new.max_uses = Some(read(name, text)?),
        "client_cert" => new.client_cert = Some(read(name, text)?),
        "rate" => new.rate = Some(read(name, text)?),
        "description" => new.description = Some(text.to_owned()),
        "owner" => new.owner = Some(text.to_owned()),
        _ => {
            return Err(Trouble::Bad(format!(
                "`{name}` is nothing that a sub-token has; the description at /api/v1/openapi.json says what there is"
            )));
        }
    }
    Ok(())
}

/// The names that a form has one value of.
const SINGLE: [&str; 10] = [
    "name",
    "expires",
    "expires_at",
    "not_before",
    "idle",
    "max_uses",
    "client_cert",
    "rate",
    "description",
    "owner",
];

/// A token to be, of a form.
///
/// # Errors
/// What in it can't be.
pub(super) fn of_form(form: &Form) -> Result<NewToken, Trouble> {
    let mut new = NewToken {
        roles: form.all("role").map(str::to_owned).collect(),
        ..NewToken::default()
    };
    for name in SINGLE {
        if let Some(text) = form.one(name) {
            put(&mut new, name, text)?;
        }
    }
    let sources = form.all("sources");
    let sources = sources.flat_map(|text| text.split([',', ' ', '\n', '\r']));
    for source in sources.filter(|source| !source.is_empty()) {
        new.sources.push(read("sources", source)?);
    }
    let vars = form.all("vars").flat_map(str::lines).map(str::trim);
    for pair in vars.filter(|pair| !pair.is_empty()) {
        new.vars.push(variable(pair).map_err(Trouble::Bad)?);
    }
    both_ends(form.one("expires"), form.one("expires_at"))?;
    Ok(new)
}

/// A token to be, of JSON.
///
/// # Errors
/// What in it can't be.
pub(super) fn of_json(given: &Value) -> Result<NewToken, Trouble> {
    let mut new = NewToken::default();
    for (key, value) in given.as_object().into_iter().flatten() {
        match key.as_str() {
            _ if value.is_null() => {}
            "roles" => new.roles = texts(key, value)?,
            "sources" => {
                let sources = texts(key, value)?;
                if sources.is_empty() {
                    return Err(Trouble::Bad("`sources` is empty, and a token from nowhere is of no use; leave it out for one from anywhere".to_owned()));
                }
                for source in sources {
                    new.sources.push(read(key, &source)?);
                }
            }
            "vars" => {
                for (name, value) in value.as_object().ok_or_else(|| wrong(key))? {
                    let value = value.as_str().ok_or_else(|| wrong(key))?;
                    new.vars.push((name.clone(), value.to_owned()));
                }
            }
            "max_uses" if value.is_number() => put(&mut new, key, &value.to_string())?,
            key => put(&mut new, key, value.as_str().ok_or_else(|| wrong(key))?)?,
        }
    }
    both_ends(given.get("expires"), given.get("expires_at"))?;
    Ok(new)
}

/// That an end is given in one way alone.
fn both_ends<T>(expires: Option<T>, expires_at: Option<T>) -> Result<(), Trouble> {
    match (expires, expires_at) {
        (Some(_), Some(_)) => Err(Trouble::Bad(
            "`expires` and `expires_at` both say when it ends; give one of them".to_owned(),
        )),
        _ => Ok(()),
    }
}

fn texts(key: &str, value: &Value) -> Result<Vec<String>, Trouble> {
    let all = value.as_array().ok_or_else(|| wrong(key))?.iter();
    let text = |text: &Value| text.as_str().map(str::to_owned).ok_or_else(|| wrong(key));
    all.map(text).collect()
}
