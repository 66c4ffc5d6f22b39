//! tidegate as it is compared: a thousand sub-tokens, fifty roles, an audit file, plain HTTP and TLS.

use std::net::SocketAddr;

use serde_json::json;

use super::HELD;
use super::others::Proxy;
use crate::house::{file, fill, policy};
use crate::support::Gate;
use crate::support::gate::Signal;

/// A daemon and sub-tokens of it.
pub struct Ours {
    pub gate: Gate,
    pub tokens: Vec<String>,
}

/// How many.
pub const TOKENS: usize = 1_000;
pub const ROLES: usize = 50;

/// Roles for what only tidegate does.
const MORE: &str = "
  named:
    allow:
      - scopes: [droplet:read]
        only: { droplet: { name: 'team-0-*' } }
  tagged:
    allow:
      - scopes: [droplet:read]
        only: { tag: team-0 }
  whole:
    allow:
      - scopes: [account:read, 'droplet:*', droplet:update, image:read, tag:read, tag:create, vpc:read, block_storage:read]
  cut:
    allow:
      - scopes: [account:read, 'droplet:*', droplet:update, image:read, tag:create, block_storage:read]
";

impl Ours {
    /// Starts one before `upstream`, with a certificate of its own.
    pub async fn open(upstream: SocketAddr, tokens: usize, field_scopes: &str) -> Self {
        Self::open_as(upstream, tokens, field_scopes, "").await
    }

    /// The same under another program, with one thread that serves.
    pub async fn open_under(under: &[String], upstream: SocketAddr, tokens: usize) -> Self {
        let before = format!(
            "export TOKIO_WORKER_THREADS=1; set -- {} \"$@\"",
            under.join(" ")
        );
        Self::open_as(upstream, tokens, "secrets_only", &before).await
    }

    async fn open_as(
        upstream: SocketAddr,
        tokens: usize,
        field_scopes: &str,
        before: &str,
    ) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let tls = json!({ "certificate": "server.pem", "private_key": "server.key" });
        let mut builder = Gate::builder_to(&format!("http://{upstream}"));
        if !before.is_empty() {
            builder = builder.before(before, None);
        }
        let mut gate = builder
            .policy(&format!("{}{MORE}", policy(ROLES)))
            .file("server.pem", &made.cert.pem())
            .file("server.key", &made.signing_key.serialize_pem())
            .set("field_scopes", json!(field_scopes))
            .set("limits", json!({ "connections_per_client": 2 * HELD }))
            .set(
                "listen",
                json!([{ "address": "127.0.0.1:0" }, { "address": "127.0.0.2:0", "tls": tls }]),
            )
            .start()
            .await;
        gate.signal(Signal::Term);
        assert!(gate.wait_exit().await.success());
        let tokens = fill(&file(&gate), tokens, ROLES);
        gate.start_again().await;
        let tokens = tokens.iter().map(|token| token.secret.expose().to_owned());
        Self {
            tokens: tokens.collect(),
            gate,
        }
    }

    pub fn proxy(&self) -> Proxy {
        let addresses = self.gate.addresses();
        let at = |number: usize| addresses[number].parse().unwrap();
        Proxy::new("tidegate", self.gate.pid(), at(0), at(1))
    }

    /// A sub-token of that role.
    pub async fn token(&self, role: &str, more: &[&str]) -> String {
        self.gate.issue(&[&["--role", role], more].concat()).await
    }
}
