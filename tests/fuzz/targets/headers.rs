//! Headers: what travels on is known and harmless, and nobody but a trusted proxy says where a client is.
#![no_main]

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use tidegate::identify::{self, Forwarding, Peer, is_trusted};
use tidegate::token::ClientAddr;
use tidegate::upstream::carried;

fuzz_target!(|bytes: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) {
            headers.append(name, value);
        }
    }
    let overridden = [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    match carried(&headers) {
        Err(_) => assert!(overridden.iter().any(|name| headers.contains_key(*name))),
        Ok(kept) => {
            let kept = kept.to_map();
            assert!(!overridden.iter().any(|name| headers.contains_key(*name)));
            for (name, value) in &kept {
                assert!(
                    ["accept", "accept-language", "user-agent", "x-dangerous"]
                        .contains(&name.as_str())
                );
                assert_eq!(kept.get_all(name).iter().count(), 1);
                assert_eq!(headers.get_all(name).iter().count(), 1);
                assert_eq!(headers.get(name), Some(value));
                assert!(!value.as_bytes().windows(4).any(|four| four == b"tdg_"));
            }
        }
    }

    let trusted: Vec<IpNet> = vec![
        "10.0.0.0/8".parse().expect("a net"),
        "2001:db8::/32".parse().expect("a net"),
    ];
    let (proxy, stranger) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([192, 0, 2, 7]));
    let from = |ip| Peer {
        addr: ClientAddr::Ip(ip),
        forwarding: Forwarding::Own,
        tls: false,
        subject: None,
    };
    let direct = identify::client(from(stranger), &headers, &trusted)
        .expect("a stranger's word is not asked for");
    assert_eq!(direct.addr, ClientAddr::Ip(stranger));
    let Ok(behind) = identify::client(from(proxy), &headers, &trusted) else {
        assert!(headers.contains_key("x-forwarded-for"));
        return;
    };
    let ClientAddr::Ip(told) = behind.addr else {
        panic!("an address");
    };
    let sent: Vec<_> = headers.get_all("x-forwarded-for").iter().collect();
    if sent.is_empty() {
        assert_eq!(told, proxy);
    }
    // What a client puts before what a proxy adds moves nothing.
    let mut longer = HeaderMap::new();
    longer.append("x-forwarded-for", HeaderValue::from_static("198.51.100.9"));
    for value in sent {
        longer.append("x-forwarded-for", value.clone());
    }
    let again = identify::client(from(proxy), &longer, &trusted).expect("as before");
    if !is_trusted(told, &trusted) {
        assert_eq!(again.addr, behind.addr);
    }
});
