//! Clients whose address is fixed: no variable leads them to the gate, and they hand what token they have to the API itself.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::cli::say;

/// Their names, and what they are.
const TABLE: &str = include_str!("fixed_hosts.tsv");
/// How often it is looked which programs run.
const INTERVAL: Duration = Duration::from_millis(200);
/// How many programs are looked at each time.
const MOST: usize = 4096;

/// The row of a program that has one of these names: as what it is called by, or as the script that an interpreter runs.
fn row<'w>(words: impl Iterator<Item = &'w OsStr>) -> Option<(&'static str, &'static str)> {
    let names: Vec<_> = words
        .take(3)
        .filter_map(|word| Path::new(word).file_name())
        .collect();
    let mut rows = TABLE.lines().filter_map(|line| line.split_once('\t'));
    rows.find(|(name, _)| names.iter().any(|own| own == name))
}

/// Says so of each such program that the command runs, once, for as long as this is there: of the command itself by its name, of
/// what it runs by looking which processes it has.
pub(super) struct FixedHostWatch {
    _ends: Option<Sender<()>>,
}

impl FixedHostWatch {
    /// Begins.
    pub fn over(command: &[OsString]) -> Self {
        let mut told = BTreeSet::new();
        if let Some(row) = row(command.iter().map(OsString::as_os_str)) {
            tell(row, &mut told);
        }
        let (ends, ended) = channel::<()>();
        let look = move || {
            while ended.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                for pid in below(std::process::id()) {
                    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    if let Some(row) = row(words.split(|byte| *byte == 0).map(OsStr::from_bytes)) {
                        tell(row, &mut told);
                    }
                }
            }
        };
        let started = thread::Builder::new().name("programs".into()).spawn(look);
        Self {
            _ends: started.is_ok().then_some(ends),
        }
    }
}

fn tell((name, why): (&'static str, &'static str), told: &mut BTreeSet<&'static str>) {
    if told.insert(name) {
        say(format!(
            "tidegate exec: `{name}` goes to api.digitalocean.com whatever its environment says ({why}), past the gate and with the sub-token, which is refused there; give `--intercept`"
        ));
    }
}

/// The processes that a process has started, and that these have.
fn below(pid: u32) -> Vec<u32> {
    let mut all = Vec::new();
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten();
        for task in tasks.flatten() {
            let listed = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children = listed
                .split_whitespace()
                .filter_map(|word| word.parse::<u32>().ok());
            next.extend(children);
        }
        if all.len() + next.len() > MOST {
            break;
        }
        all.extend(&next);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_name_and_by_the_script_that_it_is() {
        let cases: [(&[&str], Option<&str>); 7] = [
            (&["acme.sh", "--issue"], Some("acme.sh")),
            (&[".acme.sh/acme.sh", "--issue"], Some("acme.sh")),
            (&["sh", ".acme.sh/acme.sh"], Some("acme.sh")),
            (&["python3", "-I", "/venv/bin/lexicon"], Some("lexicon")),
            (&["sh", "-c", "acme.sh --issue"], None), // until it runs
            (&["my-acme.sh"], None),
            (&[], None),
        ];
        for (words, expected) in cases {
            let found = row(words.iter().map(OsStr::new));
            assert_eq!(found.map(|(name, _)| name), expected, "{words:?}");
        }
    }
}
