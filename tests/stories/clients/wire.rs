//! Headers, connections, TLS, and answers that are not the usual JSON (notes 25 to 30).

use hyper::Method;
use serde_json::json;

use super::recorded::{ALL_CLIENTS, ANSIBLE, DOCTL, DOTS_WRAPPER, PYDO};
use super::talk::{Client, Talk};
use super::{ALL, gate};
use crate::listening::{connect, tls_gate};
use crate::support::{Fault, REAL_TOKEN, Reply, StandInApi};

/// The API hears who asks and what is accepted, in plain, with the real token; it hears nothing else of a client.
#[tokio::test]
async fn every_client_is_heard_as_itself_and_no_more() {
    let (api, gate, token) = gate(ALL).await;
    for client in ALL_CLIENTS {
        api.clear();
        let got = Talk::open(client, &gate, &token)
            .await
            .ask("GET /v2/droplets?per_page=2")
            .await;
        assert_eq!(got.status, 200, "{}: {}", client.name, got.text);
        assert_eq!(
            got.json()["droplets"][0]["name"],
            "a-web",
            "in plain, whatever was asked for"
        );
        assert_eq!(got.header("content-encoding"), None);
        let heard = &api.heard()[0];
        assert_eq!(heard.bearer(), Some(REAL_TOKEN));
        for name in ["user-agent", "accept", "accept-language"] {
            assert_eq!(
                heard.header(name),
                client.sends(name),
                "{name} of {}",
                client.name
            );
        }
        assert_eq!(heard.header("accept-encoding"), Some("identity"));
        assert_eq!(
            heard.header("host"),
            Some(api.address().to_string().as_str())
        );
        let others = [
            "authorization",
            "user-agent",
            "accept",
            "accept-language",
            "accept-encoding",
            "host",
        ];
        let more: Vec<_> = heard
            .headers
            .keys()
            .filter(|name| !others.contains(&name.as_str()))
            .collect();
        assert!(more.is_empty(), "{more:?} of {}", client.name);
    }
    gate.finish(&api).await;
}

/// ansible closes after each answer; the others go on over the same connection.
#[tokio::test]
async fn connections_end_as_clients_ask() {
    let (api, gate, token) = gate(ALL).await;
    for client in ALL_CLIENTS {
        let mut talk = Talk::open(client, &gate, &token).await;
        assert_eq!(talk.ask("GET /v2/droplets/12").await.status, 200);
        if client.sends("connection") == Some("close") {
            assert!(talk.is_closed().await, "{}", client.name);
        } else {
            let record = r#"{"type":"A","name":"x","data":"192.0.2.1"}"#;
            let made = talk
                .send("POST /v2/domains/example.com/records", record)
                .await;
            assert_eq!(made.status, 201, "{}: {}", client.name, made.text);
            assert_eq!(
                talk.ask("GET /v2/droplets/12").await.status,
                200,
                "{}",
                client.name
            );
        }
    }
    assert_eq!(ANSIBLE.sends("connection"), Some("close"));
    gate.finish(&api).await;
}

/// dots-wrapper and do-wrapper name no protocol in their TLS greeting.
#[tokio::test]
async fn a_client_that_names_no_protocol_gets_http_1() {
    let api = StandInApi::start().await;
    let (gate, certificate) = tls_gate(&api, json!({})).await;
    let token = gate.issue(&["all", "--role", "all"]).await;
    let stream = connect(&gate, &certificate, "", None).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let mut talk = Talk::over(stream, &DOTS_WRAPPER, "localhost", &token);
    for _ in 0..2 {
        assert_eq!(talk.ask("GET /v2/account").await.status, 200);
    }
    gate.finish(&api).await;
}

/// A kubeconfig is YAML, and log addresses lead to where the logs are.
#[tokio::test]
async fn what_is_no_json_or_leads_elsewhere_passes_as_it_is() {
    let (api, gate, token) = gate(ALL).await;
    let cluster = "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig";
    let yaml =
        "apiVersion: v1\nclusters:\n- cluster:\n    server: https://api.digitalocean.com/v2\n";
    let logs = json!({ "live_url": "wss://logs.example.com/build/?token=fake", "url": "https://logs.example.com/tail",
        "historic_urls": ["https://bucket.example.com/logs?signature=fake"] })
    .to_string();
    let app = "/v2/apps/4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf";
    let cases: [(&Client, String, &str, &str); 3] = [
        (
            &DOCTL,
            format!("{cluster}?expiry_seconds=600&type=token"),
            "application/yaml",
            yaml,
        ),
        (
            &DOCTL,
            format!(
                "{app}/deployments/3aa4d20e-5527-4c00-b496-601fbd22520a/logs?type=RUN&follow=false&tail_lines=-1"
            ),
            "application/json",
            &logs,
        ),
        (
            &PYDO,
            format!("{app}/components/web/logs?follow=false&type=RUN"),
            "application/json",
            &logs,
        ),
    ];
    for (client, target, kind, body) in cases {
        let path = target.split('?').next().unwrap();
        api.fault_once(
            Method::GET,
            path,
            Fault::Reply(Reply::bytes(200, kind, body.to_owned())),
        );
        let got = Talk::open(client, &gate, &token)
            .await
            .ask(&format!("GET {target}"))
            .await;
        assert_eq!(got.status, 200, "{target}: {}", got.text);
        assert_eq!(
            (got.header("content-type"), got.text.as_str()),
            (Some(kind), body),
            "{target}"
        );
    }
    gate.finish(&api).await;
}
