//! `explain`: what the daemon would say to a request, by the same functions and in the same order, without sending it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::facts::{self, NotTold};
use super::suggest::{Refused, suggestion};
use super::{Failed, Outcome, print};
use crate::audit::Would;
use crate::catalog::{Catalog, Endpoint, Method, Scope};
use crate::config::Settings;
use crate::policy::{
    Allowed, Ceiling, Decision, Grants, Policy, Vars, bind, decide, precheck, read_given, under,
    wants_touches,
};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, Target};
use crate::resource::Given;
use crate::rules;
use crate::secret::redacted;
use crate::state;
use crate::token::{Admission, ClientAddr, Origin, Usage, admit};
use crate::token::{Limits, Source};

#[derive(Args)]
#[command(
    group(ArgGroup::new("who").required(true).args(["token", "roles"])),
    after_help = "Example:\n  tidegate explain DELETE /v2/droplets/12 --role reader\n\nExit status: 0 allowed, 1 refused, 2 could not tell (an unknown role or token; no body where one decides)."
)]
/// The arguments of `explain`.
pub struct Arguments {
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
    /// Where the request would come from; without it, that is not judged. What a token asks of client certificates never is.
    #[arg(long, value_name = "IP")]
    from: Option<Source>,
    /// The body, a file with JSON; where it decides and is not given, it can't be told.
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// The body, where it comes from no file.
    #[arg(skip)]
    pub(crate) body_text: Option<String>,
    /// What there is, as `given` in the policy's tests has it; without it, the API is asked.
    #[arg(long, value_name = "FILE")]
    resource: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Reads them as the command line does, the name of the command left out.
    ///
    /// # Errors
    /// What the command would say.
    pub(crate) fn read(arguments: &[String]) -> Result<Self, Failed> {
        let all = std::iter::once("explain").chain(arguments.iter().map(String::as_str));
        let read = Alone::try_parse_from(all);
        read.map(|alone| alone.arguments).map_err(|error| {
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            Failed::because(line.strip_prefix("error: ").unwrap_or(line))
        })
    }
}

/// `explain` alone.
#[derive(Parser)]
#[command(name = "explain", disable_help_flag = true)]
struct Alone {
    #[command(flatten)]
    arguments: Arguments,
}

/// What there is to say: the deciding grant or the refusal, and what would allow the request.
pub struct Verdict {
    decided: Result<String, Refusal>,
    /// What the roles alone would have said, where a ceiling lets it through.
    would: Option<Refusal>,
    suggestion: Option<String>,
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    let told = Ground::read(config).and_then(|ground| ground.whole_verdict(arguments));
    match told {
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

/// The files by which it is judged, as the daemon would read them.
pub struct Ground {
    config: PathBuf,
    settings: Settings,
    catalog: Catalog,
    policy: Policy,
}

impl Ground {
    /// Reads the configuration, the catalogue and the policy.
    ///
    /// # Errors
    /// The mistakes in them.
    pub fn read(config: &Path) -> Result<Self, Failed> {
        let settings = rules::settings(config)?;
        let catalog = rules::catalog(settings.extra_catalog.as_deref())?;
        let policy = rules::policy(&settings, &catalog)?;
        Ok(Self {
            config: config.to_owned(),
            settings,
            catalog,
            policy,
        })
    }

    /// What the daemon would say, if that does not hang on a body that was not given.
    ///
    /// # Errors
    /// Why it can't be told.
    pub(crate) fn whole_verdict(&self, arguments: &Arguments) -> Result<Verdict, Failed> {
        let verdict = self.verdict(arguments)?;
        self.body_decides(arguments, &verdict)?;
        Ok(verdict)
    }

    /// What the daemon would say.
    ///
    /// # Errors
    /// Why it can't be told: there is no such token, or the body can't be read.
    pub fn verdict(&self, arguments: &Arguments) -> Result<Verdict, Failed> {
        let method: Method = match arguments.method.to_uppercase().as_str() {
            "HEAD" => Method::Get,
            method => method
                .parse()
                .map_err(|error| Failed::because(format!("`{}`: {error}", arguments.method)))?,
        };
        let body = arguments.body.as_ref().map(fs::read).transpose();
        let body =
            body.map_err(|error| Failed::because(format!("the body can't be read: {error}")))?;
        let text = arguments.body_text.as_ref();
        let body = body.or_else(|| text.map(|text| text.clone().into_bytes()));
        let who = Who::find(arguments, &self.policy, &self.settings.state)?;
        let given = arguments.resource.as_ref().map(|path| self.given(path));
        let given = given.transpose()?;
        let tell = |grants: &Grants| {
            let request = (method, arguments.path.as_str());
            self.decided(grants, request, body.as_deref(), given.as_ref())
        };
        let grants = who
            .admitted(arguments.from)
            .and_then(|()| who.grants(&self.policy));
        let decided = match &grants {
            Ok(grants) => match tell(grants) {
                Ok(allowed) => Ok(allowed),
                Err(NotTold::Refused(refusal)) => Err(refusal),
                Err(NotTold::Unknown(why)) => return Err(why),
            },
            Err(refusal) => Err(refusal.clone()),
        };
        let judge = |grants: &Grants| {
            let told = tell(grants).map(|allowed| allowed.place().to_owned());
            told.map_err(|not| match not {
                NotTold::Refused(refusal) => refusal,
                NotTold::Unknown(Failed(why)) => Refusal::new(Code::Resource, why.join("; ")),
            })
        };
        let suggestion = match (&grants, &decided) {
            (Ok(grants), Err(refusal)) => {
                let path = &arguments.path;
                let refused = Refused {
                    method,
                    path,
                    body: body.as_deref(),
                    refusal,
                };
                suggestion(&refused, grants, &self.catalog, judge)
            }
            (Err(_), _) | (_, Ok(_)) => None, // no role helps who is not let in, and who passes needs none
        };
        let would = decided.as_ref().ok().and_then(Allowed::would).cloned();
        Ok(Verdict {
            decided: decided.map(|allowed| allowed.place().to_owned()),
            would,
            suggestion,
        })
    }

    /// That no body was given, where one would have been judged: the empty one that stands in its place is none that anybody
    /// sends, so that it tells neither that another is allowed nor that it is refused.
    fn body_decides(&self, arguments: &Arguments, verdict: &Verdict) -> Result<(), Failed> {
        let Ok(method) = arguments.method.to_uppercase().parse::<Method>() else {
            return Ok(());
        };
        let Ok(target) = Target::read(&arguments.path) else {
            return Ok(());
        };
        let asked = Asked::new(method, target, &self.catalog);
        let inspected = asked.endpoint.is_some_and(Endpoint::inspects_body);
        let by_the_body = match &verdict.decided {
            Ok(_) => true,
            Err(refusal) => matches!(
                refusal.code,
                Code::Action
                    | Code::AmbiguousRequest
                    | Code::BodyUnreadable
                    | Code::Denied
                    | Code::FieldScope
                    | Code::FieldUnknown
                    | Code::Resource
            ),
        };
        if arguments.body.is_none()
            && arguments.body_text.is_none()
            && method != Method::Get
            && inspected
            && by_the_body
        {
            return Err(Failed::because(format!(
                "no body was given, and what is in it decides over {} {}; give it with `--body FILE` (`--body /dev/null`, if there is none)",
                method, arguments.path
            )));
        }
        Ok(())
    }

    /// Reads and decides the request as the daemon does: what scopes alone refuse is refused before its body is read, and what
    /// it touches is looked up only where that decides.
    fn decided(
        &self,
        grants: &Grants,
        (method, path): (Method, &str),
        body: Option<&[u8]>,
        given: Option<&Given>,
    ) -> Result<Allowed, NotTold> {
        let target = Target::read(path)?;
        if Asked::has_token(method, &target, &self.catalog) {
            let why = "the target has a token in it; send the sub-token in the `Authorization` header and nowhere else; consider it known";
            return Err(Refusal::new(Code::AmbiguousRequest, why).into());
        }
        let mut asked = Asked::new(method, target, &self.catalog);
        asked.fits(&self.catalog)?;
        precheck(grants, &asked, &self.catalog)?;
        if let Some(body) = body.filter(|body| method != Method::Get && !body.is_empty()) {
            asked.take_body(body, &self.catalog)?;
        }
        asked.fits(&self.catalog)?;
        let touches = if !wants_touches(grants, &asked) {
            Vec::new()
        } else if let Some(given) = given {
            crate::policy::touches(grants, &asked, given, &self.catalog)?
        } else {
            facts::touches(&self.config, grants, &asked)?
        };
        match decide(grants, &asked, &touches, &self.catalog) {
            Decision::Allow(allowed) => Ok(allowed),
            Decision::Deny(refusal) => Err(refusal.into()),
        }
    }

    fn given(&self, path: &Path) -> Result<Given, Failed> {
        let text = fs::read_to_string(path)
            .map_err(|error| Failed::because(format!("`{}`: {error}", path.display())))?;
        read_given(&path.display().to_string(), &text, &self.catalog)
            .map_err(|mistakes| Failed(mistakes.into_lines()))
    }
}

/// Who asks: a token as it stands, or roles.
struct Who {
    roles: Vec<String>,
    vars: Vars,
    limits: Limits,
    since: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    usage: Usage,
    ceiling: Option<Arc<Ceiling>>,
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
                ceiling: None,
            });
        };
        // To ask makes none.
        let state = if state.exists() {
            Some(state::open(state, Duration::from_secs(5)).map_err(Failed::because)?)
        } else {
            None
        };
        let listed = policy
            .tokens
            .iter()
            .find(|token| token.name == *wanted || token.id.as_str() == wanted);
        if let Some(token) = listed {
            let (revoked_at, usage) = match &state {
                None => (None, Usage::default()),
                Some(state) => (
                    state.revoked_at(&token.id).map_err(Failed::because)?,
                    state.usage(&token.id).map_err(Failed::because)?,
                ),
            };
            return Ok(Self {
                roles: token.roles.clone(),
                vars: token.vars.clone(),
                limits: token.limits.clone(),
                since: None,
                revoked_at,
                usage,
                ceiling: token.ceiling.clone(),
            });
        }
        let issued = state.map(|state| state.named(wanted)).transpose();
        let issued = issued.map_err(Failed::because)?.unwrap_or_default();
        let newest = issued
            .into_iter()
            .max_by_key(|(token, _, revoked_at)| (revoked_at.is_none(), token.created_at));
        let Some((token, usage, revoked_at)) = newest else {
            return Err(Failed::because(format!(
                "there is no token `{}`; `tidegate token list` shows them all",
                redacted(wanted)
            )));
        };
        Ok(Self {
            roles: token.roles.to_vec(),
            vars: token.vars,
            limits: Arc::unwrap_or_clone(token.limits),
            since: Some(token.created_at),
            revoked_at,
            usage,
            ceiling: token.ceiling,
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
        limits.client_cert = None; // no connection is there to show one
        let admission = Admission {
            limits: &limits,
            since: self.since,
            revoked_at: self.revoked_at,
            usage: self.usage,
        };
        admit(&admission, Origin::from(addr), Timestamp::now())
    }

    fn grants(&self, policy: &Policy) -> Result<Arc<Grants>, Refusal> {
        let ceiling = self.ceiling.as_deref();
        let ceiling = ceiling.filter(|ceiling| ceiling.holds(Timestamp::now()));
        let bound = bind(policy, &self.roles, &self.vars).map(Arc::new);
        let bound = bound.and_then(|alone| match ceiling {
            Some(ceiling) => under(policy, &alone, &ceiling.role).map(Arc::new),
            None => Ok(alone),
        });
        bound.map_err(|unbound| {
            Refusal::new(Code::RoleMissing, format!("it can't be used: {unbound}"))
        })
    }
}

impl Verdict {
    /// It as `--json` prints it.
    pub fn as_json(&self) -> Value {
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
        let refusal = self.decided.as_ref().err();
        let why = refusal.and_then(|refusal| refusal.detail.as_deref());
        let would = self.would.as_ref().map(Would::from);
        json!({ "decision": decision, "reason": reason, "detail": detail, "why": why, "needs": needs, "would": would, "suggestion": self.suggestion })
    }

    fn tell(&self, as_json: bool) -> Result<(), Failed> {
        if as_json {
            return print(self.as_json());
        }
        match &self.decided {
            Ok(place) => {
                print(format!("allow {place}"))?;
                let would = self.would.as_ref();
                would.map_or(Ok(()), |refusal| {
                    print(format!(
                        "only its ceiling allows it, until that ends; its roles alone would deny it: {refusal}"
                    ))
                })
            }
            Err(refusal) => {
                print(format!("deny {}", refusal.code))?;
                print(&refusal.message)?;
                if let Some(detail) = &refusal.detail {
                    print(format!("why: {detail}"))?;
                }
                match &self.suggestion {
                    Some(yaml) => print(format!("\nthis in a role would allow it:\n\n{yaml}")),
                    None => Ok(()),
                }
            }
        }
    }
}
