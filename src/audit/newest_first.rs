use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};
use memchr::memchr;
use memchr::memmem::find;
use serde_json::Value;

use super::filter::{Wanted, text};

/// The newest records that are wanted, each request once: by its final line, and by its first while it has no other.
///
/// Lines may come in any order; most come from the newest back. No more are kept than are asked for.
pub struct Newest<'w> {
    wanted: &'w Wanted,
    most: usize,
    /// The token that is looked for, as a line has it.
    named: Option<Vec<u8>>,
    /// The requests that have a final line which is wanted.
    answered: HashSet<String>,
    /// How many have none yet.
    open: usize,
    /// With their times, the newest first.
    found: Vec<(String, Value)>,
}

/// Lines are written in the order of their times but for less than this.
const DISORDER: SignedDuration = SignedDuration::from_secs(1);

impl<'w> Newest<'w> {
    /// At most so many, but for those of the very same time as the last.
    pub fn new(wanted: &'w Wanted, most: usize) -> Self {
        Self {
            wanted,
            most: most.max(1),
            named: wanted.token.as_deref().map(quoted),
            answered: HashSet::new(),
            open: 0,
            found: Vec::new(),
        }
    }

    /// Others of the same, that are put to these later.
    pub(super) fn beside(&self) -> Self {
        Self::new(self.wanted, self.most)
    }

    /// What is looked for.
    pub(super) fn wanted(&self) -> &'w Wanted {
        self.wanted
    }

    /// Takes a line, if it is one of them.
    pub fn take(&mut self, line: &[u8]) {
        let has = |part: &[u8]| find(line, part).is_some();
        let is_worth_reading = self.named.as_deref().is_none_or(has)
            && (!self.wanted.refused || has(b"\"decision\":\"deny\""));
        if !is_worth_reading {
            return;
        }
        if let Ok(record) = serde_json::from_slice::<Value>(line) {
            self.put(record);
        }
    }

    /// Puts in what was found elsewhere.
    pub(super) fn put_all(&mut self, others: Self) {
        for (_, record) in others.found {
            self.put(record);
        }
    }

    fn put(&mut self, record: Value) {
        if !self.wanted.fits_at_any_end(&record) {
            return;
        }
        let id = text(&record, "request_id");
        let is_open = text(&record, "event") == "decision";
        if is_open && self.answered.contains(id) {
            return;
        }
        if !is_open {
            if self.open > 0 {
                let same = |known: &Value| {
                    text(known, "event") == "decision" && text(known, "request_id") == id
                };
                self.found.retain(|(_, known)| !same(known));
            }
            self.answered.insert(id.to_owned());
        }
        if !self.wanted.is_before_its_end(&record) {
            return;
        }
        self.open += usize::from(is_open);
        let time = text(&record, "time").to_owned();
        let place = self.found.partition_point(|(known, _)| *known >= time);
        self.found.insert(place, (time, record));
        let Some((last, _)) = self.found.get(self.most - 1) else {
            return;
        };
        let last = last.clone();
        while self.found.last().is_some_and(|(time, _)| *time < last) {
            self.found.pop();
        }
        // What is older than all of these is nothing to be told.
    }

    /// Whether no line that was written before this one can be among them.
    pub fn has_enough_before(&self, line: &[u8]) -> bool {
        self.is_full() && time_of(line).is_some_and(|time| self.is_full_before(time))
    }

    /// Whether nothing that was written before a line of this time can be among them.
    pub(super) fn is_full_before(&self, time: &str) -> bool {
        let Some((last, _)) = self.found.get(self.most - 1) else {
            return false;
        };
        let last = last.parse::<Timestamp>().ok();
        let sure = last.and_then(|last| last.checked_sub(DISORDER).ok());
        sure.is_some_and(|sure| *time < *format!("{sure:.6}"))
    }

    /// Whether there are as many as were asked for.
    pub fn is_full(&self) -> bool {
        self.found.len() >= self.most
    }

    /// The time of the oldest.
    pub fn oldest(&self) -> Option<&str> {
        self.found.last().map(|(time, _)| time.as_str())
    }

    /// All of them, the newest first.
    pub fn into_records(self) -> Vec<Value> {
        self.found.into_iter().map(|(_, record)| record).collect()
    }
}

/// The time of a line, as it was written.
pub(super) fn time_of(line: &[u8]) -> Option<&str> {
    let (time, _) = text_of(line.strip_prefix(b"{\"time\":\"")?)?;
    str::from_utf8(time).ok()
}

/// A JSON text up to its quote, and what follows it.
pub(super) fn text_of(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let quote = from + memchr(b'"', bytes.get(from..)?)?;
        let before = bytes.get(..quote)?;
        let slashes = before
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\')
            .count();
        if slashes.is_multiple_of(2) {
            return Some((before, bytes.get(quote + 1..)?));
        }
        from = quote + 1;
    }
}

/// A text as JSON writes it.
pub(super) fn quoted(text: &str) -> Vec<u8> {
    Value::from(text).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(second: u32, event: &str, id: &str) -> Vec<u8> {
        format!("{{\"time\":\"2027-01-31T00:00:{second:02}.000000Z\",\"event\":\"{event}\",\"request_id\":\"{id}\"}}").into_bytes()
    }

    fn told(newest: Newest<'_>) -> Vec<String> {
        let told =
            |record: &Value| format!("{}{}", text(record, "request_id"), text(record, "event"));
        newest.into_records().iter().map(told).collect()
    }

    #[test]
    fn a_request_is_told_once_whichever_of_its_lines_comes_first() {
        let lines = [
            line(1, "decision", "a"),
            line(2, "decision", "b"),
            line(3, "answer", "a"),
            line(4, "answer", "c"),
        ];
        let wanted = Wanted::default();
        let (mut back, mut forth) = (Newest::new(&wanted, 9), Newest::new(&wanted, 9));
        for line in lines.iter().rev() {
            back.take(line);
        }
        for line in &lines {
            forth.take(line);
        }
        assert_eq!(told(back), ["canswer", "aanswer", "bdecision"]);
        assert_eq!(told(forth), ["canswer", "aanswer", "bdecision"]);
    }

    #[test]
    fn what_was_answered_later_is_not_told_as_under_way() {
        let wanted = Wanted {
            before: Some("2027-01-31T00:00:02.000000Z".to_owned()),
            ..Wanted::default()
        };
        let mut newest = Newest::new(&wanted, 9);
        for line in [
            line(3, "answer", "a"),
            line(1, "decision", "a"),
            line(0, "answer", "z"),
        ] {
            newest.take(&line);
        }
        assert_eq!(told(newest), ["zanswer"]);
    }

    #[test]
    fn no_more_are_kept_than_are_asked_for_and_none_of_the_same_time_is_parted() {
        let wanted = Wanted::default();
        let mut newest = Newest::new(&wanted, 2);
        for second in [1, 5, 3, 5, 4, 5] {
            newest.take(&line(second, "answer", &second.to_string()));
        }
        assert!(newest.is_full() && newest.found.len() == 3);
        for (second, full) in [(5, false), (4, false), (3, true)] {
            let time = format!("2027-01-31T00:00:{second:02}.000000Z");
            assert_eq!(newest.is_full_before(&time), full, "{second}");
        }
        assert_eq!(told(newest), ["5answer", "5answer", "5answer"]);
    }
}
