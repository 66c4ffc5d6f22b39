//! What reviews a policy in CI: the commands of `examples/ci/review`, as the files there have them, without a token.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

const OLD: &str = "version: 1
roles:
  deploy:
    allow:
      - scopes: [droplet:read]
        only: { droplet: { tag: a } }
";

/// A repository with a policy at its first commit.
struct Repository {
    place: TempDir,
}

struct Reviewed {
    code: Option<i32>,
    said: String,
    summary: String,
}

impl Repository {
    fn new() -> Self {
        let place = TempDir::new().unwrap();
        let repository = Self { place };
        for directory in ["ci", "action", "temp"] {
            fs::create_dir(repository.path(directory)).unwrap();
        }
        for script in ["ci/review.sh", "action/review.sh"] {
            fs::copy(shown("review.sh"), repository.path(script)).unwrap();
        }
        let program = env!("CARGO_BIN_EXE_tidegate");
        std::os::unix::fs::symlink(program, repository.path("temp/tidegate")).unwrap();
        repository.write(OLD);
        repository.git(&["init", "--quiet"]);
        repository.git(&["add", "policy.yaml"]);
        let ops = ["-c", "user.name=ops", "-c", "user.email=ops@example.com"];
        repository.git(&[&ops[..], &["commit", "--quiet", "-m", "A policy"]].concat());
        repository
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn write(&self, policy: &str) {
        fs::write(self.path("policy.yaml"), policy).unwrap();
    }

    fn git(&self, arguments: &[&str]) {
        let mut git = Command::new("git");
        git.args(arguments).current_dir(self.place.path());
        assert!(git.status().unwrap().success(), "{arguments:?}");
    }

    /// Runs a line as a shell of the CI does, with these variables and none that holds a token.
    fn run(&self, line: &str, variables: &[(&str, &str)]) -> Reviewed {
        let summary = self.path("summary.md");
        let _ = fs::remove_file(&summary);
        let temp = self.path("temp");
        let path = format!("{}:{}", temp.display(), std::env::var("PATH").unwrap());
        let mut shell = Command::new("sh");
        shell
            .args(["-e", "-c", line])
            .current_dir(self.place.path())
            .env_clear()
            .env("PATH", path)
            .env("RUNNER_TEMP", temp)
            .env("GITHUB_ACTION_PATH", self.path("action"))
            .env("GITHUB_STEP_SUMMARY", &summary)
            .envs(variables.iter().copied());
        let output = shell.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        Reviewed {
            code: output.status.code(),
            said: String::from_utf8(said).unwrap(),
            summary: fs::read_to_string(summary).unwrap_or_default(),
        }
    }
}

fn shown(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci/review");
    directory.join(name)
}

fn read(name: &str) -> Value {
    serde_yaml::from_str(&fs::read_to_string(shown(name)).unwrap()).unwrap()
}

/// The commands as the files have them: of the action, of GitLab's job, of the hook.
fn commands() -> [String; 3] {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let action = read("action.yml");
    let gitlab = read("gitlab.yaml");
    let hook = read("pre-commit-config.yaml");
    let hook = &hook["repos"][0]["hooks"][0];
    assert_eq!(hook["files"], "^policy\\.yaml$");
    [
        text(&action["runs"]["steps"][1]["run"]),
        text(&gitlab["policy-review"]["script"][0]),
        text(&hook["entry"]) + " policy.yaml",
    ]
}

#[test]
fn a_review_tells_what_a_change_newly_allows_and_fails_where_it_is_told_to() {
    let repository = Repository::new();
    let wider = OLD.replace("droplet:read", "droplet:read, droplet:delete");
    let told =
        "+ deploy  droplets_destroy  DELETE /v2/droplets/{droplet_id}  deletes  droplet tag=a";
    let summary = repository.path("summary.md");
    let own = [
        ("POLICY", "policy.yaml"),
        ("SUMMARY", summary.to_str().unwrap()),
    ];
    for command in commands() {
        for (policy, variables, code, part) in [
            (OLD, &[][..], 0, "nothing is newly allowed"),
            (&wider, &[], 0, told),
            (&wider, &[("REFUSE", "true")], 1, told),
            (&wider, &[("REFUSE", "false")], 0, told),
            (
                &wider.replace("read,", "reed,"),
                &[],
                1,
                "did you mean `droplet:read`?",
            ),
            (
                &OLD.replace("tag: a", "tag: ['a', 'a*']"),
                &[("BASE", "nowhere")],
                2,
                "there is no commit nowhere",
            ),
        ] {
            repository.write(policy);
            let variables = [&own[..], variables].concat();
            let reviewed = repository.run(&command, &variables);
            let Reviewed {
                code: came_to,
                said,
                summary,
            } = &reviewed;
            // `xargs` makes 123 of a command's 1 to 125.
            let code = if command.contains("xargs") && code != 0 {
                123
            } else {
                code
            };
            assert_eq!(*came_to, Some(code), "{command}\n{policy}: {said}");
            assert!(said.contains(part), "{command}\n{policy}: {said}");
            if !part.contains("commit") {
                assert!(summary.contains(part), "{command}: {summary}");
            }
        }
    }
}

#[test]
fn a_policy_that_was_not_there_is_all_new_and_warnings_count_where_they_are_to() {
    let repository = Repository::new();
    fs::write(repository.path("other.yaml"), OLD).unwrap();
    let reviewed = repository.run("ci/review.sh other.yaml", &[]);
    assert_eq!(reviewed.code, Some(0), "{}", reviewed.said);
    assert!(
        reviewed.said.contains("all of it is newly allowed"),
        "{}",
        reviewed.said
    );
    let reviewed = repository.run("ci/review.sh other.yaml", &[("REFUSE", "true")]);
    assert_eq!(reviewed.code, Some(1), "{}", reviewed.said);
    let broad = OLD.replace("[droplet:read]", "['*']");
    repository.write(&broad);
    for (strict, code) in [("false", 0), ("true", 1)] {
        let reviewed = repository.run("ci/review.sh policy.yaml", &[("STRICT", strict)]);
        assert_eq!(reviewed.code, Some(code), "{strict}: {}", reviewed.said);
    }
}
