//! Behind a load balancer: a PROXY header tells where a client is, and only who is trusted may send one.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::support::{Answer, Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
";

const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n";

/// Version 2 with this command and family.
fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, family][..],
        &length,
        rest,
    ]
    .concat()
}

async fn gate(api: &StandInApi, trusted: Value) -> Gate {
    let listen = json!([{ "address": "127.0.0.1:0", "proxy_protocol": true }]);
    Gate::builder(api)
        .policy(POLICY)
        .set("listen", listen)
        .set("trusted_proxies", trusted)
        .set("limits.header_timeout", json!("1s"))
        .start()
        .await
}

/// Asks over a connection that begins with `header`.
async fn ask(
    gate: &Gate,
    token: &str,
    header: &[u8],
    forwarded: Option<&str>,
) -> Result<Answer, String> {
    let mut stream = gate.connect().await;
    stream
        .write_all(header)
        .await
        .map_err(|error| error.to_string())?;
    let ask = gate.get("/v2/account").token(token);
    let ask = match forwarded {
        Some(value) => ask.header("x-forwarded-for", value),
        None => ask,
    };
    ask.open_over(stream).await?.rest().await
}

/// What comes on a connection that began with `bytes`, until the gate closes it.
async fn closed(gate: &Gate, bytes: &[u8]) -> Vec<u8> {
    let mut stream = gate.connect().await;
    let _ = stream.write_all(bytes).await;
    let mut said = Vec::new();
    let ended = timeout(Duration::from_secs(10), stream.read_to_end(&mut said)).await;
    match ended.expect("the gate closes") {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
    }
    said
}

#[tokio::test]
async fn the_told_address_is_where_a_request_comes_from() {
    let api = StandInApi::start().await;
    let gate = gate(&api, json!(["127.0.0.0/8"])).await;
    let office = gate
        .issue(&["office", "--role", "all", "--from", "203.0.113.0/24"])
        .await;
    let proxy = gate
        .issue(&["proxy", "--role", "all", "--from", "127.0.0.1"])
        .await;
    let four = [203, 0, 113, 7, 198, 51, 100, 1, 220, 4, 1, 187];
    let mapped = [&[0; 10][..], &[0xff; 2], &four[..4], &[0; 20]].concat();
    let added = [&four[..], &[0xea, 0, 3, 1, 2, 3]].concat();
    for header in [
        LINE.to_vec(),
        binary(0x21, 0x11, &four),
        binary(0x21, 0x21, &mapped),
        binary(0x21, 0x11, &added),
    ] {
        let answer = ask(&gate, &office, &header, None).await.unwrap();
        assert_eq!(answer.status, 200, "{header:?}");
        assert_eq!(gate.audit_of(&answer).await[0]["client_ip"], "203.0.113.7");
        let refused = ask(&gate, &proxy, &header, None).await.unwrap();
        assert_eq!(refused.reason(), Some("source_ip"), "{header:?}");
    }
    // A health check, and who is not said to be behind it, is the proxy itself.
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        binary(0x20, 0, &[]),
        binary(0x21, 0, &[]),
    ] {
        let answer = ask(&gate, &proxy, &header, None).await.unwrap();
        assert_eq!(answer.status, 200, "{header:?}");
        assert_eq!(gate.audit_of(&answer).await[0]["client_ip"], "127.0.0.1");
        let refused = ask(&gate, &office, &header, None).await.unwrap();
        assert_eq!(refused.reason(), Some("source_ip"), "{header:?}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn x_forwarded_for_is_believed_of_the_told_address_alone() {
    let api = StandInApi::start().await;
    let gate = gate(&api, json!(["127.0.0.0/8", "10.0.0.0/8"])).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let from_inner = b"PROXY TCP4 10.1.2.3 198.51.100.1 1 443\r\n";
    let (local, untold) = (binary(0x20, 0, &[]), binary(0x21, 0, &[]));
    let cases: [(&[u8], &str, &str); 5] = [
        (LINE, "192.0.2.9", "203.0.113.7"), // a client that says so itself
        (from_inner, "192.0.2.9", "192.0.2.9"), // a second trusted proxy behind the first
        (b"PROXY UNKNOWN\r\n", "192.0.2.9", "127.0.0.1"), // whoever is behind it may have said so
        (&local, "192.0.2.9", "127.0.0.1"),
        (&untold, "192.0.2.9", "127.0.0.1"),
    ];
    for (header, forwarded, expected) in cases {
        let answer = ask(&gate, &token, header, Some(forwarded)).await.unwrap();
        let record = gate.audit_of(&answer).await;
        assert_eq!(
            record[0]["client_ip"],
            expected,
            "{}",
            String::from_utf8_lossy(header)
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn without_a_whole_header_nothing_is_served() {
    const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let api = StandInApi::start().await;
    let gate = gate(&api, json!(["127.0.0.1"])).await;
    let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
    let cases: [&[u8]; 9] = [
        REQUEST,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 56324\r\nGET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 203.0.113.777 198.51.100.1 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        long.as_bytes(),
        &binary(0x21, 0x31, &[0; 216]),
        &binary(0x21, 0x12, &[0; 12]),
        &binary(0x21, 0x11, &[0; 11]),
        &binary(0x22, 0x11, &[0; 12]),
    ];
    for bytes in cases {
        let begun = Instant::now();
        assert_eq!(
            closed(&gate, bytes).await,
            b"",
            "{:?}",
            String::from_utf8_lossy(bytes)
        );
        assert!(
            begun.elapsed() < Duration::from_millis(900),
            "it waited: {bytes:?}"
        );
    }
    let begun = Instant::now();
    assert_eq!(closed(&gate, b"PROXY TCP4 203.0.1").await, b"");
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "a slow one has its time"
    );
    let logs = gate.log_until("a connection was closed").await.join("\n");
    let warned = logs
        .lines()
        .filter(|line| line.contains("WARN") && line.contains("was closed"));
    assert_eq!(warned.count(), 1, "once a minute: {logs}");
    assert_eq!(api.heard_count(), 0);
    assert!(gate.audit().is_empty());
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_header_may_come_in_pieces() {
    let api = StandInApi::start().await;
    let gate = gate(&api, json!(["127.0.0.1"])).await;
    let token = gate
        .issue(&["ci", "--role", "all", "--from", "203.0.113.7"])
        .await;
    let mut stream = gate.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in LINE {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let answer = gate
        .get("/v2/account")
        .token(&token)
        .open_over(stream)
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_is_heard_on_nothing() {
    let api = StandInApi::start().await;
    let gate = gate(&api, json!(["10.0.0.0/8"])).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert!(ask(&gate, &token, LINE, None).await.is_err());
    assert_eq!(closed(&gate, LINE).await, b"");
    let logs = gate.log_until("not in `trusted_proxies`").await.join("\n");
    assert!(logs.contains("peer=127.0.0.1"), "{logs}");
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_header_comes_before_tls() {
    let api = StandInApi::start().await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let tls = json!({ "certificate": "tls.crt", "private_key": "tls.key" });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .file("tls.crt", &made.cert.pem())
        .file("tls.key", &made.signing_key.serialize_pem())
        .set(
            "listen",
            json!([{ "address": "127.0.0.1:0", "tls": tls, "proxy_protocol": true }]),
        )
        .set("trusted_proxies", json!(["127.0.0.1"]))
        .start()
        .await;
    let token = gate
        .issue(&["ci", "--role", "all", "--from", "203.0.113.7"])
        .await;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let shake = async |mut stream: TcpStream, header: &[u8]| {
        stream.write_all(header).await?;
        connector
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await
    };
    let stream = shake(gate.connect().await, LINE).await.unwrap();
    let answer = gate
        .get("/v2/account")
        .token(&token)
        .open_over(stream)
        .await
        .unwrap()
        .rest()
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(gate.audit_of(&answer).await[0]["client_ip"], "203.0.113.7");
    assert!(
        shake(gate.connect().await, b"").await.is_err(),
        "TLS without a header"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn check_says_where_nobody_could_connect() {
    let api = StandInApi::start().await;
    let files = Gate::builder(&api)
        .policy(POLICY)
        .config_text("listen:\n  - address: 127.0.0.1:0\n    proxy_protocol: true\nupstream: { url: \"{upstream}\" }\naccounts: { default: { token_file: do-token } }\npolicy: policy.yaml\nstate: tidegate.db\naudit: stdout\n")
        .files();
    let output = files.cli(&["check"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        said.contains(
            "tidegate.yaml:3:21: error: a PROXY header is taken from `trusted_proxies` only"
        ),
        "{said}"
    );
}
