use std::fmt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, CACHE_CONTROL, HOST, HeaderValue, LOCATION};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use super::body::{self, Outgoing};
use super::connect::{self, NoUpstream};
use crate::config::{KeyUrl, UpstreamSettings};

/// Asks other servers than the API for what is public: no token goes there, and no redirect leads to another host.
pub struct Fetcher(Client<connect::Connector, Outgoing>);

/// What was fetched.
#[derive(Debug)]
pub struct Fetched {
    /// The answer's body.
    pub bytes: Bytes,
    /// How long it may be kept, if the server says so.
    pub max_age: Option<Duration>,
}

/// Why nothing was fetched.
#[derive(Debug)]
pub enum NotFetched {
    /// The server can't be reached.
    Unreachable(String),
    /// It did not answer in time.
    Late,
    /// It answered with this status.
    Status(u16),
    /// It led elsewhere.
    Redirected,
    /// Its answer broke off, or is larger than anything that is asked for.
    Body,
}

impl fmt::Display for NotFetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "it can't be reached: {why}"),
            Self::Late => f.write_str("it did not answer in time"),
            Self::Status(status) => write!(f, "it answered with the status {status}"),
            Self::Redirected => f.write_str("it led to another host, or in a circle"),
            Self::Body => write!(
                f,
                "its answer broke off, or is larger than {MOST_BYTES} bytes"
            ),
        }
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
const MOST_BYTES: usize = 512 << 10;
const MOST_REDIRECTS: usize = 3;

impl Fetcher {
    /// For a server, trusting the authorities of a file or else the system's.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn new(url: &KeyUrl, ca_file: Option<&Path>) -> Result<Self, String> {
        let settings = UpstreamSettings {
            url: url.server.clone(),
            ca_file: ca_file.map(Path::to_owned),
            connect_timeout: CONNECT_TIMEOUT,
            timeout: TIMEOUT,
        };
        let connector = connect::connector(&settings).map_err(|error| match error {
            NoUpstream::Authorities(path, why) => {
                format!("`ca_file` `{}`: {why}; it holds certificates in PEM form", path.display())
            }
            NoUpstream::SystemAuthorities => "the system has no certificate authorities to trust; install `ca-certificates`, or name a file by `ca_file`".to_owned(),
            NoUpstream::Address => "its address has no host".to_owned(),
            NoUpstream::Tls(error) => format!("TLS can't be set up: {error}"),
        })?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(15))
            .timer(TokioTimer::new())
            .build(connector);
        Ok(Self(client))
    }

    /// Asks for what is at an address.
    ///
    /// # Errors
    /// `NotFetched`.
    pub async fn get(&self, url: &KeyUrl) -> Result<Fetched, NotFetched> {
        timeout(TIMEOUT, self.follow(url))
            .await
            .map_err(|_| NotFetched::Late)?
    }

    async fn follow(&self, url: &KeyUrl) -> Result<Fetched, NotFetched> {
        let mut url = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let (status, headers, body) = self.ask(&url).await?;
            if status == StatusCode::OK {
                let max_age = max_age(&headers);
                let mut body = body;
                let read = body::read(&mut body, MOST_BYTES, TIMEOUT).await;
                return match read {
                    Ok((bytes, true)) => Ok(Fetched { bytes, max_age }),
                    Ok((_, false)) | Err(_) => Err(NotFetched::Body),
                };
            }
            if !status.is_redirection() {
                return Err(NotFetched::Status(status.as_u16()));
            }
            let location = headers.get(LOCATION).and_then(|value| value.to_str().ok());
            url = location
                .and_then(|location| same_server(&url, location))
                .ok_or(NotFetched::Redirected)?;
        }
        Err(NotFetched::Redirected)
    }

    async fn ask(
        &self,
        url: &KeyUrl,
    ) -> Result<(StatusCode, HeaderMap, hyper::body::Incoming), NotFetched> {
        let unreachable = |error: &dyn std::error::Error| {
            let mut told = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                told = format!("{told}: {error}");
                cause = error.source();
            }
            NotFetched::Unreachable(told)
        };
        let uri: Uri = url
            .to_string()
            .parse()
            .map_err(|error| unreachable(&error))?;
        let request = Request::get(uri)
            .header(HOST, url.server.authority())
            .header(
                ACCEPT,
                HeaderValue::from_static("application/json, application/jwk-set+json"),
            )
            .body(body::empty())
            .map_err(|error| unreachable(&error))?;
        let answer = self.0.request(request).await;
        let (head, body) = answer.map_err(|error| unreachable(&error))?.into_parts();
        Ok((head.status, head.headers, body))
    }
}

/// Where a redirect leads, if that is at the same server.
fn same_server(from: &KeyUrl, location: &str) -> Option<KeyUrl> {
    let absolute = match location.strip_prefix('/') {
        Some(rest) if !rest.starts_with('/') => format!("{}{location}", from.server),
        _ => location.to_owned(),
    };
    let url: KeyUrl = absolute.parse().ok()?;
    (url.server == from.server).then_some(url)
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let said = headers.get_all(CACHE_CONTROL).iter();
    let said = said.filter_map(|value| value.to_str().ok());
    let directives: Vec<_> = said
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .collect();
    if directives
        .iter()
        .any(|it| it == "no-store" || it == "no-cache")
    {
        return Some(Duration::ZERO);
    }
    let seconds = directives
        .iter()
        .find_map(|it| it.strip_prefix("max-age="))?;
    let seconds: u64 = seconds.trim_matches('"').parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_followed_at_the_same_server_alone() {
        let from: KeyUrl = "https://a.example/x".parse().unwrap();
        let cases = [
            ("/y", Some("https://a.example/y")),
            ("https://a.example/z", Some("https://a.example/z")),
            ("https://b.example/z", None),
            ("https://a.example:8443/z", None),
            ("http://a.example/z", None),
            ("//b.example/z", None),
            ("https://a.example@b.example/", None),
            ("y", None),
        ];
        for (location, expected) in cases {
            let url = same_server(&from, location).map(|url| url.to_string());
            assert_eq!(url.as_deref(), expected, "{location}");
        }
    }

    #[test]
    fn how_long_an_answer_may_be_kept_is_read() {
        let cases = [
            ("max-age=600", Some(600)),
            ("public, Max-Age=600, must-revalidate", Some(600)),
            ("no-store, max-age=600", Some(0)),
            ("max-age=x", None),
            ("", None),
        ];
        for (said, seconds) in cases {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, said.parse().unwrap())]);
            assert_eq!(
                max_age(&headers),
                seconds.map(Duration::from_secs),
                "{said}"
            );
        }
    }
}
