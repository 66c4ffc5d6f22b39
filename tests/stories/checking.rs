//! `tidegate check`: a policy without secrets, for programs, strictly; and what it says of each kind of mistake.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::Gate;
use crate::support::gate::{Files, GateBuilder};

const POLICY: &str = "version: 1\nroles:\n  all:\n    allow: [{ scopes: ['*:read'] }]\n  wide:\n    allow: [{ scopes: ['*'] }]\n";
const GOOD: &str = "version: 1\nroles:\n  reader:\n    account: other\n    allow: [{ scopes: [droplet:read] }]\ntests:\n  - { role: reader, request: 'DELETE /v2/droplets/12', expect: deny }\n";

fn gate() -> GateBuilder {
    Gate::builder_to("http://127.0.0.1:1").policy(POLICY)
}

async fn check(files: &Files, arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = files.cli(&[&["check"], arguments].concat()).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let directory = format!("{}/", files.path("").display());
    let directory = directory.replace("//", "/");
    (
        status.code(),
        text(stdout),
        text(stderr).replace(&directory, ""),
    )
}

#[tokio::test]
async fn a_policy_is_checked_alone_without_configuration_or_secrets() {
    let files = gate().file("good.yaml", GOOD).files();
    for name in ["tidegate.yaml", "do-token"] {
        fs::remove_file(files.path(name)).unwrap();
    }
    let good = files.path("good.yaml");
    let (status, stdout, stderr) = check(&files, &["--policy", good.to_str().unwrap()]).await;
    assert_eq!((status, stdout.as_str()), (Some(0), ""), "{stderr}");
    assert_eq!(
        stderr,
        "1 role, 0 tokens in the policy, 1 of 1 test passed\n"
    );
    files.write("good.yaml", &GOOD.replace("expect: deny", "expect: allow"));
    let (status, _, stderr) = check(&files, &["--policy", good.to_str().unwrap()]).await;
    assert_eq!(status, Some(1));
    assert!(
        stderr.contains("good.yaml:7:5: error: test failed: `DELETE /v2/droplets/12`"),
        "{stderr}"
    );
    let missing = files.path("missing.yaml");
    let (status, _, stderr) = check(&files, &["--policy", missing.to_str().unwrap()]).await;
    assert_eq!(status, Some(1));
    assert!(
        stderr.contains(
            "missing.yaml:1:1: error: the policy `missing.yaml` can't be read: No such file"
        ),
        "{stderr}"
    );
}

#[tokio::test]
async fn what_is_found_is_told_to_programs_too() {
    let files = gate().files();
    files.issue(&["ci", "--role", "all"]).await;
    let (status, stdout, stderr) = check(&files, &["--json"]).await;
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(told["errors"], 0);
    assert_eq!(told["warnings"], 1);
    assert_eq!(
        told["policy"],
        json!({ "roles": 2, "tokens": 0, "tests": { "passed": 0, "failed": 0 } })
    );
    let finding = &told["findings"][0];
    let file = files.path("policy.yaml").display().to_string();
    assert_eq!(
        (
            &finding["file"],
            &finding["line"],
            &finding["column"],
            &finding["severity"]
        ),
        (&json!(file), &json!(6), &json!(13), &json!("warning"))
    );
    assert!(
        finding["what"]
            .as_str()
            .unwrap()
            .starts_with("`wide.allow[0]` allows `*`")
    );

    files.write("policy.yaml", "version: 1\nrole: {}\n");
    let (status, stdout, _) = check(&files, &["--json"]).await;
    assert_eq!(status, Some(1));
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (&told["errors"], &told["policy"]),
        (&json!(1), &Value::Null)
    );
    assert_eq!(
        told["findings"][0]["what"],
        "unknown key `role`; did you mean `roles`?"
    );
}

#[tokio::test]
async fn strictly_a_warning_is_an_error() {
    let files = gate().files();
    files.issue(&["ci", "--role", "all"]).await;
    assert_eq!(check(&files, &[]).await.0, Some(0));
    let (status, _, stderr) = check(&files, &["--strict"]).await;
    assert_eq!(status, Some(1));
    assert!(
        stderr.ends_with("1 warning, which --strict takes for errors\n"),
        "{stderr}"
    );
    assert_eq!(check(&files, &["--strict", "--json"]).await.0, Some(1));
    files.write("policy.yaml", &POLICY.replace("['*']", "[droplet:read]"));
    assert_eq!(check(&files, &["--strict"]).await.0, Some(0));
}

/// Each kind of mistake: it quotes what was written, and stands where that was written.
#[tokio::test]
async fn a_mistake_quotes_what_was_written_at_its_place() {
    const TOKEN: &str = "tokens:\n  - name: ci\n    id: 4fZ0aB9cD8eF\n    hash: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'\n    roles: [all]\n";
    let with = |line: &str| format!("{POLICY}{TOKEN}    {line}\n");
    let policies = [
        (
            with("sources: [10.0.0.0/33]"),
            "policy.yaml:12:15: error: a source can't be `10.0.0.0/33`: a source is an address, a network (`203.0.113.0/24`, `2001:db8::/32`) or `unix`",
        ),
        (
            with("sources: [10.0.0.1/8]"),
            "policy.yaml:12:15: error: a source can't be `10.0.0.1/8`: the address has bits set behind its prefix; write `10.0.0.0/8` for the network",
        ),
        (
            with("expires_at: tomorrow"),
            "policy.yaml:12:17: error: a time (`2027-01-31T00:00:00Z`) can't be `tomorrow`: ",
        ),
        (
            with("idle: 1week"),
            "policy.yaml:12:11: error: `idle` can't be `1week`: a span of time is",
        ),
        (
            with("rate: often"),
            "policy.yaml:12:11: error: `rate` can't be `often`: a rate is",
        ),
        (
            POLICY.replace("version: 1", "version: 1.0"),
            "policy.yaml:1:10: error: unknown policy version `1.0`; this tidegate reads `version: 1`",
        ),
        (
            POLICY.replace("['*:read']", "[*:read]"),
            "policy.yaml:4:24: error: `*:read` begins with `*`, which repeats an anchored value in YAML; write it in quotes: `\"*:read\"`",
        ),
        (
            POLICY.replace("['*:read']", "[*]"),
            "policy.yaml:4:24: error: ",
        ),
    ];
    let files = gate().files();
    for (policy, expected) in policies {
        files.write("policy.yaml", &policy);
        let (status, _, stderr) = check(&files, &[]).await;
        assert_eq!(status, Some(1), "{policy}");
        assert!(stderr.starts_with(expected), "{policy}:\n{stderr}");
    }
    fs::write(files.path("policy.yaml"), b"\xff\xfev\0e\0r\0").unwrap();
    let (_, _, stderr) = check(&files, &[]).await;
    assert!(stderr.contains("tidegate.yaml:15:13: error: the policy `policy.yaml` can't be read: it is UTF-16, by the byte order mark (BOM) that it begins with; save it as UTF-8"), "{stderr}");
    fs::write(files.path("policy.yaml"), b"version: 1\n# \xe4\n").unwrap();
    let (_, _, stderr) = check(&files, &[]).await;
    assert!(
        stderr.contains("the policy `policy.yaml` can't be read: line 2 is not UTF-8"),
        "{stderr}"
    );
    fs::write(files.path("policy.yaml"), format!("\u{feff}{POLICY}")).unwrap();
    assert_eq!(
        check(&files, &[]).await.0,
        Some(0),
        "a mark of UTF-8 says nothing"
    );
}

#[tokio::test]
async fn a_missing_file_is_told_at_the_key_that_names_it() {
    const CONFIG: &str = "accounts: { default: { token_file: do-token } }\npolicy: policy.yaml\nstate: tidegate.db\naudit: stdout\nupstream: { ca_file: ca.pem }\nlisten: [{ address: 127.0.0.1:0, tls: { certificate: c.pem, private_key: k.pem } }]\ncatalog: { extra: more.yaml }\n";
    let files = gate().config_text(CONFIG).files();
    for name in ["policy.yaml", "do-token"] {
        fs::remove_file(files.path(name)).unwrap();
    }
    let (status, _, stderr) = check(&files, &[]).await;
    assert_eq!(status, Some(1));
    for expected in [
        "tidegate.yaml:1:36: error: the real token of account `default`: `do-token` can't be read: No such file",
        "tidegate.yaml:6:39: error: TLS of the listener at 127.0.0.1:0: `c.pem` can't be used: No such file",
        "tidegate.yaml:7:19: error: the extra catalogue `more.yaml` can't be read: No such file",
    ] {
        assert!(stderr.contains(expected), "{stderr}");
    }
    let files = gate()
        .config_text(&CONFIG.lines().take(5).collect::<Vec<_>>().join("\n"))
        .files();
    fs::remove_file(files.path("policy.yaml")).unwrap();
    let (_, _, stderr) = check(&files, &[]).await;
    assert!(
        stderr.contains(
            "tidegate.yaml:2:9: error: the policy `policy.yaml` can't be read: No such file"
        ),
        "{stderr}"
    );
    files.write("policy.yaml", POLICY);
    let (_, _, stderr) = check(&files, &[]).await;
    assert!(stderr.contains("tidegate.yaml:5:22: error: "), "{stderr}");
}

#[tokio::test]
async fn a_directory_that_is_missing_is_told_before_the_daemon_misses_it() {
    let files = gate().set("audit.file", json!("nowhere/audit.jsonl"));
    let (code, _, said) = check(&files.files(), &[]).await;
    assert_eq!(code, Some(0), "{said}");
    let line = said.lines().find(|line| line.contains("nowhere"));
    let line = line.unwrap_or_default();
    assert!(line.starts_with("tidegate.yaml:"), "{said}");
    assert!(
        line.ends_with("warning: there is no directory `nowhere` for the audit file, and without it the daemon does not start; make it (systemd does, by `LogsDirectory=`), or name another"),
        "{said}"
    );
}

#[tokio::test]
async fn the_policy_is_looked_at_while_the_configuration_has_a_mistake() {
    let policy = POLICY.replace("droplet", "x").replace(
        "allow: [{ scopes: ['*'] }]",
        "account: spare\n    allow: [{ scopes: [droplet:reed] }]",
    );
    let files = gate()
        .set("limits", json!({ "bdy": "1MiB" }))
        .policy(&policy)
        .files();
    let (status, _, stderr) = check(&files, &[]).await;
    assert_eq!(status, Some(1));
    assert!(
        stderr.contains("error: unknown key `bdy`; did you mean `body`?"),
        "{stderr}"
    );
    assert!(
        stderr.contains("policy.yaml:7:24: error: unknown scope `droplet:reed`"),
        "{stderr}"
    );
    assert!(
        !stderr.contains("spare"),
        "which accounts there are may be the mistake: {stderr}"
    );
}

#[tokio::test]
async fn what_is_no_real_token_is_told_without_showing_it() {
    let whole = format!("dop_v1_{}", "0a".repeat(32));
    let files = gate().files();
    for (text, expected) in [
        (
            format!("\"{whole}\""),
            "it stands in quotes; there must be the token and nothing else",
        ),
        (
            format!("DIGITALOCEAN_TOKEN={whole}"),
            "there is something before it",
        ),
        (whole[..40].to_owned(), "it is not whole"),
        (
            format!("\u{feff}{whole}"),
            "it begins with a byte order mark (BOM)",
        ),
    ] {
        files.write("do-token", &text);
        let (status, _, stderr) = check(&files, &[]).await;
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
        assert!(!stderr.contains("0a0a"), "{stderr}");
    }
}

#[tokio::test]
async fn what_ends_soon_is_told() {
    let tls = json!({ "certificate": "tls/server.pem", "private_key": "tls/server.key" });
    let files = gate()
        .set("listen", json!([{ "address": "127.0.0.1:0", "tls": tls }]))
        .files();
    let directory = files.path("tls");
    let make = [
        "cert",
        "--host",
        "localhost",
        "--dir",
        directory.to_str().unwrap(),
        "--days",
    ];
    for (days, warned) in [("5", true), ("90", false)] {
        assert!(
            files
                .cli(&[&make[..], &[days]].concat())
                .await
                .status
                .success()
        );
        let (_, _, stderr) = check(&files, &[]).await;
        let certificate = stderr
            .contains("tidegate.yaml:5:14: warning: a certificate of `tls/server.pem` ends at ")
            && stderr.contains("in 4 days; renew it");
        assert_eq!(certificate, warned, "{days}: {stderr}");
    }
    let entry = files
        .cli(&[
            "token",
            "issue",
            "listed",
            "--role",
            "all",
            "--expires",
            "36h",
            "--yaml",
        ])
        .await;
    let entry = String::from_utf8(entry.stdout).unwrap();
    files.write("policy.yaml", &format!("{POLICY}tokens:\n{entry}"));
    files
        .issue(&["session", "--role", "all", "--expires", "1h"])
        .await;
    let (_, _, stderr) = check(&files, &[]).await;
    assert!(stderr.contains("the token `listed` ("), "{stderr}");
    assert!(
        stderr.contains(", in 35 hours; replace its entry by a new one"),
        "{stderr}"
    );
    assert!(
        !stderr.contains("session"),
        "it ends as it was meant to: {stderr}"
    );
}
