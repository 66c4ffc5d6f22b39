//! What is wrong or doubtful in configuration, policy and state.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::findings::{Findings, Severity};
use super::wide;
use super::wide::KindReach;
use crate::audit::recorded_until;
use crate::catalog::{Catalog, Endpoint};
use crate::config::{AuditSink, FieldScopes, IssuerKind, Listen, Settings};
use crate::policy::{self, Beside, Ceiling, Covers, Grant, Policy, RequestPattern};
use crate::rules::{self, Rules, load};
use crate::state::{
    self, BehindClock, ListedToken, OlderState, StateError, StatePlace, older_than,
};
use crate::token::{Admission, Limits, Time, TokenId, TokenStanding, standing};
use crate::trust::{Issuers, hazards, run_test as run_trust_test};
use crate::upstream::Upstream;
use crate::yaml::At;

/// What was looked at, and what came of it.
#[derive(Default)]
pub(crate) struct CheckReport {
    pub(crate) findings: Findings,
    /// How many roles and tokens the policy has, and how many of its tests passed and failed, if it could be read.
    pub(crate) policy: Option<[usize; 4]>,
}

/// What is warned of in the policy of these rules, each with its place.
pub(crate) fn policy_warnings(rules: &Rules) -> Vec<String> {
    let mut checked = CheckReport::default();
    let settings = &rules.settings;
    let (policy, catalog) = (&rules.policy, &rules.catalog);
    checked.policy(&settings.policy, policy, catalog, settings.field_scopes);
    checked.findings.iter().map(ToString::to_string).collect()
}

impl CheckReport {
    /// A policy without what is about it.
    pub(crate) fn alone(&mut self, path: &Path, extra: Option<&Path>) {
        let read = rules::catalog(extra)
            .and_then(|catalog| Ok((rules::policy_alone(path, &catalog)?, catalog)));
        match read {
            Ok((policy, catalog)) => {
                let fields = FieldScopes::SecretsOnly;
                self.whole(path, (&policy, &catalog), fields, IssuerKind::of_name);
            }
            Err(problems) => self.findings.problems(problems),
        }
    }

    /// A policy that is no file yet, for the configuration that is in force.
    pub(crate) fn pasted(&mut self, text: &str, rules: &Rules) {
        let settings = &rules.settings;
        let accounts: Vec<_> = settings.accounts.keys().cloned().collect();
        match rules::policy_text(PASTED, text, Some(&accounts), &rules.catalog) {
            Ok(policy) => {
                let kind = |issuer: &str| settings.issuer_kind(issuer);
                let of = (&policy, &*rules.catalog);
                self.whole(Path::new(PASTED), of, settings.field_scopes, kind);
            }
            Err(problems) => self.findings.problems(problems),
        }
    }

    fn whole(
        &mut self,
        path: &Path,
        (policy, catalog): (&Policy, &Catalog),
        fields: FieldScopes,
        kind: impl Fn(&str) -> IssuerKind,
    ) {
        self.policy(path, policy, catalog, fields);
        let hazards = hazards(policy, &kind);
        for hazard in hazards.into_iter().filter(|hazard| hazard.trusts_strangers) {
            self.findings.fail(path, hazard.at, hazard.what);
        }
        self.trust(path, policy, kind);
    }

    /// The configuration and all that it names.
    pub(crate) fn all(&mut self, config: &Path) {
        let rules = match load(config) {
            Ok(rules) => rules,
            Err(problems) => return self.findings.problems(problems),
        };
        let settings = &rules.settings;
        if let Err(error) = Upstream::new(&settings.upstream, Arc::default()) {
            let at = settings.places.at("upstream.ca_file");
            self.findings.fail(config, at, error.to_string());
        }
        let text = fs::read_to_string(config).unwrap_or_default(); // it was read before; without it the places are missing
        if let Err(wrong) = Issuers::new(&settings.issuers, None) {
            for (key, what) in wrong {
                self.findings.fail(config, settings.places.at(&key), what);
            }
        }
        for (at, what) in wide::of_settings(settings, &text) {
            self.findings.warn(config, at, what);
        }
        certificates(&mut self.findings, config, &rules);
        check_audit(&mut self.findings, config, settings);
        check_state(&mut self.findings, &rules);
        let file = &settings.policy;
        for token in &rules.policy.tokens {
            let Some(why) = nobody_can_use(&rules, &token.limits) else {
                continue;
            };
            let (name, id) = (&token.name, &token.id);
            let what = format!("the token `{name}` ({id}) can't be used: {why}");
            self.findings.warn(file, At::START, what);
        }
        self.policy(file, &rules.policy, &rules.catalog, settings.field_scopes);
        self.trust(file, &rules.policy, |issuer| settings.issuer_kind(issuer));
    }

    /// Says what is risky in the rules of `trust`; what trusts strangers keeps the files from being used, and was told before.
    fn trust(&mut self, file: &Path, policy: &Policy, kind: impl Fn(&str) -> IssuerKind) {
        let hazards = hazards(policy, kind).into_iter();
        for hazard in hazards.filter(|hazard| !hazard.trusts_strangers) {
            self.findings.warn(file, hazard.at, hazard.what);
        }
    }

    fn policy(&mut self, file: &Path, policy: &Policy, catalog: &Catalog, fields: FieldScopes) {
        let findings = &mut self.findings;
        caution(findings, file, policy, catalog);
        for (at, what) in wide::remarks(policy, catalog, fields) {
            findings.warn(file, at, what);
        }
        let now = Timestamp::now();
        for token in &policy.tokens {
            let (name, id) = (&token.name, &token.id);
            match token.ceiling.as_deref() {
                Some(ceiling) if ceiling.holds(now) => {
                    findings.warn(file, token.at, reports(name, id, ceiling));
                }
                Some(Ceiling { role: _, until }) => {
                    let what = format!(
                        "the ceiling of the token `{name}` ({id}) ended at {until:.0}, and its roles alone decide; take `ceiling` and `report_until` out"
                    );
                    findings.warn(file, token.at, what);
                }
                None => {}
            }
            let ends = token.limits.expires_at;
            if let Some(what) = ends.and_then(|ends| soon(ends, now)) {
                let (name, id) = (&token.name, &token.id);
                let what = format!(
                    "the token `{name}` ({id}) {what}; replace its entry by a new one, as `tidegate token issue --yaml` prints it, or take it out"
                );
                findings.warn(file, At::START, what);
            }
        }
        let mut passed = 0;
        for test in &policy.tests {
            match policy::run_test(test, policy, catalog) {
                Ok(()) => passed += 1,
                Err(what) => findings.fail(file, test.at, what),
            }
        }
        for test in &policy.trust_tests {
            match run_trust_test(test, policy) {
                Ok(()) => passed += 1,
                Err(what) => findings.fail(file, test.at, what),
            }
        }
        let failed = policy.tests.len() + policy.trust_tests.len() - passed;
        self.policy = Some([policy.roles.len(), policy.tokens.len(), passed, failed]);
    }

    /// How many errors and how many warnings.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let count = |severity| self.findings.count(severity);
        (count(Severity::Error), count(Severity::Warning))
    }

    /// It for programs.
    pub(crate) fn as_json(&self) -> Value {
        let (errors, warnings) = self.counts();
        let counts = self.policy.map(|[roles, tokens, passed, failed]| {
            json!({ "roles": roles, "tokens": tokens, "tests": { "passed": passed, "failed": failed } })
        });
        json!({
            "errors": errors,
            "warnings": warnings,
            "policy": counts,
            "findings": self.findings.as_json(),
        })
    }
}

/// What stands for the file of a policy that is none.
pub(super) const PASTED: &str = "pasted";
/// How long before an end that end is told.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

/// That something has ended, or ends before long.
fn soon(ends: Timestamp, now: Timestamp) -> Option<String> {
    let left = ends.duration_since(now);
    if left <= SignedDuration::ZERO {
        return Some(format!("ended at {ends:.0}"));
    }
    (left < SOON).then(|| match left.as_hours() {
        hours @ ..48 => format!("ends at {ends:.0}, in {}", counted_hours(hours)),
        hours => format!("ends at {ends:.0}, in {} days", hours / 24),
    })
}

fn counted_hours(hours: i64) -> String {
    match hours {
        0 => "less than an hour".to_owned(),
        1 => "1 hour".to_owned(),
        hours => format!("{hours} hours"),
    }
}

/// That a token may do more than its roles say, until when, and what to do about it.
fn reports(name: &str, id: &TokenId, ceiling: &Ceiling) -> String {
    let Ceiling { role, until } = ceiling;
    format!(
        "the token `{name}` ({id}) may do all that `{role}` grants until {until:.0}: what its own roles would refuse is let through and only reported; `tidegate suggest --token {name}` prints what they lack"
    )
}

/// Says which certificates end, at the place of the configuration that leads to them.
fn certificates(findings: &mut Findings, config: &Path, rules: &Rules) {
    let now = Timestamp::now();
    for certificate in &rules.certificates {
        if let Some(what) = soon(certificate.ends, now) {
            let at = rules.settings.places.at(&certificate.key);
            let path = certificate.path.display();
            let what = format!(
                "a certificate of `{path}` {what}; renew it, or clients will refuse the connection"
            );
            findings.warn(config, at, what);
        }
    }
}

/// Says which roles can get what reaches further than their grants: logins to whole registries, keys without an end.
fn caution(findings: &mut Findings, file: &Path, policy: &Policy, catalog: &Catalog) {
    let handing_out: Vec<_> = catalog
        .endpoints()
        .iter()
        .filter(|endpoint| endpoint.caution.is_some())
        .collect();
    let all = policy.roles.values();
    for (role, grant) in all.flat_map(|role| role.allow.iter().map(move |grant| (role, grant))) {
        let patterns = patterns(grant);
        let narrowed = KindReach::of(grant, &role.vars, catalog);
        for endpoint in handing_out
            .iter()
            .filter(|endpoint| reaches(grant, &patterns, endpoint))
            .filter(|endpoint| narrowed.as_ref().is_none_or(|reach| reach.covers(endpoint)))
        {
            let (Some(caution), Some(why)) = (&endpoint.caution, &endpoint.sensitive) else {
                continue;
            };
            let place = &grant.place;
            let what = format!("`{place}` can call {endpoint}; it {why}, and that {caution}");
            findings.warn(file, grant.at, what);
        }
    }
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
        Covers::Requests(_) => patterns.iter().any(|it| it.spells_endpoint(endpoint)),
    }
}

/// Says where the daemon would not start for want of a place for its record. systemd may make it just before.
fn check_audit(findings: &mut Findings, config: &Path, settings: &Settings) {
    let AuditSink::File(path) = &settings.audit.sink else {
        return;
    };
    let directory = path.parent().unwrap_or(Path::new(""));
    let here = directory.as_os_str().is_empty();
    if !here && !directory.is_dir() {
        let what = format!(
            "there is no directory `{}` for the audit file, and without it the daemon does not start; make it (systemd does, by `LogsDirectory=`), or name another",
            directory.display()
        );
        findings.warn(config, settings.places.at("audit.file"), what);
    }
}

/// Says which issued tokens can't be used any more, or not for long. That stops no reload, so it is a warning.
fn check_state(findings: &mut Findings, rules: &Rules) {
    let place = &rules.settings.state;
    let path = match place {
        StatePlace::File(path) => path.as_path(),
        StatePlace::Postgres(_) => Path::new("PostgreSQL"),
    };
    if let StatePlace::Postgres(database) = place {
        findings.warn(path, At::START, database.stale_says());
    }
    if !place.exists() {
        findings.warn(
            path,
            At::START,
            "there is no state file yet; the first `tidegate token issue` makes it",
        );
        return;
    }
    let (doubts, listed) = match state_of(rules) {
        Ok(read) => read,
        Err(error) => return findings.fail(path, At::START, error.to_string()),
    };
    for doubt in doubts {
        findings.warn(path, At::START, doubt);
    }
    let now = Timestamp::now();
    for listed in &listed {
        check_token(findings, (rules, path), listed, now);
    }
}

fn check_token(
    findings: &mut Findings,
    (rules, path): (&Rules, &Path),
    (token, usage, revoked_at): &ListedToken,
    now: Timestamp,
) {
    if revoked_at.is_some() {
        return;
    }
    let (name, id) = (&token.name, &token.id);
    if rules.file_token(id).is_some() {
        findings.warn(path, At::START, format!("the id {id} of the token `{name}` stands in the policy file too: each secret works with its own roles, they share their uses, and revoking ends both; issue a new token for one of them, and take that one out"));
    }
    let ceiling = token.ceiling.as_deref();
    let ceiling = ceiling.filter(|ceiling| ceiling.holds(now));
    let role = ceiling.map(|ceiling| ceiling.role.as_str());
    let beside = role.map_or(Beside::Nothing, Beside::Ceiling);
    let unbound = rules.grants_with(&token.roles, &token.vars, beside).err();
    if let Some(ceiling) = ceiling {
        findings.warn(path, At::START, reports(name, id, ceiling));
    }
    let why = unbound
        .map(|unbound| unbound.to_string())
        .or_else(|| nobody_can_use(rules, &token.limits));
    if let Some(why) = why {
        findings.warn(
            path,
            At::START,
            format!("the token `{name}` ({id}) can't be used: {why}"),
        );
    }
    let admission = Admission {
        limits: &token.limits,
        since: Some(token.created_at),
        revoked_at: *revoked_at,
        usage: *usage,
    };
    let lasts = |ends: &Timestamp| ends.duration_since(token.created_at) > SOON * 2; // one for a session ends as it was meant to
    if let (Some(ends), TokenStanding::Active) = (
        token.limits.expires_at.filter(lasts),
        standing(&admission, now),
    ) && let Some(what) = soon(ends, now)
    {
        findings.warn(
            path,
            At::START,
            format!("the token `{name}` ({id}) {what}; issue its holder a new one"),
        );
    }
}

/// What makes the state doubtful as a whole, and the tokens in it.
fn state_of(rules: &Rules) -> Result<(Vec<String>, Vec<ListedToken>), StateError> {
    let place = &rules.settings.state;
    state::kept_close(place)?;
    let state = state::open(place, Duration::from_secs(5))?;
    let latest = state.latest()?;
    let older = state.older_than()?;
    let older = older.or_else(|| older_than(latest, recorded_until(&rules.settings.audit)));
    let older = older.map(|recorded| OlderState(recorded).to_string());
    let behind = Time::from(latest).now().behind();
    let behind = behind.map(|behind| BehindClock(behind).to_string());
    Ok((older.into_iter().chain(behind).collect(), state.list()?))
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
