//! `explain` without the body that decides: it can't be told, and never is `allow` what every real body is refused.

use crate::support::Gate;

const POLICY: &str = "version: 1\nroles:\n  power:\n    allow: [{ scopes: [droplet:read, droplet:update], actions: [reboot] }]\n  all:\n    allow: [{ scopes: ['*'] }]\n";

#[tokio::test]
async fn a_request_whose_body_decides_is_not_explained_without_one() {
    const ACTIONS: &str = "/v2/droplets/12/actions";
    let files = Gate::builder_to("http://127.0.0.1:1")
        .policy(POLICY)
        .files();
    files.write("reboot.json", r#"{"type":"reboot"}"#);
    let reboot = files.path("reboot.json");
    let reboot = reboot.to_str().unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["POST", ACTIONS, "--role", "power"], 2, ""),
        (&["POST", ACTIONS, "--role", "all"], 2, ""),
        (&["POST", "/v2/droplets", "--role", "all"], 2, ""),
        (
            &["POST", ACTIONS, "--role", "power", "--body", reboot],
            0,
            "allow power.allow[0]",
        ),
        (
            &["POST", ACTIONS, "--role", "power", "--body", "/dev/null"],
            1,
            "deny ",
        ),
        // The scope alone decides, or there is no body to decide.
        (
            &["POST", "/v2/droplets", "--role", "power"],
            1,
            "deny scope",
        ),
        (
            &["DELETE", "/v2/droplets/12", "--role", "all"],
            0,
            "allow all.allow[0]",
        ),
        (
            &["GET", "/v2/droplets", "--role", "power"],
            0,
            "allow power.allow[0]",
        ),
    ];
    for (arguments, code, first) in cases {
        let output = files.cli(&[&["explain"], arguments].concat()).await;
        let (out, err) = (
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        );
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {out}{err}"
        );
        assert!(out.starts_with(first), "{arguments:?}: {out}");
        let told = format!(
            "no body was given, and what is in it decides over {} {}; give it with `--body FILE` (`--body /dev/null`, if there is none)\n",
            arguments[0], arguments[1]
        );
        assert_eq!(err == told, code == 2, "{arguments:?}: {err}");
    }
}
