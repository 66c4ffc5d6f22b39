use regex_syntax::hir::literal::Extractor;

use crate::config::IssuerKind;
use crate::policy::{PatternForm, Policy, Trust};
use crate::yaml::At;

/// A classic mistake in a rule of `trust`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hazard {
    /// Where the rule stands.
    pub at: At,
    /// Whether it trusts strangers, so that no daemon takes it.
    pub trusts_strangers: bool,
    /// What it is, why it is one, and what to write instead.
    pub what: String,
}

/// The mistakes in the rules of a policy, given what kind of issuer the configuration has under a name.
pub fn hazards(policy: &Policy, kind: impl Fn(&str) -> IssuerKind) -> Vec<Hazard> {
    let of_rule = |rule| of_rule(rule, kind(&rule.issuer));
    policy.trust.iter().flat_map(of_rule).collect()
}

fn of_rule(rule: &Trust, kind: IssuerKind) -> Vec<Hazard> {
    let told = |trusts_strangers| {
        move |what| Hazard {
            at: rule.at,
            trusts_strangers,
            what,
        }
    };
    let strangers = anybodys(rule, kind).into_iter().map(told(true));
    let loose = ungated(rule, kind)
        .into_iter()
        .chain(crossing(rule))
        .chain(by_names(rule, kind))
        .chain(sub_by_name(rule, kind))
        .chain(long_lived(rule));
    strangers.chain(loose.map(told(false))).collect()
}

fn anybodys(rule: &Trust, kind: IssuerKind) -> Option<String> {
    (kind == IssuerKind::Github && !says_whose(rule)).then(|| {
        format!(
            "the rule `{}` says of no repository or owner which it is, so that a job of anybody on GitHub gets its sub-tokens; ask for `repository_id` (`gh api repos/OWNER/NAME --jq .id`), `repository_owner_id`, or `sub` up to the repository",
            rule.name
        )
    })
}

fn ungated(rule: &Trust, kind: IssuerKind) -> Option<String> {
    let has_branches = matches!(kind, IssuerKind::Github | IssuerKind::Gitlab);
    (has_branches && !is_gated(rule)).then(|| {
        format!(
            "the rule `{}` asks for no `ref` or `environment`, so that whoever may push a branch gets its sub-tokens (`job_workflow_ref` does not help: a workflow can be called from any branch); add `ref: refs/heads/main`, or a protected `environment`",
            rule.name
        )
    })
}

fn crossing(rule: &Trust) -> Option<String> {
    let pattern = patterns(rule, "sub").find(|form| crosses(form))?;
    Some(format!(
        "the rule `{}` matches `sub` by `{}`, whose wildcard also takes a `:`, and so more parts than it looks like: pull requests, other branches, other environments; ask for the claims themselves (`repository_id`, `ref`, `environment`)",
        rule.name,
        text(pattern)
    ))
}

fn by_names(rule: &Trust, kind: IssuerKind) -> impl Iterator<Item = String> {
    let told = |(claim, ids): &(&str, &[&str])| {
        let goes_by_name = claims(rule, claim) && !ids.iter().any(|id| claims(rule, id));
        goes_by_name.then(|| {
            let instead = ids.first().copied().unwrap_or_default();
            format!(
                "the rule `{}` matches `{claim}`, a name that its owner can give up and others can then take; ask for `{instead}` instead",
                rule.name
            )
        })
    };
    reassigned(kind).iter().filter_map(told)
}

fn sub_by_name(rule: &Trust, kind: IssuerKind) -> Option<String> {
    (kind == IssuerKind::Github && sub_goes_by_name(rule)).then(|| {
        format!(
            "the rule `{}` matches `sub` by names of owner and repository, which others can take once they are given up; ask for `repository_id` beside it, or use GitHub's immutable `sub` (`repo:acme@1234/web@81236:…`)",
            rule.name
        )
    })
}

fn long_lived(rule: &Trust) -> Option<String> {
    (rule.ttl.seconds() > HOUR).then(|| {
        format!(
            "the rule `{}` has a `ttl` of {}: a job can prove who it is again, so an hour is enough for nearly all; what leaks works until then",
            rule.name, rule.ttl
        )
    })
}

const HOUR: u64 = 3600;

fn patterns<'r>(rule: &'r Trust, claim: &str) -> impl Iterator<Item = &'r PatternForm> {
    let asked = rule
        .claims
        .iter()
        .filter(move |(key, _)| key.as_str() == claim);
    let asked: Vec<_> = asked
        .flat_map(|(_, patterns)| patterns)
        .map(|pattern| &pattern.written)
        .collect();
    asked.into_iter()
}

fn claims(rule: &Trust, claim: &str) -> bool {
    patterns(rule, claim).next().is_some()
}

fn text(form: &PatternForm) -> String {
    match form {
        PatternForm::Exact(text) | PatternForm::Glob(text) => text.clone(),
        PatternForm::Regex(text) => format!("/{text}/"),
    }
}

/// The names that can be given to others, and the ids to ask for in their place.
fn reassigned(kind: IssuerKind) -> &'static [(&'static str, &'static [&'static str])] {
    match kind {
        IssuerKind::Github => &[
            ("repository", &["repository_id"]),
            (
                "repository_owner",
                &["repository_owner_id", "repository_id"],
            ),
            ("actor", &["actor_id"]),
        ],
        IssuerKind::Gitlab => &[
            ("project_path", &["project_id"]),
            ("namespace_path", &["namespace_id", "project_id"]),
            ("user_login", &["user_id"]),
            ("user_email", &["user_id"]),
        ],
        IssuerKind::Kubernetes | IssuerKind::Other => &[],
    }
}

/// Whether a rule takes the jobs of some repositories or owners, and not of any: one claim that says so is enough, as all must match,
/// but each of its patterns must.
fn says_whose(rule: &Trust) -> bool {
    let all = |claim: &str, says: &dyn Fn(&Begins) -> bool| {
        let mut forms = patterns(rule, claim).peekable();
        forms.peek().is_some()
            && forms.all(|form| begins(form).is_some_and(|all| all.iter().all(says)))
    };
    let whole = |begin: &Begins| begin.whole && !begin.text.is_empty();
    let owner = |begin: &Begins| owner_of(&begin.text, begin.whole).is_some();
    all("repository_id", &whole)
        || all("repository_owner_id", &whole)
        || all("repository_owner", &whole)
        || all("repository", &owner)
        || all("sub", &|begin| subject_says_whose(&begin.text, begin.whole))
}

/// The owner of `owner/name`, where that is spelled out.
fn owner_of(text: &str, _whole: bool) -> Option<&str> {
    let (owner, _) = text.split_once('/')?;
    (!owner.is_empty()).then_some(owner)
}

fn subject_says_whose(text: &str, whole: bool) -> bool {
    let by_name = ["repo:", "repository:"]
        .iter()
        .filter_map(|prefix| text.strip_prefix(prefix));
    let mut by_name = by_name.map(|rest| owner_of(rest, whole).is_some());
    let by_id = [
        "repository_id:",
        "repository_owner_id:",
        "repository_owner:",
    ];
    let by_id = by_id.iter().filter_map(|prefix| text.strip_prefix(prefix));
    let mut by_id = by_id.map(|rest| match rest.split_once(':') {
        Some((id, _)) => !id.is_empty(),
        None => whole && !rest.is_empty(),
    });
    by_name.any(|says| says) || by_id.any(|says| says)
}

fn sub_goes_by_name(rule: &Trust) -> bool {
    let has_id = ["repository_id", "repository_owner_id"]
        .iter()
        .any(|id| claims(rule, id));
    let by_name = |form: &PatternForm| {
        let begins = begins(form).unwrap_or_default();
        begins.iter().any(|begin| {
            let rest = begin.text.strip_prefix("repo:").unwrap_or_default();
            owner_of(rest, begin.whole).is_some_and(|owner| !owner.contains('@'))
        })
    };
    !has_id && patterns(rule, "sub").any(by_name)
}

/// Whether something keeps other branches out: a `ref` or `environment` that is not just any, or a part of `sub` that says one.
fn is_gated(rule: &Trust) -> bool {
    let all = |claim: &str, says: &dyn Fn(&PatternForm) -> bool| {
        let mut forms = patterns(rule, claim).peekable();
        forms.peek().is_some() && forms.all(says)
    };
    let some = |form: &PatternForm| {
        let begins = begins(form).unwrap_or_default();
        !begins.is_empty() && begins.iter().all(|begin| !begin.text.is_empty())
    };
    let in_subject = |form: &PatternForm| {
        let text = text(form);
        [":ref:", ":environment:"].iter().any(|part| {
            let said = text.split_once(part).map(|(_, said)| said);
            said.is_some_and(|said| !said.is_empty() && !said.starts_with(['*', '?', '.']))
        })
    };
    let yes = |form: &PatternForm| *form == PatternForm::Exact("true".into());
    all("ref", &some)
        || all("environment", &some)
        || all("ref_protected", &yes)
        || all("sub", &in_subject)
}

/// Whether a wildcard takes a `:` too. In the last part of a `sub`, which a branch or environment ends, it takes no further part.
fn crosses(form: &PatternForm) -> bool {
    let (text, wild) = match form {
        PatternForm::Exact(_) => return false,
        PatternForm::Glob(text) => (text, "*"),
        PatternForm::Regex(text) => (text, ".*"),
    };
    text.match_indices(wild).any(|(at, _)| {
        let (before, after) = text.split_at_checked(at).unwrap_or((text, ""));
        let in_last_part = ["ref:", "environment:"].iter().any(|part| {
            let said = before.rsplit_once(part).map(|(_, said)| said);
            said.is_some_and(|said| !said.is_empty() && !said.contains(':'))
        });
        after.contains(':') || !in_last_part
    })
}

/// What every text begins with that a pattern takes.
struct Begins {
    text: String,
    /// Whether that is all of it.
    whole: bool,
}

/// The beginnings that a pattern takes; `None` where it takes any.
fn begins(form: &PatternForm) -> Option<Vec<Begins>> {
    match form {
        PatternForm::Exact(text) => Some(vec![Begins {
            text: text.clone(),
            whole: true,
        }]),
        PatternForm::Glob(text) => {
            let begin = text.split(['*', '?']).next().unwrap_or_default();
            Some(vec![Begins {
                text: begin.to_owned(),
                whole: begin.len() == text.len(),
            }])
        }
        PatternForm::Regex(source) => {
            let hir = regex_syntax::parse(source).ok()?;
            let sequence = Extractor::new().extract(&hir);
            let literals = sequence.literals()?;
            let begin = |literal: &regex_syntax::hir::literal::Literal| Begins {
                text: String::from_utf8_lossy(literal.as_bytes()).into_owned(),
                whole: literal.is_exact(),
            };
            Some(literals.iter().map(begin).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Catalog;
    use crate::policy::read_alone;

    fn told(kind: IssuerKind, claims: &str, ttl: &str) -> Vec<String> {
        let text = format!(
            "version: 1\nroles: {{ r: {{ allow: [{{ scopes: [droplet:read] }}] }} }}\ntrust: [{{ name: t, issuer: i, claims: {claims}, roles: [r], ttl: {ttl} }}]\n"
        );
        let policy = read_alone("p.yaml", &text, &Catalog::builtin().unwrap());
        let policy = policy.unwrap_or_else(|wrong| panic!("{claims}: {:#?}", wrong.into_lines()));
        let word = |hazard: Hazard| {
            let words = [
                ("says of no repository", "whose"),
                ("asks for no `ref`", "ungated"),
                ("whose wildcard", "crosses"),
                ("a name that its owner", "name"),
                ("by names of owner", "sub-name"),
                ("has a `ttl`", "ttl"),
            ];
            let (_, word) = words
                .iter()
                .find(|(part, _)| hazard.what.contains(part))
                .unwrap();
            assert_eq!(
                hazard.trusts_strangers,
                *word == "whose",
                "only that is an error"
            );
            (*word).to_owned()
        };
        hazards(&policy, |_| kind).into_iter().map(word).collect()
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table")]
    fn the_classic_mistakes_of_trust_are_told() {
        use IssuerKind::{Github, Gitlab, Kubernetes, Other};
        let cases: [(IssuerKind, &str, &[&str]); 37] = [
            (
                Github,
                "{ repository_id: '81236', ref: refs/heads/main }",
                &[],
            ),
            (
                Github,
                "{ repository_id: ['1', '2'], environment: production }",
                &[],
            ),
            (
                Github,
                "{ repository_owner_id: '1', ref: refs/heads/main }",
                &[],
            ),
            (
                Github,
                "{ repository_id: '/81236|81237/', ref: refs/heads/main }",
                &[],
            ),
            (Github, "{ ref: refs/heads/main }", &["whose"]),
            (
                Github,
                "{ repository_id: '*', ref: refs/heads/main }",
                &["whose"],
            ),
            (
                Github,
                "{ repository_id: '8*', ref: refs/heads/main }",
                &["whose"],
            ), // and 80, which is another's
            (
                Github,
                "{ repository_id: ['81236', '*'], ref: refs/heads/main }",
                &["whose"],
            ),
            (
                Github,
                "{ repository_id: '/.*/', ref: refs/heads/main }",
                &["whose"],
            ),
            (
                Github,
                "{ repository_id: '/81236|/', ref: refs/heads/main }",
                &["whose"],
            ),
            (
                Github,
                "{ repository_id: '/[0-9]+/', ref: refs/heads/main }",
                &["whose"],
            ),
            (
                Github,
                "{ workflow: deploy, job_workflow_ref: acme/x, ref: refs/heads/main }",
                &["whose"],
            ),
            (
                Github,
                "{ repository: acme/web, ref: refs/heads/main }",
                &["name"],
            ),
            (
                Github,
                "{ repository: 'acme/*', ref: refs/heads/main }",
                &["name"],
            ),
            (
                Github,
                "{ repository: '*/web', ref: refs/heads/main }",
                &["whose", "name"],
            ),
            (
                Github,
                "{ repository: 'acme*', ref: refs/heads/main }",
                &["whose", "name"],
            ), // acme-evil/x
            (
                Github,
                "{ repository: acme/web, repository_id: '1', ref: refs/heads/main }",
                &[],
            ),
            (
                Github,
                "{ repository_owner: acme, ref: refs/heads/main }",
                &["name"],
            ),
            (
                Github,
                "{ repository_id: '1', ref: refs/heads/main, actor: alice }",
                &["name"],
            ),
            (Github, "{ repository_id: '1' }", &["ungated"]),
            (Github, "{ repository_id: '1', ref: '*' }", &["ungated"]),
            (
                Github,
                "{ repository_id: '1', ref: [refs/heads/main, '*'] }",
                &["ungated"],
            ),
            (
                Github,
                "{ repository_id: '1', job_workflow_ref: 'acme/x/.github/workflows/d.yml@refs/heads/main' }",
                &["ungated"],
            ),
            (
                Github,
                "{ sub: 'repo:acme@12/web@81236:ref:refs/heads/main' }",
                &[],
            ),
            (
                Github,
                "{ sub: 'repo:acme@12/web@81236:environment:production' }",
                &[],
            ),
            (
                Github,
                "{ sub: 'repo:acme@12/web@81236:ref:refs/heads/release-*' }",
                &[],
            ),
            (
                Github,
                "{ sub: 'repo:acme/web:ref:refs/heads/main' }",
                &["sub-name"],
            ),
            (
                Github,
                "{ sub: 'repo:acme@12/web@81236:*' }",
                &["ungated", "crosses"],
            ),
            (
                Github,
                "{ sub: 'repo:acme@12/*:ref:refs/heads/main' }",
                &["crosses"],
            ),
            (
                Github,
                "{ sub: '*:environment:production' }",
                &["whose", "crosses"],
            ),
            (
                Github,
                "{ sub: 'repo:*', repository_id: '1', ref: refs/heads/main }",
                &["crosses"],
            ),
            (
                Gitlab,
                "{ project_id: '7', ref: main, ref_type: branch }",
                &[],
            ),
            (Gitlab, "{ project_id: '7', ref_protected: 'true' }", &[]),
            (Gitlab, "{ project_path: acme/web }", &["ungated", "name"]),
            (
                Kubernetes,
                "{ sub: 'system:serviceaccount:web:deployer' }",
                &[],
            ),
            (
                Kubernetes,
                "{ sub: 'system:serviceaccount:*:deployer' }",
                &["crosses"],
            ),
            (Other, "{ team: ops }", &[]),
        ];
        for (kind, claims, expected) in cases {
            assert_eq!(told(kind, claims, "15m"), expected, "{kind:?} {claims}");
        }
        let good = "{ repository_id: '81236', ref: refs/heads/main }";
        assert_eq!(told(Github, good, "1h"), Vec::<String>::new());
        assert_eq!(told(Github, good, "61m"), ["ttl"]);
    }
}
