use std::sync::Arc;

use super::bind::Grants;
use super::decide::{Allowed, Question};
use crate::catalog::{Endpoint, Place};
use crate::refusal::{Code, Refusal};
use crate::request::{Json, Unheard, Why};

/// How body and query of a request that was allowed go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sent {
    /// As they came: no grant of the token is narrowed, or what covers the request by itself is not.
    Whole,
    /// What the catalogue knows of them, which is all that they say.
    Known,
}

impl Question<'_> {
    /// Refuses a body in which members can't be looked at one by one, for a token that is narrowed.
    pub(super) fn says_members(&self, grants: &Grants) -> Result<(), Refusal> {
        let in_members = matches!(self.asked.body, None | Some(Json::Map(_) | Json::Null));
        if !grants.has_only || self.asked.endpoint.is_none() || in_members {
            return Ok(());
        }
        let why = "the body is no JSON object, so what it names can't be told; send an object, as the reference has it";
        Err(Refusal::new(Code::AmbiguousRequest, why))
    }

    /// Refuses a member or parameter that the catalogue does not know, for a token that is narrowed: it could name anything.
    pub(super) fn says_what_is_known(
        &self,
        grants: &Grants,
        mut allowed: Allowed,
    ) -> Result<Allowed, Refusal> {
        let Some(endpoint) = self.asked.endpoint else {
            return Ok(allowed); // a `requests` pattern let it through, and says all that is known of it
        };
        if !grants.has_only {
            return Ok(allowed);
        }
        let unknown = self.unknown_member(endpoint);
        let unknown = unknown.or_else(|| self.unknown_parameter(endpoint));
        allowed.sent = match unknown {
            None => Sent::Known,
            Some(_) if self.covered_unnarrowed(grants) => Sent::Whole,
            Some(refusal) => return Err(refusal),
        };
        Ok(allowed)
    }

    fn unknown_member(&self, endpoint: &Endpoint) -> Option<Refusal> {
        let body = self.asked.body.as_ref()?;
        let Unheard { at, why } = body.only(&endpoint.body, &endpoint.left_out).err()?;
        Some(match why {
            Why::Unknown => unknown(endpoint, &format!("body.{at}"), &format!("body: ['{at}']")),
            Why::OtherShape => Refusal::new(
                Code::FieldUnknown,
                format!(
                    "`body.{at}` of {endpoint} holds something else than the reference has there, and a narrowed sub-token sends only what tidegate can look into; write it as the reference does"
                ),
            ),
        })
    }

    fn unknown_parameter(&self, endpoint: &Endpoint) -> Option<Refusal> {
        if endpoint.reads() {
            return None; // it stays behind: what is shown is judged by itself
        }
        let mut query = self.asked.target.query().iter();
        let (name, _) = query.find(|(name, value)| {
            !value.is_empty() && !endpoint.knows_parameter(name) && !PAGE.contains(&name.as_str())
        })?;
        let place = Place::Query(name.clone());
        Some(unknown(
            endpoint,
            &place.to_string(),
            &format!("query: ['{name}']"),
        ))
    }

    /// Whether one grant that is not narrowed allows the whole request by itself, and no deny would have to know what the
    /// request names.
    fn covered_unnarrowed(&self, grants: &Grants) -> bool {
        let by_itself = |grant: &Arc<super::BoundGrant>| {
            let alone = Grants {
                allow: vec![grant.clone()],
                deny: Vec::new(),
                account: String::new(),
                has_only: false,
            };
            grant.only.is_none() && self.by_scopes(&alone).is_ok()
        };
        grants.denying().all(|deny| deny.only.is_none()) && grants.allow.iter().any(by_itself)
    }
}

/// Parameters that libcloud sends with every method.
const PAGE: [&str; 2] = ["page", "per_page"];

fn unknown(endpoint: &Endpoint, place: &str, row: &str) -> Refusal {
    Refusal::new(
        Code::FieldUnknown,
        format!(
            "`{place}` of {endpoint} is not known to tidegate, and a narrowed sub-token sends only what is; leave it out, or have `{endpoint}: {{ {row} }}` put under `members` of `catalog.extra`"
        ),
    )
}
