//! The chain of audit lines: each carries the SHA-256 of the one before, so that none can be changed, taken out or put in
//! between without a break at the next. Who can write the file can write a whole new chain: the hash of the last line, kept
//! elsewhere, is what tells that.

use std::fmt;
use std::io::{self, BufRead, Read, Seek, SeekFrom};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// What the next line carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link([u8; 32]);

impl Link {
    /// Where nothing was written before.
    pub const FIRST: Self = Self([0; 32]);

    /// After this line, without its end.
    pub fn after(line: &[u8]) -> Self {
        Self(Sha256::digest(line).into())
    }

    /// After half a line, which carries nothing that could be read: it is bound to what was before it here.
    #[must_use]
    pub(super) fn after_torn(self, half: &[u8]) -> Self {
        Self(
            Sha256::new()
                .chain_update(self.0)
                .chain_update(half)
                .finalize()
                .into(),
        )
    }

    /// From 64 hexadecimal digits.
    fn read(text: &str) -> Option<Self> {
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        let pair = |pair: &[u8; 2]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
        let bytes: Option<Vec<u8>> = pairs.iter().map(pair).collect();
        bytes?.try_into().ok().map(Self)
    }

    /// Writes the line with this link in it behind `to`, and returns the next.
    #[must_use]
    pub fn chain(self, line: &[u8], to: &mut Vec<u8>) -> Self {
        let Some(open) = line.strip_suffix(b"}\n") else {
            return self; // there is no other kind of line but an empty one
        };
        let begins = to.len();
        to.extend_from_slice(open);
        to.extend_from_slice(format!(",\"{MEMBER}\":\"{self}\"}}").as_bytes());
        let next = Self::after(to.get(begins..).unwrap_or_default());
        to.push(b'\n');
        next
    }

    /// What the next line of a file carries, and whether that ends in half a line.
    ///
    /// # Errors
    /// The file's own.
    pub(super) fn at_end(file: &mut (impl Read + Seek)) -> io::Result<(Self, bool)> {
        let length = file.seek(SeekFrom::End(0))?;
        let mut window = WINDOW.min(length);
        loop {
            file.seek(SeekFrom::Start(length - window))?;
            let mut tail = Vec::new();
            file.take(window).read_to_end(&mut tail)?;
            let mut lines: Vec<_> = tail.split_inclusive(|byte| *byte == b'\n').collect();
            if window < length && !lines.is_empty() {
                lines.remove(0); // it may have begun before
            }
            // The last line that stands for itself: a torn one is bound to what is before it.
            let whole = |line: &&[u8]| line.ends_with(b"\n") && carried(line) != CarriedLink::Torn;
            match lines.iter().rposition(whole) {
                Some(at) => return Ok(Self::over(lines.get(at..).unwrap_or_default())),
                None if window == length => return Ok(Self::over(&lines)),
                None => window = window.saturating_mul(4).min(length),
            }
        }
    }

    fn over(lines: &[&[u8]]) -> (Self, bool) {
        let mut link = Self::FIRST;
        for line in lines {
            let Some(whole) = line.strip_suffix(b"\n") else {
                return (link.after_torn(line), true);
            };
            link = match carried(whole) {
                CarriedLink::Torn => link.after_torn(whole),
                CarriedLink::Nothing | CarriedLink::Link(_) => Self::after(whole),
            };
        }
        (link, false)
    }
}

/// 64 hexadecimal digits.
impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The member of a line that carries the hash of the one before.
const MEMBER: &str = "chain";
/// How much of a file's end is read at first.
const WINDOW: u64 = 64 << 10;

/// What every record begins with, whole or half.
const BEGINNING: &[u8] = b"{\"time\":";

fn begins_as_a_record(line: &[u8]) -> bool {
    !line.is_empty() && (line.starts_with(BEGINNING) || BEGINNING.starts_with(line))
}

/// What a line carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CarriedLink {
    /// It is no whole line.
    Torn,
    /// It is of a time when there was no chain.
    Nothing,
    /// A link; none if what stands there can't be one.
    Link(Option<Link>),
}

fn carried(line: &[u8]) -> CarriedLink {
    let Ok(members) = serde_json::from_slice::<Map<String, Value>>(line) else {
        return CarriedLink::Torn;
    };
    match members.get(MEMBER) {
        None => CarriedLink::Nothing,
        Some(member) => CarriedLink::Link(member.as_str().and_then(Link::read)),
    }
}

/// A position in the files that are verified.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LinePosition {
    /// The file.
    pub file: String,
    /// The line, from 1 on.
    pub line: u64,
}

impl fmt::Display for LinePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// What is wrong at a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Break {
    /// It carries another hash than that of the line before it.
    Differs,
    /// It carries none.
    Missing,
    /// It carries something that is none.
    Unreadable,
    /// It has no end.
    NoEnd,
    /// No line of all carries one.
    NoChain,
    /// It is no record, nor the beginning of one.
    NoRecord,
}

/// Where a chain begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beginning {
    /// With this line: nothing was written before it, or nothing that was chained.
    Here,
    /// Before the files that were read: the line goes on from one with this hash.
    Before(Link),
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Differs => "it does not go on from the line before: that one was changed, or lines were taken out or put in between",
            Self::Missing => "it carries no hash of the line before, where others do: it was put in, or `audit.chain` was off",
            Self::Unreadable => "what it carries as the hash of the line before is none",
            Self::NoEnd => "it is half a line, as a crash leaves it; the daemon's next line would be bound to it",
            Self::NoRecord => "it is no record, and not half of one as a crash leaves it either",
            Self::NoChain => "no line carries a hash of the one before; `audit.chain` was off",
        })
    }
}

/// Files of audit lines, read one after the other, the oldest first.
#[derive(Debug, Default)]
pub struct Verification {
    /// How many lines there are.
    pub lines: u64,
    /// How many of these are from before the chain began.
    pub before: u64,
    /// Lines of which only half was written, and that the chain goes on over.
    pub torn: Vec<LinePosition>,
    /// Where it is broken.
    pub broken: Vec<(LinePosition, Break)>,
    /// What the first line carries.
    pub first: Option<Link>,
    /// Where the chain begins.
    pub begins: Option<(LinePosition, Beginning)>,
    /// What the next line carries, or would.
    pub last: Option<Link>,
    /// The same, if the last line that reads as a whole one was cut right before its end.
    or: Option<Link>,
    /// The half line at the end of the file before, until the next file shows whether it goes on from there.
    no_end: Option<LinePosition>,
}

impl Verification {
    /// Reads the next file.
    ///
    /// # Errors
    /// The file's own.
    pub fn read(&mut self, file: &str, mut from: impl BufRead) -> io::Result<()> {
        let (mut line, mut number) = (Vec::new(), 0);
        while {
            line.clear();
            from.read_until(b'\n', &mut line)? > 0
        } {
            number += 1;
            self.lines += 1;
            let position = LinePosition {
                file: file.to_owned(),
                line: number,
            };
            if let Some(whole) = line.strip_suffix(b"\n") {
                self.line(&position, whole);
            } else if !begins_as_a_record(&line) {
                self.broken.push((position, Break::NoRecord));
                self.go_on(&line, CarriedLink::Torn);
            } else {
                self.go_on(&line, CarriedLink::Torn);
                self.torn.extend(self.no_end.replace(position));
            }
        }
        Ok(())
    }

    /// Tells what there is to tell of all files at their end.
    pub fn finish(&mut self) {
        let no_end = self.no_end.take();
        self.broken
            .extend(no_end.map(|position| (position, Break::NoEnd)));
        if self.lines > 0 && self.first.is_none() && self.broken.is_empty() {
            let position = LinePosition {
                file: String::new(),
                line: 0,
            };
            self.broken.push((position, Break::NoChain));
        }
    }

    fn line(&mut self, position: &LinePosition, line: &[u8]) {
        let carried = carried(line);
        let wrong = match carried {
            CarriedLink::Torn if !begins_as_a_record(line) => Some(Break::NoRecord),
            CarriedLink::Torn => {
                self.torn.push(position.clone());
                None
            }
            CarriedLink::Nothing if self.first.is_none() => {
                self.before += 1;
                None
            }
            CarriedLink::Nothing => Some(Break::Missing),
            CarriedLink::Link(None) => Some(Break::Unreadable),
            CarriedLink::Link(Some(told)) => {
                if self.first.is_none() {
                    self.first = Some(told);
                    let older = self.last.is_none() && told != Link::FIRST;
                    let begins = if older {
                        Beginning::Before(told)
                    } else {
                        Beginning::Here
                    };
                    self.begins = Some((position.clone(), begins));
                }
                let goes_on = self.last.is_none() || [self.last, self.or].contains(&Some(told));
                (!goes_on).then_some(Break::Differs)
            }
        };
        match (self.no_end.take(), wrong) {
            (Some(half), None) => self.torn.push(half), // a file that was moved away while a disk was full
            (Some(half), Some(_)) => self.broken.push((half, Break::NoEnd)),
            (None, _) => {}
        }
        self.broken
            .extend(wrong.map(|what| (position.clone(), what)));
        self.go_on(line, carried);
    }

    fn go_on(&mut self, line: &[u8], carried: CarriedLink) {
        let before = match carried {
            CarriedLink::Link(told) => told,
            CarriedLink::Torn | CarriedLink::Nothing => self.last,
        };
        let torn = before.map(|before| before.after_torn(line));
        (self.last, self.or) = match carried {
            CarriedLink::Torn => (torn, self.or.map(|or| or.after_torn(line))),
            CarriedLink::Nothing | CarriedLink::Link(_) => (Some(Link::after(line)), torn),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// What was done to a file, what it is then, and where it is broken.
    type Case<'c> = (&'c str, Vec<u8>, Vec<(String, Break)>);

    /// Lines as the writer chains them.
    fn chained(link: Link, names: &[&str]) -> (Vec<u8>, Link) {
        let mut out = Vec::new();
        let add = |link: Link, name: &&str| {
            link.chain(format!("{{\"time\":\"{name}\"}}\n").as_bytes(), &mut out)
        };
        let link = names.iter().fold(link, add);
        (out, link)
    }

    fn verified(files: &[&[u8]]) -> Verification {
        let mut all = Verification::default();
        for (number, file) in files.iter().enumerate() {
            all.read(&number.to_string(), *file).unwrap();
        }
        all.finish();
        all
    }

    fn broken(files: &[&[u8]]) -> Vec<(String, Break)> {
        let all = verified(files).broken;
        all.into_iter()
            .map(|(position, what)| (position.to_string(), what))
            .collect()
    }

    #[test]
    fn a_chain_is_whole_until_a_line_is_changed_taken_out_put_in_or_moved() {
        let (text, last) = chained(Link::FIRST, &["a", "b", "c", "d"]);
        let all = verified(&[&text]);
        assert_eq!(
            (all.lines, all.broken.len(), all.first, all.last),
            (4, 0, Some(Link::FIRST), Some(last))
        );
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let changed = String::from_utf8(text.clone())
            .unwrap()
            .replace("\"b\"", "\"x\"");
        let put_in = b"{\"time\":\"x\"}\n".as_slice();
        let differs = |line: &str| vec![(format!("0:{line}"), Break::Differs)];
        let cases: [Case<'_>; 6] = [
            ("changed", changed.into_bytes(), differs("3")),
            (
                "taken out",
                [lines[0], lines[2], lines[3]].concat(),
                differs("2"),
            ),
            (
                "moved",
                [lines[0], lines[2], lines[1], lines[3]].concat(),
                [differs("2"), differs("3"), differs("4")].concat(),
            ),
            (
                "put in",
                [lines[0], put_in, lines[1]].concat(),
                vec![
                    ("0:2".into(), Break::Missing),
                    ("0:3".into(), Break::Differs),
                ],
            ),
            (
                "cut off",
                text[..text.len() - 5].to_vec(),
                vec![("0:4".into(), Break::NoEnd)],
            ),
            ("from later on", [lines[2], lines[3]].concat(), vec![]),
        ];
        for (what, text, expected) in cases {
            assert_eq!(broken(&[&text]), expected, "{what}");
        }
    }

    #[test]
    fn a_chain_goes_on_over_files_and_over_lines_from_before_it() {
        let (one, link) = chained(Link::FIRST, &["a", "b"]);
        let (two, _) = chained(link, &["c"]);
        assert_eq!(broken(&[&one, &two]), []);
        assert_eq!(broken(&[&two, &one]), [("1:1".into(), Break::Differs)]);
        let old = b"{\"time\":\"old\"}\n".as_slice();
        let (link, torn) = Link::at_end(&mut Cursor::new(old)).unwrap();
        assert!(!torn);
        let (new, _) = chained(link, &["c"]);
        let all = verified(&[&[old, &new].concat()]);
        assert_eq!((all.before, all.broken.len()), (1, 0));
        assert_eq!(broken(&[old]), [(":0".into(), Break::NoChain)]);
        assert_eq!(broken(&[b""]), []);
    }

    #[test]
    fn what_is_no_record_is_no_half_of_one_either() {
        let (text, _) = chained(Link::FIRST, &["a", "b"]);
        let lines: Vec<_> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let strangers: [&[u8]; 5] = [
            b"\x00\x8f\xfe\n",
            b"\n",
            b"hello\n",
            b"{\"level\":\n",
            b"[1]\n",
        ];
        for stranger in strangers {
            let put_in = [lines[0], stranger, lines[1]].concat();
            let found = broken(&[&put_in]);
            assert_eq!(
                found.first(),
                Some(&("0:2".into(), Break::NoRecord)),
                "{stranger:?}"
            );
        }
        let half = b"{\"ti".as_slice();
        assert_eq!(broken(&[half]), [("0:1".into(), Break::NoEnd)]);
        assert_eq!(broken(&[b"\x00\x8f"]), [("0:1".into(), Break::NoRecord)]);
    }

    #[test]
    fn where_a_chain_begins_is_told() {
        let (text, _) = chained(Link::FIRST, &["a", "b"]);
        let second = text.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let begins = |text: &[u8]| {
            let all = verified(&[text]);
            let (position, begins) = all.begins.unwrap();
            (position.line, begins)
        };
        assert_eq!(begins(&text), (1, Beginning::Here));
        let Beginning::Before(link) = begins(&text[second..]).1 else {
            panic!("its first lines are cut off");
        };
        assert_eq!(link, Link::after(&text[..second - 1]));
        let old = [b"{\"time\":\"old\"}\n".as_slice(), &text].concat();
        assert_eq!(begins(&old), (2, Beginning::Here));
    }

    #[test]
    fn a_torn_line_is_told_and_hides_nothing() {
        let (text, _) = chained(Link::FIRST, &["a", "b", "c"]);
        // Cut within the last line, right before its end, and after its first byte.
        let begins = text.len()
            - text
                .split_inclusive(|byte| *byte == b'\n')
                .next_back()
                .unwrap()
                .len();
        for cut in [text.len() - 5, text.len() - 1, begins + 1] {
            let torn = &text[..cut];
            let (link, half) = Link::at_end(&mut Cursor::new(torn)).unwrap();
            assert!(half, "{cut}");
            let (more, _) = chained(link, &["d", "e"]);
            let whole = [torn, b"\n", &more].concat();
            let all = verified(&[&whole]);
            assert_eq!(all.broken, [], "{cut}");
            assert_eq!(all.torn.len(), usize::from(cut != text.len() - 1), "{cut}");
            // What is before a torn line can't be taken out unseen.
            let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
            let taken_out = [&whole[..second], &whole[begins..]].concat();
            assert_eq!(broken(&[&taken_out]).len(), 1, "{cut}");
        }
    }

    #[test]
    fn a_file_that_was_moved_away_with_half_a_line_at_its_end_is_gone_on_from() {
        let (text, _) = chained(Link::FIRST, &["a", "b"]);
        for cut in [text.len() - 5, text.len() - 1] {
            let torn = &text[..cut];
            let (link, _) = Link::at_end(&mut Cursor::new(torn)).unwrap();
            let (next, _) = chained(link, &["c"]);
            assert_eq!(broken(&[torn, &next]), [], "{cut}");
            let (other, _) = chained(Link::after(b"x"), &["c"]);
            let expected = [("0:2".into(), Break::NoEnd), ("1:1".into(), Break::Differs)];
            assert_eq!(broken(&[torn, &other]), expected, "{cut}");
        }
    }

    #[test]
    fn the_end_of_a_file_is_found_however_long_its_lines_are() {
        let long = "x".repeat(300_000);
        for names in [
            vec![],
            vec!["a"],
            vec!["a", &long],
            vec![&long, "a"],
            vec![&long, &long],
        ] {
            let (text, link) = chained(Link::FIRST, &names);
            let found = Link::at_end(&mut Cursor::new(&text)).unwrap();
            assert_eq!(found, (link, false), "{} lines", names.len());
            let twice = [&text[..], b"{\"ha\n{\"ha"].concat();
            let expected = link.after_torn(b"{\"ha").after_torn(b"{\"ha");
            assert_eq!(
                Link::at_end(&mut Cursor::new(&twice)).unwrap(),
                (expected, true)
            );
        }
    }
}
