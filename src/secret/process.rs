//! What keeps secrets in the process that has them.

use std::fmt;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask,
};

/// The system would not promise that memory stays in the process.
#[derive(Debug)]
pub struct MemoryOpen(Errno);

impl fmt::Display for MemoryOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "core dumps can't be turned off, so a crash would write secrets to the disk: {}; let the process call setrlimit and prctl",
            self.0
        )
    }
}

impl std::error::Error for MemoryOpen {}

/// Keeps what is in memory in there: no core dump is written, whatever the limits were, and no other process of the same user
/// may attach or read `/proc/PID/mem` and `environ`.
///
/// Both are asked for: the kernel pipes a dump to a program of `core_pattern` regardless of the limit, and the limit is what
/// is left should the process become dumpable again.
///
/// # Errors
/// `Open`, on which nothing secret should be read.
pub fn shut() -> Result<(), MemoryOpen> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(MemoryOpen)?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(MemoryOpen)
}

/// Makes what is written from here on its owner's alone, whatever the umask was.
pub fn keep_files() {
    umask(Mode::RWXG | Mode::RWXO);
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn a_shut_process_dumps_nothing_and_stays_so() {
        shut().unwrap();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
    }
}
