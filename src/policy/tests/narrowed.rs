//! The decision over narrowed grants. `decisions/` beside this is its specification: a file a rule, a row a request.
//!
//! A line `+ KIND [in PARENT…] JSON` says what there is in the account, `+ PROJECT holds URN…` what is in a project, `+ answer /path JSON` what is shown there; these
//! hold to the end of the file. `role ROLE`, or `role NAME=VALUE… ROLE` with its variables, begins a group; each row below it
//! is `METHOD /path [BODY] => VERDICT # why`. A verdict is `allow`, or the code of the refusal and the scopes that it says
//! would do; of a row `SEE /path`, how much of the resource at that path an answer may show.

use std::path::Path;

use super::super::*;
use super::policy_of;
use super::world::{Thing, World, asked};
use crate::catalog::KindId;

#[test]
fn narrowed_grants_decide_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/policy/tests/decisions");
    let mut wrong = Vec::new();
    let mut rows = 0;
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let mut page = Page::default();
        for (number, line) in text.lines().enumerate() {
            if let Some(decided) = page.line(line.trim(), &format!("{name}:{}", number + 1)) {
                rows += 1;
                wrong.extend(decided.err());
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {rows} rows:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(rows > 300, "only {rows} rows were read");
}

#[derive(Default)]
struct Page {
    world: World,
    role: Option<(String, Grants)>,
}

impl Page {
    /// Reads one line; of a row, what it came to.
    fn line(&mut self, line: &str, at: &str) -> Option<Result<(), String>> {
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        if let Some(fact) = line.strip_prefix("+ ") {
            self.fact(fact, at);
            return None;
        }
        if let Some(role) = line.strip_prefix("role ") {
            self.role = Some((role.to_owned(), grants_of(role)));
            return None;
        }
        Some(self.row(line, at))
    }

    fn fact(&mut self, fact: &str, at: &str) {
        if let Some((project, urns)) = fact.split_once(" holds ") {
            for urn in urns.split_whitespace() {
                self.world
                    .projects
                    .insert(urn.to_owned(), project.to_owned());
            }
            return;
        }
        if let Some((path, json)) = fact
            .strip_prefix("answer ")
            .and_then(|it| it.split_once(' '))
        {
            let json = serde_json::from_str(json).unwrap();
            self.world.answers.insert(path.to_owned(), json);
            return;
        }
        let json = fact
            .find('{')
            .unwrap_or_else(|| panic!("{at}: a fact has its JSON"));
        let (head, json) = fact.split_at(json);
        let mut words = head.split_whitespace();
        let kind = KindId::from_name(words.next().unwrap()).unwrap();
        let parents: Vec<&str> = words.skip(1).collect();
        let json = serde_json::from_str(json).unwrap_or_else(|error| panic!("{at}: {error}"));
        self.world.things.push(Thing::known(kind, &parents, json));
    }

    fn row(&self, line: &str, at: &str) -> Result<(), String> {
        let (role, grants) = self
            .role
            .as_ref()
            .unwrap_or_else(|| panic!("{at}: no role yet"));
        let (request, rest) = line
            .split_once(" => ")
            .unwrap_or_else(|| panic!("{at}: `{line}` has no verdict"));
        let (expected, why) = rest
            .split_once(" # ")
            .unwrap_or_else(|| panic!("{at}: `{line}` gives no reason"));
        let (expected, why) = (expected.trim(), why.trim());
        let (head, body) = request
            .find(" {")
            .map_or((request, ""), |body| request.split_at(body));
        let got = match head.strip_prefix("SEE ") {
            Some(path) => seen(self.world.shown(grants, &format!("GET {}", path.trim()))),
            None => verdict(&self.world, grants, head.trim(), body.trim()),
        };
        self.children_may_no_more(grants, head, body.trim(), &got)
            .map_err(|how| format!("{at}: {how}\n    role {role}"))?;
        if got == expected {
            return Ok(());
        }
        Err(format!(
            "{at}: {} is {got}, not {expected} ({why})\n    role {role}",
            request.trim()
        ))
    }
}

/// What children say of themselves, each of which must hold to the law that it may no more than its parent.
const NARROWINGS: [&str; 11] = [
    "{}",
    r#"{"scopes":["*"]}"#,
    r#"{"scopes":["*:read"]}"#,
    r#"{"scopes":["droplet:*","domain:*","tag:read","tag:create"]}"#,
    r#"{"requests":["(GET|POST|PUT|PATCH|DELETE) /v2/.*"]}"#,
    r#"{"only":{"droplet":"any","image":"any","volume":"any","domain":"any","firewall":"any"}}"#,
    r#"{"only":{"tag":["web","client-a"]}}"#,
    r#"{"only":{"droplet":{"name":"a-*"}},"scopes":["droplet:*"],"requests":["GET /v2/droplets.*"]}"#,
    r#"{"actions":["power_off","snapshot"]}"#,
    r#"{"only":{"droplet":{"tag":"web"},"volume":{"name":"b-*"},"image":"any","vpc":"any","tag":{"name":"web"}}}"#,
    r#"{"only":{"droplet":"any","volume":{"name":"b-*"},"image":"any","vpc":"any"}}"#,
];

impl Page {
    /// Whatever a child says of itself, it is allowed and shown no more than its parent, and than what it says.
    fn children_may_no_more(
        &self,
        grants: &Grants,
        head: &str,
        body: &str,
        got: &str,
    ) -> Result<(), String> {
        for text in NARROWINGS {
            let own = read_narrowing(text, &super::CATALOG).unwrap();
            let child = super::super::narrowed(grants, &own).unwrap();
            if let Some(path) = head.strip_prefix("SEE ") {
                let request = format!("GET {}", path.trim());
                let shown = self.world.shown(&child, &request);
                let most = self.world.shown(grants, &request);
                let rank = |shown| match shown {
                    Shown::Hidden => 0,
                    Shown::WithoutChildren => 1,
                    Shown::Whole => 2,
                };
                if rank(shown) > rank(most) || text == "{}" && shown != most {
                    return Err(format!(
                        "a child of {text} is shown {shown:?} of {path}, its parent {most:?}"
                    ));
                }
                continue;
            }
            let (request, adds) = (
                head.trim(),
                !grants.added_tags().is_empty() || !grants.added_projects().is_empty(),
            );
            let allowed = self.world.allows(&child, request, body);
            let by_itself = adds
                || child
                    .within
                    .iter()
                    .all(|set| self.world.allows(set, request, body));
            if allowed && (got != "allow" || !by_itself)
                || text == "{}" && allowed != (got == "allow")
            {
                return Err(format!(
                    "a child of {text} is allowed {request} {body}: {allowed}, its parent: {got}, by what it says: {by_itself}"
                ));
            }
        }
        Ok(())
    }
}

fn seen(shown: Shown) -> String {
    let seen = match shown {
        Shown::Whole => "whole",
        Shown::WithoutChildren => "without children",
        Shown::Hidden => "hidden",
    };
    seen.to_owned()
}

fn grants_of(role: &str) -> Grants {
    let mut vars = Vars::new();
    let mut rest = role;
    while let Some((word, after)) = rest.split_once(' ')
        && let Some((name, value)) = word.split_once('=')
    {
        vars.insert(name.to_owned(), value.to_owned());
        rest = after;
    }
    let declared: Vec<&str> = vars.keys().map(String::as_str).collect();
    let declared = match declared.as_slice() {
        [] => String::new(),
        names => format!("vars: [{}], ", names.join(", ")),
    };
    let policy = policy_of(&format!("  r: {{ {declared}{rest} }}\n"));
    bind(&policy, &["r".to_owned()], &vars).unwrap()
}

/// `allow`, or the code of the refusal and what would have done.
fn verdict(world: &World, grants: &Grants, request: &str, body: &str) -> String {
    match world.decide(grants, &asked(request, body)) {
        Decision::Allow(_) => "allow".to_owned(),
        Decision::Deny(refusal) => {
            let needs: Vec<_> = refusal.needs.iter().map(ToString::to_string).collect();
            format!("{} {}", refusal.code, needs.join("+"))
                .trim_end()
                .to_owned()
        }
    }
}
