//! tidegate in a few seconds, without an account: a stand-in for DigitalOcean's API, the daemon before it, two sub-tokens, and
//! what becomes of their requests.
//!
//! `cargo run --example quickstart`
#![allow(clippy::print_stdout, reason = "an example is there to show something")]

#[path = "../tests/support/standin/mod.rs"]
mod standin;

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde_json::{Value, json};
use tidegate::policy::Vars;
use tidegate::server::{self, Inherited};
use tidegate::state::{self, Issued};
use tidegate::token::Limits;
use tidegate::token::SubToken;
use tokio::time::{sleep, timeout};

use standin::{REAL_TOKEN, StandInApi};

const POLICY: &str = "version: 1
roles:
  read-only:
    allow:
      - scopes: ['*:read']
  deploy:
    allow:
      - scopes: [droplet:read, droplet:create, image:read, tag:create]
      - scopes: [droplet:update]
        actions: [power_off, resize, power_on]
";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let api = StandInApi::start().await;
    let directory = tempfile::Builder::new()
        .prefix("tidegate-quickstart-")
        .tempdir()?;
    let address = free_address()?;
    let config = write_files(directory.path(), address, &api)?;
    println!("A stand-in for DigitalOcean's API is at {}.", api.url());
    println!("tidegate is before it, at http://{address}, with this policy:\n");
    println!("{}", indented(POLICY));
    tokio::select! {
        ended = server::run(&config, Inherited::none()) => ended?, // what `tidegate serve` runs; it ends only if it can't start
        shown = tour(directory.path(), address, &api) => shown?,
    }
    println!("{TO_YOUR_OWN_ACCOUNT}");
    Ok(())
}

async fn tour(
    directory: &Path,
    address: SocketAddr,
    api: &StandInApi,
) -> Result<(), Box<dyn Error>> {
    listening(address).await?;
    println!("Two sub-tokens, as `tidegate token issue` makes them:\n");
    let state = directory.join("tidegate.db");
    let reader = Caller::issue("reader", "read-only", &state, address)?;
    let deployer = Caller::issue("deployer", "deploy", &state, address)?;

    println!("\nWhat each asks (>), and what comes back (<):\n");
    reader.get("/v2/droplets?per_page=2").await?;
    reader.ask("DELETE", "/v2/droplets/12", None).await?;
    reader
        .get("/v2/kubernetes/clusters/bd5f5959/kubeconfig")
        .await?;
    let droplet = json!({ "name": "web-2", "size": "s-1vcpu-1gb", "image": "ubuntu-24-04-x64", "tags": ["web"] });
    deployer.ask("POST", "/v2/droplets", Some(&droplet)).await?;
    let acts = "/v2/droplets/12/actions";
    deployer
        .ask("POST", acts, Some(&json!({ "type": "power_off" })))
        .await?;
    deployer
        .ask(
            "POST",
            acts,
            Some(&json!({ "type": "rebuild", "image": 7003 })),
        )
        .await?;
    deployer.get("/.tidegate/v1/whoami").await?;

    show_heard(api);
    show_audit(&directory.join("audit.jsonl")).await
}

/// Who has a sub-token, and asks tidegate with it as any client does.
struct Caller {
    name: &'static str,
    token: SubToken,
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Caller {
    /// Does what `tidegate token issue NAME --role ROLE --expires 1h` does. The daemon runs already; it sees the token at once.
    fn issue(
        name: &'static str,
        role: &str,
        state: &Path,
        address: SocketAddr,
    ) -> Result<Self, Box<dyn Error>> {
        let now = Timestamp::now();
        let token = SubToken::generate().map_err(|error| error.to_string())?;
        let limits = Limits {
            expires_at: Some(now.checked_add(Duration::from_secs(3600))?),
            ..Limits::default()
        };
        let issued = Issued {
            id: token.id.clone(),
            name: name.to_owned(),
            hash: token.hash(),
            old: None,
            roles: [role.to_owned()].into(),
            vars: Vars::new(),
            limits: limits.into(),
            created_at: now,
            ceiling: None,
            about: None,
            maker: None,
        };
        state::open(
            &state::StatePlace::File(state.to_owned()),
            Duration::from_secs(5),
        )?
        .issue(&issued, now)?;
        println!(
            "  {name:<9} tdg_v1_{}_…  with the role `{role}`, for an hour",
            token.id
        );
        let client = Client::builder(TokioExecutor::new()).build_http();
        Ok(Self {
            name,
            token,
            address,
            client,
        })
    }

    async fn get(&self, target: &str) -> Result<(), Box<dyn Error>> {
        self.ask("GET", target, None).await
    }

    async fn ask(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> Result<(), Box<dyn Error>> {
        let sent = body.map(Value::to_string).unwrap_or_default();
        let line = format!("{method} {target} {sent}");
        println!("{:>9} > {}", self.name, line.trim_end());
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{target}", self.address))
            .header(
                AUTHORIZATION,
                format!("Bearer {}", self.token.secret.expose()),
            )
            .body(Full::new(Bytes::from(sent)))?;
        let (head, body) = self.client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        show_answer(head.status, &head.headers, &String::from_utf8_lossy(&body));
        Ok(())
    }
}

/// An answer as a person reads it: a refusal by its message and tidegate's headers, anything else by how it begins.
fn show_answer(status: StatusCode, headers: &HeaderMap, body: &str) {
    println!("          < {status}");
    for name in ["tidegate-reason", "tidegate-needs"] {
        if let Some(value) = headers.get(name).and_then(|value| value.to_str().ok()) {
            println!("            {name}: {value}");
        }
    }
    let refusal = serde_json::from_str::<Value>(body).ok();
    let message = refusal
        .as_ref()
        .and_then(|body| body.get("message")?.as_str());
    println!("            {}\n", message.unwrap_or(&shortened(body)));
}

/// Only what was allowed came this far, and with the real token.
fn show_heard(api: &StandInApi) {
    println!("What the API heard of all that, always with the real token:\n");
    for heard in api.heard() {
        let token = match heard.bearer() {
            Some(REAL_TOKEN) => "the real token",
            Some(_) | None => "another token!",
        };
        println!("  {:<38} {token}", heard.line());
    }
}

/// The audit record: a line for each request, and one before each that changes something.
async fn show_audit(file: &Path) -> Result<(), Box<dyn Error>> {
    const REQUESTS: usize = 7;
    let answered = |text: &str| text.matches("\"event\":\"answer\"").count();
    let written = async {
        loop {
            match fs::read_to_string(file) {
                Ok(text) if answered(&text) == REQUESTS && text.ends_with('\n') => break text,
                Ok(_) | Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    };
    let text = timeout(DEADLINE, written).await?;
    println!("\nThe audit record, in columns:\n");
    for line in text.lines() {
        let record: Value = serde_json::from_str(line)?;
        println!("  {}", in_columns(&record));
    }
    let change = text
        .lines()
        .find(|line| line.contains("\"event\":\"answer\"") && line.contains("\"droplets_create\""));
    println!(
        "\nand one of its lines as it is:\n\n  {}\n",
        change.unwrap_or("-")
    );
    Ok(())
}

fn in_columns(record: &Value) -> String {
    let text = |pointer: &str| {
        record.pointer(pointer).map_or_else(
            || "-".to_owned(),
            |value| value.to_string().replace('"', ""),
        )
    };
    format!(
        "{:<8}  {:<8}  {:<5}  {:<18}  {:<3}  {} {}",
        text("/event"),
        text("/token/name"),
        text("/decision"),
        text("/reason"),
        text("/status"),
        text("/method"),
        text("/path"),
    )
}

/// A port that was free a moment ago: the daemon tells the one it got only in its log.
fn free_address() -> Result<SocketAddr, std::io::Error> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn write_files(
    directory: &Path,
    address: SocketAddr,
    api: &StandInApi,
) -> Result<std::path::PathBuf, std::io::Error> {
    let config = directory.join("tidegate.yaml");
    let text = format!(
        "listen: [{{ address: \"{address}\" }}]\nupstream: {{ url: \"{}\" }}\n\
         accounts: {{ default: {{ token_file: do-token }} }}\npolicy: policy.yaml\nstate: tidegate.db\n\
         audit: {{ file: audit.jsonl }}\n",
        api.url()
    );
    fs::write(&config, text)?;
    fs::write(directory.join("policy.yaml"), POLICY)?;
    let own = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600) // others may not read it, or tidegate would not
        .open(directory.join("do-token"));
    own?.write_all(REAL_TOKEN.as_bytes())?;
    Ok(config)
}

async fn listening(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let accepted = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    Ok(timeout(DEADLINE, accepted).await?)
}

fn shortened(text: &str) -> String {
    const WHOLE: usize = 450;
    const START: usize = 200;
    if text.len() <= WHOLE {
        return text.to_owned();
    }
    let start: String = text.chars().take(START).collect();
    format!("{start}… ({} bytes)", text.len())
}

fn indented(text: &str) -> String {
    text.lines()
        .fold(String::new(), |all, line| all + "  " + line + "\n")
}

const DEADLINE: Duration = Duration::from_secs(10);

const TO_YOUR_OWN_ACCOUNT: &str = "Before your own account: put a real token into the file `do-token` (`chmod 600` it), and beside it

  tidegate.yaml    listen: [{ address: 127.0.0.1:8080 }]
                   accounts: { default: { token_file: do-token } }
                   policy: policy.yaml
                   state: tidegate.db
                   audit: { file: audit.jsonl }
  policy.yaml      the one of config/; its role `read-only` also denies what shows passwords

and then

  export TIDEGATE_CONFIG=tidegate.yaml
  tidegate check && tidegate serve
  tidegate token issue laptop --role read-only --expires 30d     # in another terminal; prints the sub-token

  export DIGITALOCEAN_ACCESS_TOKEN=tdg_v1_…                      # what was printed
  doctl --api-url http://127.0.0.1:8080 compute droplet list     # or with DIGITALOCEAN_API_URL set to that address

`config/tidegate.yaml` and `config/policy.yaml` have every key, each with what it is for.";
