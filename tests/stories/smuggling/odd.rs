//! Requests from nasty pieces: near enough to good ones that many are let through, and far enough that some are not.

use std::fmt::Write;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// A request as it is to be sent, but for the sub-token.
#[derive(Clone, Debug)]
pub struct Odd {
    pub method: &'static str,
    pub target: String,
    pub headers: Vec<&'static str>,
    pub body: String,
    /// Where the body is cut into chunks; without any it has a length.
    pub cuts: Vec<usize>,
}

impl Odd {
    /// What goes over the connection.
    pub fn bytes(&self, token: &str) -> Vec<u8> {
        let Self {
            method,
            target,
            headers,
            body,
            cuts,
        } = self;
        let mut text = format!(
            "{method} {target} HTTP/1.1\r\nhost: gate\r\nuser-agent: row\r\nconnection: close\r\nauthorization: Bearer {token}\r\n"
        );
        for header in headers {
            text.push_str(header);
            text.push_str("\r\n");
        }
        if cuts.is_empty() {
            if !body.is_empty() {
                let _ = write!(text, "content-length: {}\r\n", body.len());
            }
            text.push_str("\r\n");
            return [text.as_bytes(), body.as_bytes()].concat();
        }
        text.push_str("transfer-encoding: chunked\r\n\r\n");
        let (mut bytes, mut rest) = (text.into_bytes(), body.as_bytes());
        for cut in cuts {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            rest = after;
            push_chunk(&mut bytes, chunk);
        }
        push_chunk(&mut bytes, rest);
        bytes.extend_from_slice(b"0\r\n\r\n");
        bytes
    }
}

fn push_chunk(bytes: &mut Vec<u8>, chunk: &[u8]) {
    if !chunk.is_empty() {
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// All of them.
pub fn requests() -> impl Strategy<Value = Odd> {
    let method = prop_oneof![
        12 => select(vec!["GET", "GET", "POST", "POST", "DELETE", "PUT", "PATCH", "HEAD"]),
        1 => select(vec!["get", "OPTIONS", "TRACE", "PURGE"]),
    ];
    let headers = vec(select(HEADERS.to_vec()), 0..2);
    let cuts = prop_oneof![2 => Just(Vec::new()), 1 => vec(1..12_usize, 1..4)];
    (method, targets(), headers, bodies(), cuts).prop_map(
        |(method, target, headers, body, cuts)| Odd {
            method,
            target,
            headers,
            body,
            cuts,
        },
    )
}

fn targets() -> impl Strategy<Value = String> {
    let path = select(PATHS.to_vec()).prop_flat_map(|path| {
        let parts: Vec<_> = path.split('/').skip(1).map(segments).collect();
        parts.prop_map(|parts| format!("/{}", parts.join("/")))
    });
    let end = prop_oneof![6 => Just(""), 1 => select(vec!["/", "//", "?", "/?", "#x", ";x=1", ".json", "%20"])];
    let query = prop_oneof![1 => Just(String::new()), 1 => vec(parameters(), 1..4).prop_map(|all| format!("?{}", all.join("&")))];
    (path, end, query).prop_map(|(path, end, query)| format!("{path}{end}{query}"))
}

/// A segment in one of its spellings, or something else.
fn segments(known: &'static str) -> impl Strategy<Value = String> {
    prop_oneof![
        20 => Just(known.to_owned()),
        4 => vec(0..3_u8, known.len()).prop_map(move |ways| spelled(known, &ways)),
        1 => (select(NASTY.to_vec()), 0..=known.len()).prop_map(move |(nasty, at)| format!("{}{nasty}{}", &known[..at], &known[at..])),
        1 => select(NASTY.to_vec()).prop_map(str::to_owned),
    ]
}

fn parameters() -> impl Strategy<Value = String> {
    let name = select(vec![
        "page",
        "per_page",
        "tag_name",
        "name",
        "x",
        "type",
        "image",
        "Page",
        "tag_name[]",
        "tagName",
        "_method",
        "",
        "droplet_id",
        "id",
    ])
    .prop_flat_map(segments);
    let value = select(vec![
        "1", "12", "13", "client-a", "a b", "", "a+b", "reboot", "7002", "a=b", "a;b",
    ])
    .prop_map(|value| value.replace(' ', "%20"))
    .prop_flat_map(
        |value| prop_oneof![6 => Just(value), 1 => select(NASTY.to_vec()).prop_map(str::to_owned)],
    );
    (name, prop_oneof![8 => Just("="), 1 => Just("")], value)
        .prop_map(|(name, sign, value)| format!("{name}{sign}{value}"))
}

fn bodies() -> impl Strategy<Value = String> {
    let member =
        (select(KEYS.to_vec()), values()).prop_map(|(key, value)| format!("\"{key}\":{value}"));
    let action = select(vec!["reboot", "resize", "snapshot", "rebuild", "rename"])
        .prop_map(|action| format!("\"type\":\"{action}\""));
    let object = (action, vec(member, 0..4)).prop_flat_map(|(first, mut members)| {
        members.push(first);
        (
            Just(members).prop_shuffle(),
            select(vec!["", " ", "\r\n\t"]),
        )
    });
    let object = object.prop_map(|(members, space)| {
        format!(
            "{space}{{{space}{}}}{space}",
            members.join(&format!("{space},{space}"))
        )
    });
    prop_oneof![
        2 => Just(String::new()),
        10 => object,
        1 => select(vec!["[]", "null", "{}", "{", "no json", "\u{feff}{}", "[{\"type\":\"reboot\"}]", "\"reboot\"", "{\"type\":\"reboot\",}", "{\"a\":1}{\"b\":2}"]).prop_map(str::to_owned),
    ]
}

fn values() -> impl Strategy<Value = String> {
    let leaf = select(VALUES.to_vec()).prop_map(str::to_owned);
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
            (select(KEYS.to_vec()), inner)
                .prop_map(|(key, value)| format!("{{\"{key}\":{value}}}")),
        ]
    })
}

fn spelled(text: &str, ways: &[u8]) -> String {
    let letters = text.bytes().zip(ways);
    letters.fold(String::new(), |mut done, (byte, way)| {
        match way {
            0 => done.push(char::from(byte)),
            1 => drop(write!(done, "%{byte:02X}")),
            _ => drop(write!(done, "%{byte:02x}")),
        }
        done
    })
}

const PATHS: [&str; 16] = [
    "/v2/droplets",
    "/v2/droplets/12",
    "/v2/droplets/12",
    "/v2/droplets/13",
    "/v2/droplets/12/actions",
    "/v2/droplets/12/actions",
    "/v2/droplets/13/actions",
    "/v2/droplets/12/snapshots",
    "/v2/droplets/12/actions/36804636",
    "/v2/droplets/actions",
    "/v2/domains/example.com/records",
    "/v2/tags/client-a",
    "/v2/tags",
    "/v2/vpcs/5a4981aa-9653-4bd1-bef5-d6bff52042e4",
    "/v2/registry/r/repositories/a%2Fb/tags",
    "/v2/account",
];

const NASTY: [&str; 36] = [
    "..",
    ".",
    "%2e%2e",
    "%2F",
    "%2f..%2f13",
    "/",
    "//",
    "/../13",
    "%5C",
    "\\",
    "%00",
    "%0d%0a",
    "%ff",
    "%c0%af",
    "%zz",
    "%",
    "%25",
    "%2541",
    ";",
    ";x=1",
    "..;",
    "%20",
    "+",
    "%2B",
    "0",
    "012",
    "12.0",
    "1e1",
    "+12",
    "%D9%A1%D9%A2",
    "%EF%BC%91",
    "%E2%80%8B",
    "A",
    ",13",
    "%3F",
    "%23",
];

const KEYS: [&str; 18] = [
    "type",
    "Type",
    "t\\u0079pe",
    "type ",
    "type[]",
    "name",
    "image",
    "Image",
    "size",
    "tags",
    "droplet_id",
    "id",
    "unheard",
    "_method",
    "resources",
    "nam\\u0065",
    "",
    "key\\u0000",
];

const VALUES: [&str; 22] = [
    "null",
    "true",
    "12",
    "13",
    "7002",
    "7002.0",
    "7.002e3",
    "-0",
    "12345678901234567890",
    "\"\"",
    "\"x\"",
    "\"13\"",
    "\"012\"",
    "\"7002\"",
    "\"rebuild\"",
    "\"REBOOT\"",
    "\"client-b\"",
    "\"\\u0061\\/\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "01",
    "\"a\\u0000b\"",
];

const HEADERS: [&str; 14] = [
    "content-type: application/json",
    "content-type: application/json; charset=utf-8",
    "content-type: text/plain",
    "content-encoding: gzip",
    "x-http-method-override: DELETE",
    "x-original-url: /v2/droplets/13",
    "x-forwarded-for: 127.0.0.1",
    "expect: 100-continue",
    "upgrade: h2c",
    "te: trailers",
    "host: other",
    "accept: */*",
    "range: bytes=0-1",
    "cookie: a=b",
];
