use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::state::{Database, StatePlace, UrlSource};
use super::{
    Account, AuditSettings, AuditSink, BaseUrl, ConsoleSettings, ExchangeTimes, FieldScopes,
    IssuerKind, IssuerSettings, KeySource, LimitSettings, Listen, ListenPlace, Places, Plaintext,
    ProxyHeader, Settings, TlsFiles, TokenSource, UpstreamSettings,
};
use crate::catalog::is_plain_text;
use crate::secret::{Secret, TokenCommand, has_token, redacted};
use crate::token::Source;
use crate::units::Span;
use crate::yaml::{self, At, Map, Mistakes, Node, Value};

/// How many sources an account names for its real token.
enum Sources {
    /// One.
    One(TokenSource),
    /// One, with a mistake in it.
    Mistaken,
    /// None, or several.
    NotOne,
}

/// How often a command is run anew where that is not said.
const HOURLY: Duration = Duration::from_secs(3600);
const LEAST_REFRESH: Duration = Duration::from_secs(1);

/// Reads the text of a configuration file. Relative paths in it are relative to `directory`.
///
/// # Errors
/// Every mistake that was found.
pub fn read(file: &str, text: &str, directory: &Path) -> Result<Settings, Mistakes> {
    match read_leniently(file, text, directory) {
        (Some(settings), mistakes) if mistakes.is_empty() => Ok(settings),
        (_, mistakes) => Err(mistakes),
    }
}

/// The same, with what could be read in spite of the mistakes: to look further for more of them, and for nothing else.
pub fn read_leniently(file: &str, text: &str, directory: &Path) -> (Option<Settings>, Mistakes) {
    let mut reader = SettingsReader {
        mistakes: Mistakes::new(file),
        directory,
        proxied: Vec::new(),
        taken: Vec::new(),
        places: Places::of(file),
    };
    let settings = yaml::read(text, &mut reader.mistakes).and_then(|root| reader.file(&root));
    (settings, reader.mistakes)
}

struct SettingsReader<'d> {
    mistakes: Mistakes,
    directory: &'d Path,
    /// Where a listener requires a PROXY header.
    proxied: Vec<At>,
    /// Where listeners are, and where they are written.
    taken: Vec<(ListensAt, At)>,
    places: Places,
}

/// Where tidegate listens if nothing is said.
fn by_default() -> Vec<Listen> {
    vec![Listen::Plain(
        ListenPlace::Address(DEFAULT_LISTEN),
        ProxyHeader::None,
        Plaintext::Loopback,
    )]
}

impl SettingsReader<'_> {
    fn file(&mut self, root: &Node) -> Option<Settings> {
        let mut map = Map::of(root, "the configuration", &mut self.mistakes)?;
        let admin_node = map.take("admin").filter(|node| !node.is_null());
        let (admin, console) = admin_node.map_or((None, None), |node| self.admin(node));
        let settings = Settings {
            listen: map
                .take("listen")
                .map_or_else(by_default, |node| self.listen(node)),
            public_url: self.parsed(&mut map, "public_url"),
            trusted_proxies: map
                .take("trusted_proxies")
                .map(|node| self.networks(node))
                .unwrap_or_default(),
            upstream: self.upstream(map.take("upstream")),
            accounts: map
                .need("accounts", &mut self.mistakes)
                .map(|node| self.accounts(node))
                .unwrap_or_default(),
            policy: self.needed_path(&mut map, "policy"),
            state: self.state(&mut map),
            instance: self.instance(&mut map),
            audit: map
                .need("audit", &mut self.mistakes)
                .and_then(|node| self.audit(node))
                .unwrap_or(AuditSettings {
                    sink: AuditSink::Stdout,
                    sync: false,
                    chain: false,
                }),
            admin,
            console,
            extra_catalog: map
                .take("catalog")
                .and_then(|node| self.extra_catalog(node)),
            field_scopes: map
                .take("field_scopes")
                .map(|node| self.field_scopes(node))
                .unwrap_or_default(),
            issuers: map
                .take("issuers")
                .map(|node| self.issuers(node))
                .unwrap_or_default(),
            limits: map
                .take("limits")
                .map(|node| self.limits(node))
                .unwrap_or_default(),
            places: std::mem::take(&mut self.places),
        };
        if settings.trusted_proxies.is_empty() {
            for at in self.proxied.drain(..) {
                self.mistakes.add(at, "a PROXY header is taken from `trusted_proxies` only, and there are none, so nobody could connect; name the proxies there, as [10.0.0.5]");
            }
        }
        map.finish(&mut self.mistakes);
        Some(settings)
    }

    fn parsed<T>(&mut self, map: &mut Map<'_>, key: &'static str) -> Option<T>
    where
        T: FromStr,
        T::Err: fmt::Display + 'static,
    {
        map.take(key)
            .filter(|node| !node.is_null())
            .and_then(|node| node.parsed(&format!("`{key}`"), &mut self.mistakes))
    }

    fn path(&mut self, node: &Node, what: &str) -> Option<PathBuf> {
        node.text(what, &mut self.mistakes)
            .map(|text| self.directory.join(text))
    }

    fn needed_path(&mut self, map: &mut Map<'_>, key: &'static str) -> PathBuf {
        let node = map.need(key, &mut self.mistakes);
        if let Some(node) = node {
            self.places.note(key, node.at);
        }
        node.and_then(|node| self.path(node, &format!("`{key}`")))
            .unwrap_or_default()
    }

    fn state(&mut self, map: &mut Map<'_>) -> StatePlace {
        let Some(node) = map.need("state", &mut self.mistakes) else {
            return StatePlace::default();
        };
        self.places.note("state", node.at);
        if !matches!(node.value, Value::Map(_)) {
            let path = self.path(node, "`state`");
            return path.map(StatePlace::File).unwrap_or_default();
        }
        let Some(mut map) = Map::of(node, "`state`", &mut self.mistakes) else {
            return StatePlace::default();
        };
        let database = map.need("postgres", &mut self.mistakes);
        let database = database.and_then(|node| self.database(node));
        map.finish(&mut self.mistakes);
        database.map(StatePlace::Postgres).unwrap_or_default()
    }

    fn database(&mut self, node: &Node) -> Option<Database> {
        let mut map = Map::of(node, "`postgres`", &mut self.mistakes)?;
        let url = map
            .take("url")
            .and_then(|node| node.text("`url`", &mut self.mistakes));
        let url = url.map(|text| UrlSource::Written(Arc::new(Secret::new(text.to_owned()))));
        let file = map
            .take("url_file")
            .and_then(|node| self.path(node, "`url_file`"));
        let env = map
            .take("url_env")
            .and_then(|node| node.text("`url_env`", &mut self.mistakes));
        let env = env.map(|name| UrlSource::Env(name.to_owned()));
        let mut sources = url.into_iter().chain(file.map(UrlSource::File)).chain(env);
        let source = sources.next();
        if source.is_none() || sources.next().is_some() {
            self.mistakes.add(
                node.at,
                "`postgres` needs one place for its address: `url`, `url_file` or `url_env`",
            );
        }
        let mut database = Database::at(source?);
        database.ca_file = map
            .take("ca_file")
            .filter(|node| !node.is_null())
            .and_then(|node| self.path(node, "`ca_file`"));
        let migrate = map.take("migrate");
        let migrate = migrate.and_then(|node| node.flag("`migrate`", &mut self.mistakes));
        database.migrate = migrate.unwrap_or_default();
        if let Some(node) = map.take("stale_for") {
            let span: Option<Span> = node.parsed("`stale_for` (`1s`)", &mut self.mistakes);
            database.stale_for = span.map_or(Database::STALE_FOR, Span::duration);
            if !(Database::STALE_FOR..=Database::MOST_STALE).contains(&database.stale_for) {
                self.mistakes.add(node.at, "`stale_for` is how late a revocation may come while the database is away, from 1s to 5m; write `1s`");
            }
        }
        map.finish(&mut self.mistakes);
        Some(database)
    }

    fn instance(&mut self, map: &mut Map<'_>) -> Option<String> {
        let node = map.take("instance").filter(|node| !node.is_null())?;
        let name = node.text("`instance`", &mut self.mistakes)?;
        if !is_plain_text(name) || name.len() > 64 || has_token(name) {
            self.mistakes.add(node.at, "`instance` is a name of up to 64 characters by which records tell this daemon from others, as `bastion-1`");
        }
        Some(name.to_owned())
    }

    fn listen(&mut self, node: &Node) -> Vec<Listen> {
        let items = node.items("`listen`", &mut self.mistakes);
        if items.is_empty() && matches!(node.value, Value::List(_)) {
            self.mistakes.add(node.at, "`listen` is empty, so nobody could reach tidegate; give an address or leave it out");
        }
        items
            .iter()
            .filter_map(|item| self.listener(item))
            .collect()
    }

    fn listener(&mut self, node: &Node) -> Option<Listen> {
        let mut map = Map::of(node, "a listener", &mut self.mistakes)?;
        let unix = map.take("unix").and_then(|node| self.path(node, "`unix`"));
        let address_node = map.take("address");
        let address: Option<SocketAddr> = address_node
            .and_then(|node| node.parsed("`address` (`127.0.0.1:8080`)", &mut self.mistakes));
        let systemd_node = map.take("systemd");
        let systemd = systemd_node.and_then(|node| self.descriptor_name(node));
        let plaintext = match map
            .take("allow_plaintext")
            .and_then(|node| node.flag("`allow_plaintext`", &mut self.mistakes))
        {
            Some(true) => Plaintext::Anywhere,
            Some(false) | None => Plaintext::Loopback,
        };
        let tls_node = map.take("tls");
        let tls = tls_node.and_then(|node| self.tls(node));
        let proxy_node = map.take("proxy_protocol");
        let header = self.proxy_header(proxy_node);
        map.finish(&mut self.mistakes);
        let places = [
            address_node.is_some(),
            systemd_node.is_some(),
            unix.is_some(),
        ];
        if places.iter().filter(|given| **given).count() != 1 {
            self.mistakes.add(
                node.at,
                "a listener has either an `address`, a `unix` socket, or the name of a socket of `systemd`",
            );
            return None;
        }
        if let Some(path) = unix {
            if tls_node.is_some() {
                self.mistakes
                    .add(node.at, "a unix socket needs no TLS: nobody is on the way");
            }
            if let (ProxyHeader::Required, Some(node)) = (header, proxy_node) {
                self.mistakes.add(node.at, "a PROXY header is taken from `trusted_proxies` only, which are networks, and a unix socket is in none; remove it, or give the listener an `address`");
            }
            self.take(ListensAt::Unix(path.clone()), node.at);
            return Some(Listen::Unix(path));
        }
        let place = address
            .map(ListenPlace::Address)
            .or_else(|| systemd.map(ListenPlace::Systemd))?;
        let at = address_node.map_or(node.at, |node| node.at);
        self.take(ListensAt::Place(place.clone()), at);
        if let Some(node) = tls_node {
            self.places.note(format!("listen.{place}"), node.at);
            return Some(Listen::Tls(place, header, tls?));
        }
        if let (Some(address), Plaintext::Loopback) = (address, plaintext)
            && !address.ip().to_canonical().is_loopback()
        {
            let at = address_node.map_or(node.at, |node| node.at);
            self.mistakes.add(at, "plain HTTP is served on loopback only, as anyone on the way could read sub-tokens; give the listener `tls`, or set `allow_plaintext: true` here if another program adds it");
        }
        Some(Listen::Plain(place, header, plaintext))
    }

    /// The name of a socket that systemd passes on: `FileDescriptorName=` of its unit, or else the unit's own.
    fn descriptor_name(&mut self, node: &Node) -> Option<String> {
        let name = node.text("`systemd`", &mut self.mistakes)?;
        let is_name = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if name.is_empty() || name.len() > 255 || !name.bytes().all(is_name) {
            self.mistakes.add(node.at, "`systemd` is the name of a socket that systemd passes on, as `tidegate.socket`: `FileDescriptorName=` of its unit, which has no colon, or the unit's name");
            return None;
        }
        Some(name.to_owned())
    }

    /// Notes that a listener is there, and says it where another is already: the second could not be opened.
    fn take(&mut self, place: ListensAt, at: At) {
        let mut before = self.taken.iter();
        if let Some((_, first)) = before.find(|(taken, _)| taken.meets(&place)) {
            let said = format!(
                "another listener is there already ({first}), so the second could not be opened; give each a place of its own"
            );
            self.mistakes.add(at, said);
        }
        self.taken.push((place, at));
    }

    fn proxy_header(&mut self, node: Option<&Node>) -> ProxyHeader {
        match node
            .and_then(|node| Some((node.at, node.flag("`proxy_protocol`", &mut self.mistakes)?)))
        {
            Some((at, true)) => {
                self.proxied.push(at);
                ProxyHeader::Required
            }
            Some((_, false)) | None => ProxyHeader::None,
        }
    }

    fn admin(&mut self, node: &Node) -> (Option<Listen>, Option<ConsoleSettings>) {
        let Some(mut map) = Map::of(node, "`admin`", &mut self.mistakes) else {
            return (None, None);
        };
        let console = self.console(&mut map);
        (self.admin_listener(node, map), console)
    }

    /// The page of `admin`: there is none unless it is asked for.
    fn console(&mut self, map: &mut Map<'_>) -> Option<ConsoleSettings> {
        let is_on = map
            .take("console")
            .and_then(|node| node.flag("`console`", &mut self.mistakes))
            .unwrap_or_default();
        let hosts = map.take("hosts").filter(|node| !node.is_null());
        let items = hosts.map_or(&[][..], |node| node.items("`hosts`", &mut self.mistakes));
        let mut names = Vec::new();
        for item in items {
            let Some(name) = item.text("a host", &mut self.mistakes) else {
                continue;
            };
            if is_host_name(name) {
                names.push(name.to_ascii_lowercase());
            } else {
                self.mistakes.add(item.at, format!("`{name}` is no name of a host; write it without scheme and port, as `console.example.com`"));
            }
        }
        if let Some(node) = hosts.filter(|_| !is_on) {
            self.mistakes.add(node.at, "`hosts` are the names by which the console is reached, and there is none here; set `console: true`, or leave them out");
        }
        is_on.then_some(ConsoleSettings { hosts: names })
    }

    fn admin_listener(&mut self, node: &Node, mut map: Map<'_>) -> Option<Listen> {
        let unix = map.take("unix").and_then(|node| self.path(node, "`unix`"));
        let address_node = map.take("address");
        let address: Option<SocketAddr> = address_node
            .and_then(|node| node.parsed("`address` (`127.0.0.1:9090`)", &mut self.mistakes));
        let tls_node = map.take("tls");
        let tls = tls_node.and_then(|node| self.tls(node));
        if let Some(node) = tls_node {
            self.places.note("admin", node.at);
        }
        map.finish(&mut self.mistakes);
        match (unix, address_node, tls_node) {
            (Some(path), None, None) => {
                self.take(ListensAt::Unix(path.clone()), node.at);
                Some(Listen::Unix(path))
            }
            (Some(_), None, Some(tls)) => {
                self.mistakes
                    .add(tls.at, "a unix socket needs no TLS: nobody is on the way");
                None
            }
            (None, Some(at), Some(_)) => {
                self.take(ListensAt::Place(ListenPlace::Address(address?)), at.at);
                Some(Listen::Tls(
                    ListenPlace::Address(address?),
                    ProxyHeader::None,
                    tls?,
                ))
            }
            (None, Some(at), None) => {
                let address = address?;
                self.take(ListensAt::Place(ListenPlace::Address(address)), at.at);
                if !address.ip().to_canonical().is_loopback() {
                    self.mistakes.add(at.at, "`admin` is served over plain HTTP on loopback only, as it tells how tidegate is used; give it `tls`, with `client_ca` to choose who may ask, or a `unix` socket");
                }
                Some(Listen::Plain(
                    ListenPlace::Address(address),
                    ProxyHeader::None,
                    Plaintext::Loopback,
                ))
            }
            (Some(_), Some(_), _) | (None, None, _) => {
                self.mistakes.add(
                    node.at,
                    "`admin` has either an `address` or a `unix` socket",
                );
                None
            }
        }
    }

    fn tls(&mut self, node: &Node) -> Option<TlsFiles> {
        let mut map = Map::of(node, "`tls`", &mut self.mistakes)?;
        let files = TlsFiles {
            certificate: self.needed_path(&mut map, "certificate"),
            private_key: self.needed_path(&mut map, "private_key"),
            client_ca: map
                .take("client_ca")
                .and_then(|node| self.path(node, "`client_ca`")),
        };
        map.finish(&mut self.mistakes);
        Some(files)
    }

    fn networks(&mut self, node: &Node) -> Vec<ipnet::IpNet> {
        let items = node.items("`trusted_proxies`", &mut self.mistakes);
        let mut networks = Vec::new();
        for item in items {
            match item.parsed("a network", &mut self.mistakes) {
                Some(Source::Net(net)) => networks.push(net),
                Some(Source::Unix) => self.mistakes.add(
                    item.at,
                    "`unix` is no network; nothing is forwarded through a unix socket",
                ),
                None => {}
            }
        }
        networks
    }

    fn upstream(&mut self, node: Option<&Node>) -> UpstreamSettings {
        let mut settings = UpstreamSettings {
            url: BaseUrl::digitalocean(),
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
        };
        let Some(mut map) = node.and_then(|node| Map::of(node, "`upstream`", &mut self.mistakes))
        else {
            return settings;
        };
        if let Some(node) = map.take("url")
            && let Some(url) = node.parsed::<BaseUrl>("`url`", &mut self.mistakes)
        {
            if !url.is_https() && !url.is_loopback() {
                self.mistakes.add(node.at, "the real token would travel in the clear; `http://` is for loopback only, so use `https://`");
            }
            settings.url = url;
        }
        let ca_file = map.take("ca_file").filter(|node| !node.is_null());
        if let Some(node) = ca_file {
            self.places.note("upstream.ca_file", node.at);
        }
        settings.ca_file = ca_file.and_then(|node| self.path(node, "`ca_file`"));
        self.span(&mut map, "connect_timeout", &mut settings.connect_timeout);
        self.span(&mut map, "timeout", &mut settings.timeout);
        map.finish(&mut self.mistakes);
        settings
    }

    fn span(&mut self, map: &mut Map<'_>, key: &'static str, into: &mut Duration) {
        if let Some(span) = self.parsed::<Span>(map, key) {
            *into = span.duration();
        }
    }

    fn set<T>(&mut self, map: &mut Map<'_>, key: &'static str, into: &mut T)
    where
        T: FromStr,
        T::Err: fmt::Display + 'static,
    {
        if let Some(value) = self.parsed(map, key) {
            *into = value;
        }
    }

    fn accounts(&mut self, node: &Node) -> BTreeMap<String, Account> {
        let mut accounts = BTreeMap::new();
        for entry in node.entries("`accounts`", &mut self.mistakes) {
            let Some(mut map) = Map::of(&entry.node, "an account", &mut self.mistakes) else {
                continue;
            };
            let source = self.token_source(&entry.key, &mut map);
            let reserve = self.parsed(&mut map, "reserve");
            map.finish(&mut self.mistakes);
            match source {
                Sources::One(token) => {
                    accounts.insert(entry.key.clone(), Account { token, reserve });
                }
                Sources::Mistaken => {}
                Sources::NotOne => {
                    self.mistakes.add(entry.at, format!("account `{}` needs one source for its real token: `token_file`, `token_files`, `token_env` or `token_command`", entry.key));
                }
            }
        }
        if accounts.is_empty() && self.mistakes.is_empty() {
            self.mistakes.add(
                node.at,
                "`accounts` is empty; without a real token nothing can be forwarded",
            );
        }
        accounts
    }

    /// Where the real token of an account is. The place of its key is kept, for what is wrong with the token itself.
    fn token_source(&mut self, account: &str, map: &mut Map<'_>) -> Sources {
        let keys = ["token_file", "token_files", "token_env", "token_command"];
        let taken = keys.map(|key| map.take(key));
        let refresh = map.take("token_refresh").filter(|node| !node.is_null());
        if let Some(node) = taken.iter().flatten().next() {
            self.places.note(format!("accounts.{account}"), node.at);
        }
        if taken.iter().flatten().count() != 1 {
            return Sources::NotOne;
        }
        let every = match refresh {
            None => Some(HOURLY),
            Some(node) if taken.last().is_some_and(Option::is_none) => {
                self.mistakes.add(node.at, "`token_refresh` is how often `token_command` is run anew, and there is none; leave it out, as files are read whenever they change");
                None
            }
            Some(node) => self.refresh(node),
        };
        let [file, files, env, command] = taken;
        let source = if let Some(node) = file {
            self.path(node, "`token_file`").map(TokenSource::File)
        } else if let Some(node) = env {
            let name = node.text("`token_env`", &mut self.mistakes);
            name.map(|name| TokenSource::Env(name.to_owned()))
        } else if let Some(node) = files {
            self.token_files(node)
        } else {
            command
                .zip(every)
                .and_then(|(node, every)| self.token_command(node, every))
        };
        match (source, every) {
            (Some(source), Some(_)) => Sources::One(source),
            (_, _) => Sources::Mistaken,
        }
    }

    fn refresh(&mut self, node: &Node) -> Option<Duration> {
        let span: Span = node.parsed("`token_refresh`", &mut self.mistakes)?;
        if span.duration() >= LEAST_REFRESH {
            return Some(span.duration());
        }
        self.mistakes.add(
            node.at,
            format!("`token_refresh` of `{span}` is too often; write at least `1s`"),
        );
        None
    }

    fn token_files(&mut self, node: &Node) -> Option<TokenSource> {
        let items = node.items("`token_files`", &mut self.mistakes);
        let paths: Vec<_> = items
            .iter()
            .filter_map(|item| self.path(item, "an item of `token_files`"))
            .collect();
        if items.is_empty() && matches!(node.value, Value::List(_)) {
            self.mistakes.add(node.at, "`token_files` lists the files of the new and the old token, and is empty; name them, or write `token_file`");
        }
        (!paths.is_empty() && paths.len() == items.len()).then_some(TokenSource::Files(paths))
    }

    fn token_command(&mut self, node: &Node, every: Duration) -> Option<TokenSource> {
        let items = node.items("`token_command`", &mut self.mistakes);
        let words: Vec<_> = items
            .iter()
            .filter_map(|item| item.text("an item of `token_command`", &mut self.mistakes))
            .map(str::to_owned)
            .collect();
        let named = words
            .split_first()
            .filter(|(program, _)| !program.is_empty());
        let Some((program, arguments)) = named else {
            if matches!(node.value, Value::List(_)) {
                self.mistakes.add(node.at, "`token_command` names no program; list it and its arguments, as in [vault, kv, get, -field=token, secret/do]");
            }
            return None;
        };
        let program = if program.contains('/') {
            self.directory.join(program)
        } else {
            program.into() // found by `PATH`
        };
        (words.len() == items.len()).then(|| {
            TokenSource::Command(TokenCommand {
                program,
                arguments: arguments.to_vec(),
                every,
            })
        })
    }

    fn audit(&mut self, node: &Node) -> Option<AuditSettings> {
        if matches!(&node.value, Value::Scalar { text, .. } if text == "stdout") {
            return Some(AuditSettings {
                sink: AuditSink::Stdout,
                sync: false,
                chain: false,
            });
        }
        let mut map = Map::of(
            node,
            "`audit` is `stdout` or has `file`; it",
            &mut self.mistakes,
        )?;
        let file = map.need("file", &mut self.mistakes).and_then(|node| {
            self.places.note("audit.file", node.at);
            self.path(node, "`file`")
        });
        let mut flag = |key: &'static str| {
            map.take(key)
                .and_then(|node| node.flag(&format!("`{key}`"), &mut self.mistakes))
                .unwrap_or(false)
        };
        let (sync, chain) = (flag("sync"), flag("chain"));
        map.finish(&mut self.mistakes);
        Some(AuditSettings {
            sink: AuditSink::File(file?),
            sync,
            chain,
        })
    }

    fn extra_catalog(&mut self, node: &Node) -> Option<PathBuf> {
        let mut map = Map::of(node, "`catalog`", &mut self.mistakes)?;
        let extra = map.need("extra", &mut self.mistakes);
        if let Some(node) = extra {
            self.places.note("catalog.extra", node.at);
        }
        let extra = extra.and_then(|node| self.path(node, "`extra`"));
        map.finish(&mut self.mistakes);
        extra
    }

    fn issuers(&mut self, node: &Node) -> BTreeMap<String, IssuerSettings> {
        let mut issuers = BTreeMap::<String, IssuerSettings>::new();
        for entry in node.entries("`issuers`", &mut self.mistakes) {
            let Some(issuer) = self.issuer(&entry.key, &entry.node) else {
                continue;
            };
            let twin = issuers.iter().find(|(_, known)| known.url == issuer.url);
            if let Some((name, _)) = twin {
                let what = format!(
                    "the issuer `{name}` has this `url` already; a token is held against one entry, so make one of them"
                );
                self.mistakes.add(entry.at, what);
            }
            issuers.insert(entry.key.clone(), issuer);
        }
        issuers
    }

    fn issuer(&mut self, name: &str, node: &Node) -> Option<IssuerSettings> {
        let mut map = Map::of(node, "an issuer", &mut self.mistakes)?;
        let url_node = map.need("url", &mut self.mistakes);
        let url = url_node.and_then(|node| node.text("`url`", &mut self.mistakes));
        let audience = map
            .need("audience", &mut self.mistakes)
            .and_then(|node| Some((node.at, node.text("`audience`", &mut self.mistakes)?)));
        if let Some((at, "")) = audience {
            self.mistakes.add(at, "an empty `audience` is nobody's; name what tokens for tidegate are meant for, as `tidegate`");
        }
        let jwks = map.take("jwks").filter(|node| !node.is_null());
        let keys = match (jwks, url_node.zip(url)) {
            (Some(node), _) => self.key_source(name, node),
            (None, Some((node, _))) => node
                .parsed("`url`", &mut self.mistakes)
                .map(KeySource::Discovery),
            (None, None) => None,
        };
        let ca_file = map.take("ca_file").filter(|node| !node.is_null());
        self.places.note(format!("issuers.{name}"), node.at);
        let ca_file = ca_file.and_then(|node| self.path(node, "`ca_file`"));
        let kind = self.parsed(&mut map, "kind");
        let once = map
            .take("once")
            .and_then(|node| node.flag("`once`", &mut self.mistakes));
        map.finish(&mut self.mistakes);
        let url = url?.to_owned();
        Some(IssuerSettings {
            audience: audience?.1.to_owned(),
            keys: keys?,
            ca_file,
            kind: kind.unwrap_or_else(|| IssuerKind::of_url(&url)),
            exchange: if once == Some(false) {
                ExchangeTimes::Again
            } else {
                ExchangeTimes::Once
            },
            url,
        })
    }

    /// A file of keys, or the address of one.
    fn key_source(&mut self, issuer: &str, node: &Node) -> Option<KeySource> {
        let text = node.text("`jwks`", &mut self.mistakes)?;
        if text.contains("://") {
            return node
                .parsed("`jwks`", &mut self.mistakes)
                .map(KeySource::Url);
        }
        self.places.note(format!("issuers.{issuer}.jwks"), node.at);
        self.path(node, "`jwks`").map(KeySource::File)
    }

    fn field_scopes(&mut self, node: &Node) -> FieldScopes {
        match node.text("`field_scopes`", &mut self.mistakes) {
            Some("enforce") => FieldScopes::Enforce,
            Some("secrets_only") | None => FieldScopes::SecretsOnly,
            Some(other) => {
                let forms = format!(
                    "`field_scopes` can't be `{}`: it is `secrets_only` or `enforce`",
                    redacted(other)
                );
                self.mistakes.add(node.at, forms);
                FieldScopes::SecretsOnly
            }
        }
    }

    fn limits(&mut self, node: &Node) -> LimitSettings {
        let mut limits = LimitSettings::default();
        let Some(mut map) = Map::of(node, "`limits`", &mut self.mistakes) else {
            return limits;
        };
        self.set(&mut map, "header_bytes", &mut limits.header_bytes);
        self.set(&mut map, "inspected_body", &mut limits.inspected_body);
        self.set(&mut map, "body", &mut limits.body);
        self.set(&mut map, "connections", &mut limits.connections);
        self.set(
            &mut map,
            "connections_per_client",
            &mut limits.connections_per_client,
        );
        self.set(&mut map, "requests", &mut limits.requests);
        self.span(
            &mut map,
            "derived_credentials",
            &mut limits.derived_credentials,
        );
        self.span(&mut map, "header_timeout", &mut limits.header_timeout);
        self.span(&mut map, "idle_timeout", &mut limits.idle_timeout);
        map.finish(&mut self.mistakes);
        for (name, most) in [
            ("connections", limits.connections),
            ("connections_per_client", limits.connections_per_client),
            ("requests", limits.requests),
        ] {
            if most == 0 {
                self.mistakes.add(
                    node.at,
                    format!("`{name}` is 0, so nobody could reach tidegate"),
                );
            }
        }
        if limits.header_bytes.bytes() < 8192 {
            self.mistakes.add(
                node.at,
                "`header_bytes` is below 8KiB, which ordinary clients need",
            );
        }
        limits
    }
}

/// Where a listener is.
enum ListensAt {
    Place(ListenPlace),
    Unix(PathBuf),
}

impl ListensAt {
    /// Whether a second can't be opened there beside the first.
    fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Place(ListenPlace::Address(one)), Self::Place(ListenPlace::Address(two))) => {
                let everywhere = one.ip().is_unspecified() || two.ip().is_unspecified();
                let same = one.ip() == two.ip() || everywhere && one.is_ipv4() == two.is_ipv4();
                one.port() == two.port() && one.port() != 0 && same
            }
            (Self::Unix(one), Self::Unix(two)) => one == two,
            (Self::Place(_) | Self::Unix(_), Self::Place(_) | Self::Unix(_)) => false,
        }
    }
}

/// Whether it is a name as a `Host` header has it, without a port.
fn is_host_name(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    !text.is_empty() && text.bytes().all(fits)
}

const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str =
        "accounts: { default: { token_env: T } }\npolicy: p.yaml\nstate: s.db\naudit: stdout\n";

    fn mistakes_of(text: &str) -> Vec<String> {
        read("t.yaml", text, Path::new("/etc/tidegate"))
            .err()
            .map(Mistakes::into_lines)
            .unwrap_or_default()
    }

    #[test]
    fn the_least_configuration_has_safe_defaults() {
        let settings = read("t.yaml", LEAST, Path::new("/etc/tidegate")).unwrap();
        assert_eq!(
            settings.listen,
            [Listen::Plain(
                ListenPlace::Address(DEFAULT_LISTEN),
                ProxyHeader::None,
                Plaintext::Loopback
            )]
        );
        assert_eq!(
            settings.upstream.url.to_string(),
            "https://api.digitalocean.com"
        );
        assert_eq!(settings.policy, Path::new("/etc/tidegate/p.yaml"));
        assert_eq!(settings.limits.body.bytes(), 64 << 20);
    }

    #[test]
    fn what_weakens_the_gate_must_say_so() {
        let cases = [
            (
                "listen: [{ address: 0.0.0.0:80 }]",
                "t.yaml:5:21: plain HTTP is served on loopback only, as anyone on the way could read sub-tokens; give the listener `tls`, or set `allow_plaintext: true` here if another program adds it",
            ),
            (
                "listen: [{ address: 0.0.0.0:80, allow_plaintext: true }]",
                "",
            ),
            (
                "upstream: { url: \"http://api.digitalocean.com\" }",
                "t.yaml:5:18: the real token would travel in the clear; `http://` is for loopback only, so use `https://`",
            ),
            ("upstream: { url: \"http://127.0.0.1:1\" }", ""),
            (
                "admin: { address: 0.0.0.0:9090 }",
                "t.yaml:5:19: `admin` is served over plain HTTP on loopback only, as it tells how tidegate is used; give it `tls`, with `client_ca` to choose who may ask, or a `unix` socket",
            ),
            (
                "admin: { address: 0.0.0.0:9090, allow_plaintext: true }",
                "t.yaml:5:19: `admin` is served over plain HTTP on loopback only, as it tells how tidegate is used; give it `tls`, with `client_ca` to choose who may ask, or a `unix` socket\nt.yaml:5:33: unknown key `allow_plaintext`; known here: `console`, `hosts`, `unix`, `address`, `tls`",
            ),
            (
                "admin: { address: 0.0.0.0:9090, tls: { certificate: c, private_key: k } }",
                "",
            ),
            ("admin: { address: \"[::1]:9090\" }", ""),
            ("admin: { unix: admin.sock }", ""),
            ("admin: null", ""),
            (
                "admin: { address: 127.0.0.1:9090, console: true, hosts: [console.example.com] }",
                "",
            ),
            (
                "admin: { address: 127.0.0.1:9090, hosts: [console.example.com] }",
                "t.yaml:5:42: `hosts` are the names by which the console is reached, and there is none here; set `console: true`, or leave them out",
            ),
            (
                "admin: { address: 127.0.0.1:9090, console: true, hosts: [\"https://x\"] }",
                "t.yaml:5:58: `https://x` is no name of a host; write it without scheme and port, as `console.example.com`",
            ),
            (
                "admin: {}",
                "t.yaml:5:8: `admin` has either an `address` or a `unix` socket",
            ),
            (
                "admin: { unix: a, tls: { certificate: c, private_key: k } }",
                "t.yaml:5:24: a unix socket needs no TLS: nobody is on the way",
            ),
        ];
        for (line, expected) in cases {
            let text = format!("{LEAST}{line}\n");
            assert_eq!(mistakes_of(&text).join("\n"), expected, "line {line:?}");
        }
    }

    #[test]
    fn an_issuer_is_one_whose_keys_nobody_can_change_on_the_way() {
        let cases = [
            ("{ url: \"https://a.example\", audience: tidegate }", ""),
            (
                "{ url: \"http://127.0.0.1:1/x\", audience: tidegate, once: false, kind: kubernetes }",
                "",
            ),
            (
                "{ url: kubernetes/serviceaccount, audience: tidegate, jwks: keys.json }",
                "",
            ), // nobody asks there
            (
                "{ url: \"https://a.example\", audience: tidegate, jwks: \"https://b.example/keys\", ca_file: ca.pem }",
                "",
            ),
            (
                "{ audience: tidegate }",
                "t.yaml:5:15: `url` is missing here; it must be given",
            ),
            (
                "{ url: \"https://a.example\" }",
                "t.yaml:5:15: `audience` is missing here; it must be given",
            ),
            (
                "{ url: \"https://a.example\", audience: \"\" }",
                "t.yaml:5:53: an empty `audience` is nobody's; name what tokens for tidegate are meant for, as `tidegate`",
            ),
            (
                "{ url: \"http://a.example\", audience: tidegate }",
                "t.yaml:5:22: `url` can't be `http://a.example`: whoever is on the way could put keys of their own in; `http://` is for loopback only, so use `https://`",
            ),
            (
                "{ url: \"https://a.example\", audience: tidegate, jwks: \"http://b.example/keys\" }",
                "t.yaml:5:69: `jwks` can't be `http://b.example/keys`: whoever is on the way could put keys of their own in; `http://` is for loopback only, so use `https://`",
            ),
            (
                "{ url: \"https://a.example\", audience: tidegate, kind: GitHub }",
                "t.yaml:5:69: `kind` can't be `GitHub`: it is `github`, `gitlab`, `kubernetes` or `other`",
            ),
            (
                "{ url: \"https://a.example\", audience: tidegate }, b: { url: \"https://a.example\", audience: x }",
                "t.yaml:5:65: the issuer `a` has this `url` already; a token is held against one entry, so make one of them",
            ),
        ];
        for (issuer, expected) in cases {
            let text = format!("{LEAST}issuers: {{ a: {issuer} }}\n");
            assert_eq!(mistakes_of(&text).join("\n"), expected, "issuer {issuer:?}");
        }
    }

    #[test]
    fn a_proxy_header_needs_a_proxy_to_trust() {
        let cases = [
            (
                "listen: [{ address: 127.0.0.1:1, proxy_protocol: true }]\ntrusted_proxies: [10.0.0.5]",
                "",
            ),
            (
                "listen: [{ address: 127.0.0.1:1, proxy_protocol: false }]",
                "",
            ),
            ("listen: [{ unix: s, proxy_protocol: false }]", ""),
            (
                "listen: [{ address: 127.0.0.1:1, proxy_protocol: true }]",
                "t.yaml:5:50: a PROXY header is taken from `trusted_proxies` only, and there are none, so nobody could connect; name the proxies there, as [10.0.0.5]",
            ),
            (
                "listen: [{ unix: s, proxy_protocol: true }]\ntrusted_proxies: [10.0.0.5]",
                "t.yaml:5:37: a PROXY header is taken from `trusted_proxies` only, which are networks, and a unix socket is in none; remove it, or give the listener an `address`",
            ),
        ];
        for (lines, expected) in cases {
            let text = format!("{LEAST}{lines}\n");
            assert_eq!(mistakes_of(&text).join("\n"), expected, "lines {lines:?}");
        }
    }

    #[test]
    fn every_mistake_is_told_at_once_with_its_place() {
        let text = "acounts: {}\npolicy: [p]\nstate: s.db\naudit: { fil: a }\nlimits: { body: 2GB, connections: many }\nupstream: { timeout: 60 }\n";
        assert_eq!(
            mistakes_of(text),
            [
                "t.yaml:1:1: `accounts` is missing here; it must be given",
                "t.yaml:1:1: unknown key `acounts`; did you mean `accounts`?",
                "t.yaml:2:9: `policy` is a text, not a list",
                "t.yaml:4:8: `file` is missing here; it must be given",
                "t.yaml:4:10: unknown key `fil`; did you mean `file`?",
                "t.yaml:5:17: `body` can't be `2GB`: a size is a number of bytes with or without a unit: `4096`, `32KiB`, `2MiB`, `1GiB`",
                "t.yaml:5:35: `connections` can't be `many`: it is a whole number, in digits",
                "t.yaml:6:22: `timeout` can't be `60`: a span of time is a number and a unit: `30s`, `5m`, `12h` or `30d`",
            ]
        );
    }
}
