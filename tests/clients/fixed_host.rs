//! A client that takes no base URL: it speaks to api.digitalocean.com, and where that leads is tidegate.
//!
//! On a machine of its own, a line of `/etc/hosts` does that. Here it is a proxy for HTTPS, which lexicon's HTTP library
//! takes from the environment; the client itself is as it comes, and TLS goes through to tidegate.

use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::certificates::Certificates;
use super::support::{Gate, REAL_TOKEN, StandInApi, World};
use super::{NOWHERE_ELSE, python};

const POLICY: &str = "
version: 1
roles:
  writes:
    allow: [{ scopes: ['domain:read', 'domain:update'] }]
  looks:
    allow: [{ scopes: ['domain:read'] }]
";

/// A proxy behind which api.digitalocean.com is tidegate, and nothing else is anything.
struct Road {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Road {
    async fn to(gate: &Gate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, gate) = (listener.local_addr().unwrap(), gate.address());
        let server = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, gate));
            }
        });
        Self { address, server }
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

/// Has lexicon `create` or `delete` a record with a sub-token; what it said, and whether it succeeded.
async fn lexicon(gate: &Gate, ca: &Certificates, token: &str, verb: &str) -> (bool, String) {
    let road = Road::to(gate).await;
    let mut command = python("lexicon_record.py");
    command
        .arg(verb)
        .env("TOKEN", token)
        .envs(NOWHERE_ELSE)
        .envs(["https_proxy", "HTTPS_PROXY"].map(|name| (name, format!("http://{}", road.address))))
        .env("REQUESTS_CA_BUNDLE", ca.authority())
        .env("TLDEXTRACT_CACHE_PATH", gate.files().path("tlds"))
        .stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
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
    let certificates = Certificates::make(&["api.digitalocean.com"]);
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
