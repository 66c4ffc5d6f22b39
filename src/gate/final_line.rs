use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use jiff::Timestamp;
use tracing::error;

use super::concurrency::{RequestSlot, Seat};
use crate::audit::{Audit, Event, Permit, Record, Unwritable, Verdict};
use crate::metrics::{Metrics, RequestOutcome};
use crate::policy::Allowed;
use crate::refusal::{Code, Refusal};
use crate::response::{Answer, AnswerBody, Cut};
use crate::state::Activity;
use crate::token::Spending;
use crate::units::Rate;

/// The final line of a request, written when it is dropped: at the end of the answer, or wherever the request ended before.
pub struct FinalLine {
    /// The record, as far as it is known.
    pub record: Record,
    /// Its slot among the requests that are served at once, and among its client's.
    pub slot: Option<(RequestSlot, Option<Seat>)>,
    /// Whether it was let through.
    pub permitted: bool,
    /// The calls of the API that look-ups and pages make, counted while they are made.
    pub looked_up: Option<Arc<AtomicU32>>,
    /// What it uses of its account's requests, where these are shared.
    pub spending: Option<Spending>,
    /// The rate of its sub-token, and where that is counted: the look-ups of a refusal count as requests do.
    pub rated: Vec<(Rate, Arc<Activity>)>,
    audit: Arc<Audit>,
    metrics: Arc<Metrics>,
    refused: Option<Code>,
    would: Option<Code>,
    began: Instant,
    elsewhere: Duration,
    counted: bool,
    /// Whether the answer goes without its body, as to HEAD.
    bodiless: bool,
}

impl FinalLine {
    /// The line of a request that has just come, in a box, as it goes with the request from stage to stage.
    pub fn new(audit: Arc<Audit>, metrics: Arc<Metrics>, request_id: String) -> Box<Self> {
        Box::new(Self {
            record: Record::new(request_id),
            slot: None,
            spending: None,
            rated: Vec::new(),
            permitted: false,
            looked_up: None,
            audit,
            metrics,
            refused: None,
            would: None,
            began: Instant::now(),
            elsewhere: Duration::ZERO,
            counted: false,
            bodiless: false,
        })
    }

    /// Notes a refusal.
    pub fn refused(&mut self, refusal: &Refusal) {
        self.refused = Some(refusal.code);
        self.record.decision = Some(Verdict::Deny);
        self.record.would = None;
        self.record.reason = Some(refusal.code.as_str().into());
        let message = Some(refusal.message.clone());
        (self.record.detail, self.record.message) = match refusal.detail.clone() {
            None => (message, None),
            more => (more, message),
        };
        self.record.status = Some(refusal.status());
    }

    /// Notes what the roles alone would have refused, where a ceiling lets it through.
    pub fn would(&mut self, refusal: &Refusal) {
        self.would = Some(refusal.code);
        self.record.would = Some(refusal.into());
    }

    /// Notes that the answer ends with its head.
    pub fn no_body_goes(&mut self) {
        self.bodiless = true;
    }

    /// Notes time in which the API was waited for.
    pub fn elsewhere(&mut self, took: Duration) {
        self.elsewhere += took;
    }

    fn settle(&mut self) {
        let rated = std::mem::take(&mut self.rated);
        if self.refused.is_some() || !self.permitted {
            let looked_up = self.looked_up.as_ref();
            let looked_up = looked_up.map_or(0, |calls| calls.load(Ordering::Relaxed));
            let calls = looked_up.max(self.record.upstream_calls.unwrap_or_default());
            for (rate, activity) in rated {
                activity.take_more(rate, calls);
            }
        }
        if let Some(spending) = self.spending.take() {
            spending.settle(self.record.upstream_calls.unwrap_or_default());
        }
    }

    fn count(&mut self) {
        let outcome = match (self.refused, self.record.decision) {
            (Some(code), _) => RequestOutcome::Refused(code),
            (None, Some(Verdict::Allow)) => RequestOutcome::Allowed,
            (None, Some(Verdict::Deny) | None) => RequestOutcome::Abandoned,
        };
        let endpoint = self.record.endpoint.as_deref();
        self.metrics.request(endpoint, outcome);
        if let Some(code) = self.would.filter(|_| outcome == RequestOutcome::Allowed) {
            self.metrics.would_refuse(endpoint, code);
        }
        self.counted = true;
    }

    /// The line for a request that is about to be sent.
    pub fn decision_line(&self) -> Vec<u8> {
        self.line_of(Event::Decision)
    }

    /// A permit for another request that goes along with what was let through. Where the record can't be relied on any more, only
    /// what is on it first may go.
    ///
    /// # Errors
    /// `Unwritable`; then it must not go.
    pub async fn another_permit(
        &self,
        allowed: &Allowed,
        account: &Arc<str>,
    ) -> Result<Permit, Unwritable> {
        let first = (!self.audit.is_sound()).then(|| self.decision_line());
        self.audit.permit(allowed, account, first).await
    }

    /// The line for something that is about to happen.
    pub fn line_of(&self, event: Event) -> Vec<u8> {
        self.record.line(event, Timestamp::now())
    }

    /// Lets the line be written when the answer has gone, or as much of it as went.
    pub fn follow(mut self: Box<Self>, answer: Answer) -> Answer {
        self.record.status = Some(answer.status().as_u16());
        self.count();
        self.settle(); // every call is made by now, and when the answer is taken is for its client to choose
        self.metrics
            .added(self.began.elapsed().saturating_sub(self.elsewhere));
        answer.map(|body| {
            AnswerBody::pieces(Followed {
                body,
                line: self,
                ended: false,
            })
        })
    }
}

impl Drop for FinalLine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failed = || "tidegate failed while it served this request".to_owned();
            self.record.detail.get_or_insert_with(failed);
        }
        if !self.counted {
            self.count();
        }
        // Who left while lists were read for it has used the calls all the same.
        let looked_up = self.looked_up.take();
        let looked_up = looked_up.map_or(0, |calls| calls.load(Ordering::Relaxed));
        if looked_up > self.record.upstream_calls.unwrap_or_default() {
            self.record.upstream_calls = Some(looked_up);
        }
        self.settle();
        self.record.duration = Some(self.began.elapsed());
        WRITTEN.with_borrow_mut(|line| {
            line.clear();
            self.record.write(Event::Answer, Timestamp::now(), line);
            if self.permitted {
                self.audit.write(line);
            } else {
                self.audit.write_refused(line);
            }
        });
    }
}

thread_local! {
    /// Where the lines of a thread are written, one after another.
    static WRITTEN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Followed {
    body: AnswerBody,
    line: Box<FinalLine>,
    ended: bool,
}

impl Body for Followed {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Err(cut)) => {
                this.ended = true;
                this.line.record.detail = Some(cut.to_string());
                if *cut == Cut::Token {
                    error!(
                        request_id = this.line.record.request_id,
                        "an answer of the API held the real token; it was cut off"
                    );
                }
            }
            None => this.ended = true,
            Some(Ok(_)) => this.ended = this.body.is_end_stream(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        if !self.ended && !self.line.bodiless && !self.body.is_end_stream() {
            self.line
                .record
                .detail
                .get_or_insert_with(|| "the client left before the answer's end".to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::audit::Kept;

    #[tokio::test]
    async fn what_failed_is_on_record_with_its_id_and_that_it_failed() {
        let directory = tempfile::tempdir().unwrap();
        let kept = Kept::new(directory.path().to_owned()).unwrap();
        let audit = Arc::new(Audit::over(kept.clone()).unwrap());
        let line = FinalLine::new(audit.clone(), Arc::default(), "0123".to_owned());
        let failed = tokio::spawn(async move {
            let _line = line;
            panic!("as the code has it nowhere");
        });
        assert!(failed.await.is_err());
        audit.flush().await;
        let mut record = String::new();
        kept.read().read_to_string(&mut record).unwrap();
        let record: serde_json::Value = serde_json::from_str(record.trim_end()).unwrap();
        let told = |member: &str| record[member].as_str().unwrap_or_default().to_owned();
        assert_eq!(told("request_id"), "0123");
        assert_eq!(
            told("detail"),
            "tidegate failed while it served this request"
        );
    }
}
