//! A proxy between the daemons and PostgreSQL, which can swallow what goes through it, as a firewall that drops packets.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A proxy that runs.
pub struct Proxy {
    port: u16,
    swallows: Arc<watch::Sender<bool>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    /// Starts it before a port of loopback.
    pub async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let swallows = Arc::new(watch::Sender::new(false));
        let (mut accepting, told) = (JoinSet::new(), swallows.clone());
        accepting.spawn(async move {
            let mut joined = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", port)).await;
                let Ok(far) = far else { continue };
                let (near, far) = (near.into_split(), far.into_split());
                joined.spawn(pass(near.0, far.1, told.subscribe()));
                joined.spawn(pass(far.0, near.1, told.subscribe()));
            }
        });
        Self {
            port: own,
            swallows,
            _accepting: accepting,
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Swallows from now on what comes, or lets it through again: what was swallowed is gone, and so is who waits for it.
    pub fn swallow(&self, swallows: bool) {
        self.swallows.send_replace(swallows);
    }
}

async fn pass(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut swallows: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    let mut lost = false;
    loop {
        tokio::select! {
            read = from.read(&mut buffer) => {
                let Ok(read @ 1..) = read else { return };
                lost |= *swallows.borrow();
                if !lost && to.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            changed = swallows.changed() => if changed.is_err() { return },
        }
        // A connection that lost bytes is of no use to anybody; while nothing comes through, neither does its end.
        if lost && !*swallows.borrow() {
            return;
        }
    }
}
