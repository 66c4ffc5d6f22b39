use std::sync::{Arc, PoisonError, RwLock, Weak};

use crate::catalog::ShapeId;
use crate::policy::Grants;
use crate::response::Cuts;
use crate::table::Table;

/// What is cut from answers, remembered where it is the same for every request: by the grants, the shape of the answer, and
/// which of the grants that go by requests fit. The rules, which decide over it too, have their own of these.
#[derive(Default)]
pub struct Plans(RwLock<Table<Key, Kept>>);

#[derive(Eq, Hash, PartialEq)]
struct Key {
    /// Where the grants are: nothing else is ever there while one refers to them, if only weakly.
    grants: usize,
    shape: ShapeId,
    by_requests: u64,
}

struct Kept {
    _grants: Weak<Grants>, // those of single tokens may be large, and are not kept for this
    cuts: Option<Cuts>,
}

/// As many are remembered. Beyond that all are forgotten: with so many grants of their own, few are asked twice.
const MOST: usize = 1024;

impl Plans {
    /// The plan for these; by `plan` where it is asked for the first time.
    pub fn of(
        &self,
        grants: &Arc<Grants>,
        shape: ShapeId,
        by_requests: u64,
        plan: impl FnOnce() -> Option<Cuts>,
    ) -> Option<Cuts> {
        let key = Key {
            grants: Arc::as_ptr(grants).addr(),
            shape,
            by_requests,
        };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = known.get(&key) {
            return kept.cuts.clone();
        }
        drop(known);
        let cuts = plan();
        let kept = Kept {
            _grants: Arc::downgrade(grants),
            cuts: cuts.clone(),
        };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key, kept);
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants() -> Arc<Grants> {
        Arc::new(Grants {
            allow: Vec::new(),
            deny: Vec::new(),
            account: "default".to_owned(),
            has_only: false,
            alone: None,
            within: Vec::new(),
        })
    }

    #[test]
    fn what_is_remembered_is_of_the_same_grants_the_same_shape_and_the_same_fit() {
        let plans = Plans::default();
        let (one, other) = (grants(), grants());
        let asked = |grants: &Arc<Grants>, shape, fit| {
            let mut asked = false;
            let cuts = plans.of(grants, shape, fit, || {
                asked = true;
                None
            });
            assert!(cuts.is_none());
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
        plans.of(&grants, 1, 0, || None);
        let seen = Arc::downgrade(&grants);
        drop(grants);
        assert!(seen.upgrade().is_none());
    }
}
