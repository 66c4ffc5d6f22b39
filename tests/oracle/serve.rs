//! The stand-in: many accounts behind one port, one for each real token, all in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::act::{Doing, How};
use super::reading::Reading;
use super::rng::Rng;
use super::world::{Key, World};

/// One account, what was done to it since it was last put back, and what it heard.
pub struct Account {
    pub world: World,
    pub reading: Reading,
    pub used: Vec<(Key, How)>,
    pub heard: Vec<Heard>,
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Heard {
    pub method: String,
    pub target: String,
    pub body: Vec<u8>,
    pub status: u16,
}

/// The accounts by their real tokens.
pub type Accounts = Arc<HashMap<String, Mutex<Account>>>;

/// Serves until it is dropped with its runtime.
pub async fn serve(listener: TcpListener, accounts: Accounts) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(talk(stream, accounts.clone()));
    }
}

async fn talk(mut stream: TcpStream, accounts: Accounts) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    while let Some(message) = read(&mut stream, &mut buffer).await {
        let answer = answer(&message, &accounts);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// One message of HTTP/1.1: its first line, its headers, its body.
pub struct Message {
    pub first: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads one message; what comes after it stays in `buffer`.
pub async fn read(
    stream: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut Vec<u8>,
) -> Option<Message> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        more(stream, buffer).await?;
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let first = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut message = Message {
        first,
        headers,
        body: Vec::new(),
    };
    if message.header("transfer-encoding").is_some() {
        message.body = chunks(stream, buffer).await?;
    } else if let Some(length) = message
        .header("content-length")
        .and_then(|length| length.parse().ok())
    {
        message.body = exactly(stream, buffer, length).await?;
    }
    Some(message)
}

async fn more(stream: &mut (impl AsyncReadExt + Unpin), buffer: &mut Vec<u8>) -> Option<()> {
    let read = stream.read_buf(buffer).await.ok()?;
    (read > 0).then_some(())
}

async fn exactly(
    stream: &mut (impl AsyncReadExt + Unpin),
    buffer: &mut Vec<u8>,
    length: usize,
) -> Option<Vec<u8>> {
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    Some(buffer.drain(..length).collect())
}

async fn chunks(stream: &mut (impl AsyncReadExt + Unpin), buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(2).position(|two| two == b"\r\n") {
                break end;
            }
            more(stream, buffer).await?;
        };
        let line = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end + 2);
        let length = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        let chunk = exactly(stream, buffer, length + 2).await?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

fn answer(message: &Message, accounts: &Accounts) -> Vec<u8> {
    let bearer = message
        .header("authorization")
        .and_then(|value| value.strip_prefix("Bearer "))
        .unwrap_or_default();
    let Some(account) = accounts.get(bearer) else {
        return written(401, &Value::Null);
    };
    let mut parts = message.first.split(' ');
    let (method, target) = (
        parts.next().unwrap_or_default(),
        parts.next().unwrap_or_default(),
    );
    let mut account = account.lock().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<String> = path
        .trim_start_matches("/v2")
        .split('/')
        .filter(|part| !part.is_empty())
        .map(decoded)
        .collect();
    let Account {
        world,
        reading,
        used,
        ..
    } = &mut *account;
    let mut doing = Doing {
        body: reading.body(&message.body),
        query: read_query(query, reading),
        world,
        reading,
        method,
        path: segments,
        used: Vec::new(),
    };
    let (status, body) = if method == "GET" {
        doing.show()
    } else {
        doing.act()
    };
    used.append(&mut doing.used);
    account.heard.push(Heard {
        method: method.to_owned(),
        target: target.to_owned(),
        body: message.body.clone(),
        status,
    });
    let number = account.heard.len() as u64;
    let odd = account.reading.answers && method == "GET" && status == 200;
    drop(account);
    if odd {
        let mut rng = Rng::of(&[number, target.len() as u64, body.to_string().len() as u64]);
        if rng.chance(40) {
            let (status, text) = oddly(&mut rng, status, &body);
            return sent(status, &text);
        }
    }
    written(status, &body)
}

/// An answer that says the same, or part of it, and not as the reference does.
fn oddly(rng: &mut Rng, status: u16, body: &Value) -> (u16, String) {
    let usual = body.to_string();
    let Some(members) = body.as_object() else {
        return (status, usual);
    };
    let list = members
        .iter()
        .find(|(_, value)| value.is_array() || value.is_object());
    let Some((name, list)) = list else {
        return (status, usual);
    };
    let without = |member: &str| {
        let mut list = list.clone();
        let items = match &mut list {
            Value::Array(items) => items.iter_mut().collect(),
            one => vec![one],
        };
        for item in items {
            if let Some(item) = item.as_object_mut() {
                item.remove(member);
            }
        }
        list
    };
    let rest = &usual[1..];
    let empty = if list.is_array() { "[]" } else { "{}" };
    let text = match rng.below(10) {
        0 => list.to_string(),
        1 => usual.replacen(&format!("\"{name}\":"), "\"items\":", 1),
        2 => format!(
            "{{\"{name}\":{list},{}",
            usual.replacen(&list.to_string(), empty, 1)[1..].to_owned()
        ),
        3 => format!("{{\"{name}\":{empty},{rest}"),
        4 => format!("{{\"others\":{list},{rest}"),
        5 => format!("\u{feff}{usual}"),
        6 => format!("{usual}{usual}"),
        7 => {
            let attribute = *rng.pick(&["tags", "name", "id", "region"]);
            json!({ name.as_str(): without(attribute) }).to_string()
        }
        8 => return (*rng.pick(&[203, 300, 400, 404, 410, 500]), usual),
        _ => match list.as_array() {
            Some(items) => {
                let texts: Vec<String> = items.iter().map(Value::to_string).collect();
                json!({ name.as_str(): texts }).to_string()
            }
            None => json!({ name.as_str(): [list] }).to_string(),
        },
    };
    (status, text)
}

fn read_query(query: &str, reading: &Reading) -> Value {
    let mut object = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (
            decoded(&name.replace('+', " ")),
            decoded(&value.replace('+', " ")),
        );
        if !reading.first_key || !object.contains_key(&name) {
            object.insert(name, Value::from(value));
        }
    }
    Value::Object(object)
}

pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let clone = rest.clone();
        let two: Vec<u8> = clone.take(2).collect();
        let value = std::str::from_utf8(&two)
            .ok()
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match value.filter(|_| byte == b'%' && two.len() == 2) {
            Some(value) => {
                bytes.push(value);
                rest.nth(1);
            }
            None => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn written(status: u16, body: &Value) -> Vec<u8> {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    sent(status, &body)
}

fn sent(status: u16, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = match (status, length) {
        (204, _) => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        (_, length) => format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        ),
    };
    (head + body).into_bytes()
}
