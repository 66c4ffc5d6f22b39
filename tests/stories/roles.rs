//! The stories that roles tell without looking at single resources: S3's login, S5's actions, S10, S11, S12 and S14.

use hyper::Method;
use serde_json::json;

use crate::support::{Gate, StandInApi};

/// What a role makes of a request: `ok`, or the code of its refusal.
async fn outcome(
    gate: &Gate,
    token: &str,
    request: &str,
    body: Option<serde_json::Value>,
) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    let ask = gate
        .request(Method::from_bytes(method.as_bytes()).unwrap(), path)
        .token(token);
    let answer = match body {
        Some(body) => ask.json(&body).send().await,
        None => ask.send().await,
    };
    answer.reason().unwrap_or("ok").to_owned()
}

async fn assert_outcomes(role: &str, cases: &[(&str, &str)]) {
    let api = StandInApi::start().await;
    let gate = Gate::start(
        &api,
        &format!("version: 1\nroles:\n  r:\n    allow:\n{role}"),
    )
    .await;
    let token = gate.issue(&["t", "--role", "r"]).await;
    for (request, expected) in cases {
        api.clear();
        assert_eq!(
            outcome(&gate, &token, request, None).await,
            *expected,
            "{request}"
        );
        assert_eq!(
            api.heard_count(),
            usize::from(*expected == "ok"),
            "{request}"
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn s3_ci_logs_in_to_the_registry_to_pull_and_no_more() {
    let role = "      - requests: ['GET /v2/registry/docker-credentials\\?expiry_seconds=[0-9]+&read_write=false', 'GET /v2/registry/docker-credentials\\?read_write=false']\n      - scopes: [registry:read]\n";
    // `registry:read` by name opens the login to pull; the pattern keeps doctl's own query working without it.
    assert_outcomes(
        role,
        &[
            ("GET /v2/registry", "ok"),
            ("GET /v2/registry/docker-credentials?read_write=false", "ok"),
            (
                "GET /v2/registry/docker-credentials?read_write=false&expiry_seconds=600",
                "ok",
            ),
            (
                "GET /v2/registry/docker-credentials?read_write=true",
                "scope",
            ),
            (
                "GET /v2/registry/docker-credentials?read_write=TRUE",
                "scope",
            ),
            ("DELETE /v2/registry", "scope"),
            ("POST /v2/registry/r/garbage-collection", "scope"),
        ],
    )
    .await;
}

#[tokio::test]
async fn s3_the_login_never_outlives_the_sub_token() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api).policy("version: 1\nroles: { r: { allow: [{ scopes: [registry:read, kubernetes:access_cluster] }] } }\n").set("limits", json!({ "derived_credentials": "2h" })).start().await;
    let (short, long) = (
        gate.issue(&["short", "--role", "r", "--expires", "10m"])
            .await,
        gate.issue(&["long", "--role", "r"]).await,
    );
    let asked = async |token: &str, path: &str| {
        api.clear();
        gate.get(path).token(token).send().await;
        let target = api.heard()[0].target.clone();
        let seconds = target
            .split("expiry_seconds=")
            .nth(1)
            .unwrap_or_else(|| panic!("{target} has no end"))
            .split('&')
            .next()
            .unwrap()
            .to_owned();
        seconds.parse::<u64>().unwrap()
    };
    for path in [
        "/v2/registry/docker-credentials",
        "/v2/registries/r/docker-credentials",
        "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig",
        "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/credentials",
    ] {
        for query in [
            "",
            "?expiry_seconds=0",
            "?expiry_seconds=999999",
            "?expiry_seconds=-1",
            "?expiry_seconds=1e9",
            "?expiry_seconds=",
        ] {
            let path = format!("{path}{query}");
            assert!(
                (590..=600).contains(&asked(&short, &path).await),
                "{path}: what is left of the sub-token"
            );
            assert_eq!(
                asked(&long, &path).await,
                7200,
                "{path}: `limits.derived_credentials`"
            );
        }
        assert_eq!(
            asked(&long, &format!("{path}?expiry_seconds=60")).await,
            60,
            "less may be asked for"
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn s5_a_cron_job_powers_and_resizes_and_nothing_else() {
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles: { r: { allow: [{ scopes: [droplet:read, droplet:update], actions: [power_off, resize, power_on] }] } }\n";
    let gate = Gate::start(&api, policy).await;
    let token = gate.issue(&["t", "--role", "r"]).await;
    let post =
        async |body| outcome(&gate, &token, "POST /v2/droplets/12/actions", Some(body)).await;
    assert_eq!(post(json!({ "type": "power_off" })).await, "ok");
    assert_eq!(
        post(json!({ "type": "resize", "size": "s-1vcpu-2gb" })).await,
        "ok"
    );
    assert_eq!(
        post(json!({ "type": "rebuild", "image": 1 })).await,
        "action"
    );
    assert_eq!(post(json!({ "type": "password_reset" })).await, "action");
    assert_eq!(
        post(json!({ "Type": "power_off" })).await,
        "ambiguous_request"
    );
    assert_eq!(
        outcome(&gate, &token, "DELETE /v2/droplets/12", None).await,
        "scope"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn s10_reading_everything_reaches_no_login() {
    assert_outcomes(
        "      - scopes: ['*:read']\n",
        &[
            ("GET /v2/droplets", "ok"),
            ("GET /v2/account", "ok"),
            ("GET /v2/kubernetes/clusters", "ok"),
            (
                "GET /v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig",
                "scope",
            ),
            (
                "GET /v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/credentials",
                "scope",
            ),
            ("GET /v2/registry/docker-credentials", "scope"),
            (
                "GET /v2/registries/r/docker-credentials?read_write=false",
                "scope",
            ),
            ("GET /v2/databases/metrics/credentials", "scope"),
            ("GET /v2/vector-databases/v/credentials", "scope"),
            ("GET /v2/apps/4f6c71e2-1e90-4762-9fee-6cc4a0a9f2cf/components/c/exec", "scope"),
            (
                "GET /v2/partner_network_connect/attachments/4de7ac8b-495b-4884-9a69-1050c6793cd6/bgp_auth_key",
                "scope",
            ),
            ("POST /v2/tags", "scope"),
            ("DELETE /v2/droplets/12", "scope"),
        ],
    )
    .await;
}

#[tokio::test]
async fn s11_images_only_or_droplets_only() {
    assert_outcomes(
        "      - scopes: ['image:*']\n",
        &[
            ("GET /v2/images", "ok"),
            ("DELETE /v2/images/1", "ok"),
            ("GET /v2/droplets", "scope"),
            ("GET /v2/account", "scope"),
        ],
    )
    .await;
    assert_outcomes(
        "      - scopes: [droplet:read]\n",
        &[
            ("GET /v2/droplets", "ok"),
            ("DELETE /v2/droplets/12", "scope"),
            ("GET /v2/images", "scope"),
        ],
    )
    .await;
}

#[tokio::test]
async fn s12_whatever_matches_one_of_these_is_let_through() {
    assert_outcomes(
        "      - requests: ['GET /v2/droplets/(12|13)', 'POST /v2/droplets/12/actions', 'GET /v2/brand_new/[a-z]+']\n",
        &[
            ("GET /v2/droplets/12", "ok"),
            ("GET /v2/droplets/12/", "ok"),
            ("GET /v2/droplets/%312", "ok"), // the canonical path is what is matched, and sent
            ("HEAD /v2/droplets/13", "ok"),
            ("GET /v2/droplets/14", "scope"),
            ("GET /v2/droplets/12/actions", "scope"),
            ("DELETE /v2/droplets/12", "scope"),
            ("GET /v2/brand_new/thing", "ok"),
            ("GET /v2/brand_new/thing2", "unknown_endpoint"),
            ("POST /v2/brand_new/thing", "unknown_endpoint"),
        ],
    )
    .await;
}

#[tokio::test]
async fn s14_snapshots_may_be_made_and_read_but_not_deleted() {
    assert_outcomes(
        "      - scopes: [block_storage_snapshot:read, block_storage_snapshot:create, snapshot:read]\n",
        &[
            ("GET /v2/snapshots", "ok"),
            ("GET /v2/snapshots/1", "ok"),
            ("POST /v2/volumes/506f78a4-e098-11e5-ad9f-000f53306ae1/snapshots", "ok"),
            ("GET /v2/volumes/506f78a4-e098-11e5-ad9f-000f53306ae1/snapshots", "ok"),
            ("DELETE /v2/volumes/snapshots/1", "scope"),
            ("DELETE /v2/snapshots/1", "scope"),
        ],
    )
    .await;
}
