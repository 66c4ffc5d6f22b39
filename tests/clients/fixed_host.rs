//! Clients that take no base URL: each speaks to api.digitalocean.com, and where that leads is tidegate.
//!
//! On a machine of its own, a line of `/etc/hosts` does that. Here it is a proxy for HTTPS, which their HTTP libraries
//! take from the environment; the clients themselves are as they come, and TLS goes through to tidegate.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::certificates::Certificates;
use super::narrowed;
use super::support::standin::Heard;
use super::support::{Gate, REAL_TOKEN, StandInApi, World};
use super::{NOWHERE_ELSE, python, said_by};

const POLICY: &str = "
version: 1
roles:
  writes:
    allow: [{ scopes: ['domain:read', 'domain:update'] }]
  looks:
    allow: [{ scopes: ['domain:read'] }]
";

/// A proxy behind which api.digitalocean.com is tidegate, and nothing else is anything.
pub struct Road {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Road {
    /// To a listener of tidegate's that speaks TLS.
    pub async fn to(gate: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, gate));
            }
        });
        Self { address, server }
    }

    /// What leads a client onto it.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        ["https_proxy", "HTTPS_PROXY"].map(|name| (name, format!("http://{}", self.address)))
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn carry(mut client: TcpStream, gate: SocketAddr) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = client.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    if !head.starts_with(b"CONNECT api.digitalocean.com:443 ") {
        let _ = client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
        return;
    }
    let mut gate = TcpStream::connect(gate).await.unwrap();
    let _ = client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let _ = copy_bidirectional(&mut client, &mut gate).await;
}

/// Runs a client with a sub-token where api.digitalocean.com is tidegate; what it said, and whether it succeeded.
pub async fn led_to(
    gate: &Gate,
    ca: &Certificates,
    token: &str,
    mut command: Command,
) -> (bool, String) {
    let road = Road::to(gate.address()).await;
    command
        .env("TOKEN", token)
        .envs(NOWHERE_ELSE)
        .envs(road.environment())
        .envs(["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"].map(|name| (name, ca.authority())))
        .env("TLDEXTRACT_CACHE_PATH", gate.files().path("tlds"))
        .stdin(Stdio::null());
    said_by(command).await
}

/// Has lexicon `create` or `delete` a record.
async fn lexicon(gate: &Gate, ca: &Certificates, token: &str, verb: &str) -> (bool, String) {
    let mut command = python("lexicon_record.py");
    command.arg(verb);
    led_to(gate, ca, token, command).await
}

#[tokio::test]
async fn lexicon_writes_and_finds_its_records_at_a_host_that_it_takes_for_the_api() {
    let world = (0..40).fold(World::default(), |world, id| {
        world.with_record(
            "example.com",
            1000 + id,
            "A",
            &format!("host-{id}"),
            "192.0.2.1",
        )
    });
    let api = StandInApi::start_with(world).await;
    let certificates = Certificates::make(&[HOST]);
    let tls = json!({ "certificate": certificates.server(), "private_key": certificates.key() });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("listen", json!([{ "address": "127.0.0.1:0", "tls": tls }]))
        .start()
        .await;
    let writes = gate.issue(&["writes", "--role", "writes"]).await;
    let names = || api.world(|world| world.names("domains/example.com/records"));
    let is_there = || names().iter().any(|name| name == "_acme-challenge.new");

    let (created, said) = lexicon(&gate, &certificates, &writes, "create").await;
    assert!(created && is_there(), "{said}");
    let (deleted, said) = lexicon(&gate, &certificates, &writes, "delete").await;
    assert!(deleted && !is_there(), "it is on the last page: {said}");
    assert!(
        api.heard()
            .iter()
            .all(|heard| heard.bearer() == Some(REAL_TOKEN))
    );

    let looks = gate.issue(&["looks", "--role", "looks"]).await;
    let (created, said) = lexicon(&gate, &certificates, &looks, "create").await;
    assert!(!created && !is_there(), "{said}");
    assert!(
        said.contains("403"),
        "the status is all that lexicon shows: {said}"
    );
    gate.finish(&api).await;
}

/// S8: a library for many clouds has the Droplets that carry its tag, page by page, and of the others none.
#[tokio::test]
async fn s8_libcloud_has_the_droplets_of_its_tag() {
    let api = StandInApi::start().await;
    let (gate, certificates) = narrowed::gate(&api, HOST, "own-droplets.yaml").await;
    let token = gate.issue(&["--role", "client", "--var", "client=a"]).await;
    let command = python("libcloud_droplets.py");
    let (succeeded, said) = led_to(&gate, &certificates, &token, command).await;
    assert!(succeeded, "{said}");
    let writes: Vec<_> = api.writes().iter().map(Heard::line).collect();
    assert_eq!(writes.len(), 3, "made, rebooted, destroyed: {writes:?}");
    let left = api.world(|world| world.names("droplets"));
    assert_eq!(left.len(), 6, "and nothing else gone: {left:?}");
    gate.finish(&api).await;
}

/// S7: who keeps a zone as a file, and takes away what is not in it, sees and keeps the challenges alone.
#[tokio::test]
async fn octodns_keeps_the_challenges_of_one_zone_and_leaves_the_rest_of_it() {
    let api = StandInApi::start().await;
    let (gate, certificates) = narrowed::gate(&api, HOST, "acme-dns.yaml").await;
    let options = ["--role", "acme-dns", "--var", "domain=example.com"];
    let token = gate.issue(&options).await;
    let records = || api.world(|world| world.names("domains/example.com/records"));
    let others = |names: Vec<String>| -> Vec<String> {
        let mut names = names;
        names.retain(|name| !name.starts_with("_acme-challenge"));
        names
    };
    let before = others(records());
    let zones = gate.files().path("zones");
    let keep = async |zone: &str| {
        let mut command = python("octodns_zone.py");
        command.arg(&zones).arg(zone);
        led_to(&gate, &certificates, &token, command).await
    };

    let challenge = "{_acme-challenge.new: {type: TXT, value: from-octodns}}";
    let (kept, said) = keep(challenge).await;
    assert!(kept, "{said}");
    let mut after = records();
    after.retain(|name| name.starts_with("_acme-challenge"));
    assert_eq!(
        after,
        ["_acme-challenge.new"],
        "the old ones are not in the file"
    );
    assert_eq!(others(records()), before);

    api.clear();
    let (kept, said) = keep("{www: {type: TXT, value: mine}}").await;
    assert!(!kept && said.contains("403"), "{said}");
    assert_eq!(others(records()), before);
    gate.finish(&api).await;
}

/// Where such clients believe the API to be.
pub const HOST: &str = "api.digitalocean.com";
