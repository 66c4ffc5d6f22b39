use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::fitting::{self, Column};
use super::{Failed, Outcome, print, print_table, revoke, say, weaken};
use crate::catalog::is_plain_text;
use crate::config::Settings;
use crate::policy::{self, Ceiling, FileToken, Policy};
use crate::refusal::Code;
use crate::rules::{self, Rules};
use crate::secret::{SecretHash, has_token};
use crate::state::{self, About, Issued, Listed, Maker, Parent, StateError, Store};
use crate::token::{Admission, Standing, SubToken, TokenId, Usage, no_name, standing};
use crate::token::{Limits, Source, SubjectPattern};
use crate::units::{Rate, Span};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Create a sub-token and print it, once.
    #[command(
        after_help = "Example:\n  tidegate token issue ci --role acme-dns --expires 30d --from 203.0.113.0/24 --max-uses 1000"
    )]
    Issue(Issue),
    /// List the sub-tokens, issued ones and those of the policy file.
    #[command(
        after_help = "Example:\n  tidegate token list --json\n  tidegate token list --state active --expiring 7d"
    )]
    List(List),
    /// Show one sub-token: what is kept of it, never the token itself.
    #[command(after_help = "Example:\n  tidegate token show ci")]
    Show(Named),
    /// End sub-tokens: one by name, id or the sub-token itself, or all with a role, of an owner or of a rule of `trust`; a running daemon refuses them
    /// within a second.
    #[command(
        after_help = "Example:\n  tidegate token revoke ci\n  tidegate token revoke < leaked.txt\n  tidegate token revoke --owner alice --role deploy"
    )]
    Revoke(revoke::Arguments),
    /// Give a sub-token a new secret, and print it; the old one ends at once, or after a time of grace.
    #[command(after_help = "Example:\n  tidegate token rotate ci --grace 1h")]
    Rotate(Rotate),
    /// Make a weaker sub-token of one whose roles let it (`delegate`), and print it, once; it ends with that one.
    #[command(
        after_help = "Example:\n  tidegate token weaken ci --name job-1 --expires 15m --scope droplet:read --only \"{droplet: {tag: web}}\"\n  tidegate token weaken - --expires 15m < token.txt    # of the secret that is read there"
    )]
    Weaken(weaken::Arguments),
    /// Take the state as it is, while no daemon runs: after one that is an older copy was looked through, or where the clock was
    /// ahead before.
    #[command(
        after_help = "Example:\n  systemctl stop tidegate && tidegate token revoke leaked && tidegate token accept-state && systemctl start tidegate"
    )]
    AcceptState,
}

#[derive(Args)]
pub(super) struct Issue {
    /// Its name, by which lists and records show it.
    #[arg(value_parser = name)]
    name: String,
    /// A role that it has; repeatable.
    #[arg(long = "role", required = true, value_name = "ROLE")]
    roles: Vec<String>,
    /// How long it is valid, as `30d`.
    #[arg(long, value_name = "SPAN", conflicts_with = "expires_at")]
    expires: Option<Span>,
    /// Until when it is valid, as `2027-01-31T00:00:00Z`.
    #[arg(long, value_name = "TIME")]
    expires_at: Option<Timestamp>,
    /// From when on it is valid.
    #[arg(long, value_name = "TIME")]
    not_before: Option<Timestamp>,
    /// How long it may go unused, as `1h`.
    #[arg(long, value_name = "SPAN")]
    idle: Option<Span>,
    /// How many requests it is good for.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_uses: Option<u64>,
    /// An address or network that it may be used from, or `unix`; repeatable. Left out: from anywhere.
    #[arg(long = "from", value_name = "CIDR")]
    sources: Vec<Source>,
    /// For whom the client certificate must be that is shown with it, as `CN=ci*` or `CN=ci*,O=Example`; `*` for any. It then
    /// works at listeners with `client_ca` alone.
    #[arg(long, value_name = "SUBJECT")]
    client_cert: Option<SubjectPattern>,
    /// How often it may be used, as `60/min`.
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// A variable of its roles, as `client=a`; repeatable.
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable)]
    vars: Vec<(String, String)>,
    /// A role whose grants it holds too until `--until`: what its own roles would refuse goes, and the record says what they
    /// would have said.
    #[arg(long, value_name = "ROLE", requires = "until")]
    ceiling: Option<String>,
    /// How long the ceiling holds, as `3d`, or until when; 7 days at most.
    #[arg(long, value_name = "SPAN|TIME", requires = "ceiling", value_parser = until)]
    until: Option<Until>,
    /// What it is for.
    #[arg(long, value_parser = plain_text)]
    description: Option<String>,
    /// Who has it.
    #[arg(long, value_parser = plain_text)]
    owner: Option<String>,
    /// Print an entry for the policy file on standard output, instead of storing it; the token goes to standard error.
    #[arg(long, conflicts_with = "json")]
    yaml: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct List {
    /// Those that stand so: `active`, `expired`, `not_yet_valid`, `revoked`, or `role_missing`.
    #[arg(long, value_name = "STATE", value_parser = ["active", "expired", "not_yet_valid", "revoked", "role_missing"])]
    state: Option<String>,
    /// Those of this owner.
    #[arg(long)]
    owner: Option<String>,
    /// Those that have this role.
    #[arg(long)]
    role: Option<String>,
    /// Those that this rule of `trust` gave.
    #[arg(long, value_name = "RULE")]
    trust: Option<String>,
    /// The children of this token, by its name or id.
    #[arg(long, value_name = "TOKEN")]
    parent: Option<String>,
    /// The active ones that end within this time, as `7d`.
    #[arg(long, value_name = "SPAN")]
    expiring: Option<Span>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Named {
    /// The name or id.
    token: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Rotate {
    /// The name or id.
    token: String,
    /// How long the old secret stays valid.
    #[arg(long, value_name = "SPAN")]
    grace: Option<Span>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Reads the name of a token.
fn name(text: &str) -> Result<String, String> {
    match no_name(text) {
        Some(why) => Err(why.to_owned()),
        None => Ok(text.to_owned()),
    }
}

/// Reads what lists and records show beside a name.
fn plain_text(text: &str) -> Result<String, String> {
    if !is_plain_text(text) || has_token(text) {
        return Err(
            "it is a text without control characters, spaces at its ends or secrets".to_owned(),
        );
    }
    Ok(text.to_owned())
}

/// An end, from now on or by its time.
#[derive(Clone, Copy, Debug)]
enum Until {
    In(Span),
    At(Timestamp),
}

fn until(text: &str) -> Result<Until, String> {
    let span = text.parse().map(Until::In);
    span.or_else(|_| text.parse().map(Until::At))
        .map_err(|_| "an end is a span, as `3d`, or a time, as `2027-01-31T00:00:00Z`".to_owned())
}

/// Reads `NAME=VALUE`.
pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("a variable is written NAME=VALUE")?;
    if name.is_empty() || value.is_empty() {
        return Err("a variable is written NAME=VALUE, neither of them empty".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn run(config: &Path, command: Command) -> Result<Outcome, Failed> {
    let settings = rules::settings(config)?;
    let desk = Desk { settings };
    match command {
        Command::Issue(arguments) => desk.issue(arguments),
        Command::List(arguments) => desk.list(&arguments),
        Command::Show(arguments) => desk.show(&arguments),
        Command::Revoke(arguments) => return revoke::run(&desk, &arguments),
        Command::Rotate(arguments) => desk.rotate(&arguments),
        Command::Weaken(arguments) => weaken::run(&desk, &arguments),
        Command::AcceptState => desk.accept_state(),
    }?;
    Ok(Outcome::Good)
}

/// Where sub-tokens are given out and taken back.
pub(super) struct Desk {
    pub(super) settings: Settings,
}

/// A sub-token as lists show it, wherever it is kept.
pub(crate) struct Shown {
    pub(crate) id: TokenId,
    pub(crate) name: String,
    /// Of the secrets by which it may come, the one before the last rotation too while that holds.
    pub(super) hashes: Vec<SecretHash>,
    pub(crate) roles: Vec<String>,
    pub(super) vars: policy::Vars,
    pub(super) limits: Limits,
    since: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
    usage: Usage,
    pub(super) owner: Option<String>,
    description: Option<String>,
    /// The role under which it reports, that time past or not.
    pub(crate) ceiling: Option<Ceiling>,
    pub(crate) of_policy: bool,
    /// Who made it, if nobody issued it by hand.
    pub(super) maker: Option<Arc<Maker>>,
    /// Why it can't be used, whoever comes: a role or variable that is gone.
    pub(crate) unbound: Option<String>,
}

impl Desk {
    pub(super) fn state(&self) -> Result<Box<dyn Store>, Failed> {
        state::open(&self.settings.state, PATIENCE).map_err(Failed::because)
    }

    /// The state, if there is a file: to look into it makes none.
    fn state_if_any(&self) -> Result<Option<Box<dyn Store>>, Failed> {
        let path = &self.settings.state;
        if path.exists() {
            return self.state().map(Some);
        }
        say(format!(
            "there is no state file `{}` yet; the first `tidegate token issue` makes it",
            path.display()
        ));
        Ok(None)
    }

    pub(super) fn policy(&self) -> Result<Policy, Failed> {
        let catalog = rules::catalog(self.settings.extra_catalog.as_deref())?;
        Ok(rules::policy(&self.settings, &catalog)?)
    }

    fn issue(&self, arguments: Issue) -> Result<(), Failed> {
        let now = Timestamp::now();
        let (yaml, json) = (arguments.yaml, arguments.json);
        let (token, issued) = Self::make(&self.policy()?, arguments, now)?;
        if yaml {
            say(format!(
                "the token, shown this once: {}",
                token.secret.expose()
            ));
            return print(entry(&issued).trim_end());
        }
        self.state()?.issue(&issued, now).map_err(Failed::because)?;
        let shown = Shown::issued(issued, Usage::default(), None, now);
        tell(&token, &shown, json)
    }

    /// Makes a sub-token of roles that the policy has; it is good once it is kept.
    fn make(
        policy: &Policy,
        arguments: Issue,
        now: Timestamp,
    ) -> Result<(SubToken, Issued), Failed> {
        let Issue {
            name,
            roles,
            expires,
            expires_at,
            not_before,
            idle,
            max_uses,
            sources,
            client_cert,
            rate,
            vars,
            ceiling,
            until,
            description,
            owner,
            yaml: _,
            json: _,
        } = arguments;
        let vars = variables(policy, &roles, vars)?;
        let ceiling = match ceiling.zip(until) {
            Some((role, until)) => {
                Some(checked_ceiling(policy, (&roles, &vars), role, until, now)?)
            }
            None => None,
        };
        let expires_at = match expires {
            Some(span) => Some(
                now.saturating_add(span.duration())
                    .map_err(Failed::because)?,
            ),
            None => expires_at,
        };
        if expires_at.is_some_and(|end| end <= now) {
            return Err(Failed::because(
                "the expiry has passed already; choose a later one",
            ));
        }
        if let (Some(begins), Some(ends)) = (not_before, expires_at)
            && ends <= begins
        {
            return Err(Failed::because(format!(
                "it would end at {ends:.0}, before it begins at {begins:.0}; choose a later end (`--expires` counts from now on)"
            )));
        }
        let sources = (!sources.is_empty()).then_some(sources);
        let limits = Limits {
            sources,
            client_cert,
            not_before,
            expires_at,
            idle,
            max_uses,
            rate,
        };
        let token = SubToken::generate().map_err(|error| {
            Failed::because(format!("the system gives no random bytes: {error}"))
        })?;
        let issued = Issued {
            id: token.id.clone(),
            name,
            hash: token.hash(),
            old: None,
            roles: roles.into(),
            vars,
            limits: Arc::new(limits),
            created_at: now,
            ceiling: ceiling.map(Arc::new),
            about: Some(Box::new(About { owner, description })),
            maker: None,
        };
        if policy
            .tokens
            .iter()
            .any(|listed| listed.name == issued.name)
        {
            return Err(Failed::because(format!(
                "a token of the policy file has the name `{}` already; choose another",
                issued.name
            )));
        }
        Ok((token, issued))
    }

    /// The tokens of the state that `pick` takes out of it, and all of the policy file.
    pub(super) fn shown(
        &self,
        pick: impl FnOnce(&dyn Store) -> Result<Vec<Listed>, StateError>,
    ) -> Result<Vec<Shown>, Failed> {
        let now = Timestamp::now();
        let state = self.state_if_any()?;
        let picked = state.as_deref().map(pick).transpose();
        let mut all: Vec<_> = picked
            .map_err(Failed::because)?
            .unwrap_or_default()
            .into_iter()
            .map(|(token, usage, revoked)| Shown::issued(token, usage, revoked, now))
            .collect();
        match self.policy() {
            Ok(policy) => {
                for token in &mut all {
                    let ceiling = token.ceiling.as_ref().filter(|ceiling| ceiling.holds(now));
                    let bound = bound_under(&policy, (&token.roles, &token.vars), ceiling);
                    token.unbound = bound.err().map(|unbound| unbound.to_string());
                }
                for token in policy.tokens {
                    let (usage, revoked_at) = match &state {
                        None => (Usage::default(), None),
                        Some(state) => (
                            state.usage(&token.id).map_err(Failed::because)?,
                            state.revoked_at(&token.id).map_err(Failed::because)?,
                        ),
                    };
                    all.push(Shown::listed(
                        Arc::unwrap_or_clone(token),
                        usage,
                        revoked_at,
                    ));
                }
            }
            Err(Failed(lines)) => {
                lines.iter().for_each(say);
                say("the policy has mistakes, so the tokens that it lists are not shown");
            }
        }
        Ok(all)
    }

    /// The token with that name or id; of several with the name, the one that lives.
    pub(super) fn find(&self, wanted: &str) -> Result<Shown, Failed> {
        if wanted.contains("_v1_") {
            let token =
                SubToken::read(wanted).map_err(|why| revoke::no_token(self, wanted, why))?;
            return self.find(token.id.as_str());
        }
        let (by_id, by_name): (Vec<_>, Vec<_>) = self
            .shown(|state| state.named(wanted))?
            .into_iter()
            .filter(|token| token.name == wanted || token.id.as_str() == wanted)
            .partition(|token| token.id.as_str() == wanted);
        let now = Timestamp::now();
        let lives = |token: &Shown| {
            matches!(
                token.standing(now),
                Standing::Active | Standing::NotYetValid
            )
        };
        let found = by_id
            .into_iter()
            .chain(by_name)
            .max_by_key(|token| (token.id.as_str() == wanted, lives(token), token.since));
        found.ok_or_else(|| {
            Failed::because(format!(
                "there is no token `{wanted}`; `tidegate token list` shows them all"
            ))
        })
    }

    fn list(&self, arguments: &List) -> Result<(), Failed> {
        let now = Timestamp::now();
        let mut all = self.shown(|state| state.list())?;
        all.retain(|token| arguments.takes(token, now));
        if arguments.json {
            return print(Value::Array(
                all.iter().map(|token| token.as_json(now)).collect(),
            ));
        }
        let rows = tree(&all);
        let row = |(depth, token): &(usize, &Shown)| token.row(*depth, now);
        fitting::print(&COLUMNS, rows.iter().map(row).collect())
    }

    fn show(&self, arguments: &Named) -> Result<(), Failed> {
        let now = Timestamp::now();
        let shown = self.find(&arguments.token)?.as_json(now);
        if arguments.json {
            return print(shown);
        }
        let rows: Vec<_> = shown
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| vec![key.clone(), plain(value)])
            .collect();
        print_table(&rows)
    }

    fn accept_state(&self) -> Result<(), Failed> {
        let now = Timestamp::now();
        self.state()?.accept(now).map_err(Failed::because)?;
        say(format!("the state is taken as it is at {now}"));
        Ok(())
    }

    fn rotate(&self, arguments: &Rotate) -> Result<(), Failed> {
        let found = self.find(&arguments.token)?;
        let now = Timestamp::now();
        let mut state = self.state()?;
        let children = state.children(&found.id).map_err(Failed::because)?;
        let children = children.iter().filter(|child| lives(child, now)).count();
        let (token, grace) = rotate_found(&mut *state, &found, arguments.grace)?;
        let with_it = match children {
            0 => String::new(),
            1 => "; 1 living child ends with it".to_owned(),
            many => format!("; {many} living children end with it"),
        };
        match grace {
            Some(until) => say(format!("the old secret is valid until {until:.0}{with_it}")),
            None => say(format!("the old secret is not valid any more{with_it}")),
        }
        tell(&token, &found, arguments.json)
    }
}

/// Gives a token a new secret; until when the old one is valid.
///
/// # Errors
/// Why it has none: it stands in the policy file, or was revoked.
pub(crate) fn rotate_found(
    state: &mut dyn Store,
    found: &Shown,
    grace: Option<Span>,
) -> Result<(SubToken, Option<Timestamp>), Failed> {
    let now = Timestamp::now();
    if found.of_policy {
        return Err(Failed::because(format!(
            "the token `{}` is listed in the policy file by its hash; issue another with `--yaml` and replace its entry",
            found.name
        )));
    }
    if found.revoked_at.is_some() {
        return Err(Failed::because(format!(
            "the token `{}` was revoked; issue a new one",
            found.name
        )));
    }
    let token = SubToken::with_id(&found.id)
        .map_err(|error| Failed::because(format!("the system gives no random bytes: {error}")))?;
    let grace = grace
        .map(|span| now.saturating_add(span.duration()))
        .transpose()
        .map_err(Failed::because)?;
    state
        .rotate(&found.id, &token.hash(), grace)
        .map_err(Failed::because)?;
    Ok((token, grace))
}

/// What `token issue` would make of these arguments, read by the same parser, over the policy in force; it is good once it is kept.
///
/// # Errors
/// What the command would say.
pub(crate) fn made_by(rules: &Rules, arguments: &[String]) -> Result<(SubToken, Issued), Failed> {
    let all = std::iter::once("issue").chain(arguments.iter().map(String::as_str));
    let Asked { issue } = Asked::try_parse_from(all).map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        Failed::because(line.strip_prefix("error: ").unwrap_or(line))
    })?;
    Desk::make(&rules.policy, issue, Timestamp::now())
}

/// `token issue` alone.
#[derive(Parser)]
#[command(name = "issue", disable_help_flag = true)]
struct Asked {
    #[command(flatten)]
    issue: Issue,
}

/// How long the state is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl List {
    fn takes(&self, token: &Shown, now: Timestamp) -> bool {
        let Self {
            state,
            owner,
            role,
            trust,
            parent,
            expiring,
            json: _,
        } = self;
        let ends_within = |span: &Span| {
            let until = now
                .saturating_add(span.duration())
                .unwrap_or(Timestamp::MAX);
            let ends = token.limits.expires_at;
            token.state(now) == "active" && ends.is_some_and(|end| end <= until)
        };
        let of_parent = |wanted: &String| {
            let parent = token.parent();
            parent.is_some_and(|it| it.name == *wanted || it.id.as_str() == wanted)
        };
        state.as_ref().is_none_or(|state| token.state(now) == state)
            && owner
                .as_ref()
                .is_none_or(|owner| token.owner.as_ref() == Some(owner))
            && role.as_ref().is_none_or(|role| token.roles.contains(role))
            && trust.as_ref().is_none_or(|rule| token.rule() == Some(rule))
            && parent.as_ref().is_none_or(of_parent)
            && expiring.as_ref().is_none_or(ends_within)
    }
}

/// Each token with its children beneath it, and how deep it stands. A child whose parent is not there stands by itself.
fn tree(all: &[Shown]) -> Vec<(usize, &Shown)> {
    let ids: HashSet<&TokenId> = all.iter().map(|token| &token.id).collect();
    let is_there = |token: &&Shown| {
        let parent = token.parent();
        parent.is_some_and(|parent| ids.contains(&parent.id))
    };
    let mut children: BTreeMap<&str, Vec<&Shown>> = BTreeMap::new();
    for token in all.iter().filter(is_there) {
        let parent = token.parent().map_or("", |parent| parent.id.as_str());
        children.entry(parent).or_default().push(token);
    }
    let mut rows = Vec::new();
    for token in all.iter().filter(|token| !is_there(token)) {
        rows.push((0, token));
        let own = children.get(token.id.as_str()).into_iter().flatten();
        rows.extend(own.map(|child| (1, *child)));
    }
    rows
}

/// Whether a token of the state may be used now, or later.
fn lives((token, usage, revoked_at): &Listed, now: Timestamp) -> bool {
    let admission = Admission {
        limits: &token.limits,
        since: Some(token.created_at),
        revoked_at: *revoked_at,
        usage: *usage,
    };
    matches!(
        standing(&admission, now),
        Standing::Active | Standing::NotYetValid
    )
}

const COLUMNS: [Column; 8] = [
    Column::text("NAME"),
    Column::whole("ID"),
    Column::whole("STATE"),
    Column::text("ROLES"),
    Column::time("EXPIRES"),
    Column::time("LAST USED"),
    Column::whole("USES LEFT"),
    Column::text("FROM"),
];

/// What a token would hold, under its ceiling if it has one.
fn bound_under(
    policy: &Policy,
    (roles, vars): (&[String], &policy::Vars),
    ceiling: Option<&Ceiling>,
) -> Result<policy::Grants, policy::Unbound> {
    let alone = policy::bind(policy, roles, vars)?;
    match ceiling {
        Some(ceiling) => policy::under(policy, &Arc::new(alone), &ceiling.role),
        None => Ok(alone),
    }
}

/// A ceiling under which the token can be used, and that ends in time.
fn checked_ceiling(
    policy: &Policy,
    (roles, vars): (&[String], &policy::Vars),
    role: String,
    until: Until,
    now: Timestamp,
) -> Result<Ceiling, Failed> {
    let until = match until {
        Until::In(span) => now.saturating_add(span.duration()),
        Until::At(time) => Ok(time),
    };
    let until = until.map_err(Failed::because)?;
    if until <= now {
        let why = "the ceiling has ended already; choose a later `--until`, or leave it out";
        return Err(Failed::because(why));
    }
    if let Some(why) = Ceiling::no_end(until, now) {
        return Err(Failed::because(why));
    }
    let known = policy.roles.keys().map(String::as_str);
    if !policy.roles.contains_key(&role) {
        let near =
            crate::yaml::nearest(&role, known).map(|near| format!("; did you mean `{near}`?"));
        let near = near.unwrap_or_default();
        return Err(Failed::because(format!("unknown role `{role}`{near}")));
    }
    let ceiling = Ceiling { role, until };
    bound_under(policy, (roles, vars), Some(&ceiling))
        .map_err(|error| Failed::because(format!("this token could not be used: {error}")))?;
    Ok(ceiling)
}

/// The variables that the roles need, no more and no less.
pub(super) fn variables(
    policy: &Policy,
    roles: &[String],
    given: Vec<(String, String)>,
) -> Result<policy::Vars, Failed> {
    let mut vars = BTreeMap::new();
    for (name, value) in given {
        if vars.insert(name.clone(), value).is_some() {
            return Err(Failed::because(format!(
                "the variable `{name}` is given twice"
            )));
        }
    }
    if let Some(role) = roles.iter().find(|role| !policy.roles.contains_key(*role)) {
        let near = crate::yaml::nearest(role, policy.roles.keys().map(String::as_str)).map_or_else(
            || {
                format!(
                    "the policy has {}",
                    policy.roles.keys().cloned().collect::<Vec<_>>().join(", ")
                )
            },
            |near| format!("did you mean `{near}`?"),
        );
        return Err(Failed::because(format!("unknown role `{role}`; {near}")));
    }
    let known = |name: &String| {
        roles
            .iter()
            .filter_map(|role| policy.roles.get(role))
            .any(|role| role.vars.contains(name))
    };
    if let Some(extra) = vars.keys().find(|name| !known(name)) {
        return Err(Failed::because(format!(
            "no role of this token has a variable `{extra}`"
        )));
    }
    policy::bind(policy, roles, &vars).map_err(|error| {
        Failed::because(format!(
            "this token could not be used: {error}; give variables by `--var NAME=VALUE`"
        ))
    })?;
    Ok(vars)
}

/// Prints a new token on standard output, and what it is beside.
pub(super) fn tell(token: &SubToken, shown: &Shown, json: bool) -> Result<(), Failed> {
    let now = Timestamp::now();
    if json {
        let mut all = shown.as_json(now);
        if let Some(members) = all.as_object_mut() {
            members.insert(
                "token".to_owned(),
                Value::String(token.secret.expose().to_owned()),
            );
        }
        return print(all);
    }
    let until = shown.limits.expires_at.map_or_else(
        || "without an expiry".to_owned(),
        |end| format!("until {end:.0}"),
    );
    let reports = shown.ceiling.as_ref().filter(|ceiling| ceiling.holds(now));
    let reports = reports.map_or_else(String::new, |Ceiling { role, until }| {
        format!(", under the ceiling `{role}` until {until:.0}")
    });
    say(format!(
        "`{}` ({}) with {}{reports}, valid {until}; the token is shown this once:",
        shown.name,
        shown.id,
        shown.roles.join(", ")
    ));
    print(token.secret.expose())
}

/// A token as an entry of the policy file's `tokens`.
fn entry(token: &Issued) -> String {
    let Issued {
        id,
        name,
        hash,
        old: _,
        roles,
        vars,
        limits,
        created_at: _,
        ceiling,
        about,
        maker: _,
    } = token;
    let About { owner, description } = about.as_deref().cloned().unwrap_or_default();
    let Limits {
        sources,
        client_cert,
        not_before,
        expires_at,
        idle,
        max_uses,
        rate,
    } = &**limits;
    let quoted = |text: &str| Value::String(text.to_owned()).to_string(); // JSON strings are YAML strings
    let list = |items: &[String]| {
        format!(
            "[{}]",
            items
                .iter()
                .map(|item| quoted(item))
                .collect::<Vec<_>>()
                .join(", ")
        )
    };
    let mut lines = vec![
        format!("  - name: {}", quoted(name)),
        format!("    id: {}", quoted(id.as_str())),
        format!("    hash: \"sha256:{}\"", hash.to_hex()),
        format!("    roles: {}", list(roles)),
    ];
    if !vars.is_empty() {
        let vars: Vec<_> = vars
            .iter()
            .map(|(name, value)| format!("{}: {}", quoted(name), quoted(value)))
            .collect();
        lines.push(format!("    vars: {{ {} }}", vars.join(", ")));
    }
    let sources = sources
        .as_ref()
        .map(|sources| list(&sources.iter().map(Source::to_string).collect::<Vec<_>>()));
    let optional = [
        ("sources", sources),
        (
            "client_cert",
            client_cert
                .as_ref()
                .map(|pattern| quoted(&pattern.to_string())),
        ),
        ("not_before", not_before.map(|time| time.to_string())),
        ("expires_at", expires_at.map(|time| time.to_string())),
        ("idle", idle.map(|idle| idle.to_string())),
        ("max_uses", max_uses.map(|uses| uses.to_string())),
        ("rate", rate.map(|rate| rate.to_string())),
        (
            "ceiling",
            ceiling.as_ref().map(|ceiling| quoted(&ceiling.role)),
        ),
        (
            "report_until",
            ceiling.as_ref().map(|ceiling| ceiling.until.to_string()),
        ),
        ("owner", owner.as_deref().map(quoted)),
        ("description", description.as_deref().map(quoted)),
    ];
    lines.extend(
        optional
            .into_iter()
            .filter_map(|(key, value)| Some(format!("    {key}: {}", value?))),
    );
    lines.join("\n") + "\n"
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

impl Shown {
    pub(crate) fn issued(
        token: Issued,
        usage: Usage,
        revoked_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let Issued {
            id,
            name,
            hash,
            old,
            roles,
            vars,
            limits,
            created_at,
            ceiling,
            about,
            maker,
        } = token;
        let About { owner, description } = about.map(|about| *about).unwrap_or_default();
        let old = old.filter(|(_, until)| *until > now).map(|(hash, _)| hash);
        Self {
            id,
            name,
            hashes: [Some(hash), old].into_iter().flatten().collect(),
            roles: roles.to_vec(),
            vars,
            limits: Arc::unwrap_or_clone(limits),
            since: Some(created_at),
            revoked_at,
            usage,
            owner,
            description,
            ceiling: ceiling.map(Arc::unwrap_or_clone),
            of_policy: false,
            maker,
            unbound: None,
        }
    }

    pub(crate) fn listed(token: FileToken, usage: Usage, revoked_at: Option<Timestamp>) -> Self {
        let FileToken {
            name,
            id,
            hash,
            roles,
            vars,
            limits,
            owner,
            description,
            ceiling,
            at: _,
        } = token;
        Self {
            id,
            name,
            hashes: vec![hash],
            roles,
            vars,
            limits,
            since: None,
            revoked_at,
            usage,
            owner,
            description,
            ceiling: ceiling.map(Arc::unwrap_or_clone),
            of_policy: true,
            maker: None,
            unbound: None, // such a policy is refused whole
        }
    }

    /// The variables of its roles.
    pub(crate) fn vars(&self) -> &policy::Vars {
        &self.vars
    }

    /// How it stands, whatever has become of its roles.
    pub(super) fn standing(&self, now: Timestamp) -> Standing {
        let admission = Admission {
            limits: &self.limits,
            since: self.since,
            revoked_at: self.revoked_at,
            usage: self.usage,
        };
        standing(&admission, now)
    }

    /// The token that made it, if one did.
    pub(super) fn parent(&self) -> Option<&Parent> {
        self.maker.as_deref().and_then(Maker::parent)
    }

    /// The rule of `trust` that gave it, if one did.
    pub(super) fn rule(&self) -> Option<&str> {
        self.maker.as_deref().and_then(Maker::rule)
    }

    fn state(&self, now: Timestamp) -> &'static str {
        match (self.standing(now), &self.unbound) {
            (Standing::Active | Standing::NotYetValid, Some(_)) => Code::RoleMissing.as_str(),
            (standing, _) => standing.as_str(),
        }
    }

    fn uses_left(&self) -> Option<u64> {
        self.limits
            .max_uses
            .map(|most| most.saturating_sub(self.usage.used))
    }

    fn sources(&self) -> Option<Vec<String>> {
        self.limits
            .sources
            .as_ref()
            .map(|sources| sources.iter().map(Source::to_string).collect())
    }

    fn client_cert(&self) -> Option<String> {
        self.limits.client_cert.as_ref().map(ToString::to_string)
    }

    /// From where, and with whose certificate.
    fn from(&self) -> String {
        let from = match self.sources() {
            None => "anywhere".to_owned(),
            Some(sources) if sources.is_empty() => "nowhere".to_owned(),
            Some(sources) => sources.join(","),
        };
        match self.client_cert() {
            None => from,
            Some(pattern) => format!("{from} with {pattern}"),
        }
    }

    /// Its roles, and the ceiling under which it reports now.
    fn roles_with_ceiling(&self, now: Timestamp) -> String {
        let roles = self.roles.join(",");
        match self.ceiling.as_ref().filter(|ceiling| ceiling.holds(now)) {
            None => roles,
            Some(Ceiling { role, until }) => {
                let until = until.strftime("%Y-%m-%d %H:%M");
                format!("{roles} (ceiling {role} until {until})")
            }
        }
    }

    /// It for programs, as `token list --json` prints it.
    pub(crate) fn as_json(&self, now: Timestamp) -> Value {
        let text = |time: Option<Timestamp>| time.map(|time| time.to_string());
        json!({
            "id": self.id.as_str(),
            "name": self.name,
            "roles": self.roles,
            "vars": self.vars,
            "state": self.state(now),
            "why": self.unbound,
            "created_at": text(self.since),
            "not_before": text(self.limits.not_before),
            "expires_at": text(self.limits.expires_at),
            "idle": self.limits.idle.map(|idle| idle.to_string()),
            "rate": self.limits.rate.map(|rate| rate.to_string()),
            "last_used_at": text(self.usage.last_used_at),
            "uses_left": self.uses_left(),
            "sources": self.sources(),
            "client_cert": self.client_cert(),
            "description": self.description,
            "owner": self.owner,
            "ceiling": self.ceiling.as_ref().map(|ceiling| &ceiling.role),
            "report_until": text(self.ceiling.as_ref().map(|ceiling| ceiling.until)),
            "revoked_at": text(self.revoked_at),
            "trust": self.rule(),
            "parent": self.parent().map(|parent| &parent.name),
            "within": self.parent().and_then(|parent| parent.narrowing.as_deref()),
            "kept_in": if self.of_policy { "policy" } else { "state" },
        })
    }

    fn row(&self, depth: usize, now: Timestamp) -> Vec<String> {
        let minute = |time: Option<Timestamp>| {
            time.map_or_else(
                || "-".to_owned(),
                |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
            )
        };
        vec![
            if depth == 0 {
                self.name.clone()
            } else {
                format!("  {}", self.name)
            },
            self.id.to_string(),
            self.state(now).to_owned(),
            self.roles_with_ceiling(now),
            minute(self.limits.expires_at),
            minute(self.usage.last_used_at),
            self.uses_left()
                .map_or_else(|| "-".to_owned(), |left| left.to_string()),
            self.from(),
        ]
    }
}
