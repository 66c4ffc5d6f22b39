use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use jiff::Timestamp;

use super::final_line::FinalLine;
use super::serving::Serving;
use crate::audit::Token;
use crate::policy::{FileToken, Grants, Limits, Vars};
use crate::refusal::{Code, Refusal};
use crate::secret::SecretHash;
use crate::token::{
    Activity, Admission, Issued, Live, NoToken, Origin, SubToken, TokenId, Unavailable, admit,
};

/// A sub-token that may be used here and now, and what it holds.
pub struct Grantee {
    /// Its public part.
    pub id: TokenId,
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// The hash of the secret that was shown.
    hash: SecretHash,
    /// What it is bound to.
    pub limits: Limits,
    /// When it ends: its expiry, or the end of its grace if it was rotated.
    pub ends: Option<Timestamp>,
    /// What it holds.
    pub grants: Arc<Grants>,
    /// How it is being used.
    pub activity: Arc<Activity>,
}

/// Who asks, and whether they may here and now. Nothing else of the request is read for strangers.
pub(super) async fn authenticate(
    tokens: &Live,
    headers: &HeaderMap,
    from: Origin<'_>,
    serving: &Serving,
    line: &mut FinalLine,
) -> Result<Grantee, Refusal> {
    let token = bearer(headers)?;
    let hash = token.hash();
    let grantee = recognise(tokens, &token.id, hash, from, serving, line).await?;
    if let Some(rate) = grantee.limits.rate {
        grantee.activity.take_rate(rate).map_err(rate_limited)?;
    }
    Ok(grantee)
}

/// The same question again, under the rules of now: a body may have taken its time, and who held it back must not thereby
/// outlive an expiry, a revocation or a policy.
pub(super) async fn still(
    tokens: &Live,
    grantee: &Grantee,
    from: Origin<'_>,
    serving: &Serving,
    line: &mut FinalLine,
) -> Result<Grantee, Refusal> {
    recognise(tokens, &grantee.id, grantee.hash, from, serving, line).await
}

async fn recognise(
    tokens: &Live,
    id: &TokenId,
    hash: SecretHash,
    from: Origin<'_>,
    serving: &Serving,
    line: &mut FinalLine,
) -> Result<Grantee, Refusal> {
    let in_policy = serving.rules.file_token(id);
    let entry = tokens
        .entry(id, in_policy.is_some())
        .await
        .map_err(state_unavailable)?
        .unwrap_or_default();
    let now = Timestamp::now();
    let kept = Kept::matching(in_policy, entry.issued.as_deref(), &hash, now)
        .ok_or_else(|| unknown_token(None))?;
    line.record.token = Some(Token {
        id: id.to_string(),
        name: kept.name.to_owned(),
    });
    let activity = tokens.activity(id);
    let Kept {
        name,
        roles,
        vars,
        limits,
        since,
        grace,
    } = kept;
    admit(
        &Admission {
            limits,
            since,
            revoked_at: entry.revoked_at,
            usage: activity.usage(),
        },
        from,
        now,
    )?;
    let bound = activity.grants(serving.rules.generation, || {
        serving.rules.grants(roles, vars)
    });
    let grants = bound.map_err(|unbound| {
        Refusal::new(
            Code::RoleMissing,
            format!("this sub-token can't be used: {unbound}; ask its issuer for a new one"),
        )
        .detail(unbound)
    })?;
    line.record.account = Some(grants.account.clone());
    let ends = limits.expires_at.into_iter().chain(grace).min();
    Ok(Grantee {
        id: id.clone(),
        hash,
        name: name.to_owned(),
        roles: roles.to_owned(),
        limits: limits.clone(),
        ends,
        grants,
        activity,
    })
}

/// What is kept of a token, in the policy file or in the state.
struct Kept<'k> {
    name: &'k str,
    roles: &'k [String],
    vars: &'k Vars,
    limits: &'k Limits,
    since: Option<Timestamp>,
    grace: Option<Timestamp>,
}

impl<'k> Kept<'k> {
    /// The record whose secret this is. The one before a rotation counts for as long as its grace lasts.
    fn matching(
        in_policy: Option<&'k FileToken>,
        issued: Option<&'k Issued>,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Option<Self> {
        if let Some(FileToken {
            name,
            roles,
            vars,
            limits,
            ..
        }) = in_policy.filter(|listed| listed.hash.matches(hash))
        {
            return Some(Self {
                name,
                roles,
                vars,
                limits,
                since: None,
                grace: None,
            });
        }
        let issued = issued?;
        let grace = match &issued.old {
            _ if issued.hash.matches(hash) => None,
            Some((old, until)) if old.matches(hash) && now < *until => Some(*until),
            Some(_) | None => return None,
        };
        let Issued {
            name,
            roles,
            vars,
            limits,
            created_at,
            ..
        } = issued;
        Some(Self {
            name,
            roles,
            vars,
            limits,
            since: Some(*created_at),
            grace,
        })
    }
}

/// The sub-token of exactly one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<SubToken, Refusal> {
    const HOW: &str = "send `Authorization: Bearer tdg_v1_…`, once";
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value,
        (None, _) => {
            return Err(Refusal::new(
                Code::NoToken,
                format!("there is no sub-token; {HOW}"),
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::new(
                Code::NoToken,
                format!("there are two `Authorization` headers; {HOW}"),
            ));
        }
    };
    let text = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = text else {
        return Err(Refusal::new(
            Code::NoToken,
            format!("the `Authorization` header is no bearer token; {HOW}"),
        ));
    };
    SubToken::read(token.trim_matches(' ')).map_err(|error| match error {
        NoToken::Real => Refusal::new(Code::RealToken, "this is a real DigitalOcean token, and tidegate takes sub-tokens only; revoke it if it was meant to be kept from here"),
        NoToken::Form | NoToken::Checksum | NoToken::Id => unknown_token(Some(error)),
    })
}

fn unknown_token(why: Option<NoToken>) -> Refusal {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Refusal::new(
        Code::UnknownToken,
        format!("this is no sub-token that was issued here{why}; ask for a new one"),
    )
}

/// The state could not be read or written.
pub(super) fn state_unavailable(_: Unavailable) -> Refusal {
    Refusal::new(
        Code::StateUnavailable,
        "tidegate can't read or write its state, so it lets nothing through; nothing was sent; tell who runs tidegate",
    )
}

fn rate_limited(wait: Duration) -> Refusal {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let mut refusal = Refusal::new(
        Code::RateLimited,
        format!(
            "this sub-token is used more often than it may be; try again in {} s",
            seconds.max(1)
        ),
    );
    refusal.retry_after = Some(seconds.max(1));
    refusal
}
