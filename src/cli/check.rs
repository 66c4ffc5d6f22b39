use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::wide::Reach;
use super::{Failed, Outcome, say, wide};
use crate::audit::recorded_until;
use crate::catalog::{Endpoint, Segment};
use crate::config::{Listen, Rules, load};
use crate::policy::{self, Covers, Grant, Limits, RequestPattern};
use crate::token::{BehindClock, OlderState, State, Time, older_than};
use crate::upstream::Upstream;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate check --config tidegate.yaml && systemctl reload tidegate"
)]
pub(super) struct Arguments {}

pub(super) fn run(config: &Path, _arguments: &Arguments) -> Result<Outcome, Failed> {
    let rules = load(config)?;
    Upstream::new(&rules.settings.upstream, Arc::default())
        .map_err(|error| Failed::because(format!("{}:1:1: error: {error}", config.display())))?;
    caution(&rules);
    remark(config, &rules);
    check_state(&rules)?;
    for token in &rules.policy.tokens {
        if let Some(why) = nobody_can_use(&rules, &token.limits) {
            let file = rules.settings.policy.display();
            say(format!(
                "{file}:1:1: warning: the token `{}` ({}) can't be used: {why}",
                token.name, token.id
            ));
        }
    }
    let (passed, failed) = tests(&rules);
    let policy = &rules.policy;
    say(format!(
        "{} roles, {} tokens in the policy, {passed} of {} tests passed",
        policy.roles.len(),
        policy.tokens.len(),
        passed + failed
    ));
    Ok(if failed == 0 {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

fn tests(rules: &Rules) -> (usize, usize) {
    let mut passed = 0;
    let file = rules.settings.policy.display();
    for test in &rules.policy.tests {
        match policy::run_test(test, &rules.policy, &rules.catalog) {
            Ok(()) => passed += 1,
            Err(what) => say(format!("{file}:{}: error: {what}", test.at)),
        }
    }
    (passed, rules.policy.tests.len() - passed)
}

/// Says which roles can get what reaches further than their grants: logins to whole registries, keys without an end.
fn caution(rules: &Rules) {
    let file = rules.settings.policy.display();
    let handing_out: Vec<_> = rules
        .catalog
        .endpoints()
        .iter()
        .filter(|endpoint| endpoint.caution.is_some())
        .collect();
    let all = rules.policy.roles.values();
    for (role, grant) in all.flat_map(|role| role.allow.iter().map(move |grant| (role, grant))) {
        let patterns = patterns(grant);
        let narrowed = Reach::of(grant, &role.vars, &rules.catalog);
        for endpoint in handing_out
            .iter()
            .filter(|endpoint| reaches(grant, &patterns, endpoint))
            .filter(|endpoint| narrowed.as_ref().is_none_or(|reach| reach.covers(endpoint)))
        {
            let (Some(caution), Some(why)) = (&endpoint.caution, &endpoint.sensitive) else {
                continue;
            };
            say(format!(
                "{file}:{}: warning: `{}` can call {endpoint}; it {why}, and that {caution}",
                grant.at, grant.place
            ));
        }
    }
}

/// Says what is wider than it looks, in the configuration and in the policy.
fn remark(config: &Path, rules: &Rules) {
    let text = fs::read_to_string(config).unwrap_or_default(); // it was read before; without it the places are missing
    let say_all = |file: &Path, remarks: Vec<wide::Remark>| {
        for (at, what) in remarks {
            say(format!("{}:{at}: warning: {what}", file.display()));
        }
    };
    say_all(config, wide::of_settings(&rules.settings, &text));
    let remarks = wide::remarks(&rules.policy, &rules.catalog, rules.settings.field_scopes);
    say_all(&rules.settings.policy, remarks);
}

/// The patterns of a grant, its variables left empty: what is asked of them here is only which words they spell.
fn patterns(grant: &Grant) -> Vec<Arc<RequestPattern>> {
    match &grant.covers {
        Covers::Scopes { .. } => Vec::new(),
        Covers::Requests(texts) => texts
            .iter()
            .filter_map(|text| text.with(&policy::Vars::new()).ok())
            .collect(),
    }
}

fn reaches(grant: &Grant, patterns: &[Arc<RequestPattern>], endpoint: &Endpoint) -> bool {
    match &grant.covers {
        Covers::Scopes { named, all: _ } => endpoint.scopes.iter().any(|set| named.covers(set)),
        Covers::Requests(_) => patterns.iter().any(|pattern| spells_all(pattern, endpoint)),
    }
}

/// Whether a pattern is likely about this endpoint: it has the method and every fixed segment in it.
fn spells_all(pattern: &RequestPattern, endpoint: &Endpoint) -> bool {
    let fixed = endpoint
        .template
        .segments
        .iter()
        .all(|segment| match segment {
            Segment::Fixed(text) => pattern.spells(text),
            Segment::Parameter { .. } => true,
        });
    fixed && pattern.spells(endpoint.method.as_str())
}

/// Says which issued tokens can't be used any more. That stops no reload, so it is a warning.
fn check_state(rules: &Rules) -> Result<(), Failed> {
    let path = &rules.settings.state;
    if !path.exists() {
        say(format!(
            "{}:1:1: warning: there is no state file yet; the first `tidegate token issue` makes it",
            path.display()
        ));
        return Ok(());
    }
    State::kept_close(path).map_err(Failed::because)?;
    let state = State::open(path, Duration::from_secs(5)).map_err(Failed::because)?;
    let latest = state.latest().map_err(Failed::because)?;
    let older = state.older_than().map_err(Failed::because)?;
    let older = older.or_else(|| older_than(latest, recorded_until(&rules.settings.audit)));
    let older = older.map(|recorded| OlderState(recorded).to_string());
    let behind = Time::from(latest).now().behind();
    let behind = behind.map(|behind| BehindClock(behind).to_string());
    for doubt in older.into_iter().chain(behind) {
        say(format!("{}:1:1: warning: {doubt}", path.display()));
    }
    for (token, _, revoked_at) in state.list().map_err(Failed::because)? {
        if rules.file_token(&token.id).is_some() && revoked_at.is_none() {
            say(format!(
                "{}:1:1: warning: the id {} of the token `{}` stands in the policy file too: each secret works with its own roles, they share their uses, and revoking ends both; issue a new token for one of them, and take that one out",
                path.display(),
                token.id,
                token.name
            ));
        }
        let unbound = rules.grants(&token.roles, &token.vars).err();
        let why = unbound
            .map(|unbound| unbound.to_string())
            .or_else(|| nobody_can_use(rules, &token.limits));
        if let (Some(why), None) = (why, revoked_at) {
            say(format!(
                "{}:1:1: warning: the token `{}` ({}) can't be used: {why}",
                path.display(),
                token.name,
                token.id
            ));
        }
    }
    Ok(())
}

/// Why nobody could meet what a token is bound to, whoever they are.
fn nobody_can_use(rules: &Rules, limits: &Limits) -> Option<String> {
    let asks =
        |listen: &Listen| matches!(listen, Listen::Tls(_, _, tls) if tls.client_ca.is_some());
    let pattern = limits.client_cert.as_ref()?;
    let met = rules.settings.listen.iter().any(asks);
    (!met).then(|| {
        format!("it asks for a client certificate of `{pattern}`, and no listener asks for one; give a listener `client_ca`")
    })
}
