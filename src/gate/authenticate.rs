use std::sync::Arc;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use jiff::{SignedDuration, Timestamp};

use super::final_line::FinalLine;
use crate::audit::Token;
use crate::policy::{Ceiling, FileToken, Grants, Vars};
use crate::refusal::{Code, Refusal};
use crate::rules::Serving;
use crate::secret::SecretHash;
use crate::state::{self, Activity, Issued, KeptIn, Live, Parent, Unavailable};
use crate::token::Limits;
use crate::token::{Admission, NoToken, Origin, SubToken, TokenId, admit};
use crate::units::Rate;

/// A sub-token that may be used here and now, and what it holds.
pub struct Grantee {
    /// Its public part.
    pub id: TokenId,
    /// What is kept of it.
    pub kept: Kept,
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
    pub parent: Option<Maker>,
}

/// A token that made another, which lives and is used with it.
pub struct Maker {
    /// Its public part.
    pub id: TokenId,
    /// What is kept of it.
    pub kept: Kept,
    /// How it is being used.
    pub activity: Arc<Activity>,
    /// When it ends, or the secret by which the other was made.
    ends: Option<Timestamp>,
}

impl Grantee {
    /// The tokens of which a use is one: that which made it, and itself.
    pub fn counted(&self) -> impl Iterator<Item = (&Kept, &Arc<Activity>)> {
        let parent = self.parent.iter();
        let parent = parent.map(|parent| (&parent.kept, &parent.activity));
        parent.chain(std::iter::once((&self.kept, &self.activity)))
    }

    /// Those of them that have a rate, with it.
    pub fn rated(&self) -> Vec<(Rate, Arc<Activity>)> {
        let rate = |(kept, activity): (&Kept, &Arc<Activity>)| {
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
    from: Origin<'_>,
    serving: &Serving,
    line: &mut FinalLine,
) -> Result<Grantee, Refusal> {
    let token = bearer(headers)?;
    let hash = token.hash();
    let grantee = recognise(tokens, &token.id, hash, from, serving, line).await?;
    for (kept, activity) in grantee.counted() {
        if let Some(rate) = kept.limits().rate {
            activity.take_rate(rate).map_err(rate_limited)?;
        }
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
    let noted = |kept: &Kept| line.record.token = Some(kept.told(id));
    let (kept, grace, activity) = admitted(tokens, (id, &hash), from, serving, noted).await?;
    let now = tokens.now();
    let parent = match kept.parent() {
        None => None,
        Some(parent) => Some(maker(tokens, parent, &kept, from, serving).await?),
    };
    line.record.parent = parent.as_ref().map(|parent| parent.kept.name().to_owned());
    let ceiling = kept.ceiling().filter(|ceiling| ceiling.holds(now.latest));
    let bound = activity.grants(serving.rules.generation, ceiling, || {
        let (roles, vars) = (kept.roles(), kept.vars());
        match kept.parent() {
            Some(parent) => serving
                .rules
                .grants_within(roles, vars, parent.narrowing.as_deref()),
            None => serving.rules.grants_under(
                roles,
                vars,
                ceiling.map(|ceiling| ceiling.role.as_str()),
            ),
        }
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

/// The token that made another: it must live, by the secret that it had then, and have the roles that it handed on, which must
/// still be such as are handed on. Whatever it is bound to binds the other one too.
async fn maker(
    tokens: &Live,
    parent: &Parent,
    child: &Kept,
    from: Origin<'_>,
    serving: &Serving,
) -> Result<Maker, Refusal> {
    let ended = |code, why: &str| {
        let why = format!("the sub-token that made this one {why}; ask its holder for a new one");
        Refusal::new(code, why)
    };
    let found = admitted(tokens, (&parent.id, &parent.hash), from, serving, |_| {}).await;
    let (kept, grace, activity) = found.map_err(|refusal| match refusal.code {
        Code::UnknownToken => ended(Code::Revoked, "is gone, or has another secret"),
        Code::Revoked => ended(refusal.code, "was revoked"),
        Code::Expired | Code::NotYetValid => ended(refusal.code, "has ended"),
        Code::UsesExhausted => ended(refusal.code, "was used as often as it may be"),
        _ => refusal,
    })?;
    let roles = &serving.rules.policy.roles;
    let handed_on = |role: &String| {
        let delegates = roles.get(role).is_some_and(|role| role.delegate.is_some());
        kept.roles().contains(role) && delegates
    };
    if !child.roles().iter().all(handed_on) {
        let why = "has lost a role that it handed on, or may hand it on no more";
        return Err(ended(Code::RoleMissing, why));
    }
    let ends = kept.limits().expires_at.into_iter().chain(grace).min();
    Ok(Maker {
        id: parent.id.clone(),
        kept,
        activity,
        ends,
    })
}

/// What is kept of a sub-token whose secret has this hash, until when that secret holds if it is the one before a rotation, and
/// how it is used: if it may be used here and now. `seen` is told whose secret it is before that is judged.
///
/// # Errors
/// Why it may not be.
pub(crate) async fn admitted(
    tokens: &Live,
    (id, hash): (&TokenId, &SecretHash),
    from: Origin<'_>,
    serving: &Serving,
    seen: impl FnOnce(&Kept),
) -> Result<(Kept, Option<Timestamp>, Arc<Activity>), Refusal> {
    let in_policy = serving.rules.file_token(id);
    let entry = tokens
        .entry(id, in_policy.is_some())
        .await
        .map_err(state_unavailable)?
        .unwrap_or_default();
    let now = tokens.now();
    let (kept, grace) = Kept::matching(in_policy, entry.issued, hash, now.latest)
        .ok_or_else(|| unknown_token(None))?;
    seen(&kept);
    let activity = tokens.activity(id, kept.kept_in());
    admit(
        &Admission {
            limits: kept.limits(),
            since: kept.since(),
            revoked_at: entry.revoked_at,
            usage: activity.usage(),
        },
        from,
        now,
    )?;
    Ok((kept, grace, activity))
}

/// What is kept of a token.
pub enum Kept {
    /// In the policy file.
    Listed(Arc<FileToken>),
    /// In the state.
    Issued(Arc<Issued>),
}

impl Kept {
    /// The record whose secret this is, and until when the secret holds, if that is the one before a rotation: it counts for
    /// as long as its grace lasts.
    fn matching(
        in_policy: Option<&Arc<FileToken>>,
        issued: Option<Arc<Issued>>,
        hash: &SecretHash,
        now: Timestamp,
    ) -> Option<(Self, Option<Timestamp>)> {
        if let Some(listed) = in_policy.filter(|listed| listed.hash.matches(hash)) {
            return Some((Self::Listed(listed.clone()), None));
        }
        let issued = issued?;
        let grace = match &issued.old {
            _ if issued.hash.matches(hash) => None,
            Some((old, until)) if old.matches(hash) && now < *until => Some(*until),
            Some(_) | None => return None,
        };
        Some((Self::Issued(issued), grace))
    }

    /// It as the record shows it.
    pub(crate) fn told(&self, id: &TokenId) -> Token {
        Token {
            id: id.to_string(),
            name: self.name().to_owned(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Listed(token) => &token.name,
            Self::Issued(token) => &token.name,
        }
    }

    /// Its roles.
    pub fn roles(&self) -> &[String] {
        match self {
            Self::Listed(token) => &token.roles,
            Self::Issued(token) => &token.roles,
        }
    }

    /// The role under which it reports until a time, that time past or not.
    pub fn ceiling(&self) -> Option<&Ceiling> {
        match self {
            Self::Listed(token) => token.ceiling.as_deref(),
            Self::Issued(token) => token.ceiling.as_deref(),
        }
    }

    /// What it is bound to.
    pub fn limits(&self) -> &Limits {
        match self {
            Self::Listed(token) => &token.limits,
            Self::Issued(token) => &token.limits,
        }
    }

    fn kept_in(&self) -> KeptIn {
        match self {
            Self::Listed(_) => KeptIn::Policy,
            Self::Issued(_) => KeptIn::State,
        }
    }

    /// The token that made it, if one did.
    pub fn parent(&self) -> Option<&Parent> {
        match self {
            Self::Listed(_) => None,
            Self::Issued(token) => token.maker.as_deref().and_then(state::Maker::parent),
        }
    }

    /// Its variables.
    pub fn vars(&self) -> &Vars {
        match self {
            Self::Listed(token) => &token.vars,
            Self::Issued(token) => &token.vars,
        }
    }

    /// Since when it is there; one of the policy file always was.
    pub fn since(&self) -> Option<Timestamp> {
        match self {
            Self::Listed(_) => None,
            Self::Issued(token) => Some(token.created_at),
        }
    }
}

/// The sub-token of exactly one `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<SubToken, Refusal> {
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
