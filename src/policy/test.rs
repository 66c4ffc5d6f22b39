use futures_util::FutureExt;

use super::Policy;
use super::bind::{Grants, Vars, bind};
use super::decide::Allowed;
use super::interest::InRequest;
use super::verdict::{by_request, by_touches};
use super::within::wants_touches;
use crate::catalog::{Catalog, Method};
use crate::refusal::Refusal;
use crate::request::{Asked, Headed, Json, Target};
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

/// What a test's request comes to: the grant that lets it through, or the refusal.
pub type Told = Result<String, Refusal>;

/// Runs one test against the policy it stands in.
///
/// # Errors
/// What went otherwise than expected, in a sentence.
pub fn run(test: &PolicyTest, policy: &Policy, catalog: &Catalog) -> Result<(), String> {
    match (judge(test, policy, catalog)?, test.allowed) {
        (Ok(_), true) => Ok(()),
        (Ok(place), false) => Err(format!(
            "test failed: `{}` by role `{}` is allowed by `{place}`, expected deny",
            test.request, test.role
        )),
        (Err(refusal), true) => Err(format!(
            "test failed: `{}` by role `{}` is refused ({refusal}), expected allow",
            test.request, test.role
        )),
        (Err(refusal), false) => match &test.reason {
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
pub fn judge(test: &PolicyTest, policy: &Policy, catalog: &Catalog) -> Result<Told, String> {
    let grants = bind(policy, std::slice::from_ref(&test.role), &test.vars)
        .map_err(|error| format!("the test can't run: {error}"))?;
    judge_by(test, &grants, catalog)
}

/// What these grants say to the request of a test, whatever role that names.
///
/// # Errors
/// Why it can't be told: there is no such request.
pub fn judge_by(test: &PolicyTest, grants: &Grants, catalog: &Catalog) -> Result<Told, String> {
    let asked = match headed(test, catalog)? {
        Ok(Headed::Api(asked)) => asked,
        Ok(Headed::Own(held, _)) if held.is_for_all() => return Ok(Ok(OWN.to_owned())),
        Ok(Headed::Own(..)) => {
            return Err("the test can't run: what is made or ended there hangs on more than a role; test what the role allows of the API".to_owned());
        }
        Err(refusal) => return Ok(Err(refusal)),
    };
    let body = test.body.as_ref().map(Json::write);
    let asked = by_request(grants, asked, body.as_deref(), catalog);
    Ok(asked.and_then(|asked| judge_asked(&asked, &test.given, grants, catalog)))
}

/// What lets every sub-token ask what tidegate itself answers, as a verdict tells it.
pub const OWN: &str = "every sub-token";

fn headed<'c>(
    test: &PolicyTest,
    catalog: &'c Catalog,
) -> Result<Result<Headed<'c>, Refusal>, String> {
    let (method, target) = test
        .request
        .split_once(' ')
        .ok_or("the test can't run: a request is `METHOD /path`")?;
    let method: Method = method
        .parse()
        .map_err(|error| format!("the test can't run: {error}"))?;
    let target = Target::read(target).map_err(|error| format!("the test can't run: {error}"))?;
    Ok(Headed::read(method, target, catalog))
}

/// The request of a test, for who asks several grants about it; `None` where it is refused to every token, or tidegate's own.
pub fn asked<'c>(test: &PolicyTest, catalog: &'c Catalog) -> Option<Asked<'c>> {
    let Ok(Ok(Headed::Api(mut asked))) = headed(test, catalog) else {
        return None;
    };
    if let Some(body) = &test.body {
        asked.take_body(&body.write(), catalog).ok()?;
    }
    asked.fits(catalog).ok()?;
    Some(asked)
}

/// What these grants say to a request, by facts that are given.
///
/// # Errors
/// The refusal.
pub fn judge_asked(asked: &Asked<'_>, given: &Given, grants: &Grants, catalog: &Catalog) -> Told {
    let allowed = decide_asked(asked, given, grants, catalog)?;
    Ok(allowed.place().to_string())
}

/// The same, with all that follows from it.
///
/// # Errors
/// The refusal.
pub fn decide_asked(
    asked: &Asked<'_>,
    given: &Given,
    grants: &Grants,
    catalog: &Catalog,
) -> Result<Allowed, Refusal> {
    let touches = touches(grants, asked, given, catalog)?;
    by_touches(grants, asked, &touches, catalog)
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
