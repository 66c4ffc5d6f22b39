//! Uses and rates are exact over all daemons, whatever becomes of one.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;

use crate::cluster::Cluster;
use crate::first::POLICY;
use crate::support::Gate;
use crate::support::gate::Signal;
use crate::three::Three;

/// How many clients ask at once, and how many requests they send in all.
const CLIENTS: usize = 64;
const REQUESTS: usize = 20_000;
/// How many tokens they have, and how often each may be used: less often than it is.
const TOKENS: usize = 4;
const USES: usize = 4_500;

/// What was said to whom.
#[derive(Default)]
struct Told {
    let_through: AtomicUsize,
    exhausted: AtomicUsize,
    limited: AtomicUsize,
    other: Mutex<Vec<String>>,
    unanswered: AtomicUsize,
}

/// A client with a connection that it keeps.
#[derive(Default)]
struct Client(Option<http1::SendRequest<Empty<Bytes>>>);

impl Client {
    async fn ask(&mut self, address: SocketAddr, token: &str, told: &Told) {
        let asked = Instant::now();
        match self.try_ask(address, token).await {
            Ok((StatusCode::OK, _)) => _ = told.let_through.fetch_add(1, Ordering::SeqCst),
            Ok((_, reason)) if reason == "uses_exhausted" => {
                told.exhausted.fetch_add(1, Ordering::SeqCst);
            }
            Ok((_, reason)) if reason == "rate_limited" => {
                told.limited.fetch_add(1, Ordering::SeqCst);
            }
            Ok((status, reason)) => told.other.lock().unwrap().push(format!(
                "{status} {reason} from {address} after {:?}",
                asked.elapsed()
            )),
            Err(()) => {
                self.0 = None;
                told.unanswered.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    async fn try_ask(
        &mut self,
        address: SocketAddr,
        token: &str,
    ) -> Result<(StatusCode, String), ()> {
        if self.0.is_none() {
            let stream = TcpStream::connect(address).await.map_err(drop)?;
            let (sender, connection) =
                http1::handshake(TokioIo::new(stream)).await.map_err(drop)?;
            tokio::spawn(connection);
            self.0 = Some(sender);
        }
        let sender = self.0.as_mut().ok_or(())?;
        sender.ready().await.map_err(drop)?;
        let request = Request::get("/v2/droplets")
            .header("host", address.to_string())
            .header("authorization", format!("Bearer {token}"))
            .body(Empty::new());
        let answer = sender.send_request(request.unwrap()).await.map_err(drop)?;
        let reason = answer.headers().get("tidegate-reason");
        let reason = reason
            .map_or("", |reason| reason.to_str().unwrap())
            .to_owned();
        let status = answer.status();
        answer.into_body().collect().await.map_err(drop)?;
        Ok((status, reason))
    }
}

/// How many of what clients asked for went to the API, without what daemons ask when they start.
fn went(three: &Three) -> usize {
    let heard = three.api.heard();
    let asked = heard.iter().filter(|heard| heard.path() == "/v2/droplets");
    asked.count()
}

/// Three daemons that a busy machine does not hold up: how old what is known may be is not what is counted here.
async fn patient() -> Three {
    Three::over(Cluster::start().await, POLICY, None, "30s").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn not_one_use_too_many_goes_and_none_is_lost_while_a_daemon_is_killed() {
    let mut three = patient().await;
    let mut tokens = Vec::new();
    for _ in 0..TOKENS {
        let uses = USES.to_string();
        tokens.push(
            three.gates[0]
                .issue(&["--role", "reader", "--max-uses", &uses])
                .await,
        );
    }
    let addresses = Mutex::new(three.gates.each_ref().map(Gate::address));
    let (told, sent) = (Told::default(), AtomicUsize::new(0));
    let client = async |number: usize| {
        let mut client = Client::default();
        let mut at = number;
        while sent.fetch_add(1, Ordering::SeqCst) < REQUESTS {
            let failed = client.0.is_none();
            at += usize::from(failed); // the next one, as a balancer would
            let address = addresses.lock().unwrap()[at % 3];
            client.ask(address, &tokens[number % TOKENS], &told).await;
        }
    };
    let killer = async {
        while sent.load(Ordering::SeqCst) < REQUESTS / 4 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let killed = &mut three.gates[1];
        killed.signal(Signal::Kill);
        killed.wait_exit().await;
        killed.start_again().await;
        addresses.lock().unwrap()[1] = killed.address();
        assert!(
            sent.load(Ordering::SeqCst) < REQUESTS,
            "it was back in the midst of it"
        );
    };
    tokio::join!(join_all((0..CLIENTS).map(client)), killer);

    assert_eq!(
        *told.other.lock().unwrap(),
        [""; 0],
        "nobody is refused for another's death"
    );
    let [let_through, unanswered] =
        [&told.let_through, &told.unanswered].map(|it| it.load(Ordering::SeqCst));
    let (went, most) = (went(&three), TOKENS * USES);
    let used = three
        .cluster
        .number("SELECT sum(used)::bigint FROM tidegate.usage")
        .await;
    assert_eq!(used, i64::try_from(most).unwrap(), "all were used up");
    assert!(
        let_through <= went && went <= most,
        "{let_through} let through, {went} went, of {most}"
    );
    assert!(
        most - went <= CLIENTS,
        "{went} went of {most}: no more are lost than were in flight"
    );
    assert!(unanswered > 0, "some were in flight");
    three.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_counts_over_all_daemons() {
    const A_SECOND: usize = 100;
    const SECONDS: usize = 4;
    let three = patient().await;
    let token = three.gates[0]
        .issue(&["--role", "reader", "--rate", "100/s"])
        .await;
    let addresses = three.gates.each_ref().map(Gate::address);
    let (told, is_done) = (Told::default(), AtomicBool::new(false));
    let begun = Instant::now();
    let client = async |number: usize| {
        let mut client = Client::default();
        while !is_done.load(Ordering::SeqCst) {
            client.ask(addresses[number % 3], &token, &told).await;
        }
    };
    // What was let through by the end of each second, and when that was, once what was in the bucket at first is used up and its
    // answers have come.
    let counting = async {
        while told.limited.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let steady = Instant::now() + Duration::from_millis(500);
        let mut by_second = Vec::new();
        for second in 0..=SECONDS {
            let end = steady + Duration::from_secs(second as u64);
            tokio::time::sleep_until(end.into()).await;
            by_second.push((told.let_through.load(Ordering::SeqCst), Instant::now()));
        }
        is_done.store(true, Ordering::SeqCst);
        by_second
    };
    let (_, by_second) = tokio::join!(join_all((0..12).map(client)), counting);
    let whole = begun.elapsed();
    assert_eq!(*told.other.lock().unwrap(), [""; 0]);
    let went = went(&three);
    let most = A_SECOND + usize::try_from(whole.as_millis().div_ceil(10)).unwrap();
    assert!(went <= most, "{went} went in {whole:?}, of {most} at most");
    for (second, pair) in by_second.windows(2).enumerate() {
        let (let_through, took) = (pair[1].0 - pair[0].0, pair[1].1 - pair[0].1);
        let due = usize::try_from(took.as_millis()).unwrap() * A_SECOND / 1000;
        assert!(
            let_through.abs_diff(due) <= A_SECOND / 20,
            "in second {}: {let_through} were let through, and {due} were due",
            second + 1
        );
    }
    three.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_through_one_holds_at_all_within_a_second_under_load() {
    let three = patient().await;
    let uses = ["--role", "reader", "--max-uses", "1000000"];
    let counted = three.gates[0].issue(&uses).await;
    let addresses = three.gates.each_ref().map(Gate::address);
    let (told, is_done) = (Told::default(), AtomicBool::new(false));
    let client = async |number: usize| {
        let mut client = Client::default();
        while !is_done.load(Ordering::SeqCst) {
            client.ask(addresses[number % 3], &counted, &told).await;
        }
    };
    let changing = async {
        let revoked = Some("revoked");
        for number in 0..3 {
            let name = format!("late-{number}");
            let token = three.gates[number]
                .issue(&[&name, "--role", "reader"])
                .await;
            three
                .soon_say("/v2/droplets", &token, StatusCode::OK, None)
                .await;
            let by = &three.gates[(number + 1) % 3];
            let ended = by.cli(&["token", "revoke", &name]).await;
            assert!(ended.status.success());
            three
                .soon_say("/v2/droplets", &token, StatusCode::UNAUTHORIZED, revoked)
                .await;
        }
        is_done.store(true, Ordering::SeqCst);
    };
    tokio::join!(join_all((0..CLIENTS).map(client)), changing);
    assert_eq!(*told.other.lock().unwrap(), [""; 0]);
    assert!(told.let_through.load(Ordering::SeqCst) > CLIENTS);
    three.finish().await;
}

/// The same over the uses of a parent and its children, which all take of both.
#[tokio::test]
async fn a_use_of_a_child_through_one_daemon_is_one_of_its_parent_at_all() {
    let policy = POLICY.replace("reader:", "reader:\n    delegate: { ttl: 1h, count: 2 }");
    let three = Three::start(&policy).await;
    let [a, b, c] = &three.gates;
    let parent = a
        .issue(&["ci", "--role", "reader", "--max-uses", "3"])
        .await;
    let wish = |name: &str| json!({ "name": name, "expires_in": 600 });
    let mut made = Vec::new();
    for (gate, name) in [(a, "one"), (b, "two")] {
        let asked = gate
            .post("/.tidegate/v1/tokens", &wish(name))
            .token(&parent);
        let answer = asked.gives_a_token().send().await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        made.push(answer.json()["token"].as_str().unwrap().to_owned());
    }
    let asked = c
        .post("/.tidegate/v1/tokens", &wish("three"))
        .token(&parent);
    let answer = asked.send().await;
    assert_eq!(
        answer.reason(),
        Some("delegation"),
        "two were made, at whichever daemon"
    );
    for (gate, token) in [(c, &made[0]), (a, &made[1]), (b, &parent)] {
        let answer = gate.get("/v2/droplets").token(token).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    three
        .soon_say(
            "/v2/droplets",
            &made[0],
            StatusCode::UNAUTHORIZED,
            Some("uses_exhausted"),
        )
        .await;
    three.finish().await;
}
