//! What a deny takes is not shown in the lists of other things either, and what is the account's own is not taken for everybody's.

use hyper::Method;
use serde_json::{Value, json};

use super::{NONE, Story, all};
use crate::support::standin::{Fault, Reply};

const OWN: &str = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679";
const DEFAULT: &str = "addb4547-6bab-419a-8542-76263a033cf6";

fn answers(story: &Story, path: &str, answer: Value) {
    let reply = move |_: &crate::support::standin::Heard| Reply::json(200, &answer);
    story
        .api
        .fault_on(Method::GET, path, Fault::reply_with(reply));
}

async fn urns(story: &Story, path: &str) -> Vec<String> {
    let answer = story.get(path).await;
    let mut urns = all(&answer, "resources", "urn");
    assert_eq!(
        answer.json()["meta"]["total"],
        urns.len(),
        "{}",
        answer.text()
    );
    urns.sort();
    urns
}

#[tokio::test]
async fn a_project_does_not_list_what_a_deny_takes() {
    let cases = [
        // by what it is called, by its tag, by its project, by its id, and whole
        ("only: { droplet: { name: a-web } }", &["do:droplet:12"][..]),
        ("only: { droplet: { tag: db } }", &["do:droplet:13"]),
        ("only: { droplet: { id: 14 } }", &["do:droplet:14"]),
        (
            "only: { droplet: { name: a-* } }",
            &["do:droplet:12", "do:droplet:13", "do:droplet:14"],
        ),
        (
            "only: { volume: { name: a-data } }",
            &["do:volume:506f78a4-e098-11e5-ad9f-000000000001"],
        ),
    ];
    let free = Story::of("    allow:\n      - scopes: ['*']\n").await;
    let path = format!("/v2/projects/{OWN}/resources");
    let everything = urns(&free, &path).await;
    free.finish().await;
    for (only, taken) in cases {
        let story = Story::of(&format!(
            "    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: ['*']\n        {only}\n"
        ))
        .await;
        let shown = urns(&story, &path).await;
        let wanted: Vec<_> = everything
            .iter()
            .filter(|urn| !taken.contains(&urn.as_str()))
            .cloned()
            .collect();
        assert_eq!(shown, wanted, "{only}");
        story.finish().await;
    }
    // A deny of something else takes nothing from the list.
    let story = Story::of(
        "    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: [droplet:delete]\n        only: { droplet: { name: a-web } }\n",
    )
    .await;
    assert_eq!(urns(&story, &path).await, everything);
    story.finish().await;
}

/// The default project's list is its project's, by whichever path.
#[tokio::test]
async fn the_default_project_lists_as_any_other() {
    let both = [
        "/v2/projects/default/resources".to_owned(),
        format!("/v2/projects/{DEFAULT}/resources"),
    ];
    for (only, droplet) in [
        (
            "deny:\n      - scopes: ['*']\n        only: { droplet: { name: build } }",
            false,
        ),
        (
            "deny:\n      - scopes: ['*']\n        only: { project_resource: { urn: 'do:droplet:31' } }",
            false,
        ),
        (
            "deny:\n      - scopes: ['*']\n        only: { droplet: { name: a-web } }",
            true,
        ),
    ] {
        let story = Story::of(&format!("    allow:\n      - scopes: ['*']\n    {only}\n")).await;
        for path in &both {
            let shown = urns(&story, path).await;
            assert_eq!(
                shown.contains(&"do:droplet:31".to_owned()),
                droplet,
                "{path} {only}"
            );
            assert!(shown.len() > 1, "{path}: {shown:?}");
            // Its pages fit together.
            let mut paged = Vec::new();
            for page in 1..=shown.len() {
                let answer = story.get(&format!("{path}?page={page}&per_page=1")).await;
                paged.extend(all(&answer, "resources", "urn"));
            }
            paged.sort();
            assert_eq!(paged, shown, "{path}");
        }
        story.finish().await;
    }
    // Whom it is not for, it is hidden from, as by its id.
    let story = Story::of(
        "    allow:\n      - scopes: [project:read]\n        only: { project: client-a }\n",
    )
    .await;
    let rows = both.each_ref().map(|path| format!("GET {path}"));
    let rows: Vec<_> = rows
        .iter()
        .map(|request| (request.as_str(), NONE, "resource_hidden"))
        .collect();
    story.holds(&rows).await;
    story.finish().await;
    let story = Story::of(
        "    allow:\n      - scopes: [project:read]\n        only: { project_resource: { urn: 'do:droplet:31' } }\n",
    )
    .await;
    for path in &both {
        assert_eq!(urns(&story, path).await, ["do:droplet:31"], "{path}");
    }
    story.finish().await;
}

#[tokio::test]
async fn suppressions_that_a_deny_takes_are_not_listed() {
    let of = |id: &str, rule: &str| json!({ "id": id, "rule_uuid": rule, "rule_name": "x", "resource_id": "12", "resource_type": "Droplet" });
    let (one, two) = (
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
    );
    let settings = json!({ "settings": { "suppressions": { "resources": [of(one, one), of(two, two)],
        "meta": { "page": 1, "pages": 1, "total": 2 }, "links": { "pages": {} } } },
        "tier_coverage": { "basic": 1 }, "plan_downgrades": {} });
    let story = Story::of(&format!(
        "    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: ['security:*']\n        only: {{ security_suppression: {{ id: '{two}' }} }}\n"
    ))
    .await;
    answers(&story, "/v2/security/settings", settings);
    let answer = story.get("/v2/security/settings").await;
    let shown = answer.json();
    let suppressions = &shown["settings"]["suppressions"];
    assert_eq!(
        suppressions["resources"],
        json!([of(one, one)]),
        "{}",
        answer.text()
    );
    assert_eq!(suppressions["meta"]["total"], 1);
    assert_eq!(shown["tier_coverage"], json!({ "basic": 1 }));
    assert!(!answer.text().contains(two), "{}", answer.text());
    story.finish().await;
}

/// The platform's models are everybody's; the account's own are whose they are.
#[tokio::test]
async fn own_models_are_listed_to_whom_they_may_be_shown() {
    let (one, two, platform) = (
        "11111111-1111-4111-8111-111111111111",
        "22222222-2222-4222-8222-222222222222",
        "33333333-3333-4333-8333-333333333333",
    );
    let own = |id: &str, name: &str| json!({ "uuid": id, "name": name, "tags": { "tags": [] }, "storage_region": "tor1", "source_type": "SPACES" });
    let models = json!({ "models": [
        { "uuid": platform, "id": "llama3.3-70b-instruct", "name": "Llama 3.3", "is_foundational": true },
        { "id": "bge-m3", "name": "BGE M3" },
        { "uuid": one, "name": "mine", "is_foundational": false },
        { "uuid": two, "name": "other", "is_foundational": false },
        { "name": "other" },
    ], "meta": { "total": 5 }, "links": {} });
    for (role, shown) in [
        (
            "allow:\n      - scopes: ['genai:*']\n        only: { genai_custom_model: { name: mine } }",
            &["Llama 3.3", "BGE M3", "mine"][..],
        ),
        (
            "allow:\n      - scopes: ['genai:*']\n        only: { genai_agent: any }",
            &["Llama 3.3", "BGE M3"],
        ),
        (
            "allow:\n      - scopes: ['*']\n    deny:\n      - scopes: ['*']\n        only: { genai_custom_model: { name: other } }",
            &["Llama 3.3", "BGE M3", "mine"],
        ),
        (
            "allow:\n      - scopes: ['genai:*']",
            &["Llama 3.3", "BGE M3", "mine", "other", "other"],
        ),
    ] {
        let story = Story::of(&format!("    {role}\n")).await;
        answers(&story, "/v2/gen-ai/models", models.clone());
        let custom =
            json!({ "models": [own(one, "mine"), own(two, "other")], "meta": { "total": 2 } });
        answers(&story, "/v2/gen-ai/custom_models", custom);
        let answer = story.get("/v2/gen-ai/models").await;
        assert_eq!(
            all(&answer, "models", "name"),
            shown,
            "{role}: {}",
            answer.text()
        );
        story.finish().await;
    }
}

/// What the account's own models are can't be told: then none is taken for everybody's.
#[tokio::test]
async fn where_own_models_are_not_told_no_list_of_models_is_shown() {
    let story = Story::of(
        "    allow:\n      - scopes: ['genai:*']\n        only: { genai_custom_model: { name: mine } }\n",
    )
    .await;
    let models =
        json!({ "models": [{ "uuid": "22222222-2222-4222-8222-222222222222", "name": "other" }] });
    answers(&story, "/v2/gen-ai/models", models);
    story.api.fault_on(
        Method::GET,
        "/v2/gen-ai/custom_models",
        Fault::problem(500, "server_error", "no"),
    );
    let answer = story.get("/v2/gen-ai/models").await;
    assert!(answer.status.is_server_error(), "{}", answer.text());
    assert!(!answer.text().contains("other"), "{}", answer.text());
    story.finish().await;
}

/// A list of actions costs as many calls, however many resources they acted on.
#[tokio::test]
async fn a_list_of_actions_costs_no_call_for_each() {
    let story = Story::of(
        "    allow:\n      - scopes: [actions:read, droplet:read]\n        only: { tag: client-a }\n",
    )
    .await;
    let action = |id: u64, droplet: u64| {
        json!({ "id": id, "status": "completed", "type": "reboot", "started_at": null, "completed_at": null,
            "resource_id": droplet, "resource_type": "droplet", "region": null, "region_slug": "nyc3" })
    };
    story.api.world(|world| {
        for number in 0..60 {
            world.put(
                "actions",
                action(
                    90_000 + number,
                    [12, 13, 14, 22, 23, 31][usize::try_from(number).unwrap() % 6],
                ),
            );
        }
    });
    story.api.clear();
    let answer = story.get("/v2/actions?per_page=200").await;
    let acted_on = all(&answer, "actions", "resource_id");
    for (droplet, seen) in [
        ("12", true),
        ("13", true),
        ("14", true),
        ("22", false),
        ("31", false),
    ] {
        let found = acted_on.iter().any(|id| id == droplet);
        assert_eq!(found, seen, "{droplet}: {acted_on:?}");
    }
    let heard = story.heard();
    let lists = heard.iter().all(|line| line.ends_with("per_page=200"));
    assert!(lists && heard.len() < 6, "{heard:?}");
    // Within seconds another page costs no call at all.
    let again = story.get("/v2/actions?per_page=200&page=2").await;
    assert_eq!(again.status, 200);
    assert_eq!(story.heard().len(), 0);
    story.finish().await;
}
