use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::child_request::{ChildWish, invalid};
use super::maker::{Maker, Parent};
use super::record::Issued;
use crate::catalog::Catalog;
use crate::policy::{self, Delegate, Policy, Vars, read_narrowing};
use crate::refusal::{Code, Refusal};
use crate::secret::SecretHash;
use crate::token::{Limits, SubToken, TokenId, no_name};

/// The token that is to make it.
pub struct Delegator<'d> {
    /// Its public part.
    pub id: &'d TokenId,
    /// Its name.
    pub name: &'d str,
    /// The hash of the secret that it is made by.
    pub hash: SecretHash,
    /// Its roles.
    pub roles: &'d [String],
    /// Its variables.
    pub vars: &'d Vars,
    /// When it ends, or that secret.
    pub ends: Option<Timestamp>,
}

/// A child that is yet to be kept.
pub struct Child {
    /// The sub-token itself.
    pub token: SubToken,
    /// What is kept of it.
    pub issued: Issued,
    /// How many living ones there may be.
    pub most: u32,
}

impl Delegator<'_> {
    /// The child that somebody wants of it: what it hands on, and no more.
    ///
    /// # Errors
    /// `delegation` for what it can't hand on, `body_unreadable` for what is nothing.
    pub fn child(
        &self,
        wish: &ChildWish,
        policy: &Policy,
        catalog: &Catalog,
        now: Timestamp,
    ) -> Result<Child, Refusal> {
        let delegate = |role: &String| policy.roles.get(role).and_then(|role| role.delegate);
        let roles = self.handed_on(wish, &delegate)?;
        let all: Vec<Delegate> = roles.iter().filter_map(&delegate).collect();
        may_live(&all, wish.seconds)?;
        let most = all.iter().map(|one| one.count.get()).min();
        if let Some(text) = &wish.narrowing {
            self.can_be_built(text, &roles, policy, catalog)?;
        }
        let token = SubToken::generate().map_err(|_| {
            let why =
                "the system gives no random bytes now, so no sub-token can be made; try again";
            Refusal::new(Code::Overloaded, why)
        })?;
        let own = wish.name.as_deref().unwrap_or(token.id.as_str());
        let name = format!("{}/{own}", self.name);
        if let Some(why) = no_name(&name) {
            return Err(invalid(&format!("`{name}` is no name: {why}")));
        }
        let ends = now.saturating_add(Duration::from_secs(wish.seconds));
        let issued = Issued {
            id: token.id.clone(),
            name,
            hash: token.hash(),
            old: None,
            roles: roles.into(),
            vars: self.vars.clone(),
            limits: Arc::new(Limits {
                expires_at: ends.into_iter().chain(self.ends).min(),
                max_uses: wish.max_uses,
                rate: wish.rate,
                sources: wish.sources.clone(),
                ..Limits::default()
            }),
            created_at: now,
            about: None,
            ceiling: None, // it may less than its parent, never more
            maker: Some(Arc::new(Maker::Parent(Parent {
                id: self.id.clone(),
                name: self.name.to_owned(),
                hash: self.hash,
                narrowing: wish.narrowing.clone(),
            }))),
        };
        let most = most.unwrap_or_default();
        Ok(Child {
            token,
            issued,
            most,
        })
    }

    /// Checks that what a child says of itself can be read, and built with its variables.
    fn can_be_built(
        &self,
        text: &str,
        roles: &[String],
        policy: &Policy,
        catalog: &Catalog,
    ) -> Result<(), Refusal> {
        let own = read_narrowing(text, catalog).map_err(|mistakes| {
            let (_, found) = mistakes.into_parts();
            let found: Vec<_> = found.into_iter().map(|(_, what)| what).collect();
            invalid(&found.join("; "))
        })?;
        let bound = policy::bind(policy, roles, self.vars);
        let bound = bound.and_then(|grants| policy::narrowed(&grants, &own));
        bound.map(drop).map_err(|_| {
            invalid("what it says of itself can't be built; make its patterns shorter")
        })
    }

    /// The roles that the child gets: those that are handed on, or of these those that were asked for.
    fn handed_on(
        &self,
        wish: &ChildWish,
        delegate: &impl Fn(&String) -> Option<Delegate>,
    ) -> Result<Vec<String>, Refusal> {
        let delegates = |role: &&String| delegate(role).is_some();
        let handed_on: Vec<_> = self.roles.iter().filter(delegates).cloned().collect();
        if handed_on.is_empty() {
            return Err(not_handed_on(
                "no role of this sub-token lets it make others (`delegate`); ask who runs tidegate",
            ));
        }
        let Some(wanted) = &wish.roles else {
            return Ok(handed_on);
        };
        if wanted.is_empty() {
            return Err(invalid(
                "`roles` is empty; name some of this sub-token's, or leave it out",
            ));
        }
        if let Some(other) = wanted.iter().find(|role| !handed_on.contains(role)) {
            return Err(not_handed_on(&format!(
                "this sub-token can't hand on the role `{other}`; it hands on {}",
                handed_on.join(", ")
            )));
        }
        let wanted = |role: &String| wanted.contains(role);
        Ok(handed_on.into_iter().filter(wanted).collect())
    }
}

/// Refuses a life that is longer than one of the roles hands on.
fn may_live(roles: &[Delegate], seconds: u64) -> Result<(), Refusal> {
    let ttl = roles.iter().map(|role| role.ttl.seconds()).min();
    let ttl = ttl.unwrap_or_default();
    if seconds > ttl {
        return Err(not_handed_on(&format!(
            "a child of this sub-token lives {ttl} s at most (`delegate.ttl` of its roles); ask for fewer `expires_in`"
        )));
    }
    Ok(())
}

fn not_handed_on(why: &str) -> Refusal {
    Refusal::new(Code::Delegation, why)
}
