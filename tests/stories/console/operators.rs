//! What those who run it may not, whatever door they try.

use super::*;

#[tokio::test]
async fn a_session_is_taken_from_the_sources_of_its_token_alone() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "admin",
            json!({ "address": "127.0.0.1:0", "console": true }),
        )
        .set("trusted_proxies", json!(["127.0.0.1"]))
        .start()
        .await;
    let at = gate.admin_address().unwrap();
    let near = ("x-forwarded-for", "203.0.113.7");
    let far = ("x-forwarded-for", "198.51.100.7");
    let token = gate
        .issue(&["night", "--role", "viewer", "--from", "203.0.113.0/24"])
        .await;
    let origin = format!("http://{at}");
    let headers = [FORM, ("origin", origin.as_str()), near];
    let told = ask(at, "POST /sign-in", &headers, &format!("token={token}")).await;
    assert_eq!(told.status, 303, "{told:?}");
    let cookie = told.header("set-cookie").unwrap();
    let cookie = ("cookie", cookie.split(';').next().unwrap());
    for (from, status) in [(near, 200), (far, 403), (near, 200)] {
        let told = ask(at, "GET /tokens", &[cookie, from], "").await;
        assert_eq!(told.status, status, "{from:?}: {told:?}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn no_page_does_more_than_the_rights_of_who_asks() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (viewer, guard) = (
        gate.issue(&["viewer", "--role", "viewer"]).await,
        gate.issue(&["guard", "--role", "guard"]).await,
    );
    let reader = gate.issue(&["r", "--role", "reader"]).await;
    let id = id_of(&reader);
    let (viewer, guard) = (
        Session::begin(&gate, &viewer).await,
        Session::begin(&gate, &guard).await,
    );
    let revoke = (format!("/tokens/{id}/revoke"), "");
    let rotate = (format!("/tokens/{id}/rotate"), "");
    let issue = ("/tokens".to_owned(), "name=new&role=reader&expires=1h");
    let several = ("/tokens/revoke".to_owned(), "role=reader&count=1");
    let cases = [
        (&viewer, vec![&revoke, &rotate, &issue, &several]),
        (&guard, vec![&rotate, &issue]),
    ];
    for (session, forms) in cases {
        for (target, form) in forms {
            let told = session.post(target, form).await;
            assert_eq!(told.status, 403, "{target}: {told:?}");
            assert!(
                told.body.contains("does not give the right"),
                "{target}: {told:?}"
            );
        }
        assert_eq!(session.get("/tokens/new").await.status, 403);
    }
    assert_eq!(viewer.get("/tokens/revoke?role=reader").await.status, 403);
    assert_eq!(guard.get("/tokens/revoke?role=reader").await.status, 200);
    let whoami = gate.get("/.tidegate/v1/whoami").token(&reader).send().await;
    assert_eq!(whoami.status, 200, "nothing was done to it");
    let list = gate.cli(&["token", "list", "--json"]).await;
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 3, "{list:#}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_a_token_made_has_no_right_at_the_console() {
    let api = StandInApi::start().await;
    let policy = POLICY.replace(
        "reader: { description: reads,",
        "reader: { delegate: { ttl: 1h, count: 2 },",
    );
    let gate = Gate::builder(&api)
        .policy(&policy)
        .set(
            "admin",
            json!({ "address": "127.0.0.1:0", "console": true }),
        )
        .start()
        .await;
    let viewer = gate
        .issue(&["night", "--role", "viewer", "--role", "reader"])
        .await;
    let child = gate
        .post("/.tidegate/v1/tokens", &json!({ "expires_in": 60 }))
        .token(&viewer)
        .gives_a_token()
        .send()
        .await;
    assert_eq!(child.status, 201, "{}", child.text());
    let child = child.json()["token"].as_str().unwrap().to_owned();
    let told = sign_in(gate.admin_address().unwrap(), &child).await;
    assert_eq!(told.status, 403, "{told:?}");
    assert!(told.body.contains("that another made"), "{told:?}");
    let told = api_of(&gate, "GET /api/v1/overview", &child, &Value::Null).await;
    assert_eq!(told.status, 403, "{told:?}");
    let told = api_of(&gate, "GET /api/v1/overview", &viewer, &Value::Null).await;
    assert_eq!(told.status, 200, "who made it has: {told:?}");
    gate.finish(&api).await;
}

/// What is done stands in the record before it is done.
#[tokio::test]
async fn what_can_not_be_recorded_is_not_done() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "admin",
            json!({ "address": "127.0.0.1:0", "console": true }),
        )
        .set("audit", json!({ "file": "/dev/full" }))
        .start()
        .await;
    let chief = gate.issue(&["chief", "--role", "chief"]).await;
    let reader = gate.issue(&["r", "--role", "reader"]).await;
    let told = sign_in(gate.admin_address().unwrap(), &chief).await;
    assert_eq!(
        (told.status, told.header("set-cookie")),
        (503, None),
        "{told:?}"
    );
    let id = id_of(&reader);
    let new = json!({ "name": "new", "roles": ["reader"], "expires": "1h" });
    let cases = [
        (format!("POST /api/v1/tokens/{id}/revoke"), json!({})),
        (format!("POST /api/v1/tokens/{id}/rotate"), json!({})),
        ("POST /api/v1/tokens".to_owned(), new),
        (
            "POST /api/v1/tokens/revoke".to_owned(),
            json!({ "roles": ["reader"], "count": 1 }),
        ),
    ];
    for (line, body) in cases {
        let told = api_of(&gate, &line, &chief, &body).await;
        assert_eq!(told.status, 503, "{line}: {told:?}");
        assert!(told.body.contains("nothing was done"), "{line}: {told:?}");
    }
    let list = gate.cli(&["token", "list", "--json"]).await;
    let list: Value = serde_json::from_slice(&list.stdout).unwrap();
    let list = list.as_array().unwrap();
    let states: Vec<_> = list.iter().map(|token| &token["state"]).collect();
    assert_eq!(states, ["active", "active"], "{list:#?}");
    let whoami = gate.get("/.tidegate/v1/whoami").token(&reader).send().await;
    assert_ne!(
        whoami.reason(),
        Some("unknown_token"),
        "its secret is the same"
    );
    gate.finish(&api).await;
}
