//! The threads that serve clients' connections: each by itself, with a runtime of one thread, so that nothing a request does
//! wakes another thread. The thread that they are handed out by accepts, reloads and answers at `admin`, and serves no client.

use std::env;
use std::future::{Future, pending};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::watchdog::{BEAT, Heart};

/// Whom connections are handed to, in turns.
#[derive(Default)]
pub(super) struct Workers {
    /// None, where there is no thread apart: then a connection stays where it was accepted.
    threads: Vec<Handle>,
    next: AtomicUsize,
}

impl Workers {
    /// Starts as many threads as the machine has cores for, or as `TOKIO_WORKER_THREADS` says, as tokio does.
    ///
    /// # Errors
    /// The system's own.
    pub fn start(heart: &mut Heart) -> io::Result<Self> {
        let told = env::var("TOKIO_WORKER_THREADS").ok();
        let count = match told.and_then(|count| count.parse().ok()) {
            Some(count) => count,
            None => thread::available_parallelism()?.get(),
        };
        let mut threads = Vec::new();
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            threads.push(runtime.handle().clone());
            let name = format!("worker {number}");
            let beat = heart.beat(&name);
            runtime.spawn(async move {
                let mut beats = interval(BEAT);
                beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    beats.tick().await;
                    beat.strike();
                }
            });
            thread::Builder::new()
                .name(name)
                .spawn(move || runtime.block_on(pending::<()>()))?;
        }
        Ok(Self {
            threads,
            next: AtomicUsize::new(0),
        })
    }

    /// Hands a connection out: what `serve` makes of it runs on the next of the threads, as one of `connections`.
    pub(super) fn hand_out<S: Handed, F>(
        &self,
        connections: &mut JoinSet<()>,
        stream: S,
        serve: impl FnOnce(S) -> F + Send + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(thread) = self.next() else {
            connections.spawn(serve(stream));
            return;
        };
        // The system tells of it to the thread on which it is served.
        let served = match stream.loosen() {
            Ok(loose) => {
                async move {
                    match S::attach(loose) {
                        Ok(stream) => serve(stream).await,
                        Err(error) => {
                            warn!(%error, "a connection could not be handed to its thread");
                        }
                    }
                }
            }
            Err(error) => {
                warn!(%error, "a connection could not be handed to its thread");
                return;
            }
        };
        connections.spawn_on(served, thread);
    }

    fn next(&self) -> Option<&Handle> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.threads.get(turn.checked_rem(self.threads.len())?)
    }
}

/// What can be taken from the runtime of one thread to that of another.
pub(super) trait Handed: Sized + Send + 'static {
    /// It, of no runtime.
    type Loose: Send;

    fn loosen(self) -> io::Result<Self::Loose>;

    fn attach(loose: Self::Loose) -> io::Result<Self>;
}

impl Handed for TcpStream {
    type Loose = std::net::TcpStream;

    fn loosen(self) -> io::Result<Self::Loose> {
        self.into_std()
    }

    fn attach(loose: Self::Loose) -> io::Result<Self> {
        Self::from_std(loose)
    }
}

impl Handed for UnixStream {
    type Loose = std::os::unix::net::UnixStream;

    fn loosen(self) -> io::Result<Self::Loose> {
        self.into_std()
    }

    fn attach(loose: Self::Loose) -> io::Result<Self> {
        Self::from_std(loose)
    }
}
