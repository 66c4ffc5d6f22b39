//! What `on_create` adds, in grants that are narrowed and in those that are not.

use serde_json::{Value, json};

use super::projects::droplet;
use super::{NONE, Story};

const OWN: &str = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679";
const ZONE: &str = "example.com";

/// The project that the API shows what was made in.
fn project_of(story: &Story, urn: &str) -> Option<String> {
    story
        .api
        .world(|world| world.project_of(urn).map(str::to_owned))
}

#[tokio::test]
async fn what_a_free_grant_makes_is_put_into_its_project() {
    let story = Story::of(
        "    allow:\n      - scopes: ['*', image:read]\n        on_create: { project: client-a, tags: [made] }\n",
    )
    .await;
    let made = story.ask("POST /v2/droplets", &droplet("new")).await;
    assert_eq!(made.status, 202, "{}", made.text());
    assert_eq!(made.header("tidegate-warning"), None);
    let id = made.json()["droplet"]["id"].to_string();
    let urn = format!("do:droplet:{id}");
    assert_eq!(project_of(&story, &urn).as_deref(), Some(OWN));
    let shown = story.get(&format!("/v2/droplets/{id}")).await;
    assert_eq!(shown.json()["droplet"]["tags"], json!(["made"]));
    // The body of a balancer names its project itself.
    story.api.clear();
    let balancer = json!({ "name": "lb", "region": "nyc3", "forwarding_rules": [] });
    let untagged = story.ask("POST /v2/load_balancers", &balancer).await;
    assert_eq!(untagged.reason(), Some("resource"), "it takes no tags");
    assert_eq!(story.api.writes().len(), 0);
    story.finish().await;
}

#[tokio::test]
async fn the_project_goes_into_the_body_that_names_one() {
    let story = Story::of(
        "    allow:\n      - scopes: ['load_balancer:*', 'domain:*']\n        on_create: { project: client-a }\n",
    )
    .await;
    let balancer = json!({ "name": "lb", "region": "nyc3", "forwarding_rules": [] });
    let made = story.ask("POST /v2/load_balancers", &balancer).await;
    assert_eq!(made.status, 202, "{}", made.text());
    let sent = story.api.writes();
    assert_eq!(sent.len(), 1, "nothing is assigned afterwards");
    assert_eq!(sent[0].json()["project_id"], OWN);
    // A zone is put there afterwards, with the record that comes with it.
    let zone = json!({ "name": "new.example", "ip_address": "203.0.113.7" });
    let made = story.ask("POST /v2/domains", &zone).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let urn = "do:domain:new.example";
    assert_eq!(project_of(&story, urn).as_deref(), Some(OWN));
    story.finish().await;
}

#[tokio::test]
async fn a_failed_assignment_is_told_and_the_answer_stays() {
    let story = Story::of(
        "    allow:\n      - scopes: ['droplet:*', image:read]\n        on_create: { project: nowhere }\n",
    )
    .await;
    let made = story.ask("POST /v2/droplets", &droplet("new")).await;
    assert_eq!(made.status, 202, "{}", made.text());
    let warning = made.header("tidegate-warning").unwrap_or_default();
    assert!(
        warning.contains("not put into the project `nowhere`"),
        "{warning}"
    );
    story.finish().await;
}

/// A child has its parent's project and tags and is made as if there were no `on_create`; what has neither is refused.
#[tokio::test]
async fn a_child_is_made_without_what_it_has_from_its_parent() {
    let record = json!({ "type": "TXT", "name": "x", "data": "y" });
    let rows: [(&str, Value, &str); 4] = [
        (&format!("POST /v2/domains/{ZONE}/records"), record, "ok"),
        (
            "POST /v2/firewalls",
            json!({ "name": "x", "inbound_rules": [], "outbound_rules": [] }),
            "resource",
        ),
        (
            "POST /v2/account/keys",
            json!({ "name": "x", "public_key": "ssh-ed25519 AAAA" }),
            "resource",
        ),
        ("GET /v2/firewalls", NONE, "ok"),
    ];
    for only in [
        "",
        "        only: { domain: any, firewall: any, ssh_key: any }\n",
    ] {
        for added in [
            "project: client-a",
            "tags: [a]",
            "tags: [a], project: client-a",
        ] {
            let story = Story::of(&format!(
                "    allow:\n      - scopes: ['domain:*', 'firewall:*', 'ssh_key:*']\n{only}        on_create: {{ {added} }}\n"
            ))
            .await;
            story.holds(&rows).await;
            story.api.clear();
            let (request, body, _) = &rows[0];
            story.ask(request, body).await;
            let sent: Vec<Value> = story.api.writes().iter().map(super::Heard::json).collect();
            assert_eq!(
                sent,
                std::slice::from_ref(body),
                "nothing is added to it: {added}"
            );
            story.finish().await;
        }
    }
}
