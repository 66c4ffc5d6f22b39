//! Prometheus' own reading of what tidegate tells of itself.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;
use tokio::net::TcpStream;

use super::installed;
use super::support::{Gate, StandInApi};

const POLICY: &str = "
version: 1
roles:
  read:
    allow: [{ scopes: ['droplet:read'] }]
";

#[tokio::test]
async fn promtool_reads_the_metrics_and_has_nothing_to_say_of_them() {
    let api = StandInApi::start().await;
    let gate = Gate::builder(&api)
        .policy(POLICY)
        .set("admin", json!({ "address": "127.0.0.1:0" }))
        .start()
        .await;
    let token = gate.issue(&["read", "--role", "read"]).await;
    for path in ["/v2/droplets", "/v2/images", "/v2/nowhere"] {
        gate.get(path).token(&token).send().await;
    }
    let admin = TcpStream::connect(gate.admin_address().unwrap()).await;
    let asked = gate.get("/metrics").open_over(admin.unwrap()).await;
    let text = asked.unwrap().rest().await.unwrap().text();
    assert!(text.contains("ratelimit_remaining"), "{text}");
    let mut promtool = Command::new(installed().join("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert_eq!(String::from_utf8_lossy(&said), "");
    assert!(output.status.success());
    gate.finish(&api).await;
}
