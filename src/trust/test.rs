use super::claims::{NotChosen, choose};
use crate::policy::{Policy, TrustTest, bind};

/// Runs one test against the policy that it stands in.
///
/// # Errors
/// What went otherwise than expected, in a sentence.
pub fn run_test(test: &TrustTest, policy: &Policy) -> Result<(), String> {
    let issuer = &test.issuer;
    match (
        choose(&policy.trust, issuer, &test.claims, None),
        test.allowed,
    ) {
        (Ok(chosen), true) => bind(policy, &chosen.rule.roles, &chosen.vars)
            .map(drop)
            .map_err(|unbound| {
                format!(
                    "test failed: the sub-token of the rule `{}` could not be used: {unbound}",
                    chosen.rule.name
                )
            }),
        (Ok(chosen), false) => Err(format!(
            "test failed: these claims of `{issuer}` are taken by the rule `{}`, expected deny",
            chosen.rule.name
        )),
        (Err(_), false) => Ok(()),
        (Err(why), true) => Err(format!(
            "test failed: these claims of `{issuer}` are taken by no rule ({}), expected allow",
            short(&why)
        )),
    }
}

fn short(why: &NotChosen) -> String {
    match why {
        NotChosen::NoRule | NotChosen::NotNamed(_) => "there is none for that issuer".to_owned(),
        NotChosen::Claim(claim) => format!("`{claim}` does not match"),
        NotChosen::Variable(claim) => format!("`{claim}` is missing or empty"),
    }
}
