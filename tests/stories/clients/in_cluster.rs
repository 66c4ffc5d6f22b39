//! S19: what runs in a cluster lives its life under the role of `examples/kubernetes/roles`: it makes, reads back, changes, lists
//! and deletes, and is refused what is not its own. The requests are those of csi-digitalocean (godo 1.167), the cloud controller
//! manager (1.204), the cluster autoscaler (1.169), external-dns' webhook for DigitalOcean (1.173) and cert-manager (1.204), in the order in which each sends them. Then each role is taken one scope less, and the first thing that goes wrong must name that scope.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tidegate::catalog::Catalog;

use super::narrowed::{Row, filled, remember};
use super::talk::{Client, Talk, Typed};
use crate::support::{Gate, StandInApi, World};

/// A client of a cluster: its headers, its role with the variables, and the life that it leads.
struct Life<'l> {
    agent: &'static str,
    role: &'l str,
    vars: &'l [&'l str],
    world: World,
    rows: &'l [Row<'l>],
}

impl Life<'_> {
    /// The role as the examples have it, and once more for each scope of it without that one.
    async fn live(self) {
        let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes/roles");
        let policy = fs::read_to_string(roles.join(format!("{}.yaml", self.role))).unwrap();
        let (_, role) = policy.split_once(&format!("\n  {}:\n", self.role)).unwrap();
        let (role, _) = role.split_once("\ntests:").unwrap();
        let role = expanded(role);
        let scopes: Vec<_> = scopes_of(&role).into_iter().collect();
        let mut policy = format!("version: 1\nroles:\n  {}:\n{role}\n", self.role);
        for (index, scope) in scopes.iter().enumerate() {
            let _ = writeln!(policy, "  less-{index}:\n{}", without(&role, scope)); // a text takes all
        }
        let api = StandInApi::start_with(self.world).await;
        let gate = Gate::start(&api, &policy).await;
        let client = Client {
            name: self.agent,
            headers: "Host: {host}\nUser-Agent: godo/1.204.0\nAccept: application/json\nAuthorization: Bearer {token}\nAccept-Encoding: gzip",
            content_type: "Content-Type: application/json",
            typed: Typed::NotOnGet,
            body_of_get: "",
        };
        let vars: Vec<_> = self.vars.iter().flat_map(|var| ["--var", var]).collect();
        let mut spare = Vec::new();
        for name in std::iter::once(self.role.to_owned())
            .chain((0..scopes.len()).map(|index| format!("less-{index}")))
        {
            let token = gate
                .issue(&[&[name.as_str(), "--role", &name], vars.as_slice()].concat())
                .await;
            let mut talk = Talk::open(&client, &gate, &token).await;
            let lacks = name
                .strip_prefix("less-")
                .map(|index| scopes[index.parse::<usize>().unwrap()].as_str());
            let named = walk(&gate, &mut talk, self.rows, lacks).await;
            if let Some(lacks) = lacks {
                match named {
                    None => spare.push(lacks),
                    Some(named) => assert!(
                        named.contains(lacks),
                        "{} without {lacks}: {named}",
                        self.role
                    ),
                }
            }
        }
        assert!(spare.is_empty(), "{} does without {spare:?}", self.role);
        gate.finish(&api).await;
    }
}

/// Sends the rows in their order. With all scopes each is answered as it says; with one less, the first that is not is told, with the
/// scope that the refusal names.
async fn walk(
    gate: &Gate,
    talk: &mut Talk<'_, tokio::net::TcpStream>,
    rows: &[Row<'_>],
    lacks: Option<&str>,
) -> Option<String> {
    let mut told = BTreeMap::new();
    for (line, body, status, member, value) in rows {
        let line = filled(line, &told);
        let got = talk.send(&line, &filled(body, &told)).await;
        if lacks.is_some() && got.status != *status {
            let needs = got.header("tidegate-needs").unwrap_or("no scope");
            return Some(format!(
                "{line}: {} needs {needs}: {}",
                got.status, got.text
            ));
        }
        assert_eq!(
            got.status,
            *status,
            "{line}: {}; {:?}",
            got.text,
            gate.audit().last()
        );
        if !member.is_empty() && lacks.is_none() {
            let answer = got.json();
            let own = answer.pointer(member);
            assert!(own.is_some(), "{line}: no {member} in {}", got.text);
            let fits = value.is_null() || own == Some(value);
            assert!(fits, "{line}: {member} is {own:?}, not {value}");
        }
        remember(&got, &mut told);
    }
    None
}

/// The lines of a role that allow.
fn each_scope(role: &str, change: impl Fn(&str) -> Vec<String>) -> String {
    let mut allows = true;
    let lines = role.lines().map(|line| {
        allows = allows && line.trim() != "deny:";
        let Some((before, rest)) = line.split_once("scopes: [").filter(|_| allows) else {
            return line.to_owned();
        };
        let (inside, after) = rest.split_once(']').unwrap();
        let scopes: Vec<_> = inside
            .split(',')
            .flat_map(|scope| change(scope.trim().trim_matches('"')))
            .collect();
        // A grant with nothing left gives what is everybody's.
        let scopes = if scopes.is_empty() {
            "regions:read".to_owned()
        } else {
            scopes.join(", ")
        };
        format!("{before}scopes: [{scopes}]{after}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// With each wildcard written out.
fn expanded(role: &str) -> String {
    let catalog = Catalog::builtin().unwrap();
    let all: Vec<_> = catalog.scopes().iter().map(ToString::to_string).collect();
    each_scope(role, |scope| match scope.strip_suffix('*') {
        Some(family) => all
            .iter()
            .filter(|one| one.starts_with(family))
            .cloned()
            .collect(),
        None => vec![scope.to_owned()],
    })
}

fn scopes_of(role: &str) -> BTreeSet<String> {
    let found = std::cell::RefCell::new(BTreeSet::new());
    each_scope(role, |scope| {
        found.borrow_mut().insert(scope.to_owned());
        Vec::new()
    });
    found.into_inner()
}

fn without(role: &str, less: &str) -> String {
    each_scope(role, |scope| {
        if scope == less {
            Vec::new()
        } else {
            vec![scope.to_owned()]
        }
    })
}

const NULL: Value = Value::Null;

/// Three nodes of a cluster, and a Droplet that is none.
fn nodes() -> World {
    World::default()
        .with_droplet(101, "node-1", &["k8s"])
        .with_droplet(102, "node-2", &["k8s"])
}

#[tokio::test]
async fn s19_csi_makes_attaches_grows_snapshots_and_deletes_volumes() {
    let rows = [
        (
            "GET /v2/account",
            "",
            200,
            "/account/status",
            json!("active"),
        ),
        (
            "GET /v2/volumes?name=pvc-2f0c&region=nyc3",
            "",
            200,
            "/volumes",
            json!([]),
        ),
        (
            "POST /v2/volumes",
            r#"{"region":"nyc3","name":"pvc-2f0c","description":"Created by DigitalOcean CSI driver","size_gigabytes":5,"snapshot_id":"","filesystem_type":"","filesystem_label":"","tags":["k8s"]}"#,
            201,
            "/volume/name",
            json!("pvc-2f0c"),
        ),
        ("GET /v2/volumes/{volume}", "", 200, "/volume/id", NULL),
        (
            "GET /v2/droplets/101",
            "",
            200,
            "/droplet/name",
            json!("node-1"),
        ),
        (
            "POST /v2/volumes/{volume}/actions",
            r#"{"type":"attach","droplet_id":101}"#,
            202,
            "/action/id",
            NULL,
        ),
        (
            "GET /v2/volumes/{volume}/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        (
            "POST /v2/volumes/{volume}/actions",
            r#"{"region":"nyc3","size_gigabytes":10,"type":"resize"}"#,
            202,
            "/action/id",
            NULL,
        ),
        (
            "GET /v2/volumes/{volume}/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        (
            "GET /v2/snapshots?page=1&per_page=200&resource_type=volume",
            "",
            200,
            "/snapshots",
            NULL,
        ),
        (
            "POST /v2/volumes/{volume}/snapshots",
            r#"{"volume_id":"{volume}","name":"snapshot-9a","description":"Created by DigitalOcean CSI driver","tags":["k8s"]}"#,
            201,
            "/snapshot/name",
            json!("snapshot-9a"),
        ),
        (
            "GET /v2/snapshots/{snapshot}",
            "",
            200,
            "/snapshot/id",
            NULL,
        ),
        (
            "POST /v2/volumes",
            r#"{"region":"nyc3","name":"pvc-77aa","description":"Created by DigitalOcean CSI driver","size_gigabytes":10,"snapshot_id":"{snapshot}","filesystem_type":"","filesystem_label":"","tags":["k8s"]}"#,
            201,
            "/volume/name",
            json!("pvc-77aa"),
        ),
        ("DELETE /v2/volumes/{volume}", "", 204, "", NULL),
        ("DELETE /v2/snapshots/{snapshot}", "", 204, "", NULL),
        (
            "GET /v2/volumes?name=pvc-2f0c&region=nyc3",
            "",
            200,
            "/volumes/0/name",
            json!("pvc-2f0c"),
        ),
        (
            "GET /v2/volumes?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(1),
        ),
        // What is not its own: another's volume, a name that is none of the provisioner's, a Droplet that is no node.
        (
            "GET /v2/volumes/506f78a4-e098-11e5-ad9f-000000000001",
            "",
            404,
            "",
            NULL,
        ),
        (
            "DELETE /v2/volumes/506f78a4-e098-11e5-ad9f-000000000001",
            "",
            404,
            "",
            NULL,
        ),
        (
            "POST /v2/volumes",
            r#"{"region":"nyc3","name":"data","size_gigabytes":5}"#,
            403,
            "/message",
            NULL,
        ),
        ("GET /v2/droplets/12", "", 404, "", NULL),
        ("DELETE /v2/droplets/101", "", 403, "/message", NULL),
    ];
    let life = Life {
        agent: "csi-digitalocean",
        role: "csi",
        vars: &["nodes=k8s"],
        world: nodes(),
        rows: &rows,
    };
    life.live().await;
}

#[tokio::test]
async fn s19_the_cloud_controller_keeps_nodes_balancers_and_its_firewall() {
    let balancer = r#""name":"a0123456789abcdef0123456789abcde","algorithm":"round_robin","region":"nyc3","forwarding_rules":[{"entry_protocol":"tcp","entry_port":80,"target_protocol":"tcp","target_port":30080}],"health_check":{"protocol":"tcp","port":30080,"check_interval_seconds":3,"response_timeout_seconds":5,"healthy_threshold":5,"unhealthy_threshold":3,"proxy_protocol":false},"sticky_sessions":{"type":"none"},"redirect_http_to_https":false,"enable_proxy_protocol":false,"enable_backend_keepalive":false,"vpc_uuid":"d455e75d-4858-4eec-8c95-da2f0a5f93a7""#;
    let dry = format!(r#"{{{balancer},"droplet_ids":[101,102],"validate_only":true}}"#);
    let made = format!(r#"{{{balancer},"droplet_ids":[101,102]}}"#);
    let less = format!(r#"{{{balancer},"droplet_ids":[101]}}"#);
    let other = format!(r#"{{{balancer},"droplet_ids":[12]}}"#);
    let rules = r#""inbound_rules":[{"protocol":"tcp","ports":"30000-32767","sources":{"addresses":["0.0.0.0/0","::/0"]}}],"outbound_rules":null,"droplet_ids":null,"tags":["k8s"]"#;
    let firewall = format!(r#"{{"name":"k8s-fw",{rules}}}"#);
    let foreign = format!(r#"{{"name":"other",{rules}}}"#);
    let rows = [
        (
            "GET /v2/account",
            "",
            200,
            "/account/status",
            json!("active"),
        ),
        (
            "GET /v2/droplets?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(2),
        ),
        (
            "GET /v2/droplets/101",
            "",
            200,
            "/droplet/name",
            json!("node-1"),
        ),
        (
            "GET /v2/vpcs/d455e75d-4858-4eec-8c95-da2f0a5f93a7",
            "",
            200,
            "/vpc/name",
            json!("default-nyc3"),
        ),
        (
            "GET /v2/load_balancers?page=1&per_page=200",
            "",
            200,
            "/load_balancers",
            json!([]),
        ),
        ("POST /v2/load_balancers", dry.as_str(), 202, "", NULL),
        (
            "GET /v2/certificates/892071a0-bb95-49bc-8021-3afd67a210bf",
            "",
            200,
            "/certificate/name",
            json!("web-cert-01"),
        ),
        (
            "POST /v2/load_balancers",
            &made,
            202,
            "/load_balancer/name",
            NULL,
        ),
        (
            "GET /v2/load_balancers/{load_balancer}",
            "",
            200,
            "/load_balancer/id",
            NULL,
        ),
        (
            "PUT /v2/load_balancers/{load_balancer}",
            &less,
            200,
            "/load_balancer/id",
            NULL,
        ),
        (
            "DELETE /v2/load_balancers/{load_balancer}",
            "",
            204,
            "",
            NULL,
        ),
        (
            "GET /v2/firewalls?page=1&per_page=200",
            "",
            200,
            "/firewalls",
            NULL,
        ),
        ("GET /v2/tags/k8s", "", 200, "/tag/name", json!("k8s")),
        (
            "POST /v2/firewalls",
            &firewall,
            202,
            "/firewall/name",
            json!("k8s-fw"),
        ),
        (
            "GET /v2/firewalls/{firewall}",
            "",
            200,
            "/firewall/id",
            NULL,
        ),
        (
            "PUT /v2/firewalls/{firewall}",
            &firewall,
            200,
            "/firewall/id",
            NULL,
        ),
        ("DELETE /v2/firewalls/{firewall}", "", 204, "", NULL),
        // What is not its own.
        ("GET /v2/droplets/12", "", 404, "", NULL),
        ("POST /v2/load_balancers", &other, 403, "/message", NULL),
        (
            "GET /v2/load_balancers/4de7ac8b-495b-4884-9a69-1050c6793cd6",
            "",
            404,
            "",
            NULL,
        ),
        (
            "DELETE /v2/load_balancers/4de7ac8b-495b-4884-9a69-1050c6793cd6",
            "",
            404,
            "",
            NULL,
        ),
        ("POST /v2/firewalls", &foreign, 403, "/message", NULL),
        (
            "DELETE /v2/firewalls/fb6045f1-cf1d-4ca3-bfac-18832663025b",
            "",
            404,
            "",
            NULL,
        ),
    ];
    let life = Life {
        agent: "digitalocean-cloud-controller-manager",
        role: "cloud-controller",
        vars: &["nodes=k8s", "firewall=k8s-fw"],
        world: nodes(),
        rows: &rows,
    };
    life.live().await;
}

const CLUSTER: &str = "bd5f5959-5e1e-4205-a714-a914373942af";

#[tokio::test]
async fn s19_the_autoscaler_grows_and_shrinks_the_pools_of_one_cluster() {
    let pools = format!("/v2/kubernetes/clusters/{CLUSTER}/node_pools");
    let pool = format!("{pools}/cdda885e-7663-40c8-bc74-3a036c66545d");
    let (list, template) = (
        format!("GET {pools}"),
        format!("GET /v2/kubernetes/clusters/{CLUSTER}/node_pools_template/workers"),
    );
    let (grow, shrink) = (
        format!("PUT {pool}"),
        format!("DELETE {pool}/nodes/478247f8-b1bb-4f7a-8db9-2a5f8d4b8f8f?replace=0&skip_drain=0"),
    );
    let (gone, cluster) = (
        format!("DELETE {pool}"),
        format!("DELETE /v2/kubernetes/clusters/{CLUSTER}"),
    );
    let rows = [
        (
            list.as_str(),
            "",
            200,
            "/node_pools/0/name",
            json!("workers"),
        ),
        (&template, "", 200, "", NULL),
        (
            &grow,
            r#"{"name":"workers","count":2,"tags":null,"labels":null,"taints":null,"auto_scale":null,"min_nodes":null,"max_nodes":null}"#,
            200,
            "",
            NULL,
        ),
        (&shrink, "", 204, "", NULL),
        (&list, "", 200, "/node_pools/0/id", NULL),
        // What is not its own.
        (&gone, "", 403, "/message", NULL),
        (&cluster, "", 403, "/message", NULL),
        (
            "GET /v2/kubernetes/clusters/4de7ac8b-495b-4884-9a69-1050c6793cd6/node_pools",
            "",
            404,
            "",
            NULL,
        ),
        (
            "GET /v2/droplets?page=1&per_page=200",
            "",
            403,
            "/message",
            NULL,
        ),
    ];
    let vars = format!("cluster={CLUSTER}");
    let life = Life {
        agent: "cluster-autoscaler",
        role: "cluster-autoscaler",
        vars: &[&vars],
        world: nodes(),
        rows: &rows,
    };
    life.live().await;
}

#[tokio::test]
async fn s19_external_dns_writes_below_one_name() {
    let rows = [
        (
            "GET /v2/domains?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(1),
        ),
        (
            "GET /v2/domains/example.com/records?page=1&per_page=200",
            "",
            200,
            "/domain_records",
            NULL,
        ),
        (
            "POST /v2/domains/example.com/records",
            r#"{"type":"A","name":"shop.apps","data":"192.0.2.7","ttl":300,"priority":0,"weight":0,"flags":0}"#,
            201,
            "/domain_record/id",
            NULL,
        ),
        (
            "GET /v2/domains/example.com/records/{domain_record}",
            "",
            200,
            "/domain_record/name",
            json!("shop.apps"),
        ),
        (
            "PUT /v2/domains/example.com/records/{domain_record}",
            r#"{"type":"A","name":"shop.apps","data":"192.0.2.8","ttl":300,"priority":0,"weight":0,"flags":0}"#,
            200,
            "/domain_record/data",
            json!("192.0.2.8"),
        ),
        (
            "DELETE /v2/domains/example.com/records/{domain_record}",
            "",
            204,
            "",
            NULL,
        ),
        (
            "POST /v2/domains/example.com/records",
            r#"{"type":"TXT","name":"a-shop.apps","data":"\"heritage=external-dns,external-dns/owner=me\"","ttl":300,"priority":0,"weight":0,"flags":0}"#,
            201,
            "/domain_record/id",
            NULL,
        ),
        (
            "DELETE /v2/domains/example.com/records/{domain_record}",
            "",
            204,
            "",
            NULL,
        ),
        // What is not its own.
        (
            "GET /v2/domains/example.org/records?page=1&per_page=200",
            "",
            404,
            "",
            NULL,
        ),
        (
            "POST /v2/domains/example.com/records",
            r#"{"type":"A","name":"www","data":"192.0.2.7"}"#,
            403,
            "/message",
            NULL,
        ),
        (
            "DELETE /v2/domains/example.com/records/101",
            "",
            404,
            "",
            NULL,
        ),
        ("DELETE /v2/domains/example.com", "", 403, "/message", NULL),
    ];
    let life = Life {
        agent: "external-dns",
        role: "external-dns",
        vars: &["domain=example.com", "below=apps"],
        world: nodes(),
        rows: &rows,
    };
    life.live().await;
}

#[tokio::test]
async fn s19_cert_manager_answers_the_challenges_of_one_domain() {
    let look = "GET /v2/domains/example.com/records?name=_acme-challenge.example.com&per_page=200&type=TXT";
    let rows = [
        (look, "", 200, "/meta/total", json!(1)), // one that was left over
        (
            "POST /v2/domains/example.com/records",
            r#"{"type":"TXT","name":"_acme-challenge.example.com.","data":"not-the-token","ttl":60,"priority":0,"weight":0,"flags":0}"#,
            201,
            "/domain_record/id",
            NULL,
        ),
        (
            look,
            "",
            200,
            "/domain_records/1/data",
            json!("not-the-token"),
        ),
        (
            "DELETE /v2/domains/example.com/records/{domain_record}",
            "",
            204,
            "",
            NULL,
        ),
        (look, "", 200, "/meta/total", json!(1)),
        // What is not its own.
        (
            "POST /v2/domains/example.com/records",
            r#"{"type":"TXT","name":"example.com.","data":"v=spf1"}"#,
            403,
            "/message",
            NULL,
        ),
        (
            "DELETE /v2/domains/example.com/records/101",
            "",
            404,
            "",
            NULL,
        ),
        (
            "GET /v2/domains/example.org/records?name=_acme-challenge.example.org&per_page=200&type=TXT",
            "",
            404,
            "",
            NULL,
        ),
        ("DELETE /v2/domains/example.com", "", 403, "/message", NULL),
    ];
    let life = Life {
        agent: "cert-manager",
        role: "cert-manager",
        vars: &["domain=example.com"],
        world: nodes(),
        rows: &rows,
    };
    life.live().await;
}
