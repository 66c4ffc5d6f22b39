//! A name server for the domains of the stand-in API: what a client wrote through tidegate can be looked up here, as
//! DigitalOcean's own name servers would show it.
//!
//! It answers SOA and TXT over UDP (RFC 1035 §4), which is what ACME clients and authorities ask for, and to anything
//! else says that there is none.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::support::StandInApi;

/// A running name server; it ends when this is dropped.
pub struct NameServer {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl NameServer {
    /// Starts one on a free port of loopback.
    pub async fn start(api: &Arc<StandInApi>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let server = tokio::spawn(serve(socket, Arc::clone(api)));
        Self { address, server }
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(socket: UdpSocket, api: Arc<StandInApi>) {
    let mut buffer = [0; 4096];
    while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
        if let Some(reply) = answer(&buffer[..length], &api) {
            let _ = socket.send_to(&reply, client).await;
        }
    }
}

/// The answer to a query with one question, which all are.
fn answer(query: &[u8], api: &StandInApi) -> Option<Vec<u8>> {
    let (name, end) = name_at(query, HEADER)?;
    let question = query.get(HEADER..end + 4)?;
    let kind = u16::from_be_bytes([query[end], query[end + 1]]);
    let records = match kind {
        SOA => soa(api, &name),
        TXT => texts(api, &name),
        _ => Vec::new(),
    };
    let count = u16::try_from(records.len()).ok()?;
    let mut reply = query.get(..2)?.to_vec(); // the query's id
    reply.extend_from_slice(&[0x84 | (query[2] & 1), 0]); // an authoritative answer; recursion as it was desired
    reply.extend_from_slice(&[0, 1]);
    reply.extend_from_slice(&count.to_be_bytes());
    reply.extend_from_slice(&[0, 0, 0, 0]);
    reply.extend_from_slice(question);
    for data in &records {
        reply.extend_from_slice(&[0xC0, 12]); // the name of the question
        reply.extend_from_slice(&kind.to_be_bytes());
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 0]); // class IN, not to be kept
        reply.extend_from_slice(&u16::try_from(data.len()).ok()?.to_be_bytes());
        reply.extend_from_slice(data);
    }
    Some(reply)
}

/// The name that begins at `at`, in lower case and without a dot at its end, and where it ends.
fn name_at(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*message.get(at)?);
        let label = message.get(at + 1..at + 1 + length)?;
        at += 1 + length;
        if length == 0 {
            return message.get(at..at + 4).map(|_| (labels.join("."), at));
        }
        labels.push(String::from_utf8_lossy(label).to_lowercase());
    }
}

fn soa(api: &StandInApi, name: &str) -> Vec<Vec<u8>> {
    if api.world(|world| world.one("domains", name).is_none()) {
        return Vec::new();
    }
    let mut data = wire_name("ns1.digitalocean.com");
    data.extend(wire_name("hostmaster.example.com"));
    for number in [1_u32, 10800, 3600, 604_800, 30] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    vec![data]
}

fn texts(api: &StandInApi, name: &str) -> Vec<Vec<u8>> {
    let Some((zone, relative)) = zone_of(api, name) else {
        return Vec::new();
    };
    api.world(|world| {
        let records = world.all(&format!("domains/{zone}/records")).iter();
        records
            .filter(|record| record["type"] == "TXT" && record["name"] == relative.as_str())
            .map(text)
            .collect()
    })
}

/// The domain that `name` is in, and the name relative to it.
fn zone_of(api: &StandInApi, name: &str) -> Option<(String, String)> {
    let names = api.world(|world| world.names("domains"));
    names.into_iter().find_map(|zone| {
        let relative = name.strip_suffix(&zone)?.strip_suffix('.')?.to_owned();
        Some((zone, relative))
    })
}

/// A character string, which a challenge always fits into.
fn text(record: &Value) -> Vec<u8> {
    let text = record["data"].as_str().unwrap();
    let mut data = vec![u8::try_from(text.len()).unwrap()];
    data.extend_from_slice(text.as_bytes());
    data
}

fn wire_name(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(u8::try_from(label.len()).unwrap());
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

const HEADER: usize = 12;
const SOA: u16 = 6;
const TXT: u16 = 16;
