//! `exec`: a command with a sub-token in place of the real one, and a gate of its own in this process for as long as it runs.

mod child;
mod environment;
mod fixed_hosts;
mod ground;
mod handover;
mod intercept;
mod learning;
mod proxies;
pub(super) mod remote;
mod summary;
mod trust;

use std::ffi::OsString;
use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use self::child::{CommandEnd, CommandSignals};
use self::environment::{Environment, GivenToCommand, Traces};
use self::fixed_hosts::FixedHostWatch;
use self::ground::{Real, RunGround};
use self::intercept::Intercept;
use self::proxies::Beyond;
use self::remote::{Identity, Remote};
use self::summary::Summary;
use self::trust::RunAuthority;
use super::log::{self, LogFormat};
use super::{Failed, Outcome, say, values};
use crate::audit::{Audit, Kept};
use crate::config::{AuditSettings, AuditSink, BaseUrl};
use crate::operate;
use crate::policy::{Ceiling, Policy, bind};
use crate::rules::{Rules, Serving};
use crate::server::Embedded;
use crate::state::Issued;
use crate::token::{Limits, SubToken};
use crate::units::Span;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate exec --role read-only -- doctl compute droplet list\n\nThe exit status is the command's: 128 and the signal's number if one ended it, 127 if there is no such command, 126 if it can't be\nrun; 2 if it was not said what it may do, and 1 if tidegate could not begin."
)]
pub(super) struct Arguments {
    /// A role that the command has; repeatable. Without a policy, those of the built-in templates (`tidegate template list`).
    #[arg(long = "role", value_name = "ROLE", add = values::roles_of_exec())]
    roles: Vec<String>,
    /// A variable of the roles, as `domain=example.com`; repeatable.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = operate::variable, add = values::variables())]
    vars: Vec<(String, String)>,
    /// The policy file, in place of the configuration's.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Let everything through that the real token may, and tell at the end the role that it took: with `--role R`, what R lacks.
    #[arg(long, conflicts_with = "url")]
    learn: bool,
    /// Write that role to a file, as a policy that `tidegate check --policy FILE` takes.
    #[arg(long, value_name = "FILE", requires = "learn")]
    out: Option<PathBuf>,
    /// How long the sub-token is valid, if the command runs that long.
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    ttl: Span,
    /// The file with the real token, in place of the configuration's, `DIGITALOCEAN_ACCESS_TOKEN` or `DIGITALOCEAN_TOKEN`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The API's address, in place of the configuration's or DigitalOcean's own.
    #[arg(long, value_name = "URL")]
    upstream: Option<BaseUrl>,
    /// Serve the command over TLS, by a certificate of this run that it trusts: for pydo, which refuses plain HTTP.
    #[arg(long)]
    https: bool,
    /// Lead clients whose host is fixed to the gate too, by a proxy of this run (`HTTPS_PROXY`): acme.sh, lexicon, octodns, libcloud,
    /// dnscontrol. The command is then served over TLS.
    #[arg(long)]
    intercept: bool,
    /// Write the record to this file too.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// No gate here, but a tidegate elsewhere, which gives the command a sub-token: weaker than the one in `TIDEGATE_TOKEN` or a file, or
    /// for the job's identity.
    #[arg(long, value_name = "URL", conflicts_with_all = ["policy", "vars", "token_file", "upstream", "https", "intercept", "audit", "summary"])]
    url: Option<BaseUrl>,
    /// The file with the sub-token of which a weaker one is made, in place of `TIDEGATE_TOKEN`.
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "oidc")]
    sub_token_file: Option<PathBuf>,
    /// Whose identity that is: `github` (Actions, with `permissions: { id-token: write }`), `gitlab` (`id_tokens: { TIDEGATE_ID_TOKEN:
    /// … }`), or a file with one, as Kubernetes projects it.
    #[arg(
        long,
        value_name = "github|gitlab|FILE",
        requires = "url",
        conflicts_with = "ttl"
    )]
    oidc: Option<OsString>,
    /// For whom the identity is to be: the audience of the issuer, as the configuration over there has it.
    #[arg(
        long,
        value_name = "NAME",
        requires = "oidc",
        default_value = "tidegate"
    )]
    audience: String,
    /// How it is told on standard error what was let through and what was refused.
    #[arg(long, value_enum, default_value_t = SummaryForm::Text)]
    summary: SummaryForm,
    /// The command, with its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// How a summary is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum SummaryForm {
    /// For people.
    Text,
    /// One JSON object.
    Json,
    /// Not at all.
    None,
}

/// Why a command was not run.
enum Unusable {
    /// What was asked for can't be: exit 2.
    Usage(String),
    /// It could not be begun.
    Failed(Failed),
}

impl From<Failed> for Unusable {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    match ran(config, arguments) {
        Ok(CommandEnd(code)) => Ok(Outcome::Code(code)),
        Err(Unusable::Usage(why)) => {
            say(why);
            Ok(Outcome::Unknown)
        }
        Err(Unusable::Failed(failed)) => Err(failed),
    }
}

fn ran(config: &Path, arguments: &Arguments) -> Result<CommandEnd, Unusable> {
    let own = handover::environment();
    child::keep_out_of_memory();
    log::begin(LogFormat::Text, "warn");
    if let Some(url) = &arguments.url {
        return ran_elsewhere(url.clone(), arguments, &own);
    }
    let ground = RunGround::read(config, arguments, &own)?;
    not_told(&arguments.command, &ground.real.traces)?;
    let token = SubToken::generate()
        .map_err(|error| Failed::because(format!("the system gives no random bytes: {error}")))?;
    let issued = issued(&token, &ground, arguments)?;
    let grants = bind(&ground.policy, &issued.roles, &issued.vars).map_err(Failed::because)?;
    let signals = CommandSignals::take().map_err(Failed::because)?;
    let scratch = Scratch::new()?;
    let over_tls = arguments.https || arguments.intercept;
    let trust = over_tls.then(RunAuthority::of_this_run).transpose()?;
    let (rules, real) = ground.rules(trust.as_ref().map(|trust| trust.tls.clone()));
    let run = PreparedRun {
        arguments,
        token,
        issued,
        signals,
        scratch,
        trust,
        own,
    };
    if arguments.learn {
        say(
            "tidegate exec: everything that the real token may is let through, logins too, to learn the role that the command needs",
        );
    }
    let extends = match arguments.roles.as_slice() {
        [role] if arguments.learn => {
            Some((of_roles(&rules.policy, &arguments.roles), role.clone()))
        }
        _ => None,
    };
    let (audit, record) = run.record()?;
    let catalog = rules.catalog.clone();
    let (ended, serving) = run.finish(rules, &real, audit)?;
    Summary::of(&record, &grants, &catalog).tell(arguments.summary);
    if arguments.learn {
        let extends = extends
            .as_ref()
            .map(|(policy, role)| (policy, role.clone()));
        learning::tell(&record, extends, arguments.out.as_deref(), &serving.rules)?;
    }
    Ok(ended)
}

/// Checks that no argument of the command is the real token.
fn not_told(command: &[OsString], traces: &Traces) -> Result<(), Unusable> {
    if command.iter().any(|argument| traces.are_in(argument)) {
        return Err(Unusable::Usage(
            "an argument of the command has the real token in it; leave it out, as the sub-token stands in the environment".to_owned(),
        ));
    }
    Ok(())
}

/// Runs the command with a sub-token that a tidegate elsewhere gives, and ends that with it.
fn ran_elsewhere(
    url: BaseUrl,
    arguments: &Arguments,
    own: &[(OsString, OsString)],
) -> Result<CommandEnd, Unusable> {
    let remote = Remote::at(url)?;
    let mut real = Real::default();
    remote::learn_real_tokens(own, &mut real.traces);
    not_told(&arguments.command, &real.traces)?;
    let runtime = runtime()?;
    let signals = CommandSignals::take().map_err(Failed::because)?;
    let scratch = Scratch::new()?;
    let roles = &arguments.roles;
    let given = if let Some(identity) = &arguments.oidc {
        let identity = Identity::from(identity.as_os_str());
        let audience = &arguments.audience;
        let exchange = remote.exchange(&identity, audience, roles, own, &mut real.traces);
        runtime.block_on(exchange)?
    } else {
        let instead = "or name a file with `--sub-token-file`, or a job's identity with `--oidc`";
        let parent = remote::parent(arguments.sub_token_file.as_deref(), own, instead)?;
        real.traces.learn(parent.expose());
        let mut wish = json!({ "name": "exec", "expires_in": arguments.ttl.seconds() });
        if let (false, Some(wish)) = (roles.is_empty(), wish.as_object_mut()) {
            wish.insert("roles".to_owned(), json!(roles));
        }
        runtime.block_on(remote.weaken(&parent, &wish))?.0
    };
    let empty_file = scratch.put("doctl.yaml", "")?;
    let url = remote.url();
    let for_command = GivenToCommand {
        token: given.token.expose(),
        url: &url,
        empty_file: &empty_file,
        more: proxies::past(own, None),
        forbidden: vec![remote::GITLAB.to_owned()],
    };
    let environment = Environment::of(own.iter().cloned(), for_command, &real.traces);
    told_before(&environment, &real);
    say(format!(
        "tidegate exec: {url} gives the command {}",
        given.roles.join(", ")
    ));
    let watch = FixedHostWatch::over(&arguments.command);
    let ended = run_to_its_end(&signals, &arguments.command, environment);
    drop((scratch, watch));
    runtime.block_on(remote.end(&given.token));
    runtime.shutdown_background();
    Ok(ended)
}

pub(super) fn runtime() -> Result<Runtime, Failed> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failed::because(format!("the runtime can't start: {error}")))
}

fn run_to_its_end(
    signals: &CommandSignals,
    command: &[OsString],
    environment: Environment,
) -> CommandEnd {
    let ended = signals.run(command, environment.variables);
    ended.unwrap_or_else(|error| {
        let name = command.first().map(|name| name.to_string_lossy());
        say(format!(
            "tidegate exec: `{}` can't be run: {error}",
            name.unwrap_or_default()
        ));
        CommandEnd::before_it_began(&error)
    })
}

/// A policy of these roles alone.
fn of_roles(policy: &Policy, names: &[String]) -> Policy {
    let roles = policy.roles.iter();
    Policy {
        roles: roles
            .filter(|(name, _)| names.contains(name))
            .map(|(name, role)| (name.clone(), role.clone()))
            .collect(),
        ..Policy::default()
    }
}

/// What is issued for one run.
fn issued(token: &SubToken, ground: &RunGround, arguments: &Arguments) -> Result<Issued, Failed> {
    let now = Timestamp::now();
    let roles = match arguments.roles.as_slice() {
        [] => vec![learning::NOTHING.to_owned()],
        roles => roles.to_vec(),
    };
    let vars = operate::variables(&ground.policy, &roles, arguments.vars.clone())?;
    let expires_at = now
        .saturating_add(arguments.ttl.duration())
        .map_err(Failed::because)?;
    let latest = now
        .saturating_add(Ceiling::LONGEST)
        .map_err(Failed::because)?;
    let ceiling = arguments.learn.then(|| Ceiling {
        role: learning::CEILING.to_owned(),
        until: expires_at.min(latest),
    });
    Ok(Issued {
        id: token.id.clone(),
        name: "exec".to_owned(),
        hash: token.hash(),
        old: None,
        roles: roles.into(),
        vars,
        limits: Arc::new(Limits {
            expires_at: Some(expires_at),
            ..Limits::default()
        }),
        created_at: now,
        ceiling: ceiling.map(Arc::new),
        about: None,
        maker: None,
    })
}

/// A directory for this run, gone with it.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Result<Self, Failed> {
        let made = tempfile::Builder::new()
            .prefix("tidegate-exec-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir();
        made.map(Self).map_err(|error| {
            Failed::because(format!(
                "there can be no directory for this run: {error}; set TMPDIR to where there can"
            ))
        })
    }

    /// A file in it.
    fn put(&self, name: &str, text: &str) -> Result<PathBuf, Failed> {
        let path = self.0.path().join(name);
        let written = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| {
            Failed::because(format!("`{}` can't be written: {error}", path.display()))
        })?;
        Ok(path)
    }
}

/// A run that can begin.
struct PreparedRun<'a> {
    arguments: &'a Arguments,
    token: SubToken,
    issued: Issued,
    signals: CommandSignals,
    scratch: Scratch,
    trust: Option<RunAuthority>,
    /// The caller's environment.
    own: Vec<(OsString, OsString)>,
}

impl PreparedRun<'_> {
    /// The record, and where it can be read when all is over: by this process alone, whether it is in a file too or not. It outlives
    /// the directory of the run.
    fn record(&self) -> Result<(Audit, Kept), Failed> {
        let kept = Kept::new(std::env::temp_dir())
            .map_err(|error| Failed::because(format!("there can be no record: {error}")))?;
        let Some(path) = &self.arguments.audit else {
            let audit = Audit::over(kept.clone()).map_err(Failed::because)?;
            return Ok((audit, kept));
        };
        let settings = AuditSettings {
            sink: AuditSink::File(path.clone()),
            sync: false,
            chain: false,
        };
        let audit = Audit::copied(&settings, kept.clone()).map_err(|error| {
            let path = path.display();
            Failed::because(format!("the record `{path}` can't be opened: {error}"))
        })?;
        Ok((audit, kept))
    }

    /// Runs the command to its end; and what was in force.
    fn finish(
        self,
        rules: Rules,
        real: &Real,
        audit: Audit,
    ) -> Result<(CommandEnd, Arc<Serving>), Failed> {
        let runtime = runtime()?;
        let gate = runtime
            .block_on(Embedded::open(rules, audit, self.issued.clone()))
            .map_err(Failed::because)?;
        let intercept = runtime.block_on(self.intercept(&gate))?;
        let environment = self.environment(&gate, intercept.as_ref(), real)?;
        told_before(&environment, real);
        let command = &self.arguments.command;
        let watch = intercept.is_none().then(|| FixedHostWatch::over(command));
        let ended = run_to_its_end(&self.signals, command, environment);
        drop((self.scratch, watch));
        let serving = gate.serving();
        let closed = runtime.block_on(gate.close()).map_err(Failed::because);
        runtime.shutdown_background();
        if !closed? {
            say("tidegate exec: requests were under way yet, and nobody waited for their answers");
        }
        Ok((ended, serving))
    }

    async fn intercept(&self, gate: &Embedded) -> Result<Option<Intercept>, Failed> {
        if !self.arguments.intercept {
            return Ok(None);
        }
        let beyond = Beyond::of(&self.own).map_err(Failed::because)?;
        let opened = Intercept::open(gate.address(), beyond).await;
        opened.map(Some).map_err(|error| {
            Failed::because(format!("there can be no proxy for this run: {error}"))
        })
    }

    fn environment(
        &self,
        gate: &Embedded,
        intercept: Option<&Intercept>,
        real: &Real,
    ) -> Result<Environment, Failed> {
        let scheme = self.trust.as_ref().map_or("http", |_| "https");
        let url = format!("{scheme}://{}", gate.address());
        let empty_file = self.scratch.put("doctl.yaml", "")?;
        let mut more = proxies::past(&self.own, intercept.map(|_| intercept::API));
        if let Some(trust) = &self.trust {
            more.extend(trust.variables(&self.own, &self.scratch)?);
        }
        if let Some(intercept) = intercept {
            let both = ["https_proxy", "HTTPS_PROXY"];
            more.extend(both.map(|name| (name.to_owned(), intercept.url.as_str().into())));
        }
        let given = GivenToCommand {
            token: self.token.secret.expose(),
            url: &url,
            empty_file: &empty_file,
            more,
            forbidden: real.variables.clone(),
        };
        Ok(Environment::of(
            self.own.iter().cloned(),
            given,
            &real.traces,
        ))
    }
}

/// What its user should know before the command begins.
fn told_before(environment: &Environment, real: &Real) {
    for file in real.files.iter().filter(|file| File::open(file).is_ok()) {
        say(format!(
            "tidegate exec: the command runs as you do, and can read the real token in `{}` if it looks there",
            file.display()
        ));
    }
    if !environment.taken_out.is_empty() {
        say(format!(
            "tidegate exec: taken out of the command's environment, as the real token stands there: {}",
            environment.taken_out.join(", ")
        ));
    }
    if !environment.others.is_empty() {
        say(format!(
            "tidegate exec: the command can read another DigitalOcean token in {}; take it out if it needs none",
            environment.others.join(", ")
        ));
    }
}
