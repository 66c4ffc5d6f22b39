//! tidegate as it is compared: a thousand sub-tokens, fifty roles, an audit file, plain HTTP and TLS.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use tidegate::token::SubToken;

use super::cases::CASES;
use super::lanes::Load;
use super::others::Proxy;
use super::{HELD, request};
use crate::house::{file, fill, policy};
use crate::support::Gate;
use crate::support::gate::{GateBuilder, Signal};

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
    /// Starts one before `upstream`, with a certificate of its own and so many threads that serve.
    pub async fn open(
        upstream: SocketAddr,
        tokens: usize,
        field_scopes: &str,
        workers: usize,
    ) -> Self {
        let before = format!("export TOKIO_WORKER_THREADS={workers}");
        Self::open_as(upstream, tokens, field_scopes, &before).await
    }

    /// The same with sub-tokens that stand in the policy file.
    pub async fn listing(upstream: SocketAddr, tokens: usize) -> Self {
        let tokens: Vec<_> = (0..tokens).map(|_| SubToken::generate().unwrap()).collect();
        let mut listed = format!("{}{MORE}tokens:\n", policy(ROLES));
        for (number, token) in tokens.iter().enumerate() {
            let role = number % (ROLES / 2) * 2; // those without a variable
            let (id, hash) = (&token.id, token.hash().to_hex());
            writeln!(
                listed,
                "  - {{ name: token-{number}, id: {id}, hash: 'sha256:{hash}', roles: [team-{role}] }}"
            )
            .unwrap();
        }
        let gate = Self::builder(upstream, "secrets_only", "export TOKIO_WORKER_THREADS=2");
        let gate = gate.policy(&listed).start().await;
        let tokens = tokens.iter().map(|token| token.secret.expose().to_owned());
        Self {
            tokens: tokens.collect(),
            gate,
        }
    }

    /// The same under another program, with one thread that serves.
    pub async fn open_under(under: &[String], upstream: SocketAddr, tokens: usize) -> Self {
        let before = format!(
            "export TOKIO_WORKER_THREADS=1; set -- {} \"$@\"",
            under.join(" ")
        );
        Self::open_as(upstream, tokens, "secrets_only", &before).await
    }

    /// The same after these commands of a shell.
    pub async fn open_as(
        upstream: SocketAddr,
        tokens: usize,
        field_scopes: &str,
        before: &str,
    ) -> Self {
        let builder = Self::builder(upstream, field_scopes, before);
        let mut gate = builder
            .policy(&format!("{}{MORE}", policy(ROLES)))
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

    fn builder(upstream: SocketAddr, field_scopes: &str, before: &str) -> GateBuilder {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let tls = json!({ "certificate": "server.pem", "private_key": "server.key" });
        Gate::builder_to(&format!("http://{upstream}"))
            .before(before, None)
            .file("server.pem", &made.cert.pem())
            .file("server.key", &made.signing_key.serialize_pem())
            .set("field_scopes", json!(field_scopes))
            .set("limits", json!({ "connections_per_client": 2 * HELD }))
            .set(
                "listen",
                json!([{ "address": "127.0.0.1:0" }, { "address": "127.0.0.2:0", "tls": tls }]),
            )
    }

    /// What is asked in a case without TLS, by all of its sub-tokens in turns.
    pub fn load(&self, what: &str) -> Load {
        let case = CASES.iter().find(|case| case.what == what).unwrap();
        let to = self.proxy().plain;
        let tokens = self.tokens.iter();
        let requests = tokens.map(|token| request(case.ask, to, token, false));
        Load {
            to,
            tls: None,
            lanes: case.lanes,
            anew: false,
            requests: Arc::new(requests.collect()),
            status: 200,
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
