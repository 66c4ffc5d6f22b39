use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};

use super::final_line::FinalLine;
use crate::policy::Grants;
use crate::refusal::{Code, Refusal};
use crate::rules::Serving;
use crate::secret::SecretHash;
use crate::state::{Activity, Ended, KeptToken, Live, Parent, SeenToken, Unavailable};
use crate::token::{Moment, NoToken, RequestOrigin, SubToken, TokenId, admit};
use crate::units::Rate;

/// A sub-token that may be used here and now, and what it holds.
pub struct Grantee {
    /// Its public part.
    pub id: TokenId,
    /// What is kept of it.
    pub kept: KeptToken,
    /// The hash of the secret that was shown.
    hash: SecretHash,
    /// When it ends: its expiry, or the end of its grace if it was rotated.
    pub ends: Option<Timestamp>,
    /// How far the clock is behind the time by which it ends.
    behind: SignedDuration,
    /// What it holds.
    pub grants: Arc<Grants>,
    /// How it is being used.
    pub activity: Arc<Activity>,
    /// The token that made it, if one did.
    pub parent: Option<ParentToken>,
}

/// A token that made another, which lives and is used with it.
pub struct ParentToken {
    /// Its public part.
    pub id: TokenId,
    /// What is kept of it.
    pub kept: KeptToken,
    /// How it is being used.
    pub activity: Arc<Activity>,
    /// When it ends, or the secret by which the other was made.
    ends: Option<Timestamp>,
}

impl Grantee {
    /// The tokens of which a use is one: that which made it, and itself.
    pub fn counted(&self) -> impl Iterator<Item = (&TokenId, &KeptToken, &Arc<Activity>)> {
        let parent = self.parent.iter();
        let parent = parent.map(|parent| (&parent.id, &parent.kept, &parent.activity));
        parent.chain(std::iter::once((&self.id, &self.kept, &self.activity)))
    }

    /// Whether a use of any of them is counted.
    pub fn is_counted(&self) -> bool {
        self.counted()
            .any(|(_, kept, _)| kept.limits().max_uses.is_some())
    }

    /// Those of them that have a rate, with it.
    pub fn rated(&self) -> Vec<(Rate, Arc<Activity>)> {
        let rate = |(_, kept, activity): (&TokenId, &KeptToken, &Arc<Activity>)| {
            Some((kept.limits().rate?, Arc::clone(activity)))
        };
        self.counted().filter_map(rate).collect()
    }

    /// The hash of the secret that was shown.
    pub fn hash(&self) -> SecretHash {
        self.hash
    }

    /// The time by which it ends, now.
    pub fn now(&self) -> Timestamp {
        let now = Timestamp::now().checked_add(self.behind);
        now.unwrap_or(Timestamp::MAX)
    }
}

/// Who asks, and whether they may here and now. Nothing else of the request is read for strangers.
pub(super) async fn authenticate(
    tokens: &Live,
    headers: &HeaderMap,
    from: RequestOrigin<'_>,
    serving: &Serving,
    line: &mut FinalLine,
) -> Result<Grantee, Refusal> {
    let (id, hash) = SubToken::recognise(shown(headers)?).map_err(no_token)?;
    let grantee = recognise(tokens, &id, hash, from, serving, line).await?;
    for (id, kept, activity) in grantee.counted() {
        if let Some(rate) = kept.limits().rate {
            let left = tokens.take_rate(id, rate, activity).await;
            left.map_err(state_unavailable)?.map_err(rate_limited)?;
        }
    }
    Ok(grantee)
}

/// The same question again, under the rules of now: a body may have taken its time, and who held it back must not thereby
/// outlive an expiry, a revocation or a policy.
pub(super) async fn still(
    tokens: &Live,
    grantee: &Grantee,
    from: RequestOrigin<'_>,
    serving: &Serving,
    line: &mut FinalLine,
) -> Result<Grantee, Refusal> {
    Box::pin(recognise(
        tokens,
        &grantee.id,
        grantee.hash,
        from,
        serving,
        line,
    ))
    .await
}

async fn recognise(
    tokens: &Live,
    id: &TokenId,
    hash: SecretHash,
    from: RequestOrigin<'_>,
    serving: &Serving,
    line: &mut FinalLine,
) -> Result<Grantee, Refusal> {
    let noted = |kept: &KeptToken| line.record.token = Some(kept.told(id));
    let Admitted {
        kept,
        grace,
        activity,
        at: now,
    } = admitted(tokens, (id, &hash), from, serving, noted).await?;
    let parent = match kept.parent() {
        None => None,
        Some(parent) => Some(Box::pin(maker(tokens, parent, &kept, from, serving)).await?),
    };
    line.record.parent = parent.as_ref().map(|parent| parent.kept.name().to_owned());
    let ceiling = kept.ceiling().filter(|ceiling| ceiling.holds(now.latest));
    let bound = activity.grants(serving.rules.generation, ceiling, || {
        let beside = kept.beside(now.latest);
        let rules = &serving.rules;
        rules.grants_with(kept.roles(), kept.vars(), beside)
    });
    let grants = bound.map_err(|unbound| {
        Refusal::new(
            Code::RoleMissing,
            format!("this sub-token can't be used: {unbound}; ask its issuer for a new one"),
        )
        .detail(unbound)
    })?;
    line.record.account = Some(grants.account.clone());
    let of_parent = parent.as_ref().and_then(|parent| parent.ends);
    let own = kept.limits().expires_at.into_iter().chain(grace);
    let ends = own.chain(of_parent).min();
    Ok(Grantee {
        id: id.clone(),
        kept,
        hash,
        ends,
        behind: now.latest.duration_since(now.clock),
        grants,
        activity,
        parent,
    })
}

/// The token that made another, which must not have ended. Whatever it is bound to binds the other one too.
async fn maker(
    tokens: &Live,
    parent: &Parent,
    child: &KeptToken,
    from: RequestOrigin<'_>,
    serving: &Serving,
) -> Result<ParentToken, Refusal> {
    let found = found(tokens, (&parent.id, &parent.hash), serving).await?;
    let (seen, policy) = (
        found.as_ref().map(|found| &found.seen),
        &serving.rules.policy,
    );
    let now = found
        .as_ref()
        .map_or_else(|| tokens.now(), |found| found.at);
    let ended = parent.ended(seen, child.roles(), policy, now);
    let Some(found) = found.filter(|_| ended.is_none()) else {
        return Err(ended.unwrap_or(Ended::Gone).refusal());
    };
    admit(&found.seen.admission(), from, now)?;
    let kept = found.seen.kept;
    let own = kept.limits().expires_at.into_iter();
    Ok(ParentToken {
        id: parent.id.clone(),
        ends: own.chain(found.grace).min(),
        kept,
        activity: found.activity,
    })
}

/// A token by one of its secrets.
struct TokenMatch {
    seen: SeenToken,
    /// Until when the secret holds, if that is the one before a rotation.
    grace: Option<Timestamp>,
    activity: Arc<Activity>,
    /// When it was looked up.
    at: Moment,
}

/// A sub-token that may be used here and now.
pub(crate) struct Admitted {
    /// What is kept of it.
    pub kept: KeptToken,
    /// Until when its secret holds, if that is the one before a rotation.
    pub grace: Option<Timestamp>,
    /// How it is used.
    pub activity: Arc<Activity>,
    /// By which time it was judged: one for all, as a clock is asked in vain for each.
    pub at: Moment,
}

/// The sub-token whose secret has this hash, if it may be used here and now. `seen` is told whose secret it is before that is
/// judged.
///
/// # Errors
/// Why it may not be.
pub(crate) async fn admitted(
    tokens: &Live,
    (id, hash): (&TokenId, &SecretHash),
    from: RequestOrigin<'_>,
    serving: &Serving,
    seen: impl FnOnce(&KeptToken),
) -> Result<Admitted, Refusal> {
    let found = found(tokens, (id, hash), serving).await?;
    let TokenMatch {
        seen: token,
        grace,
        activity,
        at,
    } = found.ok_or_else(|| unknown_token(None))?;
    seen(&token.kept);
    admit(&token.admission(), from, at)?;
    Ok(Admitted {
        kept: token.kept,
        grace,
        activity,
        at,
    })
}

/// The token that has this secret, whether it may be used or not.
async fn found(
    tokens: &Live,
    (id, hash): (&TokenId, &SecretHash),
    serving: &Serving,
) -> Result<Option<TokenMatch>, Refusal> {
    let in_policy = serving.rules.file_token(id);
    let entry = tokens
        .entry(id, in_policy.is_some())
        .await
        .map_err(state_unavailable)?
        .unwrap_or_default();
    let at = tokens.now();
    let matching = KeptToken::matching(in_policy, entry.issued, hash, at.latest);
    let found = matching.map(|(kept, grace)| {
        let activity = tokens.activity(id, kept.kept_in());
        TokenMatch {
            seen: SeenToken {
                kept,
                usage: activity.usage(),
                revoked_at: entry.revoked_at,
            },
            grace,
            activity,
            at,
        }
    });
    Ok(found)
}

/// The sub-token of exactly one `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<SubToken, Refusal> {
    SubToken::read(shown(headers)?).map_err(no_token)
}

/// What exactly one `Authorization: Bearer` header shows.
fn shown(headers: &HeaderMap) -> Result<&str, Refusal> {
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
    Ok(token.trim_matches(' '))
}

fn no_token(why: NoToken) -> Refusal {
    match why {
        NoToken::Real => Refusal::new(
            Code::RealToken,
            "this is a real DigitalOcean token, and tidegate takes sub-tokens only; revoke it if it was meant to be kept from here",
        ),
        NoToken::Form | NoToken::Checksum | NoToken::Id => unknown_token(Some(why)),
    }
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
