//! The tables' form.
//!
//! ```text
//! # a remark
//! as all                                   the role whose sub-token is shown from here on
//! frame GET {} HTTP/1.1\r\n{usual}\r\n     what a row's text is put into from here on
//! /v2/droplets/12  =>  200 ; GET /v2/droplets/12  --  why
//! ```
//!
//! In a frame and in a row `\r`, `\n`, `\t`, `\0`, `\s` (a space), `\\`, `\xNN` and `\*20x` (twenty times x) stand for bytes;
//! `{usual}` for the headers of a good request, `{kept}` for the same without `connection: close`, `{token}` for the
//! sub-token, and in a frame `{}` for the row's text and `{length}` for how many bytes that is.
//!
//! After `=>` stands what the client gets: for each answer its status and `tidegate-reason`, `bare` where the answer is the
//! HTTP library's own, or `closed`. After each `;` stands a request that the API hears: target and body, to the byte.

/// One row.
pub struct Row {
    /// Where it stands, counted from 1.
    pub line: usize,
    /// Whose sub-token is shown.
    pub role: String,
    /// What is sent, as written.
    pub sent: String,
    /// What the client gets and the API hears.
    pub expected: String,
    frame: String,
}

impl Row {
    /// What goes over the connection.
    pub fn bytes(&self, token: &str) -> Vec<u8> {
        let fill = |text: &str| {
            let kept = "host: gate\\r\\nuser-agent: row\\r\\nauthorization: Bearer {token}\\r\\n";
            text.replace("{usual}", &format!("{kept}connection: close\\r\\n"))
                .replace("{kept}", kept)
                .replace("{token}", token)
        };
        let text = unescaped(&fill(&self.sent));
        let frame = fill(&self.frame).replace("{length}", &text.len().to_string());
        match frame.split_once("{}") {
            None => panic!("line {}: a frame without {{}}", self.line),
            Some((before, after)) => [unescaped(before), text, unescaped(after)].concat(),
        }
    }
}

/// All rows.
///
/// # Panics
/// If a line has another form: a row without a reason is none.
pub fn read(table: &str) -> Vec<Row> {
    let (mut role, mut frame) = ("all".to_owned(), "{}".to_owned());
    let mut rows = Vec::new();
    for (index, text) in table.lines().enumerate() {
        if text.trim().is_empty() || text.starts_with("# ") {
            continue;
        }
        if let Some(name) = text.strip_prefix("as ") {
            name.trim().clone_into(&mut role);
            continue;
        }
        if let Some(text) = text.strip_prefix("frame ") {
            text.trim().clone_into(&mut frame);
            continue;
        }
        let line = index + 1;
        let (sent, rest) = text
            .split_once(" => ")
            .unwrap_or_else(|| panic!("line {line}: no ` => `: {text}"));
        let (expected, why) = rest
            .rsplit_once(" -- ")
            .unwrap_or_else(|| panic!("line {line}: no reason: {text}"));
        assert!(!why.trim().is_empty(), "line {line}: no reason");
        rows.push(Row {
            line,
            role: role.clone(),
            sent: sent.trim().to_owned(),
            expected: expected.trim().to_owned(),
            frame: frame.clone(),
        });
    }
    rows
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes().iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        match rest.next().expect("something after a backslash") {
            b'r' => bytes.push(b'\r'),
            b'n' => bytes.push(b'\n'),
            b't' => bytes.push(b'\t'),
            b's' => bytes.push(b' '),
            b'0' => bytes.push(0),
            b'x' => {
                let digits: Vec<u8> = rest.by_ref().take(2).collect();
                let digits = String::from_utf8(digits).expect("two digits");
                bytes.push(u8::from_str_radix(&digits, 16).expect("two digits"));
            }
            b'*' => {
                let mut count = 0;
                let repeated = loop {
                    match rest.next().expect("something to repeat") {
                        digit @ b'0'..=b'9' => count = count * 10 + usize::from(digit - b'0'),
                        other => break other,
                    }
                };
                bytes.extend(std::iter::repeat_n(repeated, count));
            }
            other => bytes.push(other),
        }
    }
    bytes
}
