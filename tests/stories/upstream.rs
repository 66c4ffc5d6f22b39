//! TLS to the API: whose certificate is trusted, HTTP/1.1 and HTTP/2 by ALPN, and which account's real token goes in.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Gate, REAL_TOKEN, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
";

/// An API over TLS that notes in which version of HTTP it was asked, and with what token.
struct SecureApi {
    url: String,
    certificate: String,
    heard: Arc<Mutex<Vec<(Version, String, String)>>>,
}

/// A listener with a certificate of its own: its address, the certificate, and what takes connections.
pub async fn secure_listener(alpn: &[&str]) -> (String, String, TlsAcceptor, TcpListener) {
    let made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])
            .unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let provider = rustls::crypto::ring::default_provider();
    let versions = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = versions
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    (url, made.cert.pem(), acceptor, listener)
}

impl SecureApi {
    async fn start(alpn: &[&str]) -> Self {
        let (url, certificate, acceptor, listener) = secure_listener(alpn).await;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = heard.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let log = log.clone();
                let answer = service_fn(move |request: Request<Incoming>| {
                    let header = |name| {
                        request
                            .headers()
                            .get(name)
                            .map(|value: &hyper::header::HeaderValue| {
                                value.to_str().unwrap().to_owned()
                            })
                            .unwrap_or_default()
                    };
                    log.lock().unwrap().push((
                        request.version(),
                        request.uri().path().to_owned(),
                        header("authorization"),
                    ));
                    async {
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{}"))))
                    }
                });
                tokio::spawn(
                    hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .into_owned(),
                );
            }
        });
        Self {
            url,
            certificate,
            heard,
        }
    }

    fn heard(&self) -> Vec<(Version, String, String)> {
        self.heard.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn the_api_chooses_the_version_of_http_and_gets_the_real_token() {
    let watch = StandInApi::start().await;
    for (alpn, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let api = SecureApi::start(alpn).await;
        let gate = Gate::builder_to(&api.url)
            .policy(POLICY)
            .file("ca.pem", &api.certificate)
            .set("upstream.ca_file", json!("ca.pem"))
            .start()
            .await;
        let token = gate.issue(&["ci", "--role", "all"]).await;
        assert_eq!(
            gate.get("/v2/account").token(&token).send().await.status,
            200,
            "{alpn:?}"
        );
        let posted = gate
            .post("/v2/tags", &json!({ "name": "x" }))
            .token(&token)
            .send()
            .await;
        assert_eq!(posted.status, 200);
        let bearer = format!("Bearer {REAL_TOKEN}");
        assert_eq!(
            api.heard(),
            [
                (version, "/v2/account".into(), bearer.clone()),
                (version, "/v2/tags".into(), bearer)
            ],
            "{alpn:?}"
        );
        gate.finish(&watch).await;
    }
}

/// An API over HTTP/2 that says of the first stream which changes something that it did not look at it, and answers all others.
#[derive(Clone, Copy, Debug)]
enum Unheard {
    /// The stream is refused.
    Refused,
    /// The connection says goodbye, with the stream before as the last that it looked at.
    Goodbye,
}

/// What the API says that it did not look at is sent again, once; nothing else that changes something is.
#[tokio::test]
async fn what_the_api_did_not_look_at_goes_out_once_more() {
    let watch = StandInApi::start().await;
    for unheard in [Unheard::Refused, Unheard::Goodbye] {
        let (url, certificate, acceptor, listener) = secure_listener(&["h2"]).await;
        let carried_out = Arc::new(AtomicUsize::new(0));
        let left = Arc::new(AtomicUsize::new(1));
        let (done, left_here) = (Arc::clone(&carried_out), Arc::clone(&left));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let (done, left) = (Arc::clone(&done), Arc::clone(&left_here));
                tokio::spawn(serve_one_less(stream, unheard, done, left));
            }
        });
        let gate = Gate::builder_to(&url)
            .policy(POLICY)
            .file("ca.pem", &certificate)
            .set("upstream.ca_file", json!("ca.pem"))
            .start()
            .await;
        let token = gate.issue(&["ci", "--role", "all"]).await;
        let read = gate.get("/v2/account").token(&token).send().await;
        assert_eq!(read.status, 200, "{unheard:?}");
        let tag = json!({ "name": "x" });
        let posted = gate.post("/v2/tags", &tag).token(&token).send().await;
        assert_eq!(posted.status, 200, "{unheard:?}: {}", posted.text());
        assert_eq!(left.load(Ordering::SeqCst), 0, "{unheard:?}");
        assert_eq!(carried_out.load(Ordering::SeqCst), 1, "{unheard:?}");
        gate.finish(&watch).await;
    }
}

/// HTTP/2 frame by frame, as no library says goodbye like this.
async fn serve_one_less(
    mut stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>,
    unheard: Unheard,
    carried_out: Arc<AtomicUsize>,
    left: Arc<AtomicUsize>,
) -> std::io::Result<()> {
    const POST: u8 = 0x83; // of HPACK's static table, as GET is 0x82 and `:status: 200` 0x88
    stream.read_exact(&mut [0; 24]).await?; // the preface
    stream.write_all(&frame(4, 0, 0, &[])).await?; // SETTINGS
    let mut last = 0;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut load = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut load).await?;
        let id = u32::from_be_bytes(id);
        if kind == 4 && flags == 0 {
            stream.write_all(&frame(4, 1, 0, &[])).await?; // SETTINGS are acknowledged
        }
        if kind != 1 {
            continue;
        }
        let changes = load.first() == Some(&POST);
        let refuses = changes && left.swap(0, Ordering::SeqCst) == 1;
        let answer = match (refuses, unheard) {
            (true, Unheard::Refused) => frame(3, 0, id, &7_u32.to_be_bytes()), // RST_STREAM
            (true, Unheard::Goodbye) => frame(7, 0, 0, &[u32::to_be_bytes(last), [0; 4]].concat()),
            (false, _) => [frame(1, 4, id, &[0x88]), frame(0, 1, id, b"{}")].concat(),
        };
        if !refuses {
            last = id;
            carried_out.fetch_add(usize::from(changes), Ordering::SeqCst);
        }
        stream.write_all(&answer).await?;
        stream.flush().await?;
    }
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
pub fn frame(kind: u8, flags: u8, id: u32, load: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(load.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &id.to_be_bytes(), load].concat()
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_no_token() {
    let watch = StandInApi::start().await;
    let (api, other) = (
        SecureApi::start(&["h2"]).await,
        SecureApi::start(&["h2"]).await,
    );
    let gate = Gate::builder_to(&api.url)
        .policy(POLICY)
        .file("ca.pem", &other.certificate)
        .set("upstream.ca_file", json!("ca.pem"))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let answer = gate
        .post("/v2/tags", &json!({ "name": "x" }))
        .token(&token)
        .send()
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (502, Some("upstream_tls")),
        "{}",
        answer.text()
    );
    assert!(answer.message().contains("nothing was sent"));
    assert_eq!(api.heard(), []);
    gate.finish(&watch).await;
}

#[tokio::test]
async fn a_role_names_the_account_whose_token_goes_in() {
    let api = StandInApi::start().await;
    let staging = format!("dop_v1_{}", "cafe".repeat(16));
    let policy = "version: 1\nroles:\n  live: { allow: [{ scopes: ['*'] }] }\n  staging: { account: staging, allow: [{ scopes: ['*'] }] }\n";
    let gate = Gate::builder(&api)
        .policy(policy)
        .set("accounts.staging", json!({ "token_env": "STAGING_TOKEN" }))
        .env("STAGING_TOKEN", &staging)
        .start()
        .await;
    let (live, other) = (
        gate.issue(&["a", "--role", "live"]).await,
        gate.issue(&["b", "--role", "staging"]).await,
    );
    gate.get("/v2/account").token(&live).send().await;
    gate.get("/v2/account").token(&other).send().await;
    let bearers: Vec<_> = api
        .heard()
        .iter()
        .map(|heard| heard.bearer().unwrap().to_owned())
        .collect();
    assert_eq!(bearers, [REAL_TOKEN.to_owned(), staging]);
    let both = gate
        .cli(&["token", "issue", "c", "--role", "live", "--role", "staging"])
        .await;
    assert!(
        String::from_utf8_lossy(&both.stderr).contains("its roles name two accounts"),
        "{both:?}"
    );
    gate.finish(&api).await;
}
