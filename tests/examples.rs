//! What `config/` shows must work: every file of it is read, `tidegate check` is content with it, and the tests that stand in
//! the policy pass. What is shown commented out is tried too.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a broken assumption must stop the test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tidegate::catalog::Catalog;
use tidegate::policy::{self, Policy, run_test};
use tidegate::{config, yaml};

#[test]
fn check_is_content_with_the_examples() {
    let example = Example::new();
    let (good, said) = example.check();
    assert!(good, "{said}");
    let count = read_policy(&shown("policy.yaml"), &Catalog::builtin().unwrap())
        .tests
        .len();
    let last = format!("1 token in the policy, {count} of {count} tests passed");
    assert!(said.contains(&last), "{said}");
    let warned: Vec<_> = said
        .lines()
        .filter(|line| line.contains("warning: `"))
        .collect();
    assert!(
        !warned.is_empty(),
        "who logs in to a registry reaches all of it, which is to be said: {said}"
    );
    for line in warned {
        assert!(
            line.contains("`registry-pu") && line.contains("docker-credentials"),
            "{line}"
        );
    }
}

#[test]
fn the_tests_of_the_policy_pass_and_every_role_has_some_of_both_kinds() {
    let catalog = Catalog::builtin().unwrap();
    let policy = read_policy(&shown("policy.yaml"), &catalog);
    let failed: Vec<_> = policy
        .tests
        .iter()
        .filter_map(|test| {
            Some(format!(
                "{}: {}",
                test.at,
                run_test(test, &policy, &catalog).err()?
            ))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(policy.tests.len() >= 60, "{} tests", policy.tests.len());
    for role in policy.roles.keys() {
        for allowed in [true, false] {
            let some = policy
                .tests
                .iter()
                .any(|test| &test.role == role && test.allowed == allowed);
            assert!(
                some,
                "the role `{role}` has no test with allowed: {allowed}"
            );
        }
    }
}

#[test]
fn the_configuration_shows_every_key_with_its_default() {
    let text = shown("tidegate.yaml");
    let settings = config::read("tidegate.yaml", &text, Path::new("/etc/tidegate")).unwrap();
    let least = "accounts: { default: { token_file: /run/credentials/tidegate.service/do-token } }\npolicy: policy.yaml\n\
                 state: /var/lib/tidegate/tidegate.db\naudit: { file: /var/log/tidegate/audit.jsonl }\n";
    let defaults = config::read("least.yaml", least, Path::new("/etc/tidegate")).unwrap();
    let meant = |mut settings: config::Settings| {
        settings.places = config::Places::default(); // where each stands differs
        format!("{settings:?}")
    };
    assert_eq!(meant(settings), meant(defaults));
    // The keys that a file may have, as PRODUCT.md and `config::read` name them; a new one belongs into the example.
    let keys = [
        "listen",
        "address",
        "allow_plaintext",
        "tls",
        "certificate",
        "private_key",
        "client_ca",
        "unix",
        "systemd",
        "admin",
        "public_url",
        "trusted_proxies",
        "upstream",
        "url",
        "ca_file",
        "connect_timeout",
        "timeout",
        "accounts",
        "token_file",
        "token_env",
        "policy",
        "state",
        "audit",
        "file",
        "sync",
        "catalog",
        "extra",
        "issuers",
        "audience",
        "jwks",
        "once",
        "limits",
        "header_bytes",
        "inspected_body",
        "body",
        "connections",
        "header_timeout",
        "idle_timeout",
        "derived_credentials",
    ];
    for key in keys {
        assert!(
            text.contains(&format!("{key}:")),
            "the key `{key}` is not shown"
        );
    }
}

#[test]
fn what_is_commented_out_works_too() {
    let example = Example::new();
    let config = uncommented(&example.text("tidegate.yaml"), "# catalog:");
    let config = uncommented(&config, "# admin:");
    for shown in [
        "\ncatalog:\n  extra: extra-endpoints.yaml\n",
        "\nadmin:\n  address: 127.0.0.1:9090\n",
    ] {
        assert!(config.contains(shown), "{config}");
    }
    let policy = shown("policy.yaml");
    let tests = "  - { role: read-only, request: GET /v2/lighthouses, expect: allow }
  - { role: read-only, request: GET /v2/lighthouses/1/keys, expect: deny, reason: scope }
";
    example.write("tidegate.yaml", &config);
    example.write("policy.yaml", &(policy + tests));
    let (good, said) = example.check();
    assert!(good, "{said}");
}

#[test]
fn every_role_of_the_examples_reads_and_keeps_its_tests() {
    let catalog = Catalog::builtin().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let folders = ["roles", "kubernetes/roles"].map(|folder| examples.join(folder));
    let files: Vec<_> = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(files.len() >= 15, "{files:?}");
    for file in files {
        let policy = read_policy(&fs::read_to_string(&file).unwrap(), &catalog);
        for role in policy.roles.keys() {
            let some = |allowed| {
                let mut tests = policy.tests.iter();
                tests.any(|test| &test.role == role && test.allowed == allowed)
            };
            assert!(
                some(true) && some(false),
                "{}: `{role}` has no test of both kinds",
                file.display()
            );
        }
        for test in &policy.tests {
            let run = run_test(test, &policy, &catalog);
            assert_eq!(run, Ok(()), "{}:{}", file.display(), test.at);
        }
    }
}

#[test]
fn no_file_of_the_examples_is_left_out_here() {
    let mut names: Vec<_> = fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let runbook = "README.md"; // its commands are run by a story
    let packaging = ["package", "profiled", "tidegate.logrotate"]; // a story runs the first, and logrotate reads the last
    let known = FILES.into_iter().chain(UNITS).chain(packaging);
    let mut known: Vec<_> = known.chain([runbook]).collect();
    known.sort_unstable();
    assert_eq!(names, known);
}

/// What systemd prepares for the service is what the configuration beside it names.
#[test]
fn the_units_and_the_configuration_speak_of_the_same_places() {
    let (service, socket) = (shown("tidegate.service"), shown("tidegate.socket"));
    let set = |unit: &str, key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let config = shown("tidegate.yaml");
    let (credential, _) = set(&service, "LoadCredential=")
        .split_once(':')
        .map(|(name, file)| (name.to_owned(), file.to_owned()))
        .unwrap();
    for place in [
        format!("token_file: /run/credentials/tidegate.service/{credential}"),
        format!("state: /var/lib/{}/", set(&service, "StateDirectory=")),
        format!("file: /var/log/{}/", set(&service, "LogsDirectory=")),
        format!("unix: /run/{}/", set(&service, "RuntimeDirectory=")),
        format!("systemd: {}", set(&socket, "FileDescriptorName=")),
    ] {
        assert!(config.contains(&place), "{place}");
    }
    assert!(set(&service, "ExecStart=").ends_with(config::DEFAULT_PATH));
    assert_eq!(set(&service, "Type="), "notify-reload");
    let user = format!("u {} ", set(&service, "User="));
    assert!(shown("tidegate.sysusers.conf").contains(&user));
}

/// What runs tidegate in a container has a configuration and a policy, which `check` is content with, and issues sub-tokens of
/// roles that are in there.
#[test]
fn check_is_content_with_what_the_examples_run() {
    let kubernetes = example("kubernetes/tidegate.yaml");
    let several = example("several/kubernetes.yaml");
    let of_directory = |name: &str| {
        ["tidegate.yaml", "policy.yaml"].map(|file| example(&format!("{name}/{file}")))
    };
    let cases = [
        (
            vec![example("container/compose.yaml")],
            of_directory("container/etc"),
        ),
        (
            vec![example("ci/github.yaml"), example("ci/gitlab.yaml")],
            of_directory("ci/tidegate"),
        ),
        (
            vec![example("ci/exchange/policy.yaml") + "--role deploy --role dns"],
            of_directory("ci/exchange"),
        ),
        (
            vec![kubernetes.clone()],
            ["tidegate.yaml", "policy.yaml"].map(|key| block(&kubernetes, key)),
        ),
        (
            vec![example("several/compose.yaml")],
            of_directory("several/etc"),
        ),
        (
            vec![several.clone()],
            ["tidegate.yaml", "policy.yaml"].map(|key| block(&several, key)),
        ),
    ];
    for (users, [config, policy]) in cases {
        let example = Example::new();
        let made = example.run(&["cert", "--host", "localhost", "--dir", "tls"]);
        assert!(made.0, "{}", made.1);
        let config = config
            .replace("/run/secrets/do-token", "do-token")
            .replace("/etc/tidegate-token/do-token", "do-token")
            .replace("/etc/tidegate-tls/tls.crt", "tls/server.pem")
            .replace("/etc/tidegate-tls/tls.key", "tls/server.key")
            .replace("/var/lib/tidegate/", "");
        let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        example.write("cluster-keys.json", keys); // RFC 8037, appendix A
        let (config, is_shared) = with_state_in_a_file(&config);
        let is_asked = is_shared || config.contains("admin: { address: 127.0.0.1:");
        assert!(is_asked || config.contains("issuers:"), "{config}"); // the health checks ask it
        example.write("tidegate.yaml", &config);
        example.write("policy.yaml", &policy);
        let (good, said) = example.check();
        assert!(good, "{config}{said}");
        let policy = read_policy(&policy, &Catalog::builtin().unwrap());
        let roles: Vec<_> = users
            .iter()
            .flat_map(|text| text.split("--role ").skip(1))
            .filter_map(|rest| rest.split_whitespace().next())
            .collect();
        assert!(!roles.is_empty());
        for role in roles {
            assert!(policy.roles.contains_key(role), "{role}");
        }
    }
}

/// The same with a state that is there, and whether it is of one of several daemons: no database is here to be asked.
fn with_state_in_a_file(config: &str) -> (String, bool) {
    let Some((before, rest)) = config.split_once("state:\n") else {
        return (config.to_owned(), false);
    };
    let (state, after) = rest.split_once('\n').unwrap();
    assert!(state.trim().starts_with("postgres: {"), "{state}");
    (format!("{before}state: tidegate.db\n{after}"), true)
}

/// The text under a key of a `ConfigMap`.
fn block(text: &str, key: &str) -> String {
    let (_, after) = text.split_once(&format!("\n  {key}: |\n")).unwrap();
    let lines = after
        .lines()
        .take_while(|line| line.is_empty() || line.starts_with("    "));
    lines.fold(String::new(), |text, line| {
        text + line.strip_prefix("    ").unwrap_or(line) + "\n"
    })
}

fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A copy of the examples on a machine that has none of the directories that they name.
struct Example(TempDir);

impl Example {
    fn new() -> Self {
        let example = Self(TempDir::new().unwrap());
        for name in FILES {
            example.write(name, &shown(name));
        }
        let config = shown("tidegate.yaml")
            .replace("/run/credentials/tidegate.service/do-token", "do-token")
            .replace("/var/lib/tidegate/", "")
            .replace("/var/log/tidegate/", "");
        example.write("tidegate.yaml", &config);
        example.write("do-token", &format!("dop_v1_{}\n", "0".repeat(64)));
        example
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    /// Whether `tidegate check` is content, and what it says.
    fn check(&self) -> (bool, String) {
        self.run(&["check"])
    }

    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(arguments)
            .current_dir(self.0.path())
            .env("TIDEGATE_CONFIG", self.0.path().join("tidegate.yaml"))
            .env("DIGITALOCEAN_TOKEN", format!("dop_v1_{}", "0".repeat(64)))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }
}

fn read_policy(text: &str, catalog: &Catalog) -> Policy {
    let accounts = ["default".to_owned()];
    policy::read("policy.yaml", text, &accounts, catalog)
        .map_err(yaml::Mistakes::into_lines)
        .unwrap()
}

/// The text with the comment that begins with this line taken for what it comments out.
fn uncommented(text: &str, first: &str) -> String {
    let (before, _) = first.split_once("# ").unwrap();
    let mark = format!("{before}# ");
    let mut inside = false;
    let lines = text.lines().map(|line| {
        inside = line == first || (inside && line.starts_with(&mark));
        if inside {
            line.replacen("# ", "", 1)
        } else {
            line.to_owned()
        }
    });
    lines.collect::<Vec<_>>().join("\n") + "\n"
}

fn shown(name: &str) -> String {
    fs::read_to_string(directory().join(name))
        .unwrap_or_else(|error| panic!("config/{name}: {error}"))
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// What `tidegate check` reads.
const FILES: [&str; 3] = ["extra-endpoints.yaml", "policy.yaml", "tidegate.yaml"];
/// What systemd does.
const UNITS: [&str; 3] = [
    "tidegate.service",
    "tidegate.socket",
    "tidegate.sysusers.conf",
];

/// Each role of the cluster has the patch that leads its client here, by an address that it can be told or by an alias of its host.
#[test]
fn every_client_of_the_cluster_is_led_to_tidegate() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kubernetes");
    for file in fs::read_dir(examples.join("roles")).unwrap() {
        let name = file.unwrap().file_name();
        let patch = fs::read_to_string(examples.join("clients").join(&name)).unwrap();
        let of: Vec<serde_json::Value> = serde_yaml::from_multiple(&patch).unwrap();
        let pod = &of.last().unwrap()["spec"]["template"]["spec"];
        let container = &pod["containers"][0];
        let aliases =
            pod["hostAliases"][0]["hostnames"] == serde_json::json!(["api.digitalocean.com"]);
        let told = patch.contains("https://tidegate.tidegate.svc\"")
            || patch.contains("https://tidegate.tidegate.svc\n");
        assert!(
            aliases != told,
            "{}: an address or an alias",
            name.display()
        );
        let trusts = |variable: &serde_json::Value| {
            variable["name"] == "SSL_CERT_FILE"
                && variable["value"] == "/etc/tidegate-ca/bundle.pem"
        };
        assert!(
            container["env"].as_array().unwrap().iter().any(trusts),
            "{}",
            name.display()
        );
        let mounted = &container["volumeMounts"][0]["mountPath"];
        assert_eq!(mounted, "/etc/tidegate-ca", "{}", name.display());
    }
}

/// Whoever reads the table of clients finds the roles that it names, and every role that there is.
#[test]
fn the_table_of_clients_names_roles_that_are_there() {
    let table = example("README.md");
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let named = table
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let mut links = 0;
    for link in named.filter(|link| link.rsplit_once('.').is_some_and(|(_, end)| end == "yaml")) {
        assert!(examples.join(link).is_file(), "{link}");
        links += 1;
    }
    assert!(links >= 15, "{links} links");
    for folder in ["roles", "kubernetes/roles"] {
        for file in fs::read_dir(examples.join(folder)).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let link = format!("({folder}/{name})");
            assert!(table.contains(&link), "{link}");
        }
    }
}

/// The workflow that looks for new endpoints, its steps run as they stand: the file is written, and a change opened where it is
/// another than before.
#[test]
fn the_scheduled_workflow_opens_a_change_with_what_is_new() {
    let text = example("ci/catalog.yaml");
    let workflow: serde_json::Value = serde_yaml::from_str(&text).unwrap();
    let job = &workflow["jobs"]["extra"];
    let runs: Vec<_> = job["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|step| step["run"].as_str())
        .collect();
    let place = TempDir::new().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("repository")).unwrap();
    fs::create_dir_all(path("bin")).unwrap();
    let tool = |name: &str, script: &str| {
        fs::write(path("bin").join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    // Only what stands behind the image's name is tidegate's.
    let tidegate = env!("CARGO_BIN_EXE_tidegate");
    tool(
        "docker",
        &format!(
            "while [ \"$1\" != ghcr.io/example/tidegate:0.1.0 ]; do shift; done; shift; exec '{tidegate}' \"$@\""
        ),
    );
    tool(
        "git",
        "echo \"git $*\" >> ../calls; case $1 in status) cmp -s \"$EXTRA\" ../before || echo changed;; esac",
    );
    tool("gh", "echo \"gh $*\" >> ../calls");
    let week = |scopes: &str| {
        let specification = path("repository/.openapi/specification");
        fs::create_dir_all(specification.join("resources")).unwrap();
        let root = "paths: { /v2/lighthouses: { get: { $ref: resources/list.yml } } }";
        fs::write(specification.join("DigitalOcean-public.v2.yaml"), root).unwrap();
        let operation = format!("operationId: lighthouses_list\n{scopes}");
        fs::write(specification.join("resources/list.yml"), operation).unwrap();
        let extra = path("repository").join(job["env"]["EXTRA"].as_str().unwrap());
        let before = fs::read(&extra).unwrap_or_default();
        fs::write(path("before"), before).unwrap();
        let _ = fs::remove_file(path("calls"));
        for run in &runs {
            let output = Command::new("bash")
                .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", run])
                .current_dir(path("repository"))
                .env("PATH", format!("{}:/usr/bin:/bin", path("bin").display()))
                .env("RUNNER_TEMP", place.path())
                .env("EXTRA", job["env"]["EXTRA"].as_str().unwrap())
                .env("BRANCH", job["env"]["BRANCH"].as_str().unwrap())
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{run}: {said}");
        }
        (
            fs::read_to_string(extra).unwrap(),
            fs::read_to_string(path("calls")).unwrap(),
            fs::read_to_string(path("body")).unwrap(),
        )
    };
    let (extra, calls, body) = week("");
    assert!(extra.contains("scopes: FILL_IN"), "{extra}");
    assert!(
        calls.contains("git push --force origin tidegate-new-endpoints\ngh pr create --head"),
        "{calls}"
    );
    assert!(
        body.starts_with("added 1 endpoint; a person must decide:\ntidegate/my-endpoints.yaml:"),
        "{body}"
    );
    assert!(
        body.contains("1 added, 644 removed, 0 changed of 1 endpoints"),
        "{body}"
    );
    fs::write(
        path("repository/tidegate/my-endpoints.yaml"),
        extra.replace("FILL_IN ", "lighthouse:read "),
    )
    .unwrap();
    let (after, calls, body) = week("security: [{ bearer_auth: ['lighthouse:read'] }]");
    assert_eq!(after, extra.replace("FILL_IN ", "lighthouse:read "));
    assert_eq!(
        calls,
        "git status --porcelain -- tidegate/my-endpoints.yaml\n"
    );
    assert!(body.starts_with("nothing to add\n"), "{body}");
}
