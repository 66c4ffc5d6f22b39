use std::collections::{BTreeMap, BTreeSet};

use clap::{Args, Subcommand};
use regex::{Captures, Regex};
use serde_json::{Value, json};

use super::{Failed, Outcome, print, print_table, values};
use crate::catalog::Catalog;
use crate::policy::{self, Covers, Policy};
use crate::yaml::{Mistakes, nearest};

macro_rules! template {
    ($name:literal) => {
        template!("roles", $name)
    };
    ($folder:literal, $name:literal) => {
        (
            $name,
            include_str!(concat!("../../examples/", $folder, "/", $name, ".yaml")),
        )
    };
}

/// The roles of `examples/roles` and `examples/kubernetes/roles`, each file a policy of its own with its tests.
const TEMPLATES: [(&str, &str); 22] = [
    template!("acme-dns"),
    template!("backup"),
    template!("kubernetes/roles", "cert-manager"),
    template!("kubernetes/roles", "cloud-controller"),
    template!("kubernetes/roles", "cluster-autoscaler"),
    template!("kubernetes/roles", "csi"),
    template!("ddclient"),
    template!("droplet-operator"),
    template!("kubernetes/roles", "external-dns"),
    template!("firewall-rules"),
    template!("mcp-read-only"),
    template!("one-project"),
    template!("own-droplets"),
    template!("packer"),
    template!("people"),
    template!("power-and-size"),
    template!("protect"),
    template!("read-only"),
    template!("registry-push"),
    template!("registry-repository"),
    template!("snapshots"),
    template!("terraform-project"),
];

/// Other names of some, by which they are looked for.
const ALSO: [(&str, &str); 2] = [
    ("acme", "acme-dns"),
    ("registry-pull", "registry-repository"),
];

#[derive(Subcommand)]
pub(super) enum Command {
    /// List the ready roles, and the variables that fill them.
    #[command(after_help = "Example:\n  tidegate template list")]
    List(TemplateList),
    /// Print one as a policy file with its tests; what is not filled in stays a variable, to be given with each token.
    #[command(
        after_help = "Example:\n  tidegate template show acme-dns --var domain=example.com > policy.yaml && tidegate check --policy policy.yaml"
    )]
    Show(Show),
}

#[derive(Args)]
pub(super) struct TemplateList {
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Show {
    /// Its name.
    #[arg(add = values::templates())]
    name: String,
    /// A variable to fill in, as `domain=example.com`; repeatable.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = crate::operate::variable)]
    vars: Vec<(String, String)>,
}

pub(super) fn run(command: &Command) -> Result<Outcome, Failed> {
    match command {
        Command::List(arguments) => list(arguments)?,
        Command::Show(arguments) => print(show(arguments)?.trim_end())?,
    }
    Ok(Outcome::Good)
}

/// All of them, by name.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    TEMPLATES.into_iter()
}

/// The text of a template.
pub(super) fn text(name: &str) -> Result<&'static str, Failed> {
    let also = ALSO.iter().find(|(also, _)| *also == name);
    let name = also.map_or(name, |(_, name)| name);
    let found = TEMPLATES.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| {
        let names: Vec<_> = TEMPLATES.iter().map(|(known, _)| *known).collect();
        let instead = nearest(name, names.iter().copied()).map_or_else(
            || format!("there are {}", names.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        Failed::because(format!("there is no template `{name}`; {instead}"))
    })
}

fn list(arguments: &TemplateList) -> Result<(), Failed> {
    let catalog = Catalog::builtin().map_err(Failed)?;
    let mut rows = Vec::new();
    for (name, text) in TEMPLATES {
        let policy = read(name, text, &catalog)?;
        let vars = variables(&policy);
        let roles: Vec<_> = policy.roles.keys().cloned().collect();
        rows.push((name, roles, vars, about(text)));
    }
    if arguments.json {
        let one = |(name, roles, vars, about): &(_, _, _, String)| json!({ "name": name, "roles": roles, "vars": vars, "description": about });
        return print(rows.iter().map(one).collect::<Value>());
    }
    let titles = ["NAME", "ROLES", "VARIABLES", "WHAT FOR"];
    let mut table = vec![titles.map(str::to_owned).to_vec()];
    table.extend(rows.into_iter().map(|(name, roles, vars, about)| {
        let vars: Vec<_> = vars.into_iter().collect();
        vec![name.to_owned(), roles.join(","), vars.join(","), about]
    }));
    print_table(&table)
}

/// The first sentence of the comment that it begins with, after the line for editors.
fn about(text: &str) -> String {
    let lines = text.lines().skip(1);
    let lines = lines.map_while(|line| line.strip_prefix("# "));
    let all = lines.collect::<Vec<_>>().join(" ");
    let end = all.find(". ").map_or(all.len(), |at| at + 1);
    let sentence = all.get(..end).unwrap_or(&all);
    sentence.trim_end_matches('.').to_owned()
}

fn show(arguments: &Show) -> Result<String, Failed> {
    let text = text(&arguments.name)?;
    let catalog = Catalog::builtin().map_err(Failed)?;
    let policy = read(&arguments.name, text, &catalog)?;
    let mut vars = BTreeMap::new();
    for (name, value) in &arguments.vars {
        may_stand(name, value, &policy)?;
        if vars.insert(name.as_str(), value.as_str()).is_some() {
            return Err(Failed::because(format!(
                "the variable `{name}` is given twice"
            )));
        }
    }
    if vars.is_empty() {
        return Ok(text.to_owned());
    }
    let filled = fill(text, &vars, &policy)?;
    proven(&arguments.name, &filled, &catalog)?;
    Ok(filled)
}

/// Reads one.
pub(super) fn read(name: &str, text: &str, catalog: &Catalog) -> Result<Policy, Failed> {
    let read = policy::read_alone(name, text, catalog);
    read.map_err(|mistakes| Failed(Mistakes::into_lines(mistakes)))
}

fn variables(policy: &Policy) -> BTreeSet<String> {
    let roles = policy.roles.values();
    roles.flat_map(|role| role.vars.iter().cloned()).collect()
}

/// A value that is written into a policy is read as what it looks like there: a variable's is taken literally, so what would be a
/// pattern is left to that.
fn may_stand(name: &str, value: &str, policy: &Policy) -> Result<(), Failed> {
    let known = variables(policy);
    if !known.contains(name) {
        let names: Vec<_> = known.into_iter().collect();
        let instead = match names.as_slice() {
            [] => "it has none".to_owned(),
            names => format!("it has {}", names.join(", ")),
        };
        return Err(Failed::because(format!(
            "this template has no variable `{name}`; {instead}"
        )));
    }
    let in_requests = policy
        .roles
        .values()
        .flat_map(|role| &role.allow)
        .any(|grant| {
            matches!(grant.covers, Covers::Requests(_))
                && grant
                    .written
                    .get("requests")
                    .is_some_and(|texts| texts.to_string().contains(&format!("${{{name}}}")))
        });
    let signs: &[u8] = if in_requests { b"_-" } else { b"_-.:@/" };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || signs.contains(&byte);
    if !value.bytes().all(fits) || !value.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(Failed::because(format!(
            "`{value}` can't be written in for `{name}`: it may mean more than itself there; leave the variable, and give the value with each token (`tidegate token issue … --var {name}=…`), where it is taken literally"
        )));
    }
    Ok(())
}

/// The text with values in place of variables, in its tests in place of what they give for them.
fn fill(text: &str, vars: &BTreeMap<&str, &str>, policy: &Policy) -> Result<String, Failed> {
    let at = text.find("\ntests:").unwrap_or(text.len());
    let (roles, tests) = text.split_at(at);
    let mut filled = filled_roles(roles, vars);
    filled.extend(filled_tests(tests, vars, policy)?);
    Ok(filled.join("\n") + "\n")
}

fn filled_roles(roles: &str, vars: &BTreeMap<&str, &str>) -> Vec<String> {
    let filled = |line: &str| {
        let mut line = match listed_vars(line) {
            None => line.to_owned(),
            Some(names) => {
                let left: Vec<_> = names.filter(|name| !vars.contains_key(name)).collect();
                if left.is_empty() {
                    return None;
                }
                let indent = line.len() - line.trim_start().len();
                format!("{:indent$}vars: [{}]", "", left.join(", "))
            }
        };
        for (name, value) in vars {
            line = line.replace(&format!("${{{name}}}"), value);
        }
        Some(line)
    };
    roles.lines().filter_map(filled).collect()
}

/// The variables that a line says a role has.
fn listed_vars(line: &str) -> Option<impl Iterator<Item = &str>> {
    let names = line.trim().strip_prefix("vars: [")?.strip_suffix(']')?;
    Some(names.split(", "))
}

fn filled_tests(
    tests: &str,
    vars: &BTreeMap<&str, &str>,
    policy: &Policy,
) -> Result<Vec<String>, Failed> {
    let samples = samples(vars, policy);
    let words: Vec<_> = samples.keys().map(|sample| regex::escape(sample)).collect();
    let compiled = |pattern: &str| Regex::new(pattern).map_err(Failed::because);
    let sample = compiled(&format!(r"\b(?:{})\b", words.join("|")))?;
    let given = compiled(r"vars: \{ ([^}]*) \}(?:, )?")?;
    let put_in = |found: &Captures<'_>| {
        let word = found.get(0).map_or("", |word| word.as_str());
        samples.get(word).copied().unwrap_or(word).to_owned()
    };
    let filled = |line: &str| {
        let without = given.replace(line, |found: &Captures<'_>| left_of(found, vars));
        if without.trim().is_empty() && !line.trim().is_empty() {
            return None;
        }
        Some(if words.is_empty() {
            without.into_owned()
        } else {
            sample.replace_all(&without, put_in).into_owned()
        })
    };
    Ok(tests.lines().skip(1).filter_map(filled).collect())
}

/// What is left of the variables that a test gives.
fn left_of(found: &Captures<'_>, vars: &BTreeMap<&str, &str>) -> String {
    let pairs = found.get(1).map_or("", |pairs| pairs.as_str()).split(", ");
    let is_left = |pair: &&str| !vars.contains_key(pair.split(':').next().unwrap_or_default());
    let left: Vec<_> = pairs.filter(is_left).collect();
    if left.is_empty() {
        return String::new();
    }
    let whole = found.get(0).map_or("", |all| all.as_str());
    let comma = if whole.ends_with(", ") { ", " } else { "" };
    format!("vars: {{ {} }}{comma}", left.join(", "))
}

/// What the tests give for the variables, each with the value that comes in its place.
fn samples<'v>(vars: &BTreeMap<&str, &'v str>, policy: &Policy) -> BTreeMap<String, &'v str> {
    let given = policy.tests.iter().flat_map(|test| &test.vars);
    given
        .filter_map(|(name, sample)| Some((sample.clone(), *vars.get(name.as_str())?)))
        .collect()
}

/// Checks that what was filled in reads, and that its tests pass.
fn proven(name: &str, text: &str, catalog: &Catalog) -> Result<(), Failed> {
    let policy = read(name, text, catalog)?;
    for test in &policy.tests {
        policy::run_test(test, &policy, catalog).map_err(|why| {
            Failed::because(format!(
                "the template `{name}` does not keep its tests with these values ({why}); leave the variables, and give the values with each token"
            ))
        })?;
    }
    Ok(())
}
