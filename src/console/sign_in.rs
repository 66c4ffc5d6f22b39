//! Who comes in: under which name the listener was reached, by which page a form was sent, and by which sub-token.

use std::net::IpAddr;
use std::time::Instant;

use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderName, ORIGIN};
use tokio::time::sleep_until;

use super::Console;
use super::reply::Trouble;
use super::session::SignedIn;
use crate::config::{BaseUrl, Listen, ListenPlace, Settings};
use crate::gate::{admitted, bearer};
use crate::identify::Client;
use crate::policy::{self, Right};
use crate::refusal::{Code, Refusal};
use crate::rules::Serving;
use crate::secret::SecretHash;
use crate::token::{SubToken, TokenId};

/// Somebody who runs tidegate, known by a sub-token that gives rights at the console.
#[derive(Clone, Debug)]
pub(super) struct ConsoleOperator {
    pub id: TokenId,
    pub name: String,
    pub may: policy::Operator,
}

impl ConsoleOperator {
    /// Whether it has a right.
    pub fn has(&self, right: Right) -> bool {
        self.may.right >= right
    }

    /// That it has a right.
    ///
    /// # Errors
    /// Which one it lacks.
    pub fn need(&self, right: Right) -> Result<(), Trouble> {
        if self.has(right) {
            return Ok(());
        }
        Err(Trouble::Forbidden(format!(
            "the sub-token `{}` does not give the right to {right} at the console; the policy gives it by `operator`",
            self.name
        )))
    }
}

/// The names by which this listener may be reached. A page of somebody else that has led its own name here (DNS rebinding) comes with
/// that name.
///
/// # Errors
/// What to do instead.
pub(super) fn reached(client: &Client, settings: &Settings) -> Result<BaseUrl, Trouble> {
    let reached = client.reached.as_ref();
    let reached = reached.filter(|url| is_ours(&host(url), settings));
    reached.cloned().ok_or_else(|| Trouble::Forbidden("the console was asked for by a name that is none of its own; use its address or `localhost`, or put the name into `admin.hosts`".to_owned()))
}

fn is_ours(host: &str, settings: &Settings) -> bool {
    let named = settings.console.iter().flat_map(|console| &console.hosts);
    if host == "localhost" || named.into_iter().any(|name| name == host) {
        return true;
    }
    let listens = match &settings.admin {
        Some(Listen::Plain(place, ..) | Listen::Tls(place, ..)) => place,
        Some(Listen::Unix(_)) | None => return false,
    };
    let (ListenPlace::Address(listens), Ok(asked)) = (listens, host.parse::<IpAddr>()) else {
        return false;
    };
    // At every address of the machine; no name can be led to an address that is written itself.
    listens.ip().to_canonical() == asked.to_canonical() || listens.ip().is_unspecified()
}

/// The host alone, in small letters.
fn host(url: &BaseUrl) -> String {
    let authority = url.authority();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    host.trim_matches(['[', ']']).to_ascii_lowercase()
}

/// That a form was sent by a page of this listener: `SameSite` does not tell the ports of a host apart, `Origin` does.
///
/// # Errors
/// Why it is not taken.
pub(super) fn same_origin(headers: &HeaderMap, reached: &BaseUrl) -> Result<(), Trouble> {
    let own = reached.to_string();
    match one_text(headers, &ORIGIN) {
        Some(origin) if origin.eq_ignore_ascii_case(&own) => Ok(()),
        Some(_) | None => Err(Trouble::Forbidden(format!(
            "this was not sent by a page of the console, as its `Origin` is not {own}; nothing was done; use the page itself, or the API under /api/v1/ with a bearer token"
        ))),
    }
}

/// What holds a session; over TLS no other port or host can set or read it.
pub(super) fn cookie_name(reached: &BaseUrl) -> &'static str {
    if reached.is_https() {
        "__Host-tidegate"
    } else {
        "tidegate"
    }
}

/// The cookie of a session, of that name and once.
pub(super) fn cookie<'h>(headers: &'h HeaderMap, reached: &BaseUrl) -> Option<&'h str> {
    let name = cookie_name(reached);
    let all = headers.get_all(COOKIE).iter();
    let pairs = all
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let mut found = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(known, _)| *known == name)
        .map(|(_, value)| value);
    match (found.next(), found.next()) {
        (Some(value), None) => Some(value),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

/// What sets the cookie, or takes it away.
pub(super) fn set_cookie(reached: &BaseUrl, value: Option<&str>) -> String {
    let secure = if reached.is_https() { "; Secure" } else { "" };
    let age = if value.is_some() { "" } else { "; Max-Age=0" };
    let (name, value) = (cookie_name(reached), value.unwrap_or_default());
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{age}")
}

fn one_text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

impl Console {
    /// Who is signed in by this cookie, as the token stands now and from here. That costs no use and keeps nothing alive.
    pub(super) async fn signed_in(
        &self,
        cookie: Option<&str>,
        client: &Client,
        alive: bool,
    ) -> Result<(ConsoleOperator, SignedIn), Trouble> {
        let found = cookie.and_then(|cookie| self.sessions.find(cookie, Instant::now(), alive));
        let session = found.ok_or(Trouble::SignedOut)?;
        let serving = self.current.get();
        let stands = self.operator((&session.token, session.hash), client, &serving);
        match stands.await {
            Ok(operator) => Ok((operator, session)),
            Err(trouble) => {
                // What comes from a wrong place, or while the state is away, ends no session.
                let ended =
                    matches!(&trouble, Trouble::Refused(refusal) if refusal.status() == 401);
                if let Some(cookie) = cookie.filter(|_| ended) {
                    self.sessions.end(cookie);
                }
                Err(trouble)
            }
        }
    }

    /// Who shows a sub-token in a header.
    pub(super) async fn shown(
        &self,
        headers: &HeaderMap,
        client: &Client,
    ) -> Result<ConsoleOperator, Trouble> {
        let told = headers.contains_key(AUTHORIZATION);
        let recognised = match bearer(headers) {
            Ok(token) => self.by_token(&token, client).await,
            Err(refusal) => Err(refusal.into()),
        };
        match recognised {
            Ok(operator) => Ok(operator),
            Err(trouble) if told => Err(self.slowed(trouble, client).await),
            Err(trouble) => Err(trouble),
        }
    }

    /// Whose sub-token this is.
    pub(super) async fn by_token(
        &self,
        token: &SubToken,
        client: &Client,
    ) -> Result<ConsoleOperator, Trouble> {
        let serving = self.current.get();
        self.operator((&token.id, token.hash()), client, &serving)
            .await
    }

    /// A failure, after the time that it takes: who guesses makes a guess a second, whoever comes with a good token is not kept waiting.
    pub(super) async fn slowed(&self, trouble: Trouble, client: &Client) -> Trouble {
        match &trouble {
            Trouble::Refused(refusal) if refusal.code == Code::StateUnavailable => return trouble,
            _ => {}
        }
        match self.failures.add(client.addr, Instant::now()) {
            Some(until) => {
                sleep_until(until.into()).await;
                trouble
            }
            None => Trouble::Busy,
        }
    }

    async fn operator(
        &self,
        (id, hash): (&TokenId, SecretHash),
        client: &Client,
        serving: &Serving,
    ) -> Result<ConsoleOperator, Trouble> {
        let found = admitted(&self.tokens, (id, &hash), client.origin(), serving, |_| {});
        let kept = found.await?.kept;
        if kept.parent().is_some() {
            let why = "a sub-token that another made gives no right at the console; sign in with that one";
            return Err(Trouble::Forbidden(why.to_owned()));
        }
        let policy = &serving.rules.policy;
        let may = policy::Operator::of(policy, kept.roles()).map_err(|unbound| {
            Refusal::new(
                Code::RoleMissing,
                format!("this sub-token can't be used: {unbound}; ask its issuer for a new one"),
            )
        })?;
        let may = may.ok_or_else(|| Trouble::Forbidden(format!(
            "the sub-token `{}` gives no right at the console; the policy gives one to a role by `operator: [view]`",
            kept.name()
        )))?;
        Ok(ConsoleOperator {
            id: id.clone(),
            name: kept.name().to_owned(),
            may,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings(admin: &str) -> Settings {
        let text = format!(
            "accounts: {{ default: {{ token_file: t }} }}\npolicy: p\nstate: s\naudit: stdout\nadmin: {admin}\n"
        );
        crate::config::read("t.yaml", &text, Path::new("/")).unwrap()
    }

    #[test]
    fn the_console_has_its_own_names_and_no_others() {
        let near = settings("{ address: \"127.0.0.1:9090\", console: true }");
        let six = settings("{ address: \"[::1]:9090\", console: true }");
        let named =
            settings("{ address: \"127.0.0.1:9090\", console: true, hosts: [Ops.example] }");
        let every = settings(
            "{ address: \"0.0.0.0:9090\", tls: { certificate: c, private_key: k }, console: true }",
        );
        let socket = settings("{ unix: a.sock, console: true }");
        let cases = [
            (&near, "127.0.0.1:9090", true),
            (&near, "127.0.0.1", true),
            (&near, "localhost:9090", true),
            (&near, "LOCALHOST:9999", true), // through a tunnel
            (&near, "[::1]:9090", false),
            (&near, "127.0.0.2:9090", false),
            (&near, "evil.example", false),
            (&near, "evil.example:9090", false),
            (&near, "localhost.evil.example", false),
            (&near, "127.0.0.1.evil.example", false),
            (&near, "localhost.", false),
            (&six, "[::1]:9090", true),
            (&six, "127.0.0.1:9090", false),
            (&named, "ops.example:9090", true),
            (&named, "OPS.EXAMPLE", true),
            (&named, "x.ops.example", false),
            (&every, "192.0.2.7:9090", true),
            (&every, "evil.example", false),
            (&socket, "localhost", true),
            (&socket, "127.0.0.1", false),
        ];
        for (settings, asked, ours) in cases {
            let url = BaseUrl::from_host(false, asked).unwrap();
            assert_eq!(is_ours(&host(&url), settings), ours, "{asked}");
        }
    }

    #[test]
    fn a_form_is_taken_from_the_listener_itself_alone() {
        let own = BaseUrl::from_host(false, "localhost:9090").unwrap();
        let safe = BaseUrl::from_host(true, "ops.example").unwrap();
        let cases: [(&BaseUrl, &[&str], bool); 11] = [
            (&own, &["http://localhost:9090"], true),
            (&own, &["HTTP://LOCALHOST:9090"], true),
            (&own, &["https://localhost:9090"], false),
            (&own, &["http://localhost:3000"], false), // another program of this machine
            (&own, &["http://localhost"], false),
            (&own, &["http://127.0.0.1:9090"], false),
            (&own, &["null"], false),
            (&own, &[], false),
            (
                &own,
                &["http://localhost:9090", "http://localhost:9090"],
                false,
            ),
            (&own, &["http://localhost:9090.evil.example"], false),
            (&safe, &["https://ops.example"], true),
        ];
        for (reached, origins, fits) in cases {
            let mut headers = HeaderMap::new();
            for origin in origins {
                headers.append(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(same_origin(&headers, reached).is_ok(), fits, "{origins:?}");
        }
    }

    #[test]
    fn a_cookie_is_taken_by_its_name_and_once() {
        let (plain, safe) = (
            BaseUrl::from_host(false, "localhost").unwrap(),
            BaseUrl::from_host(true, "localhost").unwrap(),
        );
        let cases: [(&BaseUrl, &[&str], Option<&str>); 7] = [
            (&plain, &["tidegate=a"], Some("a")),
            (&plain, &["x=1; tidegate=a; y=2"], Some("a")),
            (&plain, &["x=1", "tidegate=a"], Some("a")), // HTTP/2 sends them apart
            (&plain, &["tidegate=a; tidegate=b"], None), // another program may have put one there
            (&plain, &["xtidegate=a"], None),
            (&safe, &["tidegate=a"], None),
            (&safe, &["__Host-tidegate=a"], Some("a")),
        ];
        for (reached, sent, found) in cases {
            let mut headers = HeaderMap::new();
            for value in sent {
                headers.append(COOKIE, value.parse().unwrap());
            }
            assert_eq!(cookie(&headers, reached), found, "{sent:?}");
        }
        assert_eq!(
            set_cookie(&safe, Some("a")),
            "__Host-tidegate=a; Path=/; HttpOnly; SameSite=Strict; Secure"
        );
        assert_eq!(
            set_cookie(&plain, None),
            "tidegate=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
        );
    }
}
