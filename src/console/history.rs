use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;
use memchr::memchr_iter;
use memchr::memmem::find;
use serde_json::Value;
use tokio::sync::broadcast;
use tracing::error;

use crate::audit::{Newest, Seen, Wanted};

/// The last lines of the record, as they were written, and how many requests there were in each minute of the last hour.
///
/// The record's writer hands over what it wrote and goes on: while too much waits here, lines are passed over and counted, so that
/// neither the writer nor a request ever waits for a page, and memory is bounded. Lines are kept as bytes and read when somebody asks.
pub struct History {
    lines: Mutex<RecentLines>,
    minutes: Mutex<VecDeque<Minute>>,
    /// The bytes that were handed over and are not taken in yet.
    waiting: AtomicUsize,
    passed_over: AtomicU64,
    live: broadcast::Sender<RecordLine>,
}

/// A line of the record, without its end; for who looks on an empty one stands for one that is too long.
pub(super) type RecordLine = Arc<[u8]>;

#[derive(Default)]
struct RecentLines {
    kept: VecDeque<RecordLine>,
    bytes: usize,
}

/// A minute, counted from 1970 on, and what became of the requests that ended in it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Minute {
    /// Which one.
    pub number: i64,
    /// Requests let through.
    pub allowed: u64,
    /// Requests refused.
    pub refused: u64,
}

/// The lines that are kept, and their bytes with what it takes to keep one.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 16 << 20;
const KEEPING: usize = 64;
/// The bytes that may wait to be taken in.
const MOST_WAITING: usize = 4 << 20;
/// The lines that may wait for one who looks on, none of them longer than this: 4 MiB in all.
const LIVE: usize = 1024;
const LIVE_BYTES: usize = 4 << 10;
/// The minutes that are counted.
pub(super) const MINUTES: usize = 60;

impl Default for History {
    fn default() -> Self {
        Self {
            lines: Mutex::default(),
            minutes: Mutex::default(),
            waiting: AtomicUsize::new(0),
            passed_over: AtomicU64::new(0),
            live: broadcast::Sender::new(LIVE),
        }
    }
}

/// What was found among the lines that are kept.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// The records, the newest first.
    pub records: Vec<Value>,
    /// The time of the oldest line that is kept; what is older is in the record's files alone.
    pub since: Option<String>,
    /// Whether these are as many as were asked for, and none between them is missing.
    pub is_whole: bool,
}

impl History {
    /// Who takes in what the record's writer wrote: on a thread of its own, as long as the writer lives.
    pub fn seen(self: Arc<Self>) -> Seen {
        let (handed, lines) = channel::<Vec<u8>>();
        let history = self.clone();
        let spawned = thread::Builder::new()
            .name("history".into())
            .spawn(move || history.take_all(&lines));
        if let Err(error) = spawned {
            error!(%error, "the console can't keep the last lines of the record");
        }
        Box::new(move |lines| {
            let count = lines.len();
            let before = self.waiting.fetch_add(count, Ordering::AcqRel);
            if before + count > MOST_WAITING {
                self.waiting.fetch_sub(count, Ordering::AcqRel);
                let lines = memchr_iter(b'\n', &lines).count() as u64;
                self.passed_over.fetch_add(lines, Ordering::Relaxed);
            } else {
                let _ = handed.send(lines); // whoever takes them lives as long as the writer
            }
        })
    }

    fn take_all(&self, handed: &Receiver<Vec<u8>>) {
        while let Ok(lines) = handed.recv() {
            self.take(&lines, Timestamp::now());
            self.waiting.fetch_sub(lines.len(), Ordering::AcqRel);
        }
    }

    fn take(&self, written: &[u8], now: Timestamp) {
        let (mut allowed, mut refused) = (0, 0);
        let mut taken = Vec::new();
        for line in written.split(|byte| *byte == b'\n') {
            if line.is_empty() {
                continue;
            }
            // Within a text a quote is escaped, so that these stand for themselves alone.
            if find(line, b"\"event\":\"answer\"").is_some() {
                let is_refused = find(line, b"\"decision\":\"deny\"").is_some();
                refused += u64::from(is_refused);
                allowed += u64::from(find(line, b"\"decision\":\"allow\"").is_some());
            }
            let line = RecordLine::from(line);
            if self.live.receiver_count() > 0 {
                let is_short = line.len() <= LIVE_BYTES;
                let shown = if is_short {
                    line.clone()
                } else {
                    RecordLine::from([])
                };
                let _ = self.live.send(shown); // who looked on may have left
            }
            taken.push(line);
        }
        self.count(now, allowed, refused);
        let mut lines = locked(&self.lines);
        for line in taken {
            lines.keep(line);
        }
    }

    fn count(&self, now: Timestamp, allowed: u64, refused: u64) {
        let number = now.as_second().div_euclid(60);
        let mut minutes = locked(&self.minutes);
        if minutes.back().is_none_or(|last| last.number < number) {
            minutes.push_back(Minute {
                number,
                ..Minute::default()
            });
        }
        if let Some(last) = minutes.back_mut() {
            last.allowed += allowed;
            last.refused += refused;
        }
        while minutes.len() > MINUTES {
            minutes.pop_front();
        }
    }

    /// Each of the last sixty minutes, the oldest first.
    pub(super) fn minutes(&self, now: Timestamp) -> Vec<Minute> {
        let number = now.as_second().div_euclid(60);
        let counted = locked(&self.minutes);
        let count = i64::try_from(MINUTES).unwrap_or(i64::MAX);
        (number - count + 1..=number)
            .map(|number| {
                let there = counted.iter().find(|minute| minute.number == number);
                there.copied().unwrap_or(Minute {
                    number,
                    ..Minute::default()
                })
            })
            .collect()
    }

    /// How many lines were passed over, as they came faster than they could be taken in.
    pub fn passed_over(&self) -> u64 {
        self.passed_over.load(Ordering::Relaxed)
    }

    /// The newest records that are wanted, and of these at most so many. What was sent on and has no final line yet is among them.
    pub(super) fn recent(&self, wanted: &Wanted, most: usize) -> Recent {
        let lines: Vec<_> = locked(&self.lines).kept.iter().cloned().collect();
        let mut newest = Newest::new(wanted, most);
        for line in lines.iter().rev() {
            if newest.has_enough_before(line) {
                break;
            }
            newest.take(line);
        }
        Recent {
            // Where lines were passed over, what is kept has holes.
            is_whole: newest.is_full() && self.passed_over() == 0,
            records: newest.into_records(),
            since: lines.first().and_then(|line| time_of(line)),
        }
    }

    /// The time of the oldest line that is kept.
    pub fn since(&self) -> Option<String> {
        let oldest = locked(&self.lines).kept.front().cloned();
        oldest.and_then(|line| time_of(&line))
    }

    /// The lines as they come from now on.
    pub fn follow(&self) -> broadcast::Receiver<RecordLine> {
        self.live.subscribe()
    }
}

impl RecentLines {
    fn keep(&mut self, line: RecordLine) {
        self.bytes += line.len() + KEEPING;
        self.kept.push_back(line);
        while self.kept.len() > MOST || self.bytes > MOST_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                return;
            };
            self.bytes = self.bytes.saturating_sub(oldest.len() + KEEPING);
        }
    }
}

fn time_of(line: &[u8]) -> Option<String> {
    let record: Value = serde_json::from_slice(line).ok()?;
    Some(record.get("time")?.as_str()?.to_owned())
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::text;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn line(number: usize, decision: &str, padding: usize) -> Vec<u8> {
        let x = "x".repeat(padding);
        format!("{{\"time\":\"t{number:05}\",\"event\":\"answer\",\"request_id\":\"{number}\",\"token\":{{\"id\":\"a\",\"name\":\"ci\"}},\"decision\":\"{decision}\",\"detail\":\"{x}\"}}\n").into_bytes()
    }

    #[test]
    fn the_last_lines_are_kept_by_count_and_by_bytes() {
        let cases = [
            (10, 0, 10),
            (MOST + 5, 0, MOST),
            (40, 1 << 20, 15), // with what else is in a line sixteen are too many
        ];
        for (count, padding, kept) in cases {
            let history = History::default();
            for number in 0..count {
                history.take(&line(number, "allow", padding), at(0));
            }
            let lines = locked(&history.lines);
            assert_eq!(lines.kept.len(), kept, "{count} lines of {padding}");
            assert!(lines.bytes <= MOST_BYTES, "{count} lines of {padding}");
            drop(lines);
            let recent = history.recent(&Wanted::default(), 3);
            assert_eq!(recent.records.len(), 3);
            let newest = count - 1;
            assert_eq!(recent.records[0]["request_id"], newest.to_string());
            assert_eq!(recent.since, Some(format!("t{:05}", count - kept)));
        }
    }

    #[test]
    fn requests_are_counted_by_the_minute_for_an_hour() {
        let history = History::default();
        history.take(&line(1, "allow", 0), at(30));
        history.take(&[line(2, "deny", 0), line(3, "allow", 0)].concat(), at(59));
        history.take(&line(4, "deny", 0), at(61));
        // A text that says so is none of these words.
        let said = line(5, "allow", 0);
        let said = String::from_utf8(said).unwrap();
        let said = said.replace(
            "\"detail\":\"",
            "\"detail\":\"\\\"decision\\\":\\\"deny\\\"",
        );
        history.take(said.as_bytes(), at(61));
        let minutes = history.minutes(at(119));
        assert_eq!(minutes.len(), MINUTES);
        let told = |minute: &Minute| (minute.number, minute.allowed, minute.refused);
        assert_eq!(
            minutes.iter().rev().take(3).map(told).collect::<Vec<_>>(),
            [(1, 1, 1), (0, 2, 1), (-1, 0, 0)]
        );
        assert_eq!(
            history
                .minutes(at(60 * 61))
                .iter()
                .map(|m| m.allowed)
                .sum::<u64>(),
            0
        );
    }

    #[test]
    fn a_request_is_told_once_by_its_last_line_and_by_its_first_while_it_has_no_other() {
        let history = History::default();
        for (id, event) in [("1", "decision"), ("1", "answer"), ("2", "decision")] {
            let line =
                format!("{{\"time\":\"t\",\"event\":\"{event}\",\"request_id\":\"{id}\"}}\n");
            history.take(line.as_bytes(), at(0));
        }
        let recent = history.recent(&Wanted::default(), 9);
        let told: Vec<_> = recent
            .records
            .iter()
            .map(|record| format!("{}{}", text(record, "request_id"), text(record, "event")))
            .collect();
        assert_eq!(told, ["2decision", "1answer"]);
    }
}
