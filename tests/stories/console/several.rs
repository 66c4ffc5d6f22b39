//! Several sub-tokens at once: how many is shown before any ends; and the children that a token made.

use super::*;

#[tokio::test]
async fn several_end_at_once_after_it_was_shown_how_many() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (viewer, guard) = (
        gate.issue(&["viewer", "--role", "viewer"]).await,
        gate.issue(&["guard", "--role", "guard"]).await,
    );
    let mut theirs = Vec::new();
    for name in ["a", "b", "c"] {
        theirs.push(
            gate.issue(&[name, "--role", "reader", "--owner", "alice's"])
                .await,
        );
    }
    let others = gate
        .issue(&["other", "--role", "reader", "--owner", "bob"])
        .await;
    let revoke = async |token: &str, body: Value| {
        api_of(&gate, "POST /api/v1/tokens/revoke", token, &body).await
    };
    let wrong = [
        (&viewer, json!({ "owner": "alice's" }), 403),
        (&guard, json!({}), 400), // that would be all
        (&guard, json!({ "roles": [] }), 400),
        (&guard, json!({ "count": 4 }), 400),
        (&guard, json!({ "name": "a" }), 400),
        (&guard, json!({ "owner": "alice's", "count": -1 }), 400),
        (&guard, json!({ "owner": "alice's", "count": 2 }), 409),
        (&guard, json!({ "owner": "alice's", "count": 4 }), 409),
    ];
    for (who, body, status) in wrong {
        let told = revoke(who, body.clone()).await;
        assert_eq!(told.status, status, "{body}: {told:?}");
    }
    let shown = revoke(&guard, json!({ "owner": "alice's" })).await.json();
    assert_eq!(
        (&shown["count"], &shown["revoked"]),
        (&json!(3), &json!(false))
    );
    assert_eq!(
        shown["tokens"][0],
        json!({ "id": id_of(&theirs[0]), "name": "a" })
    );
    for token in &theirs {
        let who = gate.get("/.tidegate/v1/whoami").token(token).send().await;
        assert_eq!(who.status, 200, "nothing ended yet");
    }
    // On the page: which, how many, the command beside it, and the button.
    let session = Session::begin(&gate, &guard).await;
    let page = session.get("/tokens/revoke?owner=alice%27s").await.body;
    for part in [
        "3 living sub-tokens",
        "name=\"count\" value=\"3\"",
        "tidegate token revoke --owner='alice'\\''s'",
        "Revoke these 3 now",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let uncounted = session.post("/tokens/revoke", "owner=alice%27s").await;
    assert_eq!(uncounted.status, 400, "{uncounted:?}");
    let stale = session
        .post("/tokens/revoke", "owner=alice%27s&count=2")
        .await;
    assert!(stale.body.contains("nothing was revoked"), "{}", stale.body);
    let done = session
        .post("/tokens/revoke", "owner=alice%27s&count=3")
        .await;
    assert!(done.body.contains("Revoked: 3 sub-tokens"), "{}", done.body);
    let begun = Instant::now();
    for token in &theirs {
        while gate
            .get("/.tidegate/v1/whoami")
            .token(token)
            .send()
            .await
            .status
            != 401
        {
            assert!(begun.elapsed() < Duration::from_secs(1), "within a second");
        }
    }
    let other = gate.get("/.tidegate/v1/whoami").token(&others).send().await;
    assert_eq!(other.status, 200, "others go on");
    let lines = gate.audit();
    let line = lines
        .iter()
        .find(|line| line["resources"].is_array())
        .unwrap();
    assert_eq!(
        line["detail"],
        "revokes the 3 living sub-tokens of the owner `alice's`"
    );
    assert_eq!(line["resources"].as_array().unwrap().len(), 3);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_token_is_shown_with_what_it_made_and_a_child_with_who_made_it() {
    let api = StandInApi::start().await;
    let policy = POLICY.replace("reader: {", "reader: { delegate: { ttl: 1h, count: 3 },");
    let admin = json!({ "address": "127.0.0.1:0", "console": true });
    let gate = Gate::builder(&api)
        .policy(&policy)
        .set("admin", admin)
        .start()
        .await;
    let (viewer, parent) = (
        gate.issue(&["night", "--role", "viewer"]).await,
        gate.issue(&["ci", "--role", "reader"]).await,
    );
    let wish = json!({ "name": "job", "expires_in": 600, "scopes": ["droplet:read"] });
    let made = gate
        .post("/.tidegate/v1/tokens", &wish)
        .token(&parent)
        .gives_a_token()
        .send()
        .await;
    let child = made.json()["id"].as_str().unwrap().to_owned();
    let get = async |id: &str| {
        api_of(
            &gate,
            &format!("GET /api/v1/tokens/{id}"),
            &viewer,
            &Value::Null,
        )
        .await
        .json()
    };
    let one = get(&child).await;
    assert_eq!(
        (&one["parent"], &one["parent_id"]),
        (&json!("ci"), &json!(id_of(&parent)))
    );
    let all = get(id_of(&parent)).await;
    let children = &all["children"];
    assert_eq!(
        (&children["total"], &children["tokens"][0]["name"]),
        (&json!(1), &json!("ci/job"))
    );
    assert!(
        children["tokens"][0]["within"]
            .as_str()
            .unwrap()
            .contains("droplet:read"),
        "{children}"
    );
    let session = Session::begin(&gate, &viewer).await;
    let page = session
        .get(&format!("/tokens/{}", id_of(&parent)))
        .await
        .body;
    assert!(
        page.contains("What it made") && page.contains(&format!("/tokens/{child}")),
        "{page}"
    );
    let page = session.get(&format!("/tokens/{child}")).await.body;
    assert!(
        page.contains("made by") && page.contains(&format!("/tokens/{}", id_of(&parent))),
        "{page}"
    );
    gate.finish(&api).await;
}
