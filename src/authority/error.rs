use std::fmt;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;

/// Why no certificate was made.
#[derive(Debug)]
pub enum Error {
    /// The directory can't be used.
    Directory(PathBuf, io::Error),
    /// A file can't be read.
    Read(PathBuf, io::Error),
    /// A file can't be written.
    Write(PathBuf, io::Error),
    /// A file is there that is something else than what its name is for.
    Wrong(PathBuf, Wrong),
    /// The authority of that certificate has ended.
    Ended(PathBuf, Timestamp),
    /// The authority of that certificate is yet to begin.
    NotBegun(PathBuf, Timestamp),
    /// Key or certificate can't be made.
    Make(rcgen::Error),
}

/// What is wrong with a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wrong {
    /// It is a directory, a link or the like.
    NoFile,
    /// It is no certificate.
    NoCertificate,
    /// It is no private key.
    NoKey,
    /// It is a certificate, but no authority's.
    NoAuthority,
    /// It is the key of another certificate.
    AnotherKey,
    /// It is a certificate that another authority made.
    AnotherAuthority,
    /// It is an authority's certificate, and its key is missing.
    WithoutKey,
    /// It is an authority's key, and its certificate is missing.
    WithoutCertificate,
    /// It is a key that others may read.
    Open,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path, error) => {
                write!(
                    f,
                    "the directory `{}` can't be used: {error}; give one that this user may write to",
                    path.display()
                )
            }
            Self::Read(path, error) => write!(f, "`{}` can't be read: {error}", path.display()),
            Self::Write(path, error) => write!(f, "`{}` can't be written: {error}", path.display()),
            Self::Wrong(path, what) => write!(f, "`{}` {what}", path.display()),
            Self::Ended(path, when) => write!(
                f,
                "the authority `{}` ended on {when}, so nobody would trust what it makes; move all files of its directory away, run this again for a new one, and let clients trust that",
                path.display()
            ),
            Self::NotBegun(path, when) => write!(
                f,
                "the authority `{}` begins only on {when}; is this machine's clock right?",
                path.display()
            ),
            Self::Make(error) => write!(f, "the certificate can't be made: {error}"),
        }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoFile => "is no regular file, and would be replaced by one; move it away, or give another directory",
            Self::NoCertificate => "is no certificate in PEM form; move it away, or give another directory",
            Self::NoKey => "is no private key in PEM form (PKCS #8); move it away, or give another directory",
            Self::NoAuthority => {
                "is the certificate of a listener, not of an authority, and can't make others; move it away, or give another directory"
            }
            Self::AnotherKey => {
                "is not the key of the certificate `ca.pem` beside it; put the right one there, or move both away for a new authority"
            }
            Self::AnotherAuthority => {
                "was made by another authority than `ca.pem` beside it, and is not replaced; move it away, or give another directory"
            }
            Self::WithoutKey => {
                "is there without its key `ca.key`, and nothing can be signed; put the key back, or move `ca.pem` away for a new authority, which clients must then be told of"
            }
            Self::WithoutCertificate => {
                "is there without its certificate `ca.pem`, which clients trust; put that back, or move `ca.key` away for a new authority, which clients must then be told of"
            }
            Self::Open => {
                "is a private key that others may read, so it may be known already; `chmod 600` it if it is not, else move it away for a new one"
            }
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Directory(_, error) | Self::Read(_, error) | Self::Write(_, error) => Some(error),
            Self::Make(error) => Some(error),
            Self::Wrong(..) | Self::Ended(..) | Self::NotBegun(..) => None,
        }
    }
}
