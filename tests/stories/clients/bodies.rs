//! Bodies as clients write them (notes 14 to 18).

use hyper::Method;
use serde_json::{Value, json};

use super::recorded::{
    ANSIBLE, DIGITALOCEAN, DOCTL, DOTS, LEXICON, LIBCLOUD, MCP, PYDO, PYTHON_DIGITALOCEAN,
    TERRAFORM,
};
use super::talk::{Client, Talk};
use super::{ALL, gate};
use crate::support::{Gate, StandInApi};

/// The body of the one request that was heard.
fn heard(api: &StandInApi) -> String {
    let heard = api.heard();
    assert_eq!(heard.len(), 1, "{heard:#?}");
    String::from_utf8(heard[0].body.to_vec()).unwrap()
}

#[tokio::test]
async fn a_body_on_get_stays_behind_and_one_on_delete_travels_on() {
    let (api, gate, token) = gate(ALL).await;
    let rules = r#"{"inbound_rules":[{"protocol":"tcp","ports":"80","sources":{"addresses":["0.0.0.0/0","::/0"]}}],"outbound_rules":null}"#;
    let tagged = r#"{"resources":[{"resource_id":"12","resource_type":"droplet"}]}"#;
    let firewall = "DELETE /v2/firewalls/fb6045f1-cf1d-4ca3-bfac-18832663025b/rules";
    let cases: [(&Client, &str, &str, &str); 9] = [
        (&LEXICON, "GET /v2/domains/example.com", "{}", ""),
        (&ANSIBLE, "GET /v2/account", "null", ""),
        (
            &DIGITALOCEAN,
            "GET /v2/account",
            DIGITALOCEAN.body_of_get,
            "",
        ),
        (
            &PYTHON_DIGITALOCEAN,
            "DELETE /v2/domains/example.com/records/107",
            "{}",
            "{}",
        ),
        (&DIGITALOCEAN, "DELETE /v2/droplets/31", "{}", "{}"),
        (&DOCTL, "DELETE /v2/droplets/23", "", ""), // with a content type
        (&DOCTL, firewall, rules, rules),
        (&PYDO, firewall, rules, rules),
        (&DOCTL, "DELETE /v2/tags/client-a/resources", tagged, tagged),
    ];
    for (client, line, body, travels) in cases {
        api.clear();
        let got = Talk::open(client, &gate, &token)
            .await
            .send(line, body)
            .await;
        assert!(
            got.status.is_success(),
            "{line} by {}: {}",
            client.name,
            got.text
        );
        assert_eq!(heard(&api), travels, "{line} by {}", client.name);
    }
    gate.finish(&api).await;
}

/// A key that is there again with an equal value is sent once, so that nobody can read it otherwise.
#[tokio::test]
async fn dots_may_repeat_itself() {
    let (api, gate, token) = gate(ALL).await;
    let kind = r#""type":"power_off","#.repeat(9);
    let cases = [
        (
            "POST /v2/droplets",
            r#"{"image":"ubuntu-24-04-x64","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64","size":"s-1vcpu-1gb","name":"n"}"#.to_owned(),
            r#"{"image":"ubuntu-24-04-x64","size":"s-1vcpu-1gb","name":"n"}"#,
        ),
        (
            "POST /v2/droplets/12/actions",
            format!("{{{}}}", kind.trim_end_matches(',')),
            r#"{"type":"power_off"}"#,
        ),
    ];
    for (line, body, once) in cases {
        api.clear();
        let got = Talk::open(&DOTS, &gate, &token)
            .await
            .send(line, &body)
            .await;
        assert!(got.status.is_success(), "{line}: {}", got.text);
        assert_eq!(heard(&api), once);
    }
    let other = r#"{"type":"power_off","type":"destroy"}"#;
    let got = Talk::open(&DOTS, &gate, &token)
        .await
        .send("POST /v2/droplets/12/actions", other)
        .await;
    assert_eq!(
        (got.status.as_u16(), got.reason()),
        (400, Some("ambiguous_request"))
    );
    gate.finish(&api).await;
}

/// ansible sends its own options along, and null for what is not set; doctl and Terraform null for empty lists.
#[tokio::test]
async fn members_that_nobody_knows_and_nulls_ask_for_nothing() {
    let (api, gate, token) =
        gate("droplet:create, image:read, firewall:create, firewall:update").await;
    let droplet = json!({ "state": "present", "name": "n", "unique_name": true, "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
        "region": "nyc3", "ssh_keys": [], "private_networking": false, "vpc_uuid": null, "user_data": null, "monitoring": false,
        "backups": false, "ipv6": false, "tags": null, "volumes": null, "timeout": 30, "baseurl": "https://api.digitalocean.com/v2",
        "validate_certs": true, "resize_disk": false, "firewall": null, "project_name": "" });
    let by_terraform = json!({ "name": "n", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "ssh_keys": null,
        "backups": false, "ipv6": false, "private_networking": false, "monitoring": false, "tags": null });
    let rules = json!({ "inbound_rules": [{ "protocol": "tcp", "ports": "22", "sources": { "addresses": ["192.0.2.0/24"] } }], "outbound_rules": null });
    let cases: [(&Client, &str, &Value); 3] = [
        (&ANSIBLE, "POST /v2/droplets", &droplet),
        (&TERRAFORM, "POST /v2/droplets", &by_terraform),
        (
            &DOCTL,
            "POST /v2/firewalls/fb6045f1-cf1d-4ca3-bfac-18832663025b/rules",
            &rules,
        ),
    ];
    for (client, line, body) in cases {
        api.clear();
        let got = Talk::open(client, &gate, &token)
            .await
            .send(line, &body.to_string())
            .await;
        assert!(
            got.status.is_success(),
            "{line} by {}: {}",
            client.name,
            got.text
        );
        assert_eq!(heard(&api), body.to_string(), "{line} by {}", client.name);
    }
    gate.finish(&api).await;
}

/// doctl names an image by a number, libcloud by a string of digits: what is private is so either way.
#[tokio::test]
async fn a_private_image_is_one_as_a_number_and_as_a_string() {
    let (api, gate, wild) = gate("'droplet:*', '*:read'").await;
    let create = |image: &str| {
        format!(r#"{{"name":"n","region":"nyc3","size":"s-1vcpu-1gb","image":{image}}}"#)
    };
    let cases: [(&Client, &str, &str, bool); 4] = [
        (&DOCTL, "POST /v2/droplets", r#""ubuntu-24-04-x64""#, true),
        (&DOCTL, "POST /v2/droplets", "7001", false),
        (
            &LIBCLOUD,
            "POST /v2/droplets?per_page=200",
            r#""7001""#,
            false,
        ),
        (&DOTS, "POST /v2/droplets", r#""7001""#, false),
    ];
    // Which image a number is of is looked up; what is refused is not sent.
    for (client, line, image, allowed) in cases {
        let got = Talk::open(client, &gate, &wild)
            .await
            .send(line, &create(image))
            .await;
        assert_eq!(
            got.status.is_success(),
            allowed,
            "{image} by {}: {}",
            client.name,
            got.text
        );
    }
    assert_eq!(api.writes().len(), 1);
    gate.finish(&api).await;
}

#[tokio::test]
async fn values_arrive_in_the_type_they_came_in() {
    let (api, gate, token) = gate(ALL).await;
    let cases: [(&Client, &str, &str); 6] = [
        (
            &DOCTL,
            "POST /v2/droplets",
            r#"{"name":"n","region":"nyc3","size":"s-1vcpu-1gb","image":7001}"#,
        ),
        (
            &LIBCLOUD,
            "POST /v2/droplets?per_page=200",
            r#"{"name":"n","region":"nyc3","size":"s-1vcpu-1gb","image":"7001","user_data":null}"#,
        ),
        (
            &LIBCLOUD,
            "POST /v2/volumes/actions?per_page=200",
            r#"{"type":"attach","droplet_id":"31","volume_name":"spare","region":"nyc3"}"#,
        ),
        (
            &DOCTL,
            "POST /v2/tags/client-b/resources",
            r#"{"resources":[{"resource_id":"12","resource_type":"droplet"}]}"#,
        ),
        (
            &DOCTL,
            "POST /v2/droplets/12/actions",
            r#"{"type":"resize","disk":true,"size":"s-1vcpu-2gb"}"#,
        ),
        (
            &PYTHON_DIGITALOCEAN,
            "POST /v2/droplets/12/actions/",
            r#"{"type":"resize","disk":"true","size":"s-1vcpu-2gb"}"#,
        ),
    ];
    for (client, line, body) in cases {
        api.clear();
        let got = Talk::open(client, &gate, &token)
            .await
            .send(line, body)
            .await;
        assert!(
            got.status.is_success(),
            "{line} by {}: {}",
            client.name,
            got.text
        );
        assert_eq!(heard(&api), body, "{line} by {}", client.name);
    }
    gate.finish(&api).await;
}

/// What the path does not name counts all the same: several names, a volume by its name, whatever carries a tag.
#[tokio::test]
async fn what_a_body_or_a_tag_names_asks_for_its_scope() {
    let attach = r#"{"type":"attach","droplet_id":31,"volume_name":"spare","region":"nyc3"}"#;
    let tagged = r#"{"resources":[{"resource_id":"12","resource_type":"droplet"}]}"#;
    let names =
        r#"{"names":["x","y"],"region":"nyc3","size":"s-1vcpu-1gb","image":"ubuntu-24-04-x64"}"#;
    let cycle = r#"{"type":"power_cycle"}"#;
    let cases: [(&Client, &str, &str, &str, &str); 5] = [
        (
            &PYDO,
            "POST /v2/droplets",
            names,
            "droplet:create, image:read",
            "droplet:create",
        ),
        (
            &LIBCLOUD,
            "POST /v2/volumes/actions?per_page=200",
            attach,
            "block_storage_action:create",
            "block_storage:*",
        ),
        (
            &MCP,
            "POST /v2/droplets/actions?tag_name=client-a",
            cycle,
            "droplet:update, tag:read",
            "droplet:update",
        ),
        (
            &DOCTL,
            "DELETE /v2/droplets?tag_name=client-b",
            "",
            "droplet:delete, tag:read",
            "droplet:delete",
        ),
        (
            &DOCTL,
            "POST /v2/tags/client-b/resources",
            tagged,
            "tag:create, droplet:read",
            "tag:create",
        ),
    ];
    for (client, line, body, enough, less) in cases {
        for (scopes, allowed) in [(enough, true), (less, false)] {
            let (api, gate, token) = gate(&format!("'{}'", scopes.replace(", ", "', '"))).await;
            let got = Talk::open(client, &gate, &token)
                .await
                .send(line, body)
                .await;
            assert_eq!(
                got.status.is_success(),
                allowed,
                "{line} with {scopes}: {}",
                got.text
            );
            assert_eq!(api.heard_count(), usize::from(allowed));
            gate.finish(&api).await;
        }
    }
}

/// Agents are told in YAML, and files go up as they are: such bodies go on as they come, to the API's own media type; and not for
/// who is narrowed, since what they name can't be told.
#[tokio::test]
async fn bodies_that_are_no_json_go_on_as_they_come() {
    let policy = "
version: 1
roles:
  all: { allow: [{ scopes: ['*', agent_harness_session:operate] }] }
  some: { allow: [{ scopes: ['*', agent_harness_session:operate], only: { tag: web } }, { scopes: [agent_harness_session:create] }] }
";
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, policy).await;
    let (all, some) = (
        gate.issue(&["all", "--role", "all"]).await,
        gate.issue(&["some", "--role", "some"]).await,
    );
    let sessions = "/v2/agents/sessions";
    let upload =
        "/v2/agents/sessions/0b9d6f0e-8a55-4b59-9f2b-3f3c7f1f2c11/workspace/upload?path=a.bin";
    let large = vec![0xff; 3 << 20]; // more than is looked into
    let cases = [
        (
            &all,
            sessions,
            "application/x-yaml",
            b"name: x\n".to_vec(),
            None,
        ),
        (
            &all,
            sessions,
            "text/yaml; charset=utf-8",
            b"name: x\n".to_vec(),
            None,
        ),
        (&all, upload, "application/octet-stream", large, None),
        (
            &all,
            sessions,
            "application/octet-stream",
            b"x".to_vec(),
            Some("ambiguous_request"),
        ),
        (
            &all,
            "/v2/tags",
            "application/x-yaml",
            b"name: x".to_vec(),
            Some("ambiguous_request"),
        ),
        (
            &some,
            sessions,
            "application/x-yaml",
            b"name: x\n".to_vec(),
            Some("ambiguous_request"),
        ),
        (
            &some,
            sessions,
            "application/json",
            br#"{"name":"x"}"#.to_vec(),
            None,
        ),
    ];
    for (token, target, media_type, body, refused) in cases {
        api.clear();
        let ask = gate.request(Method::POST, target).token(token);
        let ask = ask.header("content-type", media_type).body(body.clone());
        let answer = ask.send().await;
        assert_eq!(
            answer.reason(),
            refused,
            "{target} {media_type}: {}",
            answer.text()
        );
        let heard = api.heard();
        if refused.is_some() {
            assert!(heard.is_empty(), "{target} {media_type}");
            continue;
        }
        assert_eq!(
            heard[0].header("content-type"),
            Some(media_type),
            "{target}"
        );
        assert!(heard[0].body == body, "{target} {media_type}");
    }
    gate.finish(&api).await;
}
