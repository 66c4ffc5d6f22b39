//! `suggest`: from the record, the least role that still works.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::search::{Since, of_configuration};
use super::{Failed, Outcome, print, say, values};
use crate::catalog::{Catalog, Kind};
use crate::facts::{self, Reader};
use crate::learn::{By, Facts, LookUps, Options, Suggested, suggest};
use crate::metrics::Metrics;
use crate::operate::records;
use crate::resource::{Found, Look, urn_of};
use crate::rules::{self, Rules};
use crate::upstream::Upstream;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate suggest --token deploy --since 7d --name deploy > deploy.yaml && tidegate check --policy deploy.yaml\n\nExit status: 0 the role lets through all that was let through, 1 it does not."
)]
pub(super) struct Arguments {
    /// The files of the record, the oldest first; `-` is standard input. Without one: the file of the configuration and those that
    /// were moved away from it.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only requests of this sub-token, by name or id; repeatable.
    #[arg(long = "token", value_name = "NAME", add = values::tokens())]
    tokens: Vec<String>,
    /// Only requests from then on: a time, as `2027-01-31T00:00:00Z`, or how long ago, as `7d`.
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// Suggest only what this role of the policy lacks.
    #[arg(long, value_name = "ROLE", add = values::roles())]
    extends: Option<String>,
    /// What the role is called.
    #[arg(long, value_name = "ROLE", default_value = "suggested", value_parser = role_name)]
    name: String,
    /// By what it is narrowed.
    #[arg(long, value_enum, default_value_t)]
    by: By,
    /// Go by the record alone; without it, what the record does not tell of a resource is looked up in the API.
    #[arg(long)]
    offline: bool,
}

fn role_name(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || !text.bytes().all(fits) {
        return Err("names of roles are letters, digits, `-`, `_` and `.`".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    let paths = match arguments.files.as_slice() {
        [] => of_configuration(config)?,
        paths => paths.to_vec(),
    };
    let since = arguments.since.map(|Since(time)| time);
    let records = records(&paths, &arguments.tokens, since)?;
    let alone = !arguments.files.is_empty() && !config.exists();
    let rules = if alone || arguments.offline {
        None
    } else {
        Some(rules::load(config)?)
    };
    let catalog = match &rules {
        Some(rules) => rules.catalog.clone(),
        None if alone => Arc::new(rules::catalog(None)?),
        None => Arc::new(rules::catalog(
            rules::settings(config)?.extra_catalog.as_deref(),
        )?),
    };
    let policy = match &arguments.extends {
        Some(role) => Some((rules::policy(&rules::settings(config)?, &catalog)?, role)),
        None => None,
    };
    if let Some((policy, role)) = &policy
        && !policy.roles.contains_key(*role)
    {
        return Err(Failed::because(format!(
            "unknown role `{role}`; the policy does not have it"
        )));
    }
    let told = |look_ups: Option<&LookUps<'_>>| {
        let options = Options {
            name: arguments.name.clone(),
            by: arguments.by,
            extends: policy
                .as_ref()
                .map(|(policy, role)| (policy, (*role).clone())),
            look_ups,
        };
        suggest(records, &options, &catalog).map_err(Failed::because)
    };
    let suggested = match &rules {
        Some(rules) => with_look_ups(rules, &catalog, arguments.by, told)?,
        None => told(None)?,
    };
    tell(&suggested)
}

/// Prints the role, and says beside how it was tried.
fn tell(suggested: &Suggested) -> Result<Outcome, Failed> {
    print(suggested.yaml.trim_end())?;
    for (request, count) in &suggested.refused {
        say(format!(
            "refused then, and not counted: {request}, {count} times"
        ));
    }
    for (request, why, count) in &suggested.failing {
        say(format!("not allowed: {request}, {count} times: {why}"));
    }
    if suggested.unreadable > 0 {
        say(format!("{} lines are no records", suggested.unreadable));
    }
    let Suggested { allowed, total, .. } = suggested;
    say(format!("{allowed} of {total} requests allowed"));
    Ok(if allowed == total {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

/// Goes on with a way to look up what resources are like, with the real token of the account.
pub(super) fn with_look_ups<T>(
    rules: &Rules,
    catalog: &Catalog,
    by: By,
    goes_on: impl FnOnce(Option<&LookUps<'_>>) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let token = rules
        .real_token("default")
        .or_else(|| rules.real_tokens().next());
    let upstream = Upstream::new(&rules.settings.upstream, Arc::<Metrics>::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (Some(token), Ok(upstream)) = (token, upstream) else {
        return goes_on(None);
    };
    let facts = facts::Facts::default();
    let generation = rules.generation;
    let reader = Reader::new(
        &facts,
        &upstream,
        token,
        catalog,
        generation,
        upstream.metrics(),
        false,
        "",
    );
    let told = |kind: &Kind, id: Option<&str>, found: &Found| {
        let values = |attribute: &str| {
            let known = found
                .attributes
                .get(attribute)
                .filter(|_| kind.has(attribute));
            known.map(|known| known.values.clone()).unwrap_or_default()
        };
        let called = id.map(str::to_owned);
        let called = called.or_else(|| values("id").into_iter().next());
        let urn = called.filter(|_| by == By::Project && kind.has("project"));
        let urn = urn.and_then(|id| urn_of(kind, &id));
        let project = urn.and_then(|urn| runtime.block_on(reader.project_of(&urn, &|_| true)).ok());
        Facts {
            name: values("name").into_iter().next(),
            tags: values("tag"),
            project: project.and_then(|known| known.values.into_iter().next()),
        }
    };
    let outermost = |kind: &str| {
        let kind = catalog.kinds().find(kind);
        kind.filter(|kind| kind.parent.is_none())
    };
    let one = |kind: &str, id: &str| {
        let kind = outermost(kind).filter(|kind| kind.get.is_some())?;
        let name = kind.name(id, catalog.kinds())?;
        let found = runtime.block_on(reader.one(kind, &[], &name)).ok()??;
        Some(told(kind, Some(id), &found))
    };
    let all = |kind: &str| {
        let kind = outermost(kind).filter(|kind| kind.list.is_some())?;
        let found = runtime.block_on(reader.every(kind)).ok()??;
        Some(found.iter().map(|found| told(kind, None, found)).collect())
    };
    goes_on(Some(&LookUps {
        one: &one,
        all: &all,
    }))
}
