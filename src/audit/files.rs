use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

/// What stands for standard input where a file may be named.
const STDIN: &str = "-";
/// What a file that gzip wrote begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a file of the record: as it was written, or packed by gzip, whatever it is called; `-` is standard input.
///
/// # Errors
/// The system's own.
pub fn open(path: &Path) -> io::Result<Box<dyn BufRead>> {
    let bytes: Box<dyn Read> = if path == Path::new(STDIN) {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path)?)
    };
    let mut bytes = BufReader::new(bytes);
    Ok(if is_packed(bytes.fill_buf()?) {
        Box::new(BufReader::new(MultiGzDecoder::new(bytes)))
    } else {
        Box::new(bytes)
    })
}

/// Whether a file that begins so was packed by gzip.
pub(super) fn is_packed(head: &[u8]) -> bool {
    head.starts_with(&GZIP)
}

/// The file and those that were moved away from it (`audit.jsonl.1`, `audit.jsonl-20270131.gz`), the oldest first: by the time
/// of the first line, as their names tell it in more than one way.
///
/// # Errors
/// The system's own, for the directory.
pub fn rotated(path: &Path) -> io::Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let called = entry.file_name();
        let called = called.to_string_lossy();
        let rest = called.strip_prefix(&*name);
        if rest.is_some_and(is_of_rotation) && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    // Without a line there is nothing to come before or after.
    let mut dated: Vec<_> = found
        .into_iter()
        .map(|found| (first_time(&found), Reverse(found.clone()), found))
        .collect();
    dated.sort();
    Ok(dated.into_iter().map(|(_, _, found)| found).collect())
}

/// Whether a name goes on behind that of the file as logrotate and its like have it: a number or a date, and `.gz`.
fn is_of_rotation(rest: &str) -> bool {
    let rest = rest.strip_suffix(".gz").unwrap_or(rest);
    match rest.strip_prefix(['.', '-']) {
        None => rest.is_empty(),
        Some(number) => {
            let fits = |byte: u8| byte.is_ascii_digit() || b"-_.T:Z".contains(&byte);
            number.starts_with(|first: char| first.is_ascii_digit()) && number.bytes().all(fits)
        }
    }
}

/// The time of the first line that has one. Times are written so that texts sort as they do.
fn first_time(path: &Path) -> Option<String> {
    let mut line = Vec::new();
    let mut lines = open(path).ok()?.take(LONGEST);
    lines.read_until(b'\n', &mut line).ok()?;
    let record: serde_json::Value = serde_json::from_slice(&line).ok()?;
    Some(record.get("time")?.as_str()?.to_owned())
}

/// More bytes than a line has.
const LONGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_away_is_known_by_its_name() {
        let cases = [
            ("", true),
            (".1", true),
            (".2.gz", true),
            ("-20270131", true),
            ("-20270131.gz", true),
            (".2027-01-31T00:00:00Z", true),
            (".gz", true),
            (".bak", false),
            ("~", false),
            (".1.zip", false),
            ("2", false),
        ];
        for (rest, known) in cases {
            assert_eq!(is_of_rotation(rest), known, "audit.jsonl{rest}");
        }
    }
}
