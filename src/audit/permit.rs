use std::sync::Arc;

use super::writer::{Audit, Unwritable};
use crate::policy::Allowed;

/// Proof that the policy allows a request and that, if it must be, the decision is on record.
///
/// Only [`Audit::permit`] makes one, and `Upstream::forward` takes nothing less.
#[derive(Debug)]
pub struct Permit {
    account: Arc<str>,
}

impl Permit {
    /// The account whose real token goes in.
    pub fn account(&self) -> &str {
        &self.account
    }
}

impl Audit {
    /// Makes a permit of an allowance. `first`, where a request must be on record before it goes, is written before.
    ///
    /// # Errors
    /// `Unwritable`; then the request must not go.
    pub async fn permit(
        &self,
        _allowed: &Allowed,
        account: &Arc<str>,
        first: Option<Vec<u8>>,
    ) -> Result<Permit, Unwritable> {
        if let Some(line) = first {
            Box::pin(self.written(&line)).await?;
        }
        Ok(Permit {
            account: Arc::clone(account),
        })
    }
}
