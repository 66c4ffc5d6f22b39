//! The order in which a request is decided: what its head tells, then its body, then what it touches.
//!
//! The daemon takes these steps one by one, since between them it waits for a body and for facts; `explain`, the policy's tests and
//! what is learned from a record have the whole request at hand and take them at once. Nobody else decides.

use super::bind::Grants;
use super::decide::{Allowed, Decision};
use super::within::{decide, precheck};
use crate::catalog::{Catalog, Method};
use crate::refusal::Refusal;
use crate::request::Asked;
use crate::resource::Touch;

/// Refuses what the head alone refuses, by the catalogue and then by scopes: that costs no byte of a body.
///
/// # Errors
/// The refusal.
pub fn by_head(grants: &Grants, asked: &Asked<'_>, catalog: &Catalog) -> Result<(), Refusal> {
    asked.fits(catalog)?;
    precheck(grants, asked, catalog)
}

/// Refuses what head and body refuse before anything is known of what is touched, and hands the request on with its body read. A
/// GET has none: what a client sends with it is dropped.
///
/// # Errors
/// The refusal.
pub fn by_request<'c>(
    grants: &Grants,
    mut asked: Asked<'c>,
    body: Option<&[u8]>,
    catalog: &Catalog,
) -> Result<Asked<'c>, Refusal> {
    by_head(grants, &asked, catalog)?;
    if let Some(body) = body.filter(|body| asked.method != Method::Get && !body.is_empty()) {
        asked.take_body(body, catalog)?;
        asked.fits(catalog)?;
    }
    Ok(asked)
}

/// The decision by what is touched, which is nothing where scopes alone decide.
///
/// # Errors
/// The refusal.
pub fn by_touches(
    grants: &Grants,
    asked: &Asked<'_>,
    touches: &[Touch],
    catalog: &Catalog,
) -> Result<Allowed, Refusal> {
    match decide(grants, asked, touches, catalog) {
        Decision::Allow(allowed) => Ok(allowed),
        Decision::Deny(refusal) => Err(refusal),
    }
}
