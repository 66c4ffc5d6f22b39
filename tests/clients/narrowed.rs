//! The stories of narrowed sub-tokens, each with the role that `examples/roles` has for it, lived by pydo.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use super::certificates::Certificates;
use super::support::standin::Heard;
use super::support::{Gate, REAL_TOKEN, StandInApi, World};
use super::{NOWHERE_ELSE, python};

/// A role as the examples have it.
pub fn example(file: &str) -> String {
    let roles = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/roles");
    fs::read_to_string(roles.join(file)).unwrap()
}

/// A gate that speaks TLS as `host`, with the roles of a file of the examples.
pub async fn gate(api: &StandInApi, host: &str, file: &str) -> (Gate, Certificates) {
    let certificates = Certificates::make(&[host]);
    let tls = json!({ "certificate": certificates.server(), "private_key": certificates.key() });
    let gate = Gate::builder(api)
        .policy(&example(file))
        .set("listen", json!([{ "address": "127.0.0.1:0", "tls": tls }]))
        .start()
        .await;
    (gate, certificates)
}

/// Has pydo live a story of `pydo_stories.py` with the role that `options` of `token issue` name; what it wrote.
async fn pydo(story: &str, file: &str, options: &[&str], world: World) -> Vec<String> {
    let api = StandInApi::start_with(world).await;
    let (gate, certificates) = gate(&api, "localhost", file).await;
    let token = gate.issue(options).await;
    let mut command = python("pydo_stories.py");
    command
        .arg(story)
        .env(
            "TIDEGATE_URL",
            format!("https://localhost:{}", gate.address().port()),
        )
        .env("TOKEN", token)
        .env("REQUESTS_CA_BUNDLE", certificates.authority())
        .envs(NOWHERE_ELSE)
        .stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let real = |heard: &Heard| heard.bearer() == Some(REAL_TOKEN);
    assert!(api.heard().iter().all(real));
    let writes = api.writes().iter().map(Heard::line).collect();
    gate.finish(&api).await;
    writes
}

#[tokio::test]
async fn s2_pydo_changes_the_rules_of_one_firewall() {
    let own = "fb6045f1-cf1d-4ca3-bfac-18832663025b";
    let options = [
        "--role",
        "firewall-rules",
        "--var",
        &format!("firewall={own}"),
    ];
    let writes = pydo(
        "s2_firewall_rules",
        "firewall-rules.yaml",
        &options,
        World::default(),
    )
    .await;
    let rules = |method: &str| format!("{method} /v2/firewalls/{own}/rules");
    assert_eq!(writes, [rules("POST"), rules("DELETE")]);
}

#[tokio::test]
async fn s3_pydo_lists_one_repository_and_gets_the_login_to_pull() {
    let options = ["--role", "registry-pull", "--var", "repository=web"];
    let writes = pydo(
        "s3_registry_pull",
        "registry-repository.yaml",
        &options,
        World::default(),
    )
    .await;
    assert!(writes.is_empty(), "{writes:?}");
}

#[tokio::test]
async fn s4_pydo_works_in_one_project() {
    let options = ["--role", "one-project", "--var", "project=client-a"];
    let writes = pydo(
        "s4_one_project",
        "one-project.yaml",
        &options,
        World::default(),
    )
    .await;
    let project = "POST /v2/projects/4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679/resources";
    let [created, assigned, destroyed] = writes.as_slice() else {
        panic!("{writes:?}");
    };
    assert_eq!(
        (created.as_str(), assigned.as_str()),
        ("POST /v2/droplets", project)
    );
    assert!(destroyed.starts_with("DELETE /v2/droplets/"), "{destroyed}");
}

#[tokio::test]
async fn s5_pydo_powers_and_resizes_one_droplet() {
    let options = ["--role", "power-and-size", "--var", "droplet=12"];
    let writes = pydo(
        "s5_power_and_size",
        "power-and-size.yaml",
        &options,
        World::default(),
    )
    .await;
    assert_eq!(writes, ["POST /v2/droplets/12/actions"; 3]);
}

#[tokio::test]
async fn s6_pydo_puts_one_droplet_and_its_volumes_on_snapshots() {
    let options = ["--role", "backup", "--var", "droplet=12"];
    let writes = pydo("s6_backup", "backup.yaml", &options, World::default()).await;
    let volume = "POST /v2/volumes/506f78a4-e098-11e5-ad9f-000000000001/snapshots";
    assert_eq!(writes, [volume, "POST /v2/droplets/12/actions"]);
}

#[tokio::test]
async fn s8_pydo_has_the_droplets_of_its_tag() {
    let options = ["--role", "client", "--var", "client=a"];
    let writes = pydo(
        "s8_own_droplets",
        "own-droplets.yaml",
        &options,
        World::default(),
    )
    .await;
    assert_eq!(writes.len(), 3, "made, rebooted, destroyed: {writes:?}");
}

#[tokio::test]
async fn s10_pydo_reads_everything_but_what_logs_in() {
    let writes = pydo(
        "s10_read_only",
        "read-only.yaml",
        &["--role", "read-only"],
        World::default(),
    )
    .await;
    assert!(writes.is_empty(), "{writes:?}");
}

#[tokio::test]
async fn s11_pydo_has_droplets_only_or_images_only() {
    let writes = pydo(
        "s11_droplets_only",
        "people.yaml",
        &["--role", "droplets"],
        World::default(),
    )
    .await;
    assert_eq!(writes.len(), 2, "made, destroyed: {writes:?}");
    let writes = pydo(
        "s11_images_only",
        "people.yaml",
        &["--role", "images"],
        World::default(),
    )
    .await;
    assert_eq!(writes, ["PUT /v2/images/7001", "DELETE /v2/images/7001"]);
}

#[tokio::test]
async fn s14_pydo_makes_snapshots_and_deletes_none() {
    let snapshot = json!({ "id": "7040", "name": "nightly-of-kept", "created_at": "2020-07-28T16:47:44Z", "regions": ["nyc3"],
        "resource_id": "40", "resource_type": "droplet", "min_disk_size": 25, "size_gigabytes": 2.34, "tags": ["nightly"] });
    let world = World::default()
        .with_droplet(40, "kept", &["nightly"])
        .with("snapshots", [snapshot]);
    let writes = pydo(
        "s14_snapshots",
        "snapshots.yaml",
        &["--role", "snapshots"],
        world,
    )
    .await;
    assert_eq!(writes, ["POST /v2/droplets/40/actions"]);
}
