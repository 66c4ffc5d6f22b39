//! S1 and S9: sub-tokens that work from given addresses, for a time, a number of uses, at a rate; and how they are given
//! out and taken back. A running daemon honours all of it within a second.

use std::time::{Duration, Instant};

use hyper::Method;
use serde_json::{Value, json};
use tidegate::secret::SecretHash;
use tidegate::token::SubToken;

use crate::support::gate::Signal;
use crate::support::{Answer, Gate, REAL_TOKEN, StandInApi};

const POLICY: &str = "
version: 1
roles:
  all:
    allow: [{ scopes: ['*'] }]
  none:
    allow: [{ scopes: [billing:read] }]
  client:
    vars: [id]
    allow: [{ requests: ['GET /v2/droplets/${id}'] }]
";

const WITHIN: Duration = Duration::from_secs(1);

async fn gate() -> (StandInApi, Gate) {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    (api, gate)
}

async fn droplet(gate: &Gate, token: &str) -> Answer {
    gate.get("/v2/droplets/12").token(token).send().await
}

#[track_caller]
fn assert_refused(answer: &Answer, status: u16, reason: &str, message: &str) {
    assert_eq!(
        (answer.status.as_u16(), answer.reason()),
        (status, Some(reason)),
        "{}",
        answer.text()
    );
    assert!(
        answer.message().contains(message),
        "{:?} has no {message:?}",
        answer.message()
    );
    assert_eq!(
        answer.message().starts_with("Unable to authenticate you: "),
        status == 401,
        "certbot looks for that in a 401: {}",
        answer.message()
    );
}

/// Asks until the answer has this reason (none: is let through), and fails if that takes longer than a second.
async fn honoured_within_a_second(gate: &Gate, token: &str, reason: Option<&str>) {
    let began = Instant::now();
    loop {
        let answer = droplet(gate, token).await;
        if answer.reason() == reason {
            return;
        }
        assert!(
            began.elapsed() < WITHIN,
            "still {:?} after a second",
            answer.reason()
        );
    }
}

#[tokio::test]
async fn s1_a_token_works_only_from_given_addresses() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("trusted_proxies", json!(["127.0.0.1"]))
        .start()
        .await;
    let token = gate
        .issue(&[
            "office",
            "--role",
            "all",
            "--from",
            "203.0.113.0/24",
            "--from",
            "2001:db8::/32",
        ])
        .await;
    let cases = [
        (Some("203.0.113.7"), 200),
        (Some("2001:db8::7"), 200),
        (Some("198.51.100.1, 203.0.113.7"), 200), // the right-most is who came to the proxy
        (Some("203.0.113.7, 198.51.100.1"), 403),
        (Some("203.0.114.1"), 403),
        (None, 403), // the proxy's own address
        (Some("203.0.113.7, nonsense"), 400),
    ];
    for (forwarded, status) in cases {
        let ask = gate.get("/v2/droplets/12").token(&token);
        let answer = match forwarded {
            Some(forwarded) => ask.header("x-forwarded-for", forwarded).send().await,
            None => ask.send().await,
        };
        assert_eq!(
            answer.status,
            status,
            "from {forwarded:?}: {}",
            answer.text()
        );
    }
    let answer = gate
        .get("/v2/droplets/12")
        .token(&token)
        .header("x-forwarded-for", "203.0.114.1")
        .send()
        .await;
    assert_refused(
        &answer,
        403,
        "source_ip",
        "may not be used from 203.0.114.1",
    );
    assert_eq!(api.heard_count(), 3);
    gate.finish(&api).await;
}

#[tokio::test]
async fn an_untrusted_peer_does_not_choose_its_address() {
    let (api, gate) = gate().await;
    let token = gate
        .issue(&["office", "--role", "all", "--from", "203.0.113.0/24"])
        .await;
    let answer = gate
        .get("/v2/droplets/12")
        .token(&token)
        .header("x-forwarded-for", "203.0.113.7")
        .send()
        .await;
    assert_refused(&answer, 403, "source_ip", "may not be used from 127.0.0.1");
    gate.finish(&api).await;
}

#[tokio::test]
async fn s9_a_token_ends_when_its_time_is_over() {
    let (api, gate) = gate().await;
    let token = gate
        .issue(&["short", "--role", "all", "--expires", "5s"])
        .await;
    assert_eq!(droplet(&gate, &token).await.status, 200);
    let began = Instant::now();
    let refused = loop {
        let answer = droplet(&gate, &token).await;
        if answer.status != 200 {
            break answer;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "still valid");
    };
    assert_refused(&refused, 401, "expired", "this sub-token expired at 20");
    let later = gate
        .issue(&[
            "later",
            "--role",
            "all",
            "--not-before",
            "2099-01-01T00:00:00Z",
        ])
        .await;
    assert_refused(
        &droplet(&gate, &later).await,
        401,
        "not_yet_valid",
        "valid from 2099-01-01T00:00:00Z on",
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn s9_a_token_ends_when_it_goes_unused_and_refusals_do_not_keep_it_alive() {
    let (api, gate) = gate().await;
    let token = gate.issue(&["idle", "--role", "all", "--idle", "2s"]).await;
    assert_eq!(droplet(&gate, &token).await.status, 200);
    let began = Instant::now();
    let refused = loop {
        // None of these is a use.
        let own = gate.get("/.tidegate/v1/whoami").token(&token).send().await;
        let _ = gate.get("/v2/nothing").token(&token).send().await;
        if own.status != 200 {
            break own;
        }
        assert!(began.elapsed() < Duration::from_secs(4), "still valid");
    };
    assert_refused(
        &refused,
        401,
        "expired",
        "was not used for longer than it may be",
    );
    assert_eq!(api.heard_count(), 1);
    gate.finish(&api).await;
}

#[tokio::test]
async fn s9_uses_are_exact_whoever_asks_at_once_and_refusals_cost_none() {
    let (api, gate) = gate().await;
    let token = gate
        .issue(&["few", "--role", "all", "--max-uses", "20"])
        .await;
    for refused in [
        "/v2/nothing",
        "/v2/droplets/../account",
        "/.tidegate/v1/whoami",
    ] {
        let _ = gate.get(refused).token(&token).send().await;
    }
    let all = futures(60, || droplet(&gate, &token)).await;
    let let_through = all.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(let_through, 20);
    assert_eq!(api.heard_count(), 20);
    let refused = all.iter().find(|answer| answer.status != 200).unwrap();
    assert_refused(refused, 401, "uses_exhausted", "used as often as it may be");
    let listed: Value =
        serde_json::from_slice(&gate.cli(&["token", "list", "--json"]).await.stdout).unwrap();
    assert_eq!(
        (&listed[0]["uses_left"], &listed[0]["state"]),
        (&json!(0), &json!("expired"))
    );
    gate.finish(&api).await;
}

async fn futures<F: Future<Output = Answer>>(count: usize, make: impl Fn() -> F) -> Vec<Answer> {
    let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|cx| {
        waiting.retain_mut(|future| match future.as_mut().poll(cx) {
            std::task::Poll::Ready(answer) => {
                done.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if waiting.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done
}

#[tokio::test]
async fn a_crash_gives_no_use_back() {
    let (api, mut gate) = gate().await;
    let token = gate
        .issue(&["few", "--role", "all", "--max-uses", "3"])
        .await;
    for _ in 0..2 {
        assert_eq!(droplet(&gate, &token).await.status, 200);
    }
    gate.signal(Signal::Kill);
    gate.wait_exit().await;
    gate.start_again().await;
    assert_eq!(droplet(&gate, &token).await.status, 200);
    assert_refused(&droplet(&gate, &token).await, 401, "uses_exhausted", "");
    gate.finish(&api).await;
}

#[tokio::test]
async fn s9_a_rate_is_a_bucket_of_that_many_and_says_when_to_come_again() {
    let (api, gate) = gate().await;
    let token = gate
        .issue(&["slow", "--role", "all", "--rate", "3/h"])
        .await;
    for _ in 0..3 {
        assert_eq!(droplet(&gate, &token).await.status, 200);
    }
    let refused = droplet(&gate, &token).await;
    assert_refused(&refused, 429, "rate_limited", "try again in");
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (1190..=1200).contains(&wait),
        "a third of an hour, not {wait}"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_token_works_at_once_and_its_revocation_within_a_second() {
    let (api, gate) = gate().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(droplet(&gate, &token).await.status, 200, "without any wait");
    let output = gate.cli(&["token", "revoke", "ci"]).await;
    assert!(output.status.success());
    honoured_within_a_second(&gate, &token, Some("revoked")).await;
    assert_refused(
        &droplet(&gate, &token).await,
        401,
        "revoked",
        "was revoked; ask its issuer for a new one",
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn rotation_ends_the_old_secret_at_once_or_after_its_grace_and_revocation_ends_both() {
    let (api, gate) = gate().await;
    let first = gate.issue(&["ci", "--role", "all"]).await;
    let rotate = async |options: &[&str]| {
        let output = gate
            .cli(&[&["token", "rotate", "ci"], options].concat())
            .await;
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let second = rotate(&[]).await;
    honoured_within_a_second(&gate, &first, Some("unknown_token")).await;
    assert_eq!(droplet(&gate, &second).await.status, 200);
    let third = rotate(&["--grace", "1h"]).await;
    honoured_within_a_second(&gate, &third, None).await;
    assert_eq!(droplet(&gate, &second).await.status, 200, "in grace");
    let fourth = rotate(&["--grace", "1h"]).await;
    honoured_within_a_second(&gate, &second, Some("unknown_token")).await; // one old secret at most is in grace
    assert_eq!(droplet(&gate, &third).await.status, 200);
    assert!(gate.cli(&["token", "revoke", "ci"]).await.status.success());
    honoured_within_a_second(&gate, &third, Some("revoked")).await;
    honoured_within_a_second(&gate, &fourth, Some("revoked")).await;
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_token_of_the_policy_file_works_by_its_hash_and_can_be_revoked() {
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let output = gate
        .cli(&[
            "token",
            "issue",
            "kept",
            "--role",
            "all",
            "--from",
            "127.0.0.1",
            "--max-uses",
            "50",
            "--yaml",
        ])
        .await;
    let (entry, said) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    let token = said.split_whitespace().last().unwrap().to_owned();
    assert!(!entry.contains(&token), "the entry holds no token");
    assert_refused(
        &droplet(&gate, &token).await,
        401,
        "unknown_token",
        "no sub-token that was issued here",
    );
    gate.write_policy(&format!("{POLICY}\ntokens:\n{entry}"));
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    assert_eq!(droplet(&gate, &token).await.status, 200);
    assert!(
        gate.cli(&["token", "revoke", "kept"])
            .await
            .status
            .success()
    );
    honoured_within_a_second(&gate, &token, Some("revoked")).await;
    gate.finish(&api).await;
}

/// Somebody moves an issued token into the policy file, under another role, and later rotates the one in the state.
#[tokio::test]
async fn two_secrets_under_one_id_have_their_own_roles_each() {
    const POLICY: &str = "
version: 1
roles:
  all: { allow: [{ scopes: ['*'] }] }
  images: { allow: [{ scopes: [image:read] }] }
";
    let api = StandInApi::start().await;
    let gate = Gate::start(&api, POLICY).await;
    let first = gate.issue(&["ci", "--role", "all"]).await;
    let (id, hash) = (&first[7..19], SecretHash::of(first.as_bytes()).to_hex());
    let entry = format!("  - {{ name: ci, id: {id}, hash: 'sha256:{hash}', roles: [images] }}");
    gate.write_policy(&format!("{POLICY}tokens:\n{entry}\n"));
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    let rotated = gate.cli(&["token", "rotate", "ci"]).await.stdout;
    let second = String::from_utf8(rotated).unwrap().trim().to_owned();
    honoured_within_a_second(&gate, &second, None).await;
    for _ in 0..2 {
        let narrow = droplet(&gate, &first).await;
        assert_eq!(
            (narrow.status.as_u16(), narrow.reason()),
            (403, Some("scope"))
        );
        assert_eq!(droplet(&gate, &second).await.status, 200);
    }
    let check = gate.cli(&["check"]).await;
    let said = String::from_utf8(check.stderr).unwrap();
    let warning = format!(
        "warning: the id {id} of the token `ci` stands in the policy file too: each secret works with its own roles, they share their uses, and revoking ends both; issue a new token for one of them, and take that one out"
    );
    assert!(said.contains(&warning), "{said}");
    gate.finish(&api).await;
}

#[tokio::test]
async fn revocation_works_with_a_broken_policy() {
    let (api, gate) = gate().await;
    let token = gate.issue(&["ci", "--role", "all"]).await;
    assert_eq!(droplet(&gate, &token).await.status, 200);
    gate.write_policy("version: 1\nroles: [");
    assert!(gate.cli(&["token", "revoke", "ci"]).await.status.success());
    honoured_within_a_second(&gate, &token, Some("revoked")).await;
    let refused = gate.cli(&["token", "issue", "next", "--role", "all"]).await;
    assert!(!refused.status.success());
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_is_no_sub_token_is_told_what_it_is_and_reads_nothing() {
    let (api, gate) = gate().await;
    let stranger = SubToken::generate().unwrap();
    let known = gate.issue(&["ci", "--role", "all"]).await;
    let mut typo = known.clone().into_bytes();
    typo[30] = if typo[30] == b'a' { b'b' } else { b'a' };
    let typo = format!("Bearer {}", String::from_utf8(typo).unwrap());
    let other_secret = format!(
        "Bearer {}",
        SubToken::with_id(&known[7..19].parse().unwrap())
            .unwrap()
            .secret
            .expose()
    );
    let (stranger, real) = (
        format!("Bearer {}", stranger.secret.expose()),
        format!("Bearer {REAL_TOKEN}"),
    );
    let cases = [
        (stranger.as_str(), "unknown_token", "ask for a new one"),
        (other_secret.as_str(), "unknown_token", "ask for a new one"),
        (
            typo.as_str(),
            "unknown_token",
            "the check digits do not fit; was it copied whole?",
        ),
        (
            real.as_str(),
            "real_token",
            "this is a real DigitalOcean token",
        ),
        (
            "Bearer x",
            "unknown_token",
            "`tdg_v1_` and 56 letters and digits",
        ),
        ("Basic dXNlcjpwYXNz", "no_token", "is no bearer token"),
        ("Bearer", "no_token", "is no bearer token"),
    ];
    for (authorization, reason, message) in cases {
        // A path that would be refused otherwise: for strangers it is not even read.
        let answer = gate
            .get("/v2/%zz")
            .header("authorization", authorization)
            .send()
            .await;
        assert_refused(&answer, 401, reason, message);
    }
    assert_refused(
        &gate.get("/v2/account").send().await,
        401,
        "no_token",
        "there is no sub-token",
    );
    let two = format!(
        "GET /v2/account HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {known}\r\nauthorization: Bearer {known}\r\n\r\n"
    );
    let said = String::from_utf8(gate.raw(two).await).unwrap();
    assert!(
        said.starts_with("HTTP/1.1 401") && said.contains("two `Authorization` headers"),
        "{said}"
    );
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_token_whose_role_or_variable_is_gone_is_refused_whole() {
    let (api, gate) = gate().await;
    let both = gate
        .issue(&["both", "--role", "all", "--role", "none"])
        .await;
    let client = gate
        .issue(&["client", "--role", "client", "--var", "id=12"])
        .await;
    assert_eq!(droplet(&gate, &both).await.status, 200);
    assert_eq!(droplet(&gate, &client).await.status, 200);
    let without_none = POLICY
        .replace("  none:", "  other:")
        .replace("vars: [id]", "vars: [id, more]");
    gate.write_policy(&without_none);
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    assert_refused(
        &droplet(&gate, &both).await,
        403,
        "role_missing",
        "its role `none` is not in the policy",
    );
    assert_refused(
        &droplet(&gate, &client).await,
        403,
        "role_missing",
        "needs the variable `more`",
    );
    let checked = gate.cli(&["check"]).await;
    assert!(checked.status.success(), "an issued token stops no reload");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("warning: the token `both`"));
    gate.finish(&api).await;
}

#[tokio::test]
async fn issuing_says_what_is_wrong_and_prints_the_token_alone() {
    let (api, gate) = gate().await;
    let output = gate
        .cli(&[
            "token",
            "issue",
            "ci",
            "--role",
            "all",
            "--expires",
            "1h",
            "--json",
        ])
        .await;
    let issued: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(issued["token"].as_str().unwrap().len(), 64);
    assert_eq!(
        (&issued["name"], &issued["roles"]),
        (&json!("ci"), &json!(["all"]))
    );
    let cases: [(&[&str], &str); 8] = [
        (
            &["ci", "--role", "all"],
            "a living token has the name `ci` already",
        ),
        (
            &["x", "--role", "al"],
            "unknown role `al`; did you mean `all`?",
        ),
        (
            &["x", "--role", "client"],
            "needs the variable `id`, which it does not have; give variables by `--var NAME=VALUE`",
        ),
        (
            &["x", "--role", "all", "--var", "id=1"],
            "no role of this token has a variable `id`",
        ),
        (
            &["x", "--role", "all", "--expires-at", "2001-01-01T00:00:00Z"],
            "the expiry has passed already",
        ),
        (
            &["x", "--role", "all", "--from", "10.0.0.1/8"],
            "write `10.0.0.0/8` for the network",
        ),
        (
            &["x", "--role", "all", "--rate", "5"],
            "a rate is a number for a period",
        ),
        (
            &["x", "--role", "all", "--expires", "1w"],
            "a span of time is a number and a unit",
        ),
    ];
    for (options, message) in cases {
        let output = gate.cli(&[&["token", "issue"], options].concat()).await;
        assert!(
            !output.status.success() && output.stdout.is_empty(),
            "{options:?}"
        );
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(message), "{options:?}: {said}");
    }
    // The name of one that does not live any more is free.
    assert!(gate.cli(&["token", "revoke", "ci"]).await.status.success());
    gate.issue(&["ci", "--role", "all"]).await;
    let listed: Value =
        serde_json::from_slice(&gate.cli(&["token", "list", "--json"]).await.stdout).unwrap();
    let states: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|token| token["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["revoked", "active"]);
    gate.finish(&api).await;
}

#[tokio::test]
async fn every_method_needs_a_token() {
    let (api, gate) = gate().await;
    for method in [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::HEAD,
        Method::OPTIONS,
    ] {
        let answer = gate.request(method.clone(), "/v2/droplets").send().await;
        assert_eq!(answer.status, 401, "{method}");
    }
    assert_eq!(api.heard_count(), 0);
    gate.finish(&api).await;
}
