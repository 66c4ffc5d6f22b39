use std::sync::Arc;

use hyper::header::{self, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use super::readiness::{Phase, Readiness};
use crate::audit::Audit;
use crate::metrics::{CONTENT_TYPE, Gauges, expose};
use crate::response::{Answer, made};
use crate::rules::Current;
use crate::state::Live;

/// What answers on the `admin` listener.
pub struct Admin {
    current: Arc<Current>,
    tokens: Arc<Live>,
    audit: Arc<Audit>,
    started: Timestamp,
    phase: watch::Sender<Phase>,
}

/// The paths that are answered with and without a console.
const OWN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

struct MetricsPage {
    status: StatusCode,
    content_type: &'static str,
    body: String,
}

impl Admin {
    /// Of a daemon that is starting.
    pub fn new(current: Arc<Current>, tokens: Arc<Live>, audit: Arc<Audit>) -> Self {
        Self {
            current,
            tokens,
            audit,
            started: Timestamp::now(),
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

    /// Whether a path is one of those that are answered here, whatever else the listener serves.
    pub fn has(path: &str) -> bool {
        OWN.contains(&path)
    }

    /// Answers one request. A body is not read.
    pub async fn answer<B>(self: Arc<Self>, request: &Request<B>) -> Answer {
        let page = match request.uri().path() {
            "/healthz" => MetricsPage::text(StatusCode::OK, "alive\n"),
            "/readyz" => self.ready().await,
            "/metrics" => self.metrics().await,
            _ => MetricsPage::text(
                StatusCode::NOT_FOUND,
                "there is nothing here; ask for /healthz, /readyz or /metrics\n",
            ),
        };
        let known = page.status != StatusCode::NOT_FOUND;
        match *request.method() {
            Method::GET => page.whole(),
            Method::HEAD => page.head(),
            _ if known => {
                let mut answer =
                    MetricsPage::text(StatusCode::METHOD_NOT_ALLOWED, "ask by GET or HEAD\n")
                        .whole();
                let allowed = HeaderValue::from_static("GET, HEAD");
                answer.headers_mut().insert(ALLOW, allowed);
                answer
            }
            _ => page.whole(),
        }
    }

    /// Counting tokens takes a while where there are many, so it is done aside.
    async fn metrics(self: Arc<Self>) -> MetricsPage {
        let ready = self.readiness().await.parts().collect();
        let text = tokio::task::spawn_blocking(move || {
            expose(self.current.metrics().clone(), self.gauges(ready))
        });
        match text.await {
            Ok(Ok(body)) => MetricsPage {
                status: StatusCode::OK,
                content_type: CONTENT_TYPE,
                body,
            },
            Ok(Err(_)) | Err(_) => MetricsPage::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the metrics could not be written\n",
            ),
        }
    }

    fn gauges(&self, ready: Vec<(&'static str, bool)>) -> Gauges {
        let rules = &self.current.get().rules;
        let mut rate_limits: Vec<_> = rules
            .real_tokens()
            .filter_map(|token| Some((token.account.clone(), token.ratelimit_remaining()?)))
            .collect();
        rate_limits.sort();
        let certificates = rules.certificates.iter();
        let mut certificates: Vec<_> = certificates
            .map(|certificate| (certificate.key.clone(), certificate.ends))
            .collect();
        certificates.sort();
        certificates.dedup_by(|(later, _), (key, _)| later == key); // the first to end
        let counted = self.tokens.count(rules.in_force(), self.tokens.now());
        Gauges {
            ready,
            certificates,
            tokens: counted.by_state,
            ending: counted.ending,
            store: self.tokens.store(),
            reload_success: self.current.last().problems.is_empty(),
            rate_limits,
            started: self.started,
        }
    }

    /// When the daemon started.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// What `/readyz` says.
    pub(crate) async fn ready_json(&self) -> Value {
        self.readiness().await.json()
    }

    async fn readiness(&self) -> Readiness {
        let phase = *self.phase.borrow();
        Readiness::of(phase, &self.current, &self.tokens, &self.audit).await
    }

    async fn ready(&self) -> MetricsPage {
        let readiness = self.readiness().await;
        let status = if readiness.is_ready() {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        MetricsPage {
            status,
            content_type: "application/json",
            body: format!("{}\n", readiness.json()),
        }
    }
}

impl MetricsPage {
    fn text(status: StatusCode, body: &str) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=utf-8",
            body: body.to_owned(),
        }
    }

    fn headers(&self) -> HeaderMap {
        HeaderMap::from_iter([
            (
                header::CONTENT_TYPE,
                HeaderValue::from_static(self.content_type),
            ),
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
