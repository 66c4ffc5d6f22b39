//! `tidegate.yaml`: how the daemon listens, where it forwards to, what it keeps where.
//!
//! The file is read and checked whole, and what it says is kept as it was written: what it points to is read by
//! [`crate::rules`].

mod issuers;
mod places;
mod problem;
mod read;
mod state;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use issuers::{ExchangeTimes, IssuerKind, IssuerSettings, KeySource, KeyUrl, NoKeyUrl};
pub use places::Places;
pub use problem::Problem;
pub use read::{read, read_leniently};
pub use state::{Database, StatePlace, UrlSource};
pub use url::BaseUrl;

use crate::secret::TokenCommand;
use crate::units::Size;

/// Where the configuration is looked for if nobody says.
pub const DEFAULT_PATH: &str = "/etc/tidegate/tidegate.yaml";

/// The configuration file, checked.
#[derive(Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: Vec<Listen>,
    /// The address that links in answers carry, where it is not the request's own.
    pub public_url: Option<BaseUrl>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The API.
    pub upstream: UpstreamSettings,
    /// The accounts: where the real token of each is.
    pub accounts: BTreeMap<String, Account>,
    /// The policy file.
    pub policy: PathBuf,
    /// Where the state is kept.
    pub state: StatePlace,
    /// What this daemon is called among several.
    pub instance: Option<String>,
    /// Where the audit record goes.
    pub audit: AuditSettings,
    /// Where those who run tidegate ask how it does.
    pub admin: Option<Listen>,
    /// The page for those who run tidegate, on that listener, if it is on.
    pub console: Option<ConsoleSettings>,
    /// A file with endpoints that this release does not know.
    pub extra_catalog: Option<PathBuf>,
    /// Which fields of answers are left out.
    pub field_scopes: FieldScopes,
    /// Who may vouch for CI jobs and workloads.
    pub issuers: BTreeMap<String, IssuerSettings>,
    /// How much of anything.
    pub limits: LimitSettings,
    /// Where the file names what is elsewhere.
    pub places: Places,
}

impl Settings {
    /// Whose claims the tokens of an issuer have, by what the configuration calls it.
    pub fn issuer_kind(&self, name: &str) -> IssuerKind {
        let settings = self.issuers.get(name);
        settings.map_or(IssuerKind::of_name(name), |issuer| issuer.kind)
    }
}

impl Settings {
    /// What this daemon is called among several: what the configuration says, else the host and a number that no other on it
    /// has. Nothing, where it is the only one.
    pub fn instance(&self) -> Option<String> {
        if let Some(name) = &self.instance {
            return Some(name.clone());
        }
        match &self.state {
            StatePlace::File(_) => None,
            StatePlace::Postgres(_) => {
                let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
                let host = if host.trim().is_empty() {
                    "tidegate"
                } else {
                    host.trim()
                };
                Some(format!("{host}-{}", std::process::id()))
            }
        }
    }
}

/// Which fields of answers are left out where a sub-token lacks their scopes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FieldScopes {
    /// What is secret, and nothing else.
    #[default]
    SecretsOnly,
    /// All that have a scope of their own, as at DigitalOcean.
    Enforce,
}

/// One place to listen at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listen {
    /// For plain HTTP.
    Plain(ListenPlace, ProxyHeader, Plaintext),
    /// For TLS.
    Tls(ListenPlace, ProxyHeader, TlsFiles),
    /// A unix socket, for plain HTTP.
    Unix(PathBuf),
}

/// Where a listener gets its socket.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum ListenPlace {
    /// It binds this address.
    Address(SocketAddr),
    /// systemd has bound it, and passes it on under this name.
    Systemd(String),
}

impl fmt::Display for ListenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Systemd(name) => write!(f, "systemd:{name}"),
        }
    }
}

/// How far plain HTTP may reach.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Plaintext {
    /// This machine.
    Loopback,
    /// Wherever the address is.
    Anywhere,
}

/// What comes before anything else on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxyHeader {
    /// Nothing does.
    None,
    /// The header of the PROXY protocol, from a trusted proxy.
    Required,
}

/// What a listener shows for TLS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFiles {
    /// The certificate and those up to its authority, in PEM form.
    pub certificate: PathBuf,
    /// Its key, in PEM form.
    pub private_key: PathBuf,
    /// The authorities of which a client must show a certificate.
    pub client_ca: Option<PathBuf>,
}

/// The page on the `admin` listener.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ConsoleSettings {
    /// The names, in small letters, by which it is reached beside its address and `localhost`.
    pub hosts: Vec<String>,
}

/// The API that requests go to.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Its address.
    pub url: BaseUrl,
    /// The authority to trust in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take to be made.
    pub connect_timeout: Duration,
    /// How long to the first byte of an answer, and between bytes.
    pub timeout: Duration,
}

/// An account of the API.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// Where its real token is.
    pub token: TokenSource,
    /// How many of the requests that the API takes in an hour are kept for the sub-tokens that had less than their share.
    pub reserve: Option<u64>,
}

/// Where a real token is read from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenSource {
    /// A file that holds it and nothing else.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
    /// Files of which each holds one, the one to show first before the others: while a token is replaced by another, both.
    Files(Vec<PathBuf>),
    /// What a command prints.
    Command(TokenCommand),
}

/// Where the audit record goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditSettings {
    /// The sink.
    pub sink: AuditSink,
    /// Whether a line is on the disk before a write goes on.
    pub sync: bool,
    /// Whether each line carries the hash of the one before.
    pub chain: bool,
}

/// A place for audit lines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AuditSink {
    /// Standard output.
    Stdout,
    /// A file, which SIGHUP opens anew.
    File(PathBuf),
}

/// How much of anything one client may have.
#[derive(Clone, Copy, Debug)]
pub struct LimitSettings {
    /// The headers of a request, in all.
    pub header_bytes: Size,
    /// A body that must be read.
    pub inspected_body: Size,
    /// Any body.
    pub body: Size,
    /// How long credentials live that DigitalOcean makes for a sub-token.
    pub derived_credentials: Duration,
    /// How many connections at once.
    pub connections: usize,
    /// How many of these one client may have, and how many requests.
    pub connections_per_client: usize,
    /// How many requests at once.
    pub requests: usize,
    /// How long the headers of a request may take.
    pub header_timeout: Duration,
    /// How long a connection may be quiet.
    pub idle_timeout: Duration,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            header_bytes: Size::of_bytes(32 << 10),
            inspected_body: Size::of_bytes(2 << 20),
            body: Size::of_bytes(64 << 20),
            derived_credentials: Duration::from_secs(12 * 3600),
            connections: 4096,
            connections_per_client: 256,
            requests: 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
        }
    }
}
