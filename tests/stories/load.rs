//! What must hold while requests never stop: reloads, new certificates, revocations, expiries.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tidegate::policy::Vars;
use tidegate::state::{self, Issued, Maker, Parent};
use tidegate::token::Limits;
use tidegate::token::SubToken;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::support::gate::Signal;
use crate::support::{Answer, Fault, Gate, Kept, Reply, StandInApi, flips};

const POLICY: &str = "
version: 1
roles:
  all:
    delegate: { ttl: 1h, count: 9 }
    allow: [{ scopes: ['*'] }]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_or_is_decided_by_a_mixture_while_the_policy_flips() {
    let seen = flips::run(5_000, Duration::from_millis(50)).await;
    assert!(
        seen.reloads >= 4 && seen.by_side.iter().all(|count| *count > 100),
        "{seen:?}"
    );
}

/// A certificate for this machine in PEM form, and its key.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A client that trusts all of these certificates.
fn trusting(certificates: &[(String, String)]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for (pem, _) in certificates {
        let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        roots.add(certificate).unwrap();
    }
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

async fn over_tls(gate: &Gate, connector: &TlsConnector) -> TlsStream<TcpStream> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = gate.connect().await;
    connector.connect(name, stream).await.expect("a handshake")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_is_dropped_while_the_certificate_is_swapped() {
    let certificates: Vec<_> = (0..5).map(|_| certificate()).collect();
    let connector = trusting(&certificates);
    let api = StandInApi::start().await;
    let tls = json!({ "certificate": "tls.crt", "private_key": "tls.key" });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .file("tls.crt", &certificates[0].0)
        .file("tls.key", &certificates[0].1)
        .set("listen", json!([{ "address": "127.0.0.1:0", "tls": tls }]))
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let (gate, stop) = (Arc::new(gate), Arc::new(AtomicBool::new(false)));
    let mut lanes = JoinSet::new();
    for lane in 0..8 {
        let (gate, stop, connector) = (Arc::clone(&gate), Arc::clone(&stop), connector.clone());
        let token = token.clone();
        lanes.spawn(async move {
            let connect = async || {
                let stream = over_tls(&gate, &connector).await;
                Kept::over(stream).await.unwrap()
            };
            let mut kept = connect().await;
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                if lane % 2 == 1 {
                    kept = connect().await; // half of the clients come anew each time
                }
                let ask = gate.get("/v2/account").token(&token);
                let answer = ask.try_send_over(&mut kept).await;
                assert_eq!(answer.expect("an answer").status, 200);
                answered += 1;
            }
            answered
        });
    }
    for (number, (pem, key)) in certificates.iter().enumerate().skip(1) {
        gate.files().write("tls.crt", pem);
        gate.files().write("tls.key", key);
        gate.signal(Signal::Hup);
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let began = Instant::now();
        loop {
            let stream = over_tls(&gate, &connector).await;
            let shown = stream.get_ref().1.peer_certificates().unwrap();
            if shown[0] == der {
                break;
            }
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(20), "certificate {number}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    let answered: Vec<usize> = lanes.join_all().await;
    assert!(answered.iter().all(|count| *count > 10), "{answered:?}");
    let Ok(gate) = Arc::try_unwrap(gate) else {
        panic!("a lane still runs");
    };
    gate.finish(&api).await;
}

/// A token under load, and when it was to end.
struct Subject {
    token: SubToken,
    name: String,
    /// When its end was asked for, and when it was in force: the two moments of `token revoke`, or its expiry.
    end: Mutex<Option<(Instant, Instant)>>,
    reason: &'static str,
}

/// One request by a subject.
struct Tried {
    subject: usize,
    number: usize,
    sent: Instant,
    answered: Instant,
    answer: Answer,
}

const REVOKED: usize = 8;
const EXPIRING: usize = 6;
const LIVING: usize = 6;

const WITHIN: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_passes_a_second_after_a_revocation_or_an_expiry() {
    they_end(Whose::Own, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_child_passes_a_second_after_its_parent_s_end() {
    they_end(Whose::Parents, 32).await;
}

/// Whose end it is by which what is asked with ends.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Whose {
    Own,
    Parents,
}

/// Lets tokens end while so many clients never stop asking with them.
async fn they_end(whose: Whose, clients: usize) {
    let api = StandInApi::start().await;
    let heard = Arc::new(Mutex::new(HashMap::new()));
    let listening = Arc::clone(&heard);
    api.fault_all(
        "/v2/",
        Fault::reply_with(move |request| {
            let agent = request.header("user-agent").unwrap_or_default();
            let number: usize = agent.trim_start_matches("load/").parse().unwrap();
            listening.lock().unwrap().insert(number, Instant::now());
            Reply::json(200, &json!({}))
        }),
    );
    let gate = Arc::new(Gate::start(&api, POLICY).await);
    let subjects = Arc::new(subjects(&gate, whose));
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut lanes = JoinSet::new();
    for _ in 0..clients {
        let (gate, subjects) = (Arc::clone(&gate), Arc::clone(&subjects));
        let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
        lanes.spawn(async move {
            let mut kept = gate.keep().await;
            let host = gate.address().to_string();
            let mut tried = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                let subject = number % subjects.len();
                let sent = Instant::now();
                let answer = gate
                    .get("/v2/account")
                    .token(subjects[subject].token.secret.expose())
                    .header("host", &host)
                    .header("user-agent", &format!("load/{number}"))
                    .try_send_over(&mut kept)
                    .await
                    .unwrap();
                let answered = Instant::now();
                tried.push(Tried {
                    subject,
                    number,
                    sent,
                    answered,
                    answer,
                });
            }
            tried
        });
    }
    for subject in &subjects[..REVOKED] {
        let asked = Instant::now();
        let revoked = gate.cli(&["token", "revoke", &subject.name]).await;
        assert!(revoked.status.success());
        *subject.end.lock().unwrap() = Some((asked, Instant::now()));
    }
    let last = subjects
        .iter()
        .filter_map(|subject| *subject.end.lock().unwrap());
    let over = last.map(|(_, end)| end).max().unwrap() + WITHIN + WITHIN / 2;
    sleep(over.saturating_duration_since(Instant::now())).await; // the load goes on for so long
    stop.store(true, Ordering::Relaxed);
    let tried: Vec<Tried> = lanes.join_all().await.into_iter().flatten().collect();
    let Ok(mut gate) = Arc::try_unwrap(gate) else {
        panic!("a lane still runs");
    };
    gate.signal(Signal::Term);
    assert!(gate.wait_exit().await.success());
    for (index, subject) in subjects.iter().enumerate() {
        let own = tried.iter().filter(|one| one.subject == index);
        check(subject, own, &heard.lock().unwrap());
    }
    check_audit(&subjects, &gate.audit(), tried.len());
    gate.finish(&api).await;
}

/// Tokens to revoke, tokens that expire one after the other, and tokens that live on.
fn subjects(gate: &Gate, whose: Whose) -> Vec<Subject> {
    let (now, moment) = (Timestamp::now(), Instant::now());
    let mut subjects = Vec::new();
    let mut issued = Vec::new();
    for index in 0..REVOKED + EXPIRING + LIVING {
        let life = index.checked_sub(REVOKED).filter(|nth| *nth < EXPIRING);
        let life = life.map(|nth| Duration::from_millis(1500 + 200 * nth as u64));
        let token = SubToken::generate().unwrap();
        let name = format!("subject-{index}");
        let limits = Limits {
            expires_at: life.map(|life| now.checked_add(life).unwrap()),
            ..Limits::default()
        };
        let ends = Issued {
            id: token.id.clone(),
            name: name.clone(),
            hash: token.hash(),
            old: None,
            roles: ["all".to_owned()].into(),
            vars: Vars::new(),
            limits: limits.into(),
            created_at: now,
            ceiling: None,
            about: None,
            maker: None,
        };
        issued.push(ends.clone());
        let token = match whose {
            Whose::Own => token,
            Whose::Parents => {
                let (child, kept) = child_of(&ends);
                issued.push(kept);
                child
            }
        };
        let end = life.map(|life| (moment + life, moment + life));
        let reason = if end.is_some() { "expired" } else { "revoked" };
        subjects.push(Subject {
            token,
            name,
            end: Mutex::new(end),
            reason,
        });
    }
    let state = gate.files().path("tidegate.db");
    let mut state = state::open(&state::StatePlace::File(state), Duration::from_secs(5)).unwrap();
    state.issue_all(&issued, now).unwrap();
    subjects
}

/// A child, which would live for ever by itself.
fn child_of(parent: &Issued) -> (SubToken, Issued) {
    let token = SubToken::generate().unwrap();
    let kept = Issued {
        id: token.id.clone(),
        name: format!("{}/job", parent.name),
        hash: token.hash(),
        limits: Limits::default().into(),
        maker: Some(Arc::new(Maker::Parent(Parent {
            id: parent.id.clone(),
            name: parent.name.clone(),
            hash: parent.hash,
            narrowing: None,
        }))),
        ..parent.clone()
    };
    (token, kept)
}

/// Judges by when a request was sent and when the API heard it, not by when its client got the answer.
fn check<'t>(
    subject: &Subject,
    tried: impl Iterator<Item = &'t Tried>,
    heard: &HashMap<usize, Instant>,
) {
    let end = *subject.end.lock().unwrap();
    let (mut passes, mut refusals) = (0, 0);
    for one in tried {
        let name = &subject.name;
        let arrived = heard.get(&one.number);
        let let_in = one.answer.status == 200;
        assert_eq!(let_in, arrived.is_some(), "{name}: {}", one.answer.text());
        if !let_in {
            assert_eq!(one.answer.reason(), Some(subject.reason), "{name}");
        }
        match (end, arrived) {
            (Some((_, end)), Some(arrived)) => {
                let late = arrived.saturating_duration_since(end);
                assert!(late <= WITHIN, "{name} passed {late:?} after its end");
                assert!(
                    one.sent <= end + WITHIN,
                    "{name} passed, sent after its end"
                );
            }
            (Some((asked, _)), None) => {
                assert!(one.answered > asked, "{name} was refused before its end");
            }
            (None, Some(_)) => {}
            (None, None) => panic!("{name} was refused, and lives"),
        }
        if let_in {
            passes += 1;
        } else {
            refusals += 1;
        }
    }
    assert!(passes > 0, "{} never passed", subject.name);
    assert_eq!(refusals > 0, end.is_some(), "{}: {refusals}", subject.name);
}

/// The record says the same: one line for each request, and none that lets one in which began a second after the end.
fn check_audit(subjects: &[Subject], audit: &[Value], requests: usize) {
    let (now, moment) = (Timestamp::now(), Instant::now());
    let ends: HashMap<String, Timestamp> = subjects
        .iter()
        .filter_map(|subject| {
            let (_, end) = (*subject.end.lock().unwrap())?;
            Some((
                subject.token.id.to_string(),
                now.checked_sub(moment - end).unwrap(),
            ))
        })
        .collect();
    assert_eq!(audit.len(), requests);
    for line in audit.iter().filter(|line| line["decision"] == "allow") {
        let written: Timestamp = line["time"].as_str().unwrap().parse().unwrap();
        let took = Duration::from_secs_f64(line["duration_ms"].as_f64().unwrap() / 1000.0);
        let Some(end) = ends.get(line["token"]["id"].as_str().unwrap()) else {
            continue;
        };
        let latest = end.checked_add(WITHIN).unwrap();
        assert!(written.checked_sub(took).unwrap() <= latest, "{line:#}");
    }
}
