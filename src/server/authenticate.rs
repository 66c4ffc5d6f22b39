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
use crate::token::{
    Activity, Admission, ClientAddr, Issued, Live, NoToken, SubToken, TokenId, Unavailable, admit,
};

/// A sub-token that may be used here and now, and what it holds.
pub struct Grantee {
    /// Its public part.
    pub id: TokenId,
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What it is bound to.
    pub limits: Limits,
    /// What it holds.
    pub grants: Arc<Grants>,
    /// How it is being used.
    pub activity: Arc<Activity>,
}

/// Who asks, and whether they may here and now. Nothing else of the request is read for strangers.
pub(super) async fn authenticate(
    tokens: &Live,
    headers: &HeaderMap,
    from: ClientAddr,
    serving: &Serving,
    line: &mut FinalLine,
) -> Result<Grantee, Refusal> {
    let token = bearer(headers)?;
    let in_policy = serving.rules.file_token(&token.id);
    let entry = tokens
        .entry(&token.id, in_policy.is_some())
        .await
        .map_err(state_unavailable)?
        .unwrap_or_default();
    let now = Timestamp::now();
    let kept = Kept::matching(in_policy, entry.issued.as_deref(), &token, now)
        .ok_or_else(|| unknown_token(None))?;
    line.record.token = Some(Token {
        id: token.id.to_string(),
        name: kept.name.to_owned(),
    });
    let activity = tokens.activity(&token.id);
    let Kept {
        name,
        roles,
        vars,
        limits,
        since,
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
    if let Some(rate) = limits.rate {
        activity.take_rate(rate).map_err(rate_limited)?;
    }
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
    Ok(Grantee {
        id: token.id,
        name: name.to_owned(),
        roles: roles.to_owned(),
        limits: limits.clone(),
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
}

impl<'k> Kept<'k> {
    /// The record whose secret this is. The one before a rotation counts for as long as its grace lasts.
    fn matching(
        in_policy: Option<&'k FileToken>,
        issued: Option<&'k Issued>,
        token: &SubToken,
        now: Timestamp,
    ) -> Option<Self> {
        let hash = token.hash();
        if let Some(FileToken {
            name,
            roles,
            vars,
            limits,
            ..
        }) = in_policy.filter(|listed| listed.hash.matches(&hash))
        {
            return Some(Self {
                name,
                roles,
                vars,
                limits,
                since: None,
            });
        }
        let in_grace = |issued: &Issued| {
            issued
                .old
                .as_ref()
                .is_some_and(|(old, until)| old.matches(&hash) && now < *until)
        };
        let Issued {
            name,
            roles,
            vars,
            limits,
            created_at,
            ..
        } = issued.filter(|issued| issued.hash.matches(&hash) || in_grace(issued))?;
        Some(Self {
            name,
            roles,
            vars,
            limits,
            since: Some(*created_at),
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
                format!("Unable to authenticate you: there is no sub-token; {HOW}"),
            ));
        }
        (Some(_), Some(_)) => {
            return Err(Refusal::new(
                Code::NoToken,
                format!("Unable to authenticate you: there are two `Authorization` headers; {HOW}"),
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
            format!(
                "Unable to authenticate you: the `Authorization` header is no bearer token; {HOW}"
            ),
        ));
    };
    SubToken::read(token.trim_matches(' ')).map_err(|error| match error {
        NoToken::Real => Refusal::new(Code::RealToken, "Unable to authenticate you: this is a real DigitalOcean token, and tidegate takes sub-tokens only; revoke it if it was meant to be kept from here"),
        NoToken::Form | NoToken::Checksum | NoToken::Id => unknown_token(Some(error)),
    })
}

fn unknown_token(why: Option<NoToken>) -> Refusal {
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    Refusal::new(
        Code::UnknownToken,
        format!(
            "Unable to authenticate you: this is no sub-token that was issued here{why}; ask for a new one"
        ),
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
