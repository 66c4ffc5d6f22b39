use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Failed;
use crate::policy::{self, Ceiling, FileToken, Policy, Unbound};
use crate::secret::SecretHash;
use crate::state::{About, Ended, Issued, ListedToken, Maker, Parent, SeenToken, Store, TokenFate};
use crate::token::{Admission, Limits, Source, TokenId, TokenStanding, Usage, standing};

/// A sub-token as lists show it, wherever it is kept.
pub(crate) struct ShownToken {
    pub(crate) id: TokenId,
    pub(crate) name: String,
    /// Of the secrets by which it may come, the one before the last rotation too while that holds.
    pub(crate) hashes: Vec<SecretHash>,
    pub(crate) roles: Vec<String>,
    pub(crate) vars: policy::Vars,
    pub(crate) limits: Limits,
    pub(crate) since: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) usage: Usage,
    pub(crate) owner: Option<String>,
    pub(crate) description: Option<String>,
    /// The role under which it reports, that time past or not.
    pub(crate) ceiling: Option<Ceiling>,
    pub(crate) of_policy: bool,
    /// Who made it, if nobody issued it by hand.
    pub(crate) maker: Option<Arc<Maker>>,
    /// How the token that made it ended with regard to it, if that did.
    pub(crate) ended: Option<Ended>,
    /// Why it can't be used, whoever comes: a role or variable that is gone.
    pub(crate) unbound: Option<Unbound>,
}

impl ShownToken {
    pub(crate) fn issued(
        token: Issued,
        usage: Usage,
        revoked_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let Issued {
            id,
            name,
            hash,
            old,
            roles,
            vars,
            limits,
            created_at,
            ceiling,
            about,
            maker,
        } = token;
        let About { owner, description } = about.map(|about| *about).unwrap_or_default();
        let old = old.filter(|(_, until)| *until > now).map(|(hash, _)| hash);
        Self {
            id,
            name,
            hashes: [Some(hash), old].into_iter().flatten().collect(),
            roles: roles.to_vec(),
            vars,
            limits: Arc::unwrap_or_clone(limits),
            since: Some(created_at),
            revoked_at,
            usage,
            owner,
            description,
            ceiling: ceiling.map(Arc::unwrap_or_clone),
            of_policy: false,
            maker,
            ended: None,
            unbound: None,
        }
    }

    pub(crate) fn listed(token: FileToken, usage: Usage, revoked_at: Option<Timestamp>) -> Self {
        let FileToken {
            name,
            id,
            hash,
            roles,
            vars,
            limits,
            owner,
            description,
            ceiling,
            at: _,
        } = token;
        Self {
            id,
            name,
            hashes: vec![hash],
            roles,
            vars,
            limits,
            since: None,
            revoked_at,
            usage,
            owner,
            description,
            ceiling: ceiling.map(Arc::unwrap_or_clone),
            of_policy: true,
            maker: None,
            ended: None,
            unbound: None, // such a policy is refused whole
        }
    }

    /// The variables of its roles.
    pub(crate) fn vars(&self) -> &policy::Vars {
        &self.vars
    }

    /// How it stands, whatever has become of its roles.
    pub(crate) fn standing(&self, now: Timestamp) -> TokenStanding {
        let admission = Admission {
            limits: &self.limits,
            since: self.since,
            revoked_at: self.revoked_at,
            usage: self.usage,
        };
        standing(&admission, now)
    }

    /// The token that made it, if one did.
    pub(crate) fn parent(&self) -> Option<&Parent> {
        self.maker.as_deref().and_then(Maker::parent)
    }

    /// The rule of `trust` that gave it, if one did.
    pub(crate) fn rule(&self) -> Option<&str> {
        self.maker.as_deref().and_then(Maker::rule)
    }

    /// How it stands, with the token that made it and its roles.
    pub(crate) fn fate(&self, now: Timestamp) -> TokenFate {
        TokenFate::of(self.standing(now), self.ended, || self.unbound.is_some())
    }

    /// Why it can't be used, where that is not its own end.
    fn why(&self) -> Option<String> {
        let ended = |ended: Ended| format!("the sub-token that made it {}", ended.why());
        let unbound = self.unbound.as_ref().map(ToString::to_string);
        self.ended.map(ended).or(unbound)
    }

    pub(crate) fn state(&self, now: Timestamp) -> &'static str {
        self.fate(now).as_str()
    }

    pub(crate) fn uses_left(&self) -> Option<u64> {
        self.limits
            .max_uses
            .map(|most| most.saturating_sub(self.usage.used))
    }

    pub(crate) fn sources(&self) -> Option<Vec<String>> {
        self.limits
            .sources
            .as_ref()
            .map(|sources| sources.iter().map(Source::to_string).collect())
    }

    pub(crate) fn client_cert(&self) -> Option<String> {
        self.limits.client_cert.as_ref().map(ToString::to_string)
    }

    /// It for programs, as `token list --json` prints it.
    pub(crate) fn as_json(&self, now: Timestamp) -> Value {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        json!({
            "id": self.id.as_str(),
            "name": self.name,
            "roles": self.roles,
            "vars": self.vars,
            "state": self.state(now),
            "why": self.why(),
            "created_at": text(self.since),
            "not_before": text(self.limits.not_before),
            "expires_at": text(self.limits.expires_at),
            "idle": self.limits.idle.map(|idle| idle.to_string()),
            "rate": self.limits.rate.map(|rate| rate.to_string()),
            "last_used_at": text(self.usage.last_used_at),
            "uses_left": self.uses_left(),
            "sources": self.sources(),
            "client_cert": self.client_cert(),
            "description": self.description,
            "owner": self.owner,
            "ceiling": self.ceiling.as_ref().map(|ceiling| &ceiling.role),
            "report_until": text(self.ceiling.as_ref().map(|ceiling| ceiling.until)),
            "revoked_at": text(self.revoked_at),
            "trust": self.rule(),
            "parent": self.parent().map(|parent| &parent.name),
            "parent_id": self.parent().map(|parent| parent.id.as_str()),
            "within": self.parent().and_then(|parent| parent.narrowing.as_deref()),
            "kept_in": if self.of_policy { "policy" } else { "state" },
        })
    }
}

/// These tokens of the state, and all of the policy, where that can be read.
///
/// # Errors
/// The state's own.
pub(crate) fn all_shown(
    picked: Vec<ListedToken>,
    state: Option<&dyn Store>,
    policy: Option<&Policy>,
    now: Timestamp,
) -> Result<Vec<ShownToken>, Failed> {
    let picked = picked.into_iter();
    let picked =
        picked.map(|(token, usage, revoked)| ShownToken::issued(token, usage, revoked, now));
    let mut all: Vec<_> = picked.collect();
    let Some(policy) = policy else {
        return Ok(all);
    };
    for token in &mut all {
        let ceiling = token.ceiling.as_ref().filter(|ceiling| ceiling.holds(now));
        let bound = bound_under(policy, (&token.roles, &token.vars), ceiling);
        token.unbound = bound.err();
    }
    with_makers(&mut all, policy, state, now)?;
    for token in &policy.tokens {
        let (usage, revoked_at) = match state {
            None => (Usage::default(), None),
            Some(state) => (
                state.usage(&token.id).map_err(Failed::because)?,
                state.revoked_at(&token.id).map_err(Failed::because)?,
            ),
        };
        let token = FileToken::clone(token);
        all.push(ShownToken::listed(token, usage, revoked_at));
    }
    Ok(all)
}

/// Each token with its children beneath it, and how deep it stands. A child whose parent is not there stands by itself.
pub(crate) fn tree(all: &[ShownToken]) -> Vec<(usize, &ShownToken)> {
    let ids: HashSet<&TokenId> = all.iter().map(|token| &token.id).collect();
    let is_there = |token: &&ShownToken| {
        let parent = token.parent();
        parent.is_some_and(|parent| ids.contains(&parent.id))
    };
    let mut children: BTreeMap<&str, Vec<&ShownToken>> = BTreeMap::new();
    for token in all.iter().filter(is_there) {
        let parent = token.parent().map_or("", |parent| parent.id.as_str());
        children.entry(parent).or_default().push(token);
    }
    let mut rows = Vec::new();
    for token in all.iter().filter(|token| !is_there(token)) {
        rows.push((0, token));
        let own = children.get(token.id.as_str()).into_iter().flatten();
        rows.extend(own.map(|child| (1, *child)));
    }
    rows
}

/// Notes how the tokens that made others ended with regard to these; each is looked up once.
fn with_makers(
    all: &mut [ShownToken],
    policy: &Policy,
    state: Option<&dyn Store>,
    now: Timestamp,
) -> Result<(), Failed> {
    let mut makers: HashMap<(TokenId, [u8; 32]), Option<SeenToken>> = HashMap::new();
    for token in all {
        let Some(parent) = token.maker.as_deref().and_then(Maker::parent) else {
            continue;
        };
        let key = (parent.id.clone(), *parent.hash.as_bytes());
        let maker = match makers.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                unknown.insert(parent.find(policy, state, now).map_err(Failed::because)?)
            }
        };
        token.ended = parent.ended(maker.as_ref(), &token.roles, policy, now.into());
    }
    Ok(())
}

/// What a token would hold, under its ceiling if it has one.
pub(crate) fn bound_under(
    policy: &Policy,
    (roles, vars): (&[String], &policy::Vars),
    ceiling: Option<&Ceiling>,
) -> Result<policy::Grants, policy::Unbound> {
    let alone = policy::bind(policy, roles, vars)?;
    match ceiling {
        Some(ceiling) => policy::under(policy, &Arc::new(alone), &ceiling.role),
        None => Ok(alone),
    }
}
