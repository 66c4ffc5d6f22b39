//! Certificates of an authority that clients are told to trust: what `tidegate cert` makes.

use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// The files of `tidegate cert`; they go with this.
pub struct Certificates(TempDir);

impl Certificates {
    /// Makes them for these hosts.
    pub fn make(hosts: &[&str]) -> Self {
        let directory = TempDir::new().unwrap();
        let made = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .arg("cert")
            .args(hosts.iter().flat_map(|host| ["--host", host]))
            .arg("--dir")
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
        Self(directory)
    }

    /// What clients trust.
    pub fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }

    /// What a server shows.
    pub fn server(&self) -> PathBuf {
        self.0.path().join("server.pem")
    }

    /// The key to it.
    pub fn key(&self) -> PathBuf {
        self.0.path().join("server.key")
    }
}
