//! Reads a request off a connection, byte by byte and strictly: the stand-in is to notice what a careless proxy sends.
//!
//! It knows what a client of the API may use (`content-length`, chunks) and takes anything doubtful for a mistake:
//! a length and chunks at once, no `host` or two, a bare line feed.

use std::io;

use hyper::body::Bytes;
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

use super::heard::Heard;

/// The next request; `None` if the client closed the connection instead.
///
/// # Errors
/// `InvalidData` where the bytes are no request; others where the connection broke.
pub(super) async fn read<R: AsyncBufRead + Unpin>(stream: &mut R) -> io::Result<Option<Heard>> {
    if stream.fill_buf().await?.is_empty() {
        return Ok(None);
    }
    let (method, target) = request_line(&line(stream).await?)?;
    let headers = headers(stream).await?;
    let body = body(stream, &headers).await?;
    Ok(Some(Heard {
        method,
        target,
        headers,
        body,
    }))
}

fn request_line(line: &str) -> io::Result<(Method, String)> {
    let parts: Vec<&str> = line.split(' ').collect();
    let &[method, target, "HTTP/1.1"] = parts.as_slice() else {
        return wrong(format!("request line {line:?}"));
    };
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return wrong(format!("method {method:?}"));
    };
    if !target.starts_with('/') || target.contains('#') {
        return wrong(format!("target {target:?}"));
    }
    Ok((method, target.to_owned()))
}

async fn headers<R: AsyncBufRead + Unpin>(stream: &mut R) -> io::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    loop {
        let line = line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = header(&line)?;
        headers.append(name, value);
    }
    if headers.get_all(HOST).iter().count() != 1 {
        return wrong("not one host header".to_owned());
    }
    Ok(headers)
}

fn header(line: &str) -> io::Result<(HeaderName, HeaderValue)> {
    let Some((name, value)) = line.split_once(':') else {
        return wrong(format!("header line {line:?}"));
    };
    match (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_bytes(value.trim().as_bytes()),
    ) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => wrong(format!("header named {name:?}")),
    }
}

async fn body<R: AsyncBufRead + Unpin>(stream: &mut R, headers: &HeaderMap) -> io::Result<Bytes> {
    let lengths: Vec<&HeaderValue> = headers.get_all(CONTENT_LENGTH).iter().collect();
    let codings: Vec<&HeaderValue> = headers.get_all(TRANSFER_ENCODING).iter().collect();
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Ok(Bytes::new()),
        ([length], []) => exactly(stream, number(length.to_str().unwrap_or_default(), 10)?).await,
        ([], [coding]) if *coding == "chunked" => chunks(stream).await,
        other => wrong(format!("framing {other:?}")),
    }
}

async fn chunks<R: AsyncBufRead + Unpin>(stream: &mut R) -> io::Result<Bytes> {
    let mut body = Vec::new();
    loop {
        let size = number(&line(stream).await?, 16)?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(&exactly(stream, size).await?);
        if !line(stream).await?.is_empty() {
            return wrong("a chunk longer than it says".to_owned());
        }
    }
    while !line(stream).await?.is_empty() {} // trailers
    Ok(body.into())
}

async fn exactly<R: AsyncBufRead + Unpin>(stream: &mut R, length: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes.into())
}

/// A line without its end, which must be CR LF and come within the first 64 KiB.
async fn line<R: AsyncBufRead + Unpin>(stream: &mut R) -> io::Result<String> {
    let mut bytes = Vec::new();
    stream.take(64 * 1024).read_until(b'\n', &mut bytes).await?;
    let Some(text) = bytes.strip_suffix(b"\r\n") else {
        return if bytes.ends_with(b"\n") {
            wrong("a bare line feed".to_owned())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        };
    };
    match std::str::from_utf8(text) {
        Ok(text) if !text.contains(char::is_control) => Ok(text.to_owned()),
        _ => wrong("control characters in the head".to_owned()),
    }
}

fn number(text: &str, radix: u32) -> io::Result<usize> {
    let digits = !text.is_empty() && text.chars().all(|digit| digit.is_digit(radix));
    match usize::from_str_radix(text, radix) {
        Ok(number) if digits && number <= MOST => Ok(number),
        _ => wrong(format!("length {text:?}")),
    }
}

fn wrong<T>(what: String) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// More than any test sends; a length beyond it is a mistake, not a body.
const MOST: usize = 1 << 30;
