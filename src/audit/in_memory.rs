use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{MemfdFlags, memfd_create};

/// A record for the process that makes it alone, and for as long as that runs: in memory as far as it goes there, and from then on in
/// a file without a name, which is gone with the process.
#[derive(Clone)]
pub struct Kept(Arc<Both>);

struct Both {
    memory: File,
    /// How many bytes of lines go into memory yet.
    room: Mutex<usize>,
    /// What did not.
    beyond: Mutex<Option<File>>,
    directory: PathBuf,
}

/// As many bytes of lines are kept in memory.
const MOST: usize = 64 << 20;

impl Kept {
    /// An empty one. What does not go into memory goes into `directory`.
    ///
    /// # Errors
    /// The system's own.
    pub fn new(directory: PathBuf) -> io::Result<Self> {
        Self::with_room(MOST, directory)
    }

    fn with_room(room: usize, directory: PathBuf) -> io::Result<Self> {
        Ok(Self(Arc::new(Both {
            memory: File::from(memfd_create("record", MemfdFlags::CLOEXEC)?),
            room: Mutex::new(room),
            beyond: Mutex::new(None),
            directory,
        })))
    }

    /// What was written until now, from its beginning on.
    pub fn read(&self) -> impl Read + use<> {
        let memory = self.0.memory.try_clone().map(FromStart::of);
        let beyond = self.0.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        let beyond = beyond.as_ref().map(File::try_clone);
        let beyond = beyond.transpose().map(|file| file.map(FromStart::of));
        Maybe(memory.map(Some)).chain(Maybe(beyond))
    }
}

impl Write for Kept {
    /// Writes lines whole: into memory, or once they do not go there, they and all that come after beyond it.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut room = self.0.room.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(left) = room.checked_sub(lines.len()) {
            (&self.0.memory).write_all(lines)?;
            *room = left;
            return Ok(lines.len());
        }
        *room = 0;
        let mut beyond = self.0.beyond.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match beyond.take() {
            Some(file) => file,
            None => nameless(&self.0.directory)?,
        };
        let written = (&file).write_all(lines);
        *beyond = Some(file);
        written.map(|()| lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file for this process alone.
fn nameless(directory: &Path) -> io::Result<File> {
    let file = tempfile::tempfile_in(directory)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// A file from its beginning on, wherever it is being written.
struct FromStart {
    file: File,
    at: u64,
}

impl FromStart {
    fn of(file: File) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for FromStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A file that there may be, or why it can't be read.
struct Maybe(io::Result<Option<FromStart>>);

impl Read for Maybe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Ok(Some(file)) => file.read(buffer),
            Ok(None) => Ok(0),
            Err(error) => Err(io::Error::from(error.kind())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn what_does_not_go_into_memory_is_kept_all_the_same_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = Kept::with_room(25, directory.path().to_owned()).unwrap();
        let mut all = String::new();
        for number in 0..9 {
            let line = format!("{{\"time\":{number}}}\n");
            kept.write_all(line.as_bytes()).unwrap();
            all += &line;
            let mut read = String::new();
            kept.read().read_to_string(&mut read).unwrap();
            assert_eq!(read, all);
        }
        assert_eq!(
            kept.0.memory.metadata().unwrap().len(),
            22,
            "two lines go in"
        );
        let beyond = kept.0.beyond.lock().unwrap();
        let beyond = beyond.as_ref().unwrap().metadata().unwrap();
        assert_eq!(
            (beyond.nlink(), beyond.mode() & 0o777),
            (0, 0o600),
            "nobody else can open it"
        );
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_line_that_goes_nowhere_is_said_to_be_unwritten() {
        let directory = tempfile::tempdir().unwrap();
        let mut kept = Kept::with_room(0, directory.path().join("missing")).unwrap();
        assert!(kept.write_all(b"{}\n").is_err());
    }
}
