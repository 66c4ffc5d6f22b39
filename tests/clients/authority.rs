//! An ACME authority: Let's Encrypt's own for tests, pebble, which looks challenges up as Let's Encrypt does.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::certificates::Certificates;
use super::zone::NameServer;

/// A running authority; it ends when this is dropped.
pub struct Authority {
    process: Child,
    address: SocketAddr,
    directory: TempDir,
}

impl Authority {
    /// Starts one that shows `certificates` and asks `names` for challenges, and waits until it listens.
    pub async fn start(certificates: &Certificates, names: &NameServer) -> Self {
        let directory = TempDir::new().unwrap();
        let (address, management) = (free_port(), free_port());
        let config = json!({ "pebble": {
            "listenAddress": address, "managementListenAddress": management,
            "certificate": certificates.server(), "privateKey": certificates.key(),
            "httpPort": 9, "tlsPort": 9, "ocspResponderURL": "", "externalAccountBindingRequired": false,
        } });
        let (file, log) = (
            directory.path().join("pebble.json"),
            directory.path().join("log"),
        );
        fs::write(&file, config.to_string()).unwrap();
        let process = Command::new("pebble")
            .arg("-config")
            .arg(&file)
            .args(["-dnsserver", &names.address().to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_WFE_NONCEREJECT", "0")
            // What was proven before is proven again, or half of all renewals would write nothing.
            .env("PEBBLE_AUTHZREUSE", "0")
            .stdin(Stdio::null())
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .expect("pebble is on the PATH; Debian's package `pebble` has it");
        let mut authority = Self {
            process,
            address,
            directory,
        };
        authority.listens().await;
        authority
    }

    /// Where a client finds all else.
    pub fn url(&self) -> String {
        format!("https://{}/dir", self.address)
    }

    /// What it did, for the message of a test that fails.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    async fn listens(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < DEADLINE,
                "pebble does not listen ({ended:?}):\n{}",
                self.log()
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that was free a moment ago: pebble does not tell which one it got, if it is given 0.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

const DEADLINE: Duration = Duration::from_secs(20);
