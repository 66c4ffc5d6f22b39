use serde_json::{Value, json};

use super::Failed;
use super::check::PASTED;
use crate::catalog::Catalog;
use crate::learn::{PolicyDifference, differences};
use crate::policy::Policy;
use crate::rules::{self, Rules};

/// What a change of policy newly allows and refuses.
#[derive(Debug)]
pub(crate) struct Compared(pub(crate) Vec<PolicyDifference>);

impl Compared {
    /// Of two policies, or of one role of them.
    ///
    /// # Errors
    /// There is no such role.
    pub(crate) fn new(
        (old, new): (&Policy, &Policy),
        role: Option<&str>,
        catalog: &Catalog,
    ) -> Result<Self, Failed> {
        let has = |role: &&str| old.roles.contains_key(*role) || new.roles.contains_key(*role);
        if let Some(role) = role.filter(|role| !has(role)) {
            return Err(Failed::because(format!(
                "neither policy has a role `{role}`"
            )));
        }
        Ok(Self(differences(old, new, role, catalog)))
    }

    /// Of the policy that is in force and one that is no file yet.
    ///
    /// # Errors
    /// The mistakes in that, or there is no such role.
    pub(crate) fn with_pasted(
        text: &str,
        role: Option<&str>,
        rules: &Rules,
    ) -> Result<Self, Failed> {
        let accounts: Vec<_> = rules.settings.accounts.keys().cloned().collect();
        let new = rules::policy_text(PASTED, text, Some(&accounts), &rules.catalog)?;
        Self::new((&rules.policy, &new), role, &rules.catalog)
    }

    /// How many are newly allowed, and how many newly refused.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let allowed = self.0.iter().filter(|it| it.allowed).count();
        (allowed, self.0.len() - allowed)
    }

    /// For programs.
    pub(crate) fn as_json(&self) -> Value {
        let (allowed, refused) = self.counts();
        json!({ "allowed": allowed, "refused": refused, "differences": self.0 })
    }
}
