use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::rules::Current;
use crate::rules::WatchedFiles;

/// Looks every second whether the files are still what was read.
///
/// A change counts once nothing has changed for one look more: a burst of writes is one reload, and a file that is being
/// written is left alone. What was read is held against, not what was seen last, so a change during a reload isn't lost.
pub(super) struct Watcher {
    current: Arc<Current>,
    looks: Interval,
    unsettled: Option<WatchedFiles>,
}

impl Watcher {
    pub fn new(current: Arc<Current>) -> Self {
        let mut looks = interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            current,
            looks,
            unsettled: None,
        }
    }

    /// Returns when the files should be read anew. It may be dropped at any time.
    pub async fn changed(&mut self) {
        loop {
            self.looks.tick().await;
            let last = self.current.last();
            let read = last.seen.clone();
            // A disk that hangs must hold up neither signals nor requests.
            let Ok(now) = tokio::task::spawn_blocking(move || read.again()).await else {
                continue;
            };
            if now == last.seen {
                self.unsettled = None;
                // What failed may have failed for want of descriptors or memory, which no file would show.
                if !last.problems.is_empty() && last.at.elapsed() > AGAIN {
                    return;
                }
            } else if self.unsettled.as_ref() == Some(&now) {
                self.unsettled = None;
                return;
            } else {
                self.unsettled = Some(now);
            }
        }
    }
}

const INTERVAL: Duration = Duration::from_secs(1);
/// When files that could not be used are read again, though they have not changed.
const AGAIN: Duration = Duration::from_secs(60);
