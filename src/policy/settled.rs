//! Which requests are decided alike, so that what was decided of one may be kept for the next.

use super::bind::Grants;
use super::fields::Fields;
use super::within::wants_touches;
use crate::catalog::{Catalog, Method, TouchVerb};
use crate::request::Asked;

/// What of a read its decision depends on beside the grants and the endpoint: which of the grants that go by requests fit, a bit
/// for each. `None` where more decides: what it says beside its path, what it touches or hands out the like of, a ceiling, or what
/// a token says of itself.
///
/// INVARIANT: of two requests to one endpoint for which this is the same, the same grants decide the same, by the same scopes.
pub fn settled_by(grants: &Grants, asked: &Asked<'_>, catalog: &Catalog) -> Option<u64> {
    let endpoint = asked.endpoint?;
    let target = &asked.target;
    let says_its_path_alone =
        asked.method == Method::Get && target.query().is_empty() && asked.body.is_none();
    let by_one_set = grants.alone.is_none() && grants.within.is_empty();
    let mut rules = endpoint.touches.rules().iter();
    let has_source = rules.any(|rule| rule.verb == TouchVerb::Source);
    if !says_its_path_alone || !by_one_set || has_source || wants_touches(grants, asked) {
        return None;
    }
    Fields::new(grants, asked, catalog).by_requests()
}
