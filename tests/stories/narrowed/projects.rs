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

/// The project of a thing as somebody else changes it, behind tidegate's back.
fn moved(story: &Story, path: &str, id: &str, project: &str) {
    story.api.world(|world| {
        let mut item = world.one(path, id).unwrap().clone();
        item["project_id"] = json!(project);
        world.put(path, item);
    });
}

/// An API that takes what is put into a project, and does not show it there yet.
fn shows_nothing_yet(story: &Story) {
    let assign = format!("/v2/projects/{OWN}/resources");
    let taken = crate::support::standin::Reply::json(200, &json!({ "resources": [] }));
    let taken = crate::support::Fault::Reply(taken);
    story.api.fault_on(hyper::Method::POST, &assign, taken);
}

#[tokio::test]
async fn what_was_made_a_moment_ago_is_seen_by_its_maker_alone_and_changed_by_nobody() {
    let story = Story::of(PROJECT).await;
    let other = story.gate.issue(&["other", "--role", "r"]).await;
    shows_nothing_yet(&story);
    let made = story.ask("POST /v2/droplets", &droplet("a-new")).await;
    let path = format!("/v2/droplets/{}", made.json()["droplet"]["id"]);
    assert_eq!(story.get(&path).await.status, 200, "Terraform reads it now");
    let by_other = story.gate.get(&path).token(&other).send().await;
    assert_eq!(
        by_other.status, 404,
        "another's token sees what the API shows"
    );
    let power_off = json!({ "type": "power_off" });
    let actions = format!("POST {path}/actions");
    let delete = format!("DELETE {path}");
    story
        .holds(&[
            (&actions, power_off, "resource_hidden"),
            (&delete, NONE, "resource_hidden"),
        ])
        .await;
    assert_eq!(story.get(&path).await.status, 200);
    // A thing beside it is made: that tells nothing new. One is deleted, by whomever: it could be this one.
    story.ask("POST /v2/droplets", &droplet("a-more")).await;
    assert_eq!(story.get(&path).await.status, 200);
    let deleted = story.gate.delete("/v2/droplets/14").token(&other).send();
    assert_eq!(deleted.await.status, 204);
    assert_eq!(story.get(&path).await.status, 404);
    story.finish().await;
}

#[tokio::test]
async fn once_the_api_shows_what_was_made_nothing_else_is_gone_by() {
    let story = Story::of(PROJECT).await;
    let made = story.ask("POST /v2/droplets", &droplet("a-new")).await;
    let id = made.json()["droplet"]["id"].to_string();
    let path = format!("/v2/droplets/{id}");
    assert_eq!(story.get(&path).await.status, 200);
    moved(&story, "droplets", &id, OTHER);
    story
        .holds(&[(&format!("DELETE {path}"), NONE, "resource_hidden")])
        .await;
    // To make something lets what was read be forgotten.
    story.ask("POST /v2/droplets", &droplet("a-more")).await;
    assert_eq!(story.get(&path).await.status, 404);
    story.finish().await;
}

#[tokio::test]
async fn what_was_made_is_denied_where_it_was_moved_to_at_once() {
    let role = "
    allow:
      - scopes: ['droplet:*', image:read, tag:create]
        only: { droplet: any, image: any, project: [client-a, client-b] }
        on_create: { project: client-a }
    deny:
      - scopes: ['*']
        only: { project: client-b }
";
    let story = Story::of(role).await;
    let made = story.ask("POST /v2/droplets", &droplet("a-new")).await;
    assert_eq!(made.status, 202, "{}", made.text());
    let id = made.json()["droplet"]["id"].to_string();
    moved(&story, "droplets", &id, OTHER);
    let path = format!("/v2/droplets/{id}");
    story
        .holds(&[
            (&format!("GET {path}"), NONE, "resource_hidden"),
            (&format!("DELETE {path}"), NONE, "resource_hidden"),
        ])
        .await;
    story.finish().await;
}

/// The name of a zone is free again once the zone is gone, and then another team's may have it.
#[tokio::test]
async fn the_next_zone_of_a_name_is_not_taken_for_the_one_that_was_made() {
    let role = "
    allow:
      - scopes: ['domain:*']
        only: { project: client-a }
        on_create: { project: client-a }
";
    let story = Story::of(role).await;
    let made = story
        .ask("POST /v2/domains", &json!({ "name": "free.example" }))
        .await;
    assert_eq!(made.status, 201, "{}", made.text());
    let zone = "/v2/domains/free.example";
    assert_eq!(story.get(zone).await.status, 200);
    let again = |project: &str| {
        let next =
            json!({ "name": "free.example", "ttl": 1800, "zone_file": "", "project_id": project });
        story.api.world(|world| {
            world.take("domains", "free.example");
            world.put("domains", next);
        });
    };
    for by_the_gate in [false, true] {
        if by_the_gate {
            again(OWN);
            story.ask(&format!("DELETE {zone}"), &NONE).await;
        }
        again(OTHER);
        // To make something lets what was read be forgotten.
        let beside = json!({ "name": format!("beside-{by_the_gate}.example") });
        assert_eq!(story.ask("POST /v2/domains", &beside).await.status, 201);
        story.api.clear();
        story
            .holds(&[
                (&format!("DELETE {zone}"), NONE, "resource_hidden"),
                (&format!("GET {zone}/records"), NONE, "resource_hidden"),
            ])
            .await;
    }
    // Nor while the API does not show it: whose it is can't be told by its name.
    shows_nothing_yet(&story);
    let unseen = json!({ "name": "unseen.example" });
    assert_eq!(story.ask("POST /v2/domains", &unseen).await.status, 201);
    assert_eq!(story.get("/v2/domains/unseen.example").await.status, 404);
    story.finish().await;
}

/// Of which volume an action is the API does not say, and tidegate remembers: but what that is, only for who acted on it and until
/// something may have been moved.
#[tokio::test]
async fn an_action_is_seen_by_whom_its_volume_belongs_to_now() {
    let story = Story::of(PROJECT).await;
    let other = story.gate.issue(&["other", "--role", "r"]).await;
    let volumes = story.get("/v2/volumes?per_page=200").await;
    let id = all(&volumes, "volumes", "id").remove(0);
    let resize = json!({ "type": "resize", "size_gigabytes": 200 });
    let actions = format!("POST /v2/volumes/{id}/actions");
    let asked = story.ask(&actions, &resize).await;
    let poll = format!("/v2/actions/{}", asked.json()["action"]["id"]);
    let by_other = async || {
        let answer = story.gate.get(&poll).token(&other).send().await;
        answer.status.as_u16()
    };
    assert_eq!(
        (story.get(&poll).await.status.as_u16(), by_other().await),
        (200, 200)
    );
    moved(&story, "volumes", &id, OTHER);
    story.ask("POST /v2/droplets", &droplet("a-new")).await; // so that nothing that was read is gone by
    assert_eq!(by_other().await, 404);
    assert_eq!(story.get(&poll).await.status, 200, "it acted on it");
    assert_eq!(story.ask("DELETE /v2/droplets/14", &NONE).await.status, 204);
    assert_eq!(story.get(&poll).await.status, 404);
    story.finish().await;
}
