//! What the daemon would say to a request, by the same functions and in the same order, without sending it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Failed;
use super::facts::{self, NotTold};
use super::issue::known_roles;
use super::suggestion::{RefusedRequest, suggestion};
use crate::audit::Would;
use crate::catalog::{Catalog, Endpoint, Method, Scope};
use crate::config::Settings;
use crate::policy::{
    Allowed, Beside, FileToken, Grants, OWN, Policy, Vars, bind, by_request, by_touches,
    read_given, together, wants_touches,
};
use crate::refusal::{Code, Refusal};
use crate::request::{Asked, Headed, Target};
use crate::resource::Given;
use crate::rules::{self, Rules};
use crate::secret::redacted;
use crate::state::{self, KeptToken, SeenToken, Store};
use crate::token::{Admission, ClientAddr, RequestOrigin, Source, Usage, admit};

/// A request that nobody sends, and who would.
#[derive(Debug)]
pub struct ExplainedRequest {
    pub(crate) method: String,
    /// With its query, if it has one.
    pub(crate) path: String,
    pub(crate) asker: Asker,
    /// Where it would come from; without it, that is not judged. What a token asks of client certificates never is.
    pub(crate) from: Option<Source>,
    /// Where it decides and is not given, it can't be told.
    pub(crate) body: Option<Vec<u8>>,
    /// What there is, as `given` in the policy's tests has it: the file's name and text. Without it, the API is asked.
    pub(crate) given: Option<(String, String)>,
}

/// Who asks.
#[derive(Debug)]
pub(crate) enum Asker {
    /// A sub-token, by its name or id.
    Token(String),
    /// Roles, with their variables.
    Roles(Vec<String>, Vec<(String, String)>),
}

/// What there is to say: the deciding grant or the refusal, and what would allow the request.
pub struct Explanation {
    pub(crate) decided: Result<String, Refusal>,
    /// What the roles alone would have said, where a ceiling lets it through.
    pub(crate) would: Option<Refusal>,
    pub(crate) suggestion: Option<String>,
}

/// The files by which it is judged, as the daemon would read them.
pub struct ExplainGround {
    config: PathBuf,
    settings: Settings,
    catalog: Catalog,
    policy: Policy,
    /// What things are looked up by, once something was: it takes reading all files anew, and the real tokens.
    rules: OnceLock<Rules>,
}

impl ExplainGround {
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
            rules: OnceLock::new(),
        })
    }

    fn rules(&self) -> Result<&Rules, NotTold> {
        if let Some(rules) = self.rules.get() {
            return Ok(rules);
        }
        let rules = facts::rules(&self.config)?;
        Ok(self.rules.get_or_init(|| rules))
    }

    /// What the daemon would say, if that does not hang on a body that was not given.
    ///
    /// # Errors
    /// Why it can't be told.
    pub(crate) fn whole_verdict(&self, question: &ExplainedRequest) -> Result<Explanation, Failed> {
        let verdict = self.verdict(question)?;
        Self::body_decides(&self.catalog, question, &verdict)?;
        Ok(verdict)
    }

    /// What the daemon would say.
    ///
    /// # Errors
    /// Why it can't be told: there is no such token, or the body can't be read.
    pub fn verdict(&self, question: &ExplainedRequest) -> Result<Explanation, Failed> {
        let method: Method = match question.method.to_uppercase().as_str() {
            "HEAD" => Method::Get,
            method => method
                .parse()
                .map_err(|error| Failed::because(format!("`{}`: {error}", question.method)))?,
        };
        let body = question.body.as_deref();
        let who = KnownAsker::find(&question.asker, &self.policy, &self.settings.state)?;
        let given = question.given.as_ref().map(|(file, text)| {
            let read = read_given(file, text, &self.catalog);
            read.map_err(|mistakes| Failed(mistakes.into_lines()))
        });
        let given = given.transpose()?;
        let tell = |grants: &Grants| {
            let request = (method, question.path.as_str());
            self.decided(grants, request, body, given.as_ref())
        };
        let grants = who
            .admitted(question.from, &self.policy)
            .and_then(|()| who.grants(&self.policy, &self.catalog));
        let decided = match &grants {
            Ok(grants) => match tell(grants) {
                Ok(allowed) => Ok(allowed),
                Err(NotTold::Refused(refusal)) => Err(refusal),
                Err(NotTold::Unknown(why)) => return Err(why),
            },
            Err(refusal) => Err(refusal.clone()),
        };
        let judge = |grants: &Grants| {
            let told = tell(grants).map(|allowed| allowed.place);
            told.map_err(|not| match not {
                NotTold::Refused(refusal) => refusal,
                NotTold::Unknown(Failed(why)) => Refusal::new(Code::Resource, why.join("; ")),
            })
        };
        let suggestion = match (&grants, &decided) {
            (Ok(grants), Err(refusal)) => {
                let path = &question.path;
                let refused = RefusedRequest {
                    method,
                    path,
                    body,
                    refusal,
                };
                suggestion(&refused, grants, &self.catalog, judge)
            }
            (Err(_), _) | (_, Ok(_)) => None, // no role helps who is not let in, and who passes needs none
        };
        let (decided, would) = match decided {
            Ok(Let { place, would }) => (Ok(place), would),
            Err(refusal) => (Err(refusal), None),
        };
        Ok(Explanation {
            decided,
            would,
            suggestion,
        })
    }

    /// That no body was given, where one would have been judged: the empty one that stands in its place is none that anybody
    /// sends, so that it tells neither that another is allowed nor that it is refused.
    fn body_decides(
        catalog: &Catalog,
        question: &ExplainedRequest,
        verdict: &Explanation,
    ) -> Result<(), Failed> {
        let Ok(method) = question.method.to_uppercase().parse::<Method>() else {
            return Ok(());
        };
        let Ok(target) = Target::read(&question.path) else {
            return Ok(());
        };
        let asked = Asked::new(method, target, catalog);
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
        if question.body.is_none() && method != Method::Get && inspected && by_the_body {
            return Err(Failed::because(format!(
                "no body was given, and what is in it decides over {} {}; give it with `--body FILE` (`--body /dev/null`, if there is none)",
                method, question.path
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
    ) -> Result<Let, NotTold> {
        let catalog = &self.catalog;
        let asked = match Headed::read(method, Target::read(path)?, catalog)? {
            Headed::Api(asked) => asked,
            Headed::Own(held, _) if held.is_for_all() => return Ok(Let::own()),
            Headed::Own(..) => return Err(NotTold::Unknown(Failed::because(OF_CHILDREN))),
        };
        let asked = by_request(grants, asked, body, catalog)?;
        let touches = if !wants_touches(grants, &asked) {
            Vec::new()
        } else if let Some(given) = given {
            crate::policy::touches(grants, &asked, given, catalog)?
        } else {
            facts::touches(self.rules()?, grants, &asked)?
        };
        Ok(Let::from(by_touches(grants, &asked, &touches, catalog)?))
    }
}

const OF_CHILDREN: &str = "what a sub-token may make or end there hangs on itself and on what it made before, so only the daemon can tell; whether its roles let it make any stands in the policy (`delegate`)";

/// What lets a request through.
struct Let {
    place: String,
    /// What the roles alone would have said, where a ceiling does.
    would: Option<Refusal>,
}

impl Let {
    fn own() -> Self {
        Self {
            place: OWN.to_owned(),
            would: None,
        }
    }
}

impl From<Allowed> for Let {
    fn from(allowed: Allowed) -> Self {
        Self {
            place: allowed.place().to_string(),
            would: allowed.would().cloned(),
        }
    }
}

/// Who asks: a token as it stands, or roles.
struct KnownAsker {
    roles: Vec<String>,
    vars: Vars,
    token: Option<SeenToken>,
    /// The token that made it, if that has its secret still.
    maker: Option<SeenToken>,
}

impl KnownAsker {
    fn find(asker: &Asker, policy: &Policy, state: &state::StatePlace) -> Result<Self, Failed> {
        let wanted = match asker {
            Asker::Token(wanted) => wanted,
            Asker::Roles(roles, vars) => {
                known_roles(policy, roles)?;
                return Ok(Self {
                    roles: roles.clone(),
                    vars: vars.iter().cloned().collect(),
                    token: None,
                    maker: None,
                });
            }
        };
        // To ask makes none.
        let state = if state.exists() {
            Some(state::open(state, Duration::from_secs(5)).map_err(Failed::because)?)
        } else {
            None
        };
        let state = state.as_deref();
        let token = Self::token(wanted, policy, state)?;
        let parent = token.kept.parent();
        let maker = parent.map(|parent| parent.find(policy, state, Timestamp::now()));
        let maker = maker.transpose().map_err(Failed::because)?.flatten();
        Ok(Self {
            roles: token.kept.roles().to_vec(),
            vars: token.kept.vars().clone(),
            token: Some(token),
            maker,
        })
    }

    fn token(
        wanted: &str,
        policy: &Policy,
        state: Option<&dyn Store>,
    ) -> Result<SeenToken, Failed> {
        let called = |token: &&Arc<FileToken>| token.name == wanted || token.id.as_str() == wanted;
        if let Some(token) = policy.tokens.iter().find(called) {
            let (usage, revoked_at) = match state {
                None => (Usage::default(), None),
                Some(state) => (
                    state.usage(&token.id).map_err(Failed::because)?,
                    state.revoked_at(&token.id).map_err(Failed::because)?,
                ),
            };
            return Ok(SeenToken {
                kept: KeptToken::Listed(token.clone()),
                usage,
                revoked_at,
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
        Ok(SeenToken {
            kept: KeptToken::Issued(Arc::new(token)),
            usage,
            revoked_at,
        })
    }

    /// Whether it may be used now, from there if that is told; so must the token that made it.
    fn admitted(&self, from: Option<Source>, policy: &Policy) -> Result<(), Refusal> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let now = Timestamp::now();
        admitted(token, from, now)?;
        let Some(parent) = token.kept.parent() else {
            return Ok(());
        };
        let maker = self.maker.as_ref();
        if let Some(ended) = parent.ended(maker, &self.roles, policy, now.into()) {
            return Err(ended.refusal());
        }
        maker.map_or(Ok(()), |maker| admitted(maker, from, now))
    }

    fn grants(&self, policy: &Policy, catalog: &Catalog) -> Result<Arc<Grants>, Refusal> {
        let token = self.token.as_ref();
        let beside = token.map(|token| token.kept.beside(Timestamp::now()));
        let beside = beside.unwrap_or(Beside::Nothing);
        let bound = bind(policy, &self.roles, &self.vars).map(Arc::new);
        let bound = bound.and_then(|alone| together(policy, &alone, beside, catalog));
        bound.map_err(|unbound| {
            Refusal::new(Code::RoleMissing, format!("it can't be used: {unbound}"))
        })
    }
}

fn admitted(token: &SeenToken, from: Option<Source>, now: Timestamp) -> Result<(), Refusal> {
    let mut limits = token.kept.limits().clone();
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
        ..token.admission()
    };
    admit(&admission, RequestOrigin::from(addr), now)
}

impl Explanation {
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
}
