//! `suggest`: from the record, the least role that still works.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use tokio::runtime::{Builder, Runtime};

use super::search::{Since, of_configuration};
use super::{Failed, Outcome, print, say, values};
use crate::catalog::{Catalog, Kind, KindId};
use crate::facts::{self, Reader};
use crate::learn::{LookUps, NarrowBy, Options, ResourceFacts, Suggested, suggest};
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
    by: NarrowBy,
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
    by: NarrowBy,
    goes_on: impl FnOnce(Option<&LookUps<'_>>) -> Result<T, Failed>,
) -> Result<T, Failed> {
    let token = rules
        .real_token("default")
        .or_else(|| rules.real_tokens().next());
    let upstream = Upstream::new(&rules.settings.upstream, Arc::<Metrics>::default());
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (Some(token), Ok(upstream)) = (token, upstream) else {
        return goes_on(None);
    };
    let facts = facts::Facts::default();
    let looked_up = LookedUp {
        reader: Reader::new(
            &facts,
            &upstream,
            token,
            catalog,
            rules.generation,
            false,
            "",
        ),
        runtime,
        catalog,
        by,
    };
    goes_on(Some(&LookUps {
        one: &|kind, id| looked_up.one(kind, id),
        all: &|kind| looked_up.all(kind),
    }))
}

/// Looks up what resources are like, and waits for it.
struct LookedUp<'l> {
    reader: Reader<'l>,
    runtime: Runtime,
    catalog: &'l Catalog,
    by: NarrowBy,
}

impl LookedUp<'_> {
    fn one(&self, kind: KindId, id: &str) -> Option<ResourceFacts> {
        let kind = self.outermost(kind).filter(|kind| kind.get.is_some())?;
        let name = kind.name(id, self.catalog.kinds())?;
        let found = self.runtime.block_on(self.reader.one(kind, &[], &name));
        Some(self.told(kind, Some(id), &found.ok()??))
    }

    fn all(&self, kind: KindId) -> Option<Vec<ResourceFacts>> {
        let kind = self.outermost(kind).filter(|kind| kind.list.is_some())?;
        let found = self.runtime.block_on(self.reader.every(kind)).ok()??;
        let told = found.iter().map(|found| self.told(kind, None, found));
        Some(told.collect())
    }

    /// A kind whose resources stand under no others: those can be looked up by their ids alone.
    fn outermost(&self, kind: KindId) -> Option<&Kind> {
        let kind = self.catalog.kinds().of(kind);
        kind.parent.is_none().then_some(kind)
    }

    fn told(&self, kind: &Kind, id: Option<&str>, found: &Found) -> ResourceFacts {
        let values = |attribute: &str| {
            let known = found.attributes.get(attribute);
            let known = known.filter(|_| kind.has(attribute));
            known.map(|known| known.values.clone()).unwrap_or_default()
        };
        let id = id.map(str::to_owned);
        let id = id.or_else(|| values("id").into_iter().next());
        ResourceFacts {
            name: values("name").into_iter().next(),
            tags: values("tag"),
            project: id.and_then(|id| self.project_of(kind, &id)),
        }
    }

    /// The project of a resource, where the role is to be narrowed by that: it takes a look-up of its own.
    fn project_of(&self, kind: &Kind, id: &str) -> Option<String> {
        if self.by != NarrowBy::Project || !kind.has("project") {
            return None;
        }
        let urn = urn_of(kind, id)?;
        let known = self.reader.project_of(&urn, &|_| true);
        let known = self.runtime.block_on(known).ok()?;
        known.values.into_iter().next()
    }
}
