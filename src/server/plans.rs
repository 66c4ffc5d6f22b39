use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::catalog::ShapeId;
use crate::policy::Grants;
use crate::response::Cuts;

/// What is cut from answers, remembered where it is the same for every request: by the grants, the shape of the answer, and
/// which of the grants that go by requests fit. The rules, which decide over it too, have their own of these.
#[derive(Default)]
pub struct Plans(RwLock<HashMap<Key, Kept>>);

#[derive(Eq, Hash, PartialEq)]
struct Key {
    /// Where the grants are, which are kept, so that nothing else is ever there.
    grants: usize,
    shape: ShapeId,
    by_requests: u64,
}

struct Kept {
    _grants: Arc<Grants>,
    cuts: Option<Cuts>,
}

/// As many are remembered. Beyond that all are forgotten: with so many grants of their own, few are asked twice.
const MOST: usize = 4096;

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
            _grants: grants.clone(),
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
