//! Answers without the members that are cut from them.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame};

use super::answer::{Answer, AnswerBody, Cut, forget_body};
use super::cutter::{Cutter, Judge, Judged, Plan, UnreadableAnswer};
use super::member_search::Search;
use super::planner::Cuts;

/// Cuts what is there whole.
///
/// # Errors
/// `UnreadableAnswer`.
pub fn trimmed(
    whole: &Bytes,
    plan: impl Into<Arc<Plan>>,
    judge: Judge<'_>,
) -> Result<Bytes, UnreadableAnswer> {
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
///
/// Most long answers have nothing that is cut. So an answer is held back first, up to half a megabyte of it, while there is
/// nothing to cut in it; one that ends so, and is bracketed as an object, passes as it came. Any other is walked through, from
/// its beginning.
pub fn trimming(answer: Answer, cuts: Cuts) -> Answer {
    let (mut head, body) = answer.into_parts();
    forget_body(&mut head.headers);
    let Cuts { plan, search } = cuts;
    let nobody: Judge<'static> = Box::new(|_, _| Judged::Null);
    let body = Trimming {
        body,
        search,
        held: VecDeque::new(),
        held_bytes: 0,
        cutter: Cutter::new(plan, nobody),
        ended: false,
    };
    Answer::from_parts(head, AnswerBody::pieces(body))
}

/// How much of an answer is held back while there is nothing to cut in it.
const HELD: usize = 512 << 10;

struct Trimming {
    body: AnswerBody,
    /// Gone once the answer is walked through, or need not be.
    search: Option<Search>,
    /// What came and did not go out yet.
    held: VecDeque<Bytes>,
    held_bytes: usize,
    cutter: Cutter<'static>,
    ended: bool,
}

impl Trimming {
    /// Reads on while there is nothing to cut. True where that is all of the answer.
    fn poll_search(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Cut>> {
        while let Some(search) = &mut self.search {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None if search.saw_object() => return Poll::Ready(Ok(true)),
                None => self.search = None, // no JSON, or cut short: the walk says what is to be said
                Some(Err(cut)) => return Poll::Ready(Err(cut)),
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else {
                        continue; // trailers
                    };
                    self.held_bytes += data.len();
                    if self.held_bytes > HELD || !search.finds_none(&data) {
                        self.search = None;
                    }
                    self.held.push_back(data);
                }
            }
        }
        Poll::Ready(Ok(false))
    }

    /// The next piece, walked through.
    fn poll_walk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Cut>> {
        let data = match self.held.pop_front() {
            Some(held) => held,
            None => match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => {
                    self.ended = true;
                    let rest = self.cutter.finish();
                    return Poll::Ready(rest.map_err(|UnreadableAnswer| not_json()));
                }
                Some(Err(cut)) => return Poll::Ready(Err(cut)),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(), // trailers stay behind
            },
        };
        let cut = self.cutter.push(&data);
        Poll::Ready(cut.map_err(|UnreadableAnswer| not_json()))
    }
}

impl Body for Trimming {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let this = &mut *self;
        if this.search.is_some() && !this.ended {
            match ready!(this.poll_search(cx)) {
                Ok(whole) => this.ended = whole,
                Err(cut) => {
                    this.held.clear();
                    this.search = None;
                    this.ended = true;
                    return Poll::Ready(Some(Err(cut)));
                }
            }
        }
        if this.search.is_some() || this.ended {
            let held = this.held.pop_front();
            return Poll::Ready(held.map(|piece| Ok(Frame::data(piece))));
        }
        while !this.ended {
            match ready!(this.poll_walk(cx)) {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Poll::Ready(Some(Ok(Frame::data(piece)))),
                Err(cut) => {
                    this.ended = true;
                    this.held.clear();
                    return Poll::Ready(Some(Err(cut)));
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
