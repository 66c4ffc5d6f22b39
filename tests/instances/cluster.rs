//! A PostgreSQL of a test's own, on loopback and a unix socket, run by an ordinary user: it refuses to run as root.
#![allow(dead_code, reason = "the tests and a benchmark use a part of it each")]

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use crate::support::gate::GateBuilder;
use crate::support::{Gate, StandInApi};

/// A database server with one database, which is empty.
pub struct Cluster {
    directory: TempDir,
    port: u16,
    server: Option<Child>,
}

/// Whom the server trusts with everything.
const USER: &str = "tidegate";
/// What it is shown over TCP, where a unix socket shows who asks.
pub const PASSWORD: &str = "of-the-database-for-tests";
/// How long the server may take to start or to end.
const DEADLINE: Duration = Duration::from_secs(30);

impl Cluster {
    /// Makes a cluster and starts its server. Its disk may be held up for seconds by what is built beside the tests, and none of them
    /// takes the machine's power away, so it does not wait for it.
    pub async fn start() -> Self {
        Self::with("fsync = off\nlog_min_duration_statement = 500\n").await
    }

    /// The same with a server that waits for its disk, as one that matters does.
    pub async fn durable() -> Self {
        Self::with("").await
    }

    async fn with(settings: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path();
        give(path);
        fs::write(path.join("password"), PASSWORD).unwrap();
        give(&path.join("password"));
        let made = ordinary(&program("initdb"), path)
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "-D", "data"])
            .args([
                "-U",
                USER,
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
            ])
            .args(["--pwfile", "password"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "no cluster could be made: {said}");
        let own = format!(
            "listen_addresses = '127.0.0.1'\nmax_connections = 50\nshared_buffers = 32MB\n{settings}"
        );
        let conf = path.join("data/postgresql.auto.conf");
        fs::write(&conf, own).unwrap();
        let mut cluster = Self {
            port: free_port(),
            directory,
            server: None,
        };
        cluster.start_again().await;
        cluster
    }

    /// Starts the server on the same port, after it was stopped.
    pub async fn start_again(&mut self) {
        let path = self.directory.path();
        let log = File::options()
            .create(true)
            .append(true)
            .open(path.join("log"))
            .unwrap();
        let server = ordinary(&program("postgres"), path)
            .args(["-D", "data", "-p", &self.port.to_string(), "-k"])
            .arg(path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.server = Some(server.unwrap());
        let begun = Instant::now();
        while self.ask().await.is_err() {
            assert!(
                begun.elapsed() < DEADLINE,
                "PostgreSQL did not start: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends the server: by `QUIT` as a crash would, by `INT` in order, though nobody is waited for.
    pub fn stop(&mut self, signal: &str) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let sent = Command::new("kill")
            .args(["-s", signal, &server.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        server.wait().unwrap();
    }

    /// Lets the server take TLS with this certificate, once it is started again.
    pub fn secure(&self, certificate: &str, key: &str) {
        let data = self.directory.path().join("data");
        for (name, text) in [("server.crt", certificate), ("server.key", key)] {
            let path = data.join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            give(&path);
        }
        let conf = data.join("postgresql.auto.conf");
        let before = fs::read_to_string(&conf).unwrap();
        fs::write(&conf, before + "ssl = on\n").unwrap();
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address over TCP, password and all.
    pub fn url(&self) -> String {
        url_at(self.port)
    }

    /// Its address over its unix socket.
    pub fn socket_url(&self) -> String {
        format!(
            "host={} port={} user={USER} dbname=postgres",
            self.directory.path().display(),
            self.port
        )
    }

    /// A connection of the test's own.
    pub async fn ask(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The first column of the one row that this gives.
    pub async fn number(&self, sql: &str) -> i64 {
        self.ask()
            .await
            .unwrap()
            .query_one(sql, &[])
            .await
            .unwrap()
            .get(0)
    }

    /// A gate before `api` whose state is here, and whose tables are made when it starts.
    pub fn gate(&self, api: &StandInApi, policy: &str) -> GateBuilder {
        gate_at(self.port, api, policy)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = Command::new("kill")
                .args(["-s", "QUIT", &server.id().to_string()])
                .status();
            let _ = server.wait();
        }
        if std::thread::panicking() {
            eprintln!("PostgreSQL's log:\n{}", self.log());
        }
    }
}

/// A port that nobody has now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A command that runs as an ordinary user in a directory of that user's.
pub fn ordinary(program: &Path, directory: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                "--",
            ])
            .arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir(directory).env("LC_ALL", "C");
    command
}

/// Gives a file to that user.
pub fn give(path: &Path) {
    if is_root() {
        let id = |flag: &str| {
            let asked = Command::new("id")
                .args([flag, "postgres"])
                .output()
                .unwrap();
            let said = String::from_utf8(asked.stdout).unwrap();
            said.trim()
                .parse::<u32>()
                .expect("Debian's package makes the user `postgres`")
        };
        chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    let versions = versions.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let newest = versions
        .max()
        .expect("PostgreSQL is installed: `apt-get install postgresql`");
    Path::new("/usr/lib/postgresql")
        .join(newest.to_string())
        .join("bin")
        .join(name)
}

/// Its address over TCP by any port, at which something may stand between.
fn url_at(port: u16) -> String {
    format!("postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/postgres")
}

/// A gate before `api` whose state is in a cluster, by any port.
pub fn gate_at(port: u16, api: &StandInApi, policy: &str) -> GateBuilder {
    let state = serde_json::json!({ "postgres": { "url_file": "db-url", "migrate": true } });
    Gate::builder(api)
        .policy(policy)
        .file("db-url", &url_at(port))
        .set("state", state)
}
