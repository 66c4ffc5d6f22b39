//! What doctl and Terraform were seen to send, with the narrowed roles of `examples/roles`: each story a table of requests
//! in their order, and of what the client needs of each answer.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::recorded::{DOCTL, TERRAFORM};
use super::talk::{Client, Got, Talk};
use crate::support::{Gate, StandInApi, World};

/// A request, its body, the status, and the member of the answer that the client reads, with its value (`null` for any).
/// `{action}`, `{droplet}` and `{volume}` are the ids of what was last told of.
pub(super) type Row<'r> = (&'r str, &'r str, u16, &'r str, Value);

/// A story's role, as the examples have it, and the options of `token issue` beside it.
struct Role<'r>(&'r str, &'r [&'r str]);

/// Lives a story, row by row.
async fn live(client: &Client, role: Role<'_>, world: World, rows: &[Row<'_>]) {
    let api = StandInApi::start_with(world).await;
    let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/roles");
    let policy = fs::read_to_string(roles.join(role.0)).unwrap();
    let gate = Gate::start(&api, &policy).await;
    let token = gate.issue(role.1).await;
    let mut talk = Talk::open(client, &gate, &token).await;
    let mut told = BTreeMap::new();
    for (line, body, status, member, value) in rows {
        let line = filled(line, &told);
        let got = talk.send(&line, &filled(body, &told)).await;
        assert_eq!(got.status, *status, "{line}: {}", got.text);
        if !member.is_empty() {
            let answer = got.json();
            let own = answer.pointer(member);
            assert!(own.is_some(), "{line}: no {member} in {}", got.text);
            let fits = value.is_null() || own == Some(value);
            assert!(fits, "{line}: {member} is {own:?}, not {value}");
        }
        remember(&got, &mut told);
    }
    gate.finish(&api).await;
}

pub(super) fn filled(text: &str, told: &BTreeMap<&str, String>) -> String {
    told.iter().fold(text.to_owned(), |text, (name, id)| {
        text.replace(&format!("{{{name}}}"), id)
    })
}

pub(super) fn remember(got: &Got, told: &mut BTreeMap<&'static str, String>) {
    let Ok(answer) = serde_json::from_str::<Value>(&got.text) else {
        return; // a deletion tells nothing
    };
    let places = [
        ("droplet", "/droplet/id"),
        ("volume", "/volume/id"),
        ("snapshot", "/snapshot/id"),
        ("load_balancer", "/load_balancer/id"),
        ("firewall", "/firewall/id"),
        ("domain_record", "/domain_record/id"),
        ("action", "/action/id"),
        ("action", "/links/actions/0/id"),
    ];
    for (name, place) in places {
        if let Some(id) = answer.pointer(place) {
            let id = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
            told.insert(name, id);
        }
    }
}

/// `doctl registry login`, `doctl registry repository list-v2`.
#[tokio::test]
async fn s3_doctl_logs_in_to_pull_and_lists_one_repository() {
    let role = Role(
        "registry-repository.yaml",
        &["--role", "registry-pull", "--var", "repository=web"],
    );
    let rows = [
        (
            "GET /v2/registry/docker-credentials?read_write=false",
            "",
            200,
            "/auths/registry.digitalocean.com/auth",
            NULL,
        ),
        (
            "GET /v2/registry/docker-credentials?expiry_seconds=600&read_write=false",
            "",
            200,
            "/auths",
            NULL,
        ),
        (
            "GET /v2/registry/docker-credentials?read_write=true",
            "",
            403,
            "/message",
            NULL,
        ),
        (
            "GET /v2/registry",
            "",
            200,
            "/registry/name",
            json!("example"),
        ),
        (
            "GET /v2/registry/example/repositoriesV2?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(1),
        ),
        (
            "GET /v2/registry/example/repositoriesV2?page=1&per_page=200",
            "",
            200,
            "/repositories/0/name",
            json!("web"),
        ),
    ];
    live(&DOCTL, role, World::default(), &rows).await;
}

/// `doctl projects list`, `projects resources list`, `compute droplet list`, `create --wait`, `delete`.
#[tokio::test]
async fn s4_doctl_works_in_one_project() {
    let rows = [
        (
            "GET /v2/projects?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(1),
        ),
        (
            "GET /v2/projects/4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679/resources?page=1&per_page=200",
            "",
            200,
            "/resources/0/urn",
            NULL,
        ),
        (
            "GET /v2/droplets?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(3),
        ),
        ("POST /v2/droplets", NEW, 202, "/links/actions/0/id", NULL),
        (
            "GET /v2/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        (
            "GET /v2/droplets/{droplet}",
            "",
            200,
            "/droplet/status",
            json!("active"),
        ),
        (
            "GET /v2/droplets?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(4),
        ),
        ("DELETE /v2/droplets/{droplet}", "", 204, "", NULL),
        ("GET /v2/droplets/22", "", 404, "/message", NULL),
        ("DELETE /v2/droplets/22", "", 404, "/message", NULL),
        (
            "GET /v2/projects/746c6152-2fa2-11ed-92d3-27aaa54e4988/resources?page=1&per_page=200",
            "",
            404,
            "/message",
            NULL,
        ),
        (
            "POST /v2/projects/4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679/resources",
            r#"{"resources":["do:droplet:22"]}"#,
            403,
            "/message",
            NULL,
        ),
    ];
    live(&DOCTL, IN_PROJECT, World::default(), &rows).await;
}

/// `terraform apply` of a volume on a Droplet, and `destroy`, which asks until the Droplet is gone.
#[tokio::test]
async fn s4_terraform_builds_and_destroys_in_one_project() {
    let rows = [
        (
            "POST /v2/volumes",
            r#"{"region":"nyc3","name":"v","description":"","size_gigabytes":10,"filesystem_type":"","tags":null}"#,
            201,
            "/volume/id",
            NULL,
        ),
        (
            "GET /v2/volumes/{volume}",
            "",
            200,
            "/volume/name",
            json!("v"),
        ),
        (
            "POST /v2/droplets",
            r#"{"name":"n","region":"nyc3","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64","ssh_keys":null,"backups":false,"ipv6":false,"private_networking":false,"monitoring":false}"#,
            202,
            "/droplet/id",
            NULL,
        ),
        (
            "GET /v2/droplets/{droplet}",
            "",
            200,
            "/droplet/status",
            json!("active"),
        ),
        (
            "GET /v2/volumes/{volume}",
            "",
            200,
            "/volume/droplet_ids",
            json!([]),
        ),
        (
            "POST /v2/volumes/{volume}/actions",
            r#"{"type":"attach","droplet_id":{droplet}}"#,
            202,
            "/action/id",
            NULL,
        ),
        (
            "GET /v2/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        (
            "GET /v2/volumes/{volume}",
            "",
            200,
            "/volume/droplet_ids/0",
            NULL,
        ),
        (
            "POST /v2/volumes/{volume}/actions",
            r#"{"type":"detach","droplet_id":{droplet}}"#,
            202,
            "/action/id",
            NULL,
        ),
        (
            "GET /v2/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        ("DELETE /v2/volumes/{volume}", "", 204, "", NULL),
        (
            "GET /v2/droplets/{droplet}",
            "",
            200,
            "/droplet/status",
            json!("active"),
        ),
        ("DELETE /v2/droplets/{droplet}", "", 204, "", NULL),
        ("GET /v2/droplets/{droplet}", "", 404, "/message", NULL),
        (
            "POST /v2/volumes/506f78a4-e098-11e5-ad9f-000000000001/actions",
            r#"{"type":"attach","droplet_id":22}"#,
            403,
            "/message",
            NULL,
        ),
    ];
    live(&TERRAFORM, IN_PROJECT, World::default(), &rows).await;
}

/// `doctl compute volume list`, `volume snapshot`, `droplet-action snapshot --wait`.
#[tokio::test]
async fn s6_doctl_puts_one_droplet_and_its_volumes_on_snapshots() {
    let role = Role("backup.yaml", &["--role", "backup", "--var", "droplet=12"]);
    let own = "506f78a4-e098-11e5-ad9f-000000000001";
    let snapshot = |volume: &str| {
        format!(r#"{{"volume_id":"{volume}","name":"nightly","description":"","tags":null}}"#)
    };
    let other = "506f78a4-e098-11e5-ad9f-000000000002";
    let (of_own, of_other) = (snapshot(own), snapshot(other));
    let disk = r#"{"name":"nightly","type":"snapshot"}"#;
    let rows = [
        (
            "GET /v2/volumes?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(1),
        ),
        (
            &format!("POST /v2/volumes/{own}/snapshots"),
            &of_own,
            201,
            "/snapshot/resource_id",
            json!(own),
        ),
        (
            "POST /v2/droplets/12/actions",
            disk,
            201,
            "/action/id",
            NULL,
        ),
        (
            "GET /v2/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        (
            &format!("POST /v2/volumes/{other}/snapshots"),
            &of_other,
            404,
            "/message",
            NULL,
        ),
        ("POST /v2/droplets/22/actions", disk, 404, "/message", NULL),
        (
            "POST /v2/droplets/12/actions",
            r#"{"type":"power_cycle"}"#,
            403,
            "/message",
            NULL,
        ),
        (
            &format!("DELETE /v2/volumes/{own}"),
            "",
            403,
            "/message",
            NULL,
        ),
    ];
    live(&DOCTL, role, World::default(), &rows).await;
}

/// `doctl compute droplet list`, `create --wait`, `droplet-action reboot`, `delete NAME`, `delete --tag-name`.
#[tokio::test]
async fn s8_doctl_has_the_droplets_of_its_tag() {
    let role = Role(
        "own-droplets.yaml",
        &["--role", "client", "--var", "client=a"],
    );
    let rows = [
        (
            "GET /v2/droplets?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(3),
        ),
        (
            "POST /v2/droplets",
            NEW,
            202,
            "/droplet/tags",
            json!(["client-a"]),
        ),
        (
            "GET /v2/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        (
            "GET /v2/droplets/{droplet}",
            "",
            200,
            "/droplet/status",
            json!("active"),
        ),
        (
            "POST /v2/droplets/{droplet}/actions",
            r#"{"type":"reboot"}"#,
            201,
            "/action/id",
            NULL,
        ),
        (
            "GET /v2/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        (
            "GET /v2/droplets?page=1&per_page=200",
            "",
            200,
            "/droplets/3/name",
            json!("n"),
        ),
        ("DELETE /v2/droplets/{droplet}", "", 204, "", NULL),
        (
            "GET /v2/droplets?page=1&per_page=200&tag_name=client-a",
            "",
            200,
            "/meta/total",
            json!(3),
        ),
        (
            "DELETE /v2/droplets?tag_name=client-a",
            "",
            403,
            "/message",
            NULL,
        ), // one of them is to be kept
        (
            "GET /v2/droplets?page=1&per_page=200&tag_name=client-b",
            "",
            403,
            "/message",
            NULL,
        ),
        (
            "DELETE /v2/droplets?tag_name=client-b",
            "",
            403,
            "/message",
            NULL,
        ),
        ("DELETE /v2/droplets/22", "", 404, "/message", NULL),
    ];
    live(&DOCTL, role, World::default(), &rows).await;
}

/// The lists and single objects that doctl shows, and those that would log in somewhere.
#[tokio::test]
async fn s10_doctl_reads_everything_but_what_logs_in() {
    let role = Role("read-only.yaml", &["--role", "read-only"]);
    let cluster = "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af";
    let rows = [
        ("GET /v2/account", "", 200, "/account/status", NULL),
        ("GET /v2/customers/my/balance", "", 200, "", NULL),
        (
            "GET /v2/droplets?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(6),
        ),
        (
            "GET /v2/volumes?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(3),
        ),
        (
            "GET /v2/firewalls?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(2),
        ),
        (
            "GET /v2/domains/example.com/records?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            NULL,
        ),
        (
            "GET /v2/account/keys?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(3),
        ),
        ("GET /v2/1-clicks?type=", "", 200, "", NULL),
        (
            "GET /v2/kubernetes/clusters?page=1&per_page=200",
            "",
            200,
            "/kubernetes_clusters/0/name",
            json!("prod"),
        ),
        (
            &format!("GET {cluster}/kubeconfig"),
            "",
            403,
            "/message",
            NULL,
        ),
        (
            &format!("GET {cluster}/credentials"),
            "",
            403,
            "/message",
            NULL,
        ),
        (
            "GET /v2/registry/docker-credentials?read_write=false",
            "",
            403,
            "/message",
            NULL,
        ),
        (
            "GET /v2/databases?page=1&per_page=200",
            "",
            200,
            "/databases/0/connection",
            json!({ "database": "defaultdb", "host": "a-pg-do-user-19081923-0.db.ondigitalocean.com", "port": 25060, "user": "doadmin", "ssl": true }),
        ),
        ("POST /v2/tags", r#"{"name":"mine"}"#, 403, "/message", NULL),
        ("DELETE /v2/droplets/12", "", 403, "/message", NULL),
    ];
    live(&DOCTL, role, World::default(), &rows).await;
}

#[tokio::test]
async fn s11_doctl_reads_droplets_only() {
    let role = Role("people.yaml", &["--role", "droplets-read"]);
    let rows = [
        (
            "GET /v2/droplets?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(6),
        ),
        (
            "GET /v2/droplets/12/actions?page=1&per_page=200",
            "",
            200,
            "/actions",
            NULL,
        ),
        (
            "POST /v2/droplets/12/actions",
            r#"{"type":"power_cycle"}"#,
            403,
            "/message",
            NULL,
        ),
        (
            "GET /v2/images?page=1&per_page=200",
            "",
            403,
            "/message",
            NULL,
        ),
        ("GET /v2/account", "", 403, "/message", NULL),
    ];
    live(&DOCTL, role, World::default(), &rows).await;
}

/// `doctl compute droplet-action snapshot --wait`, `snapshot list`, `snapshot delete`.
#[tokio::test]
async fn s14_doctl_makes_snapshots_and_deletes_none() {
    let role = Role("snapshots.yaml", &["--role", "snapshots"]);
    let kept = json!({ "id": "7040", "name": "nightly-of-kept", "created_at": "2020-07-28T16:47:44Z", "regions": ["nyc3"],
        "resource_id": "40", "resource_type": "droplet", "min_disk_size": 25, "size_gigabytes": 2.34, "tags": ["nightly"] });
    let world = World::default()
        .with_droplet(40, "kept", &["nightly"])
        .with("snapshots", [kept]);
    let rows = [
        (
            "GET /v2/snapshots?page=1&per_page=200",
            "",
            200,
            "/meta/total",
            json!(1),
        ),
        (
            "POST /v2/droplets/40/actions",
            r#"{"name":"nightly-1","type":"snapshot"}"#,
            201,
            "/action/id",
            NULL,
        ),
        (
            "GET /v2/actions/{action}",
            "",
            200,
            "/action/status",
            json!("completed"),
        ),
        ("DELETE /v2/snapshots/7040", "", 403, "/message", NULL),
        (
            "POST /v2/droplets/12/actions",
            r#"{"name":"nightly-1","type":"snapshot"}"#,
            404,
            "/message",
            NULL,
        ),
    ];
    live(&DOCTL, role, world, &rows).await;
}

const IN_PROJECT: Role<'_> = Role(
    "one-project.yaml",
    &["--role", "one-project", "--var", "project=client-a"],
);

/// A Droplet as doctl asks for it.
const NEW: &str = r#"{"name":"n","region":"nyc3","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64","ssh_keys":[],"backups":false,"ipv6":false,"private_networking":false,"monitoring":false}"#;
const NULL: Value = Value::Null;
