use std::convert::Infallible;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::catalog::{Endpoint, Scope, ShapeId};
use crate::policy::{Allowed, Grants};
use crate::refusal::Refusal;
use crate::response::Cuts;
use crate::table::Table;

/// What is the same for every request by the same grants, remembered. The rules, which decide over it too, have their own of
/// these.
#[derive(Default)]
pub struct Plans {
    /// By the shape of the answer, and which of the grants that go by requests fit.
    answers: FoundForGrants<(ShapeId, u64), Planned>,
    /// By the endpoint, and the same.
    decisions: FoundForGrants<(usize, u64), Arc<Settled>>,
}

/// What is done to an answer.
#[derive(Clone)]
pub struct Planned {
    /// What is cut from it.
    pub cuts: Option<Cuts>,
    /// Whether it may hand out what logs in somewhere.
    pub hands_out: bool,
}

/// What was decided of a request that may go.
pub struct Settled {
    /// That it may.
    pub allowed: Allowed,
    /// By which scopes; `None` where the endpoint is not known.
    pub scopes: Option<Vec<Scope>>,
    /// What is done to its answer, where it touches nothing that decides that.
    pub planned: Option<Planned>,
}

impl Plans {
    /// The plan for these; by `plan` where it is asked for the first time.
    pub fn of(
        &self,
        grants: &Arc<Grants>,
        shape: ShapeId,
        by_requests: u64,
        plan: impl FnOnce() -> Planned,
    ) -> Planned {
        let plan = || Ok::<_, Infallible>(plan());
        match self.answers.of(grants, (shape, by_requests), plan) {
            Ok(planned) => planned,
            Err(never) => match never {},
        }
    }

    /// What is settled for these; by `settle` as long as that allows nothing.
    ///
    /// # Errors
    /// That of `settle`.
    pub fn settled(
        &self,
        grants: &Arc<Grants>,
        endpoint: &Endpoint,
        by_requests: u64,
        settle: impl FnOnce() -> Result<Settled, Refusal>,
    ) -> Result<Arc<Settled>, Refusal> {
        let endpoint = std::ptr::from_ref(endpoint).addr(); // of these rules, which have these plans
        let settle = || settle().map(Arc::new);
        self.decisions.of(grants, (endpoint, by_requests), settle)
    }
}

/// What was found for grants, by what else it depends on.
struct FoundForGrants<K, V>(RwLock<ByGrants<K, V>>);

type ByGrants<K, V> = Table<(usize, K), (Weak<Grants>, V)>;

/// As many are remembered. Beyond that all are forgotten: with so many grants of their own, few are asked twice.
const MOST: usize = 1024;

impl<K, V> Default for FoundForGrants<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Copy + Eq + Hash, V: Clone> FoundForGrants<K, V> {
    fn of<E>(
        &self,
        grants: &Arc<Grants>,
        key: K,
        find: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, E> {
        // Where the grants are: nothing else is ever there while one refers to them, if only weakly. Those of single tokens may
        // be large, and are not kept for this.
        let key = (Arc::as_ptr(grants).addr(), key);
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = known.get(&key) {
            return Ok(found.clone());
        }
        drop(known);
        let found = find()?;
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, (Arc::downgrade(grants), found.clone()));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants() -> Arc<Grants> {
        Arc::new(Grants {
            allow: Vec::new(),
            deny: Vec::new(),
            account: "default".into(),
            has_only: false,
            alone: None,
            within: Vec::new(),
        })
    }

    fn nothing() -> Planned {
        Planned {
            cuts: None,
            hands_out: false,
        }
    }

    #[test]
    fn what_is_remembered_is_of_the_same_grants_the_same_shape_and_the_same_fit() {
        let plans = Plans::default();
        let (one, other) = (grants(), grants());
        let asked = |grants: &Arc<Grants>, shape, fit| {
            let mut asked = false;
            plans.of(grants, shape, fit, || {
                asked = true;
                nothing()
            });
            asked
        };
        let cases = [(&one, 1, 0), (&other, 1, 0), (&one, 2, 0), (&one, 1, 1)];
        for (grants, shape, fit) in cases {
            assert!(asked(grants, shape, fit), "of another: {shape} {fit}");
        }
        for (grants, shape, fit) in cases {
            assert!(!asked(grants, shape, fit), "again: {shape} {fit}");
        }
    }

    #[test]
    fn grants_of_which_nothing_is_left_do_not_live_on_here() {
        let plans = Plans::default();
        let grants = grants();
        plans.of(&grants, 1, 0, nothing);
        let seen = Arc::downgrade(&grants);
        drop(grants);
        assert!(seen.upgrade().is_none());
    }
}
