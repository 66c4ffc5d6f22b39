use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args};
use jiff::Timestamp;
use serde_json::json;

use super::{Failed, Outcome, print};
use crate::catalog::{Catalog, Method, Scope};
use crate::config;
use crate::policy::{Decision, Grants, Limits, Policy, Source, Vars, bind, decide, touches};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, Target};
use crate::resource::Given;
use crate::token::{Admission, ClientAddr, State, Usage, admit};

#[derive(Args)]
#[command(
    group(ArgGroup::new("who").required(true).args(["token", "roles"])),
    after_help = "Example:\n  tidegate explain DELETE /v2/droplets/12 --role reader\n\nExit status: 0 allowed, 1 refused, 2 could not tell."
)]
pub(super) struct Arguments {
    /// The method.
    method: String,
    /// The path, with its query if it has one.
    path: String,
    /// The sub-token that asks, by name or id.
    #[arg(long, value_name = "NAME")]
    token: Option<String>,
    /// A role that asks; repeatable.
    #[arg(long = "role", value_name = "ROLE")]
    roles: Vec<String>,
    /// A variable of the roles, as `client=a`; repeatable.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = super::token::variable, requires = "roles")]
    vars: Vec<(String, String)>,
    /// Where the request would come from; without it, that is not judged.
    #[arg(long, value_name = "IP")]
    from: Option<Source>,
    /// The body, a file with JSON.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What there is to say.
struct Verdict {
    decided: Result<String, Refusal>,
    suggestion: Option<String>,
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    match verdict(config, arguments) {
        Ok(verdict) => {
            verdict.tell(arguments.json)?;
            Ok(if verdict.decided.is_ok() {
                Outcome::Good
            } else {
                Outcome::Bad
            })
        }
        Err(Failed(lines)) => {
            lines.iter().for_each(super::say);
            Ok(Outcome::Unknown)
        }
    }
}

fn verdict(config: &Path, arguments: &Arguments) -> Result<Verdict, Failed> {
    let settings = config::settings(config)?;
    let catalog = config::catalog(settings.extra_catalog.as_deref())?;
    let policy = config::policy(&settings, &catalog)?;
    let method: Method = match arguments.method.to_uppercase().as_str() {
        "HEAD" => Method::Get,
        method => method
            .parse()
            .map_err(|error| Failed::because(format!("`{}`: {error}", arguments.method)))?,
    };
    let body = arguments.body.as_ref().map(fs::read).transpose();
    let body = body.map_err(|error| Failed::because(format!("the body can't be read: {error}")))?;
    let who = Who::find(arguments, &policy, &settings.state)?;
    let decided = who.admitted(arguments.from).and_then(|()| {
        let grants = who.grants(&policy)?;
        let asked = asked(method, &arguments.path, body.as_deref(), &catalog)?;
        let touches = touches(&grants, &asked, &Given::default(), &catalog)?;
        match decide(&grants, &asked, &touches, &catalog) {
            Decision::Allow(allowed) => Ok(allowed.place().to_owned()),
            Decision::Deny(refusal) => Err(refusal),
        }
    });
    let suggestion = decided
        .as_ref()
        .err()
        .and_then(|refusal| suggestion(refusal, method, &arguments.path));
    Ok(Verdict {
        decided,
        suggestion,
    })
}

/// Reads the request as the daemon does: one canonical target, and a body where one decides.
fn asked<'c>(
    method: Method,
    path: &str,
    body: Option<&[u8]>,
    catalog: &'c Catalog,
) -> Result<Asked<'c>, Refusal> {
    let mut asked = Asked::new(method, Target::read(path)?, catalog);
    asked.fits(catalog)?;
    if let Some(body) = body.filter(|_| method != Method::Get) {
        asked.take_body(body)?;
    }
    asked.fits(catalog)?;
    Ok(asked)
}

/// Who asks: a token as it stands, or roles.
struct Who {
    roles: Vec<String>,
    vars: Vars,
    limits: Limits,
    since: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    usage: Usage,
}

impl Who {
    fn find(arguments: &Arguments, policy: &Policy, state: &Path) -> Result<Self, Failed> {
        let Some(wanted) = &arguments.token else {
            let vars = arguments.vars.iter().cloned().collect();
            return Ok(Self {
                roles: arguments.roles.clone(),
                vars,
                limits: Limits::default(),
                since: None,
                revoked_at: None,
                usage: Usage::default(),
            });
        };
        let state = State::open(state, Duration::from_secs(5)).map_err(Failed::because)?;
        let listed = policy
            .tokens
            .iter()
            .find(|token| token.name == *wanted || token.id.as_str() == wanted);
        if let Some(token) = listed {
            let (revoked_at, usage) = (
                state.revoked_at(&token.id).map_err(Failed::because)?,
                state.usage(&token.id).map_err(Failed::because)?,
            );
            return Ok(Self {
                roles: token.roles.clone(),
                vars: token.vars.clone(),
                limits: token.limits.clone(),
                since: None,
                revoked_at,
                usage,
            });
        }
        let issued = state
            .list()
            .map_err(Failed::because)?
            .into_iter()
            .filter(|(token, ..)| token.name == *wanted || token.id.as_str() == wanted);
        let newest =
            issued.max_by_key(|(token, _, revoked_at)| (revoked_at.is_none(), token.created_at));
        let Some((token, usage, revoked_at)) = newest else {
            return Err(Failed::because(format!(
                "there is no token `{wanted}`; `tidegate token list` shows them all"
            )));
        };
        Ok(Self {
            roles: token.roles,
            vars: token.vars,
            limits: token.limits,
            since: Some(token.created_at),
            revoked_at,
            usage,
        })
    }

    fn admitted(&self, from: Option<Source>) -> Result<(), Refusal> {
        let mut limits = self.limits.clone();
        let addr = match from {
            Some(Source::Net(net)) => ClientAddr::Ip(net.addr()),
            Some(Source::Unix) => ClientAddr::Unix,
            None => {
                limits.sources = None;
                ClientAddr::Unix
            }
        };
        let admission = Admission {
            limits: &limits,
            since: self.since,
            revoked_at: self.revoked_at,
            usage: self.usage,
        };
        admit(&admission, addr, Timestamp::now())
    }

    fn grants(&self, policy: &Policy) -> Result<Arc<Grants>, Refusal> {
        let bound = bind(policy, &self.roles, &self.vars);
        bound.map(Arc::new).map_err(|unbound| {
            Refusal::new(Code::RoleMissing, format!("it can't be used: {unbound}"))
        })
    }
}

/// What a role would need in its `allow`, where a grant could help.
fn suggestion(refusal: &Refusal, method: Method, path: &str) -> Option<String> {
    let scopes = refusal
        .needs
        .iter()
        .map(Scope::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match refusal.code {
        Code::Scope | Code::FieldScope if !scopes.is_empty() => {
            Some(format!("allow:\n  - scopes: [{scopes}]"))
        }
        Code::UnknownEndpoint => {
            let path = Target::read(path).ok()?.path();
            Some(format!(
                "allow:\n  - requests: ['{method} {}']",
                regex::escape(&path)
            ))
        }
        _ => None,
    }
}

impl Verdict {
    fn tell(&self, as_json: bool) -> Result<(), Failed> {
        if as_json {
            let (decision, reason, detail) = match &self.decided {
                Ok(place) => ("allow", place.as_str(), None),
                Err(refusal) => (
                    "deny",
                    refusal.code.as_str(),
                    Some(refusal.message.as_str()),
                ),
            };
            let needs: Vec<_> = self
                .decided
                .as_ref()
                .err()
                .into_iter()
                .flat_map(|refusal| &refusal.needs)
                .map(Scope::as_str)
                .collect();
            return print(
                json!({ "decision": decision, "reason": reason, "detail": detail, "needs": needs, "suggestion": self.suggestion }),
            );
        }
        match &self.decided {
            Ok(place) => print(format!("allow {place}")),
            Err(refusal) => {
                print(format!("deny {}", refusal.code))?;
                print(&refusal.message)?;
                match &self.suggestion {
                    Some(yaml) => print(format!("\nthis in a role would allow it:\n\n{yaml}")),
                    None => Ok(()),
                }
            }
        }
    }
}
