use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use jiff::Timestamp;
use tracing::warn;

use super::chain::Link;
use super::in_memory::Kept;
use crate::config::{AuditSettings, AuditSink};

/// Where audit lines go, and what stands there last.
pub(super) struct Sink {
    out: Out,
    sync: bool,
    /// Half a line stands there; the next begins on its own.
    torn: bool,
    /// What the next line carries, where lines are chained.
    link: Option<Link>,
    /// Where lines stand a second time, for this process alone.
    copy: Option<Kept>,
}

/// What lines are written to.
enum Out {
    /// A file, a pipe or a device.
    File(File),
    /// What only this process reads.
    Kept(Kept),
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(bytes),
            Self::Kept(kept) => kept.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(()) // neither keeps anything back
    }
}

impl Sink {
    /// Opens it. A file that is new goes on from the chain of `before`, as after it was moved away.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(settings: &AuditSettings, before: Option<&Self>) -> io::Result<Self> {
        let carried = before.and_then(|before| before.link);
        let (file, torn, link) = match &settings.sink {
            // Not by `io::stdout`: what that could not write it keeps, and writes it when nobody asks for it any more.
            AuditSink::Stdout => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                (file, false, None)
            }
            AuditSink::File(path) => {
                let file = open_file(path)?;
                let (torn, link) = end(path, &file, settings.chain)?;
                let link = link.map(|link| match (link, carried) {
                    (Link::FIRST, Some(carried)) => carried,
                    (link, Some(_) | None) => link,
                });
                (file, torn, link)
            }
        };
        if torn {
            warn!(
                "the audit file ends in half a line, as a crash leaves it; the next begins on its own"
            );
        }
        Ok(Self {
            out: Out::File(file),
            sync: settings.sync,
            torn,
            link,
            copy: None,
        })
    }

    /// One that only this process reads.
    pub fn over(kept: Kept) -> Self {
        Self {
            out: Out::Kept(kept),
            sync: false,
            torn: false,
            link: None,
            copy: None,
        }
    }

    /// Writes lines there too, once they are written.
    pub(super) fn copied_to(self, copy: Kept) -> Self {
        Self {
            copy: Some(copy),
            ..self
        }
    }

    /// Writes lines, all of them or as many as can be.
    ///
    /// # Errors
    /// The system's own; what stands there then is known, and the next lines go on from it.
    pub fn write(&mut self, lines: &[u8], someone_waits: bool) -> io::Result<()> {
        let mut link = self.link;
        let bytes = if self.torn || link.is_some() {
            Cow::Owned(self.continued(lines, &mut link))
        } else {
            Cow::Borrowed(lines)
        };
        match put(&mut self.out, &bytes) {
            Ok(()) => {
                self.torn = false;
                self.link = link;
                if let Some(copy) = &mut self.copy {
                    copy.write_all(lines)?;
                }
            }
            Err((error, written)) => {
                self.note(bytes.get(..written).unwrap_or_default());
                return Err(error);
            }
        }
        if let (true, Out::File(file)) = (self.sync && someone_waits, &self.out) {
            file.sync_data()?;
        }
        Ok(())
    }

    /// Lines behind what stands there last, each with its link where they are chained.
    fn continued(&self, lines: &[u8], link: &mut Option<Link>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(lines.len() + 1);
        if self.torn {
            bytes.push(b'\n');
        }
        match link {
            None => bytes.extend_from_slice(lines),
            Some(link) => {
                for line in lines.split_inclusive(|byte| *byte == b'\n') {
                    *link = link.chain(line, &mut bytes);
                }
            }
        }
        bytes
    }

    /// Notes what was written of lines before the rest could not be.
    fn note(&mut self, written: &[u8]) {
        for line in written.split_inclusive(|byte| *byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(b"") => {} // the end of what was torn before
                Some(whole) => self.link = self.link.map(|_| Link::after(whole)),
                None => self.link = self.link.map(|link| link.after_torn(line)),
            }
            self.torn = !line.ends_with(b"\n");
        }
    }
}

/// Writes all of it, or says how much.
fn put(file: &mut impl Write, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match file.write(rest) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((error, written)),
        }
    }
    Ok(())
}

/// How a file ends: whether in half a line, and what the next line carries. A pipe or a device has no end.
fn end(path: &Path, file: &File, chain: bool) -> io::Result<(bool, Option<Link>)> {
    if !file.metadata()?.is_file() {
        return Ok((false, chain.then_some(Link::FIRST)));
    }
    let mut reading = File::open(path)?;
    if chain {
        let (link, torn) = Link::at_end(&mut reading)?;
        return Ok((torn, Some(link)));
    }
    if reading.seek(SeekFrom::End(0))? == 0 {
        return Ok((false, None));
    }
    let mut last = [0];
    reading.seek(SeekFrom::End(-1))?;
    reading.read_exact(&mut last)?;
    Ok((last != *b"\n", None))
}

/// The time of the last line of the record, where that is a file that has one.
pub fn recorded_until(settings: &AuditSettings) -> Option<Timestamp> {
    let AuditSink::File(path) = &settings.sink else {
        return None;
    };
    if !std::fs::metadata(path).ok()?.is_file() {
        return None; // to open a pipe would wait for who writes to it
    }
    let mut file = File::open(path).ok()?;
    let length = file.seek(SeekFrom::End(0)).ok()?;
    file.seek(SeekFrom::Start(length.saturating_sub(END)))
        .ok()?;
    let mut end = Vec::new();
    file.read_to_end(&mut end).ok()?;
    let mut lines = end.rsplit(|byte| *byte == b'\n');
    lines.find_map(time_of)
}

fn time_of(line: &[u8]) -> Option<Timestamp> {
    let line: serde_json::Value = serde_json::from_slice(line).ok()?;
    line.get("time")?.as_str()?.parse().ok()
}

/// The bytes of a record's end among which its last line is.
const END: u64 = 64 << 10;

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::audit::chain::Verification;

    fn settings(path: &Path) -> AuditSettings {
        AuditSettings {
            sink: AuditSink::File(path.to_owned()),
            sync: false,
            chain: true,
        }
    }

    fn verified(paths: &[&Path]) -> Verification {
        let mut all = Verification::default();
        for path in paths {
            let bytes = fs::read(path).unwrap();
            all.read(&path.display().to_string(), &bytes[..]).unwrap();
        }
        all.finish();
        all
    }

    #[test]
    fn a_chain_goes_on_over_a_new_start_and_a_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("a"), directory.path().join("a.1"));
        let mut sink = Sink::open(&settings(&path), None).unwrap();
        sink.write(b"{\"time\":1}\n{\"time\":2}\n", true).unwrap();
        sink.write(b"", true).unwrap(); // as a flush does
        let mut sink = Sink::open(&settings(&path), Some(&sink)).unwrap();
        sink.write(b"{\"time\":3}\n", true).unwrap();
        fs::rename(&path, &moved).unwrap();
        let mut sink = Sink::open(&settings(&path), Some(&sink)).unwrap();
        sink.write(b"{\"time\":4}\n", true).unwrap();
        drop(sink);
        let mut sink = Sink::open(&settings(&path), None).unwrap(); // the daemon was started anew
        sink.write(b"{\"time\":5}\n", true).unwrap();
        let all = verified(&[&moved, &path]);
        assert_eq!((all.lines, all.broken, all.torn), (5, vec![], vec![]));
    }

    #[test]
    fn what_was_written_of_lines_that_could_not_be_is_gone_on_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let lines = b"{\"time\":1}\n{\"time\":2}\n";
        let mut whole = Vec::new();
        let link = Link::FIRST.chain(b"{\"time\":1}\n", &mut whole);
        let first = whole.len();
        let _next = link.chain(b"{\"time\":2}\n", &mut whole);
        for cut in [0, 1, first - 1, first, first + 1, whole.len() - 1] {
            let _ = fs::remove_file(&path);
            let mut sink = Sink::open(&settings(&path), None).unwrap();
            // As if the disk had taken so many bytes and no more.
            fs::write(&path, &whole[..cut]).unwrap();
            sink.note(&whole[..cut]);
            sink.write(lines, true).unwrap();
            let all = verified(&[&path]);
            assert_eq!(all.broken, [], "{cut} of {} bytes", whole.len());
            let again = Sink::open(&settings(&path), None).unwrap();
            assert_eq!((again.link, again.torn), (sink.link, false), "{cut}");
        }
    }

    #[test]
    fn a_line_cut_before_its_end_and_then_half_a_line_are_gone_on_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        let mut sink = Sink::open(&settings(&path), None).unwrap();
        sink.write(b"{\"time\":1}\n", true).unwrap();
        let mut on_disk = fs::read(&path).unwrap();
        // As if a disk that is full had taken all of the next line but its end, and later a little of the one after.
        let mut next = Vec::new();
        let _link = sink.link.unwrap().chain(b"{\"time\":2}\n", &mut next);
        next.pop();
        for piece in [&next[..], b"\n{\"time\""] {
            on_disk.extend_from_slice(piece);
            fs::write(&path, &on_disk).unwrap();
            sink.note(piece);
        }
        sink.write(b"{\"time\":4}\n", true).unwrap();
        assert_eq!(verified(&[&path]).broken, []);
        // And a daemon that was started anew between the two.
        let mut sink = Sink::open(&settings(&path), None).unwrap();
        sink.write(b"{\"time\":5}\n", true).unwrap();
        assert_eq!(verified(&[&path]).broken, []);
    }
}
