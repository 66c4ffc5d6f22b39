//! `--url`: a sub-token of a tidegate elsewhere, for as long as the command runs; no gate runs here.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::environment::{Traces, Variable};
use super::intercept::{ByteStream, trusting};
use super::{Failed, say};
use crate::config::BaseUrl;
use crate::secret::{self, Secret};
use crate::token::SubToken;

/// Whose identity a job has, or the file that it is in.
#[derive(Clone, Debug)]
pub(super) enum Identity {
    /// GitHub Actions gives one to who asks it.
    Github,
    /// GitLab puts one into a variable of the job.
    Gitlab,
    /// A file, as Kubernetes projects one.
    File(std::path::PathBuf),
}

impl From<&OsStr> for Identity {
    fn from(text: &OsStr) -> Self {
        match text.to_str() {
            Some("github") => Self::Github,
            Some("gitlab") => Self::Gitlab,
            _ => Self::File(text.into()),
        }
    }
}

/// The variable that has a sub-token which is to be weakened.
const PARENT: &str = "TIDEGATE_TOKEN";
/// The variable that GitLab's `id_tokens:` is to name.
pub(super) const GITLAB: &str = "TIDEGATE_ID_TOKEN";
/// Where Actions gives out identities, and what it is shown for that.
const GITHUB: [&str; 2] = [
    "ACTIONS_ID_TOKEN_REQUEST_URL",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
];
/// Where identities are exchanged.
const EXCHANGE: &str = "/.tidegate/v1/exchange";
/// Where a sub-token makes a weaker one.
const CHILDREN: &str = "/.tidegate/v1/tokens";
/// Where a sub-token ends itself.
const OWN: &str = "/.tidegate/v1/tokens/self";
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most bytes that it may have.
const MOST: usize = 64 << 10;

/// A tidegate elsewhere.
pub(in crate::cli) struct Remote(BaseUrl);

/// A sub-token that it gave.
pub(in crate::cli) struct GivenToken {
    /// It.
    pub token: Secret,
    /// Its roles.
    pub roles: Vec<String>,
}

impl GivenToken {
    fn of(token: &str, answer: &Value) -> Self {
        let roles = answer.get("roles").and_then(Value::as_array);
        let roles = roles.into_iter().flatten().filter_map(Value::as_str);
        Self {
            token: Secret::new(token.to_owned()),
            roles: roles.map(str::to_owned).collect(),
        }
    }
}

/// The sub-token that is to be weakened: of a file, or of its variable; `instead` says where else it may come from.
///
/// # Errors
/// Why there is none.
pub(in crate::cli) fn parent(
    file: Option<&Path>,
    own: &[Variable],
    instead: &str,
) -> Result<Secret, Failed> {
    let text = match file {
        Some(path) => secret::file::read(path).map_err(Failed::because)?,
        None => Secret::new(variable(own, PARENT, instead)?),
    };
    let token = SubToken::read(text.expose().trim());
    let token = token.map_err(|_| Failed::because("what is to be weakened is no sub-token"))?;
    Ok(token.secret)
}

impl Remote {
    /// The one at that address.
    ///
    /// # Errors
    /// If the sub-token would travel in the clear.
    pub fn at(url: BaseUrl) -> Result<Self, Failed> {
        if !url.is_https() && !url.is_loopback() {
            return Err(Failed::because(
                "the sub-token would travel in the clear; `http://` is for loopback only, so use `https://`",
            ));
        }
        Ok(Self(url))
    }

    /// Exchanges an identity for a sub-token, with these of its roles if any are named.
    ///
    /// # Errors
    /// Why there is no identity, or what is said to it.
    pub(super) async fn exchange(
        &self,
        identity: &Identity,
        audience: &str,
        roles: &[String],
        own: &[Variable],
        traces: &mut Traces,
    ) -> Result<GivenToken, Failed> {
        let identity = identity.token(audience, own).await?;
        traces.learn(identity.expose());
        let mut form = vec![
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
            ("subject_token", identity.expose()),
        ];
        let scope = roles.join(" ");
        if !roles.is_empty() {
            form.push(("scope", &scope));
        }
        let mut request = Ask::new(Method::POST, format!("{}{EXCHANGE}", self.0))?;
        request.form(&form);
        let (status, answer) = request.send().await?;
        let member = |name: &str| answer.get(name).and_then(Value::as_str);
        let Some(token) = member("access_token").filter(|_| status == StatusCode::OK) else {
            let why = member("error_description").or_else(|| member("message"));
            return Err(Failed::because(format!(
                "{} gives no sub-token for this identity ({status}): {}",
                self.0,
                why.unwrap_or("it does not say why; is it a tidegate, with `issuers`?")
            )));
        };
        Ok(GivenToken::of(token, &answer))
    }

    /// Makes a weaker sub-token of one, as it is wished for in the words of `POST /.tidegate/v1/tokens`; what is answered.
    ///
    /// # Errors
    /// What is said to it.
    pub async fn weaken(
        &self,
        parent: &Secret,
        wish: &Value,
    ) -> Result<(GivenToken, Value), Failed> {
        let mut request = Ask::new(Method::POST, format!("{}{CHILDREN}", self.0))?;
        request.show(parent.expose())?;
        request.json(wish);
        let (status, answer) = request.send().await?;
        let member = |name: &str| answer.get(name).and_then(Value::as_str);
        let Some(token) = member("token").filter(|_| status == StatusCode::CREATED) else {
            return Err(Failed::because(format!(
                "{} makes no weaker sub-token of this one ({status}): {}",
                self.0,
                member("message").unwrap_or("it does not say why; is it a tidegate?")
            )));
        };
        Ok((GivenToken::of(token, &answer), answer))
    }

    /// Ends a sub-token. That it can't be ended is said, and no more: it ends by itself.
    pub async fn end(&self, token: &Secret) {
        let ended = async {
            let mut request = Ask::new(Method::DELETE, format!("{}{OWN}", self.0))?;
            request.show(token.expose())?;
            Ok::<_, Failed>(request.send().await?.0)
        };
        match ended.await {
            Ok(status) if status.is_success() => {}
            Ok(status) => say(format!(
                "tidegate exec: {} did not end the sub-token ({status}); it ends when its time is over",
                self.0
            )),
            Err(Failed(why)) => say(format!(
                "tidegate exec: the sub-token was not ended, and ends when its time is over: {}",
                why.join("; ")
            )),
        }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.0.to_string()
    }
}

impl Identity {
    async fn token(&self, audience: &str, own: &[Variable]) -> Result<Secret, Failed> {
        let token = match self {
            Self::File(path) => in_file(path)?,
            Self::Gitlab => variable(
                own,
                GITLAB,
                "name it under `id_tokens` of the job, with the audience of the issuer",
            )?,
            Self::Github => {
                let why = "the job needs `permissions: { id-token: write }`";
                let [url, shown] = GITHUB.map(|name| variable(own, name, why));
                let mut url = url?;
                let joint = if url.contains('?') { '&' } else { '?' };
                url.push(joint);
                url.push_str("audience=");
                encode(audience, &mut url);
                let mut request = Ask::new(Method::GET, url)?;
                request.show(&shown?)?;
                let (status, answer) = request.send().await?;
                let given = answer.get("value").and_then(Value::as_str);
                let given = given.filter(|_| status == StatusCode::OK);
                let given = given.ok_or_else(|| {
                    Failed::because(format!(
                        "GitHub Actions gives no identity ({status}); {why}"
                    ))
                })?;
                given.to_owned()
            }
        };
        Ok(Secret::new(token.trim().to_owned()))
    }
}

fn in_file(path: &Path) -> Result<String, Failed> {
    std::fs::read_to_string(path).map_err(|error| {
        Failed::because(format!(
            "the identity in `{}` can't be read: {error}; `--oidc` takes github, gitlab or a file",
            path.display()
        ))
    })
}

fn variable(own: &[Variable], wanted: &str, instead: &str) -> Result<String, Failed> {
    let mut set = own.iter();
    let found = set.find(|(name, _)| name == wanted);
    let text = found.and_then(|(_, value)| value.to_str());
    text.map(str::to_owned).ok_or_else(|| {
        Failed::because(format!(
            "there is no identity: {wanted} is not set; {instead}"
        ))
    })
}

/// Learns every real token that the caller has where clients look for one: none of it may come to a command.
pub(super) fn learn_real_tokens(own: &[Variable], traces: &mut Traces) {
    for (_, value) in own {
        if let Some(text) = value.to_str()
            && text.starts_with("do")
            && text.contains("_v1_")
            && crate::secret::no_real_token(text).is_none()
        {
            traces.learn(text);
        }
    }
}

/// A request over a connection of its own, to a server that the system trusts, or on this machine.
struct Ask {
    uri: Uri,
    request: Request<Full<Bytes>>,
}

impl Ask {
    fn new(method: Method, url: String) -> Result<Self, Failed> {
        let wrong = || Failed::because("an address that is to be asked is none");
        let uri = Uri::try_from(url).map_err(|_| wrong())?;
        let target = uri.path_and_query().ok_or_else(wrong)?.as_str();
        let authority = uri.authority().ok_or_else(wrong)?.as_str();
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().map_err(|_| wrong())?;
        let host = HeaderValue::from_str(authority).map_err(|_| wrong())?;
        request.headers_mut().insert(HOST, host);
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(ACCEPT, json);
        Ok(Self { uri, request })
    }

    fn show(&mut self, token: &str) -> Result<(), Failed> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| Failed::because("what is to be shown is no token"))?;
        value.set_sensitive(true);
        self.request.headers_mut().insert(AUTHORIZATION, value);
        Ok(())
    }

    fn json(&mut self, body: &Value) {
        let json = HeaderValue::from_static("application/json");
        self.request.headers_mut().insert(CONTENT_TYPE, json);
        *self.request.body_mut() = Full::new(body.to_string().into());
    }

    fn form(&mut self, fields: &[(&str, &str)]) {
        let mut body = String::new();
        for (name, value) in fields {
            if !body.is_empty() {
                body.push('&');
            }
            body.push_str(name);
            body.push('=');
            encode(value, &mut body);
        }
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        self.request.headers_mut().insert(CONTENT_TYPE, form);
        *self.request.body_mut() = Full::new(body.into());
    }

    /// Sends it, and reads the answer, which is nothing where it is no JSON. A redirect is none that is followed.
    async fn send(self) -> Result<(StatusCode, Value), Failed> {
        let host = self.uri.host().unwrap_or_default().to_owned();
        let told =
            |why: &dyn std::fmt::Display| Failed::because(format!("{host} can't be asked: {why}"));
        let stream = match timeout(PATIENCE, connect(&self.uri)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(told(&error)),
            Err(_) => return Err(told(&"it does not answer")),
        };
        let exchange = async {
            let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let answer = sender.send_request(self.request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MOST).collect().await;
            let bytes = body.map(Collected::to_bytes).unwrap_or_default();
            Ok::<_, hyper::Error>((status, bytes))
        };
        match timeout(PATIENCE, exchange).await {
            Ok(Ok((status, bytes))) => {
                Ok((status, serde_json::from_slice(&bytes).unwrap_or_default()))
            }
            Ok(Err(error)) => Err(told(&error)),
            Err(_) => Err(told(&"it does not answer")),
        }
    }
}

async fn connect(uri: &Uri) -> std::io::Result<Box<dyn ByteStream>> {
    let https = uri.scheme_str() == Some("https");
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    if !https {
        if stream.peer_addr()?.ip().is_loopback() {
            return Ok(Box::new(stream));
        }
        return Err(std::io::Error::other("`http://` is for loopback only"));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
    Ok(Box::new(
        TlsConnector::from(trusting()?)
            .connect(name, stream)
            .await?,
    ))
}

/// Adds a text as forms and queries have it.
fn encode(text: &str, to: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            to.push(char::from(byte));
        } else {
            let _ = write!(to, "%{byte:02X}"); // a text can always be written to
        }
    }
}
