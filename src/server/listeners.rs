use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::connection::Patience;
use super::door::{Behind, Door};
use super::listen::Listener;
use super::watchdog::Heart;
use super::workers::Workers;
use crate::config::Settings;
use crate::gate::Clients;
use crate::gate::Gate;

/// A gate and the listeners before it: what the daemon and a gate inside of another program have in common.
pub(super) struct Doors {
    gate: Arc<Gate>,
    /// Ends with the last request that is seen to its end, once the gate drains.
    ended: mpsc::Receiver<()>,
    stop: watch::Sender<bool>,
    loops: JoinSet<()>,
}

impl Doors {
    /// Lets clients in.
    pub fn open(
        (gate, ended): (Gate, mpsc::Receiver<()>),
        listeners: Vec<Listener>,
        settings: &Settings,
        workers: Workers,
        heart: &mut Heart,
    ) -> Self {
        let gate = Arc::new(gate);
        let (stop, stopping) = watch::channel(false);
        let slots = Arc::new(Semaphore::new(settings.limits.connections));
        let clients = Arc::<Clients>::default();
        let workers = Arc::new(workers);
        let mut loops = JoinSet::new();
        for (number, listener) in listeners.into_iter().enumerate() {
            let door = Door {
                behind: Behind::Gate(gate.clone()),
                slots: slots.clone(),
                clients: clients.clone(),
                stopping: stopping.clone(),
                patience: patience(settings),
                told: Arc::default(),
                handshake: Arc::default(),
                full: Arc::default(),
                unreadable: Arc::default(),
                workers: workers.clone(),
                beat: heart.beat(&listener),
            };
            match workers.taking_in(number) {
                Some(thread) => loops.spawn_on(door.accept(listener), thread),
                None => loops.spawn(door.accept(listener)),
            };
        }
        Self {
            gate,
            ended,
            stop,
            loops,
        }
    }

    /// Lets nobody in any more, and waits until requests under way have ended.
    pub async fn close(mut self) {
        self.gate.drain();
        let _ = self.stop.send(true);
        while self.loops.join_next().await.is_some() {}
        while self.ended.recv().await.is_some() {}
    }
}

/// How long connections may do nothing.
pub(super) fn patience(settings: &Settings) -> Patience {
    Patience {
        head: settings.limits.header_timeout,
        quiet: settings.limits.idle_timeout,
        warm: WARM,
    }
}

/// How long a connection that waits for its next request is kept ready for that, while there are few: clients that ask one thing
/// after another do so within it.
const WARM: Duration = Duration::from_secs(10);
