//! A read takes so many allocations and no more: what each of them costs is little, and of most requests it was once a fifth.
//!
//! The daemon runs in this process, before a stand-in for the API and a client that take none themselves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption must stop the test"
)]

use std::alloc::System;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tidegate::policy::Vars;
use tidegate::server::{self, Inherited};
use tidegate::state::{self, Issued};
use tidegate::token::{Limits, SubToken};

#[global_allocator]
static COUNTED: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The bound, which only goes down.
const MOST: usize = 40;
const REQUESTS: usize = 200;
const ROUNDS: usize = 5;

const POLICY: &str = "version: 1
roles:
  reader:
    allow:
      - scopes: [droplet:read]
";
const REAL_TOKEN: &str = "dop_v1_0000000000000000000000000000000000000000000000000000000000000000";
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n\
    connection: keep-alive\r\nratelimit-limit: 5000\r\nratelimit-remaining: 4816\r\n\
    etag: W/\"8f1c1c2b8c0e4d4c9d9f3a1d5a7b3c21\"\r\nserver: cloudflare\r\ncontent-length: 48\r\n\r\n\
    {\"droplet\":{\"id\":12,\"name\":\"web\",\"tags\":[\"a\"]}}\n";

#[test]
fn a_read_takes_few_allocations() {
    let api = TcpListener::bind("127.0.0.1:0").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let gate = free_address();
    write_files(directory.path(), gate, api.local_addr().unwrap());
    let token = issue(&directory.path().join("tidegate.db"));
    thread::spawn(move || {
        for stream in api.incoming() {
            thread::spawn(move || answer_all(stream.unwrap()));
        }
    });
    let config = directory.path().join("tidegate.yaml");
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime
            .block_on(server::run(&config, Inherited::none()))
            .unwrap();
    });
    let mut client = Client::connect(gate, &token);
    client.ask(REQUESTS); // what is made once is not counted
    let counts = (0..ROUNDS).map(|_| {
        let before = COUNTED.stats();
        client.ask(REQUESTS);
        let made = COUNTED.stats() - before;
        (made.allocations + made.reallocations) / REQUESTS
    });
    // What goes on beside requests counts too: the round with the least of it.
    let least = counts.min().unwrap();
    assert!(
        least <= MOST,
        "{least} allocations for a read; at most {MOST}"
    );
    assert!(least > 0, "the daemon is counted");
}

fn write_files(directory: &Path, gate: SocketAddr, api: SocketAddr) {
    let config = json!({
        "listen": [{ "address": gate.to_string() }],
        "upstream": { "url": format!("http://{api}") },
        "accounts": { "default": { "token_file": "token" } },
        "policy": "policy.yaml",
        "state": "tidegate.db",
        "audit": { "file": "audit.jsonl" },
    });
    let files = [
        ("tidegate.yaml", config.to_string()),
        ("policy.yaml", POLICY.to_owned()),
        ("token", REAL_TOKEN.to_owned()),
    ];
    for (name, text) in files {
        let mut open = OpenOptions::new();
        let file = open
            .create(true)
            .write(true)
            .mode(0o600)
            .open(directory.join(name));
        file.unwrap().write_all(text.as_bytes()).unwrap();
    }
}

fn issue(path: &Path) -> SubToken {
    let (now, token) = (Timestamp::now(), SubToken::generate().unwrap());
    let limits = Limits {
        expires_at: Some(now.checked_add(Duration::from_secs(3600)).unwrap()),
        ..Limits::default()
    };
    let issued = Issued {
        id: token.id.clone(),
        name: "reader".to_owned(),
        hash: token.hash(),
        old: None,
        roles: ["reader".to_owned()].into(),
        vars: Vars::new(),
        limits: limits.into(),
        created_at: now,
        ceiling: None,
        about: None,
        maker: None,
    };
    let place = state::StatePlace::File(path.to_owned());
    let mut state = state::open(&place, Duration::from_secs(5)).unwrap();
    state.issue(&issued, now).unwrap();
    token
}

/// A port of loopback that nobody listens at.
fn free_address() -> SocketAddr {
    let bound = TcpListener::bind("127.0.0.1:0").unwrap();
    bound.local_addr().unwrap()
}

/// Answers whatever is asked over a connection, always the same.
fn answer_all(mut stream: TcpStream) {
    let (mut read, mut filled) = ([0; 16 << 10], 0);
    while let Ok(count) = stream.read(&mut read[filled..]) {
        if count == 0 {
            break;
        }
        filled += count;
        if read[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            stream.write_all(ANSWER.as_bytes()).unwrap();
        }
    }
}

struct Client {
    stream: TcpStream,
    request: String,
}

impl Client {
    fn connect(gate: SocketAddr, token: &SubToken) -> Self {
        let began = Instant::now();
        let stream = loop {
            match TcpStream::connect(gate) {
                Ok(stream) => break stream,
                Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
            }
            thread::sleep(Duration::from_millis(10));
        };
        stream.set_nodelay(true).unwrap();
        let token = token.secret.expose();
        let request = format!(
            "GET /v2/droplets/12 HTTP/1.1\r\nhost: {gate}\r\nuser-agent: doctl/1.120.0\r\n\
            accept: application/json\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        Self { stream, request }
    }

    fn ask(&mut self, count: usize) {
        let mut read = [0; 4 << 10];
        for _ in 0..count {
            self.stream.write_all(self.request.as_bytes()).unwrap();
            let mut filled = 0;
            while !read[..filled].ends_with(b"}}\n") {
                let count = self.stream.read(&mut read[filled..]).unwrap();
                assert_ne!(count, 0, "{}", String::from_utf8_lossy(&read[..filled]));
                filled += count;
            }
            assert!(
                read.starts_with(b"HTTP/1.1 200"),
                "{}",
                String::from_utf8_lossy(&read[..filled])
            );
        }
    }
}
