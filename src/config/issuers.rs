use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::BaseUrl;

/// Who may vouch for CI jobs and workloads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuerSettings {
    /// What its tokens have as `iss`, letter for letter.
    pub url: String,
    /// What its tokens must be meant for.
    pub audience: String,
    /// Where its keys are.
    pub keys: KeySource,
    /// The authority to trust in place of the system's where its keys are asked for.
    pub ca_file: Option<PathBuf>,
    /// Whose claims its tokens have.
    pub kind: IssuerKind,
    /// How often one token may be exchanged.
    pub exchange: ExchangeTimes,
}

/// How often one token may be exchanged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExchangeTimes {
    /// Once.
    Once,
    /// Again, and each time the sub-token before ends: for tokens that stay the same while they live.
    Again,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeySource {
    /// Where its own metadata says, which is at this address.
    Discovery(KeyUrl),
    /// There.
    Url(KeyUrl),
    /// In this file.
    File(PathBuf),
}

/// Whose claims an issuer's tokens have, so that the mistakes can be told that are usual with these.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IssuerKind {
    /// GitHub Actions, be it of GitHub Enterprise.
    Github,
    /// GitLab CI.
    Gitlab,
    /// A Kubernetes cluster.
    Kubernetes,
    /// Another.
    Other,
}

impl IssuerKind {
    /// What an issuer at an address is likely.
    pub(super) fn of_url(url: &str) -> Self {
        let lower = url.to_ascii_lowercase();
        let (_, rest) = lower.split_once("://").unwrap_or(("", &lower));
        let host = rest.split(['/', ':']).next().unwrap_or_default();
        let is_github = host.ends_with("githubusercontent.com")
            || host == "ghe.com"
            || host.ends_with(".ghe.com")
            || host.split('.').any(|label| label.contains("github"))
            || rest.contains("/_services/token"); // GitHub Enterprise Server's, under any name
        if is_github {
            Self::Github
        } else if host.contains("gitlab") {
            Self::Gitlab
        } else if host.contains("kubernetes") || host.contains("k8s") {
            Self::Kubernetes
        } else {
            Self::Other
        }
    }

    /// What an issuer is likely that nothing is known of but what the configuration calls it.
    pub fn of_name(name: &str) -> Self {
        Self::of_url(name)
    }
}

impl FromStr for IssuerKind {
    type Err = NoKind;

    fn from_str(text: &str) -> Result<Self, NoKind> {
        match text {
            "github" => Ok(Self::Github),
            "gitlab" => Ok(Self::Gitlab),
            "kubernetes" => Ok(Self::Kubernetes),
            "other" => Ok(Self::Other),
            _ => Err(NoKind),
        }
    }
}

/// That a text is no kind of issuer.
#[derive(Debug)]
pub struct NoKind;

impl fmt::Display for NoKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is `github`, `gitlab`, `kubernetes` or `other`")
    }
}

/// An address that keys are asked for at: https, or http on this machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyUrl {
    /// Scheme, host and port.
    pub server: BaseUrl,
    /// The path, and the query if there is one.
    pub path: String,
}

/// Why a text is no such address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoKeyUrl {
    /// It is no address.
    Form,
    /// Whoever is on the way could change the keys.
    Plain,
}

impl fmt::Display for NoKeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "an address is `https://host/path`, without user, spaces or fragment",
            Self::Plain => "whoever is on the way could put keys of their own in; `http://` is for loopback only, so use `https://`",
        })
    }
}

impl FromStr for KeyUrl {
    type Err = NoKeyUrl;

    fn from_str(text: &str) -> Result<Self, NoKeyUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(NoKeyUrl::Form)?;
        let end = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(NoKeyUrl::Form)?;
        let is_path = |byte: u8| byte.is_ascii_graphic() && !b"#\\\"<>^`{|}".contains(&byte);
        if !path.bytes().all(is_path) || authority.contains(['?', '@']) {
            return Err(NoKeyUrl::Form);
        }
        let server: BaseUrl = format!("{scheme}://{authority}")
            .parse()
            .map_err(|_| NoKeyUrl::Form)?;
        if !server.is_https() && !server.is_loopback() {
            return Err(NoKeyUrl::Plain);
        }
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self {
            server,
            path: path.to_owned(),
        })
    }
}

impl fmt::Display for KeyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.path)
    }
}

impl KeyUrl {
    /// Where the metadata of the issuer at this address is (`OpenID` Connect Discovery 1.0 §4).
    #[must_use]
    pub fn metadata(&self) -> Self {
        let path = self.path.trim_end_matches('/');
        Self {
            server: self.server.clone(),
            path: format!("{path}/.well-known/openid-configuration"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_told_by_its_address() {
        use IssuerKind::{Github, Gitlab, Kubernetes, Other};
        let cases = [
            ("https://token.actions.githubusercontent.com", Github),
            ("https://token.actions.githubusercontent.com/acme", Github),
            ("https://token.actions.acme.ghe.com", Github),
            ("https://code.example.com/_services/token", Github),
            ("https://github.example.com/_services/token", Github),
            ("https://gitlab.com", Gitlab),
            ("https://gitlab.example.com:8443/x", Gitlab),
            ("https://kubernetes.default.svc.cluster.local", Kubernetes),
            ("https://example.com/github", Other), // a path is anybody's
            ("https://notghe.com", Other),
            ("http://127.0.0.1:9", Other),
        ];
        for (url, kind) in cases {
            assert_eq!(IssuerKind::of_url(url), kind, "{url}");
        }
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        let metadata = "/.well-known/openid-configuration";
        let cases = [
            (
                "https://a.example",
                Ok(format!("https://a.example{metadata}")),
            ),
            (
                "https://a.example/",
                Ok(format!("https://a.example{metadata}")),
            ),
            (
                "https://a.example:8443/x/y/",
                Ok(format!("https://a.example:8443/x/y{metadata}")),
            ),
            (
                "http://127.0.0.1:80/x",
                Ok(format!("http://127.0.0.1:80/x{metadata}")),
            ),
            ("http://[::1]:80", Ok(format!("http://[::1]:80{metadata}"))),
            ("http://a.example", Err(NoKeyUrl::Plain)),
            ("http://127.0.0.1.a.example", Err(NoKeyUrl::Plain)),
            ("ftp://a.example", Err(NoKeyUrl::Form)),
            ("https://u:p@a.example", Err(NoKeyUrl::Form)),
            ("https://a.example?x", Err(NoKeyUrl::Form)),
            ("https://a.example/#x", Err(NoKeyUrl::Form)),
            ("https://a.example/ x", Err(NoKeyUrl::Form)),
            ("https:///x", Err(NoKeyUrl::Form)),
            ("a.example", Err(NoKeyUrl::Form)),
        ];
        for (text, expected) in cases {
            let read = text.parse::<KeyUrl>().map(|url| url.metadata().to_string());
            assert_eq!(read, expected, "{text}");
        }
    }
}
