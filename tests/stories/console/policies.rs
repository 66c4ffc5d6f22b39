//! `check` and `diff` at the console say what the commands say.

use super::*;

#[tokio::test]
async fn check_says_at_the_console_what_the_command_says() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let viewer = gate.issue(&["night", "--role", "viewer"]).await;
    let said: Value = serde_json::from_slice(&gate.cli(&["check", "--json"]).await.stdout).unwrap();
    let told = api_of(&gate, "GET /api/v1/check", &viewer, &Value::Null).await;
    assert_eq!(told.json(), said);
    let tested = format!(
        "{POLICY}\ntests: [{{ role: reader, request: \"DELETE /v2/droplets/1\", expect: allow }}]\n"
    );
    let unknown = POLICY.replace("droplet:delete", "droplet:delet");
    for (policy, errors, what) in [
        (POLICY, 0, ""),
        (&tested, 1, "DELETE /v2/droplets/1"),
        (&unknown, 1, "did you mean `droplet:delete`?"),
        (
            "version: 1\nroles: { a: { account: other, allow: [{ scopes: [\"droplet:read\"] }] } }",
            1,
            "other",
        ),
    ] {
        let told = api_of(
            &gate,
            "POST /api/v1/check",
            &viewer,
            &json!({ "policy": policy }),
        )
        .await
        .json();
        assert_eq!(told["errors"], errors, "{policy}: {told}");
        assert!(
            told["findings"].to_string().contains(what),
            "{what}: {told}"
        );
    }
    let session = Session::begin(&gate, &viewer).await;
    let form = encoded(&unknown);
    let page = session.post("/check", &format!("policy={form}")).await.body;
    assert!(
        page.contains("did you mean `droplet:delete`?") && page.contains("pasted:7:48"),
        "{page}"
    );
    assert!(
        session
            .get("/check")
            .await
            .body
            .contains("The files as they stand now")
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn diff_says_at_the_console_what_the_command_says_and_changes_nothing() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let viewer = gate.issue(&["night", "--role", "viewer"]).await;
    let wider = POLICY.replace(
        "\"droplet:delete\"",
        "\"droplet:delete\", \"block_storage:read\"",
    );
    gate.files().write("wider.yaml", &wider);
    let old = gate.files().path("policy.yaml").display().to_string();
    let new = gate.files().path("wider.yaml").display().to_string();
    let said: Value =
        serde_json::from_slice(&gate.cli(&["diff", &old, &new, "--json"]).await.stdout).unwrap();
    let asked = json!({ "policy": wider });
    let told = api_of(&gate, "POST /api/v1/diff", &viewer, &asked)
        .await
        .json();
    assert_eq!(told, said);
    assert!(told["allowed"].as_u64().unwrap() > 0, "{told}");
    for (body, status) in [
        (json!({ "policy": wider, "role": "reader" }), 200),
        (json!({ "policy": wider, "role": "nobody" }), 400),
        (json!({ "policy": "version: 2" }), 400),
        (json!({ "policy": 1 }), 400),
        (json!({ "role": "reader" }), 400),
        (json!({}), 400),
        (json!({ "policy": wider, "apply": "true" }), 400),
    ] {
        let told = api_of(&gate, "POST /api/v1/diff", &viewer, &body).await;
        assert_eq!(told.status, status, "{body}: {told:?}");
    }
    let session = Session::begin(&gate, &viewer).await;
    let form = encoded(&wider);
    let page = session.post("/diff", &format!("policy={form}")).await.body;
    assert!(
        page.contains("allows more") && page.contains("volumes_list"),
        "{page}"
    );
    let page = session.post("/diff", "policy=version:+2").await.body;
    assert!(
        page.contains("It can&#39;t be compared") || page.contains("It can't be compared"),
        "{page}"
    );
    let kept = gate.files().read("policy.yaml");
    assert_eq!(kept, POLICY, "the page never edits the policy");
    gate.finish(&api).await;
}

#[tokio::test]
async fn unused_says_at_the_console_what_the_command_says() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (viewer, ci) = (
        gate.issue(&["night", "--role", "viewer"]).await,
        gate.issue(&["ci", "--role", "writer"]).await,
    );
    gate.get("/v2/droplets").token(&ci).send().await;
    gate.audit_until(|lines| lines.iter().any(|line| line["event"] == "answer"))
        .await;
    let said: Value =
        serde_json::from_slice(&gate.cli(&["unused", "--json"]).await.stdout).unwrap();
    let begun = Instant::now();
    let mut told = api_of(&gate, "GET /api/v1/unused", &viewer, &Value::Null).await;
    while told.status == 202 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{told:?}");
        told = api_of(&gate, "GET /api/v1/unused", &viewer, &Value::Null).await;
    }
    let told = told.json();
    for (member, value) in said.as_object().unwrap() {
        assert_eq!(&told[member], value, "{member}");
    }
    assert_eq!(told["requests"], 1);
    assert!(
        told["scopes"].to_string().contains("droplet:delete"),
        "{told}"
    );
    let wrong = api_of(
        &gate,
        "GET /api/v1/unused?since=soon",
        &viewer,
        &Value::Null,
    )
    .await;
    assert_eq!(wrong.status, 400);
    let session = Session::begin(&gate, &viewer).await;
    let page = session.get("/unused").await.body;
    assert!(
        page.contains("Scopes that no request needed") && page.contains("droplet:delete"),
        "{page}"
    );
    // Of each role with it.
    for (role, lists) in [
        ("writer", ["scopes", "droplet:delete"]),
        ("reader", ["roles", "reader"]),
    ] {
        let asked = format!("GET /api/v1/roles/{role}");
        let told = api_of(&gate, &asked, &viewer, &Value::Null).await.json();
        let [list, one] = lists;
        let found = told["unused"][list].as_array().unwrap();
        assert_eq!(found.len(), 1, "{told:#}");
        assert!(found[0].to_string().contains(one), "{told:#}");
        let page = session.get(&format!("/roles/{role}")).await.body;
        assert!(
            page.contains("By 1 requests that were let through"),
            "{page}"
        );
    }
    gate.finish(&api).await;
}
