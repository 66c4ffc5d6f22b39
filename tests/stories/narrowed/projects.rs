//! Projects, and what is in them.

use serde_json::{Value, json};

use super::{NONE, Story, all};

const OWN: &str = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679";
const OTHER: &str = "746c6152-2fa2-11ed-92d3-27aaa54e4988";

/// S4: all there is of one project, whatever its kind.
pub(super) const PROJECT: &str = "
    allow:
      - scopes: ['droplet:*', 'block_storage:*', 'block_storage_action:*', 'reserved_ip:*', 'load_balancer:*', project:read, project:update, project:assign_resource, actions:read]
        only: { project: client-a }
        on_create: { project: client-a }
      - scopes: [image:read]
        only: { image: { slug: ubuntu-24-04-x64 } }
      - scopes: [ssh_key:read, regions:read, sizes:read]
";

pub(super) fn droplet(name: &str) -> Value {
    // As doctl sends it.
    json!({ "name": name, "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64",
        "ssh_keys": null, "backups": false, "ipv6": false, "private_networking": false, "monitoring": false, "tags": null })
}

#[tokio::test]
async fn s4_a_project_is_worked_in_from_create_to_delete() {
    let story = Story::of(PROJECT).await;
    let list = story.get("/v2/droplets?page=1&per_page=200").await;
    assert_eq!(all(&list, "droplets", "id"), ["12", "13", "14"]);
    assert_eq!(list.json()["meta"]["total"], 3);
    assert_eq!(story.get("/v2/droplets/12").await.status, 200);
    let made = story.ask("POST /v2/droplets", &droplet("a-new")).await;
    assert_eq!(made.status, 202, "{}", made.text());
    assert_eq!(made.header("tidegate-warning"), None);
    let id = made.json()["droplet"]["id"].to_string();
    let urn = format!("do:droplet:{id}");
    assert_eq!(
        story
            .api
            .world(|world| world.project_of(&urn).map(str::to_owned)),
        Some(OWN.to_owned())
    );
    let action = made.json()["links"]["actions"][0]["id"].to_string();
    assert_eq!(
        story.get(&format!("/v2/actions/{action}")).await.status,
        200
    );
    // Terraform reads it until it is there, and deletes until it is gone.
    let path = format!("/v2/droplets/{id}");
    assert_eq!(story.get(&path).await.status, 200);
    let list = story.get("/v2/droplets?page=1&per_page=200").await;
    assert!(
        all(&list, "droplets", "id").contains(&id),
        "{}",
        list.text()
    );
    assert_eq!(
        story.ask(&format!("DELETE {path}"), &NONE).await.status,
        204
    );
    assert_eq!(story.get(&path).await.status, 404);
    story.finish().await;
}

#[tokio::test]
async fn s4_nothing_comes_into_the_project_or_goes_out_of_it() {
    let story = Story::of(PROJECT).await;
    let assign = |urn: &str| json!({ "resources": [urn] });
    let own = format!("POST /v2/projects/{OWN}/resources");
    let other = format!("POST /v2/projects/{OTHER}/resources");
    let volume = "do:volume:506f78a4-e098-11e5-ad9f-000000000002";
    story
        .holds(&[
            (&own, assign("do:droplet:12"), "ok"), // it is there already
            (&own, assign("do:droplet:22"), "resource"),
            (&own, assign("DO:Droplet:22"), "ambiguous_request"),
            (&own, assign("do:droplet:999"), "resource"),
            (&own, assign(volume), "resource"),
            (&own, assign(&volume.to_uppercase()), "ambiguous_request"),
            (&own, assign("do:floatingip:45.55.96.48"), "resource"),
            (&own, assign("do:reservedip:45.55.96.48"), "resource"),
            (&own, assign("do:unheardof:1"), "ambiguous_request"),
            (&own, assign("droplet:22"), "ambiguous_request"),
            (
                &own,
                json!({ "resources": ["do:droplet:12", "do:droplet:22"] }),
                "resource",
            ),
            (
                &own,
                json!({ "resources": "do:droplet:22" }),
                "ambiguous_request",
            ),
            (
                &own,
                json!({ "resources": [["do:droplet:22"]] }),
                "ambiguous_request",
            ),
            (&other, assign("do:droplet:12"), "resource_hidden"),
            (
                "POST /v2/projects/default/resources",
                assign("do:droplet:12"),
                "resource_hidden",
            ),
            (
                &format!("GET /v2/projects/{OTHER}"),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("GET /v2/projects/{OTHER}/resources"),
                NONE,
                "resource_hidden",
            ),
            ("GET /v2/projects/default", NONE, "resource_hidden"),
            (
                "GET /v2/projects/default/resources",
                NONE,
                "resource_hidden",
            ),
            (&format!("GET /v2/projects/{OWN}"), NONE, "ok"),
            (&format!("GET /v2/projects/{OWN}/resources"), NONE, "ok"),
            (
                &format!("PATCH /v2/projects/{OWN}"),
                json!({ "is_default": true }),
                "resource",
            ),
            (
                &format!("PATCH /v2/projects/{OWN}"),
                json!({ "is_default": "true" }),
                "resource",
            ),
            (
                &format!("PATCH /v2/projects/{OWN}"),
                json!({ "name": "client-b" }),
                "resource",
            ),
            (
                &format!("PATCH /v2/projects/{OTHER}"),
                json!({ "name": "client-a" }),
                "resource_hidden",
            ),
            (
                "PATCH /v2/projects/default",
                json!({ "name": "client-a" }),
                "resource_hidden",
            ),
            (
                "POST /v2/projects",
                json!({ "name": "client-a", "purpose": "x" }),
                "scope",
            ),
            (&format!("DELETE /v2/projects/{OWN}"), NONE, "scope"),
        ])
        .await;
    story
        .holds(&[
            ("GET /v2/droplets/22", NONE, "resource_hidden"),
            ("DELETE /v2/droplets/22", NONE, "resource_hidden"),
            (
                "POST /v2/droplets/22/actions",
                json!({ "type": "reboot" }),
                "resource_hidden",
            ),
            ("DELETE /v2/droplets?tag_name=client-a", NONE, "field_scope"), // others may carry it
            (
                "POST /v2/droplets/actions?tag_name=client-a",
                json!({ "type": "reboot" }),
                "field_scope",
            ),
            (
                "POST /v2/reserved_ips",
                json!({ "region": "nyc3", "project_id": OTHER }),
                "resource",
            ),
            (
                "POST /v2/reserved_ips",
                json!({ "droplet_id": 22 }),
                "resource",
            ),
            (
                "POST /v2/reserved_ips",
                json!({ "droplet_id": 12, "project_id": OWN }),
                "ok",
            ),
            (
                "POST /v2/reserved_ips/45.55.96.48/actions",
                json!({ "type": "unassign" }),
                "resource_hidden",
            ),
            (
                "POST /v2/reserved_ips/45.55.96.47/actions",
                json!({ "type": "assign", "droplet_id": 22 }),
                "resource",
            ),
            (
                "PUT /v2/load_balancers/4de7ac8b-495b-4884-9a69-1050c6793cd6",
                json!({ "name": "a-lb", "region": "nyc3",
                "forwarding_rules": [], "droplet_ids": [12], "project_id": OTHER }),
                "resource",
            ),
        ])
        .await;
    let projects = story.get("/v2/projects?page=1&per_page=200").await;
    assert_eq!(all(&projects, "projects", "name"), ["client-a"]);
    let members = story
        .get(&format!("/v2/projects/{OWN}/resources?per_page=200"))
        .await;
    let urns = all(&members, "resources", "urn");
    assert!(urns.contains(&"do:droplet:12".to_owned()), "{urns:?}");
    story.finish().await;
}

#[tokio::test]
async fn what_could_not_be_put_into_its_project_is_told_with_the_answer() {
    let story = Story::of(PROJECT).await;
    let assign = format!("/v2/projects/{OWN}/resources");
    story.api.fault_on(
        hyper::Method::POST,
        &assign,
        crate::support::Fault::problem(500, "server_error", "no"),
    );
    let made = story.ask("POST /v2/droplets", &droplet("a-new")).await;
    assert_eq!(made.status, 202, "{}", made.text());
    let warning = made.header("tidegate-warning").unwrap();
    assert!(warning.contains("client-a"), "{warning}");
    let lines = story.gate.audit_of(&made).await;
    let last = lines.last().unwrap();
    assert!(
        last["detail"].as_str().unwrap().contains("client-a"),
        "{last}"
    );
    let id = made.json()["droplet"]["id"].to_string();
    assert_eq!(
        story.get(&format!("/v2/droplets/{id}")).await.status,
        404,
        "it is in no project of ours"
    );
    story.finish().await;
}
