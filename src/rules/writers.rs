//! Who may write a file that decides: whoever may, decides what sub-tokens may, by whatever the file is called.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};

/// A file or directory that others may write.
#[derive(Debug)]
pub(super) struct Writable {
    path: PathBuf,
    mode: u32,
    who: WhoWrites,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum WhoWrites {
    /// Everybody.
    All,
    /// A group.
    Group,
    /// The owner of a file in a directory in which everybody may have put it.
    Owner,
}

impl fmt::Display for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, mode) = (self.path.display(), self.mode & 0o7777);
        let (who, change) = match self.who {
            WhoWrites::All => ("everybody may write it", "chmod o-w"),
            WhoWrites::Group => ("a group may write it", "chmod g-w"),
            WhoWrites::Owner => (
                "its directory is everybody's, and it is neither root's nor this user's",
                "chown root",
            ),
        };
        write!(
            f,
            "`{path}` has the mode {mode:04o}: {who}, and who writes it decides what sub-tokens may; look through it, and run `{change} {path}`"
        )
    }
}

/// Checks that a file, and the directories in which it and a link to it lie, are written by nobody but their owner, root, and
/// this user. A group that is called by the owner's own number has nobody else in it, as most systems make them.
///
/// What lies on a file system that is mounted to be read only, as Kubernetes mounts a `ConfigMap`, nobody writes from here.
///
/// # Errors
/// `Writable`; the system's own, where the file can't be looked at.
pub(super) fn kept_from_others(path: &Path) -> io::Result<Result<(), Writable>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(Ok(())); // a pipe is written by who made it
    }
    let resolved = fs::canonicalize(path)?;
    if statvfs(&resolved)?
        .f_flag
        .contains(StatVfsMountFlags::RDONLY)
    {
        return Ok(Ok(()));
    }
    let file = fs::metadata(&resolved)?;
    let me = rustix::process::geteuid().as_raw();
    for directory in [path.parent(), resolved.parent()].into_iter().flatten() {
        let directory = if directory.as_os_str().is_empty() {
            Path::new(".")
        } else {
            directory
        };
        let meta = fs::metadata(directory)?;
        let who = match writer(&meta) {
            // Who may write there can't replace what is another's.
            Some(_) if meta.mode() & STICKY != 0 => {
                let own = [0, me].contains(&file.uid());
                (!own).then_some((&resolved, &file, WhoWrites::Owner))
            }
            Some(who) => return Ok(Err(writable(directory, &meta, who))),
            None => None,
        };
        if let Some((path, meta, who)) = who {
            return Ok(Err(writable(path, meta, who)));
        }
    }
    Ok(match writer(&file) {
        Some(who) => Err(writable(path, &file, who)),
        None => Ok(()),
    })
}

fn writable(path: &Path, meta: &Metadata, who: WhoWrites) -> Writable {
    Writable {
        path: path.to_owned(),
        mode: meta.mode(),
        who,
    }
}

fn writer(meta: &Metadata) -> Option<WhoWrites> {
    if meta.mode() & 0o002 != 0 {
        return Some(WhoWrites::All);
    }
    let of_one = meta.gid() == 0 || meta.gid() == meta.uid();
    (meta.mode() & 0o020 != 0 && !of_one).then_some(WhoWrites::Group)
}

const STICKY: u32 = 0o1000;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Where the tests run as root, a group that is not the owner's own is there to be given.
    fn given_away(path: &Path) -> bool {
        chown(path, None, Some(65_534)).is_ok()
    }

    #[test]
    fn a_file_that_others_may_write_is_told_with_the_command() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("policy.yaml");
        fs::write(&file, "").unwrap();
        let link = directory.path().join("link.yaml");
        symlink(&file, &link).unwrap();
        let said = |directory_mode: u32, file_mode: u32| {
            set(directory.path(), directory_mode);
            set(&file, file_mode);
            let by_path = kept_from_others(&file).unwrap().err();
            let by_link = kept_from_others(&link).unwrap().err();
            assert_eq!(by_path.is_some(), by_link.is_some());
            by_path.map(|error| error.to_string()).unwrap_or_default()
        };
        let own_group = fs::metadata(&file).unwrap();
        let own_group = own_group.gid() == own_group.uid();
        let cases = [
            (0o700, 0o600, ""),
            (0o755, 0o644, ""),
            (
                0o755,
                0o666,
                "policy.yaml` has the mode 0666: everybody may write it",
            ),
            (0o777, 0o644, "has the mode 0777: everybody may write it"),
            (0o1777, 0o644, ""), // as `/tmp`
            (
                0o1777,
                0o646,
                "policy.yaml` has the mode 0646: everybody may write it",
            ),
        ];
        for (directory_mode, file_mode, expected) in cases {
            let said = said(directory_mode, file_mode);
            assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
            assert!(said.contains(expected), "{said}");
        }
        if own_group {
            assert_eq!(said(0o775, 0o664), "", "the group is its owner's own");
        }
        if given_away(&file) {
            let told = said(0o755, 0o664);
            assert!(told.contains("a group may write it"), "{told}");
            let command = format!("run `chmod g-w {}`", file.display());
            assert!(told.ends_with(&command), "{told}");
            assert!(given_away(directory.path()));
            assert!(said(0o775, 0o644).contains("0775: a group may write it"));
            chown(&file, Some(65_534), None).unwrap();
            assert!(said(0o1777, 0o644).contains("neither root's nor this user's"));
            assert_eq!(said(0o755, 0o644), "");
        }
        assert!(kept_from_others(&directory.path().join("none")).is_err());
    }
}
