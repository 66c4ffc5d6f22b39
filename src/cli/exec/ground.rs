//! What a run is judged and sent by: the policy, the real token and the upstream, from the command line, the configuration, or
//! what is built in.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;

use super::environment::Traces;
use super::{Arguments, Failed, Unusable, learning};
use crate::catalog::Catalog;
use crate::cli::template;
use crate::config::{
    self, BaseUrl, Listen, ListenPlace, Plaintext, ProxyHeader, Settings, TlsFiles, TokenSource,
};
use crate::policy::Policy;
use crate::rules::{self, Rules, RulesParts};
use crate::secret::{Secret, SecretHash};
use crate::table::Table;
use crate::upstream::RealToken;

/// All of it, read.
pub(super) struct RunGround {
    settings: Settings,
    catalog: Catalog,
    /// The roles of this run, and nothing else: whoever has another sub-token of the same policy is nobody here.
    pub policy: Policy,
    policy_hash: String,
    accounts: Table<String, Arc<RealToken>>,
    /// What is known of the real tokens.
    pub real: Real,
}

/// Where real tokens stand.
#[derive(Default)]
pub(super) struct Real {
    /// What they look like wherever they stand.
    pub traces: Traces,
    /// The files that they were read from: whoever runs the command may read them.
    pub files: Vec<PathBuf>,
    /// The variables that they are read from, in this run or by the daemon.
    pub variables: Vec<String>,
}

/// Where the one listener is.
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The variables that a real token is taken from where nothing else names one.
const VARIABLES: [&str; 2] = ["DIGITALOCEAN_ACCESS_TOKEN", "DIGITALOCEAN_TOKEN"];

/// The configuration of who has none. What it says of listeners, accounts and state is not used.
const NO_CONFIGURATION: &str = "
accounts: { default: { token_env: DIGITALOCEAN_ACCESS_TOKEN } }
policy: policy.yaml
state: tidegate.db
audit: stdout
";

impl RunGround {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with the files, or that there is no such role or no real token.
    pub fn read(
        config: &Path,
        arguments: &Arguments,
        own: &[(OsString, OsString)],
    ) -> Result<Self, Unusable> {
        let configured = configuration(config)?;
        let is_configured = configured.is_some();
        let settings = match configured {
            Some(settings) => settings,
            None => config::read("the defaults", NO_CONFIGURATION, Path::new("."))
                .map_err(|mistakes| Failed(mistakes.into_lines()))?,
        };
        let catalog = rules::catalog(settings.extra_catalog.as_deref()).map_err(Failed::from)?;
        let accounts: Vec<_> = settings.accounts.keys().cloned().collect();
        let known = (is_configured && arguments.token_file.is_none()).then_some(&accounts[..]);
        let learns_alone = arguments.learn && arguments.roles.is_empty();
        let path = arguments.policy.as_deref();
        let path = path.or(is_configured.then_some(settings.policy.as_path()));
        let path = path.filter(|_| !learns_alone);
        let (policy, policy_hash) = match path {
            Some(path) => rules::policy_in(path, known, &catalog).map_err(Failed::from)?,
            None if learns_alone => Default::default(),
            None => templates(&arguments.roles, &catalog)?,
        };
        let whence = path.map_or_else(
            || "the built-in templates have".to_owned(),
            |path| format!("`{}` has", path.display()),
        );
        let policy = if arguments.learn {
            learning(policy, arguments, &whence, &settings, &catalog)?
        } else {
            of_this_run(policy, &arguments.roles, &whence)?
        };
        let mut ground = Self {
            real: Real {
                variables: variables(&settings),
                ..Real::default()
            },
            settings,
            catalog,
            policy,
            policy_hash,
            accounts: Table::default(),
        };
        let file = arguments.token_file.as_deref();
        ground.take_real_tokens(is_configured, file, own)?;
        ground.go_to(arguments.upstream.clone())?;
        Ok(ground)
    }

    /// Reads the real tokens that the roles name.
    fn take_real_tokens(
        &mut self,
        is_configured: bool,
        file: Option<&Path>,
        own: &[(OsString, OsString)],
    ) -> Result<(), Failed> {
        let named: BTreeSet<_> = self
            .policy
            .roles
            .values()
            .map(|role| role.account.clone())
            .collect();
        for account in named {
            let source = match (file, self.settings.accounts.get(&account)) {
                (Some(file), _) => TokenSource::File(file.to_owned()),
                (None, Some(configured)) if is_configured => configured.token.clone(),
                (None, _) => TokenSource::Env(variable(own)?.to_owned()),
            };
            let secrets = rules::secrets(&source, Some(own))
                .map_err(|why| Failed::because(format!("the real token: {why}")))?;
            self.take(account, secrets);
            match source {
                TokenSource::File(path) => self.real.files.push(path),
                TokenSource::Files(paths) => self.real.files.extend(paths),
                TokenSource::Command(_) => {}
                TokenSource::Env(name) => self.real.variables.push(name),
            }
        }
        Ok(())
    }

    fn take(&mut self, account: String, secrets: Vec<Secret>) {
        for secret in &secrets {
            self.real.traces.learn(secret.expose());
        }
        let token = RealToken::one_of(account.clone(), secrets, None);
        self.accounts.insert(account, Arc::new(token));
    }

    fn go_to(&mut self, upstream: Option<BaseUrl>) -> Result<(), Failed> {
        let Some(url) = upstream else { return Ok(()) };
        if !url.is_https() && !url.is_loopback() {
            return Err(Failed::because(
                "the real token would travel in the clear; `http://` is for loopback only, so use `https://`",
            ));
        }
        self.settings.upstream.url = url;
        self.settings.upstream.ca_file = None; // it is another's
        Ok(())
    }

    /// The rules of a gate with one listener on loopback, which shows this for TLS, if anything.
    pub fn rules(self, tls: Option<Arc<ServerConfig>>) -> (Rules, Real) {
        let Self {
            mut settings,
            catalog,
            policy,
            policy_hash,
            accounts,
            real,
        } = self;
        let place = ListenPlace::Address(LOOPBACK);
        settings.listen = vec![match &tls {
            None => Listen::Plain(place.clone(), ProxyHeader::None, Plaintext::Loopback),
            Some(_) => Listen::Tls(place.clone(), ProxyHeader::None, in_memory()),
        }];
        settings.admin = None;
        settings.issuers.clear(); // nobody is given a sub-token here
        settings.public_url = None; // clients come by loopback
        settings.trusted_proxies = Vec::new(); // and say nothing of where they are
        let rules = Rules::of(RulesParts {
            settings,
            catalog,
            policy,
            policy_hash,
            accounts,
            tls: tls.into_iter().map(|tls| (place.clone(), tls)).collect(),
            admin_tls: None,
            certificates: Vec::new(),
        });
        (rules, real)
    }
}

/// Files that nobody reads: what they would hold is in memory.
fn in_memory() -> TlsFiles {
    TlsFiles {
        certificate: PathBuf::new(),
        private_key: PathBuf::new(),
        client_ca: None,
    }
}

/// The configuration, if there is one. That nobody has put one where it is looked for is no mistake, as long as nobody named it.
fn configuration(path: &Path) -> Result<Option<Settings>, Failed> {
    let unnamed = path == Path::new(config::DEFAULT_PATH);
    if unnamed && std::fs::File::open(path).is_err() {
        return Ok(None);
    }
    Ok(Some(rules::settings(path)?))
}

fn variables(settings: &Settings) -> Vec<String> {
    let accounts = settings.accounts.values();
    let variable = |source: &TokenSource| match source {
        TokenSource::Env(name) => Some(name.clone()),
        TokenSource::File(_) | TokenSource::Files(_) | TokenSource::Command(_) => None,
    };
    accounts
        .filter_map(|account| variable(&account.token))
        .collect()
}

/// The first of the variables that is set.
fn variable(own: &[(OsString, OsString)]) -> Result<&'static str, Failed> {
    let is_set = |name: &&str| {
        own.iter()
            .any(|(set, value)| set == name && !value.is_empty())
    };
    let none = || {
        Failed::because(format!(
            "there is no real token; set {}, or name its file with `--token-file FILE`",
            VARIABLES.join(" or ")
        ))
    };
    VARIABLES.into_iter().find(is_set).ok_or_else(none)
}

/// The built-in roles as one policy: of those files that have one of the roles wanted, if all of these are there, and otherwise all.
fn templates(wanted: &[String], catalog: &Catalog) -> Result<(Policy, String), Failed> {
    let names_one = |text: &str| {
        let mut keys = wanted.iter().map(|name| format!("\n  {name}:\n"));
        keys.any(|key| text.contains(&key))
    };
    let (few, hash) = policy_of(template::all().filter(|(_, text)| names_one(text)), catalog)?;
    if !wanted.is_empty() && wanted.iter().all(|name| few.roles.contains_key(name)) {
        return Ok((few, hash));
    }
    policy_of(template::all(), catalog)
}

fn policy_of(
    templates: impl Iterator<Item = (&'static str, &'static str)>,
    catalog: &Catalog,
) -> Result<(Policy, String), Failed> {
    let mut all = Policy::default();
    let mut texts = String::new();
    for (name, text) in templates {
        let policy = template::read(name, text, catalog)?;
        for (name, role) in policy.roles {
            all.roles.entry(name).or_insert(role);
        }
        texts.push_str(text);
    }
    Ok((all, SecretHash::of(texts.as_bytes()).to_hex()))
}

/// The role that was asked for, if any, and the one that lets everything through beside it.
fn learning(
    policy: Policy,
    arguments: &Arguments,
    whence: &str,
    settings: &Settings,
    catalog: &Catalog,
) -> Result<Policy, Unusable> {
    let mut policy = match arguments.roles.as_slice() {
        [] => Policy::default(),
        [_] => of_this_run(policy, &arguments.roles, whence)?,
        _ => return Err(Unusable::Usage(
            "what a role lacks is told with `--learn`, and of one role alone; name one `--role`, or none".to_owned(),
        )),
    };
    let of_role = policy.roles.values().next().map(|role| &role.account);
    let account = of_role.or(settings.accounts.keys().next());
    let account = account.map_or("default", String::as_str).to_owned();
    learning::prepare(&mut policy.roles, &account, catalog)?;
    Ok(policy)
}

/// The roles that were asked for, of all that there are.
fn of_this_run(policy: Policy, wanted: &[String], whence: &str) -> Result<Policy, Unusable> {
    let there = || policy.roles.keys().cloned().collect::<Vec<_>>().join(", ");
    if wanted.is_empty() {
        return Err(Unusable::Usage(format!(
            "which role the command has is not said; name it with `--role ROLE`, or learn it with `--learn`: {whence} {}",
            there()
        )));
    }
    if let Some(unknown) = wanted.iter().find(|name| !policy.roles.contains_key(*name)) {
        let near = crate::yaml::nearest(unknown, policy.roles.keys().map(String::as_str));
        let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
        return Err(Unusable::Usage(format!(
            "there is no role `{unknown}`; {near}{whence} {}",
            there()
        )));
    }
    let roles = policy.roles.into_iter();
    Ok(Policy {
        roles: roles.filter(|(name, _)| wanted.contains(name)).collect(),
        ..Policy::default()
    })
}
