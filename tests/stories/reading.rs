//! The request's one reading: what is checked is what is sent, and what could be read two ways is refused.

use hyper::Method;
use serde_json::json;

use crate::support::standin::Heard;
use crate::support::{Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*', image:read] }]
";

async fn gate() -> (StandInApi, Gate, String) {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    (api, gate, token)
}

/// Sends a request line and headers as they stand.
async fn raw(gate: &Gate, token: &str, line: &str, rest: &str) -> String {
    let request = format!(
        "{line}\r\nhost: gate\r\nconnection: close\r\nauthorization: Bearer {token}\r\n{rest}"
    );
    String::from_utf8_lossy(&gate.raw(request).await).into_owned()
}

#[tokio::test]
async fn odd_but_harmless_targets_arrive_in_one_form() {
    let (api, gate, token) = gate().await;
    let cases = [
        (
            "GET /v2/droplets/?per_page=200",
            "GET /v2/droplets?per_page=200",
        ),
        ("GET /v2/firewalls?", "GET /v2/firewalls"),
        (
            "GET /v2/droplets?per_page=2&page=1",
            "GET /v2/droplets?page=1&per_page=2",
        ),
        ("GET /v2/dropl%65ts", "GET /v2/droplets"),
        ("GET /v2/1-clicks?type=", "GET /v2/1-clicks?type="),
        (
            "GET /v2/registry/r/repositories/team%2Fapp/tags",
            "GET /v2/registry/r/repositories/team%2Fapp/tags",
        ),
        (
            "DELETE /v2/droplets/12?per_page=200",
            "DELETE /v2/droplets/12?per_page=200",
        ), // libcloud
        ("HEAD /v2/account", "GET /v2/account"),
    ];
    for (sent, heard) in cases {
        api.clear();
        let said = raw(&gate, &token, &format!("{sent} HTTP/1.1"), "\r\n").await;
        let lines: Vec<_> = api.heard().iter().map(Heard::line).collect();
        assert_eq!(lines, [heard], "{sent}: {said}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn head_is_answered_as_get_without_the_body() {
    let (api, gate, token) = gate().await;
    let said = raw(&gate, &token, "HEAD /v2/account HTTP/1.1", "\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200"), "{said}");
    assert!(said.ends_with("\r\n\r\n"), "no body: {said}");
    let lines = gate.audit_until(|lines| lines.len() == 1).await;
    assert_eq!(lines[0]["detail"], json!(null), "nobody left: {}", lines[0]);
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_could_be_read_two_ways_is_refused_and_not_sent() {
    let (api, gate, token) = gate().await;
    let targets = [
        "/v2/../v1/x",
        "/v2/./droplets",
        "/v2//droplets",
        "/v2/droplets//",
        "/v2/%2e%2e/account",
        "/v2/droplets/%2F",
        "/v2/droplets/1%2Factions",
        "/v2/droplets/%zz",
        "/v2/droplets/%ff",
        "/v2/%252e%252e/account",
        "/v2/droplets/a%5cb",
        "/v2/droplets/a%0d%0ab",
        "/v2/droplets?tag_name=a;x=b",
        "/v2/droplets?tag_name=a&tag_name=b",
        "/v2/droplets?Tag_Name=a",
        "/v2/droplets?tag_name[]=a",
        "/v2/droplets?tagName=a",
        "/v2/droplets?_method=DELETE",
        "/v2/droplets?%5Fmethod=DELETE",
        "/v2/droplets?=1",
        "http://api.digitalocean.com/v2/account",
        "/v2/registry/docker-credentials?read_write=false&read_write=true",
        "/v2/registry/docker-credentials?readWrite=true",
        "/v2/registry/r/repositories/a%2F..%2Fb/tags",
        "/v2/tags/x%2Fresources",
    ];
    for target in targets {
        let said = raw(&gate, &token, &format!("GET {target} HTTP/1.1"), "\r\n").await;
        assert!(
            said.starts_with("HTTP/1.1 400") && said.contains("tidegate-reason: ambiguous_request"),
            "{target}: {said}"
        );
    }
    for header in [
        "x-http-method-override: DELETE",
        "X-HTTP-Method: PUT",
        "x-method-override: PATCH",
    ] {
        let said = raw(
            &gate,
            &token,
            "GET /v2/account HTTP/1.1",
            &format!("{header}\r\n\r\n"),
        )
        .await;
        assert!(
            said.contains("tidegate-reason: ambiguous_request"),
            "{header}: {said}"
        );
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn other_methods_are_refused() {
    let (api, gate, token) = gate().await;
    for method in ["OPTIONS", "TRACE", "PURGE", "get"] {
        let said = raw(
            &gate,
            &token,
            &format!("{method} /v2/droplets HTTP/1.1"),
            "\r\n",
        )
        .await;
        assert!(
            said.starts_with("HTTP/1.1 403") && said.contains("tidegate-reason: unknown_endpoint"),
            "{method}: {said}"
        );
    }
    let said = raw(
        &gate,
        &token,
        "CONNECT api.digitalocean.com:443 HTTP/1.1",
        "\r\n",
    )
    .await;
    assert!(said.starts_with("HTTP/1.1 403"), "{said}");
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

/// Whoever set `HTTP_PROXY` to tidegate learns what to set instead, with a sub-token or without one.
#[tokio::test]
async fn a_client_that_takes_tidegate_for_its_proxy_learns_what_to_set() {
    let (api, gate, token) = gate().await;
    let tunnel = "CONNECT api.digitalocean.com:443 HTTP/1.1";
    let absolute = "GET http://api.digitalocean.com/v2/droplets HTTP/1.1";
    let cases = [
        (tunnel, token.as_str(), "HTTP/1.1 403", "unknown_endpoint"),
        (tunnel, "", "HTTP/1.1 401", "no_token"),
        (absolute, &token, "HTTP/1.1 400", "ambiguous_request"),
        (absolute, "", "HTTP/1.1 401", "no_token"),
    ];
    for (line, token, status, reason) in cases {
        let said = raw(&gate, token, line, "\r\n").await;
        let told = said.starts_with(status)
            && said.contains(&format!("tidegate-reason: {reason}"))
            && said.contains("tidegate is no forward proxy")
            && said.contains("base URL");
        assert!(told, "{line}: {said}");
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_body_that_decides_is_read_strictly_and_sent_as_it_was_read() {
    let (api, gate, token) = gate().await;
    let cases = [
        (
            r#"{ "name" : "x" , "image": 7777 }"#,
            Ok(r#"{"name":"x","image":7777}"#),
        ),
        (
            r#"{"image":"a","size":"s","image":"a","size":"s","name":"x"}"#,
            Ok(r#"{"image":"a","size":"s","name":"x"}"#),
        ), // dots
        (
            r#"{"name":"\u0041","id":12345678901234567890}"#,
            Ok(r#"{"name":"A","id":12345678901234567890}"#),
        ),
        (
            r#"{"name":"x","image":"a","image":"b"}"#,
            Err("ambiguous_request"),
        ),
        (
            r#"{"name":"x","image":"a","\u0069mage":"b"}"#,
            Err("ambiguous_request"),
        ),
        (r#"{"name":"x","Image":"a"}"#, Err("ambiguous_request")),
        (
            "{\"name\":\"x\",\"ssh_\u{212a}eys\":[1]}",
            Err("ambiguous_request"),
        ),
        (r#"{"_method":"DELETE"}"#, Err("ambiguous_request")),
        (r#"{"name":"x""#, Err("body_unreadable")),
        ("name=x", Err("body_unreadable")),
        (r#"{"name":"x"} {}"#, Err("body_unreadable")),
        ("\u{feff}{}", Err("body_unreadable")),
    ];
    for (body, expected) in cases {
        api.clear();
        let answer = gate
            .request(Method::POST, "/v2/droplets")
            .token(&token)
            .header("content-type", "application/json")
            .body(body.as_bytes().to_vec())
            .send()
            .await;
        let heard: Vec<_> = api
            .heard()
            .iter()
            .map(|heard| String::from_utf8(heard.body.to_vec()).unwrap())
            .collect();
        match expected {
            Ok(sent) => assert_eq!(heard, [sent], "{body}"),
            Err(reason) => {
                assert_eq!(
                    (answer.status.as_u16(), answer.reason()),
                    (400, Some(reason)),
                    "{body}: {}",
                    answer.text()
                );
                assert_eq!(heard, [""; 0], "{body}");
            }
        }
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_body_is_json_as_it_stands_or_refused() {
    let (api, gate, token) = gate().await;
    let cases = [
        ("content-type", "application/json", true),
        ("content-type", "application/json; charset=UTF-8", true),
        ("content-type", "application/vnd.api+json", true),
        ("x-none", "no content type at all", true), // do-wrapper sends `content_type`
        ("content-type", "application/json; charset=utf-16", false),
        ("content-type", "application/x-www-form-urlencoded", false),
        ("content-type", "multipart/form-data; boundary=x", false),
        ("content-encoding", "gzip", false),
    ];
    for (header, value, kept) in cases {
        // One endpoint whose body decides, and one whose body streams through.
        for path in ["/v2/tags", "/v2/account/keys"] {
            api.clear();
            let answer = gate
                .request(Method::POST, path)
                .token(&token)
                .header(header, value)
                .body(&br#"{"name":"x"}"#[..])
                .send()
                .await;
            assert_eq!(
                answer.reason(),
                (!kept).then_some("ambiguous_request"),
                "{path} with {header}: {value}"
            );
            assert_eq!(api.heard_count(), usize::from(kept));
            if kept {
                assert_eq!(
                    api.heard()[0].header("content-type"),
                    Some("application/json")
                );
            }
        }
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn bodies_stay_within_their_limits_and_stream_where_nothing_in_them_decides() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set(
            "limits",
            json!({ "inspected_body": "64KiB", "body": "4MiB" }),
        )
        .start()
        .await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    let body = |bytes: usize| format!("{{\"name\":\"{}\"}}", "x".repeat(bytes));
    for (path, bytes) in [
        ("/v2/droplets", 100 << 10),
        ("/v2/registry/subscription", 5 << 20),
    ] {
        // Sent raw: the gate answers as soon as it knows the length, and may close before all of it is written.
        let (line, body) = (format!("POST {path} HTTP/1.1"), body(bytes));
        let rest = format!("content-length: {}\r\n\r\n{body}", body.len());
        let said = raw(&gate, &token, &line, &rest).await;
        assert!(
            said.starts_with("HTTP/1.1 413") && said.contains("tidegate-reason: body_too_large"),
            "{path}: {said}"
        );
    }
    assert_eq!(api.heard_count(), 0, "told by their length");
    let answer = gate
        .request(Method::POST, "/v2/registry/subscription")
        .token(&token)
        .body(body(3 << 20))
        .send()
        .await;
    assert!(answer.status.is_success(), "{}", answer.text());
    assert_eq!(api.heard()[0].body.len(), (3 << 20) + 11);
    // Without a length it is counted as it comes, and by then some of it has left.
    let chunk = "x".repeat(1 << 20);
    let chunked = format!("{:x}\r\n{chunk}\r\n", chunk.len()).repeat(6);
    let said = raw(
        &gate,
        &token,
        "POST /v2/registry/subscription HTTP/1.1",
        &format!("transfer-encoding: chunked\r\n\r\n{chunked}0\r\n\r\n"),
    )
    .await;
    assert!(
        said.starts_with("HTTP/1.1 409") && said.contains("tidegate-reason: outcome_unknown"),
        "{}",
        &said[..said.len().min(300)]
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_body_on_get_stays_behind_and_one_on_delete_travels_on() {
    let (api, gate, token) = gate().await;
    for body in ["{}", "null", r#"{"type":"TXT"}"#, "no json"] {
        let answer = gate
            .get("/v2/account")
            .token(&token)
            .header("content-type", "application/json")
            .body(body)
            .send()
            .await;
        assert_eq!(answer.status, 200, "{body}");
    }
    gate.request(
        Method::DELETE,
        "/v2/firewalls/fb6045f1-cf1d-4ca3-bfac-18832663025b/rules",
    )
    .token(&token)
    .json(&json!({ "inbound_rules": [] }))
    .send()
    .await;
    let bodies: Vec<_> = api.heard().iter().map(|heard| heard.body.clone()).collect();
    assert_eq!(bodies, ["", "", "", "", r#"{"inbound_rules":[]}"#]);
    gate.finish(&api).await;
}

#[tokio::test]
async fn headers_beyond_the_limit_are_refused_with_a_sentence() {
    let (api, gate, token) = gate().await;
    let answer = gate
        .get("/v2/account")
        .token(&token)
        .header("x-big", &"x".repeat(40 << 10))
        .send()
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (431, Some("headers_too_large"))
    );
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}
