use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{Failed, Outcome, print, say, template};
use crate::config::{BaseUrl, UpstreamSettings};
use crate::secret::Secret;
use crate::upstream::Upstream;
use crate::upstream::{RealToken, RealTokenStanding};

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate init --dir ~/tidegate < do-token\n\nThe real token is read from standard input, or typed unseen on a terminal. It is shown to the API once (GET /v2/account), and not\nwritten if the API refuses it. Nothing that is there already is overwritten."
)]
pub(super) struct Arguments {
    /// Where the files go; made if it is missing.
    #[arg(long = "dir", value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Do not ask the API whether it takes the token.
    #[arg(long)]
    offline: bool,
    /// The API's address, where that is not DigitalOcean's own.
    #[arg(long, value_name = "URL")]
    upstream: Option<BaseUrl>,
}

const CONFIG: &str = "tidegate.yaml";
const POLICY: &str = "policy.yaml";
const TOKEN: &str = "do-token";
/// How long the API may take to say whether it takes the token.
const PATIENCE: Duration = Duration::from_secs(10);
/// More bytes than a real token has.
const MOST: usize = 4096;

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    let directory = std::path::absolute(&arguments.directory)?;
    let url = arguments
        .upstream
        .clone()
        .unwrap_or_else(BaseUrl::digitalocean);
    if !url.is_https() && !url.is_loopback() {
        return Err(Failed::because(
            "the real token would travel in the clear; `http://` is for loopback only, so use `https://`",
        ));
    }
    let there = [CONFIG, POLICY, TOKEN].map(|name| directory.join(name));
    if let Some(path) = there.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(Failed::because(format!(
            "`{}` is there already, and nothing is overwritten; choose another directory with `--dir`, or remove it",
            path.display()
        )));
    }
    let token = real_token()?;
    if arguments.offline {
        say("the API was not asked whether it takes the token");
    } else {
        show(token.expose(), &url)?;
    }
    write(&directory, &token, arguments.upstream.as_ref())?;
    tell(&directory)?;
    Ok(Outcome::Good)
}

/// The real token, without what is around it.
fn real_token() -> Result<Secret, Failed> {
    let stdin = io::stdin();
    let typed = stdin.is_terminal();
    let unseen = if typed { Unseen::begin() } else { None };
    if typed {
        say("the real DigitalOcean token (dop_v1_…), which is not shown as you type:");
    }
    let mut text = Zeroizing::new(String::with_capacity(MOST));
    let read = if typed {
        stdin.read_line(&mut text).map(drop)
    } else {
        stdin
            .lock()
            .take(MOST as u64)
            .read_to_string(&mut text)
            .map(drop)
    };
    drop(unseen);
    read.map_err(|error| Failed::because(format!("the token can't be read: {error}")))?;
    let token = text.trim();
    if let Some(why) = crate::secret::no_real_token(token) {
        return Err(Failed::because(format!("this is no real token: {why}")));
    }
    Ok(Secret::new(token.to_owned()))
}

/// A terminal that shows nothing of what is typed, until this is dropped.
struct Unseen(rustix::termios::Termios);

impl Unseen {
    fn begin() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).ok()?;
        Some(Self(before))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0); // the shell sets it right too
    }
}

/// Shows the token to the API. That it can't be asked is said, and no more.
fn show(token: &str, url: &BaseUrl) -> Result<(), Failed> {
    let settings = UpstreamSettings {
        url: url.clone(),
        ca_file: None,
        connect_timeout: Duration::from_secs(5),
        timeout: PATIENCE,
    };
    let token = RealToken::shown_once(Secret::new(token.to_owned()));
    let upstream = Upstream::new(&settings, Arc::default()).map_err(Failed::because)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime =
        runtime.map_err(|error| Failed::because(format!("the runtime can't start: {error}")))?;
    let asked = runtime.block_on(async { timeout(PATIENCE, upstream.show(&token)).await });
    match (token.standing(), asked) {
        (RealTokenStanding::Accepted, _) => say(format!("{url} takes the token")),
        (RealTokenStanding::Refused, _) => {
            return Err(Failed::because(format!(
                "{url} does not take this token (401), so nothing was written; make one in the control panel, under API, and copy it whole"
            )));
        }
        (_, Ok(Ok(status))) => say(format!(
            "{url} answered {}, which does not tell whether it takes the token; `tidegate health --ready` will",
            status.as_u16()
        )),
        (_, Ok(Err(_)) | Err(_)) => say(format!(
            "{url} can't be reached from here, so whether it takes the token is not known; `tidegate health --ready` will tell"
        )),
    }
    Ok(())
}

fn write(directory: &Path, token: &Secret, upstream: Option<&BaseUrl>) -> Result<(), Failed> {
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory);
    made.map_err(|error| unwritable(directory, &error))?;
    let line = upstream.map(|url| format!("upstream: {{ url: \"{url}\" }}\n"));
    let settings = SETTINGS.replace("{upstream}", line.as_deref().unwrap_or_default());
    let secret = Zeroizing::new(format!("{}\n", token.expose()));
    for (name, text, mode) in [
        (TOKEN, secret.as_str(), 0o600),
        (POLICY, template::text("read-only")?, 0o644),
        (CONFIG, settings.as_str(), 0o644),
    ] {
        let path = directory.join(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(mode).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|error| unwritable(&path, &error))?;
    }
    Ok(())
}

fn unwritable(path: &Path, error: &io::Error) -> Failed {
    Failed::because(format!("`{}` can't be written: {error}", path.display()))
}

/// Says what was made, and what comes next.
fn tell(directory: &Path) -> Result<(), Failed> {
    let config = directory.join(CONFIG);
    let config = config.display();
    for (name, what) in [
        (CONFIG, "how it listens and where it keeps what"),
        (
            POLICY,
            "what sub-tokens may do: the roles `read-only` and `eu-reader`",
        ),
        (TOKEN, "the real token, for its owner alone"),
    ] {
        print(format!("{}  {what}", directory.join(name).display()))?;
    }
    print("\nNext, in one terminal and in another:")?;
    print(format!("  tidegate serve --config {config}"))?;
    print(format!(
        "  tidegate token issue me --role read-only --config {config}"
    ))
}

const SETTINGS: &str = "\
# yaml-language-server: $schema=tidegate.schema.json
# How tidegate listens, where it forwards to, and what it keeps where; paths are relative to this file.
# `tidegate check --config tidegate.yaml` reads it with all that it names, and says what is wrong. For editors that know the first line:
# `tidegate schema config > tidegate.schema.json`, and `tidegate schema policy > policy.schema.json` for the policy.
listen:
  - address: 127.0.0.1:8080
{upstream}accounts:
  default: { token_file: do-token }
policy: policy.yaml
state: tidegate.db
audit: { file: audit.jsonl }
admin: { address: 127.0.0.1:9090 }
";
