//! What is asked of a daemon in a long run, each kind in a lane of its own.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hyper::Method;
use hyper::body::Bytes;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tidegate::policy::Vars;
use tidegate::state::{self, Issued};
use tidegate::token::Limits;
use tidegate::token::SubToken;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;

use crate::record::number;
use crate::support::gate::{Kept, Signal};
use crate::support::standin::gzip;
use crate::support::{Answer, Fault, Gate, Reply, StandInApi};

/// The daemon, the API behind it, and what clients were told.
pub struct House {
    pub api: StandInApi,
    pub gate: Gate,
    pub stop: AtomicBool,
    pub told: Mutex<Told>,
    tls: TlsConnector,
    all: String,
    mine: String,
}

/// What clients were told.
#[derive(Default)]
pub struct Told {
    /// The requests that were answered, by what tidegate calls them.
    pub answered: Vec<u128>,
    /// How many clients left before they were answered.
    pub left: u64,
    by_lane: BTreeMap<(&'static str, u16), u64>,
}

impl Told {
    /// How many answers there were, by lane and status.
    pub fn by_lane(&self) -> Vec<(String, u64)> {
        let lanes = self.by_lane.iter();
        lanes
            .map(|((lane, status), count)| (format!("{lane}: {status}"), *count))
            .collect()
    }
}

/// Two policies that give the same, so that no answer depends on which is in force.
fn policy(description: &str) -> String {
    format!(
        "
version: 1
roles:
  all:
    description: {description}
    allow: [{{ scopes: ['*'] }}]
  mine:
    allow: [{{ scopes: ['droplet:*', 'tag:read'], only: {{ droplet: {{ name: 'a-*' }} }} }}]
    deny: [{{ scopes: [droplet:delete], only: {{ droplet: {{ name: '*-keep' }} }} }}]
"
    )
}

impl House {
    pub async fn open() -> Self {
        let api = StandInApi::start().await;
        faults(&api);
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let tls = json!({ "certificate": "tls.crt", "private_key": "tls.key" });
        let gate = Gate::builder(&api)
            .policy(&policy("first"))
            .file("tls.crt", &made.cert.pem())
            .file("tls.key", &made.signing_key.serialize_pem())
            .set(
                "listen",
                json!([{ "address": "127.0.0.1:0" }, { "address": "127.0.0.1:0", "tls": tls }]),
            )
            .set("upstream.timeout", json!("5s"))
            .set(
                "limits",
                json!({ "header_timeout": "10s", "idle_timeout": "30s" }),
            )
            .start()
            .await;
        let all = gate.issue(&["all", "--role", "all"]).await;
        let mine = gate.issue(&["mine", "--role", "mine"]).await;
        Self {
            api,
            gate,
            stop: AtomicBool::new(false),
            told: Mutex::default(),
            tls: trusting(&made.cert.pem()),
            all,
            mine,
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Notes an answer; a lane that gets another status than it may is broken.
    fn note(&self, lane: &'static str, answer: &Answer, may: &[u16]) {
        let status = answer.status.as_u16();
        assert!(
            may.contains(&status),
            "{lane}: {status} {:?} {}",
            answer.reason(),
            answer.text()
        );
        let id = answer.header("tidegate-request-id").expect("a request id");
        let mut told = self.told.lock().unwrap();
        told.answered.push(number(id));
        *told.by_lane.entry((lane, status)).or_default() += 1;
    }

    async fn ask(&self, kept: &mut Kept, token: &str, method: Method, target: &str) -> Answer {
        let host = self.gate.address().to_string();
        let ask = self.gate.request(method.clone(), target).token(token);
        let ask = ask.header("host", &host);
        let ask = match (method, target.rsplit('/').next()) {
            (Method::POST, Some("actions")) => ask.json(&json!({ "type": "reboot" })),
            (Method::POST, _) => ask.json(&json!({ "name": "x" })),
            _ => ask,
        };
        ask.try_send_over(kept).await.expect("an answer")
    }
}

/// Ways to fail, by the query that asks for them.
fn faults(api: &StandInApi) {
    let cut = gzip(b"{}")[..15].to_vec();
    let squeezed = Reply::bytes(200, "application/json", cut).with("content-encoding", "gzip");
    for (number, fault) in [
        Fault::CloseBeforeHead,
        Fault::CloseMidBody,
        Fault::garbage(),
        Fault::Reset(Bytes::from_static(b"HTTP/1.1 200 OK\r\n")),
        Fault::Reply(squeezed),
        Fault::Endless(
            Bytes::new(),
            Bytes::from_static(b"HTTP/1.1 102 Processing\r\n\r\n"),
        ),
        Fault::Huge { mib: 2 },
    ]
    .into_iter()
    .enumerate()
    {
        api.fault_all(&format!("/v2/account?fault={number}"), fault.clone());
        api.fault_all(&format!("/v2/tags?fault={number}"), fault);
    }
}

const FAULTS: usize = 7;

fn trusting(pem: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
        .unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// All lanes, or those that are named.
pub fn all(house: &Arc<House>, named: &[String]) -> JoinSet<()> {
    let mut lanes = JoinSet::new();
    let mut lane = |name: &str, lane: Lane| {
        if named.is_empty() || named.iter().any(|known| known == name) {
            lanes.spawn(lane);
        }
    };
    let house = || Arc::clone(house);
    lane("reads", Box::pin(reads(house())));
    lane("reads", Box::pin(reads(house())));
    lane("secure", Box::pin(secure(house())));
    lane("lists", Box::pin(lists(house())));
    lane("writes", Box::pin(writes(house())));
    lane("narrowed", Box::pin(narrowed(house())));
    lane("strangers", Box::pin(strangers(house())));
    lane("leavers", Box::pin(leavers(house())));
    lane("failing", Box::pin(failing(house())));
    lane("counted", Box::pin(counted(house())));
    lane("reloads", Box::pin(reloads(house())));
    lanes
}

type Lane = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Between two requests of a lane.
const PACE: Duration = Duration::from_millis(4);

async fn reads(house: Arc<House>) {
    let mut kept = house.gate.keep().await;
    while house.goes_on() {
        for (target, token, may) in [
            ("/v2/account", &house.all, 200),
            ("/v2/customers/my/billing_history", &house.mine, 403),
            ("/v2/droplets/12", &house.mine, 200),
            ("/v2/droplets/22", &house.mine, 404),
            ("/v2/droplets/../22", &house.all, 400),
        ] {
            let answer = house.ask(&mut kept, token, Method::GET, target).await;
            house.note("reads", &answer, &[may]);
            sleep(PACE).await;
        }
    }
}

/// A connection of TLS for each ten requests.
async fn secure(house: Arc<House>) {
    let address = house.gate.addresses()[1].clone();
    while house.goes_on() {
        let stream = TcpStream::connect(&address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = house.tls.connect(name, stream).await.expect("a handshake");
        let mut kept = Kept::over(stream).await.unwrap();
        for _ in 0..10 {
            let answer = house
                .ask(&mut kept, &house.all, Method::GET, "/v2/account")
                .await;
            house.note("over TLS", &answer, &[200]);
            sleep(PACE).await;
        }
    }
}

async fn lists(house: Arc<House>) {
    let mut kept = house.gate.keep().await;
    while house.goes_on() {
        for page in 1..4 {
            let target = format!("/v2/droplets?page={page}&per_page=2");
            let answer = house
                .ask(&mut kept, &house.mine, Method::GET, &target)
                .await;
            house.note("lists", &answer, &[200]);
            sleep(PACE).await;
        }
    }
}

async fn writes(house: Arc<House>) {
    let mut kept = house.gate.keep().await;
    while house.goes_on() {
        let made = house
            .ask(&mut kept, &house.all, Method::POST, "/v2/tags")
            .await;
        house.note("writes", &made, &[201]);
        let gone = house
            .ask(&mut kept, &house.all, Method::DELETE, "/v2/tags/x")
            .await;
        house.note("writes", &gone, &[204]);
        sleep(PACE * 2).await;
    }
}

/// Most are refused: an action that goes through is remembered for an hour, as it should be, and memory with it.
async fn narrowed(house: Arc<House>) {
    let mut kept = house.gate.keep().await;
    for round in 0_u64.. {
        if !house.goes_on() {
            return;
        }
        if round % 20 == 0 {
            let target = "/v2/droplets/12/actions";
            let answer = house
                .ask(&mut kept, &house.mine, Method::POST, target)
                .await;
            house.note("narrowed writes", &answer, &[201]);
        }
        for (method, target, may) in [
            (Method::POST, "/v2/droplets/22/actions", 404),
            (Method::DELETE, "/v2/droplets/14", 403),
        ] {
            let answer = house.ask(&mut kept, &house.mine, method, target).await;
            house.note("narrowed writes", &answer, &[may]);
            sleep(PACE).await;
        }
    }
}

/// No token, no sense, or half of a head.
async fn strangers(house: Arc<House>) {
    let mut kept = house.gate.keep().await;
    while house.goes_on() {
        let unknown = SubToken::generate().unwrap();
        let answer = house
            .ask(
                &mut kept,
                unknown.secret.expose(),
                Method::GET,
                "/v2/account",
            )
            .await;
        house.note("strangers", &answer, &[401]);
        for bytes in [
            &b"\x16\x03\x01\x02nonsense\r\n\r\n"[..],
            b"GET /v2/account HTTP/1.1\r\nhost: x\r\n",
            b"",
        ] {
            let mut stream = house.gate.connect().await;
            let _ = stream.write_all(bytes).await;
        }
        sleep(PACE * 5).await;
    }
}

/// Clients that ask and are gone.
async fn leavers(house: Arc<House>) {
    while house.goes_on() {
        for (line, body) in [
            ("GET /v2/account", ""),
            ("GET /v2/droplets", ""),
            ("POST /v2/tags", "{\"name\":\"y\"}"),
        ] {
            let mut stream = house.gate.connect().await;
            let request = format!(
                "{line} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
                house.all,
                body.len()
            );
            let _ = stream.write_all(request.as_bytes()).await;
            house.told.lock().unwrap().left += 1;
        }
        sleep(PACE * 5).await;
    }
}

/// What the API spoils.
async fn failing(house: Arc<House>) {
    let mut kept = house.gate.keep().await;
    while house.goes_on() {
        for number in 0..FAULTS {
            let target = format!("/v2/account?fault={number}");
            let answer = house.ask(&mut kept, &house.all, Method::GET, &target).await;
            house.note("an API that fails", &answer, &[200, 502, 504]);
            let target = format!("/v2/tags?fault={number}");
            let answer = house
                .ask(&mut kept, &house.all, Method::POST, &target)
                .await;
            house.note("an API that fails", &answer, &[200, 409]);
            if answer.header("connection") == Some("close") {
                kept = house.gate.keep().await;
            }
            sleep(PACE * 5).await;
        }
    }
}

/// Sub-tokens that are used up, and others that are revoked in the middle of their work.
async fn counted(house: Arc<House>) {
    const USES: u64 = 15;
    let path = house.gate.files().path("tidegate.db");
    let mut state = state::open(&state::StatePlace::File(path), Duration::from_secs(5)).unwrap();
    let mut number = 0;
    while house.goes_on() {
        number += 1;
        let token = SubToken::generate().unwrap();
        let now = jiff::Timestamp::now();
        let issued = Issued {
            id: token.id.clone(),
            name: format!("counted-{number}"),
            hash: token.hash(),
            old: None,
            roles: ["all".to_owned()].into(),
            vars: Vars::default(),
            limits: Limits {
                max_uses: Some(USES),
                ..Limits::default()
            }
            .into(),
            created_at: now,
            ceiling: None,
            about: None,
            maker: None,
        };
        state.issue_all(&[issued], now).unwrap();
        let mut kept = house.gate.keep().await;
        let mut through = 0;
        let ends_early = number % 2 == 0;
        loop {
            let answer = house
                .ask(&mut kept, token.secret.expose(), Method::GET, "/v2/account")
                .await;
            house.note("counted sub-tokens", &answer, &[200, 401]);
            match answer.reason() {
                None => through += 1,
                Some(reason) => {
                    assert_eq!(
                        reason,
                        if ends_early {
                            "revoked"
                        } else {
                            "uses_exhausted"
                        }
                    );
                    break;
                }
            }
            assert!(through <= USES, "more uses than there are");
            if ends_early && through == 5 {
                let name = format!("counted-{number}");
                let revoked = house.gate.cli(&["token", "revoke", &name]).await;
                assert!(revoked.status.success(), "{revoked:?}");
                let began = Instant::now();
                while through < USES && began.elapsed() < Duration::from_secs(1) {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        assert!(ends_early || through == USES, "{through} uses");
        sleep(PACE * 50).await;
    }
}

async fn reloads(house: Arc<House>) {
    for number in 0_u64.. {
        if !house.goes_on() {
            return;
        }
        house
            .gate
            .write_policy(&policy(&format!("number {number}")));
        house.gate.signal(Signal::Hup);
        sleep(Duration::from_millis(700)).await;
    }
}
