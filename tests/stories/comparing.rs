//! `diff`: what a change of policy newly allows or refuses, by requests that are tried with either.

use serde_json::Value;

use crate::support::{Gate, StandInApi};

const OLD: &str = "
version: 1
roles:
  deploy:
    allow:
      - scopes: [droplet:read, droplet:update]
        only: { droplet: { tag: client-a } }
        actions: [reboot]
      - scopes: [regions:read]
  acme:
    allow:
      - scopes: [domain:read]
        only: { domain: { name: example.com } }
  guarded:
    allow:
      - scopes: [droplet:delete]
        only: { droplet: { tag: client-a } }
    deny:
      - scopes: [droplet:delete]
        only: { droplet: { name: '*-keep' } }
  makes:
    allow: [{ scopes: [droplet:create, tag:create], on_create: { tags: [client-a] } }]
  see:
    operator: [view]
tokens:
  - { name: ci, id: 4fZ0aB9cD8eF, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef', roles: [acme], sources: [203.0.113.0/24], expires_at: 2027-01-31T00:00:00Z }
trust:
  - { name: main, issuer: github, claims: { repository_id: '1', ref: refs/heads/main }, roles: [deploy], ttl: 15m }
  - { name: any, issuer: github, claims: { repository_id: '1' }, roles: [acme], ttl: 1h }
";

const MAIN: &str = "  - { name: main, issuer: github, claims: { repository_id: '1', ref: refs/heads/main }, roles: [deploy], ttl: 15m }\n";
const DENY: &str = "    deny:
      - scopes: [droplet:delete]
        only: { droplet: { name: '*-keep' } }
";

type Case = (
    &'static str,
    &'static str,
    i32,
    &'static [&'static str],
    &'static [&'static str],
);

/// What is changed in the old policy, how it exits, and lines that are there or not.
const CASES: [Case; 25] = [
    ("regions:read", "regions:read", 0, &[], &["+", "-"]),
    (
        "[droplet:read, droplet:update]",
        "[droplet:update, droplet:read]",
        0,
        &[],
        &["+", "-"],
    ),
    (
        DENY,
        "",
        1,
        &[
            "+ guarded  droplets_destroy  DELETE /v2/droplets/{droplet_id}  deletes  droplet tag=client-a droplet name=x-keep",
        ],
        &["- "],
    ),
    (
        "{ name: example.com }",
        "{ name: '/example\\.(com|org)/' }",
        1,
        &["+ acme  domains_get  GET /v2/domains/{domain_name}  reads  domain name=example.org"],
        &["- "],
    ),
    (
        "on_create: { tags: [client-a] }",
        "on_create: { tags: [client-b] }",
        1,
        &["+ makes  droplets_create  POST /v2/droplets  creates, adding something else  anything"],
        &["- "],
    ),
    (
        ", on_create: { tags: [client-a] }",
        "",
        1,
        &[
            "+ makes  droplets_create  POST /v2/droplets  creates, adding nothing any more  anything",
        ],
        &["- "],
    ),
    (
        "operator: [view]",
        "operator: [view, revoke]",
        1,
        &["+ see  operator  revoke instead of view"],
        &["- "],
    ),
    (
        "  acme:\n",
        "  acme:\n    delegate: { ttl: 1h, count: 20 }\n",
        1,
        &["+ acme  delegate  { ttl: 1h, count: 20 } instead of nothing"],
        &["- "],
    ),
    (
        "203.0.113.0/24",
        "203.0.113.0/25",
        0,
        &["- token ci  sources [203.0.113.0/25] instead of [203.0.113.0/24]"],
        &["+ "],
    ),
    (
        "203.0.113.0/24",
        "203.0.0.0/16",
        1,
        &["+ token ci  sources [203.0.0.0/16] instead of [203.0.113.0/24]"],
        &["- "],
    ),
    (
        "2027-01-31",
        "2028-01-31",
        1,
        &["+ token ci  expires_at 2028-01-31T00:00:00Z instead of 2027-01-31T00:00:00Z"],
        &["- "],
    ),
    (
        "roles: [acme]",
        "roles: [acme, deploy]",
        1,
        &["+ token ci  roles [acme, deploy] instead of [acme]"],
        &["- "],
    ),
    (
        ", ref: refs/heads/main",
        "",
        1,
        &["+ trust main  claims "],
        &["- "],
    ),
    (
        "ttl: 15m",
        "ttl: 5m",
        0,
        &["- trust main  ttl 5m instead of 15m"],
        &["+ "],
    ),
    (
        MAIN,
        "",
        1,
        &[
            "- trust main  issuer github claims { ",
            "+ trust any  what `main` took before may come to it",
        ],
        &[],
    ),
    (
        "roles: [deploy], ttl: 15m",
        "roles: [deploy], ttl: 15m, ceiling: acme",
        1,
        &["+ trust main  ceiling acme instead of none"],
        &["- "],
    ),
    (
        "      - scopes: [regions:read]\n",
        "      - scopes: [regions:read]\n      - scopes: [droplet:create]\n        only: { droplet: { region: nyc3 } }\n",
        1,
        &["+ deploy  droplets_create  POST /v2/droplets  creates  droplet region=nyc3"],
        &[
            "- ",
            "droplets_create  POST /v2/droplets  creates  droplet region=nyc30",
        ],
    ),
    (
        "droplet:read, droplet:update",
        "droplet:read, droplet:update, droplet:delete",
        1,
        &[
            "+ deploy  droplets_destroy  DELETE /v2/droplets/{droplet_id}  deletes  droplet tag=client-a",
        ],
        &["- ", "tag=client-a0", "what no selector takes"],
    ),
    (
        "      - scopes: [regions:read]\n",
        "",
        0,
        &["- deploy  regions_list  GET /v2/regions  reads  anything"],
        &["+ "],
    ),
    (
        "{ tag: client-a }",
        "{ tag: client-a* }",
        1,
        &["+ deploy  droplets_get  GET /v2/droplets/{droplet_id}  reads  droplet tag=client-ax"],
        &["- "],
    ),
    (
        "{ tag: client-a }",
        "{ tag: client-b }",
        1,
        &[
            "+ deploy  droplets_get  GET /v2/droplets/{droplet_id}  reads  droplet tag=client-b",
            "- deploy  droplets_get  GET /v2/droplets/{droplet_id}  reads  droplet tag=client-a",
        ],
        &[],
    ),
    (
        "actions: [reboot]",
        "actions: [reboot, power_off]",
        1,
        &["changes (power_off)  droplet tag=client-a"],
        &["(power_on)", "- "],
    ),
    (
        "{ name: example.com }",
        "{ name: [example.com, example.org] }",
        1,
        &["+ acme  domains_get  GET /v2/domains/{domain_name}  reads  domain name=example.org"],
        &["- ", "deploy"],
    ),
    (
        "  acme:\n",
        "  other:\n    allow: [{ scopes: [registry:read] }]\n  acme:\n",
        1,
        &["+ other  "],
        &["- ", "acme", "deploy"],
    ),
    (
        "  acme:\n",
        "    deny:\n      - scopes: [droplet:read]\n        only: { droplet: { name: '*-keep' } }\n  acme:\n",
        0,
        &["- deploy  droplets_get"],
        &["+ "],
    ),
];

#[tokio::test]
async fn each_difference_is_told_with_what_it_is_about() {
    let api = StandInApi::start().await;
    let files = Gate::builder(&api).files();
    files.write("old.yaml", OLD);
    let old = files.path("old.yaml");
    let new = files.path("new.yaml");
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    for (from, to, code, there, not) in CASES {
        files.write("new.yaml", &OLD.replacen(from, to, 1));
        let output = files.cli(&["diff", old, new]).await;
        let told = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{from} to {to}: {told}{said}"
        );
        for part in there {
            assert!(told.contains(part), "{part} for {to}: {told}");
        }
        for part in not {
            assert!(!told.contains(part), "no {part} for {to}: {told}");
        }
        assert!(said.contains("newly allowed"), "{said}");
    }
    let output = files
        .cli(&["diff", old, new, "--json", "--role", "acme"])
        .await;
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["allowed"], output.status.code()),
        (&Value::from(0), Some(0))
    );
    for (arguments, why) in [
        (["diff", old, "/nowhere.yaml"], "can't be read"),
        (["diff", old, "Cargo.toml"], ""),
    ] {
        let output = files.cli(&arguments).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains(why));
    }
}
