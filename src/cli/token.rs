use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::Value;

use super::columns::{self, Column};
use super::{Failed, Outcome, print, print_table, revoke, say, values, weaken};
use crate::config::Settings;
use crate::operate::{
    NewToken, ShownToken, TokenEnd, all_shown, name, plain_text, rotate_found, tree, variable,
};
use crate::policy::{Ceiling, Policy, Vars};
use crate::rules;
use crate::state::{self, About, Issued, ListedToken, StateError, Store};
use crate::token::{Limits, Source, SubToken, SubjectPattern, Usage};
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
    List(TokenList),
    /// Show one sub-token: what is kept of it, never the token itself.
    #[command(after_help = "Example:\n  tidegate token show ci")]
    Show(NamedToken),
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
        after_help = "Example:\n  tidegate token weaken ci --name job-1 --expires 15m --scope droplet:read --only \"{droplet: {tag: web}}\"\n  tidegate token weaken - --expires 15m < token.txt    # of the secret that is read there\n  tidegate token weaken --url https://bastion:8443 --expires 15m    # of TIDEGATE_TOKEN, without a configuration"
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
    #[arg(long = "role", required = true, value_name = "ROLE", add = values::roles())]
    roles: Vec<String>,
    /// How long it is valid, as `30d`.
    #[arg(long, value_name = "SPAN", conflicts_with = "expires_at")]
    expires: Option<Span>,
    /// Until when it is valid, as `2027-01-31T00:00:00Z`.
    #[arg(long, value_name = "TIME", value_parser = crate::operate::time)]
    expires_at: Option<Timestamp>,
    /// From when on it is valid.
    #[arg(long, value_name = "TIME", value_parser = crate::operate::time)]
    not_before: Option<Timestamp>,
    /// How long it may go unused, as `1h`.
    #[arg(long, value_name = "SPAN")]
    idle: Option<Span>,
    /// How many requests it is good for.
    #[arg(long, value_name = "N", value_parser = crate::operate::uses)]
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
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = variable, add = values::variables())]
    vars: Vec<(String, String)>,
    /// A role whose grants it holds too until `--until`: what its own roles would refuse goes, and the record says what they
    /// would have said.
    #[arg(long, value_name = "ROLE", requires = "until", add = values::roles())]
    ceiling: Option<String>,
    /// How long the ceiling holds, as `3d`, or until when; 7 days at most.
    #[arg(long, value_name = "SPAN|TIME", requires = "ceiling", value_parser = TokenEnd::from_str)]
    until: Option<TokenEnd>,
    /// What it is for.
    #[arg(long, value_parser = plain_text)]
    description: Option<String>,
    /// Who has it.
    #[arg(long, value_parser = plain_text, add = values::owners())]
    owner: Option<String>,
    /// Print an entry for the policy file on standard output, instead of storing it; the token goes to standard error.
    #[arg(long, conflicts_with = "json")]
    yaml: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct TokenList {
    /// Those that stand so: `active`, `expired`, `not_yet_valid`, `revoked`, or `role_missing`.
    #[arg(long, value_name = "STATE", value_parser = ["active", "expired", "not_yet_valid", "revoked", "role_missing"])]
    state: Option<String>,
    /// Those of this owner.
    #[arg(long, add = values::owners())]
    owner: Option<String>,
    /// Those that have this role.
    #[arg(long, add = values::roles())]
    role: Option<String>,
    /// Those that this rule of `trust` gave.
    #[arg(long, value_name = "RULE", add = values::rules_of_trust())]
    trust: Option<String>,
    /// The children of this token, by its name or id.
    #[arg(long, value_name = "TOKEN", add = values::tokens())]
    parent: Option<String>,
    /// The active ones that end within this time, as `7d`.
    #[arg(long, value_name = "SPAN")]
    expiring: Option<Span>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct NamedToken {
    /// The name or id.
    #[arg(add = values::tokens())]
    token: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct Rotate {
    /// The name or id.
    #[arg(add = values::living_tokens())]
    token: String,
    /// How long the old secret stays valid.
    #[arg(long, value_name = "SPAN")]
    grace: Option<Span>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(config: &Path, command: Command) -> Result<Outcome, Failed> {
    if let Command::Weaken(arguments) = &command
        && let Some(url) = arguments.url.clone()
    {
        weaken::elsewhere(url, arguments)?;
        return Ok(Outcome::Good);
    }
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

impl Issue {
    fn new_token(self) -> NewToken {
        let Self {
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
        } = self;
        NewToken {
            name,
            roles,
            expires: expires.map(TokenEnd::In).or(expires_at.map(TokenEnd::At)),
            not_before,
            idle,
            max_uses,
            sources,
            client_cert,
            rate,
            vars,
            ceiling: ceiling.zip(until),
            description,
            owner,
        }
    }
}

/// Where sub-tokens are given out and taken back.
pub(super) struct Desk {
    pub(super) settings: Settings,
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
            "there is no state file `{path}` yet; the first `tidegate token issue` makes it"
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
        let (token, issued) = arguments.new_token().make(&self.policy()?, now)?;
        if yaml {
            say(format!(
                "the token, shown this once: {}",
                token.secret.expose()
            ));
            return print(entry(&issued).trim_end());
        }
        self.state()?.issue(&issued, now).map_err(Failed::because)?;
        let shown = ShownToken::issued(issued, Usage::default(), None, now);
        tell(&token, &shown, json)
    }

    /// The tokens of the state that `pick` takes out of it, and all of the policy file.
    pub(super) fn shown(
        &self,
        pick: impl FnOnce(&dyn Store) -> Result<Vec<ListedToken>, StateError>,
    ) -> Result<Vec<ShownToken>, Failed> {
        let now = Timestamp::now();
        let state = self.state_if_any()?;
        let picked = state.as_deref().map(pick).transpose();
        let picked = picked.map_err(Failed::because)?.unwrap_or_default();
        let policy = self.policy().inspect_err(|Failed(lines)| {
            lines.iter().for_each(say);
            say("the policy has mistakes, so the tokens that it lists are not shown");
        });
        all_shown(picked, state.as_deref(), policy.ok().as_ref(), now)
    }

    /// The token with that name or id; of several with the name, the one that lives.
    pub(super) fn find(&self, wanted: &str) -> Result<ShownToken, Failed> {
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
        let lives = |token: &ShownToken| token.fate(now).lives();
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

    fn list(&self, arguments: &TokenList) -> Result<(), Failed> {
        let now = Timestamp::now();
        let mut all = self.shown(|state| state.list())?;
        all.retain(|token| arguments.takes(token, now));
        if arguments.json {
            return print(Value::Array(
                all.iter().map(|token| token.as_json(now)).collect(),
            ));
        }
        let rows = tree(&all);
        let row = |(depth, token): &(usize, &ShownToken)| row(token, *depth, now);
        columns::print(&COLUMNS, rows.iter().map(row).collect())
    }

    fn show(&self, arguments: &NamedToken) -> Result<(), Failed> {
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
        let children = self.shown(|state| state.children(&found.id))?;
        let is_its =
            |child: &&ShownToken| child.parent().is_some_and(|parent| parent.id == found.id);
        let lives = |child: &&ShownToken| child.fate(now).lives();
        let children = children.iter().filter(is_its).filter(lives).count();
        let mut state = self.state()?;
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

/// How long the state is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl TokenList {
    fn takes(&self, token: &ShownToken, now: Timestamp) -> bool {
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

/// Prints a new token on standard output, and what it is beside.
pub(super) fn tell(token: &SubToken, shown: &ShownToken, json: bool) -> Result<(), Failed> {
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
    let ceiling = ceiling.as_deref();
    let members = [
        ("id", Some(quoted(id.as_str()))),
        ("hash", Some(format!("\"sha256:{}\"", hash.to_hex()))),
        ("roles", Some(quoted_list(roles))),
        ("vars", (!vars.is_empty()).then(|| quoted_vars(vars))),
    ];
    let about = [
        ("ceiling", ceiling.map(|ceiling| quoted(&ceiling.role))),
        ("report_until", ceiling.map(|it| it.until.to_string())),
        ("owner", owner.as_deref().map(quoted)),
        ("description", description.as_deref().map(quoted)),
    ];
    let members = members.into_iter().chain(limits_of(limits)).chain(about);
    let lines = members.filter_map(|(key, value)| Some(format!("    {key}: {}\n", value?)));
    format!("  - name: {}\n", quoted(name)) + &lines.collect::<String>()
}

/// The limits of an entry, as YAML writes them.
fn limits_of(limits: &Limits) -> [(&'static str, Option<String>); 7] {
    let Limits {
        sources,
        client_cert,
        not_before,
        expires_at,
        idle,
        max_uses,
        rate,
    } = limits;
    let sources = sources.as_ref().map(|sources| {
        let texts: Vec<_> = sources.iter().map(Source::to_string).collect();
        quoted_list(&texts)
    });
    let subject = client_cert.as_ref().map(SubjectPattern::to_string);
    [
        ("sources", sources),
        ("client_cert", subject.as_deref().map(quoted)),
        ("not_before", not_before.map(|time| time.to_string())),
        ("expires_at", expires_at.map(|time| time.to_string())),
        ("idle", idle.map(|idle| idle.to_string())),
        ("max_uses", max_uses.map(|uses| uses.to_string())),
        ("rate", rate.map(|rate| rate.to_string())),
    ]
}

/// A text in quotes: the strings of JSON are strings of YAML.
fn quoted(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

fn quoted_list(items: &[String]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

fn quoted_vars(vars: &Vars) -> String {
    let pairs = vars
        .iter()
        .map(|(name, value)| format!("{}: {}", quoted(name), quoted(value)));
    format!("{{ {} }}", pairs.collect::<Vec<_>>().join(", "))
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

fn row(token: &ShownToken, depth: usize, now: Timestamp) -> Vec<String> {
    let minute = |time: Option<Timestamp>| {
        time.map_or_else(
            || "-".to_owned(),
            |time| time.strftime("%Y-%m-%d %H:%M").to_string(),
        )
    };
    vec![
        if depth == 0 {
            token.name.clone()
        } else {
            format!("  {}", token.name)
        },
        token.id.to_string(),
        token.state(now).to_owned(),
        roles_with_ceiling(token, now),
        minute(token.limits.expires_at),
        minute(token.usage.last_used_at),
        token
            .uses_left()
            .map_or_else(|| "-".to_owned(), |left| left.to_string()),
        from(token),
    ]
}

/// From where, and with whose certificate.
fn from(token: &ShownToken) -> String {
    let from = match token.sources() {
        None => "anywhere".to_owned(),
        Some(sources) if sources.is_empty() => "nowhere".to_owned(),
        Some(sources) => sources.join(","),
    };
    match token.client_cert() {
        None => from,
        Some(pattern) => format!("{from} with {pattern}"),
    }
}

/// Its roles, and the ceiling under which it reports now.
fn roles_with_ceiling(token: &ShownToken, now: Timestamp) -> String {
    let roles = token.roles.join(",");
    match token.ceiling.as_ref().filter(|ceiling| ceiling.holds(now)) {
        None => roles,
        Some(Ceiling { role, until }) => {
            let until = until.strftime("%Y-%m-%d %H:%M");
            format!("{roles} (ceiling {role} until {until})")
        }
    }
}
