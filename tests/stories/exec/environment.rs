//! What the command finds in its environment, and what it can't find anywhere.

use std::process::{Command, Stdio};

use super::{LIST, Run};
use crate::support::{Gate, REAL_TOKEN, StandInApi};

const OTHER: &str = "doo_v1_badbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbadbad0";

#[tokio::test]
async fn every_variable_that_clients_read_has_the_sub_token_or_the_gate() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only", "--summary", "none"])
        .env("DO_API_KEY", OTHER)
        .env("DO_AUTH_TOKEN_FILE", "/etc/hostname")
        .env("DIGITALOCEAN_TOKEN", OTHER)
        .env("DIGITALOCEAN_CONTEXT", "prod")
        .env("DIGITALOCEAN_CONFIG", "/nowhere/doctl.yaml")
        .env("DIGITALOCEAN_AUTH_CONTEXTS", r#"{"prod":"x"}"#)
        .env("KEPT", "as it is");
    let ran = run.run(&["env", "-0"]).await;
    let variables = ran.variables();
    let token = variables["DIGITALOCEAN_ACCESS_TOKEN"];
    assert!(token.starts_with("tdg_v1_") && token.len() == 64, "{token}");
    for name in [
        "DIGITALOCEAN_TOKEN",
        "DIGITALOCEAN_API_TOKEN",
        "DO_TOKEN",
        "DO_AUTH_TOKEN",
        "DO_API_TOKEN",
        "DO_OAUTH_TOKEN",
        "DO_ACCESS_TOKEN",
    ] {
        assert_eq!(variables[name], token, "{name}");
    }
    let url = variables["DIGITALOCEAN_API_URL"];
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    for name in [
        "DIGITALOCEAN_API_ENDPOINT",
        "DO_API_URL",
        "DO_OVERRIDE_URL",
        "PYDO_AGENTS_ENDPOINT",
        "PYDO_GATEWAY_ENDPOINT",
    ] {
        assert_eq!(variables[name], url, "{name}");
    }
    assert_eq!(variables["DIGITALOCEAN_END_POINT"], format!("{url}/v2/"));
    assert_eq!(variables["DIGITALOCEAN_CONTEXT"], "default");
    assert_eq!(variables["KEPT"], "as it is");
    for name in [
        "DO_API_KEY",
        "DO_AUTH_TOKEN_FILE",
        "DIGITALOCEAN_AUTH_CONTEXTS",
        "OAUTH_TOKEN",
        "HTTPS_PROXY",
        "SSL_CERT_FILE",
        "NO_PROXY",
    ] {
        assert_eq!(variables.get(name), None, "{name}");
    }
    assert_eq!(ran.stderr, "");
}

/// doctl writes to its configuration when it is told to, and reads a context of it before any token in the environment.
#[tokio::test]
async fn doctl_finds_a_configuration_that_is_empty_and_for_this_run_alone() {
    let api = StandInApi::start().await;
    let script = r#"stat -c '%a %s' "$DIGITALOCEAN_CONFIG"; stat -c %a "$(dirname "$DIGITALOCEAN_CONFIG")"; echo x > "$DIGITALOCEAN_CONFIG""#;
    let ran = Run::before(&api, &["--role", "read-only"])
        .shell(script)
        .await;
    assert_eq!(
        (ran.status, &*ran.stdout),
        (Some(0), "600 0\n700\n"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn what_holds_the_real_token_is_taken_out_and_named() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only", "--summary", "none"])
        .env("TF_VAR_do_token", REAL_TOKEN)
        .env(
            "LOGIN",
            format!(
                "{{\"auth\":\"{}:x\"}}",
                REAL_TOKEN.strip_prefix("dop_v1_").unwrap()
            ),
        )
        .env("MINE", OTHER);
    let ran = run.run(&["env", "-0"]).await;
    assert!(!ran.stdout.contains("f00df00d"), "{}", ran.stdout);
    assert_eq!(ran.variables()["MINE"], OTHER);
    let mut said: Vec<_> = ran.stderr.lines().collect();
    said.sort_unstable();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("taken out of the command's environment"),
        "{said:?}"
    );
    assert!(
        said[0].contains("LOGIN") && said[0].contains("TF_VAR_do_token"),
        "{said:?}"
    );
    assert!(
        said[1].contains("another DigitalOcean token in MINE"),
        "{said:?}"
    );
}

#[tokio::test]
async fn the_real_token_is_in_no_argument() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only"]);
    let ran = run.run(&["echo", &format!("token={REAL_TOKEN}")]).await;
    assert_eq!((ran.status, &*ran.stdout), (Some(2), ""));
    assert!(
        ran.stderr
            .contains("an argument of the command has the real token in it"),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn the_command_reads_nothing_of_its_parents_memory_environment_or_files() {
    let api = StandInApi::start().await;
    let script = r"cat /proc/$PPID/environ /proc/$PPID/task/*/environ 2> why | tr '\0' '\n' | grep f00df00d
        cat /proc/$PPID/cmdline | grep f00df00d
        (cat /proc/$PPID/environ 2> why | tr '\0' '\n' | grep f00df00d)
        head -c 1 /proc/$PPID/mem > got 2> why; grep -q 'Permission denied' why || echo opened mem
        for open in /proc/$PPID/fd/*; do timeout 1 head -c 4096 $open 2> why | grep f00df00d; done
        cat /proc/self/environ | tr '\0' '\n' | grep f00df00d
        ls /proc/self/fd | wc -l
        env | grep -E 'LISTEN|STARTED_ANEW'
        find $TMPDIR -type f -exec grep -l f00df00d {} +";
    let run = Run::before(&api, &["--role", "read-only"]).env("LISTEN_FDNAMES", "mine");
    let ran = run.shell(script).await;
    let without = Command::new("sh")
        .args(["-c", "ls /proc/self/fd | wc -l"])
        .stdin(Stdio::null())
        .output();
    let without = String::from_utf8(without.unwrap().stdout).unwrap();
    assert_eq!(
        ran.stdout,
        format!(
            "{without}LISTEN_FDNAMES=mine
"
        ),
        "as many descriptors as without it, and what was the caller's own"
    );
}

/// Loopback is shared with whoever else is on the machine.
#[tokio::test]
async fn no_other_sub_token_of_the_same_policy_is_let_in() {
    let api = StandInApi::start().await;
    let policy = "version: 1\nroles: { all: { allow: [{ scopes: ['*'] }] }, reader: { allow: [{ scopes: [droplet:read] }] } }\n";
    let files = Gate::builder(&api).policy(policy).files();
    let entry = files
        .cli(&["token", "issue", "ci", "--role", "all", "--yaml"])
        .await;
    let said = String::from_utf8(entry.stderr).unwrap();
    let listed = said.trim().rsplit(' ').next().unwrap();
    let policy = format!(
        "{policy}tokens:\n{}",
        String::from_utf8(entry.stdout).unwrap()
    );
    let script = format!(
        r#"{LIST} -o list; curl -s -o refused -D - -H "Authorization: Bearer {listed}" "$DIGITALOCEAN_API_URL/v2/droplets" | grep -i tidegate-reason"#
    );
    let run = Run::before(&api, &["--policy", "policy.yaml", "--role", "reader"])
        .file("policy.yaml", &policy);
    let ran = run.shell(&script).await;
    assert_eq!(
        ran.stdout.trim(),
        "tidegate-reason: unknown_token",
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn a_proxy_of_the_caller_gets_nothing_that_is_for_the_gate() {
    let api = StandInApi::start().await;
    let run = Run::before(&api, &["--role", "read-only"])
        .env("http_proxy", "http://127.0.0.1:1")
        .env("ALL_PROXY", "http://127.0.0.1:1")
        .env("no_proxy", "internal.example.com");
    let ran = run
        .shell(&format!("{LIST} -f -o list && echo $NO_PROXY"))
        .await;
    assert_eq!(
        ran.stdout, "internal.example.com,127.0.0.1,localhost,::1\n",
        "{}",
        ran.stderr
    );
}

/// What prints the real token may need what the command may not have.
#[tokio::test]
async fn a_command_that_prints_the_real_token_is_run_in_the_callers_environment() {
    let api = StandInApi::start().await;
    let config = format!(
        "accounts: {{ default: {{ token_command: [sh, -c, 'echo $SECRETS'] }} }}\nupstream: {{ url: '{}' }}\npolicy: policy.yaml\nstate: state.db\naudit: stdout\n",
        api.url()
    );
    let policy = "version: 1\nroles: { reader: { allow: [{ scopes: [droplet:read] }] } }\n";
    let options = ["--role", "reader", "--config", "tidegate.yaml"];
    let run = Run::bare(&options)
        .file("policy.yaml", policy)
        .file("tidegate.yaml", &config)
        .env("SECRETS", REAL_TOKEN);
    let ran = run
        .shell(&format!("{LIST} -f -o list && echo $SECRETS"))
        .await;
    assert_eq!(ran.stdout, "\n", "{}", ran.stderr);
    assert!(
        ran.stderr.contains("the real token stands there: SECRETS"),
        "{}",
        ran.stderr
    );
}
