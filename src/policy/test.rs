use futures_util::FutureExt;

use super::Policy;
use super::bind::{Grants, Vars, bind};
use super::decide::Decision;
use super::interest::InRequest;
use super::within::{decide, wants_touches};
use crate::catalog::{Catalog, Method};
use crate::refusal::Refusal;
use crate::request::{Asked, Json, Target};
use crate::resource::{Given, Touch, resolve};
use crate::yaml::At;

/// One of the policy's own tests.
#[derive(Debug)]
pub struct PolicyTest {
    /// Where it stands.
    pub at: At,
    /// The role that asks.
    pub role: String,
    /// Its variables.
    pub vars: Vars,
    /// `METHOD /path?query`.
    pub request: String,
    /// The body.
    pub body: Option<Json>,
    /// The facts: what there is, and nothing else.
    pub given: Given,
    /// Whether it is to be allowed.
    pub allowed: bool,
    /// The code that it is to be refused with.
    pub reason: Option<String>,
}

/// Runs one test against the policy it stands in.
///
/// # Errors
/// What went otherwise than expected, in a sentence.
pub fn run(test: &PolicyTest, policy: &Policy, catalog: &Catalog) -> Result<(), String> {
    let decision = judge(test, policy, catalog)?;
    match (decision, test.allowed) {
        (Decision::Allow(_), true) => Ok(()),
        (Decision::Allow(allowed), false) => Err(format!(
            "test failed: `{}` by role `{}` is allowed by `{}`, expected deny",
            test.request,
            test.role,
            allowed.place()
        )),
        (Decision::Deny(refusal), true) => Err(format!(
            "test failed: `{}` by role `{}` is refused ({refusal}), expected allow",
            test.request, test.role
        )),
        (Decision::Deny(refusal), false) => match &test.reason {
            Some(reason) if reason != refusal.code.as_str() => Err(format!(
                "test failed: `{}` by role `{}` is refused with `{}`, expected `{reason}`",
                test.request, test.role, refusal.code
            )),
            Some(_) | None => Ok(()),
        },
    }
}

/// What the policy says to the request of a test.
///
/// # Errors
/// Why it can't be told: there is no such role, or no such request.
pub fn judge(test: &PolicyTest, policy: &Policy, catalog: &Catalog) -> Result<Decision, String> {
    let grants = bind(policy, std::slice::from_ref(&test.role), &test.vars)
        .map_err(|error| format!("the test can't run: {error}"))?;
    judge_by(test, &grants, catalog)
}

/// What these grants say to the request of a test, whatever role that names.
///
/// # Errors
/// Why it can't be told: there is no such request.
pub fn judge_by(test: &PolicyTest, grants: &Grants, catalog: &Catalog) -> Result<Decision, String> {
    Ok(match asked(test, catalog)? {
        Ok(asked) => judge_asked(&asked, &test.given, grants, catalog),
        Err(refusal) => Decision::Deny(refusal),
    })
}

/// The request of a test; a refusal where it is one for every token.
///
/// # Errors
/// Why it can't be told: there is no such request.
pub fn asked<'c>(
    test: &PolicyTest,
    catalog: &'c Catalog,
) -> Result<Result<Asked<'c>, Refusal>, String> {
    let (method, target) = test
        .request
        .split_once(' ')
        .ok_or("the test can't run: a request is `METHOD /path`")?;
    let method: Method = method
        .parse()
        .map_err(|error| format!("the test can't run: {error}"))?;
    let target = Target::read(target).map_err(|error| format!("the test can't run: {error}"))?;
    let mut asked = Asked::new(method, target, catalog);
    let body = test.body.as_ref().map(Json::write);
    let read = match body {
        Some(body) => asked.take_body(&body, catalog).map(|_| ()),
        None => Ok(()),
    };
    let fits = read.and_then(|()| asked.fits(catalog));
    Ok(fits.map(|()| asked))
}

/// What these grants say to a request, by facts that are given.
pub fn judge_asked(
    asked: &Asked<'_>,
    given: &Given,
    grants: &Grants,
    catalog: &Catalog,
) -> Decision {
    match touches(grants, asked, given, catalog) {
        Ok(touches) => decide(grants, asked, &touches, catalog),
        Err(refusal) => Decision::Deny(refusal),
    }
}

/// What a request touches, by facts that are given.
///
/// # Errors
/// The refusal where the request names what can't be.
pub fn touches(
    grants: &Grants,
    asked: &Asked<'_>,
    given: &Given,
    catalog: &Catalog,
) -> Result<Vec<Touch>, Refusal> {
    if !wants_touches(grants, asked) {
        return Ok(Vec::new());
    }
    let interest = InRequest {
        grants,
        asked,
        catalog,
        defers: false,
    };
    // Facts that are given are there at once.
    let resolved = resolve(asked, catalog, &interest, given).now_or_never();
    resolved.unwrap_or_else(|| Ok(Vec::new()))
}
