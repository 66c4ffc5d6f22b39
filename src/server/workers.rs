//! The threads that serve clients' connections: each by itself, with a runtime of one thread, so that nothing a request does
//! wakes another thread. Each listener's connections are taken in by one of them, which hands them round, its own turn among
//! them. The thread that starts all that reloads and answers at `admin`, and serves no client.

use std::env;
use std::future::{Future, pending};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, ThreadId};

use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use super::watchdog::{BEAT, Heart};

/// Whom connections are handed to, in turns.
#[derive(Default)]
pub(super) struct Workers {
    /// None, where there is no thread apart: then a connection stays where it was taken in.
    threads: Vec<(ThreadId, Handle)>,
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
            let handle = runtime.handle().clone();
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
            let thread = thread::Builder::new()
                .name(name)
                .spawn(move || runtime.block_on(pending::<()>()))?;
            threads.push((thread.thread().id(), handle));
        }
        Ok(Self {
            threads,
            next: AtomicUsize::new(0),
        })
    }

    /// The thread that takes in the connections of a listener, by the listener's number. `None` where there is no thread apart.
    pub fn taking_in(&self, listener: usize) -> Option<&Handle> {
        self.at(listener).map(|(_, thread)| thread)
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
        let elsewhere = |(thread, _): &&(ThreadId, Handle)| *thread != thread::current().id();
        let Some((_, thread)) = self.next().filter(elsewhere) else {
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

    fn next(&self) -> Option<&(ThreadId, Handle)> {
        self.at(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The thread whose turn that is.
    fn at(&self, turn: usize) -> Option<&(ThreadId, Handle)> {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn connections_go_round_all_threads_and_stay_where_they_are_served() {
        let workers = Arc::new(Workers::start(&mut Heart::new()).unwrap());
        let threads = workers.threads.len();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, mut served) = unbounded_channel();
        let home = workers.taking_in(threads + 1).unwrap().clone(); // more listeners than threads are taken in, too
        let taking_in = home.spawn(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let mut connections = JoinSet::new();
            for _ in 0..3 * threads {
                let (stream, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                workers.hand_out(&mut connections, stream, move |mut stream| async move {
                    let begun = thread::current().id();
                    stream.read_u8().await.unwrap();
                    tell.send((begun, thread::current().id())).unwrap();
                });
            }
            connections.join_all().await;
        });
        let mut clients = Vec::new();
        for _ in 0..3 * threads {
            clients.push(TcpStream::connect(address).await.unwrap());
        }
        for client in &mut clients {
            client.write_u8(1).await.unwrap();
        }
        timeout(Duration::from_secs(20), taking_in)
            .await
            .unwrap()
            .unwrap();
        let mut counts = HashMap::<ThreadId, usize>::new();
        while let Some((begun, ended)) = served.recv().await {
            assert_eq!(begun, ended);
            *counts.entry(begun).or_default() += 1;
        }
        assert_eq!(counts.len(), threads);
        assert!(counts.values().all(|count| *count == 3), "{counts:?}");
        assert!(!counts.contains_key(&thread::current().id()));
    }
}
