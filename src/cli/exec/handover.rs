//! The caller's environment, without a trace of it where others can look.
//!
//! What a program was started with stays at `/proc/PID/environ` for as long as it runs, whatever it does: root may read it there
//! with a capability that reads no memory (`CAP_PERFMON`). So this program starts itself anew, as the same process, without the
//! variables that could hold a token, and hands these over in a socket.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;

use listenfd::ListenFd;
use rustix::io::{FdFlags, fcntl_setfd};
use zeroize::Zeroizing;

use super::environment::Variable;

/// Says to the program started anew that it was.
const MARK: &str = "TIDEGATE_EXEC_STARTED_ANEW";
/// By these the socket is found again, as one that systemd passes. The caller's own are handed over.
const SOCKET: [&str; 4] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_FDS_FIRST_FD",
];
/// What this program and its libraries read of the environment themselves, and names of directories are not tokens.
const STAYS: [&str; 7] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TIDEGATE_CONFIG",
    "TIDEGATE_LOG",
];
/// The fewest characters that a token could have.
const SHORTEST: usize = 24;
/// The most bytes that are handed over: a socket holds more.
const MOST: usize = 128 << 10;

/// The caller's variables. Where one of them could hold a token, this returns in the program started anew.
pub(super) fn environment() -> Vec<Variable> {
    if env::var_os(MARK).is_some() {
        return taken();
    }
    let own: Vec<Variable> = env::vars_os().collect();
    let is_moved = |(name, value): &&(OsString, OsString)| {
        let stays = STAYS.iter().any(|stays| name == stays);
        SOCKET.iter().any(|socket| name == socket) || !stays && could_hold_token(value)
    };
    let moved: Vec<_> = own.iter().filter(is_moved).collect();
    if moved.iter().any(|(_, value)| could_hold_token(value)) {
        // Where that can't be, as without /proc, others can't look there either, or it stays as it is.
        let _why = start_anew(&moved);
    }
    own
}

/// Whether it has a word as long as a token.
fn could_hold_token(value: &OsStr) -> bool {
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+/=".contains(byte);
    let mut words = value.as_bytes().split(|byte| !of_token(byte));
    words.any(|word| word.len() >= SHORTEST)
}

fn start_anew(moved: &[&(OsString, OsString)]) -> io::Result<()> {
    let mut packed = Zeroizing::new(Vec::with_capacity(MOST));
    for (name, value) in moved {
        for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
            packed.extend_from_slice(part);
        }
    }
    if packed.len() > MOST {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let (from, to) = UnixDatagram::pair()?;
    from.set_nonblocking(true)?;
    from.send(&packed)?;
    fcntl_setfd(&to, FdFlags::empty())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&to).to_string();
    let mut arguments = env::args_os();
    let mut anew = Command::new("/proc/self/exe");
    anew.arg0(arguments.next().unwrap_or_default())
        .args(arguments);
    for (name, _) in moved {
        anew.env_remove(name);
    }
    anew.env(MARK, "1")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", std::process::id().to_string())
        .env("LISTEN_FDS_FIRST_FD", number);
    let error = anew.exec();
    fcntl_setfd(&to, FdFlags::CLOEXEC)?;
    Err(error)
}

/// What was handed over, with what stayed.
fn taken() -> Vec<Variable> {
    let mut own: Vec<Variable> = env::vars_os()
        .filter(|(name, _)| name != MARK && !SOCKET.iter().any(|socket| name == socket))
        .collect();
    let Ok(Some(socket)) = ListenFd::from_env().take_unix_datagram(0) else {
        return own;
    };
    let mut packed = Zeroizing::new(vec![0; MOST]);
    let received = socket
        .set_nonblocking(true)
        .and_then(|()| socket.recv(&mut packed));
    let packed = packed
        .get(..received.unwrap_or_default())
        .unwrap_or_default();
    own.extend(packed.split(|byte| *byte == 0).filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        let (name, value) = pair.split_at(at);
        let value = value.get(1..)?;
        Some((
            OsString::from_vec(name.to_vec()),
            OsString::from_vec(value.to_vec()),
        ))
    }));
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_as_long_as_a_token_could_hold_one() {
        let cases = [
            ("xterm-256color", false),
            ("en_US.UTF-8", false),
            ("dop_v1_0a0a0a0a0a0a0a0a0a0a", true),
            ("{\"prod\":\"0a0a0a0a0a0a0a0a0a0a0a0a\"}", true),
            ("", false),
        ];
        for (value, expected) in cases {
            assert_eq!(could_hold_token(OsStr::new(value)), expected, "{value}");
        }
    }
}
