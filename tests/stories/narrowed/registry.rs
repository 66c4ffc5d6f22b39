//! The container registry and its repositories.

use serde_json::json;

use super::{NONE, Story, all};

/// S3: a login that pulls, and the list of one repository.
const CI: &str = "
    allow:
      - requests: ['GET /v2/registry/docker-credentials\\?(expiry_seconds=[0-9]+&)?read_write=false', 'GET /v2/registry/docker-credentials']
      - scopes: [registry:read]
        only: { registry: { name: example }, repository: { name: web } }
";

#[tokio::test]
async fn s3_ci_logs_in_to_pull_and_lists_one_repository() {
    let story = Story::of(CI).await;
    let login = "/v2/registry/docker-credentials";
    story
        .holds(&[
            (&format!("GET {login}?read_write=false"), NONE, "ok"),
            (
                &format!("GET {login}?expiry_seconds=600&read_write=false"),
                NONE,
                "ok",
            ),
            (&format!("GET {login}?read_write=true"), NONE, "scope"),
            (
                &format!("GET {login}?expiry_seconds=600&read_write=true"),
                NONE,
                "scope",
            ),
            (
                "GET /v2/registry/example/docker-credentials",
                NONE,
                "unknown_endpoint",
            ),
            (
                "GET /v2/registries/example/docker-credentials?read_write=false",
                NONE,
                "resource",
            ),
            ("GET /v2/registry", NONE, "ok"), // doctl reads its name
            ("GET /v2/registry/example/repositories/web/tags", NONE, "ok"),
            (
                "GET /v2/registry/example/repositories/worker/tags",
                NONE,
                "resource_hidden",
            ),
            (
                "GET /v2/registry/example/repositories/team%2Fapi/tags",
                NONE,
                "resource_hidden",
            ),
            (
                "GET /v2/registry/other/repositoriesV2",
                NONE,
                "resource_hidden",
            ),
            (
                "DELETE /v2/registry/example/repositories/web/tags/latest",
                NONE,
                "scope",
            ),
            ("DELETE /v2/registry", NONE, "scope"),
            (
                "POST /v2/registry",
                json!({ "name": "x", "subscription_tier_slug": "basic" }),
                "scope",
            ),
            (
                "POST /v2/registry/example/garbage-collection",
                json!({}),
                "scope",
            ),
        ])
        .await;
    let list = story
        .get("/v2/registry/example/repositoriesV2?page=1&per_page=200")
        .await;
    assert_eq!(all(&list, "repositories", "name"), ["web"]);
    assert_eq!(list.json()["meta"]["total"], 1);
    story.api.clear();
    story.get(&format!("{login}?read_write=false")).await;
    let heard = story.heard();
    assert!(
        heard[0].contains("expiry_seconds="),
        "never endless: {heard:?}"
    );
    story.finish().await;
}

/// What logs in to the registry opens all of it, so it is for nobody who has but a part.
#[tokio::test]
async fn a_grant_over_a_repository_hands_out_no_login_to_the_whole() {
    let story = Story::of(
        "
    allow:
      - scopes: [registry:read, registry:update, registry:delete]
        only: { registry: { name: example }, repository: { name: web } }
",
    )
    .await;
    let rows = [
        ("GET /v2/registry/docker-credentials", NONE, "resource"),
        (
            "GET /v2/registry/docker-credentials?read_write=true",
            NONE,
            "resource",
        ),
        (
            "GET /v2/registries/example/docker-credentials",
            NONE,
            "resource",
        ),
        (
            "DELETE /v2/registry/example/repositories/web/tags/latest",
            NONE,
            "ok",
        ),
        (
            "DELETE /v2/registry/example/repositories/worker/tags/latest",
            NONE,
            "resource_hidden",
        ),
        (
            "DELETE /v2/registries/example/repositories/worker",
            NONE,
            "resource_hidden",
        ),
        ("DELETE /v2/registry", NONE, "resource"),
        ("DELETE /v2/registries/example", NONE, "resource"),
        (
            "POST /v2/registry/example/garbage-collection",
            json!({}),
            "resource",
        ),
        ("GET /v2/registry/subscription", NONE, "resource"), // every token has an account
    ];
    story.holds(&rows).await;
    story.finish().await;
}
