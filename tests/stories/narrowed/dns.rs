//! Domains and their records.

use serde_json::{Value, json};

use super::{NONE, Story, all};

pub(super) const ACME: &str = "
    allow:
      - scopes: [domain:read, domain:update]
        only:
          domain: { name: example.com }
          domain_record: { type: TXT, name: [_acme-challenge, '_acme-challenge.*'] }
";

#[tokio::test]
async fn s7_an_acme_client_reaches_its_challenges_and_nothing_else_of_the_zone() {
    let story = Story::of(ACME).await;
    let txt = |name: &str| json!({ "type": "TXT", "name": name, "data": "x", "ttl": 30 });
    let records = "POST /v2/domains/example.com/records";
    story
        .holds(&[
            (records, txt("_acme-challenge.new"), "ok"),
            (records, txt("_acme-challenge.www.example.com."), "ok"), // lego
            (records, txt("_acme-challenge"), "ok"),
            (records, txt("www"), "resource"),
            (
                records,
                txt("_acme-challenge.example.com"),
                "ambiguous_request",
            ),
            (
                records,
                json!({ "type": "A", "name": "_acme-challenge", "data": "192.0.2.9" }),
                "resource",
            ),
            (
                "POST /v2/domains/example.org/records",
                txt("_acme-challenge"),
                "resource_hidden",
            ),
            ("GET /v2/domains/example.com/records/105", Value::Null, "ok"),
            (
                "GET /v2/domains/example.com/records/106",
                Value::Null,
                "resource_hidden",
            ),
            (
                "GET /v2/domains/example.com/records/999",
                Value::Null,
                "resource_hidden",
            ),
            (
                "PUT /v2/domains/example.com/records/105",
                json!({ "type": "TXT", "name": "_acme-challenge", "data": "y" }),
                "ok",
            ),
            (
                "PUT /v2/domains/example.com/records/105",
                json!({ "type": "TXT", "name": "www" }),
                "resource",
            ),
            (
                "PATCH /v2/domains/example.com/records/105",
                json!({ "type": "A" }),
                "resource",
            ),
            (
                "PATCH /v2/domains/example.com/records/106",
                json!({ "type": "TXT", "name": "_acme-challenge" }),
                "resource_hidden",
            ),
            (
                "DELETE /v2/domains/example.com/records/107",
                Value::Null,
                "ok",
            ),
            (
                "DELETE /v2/domains/example.com/records/106",
                Value::Null,
                "resource_hidden",
            ),
            (
                "DELETE /v2/domains/example.com/records/999",
                Value::Null,
                "resource_hidden",
            ),
            ("DELETE /v2/domains/example.com", Value::Null, "scope"),
            (
                "GET /v2/domains/example.org",
                Value::Null,
                "resource_hidden",
            ),
            (
                "GET /v2/domains/example.org/records",
                Value::Null,
                "resource_hidden",
            ),
        ])
        .await;
    let domains = story
        .ask("GET /v2/domains/?per_page=200", &Value::Null)
        .await;
    assert_eq!(all(&domains, "domains", "name"), ["example.com"]); // certbot lists them first
    assert_eq!(domains.json()["meta"]["total"], 1);
    assert_eq!(domains.json()["domains"][0]["zone_file"], Value::Null);
    let domain = story.ask("GET /v2/domains/example.com", &Value::Null).await;
    assert_eq!(
        domain.json()["domain"]["zone_file"],
        Value::Null,
        "it shows every record"
    );
    let records = story
        .ask(
            "GET /v2/domains/example.com/records?per_page=200",
            &Value::Null,
        )
        .await;
    let names = all(&records, "domain_records", "name");
    assert!(
        names.iter().all(|name| name.starts_with("_acme-challenge")),
        "{names:?}"
    );
    assert!(names.contains(&"_acme-challenge".to_owned()), "{names:?}");
    story.finish().await;
}

/// A zone is no way around the records in it, nor the records a way around the zone.
#[tokio::test]
async fn a_grant_over_some_records_is_none_over_the_zone() {
    let story = Story::of(
        "
    allow:
      - scopes: ['domain:*']
        only: { domain: { name: example.com }, domain_record: { type: [TXT, CNAME], name: 'a-*' } }
",
    )
    .await;
    let records = "POST /v2/domains/example.com/records";
    let record = |kind: &str, name: &str| json!({ "type": kind, "name": name, "data": "x" });
    story
        .holds(&[
            ("DELETE /v2/domains/example.com", NONE, "resource"),
            ("DELETE /v2/domains/EXAMPLE.COM", NONE, "resource"),
            ("DELETE /v2/domains/example.org", NONE, "resource_hidden"),
            (
                "POST /v2/domains",
                json!({ "name": "example.com" }),
                "resource",
            ),
            (
                "POST /v2/domains",
                json!({ "name": "a-new.example" }),
                "resource",
            ),
            (
                "POST /v2/domains",
                json!({ "name": "example.net", "ip_address": "192.0.2.1" }),
                "resource",
            ),
            (records, record("TXT", "a-1"), "ok"),
            (records, record("txt", "a-1"), "ok"), // a type is the same in either case
            (records, record("TXT", "A-1"), "ok"), // names in the DNS mind no case
            (records, record("A", "a-1"), "resource"),
            (records, record("TXT", "b-1"), "resource"),
            (records, record("TXT", "@"), "resource"),
            (records, record("TXT", ""), "resource"),
            (
                records,
                json!({ "type": "TXT", "name": null, "data": "x" }),
                "resource",
            ),
            (records, json!({ "type": "TXT", "data": "x" }), "resource"),
            (
                records,
                json!({ "type": "TXT", "name": ["b"], "data": "x" }),
                "ambiguous_request",
            ),
            (
                records,
                json!({ "type": "TXT", "name": "a-1", "Name": "www", "data": "x" }),
                "ambiguous_request",
            ),
            (
                records,
                record("TXT", "a-1.example.org."),
                "ambiguous_request",
            ),
            (
                records,
                record("TXT", "a-1.example.com"),
                "ambiguous_request",
            ),
            (records, record("TXT", "a-1.EXAMPLE.com."), "ok"),
            (
                "POST /v2/domains/example.com./records",
                record("TXT", "a-1"),
                "ok",
            ),
            ("GET /v2/domains/EXAMPLE.com", NONE, "ok"),
        ])
        .await;
    let made =
        story.ask(records, &record("TXT", "a-9")).await.json()["domain_record"]["id"].to_string();
    let path = format!("/v2/domains/example.com/records/{made}");
    story
        .holds(&[
            (&format!("PATCH {path}"), json!({ "data": "y" }), "ok"),
            (
                &format!("PATCH {path}"),
                json!({ "name": "b-9" }),
                "resource",
            ),
            (
                &format!("PATCH {path}"),
                json!({ "name": "a-9.example.com." }),
                "ok",
            ),
            (&format!("PATCH {path}"), json!({ "name": "@" }), "resource"),
            (
                &format!("PATCH {path}"),
                json!({ "type": "NS" }),
                "resource",
            ),
            (&format!("PATCH {path}"), json!({ "type": "CNAME" }), "ok"),
            (
                &format!("PUT {path}"),
                json!({ "type": "TXT", "name": "www", "data": "y" }),
                "resource",
            ),
            (
                &format!("PUT {path}"),
                json!({ "type": "TXT", "name": "a-8", "data": "y" }),
                "ok",
            ),
            (
                &format!("DELETE {}", path.replace("example.com", "example.org")),
                NONE,
                "resource_hidden",
            ),
            (&format!("DELETE {path}"), NONE, "ok"),
            (
                "PATCH /v2/domains/example.com/records/106",
                json!({ "name": "a-mine", "type": "TXT" }),
                "resource_hidden",
            ),
            (
                "DELETE /v2/domains/example.com/records/106",
                NONE,
                "resource_hidden",
            ),
        ])
        .await;
    story.finish().await;
}
