use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;

use super::writers::kept_from_others;
use super::{Listen, Place, RealToken, Settings, TokenSource, tls};
use crate::catalog::Catalog;
use crate::policy::{self, FileToken, Grants, Policy, Unbound, Vars, bind};
use crate::secret::{self, Secret};
use crate::token::TokenId;
use crate::yaml::Mistakes;

/// Everything by which requests are judged and sent, read at one moment and never changed after.
pub struct Rules {
    /// Which reading this is; each has its own.
    pub generation: u64,
    /// The configuration.
    pub settings: Settings,
    /// The API.
    pub catalog: Arc<Catalog>,
    /// The policy.
    pub policy: Policy,
    file_tokens: HashMap<TokenId, usize>,
    bound: HashMap<Vec<String>, Result<Arc<Grants>, Unbound>>,
    bound_sets: Mutex<HashMap<Vec<String>, Arc<Grants>>>,
    bound_last: Mutex<VecDeque<Arc<Grants>>>,
    accounts: HashMap<String, Arc<RealToken>>,
    tls: HashMap<Place, Arc<ServerConfig>>,
    admin_tls: Option<Arc<ServerConfig>>,
}

/// For how many sub-tokens with variables what they may do is kept from one request to the next. Patterns with variables are
/// compiled for each of them, and take some kilobytes.
const KEPT: usize = 1024;

impl Rules {
    /// The token of the policy file with that id.
    pub fn file_token(&self, id: &TokenId) -> Option<&Arc<FileToken>> {
        self.policy.tokens.get(*self.file_tokens.get(id)?)
    }

    /// What roles and variables come to. Without variables it is the same for all who have these roles, and kept; of the
    /// others, what was bound last is. Who asks holds on to it weakly, so that all of it goes with these rules.
    ///
    /// # Errors
    /// `Unbound` if a role or variable is gone.
    pub fn grants(&self, roles: &[String], vars: &Vars) -> Result<Arc<Grants>, Unbound> {
        if let Some(bound) = self.bound.get(roles) {
            return bound.clone();
        }
        if self.take_variables(roles) {
            return self.grants_of_one(roles, vars);
        }
        let mut sets = self
            .bound_sets
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(bound) = sets.get(roles) {
            return Ok(bound.clone());
        }
        let grants = Arc::new(bind(&self.policy, roles, vars)?);
        sets.insert(roles.to_vec(), grants.clone());
        Ok(grants)
    }

    fn take_variables(&self, roles: &[String]) -> bool {
        let mut known = roles.iter().filter_map(|name| self.policy.roles.get(name));
        known.any(|role| !role.vars.is_empty())
    }

    fn grants_of_one(&self, roles: &[String], vars: &Vars) -> Result<Arc<Grants>, Unbound> {
        let grants = Arc::new(bind(&self.policy, roles, vars)?);
        let mut last = self
            .bound_last
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.len() >= KEPT {
            last.pop_front();
        }
        last.push_back(grants.clone());
        Ok(grants)
    }

    /// What the listener at that place, as the configuration writes it, shows for TLS.
    pub fn tls(&self, place: &Place) -> Option<&Arc<ServerConfig>> {
        self.tls.get(place)
    }

    /// What the `admin` listener shows for TLS.
    pub fn admin_tls(&self) -> Option<&Arc<ServerConfig>> {
        self.admin_tls.as_ref()
    }

    /// Keeps what the API has said to real tokens that the rules before had too, for the same API.
    pub fn keep_what_is_known(&mut self, before: &Self) {
        let (was, is) = (&before.settings.upstream, &self.settings.upstream);
        if was.url != is.url || was.ca_file != is.ca_file {
            return;
        }
        for (account, token) in &mut self.accounts {
            if let Some(known) = before.real_token(account).filter(|known| known.is(token)) {
                *token = known.clone();
            }
        }
    }

    /// The real token of an account.
    pub fn real_token(&self, account: &str) -> Option<&Arc<RealToken>> {
        self.accounts.get(account)
    }

    /// All real tokens.
    pub fn real_tokens(&self) -> impl Iterator<Item = &Arc<RealToken>> {
        self.accounts.values()
    }
}

/// Something that keeps the rules from being read: a line for the operator.
#[derive(Debug)]
pub struct Problem(pub String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the configuration file alone.
///
/// # Errors
/// What is wrong with it.
pub fn settings(path: &Path) -> Result<Settings, Vec<Problem>> {
    let text = text_of(path, "the configuration").map_err(|problem| vec![problem])?;
    let directory = path.parent().unwrap_or(Path::new("."));
    super::read(&path.display().to_string(), &text, directory).map_err(problems)
}

/// Reads the configuration and everything that it points to, whole.
///
/// # Errors
/// Every problem that was found, in all files.
pub fn load(path: &Path) -> Result<Rules, Vec<Problem>> {
    static GENERATION: AtomicU64 = AtomicU64::new(1);
    let settings = settings(path)?;
    let mut wrong = Vec::new();
    let accounts = real_tokens(&settings, &mut wrong);
    let tls = listeners(&settings, &mut wrong);
    let admin_tls = admin(&settings, &mut wrong);
    for Problem(line) in &mut wrong {
        *line = format!("{}:1:1: {line}", path.display()); // what it names is not in the file, but named by it
    }
    let catalog = catalog(settings.extra_catalog.as_deref())
        .map_err(|more| wrong.extend(more))
        .ok();
    let policy = catalog.as_ref().and_then(|catalog| {
        policy(&settings, catalog)
            .map_err(|more| wrong.extend(more))
            .ok()
    });
    let (Some(catalog), Some(policy), true) = (catalog, policy, wrong.is_empty()) else {
        return Err(wrong);
    };
    let file_tokens = policy
        .tokens
        .iter()
        .enumerate()
        .map(|(index, token)| (token.id.clone(), index))
        .collect();
    let mut bound = HashMap::new();
    for role in policy.roles.values().filter(|role| role.vars.is_empty()) {
        let roles = vec![role.name.clone()];
        let grants = bind(&policy, &roles, &Vars::new()).map(Arc::new);
        bound.insert(roles, grants);
    }
    let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
    Ok(Rules {
        generation,
        settings,
        catalog: Arc::new(catalog),
        policy,
        file_tokens,
        bound,
        bound_sets: Mutex::default(),
        bound_last: Mutex::default(),
        accounts,
        tls,
        admin_tls,
    })
}

fn problems(mistakes: Mistakes) -> Vec<Problem> {
    mistakes
        .into_lines()
        .into_iter()
        .map(|line| Problem(with_severity(&line)))
        .collect()
}

/// `file:line:column: what` as `file:line:column: error: what`.
fn with_severity(line: &str) -> String {
    let mut ends = line.match_indices(": ");
    match ends.next() {
        Some((at, _)) => {
            let (place, what) = line.split_at(at);
            format!("{place}: error{what}")
        }
        None => format!("error: {line}"),
    }
}

fn text_of(path: &Path, what: &str) -> Result<String, Problem> {
    let problem = |why: String| Problem(format!("{}:1:1: error: {what} {why}", path.display()));
    let unreadable = |error| problem(format!("can't be read: {error}"));
    kept_from_others(path)
        .map_err(unreadable)?
        .map_err(|writable| problem(format!("is not taken: {writable}")))?;
    fs::read_to_string(path).map_err(unreadable)
}

/// The catalogue, with the extra endpoints of a configuration.
///
/// # Errors
/// The mistakes in them.
pub fn catalog(extra: Option<&Path>) -> Result<Catalog, Vec<Problem>> {
    let Some(path) = extra else {
        return Catalog::builtin().map_err(|lines| {
            lines
                .iter()
                .map(|line| Problem(with_severity(line)))
                .collect()
        });
    };
    let text = text_of(path, "the extra catalogue").map_err(|problem| vec![problem])?;
    let name = path.display().to_string();
    Catalog::with_extra(Some((&name, &text)))
        .map_err(|files| files.into_iter().flat_map(problems).collect())
}

/// The policy of a configuration.
///
/// # Errors
/// The mistakes in it.
pub fn policy(settings: &Settings, catalog: &Catalog) -> Result<Policy, Vec<Problem>> {
    let text = text_of(&settings.policy, "the policy").map_err(|problem| vec![problem])?;
    let accounts: Vec<_> = settings.accounts.keys().cloned().collect();
    let read = policy::read(
        &settings.policy.display().to_string(),
        &text,
        &accounts,
        catalog,
    );
    read.map_err(problems)
}

fn listeners(settings: &Settings, wrong: &mut Vec<Problem>) -> HashMap<Place, Arc<ServerConfig>> {
    let mut configs = HashMap::new();
    for listen in &settings.listen {
        let Listen::Tls(place, _, files) = listen else {
            continue;
        };
        match tls::server(files) {
            Ok(_) if configs.contains_key(place) => wrong.push(Problem(format!(
                "error: two listeners have the address {place}"
            ))),
            Ok(config) => {
                configs.insert(place.clone(), config);
            }
            Err(why) => wrong.push(Problem(format!(
                "error: TLS of the listener at {place}: {why}"
            ))),
        }
    }
    configs
}

fn admin(settings: &Settings, wrong: &mut Vec<Problem>) -> Option<Arc<ServerConfig>> {
    let Some(Listen::Tls(place, _, files)) = &settings.admin else {
        return None;
    };
    let config = tls::server(files);
    let problem = |why: &String| Problem(format!("error: TLS of `admin` at {place}: {why}"));
    config.inspect_err(|why| wrong.push(problem(why))).ok()
}

fn real_tokens(settings: &Settings, wrong: &mut Vec<Problem>) -> HashMap<String, Arc<RealToken>> {
    let mut tokens = HashMap::new();
    for (account, written) in &settings.accounts {
        match real_token(&written.token) {
            Ok(secret) => {
                tokens.insert(
                    account.clone(),
                    Arc::new(RealToken::new(account.clone(), secret)),
                );
            }
            Err(why) => wrong.push(Problem(format!(
                "error: the real token of account `{account}`: {why}"
            ))),
        }
    }
    tokens
}

fn real_token(source: &TokenSource) -> Result<Secret, String> {
    let kept = match source {
        TokenSource::File(path) => secret::file::read(path).map_err(|error| error.to_string())?,
        TokenSource::Env(name) => std::env::var(name)
            .map(Secret::new)
            .map_err(|_| format!("the variable `{name}` is not set, or is no text"))?,
    };
    let token = kept.expose().trim();
    if token.is_empty() {
        return Err("it is empty; put the token there".to_owned());
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(
            "it has characters that no token has; there must be the token and nothing else"
                .to_owned(),
        );
    }
    if token.starts_with("tdg_") {
        return Err("it is a sub-token; the real one, from DigitalOcean, belongs there".to_owned());
    }
    Ok(Secret::new(token.to_owned()))
}
