//! The audit record of a long run, counted file by file as they are moved away.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::time::sleep;

use crate::lanes::Told;
use crate::support::gate::Signal;
use crate::support::{Gate, StandInApi};

/// What was read of it so far.
pub struct Record {
    /// How many final lines each request has.
    finals: HashMap<u128, u32>,
    decisions: u64,
    moved: usize,
}

/// A row of the report: what, how many, which bound, and whether it was kept.
pub type Counted = (String, u64, &'static str, Option<bool>);

impl Record {
    pub fn new() -> Self {
        Self {
            finals: HashMap::new(),
            decisions: 0,
            moved: 0,
        }
    }

    /// Moves the file away as logrotate does, and reads it once the daemon has a new one.
    pub async fn move_away(&mut self, gate: &Gate) {
        self.moved += 1;
        let current = gate.files().path("audit.jsonl");
        let moved = gate.files().path("moved.jsonl");
        fs::rename(&current, &moved).unwrap();
        gate.signal(Signal::Hup);
        let began = Instant::now();
        while !current.exists() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "no new audit file"
            );
            sleep(Duration::from_millis(5)).await;
        }
        self.read(&moved);
        fs::remove_file(&moved).unwrap();
    }

    fn read(&mut self, file: &PathBuf) {
        let text = fs::read_to_string(file).unwrap();
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "half a line was left"
        );
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["event"] == "answer" {
                let id = line["request_id"].as_str().unwrap();
                *self.finals.entry(number(id)).or_default() += 1;
            } else {
                self.decisions += 1;
            }
        }
    }

    /// Ends the daemon, and compares the whole record with what clients were told.
    pub async fn close(mut self, gate: Gate, api: &StandInApi, told: &Told) -> Vec<Counted> {
        let mut gate = gate;
        gate.signal(Signal::Term);
        assert!(gate.wait_exit().await.success());
        self.read(&gate.files().path("audit.jsonl"));
        gate.finish(api).await;
        let one = |id: &&u128| self.finals.get(id) == Some(&1);
        let without = told.answered.iter().filter(|id| !one(id)).count();
        let known: std::collections::HashSet<_> = told.answered.iter().collect();
        let more = self.finals.keys().filter(|id| !known.contains(id)).count();
        let twice = self.finals.values().filter(|count| **count > 1).count();
        vec![
            (
                "requests answered".into(),
                told.answered.len() as u64,
                "",
                None,
            ),
            (
                "of them without exactly one final line".into(),
                without as u64,
                "none",
                Some(without == 0),
            ),
            (
                "requests with two final lines".into(),
                twice as u64,
                "none",
                Some(twice == 0),
            ),
            (
                "final lines of clients that had left".into(),
                more as u64,
                "as many as left at most",
                Some(more as u64 <= told.left),
            ),
            ("lines before writes".into(), self.decisions, "", None),
            ("audit files moved away".into(), self.moved as u64, "", None),
        ]
    }
}

/// A request's id as a number, which takes a third of the memory.
pub fn number(id: &str) -> u128 {
    u128::from_str_radix(id, 16).unwrap()
}
