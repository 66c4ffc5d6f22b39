//! A light stand-in for the API, in a process of its own: every answer is ready beforehand, with the headers that the API sends.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use memchr::memmem;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::droplet::droplet;

/// The Droplets of the list: 400 KB in all.
pub const LISTED: usize = 200;

/// Serves until its standard input ends; says its address on standard output.
pub async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", listener.local_addr().unwrap());
    let answers = Arc::new(Answers::ready());
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(talk(stream, Arc::clone(&answers)));
    }
}

async fn talk(mut stream: TcpStream, answers: Arc<Answers>) -> Option<()> {
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        let head = loop {
            if let Some(at) = memmem::find(&buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let text = std::str::from_utf8(&buffer[..head]).ok()?;
        let answer = answers.to(text)?;
        let whole = head + length(text);
        while buffer.len() < whole {
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        buffer.drain(..whole);
        stream.write_all(answer).await.ok()?;
    }
}

fn length(head: &str) -> usize {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths
        .next()
        .map_or(0, |(_, value)| value.trim().parse().unwrap())
}

/// What is answered to whom.
struct Answers {
    by_path: HashMap<&'static str, Vec<u8>>,
    page_of_many: Vec<u8>,
}

impl Answers {
    fn ready() -> Self {
        let droplets: Vec<Value> = (0..LISTED).map(droplet).collect();
        let list = |links: Value, total: usize| json!({ "droplets": droplets, "links": links, "meta": { "total": total } });
        let at = |page: usize| format!("https://api.digitalocean.com/v2/droplets?page={page}");
        let links = json!({ "pages": {
            "first": at(1), "prev": at(1), "next": at(3), "last": at(5) } });
        let account = json!({ "account": { "status": "active", "droplet_limit": 25 } });
        let by_path = [
            ("/v2/account", answer(200, &account)),
            (
                "/v2/droplets/300000000",
                answer(200, &json!({ "droplet": droplet(0) })),
            ),
            ("/v2/droplets", answer(200, &list(json!({}), LISTED))),
            (
                "/v2/tags",
                answer(201, &json!({ "tag": { "name": "x", "resources": {} } })),
            ),
        ];
        Self {
            by_path: by_path.into_iter().collect(),
            page_of_many: answer(200, &list(links, 5 * LISTED)),
        }
    }

    fn to(&self, head: &str) -> Option<&[u8]> {
        let target = head.split(' ').nth(1)?;
        if target.starts_with("/v2/droplets?") && target.contains("page=2&") {
            return Some(&self.page_of_many);
        }
        let path = target.split('?').next()?;
        self.by_path.get(path).map(Vec::as_slice)
    }
}

fn answer(status: u16, body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let mut text = format!("HTTP/1.1 {status} OK\r\n");
    for (name, value) in HEADERS {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    write!(text, "content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    text.into_bytes()
}

const HEADERS: [(&str, &str); 14] = [
    ("date", "Wed, 25 Nov 2026 14:02:11 GMT"),
    ("content-type", "application/json; charset=utf-8"),
    ("connection", "keep-alive"),
    ("ratelimit-limit", "5000"),
    ("ratelimit-remaining", "4816"),
    ("ratelimit-reset", "1795615331"),
    ("cache-control", "max-age=0, private, must-revalidate"),
    ("etag", "W/\"8f1c1c2b8c0e4d4c9d9f3a1d5a7b3c21\""),
    ("x-request-id", "0d8f6a52-6c61-4a0e-9b0e-3b0d4f0d8d11"),
    ("x-gateway", "Edge-Gateway"),
    ("x-response-from", "service"),
    ("cf-cache-status", "DYNAMIC"),
    ("server", "cloudflare"),
    ("cf-ray", "8f1c1c2b8c0e4d4c-FRA"),
];
