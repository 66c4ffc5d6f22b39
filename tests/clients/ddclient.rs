//! ddclient, as Debian has it: it keeps the address of a name that it finds by its record.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::certificates::Certificates;
use super::support::standin::Heard;
use super::support::{Gate, REAL_TOKEN, StandInApi, World};
use super::{NOWHERE_ELSE, installed, narrowed, said_by};

/// Has it look once after `name`, whose address is `address` now; what it said, and whether it succeeded.
async fn ddclient(
    gate: &Gate,
    ca: &Certificates,
    token: &str,
    name: &str,
    address: &str,
) -> (bool, String) {
    let directory = gate.files().path(&format!("ddclient-{name}"));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("ddclient.conf");
    let (port, ca) = (gate.address().port(), ca.authority());
    let (cache, ca) = (directory.join("cache"), ca.display());
    let text = format!(
        "ssl=yes\nssl_ca_file={ca}\ncache={}\nusev4=ipv4, ipv4={address}\nprotocol=digitalocean, server=127.0.0.1:{port}, zone=example.com, password={token}\n{name}.example.com\n",
        cache.display()
    );
    fs::write(&file, text).unwrap();
    let mut command = Command::new(installed().join("debian/usr/bin/ddclient"));
    command
        .args(["-daemon=0", "-noquiet", "-verbose", "-force", "-file"])
        .arg(Path::new(&file))
        .envs(NOWHERE_ELSE)
        .stdin(Stdio::null());
    said_by(command).await
}

#[tokio::test]
async fn ddclient_keeps_the_address_of_its_name_and_of_no_other() {
    let world = ["home", "www"]
        .iter()
        .zip(900..)
        .fold(World::default(), |world, (name, id)| {
            world.with_record("example.com", id, "A", name, "192.0.2.1")
        });
    let api = StandInApi::start_with(world).await;
    let (gate, certificates) = narrowed::gate(&api, "127.0.0.1", "ddclient.yaml").await;
    let vars = ["--var", "domain=example.com", "--var", "name=home"];
    let token = gate
        .issue(&[&["ddclient", "--role", "ddclient"], vars.as_slice()].concat())
        .await;
    let address = |id: &str| {
        api.world(|world| world.one("domains/example.com/records", id).unwrap()["data"].clone())
    };

    let (succeeded, said) = ddclient(&gate, &certificates, &token, "home", "203.0.113.7").await;
    assert!(succeeded && address("900") == "203.0.113.7", "{said}");
    let heard = api.heard();
    assert!(heard.iter().all(|heard| heard.bearer() == Some(REAL_TOKEN)));
    let writes: Vec<_> = api.writes().iter().map(Heard::line).collect();
    assert_eq!(writes, ["PATCH /v2/domains/example.com/records/900"]);

    // It says that the address is what it was, and changes nothing.
    let (_, said) = ddclient(&gate, &certificates, &token, "home", "203.0.113.7").await;
    assert!(said.contains("already 203.0.113.7"), "{said}");
    assert_eq!(api.writes().len(), 1);

    // Another's record is as if it were not there.
    let (_, said) = ddclient(&gate, &certificates, &token, "www", "203.0.113.7").await;
    assert!(
        said.contains("no record, multiple records, or malformed JSON"),
        "{said}"
    );
    assert_eq!(address("901"), "192.0.2.1");
    gate.finish(&api).await;
}
