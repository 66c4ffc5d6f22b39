use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::Failed;
use crate::facts::{Facts, Reader};
use crate::metrics::Metrics;
use crate::policy::{Grants, InRequest};
use crate::refusal::{Code, Refusal};
use crate::request::{Ambiguity, Asked};
use crate::resource::{Touch, resolve};
use crate::rules::{self, Rules};
use crate::upstream::Upstream;

/// Why there is no deciding grant to tell.
pub(super) enum NotTold {
    /// The request would be refused.
    Refused(Refusal),
    /// Whether it would can't be told from here.
    Unknown(Failed),
}

impl From<Refusal> for NotTold {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Ambiguity> for NotTold {
    fn from(error: Ambiguity) -> Self {
        Self::Refused(error.into())
    }
}

fn unknown(why: impl fmt::Display) -> NotTold {
    NotTold::Unknown(Failed::because(format!(
        "what the request touches can't be looked up: {why}; give the facts with `--resource FILE`, or run this where the daemon runs"
    )))
}

/// Everything by which the daemon would look things up, the real tokens among it.
pub(super) fn rules(config: &Path) -> Result<Rules, NotTold> {
    rules::load(config).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        unknown(lines.join("; "))
    })
}

/// What a request touches, by what the API says now: looked up as the daemon would, with the account's real token.
pub(super) fn touches(
    rules: &Rules,
    grants: &Grants,
    asked: &Asked<'_>,
) -> Result<Vec<Touch>, NotTold> {
    let token = rules
        .real_token(&grants.account)
        .ok_or_else(|| unknown("the account has no real token"))?;
    let upstream =
        Upstream::new(&rules.settings.upstream, Arc::<Metrics>::default()).map_err(unknown)?;
    let facts = Facts::default();
    let catalog = &rules.catalog;
    let reader = Reader::new(
        &facts,
        &upstream,
        token,
        catalog,
        rules.generation,
        false,
        "", // it made nothing
    );
    let interest = InRequest {
        grants,
        asked,
        catalog,
        defers: false,
    };
    // A thread of its own: who calls this may be run by another runtime.
    let resolved = std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            io::Result::Ok(runtime.block_on(resolve(asked, catalog, &interest, &reader)))
        });
        looking.join()
    });
    resolved
        .map_err(|_| unknown("looking it up failed"))?
        .map_err(unknown)?
        .map_err(|refusal| match refusal.code {
            Code::UpstreamUnreachable
            | Code::UpstreamTls
            | Code::UpstreamTimeout
            | Code::UpstreamBadAnswer => unknown(refusal.detail.unwrap_or(refusal.message)),
            _ => NotTold::Refused(refusal),
        })
}
