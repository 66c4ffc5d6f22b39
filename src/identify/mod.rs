//! Who is asking, and under what address they know tidegate: from the connection, and from what trusted proxies say.

mod certificate;

use std::net::IpAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HOST, HeaderName};
use ipnet::IpNet;

pub use certificate::subject;

use crate::config::BaseUrl;
use crate::refusal::{Code, Refusal};
use crate::token::Subject;
use crate::token::{ClientAddr, RequestOrigin};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// A connection's other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub addr: ClientAddr,
    /// Whether what it says of who is behind it is believed, if it is a trusted proxy.
    pub forwarding: Forwarding,
    /// Whether it came by TLS.
    pub tls: bool,
    /// For whom the certificate is that it showed, on a listener that asks for one.
    pub subject: Option<Arc<Subject>>,
}

/// Whose words `X-Forwarded-*` are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forwarding {
    /// The peer's.
    Own,
    /// Nobody knows whose: a proxy that hands bytes on said of them that it does not tell from whom they come, so that they may
    /// be a client's.
    Unknown,
}

/// A client, and the address that it reached tidegate by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// Where it is.
    pub addr: ClientAddr,
    /// What its links begin with; none if it sent no `Host` that could be one.
    pub reached: Option<BaseUrl>,
    /// For whom the certificate is that it showed itself.
    pub subject: Option<Arc<Subject>>,
}

impl Client {
    /// Where it is, and who its connection says that it is.
    pub fn origin(&self) -> RequestOrigin<'_> {
        RequestOrigin {
            addr: self.addr,
            subject: self.subject.as_deref(),
        }
    }
}

/// The client behind a connection.
///
/// Walks `X-Forwarded-For` from the right to the first address outside `trusted`; with none sent, or a peer that is not
/// trusted, that is the peer. If all are trusted it is the left-most. Source: PRODUCT.md 5.1; the header has no standard,
/// RFC 7239 §8.1 has the reasoning.
///
/// # Errors
/// `ambiguous_request` if a trusted proxy sent something that is no address: a guess would let clients choose their source.
pub fn client(peer: Peer, headers: &HeaderMap, trusted: &[IpNet]) -> Result<Client, Refusal> {
    let ClientAddr::Ip(ip) = peer.addr else {
        return Ok(direct(peer, headers));
    };
    if peer.forwarding == Forwarding::Unknown || !is_trusted(ip, trusted) {
        return Ok(direct(peer, headers));
    }
    let mut addr = ip;
    let sent: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let entries = sent
        .iter()
        .rev()
        .flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    for entry in entries {
        addr = address(entry).ok_or_else(|| {
            Refusal::new(Code::AmbiguousRequest, "the proxy before tidegate sent an `X-Forwarded-For` that is no list of addresses, so where the request comes from can't be known")
        })?;
        if !is_trusted(addr, trusted) {
            break;
        }
    }
    let https = match one_text(headers, &FORWARDED_PROTO) {
        Some(scheme) => scheme.eq_ignore_ascii_case("https"),
        None => peer.tls,
    };
    let host = one_text(headers, &FORWARDED_HOST).or_else(|| one_text(headers, &HOST));
    // A certificate that a proxy showed is the proxy's, and says nothing of who is behind it.
    let subject = peer.subject.filter(|_| sent.is_empty());
    Ok(Client {
        subject,
        addr: ClientAddr::Ip(addr),
        reached: host.and_then(|host| BaseUrl::from_host(https, host)),
    })
}

fn direct(peer: Peer, headers: &HeaderMap) -> Client {
    let reached = one_text(headers, &HOST).and_then(|host| BaseUrl::from_host(peer.tls, host));
    Client {
        addr: peer.addr,
        reached,
        subject: peer.subject,
    }
}

/// Whether an address is one of the trusted.
pub fn is_trusted(ip: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|net| net.contains(&ip))
}

/// An address, as proxies write it: bare, with a port, or in brackets.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || {
        text.parse::<std::net::SocketAddr>()
            .ok()
            .map(|socket| socket.ip())
    };
    let bracketed = || {
        text.strip_prefix('[')?
            .strip_suffix(']')?
            .parse::<std::net::Ipv6Addr>()
            .ok()
            .map(IpAddr::V6)
    };
    bare.or_else(with_port)
        .or_else(bracketed)
        .map(|ip| ip.to_canonical())
}

/// The header's text if it was sent once.
fn one_text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        (Some(_), Some(_)) | (None, _) => None,
    }
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn found(peer: &str, forwarded: &[&str]) -> Result<String, Code> {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = Peer {
            addr: ClientAddr::Ip(peer.parse().unwrap()),
            forwarding: Forwarding::Own,
            tls: false,
            subject: None,
        };
        client(peer, &headers, &trusted)
            .map(|client| client.addr.to_string())
            .map_err(|refusal| refusal.code)
    }

    #[test]
    fn only_trusted_proxies_say_who_is_behind_them() {
        let cases: [(&str, &[&str], Result<&str, Code>); 13] = [
            ("203.0.113.9", &["198.51.100.1"], Ok("203.0.113.9")), // anyone else's is ignored
            ("203.0.113.9", &["garbage"], Ok("203.0.113.9")),
            ("10.0.0.1", &[], Ok("10.0.0.1")),
            ("10.0.0.1", &["198.51.100.1"], Ok("198.51.100.1")),
            ("10.0.0.1", &["1.2.3.4, 198.51.100.1"], Ok("198.51.100.1")), // what the client itself sent stands left
            (
                "10.0.0.1",
                &["1.2.3.4, 198.51.100.1, 10.0.0.7"],
                Ok("198.51.100.1"),
            ),
            (
                "10.0.0.1",
                &["1.2.3.4", "198.51.100.1, 10.0.0.7"],
                Ok("198.51.100.1"),
            ), // several headers are one list
            ("10.0.0.1", &["10.0.0.8, 10.0.0.7"], Ok("10.0.0.8")),
            ("10.0.0.1", &["198.51.100.1:443"], Ok("198.51.100.1")),
            ("fd00::1", &["2001:db8::1"], Ok("2001:db8::1")),
            ("10.0.0.1", &["::ffff:198.51.100.1"], Ok("198.51.100.1")),
            ("10.0.0.1", &["unknown"], Err(Code::AmbiguousRequest)),
            ("10.0.0.1", &["198.51.100.1,"], Err(Code::AmbiguousRequest)),
        ];
        for (peer, forwarded, expected) in cases {
            assert_eq!(
                found(peer, forwarded),
                expected.map(str::to_owned),
                "{peer} with {forwarded:?}"
            );
        }
    }

    #[test]
    fn a_certificate_is_of_whoever_showed_it() {
        let shown = |peer: &str, forwarded: Option<&'static str>| {
            let forwarded = forwarded.map(|value| (FORWARDED_FOR, HeaderValue::from_static(value)));
            let headers = forwarded.into_iter().collect();
            let peer = Peer {
                addr: ClientAddr::Ip(peer.parse().unwrap()),
                forwarding: Forwarding::Own,
                tls: true,
                subject: Some(Arc::new(Subject::new(Vec::new()))),
            };
            let found = client(peer, &headers, &["10.0.0.0/8".parse().unwrap()]);
            found.unwrap().subject.is_some()
        };
        assert!(shown("203.0.113.9", None));
        assert!(shown("203.0.113.9", Some("198.51.100.1"))); // anyone else's header is ignored
        assert!(shown("10.0.0.1", None)); // the proxy asks for itself
        assert!(!shown("10.0.0.1", Some("198.51.100.1")));
        assert!(!shown("10.0.0.1", Some("10.0.0.1"))); // whoever that is
    }

    #[test]
    fn links_are_for_the_address_that_the_client_used() {
        let reached = |peer: &str, headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| {
                    (
                        HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect();
            let peer = Peer {
                addr: ClientAddr::Ip(peer.parse().unwrap()),
                forwarding: Forwarding::Own,
                tls: false,
                subject: None,
            };
            client(peer, &headers, &["10.0.0.0/8".parse().unwrap()])
                .unwrap()
                .reached
                .map(|url| url.to_string())
        };
        let behind = [
            ("host", "inner:8080"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "gate.example.com"),
        ];
        assert_eq!(
            reached("127.0.0.1", &[("host", "localhost:8080")]),
            Some("http://localhost:8080".into())
        );
        assert_eq!(
            reached("10.0.0.1", &behind),
            Some("https://gate.example.com".into())
        );
        assert_eq!(
            reached("203.0.113.9", &behind),
            Some("http://inner:8080".into())
        );
        assert_eq!(reached("127.0.0.1", &[("host", "evil.example/x?")]), None);
    }
}
