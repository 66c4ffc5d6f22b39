//! PROXY headers: a whole one is no byte longer than it says, and every beginning of it asks for no more than is missing.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use tidegate::server::proxy::{ProxiedPeer, Reading, read};

fuzz_target!(|bytes: &[u8]| {
    match read(bytes) {
        Err(_) => {}
        Ok(Reading::More(count)) => assert!((1..=4096).contains(&count), "{count}"),
        Ok(Reading::Whole(peer)) => {
            for cut in 0..bytes.len() {
                match read(&bytes[..cut]) {
                    Ok(Reading::More(count)) => assert!(count <= bytes.len() - cut, "cut at {cut}"),
                    other => panic!("cut at {cut}: {other:?}"),
                }
            }
            let longer = [bytes, b"G"].concat();
            assert!(read(&longer).is_err(), "what follows is none of it");
            if let ProxiedPeer::Client(address) = peer {
                let line = match address {
                    IpAddr::V4(address) => format!("PROXY TCP4 {address} 192.0.2.1 1 443\r\n"),
                    IpAddr::V6(address) => format!("PROXY TCP6 {address} 2001:db8::1 1 443\r\n"),
                };
                assert_eq!(read(line.as_bytes()), Ok(Reading::Whole(peer)));
            }
        }
    }
});
