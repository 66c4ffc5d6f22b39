//! What watches over resources, and where it tells of them: metrics, alert policies, sinks, uptime checks.

use serde_json::{Value, json};

use crate::narrowed::{NONE, Story, all};
use crate::support::World;

fn world() -> World {
    let policy = |uuid: &str, entities: Value| {
        json!({ "uuid": uuid, "type": "v1/insights/droplet/cpu", "compare": "GreaterThan", "value": 80, "window": "5m",
            "description": uuid, "enabled": true, "entities": entities, "tags": [], "alerts": { "email": [], "slack": [] } })
    };
    let check = |id: &str, name: &str| json!({ "id": id, "name": name, "type": "https", "target": "https://example.com" });
    let destination = |id: &str, name: &str, cluster: &str| json!({ "id": id, "name": name, "type": "opensearch_dbaas", "config": { "cluster_uuid": cluster } });
    World::default()
        .with(
            "monitoring/alerts",
            [
                policy("6f776e00-0000-4000-8000-000000000000", json!(["12"])),
                policy("6f746865-7200-4000-8000-000000000000", json!(["22"])),
                policy("65766572-7974-4000-8000-000000000000", json!([])),
            ],
        )
        .with(
            "uptime/checks",
            [check("63310000-0000-4000-8000-000000000000", "a-shop"), check("63320000-0000-4000-8000-000000000000", "b-shop")],
        )
        .with(
            "uptime/checks/63310000-0000-4000-8000-000000000000/alerts",
            [json!({ "id": "65310000-0000-4000-8000-000000000000", "name": "slow", "type": "latency" })],
        )
        .with(
            "uptime/checks/63320000-0000-4000-8000-000000000000/alerts",
            [json!({ "id": "65320000-0000-4000-8000-000000000000", "name": "slow", "type": "latency" })],
        )
        .with(
            "monitoring/sinks/destinations",
            [
                destination("6d310000-0000-4000-8000-000000000000", "a-logs", "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30"),
                destination("6d320000-0000-4000-8000-000000000000", "b-logs", "b92438f6-ba03-416c-b642-e9236db91976"),
            ],
        )
}

const BY_TAG: &str = "
    allow:
      - scopes: [droplet:read, monitoring:read, database:read]
        only: { tag: client-a }
";

#[tokio::test]
async fn the_metrics_of_a_droplet_are_read_by_who_may_read_it() {
    let story = Story::in_world(BY_TAG, world()).await;
    let cpu = "GET /v2/monitoring/metrics/droplet/cpu";
    let database = "GET /v2/monitoring/metrics/database/mysql/load?metric=load1&aggregate=avg";
    let (own, other) = (
        "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30",
        "b92438f6-ba03-416c-b642-e9236db91976",
    );
    story
        .holds(&[
            (&format!("{cpu}?host_id=12&start=1&end=2"), NONE, "ok"),
            (&format!("{cpu}?host_id=22&start=1&end=2"), NONE, "resource"),
            (&format!("{cpu}?host_id=99&start=1&end=2"), NONE, "resource"),
            (&format!("{cpu}?start=1&end=2"), NONE, "resource"),
            (&format!("{cpu}?host_id=12&host_id=22"), NONE, "ambiguous_request"),
            (&format!("{database}&db_id={own}"), NONE, "ok"),
            (&format!("{database}&db_id={other}"), NONE, "resource"),
            ("GET /v2/monitoring/metrics/load_balancer/droplets_downtime?lb_id=4de7ac8b-495b-4884-9a69-1050c6793cd6", NONE, "resource"),
        ])
        .await;
    let other = story
        .get("/v2/monitoring/metrics/droplet/cpu?host_id=22")
        .await;
    let absent = story
        .get("/v2/monitoring/metrics/droplet/cpu?host_id=99")
        .await;
    // The caller's own words are all that differs.
    let but_for = |message: String, name: &str| message.replace(name, "NAME");
    assert_eq!(
        but_for(other.message(), "`22`"),
        but_for(absent.message(), "`99`")
    );
    story.finish().await;
}

const POLICIES: &str = "
    allow:
      - scopes: ['monitoring:*', droplet:read]
        only: { alert_policy: { entity: 12 }, droplet: { tag: client-a } }
";

#[tokio::test]
async fn an_alert_policy_watches_only_droplets_of_ones_own() {
    let story = Story::in_world(POLICIES, world()).await;
    let list = story.get("/v2/monitoring/alerts").await;
    let seen = all(&list, "policies", "uuid");
    assert!(
        seen.contains(&"6f776e00-0000-4000-8000-000000000000".to_owned()),
        "{seen:?}"
    );
    assert!(
        !seen.contains(&"6f746865-7200-4000-8000-000000000000".to_owned())
            && !seen.contains(&"65766572-7974-4000-8000-000000000000".to_owned()),
        "{seen:?}"
    );
    assert_eq!(list.json()["meta"]["total"], seen.len());
    let policy = |entities: Value, tags: Value| {
        json!({ "type": "v1/insights/droplet/cpu", "entities": entities, "tags": tags, "compare": "GreaterThan",
            "value": 1, "window": "5m", "alerts": { "email": ["a@example.com"], "slack": [] }, "enabled": true,
            "description": "x" })
    };
    let new = "POST /v2/monitoring/alerts";
    let put = "PUT /v2/monitoring/alerts/6f776e00-0000-4000-8000-000000000000";
    story
        .holds(&[
            (
                "GET /v2/monitoring/alerts/6f776e00-0000-4000-8000-000000000000",
                NONE,
                "ok",
            ),
            (
                "GET /v2/monitoring/alerts/6f746865-7200-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                "GET /v2/monitoring/alerts/6e657665-7200-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                "GET /v2/monitoring/alerts/65766572-7974-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (new, policy(json!(["12"]), json!([])), "ok"),
            (new, policy(json!(["12", "13"]), json!([])), "ok"),
            (new, policy(json!(["12", "22"]), json!([])), "resource"),
            (new, policy(json!(["12"]), json!(["client-b"])), "resource"),
            (new, policy(json!([]), json!([])), "resource"),
            (put, policy(json!(["12"]), json!([])), "ok"),
            (put, policy(json!(["22"]), json!([])), "resource"),
            (put, policy(json!([]), json!([])), "resource"),
            (
                "PUT /v2/monitoring/alerts/6f746865-7200-4000-8000-000000000000",
                policy(json!(["12"]), json!([])),
                "resource_hidden",
            ),
            (
                "DELETE /v2/monitoring/alerts/6f746865-7200-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            (
                "DELETE /v2/monitoring/alerts/6f776e00-0000-4000-8000-000000000000",
                NONE,
                "ok",
            ),
        ])
        .await;
    story.finish().await;
}

const LOGS: &str = "
    allow:
      - scopes: ['monitoring:*', 'database:*']
        only: { monitoring_destination: { name: 'a-*' }, database: { name: 'a-*' } }
";

#[tokio::test]
async fn logs_are_sent_only_into_a_database_of_ones_own() {
    let story = Story::in_world(LOGS, world()).await;
    let list = story.get("/v2/monitoring/sinks/destinations").await;
    assert_eq!(
        all(&list, "destinations", "id"),
        ["6d310000-0000-4000-8000-000000000000"]
    );
    let to = |cluster: &str| json!({ "name": "a-new", "type": "opensearch_dbaas", "config": { "endpoint": "x.example.com", "cluster_uuid": cluster } });
    let own = "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";
    let other = "b92438f6-ba03-416c-b642-e9236db91976";
    let destinations = "/v2/monitoring/sinks/destinations";
    story
        .holds(&[
            (&format!("GET {destinations}/6d310000-0000-4000-8000-000000000000"), NONE, "ok"),
            (&format!("GET {destinations}/6d320000-0000-4000-8000-000000000000"), NONE, "resource_hidden"),
            (&format!("GET {destinations}/6d390000-0000-4000-8000-000000000000"), NONE, "resource_hidden"),
            (&format!("POST {destinations}"), to(own), "ok"),
            (&format!("POST {destinations}"), to(other), "resource"),
            (
                &format!("POST {destinations}"),
                json!({ "name": "a-new", "type": "opensearch_dbaas", "config": { "cluster_name": "b-mysql" } }),
                "resource",
            ),
            (&format!("DELETE {destinations}/6d320000-0000-4000-8000-000000000000"), NONE, "resource_hidden"),
            (&format!("DELETE {destinations}/6d310000-0000-4000-8000-000000000000"), NONE, "ok"),
        ])
        .await;
    story.finish().await;
}

const CHECKS: &str = "
    allow:
      - scopes: ['uptime:*']
        only: { uptime_check: { name: 'a-*' } }
";

#[tokio::test]
async fn an_uptime_check_is_reached_with_its_alerts_and_no_other() {
    let story = Story::in_world(CHECKS, world()).await;
    let list = story.get("/v2/uptime/checks?per_page=1").await;
    assert_eq!(
        all(&list, "checks", "id"),
        ["63310000-0000-4000-8000-000000000000"]
    );
    assert_eq!(list.json()["meta"]["total"], 1);
    let alerts = story
        .get("/v2/uptime/checks/63310000-0000-4000-8000-000000000000/alerts")
        .await;
    assert_eq!(
        all(&alerts, "alerts", "id"),
        ["65310000-0000-4000-8000-000000000000"]
    );
    let alert = json!({ "name": "x", "type": "down", "period": "2m", "notifications": { "email": ["a@example.com"] } });
    story
        .holds(&[
            ("GET /v2/uptime/checks/63320000-0000-4000-8000-000000000000", NONE, "resource_hidden"),
            ("GET /v2/uptime/checks/6e657665-7200-4000-8000-000000000000", NONE, "resource_hidden"),
            ("GET /v2/uptime/checks/63320000-0000-4000-8000-000000000000/state", NONE, "resource_hidden"),
            ("GET /v2/uptime/checks/63320000-0000-4000-8000-000000000000/alerts", NONE, "resource_hidden"),
            (
                "GET /v2/uptime/checks/63320000-0000-4000-8000-000000000000/alerts/65320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            ("POST /v2/uptime/checks/63310000-0000-4000-8000-000000000000/alerts", alert.clone(), "ok"),
            ("POST /v2/uptime/checks/63320000-0000-4000-8000-000000000000/alerts", alert, "resource_hidden"),
            (
                "DELETE /v2/uptime/checks/63320000-0000-4000-8000-000000000000/alerts/65320000-0000-4000-8000-000000000000",
                NONE,
                "resource_hidden",
            ),
            ("DELETE /v2/uptime/checks/63310000-0000-4000-8000-000000000000/alerts/65310000-0000-4000-8000-000000000000", NONE, "ok"),
            (
                "PUT /v2/uptime/checks/63310000-0000-4000-8000-000000000000",
                json!({ "name": "b-shop" }),
                "resource",
            ),
            (
                "PUT /v2/uptime/checks/63310000-0000-4000-8000-000000000000",
                json!({ "name": "a-other", "regions": ["us_east"] }),
                "ok",
            ),
            ("DELETE /v2/uptime/checks/63320000-0000-4000-8000-000000000000", NONE, "resource_hidden"),
        ])
        .await;
    story.finish().await;
}
