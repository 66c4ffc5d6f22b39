//! What the console tells of the record: from memory, from the files that were moved away, and as it comes.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// A line as it was written on a day of January.
fn line(day: u32, number: usize, token: &str) -> String {
    format!(
        "{{\"time\":\"2026-01-{day:02}T00:00:00.{number:06}Z\",\"event\":\"answer\",\"request_id\":\"{day}-{number}\",\"token\":{{\"id\":\"{token}\",\"name\":\"old\"}},\"client_ip\":\"192.0.2.7\",\"method\":\"GET\",\"path\":\"/v2/droplets\",\"endpoint\":\"droplets_list\",\"decision\":\"allow\",\"reason\":\"reader.allow[0]\",\"status\":200}}\n"
    )
}

fn lines(day: u32, count: usize, token: &str) -> String {
    (0..count).fold(String::new(), |mut all, number| {
        let _ = all.write_str(&line(day, number, token));
        all
    })
}

/// What leaked weeks ago is found in what was moved away and packed since.
#[tokio::test]
async fn what_a_token_did_weeks_ago_is_found_in_the_files_that_were_moved_away() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (viewer, ci) = (
        gate.issue(&["night", "--role", "viewer"]).await,
        gate.issue(&["ci", "--role", "reader"]).await,
    );
    let id = id_of(&ci);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(lines(1, 5, id).as_bytes()).unwrap();
    packed
        .write_all(lines(2, 5, "4fZ0aB9cD8eF").as_bytes())
        .unwrap();
    fs::write(
        gate.files().path("audit.jsonl.2.gz"),
        packed.finish().unwrap(),
    )
    .unwrap();
    fs::write(gate.files().path("audit.jsonl.1"), lines(3, 5, id)).unwrap();
    gate.get("/v2/droplets").token(&ci).send().await;
    gate.audit_until(|lines| lines.iter().any(|line| line["event"] == "answer"))
        .await;
    // Page by page, none twice and none left out.
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let line = format!("GET /api/v1/records?token={id}&limit=3{before}");
        let told = api_of(&gate, &line, &viewer, &Value::Null).await.json();
        let records = told["records"].as_array().unwrap();
        seen.extend(
            records
                .iter()
                .map(|record| record["request_id"].as_str().unwrap().to_owned()),
        );
        if let Some(time) = told["before"].as_str() {
            before = format!("&before={time}");
        } else {
            assert_eq!(told["complete"], true, "{told}");
            break;
        }
        assert!(seen.len() < 20, "{seen:?}");
    }
    let old: Vec<_> = [3, 1]
        .iter()
        .flat_map(|day| (0..5).rev().map(move |number| format!("{day}-{number}")))
        .collect();
    assert_eq!(seen[1..], old);
    // On its page too, with how far back that is and where it came from.
    let of_it = format!("GET /api/v1/tokens/{id}");
    let begun = Instant::now();
    let mut one = Value::Null;
    while one["records_complete"] != true {
        assert!(begun.elapsed() < Duration::from_secs(10), "{one}");
        one = api_of(&gate, &of_it, &viewer, &Value::Null).await.json(); // it takes no more than a moment for files
    }
    assert_eq!(one["records"].as_array().unwrap().len(), 11, "{one}");
    assert_eq!(
        (&one["records_complete"], &one["records_since"]),
        (&json!(true), &json!("2026-01-01T00:00:00.000000Z"))
    );
    assert_eq!(
        one["from"][0],
        json!({ "address": "192.0.2.7", "requests": 10 })
    );
    let session = Session::begin(&gate, &viewer).await;
    let page = session.get(&format!("/tokens/{id}")).await.body;
    assert!(
        page.contains("192.0.2.7") && page.contains("The record has no more of these."),
        "{page}"
    );
    let page = session
        .get(&format!("/records?token={id}&before=2026-01-02T00:00:00Z"))
        .await
        .body;
    assert!(
        page.contains("192.0.2.7") && page.contains("5 lines of the record"),
        "{page}"
    );
    let bounds = format!(
        "GET /api/v1/records?token={id}&since=2026-01-02T00:00:00Z&before=2026-01-03T00:00:00.000002Z"
    );
    let told = api_of(&gate, &bounds, &viewer, &Value::Null).await.json();
    let ids = told["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["request_id"].clone());
    assert_eq!(ids.collect::<Value>(), json!(["3-1", "3-0"]));
    gate.finish(&api).await;
}

/// A file that can't be read is named, and hides nothing else.
#[tokio::test]
async fn a_file_that_can_not_be_read_is_told() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let viewer = gate.issue(&["night", "--role", "viewer"]).await;
    fs::write(
        gate.files().path("audit.jsonl.2.gz"),
        b"\x1f\x8bnothing that gzip packed",
    )
    .unwrap();
    fs::write(
        gate.files().path("audit.jsonl.1"),
        lines(3, 2, "4fZ0aB9cD8eF"),
    )
    .unwrap();
    let told = api_of(
        &gate,
        "GET /api/v1/records?token=old",
        &viewer,
        &Value::Null,
    )
    .await
    .json();
    assert_eq!(told["records"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["complete"], false);
    assert!(
        told["unread"][0]
            .as_str()
            .unwrap()
            .contains("audit.jsonl.2.gz"),
        "{told}"
    );
    let session = Session::begin(&gate, &viewer).await;
    let page = session.get("/records?token=old").await.body;
    assert!(page.contains("could not be searched"), "{page}");
    gate.finish(&api).await;
}

/// A line that is too long to be shown as it comes is counted, and stands in the record.
#[tokio::test]
async fn a_line_too_long_to_be_shown_live_is_counted() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (viewer, ci) = (
        gate.issue(&["night", "--role", "viewer"]).await,
        gate.issue(&["ci", "--role", "reader"]).await,
    );
    let session = Session::begin(&gate, &viewer).await;
    let mut live = Live::begin(&session, "").await;
    let long = format!("/v2/droplets/{}", "a".repeat(6000));
    gate.get(&long).token(&ci).send().await;
    gate.get("/v2/volumes").token(&ci).send().await;
    let said = live.until(&["event: thinned", "/v2/volumes"]).await;
    assert!(
        said.contains("data: {\"passed_over\":1}") && !said.contains("aaaa"),
        "{said}"
    );
    let told = api_of(&gate, "GET /api/v1/records?token=ci", &viewer, &Value::Null)
        .await
        .json();
    assert!(told.to_string().contains("aaaa"), "{told}");
    gate.finish(&api).await;
}
