//! What the heads of a connection of HTTP/1 say that hyper does not tell.
//!
//! hyper drops a `Content-Length` that stands beside a `Transfer-Encoding`, and what stands behind a `#` in a target. Whoever
//! stands before tidegate may have gone by either. So the bytes are looked at as hyper reads them, from head to head. Nothing is
//! changed or held back, and where this loses its way, hyper refuses what follows.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use memchr::{memchr, memchr3};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Watch;
use crate::gate::Oddity;

/// Where a connection is in its messages.
#[derive(Debug)]
struct MessageScan {
    part: MessagePart,
    head: Head,
    /// How many heads have ended.
    heads: u64,
}

/// What the next byte is a part of.
#[derive(Clone, Copy, Debug)]
enum MessagePart {
    Head,
    /// So many bytes of a body, or of a chunk and the end of its line, are still to come.
    Body {
        left: u64,
        chunked: bool,
    },
    /// The line with the size of a chunk; `open` while its digits go on.
    Size {
        size: u64,
        open: bool,
    },
    /// The lines after the last chunk.
    Trailers,
    /// Nothing that can be told: hyper refuses it.
    Lost,
}

/// A head as far as it has come.
#[derive(Debug, Default)]
struct Head {
    line: HeadLine,
    /// Bytes of the line as far as it has come, without the carriage return.
    seen: usize,
    length: Option<u64>,
    has_length: bool,
    chunked: bool,
    fragment: bool,
}

/// Which line of a head it is.
#[derive(Clone, Copy, Debug, Default)]
enum HeadLine {
    /// The request line, with how many spaces it had so far.
    #[default]
    Request,
    Target,
    Version,
    /// The name of a header, which so far is how these names begin.
    Name {
        length: bool,
        coding: bool,
    },
    Length(Option<u64>),
    /// A line that says nothing of the body.
    Other,
}

const LENGTH: &[u8] = b"content-length";
const CODING: &[u8] = b"transfer-encoding";

impl MessageScan {
    fn new() -> Self {
        Self {
            part: MessagePart::Head,
            head: Head::default(),
            heads: 0,
        }
    }

    /// Looks at what has come; each head that is odd is told with its number, from 1.
    fn read(&mut self, mut bytes: &[u8], mut tell: impl FnMut(u64, Oddity)) {
        while let Some((first, rest)) = bytes.split_first() {
            if let MessagePart::Body { left, chunked } = self.part {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = bytes.get(here..).unwrap_or_default();
                self.part = match left - here as u64 {
                    0 if chunked => SIZE,
                    0 => MessagePart::Head,
                    left => MessagePart::Body { left, chunked },
                };
                continue;
            }
            if let MessagePart::Head = self.part {
                let passed = self.head.passed_over(bytes);
                if passed > 0 {
                    bytes = bytes.get(passed..).unwrap_or_default();
                    continue;
                }
            }
            bytes = rest;
            match self.part {
                MessagePart::Head if self.head.ends_with(*first) => {
                    self.heads += 1;
                    let head = std::mem::take(&mut self.head);
                    for oddity in head.oddities() {
                        tell(self.heads, oddity);
                    }
                    self.part = head.body();
                }
                MessagePart::Size { size, open } => self.part = sized(size, open, *first),
                MessagePart::Trailers if self.head.ends_line(*first) => {
                    self.head = Head::default();
                    self.part = MessagePart::Head;
                }
                MessagePart::Head | MessagePart::Trailers | MessagePart::Body { .. } => {}
                MessagePart::Lost => return,
            }
        }
    }
}

const SIZE: MessagePart = MessagePart::Size {
    size: 0,
    open: true,
};

/// What comes after a byte of the line with a chunk's size.
fn sized(size: u64, open: bool, byte: u8) -> MessagePart {
    let digit = char::from(byte).to_digit(16).filter(|_| open);
    match (digit, byte) {
        (Some(digit), _) => match size.checked_mul(16) {
            Some(size) => MessagePart::Size {
                size: size + u64::from(digit),
                open,
            },
            None => MessagePart::Lost,
        },
        (None, b'\n') if size == 0 => MessagePart::Trailers,
        (None, b'\n') => MessagePart::Body {
            left: size.saturating_add(2),
            chunked: true,
        },
        (None, _) => MessagePart::Size { size, open: false },
    }
}

impl Head {
    /// Takes a byte in; whether the head ends with it. Empty lines before it are none of it (RFC 9112 §2.2).
    fn ends_with(&mut self, byte: u8) -> bool {
        if byte == b'\n' {
            let begun = !matches!(self.line, HeadLine::Request);
            if let HeadLine::Length(length) = self.line {
                self.length = length;
            }
            let ends = self.ends_line(byte) && begun;
            if begun {
                self.line = NAME;
            }
            return ends;
        }
        self.line = self.after(byte);
        self.ends_line(byte);
        false
    }

    /// How many of the next bytes say nothing: of a target up to its end or a fragment, and of a line that is none of those that
    /// are looked at, and not empty, up to its end. Most of a head is such, and to search is faster than to look at each byte.
    fn passed_over(&self, bytes: &[u8]) -> usize {
        let found = match self.line {
            HeadLine::Target => memchr3(b' ', b'#', b'\n', bytes),
            HeadLine::Version | HeadLine::Other if self.seen > 0 => memchr(b'\n', bytes),
            HeadLine::Request
            | HeadLine::Version
            | HeadLine::Name { .. }
            | HeadLine::Length(_)
            | HeadLine::Other => {
                return 0;
            }
        };
        found.unwrap_or(bytes.len())
    }

    /// Counts a byte of a line; whether it ends one that is empty.
    fn ends_line(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => std::mem::take(&mut self.seen) == 0,
            b'\r' => false,
            _ => {
                self.seen += 1;
                false
            }
        }
    }

    fn after(&mut self, byte: u8) -> HeadLine {
        match self.line {
            HeadLine::Request if byte == b' ' => HeadLine::Target,
            HeadLine::Target if byte == b' ' => HeadLine::Version,
            HeadLine::Target => {
                self.fragment |= byte == b'#';
                HeadLine::Target
            }
            HeadLine::Name { length, coding } if byte == b':' => {
                self.chunked |= coding && self.seen == CODING.len();
                if length && self.seen == LENGTH.len() {
                    self.has_length = true;
                    HeadLine::Length(None)
                } else {
                    HeadLine::Other
                }
            }
            HeadLine::Name { length, coding } => {
                let goes_on = |name: &[u8]| name.get(self.seen) == Some(&byte.to_ascii_lowercase());
                match (length && goes_on(LENGTH), coding && goes_on(CODING)) {
                    (false, false) => HeadLine::Other,
                    (length, coding) => HeadLine::Name { length, coding },
                }
            }
            HeadLine::Length(length) => HeadLine::Length(match char::from(byte).to_digit(10) {
                None => length,
                Some(digit) => Some(
                    length
                        .unwrap_or(0)
                        .saturating_mul(10)
                        .saturating_add(digit.into()),
                ),
            }),
            line @ (HeadLine::Request | HeadLine::Version | HeadLine::Other) => line,
        }
    }

    fn oddities(&self) -> impl Iterator<Item = Oddity> {
        let twice = (self.chunked && self.has_length).then_some(Oddity::FramedTwice);
        let fragment = self.fragment.then_some(Oddity::Fragment);
        twice.into_iter().chain(fragment)
    }

    /// What follows it.
    fn body(&self) -> MessagePart {
        match (self.chunked, self.length) {
            (true, _) => SIZE,
            (false, None | Some(0)) => MessagePart::Head,
            (false, Some(left)) => MessagePart::Body {
                left,
                chunked: false,
            },
        }
    }
}

const NAME: HeadLine = HeadLine::Name {
    length: true,
    coding: true,
};

/// A stream whose heads are looked at as they are read.
pub(super) struct Scanned<S> {
    stream: S,
    scan: MessageScan,
    watch: Watch,
}

impl<S> Scanned<S> {
    /// Looks at what is read from a stream that begins with a head; what is odd is told to `watch`.
    pub fn new(stream: S, watch: Watch) -> Self {
        Self {
            stream,
            scan: MessageScan::new(),
            watch,
        }
    }

    /// The stream itself.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Scanned<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let result = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some(new @ [_, ..]) = buffer.filled().get(before..) {
            let watch = &this.watch;
            this.scan.read(new, |head, oddity| watch.odd(head, oddity));
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Scanned<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is told of bytes that come in pieces of so many.
    fn told(text: &str, piece: usize) -> (Vec<(u64, Oddity)>, u64) {
        let (mut scan, mut all) = (MessageScan::new(), Vec::new());
        for piece in text.as_bytes().chunks(piece) {
            scan.read(piece, |head, oddity| all.push((head, oddity)));
        }
        (all, scan.heads)
    }

    /// Bytes, what is odd of which of their heads, and how many heads there are.
    type Case<'c> = (String, &'c [(u64, Oddity)], u64);

    #[test]
    fn what_is_odd_is_told_of_the_head_that_says_it() {
        let twice = "POST / HTTP/1.1\r\nContent-Length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let get = "GET /v2/x HTTP/1.1\r\nhost: gate\r\n\r\n";
        let cases: Vec<Case> = vec![
            (format!("{get}{get}"), &[], 2),
            (twice.to_owned(), &[(1, Oddity::FramedTwice)], 1),
            (format!("{get}{twice}"), &[(2, Oddity::FramedTwice)], 2),
            (
                twice.replace("\r\n", "\n"),
                &[(1, Oddity::FramedTwice)],
                1,
            ), // hyper takes bare line feeds
            (
                "POST / HTTP/1.1\r\nTRANSFER-ENCODING:x\r\nCONTENT-LENGTH:0\r\n\r\n".to_owned(),
                &[(1, Oddity::FramedTwice)],
                1,
            ),
            (
                "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length:\r\n\r\n".to_owned(),
                &[(1, Oddity::FramedTwice)],
                1,
            ), // a length that says nothing, which hyper passes over
            (
                format!("\r\n\r\n{get}"),
                &[],
                1,
            ), // empty lines before a head
            (
                format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{twice}{get}", twice.len()),
                &[],
                2,
            ), // in a body it is none
            (
                format!("{chunked}{:X};x=y\r\n{twice}\r\n0;z\r\nx: y\r\n\r\n{twice}", twice.len()),
                &[(2, Oddity::FramedTwice)],
                2,
            ), // nor in a chunk
            (
                format!("{chunked}5\r\nhello\r\n003\r\nabc\r\n000\r\n\r\n{get}"),
                &[],
                2,
            ),
            (
                "POST / HTTP/1.1\r\nx-content-length: 5\r\ncontent-lengths: 5\r\ncontent-lengt: 5\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
                &[],
                1,
            ), // other names
            (
                "GET /v2/x#y HTTP/1.1\r\nx: #\r\n\r\n".to_owned(),
                &[(1, Oddity::Fragment)],
                1,
            ),
            (
                "GET /v2/x HTTP/1.1\r\nreferer: http://x/#y\r\n\r\n".to_owned(),
                &[],
                1,
            ), // not in the target
            (
                format!("{chunked}fffffffffffffffff\r\n{twice}"),
                &[],
                1,
            ), // nobody's size: hyper refuses it
        ];
        for (text, expected, heads) in cases {
            for piece in [1, 2, 7, usize::MAX] {
                assert_eq!(
                    told(&text, piece),
                    (expected.to_vec(), heads),
                    "{text:?} by {piece}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_pieces_mean_nothing(text in "(GET|POST /[#x]? HTTP/1.1\r\n|content-length: [0-9]{1,25}\r\n|transfer-encoding: chunked\r\n|\r\n|[0-9a-f]{1,18}\r\n|.){0,12}", piece in 1..9_usize) {
            prop_assert_eq!(told(&text, piece), told(&text, usize::MAX));
        }
    }
}
