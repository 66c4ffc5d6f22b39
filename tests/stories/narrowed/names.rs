//! A name has one form: by no other spelling is what a deny takes reached, or what an allow does not cover.

use serde_json::{Value, json};

use super::{NONE, Story};

const EVERYTHING_BUT_ONE: &str = "
    allow: [{ scopes: ['*'] }]
    deny: [{ scopes: ['*'], only: { droplet: { id: '22' } } }, { scopes: ['*'], only: { volume: { id: 506f78a4-e098-11e5-ad9f-000000000002 } } }]
";
const FIREWALL: &str = "fb6045f1-cf1d-4ca3-bfac-18832663025b";

#[tokio::test]
async fn a_number_is_digits_wherever_it_stands() {
    let story = Story::of(EVERYTHING_BUT_ONE).await;
    let droplets = format!("POST /v2/firewalls/{FIREWALL}/droplets");
    let add = |ids: &str| {
        serde_json::from_str::<Value>(&format!(r#"{{"droplet_ids":[{ids}]}}"#)).unwrap()
    };
    let tag =
        |id: Value| json!({ "resources": [{ "resource_id": id, "resource_type": "droplet" }] });
    story
        .holds(&[
            (&droplets, add("12"), "ok"),
            (&droplets, add("\"12\""), "ok"),
            (&droplets, add("22"), "denied"),
            (&droplets, add("22.0"), "ambiguous_request"),
            (&droplets, add("22e0"), "ambiguous_request"),
            (&droplets, add("2.2e1"), "ambiguous_request"),
            (&droplets, add("\"022\""), "ambiguous_request"),
            (&droplets, add("\" 22\""), "ambiguous_request"),
            (&droplets, add("\"+22\""), "ambiguous_request"),
            (&droplets, add("\"22abc\""), "ambiguous_request"),
            (&droplets, add("\"22\\u0000\""), "ambiguous_request"),
            (&droplets, add("\"12,22\""), "ambiguous_request"),
            (&droplets, add("[22]"), "ambiguous_request"),
            (&droplets, add("null"), "ambiguous_request"),
            (
                "POST /v2/tags/db/resources",
                tag(json!("22.0")),
                "ambiguous_request",
            ),
            (
                "POST /v2/tags/db/resources",
                tag(json!("022")),
                "ambiguous_request",
            ),
            (
                "GET /v2/monitoring/metrics/droplet/cpu?host_id=022&start=1&end=2",
                NONE,
                "ambiguous_request",
            ),
            ("GET /v2/droplets/22abc", NONE, "ambiguous_request"),
            ("GET /v2/droplets/22.json", NONE, "ambiguous_request"),
            ("GET /v2/droplets/22,12", NONE, "ambiguous_request"),
            ("DELETE /v2/droplets/22;", NONE, "ambiguous_request"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn a_uuid_is_its_groups_wherever_it_stands() {
    let story = Story::of(EVERYTHING_BUT_ONE).await;
    let plain = "506f78a4-e098-11e5-ad9f-000000000002";
    let spellings = [
        plain.replace('-', ""),
        format!("{{{plain}}}"),
        format!("urn:uuid:{plain}"),
        format!(" {plain}"),
        format!("{plain} "),
        format!("{plain}\0"),
        plain.replacen('-', "", 1),
    ];
    let attach = |id: &str| json!({ "name": "n", "region": "nyc3", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "volumes": [id] });
    for spelled in &spellings {
        let tag = json!({ "resources": [{ "resource_id": spelled, "resource_type": "volume" }] });
        let assign = json!({ "resources": [format!("do:volume:{spelled}")] });
        story
            .holds(&[
                ("POST /v2/droplets", attach(spelled), "ambiguous_request"),
                ("POST /v2/tags/db/resources", tag, "ambiguous_request"),
                (
                    "POST /v2/projects/4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679/resources",
                    assign,
                    "ambiguous_request",
                ),
            ])
            .await;
        if !spelled.contains('\0') {
            let path = spelled
                .replace('{', "%7B")
                .replace('}', "%7D")
                .replace(' ', "%20");
            let target = format!("DELETE /v2/volumes/{path}");
            story.holds(&[(&target, NONE, "ambiguous_request")]).await;
        }
    }
    let upper = format!("DELETE /v2/volumes/{}", plain.to_uppercase());
    story
        .holds(&[
            (&upper, NONE, "resource_hidden"), // the same in either case, so the same refusal
            ("POST /v2/droplets", attach(&plain.to_uppercase()), "denied"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn no_spelling_makes_a_private_image_a_public_one() {
    let story = Story::of("\n    allow: [{ scopes: ['droplet:*', 'image:*'] }]\n").await;
    let create = |image: &str| {
        let image: Value = serde_json::from_str(image).unwrap();
        json!({ "name": "n", "region": "nyc3", "size": "s-1vcpu-1gb", "image": image })
    };
    let new = "POST /v2/droplets";
    story
        .holds(&[
            (new, create("\"ubuntu-24-04-x64\""), "ok"),
            (new, create("155133621"), "ok"), // looked up, and public
            (new, create("\"docker-20-04\""), "ok"),
            (new, create("7003"), "resource"),
            (new, create("\"7003\""), "resource"),
            (new, create("7003.0"), "ambiguous_request"),
            (new, create("7003e0"), "ambiguous_request"),
            (new, create("\"7003abc\""), "ambiguous_request"),
            (new, create("\" 7003\""), "ambiguous_request"),
            (new, create("\"+7003\""), "ambiguous_request"),
            (new, create("\"\\t7003\""), "ambiguous_request"),
            (new, create("\"7003\\u0000\""), "ambiguous_request"),
            (new, create("[7003]"), "ambiguous_request"),
            (new, create("\"no-such-slug\""), "resource"), // looked up, and not there
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "rebuild", "image": " 7003" }),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "restore", "image": "7003.0" }),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "REBUILD", "image": " 7003" }),
                "ambiguous_request",
            ),
            (
                "POST /v2/droplets/12/actions",
                json!({ "type": "REBUILD", "image": 7003 }),
                "action",
            ),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn what_is_called_by_a_name_has_one_name() {
    let story = Story::of(
        "
    allow: [{ scopes: ['*'] }]
    deny:
      - { scopes: ['*'], only: { repository: { name: team/api } } }
      - { scopes: ['*'], only: { database_user: { name: doadmin } } }
      - { scopes: ['*'], only: { tag: { name: client-b } } }
      - { scopes: ['*'], only: { domain: { name: example.org } } }
      - { scopes: ['*'], only: { domain_record: { data: internal.example.com. } } }
",
    )
    .await;
    let repository = "/v2/registries/example/repositories";
    let users = "/v2/databases/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30/users";
    let record = |data: &str| json!({ "type": "CNAME", "name": "x", "data": data });
    let records = "POST /v2/domains/example.com/records";
    story
        .holds(&[
            (
                &format!("DELETE {repository}/team%2Fapi/tags/latest"),
                NONE,
                "resource_hidden",
            ),
            (
                &format!("DELETE {repository}/team%2Fapi%20/tags/latest"),
                NONE,
                "ambiguous_request",
            ),
            (
                &format!("DELETE {repository}/Team%2Fapi/tags/latest"),
                NONE,
                "ambiguous_request",
            ),
            (
                &format!("DELETE {repository}/team%2Fapi%E2%80%8B/tags/latest"),
                NONE,
                "ambiguous_request",
            ),
            (
                &format!("DELETE {repository}/team%2Fapi:latest/tags/latest"),
                NONE,
                "ambiguous_request",
            ),
            (&format!("DELETE {users}/doadmin"), NONE, "resource_hidden"),
            (&format!("DELETE {users}/DOADMIN"), NONE, "resource_hidden"), // the same to a reader who minds no case
            (
                &format!("DELETE {users}/doadmin%20"),
                NONE,
                "ambiguous_request",
            ),
            (
                &format!("DELETE {users}/doadmin%E2%80%8B"),
                NONE,
                "ambiguous_request",
            ),
            ("DELETE /v2/tags/client-b", NONE, "resource_hidden"),
            ("DELETE /v2/tags/Client-B", NONE, "resource_hidden"),
            ("DELETE /v2/tags/client-b%20", NONE, "ambiguous_request"),
            (
                "DELETE /v2/tags/client-b%E2%80%8B",
                NONE,
                "ambiguous_request",
            ),
            ("DELETE /v2/domains/example.org", NONE, "resource_hidden"),
            (
                "DELETE /v2/domains/example%E3%80%82org",
                NONE,
                "ambiguous_request",
            ),
            (records, record("internal.example.com."), "denied"),
            (records, record("INTERNAL.example.com."), "denied"),
            (records, record("internal.example.com"), "denied"),
            (records, record("other.example.com."), "ok"),
            (
                records,
                json!({ "type": "A", "name": "www\0-ci", "data": "192.0.2.1" }),
                "ambiguous_request",
            ),
            (
                records,
                json!({ "type": "A", "name": "www -ci", "data": "192.0.2.1" }),
                "ambiguous_request",
            ),
            (
                records,
                json!({ "type": "A", "name": "\\119ww", "data": "192.0.2.1" }),
                "ambiguous_request",
            ),
            (
                records,
                json!({ "type": "A", "name": "*.ci", "data": "192.0.2.1" }),
                "ok",
            ),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn what_is_given_and_empty_is_not_left_as_it_was() {
    let story = Story::of(
        "
    allow: [{ scopes: ['*'] }]
    deny:
      - { scopes: ['kubernetes:delete'], only: { kubernetes_cluster: { tag: client-a } } }
      - { scopes: ['project:delete'], only: { project: { name: client-b } } }
",
    )
    .await;
    let cluster = "PUT /v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af";
    let project = "PATCH /v2/projects/746c6152-2fa2-11ed-92d3-27aaa54e4988";
    story
        .holds(&[
            (
                cluster,
                json!({ "name": "ci", "tags": [null] }),
                "ambiguous_request",
            ),
            (
                cluster,
                json!({ "name": "ci", "tags": [[]] }),
                "ambiguous_request",
            ),
            (
                cluster,
                json!({ "name": "ci", "tags": [{}] }),
                "ambiguous_request",
            ),
            (
                cluster,
                json!({ "name": "ci", "tags": [""] }),
                "ambiguous_request",
            ),
            (cluster, json!({ "name": "ci", "tags": [] }), "denied"),
            (cluster, json!({ "name": "ci", "tags": null }), "denied"),
            (cluster, json!({ "name": "ci", "tags": ["client-a"] }), "ok"),
            (project, json!({ "name": [] }), "denied"),
            (project, json!({ "name": null }), "denied"),
            (project, json!({ "name": {} }), "denied"),
            (project, json!({ "description": "x" }), "ok"),
        ])
        .await;
    story.finish().await;
}

#[tokio::test]
async fn a_value_that_decides_is_one_of_those_that_are_known() {
    let story = Story::of(
        "\n    allow: [{ scopes: ['*'] }]\n    deny: [{ scopes: ['registry:*', 'image:*', 'block_storage_action:*'] }]\n",
    )
    .await;
    let cluster = |enabled: Value| {
        json!({ "name": "ci", "region": "nyc3", "version": "1.33.1-do.0", "registry_enabled": enabled,
        "node_pools": [{ "size": "s-1vcpu-2gb", "name": "p", "count": 1 }] })
    };
    let app = |kind: Value| json!({ "spec": { "name": "x", "services": [{ "name": "s", "image": { "registry_type": kind, "repository": "web" } }] } });
    let tag = |kind: &str| json!({ "resources": [{ "resource_id": "506f78a4-e098-11e5-ad9f-000000000001", "resource_type": kind }] });
    let (clusters, apps) = ("POST /v2/kubernetes/clusters", "POST /v2/apps");
    story
        .holds(&[
            (clusters, cluster(json!(true)), "denied"),
            (clusters, cluster(json!("TRUE")), "ambiguous_request"),
            (clusters, cluster(json!(1)), "ambiguous_request"),
            (clusters, cluster(json!("yes")), "ambiguous_request"),
            (clusters, cluster(json!(["true"])), "ambiguous_request"),
            (clusters, cluster(json!(false)), "ok"),
            (apps, app(json!("DOCR")), "denied"),
            (apps, app(json!("Docr")), "ambiguous_request"),
            (apps, app(json!("DOCR ")), "ambiguous_request"),
            (apps, app(json!("02")), "ambiguous_request"),
            (apps, json!({ "spec": { "name": "x", "services": [{ "name": "s", "image": { "repository": "web" } }] } }), "ambiguous_request"),
            (apps, app(json!("DOCKER_HUB")), "ok"),
            ("POST /v2/tags/db/resources", tag("volume"), "denied"),
            ("POST /v2/tags/db/resources", tag("Volume"), "ambiguous_request"),
            ("POST /v2/tags/db/resources", json!({ "resources": [{ "resource_id": "12" }] }), "ambiguous_request"),
            ("POST /v2/droplets/12/actions", json!({ "type": "Rebuild", "image": "ubuntu-24-04-x64" }), "action"),
        ])
        .await;
    story.finish().await;
}
