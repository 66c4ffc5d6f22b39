//! Clients that follow links, or read what they need from them (notes 8 and 9).

use serde_json::json;

use super::recorded::{LEXICON, OCTODNS, PYTHON_DIGITALOCEAN};
use super::talk::Talk;
use super::{ALL, gate};
use crate::listening::{connect, tls_gate};
use crate::support::StandInApi;

/// python-digitalocean asks whatever `next` says, with its token in the header.
#[tokio::test]
async fn python_digitalocean_is_led_back() {
    let (api, gate, token) = gate("droplet:read").await;
    let mut talk = Talk::open(&PYTHON_DIGITALOCEAN, &gate, &token).await;
    let mut next = Some(format!("{}/v2/droplets/?per_page=2", gate.url()));
    let mut names = Vec::new();
    while let Some(url) = next {
        let target = url.strip_prefix(&gate.url());
        let target = target.unwrap_or_else(|| panic!("{url} leads around tidegate"));
        let page = talk.ask(&format!("GET {target}")).await.json();
        names.extend(
            page["droplets"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one["name"].clone()),
        );
        next = page["links"]["pages"]["next"].as_str().map(str::to_owned);
    }
    assert_eq!(
        names,
        ["a-web", "a-db", "a-web-keep", "b-web", "b-db", "build"]
    );
    assert_eq!(api.heard_count(), 3);
    gate.finish(&api).await;
}

/// lexicon has a fixed host, and takes its own base, with this host in it, off the front of `next`.
#[tokio::test]
async fn lexicon_finds_its_own_base() {
    let api = StandInApi::start().await;
    let (gate, certificate) = tls_gate(&api, json!({})).await;
    let token = gate.issue(&["all", "--role", "all"]).await;
    let stream = connect(&gate, &certificate, "http/1.1", None)
        .await
        .unwrap();
    let mut lexicon = Talk::over(stream, &LEXICON, "api.digitalocean.com", &token);
    assert_eq!(lexicon.ask("GET /v2/domains/example.com").await.status, 200);
    let page = lexicon
        .ask("GET /v2/domains/example.com/records?per_page=5")
        .await
        .json();
    let next = page["links"]["pages"]["next"].as_str().unwrap();
    let base = "https://api.digitalocean.com/v2";
    assert_eq!(
        next.strip_prefix(base),
        Some("/domains/example.com/records?page=2&per_page=5"),
        "{next}"
    );
    gate.finish(&api).await;
}

/// octodns goes on while there is a `last`, and fails where a list has no `links` at all.
#[tokio::test]
async fn octodns_walks_to_the_last_page() {
    let (api, gate, token) = gate(ALL).await;
    api.world(|world| {
        for id in 0..40 {
            let record = json!({ "id": 5000 + id, "type": "A", "name": format!("h-{id}"), "data": "192.0.2.1" });
            world.put("domains/example.com/records", record);
        }
    });
    let mut octodns = Talk::open(&OCTODNS, &gate, &token).await;
    let (mut page, mut records) = (1, 0);
    loop {
        let got = octodns
            .ask(&format!("GET /v2/domains/example.com/records?page={page}"))
            .await
            .json();
        records += got["domain_records"].as_array().unwrap().len();
        assert!(got["links"].is_object(), "{got}");
        if got["links"]["pages"]["last"].is_null() {
            assert_eq!(got["meta"]["total"], records);
            break;
        }
        page += 1;
    }
    assert_eq!((page, records), (3, 53));
    gate.finish(&api).await;
}
