use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::subject::SubjectPattern;
use crate::units::{Rate, Span};

/// Where, when and how often a token may be used. What is absent does not limit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// From where; an empty list is nowhere.
    pub sources: Option<Vec<Source>>,
    /// With a client certificate for whom.
    pub client_cert: Option<SubjectPattern>,
    /// From when on.
    pub not_before: Option<Timestamp>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// How long it may go unused.
    pub idle: Option<Span>,
    /// How many requests in all.
    pub max_uses: Option<u64>,
    /// How many requests in a time.
    pub rate: Option<Rate>,
}

/// One place that a token may be used from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// Addresses.
    Net(IpNet),
    /// A unix socket.
    Unix,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix => f.write_str("unix"),
            Self::Net(net) => write!(f, "{net}"),
        }
    }
}

/// Why a text is no source.
#[derive(Debug, Eq, PartialEq)]
pub enum NoSource {
    /// It is no address, network or `unix`.
    Unreadable,
    /// Bits are set behind the prefix; this is the network that it is in.
    HostBits(IpNet),
}

impl fmt::Display for NoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str(
                "a source is an address, a network (`203.0.113.0/24`, `2001:db8::/32`) or `unix`",
            ),
            Self::HostBits(net) => write!(
                f,
                "the address has bits set behind its prefix; write `{net}` for the network"
            ),
        }
    }
}

impl std::error::Error for NoSource {}

impl FromStr for Source {
    type Err = NoSource;

    fn from_str(text: &str) -> Result<Self, NoSource> {
        if text == "unix" {
            return Ok(Self::Unix);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Net(IpNet::from(address.to_canonical())));
        }
        let net: IpNet = text.parse().map_err(|_| NoSource::Unreadable)?;
        if net.addr() != net.trunc().addr() {
            return Err(NoSource::HostBits(net.trunc()));
        }
        Ok(Self::Net(net))
    }
}
