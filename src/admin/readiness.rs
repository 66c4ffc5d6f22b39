use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::audit::Audit;
use crate::rules::{Certificate, Current, Rules};
use crate::state::Live;
use crate::upstream::{RealToken, RealTokenStanding};

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// It does not listen yet.
    Starting,
    /// It takes requests.
    Listening,
    /// It lets requests under way end.
    Draining,
}

/// Whether the daemon does what it is there for, and what is in the way.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Readiness {
    parts: [(&'static str, Vec<String>); PARTS],
    /// What is well yet, and won't be before long.
    warnings: Vec<String>,
    /// Which daemon it is of several, by which policy.
    about: Vec<(String, Value)>,
}

const PARTS: usize = 6;

impl Readiness {
    /// What there is to know now. Where requests were refused for want of the record or the state, it is looked anew whether they
    /// would be: a balancer that asks here may keep all requests away meanwhile.
    pub async fn of(phase: Phase, current: &Current, tokens: &Live, audit: &Audit) -> Self {
        let now = Timestamp::now();
        audit.try_again(now).await;
        let failures = tokens.failures().await;
        let serving = current.get();
        let mut real_token: Vec<_> = serving
            .rules
            .real_tokens()
            .filter_map(|token| unaccepted(token))
            .collect();
        real_token.sort();
        let mut state = tokens.doubts();
        state.extend(failures.into_iter().map(str::to_owned));
        let certificates = &serving.rules.certificates;
        let of = |from: SignedDuration, to: SignedDuration| {
            let within = |certificate: &&Certificate| {
                let left = certificate.ends.duration_since(now);
                from < left && left <= to
            };
            certificates
                .iter()
                .filter(within)
                .map(told)
                .collect::<Vec<_>>()
        };
        let owned = |what: Option<&str>| what.map(str::to_owned).into_iter().collect();
        let unchanged = !current.last().problems.is_empty();
        Self {
            parts: [
                ("listening", owned(not_listening(phase))),
                ("policy", owned(unchanged.then_some("last reload failed; the old configuration and policy stay in force; the log and `tidegate check` say what is wrong"))),
                ("real_token", real_token),
                ("state", state),
                ("audit", owned((!audit.is_sound()).then_some("audit lines can't be written, so requests are refused (503); the log says why"))),
                ("certificates", of(SignedDuration::MIN, SignedDuration::ZERO)),
            ],
            warnings: of(SignedDuration::ZERO, SOON),
            about: about(&serving.rules),
        }
    }

    pub fn is_ready(&self) -> bool {
        self.parts.iter().all(|(_, problems)| problems.is_empty())
    }

    /// Each part, and whether it is well.
    pub fn parts(&self) -> impl Iterator<Item = (&'static str, bool)> {
        self.parts
            .iter()
            .map(|(part, problems)| (*part, problems.is_empty()))
    }

    pub fn json(&self) -> Value {
        let mut all = json!({ "ready": self.is_ready() });
        let problems: Vec<_> = self
            .parts
            .iter()
            .flat_map(|(_, problems)| problems)
            .collect();
        if let Some(members) = all.as_object_mut() {
            members.extend(
                self.parts()
                    .map(|(part, well)| (part.to_owned(), well.into())),
            );
            members.extend(self.about.clone());
            members.insert("problems".to_owned(), json!(problems));
            if !self.warnings.is_empty() {
                members.insert("warnings".to_owned(), json!(self.warnings));
            }
        }
        all
    }
}

/// The name of the daemon, where it is one of several, and the hash of its policy.
fn about(rules: &Rules) -> Vec<(String, Value)> {
    let instance = rules.settings.instance();
    let instance = instance.map(|name| ("instance".to_owned(), json!(name)));
    let policy = ("policy_sha256".to_owned(), json!(rules.policy_hash));
    instance.into_iter().chain([policy]).collect()
}

/// How long before its end a certificate is told of.
const SOON: SignedDuration = SignedDuration::from_hours(14 * 24);

fn told(certificate: &Certificate) -> String {
    let (path, ends) = (certificate.path.display(), certificate.ends);
    format!(
        "a certificate of `{path}` ends at {ends:.0}; renew it, or clients refuse the connection"
    )
}

fn not_listening(phase: Phase) -> Option<&'static str> {
    match phase {
        Phase::Starting => Some("starting; not all listeners are there yet"),
        Phase::Listening => None,
        Phase::Draining => Some("draining; requests under way may end, and no more are taken"),
    }
}

fn unaccepted(token: &RealToken) -> Option<String> {
    let standing = token.standing();
    (standing != RealTokenStanding::Accepted)
        .then(|| format!("account `{}`: {standing}", token.account))
}
