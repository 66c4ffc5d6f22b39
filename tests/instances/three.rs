//! Three daemons over one state.

use std::time::{Duration, Instant};

use hyper::{Method, StatusCode};
use serde_json::json;

use crate::cluster::{Cluster, gate_at};
use crate::support::{Answer, Gate, StandInApi};

/// Three daemons before one API, by one policy, with one state.
pub struct Three {
    pub cluster: Cluster,
    pub api: StandInApi,
    pub gates: [Gate; 3],
}

/// How soon what changed through one must hold at all.
pub const SOON: Duration = Duration::from_secs(1);

impl Three {
    /// Starts them, at once.
    pub async fn start(policy: &str) -> Self {
        Self::over(Cluster::start().await, policy, None, "1s").await
    }

    /// The same over a server that runs, which they may reach by another port, at which something stands between.
    pub async fn over(cluster: Cluster, policy: &str, port: Option<u16>, stale_for: &str) -> Self {
        let api = StandInApi::start().await;
        let start = |name: &str| {
            let gate = gate_at(port.unwrap_or(cluster.port()), &api, policy);
            let admin = json!({ "address": "127.0.0.1:0" });
            gate.set("state.postgres.stale_for", json!(stale_for))
                .set("instance", json!(name))
                .set("admin", admin)
                .start()
        };
        let (a, b, c) = tokio::join!(start("a"), start("b"), start("c"));
        Self {
            cluster,
            api,
            gates: [a, b, c],
        }
    }

    /// What each says to a GET by this token.
    pub async fn each_says(&self, target: &str, token: &str) -> Vec<Answer> {
        let mut said = Vec::new();
        for gate in &self.gates {
            said.push(gate.get(target).token(token).send().await);
        }
        said
    }

    /// Waits until all say this, for a second at most.
    pub async fn soon_say(
        &self,
        target: &str,
        token: &str,
        status: StatusCode,
        reason: Option<&str>,
    ) {
        let begun = Instant::now();
        loop {
            let said = self.each_says(target, token).await;
            let is_so = |answer: &Answer| answer.status == status && answer.reason() == reason;
            if said.iter().all(is_so) {
                return;
            }
            let said: Vec<_> = said
                .iter()
                .map(|answer| (answer.status, answer.reason().map(str::to_owned)))
                .collect();
            assert!(
                begun.elapsed() < SOON,
                "not within a second {status} {reason:?}, but {said:?}"
            );
        }
    }

    /// Ends all, and looks for secrets.
    pub async fn finish(self) {
        for gate in self.gates {
            gate.finish(&self.api).await;
        }
    }
}

/// What `/readyz` of a daemon says, and its metrics.
pub async fn admin(gate: &Gate, target: &str) -> String {
    let address = gate.admin_address().unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let ask = format!("GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    tokio::io::AsyncWriteExt::write_all(&mut stream, ask.as_bytes())
        .await
        .unwrap();
    let mut said = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut said)
        .await
        .unwrap();
    said
}

/// A GET of the Droplets.
pub async fn droplets(gate: &Gate, token: &str) -> Answer {
    gate.request(Method::GET, "/v2/droplets")
        .token(token)
        .send()
        .await
}
