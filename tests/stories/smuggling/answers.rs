//! Takes the bytes that a connection said apart into answers, strictly: what is no answer fails the test.

/// One answer.
#[derive(Debug)]
pub struct Said {
    /// The status code.
    pub status: u16,
    /// Why tidegate refused, if it did.
    pub reason: Option<String>,
    /// What tidegate calls the request.
    pub request_id: Option<String>,
}

impl Said {
    /// The status and the reason, as a table has them.
    pub fn told(&self) -> String {
        match (&self.reason, &self.request_id) {
            (Some(reason), _) => format!("{} {reason}", self.status),
            (None, None) if self.status >= 200 => format!("{} bare", self.status),
            (None, _) => self.status.to_string(),
        }
    }
}

/// All answers, one after another. None to HEAD has a body.
///
/// # Panics
/// If there is anything else among them.
pub fn read(mut bytes: &[u8], to_head: bool) -> Vec<Said> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let end = find(bytes, b"\r\n\r\n").unwrap_or_else(|| broken("no head", bytes));
        let head = std::str::from_utf8(&bytes[..end]).unwrap_or_else(|_| broken("a head", bytes));
        bytes = &bytes[end + 4..];
        let header = |name: &str| {
            let lines = head.split("\r\n").skip(1);
            let mut values = lines
                .filter_map(|line| line.split_once(':'))
                .filter(|(known, _)| known.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim().to_owned());
            let value = values.next();
            assert_eq!(values.next(), None, "{name} twice: {head}");
            value
        };
        let status: u16 = head
            .strip_prefix("HTTP/1.1 ")
            .or_else(|| head.strip_prefix("HTTP/1.0 "))
            .and_then(|rest| rest.get(..3)?.parse().ok())
            .unwrap_or_else(|| broken("a status line", head.as_bytes()));
        all.push(Said {
            status,
            reason: header("tidegate-reason"),
            request_id: header("tidegate-request-id"),
        });
        if status < 200 || status == 204 || to_head {
            continue;
        }
        bytes = match (header("content-length"), header("transfer-encoding")) {
            (Some(length), None) => &bytes[length.parse::<usize>().unwrap()..],
            (None, Some(_)) => after_chunks(bytes),
            (None, None) => &[], // until the end
            (Some(_), Some(_)) => broken("two framings", head.as_bytes()),
        };
    }
    all
}

fn after_chunks(mut bytes: &[u8]) -> &[u8] {
    loop {
        let end = find(bytes, b"\r\n").unwrap_or_else(|| broken("a chunk", bytes));
        let size = std::str::from_utf8(&bytes[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| broken("a chunk", bytes));
        bytes = &bytes[end + 2 + size + 2..];
        if size == 0 {
            return bytes;
        }
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|some| some == part)
}

fn broken<T>(what: &str, bytes: &[u8]) -> T {
    panic!("{what} expected in {:?}", String::from_utf8_lossy(bytes))
}
