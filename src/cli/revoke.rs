use std::io::{self, BufRead, IsTerminal, Read};

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::token::Desk;
use super::{Failed, Outcome, counted, print, say, values};
use crate::operate::{Several, ShownToken};
use crate::secret::SecretHash;
use crate::token::{NoToken, SubToken, TokenId};

#[derive(Args)]
pub(super) struct Arguments {
    /// The name or id, or the whole sub-token; `-`, or nothing, to read it from standard input. A sub-token in an argument stands
    /// in the shell's history and in the list of processes.
    #[arg(conflicts_with_all = ["roles", "owner", "trust"], add = values::living_tokens())]
    token: Option<String>,
    /// Every living sub-token that has this role; repeatable.
    #[arg(long = "role", value_name = "ROLE", add = values::roles())]
    roles: Vec<String>,
    /// Every living sub-token of this owner; with --role, of these those that have such a role.
    #[arg(long, add = values::owners())]
    owner: Option<String>,
    /// Every living sub-token that this rule of `trust` gave; with --role or --owner, of these those.
    #[arg(long, value_name = "RULE", add = values::rules_of_trust())]
    trust: Option<String>,
    /// Do not ask: on a terminal, several at once are ended after a yes.
    #[arg(long)]
    yes: bool,
    /// Print what was revoked as JSON.
    #[arg(long)]
    json: bool,
}

/// Works with a broken policy too: what must end must not wait for a file to be mended.
pub(super) fn run(desk: &Desk, arguments: &Arguments) -> Result<Outcome, Failed> {
    let Arguments {
        roles,
        owner,
        trust,
        ..
    } = arguments;
    if let Some(these) = Several::new(roles.clone(), owner.clone(), trust.clone()) {
        return many(desk, arguments, &these);
    }
    let wanted = match arguments.token.as_deref() {
        Some("-") | None => heard()?,
        Some(text) => Zeroizing::new(text.to_owned()),
    };
    let (id, name) = match (called(desk, &wanted)?, wanted.parse::<TokenId>()) {
        (Called::Found(token), _) => (token.id, token.name),
        (Called::Ended(token), _) => {
            say(format!(
                "the secret of `{name}` ({id}) was replaced since, so that this sub-token is of no use any more; nothing was revoked, and `tidegate token revoke {id}` ends the token itself",
                name = token.name,
                id = token.id,
            ));
            return Ok(Outcome::Good);
        }
        (Called::Nobody(_), Ok(id)) if desk.policy().is_err() => (id.clone(), id.to_string()),
        (Called::Nobody(error), _) => return Err(error),
    };
    end(desk, arguments.json, &[(id, name)])
}

/// What a text names.
enum Called {
    /// A token.
    Found(ShownToken),
    /// A token, by a secret that it has no more.
    Ended(ShownToken),
    /// Nothing, for this reason.
    Nobody(Failed),
}

fn called(desk: &Desk, wanted: &str) -> Result<Called, Failed> {
    if !wanted.contains("_v1_") {
        return Ok(desk.find(wanted).map_or_else(Called::Nobody, Called::Found));
    }
    let token = SubToken::read(wanted).map_err(|why| no_token(desk, wanted, why))?;
    let found = match desk.find(token.id.as_str()) {
        Ok(found) => found,
        Err(error) => return Ok(Called::Nobody(error)),
    };
    let hash = token.hash();
    let is_valid = found
        .hashes
        .iter()
        .any(|known: &SecretHash| known.matches(&hash));
    Ok(if is_valid {
        Called::Found(found)
    } else {
        Called::Ended(found)
    })
}

/// Why what looks like a token is none of ours. It is not shown: half a secret is still half a secret.
pub(super) fn no_token(desk: &Desk, text: &str, why: NoToken) -> Failed {
    match why {
        NoToken::Real => Failed::because(
            "this is a real DigitalOcean token, not a sub-token; revoke it in DigitalOcean's control panel, under API, and put another where the configuration says",
        ),
        NoToken::Form | NoToken::Checksum | NoToken::Id => {
            let id = text.split("tdg_v1_").nth(1).and_then(|rest| rest.get(..12));
            let found = id.and_then(|id| desk.find(id).ok());
            let instead = found.map_or_else(
                || "give it whole, or its name or id".to_owned(),
                |found| {
                    let (id, name) = (found.id, found.name);
                    format!("by its id it is `{name}`, which `tidegate token revoke {id}` ends")
                },
            );
            Failed::because(format!("this sub-token can't be read: {why}; {instead}"))
        }
    }
}

/// One line of standard input, without what is around it.
pub(super) fn heard() -> Result<Zeroizing<String>, Failed> {
    if io::stdin().is_terminal() {
        say("the name or id of a token, or the whole sub-token:");
    }
    let mut line = Zeroizing::new(String::with_capacity(MOST));
    let read = io::stdin().lock().take(MOST as u64).read_line(&mut line);
    read.map_err(|error| Failed::because(format!("standard input can't be read: {error}")))?;
    let text = line.trim();
    if text.is_empty() {
        return Err(Failed::because(
            "standard input has no token; give a name, an id or the whole sub-token, or --role, --owner or --trust",
        ));
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// More bytes than a name or a sub-token has.
const MOST: usize = 4096;

/// Ends all living tokens with these roles, of this owner or of this rule, after it has said which.
fn many(desk: &Desk, arguments: &Arguments, these: &Several) -> Result<Outcome, Failed> {
    let now = Timestamp::now();
    let mut found = desk.shown(|state| state.list())?;
    found.retain(|token| these.has(token, now));
    let all: Vec<_> = found
        .into_iter()
        .map(|token| (token.id, token.name))
        .collect();
    if all.is_empty() {
        return Err(Failed::because(format!(
            "there is no living token {these}; `tidegate token list` shows them all"
        )));
    }
    let names: Vec<_> = all.iter().map(|(_, name)| format!("`{name}`")).collect();
    say(format!(
        "{} {these}: {}",
        counted(all.len(), "living token"),
        names.join(", ")
    ));
    if !arguments.yes && io::stdin().is_terminal() {
        say("revoke them? Type `yes`:");
        if heard()?.as_str() != "yes" {
            say("nothing was revoked");
            return Ok(Outcome::Bad);
        }
    }
    end(desk, arguments.json, &all)
}

fn end(desk: &Desk, json: bool, tokens: &[(TokenId, String)]) -> Result<Outcome, Failed> {
    let ids: Vec<_> = tokens.iter().map(|(id, _)| id.clone()).collect();
    let now = Timestamp::now();
    desk.state()?
        .revoke_all(&ids, now)
        .map_err(Failed::because)?;
    for (id, name) in tokens {
        say(format!("revoked `{name}` ({id})"));
    }
    if json {
        let one = |(id, name): &(TokenId, String)| json!({ "id": id.as_str(), "name": name });
        print(tokens.iter().map(one).collect::<Value>())?;
    }
    Ok(Outcome::Good)
}
