//! Files that hold secrets: read only if nobody else could, and wiped after.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, fstatfs, fstatvfs};
use zeroize::Zeroizing;

use super::Secret;

/// Why a secret was not read from its file.
#[derive(Debug)]
pub enum UnreadableSecret {
    /// The system's own.
    File(PathBuf, io::Error),
    /// It is larger than any secret.
    TooLong(PathBuf),
    /// It is no text.
    NoText(PathBuf),
    /// Others could have read it.
    Loose(Loose),
}

impl fmt::Display for UnreadableSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, error) => write!(f, "`{}` can't be read: {error}", path.display()),
            Self::TooLong(path) => write!(
                f,
                "`{}` is larger than {} KiB, which no secret is; name the file that holds it alone",
                path.display(),
                MOST >> 10
            ),
            Self::NoText(path) => write!(
                f,
                "`{}` can't be read: it is not text in UTF-8",
                path.display()
            ),
            Self::Loose(loose) => write!(f, "{loose}"),
        }
    }
}

impl std::error::Error for UnreadableSecret {}

/// A file is open to more than its mode should let in.
#[derive(Debug)]
pub struct Loose {
    path: PathBuf,
    mode: u32,
    forbidden: u32,
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, change) = match self.forbidden {
            ALL_BUT_OWNER => ("its owner alone may", "go="),
            ALL_BUT_GROUP => ("its owner and its group alone may", "o="),
            _ => ("its owner and its group's readers alone may", "g-w,o="),
        };
        write!(
            f,
            "`{path}` has the mode {mode:04o}, and {who} open what is secret; run `chmod {change} {path}`, and replace the secret if others were about",
            path = self.path.display(),
            mode = self.mode & 0o7777,
        )
    }
}

impl std::error::Error for Loose {}

/// Reads a secret from its file, if nobody could read or write it who should not.
///
/// # Errors
/// `Unreadable`.
pub fn read(path: &Path) -> Result<Secret, UnreadableSecret> {
    let wrong = |error| UnreadableSecret::File(path.to_owned(), error);
    let file = File::open(path).map_err(wrong)?;
    let meta = file.metadata().map_err(wrong)?; // of the file that is open, whatever is at the path by now
    if !is_mounted_secret(&file, &meta) {
        let forbidden = forbidden_to_others(&meta);
        kept_from(forbidden, path, &meta).map_err(UnreadableSecret::Loose)?;
    }
    // As much as may come, at once: a buffer that grows leaves what it held behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST + 1));
    file.take(MOST as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(wrong)?;
    if bytes.len() > MOST {
        return Err(UnreadableSecret::TooLong(path.to_owned()));
    }
    let text =
        std::str::from_utf8(&bytes).map_err(|_| UnreadableSecret::NoText(path.to_owned()))?;
    Ok(Secret::new(text.to_owned()))
}

/// Checks that a file that one user or one group works with is open to nobody else. Kubernetes gives all that is on a volume to
/// the group of the pod (`fsGroup`), to write too, and a group may be meant to issue tokens.
///
/// # Errors
/// `Loose`.
pub fn kept_to_group(path: &Path, meta: &Metadata) -> Result<(), Loose> {
    kept_from(ALL_BUT_GROUP, path, meta)
}

/// A file of root may be read by its group: that is how a daemon that is not root is let read it (`root:tidegate` with 0640,
/// `root:ssl-cert`, a Kubernetes secret under `fsGroup`, or a credential of systemd, on which an access list shows as its
/// group's). Anyone else's is for its owner.
fn forbidden_to_others(meta: &Metadata) -> u32 {
    if meta.uid() == 0 {
        ALL_BUT_OWNER_AND_READERS
    } else {
        ALL_BUT_OWNER
    }
}

fn kept_from(forbidden: u32, path: &Path, meta: &Metadata) -> Result<(), Loose> {
    if meta.is_file() && meta.mode() & forbidden != 0 {
        return Err(Loose {
            path: path.to_owned(),
            mode: meta.mode(),
            forbidden,
        });
    }
    Ok(()) // a pipe is read once, by who gets it
}

/// Whether whoever runs this process mounted the file as a secret: in memory, to be read only, as Kubernetes, Docker's swarm and
/// systemd do. Kubernetes' own default there is 0644, which nobody can change from within and which lets nobody in who is not
/// in the container. That it may be written by others is still too much.
fn is_mounted_secret(file: &File, meta: &Metadata) -> bool {
    let in_memory = fstatfs(file.as_fd()).is_ok_and(|found| [TMPFS, RAMFS].contains(&found.f_type));
    let read_only =
        fstatvfs(file.as_fd()).is_ok_and(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY));
    in_memory && read_only && meta.mode() & 0o022 == 0
}

const ALL_BUT_OWNER: u32 = 0o077;
const ALL_BUT_OWNER_AND_READERS: u32 = 0o027;
const ALL_BUT_GROUP: u32 = 0o007;
/// The largest file that is read as a secret, in bytes.
const MOST: usize = 256 << 10;
/// As the kernel's `magic.h` has them.
const TMPFS: i64 = 0x0102_1994;
const RAMFS: i64 = 0x8584_58f6;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;

    fn file(mode: u32) -> (TempDir, PathBuf) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("do-token");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_mode_lets_in_whom_its_owner_may_have_meant() {
        let cases = [
            (0o400, ALL_BUT_OWNER, true),
            (0o600, ALL_BUT_OWNER, true),
            (0o640, ALL_BUT_OWNER, false),
            (0o604, ALL_BUT_OWNER, false),
            (0o610, ALL_BUT_OWNER, false),
            (0o440, ALL_BUT_OWNER_AND_READERS, true), // a credential of systemd
            (0o640, ALL_BUT_OWNER_AND_READERS, true), // root:ssl-cert
            (0o644, ALL_BUT_OWNER_AND_READERS, false),
            (0o660, ALL_BUT_OWNER_AND_READERS, false), // a group that writes chooses the token
            (0o601, ALL_BUT_OWNER_AND_READERS, false),
            (0o660, ALL_BUT_GROUP, true), // a volume of Kubernetes under `fsGroup`
            (0o664, ALL_BUT_GROUP, false),
        ];
        for (mode, forbidden, kept) in cases {
            let (_directory, path) = file(mode);
            let meta = fs::metadata(&path).unwrap();
            assert_eq!(
                kept_from(forbidden, &path, &meta).is_ok(),
                kept,
                "mode {mode:o}"
            );
        }
    }

    #[test]
    fn what_others_may_read_is_not_read_and_the_command_is_said() {
        let (directory, path) = file(0o644);
        let link = directory.path().join("link");
        symlink(&path, &link).unwrap();
        for path in [&path, &link] {
            let said = read(path).unwrap_err().to_string();
            let change = if fs::metadata(path).unwrap().uid() == 0 {
                "g-w,o="
            } else {
                "go="
            };
            assert!(said.contains("has the mode 0644"), "{said}");
            assert!(
                said.contains(&format!("run `chmod {change} {}`", path.display())),
                "{said}"
            );
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(&link).unwrap().expose(), "secret");
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_it() {
        let (_directory, path) = file(0o600);
        fs::write(&path, "x".repeat(MOST + 1)).unwrap();
        assert!(matches!(read(&path), Err(UnreadableSecret::TooLong(_))));
        assert!(matches!(
            read(Path::new("/dev/zero")),
            Err(UnreadableSecret::TooLong(_))
        ));
        fs::write(&path, [0xff]).unwrap();
        assert!(matches!(read(&path), Err(UnreadableSecret::NoText(_))));
    }
}
