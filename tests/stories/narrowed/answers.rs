//! Answers that are not as the reference has them: what can't be judged is not shown, and what is not told is not known.

use hyper::Method;
use serde_json::{Value, json};

use super::{NONE, Story};
use crate::support::{Answer, Fault, Reply, World};

/// Stands in whatever belongs to somebody else.
const CANARY: &str = "canary-of-client-b";

const BY_TAG: &str = "
    allow:
      - scopes: ['*:read', 'database:*', tag:create]
        only: { tag: client-a }
";
const BY_DENY: &str = "
    allow:
      - scopes: ['*:read', 'database:*', tag:create]
    deny:
      - scopes: ['*']
        only: { tag: client-b }
";

/// An endpoint, how its answer calls what it shows, and one of it that is the caller's and one that is not.
struct Shown {
    path: &'static str,
    member: &'static str,
    mine: Value,
    theirs: Value,
}

fn droplet(id: u64, name: &str, tag: &str) -> Value {
    json!({ "id": id, "name": name, "tags": [tag], "size_slug": "s-1vcpu-1gb", "region": { "slug": "nyc3" },
        "image": { "id": 1, "slug": null }, "vpc_uuid": "760e09ef-dc84-11e8-981e-3cfdfeaae000" })
}

fn lists() -> [Shown; 3] {
    let database = |id: &str, name: &str, tag: &str| json!({ "id": id, "name": name, "tags": [tag], "project_id": id, "region": "nyc3" });
    [
        Shown {
            path: "/v2/droplets",
            member: "droplets",
            mine: droplet(12, "mine", "client-a"),
            theirs: droplet(22, CANARY, "client-b"),
        },
        Shown {
            path: "/v2/volumes",
            member: "volumes",
            mine: json!({ "id": "506f78a4-e098-11e5-ad9f-000000000001", "name": "mine", "tags": ["client-a"], "droplet_ids": [] }),
            theirs: json!({ "id": "506f78a4-e098-11e5-ad9f-000000000002", "name": CANARY, "tags": ["client-b"], "droplet_ids": [] }),
        },
        // Without pages.
        Shown {
            path: "/v2/databases",
            member: "databases",
            mine: database("9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "mine", "client-a"),
            theirs: database("b92438f6-ba03-416c-b642-e9236db91976", CANARY, "client-b"),
        },
    ]
}

fn json_bytes(body: impl Into<Vec<u8>>) -> Fault {
    Fault::Reply(Reply::bytes(200, "application/json", body.into()))
}

/// What was read is remembered for some seconds, up to the next change.
async fn forget(story: &Story) {
    let answer = story
        .ask("POST /v2/tags", &json!({ "name": "client-a" }))
        .await;
    assert!(answer.reason().is_none(), "{}", answer.text());
}

/// Asks once with each answer in the API's place; what came of it beyond what is right is told.
async fn each(
    story: &Story,
    path: &str,
    answers: Vec<(String, Fault, u16)>,
    also: impl Fn(&Answer) -> Option<String>,
) {
    let mut wrong = Vec::new();
    for (what, fault, status) in answers {
        story.api.clear_faults();
        forget(story).await;
        story.api.fault_on(Method::GET, path, fault);
        story.api.clear();
        let answer = story.get(path).await;
        let text = answer.text();
        let more = if answer.status == 200 {
            also(&answer)
        } else {
            None
        };
        if answer.status.as_u16() != status || text.contains(CANARY) || more.is_some() {
            wrong.push(format!(
                "{path} {what}: {} not {status} {more:?}: {text}",
                answer.status
            ));
        }
    }
    story.api.clear_faults();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_list_that_is_not_as_the_reference_has_it_is_not_shown() {
    for role in [BY_TAG, BY_DENY] {
        let story = Story::of(role).await;
        for Shown {
            path,
            member,
            mine,
            theirs,
        } in lists()
        {
            let (both, own) = (json!([mine, theirs]), json!([mine]));
            let text = |value: &Value| value.to_string();
            let whole = text(&json!({ member: both }));
            let cases: Vec<(&str, Vec<u8>, u16)> = vec![
                ("as it is", whole.clone().into(), 200),
                ("another member", text(&json!({ "things": both })).into(), 502),
                ("a bare list", text(&both).into(), 502),
                ("YAML", format!("{member}:\n- name: {CANARY}\n").into(), 502),
                ("a byte order mark", format!("\u{feff}{whole}").into(), 502),
                ("no number", format!("{{\"{member}\":{both},\"meta\":NaN}}").into(), 502),
                ("two documents", format!("{whole}{whole}").into(), 502),
                ("something behind", format!("{whole} {CANARY}").into(), 502),
                ("twice, hidden first", format!("{{\"{member}\":{both},\"{member}\":{own}}}").into(), 502),
                ("twice, hidden last", format!("{{\"{member}\":{own},\"{member}\":{both}}}").into(), 502),
                ("a key of an item twice", format!("{{\"{member}\":[{{\"id\":1,\"name\":\"{CANARY}\",\"tags\":[\"client-a\"],\"tags\":[\"client-b\"]}}]}}").into(), 502),
                ("no UTF-8", [whole.as_bytes(), b"\xff"].concat(), 502),
                ("texts", text(&json!({ member: [CANARY] })).into(), 502),
                ("lists", text(&json!({ member: [[theirs]] })).into(), 502),
                ("nulls", text(&json!({ member: [null] })).into(), 502),
                ("an object", text(&json!({ member: { "22": theirs } })).into(), 502),
                ("a text", text(&json!({ member: CANARY })).into(), 502),
                ("nothing", Vec::new(), 502),
                ("null", b"null".to_vec(), 502),
                ("an empty object", b"{}".to_vec(), 200),
                ("null for the list", text(&json!({ member: null, "links": {}, "meta": { "total": 0 } })).into(), 200),
                ("null, and something beside", text(&json!({ member: null, "things": both })).into(), 502),
                ("something beside", text(&json!({ member: own, "things": both, "links": { "self": CANARY }, "meta": { "total": 1, "of": CANARY } })).into(), 200),
                ("no tags", text(&json!({ member: [{ "id": 22, "name": CANARY }] })).into(), 200),
                ("null for tags of somebody's", text(&json!({ member: [{ "id": 22, "name": CANARY, "tags": [null] }] })).into(), 200),
                ("tags in lists", text(&json!({ member: [{ "id": 22, "name": CANARY, "tags": [["client-a"]] }] })).into(), 200),
                ("a tag for tags", text(&json!({ member: [{ "id": 22, "name": CANARY, "tags": "client-a" }] })).into(), 200),
                ("an object for tags", text(&json!({ member: [{ "id": 22, "name": CANARY, "tags": { "client-a": true } }] })).into(), 200),
            ];
            let cases = cases
                .into_iter()
                .map(|(what, bytes, status)| (what.to_owned(), json_bytes(bytes), status))
                .collect();
            each(&story, path, cases, |answer| {
                let list = &answer.json()[member];
                let listed = list.is_null() || list.as_array().is_some_and(|list| list.len() <= 1);
                (!listed).then(|| "more than one".to_owned())
            })
            .await;
        }
        story.finish().await;
    }
}

#[tokio::test]
async fn a_resource_that_is_not_the_one_that_was_asked_for_is_not_shown() {
    let (mine, theirs) = (
        droplet(12, "mine", "client-a"),
        droplet(22, CANARY, "client-b"),
    );
    // By its tag it might be seen, and it is another.
    let another = droplet(13, CANARY, "client-a");
    for role in [BY_TAG, BY_DENY] {
        let story = Story::of(role).await;
        let cases: Vec<(&str, String, u16)> = vec![
            ("as it is", json!({ "droplet": mine }).to_string(), 200),
            ("another", json!({ "droplet": another }).to_string(), 502),
            ("somebody's", json!({ "droplet": theirs }).to_string(), 502),
            (
                "without a name",
                json!({ "droplet": { "name": CANARY, "tags": ["client-a"] } }).to_string(),
                502,
            ),
            (
                "twice, hidden first",
                format!("{{\"droplet\":{theirs},\"droplet\":{mine}}}"),
                502,
            ),
            (
                "twice, hidden last",
                format!("{{\"droplet\":{mine},\"droplet\":{theirs}}}"),
                502,
            ),
            (
                "a list",
                json!({ "droplet": [mine, theirs] }).to_string(),
                502,
            ),
            ("null", json!({ "droplet": null }).to_string(), 502),
            (
                "another member",
                json!({ "droplets": [theirs] }).to_string(),
                502,
            ),
            (
                "something beside",
                json!({ "droplet": mine, "droplets": [theirs], "other": CANARY }).to_string(),
                200,
            ),
            (
                "something behind",
                format!(
                    "{}{}",
                    json!({ "droplet": mine }),
                    json!({ "droplet": theirs })
                ),
                502,
            ),
            (
                "its id as a text",
                json!({ "droplet": { "id": "12", "name": "mine", "tags": ["client-a"] } })
                    .to_string(),
                200,
            ),
        ];
        let cases = cases
            .into_iter()
            .map(|(what, body, status)| (what.to_owned(), json_bytes(body), status))
            .collect();
        each(&story, "/v2/droplets/12", cases, |_| None).await;
        story.finish().await;
    }
}

/// Named by its id alone, a Droplet is looked up by nobody: its answer is of it all the same.
#[tokio::test]
async fn what_is_told_by_its_name_is_the_one_that_has_it() {
    let roles = [
        "\n    allow:\n      - scopes: ['droplet:read']\n        only: { droplet: { id: 12 } }\n",
        "\n    allow:\n      - scopes: ['droplet:read']\n    deny:\n      - scopes: ['*']\n        only: { droplet: { id: 22 } }\n",
    ];
    for role in roles {
        let story = Story::of(role).await;
        assert_eq!(story.get("/v2/droplets/12").await.status, 200);
        story.api.fault_on(
            Method::GET,
            "/v2/droplets/12",
            json_bytes(json!({ "droplet": droplet(22, CANARY, "client-b") }).to_string()),
        );
        let answer = story.get("/v2/droplets/12").await;
        assert_eq!(
            answer.reason(),
            Some("upstream_bad_answer"),
            "{}",
            answer.text()
        );
        assert!(!answer.text().contains(CANARY));
        story.finish().await;
    }
}

/// A deny on Droplets does not ask about reserved IPs; what stands beside one in its answer may be of a Droplet all the same.
#[tokio::test]
async fn what_stands_beside_what_its_name_let_through_is_left_out() {
    let roles = [
        "\n    allow:\n      - scopes: ['*:read']\n    deny:\n      - scopes: ['*']\n        only: { droplet: { id: 22 } }\n",
        "\n    allow:\n      - scopes: [domain:read]\n        only: { domain: { name: example.com } }\n",
    ];
    let answers = [
        (
            "/v2/reserved_ips/203.0.113.7",
            "reserved_ip",
            json!({ "ip": "203.0.113.7", "region": { "slug": "nyc3" }, "droplet": null, "locked": false }),
        ),
        (
            "/v2/domains/example.com",
            "domain",
            json!({ "name": "example.com", "ttl": 1800, "zone_file": "x" }),
        ),
    ];
    for (role, (path, member, shown)) in roles.into_iter().zip(answers) {
        let story = Story::of(role).await;
        let beside = json!({ member: shown, "droplet": droplet(22, CANARY, "client-b"), "links": { "self": CANARY } });
        let cases = vec![
            (
                "as it is".to_owned(),
                json_bytes(json!({ member: shown }).to_string()),
                200,
            ),
            (
                "something beside".to_owned(),
                json_bytes(beside.to_string()),
                200,
            ),
        ];
        let mut wrong = Vec::new();
        for (what, fault, status) in cases {
            story.api.fault_on(Method::GET, path, fault);
            let answer = story.get(path).await;
            story.api.clear_faults();
            if answer.status != status
                || answer.json()[member] != shown
                || answer.text().contains(CANARY)
            {
                wrong.push(format!(
                    "{path} {what}: {} {}",
                    answer.status,
                    answer.text()
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        story.finish().await;
    }
}

/// An action that the API does not tell the resource of is known by the request that began it. What is no such request tells of no
/// action, whatever its answer says.
#[tokio::test]
async fn an_action_is_of_no_thing_that_has_none() {
    let story = Story::of(BY_TAG).await;
    let theirs = json!({ "action": { "id": 7_000_001, "status": "completed", "type": "reboot", "resource_id": 22, "resource_type": "droplet", "region_slug": CANARY } });
    let (database, action) = (
        "/v2/databases/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30",
        "/v2/actions/7000001",
    );
    let own = json!({ "database": { "id": "9cc10173-e9ea-4176-9dbc-a4cee4c4ff30", "name": "mine", "tags": ["client-a"], "region": "nyc3" } });
    let reply = |body: &Value| json_bytes(body.to_string());
    let policy = format!("{database}/eviction_policy");
    story.api.fault_on(Method::GET, action, reply(&theirs));
    story.api.fault_on(Method::GET, database, reply(&own));
    story.api.fault_on(
        Method::PUT,
        &policy,
        reply(&json!({ "action": { "id": 7_000_001 }, "links": { "actions": [{ "id": 7_000_001 }] } })),
    );
    let hidden = |answer: &Answer| answer.reason() == Some("resource_hidden");
    assert!(hidden(&story.get(action).await));
    let set = story
        .ask(
            &format!("PUT {policy}"),
            &json!({ "eviction_policy": "noeviction" }),
        )
        .await;
    assert!(set.reason().is_none(), "{}", set.text());
    let answer = story.get(action).await;
    assert!(hidden(&answer), "{}", answer.text());
    story.finish().await;
}

#[tokio::test]
async fn an_error_is_shown_where_it_is_one_of_the_apis() {
    let error =
        json!({ "id": "server_error", "message": "no", "request_id": "r", "droplets": [CANARY] });
    for (path, own) in [
        ("/v2/databases", true),
        ("/v2/droplets/12", true),
        ("/v2/droplets", false),
    ] {
        let story = Story::of(BY_TAG).await;
        let reply = |status: u16, body: &Value| Fault::Reply(Reply::json(status, body));
        let shown = |status: u16| if own { status } else { 502 };
        let strange = json!({ "databases": [{ "name": CANARY }] });
        let cases = vec![
            ("an error".to_owned(), reply(500, &error), shown(500)),
            (
                "a refusal".to_owned(),
                reply(403, &json!({ "id": "forbidden", "message": "no" })),
                shown(403),
            ),
            (
                "a list with an error's status".to_owned(),
                reply(500, &strange),
                502,
            ),
            (
                "a page".to_owned(),
                Fault::Reply(Reply::bytes(503, "text/html", CANARY)),
                shown(503),
            ),
            (
                "a redirect with a list".to_owned(),
                reply(302, &strange),
                502,
            ),
            (
                "texts for texts".to_owned(),
                reply(400, &json!({ "id": [CANARY], "message": "no" })),
                502,
            ),
        ];
        each(&story, path, cases, |_| None).await;
        story.finish().await;
    }
}

/// What a look-up does not tell is unknown: every deny that asks for it strikes.
#[tokio::test]
async fn a_change_waits_for_the_facts_that_denies_ask_for() {
    let whole = droplet(22, "b-web", "client-b");
    let without = |member: &str| {
        let mut it = whole.clone();
        it.as_object_mut().unwrap().remove(member);
        json!({ "droplet": it }).to_string()
    };
    let with = |member: &str, value: Value| {
        let mut it = whole.clone();
        it[member] = value;
        json!({ "droplet": it }).to_string()
    };
    let cases = [
        ("{ tag: client-b }", "tags", json!([null])),
        ("{ tag: client-b }", "tags", json!([["client-b"]])),
        ("{ tag: client-b }", "tags", json!("client-b")),
        ("{ tag: client-b }", "tags", json!({ "client-b": true })),
        ("{ tag: client-b }", "tags", Value::Null),
        ("{ droplet: { name: b-web } }", "name", json!(["b-web"])),
        ("{ droplet: { name: b-web } }", "name", Value::Null),
        ("{ droplet: { vpc: '760e*' } }", "vpc_uuid", json!({})),
        ("{ droplet: { size: 's-*' } }", "size_slug", Value::Null),
        ("{ region: nyc3 }", "region", json!("nyc3")),
        ("{ region: nyc3 }", "region", json!({})),
        ("{ droplet: { image: 1 } }", "image", Value::Null),
    ];
    for (only, member, value) in cases {
        for form in ["deny", "allow"] {
            let role = match form {
                "deny" => format!(
                    "\n    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: ['*']\n        only: {only}\n"
                ),
                _ => format!("\n    allow:\n      - scopes: ['*']\n        only: {only}\n"),
            };
            let story = Story::of(&role).await;
            let odd = with(member, value.clone());
            let twice = format!(
                "{{\"droplet\":{whole},\"droplet\":{}}}",
                droplet(22, "mine", "client-a")
            );
            let another = json!({ "droplet": droplet(12, "mine", "client-a") }).to_string();
            let bodies = [
                odd,
                without(member),
                twice,
                another,
                "{}".to_owned(),
                "{\"droplet\":null}".to_owned(),
                "{\"droplet\":{}}".to_owned(),
                "{\"droplet\":[]}".to_owned(),
                json!([whole]).to_string(),
            ];
            for body in bodies {
                story.api.clear_faults();
                story.api.clear();
                story
                    .api
                    .fault_on(Method::GET, "/v2/droplets/22", json_bytes(body.clone()));
                for request in ["DELETE /v2/droplets/22", "POST /v2/droplets/22/actions"] {
                    let sent = if request.starts_with("POST") {
                        json!({ "type": "reboot" })
                    } else {
                        NONE
                    };
                    let answer = story.ask(request, &sent).await;
                    assert!(
                        story.api.writes().is_empty(),
                        "{form} {only}: {request}: {body}: {}",
                        answer.text()
                    );
                    assert!(
                        answer.reason().is_some(),
                        "{form} {only}: {request}: {body}"
                    );
                }
            }
            story.finish().await;
        }
    }
}

/// Which project something is in is told by lists; one that is not there tells of nothing that it is in no project.
#[tokio::test]
async fn a_deny_by_project_strikes_where_the_projects_are_not_told() {
    let role = "\n    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: ['*']\n        only: { project: client-b }\n";
    let story = Story::of(role).await;
    story
        .holds(&[
            ("DELETE /v2/droplets/14", NONE, "ok"),
            ("DELETE /v2/droplets/22", NONE, "resource_hidden"),
        ])
        .await;
    let of_b = "/v2/projects/746c6152-2fa2-11ed-92d3-27aaa54e4988/resources";
    let cases = [
        ("/v2/projects?", json!({})),
        ("/v2/projects?", json!({ "projects": null })),
        (
            "/v2/projects?",
            json!({ "links": {}, "meta": { "total": 0 } }),
        ),
        ("/v2/projects?", json!({ "project": [] })),
        ("/v2/projects?", json!({ "projects": {} })),
        ("/v2/projects?", json!({ "projects": [{}] })),
        ("/v2/projects?", json!({ "projects": ["client-b"] })),
        (
            "/v2/projects?",
            json!({ "projects": [{ "id": "746c6152-2fa2-11ed-92d3-27aaa54e4988" }] }),
        ),
        (of_b, json!({})),
        (of_b, json!({ "resources": null })),
        (of_b, json!({ "resources": [{}] })),
        (of_b, json!({ "resources": ["do:droplet:22"] })),
        (of_b, json!({ "resources": [{ "urn": null }] })),
    ];
    for (path, body) in cases {
        story.api.clear_faults();
        forget(&story).await;
        story.api.clear();
        story
            .api
            .fault_on(Method::GET, path, json_bytes(body.to_string()));
        let answer = story.ask("DELETE /v2/droplets/22", &NONE).await;
        assert!(
            story.api.writes().is_empty(),
            "{path} {body}: {}",
            answer.text()
        );
        let list = story.get("/v2/droplets").await;
        assert!(
            !list.text().contains("b-web"),
            "{path} {body}: {}",
            list.text()
        );
    }
    story.finish().await;
}

/// A list may be given in shorter pages than are asked for, and what stands on the others counts.
#[tokio::test]
async fn a_list_is_read_to_its_end_however_short_its_pages_are() {
    let role = "\n    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: ['*']\n        only: { project: client-b }\n";
    let story = Story::of(role).await;
    let first = story.get("/v2/projects?per_page=200").await.json();
    let of_b = "746c6152-2fa2-11ed-92d3-27aaa54e4988";
    let mut all = first["projects"].as_array().unwrap().clone();
    all.push(json!({ "id": of_b, "name": "client-b", "is_default": false }));
    let page = |number: usize, beside: Value| {
        let mut page = beside;
        let items = all.iter().skip(number - 1).take(1);
        page["projects"] = items.cloned().collect();
        json_bytes(page.to_string())
    };
    let next = |number: usize| {
        let more = number < all.len();
        let next = more.then(|| {
            format!(
                "https://api.digitalocean.com/v2/projects?page={}",
                number + 1
            )
        });
        json!({ "links": { "pages": next.map(|next| json!({ "next": next })) } })
    };
    for told in ["total", "next", "both"] {
        story.api.clear_faults();
        forget(&story).await;
        story.api.clear();
        for number in 1..=all.len() + 1 {
            let mut beside = if told == "total" {
                json!({})
            } else {
                next(number)
            };
            if told != "next" {
                beside["meta"] = json!({ "total": all.len() });
            }
            let path = format!("/v2/projects?page={number}&");
            story.api.fault_on(Method::GET, &path, page(number, beside));
        }
        let reboot = json!({ "type": "reboot" });
        for droplet in ["22", "14"] {
            let request = format!("POST /v2/droplets/{droplet}/actions");
            let answer = story.ask(&request, &reboot).await;
            let refused = answer.reason().is_some();
            assert_eq!(
                refused,
                droplet == "22",
                "{told} {droplet}: {}",
                answer.text()
            );
        }
        let list = story.get("/v2/projects").await;
        assert_eq!(
            list.json()["meta"]["total"],
            all.len() - 1,
            "{told}: {}",
            list.text()
        );
        assert!(!list.text().contains(of_b), "{told}: {}", list.text());
    }
    story.finish().await;
}

/// What a head says of the body as it came would tell of what was taken out of that: that it is there, and when it changes.
#[tokio::test]
async fn the_head_of_what_was_cut_tells_nothing_of_the_whole() {
    let of_the_whole = [
        ("etag", "W/\"all-of-it\""),
        ("last-modified", "Sun, 29 Nov 2026 10:00:00 GMT"),
        ("content-md5", "Q2hlY2sgSW50ZWdyaXR5IQ=="),
        (
            "digest",
            "sha-256=4REjxQ4yrqUVicfSKYNO/cF9zNj5ANbzgDZt3/h3Qxo=",
        ),
        ("link", "</v2/databases?page=2>; rel=\"next\""),
        ("x-total-count", "2"),
    ];
    let usual = ("ratelimit-remaining", "4999");
    for role in [BY_TAG, BY_DENY] {
        let story = Story::of(role).await;
        for Shown {
            path,
            member,
            mine,
            theirs,
        } in lists()
        {
            let one = member.trim_end_matches('s');
            let id = mine["id"].to_string();
            let single = format!("{path}/{}", id.trim_matches('"'));
            let answers = [
                (path.to_owned(), json!({ member: [mine, theirs] })),
                (single, json!({ one: mine })),
            ];
            for (path, body) in answers {
                let mut reply = Reply::json(200, &body);
                let told = of_the_whole.iter().chain([&usual]);
                reply
                    .headers
                    .extend(told.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
                story.api.clear_faults();
                story.api.fault_on(Method::GET, &path, Fault::Reply(reply));
                let answer = story.get(&path).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                assert!(!answer.text().contains(CANARY), "{path}");
                for (name, _) in of_the_whole {
                    assert_eq!(answer.header(name), None, "{path}: {name}");
                }
            }
        }
        story.finish().await;
    }
}

/// A list by another name is not an empty one: what follows from what it holds is not known.
#[tokio::test]
async fn a_change_waits_for_the_lists_that_tell_what_follows_from_it() {
    let role = "\n    allow:\n      - scopes: ['*']\n    deny:\n      - scopes: [load_balancer:*]\n        only: { load_balancer: { droplet: '12' } }\n";
    let story = Story::of(role).await;
    let resources = json!({ "resources": [{ "resource_id": "12", "resource_type": "droplet" }] });
    let balancer = json!([{ "id": "4de7ac8b-495b-4884-9a69-1050c6793cd6", "tag": "client-a", "droplet_ids": [12], "tags": [] }]);
    let lists = [
        (json!({ "load_balancers": balancer }), false),
        (json!({ "items": balancer }), false),
        (json!({ "items": balancer, "load_balancers": null }), false),
        (json!({ "items": balancer, "meta": { "total": 1 } }), false),
        (json!({ "load_balancers": [] }), true),
        (json!({ "links": {}, "meta": { "total": 0 } }), true),
    ];
    for (list, sent) in lists {
        story.api.clear_faults();
        story.api.clear();
        story.api.fault_on(
            Method::GET,
            "/v2/load_balancers?",
            json_bytes(list.to_string()),
        );
        let answer = story
            .ask("DELETE /v2/tags/client-a/resources", &resources)
            .await;
        assert_eq!(
            !story.api.writes().is_empty(),
            sent,
            "{list}: {}",
            answer.text()
        );
    }
    story.finish().await;
}

/// The API answers in the form that is asked for, and it is tidegate that must read it.
#[tokio::test]
async fn what_is_judged_is_asked_for_in_json() {
    let story = Story::of(BY_TAG).await;
    for (request, expected) in [
        ("GET /v2/droplets/12", "application/json"),
        ("GET /v2/databases", "application/json"),
    ] {
        story.api.clear();
        let (_, path) = request.split_once(' ').unwrap();
        let ask = story.gate.request(Method::GET, path).token(&story.token);
        ask.header("accept", "application/yaml").send().await;
        let heard = story.api.heard();
        assert_eq!(heard[0].header("accept"), Some(expected), "{request}");
    }
    story.finish().await;
}

#[tokio::test]
async fn a_tag_goes_upstream_where_the_api_takes_it_and_is_believed_where_it_finds_something() {
    let role =
        "\n    allow:\n      - scopes: ['droplet:*', 'image:read']\n        only: { tag: Prod }\n";
    let world = World::empty()
        .with_droplet(1, "mine", &["Prod"])
        .with_droplet(2, "other", &["other"])
        .with("images", [
            json!({ "id": 7, "name": "public", "slug": "debian", "public": true, "tags": [], "type": "base" }),
            json!({ "id": 8, "name": "mine", "slug": null, "public": false, "tags": ["Prod"], "type": "custom" }),
            json!({ "id": 9, "name": "other", "slug": null, "public": false, "tags": [], "type": "custom" }),
        ]);
    let story = Story::in_world(role, world).await;
    // An API that minds the case finds nothing by `prod`.
    story.api.fault_on(
        Method::GET,
        "/v2/droplets?tag_name=prod&",
        json_bytes(json!({ "droplets": [], "links": {}, "meta": { "total": 0 } }).to_string()),
    );
    let names = |answer: &Answer, list: &str| super::all(answer, list, "name");
    assert_eq!(
        names(&story.get("/v2/droplets").await, "droplets"),
        ["mine"]
    );
    let heard = story.heard();
    assert!(heard[0].contains("tag_name=prod"), "{heard:?}");
    // Public images have no tag, and belong to the list.
    let images = names(&story.get("/v2/images").await, "images");
    for (name, listed) in [("public", true), ("mine", true), ("other", false)] {
        assert_eq!(
            images.iter().any(|known| known == name),
            listed,
            "{images:?}"
        );
    }
    // Beside these the API refuses it.
    for query in ["name=mine", "type=droplets"] {
        assert_eq!(
            names(
                &story.get(&format!("/v2/droplets?{query}")).await,
                "droplets"
            ),
            ["mine"]
        );
    }
    let heard = story.heard();
    assert!(
        heard.iter().all(|line| !line.contains("tag_name")),
        "{heard:?}"
    );
    story.finish().await;
}

/// A client that follows `next` comes to an end.
#[tokio::test]
async fn a_page_that_is_asked_for_is_asked_for_upstream() {
    let story = Story::of(BY_DENY).await;
    for path in [
        "/v2/images/7001/actions",
        "/v2/reserved_ips/45.55.96.47/actions",
        "/v2/customers/my/billing_history",
    ] {
        story.api.clear();
        story.get(&format!("{path}?page=2&per_page=5")).await;
        let heard = story.heard();
        let asked = heard
            .iter()
            .any(|line| line.contains("page=2") && line.contains("per_page=5"));
        assert!(asked || path.contains("billing"), "{path}: {heard:?}");
    }
    story.finish().await;
}

/// Whoever follows an address in an answer must come back here.
#[tokio::test]
async fn addresses_in_lists_that_are_cut_lead_back() {
    let story = Story::of(BY_TAG).await;
    let mut item = droplet(12, "mine", "client-a");
    item["links"] = json!({ "self": "https://api.digitalocean.com/v2/droplets/12" });
    item["last_tagged_uri"] = json!("HTTPS://API.DigitalOcean.com/v2/images/7");
    story.api.fault_on(
        Method::GET,
        "/v2/droplets",
        json_bytes(json!({ "droplets": [item] }).to_string()),
    );
    let text = story.get("/v2/droplets").await.text();
    assert!(
        !text.to_lowercase().contains("api.digitalocean.com"),
        "{text}"
    );
    assert!(text.contains("/v2/images/7"), "{text}");
    story.finish().await;
}
