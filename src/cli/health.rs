use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::{Failed, Outcome, say};
use crate::config::{Listen, ListenPlace};
use crate::rules;

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate health --ready\n\nIt asks the `admin` listener of the configuration, which must be on loopback without TLS, or a unix socket. Exit 0 if the\ndaemon is well, 1 if it is not or does not answer."
)]
pub(super) struct Arguments {
    /// Ask whether it is ready to serve (`/readyz`), not only whether it is alive (`/healthz`).
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    let settings = rules::settings(config)?;
    let page = if arguments.ready {
        "/readyz"
    } else {
        "/healthz"
    };
    let answer = match &settings.admin {
        Some(Listen::Plain(ListenPlace::Address(address), ..)) => {
            TcpStream::connect_timeout(address, PATIENCE).and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                ask(stream, page)
            })
        }
        Some(Listen::Unix(path)) => UnixStream::connect(path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            ask(stream, page)
        }),
        Some(Listen::Plain(ListenPlace::Systemd(_), ..) | Listen::Tls(..)) => {
            return Err(unanswerable(
                config,
                "`admin` speaks TLS, and this command has nothing to trust it by; ask it over HTTPS yourself, or give `admin` an address of loopback or a `unix` socket",
            ));
        }
        None => {
            return Err(unanswerable(
                config,
                "there is no `admin` to ask; add `admin: { address: 127.0.0.1:9090 }`",
            ));
        }
    };
    let answer =
        answer.map_err(|error| Failed::because(format!("the daemon does not answer: {error}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    say(body.trim_end());
    Ok(if head.starts_with("HTTP/1.1 200 ") {
        Outcome::Good
    } else {
        Outcome::Bad
    })
}

fn unanswerable(config: &Path, why: &str) -> Failed {
    Failed::because(format!("{}:1:1: error: {why}", config.display()))
}

/// One request, and all that comes until the daemon closes.
fn ask(mut stream: impl Read + Write, page: &str) -> std::io::Result<String> {
    let request = format!("GET {page} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.take(MOST).read_to_string(&mut answer)?;
    Ok(answer)
}

/// How long the daemon may take for a step: less than what those who ask by this command wait.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest answer, in bytes.
const MOST: u64 = 64 << 10;
