//! Sends what a client was seen to send, byte for byte, and reads what it gets.

use hyper::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Gate, REAL_TOKEN};

/// A client.
pub struct Client {
    pub name: &'static str,
    /// Its headers but those about the body; `{host}` and `{token}` are filled in.
    pub headers: &'static str,
    /// How it says that a body is JSON.
    pub content_type: &'static str,
    pub typed: Typed,
    /// The body that it sends with a GET.
    pub body_of_get: &'static str,
}

/// When a client sends its content type.
pub enum Typed {
    Always,
    NotOnGet,
    WithBody,
}

impl Client {
    /// What it sends in the header `name`, if it does, as a server reads it.
    pub fn sends(&self, name: &str) -> Option<&'static str> {
        self.headers.lines().find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Its request, as it goes over the wire.
    fn request(&self, host: &str, token: &str, line: &str, body: &str) -> String {
        let headers = self
            .headers
            .replace("{host}", host)
            .replace("{token}", token);
        let mut lines = vec![format!("{line} HTTP/1.1")];
        lines.extend(headers.lines().map(str::to_owned));
        let typed = match self.typed {
            Typed::Always => true,
            Typed::NotOnGet => !line.starts_with("GET"),
            Typed::WithBody => !body.is_empty(),
        };
        if typed {
            lines.push(self.content_type.to_owned());
        }
        if !body.is_empty() || line.starts_with('P') {
            let length = format!("Content-Length: {}", body.len());
            let in_small_letters = headers.starts_with("host");
            lines.push(if in_small_letters {
                length.to_lowercase()
            } else {
                length
            });
        }
        format!("{}\r\n\r\n{body}", lines.join("\r\n"))
    }
}

/// A client's connection, which it keeps until it says otherwise.
pub struct Talk<'c, S> {
    client: &'c Client,
    host: String,
    token: String,
    stream: BufReader<S>,
}

impl<'c> Talk<'c, TcpStream> {
    /// Opens one to the gate.
    pub async fn open(client: &'c Client, gate: &Gate, token: &str) -> Self {
        let host = gate.address().to_string();
        Self::over(gate.connect().await, client, &host, token)
    }
}

impl<'c, S: AsyncRead + AsyncWrite + Unpin> Talk<'c, S> {
    /// The same over a connection that the test made, to what the client calls `host`.
    pub fn over(stream: S, client: &'c Client, host: &str, token: &str) -> Self {
        Self {
            client,
            host: host.to_owned(),
            token: token.to_owned(),
            stream: BufReader::new(stream),
        }
    }

    /// Sends a request without a body, but for a GET's, and reads the answer.
    pub async fn ask(&mut self, line: &str) -> Got {
        let body = self.client.body_of_get;
        let body = if line.starts_with("GET") { body } else { "" };
        self.send(line, body).await
    }

    /// Sends a request and reads the answer.
    pub async fn send(&mut self, line: &str, body: &str) -> Got {
        let request = self.client.request(&self.host, &self.token, line, body);
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let got = timeout(DEADLINE, self.read()).await;
        let got = got.unwrap_or_else(|_| panic!("{}: no answer to {line}", self.client.name));
        let bare = REAL_TOKEN.trim_start_matches("dop_v1_");
        assert!(!got.text.contains(bare), "{}: {line}", self.client.name);
        got
    }

    /// True if the gate closes the connection now.
    pub async fn is_closed(&mut self) -> bool {
        let next = timeout(DEADLINE, self.stream.read_u8()).await;
        next.is_ok_and(|byte| byte.is_err())
    }

    async fn read(&mut self) -> Got {
        let first = self.line().await;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no answer: {first:?}"));
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut got = Got {
            status,
            headers,
            text: String::new(),
        };
        got.text = self.body(&got).await;
        got
    }

    async fn body(&mut self, got: &Got) -> String {
        let mut body = Vec::new();
        if let Some(length) = got.header("content-length") {
            body = self.exactly(length.parse().unwrap()).await;
        } else if got.header("transfer-encoding") == Some("chunked") {
            loop {
                let size = usize::from_str_radix(&self.line().await, 16).unwrap();
                body.extend(self.exactly(size).await);
                self.line().await;
                if size == 0 {
                    break;
                }
            }
        }
        String::from_utf8(body).expect("a body that is not compressed is text")
    }

    async fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        let mut body = vec![0; bytes];
        self.stream.read_exact(&mut body).await.unwrap();
        body
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        line.trim_end().to_owned()
    }
}

/// What a client got.
#[derive(Debug)]
pub struct Got {
    pub status: StatusCode,
    headers: Vec<(String, String)>,
    pub text: String,
}

impl Got {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(own, _)| own == name)?;
        Some(value)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of a refusal that tidegate made itself.
    pub fn reason(&self) -> Option<&str> {
        self.header("tidegate-reason")
    }
}

const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);
