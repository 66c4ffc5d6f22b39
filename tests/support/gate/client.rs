//! A client of the gate. It sends what it is told, waits no longer than a deadline, and shows what came, even if half.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Gate;
use super::secrets::Secrets;

/// A client that keeps connections and uses them again, as SDKs do.
pub(super) struct Pool(Client<HttpConnector, Full<Bytes>>);

impl Pool {
    pub(super) fn new() -> Self {
        let mut builder = Client::builder(TokioExecutor::new());
        // A request that the test makes once goes out once.
        Self(builder.retry_canceled_requests(false).build_http())
    }
}

/// A connection that is kept, for one request after another.
pub struct Kept(http1::SendRequest<Full<Bytes>>);

impl Kept {
    /// Keeps a connection that was made.
    ///
    /// # Errors
    /// If it is no connection that HTTP can be spoken over.
    pub async fn over<S>(stream: S) -> Result<Self, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| told(&error))?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }
}

/// A request to be.
#[must_use = "a request is sent by `send`"]
pub struct Ask<'g> {
    gate: &'g Gate,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    pooled: bool,
    deadline: Duration,
    /// Whether a sub-token is what the answer is for.
    gives: bool,
}

impl<'g> Ask<'g> {
    pub(super) fn new(gate: &'g Gate, method: Method, target: &str) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self {
            gate,
            method,
            target: target.to_owned(),
            headers,
            body,
            pooled: false,
            gives: false,
            deadline: Duration::from_secs(30),
        }
    }

    /// Shows this token.
    pub fn token(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    /// Adds a header; the same name twice makes two.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        self.headers.append(
            name,
            HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
        );
        self
    }

    /// Sends JSON.
    pub fn json(self, body: &Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
            .body(body.to_string())
    }

    /// Sends these bytes.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Takes a sub-token in the answer for what was asked for; nowhere else may it be from then on.
    pub fn gives_a_token(mut self) -> Self {
        self.gives = true;
        self
    }

    /// Sends a form.
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let escaped = |text: &str| -> String {
            let byte = |byte: u8| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            };
            text.bytes().map(byte).collect()
        };
        let fields = fields
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        let body = fields.collect::<Vec<_>>().join("&");
        self.header(CONTENT_TYPE.as_str(), "application/x-www-form-urlencoded")
            .body(body)
    }

    /// Uses the gate's pool of connections instead of one of its own.
    pub fn pooled(mut self) -> Self {
        self.pooled = true;
        self
    }

    /// Waits at most so long for the answer, instead of 30 seconds.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// Sends the request and reads the answer.
    ///
    /// # Panics
    /// If there is none.
    pub async fn send(self) -> Answer {
        let line = format!("{} {}", self.method, self.target);
        self.try_send()
            .await
            .unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    /// Sends the request and reads the answer; says why there is none.
    ///
    /// # Errors
    /// Whatever a client sees: a refused connection, one that closed, a deadline that passed.
    pub async fn try_send(self) -> Result<Answer, String> {
        let streaming = self.open().await?;
        streaming.rest().await
    }

    /// Sends the request and returns with the answer's head, the body yet to come.
    ///
    /// # Errors
    /// As `try_send`.
    pub async fn open(self) -> Result<Streaming<'g>, String> {
        if self.pooled {
            return self.open_pooled().await;
        }
        let stream = TcpStream::connect(self.gate.address())
            .await
            .map_err(|error| error.to_string())?;
        self.open_over(stream).await
    }

    /// The same over a connection that the test made: TLS, a unix socket, one with a PROXY header already sent.
    ///
    /// # Errors
    /// As `try_send`.
    pub async fn open_over<S>(self, stream: S) -> Result<Streaming<'g>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut kept = Kept::over(stream).await?;
        self.open_kept(&mut kept).await
    }

    /// Sends the request over a connection that is kept, and reads the answer.
    ///
    /// # Errors
    /// As `try_send`.
    pub async fn try_send_over(self, kept: &mut Kept) -> Result<Answer, String> {
        self.open_kept(kept).await?.rest().await
    }

    async fn open_kept(self, Kept(sender): &mut Kept) -> Result<Streaming<'g>, String> {
        sender.ready().await.map_err(|error| told(&error))?;
        let (gate, deadline, gives) = (self.gate, self.deadline, self.gives);
        let request = self.request("");
        let streaming = streaming(gate, deadline, sender.send_request(request)).await?;
        Ok(Streaming { gives, ..streaming })
    }

    async fn open_pooled(self) -> Result<Streaming<'g>, String> {
        let (gate, deadline, base) = (self.gate, self.deadline, self.gate.url());
        let request = self.request(&base);
        streaming(gate, deadline, gate.pool.0.request(request)).await
    }

    /// The request with its target, after `base` for a client that needs a whole URL.
    fn request(self, base: &str) -> Request<Full<Bytes>> {
        let uri = Uri::try_from(format!("{base}{}", self.target));
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri
            .unwrap_or_else(|error| panic!("{:?} goes only over `gate.raw`: {error}", self.target));
        *request.headers_mut() = self.headers;
        request.headers_mut().entry(HOST).or_insert_with(|| {
            HeaderValue::from_str(&self.gate.address().to_string())
                .expect("an address is a header value")
        });
        request
    }
}

async fn streaming<E: std::error::Error>(
    gate: &Gate,
    deadline: Duration,
    answer: impl Future<Output = Result<Response<Incoming>, E>>,
) -> Result<Streaming<'_>, String> {
    let Ok(answer) = timeout(deadline, answer).await else {
        return Err(format!("no answer within {deadline:?}"));
    };
    let (head, body) = answer.map_err(|error| told(&error))?.into_parts();
    let secrets = gate.files.secrets();
    for (name, value) in &head.headers {
        secrets.saw_answer(&format!("the header {name} of an answer"), value.as_bytes());
    }
    Ok(Streaming {
        status: head.status,
        headers: head.headers,
        body,
        secrets,
        tail: Vec::new(),
        deadline,
        gives: false,
    })
}

/// An error with what caused it: hyper's own text leaves that out.
fn told(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(told);
    cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
}

/// An answer whose body is still coming.
pub struct Streaming<'g> {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: Incoming,
    secrets: &'g Secrets,
    /// The end of what came before, where a secret may have begun.
    tail: Vec<u8>,
    deadline: Duration,
    gives: bool,
}

impl Streaming<'_> {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// If the body was cut off, or nothing came in time.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            let Ok(frame) = timeout(self.deadline, self.body.frame()).await else {
                return Err(format!("nothing more within {:?}", self.deadline));
            };
            let Some(frame) = frame else { return Ok(None) };
            if let Ok(data) = frame.map_err(|error| told(&error))?.into_data() {
                self.search(&data);
                return Ok(Some(data));
            }
        }
    }

    /// The whole, or as much as came.
    ///
    /// # Errors
    /// If nothing came in time; a body that was cut off is told by [`Answer::cut`].
    pub async fn rest(mut self) -> Result<Answer, String> {
        let mut body = Vec::new();
        let cut = loop {
            match self.chunk().await {
                Ok(Some(data)) => body.extend_from_slice(&data),
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if self.gives {
            self.secrets.learn(&body);
        }
        Ok(Answer {
            status: self.status,
            headers: self.headers,
            body: body.into(),
            cut,
        })
    }

    fn search(&mut self, data: &[u8]) {
        self.tail.extend_from_slice(data);
        if self.gives {
            self.secrets.saw_gift("the body of an answer", &self.tail);
        } else {
            self.secrets.saw_answer("the body of an answer", &self.tail);
        }
        let kept = self.tail.len().min(Secrets::LONGEST);
        self.tail.drain(..self.tail.len() - kept);
    }
}

/// What a client got.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code; comparable to a number.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or as much of it as came.
    pub body: Bytes,
    /// Why the body ended before its end, if it did.
    pub cut: Option<String>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// If it is something else, or was cut off.
    pub fn json(&self) -> Value {
        assert_eq!(
            self.cut,
            None,
            "the body was cut off after {:?}",
            self.text()
        );
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {:?}", self.text()))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first value of a header, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The code of a refusal that tidegate made itself.
    pub fn reason(&self) -> Option<&str> {
        self.header("tidegate-reason")
    }

    /// The `message` of an error.
    pub fn message(&self) -> String {
        self.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The names of what is in the list `member`.
    pub fn names(&self, member: &str) -> Vec<String> {
        let body = self.json();
        let items = body[member]
            .as_array()
            .unwrap_or_else(|| panic!("no list {member:?} in {body:#}"));
        items
            .iter()
            .map(|item| item["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }
}
