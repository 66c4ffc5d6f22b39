//! A pooler in transaction mode between the daemons and PostgreSQL: each transaction comes by another connection.

use std::process::{Child, Command, Stdio};

use hyper::StatusCode;
use tempfile::TempDir;

use crate::cluster::{Cluster, PASSWORD, free_port, give, ordinary};
use crate::first::POLICY;
use crate::three::Three;

/// `PgBouncer`, with fewer connections to the server than come to it.
struct Bouncer {
    port: u16,
    process: Child,
    _directory: TempDir,
}

impl Bouncer {
    fn before(server: u16) -> Self {
        let (directory, port) = (TempDir::new().unwrap(), free_port());
        let config = format!(
            "[databases]\npostgres = host=127.0.0.1 port={server} dbname=postgres user=tidegate password={PASSWORD}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 2\n"
        );
        let file = directory.path().join("pgbouncer.ini");
        std::fs::write(&file, config).unwrap();
        give(directory.path());
        give(&file);
        let program = std::path::Path::new("/usr/sbin/pgbouncer");
        assert!(
            program.exists(),
            "PgBouncer is installed: `apt-get install pgbouncer`"
        );
        let mut command = ordinary(program, directory.path());
        let process = command
            .arg("pgbouncer.ini")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self {
            port,
            process: process.unwrap(),
            _directory: directory,
        }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-s", "INT", &self.process.id().to_string()])
            .status();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_may_stand_between() {
    let cluster = Cluster::start().await;
    let bouncer = Bouncer::before(cluster.port());
    while tokio::net::TcpStream::connect(("127.0.0.1", bouncer.port))
        .await
        .is_err()
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let three = Three::over(cluster, POLICY, Some(bouncer.port), "10s").await;
    let [a, b, c] = &three.gates;
    let counted = a
        .issue(&["counted", "--role", "reader", "--max-uses", "60"])
        .await;
    let mut asked = Vec::new();
    for gate in [a, b, c].into_iter().cycle().take(90) {
        asked.push(gate.get("/v2/droplets").token(&counted).send());
    }
    let said = futures_util::future::join_all(asked).await;
    let went = said
        .iter()
        .filter(|answer| answer.status == StatusCode::OK)
        .count();
    let exhausted = said
        .iter()
        .filter(|answer| answer.reason() == Some("uses_exhausted"))
        .count();
    assert_eq!((went, exhausted), (60, 30));
    assert!(
        b.cli(&["token", "revoke", "counted"])
            .await
            .status
            .success()
    );
    three
        .soon_say(
            "/v2/droplets",
            &counted,
            StatusCode::UNAUTHORIZED,
            Some("revoked"),
        )
        .await;
    three.finish().await;
}
