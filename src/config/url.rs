use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

/// The address of a server: scheme, host and port, without a path.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BaseUrl {
    https: bool,
    authority: Arc<str>,
}

/// Why a text is no base URL.
#[derive(Debug, Eq, PartialEq)]
pub struct NoUrl;

impl std::error::Error for NoUrl {}

impl fmt::Display for NoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an address is `https://host` or `https://host:port`, without a path (clients add `/v2/…`)")
    }
}

impl BaseUrl {
    /// DigitalOcean's API.
    pub fn digitalocean() -> Self {
        Self {
            https: true,
            authority: "api.digitalocean.com".into(),
        }
    }

    /// Whether it is `https`.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// Host and port, as for a `Host` header.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Whether the host is this machine, so that nobody is on the way.
    pub fn is_loopback(&self) -> bool {
        let host = host_of(&self.authority);
        host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.is_loopback())
    }

    /// From a scheme and a `Host` header that was checked.
    pub fn from_host(https: bool, host: &str) -> Option<Self> {
        is_authority(host).then(|| Self {
            https,
            authority: host.into(),
        })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority)
    }
}

impl FromStr for BaseUrl {
    type Err = NoUrl;

    fn from_str(text: &str) -> Result<Self, NoUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(NoUrl)?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(NoUrl),
        };
        Self::from_host(https, rest.strip_suffix('/').unwrap_or(rest)).ok_or(NoUrl)
    }
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => authority,
    }
}

fn is_authority(text: &str) -> bool {
    let host = host_of(text);
    let port = text.get(host.len()..).unwrap_or_default();
    let port_fits = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok());
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(inside) => inside.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    port_fits && host_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_has_no_path_and_no_one_in_it() {
        let cases = [
            ("https://api.digitalocean.com", true),
            ("https://api.digitalocean.com/", true),
            ("http://127.0.0.1:8080", true),
            ("http://[::1]:8080", true),
            ("https://api.digitalocean.com/v2", false),
            ("https://user@host", false),
            ("https://host:99999", false),
            ("https://", false),
            ("ftp://host", false),
            ("host", false),
            ("https://ho st", false),
            ("https://host?x", false),
            ("https://[::1", false),
        ];
        for (text, fits) in cases {
            assert_eq!(text.parse::<BaseUrl>().is_ok(), fits, "url {text:?}");
        }
    }

    #[test]
    fn loopback_is_this_machine_alone() {
        let cases = [
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
        ];
        for (text, loopback) in cases {
            assert_eq!(
                text.parse::<BaseUrl>().unwrap().is_loopback(),
                loopback,
                "url {text:?}"
            );
        }
    }
}
