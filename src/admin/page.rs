use std::sync::Arc;

use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use tokio::sync::watch;

use super::readiness::{Phase, Readiness};
use crate::response::{Answer, made};
use crate::server::Current;

/// What answers on the `admin` listener.
pub struct Admin {
    current: Arc<Current>,
    phase: watch::Sender<Phase>,
}

struct Page {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Admin {
    /// Of a daemon that is starting.
    pub fn new(current: Arc<Current>) -> Self {
        Self {
            current,
            phase: watch::Sender::new(Phase::Starting),
        }
    }

    /// Tells it where the daemon is by now.
    pub fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// The rules of now, for the listener's certificate and limits.
    pub(crate) fn current(&self) -> &Current {
        &self.current
    }

    /// Answers one request. Its body is not read.
    pub fn answer<B>(&self, request: &Request<B>) -> Answer {
        let page = match request.uri().path() {
            "/healthz" => Page::text(StatusCode::OK, "alive\n"),
            "/readyz" => self.ready(),
            _ => Page::text(
                StatusCode::NOT_FOUND,
                "there is nothing here; ask for /healthz or /readyz\n",
            ),
        };
        let known = page.status != StatusCode::NOT_FOUND;
        match *request.method() {
            Method::GET => page.whole(),
            Method::HEAD => page.head(),
            _ if known => {
                let mut answer =
                    Page::text(StatusCode::METHOD_NOT_ALLOWED, "ask by GET or HEAD\n").whole();
                let allowed = HeaderValue::from_static("GET, HEAD");
                answer.headers_mut().insert(ALLOW, allowed);
                answer
            }
            _ => page.whole(),
        }
    }

    fn ready(&self) -> Page {
        let readiness = Readiness::of(*self.phase.borrow(), &self.current);
        let status = if readiness.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        Page {
            status,
            content_type: "application/json",
            body: format!("{}\n", readiness.json()),
        }
    }
}

impl Page {
    fn text(status: StatusCode, body: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.to_owned(),
        }
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([
            (CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (CONTENT_LENGTH, HeaderValue::from(self.body.len())),
        ])
    }

    fn whole(self) -> Answer {
        made(self.status, self.headers(), self.body.into_bytes())
    }

    fn head(self) -> Answer {
        made(self.status, self.headers(), Vec::new())
    }
}
