use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Gate;
use super::authenticate::Grantee;
use super::final_line::FinalLine;
use crate::catalog::{Scope, ScopeSet};
use crate::identify::Client;
use crate::policy::Grants;
use crate::refusal::Refusal;
use crate::request::{HolderEndpoint, Target};
use crate::response::{Answer, made};
use crate::rules::Serving;
use crate::secret::SecretHash;
use crate::token::Source;
use crate::token::TokenId;

/// A request for something of tidegate's own.
pub(super) struct OwnRequest<'a> {
    pub target: &'a Target,
    pub headers: &'a HeaderMap,
    pub body: Incoming,
    pub grantee: Grantee,
    pub serving: Arc<Serving>,
    pub client: &'a Client,
}

impl Gate {
    /// Answers what is tidegate's own to answer.
    pub(super) async fn own(
        &self,
        endpoint: HolderEndpoint,
        asked: OwnRequest<'_>,
        line: &mut FinalLine,
    ) -> Result<Answer, Refusal> {
        match endpoint {
            HolderEndpoint::Whoami => Ok(json_answer(&whoami(&asked.grantee, &asked.serving))),
            HolderEndpoint::TokenInfo => {
                Ok(json_answer(&token_info(&asked.grantee, &asked.serving)))
            }
            HolderEndpoint::MakeChild => self.make_child(asked, line).await,
            HolderEndpoint::ListChildren => {
                self.list_children(&asked.grantee, &asked.serving).await
            }
            HolderEndpoint::End => self.end(&asked, line).await,
        }
    }
}

pub(super) fn json_answer(value: &Value) -> Answer {
    let headers =
        HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    made(StatusCode::OK, headers, value.to_string().into_bytes())
}

/// The caller's own token, as it stands.
fn whoami(grantee: &Grantee, serving: &Serving) -> Value {
    let limits = grantee.kept.limits();
    let sources = limits
        .sources
        .as_ref()
        .map(|sources| sources.iter().map(Source::to_string).collect::<Vec<_>>());
    let within = grantee.grants.within.iter().flat_map(|set| &set.allow);
    let within: Vec<_> = within.map(|grant| grant.written()).take(1).collect();
    let grants: Vec<_> = grantee
        .grants
        .allow
        .iter()
        .map(|grant| grant.written())
        .collect();
    let in_force = grantee.grants.alone.is_some();
    let ceiling = grantee.kept.ceiling().filter(|_| in_force);
    let denied: Vec<_> = grantee
        .grants
        .deny
        .iter()
        .map(|grant| grant.written())
        .collect();
    json!({
        "id": grantee.id.as_str(),
        "name": grantee.kept.name(),
        "roles": grantee.kept.roles(),
        "scopes": scopes(grantee, serving),
        "grants": grants,
        "denied": denied,
        "within": within,
        "parent": grantee.parent.as_ref().map(|parent| parent.kept.name()),
        "sources": sources,
        "client_cert": limits.client_cert.as_ref().map(ToString::to_string),
        "expires_at": limits.expires_at.map(|end| end.to_string()),
        "uses_left": limits.max_uses.map(|most| most.saturating_sub(grantee.activity.usage().used)),
        "account": &*grantee.grants.account,
        "ceiling": ceiling.map(|ceiling| &ceiling.role),
        "report_until": ceiling.map(|ceiling| ceiling.until.to_string()),
    })
}

/// What DigitalOcean answers here. `doctl auth init --token-validation-server` reads numbers where numbers belong, and fails on
/// anything else.
fn token_info(grantee: &Grantee, serving: &Serving) -> Value {
    let left = grantee
        .kept
        .limits()
        .expires_at
        .map(|end| end.duration_since(grantee.now()).as_secs().max(0));
    json!({
        "resource_owner_id": owner_number(&grantee.id),
        "scopes": scopes(grantee, serving),
        "expires_in_seconds": left,
        "created_at": grantee.kept.since().map(Timestamp::as_second),
    })
}

/// A number for a sub-token, always the same: of 31 bits, so that a client with small integers takes it too.
fn owner_number(id: &TokenId) -> u32 {
    let hash = SecretHash::of(id.as_bytes());
    let first = hash.as_bytes().iter().take(4);
    first.fold(0, |number: u32, byte| number << 8 | u32::from(*byte)) >> 1
}

/// Every scope that a grant gives, over whatever it is narrowed to, and that a token does not leave out of itself.
fn scopes(grantee: &Grantee, serving: &Serving) -> Vec<String> {
    let of_set = |set: &Grants| {
        let mut held = ScopeSet::default();
        let grants = set.allow.iter();
        grants
            .filter_map(|grant| grant.scopes())
            .for_each(|scopes| held.add(scopes));
        held
    };
    let by_scope = |set: &&Grants| set.allow.iter().any(|grant| grant.scopes().is_some());
    let mut sets = grantee.grants.sets().filter(by_scope).map(of_set);
    let first = sets.next().unwrap_or_default();
    let held = sets.fold(first, |held, set| {
        let left_out = held.without(&set);
        held.without(&left_out)
    });
    let table = serving.rules.catalog.scopes();
    let mut names: Vec<_> = table.names(&held).map(Scope::to_string).collect();
    names.sort_unstable();
    names
}
