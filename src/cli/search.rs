use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::{Failed, Outcome, counted, print, say, values};
use crate::audit::{Wanted, changes_something, files, text};
use crate::operate::record_files;
use crate::rules;
use crate::secret::redacted;
use crate::token::SubToken;
use crate::units::Span;

#[derive(Args)]
pub(super) struct Arguments {
    /// The files, the oldest first; `-` is standard input. Without one: the file of the configuration and those that were moved
    /// away from it. What gzip packed is unpacked.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only requests of this sub-token: its name or id, or the sub-token itself.
    #[arg(long, value_name = "TOKEN", add = values::tokens())]
    token: Option<String>,
    /// Only requests from then on: a time, as `2027-01-31T00:00:00Z`, or how long ago, as `7d`.
    #[arg(long, value_name = "WHEN")]
    since: Option<Since>,
    /// Only requests that would change something.
    #[arg(long)]
    changes: bool,
    /// Only requests that were refused.
    #[arg(long)]
    refused: bool,
    /// Only requests that touched this: `droplet:12`, a kind, or a name or id of any.
    #[arg(long, value_name = "RESOURCE", add = values::kinds())]
    resource: Option<String>,
    /// Print the lines as they were recorded.
    #[arg(long)]
    json: bool,
}

/// From when on.
#[derive(Clone, Copy)]
pub(super) struct Since(pub(super) Timestamp);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self(time));
        }
        let ago = text.parse::<Span>().ok();
        let since = ago.and_then(|ago| Timestamp::now().checked_sub(ago.duration()).ok());
        since.map(Self).ok_or_else(|| {
            "it is a time, as `2027-01-31T00:00:00Z`, or how long ago, as `7d`".to_owned()
        })
    }
}

pub(super) fn run(config: &Path, arguments: &Arguments) -> Result<Outcome, Failed> {
    let mut search = RecordSearch::for_what(arguments)?;
    let paths = match arguments.files.as_slice() {
        [] => of_configuration(config)?,
        paths => paths.to_vec(),
    };
    for path in &paths {
        let name = path.display().to_string();
        let read = files::open(path).map(|lines| search.read(&name, lines));
        match read {
            Ok(found) => found?,
            Err(error) => {
                say(format!("the audit file `{name}` can't be read: {error}"));
                return Ok(Outcome::Unknown);
            }
        }
    }
    search.finish()?;
    Ok(Outcome::Good)
}

pub(super) fn of_configuration(config: &Path) -> Result<Vec<PathBuf>, Failed> {
    record_files(&rules::settings(config)?)
}

/// What is looked for, and what was found so far.
struct RecordSearch<'a> {
    wanted: &'a Arguments,
    looked_for: Wanted,
    /// The lines of requests that were let go, until their final line comes.
    open: HashMap<String, (u64, Value)>,
    lines: u64,
    /// The lines that are no records, and the first of them.
    unreadable: u64,
    first_unreadable: Option<String>,
    found: Tally,
}

/// What is said of all requests that were found.
#[derive(Default)]
struct Tally {
    allowed: usize,
    refused: usize,
    changed: usize,
    from: BTreeSet<String>,
    endpoints: BTreeMap<String, usize>,
    times: Option<(String, String)>,
}

impl<'a> RecordSearch<'a> {
    fn for_what(wanted: &'a Arguments) -> Result<Self, Failed> {
        let token = match &wanted.token {
            Some(text) if text.contains("_v1_") => {
                let read = SubToken::read(text.trim());
                let token = read.map_err(|why| {
                    Failed::because(format!("this sub-token can't be read: {why}"))
                })?;
                Some(token.id.to_string())
            }
            token => token.clone(),
        };
        Ok(Self {
            wanted,
            looked_for: Wanted {
                token,
                since: wanted.since.map(|Since(time)| format!("{time:.6}")),
                before: None,
                changes: wanted.changes,
                refused: wanted.refused,
                resource: wanted.resource.clone(),
            },
            open: HashMap::new(),
            lines: 0,
            unreadable: 0,
            first_unreadable: None,
            found: Tally::default(),
        })
    }

    fn read(&mut self, file: &str, mut lines: impl BufRead) -> Result<(), Failed> {
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line);
            if read.map_err(|error| unreadable(file, &error))? == 0 {
                return Ok(());
            }
            number += 1;
            self.lines += 1;
            match serde_json::from_slice::<Value>(&line) {
                Ok(record) if record.get("time").is_some_and(Value::is_string) => {
                    self.record(record)?;
                }
                Ok(_) | Err(_) => {
                    self.unreadable += 1;
                    self.first_unreadable
                        .get_or_insert_with(|| format!("{file}:{number}"));
                }
            }
        }
    }

    fn record(&mut self, record: Value) -> Result<(), Failed> {
        let id = text(&record, "request_id").to_owned();
        if text(&record, "event") == "decision" {
            if self.looked_for.fits(&record) {
                self.open.insert(id, (self.lines, record));
            }
            return Ok(());
        }
        self.open.remove(&id);
        if self.looked_for.fits(&record) {
            self.tell(&record)?;
        }
        Ok(())
    }

    fn tell(&mut self, record: &Value) -> Result<(), Failed> {
        self.found.add(record);
        if self.wanted.json {
            return print(record);
        }
        print(in_a_line(record))
    }

    /// What was sent and has no final line was cut off by a crash, or is under way.
    fn finish(mut self) -> Result<(), Failed> {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_values().collect();
        open.sort_by_key(|(line, _)| *line);
        let sent = open.len();
        for (_, record) in &open {
            self.tell(record)?;
        }
        if sent > 0 {
            say(format!(
                "{}, the last, without a final line: under way, or cut off by a crash",
                counted(sent, "request")
            ));
        }
        if let Some(first) = &self.first_unreadable {
            let lines = counted(
                usize::try_from(self.unreadable).unwrap_or(usize::MAX),
                "line",
            );
            say(format!(
                "{lines} can't be read as records, the first at {first}; `tidegate audit verify` tells more where the record is chained"
            ));
        }
        self.found.say();
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, record: &Value) {
        let time = text(record, "time").to_owned();
        match &mut self.times {
            None => self.times = Some((time.clone(), time)),
            Some((_, last)) => *last = time,
        }
        if text(record, "decision") == "allow" {
            self.allowed += 1;
            self.changed += usize::from(changes_something(record));
        } else {
            self.refused += 1;
        }
        self.from.insert(text(record, "client_ip").to_owned());
        *self
            .endpoints
            .entry(text(record, "endpoint").to_owned())
            .or_default() += 1;
    }

    fn say(&self) {
        let Some((first, last)) = &self.times else {
            say("no request in the record is so");
            return;
        };
        let requests = counted(self.allowed + self.refused, "request");
        let from: Vec<_> = self
            .from
            .iter()
            .filter(|from| !from.is_empty())
            .take(MOST)
            .map(String::as_str)
            .collect();
        let more = match self.from.len().saturating_sub(MOST) {
            0 => String::new(),
            more => format!(" and {more} more addresses"),
        };
        say(format!(
            "{requests} from {first} to {last}: {} let through, {} of these to change something; {} refused; from {}{more}",
            self.allowed,
            self.changed,
            self.refused,
            from.join(", ")
        ));
    }
}

/// How many addresses are told.
const MOST: usize = 8;

fn unreadable(file: &str, error: &io::Error) -> Failed {
    Failed::because(format!("the audit file `{file}` can't be read: {error}"))
}

/// A record for people: when, who, from where, what, and what came of it.
fn in_a_line(record: &Value) -> String {
    let token = record.get("token").map_or("-", |token| text(token, "name"));
    let status = record
        .get("status")
        .map_or_else(|| "---".to_owned(), Value::to_string);
    let of = |member| match text(record, member) {
        "" => "-",
        text => text,
    };
    let touched: Vec<_> = record
        .get("resources")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|resource| match text(resource, "id") {
            "" => text(resource, "kind").to_owned(),
            id => format!("{}:{id}", text(resource, "kind")),
        })
        .collect();
    let line = format!(
        "{}  {token}  {}  {status}  {} {}  {} {}  {}",
        of("time"),
        of("client_ip"),
        of("method"),
        of("path"),
        of("decision"),
        of("reason"),
        touched.join(" ")
    );
    redacted(line.trim_end()).replace(char::is_control, "·")
}
