//! The proxies of whoever runs `exec`: nothing that is meant for the gate goes to them, and what is meant for others goes as
//! before.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::environment::Variable;

/// Variables that clients take proxies from; each is read in capitals too.
const PROXIES: [&str; 3] = ["http_proxy", "https_proxy", "all_proxy"];
/// The gate's own host, by all the names that it is called by.
const OWN: [&str; 3] = ["127.0.0.1", "localhost", "::1"];

/// The variables by which clients go past proxies to the gate: curl and Python would otherwise carry the sub-token there. None
/// where there is no proxy. What is `led` to a proxy of this run does not go past it, whatever the caller's own list says.
pub(super) fn past(own: &[Variable], led: Option<&str>) -> Vec<(String, OsString)> {
    let has_proxy = PROXIES.iter().any(|proxy| value(own, proxy).is_some());
    if !has_proxy && led.is_none() {
        return Vec::new();
    }
    let before = value(own, "no_proxy").unwrap_or_default();
    let before = before.to_string_lossy();
    let kept = entries(&before).filter(|entry| led.is_none_or(|host| !takes(entry, host, 443)));
    let list = kept.chain(OWN).collect::<Vec<_>>().join(",");
    ["no_proxy", "NO_PROXY"]
        .into_iter()
        .map(|name| (name.to_owned(), list.clone().into()))
        .collect()
}

/// The value of a variable, in small letters or else in capitals, as curl and Go read them.
fn value<'e>(own: &'e [Variable], name: &str) -> Option<&'e OsStr> {
    let exactly = |wanted: &str| {
        let mut set = own.iter().filter(|(_, value)| !value.is_empty());
        set.find(|(own, _)| own == wanted)
            .map(|(_, value)| value.as_os_str())
    };
    exactly(name).or_else(|| exactly(&name.to_ascii_uppercase()))
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split([',', ' ']).filter(|entry| !entry.is_empty())
}

/// Whether an entry of `NO_PROXY` takes that host: by its name, one above it, its address or a network; `*` takes all.
fn takes(entry: &str, host: &str, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    let host_ip = host.parse::<IpAddr>().ok();
    if let Ok(net) = entry.parse::<IpNet>() {
        return host_ip.is_some_and(|ip| net.contains(&ip));
    }
    let bare = entry.trim_matches(['[', ']']);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return host_ip == Some(ip);
    }
    let (name, own_port) = match entry.rsplit_once(':') {
        Some((name, digits)) => (name, digits.parse::<u16>().ok()),
        None => (entry, None),
    };
    let name = name.trim_start_matches('*').trim_matches(['.', '[', ']']);
    let name = name.to_ascii_lowercase();
    let below = host
        .strip_suffix(&*name)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.is_empty() && below && own_port.is_none_or(|own| own == port)
}

/// How connections to other hosts go.
#[derive(Default)]
pub(super) struct Beyond {
    proxy: Option<Proxy>,
    exempt: String,
}

/// A proxy of the caller's.
pub(super) struct Proxy {
    /// Whether it is spoken to over TLS.
    pub tls: bool,
    pub host: String,
    pub port: u16,
    /// What it is shown, `Basic …`.
    pub credentials: Option<Zeroizing<String>>,
}

/// What is set for a proxy is none that could be gone through.
#[derive(Debug)]
pub(super) struct NoProxy;

impl fmt::Display for NoProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the proxy that HTTPS_PROXY or ALL_PROXY names can't be gone through with `--intercept`; it is written `http://[user:password@]host:port`, or with `https://`")
    }
}

impl Beyond {
    /// By what the caller's own variables say.
    ///
    /// # Errors
    /// `NoProxy`.
    pub fn of(own: &[Variable]) -> Result<Self, NoProxy> {
        let set = value(own, "https_proxy").or_else(|| value(own, "all_proxy"));
        let proxy = set.map(|text| text.to_str().ok_or(NoProxy).and_then(Proxy::read));
        let exempt = value(own, "no_proxy").unwrap_or_default();
        Ok(Self {
            proxy: proxy.transpose()?,
            exempt: exempt.to_string_lossy().into_owned(),
        })
    }

    /// The proxy on the way to a host, if there is one.
    pub fn proxy(&self, host: &str, port: u16) -> Option<&Proxy> {
        let exempt = entries(&self.exempt).any(|entry| takes(entry, host, port));
        self.proxy.as_ref().filter(|_| !exempt)
    }
}

impl Proxy {
    fn read(text: &str) -> Result<Self, NoProxy> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let tls = match scheme {
            "http" => false,
            "https" => true,
            _ => return Err(NoProxy),
        };
        let rest = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => {
                (host, digits.parse().map_err(|_| NoProxy)?)
            }
            Some(_) | None => (authority, if tls { 443 } else { 80 }),
        };
        let host = host.trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(NoProxy);
        }
        let credentials = user.map(|user| {
            let plain = Zeroizing::new(decoded(user));
            Zeroizing::new(format!("Basic {}", STANDARD.encode(&*plain)))
        });
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            credentials,
        })
    }
}

/// A text with its percent signs read; one that stands for nothing stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        let pair = more
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        if let (b'%', Some(byte)) = (first, byte) {
            bytes.push(byte);
            rest = more.get(2..).unwrap_or_default();
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(own: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        let own = own.iter();
        own.map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn an_entry_takes_its_host_and_what_is_below_it() {
        let cases = [
            ("example.com", "example.com", true),
            ("example.com", "a.example.com", true),
            (".example.com", "a.example.com", true),
            ("*.example.com", "a.example.com", true),
            ("EXAMPLE.com", "a.example.com", true),
            ("example.com", "notexample.com", false),
            ("example.com:443", "example.com", true),
            ("example.com:8443", "example.com", false),
            ("*", "example.com", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("[::1]", "::1", true),
            (".", "example.com", false), // nothing, and not all
        ];
        for (entry, host, expected) in cases {
            assert_eq!(takes(entry, host, 443), expected, "{entry} and {host}");
        }
    }

    #[test]
    fn the_gate_is_never_behind_a_proxy_and_what_is_led_there_always_is() {
        type Case<'c> = (&'c [(&'c str, &'c str)], Option<&'c str>, Option<String>);
        let list = |own: &[(&str, &str)], led| {
            let past = past(&variables(own), led);
            past.first()
                .map(|(_, value)| value.to_str().unwrap().to_owned())
        };
        let ours = "127.0.0.1,localhost,::1";
        let cases: [Case<'_>; 6] = [
            (&[], None, None),
            (&[("NO_PROXY", "a")], None, None), // there is no proxy
            (&[("http_proxy", "http://p")], None, Some(ours.to_owned())),
            (
                &[("ALL_PROXY", "http://p"), ("NO_PROXY", "a, b")],
                None,
                Some(format!("a,b,{ours}")),
            ),
            (
                &[("NO_PROXY", "a,.digitalocean.com")],
                Some("api.digitalocean.com"),
                Some(format!("a,{ours}")),
            ),
            (
                &[("no_proxy", "*"), ("NO_PROXY", "b")],
                Some("api.digitalocean.com"),
                Some(ours.to_owned()),
            ),
        ];
        for (own, led, expected) in cases {
            assert_eq!(list(own, led), expected, "{own:?} {led:?}");
        }
    }

    #[test]
    fn the_callers_proxy_is_read_with_its_credentials() {
        let cases = [
            ("http://p:3128", Some((false, "p", 3128, None))),
            ("p:3128", Some((false, "p", 3128, None))),
            ("https://p/", Some((true, "p", 443, None))),
            (
                "http://u:a%40b@p:1",
                Some((false, "p", 1, Some("Basic dTphQGI="))),
            ),
            ("http://[::1]:3128", Some((false, "::1", 3128, None))),
            ("http://[::1]", Some((false, "::1", 80, None))),
            ("socks5://p:1", None),
            ("http://p:x", None),
            ("http://", None),
        ];
        for (text, expected) in cases {
            let read = Proxy::read(text).ok();
            let shown = read.as_ref().map(|proxy| {
                let credentials = proxy.credentials.as_ref().map(|text| text.as_str());
                (proxy.tls, proxy.host.as_str(), proxy.port, credentials)
            });
            assert_eq!(shown, expected, "{text}");
        }
    }
}
