use std::collections::BTreeSet;
use std::fmt;

use super::{Policy, Unbound};

/// What somebody who runs tidegate may do at the console. It gives nothing at the API.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Right {
    /// See tokens, roles, refusals and the record.
    View,
    /// End tokens, too.
    Revoke,
    /// Give tokens out and rotate them, too: both show a secret.
    Issue,
}

impl Right {
    /// All of them, each after what it needs.
    pub const ALL: [Self; 3] = [Self::View, Self::Revoke, Self::Issue];

    /// As the policy writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Revoke => "revoke",
            Self::Issue => "issue",
        }
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a role gives at the console.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operator {
    /// The highest of its rights; the lower ones are in it.
    pub right: Right,
    /// The roles whose tokens it may issue and rotate, none of them with rights at the console.
    pub issues: BTreeSet<String>,
}

impl Operator {
    /// What the roles of a token give at the console together; `None` where they give nothing.
    ///
    /// # Errors
    /// `Unbound`, if a role is gone: what remains of such a token is not judged.
    pub fn of(policy: &Policy, roles: &[String]) -> Result<Option<Self>, Unbound> {
        let mut whole: Option<Self> = None;
        for name in roles {
            let role = policy.roles.get(name);
            let role = role.ok_or_else(|| Unbound::Role(name.clone()))?;
            let Some(given) = &role.operator else {
                continue;
            };
            let sum = whole.get_or_insert_with(|| given.clone());
            sum.right = sum.right.max(given.right);
            sum.issues.extend(given.issues.iter().cloned());
        }
        Ok(whole)
    }

    /// Why this operator may not hand out a token of these roles; `None` if it may.
    pub fn may_not_issue(&self, policy: &Policy, roles: &[String]) -> Option<String> {
        if self.right < Right::Issue {
            return Some("this operator may not issue tokens; the policy gives it by `operator: [view, revoke, issue]`".to_owned());
        }
        roles.iter().find_map(|name| {
            let is_operator = policy
                .roles
                .get(name)
                .is_none_or(|role| role.operator.is_some());
            if is_operator {
                return Some(format!("the role `{name}` has rights at the console, or is not in the policy; the console hands out no such role, `tidegate token issue` does"));
            }
            (!self.issues.contains(name)).then(|| format!("the role `{name}` is none that this operator may issue; the policy names those in `operator_issues`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;

    fn read(roles: &str) -> Result<Policy, Vec<String>> {
        let text = format!("version: 1\nroles:\n{roles}");
        let catalog = Catalog::builtin().unwrap();
        let read = crate::policy::read_alone("p.yaml", &text, &catalog);
        read.map_err(crate::yaml::Mistakes::into_lines)
    }

    #[test]
    fn rights_at_the_console_come_one_after_another_and_hand_out_no_rights() {
        let reader = "  r: { allow: [{ scopes: [\"droplet:read\"] }] }\n";
        let cases = [
            ("operator: [view]", ""),
            ("operator: [view, revoke]", ""),
            ("operator: [view, revoke, issue], operator_issues: [r]", ""),
            ("operator: [issue, view, revoke]", ""),
            (
                "operator: []",
                "`operator` is empty; fill it or leave it out",
            ),
            (
                "operator: [revoke]",
                "`revoke` needs `view` too; write `[view]`, `[view, revoke]` or `[view, revoke, issue]`",
            ),
            (
                "operator: [view, issue]",
                "`issue` needs `revoke` too; write `[view]`, `[view, revoke]` or `[view, revoke, issue]`",
            ),
            (
                "operator: [see]",
                "`see` is no right at the console; there are `view`, `revoke` and `issue`",
            ),
            (
                "operator: [view], operator_issues: [r]",
                "`operator_issues` are the roles that may be issued at the console, which this role may not; write `operator: [view, revoke, issue]`, or leave them out",
            ),
            (
                "operator: [view, revoke, issue], operator_issues: [q]",
                "unknown role `q` in `operator_issues`; did you mean `o`?",
            ),
            (
                "operator: [view, revoke, issue], operator_issues: [o]",
                "the role `o` has rights at the console itself, so nobody may issue it there: who could would give itself more; `tidegate token issue` does it",
            ),
            (
                "operator: [view, revoke, issue], operator_issues: []",
                "`operator_issues` is empty; fill it or leave it out",
            ),
        ];
        for (role, said) in cases {
            let found = read(&format!("{reader}  o: {{ {role} }}\n"))
                .err()
                .unwrap_or_default();
            let found: Vec<_> = found
                .iter()
                .filter_map(|line| Some(line.splitn(4, ':').nth(3)?.trim()))
                .collect();
            let expected: Vec<_> = Some(said)
                .into_iter()
                .filter(|said| !said.is_empty())
                .collect();
            if said.is_empty() {
                assert_eq!(found, expected, "{role}");
            } else {
                assert!(found.contains(&said), "{role}: {found:?}");
            }
        }
    }

    #[test]
    fn a_token_has_the_rights_of_its_roles_together_and_issues_no_others() {
        let policy = read(
            "  r: { allow: [{ scopes: [\"droplet:read\"] }] }\n  s: { allow: [{ scopes: [\"tag:read\"] }] }\n  see: { operator: [view] }\n  issue: { operator: [view, revoke, issue], operator_issues: [r] }\n",
        )
        .unwrap();
        let of = |roles: &[&str]| {
            let roles: Vec<_> = roles.iter().map(|role| (*role).to_owned()).collect();
            Operator::of(&policy, &roles)
        };
        assert_eq!(of(&["r"]), Ok(None));
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&["see", "gone"]), Err(Unbound::Role("gone".to_owned())));
        let see = of(&["r", "see"]).unwrap().unwrap();
        let issue = of(&["see", "issue"]).unwrap().unwrap();
        assert_eq!((see.right, issue.right), (Right::View, Right::Issue));
        // One whose rights are of another moment than the policy.
        let stale = Operator {
            right: Right::Issue,
            issues: ["r", "see", "gone"].map(str::to_owned).into(),
        };
        let cases: [(&Operator, &[&str], bool); 13] = [
            (&see, &["r"], false),
            (&see, &[], false),
            (&stale, &["r"], true),
            (&stale, &["see"], false),
            (&stale, &["gone"], false),
            (&issue, &["r"], true),
            (&issue, &["s"], false),
            (&issue, &["r", "s"], false),
            (&issue, &["see"], false),
            (&issue, &["issue"], false),
            (&issue, &["r", "see"], false),
            (&issue, &["gone"], false),
            (&issue, &[], true), // what has no role is refused where tokens are made
        ];
        for (operator, roles, may) in cases {
            let roles: Vec<_> = roles.iter().map(|role| (*role).to_owned()).collect();
            assert_eq!(
                operator.may_not_issue(&policy, &roles).is_none(),
                may,
                "{roles:?}"
            );
        }
    }
}
