//! What clients do one after another (notes 19 to 24).

use serde_json::json;

use super::recorded::{DOCTL, LEGO, LEXICON, LIBCLOUD, OCTODNS, TERRAFORM};
use super::talk::{Client, Talk};
use super::{ALL, gate};

/// `doctl compute droplet create --wait`: the action by its id alone, then the Droplet.
#[tokio::test]
async fn doctl_waits_for_a_droplet() {
    let (api, gate, token) = gate("droplet:create, droplet:read, image:read, actions:read").await;
    let mut doctl = Talk::open(&DOCTL, &gate, &token).await;
    let body = r#"{"name":"n","region":"nyc3","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64","ssh_keys":[],"backups":false,"ipv6":false,"private_networking":false,"monitoring":false}"#;
    let made = doctl.send("POST /v2/droplets", body).await;
    assert_eq!(made.status, 202, "{}", made.text);
    let action = made.json()["links"]["actions"][0].clone();
    let target = format!("/v2/actions/{}", action["id"]);
    assert_eq!(action["href"], format!("{}{target}", gate.url()));
    let polled = doctl.ask(&format!("GET {target}")).await.json();
    assert_eq!(polled["action"]["status"], "completed");
    let id = made.json()["droplet"]["id"].clone();
    let droplet = doctl.ask(&format!("GET /v2/droplets/{id}")).await.json();
    assert_eq!(droplet["droplet"]["status"], "active");
    gate.finish(&api).await;
}

/// Names relative, or absolute with a dot; updates by PATCH, by PUT, by DELETE and POST; deletion with and without a look.
#[tokio::test]
async fn records_are_written_in_every_clients_way() {
    let (api, gate, token) = gate("domain:read, domain:update").await;
    let posts: [(&Client, &str); 4] = [
        (
            &LEGO,
            r#"{"type":"TXT","name":"_acme-challenge.www.example.com.","data":"d","ttl":30}"#,
        ),
        (
            &DOCTL,
            r#"{"type":"TXT","name":"_acme-challenge.www","data":"d","priority":0,"ttl":30,"weight":0,"flags":0}"#,
        ),
        (
            &LEXICON,
            r#"{"type":"TXT","name":"_acme-challenge.www","data":"d","ttl":3600}"#,
        ),
        (
            &TERRAFORM,
            r#"{"type":"TXT","name":"_acme-challenge.www","data":"d","ttl":30}"#,
        ),
    ];
    let records = "/v2/domains/example.com/records";
    for (client, body) in posts {
        api.clear();
        let mut talk = Talk::open(client, &gate, &token).await;
        let made = talk.send(&format!("POST {records}"), body).await;
        assert_eq!(made.status, 201, "{}: {}", client.name, made.text);
        assert_eq!(api.heard()[0].body, body, "{}", client.name);
        let record = made.json()["domain_record"].clone();
        assert_eq!(record["name"], "_acme-challenge.www");
        let gone = talk
            .send(&format!("DELETE {records}/{}", record["id"]), "")
            .await;
        assert_eq!(gone.status, 204, "{}: {}", client.name, gone.text);
        assert_eq!(
            api.heard_count(),
            2,
            "nothing is looked up for {}",
            client.name
        );
    }
    let updates: [(&Client, &str, &str, u16); 6] = [
        (
            &DOCTL,
            "PATCH",
            r#"{"data":"new","priority":0,"weight":0,"flags":0}"#,
            200,
        ),
        (
            &TERRAFORM,
            "PUT",
            r#"{"type":"TXT","name":"_acme-challenge","data":"new","ttl":30}"#,
            200,
        ),
        (
            &LEXICON,
            "PUT",
            r#"{"type":"TXT","name":"_acme-challenge","data":"newer"}"#,
            200,
        ),
        (&LIBCLOUD, "PUT", r#"{"data":"newest"}"#, 200),
        (&OCTODNS, "DELETE", "", 204),
        (
            &OCTODNS,
            "POST",
            r#"{"type":"TXT","name":"_acme-challenge","data":"new","ttl":30}"#,
            201,
        ),
    ];
    for (client, method, body, status) in updates {
        let line = match method {
            "POST" => format!("POST {records}"),
            _ => format!("{method} {records}/105"),
        };
        let got = Talk::open(client, &gate, &token)
            .await
            .send(&line, body)
            .await;
        assert_eq!(
            got.status.as_u16(),
            status,
            "{line} by {}: {}",
            client.name,
            got.text
        );
    }
    gate.finish(&api).await;
}

/// `doctl compute droplet delete --tag-name`: the list first, in which a name or a tag is looked for.
#[tokio::test]
async fn doctl_deletes_by_tag_what_it_listed() {
    let (api, gate, token) = gate("droplet:read, droplet:delete, tag:read").await;
    let mut doctl = Talk::open(&DOCTL, &gate, &token).await;
    let listed = doctl
        .ask("GET /v2/droplets?page=1&per_page=200&tag_name=client-b")
        .await
        .json();
    let names: Vec<_> = listed["droplets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["b-web", "b-db"]);
    assert_eq!(
        doctl
            .ask("DELETE /v2/droplets?tag_name=client-b")
            .await
            .status,
        204
    );
    assert_eq!(
        api.world(|world| world.names("droplets")),
        ["a-web", "a-db", "a-web-keep", "build"]
    );
    gate.finish(&api).await;
}

/// Terraform's `apply`: each thing is made, and asked for by its new id at once.
#[tokio::test]
async fn terraform_reads_back_what_it_made() {
    let (api, gate, token) = gate(ALL).await;
    let mut terraform = Talk::open(&TERRAFORM, &gate, &token).await;
    let cases = [
        ("/v2/tags", "tag", "name", json!({ "name": "web" })),
        (
            "/v2/domains/example.com/records",
            "domain_record",
            "id",
            json!({ "type": "A", "name": "w", "data": "192.0.2.9", "ttl": 30 }),
        ),
        (
            "/v2/volumes",
            "volume",
            "id",
            json!({ "region": "nyc3", "name": "v", "size_gigabytes": 10, "tags": null }),
        ),
        (
            "/v2/droplets",
            "droplet",
            "id",
            json!({ "name": "n", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "ssh_keys": null }),
        ),
    ];
    let mut volume = String::new();
    let mut droplet = json!(null);
    for (list, one, key, body) in cases {
        let made = terraform
            .send(&format!("POST {list}"), &body.to_string())
            .await;
        assert!(made.status.is_success(), "{list}: {}", made.text);
        let id = made.json()[one][key].clone();
        let id_text = id.as_str().map_or_else(|| id.to_string(), str::to_owned);
        let read = terraform.ask(&format!("GET {list}/{id_text}")).await;
        assert_eq!(read.status, 200, "{list}: {}", read.text);
        assert_eq!(read.json()[one][key], id);
        match one {
            "volume" => volume = id_text,
            "droplet" => droplet = id,
            _ => {}
        }
    }
    let attach = json!({ "type": "attach", "droplet_id": droplet }).to_string();
    let action = terraform
        .send(&format!("POST /v2/volumes/{volume}/actions"), &attach)
        .await;
    let id = action.json()["action"]["id"].clone();
    let polled = terraform.ask(&format!("GET /v2/actions/{id}")).await.json();
    assert_eq!(polled["action"]["status"], "completed");
    gate.finish(&api).await;
}
