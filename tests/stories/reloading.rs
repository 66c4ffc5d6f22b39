//! The daemon notices by itself when one of its files changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::time::sleep;

use crate::support::{Gate, REAL_TOKEN, StandInApi};

const ALL: &str = "version: 1\nroles: { all: { allow: [{ scopes: ['*'] }] } }\n";
const IMAGES: &str = "version: 1\nroles: { all: { allow: [{ scopes: [image:read] }] } }\n";

/// How many log lines say that.
fn said(gate: &Gate, what: &str) -> usize {
    gate.logs()
        .iter()
        .filter(|line| line.contains(what))
        .count()
}

/// Waits until the daemon has reloaded so often.
async fn reloads(gate: &Gate, count: usize) {
    let begun = Instant::now();
    while said(gate, "reloaded") < count {
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(20), "no reload came");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(said(gate, "reloaded"), count, "one change is one reload");
}

async fn droplet(gate: &Gate, token: &str) -> u16 {
    let answer = gate.get("/v2/droplets/12").token(token).send().await;
    answer.status.as_u16()
}

#[tokio::test]
async fn a_new_policy_is_in_force_without_a_signal() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, ALL).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(droplet(&gate, &token).await, 200);
    gate.write_policy(IMAGES);
    reloads(&gate, 1).await;
    assert_eq!(droplet(&gate, &token).await, 403);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_new_real_token_and_a_new_configuration_are_used_without_a_signal() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, ALL).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let next = format!("dop_v1_{}", "beef".repeat(16));
    gate.files().write("do-token", &next);
    reloads(&gate, 1).await;
    assert_eq!(droplet(&gate, &token).await, 401, "the API's own answer");
    assert_eq!(api.heard()[0].bearer(), Some(next.as_str()));
    gate.files().write("do-token", REAL_TOKEN);
    reloads(&gate, 2).await;
    let config = gate.files().read("tidegate.yaml");
    let config = config.replacen('{', "{ \"public_url\": \"https://gate.example\",", 1);
    gate.files().write("tidegate.yaml", &config);
    reloads(&gate, 3).await;
    let list = gate.get("/v2/droplets?per_page=1").token(&token);
    let next = list.send().await.json()["links"]["pages"]["next"].clone();
    assert_eq!(next, "https://gate.example/v2/droplets?page=2&per_page=1");
    gate.finish(&api).await;
}

#[tokio::test]
async fn files_that_the_configuration_names_are_watched_whichever_they_are() {
    let api = StandInApi::start().await;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls =
        json!({ "certificate": "tls.crt", "private_key": "tls.key", "client_ca": "clients.pem" });
    let extra = |operation: &str| {
        format!(
            "section: New\nendpoints:\n  GET /v2/new/{{id}}:\n    operation: {operation}\n    scopes: new:read\n"
        )
    };
    let gate = Gate::builder(&api)
        .policy(ALL)
        .file("tls.crt", &pem)
        .file("tls.key", &key)
        .file("clients.pem", &pem)
        .file("ca.pem", &pem)
        .file("extra.yaml", &extra("new_get"))
        .set("listen", json!([{ "address": "127.0.0.1:0", "tls": tls }]))
        .set("upstream.ca_file", json!("ca.pem"))
        .set("catalog", json!({ "extra": "extra.yaml" }))
        .start()
        .await;
    let changes = [
        ("tls.crt", format!("{pem}\n")),
        ("tls.key", format!("{key}\n")),
        ("clients.pem", format!("{pem}\n")),
        ("ca.pem", format!("{pem}\n")),
        ("extra.yaml", extra("new_read")),
    ];
    for (count, (file, text)) in changes.iter().enumerate() {
        gate.files().write(file, text);
        reloads(&gate, count + 1).await;
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_link_swapped_on_the_way_to_a_file_is_noticed() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, ALL).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let at = |name: &str| gate.files().path(name);
    for (version, policy) in [("..1", ALL), ("..2", IMAGES)] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("policy.yaml"), policy).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/policy.yaml", at("next")).unwrap();
    fs::rename(at("next"), at("policy.yaml")).unwrap();
    reloads(&gate, 1).await;
    assert_eq!(droplet(&gate, &token).await, 200);
    symlink("..2", at("..next")).unwrap();
    fs::rename(at("..next"), at("..data")).unwrap();
    reloads(&gate, 2).await;
    assert_eq!(droplet(&gate, &token).await, 403);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_burst_of_writes_is_one_reload_and_a_half_written_file_is_left_alone() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, ALL).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let (mut written, mut longest_pause) = (Instant::now(), Duration::ZERO);
    for end in (1..=25).map(|count| IMAGES.len() * count / 25) {
        fs::write(gate.files().path("policy.yaml"), &IMAGES[..end]).unwrap();
        longest_pause = longest_pause.max(written.elapsed());
        written = Instant::now();
        // A machine that stalls for as long as the daemon waits has shown it a file at rest.
        let stalled = longest_pause > Duration::from_millis(900);
        assert!(stalled || said(&gate, "reload") == 0, "in mid-writing");
        sleep(Duration::from_millis(100)).await; // an editor's pace, for longer than two looks
    }
    if longest_pause > Duration::from_millis(900) {
        return gate.finish(&api).await;
    }
    reloads(&gate, 1).await;
    assert_eq!(said(&gate, "reload failed"), 0);
    assert_eq!(droplet(&gate, &token).await, 403);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_broken_policy_keeps_the_old_one_is_told_once_and_mending_heals() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, ALL).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let broken = &IMAGES[..IMAGES.len() - 3];
    gate.write_policy(broken);
    gate.log_until("stay in force").await;
    assert_eq!(droplet(&gate, &token).await, 200);
    gate.write_policy(broken); // the same once more
    let touched = gate.files().read("do-token");
    gate.files().write("do-token", &touched);
    sleep(Duration::from_secs(3)).await; // that nothing more is said takes its time
    assert_eq!(said(&gate, "stay in force"), 1);
    gate.write_policy(IMAGES);
    reloads(&gate, 1).await;
    assert_eq!(droplet(&gate, &token).await, 403);
    gate.finish(&api).await;
}

/// The new configuration names a policy that is not there yet; that it comes is noticed too.
#[tokio::test]
async fn a_file_that_only_the_new_configuration_names_may_come_later() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, ALL).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let config = gate.files().read("tidegate.yaml");
    let config = config.replace("policy.yaml", "new-policy.yaml");
    gate.files().write("tidegate.yaml", &config);
    gate.log_until("stay in force").await;
    assert_eq!(droplet(&gate, &token).await, 200);
    gate.files().write("new-policy.yaml", IMAGES);
    reloads(&gate, 1).await;
    assert_eq!(droplet(&gate, &token).await, 403);
    gate.finish(&api).await;
}

#[tokio::test]
async fn another_address_is_told_as_a_thing_of_the_next_start() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, ALL).await;
    let config = gate.files().read("tidegate.yaml");
    let config = config.replace("127.0.0.1:0", "127.0.0.2:0");
    gate.files().write("tidegate.yaml", &config);
    let logs = gate.log_until("takes effect at the next start").await;
    assert!(logs.iter().any(|line| line.contains("key=\"listen\"")));
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(droplet(&gate, &token).await, 200);
    gate.finish(&api).await;
}
