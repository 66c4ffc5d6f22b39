use std::fmt;
use std::net::IpAddr;

use jiff::Timestamp;

use super::limits::{Limits, Source};
use super::subject::Subject;
use super::time::Moment;
use crate::refusal::{Code, Refusal};

/// Where a request comes from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ClientAddr {
    /// An address. IPv4 written as IPv6 was brought back to IPv4.
    Ip(IpAddr),
    /// A unix socket.
    Unix,
}

impl fmt::Display for ClientAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => write!(f, "{ip}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// Where a request comes from, and who its connection says that it is.
#[derive(Clone, Copy, Debug)]
pub struct RequestOrigin<'a> {
    /// Where the client is.
    pub addr: ClientAddr,
    /// For whom the certificate is that the client showed.
    pub subject: Option<&'a Subject>,
}

impl From<ClientAddr> for RequestOrigin<'_> {
    fn from(addr: ClientAddr) -> Self {
        Self {
            addr,
            subject: None,
        }
    }
}

/// How a token was used so far.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// How many requests were let through, for tokens with `max_uses`.
    pub used: u64,
    /// When the last one was.
    pub last_used_at: Option<Timestamp>,
}

/// What a token is judged by before anything of its request is read.
#[derive(Clone, Copy, Debug)]
pub struct Admission<'a> {
    /// What it is bound to.
    pub limits: &'a Limits,
    /// Since when it has been there, for idleness before its first use.
    pub since: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// How it was used.
    pub usage: Usage,
}

/// How a token stands at a moment, apart from where a request comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenStanding {
    /// It may be used.
    Active,
    /// It was revoked.
    Revoked,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// It was not used for too long.
    Idle,
    /// It was used as often as it may be.
    UsedUp,
}

impl TokenStanding {
    /// As `token list` tells it; a token that was idle or used up is expired.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Revoked => "revoked",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired | Self::Idle | Self::UsedUp => "expired",
        }
    }
}

/// How a token stands.
pub fn standing(token: &Admission<'_>, now: impl Into<Moment>) -> TokenStanding {
    let Moment { clock, latest: now } = now.into();
    let Admission {
        limits,
        since,
        revoked_at,
        usage,
    } = token;
    let Limits {
        sources: _,
        client_cert: _,
        not_before,
        expires_at,
        idle,
        max_uses,
        rate: _,
    } = limits;
    if revoked_at.is_some() {
        return TokenStanding::Revoked;
    }
    if not_before.is_some_and(|start| clock < start) {
        return TokenStanding::NotYetValid;
    }
    if expires_at.is_some_and(|end| now >= end) {
        return TokenStanding::Expired;
    }
    let quiet_since = usage
        .last_used_at
        .into_iter()
        .chain(*since)
        .chain(*not_before)
        .max();
    let idle_end = idle
        .zip(quiet_since)
        .map(|(idle, since)| since.saturating_add(idle.duration()).unwrap_or(since));
    if idle_end.is_some_and(|end| now >= end) {
        return TokenStanding::Idle;
    }
    if max_uses.is_some_and(|most| usage.used >= most) {
        return TokenStanding::UsedUp;
    }
    TokenStanding::Active
}

/// Whether a token may be used now, from there. Its rate is not judged here: asking would take from it.
///
/// # Errors
/// The refusal.
pub fn admit(
    token: &Admission<'_>,
    from: RequestOrigin<'_>,
    now: impl Into<Moment>,
) -> Result<(), Refusal> {
    stands(token.limits, standing(token, now))?;
    let RequestOrigin { addr, subject } = from;
    if !from_allowed(token.limits.sources.as_deref(), addr) {
        return Err(Refusal::new(
            Code::SourceIp,
            format!(
                "this sub-token may not be used from {addr}; use it from an address that it was issued for"
            ),
        ));
    }
    let Some(pattern) = &token.limits.client_cert else {
        return Ok(());
    };
    // The code of the other condition on a connection: who can't meet it has to come from elsewhere, too.
    match subject {
        Some(subject) if pattern.matches(subject) => Ok(()),
        Some(subject) => Err(Refusal::new(
            Code::SourceIp,
            format!(
                "this sub-token may not be used with a client certificate of `{subject}`; use it with one that it was issued for"
            ),
        )),
        None => Err(Refusal::new(
            Code::SourceIp,
            "this sub-token may be used only with a client certificate that it was issued for, and none was shown here; show it, at a listener that asks for one",
        )),
    }
}

/// What a token gets that does not stand as one that may be used.
fn stands(limits: &Limits, standing: TokenStanding) -> Result<(), Refusal> {
    let (code, message) = match standing {
        TokenStanding::Active => return Ok(()),
        TokenStanding::Revoked => (
            Code::Revoked,
            "this sub-token was revoked; ask its issuer for a new one".to_owned(),
        ),
        TokenStanding::NotYetValid => {
            let start = limits.not_before.unwrap_or_default();
            let why = format!("this sub-token is valid from {start} on; use it then");
            (Code::NotYetValid, why)
        }
        TokenStanding::Expired => {
            let end = limits.expires_at.unwrap_or_default();
            let why = format!("this sub-token expired at {end}; ask its issuer for a new one");
            (Code::Expired, why)
        }
        TokenStanding::Idle => (
            Code::Expired,
            "this sub-token expired, as it was not used for longer than it may be; ask its issuer for a new one".to_owned(),
        ),
        TokenStanding::UsedUp => (
            Code::UsesExhausted,
            "this sub-token was used as often as it may be; ask its issuer for a new one".to_owned(),
        ),
    };
    Err(Refusal::new(code, message))
}

/// Whether one of these places is that one; none named is any.
pub fn from_allowed(sources: Option<&[Source]>, from: ClientAddr) -> bool {
    sources.is_none_or(|sources| {
        sources.iter().any(|source| match (source, from) {
            (Source::Net(net), ClientAddr::Ip(ip)) => net.contains(&ip),
            (Source::Unix, ClientAddr::Unix) => true,
            (Source::Net(_), ClientAddr::Unix) | (Source::Unix, ClientAddr::Ip(_)) => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{AttributeValue, SubjectAttribute};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_token_stands_as_its_limits_say_at_that_moment() {
        let unused = Usage::default();
        let used_at = |second| Usage {
            used: 0,
            last_used_at: Some(at(second)),
        };
        let expires = Limits {
            expires_at: Some(at(10)),
            ..Limits::default()
        };
        let starts = Limits {
            not_before: Some(at(10)),
            ..Limits::default()
        };
        let idle = Limits {
            idle: Some("5s".parse().unwrap()),
            ..Limits::default()
        };
        let idle_later = Limits {
            not_before: Some(at(10)),
            ..idle.clone()
        };
        let uses = Limits {
            max_uses: Some(2),
            ..Limits::default()
        };
        let cases = [
            (&expires, unused, None, 9, TokenStanding::Active),
            (&expires, unused, None, 10, TokenStanding::Expired), // at the second itself it is over
            (&starts, unused, None, 9, TokenStanding::NotYetValid),
            (&starts, unused, None, 10, TokenStanding::Active),
            (&idle, unused, None, 4, TokenStanding::Active),
            (&idle, unused, None, 5, TokenStanding::Idle), // never used since it was issued
            (&idle, used_at(4), None, 8, TokenStanding::Active),
            (&idle, used_at(4), None, 9, TokenStanding::Idle),
            (&idle_later, unused, None, 12, TokenStanding::Active), // it could not be used before
            (
                &uses,
                Usage {
                    used: 1,
                    last_used_at: None,
                },
                None,
                0,
                TokenStanding::Active,
            ),
            (
                &uses,
                Usage {
                    used: 2,
                    last_used_at: None,
                },
                None,
                0,
                TokenStanding::UsedUp,
            ),
            (&expires, unused, Some(at(0)), 99, TokenStanding::Revoked), // whatever else it is
        ];
        for (limits, usage, revoked_at, second, expected) in cases {
            let token = Admission {
                limits,
                since: Some(at(0)),
                revoked_at,
                usage,
            };
            assert_eq!(
                standing(&token, at(second)),
                expected,
                "{limits:?} {usage:?} at {second}"
            );
        }
    }

    #[test]
    fn a_token_with_a_condition_on_certificates_works_with_such_a_one_alone() {
        let subject = |name: &str| {
            let name = AttributeValue::Text(name.to_owned());
            Subject::new(vec![vec![SubjectAttribute::new("2.5.4.3", name)]])
        };
        let (ci, other) = (subject("ci-1"), subject("root"));
        let cases = [
            (None, None, None),
            (None, Some(&other), None), // no condition
            (Some("CN=ci*"), Some(&ci), None),
            (
                Some("CN=ci*"),
                Some(&other),
                Some(
                    "this sub-token may not be used with a client certificate of `CN=root`; use it with one that it was issued for",
                ),
            ),
            (
                Some("*"),
                None,
                Some(
                    "this sub-token may be used only with a client certificate that it was issued for, and none was shown here; show it, at a listener that asks for one",
                ),
            ),
        ];
        for (pattern, subject, refused) in cases {
            let limits = Limits {
                client_cert: pattern.map(|pattern| pattern.parse().unwrap()),
                ..Limits::default()
            };
            let token = Admission {
                limits: &limits,
                since: None,
                revoked_at: None,
                usage: Usage::default(),
            };
            let from = RequestOrigin {
                addr: ClientAddr::Unix,
                subject,
            };
            let refusal = admit(&token, from, at(0)).err();
            let said = refusal.map(|refusal| (refusal.code, refusal.message));
            assert_eq!(
                said,
                refused.map(|message| (Code::SourceIp, message.to_owned())),
                "{pattern:?}"
            );
        }
    }

    #[test]
    fn a_token_works_from_its_sources_alone() {
        let net: Source = "203.0.113.0/24".parse().unwrap();
        let six: Source = "2001:db8::/32".parse().unwrap();
        let ip = |text: &str| ClientAddr::Ip(text.parse().unwrap());
        let cases = [
            (None, ip("198.51.100.1"), true), // left out: from anywhere
            (None, ClientAddr::Unix, true),
            (Some(vec![]), ip("203.0.113.1"), false), // empty: from nowhere
            (Some(vec![net, six]), ip("203.0.113.255"), true),
            (Some(vec![net, six]), ip("203.0.114.0"), false),
            (Some(vec![net, six]), ip("2001:db8::1"), true),
            (Some(vec![net]), ip("2001:db8::1"), false),
            (Some(vec![net]), ClientAddr::Unix, false),
            (Some(vec![Source::Unix]), ClientAddr::Unix, true),
            (Some(vec![Source::Unix]), ip("127.0.0.1"), false),
        ];
        for (sources, from, allowed) in cases {
            let limits = Limits {
                sources: sources.clone(),
                ..Limits::default()
            };
            let token = Admission {
                limits: &limits,
                since: None,
                revoked_at: None,
                usage: Usage::default(),
            };
            let refused = admit(&token, from.into(), at(0))
                .err()
                .map(|refusal| refusal.code);
            assert_eq!(
                refused,
                (!allowed).then_some(Code::SourceIp),
                "{sources:?} from {from}"
            );
        }
    }
}
