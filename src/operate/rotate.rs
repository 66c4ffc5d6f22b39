use jiff::Timestamp;

use super::{Failed, ShownToken};
use crate::state::Store;
use crate::token::SubToken;
use crate::units::Span;

/// Gives a token a new secret; until when the old one is valid.
///
/// # Errors
/// Why it has none: it stands in the policy file, or was revoked.
pub(crate) fn rotate_found(
    state: &mut dyn Store,
    found: &ShownToken,
    grace: Option<Span>,
) -> Result<(SubToken, Option<Timestamp>), Failed> {
    let now = Timestamp::now();
    if found.of_policy {
        return Err(Failed::because(format!(
            "the token `{}` is listed in the policy file by its hash; issue another with `--yaml` and replace its entry",
            found.name
        )));
    }
    if found.revoked_at.is_some() {
        return Err(Failed::because(format!(
            "the token `{}` was revoked; issue a new one",
            found.name
        )));
    }
    let token = SubToken::with_id(&found.id)
        .map_err(|error| Failed::because(format!("the system gives no random bytes: {error}")))?;
    let grace = grace
        .map(|span| now.saturating_add(span.duration()))
        .transpose()
        .map_err(Failed::because)?;
    state
        .rotate(&found.id, &token.hash(), grace)
        .map_err(Failed::because)?;
    Ok((token, grace))
}
