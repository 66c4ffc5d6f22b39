//! A client of the gate: HTTP/1.1 over one connection that is kept.

use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

use super::ask::Request;
use super::serve::{Message, read};

pub struct Client {
    socket: std::path::PathBuf,
    token: String,
    line: Option<(UnixStream, Vec<u8>)>,
}

pub struct Answer {
    pub status: u16,
    pub reason: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(socket: std::path::PathBuf, token: String) -> Self {
        Self {
            socket,
            token,
            line: None,
        }
    }

    pub async fn ask(&mut self, request: &Request) -> Answer {
        let body = request.body.clone().unwrap_or_default();
        let length = match (&request.body, request.method.as_str()) {
            (None, "GET") => String::new(),
            _ => format!(
                "content-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            ),
        };
        let dangerous = if request.target.contains("dangerous") {
            "x-dangerous: true\r\n"
        } else {
            ""
        };
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: gate.example\r\nauthorization: Bearer {}\r\n{dangerous}{length}\r\n",
            request.method, request.target, self.token
        );
        let bytes = [head.as_bytes(), body.as_bytes()].concat();
        for _ in 0..3 {
            if let Some(message) = self.exchange(&bytes).await {
                return told(message);
            }
            self.line = None;
        }
        panic!(
            "the gate does not answer {} {}",
            request.method, request.target
        );
    }

    async fn exchange(&mut self, bytes: &[u8]) -> Option<Message> {
        if self.line.is_none() {
            self.line = Some((UnixStream::connect(&self.socket).await.ok()?, Vec::new()));
        }
        let (stream, buffer) = self.line.as_mut()?;
        stream.write_all(bytes).await.ok()?;
        let message = read(stream, buffer).await?;
        if message
            .header("connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"))
        {
            self.line = None;
        }
        Some(message)
    }
}

fn told(message: Message) -> Answer {
    let status = message
        .first
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    let reason = message
        .header("tidegate-reason")
        .unwrap_or_default()
        .to_owned();
    Answer {
        status,
        reason,
        body: message.body,
    }
}
