use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::{Failed, Outcome, print};
use crate::authority::{
    self, AUTHORITY, AUTHORITY_KEY, BUNDLE, CERTIFICATE, Certified, Host, KEY, MOST_DAYS,
};

#[derive(Args)]
#[command(
    after_help = "Example:\n  tidegate cert --host gate.example.com --host 10.0.0.5 --dir /etc/tidegate/tls\n\nRun it again in the same directory to renew the certificate or to change its hosts: the authority that clients trust stays \
                  as it is, and so does the key of the listener. Remove `server.key` first to get a new one."
)]
pub(super) struct Arguments {
    /// A name (`gate.example.com`, `*.example.com`) or address by which clients reach tidegate; repeatable.
    #[arg(long = "host", value_name = "NAME", required = true, num_args = 1..)]
    hosts: Vec<Host>,
    /// Where the files are, or shall be; made if it is missing.
    #[arg(long = "dir", value_name = "DIR")]
    directory: PathBuf,
    /// For how many days the certificate is good, 397 at most.
    #[arg(long, value_name = "N", default_value_t = MOST_DAYS, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_DAYS)))]
    days: u16,
}

/// Needs no configuration: this comes before there is one.
pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failed> {
    let directory = std::path::absolute(&arguments.directory)?;
    let made = authority::certify(
        &directory,
        &arguments.hosts,
        arguments.days,
        Timestamp::now(),
    );
    let made = made.map_err(Failed::because)?;
    print(what_was_made(&directory, &arguments.hosts, &made))?;
    print(how_to_serve(&directory))?;
    print(how_to_trust(&directory, made.bundled))?;
    if arguments.hosts.iter().any(is_the_api) {
        print(HOW_TO_STAND_IN)?;
    }
    Ok(Outcome::Good)
}

fn what_was_made(directory: &Path, hosts: &[Host], made: &Certified) -> String {
    let hosts = hosts
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    let at = |name| directory.join(name).display().to_string();
    let end = if made.cut_short {
        ", when the authority ends too"
    } else {
        ""
    };
    let authority = if made.new_authority {
        format!(
            "\n{}  the authority, new; clients are to trust it\n{}  its key, which makes the next certificate; keep it to yourself",
            at(AUTHORITY),
            at(AUTHORITY_KEY)
        )
    } else {
        format!("\n{}  the authority, as it was", at(AUTHORITY))
    };
    format!(
        "{}  for {hosts}, until {}{end}\n{}  its key{authority}",
        at(CERTIFICATE),
        made.ends,
        at(KEY)
    )
}

fn how_to_serve(directory: &Path) -> String {
    let at = |name| directory.join(name).display().to_string();
    format!(
        "
In tidegate.yaml (the daemon's user must be able to read both):

listen:
  - address: 0.0.0.0:8443
    tls: {{ certificate: {:?}, private_key: {:?} }}",
        at(CERTIFICATE),
        at(KEY)
    )
}

fn how_to_trust(directory: &Path, bundled: bool) -> String {
    let authority = directory.join(AUTHORITY);
    let file = authority.display();
    let bundle = directory.join(BUNDLE);
    // certbot, for one, asks its own authority over the same library: with ours alone it trusts nobody else.
    let python = if bundled {
        format!(
            "{}   (what the system trusts, and {AUTHORITY})",
            bundle.display()
        )
    } else {
        format!(
            "{file}   (then that alone is trusted; put it behind the system's own in one file for programs that ask others too, as certbot does)"
        )
    };
    format!(
        "
Clients are to trust {file}. Copy it to their machine, and set there:

Go (doctl, Terraform, lego)         SSL_CERT_FILE={file}
Python (pydo, certbot)              REQUESTS_CA_BUNDLE={python}
Node.js                             NODE_EXTRA_CA_CERTS={file}
curl                                curl --cacert {file} …
all programs of a Debian or Ubuntu  copy it to /usr/local/share/ca-certificates/tidegate.crt and run update-ca-certificates"
    )
}

fn is_the_api(host: &Host) -> bool {
    ["api.digitalocean.com", "*.digitalocean.com"].contains(&host.to_string().as_str())
}

const HOW_TO_STAND_IN: &str = "
For a client that can't change its base URL: let api.digitalocean.com be tidegate's address on the client's machine (a line
`ADDRESS api.digitalocean.com` in its /etc/hosts) and let tidegate listen on port 443 there. Never do so on the machine where
tidegate itself runs: it would forward to itself.";
