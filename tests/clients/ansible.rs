//! Ansible with its collection for DigitalOcean, by a playbook.

use std::process::Command;

use serde_json::json;

use super::certificates::Certificates;
use super::fixed_host::{HOST, led_to};
use super::support::standin::Heard;
use super::support::{Gate, REAL_TOKEN, StandInApi};
use super::{installed, script};

const POLICY: &str = "
version: 1
roles:
  web:
    allow:
      - scopes: ['droplet:*', 'tag:*', 'actions:read', 'image:read']
        only: { tag: client-a }
        on_create: { tags: [client-a] }
      - scopes: ['firewall:*', 'droplet:read']
        only: { firewall: { name: 'a-*' }, droplet: { tag: client-a } }
      - scopes: ['domain:read', 'domain:update']
        only: { domain: { name: example.com }, domain_record: { type: A, name: 'web-*' } }
";

/// The playbook asks for things of its own, and for two that are not: those it is refused in words that it prints.
#[tokio::test]
async fn ansible_plays_its_book_with_what_is_its_own() {
    let api = StandInApi::start().await;
    let certificates = Certificates::make(&[HOST, "localhost"]);
    let tls = json!({ "certificate": certificates.server(), "private_key": certificates.key() });
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("listen", json!([{ "address": "127.0.0.1:0", "tls": tls }]))
        .start()
        .await;
    let token = gate.issue(&["ansible", "--role", "web"]).await;
    let before = api.world(|world| world.names("droplets"));
    let mut command = Command::new(installed().join("venv/bin/ansible-playbook"));
    command
        .args(["--inventory", "localhost,"])
        .arg(script("ansible.yaml"))
        .env("DO_API_TOKEN", &token)
        .env(
            "TIDEGATE_URL",
            format!("https://localhost:{}", gate.address().port()),
        )
        .env("HOME", gate.files().path("ansible"))
        .env("ANSIBLE_COLLECTIONS_PATH", installed().join("collections"))
        .env("ANSIBLE_LOCALHOST_WARNING", "false")
        .env(
            "ANSIBLE_PYTHON_INTERPRETER",
            installed().join("venv/bin/python"),
        )
        .env("LC_ALL", "C.UTF-8");
    let (succeeded, said) = led_to(&gate, &certificates, &token, command).await;
    assert!(succeeded, "{said}\n{:#?}", gate.audit().last());
    assert!(said.contains("seen a-db a-new a-web a-web-keep"), "{said}");
    assert_eq!(said.matches("...ignoring").count(), 2, "{said}");
    for thing in ["www", "b-front"] {
        assert!(said.contains("403") && said.contains(thing), "{said}");
    }
    assert!(
        api.heard()
            .iter()
            .all(|heard| heard.bearer() == Some(REAL_TOKEN))
    );
    let writes: Vec<_> = api.writes().iter().map(kind).collect();
    assert_eq!(writes, EXPECTED, "{said}");
    assert_eq!(api.world(|world| world.names("droplets")), before);
    gate.finish(&api).await;
}

/// What was written, without the ids.
fn kind(heard: &Heard) -> String {
    let line = heard.line();
    let parts = line.split('/').map(|part| {
        let id = part.len() == 36 || part.parse::<u64>().is_ok();
        if id { "ID" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

const EXPECTED: [&str; 7] = [
    "POST /v2/droplets",
    "POST /v2/droplets/ID/actions",
    "POST /v2/firewalls",
    "POST /v2/domains/example.com/records",
    "DELETE /v2/domains/example.com/records/ID",
    "DELETE /v2/firewalls/ID",
    "DELETE /v2/droplets/ID",
];
