use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{error, info};

use super::in_memory::Kept;
use super::sink::Sink;
use crate::config::AuditSettings;

/// The audit record's one writer: a thread that takes lines in the order they come and writes as many at once as there are.
///
/// To wake it takes longer than to write a line. So it lets lines that nobody waits for come together, and sleeps meanwhile in a
/// way that handing one in does not end; who waits for a line wakes it. Lines come together in one buffer, which it changes for
/// an empty one when it writes.
pub struct Audit {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    failing: AtomicBool,
    /// How many lines came and were not written yet.
    waiting: AtomicUsize,
}

/// What came since the writer looked.
#[derive(Default)]
struct Inbox {
    lines: Lines,
    /// Where a new sink is to be opened, and the lines that came before.
    reopen: Vec<(Lines, AuditSettings)>,
    end: bool,
    /// Whether the writer sleeps until something comes.
    writer_sleeps: bool,
}

/// Lines, and who waits for them.
#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    count: usize,
    waiting: Vec<oneshot::Sender<bool>>,
}

/// Who is shown lines that were written. The writer waits for it.
pub type Seen = Box<dyn Fn(Vec<u8>) + Send>;

/// A line could not be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unwritable;

/// Lines that may wait to be written before requests are refused.
const BACKLOG: usize = 100_000;
/// A buffer that grew beyond this is not used again.
const BUFFER: usize = 256 << 10;
/// How long lines that nobody waits for may come together.
const TOGETHER: Duration = Duration::from_millis(5);
/// How long a line may take to be written.
const PATIENCE: Duration = Duration::from_secs(5);

impl Audit {
    /// Opens the sink and starts the writer.
    ///
    /// # Errors
    /// The sink's own, if it can't be opened.
    pub fn open(settings: &AuditSettings) -> io::Result<Self> {
        Self::open_seen(settings, None)
    }

    /// The same, with somebody who is shown the lines that were written, by the writer and after whoever waited for them.
    ///
    /// # Errors
    /// The sink's own, if it can't be opened.
    pub fn open_seen(settings: &AuditSettings, seen: Option<Seen>) -> io::Result<Self> {
        Self::begin(Sink::open(settings, None)?, seen)
    }

    /// Starts the writer over a record for this process alone.
    ///
    /// # Errors
    /// If there can be no thread.
    pub fn over(kept: Kept) -> io::Result<Self> {
        Self::begin(Sink::over(kept), None)
    }

    /// Opens the sink and starts the writer, which writes every line to `copy` too.
    ///
    /// # Errors
    /// The sink's own, if it can't be opened.
    pub fn copied(settings: &AuditSettings, copy: Kept) -> io::Result<Self> {
        Self::begin(Sink::open(settings, None)?.copied_to(copy), None)
    }

    fn begin(sink: Sink, seen: Option<Seen>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            inbox: Mutex::default(),
            failing: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        });
        let of_thread = shared.clone();
        let thread = thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_all(sink, &of_thread, seen.as_ref()))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Writes a line and waits until it is written.
    ///
    /// # Errors
    /// `Unwritable`; then what it is about must not happen.
    pub async fn written(&self, line: &[u8]) -> Result<(), Unwritable> {
        if self.is_behind() || !self.has_writer() {
            return Err(Unwritable); // it would wait in vain, and its line would stay in memory after it
        }
        let (done, waits) = oneshot::channel();
        self.send(line, Some(done));
        match timeout(PATIENCE, waits).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) => Err(Unwritable),
            Err(_) => {
                // A pipe that nobody reads, a file system that hangs. The line may be written yet; its request does not go.
                if !self.shared.failing.swap(true, Ordering::AcqRel) {
                    error!(
                        "audit lines are not written in time; requests are refused until they are"
                    );
                }
                Err(Unwritable)
            }
        }
    }

    /// Hands in the line of a request that was let through, to be written soon.
    pub fn write(&self, line: &[u8]) {
        self.send(line, None); // however many wait: beyond the backlog nothing more is let through
    }

    /// Hands in the line of a request that was refused, to be written soon; while too many wait it is lost, as memory is not
    /// for strangers to fill.
    pub fn write_refused(&self, line: &[u8]) {
        if !self.is_behind() {
            self.send(line, None);
        }
    }

    /// Waits until every line that was handed in so far is written, or can't be.
    pub async fn flush(&self) {
        let _ = self.written(&[]).await;
    }

    /// Whether lines that nobody waits for can be relied on to be written.
    pub fn is_sound(&self) -> bool {
        !self.shared.failing.load(Ordering::Acquire) && !self.is_behind() && self.has_writer()
    }

    /// Where the last lines could not be written, tries with one that says so, to learn whether they can be by now: requests may
    /// be kept away for that very reason.
    pub async fn try_again(&self, now: Timestamp) {
        if !self.is_sound() && self.shared.waiting.load(Ordering::Acquire) == 0 {
            let _ = self.written(&resumed(now)).await; // what came of it is known by whether it is sound
        }
    }

    /// Whether more lines wait than may.
    fn is_behind(&self) -> bool {
        self.shared.waiting.load(Ordering::Acquire) >= BACKLOG
    }

    /// Whether the writer lives, be it that it can't write. For systemd's watchdog.
    pub fn has_writer(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    fn send(&self, line: &[u8], done: Option<oneshot::Sender<bool>>) {
        let someone_waits = done.is_some();
        let mut inbox = self.shared.inbox();
        inbox.lines.bytes.extend_from_slice(line);
        inbox.lines.count += 1;
        inbox.lines.waiting.extend(done);
        self.shared.waiting.fetch_add(1, Ordering::AcqRel);
        self.wake(inbox, someone_waits);
    }

    /// Wakes the writer if it sleeps until something comes, or must not let more come together.
    fn wake(&self, mut inbox: MutexGuard<'_, Inbox>, at_once: bool) {
        let sleeps = mem::take(&mut inbox.writer_sleeps);
        drop(inbox);
        let Some(thread) = self.thread.as_ref().filter(|_| sleeps || at_once) else {
            return;
        };
        thread.thread().unpark();
    }

    /// Opens the sink anew, as after its file was moved away. If that fails, the old one stays.
    pub fn reopen(&self, settings: &AuditSettings) {
        let mut inbox = self.shared.inbox();
        let before = mem::take(&mut inbox.lines);
        inbox.reopen.push((before, settings.clone()));
        self.wake(inbox, true);
    }
}

/// The line after a gap.
fn resumed(now: Timestamp) -> Vec<u8> {
    let what = "lines could not be written before this one; requests were refused meanwhile";
    format!("{{\"time\":\"{now:.6}\",\"event\":\"resumed\",\"detail\":\"{what}\"}}\n").into_bytes()
}

impl Drop for Audit {
    /// Waits until every line that was handed in is written, unless the sink has failed.
    fn drop(&mut self) {
        let mut inbox = self.shared.inbox();
        inbox.end = true;
        self.wake(inbox, true);
        let hangs = self.shared.failing.load(Ordering::Acquire);
        if let Some(thread) = self.thread.take().filter(|_| !hangs) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something came, and for what comes together with it; `empty` is where what comes next goes.
    fn next(&self, empty: Vec<u8>) -> Inbox {
        let mut came_together = false;
        loop {
            let mut inbox = self.inbox();
            if inbox.is_to_be_written(came_together) {
                let lines = Lines {
                    bytes: empty,
                    ..Lines::default()
                };
                return mem::replace(&mut *inbox, Inbox::of(lines));
            }
            if inbox.lines.count == 0 {
                inbox.writer_sleeps = true;
                drop(inbox);
                thread::park();
            } else {
                drop(inbox);
                thread::park_timeout(TOGETHER);
                came_together = true;
            }
        }
    }
}

impl Inbox {
    fn of(lines: Lines) -> Self {
        Self {
            lines,
            ..Self::default()
        }
    }

    fn is_to_be_written(&self, came_together: bool) -> bool {
        let Self {
            lines,
            reopen,
            end,
            writer_sleeps: _,
        } = self;
        let someone_waits = !lines.waiting.is_empty();
        *end || !reopen.is_empty() || someone_waits || came_together && lines.count > 0
    }
}

fn write_all(mut sink: Sink, shared: &Shared, seen: Option<&Seen>) {
    let mut empty = Vec::new();
    loop {
        let Inbox {
            lines,
            reopen,
            end,
            writer_sleeps: _,
        } = shared.next(mem::take(&mut empty));
        for (before, settings) in reopen {
            before.write(&mut sink, shared, seen);
            sink = anew(sink, &settings);
        }
        empty = lines.write(&mut sink, shared, seen);
        if end {
            return;
        }
    }
}

fn anew(sink: Sink, settings: &AuditSettings) -> Sink {
    match Sink::open(settings, Some(&sink)) {
        Ok(fresh) => {
            info!("the audit sink is open anew");
            fresh
        }
        Err(error) => {
            error!(%error, "the audit sink can't be opened anew; the old one is kept");
            sink
        }
    }
}

impl Lines {
    /// Writes them, tells who waits, and gives their buffer back, empty.
    fn write(self, sink: &mut Sink, shared: &Shared, seen: Option<&Seen>) -> Vec<u8> {
        let Self {
            mut bytes,
            count,
            waiting,
        } = self;
        if count == 0 {
            return bytes;
        }
        let result = sink.write(&bytes, !waiting.is_empty());
        shared.waiting.fetch_sub(count, Ordering::AcqRel);
        let was_failing = shared.failing.swap(result.is_err(), Ordering::AcqRel);
        match &result {
            Err(error) if !was_failing => {
                error!(%error, "audit lines can't be written; requests are refused until they can");
            }
            Ok(()) if was_failing => info!("audit lines can be written again"),
            Ok(()) | Err(_) => {}
        }
        for done in waiting {
            let _ = done.send(result.is_ok());
        }
        if let (Some(seen), Ok(())) = (seen, result) {
            seen(mem::take(&mut bytes));
        }
        if bytes.capacity() > BUFFER {
            return Vec::new();
        }
        bytes.clear();
        bytes
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::io::Read;
    use std::os::unix::fs::OpenOptionsExt;
    use std::time::Instant;

    use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

    use super::*;
    use crate::config::AuditSink;

    /// A pipe that nobody reads yet, and the record that is written to it.
    fn unread(directory: &tempfile::TempDir) -> (File, Audit) {
        let path = directory.path().join("audit");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap();
        let mut open = OpenOptions::new();
        let reader = open.read(true).custom_flags(nonblock).open(&path).unwrap();
        let settings = AuditSettings {
            sink: AuditSink::File(path),
            sync: false,
            chain: false,
        };
        (reader, Audit::open(&settings).unwrap())
    }

    #[tokio::test]
    async fn beyond_the_backlog_no_line_of_what_was_let_through_is_lost_and_no_other_fills_memory()
    {
        let directory = tempfile::tempdir().unwrap();
        let (mut reader, audit) = unread(&directory);
        while !audit.is_behind() {
            audit.write_refused(&[&b"refused".repeat(10)[..], b"\n"].concat());
        }
        assert!(!audit.is_sound());
        let waiting = || audit.shared.waiting.load(Ordering::Acquire);
        let before = waiting();
        let began = Instant::now();
        audit.write_refused(b"lost\n");
        assert_eq!(audit.written(b"decision\n").await, Err(Unwritable));
        assert!(began.elapsed() < PATIENCE / 2, "at once");
        assert_eq!(waiting(), before);
        audit.write(b"let through\n");
        assert_eq!(waiting(), before + 1);
        let reading = thread::spawn(move || {
            let (mut all, mut piece) = (Vec::new(), [0; 8 << 10]);
            while !all.ends_with(b"let through\n") {
                match reader.read(&mut piece) {
                    Ok(count) => all.extend_from_slice(&piece[..count]),
                    Err(_) => thread::sleep(Duration::from_millis(1)), // nothing yet
                }
            }
            all
        });
        audit.flush().await;
        let all = reading.join().unwrap();
        assert!(!all.windows(5).any(|piece| piece == b"lost\n"));
    }
}
