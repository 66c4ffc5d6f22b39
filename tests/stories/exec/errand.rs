//! The errand of the papers: from a token that may everything to the role that a job needs, as it looks.
//!
//! `UPDATE_PAPERS=1 cargo test --test stories exec::errand` writes `examples/errand.txt` anew.

use std::fs;
use std::path::Path;

use regex::Regex;
use tempfile::TempDir;

use super::Run;
use super::learn::JOB;
use crate::support::StandInApi;

/// What is typed, and what of it is run here: before the stand-in, and with the files where they are.
const STEPS: [(&str, &[&str], &str); 3] = [
    (
        "tidegate exec --learn --out role.yaml -- ./job.sh",
        &["--learn", "--out", "role.yaml"],
        "sh job.sh",
    ),
    (
        "tidegate exec --policy role.yaml --role learned -- ./job.sh",
        &["--policy", "role.yaml", "--role", "learned"],
        "sh job.sh",
    ),
    (
        "tidegate exec --policy role.yaml --role learned -- sh -c 'curl -s -X DELETE -H \"Authorization: Bearer $DIGITALOCEAN_TOKEN\" $DIGITALOCEAN_API_URL/v2/droplets/12'",
        &["--policy", "role.yaml", "--role", "learned"],
        "curl -s -X DELETE -H \"Authorization: Bearer $DIGITALOCEAN_TOKEN\" $DIGITALOCEAN_API_URL/v2/droplets/12",
    ),
];

#[tokio::test]
async fn the_errand_of_the_papers_is_what_happens() {
    let api = StandInApi::start().await;
    let place = TempDir::new().unwrap();
    let role = place.path().join("role.yaml");
    let mut told = format!("$ cat job.sh\n{JOB}$ export DIGITALOCEAN_TOKEN=dop_v1_\u{2026}\n");
    for (number, (typed, options, script)) in STEPS.into_iter().enumerate() {
        let own: Vec<_> = options
            .iter()
            .map(|option| match *option {
                "role.yaml" => role.to_str().unwrap(),
                option => option,
            })
            .collect();
        let ran = Run::before(&api, &own)
            .file("job.sh", JOB)
            .shell(script)
            .await;
        told += &["$ ", typed, "\n", &ran.stdout].concat();
        if !ran.stdout.is_empty() && !ran.stdout.ends_with('\n') {
            told.push('\n');
        }
        told += &ran.stderr.replace(role.to_str().unwrap(), "role.yaml");
        if number == 0 {
            told += &["$ cat role.yaml\n", &fs::read_to_string(&role).unwrap()].concat();
        }
    }
    let times = Regex::new(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?").unwrap();
    let told = times.replace_all(&told, "2026-11-29T12:00:00");
    let ids = Regex::new(r#""request_id":"[^"]*""#).unwrap();
    let told = ids.replace_all(&told, "\"request_id\":\"\u{2026}\"");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/errand.txt");
    if std::env::var_os("UPDATE_PAPERS").is_some() {
        fs::write(path, &*told).unwrap();
        return;
    }
    let written = fs::read_to_string(path).unwrap();
    assert!(
        told == written,
        "UPDATE_PAPERS=1 writes it anew; it is now:\n{told}"
    );
}
