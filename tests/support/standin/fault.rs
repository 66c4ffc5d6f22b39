//! What can go wrong between a proxy and the API, on order.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::Method;
use hyper::body::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::heard::Heard;
use super::reply::{Framing, Reply};

/// One way to misbehave.
///
/// The request is carried out, and the fault spoils the telling, unless the fault brings an answer of its own.
#[derive(Clone)]
pub enum Fault {
    /// Waits so long before the first byte of the answer.
    DelayHead(Duration),
    /// Waits so long in the middle of the body.
    DelayBody(Duration),
    /// Waits so long before each of so many pieces of the body.
    Pauses(Duration, usize),
    /// Waits before the first byte until the hold is released.
    HoldHead(Hold),
    /// Waits in the middle of the body until the hold is released.
    HoldBody(Hold),
    /// Closes the connection without an answer.
    CloseBeforeHead,
    /// Closes the connection after the head.
    CloseAfterHead,
    /// Closes the connection in the middle of the body.
    CloseMidBody,
    /// Sends an interim answer with this status (103, say) before the real one.
    Interim(u16),
    /// Compresses the answer with gzip, asked or not.
    Gzip,
    /// Sends the answer in another framing.
    Framed(Framing),
    /// Answers this instead, without carrying the request out or asking for a token.
    Reply(Reply),
    /// Answers this instead, in the same way, after so long.
    Late(Duration, Reply),
    /// Answers what the function makes of the request, without carrying it out or asking for a token.
    ReplyWith(Arc<dyn Fn(&Heard) -> Reply + Send + Sync>),
    /// Sends these bytes where an answer should be, and closes.
    Bytes(Bytes),
    /// Sends these bytes where an answer should be, and resets the connection.
    Reset(Bytes),
    /// Sends the first bytes where an answer should be, and then the others again and again until the other side leaves.
    Endless(Bytes, Bytes),
    /// Answers 200 with a JSON object of a little more than so many MiB, made as it is sent.
    Huge {
        /// The size of the body in MiB.
        mib: u64,
    },
}

impl Fault {
    /// Bytes that are no HTTP.
    pub fn garbage() -> Self {
        Self::Bytes(Bytes::from_static(
            b"\x16\x03\x01 this is no answer\r\n\r\n",
        ))
    }

    /// A redirect to somewhere else.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::Reply(Reply::empty(status).with("location", location))
    }

    /// An error in DigitalOcean's shape.
    pub fn problem(status: u16, id: &str, message: &str) -> Self {
        Self::Reply(Reply::problem(status, id, message))
    }

    /// An answer made from the request.
    pub fn reply_with(make: impl Fn(&Heard) -> Reply + Send + Sync + 'static) -> Self {
        Self::ReplyWith(Arc::new(make))
    }

    /// A JSON answer whose member `echo` holds the `authorization` header that came, in this framing: what a proxy must
    /// not let through, be it in one piece or cut in the middle.
    pub fn echo_authorization(framing: Framing) -> Self {
        Self::reply_with(move |heard| {
            let said = heard.header("authorization").unwrap_or_default();
            Reply::json(200, &serde_json::json!({ "echo": said })).framed(framing)
        })
    }

    /// An empty object with the `authorization` header that came in a header `x-echo`.
    pub fn echo_authorization_in_header() -> Self {
        Self::reply_with(|heard| {
            let said = heard.header("authorization").unwrap_or_default();
            Reply::json(200, &serde_json::json!({})).with("x-echo", said)
        })
    }

    /// The answer that the fault brings along.
    pub(super) fn reply(&self, heard: &Heard) -> Option<Reply> {
        match self {
            Self::Reply(reply) | Self::Late(_, reply) => Some(reply.clone()),
            Self::ReplyWith(make) => Some(make(heard)),
            Self::Bytes(_) | Self::Reset(_) | Self::Endless(..) | Self::Huge { .. } => {
                Some(Reply::bytes(200, "application/json", ""))
            }
            Self::DelayHead(_)
            | Self::DelayBody(_)
            | Self::Pauses(..)
            | Self::HoldHead(_)
            | Self::HoldBody(_)
            | Self::CloseBeforeHead
            | Self::CloseAfterHead
            | Self::CloseMidBody
            | Self::Interim(_)
            | Self::Gzip
            | Self::Framed(_) => None,
        }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fault")
    }
}

/// Keeps answers back until a test lets them go, so that no test has to guess how long something takes.
#[derive(Clone, Debug)]
pub struct Hold(Arc<Semaphore>);

impl Hold {
    /// A hold that keeps.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets everything go that it keeps, and keeps nothing any more.
    pub fn release(&self) {
        self.0.close();
    }

    async fn passed(&self) {
        // Without permits, this ends only by the closing: an error is the release.
        let _ = self.0.acquire().await;
    }
}

impl Default for Hold {
    fn default() -> Self {
        Self::new()
    }
}

/// The faults that are in force, first come first served.
#[derive(Default)]
pub(super) struct Faults(Vec<Rule>);

struct Rule {
    method: Option<Method>,
    prefix: String,
    left: Option<u32>,
    fault: Fault,
}

impl Faults {
    pub(super) fn add(
        &mut self,
        method: Option<Method>,
        prefix: &str,
        left: Option<u32>,
        fault: Fault,
    ) {
        self.0.push(Rule {
            method,
            prefix: prefix.to_owned(),
            left,
            fault,
        });
    }

    pub(super) fn take(&mut self, heard: &Heard) -> Option<Fault> {
        let at = self.0.iter().position(|rule| rule.strikes(heard))?;
        let rule = &mut self.0[at];
        let fault = rule.fault.clone();
        rule.left = rule.left.map(|left| left - 1);
        self.0.retain(|rule| rule.left != Some(0));
        Some(fault)
    }
}

impl Rule {
    fn strikes(&self, heard: &Heard) -> bool {
        let target = match self.prefix.strip_suffix('$') {
            Some(whole) => heard.target == whole,
            None => heard.target.starts_with(&self.prefix),
        };
        target
            && self
                .method
                .as_ref()
                .is_none_or(|method| *method == heard.method)
    }
}

/// Puts the answer on the wire as the fault has it; true if the connection may be used again.
pub(super) async fn deliver<W: AsyncWrite + Unpin>(
    out: &mut W,
    reply: &Reply,
    fault: Option<Fault>,
) -> io::Result<bool> {
    match fault {
        None | Some(Fault::Reply(_) | Fault::ReplyWith(_)) => whole(out, reply).await,
        Some(Fault::DelayHead(time) | Fault::Late(time, _)) => {
            sleep(time).await;
            whole(out, reply).await
        }
        Some(Fault::HoldHead(hold)) => {
            hold.passed().await;
            whole(out, reply).await
        }
        Some(Fault::DelayBody(time)) => in_two(out, reply, sleep(time)).await,
        Some(Fault::Pauses(time, count)) => in_pieces(out, reply, time, count).await,
        Some(Fault::HoldBody(hold)) => in_two(out, reply, hold.passed()).await,
        Some(Fault::CloseBeforeHead) => Ok(false),
        Some(Fault::CloseAfterHead) => broken(out, reply, 0).await,
        Some(Fault::CloseMidBody) => broken(out, reply, reply.framed_body().len() / 2).await,
        Some(Fault::Interim(status)) => {
            out.write_all(
                format!("HTTP/1.1 {status} Interim\r\nx-interim: yes\r\n\r\n").as_bytes(),
            )
            .await?;
            whole(out, reply).await
        }
        Some(Fault::Gzip) => whole(out, &compressed(reply)).await,
        Some(Fault::Framed(framing)) => whole(out, &reply.clone().framed(framing)).await,
        Some(Fault::Bytes(bytes)) => {
            out.write_all(&bytes).await?;
            Ok(false)
        }
        Some(Fault::Reset(bytes)) => {
            out.write_all(&bytes).await?;
            out.flush().await?;
            sleep(Duration::from_millis(50)).await; // a reset overtakes what was not read yet
            Ok(false)
        }
        Some(Fault::Endless(first, again)) => {
            out.write_all(&first).await?;
            loop {
                out.write_all(&again).await?;
                out.flush().await?;
                sleep(Duration::from_millis(5)).await; // its pace
            }
        }
        Some(Fault::Huge { mib }) => huge(out, reply, mib).await,
    }
}

async fn whole<W: AsyncWrite + Unpin>(out: &mut W, reply: &Reply) -> io::Result<bool> {
    // One write: a head and a small body in two packets would show up in every measurement.
    let mut bytes = reply.head(reply.body.len() as u64);
    bytes.extend_from_slice(&reply.framed_body());
    out.write_all(&bytes).await?;
    Ok(reply.framing != Framing::UntilClose)
}

async fn in_two<W: AsyncWrite + Unpin>(
    out: &mut W,
    reply: &Reply,
    pause: impl Future<Output = ()>,
) -> io::Result<bool> {
    let body = reply.framed_body();
    let half = body.len() / 2;
    broken(out, reply, half).await?;
    pause.await;
    out.write_all(&body[half..]).await?;
    Ok(reply.framing != Framing::UntilClose)
}

async fn in_pieces<W: AsyncWrite + Unpin>(
    out: &mut W,
    reply: &Reply,
    pause: Duration,
    count: usize,
) -> io::Result<bool> {
    broken(out, reply, 0).await?;
    let body = reply.framed_body();
    for piece in body.chunks(body.len().div_ceil(count)) {
        sleep(pause).await;
        out.write_all(piece).await?;
        out.flush().await?;
    }
    Ok(reply.framing != Framing::UntilClose)
}

async fn broken<W: AsyncWrite + Unpin>(
    out: &mut W,
    reply: &Reply,
    kept: usize,
) -> io::Result<bool> {
    out.write_all(&reply.head(reply.body.len() as u64)).await?;
    out.write_all(&reply.framed_body()[..kept]).await?;
    out.flush().await?;
    Ok(false)
}

async fn huge<W: AsyncWrite + Unpin>(out: &mut W, reply: &Reply, mib: u64) -> io::Result<bool> {
    let (open, close) = (br#"{"filler":""#, br#""}"#);
    let piece = vec![b'x'; 64 * 1024];
    out.write_all(&reply.head((open.len() + close.len()) as u64 + mib * 1024 * 1024))
        .await?;
    out.write_all(open).await?;
    for _ in 0..mib * 16 {
        out.write_all(&piece).await?;
    }
    out.write_all(close).await?;
    Ok(true)
}

fn compressed(reply: &Reply) -> Reply {
    let mut reply = reply.clone().with("content-encoding", "gzip");
    reply.body = gzip(&reply.body).into();
    reply
}

/// A gzip file (RFC 1952) of `bytes`, stored rather than squeezed: true to the format, and in need of no library.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for block in bytes.chunks(usize::from(u16::MAX)) {
        stored(&mut file, 0, block);
    }
    stored(&mut file, 1, b"");
    file.extend_from_slice(&crc32(bytes).to_le_bytes());
    let length = u32::try_from(bytes.len()).expect("less than 4 GiB");
    file.extend_from_slice(&length.to_le_bytes());
    file
}

/// A stored block of RFC 1951 §3.2.4: a bit for the last one, the length, its complement, the bytes.
fn stored(file: &mut Vec<u8>, last: u8, block: &[u8]) {
    let length = u16::try_from(block.len()).expect("blocks are cut to fit");
    file.push(last);
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&(!length).to_le_bytes());
    file.extend_from_slice(block);
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}
