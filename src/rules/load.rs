use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustls::ServerConfig;
use tracing::warn;

use super::tls;
use super::writers::kept_from_others;
use crate::catalog::Catalog;
use crate::config::{self, Listen, ListenPlace, Places, Problem, Settings, TlsFiles, TokenSource};
use crate::policy::{self, Beside, FileToken, Grants, Policy, Unbound, Vars, bind, together};
use crate::secret::{self, Secret, SecretHash, no_real_token};
use crate::state::InForce;
use crate::table::Table;
use crate::token::TokenId;
use crate::trust::hazards;
use crate::upstream::RealToken;
use crate::yaml::{Mistakes, nearest};

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
    file_tokens: Table<TokenId, usize>,
    bound: HashMap<Vec<String>, Result<Arc<Grants>, Unbound>>,
    bound_sets: Mutex<HashMap<Vec<String>, Arc<Grants>>>,
    bound_last: Mutex<VecDeque<Arc<Grants>>>,
    accounts: Table<String, Arc<RealToken>>,
    tls: HashMap<ListenPlace, Arc<ServerConfig>>,
    admin_tls: Option<Arc<ServerConfig>>,
    /// The SHA-256 of the policy file, as `sha256sum` tells it.
    pub policy_hash: String,
    /// The certificates that its listeners show or go by.
    pub certificates: Vec<Certificate>,
}

/// For how many sub-tokens with variables what they may do is kept from one request to the next. Patterns with variables are
/// compiled for each of them, and take some kilobytes.
const KEPT: usize = 1024;

/// What rules are made of. Each was checked by itself, and against the others.
pub struct RulesParts {
    /// The configuration.
    pub settings: Settings,
    /// The API.
    pub catalog: Catalog,
    /// The policy.
    pub policy: Policy,
    /// The SHA-256 of the policy's text.
    pub policy_hash: String,
    /// The real tokens, by account.
    pub accounts: Table<String, Arc<RealToken>>,
    /// What listeners show for TLS, by their place.
    pub tls: HashMap<ListenPlace, Arc<ServerConfig>>,
    /// What `admin` shows.
    pub admin_tls: Option<Arc<ServerConfig>>,
    /// The certificates among these, and when they end.
    pub certificates: Vec<Certificate>,
}

impl Rules {
    /// Puts them together.
    pub fn of(parts: RulesParts) -> Self {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let RulesParts {
            settings,
            catalog,
            policy,
            policy_hash,
            accounts,
            tls,
            admin_tls,
            certificates,
        } = parts;
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
        Self {
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
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
            policy_hash,
            certificates,
        }
    }

    /// The token of the policy file with that id.
    pub fn file_token(&self, id: &TokenId) -> Option<&Arc<FileToken>> {
        self.policy.tokens.get(*self.file_tokens.get(id)?)
    }

    /// The policy, with its tokens by their ids.
    pub fn in_force(&self) -> InForce<'_> {
        InForce {
            policy: &self.policy,
            places: &self.file_tokens,
        }
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

    /// The same with what a token has beside its roles: a ceiling while that holds, or what it says of itself.
    ///
    /// # Errors
    /// `Unbound` if a role, a variable or the ceiling is gone, or what it says of itself can't be read any more.
    pub fn grants_with(
        &self,
        roles: &[String],
        vars: &Vars,
        beside: Beside<'_>,
    ) -> Result<Arc<Grants>, Unbound> {
        let alone = self.grants(roles, vars)?;
        let grants = together(&self.policy, &alone, beside, &self.catalog)?;
        if !Arc::ptr_eq(&grants, &alone) {
            self.keep(&grants);
        }
        Ok(grants)
    }

    fn take_variables(&self, roles: &[String]) -> bool {
        let mut known = roles.iter().filter_map(|name| self.policy.roles.get(name));
        known.any(|role| !role.vars.is_empty())
    }

    fn grants_of_one(&self, roles: &[String], vars: &Vars) -> Result<Arc<Grants>, Unbound> {
        let grants = Arc::new(bind(&self.policy, roles, vars)?);
        self.keep(&grants);
        Ok(grants)
    }

    fn keep(&self, grants: &Arc<Grants>) {
        let mut last = self
            .bound_last
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if last.len() >= KEPT {
            last.pop_front();
        }
        last.push_back(grants.clone());
    }

    /// What the listener at that place, as the configuration writes it, shows for TLS.
    pub fn tls(&self, place: &ListenPlace) -> Option<&Arc<ServerConfig>> {
        self.tls.get(place)
    }

    /// What the `admin` listener shows for TLS.
    pub fn admin_tls(&self) -> Option<&Arc<ServerConfig>> {
        self.admin_tls.as_ref()
    }

    /// Keeps what the API has said to real tokens that the rules before had too, for the same API.
    pub(super) fn keep_what_is_known(&mut self, before: &Self) {
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

/// A file with certificates, and when the first of them ends.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The key of the configuration that leads to it, as [`Settings::places`] knows it.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// When the first of its certificates ends.
    pub ends: Timestamp,
}

/// Reads the configuration file alone.
///
/// # Errors
/// What is wrong with it.
pub fn settings(path: &Path) -> Result<Settings, Vec<Problem>> {
    match lenient_settings(path) {
        (Some(settings), wrong) if wrong.is_empty() => Ok(settings),
        (_, wrong) => Err(wrong),
    }
}

fn lenient_settings(path: &Path) -> (Option<Settings>, Vec<Problem>) {
    let file = path.display().to_string();
    let text = match text_of(path, "the configuration") {
        Ok(text) => text,
        Err(why) => return (None, vec![Places::of(&file).problem("", why)]),
    };
    let directory = path.parent().unwrap_or(Path::new("."));
    let (settings, mistakes) = config::read_leniently(&file, &text, directory);
    (settings, problems(mistakes))
}

/// Reads the configuration and everything that it points to, whole.
///
/// # Errors
/// Every problem that was found, in all files. Where the configuration itself has some, the policy is looked at too, as far as
/// it can be found, and nothing else that the configuration names.
pub fn load(path: &Path) -> Result<Rules, Vec<Problem>> {
    load_after(path, None)
}

/// The same, after other rules: what could not be had anew, and is known by these, is kept.
///
/// # Errors
/// As of [`load`].
pub(super) fn load_after(path: &Path, before: Option<&Rules>) -> Result<Rules, Vec<Problem>> {
    let (settings, mut wrong) = match lenient_settings(path) {
        (Some(settings), wrong) if wrong.is_empty() => (settings, wrong),
        (Some(settings), mut wrong) => {
            wrong.extend(mistakes_in_policy(&settings));
            return Err(wrong);
        }
        (None, wrong) => return Err(wrong),
    };
    let accounts = real_tokens(&settings, before, &mut wrong);
    let (tls, mut certificates) = listeners(&settings, &mut wrong);
    let admin_tls = admin(&settings, &mut wrong, &mut certificates);
    let catalog = catalog_of(&settings)
        .map_err(|more| wrong.extend(more))
        .ok();
    let policy = catalog.as_ref().and_then(|catalog| {
        let accounts: Vec<_> = settings.accounts.keys().cloned().collect();
        policy_for(&settings, Some(&accounts), catalog)
            .map_err(|more| wrong.extend(more))
            .ok()
    });
    if let Some((policy, _)) = &policy {
        wrong.extend(mistakes_in_trust(&settings, policy));
    }
    let (Some(catalog), Some((policy, policy_hash)), true) = (catalog, policy, wrong.is_empty())
    else {
        return Err(wrong);
    };
    Ok(Rules::of(RulesParts {
        settings,
        catalog,
        policy,
        policy_hash,
        accounts,
        tls,
        admin_tls,
        certificates,
    }))
}

/// What is wrong with the policy that a configuration with mistakes names. Which accounts there are may be among the mistakes.
fn mistakes_in_policy(settings: &Settings) -> Vec<Problem> {
    if settings.policy.as_os_str().is_empty() {
        return Vec::new();
    }
    let read = catalog_of(settings).and_then(|catalog| policy_for(settings, None, &catalog));
    read.err().unwrap_or_default()
}

/// Rules of `trust` for issuers that the configuration does not have, and rules that trust strangers.
fn mistakes_in_trust(settings: &Settings, policy: &Policy) -> Vec<Problem> {
    let file = settings.policy.display().to_string();
    let problem = |at, what| Problem {
        file: file.clone(),
        at,
        what,
    };
    let known = settings.issuers.keys().map(String::as_str);
    let all = policy
        .trust
        .iter()
        .map(|rule| (&rule.issuer, rule.issuer_at))
        .chain(
            policy
                .trust_tests
                .iter()
                .map(|test| (&test.issuer, test.at)),
        );
    let unknown = all.filter(|(issuer, _)| !settings.issuers.contains_key(*issuer));
    let unknown = unknown.map(|(issuer, at)| {
        let instead = match nearest(issuer, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "add it, as `github: { url: https://token.actions.githubusercontent.com, audience: tidegate }`".to_owned(),
        };
        let what = format!("unknown issuer `{issuer}`; the configuration's `issuers` has no such entry; {instead}");
        problem(at, what)
    });
    let strangers = hazards(policy, |issuer| settings.issuer_kind(issuer));
    let strangers = strangers
        .into_iter()
        .filter(|hazard| hazard.trusts_strangers);
    unknown
        .chain(strangers.map(|hazard| problem(hazard.at, hazard.what)))
        .collect()
}

fn problems(mistakes: Mistakes) -> Vec<Problem> {
    let (file, found) = mistakes.into_parts();
    found
        .into_iter()
        .map(|(at, what)| Problem {
            file: file.clone(),
            at,
            what,
        })
        .collect()
}

/// The text of a file, or why it can't be had.
fn text_of(path: &Path, what: &str) -> Result<String, String> {
    let unreadable =
        |why: &dyn fmt::Display| format!("{what} `{}` can't be read: {why}", path.display());
    kept_from_others(path)
        .map_err(|error| unreadable(&error))?
        .map_err(|writable| format!("{what} is not taken: {writable}"))?;
    let bytes = fs::read(path).map_err(|error| unreadable(&error))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let bytes = error.as_bytes();
        if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
            return unreadable(
                &"it is UTF-16, by the byte order mark (BOM) that it begins with; save it as UTF-8",
            );
        }
        let before = bytes.get(..good).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        unreadable(&format!("line {line} is not UTF-8; save it as UTF-8"))
    })
}

/// The catalogue, with the extra endpoints of a file.
///
/// # Errors
/// The mistakes in them.
pub fn catalog(extra: Option<&Path>) -> Result<Catalog, Vec<Problem>> {
    catalog_named(
        extra,
        &Places::of(&extra.unwrap_or(Path::new("")).display().to_string()),
    )
}

fn catalog_of(settings: &Settings) -> Result<Catalog, Vec<Problem>> {
    catalog_named(settings.extra_catalog.as_deref(), &settings.places)
}

fn catalog_named(extra: Option<&Path>, places: &Places) -> Result<Catalog, Vec<Problem>> {
    let all = |files: Vec<Mistakes>| files.into_iter().flat_map(problems).collect();
    let Some(path) = extra else {
        return Catalog::with_extra(None).map_err(all);
    };
    let name = path.display().to_string();
    let text = text_of(path, "the extra catalogue")
        .map_err(|why| vec![places.problem("catalog.extra", why)])?;
    Catalog::with_extra(Some((&name, &text))).map_err(all)
}

/// The policy of a configuration.
///
/// # Errors
/// The mistakes in it.
pub fn policy(settings: &Settings, catalog: &Catalog) -> Result<Policy, Vec<Problem>> {
    let accounts: Vec<_> = settings.accounts.keys().cloned().collect();
    Ok(policy_for(settings, Some(&accounts), catalog)?.0)
}

/// A policy file of which nobody says which accounts there are.
///
/// # Errors
/// The mistakes in it.
pub fn policy_alone(path: &Path, catalog: &Catalog) -> Result<Policy, Vec<Problem>> {
    Ok(policy_in(path, None, catalog)?.0)
}

/// A policy file, with the SHA-256 of its text; its roles name no other account than these.
///
/// # Errors
/// The mistakes in it.
pub fn policy_in(
    path: &Path,
    accounts: Option<&[String]>,
    catalog: &Catalog,
) -> Result<(Policy, String), Vec<Problem>> {
    read_policy(
        path,
        accounts,
        catalog,
        &Places::of(&path.display().to_string()),
    )
}

/// A policy that is no file, under this name.
///
/// # Errors
/// The mistakes in it.
pub fn policy_text(
    name: &str,
    text: &str,
    accounts: Option<&[String]>,
    catalog: &Catalog,
) -> Result<Policy, Vec<Problem>> {
    let read = match accounts {
        Some(accounts) => policy::read(name, text, accounts, catalog),
        None => policy::read_alone(name, text, catalog),
    };
    let policy = read.map_err(problems)?;
    no_endless_ceilings(name, &policy)?;
    Ok(policy)
}

/// The tokens of a policy whose ceilings would hold for longer than one may are mistakes in it.
fn no_endless_ceilings(file: &str, policy: &Policy) -> Result<(), Vec<Problem>> {
    let endless = policy.endless_ceilings(Timestamp::now()).into_iter();
    let problem = |(at, what)| Problem {
        file: file.to_owned(),
        at,
        what,
    };
    let problems: Vec<_> = endless.map(problem).collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

fn policy_for(
    settings: &Settings,
    accounts: Option<&[String]>,
    catalog: &Catalog,
) -> Result<(Policy, String), Vec<Problem>> {
    read_policy(&settings.policy, accounts, catalog, &settings.places)
}

fn read_policy(
    path: &Path,
    accounts: Option<&[String]>,
    catalog: &Catalog,
    places: &Places,
) -> Result<(Policy, String), Vec<Problem>> {
    let name = path.display().to_string();
    let text = text_of(path, "the policy").map_err(|why| vec![places.problem("policy", why)])?;
    let policy = policy_text(&name, &text, accounts, catalog)?;
    Ok((policy, SecretHash::of(text.as_bytes()).to_hex()))
}

type Configs = HashMap<ListenPlace, Arc<ServerConfig>>;

fn listeners(settings: &Settings, wrong: &mut Vec<Problem>) -> (Configs, Vec<Certificate>) {
    let (mut configs, mut certificates) = (HashMap::new(), Vec::new());
    for listen in &settings.listen {
        let Listen::Tls(place, _, files) = listen else {
            continue;
        };
        let key = format!("listen.{place}");
        match tls::server(files) {
            Ok(_) if configs.contains_key(place) => wrong.push(
                settings
                    .places
                    .problem(&key, format!("two listeners have the address {place}")),
            ),
            Ok(config) => {
                configs.insert(place.clone(), config);
                certificates.extend(ends(&key, files));
            }
            Err(why) => wrong.push(
                settings
                    .places
                    .problem(&key, format!("TLS of the listener at {place}: {why}")),
            ),
        }
    }
    (configs, certificates)
}

fn admin(
    settings: &Settings,
    wrong: &mut Vec<Problem>,
    certificates: &mut Vec<Certificate>,
) -> Option<Arc<ServerConfig>> {
    let Some(Listen::Tls(place, _, files)) = &settings.admin else {
        return None;
    };
    match tls::server(files) {
        Ok(config) => {
            certificates.extend(ends("admin", files));
            Some(config)
        }
        Err(why) => {
            let what = format!("TLS of `admin` at {place}: {why}");
            wrong.push(settings.places.problem("admin", what));
            None
        }
    }
}

/// When the certificates of a listener end. They were read before, so what can't be read now is passed over.
fn ends(key: &str, files: &TlsFiles) -> Vec<Certificate> {
    let TlsFiles {
        certificate,
        private_key: _,
        client_ca,
    } = files;
    let paths = [Some(certificate), client_ca.as_ref()];
    let read = |path: &PathBuf| {
        Some(Certificate {
            key: key.to_owned(),
            path: path.clone(),
            ends: tls::ends(path)?,
        })
    };
    paths.into_iter().flatten().filter_map(read).collect()
}

/// The real token of each account. Where a command fails that printed one for the rules before, the last good one is kept.
fn real_tokens(
    settings: &Settings,
    before: Option<&Rules>,
    wrong: &mut Vec<Problem>,
) -> Table<String, Arc<RealToken>> {
    let mut tokens = Table::default();
    for (account, written) in &settings.accounts {
        let command = match &written.token {
            TokenSource::Command(command) => Some(command.clone()),
            TokenSource::File(_) | TokenSource::Files(_) | TokenSource::Env(_) => None,
        };
        let known = before
            .and_then(|rules| rules.real_token(account))
            .filter(|known| command.is_some() && known.command() == command.as_ref());
        match (secrets(&written.token, None), known) {
            (Ok(secrets), _) => {
                let token = RealToken::one_of(account.clone(), secrets, command);
                tokens.insert(account.clone(), Arc::new(token));
            }
            (Err(why), Some(known)) => {
                warn!(account, %why, "the real token could not be had anew; the last good one is kept");
                tokens.insert(account.clone(), known.clone());
            }
            (Err(why), None) => wrong.push(settings.places.problem(
                &format!("accounts.{account}"),
                format!("the real token of account `{account}`: {why}"),
            )),
        }
    }
    tokens
}

/// The secrets of an account, the one to show first before the others: at least one. Variables are those of the environment that
/// is given, or else the program's own.
///
/// # Errors
/// Why there is none, in a line that never has it.
pub fn secrets(
    source: &TokenSource,
    environment: Option<&[(OsString, OsString)]>,
) -> Result<Vec<Secret>, String> {
    let variable = |name: &str| match environment {
        None => std::env::var_os(name),
        Some(given) => given
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.clone()),
    };
    let one = match source {
        TokenSource::File(path) => token_in(&read_secret(path)?)?,
        TokenSource::Env(name) => variable(name)
            .and_then(|value| value.into_string().ok())
            .map(Secret::new)
            .ok_or_else(|| format!("the variable `{name}` is not set, or is no text"))
            .and_then(|kept| token_in(&kept))?,
        TokenSource::Files(paths) => return in_files(paths),
        TokenSource::Command(command) => {
            let printed = command.run(environment);
            printed.map_err(|error| error.to_string())?
        }
    };
    Ok(vec![one])
}

/// Of files that hold one each, those that are there: the new one may be yet to come, and the old one may have gone. The same
/// in two of them counts once.
fn in_files(paths: &[PathBuf]) -> Result<Vec<Secret>, String> {
    let mut found: Vec<Secret> = Vec::new();
    for path in paths.iter().filter(|path| !is_missing(path)) {
        let named = |why| format!("`{}`: {why}", path.display());
        let secret = token_in(&read_secret(path)?).map_err(named)?;
        let hash = secret.hash();
        if !found.iter().any(|known| known.hash().matches(&hash)) {
            found.push(secret);
        }
    }
    if found.is_empty() {
        let listed: Vec<_> = paths
            .iter()
            .map(|path| format!("`{}`", path.display()))
            .collect();
        return Err(format!(
            "none of the files of `token_files` is there: {}; write the token into the first",
            listed.join(", ")
        ));
    }
    Ok(found)
}

fn is_missing(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn read_secret(path: &Path) -> Result<Secret, String> {
    secret::file::read(path).map_err(|error| error.to_string())
}

fn token_in(kept: &Secret) -> Result<Secret, String> {
    let token = kept.expose().trim();
    if let Some(why) = no_real_token(token) {
        return Err(why.to_owned());
    }
    Ok(Secret::new(token.to_owned()))
}
