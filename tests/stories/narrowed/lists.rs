//! Lists: cut to what may be seen, and paged as if there were nothing else.

use futures_util::future::join_all;
use hyper::Method;
use serde_json::{Value, json};

use super::droplets::CLIENT;
use super::{NONE, Story, all};
use crate::support::{Fault, Hold, World};

/// A team by name, so that lists must be read whole.
const NAMED: &str = "
    allow:
      - scopes: [droplet:read, droplet:update, droplet:delete]
        only: { droplet: { name: 'a-*' } }
";

/// `count` Droplets, every other one of which is the team's.
fn crowd(count: u64) -> World {
    (1..=count).fold(World::empty(), |world, number| {
        let team = if number % 2 == 0 { "a" } else { "b" };
        let tag = format!("client-{team}");
        world.with_droplet(1000 + number, &format!("{team}-{number}"), &[&tag])
    })
}

#[tokio::test]
async fn every_page_of_every_size_fits_the_others() {
    let story = Story::in_world(NAMED, crowd(107)).await; // 53 of them are the team's
    for size in [1, 7, 20, 52, 53, 54, 200] {
        let pages_in_all = 53_usize.div_ceil(size);
        let mut ids = Vec::new();
        for page in 1..=pages_in_all {
            let list = story
                .get(&format!("/v2/droplets?page={page}&per_page={size}"))
                .await;
            let json = list.json();
            assert_eq!(json["meta"]["total"], 53, "page {page} of {size}");
            let shown = all(&list, "droplets", "id");
            assert_eq!(
                shown.len(),
                if page == pages_in_all {
                    53 - size * (pages_in_all - 1)
                } else {
                    size
                },
                "page {page} of {size}"
            );
            ids.extend(shown);
            let pages = &json["links"]["pages"];
            for (name, number) in [
                ("first", (page > 1).then_some(1)),
                ("prev", (page > 1).then(|| page - 1)),
                ("next", (page < pages_in_all).then_some(page + 1)),
                ("last", (page < pages_in_all).then_some(pages_in_all)),
            ] {
                let expected = number.map(|number| {
                    format!(
                        "{}/v2/droplets?page={number}&per_page={size}",
                        story.gate.url()
                    )
                });
                assert_eq!(
                    pages[name].as_str().map(str::to_owned),
                    expected,
                    "{name} of page {page} of {size}"
                );
            }
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), 53, "size {size}");
    }
    for odd in ["page=0", "per_page=0", "per_page=100000", "page=&per_page="] {
        let list = story.get(&format!("/v2/droplets?{odd}")).await;
        assert_eq!(
            (list.status.as_u16(), &list.json()["meta"]["total"]),
            (200, &json!(53)),
            "{odd}"
        );
    }
    for none in ["page=-1", "page=x", "per_page=1e1"] {
        let list = story.get(&format!("/v2/droplets?{none}")).await;
        assert_eq!(list.reason(), Some("ambiguous_request"), "{none}");
    }
    let beyond = story.get("/v2/droplets?page=99&per_page=20").await;
    assert_eq!(
        (beyond.status.as_u16(), all(&beyond, "droplets", "id").len()),
        (200, 0)
    );
    assert!(beyond.json()["links"].is_object());
    story.finish().await;
}

#[tokio::test]
async fn a_list_of_which_nothing_may_be_seen_is_empty_and_no_refusal() {
    let story = Story::in_world(NAMED, World::empty().with_droplet(1, "b-1", &[])).await;
    let list = story.get("/v2/droplets?page=1&per_page=200").await;
    assert_eq!(list.status, 200);
    assert_eq!(
        list.json(),
        json!({ "droplets": [], "links": {}, "meta": { "total": 0 } })
    );
    story.finish().await;
    let story = Story::of(
        "\n    allow:\n      - scopes: ['*:read']\n        only: { tag: nothing-has-this }\n",
    )
    .await;
    for (path, list) in [
        ("/v2/droplets", "droplets"),
        ("/v2/images?private=true", "images"),
        ("/v2/volumes", "volumes"),
        ("/v2/snapshots", "snapshots"),
        ("/v2/domains", "domains"),
        ("/v2/projects", "projects"),
        ("/v2/tags", "tags"),
        ("/v2/firewalls", "firewalls"),
        ("/v2/load_balancers", "load_balancers"),
        ("/v2/reserved_ips", "reserved_ips"),
        ("/v2/account/keys", "ssh_keys"),
        ("/v2/vpcs", "vpcs"),
        ("/v2/actions", "actions"),
    ] {
        let answer = story.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.json()[list], json!([]), "{path}");
        assert!(
            answer.json()["links"].is_object(),
            "{path}: {}",
            answer.text()
        );
    }
    story.finish().await;
}

#[tokio::test]
async fn one_tag_that_decides_goes_upstream() {
    let role = "\n    allow:\n      - scopes: ['droplet:*']\n        only: { tag: client-a }\n";
    let story = Story::in_world(role, crowd(107)).await;
    let list = story.get("/v2/droplets?page=1&per_page=20").await;
    assert_eq!(list.json()["meta"]["total"], 53);
    assert_eq!(
        story.heard(),
        ["GET /v2/droplets?tag_name=client-a&page=1&per_page=200"]
    );
    story.finish().await;
    // With a deny, another grant or a name beside, the tag alone does not decide.
    for more in [
        "      - scopes: [droplet:read]\n        only: { droplet: { name: b-1 } }\n",
        "      - scopes: [droplet:read]\n        only: { tag: other }\n",
    ] {
        let story = Story::in_world(&format!("{role}{more}"), crowd(10)).await;
        let list = story.get("/v2/droplets").await;
        assert!(list.json()["meta"]["total"].as_u64() >= Some(5));
        assert!(!story.heard()[0].contains("tag_name"), "{more}");
        story.finish().await;
    }
}

#[tokio::test]
async fn grants_add_up_and_denies_take_away() {
    let story = Story::of(
        "
    allow:
      - scopes: [droplet:read]
        only: { tag: client-a }
      - scopes: [droplet:read]
        only: { droplet: { region: fra1, size: s-1vcpu-1gb } }
      - scopes: [droplet:read]
        only: { droplet: { id: 31 } }
    deny:
      - scopes: [droplet:read]
        only: { droplet: { name: '*-keep' } }
",
    )
    .await;
    let list = story.get("/v2/droplets").await;
    assert_eq!(all(&list, "droplets", "id"), ["12", "13", "22", "31"]);
    assert_eq!(list.json()["meta"]["total"], 4);
    for id in [12, 13, 14, 22, 23, 31] {
        let single = story.get(&format!("/v2/droplets/{id}")).await.status == 200;
        assert_eq!(
            single,
            all(&list, "droplets", "id").contains(&id.to_string()),
            "{id}"
        );
    }
    story.finish().await;
}

#[tokio::test]
async fn pages_that_are_asked_for_at_once_are_read_once() {
    let story = Story::in_world(NAMED, crowd(900)).await;
    let paths: Vec<String> = (1..=4)
        .map(|page| format!("/v2/droplets?page={page}&per_page=200"))
        .collect();
    let first = story.get("/v2/droplets?page=1&per_page=200").await;
    assert_eq!(first.json()["meta"]["total"], 450);
    assert_eq!(story.heard().len(), 5, "900 of them at 200 a page");
    let pages = join_all(paths.iter().map(|path| story.get(path))).await;
    let ids: Vec<String> = pages
        .iter()
        .flat_map(|page| all(page, "droplets", "id"))
        .collect();
    assert_eq!(ids.len(), 450);
    assert_eq!(story.heard(), Vec::<String>::new());
    // A write drops it: what comes next is read anew, once for however many ask.
    assert_eq!(
        story.ask("DELETE /v2/droplets/1002", &NONE).await.status,
        204
    );
    story.api.clear();
    let pages = join_all(paths.iter().map(|path| story.get(path))).await;
    assert!(pages.iter().all(|page| page.json()["meta"]["total"] == 449));
    assert_eq!(story.heard().len(), 5);
    story.finish().await;
}

#[tokio::test]
async fn a_list_that_was_under_way_during_a_write_is_shown_to_nobody_after_it() {
    let story = Story::of(NAMED).await;
    let hold = Hold::new();
    story.api.fault_once(
        Method::GET,
        "/v2/droplets?page=1",
        Fault::HoldHead(hold.clone()),
    );
    let before = story.get("/v2/droplets");
    let write = async {
        story.api.heard_until(|heard| !heard.is_empty()).await;
        assert_eq!(story.ask("DELETE /v2/droplets/13", &NONE).await.status, 204);
        let after = story.get("/v2/droplets").await;
        assert_eq!(all(&after, "droplets", "id"), ["12", "14"]);
        hold.release();
    };
    let (before, ()) = tokio::join!(before, write);
    assert_eq!(before.status, 200);
    let after = story.get("/v2/droplets").await;
    assert_eq!(all(&after, "droplets", "id"), ["12", "14"]);
    story.finish().await;
}

#[tokio::test]
async fn half_a_list_is_no_list() {
    let story = Story::in_world(NAMED, crowd(700)).await;
    for fault in [
        Fault::problem(500, "server_error", "no"),
        Fault::problem(404, "not_found", "no"),
        Fault::CloseMidBody,
    ] {
        story.api.clear_faults();
        story
            .api
            .fault_on(Method::GET, "/v2/droplets?page=3", fault);
        let list = story.get("/v2/droplets").await;
        assert_eq!(list.status, 502, "{}", list.text());
        assert!(list.json()["droplets"].is_null());
    }
    story.api.clear_faults();
    assert_eq!(
        story.get("/v2/droplets").await.json()["meta"]["total"],
        350,
        "it is not remembered"
    );
    story.finish().await;
}

#[tokio::test]
async fn sub_lists_are_cut_like_others() {
    let story = Story::of(CLIENT).await;
    let actions = story.get("/v2/actions?page=1&per_page=200").await;
    assert_eq!(
        all(&actions, "actions", "id"),
        ["36804636", "36804639"],
        "its Droplet's, and its image's"
    );
    assert_eq!(actions.json()["meta"]["total"], 2);
    let tags = story.get("/v2/tags").await;
    assert_eq!(all(&tags, "tags", "name"), ["client-a"]);
    let images = story.get("/v2/images?private=true").await;
    assert_eq!(all(&images, "images", "id"), ["7001", "7004"]);
    let vpcs = story.get("/v2/vpcs").await;
    assert!(
        all(&vpcs, "vpcs", "name")
            .iter()
            .all(|name| name.starts_with("default-"))
    );
    let by_tag = story.get("/v2/droplets?tag_name=client-a").await;
    assert_eq!(by_tag.json()["meta"]["total"], 3);
    let by_other = story.get("/v2/droplets?tag_name=db").await;
    assert!(
        by_other.reason() == Some("resource") || all(&by_other, "droplets", "id") == ["13"],
        "{}",
        by_other.text()
    );
    let by_name = story.get("/v2/droplets?name=a-db").await;
    assert_eq!(all(&by_name, "droplets", "id"), ["13"]);
    let of_others = story.get("/v2/droplets?name=b-db").await;
    assert_eq!(of_others.json()["meta"]["total"], 0);
    let neighbours = story.get("/v2/droplets/12/neighbors").await;
    assert!(
        neighbours.status == 200 && !neighbours.text().contains("b-web"),
        "{}",
        neighbours.text()
    );
    story.finish().await;
}

#[tokio::test]
async fn records_are_listed_by_name_and_type() {
    let story = Story::of(super::dns::ACME).await;
    let base = "/v2/domains/example.com/records";
    // pydo asks by the absolute name.
    let found = story
        .get(&format!(
            "{base}?name=_acme-challenge.example.com&type=TXT&per_page=20&page=1"
        ))
        .await;
    assert_eq!(all(&found, "domain_records", "id"), ["105"]);
    let all_of_them = story.get(&format!("{base}?page=1")).await;
    assert_eq!(all(&all_of_them, "domain_records", "id"), ["105", "107"]);
    for (query, code) in [
        ("type=A", 200),
        ("name=www.example.com", 200),
        ("type=TXT", 200),
    ] {
        let list = story.get(&format!("{base}?{query}")).await;
        assert_eq!(list.status.as_u16(), code, "{query}");
        let names = all(&list, "domain_records", "name");
        assert!(
            names.iter().all(|name| name.starts_with("_acme-challenge")),
            "{query}: {names:?}"
        );
    }
    assert_eq!(
        story
            .get("/v2/domains/example.org/records?type=TXT")
            .await
            .status,
        404
    );
    story.finish().await;
}

#[tokio::test]
async fn a_compressed_list_is_cut_too() {
    let story = Story::of(NAMED).await;
    story.api.fault_on(Method::GET, "/v2/droplets", Fault::Gzip);
    let list = story.get("/v2/droplets").await;
    assert_eq!(all(&list, "droplets", "id"), ["12", "13", "14"]);
    assert_eq!(story.get("/v2/droplets/22").await.status, 404);
    assert_eq!(story.get("/v2/droplets/12").await.status, 200);
    let body: Value = story.get("/v2/droplets/12").await.json();
    assert_eq!(body["droplet"]["id"], 12);
    story.finish().await;
}

/// A crowd on hosts of three, and backed up.
fn hosted(count: u64) -> World {
    let mut world = crowd(count);
    for number in 1..=count {
        let droplet = world
            .one_mut("droplets", &(1000 + number).to_string())
            .unwrap();
        droplet["backups"] = json!(true);
        droplet["_host"] = json!(number.div_ceil(3));
    }
    world
}

#[tokio::test]
async fn a_mapping_by_droplet_is_cut_and_paged_as_a_list_is() {
    let story = Story::in_world(NAMED, hosted(50)).await; // 25 of them are the team's
    let mut ids = Vec::new();
    for page in 1..=3 {
        let answer = story
            .get(&format!(
                "/v2/droplets/backups/policies?page={page}&per_page=10"
            ))
            .await;
        let answer = answer.json();
        assert_eq!(answer["meta"]["total"], 25, "{answer}");
        let policies = answer["policies"].as_object().unwrap();
        assert_eq!(policies.len(), if page < 3 { 10 } else { 5 }, "{answer}");
        for (id, policy) in policies {
            assert_eq!(policy["droplet_id"].to_string(), *id);
            ids.push(id.parse::<u64>().unwrap());
        }
    }
    let own: Vec<u64> = (1..=25).map(|number| 1000 + 2 * number).collect();
    assert_eq!(ids, own);
    story.finish().await;
}

#[tokio::test]
async fn of_droplets_on_one_host_those_are_shown_that_may_be_seen() {
    // Hosts of 1 to 3, 4 to 6 and 7 to 9, of which the even ones are the team's.
    let story = Story::in_world(NAMED, hosted(9)).await;
    let answer = story.get("/v2/reports/droplet_neighbors_ids").await;
    assert_eq!(answer.json(), json!({ "neighbor_ids": [[1004, 1006]] }));
    story.finish().await;
}

#[tokio::test]
async fn who_is_not_narrowed_sees_policies_and_neighbors_as_they_came() {
    let story = Story::in_world("\n    allow: [{ scopes: [droplet:read] }]\n", hosted(9)).await;
    let answer = story.get("/v2/droplets/backups/policies").await.json();
    assert_eq!(answer["policies"].as_object().unwrap().len(), 9, "{answer}");
    let answer = story.get("/v2/reports/droplet_neighbors_ids").await.json();
    assert_eq!(
        answer["neighbor_ids"].as_array().unwrap().len(),
        3,
        "{answer}"
    );
    story.finish().await;
}
