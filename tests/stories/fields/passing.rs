//! How members leave an answer: byte for byte, in any framing, and never in part.

use hyper::Method;
use serde_json::json;

use crate::support::standin::{Fault, Framing, Reply, gzip};
use crate::support::{Gate, StandInApi};

const POLICY: &str = "version: 1
roles:
  reader: { allow: [{ scopes: ['*:read', 'database:create', 'database:update'] }] }
  sees: { allow: [{ scopes: ['database:read', 'database:view_credentials'] }] }
";

/// As no library would write it: odd spaces, big numbers, escapes, a key in escapes, the same key again.
const CAME: &str = concat!(
    "{ \"database\" : {\t\"id\": 12345678901234567890123, \"x\": 1.10e+2, \"s\":\"\\u00e9\\/\\ud83d\\ude00\" ,\r\n",
    "  \"connection\":{ \"password\" : \"se}cret\\\"1\" , \"host\":\"h\",\"uri\":\"secret2\", \"port\": 0025060e0 },",
    "\"private_connection\": {\"pass\\u0077ord\":\"secret3\"}, \"users\":[{\"password\":\"secret4\"},{ \"name\":\"n\" ,\"password\":\"secret5\"} ]",
    ",\"unknown\": {\"password\":[1, 2 ,{}]}, \"uri\": null}\n}\n",
);

const STAYED: &str = concat!(
    "{ \"database\" : {\t\"id\": 12345678901234567890123, \"x\": 1.10e+2, \"s\":\"\\u00e9\\/\\ud83d\\ude00\" ,\r\n",
    "  \"connection\":{  \"host\":\"h\", \"port\": 0025060e0 },",
    "\"private_connection\": {}, \"users\":[{},{ \"name\":\"n\" } ]",
    ",\"unknown\": {\"password\":[1, 2 ,{}]}, \"uri\": null}\n}\n",
);

const ONE: &str = "/v2/databases/9cc10173-e9ea-4176-9dbc-a4cee4c4ff30";

#[tokio::test]
async fn what_stays_is_byte_for_byte_what_came() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["--role", "reader"]).await;
    let plain = Reply::bytes(200, "application/json", CAME);
    let mut compressed = Reply::bytes(200, "application/json", gzip(CAME.as_bytes()));
    compressed = compressed.with("content-encoding", "gzip");
    let replies = [
        plain.clone(),
        plain.clone().framed(Framing::Chunked(1)),
        plain.clone().framed(Framing::Chunked(7)),
        plain.framed(Framing::UntilClose),
        compressed,
    ];
    for reply in replies {
        let case = format!("{:?}", reply.framing);
        api.fault_once(Method::GET, ONE, Fault::Reply(reply));
        let answer = gate.get(ONE).token(&token).send().await;
        assert_eq!(answer.text(), STAYED, "{case}");
        if let Some(length) = answer.header("content-length") {
            assert_eq!(length, STAYED.len().to_string(), "{case}");
        }
    }
    gate.finish(&api).await;
}

/// What can't be cut is not handed on: the client reads an error, and after a change that its outcome is not known.
#[tokio::test]
async fn what_cannot_be_cut_is_refused() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["--role", "reader"]).await;
    let users = format!("{ONE}/users");
    let strange = [
        Reply::bytes(200, "text/html", "<html>password: secret</html>"),
        Reply::bytes(
            200,
            "application/json",
            "{\"database\":{\"connection\":{\"password\":\"secret\"",
        ),
        Reply::bytes(
            200,
            "application/json",
            "{\"database\":{}} {\"password\":\"secret\"}",
        ),
        Reply::bytes(200, "application/json", "{\"password\"; \"secret\"}"),
        Reply::bytes(
            200,
            "application/json",
            &b"\xef\xbb\xbf{\"database\":{\"connection\":{\"uri\":\"secret\"}}}"[..],
        ),
        Reply::bytes(200, "application/json", "secret in zstd").with("content-encoding", "zstd"),
    ];
    for reply in strange {
        let case = String::from_utf8_lossy(&reply.body).into_owned();
        api.fault_once(Method::GET, ONE, Fault::Reply(reply.clone()));
        let answer = gate.get(ONE).token(&token).send().await;
        assert_eq!(answer.status.as_u16(), 502, "{case}: {}", answer.text());
        assert_eq!(answer.reason(), Some("upstream_bad_answer"), "{case}");
        assert!(!answer.text().contains("secret"), "{case}");
        api.fault_once(Method::POST, &users, Fault::Reply(reply));
        let answer = gate
            .post(&users, &json!({ "name": "n" }))
            .token(&token)
            .send()
            .await;
        assert_eq!(answer.status.as_u16(), 409, "{case}: {}", answer.text());
        assert_eq!(answer.reason(), Some("outcome_unknown"), "{case}");
    }
    gate.finish(&api).await;
}

/// A long answer goes on as it comes; what turns out to be no JSON is cut off before a secret gets through.
#[tokio::test]
async fn a_long_answer_is_cut_on_its_way_and_cut_off_where_it_can_not_be() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["--role", "reader"]).await;
    let one =
        "{\"id\":\"x\",\"connection\":{\"host\":\"h\",\"password\":\"secret\"},\"name\":\"n\"},";
    let many = one.repeat(2000);
    let (whole, broken) = (
        format!(
            "{{\"databases\":[{}],\"meta\":{{}}}}",
            many.trim_end_matches(',')
        ),
        format!("{{\"databases\":[{many}]]}}, {{\"password\":\"secret\"}}"),
    );
    for framing in [Framing::Length, Framing::Chunked(1000)] {
        let reply = Reply::bytes(200, "application/json", whole.clone()).framed(framing);
        api.fault_once(Method::GET, "/v2/databases", Fault::Reply(reply));
        let answer = gate.get("/v2/databases").token(&token).send().await;
        let expected = whole.replace(",\"password\":\"secret\"", "");
        assert_eq!(answer.text(), expected, "{framing:?}");
        let reply = Reply::bytes(200, "application/json", broken.clone()).framed(framing);
        api.fault_once(Method::GET, "/v2/databases", Fault::Reply(reply));
        let answer = gate.get("/v2/databases").token(&token).send().await;
        assert!(!answer.text().contains("secret"), "{framing:?}");
        let is_told = answer.cut.is_some() || answer.status.as_u16() == 502;
        assert!(is_told, "{framing:?}: {:?}", answer.status);
    }
    gate.finish(&api).await;
}

/// Errors need not be JSON, and answers without a body have nothing to cut.
#[tokio::test]
async fn errors_and_empty_answers_pass() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let token = gate.issue(&["--role", "reader"]).await;
    for reply in [
        Reply::problem(500, "server_error", "oops"),
        Reply::bytes(503, "application/json", " ".repeat(34_000)), // too long to be handed on whole
        Reply::problem(404, "not_found", "no such database"),
        Reply::empty(204),
        Reply::empty(302).with("location", "https://example.com/"),
    ] {
        let (status, body) = (reply.status, reply.body.clone());
        api.fault_once(Method::GET, ONE, Fault::Reply(reply));
        let answer = gate.get(ONE).token(&token).send().await;
        assert_eq!((answer.status.as_u16(), &answer.body), (status, &body));
    }
    gate.finish(&api).await;
}

/// A GET whose answer hands out credentials is on record before it is asked for, as a write is.
#[tokio::test]
async fn a_get_that_hands_out_credentials_is_recorded_first() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    for (role, lines) in [("reader", 1), ("sees", 2)] {
        let token = gate.issue(&["--role", role]).await;
        let answer = gate.get(ONE).token(&token).send().await;
        let record = gate.audit_of(&answer).await;
        assert_eq!(record.len(), lines, "{role}: {record:?}");
        if lines == 2 {
            assert_eq!(record[0]["event"], "decision");
        }
    }
    gate.finish(&api).await;
}

/// Under `enforce`, `check` names what common clients would lack.
#[tokio::test]
async fn check_names_the_fields_that_clients_can_not_do_without() {
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles:\n  r: { allow: [{ scopes: ['droplet:read'] }] }\n";
    for (mode, told) in [("secrets_only", false), ("enforce", true)] {
        let gate = Gate::builder(&api).policy(policy);
        let files = gate.set("field_scopes", json!(mode)).files();
        let output = files.cli(&["check"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let named = said.contains("lacks `image:read`") && said.contains("doctl crashes");
        assert_eq!(named, told, "{mode}: {said}");
        assert!(output.status.success(), "{mode}: {said}");
    }
}
