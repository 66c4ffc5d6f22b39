//! The header that a proxy sends before what a client says, which tells where that client is: PROXY protocol, versions 1 and
//! 2 (HAProxy's `proxy-protocol.txt`).
//!
//! Reading is pure: bytes in; the address, a refusal, or how many bytes more are surely the header's, so that never a byte
//! of what follows is taken. The crate `ppp` was looked at: it takes a version 1 header that came in two pieces for a wrong
//! one, depending on where it is cut, and ports with a `+`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What the bytes so far are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// The beginning of a header, which has at least so many bytes more.
    More(usize),
    /// A whole header.
    Whole(ProxiedPeer),
}

/// What a header tells.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProxiedPeer {
    /// The client's address.
    Client(IpAddr),
    /// Nothing: it is the proxy that speaks, or it does not know for whom. Its own address counts.
    ProxyItself,
}

/// Why bytes are no header that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoHeader {
    /// They begin like none.
    Missing,
    /// The line of version 1 has no end within 107 bytes, or version 2 is longer than 2 KiB.
    TooLong,
    /// The line of version 1 is not as it has to be.
    Line,
    /// A version or command that there is not.
    Version,
    /// It is for something else than TCP over IPv4 or IPv6.
    Family,
    /// Its length has no room for what it must hold.
    Length,
    /// It carries a checksum that is another than its own.
    Checksum,
}

impl fmt::Display for NoHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is no PROXY header where this listener requires one",
            Self::TooLong => "the PROXY header is too long",
            Self::Line => "the line of the PROXY header is malformed",
            Self::Version => "the PROXY header has a version or command that there is not",
            Self::Family => "the PROXY header is for something else than TCP",
            Self::Length => "the length of the PROXY header does not fit what it holds",
            Self::Checksum => "the checksum of the PROXY header is wrong",
        })
    }
}

/// Why no header came.
#[derive(Debug)]
pub enum ProxyHeaderError {
    /// The connection ended or broke.
    Connection(std::io::Error),
    /// Something else came.
    Header(NoHeader),
}

impl fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(error) => {
                write!(f, "the connection ended within the PROXY header: {error}")
            }
            Self::Header(why) => write!(f, "{why}"),
        }
    }
}

/// Takes the header from a stream, and not a byte more.
///
/// # Errors
/// `ProxyHeaderError` if another thing came, or less.
pub async fn take(stream: &mut (impl AsyncRead + Unpin)) -> Result<ProxiedPeer, ProxyHeaderError> {
    let mut bytes = Vec::with_capacity(LONGEST_LINE);
    loop {
        match read(&bytes).map_err(ProxyHeaderError::Header)? {
            Reading::Whole(peer) => return Ok(peer),
            Reading::More(count) => {
                let (had, wanted) = (bytes.len(), count as u64);
                let came = (&mut *stream).take(wanted).read_buf(&mut bytes).await;
                came.map_err(ProxyHeaderError::Connection)?;
                if bytes.len() == had {
                    return Err(ProxyHeaderError::Connection(
                        std::io::ErrorKind::UnexpectedEof.into(),
                    ));
                }
            }
        }
    }
}

/// What the bytes are, from the first of a connection on.
///
/// # Errors
/// `NoHeader` as soon as they can't become one.
pub fn read(bytes: &[u8]) -> Result<Reading, NoHeader> {
    if bytes.is_empty() {
        return Ok(Reading::More(SHORTEST_LINE)); // of either version
    }
    if begins(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if begins(bytes, WORD) {
        return line(bytes);
    }
    Err(NoHeader::Missing)
}

/// Whether bytes begin with `start`, as far as they go.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes
        .iter()
        .zip(start)
        .all(|(byte, expected)| byte == expected)
}

/// Version 1: `PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n`.
fn line(bytes: &[u8]) -> Result<Reading, NoHeader> {
    let Some(end) = bytes.iter().position(|byte| !matches!(byte, b' '..=b'~')) else {
        return unfinished(bytes.len(), b"\r\n".len());
    };
    match bytes.get(end..) {
        Some(b"\r") => unfinished(bytes.len(), b"\n".len()),
        Some(b"\r\n") if bytes.len() <= LONGEST_LINE => {
            let text = bytes.get(..end).and_then(|line| str::from_utf8(line).ok());
            text.and_then(peer_by_line)
                .map(Reading::Whole)
                .ok_or(NoHeader::Line)
        }
        Some(b"\r\n") => Err(NoHeader::TooLong),
        Some(_) | None => Err(NoHeader::Line),
    }
}

fn unfinished(length: usize, end: usize) -> Result<Reading, NoHeader> {
    if length + end > LONGEST_LINE {
        return Err(NoHeader::TooLong);
    }
    Ok(Reading::More(end.max(SHORTEST_LINE.saturating_sub(length))))
}

fn peer_by_line(line: &str) -> Option<ProxiedPeer> {
    let parts: Vec<_> = line.split(' ').collect();
    match parts.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Some(ProxiedPeer::ProxyItself), // the rest is to be ignored (2.1)
        ["PROXY", "TCP4", source, target, from, to] => {
            let source: Ipv4Addr = source.parse().ok()?;
            (target.parse::<Ipv4Addr>().is_ok() && is_port(from) && is_port(to))
                .then(|| ProxiedPeer::Client(source.into()))
        }
        ["PROXY", "TCP6", source, target, from, to] => {
            let source: Ipv6Addr = source.parse().ok()?;
            (target.parse::<Ipv6Addr>().is_ok() && is_port(from) && is_port(to))
                .then(|| client(source.into()))
        }
        _ => None,
    }
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>()
        .is_ok_and(|port| port.to_string() == text)
}

/// An IPv4 address in the clothes of IPv6 is that IPv4 address, as everywhere.
fn client(address: IpAddr) -> ProxiedPeer {
    ProxiedPeer::Client(address.to_canonical())
}

/// Version 2: signature, version and command, family, length, addresses, and more that nothing here goes by.
fn binary(bytes: &[u8]) -> Result<Reading, NoHeader> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(Reading::More(HEAD - bytes.len()));
    };
    let [.., command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST_REST {
        return Err(NoHeader::TooLong);
    }
    let addresses = match (command, family) {
        (LOCAL, _) | (PROXY, UNSPECIFIED) => 0,
        (PROXY, TCP4) => 12,
        (PROXY, TCP6) => 36,
        (PROXY, _) => return Err(NoHeader::Family),
        (_, _) => return Err(NoHeader::Version),
    };
    if length < addresses {
        return Err(NoHeader::Length);
    }
    if rest.len() < length {
        return Ok(Reading::More(length - rest.len()));
    }
    let (Some(rest), None) = (rest.get(..length), rest.get(length)) else {
        return Err(NoHeader::Length);
    };
    if command == LOCAL {
        return Ok(Reading::Whole(ProxiedPeer::ProxyItself)); // what it carries is to be skipped (2.2)
    }
    additions(bytes, HEAD + addresses)?;
    Ok(Reading::Whole(peer_by_addresses(family, rest)))
}

fn peer_by_addresses(family: u8, rest: &[u8]) -> ProxiedPeer {
    let source = match family {
        TCP4 => rest.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        TCP6 => rest.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    };
    source.map_or(ProxiedPeer::ProxyItself, client)
}

/// Goes through what is added to the addresses (2.2): it must end where the header does, and a checksum must be right.
fn additions(header: &[u8], from: usize) -> Result<(), NoHeader> {
    let mut at = from;
    while at < header.len() {
        let Some([kind, high, low]) = header.get(at..).and_then(<[u8]>::first_chunk) else {
            return Err(NoHeader::Length);
        };
        let value = at + 3..at + 3 + usize::from(u16::from_be_bytes([*high, *low]));
        let Some(bytes) = header.get(value.clone()) else {
            return Err(NoHeader::Length);
        };
        if *kind == CHECKSUM {
            let zeroed = header
                .iter()
                .enumerate()
                .map(|(index, byte)| if value.contains(&index) { 0 } else { *byte });
            if bytes != crc32c(zeroed).to_be_bytes() {
                return Err(NoHeader::Checksum);
            }
        }
        at = value.end;
    }
    Ok(())
}

/// CRC-32C (Castagnoli), bit by bit: it is for a hundred bytes of a connection.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let register = bytes.fold(u32::MAX, |register, byte| {
        (0..8).fold(register ^ u32::from(byte), |register, _| {
            let reduced = if register & 1 == 1 { POLYNOMIAL } else { 0 };
            (register >> 1) ^ reduced
        })
    });
    !register
}

const WORD: &[u8] = b"PROXY ";
const SHORTEST_LINE: usize = b"PROXY UNKNOWN\r\n".len();
/// With its end: the standard's own count.
const LONGEST_LINE: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const HEAD: usize = 16;
/// More than addresses, names, and the identifiers that load balancers add.
const LONGEST_REST: usize = 2 << 10;
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const CHECKSUM: u8 = 0x03;
const POLYNOMIAL: u32 = 0x82f6_3b78;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn version_1(source: IpAddr, from: u16) -> Vec<u8> {
        match source {
            IpAddr::V4(source) => format!("PROXY TCP4 {source} 198.51.100.1 {from} 443\r\n"),
            IpAddr::V6(source) => format!("PROXY TCP6 {source} 2001:db8::1 {from} 443\r\n"),
        }
        .into_bytes()
    }

    fn addresses(source: IpAddr, from: u16) -> (u8, Vec<u8>) {
        let (family, source, target) = match source {
            IpAddr::V4(source) => (TCP4, source.octets().to_vec(), vec![198, 51, 100, 1]),
            IpAddr::V6(source) => (TCP6, source.octets().to_vec(), vec![0x20; 16]),
        };
        (
            family,
            [source, target, from.to_be_bytes().to_vec(), vec![1, 187]].concat(),
        )
    }

    /// Addresses, something added, and a checksum over the whole.
    fn with_checksum(source: IpAddr, wrong_by: u32) -> Vec<u8> {
        let (family, rest) = addresses(source, 4000);
        let mut header = version_2(
            PROXY,
            family,
            &[&rest[..], &[4, 0, 2, 9, 9], &[CHECKSUM, 0, 4, 0, 0, 0, 0]].concat(),
        );
        let sum = crc32c(header.iter().copied()).wrapping_add(wrong_by);
        let end = header.len();
        header[end - 4..].copy_from_slice(&sum.to_be_bytes());
        header
    }

    #[test]
    fn a_line_tells_an_address_or_is_none() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(91));
        let longest = long.replacen('x', "", 0);
        assert_eq!(longest.len(), 107);
        let longer = long.replacen('x', "xx", 1);
        let cases: [(&str, Result<ProxiedPeer, NoHeader>); 22] = [
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
                Ok(client([192, 0, 2, 7].into())),
            ),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 0 65535\r\n",
                Ok(client([192, 0, 2, 7].into())),
            ),
            (
                "PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n",
                Ok(client("2001:db8::7".parse().unwrap())),
            ),
            (
                "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 443\r\n",
                Ok(client([192, 0, 2, 7].into())),
            ),
            ("PROXY UNKNOWN\r\n", Ok(ProxiedPeer::ProxyItself)),
            (
                "PROXY UNKNOWN ffff:f...f:ffff any thing\r\n",
                Ok(ProxiedPeer::ProxyItself),
            ),
            (&longest, Ok(ProxiedPeer::ProxyItself)),
            (&longer, Err(NoHeader::TooLong)),
            ("PROXY UNKNOWNS\r\n", Err(NoHeader::Line)),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
                Err(NoHeader::Line),
            ), // a port is missing
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
                Err(NoHeader::Line),
            ),
            (
                "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
                Err(NoHeader::Line),
            ), // two spaces
            (
                "PROXY TCP4 192.0.2.07 198.51.100.1 56324 443\r\n",
                Err(NoHeader::Line),
            ),
            (
                "PROXY TCP4 2001:db8::7 198.51.100.1 56324 443\r\n",
                Err(NoHeader::Line),
            ), // of another family
            (
                "PROXY TCP6 192.0.2.7 2001:db8::1 56324 443\r\n",
                Err(NoHeader::Line),
            ),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
                Err(NoHeader::Line),
            ),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 01 443\r\n",
                Err(NoHeader::Line),
            ),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
                Err(NoHeader::Line),
            ),
            (
                "PROXY TCP5 192.0.2.7 198.51.100.1 1 443\r\n",
                Err(NoHeader::Line),
            ),
            (
                "PROXY TCP4 192.0.2.7 198.51.100.1 1 443\n",
                Err(NoHeader::Line),
            ), // the end is two bytes
            (
                "proxy tcp4 192.0.2.7 198.51.100.1 1 443\r\n",
                Err(NoHeader::Missing),
            ),
            ("GET / HTTP/1.1\r\n", Err(NoHeader::Missing)),
        ];
        for (text, expected) in cases {
            assert_eq!(
                read(text.as_bytes()),
                expected.map(Reading::Whole),
                "line {text:?}"
            );
        }
    }

    #[test]
    fn a_binary_header_tells_an_address_or_is_none() {
        let v4 = addresses([192, 0, 2, 7].into(), 4000).1;
        let v6 = addresses("::ffff:192.0.2.7".parse().unwrap(), 4000).1;
        let peer = Ok(client([192, 0, 2, 7].into()));
        let sum = |by| with_checksum([192, 0, 2, 7].into(), by);
        let cases = [
            (version_2(PROXY, TCP4, &v4), peer),
            (version_2(PROXY, TCP6, &v6), peer),
            (
                version_2(PROXY, UNSPECIFIED, &[]),
                Ok(ProxiedPeer::ProxyItself),
            ),
            (
                version_2(LOCAL, UNSPECIFIED, &[]),
                Ok(ProxiedPeer::ProxyItself),
            ),
            (version_2(LOCAL, TCP4, &v4), Ok(ProxiedPeer::ProxyItself)), // it may carry addresses; they count for nothing
            (
                version_2(LOCAL, 0x77, &[1, 2, 3]),
                Ok(ProxiedPeer::ProxyItself),
            ),
            (
                version_2(PROXY, TCP4, &[&v4[..], &[4, 0, 1, 9]].concat()),
                peer,
            ),
            (
                version_2(PROXY, TCP4, &[&v4[..], &[4, 0, 2, 9]].concat()),
                Err(NoHeader::Length),
            ),
            (
                version_2(PROXY, TCP4, &[&v4[..], &[4]].concat()),
                Err(NoHeader::Length),
            ),
            (version_2(PROXY, TCP4, &v4[..11]), Err(NoHeader::Length)),
            (version_2(PROXY, TCP6, &v4), Err(NoHeader::Length)),
            (version_2(PROXY, 0x31, &[0; 216]), Err(NoHeader::Family)), // a unix socket
            (version_2(PROXY, 0x12, &v4), Err(NoHeader::Family)),       // UDP
            (version_2(PROXY, 0x13, &v4), Err(NoHeader::Family)),
            (version_2(0x22, TCP4, &v4), Err(NoHeader::Version)),
            (version_2(0x11, TCP4, &v4), Err(NoHeader::Version)),
            (
                version_2(PROXY, TCP4, &vec![0; 2049]),
                Err(NoHeader::TooLong),
            ),
            (sum(0), peer),
            (sum(1), Err(NoHeader::Checksum)),
        ];
        for (bytes, expected) in cases {
            assert_eq!(
                read(&bytes),
                expected.map(Reading::Whole),
                "header {bytes:?}"
            );
        }
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789".iter().copied()), 0xe306_9283); // the check value of CRC-32C
    }

    /// Every beginning of a header asks for more of it and never for what follows.
    #[track_caller]
    fn every_cut_asks_for_more(header: &[u8]) {
        for cut in 0..header.len() {
            match read(&header[..cut]) {
                Ok(Reading::More(count)) => assert!(
                    (1..=header.len() - cut).contains(&count),
                    "cut at {cut}: {count}"
                ),
                other => panic!("cut at {cut}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_header_that_tells_nothing_may_come_in_pieces_too() {
        every_cut_asks_for_more(b"PROXY UNKNOWN\r\n");
        every_cut_asks_for_more(b"PROXY UNKNOWN some thing\r\n");
        every_cut_asks_for_more(&version_2(LOCAL, UNSPECIFIED, &[]));
        every_cut_asks_for_more(&version_2(PROXY, UNSPECIFIED, &[4, 0, 1, 9]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), start in 0..4_usize) {
            let starts: [&[u8]; 4] = [b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE];
            let _ = read(&[starts[start], &bytes].concat());
        }

        #[test]
        fn what_is_told_is_what_was_written(source: IpAddr, port: u16) {
            let (family, rest) = addresses(source, port);
            for header in [version_1(source, port), version_2(PROXY, family, &rest), with_checksum(source, 0)] {
                prop_assert_eq!(read(&header), Ok(Reading::Whole(client(source))));
                every_cut_asks_for_more(&header);
            }
        }
    }
}
