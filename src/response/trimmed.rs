//! Answers without the members that are cut from them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::header::CONTENT_LENGTH;

use super::answer::{Answer, AnswerBody, Cut};
use super::cutter::{Cutter, Judge, Judged, NotJson, Plan};

/// Cuts what is there whole.
///
/// # Errors
/// `NotJson`.
pub fn trimmed(whole: &Bytes, plan: Plan, judge: Judge<'_>) -> Result<Bytes, NotJson> {
    let mut cutter = Cutter::new(plan, judge);
    let cut = cutter.push(whole)?;
    let rest = cutter.finish()?;
    Ok(if rest.is_empty() {
        cut
    } else {
        [cut, rest].concat().into()
    })
}

/// Cuts an answer as it comes, at constant memory. Nothing in its plan is judged by itself.
pub fn trimming(answer: Answer, plan: Plan) -> Answer {
    let (mut head, body) = answer.into_parts();
    head.headers.remove(CONTENT_LENGTH);
    let nobody: Judge<'static> = Box::new(|_, _| Judged::Null);
    let body = Trimming {
        body,
        cutter: Some(Cutter::new(plan, nobody)),
    };
    Answer::from_parts(head, body.boxed_unsync())
}

struct Trimming {
    body: AnswerBody,
    /// Gone when the answer ended.
    cutter: Option<Cutter<'static>>,
}

impl Body for Trimming {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        while let Some(cutter) = &mut this.cutter {
            let piece = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                None => {
                    let rest = cutter.finish();
                    this.cutter = None;
                    rest
                }
                Some(Err(cut)) => {
                    this.cutter = None;
                    return Poll::Ready(Some(Err(cut)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => cutter.push(&data),
                    Err(_trailers) => continue,
                },
            };
            match piece {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Err(NotJson) => {
                    this.cutter = None;
                    return Poll::Ready(Some(Err(not_json())));
                }
            }
        }
        Poll::Ready(None)
    }
}

/// What an answer comes to that can't be cut.
pub fn not_json() -> Cut {
    Cut::Broken("it is not the JSON out of which members could be left".to_owned())
}
