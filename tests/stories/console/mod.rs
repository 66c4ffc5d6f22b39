//! The console: who gets in, what it shows, what it does, and what it never does.

mod operators;
mod policies;
mod records;
mod several;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::support::gate::Signal;
use crate::support::{Gate, REAL_TOKEN, StandInApi};

const POLICY: &str = "
version: 1
roles:
  viewer: { operator: [view] }
  guard: { operator: [view, revoke] }
  chief: { operator: [view, revoke, issue], operator_issues: [reader] }
  reader: { description: reads, allow: [{ scopes: [\"droplet:read\"] }] }
  writer: { allow: [{ scopes: [\"droplet:read\", \"droplet:delete\"] }] }
";

async fn gate(api: &StandInApi) -> Gate {
    with(api, json!({ "address": "127.0.0.1:0", "console": true })).await
}

async fn with(api: &StandInApi, admin: Value) -> Gate {
    let builder = Gate::builder(api).policy(POLICY);
    builder.set("admin", admin).start().await
}

/// What was answered. It is not searched for secrets: one that was just issued is told here, once.
#[derive(Debug)]
struct Told {
    status: u16,
    head: String,
    body: String,
}

impl Told {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A request, byte for byte, over a connection of its own.
async fn ask(at: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> Told {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let sent = head_of(at, line, headers, body) + body;
    stream.write_all(sent.as_bytes()).await.unwrap();
    told(stream, line).await
}

/// The same, of whose body the second half is sent once something else has happened.
async fn held_back(
    at: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &str,
    meanwhile: impl Future<Output = ()>,
) -> Told {
    let mut stream = TcpStream::connect(at).await.unwrap();
    let (begun, rest) = body.split_at(body.len() / 2);
    let sent = head_of(at, line, headers, body) + begun;
    stream.write_all(sent.as_bytes()).await.unwrap();
    meanwhile.await;
    stream.write_all(rest.as_bytes()).await.unwrap();
    told(stream, line).await
}

fn head_of(at: SocketAddr, line: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut head = format!("{line} HTTP/1.1\r\nconnection: close\r\n");
    let has_host = headers.iter().any(|(name, _)| *name == "host");
    if !has_host {
        let _ = write!(head, "host: {at}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "content-length: {}\r\n\r\n", body.len());
    head
}

async fn told(mut stream: TcpStream, line: &str) -> Told {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let all = String::from_utf8(all).unwrap();
    let (head, body) = all
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("{line}: {all:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Told {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// The lines of the record as they come, and all that was said of them so far.
struct Live {
    stream: TcpStream,
    said: String,
}

impl Live {
    /// Once they have begun to come.
    async fn begin(session: &Session, query: &str) -> Self {
        let mut stream = TcpStream::connect(session.at).await.unwrap();
        let head = format!(
            "GET /live/lines{query} HTTP/1.1\r\nconnection: close\r\nhost: {}\r\ncookie: {}\r\n\r\n",
            session.at, session.cookie
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut live = Self {
            stream,
            said: String::new(),
        };
        live.until(&[": here"]).await;
        live
    }

    /// All that was said, once each of these was.
    async fn until(&mut self, parts: &[&str]) -> &str {
        let mut piece = [0; 4096];
        while !parts.iter().all(|part| self.said.contains(part)) {
            let count = self.stream.read(&mut piece).await.unwrap();
            assert!(count > 0, "{}", self.said);
            let more = String::from_utf8_lossy(&piece[..count]);
            self.said.push_str(&more);
        }
        &self.said
    }
}

/// Somebody with a browser who is signed in.
struct Session {
    at: SocketAddr,
    cookie: String,
    form: String,
}

impl Session {
    async fn begin(gate: &Gate, token: &str) -> Self {
        let at = gate.admin_address().unwrap();
        let told = sign_in(at, token).await;
        assert_eq!(
            (told.status, told.header("location")),
            (303, Some("/")),
            "{told:?}"
        );
        let cookie = told.header("set-cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut session = Self {
            at,
            cookie,
            form: String::new(),
        };
        let page = session.get("/").await;
        assert_eq!(page.status, 200, "{page:?}");
        let (_, rest) = page
            .body
            .split_once("name=\"form_token\" value=\"")
            .unwrap();
        rest.split('"')
            .next()
            .unwrap()
            .clone_into(&mut session.form);
        session
    }

    async fn get(&self, target: &str) -> Told {
        ask(
            self.at,
            &format!("GET {target}"),
            &[("cookie", &self.cookie)],
            "",
        )
        .await
    }

    /// Sends a form as a page of the console does.
    async fn post(&self, target: &str, form: &str) -> Told {
        let form = format!("form_token={}&{form}", self.form);
        self.post_as(target, &form, &format!("http://{}", self.at))
            .await
    }

    async fn post_as(&self, target: &str, form: &str, origin: &str) -> Told {
        let headers = [FORM, ("cookie", self.cookie.as_str()), ("origin", origin)];
        ask(self.at, &format!("POST {target}"), &headers, form).await
    }
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JSON: (&str, &str) = ("content-type", "application/json");

async fn sign_in(at: SocketAddr, token: &str) -> Told {
    let headers = [FORM, ("origin", &format!("http://{at}"))];
    ask(at, "POST /sign-in", &headers, &format!("token={token}")).await
}

/// The API of the console, with a token.
async fn api_of(gate: &Gate, line: &str, token: &str, body: &Value) -> Told {
    let at = gate.admin_address().unwrap();
    let bearer = format!("Bearer {token}");
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    ask(at, line, &[JSON, ("authorization", &bearer)], &body).await
}

/// A text as a form holds it.
fn encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let _ = write!(encoded, "%{byte:02x}");
        encoded
    })
}

fn id_of(token: &str) -> &str {
    token.split('_').nth(2).unwrap()
}

#[tokio::test]
async fn without_it_in_the_configuration_there_is_no_page() {
    let api = StandInApi::start().await;
    for admin in [
        json!({ "address": "127.0.0.1:0" }),
        json!({ "address": "127.0.0.1:0", "console": false }),
    ] {
        let gate = with(&api, admin).await;
        let at = gate.admin_address().unwrap();
        for path in [
            "/",
            "/sign-in",
            "/assets/console.js",
            "/api/v1/overview",
            "/tokens",
        ] {
            assert_eq!(
                ask(at, &format!("GET {path}"), &[], "").await.status,
                404,
                "{path}"
            );
        }
        gate.finish(&api).await;
    }
}

#[tokio::test]
async fn who_signs_in_sees_whether_all_is_well_and_signs_out() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let at = gate.admin_address().unwrap();
    let away = ask(at, "GET /", &[], "").await;
    assert_eq!(
        (away.status, away.header("location")),
        (303, Some("/sign-in"))
    );
    let away = ask(at, "GET /tokens?state=active", &[], "").await;
    assert_eq!(
        away.header("location"),
        Some("/sign-in?next=%2Ftokens%3Fstate%3Dactive")
    );
    let token = gate.issue(&["night", "--role", "viewer"]).await;
    let told = sign_in(at, &token).await;
    let cookie = told.header("set-cookie").unwrap();
    assert!(
        cookie.starts_with("tidegate=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"),
        "{cookie}"
    );
    let session = Session::begin(&gate, &token).await;
    let begun = Instant::now();
    while !session.get("/").await.body.contains("All is well.") {
        assert!(begun.elapsed() < Duration::from_secs(20)); // until the API was asked about the real token
        sleep(Duration::from_millis(50)).await;
    }
    let page = session.get("/").await;
    for part in ["policy.yaml", "night", "accepted", "<h1>Overview</h1>"] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let out = session.post("/sign-out", "").await;
    assert_eq!(
        (out.status, out.header("location")),
        (303, Some("/sign-in"))
    );
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(
        session.get("/").await.status,
        303,
        "the cookie is of no use any more"
    );
    let lines = gate.audit();
    let said: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "operator")
        .map(|line| {
            (
                line["token"]["name"].as_str().unwrap(),
                line["detail"].as_str().unwrap(),
                line["client_ip"].as_str().unwrap(),
            )
        })
        .collect();
    let signs_in = ("night", "signs in at the console", "127.0.0.1");
    assert_eq!(
        said,
        [
            signs_in,
            signs_in,
            ("night", "signs out of the console", "127.0.0.1")
        ]
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn every_answer_keeps_browsers_from_all_that_is_elsewhere() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let at = gate.admin_address().unwrap();
    let token = gate.issue(&["night", "--role", "viewer"]).await;
    let session = Session::begin(&gate, &token).await;
    let pages = [
        "/",
        "/tokens",
        "/refusals",
        "/roles",
        "/roles/reader",
        "/ask",
        "/live",
        "/records",
        "/check",
        "/diff",
        "/unused",
        &format!("/tokens/{}", id_of(&token)),
    ];
    for path in [
        "/sign-in",
        "/assets/console.css",
        "/assets/console.js",
        "/assets/icon.svg",
        "/api/v1/openapi.json",
        "/api/v1/overview",
        "/nothing",
    ]
    .iter()
    .chain(pages.iter())
    {
        let told = session.get(path).await;
        let expected = if *path == "/nothing" {
            404
        } else if *path == "/api/v1/overview" {
            401
        } else {
            200
        };
        assert_eq!(told.status, expected, "{path}: {told:?}");
        let policy = told.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none';")
                && !policy.contains("unsafe")
                && !policy.contains('*'),
            "{path}: {policy}"
        );
        for part in [
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(told.header(name), Some(value), "{path}");
        }
        assert!(told.header("access-control-allow-origin").is_none());
        // Neither a script nor a style within a page, and nothing from elsewhere.
        if told.header("content-type") == Some("text/html; charset=utf-8") {
            for part in [
                "style=",
                "<style",
                " onclick",
                "javascript:",
                "http://",
                "https://",
            ] {
                assert!(!told.body.contains(part), "{path} has {part}");
            }
            assert_eq!(told.body.matches("<script").count(), 1, "{path}");
        }
    }
    let head = ask(at, "HEAD /sign-in", &[], "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let wrong = ask(at, "DELETE /tokens", &[], "").await;
    assert_eq!(
        (wrong.status, wrong.header("allow")),
        (405, Some("GET, POST"))
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn only_a_token_with_rights_from_its_own_place_gets_in() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let at = gate.admin_address().unwrap();
    let (reader, elsewhere) = (
        gate.issue(&["ci", "--role", "reader"]).await,
        gate.issue(&["far", "--role", "viewer", "--from", "203.0.113.0/24"])
            .await,
    );
    let revoked = gate.issue(&["gone", "--role", "viewer"]).await;
    gate.cli(&["token", "revoke", "gone"]).await;
    let made_up = "tdg_v1_4fZ0aB9cD8eF_00000000000000000000000000000000000000000000";
    let cases = [
        (reader.as_str(), 403, "gives no right at the console"),
        (elsewhere.as_str(), 403, "may not be used from 127.0.0.1"),
        (revoked.as_str(), 401, "was revoked"),
        (made_up, 401, "check digits"),
        (REAL_TOKEN, 401, "a real DigitalOcean token"),
        ("", 401, "a sub-token is"),
    ];
    for (token, status, said) in cases {
        let begun = Instant::now();
        let told = sign_in(at, token).await;
        assert_eq!(told.status, status, "{said}: {told:?}");
        assert!(told.body.contains(said), "{said}: {}", told.body);
        assert!(told.header("set-cookie").is_none(), "{said}");
        assert!(
            begun.elapsed() >= Duration::from_millis(900),
            "{said}: a failure takes a second"
        );
        assert!(token.is_empty() || !told.body.contains(token), "{said}");
    }
    // The same at its API, and no token at all.
    let told = api_of(&gate, "GET /api/v1/overview", &reader, &Value::Null).await;
    assert_eq!(told.status, 403);
    let none = ask(at, "GET /api/v1/overview", &[], "").await;
    assert_eq!(
        (none.status, none.header("tidegate-reason")),
        (401, Some("no_token"))
    );
    assert_eq!(none.json()["id"], "unauthorized");
    let failures = |lines: &[Value]| {
        lines
            .iter()
            .filter(|line| line["event"] == "operator" && line["decision"] == "deny")
            .count()
    };
    let lines = gate.audit_until(|lines| failures(lines) >= 6).await;
    assert!(!lines.iter().any(|line| line.to_string().contains(made_up)));
    gate.finish(&api).await;
}

#[tokio::test]
async fn rights_at_the_console_are_none_at_the_api() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let chief = gate.issue(&["chief", "--role", "chief"]).await;
    for path in ["/v2/droplets", "/v2/account", "/v2/droplets/12"] {
        let told = gate.get(path).token(&chief).send().await;
        assert_eq!(
            (told.status.as_u16(), told.reason()),
            (403, Some("scope")),
            "{path}"
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn guesses_take_a_second_each_and_lock_nobody_out() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let at = gate.admin_address().unwrap();
    let token = gate.issue(&["night", "--role", "viewer"]).await;
    let begun = Instant::now();
    let guesses: Vec<_> = (0..8)
        .map(|_| tokio::spawn(async move { sign_in(at, "tdg_v1_x").await.status }))
        .collect();
    sleep(Duration::from_millis(200)).await; // they are under way
    assert_eq!(sign_in(at, &token).await.status, 303);
    assert!(
        begun.elapsed() < Duration::from_millis(900),
        "who has a good token waits for nobody"
    );
    let mut statuses = Vec::new();
    for guess in guesses {
        statuses.push(guess.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [401, 401, 401, 401, 429, 429, 429, 429]);
    assert!(
        begun.elapsed() >= Duration::from_millis(3900),
        "one after another"
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_name_that_is_none_of_its_own_is_refused() {
    let api = StandInApi::start().await;
    let admin = json!({ "address": "127.0.0.1:0", "console": true, "hosts": ["ops.example"] });
    let gate = with(&api, admin).await;
    let at = gate.admin_address().unwrap();
    let token = gate.issue(&["night", "--role", "viewer"]).await;
    let bearer = format!("Bearer {token}");
    let own = [
        at.to_string(),
        "localhost".to_owned(),
        format!("localhost:{}", at.port()),
        "OPS.example".to_owned(),
    ];
    let others = [
        "evil.example",
        &format!("evil.example:{}", at.port()),
        "127.0.0.1.evil.example",
        "",
        "127.0.0.1@evil.example",
        "x.ops.example",
    ]
    .map(str::to_owned);
    for (hosts, fits) in [(&own[..], true), (&others[..], false)] {
        for host in hosts {
            for path in ["/sign-in", "/api/v1/overview"] {
                let told = ask(
                    at,
                    &format!("GET {path}"),
                    &[("host", host), ("authorization", &bearer)],
                    "",
                )
                .await;
                assert_eq!(
                    told.status,
                    if fits { 200 } else { 403 },
                    "{host:?} {path}: {told:?}"
                );
            }
        }
    }
    // What was there before goes by any name.
    let told = ask(at, "GET /healthz", &[("host", "evil.example")], "").await;
    assert_eq!(told.status, 200);
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_form_of_another_page_does_nothing() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (chief, other) = (
        gate.issue(&["chief", "--role", "chief"]).await,
        gate.issue(&["other", "--role", "chief"]).await,
    );
    let victim = gate.issue(&["ci", "--role", "reader"]).await;
    let (session, theirs) = (
        Session::begin(&gate, &chief).await,
        Session::begin(&gate, &other).await,
    );
    let own = format!("http://{}", session.at);
    let good = format!("form_token={}", session.form);
    let cases = [
        (good.clone(), "http://evil.example".to_owned()),
        (
            good.clone(),
            format!("http://127.0.0.1:{}", session.at.port().wrapping_add(1)),
        ), // SameSite lets that through
        (good.clone(), "null".to_owned()),
        (good.clone(), format!("https://{}", session.at)),
        (String::new(), own.clone()),
        ("form_token=".to_owned(), own.clone()),
        (format!("form_token={}", theirs.form), own.clone()),
        (format!("form_token={}", session.cookie), own.clone()),
    ];
    let id = id_of(&victim);
    let targets = [
        format!("/tokens/{id}/revoke"),
        format!("/tokens/{id}/rotate"),
        "/tokens".to_owned(),
        "/sign-out".to_owned(),
        "/ask".to_owned(),
        "/tokens/find".to_owned(),
        "/tokens/revoke".to_owned(),
        "/check".to_owned(),
        "/diff".to_owned(),
    ];
    for (form, origin) in &cases {
        for target in &targets {
            let told = session.post_as(target, form, origin).await;
            assert_eq!(told.status, 403, "{target} {form:?} {origin}: {told:?}");
        }
    }
    // Without an origin, in a query, as another kind of body, by GET.
    let cookie = ("cookie", session.cookie.as_str());
    let revoke = &targets[0];
    let none = ask(
        session.at,
        &format!("POST {revoke}"),
        &[FORM, cookie],
        &good,
    )
    .await;
    assert_eq!(none.status, 403);
    let query = ask(
        session.at,
        &format!("POST {revoke}?{good}"),
        &[FORM, cookie, ("origin", &own)],
        "",
    )
    .await;
    assert_eq!(query.status, 403);
    let plain = ask(
        session.at,
        &format!("POST {revoke}"),
        &[("content-type", "text/plain"), cookie, ("origin", &own)],
        &good,
    )
    .await;
    assert_eq!(plain.status, 400);
    let get = ask(
        session.at,
        &format!("GET {revoke}?{good}"),
        &[cookie, ("origin", &own)],
        "",
    )
    .await;
    assert_eq!(get.status, 405);
    // A cookie is nothing at the API, and the API's token nothing at the page.
    let by_cookie = ask(
        session.at,
        &format!("POST /api/v1/tokens/{id}/revoke"),
        &[JSON, cookie, ("origin", &own)],
        "{}",
    )
    .await;
    assert_eq!(by_cookie.status, 401);
    let bearer = format!("Bearer {chief}");
    let by_bearer = ask(
        session.at,
        &format!("POST {revoke}"),
        &[FORM, ("authorization", &bearer), ("origin", &own)],
        &good,
    )
    .await;
    assert_eq!(by_bearer.status, 401, "{by_bearer:?}");
    let login = ask(
        session.at,
        "POST /sign-in",
        &[FORM, ("origin", "http://evil.example")],
        &format!("token={chief}"),
    )
    .await;
    assert_eq!(login.status, 403);
    assert_ne!(
        gate.get("/.tidegate/v1/whoami")
            .token(&victim)
            .send()
            .await
            .status,
        401,
        "it lives"
    );
    assert_eq!(
        session.get("/").await.status,
        200,
        "and so does the session"
    );
    let changed = gate
        .audit()
        .iter()
        .any(|line| line["event"] == "operator" && line["resources"].is_array());
    assert!(!changed, "nothing was done");
    gate.finish(&api).await;
}

#[tokio::test]
async fn a_session_ends_with_its_token_and_holds_from_its_sources_alone() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let token = gate
        .issue(&["night", "--role", "viewer", "--max-uses", "3"])
        .await;
    let session = Session::begin(&gate, &token).await;
    for _ in 0..5 {
        assert_eq!(
            session.get("/tokens").await.status,
            200,
            "a page costs no use"
        );
    }
    let list: Value =
        serde_json::from_slice(&gate.cli(&["token", "show", "night", "--json"]).await.stdout)
            .unwrap();
    assert_eq!(
        (&list["uses_left"], &list["last_used_at"]),
        (&json!(3), &Value::Null)
    );
    gate.cli(&["token", "rotate", "night"]).await;
    let begun = Instant::now();
    while session.get("/").await.status == 200 {
        assert!(begun.elapsed() < Duration::from_secs(2), "within a second");
        sleep(Duration::from_millis(20)).await;
    }
    let again = gate.issue(&["day", "--role", "viewer"]).await;
    let session = Session::begin(&gate, &again).await;
    gate.write_policy(&POLICY.replace(
        "viewer: { operator: [view] }",
        "viewer: { allow: [{ scopes: [\"droplet:read\"] }] }",
    ));
    gate.signal(Signal::Hup);
    gate.log_until("reloaded").await;
    assert_eq!(
        session.get("/").await.status,
        403,
        "the role gives it nothing now"
    );
    gate.finish(&api).await;
}

/// S21, without a browser: find what leaked, see what it did, end it.
#[tokio::test]
async fn a_leaked_token_is_found_looked_at_and_ended() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (guard, leaked) = (
        gate.issue(&["guard", "--role", "guard"]).await,
        gate.issue(&["ci", "--role", "writer", "--owner", "alice"])
            .await,
    );
    assert_eq!(
        gate.get("/v2/droplets").token(&leaked).send().await.status,
        200
    );
    let refused = gate.get("/v2/volumes").token(&leaked).send().await;
    assert_eq!(refused.reason(), Some("scope"));
    let session = Session::begin(&gate, &guard).await;
    let found = session
        .post("/tokens/find", &format!("token={leaked}"))
        .await;
    let place = format!("/tokens/{}", id_of(&leaked));
    assert_eq!(
        (found.status, found.header("location")),
        (303, Some(place.as_str()))
    );
    let page = session.get(&place).await;
    for part in [
        "ci",
        "alice",
        "GET /v2/droplets",
        "GET /v2/volumes",
        "127.0.0.1",
        "droplet",
    ] {
        assert!(page.body.contains(part), "{part}: {}", page.body);
    }
    let in_address = session.get(&format!("/tokens?q={leaked}")).await;
    assert_eq!(
        in_address.status, 400,
        "a secret does not belong into an address"
    );
    let refusals = session.get("/refusals").await;
    assert!(
        refusals.body.contains("GET /v2/volumes") && refusals.body.contains("/ask?token="),
        "{}",
        refusals.body
    );
    let ended = session.post(&format!("{place}/revoke"), "").await;
    assert_eq!(
        (ended.status, ended.header("location")),
        (303, Some(place.as_str()))
    );
    let begun = Instant::now();
    while gate.get("/v2/droplets").token(&leaked).send().await.status != 401 {
        assert!(begun.elapsed() < Duration::from_secs(1), "within a second");
    }
    assert!(session.get(&place).await.body.contains("revoked"));
    let lines = gate.audit();
    let line = lines
        .iter()
        .find(|line| line["event"] == "operator" && line["resources"].is_array())
        .unwrap();
    assert_eq!(line["token"]["name"], "guard");
    assert_eq!(
        line["resources"],
        json!([{ "kind": "sub_token", "id": id_of(&leaked) }])
    );
    assert_eq!(
        line["detail"],
        format!("revokes the sub-token `ci` ({})", id_of(&leaked))
    );
    gate.finish(&api).await;
}

#[tokio::test]
async fn nobody_gives_himself_more() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (viewer, guard, chief) = (
        gate.issue(&["viewer", "--role", "viewer"]).await,
        gate.issue(&["guard", "--role", "guard"]).await,
        gate.issue(&["chief", "--role", "chief"]).await,
    );
    let (reader, writer) = (
        gate.issue(&["r", "--role", "reader"]).await,
        gate.issue(&["w", "--role", "writer"]).await,
    );
    let both = gate
        .issue(&["both", "--role", "reader", "--role", "writer"])
        .await;
    let options = [
        "high",
        "--role",
        "reader",
        "--ceiling",
        "writer",
        "--until",
        "1h",
    ];
    let high = gate.issue(&options).await;
    let revoke = |token: &str| format!("POST /api/v1/tokens/{}/revoke", id_of(token));
    let rotate = |token: &str| format!("POST /api/v1/tokens/{}/rotate", id_of(token));
    let issue = |roles: &[&str]| {
        (
            "POST /api/v1/tokens".to_owned(),
            json!({ "name": "new", "roles": roles }),
        )
    };
    let nothing = |line: String| (line, json!({}));
    let cases = [
        (&viewer, nothing(revoke(&reader)), 403),
        (&viewer, nothing(rotate(&reader)), 403),
        (&viewer, issue(&["reader"]), 403),
        (&guard, nothing(rotate(&reader)), 403),
        (&guard, issue(&["reader"]), 403),
        (&chief, issue(&["writer"]), 403),
        (&chief, issue(&["reader", "writer"]), 403),
        (&chief, issue(&["chief"]), 403),
        (&chief, issue(&["viewer"]), 403),
        (&chief, issue(&["reader", "viewer"]), 403),
        (&chief, issue(&["nobody"]), 403),
        (&chief, issue(&[]), 400),
        (&chief, nothing(rotate(&writer)), 403),
        (&chief, nothing(rotate(&both)), 403),
        (&chief, nothing(rotate(&high)), 403), // its ceiling is none of his
        (&chief, nothing(rotate(&guard)), 403),
        (&chief, nothing(rotate(&chief)), 403), // nor himself: it shows a secret of a role with rights here
        (&reader, nothing(revoke(&writer)), 403),
        (
            &viewer,
            (
                "POST /api/v1/tokens/revoke".to_owned(),
                json!({ "roles": ["writer"] }),
            ),
            403,
        ),
        (&chief, nothing(rotate(&reader)), 200),
        (&chief, issue(&["reader"]), 201),
        (&chief, issue(&["reader"]), 409), // the name is taken
        (&guard, nothing(revoke(&writer)), 200),
    ];
    for (who, (line, body), status) in &cases {
        let told = api_of(&gate, line, who, body).await;
        assert_eq!(told.status, *status, "{line} {body}: {told:?}");
        let has_secret = told.body.contains("tdg_v1_");
        assert_eq!(
            has_secret,
            line.ends_with("rotate") && *status == 200 || *status == 201,
            "{line} {body}"
        );
    }
    let wrong = [
        json!({ "name": "x", "roles": ["reader"], "ceiling": "writer" }),
        json!({ "name": "x", "roles": ["reader"], "hash": "sha256:00" }),
        json!({ "name": "--role=writer", "roles": ["reader"] }),
        json!({ "name": "x", "roles": ["reader"], "expires": "soon" }),
        json!({ "name": "x", "roles": ["reader"], "owner": "a\nb" }),
        json!({ "name": "x", "roles": ["reader"], "sources": [] }),
        json!({ "name": "x", "roles": ["reader"], "vars": { "a": "b" } }),
    ];
    for body in wrong {
        let told = api_of(&gate, "POST /api/v1/tokens", &chief, &body).await;
        assert_eq!(told.status, 400, "{body}: {told:?}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn what_is_issued_at_the_console_is_what_was_asked_for_and_works_at_once() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let chief = gate.issue(&["chief", "--role", "chief"]).await;
    let asked = json!({ "name": "ci", "roles": ["reader"], "expires": "30d", "max_uses": 2, "sources": ["127.0.0.0/8"], "owner": "-o", "description": "x=y" });
    let told = api_of(&gate, "POST /api/v1/tokens", &chief, &asked).await;
    assert_eq!(told.status, 201, "{told:?}");
    let made = told.json();
    let token = made["token"].as_str().unwrap().to_owned();
    assert_eq!(made["id"], id_of(&token));
    for (member, value) in [
        ("name", json!("ci")),
        ("roles", json!(["reader"])),
        ("uses_left", json!(2)),
        ("sources", json!(["127.0.0.0/8"])),
        ("owner", json!("-o")),
        ("description", json!("x=y")),
        ("state", json!("active")),
    ] {
        assert_eq!(made[member], value, "{member}");
    }
    assert_eq!(
        gate.get("/v2/droplets").token(&token).send().await.status,
        200
    );
    let session = Session::begin(&gate, &chief).await;
    let page = session
        .post(
            "/tokens",
            "name=by+form&role=reader&expires=1h&sources=127.0.0.1%2C+unix",
        )
        .await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(
        page.body.contains("tdg_v1_") && page.body.contains("127.0.0.1/32, unix"),
        "{}",
        page.body
    );
    let (_, secret) = page.body.split_once("id=\"secret\">").unwrap();
    let secret = secret.split('<').next().unwrap();
    assert_eq!(
        gate.get("/.tidegate/v1/whoami")
            .token(secret)
            .send()
            .await
            .status,
        200
    );
    let again = session.get(&format!("/tokens/{}", id_of(secret))).await;
    assert!(!again.body.contains("tdg_v1_"), "this once");
    let wrong = session
        .post("/tokens", "name=&role=reader&expires=x%22%3E%3Cscript%3E")
        .await;
    assert_eq!(wrong.status, 400);
    assert!(
        !wrong.body.contains("<script>") && wrong.body.contains("&lt;script&gt;"),
        "{}",
        wrong.body
    );
    gate.finish(&api).await;
}

/// Whoever knows that a token is about to end begins a request before, and sends the rest of it after.
#[tokio::test]
async fn what_is_held_open_does_not_outlive_its_operator() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let at = gate.admin_address().unwrap();
    let token = gate.issue(&["gone", "--role", "chief"]).await;
    let session = Session::begin(&gate, &token).await;
    let (bearer, origin) = (format!("Bearer {token}"), format!("http://{at}"));
    let by_program = [JSON, ("authorization", bearer.as_str())];
    let by_page = [
        FORM,
        ("cookie", session.cookie.as_str()),
        ("origin", origin.as_str()),
    ];
    let asked = json!({ "name": "late", "roles": ["reader"], "expires": "1h" }).to_string();
    let form = format!(
        "form_token={}&name=later&role=reader&expires=1h",
        session.form
    );
    let ended = async || {
        gate.cli(&["token", "revoke", "gone"]).await;
        let begun = Instant::now();
        while api_of(&gate, "GET /api/v1/roles", &token, &Value::Null)
            .await
            .status
            == 200
        {
            assert!(begun.elapsed() < Duration::from_secs(5), "within a second");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let (told, page) = tokio::join!(
        held_back(at, "POST /api/v1/tokens", &by_program, &asked, ended()),
        held_back(at, "POST /tokens", &by_page, &form, ended()),
    );
    assert_eq!((told.status, page.status), (401, 401), "{told:?} {page:?}");
    let listed = gate.cli(&["token", "list"]).await;
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(!listed.contains("late"), "{listed}");
    gate.finish(&api).await;
}

/// What comes from outside stands in a page as text, wherever it does.
#[tokio::test]
async fn no_markup_from_outside_is_markup_in_a_page() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let api = StandInApi::start().await;
    let policy = "
version: 1
roles:
  viewer: { operator: [view, revoke, issue], operator_issues: [reader, filled] }
  reader:
    delegate: { ttl: 1h, count: 3 }
    description: \"<script>alert(1)</script>\\\"'><img src=x onerror=alert(1)>\"
    allow:
      - { scopes: [\"droplet:read\"], only: { droplet: { name: \"<script>alert(1)</script>\\\"'><img src=x onerror=alert(1)>\" } } }
      - { requests: [\"GET /v2/<script>alert\"] }
  filled:
    vars: [filled]
    allow: [{ scopes: [\"droplet:create\", \"image:read\", \"tag:create\"], only: { droplet: { tag: \"${filled}\" } } }]
tokens:
  - { name: \"<script>filed\", id: 4fZ0aB9cD8eF, hash: \"sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\", roles: [reader], owner: \"<script>x\", description: \"<img src=x>\" }
";
    let builder = Gate::builder(&api).policy(policy);
    let gate = builder
        .set(
            "admin",
            json!({ "address": "127.0.0.1:0", "console": true }),
        )
        .start()
        .await;
    let viewer = gate.issue(&["night", "--role", "viewer"]).await;
    let token = gate
        .issue(&[
            EVIL,
            "--role",
            "reader",
            "--owner",
            EVIL,
            "--description",
            EVIL,
        ])
        .await;
    for target in [
        "/v2/droplets/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/v2/tags/%3Cscript%3Ealert(1)%3E%22'%3E%3Cimg%20src=x%20onerror=alert(1)%3E",
        "/v2/%3Cscript%3Ealert(1)%3E?%3Cscript%3E=1",
    ] {
        gate.get(target)
            .header("user-agent", EVIL)
            .header("x-forwarded-for", EVIL)
            .token(&token)
            .send()
            .await;
    }
    let var = format!("filled={EVIL}");
    let filled = gate
        .issue(&["filled", "--role", "filled", "--var", &var])
        .await;
    let named = json!({ "name": EVIL, "size": "s", "image": 12 });
    let refused = gate.post("/v2/droplets", &named).token(&filled);
    let refused = refused.send().await;
    assert_eq!(refused.reason(), Some("resource"), "{}", refused.text());
    assert!(refused.message().contains("<script>"), "{}", refused.text());
    let child = json!({ "name": "<script>alert(1)</script>", "expires_in": 60, "only": { "droplet": { "name": "<script>alert(1)</script>" } } });
    let child = gate
        .post("/.tidegate/v1/tokens", &child)
        .token(&token)
        .gives_a_token()
        .send()
        .await;
    assert_eq!(child.status.as_u16(), 201, "{}", child.text());
    let child = child.json()["id"].as_str().unwrap().to_owned();
    let session = Session::begin(&gate, &viewer).await;
    let id = id_of(&token);
    gate.audit_until(|lines| {
        lines
            .iter()
            .filter(|line| line["event"] == "answer")
            .count()
            >= 4
    })
    .await;
    let encoded = "%3Cscript%3Ealert(1)%3C/script%3E%22'%3E%3Cimg%20src=x%20onerror=alert(1)%3E";
    let pages = [
        ("/".to_owned(), false),
        ("/tokens".to_owned(), true),
        (format!("/tokens?q={encoded}&owner={encoded}"), true),
        (format!("/tokens?state={encoded}"), true),
        (format!("/tokens/{id}"), true),
        ("/tokens/%3Cscript%3Ealert(1)%3E".to_owned(), false),
        ("/refusals".to_owned(), true),
        ("/roles".to_owned(), true),
        ("/roles/reader".to_owned(), true),
        (
            format!("/ask?method=GET&path={encoded}&role={encoded}&body={encoded}&var={encoded}"),
            true,
        ),
        (
            format!("/ask?method={encoded}&path=/v2/droplets&role=reader"),
            true,
        ),
        (format!("/live?token={encoded}&resource={encoded}"), true),
        ("/live".to_owned(), true),
        (format!("/sign-in?next={encoded}"), true),
        (format!("/tokens/{child}"), true),
        ("/tokens/4fZ0aB9cD8eF".to_owned(), true),
        ("/tokens/new".to_owned(), false),
        (
            format!("/tokens/revoke?owner={encoded}&role={encoded}&trust={encoded}"),
            true,
        ),
        (format!("/tokens/revoke?owner={encoded}"), true),
        (format!("/tokens/{}", id_of(&filled)), true),
        (format!("/tokens?trust={encoded}"), true),
        (
            format!("/ask?method=GET&path={encoded}&token={encoded}"),
            true,
        ),
        (
            format!("/ask?path=/v2/droplets&role=reader&from={encoded}"),
            true,
        ),
        (format!("/ask?path=/v2/tags/{encoded}&role=filled"), true),
        (format!("/roles/{encoded}"), false),
        (format!("/records?token={}", id_of(&filled)), true),
        (format!("/records?since={encoded}"), false),
        (format!("/unused?since={encoded}"), false),
        (format!("/live?since={encoded}"), false),
        ("/records".to_owned(), true),
        (format!("/records?token={encoded}&resource={encoded}"), true),
        (format!("/records?before={encoded}"), false),
        ("/check".to_owned(), true),
        ("/unused".to_owned(), true),
        (format!("/diff?role={encoded}"), true),
    ];
    for (target, shows) in pages {
        let mut told = session.get(&target).await;
        while told.body.contains("The record is being read") {
            told = session.get(&target).await;
        }
        let said = told.body.to_lowercase();
        assert_eq!(
            said.matches("<script").count(),
            1,
            "{target}: {}",
            told.body
        );
        assert!(!said.contains("<img"), "{target}: {}", told.body);
        assert!(
            !shows || said.contains("&lt;script"),
            "{target} shows it: {}",
            told.body
        );
    }
    // What is sent by a form and stands in the page that comes.
    let wrong = self::encoded(
        "version: 1\nroles: { \"<script>\": { allow: [{ scopes: [\"droplet:read\"] }] } }",
    );
    let other = self::encoded(
        "version: 1\nroles: { reader: { allow: [{ scopes: [\"droplet:*\"], only: { droplet: { name: \"<script>x\" } } }] } }",
    );
    let rotated = format!("/tokens/{id}/rotate");
    let forms = [
        ("/check", format!("policy={wrong}")),
        ("/check", format!("policy={encoded}")),
        ("/diff", format!("policy={wrong}")),
        ("/diff", format!("policy={other}")),
        ("/diff", format!("policy={encoded}&role={encoded}")),
        (
            "/ask",
            format!("method=GET&path=/v2/{encoded}&role=reader&body={encoded}"),
        ),
        (
            "/tokens",
            format!(
                "name={encoded}&role={encoded}&owner={encoded}&vars={encoded}&sources={encoded}"
            ),
        ),
        (
            "/tokens",
            format!("name=x&role=reader&expires={encoded}&idle={encoded}&rate={encoded}"),
        ),
        (
            "/tokens",
            format!("name=x&role=reader&max_uses={encoded}&description={encoded}"),
        ),
        (rotated.as_str(), format!("grace={encoded}")),
        ("/tokens/revoke", format!("owner={encoded}&count=7")),
        ("/tokens/find", format!("token={encoded}")),
    ];
    for (target, form) in forms {
        let told = session.post(target, &form).await;
        let said = told.body.to_lowercase();
        assert_eq!(
            said.matches("<script").count(),
            1,
            "{target} {form}: {}",
            told.body
        );
        assert!(!said.contains("<img"), "{target} {form}: {}", told.body);
        assert!(
            target == "/tokens/find" || said.contains("&lt;script"),
            "{target} {form} shows it: {}",
            told.body
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn who_signs_in_is_led_back_to_a_page_of_the_console_and_nowhere_else() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let at = gate.admin_address().unwrap();
    let token = gate.issue(&["night", "--role", "viewer"]).await;
    let cases = [
        ("/tokens?state=active", "/tokens?state=active"),
        ("/roles/reader", "/roles/reader"),
        ("//evil.example", "/"),
        ("//evil.example/tokens", "/"),
        ("https://evil.example/tokens", "/"),
        ("/\\evil.example", "/"),
        ("/sign-out", "/"),
        ("/api/v1/overview", "/"),
        ("/tokens%0d%0aset-cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
    ];
    for (next, place) in cases {
        let headers = [FORM, ("origin", &format!("http://{at}"))];
        let next = encoded(next);
        let told = ask(
            at,
            "POST /sign-in",
            &headers,
            &format!("token={token}&next={next}"),
        )
        .await;
        assert_eq!(told.header("location"), Some(place), "{next}");
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn lines_of_the_record_are_shown_as_they_come_until_the_token_ends() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (viewer, ci) = (
        gate.issue(&["night", "--role", "viewer"]).await,
        gate.issue(&["ci", "--role", "reader"]).await,
    );
    let session = Session::begin(&gate, &viewer).await;
    let mut live = Live::begin(&session, "?refused=true").await;
    assert!(live.said.contains("text/event-stream"), "{}", live.said);
    gate.get("/v2/droplets").token(&ci).send().await;
    gate.get("/v2/volumes").token(&ci).send().await;
    let said = live.until(&["/v2/volumes"]).await;
    assert!(
        said.contains("event: record\ndata: {") && !said.contains("/v2/droplets"),
        "{said}"
    );
    gate.cli(&["token", "revoke", "night"]).await;
    let (begun, mut piece) = (Instant::now(), [0; 4096]);
    while live.stream.read(&mut piece).await.unwrap_or_default() > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it ends with the token"
        );
    }
    gate.finish(&api).await;
}

#[tokio::test]
async fn records_roles_and_explanations_are_told_to_programs_too() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let (viewer, ci) = (
        gate.issue(&["night", "--role", "viewer"]).await,
        gate.issue(&["ci", "--role", "reader", "--owner", "alice"])
            .await,
    );
    gate.get("/v2/droplets").token(&ci).send().await;
    let said = gate.get("/v2/volumes").token(&ci).send().await.message();
    gate.audit_until(|lines| lines.len() >= 2).await;
    let get = async |path: &str| {
        api_of(&gate, &format!("GET {path}"), &viewer, &Value::Null)
            .await
            .json()
    };
    let begun = Instant::now();
    while get("/api/v1/records?token=ci").await["records"]
        .as_array()
        .unwrap()
        .len()
        < 2
    {
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let refused = get("/api/v1/records?refused=true&token=ci").await;
    assert_eq!(refused["records"][0]["path"], "/v2/volumes");
    assert_eq!(refused["records"].as_array().unwrap().len(), 1);
    let refusals = get("/api/v1/refusals").await;
    let group = &refusals["refusals"][0];
    assert_eq!(
        (&group["count"], &group["reason"], &group["token"]["name"]),
        (&json!(1), &json!("scope"), &json!("ci"))
    );
    assert_eq!(group["message"], said.as_str(), "what the client was told");
    assert_eq!(
        group["suggestion"],
        "allow:\n  - scopes: [block_storage:read]"
    );
    let tokens = get("/api/v1/tokens?owner=alice").await;
    assert_eq!(
        (&tokens["total"], &tokens["tokens"][0]["name"]),
        (&json!(1), &json!("ci"))
    );
    assert_eq!(get("/api/v1/tokens?state=revoked").await["total"], 0);
    assert_eq!(
        get("/api/v1/tokens?role=viewer").await["tokens"][0]["name"],
        "night"
    );
    let one = get(&format!("/api/v1/tokens/{}", id_of(&ci))).await;
    assert_eq!(
        one["may"]["matrix"],
        json!({ "droplet": { "read": "all" } })
    );
    assert_eq!(
        one["from"],
        json!([{ "address": "127.0.0.1", "requests": 2 }])
    );
    let role = get("/api/v1/roles/chief").await;
    assert_eq!(
        (&role["operator"], &role["operator_issues"]),
        (&json!(["view", "revoke", "issue"]), &json!(["reader"]))
    );
    let overview = get("/api/v1/overview").await;
    assert_eq!(overview["tokens"]["active"], 2);
    assert_eq!(
        (
            &overview["requests"]["allowed"],
            &overview["requests"]["refused"]
        ),
        (&json!(1), &json!(1))
    );
    for (question, decision, reason) in [
        (
            json!({ "method": "GET", "path": "/v2/droplets", "token": "ci" }),
            "allow",
            "reader.allow[0]",
        ),
        (
            json!({ "method": "GET", "path": "/v2/volumes", "roles": ["reader"] }),
            "deny",
            "scope",
        ),
    ] {
        let told = api_of(&gate, "POST /api/v1/explain", &viewer, &question)
            .await
            .json();
        assert_eq!(
            (&told["decision"], &told["reason"]),
            (&json!(decision), &json!(reason)),
            "{question}: {told}"
        );
    }
    for (path, status) in [
        ("/api/v1/tokens/nobody", 404),
        ("/api/v1/roles/nobody", 404),
        ("/api/v1/tokens?page=x", 400),
        ("/api/v1/tokens?state=x", 400),
        ("/api/v1/records?since=x", 400),
        ("/api/v1/nothing", 404),
    ] {
        let told = api_of(&gate, &format!("GET {path}"), &viewer, &Value::Null).await;
        assert_eq!(told.status, status, "{path}: {told:?}");
    }
    gate.finish(&api).await;
}

/// What the description says that an answer has, it has, and nothing beside it.
#[tokio::test]
async fn the_api_answers_as_it_is_described() {
    let api = StandInApi::start().await;
    let gate = gate(&api).await;
    let chief = gate.issue(&["chief", "--role", "chief"]).await;
    let ci = gate.issue(&["ci", "--role", "reader"]).await;
    gate.get("/v2/volumes").token(&ci).send().await;
    gate.audit_until(|lines| !lines.is_empty()).await;
    let description = api_of(&gate, "GET /api/v1/openapi.json", &chief, &Value::Null)
        .await
        .json();
    let question = json!({ "method": "GET", "path": "/v2/droplets", "token": "ci" });
    let cases = [
        (
            "GET /api/v1/overview",
            "/api/v1/overview",
            "200",
            Value::Null,
        ),
        ("GET /api/v1/tokens", "/api/v1/tokens", "200", Value::Null),
        (
            "POST /api/v1/tokens",
            "/api/v1/tokens",
            "201",
            json!({ "name": "new", "roles": ["reader"] }),
        ),
        (
            "GET /api/v1/tokens/ci",
            "/api/v1/tokens/{id}",
            "200",
            Value::Null,
        ),
        (
            "POST /api/v1/tokens/ci/rotate",
            "/api/v1/tokens/{id}/rotate",
            "200",
            json!({ "grace": "1h" }),
        ),
        (
            "POST /api/v1/tokens/ci/revoke",
            "/api/v1/tokens/{id}/revoke",
            "200",
            json!({}),
        ),
        (
            "GET /api/v1/refusals",
            "/api/v1/refusals",
            "200",
            Value::Null,
        ),
        ("GET /api/v1/records", "/api/v1/records", "200", Value::Null),
        ("GET /api/v1/roles", "/api/v1/roles", "200", Value::Null),
        (
            "GET /api/v1/roles/chief",
            "/api/v1/roles/{name}",
            "200",
            Value::Null,
        ),
        ("POST /api/v1/explain", "/api/v1/explain", "200", question),
        (
            "POST /api/v1/tokens/revoke",
            "/api/v1/tokens/revoke",
            "200",
            json!({ "roles": ["reader"] }),
        ),
        ("GET /api/v1/unused", "/api/v1/unused", "200", Value::Null),
        ("GET /api/v1/check", "/api/v1/check", "200", Value::Null),
        (
            "POST /api/v1/check",
            "/api/v1/check",
            "200",
            json!({ "policy": "version: 2" }),
        ),
        (
            "POST /api/v1/diff",
            "/api/v1/diff",
            "200",
            json!({ "policy": POLICY.replace("droplet:delete", "block_storage:delete") }),
        ),
    ];
    for (line, path, status, body) in cases {
        let told = api_of(&gate, line, &chief, &body).await;
        assert_eq!(told.status.to_string(), status, "{line}: {told:?}");
        let method = line.split(' ').next().unwrap().to_lowercase();
        let schema = &description["paths"][path][&method]["responses"][status]["content"]["application/json"]
            ["schema"];
        fits(&told.json(), schema, &description, line);
    }
    gate.finish(&api).await;
}

/// That a value has the members that its schema has, each of such a kind.
fn fits(value: &Value, schema: &Value, root: &Value, at: &str) {
    let parts = parts(schema, root);
    let (mut known, mut open) = (serde_json::Map::new(), false);
    for part in &parts {
        let types = match &part["type"] {
            Value::Array(types) => types.clone(),
            Value::Null => Vec::new(),
            one => vec![one.clone()],
        };
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_u64() && types.contains(&json!("integer")) => {
                "integer"
            }
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        assert!(
            types.is_empty() || types.contains(&json!(is)),
            "{at} is {value}, and is described as {part}"
        );
        for member in part["required"].as_array().into_iter().flatten() {
            assert!(
                value.get(member.as_str().unwrap()).is_some() || value.is_null(),
                "{at} lacks {member}: {value}"
            );
        }
        known.extend(part["properties"].as_object().cloned().unwrap_or_default());
        open |= !part["additionalProperties"].is_null();
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        match known.get(name) {
            Some(schema) => fits(member, schema, root, &format!("{at}.{name}")),
            None => assert!(open, "{at} has {name}, which is not described"),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        fits(item, &parts[0]["items"], root, &format!("{at}[]"));
    }
}

fn parts(schema: &Value, root: &Value) -> Vec<Value> {
    if let Some(pointer) = schema["$ref"].as_str() {
        return parts(root.pointer(&pointer[1..]).unwrap(), root);
    }
    if let Some(all) = schema["allOf"].as_array() {
        return all.iter().flat_map(|one| parts(one, root)).collect();
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return parts(&any[0], root);
    }
    vec![schema.clone()]
}
