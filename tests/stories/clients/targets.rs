//! Paths and queries as clients write them (notes 10 to 13, and 29: nothing is put right by a redirect).

use super::recorded::{ANSIBLE, DO_WRAPPER, DOCTL, LIBCLOUD, PYDO, PYTHON_DIGITALOCEAN};
use super::talk::{Client, Talk};
use super::{ALL, gate};
use crate::support::standin::Heard;
use crate::support::{Gate, StandInApi};

#[tokio::test]
async fn slashes_and_queries_that_clients_add_change_nothing() {
    let (api, gate, token) = gate(ALL).await;
    let create = r#"{"name":"n","region":"nyc3","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64"}"#;
    let attach = r#"{"type":"attach","droplet_id":31,"volume_name":"spare","region":"nyc3"}"#;
    let by_id = r#"{"type":"attach","droplet_id":31}"#;
    let record = r#"{"type":"A","name":"x","data":"192.0.2.1"}"#;
    let cases: [(&Client, &str, &str, &str); 17] = [
        (
            &PYTHON_DIGITALOCEAN,
            "GET /v2/droplets/?per_page=200",
            "",
            "GET /v2/droplets?per_page=200",
        ),
        (
            &PYTHON_DIGITALOCEAN,
            "GET /v2/droplets/12?per_page=200",
            "",
            "GET /v2/droplets/12?per_page=200",
        ),
        (
            &PYTHON_DIGITALOCEAN,
            "GET /v2/account/keys/?per_page=200",
            "",
            "GET /v2/account/keys?per_page=200",
        ),
        (
            &PYTHON_DIGITALOCEAN,
            "POST /v2/droplets/",
            create,
            "POST /v2/droplets",
        ),
        (
            &PYTHON_DIGITALOCEAN,
            "POST /v2/droplets/12/actions/",
            r#"{"type":"power_cycle"}"#,
            "POST /v2/droplets/12/actions",
        ),
        (
            &PYTHON_DIGITALOCEAN,
            "GET /v2/droplets/12/actions/?per_page=200",
            "",
            "GET /v2/droplets/12/actions?per_page=200",
        ),
        (
            &PYTHON_DIGITALOCEAN,
            "DELETE /v2/firewalls/bb4b2611-3d72-467b-8602-280330ecd65c/",
            "{}",
            "DELETE /v2/firewalls/bb4b2611-3d72-467b-8602-280330ecd65c",
        ),
        (
            &DO_WRAPPER,
            "GET /v2/droplets/?per_page=10&page=1",
            "",
            "GET /v2/droplets?page=1&per_page=10",
        ),
        (
            &DO_WRAPPER,
            "POST /v2/droplets/",
            create,
            "POST /v2/droplets",
        ),
        (
            &DO_WRAPPER,
            "DELETE /v2/droplets/22/",
            "",
            "DELETE /v2/droplets/22",
        ),
        (&ANSIBLE, "GET /v2/firewalls?", "null", "GET /v2/firewalls"),
        (
            &LIBCLOUD,
            "POST /v2/droplets?per_page=200",
            create,
            "POST /v2/droplets?per_page=200",
        ),
        (
            &LIBCLOUD,
            "POST /v2/volumes/actions?per_page=200",
            attach,
            "POST /v2/volumes/actions?per_page=200",
        ),
        (
            &LIBCLOUD,
            "PUT /v2/domains/example.com/records/106?per_page=200",
            record,
            "PUT /v2/domains/example.com/records/106?per_page=200",
        ),
        (
            &LIBCLOUD,
            "DELETE /v2/droplets/23?per_page=200",
            "",
            "DELETE /v2/droplets/23?per_page=200",
        ),
        (
            &PYDO,
            "POST /v2/volumes/506f78a4-e098-11e5-ad9f-000000000003/actions?per_page=20&page=1",
            by_id,
            "POST /v2/volumes/506f78a4-e098-11e5-ad9f-000000000003/actions?page=1&per_page=20",
        ),
        (
            &PYDO,
            "POST /v2/volumes/actions?per_page=20&page=1",
            attach,
            "POST /v2/volumes/actions?page=1&per_page=20",
        ),
    ];
    for (client, sent, body, heard) in cases {
        api.clear();
        let got = Talk::open(client, &gate, &token)
            .await
            .send(sent, body)
            .await;
        let lines: Vec<_> = api.heard().iter().map(Heard::line).collect();
        assert_eq!(lines, [heard], "{sent} by {}: {}", client.name, got.text);
        assert!(
            got.status.is_success(),
            "{sent} by {}: {}",
            client.name,
            got.text
        );
    }
    gate.finish(&api).await;
}

/// A query alone does not make a deletion one by tag, nor does it take a request out of a pattern.
#[tokio::test]
async fn a_deletion_by_tag_is_told_by_its_tag() {
    let api = StandInApi::start().await;
    let policy = "
version: 1
roles:
  by-id:
    allow: [{ requests: ['DELETE /v2/droplets/[0-9]+'] }]
  no-tags:
    allow: [{ scopes: [droplet:delete] }]
";
    let gate = Gate::start(&api, policy).await;
    let (by_id, no_tags) = (
        gate.issue(&["by-id", "--role", "by-id"]).await,
        gate.issue(&["no-tags", "--role", "no-tags"]).await,
    );
    let delete = async |token: &str, client, line| {
        Talk::open(client, &gate, token).await.send(line, "").await
    };
    let one = delete(&by_id, &LIBCLOUD, "DELETE /v2/droplets/12?per_page=200").await;
    assert_eq!(one.status, 204, "{}", one.text);
    let one = delete(&no_tags, &LIBCLOUD, "DELETE /v2/droplets/13?per_page=200").await;
    assert_eq!(one.status, 204, "{}", one.text);
    for (token, client, line) in [
        (&by_id, &DOCTL, "DELETE /v2/droplets?tag_name=client-b"),
        (&no_tags, &DOCTL, "DELETE /v2/droplets?tag_name=client-b"),
        (
            &no_tags,
            &LIBCLOUD,
            "DELETE /v2/droplets?per_page=200&tag_name=client-b",
        ),
    ] {
        let got = delete(token, client, line).await;
        assert_eq!(got.status, 403, "{line}: {}", got.text);
    }
    assert_eq!(api.heard_count(), 2);
    gate.finish(&api).await;
}

/// The one-click list of doctl; the credentials of pydo, for which 0 would mean for ever.
#[tokio::test]
async fn parameters_without_a_value_are_sent_on() {
    let (api, gate, token) = gate(ALL).await;
    let got = Talk::open(&DOCTL, &gate, &token)
        .await
        .ask("GET /v2/1-clicks?type=")
        .await;
    assert_eq!(got.status, 200, "{}", got.text);
    assert_eq!(api.heard()[0].line(), "GET /v2/1-clicks?type=");
    let cluster = "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af";
    for what in ["kubeconfig", "credentials"] {
        api.clear();
        let line = format!("GET {cluster}/{what}?expiry_seconds=0");
        let got = Talk::open(&PYDO, &gate, &token).await.ask(&line).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let query = api.heard()[0].query();
        assert_eq!(
            query,
            [("expiry_seconds".to_owned(), "43200".to_owned())],
            "{what}"
        );
    }
    gate.finish(&api).await;
}
