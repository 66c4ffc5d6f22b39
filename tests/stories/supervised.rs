//! Under systemd: what it is told, its watchdog, and sockets that it opened.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{UnixDatagram, UnixStream};
use tokio::time::timeout;

use super::listening::{certificate, connect};
use crate::support::gate::{GateBuilder, NotStarted, Signal};
use crate::support::{Gate, StandInApi};

const POLICY: &str = "version: 1\nroles: { all: { allow: [{ scopes: ['*'] }] } }\n";

/// Where systemd listens for what services say of themselves.
struct Systemd {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Systemd {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { socket, directory }
    }

    fn before(&self, builder: GateBuilder) -> GateBuilder {
        let socket = self.directory.path().join("notify");
        builder.env("NOTIFY_SOCKET", socket.to_str().unwrap())
    }

    /// The next thing that the daemon says.
    async fn next(&self) -> Vec<String> {
        let mut bytes = [0; 4096];
        let came = timeout(Duration::from_secs(20), self.socket.recv(&mut bytes)).await;
        let length = came.expect("the daemon says something").unwrap();
        let text = std::str::from_utf8(&bytes[..length]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// The next thing that is no sign of life.
    async fn news(&self) -> Vec<String> {
        loop {
            let said = self.next().await;
            if said != ["WATCHDOG=1"] {
                return said;
            }
        }
    }

    fn silent(&self) -> bool {
        self.socket.try_recv(&mut [0; 16]).is_err()
    }
}

#[tokio::test]
async fn systemd_is_told_of_start_reload_and_stop() {
    let api = StandInApi::start().await;
    let systemd = Systemd::new();
    let mut gate = systemd
        .before(Gate::builder(&api).policy(POLICY))
        .start()
        .await;
    assert_eq!(systemd.news().await, ["READY=1", "STATUS=serving; 1 role"]);
    for (policy, status) in [
        (POLICY, "STATUS=serving; 1 role"),
        (
            "version: 2\n",
            "STATUS=serving by old files, as the last reload failed of a mistake; see the log",
        ),
    ] {
        gate.write_policy(policy);
        gate.signal(Signal::Hup);
        // The file's change may be noticed beside the signal, which is one reload more.
        let begun = systemd.news().await;
        assert_eq!(begun[0], "RELOADING=1");
        let since = begun[1].strip_prefix("MONOTONIC_USEC=").unwrap();
        assert!(since.parse::<u64>().unwrap() > 0, "{begun:?}");
        assert_eq!(systemd.news().await, ["READY=1", status]);
    }
    gate.signal(Signal::Term);
    let mut said = systemd.news().await;
    while said[0] != "STOPPING=1" {
        said = systemd.news().await; // of a reload that the file's change made
    }
    assert!(gate.wait_exit().await.success());
    assert!(systemd.silent(), "without a watchdog it is not fed");
}

#[tokio::test]
async fn the_watchdog_is_fed_while_the_daemon_serves() {
    let api = StandInApi::start().await;
    let systemd = Systemd::new();
    let admin = json!({ "address": "127.0.0.1:0" });
    let builder = Gate::builder(&api).policy(POLICY).set("admin", admin);
    let builder = systemd.before(builder).env("WATCHDOG_USEC", "600000");
    let gate = builder.start().await;
    assert_eq!(systemd.next().await[0], "READY=1");
    for _ in 0..3 {
        assert_eq!(systemd.next().await, ["WATCHDOG=1"]);
    }
    gate.finish(&api).await;
}

/// A daemon to which systemd passes this socket, once for each of these names.
fn passed(builder: GateBuilder, socket: OwnedFd, names: &[&str]) -> GateBuilder {
    let fds: Vec<_> = (3..3 + names.len()).map(|fd| format!("{fd}<&0")).collect();
    let script = format!(
        "exec {} </dev/null; export LISTEN_PID=$$ LISTEN_FDS={} LISTEN_FDNAMES={}",
        fds.join(" "),
        names.len(),
        names.join(":")
    );
    builder.before(&script, Some(socket))
}

fn listening_at(api: &StandInApi, listen: Value) -> GateBuilder {
    let (pem, key) = certificate();
    Gate::builder(api)
        .policy(POLICY)
        .file("tls.crt", &pem)
        .file("tls.key", &key)
        .set("listen", listen)
}

#[tokio::test]
async fn a_socket_of_systemd_is_served_and_keeps_clients_while_the_daemon_restarts() {
    let api = StandInApi::start().await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let builder = listening_at(&api, json!([{ "systemd": "api" }]));
    let mut gate = passed(builder, socket.into(), &["api"]).start().await;
    assert_eq!(gate.address(), address);
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let answer = gate.get("/v2/droplets/12").token(&token).send().await;
    assert_eq!(answer.status, 200);
    gate.signal(Signal::Term);
    gate.wait_exit().await;
    let early = tokio::net::TcpStream::connect(address).await.unwrap();
    gate.start_again().await;
    let asked = gate.get("/v2/droplets/12").token(&token).open_over(early);
    let answer = asked.await.unwrap().rest().await.unwrap();
    assert_eq!(answer.status, 200, "who came between waited");
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_socket_of_systemd_may_speak_tls() {
    let api = StandInApi::start().await;
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let (pem, key) = certificate();
    let tls = json!({ "certificate": "tls.crt", "private_key": "tls.key" });
    let builder = listening_at(&api, json!([{ "systemd": "api", "tls": tls }]))
        .file("tls.crt", &pem)
        .file("tls.key", &key);
    let gate = passed(builder, socket.into(), &["api"]).start().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let stream = connect(&gate, &pem, "http/1.1", None).await.unwrap();
    let asked = gate.get("/v2/account").token(&token).open_over(stream);
    assert_eq!(asked.await.unwrap().rest().await.unwrap().status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_unix_socket_of_systemd_stays_when_the_daemon_goes() {
    let api = StandInApi::start().await;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("api.sock");
    let socket = UnixListener::bind(&path).unwrap();
    let listen = json!([{ "address": "127.0.0.1:0" }, { "systemd": "tidegate.socket" }]);
    let builder = listening_at(&api, listen);
    let gate = passed(builder, socket.into(), &["tidegate.socket"])
        .start()
        .await;
    let token = gate.issue(&["--role", "all", "--from", "unix"]).await;
    let stream = UnixStream::connect(&path).await.unwrap();
    let asked = gate.get("/v2/account").token(&token).open_over(stream);
    assert_eq!(asked.await.unwrap().rest().await.unwrap().status, 200);
    gate.finish(&api).await;
    assert!(path.exists(), "it is systemd's");
}

#[tokio::test]
async fn a_socket_of_systemd_that_does_not_fit_its_listener_is_refused() {
    let api = StandInApi::start().await;
    let directory = TempDir::new().unwrap();
    let near = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let everywhere = || OwnedFd::from(TcpListener::bind("0.0.0.0:0").unwrap());
    let local =
        |name: &str| OwnedFd::from(UnixListener::bind(directory.path().join(name)).unwrap());
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    let tls = json!({ "certificate": "tls.crt", "private_key": "tls.key" });
    let cases: [(OwnedFd, &[&str], Value, &str); 7] = [
        (
            near(),
            &["api"],
            json!({ "systemd": "web" }),
            "`listen` names the socket `web` of systemd, which passed `api`",
        ),
        (
            near(),
            &[],
            json!({ "systemd": "web" }),
            "`listen` names the socket `web` of systemd, and systemd passed none",
        ),
        (
            near(),
            &["api", "web"],
            json!({ "systemd": "api" }),
            "systemd passed the socket `web`, and no listener takes it",
        ),
        (
            everywhere(),
            &["api"],
            json!({ "systemd": "api" }),
            "plain HTTP is served on loopback only",
        ),
        (
            local("tls"),
            &["api"],
            json!({ "systemd": "api", "tls": tls }),
            "is a unix socket, which needs no `tls`",
        ),
        (
            file,
            &["api"],
            json!({ "systemd": "api" }),
            "what systemd passed as `api` is no stream socket",
        ),
        (
            near(),
            &["api"],
            json!({ "systemd": "a:b" }),
            "`systemd` is the name of a socket that systemd passes on",
        ),
    ];
    for (socket, names, listen, expected) in cases {
        let builder = passed(listening_at(&api, json!([listen])), socket, names);
        let Err(NotStarted { status, logs }) = builder.try_start().await else {
            panic!("it started, where it should say {expected:?}");
        };
        assert_eq!(status.and_then(|status| status.code()), Some(1));
        assert!(logs.join("\n").contains(expected), "{expected:?}: {logs:?}");
    }
    let anywhere = json!([{ "systemd": "api", "allow_plaintext": true }]);
    let gate = passed(listening_at(&api, anywhere), everywhere(), &["api"])
        .start()
        .await;
    gate.finish(&api).await;
}
