//! Credentials that DigitalOcean makes for a sub-token: they end with it at the latest, and are on record before they are
//! asked for.

use std::time::Duration;

use hyper::Method;
use serde_json::json;

use crate::every_endpoint::filled;
use crate::support::gate::Gate;
use crate::support::standin::StandInApi;

/// The endpoints whose credentials have an expiry; `SCOPES` opens them.
const WITH_AN_END: [&str; 4] = [
    "/v2/registry/docker-credentials",
    "/v2/registries/r/docker-credentials",
    "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/kubeconfig",
    "/v2/kubernetes/clusters/bd5f5959-5e1e-4205-a714-a914373942af/credentials",
];

const SCOPES: &str = "registry:read, kubernetes:access_cluster";

fn policy() -> String {
    format!(
        "version: 1\nroles:\n  r: {{ allow: [{{ scopes: [{SCOPES}] }}] }}\n  by-pattern: {{ allow: [{{ requests: ['GET .*/(docker-credentials|kubeconfig|credentials)', 'GET .*/(docker-credentials|kubeconfig|credentials)\\?expiry_seconds=.*'] }}] }}\n"
    )
}

/// However it is asked, and by whatever grant: more than there is left is never asked for, nor endless credentials.
#[tokio::test]
async fn they_end_with_the_sub_token_however_they_are_asked_for() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &policy()).await;
    let half_a_day = 12 * 3600;
    for role in ["r", "by-pattern"] {
        let name = |life: &str| format!("{role}-{life}");
        let ending = gate
            .issue(&[&name("short"), "--role", role, "--expires", "10m"])
            .await;
        let endless = gate.issue(&[&name("long"), "--role", role]).await;
        for path in WITH_AN_END {
            for (query, most) in [
                ("", half_a_day),
                ("?expiry_seconds=0", half_a_day),
                ("?expiry_seconds=00", half_a_day),
                ("?expiry_seconds=-1", half_a_day),
                ("?expiry_seconds=59.5", half_a_day),
                ("?expiry_seconds=60s", half_a_day),
                ("?expiry_seconds=99999999999999999999999", half_a_day),
                ("?expiry_seconds=43201", half_a_day),
                ("?expiry%5Fseconds=0", half_a_day),
                ("?expiry_seconds=60", 60), // less may be asked for
            ] {
                for method in [Method::GET, Method::HEAD] {
                    let target = format!("{path}{query}");
                    let case = format!("{method} {target} by {role}");
                    assert_eq!(
                        asked(&api, &gate, &endless, &method, &target).await,
                        Some(most),
                        "{case}"
                    );
                    let left = asked(&api, &gate, &ending, &method, &target).await.unwrap();
                    assert!(
                        left <= most.min(600) && left >= most.min(500),
                        "{case}: {left}"
                    );
                }
            }
        }
    }
    gate.finish(&api).await;
}

/// What could be read in two ways is not asked for at all.
#[tokio::test]
async fn two_ends_are_none() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &policy()).await;
    let token = gate.issue(&["t", "--role", "r"]).await;
    for path in WITH_AN_END {
        for query in [
            "expiry_seconds=60&expiry_seconds=0",
            "expiry_seconds=60&expiry%5fseconds=60",
            "expiry_seconds=60&Expiry_Seconds=0",
            "expirySeconds=0",
            "expiry_seconds[]=0",
        ] {
            let answer = gate
                .get(&format!("{path}?{query}"))
                .token(&token)
                .send()
                .await;
            assert_eq!(answer.reason(), Some("ambiguous_request"), "{path}?{query}");
        }
    }
    assert!(api.heard().is_empty(), "nothing of it was sent");
    gate.finish(&api).await;
}

/// There is no life of half a second, and a whole one would be more than is left.
#[tokio::test]
async fn in_its_last_second_a_sub_token_gets_none() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, &policy()).await;
    let token = gate.issue(&["t", "--role", "r", "--expires", "1s"]).await;
    for path in WITH_AN_END {
        let answer = gate.get(path).token(&token).send().await;
        assert_eq!(answer.reason(), Some("expired"), "{path}");
    }
    assert!(api.heard().is_empty(), "nothing was sent");
    gate.finish(&api).await;
}

/// Whoever reads a login changes nothing, and is on record before it is asked for all the same.
#[tokio::test]
async fn every_login_that_is_read_is_on_record_first() {
    let api = StandInApi::start().await;
    let sensitive: Vec<_> = include_str!("../facts/sensitive.tsv")
        .lines()
        .filter_map(|row| row.split('\t').nth(1).filter(|_| row.starts_with("GET\t")))
        .map(|path| {
            let segments: Vec<_> = path.split('/').map(filled).collect();
            segments.join("/")
        })
        .collect();
    assert!(sensitive.len() > 8, "there are rows to try");
    let patterns: Vec<_> = sensitive
        .iter()
        .map(|path| format!("'GET {path}'"))
        .collect();
    let policy = format!(
        "version: 1\nroles:\n  r: {{ allow: [{{ requests: [{}] }}] }}\n",
        patterns.join(", ")
    );
    let gate = Gate::start(&api, &policy).await;
    let token = gate.issue(&["t", "--role", "r"]).await;
    for path in &sensitive {
        for method in [Method::GET, Method::HEAD] {
            let answer = gate
                .request(method.clone(), path)
                .token(&token)
                .deadline(Duration::from_secs(20))
                .send()
                .await;
            let lines = gate.audit_of(&answer).await;
            let events: Vec<_> = lines
                .iter()
                .filter_map(|line| line["event"].as_str())
                .collect();
            assert_eq!(events, ["decision", "answer"], "{method} {path}");
            assert_eq!(lines[0]["decision"], "allow", "{method} {path}");
        }
    }
    gate.finish(&api).await;
}

/// The seconds for which the upstream was asked, if it was asked once and for so many.
async fn asked(
    api: &StandInApi,
    gate: &Gate,
    token: &str,
    method: &Method,
    target: &str,
) -> Option<u64> {
    api.clear();
    gate.request(method.clone(), target)
        .token(token)
        .send()
        .await;
    let heard = api.heard();
    let [call] = &heard[..] else {
        panic!("{method} {target} made {} calls", heard.len());
    };
    let mut parameters = call.target.split(['?', '&']);
    let seconds = parameters.find_map(|part| part.strip_prefix("expiry_seconds="));
    let more = parameters.any(|part| part.to_lowercase().contains("expiry"));
    assert!(!more, "{} says it twice", call.target);
    seconds?.parse().ok()
}

/// A key for functions has its end in the body, in a span: the sub-token's, or less where less is asked for.
#[tokio::test]
async fn keys_for_functions_end_with_the_sub_token_however_they_are_asked_for() {
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles:\n  named: { allow: [{ scopes: [function:admin] }] }\n  narrowed: { allow: [{ scopes: [function:admin], only: { namespace: any } }] }\n  pattern: { allow: [{ requests: ['POST /v2/functions/namespaces/fn-1/keys'] }] }\n";
    let gate = Gate::start(&api, policy).await;
    let path = "/v2/functions/namespaces/fn-1/keys";
    let namespace = json!({ "namespace": "fn-1", "uuid": "x", "label": "one", "region": "nyc1" });
    api.world(|world| world.put("functions/namespaces", namespace));
    let half_a_day = 12 * 3600;
    let bodies = [
        (json!({ "name": "k" }), half_a_day),
        (json!({ "name": "k", "expires_in": null }), half_a_day),
        (json!({ "name": "k", "expires_in": "" }), half_a_day),
        (json!({ "name": "k", "expires_in": "7d" }), half_a_day),
        (json!({ "name": "k", "expires_in": "0s" }), half_a_day),
        (json!({ "name": "k", "expires_in": "-1h" }), half_a_day),
        (json!({ "name": "k", "expires_in": "never" }), half_a_day),
        (json!({ "name": "k", "expires_in": 60 }), half_a_day),
        (
            json!({ "name": "k", "expires_in": "99999999999999999999d" }),
            half_a_day,
        ),
        (json!({ "name": "k", "expires_in": "1m" }), 60), // less may be asked for
    ];
    for role in ["named", "narrowed", "pattern"] {
        let ending = gate
            .issue(&[&format!("{role}-short"), "--role", role, "--expires", "10m"])
            .await;
        let endless = gate.issue(&[&format!("{role}-long"), "--role", role]).await;
        for (body, most) in &bodies {
            for (token, least, most) in [
                (&endless, *most, *most),
                (&ending, 500.min(*most), 600.min(*most)),
            ] {
                api.clear();
                let answer = gate.post(path, body).token(token).send().await;
                let case = format!("{role} {body}: {}", answer.text());
                assert!(answer.status.is_success(), "{case}");
                let sent = api.writes();
                let [sent] = &sent[..] else { panic!("{case}") };
                let span = sent.json()["expires_in"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let seconds = seconds_of(&span);
                assert!((least..=most).contains(&seconds), "{case}: {span}");
                assert_eq!(sent.json()["name"], "k", "{case}");
            }
        }
        // What could be read in two ways is not sent at all.
        api.clear();
        for text in [
            r#"{"name":"k","expires_in":"1m","Expires_In":"7d"}"#,
            r#"{"name":"k","expires_in":"1m","expires_in":"7d"}"#,
            r#"[{"name":"k"}]"#,
        ] {
            let asked = gate.request(Method::POST, path).token(&endless);
            let asked = asked.header("content-type", "application/json").body(text);
            let answer = asked.send().await;
            assert_eq!(answer.reason(), Some("ambiguous_request"), "{role} {text}");
        }
        assert!(api.writes().is_empty());
    }
    let last = gate
        .issue(&["last", "--role", "named", "--expires", "1s"])
        .await;
    let answer = gate
        .post(path, &json!({ "name": "k" }))
        .token(&last)
        .send()
        .await;
    assert_eq!(answer.reason(), Some("expired"));
    gate.finish(&api).await;
}

/// `90s`, `12h`: as the API has it.
fn seconds_of(span: &str) -> u64 {
    let (number, unit) = span.split_at(span.len().saturating_sub(1));
    let unit = ["s", "m", "h", "d"]
        .iter()
        .zip([1, 60, 3600, 86_400])
        .find(|(known, _)| **known == unit);
    let (_, seconds) = unit.unwrap_or_else(|| panic!("{span:?} is no span"));
    number
        .parse::<u64>()
        .unwrap_or_else(|_| panic!("{span:?} is no span"))
        * seconds
}
