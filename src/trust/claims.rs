use std::fmt;

use crate::policy::{ClaimKey, Text, Trust, Vars};
use crate::request::Json;

/// The rule that takes an identity, and what it makes of its claims.
#[derive(Debug)]
pub struct Chosen<'p> {
    /// The rule.
    pub rule: &'p Trust,
    /// The variables of its roles, claims filled in.
    pub vars: Vars,
    /// The claims that the rule asks for, with the value that did.
    pub matched: Vec<(String, String)>,
}

/// Why no rule takes an identity.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NotChosen {
    /// No rule is for its issuer.
    NoRule,
    /// No rule for its issuer has the name that was asked for.
    NotNamed(String),
    /// The claims of which one did not match, of the rule that came furthest.
    Claim(String),
    /// A claim that a variable is made of is missing or empty.
    Variable(String),
}

impl fmt::Display for NotChosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => {
                f.write_str("no rule of `trust` is for its issuer; ask who runs tidegate for one")
            }
            Self::NotNamed(name) => write!(
                f,
                "no rule `{name}` of `trust` is for its issuer; leave `trust` out, or name one that is"
            ),
            Self::Claim(claim) => write!(
                f,
                "its claim `{claim}` is not what a rule of `trust` asks for; ask who runs tidegate for one that takes it"
            ),
            Self::Variable(claim) => write!(
                f,
                "its claim `{claim}` is missing, empty or no text, and the rule of `trust` makes a variable of it"
            ),
        }
    }
}

/// The first rule for an issuer that takes these claims: all that it asks for must be there and match. With `wanted`, the rule of
/// that name or none.
///
/// # Errors
/// `NotChosen`. The rule that matched first decides: if it can't be filled in, no later one is asked.
pub fn choose<'p>(
    rules: &'p [Trust],
    issuer: &str,
    claims: &Json,
    wanted: Option<&str>,
) -> Result<Chosen<'p>, NotChosen> {
    let named = |rule: &&Trust| wanted.is_none_or(|name| rule.name == name);
    let mut furthest: Option<(usize, &ClaimKey)> = None;
    let mut any = false;
    for rule in rules
        .iter()
        .filter(|rule| rule.issuer == issuer)
        .filter(named)
    {
        any = true;
        let mut matched = Vec::new();
        let missed = rule.claims.iter().find(|(key, patterns)| {
            let value = key.find(claims);
            let taken = value.and_then(|value| {
                taken(value, |text| {
                    patterns.iter().any(|pattern| pattern.matches(text))
                })
            });
            matched.extend(taken.map(|text| (key.to_string(), text.to_owned())));
            taken.is_none()
        });
        match missed {
            None => {
                let vars = variables(rule, claims)?;
                return Ok(Chosen {
                    rule,
                    vars,
                    matched,
                });
            }
            Some((key, _)) if furthest.is_none_or(|(count, _)| matched.len() > count) => {
                furthest = Some((matched.len(), key));
            }
            Some(_) => {}
        }
    }
    Err(match (furthest, wanted) {
        (Some((_, key)), _) => NotChosen::Claim(key.to_string()),
        (None, Some(name)) if !any => NotChosen::NotNamed(name.chars().take(64).collect()),
        (None, _) => NotChosen::NoRule,
    })
}

/// The text by which a claim matches: its own, a number's or boolean's as JSON writes it, or of a list of texts the first that
/// matches. Anything else never does.
fn taken(value: &Json, fits: impl Fn(&str) -> bool) -> Option<&str> {
    if let Json::List(items) = value {
        let texts: Option<Vec<&str>> = items
            .iter()
            .map(|item| match item {
                Json::Text(text) => Some(text.as_str()),
                Json::Null | Json::Flag(_) | Json::Number(_) | Json::List(_) | Json::Map(_) => None,
            })
            .collect();
        return texts?.into_iter().find(|text| fits(text));
    }
    plain(value).filter(|text| fits(text))
}

fn plain(value: &Json) -> Option<&str> {
    match value {
        Json::Text(text) | Json::Number(text) => Some(text),
        Json::Flag(true) => Some("true"),
        Json::Flag(false) => Some("false"),
        Json::Null | Json::List(_) | Json::Map(_) => None,
    }
}

fn variables(rule: &Trust, claims: &Json) -> Result<Vars, NotChosen> {
    let mut values = Vars::new();
    for key in &rule.used {
        let value = key.find(claims).and_then(plain);
        let value = value.filter(|text| !text.is_empty());
        let value = value.ok_or_else(|| NotChosen::Variable(key.to_string()))?;
        values.insert(format!("claims.{key}"), value.to_owned());
    }
    let filled = |(name, text): &(String, Text)| (name.clone(), text.fill(&values, str::to_owned));
    Ok(rule.vars.iter().map(filled).collect())
}

/// What an issuer calls the run or the token: by this the sub-token can be told again.
pub fn run_of(claims: &Json) -> Option<&str> {
    let named = ["run_id", "job_id", "jti"];
    let mut found = named
        .iter()
        .filter_map(|name| claims.member(name).and_then(plain));
    found.find(|text| !text.is_empty())
}

/// A text in which nothing but letters, digits and a few signs stands, so that it can be a part of a name.
pub fn printable(text: &str) -> String {
    let letter = |letter: char| {
        if letter.is_ascii_alphanumeric() || "-_.".contains(letter) {
            letter
        } else {
            '-'
        }
    };
    text.chars().take(LONGEST).map(letter).collect()
}

/// Letters of a run's id in a name; a UUID has 36.
const LONGEST: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::policy::{Policy, read_alone};

    const RULES: &str = r#"
version: 1
roles:
  deploy: { vars: [stage], allow: [{ scopes: [droplet:read], only: { tag: "${stage}" } }] }
  plain: { allow: [{ scopes: [droplet:read] }] }
trust:
  - { name: prod, issuer: ci, claims: { repo: "81236", ref: refs/heads/main, env: [production, staging] }, roles: [deploy], vars: { stage: "s-${claims.env}" } }
  - { name: any-branch, issuer: ci, claims: { repo: "81236", ref: "refs/heads/*" }, roles: [plain] }
  - { name: workload, issuer: cluster, claims: { /kubernetes.io/namespace: web, "/a~1b/0": "/x|y/" }, roles: [deploy], vars: { stage: "${claims./kubernetes.io/namespace}" } }
  - { name: groups, issuer: list, claims: { groups: ops }, roles: [plain] }
  - { name: empty, issuer: list, claims: { kind: e }, roles: [deploy], vars: { stage: "x-${claims.stage}" } }
  - { name: after-empty, issuer: list, claims: { kind: e }, roles: [plain] }
"#;

    fn policy() -> Policy {
        let catalog = Catalog::builtin().unwrap();
        read_alone("p.yaml", RULES, &catalog)
            .unwrap_or_else(|wrong| panic!("{:#?}", wrong.into_lines()))
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn the_first_rule_of_which_all_claims_match_is_taken() {
        let policy = policy();
        let main = r#"{"repo":81236,"ref":"refs/heads/main","env":"production"}"#;
        let cases = [
            ("ci", main, None, "prod stage=s-production"),
            ("ci", main, Some("any-branch"), "any-branch "),
            ("ci", main, Some("workload"), "NotNamed workload"), // of another issuer
            ("ci", main, Some("none"), "NotNamed none"),
            ("cluster", main, None, "Claim /kubernetes.io/namespace"),
            ("ci ", main, None, "NoRule"),
            (
                "ci",
                r#"{"repo":"81236","ref":"refs/heads/main","env":"staging"}"#,
                None,
                "prod stage=s-staging",
            ),
            (
                "ci",
                r#"{"repo":"81236","ref":"refs/heads/main","env":"test"}"#,
                None,
                "any-branch ",
            ),
            (
                "ci",
                r#"{"repo":"81236","ref":"refs/heads/main"}"#,
                Some("prod"),
                "Claim env",
            ),
            (
                "ci",
                r#"{"repo":"81236","ref":"refs/heads/x\ny"}"#,
                None,
                "any-branch ",
            ),
            (
                "ci",
                r#"{"repo":"81236","ref":"refs/tags/x"}"#,
                None,
                "Claim ref",
            ),
            (
                "ci",
                r#"{"repo":"812367","ref":"refs/heads/main"}"#,
                None,
                "Claim repo",
            ),
            (
                "ci",
                r#"{"repo":81236.0,"ref":"refs/heads/x"}"#,
                None,
                "Claim repo",
            ), // its text, not its value
            (
                "ci",
                r#"{"repo":8.1236e4,"ref":"refs/heads/x"}"#,
                None,
                "Claim repo",
            ),
            (
                "ci",
                r#"{"repo":["81236"],"ref":"refs/heads/x"}"#,
                None,
                "any-branch ",
            ), // of a list of texts one
            (
                "ci",
                r#"{"repo":[81236],"ref":"refs/heads/x"}"#,
                None,
                "Claim repo",
            ), // of nothing else
            (
                "ci",
                r#"{"repo":["81236",1],"ref":"refs/heads/x"}"#,
                None,
                "Claim repo",
            ),
            (
                "ci",
                r#"{"repo":{"81236":1},"ref":"refs/heads/x"}"#,
                None,
                "Claim repo",
            ),
            (
                "ci",
                r#"{"repo":null,"ref":"refs/heads/x"}"#,
                None,
                "Claim repo",
            ),
            (
                "ci",
                r#"{"Repo":"81236","ref":"refs/heads/x"}"#,
                None,
                "Claim repo",
            ),
            ("ci", "{}", None, "Claim repo"),
            (
                "cluster",
                r#"{"kubernetes.io":{"namespace":"web"},"a/b":["y"]}"#,
                None,
                "workload stage=web",
            ),
            (
                "cluster",
                r#"{"kubernetes.io":{"namespace":"web"},"a/b":["xx"]}"#,
                None,
                "Claim /a~1b/0",
            ),
            (
                "cluster",
                r#"{"/kubernetes.io/namespace":"web"}"#,
                None,
                "Claim /kubernetes.io/namespace",
            ),
            ("list", r#"{"groups":["dev","ops"]}"#, None, "groups "),
            ("list", r#"{"groups":[]}"#, None, "Claim groups"),
            ("list", r#"{"groups":[["ops"]]}"#, None, "Claim groups"),
            ("list", r#"{"kind":"e","stage":""}"#, None, "Variable stage"), // and no later rule is asked
            ("list", r#"{"kind":"e"}"#, None, "Variable stage"),
            (
                "list",
                r#"{"kind":"e","stage":["a"]}"#,
                None,
                "Variable stage",
            ),
            (
                "list",
                r#"{"kind":"e","stage":"*"}"#,
                None,
                "empty stage=x-*",
            ), // which stands for itself
            (
                "list",
                r#"{"kind":"e","stage":"${claims.kind}"}"#,
                None,
                "empty stage=x-${claims.kind}",
            ),
        ];
        for (issuer, claims, wanted, expected) in cases {
            let read = Json::read(claims.as_bytes()).unwrap();
            let told = match choose(&policy.trust, issuer, &read, wanted) {
                Ok(chosen) => {
                    let vars: Vec<_> = chosen
                        .vars
                        .iter()
                        .map(|(name, value)| format!("{name}={value}"))
                        .collect();
                    format!("{} {}", chosen.rule.name, vars.join(","))
                }
                Err(NotChosen::NoRule) => "NoRule".to_owned(),
                Err(NotChosen::NotNamed(name)) => format!("NotNamed {name}"),
                Err(NotChosen::Claim(claim)) => format!("Claim {claim}"),
                Err(NotChosen::Variable(claim)) => format!("Variable {claim}"),
            };
            assert_eq!(told, expected, "{claims} of {issuer} for {wanted:?}");
        }
    }

    #[test]
    fn what_becomes_part_of_a_name_is_printable() {
        let cases = [
            ("1234567890", "1234567890"),
            ("a b\n\u{1b}[31m/é", "a-b---31m--"),
            (&"x".repeat(99), &"x".repeat(48)),
        ];
        for (text, expected) in cases {
            assert_eq!(printable(text), expected, "{text:?}");
        }
    }
}
