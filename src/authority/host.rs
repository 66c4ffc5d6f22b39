use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls_pki_types::DnsName;

/// What a certificate is for: a name, a name with a `*` for its first label, or an address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Host {
    /// A DNS name in small letters.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

/// Why a text is no host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoHost {
    /// There is nothing.
    Empty,
    /// It is a URL, or has a path.
    Url,
    /// It has a port.
    Port,
    /// It is an IPv6 address in brackets.
    Brackets,
    /// A `*` elsewhere than for the whole first of three labels.
    Wildcard,
    /// It ends with a dot.
    Dot,
    /// It is no name at all.
    Name,
}

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty; give the name or address by which clients reach tidegate",
            Self::Url => "a certificate is for a host, not for a URL; leave scheme and path out",
            Self::Port => "a certificate is for a host, whatever the port; leave the port out",
            Self::Brackets => "an IPv6 address stands here without its brackets",
            Self::Wildcard => {
                "`*` stands for the whole first label of a name with two more, as in `*.example.com`; clients accept no other"
            }
            Self::Dot => "clients compare names without the dot at the end; leave it out",
            Self::Name => {
                "it is neither a DNS name (`gate.example.com`, in punycode where it has other letters) nor an IP address"
            }
        })
    }
}

impl std::error::Error for NoHost {}

impl FromStr for Host {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(ip));
        }
        if text.is_empty() {
            return Err(NoHost::Empty);
        }
        if text.contains('/') {
            return Err(NoHost::Url);
        }
        if text.starts_with('[') {
            return Err(NoHost::Brackets);
        }
        if text.contains(':') {
            return Err(NoHost::Port);
        }
        if text.ends_with('.') {
            return Err(NoHost::Dot);
        }
        let wildcard = text.strip_prefix("*.");
        let name = wildcard.unwrap_or(text);
        if name.contains('*') || (wildcard.is_some() && !name.contains('.')) {
            return Err(NoHost::Wildcard);
        }
        if text.len() > LONGEST_NAME || DnsName::try_from(name).is_err() {
            return Err(NoHost::Name);
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(ip) => write!(f, "{ip}"),
        }
    }
}

/// RFC 1035 §2.3.4, without the dot at the end.
const LONGEST_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_and_nothing_around_it() {
        let long = format!("{}.example.com", "a".repeat(64));
        let cases = [
            ("gate.example.com", Ok("gate.example.com")),
            ("Gate.Example.COM", Ok("gate.example.com")), // clients compare without regard to case
            ("localhost", Ok("localhost")),
            ("*.example.com", Ok("*.example.com")),
            ("api_gate.internal", Ok("api_gate.internal")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            ("127.0.0.1", Ok("127.0.0.1")),
            ("::1", Ok("::1")),
            ("2001:DB8::1", Ok("2001:db8::1")),
            ("", Err(NoHost::Empty)),
            ("https://gate.example.com", Err(NoHost::Url)),
            ("gate.example.com/v2", Err(NoHost::Url)),
            ("gate.example.com:8443", Err(NoHost::Port)),
            ("127.0.0.1:8443", Err(NoHost::Port)),
            ("[::1]", Err(NoHost::Brackets)),
            ("[::1]:8443", Err(NoHost::Brackets)),
            ("gate.example.com.", Err(NoHost::Dot)),
            ("*", Err(NoHost::Wildcard)),
            ("*.com", Err(NoHost::Wildcard)), // OpenSSL and webpki ask for two labels
            ("a*.example.com", Err(NoHost::Wildcard)),
            ("*.*.example.com", Err(NoHost::Wildcard)),
            ("gate .example.com", Err(NoHost::Name)),
            ("-gate.example.com", Err(NoHost::Name)),
            ("gate..example.com", Err(NoHost::Name)),
            ("bücher.example", Err(NoHost::Name)),
            ("10.0.0.300", Err(NoHost::Name)), // a slip in an address is no name
            (long.as_str(), Err(NoHost::Name)),
        ];
        for (text, expected) in cases {
            let read = text.parse::<Host>().map(|host| host.to_string());
            assert_eq!(read, expected.map(str::to_owned), "host {text:?}");
        }
    }
}
