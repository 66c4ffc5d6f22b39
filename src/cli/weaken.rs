use std::env;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::exec::remote::{self, Remote};
use super::token::{Desk, tell};
use super::{Failed, exec, print, revoke, say, values};
use crate::config::BaseUrl;
use crate::operate::ShownToken;
use crate::request::Json;
use crate::rules;
use crate::secret::SecretHash;
use crate::state::{Child, ChildWish, Delegator};
use crate::token::{Source, SubToken, Usage};
use crate::units::{Rate, Span};
use crate::yaml::{self, Mistakes, Node};

#[derive(Args)]
pub(super) struct Arguments {
    /// The name or id of the sub-token that makes it; `-` to read that sub-token, whole, from standard input: the child then ends
    /// with that secret, be it one in grace.
    #[arg(required_unless_present = "url", add = values::living_tokens())]
    parent: Option<String>,
    /// Let the tidegate at this address make it, of the sub-token in `TIDEGATE_TOKEN`, in a file, or on standard input (`-`): neither
    /// configuration nor state is needed here.
    #[arg(long)]
    pub(super) url: Option<BaseUrl>,
    /// The file with the sub-token that makes it, in place of `TIDEGATE_TOKEN`.
    #[arg(long, value_name = "FILE", requires = "url", conflicts_with = "parent")]
    sub_token_file: Option<PathBuf>,
    /// How long it is valid, as `15m`.
    #[arg(long, value_name = "SPAN")]
    expires: Span,
    /// Its name, which stands behind its parent's.
    #[arg(long)]
    name: Option<String>,
    /// A role that it has, of those that its parent hands on; repeatable. Left out: all of them.
    #[arg(long = "role", value_name = "ROLE", add = values::roles())]
    roles: Vec<String>,
    /// A scope that it keeps, wildcards too; repeatable.
    #[arg(long = "scope", value_name = "SCOPE", add = values::scopes())]
    scopes: Vec<String>,
    /// A request that it keeps, as `GET /v2/droplets`; repeatable.
    #[arg(long = "request", value_name = "PATTERN")]
    requests: Vec<String>,
    /// An action that it keeps; repeatable.
    #[arg(long = "action", value_name = "ACTION", add = values::actions())]
    actions: Vec<String>,
    /// What it is narrowed to, as a grant's `only` in the policy: `{droplet: {tag: web}}`.
    #[arg(long, value_name = "YAML")]
    only: Option<String>,
    /// How many requests it is good for.
    #[arg(long, value_name = "N", value_parser = crate::operate::uses)]
    max_uses: Option<u64>,
    /// How often it may be used, as `60/min`.
    #[arg(long, value_name = "RATE")]
    rate: Option<Rate>,
    /// An address or network that it may be used from, or `unix`; repeatable.
    #[arg(long = "from", value_name = "CIDR")]
    sources: Vec<Source>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Makes a child in the state, as the daemon does for who asks it.
pub(super) fn run(desk: &Desk, arguments: &Arguments) -> Result<(), Failed> {
    let now = Timestamp::now();
    let wish = wish(arguments)?.to_string();
    let wish = Json::read(wish.as_bytes()).map_err(Failed::because)?;
    let wish = ChildWish::of_json(&wish).map_err(|refusal| Failed::because(refusal.message))?;
    let (parent, hash) = parent(desk, arguments.parent.as_deref().unwrap_or_default())?;
    if parent.parent().is_some() {
        return Err(Failed::because(
            "a sub-token that another made makes none; weaken that one",
        ));
    }
    if !parent.fate(now).lives() {
        let what = format!(
            "the token `{}` has ended, and so would what it makes",
            parent.name
        );
        return Err(Failed::because(what));
    }
    let policy = desk.policy()?;
    let catalog = rules::catalog(desk.settings.extra_catalog.as_deref())?;
    let delegator = Delegator {
        id: &parent.id,
        name: &parent.name,
        hash,
        roles: &parent.roles,
        vars: &parent.vars,
        ends: parent.limits.expires_at,
    };
    let child = delegator.child(&wish, &policy, &catalog, now);
    let Child {
        token,
        issued,
        most,
    } = child.map_err(|refusal| Failed::because(refusal.message))?;
    let kept = desk.state()?.delegate(&issued, most, now);
    if !kept.map_err(Failed::because)? {
        let what = format!(
            "the token `{}` has {most} living children, as many as its roles allow (`delegate`); end one first",
            parent.name
        );
        return Err(Failed::because(what));
    }
    tell(
        &token,
        &ShownToken::issued(issued, Usage::default(), None, now),
        arguments.json,
    )
}

/// Lets a tidegate elsewhere make the child of a sub-token that is here.
pub(super) fn elsewhere(url: BaseUrl, arguments: &Arguments) -> Result<(), Failed> {
    const HOW: &str =
        "or name a file with `--sub-token-file`, or `-` to read it from standard input";
    let remote = Remote::at(url)?;
    let parent = match arguments.parent.as_deref() {
        None => {
            let own: Vec<_> = env::vars_os().collect();
            remote::parent(arguments.sub_token_file.as_deref(), &own, HOW)?
        }
        Some("-") => {
            SubToken::read(&revoke::heard()?)
                .map_err(Failed::because)?
                .secret
        }
        Some(_) => {
            return Err(Failed::because(format!(
                "with `--url` the sub-token itself makes the other, not its name or id; put it into TIDEGATE_TOKEN, {HOW}"
            )));
        }
    };
    let runtime = exec::runtime()?;
    let (given, answer) = runtime.block_on(remote.weaken(&parent, &wish(arguments)?))?;
    if arguments.json {
        return print(answer);
    }
    let text = |member: &str| {
        answer
            .get(member)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    say(format!(
        "`{}` ({}) with {}, valid until {}; the token is shown this once:",
        text("name"),
        text("id"),
        given.roles.join(", "),
        text("expires_at")
    ));
    print(given.token.expose())
}

/// The parent, and the hash of the secret that the child belongs to.
fn parent(desk: &Desk, wanted: &str) -> Result<(ShownToken, SecretHash), Failed> {
    let text = match wanted {
        "-" => revoke::heard()?,
        text => Zeroizing::new(text.to_owned()),
    };
    let found = desk.find(&text)?;
    if !text.contains("_v1_") {
        let hash = found.hashes.first().copied();
        return hash
            .map(|hash| (found, hash))
            .ok_or_else(|| Failed::because("this token has no secret"));
    }
    let hash = SubToken::read(&text).map_err(Failed::because)?.hash();
    if found.hashes.iter().any(|known| known.matches(&hash)) {
        Ok((found, hash))
    } else {
        Err(Failed::because(format!(
            "this secret of the token `{}` is not valid any more",
            found.name
        )))
    }
}

/// The arguments in the words of `POST /.tidegate/v1/tokens`.
fn wish(arguments: &Arguments) -> Result<Value, Failed> {
    let Arguments {
        parent: _,
        url: _,
        sub_token_file: _,
        expires,
        name,
        roles,
        scopes,
        requests,
        actions,
        only,
        max_uses,
        rate,
        sources,
        json: _,
    } = arguments;
    let mut body = Map::from_iter([("expires_in".to_owned(), json!(expires.seconds()))]);
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    let lists = [
        ("roles", roles),
        ("scopes", scopes),
        ("requests", requests),
        ("actions", actions),
    ];
    for (key, list) in lists {
        if !list.is_empty() {
            put(key, json!(list));
        }
    }
    if let Some(name) = name {
        put("name", json!(name));
    }
    if let Some(most) = max_uses {
        put("max_uses", json!(most));
    }
    if let Some(rate) = rate {
        put("rate", json!(rate.to_string()));
    }
    if !sources.is_empty() {
        let sources: Vec<_> = sources.iter().map(Source::to_string).collect();
        put("sources", json!(sources));
    }
    if let Some(only) = only {
        put("only", of_yaml(only)?);
    }
    Ok(Value::Object(body))
}

/// What is written as YAML, as JSON; every scalar is a text.
fn of_yaml(text: &str) -> Result<Value, Failed> {
    let mut mistakes = Mistakes::new("--only");
    match yaml::read(text, &mut mistakes) {
        Some(node) if mistakes.is_empty() => Ok(as_json(&node)),
        Some(_) | None => Err(Failed(mistakes.into_lines())),
    }
}

fn as_json(node: &Node) -> Value {
    match &node.value {
        yaml::Value::Scalar { text, .. } => json!(text),
        yaml::Value::List(items) => items.iter().map(as_json).collect(),
        yaml::Value::Map(entries) => {
            let one = |entry: &yaml::Entry| (entry.key.clone(), as_json(&entry.node));
            Value::Object(entries.iter().map(one).collect())
        }
    }
}
