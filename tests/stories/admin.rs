//! The `admin` listener: alive, ready or not and why, and apart from what clients ask.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use hyper::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidegate::state;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::sleep;

use crate::support::gate::{Answer, Signal};
use crate::support::{Fault, Gate, Hold, REAL_TOKEN, Reply, StandInApi};

const POLICY: &str = "version: 1\nroles: { all: { allow: [{ scopes: ['*'] }] } }\n";

async fn gate(api: &StandInApi) -> Gate {
    let builder = Gate::builder(api).policy(POLICY);
    builder
        .set("admin", json!({ "address": "127.0.0.1:0" }))
        .start()
        .await
}

/// A request to the `admin` listener.
pub async fn ask(gate: &Gate, method: Method, target: &str) -> Answer {
    let address = gate.admin_address().expect("`admin` listens");
    let stream = TcpStream::connect(address).await.unwrap();
    let asked = gate.request(method, target).open_over(stream).await;
    asked.unwrap().rest().await.unwrap()
}

/// What `/readyz` says, once it says this.
async fn readyz_until(gate: &Gate, enough: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let answer = ask(gate, Method::GET, "/readyz").await;
        let said = answer.json();
        let status = if said["ready"] == true { 200 } else { 503 };
        assert_eq!(answer.status, status, "{said}");
        if enough(&said) {
            return said;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "still {said}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// What `/readyz` says, without the hash of the policy in force, which it says too.
fn but_for_the_hash(mut said: Value) -> Value {
    let hash = said.as_object_mut().unwrap().remove("policy_sha256");
    let hash = hash.unwrap_or_default();
    assert_eq!(hash.as_str().map(str::len), Some(64), "{hash}");
    said
}

async fn ready(gate: &Gate) {
    readyz_until(gate, |said| said["ready"] == true).await;
}

#[tokio::test]
async fn it_says_that_tidegate_is_alive_and_ready_and_asks_the_api_once_for_that() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let said = gate.logs().join("\n");
    assert!(
        said.contains("tls=false admin=true") && gate.addresses().len() == 1,
        "{said}"
    );
    ready(&gate).await;
    let answer = ask(&gate, Method::GET, "/readyz").await;
    assert_eq!(
        but_for_the_hash(answer.json()),
        json!({ "ready": true, "listening": true, "policy": true, "real_token": true, "state": true, "audit": true, "certificates": true, "problems": [] })
    );
    for path in ["/healthz", "/readyz"] {
        let (whole, head) = (
            ask(&gate, Method::GET, path).await,
            ask(&gate, Method::HEAD, path).await,
        );
        assert_eq!((whole.status.as_u16(), head.status.as_u16()), (200, 200));
        assert_eq!(head.text(), "");
        assert_eq!(
            head.header("content-length"),
            whole.header("content-length")
        );
        let posted = ask(&gate, Method::POST, path).await;
        assert_eq!(posted.status, 405, "{path}");
        assert_eq!(posted.header("allow"), Some("GET, HEAD"));
    }
    assert_eq!(ask(&gate, Method::GET, "/").await.status, 404);
    let heard = api.heard();
    assert_eq!(heard.len(), 1, "asked once: {heard:#?}");
    assert_eq!(heard[0].line(), "GET /v2/account");
    assert_eq!(heard[0].bearer(), Some(REAL_TOKEN));
    gate.finish(&api).await;
}

#[tokio::test]
async fn each_listener_has_its_own_and_nothing_of_the_other() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    ready(&gate).await;
    api.clear();
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/v2/../metrics",
        "/.tidegate/metrics",
    ] {
        let with = gate.get(path).token(&token).send().await;
        let reason = with.reason().unwrap();
        assert!(
            ["unknown_endpoint", "ambiguous_request"].contains(&reason),
            "{path}: {reason}"
        );
        let without = gate.get(path).send().await;
        assert_eq!(without.reason(), Some("no_token"), "{path}");
    }
    for path in [
        "/v2/droplets",
        "/v2/account",
        "/.tidegate/v1/whoami",
        "/v1/oauth/token/info",
    ] {
        let stream = TcpStream::connect(gate.admin_address().unwrap())
            .await
            .unwrap();
        let asked = gate.get(path).token(&token).open_over(stream).await;
        let answer = asked.unwrap().rest().await.unwrap();
        assert_eq!(answer.status, 404, "{path}");
        assert_eq!(answer.header("tidegate-request-id"), None);
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn without_admin_nothing_is_asked_of_the_api() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    gate.get("/v2/droplets/12").token(&token).send().await;
    assert_eq!(gate.admin_address(), None);
    assert_eq!(api.heard_count(), 1);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_real_token_that_the_api_refuses_is_not_ready_until_a_good_one_is_put_there() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    ready(&gate).await;
    gate.files()
        .write("do-token", &format!("dop_v1_{}", "beef".repeat(16)));
    let said = readyz_until(&gate, |said| said["problems"].to_string().contains("401")).await;
    assert_eq!(
        but_for_the_hash(said),
        json!({
            "ready": false, "listening": true, "policy": true, "real_token": false, "state": true, "audit": true, "certificates": true,
            "problems": ["account `default`: the API does not accept the real token (401); put one that is valid where the configuration says"],
        })
    );
    gate.log_until("not ready account=\"default\"").await;
    gate.files().write("do-token", REAL_TOKEN);
    ready(&gate).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_clients_requests_are_answered_tells_too_and_is_asked_after() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    ready(&gate).await;
    let hold = Hold::new();
    api.fault_on(Method::GET, "/v2/account", Fault::HoldHead(hold.clone()));
    let unauthorized = Fault::problem(401, "unauthorized", "Unable to authenticate you");
    api.fault_once(Method::GET, "/v2/droplets", unauthorized);
    let answer = gate.get("/v2/droplets/12").token(&token).send().await;
    assert_eq!(answer.status, 401, "as the API has it");
    let said = ask(&gate, Method::GET, "/readyz").await.json();
    assert_eq!(said["real_token"], false);
    hold.release();
    ready(&gate).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_real_token_that_may_not_read_the_account_is_accepted_all_the_same() {
    let api = StandInApi::start().await;
    let forbidden = Fault::problem(403, "forbidden", "You are not authorized");
    api.fault_on(Method::GET, "/v2/account", forbidden);
    let gate = gate(&api).await;
    ready(&gate).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_api_that_says_nothing_of_the_token_is_asked_again() {
    let api = StandInApi::start().await;
    api.fault_on(Method::GET, "/v2/account", Fault::Reply(Reply::empty(503)));
    let gate = gate(&api).await;
    let said = readyz_until(&gate, |said| said["problems"].to_string().contains("503")).await;
    assert_eq!(said["real_token"], false);
    assert_eq!(ask(&gate, Method::GET, "/healthz").await.status, 200);
    api.heard_until(|heard| heard.len() >= 2).await;
    api.clear_faults();
    ready(&gate).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_api_that_cannot_be_reached_is_told_as_that() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let upstream = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let gate = Gate::builder_to(&upstream)
        .set("admin", json!({ "address": "127.0.0.1:0" }))
        .start()
        .await;
    readyz_until(&gate, |said| {
        said["problems"].to_string().contains("it can't be reached")
    })
    .await;
}

#[tokio::test]
async fn a_policy_that_is_half_written_is_not_ready_and_mending_heals() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    ready(&gate).await;
    api.clear();
    gate.write_policy(&POLICY[..POLICY.len() - 4]);
    let said = readyz_until(&gate, |said| said["ready"] == false).await;
    assert_eq!(
        but_for_the_hash(said),
        json!({
            "ready": false, "listening": true, "policy": false, "real_token": true, "state": true, "audit": true, "certificates": true,
            "problems": ["last reload failed; the old configuration and policy stay in force; the log and `tidegate check` say what is wrong"],
        })
    );
    gate.write_policy(POLICY);
    ready(&gate).await;
    assert_eq!(
        api.heard_count(),
        0,
        "the same real token is not asked about again"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn it_stays_while_requests_under_way_end() {
    let api = StandInApi::start().await;
    let mut gate = gate(&api).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    ready(&gate).await;
    let hold = Hold::new();
    api.fault_once(Method::GET, "/v2/droplets", Fault::HoldHead(hold.clone()));
    let slow = gate.get("/v2/droplets/12").token(&token).send();
    let stop = async {
        api.heard_until(|heard| heard.iter().any(|heard| heard.path() == "/v2/droplets/12"))
            .await;
        gate.signal(Signal::Term);
        let said = readyz_until(&gate, |said| said["listening"] == false).await;
        assert!(
            said["problems"][0]
                .as_str()
                .unwrap()
                .starts_with("draining"),
            "{said}"
        );
        assert_eq!(ask(&gate, Method::GET, "/healthz").await.status, 200);
        hold.release();
    };
    let (answer, ()) = tokio::join!(slow, stop);
    assert_eq!(answer.status, 200);
    assert!(gate.wait_exit().await.success());
}

#[tokio::test]
async fn it_may_be_a_unix_socket() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("admin", json!({ "unix": "ops.sock" }))
        .start()
        .await;
    let socket = gate.files().path("ops.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let stream = UnixStream::connect(&socket).await.unwrap();
    let asked = gate.get("/healthz").open_over(stream).await;
    assert_eq!(asked.unwrap().rest().await.unwrap().text(), "alive\n");
    gate.finish(&api).await;
    assert!(!socket.exists(), "the socket goes with the daemon");
}

/// What a container's health check runs.
#[tokio::test]
async fn the_command_health_says_by_its_exit_how_the_daemon_is() {
    let api = StandInApi::start().await;
    let health = async |gate: &Gate, arguments: &[&str]| {
        let asked = gate.cli(&[&["health"], arguments].concat()).await;
        let said = String::from_utf8(asked.stderr).unwrap();
        (asked.status.code().unwrap(), said.trim_end().to_owned())
    };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = port.local_addr().unwrap().to_string();
    drop(port);
    for admin in [
        json!({ "address": address }),
        json!({ "unix": "admin.sock" }),
    ] {
        let builder = Gate::builder(&api).policy(POLICY).set("admin", admin);
        let mut gate = builder.start().await;
        assert_eq!(health(&gate, &[]).await, (0, "alive".to_owned()));
        let begun = Instant::now();
        while health(&gate, &["--ready"]).await.0 != 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "never ready");
        }
        gate.files()
            .write("do-token", &format!("dop_v1_{}", "beef".repeat(16)));
        loop {
            let (code, said) = health(&gate, &["--ready"]).await;
            if said.contains("does not accept the real token") {
                assert_eq!(code, 1, "{said}");
                break;
            }
            assert!(begun.elapsed() < Duration::from_secs(40), "still {said}");
        }
        gate.files().write("do-token", REAL_TOKEN);
        gate.signal(Signal::Term);
        gate.wait_exit().await;
        let (code, said) = health(&gate, &[]).await;
        assert_eq!(code, 1);
        assert!(said.starts_with("the daemon does not answer: "), "{said}");
    }
    let gate = Gate::start(&api, POLICY).await;
    let (code, said) = health(&gate, &[]).await;
    assert_eq!(code, 1);
    assert!(said.contains("there is no `admin` to ask; add"), "{said}");
    gate.finish(&api).await;
}

/// The state as it was in use last at another time than now.
fn used_last(gate: &Gate, ago: SignedDuration) {
    let path = gate.files().path("tidegate.db");
    let mut state = state::open(&state::StatePlace::File(path), Duration::from_secs(5)).unwrap();
    state.accept(Timestamp::now() - ago).unwrap();
}

async fn stop(gate: &mut Gate) {
    gate.signal(Signal::Term);
    gate.wait_exit().await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_revives_nothing_and_is_told() {
    let api = StandInApi::start().await;
    let mut gate = gate(&api).await;
    let token = gate
        .issue(&["ci", "--role", "all", "--expires", "1h"])
        .await;
    let reason = async |gate: &Gate| {
        let answer = gate.get("/v2/account").token(&token).send().await;
        answer.reason().map(str::to_owned)
    };
    assert_eq!(reason(&gate).await, None);
    stop(&mut gate).await;
    used_last(&gate, -SignedDuration::from_hours(2)); // it was two hours later than it is
    gate.start_again().await;
    assert_eq!(reason(&gate).await.as_deref(), Some("expired"));
    let said = readyz_until(&gate, |said| said["state"] == false).await;
    let said = said["problems"].to_string();
    let behind = "s behind the latest time that was seen, by which tokens end; set it right, or if it was ahead before, stop tidegate and run `tidegate token accept-state`";
    assert!(said.contains(behind), "{said}");
    gate.log_until(behind).await;
    let check = gate.cli(&["check"]).await;
    let check = String::from_utf8(check.stderr).unwrap();
    assert!(check.contains(behind), "{check}");
    stop(&mut gate).await;
    assert!(gate.cli(&["token", "accept-state"]).await.status.success());
    gate.start_again().await;
    assert_eq!(reason(&gate).await, None);
    readyz_until(&gate, |said| said["state"] == true).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_state_that_is_older_than_the_record_is_told_until_it_is_accepted() {
    let api = StandInApi::start().await;
    let mut gate = gate(&api).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let answer = gate.get("/v2/account").token(&token).send().await;
    gate.audit_of(&answer).await;
    stop(&mut gate).await;
    used_last(&gate, SignedDuration::from_hours(1));
    let told = "the state is an older copy: the record goes on until ";
    let check = gate.cli(&["check"]).await;
    let check = String::from_utf8(check.stderr).unwrap();
    assert!(check.contains(told), "{check}");
    for _ in 0..2 {
        gate.start_again().await; // and it is told after that, when it was in use again
        let said = readyz_until(&gate, |said| said["state"] == false).await;
        let said = said["problems"].to_string();
        assert!(said.contains(told), "{said}");
        gate.log_until(told).await;
        stop(&mut gate).await;
    }
    assert!(gate.cli(&["token", "accept-state"]).await.status.success());
    gate.start_again().await;
    readyz_until(&gate, |said| said["state"] == true).await;
    gate.finish(&api).await;
}
