use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, BufRead, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use memchr::memmem::find;
use memchr::{memchr, memrchr};

use super::files;
use super::newest_first::{Newest, quoted, text_of, time_of};

/// Searches the record's files from the newest line back, those that were moved away and packed too.
///
/// What was read once is remembered by a few hundred bytes for each block of a file: from when to when it goes, and which sub-tokens may be
/// in it, so that the next search passes over what it need not read. The files are what holds; a file that was cut or changed is read anew.
#[derive(Default)]
pub struct Older(Mutex<HashMap<FileId, Indexed>>);

/// A file, whatever it is called meanwhile.
type FileId = (u64, u64);

/// What is remembered of a file.
#[derive(Default)]
struct Indexed {
    /// Its first bytes, by which another in its place is told from it.
    head: Vec<u8>,
    size: u64,
    blocks: HashMap<u64, Arc<Block>>,
}

/// What is remembered of the lines that begin in a block.
#[derive(Clone, Debug, Default)]
struct Block {
    /// The least and the greatest time, if a line has one.
    times: Option<(String, String)>,
    tokens: Tokens,
}

/// Which ids and names of tokens may be there: none that is there is missing.
#[derive(Clone, Debug)]
struct Tokens([u64; WORDS]);

const WORDS: usize = 32;

/// How far a search went.
#[derive(Debug, Default)]
pub struct Reach {
    /// The time of the oldest line that was looked at.
    pub since: Option<String>,
    /// Whether there is nothing older.
    pub is_whole: bool,
    /// The files that could not be read, and why.
    pub unread: Vec<String>,
}

/// What became of a file.
enum Went {
    Through,
    /// What is older need not be looked at.
    Enough,
    OutOfTime,
}

/// The bytes of a block, and more than a line has.
const BLOCK: u64 = 2 << 20;
const LONGEST: usize = 1 << 20;
/// The blocks that are remembered.
const MOST_BLOCKS: usize = 16 << 10;
/// The bytes by which a file is known.
const HEAD: usize = 64;
/// How many lines of a packed file are read until the clock is looked at.
const LINES: u32 = 4096;

impl Older {
    /// Puts to `found` what the files at `path` have, until there is enough or that moment has come.
    ///
    /// # Errors
    /// The system's own, for the directory.
    pub fn search(&self, path: &Path, found: &mut Newest<'_>, until: Instant) -> io::Result<Reach> {
        let mut reach = Reach::default();
        for path in files::rotated(path)?.iter().rev() {
            match self.in_file(path, found, (until, &mut reach)) {
                Ok(Went::Through) => {}
                Ok(Went::Enough) => {
                    reach.is_whole = !found.is_full();
                    return Ok(reach);
                }
                Ok(Went::OutOfTime) => return Ok(reach),
                Err(error) => reach.unread.push(format!("{}: {error}", path.display())),
            }
        }
        reach.is_whole = !found.is_full();
        Ok(reach)
    }

    fn in_file(
        &self,
        path: &Path,
        found: &mut Newest<'_>,
        (until, reach): (Instant, &mut Reach),
    ) -> io::Result<Went> {
        let file = File::open(path)?;
        let about = file.metadata()?;
        let (id, size) = ((about.dev(), about.ino()), about.len());
        let mut head = vec![0; HEAD];
        let read = file.read_at(&mut head, 0)?;
        head.truncate(read);
        self.is_still(id, size, &head);
        if files::is_packed(&head) {
            return self.in_packed(path, id, found, (until, reach));
        }
        for number in (0..size.div_ceil(BLOCK)).rev() {
            if let Some(block) = self.known(id, number)
                && block.is_beside(found)
            {
                if block.is_enough(found, reach) {
                    return Ok(Went::Enough);
                }
                continue;
            }
            if Instant::now() >= until {
                return Ok(Went::OutOfTime);
            }
            let lines = lines_of(&file, number * BLOCK, size)?;
            let block = Block::of(lines.split(|byte| *byte == b'\n'));
            for line in lines.rsplit(|byte| *byte == b'\n') {
                found.take(line);
            }
            let enough = block.is_enough(found, reach);
            if (number + 1) * BLOCK + LONGEST as u64 <= size {
                self.keep(id, number, block);
            }
            if enough {
                return Ok(Went::Enough);
            }
        }
        Ok(Went::Through)
    }

    /// What gzip packed has no middle to begin at: it is read whole, or passed over.
    fn in_packed(
        &self,
        path: &Path,
        id: FileId,
        found: &mut Newest<'_>,
        (until, reach): (Instant, &mut Reach),
    ) -> io::Result<Went> {
        let block = match self.known(id, 0) {
            Some(block) if block.is_beside(found) => block,
            Some(_) | None => {
                let (mut inside, mut block) = (found.beside(), Block::default());
                let (mut lines, mut line, mut count) = (files::open(path)?, Vec::new(), 0u32);
                loop {
                    if count.is_multiple_of(LINES) && Instant::now() >= until {
                        return Ok(Went::OutOfTime);
                    }
                    count = count.wrapping_add(1);
                    line.clear();
                    let longest = LONGEST as u64;
                    if lines.by_ref().take(longest).read_until(b'\n', &mut line)? == 0 {
                        break;
                    }
                    block.note(&line);
                    inside.take(&line);
                }
                found.put_all(inside);
                self.keep(id, 0, block.clone());
                Arc::new(block)
            }
        };
        let enough = block.is_enough(found, reach);
        Ok(if enough { Went::Enough } else { Went::Through })
    }

    /// Forgets what is remembered of a file that was cut or is another now.
    fn is_still(&self, id: FileId, size: u64, head: &[u8]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_it = all.entry(id).or_default();
        if size < of_it.size || !head.starts_with(&of_it.head) {
            of_it.blocks.clear();
        }
        head.clone_into(&mut of_it.head);
        of_it.size = size;
    }

    fn known(&self, id: FileId, number: u64) -> Option<Arc<Block>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&id)?.blocks.get(&number).cloned()
    }

    fn keep(&self, id: FileId, number: u64, block: Block) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = all.values().map(|of| of.blocks.len()).sum();
        if kept >= MOST_BLOCKS {
            all.retain(|known, _| *known == id);
            if let Some(of_it) = all.get_mut(&id).filter(|of| of.blocks.len() >= MOST_BLOCKS) {
                of_it.blocks.clear();
            }
        }
        let blocks = &mut all.entry(id).or_default().blocks;
        blocks.insert(number, Arc::new(block));
    }
}

impl Block {
    fn of<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Self {
        let mut block = Self::default();
        lines.for_each(|line| block.note(line));
        block
    }

    fn note(&mut self, line: &[u8]) {
        if let Some(time) = time_of(line) {
            match &mut self.times {
                None => self.times = Some((time.to_owned(), time.to_owned())),
                Some((first, _)) if time < first.as_str() => time.clone_into(first),
                Some((_, last)) if time > last.as_str() => time.clone_into(last),
                Some(_) => {}
            }
        }
        self.tokens.note(line);
    }

    /// Whether no line of it can be one of those that are looked for.
    fn is_beside(&self, found: &Newest<'_>) -> bool {
        let wanted = found.wanted();
        let Some((first, last)) = &self.times else {
            return true;
        };
        let is_past = |since: &String| last < since;
        let is_to_come = |before: &String| first >= before;
        let is_of_others = |token: &String| !self.tokens.may_have(token);
        wanted.since.as_ref().is_some_and(is_past)
            || wanted.before.as_ref().is_some_and(is_to_come)
            || wanted.token.as_ref().is_some_and(is_of_others)
    }

    /// Notes how far back it goes; whether what is older than it need not be looked at.
    fn is_enough(&self, found: &Newest<'_>, reach: &mut Reach) -> bool {
        let Some((first, last)) = &self.times else {
            return false;
        };
        if reach.since.as_ref().is_none_or(|since| first < since) {
            reach.since = Some(first.clone());
        }
        let since = found.wanted().since.as_ref();
        since.is_some_and(|since| last < since) || found.is_full_before(first)
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self([0; WORDS])
    }
}

impl Tokens {
    /// Notes the id and the name of a line's token, as they are written.
    fn note(&mut self, line: &[u8]) {
        let Some(place) = find(line, TOKEN) else {
            return;
        };
        let rest = line.get(place + TOKEN.len()..).unwrap_or_default();
        let Some((id, rest)) = text_of(rest) else {
            return;
        };
        self.add(id);
        let name = rest.strip_prefix(NAME).and_then(text_of);
        if let Some((name, _)) = name {
            self.add(name);
        }
    }

    fn add(&mut self, text: &[u8]) {
        for (word, bit) in places(text) {
            if let Some(word) = self.0.get_mut(word) {
                *word |= bit;
            }
        }
    }

    /// Whether a token of this name or id may be there.
    fn may_have(&self, token: &str) -> bool {
        let quoted = quoted(token);
        let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
        let has = |(word, bit)| self.0.get(word).is_some_and(|word| word & bit != 0);
        places(inside).into_iter().all(has)
    }
}

/// How a line writes its token.
const TOKEN: &[u8] = b"\"token\":{\"id\":\"";
const NAME: &[u8] = b",\"name\":\"";

/// Where a text is noted.
fn places(text: &[u8]) -> [(usize, u64); 3] {
    let mut hasher = DefaultHasher::new();
    hasher.write(text);
    let hash = hasher.finish();
    [hash, hash >> 16, hash >> 32].map(|part| {
        let bit = part % (WORDS as u64 * 64);
        (
            usize::try_from(bit / 64).unwrap_or_default(),
            1 << (bit % 64),
        )
    })
}

/// The lines that begin in the block at this place, the last of them whole.
fn lines_of(file: &File, start: u64, size: u64) -> io::Result<Vec<u8>> {
    let end = size.min(start + BLOCK);
    let from = start.saturating_sub(1); // whether a line begins right at the start, the byte before says
    let mut bytes = vec![0; usize::try_from(end - from).unwrap_or_default()];
    file.read_exact_at(&mut bytes, from)?;
    if start > 0 {
        let Some(end_of_another) = memchr(b'\n', &bytes) else {
            return Ok(Vec::new());
        };
        bytes.drain(..=end_of_another);
    }
    let is_cut = !bytes.is_empty() && bytes.last() != Some(&b'\n');
    if is_cut && end < size {
        let whole = memrchr(b'\n', &bytes).map_or(0, |last| last + 1);
        let mut rest = vec![0; LONGEST];
        let read = file.read_at(&mut rest, end)?;
        rest.truncate(read);
        match memchr(b'\n', &rest) {
            Some(line_end) => bytes.extend(rest.drain(..line_end)),
            None if read < LONGEST => bytes.extend(rest),
            None => bytes.truncate(whole), // longer than a line is
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::audit::{Wanted, text};

    const LINE: usize = 1000;

    /// Lines of one token in a hundred, each a millisecond after the one before.
    fn lines(from: u32, count: u32) -> Vec<u8> {
        let mut all = Vec::new();
        for number in from..from + count {
            let token = if number.is_multiple_of(100) {
                "rare"
            } else {
                "often"
            };
            let (minute, second, milli) = (number / 60_000, number / 1000 % 60, number % 1000);
            let mut line = format!("{{\"time\":\"2027-01-31T00:{minute:02}:{second:02}.{milli:03}000Z\",\"event\":\"answer\",\"request_id\":\"{number}\",\"token\":{{\"id\":\"i-{token}\",\"name\":\"{token}\\\"s\"}},\"detail\":\"").into_bytes();
            line.resize(LINE - 3, b'x');
            line.extend(b"\"}\n");
            all.extend(line);
        }
        all
    }

    fn found(older: &Older, path: &Path, wanted: &Wanted, most: usize) -> (Vec<u32>, Reach) {
        let mut newest = Newest::new(wanted, most);
        let until = Instant::now() + Duration::from_secs(60);
        let reach = older.search(path, &mut newest, until).unwrap();
        let records = newest.into_records();
        let ids = records
            .iter()
            .map(|record| text(record, "request_id").parse().unwrap());
        (ids.collect(), reach)
    }

    fn of(token: &str) -> Wanted {
        Wanted {
            token: Some(token.to_owned()),
            ..Wanted::default()
        }
    }

    #[test]
    fn every_line_is_found_once_wherever_blocks_begin_and_what_is_known_of_them_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&lines(0, 3000)).unwrap();
        std::fs::write(
            directory.path().join("audit.jsonl.2.gz"),
            packed.finish().unwrap(),
        )
        .unwrap();
        std::fs::write(directory.path().join("audit.jsonl.1"), lines(3000, 5000)).unwrap();
        std::fs::write(
            &path,
            [lines(8000, 4000), b"{\"time\":\"half a li".to_vec()].concat(),
        )
        .unwrap();
        let older = Older::default();
        let expected: Vec<u32> = (0..12_000)
            .rev()
            .filter(|number| number % 100 == 0)
            .collect();
        for round in ["cold", "warm"] {
            for name in ["i-rare", "rare\"s"] {
                let (ids, reach) = found(&older, &path, &of(name), 1000);
                assert_eq!(ids, expected, "{round} {name}");
                assert!(reach.is_whole && reach.unread.is_empty());
                assert_eq!(reach.since.as_deref(), Some("2027-01-31T00:00:00.000000Z"));
            }
            let (ids, reach) = found(&older, &path, &of("i-often"), 5);
            assert_eq!(ids, [11_999, 11_998, 11_997, 11_996, 11_995], "{round}");
            assert!(!reach.is_whole);
            let all = found(&older, &path, &Wanted::default(), 20_000).0;
            assert_eq!(all, (0..12_000).rev().collect::<Vec<_>>(), "{round}");
        }
        let middle = Wanted {
            since: Some("2027-01-31T00:00:02.500000Z".to_owned()),
            before: Some("2027-01-31T00:00:05.000000Z".to_owned()),
            ..of("i-rare")
        };
        let (ids, _) = found(&older, &path, &middle, 1000);
        assert_eq!(
            ids,
            (25..50)
                .rev()
                .map(|number| number * 100)
                .collect::<Vec<_>>()
        );
    }

    #[test]
    fn blocks_without_the_token_are_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        std::fs::write(&path, lines(1, 9000)).unwrap();
        let older = Older::default();
        found(&older, &path, &of("nobody"), 9);
        let known: usize = older
            .0
            .lock()
            .unwrap()
            .values()
            .map(|of| of.blocks.len())
            .sum();
        assert_eq!(known, 3, "but for the end, which still grows");
        let block = Block::of(lines(1, 50).split(|byte| *byte == b'\n'));
        let (nobody, often) = (of("nobody"), of("i-often"));
        assert!(block.is_beside(&Newest::new(&nobody, 9)));
        assert!(!block.is_beside(&Newest::new(&often, 9)));
    }

    #[test]
    fn a_file_that_was_cut_and_grew_anew_is_read_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        std::fs::write(&path, lines(1, 9000)).unwrap();
        let older = Older::default();
        assert_eq!(found(&older, &path, &of("i-rare"), 1000).0.len(), 90);
        std::fs::write(&path, lines(20_001, 9000)).unwrap(); // in the same place, and as long
        let (ids, _) = found(&older, &path, &of("i-rare"), 1000);
        assert_eq!((ids.len(), ids[0]), (90, 29_000));
    }

    #[test]
    fn time_that_is_up_leaves_no_hole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(&lines(0, 3000)).unwrap();
        std::fs::write(
            directory.path().join("audit.jsonl.1.gz"),
            packed.finish().unwrap(),
        )
        .unwrap();
        std::fs::write(&path, lines(3000, 100)).unwrap();
        let (wanted, older) = (of("i-rare"), Older::default());
        let mut newest = Newest::new(&wanted, 1000);
        let reach = older.search(&path, &mut newest, Instant::now()).unwrap();
        assert!(!reach.is_whole && reach.since.is_none());
        assert!(newest.into_records().is_empty());
    }
}
