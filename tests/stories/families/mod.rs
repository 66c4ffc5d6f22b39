//! Sub-tokens narrowed to one of two look-alikes, family by family of the API.

mod agents;
mod databases;
mod genai;
mod inference;
mod monitoring;
mod networks;
mod one_project;
mod platform;

use serde_json::Value;

use crate::narrowed::{Row, Story, all};

/// Two of a kind, as stories know them.
const MINE: &str = "11111111-1111-4111-8111-111111111111";
const OTHER: &str = "22222222-2222-4222-8222-222222222222";
const CLIENT_A: &str = "4e1bfbc3-dc3e-41f2-a18f-1b4d7ba71679";
const CLIENT_B: &str = "746c6152-2fa2-11ed-92d3-27aaa54e4988";

/// What a list shows, and that of the other nothing is told: it is answered as what is not there.
///
/// `list` is the member that holds the list and, after a dot, the one that names each.
async fn only_mine(story: &Story, path: &str, list: &str, mine: &str, other: &str) {
    only_listed(story, path, list, &[mine]).await;
    let own = story.get(&format!("{path}/{mine}")).await;
    assert_eq!(own.status, 200, "{path}: {}", own.text());
    let there = story.get(&format!("{path}/{other}")).await;
    let nowhere = if mine.bytes().all(|byte| byte.is_ascii_digit()) {
        "99999999"
    } else if mine.contains('.') {
        "203.0.113.254"
    } else {
        "99999999-9999-4999-8999-999999999999"
    };
    let gone = story.get(&format!("{path}/{nowhere}")).await;
    let told = |answer: &Value| (answer["id"].clone(), answer["message"].clone());
    assert_eq!(
        (there.status.as_u16(), gone.status.as_u16()),
        (404, 404),
        "{path}"
    );
    assert_eq!(told(&there.json()), told(&gone.json()), "{path}");
}

/// What a list shows, and that its other members tell of nothing else.
async fn only_listed(story: &Story, path: &str, list: &str, shown: &[&str]) {
    let (list, member) = list.split_once('.').unwrap();
    let answer = story.get(path).await;
    let text = answer.text();
    assert_eq!(all(&answer, list, member), shown, "{path}: {text}");
    let answer = answer.json();
    for total in [&answer["meta"]["total"], &answer["total"], &answer["count"]] {
        let told = total.is_null() || total == shown.len();
        assert!(told, "{path}: {text}");
    }
}

/// The same request on one's own resource, which is let through, and on the other, of which nothing is told.
async fn mine_and_not_the_other(story: &Story, requests: &[(&str, Value)]) {
    let owned = requests
        .iter()
        .map(|(request, body)| ((*request).to_owned(), body.clone()));
    let requests: Vec<(String, Value)> = owned.collect();
    mine_and_not_the_other_of(story, [MINE, OTHER], &requests).await;
}

/// The same for two with names of their own.
async fn mine_and_not_the_other_of(
    story: &Story,
    [mine, other]: [&str; 2],
    requests: &[(String, Value)],
) {
    for (place, expected) in [(other, "resource_hidden"), (mine, "ok")] {
        let at: Vec<(String, &Value)> = requests
            .iter()
            .map(|(request, body)| (request.replace("{}", place), body))
            .collect();
        let rows: Vec<Row<'_>> = at
            .iter()
            .map(|(request, body)| (request.as_str(), (*body).clone(), expected))
            .collect();
        story.holds(&rows).await;
    }
}
